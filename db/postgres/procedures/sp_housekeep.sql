-- sp_housekeep(quotes kept, events kept, sessions kept, equity kept, bars kept)
--     -> partitions dropped
-- Makes the partitions of the coming days and drops what is older than asked: sampled quotes and
-- done events by whole days of UTC, so that partitions and hypertables keep the same rows, and
-- revoked sessions that no token can name any more; thins out old samples of equity. Equity and
-- bars stay for ever when nothing is said, else at least as long: they go by whole partitions.
-- Meant for a daily timer; audited on the system's stream, since it takes rows away.
-- IN422 keep_invalid below one day. Callers: app_worker, app_migrate.

CREATE OR REPLACE FUNCTION app.sp_housekeep(
    p_quotes_keep interval, p_events_keep interval, p_sessions_keep interval,
    p_equity_keep interval DEFAULT NULL, p_bars_keep interval DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_day interval := interval '1 day';
    v_bucket interval := interval '5 min';
    v_midnight timestamptz := '2000-01-01 00:00+00';
    v_dropped integer := 0;
    v_forgotten bigint;
BEGIN
    IF least(p_quotes_keep, p_events_keep, p_sessions_keep, p_equity_keep, p_bars_keep) < v_day
        OR num_nulls(p_quotes_keep, p_events_keep, p_sessions_keep) > 0
    THEN
        RAISE EXCEPTION 'keep at least one day' USING ERRCODE = 'IN422', DETAIL = 'keep_invalid';
    END IF;
    PERFORM market.ensure_partitions('market.quotes', 'quote_at', v_now, v_now + 7 * v_day, v_day);
    PERFORM market.ensure_partitions(
        'market.equity', 'equity_at', v_now, v_now + 60 * v_day, 30 * v_day
    );
    PERFORM market.ensure_partitions(
        'app.events_done', 'done_at', v_now, v_now + 7 * v_day, v_day
    );
    v_dropped := market.drop_before(
        'market.quotes', 'quote_at', date_bin(v_day, v_now - p_quotes_keep, v_midnight)
    ) + market.drop_before(
        'app.events_done', 'done_at', date_bin(v_day, v_now - p_events_keep, v_midnight)
    );
    IF p_equity_keep IS NOT NULL THEN
        v_dropped := v_dropped + market.drop_before(
            'market.equity', 'equity_at', date_bin(v_day, v_now - p_equity_keep, v_midnight)
        );
    END IF;
    IF p_bars_keep IS NOT NULL THEN
        v_dropped := v_dropped + market.drop_before(
            'market.bars', 'bar_at', date_bin(v_day, v_now - p_bars_keep, v_midnight)
        );
    END IF;
    -- Of equity older than a week, the last sample of each five minutes stays. Daily, so a few days
    -- back are enough.
    DELETE FROM market.equity AS e
    WHERE e.equity_at < v_now - 7 * v_day
      AND e.equity_at > v_now - 14 * v_day
      AND EXISTS (
          SELECT FROM market.equity AS k
          WHERE k.account_id = e.account_id
            AND k.currency = e.currency
            AND k.equity_at > e.equity_at
            AND k.equity_at < date_bin(v_bucket, e.equity_at, v_midnight) + v_bucket
      );
    DELETE FROM security.revoked_sessions WHERE revoked_at < v_now - p_sessions_keep;
    GET DIAGNOSTICS v_forgotten = ROW_COUNT;
    -- Last, because it holds the system's stream until the commit.
    PERFORM app.sp_audit_append(0, 'system:housekeep', 'house.kept', jsonb_build_object(
        'partitions_dropped', v_dropped, 'sessions_forgotten', v_forgotten
    ));
    RETURN v_dropped;
END
$$;
