-- What the screen reads of risk: exposure, how much of each limit is used, what needs a look, what
-- may be ordered. Laid anew, as app_owner, after the views of 20_reporting.sql. Holds no data.

-- The order types and times in force that the route of an account takes.
CREATE VIEW reporting.route_capabilities WITH (security_invoker = TRUE) AS
SELECT a.account_id, a.route, c.order_type, c.time_in_force
FROM app.accounts AS a
JOIN app.route_capabilities AS c ON c.route = a.route;

CREATE VIEW reporting.strategies WITH (security_invoker = TRUE) AS
SELECT s.account_id, s.strategy_id, s.name
FROM app.strategies AS s;

-- The position of an account in an instrument, split by the strategies that traded it. Without any
-- it is the position that is kept; with some, each has a book of its own, folded at average cost
-- from its executions that hold, in the order in which they were first recorded. Quantities, fees,
-- and realized_pnl - cost add up to the position; realized_pnl alone need not, where one strategy
-- sold what another had bought.
CREATE VIEW reporting.books WITH (security_invoker = TRUE) AS
SELECT
    p.account_id, NULL::bigint AS strategy_id, p.instrument_id, p.quantity, p.cost, p.realized_pnl,
    p.fees
FROM app.positions AS p
WHERE NOT EXISTS (
    SELECT FROM app.orders AS o
    WHERE o.account_id = p.account_id
        AND o.instrument_id = p.instrument_id
        AND o.strategy_id IS NOT NULL
)
UNION ALL
SELECT
    f.account_id, f.strategy_id, f.instrument_id, (f.book).quantity, (f.book).cost,
    (f.book).realized_pnl, (f.book).fees
FROM (
    SELECT
        x.account_id,
        x.strategy_id,
        x.instrument_id,
        app.sp_book_fold_all(
            x.side, x.quantity, x.price, x.multiplier, x.fee ORDER BY x.first_id
        ) AS book
    FROM (
        SELECT
            e.account_id,
            o.strategy_id,
            e.instrument_id,
            e.side,
            e.quantity,
            e.price,
            i.multiplier,
            CASE WHEN e.fee_currency = e.currency THEN e.fee END AS fee,
            e.kind = 'bust' OR EXISTS (
                SELECT FROM app.executions AS c WHERE c.corrects = e.execution_id
            ) AS void,
            min(e.execution_id) OVER (
                PARTITION BY e.account_id, e.source, e.exec_base
            ) AS first_id
        FROM app.positions AS p
        JOIN app.executions AS e
            ON e.account_id = p.account_id AND e.instrument_id = p.instrument_id
        JOIN app.orders AS o ON o.order_id = e.order_id
        JOIN app.instruments AS i ON i.instrument_id = e.instrument_id
        WHERE EXISTS (
            SELECT FROM app.orders AS s
            WHERE s.account_id = p.account_id
                AND s.instrument_id = p.instrument_id
                AND s.strategy_id IS NOT NULL
        )
    ) AS x
    WHERE NOT x.void
    GROUP BY x.account_id, x.strategy_id, x.instrument_id
) AS f;

-- What is held now, once by symbol and once by strategy (null: without one). net is long less
-- short, gross is both without sign; each in its own currency, at the last price. `unpriced` counts
-- what has none and therefore no part in either.
CREATE VIEW reporting.exposure WITH (security_invoker = TRUE) AS
SELECT
    v.account_id,
    'symbol' AS dimension,
    v.symbol AS name,
    v.currency,
    coalesce(v.market_value, 0) AS net,
    coalesce(abs(v.market_value), 0) AS gross,
    CASE WHEN v.last_price IS NULL THEN 1 ELSE 0 END::bigint AS unpriced
FROM reporting.positions AS v
WHERE v.quantity <> 0
UNION ALL
SELECT
    b.account_id,
    'strategy',
    s.name,
    i.currency,
    coalesce(sum(b.quantity * l.price * i.multiplier), 0),
    coalesce(sum(abs(b.quantity) * l.price * i.multiplier), 0),
    count(*) FILTER (WHERE l.price IS NULL)
FROM reporting.books AS b
JOIN app.instruments AS i ON i.instrument_id = b.instrument_id
LEFT JOIN app.strategies AS s ON s.strategy_id = b.strategy_id
LEFT JOIN market.last_prices AS l ON l.instrument_id = b.instrument_id
WHERE b.quantity <> 0
GROUP BY b.account_id, s.name, i.currency;

-- How much of each limit is used now; use is a fraction, null when the limit is nothing.
--   order_quantity, order_notional  the largest rest of an open order, at its limit, stop or last
--                                   price, in the account's currency
--   position_quantity               the largest position if every open order of a side filled
--   open_orders                     their number
--   orders_per_minute               what of the rate is spent and not won back yet
--   daily_loss                      what the day lost, by the figure that denies orders
--   gross_exposure                  value of long and short positions; the limit is the equity
--                                   times the leverage allowed
CREATE VIEW reporting.limit_usage WITH (security_invoker = TRUE) AS
SELECT
    a.account_id,
    a.currency,
    u.name,
    u.used,
    u.allowed,
    u.used / nullif(u.allowed, 0) AS use
