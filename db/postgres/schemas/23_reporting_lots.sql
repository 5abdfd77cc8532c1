-- What was bought and sold, matched first in, first out: the lots that are open, and what each
-- close realized. Laid anew, as app_owner, after the views of 20_reporting.sql. Holds no data.
--
-- Positions are kept at average cost; this is the other way to count, from the same executions. The
-- two agree on every quantity, and on what was realized whenever a position is flat. Both run with
-- the rights and policies of who asks. Test: test_reporting_lots.py; `make test-contract`.

-- fifo_lots(accounts) -> every piece of an execution that opened, with what closed it
-- The n-th unit that was sold answers the n-th unit that was bought, whichever of the two came
-- first and opened; so shorts are matched as longs, and a fill beyond zero closes and opens. An
-- execution stands where its first report stands (executed_at, execution_id), whatever corrected
-- it later; a busted one is not there. quantity and cost are signed as a position's are; a lot that
-- is open has no close. Money holds the multiplier. Exact: nothing is divided.
CREATE FUNCTION reporting.fifo_lots(p_account_ids bigint [])
RETURNS TABLE (
    account_id bigint,
    symbol text,
    currency text,
    quantity numeric,
    opened_by bigint,
    opened_at timestamptz,
    open_price numeric,
    closed_by bigint,
    closed_at timestamptz,
    close_price numeric,
    cost numeric,
    realized_pnl numeric
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    -- Each takes its place, and the last of the units that its side has traded so far.
    WITH fills AS (
        SELECT
            e.account_id,
            e.symbol,
            e.currency,
            e.execution_id,
            CASE e.side WHEN 'buy' THEN 1 ELSE -1 END AS sign,
            e.quantity,
            e.price,
            e.multiplier,
            e.first_executed_at AS executed_at,
            row_number() OVER (
                PARTITION BY e.account_id, e.symbol
                ORDER BY e.first_executed_at, e.first_execution_id
            ) AS place,
            sum(e.quantity) OVER (
                PARTITION BY e.account_id, e.symbol, e.side
                ORDER BY e.first_executed_at, e.first_execution_id
            ) AS last_unit
        FROM reporting.executions AS e
        WHERE e.account_id = ANY (p_account_ids)
    ),
    -- Cut where a fill of either side ends, a piece lies in one buy, in one sell, or in both.
    pieces AS (
        SELECT
            f.account_id,
            f.symbol,
            f.last_unit - lag(f.last_unit, 1, 0::numeric) OVER (
                PARTITION BY f.account_id, f.symbol ORDER BY f.last_unit
            ) AS quantity,
            min(f.place) FILTER (WHERE f.sign = 1) OVER w AS bought,
            min(f.place) FILTER (WHERE f.sign = -1) OVER w AS sold
        FROM fills AS f
        WINDOW w AS (PARTITION BY f.account_id, f.symbol ORDER BY f.last_unit DESC)
    )
    SELECT
        p.account_id,
        p.symbol,
        o.currency,
        trim_scale(o.sign * p.quantity),
        o.execution_id,
        o.executed_at,
        o.price,
        c.execution_id,
        c.executed_at,
        c.price,
        trim_scale(o.sign * p.quantity * o.price * o.multiplier),
        trim_scale(o.sign * p.quantity * (c.price - o.price) * o.multiplier)
    FROM pieces AS p
    -- The earlier of the two opened; without a second there is no close.
    JOIN fills AS o
        ON o.account_id = p.account_id
        AND o.symbol = p.symbol
        AND o.place = least(p.bought, p.sold)
    LEFT JOIN fills AS c
        ON c.account_id = p.account_id
        AND c.symbol = p.symbol
        AND c.place = nullif(greatest(p.bought, p.sold), least(p.bought, p.sold))
    -- A buy and a sell may end at the same unit.
    WHERE p.quantity > 0
    ORDER BY p.account_id, p.symbol, c.place NULLS LAST, o.place
$$;

-- fifo_realized(accounts) -> what is held and what was realized, per account and instrument
-- The columns of reporting.positions, counted first in, first out; without fees, as there.
CREATE FUNCTION reporting.fifo_realized(p_account_ids bigint [])
RETURNS TABLE (
    account_id bigint,
    symbol text,
    currency text,
    quantity numeric,
    cost numeric,
    realized_pnl numeric
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        l.account_id,
        l.symbol,
        l.currency,
        trim_scale(coalesce(sum(l.quantity) FILTER (WHERE l.closed_by IS NULL), 0)),
        trim_scale(coalesce(sum(l.cost) FILTER (WHERE l.closed_by IS NULL), 0)),
        trim_scale(coalesce(sum(l.realized_pnl), 0))
    FROM reporting.fifo_lots(p_account_ids) AS l
    GROUP BY l.account_id, l.symbol, l.currency
    ORDER BY l.account_id, l.symbol
$$;
