-- sp_audit_names(actor, database user, action) -> what an entry says of who did what
-- Apart from sp_audit_entry, since many links of one call have the same.
-- Internal. Test: test_audit_chain.py

CREATE OR REPLACE FUNCTION app.sp_audit_names(p_actor text, p_db_user text, p_action text)
RETURNS text
LANGUAGE sql
STABLE
PARALLEL SAFE
RETURN format('%s, %s, %s', to_json(p_actor), to_json(p_db_user), to_json(p_action));
