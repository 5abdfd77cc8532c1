"""Orders on the wire."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.models.dto import (
    CLIENT_ORDER_ID_PATTERN,
    Identifier,
    Inbound,
    Moment,
    Outbound,
    PositiveNumber,
    Symbol,
)


def _only(field: str, *, when: str, among: list[str], others: list[str]) -> dict[str, Any]:
    """Describe a field that is there for some values of another one, and only then."""
    return {
        "anyOf": [
            {
                "properties": {when: {"enum": among}, field: {"type": "string"}},
                "required": [field],
            },
            {"properties": {when: {"enum": others}, field: {"type": "null"}}},
        ]
    }


ORDER_SCHEMA: dict[str, Any] = {
    "allOf": [
        _only(
            "limit_price",
            when="order_type",
            among=["limit", "stop_limit"],
            others=["market", "stop"],
        ),
        _only(
            "stop_price",
            when="order_type",
            among=["stop", "stop_limit"],
            others=["market", "limit"],
        ),
        _only(
            "expires_at", when="time_in_force", among=["gtd"], others=["day", "gtc", "ioc", "fok"]
        ),
    ],
    "examples": [
        {
            "account_id": "1",
            "symbol": "AAPL",
            "side": "buy",
            "order_type": "limit",
            "quantity": "10",
            "limit_price": "20.5",
            "time_in_force": "day",
        }
    ],
}


class PlaceOrder(Inbound):
    """An order as a client asks for it."""

    model_config = ConfigDict(json_schema_extra=ORDER_SCHEMA)

    account_id: Identifier
    symbol: Symbol
    side: Literal["buy", "sell"]
    order_type: Literal["market", "limit", "stop", "stop_limit"]
    quantity: PositiveNumber
    limit_price: PositiveNumber | None = None
    stop_price: PositiveNumber | None = None
    time_in_force: Literal["day", "gtc", "gtd", "ioc", "fok"]
    expires_at: Moment | None = None
    strategy_id: Identifier | None = None

    @model_validator(mode="after")
    def _fields_fit_the_type(self) -> Self:
        self._present_when("limit_price", self.order_type in ("limit", "stop_limit"))
        self._present_when("stop_price", self.order_type in ("stop", "stop_limit"))
        self._present_when("expires_at", self.time_in_force == "gtd")
        return self

    def _present_when(self, field: str, wanted: bool) -> None:
        if (getattr(self, field) is not None) != wanted:
            kind = f"{field}_{'missing' if wanted else 'unexpected'}"
            raise PydanticCustomError(kind, "This field does not fit the kind of order")


class BatchItem(PlaceOrder):
    """One order of a batch, under the id that the client minted for it."""

    model_config = ConfigDict(
        json_schema_extra={
            **ORDER_SCHEMA,
            "examples": [{**ORDER_SCHEMA["examples"][0], "client_order_id": "2026-06-01-a"}],
        }
    )

    client_order_id: Annotated[str, StringConstraints(pattern=CLIENT_ORDER_ID_PATTERN)]


class PlaceOrders(Inbound):
    """Orders that are placed together; each sees the risk of those before it."""

    orders: Annotated[list[BatchItem], Field(min_length=1, max_length=500)]


class ReplaceOrder(Inbound):
    """What is to change; the quantity is the order's new total."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {name: {"type": "string"}}, "required": [name]}
                for name in ("quantity", "limit_price", "stop_price")
            ],
            "examples": [{"quantity": "7", "limit_price": "20.25"}],
        }
    )

    quantity: PositiveNumber | None = None
    limit_price: PositiveNumber | None = None
    stop_price: PositiveNumber | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.quantity is None and self.limit_price is None and self.stop_price is None:
            raise PydanticCustomError("replace_empty", "Name at least one change")
        return self


class CancelAll(Inbound):
    """The account whose open orders are to go."""

    account_id: Identifier


class Canceled(Outbound):
    """How many orders are canceled now, or are owed a cancel."""

    account_id: str
    canceled: int


class Order(Outbound):
    """An order in its current state."""

    order_id: str
    client_order_id: str
    account_id: str
    status: str
    reason_code: str | None
    cum_quantity: str
    average_price: str | None
    replayed: bool
    created_at: str
    updated_at: str
    quantity_max: str | None = Field(
        default=None, description="Of an order denied for its size: the size that would have passed"
    )


class Orders(Outbound):
    """One order an item, in the order given."""

    orders: list[Order]


class LimitUse(Outbound):
    """How much of a limit the order would use; of the price collar, both are fractions."""

    name: Literal["order_quantity", "order_notional", "price_collar"]
    used: str
    limit: str


class Preview(Outbound):
    """What an order would do if it were placed now, and filled in full."""

    would: Literal["accept", "deny"]
    reason_code: str | None
    quantity_max: str | None
    account_id: str
    symbol: str
    currency: str
    notional: str | None
    estimated_fee: str | None
    fee_is_estimate: Literal[True] = True
    mark_price: str | None
    mark_age_s: float | None
    position_before: str
    position_after: str
    cash_before: str
    cash_after: str | None
    limits: list[LimitUse]
    warnings: list[str]
