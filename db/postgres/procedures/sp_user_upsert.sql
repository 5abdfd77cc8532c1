-- sp_user_upsert(actor, user, email, role, disabled)
-- Mirrors a user of the identity provider; the row is what every procedure believes.
-- Repeating it changes nothing; audited on stream 0 when something changed. The address is kept
-- out of the audit log, which can never be erased.
-- IN422 email_invalid, email_taken, role_invalid. Callers: app_write, app_migrate.

CREATE OR REPLACE FUNCTION app.sp_user_upsert(
    p_actor text, p_user_id uuid, p_email text, p_role text, p_disabled boolean
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_email text := lower(trim(p_email));
    v_before app.users;
BEGIN
    PERFORM app.sp_require_read_committed();
    IF p_role IS NULL OR p_role NOT IN ('viewer', 'trader', 'admin') THEN
        RAISE EXCEPTION 'unknown role' USING ERRCODE = 'IN422', DETAIL = 'role_invalid';
    END IF;
    IF v_email IS NULL OR length(v_email) > 254 OR v_email !~ '^[^@[:space:]]+@[^@[:space:]]+$' THEN
        RAISE EXCEPTION 'not an address' USING ERRCODE = 'IN422', DETAIL = 'email_invalid';
    END IF;

    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM app.users AS u WHERE u.email = v_email AND u.user_id <> p_user_id) THEN
        RAISE EXCEPTION 'another user has this address'
            USING ERRCODE = 'IN422', DETAIL = 'email_taken';
    END IF;
    SELECT * INTO v_before FROM app.users AS u WHERE u.user_id = p_user_id;
    IF (v_before.email, v_before.role, v_before.disabled)
        IS NOT DISTINCT FROM (v_email, p_role, p_disabled)
    THEN
        RETURN;
    END IF;

    INSERT INTO app.users AS u (user_id, email, role, disabled)
    VALUES (p_user_id, v_email, p_role, p_disabled)
    ON CONFLICT (user_id) DO UPDATE
    SET email = excluded.email, role = excluded.role, disabled = excluded.disabled,
        updated_at = clock_timestamp();
    INSERT INTO app.user_rates (user_id) VALUES (p_user_id) ON CONFLICT DO NOTHING;
    PERFORM app.sp_audit_append(0, p_actor, 'user.set', jsonb_build_object(
        'user_id', p_user_id,
        'role_before', v_before.role,
        'role', p_role,
        'disabled', p_disabled,
        'email_changed', v_before.email IS DISTINCT FROM v_email
    ));
END
$$;
