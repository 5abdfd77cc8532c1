-- sp_service_token_find(hash) -> token, user, scopes, end, the code of the refusal or null
-- Whose token has this SHA-256, and whether it and its user live; no row when nobody's. Notes, to
-- the minute, that it was used. What the token may do is decided by the procedures, in the write
-- itself.
-- Called by app_write. Test: test_api_service_tokens.py

CREATE OR REPLACE FUNCTION app.sp_service_token_find(p_hash bytea)
RETURNS TABLE (token_id bigint, user_id uuid, scopes text [], expires_at timestamptz, fault text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    UPDATE security.service_tokens AS k
    SET last_used_at = date_trunc('minute', clock_timestamp())
    WHERE k.token_hash = p_hash
        AND k.revoked_at IS NULL
        AND k.expires_at > clock_timestamp()
        AND (k.last_used_at < date_trunc('minute', clock_timestamp())) IS NOT FALSE;
    RETURN QUERY
    SELECT
        k.token_id, k.user_id, k.scopes, k.expires_at,
        coalesce(
            app.sp_token_ended(k.user_id, 'token:' || k.token_id),
            CASE WHEN u.disabled THEN 'user_disabled' END
        )
    FROM security.service_tokens AS k
    JOIN app.users AS u ON u.user_id = k.user_id
    WHERE k.token_hash = p_hash;
END
$$;
