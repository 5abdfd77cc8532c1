-- sp_place_order(user, session, request id, client order id, account, symbol, side, type, quantity,
--                limit, stop, time in force, expiry, strategy) -> app.order_result
-- Records an order once: the order, its audit row and its outbox row in the caller's transaction.
-- What the risk rules deny is recorded as `denied`, audited and owed to nobody. The same request
-- under the same client order id answers with the first order as it is now, `replayed`, without
-- any lock; anything else under that id, also another user's, is refused and told nothing.
-- SQLSTATE 25001; IN401, IN403 as sp_authorize_trade; IN404 account_not_found, strategy_not_found;
-- IN422 idempotency_key_reused, instrument_not_found and the codes of sp_order_check.
-- Called by app_write. Test: test_sp_place_order.py, test_sp_races.py

CREATE OR REPLACE FUNCTION app.sp_place_order(
    p_user_id uuid, p_session text, p_request_id text, p_client_order_id text,
    p_account_id bigint, p_symbol text, p_side text, p_order_type text, p_quantity numeric,
    p_limit_price numeric, p_stop_price numeric, p_time_in_force text, p_expires_at timestamptz,
    p_strategy_id bigint
)
RETURNS app.order_result
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_hash bytea;
    v_fault text := app.sp_order_fault(
        p_request_id, p_client_order_id, p_side, p_order_type, p_quantity, p_limit_price,
        p_stop_price, p_time_in_force, p_expires_at
    );
    v_known boolean;
    v_quantity numeric := trim_scale(p_quantity);
    v_limit_price numeric := trim_scale(p_limit_price);
    v_stop_price numeric := trim_scale(p_stop_price);
    v_result app.order_result;
    v_instrument_id integer;
    v_actor text := app.sp_actor(p_user_id, p_session);
    f app.risk_facts;
    d record;
    v_reason_code text;
    v_detail jsonb;
BEGIN
    PERFORM app.sp_require_read_committed();
    v_hash := app.sp_order_hash(
        p_account_id, p_symbol, p_side, p_order_type, p_quantity, p_limit_price, p_stop_price,
        p_time_in_force, p_expires_at, p_strategy_id
    );
    -- A replay takes no lock, nor does who may not trade here or asks for what cannot be.
    v_known := EXISTS (
        SELECT FROM app.orders AS o WHERE o.client_order_id = p_client_order_id
    );
    IF v_fault IS NULL AND NOT v_known THEN
        PERFORM FROM app.account_members AS m
        JOIN app.streams AS s ON s.stream_id = m.account_id
        WHERE m.account_id = p_account_id AND m.user_id = p_user_id AND m.can_trade
        FOR NO KEY UPDATE OF s;
        IF NOT FOUND THEN
            v_fault := 'account_not_found';
        END IF;
    END IF;
    -- From here on with what was committed before the lock was had.
    v_fault := coalesce(app.sp_trade_fault(p_user_id, p_session, p_account_id), v_fault);
    IF v_fault IS NOT NULL THEN
        PERFORM app.sp_refuse(v_fault);
    END IF;
    IF v_known THEN
        RETURN app.sp_order_replay(p_client_order_id, v_hash, p_user_id);
    END IF;

    v_instrument_id := app.sp_order_instrument(
        p_symbol, p_account_id, p_strategy_id, p_expires_at
    );
    FOR v_care IN 0..2 LOOP
        f := app.sp_risk_facts(
            p_account_id, v_instrument_id, p_strategy_id, p_order_type, p_time_in_force, NULL,
            v_care
        );
        d := app.sp_risk_decide(
            p_side, p_quantity, 0, p_limit_price, p_stop_price, f, 0, 0, 0, 0
        );
        EXIT WHEN d.reason_code IS NULL;
    END LOOP;
    INSERT INTO app.orders (
        client_order_id, request_hash, account_id, strategy_id, instrument_id, side, order_type,
        time_in_force, expires_at, quantity, limit_price, stop_price, quantity_max,
        arrival_price, created_by, request_id
    )
    VALUES (
        p_client_order_id, v_hash, p_account_id, p_strategy_id, v_instrument_id, p_side,
        p_order_type, p_time_in_force, p_expires_at, v_quantity, v_limit_price, v_stop_price,
        d.quantity_max, f.last_price, p_user_id, p_request_id
    )
    ON CONFLICT (client_order_id) DO NOTHING
    RETURNING
        order_id, client_order_id, account_id, status, reason_code, cum_quantity, average_price,
        FALSE, created_at, updated_at, quantity_max, NULL
    INTO v_result;
    IF NOT FOUND THEN
        -- It lost a race: to its own repetition, or to an order of another account, whose stream
        -- this lock does not cover.
        RETURN app.sp_order_replay(p_client_order_id, v_hash, p_user_id);
    END IF;
    v_reason_code := coalesce(d.reason_code, CASE
        WHEN NOT app.sp_rate_spend(p_user_id, 1) THEN 'USER_ORDER_RATE_EXCEEDED'
    END);
    v_detail := app.sp_order_detail(
        v_result.order_id, p_client_order_id, p_symbol, p_side, p_order_type, v_quantity,
        v_limit_price, v_stop_price, p_time_in_force, p_expires_at, p_strategy_id, p_request_id
    );
    PERFORM app.sp_audit_append(
        p_account_id, v_actor, 'order.place', v_detail,
        CASE WHEN v_reason_code IS NULL THEN d.rate_at END,
        CASE WHEN v_reason_code IS NULL THEN app.sp_bound_with(
            f.bound, p_side, v_quantity, coalesce(p_limit_price, p_stop_price),
            f.fixed_point_value
        ) END
    );
    IF v_reason_code IS NULL THEN
        PERFORM app.sp_outbox_enqueue(
            p_account_id, 'order.place.v1', v_result.order_id, v_detail, p_request_id
        );
    ELSE
        PERFORM app.sp_order_move(
            v_result.order_id, 'denied', v_reason_code, v_actor, 'place'
        );
        SELECT r.* INTO STRICT v_result
        FROM app.orders AS o
        CROSS JOIN LATERAL app.sp_order_result(o, FALSE) AS r
        WHERE o.order_id = v_result.order_id;
    END IF;
    RETURN v_result;
END
$$;
