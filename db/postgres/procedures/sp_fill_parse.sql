-- sp_fill_parse(fill) -> exec_id, exec_revision, quantity, price, fee, fee_currency, executed_at
-- Reads an execution {exec_id, exec_revision?, quantity, price, fee?, fee_currency?, executed_at};
-- exec_id is null when it cannot be read. No fee means that it is not reported yet.
-- Internal: sp_book_execution. Test: test_sp_events.py

CREATE OR REPLACE FUNCTION app.sp_fill_parse(
    p_fill jsonb,
    p_currency text,
    OUT exec_id text,
    OUT exec_revision integer,
    OUT quantity numeric,
    OUT price numeric,
    OUT fee numeric,
    OUT fee_currency text,
    OUT executed_at timestamptz
)
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    quantity := app.sp_wire_number(p_fill ->> 'quantity');
    price := app.sp_wire_number(p_fill ->> 'price');
    fee := app.sp_wire_number(p_fill ->> 'fee');
    executed_at := app.sp_wire_time(p_fill ->> 'executed_at');
    IF fee IS NOT NULL THEN
        fee_currency := coalesce(p_fill ->> 'fee_currency', p_currency);
    END IF;
    IF (
        p_fill ->> 'exec_id' ~ '^.{1,200}$'
        AND coalesce(p_fill ->> 'exec_revision', '0') ~ '^[0-9]{1,9}$'
        AND quantity > 0 AND scale(quantity) <= 8 AND price > 0
        AND (fee IS NULL) = (p_fill ->> 'fee' IS NULL)
        AND coalesce(p_fill ->> 'fee_currency', 'USD') ~ '^[A-Z]{3}$'
        AND executed_at IS NOT NULL
    ) IS TRUE THEN
        exec_id := p_fill ->> 'exec_id';
        exec_revision := coalesce(p_fill ->> 'exec_revision', '0')::integer;
    END IF;
END
$$;
