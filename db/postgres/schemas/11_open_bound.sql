-- When the bound of what open orders bind is forgotten. Run once, as app_owner, by 20260109_init.

-- An order that comes to bind more than it was placed with, or was placed elsewhere, is not in the
-- bound of its stream, which is counted anew by the next order that asks.
CREATE FUNCTION app.forget_open_bound() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE app.streams SET open_bound = NULL
    WHERE stream_id = NEW.account_id AND open_bound IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER orders_found_elsewhere AFTER INSERT ON app.orders
FOR EACH ROW WHEN (NEW.origin = 'external') EXECUTE FUNCTION app.forget_open_bound();

CREATE TRIGGER orders_binding_more AFTER UPDATE ON app.orders
FOR EACH ROW WHEN (
    NEW.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired') AND (
        OLD.status IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
        OR greatest(NEW.quantity, NEW.pending_quantity) - NEW.cum_quantity
        > greatest(OLD.quantity, OLD.pending_quantity) - OLD.cum_quantity
        OR greatest(NEW.limit_price, NEW.pending_limit_price)
        > greatest(OLD.limit_price, OLD.pending_limit_price)
        OR greatest(NEW.stop_price, NEW.pending_stop_price)
        > greatest(OLD.stop_price, OLD.pending_stop_price)
    )
) EXECUTE FUNCTION app.forget_open_bound();
