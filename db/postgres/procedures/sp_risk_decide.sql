-- sp_risk_decide(side, quantity, filled, limit, stop, facts, buys, sells, orders, bound)
--               -> (reason_code, quantity_max, opening, rate_at)
-- The first risk rule an order breaks, or null; the one place of the rules. Fails closed: no
-- limits, no price or an old price deny. An order that only closes position passes whatever limits
-- position, loss and buying power. quantity_max is the largest size that all rules of size let
-- pass, told when the size is what denies; opening is the value that the order binds, rate_at what
-- the account's rate becomes by it. The last four arguments are of earlier orders of the same
-- batch, which the facts do not know: what they trade of this instrument, how many they are, what
-- they bind. The rate of the user, who has other accounts, is sp_rate_spend's. Reads nothing.
-- Internal: sp_risk_check, the procedures of placing. Test: test_sp_risk.py

CREATE OR REPLACE FUNCTION app.sp_risk_decide(
    p_side text,
    p_quantity numeric,
    p_filled numeric,
    p_limit_price numeric,
    p_stop_price numeric,
    f app.risk_facts,
    p_buys numeric,
    p_sells numeric,
    p_orders integer,
    p_bound numeric,
    OUT reason_code text,
    OUT quantity_max numeric,
    OUT opening numeric,
    OUT rate_at timestamptz
)
LANGUAGE plpgsql
IMMUTABLE
AS $$
DECLARE
    v_price numeric := coalesce(p_limit_price, p_stop_price, f.last_price);
    v_rest numeric := p_quantity - p_filled;
    -- How much of it closes position, after earlier orders of its side.
    v_close numeric := greatest(CASE p_side
        WHEN 'sell' THEN f.position_quantity - f.ahead_sells - p_sells
        ELSE -f.position_quantity - f.ahead_buys - p_buys
    END, 0);
    -- How much the position could still grow to its side.
    v_room numeric := f.position_quantity_max + CASE p_side
        WHEN 'sell' THEN f.position_quantity - f.open_sells - p_sells
        ELSE -f.position_quantity - f.open_buys - p_buys
    END;
    v_power numeric := f.buying_power - p_bound;
    v_opens boolean := v_rest > v_close;
BEGIN
    opening := greatest(v_rest - v_close, 0) * v_price;
    rate_at := greatest(f.rate_at, f.at)
        + interval '1 us' * (60000000::bigint / f.orders_per_minute_max * (p_orders + 1));
    reason_code := CASE
        WHEN 'halted' = ANY(f.states) THEN 'TRADING_HALTED'
        WHEN f.not_supported IS NOT NULL THEN f.not_supported
        WHEN f.tradable IS NOT TRUE THEN 'INSTRUMENT_NOT_TRADABLE'
        WHEN f.allowed IS NOT TRUE THEN 'INSTRUMENT_NOT_ALLOWED'
        WHEN f.order_quantity_max IS NULL THEN 'NO_RISK_LIMITS'
        WHEN mod(p_quantity, f.lot_size) <> 0 THEN 'QUANTITY_NOT_ON_LOT'
        WHEN mod(p_limit_price, f.tick_size) <> 0 OR mod(p_stop_price, f.tick_size) <> 0
            THEN 'PRICE_NOT_ON_TICK'
        WHEN p_quantity > f.order_quantity_max THEN 'ORDER_QUANTITY_EXCEEDS_MAX'
        WHEN f.last_price IS NULL THEN 'NO_MARKET_PRICE'
        WHEN f.stale THEN 'STALE_MARKET_PRICE'
        WHEN p_quantity * v_price > f.order_notional_max THEN 'ORDER_NOTIONAL_EXCEEDS_MAX'
        WHEN abs(p_limit_price - f.last_price) > f.price_collar * f.last_price
            OR abs(p_stop_price - f.last_price) > f.price_collar * f.last_price
            THEN 'PRICE_OUTSIDE_COLLAR'
        WHEN v_opens AND 'reducing' = ANY(f.states) THEN 'TRADING_REDUCING'
        WHEN v_opens AND v_rest > v_room THEN 'POSITION_EXCEEDS_MAX'
        WHEN v_opens AND f.unpriced THEN 'NO_MARKET_PRICE'
        WHEN v_opens AND f.daily_loss >= f.daily_loss_max THEN 'DAILY_LOSS_EXCEEDED'
        WHEN v_opens AND (opening <= v_power) IS NOT TRUE THEN 'BUYING_POWER_EXCEEDED'
        WHEN f.open_orders + p_orders >= f.open_orders_max THEN 'OPEN_ORDERS_EXCEED_MAX'
        -- The time of the next order may lie a minute ahead: as many at once as in a minute.
        WHEN f.rate_at IS NOT NULL AND rate_at > f.at + interval '1 min'
            THEN 'ORDER_RATE_EXCEEDED'
    END;
    IF reason_code IN (
        'ORDER_QUANTITY_EXCEEDS_MAX', 'ORDER_NOTIONAL_EXCEEDS_MAX', 'TRADING_REDUCING',
        'POSITION_EXCEEDS_MAX', 'DAILY_LOSS_EXCEEDED', 'BUYING_POWER_EXCEEDED'
    ) THEN
        -- div cuts exactly; a plain quotient is rounded and may come out one lot too large.
        quantity_max := trim_scale(f.lot_size * greatest(least(
            div(f.order_quantity_max, f.lot_size),
            div(f.order_notional_max, f.lot_size * v_price),
            div(p_filled + greatest(v_room, v_close), f.lot_size),
            CASE
                WHEN 'reducing' = ANY(f.states) OR f.unpriced OR f.daily_loss >= f.daily_loss_max
                    OR v_power <= 0 THEN div(p_filled + v_close, f.lot_size)
                ELSE div((p_filled + v_close) * v_price + v_power, f.lot_size * v_price)
            END
        ), 0));
    END IF;
END
$$;
