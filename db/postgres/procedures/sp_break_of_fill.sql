-- sp_break_of_fill(account, source, event) -> nothing
-- Opens the break of a fill that the broker reports and that cannot be booked: its subject is the
-- execution's id, its figures are the traded values, quantity times price, 0 where none is booked.
-- An event that is no fill changes nothing. The caller holds the stream lock.
-- Internal: sp_apply_broker_event. Test: test_sp_executions_listed.py

CREATE OR REPLACE FUNCTION app.sp_break_of_fill(p_account_id bigint, p_source text, p_event jsonb)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_known app.executions;
    v_value numeric := app.sp_wire_number(p_event ->> 'fill_quantity')
    * app.sp_wire_number(p_event ->> 'fill_price');
BEGIN
    IF (v_value > 0 AND p_event ->> 'exec_id' ~ '^.{1,200}$') IS NOT TRUE THEN
        RETURN;
    END IF;
    v_known := app.sp_execution_current(p_account_id, p_source, p_event ->> 'exec_id');
    PERFORM app.sp_break_open(
        p_account_id, 'execution', p_event ->> 'exec_id',
        CASE WHEN v_known.kind <> 'bust' THEN v_known.quantity * v_known.price ELSE 0 END, v_value
    );
END
$$;
