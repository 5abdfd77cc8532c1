-- sp_require_read_committed() -> nothing
-- Refuses any isolation but READ COMMITTED: only there does a statement that waited for the stream
-- lock see what the winner wrote.
-- SQLSTATE 25001. Called by every writing procedure. Test: test_sp_place_order.py

CREATE OR REPLACE FUNCTION app.sp_require_read_committed()
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING
            ERRCODE = '25001',
            MESSAGE = 'procedures that write need READ COMMITTED',
            HINT = 'Call them outside of a transaction of another isolation level.';
    END IF;
END
$$;
