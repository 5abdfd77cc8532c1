-- sp_items_repeats(items) -> app.order_item[]
-- Of items that share a client order id and could make an order the first counts; the others repeat
-- it, or are refused where they ask for something else. What the first makes gets its id here, so
-- that the others can name it.
-- Internal: sp_place_items. Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_items_repeats(p_items app.order_item[])
RETURNS app.order_item[]
LANGUAGE plpgsql
AS $$
BEGIN
    RETURN ARRAY(
        SELECT ROW(
            p.ordinal, p.user_id, p.session, p.request_id, p.client_order_id, p.account_id,
            p.symbol, p.side, p.order_type, p.quantity, p.limit_price, p.stop_price,
            p.time_in_force, p.expires_at, p.strategy_id, p.request_hash,
            CASE
                WHEN p.fault IS NOT NULL THEN p.fault
                WHEN (p.request_hash, p.user_id) <> (p.first_hash, p.first_user_id)
                    THEN 'idempotency_key_reused'
            END,
            p.first_order_id, p.replayed OR p.place > 1, p.instrument_id, NULL, NULL, NULL, NULL
        )::app.order_item
        FROM (
            SELECT
                i.*,
                row_number() OVER w AS place,
                first_value(i.request_hash) OVER w AS first_hash,
                first_value(i.user_id) OVER w AS first_user_id,
                first_value(i.made_id) OVER w AS first_order_id
            FROM (
                SELECT
                    x.*,
                    CASE
                        WHEN x.fault IS NULL
                            THEN coalesce(x.order_id, nextval('app.orders_order_id_seq'))
                    END AS made_id
                FROM unnest(p_items) AS x
                ORDER BY x.ordinal
            ) AS i
            WINDOW w AS (PARTITION BY i.client_order_id, i.fault IS NULL ORDER BY i.ordinal)
        ) AS p
        ORDER BY p.ordinal
    );
END
$$;
