-- sp_order_known(order, broker order id) -> nothing
-- The venue has the order: its place row is done, sent or not, and its lane goes on.
-- Internal. Test: test_sp_recovery.py

CREATE OR REPLACE FUNCTION app.sp_order_known(p_order_id bigint, p_broker_order_id text)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM app.sp_outbox_archive_order(p_order_id, 'order.place.v1', 'known');
    UPDATE app.orders AS o
    SET broker_order_id = left(p_broker_order_id, 200)
    WHERE o.order_id = p_order_id AND o.broker_order_id IS DISTINCT FROM p_broker_order_id
        AND p_broker_order_id IS NOT NULL;
END
$$;
