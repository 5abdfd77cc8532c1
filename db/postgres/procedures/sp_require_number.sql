-- sp_require_number(value, name) -> nothing, or IN422 `<name>_invalid`.
-- Greater than 0, below 10^12, at most 8 decimals; neither NaN nor Infinity, which a column's
-- type would let through or round in silence. Internal.

CREATE OR REPLACE FUNCTION app.sp_require_number(p_value numeric, p_name text) RETURNS void
LANGUAGE plpgsql
IMMUTABLE
AS $$
BEGIN
    -- NaN is greater than every number, so the upper bound refuses it as it does Infinity.
    IF (p_value > 0 AND p_value < 1e12 AND scale(trim_scale(p_value)) <= 8) IS NOT TRUE THEN
        RAISE EXCEPTION '% is not a number above 0, below 10^12, with at most 8 decimals', p_name
            USING ERRCODE = 'IN422', DETAIL = p_name || '_invalid';
    END IF;
END
$$;
