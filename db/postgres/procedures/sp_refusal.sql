-- sp_refusal(code) -> SQLSTATE, message
-- What a refusal of this code is raised with; the code itself is its DETAIL. Internal: sp_refuse,
-- sp_place_batch. Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_refusal(p_code text, OUT sqlstate text, OUT message text)
LANGUAGE plpgsql
IMMUTABLE
AS $$
BEGIN
    sqlstate := CASE
        WHEN p_code IN (
            'user_unknown', 'user_disabled', 'session_revoked', 'service_token_invalid',
            'service_token_revoked', 'service_token_expired'
        ) THEN 'IN401'
        WHEN p_code IN ('role_not_allowed', 'not_allowed_to_trade', 'scope_not_allowed')
            THEN 'IN403'
        WHEN p_code IN ('account_not_found', 'strategy_not_found', 'order_not_found') THEN 'IN404'
        WHEN p_code IN (
            'order_not_cancelable', 'order_not_replaceable', 'quantity_below_filled'
        ) THEN 'IN409'
        ELSE 'IN422'
    END;
    message := CASE p_code
        WHEN 'user_unknown' THEN 'this user is not known'
        WHEN 'user_disabled' THEN 'this user is disabled'
        WHEN 'session_revoked' THEN 'this session is over'
        WHEN 'service_token_invalid' THEN 'there is no such service token'
        WHEN 'service_token_revoked' THEN 'this service token was revoked'
        WHEN 'service_token_expired' THEN 'this service token has expired'
        WHEN 'scope_not_allowed' THEN 'the scopes of this service token do not allow it'
        WHEN 'role_not_allowed' THEN 'this role may not trade'
        WHEN 'not_allowed_to_trade'
            THEN 'this member may look at the account but not trade on it'
        WHEN 'account_not_found' THEN 'there is no such account'
        WHEN 'strategy_not_found' THEN 'the account has no such strategy'
        WHEN 'order_not_found' THEN 'there is no such order'
        WHEN 'order_not_cancelable' THEN 'the order cannot be canceled any more'
        WHEN 'order_not_replaceable' THEN 'the order cannot be changed in this state'
        WHEN 'quantity_below_filled' THEN 'more than that has been executed'
        WHEN 'replace_empty' THEN 'nothing would change'
        WHEN 'instrument_not_found' THEN 'there is no instrument of this symbol'
        WHEN 'quantity_invalid' THEN
            'quantity is not a number above 0, below 10^12, with at most 8 decimals'
        WHEN 'price_invalid' THEN 'a price is missing, malformed or one too many for this type'
        WHEN 'expires_at_invalid'
            THEN 'orders of time in force gtd, and only they, expire at a time to come'
        WHEN 'idempotency_key_reused' THEN 'this key was used for another request'
        ELSE regexp_replace(p_code, '_invalid$', '') || ' is missing or malformed'
    END;
END
$$;
