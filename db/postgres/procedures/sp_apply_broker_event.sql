-- sp_apply_broker_event(inbox id, ttl) -> outcome
-- Applies one reported event to its order, one of ours or one that was placed elsewhere, its
-- executions, positions and cash, and marks it so. The outcome is applied, duplicate, stale
-- (nothing new in it), unmatched (no such order of this source), illegal (contradicts what is
-- known: an overfill, which flags the order, one execution id with two contents) or invalid (cannot
-- be read). Whatever it is, the event is recorded and the lane goes on; the last three are audited.
-- A fill of no order is a break as well.
-- Repeating it answers the same and changes nothing.
-- IN404 event_not_found. Internal: sp_apply_broker_events. Test: test_sp_events.py

-- It was the worker's to call, with a time of its own.
DROP FUNCTION IF EXISTS app.sp_apply_broker_event(bigint, interval);

CREATE FUNCTION app.sp_apply_broker_event(p_inbox_id bigint, p_ttl interval)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_inbox app.inbox;
    v_stream_id bigint;
    v_order_id bigint;
    v_actor text;
    v_before text;
    v_reason text := 'unmatched';
    v_error text;
    v_outcome text;
    v_kind text;
BEGIN
    SELECT i.* INTO v_inbox FROM app.inbox AS i WHERE i.inbox_id = p_inbox_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no event %', p_inbox_id
            USING ERRCODE = 'IN404', DETAIL = 'event_not_found';
    END IF;
    v_stream_id := coalesce(app.sp_source_account(v_inbox.source), 0);
    PERFORM FROM app.streams AS s WHERE s.stream_id = v_stream_id FOR NO KEY UPDATE;
    SELECT i.* INTO STRICT v_inbox FROM app.inbox AS i WHERE i.inbox_id = p_inbox_id;
    IF v_inbox.applied_at IS NOT NULL THEN
        RETURN v_inbox.outcome;
    END IF;

    v_actor := 'broker:' || v_inbox.source;
    v_kind := coalesce(v_inbox.payload ->> 'kind', 'unknown');
    SELECT o.order_id, o.status INTO v_order_id, v_before
    FROM app.orders AS o
    WHERE o.client_order_id = v_inbox.payload ->> 'client_order_id'
        AND o.account_id = v_stream_id;
    IF v_order_id IS NULL AND v_inbox.payload ->> 'client_order_id' IS NULL
        AND jsonb_typeof(v_inbox.payload -> 'external') = 'object' AND v_stream_id <> 0
    THEN
        v_order_id := app.sp_external_order(v_stream_id, v_inbox.source, v_inbox.payload);
        SELECT o.status INTO v_before FROM app.orders AS o WHERE o.order_id = v_order_id;
        v_reason := 'invalid';
    END IF;
    IF v_order_id IS NOT NULL THEN
        BEGIN
            v_reason := app.sp_apply_event(v_order_id, v_actor, v_inbox.payload, p_ttl);
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            -- Nothing of it counts; the block is undone.
            v_reason := 'invalid';
            v_error := SQLERRM;
        END;
        -- A move has written its own row.
        IF v_reason <> 'applied' OR v_before = (
            SELECT o.status FROM app.orders AS o WHERE o.order_id = v_order_id
        ) THEN
            PERFORM app.sp_order_note(
                v_order_id, left(v_kind, 100), v_actor, v_reason = 'applied',
                nullif(v_reason, 'applied'), v_inbox.payload, v_inbox.received_at
            );
        END IF;
    END IF;

    v_outcome := CASE
        WHEN v_reason IN ('conflict', 'fill_gap', 'absent') THEN 'illegal'
        WHEN v_reason = 'busted' THEN 'stale'
        ELSE v_reason
    END;
    IF v_outcome IN ('unmatched', 'illegal', 'invalid') THEN
        PERFORM app.sp_audit_append(
            v_stream_id, v_actor, 'broker.' || v_reason,
            jsonb_strip_nulls(jsonb_build_object(
                'inbox_id', p_inbox_id, 'order_id', v_order_id, 'error', v_error,
                'event', v_inbox.payload
            ))
        );
    END IF;
    IF v_reason = 'unmatched' AND v_stream_id <> 0 THEN
        PERFORM app.sp_break_of_fill(v_stream_id, v_inbox.source, v_inbox.payload);
    END IF;
    UPDATE app.inbox AS i
    SET applied_at = clock_timestamp(), outcome = v_outcome
    WHERE i.inbox_id = p_inbox_id;
    RETURN v_outcome;
END
$$;
