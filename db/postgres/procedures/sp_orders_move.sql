-- sp_orders_move(orders, statuses after, reasons, details, actor, kind, valid until)
--                -> how many moved
-- Moves the states of orders of different accounts, as sp_order_move moves one: 23505 when an
-- account comes twice. An illegal move changes nothing and is not counted. The caller holds the
-- locks of their streams.
-- Internal: sp_begin_sends, sp_finish_sends. Test: test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_orders_move(
    p_orders bigint[],
    p_statuses text[],
    p_reasons text[],
    p_details jsonb[],
    p_actor text,
    p_kind text,
    p_valid_until timestamptz DEFAULT NULL
)
RETURNS integer
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    m record;
    c_few constant integer := 3;
BEGIN
    -- A few are quicker one by one: starting the statement for a set costs as much as three. And
    -- of what is rejected or lost somebody may want to hear.
    IF cardinality(p_orders) <= c_few OR p_statuses && ARRAY['rejected', 'lost'] THEN
        RETURN (
            SELECT count(*) FILTER (WHERE app.sp_order_move(
                u.order_id, u.status_after, u.reason, p_actor, p_kind, u.detail,
                clock_timestamp(), p_valid_until
            ))
            FROM unnest(p_orders, p_statuses, p_reasons, p_details)
                AS u (order_id, status_after, reason, detail)
        );
    END IF;
    WITH legal AS MATERIALIZED (
        SELECT
            o.order_id, o.status AS status_before, u.status_after, u.detail, u.reason
        FROM unnest(p_orders, p_statuses, p_reasons, p_details)
            AS u (order_id, status_after, reason, detail)
        JOIN app.orders AS o ON o.order_id = u.order_id
        JOIN app.order_transitions AS t
            ON t.status_before = o.status
            AND t.status_after = u.status_after
            AND NOT t.correction
    ),
    noted AS (
        INSERT INTO app.order_events (
            order_id, kind, source, status_before, status_after, applied, detail, event_at
        )
        SELECT
            l.order_id, p_kind, p_actor, l.status_before, l.status_after, TRUE, l.detail,
            clock_timestamp()
        FROM legal AS l
    ),
    moved AS (
        UPDATE app.orders AS o
        SET
            status = l.status_after,
            reason_code = l.reason,
            pending_quantity = NULL,
            pending_limit_price = NULL,
            pending_stop_price = NULL,
            valid_until = coalesce(p_valid_until, o.valid_until),
            queries = 0,
            next_query_at = NULL,
            updated_at = clock_timestamp()
        FROM legal AS l
        WHERE o.order_id = l.order_id
        RETURNING
            o.order_id, o.account_id, o.client_order_id, o.status, o.reason_code, l.status_before
    )
    SELECT
        array_agg(x.account_id) AS streams,
        array_agg('order.' || x.status) AS actions,
        array_agg(jsonb_strip_nulls(jsonb_build_object(
            'order_id', x.order_id,
            'client_order_id', x.client_order_id,
            'status_before', x.status_before,
            'reason_code', x.reason_code,
            'kind', p_kind
        ))) AS details
    INTO m
    FROM moved AS x;
    RETURN CASE
        WHEN m.streams IS NULL THEN 0
        ELSE app.sp_audit_append_each(m.streams, p_actor, m.actions, m.details)
    END;
END
$$;
