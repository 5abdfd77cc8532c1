-- sp_outbox_quarantine(actor, reason) -> how many questions are owed
-- After a restore: what left since the backup is unknown. From here on nothing but questions leaves,
-- every place and replace that waits counts as perhaps sent, and every open order is asked after.
-- Again while it lasts: the reason stays, what is new is asked after too.
-- SQLSTATE 25001; IN422 reason_invalid. Called by app_migrate. Test: test_sp_quarantine.py

CREATE OR REPLACE FUNCTION app.sp_outbox_quarantine(p_actor text, p_reason text)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_owed bigint;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_reason, '^.{1,200}$', 'reason');
    PERFORM FROM app.streams AS s ORDER BY s.stream_id FOR NO KEY UPDATE;
    INSERT INTO app.outbox_quarantine (actor, reason) VALUES (p_actor, p_reason)
    ON CONFLICT DO NOTHING;

    -- Absence is proved by a report from after the last moment at which a send from before the
    -- restore would have been taken.
    UPDATE app.orders AS o
    SET valid_until = greatest(o.valid_until, clock_timestamp() + interval '30 s')
    FROM app.events_outbox AS e
    WHERE e.order_id = o.order_id AND e.kind IN ('order.place.v1', 'order.replace.v1');
    UPDATE app.events_outbox AS e
    SET last_outcome = 'unknown'
    WHERE e.kind IN ('order.place.v1', 'order.replace.v1')
        AND e.last_outcome IS DISTINCT FROM 'unknown';
    PERFORM app.sp_order_move(o.order_id, 'submitting', NULL, p_actor, 'quarantine')
    FROM app.orders AS o
    JOIN app.events_outbox AS e ON e.order_id = o.order_id AND e.kind = 'order.place.v1'
    WHERE o.status = 'new'
    ORDER BY o.account_id, o.order_id;
    -- Waiting was for another time.
    DELETE FROM app.outbox_parked;
    PERFORM app.sp_order_owe(o.order_id, 'order.query.v1')
    FROM app.orders AS o
    WHERE o.status NOT IN ('new', 'denied', 'filled', 'canceled', 'rejected', 'expired')
        AND NOT EXISTS (
            SELECT FROM app.events_outbox AS e
            WHERE e.order_id = o.order_id AND e.last_outcome = 'unknown'
        )
    ORDER BY o.account_id, o.order_id;
    SELECT q.unanswered INTO v_owed FROM app.sp_outbox_unanswered() AS q;
    PERFORM app.sp_audit_append(
        0, p_actor, 'outbox.quarantined',
        jsonb_build_object('reason', p_reason, 'unanswered', v_owed)
    );
    RETURN v_owed;
END
$$;
