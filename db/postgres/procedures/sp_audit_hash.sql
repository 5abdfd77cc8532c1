-- sp_audit_hash(previous hash, the fields of a row) -> the hash of that row
-- sha256(prev_hash || jsonb_build_array(...)::text) as UTF-8; whoever has an export can repeat it.
-- Internal.

CREATE OR REPLACE FUNCTION app.sp_audit_hash(
    p_prev_hash bytea, p_stream_id bigint, p_seq bigint, p_epoch_us bigint, p_actor text,
    p_db_user text, p_action text, p_detail jsonb
) RETURNS bytea
LANGUAGE plpgsql
IMMUTABLE
AS $$
BEGIN
    RETURN sha256(p_prev_hash || convert_to(
        jsonb_build_array(
            p_stream_id, p_seq, p_epoch_us, p_actor, p_db_user, p_action, p_detail
        )::text,
        'UTF8'
    ));
END
$$;
