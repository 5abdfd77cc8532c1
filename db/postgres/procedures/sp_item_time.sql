-- sp_item_time(text) -> time, null for null, -infinity for what is no time
-- Internal: sp_items_parse. Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_item_time(p_text text)
RETURNS timestamptz
LANGUAGE plpgsql
STABLE
STRICT
AS $$
BEGIN
    RETURN coalesce(app.sp_wire_time(p_text), '-infinity');
EXCEPTION WHEN data_exception THEN
    RETURN '-infinity';
END
$$;
