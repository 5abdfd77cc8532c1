-- sp_token_keys_retire(actor, key id) -> how many were retired
-- Believes the read tokens of this key alone from now on; refused when there is no such key, since
-- then nobody could read. Audited on the system's stream. IN404 key_not_found. Called by
-- app_migrate. Test: test_token_user.py

CREATE OR REPLACE FUNCTION app.sp_token_keys_retire(p_actor text, p_key_id text)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_retired text[];
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    IF NOT EXISTS (SELECT FROM security.token_keys AS k WHERE k.key_id = p_key_id) THEN
        RAISE EXCEPTION 'the key that shall stay is not there: migrate first'
            USING ERRCODE = 'IN404', DETAIL = 'key_not_found';
    END IF;
    WITH gone AS (
        DELETE FROM security.token_keys AS k WHERE k.key_id <> p_key_id RETURNING k.key_id
    )
    SELECT coalesce(array_agg(g.key_id ORDER BY g.key_id), '{}') INTO v_retired FROM gone AS g;
    IF cardinality(v_retired) > 0 THEN
        PERFORM app.sp_audit_append(0, p_actor, 'token_key.retire', jsonb_build_object(
            'key_id', p_key_id, 'retired', to_jsonb(v_retired)
        ));
    END IF;
    RETURN cardinality(v_retired);
END
$$;
