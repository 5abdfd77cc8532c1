-- sp_fx_today(from, to) -> the latest rate, 1 for a currency in itself, null when there is none
-- Internal: sp_risk_facts, sp_risk_orders, sp_open_orders. Test: test_sp_risk_money.py

CREATE OR REPLACE FUNCTION app.sp_fx_today(p_from text, p_to text)
RETURNS numeric
LANGUAGE sql
STABLE
AS $$
    SELECT CASE
        WHEN p_from = p_to THEN 1
        ELSE (app.sp_fx_rate(p_from, p_to, (now() AT TIME ZONE 'UTC')::date)).rate
    END
$$;
