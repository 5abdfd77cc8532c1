-- sp_risk_check(order row) -> (reason_code, quantity_max)
-- The first risk rule the order breaks now, or null. Fails closed: no limits, no price or an old
-- price deny. quantity_max is the largest size that would have passed, when size or notional was
-- too large. Writes nothing; a caller that acts on the answer holds the stream lock of the account.
-- Called by sp_place_order, sp_preview_order and, right before the wire, by sp_begin_send.
-- Test: test_sp_place_order.py, test_sp_preview_order.py, test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_risk_check(
    p_order app.orders, OUT reason_code text, OUT quantity_max numeric
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c record;
BEGIN
    SELECT
        i.tradable,
        i.tick_size,
        i.lot_size,
        l.order_quantity_max,
        l.order_notional_max,
        l.price_collar,
        p.price AS last_price,
        coalesce(p_order.limit_price, p.price) AS price,
        clock_timestamp() - p.received_at
        > CASE p.source WHEN 'quantconnect' THEN interval '120 s' ELSE interval '30 s' END AS stale,
        (
            SELECT array_agg(t.state)
            FROM app.trading_states AS t
            WHERE t.scope = 'global'
                OR (t.scope = 'account' AND t.scope_id = p_order.account_id)
                OR (t.scope = 'strategy' AND t.scope_id = p_order.strategy_id)
        ) AS states
    INTO c
    FROM app.instruments AS i
    LEFT JOIN app.risk_limits AS l ON l.account_id = p_order.account_id
    LEFT JOIN market.last_prices AS p ON p.instrument_id = i.instrument_id
    WHERE i.instrument_id = p_order.instrument_id;

    reason_code := CASE
        WHEN 'halted' = ANY(c.states) THEN 'TRADING_HALTED'
        WHEN p_order.order_type NOT IN ('market', 'limit')
            OR p_order.time_in_force NOT IN ('day', 'gtc') THEN 'ORDER_TYPE_NOT_SUPPORTED'
        WHEN c.tradable IS NOT TRUE THEN 'INSTRUMENT_NOT_TRADABLE'
        WHEN c.order_quantity_max IS NULL THEN 'NO_RISK_LIMITS'
        WHEN mod(p_order.quantity, c.lot_size) <> 0 THEN 'QUANTITY_NOT_ON_LOT'
        WHEN mod(p_order.limit_price, c.tick_size) <> 0 THEN 'PRICE_NOT_ON_TICK'
        WHEN p_order.quantity > c.order_quantity_max THEN 'ORDER_QUANTITY_EXCEEDS_MAX'
        WHEN c.last_price IS NULL THEN 'NO_MARKET_PRICE'
        WHEN c.stale THEN 'STALE_MARKET_PRICE'
        WHEN p_order.quantity * c.price > c.order_notional_max THEN 'ORDER_NOTIONAL_EXCEEDS_MAX'
        WHEN abs(p_order.limit_price - c.last_price) > c.price_collar * c.last_price
            THEN 'PRICE_OUTSIDE_COLLAR'
        -- Nested, so that the open orders are read in this state alone.
        WHEN 'reducing' = ANY(c.states) THEN CASE
            WHEN p_order.quantity > app.sp_reducible(p_order) THEN 'TRADING_REDUCING'
        END
    END;
    IF reason_code IN ('ORDER_QUANTITY_EXCEEDS_MAX', 'ORDER_NOTIONAL_EXCEEDS_MAX') THEN
        -- div cuts exactly; a plain quotient is rounded and may come out one lot too large.
        quantity_max := trim_scale(c.lot_size * least(
            div(c.order_quantity_max, c.lot_size),
            div(c.order_notional_max, c.lot_size * c.price)
        ));
    END IF;
END
$$;