FROM app.accounts AS a
JOIN app.risk_limits AS l ON l.account_id = a.account_id
JOIN app.streams AS s ON s.stream_id = a.account_id
JOIN reporting.equity AS e ON e.account_id = a.account_id
LEFT JOIN app.day_equity AS d ON d.account_id = a.account_id
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(w.orders), 0) AS orders,
        coalesce(max(w.quantity_max), 0) AS quantity_max,
        coalesce(max(w.notional_max), 0) AS notional_max,
        coalesce(max(greatest(
            abs(coalesce(p.quantity, 0) + w.buys), abs(coalesce(p.quantity, 0) - w.sells)
        )), 0) AS position_max,
        e.gross_exposure AS gross
    FROM (
        SELECT p.account_id, p.instrument_id, p.quantity
        FROM app.positions AS p WHERE p.account_id = a.account_id
    ) AS p
    FULL JOIN (
        SELECT
            x.instrument_id,
            count(*) AS orders,
            coalesce(sum(y.leaves) FILTER (WHERE x.side = 'buy'), 0) AS buys,
            coalesce(sum(y.leaves) FILTER (WHERE x.side = 'sell'), 0) AS sells,
            max(y.leaves) AS quantity_max,
            max(
                y.leaves * coalesce(x.limit_price, x.stop_price, z.price) * i.multiplier * r.rate
            ) AS notional_max
        FROM app.orders AS x
        JOIN app.instruments AS i ON i.instrument_id = x.instrument_id
        CROSS JOIN LATERAL app.sp_fx_rate(
            i.currency, a.currency, (now() AT TIME ZONE 'UTC')::date
        ) AS r
        LEFT JOIN market.last_prices AS z ON z.instrument_id = x.instrument_id
        CROSS JOIN LATERAL (
            SELECT greatest(x.quantity, x.pending_quantity) - x.cum_quantity AS leaves
        ) AS y
        WHERE x.account_id = a.account_id
            AND x.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
        GROUP BY x.instrument_id
    ) AS w ON w.instrument_id = p.instrument_id
) AS o
CROSS JOIN LATERAL (
    VALUES
    ('order_quantity', o.quantity_max, l.order_quantity_max),
    ('order_notional', o.notional_max, l.order_notional_max),
    ('position_quantity', o.position_max, l.position_quantity_max),
    ('open_orders', o.orders, l.open_orders_max::numeric),
    (
        'orders_per_minute',
        extract(EPOCH FROM greatest(s.rate_at, now()) - now()) * l.orders_per_minute_max / 60,
        l.orders_per_minute_max
    ),
    ('daily_loss', greatest(coalesce(d.equity, 0) - e.equity, 0), l.daily_loss_max),
    ('gross_exposure', o.gross, greatest(e.equity, 0) * l.leverage_max)
) AS u (name, used, allowed);

-- What needs a look, by when it last changed: orders that were denied, rejected or lost, and those
-- of which a fill came late, was more than ordered, or was corrected; open positions whose price is
-- too old to check orders against, or missing; figures that the last integrity check found to be
-- other than what their rows make them, or that the broker has otherwise (symbol: the symbol,
-- currency or order it is about). An order appears once for each.
CREATE VIEW reporting.alerts WITH (security_invoker = TRUE) AS
SELECT
    o.updated_at AS alert_at,
    o.account_id,
    k.kind,
    CASE WHEN k.kind IN ('lost', 'overfill') THEN 'error' ELSE 'warning' END AS severity,
    o.order_id,
    i.symbol,
    o.side,
    o.quantity,
    CASE WHEN k.kind = o.status THEN o.reason_code END AS reason_code,
    NULL AS detail,
    NULL::bigint AS break_id
FROM app.orders AS o
JOIN app.instruments AS i ON i.instrument_id = o.instrument_id
CROSS JOIN LATERAL unnest(ARRAY[
    CASE WHEN o.status IN ('denied', 'rejected', 'lost') THEN o.status END,
    CASE WHEN o.overfill THEN 'overfill' END,
    CASE WHEN o.late_fill THEN 'late_fill' END,
    CASE WHEN o.corrected THEN 'corrected' END
]) AS k (kind)
WHERE (
    o.status IN ('denied', 'rejected', 'lost') OR o.late_fill OR o.overfill OR o.corrected
)
AND k.kind IS NOT NULL
UNION ALL
SELECT
    coalesce(l.received_at, p.updated_at),
    p.account_id,
    CASE WHEN l.price IS NULL THEN 'no_price' ELSE 'stale_price' END,
    'warning',
    NULL,
    i.symbol,
    CASE WHEN p.quantity > 0 THEN 'long' ELSE 'short' END,
    abs(p.quantity),
    NULL,
    NULL,
    NULL
FROM app.positions AS p
JOIN app.instruments AS i ON i.instrument_id = p.instrument_id
LEFT JOIN market.last_prices AS l ON l.instrument_id = p.instrument_id
WHERE p.quantity <> 0
    AND (
        l.price IS NULL
        OR l.received_at
        < now() - app.sp_quote_stale_after(l.source)
    )
UNION ALL
SELECT
    b.found_at,
    b.account_id,
    'integrity_break',
    'error',
    NULL,
    b.subject,
    NULL,
    NULL,
    NULL,
    format(
        '%s is %s, should be %s',
        replace(b.figure, '_', ' '), trim_scale(b.ours), trim_scale(b.expected)
    ),
    NULL
FROM app.integrity_breaks AS b
UNION ALL
SELECT
    b.found_at,
    b.account_id,
    'recon_break',
    'error',
    NULL,
    b.subject,
    NULL,
    NULL,
    NULL,
    format(
        '%s is %s here, %s at the broker (break %s)',
        b.figure, trim_scale(b.ours), trim_scale(b.theirs), b.break_id
    ),
    b.break_id
FROM app.recon_breaks AS b
WHERE b.state = 'open';
