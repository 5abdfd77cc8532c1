"""The worker as a process: killed and stalled between the steps of a send, stopped, replaced."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fixtures_postgres import Database as FreshDatabase
from free_ports import free_port
from worker_process import BACKEND, QcFace, WorkerProcess
from worker_world import Desk, Venue, eventually

SHORT = {"SEND_TIMEOUT_S": "1", "SEND_VALID_S": "2"}


class Floor:
    """A desk, a venue on a wire, and the worker processes of a test."""

    def __init__(self, desk: Desk, venue: Venue, face: QcFace, folder: Path) -> None:
        self.desk = desk
        self.venue = venue
        self.account = min(desk.accounts)
        self._face = face
        self._folder = folder
        self._workers: list[WorkerProcess] = []

    async def start(self, name: str, **options: Any) -> WorkerProcess:
        """Start a worker that signs its commands with its name."""
        worker = await WorkerProcess.start(
            self.desk, self._face.url, self._folder, name=name, **options
        )
        self._workers.append(worker)
        return worker

    async def start_and_own(self, name: str, **options: Any) -> WorkerProcess:
        """Start a worker and wait until the lanes are its own."""
        worker = await self.start(name, **options)
        await worker.has_said("shards_taken")
        return worker

    async def end(self) -> None:
        """Leave no process behind."""
        for worker in self._workers:
            await worker.kill()


@pytest.fixture
async def floor(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Floor]:
    desk = Desk(database)
    await desk.open(accounts=2)
    venue = Venue(desk)
    await venue.heartbeats()
    face = QcFace(venue)
    await face.start()
    floor = Floor(desk, venue, face, tmp_path)
    yield floor
    await floor.end()
    await face.stop()


async def test_a_worker_killed_before_the_send_is_followed_by_a_question(floor: Floor) -> None:
    order = await floor.desk.place(floor.account)
    worker = await floor.start("1", hold="before_send", **SHORT)
    await worker.has_halted()
    assert await floor.desk.status(order) == "submitting"
    await worker.kill()
    await floor.start("2", **SHORT)
    await eventually(lambda: floor.venue.sent("place", order))
    await eventually(floor.desk.outbox_is_empty)
    actions = [command.action for command in floor.venue.commands]
    assert actions[0] == "query"
    assert actions.count("place") == 1


async def test_a_worker_killed_after_the_send_does_not_cause_a_second_one(floor: Floor) -> None:
    order = await floor.desk.place(floor.account)
    worker = await floor.start("1", hold="after_send", **SHORT)
    await worker.has_halted()
    await worker.kill()
    assert len(floor.venue.sent("place", order)) == 1
    await floor.start("2", **SHORT)
    await eventually(lambda: floor.desk.is_status(order, "accepted"))
    await eventually(floor.desk.outbox_is_empty)
    assert [command.action for command in floor.venue.commands[:2]] == ["place", "query"]
    assert len(floor.venue.sent("place")) == 1


async def test_a_killed_workers_shards_are_taken_long_before_their_lease_ends(
    floor: Floor,
) -> None:
    first = await floor.start_and_own("1", SHARD_LEASE_S="3600")
    second = await floor.start("2", SHARD_LEASE_S="3600")
    await second.has_said("lanes_opened")
    assert not second.events("shards_taken")
    await first.kill()
    order = await floor.desk.place(floor.account)
    await eventually(lambda: floor.venue.sent("place", order))
    assert [command.sender for command in floor.venue.sent("place")] == ["2"]


async def test_a_stalled_workers_shards_are_taken_when_the_lease_ends_and_it_sends_no_more(
    floor: Floor,
) -> None:
    lease = SHORT | {"SHARD_LEASE_S": "3"}
    first = await floor.start_and_own("1", **lease)
    second = await floor.start("2", **lease)
    await second.has_said("lanes_opened")
    first.stall()
    order = await floor.desk.place(floor.account)
    await eventually(lambda: floor.venue.sent("place", order))
    first.go_on()
    await first.has_said("lanes_lost")
    later = [await floor.desk.place(account) for account in floor.desk.accounts]
    await eventually(lambda: all(floor.venue.sent("place", order) for order in later))
    assert {command.sender for command in floor.venue.commands} == {"2"}
    assert len(floor.venue.sent("place")) == 3


async def test_a_worker_stalled_on_the_brink_of_a_send_does_not_send_when_it_wakes(
    floor: Floor,
) -> None:
    lease = SHORT | {"SHARD_LEASE_S": "3"}
    order = await floor.desk.place(floor.account)
    first = await floor.start("1", hold="before_send", **lease)
    await first.has_halted()
    await floor.start("2", **lease)
    await eventually(lambda: floor.venue.sent("place", order))
    first.go_on()
    await first.has_said("lanes_lost")
    await eventually(floor.desk.outbox_is_empty)
    assert [command.sender for command in floor.venue.sent("place")] == ["2"]


async def test_sigterm_ends_a_worker_cleanly_and_frees_its_shards(floor: Floor) -> None:
    worker = await floor.start_and_own("1")
    order = await floor.desk.place(floor.account)
    await floor.desk.poke()
    await eventually(lambda: floor.desk.is_status(order, "submitted"))
    assert await worker.terminate() == 0, worker.log
    assert worker.events("worker_stopped")
    assert (
        await floor.desk.value("SELECT count(*) FROM app.outbox_shards WHERE lease_until > now()")
        == 0
    )


async def test_every_hop_of_an_order_carries_its_request_id_and_no_secret(floor: Floor) -> None:
    worker = await floor.start_and_own("1")
    order = await floor.desk.place(floor.account)
    await eventually(lambda: floor.desk.is_status(order, "submitted"))
    attempt = worker.events("send_attempted")[0]
    assert attempt["request_id"] == "req-test"
    assert attempt["client_order_id"] == order
    for file in floor.desk.database.cluster.secrets_dir.iterdir():
        assert file.read_text() not in worker.log


async def test_health_is_answered_when_the_lanes_are_open(floor: Floor) -> None:
    worker = await floor.start_and_own("1")
    port = (await eventually(lambda: worker.events("metrics_listening")))[0]["port"]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

        async def is_open() -> bool:
            return (await client.get("/healthz")).status_code == 200

        await eventually(is_open)
        state = (await client.get("/healthz")).json()
        figures = (await client.get("/metrics")).text
    assert state["status"] == "open"
    assert state["bridges_heard"] == ["qc:1001", "qc:1002"]
    assert "informania_shards_owned 16.0" in figures


async def test_a_worker_without_a_database_waits_and_still_stops_cleanly(floor: Floor) -> None:
    worker = await floor.start("1", DATABASE_PORT=str(free_port()))
    await worker.has_said("session_failed")
    assert await worker.terminate() == 0, worker.log


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        env={"PATH": os.environ["PATH"]} | env,
        cwd=BACKEND,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_settings_and_exit_codes() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert "WORKER_METRICS_PORT" in shown.stdout
    assert "78 wrong configuration" in shown.stdout


def test_wrong_arguments_are_refused() -> None:
    assert run("--shards-max", "0").returncode == 2


def test_missing_settings_are_named_in_one_place() -> None:
    refused = run()
    assert refused.returncode == 78
    assert "app_env" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_missing_secret_is_named_with_its_remedy() -> None:
    refused = run(APP_ENV="test", WORKER_METRICS_PORT="0")
    assert refused.returncode == 78
    assert "app_worker_password" in refused.stderr or "qc_token" in refused.stderr


def test_a_lease_that_does_not_cover_a_send_is_refused(secrets_dir: Path) -> None:
    refused = run(APP_ENV="test", SECRETS_DIR=str(secrets_dir), SHARD_LEASE_S="3")
    assert refused.returncode == 78
    assert "SHARD_LEASE_S" in refused.stderr
