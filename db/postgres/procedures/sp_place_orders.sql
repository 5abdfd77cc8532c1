-- sp_place_orders(user, session, request id, orders) -> app.order_result, in the order given
-- Places 1 to 500 orders of one user in one transaction, each as sp_place_order would: a risk
-- denial or a replay concerns one item alone, and each item sees the risk of those before it. The
-- first item that must be refused refuses the whole batch, named in the message, and nothing is
-- written. Items are {client_order_id, account_id, symbol, side, order_type, quantity,
-- limit_price?, stop_price?, time_in_force, expires_at?, strategy_id?}, all strings; a second item
-- under an id repeats the first, or is refused.
-- SQLSTATE and codes of sp_place_order; IN422 orders_invalid. Called by app_write. Test:
-- test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_place_orders(
    p_user_id uuid, p_session text, p_request_id text, p_orders jsonb
)
RETURNS SETOF app.order_result
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
-- A plan is kept: made while tables are small, it would read them whole when they are large.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_items app.order_item[];
    v_fault record;
BEGIN
    PERFORM app.sp_require_read_committed();
    -- A caller without any name is refused as one, not taken for a batch of several.
    IF p_user_id IS NULL OR p_session IS NULL THEN
        PERFORM app.sp_authorize(p_user_id, p_session);
    END IF;
    v_items := app.sp_place_items(
        app.sp_items_parse(p_orders, p_user_id, p_session, p_request_id)
    );
    SELECT i.fault, i.ordinal INTO v_fault
    FROM unnest(v_items) AS i
    WHERE i.fault IS NOT NULL
    ORDER BY i.ordinal
    LIMIT 1;
    IF FOUND THEN
        PERFORM app.sp_refuse(v_fault.fault, 'item ' || v_fault.ordinal || ': ');
    END IF;
    RETURN QUERY
    SELECT
        o.order_id, o.client_order_id::text, o.account_id, o.status::text, o.reason_code,
        o.cum_quantity, o.average_price, i.replayed, o.created_at, o.updated_at, o.quantity_max, NULL::text
    FROM unnest(v_items) AS i
    JOIN app.orders AS o ON o.order_id = i.order_id
    ORDER BY i.ordinal;
END
$$;
