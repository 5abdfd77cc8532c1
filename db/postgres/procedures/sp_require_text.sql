-- sp_require_text(value, pattern, name) -> nothing, or IN422 `<name>_invalid`. Internal.

CREATE OR REPLACE FUNCTION app.sp_require_text(p_value text, p_pattern text, p_name text)
RETURNS void
LANGUAGE plpgsql
IMMUTABLE
AS $$
BEGIN
    IF p_value IS NULL OR p_value !~ p_pattern THEN
        RAISE EXCEPTION '% is missing or malformed', p_name
            USING ERRCODE = 'IN422', DETAIL = p_name || '_invalid';
    END IF;
END
$$;
