"""Master data over HTTP: administrators alone, once, audited; and what they are shown."""

import re
from typing import Any

import httpx
import pytest
from api_world import MakePerson, Person, World, code, order


@pytest.fixture
async def admin(make_person: MakePerson) -> Person:
    """A signed-in administrator."""
    return await make_person("admin")


ACCOUNT = {"name": "Desk", "route": "quantconnect", "broker_account": "4711"}
INSTRUMENT = {"symbol": "NEW", "name": "New Inc.", "tick_size": "0.01", "lot_size": "1"}
LIMITS = {"order_quantity_max": "100", "order_notional_max": "5000.5", "price_collar": "0.1"}


async def put(person: Person, kind: str, body: Any) -> httpx.Response:
    return await person.client.put(f"/api/admin/{kind}", json=body)


async def listed(person: Person, kind: str) -> list[dict[str, Any]]:
    answer = await person.client.get(f"/api/admin/{kind}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def bodies(account_id: int, user_id: object) -> dict[tuple[str, str], dict[str, Any]]:
    """Return a good body for every route that writes."""
    account = {"account_id": str(account_id)}
    cash = {**account, "amount": "10", "kind": "deposit", "reference": "r"}
    line = {"kind": "instruments", "dry_run": True, "lines": [INSTRUMENT]}
    return {
        ("PUT", "/api/admin/accounts"): ACCOUNT,
        ("PUT", "/api/admin/instruments"): INSTRUMENT,
        ("PUT", "/api/admin/strategies"): {**account, "name": "Trend"},
        ("PUT", "/api/admin/members"): {**account, "user_id": str(user_id), "can_trade": True},
        ("PUT", "/api/admin/limits"): {**account, **LIMITS},
        ("PUT", "/api/admin/user-rates"): {"user_id": str(user_id), "orders_per_minute_max": "9"},
        ("PUT", "/api/admin/allow-list"): {**account, "symbols": ["AAPL"]},
        ("POST", "/api/admin/cash"): cash,
        ("POST", "/api/data/import"): line,
    }


# Tested in test_api_service_tokens.py, test_api_operations.py and test_api_notifications.py.
OF_THEIR_OWN = re.compile(r"tokens|notifications|/(requeue|resolve)$")


async def test_only_administrators_set_and_see_master_data(
    world: World, make_person: MakePerson
) -> None:
    for role in ("viewer", "trader", "admin"):
        person = await make_person(role)
        account_id = await world.account(person)
        admitted = role == "admin"
        calls = [*bodies(account_id, person.user_id).items()]
        calls += [(("GET", path), {}) for path in _lists(world)]
        written = {it for it in _paths(world) if "admin" in it and not OF_THEIR_OWN.search(it)}
        assert {path for (_, path), _ in calls} >= written
        for (method, path), body in calls:
            sent = {"json": body} if method != "GET" else {}
            answer = await person.client.request(method, path, **sent)  # type: ignore[arg-type]
            if admitted:
                assert answer.status_code in (200, 204), (path, answer.text)
            else:
                assert (answer.status_code, code(answer)) == (403, "role_not_allowed"), path


def _paths(world: World) -> set[str]:
    return set(world.app.openapi()["paths"])


def _lists(world: World) -> list[str]:
    paths = world.app.openapi()["paths"]
    return [path for path, it in paths.items() if path.startswith("/api/admin/") and "get" in it]


async def test_an_account_can_be_set_up_from_nothing_and_trades(
    world: World, admin: Person, trader: Person
) -> None:
    await world.account()  # makes the instrument and its price
    account_id = (await put(admin, "accounts", ACCOUNT)).json()["account_id"]
    assert (await trader.place(order(int(account_id)))).status_code == 404
    member = {"account_id": account_id, "user_id": str(trader.user_id), "can_trade": True}
    assert (await put(admin, "members", member)).status_code == 204
    denied = (await trader.place(order(int(account_id)))).json()
    assert denied["reason_code"] == "NO_RISK_LIMITS"
    assert (await put(admin, "limits", {"account_id": account_id, **LIMITS})).status_code == 204
    cash = {"account_id": account_id, "amount": "100000", "kind": "opening", "reference": "first"}
    for booked in (True, False):
        answer = await admin.client.post("/api/admin/cash", json=cash)
        assert (answer.status_code, answer.json()) == (200, {"booked": booked})
    placed = (await trader.place(order(int(account_id)))).json()
    assert placed["status"] == "new", placed
    await put(admin, "members", {**member, "can_trade": None})
    assert (await trader.place(order(int(account_id)))).status_code == 404


async def test_the_lists_show_what_was_set(world: World, admin: Person) -> None:
    account_id = str(await world.account(admin))
    await put(admin, "instruments", {**INSTRUMENT, "tick_size": "0.00000001", "tradable": False})
    await put(admin, "strategies", {"account_id": account_id, "name": "Trend"})
    await put(admin, "limits", {"account_id": account_id, **LIMITS, "open_orders_max": "7"})
    await put(admin, "allow-list", {"account_id": account_id, "symbols": ["NEW", "AAPL"]})
    body = {"scope": "account", "scope_id": account_id, "reason": "drill"}
    await admin.client.post("/api/trading/halt", json=body)
    [instrument] = [it for it in await listed(admin, "instruments") if it["symbol"] == "NEW"]
    assert (instrument["tick_size"], instrument["tradable"]) == ("0.00000001", False)
    [limits] = await listed(admin, "limits")
    assert limits.items() >= {**LIMITS, "open_orders_max": "7", "account_id": account_id}.items()
    assert await listed(admin, "allow-lists") == [
        {"account_id": account_id, "symbols": ["AAPL", "NEW"]}
    ]
    [strategy] = await listed(admin, "strategies")
    assert (strategy["account_id"], strategy["name"]) == (account_id, "Trend")
    [member] = await listed(admin, "members")
    assert (member["email"], member["can_trade"]) == (admin.email, True)
    assert [it["account_id"] for it in await listed(admin, "accounts")] == [account_id]
    assert await listed(admin, "cash") == [
        {"account_id": account_id, "currency": "USD", "amount": "100000"}
    ]
    [state] = await listed(admin, "trading-states")
    assert (state["scope_id"], state["state"], state["reason"]) == (account_id, "halted", "drill")
    assert admin.email in [it["email"] for it in await listed(admin, "users")]


async def test_a_list_goes_on_where_its_page_ended(world: World, admin: Person) -> None:
    root = await world.database.connect("postgres")
    await root.execute(
        """INSERT INTO app.instruments (symbol, name)
           SELECT 'S' || lpad(n::text, 4, '0'), 'x' FROM generate_series(1, 501) AS n"""
    )
    first = (await admin.client.get("/api/admin/instruments")).json()
    assert (len(first["items"]), first["next"]) == (500, "500")
    second = (await admin.client.get("/api/admin/instruments?offset=500")).json()
    assert ([it["symbol"] for it in second["items"]], second["next"]) == (["S0501"], None)
    for offset in ("-1", "x", "1.0", "", "1_0", "01", "9" * 10, "٣"):
        answer = await admin.client.get("/api/admin/instruments", params={"offset": offset})
        assert (answer.status_code, code(answer)) == (422, "validation_failed"), offset


async def test_repeating_it_changes_and_audits_nothing(world: World, admin: Person) -> None:
    account_id = await world.account()
    for (method, path), body in bodies(account_id, admin.user_id).items():
        answers, counts = [], []
        for _ in range(2):
            answers.append((await admin.client.request(method, path, json=body)).status_code)
            counts.append(len(await world.rows("SELECT FROM audit.audit_log")))
        assert len(set(answers)) == len(set(counts)) == 1, path
    actors = await world.rows(
        "SELECT DISTINCT actor FROM audit.audit_log WHERE action = 'risk_limits.set'"
    )
    assert f"user:{admin.user_id}" in {row["actor"] for row in actors}


REFUSED = [
    ("accounts", {**ACCOUNT, "route": "fax"}, 422, "validation_failed"),
    ("accounts", {**ACCOUNT, "name": "x" * 101}, 422, "validation_failed"),
    ("accounts", {**ACCOUNT, "name": "a\x00b"}, 422, "validation_failed"),
    ("accounts", {**ACCOUNT, "paper": "true"}, 422, "validation_failed"),
    ("accounts", {**ACCOUNT, "currency": "usd"}, 422, "validation_failed"),
    ("accounts", {**ACCOUNT, "broker_account": ""}, 422, "validation_failed"),
    ("instruments", {**INSTRUMENT, "tick_size": "NaN"}, 422, "validation_failed"),
    ("instruments", {**INSTRUMENT, "lot_size": "0"}, 422, "validation_failed"),
    ("instruments", {**INSTRUMENT, "symbol": "new"}, 422, "validation_failed"),
    ("instruments", {**INSTRUMENT, "multiplier": "0"}, 422, "validation_failed"),
    ("instruments", {**INSTRUMENT, "multiplier": 50}, 422, "validation_failed"),
    ("strategies", {"account_id": "999", "name": "x"}, 404, "account_not_found"),
    ("limits", {"account_id": "999", **LIMITS}, 404, "account_not_found"),
    ("limits", {"account_id": "1", "price_collar": "1"}, 422, "price_collar_invalid"),
    ("limits", {"account_id": "1", "open_orders_max": 7}, 422, "validation_failed"),
    ("limits", {"account_id": "1", "open_orders_max": "0"}, 422, "validation_failed"),
    ("limits", {"account_id": "1", "open_orders_max": "9999999999"}, 422, "validation_failed"),
    ("allow-list", {"account_id": "999", "symbols": []}, 404, "account_not_found"),
    ("allow-list", {"account_id": "1", "symbols": ["NOPE"]}, 422, "instrument_not_found"),
    ("allow-list", {"account_id": "1", "symbols": "AAPL"}, 422, "validation_failed"),
    ("members", {"account_id": "1", "user_id": "x", "can_trade": True}, 422, "validation_failed"),
    ("members", {"account_id": "1", "can_trade": True}, 422, "validation_failed"),
    (
        "members",
        {
            "account_id": "1",
            "user_id": "00000000-0000-4000-8000-000000000000",
            "can_trade": True,
        },
        404,
        "user_not_found",
    ),
]


async def test_what_cannot_be_set_is_the_documented_refusal(world: World, admin: Person) -> None:
    assert await world.account() == 1
    for kind, body, status, refusal in REFUSED:
        answer = await put(admin, kind, body)
        assert (answer.status_code, code(answer)) == (status, refusal), (kind, body)


async def test_names_and_currencies_that_are_taken_are_refused(world: World, admin: Person) -> None:
    assert (await put(admin, "accounts", ACCOUNT)).status_code == 200
    taken = await put(admin, "accounts", {**ACCOUNT, "broker_account": "4712"})
    assert (taken.status_code, code(taken)) == (422, "name_taken")
    fixed = await put(admin, "accounts", {**ACCOUNT, "currency": "EUR"})
    assert (fixed.status_code, code(fixed)) == (409, "currency_fixed")
    assert (await put(admin, "instruments", {**INSTRUMENT, "multiplier": "50"})).status_code == 200
    fixed = await put(admin, "instruments", INSTRUMENT)
    assert (fixed.status_code, code(fixed)) == (409, "multiplier_fixed")


async def test_cash_is_taken_out_by_a_withdrawal_and_a_reference_means_one_amount(
    world: World, admin: Person
) -> None:
    account_id = str(await world.account())
    body = {"account_id": account_id, "amount": "10.5", "kind": "withdrawal", "reference": "w-1"}
    assert (await admin.client.post("/api/admin/cash", json=body)).json() == {"booked": True}
    other = await admin.client.post("/api/admin/cash", json={**body, "amount": "11"})
    assert (other.status_code, code(other)) == (422, "idempotency_key_reused")
    [cash] = await listed(admin, "cash")
    assert cash["amount"] == "99989.5"


async def lines(person: Person, kind: str, given: list[Any], **more: Any) -> httpx.Response:
    body = {"kind": kind, "lines": given, **more}
    return await person.client.post("/api/data/import", json=body)


async def test_an_import_writes_all_lines_or_none(world: World, admin: Person) -> None:
    good = [{**INSTRUMENT, "symbol": f"S{n}"} for n in range(3)]
    bad = [good[0], {**good[1], "tick_size": "x"}, {"symbol": "S2"}, good[2]]
    refused = await lines(admin, "instruments", bad)
    assert (refused.status_code, code(refused)) == (422, "import_refused")
    faults = [(fault["loc"][2], fault["loc"][3:]) for fault in refused.json()["errors"]]
    assert (1, ["tick_size"]) in faults
    assert {place for place, _ in faults} == {1, 2}
    assert not await world.rows("SELECT FROM app.instruments")
    dry = await lines(admin, "instruments", good, dry_run=True)
    assert dry.json() == {"kind": "instruments", "dry_run": True, "lines": 3}
    assert not await world.rows("SELECT FROM app.instruments")
    for _ in range(2):
        done = await lines(admin, "instruments", good)
        assert (done.status_code, done.json()["lines"]) == (200, 3)
        audited = "SELECT FROM audit.audit_log WHERE action = 'instrument.set'"
        assert len(await world.rows(audited)) == 3


async def test_an_import_names_the_lines_that_the_database_refuses(
    world: World, admin: Person
) -> None:
    account_id = str(await world.account())
    given = [
        {"account_id": "999", **LIMITS},
        {"account_id": account_id, **LIMITS},
        {"account_id": account_id, "leverage_max": "101"},
    ]
    answer = await lines(admin, "limits", given)
    assert code(answer) == "import_refused"
    assert answer.json()["errors"] == [
        {"loc": ["body", "lines", 0], "type": "account_not_found"},
        {"loc": ["body", "lines", 2], "type": "leverage_max_invalid"},
    ]
    [limits] = await listed(admin, "limits")
    assert limits["order_quantity_max"] == "10000"


async def test_an_import_of_500_members_is_one_transaction(world: World, admin: Person) -> None:
    account_id = str(await world.account())
    root = await world.database.connect("postgres")
    await root.execute(
        """INSERT INTO app.users (user_id, email, role)
           SELECT gen_random_uuid(), n || '@x.dev', 'trader' FROM generate_series(1, 500) AS n"""
    )
    users = await world.rows("SELECT user_id FROM app.users")
    given = [
        {"account_id": account_id, "user_id": str(row["user_id"]), "can_trade": True}
        for row in users
    ]
    assert (await lines(admin, "members", given)).status_code == 200
    assert len(await world.rows("SELECT FROM app.account_members")) == len(users)
