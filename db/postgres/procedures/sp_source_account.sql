-- sp_source_account(source) -> account, or null
-- The account whose events a source reports: `qc:` and the project id, or `ib:` and the broker's
-- code of the account. No source reports for another account.
-- Internal: sp_inbox_put, sp_apply_broker_event, sp_apply_broker_events.
-- Test: test_sp_inbox.py, test_ibkr_worker.py

CREATE OR REPLACE FUNCTION app.sp_source_account(p_source text)
RETURNS bigint
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    RETURN (
        SELECT a.account_id
        FROM app.accounts AS a
        WHERE a.route = CASE
            WHEN p_source LIKE 'qc:%' THEN 'quantconnect'
            WHEN p_source LIKE 'ib:%' THEN 'ib'
        END
        AND a.broker_account = substr(p_source, 4)
    );
END
$$;
