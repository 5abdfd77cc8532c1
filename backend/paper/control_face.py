"""The face for tests and demos: what is at the venue, prices to hold, faults to switch on."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, StringConstraints

from paper.engine import Engine
from paper.faults import Fault, Faults
from paper.orders import Event, Order
from paper.venue import Venue

Json = dict[str, Any]


class HeldPrice(BaseModel):
    """The price at which an instrument is held."""

    model_config = ConfigDict(extra="forbid")

    price: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,6}(\.[0-9]{1,2})?$")]


def create_control_face(venue: Venue, engine: Engine, faults: Faults) -> FastAPI:
    """Serve /healthz and /paper/v1/*."""
    app = FastAPI(title="Paper venue, control")
    _add_reads(app, venue, engine)
    _add_switches(app, venue, faults)
    return app


def _add_reads(app: FastAPI, venue: Venue, engine: Engine) -> None:
    @app.get("/healthz")
    def healthz() -> Json:
        if engine.failed.is_set():
            raise HTTPException(503, "the engine stopped")
        return {"status": "ok"}

    @app.get("/paper/v1/orders")
    def orders() -> list[Json]:
        with venue.lock:
            return [_order(order, engine) for order in venue.orders()]

    @app.get("/paper/v1/orders/{client_order_id}")
    def orders_of(client_order_id: str) -> list[Json]:
        with venue.lock:
            found = [order for order in venue.orders() if order.tag == client_order_id]
            return [_order(order, engine) for order in found]

    @app.get("/paper/v1/executions")
    def executions() -> list[Json]:
        with venue.lock:
            return [fill for order in venue.orders() for fill in _fills(order, engine)]

    @app.get("/paper/v1/accounts")
    def accounts() -> list[Json]:
        with venue.lock:
            return [
                {
                    "project_id": project_id,
                    "cash": str(account.cash),
                    "positions": {s: str(p.quantity) for s, p in account.positions.items()},
                }
                for project_id, account in venue.book.accounts.items()
            ]

    @app.get("/paper/v1/quotes")
    def quotes() -> list[Json]:
        with venue.lock:
            return [
                {
                    "symbol": symbol,
                    "price": str(venue.book.prices[symbol]),
                    "at": venue.ticked_at.isoformat(),
                    "original_date": tick.date,
                    "session": tick.session,
                    "reset": tick.reset,
                    "held": symbol in venue.book.held,
                }
                for symbol, tick in venue.ticks.items()
            ]


def _add_switches(app: FastAPI, venue: Venue, faults: Faults) -> None:
    def known(symbol: str) -> str:
        if symbol not in venue.ticks:
            raise HTTPException(404, "no such instrument; GET /paper/v1/quotes lists them")
        return symbol

    @app.post("/paper/v1/market/{symbol}")
    def hold(symbol: str, held: HeldPrice) -> Json:
        venue.hold(known(symbol), Decimal(held.price))
        return {"symbol": symbol, "price": held.price}

    @app.delete("/paper/v1/market/{symbol}", status_code=204)
    def release(symbol: str) -> None:
        venue.hold(known(symbol), None)

    @app.get("/paper/v1/faults")
    def waiting() -> list[Fault]:
        return faults.waiting()

    @app.post("/paper/v1/faults", status_code=201)
    def add(fault: Fault) -> Fault:
        if not faults.add(fault):
            raise HTTPException(409, "too many faults wait; DELETE /paper/v1/faults clears them")
        return fault

    @app.delete("/paper/v1/faults", status_code=204)
    def clear() -> None:
        faults.clear()


def _order(order: Order, engine: Engine) -> Json:
    return {
        "client_order_id": order.tag,
        "project_id": order.project_id,
        "broker_order_id": str(order.order_id),
        "symbol": order.symbol,
        "side": order.side,
        "quantity": str(order.quantity),
        "order_type": order.order_type,
        "limit_price": None if order.limit_price is None else str(order.limit_price),
        "stop_price": None if order.stop_price is None else str(order.stop_price),
        "time_in_force": order.time_in_force,
        "expires_at": None if order.expires_at is None else order.expires_at.isoformat(),
        "status": order.status,
        "reason": order.events[-1].message if order.events else "",
        "cum_quantity": str(order.filled),
        "fees": str(order.fees),
        "placed_at": order.at.isoformat(),
        "executions": _fills(order, engine),
    }


def _fills(order: Order, engine: Engine) -> list[Json]:
    named = engine.launches.deploy_id_at
    fills = [event for event in order.events if event.quantity]
    return [_fill(order, event, named(order.project_id, event.at)) for event in fills]


def _fill(order: Order, event: Event, prefix: str) -> Json:
    return {
        "exec_id": f"{prefix}-{order.order_id}-{event.event_id}",
        "client_order_id": order.tag,
        "project_id": order.project_id,
        "symbol": order.symbol,
        "side": order.side,
        "quantity": str(event.quantity),
        "price": str(event.price),
        "fee": str(event.fee),
        "fee_currency": "USD",
        "executed_at": event.at.isoformat(),
    }
