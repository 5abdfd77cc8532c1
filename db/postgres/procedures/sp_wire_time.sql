-- sp_wire_time(text) -> time, or null when it is not ISO 8601 with a zone
-- The cast alone would take words like `now` and times without a zone. 22008 when a field is out of
-- range. Internal. Test: test_sp_events.py

CREATE OR REPLACE FUNCTION app.sp_wire_time(p_text text)
RETURNS timestamptz
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    IF p_text ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$' THEN
        RETURN p_text::timestamptz;
    END IF;
    RETURN NULL;
END
$$;
