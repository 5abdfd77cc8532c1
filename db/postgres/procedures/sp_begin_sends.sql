-- sp_begin_sends(owner, limit, valid, ttl) -> what to send now, at most one row per account
-- Marks the heads of the owner's lanes as being sent, before the wire is touched. Each is `place`,
-- `cancel`, `replace` or `query`; a place or replace whose last send has no known outcome comes
-- back as `query`. A `replace` tells in quantity and prices what is to change, null is unchanged.
-- Halt and risk are checked again here; what breaks them is canceled, a replace dropped, what
-- waited longer than ttl is rejected, what is settled otherwise is archived, and none of that is
-- returned. A row in flight is not returned again, unless nobody finished it within `valid` or the
-- shard has changed hands. Without a living lease nothing is changed.
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
AS $$
DECLARE
    v_streams bigint[];
    v_begun bigint[] := '{}';
    v_head record;
    v_archived integer;
    v_action text;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_owner, '^.{1,200}$', 'owner');
    PERFORM app.sp_require_text(p_limit::text, '^([1-9][0-9]{0,2}|1000)$', 'limit');
    IF (p_valid > interval '0') IS NOT TRUE OR p_ttl IS NULL THEN
        RAISE EXCEPTION 'a send is valid for some time'
            USING ERRCODE = 'IN422', DETAIL = 'valid_invalid';
    END IF;
    v_streams := ARRAY(
        SELECT h.stream_id FROM app.sp_outbox_heads(p_owner, p_limit, p_valid) AS h
    );
    PERFORM app.sp_fence(p_owner, v_streams);

    -- Archived heads uncover the next rows of their lanes, so look again until there are none.
    FOR v_round IN 1..100 LOOP
        v_archived := 0;
        FOR v_head IN
            SELECT h.*
            FROM app.sp_outbox_heads(p_owner, p_limit, p_valid) AS h
            WHERE h.stream_id = ANY(v_streams)
            LIMIT p_limit - cardinality(v_begun)
        LOOP
            v_action := app.sp_begin_send(v_head.event_id, v_head.epoch, p_valid, p_ttl);
            IF v_action IN ('place', 'cancel', 'replace', 'query') THEN
                v_begun := v_begun || v_head.event_id;
            ELSE
                v_archived := v_archived + 1;
            END IF;
        END LOOP;
        EXIT WHEN v_archived = 0;
    END LOOP;

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
