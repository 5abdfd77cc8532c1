"""Master data on the wire: what administrators set, and what they are shown."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from app.models.dto import (
    POSITIVE_PATTERN,
    Identifier,
    Inbound,
    Outbound,
    PositiveNumber,
    Symbol,
    Text,
    UserId,
    moment_text,
    number_text,
    schema_of,
)

COUNT_PATTERN = r"^[1-9][0-9]{0,8}$"
LINES_MAX = 2000

Item = TypeVar("Item")
Name = Annotated[Text, StringConstraints(max_length=100)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Route = Literal["quantconnect", "ib"]
BrokerAccount = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def _count(value: object) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdecimal():
        raise PydanticCustomError("count_pattern", "Send the count as a JSON string of digits")
    if len(value) > 9 or value.startswith("0"):
        raise PydanticCustomError("count_pattern", "From 1 to 999999999, without leading zeros")
    return int(value)


# The procedure checks the bounds; these describe them.
Fraction = Annotated[
    PositiveNumber,
    schema_of(POSITIVE_PATTERN.replace("[1-9][0-9]{0,11}(\\.[0-9]{1,8})?|", ""), "0.1"),
]
Leverage = Annotated[
    PositiveNumber, schema_of(r"^([1-9][0-9]?(\.[0-9]{1,8})?|100(\.0{1,8})?)$", "2")
]
Count = Annotated[int, BeforeValidator(_count), schema_of(COUNT_PATTERN, "600")]


class AccountSet(Inbound):
    """An account, known by its route and what the route calls it."""

    name: Name
    currency: Currency = "USD"
    route: Route
    broker_account: BrokerAccount
    paper: bool = True
    broker: Annotated[Text, StringConstraints(max_length=64)] | None = None


class InstrumentSet(Inbound):
    """An instrument, known by its symbol."""

    symbol: Symbol
    name: Text
    currency: Currency = "USD"
    tick_size: PositiveNumber
    lot_size: PositiveNumber
    tradable: bool = True
    multiplier: PositiveNumber = Decimal(1)


class StrategySet(Inbound):
    """A strategy, known by its account and name."""

    account_id: Identifier
    name: Name


class MemberSet(Inbound):
    """What a user may do in an account; null ends the membership."""

    account_id: Identifier
    user_id: UserId
    can_trade: bool | None


class LimitsSet(Inbound):
    """The limits of an account; what is left out is unchanged, and at first the default if any."""

    account_id: Identifier
    order_quantity_max: PositiveNumber | None = None
    order_notional_max: PositiveNumber | None = None
    price_collar: Fraction | None = None
    position_quantity_max: PositiveNumber | None = None
    open_orders_max: Count | None = None
    orders_per_minute_max: Count | None = None
    daily_loss_max: PositiveNumber | None = None
    leverage_max: Leverage | None = None


class UserRateSet(Inbound):
    """How fast a user may place orders, over all accounts."""

    user_id: UserId
    orders_per_minute_max: Count


class AllowListSet(Inbound):
    """The instruments that an account may trade; an empty list allows all."""

    account_id: Identifier
    symbols: Annotated[list[Symbol], Field(max_length=500)]


class CashMovement(Inbound):
    """Cash that no execution moved; a withdrawal takes the amount away. Booked once a reference."""

    account_id: Identifier
    currency: Currency = "USD"
    amount: PositiveNumber
    kind: Literal["opening", "deposit", "withdrawal"]
    reference: Name


ImportKind = Literal["accounts", "instruments", "members", "limits"]
IMPORTS: dict[ImportKind, type[Inbound]] = {
    "accounts": AccountSet,
    "instruments": InstrumentSet,
    "members": MemberSet,
    "limits": LimitsSet,
}


class Import(Inbound):
    """Lines of one kind, each as the route of its kind takes it; all are written or none."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {
                    "properties": {
                        "kind": {"const": kind},
                        "lines": {"items": {"$ref": f"#/components/schemas/{it.__name__}"}},
                    }
                }
                for kind, it in IMPORTS.items()
            ]
        }
    )

    kind: ImportKind
    dry_run: bool = False
    lines: Annotated[list[dict[str, str | bool | None]], Field(min_length=1, max_length=LINES_MAX)]


class Imported(Outbound):
    """How many lines were written, or would be."""

    kind: str
    dry_run: bool
    lines: int


class AccountId(Outbound):
    """The account that was set."""

    account_id: str


class InstrumentId(Outbound):
    """The instrument that was set."""

    instrument_id: str


class StrategyId(Outbound):
    """The strategy that was set."""

    strategy_id: str


class CashBooked(Outbound):
    """Whether it was booked now, or had been before."""

    booked: bool


def _number_shown(value: Any) -> Any:
    return number_text(Decimal(value)) if isinstance(value, int | Decimal) else value


def moment_shown(value: Any) -> str:
    """Write a moment for the wire as Postgres wrote it into JSON."""
    return moment_text(datetime.fromisoformat(value))


IdShown = Annotated[str, BeforeValidator(str)]
NumberShown = Annotated[str, BeforeValidator(_number_shown)]
MomentShown = Annotated[str, BeforeValidator(moment_shown)]


class UserShown(Outbound):
    """A user as the tables know him."""

    user_id: str
    email: str
    role: str
    disabled: bool
    orders_per_minute_max: int


class AccountShown(Outbound):
    """An account."""

    account_id: IdShown
    name: str
    currency: str
    route: str
    broker_account: str
    paper: bool
    broker: str
    created_at: MomentShown


class InstrumentShown(Outbound):
    """An instrument."""

    symbol: str
    name: str
    currency: str
    tick_size: NumberShown
    lot_size: NumberShown
    multiplier: NumberShown
    tradable: bool


class StrategyShown(Outbound):
    """A strategy of an account."""

    strategy_id: IdShown
    account_id: IdShown
    name: str


class MemberShown(Outbound):
    """A user's place in an account."""

    account_id: IdShown
    user_id: str
    email: str
    role: str
    can_trade: bool


class LimitsShown(Outbound):
    """The limits of an account."""

    account_id: IdShown
    order_quantity_max: NumberShown
    order_notional_max: NumberShown
    price_collar: NumberShown
    position_quantity_max: NumberShown
    open_orders_max: NumberShown
    orders_per_minute_max: NumberShown
    daily_loss_max: NumberShown
    leverage_max: NumberShown
    updated_at: MomentShown


class AllowListShown(Outbound):
    """What an account may trade; an account that is not shown may trade everything."""

    account_id: IdShown
    symbols: list[str]


class CashShown(Outbound):
    """The cash of an account in one currency."""

    account_id: IdShown
    currency: str
    amount: NumberShown


class TradingStateShown(Outbound):
    """A switch that was used; what is not shown is active."""

    scope: str
    scope_id: IdShown
    state: str
    reason: str
    changed_by: str
    changed_at: MomentShown


class Page(Outbound, Generic[Item]):
    """Up to 500 rows; `next` is the offset of the rows that follow."""

    items: list[Item]
    next: str | None = None
