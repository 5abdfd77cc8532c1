-- sp_notify_claim(limit, lease) -> channel, sealed address, events of each channel that is due
-- An event is {notify_id, kind, account, symbol, detail, at}.
-- Takes channels whose time has come, with what they are owed, at most 200 events each; until the
-- lease is over nobody else takes them. What its user may not be told any more is forgotten first:
-- he left the account, was disabled, or ended or stopped the channel.
-- SQLSTATE 25001; IN422 limit_invalid. Called by app_worker. Test: test_sp_notify.py

CREATE OR REPLACE FUNCTION app.sp_notify_claim(p_limit integer, p_lease interval)
RETURNS TABLE (channel_id bigint, sealed bytea, events jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_limit::text, '^([1-9][0-9]?|100)$', 'limit');
    DELETE FROM app.notify_events AS e
    WHERE NOT EXISTS (
        SELECT FROM app.notify_channels AS c
        WHERE c.channel_id = e.channel_id
            AND (c.enabled OR e.kind = 'test' OR e.dead_at IS NOT NULL)
            AND app.sp_notify_may(c.user_id, e.account_id)
    );
    RETURN QUERY
    WITH due AS (
        SELECT c.channel_id FROM app.notify_channels AS c
        WHERE c.next_at <= clock_timestamp() AND EXISTS (
            SELECT FROM app.notify_events AS e
            WHERE e.channel_id = c.channel_id AND e.dead_at IS NULL
        )
        ORDER BY c.next_at
        LIMIT p_limit
        FOR NO KEY UPDATE SKIP LOCKED
    ),
    taken AS (
        UPDATE app.notify_channels AS c
        SET next_at = clock_timestamp() + p_lease
        FROM due AS d
        WHERE c.channel_id = d.channel_id
        RETURNING c.channel_id, c.sealed
    )
    SELECT t.channel_id, t.sealed, (
        SELECT jsonb_agg(jsonb_build_object(
            'notify_id', x.notify_id, 'kind', x.kind, 'detail', x.detail, 'at', x.created_at,
            'account', (SELECT a.name FROM app.accounts AS a WHERE a.account_id = x.account_id),
            'symbol', (
                SELECT i.symbol FROM app.instruments AS i
                WHERE i.instrument_id = (x.detail ->> 'instrument_id')::integer
            )
        ) ORDER BY x.notify_id)
        FROM (
            SELECT e.* FROM app.notify_events AS e
            WHERE e.channel_id = t.channel_id AND e.dead_at IS NULL
            ORDER BY e.notify_id
            LIMIT 200
        ) AS x
    )
    FROM taken AS t;
END
$$;
