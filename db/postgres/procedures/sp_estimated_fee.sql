-- sp_estimated_fee(quantity, notional) -> what an order of this size may cost in commission
-- The schedule of Interactive Brokers' fixed plan, which the paper venue charges: 0.005 a share, at
-- least 1.00, at most 1 % of the value. An estimate: what counts is the fee of the executions.
-- Internal: sp_preview_order. Test: test_sp_preview_order.py

CREATE OR REPLACE FUNCTION app.sp_estimated_fee(p_quantity numeric, p_notional numeric)
RETURNS numeric
LANGUAGE sql
IMMUTABLE
STRICT
AS $$ SELECT round(least(greatest(1.00, p_quantity * 0.005), p_notional * 0.01), 2) $$;
