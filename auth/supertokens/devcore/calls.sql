-- The calls that are one statement each: arguments as they stand in the call, the answer as jsonb.
-- Laid again at every start.

-- A user as every answer shows one: never linked, with one way to sign in.
CREATE OR REPLACE FUNCTION auth_dev.shown(p_user auth_dev.users)
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT jsonb_build_object(
        'id', p_user.user_id,
        'isPrimaryUser', FALSE,
        'tenantIds', jsonb_build_array('public'),
        'timeJoined', p_user.time_joined,
        'emails', jsonb_build_array(p_user.email),
        'phoneNumbers', '[]'::jsonb,
        'thirdParty', '[]'::jsonb,
        'webauthn', '{"credentialIds": []}'::jsonb,
        'loginMethods', jsonb_build_array(jsonb_build_object(
            'recipeId', 'emailpassword',
            'recipeUserId', p_user.user_id,
            'tenantIds', jsonb_build_array('public'),
            'timeJoined', p_user.time_joined,
            'email', p_user.email,
            'verified', FALSE
        ))
    )
$$;

CREATE OR REPLACE FUNCTION auth_dev.ok(p_more jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE sql
AS $$ SELECT '{"status": "OK"}'::jsonb || p_more $$;

CREATE OR REPLACE FUNCTION auth_dev.now_ms()
RETURNS bigint
LANGUAGE sql
AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- --- users ---------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION auth_dev.user_by_id(p_user_id text)
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT COALESCE(
        (
            SELECT auth_dev.ok(jsonb_build_object('user', auth_dev.shown(u)))
            FROM auth_dev.users AS u
            WHERE u.user_id = p_user_id
        ),
        '{"status": "UNKNOWN_USER_ID_ERROR"}'
    )
$$;

CREATE OR REPLACE FUNCTION auth_dev.users_by_email(p_email text)
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT auth_dev.ok(jsonb_build_object(
        'users', COALESCE(jsonb_agg(auth_dev.shown(u)), '[]')
    ))
    FROM auth_dev.users AS u
    WHERE u.email = lower(btrim(p_email))
$$;

CREATE OR REPLACE FUNCTION auth_dev.users_count()
RETURNS jsonb
LANGUAGE sql
AS $$ SELECT auth_dev.ok(jsonb_build_object('count', count(*))) FROM auth_dev.users $$;

CREATE OR REPLACE FUNCTION auth_dev.user_remove(p_user_id text)
RETURNS jsonb
LANGUAGE sql
AS $$
    DELETE FROM auth_dev.sessions WHERE user_id = p_user_id;
    DELETE FROM auth_dev.user_roles WHERE user_id = p_user_id;
    DELETE FROM auth_dev.user_metadata WHERE user_id = p_user_id;
    DELETE FROM auth_dev.users WHERE user_id = p_user_id;
    SELECT auth_dev.ok();
$$;

CREATE OR REPLACE FUNCTION auth_dev.metadata_get(p_user_id text)
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT auth_dev.ok(jsonb_build_object('metadata', COALESCE(
        (SELECT metadata FROM auth_dev.user_metadata WHERE user_id = p_user_id), '{}'
    )))
$$;

-- Merges one level deep; null takes a field away.
CREATE OR REPLACE FUNCTION auth_dev.metadata_put(p_user_id text, p_update jsonb)
RETURNS jsonb
LANGUAGE sql
AS $$
    INSERT INTO auth_dev.user_metadata AS kept (user_id, metadata)
    VALUES (p_user_id, p_update)
    ON CONFLICT (user_id) DO UPDATE SET metadata = kept.metadata || p_update;
    UPDATE auth_dev.user_metadata AS kept
    SET metadata = (
        SELECT COALESCE(jsonb_object_agg(key, value), '{}')
        FROM jsonb_each(kept.metadata)
        WHERE value <> 'null'
    )
    WHERE kept.user_id = p_user_id;
    SELECT auth_dev.metadata_get(p_user_id);
$$;

-- --- roles ---------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION auth_dev.if_role(p_role text, p_answer jsonb)
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT CASE
        WHEN EXISTS (SELECT FROM auth_dev.roles WHERE role = p_role) THEN auth_dev.ok(p_answer)
        ELSE '{"status": "UNKNOWN_ROLE_ERROR"}'
    END
$$;

CREATE OR REPLACE FUNCTION auth_dev.role_put(p_role text, p_permissions text [])
RETURNS jsonb
LANGUAGE sql
AS $$
    WITH created AS (
        INSERT INTO auth_dev.roles (role) VALUES (p_role) ON CONFLICT DO NOTHING RETURNING role
    ), kept AS (
        INSERT INTO auth_dev.role_permissions (role, permission)
        SELECT p_role, permission FROM unnest(p_permissions) AS permission
        ON CONFLICT DO NOTHING
    )
    SELECT auth_dev.ok(jsonb_build_object('createdNewRole', EXISTS (SELECT FROM created)))
$$;

CREATE OR REPLACE FUNCTION auth_dev.role_remove(p_role text)
RETURNS jsonb
LANGUAGE sql
AS $$
    WITH removed AS (DELETE FROM auth_dev.roles WHERE role = p_role RETURNING role)
    SELECT auth_dev.ok(jsonb_build_object('didRoleExist', EXISTS (SELECT FROM removed)))
$$;

CREATE OR REPLACE FUNCTION auth_dev.roles_all()
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT auth_dev.ok(jsonb_build_object('roles', COALESCE(jsonb_agg(role ORDER BY role), '[]')))
    FROM auth_dev.roles
$$;

CREATE OR REPLACE FUNCTION auth_dev.role_permissions_of(p_role text)
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT auth_dev.if_role(p_role, jsonb_build_object(
        'permissions', COALESCE(jsonb_agg(permission ORDER BY permission), '[]')
    ))
    FROM auth_dev.role_permissions
    WHERE role = p_role
$$;

CREATE OR REPLACE FUNCTION auth_dev.role_permissions_remove(p_role text, p_permissions text [])
RETURNS jsonb
LANGUAGE sql
AS $$
    DELETE FROM auth_dev.role_permissions
    WHERE role = p_role AND permission = ANY(p_permissions);
    SELECT auth_dev.if_role(p_role, '{}');
$$;

CREATE OR REPLACE FUNCTION auth_dev.roles_with(p_permission text)
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT auth_dev.ok(jsonb_build_object('roles', COALESCE(jsonb_agg(role ORDER BY role), '[]')))
    FROM auth_dev.role_permissions
    WHERE permission = p_permission
$$;

CREATE OR REPLACE FUNCTION auth_dev.role_users(p_role text)
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT auth_dev.if_role(p_role, jsonb_build_object(
        'users', COALESCE(jsonb_agg(user_id ORDER BY user_id), '[]')
    ))
    FROM auth_dev.user_roles
    WHERE role = p_role
$$;

CREATE OR REPLACE FUNCTION auth_dev.user_roles_of(p_user_id text)
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT auth_dev.ok(jsonb_build_object('roles', COALESCE(jsonb_agg(role ORDER BY role), '[]')))
    FROM auth_dev.user_roles
    WHERE user_id = p_user_id
$$;

CREATE OR REPLACE FUNCTION auth_dev.user_role_give(p_user_id text, p_role text)
RETURNS jsonb
LANGUAGE sql
AS $$
    WITH given AS (
        INSERT INTO auth_dev.user_roles (user_id, role)
        SELECT p_user_id, role FROM auth_dev.roles WHERE role = p_role
        ON CONFLICT DO NOTHING
        RETURNING role
    )
    SELECT auth_dev.if_role(p_role, jsonb_build_object(
        'didUserAlreadyHaveRole', NOT EXISTS (SELECT FROM given)
    ))
$$;

CREATE OR REPLACE FUNCTION auth_dev.user_role_take(p_user_id text, p_role text)
RETURNS jsonb
LANGUAGE sql
AS $$
    WITH taken AS (
        DELETE FROM auth_dev.user_roles
        WHERE user_id = p_user_id AND role = p_role
        RETURNING role
    )
    SELECT auth_dev.if_role(p_role, jsonb_build_object(
        'didUserHaveRole', EXISTS (SELECT FROM taken)
    ))
$$;

-- --- sessions ------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION auth_dev.gone()
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT '{"status": "UNAUTHORISED", "message": "Session missing in db or has expired"}'::jsonb
$$;

CREATE OR REPLACE FUNCTION auth_dev.session_get(p_handle text)
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT COALESCE(
        (
            SELECT auth_dev.ok(jsonb_build_object(
                'sessionHandle', s.handle,
                'userId', s.user_id,
                'recipeUserId', s.user_id,
                'userDataInDatabase', s.session_data,
                'userDataInJWT', s.jwt_data,
                'expiry', s.expires_at,
                'timeCreated', s.created_at,
                'tenantId', 'public'
            ))
            FROM auth_dev.sessions AS s
            WHERE s.handle = p_handle AND s.expires_at > auth_dev.now_ms()
        ),
        auth_dev.gone()
    )
$$;

CREATE OR REPLACE FUNCTION auth_dev.sessions_of(p_user_id text)
RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT auth_dev.ok(jsonb_build_object('sessionHandles', COALESCE(jsonb_agg(handle), '[]')))
    FROM auth_dev.sessions
    WHERE user_id = p_user_id AND expires_at > auth_dev.now_ms()
$$;

-- Ends the sessions named, or all of a user.
CREATE OR REPLACE FUNCTION auth_dev.sessions_remove(p_user_id text, p_handles text [])
RETURNS jsonb
LANGUAGE sql
AS $$
    WITH removed AS (
        DELETE FROM auth_dev.sessions
        WHERE user_id = p_user_id OR handle = ANY(p_handles)
        RETURNING handle
    )
    SELECT auth_dev.ok(jsonb_build_object(
        'sessionHandlesRevoked', COALESCE(jsonb_agg(handle), '[]')
    ))
    FROM removed
$$;

-- Replaces what the server keeps for a session, or what its next tokens say.
CREATE OR REPLACE FUNCTION auth_dev.session_put(p_handle text, p_session jsonb, p_jwt jsonb)
RETURNS jsonb
LANGUAGE sql
AS $$
    WITH changed AS (
        UPDATE auth_dev.sessions
        SET
            session_data = COALESCE(p_session, session_data),
            jwt_data = COALESCE(p_jwt, jwt_data)
        WHERE handle = p_handle AND expires_at > auth_dev.now_ms()
        RETURNING handle
    )
    SELECT CASE WHEN EXISTS (SELECT FROM changed) THEN auth_dev.ok() ELSE auth_dev.gone() END
$$;

-- Nobody but their owner, the core, calls them.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA auth_dev FROM PUBLIC;
