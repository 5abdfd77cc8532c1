-- sp_rate_spend(user, orders) -> whether they fit
-- Counts orders in the rate of their user, on one row over all his accounts: at once as many as in
-- a minute. The row is locked until the caller's transaction ends; streams are locked before it,
-- several users in ascending id, orders are inserted after it.
-- Internal: sp_place_order, sp_place_items. Test: test_sp_risk_races.py

CREATE OR REPLACE FUNCTION app.sp_rate_spend(p_user_id uuid, p_orders bigint)
RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    -- The clock is read after the wait for the row.
    UPDATE app.user_rates AS r
    SET rate_at = greatest(r.rate_at, clock_timestamp())
        + interval '1 us' * (60000000 / u.orders_per_minute_max * p_orders)
    FROM app.users AS u
    WHERE u.user_id = p_user_id
        AND r.user_id = p_user_id
        AND greatest(r.rate_at, clock_timestamp())
        + interval '1 us' * (60000000 / u.orders_per_minute_max * p_orders)
        <= clock_timestamp() + interval '1 min';
    IF NOT FOUND THEN
        -- Somebody's very first order.
        INSERT INTO app.user_rates (user_id, rate_at)
        SELECT
            u.user_id,
            clock_timestamp() + interval '1 us' * (60000000 / u.orders_per_minute_max * p_orders)
        FROM app.users AS u
        WHERE u.user_id = p_user_id
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN FOUND;
END
$$;
