-- sp_token_key_set(actor, key id, inner block, outer block) -> nothing
-- Believes the read tokens of one more key, given as the two padded blocks of RFC 2104; the keys
-- before it are believed until sp_token_keys_retire. Repeating it changes nothing; audited on the
-- system's stream, without the key. IN422 key_id_invalid. Called by app_migrate.
-- Test: test_token_user.py

CREATE OR REPLACE FUNCTION app.sp_token_key_set(
    p_actor text, p_key_id text, p_inner_block bytea, p_outer_block bytea
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_key_id, '^[a-z0-9]{1,16}$', 'key_id');
    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    INSERT INTO security.token_keys (key_id, inner_block, outer_block)
    VALUES (p_key_id, p_inner_block, p_outer_block)
    ON CONFLICT (key_id) DO NOTHING;
    IF FOUND THEN
        PERFORM app.sp_audit_append(
            0, p_actor, 'token_key.set', jsonb_build_object('key_id', p_key_id)
        );
    END IF;
END
$$;
