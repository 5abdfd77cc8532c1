-- sp_items_pass(items) -> app.order_item[], or null where not all of them surely pass
-- The quick half of sp_items_decide. Items that are alike in all that the risk rules look at are
-- judged once, as if all others of the batch had been placed before and bound their full value:
-- no rule lets a later order pass where it would refuse an earlier one, so what passes there passes
-- in its own place. Most batches pass; of any other nothing is said here. Open orders are known by
-- their bound, or are counted. The caller holds the locks that sp_items_decide wants.
-- Internal: sp_place_items. Test: test_sp_place_batch.py, test_sp_risk_model.py

CREATE OR REPLACE FUNCTION app.sp_items_pass(p_items app.order_item[])
RETURNS app.order_item[]
LANGUAGE plpgsql
AS $$
BEGIN
    RETURN (
        WITH alike AS (
            SELECT
                x.account_id, x.instrument_id, x.strategy_id, x.side, x.order_type,
                x.time_in_force, x.quantity, x.limit_price, x.stop_price, count(*) AS orders
            FROM unnest(p_items) AS x
            WHERE x.fault IS NULL AND NOT x.replayed
            GROUP BY
                x.account_id, x.instrument_id, x.strategy_id, x.side, x.order_type,
                x.time_in_force, x.quantity, x.limit_price, x.stop_price
        ),
        known AS MATERIALIZED (
            SELECT
                k.*,
                app.sp_risk_facts(
                    k.account_id, k.instrument_id, k.strategy_id, k.order_type,
                    k.time_in_force, NULL, 0
                ) AS facts
            FROM (
                SELECT DISTINCT
                    a.account_id, a.instrument_id, a.strategy_id, a.order_type, a.time_in_force
                FROM alike AS a
            ) AS k
        ),
        valued AS MATERIALIZED (
            SELECT
                a.*, k.facts,
                a.quantity * coalesce(a.limit_price, a.stop_price, (k.facts).last_price)
                * (k.facts).point_value AS value,
                a.quantity * coalesce(a.limit_price, a.stop_price)
                * (k.facts).fixed_point_value AS bound_value
            FROM alike AS a
            JOIN known AS k
                ON k.account_id = a.account_id
                AND k.instrument_id = a.instrument_id
                AND coalesce(k.strategy_id, 0) = coalesce(a.strategy_id, 0)
                AND k.order_type = a.order_type
                AND k.time_in_force = a.time_in_force
        ),
        judged AS (
            SELECT
                v.*,
                v.value IS NOT NULL AND (app.sp_risk_decide(
                    v.side, v.quantity, 0, v.limit_price, v.stop_price, v.facts,
                    sum(v.orders * v.quantity) OVER place - v.quantity,
                    sum(v.orders * v.quantity) OVER place - v.quantity,
                    (sum(v.orders) OVER desk)::integer - 1,
                    sum(v.orders * v.value) OVER desk - v.value
                )).reason_code IS NULL AS passes
            FROM valued AS v
            WINDOW
                desk AS (PARTITION BY v.account_id),
                place AS (PARTITION BY v.account_id, v.instrument_id, v.side)
        ),
        desks AS MATERIALIZED (
            SELECT
                j.account_id,
                bool_and(j.passes) AS passes,
                (array_agg((j.facts).bound))[1] AS before,
                sum(j.orders) AS orders,
                coalesce(sum(j.orders * j.quantity) FILTER (WHERE j.side = 'buy'), 0) AS buys,
                coalesce(sum(j.orders * j.quantity) FILTER (WHERE j.side = 'sell'), 0) AS sells,
                CASE
                    WHEN count(*) = count(j.bound_value) THEN sum(j.orders * j.bound_value)
                END AS value
            FROM judged AS j
            GROUP BY j.account_id
        ),
        places AS MATERIALIZED (
            SELECT DISTINCT
                k.account_id, k.instrument_id, (k.facts).last_price AS last_price,
                ROW(
                    (d.before).orders + d.orders, (d.before).buys + d.buys,
                    (d.before).sells + d.sells, (d.before).value + d.value
                )::app.open_bound AS bound
            FROM known AS k
            JOIN desks AS d ON d.account_id = k.account_id
        )
        SELECT array_agg(ROW(
            x.ordinal, x.user_id, x.session, x.request_id, x.client_order_id, x.account_id,
            x.symbol, x.side, x.order_type, x.quantity, x.limit_price, x.stop_price,
            x.time_in_force, x.expires_at, x.strategy_id, x.request_hash, x.fault,
            CASE
                WHEN x.fault IS NULL AND NOT x.replayed
                    THEN coalesce(x.order_id, nextval('app.orders_order_id_seq'))
                ELSE x.order_id
            END,
            x.replayed, x.instrument_id, NULL, NULL, p.last_price, p.bound
        )::app.order_item)
        FROM unnest(p_items) AS x
        LEFT JOIN places AS p
            ON p.account_id = x.account_id AND p.instrument_id = x.instrument_id
        WHERE (SELECT bool_and(y.passes) FROM desks AS y)
            AND NOT EXISTS (
                SELECT FROM (
                    SELECT z.user_id, count(*)::integer AS orders
                    FROM unnest(p_items) AS z
                    WHERE z.fault IS NULL AND NOT z.replayed
                    GROUP BY z.user_id
                ) AS n
                JOIN app.users AS u ON u.user_id = n.user_id
                LEFT JOIN app.user_rates AS r ON r.user_id = n.user_id
                WHERE app.sp_rate_full(
                    r.rate_at, clock_timestamp(), u.orders_per_minute_max, n.orders
                )
            )
    );
END
$$;
