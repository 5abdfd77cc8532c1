-- sp_lock_account(account) -> the account, with its stream's row locked
-- The first step of every write of master data to an account. IN404 account_not_found. Internal.

CREATE OR REPLACE FUNCTION app.sp_lock_account(p_account_id bigint) RETURNS app.accounts
LANGUAGE plpgsql
AS $$
DECLARE
    v_account app.accounts;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM FROM app.streams AS s WHERE s.stream_id = p_account_id FOR NO KEY UPDATE;
    SELECT * INTO v_account FROM app.accounts AS a WHERE a.account_id = p_account_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no account %', p_account_id
            USING ERRCODE = 'IN404', DETAIL = 'account_not_found';
    END IF;
    RETURN v_account;
END
$$;
