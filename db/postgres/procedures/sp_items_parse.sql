-- sp_items_parse(items, user, session, request id) -> app.order_item[]
-- Reads a list of 1 to 500 orders as strings and finds what no order may look like. Without a user
-- each item names its own user, session and request id.
-- SQLSTATE IN422 orders_invalid. Internal: sp_place_orders, sp_place_batch.
-- Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_items_parse(
    p_items jsonb, p_user_id uuid, p_session text, p_request_id text
)
RETURNS app.order_item[]
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    v_uuid text := '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$';
    v_own boolean := p_user_id IS NULL AND p_session IS NULL;
BEGIN
    IF jsonb_typeof(p_items) IS DISTINCT FROM 'array'
        OR jsonb_array_length(p_items) NOT BETWEEN 1 AND 500
        OR jsonb_path_exists(p_items, 'strict $[*] ? (@.type() != "object")')
    THEN
        RAISE EXCEPTION 'not a list of 1 to 500 orders'
            USING ERRCODE = 'IN422', DETAIL = 'orders_invalid';
    END IF;
    RETURN ARRAY(
        SELECT ROW(
            n.ordinal, n.user_id, n.session, n.request_id, n.client_order_id, n.account_id,
            n.symbol, n.side, n.order_type, n.quantity, n.limit_price, n.stop_price,
            n.time_in_force, n.expires_at, n.strategy_id,
            app.sp_order_hash(
                n.account_id, n.symbol, n.side, n.order_type, n.quantity, n.limit_price,
                n.stop_price, n.time_in_force, n.expires_at, n.strategy_id
            ),
            app.sp_order_fault(
                n.request_id, n.client_order_id, n.side, n.order_type, n.quantity, n.limit_price,
                n.stop_price, n.time_in_force, n.expires_at
            ),
            NULL, FALSE, NULL, NULL, NULL, NULL, NULL
        )::app.order_item
        FROM (
            SELECT
                r.ordinal::integer AS ordinal,
                CASE
                    WHEN NOT v_own THEN p_user_id
                    WHEN lower(r.user_id) ~ v_uuid THEN r.user_id::uuid
                END AS user_id,
                CASE WHEN v_own THEN r.session ELSE p_session END AS session,
                CASE WHEN v_own THEN r.request_id ELSE p_request_id END AS request_id,
                r.client_order_id,
                CASE
                    WHEN length(r.account_id) <= 18 AND r.account_id ~ '^[0-9]+$' THEN r.account_id::bigint
                END AS account_id,
                r.symbol,
                r.side,
                r.order_type,
                app.sp_item_number(r.quantity) AS quantity,
                app.sp_item_number(r.limit_price) AS limit_price,
                app.sp_item_number(r.stop_price) AS stop_price,
                r.time_in_force,
                app.sp_item_time(r.expires_at) AS expires_at,
                -- What is no id names no strategy.
                CASE
                    WHEN length(r.strategy_id) <= 18 AND r.strategy_id ~ '^[0-9]+$' THEN r.strategy_id::bigint
                    WHEN r.strategy_id IS NOT NULL THEN -1
                END AS strategy_id
            FROM ROWS FROM (
                jsonb_to_recordset(p_items) AS (
                    user_id text, session text, request_id text, client_order_id text,
                    account_id text, symbol text, side text, order_type text, quantity text,
                    limit_price text, stop_price text, time_in_force text, expires_at text,
                    strategy_id text
                )
            ) WITH ORDINALITY AS r (
                user_id, session, request_id, client_order_id, account_id, symbol, side,
                order_type, quantity, limit_price, stop_price, time_in_force, expires_at,
                strategy_id, ordinal
            )
            -- Each value is read once, not once for each of its uses.
            OFFSET 0
        ) AS n
    );
END
$$;
