-- sp_order_replay(client order id, request hash, user) -> app.order_result
-- Answers a request under an id that is taken: the first order as it is now, when this is the same
-- request of the same user; else the refusal IN422 idempotency_key_reused, which tells nothing.
-- Internal: sp_place_order. Test: test_sp_place_order.py, test_sp_races.py

CREATE OR REPLACE FUNCTION app.sp_order_replay(
    p_client_order_id text, p_request_hash bytea, p_user_id uuid
)
RETURNS app.order_result
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
BEGIN
    SELECT o.* INTO v_order
    FROM app.orders AS o
    WHERE o.client_order_id = p_client_order_id
        AND o.request_hash = p_request_hash
        AND o.created_by = p_user_id;
    IF NOT FOUND THEN
        PERFORM app.sp_refuse_reuse();
    END IF;
    RETURN app.sp_order_result(v_order, TRUE);
END
$$;
