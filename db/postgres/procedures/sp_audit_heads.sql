-- sp_audit_heads() -> stream, sequence number and head of each stream, and the moment of reading
-- What an anchor is made of; one snapshot, in the order of the streams. Writes nothing.
-- Callers: app_worker, app_migrate. Test: test_audit_anchors.py

CREATE OR REPLACE FUNCTION app.sp_audit_heads()
RETURNS TABLE (stream_id bigint, seq bigint, head bytea, read_at timestamptz)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.stream_id, s.seq, s.head, statement_timestamp()
    FROM app.streams AS s
    ORDER BY s.stream_id
$$;
