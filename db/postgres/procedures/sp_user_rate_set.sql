-- sp_user_rate_set(actor, user, orders a minute, request id) -> nothing
-- Sets how fast a user may place orders over all his accounts. Repeating it changes nothing;
-- audited on stream 0 when something changed.
-- IN404 user_not_found; IN422 orders_per_minute_max_invalid. Called by app_migrate,
-- sp_admin_user_rate. Test: test_master_data.py

CREATE OR REPLACE FUNCTION app.sp_user_rate_set(
    p_actor text, p_user_id uuid, p_orders_per_minute_max integer, p_request_id text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before integer;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_number(p_orders_per_minute_max, 'orders_per_minute_max');
    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    SELECT u.orders_per_minute_max INTO v_before FROM app.users AS u WHERE u.user_id = p_user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no user %', p_user_id
            USING ERRCODE = 'IN404', DETAIL = 'user_not_found';
    ELSIF v_before = p_orders_per_minute_max THEN
        RETURN;
    END IF;
    UPDATE app.users AS u
    SET orders_per_minute_max = p_orders_per_minute_max, updated_at = clock_timestamp()
    WHERE u.user_id = p_user_id;
    PERFORM app.sp_audit_append(0, p_actor, 'user_rate.set', jsonb_strip_nulls(jsonb_build_object(
        'user_id', p_user_id, 'orders_per_minute_max', p_orders_per_minute_max,
        'request_id', p_request_id
    )));
END
$$;
