-- sp_reconcile_find() -> positions and cash that a broker's report, if it counts, has otherwise
-- Cash may differ by a cent, for the broker rounds. Writes nothing.
-- Internal: sp_reconcile. Test: test_sp_reconcile.py

CREATE OR REPLACE FUNCTION app.sp_reconcile_find()
RETURNS TABLE (
    account_id bigint,
    seen_at timestamptz,
    figure text,
    subject text,
    ours numeric,
    theirs numeric
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH reports AS MATERIALIZED (
        SELECT r.* FROM app.sp_reconcile_reports() AS r
    ),
    told AS (
        SELECT
            r.account_id, 'position' AS figure, p.value ->> 'symbol' AS subject,
            sum((p.value ->> 'quantity')::numeric) AS amount
        FROM reports AS r
        CROSS JOIN LATERAL jsonb_array_elements(r.report -> 'positions') AS p (value)
        GROUP BY r.account_id, p.value ->> 'symbol'
        UNION ALL
        SELECT
            r.account_id, 'cash', c.value ->> 'currency', sum((c.value ->> 'amount')::numeric)
        FROM reports AS r
        CROSS JOIN LATERAL jsonb_array_elements(r.report -> 'cash') AS c (value)
        GROUP BY r.account_id, c.value ->> 'currency'
    ),
    booked AS (
        SELECT p.account_id, 'position' AS figure, i.symbol AS subject, p.quantity AS amount
        FROM app.positions AS p
        JOIN app.instruments AS i ON i.instrument_id = p.instrument_id
        UNION ALL
        SELECT c.account_id, 'cash', c.currency, c.amount FROM app.cash_balances AS c
    )
    SELECT
        x.account_id, r.seen_at, x.figure, x.subject, coalesce(x.ours, 0), coalesce(x.theirs, 0)
    FROM (
        SELECT
            coalesce(b.account_id, t.account_id) AS account_id,
            coalesce(b.figure, t.figure) AS figure,
            coalesce(b.subject, t.subject) AS subject,
            b.amount AS ours,
            t.amount AS theirs
        FROM booked AS b
        FULL JOIN told AS t
            ON t.account_id = b.account_id AND t.figure = b.figure AND t.subject = b.subject
    ) AS x
    JOIN reports AS r ON r.account_id = x.account_id
    WHERE abs(coalesce(x.ours, 0) - coalesce(x.theirs, 0))
        > CASE x.figure WHEN 'cash' THEN 0.01 ELSE 0 END
$$;
