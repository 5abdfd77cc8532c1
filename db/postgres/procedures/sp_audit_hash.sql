-- sp_audit_hash(previous hash, stream, seq, time, names, detail) -> the hash of that row
-- sha256(prev_hash || sp_audit_entry(...)) as UTF-8; whoever has an export can repeat it.
-- Bound when it is laid, so it needs no search_path of its own, and the planner puts it into the
-- query that calls it. Internal. Test: test_audit_chain.py

CREATE OR REPLACE FUNCTION app.sp_audit_hash(
    p_prev_hash bytea, p_stream_id bigint, p_seq bigint, p_epoch_us bigint, p_names text,
    p_detail jsonb
) RETURNS bytea
LANGUAGE sql
STABLE
PARALLEL SAFE
RETURN sha256(p_prev_hash || convert_to(
    app.sp_audit_entry(p_stream_id, p_seq, p_epoch_us, p_names, p_detail), 'UTF8'
));
