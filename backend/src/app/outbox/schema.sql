-- What is owed to the brokers. Run once, as app_owner, by revision 20260109_init.

-- Domains for the reason that db/postgres/schemas/10_orders.sql gives.
CREATE DOMAIN app.event_kind AS text CHECK (VALUE IN (
    'order.place.v1', 'order.cancel.v1', 'order.replace.v1', 'order.query.v1'
));
CREATE DOMAIN app.send_outcome AS text CHECK (VALUE IN (
    'sending', 'not_sent', 'throttled', 'auth', 'unknown'
));
CREATE DOMAIN app.send_action AS text CHECK (VALUE IN ('place', 'cancel', 'replace', 'query'));
CREATE DOMAIN app.shard AS smallint CHECK (VALUE BETWEEN 0 AND 15);

-- Pending rows only: a row that is done is deleted and archived in app.events_done. Neither stream
-- nor order is a foreign key: one procedure alone writes new rows, in the transaction that made or
-- locked both, and the two checks would cost each order a tenth of its time.
CREATE TABLE app.events_outbox (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard app.shard NOT NULL,
    stream_id bigint NOT NULL,
    kind app.event_kind NOT NULL,
    order_id bigint NOT NULL,
    payload jsonb NOT NULL,
    request_id text NOT NULL,
    attempts smallint NOT NULL DEFAULT 0,
    -- Set before the wire is touched, so that a crash in between is seen as what it is: unknown.
    last_outcome app.send_outcome,
    -- What was begun last, by which epoch and when: a begun row that is younger than its send can
    -- last, in the epoch that still holds the shard, is in flight; any other was interrupted.
    last_action app.send_action,
    sending_epoch bigint,
    sending_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (
    fillfactor = 90,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);

-- A lane is the rows of one stream in the order of their ids; the indexes walk from head to head.
CREATE INDEX events_outbox_lane_idx ON app.events_outbox (stream_id, event_id);
CREATE INDEX events_outbox_cancel_idx ON app.events_outbox (stream_id, event_id)
WHERE kind = 'order.cancel.v1';
CREATE INDEX events_outbox_sending_idx ON app.events_outbox (stream_id)
WHERE last_outcome = 'sending';
CREATE INDEX events_outbox_order_idx ON app.events_outbox (order_id, event_id);

CREATE TABLE app.events_done (
    event_id bigint NOT NULL,
    shard smallint NOT NULL,
    stream_id bigint NOT NULL,
    kind text NOT NULL,
    order_id bigint NOT NULL,
    payload jsonb NOT NULL,
    request_id text NOT NULL,
    attempts smallint NOT NULL,
    outcome text NOT NULL,
    created_at timestamptz NOT NULL,
    done_at timestamptz NOT NULL DEFAULT clock_timestamp()
) PARTITION BY RANGE (done_at);

CREATE INDEX events_done_order_idx ON app.events_done (order_id);

CREATE TABLE app.events_done_default PARTITION OF app.events_done DEFAULT;

CREATE TABLE app.events_dead (
    LIKE app.events_done,
    error text NOT NULL,
    PRIMARY KEY (event_id)
);

-- A lane that must wait; its rows stay where they are.
CREATE TABLE app.outbox_parked (
    stream_id bigint PRIMARY KEY REFERENCES app.streams,
    next_attempt_at timestamptz NOT NULL,
    attempts integer NOT NULL,
    last_error text NOT NULL,
    -- It waits for an answer or a price, not for the route: a cancel of another order may go.
    cancels_pass boolean NOT NULL DEFAULT FALSE
);

-- Who may send for a shard. The epoch fences a stalled owner: it grows with every change of hands.
CREATE TABLE app.outbox_shards (
    shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 15),
    owner text,
    epoch bigint NOT NULL DEFAULT 0,
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    -- Whether the owner's session holds the advisory lock too. It does not after a take-over from
    -- a stalled session that still lives; then a free lock says nothing about the owner.
    locked boolean NOT NULL DEFAULT FALSE
);

INSERT INTO app.outbox_shards (shard) SELECT g FROM generate_series(0, 15) AS g;

-- One row after a restore: what was sent since the backup is unknown, so nothing but questions
-- leaves until somebody has reconciled and released it.
CREATE TABLE app.outbox_quarantine (
    only_one boolean PRIMARY KEY DEFAULT TRUE CHECK (only_one),
    actor text NOT NULL,
    reason text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
