-- sp_book_position(execution row) -> nothing
-- Folds one execution into the position: what it closes is released at average cost and realized,
-- what it opens, also beyond zero, adds its own cost. The release is cut, never rounded, at 12
-- decimals and leaves with the last share in full, so that a flat position costs exactly nothing
-- and realized_pnl - cost is always the traded cash.
-- Internal: sp_book_execution, sp_book_refold. Test: test_sp_positions.py

CREATE OR REPLACE FUNCTION app.sp_book_position(p_fill app.executions)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_position app.positions;
    v_sign numeric := CASE p_fill.side WHEN 'buy' THEN 1 ELSE -1 END;
    v_closed numeric := 0;
    v_released numeric := 0;
BEGIN
    INSERT INTO app.positions (account_id, instrument_id)
    VALUES (p_fill.account_id, p_fill.instrument_id)
    ON CONFLICT DO NOTHING;
    SELECT p.* INTO STRICT v_position
    FROM app.positions AS p
    WHERE p.account_id = p_fill.account_id AND p.instrument_id = p_fill.instrument_id;

    IF sign(v_position.quantity) = -v_sign THEN
        v_closed := least(p_fill.quantity, abs(v_position.quantity));
        v_released := CASE
            WHEN v_closed = abs(v_position.quantity) THEN v_position.cost
            -- div is exact where a quotient is rounded to as few as 16 digits.
            ELSE div(v_position.cost * v_closed * 1e12, abs(v_position.quantity)) * 1e-12
        END;
    END IF;
    UPDATE app.positions AS p
    SET
        quantity = trim_scale(p.quantity + v_sign * p_fill.quantity),
        cost = trim_scale(
            p.cost - v_released + v_sign * (p_fill.quantity - v_closed) * p_fill.price
        ),
        realized_pnl = trim_scale(p.realized_pnl - v_sign * v_closed * p_fill.price - v_released),
        fees = trim_scale(
            p.fees
            + CASE WHEN p_fill.fee_currency = p_fill.currency THEN p_fill.fee ELSE 0 END
        ),
        updated_at = clock_timestamp()
    WHERE p.account_id = p_fill.account_id AND p.instrument_id = p_fill.instrument_id;
END
$$;
