-- Whom the database believes: a signed token, never a name.

-- token_user() -> the user of the token in app.user_token, or NULL.
-- The token is `kid.user.exp.hmac`: key id, user id, expiry in seconds since 1970, and the
-- HMAC-SHA256 of the first three as hex. Anything that is not whole, known and current is nobody.
-- A statement asks once per table, so nothing dear here: a regular expression for the whole token
-- took most of the time.
CREATE OR REPLACE FUNCTION security.token_user() RETURNS uuid
LANGUAGE plpgsql
STABLE
PARALLEL RESTRICTED
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_token text := current_setting('app.user_token', TRUE);
    v_parts text[] := string_to_array(v_token, '.');
    v_inner bytea;
    v_outer bytea;
    v_expected bytea;
BEGIN
    IF v_token IS NULL OR length(v_token) > 130 OR cardinality(v_parts) <> 4 THEN
        RETURN NULL;
    END IF;
    SELECT k.inner_block, k.outer_block INTO v_inner, v_outer
    FROM security.token_keys AS k
    WHERE k.key_id = v_parts[1];
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- All up to the last dot is signed.
    v_expected := security.hmac_sha256(
        v_inner, v_outer, convert_to(left(v_token, -1 - length(v_parts[4])), 'UTF8')
    );
    -- Compared as digests, so that the time taken tells nothing of the signature.
    IF sha256(convert_to(v_parts[4], 'UTF8'))
        IS DISTINCT FROM sha256(convert_to(encode(v_expected, 'hex'), 'UTF8'))
    THEN
        RETURN NULL;
    END IF;
    -- Signed by us, yet it must be what we sign.
    IF v_parts[2] NOT LIKE '________-____-____-____-____________'
        OR translate(v_parts[2], '0123456789abcdef', '') <> '----'
        OR translate(v_parts[3], '0123456789', '') <> ''
        OR length(v_parts[3]) NOT BETWEEN 1 AND 11
        OR v_parts[3]::bigint < extract(EPOCH FROM clock_timestamp())
    THEN
        RETURN NULL;
    END IF;
    RETURN v_parts[2]::uuid;
END
$$;

-- hmac_sha256(inner block, outer block, message) -> RFC 2104 over the built-in sha256.
-- Bound to what it calls when it is laid, not by a search path, so that callers can inline it.
CREATE OR REPLACE FUNCTION security.hmac_sha256(p_inner bytea, p_outer bytea, p_message bytea)
RETURNS bytea
LANGUAGE sql
IMMUTABLE
RETURN sha256(p_outer || sha256(p_inner || p_message));

-- token_accounts() -> the accounts which the token's user may read: his own, or all for an
-- administrator. Policies compare with it once per statement.
CREATE OR REPLACE FUNCTION security.token_accounts() RETURNS bigint[]
LANGUAGE plpgsql
STABLE
PARALLEL RESTRICTED
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user uuid := security.token_user();
BEGIN
    RETURN coalesce((
        SELECT CASE u.role
            WHEN 'admin' THEN ARRAY(SELECT a.account_id FROM app.accounts AS a)
            ELSE ARRAY(
                SELECT m.account_id FROM app.account_members AS m WHERE m.user_id = u.user_id
            )
        END
        FROM app.users AS u
        WHERE u.user_id = v_user AND NOT u.disabled
    ), '{}');
END
$$;

-- token_active() -> whether the token names a user who is known and not disabled.
CREATE OR REPLACE FUNCTION security.token_active() RETURNS boolean
LANGUAGE plpgsql
STABLE
PARALLEL RESTRICTED
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user uuid := security.token_user();
BEGIN
    RETURN EXISTS (
        SELECT FROM app.users AS u WHERE u.user_id = v_user AND NOT u.disabled
    );
END
$$;
