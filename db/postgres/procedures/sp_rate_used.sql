-- sp_rate_used(rate, now, orders a minute) -> orders that count in it now
-- Internal: sp_preview_order. Test: test_sp_risk.py

CREATE OR REPLACE FUNCTION app.sp_rate_used(
    p_rate_at timestamptz, p_at timestamptz, p_max integer
)
RETURNS integer
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT coalesce(ceil(
        extract(EPOCH FROM greatest(p_rate_at, p_at) - p_at) * 1000000 / nullif(60000000 / p_max, 0)
    ), 0)::integer
$$;
