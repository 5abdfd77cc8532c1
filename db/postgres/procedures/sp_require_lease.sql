-- sp_require_lease(owner, lease) -> nothing
-- IN422 owner_invalid, lease_invalid: a name of 1 to 200 characters, a lease of at most an hour.
-- Internal. Test: test_sp_shards.py

CREATE OR REPLACE FUNCTION app.sp_require_lease(p_owner text, p_lease interval)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM app.sp_require_text(p_owner, '^.{1,200}$', 'owner');
    IF p_lease > interval '0' AND p_lease <= interval '1 hour' THEN
        RETURN;
    END IF;
    RAISE EXCEPTION 'a lease is above 0 and at most an hour'
        USING ERRCODE = 'IN422', DETAIL = 'lease_invalid';
END
$$;
