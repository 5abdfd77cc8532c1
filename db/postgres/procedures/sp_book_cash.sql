-- sp_book_cash(execution row, sign) -> nothing
-- Moves the cash of one execution: its value, price times quantity times multiplier, in the
-- instrument's currency, its fee, once that is reported, in its own. Sign -1 takes it back.
-- Internal: sp_book_execution, sp_book_change. Test: test_sp_positions.py

CREATE OR REPLACE FUNCTION app.sp_book_cash(p_fill app.executions, p_sign integer)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO app.cash_balances AS b (account_id, currency, amount, fees)
    SELECT
        p_fill.account_id, m.currency, trim_scale(p_sign * sum(m.amount)),
        trim_scale(p_sign * sum(m.fee))
    FROM (
        VALUES
        (
            p_fill.currency,
            CASE p_fill.side WHEN 'buy' THEN -1 ELSE 1 END * p_fill.quantity * p_fill.price * (
                SELECT i.multiplier FROM app.instruments AS i
                WHERE i.instrument_id = p_fill.instrument_id
            ),
            0
        ),
        (p_fill.fee_currency, -p_fill.fee, p_fill.fee)
    ) AS m (currency, amount, fee)
    WHERE m.amount <> 0
    GROUP BY m.currency
    ON CONFLICT (account_id, currency) DO UPDATE
    SET
        amount = trim_scale(b.amount + excluded.amount),
        fees = trim_scale(b.fees + excluded.fees);
END
$$;
