-- sp_audit_anchors(after, rows max) -> anchors with a higher number, lowest first; a null number:
-- the newest one alone
-- Writes nothing. Callers: app_worker, app_migrate. Test: test_audit_anchors.py

CREATE OR REPLACE FUNCTION app.sp_audit_anchors(p_after bigint, p_rows_max bigint DEFAULT 100)
RETURNS TABLE (
    number bigint, anchored_at timestamptz, statement text, signature bytea, public_key bytea,
    heads jsonb
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.number, a.anchored_at, a.statement, a.signature, a.public_key, a.heads
    FROM audit.anchors AS a
    WHERE a.number > coalesce(p_after, (SELECT max(n.number) - 1 FROM audit.anchors AS n))
    ORDER BY a.number
    LIMIT p_rows_max
$$;
