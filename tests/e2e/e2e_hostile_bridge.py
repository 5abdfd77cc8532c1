"""Reports that nobody should believe: nothing is booked, all is recorded, the lanes go on."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from platform_client import Platform, Trader, eventually

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("platform")]

PATH = "/api/webhooks/quantconnect"
# An account that trades nothing; its bridge has gone mad, or its key has leaked.
MAD = "990001"
SOURCE = f"qc:{MAD}"
HANG_UP_TIMEOUT_S = 60
ENORMOUS = 10 * 1024 * 1024
BOOKS = """
    SELECT
        (SELECT count(*) FROM app.executions) AS executions,
        (SELECT jsonb_agg(to_jsonb(p) ORDER BY to_jsonb(p)) FROM app.positions AS p) AS positions,
        (SELECT jsonb_agg(to_jsonb(c) ORDER BY to_jsonb(c)) FROM app.cash_balances AS c) AS cash,
        (SELECT jsonb_object_agg(o.order_id, o.status || ' ' || o.cum_quantity)
            FROM app.orders AS o) AS orders
"""


def now() -> str:
    return datetime.now(UTC).isoformat()


def fill(sequence: int, client_order_id: str, **changes: Any) -> dict[str, Any]:
    event = {
        "sequence": sequence, "event_id": f"mad-{sequence}", "kind": "order_event",
        "client_order_id": client_order_id, "occurred_at": now(), "status": "filled",
        "broker_order_id": "7", "exec_id": f"mad-{sequence}", "fill_quantity": "1",
        "fill_price": "20.00", "fee": "1.00", "fee_currency": "USD",
    }  # fmt: skip
    return {**event, **changes}


def batch(*events: dict[str, Any], **changes: Any) -> bytes:
    body = {
        "version": 1, "source": SOURCE, "deploy_id": "MAD-1", "epoch": 1, "sent_at": now(),
        "events": list(events), "quotes": [], **changes,
    }  # fmt: skip
    return json.dumps(body).encode()


class MadBridge:
    """Whoever has the key of the bridges, at the public door."""

    def __init__(self, platform: Platform) -> None:
        self.url = platform.url
        self.key = (platform.run_dir / "secrets" / "webhook_hmac").read_text().strip().encode()

    def headers(self, body: bytes, signature: str | None = None) -> dict[str, str]:
        signed = hmac.new(self.key, body, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/json",
            "X-Bridge-Signature": signed if signature is None else signature,
            "X-Bridge-Source": SOURCE,
        }

    async def post(self, body: bytes, signature: str | None = None) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            headers = self.headers(body, signature)
            return await client.post(PATH, content=body, headers=headers)

    async def part(self, body: bytes, size: int, *, half_close: bool) -> bytes:
        """Send a part of a report, then stop speaking; return what was answered until the end."""
        door = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(door.hostname, door.port)
        head = {"Host": door.netloc, "Content-Length": str(len(body)), **self.headers(body)}
        lines = [f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body[:size])
            await writer.drain()
            if not half_close:
                return b""
            writer.write_eof()
            async with asyncio.timeout(HANG_UP_TIMEOUT_S):
                return await reader.read()
        finally:
            writer.transport.abort()


@pytest.fixture
async def mad(platform: Platform, database: asyncpg.Connection) -> MadBridge:
    """An account whose reports are not to be believed."""
    await database.fetchval(
        "SELECT app.sp_account_upsert('system:test', 'Mad', 'USD', 'quantconnect', $1, TRUE)", MAD
    )
    return MadBridge(platform)


async def books(database: asyncpg.Connection) -> dict[str, Any]:
    return dict(await database.fetchrow(BOOKS))


async def filled(trader: Trader) -> str:
    """An order that goes all the way."""
    key = f"e2e-{uuid.uuid4().hex[:20]}"
    answer = await trader.place(key)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    await trader.settled(key, "filled")
    return key


async def test_what_is_not_signed_or_not_whole_is_not_even_kept(
    mad: MadBridge, trader: Trader, database: asyncpg.Connection
) -> None:
    known = await filled(trader)
    before = await books(database)
    good = batch(fill(1, known))
    for signature in ("", "0" * 64, mad.headers(good + b" ")["X-Bridge-Signature"]):
        answer = await mad.post(good, signature)
        assert (answer.status_code, answer.json()["code"]) == (401, "signature_invalid")
    answer = await mad.post(good[:-1])
    assert (answer.status_code, answer.json()["code"]) == (400, "json_malformed")
    answer = await mad.post(good.replace(b'"20.00"', b"NaN"))
    assert answer.status_code in (400, 422), answer.text
    # The door may hang up while it is still being spoken to.
    with contextlib.suppress(httpx.ReadError, httpx.WriteError):
        answer = await mad.post(good + b" " * ENORMOUS)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert not (await mad.part(good, len(good) // 2, half_close=True)).startswith(b"HTTP/1.1 2")
    silent = (mad.part(good, len(good) // 2, half_close=False) for _ in range(20))
    await asyncio.gather(*silent)

    kept = await database.fetchval("SELECT count(*) FROM app.inbox WHERE source = $1", SOURCE)
    assert kept == 0
    assert await books(database) == before
    await filled(trader)


async def test_what_is_signed_and_wrong_is_recorded_and_never_booked(
    mad: MadBridge, trader: Trader, database: asyncpg.Connection
) -> None:
    known = await filled(trader)
    before = await books(database)
    events = [
        fill(1, known),
        fill(2, "nobody-ever-placed-this"),
        fill(3, known, kind="commission", fee="-5.00"),
        fill(4, known, fill_quantity="-1"),
        fill(5, known, fill_price="NaN"),
        fill(6, known, fill_quantity="100000000000000000000"),
        fill(7, known, kind="bust"),
        fill(8, known, status="canceled", fill_quantity=None, fill_price=None),
        fill(9, known, kind="no such kind"),
        fill(10, "", occurred_at="the day before yesterday"),
    ]
    report = batch(*events)
    refused = [event for event in events if (await mad.post(batch(event))).status_code != 200]
    # A replay of the very bytes, and all at once.
    await mad.post(report)
    await mad.post(report)

    async def unapplied() -> int:
        count: int = await database.fetchval(
            "SELECT count(*) FROM app.inbox WHERE source = $1 AND applied_at IS NULL", SOURCE
        )
        return count

    await eventually(unapplied, lambda count: count == 0)
    rows = await database.fetch("SELECT event_id, outcome FROM app.inbox WHERE source = $1", SOURCE)
    outcomes = {row["event_id"]: row["outcome"] for row in rows}
    kept = {event["event_id"] for event in events if event not in refused}
    assert len(rows) == len(outcomes), "an event is kept once"
    assert kept <= outcomes.keys()
    assert set(outcomes.values()) <= {"unmatched", "invalid"}, outcomes
    assert await books(database) == before

    # A fill that belongs to no order here is a difference to the broker: of that account alone.
    states = await database.fetch(
        "SELECT a.broker_account, t.state FROM app.trading_states AS t"
        " JOIN app.accounts AS a ON a.account_id = t.scope_id"
        " WHERE t.scope = 'account' AND t.state <> 'active'"
    )
    assert {row["broker_account"]: row["state"] for row in states} == {MAD: "reducing"}
    audited = await database.fetchval(
        "SELECT count(*) FROM audit.audit_log AS l JOIN app.accounts AS a"
        " ON a.account_id = l.stream_id WHERE a.broker_account = $1 AND l.action = 'recon.break'",
        MAD,
    )
    assert audited >= 2
    await filled(trader)
