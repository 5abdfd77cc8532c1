-- Users, accounts, instruments, limits and the streams that order everything written to them.
-- Run once, as app_owner, by revision 20260109_init.

-- What was laid of the files that hold no data: procedures, views, policies, grants.
CREATE TABLE app.repeatable (
    path text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE app.users (
    user_id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE CHECK (email = lower(email)),
    role text NOT NULL CHECK (role IN ('viewer', 'trader', 'admin')),
    disabled boolean NOT NULL DEFAULT FALSE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One narrow row per stream: 0 is the system's, the others carry their account's id. Its row lock
-- is taken first by every writing procedure; it gives the gap-free sequence, the head of the audit
-- chain, and commit order = outbox order.
CREATE TABLE app.streams (
    stream_id bigint PRIMARY KEY CHECK (stream_id >= 0),
    seq bigint NOT NULL DEFAULT 0,
    head bytea NOT NULL DEFAULT '\x'
) WITH (fillfactor = 50);

INSERT INTO app.streams (stream_id) VALUES (0);

CREATE TABLE app.accounts (
    account_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    currency text NOT NULL DEFAULT 'USD' CHECK (currency ~ '^[A-Z]{3}$'),
    route text NOT NULL CHECK (route IN ('quantconnect', 'ib')),
    -- What the route calls this account: QuantConnect's project id, or the broker's account code.
    broker_account text NOT NULL,
    paper boolean NOT NULL DEFAULT TRUE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (route, broker_account)
);

CREATE TABLE app.account_members (
    account_id bigint NOT NULL REFERENCES app.accounts,
    user_id uuid NOT NULL REFERENCES app.users,
    can_trade boolean NOT NULL,
    PRIMARY KEY (account_id, user_id)
);

CREATE INDEX account_members_user_idx ON app.account_members (user_id);

CREATE TABLE app.strategies (
    strategy_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES app.accounts,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (account_id, name)
);

CREATE TABLE app.instruments (
    instrument_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol text NOT NULL UNIQUE CHECK (symbol ~ '^[A-Z][A-Z0-9.]{0,15}$'),
    name text NOT NULL,
    currency text NOT NULL DEFAULT 'USD' CHECK (currency ~ '^[A-Z]{3}$'),
    tick_size numeric NOT NULL DEFAULT 0.01 CHECK (tick_size > 0),
    lot_size numeric NOT NULL DEFAULT 1 CHECK (lot_size > 0),
    tradable boolean NOT NULL DEFAULT TRUE
);

-- A row that is missing means active. The scope id is 0 for the global switch.
CREATE TABLE app.trading_states (
    scope text NOT NULL CHECK (scope IN ('global', 'account', 'strategy')),
    scope_id bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('active', 'reducing', 'halted')),
    reason text NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (scope, scope_id),
    CHECK ((scope = 'global') = (scope_id = 0))
);

-- Limits of an account. An account without a row may not trade.
CREATE TABLE app.risk_limits (
    account_id bigint PRIMARY KEY REFERENCES app.accounts,
    order_quantity_max numeric NOT NULL CHECK (order_quantity_max > 0),
    order_notional_max numeric NOT NULL CHECK (order_notional_max > 0),
    -- Furthest a limit price may lie beyond the last price, as a fraction of it.
    price_collar numeric NOT NULL CHECK (price_collar > 0 AND price_collar < 1),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE app.cash_balances (
    account_id bigint NOT NULL REFERENCES app.accounts,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, currency)
);

-- Cash that did not come from executions: opening balances, deposits, withdrawals.
CREATE TABLE app.cash_movements (
    cash_movement_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES app.accounts,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount numeric NOT NULL CHECK (amount <> 0),
    -- One movement of a kind and reference is booked once.
    kind text NOT NULL CHECK (kind IN ('opening', 'deposit', 'withdrawal')),
    reference text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (account_id, currency, kind, reference)
);

-- Answers of writes that carry an idempotency key and create no order of their own.
CREATE TABLE app.idempotency (
    actor text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    response jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (actor, route, key)
);

CREATE TABLE security.revoked_sessions (
    session_handle text PRIMARY KEY,
    user_id uuid NOT NULL,
    revoked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- HMAC keys of the tokens that row security believes, stored as the two padded blocks of RFC 2104.
CREATE TABLE security.token_keys (
    key_id text PRIMARY KEY CHECK (key_id ~ '^[a-z0-9]{1,16}$'),
    inner_block bytea NOT NULL CHECK (length(inner_block) = 64),
    outer_block bytea NOT NULL CHECK (length(outer_block) = 64),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The one mark per instrument, for collar, preview and P&L.
CREATE TABLE market.last_prices (
    instrument_id integer PRIMARY KEY REFERENCES app.instruments,
    price numeric NOT NULL CHECK (price > 0),
    source text NOT NULL CHECK (source IN ('replay', 'quantconnect', 'ib')),
    source_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
