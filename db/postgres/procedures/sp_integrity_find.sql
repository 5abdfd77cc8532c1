-- sp_integrity_find(accounts) -> every figure of them that is not what its rows make it
-- Positions against the fold of the executions that hold, cash and fees against movements and
-- executions, cum_quantity of orders against their executions, and what open orders bind, where
-- that is more than the bound that is kept of it. One statement, thus one snapshot:
-- what is booked meanwhile is seen in whole or not at all. Writes nothing.
-- Internal: sp_integrity_check. Test: test_sp_integrity.py

CREATE OR REPLACE FUNCTION app.sp_integrity_find(p_account_ids bigint [])
RETURNS TABLE (
    account_id bigint,
    figure text,
    subject text,
    ours numeric,
    expected numeric
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH held AS MATERIALIZED (
        SELECT x.* FROM app.sp_executions_held(p_account_ids, NULL) AS x
    ),
    folded AS (
        SELECT
            h.account_id,
            h.instrument_id,
            app.sp_book_fold_all(
                h.side, h.quantity, h.price, h.multiplier,
                CASE WHEN h.fee_currency = h.currency THEN h.fee END
                ORDER BY h.place
            ) AS made
        FROM held AS h
        GROUP BY h.account_id, h.instrument_id
    ),
    moved AS (
        SELECT m.account_id, m.currency, sum(m.amount) AS amount, sum(m.fee) AS fees
        FROM (
            SELECT c.account_id, c.currency, c.amount, 0 AS fee
            FROM app.cash_movements AS c
            WHERE c.account_id = ANY (p_account_ids)
            UNION ALL
            SELECT
                h.account_id, h.currency,
                CASE h.side WHEN 'buy' THEN -1 ELSE 1 END * h.quantity * h.price * h.multiplier, 0
            FROM held AS h
            UNION ALL
            SELECT h.account_id, h.fee_currency, -h.fee, h.fee
            FROM held AS h
            WHERE h.fee IS NOT NULL
        ) AS m
        GROUP BY m.account_id, m.currency
    ),
    compared AS (
        SELECT k.account_id, f.figure, i.symbol AS subject, f.ours, f.expected
        FROM (
            SELECT p.* FROM app.positions AS p WHERE p.account_id = ANY (p_account_ids)
        ) AS b
        FULL JOIN folded AS m
            ON m.account_id = b.account_id AND m.instrument_id = b.instrument_id
        CROSS JOIN LATERAL (
            SELECT
                coalesce(b.account_id, m.account_id) AS account_id,
                coalesce(b.instrument_id, m.instrument_id) AS instrument_id
        ) AS k
        JOIN app.instruments AS i ON i.instrument_id = k.instrument_id
        CROSS JOIN LATERAL (
            VALUES
            ('position.quantity', b.quantity, (m.made).quantity),
            ('position.cost', b.cost, (m.made).cost),
            ('position.realized_pnl', b.realized_pnl, (m.made).realized_pnl),
            ('position.fees', b.fees, (m.made).fees)
        ) AS f (figure, ours, expected)
        UNION ALL
        SELECT
            coalesce(b.account_id, m.account_id), f.figure, coalesce(b.currency, m.currency),
            f.ours, f.expected
        FROM (
            SELECT c.* FROM app.cash_balances AS c WHERE c.account_id = ANY (p_account_ids)
        ) AS b
        FULL JOIN moved AS m ON m.account_id = b.account_id AND m.currency = b.currency
        CROSS JOIN LATERAL (
            VALUES ('cash.amount', b.amount, m.amount), ('cash.fees', b.fees, m.fees)
        ) AS f (figure, ours, expected)
        UNION ALL
        SELECT o.account_id, 'order.cum_quantity', o.order_id::text, o.cum_quantity, x.quantity
        FROM app.orders AS o
        LEFT JOIN (
            SELECT h.order_id, sum(h.quantity) AS quantity FROM held AS h GROUP BY h.order_id
        ) AS x ON x.order_id = o.order_id
        WHERE o.account_id = ANY (p_account_ids)
        UNION ALL
        SELECT s.stream_id, f.figure, 'open orders', least(f.ours, f.expected), f.expected
        FROM app.streams AS s
        CROSS JOIN LATERAL app.sp_open_orders(s.stream_id, NULL, NULL) AS c
        CROSS JOIN LATERAL (
            VALUES
            ('open_bound.orders', (s.open_bound).orders, (c.bound).orders),
            ('open_bound.buys', (s.open_bound).buys, (c.bound).buys),
            ('open_bound.sells', (s.open_bound).sells, (c.bound).sells),
            ('open_bound.value', (s.open_bound).value, coalesce((c.bound).value, 'Infinity'))
        ) AS f (figure, ours, expected)
        WHERE s.stream_id = ANY (p_account_ids) AND (s.open_bound).value IS NOT NULL
    )
    SELECT c.account_id, c.figure, c.subject, coalesce(c.ours, 0), coalesce(c.expected, 0)
    FROM compared AS c
    WHERE coalesce(c.ours, 0) <> coalesce(c.expected, 0)
    ORDER BY c.account_id, c.figure, c.subject
$$;
