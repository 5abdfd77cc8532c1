-- sp_admin_instrument(user, session, request id, symbol, name, currency, tick size, lot size,
--     tradable, multiplier) -> instrument id
-- sp_instrument_upsert for administrators of the API; their authority is looked at
-- before and after the wait for the lock. SQLSTATE as there; IN401 as sp_authorize; IN403
-- role_not_allowed; IN422 request_id_invalid. Called by app_write. Test: test_sp_admin.py

CREATE OR REPLACE FUNCTION app.sp_admin_instrument(
    p_user_id uuid, p_session text, p_request_id text, p_symbol text, p_name text,
    p_currency text, p_tick_size numeric, p_lot_size numeric, p_tradable boolean,
    p_multiplier numeric
)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_actor text := app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    v_result integer;
BEGIN
    v_result := app.sp_instrument_upsert(
        v_actor, p_symbol, p_name, p_currency, p_tick_size, p_lot_size, p_tradable, p_multiplier,
        p_request_id
    );
    PERFORM app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    RETURN v_result;
END
$$;
