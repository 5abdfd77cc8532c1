-- sp_outbox_heads(owner, limit, valid, streams) -> event, stream, epoch
-- The next row of each lane, or of those that are named, that may be sent now: its shard is this
-- owner's by a lease that lives, the lane is not parked and none of its rows is in flight. Oldest
-- first. A lane goes in the order of its rows, but a cancel overtakes all but the place of its own
-- order, and passes where a lane waits for an answer or a price. Under quarantine only rows that
-- will be asked about are heads. Walks from lane to lane by index, so a long queue costs no more
-- than a short one: the sort by stream and event names that index.
-- Writes nothing.
-- Internal: sp_begin_sends. Test: test_sp_sends.py

-- Its arguments are part of what it is.
DROP FUNCTION IF EXISTS app.sp_outbox_heads(text, integer, interval);

CREATE OR REPLACE FUNCTION app.sp_outbox_heads(
    p_owner text, p_limit integer, p_valid interval, p_streams bigint[] DEFAULT NULL
)
RETURNS TABLE (event_id bigint, stream_id bigint, epoch bigint)
LANGUAGE plpgsql
AS $$
DECLARE
    v_quarantined boolean := EXISTS (SELECT FROM app.outbox_quarantine);
BEGIN
    RETURN QUERY
    WITH RECURSIVE lanes AS (
        (
            SELECT e.stream_id, e.shard
            FROM app.events_outbox AS e
            WHERE p_streams IS NULL
            ORDER BY e.stream_id
            LIMIT 1
        )
        UNION ALL
        SELECT n.stream_id, n.shard
        FROM lanes AS l
        CROSS JOIN LATERAL (
            SELECT e.stream_id, e.shard
            FROM app.events_outbox AS e
            WHERE e.stream_id > l.stream_id
            ORDER BY e.stream_id
            LIMIT 1
        ) AS n
    ),
    looked_at AS (
        SELECT l.stream_id, l.shard FROM lanes AS l
        UNION ALL
        SELECT n.stream_id, (n.stream_id % 16)::smallint FROM unnest(p_streams) AS n (stream_id)
    )
    SELECT coalesce(cancels.event_id, firsts.event_id) AS head, l.stream_id, s.epoch
    FROM looked_at AS l
    JOIN app.outbox_shards AS s
        ON s.shard = l.shard AND s.owner = p_owner AND s.lease_until > clock_timestamp()
    CROSS JOIN LATERAL (
        SELECT e.event_id
        FROM app.events_outbox AS e
        WHERE e.stream_id = l.stream_id
            AND (
                NOT v_quarantined
                OR e.kind = 'order.query.v1'
                OR (e.kind <> 'order.cancel.v1' AND e.last_outcome IN ('sending', 'unknown'))
            )
        ORDER BY e.stream_id, e.event_id
        LIMIT 1
    ) AS firsts
    LEFT JOIN LATERAL (
        SELECT e.event_id
        FROM app.events_outbox AS e
        WHERE e.stream_id = l.stream_id
            AND e.kind = 'order.cancel.v1'
            AND NOT v_quarantined
            AND NOT EXISTS (
                SELECT FROM app.events_outbox AS b
                WHERE b.order_id = e.order_id AND b.kind = 'order.place.v1'
            )
        ORDER BY e.stream_id, e.event_id
        LIMIT 1
    ) AS cancels ON TRUE
    WHERE NOT EXISTS (
        SELECT FROM app.outbox_parked AS p
        WHERE p.stream_id = l.stream_id
            AND p.next_attempt_at > clock_timestamp()
            AND NOT (p.cancels_pass AND cancels.event_id IS NOT NULL)
    )
    AND NOT EXISTS (
        SELECT FROM app.events_outbox AS f
        WHERE f.stream_id = l.stream_id
            AND f.last_outcome = 'sending'
            AND f.sending_epoch = s.epoch
            AND f.sending_at + p_valid > clock_timestamp()
    )
    ORDER BY head
    LIMIT p_limit;
END
$$;
