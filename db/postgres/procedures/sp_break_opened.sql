-- sp_break_opened(break) -> nothing
-- What an open break leads to: an audit row, and an account that trades may only reduce.
-- Internal: sp_reconcile, sp_break_open. Test: test_sp_reconcile.py

CREATE OR REPLACE FUNCTION app.sp_break_opened(p_break app.recon_breaks)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    c_actor constant text := 'system:reconciler';
BEGIN
    PERFORM app.sp_audit_append(
        p_break.account_id, c_actor, 'recon.break', to_jsonb(p_break) - 'times' - 'seen_at'
    );
    PERFORM app.sp_notify('break', p_break.account_id, jsonb_build_object(
        'break_id', p_break.break_id, 'figure', p_break.figure, 'subject', p_break.subject,
        'ours', p_break.ours, 'theirs', p_break.theirs
    ));
    IF NOT EXISTS (
        SELECT FROM app.trading_states AS t
        WHERE (t.scope, t.scope_id) = ('account', p_break.account_id) AND t.state <> 'active'
    ) THEN
        PERFORM app.sp_trading_switch(
            c_actor, 'reconcile', p_break.account_id, 'account', p_break.account_id, 'reducing',
            format('%s of %s differs at the broker', p_break.figure, p_break.subject), FALSE
        );
    END IF;
END
$$;
