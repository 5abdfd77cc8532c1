-- sp_outbox_enqueue(stream, kind, order, payload, request id) -> nothing
-- Owes one event to the worker; with sp_outbox_enqueue_all the only writer of new rows. The caller
-- holds the stream lock, so the order of the ids is the order of the commits.
-- Internal: granted to nobody. Test: test_sp_place_order.py

CREATE OR REPLACE FUNCTION app.sp_outbox_enqueue(
    p_stream_id bigint, p_kind text, p_order_id bigint, p_payload jsonb, p_request_id text
)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO app.events_outbox (shard, stream_id, kind, order_id, payload, request_id)
    VALUES ((p_stream_id % 16)::smallint, p_stream_id, p_kind, p_order_id, p_payload, p_request_id);
END
$$;
