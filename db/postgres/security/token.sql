-- Whom the database believes: a signed token, never a name.

-- token_user() -> the user of the token in app.user_token, or NULL.
-- The token is `kid.user.exp.hmac`: key id, user id, expiry in seconds since 1970, and the
-- HMAC-SHA256 of the first three as hex. Anything that is not whole, known and current is nobody.
CREATE OR REPLACE FUNCTION security.token_user() RETURNS uuid
LANGUAGE plpgsql
STABLE
PARALLEL RESTRICTED
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_token text := current_setting('app.user_token', TRUE);
    v_parts text[];
    v_key security.token_keys;
    v_signed bytea;
    v_expected bytea;
BEGIN
    IF v_token IS NULL OR v_token !~
        '^[a-z0-9]{1,16}\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[0-9]{1,11}\.[0-9a-f]{64}$'
    THEN
        RETURN NULL;
    END IF;
    v_parts := string_to_array(v_token, '.');
    SELECT * INTO v_key FROM security.token_keys AS k WHERE k.key_id = v_parts[1];
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    v_signed := convert_to(concat_ws('.', v_parts[1], v_parts[2], v_parts[3]), 'UTF8');
    v_expected := security.hmac_sha256(v_key.inner_block, v_key.outer_block, v_signed);
    -- Compared as digests, so that the time taken tells nothing of the signature.
    IF sha256(decode(v_parts[4], 'hex')) IS DISTINCT FROM sha256(v_expected) THEN
        RETURN NULL;
    END IF;
    IF v_parts[3]::bigint < extract(epoch FROM clock_timestamp()) THEN
        RETURN NULL;
    END IF;
    RETURN v_parts[2]::uuid;
END
$$;

-- hmac_sha256(inner block, outer block, message) -> RFC 2104 over the built-in sha256.
CREATE OR REPLACE FUNCTION security.hmac_sha256(p_inner bytea, p_outer bytea, p_message bytea)
RETURNS bytea
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT sha256(p_outer || sha256(p_inner || p_message)) $$;

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
    v_user app.users;
BEGIN
    SELECT u.* INTO v_user FROM app.users AS u WHERE u.user_id = security.token_user();
    IF NOT FOUND OR v_user.disabled THEN
        RETURN '{}';
    END IF;
    IF v_user.role = 'admin' THEN
        RETURN ARRAY(SELECT a.account_id FROM app.accounts AS a);
    END IF;
    RETURN ARRAY(
        SELECT m.account_id FROM app.account_members AS m WHERE m.user_id = v_user.user_id
    );
END
$$;

-- token_active() -> whether the token names a user who is known and not disabled.
CREATE OR REPLACE FUNCTION security.token_active() RETURNS boolean
LANGUAGE sql
STABLE
PARALLEL RESTRICTED
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM app.users AS u WHERE u.user_id = security.token_user() AND NOT u.disabled
    )
$$;
