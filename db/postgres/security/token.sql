-- Whom the database believes: a signed token, never a name.

-- hmac_sha256(inner block, outer block, message) -> RFC 2104 over the built-in sha256.
-- Bound to what it calls when it is laid, not by a search path, so that callers can inline it.
CREATE OR REPLACE FUNCTION security.hmac_sha256(p_inner bytea, p_outer bytea, p_message bytea)
RETURNS bytea
LANGUAGE sql
IMMUTABLE
RETURN sha256(p_outer || sha256(p_inner || p_message));

-- token_accounts() -> the accounts which the user of the token in app.user_token may read: his own,
-- or all for an administrator. NULL where there is nobody: without a token that is whole, known and
-- current, and for a user who is unknown or disabled.
-- The token is `kid.user.exp.hmac`: key id, user id, expiry in seconds since 1970, and the
-- HMAC-SHA256 of the first three as hex.
--
-- Policies ask once for each table of a statement, and a page asks many statements in a row, so
-- what was found is kept under the token's digest in the session, a second at most and not past
-- the token's end: in a setting that app_owner may set (roles.sql), and no reader. Whoever has the
-- session next learns from it no token. The setting names C functions of the server whose errors
-- would be logged at length; none is called so, and it takes letters, digits, commas and white
-- space alone. The first call of a transaction pays for every expression: few of them, and one
-- query. No setting may change while several processes read for one statement: parallel unsafe.
CREATE OR REPLACE FUNCTION security.token_accounts() RETURNS bigint[]
LANGUAGE plpgsql
STABLE
PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_token text := current_setting('app.user_token', TRUE);
    v_name text := encode(sha256(convert_to(v_token, 'UTF8')), 'hex');
    -- Digest, until when, accounts; times in milliseconds since 1970.
    v_kept text[] := string_to_array(current_setting('backtrace_functions'), E'\n');
    v_now bigint := extract(EPOCH FROM clock_timestamp()) * 1000;
    v_end bigint;
    v_role text;
    v_accounts bigint[];
BEGIN
    IF v_kept[1] = v_name AND v_kept[2]::bigint > v_now THEN
        RETURN string_to_array(v_kept[3], ',')::bigint[];
    END IF;
    -- After the key id come 36 characters, 10, and 64. All up to the last dot is signed; nothing is
    -- cast before that is known. Compared as digests, so that the time taken tells nothing.
    PERFORM FROM security.token_keys AS k
    WHERE k.key_id = left(v_token, -113)
        AND sha256(convert_to(right(v_token, 64), 'UTF8')) = sha256(convert_to(encode(
            security.hmac_sha256(
                k.inner_block, k.outer_block, convert_to(left(v_token, -65), 'UTF8')
            ),
            'hex'
        ), 'UTF8'));
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    v_end := (left(right(v_token, 75), 10) || '000')::bigint;
    IF v_end < v_now THEN
        RETURN NULL;
    END IF;
    SELECT
        u.role,
        ARRAY(SELECT m.account_id FROM app.account_members AS m WHERE m.user_id = u.user_id)
    INTO v_role, v_accounts
    FROM app.users AS u
    WHERE u.user_id = left(right(v_token, 112), 36)::uuid AND NOT u.disabled;
    IF v_accounts IS NULL THEN
        RETURN NULL;
    END IF;
    IF v_role = 'admin' THEN
        v_accounts := ARRAY(SELECT a.account_id FROM app.accounts AS a);
    END IF;
    v_name := set_config('backtrace_functions', concat_ws(
        E'\n', v_name, least(v_now + 1000, v_end), array_to_string(v_accounts, ',')
    ), FALSE);
    RETURN v_accounts;
END
$$;

-- token_user() -> the user of the token, where there is one.
CREATE OR REPLACE FUNCTION security.token_user() RETURNS uuid
LANGUAGE plpgsql
STABLE
PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF security.token_accounts() IS NOT NULL THEN
        RETURN left(right(current_setting('app.user_token'), 112), 36)::uuid;
    END IF;
    RETURN NULL;
END
$$;
