-- sp_book_fold(position so far, side, quantity, price, multiplier, fee) -> the position after it
-- One execution more: what it closes is released at average cost and realized, what it opens, also
-- beyond zero, adds its own cost. Money is price times quantity times multiplier. The release is
-- cut, never rounded, at 12 decimals and leaves with the last share in full, so that a flat one
-- costs exactly nothing and realized_pnl - cost is always the traded cash. The fee is what counts
-- in the instrument's currency; null is nothing. It names no type of `app` inside: the books are
-- folded in the name of a reader, who may not look into that schema.
-- The one definition of cost and realized profit: sp_book_fold_all folds whole histories by it.
-- Internal: sp_book_position. Test: test_sp_positions.py, test_accounting_properties.py

CREATE OR REPLACE FUNCTION app.sp_book_fold(
    p_before app.position_fold, p_side text, p_quantity numeric, p_price numeric,
    p_multiplier numeric, p_fee numeric
)
RETURNS app.position_fold
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_signed numeric := CASE p_side WHEN 'buy' THEN p_quantity ELSE -p_quantity END;
    v_value numeric := p_price * p_multiplier;
    v_held numeric := abs(p_before.quantity);
    v_closed numeric := 0;
    v_released numeric := 0;
BEGIN
    IF sign(p_before.quantity) = -sign(v_signed) THEN
        v_closed := least(p_quantity, v_held);
        v_released := CASE
            WHEN v_closed = v_held THEN p_before.cost
            -- div is exact where a quotient is rounded to as few as 16 digits.
            ELSE div(p_before.cost * v_closed * 1e12, v_held) * 1e-12
        END;
    END IF;
    RETURN ROW(
        trim_scale(p_before.quantity + v_signed),
        trim_scale(
            p_before.cost - v_released + sign(v_signed) * (p_quantity - v_closed) * v_value
        ),
        trim_scale(
            p_before.realized_pnl - sign(v_signed) * v_closed * v_value - v_released
        ),
        trim_scale(p_before.fees + coalesce(p_fee, 0))
    );
END
$$;
