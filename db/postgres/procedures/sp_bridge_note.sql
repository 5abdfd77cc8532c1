-- sp_bridge_note(actor, source, action, detail) -> nothing
-- Notes on the system's stream what became of a bridge that an operator deploys or stops.
-- SQLSTATE 25001; IN422 source_invalid, action_invalid, detail_invalid. Called by app_migrate.
-- Test: test_sp_bridge_deploy.py

CREATE OR REPLACE FUNCTION app.sp_bridge_note(
    p_actor text, p_source text, p_action text, p_detail jsonb
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_source, '^qc:[1-9][0-9]{0,17}$', 'source');
    PERFORM app.sp_require_text(
        p_action, '^(deployed|deploy_failed|deploy_unknown|stopping|stopped|stop_failed)$', 'action'
    );
    IF jsonb_typeof(p_detail) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'detail is an object'
            USING ERRCODE = 'IN422', DETAIL = 'detail_invalid';
    END IF;
    PERFORM app.sp_audit_append(
        0, p_actor, 'bridge.' || p_action, p_detail || jsonb_build_object('source', p_source)
    );
END
$$;
