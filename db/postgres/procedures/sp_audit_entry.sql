-- sp_audit_entry(stream, seq, time, names, detail) -> the text that is hashed
-- The very text of jsonb_build_array(...), put together by hand with what sp_audit_names says: a
-- verification is faster by half that way. No field is null, in the table neither.
-- Internal. Test: test_audit_chain.py

CREATE OR REPLACE FUNCTION app.sp_audit_entry(
    p_stream_id bigint, p_seq bigint, p_epoch_us bigint, p_names text, p_detail jsonb
) RETURNS text
LANGUAGE sql
STABLE
PARALLEL SAFE
RETURN format('[%s, %s, %s, %s, %s]', p_stream_id, p_seq, p_epoch_us, p_names, p_detail);
