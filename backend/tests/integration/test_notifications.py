"""Messages really arrive: a worker, a mail server, a web server, and what stands in their way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from worker_process import JsonServer, WorkerProcess
from worker_world import Command, Desk, Venue, desk, eventually

from app.services.notify_addresses import Sealer
from app.services.sp_notifications import Channel, notify_set, notify_test
from worker.messages import LINES_MAX, body_of, title_of
from worker.notifier import send_courier

__all__ = ["desk"]

NOWHERE = "http://127.0.0.1:1/"
STATES = ("halted", "reducing", "active")


class Receiver(JsonServer):
    """A web server that keeps what is posted, and answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[dict[str, Any]] = []
        self.held: asyncio.Event | None = None

    @property
    def address(self) -> str:
        return self.url.replace("http://", "json://") + "token-of-the-hook"

    async def answer(self, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        self.bodies.append(body)
        if self.held is not None:
            await self.held.wait()
        return {}


class Mailbox:
    """Keeps what a mail server takes."""

    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 taken"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


@pytest.fixture
async def stuck() -> AsyncIterator[Receiver]:
    """A web server that takes what is posted and does not answer."""
    stuck = Receiver()
    stuck.held = asyncio.Event()
    await stuck.start()
    yield stuck
    stuck.held.set()
    await stuck.stop()


@pytest.fixture
async def worker(desk: Desk, tmp_path: Path) -> AsyncIterator[WorkerProcess]:
    worker = await WorkerProcess.start(desk, NOWHERE, tmp_path, NOTIFY_ALLOW_PRIVATE="true")
    yield worker
    await worker.kill()


async def set_channel(desk: Desk, url: str, name: str = "mine", **changes: Any) -> None:
    """Make a channel as the API does."""
    sealer = Sealer(desk.settings().secret("webhook_hmac"))
    fields: dict[str, Any] = {
        "name": name,
        "sealed": sealer.seal(url),
        "fingerprint": sealer.fingerprint(url),
        "hint": "x://...",
        "kinds": ["halt"],
        "account_ids": None,
        "interval_s": 10,
        "enabled": True,
    }
    channel = Channel(**fields | changes)
    await desk.api(lambda api: notify_set(api, desk.trader, "request", channel))


async def switch(desk: Desk, state: str, reason: str = "fire") -> None:
    """Switch trading of the lowest account, which is something to be told."""
    owner = await desk.database.connect("app_migrate")
    query = "SELECT app.sp_trading_state_force('test', 'account', $1, $2, $3)"
    await owner.execute(query, min(desk.accounts), state, reason)
    await owner.close()


async def due_now(desk: Desk) -> None:
    """Let what waits be due: an interval or a lease is over."""
    await desk.fetch("UPDATE app.notify_channels SET next_at = '-infinity' RETURNING 1")


async def nothing_is_owed(desk: Desk) -> bool:
    return await desk.value("SELECT count(*) = 0 FROM app.notify_events") is True


async def test_a_message_arrives_by_web_and_by_mail_and_in_no_log(
    desk: Desk, receiver: Receiver, worker: WorkerProcess, tmp_path: Path
) -> None:
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop), "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        await set_channel(desk, receiver.address)
        mail = f"mailto://127.0.0.1:{port}?from=desk@example.test&to=joe@example.test"
        await set_channel(desk, mail, name="mail")
        await switch(desk, "halted", "a fire\tin the house")
        await eventually(lambda: receiver.bodies and mailbox.mails)
        await eventually(lambda: nothing_is_owed(desk))
    finally:
        server.close()
    (body,), (received,) = receiver.bodies, mailbox.mails
    assert body["title"] == received["subject"] == "Informania: 1 trading change"
    assert "Account 1001 trading is halted (account): a fire in the house" in body["message"]
    assert received["to"] == "joe@example.test"
    assert "trading is halted" in received.get_body(("plain",)).get_content()
    logged = all_text(tmp_path)
    assert "notified" in logged
    assert "token-of-the-hook" not in logged
    assert "joe@example.test" not in logged


async def test_a_burst_is_told_in_one_message_after_the_first(
    desk: Desk, receiver: Receiver, worker: WorkerProcess
) -> None:
    await set_channel(desk, receiver.address)
    await switch(desk, "halted")
    await eventually(lambda: len(receiver.bodies) == 1)
    for turn in range(6):
        await switch(desk, STATES[(turn + 1) % 3])
    await eventually(lambda: desk.value("SELECT count(*) = 6 FROM app.notify_events"))
    assert len(receiver.bodies) == 1
    await due_now(desk)
    await eventually(lambda: len(receiver.bodies) == 2)
    assert receiver.bodies[1]["title"] == "Informania: 6 trading changes"
    await eventually(lambda: nothing_is_owed(desk))


async def test_a_kill_between_sending_and_recording_tells_it_again(
    desk: Desk, receiver: Receiver, tmp_path: Path
) -> None:
    await set_channel(desk, receiver.address)
    receiver.held = asyncio.Event()
    first = await WorkerProcess.start(desk, NOWHERE, tmp_path, NOTIFY_ALLOW_PRIVATE="true")
    await switch(desk, "halted")
    await eventually(lambda: len(receiver.bodies) == 1)
    await first.kill()
    receiver.held.set()
    assert not await nothing_is_owed(desk)
    await due_now(desk)
    second = await WorkerProcess.start(desk, NOWHERE, tmp_path, NOTIFY_ALLOW_PRIVATE="true")
    try:
        await eventually(lambda: nothing_is_owed(desk))
    finally:
        await second.kill()
    assert [body["message"] for body in receiver.bodies] == [receiver.bodies[0]["message"]] * 2


