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
    orders_per_minute_max integer NOT NULL DEFAULT 600 CHECK (orders_per_minute_max > 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The same figure of a user's order rate over all accounts.
CREATE TABLE app.user_rates (
    user_id uuid PRIMARY KEY REFERENCES app.users,
    rate_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);

-- The most that all open orders of an account can bind: how many they are, what they have left to
-- buy and to sell over all instruments, and its value at their own prices in the account's
-- currency. The value is null when one of them has no price of its own or another currency.
CREATE TYPE app.open_bound AS (
    orders bigint,
    buys numeric,
    sells numeric,
    value numeric
);

-- What the risk rules see of open orders: how many, what they have left of one instrument and what
-- of it was placed earlier, and what opening all of them binds.
CREATE TYPE app.open_orders AS (
    orders bigint,
    buys numeric,
    sells numeric,
    ahead_buys numeric,
    ahead_sells numeric,
    opening numeric,
    unpriced boolean,
    unconverted boolean
);

-- A domain, since each order updates the row, and would have a CHECK read anew.
CREATE DOMAIN app.stream_id AS bigint CHECK (VALUE >= 0);

-- One narrow row per stream: 0 is the system's, the others carry their account's id. Its row lock
-- is taken first by every writing procedure; it gives the gap-free sequence, the head of the audit
-- chain, and commit order = outbox order.
CREATE TABLE app.streams (
    stream_id app.stream_id PRIMARY KEY,
    seq bigint NOT NULL DEFAULT 0,
    head bytea NOT NULL DEFAULT '\x',
    -- The one figure of the account's order rate (GCRA): when its next order is due by the rate.
    rate_at timestamptz NOT NULL DEFAULT '-infinity',
    -- Never less than what the account's open orders bind; raised by placing, refreshed when it
    -- would deny, null when it is not known.
    open_bound app.open_bound
) WITH (fillfactor = 50);

INSERT INTO app.streams (stream_id) VALUES (0);

CREATE TABLE app.accounts (
    account_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    currency text NOT NULL DEFAULT 'USD' CHECK (currency ~ '^[A-Z]{3}$'),
    route text NOT NULL CHECK (route IN ('quantconnect', 'ib')),
    -- What the route calls this account: QuantConnect's project id, or the broker's account code.
    broker_account text NOT NULL,
    -- Who holds the account, for people to read.
    broker text NOT NULL DEFAULT 'paper' CHECK (length(broker) BETWEEN 1 AND 64),
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

CREATE INDEX account_members_user_idx ON app.account_members (user_id, account_id);

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
    -- What one unit stands for: money is price times quantity times this.
    multiplier numeric NOT NULL DEFAULT 1 CHECK (multiplier > 0 AND multiplier < 1e12),
    tradable boolean NOT NULL DEFAULT TRUE
);

-- Orders name these rows without foreign keys, so none of them ever goes.
CREATE FUNCTION app.refuse_removal() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% are never removed', TG_TABLE_NAME USING ERRCODE = '42501';
END
$$;

CREATE TRIGGER accounts_are_kept BEFORE DELETE OR TRUNCATE ON app.accounts
FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_removal();
CREATE TRIGGER strategies_are_kept BEFORE DELETE OR TRUNCATE ON app.strategies
FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_removal();
CREATE TRIGGER instruments_are_kept BEFORE DELETE OR TRUNCATE ON app.instruments
FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_removal();

-- What an account may trade. An account without rows may trade every tradable instrument.
CREATE TABLE app.account_instruments (
    account_id bigint NOT NULL REFERENCES app.accounts,
    instrument_id integer NOT NULL REFERENCES app.instruments,
    PRIMARY KEY (account_id, instrument_id)
);

-- What a route can do; what is not listed is denied before anything is sent.
CREATE TABLE app.route_capabilities (
    route text NOT NULL CHECK (route IN ('quantconnect', 'ib')),
    order_type text NOT NULL CHECK (order_type IN ('market', 'limit', 'stop', 'stop_limit')),
    time_in_force text NOT NULL CHECK (time_in_force IN ('day', 'gtc', 'gtd', 'ioc', 'fok')),
    PRIMARY KEY (route, order_type, time_in_force)
);

INSERT INTO app.route_capabilities (route, order_type, time_in_force)
SELECT r.route, t.order_type, f.time_in_force
FROM unnest(ARRAY['quantconnect', 'ib']) AS r (route)
CROSS JOIN unnest(ARRAY['market', 'limit', 'stop', 'stop_limit']) AS t (order_type)
CROSS JOIN unnest(ARRAY['day', 'gtc', 'gtd', 'ioc', 'fok']) AS f (time_in_force)
WHERE f.time_in_force IN ('day', 'gtc', 'gtd')
    OR (r.route = 'ib' AND t.order_type IN ('market', 'limit'));

-- Why our risk rules deny an order; the only codes a denied order carries.
CREATE TABLE app.denial_codes (
    code text PRIMARY KEY CHECK (code ~ '^[A-Z][A-Z0-9_]{1,63}$'),
    meaning text NOT NULL
);

INSERT INTO app.denial_codes (code, meaning) VALUES
('TRADING_HALTED', 'Trading is halted for everyone, this account or this strategy.'),
('TRADING_REDUCING', 'Only orders that shrink the position pass at the moment.'),
('ORDER_TYPE_NOT_SUPPORTED', 'The route of the account does not know this order type.'),
('TIME_IN_FORCE_NOT_SUPPORTED', 'The route does not take this time in force for this order type.'),
('INSTRUMENT_NOT_TRADABLE', 'The instrument is not open for trading.'),
('INSTRUMENT_NOT_ALLOWED', 'The account may not trade this instrument.'),
('NO_RISK_LIMITS', 'The account has no limits, so it may not trade.'),
('QUANTITY_NOT_ON_LOT', 'The quantity is no multiple of the lot size.'),
('PRICE_NOT_ON_TICK', 'A price is no multiple of the tick size.'),
('ORDER_QUANTITY_EXCEEDS_MAX', 'The quantity is above the limit of a single order.'),
('ORDER_NOTIONAL_EXCEEDS_MAX', 'The value is above the limit of a single order.'),
('NO_MARKET_PRICE', 'The instrument, or another one in the books, has no last price.'),
('NO_FX_RATE', 'A currency in the books has no recent rate into that of the account.'),
('STALE_MARKET_PRICE', 'The last price is too old to check against.'),
('PRICE_OUTSIDE_COLLAR', 'A price lies too far from the last price.'),
('POSITION_EXCEEDS_MAX', 'The position could grow above its limit if all open orders filled.'),
('OPEN_ORDERS_EXCEED_MAX', 'The account has as many open orders as it may have.'),
('ORDER_RATE_EXCEEDED', 'The account places orders faster than its limit.'),
('USER_ORDER_RATE_EXCEEDED', 'The user places orders faster than his limit.'),
('DAILY_LOSS_EXCEEDED', 'The loss of the day is at its limit; only shrinking orders pass.'),
('BUYING_POWER_EXCEEDED', 'The order would need more buying power than is left.');

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
    -- NaN is above every number, so the upper bounds keep it out as well.
    order_quantity_max numeric NOT NULL
    CHECK (order_quantity_max > 0 AND order_quantity_max < 1e12),
    -- In the account's currency.
    order_notional_max numeric NOT NULL
    CHECK (order_notional_max > 0 AND order_notional_max < 1e12),
    -- Furthest a price may lie beyond the last price, as a fraction of it.
    price_collar numeric NOT NULL CHECK (price_collar > 0 AND price_collar < 1),
    -- Of one instrument, long or short, if every open order filled.
    position_quantity_max numeric NOT NULL DEFAULT 100000
    CHECK (position_quantity_max > 0 AND position_quantity_max < 1e12),
    open_orders_max integer NOT NULL DEFAULT 200 CHECK (open_orders_max > 0),
    -- As many at once, and as many a minute in the long run.
    orders_per_minute_max integer NOT NULL DEFAULT 600 CHECK (orders_per_minute_max > 0),
    -- Against app.day_equity, in the account's currency.
    daily_loss_max numeric NOT NULL DEFAULT 10000
    CHECK (daily_loss_max > 0 AND daily_loss_max < 1e12),
    -- Buying power is equity times this, less what is bound already.
    leverage_max numeric NOT NULL DEFAULT 2 CHECK (leverage_max > 0 AND leverage_max <= 100),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What each account was worth when its day began, in its currency: the first sample of the UTC day,
-- on the first day what was paid in. What is paid in or out later is added, so that it is neither
-- gain nor loss, in another currency at the rate of its day. Until a day has a sample, the day
-- before goes on.
CREATE TABLE app.day_equity (
    account_id bigint PRIMARY KEY REFERENCES app.accounts,
    day date NOT NULL,
    equity numeric NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE app.cash_balances (
    account_id bigint NOT NULL REFERENCES app.accounts,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount numeric NOT NULL DEFAULT 0,
    -- What of it went for fees so far, of whatever instrument.
    fees numeric NOT NULL DEFAULT 0,
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

-- What programs sign in with. The token itself is shown once and kept nowhere; it may do what its
-- user may, of that what the scopes name, on these accounts alone. Immutable but for its end.
CREATE TABLE security.service_tokens (
    token_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    user_id uuid NOT NULL REFERENCES app.users,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    scopes text [] NOT NULL CHECK (
        cardinality(scopes) > 0
        AND scopes <@ ARRAY[
            'orders:read', 'orders:write', 'data:read', 'data:write', 'hot:read', 'hot:write'
        ]
    ),
    account_ids bigint [] NOT NULL,
    created_by uuid NOT NULL REFERENCES app.users,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    -- To the minute.
    last_used_at timestamptz
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

-- What one unit of the base is in the quoted currency, as published for a day; the base in itself
-- is kept as 1. The original date is set when a rate is shown under another date than its own.
CREATE TABLE market.fx_rates (
    quote text NOT NULL CHECK (quote ~ '^[A-Z]{3}$'),
    base text NOT NULL CHECK (base ~ '^[A-Z]{3}$'),
    rate_date date NOT NULL,
    rate numeric NOT NULL CHECK (rate > 0 AND rate < 1e12),
    source text NOT NULL,
    original_date date,
    PRIMARY KEY (quote, base, rate_date),
    CHECK (base <> quote OR rate = 1)
);

-- When an exchange (ISO 10383) trades: a row for each day of trading. Between its first and last
-- row a day without one is closed; before and after, nothing is known.
CREATE TABLE market.calendar (
    exchange text NOT NULL CHECK (exchange ~ '^[A-Z]{4}$'),
    session_date date NOT NULL,
    opens_at timestamptz NOT NULL,
    closes_at timestamptz NOT NULL,
    early_close boolean NOT NULL,
    PRIMARY KEY (exchange, session_date),
    CHECK (opens_at < closes_at)
);

-- What the risk rules look at for orders of one account, instrument, strategy, type and time in
-- force, as of one moment.
CREATE TYPE app.risk_facts AS (
    at timestamptz,
    states text[],
    -- The code by which the route refuses the type or time in force; null when it can do it.
    not_supported text,
    tradable boolean,
    allowed boolean,
    tick_size numeric,
    lot_size numeric,
    order_quantity_max numeric,
    order_notional_max numeric,
    price_collar numeric,
    last_price numeric,
    stale boolean,
    -- What a price of one is worth for a quantity of one, in the account's currency; null without a
    -- rate.
    point_value numeric,
    position_quantity numeric,
    position_quantity_max numeric,
    -- What other open orders of the instrument have left, and what of it was placed earlier and so
    -- closes the position first.
    open_buys numeric,
    open_sells numeric,
    ahead_buys numeric,
    ahead_sells numeric,
    -- Null for an order that is one of them already, as is the rate.
    open_orders bigint,
    open_orders_max integer,
    rate_at timestamptz,
    orders_per_minute_max integer,
    -- A position or an open order of the account has no price, so its worth is not known.
    unpriced boolean,
    -- Or no rate into the account's currency.
    unconverted boolean,
    -- From here on in the account's currency.
    equity numeric,
    daily_loss numeric,
    daily_loss_max numeric,
    -- What is left of it.
    buying_power numeric,
    leverage_max numeric,
    -- point_value where no rate moves it: null for an instrument in another currency.
    fixed_point_value numeric,
    -- What all open orders of the account bind at most, as it was read or counted.
    bound app.open_bound
);
