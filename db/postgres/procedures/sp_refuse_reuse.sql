-- sp_refuse_reuse() -> never
-- Refuses an idempotency key that was used for another request; says nothing of that request.
-- SQLSTATE IN422 idempotency_key_reused. Called by the procedures that take a key.
-- Test: test_sp_place_order.py

CREATE OR REPLACE FUNCTION app.sp_refuse_reuse()
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM app.sp_refuse('idempotency_key_reused');
END
$$;
