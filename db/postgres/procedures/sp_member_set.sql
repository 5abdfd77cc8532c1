-- sp_member_set(actor, account, user, can trade, request id) -> nothing
-- Makes a user a member of an account; NULL for `can trade` ends the membership. Repeating it
-- changes nothing; audited on the account's stream when something changed.
-- IN404 account_not_found, user_not_found. Called by app_migrate, sp_admin_member.

CREATE OR REPLACE FUNCTION app.sp_member_set(
    p_actor text, p_account_id bigint, p_user_id uuid, p_can_trade boolean,
    p_request_id text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before boolean;
BEGIN
    PERFORM app.sp_lock_account(p_account_id);
    IF NOT EXISTS (SELECT FROM app.users AS u WHERE u.user_id = p_user_id) THEN
        RAISE EXCEPTION 'no user %', p_user_id
            USING ERRCODE = 'IN404', DETAIL = 'user_not_found';
    END IF;
    SELECT m.can_trade INTO v_before FROM app.account_members AS m
    WHERE m.account_id = p_account_id AND m.user_id = p_user_id;
    IF v_before IS NOT DISTINCT FROM p_can_trade THEN
        RETURN;
    END IF;

    IF p_can_trade IS NULL THEN
        DELETE FROM app.account_members
        WHERE account_id = p_account_id AND user_id = p_user_id;
    ELSE
        INSERT INTO app.account_members (account_id, user_id, can_trade)
        VALUES (p_account_id, p_user_id, p_can_trade)
        ON CONFLICT (account_id, user_id) DO UPDATE SET can_trade = excluded.can_trade;
    END IF;
    PERFORM app.sp_audit_append(p_account_id, p_actor, 'member.set', jsonb_build_object(
        'user_id', p_user_id, 'can_trade_before', v_before, 'can_trade', p_can_trade
    ) || jsonb_strip_nulls(jsonb_build_object('request_id', p_request_id)));
END
$$;
