-- sp_items_resolve(items, accounts whose streams the caller holds) -> app.order_item[]
-- Looks up, as of now, who may place each item, which order it repeats and which instrument it is
-- of. Authority comes before form, form before what is looked up. Of items that share a client
-- order id the first counts, the others repeat it. Whoever is let into an account after the locks
-- were taken comes too late: without the lock no order is made.
-- Internal: sp_place_items. Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_items_resolve(
    p_items app.order_item[], p_locked bigint[]
)
RETURNS app.order_item[]
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    RETURN ARRAY(
        WITH callers AS MATERIALIZED (
            SELECT
                c.user_id, c.session, c.account_id,
                app.sp_trade_fault(c.user_id, c.session, c.account_id) AS fault
            FROM (
                SELECT DISTINCT i.user_id, i.session, i.account_id FROM unnest(p_items) AS i
            ) AS c
        ),
        found AS (
            SELECT
                i.*,
                o.order_id AS known_id,
                s.instrument_id AS known_instrument_id,
                CASE
                    WHEN c.fault IS NOT NULL THEN c.fault
                    WHEN i.fault IS NOT NULL THEN i.fault
                    WHEN o.order_id IS NOT NULL THEN CASE
                        WHEN (o.request_hash, o.created_by) = (i.request_hash, i.user_id)
                            THEN NULL
                        ELSE 'idempotency_key_reused'
                    END
                    WHEN i.account_id <> ALL (p_locked) THEN 'account_not_found'
                    WHEN s.instrument_id IS NULL THEN 'instrument_not_found'
                    WHEN i.strategy_id IS NOT NULL AND NOT EXISTS (
                        SELECT FROM app.strategies AS t
                        WHERE t.strategy_id = i.strategy_id AND t.account_id = i.account_id
                    ) THEN 'strategy_not_found'
                    WHEN i.expires_at <= clock_timestamp() THEN 'expires_at_invalid'
                END AS found_fault
            FROM unnest(p_items) AS i
            JOIN callers AS c
                ON c.user_id IS NOT DISTINCT FROM i.user_id
                AND c.session IS NOT DISTINCT FROM i.session
                AND c.account_id IS NOT DISTINCT FROM i.account_id
            LEFT JOIN app.orders AS o ON o.client_order_id = i.client_order_id
            LEFT JOIN app.instruments AS s ON s.symbol = i.symbol
        ),
        placed AS (
            SELECT
                f.*,
                row_number() OVER w AS place,
                first_value(f.request_hash) OVER w AS first_hash,
                first_value(f.user_id) OVER w AS first_user_id
            FROM found AS f
            WINDOW w AS (PARTITION BY f.client_order_id, f.found_fault IS NULL ORDER BY f.ordinal)
        )
        SELECT ROW(
            p.ordinal, p.user_id, p.session, p.request_id, p.client_order_id, p.account_id,
            p.symbol, p.side, p.order_type, trim_scale(p.quantity), trim_scale(p.limit_price),
            trim_scale(p.stop_price), p.time_in_force, p.expires_at, p.strategy_id,
            p.request_hash,
            CASE
                WHEN p.found_fault IS NOT NULL THEN p.found_fault
                WHEN (p.request_hash, p.user_id) <> (p.first_hash, p.first_user_id)
                    THEN 'idempotency_key_reused'
            END,
            p.known_id, p.known_id IS NOT NULL OR p.place > 1, p.known_instrument_id, NULL, NULL,
            NULL, NULL
        )::app.order_item
        FROM placed AS p
        ORDER BY p.ordinal
    );
END
$$;
