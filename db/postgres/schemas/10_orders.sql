-- Orders, what happened to them, executions and positions.
-- Run once, as app_owner, by revision 20260109_init.

-- What the columns of the busiest tables may hold. As domains, since a session keeps the conditions
-- of a domain, while those of a CHECK are read from the catalog anew by every statement that writes
-- the table. What holds between the columns of a row is in 11_whole_rows.sql.
-- See docs/decisions/0011-words-by-domains.md
CREATE DOMAIN app.client_order_id AS text CHECK (
    length(VALUE) <= 36 AND VALUE ~ '^[A-Za-z0-9_-]+$'
);
CREATE DOMAIN app.order_side AS text CHECK (VALUE IN ('buy', 'sell'));
CREATE DOMAIN app.order_type AS text CHECK (VALUE IN ('market', 'limit', 'stop', 'stop_limit'));
CREATE DOMAIN app.time_in_force AS text CHECK (VALUE IN ('day', 'gtc', 'gtd', 'ioc', 'fok'));
CREATE DOMAIN app.order_origin AS text CHECK (VALUE IN ('api', 'external'));
-- NaN is greater than every number, so the upper bound keeps it out as well.
CREATE DOMAIN app.positive AS numeric CHECK (VALUE > 0 AND VALUE < 1e12);
CREATE DOMAIN app.order_status AS text CHECK (VALUE IN (
    'new',              -- recorded, risk passed, owed to the broker
    'denied',           -- refused by our risk rules; terminal
    'submitting',       -- about to be sent
    'submit_unknown',   -- sent or perhaps sent, outcome unknown
    'submitted',        -- the route took the command
    'accepted',         -- working at the venue
    'partially_filled',
    'filled',           -- terminal
    'pending_replace',
    'pending_cancel',
    'canceled',         -- terminal
    'rejected',         -- refused by the venue; terminal
    'expired',          -- terminal
    'lost'              -- needs an operator; counts as open exposure
));

CREATE TABLE app.orders (
    order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Minted by the client, unique over the whole installation, kept for ever.
    client_order_id app.client_order_id NOT NULL UNIQUE,
    request_hash bytea NOT NULL,
    -- None of the three is a foreign key: the procedures read them in the transaction that writes,
    -- master data is never deleted, and eight callers who check one instrument wait for its row.
    account_id bigint NOT NULL,
    strategy_id bigint,
    instrument_id integer NOT NULL,
    side app.order_side NOT NULL,
    order_type app.order_type NOT NULL,
    time_in_force app.time_in_force NOT NULL,
    expires_at timestamptz,
    quantity app.positive NOT NULL,
    limit_price app.positive,
    stop_price app.positive,
    status app.order_status NOT NULL DEFAULT 'new',
    reason_code text,
    -- The largest size that would have passed; set when size or notional was denied.
    quantity_max numeric,
    -- The last price when it was recorded, which its fills are measured against.
    arrival_price numeric,
    -- Both follow from executions alone.
    cum_quantity numeric NOT NULL DEFAULT 0,
    average_price numeric,
    -- A fill arrived after a terminal state.
    late_fill boolean NOT NULL DEFAULT FALSE,
    -- The venue executed more than was ordered. It is booked: what we own, we show.
    overfill boolean NOT NULL DEFAULT FALSE,
    -- A correction or a bust changed what had been executed.
    corrected boolean NOT NULL DEFAULT FALSE,
    -- What a replace on its way asks for; null is unchanged.
    pending_quantity app.positive,
    pending_limit_price app.positive,
    pending_stop_price app.positive,
    -- Placed through us, or found at the broker; what was placed elsewhere is never sent.
    origin app.order_origin NOT NULL DEFAULT 'api',
    broker_order_id text,
    -- The route refuses the last send after this moment, so silence beyond it proves absence.
    valid_until timestamptz,
    queries smallint NOT NULL DEFAULT 0,
    next_query_at timestamptz,
    created_by uuid,
    request_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 80);

-- The newest of an account are read from its end.
CREATE INDEX orders_account_idx ON app.orders (account_id, order_id);

CREATE INDEX orders_open_idx ON app.orders (account_id, status)
WHERE status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired');

-- Orders whose next report should come soon; silence about them is asked after.
CREATE INDEX orders_inflight_idx ON app.orders (updated_at)
WHERE status IN (
    'submitting', 'submit_unknown', 'submitted', 'pending_cancel', 'pending_replace'
) OR (order_type = 'market' AND status IN ('accepted', 'partially_filled'));

-- The few that somebody should look at, and the instruments that strategies trade.
CREATE INDEX orders_alert_idx ON app.orders (account_id, updated_at DESC)
WHERE status IN ('denied', 'rejected', 'lost') OR late_fill OR overfill OR corrected;
CREATE INDEX orders_strategy_idx ON app.orders (account_id, instrument_id)
WHERE strategy_id IS NOT NULL;

