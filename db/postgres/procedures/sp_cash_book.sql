-- sp_cash_book(actor, account, currency, amount, kind, reference, request id)
--             -> whether it was booked now
-- Cash that no execution moved, so neither gain nor loss of the day: in another currency than the
-- account's it counts there at the rate of the day, and without one not at all. One movement of a
-- kind and reference is booked once: the same again is FALSE, another amount under it IN422
-- idempotency_key_reused.
-- IN404 account_not_found; IN422 amount_invalid, kind_invalid, currency_invalid, reference_invalid.
-- Called by app_migrate, sp_admin_cash.

CREATE OR REPLACE FUNCTION app.sp_cash_book(
    p_actor text, p_account_id bigint, p_currency text, p_amount numeric, p_kind text,
    p_reference text, p_request_id text DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_account app.accounts;
    v_booked numeric;
    v_day date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    v_rate numeric;
BEGIN
    PERFORM app.sp_require_number(abs(p_amount), 'amount');
    PERFORM app.sp_require_text(p_kind, '^(opening|deposit|withdrawal)$', 'kind');
    PERFORM app.sp_require_text(p_currency, '^[A-Z]{3}$', 'currency');
    PERFORM app.sp_require_text(p_reference, '^.{1,100}$', 'reference');
    IF (p_kind = 'withdrawal') <> (p_amount < 0) THEN
        RAISE EXCEPTION 'a withdrawal is negative, everything else is not'
            USING ERRCODE = 'IN422', DETAIL = 'amount_invalid';
    END IF;

    v_account := app.sp_lock_account(p_account_id);
    SELECT m.amount INTO v_booked FROM app.cash_movements AS m
    WHERE m.account_id = p_account_id AND m.currency = p_currency
      AND m.kind = p_kind AND m.reference = p_reference;
    IF FOUND AND v_booked <> p_amount THEN
        RAISE EXCEPTION 'this reference was booked with another amount'
            USING ERRCODE = 'IN422', DETAIL = 'idempotency_key_reused';
    ELSIF FOUND THEN
        RETURN FALSE;
    END IF;

    INSERT INTO app.cash_movements (account_id, currency, amount, kind, reference)
    VALUES (p_account_id, p_currency, p_amount, p_kind, p_reference);
    INSERT INTO app.cash_balances AS b (account_id, currency, amount)
    VALUES (p_account_id, p_currency, p_amount)
    ON CONFLICT (account_id, currency) DO UPDATE SET amount = b.amount + excluded.amount;
    SELECT r.rate INTO v_rate FROM app.sp_fx_rate(p_currency, v_account.currency, v_day) AS r;
    IF v_rate IS NOT NULL THEN
        INSERT INTO app.day_equity AS d (account_id, day, equity)
        VALUES (p_account_id, v_day, p_amount * v_rate)
        ON CONFLICT (account_id) DO UPDATE SET equity = d.equity + excluded.equity;
    END IF;
    PERFORM app.sp_audit_append(
        p_account_id, p_actor, 'cash.book', jsonb_strip_nulls(jsonb_build_object(
            'currency', p_currency, 'amount', p_amount::text, 'kind', p_kind,
            'reference', p_reference, 'request_id', p_request_id
        ))
    );
    RETURN TRUE;
END
$$;
