-- sp_bridge_seen(account, source, deployment, epoch, events, heartbeat) -> app.bridges row, locked
-- Records that a bridge has reported; its row lock puts the batches of a source in one order. A new
-- epoch or deployment takes the account's stream first, for it is audited.
-- SQLSTATE IN409 epoch_stale. Internal: sp_inbox_put. Test: test_sp_inbox.py

CREATE OR REPLACE FUNCTION app.sp_bridge_seen(
    p_account_id bigint,
    p_source text,
    p_deploy_id text,
    p_epoch bigint,
    p_events jsonb,
    p_heartbeat jsonb
)
RETURNS app.bridges
LANGUAGE plpgsql
AS $$
DECLARE
    v_bridge app.bridges;
    v_first bigint;
    v_sequence bigint;
    v_known boolean;
BEGIN
    v_known := EXISTS (
        SELECT FROM app.bridges AS b
        WHERE b.source = p_source AND b.epoch = p_epoch AND b.deploy_id = p_deploy_id
    );
    IF NOT v_known THEN
        PERFORM FROM app.streams AS s WHERE s.stream_id = p_account_id FOR NO KEY UPDATE;
        INSERT INTO app.bridges (source, deploy_id, epoch)
        VALUES (p_source, p_deploy_id, 0)
        ON CONFLICT (source) DO NOTHING;
    END IF;
    SELECT b.* INTO STRICT v_bridge FROM app.bridges AS b WHERE b.source = p_source FOR UPDATE;
    IF p_epoch < v_bridge.epoch THEN
        RAISE EXCEPTION 'epoch % is over, the bridge is in %', p_epoch, v_bridge.epoch
            USING ERRCODE = 'IN409', DETAIL = 'epoch_stale';
    END IF;
    IF p_epoch > v_bridge.epoch THEN
        -- Its first event, or the last it says it has made, tells whether it counts anew.
        v_first := coalesce(
            (
                SELECT min((e.event ->> 'sequence')::bigint)
                FROM jsonb_array_elements(p_events) AS e (event)
                WHERE e.event ->> 'sequence' ~ '^[1-9][0-9]{0,17}$'
            ),
            CASE
                WHEN p_heartbeat ->> 'last_sequence' ~ '^[0-9]{1,18}$'
                    AND (p_heartbeat ->> 'last_sequence')::bigint < v_bridge.sequence THEN 1
            END
        );
        IF v_first = 1 THEN
            v_sequence := 0;
        END IF;
    END IF;
    UPDATE app.bridges AS b
    SET
        deploy_id = p_deploy_id,
        epoch = p_epoch,
        sequence = coalesce(v_sequence, b.sequence),
        heartbeat = CASE
            WHEN jsonb_typeof(p_heartbeat) = 'object' THEN p_heartbeat
            ELSE b.heartbeat
        END,
        heartbeat_at = clock_timestamp()
    WHERE b.source = p_source
    RETURNING b.* INTO v_bridge;
    IF NOT v_known THEN
        PERFORM app.sp_audit_append(
            p_account_id, 'broker:' || p_source, 'bridge.seen',
            jsonb_build_object('deploy_id', p_deploy_id, 'epoch', p_epoch)
        );
    END IF;
    RETURN v_bridge;
END
$$;
