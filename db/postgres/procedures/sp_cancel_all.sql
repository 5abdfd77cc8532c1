-- sp_cancel_all(user, session, request id, key, account) -> how many orders
-- Cancels every open order of an account: what never left at once, all else owes a cancel. Orders
-- on that way already are not counted. The same key answers the same again and cancels nothing new.
-- SQLSTATE 25001; IN401 as sp_authorize; IN403 role_not_allowed, not_allowed_to_trade; IN404
-- account_not_found; IN422 idempotency_key_reused, request_id_invalid, idempotency_key_invalid,
-- account_id_invalid. Called by app_write. Test: test_sp_cancel_all.py

CREATE OR REPLACE FUNCTION app.sp_cancel_all(
    p_user_id uuid, p_session text, p_request_id text, p_key text, p_account_id bigint
)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_actor text := app.sp_actor(p_user_id, p_session);
    -- A key is the user's, whichever of his sessions and tokens it comes with.
    v_owner text := 'user:' || p_user_id;
    v_hash bytea := sha256(convert_to(p_account_id::text, 'UTF8'));
    v_fault text;
    v_known app.idempotency;
    v_count integer;
BEGIN
    PERFORM app.sp_require_read_committed();
    FOR v_pass IN 1..2 LOOP
        v_fault := app.sp_account_fault(p_user_id, p_session, p_account_id);
        IF v_fault IS NOT NULL THEN
            PERFORM app.sp_refuse(v_fault);
        END IF;
        PERFORM app.sp_require_text(p_request_id, '^[A-Za-z0-9_-]{1,64}$', 'request_id');
        PERFORM app.sp_require_text(p_key, '^[A-Za-z0-9_-]{1,64}$', 'idempotency_key');
        SELECT i.* INTO v_known
        FROM app.idempotency AS i
        WHERE i.actor = v_owner AND i.route = 'orders.cancel_all' AND i.key = p_key;
        IF FOUND AND v_known.request_hash <> v_hash THEN
            PERFORM app.sp_refuse_reuse();
        ELSIF FOUND THEN
            RETURN (v_known.response ->> 'canceled')::integer;
        END IF;
        IF v_pass = 1 THEN
            PERFORM FROM app.streams AS s WHERE s.stream_id = p_account_id FOR NO KEY UPDATE;
        END IF;
    END LOOP;

    v_count := app.sp_cancel_open(p_account_id, NULL, v_actor, p_request_id);
    INSERT INTO app.idempotency (actor, route, key, request_hash, response)
    VALUES (
        v_owner, 'orders.cancel_all', p_key, v_hash, jsonb_build_object('canceled', v_count)
    )
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        -- The key is one user's over all accounts: it raced with another account's.
        PERFORM app.sp_refuse_reuse();
    END IF;
    PERFORM app.sp_audit_append(
        p_account_id, v_actor, 'order.cancel_all',
        jsonb_build_object('canceled', v_count, 'request_id', p_request_id)
    );
    RETURN v_count;
END
$$;
