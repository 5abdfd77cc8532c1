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
    v_twice boolean := FALSE;
    v_constraint text;
BEGIN
    v_locked := app.sp_items_lock(p_items);
    RAISE NOTICE USING MESSAGE = 'streams locked', ERRCODE = 'IN000';
    LOOP
        BEGIN
            -- A statement of its own, so that it sees what was committed before the locks were had.
            v_items := app.sp_items_resolve(p_items, v_locked);
            IF v_twice THEN
                v_items := app.sp_items_repeats(v_items);
            END IF;
            v_items := app.sp_items_write(v_items);
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            -- Hardly any batch has an id twice, or one that another account takes meanwhile, so
            -- both are left to the index to find. The next look sees what it found.
            GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME;
            IF v_constraint <> 'orders_client_order_id_key' THEN
                RAISE;
            END IF;
            v_twice := TRUE;
        END;
    END LOOP;
    RETURN v_items;
END
$$;
