-- sp_book_change(execution, kind, revision, fee revision, quantity, price, fee, fee currency, at,
--                actor) -> nothing
-- Corrects or busts an execution by a further row; cash, position and the order follow exactly. A
-- bust takes back the fee as well. Audited. Moves no state.
-- Internal: sp_book_execution, sp_apply_bust, sp_apply_commission. Test: test_sp_corrections.py

CREATE OR REPLACE FUNCTION app.sp_book_change(
    p_before app.executions,
    p_kind text,
    p_exec_revision integer,
    p_fee_revision integer,
    p_quantity numeric,
    p_price numeric,
    p_fee numeric,
    p_fee_currency text,
    p_executed_at timestamptz,
    p_actor text
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_after app.executions;
BEGIN
    INSERT INTO app.executions (
        order_id, account_id, instrument_id, source, exec_base, exec_revision, fee_revision, kind,
        corrects, side, quantity, price, currency, fee, fee_currency, executed_at
    )
    VALUES (
        p_before.order_id, p_before.account_id, p_before.instrument_id, p_before.source,
        p_before.exec_base, p_exec_revision, p_fee_revision, p_kind, p_before.execution_id,
        p_before.side, p_quantity, p_price, p_before.currency, p_fee, p_fee_currency, p_executed_at
    )
    RETURNING * INTO v_after;
    -- A bust that is corrected itself had no cash to take back.
    IF p_before.kind <> 'bust' THEN
        PERFORM app.sp_book_cash(p_before, -1);
    END IF;
    IF p_kind <> 'bust' THEN
        PERFORM app.sp_book_cash(v_after, 1);
    END IF;
    PERFORM app.sp_book_refold(p_before.account_id, p_before.instrument_id);
    IF p_exec_revision > p_before.exec_revision THEN
        PERFORM app.sp_book_order(p_before.order_id, TRUE, p_actor);
    END IF;
    PERFORM app.sp_audit_append(
        p_before.account_id, p_actor, 'execution.' || p_kind,
        jsonb_strip_nulls(jsonb_build_object(
            'execution_id', v_after.execution_id, 'corrects', p_before.execution_id,
            'order_id', p_before.order_id, 'exec_id', p_before.exec_base,
            'exec_revision', p_exec_revision, 'side', p_before.side,
            'quantity_before', p_before.quantity, 'price_before', p_before.price,
            'fee_before', p_before.fee, 'quantity', p_quantity, 'price', p_price, 'fee', p_fee,
            'fee_currency', p_fee_currency
        ))
    );
END
$$;