-- What the procedures answer about an order.
CREATE TYPE app.order_result AS (
    order_id bigint,
    client_order_id text,
    account_id bigint,
    status text,
    reason_code text,
    cum_quantity numeric,
    average_price numeric,
    replayed boolean,
    created_at timestamptz,
    updated_at timestamptz,
    quantity_max numeric,
    -- Why a replace was denied: the order is as it was, and the answer is 409 replace_denied.
    replace_denied text
);

-- One order of a batch, from what was asked to what became of it.
CREATE TYPE app.order_item AS (
    ordinal integer,
    user_id uuid,
    session text,
    request_id text,
    client_order_id text,
    account_id bigint,
    symbol text,
    side text,
    order_type text,
    quantity numeric,
    limit_price numeric,
    stop_price numeric,
    time_in_force text,
    expires_at timestamptz,
    strategy_id bigint,
    request_hash bytea,
    -- The code of its refusal.
    fault text,
    -- The order it makes, or the one that it repeats.
    order_id bigint,
    replayed boolean,
    instrument_id integer,
    reason_code text,
    quantity_max numeric,
    arrival_price numeric,
    -- What the account's open orders bind at most, this one and those before it included.
    bound app.open_bound
);

CREATE TABLE app.order_transitions (
    status_before text NOT NULL,
    status_after text NOT NULL,
    -- Only by what changes executions or the size after the fact: correction, bust, replaced.
    correction boolean NOT NULL DEFAULT FALSE,
    PRIMARY KEY (status_before, status_after)
);

INSERT INTO app.order_transitions (status_before, status_after)
SELECT t.status_before, unnest(t.status_after)
FROM (
    VALUES
    -- From new to what only a venue reports: the database was restored to before the send.
    ('new', ARRAY[
        'denied', 'submitting', 'canceled', 'rejected', 'accepted', 'partially_filled', 'filled'
    ]),
    ('submitting', ARRAY[
        'submitted', 'submit_unknown', 'accepted', 'partially_filled', 'filled', 'pending_cancel',
        'canceled', 'rejected', 'expired'
    ]),
    -- Back to submitting only after proof that the venue does not have it.
    ('submit_unknown', ARRAY[
        'submitting', 'submitted', 'accepted', 'partially_filled', 'filled', 'pending_cancel',
        'canceled', 'rejected', 'expired', 'lost'
    ]),
    ('submitted', ARRAY[
        'submit_unknown', 'accepted', 'partially_filled', 'filled', 'pending_cancel', 'canceled',
        'rejected', 'expired', 'lost'
    ]),
    ('accepted', ARRAY[
        'partially_filled', 'filled', 'pending_replace', 'pending_cancel', 'canceled', 'rejected',
        'expired', 'lost'
    ]),
    ('partially_filled', ARRAY[
        'filled', 'pending_replace', 'pending_cancel', 'canceled', 'expired', 'lost'
    ]),
    ('pending_replace', ARRAY[
        'accepted', 'partially_filled', 'filled', 'pending_cancel', 'canceled', 'rejected',
        'expired', 'lost'
    ]),
    -- Back to where it was when the cancel is refused.
    ('pending_cancel', ARRAY[
        'submit_unknown', 'submitted', 'accepted', 'partially_filled', 'filled', 'canceled',
        'rejected', 'expired', 'lost'
    ]),
    ('lost', ARRAY[
        'submit_unknown', 'submitted', 'accepted', 'partially_filled', 'filled', 'pending_cancel',
        'canceled', 'rejected', 'expired'
    ]),
    -- A late fill that completes the order.
    ('canceled', ARRAY['filled']),
    ('rejected', ARRAY['filled']),
    ('expired', ARRAY['filled'])
) AS t (status_before, status_after);

-- Back to where it was before the fill that is not true any more.
INSERT INTO app.order_transitions (status_before, status_after, correction) VALUES
('filled', 'partially_filled', TRUE),
('filled', 'accepted', TRUE),
('filled', 'canceled', TRUE),
('filled', 'rejected', TRUE),
('filled', 'expired', TRUE),
('partially_filled', 'accepted', TRUE);

-- Everything that was reported of an order, applied or not. Append-only.
CREATE TABLE app.order_events (
    order_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id bigint NOT NULL REFERENCES app.orders,
    kind text NOT NULL,
    source text NOT NULL,
    status_before text NOT NULL,
    status_after text NOT NULL,
    applied boolean NOT NULL,
    -- Why it was not applied: stale, illegal, duplicate, conflict, invalid, absent, busted.
    reason text,
    detail jsonb NOT NULL,
    event_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX order_events_order_idx ON app.order_events (order_id, order_event_id);

-- What a broker reported, once per event id, in the order of arrival.
CREATE TABLE app.inbox (
    inbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    event_id text NOT NULL,
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 15),
    -- Where it stands in what its source sends; null when the source did not say.
    epoch bigint NOT NULL,
    sequence bigint,
    payload jsonb NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_at timestamptz,
    outcome text,
    UNIQUE (source, event_id),
    CHECK ((applied_at IS NULL) = (outcome IS NULL))
);

CREATE INDEX inbox_pending_idx ON app.inbox (shard, inbox_id) WHERE applied_at IS NULL;
CREATE INDEX inbox_sequence_idx ON app.inbox (source, epoch, sequence);

