-- sp_inbox_pending(owner, limit) -> (inbox id, source), in the order in which they are applied
-- What the brokers reported for the owner's shards and is not applied yet. Writes nothing.
-- SQLSTATE IN422 owner_invalid, limit_invalid. Called by app_worker. Test: test_sp_inbox.py

CREATE OR REPLACE FUNCTION app.sp_inbox_pending(p_owner text, p_limit integer)
RETURNS TABLE (inbox_id bigint, source text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM app.sp_require_text(p_owner, '^.{1,200}$', 'owner');
    PERFORM app.sp_require_text(p_limit::text, '^([1-9][0-9]{0,2}|1000)$', 'limit');
    RETURN QUERY
    SELECT i.inbox_id, i.source
    FROM app.inbox AS i
    JOIN app.outbox_shards AS s
        ON s.shard = i.shard AND s.owner = p_owner AND s.lease_until > clock_timestamp()
    WHERE i.applied_at IS NULL
    ORDER BY i.inbox_id
    LIMIT p_limit;
END
$$;
