"""What is on the wire: strict strings in, strict strings out."""

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

NUMBER_PATTERN = r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,8})?$"
ID_PATTERN = r"^[1-9][0-9]{0,17}$"
CLIENT_ORDER_ID_PATTERN = r"^[A-Za-z0-9_-]{1,36}$"
SYMBOL_PATTERN = r"^[A-Z][A-Z0-9.]{0,15}$"
USER_ID_PATTERN = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})$"
TEXT_PATTERN = r"^[^\x00-\x1f\x7f]+$"
PRICE_STEP = Decimal("0.00000001")
WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)

NUMBER = re.compile(NUMBER_PATTERN, re.ASCII)
ID = re.compile(ID_PATTERN, re.ASCII)
USER_ID = re.compile(USER_ID_PATTERN)
TIME = re.compile(TIME_PATTERN, re.ASCII)


def _number(value: object) -> Decimal:
    """Take a number as a string only: a JSON number has been through a float somewhere."""
    if not isinstance(value, str):
        raise PydanticCustomError("number_string", "Send the number as a JSON string")
    if not NUMBER.fullmatch(value):
        raise PydanticCustomError(
            "number_pattern", "Below 10^12, at most 8 decimals, no sign or exponent"
        )
    number = Decimal(value)
    if number <= 0:
        raise PydanticCustomError("number_positive", "Must be greater than zero")
    return number


def _identifier(value: object) -> int:
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise PydanticCustomError("id_pattern", "Send the id as a JSON string of digits")
    return int(value)


def _user_id(value: object) -> UUID:
    if not isinstance(value, str) or not USER_ID.fullmatch(value):
        raise PydanticCustomError("user_id_pattern", "Send the id as it was given to you")
    return UUID(value)


def _moment(value: object) -> datetime:
    if not isinstance(value, str) or not TIME.fullmatch(value):
        raise PydanticCustomError("time_pattern", "Send ISO 8601 with seconds and an offset or Z")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError("time_invalid", "There is no such moment") from error


def _checked_moment(value: str) -> str:
    _moment(value)
    return value


def number_text(value: Decimal) -> str:
    """Write a number for the wire: at most 8 decimals, half-even, no exponent, no idle zeros."""
    text = format(value.quantize(PRICE_STEP, context=WIDE), "f").rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def moment_text(value: datetime) -> str:
    """Write a moment for the wire, in UTC with Z."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


PositiveNumber = Annotated[Decimal, BeforeValidator(_number), _schema(NUMBER_PATTERN, "10")]
Identifier = Annotated[int, BeforeValidator(_identifier), _schema(ID_PATTERN, "1")]
UserId = Annotated[
    UUID,
    BeforeValidator(_user_id),
    _schema(USER_ID_PATTERN, "00000000-0000-4000-8000-000000000000"),
]
Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
MomentText = Annotated[str, AfterValidator(_checked_moment)]
Symbol = Annotated[str, StringConstraints(pattern=SYMBOL_PATTERN)]
Text = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=200)]


class Inbound(BaseModel):
    """Nothing is guessed: unknown fields and other types are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Outbound(BaseModel):
    """What we answer."""

    model_config = ConfigDict(frozen=True)


class PlaceOrder(Inbound):
    """An order as a client asks for it."""

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


class TradingState(Inbound):
    """Where trading changes, and why. The global scope has the id 0 or none."""

    scope: Literal["global", "account", "strategy"]
    scope_id: Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,17})$")] | None = None
    reason: Text

    @model_validator(mode="after")
    def _id_fits_the_scope(self) -> Self:
        if (self.scope == "global") != (self.scope_id in (None, "0")):
            raise PydanticCustomError("scope_id_invalid", "Only the global scope goes without id")
        return self


class TradingStateSet(Outbound):
    """The state of a scope after the change."""

    scope: str
    scope_id: str
    state: str


class Quote(Inbound):
    """One price of one instrument; `reset` marks the start of a new replayed session."""

    symbol: Symbol
    price: Annotated[str, BeforeValidator(lambda value: number_text(_number(value)))]
    at: MomentText
    reset: bool | None = None


class Quotes(Inbound):
    """Prices of one source."""

    source: Literal["replay", "quantconnect", "ib"]
    quotes: Annotated[list[Quote], Field(min_length=1, max_length=500)]


class QuotesRecorded(Outbound):
    """How many prices named an instrument we know."""

    recorded: int


class SessionKey(Inbound):
    """A session as the gate saw it: its handle, and whose it is."""

    handle: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
    user_id: UserId


class SessionKeys(Inbound):
    """Sessions to ask after."""

    sessions: Annotated[list[SessionKey], Field(max_length=1000)]


class SessionState(Outbound):
    """Whether a session lives, and the role of its user now."""

    handle: str
    user_id: str
    active: bool
    role: str | None


class SessionStates(Outbound):
    """One state a session."""

    sessions: list[SessionState]


class ReadToken(Outbound):
    """Proves to the database who reads, for a few minutes."""

    token: str
    expires_at: str


class Session(Outbound):
    """Who is signed in, and until when this access token is good."""

    user_id: str
    email: str
    role: str
    session_handle: str
    expires_at: str


class Status(Outbound):
    """One word."""

    status: str


class Problem(Outbound):
    """RFC 9457; `code` is stable."""

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None
    instance: str | None = None
    errors: list[dict[str, Any]] | None = None


class Stored(Outbound):
    """The version a value has now; the ETag carries it too."""

    version: str
