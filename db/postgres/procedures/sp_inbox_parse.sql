-- sp_inbox_parse(account, events) -> event id, shard, sequence, payload, place
-- Reads of each event what it is kept by. One without a usable id is named after its content; the
-- shard is that of the account whose order it names or that it tells an order of, else 0.
-- Internal: sp_inbox_put.
-- Test: test_sp_inbox.py

CREATE OR REPLACE FUNCTION app.sp_inbox_parse(p_account_id bigint, p_events jsonb)
RETURNS TABLE (event_id text, shard smallint, sequence bigint, payload jsonb, place bigint)
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    RETURN QUERY
    SELECT
        CASE
            WHEN e.payload ->> 'event_id' ~ '^.{1,200}$' THEN e.payload ->> 'event_id'
            ELSE 'unnamed-' || encode(sha256(convert_to(e.payload::text, 'UTF8')), 'hex')
        END,
        CASE
            WHEN EXISTS (
                SELECT FROM app.orders AS o
                WHERE o.client_order_id = e.payload ->> 'client_order_id'
                    AND o.account_id = p_account_id
            ) OR jsonb_typeof(e.payload -> 'external') = 'object' THEN p_account_id % 16
            ELSE 0
        END::smallint,
        CASE
            WHEN e.payload ->> 'sequence' ~ '^[1-9][0-9]{0,17}$'
                THEN (e.payload ->> 'sequence')::bigint
        END,
        e.payload,
        e.place
    FROM jsonb_array_elements(p_events) WITH ORDINALITY AS e (payload, place);
END
$$;
