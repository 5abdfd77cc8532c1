-- sp_admin_token_create(user, session, request id, hash, whom, name, scopes, accounts, end) -> id
-- Makes a service token that acts for a user until it ends, at most 366 days from now. Only the
-- SHA-256 of the token comes here. Audited on stream 0, without the hash. Authority is looked at
-- before and after the wait for the lock. SQLSTATE IN401, IN403 as sp_authorize_admin; IN404
-- user_not_found, account_not_found; IN422 request_id_invalid, name_invalid, scopes_invalid,
-- account_ids_invalid, expires_at_invalid. Called by app_write. Test: test_api_service_tokens.py

CREATE OR REPLACE FUNCTION app.sp_admin_token_create(
    p_user_id uuid, p_session text, p_request_id text, p_hash bytea, p_for_user_id uuid,
    p_name text, p_scopes text [], p_account_ids bigint [], p_expires_at timestamptz
)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_actor text := app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    v_token_id bigint;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_name, '^[^[:cntrl:]]{1,100}$', 'name');
    IF cardinality(p_scopes) > 0 IS NOT TRUE OR NOT p_scopes <@ ARRAY[
        'orders:read', 'orders:write', 'data:read', 'data:write', 'hot:read', 'hot:write'
    ] THEN
        PERFORM app.sp_refuse('scopes_invalid');
    END IF;
    IF p_account_ids IS NULL OR cardinality(p_account_ids) > 100 THEN
        PERFORM app.sp_refuse('account_ids_invalid');
    END IF;
    IF (p_expires_at > clock_timestamp()
        AND p_expires_at <= clock_timestamp() + interval '366 days') IS NOT TRUE
    THEN
        RAISE EXCEPTION 'a service token ends within 366 days'
            USING ERRCODE = 'IN422', DETAIL = 'expires_at_invalid';
    END IF;
    IF NOT EXISTS (SELECT FROM app.users AS u WHERE u.user_id = p_for_user_id) THEN
        RAISE EXCEPTION 'no user %', p_for_user_id
            USING ERRCODE = 'IN404', DETAIL = 'user_not_found';
    END IF;
    IF EXISTS (
        SELECT FROM unnest(p_account_ids) AS w (account_id)
        LEFT JOIN app.accounts AS a ON a.account_id = w.account_id
        WHERE a.account_id IS NULL
    ) THEN
        PERFORM app.sp_refuse('account_not_found');
    END IF;

    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    PERFORM app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    INSERT INTO security.service_tokens (
        token_hash, user_id, name, scopes, account_ids, created_by, expires_at
    )
    VALUES (p_hash, p_for_user_id, p_name, p_scopes, p_account_ids, p_user_id, p_expires_at)
    RETURNING token_id INTO v_token_id;
    PERFORM app.sp_audit_append(0, v_actor, 'token.create', jsonb_build_object(
        'token_id', v_token_id, 'user_id', p_for_user_id, 'name', p_name, 'scopes', p_scopes,
        'account_ids', p_account_ids, 'expires_at', extract(EPOCH FROM p_expires_at),
        'request_id', p_request_id
    ));
    RETURN v_token_id;
END
$$;
