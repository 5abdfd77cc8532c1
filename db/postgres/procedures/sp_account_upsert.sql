-- sp_account_upsert(actor, name, currency, route, broker account, paper) -> account id
-- An account is known by its route and what the route calls it; its name may change, its currency
-- may not. Repeating it changes nothing; audited on the account's stream, which it makes.
-- IN422 name_invalid, name_taken, currency_invalid, route_invalid, broker_account_invalid;
-- IN409 currency_fixed. Callers: app_migrate.

CREATE OR REPLACE FUNCTION app.sp_account_upsert(
    p_actor text, p_name text, p_currency text, p_route text, p_broker_account text,
    p_paper boolean
) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before app.accounts;
    v_account_id bigint;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_name, '^.{1,100}$', 'name');
    PERFORM app.sp_require_text(p_currency, '^[A-Z]{3}$', 'currency');
    PERFORM app.sp_require_text(p_route, '^(quantconnect|ib)$', 'route');
    PERFORM app.sp_require_text(p_broker_account, '^[A-Za-z0-9_-]{1,64}$', 'broker_account');

    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    SELECT * INTO v_before FROM app.accounts AS a
    WHERE a.route = p_route AND a.broker_account = p_broker_account;
    IF EXISTS (
        SELECT FROM app.accounts AS a
        WHERE a.name = p_name AND a.account_id IS DISTINCT FROM v_before.account_id
    ) THEN
        RAISE EXCEPTION 'another account has this name'
            USING ERRCODE = 'IN422', DETAIL = 'name_taken';
    END IF;

    IF v_before.account_id IS NULL THEN
        INSERT INTO app.accounts (name, currency, route, broker_account, paper)
        VALUES (p_name, p_currency, p_route, p_broker_account, p_paper)
        RETURNING account_id INTO v_account_id;
        INSERT INTO app.streams (stream_id) VALUES (v_account_id);
    ELSIF v_before.currency <> p_currency THEN
        RAISE EXCEPTION 'account % keeps its currency', v_before.account_id
            USING ERRCODE = 'IN409', DETAIL = 'currency_fixed';
    ELSIF (v_before.name, v_before.paper) IS NOT DISTINCT FROM (p_name, p_paper) THEN
        RETURN v_before.account_id;
    ELSE
        v_account_id := v_before.account_id;
        PERFORM FROM app.streams AS s WHERE s.stream_id = v_account_id FOR NO KEY UPDATE;
        UPDATE app.accounts SET name = p_name, paper = p_paper WHERE account_id = v_account_id;
    END IF;
    PERFORM app.sp_audit_append(v_account_id, p_actor, 'account.set', jsonb_build_object(
        'account_id', v_account_id,
        'name', p_name,
        'currency', p_currency,
        'route', p_route,
        'broker_account', p_broker_account,
        'paper', p_paper
    ));
    RETURN v_account_id;
END
$$;
