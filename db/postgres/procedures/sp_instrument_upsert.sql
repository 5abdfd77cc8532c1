-- sp_instrument_upsert(actor, symbol, name, currency, tick, lot, tradable, multiplier, request id)
--                    -> instrument id
-- An instrument is known by its symbol; its currency and its multiplier may not change, since what
-- was booked is counted in them. Repeating it changes nothing; audited on stream 0 when something
-- changed.
-- IN422 symbol_invalid, name_invalid, currency_invalid, tick_size_invalid, lot_size_invalid,
-- tradable_invalid, multiplier_invalid; IN409 currency_fixed, multiplier_fixed.
-- Called by app_migrate, sp_admin_instrument.

CREATE OR REPLACE FUNCTION app.sp_instrument_upsert(
    p_actor text, p_symbol text, p_name text, p_currency text, p_tick_size numeric,
    p_lot_size numeric, p_tradable boolean, p_multiplier numeric DEFAULT 1,
    p_request_id text DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before app.instruments;
    v_instrument_id integer;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_number(p_tick_size, 'tick_size');
    PERFORM app.sp_require_number(p_lot_size, 'lot_size');
    PERFORM app.sp_require_number(p_multiplier, 'multiplier');
    PERFORM app.sp_require_text(p_symbol, '^[A-Z][A-Z0-9.]{0,15}$', 'symbol');
    PERFORM app.sp_require_text(p_name, '^.{1,200}$', 'name');
    PERFORM app.sp_require_text(p_currency, '^[A-Z]{3}$', 'currency');
    PERFORM app.sp_require_text(p_tradable::text, '^', 'tradable');

    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    SELECT * INTO v_before FROM app.instruments AS i WHERE i.symbol = p_symbol;
    IF (
        v_before.name, v_before.currency, v_before.tick_size, v_before.lot_size,
        v_before.tradable, v_before.multiplier
    ) IS NOT DISTINCT FROM (
        p_name, p_currency, p_tick_size, p_lot_size, p_tradable, p_multiplier
    ) THEN
        RETURN v_before.instrument_id;
    END IF;

    IF v_before.currency <> p_currency THEN
        RAISE EXCEPTION 'instrument % keeps its currency', p_symbol
            USING ERRCODE = 'IN409', DETAIL = 'currency_fixed';
    ELSIF v_before.multiplier <> p_multiplier THEN
        RAISE EXCEPTION 'instrument % keeps its multiplier', p_symbol
            USING ERRCODE = 'IN409', DETAIL = 'multiplier_fixed';
    END IF;
    IF v_before.instrument_id IS NULL THEN
        INSERT INTO app.instruments (
            symbol, name, currency, tick_size, lot_size, multiplier, tradable
        )
        VALUES (
            p_symbol, p_name, p_currency, p_tick_size, p_lot_size, p_multiplier, p_tradable
        )
        RETURNING instrument_id INTO v_instrument_id;
    ELSE
        v_instrument_id := v_before.instrument_id;
        UPDATE app.instruments
        SET name = p_name, tick_size = p_tick_size,
            lot_size = p_lot_size, tradable = p_tradable
        WHERE instrument_id = v_instrument_id;
    END IF;
    PERFORM app.sp_audit_append(
        0, p_actor, 'instrument.set', jsonb_strip_nulls(jsonb_build_object(
            'instrument_id', v_instrument_id,
            'symbol', p_symbol,
            'name', p_name,
            'currency', p_currency,
            'tick_size', p_tick_size::text,
            'lot_size', p_lot_size::text,
            'multiplier', p_multiplier::text,
            'tradable', p_tradable,
            'request_id', p_request_id
        ))
    );
    RETURN v_instrument_id;
END
$$;
