-- sp_items_resolve(items, accounts whose streams the caller holds) -> app.order_item[]
-- Looks up, as of now, who may place each item, which order it repeats and which instrument it is
-- of. Authority comes before form, form before what is looked up. Whoever is let into an account
-- after the locks were taken comes too late: without the lock no order is made.
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
        )
        SELECT ROW(
            f.ordinal, f.user_id, f.session, f.request_id, f.client_order_id, f.account_id,
            f.symbol, f.side, f.order_type, trim_scale(f.quantity), trim_scale(f.limit_price),
            trim_scale(f.stop_price), f.time_in_force, f.expires_at, f.strategy_id,
            f.request_hash, f.found_fault, f.known_id, f.known_id IS NOT NULL,
            f.known_instrument_id, NULL, NULL, NULL, NULL
        )::app.order_item
        FROM found AS f
    );
END
$$;
