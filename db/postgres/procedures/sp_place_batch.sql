-- sp_place_batch(items) -> one row per item, in the order given
-- Places orders of several users in one transaction, each as sp_place_order would, each refused
-- alone: a refused item has its SQLSTATE, code and message, any other its order. Items are those of
-- sp_place_orders, each with user_id, session and request_id. Made for single requests on one
-- account that wait for its lock together.
-- SQLSTATE 25001; IN422 orders_invalid. Called by app_write. Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_place_batch(p_items jsonb)
RETURNS TABLE (
    ordinal integer, order_id bigint, client_order_id text, account_id bigint, status text,
    reason_code text, cum_quantity numeric, average_price numeric, replayed boolean,
    created_at timestamptz, updated_at timestamptz, quantity_max numeric, replace_denied text,
    sqlstate text, code text, message text
)
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
BEGIN
    PERFORM app.sp_require_read_committed();
    v_items := app.sp_place_items(app.sp_items_parse(p_items, NULL, NULL, NULL));
    RETURN QUERY
    WITH refusals AS (
        SELECT f.fault, x.sqlstate, x.message
        FROM (SELECT DISTINCT i.fault FROM unnest(v_items) AS i WHERE i.fault IS NOT NULL) AS f
        CROSS JOIN LATERAL app.sp_refusal(f.fault) AS x
    )
    SELECT
        i.ordinal, o.order_id, coalesce(o.client_order_id::text, i.client_order_id), o.account_id,
        o.status::text, o.reason_code, o.cum_quantity, o.average_price, i.replayed, o.created_at,
        o.updated_at, o.quantity_max, NULL::text, r.sqlstate, i.fault, r.message
    FROM unnest(v_items) AS i
    LEFT JOIN app.orders AS o ON o.order_id = i.order_id AND i.fault IS NULL
    LEFT JOIN refusals AS r ON r.fault = i.fault
    ORDER BY i.ordinal;
END
$$;
