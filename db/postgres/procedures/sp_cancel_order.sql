-- sp_cancel_order(user, session, request id, key, order) -> app.order_result
-- Cancels at once what certainly never left: its place row is archived with it. Anything else that
-- works becomes `pending_cancel` and owes one order.cancel.v1 (sp_order_cancel). An order that is
-- pending_cancel or canceled answers the same again; the same key answers with the order as it is
-- now.
-- SQLSTATE 25001; IN401 as sp_authorize; IN403 role_not_allowed, not_allowed_to_trade; IN404
-- order_not_found, also for an account of others; IN409 order_not_cancelable; IN422
-- idempotency_key_reused, request_id_invalid, idempotency_key_invalid, order_id_invalid. Called by
-- app_write. Test: test_sp_cancel_order.py

CREATE OR REPLACE FUNCTION app.sp_cancel_order(
    p_user_id uuid, p_session text, p_request_id text, p_key text, p_order_id bigint
)
RETURNS app.order_result
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_actor text := app.sp_actor(p_user_id, p_session);
    -- A key is the user's, whichever of his sessions and tokens it comes with.
    v_owner text := 'user:' || p_user_id;
    v_hash bytea := sha256(convert_to(p_order_id::text, 'UTF8'));
    v_account_id bigint;
    v_order app.orders;
    v_known bytea;
BEGIN
    PERFORM app.sp_require_read_committed();
    FOR v_pass IN 1..2 LOOP
        v_account_id := app.sp_authorize_cancel(p_user_id, p_session, p_order_id);
        PERFORM app.sp_require_text(p_request_id, '^[A-Za-z0-9_-]{1,64}$', 'request_id');
        PERFORM app.sp_require_text(p_key, '^[A-Za-z0-9_-]{1,64}$', 'idempotency_key');
        SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
        SELECT i.request_hash INTO v_known
        FROM app.idempotency AS i
        WHERE i.actor = v_owner AND i.route = 'orders.cancel' AND i.key = p_key;
        IF FOUND AND v_known <> v_hash THEN
            PERFORM app.sp_refuse_reuse();
        END IF;
        IF FOUND OR v_order.status IN ('pending_cancel', 'canceled') THEN
            RETURN app.sp_order_result(v_order, TRUE);
        END IF;
        IF v_pass = 1 THEN
            PERFORM FROM app.streams AS s WHERE s.stream_id = v_account_id FOR NO KEY UPDATE;
        END IF;
    END LOOP;

    IF v_order.origin = 'external'
        OR v_order.status IN ('denied', 'filled', 'rejected', 'expired')
    THEN
        RAISE EXCEPTION 'the order is % already or was placed elsewhere', v_order.status
            USING ERRCODE = 'IN409', DETAIL = 'order_not_cancelable';
    END IF;
    -- The key is one user's over all accounts, the lock only one account's: a racing cancel of
    -- another order under the key is met here.
    INSERT INTO app.idempotency (actor, route, key, request_hash, response)
    VALUES (
        v_owner, 'orders.cancel', p_key, v_hash, jsonb_build_object('order_id', p_order_id)
    )
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM app.sp_refuse_reuse();
    END IF;

    PERFORM app.sp_order_cancel(v_order, v_actor, p_request_id);
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    RETURN app.sp_order_result(v_order, FALSE);
END
$$;
