-- sp_place_items(items) -> app.order_item[]
-- Places a batch in the caller's transaction: locks the streams of its accounts in ascending order,
-- looks again, and writes orders, audit rows and outbox rows as sets, one audit row per order. An
-- item with a fault makes nothing; what to do about it is the caller's. order_id is the order that
-- an item made or repeats. A notice IN000 tells the client at once that the locks are had: what it
-- sends from then on comes after this. Internal: sp_place_orders, sp_place_batch.
-- Test: test_sp_place_batch.py, test_api_placements.py

CREATE OR REPLACE FUNCTION app.sp_place_items(p_items app.order_item[])
RETURNS app.order_item[]
LANGUAGE plpgsql
AS $$
DECLARE
    v_locked bigint[];
    v_items app.order_item[];
    v_made bigint[];
    v_batch record;
BEGIN
    v_locked := app.sp_items_lock(p_items);
    RAISE NOTICE USING MESSAGE = 'streams locked', ERRCODE = 'IN000';
    -- A statement of its own, so that it sees what was committed before the locks were had.
    v_items := app.sp_items_resolve(p_items, v_locked);
    IF NOT EXISTS (SELECT FROM unnest(v_items) AS i WHERE i.fault IS NULL AND NOT i.replayed) THEN
        RETURN v_items;
    END IF;
    v_items := coalesce(app.sp_items_pass(v_items), app.sp_items_decide(v_items, 0));
    FOR v_care IN 1..2 LOOP
        -- What passes by careless facts passes.
        EXIT WHEN NOT EXISTS (
            SELECT FROM unnest(v_items) AS i WHERE i.reason_code IS NOT NULL
        );
        v_items := app.sp_items_decide(v_items, v_care);
    END LOOP;
    PERFORM app.sp_rate_spend(n.user_id, n.orders)
    FROM (
        SELECT i.user_id, count(*) AS orders
        FROM unnest(v_items) AS i
        WHERE i.fault IS NULL AND NOT i.replayed AND i.reason_code IS NULL
        GROUP BY i.user_id
    ) AS n;
    -- In the order of the ids that clients mint, so that batches on different accounts which share
    -- such ids wait for each other in one direction alone.
    WITH made AS (
        INSERT INTO app.orders (
            order_id, client_order_id, request_hash, account_id, strategy_id, instrument_id, side,
            order_type, time_in_force, expires_at, quantity, limit_price, stop_price,
            quantity_max, arrival_price, created_by, request_id
        )
        OVERRIDING SYSTEM VALUE
        SELECT
            i.order_id, i.client_order_id, i.request_hash, i.account_id, i.strategy_id,
            i.instrument_id, i.side, i.order_type, i.time_in_force, i.expires_at, i.quantity,
            i.limit_price, i.stop_price, i.quantity_max, i.arrival_price, i.user_id, i.request_id
        FROM unnest(v_items) AS i
        WHERE i.fault IS NULL AND NOT i.replayed
        ORDER BY i.client_order_id
        ON CONFLICT (client_order_id) DO NOTHING
        RETURNING order_id
    )
    SELECT coalesce(array_agg(m.order_id), '{}') INTO v_made FROM made AS m;

    FOR v_batch IN
        SELECT
            i.account_id,
            array_agg(app.sp_actor(i.user_id, i.session) ORDER BY i.ordinal) AS actors,
            array_agg(jsonb_strip_nulls(to_jsonb(ROW(
                i.order_id, i.client_order_id, i.symbol, i.side, i.order_type, i.quantity,
                i.limit_price, i.stop_price, i.time_in_force, extract(EPOCH FROM i.expires_at),
                i.strategy_id, i.request_id
            )::app.order_detail)) ORDER BY i.ordinal) AS details,
            array_agg(i.order_id ORDER BY i.ordinal) AS orders,
            array_agg(i.request_id ORDER BY i.ordinal) AS request_ids,
            array_agg(i.reason_code ORDER BY i.ordinal) AS codes,
            count(*) FILTER (WHERE i.reason_code IS NULL) AS passed,
            (array_agg(i.bound ORDER BY i.ordinal DESC))[1] AS bound
        FROM unnest(v_items) AS i
        WHERE i.order_id = ANY(v_made)
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
        PERFORM app.sp_order_move(
            v_batch.orders[g.n], 'denied', v_batch.codes[g.n], v_batch.actors[g.n], 'place'
        )
        FROM generate_subscripts(v_batch.orders, 1) AS g (n)
        WHERE v_batch.codes[g.n] IS NOT NULL;
    END LOOP;
    RETURN app.sp_items_settle(v_items, v_made);
END
$$;
