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
# The same without zero, for descriptions.
POSITIVE_PATTERN = (
    r"^([1-9][0-9]{0,11}(\.[0-9]{1,8})?|0\.("
    + "|".join(f"0{{{zeros}}}[1-9][0-9]{{0,{7 - zeros}}}" for zeros in range(8))
    + "))$"
)
ID_PATTERN = r"^[1-9][0-9]{0,17}$"
CLIENT_ORDER_ID_PATTERN = r"^[A-Za-z0-9_-]{1,36}$"
SYMBOL_PATTERN = r"^[A-Z][A-Z0-9.]{0,15}$"
USER_ID_PATTERN = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})$"
# For descriptions: neither the year 0 nor leap seconds nor offsets of a day.
MOMENT_PATTERN = (
    r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?"
    r"(Z|[+-][01][0-9]:[0-5][0-9])$"
)
TEXT_PATTERN = r"^[^\x00-\x1f\x7f]+$"
PRICE_STEP = Decimal("0.00000001")
WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)

NUMBER = re.compile(NUMBER_PATTERN, re.ASCII)
ID = re.compile(ID_PATTERN, re.ASCII)
USER_ID = re.compile(USER_ID_PATTERN)
TIME = re.compile(TIME_PATTERN, re.ASCII)


def checked_number(value: object, *, positive: bool) -> str:
    """Take a number as a string only: a JSON number has been through a float somewhere."""
    if not isinstance(value, str):
        raise PydanticCustomError("number_string", "Send the number as a JSON string")
    if not NUMBER.fullmatch(value):
        raise PydanticCustomError(
            "number_pattern", "Below 10^12, at most 8 decimals, no sign or exponent"
        )
    if positive and not value.strip("0."):
        raise PydanticCustomError("number_positive", "Must be greater than zero")
    return value


def _number(value: object) -> Decimal:
    return Decimal(checked_number(value, positive=True))


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


def schema_of(pattern: str, example: str) -> WithJsonSchema:
    """Describe a string by its pattern."""
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


PositiveNumber = Annotated[Decimal, BeforeValidator(_number), schema_of(POSITIVE_PATTERN, "10")]
Identifier = Annotated[int, BeforeValidator(_identifier), schema_of(ID_PATTERN, "1")]
UserId = Annotated[
    UUID,
    BeforeValidator(_user_id),
    schema_of(USER_ID_PATTERN, "00000000-0000-4000-8000-000000000000"),
]
MOMENT_SCHEMA = WithJsonSchema(
    {
        "type": "string",
        "format": "date-time",
        "pattern": MOMENT_PATTERN,
        "examples": ["2030-01-31T21:00:00Z"],
    }
)
Moment = Annotated[datetime, BeforeValidator(_moment), MOMENT_SCHEMA]
MomentText = Annotated[str, AfterValidator(_checked_moment), MOMENT_SCHEMA]
Symbol = Annotated[str, StringConstraints(pattern=SYMBOL_PATTERN)]
Text = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=200)]


class Inbound(BaseModel):
    """Nothing is guessed: unknown fields and other types are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Outbound(BaseModel):
    """What we answer."""

    model_config = ConfigDict(frozen=True)


class TradingState(Inbound):
    """Where trading changes, and why. The global scope has the id 0 or none."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"scope": {"const": "global"}, "scope_id": {"enum": ["0", None]}}},
                {
                    "properties": {
                        "scope": {"enum": ["account", "strategy"]},
                        "scope_id": {"type": "string", "pattern": ID_PATTERN},
                    },
                    "required": ["scope_id"],
                },
            ],
            "examples": [{"scope": "account", "scope_id": "1", "reason": "drill"}],
        }
    )

    scope: Literal["global", "account", "strategy"]
    scope_id: Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,17})$")] | None = None
    reason: Text

    @model_validator(mode="after")
    def _id_fits_the_scope(self) -> Self:
        if (self.scope == "global") != (self.scope_id in (None, "0")):
            raise PydanticCustomError("scope_id_invalid", "Only the global scope goes without id")
        return self


class TradingHalt(TradingState):
    """A halt, which may cancel what is open as well."""

    cancel_open: bool = False


class TradingStateSet(Outbound):
    """The state of a scope after the change."""

    scope: str
    scope_id: str
    state: str


class Quote(Inbound):
    """One price of one instrument; `reset` marks the start of a new replayed session."""

    symbol: Symbol
    price: Annotated[
        str,
        BeforeValidator(lambda value: number_text(_number(value))),
        schema_of(POSITIVE_PATTERN, "20.5"),
    ]
    at: MomentText
    reset: bool | None = None


class SessionKey(Inbound):
    """A session as the gate saw it: its handle, and whose it is."""

    handle: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
    user_id: UserId


class SessionKeys(Inbound):
    """Sessions to ask after."""

    # So many fit into 64 KiB, however long their handles are.
    sessions: Annotated[list[SessionKey], Field(max_length=250)]


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
