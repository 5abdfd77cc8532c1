-- When the bound of what open orders bind is forgotten. Run once, as app_owner, by 20260109_init.

-- An order that comes to bind more than it was placed with is not in the bound of its stream, which
-- is counted anew by the next order that asks. (One placed elsewhere: sp_external_order.)
CREATE FUNCTION app.forget_open_bound() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE app.streams SET open_bound = NULL
    WHERE stream_id = NEW.account_id AND open_bound IS NOT NULL;
    RETURN NULL;
END
$$;

-- A function of both rows, since the text of a condition is read anew by every statement.
CREATE FUNCTION app.order_binds_more(o app.orders, n app.orders) RETURNS boolean
LANGUAGE plpgsql
IMMUTABLE
AS $$
BEGIN
    RETURN n.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired') AND (
        o.status IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
        OR greatest(n.quantity, n.pending_quantity) - n.cum_quantity
        > greatest(o.quantity, o.pending_quantity) - o.cum_quantity
        OR greatest(n.limit_price, n.pending_limit_price)
        > greatest(o.limit_price, o.pending_limit_price)
        OR greatest(n.stop_price, n.pending_stop_price)
        > greatest(o.stop_price, o.pending_stop_price)
    );
END
$$;

CREATE TRIGGER orders_binding_more AFTER UPDATE ON app.orders
FOR EACH ROW WHEN (app.order_binds_more(OLD, NEW)) EXECUTE FUNCTION app.forget_open_bound();
