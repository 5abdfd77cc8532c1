"""A batch is its orders placed one by one, in one transaction: replays, denials and races alike."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from fixtures_postgres import make_instrument, make_user, set_price
from sp_world import Request, World, desk, item, new_id, place, place_many, refused

__all__ = ["desk"]

FIGURES = ("status", "reason_code", "cum_quantity", "quantity_max", "account_id")


async def _pool(desk: World, size: int) -> asyncpg.Pool:
    return await asyncpg.create_pool(
        desk.database.dsn("app_write"), min_size=size, max_size=size, reset=_leave_as_it_is
    )


async def _leave_as_it_is(_: object) -> None:
    return


async def _micro(
    connection: asyncpg.Connection | asyncpg.Pool, requests: list[Request]
) -> list[asyncpg.Record]:
    """Place orders of several users together, as the API does with a hot account."""
    items = [
        {
            **item(request),
            **{"user_id": str(request.user_id), "session": request.session},
            "request_id": request.request_id,
        }
        for request in requests
    ]
    rows: list[asyncpg.Record] = await connection.fetch(
        "SELECT * FROM app.sp_place_batch($1::jsonb)", json.dumps(items)
    )
    return rows


def _mixed(desk: World) -> list[Request]:
    return [
        desk.request(),
        desk.request(quantity=Decimal(1001)),
        desk.request(order_type="market", limit_price=None, side="sell"),
        desk.request(account_id=desk.other, time_in_force="ioc"),
        desk.request(
            time_in_force="gtd", expires_at=datetime.now(UTC) + timedelta(days=1), symbol="MSFT"
        ),
        desk.request(account_id=desk.other, order_type="stop_limit", stop_price=Decimal("100.50")),
    ]


async def _more_instruments(desk: World) -> None:
    await make_instrument(desk.migrate, "MSFT")
    await set_price(desk.migrate, "MSFT", "100")


async def test_a_batch_makes_the_same_orders_as_single_calls(desk: World) -> None:
    await _more_instruments(desk)
    requests = _mixed(desk)
    single = [await place(desk.api, replace(r, client_order_id=new_id())) for r in requests]
    batch = await place_many(desk.api, requests)
    assert [row["client_order_id"] for row in batch] == [r.client_order_id for r in requests]
    for name in FIGURES:
        assert [row[name] for row in batch] == [row[name] for row in single], name
    assert [row["status"] for row in batch] == ["new", "denied", "new", "denied", "new", "new"]
    rows = await desk.root.fetch("SELECT * FROM app.orders ORDER BY order_id")
    same = ("side", "order_type", "quantity", "limit_price", "stop_price", "request_hash")
    for one, many in zip(rows[:6], rows[6:], strict=True):
        assert [one[name] for name in same] == [many[name] for name in same]
    await desk.assert_whole()


async def test_what_is_told_of_an_order_is_what_anybody_can_repeat(desk: World) -> None:
    await _more_instruments(desk)
    strategy = await desk.root.fetchval(
        "INSERT INTO app.strategies (account_id, name) VALUES ($1, 'alpha') RETURNING strategy_id",
        desk.account,
    )
    requests = [*_mixed(desk), desk.request(strategy_id=strategy, quantity=Decimal("10.50"))]
    await place_many(desk.api, requests)
    await place(desk.api, replace(requests[-1], client_order_id=new_id()))
    rows = await desk.root.fetch(
        """SELECT
            o.request_hash = sha256(convert_to(array_to_string(ARRAY[
                o.account_id::text, i.symbol, o.side, o.order_type, o.quantity::text,
                o.limit_price::text, o.stop_price::text, o.time_in_force,
                extract(EPOCH FROM o.expires_at)::text, o.strategy_id::text
            ], '|', ''), 'UTF8')) AS same_hash,
            a.detail = jsonb_strip_nulls(jsonb_build_object(
                'order_id', o.order_id, 'client_order_id', o.client_order_id, 'symbol', i.symbol,
                'side', o.side, 'order_type', o.order_type, 'quantity', o.quantity,
                'limit_price', o.limit_price, 'stop_price', o.stop_price,
                'time_in_force', o.time_in_force, 'expires_at', extract(EPOCH FROM o.expires_at),
                'strategy_id', o.strategy_id, 'request_id', o.request_id
            )) AS same_detail
        FROM app.orders AS o
        JOIN app.instruments AS i USING (instrument_id)
        JOIN audit.audit_log AS a
            ON a.action = 'order.place' AND a.detail ->> 'order_id' = o.order_id::text"""
    )
    assert [tuple(row) for row in rows] == [(True, True)] * 8


async def test_each_order_has_its_audit_row_and_its_outbox_row_in_order(desk: World) -> None:
    rows = await place_many(desk.api, [desk.request() for _ in range(50)])
    ids = [row["order_id"] for row in rows]
    assert ids == sorted(ids)
    assert [row["order_id"] for row in await desk.outbox()] == ids
    audit = await desk.root.fetch(
        """SELECT (detail ->> 'order_id')::bigint AS order_id, actor FROM audit.audit_log
        WHERE action = 'order.place' ORDER BY seq"""
    )
    assert [row["order_id"] for row in audit] == ids
    assert {row["actor"] for row in audit} == {f"user:{desk.trader}"}
    await desk.acquire()
    assert [send["order_id"] for send in await desk.begin()] == ids[:1]
    await desk.assert_whole()


async def test_orders_that_surely_pass_are_not_judged_one_by_one(desk: World) -> None:
    await desk.root.execute(
        """CREATE OR REPLACE FUNCTION app.sp_items_decide(
            p_items app.order_item[], p_care integer
        ) RETURNS app.order_item[] LANGUAGE plpgsql STABLE AS
        $$ BEGIN RAISE 'one by one' USING ERRCODE = 'IN999'; END $$"""
    )
    requests = [desk.request(), desk.request(side="sell"), desk.request(limit_price=Decimal(99))]
    rows = await place_many(desk.api, [*requests, *(desk.request() for _ in range(20))])
    assert {row["status"] for row in rows} == {"new"}
    with refused("IN999"):
        await place_many(desk.api, [desk.request(), desk.request(quantity=Decimal(1001))])


async def test_the_same_batch_again_answers_with_the_same_orders(desk: World) -> None:
    requests = [desk.request() for _ in range(5)]
    first = await place_many(desk.api, requests)
    again = await place_many(desk.api, [*requests, desk.request()])
    assert [row["order_id"] for row in again[:5]] == [row["order_id"] for row in first]
    assert [row["replayed"] for row in again] == [True] * 5 + [False]
    alone = await place(desk.api, requests[0])
    assert (alone["order_id"], alone["replayed"]) == (first[0]["order_id"], True)
    assert len(await desk.outbox()) == 6


async def test_a_replay_of_a_batch_needs_no_lock(desk: World) -> None:
    requests = [desk.request() for _ in range(3)]
    await place_many(desk.api, requests)
    async with desk.root.transaction():
        await desk.root.execute("SELECT FROM app.streams FOR UPDATE")
        async with asyncio.timeout(2):
            assert all(row["replayed"] for row in await place_many(desk.api, requests))


async def test_a_second_item_under_an_id_repeats_the_first_or_is_refused(desk: World) -> None:
    request = desk.request()
    first, second = await place_many(desk.api, [request, request])
    assert first["order_id"] == second["order_id"]
    assert [first["replayed"], second["replayed"]] == [False, True]
    other = desk.request()
    with refused("IN422", "idempotency_key_reused"):
        await place_many(desk.api, [other, replace(other, quantity=Decimal(11))])
    assert await desk.root.fetchval("SELECT count(*) FROM app.orders") == 1


async def test_what_repeats_an_item_counts_for_no_rule(desk: World) -> None:
    await desk.root.execute("UPDATE app.risk_limits SET open_orders_max = 2")
    one, two = desk.request(), desk.request()
    rows = await place_many(desk.api, [one, one, two, one])
    assert [row["status"] for row in rows] == ["new"] * 4
    assert [row["order_id"] == rows[0]["order_id"] for row in rows] == [True, True, False, True]
    assert (
        await desk.root.fetchval(
            "SELECT (open_bound).orders FROM app.streams WHERE stream_id = $1", desk.account
        )
        == 2
    )
    await desk.assert_whole()


async def test_an_id_that_another_account_takes_meanwhile_is_refused_alone(desk: World) -> None:
    mine = [desk.request() for _ in range(3)]
    other = await make_user(desk.migrate)
    await desk.root.execute(
        "INSERT INTO app.account_members (account_id, user_id, can_trade) VALUES ($1, $2, TRUE)",
        *(desk.other, other),
    )
    theirs = desk.request(
        account_id=desk.other, client_order_id=mine[1].client_order_id, user_id=other
    )
    async with await _pool(desk, 1) as pool:
        async with desk.api.transaction():
            await place(desk.api, theirs)
            batch = asyncio.create_task(_micro(pool, mine))
            await desk.until_blocked()
        rows = await batch
    assert [row["code"] for row in rows] == [None, "idempotency_key_reused", None]
    assert await desk.root.fetchval("SELECT count(*) FROM app.orders") == 3
    await desk.assert_whole()


async def test_each_item_sees_the_risk_of_those_before_it(desk: World) -> None:
    await desk.root.execute(
        "INSERT INTO app.positions (account_id, instrument_id, quantity, cost) VALUES "
        "($1, (SELECT instrument_id FROM app.instruments WHERE symbol = 'AAPL'), 10, 1000)",
        desk.account,
    )
    await desk.set_state("account", desk.account, "reducing")
    sell = {"side": "sell", "quantity": Decimal(6)}
    rows = await place_many(
        desk.api,
        [
            desk.request(**sell),
            desk.request(**sell),
            desk.request(side="sell", quantity=Decimal(4)),
        ],
    )
    assert [row["reason_code"] for row in rows] == [None, "TRADING_REDUCING", None]


REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    ({"quantity": Decimal("NaN")}, "IN422", "quantity_invalid"),
    ({"quantity": Decimal("1.123456789")}, "IN422", "quantity_invalid"),
    ({"quantity": None}, "IN422", "quantity_invalid"),
    ({"limit_price": None}, "IN422", "price_invalid"),
    ({"client_order_id": "x" * 37}, "IN422", "client_order_id_invalid"),
    ({"symbol": "NOPE"}, "IN422", "instrument_not_found"),
    ({"strategy_id": 999_999}, "IN404", "strategy_not_found"),
    ({"account_id": 999_999}, "IN404", "account_not_found"),
    ({"account_id": None}, "IN422", "account_id_invalid"),
    (
        {"time_in_force": "gtd", "expires_at": datetime(2001, 1, 1, tzinfo=UTC)},
        "IN422",
        "expires_at_invalid",
    ),
]


async def test_one_bad_item_refuses_the_batch_by_name_and_alone_among_strangers(
    desk: World,
) -> None:
    for change, sqlstate, code in REFUSALS:
        good, bad = desk.request(), desk.request(**change)
        with pytest.raises(asyncpg.PostgresError, match=r"^item 2: ") as caught:
            await place_many(desk.api, [good, bad])
        assert (caught.value.sqlstate, caught.value.detail) == (sqlstate, code)
        with refused(sqlstate, code):
            await place(desk.api, bad)
        assert await desk.outbox() == []
        rows = await _micro(desk.api, [bad, good])
        assert [(row["ordinal"], row["sqlstate"], row["code"]) for row in rows] == [
            *((1, sqlstate, code), (2, None, None))
        ], change
        assert rows[0]["message"]
        assert (rows[1]["status"], rows[1]["replayed"]) == ("new", False)
        await desk.root.execute("TRUNCATE app.events_outbox")


async def test_users_of_a_batch_answer_for_themselves_alone(desk: World) -> None:
    member = await make_user(desk.migrate)
    query = "SELECT app.sp_member_set('system:test', $1, $2, TRUE)"
    await desk.migrate.execute(query, desk.account, member)
    mine = desk.request()
    rows = await _micro(
        desk.api,
        [
            mine,
            desk.request(user_id=member),
            desk.request(user_id=desk.stranger),
            desk.request(user_id=None),
            replace(mine, user_id=member),
            mine,
        ],
    )
    assert [row["code"] for row in rows] == [
        *(None, None, "account_not_found", "user_unknown", "idempotency_key_reused", None)
    ]
    assert rows[5]["replayed"] is True
    actors = await desk.root.fetch(
        "SELECT actor FROM audit.audit_log WHERE action = 'order.place' ORDER BY seq"
    )
    assert [row["actor"] for row in actors] == [f"user:{desk.trader}", f"user:{member}"]
    await desk.assert_whole()


async def test_what_is_no_list_of_orders_is_refused(desk: World) -> None:
    good = item(desk.request())
    for orders in ("null", "{}", "[]", "[1]", '["x"]', "[null]", "[[]]", json.dumps([good] * 501)):
        with refused("IN422", "orders_invalid"):
            await desk.api.fetch(
                "SELECT app.sp_place_orders($1, 's', 'r', $2::jsonb)", desk.trader, orders
            )
        with refused("IN422", "orders_invalid"):
            await desk.api.fetch("SELECT app.sp_place_batch($1::jsonb)", orders)
    for field, value, code in (
        ("quantity", "1e3", "quantity_invalid"),
        ("quantity", " 1", "quantity_invalid"),
        ("quantity", "-1", "quantity_invalid"),
        ("quantity", "\u0661", "quantity_invalid"),
        ("quantity", {}, "quantity_invalid"),
        ("account_id", "1.5", "account_id_invalid"),
        ("expires_at", "tomorrow", "expires_at_invalid"),
        ("expires_at", "2026-13-45T00:00:00Z", "expires_at_invalid"),
        ("strategy_id", "mean", "strategy_not_found"),
        ("client_order_id", "x" * 10_000, "client_order_id_invalid"),
        ("symbol", "x" * 10_000, "instrument_not_found"),
    ):
        rows = await desk.api.fetch(
            "SELECT * FROM app.sp_place_batch($1::jsonb)",
            json.dumps(
                [
                    {**good, "user_id": str(desk.trader), "session": "s", "request_id": "r"}
                    | {"time_in_force": "gtd" if field == "expires_at" else "day"}
                    | {field: value}
                ]
            ),
        )
        assert [row["code"] for row in rows] == [code], (field, value)
    with refused("IN401", "user_unknown"):
        await desk.api.fetch(
            "SELECT app.sp_place_orders(NULL, NULL, 'r', $1::jsonb)", json.dumps([good])
        )
    assert await desk.root.fetchval("SELECT count(*) FROM app.orders") == 0


async def test_every_other_isolation_is_refused(desk: World) -> None:
    for isolation in ("repeatable_read", "serializable"):
        with refused("25001"):
            async with desk.api.transaction(isolation=isolation):
                await place_many(desk.api, [desk.request()])
        with refused("25001"):
            async with desk.api.transaction(isolation=isolation):
                await _micro(desk.api, [desk.request()])


async def test_batches_and_single_calls_of_the_same_keys_make_each_order_once(
    desk: World,
) -> None:
    requests = [desk.request() for _ in range(40)]
    chance = random.Random(7)

    async def batch(pool: asyncpg.Pool) -> list[asyncpg.Record]:
        return await place_many(pool, chance.sample(requests, 20))

    async def single(pool: asyncpg.Pool) -> list[asyncpg.Record]:
        return [await place(pool, chance.choice(requests))]

    async with await _pool(desk, 16) as pool, asyncio.timeout(60):
        answers = await asyncio.gather(
            *(call(pool) for _ in range(20) for call in (batch, single, single, single))
        )
    rows = [row for rows in answers for row in rows]
    assert len({row["order_id"] for row in rows}) == len({row["client_order_id"] for row in rows})
    assert Counter(row["replayed"] for row in rows)[False] == len({r["order_id"] for r in rows})
    await desk.assert_whole()


async def test_batches_over_two_accounts_in_opposite_order_never_deadlock(desk: World) -> None:
    ids = [new_id() for _ in range(10)]

    def crossed(first: int, second: int) -> list[Request]:
        return [desk.request(account_id=account) for _ in range(5) for account in (first, second)]

    # The last batches fight for the same ids on different accounts, from both ends.
    fights = [
        [desk.request(account_id=desk.account, client_order_id=id_) for id_ in ids],
        [desk.request(account_id=desk.other, client_order_id=id_) for id_ in reversed(ids)],
    ]
    async with await _pool(desk, 12) as pool, asyncio.timeout(60):
        answers = await asyncio.gather(
            *(
                place_many(pool, crossed(*pair))
                for _ in range(10)
                for pair in ((desk.account, desk.other), (desk.other, desk.account))
            ),
            *(place_many(pool, fight) for fight in fights),
            return_exceptions=True,
        )
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [getattr(failure, "detail", failure) for failure in failures] == [
        "idempotency_key_reused"
    ]
    assert await desk.root.fetchval("SELECT count(*) FROM app.orders") == 210
    await desk.assert_whole()
