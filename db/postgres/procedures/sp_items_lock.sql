-- sp_items_lock(items) -> the accounts whose streams it locked
-- Takes the locks that a batch needs: the streams of its accounts, then the rates of its users,
-- each in ascending order. Replays take none, nor does an item that is malformed or whose user may
-- not trade on its account.
-- Internal: sp_place_items. Test: test_sp_place_batch.py, test_sp_races.py

CREATE OR REPLACE FUNCTION app.sp_items_lock(p_items app.order_item[])
RETURNS bigint[]
LANGUAGE plpgsql
AS $$
DECLARE
    v_accounts bigint[] := ARRAY(
        SELECT DISTINCT m.account_id
        FROM (
            SELECT DISTINCT i.account_id, i.user_id
            FROM unnest(p_items) AS i
            WHERE i.fault IS NULL
                AND NOT EXISTS (
                    SELECT FROM app.orders AS o WHERE o.client_order_id = i.client_order_id
                )
        ) AS n
        JOIN app.account_members AS m ON m.account_id = n.account_id AND m.user_id = n.user_id
        WHERE m.can_trade
    );
BEGIN
    IF cardinality(v_accounts) > 0 THEN
        PERFORM FROM app.streams AS s
        WHERE s.stream_id = ANY(v_accounts)
        ORDER BY s.stream_id
        FOR NO KEY UPDATE;
        PERFORM FROM app.user_rates AS r
        WHERE r.user_id IN (
            SELECT i.user_id FROM unnest(p_items) AS i WHERE i.account_id = ANY(v_accounts)
        )
        ORDER BY r.user_id
        FOR NO KEY UPDATE;
    END IF;
    RETURN v_accounts;
END
$$;
