-- sp_admin_resolve_order(user, session, request id, order, status, reason) -> the status
-- An operator's finding about an order that is lost or unknown: canceled, rejected or expired when
-- the broker does not work it any more, submit_unknown to have it asked about again. What it
-- executed stays booked. Nothing more is owed for an order that has ended. Repeating it changes
-- nothing. Audited on the account's stream with the reason.
-- SQLSTATE IN401, IN403 as sp_authorize_admin; IN404 order_not_found; IN409 order_not_lost; IN422
-- status_invalid, reason_invalid, request_id_invalid. Called by app_write.
-- Test: test_sp_operator.py

CREATE OR REPLACE FUNCTION app.sp_admin_resolve_order(
    p_user_id uuid, p_session text, p_request_id text, p_order_id bigint, p_status text,
    p_reason text
)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_actor text := app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    v_order app.orders;
    v_event_id bigint;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(
        p_status, '^(canceled|rejected|expired|submit_unknown)$', 'status'
    );
    PERFORM app.sp_require_text(p_reason, '^[^[:cntrl:]]{1,200}$', 'reason');
    SELECT o.* INTO v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    PERFORM FROM app.streams AS s WHERE s.stream_id = v_order.account_id FOR NO KEY UPDATE;
    PERFORM app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    SELECT o.* INTO v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    IF v_order.order_id IS NULL THEN
        RAISE EXCEPTION 'no such order' USING ERRCODE = 'IN404', DETAIL = 'order_not_found';
    ELSIF v_order.status = p_status THEN
        RETURN p_status;
    ELSIF v_order.status NOT IN ('lost', 'submit_unknown') THEN
        RAISE EXCEPTION 'only an order that is lost or unknown is resolved by hand'
            USING ERRCODE = 'IN409', DETAIL = 'order_not_lost';
    END IF;
    PERFORM app.sp_order_move(
        p_order_id, p_status,
        CASE p_status WHEN 'submit_unknown' THEN NULL ELSE 'RESOLVED_BY_OPERATOR' END,
        v_actor, 'resolve', jsonb_build_object('reason', p_reason)
    );
    IF p_status = 'submit_unknown' THEN
        PERFORM app.sp_order_owe(p_order_id, 'order.query.v1');
    ELSE
        FOR v_event_id IN
            SELECT e.event_id FROM app.events_outbox AS e WHERE e.order_id = p_order_id
        LOOP
            PERFORM app.sp_outbox_archive(v_event_id, 'resolved');
            DELETE FROM app.outbox_parked AS p WHERE p.stream_id = v_order.account_id;
        END LOOP;
        DELETE FROM app.events_dead AS d WHERE d.order_id = p_order_id;
    END IF;
    PERFORM app.sp_audit_append(v_order.account_id, v_actor, 'order.resolve', jsonb_build_object(
        'order_id', p_order_id, 'status_before', v_order.status, 'status_after', p_status,
        'reason', p_reason, 'request_id', p_request_id
    ));
    RETURN p_status;
END
$$;
