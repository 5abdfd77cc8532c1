-- sp_audit_hashes(streams, sequence numbers) -> stream, sequence number, hash of each such row
-- What the anchored heads are compared with; a row that is gone is left out. Writes nothing.
-- Caller: app_migrate. Test: test_audit_anchors.py

CREATE OR REPLACE FUNCTION app.sp_audit_hashes(p_stream_ids bigint [], p_seqs bigint [])
RETURNS TABLE (stream_id bigint, seq bigint, hash bytea)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.stream_id, a.seq, a.hash
    FROM unnest(p_stream_ids, p_seqs) AS w (stream_id, seq)
    JOIN audit.audit_log AS a ON a.stream_id = w.stream_id AND a.seq = w.seq
$$;
