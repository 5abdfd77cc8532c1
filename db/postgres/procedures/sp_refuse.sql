-- sp_refuse(code, prefix) -> never
-- Raises the refusal of a code, as sp_refusal describes it; DETAIL is the code. Internal.
-- Test: test_sp_place_order.py

CREATE OR REPLACE FUNCTION app.sp_refuse(p_code text, p_prefix text DEFAULT '')
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_refusal record;
BEGIN
    SELECT r.* INTO v_refusal FROM app.sp_refusal(p_code) AS r;
    RAISE EXCEPTION USING
        ERRCODE = v_refusal.sqlstate, DETAIL = p_code, MESSAGE = p_prefix || v_refusal.message,
        HINT = CASE p_code
            WHEN 'idempotency_key_reused'
                THEN 'Make a new key for a new request; repeat a request with its own.'
            ELSE ''
        END;
END
$$;
