-- sp_audit_entry(the fields of a row) -> the text that is hashed
-- The very text of jsonb_build_array(...), put together by hand: a verification is faster by half
-- that way. No field is null, in the table neither.
-- Internal. Test: test_audit_chain.py

CREATE OR REPLACE FUNCTION app.sp_audit_entry(
    p_stream_id bigint, p_seq bigint, p_epoch_us bigint, p_actor text, p_db_user text,
    p_action text, p_detail jsonb
) RETURNS text
LANGUAGE sql
STABLE
PARALLEL SAFE
RETURN format(
    '[%s, %s, %s, %s, %s, %s, %s]', p_stream_id, p_seq, p_epoch_us, to_json(p_actor),
    to_json(p_db_user), to_json(p_action), p_detail
);
