-- sp_outbox_enqueue_all(stream, kind, orders, payloads, request ids, left out) -> nothing
-- Owes one event per order to the worker, in their order; the set-based form of sp_outbox_enqueue.
-- Orders with a code in `left out` are owed nothing. The caller holds the stream lock, so the order
-- of the ids is the order of the commits. Internal: granted to nobody. Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_outbox_enqueue_all(
    p_stream_id bigint,
    p_kind text,
    p_orders bigint[],
    p_payloads jsonb[],
    p_request_ids text[],
    p_left_out text[]
)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO app.events_outbox (shard, stream_id, kind, order_id, payload, request_id)
    SELECT
        (p_stream_id % 16)::smallint, p_stream_id, p_kind, u.order_id, u.payload, u.request_id
    FROM unnest(p_orders, p_payloads, p_request_ids, p_left_out) WITH ORDINALITY
        AS u (order_id, payload, request_id, left_out, n)
    WHERE u.left_out IS NULL
    ORDER BY u.n;
END
$$;
