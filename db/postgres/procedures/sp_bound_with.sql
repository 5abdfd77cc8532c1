-- sp_bound_with(bound, side, quantity, price, point value) -> app.open_bound
-- What open orders bind at most with one more of them. Without a price or a point value that
-- stays, or where the bound was not known, its value is null. Reads nothing.
-- Internal: sp_place_order, sp_items_decide. Test: test_sp_open_bound.py

CREATE OR REPLACE FUNCTION app.sp_bound_with(
    p_bound app.open_bound, p_side text, p_quantity numeric, p_price numeric,
    p_point_value numeric
)
RETURNS app.open_bound
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT ROW(
        (p_bound).orders + 1,
        (p_bound).buys + CASE p_side WHEN 'buy' THEN p_quantity ELSE 0 END,
        (p_bound).sells + CASE p_side WHEN 'sell' THEN p_quantity ELSE 0 END,
        (p_bound).value + p_quantity * p_price * p_point_value
    )::app.open_bound
$$;
