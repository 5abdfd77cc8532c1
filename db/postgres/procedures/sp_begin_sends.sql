-- sp_begin_sends(owner, limit, valid, ttl) -> what to send now, at most one row per account
-- Marks the heads of the owner's lanes as being sent, before the wire is touched. Each is `place`,
-- `cancel`, `replace` or `query`; a place or replace whose last send has no known outcome comes
-- back as `query`. A `replace` tells in quantity and prices what is to change, null is unchanged.
-- Halt and risk are checked again here; what breaks them is canceled, a replace dropped, what
-- waited longer than ttl is rejected, what is settled otherwise is archived, and none of that is
-- returned. A row in flight is not returned again, unless nobody finished it within `valid` or the
-- shard has changed hands. Without a living lease nothing is changed. Of the accounts that somebody
-- else is writing to only the one that has waited longest is waited for, and not for long.
-- SQLSTATE 25001; IN422 owner_invalid, limit_invalid, valid_invalid. Called by app_worker. Test:
-- test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_begin_sends(
    p_owner text, p_limit integer, p_valid interval, p_ttl interval DEFAULT '120 s'
)
RETURNS TABLE (
    event_id bigint, shard smallint, epoch bigint, action text, kind text, order_id bigint,
    client_order_id text, account_id bigint, route text, broker_account text, symbol text,
    side text, order_type text, quantity numeric, limit_price numeric, stop_price numeric,
    time_in_force text, expires_at timestamptz, valid_until timestamptz, attempts smallint,
    request_id text
)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
-- The plans are good for every number of rows; making one costs more than running it.
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    c_looked_at constant integer := 4;
    v_oldest bigint[];
    v_streams bigint[];
    v_begun bigint[] := '{}';
    v_actions text[] := '{}';
    v_epochs bigint[] := '{}';
    v_head record;
    v_archived integer;
    v_action text;
    v_now timestamptz;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_owner, '^.{1,200}$', 'owner');
    PERFORM app.sp_require_text(p_limit::text, '^([1-9][0-9]{0,2}|1000)$', 'limit');
    IF (p_valid > interval '0') IS NOT TRUE OR p_ttl IS NULL THEN
        RAISE EXCEPTION 'a send is valid for some time'
            USING ERRCODE = 'IN422', DETAIL = 'valid_invalid';
    END IF;
    -- The oldest rows of all name the lanes that have waited longest. When too few of these may send
    -- now, and there are other rows, every lane is looked at.
    v_oldest := ARRAY(
        SELECT e.stream_id FROM app.events_outbox AS e
        ORDER BY e.event_id
        LIMIT c_looked_at * p_limit
    );
    v_streams := ARRAY(
        SELECT h.stream_id
        FROM app.sp_outbox_heads(
            p_owner, p_limit, p_valid, ARRAY(SELECT DISTINCT o.id FROM unnest(v_oldest) AS o (id))
        ) AS h
    );
    IF cardinality(v_streams) < p_limit AND cardinality(v_oldest) = c_looked_at * p_limit THEN
        v_streams := ARRAY(
            SELECT h.stream_id FROM app.sp_outbox_heads(p_owner, p_limit, p_valid) AS h
        );
    END IF;
    v_streams := app.sp_fence(p_owner, v_streams);

    -- Archived heads uncover the next rows of their lanes, so look again until there are none.
    FOR v_round IN 1..100 LOOP
        v_archived := 0;
        FOR v_head IN
            SELECT e AS event, o AS ordered, h.epoch
            FROM app.sp_outbox_heads(p_owner, p_limit, p_valid, v_streams) AS h
            JOIN app.events_outbox AS e ON e.event_id = h.event_id
            JOIN app.orders AS o ON o.order_id = e.order_id
            WHERE h.event_id <> ALL(v_begun)
            ORDER BY h.event_id
            LIMIT p_limit - cardinality(v_begun)
        LOOP
            v_action := app.sp_begin_send(v_head.event, v_head.ordered, p_ttl);
            IF v_action IN ('place', 'cancel', 'replace', 'query') THEN
                v_begun := v_begun || (v_head.event).event_id;
                v_actions := v_actions || v_action;
                v_epochs := v_epochs || v_head.epoch;
            ELSE
                v_archived := v_archived + 1;
            END IF;
        END LOOP;
        EXIT WHEN v_archived = 0;
    END LOOP;

    v_now := clock_timestamp();
    UPDATE app.events_outbox AS e
    SET
        last_outcome = 'sending',
        last_action = u.action,
        sending_epoch = u.epoch,
        sending_at = v_now,
        attempts = least(e.attempts + 1, 32767)
    FROM unnest(v_begun, v_actions, v_epochs) AS u (event_id, action, epoch)
    WHERE e.event_id = u.event_id;
    -- No move when the state is that already: a repeated attempt or question.
    PERFORM app.sp_orders_move(
        m.orders, m.statuses, m.reasons, m.details, 'system:worker', 'begin_send', m.valid_until
    )
    FROM (
        SELECT
            array_agg(e.order_id) AS orders,
            array_agg(CASE e.last_action WHEN 'place' THEN 'submitting' ELSE 'submit_unknown' END)
                AS statuses,
            array_agg(NULL::text) AS reasons,
            array_agg(jsonb_build_object('event_id', e.event_id, 'attempts', e.attempts))
                AS details,
            CASE e.last_action WHEN 'place' THEN v_now + p_valid END AS valid_until
        FROM app.events_outbox AS e
        WHERE e.event_id = ANY(v_begun) AND e.kind = 'order.place.v1'
        GROUP BY e.last_action
    ) AS m;
    UPDATE app.orders AS o
    SET valid_until = v_now + p_valid
    FROM app.events_outbox AS e
    WHERE e.event_id = ANY(v_begun)
        AND e.last_action IN ('place', 'replace')
        AND o.order_id = e.order_id
        AND o.valid_until IS DISTINCT FROM v_now + p_valid;
    RETURN QUERY
    SELECT
        e.event_id, e.shard::smallint, e.sending_epoch, e.last_action::text, e.kind::text,
        o.order_id, o.client_order_id::text, o.account_id, a.route, a.broker_account, i.symbol,
        o.side::text, o.order_type::text,
        CASE e.last_action WHEN 'replace' THEN o.pending_quantity ELSE o.quantity END::numeric,
        CASE e.last_action
            WHEN 'replace' THEN o.pending_limit_price
            ELSE o.limit_price
        END::numeric,
        CASE e.last_action
            WHEN 'replace' THEN o.pending_stop_price
            ELSE o.stop_price
        END::numeric,
        o.time_in_force::text, o.expires_at,
        e.sending_at + p_valid, e.attempts, e.request_id
    FROM app.events_outbox AS e
    JOIN app.orders AS o ON o.order_id = e.order_id
    JOIN app.accounts AS a ON a.account_id = o.account_id
    JOIN app.instruments AS i ON i.instrument_id = o.instrument_id
    WHERE e.event_id = ANY(v_begun)
    ORDER BY e.event_id;
END
$$;
