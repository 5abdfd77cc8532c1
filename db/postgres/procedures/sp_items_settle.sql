-- sp_items_settle(items) -> app.order_item[]
-- Says of each item that repeats one before it which order that made.
-- Internal: sp_place_items. Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_items_settle(p_items app.order_item[])
RETURNS app.order_item[]
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    RETURN ARRAY(
        SELECT ROW(
            i.ordinal, i.user_id, i.session, i.request_id, i.client_order_id, i.account_id,
            i.symbol, i.side, i.order_type, i.quantity, i.limit_price, i.stop_price,
            i.time_in_force, i.expires_at, i.strategy_id, i.request_hash, i.fault,
            coalesce(i.order_id, CASE
                WHEN i.fault IS NULL
                    THEN min(i.order_id) OVER (PARTITION BY i.client_order_id, i.fault IS NULL)
            END),
            i.replayed, i.instrument_id, i.reason_code, i.quantity_max, i.arrival_price, i.bound
        )::app.order_item
        FROM unnest(p_items) AS i
        ORDER BY i.ordinal
    );
END
$$;
