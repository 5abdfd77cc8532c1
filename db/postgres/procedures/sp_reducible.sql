-- sp_reducible(order row) -> numeric
-- How much of the account's position an order of this side may still close, after the other open
-- orders of that side; 0 or less when it would open or grow a position.
-- Called by sp_risk_check. Test: test_sp_place_order.py

CREATE OR REPLACE FUNCTION app.sp_reducible(p_order app.orders)
RETURNS numeric
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        coalesce((
            SELECT CASE p_order.side WHEN 'sell' THEN p.quantity ELSE -p.quantity END
            FROM app.positions AS p
            WHERE p.account_id = p_order.account_id AND p.instrument_id = p_order.instrument_id
        ), 0)
        - coalesce((
            SELECT sum(o.quantity - o.cum_quantity)
            FROM app.orders AS o
            WHERE o.account_id = p_order.account_id
                AND o.instrument_id = p_order.instrument_id
                AND o.side = p_order.side
                AND o.order_id IS DISTINCT FROM p_order.order_id
                AND o.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
        ), 0)
$$;
