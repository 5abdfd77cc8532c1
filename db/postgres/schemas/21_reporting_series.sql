-- What the screen draws over time: the equity curve, the prices of an instrument.
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
    -- An answer looks 50,000 times at most: the curve of more than thirty accounts has fewer points.
    span AS (
        SELECT
            min(c.first_at) AS first_at,
            max(c.last_at) AS last_at,
            s.steps,
            greatest((max(c.last_at) - min(c.first_at)) / s.steps, interval '1 s') AS width
        FROM chosen AS c
        CROSS JOIN (
            SELECT greatest(least(p_max_points, 5000, 50000 / count(*)), 2) - 1 AS steps
            FROM chosen AS k
            HAVING count(*) > 0
        ) AS s
        GROUP BY s.steps
    ),
    grid AS (
        SELECT
            g.step,
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
    -- The last sample of each account since the point before; bounded on both sides, so that it is
    -- looked for in one partition or two.
    samples AS (
        SELECT
            g.step, c.account_id, c.currency, c.equity_before, h.equity_at, h.equity,
            count(h.equity) OVER (PARTITION BY c.account_id ORDER BY g.step) AS run
        FROM grid AS g
        CROSS JOIN chosen AS c
        LEFT JOIN LATERAL (
            SELECT h.equity_at, h.equity FROM reporting.equity_history AS h
            WHERE h.account_id = c.account_id
                AND h.currency = c.currency
                AND h.equity_at > g.since
                AND h.equity_at <= g.until
            ORDER BY h.equity_at DESC
            LIMIT 1
        ) AS h ON c.first_at <= g.until AND c.last_at > g.since
    ),
    -- A sample stands until the next.
    standing AS (
        SELECT
            s.step, s.currency, s.equity_at,
            coalesce(
                max(s.equity) OVER (PARTITION BY s.account_id, s.run), s.equity_before
            ) AS equity
        FROM samples AS s
    ),
    points AS (
        SELECT max(s.equity_at) AS equity_at, s.currency, sum(s.equity) AS equity
        FROM standing AS s
        GROUP BY s.step, s.currency
        -- Nothing new between this point and the one before.
        HAVING count(s.equity_at) > 0
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
