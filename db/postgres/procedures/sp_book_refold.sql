-- sp_book_refold(account, instrument) -> nothing
-- Makes a position anew from the executions that hold, in the order in which each was first
-- recorded: what a correction or a bust changed, changes everything that was closed after it.
-- Internal: sp_book_change. Test: test_sp_corrections.py

CREATE OR REPLACE FUNCTION app.sp_book_refold(p_account_id bigint, p_instrument_id integer)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_fill app.executions;
BEGIN
    UPDATE app.positions AS p
    SET quantity = 0, cost = 0, realized_pnl = 0, fees = 0, updated_at = clock_timestamp()
    WHERE p.account_id = p_account_id AND p.instrument_id = p_instrument_id;
    FOR v_fill IN
        SELECT x.*
        FROM app.executions AS x
        JOIN (
            SELECT f.source, f.exec_base, min(f.execution_id) AS execution_id
            FROM app.executions AS f
            WHERE f.account_id = p_account_id AND f.instrument_id = p_instrument_id
            GROUP BY f.source, f.exec_base
        ) AS first ON first.source = x.source AND first.exec_base = x.exec_base
        WHERE x.account_id = p_account_id
            AND x.instrument_id = p_instrument_id
            AND x.kind <> 'bust'
            AND NOT EXISTS (SELECT FROM app.executions AS c WHERE c.corrects = x.execution_id)
        ORDER BY first.execution_id
    LOOP
        PERFORM app.sp_book_position(v_fill);
    END LOOP;
END
$$;
