"""An operator deploys a bridge: epochs only rise, what it may trade is told, all is on record."""

import asyncio
from typing import Any

import pytest
from sp_world import World, desk, refused

__all__ = ["desk"]

DEPLOY = "SELECT * FROM app.sp_bridge_deploy('operator:test', $1, $2::jsonb)"
NOTE = "SELECT app.sp_bridge_note('operator:test', $1, $2, $3::jsonb)"


async def deploy(desk: World, source: str | None = None) -> Any:
    source = source or await desk.source(desk.account)
    return await desk.migrate.fetchrow(DEPLOY, source, '{"brokerage": "paper"}')


async def test_an_epoch_is_later_than_any_before_it_heard_or_not(desk: World) -> None:
    first = (await deploy(desk))["epoch"]
    second = (await deploy(desk))["epoch"]
    assert first < second
    await desk.put([], epoch=second + 10**15)
    assert (await deploy(desk))["epoch"] == second + 10**15 + 1
    await desk.assert_whole()


async def test_two_operators_at_once_get_two_epochs(desk: World) -> None:
    source = await desk.source(desk.account)
    others = [await desk.database.connect("app_migrate") for _ in range(4)]
    try:
        rows = await asyncio.gather(*(it.fetchrow(DEPLOY, source, "{}") for it in others))
    finally:
        for it in others:
            await it.close()
    assert len({row["epoch"] for row in rows}) == 4
    await desk.assert_whole()


async def test_the_symbols_are_what_the_account_may_trade(desk: World) -> None:
    insert = "SELECT app.sp_instrument_upsert('test', $1, $1, 'USD', 0.01, 1, $2)"
    await desk.migrate.execute(insert, "MSFT", True)
    await desk.migrate.execute(insert, "GONE", False)
    assert (await deploy(desk))["symbols"] == ["AAPL", "MSFT"]
    allow = "SELECT app.sp_allow_list_set('test', $1, $2)"
    await desk.migrate.execute(allow, desk.account, ["MSFT", "GONE"])
    assert (await deploy(desk))["symbols"] == ["MSFT"]
    other = await desk.source(desk.other)
    assert (await deploy(desk, other))["symbols"] == ["AAPL", "MSFT"]


async def test_what_is_begun_and_how_it_ends_is_audited_on_the_systems_stream(desk: World) -> None:
    source = await desk.source(desk.account)
    epoch = (await deploy(desk))["epoch"]
    for action in ("stopping", "stopped", "deployed"):
        await desk.migrate.execute(NOTE, source, action, '{"deploy_id": "L-1"}')
    rows = await desk.root.fetch(
        "SELECT stream_id, actor, action, detail ->> 'source' AS source,"
        " detail ->> 'epoch' AS epoch FROM audit.audit_log WHERE action LIKE 'bridge.%'"
        " ORDER BY seq"
    )
    who = (0, "operator:test")
    assert [tuple(row) for row in rows] == [
        (*who, "bridge.deploying", source, str(epoch)),
        (*who, "bridge.stopping", source, None),
        (*who, "bridge.stopped", source, None),
        (*who, "bridge.deployed", source, None),
    ]
    await desk.assert_whole()


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("qc:999999", ("IN404", "source_unknown")),
        ("ib:DU1", ("IN422", "source_invalid")),
        ("qc:0", ("IN422", "source_invalid")),
        ("qc:1;", ("IN422", "source_invalid")),
        (None, ("IN422", "source_invalid")),
    ],
)
async def test_a_source_that_no_account_has_is_refused(
    desk: World, source: str | None, code: tuple[str, str]
) -> None:
    with refused(*code):
        await desk.migrate.fetchrow(DEPLOY, source, "{}")
    with refused("IN422", "detail_invalid"):
        await desk.migrate.fetchrow(DEPLOY, await desk.source(desk.account), "[]")
    query = "SELECT count(*) FROM audit.audit_log WHERE action LIKE 'bridge.%'"
    assert await desk.root.fetchval(query) == 0


async def test_only_known_ends_are_noted(desk: World) -> None:
    source = await desk.source(desk.account)
    for action in ("begun", "", None, "deployed; drop"):
        with refused("IN422", "action_invalid"):
            await desk.migrate.execute(NOTE, source, action, "{}")
    with refused("IN422", "detail_invalid"):
        await desk.migrate.execute(NOTE, source, "stopped", None)
