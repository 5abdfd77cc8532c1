"""What is on the wire: strict strings in, strict strings out."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from app.models.dto import TradingState, moment_text, number_text
from app.models.dto_orders import PlaceOrder
from app.models.series import Quotes

ORDER: dict[str, Any] = {
    "account_id": "1",
    "symbol": "AAPL",
    "side": "buy",
    "order_type": "limit",
    "quantity": "10",
    "limit_price": "20.5",
    "time_in_force": "day",
}
NOT_A_NUMBER: list[Any] = [
    10,
    10.5,
    True,
    None,
    "",
    " 10",
    "10 ",
    "10\n",
    "+10",
    "-10",
    "01",
    ".5",
    "5.",
    "1_0",
    "1e3",
    "0x10",
    "NaN",
    "Infinity",
    "١٢",
    "1.123456789",
    "1000000000000",
    "0",
    "0.00000000",
    "1,000",
    "1\x00",
    "9" * 10_000,
    ["10"],
    {"value": "10"},
]


@pytest.mark.parametrize("value", NOT_A_NUMBER, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("field", ["quantity", "limit_price"])
def test_a_number_is_a_positive_string_of_the_strict_pattern(field: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        PlaceOrder.model_validate({**ORDER, field: value})


@pytest.mark.parametrize("value", ["10", "0.00000001", "999999999999.99999999", "1.10"])
def test_a_number_keeps_every_digit(value: str) -> None:
    assert PlaceOrder.model_validate({**ORDER, "quantity": value}).quantity == Decimal(value)


@pytest.mark.parametrize(
    "change",
    [
        {"account_id": 1},
        {"account_id": "0"},
        {"account_id": "-1"},
        {"account_id": "1\n"},
        {"account_id": "9" * 19},
        {"symbol": "aapl"},
        {"symbol": "A" * 17},
        {"symbol": "AAPL\x00"},
        {"symbol": "AAPL\n"},
        {"side": "BUY"},
        {"side": "hold"},
        {"order_type": "iceberg"},
        {"time_in_force": None},
        {"client_order_id": "x"},
        {"QUANTITY": "1"},
        {"strategy_id": 1},
    ],
)
def test_another_type_value_or_field_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PlaceOrder.model_validate({**ORDER, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"limit_price": None},
        {"order_type": "market"},
        {"order_type": "stop_limit"},
        {"stop_price": "19"},
        {"order_type": "stop", "limit_price": None},
        {"time_in_force": "gtd"},
        {"expires_at": "2030-01-01T00:00:00Z"},
    ],
)
def test_the_fields_fit_the_kind_of_order(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PlaceOrder.model_validate({**ORDER, **change})


@pytest.mark.parametrize(
    "value",
    [
        "2030-01-01",
        "2030-01-01T00:00:00",
        "2030-13-01T00:00:00Z",
        "2030-02-30T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        1893456000,
        "2030-01-01 00:00:00Z",
    ],
)
def test_a_moment_has_a_date_seconds_and_an_offset(value: Any) -> None:
    with pytest.raises(ValidationError):
        PlaceOrder.model_validate({**ORDER, "time_in_force": "gtd", "expires_at": value})


def test_a_moment_is_taken_in_utc() -> None:
    order = PlaceOrder.model_validate(
        {**ORDER, "time_in_force": "gtd", "expires_at": "2030-01-01T02:00:00.5+02:00"}
    )
    assert order.expires_at == datetime(2030, 1, 1, microsecond=500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("10", "10"),
        ("0", "0"),
        ("0E-8", "0"),
        ("1E+3", "1000"),
        ("100", "100"),
        ("20.500000000", "20.5"),
        ("1.000000005", "1"),
        ("1.000000015", "1.00000002"),
        ("-2.5", "-2.5"),
        ("123456789012345678901234567890.123456789", "123456789012345678901234567890.12345679"),
    ],
)
def test_a_number_goes_out_without_exponent_or_idle_zeros(value: str, text: str) -> None:
    assert number_text(Decimal(value)) == text


def test_a_moment_goes_out_in_utc_with_z() -> None:
    moment = datetime(2030, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert moment_text(moment) == "2030-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    "scope",
    [
        {"scope": "global", "scope_id": "1", "reason": "x"},
        {"scope": "account", "reason": "x"},
        {"scope": "account", "scope_id": "0", "reason": "x"},
        {"scope": "account", "scope_id": "1", "reason": ""},
        {"scope": "account", "scope_id": "1", "reason": "a\x00b"},
        {"scope": "account", "scope_id": "1", "reason": "x" * 201},
        {"scope": "desk", "scope_id": "1", "reason": "x"},
    ],
)
def test_a_switch_names_its_scope_and_its_reason(scope: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TradingState.model_validate(scope)


def test_a_quote_keeps_its_price_as_text() -> None:
    quote = {"symbol": "AAPL", "price": "20.50", "at": "2026-11-23T10:00:00Z"}
    batch = Quotes.model_validate({"quotes": [quote]})
    assert batch.quotes[0].price == "20.5"
