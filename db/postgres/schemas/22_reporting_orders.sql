-- What the screen asks and no view can show: the newest of many accounts, the way of one order, and
-- how fresh everything is. Laid anew, as app_owner, after the views of 20_reporting.sql. Holds no
-- data.
--
-- The last two look where a reader has no right at all (the audit log, the outbox), so they run as
-- the owner and name the accounts of the signed token themselves.

-- newest_orders(accounts, statuses, limit) -> the last orders of very many accounts, newest first
-- Reads the table from its end, whatever the planner takes the accounts of a token for; it would
-- sort all of a past otherwise. With the rights and policies of who asks; null means every status.
CREATE FUNCTION reporting.newest_orders(
    p_account_ids bigint [], p_statuses text [], p_limit integer
)
RETURNS SETOF reporting.orders
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
SET enable_sort = off
AS $$
    SELECT o.*
    FROM reporting.orders AS o
    WHERE o.account_id = ANY (p_account_ids)
        AND (p_statuses IS NULL OR o.status = ANY (p_statuses))
    ORDER BY o.order_id DESC
    LIMIT p_limit
$$;

-- order_timeline(order) -> everything recorded of an order, oldest first
-- Its events, the links of the audit chain that name it, what was owed to the broker for it, and
-- its fills; elapsed_ms since the step before. Nothing for an order of an account that the token
-- does not show. A user who acted is named by his address.
CREATE FUNCTION reporting.order_timeline(p_order_id bigint)
RETURNS TABLE (
    event_at timestamptz,
    recorded_at timestamptz,
    origin text,
    kind text,
    source text,
    status_before text,
    status_after text,
    applied boolean,
    reason text,
    detail text,
    audit_seq bigint,
    audit_hash text,
    elapsed_ms numeric
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH found AS MATERIALIZED (
        SELECT o.order_id, o.account_id
        FROM app.orders AS o
        WHERE o.order_id = p_order_id
            AND o.account_id = ANY ((SELECT security.token_accounts())::bigint [])
    ),
    owed AS (
        SELECT
            e.event_id, e.kind, e.attempts, e.created_at, e.sending_at, e.last_action,
            e.last_outcome, NULL AS outcome, NULL::timestamptz AS done_at
        FROM found AS f JOIN app.events_outbox AS e ON e.order_id = f.order_id
        UNION ALL
        SELECT d.event_id, d.kind, d.attempts, d.created_at, NULL, NULL, NULL, d.outcome, d.done_at
        FROM found AS f JOIN app.events_done AS d ON d.order_id = f.order_id
        UNION ALL
        SELECT
            d.event_id, d.kind, d.attempts, d.created_at, NULL, NULL, NULL,
            d.outcome || ', ' || d.error, d.done_at
        FROM found AS f JOIN app.events_dead AS d ON d.order_id = f.order_id
    ),
    steps AS (
        SELECT
            v.event_at, v.recorded_at, 'order' AS origin, v.kind, v.source, v.status_before,
            v.status_after, v.applied, v.reason, NULL AS detail, NULL::bigint AS audit_seq,
            NULL AS audit_hash, 1 AS place, v.order_event_id AS number
        FROM found AS f JOIN app.order_events AS v ON v.order_id = f.order_id
        UNION ALL
        SELECT
            m.at, m.at, 'audit', a.action, a.actor, a.detail ->> 'status_before',
            CASE WHEN a.detail ? 'status_before' THEN regexp_replace(a.action, '^order\.', '') END,
            TRUE, a.detail ->> 'reason_code', 'request ' || (a.detail ->> 'request_id'),
            a.seq, encode(a.hash, 'hex'), 2, a.seq
        FROM found AS f
        JOIN audit.audit_log AS a
            ON a.stream_id = f.account_id
            AND a.detail ? 'order_id'
            AND a.detail ->> 'order_id' = f.order_id::text
        CROSS JOIN LATERAL (
            SELECT to_timestamp(0) + a.epoch_us * interval '1 microsecond' AS at
        ) AS m
        UNION ALL
        SELECT
            x.executed_at, x.recorded_at, 'execution',
            CASE x.kind WHEN 'trade' THEN 'fill' ELSE x.kind END, x.source, NULL, NULL, TRUE, NULL,
            format('%s at %s, ', x.quantity, x.price)
            || coalesce('fee ' || x.fee || ' ' || x.fee_currency, 'fee not reported yet'),
            NULL, NULL, 3, x.execution_id
        FROM found AS f JOIN app.executions AS x ON x.order_id = f.order_id
        UNION ALL
        SELECT
            w.at, w.at, 'outbox', w.kind, 'outbox', NULL, NULL, TRUE, NULL, w.detail, NULL, NULL, 4,
            w.event_id
        FROM (
            SELECT e.event_id, e.kind, e.created_at AS at, 'owed' AS detail FROM owed AS e
            UNION ALL
            SELECT
                e.event_id, e.kind, e.sending_at,
                format('attempt %s, %s: %s', e.attempts, e.last_action, e.last_outcome)
            FROM owed AS e WHERE e.sending_at IS NOT NULL
            UNION ALL
            SELECT
                e.event_id, e.kind, e.done_at,
                format('%s, attempts: %s', e.outcome, e.attempts)
            FROM owed AS e WHERE e.done_at IS NOT NULL
        ) AS w
    )
    SELECT
        s.event_at,
        s.recorded_at,
        s.origin,
        s.kind,
        coalesce(u.email || substr(s.source, 42), s.source),
        s.status_before,
        s.status_after,
        s.applied,
        s.reason,
        s.detail,
        s.audit_seq,
        s.audit_hash,
        extract(EPOCH FROM s.recorded_at - lag(s.recorded_at) OVER w) * 1000
    FROM steps AS s
    LEFT JOIN app.users AS u ON left(s.source, 41) = 'user:' || u.user_id
    WINDOW w AS (ORDER BY s.recorded_at, s.place, s.number)
    ORDER BY s.recorded_at, s.place, s.number
$$;

-- health(accounts) -> one row: how fresh prices, links and the outbox of the accounts are
-- The newest price of any instrument; the oldest report among the far ends of these accounts, null
-- when one never reported; what is owed to their brokers, and since when. All by one clock. Nobody
-- gets no row.
CREATE FUNCTION reporting.health(p_account_ids bigint [])
RETURNS TABLE (
    read_at timestamptz,
    price_received_at timestamptz,
    price_source text,
    link_at timestamptz,
    outbox_pending bigint,
    outbox_oldest_s double precision
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH allowed AS MATERIALIZED (
        SELECT a.account_id, a.route, a.broker_account
        FROM app.accounts AS a
        WHERE a.account_id = ANY (p_account_ids)
            AND a.account_id = ANY ((SELECT security.token_accounts())::bigint [])
    ),
    owed AS (
        SELECT count(*) AS pending, min(e.created_at) AS oldest_at
        FROM app.events_outbox AS e
        WHERE e.stream_id IN (SELECT a.account_id FROM allowed AS a)
    ),
    links AS (
        SELECT
            CASE WHEN count(*) = count(b.heartbeat_at) THEN min(b.heartbeat_at) END AS heartbeat_at
        FROM allowed AS a
        LEFT JOIN app.bridges AS b
            ON b.source = CASE a.route WHEN 'quantconnect' THEN 'qc:' ELSE 'ib:' END
                || a.broker_account
    )
    SELECT
        clock_timestamp(),
        p.received_at,
        p.source,
        k.heartbeat_at,
        o.pending,
        extract(EPOCH FROM clock_timestamp() - o.oldest_at)::double precision
    FROM owed AS o
    CROSS JOIN links AS k
    LEFT JOIN (
        SELECT l.received_at, l.source FROM market.last_prices AS l
        ORDER BY l.received_at DESC
        LIMIT 1
    ) AS p ON TRUE
    WHERE (SELECT security.token_accounts()) IS NOT NULL
$$;
