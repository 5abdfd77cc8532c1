"""POST /api/orders/preview: the verdict of the rules on the wire, and nothing written."""

import re
from decimal import Decimal
from typing import Any

import pytest
from api_world import MakePerson, Person, World, code, order

from app.models.dto import NUMBER_PATTERN

PATH = "/api/orders/preview"


async def test_an_order_that_passes_is_previewed_in_exact_strings(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    answer = await trader.client.post(PATH, json=order(account_id, quantity="1000"))
    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert 0 <= seen.pop("mark_age_s") < 30
    assert seen == {
        "would": "accept",
        "reason_code": None,
        "quantity_max": None,
        "account_id": str(account_id),
        "symbol": "AAPL",
        "currency": "USD",
        "notional": "20000",
        "estimated_fee": "5",
        "fee_is_estimate": True,
        "mark_price": "20",
        "position_before": "0",
        "position_after": "1000",
        "cash_before": "100000",
        "cash_after": "79995",
        "limits": [
            {"name": "order_quantity", "used": "1000", "limit": "10000"},
            {"name": "order_notional", "used": "20000", "limit": "50000"},
            {"name": "price_collar", "used": "0", "limit": "0.1"},
        ],
        "warnings": ["The limit price is at or beyond the last price: the order may fill at once."],
    }
    assert await world.rows("SELECT FROM app.orders") == []


async def test_a_denied_order_says_so_with_200_and_the_size_that_would_pass(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    answer = await trader.client.post(PATH, json=order(account_id, quantity="3000"))
    assert answer.status_code == 200
    seen = answer.json()
    assert (seen["would"], seen["reason_code"]) == ("deny", "ORDER_NOTIONAL_EXCEEDS_MAX")
    assert seen["quantity_max"] == "2500"
    assert await world.rows("SELECT FROM app.orders") == []
    assert await world.rows("SELECT FROM audit.audit_log WHERE action LIKE 'order.%'") == []


async def test_what_deserves_a_second_look_is_said(world: World, trader: Person) -> None:
    account_id = await world.account(trader, cash=Decimal(150))
    await trader.place(order(account_id, quantity="7"))

    async def warnings(**changes: Any) -> list[str]:
        answer = await trader.client.post(PATH, json=order(account_id, **changes))
        found: list[str] = answer.json()["warnings"]
        return found

    bought = await warnings(limit_price="19")
    assert "The cash of the account does not cover this order." in bought
    assert any("1 open order for AAPL" in warning for warning in bought)
    assert not any("at once" in warning for warning in bought)
    assert any("becomes short" in warning for warning in await warnings(side="sell"))
    await trader.place(order(account_id, quantity="7"))
    assert any("2 open orders" in warning for warning in await warnings())


async def test_turning_a_short_position_is_said(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    admin = await world.database.connect("postgres")
    await admin.execute(
        "INSERT INTO app.positions (account_id, instrument_id, quantity, cost)"
        " SELECT $1, instrument_id, -5, -100 FROM app.instruments",
        account_id,
    )
    answer = await trader.client.post(PATH, json=order(account_id))
    seen = answer.json()
    assert (seen["position_before"], seen["position_after"]) == ("-5", "5")
    assert any("becomes long" in warning for warning in seen["warnings"])


@pytest.mark.parametrize("quantity", ["NaN", "Infinity", "-1", "0", "1e3", "", "1.000000001", 10])
async def test_a_quantity_that_is_none_is_422_before_anything_is_asked(
    world: World, trader: Person, quantity: object
) -> None:
    answer = await trader.client.post(PATH, json=order(1, quantity=quantity))
    assert (answer.status_code, code(answer)) == (422, "validation_failed")
    assert answer.json()["errors"][0]["loc"] == ["body", "quantity"]


async def test_a_bare_nan_is_422(world: World, trader: Person) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await trader.client.post(PATH, content=b'{"quantity": NaN}', headers=headers)
    assert (answer.status_code, code(answer)) == (422, "validation_failed")


async def test_who_may_not_place_is_refused_with_the_same_words(
    world: World, trader: Person, make_person: MakePerson
) -> None:
    viewer, stranger = await make_person("viewer"), await make_person("trader")
    account_id = await world.account(trader, viewer)
    for person in (viewer, stranger):
        placed = await person.place(order(account_id))
        seen = await person.client.post(PATH, json=order(account_id))
        assert (seen.status_code, code(seen)) == (placed.status_code, code(placed))
        assert seen.status_code in (403, 404)


async def test_a_foreign_page_cannot_preview(world: World, trader: Person) -> None:
    trader.client.headers["Origin"] = "https://evil.example"
    answer = await trader.client.post(PATH, json=order(1))
    assert (answer.status_code, code(answer)) == (403, "csrf_rejected")


async def test_numbers_are_written_as_the_contract_says(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    answer = await trader.client.post(
        PATH, json=order(account_id, quantity="3", limit_price="19.99")
    )
    seen = answer.json()
    for name in ("notional", "estimated_fee", "mark_price", "cash_before", "cash_after"):
        assert re.fullmatch(NUMBER_PATTERN, seen[name]), (name, seen[name])
