-- sp_actor(user, session) -> who the audit log says it was
-- The user, and the service token where a program acts for him: `user:ID` or `user:ID token:ID`.
-- Internal: the procedures of the API. Test: test_api_service_tokens.py

CREATE OR REPLACE FUNCTION app.sp_actor(p_user_id uuid, p_session text)
RETURNS text
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT 'user:' || p_user_id::text || CASE
        WHEN starts_with(p_session, 'token:') THEN ' ' || p_session
        ELSE ''
    END
$$;
