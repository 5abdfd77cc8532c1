"""Whether what the traders were told is what the books and the venue hold, once each."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from invariants import BOOKS
from platform_client import Platform, eventually

REST_TIMEOUT_S = 120
STATES_IN_FLIGHT = (
    "new",
    "submitting",
    "submit_unknown",
    "submitted",
    "pending_replace",
    "pending_cancel",
)
PENDING = {
    "in the outbox": "SELECT count(*) FROM app.events_outbox",
    "parked": "SELECT count(*) FROM app.outbox_parked",
    "given up": "SELECT count(*) FROM app.events_dead",
    "unread from the venue": "SELECT count(*) FROM app.inbox WHERE applied_at IS NULL",
    "in flight": "SELECT count(*) FROM app.orders WHERE status = ANY($1)",
}
# With how an order ended that never got there, if it did: canceled or refused while it waited, or
# proved absent after the moment until which the bridge would have taken it.
ORDERS = """
    SELECT o.client_order_id, o.order_id::text, o.status, coalesce(
        (
            SELECT d.outcome FROM app.events_done AS d
            WHERE d.order_id = o.order_id AND d.kind = 'order.place.v1'
                AND d.outcome IN ('canceled', 'refused')
        ),
        (
            SELECT e.kind FROM app.order_events AS e
            WHERE e.order_id = o.order_id AND e.kind = 'absent' AND e.applied
                AND e.status_after IN ('canceled', 'rejected')
        )
    ) AS ended_before
    FROM app.orders AS o"""
# After a load an order may stay open at the venue.
STATE_BOOKS = ("an order has not ended", "a row is still owed", "a report is not applied")
CALLS_AT_ONCE = 8

Confirmed = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Verdict:
    """What the check found; which orders ended before they reached the venue is no breach."""

    breaches: list[str]
    never_sent: dict[str, int] = field(default_factory=dict)


async def check_platform(platform: Platform, confirmed: Confirmed) -> Verdict:
    """Wait until nothing is owed any more, then compare the books and the venue with the ledger."""
    database = await platform.database()
    try:
        try:
            await eventually(lambda: pending(database), lambda left: not left, REST_TIMEOUT_S)
        except AssertionError as error:
            return Verdict([f"the platform did not come to rest: {error}"])
        orders = [dict(row) for row in await database.fetch(ORDERS)]
        venue = Counter(order["client_order_id"] for order in await platform.venue_orders())
        breaches = compare(orders, venue, confirmed)
        breaches += [breach async for breach in broken_books(database)]
        ended = Counter(order["ended_before"] for order in orders if order["ended_before"])
        return Verdict(breaches, dict(ended))
    finally:
        await database.close()


async def pending(database: asyncpg.Connection) -> dict[str, int]:
    """Count what is still owed, by kind."""
    left = {}
    for name, query in PENDING.items():
        states = [list(STATES_IN_FLIGHT)] if "$1" in query else []
        if count := await database.fetchval(query, *states):
            left[name] = count
    return left


def compare(
    orders: list[dict[str, Any]], venue: Mapping[str, int], confirmed: Confirmed
) -> list[str]:
    """Every confirmed order once in the books and, unless it was denied, once at the venue."""
    times = Counter(order["client_order_id"] for order in orders)
    held = {order["client_order_id"]: order for order in orders}
    breaches = [f"{key} is {n} times in the books" for key, n in times.items() if n != 1]
    for key, told in confirmed.items():
        order = held.get(key)
        if order is None or order["order_id"] != told["order_id"]:
            breaches.append(f"{key} was confirmed and is not in the books")
        elif (order["status"] == "denied") != (told["status"] == "denied"):
            breaches.append(f"{key} was told {told['status']} and is {order['status']}")
    breaches += [f"{key} is {n} times at the venue" for key, n in venue.items() if n > 1]
    breaches += [f"{key} is at the venue only" for key in venue if key not in held]
    for key, order in held.items():
        if never_sent(order) == bool(venue.get(key)):
            where = "at the venue" if venue.get(key) else "not at the venue"
            breaches.append(f"{key} is {order['status']} and {where}")
    return breaches


def never_sent(order: Mapping[str, Any]) -> bool:
    """Say whether an order ended before the wire: denied, or ended on its way."""
    return order["status"] == "denied" or order["ended_before"] is not None


async def broken_books(database: asyncpg.Connection) -> AsyncIterator[str]:
    """Yield what the books contradict themselves in."""
    for title, query in BOOKS.items():
        if title in STATE_BOOKS:
            continue
        for row in await database.fetch(query):
            yield f"{title}: {row[0]}"


async def check_by_api(url: str, users: list[dict[str, Any]], confirmed: Confirmed) -> Verdict:
    """Read every confirmed order back as its trader; for an installation that is not ours."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_check_trader(url, user, confirmed))
            for user in users
            if any(told["email"] == user["email"] for told in confirmed.values())
        ]
    return Verdict([breach for task in tasks for breach in task.result()])


async def _check_trader(url: str, user: dict[str, Any], confirmed: Confirmed) -> list[str]:
    headers = {"rid": "load", "Origin": url}
    fields = [{"id": name, "value": user[name]} for name in ("email", "password")]
    gate = asyncio.Semaphore(CALLS_AT_ONCE)

    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        await client.post("/auth/signin", json={"formFields": fields})

        async def read(key: str, order_id: str) -> str | None:
            async with gate:
                return await _settled(client, key, order_id)

        mine = {key: told for key, told in confirmed.items() if told["email"] == user["email"]}
        found = await asyncio.gather(*(read(key, told["order_id"]) for key, told in mine.items()))
    return [breach for breach in found if breach is not None]


async def _settled(client: httpx.AsyncClient, key: str, order_id: str) -> str | None:
    async def look() -> dict[str, Any]:
        answer = await client.get(f"/api/orders/{key}")
        return {"code": answer.status_code, **answer.json()}

    def rests(seen: dict[str, Any]) -> bool:
        return seen["code"] == 200 and seen["status"] not in STATES_IN_FLIGHT

    try:
        seen = await eventually(look, rests, REST_TIMEOUT_S)
    except AssertionError as error:
        return f"{key}: {error}"
    return None if seen["order_id"] == order_id else f"{key} is another order: {seen}"
