"""Every argument of every procedure of the order path: what is no argument is refused in words."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sp_world import World, desk

__all__ = ["desk"]

BIG = "x" * 10_000
TEXTS: list[Any] = [None, "", " ", "a b", "é", "a\n", BIG]
NUMBERS: list[Any] = [
    *(Decimal(bad) for bad in ("NaN", "Infinity", "-Infinity", "0", "-1", "1e12", "1e20")),
    *(Decimal("0.000000001"), Decimal("1.123456789")),
]
IDS: list[Any] = [None, 0, -1, 999_999_999, 2**63 - 1]
USERS: list[Any] = [None, uuid4()]

# What an argument of this name is refused with when it is bad: SQLSTATE and code.
Codes = dict[str, set[tuple[str, str]]]
KEYS: Codes = {
    "key": {("IN422", "idempotency_key_invalid")},
    "request": {("IN422", "request_id_invalid")},
    "user": {("IN401", "user_unknown")},
}

PLACE = """SELECT app.sp_place_order(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"""
REPLACE = "SELECT app.sp_replace_order($1, $2, $3, $4, $5, $6, $7, $8)"
CANCEL = "SELECT app.sp_cancel_order($1, $2, $3, $4, $5)"
CANCEL_ALL = "SELECT app.sp_cancel_all($1, $2, $3, $4, $5)"


def _code(code: str, sqlstate: str = "IN422") -> set[tuple[str, str]]:
    return {(sqlstate, code)}


# Procedure -> for each argument: bad values, and what they are refused with.
CASES: dict[str, list[tuple[list[Any], set[tuple[str, str]]]]] = {
    PLACE: [
        (USERS, KEYS["user"]),
        ([None], _code("session_revoked", "IN401")),
        (TEXTS, KEYS["request"]),
        (TEXTS, _code("client_order_id_invalid")),
        (IDS, _code("account_id_invalid") | _code("account_not_found", "IN404")),
        ([*TEXTS, "aapl", "AAPL; DROP"], _code("instrument_not_found")),
        ([*TEXTS, "BUY"], _code("side_invalid")),
        ([*TEXTS, "LIMIT"], _code("order_type_invalid")),
        ([None, *NUMBERS], _code("quantity_invalid")),
        ([None, *NUMBERS], _code("price_invalid")),
        ([*NUMBERS, Decimal(1)], _code("price_invalid")),
        ([*TEXTS, "DAY"], _code("time_in_force_invalid")),
        ([], set()),
        (IDS[1:], _code("strategy_not_found", "IN404")),
    ],
    REPLACE: [
        (USERS, KEYS["user"]),
        ([None], _code("session_revoked", "IN401")),
        (TEXTS, KEYS["request"]),
        (TEXTS, KEYS["key"]),
        (IDS, _code("order_id_invalid") | _code("order_not_found", "IN404")),
        (NUMBERS, _code("quantity_invalid")),
        (NUMBERS, _code("price_invalid")),
        ([*NUMBERS, Decimal(1)], _code("price_invalid")),
    ],
    CANCEL: [
        (USERS, KEYS["user"]),
        ([None], _code("session_revoked", "IN401")),
        (TEXTS, KEYS["request"]),
        (TEXTS, KEYS["key"]),
        (IDS, _code("order_id_invalid") | _code("order_not_found", "IN404")),
    ],
    CANCEL_ALL: [
        (USERS, KEYS["user"]),
        ([None], _code("session_revoked", "IN401")),
        (TEXTS, KEYS["request"]),
        (TEXTS, KEYS["key"]),
        (IDS, _code("account_id_invalid") | _code("account_not_found", "IN404")),
    ],
}


def _good(desk: World, order_id: int) -> dict[str, list[Any]]:
    start = [desk.trader, "session", "request", "key"]
    return {
        PLACE: list(desk.request().arguments()),
        REPLACE: [*start, order_id, Decimal(20), Decimal(101), None],
        CANCEL: [*start, order_id],
        CANCEL_ALL: [*start, desk.account],
    }


async def _refusal(desk: World, query: str, arguments: list[Any]) -> tuple[str, str]:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await desk.api.fetch(query, *arguments)
    return caught.value.sqlstate, caught.value.detail


async def _written(desk: World) -> list[int]:
    return list(
        await desk.root.fetchrow(
            """SELECT (SELECT count(*) FROM app.orders), (SELECT count(*) FROM app.events_outbox),
                (SELECT count(*) FROM audit.audit_log), (SELECT count(*) FROM app.idempotency)"""
        )
    )


@pytest.mark.parametrize("query", CASES)
async def test_every_bad_argument_has_its_refusal_and_writes_nothing(
    desk: World, query: str
) -> None:
    order = await desk.place()
    before = await _written(desk)
    for index, (values, codes) in enumerate(CASES[query]):
        for value in values:
            arguments = _good(desk, order["order_id"])[query]
            arguments[index] = value
            met = await _refusal(desk, query, arguments)
            assert met in codes, (query, index, str(value)[:40])
    assert await _written(desk) == before
    assert await desk.status(order["order_id"]) == "new"


async def test_a_nul_byte_is_refused_by_the_server(desk: World) -> None:
    order = await desk.place()
    for query, arguments in _good(desk, order["order_id"]).items():
        for index, value in enumerate(arguments):
            if isinstance(value, str):
                bad = [*arguments]
                bad[index] = "a\0b"
                assert (await _refusal(desk, query, bad))[0] == "22021"
    for call in ("sp_place_orders($1, 's', 'r', $2::jsonb)", "sp_place_batch($2::jsonb)"):
        nul = json.dumps([{"client_order_id": "a\0b"}])
        query = f"SELECT app.{call} WHERE $1::uuid IS NOT NULL"
        assert (await _refusal(desk, query, [desk.trader, nul]))[0] == "22P05"


async def test_another_users_order_and_account_do_not_exist(desk: World) -> None:
    order = await desk.place()
    for query, arguments in _good(desk, order["order_id"]).items():
        met = await _refusal(desk, query, [desk.stranger, *arguments[1:]])
        assert met[0] == "IN404", query


async def test_every_other_isolation_is_refused_by_every_writing_procedure(desk: World) -> None:
    order = await desk.place()
    for query, arguments in _good(desk, order["order_id"]).items():
        for isolation in ("repeatable_read", "serializable"):
            with pytest.raises(asyncpg.PostgresError) as caught:
                async with desk.api.transaction(isolation=isolation):
                    await desk.api.fetch(query, *arguments)
            assert caught.value.sqlstate == "25001", (query, isolation)


async def test_a_random_payload_never_breaks_the_lane(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    values: list[Any] = [
        *(None, "", "NaN", "Infinity", "-1", "1e20", "0.000000001", BIG, 7, True, [], {}, [1]),
    ]
    kinds = {
        "order_event": ("status", "exec_id", "exec_revision", "fill_quantity", "quantity"),
        "order_state": ("known", "status", "executions", "quantity", "limit_price"),
        "bust": ("exec_id", "exec_revision"),
        "commission": ("exec_id", "fee", "fee_currency"),
        "replace_rejected": ("reason",),
        "command_rejected": ("command", "reason"),
    }
    base: dict[str, dict[str, Any]] = {
        "order_event": {"status": "replaced", "quantity": "10"},
        "order_state": {"known": True, "status": "accepted", "quantity": "10"},
    }
    events = [
        desk.event(order, kind, **{**base.get(kind, {}), name: value})
        for kind, names in kinds.items()
        for name in names
        for value in values
    ]
    await desk.put(events)
    outcomes = await desk.apply_pending()
    assert len(outcomes) == len(events)
    assert set(outcomes) <= {"applied", "stale", "illegal", "invalid"}
    assert await desk.fill(order, "10", status="filled") == "applied"
    assert await desk.begin(valid=timedelta(seconds=1)) == []
    await desk.assert_whole()
