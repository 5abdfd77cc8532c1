-- sp_audit_anchor_put(actor, number, moment, statement, signature, public key, heads) -> nothing
-- Keeps an anchor, and a link of the system's chain that names it. One at a time: the number must
-- be the one after the newest, so that two who anchor at once do not fork.
-- IN409 anchor_stale. Callers: app_worker, app_migrate. Test: test_audit_anchors.py

CREATE OR REPLACE FUNCTION app.sp_audit_anchor_put(
    p_actor text, p_number bigint, p_anchored_at timestamptz, p_statement text,
    p_signature bytea, p_public_key bytea, p_heads jsonb
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    IF p_number IS DISTINCT FROM (SELECT coalesce(max(a.number), 0) + 1 FROM audit.anchors AS a)
    THEN
        RAISE EXCEPTION 'somebody else anchored in the meantime'
            USING ERRCODE = 'IN409', DETAIL = 'anchor_stale';
    END IF;
    INSERT INTO audit.anchors (number, anchored_at, statement, signature, public_key, heads)
    VALUES (p_number, p_anchored_at, p_statement, p_signature, p_public_key, p_heads);
    PERFORM app.sp_audit_append(0, p_actor, 'audit.anchor', jsonb_build_object(
        'number', p_number,
        'statement_sha256', encode(sha256(convert_to(p_statement, 'UTF8')), 'hex')
    ));
END
$$;
