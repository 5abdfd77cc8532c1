-- sp_wire_number(text) -> numeric, or null when it is not a plain number of 0 or more below 10^12
-- More decimals than ours are allowed: what a broker charges and pays is recorded as it is.
-- Internal: sp_book_execution. Test: test_sp_events.py

CREATE OR REPLACE FUNCTION app.sp_wire_number(p_text text)
RETURNS numeric
LANGUAGE plpgsql
IMMUTABLE
AS $$
BEGIN
    IF p_text ~ '^[0-9]{1,12}(\.[0-9]{1,18})?$' THEN
        RETURN trim_scale(p_text::numeric);
    END IF;
    RETURN NULL;
END
$$;
