-- sp_items_write(items) -> app.order_item[]
-- Judges the items that make orders, and writes these, their audit rows and their outbox rows as
-- sets. unique_violation when another order has an item's client order id. The caller holds the
-- locks of the streams and of the users' rates.
-- Internal: sp_place_items. Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_items_write(p_items app.order_item[])
RETURNS app.order_item[]
LANGUAGE plpgsql
AS $$
DECLARE
    v_items app.order_item[];
    v_batch record;
BEGIN
    v_items := app.sp_items_pass(p_items);
    IF v_items IS NULL THEN
        IF NOT EXISTS (
            SELECT FROM unnest(p_items) AS i WHERE i.fault IS NULL AND NOT i.replayed
        ) THEN
            RETURN p_items;
        END IF;
        FOR v_care IN 0..2 LOOP
            v_items := app.sp_items_decide(coalesce(v_items, p_items), v_care);
            -- What passes by careless facts passes.
            EXIT WHEN NOT EXISTS (
                SELECT FROM unnest(v_items) AS i WHERE i.reason_code IS NOT NULL
            );
        END LOOP;
    END IF;
    PERFORM app.sp_rate_spend(n.user_id, n.orders)
    FROM (
        SELECT i.user_id, count(*) AS orders
        FROM unnest(v_items) AS i
        WHERE i.fault IS NULL AND NOT i.replayed AND i.reason_code IS NULL
        GROUP BY i.user_id
    ) AS n;
    -- In the order of the ids that clients mint, so that batches on different accounts which share
    -- such ids wait for each other in one direction alone.
    INSERT INTO app.orders (
        order_id, client_order_id, request_hash, account_id, strategy_id, instrument_id, side,
        order_type, time_in_force, expires_at, quantity, limit_price, stop_price, quantity_max,
        arrival_price, created_by, request_id
    )
    OVERRIDING SYSTEM VALUE
    SELECT
        i.order_id, i.client_order_id, i.request_hash, i.account_id, i.strategy_id,
        i.instrument_id, i.side, i.order_type, i.time_in_force, i.expires_at, i.quantity,
        i.limit_price, i.stop_price, i.quantity_max, i.arrival_price, i.user_id, i.request_id
    FROM unnest(v_items) AS i
    WHERE i.fault IS NULL AND NOT i.replayed
    ORDER BY i.client_order_id;

    FOR v_batch IN
        SELECT
            i.account_id,
            array_agg(app.sp_actor(i.user_id, i.session) ORDER BY i.ordinal) AS actors,
            array_agg(app.sp_order_detail(
                i.order_id, i.client_order_id, i.symbol, i.side, i.order_type, i.quantity,
                i.limit_price, i.stop_price, i.time_in_force, i.expires_at, i.strategy_id,
                i.request_id
            ) ORDER BY i.ordinal) AS details,
            array_agg(i.order_id ORDER BY i.ordinal) AS orders,
            array_agg(i.request_id ORDER BY i.ordinal) AS request_ids,
            array_agg(i.reason_code ORDER BY i.ordinal) AS codes,
            count(*) FILTER (WHERE i.reason_code IS NULL) AS passed,
            (array_agg(i.bound ORDER BY i.ordinal DESC))[1] AS bound
        FROM unnest(v_items) AS i
        WHERE i.fault IS NULL AND NOT i.replayed
        GROUP BY i.account_id
        ORDER BY i.account_id
    LOOP
        PERFORM app.sp_audit_append_all(
            v_batch.account_id, v_batch.actors, 'order.place', v_batch.details, (
                SELECT
                    greatest(s.rate_at, clock_timestamp())
                    + interval '1 us' * (60000000 / l.orders_per_minute_max * v_batch.passed)
                FROM app.streams AS s
                JOIN app.risk_limits AS l ON l.account_id = s.stream_id
                WHERE s.stream_id = v_batch.account_id AND v_batch.passed > 0
            ), v_batch.bound
        );
        PERFORM app.sp_outbox_enqueue_all(
            v_batch.account_id, 'order.place.v1', v_batch.orders, v_batch.details,
            v_batch.request_ids, v_batch.codes
        );
        IF v_batch.passed < cardinality(v_batch.orders) THEN
            PERFORM app.sp_order_move(
                v_batch.orders[g.n], 'denied', v_batch.codes[g.n], v_batch.actors[g.n], 'place'
            )
            FROM generate_subscripts(v_batch.orders, 1) AS g (n)
            WHERE v_batch.codes[g.n] IS NOT NULL;
        END IF;
    END LOOP;
    RETURN v_items;
END
$$;
