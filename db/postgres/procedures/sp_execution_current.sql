-- sp_execution_current(account, source, execution id) -> the row that holds, a bust too, or null
-- The latest revision of an execution. Internal. Test: test_sp_corrections.py

CREATE OR REPLACE FUNCTION app.sp_execution_current(
    p_account_id bigint, p_source text, p_exec_base text
)
RETURNS app.executions
LANGUAGE sql
STABLE
AS $$
    SELECT x.*
    FROM app.executions AS x
    WHERE x.account_id = p_account_id AND x.source = p_source AND x.exec_base = p_exec_base
    ORDER BY x.exec_revision DESC, x.fee_revision DESC
    LIMIT 1
$$;
