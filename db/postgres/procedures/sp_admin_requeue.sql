-- sp_admin_requeue(user, session, request id, event) -> pending or dead: what it was
-- Lets a row of the outbox go on now: a pending one's lane waits no longer, a dead one comes back
-- under its number, and is asked about before anything is sent. Its order, when it is lost, is
-- unknown again. Audited on the account's stream. SQLSTATE IN401, IN403 as sp_authorize_admin;
-- IN404 event_not_found; IN422 request_id_invalid. Called by app_write. Test: test_sp_operator.py

CREATE OR REPLACE FUNCTION app.sp_admin_requeue(
    p_user_id uuid, p_session text, p_request_id text, p_event_id bigint
)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_actor text := app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    v_stream_id bigint;
    v_order_id bigint;
    v_was text := 'pending';
BEGIN
    PERFORM app.sp_require_read_committed();
    SELECT x.stream_id, x.order_id INTO v_stream_id, v_order_id
    FROM (
        SELECT e.event_id, e.stream_id, e.order_id FROM app.events_outbox AS e
        UNION ALL
        SELECT d.event_id, d.stream_id, d.order_id FROM app.events_dead AS d
    ) AS x
    WHERE x.event_id = p_event_id;
    PERFORM FROM app.streams AS s WHERE s.stream_id = v_stream_id FOR NO KEY UPDATE;
    PERFORM app.sp_authorize_admin(p_user_id, p_session, p_request_id);

    WITH back AS (
        DELETE FROM app.events_dead AS d WHERE d.event_id = p_event_id RETURNING d.*
    )
    INSERT INTO app.events_outbox (
        event_id, shard, stream_id, kind, order_id, payload, request_id, attempts, last_outcome,
        created_at
    )
    OVERRIDING SYSTEM VALUE
    SELECT
        b.event_id, b.shard, b.stream_id, b.kind, b.order_id, b.payload, b.request_id, 0,
        'unknown', b.created_at
    FROM back AS b;
    IF FOUND THEN
        v_was := 'dead';
        PERFORM app.sp_order_move(v_order_id, 'submit_unknown', NULL, v_actor, 'requeue');
    ELSIF NOT EXISTS (SELECT FROM app.events_outbox AS e WHERE e.event_id = p_event_id) THEN
        RAISE EXCEPTION 'nothing is owed under this number'
            USING ERRCODE = 'IN404', DETAIL = 'event_not_found';
    END IF;
    DELETE FROM app.outbox_parked AS p WHERE p.stream_id = v_stream_id;
    PERFORM app.sp_audit_append(v_stream_id, v_actor, 'outbox.requeue', jsonb_build_object(
        'event_id', p_event_id, 'order_id', v_order_id, 'was', v_was, 'request_id', p_request_id
    ));
    RETURN v_was;
END
$$;
