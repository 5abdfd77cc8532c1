-- sp_begin_send(event, epoch, valid, ttl) -> place, cancel, replace or query; parked; or archived
-- Decides what to do with the head of a lane and marks it. The caller holds the stream lock and has
-- checked the fence. Internal: sp_begin_sends. Test: test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_begin_send(
    p_event_id bigint, p_epoch bigint, p_valid interval, p_ttl interval
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_row app.events_outbox;
    v_order app.orders;
    v_action text;
    v_now timestamptz := clock_timestamp();
    v_refusal text;
BEGIN
    SELECT e.* INTO STRICT v_row FROM app.events_outbox AS e WHERE e.event_id = p_event_id;
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = v_row.order_id;
    v_action := CASE
        WHEN v_row.kind = 'order.cancel.v1' AND v_order.status = 'pending_cancel' THEN 'cancel'
        WHEN v_row.kind = 'order.query.v1' AND v_order.status NOT IN (
            'new', 'denied', 'filled', 'canceled', 'rejected', 'expired'
        ) THEN 'query'
        WHEN v_row.kind = 'order.place.v1'
            AND v_order.status IN ('new', 'submitting', 'submit_unknown')
            THEN CASE
                WHEN v_row.last_outcome IN ('sending', 'unknown') THEN 'query'
                ELSE 'place'
            END
        WHEN v_row.kind = 'order.replace.v1' AND v_order.status = 'pending_replace'
            THEN CASE
                WHEN v_row.last_outcome IN ('sending', 'unknown') THEN 'query'
                ELSE 'replace'
            END
    END;
    IF v_action IS NULL THEN
        PERFORM app.sp_outbox_archive(p_event_id, 'skipped');
        RETURN 'archived';
    END IF;

    IF v_action IN ('place', 'replace') THEN
        v_refusal := CASE
            WHEN v_now > p_ttl + CASE v_action
                WHEN 'place' THEN v_order.created_at
                ELSE v_row.created_at
            END THEN 'EXPIRED_BEFORE_SEND'
            WHEN v_action = 'replace' THEN (
                SELECT r.reason_code
                FROM app.sp_replace_check(
                    v_order, v_order.pending_quantity, v_order.pending_limit_price,
                    v_order.pending_stop_price
                ) AS r
            )
            ELSE (SELECT r.reason_code FROM app.sp_risk_check(v_order) AS r)
        END;
        IF v_refusal IN ('NO_MARKET_PRICE', 'STALE_MARKET_PRICE') THEN
            -- A price may come back before the order's time is over.
            PERFORM app.sp_outbox_park(v_row.stream_id, 'waiting', v_refusal, 1, TRUE);
            RETURN 'parked';
        ELSIF v_refusal IS NOT NULL THEN
            PERFORM app.sp_order_move(
                v_order.order_id,
                CASE
                    WHEN v_action = 'replace' THEN app.sp_order_working(v_order)
                    WHEN v_refusal = 'EXPIRED_BEFORE_SEND' THEN 'rejected'
                    ELSE 'canceled'
                END,
                v_refusal, 'system:worker', 'begin_send'
            );
            PERFORM app.sp_outbox_archive(p_event_id, 'refused');
            RETURN 'archived';
        END IF;
        UPDATE app.orders AS o
        SET valid_until = v_now + p_valid
        WHERE o.order_id = v_order.order_id;
    END IF;

    UPDATE app.events_outbox AS e
    SET
        last_outcome = 'sending',
        last_action = v_action,
        sending_epoch = p_epoch,
        sending_at = v_now,
        attempts = least(e.attempts + 1, 32767)
    WHERE e.event_id = p_event_id;
    IF v_row.kind = 'order.place.v1' THEN
        -- No move when the state is that already: a repeated attempt or question.
        PERFORM app.sp_order_move(
            v_order.order_id,
            CASE v_action WHEN 'place' THEN 'submitting' ELSE 'submit_unknown' END,
            NULL, 'system:worker', 'begin_send',
            jsonb_build_object('event_id', p_event_id, 'attempts', v_row.attempts + 1)
        );
    END IF;
    RETURN v_action;
END
$$;
