"""A fill of no order of ours, seen and resolved on the Dashboard in a real browser."""

import json
import re
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
from browser_client import CHROMIUM, Person
from platform_client import Platform, Trader, eventually
from playwright.async_api import Browser, expect

pytestmark = [
    pytest.mark.platform,
    pytest.mark.xdist_group("platform"),
    pytest.mark.skipif(
        CHROMIUM is None, reason="no browser here: apt-get install chromium, then run again"
    ),
]

STATE = "SELECT state, reason FROM app.recon_breaks WHERE subject = $1"


async def report_foreign_fill(database: asyncpg.Connection, account_id: str) -> str:
    """What the account's broker would report of an order that we never placed."""
    exec_id = f"E-{uuid.uuid4().hex[:12]}"
    event = {
        "kind": "order_event",
        "status": "filled",
        "client_order_id": f"of-nobody-{uuid.uuid4().hex[:12]}",
        "occurred_at": "2026-01-05T15:00:00Z",
        "exec_id": exec_id,
        "fill_quantity": "3",
        "fill_price": "25",
    }
    await database.execute(
        "INSERT INTO app.inbox (source, event_id, shard, epoch, payload)"
        " SELECT 'qc:' || broker_account, $2, 0, 0, $3::jsonb FROM app.accounts"
        " WHERE account_id = $1",
        *(int(account_id), exec_id, json.dumps(event)),
    )
    await eventually(lambda: database.fetchrow(STATE, exec_id), lambda row: row is not None)
    return exec_id


@pytest.fixture
async def broken(
    platform: Platform, database: asyncpg.Connection, trader: Trader
) -> AsyncIterator[str]:
    """A break of the trader's account; the tests after this one find the account as it was."""
    account_id = trader.user["accounts"][0]
    yield await report_foreign_fill(database, account_id)
    await resume(platform, account_id)


async def resume(platform: Platform, account_id: str) -> None:
    async with Trader(platform, "admin") as admin:
        scope = {"scope": "account", "scope_id": account_id, "reason": "looked into"}
        resumed = await admin.client.post("/api/trading/resume", json=scope)
    assert resumed.json()["state"] == "active"


async def test_a_break_is_resolved_by_an_administrator_alone_and_its_account_resumed(
    platform: Platform,
    browser: Browser,
    database: asyncpg.Connection,
    trader: Trader,
    broken: str,
) -> None:
    looker = await Person.at(browser, platform)
    await looker.sign_in("trader")
    await expect(looker.table("Alerts")).to_contain_text("execution is 0 here, 75 at the broker")
    await expect(looker.page.get_by_text("Resolve a break")).to_have_count(0)

    person = await Person.at(browser, platform)
    await person.sign_in("admin")
    # The tables above it still find their places until then.
    await person.drawn("Dashboard")
    await person.page.get_by_text("Resolve a break").click()
    press = person.page.get_by_role("button", name="Resolve", exact=True)
    await person.page.get_by_label("What it was").fill("the desk sold by telephone")
    await press.click()
    await expect(person.page.get_by_text("Type RESOLVE to confirm.")).to_be_visible()
    assert (await database.fetchrow(STATE, broken))["state"] == "open"

    await person.page.get_by_label("Type RESOLVE").fill("RESOLVE")
    await press.click()
    await expect(person.page.get_by_text(re.compile("Break .* is resolved"))).to_be_visible()
    ended = await database.fetchrow(STATE, broken)
    assert tuple(ended) == ("resolved", "the desk sold by telephone")
    await resume(platform, trader.user["accounts"][0])
    # Until then the head of the page named it as the reason of the account's state.
    await person.page.reload()
    await person.drawn("Dashboard")
    await expect(person.page.get_by_text(broken)).to_have_count(0)
    assert looker.breaches() == person.breaches() == []
