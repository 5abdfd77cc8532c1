-- What the screen draws over time: the equity curve, the days, the prices of an instrument.
-- Laid anew, as app_owner, after the views of 20_reporting.sql, through which alone it reads: with
-- the rights and policies of who asks. Holds no data.

-- equity_curve(accounts, from, to, points) -> what the accounts were worth together, per currency
-- Oldest first, at most so many points at equal distances, each with the fall from the highest
-- point before it as a fraction of that. An account without a sample at a point counts with its
-- last one before.
CREATE FUNCTION reporting.equity_curve(
    p_account_ids bigint [], p_from timestamptz, p_to timestamptz, p_max_points integer
)
RETURNS TABLE (equity_at timestamptz, currency text, equity numeric, drawdown numeric)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH chosen AS MATERIALIZED (
        SELECT
            a.account_id, a.currency, f.equity_at AS first_at, l.equity_at AS last_at,
            b.equity AS equity_before
        FROM reporting.accounts AS a
        LEFT JOIN LATERAL (
            SELECT h.equity FROM reporting.equity_history AS h
            WHERE h.account_id = a.account_id AND h.currency = a.currency AND h.equity_at < p_from
            ORDER BY h.equity_at DESC
            LIMIT 1
        ) AS b ON TRUE
        LEFT JOIN LATERAL (
            SELECT h.equity_at FROM reporting.equity_history AS h
            WHERE h.account_id = a.account_id
                AND h.currency = a.currency
                AND h.equity_at BETWEEN p_from AND p_to
            ORDER BY h.equity_at
            LIMIT 1
        ) AS f ON TRUE
        LEFT JOIN LATERAL (
            SELECT h.equity_at FROM reporting.equity_history AS h
            WHERE h.account_id = a.account_id
                AND h.currency = a.currency
                AND h.equity_at BETWEEN p_from AND p_to
            ORDER BY h.equity_at DESC
            LIMIT 1
        ) AS l ON TRUE
        WHERE a.account_id = ANY (p_account_ids)
    ),
    span AS (
        SELECT
            min(c.first_at) AS first_at,
            max(c.last_at) AS last_at,
            greatest(least(p_max_points, 5000), 2) - 1 AS steps,
            greatest(
                (max(c.last_at) - min(c.first_at)) / (greatest(least(p_max_points, 5000), 2) - 1),
                interval '1 s'
            ) AS width
        FROM chosen AS c
    ),
    grid AS (
        SELECT
            s.first_at + (g.step - 1) * s.width AS since,
            CASE
                WHEN g.step = max(g.step) OVER () THEN s.last_at
                ELSE s.first_at + g.step * s.width
            END AS until
        FROM span AS s
        CROSS JOIN LATERAL generate_series(
            0,
            least(
                ceil(extract(EPOCH FROM s.last_at - s.first_at) / extract(EPOCH FROM s.width)),
                s.steps
            )::integer
        ) AS g (step)
    ),
    points AS (
        SELECT
            max(h.equity_at) AS equity_at,
            c.currency,
            sum(coalesce(h.equity, c.equity_before)) AS equity
        FROM grid AS g
        CROSS JOIN chosen AS c
        -- Bounded on both sides, so that a short window reads few partitions.
        LEFT JOIN LATERAL (
            SELECT h.equity_at, h.equity FROM reporting.equity_history AS h
            WHERE h.account_id = c.account_id
                AND h.currency = c.currency
                AND h.equity_at BETWEEN p_from AND g.until
            ORDER BY h.equity_at DESC
            LIMIT 1
        ) AS h ON TRUE
        GROUP BY g.since, g.until, c.currency
        -- Nothing new between this point and the one before.
        HAVING max(h.equity_at) > g.since
    )
    SELECT
        p.equity_at,
        p.currency,
        p.equity,
        p.equity / nullif(greatest(max(p.equity) OVER (
            PARTITION BY p.currency ORDER BY p.equity_at
        ), 0), 0) - 1
    FROM points AS p
    ORDER BY p.equity_at, p.currency
