-- sp_account_upsert(actor, name, currency, route, broker account, paper, broker, request id)
--                 -> account id
-- An account is known by its route and what the route calls it; its name, its broker and whether it
-- is paper may change, its currency may not. A null broker is unchanged. Repeating it changes
-- nothing; audited on the account's stream, which it makes.
-- IN422 name_invalid, name_taken, currency_invalid, route_invalid, broker_account_invalid,
-- paper_invalid, broker_invalid; IN409 currency_fixed. Called by app_migrate, sp_admin_account.

CREATE OR REPLACE FUNCTION app.sp_account_upsert(
    p_actor text, p_name text, p_currency text, p_route text, p_broker_account text,
    p_paper boolean, p_broker text DEFAULT NULL, p_request_id text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before app.accounts;
    v_account_id bigint;
    v_broker text;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_name, '^.{1,100}$', 'name');
    PERFORM app.sp_require_text(p_currency, '^[A-Z]{3}$', 'currency');
    PERFORM app.sp_require_text(p_route, '^(quantconnect|ib)$', 'route');
    PERFORM app.sp_require_text(p_broker_account, '^[A-Za-z0-9_-]{1,64}$', 'broker_account');
    PERFORM app.sp_require_text(p_paper::text, '^', 'paper');
    PERFORM app.sp_require_text(coalesce(p_broker, 'paper'), '^[[:print:]]{1,64}$', 'broker');

    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    SELECT * INTO v_before FROM app.accounts AS a
    WHERE a.route = p_route AND a.broker_account = p_broker_account;
    v_broker := coalesce(p_broker, v_before.broker, 'paper');
    IF EXISTS (
        SELECT FROM app.accounts AS a
        WHERE a.name = p_name AND a.account_id IS DISTINCT FROM v_before.account_id
    ) THEN
        RAISE EXCEPTION 'another account has this name'
            USING ERRCODE = 'IN422', DETAIL = 'name_taken';
    END IF;

    IF v_before.account_id IS NULL THEN
        INSERT INTO app.accounts (name, currency, route, broker_account, broker, paper)
        VALUES (p_name, p_currency, p_route, p_broker_account, v_broker, p_paper)
        RETURNING account_id INTO v_account_id;
        INSERT INTO app.streams (stream_id) VALUES (v_account_id);
    ELSIF v_before.currency <> p_currency THEN
        RAISE EXCEPTION 'account % keeps its currency', v_before.account_id
            USING ERRCODE = 'IN409', DETAIL = 'currency_fixed';
    ELSIF (v_before.name, v_before.broker, v_before.paper) = (p_name, v_broker, p_paper) THEN
        RETURN v_before.account_id;
    ELSE
        v_account_id := v_before.account_id;
        PERFORM FROM app.streams AS s WHERE s.stream_id = v_account_id FOR NO KEY UPDATE;
        UPDATE app.accounts SET name = p_name, broker = v_broker, paper = p_paper
        WHERE account_id = v_account_id;
    END IF;
    PERFORM app.sp_audit_append(
        v_account_id, p_actor, 'account.set', jsonb_strip_nulls(jsonb_build_object(
            'account_id', v_account_id,
            'name', p_name,
            'currency', p_currency,
            'route', p_route,
            'broker_account', p_broker_account,
            'broker', v_broker,
            'paper', p_paper,
            'request_id', p_request_id
        ))
    );
    RETURN v_account_id;
END
$$;
