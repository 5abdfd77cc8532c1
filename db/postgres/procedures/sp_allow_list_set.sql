-- sp_allow_list_set(actor, account, symbols, request id) -> nothing
-- Says which instruments an account may trade; an empty list allows all. Repeating it changes
-- nothing; audited on the account's stream when something changed.
-- IN404 account_not_found; IN422 symbols_invalid, instrument_not_found. Called by app_migrate,
-- sp_admin_allow_list. Test: test_master_data.py

CREATE OR REPLACE FUNCTION app.sp_allow_list_set(
    p_actor text, p_account_id bigint, p_symbols text[], p_request_id text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_wanted integer[];
    v_before integer[];
BEGIN
    PERFORM app.sp_lock_account(p_account_id);
    IF (cardinality(p_symbols) <= 1000) IS NOT TRUE THEN
        RAISE EXCEPTION 'an allow-list is at most 1000 symbols'
            USING ERRCODE = 'IN422', DETAIL = 'symbols_invalid';
    END IF;
    IF EXISTS (
        SELECT FROM unnest(p_symbols) AS s (symbol)
        WHERE NOT EXISTS (SELECT FROM app.instruments AS i WHERE i.symbol = s.symbol)
    ) THEN
        RAISE EXCEPTION 'there is no instrument of one of these symbols'
            USING ERRCODE = 'IN422', DETAIL = 'instrument_not_found';
    END IF;
    v_wanted := ARRAY(
        SELECT i.instrument_id FROM app.instruments AS i
        WHERE i.symbol = ANY(p_symbols)
        ORDER BY i.instrument_id
    );
    v_before := ARRAY(
        SELECT a.instrument_id FROM app.account_instruments AS a
        WHERE a.account_id = p_account_id
        ORDER BY a.instrument_id
    );
    IF v_wanted = v_before THEN
        RETURN;
    END IF;
    DELETE FROM app.account_instruments AS a WHERE a.account_id = p_account_id;
    INSERT INTO app.account_instruments (account_id, instrument_id)
    SELECT p_account_id, w FROM unnest(v_wanted) AS w;
    PERFORM app.sp_audit_append(
        p_account_id, p_actor, 'allow_list.set', jsonb_strip_nulls(jsonb_build_object(
            'symbols', (
                SELECT coalesce(jsonb_agg(i.symbol ORDER BY i.symbol), '[]')
                FROM app.instruments AS i
                WHERE i.instrument_id = ANY(v_wanted)
            ),
            'request_id', p_request_id
        ))
    );
END
$$;
