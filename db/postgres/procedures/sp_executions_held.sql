-- sp_executions_held(accounts, instrument) -> the executions that hold, as they are counted
-- Neither corrected by another nor busted; `place` is when each was first recorded, whatever
-- corrected it since: the order in which they are folded. A null instrument means all.
-- Internal: sp_book_refold, sp_integrity_find. Test: test_sp_corrections.py

CREATE OR REPLACE FUNCTION app.sp_executions_held(p_account_ids bigint [], p_instrument_id integer)
RETURNS TABLE (
    place bigint,
    order_id bigint,
    account_id bigint,
    instrument_id integer,
    side text,
    quantity numeric,
    price numeric,
    multiplier numeric,
    currency text,
    fee numeric,
    fee_currency text
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        x.place, x.order_id, x.account_id, x.instrument_id, x.side, x.quantity, x.price,
        i.multiplier, x.currency, x.fee, x.fee_currency
    FROM (
        SELECT
            e.*,
            min(e.execution_id) OVER report AS place,
            row_number() OVER (report ORDER BY e.exec_revision DESC, e.fee_revision DESC) AS age
        FROM app.executions AS e
        WHERE e.account_id = ANY (p_account_ids)
            AND (p_instrument_id IS NULL OR e.instrument_id = p_instrument_id)
        WINDOW report AS (PARTITION BY e.account_id, e.source, e.exec_base)
    ) AS x
    JOIN app.instruments AS i ON i.instrument_id = x.instrument_id
    WHERE x.age = 1 AND x.kind <> 'bust'
$$;
