-- sp_items_decide(items, care) -> app.order_item[]
-- Judges the items that make orders by the risk rules, in their order: each sees those before it
-- that passed. The facts are read once for all items that share them, with the care that
-- sp_risk_facts names. The caller holds the locks of the streams and of the users' rates.
-- sp_items_pass says the same of most batches for less.
-- Internal: sp_place_items. Test: test_sp_place_batch.py, test_sp_risk_model.py

CREATE OR REPLACE FUNCTION app.sp_items_decide(p_items app.order_item[], p_care integer)
RETURNS app.order_item[]
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    i record;
    d record;
    -- By the number of the account and instrument, of the account, and of the user in this batch.
    v_buys numeric[] := array_fill(0::numeric, ARRAY[cardinality(p_items)]);
    v_sells numeric[] := v_buys;
    v_bound numeric[] := v_buys;
    v_orders integer[] := array_fill(0, ARRAY[cardinality(p_items)]);
    v_user_orders integer[] := v_orders;
    v_codes text[] := array_fill(NULL::text, ARRAY[cardinality(p_items)]);
    v_sizes numeric[] := array_fill(NULL::numeric, ARRAY[cardinality(p_items)]);
    v_arrivals numeric[] := v_sizes;
    v_bounds app.open_bound[] := array_fill(NULL::app.open_bound, ARRAY[cardinality(p_items)]);
    v_bounds_after app.open_bound[] := v_bounds;
BEGIN
    FOR i IN
        WITH items AS (
            SELECT
                x.ordinal, x.account_id, x.instrument_id, x.strategy_id, x.user_id, x.side,
                x.order_type, x.quantity, x.limit_price, x.stop_price, x.time_in_force,
                dense_rank() OVER (ORDER BY x.account_id, x.instrument_id)::integer AS place,
                dense_rank() OVER (ORDER BY x.account_id)::integer AS desk,
                dense_rank() OVER (ORDER BY x.user_id)::integer AS person
            FROM unnest(p_items) AS x
            WHERE x.fault IS NULL AND NOT x.replayed
        ),
        facts AS MATERIALIZED (
            SELECT
                k.*,
                app.sp_risk_facts(
                    k.account_id, k.instrument_id, k.strategy_id, k.order_type, k.time_in_force,
                    NULL, p_care
                ) AS facts
            FROM (
                SELECT DISTINCT
                    x.account_id, x.instrument_id, x.strategy_id, x.order_type, x.time_in_force
                FROM items AS x
            ) AS k
        )
        SELECT
            x.ordinal, x.side, x.quantity, x.limit_price, x.stop_price, x.place, x.desk,
            x.person, f.facts,
            u.orders_per_minute_max, r.rate_at
        FROM items AS x
        JOIN app.users AS u ON u.user_id = x.user_id
        LEFT JOIN app.user_rates AS r ON r.user_id = x.user_id
        JOIN facts AS f
            ON f.account_id = x.account_id
            AND f.instrument_id = x.instrument_id
            AND coalesce(f.strategy_id, 0) = coalesce(x.strategy_id, 0)
            AND f.order_type = x.order_type
            AND f.time_in_force = x.time_in_force
        ORDER BY x.ordinal
    LOOP
        d := app.sp_risk_decide(
            i.side, i.quantity, 0, i.limit_price, i.stop_price, i.facts, v_buys[i.place],
            v_sells[i.place], v_orders[i.desk], v_bound[i.desk]
        );
        v_arrivals[i.ordinal] := (i.facts).last_price;
        v_codes[i.ordinal] := coalesce(d.reason_code, CASE
            WHEN app.sp_rate_full(
                i.rate_at, clock_timestamp(), i.orders_per_minute_max, v_user_orders[i.person] + 1
            ) THEN 'USER_ORDER_RATE_EXCEEDED'
        END);
        IF v_codes[i.ordinal] IS NOT NULL THEN
            v_sizes[i.ordinal] := d.quantity_max;
            v_bounds_after[i.ordinal] := v_bounds[i.desk];
            CONTINUE;
        END IF;
        v_bounds[i.desk] := app.sp_bound_with(
            coalesce(v_bounds[i.desk], (i.facts).bound), i.side, i.quantity,
            coalesce(i.limit_price, i.stop_price), (i.facts).fixed_point_value
        );
        v_bounds_after[i.ordinal] := v_bounds[i.desk];
        v_orders[i.desk] := v_orders[i.desk] + 1;
        v_user_orders[i.person] := v_user_orders[i.person] + 1;
        v_bound[i.desk] := v_bound[i.desk] + d.opening;
        IF i.side = 'buy' THEN
            v_buys[i.place] := v_buys[i.place] + i.quantity;
        ELSE
            v_sells[i.place] := v_sells[i.place] + i.quantity;
        END IF;
    END LOOP;
    RETURN ARRAY(
        SELECT ROW(
            x.ordinal, x.user_id, x.session, x.request_id, x.client_order_id, x.account_id,
            x.symbol, x.side, x.order_type, x.quantity, x.limit_price, x.stop_price,
            x.time_in_force, x.expires_at, x.strategy_id, x.request_hash, x.fault,
            CASE
                WHEN x.fault IS NULL AND NOT x.replayed
                    THEN coalesce(x.order_id, nextval('app.orders_order_id_seq'))
                ELSE x.order_id
            END,
            x.replayed, x.instrument_id, v_codes[x.ordinal], v_sizes[x.ordinal],
            v_arrivals[x.ordinal], v_bounds_after[x.ordinal]
        )::app.order_item
        FROM unnest(p_items) AS x
    );
END
$$;
