-- sp_order_move(order, status after, reason, actor, kind, detail, event time, valid until)
--               -> whether it moved
-- Moves the state of an order, with sp_orders_move, which does the same for many, alone: only along
-- app.order_transitions, with a row in app.order_events and an audit row. An illegal move changes
-- nothing and says FALSE; moves that take a fill back are legal for the kinds correction, bust and
-- replaced alone. What a replace asked for is forgotten when the order works again or is over. A
-- denial carries a code of app.denial_codes: 23503 without. The caller holds the stream lock.
-- Internal. Test: test_sp_events.py, test_sp_sends.py

-- Its arguments are part of what it is.
DROP FUNCTION IF EXISTS app.sp_order_move(bigint, text, text, text, text, jsonb, timestamptz);

CREATE OR REPLACE FUNCTION app.sp_order_move(
    p_order_id bigint,
    p_status_after text,
    p_reason_code text,
    p_actor text,
    p_kind text,
    p_detail jsonb DEFAULT '{}',
    p_event_at timestamptz DEFAULT pg_catalog.clock_timestamp(),
    p_valid_until timestamptz DEFAULT NULL
)
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    v_status_before text;
    v_order app.orders;
    v_pending boolean := p_status_after IN ('pending_replace', 'pending_cancel');
BEGIN
    SELECT o.status INTO STRICT v_status_before FROM app.orders AS o WHERE o.order_id = p_order_id;
    IF NOT EXISTS (
        SELECT FROM app.order_transitions AS t
        WHERE t.status_before = v_status_before
            AND t.status_after = p_status_after
            AND (NOT t.correction OR p_kind IN ('correction', 'bust', 'replaced'))
    ) THEN
        RETURN FALSE;
    END IF;
    IF p_status_after = 'denied' AND NOT EXISTS (
        SELECT FROM app.denial_codes AS d WHERE d.code = p_reason_code
    ) THEN
        RAISE EXCEPTION 'no denial code %', p_reason_code USING ERRCODE = '23503';
    END IF;
    UPDATE app.orders AS o
    SET
        status = p_status_after,
        reason_code = CASE
            WHEN p_status_after = 'rejected' THEN coalesce(p_reason_code, 'UNSPECIFIED')
            ELSE p_reason_code
        END,
        pending_quantity = CASE WHEN v_pending THEN o.pending_quantity END,
        pending_limit_price = CASE WHEN v_pending THEN o.pending_limit_price END,
        pending_stop_price = CASE WHEN v_pending THEN o.pending_stop_price END,
        valid_until = coalesce(p_valid_until, o.valid_until),
        queries = 0,
        next_query_at = NULL,
        updated_at = clock_timestamp()
    WHERE o.order_id = p_order_id
    RETURNING o.* INTO v_order;
    INSERT INTO app.order_events (
        order_id, kind, source, status_before, status_after, applied, detail, event_at
    )
    VALUES (
        p_order_id, p_kind, p_actor, v_status_before, p_status_after, TRUE, p_detail, p_event_at
    );
    PERFORM app.sp_audit_append(
        v_order.account_id, p_actor, 'order.' || p_status_after,
        jsonb_strip_nulls(jsonb_build_object(
            'order_id', p_order_id,
            'client_order_id', v_order.client_order_id,
            'status_before', v_status_before,
            'reason_code', v_order.reason_code,
            'kind', p_kind
        ))
    );
    IF p_status_after IN ('rejected', 'lost') THEN
        PERFORM app.sp_notify(
            CASE p_status_after WHEN 'lost' THEN 'lost' ELSE 'reject' END, v_order.account_id,
            jsonb_build_object(
                'client_order_id', v_order.client_order_id,
                'instrument_id', v_order.instrument_id, 'side', v_order.side,
                'quantity', v_order.quantity, 'reason', v_order.reason_code
            )
        );
    END IF;
    RETURN TRUE;
END
$$;