$$;

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
AS $$
    WITH days AS (
        SELECT
            d.day,
            d.day::timestamp AT TIME ZONE 'UTC' AS since,
            (d.day + 1)::timestamp AT TIME ZONE 'UTC' AS until
        FROM (
            SELECT min(h.equity_at) AS first_at
            FROM reporting.accounts AS a
            CROSS JOIN LATERAL (
                SELECT h.equity_at FROM reporting.equity_history AS h
                WHERE h.account_id = a.account_id AND h.currency = a.currency
                ORDER BY h.equity_at
                LIMIT 1
            ) AS h
            WHERE a.account_id = ANY (p_account_ids)
        ) AS f
        CROSS JOIN LATERAL (
            SELECT g.day::date AS day
            FROM generate_series(
                greatest(p_from_day, (f.first_at AT TIME ZONE 'UTC')::date)::timestamp,
                least(p_to_day, (now() AT TIME ZONE 'UTC')::date)::timestamp,
                interval '1 day'
            ) AS g (day)
        ) AS d
    ),
    parts AS (
        SELECT
            d.day,
            a.currency,
            coalesce(b.equity, 0) AS equity_start,
            e.equity AS equity_end,
            e.equity_at >= d.since AS sampled,
            (
                SELECT CASE
                    WHEN count(*) = count(m.amount_converted)
                        THEN coalesce(sum(m.amount_converted), 0)
                END
                FROM reporting.cash_movements AS m
                WHERE m.account_id = a.account_id
                    AND m.created_at > coalesce(b.equity_at, '-infinity')
                    AND m.created_at <= e.equity_at
            ) AS net_flow,
            x.fees,
            x.executions,
            x.traded
        FROM days AS d
        CROSS JOIN reporting.accounts AS a
        CROSS JOIN LATERAL (
            SELECT h.equity_at, h.equity FROM reporting.equity_history AS h
            WHERE h.account_id = a.account_id AND h.currency = a.currency AND h.equity_at < d.until
            ORDER BY h.equity_at DESC
            LIMIT 1
        ) AS e
        LEFT JOIN LATERAL (
            SELECT c.equity_at, c.equity
            FROM (
                (
                    SELECT 1 AS choice, h.equity_at, h.equity
                    FROM reporting.equity_history AS h
                    WHERE h.account_id = a.account_id
                        AND h.currency = a.currency
                        AND h.equity_at < d.since
                    ORDER BY h.equity_at DESC
                    LIMIT 1
                )
                UNION ALL
                (
                    SELECT 2, h.equity_at, h.equity
                    FROM reporting.equity_history AS h
                    WHERE a.created_at < d.since
                        AND h.account_id = a.account_id
                        AND h.currency = a.currency
                        AND h.equity_at >= d.since
                    ORDER BY h.equity_at
                    LIMIT 1
                )
            ) AS c
            ORDER BY c.choice
            LIMIT 1
        ) AS b ON TRUE
        CROSS JOIN LATERAL (
            SELECT
                CASE WHEN count(r.fee) = count(r.fee_converted)
                    THEN coalesce(sum(r.fee_converted), 0) END AS fees,
                count(*) AS executions,
                CASE WHEN count(*) = count(r.notional_converted)
                    THEN coalesce(sum(r.notional_converted), 0) END AS traded
            FROM reporting.executions AS r
            WHERE r.account_id = a.account_id
                AND r.executed_at >= d.since
                AND r.executed_at < d.until
        ) AS x
        WHERE a.account_id = ANY (p_account_ids)
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

-- bars_between(symbol, from, to, bars) -> prices of an instrument, oldest first, at most so many
-- Up to two days are made of the sampled quotes where there are any (without volume); longer spans
-- are the finest bars kept for such a span. Too many are joined to fewer, highs and lows kept.
CREATE FUNCTION reporting.bars_between(
    p_symbol text, p_from timestamptz, p_to timestamptz, p_max_points integer
)
RETURNS TABLE (
    symbol text,
    bar_at timestamptz,
    open numeric,
    high numeric,
    low numeric,
    close numeric,
    volume numeric
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH kept AS MATERIALIZED (
        SELECT q.quote_at AS bar_at, q.price
        FROM reporting.quotes AS q
        WHERE q.symbol = p_symbol
            AND q.quote_at BETWEEN p_from AND p_to
            AND p_from >= p_to - interval '2 days'
    ),
    finest AS (
        SELECT r.resolution
        FROM (VALUES ('1m', interval '2 days'), ('1h', interval '60 days'), ('1d', NULL))
            AS r (resolution, span)
        WHERE (r.span IS NULL OR p_from >= p_to - r.span)
            AND NOT EXISTS (SELECT FROM kept)
            AND EXISTS (
                SELECT FROM reporting.bars AS b
                WHERE b.symbol = p_symbol
                    AND b.resolution = r.resolution
                    AND b.bar_at BETWEEN p_from AND p_to
            )
        ORDER BY r.span
        LIMIT 1
    ),
    source AS (
        SELECT k.bar_at, k.price AS open, k.price AS high, k.price AS low, k.price AS close,
            0::numeric AS volume
        FROM kept AS k
        UNION ALL
        SELECT b.bar_at, b.open, b.high, b.low, b.close, b.volume
        FROM finest AS f
        JOIN reporting.bars AS b ON b.resolution = f.resolution
        WHERE b.symbol = p_symbol AND b.bar_at BETWEEN p_from AND p_to
    ),
    numbered AS (
        SELECT
            s.*,
            (row_number() OVER (ORDER BY s.bar_at) - 1)
            * least(greatest(least(p_max_points, 5000), 1), count(*) OVER ())
            / count(*) OVER () AS bucket
        FROM source AS s
    )
    SELECT
        p_symbol,
        min(n.bar_at),
        (array_agg(n.open ORDER BY n.bar_at))[1],
        max(n.high),
        min(n.low),
        (array_agg(n.close ORDER BY n.bar_at DESC))[1],
        sum(n.volume)
    FROM numbered AS n
    GROUP BY n.bucket
    ORDER BY n.bucket
$$;
