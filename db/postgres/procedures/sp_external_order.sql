-- sp_external_order(account, source, event) -> order, or null
-- The order of an event that names none of ours: {external: {broker_order_id, symbol, side,
-- order_type, quantity, limit_price?, stop_price?, time_in_force?, expires_at?}}. One of ours that
-- carries that broker id, else one that was placed elsewhere: imported once under a minted id,
-- never sent anything, its fills booked as any. Null when it cannot be read. The caller holds the
-- stream lock.
-- Internal: sp_apply_broker_event. Test: test_sp_external.py

CREATE OR REPLACE FUNCTION app.sp_external_order(
    p_account_id bigint, p_source text, p_event jsonb
)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    e jsonb := p_event -> 'external';
    v_broker_order_id text := e ->> 'broker_order_id';
    v_client_order_id text;
    v_time_in_force text := coalesce(e ->> 'time_in_force', 'day');
    v_expires_at timestamptz := app.sp_wire_time(e ->> 'expires_at');
    v_instrument_id integer;
    v_order_id bigint;
BEGIN
    IF (v_broker_order_id ~ '^.{1,200}$') IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    v_client_order_id := 'ext-' || left(encode(sha256(convert_to(
        p_source || ' ' || v_broker_order_id, 'UTF8'
    )), 'hex'), 32);
    SELECT o.order_id INTO v_order_id
    FROM app.orders AS o
    WHERE o.account_id = p_account_id
        AND (o.client_order_id = v_client_order_id OR o.broker_order_id = v_broker_order_id)
    ORDER BY o.client_order_id = v_client_order_id DESC, o.order_id DESC
    LIMIT 1;
    IF FOUND THEN
        RETURN v_order_id;
    END IF;
    -- What expires at a time that nobody told lasts until it is canceled.
    IF v_time_in_force = 'gtd' AND v_expires_at IS NULL THEN
        v_time_in_force := 'gtc';
    END IF;
    SELECT i.instrument_id INTO v_instrument_id
    FROM app.instruments AS i
    WHERE i.symbol = e ->> 'symbol';
    IF NOT FOUND OR app.sp_order_fault(
        'external', v_client_order_id, e ->> 'side', e ->> 'order_type',
        app.sp_wire_number(e ->> 'quantity'), app.sp_wire_number(e ->> 'limit_price'),
        app.sp_wire_number(e ->> 'stop_price'), v_time_in_force,
        CASE v_time_in_force WHEN 'gtd' THEN v_expires_at END
    ) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO app.orders (
        client_order_id, request_hash, account_id, instrument_id, side, order_type, time_in_force,
        expires_at, quantity, limit_price, stop_price, status, origin, broker_order_id, request_id
    )
    VALUES (
        v_client_order_id, sha256(convert_to(e::text, 'UTF8')), p_account_id, v_instrument_id,
        e ->> 'side', e ->> 'order_type', v_time_in_force,
        CASE v_time_in_force WHEN 'gtd' THEN v_expires_at END,
        app.sp_wire_number(e ->> 'quantity'), app.sp_wire_number(e ->> 'limit_price'),
        app.sp_wire_number(e ->> 'stop_price'), 'submitted', 'external', v_broker_order_id,
        'external'
    )
    RETURNING order_id INTO v_order_id;
    -- The bound of what the account's open orders bind does not know it.
    UPDATE app.streams AS s SET open_bound = NULL WHERE s.stream_id = p_account_id;
    PERFORM app.sp_audit_append(
        p_account_id, 'broker:' || p_source, 'order.external', jsonb_build_object(
            'order_id', v_order_id, 'client_order_id', v_client_order_id, 'external', e
        )
    );
    RETURN v_order_id;
END
$$;
