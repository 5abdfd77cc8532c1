-- sp_items_settle(items, orders that were made) -> app.order_item[]
-- Says of each item which order it stands for. An id that another account took meanwhile is
-- refused; what repeats an item of this batch stands for that item's order.
-- Internal: sp_place_items. Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_items_settle(p_items app.order_item[], p_made bigint[])
RETURNS app.order_item[]
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    IF cardinality(p_made) = cardinality(p_items) THEN
        RETURN p_items;
    END IF;
    RETURN ARRAY(
        SELECT ROW(
            i.ordinal, i.user_id, i.session, i.request_id, i.client_order_id, i.account_id,
            i.symbol, i.side, i.order_type, i.quantity, i.limit_price, i.stop_price,
            i.time_in_force, i.expires_at, i.strategy_id, i.request_hash,
            CASE
                WHEN i.fault IS NOT NULL THEN i.fault
                WHEN i.replayed AND coalesce(i.order_id, f.order_id) IS NOT NULL THEN NULL
                WHEN i.order_id = ANY(p_made) THEN NULL
                ELSE 'idempotency_key_reused'
            END,
            coalesce(i.order_id, f.order_id), i.replayed, i.instrument_id, i.reason_code,
            i.quantity_max, i.arrival_price, i.bound
        )::app.order_item
        FROM unnest(p_items) AS i
        LEFT JOIN LATERAL (
            SELECT y.order_id
            FROM unnest(p_items) AS y
            WHERE i.replayed AND y.client_order_id = i.client_order_id
                AND y.order_id = ANY(p_made)
        ) AS f ON TRUE
        ORDER BY i.ordinal
    );
END
$$;
