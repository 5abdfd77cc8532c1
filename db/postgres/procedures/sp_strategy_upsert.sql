-- sp_strategy_upsert(actor, account, name, request id) -> strategy id
-- A strategy is known by its account and name; repeating it changes nothing. Audited on the
-- account's stream. IN404 account_not_found; IN422 name_invalid.
-- Called by app_migrate, sp_admin_strategy.

CREATE OR REPLACE FUNCTION app.sp_strategy_upsert(
    p_actor text, p_account_id bigint, p_name text, p_request_id text DEFAULT NULL
)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_strategy_id bigint;
BEGIN
    PERFORM app.sp_require_text(p_name, '^.{1,100}$', 'name');
    PERFORM app.sp_lock_account(p_account_id);
    SELECT s.strategy_id INTO v_strategy_id FROM app.strategies AS s
    WHERE s.account_id = p_account_id AND s.name = p_name;
    IF FOUND THEN
        RETURN v_strategy_id;
    END IF;

    INSERT INTO app.strategies (account_id, name) VALUES (p_account_id, p_name)
    RETURNING strategy_id INTO v_strategy_id;
    PERFORM app.sp_audit_append(
        p_account_id, p_actor, 'strategy.set', jsonb_strip_nulls(jsonb_build_object(
            'strategy_id', v_strategy_id, 'name', p_name, 'request_id', p_request_id
        ))
    );
    RETURN v_strategy_id;
END
$$;
