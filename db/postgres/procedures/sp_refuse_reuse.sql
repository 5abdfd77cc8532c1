-- sp_refuse_reuse() -> never
-- Refuses an idempotency key that was used for another request; says nothing of that request.
-- SQLSTATE IN422 idempotency_key_reused. Called by sp_place_order and sp_cancel_order.
-- Test: test_sp_place_order.py

CREATE OR REPLACE FUNCTION app.sp_refuse_reuse()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'IN422', DETAIL = 'idempotency_key_reused',
        MESSAGE = 'this key was used for another request',
        HINT = 'Make a new key for a new request; repeat a request with its own.';
END
$$;
