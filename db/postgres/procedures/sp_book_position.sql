-- sp_book_position(execution row) -> nothing
-- Folds one execution into the position, as sp_book_fold says.
-- Internal: sp_book_execution. Test: test_sp_positions.py

CREATE OR REPLACE FUNCTION app.sp_book_position(p_fill app.executions)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO app.positions (account_id, instrument_id)
    VALUES (p_fill.account_id, p_fill.instrument_id)
    ON CONFLICT DO NOTHING;
    UPDATE app.positions AS p
    SET
        quantity = f.quantity,
        cost = f.cost,
        realized_pnl = f.realized_pnl,
        fees = f.fees,
        updated_at = clock_timestamp()
    FROM app.positions AS b
    JOIN app.instruments AS i ON i.instrument_id = b.instrument_id
    CROSS JOIN LATERAL app.sp_book_fold(
        ROW(b.quantity, b.cost, b.realized_pnl, b.fees), p_fill.side, p_fill.quantity,
        p_fill.price, i.multiplier,
        CASE WHEN p_fill.fee_currency = p_fill.currency THEN p_fill.fee END
    ) AS f
    WHERE b.account_id = p_fill.account_id
        AND b.instrument_id = p_fill.instrument_id
        AND p.account_id = b.account_id
        AND p.instrument_id = b.instrument_id;
END
$$;
