-- sp_rate_full(rate, now, orders a minute, orders) -> whether the orders are too many for the rate
-- What sp_rate_spend would say of them. Internal: sp_preview_order, sp_items_decide.
-- Test: test_sp_risk_model.py

CREATE OR REPLACE FUNCTION app.sp_rate_full(
    p_rate_at timestamptz, p_at timestamptz, p_max integer, p_orders integer
)
RETURNS boolean
LANGUAGE plpgsql
IMMUTABLE
AS $$
BEGIN
    RETURN greatest(p_rate_at, p_at) + interval '1 us' * (60000000 / p_max * p_orders::bigint)
        > p_at + interval '1 min';
END
$$;
