-- sp_book_refold(account, instrument) -> nothing
-- Makes a position anew from the executions that hold, in the order in which each was first
-- recorded: what a correction or a bust changed, changes everything that was closed after it.
-- Internal: sp_book_change. Test: test_sp_corrections.py

CREATE OR REPLACE FUNCTION app.sp_book_refold(p_account_id bigint, p_instrument_id integer)
RETURNS void
LANGUAGE sql
AS $$
    UPDATE app.positions AS p
    SET
        quantity = (f.after).quantity,
        cost = (f.after).cost,
        realized_pnl = (f.after).realized_pnl,
        fees = (f.after).fees,
        updated_at = clock_timestamp()
    FROM (
        SELECT app.sp_book_fold_all(
            x.side, x.quantity, x.price, x.multiplier,
            CASE WHEN x.fee_currency = x.currency THEN x.fee END
            ORDER BY x.place
        ) AS after
        FROM app.sp_executions_held(ARRAY[p_account_id], p_instrument_id) AS x
    ) AS f
    WHERE p.account_id = p_account_id AND p.instrument_id = p_instrument_id
$$;
