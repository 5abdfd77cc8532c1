-- What people want to hear of, and what they are still to be told.
-- Run once, as app_owner, by revision 20260109_init.

-- Where a user is told, and of what. The address is sealed by the API and opened by the worker;
-- nobody is shown more of it than the hint.
CREATE TABLE app.notify_channels (
    channel_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES app.users,
    name text NOT NULL CHECK (name ~ '^[A-Za-z0-9_-]{1,40}$'),
    sealed bytea NOT NULL,
    -- A keyed hash of the address: whether it is the same, and nothing else.
    fingerprint bytea NOT NULL,
    hint text NOT NULL,
    kinds text [] NOT NULL CHECK (kinds <@ ARRAY['fill', 'reject', 'break', 'halt', 'lost']),
    -- Null: every account that the user may see.
    account_ids bigint [],
    -- The least time between two messages: what happens meanwhile goes into the next one.
    interval_s integer NOT NULL CHECK (interval_s BETWEEN 10 AND 86400),
    enabled boolean NOT NULL DEFAULT TRUE,
    -- Not before: the interval, the pause after a failure, or the lease of a delivery on its way.
    next_at timestamptz NOT NULL DEFAULT '-infinity',
    failures integer NOT NULL DEFAULT 0,
    last_error text,
    sent_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (user_id, name)
);

-- What a channel is owed, written in the transaction of what happened. Nothing here may make that
-- transaction fail: no foreign keys, and a channel that goes leaves its rows to the next delivery.
CREATE TABLE app.notify_events (
    notify_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id bigint NOT NULL,
    -- Null: of everyone.
    account_id bigint,
    kind text NOT NULL,
    detail jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Given up after too many failures; an administrator may let it go on.
    dead_at timestamptz
);

CREATE INDEX notify_events_channel_idx ON app.notify_events (channel_id, notify_id);
