-- sp_equity_sample() -> accounts sampled
-- Keeps what every account is worth at this moment in market.equity: one row an account, all at the
-- same time, so that accounts add up, in its currency. An account with an open position that has no
-- price, or with money that has no rate, is left out: a figure without it would show as a loss. The
-- first sample of a UTC day is what the day's
-- loss is measured against; for it the account's stream is locked, so that no cash is booked
-- meanwhile. The worker calls it at intervals.
-- Called by app_worker. Test: test_equity_samples.py, test_sp_risk.py

CREATE OR REPLACE FUNCTION app.sp_equity_sample()
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz;
    v_day date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    v_new bigint[];
    v_sampled integer;
BEGIN
    PERFORM app.sp_require_read_committed();
    v_new := ARRAY(
        SELECT a.account_id
        FROM app.accounts AS a
        LEFT JOIN app.day_equity AS d ON d.account_id = a.account_id
        WHERE (d.day < v_day) IS NOT FALSE
    );
    PERFORM FROM app.streams AS s
    WHERE s.stream_id = ANY(v_new)
    ORDER BY s.stream_id
    FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    WITH sampled AS (
        INSERT INTO market.equity (account_id, equity_at, currency, cash, market_value)
        SELECT e.account_id, v_now, e.currency, e.cash, e.market_value
        FROM reporting.equity AS e
        WHERE e.unpriced = 0 AND e.unconverted = 0
        ON CONFLICT DO NOTHING
        RETURNING account_id, cash, market_value
    ),
    opened AS (
        INSERT INTO app.day_equity (account_id, day, equity)
        SELECT s.account_id, v_day, s.cash + s.market_value
        FROM sampled AS s
        WHERE s.account_id = ANY(v_new)
        ON CONFLICT (account_id) DO UPDATE SET day = excluded.day, equity = excluded.equity
    )
    SELECT count(*) INTO v_sampled FROM sampled;
    RETURN v_sampled;
END
$$;
