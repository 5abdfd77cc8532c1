-- Everything the development core remembers. Laid at every start, under an advisory lock.
-- Times are milliseconds since 1970, as on the wire.

CREATE TABLE IF NOT EXISTS auth_dev.users (
    user_id text PRIMARY KEY,
    email text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    time_joined bigint NOT NULL
);

CREATE INDEX IF NOT EXISTS users_joined_idx ON auth_dev.users (time_joined, user_id);

-- Only the digest of a token is kept; the link in the mail is the only copy of the token.
CREATE TABLE IF NOT EXISTS auth_dev.reset_tokens (
    token_hash text PRIMARY KEY,
    user_id text NOT NULL REFERENCES auth_dev.users ON DELETE CASCADE,
    email text NOT NULL,
    expires_at bigint NOT NULL
);

-- refresh_hash2 is the digest of the digest of the refresh token that was last seen in use.
CREATE TABLE IF NOT EXISTS auth_dev.sessions (
    handle text PRIMARY KEY,
    user_id text NOT NULL,
    refresh_hash2 text NOT NULL,
    jwt_data jsonb NOT NULL,
    session_data jsonb NOT NULL,
    static_key boolean NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);

CREATE INDEX IF NOT EXISTS sessions_user_idx ON auth_dev.sessions (user_id);
CREATE INDEX IF NOT EXISTS sessions_expiry_idx ON auth_dev.sessions (expires_at);

-- Private keys, sealed with a key that follows from the API key of the core.
CREATE TABLE IF NOT EXISTS auth_dev.signing_keys (
    key_id text PRIMARY KEY,
    created_at bigint NOT NULL,
    sealed bytea NOT NULL
);

CREATE TABLE IF NOT EXISTS auth_dev.roles (
    role text PRIMARY KEY
);

CREATE TABLE IF NOT EXISTS auth_dev.role_permissions (
    role text NOT NULL REFERENCES auth_dev.roles ON DELETE CASCADE,
    permission text NOT NULL,
    PRIMARY KEY (role, permission)
);

CREATE TABLE IF NOT EXISTS auth_dev.user_roles (
    user_id text NOT NULL,
    role text NOT NULL REFERENCES auth_dev.roles ON DELETE CASCADE,
    PRIMARY KEY (user_id, role)
);

CREATE TABLE IF NOT EXISTS auth_dev.user_metadata (
    user_id text PRIMARY KEY,
    metadata jsonb NOT NULL
);
