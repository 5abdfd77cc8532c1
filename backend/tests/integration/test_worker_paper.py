"""The worker and the paper venue: real adapter, real bridge file, real matching."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from free_ports import free_port
from worker_process import BACKEND, WebhookFace, WorkerProcess
from worker_world import Desk, desk, eventually

__all__ = ["desk"]


CORRECTED = "SELECT EXISTS (SELECT FROM app.executions WHERE kind = 'correction' AND price = 20.01)"
STOP = {"order_type": "stop", "limit_price": None, "stop_price": Decimal(21)}


class Paper:
    """A paper venue in a process of its own, reporting to this test's webhook."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.url = ""
        self._desk = desk
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._control = httpx.AsyncClient(trust_env=False, timeout=10)

    async def start(self, webhook_url: str) -> None:
        """Start it, and hold the one instrument at a price."""
        qc_port, control_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{qc_port}/api/v2/"
        self._control.base_url = httpx.URL(f"http://127.0.0.1:{control_port}")
        env = {
            "PATH": os.environ["PATH"],
            "SECRETS_DIR": str(self._desk.database.cluster.secrets_dir),
            "PAPER_QC_PORT": str(qc_port),
            "PAPER_TEST_PORT": str(control_port),
            "PAPER_STATE_DIR": str(self._folder / "paper"),
            "BRIDGE_INTERVAL_SECONDS": "0.2",
            "WEBHOOK_URL": webhook_url,
        }
        with (self._folder / "paper.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "paper", env=env, cwd=BACKEND, stdout=log, stderr=log
            )
        await eventually(self._is_well)
        await self.hold("20.00")

    async def _is_well(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, (self._folder / "paper.log").read_text()
        try:
            return (await self._control.get("/healthz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def hold(self, price: str) -> None:
        """Hold the price of the one instrument."""
        answer = await self._control.post("/paper/v1/market/AAPL", json={"price": price})
        assert answer.is_success, answer.text

    async def fault(self, kind: str) -> None:
        """Let the venue do once what it should not."""
        answer = await self._control.post("/paper/v1/faults", json={"kind": kind})
        assert answer.is_success, answer.text

    async def orders(self) -> list[dict[str, Any]]:
        """List what was ever placed at the venue."""
        orders: list[dict[str, Any]] = (await self._control.get("/paper/v1/orders")).json()
        return orders

    async def stop(self) -> None:
        """End it."""
        await self._control.aclose()
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()


@pytest.fixture
async def paper(desk: Desk, tmp_path: Path) -> AsyncIterator[Paper]:
    webhook, paper = WebhookFace(desk), Paper(desk, tmp_path)
    await webhook.start()
    try:
        await paper.start(webhook.url)
        yield paper
    finally:
        await paper.stop()
        await webhook.stop()


async def test_a_replaced_order_and_a_stop_are_filled_with_their_new_values(
    desk: Desk, paper: Paper, tmp_path: Path
) -> None:
    worker = await WorkerProcess.start(desk, paper.url, tmp_path)
    try:
        await eventually(lambda: desk.value("SELECT count(*) = 3 FROM app.bridges"))
        order = await desk.place(min(desk.accounts))
        await eventually(lambda: desk.is_status(order, "accepted"))
        assert await desk.replace(order, quantity=6, limit_price="19.25") == "pending_replace"
        await eventually(lambda: desk.is_status(order, "accepted"))
        (placed,) = await paper.orders()
        assert [placed["quantity"], placed["limit_price"]] == ["6", "19.25"]
        stop = await desk.place(min(desk.accounts), **STOP)
        await eventually(lambda: desk.is_status(stop, "accepted"))
        await paper.hold("21.00")
        await eventually(lambda: desk.is_status(stop, "filled"))
        await paper.hold("19.25")
        await eventually(lambda: desk.is_status(order, "filled"))
        await eventually(desk.outbox_is_empty)
    finally:
        await worker.kill()
    assert await desk.value("SELECT sum(quantity) FROM app.executions") == 16


async def test_an_order_is_filled_once_at_the_venue_although_its_worker_was_killed(
    desk: Desk, paper: Paper, tmp_path: Path
) -> None:
    first = await WorkerProcess.start(desk, paper.url, tmp_path)
    second = None
    try:
        await eventually(lambda: desk.value("SELECT count(*) = 3 FROM app.bridges"))
        order = await desk.place(min(desk.accounts))
        await eventually(lambda: desk.is_status(order, "accepted"))
        await first.kill()
        await paper.hold("19.00")
        second = await WorkerProcess.start(desk, paper.url, tmp_path)
        await eventually(lambda: desk.is_status(order, "filled"))
        await eventually(desk.outbox_is_empty)
    finally:
        await first.kill()
        if second is not None:
            await second.kill()
    placed = await paper.orders()
    assert [row["client_order_id"] for row in placed] == [order]
    filled = await desk.value("SELECT sum(quantity) FROM app.executions")
    assert filled == 10
    assert await desk.value("SELECT quantity FROM app.positions") == 10


async def test_a_corrected_and_a_busted_fill_leave_both_books_alike(
    desk: Desk, paper: Paper, tmp_path: Path
) -> None:
    account = min(desk.accounts)
    owner = await desk.database.connect("app_migrate")
    await owner.execute(
        "SELECT app.sp_cash_book('system:seed', $1, 'USD', -900000, 'withdrawal', 'as there')",
        account,
    )
    worker = await WorkerProcess.start(desk, paper.url, tmp_path)
    market = {"order_type": "market", "limit_price": None}
    try:
        await eventually(lambda: desk.value("SELECT count(*) = 3 FROM app.bridges"))
        await paper.fault("correction")
        corrected = await desk.place(account, **market)
        await eventually(lambda: desk.value(CORRECTED))
        await paper.fault("bust")
        busted = await desk.place(account, **market)
        await eventually(lambda: desk.is_status(busted, "canceled"))
        # Equal by a report that was made, heard and counted after all of it.
        await eventually(
            lambda: desk.value(
                "SELECT EXISTS (SELECT FROM app.sp_reconcile_reports() WHERE account_id = $1)"
                " AND NOT EXISTS (SELECT FROM app.sp_reconcile_find() WHERE account_id = $1)",
                account,
            )
        )
    finally:
        await worker.kill()
    assert await desk.is_status(corrected, "filled")
    cash = await desk.value("SELECT amount FROM app.cash_balances WHERE account_id = $1", account)
    assert cash == 100_000 - 10 * Decimal("20.01") - 1
    by_id = {row["client_order_id"]: row for row in await paper.orders()}
    assert [by_id[name]["cum_quantity"] for name in (corrected, busted)] == ["10", "0"]


async def test_a_fill_told_twice_under_two_ids_is_booked_as_told_and_found_to_be_a_break(
    desk: Desk, paper: Paper, tmp_path: Path
) -> None:
    account = min(desk.accounts)
    worker = await WorkerProcess.start(desk, paper.url, tmp_path, RECONCILE_EVERY_S="0.5")
    try:
        await eventually(lambda: desk.value("SELECT count(*) = 3 FROM app.bridges"))
        await paper.fault("duplicate_fill_new_id")
        order = await desk.place(account, order_type="market", limit_price=None)
        await eventually(
            lambda: desk.value(
                "SELECT EXISTS (SELECT FROM app.recon_breaks WHERE account_id = $1"
                " AND figure = 'position' AND state = 'open' AND (ours, theirs) = (20, 10))",
                account,
            )
        )
    finally:
        await worker.kill()
    (booked,) = await desk.fetch("SELECT client_order_id, overfill, cum_quantity FROM app.orders")
    assert tuple(booked) == (order, True, 20)
    state = "SELECT state FROM app.trading_states WHERE scope = 'account' AND scope_id = $1"
    assert await desk.value(state, account) == "reducing"
    (filled,) = await paper.orders()
    assert filled["cum_quantity"] == "10"


async def test_a_fill_that_nobody_reported_is_found_in_the_venues_own_list(
    desk: Desk, paper: Paper, tmp_path: Path
) -> None:
    worker = await WorkerProcess.start(desk, paper.url, tmp_path, EXECUTIONS_EVERY_S="0.5")
    try:
        await eventually(lambda: desk.value("SELECT count(*) = 3 FROM app.bridges"))
        order = await desk.place(min(desk.accounts))
        await eventually(lambda: desk.is_status(order, "accepted"))
        await paper.fault("lost_event")
        await paper.hold("19.00")
        await eventually(lambda: desk.is_status(order, "filled"))
        await eventually(desk.outbox_is_empty)
    finally:
        await worker.kill()
    (event,) = await desk.fetch("SELECT event_id, outcome FROM app.inbox WHERE sequence IS NULL")
    assert (event["event_id"][:7], event["outcome"]) == ("listed:", "applied")
    (filled,) = await paper.orders()
    booked = await desk.fetch("SELECT exec_base, quantity, price, fee FROM app.executions")
    assert [
        (row["exec_base"], str(row["quantity"]), str(row["price"]), str(row["fee"]))
        for row in booked
    ] == [
        (fill["exec_id"], fill["quantity"], str(Decimal(fill["price"]).normalize()), "1")
        for fill in filled["executions"]
    ]
