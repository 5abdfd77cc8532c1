-- What operators and administrators read: when the exchange trades, how the outbox of each account
-- fares, and the audit log. Laid anew, as app_owner, after the views of 20_reporting.sql. Holds no
-- data.
--
-- The last two look where a reader has no right at all, so they run as the owner and look at the
-- signed token themselves.

-- The days of trading that are known; between the first and the last, a day without a row is closed.
CREATE VIEW reporting.market_calendar WITH (security_invoker = TRUE) AS
SELECT c.exchange, c.session_date, c.opens_at, c.closes_at, c.early_close
FROM market.calendar AS c;

-- market_clock(moment) -> one row an exchange: whether it is open then, the session that runs or
-- comes next, and when that changes; all but the name is null when the calendar does not reach so
-- far. A session begins with the moment of its opening and is over at that of its close.
CREATE FUNCTION reporting.market_clock(p_at timestamptz DEFAULT clock_timestamp())
RETURNS TABLE (
    exchange text,
    is_open boolean,
    session_date date,
    opens_at timestamptz,
    closes_at timestamptz,
    early_close boolean,
    changes_at timestamptz
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        e.exchange,
        s.opens_at <= p_at,
        s.session_date,
        s.opens_at,
        s.closes_at,
        s.early_close,
        CASE WHEN s.opens_at <= p_at THEN s.closes_at ELSE s.opens_at END
    FROM (
        SELECT c.exchange, min(c.opens_at) AS known_from
        FROM reporting.market_calendar AS c GROUP BY c.exchange
    ) AS e
    LEFT JOIN LATERAL (
        SELECT c.*
        FROM reporting.market_calendar AS c
        WHERE c.exchange = e.exchange AND c.closes_at > p_at AND p_at >= e.known_from
        ORDER BY c.session_date
        LIMIT 1
    ) AS s ON TRUE
    ORDER BY e.exchange
$$;

-- outbox_health(accounts) -> one row an account: what is owed to its broker, since when, and why
-- it waits; how many of its events are dead. Nothing of accounts that the token does not show.
CREATE FUNCTION reporting.outbox_health(p_account_ids bigint [])
RETURNS TABLE (
    account_id bigint,
    pending bigint,
    oldest_s double precision,
    sending bigint,
    parked_until timestamptz,
    parked_reason text,
    dead bigint
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        a.account_id,
        o.pending,
        extract(EPOCH FROM clock_timestamp() - o.oldest_at)::double precision,
        o.sending,
        p.next_attempt_at,
        p.last_error,
        (SELECT count(*) FROM app.events_dead AS d WHERE d.stream_id = a.account_id)
    FROM app.accounts AS a
    LEFT JOIN app.outbox_parked AS p ON p.stream_id = a.account_id
    CROSS JOIN LATERAL (
        SELECT
            count(*) AS pending,
            count(*) FILTER (WHERE e.last_outcome = 'sending') AS sending,
            min(e.created_at) AS oldest_at
        FROM app.events_outbox AS e
        WHERE e.stream_id = a.account_id
    ) AS o
    WHERE a.account_id = ANY (p_account_ids)
        AND a.account_id = ANY ((SELECT security.token_accounts())::bigint [])
    ORDER BY a.account_id
$$;

-- audit_extract(streams, from, to, after stream, after seq, rows) -> links of the audit chain
-- By stream and sequence, beginning after the place that is named, at most so many and never above
-- 5000; hashes as hex, a user named by his address. For the token of an administrator alone,
-- nobody else gets a row. Stream 0 is the system's, the others are the accounts'.
CREATE FUNCTION reporting.audit_extract(
    p_stream_ids bigint [],
    p_from timestamptz,
    p_to timestamptz,
    p_after_stream bigint,
    p_after_seq bigint,
    p_rows integer
)
RETURNS TABLE (
    stream_id bigint,
    seq bigint,
    recorded_at timestamptz,
    actor text,
    action text,
    detail text,
    db_user text,
    prev_hash text,
    hash text
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        a.stream_id,
        a.seq,
        to_timestamp(0) + a.epoch_us * interval '1 microsecond',
        coalesce(u.email || substr(a.actor, 42), a.actor),
        a.action,
        a.detail::text,
        a.db_user,
        encode(a.prev_hash, 'hex'),
        encode(a.hash, 'hex')
    FROM audit.audit_log AS a
    LEFT JOIN app.users AS u ON left(a.actor, 41) = 'user:' || u.user_id
    WHERE a.stream_id = ANY (p_stream_ids)
        AND (a.stream_id, a.seq) > (p_after_stream, p_after_seq)
        AND a.epoch_us >= extract(EPOCH FROM p_from) * 1000000
        AND a.epoch_us < extract(EPOCH FROM p_to) * 1000000
        AND (
            SELECT w.role = 'admin' AND NOT w.disabled
            FROM app.users AS w WHERE w.user_id = security.token_user()
        )
    ORDER BY a.stream_id, a.seq
    LIMIT greatest(least(p_rows, 5000), 1)
$$;
