-- sp_bridge_deploy(actor, source, detail) -> epoch, symbols
-- Opens an epoch for a bridge that is about to be deployed: later than any of this source, heard or
-- not, so that a deployment of which nobody knows whether it came about can never be obeyed beside
-- the next one. Symbols: what the account may trade. Audited on the system's stream.
-- SQLSTATE 25001; IN404 source_unknown; IN422 source_invalid, detail_invalid.
-- Called by app_migrate. Test: test_sp_bridge_deploy.py

CREATE OR REPLACE FUNCTION app.sp_bridge_deploy(p_actor text, p_source text, p_detail jsonb)
RETURNS TABLE (epoch bigint, symbols text[])
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_account_id bigint;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_source, '^qc:[1-9][0-9]{0,17}$', 'source');
    IF jsonb_typeof(p_detail) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'detail is an object'
            USING ERRCODE = 'IN422', DETAIL = 'detail_invalid';
    END IF;
    v_account_id := app.sp_source_account(p_source);
    IF v_account_id IS NULL THEN
        RAISE EXCEPTION 'no account trades through %', p_source
            USING ERRCODE = 'IN404', DETAIL = 'source_unknown';
    END IF;
    -- The stream's lock puts two of these in one order; a moment later is a later microsecond.
    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    epoch := greatest(
        (extract(EPOCH FROM clock_timestamp()) * 1000000)::bigint,
        (SELECT b.epoch + 1 FROM app.bridges AS b WHERE b.source = p_source)
    );
    symbols := ARRAY(
        SELECT i.symbol
        FROM app.instruments AS i
        WHERE i.tradable
            AND (
                NOT EXISTS (
                    SELECT FROM app.account_instruments AS a WHERE a.account_id = v_account_id
                )
                OR EXISTS (
                    SELECT FROM app.account_instruments AS a
                    WHERE a.account_id = v_account_id AND a.instrument_id = i.instrument_id
                )
            )
        ORDER BY i.symbol
    );
    PERFORM app.sp_audit_append(
        0, p_actor, 'bridge.deploying',
        p_detail || jsonb_build_object('source', p_source, 'epoch', epoch)
    );
    RETURN NEXT;
END
$$;
