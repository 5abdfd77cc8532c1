-- sp_equity_sample() -> accounts sampled
-- Keeps what every account is worth at this moment in market.equity: one row an account, all at the
-- same time, so that accounts add up. An account with an open position that has no price is left
-- out: a figure without it would show as a loss. The worker calls it at intervals.
-- Called by app_worker. Test: test_equity_samples.py

CREATE OR REPLACE FUNCTION app.sp_equity_sample()
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_sampled integer;
BEGIN
    INSERT INTO market.equity (account_id, equity_at, currency, cash, market_value)
    SELECT e.account_id, v_now, e.currency, e.cash, e.market_value
    FROM reporting.equity AS e
    WHERE e.unpriced = 0
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_sampled = ROW_COUNT;
    RETURN v_sampled;
END
$$;
