-- sp_book_cash(execution row) -> nothing
-- Moves the cash of one execution: its value in the instrument's currency, its fee in its own.
-- Internal: sp_book_execution. Test: test_sp_positions.py

CREATE OR REPLACE FUNCTION app.sp_book_cash(p_fill app.executions)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO app.cash_balances AS b (account_id, currency, amount)
    SELECT p_fill.account_id, m.currency, trim_scale(sum(m.amount))
    FROM (
        VALUES
        (
            p_fill.currency,
            CASE p_fill.side WHEN 'buy' THEN -1 ELSE 1 END * p_fill.quantity * p_fill.price
        ),
        (p_fill.fee_currency, -p_fill.fee)
    ) AS m (currency, amount)
    WHERE m.amount <> 0
    GROUP BY m.currency
    ON CONFLICT (account_id, currency) DO UPDATE
    SET amount = trim_scale(b.amount + excluded.amount);
END
$$;
