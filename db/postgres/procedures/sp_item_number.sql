-- sp_item_number(text) -> numeric, null for null, NaN for what is no plain number
-- Internal: sp_items_parse. Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_item_number(p_text text)
RETURNS numeric
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT CASE
        WHEN length(p_text) <= 46 AND p_text ~ '^[0-9]+(\.[0-9]+)?$' THEN p_text::numeric
        WHEN p_text IS NOT NULL THEN 'NaN'
    END
$$;
