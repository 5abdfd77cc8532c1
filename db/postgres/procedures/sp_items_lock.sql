-- sp_items_lock(items) -> the accounts whose streams it locked
-- Takes the locks that a batch needs: the streams of its accounts, then the rates of its users,
-- each in ascending order. It takes none where every item is a replay, malformed, or of a user
-- who may not trade on its account.
-- Internal: sp_place_items. Test: test_sp_place_batch.py, test_sp_races.py

CREATE OR REPLACE FUNCTION app.sp_items_lock(p_items app.order_item[])
RETURNS bigint[]
LANGUAGE plpgsql
AS $$
DECLARE
    v_accounts bigint[];
    v_users uuid[];
BEGIN
    SELECT
        coalesce(array_agg(DISTINCT n.account_id) FILTER (WHERE n.trades), '{}'),
        array_agg(DISTINCT n.user_id)
    INTO v_accounts, v_users
    FROM (
        SELECT
            c.account_id, c.user_id,
            EXISTS (
                SELECT FROM app.account_members AS m
                WHERE m.account_id = c.account_id AND m.user_id = c.user_id AND m.can_trade
            ) AND EXISTS (
                SELECT FROM unnest(c.client_order_ids) AS u (client_order_id)
                WHERE NOT EXISTS (
                    SELECT FROM app.orders AS o WHERE o.client_order_id = u.client_order_id
                )
            ) AS trades
        FROM (
            SELECT i.account_id, i.user_id, array_agg(i.client_order_id) AS client_order_ids
            FROM unnest(p_items) AS i
            WHERE i.fault IS NULL
            GROUP BY i.account_id, i.user_id
        ) AS c
    ) AS n;
    IF cardinality(v_accounts) > 0 THEN
        PERFORM FROM app.streams AS s
        WHERE s.stream_id = ANY(v_accounts)
        ORDER BY s.stream_id
        FOR NO KEY UPDATE;
        PERFORM FROM app.user_rates AS r
        WHERE r.user_id = ANY(v_users)
        ORDER BY r.user_id
        FOR NO KEY UPDATE;
    END IF;
    RETURN v_accounts;
END
$$;
