-- sp_order_instrument(symbol, account, strategy, expiry) -> instrument
-- Looks up what a new order refers to. SQLSTATE IN422 instrument_not_found, expires_at_invalid;
-- IN404 strategy_not_found. Internal: sp_place_order, sp_preview_order. Test: test_sp_place_order

CREATE OR REPLACE FUNCTION app.sp_order_instrument(
    p_symbol text, p_account_id bigint, p_strategy_id bigint, p_expires_at timestamptz
)
RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    v_instrument_id integer;
BEGIN
    SELECT i.instrument_id INTO v_instrument_id
    FROM app.instruments AS i
    WHERE i.symbol = p_symbol;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no instrument of this symbol'
            USING ERRCODE = 'IN422', DETAIL = 'instrument_not_found';
    END IF;
    IF p_strategy_id IS NOT NULL THEN
        PERFORM FROM app.strategies AS s
        WHERE s.strategy_id = p_strategy_id AND s.account_id = p_account_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the account has no such strategy'
                USING ERRCODE = 'IN404', DETAIL = 'strategy_not_found';
        END IF;
    END IF;
    -- Not among the checks of form: a replay may come after the expiry.
    IF p_expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'the order would expire before it is placed'
            USING ERRCODE = 'IN422', DETAIL = 'expires_at_invalid';
    END IF;
    RETURN v_instrument_id;
END
$$;