-- The far end of each route: its deployment, and how far we have its events.
CREATE TABLE app.bridges (
    source text PRIMARY KEY,
    deploy_id text NOT NULL,
    epoch bigint NOT NULL,
    sequence bigint NOT NULL DEFAULT 0,
    heartbeat jsonb NOT NULL DEFAULT '{}',
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Rows never change, but for a fee that comes later. A correction or a bust is a row of its own
-- which corrects another; current are the rows that no other corrects and that are no bust.
CREATE TABLE app.executions (
    execution_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id bigint NOT NULL REFERENCES app.orders,
    account_id bigint NOT NULL REFERENCES app.accounts,
    instrument_id integer NOT NULL REFERENCES app.instruments,
    source text NOT NULL,
    -- The broker's id without its revision; a higher revision corrects. A fee that is reported
    -- otherwise later is a correction within the revision.
    exec_base text NOT NULL,
    exec_revision integer NOT NULL DEFAULT 0,
    fee_revision integer NOT NULL DEFAULT 0,
    -- trade, correction or bust
    kind text NOT NULL DEFAULT 'trade',
    corrects bigint UNIQUE REFERENCES app.executions,
    side text NOT NULL,
    quantity numeric NOT NULL,
    price numeric NOT NULL,
    currency text NOT NULL,
    -- Null: not reported yet.
    fee numeric,
    fee_currency text,
    executed_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT executions_report_key
    UNIQUE (account_id, source, exec_base, exec_revision, fee_revision)
);

CREATE INDEX executions_order_idx ON app.executions (order_id);
CREATE INDEX executions_account_idx
ON app.executions (account_id, executed_at DESC, execution_id DESC);
-- The newest of a desk with many accounts.
CREATE INDEX executions_time_idx ON app.executions (executed_at DESC, execution_id DESC);

CREATE FUNCTION app.refuse_execution_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.fee IS NULL AND NEW.fee IS NOT NULL
        AND to_jsonb(NEW) - 'fee' - 'fee_currency' = to_jsonb(OLD) - 'fee' - 'fee_currency'
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'executions are corrected by further rows' USING ERRCODE = '42501';
END
$$;

CREATE TRIGGER executions_append_only
BEFORE UPDATE OR DELETE ON app.executions
FOR EACH ROW EXECUTE FUNCTION app.refuse_execution_change();

-- The figures that executions of one instrument make, one after the other.
CREATE TYPE app.position_fold AS (
    quantity numeric,
    cost numeric,
    realized_pnl numeric,
    fees numeric
);

-- The fold of an account's executions. Cost is signed and holds the multiplier: average cost is
-- cost / (quantity * multiplier). What a partial close releases is cut to 12 decimals, yet
-- realized_pnl - cost is the traded cash exactly.
CREATE TABLE app.positions (
    account_id bigint NOT NULL REFERENCES app.accounts,
    instrument_id integer NOT NULL REFERENCES app.instruments,
    quantity numeric NOT NULL DEFAULT 0,
    cost numeric NOT NULL DEFAULT 0,
    realized_pnl numeric NOT NULL DEFAULT 0,
    -- Fees in the instrument's currency; others are in cash alone.
    fees numeric NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account_id, instrument_id),
    CHECK (quantity <> 0 OR cost = 0)
) WITH (fillfactor = 70);

-- Figures that are at this moment not what executions and movements make them, as the integrity
-- check last found them. The subject is an instrument's symbol, a currency or an order's id.
CREATE TABLE app.integrity_breaks (
    account_id bigint NOT NULL REFERENCES app.accounts,
    figure text NOT NULL,
    subject text NOT NULL,
    ours numeric NOT NULL,
    expected numeric NOT NULL,
    found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account_id, figure, subject)
);

-- Where our books and a broker's differ, as its reports tell. Suspected until it was seen in three
-- reports in a row, then open until it goes away or an administrator resolves it. A fill that is
-- not booked, or otherwise, is open at once: its figures are the traded values.
CREATE TABLE app.recon_breaks (
    break_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES app.accounts,
    figure text NOT NULL CHECK (figure IN ('position', 'cash', 'execution')),
    -- A symbol, a currency, or the broker's id of an execution.
    subject text NOT NULL,
    ours numeric NOT NULL,
    theirs numeric NOT NULL,
    times integer NOT NULL DEFAULT 1,
    state text NOT NULL DEFAULT 'suspected'
    CHECK (state IN ('suspected', 'open', 'mended', 'resolved')),
    found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When the report was heard that showed it last.
    seen_at timestamptz NOT NULL,
    ended_at timestamptz,
    resolved_by text,
    reason text,
    CHECK ((state IN ('mended', 'resolved')) = (ended_at IS NOT NULL)),
    CHECK ((state = 'resolved') = (resolved_by IS NOT NULL AND reason IS NOT NULL))
);

CREATE UNIQUE INDEX recon_breaks_live_idx ON app.recon_breaks (account_id, figure, subject)
WHERE state IN ('suspected', 'open');
