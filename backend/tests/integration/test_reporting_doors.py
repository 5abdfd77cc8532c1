"""Every view and function of `reporting`, out of the catalog, through the eyes of each reader."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fixtures_postgres import Database, make_user
from read_tokens import read, sign
from reporting_world import World, world

__all__ = ["world"]

# What a function is asked with; one that is not listed fails.
Arguments = tuple[str, list[Any]]
DAY = timedelta(days=1)


def calls(world: World) -> dict[str, Arguments]:
    """Ask for everything of both accounts."""
    now = datetime.now(UTC)
    both = [world.first, world.second]
    return {
        "equity_curve": ("$1, $2, $3, $4", [both, now - DAY, now + DAY, 100]),
        "daily_pnl": ("$1, $2, $3", [both, (now - DAY).date(), (now + DAY).date()]),
        "bars_between": ("$1, $2, $3, $4", ["AAPL", now - DAY, now + DAY, 100]),
        "newest_orders": ("$1, NULL, 100", [both]),
        "order_timeline": ("$1", [1]),
        "health": ("$1", [both]),
        "market_clock": ("", []),
        "fifo_lots": ("$1", [both]),
        "fifo_realized": ("$1", [both]),
        "daily_returns": ("$1, $2, $3", [both, (now - DAY).date(), (now + DAY).date()]),
        "pnl_monthly": ("$1, $2, $3", [both, (now - DAY).date(), (now + DAY).date()]),
        "attribution_since": ("$1, $2", [both, now - DAY]),
        "execution_costs": ("$1, $2, $3", [both, now - DAY, now + DAY]),
        "outbox_health": ("$1", [both]),
        "audit_extract": ("$1, $2, $3, 0, 0, 100", [[0, *both], now - DAY, now + DAY]),
    }


async def views(connection: asyncpg.Connection) -> dict[str, bool]:
    """Every view, and whether it is of accounts."""
    rows = await connection.fetch(
        "SELECT c.relname, EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid"
        "   AND a.attname = 'account_id' AND NOT a.attisdropped) AS of_accounts"
        " FROM pg_class AS c WHERE c.relnamespace = 'reporting'::regnamespace"
        " AND c.relkind IN ('v', 'm', 'r', 'p', 'f')"
    )
    return {row["relname"]: row["of_accounts"] for row in rows}


async def functions(connection: asyncpg.Connection) -> set[str]:
    """Every function that a reader may ask; an aggregate alone answers nothing."""
    rows = await connection.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'reporting'::regnamespace"
        " AND prokind = 'f'"
        " AND has_function_privilege('app_read', oid, 'EXECUTE')"
    )
    return {row["proname"] for row in rows}


async def unguarded(connection: asyncpg.Connection) -> list[str]:
    """Relations of `reporting` that are no view in the reader's own name."""
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'reporting'::regnamespace"
        " AND relkind IN ('v', 'm', 'r', 'p', 'f')"
        " AND (relkind <> 'v' OR NOT coalesce(reloptions, '{}') @> '{security_invoker=true}')"
    )
    return [row["relname"] for row in rows]


@pytest.fixture
async def superuser(database: Database) -> asyncpg.Connection:
    """Somebody who sees the whole catalog."""
    return await database.connect("postgres")


@pytest.fixture
async def nobodies(world: World) -> dict[str, str | None]:
    """Tokens that name nobody."""
    good = sign(world.key, world.member)
    kid, user, expiry, mac = good.split(".")
    unknown = UUID(int=world.member.int ^ 1)
    return {
        "no token": None,
        "an empty token": "",
        "an expired token": sign(world.key, world.member, valid_s=-1),
        "a forged signature": f"{kid}.{user}.{expiry}.{'0' * 64}",
        "another user under the same signature": f"{kid}.{world.admin}.{expiry}.{mac}",
        "a longer life under the same signature": f"{kid}.{user}.{int(expiry) + 60}.{mac}",
        "the token of another key": sign("another key", world.member),
        "another key under the known name": sign("another key", world.member, key_id=kid),
        "a user who is not known": sign(world.key, unknown),
    }


async def test_no_view_runs_in_the_name_of_its_owner(superuser: asyncpg.Connection) -> None:
    assert await unguarded(superuser) == []
    await superuser.execute("CREATE VIEW reporting.sneaky AS SELECT * FROM app.orders")
    assert await unguarded(superuser) == ["sneaky"]


async def test_every_view_shows_a_member_his_accounts_alone(
    world: World, superuser: asyncpg.Connection
) -> None:
    migrate = await world.database.connect("app_migrate")
    # The owner trades; the others only look on, one of them though his role would let him trade.
    watching, viewer = await make_user(migrate, "trader"), await make_user(migrate, "viewer")
    member = "SELECT app.sp_member_set('system:test', $1, $2, FALSE)"
    for user_id in (watching, viewer):
        await migrate.execute(member, world.first, user_id)
    everything = await views(superuser)
    assert len(everything) >= 13
    for view, of_accounts in everything.items():
        total = await superuser.fetchval(f"SELECT count(*) FROM reporting.{view}")  # noqa: S608
        by = {
            name: await world.seen_by(user, view)
            for name, user in {
                "owner": world.member,
                "member": watching,
                "viewer": viewer,
                "stranger": world.stranger,
                "admin": world.admin,
            }.items()
        }
        if of_accounts:
            for name in ("owner", "member", "viewer"):
                assert {row["account_id"] for row in by[name]} == {world.first}, (view, name)
            assert by["stranger"] == [], view
            assert {row["account_id"] for row in by["admin"]} == {world.first, world.second}, view
        else:
            # Of the market: the same for whoever is signed in.
            assert {len(rows) for rows in by.values()} == {total}, view


async def test_no_view_and_no_function_shows_anything_to_nobody(
    world: World, superuser: asyncpg.Connection, nobodies: dict[str, str | None]
) -> None:
    asked = calls(world)
    assert await functions(superuser) == set(asked)
    for reader, token in nobodies.items():
        for view in await views(superuser):
            seen = await read(world.database, token, f"SELECT * FROM reporting.{view}")  # noqa: S608
            assert seen == [], (reader, view)
        for function, (places, arguments) in asked.items():
            query = f"SELECT * FROM reporting.{function}({places})"  # noqa: S608
            rows = await read(world.database, token, query, *arguments)
            told = [
                {name: it for name, it in row.items() if name != "read_at" and it} for row in rows
            ]
            assert not any(told), (reader, function)


async def test_every_function_shows_a_member_his_accounts_alone(world: World) -> None:
    token, shown = sign(world.key, world.member), set()
    for function, (places, arguments) in calls(world).items():
        query = f"SELECT * FROM reporting.{function}({places})"  # noqa: S608
        for row in await read(world.database, token, query, *arguments):
            if (account_id := row.get("account_id")) is not None:
                assert account_id == world.first, function
                shown.add(function)
    # The others add up or name no account; what they may add is what the policies show.
    assert shown == {
        "attribution_since", "fifo_lots", "fifo_realized", "newest_orders", "outbox_health",
    }  # fmt: skip


async def test_no_function_shows_a_stranger_what_is_of_accounts(world: World) -> None:
    token = sign(world.key, world.stranger)
    for function, (places, arguments) in calls(world).items():
        if function not in ("bars_between", "health", "market_clock"):
            query = f"SELECT * FROM reporting.{function}({places})"  # noqa: S608
            assert await read(world.database, token, query, *arguments) == [], function
    query = "SELECT link_at, outbox_pending FROM reporting.health($1)"
    [row] = await read(world.database, token, query, [world.first, world.second])
    assert tuple(row) == (None, 0)
