-- What holds between the columns of an order and of an execution. Run once, as app_owner, by
-- 20260109_init.

-- Each as one function of the row, since the text of a CHECK is read anew by every statement that
-- writes the table. See docs/decisions/0011-words-by-domains.md
CREATE FUNCTION app.order_is_whole(o app.orders) RETURNS boolean
LANGUAGE plpgsql
IMMUTABLE
AS $$
BEGIN
    RETURN o.cum_quantity >= 0
        AND (o.cum_quantity <= o.quantity OR o.overfill)
        AND (o.created_by IS NULL) = (o.origin = 'external')
        AND (o.order_type IN ('limit', 'stop_limit')) = (o.limit_price IS NOT NULL)
        AND (o.order_type IN ('stop', 'stop_limit')) = (o.stop_price IS NOT NULL)
        AND (o.time_in_force = 'gtd') = (o.expires_at IS NOT NULL)
        AND (o.status IN ('denied', 'rejected')) <= (o.reason_code IS NOT NULL);
END
$$;

ALTER TABLE app.orders ADD CONSTRAINT orders_whole CHECK (app.order_is_whole(orders));

CREATE FUNCTION app.execution_is_whole(e app.executions) RETURNS boolean
LANGUAGE plpgsql
IMMUTABLE
AS $$
BEGIN
    RETURN e.exec_revision >= 0
        AND e.fee_revision >= 0
        AND e.kind IN ('trade', 'correction', 'bust')
        AND (e.kind = 'trade') = (e.corrects IS NULL)
        AND e.side IN ('buy', 'sell')
        AND e.quantity > 0 AND e.quantity < 1e12
        AND e.price > 0 AND e.price < 1e12
        AND (e.fee IS NULL) = (e.fee_currency IS NULL)
        AND (e.fee IS NULL OR (e.fee >= 0 AND e.fee < 1e12));
END
$$;

ALTER TABLE app.executions ADD CONSTRAINT executions_whole
CHECK (app.execution_is_whole(executions));