async def test_a_dead_and_a_stuck_receiver_hold_up_neither_others_nor_the_lanes(
    desk: Desk, receiver: Receiver, stuck: Receiver, worker: WorkerProcess
) -> None:
    await set_channel(desk, "json://127.0.0.1:1/refused", name="dead")
    await set_channel(desk, stuck.address, name="stuck")
    await set_channel(desk, receiver.address)
    await switch(desk, "halted")
    account_id, account = max(desk.accounts.items())
    order = await desk.place(account_id)
    await eventually(lambda: stuck.bodies and receiver.bodies)
    taken = Command("place", order, account)
    await Venue(desk).report(taken, {"kind": "order_event", "status": "accepted"})
    await eventually(lambda: desk.is_status(order, "accepted"))
    assert await desk.value("SELECT sum(failures) = 0 FROM app.notify_channels"), "still waited for"
    failed = "SELECT count(*) = 2 FROM app.notify_channels WHERE failures = 1"
    await eventually(lambda: desk.value(failed))
    errors = await desk.fetch("SELECT name, last_error FROM app.notify_channels")
    assert {row["name"]: row["last_error"] for row in errors} == {
        "dead": "not_delivered",
        "stuck": "not_delivered",
        "mine": None,
    }


async def test_a_test_message_reaches_a_channel_that_is_switched_off(
    desk: Desk, receiver: Receiver, worker: WorkerProcess
) -> None:
    await set_channel(desk, receiver.address, enabled=False)
    await desk.api(lambda api: notify_test(api, desk.trader, "request", "mine"))
    await eventually(lambda: receiver.bodies)
    assert "a test message" in receiver.bodies[0]["message"]


async def test_what_was_sealed_under_another_secret_is_said_and_not_guessed(
    desk: Desk, worker: WorkerProcess
) -> None:
    await set_channel(desk, NOWHERE, sealed=Sealer("another").seal(NOWHERE))
    await switch(desk, "halted")
    unreadable = "SELECT last_error = 'address_unreadable' FROM app.notify_channels"
    await eventually(lambda: desk.value(unreadable))


async def test_without_leave_nothing_reaches_the_own_network(
    desk: Desk, receiver: Receiver, tmp_path: Path
) -> None:
    worker = await WorkerProcess.start(desk, NOWHERE, tmp_path)
    try:
        await set_channel(desk, receiver.address)
        await switch(desk, "halted")
        refused = "SELECT last_error = 'address_refused' FROM app.notify_channels"
        await eventually(lambda: desk.value(refused))
    finally:
        await worker.kill()
    assert receiver.bodies == []


async def test_a_public_name_that_leads_home_is_stopped_when_it_connects(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The resolver of the courier answers for any name with this machine.
    patch = (
        "import socket\n"
        "real = socket.getaddrinfo\n"
        "socket.getaddrinfo = lambda host, *more, **named: real('127.0.0.1', *more, **named)\n"
    )
    (tmp_path / "sitecustomize.py").write_text(patch)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    port = receiver.url.rsplit(":", 1)[1].strip("/")
    message = {"title": "t", "body": "b"}
    home = {**message, "channel_id": 1, "url": f"jsons://hooks.example.com:{port}/"}
    mail = {**message, "channel_id": 2, "url": f"mailto://a:b@example.com:{port}?to=c@example.com"}
    told = await send_courier([home, mail], allow_private=False)
    assert told == {1: "not_delivered", 2: "not_delivered"}
    assert receiver.bodies == []
    private = {**home, "url": f"json://hooks.example.com:{port}/"}
    assert await send_courier([private], allow_private=True) == {1: None}
    assert len(receiver.bodies) == 1


async def test_a_courier_that_takes_too_long_is_killed_and_knows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("APP_WORKER_PASSWORD", "secret")
    message = {"channel_id": 1, "url": NOWHERE, "title": "t", "body": "b"}
    started = time.monotonic()
    sending = asyncio.create_task(send_courier([message], allow_private=True, timeout_s=3))
    # A child has its own environment once it runs its own program.
    await eventually(lambda: environments_of_couriers(tmp_path) != [])
    [environment] = environments_of_couriers(tmp_path)
    assert b"APP_WORKER_PASSWORD" not in environment
    assert await sending == {}
    assert time.monotonic() - started < 60
    assert environments_of_couriers(tmp_path) == []


def environments_of_couriers(marked_by: Path) -> list[bytes]:
    """Of our children those that were given this folder: others are servers of other tests."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    found = [Path(f"/proc/{child}/environ").read_bytes() for child in children]
    return [environment for environment in found if str(marked_by).encode() in environment]


def all_text(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("*.log"))


def test_a_message_of_many_events_says_how_many_more() -> None:
    fill = {"side": "buy", "quantity": 1, "price": 2, "cum_quantity": 1, "of": 3}
    event = {"kind": "fill", "at": "2026-01-05T15:00:00.1+00:00", "account": "A", "symbol": "IBM"}
    events = [{**event, "detail": {**fill, "client_order_id": str(n)}} for n in range(100)]
    assert title_of(events) == "Informania: 100 fills"
    lines = body_of(events).splitlines()
    assert lines[0] == "2026-01-05T15:00:00Z A filled: buy 1 IBM at 2, 1 of 3 of order 0"
    assert lines[-1] == f"and {100 - LINES_MAX} more"
    assert len(lines) == LINES_MAX + 1
