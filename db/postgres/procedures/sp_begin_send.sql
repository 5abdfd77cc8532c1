-- sp_begin_send(event row, order row, ttl) -> place, cancel, replace or query; parked; or archived
-- Decides what to do with the head of a lane; parks or archives what does not go out. Marking what
-- does is the caller's, who holds the stream lock and has checked the fence.
-- Internal: sp_begin_sends. Test: test_sp_sends.py

-- Its arguments are part of what it is.
DROP FUNCTION IF EXISTS app.sp_begin_send(bigint, bigint, interval, interval);

CREATE OR REPLACE FUNCTION app.sp_begin_send(
    p_row app.events_outbox, p_order app.orders, p_ttl interval
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_action text;
    v_refusal text;
BEGIN
    v_action := CASE
        WHEN p_row.kind = 'order.cancel.v1' AND p_order.status = 'pending_cancel' THEN 'cancel'
        WHEN p_row.kind = 'order.query.v1' AND p_order.status NOT IN (
            'new', 'denied', 'filled', 'canceled', 'rejected', 'expired'
        ) THEN 'query'
        WHEN p_row.kind = 'order.place.v1'
            AND p_order.status IN ('new', 'submitting', 'submit_unknown')
            THEN CASE
                WHEN p_row.last_outcome IN ('sending', 'unknown') THEN 'query'
                ELSE 'place'
            END
        WHEN p_row.kind = 'order.replace.v1' AND p_order.status = 'pending_replace'
            THEN CASE
                WHEN p_row.last_outcome IN ('sending', 'unknown') THEN 'query'
                ELSE 'replace'
            END
    END;
    IF v_action IS NULL THEN
        PERFORM app.sp_outbox_archive(p_row.event_id, 'skipped');
        RETURN 'archived';
    END IF;

    IF v_action IN ('place', 'replace') THEN
        v_refusal := CASE
            WHEN clock_timestamp() > p_ttl + CASE v_action
                WHEN 'place' THEN p_order.created_at
                ELSE p_row.created_at
            END THEN 'EXPIRED_BEFORE_SEND'
            WHEN v_action = 'replace' THEN (
                SELECT r.reason_code
                FROM app.sp_replace_check(
                    p_order, p_order.pending_quantity, p_order.pending_limit_price,
                    p_order.pending_stop_price
                ) AS r
            )
            ELSE (SELECT r.reason_code FROM app.sp_risk_check(p_order) AS r)
        END;
        IF v_refusal IN ('NO_MARKET_PRICE', 'STALE_MARKET_PRICE') THEN
            -- A price may come back before the order's time is over.
            PERFORM app.sp_outbox_park(p_row.stream_id, 'waiting', v_refusal, 1, TRUE);
            RETURN 'parked';
        ELSIF v_refusal IS NOT NULL THEN
            PERFORM app.sp_order_move(
                p_order.order_id,
                CASE
                    WHEN v_action = 'replace' THEN app.sp_order_working(p_order)
                    WHEN v_refusal = 'EXPIRED_BEFORE_SEND' THEN 'rejected'
                    ELSE 'canceled'
                END,
                v_refusal, 'system:worker', 'begin_send'
            );
            PERFORM app.sp_outbox_archive(p_row.event_id, 'refused');
            RETURN 'archived';
        END IF;
    END IF;
    RETURN v_action;
END
$$;
