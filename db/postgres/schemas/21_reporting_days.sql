-- The days of accounts. Laid anew, as app_owner, after the views of 20_reporting.sql, through which
-- alone it reads: with the rights and policies of who asks. Holds no data.
-- Test: test_equity_samples.py

-- daily_pnl(accounts, first day, last day) -> the UTC days of the accounts together, per currency
-- A day goes from the last sample before it to the last sample in it, and counts what was paid in
-- or out between the two. An account opened that day begins with nothing; one that was never
-- sampled before begins with its first sample. Days on which nothing was sampled are left out, and
-- days of which money paid or a fee has no rate to the account's currency. traded is the value of
-- what was bought and sold, null when some of it has no rate.
CREATE FUNCTION reporting.daily_pnl(p_account_ids bigint [], p_from_day date, p_to_day date)
RETURNS TABLE (
    day date,
    currency text,
    equity_start numeric,
    equity_end numeric,
    net_flow numeric,
    pnl numeric,
    fees numeric,
    executions bigint,
    traded numeric
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
-- Of so many partitions, making a plan takes longer than running it for a few accounts.
SET plan_cache_mode = force_generic_plan
AS $$
    -- What stood before all days; of an account that was never sampled before them, its first one.
    WITH chosen AS MATERIALIZED (
        SELECT
            a.account_id, a.currency, a.created_at, b.equity_at AS before_at,
            b.equity AS before_equity, f.equity_at AS first_at, f.equity AS first_equity
        FROM reporting.accounts AS a
        LEFT JOIN LATERAL (
            SELECT h.equity_at, h.equity FROM reporting.equity_history AS h
            WHERE h.account_id = a.account_id
                AND h.currency = a.currency
                AND h.equity_at < p_from_day::timestamp AT TIME ZONE 'UTC'
            ORDER BY h.equity_at DESC
            LIMIT 1
        ) AS b ON TRUE
        LEFT JOIN LATERAL (
            SELECT h.equity_at, h.equity FROM reporting.equity_history AS h
            WHERE h.account_id = a.account_id
                AND h.currency = a.currency
                AND h.equity_at >= p_from_day::timestamp AT TIME ZONE 'UTC'
            ORDER BY h.equity_at
            LIMIT 1
        ) AS f ON b.equity_at IS NULL
        WHERE a.account_id = ANY (p_account_ids)
    ),
    days AS MATERIALIZED (
        SELECT
            d.day,
            d.day::timestamp AT TIME ZONE 'UTC' AS since,
            (d.day + 1)::timestamp AT TIME ZONE 'UTC' AS until
        FROM (SELECT min(coalesce(c.before_at, c.first_at)) AS first_at FROM chosen AS c) AS f
        CROSS JOIN LATERAL (
            SELECT g.day::date AS day
            FROM generate_series(
                greatest(p_from_day, (f.first_at AT TIME ZONE 'UTC')::date)::timestamp,
                least(p_to_day, (now() AT TIME ZONE 'UTC')::date)::timestamp,
                interval '1 day'
            ) AS g (day)
        ) AS d
        WHERE f.first_at IS NOT NULL
    ),
    -- The last sample of each day, looked for in that day alone.
    samples AS (
        SELECT
            c.*, d.day, d.since, h.equity_at, h.equity,
            count(h.equity_at) OVER (PARTITION BY c.account_id ORDER BY d.day) AS run
        FROM days AS d
        CROSS JOIN chosen AS c
        LEFT JOIN LATERAL (
            SELECT h.equity_at, h.equity FROM reporting.equity_history AS h
            WHERE h.account_id = c.account_id
                AND h.currency = c.currency
                AND h.equity_at >= d.since
                AND h.equity_at < d.until
            ORDER BY h.equity_at DESC
            LIMIT 1
        ) AS h ON coalesce(c.before_at, c.first_at) < d.until
    ),
    -- It stands until the next.
    ends AS (
        SELECT
            s.*,
            coalesce(max(s.equity_at) OVER same, s.before_at) AS end_at,
            coalesce(max(s.equity) OVER same, s.before_equity) AS equity_end
        FROM samples AS s
        WINDOW same AS (PARTITION BY s.account_id, s.run)
    ),
    spans AS MATERIALIZED (
        SELECT
            e.account_id, e.currency, e.day, e.end_at, e.equity_end,
            e.end_at >= e.since AS sampled,
            coalesce(
                lag(e.end_at) OVER days_of, e.before_at,
                CASE WHEN e.created_at < e.since THEN e.first_at ELSE '-infinity' END
            ) AS start_at,
            coalesce(
                lag(e.equity_end) OVER days_of, e.before_equity,
                CASE WHEN e.created_at < e.since THEN e.first_equity ELSE 0 END
            ) AS equity_start
        FROM ends AS e
        WINDOW days_of AS (PARTITION BY e.account_id ORDER BY e.day)
    ),
    -- What was paid in or out counts to the day of the first sample that knows of it; what the
    -- first day begins with knows of all before, which is therefore of no day.
    flows AS (
        SELECT
            v.account_id,
            v.day,
            CASE WHEN count(*) = count(v.amount_converted) THEN sum(v.amount_converted) END
                AS net_flow
        FROM (
            SELECT
                w.*, min(w.known_on) OVER (PARTITION BY w.account_id ORDER BY w.at DESC) AS day
            FROM (
                SELECT
                    s.account_id, s.end_at AS at, s.day AS known_on, FALSE AS paid,
                    NULL::numeric AS amount_converted
                FROM spans AS s
                WHERE s.sampled
                UNION ALL
                SELECT s.account_id, min(s.start_at), '-infinity', FALSE, NULL
                FROM spans AS s
                WHERE s.end_at IS NOT NULL
                GROUP BY s.account_id
                UNION ALL
                SELECT m.account_id, m.created_at, NULL, TRUE, m.amount_converted
                FROM reporting.cash_movements AS m
                WHERE m.account_id = ANY (p_account_ids)
            ) AS w
        ) AS v
        WHERE v.paid
        GROUP BY v.account_id, v.day
    ),
    trades AS (
        SELECT
            r.account_id,
            (r.executed_at AT TIME ZONE 'UTC')::date AS day,
            CASE WHEN count(r.fee) = count(r.fee_converted)
                THEN coalesce(sum(r.fee_converted), 0) END AS fees,
            count(*) AS executions,
            CASE WHEN count(*) = count(r.notional_converted) THEN sum(r.notional_converted) END
                AS traded
        FROM reporting.executions AS r
        WHERE r.account_id = ANY (p_account_ids)
            AND r.executed_at >= (SELECT min(d.since) FROM days AS d)
            AND r.executed_at < (SELECT max(d.until) FROM days AS d)
        GROUP BY 1, 2
    ),
    -- Put together by grouping: of a join the planner does not know how many rows meet.
    parts AS (
        SELECT
            v.day,
            max(v.currency) AS currency,
            bool_or(v.sampled) AS sampled,
            max(v.equity_start) AS equity_start,
            max(v.equity_end) AS equity_end,
            CASE WHEN bool_or(v.flows) THEN max(v.net_flow) ELSE 0 END AS net_flow,
            CASE WHEN bool_or(v.trades) THEN max(v.fees) ELSE 0 END AS fees,
            coalesce(max(v.executions), 0) AS executions,
            CASE WHEN bool_or(v.trades) THEN max(v.traded) ELSE 0 END AS traded
        FROM (
            SELECT
                s.account_id, s.day, s.currency, s.sampled, s.equity_start, s.equity_end,
                FALSE AS flows, NULL::numeric AS net_flow, FALSE AS trades, NULL::numeric AS fees,
                NULL::bigint AS executions, NULL::numeric AS traded
            FROM spans AS s
            UNION ALL
            SELECT
                f.account_id, f.day, NULL, NULL, NULL, NULL, TRUE, f.net_flow, FALSE, NULL, NULL,
                NULL
            FROM flows AS f
            UNION ALL
            SELECT
                t.account_id, t.day, NULL, NULL, NULL, NULL, FALSE, NULL, TRUE, t.fees,
                t.executions, t.traded
            FROM trades AS t
        ) AS v
        GROUP BY v.account_id, v.day
        -- An account counts from its first sample on.
        HAVING count(v.equity_end) > 0
    )
    SELECT
        p.day,
        p.currency,
        sum(p.equity_start),
        sum(p.equity_end),
        sum(p.net_flow),
        sum(p.equity_end - p.equity_start - p.net_flow),
        sum(p.fees),
        sum(p.executions)::bigint,
        CASE WHEN count(*) = count(p.traded) THEN sum(p.traded) END
    FROM parts AS p
    GROUP BY p.day, p.currency
    HAVING bool_or(p.sampled) AND bool_and(num_nulls(p.net_flow, p.fees) = 0)
    ORDER BY p.day, p.currency
$$;
