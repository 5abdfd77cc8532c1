-- sp_replace_order(user, session, request id, key, order, quantity, limit, stop)
--               -> app.order_result
-- Changes the total quantity or the prices of an order; null is unchanged. What certainly never
-- left is changed at once; a working order becomes `pending_replace` and owes one order.replace.v1.
-- A change that the risk rules deny leaves the order as it is, is audited, and answers the code in
-- replace_denied, with the largest size in quantity_max. The same key answers the same again, with
-- the order as it is now.
-- SQLSTATE 25001; IN401 as sp_authorize; IN403 role_not_allowed, not_allowed_to_trade; IN404
-- order_not_found; IN409 order_not_replaceable, quantity_below_filled; IN422 replace_empty,
-- quantity_invalid, price_invalid, idempotency_key_reused, request_id_invalid,
-- idempotency_key_invalid, order_id_invalid. Called by app_write. Test: test_sp_replace_order.py

CREATE OR REPLACE FUNCTION app.sp_replace_order(
    p_user_id uuid, p_session text, p_request_id text, p_key text, p_order_id bigint,
    p_quantity numeric, p_limit_price numeric, p_stop_price numeric
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
    v_hash bytea := sha256(convert_to(jsonb_build_array(
        p_order_id, trim_scale(p_quantity), trim_scale(p_limit_price), trim_scale(p_stop_price)
    )::text, 'UTF8'));
    v_account_id bigint;
    v_order app.orders;
    v_known app.idempotency;
    v_fault text;
    v_denial record;
BEGIN
    PERFORM app.sp_require_read_committed();
    FOR v_pass IN 1..2 LOOP
        v_account_id := app.sp_authorize_replace(p_user_id, p_session, p_order_id);
        PERFORM app.sp_require_text(p_request_id, '^[A-Za-z0-9_-]{1,64}$', 'request_id');
        PERFORM app.sp_require_text(p_key, '^[A-Za-z0-9_-]{1,64}$', 'idempotency_key');
        SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
        SELECT i.* INTO v_known
        FROM app.idempotency AS i
        WHERE i.actor = v_owner AND i.route = 'orders.replace' AND i.key = p_key;
        IF FOUND AND v_known.request_hash <> v_hash THEN
            PERFORM app.sp_refuse_reuse();
        ELSIF FOUND THEN
            RETURN app.sp_order_result(
                jsonb_populate_record(v_order, v_known.response - 'replace_denied'), TRUE,
                v_known.response ->> 'replace_denied'
            );
        END IF;
        IF v_pass = 1 THEN
            PERFORM FROM app.streams AS s WHERE s.stream_id = v_account_id FOR NO KEY UPDATE;
        END IF;
    END LOOP;

    v_fault := app.sp_replace_fault(v_order, p_quantity, p_limit_price, p_stop_price);
    IF v_fault IS NOT NULL THEN
        PERFORM app.sp_refuse(v_fault);
    END IF;
    SELECT r.reason_code, r.quantity_max INTO v_denial
    FROM app.sp_replace_check(v_order, p_quantity, p_limit_price, p_stop_price) AS r;
    -- The key is one user's over all accounts, the lock only one account's: a racing replace of
    -- another order under the key is met here.
    INSERT INTO app.idempotency (actor, route, key, request_hash, response)
    VALUES (v_owner, 'orders.replace', p_key, v_hash, jsonb_strip_nulls(jsonb_build_object(
        'order_id', p_order_id, 'replace_denied', v_denial.reason_code,
        'quantity_max', v_denial.quantity_max
    )))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM app.sp_refuse_reuse();
    END IF;
    PERFORM app.sp_audit_append(
        v_account_id, v_actor,
        CASE WHEN v_denial.reason_code IS NULL THEN 'order.replace' ELSE 'order.replace_denied' END,
        jsonb_strip_nulls(jsonb_build_object(
            'order_id', p_order_id, 'client_order_id', v_order.client_order_id,
            'quantity', trim_scale(p_quantity), 'limit_price', trim_scale(p_limit_price),
            'stop_price', trim_scale(p_stop_price), 'reason_code', v_denial.reason_code,
            'request_id', p_request_id
        ))
    );
    IF v_denial.reason_code IS NULL THEN
        PERFORM app.sp_order_replace(
            v_order, v_actor, p_request_id, p_quantity, p_limit_price, p_stop_price
        );
        SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
        RETURN app.sp_order_result(v_order, FALSE);
    END IF;
    RETURN app.sp_order_result(
        jsonb_populate_record(v_order, jsonb_build_object('quantity_max', v_denial.quantity_max)),
        FALSE, v_denial.reason_code
    );
END
$$;
