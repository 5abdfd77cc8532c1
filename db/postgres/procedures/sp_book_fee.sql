-- sp_book_fee(execution row, fee, fee currency, actor) -> applied or duplicate
-- What an execution cost, reported after it. The first report fills the row, once; another fee is a
-- correction by a further row. Cash and the position's fees follow.
-- Internal: sp_book_execution, sp_apply_commission. Test: test_sp_corrections.py

CREATE OR REPLACE FUNCTION app.sp_book_fee(
    p_fill app.executions, p_fee numeric, p_fee_currency text, p_actor text
)
RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
    IF (p_fill.fee, p_fill.fee_currency) = (p_fee, p_fee_currency) THEN
        RETURN 'duplicate';
    END IF;
    IF p_fill.fee IS NOT NULL THEN
        PERFORM app.sp_book_change(
            p_fill, 'correction', p_fill.exec_revision, p_fill.fee_revision + 1, p_fill.quantity,
            p_fill.price, p_fee, p_fee_currency, p_fill.executed_at, p_actor
        );
        RETURN 'applied';
    END IF;
    UPDATE app.executions AS x
    SET fee = p_fee, fee_currency = p_fee_currency
    WHERE x.execution_id = p_fill.execution_id;
    INSERT INTO app.cash_balances AS b (account_id, currency, amount, fees)
    SELECT p_fill.account_id, p_fee_currency, -p_fee, p_fee
    WHERE p_fee <> 0
    ON CONFLICT (account_id, currency) DO UPDATE
    SET
        amount = trim_scale(b.amount + excluded.amount),
        fees = trim_scale(b.fees + excluded.fees);
    UPDATE app.positions AS p
    SET fees = trim_scale(p.fees + p_fee), updated_at = clock_timestamp()
    WHERE p.account_id = p_fill.account_id
        AND p.instrument_id = p_fill.instrument_id
        AND p_fee_currency = p_fill.currency;
    PERFORM app.sp_audit_append(
        p_fill.account_id, p_actor, 'execution.fee', jsonb_build_object(
            'execution_id', p_fill.execution_id, 'order_id', p_fill.order_id,
            'exec_id', p_fill.exec_base, 'fee', p_fee, 'fee_currency', p_fee_currency
        )
    );
    RETURN 'applied';
END
$$;
