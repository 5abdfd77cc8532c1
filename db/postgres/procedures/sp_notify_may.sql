-- sp_notify_may(user, account) -> whether he may be told of it
-- As the reporting views do: an administrator of all, others of the accounts they are members of,
-- nobody who is disabled. Of what concerns everyone (null), who is anybody.
-- Internal: sp_notify, sp_notify_claim, sp_notify_set. Test: test_sp_notify.py

CREATE OR REPLACE FUNCTION app.sp_notify_may(p_user_id uuid, p_account_id bigint)
RETURNS boolean
LANGUAGE sql
STABLE
AS $$
    SELECT EXISTS (
        SELECT FROM app.users AS u
        WHERE u.user_id = p_user_id
            AND NOT u.disabled
            AND (
                u.role = 'admin'
                OR p_account_id IS NULL
                OR EXISTS (
                    SELECT FROM app.account_members AS m
                    WHERE m.account_id = p_account_id AND m.user_id = p_user_id
                )
            )
    )
$$;
