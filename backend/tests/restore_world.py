"""A database with backups as an installation has them, and the drill: lose it, and get it back."""

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, redirect_stderr
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

import asyncpg
import psycopg
from fixtures_postgres import SECRETS, Cluster, Database
from free_ports import free_port
from sp_world import World, new_id, open_world, place

from app.admin.__main__ import main
from app.admin.restore import contents
from app.services import database_setup
from native import backups, postgres

NAME = "informania"
ROOT = Path(__file__).resolve().parents[2]
START_S, WAIT_S = 60, 60
WRITERS = 3


class Refused(Exception):
    """informania-admin said no; the message is what it said."""


@dataclass
class Premises:
    """The folders of an installation, its Postgres, and its command line."""

    root: Path
    port: int = field(default_factory=free_port)
    server: "subprocess.Popen[bytes] | None" = None

    @property
    def data(self) -> Path:
        return self.root / "run" / "postgres"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.port, self.root / "run" / "secrets")

    @property
    def environment(self) -> dict[str, str]:
        it = self.root / "run"
        return {
            **os.environ,
            "RUN_DIR": str(it),
            "SECRETS_DIR": str(it / "secrets"),
            "DATABASE_PORT": str(self.port),
            "BACKUP_DIR": str(self.backups),
            "ANCHOR_SINK": f"folder:{self.root / 'anchors'}",
        }

    def prepare(self) -> None:
        """Make secrets, cluster and schema."""
        secrets = self.root / "run" / "secrets"
        secrets.mkdir(parents=True, mode=0o700)
        for name in SECRETS:
            (secrets / name).write_text(os.urandom(32).hex())
        password = (secrets / "postgres_password").read_text()
        postgres.initialize(postgres.find_binaries(), self.data, password, extra_args=["--no-sync"])
        self.start()
        settings = self.cluster.settings(NAME)
        database_setup.bootstrap(settings)
        database_setup.migrate(settings)

    def start(self) -> None:
        """Start the server as the runner does, with its archive."""
        options = backups.archive_args(self.backups / "wal", self.data.stat())
        argv = postgres.server_argv(postgres.find_binaries(), self.data, self.port, options=options)
        with (self.root / "server.log").open("ab") as log:
            self.server = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        until(self._answers, START_S)

    def _answers(self) -> bool:
        try:
            self.cluster.settings("postgres").connect("postgres").close()
        except psycopg.OperationalError:
            if self.server is None or self.server.poll() is not None:
                raise AssertionError((self.root / "server.log").read_text()[-2000:]) from None
            return False
        return True

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGQUIT)
            self.server.wait(START_S)

    def lose(self) -> None:
        """Lose server and disk at once."""
        assert self.server is not None
        children = subprocess.run(
            ["pgrep", "--parent", str(self.server.pid)],  # noqa: S607
            capture_output=True, text=True, check=False,
        ).stdout.split()  # fmt: skip
        self.server.kill()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        self.server.wait(START_S)
        shutil.rmtree(self.data)

    def admin(self, *words: str) -> Any:
        """Do what informania-admin does on this installation; returns what it prints as JSON.

        In this process: to start another one for each command takes longer than most commands.
        """
        out, complaint = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment),
            redirect_stderr(complaint),
            # In a thread of its own: a test may have a loop running here.
            ThreadPoolExecutor(1) as thread,
        ):
            code = thread.submit(main, ["--json", *words], out=out).result()
        if code != 0:
            raise Refused(complaint.getvalue())
        return json.loads(out.getvalue())

    def doctor(self, *, direct: bool = True, **environment: str) -> tuple[int, list[Any]]:
        """Examine it; returns the exit code and what was found."""
        out = io.StringIO()
        words = ["--json", "doctor", *(["--direct"] if direct else [])]
        with (
            mock.patch.dict(os.environ, {**self.environment, **environment}),
            ThreadPoolExecutor(1) as thread,
        ):
            code = thread.submit(main, words, out=out).result()
        return code, json.loads(out.getvalue())

    def superuser(self) -> psycopg.Connection:
        """Open a connection that may do everything."""
        return self.cluster.settings(NAME).connect("postgres")

    def copy_from(self, other: "Premises") -> None:
        """Begin as another one does that was stopped."""
        for name in ("run", "backups", "anchors"):
            if (other.root / name).is_dir():
                shutil.copytree(other.root / name, self.root / name, symlinks=True)

    def check_pages_and_indexes(self) -> None:
        """Let Postgres' own checker look at every table and index, and for rows not in an index."""
        done = subprocess.run(
            [
                str(postgres.find_binaries() / "pg_amcheck"),
                *("--install-missing", "--heapallindexed", "--no-password"),
                *(f"--host={self.cluster.host}", f"--port={self.port}"),
                *("--username=postgres", NAME),
            ],
            env={**os.environ, "PGPASSWORD": self.cluster.password("postgres")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    async def archived(self, connection: asyncpg.Connection) -> None:
        """Close the log's segment, and wait until it is in the archive."""
        # Without anything in it a segment is not closed.
        await connection.execute("SELECT pg_logical_emit_message(FALSE, 'test', 'archived')")
        name = await connection.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
        path = self.backups / "wal" / f"{name}.gz"
        await asyncio.to_thread(until, path.exists, WAIT_S)


def until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Wait for something."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A folder where writing to disk costs nothing, if there is one."""
    memory = Path("/dev/shm")  # noqa: S108 (made anew, for us alone)
    base = memory if os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="informania-restore-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def opened(premises: Premises) -> AsyncIterator[World]:
    """A desk in its database, for as long as the block."""
    database = Database(premises.cluster, NAME)
    try:
        async for world in open_world(database):
            yield world
    finally:
        await database.close()


@dataclass
class Writers:
    """Programs that place orders one after the other, and remember what was acknowledged."""

    desk: World
    acknowledged: dict[str, float] = field(default_factory=dict)
    stopping: bool = False
    tasks: "list[asyncio.Task[None]]" = field(default_factory=list)

    async def begin(self) -> None:
        self.stopping = False
        self.tasks = [asyncio.create_task(self._write(at)) for at in range(WRITERS)]

    async def _write(self, at: int) -> None:
        account = (self.desk.account, self.desk.other)[at % 2]
        connection = await self.desk.database.connect("app_write")
        while not self.stopping:
            request = self.desk.request(client_order_id=new_id(), account_id=account, quantity=1)
            try:
                await place(connection, request)
            except (
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
            ):
                return
            self.acknowledged[str(request.client_order_id)] = time.time()

    async def reach(self, count: int) -> None:
        """Wait until so many orders were acknowledged."""
        while len(self.acknowledged) < count:
            assert not all(task.done() for task in self.tasks), "no writer is left"
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        self.stopping = True
        await asyncio.gather(*self.tasks)


@dataclass(frozen=True)
class Figures:
    """What the drill found: seconds, and orders."""

    orders: int
    lost: int
    rpo_s: float
    rto_s: float
    backup_s: float
    to_the_moment_s: float


async def drill(premises: Premises, *, orders: int) -> Figures:
    """Back up under load, lose the disk, restore to the end and to a moment, and compare."""
    async with opened(premises) as desk:
        await desk.acquire()
        filled = await desk.submit()
        await desk.fill(filled, "4")
        writers = Writers(desk)
        await writers.begin()
        await writers.reach(orders // 3)
        await asyncio.to_thread(premises.admin, "audit", "anchor")
        (backup,) = await asyncio.to_thread(premises.admin, "backup")
        await writers.reach(len(writers.acknowledged) + orders // 3)
        await writers.end()
        moment, kept = await _sentinels(desk)
        await desk.place(client_order_id="sentinel-after")
        await asyncio.to_thread(premises.admin, "audit", "anchor")
        await writers.begin()
        await writers.reach(len(writers.acknowledged) + orders // 3)
        await premises.archived(desk.root)
        await writers.reach(len(writers.acknowledged) + WRITERS)
        lost_at = time.time()
        await asyncio.to_thread(premises.lose)
        await writers.end()
    began = time.monotonic()
    (restored,) = await asyncio.to_thread(premises.admin, "restore")
    await asyncio.to_thread(premises.start)
    rto_s = time.monotonic() - began
    assert restored["backup"] == backup["backup"]
    there, lost = await _compare(premises, writers.acknowledged)
    latest = max(writers.acknowledged[it] for it in there)
    seconds = await _to_the_moment(premises, moment, kept)
    return Figures(
        orders=len(writers.acknowledged),
        lost=len(lost),
        rpo_s=round(lost_at - latest, 3) if lost else 0.0,
        rto_s=round(rto_s, 1),
        backup_s=backup["seconds"],
        to_the_moment_s=seconds,
    )


async def _sentinels(desk: World) -> tuple[datetime, dict[str, str]]:
    """Place the order that must be there, and return the moment after it and what it holds."""
    await desk.place(client_order_id="sentinel-before")
    await asyncio.sleep(0.01)  # the moment lies between two commits by more than a clock's step
    moment: datetime = await desk.root.fetchval("SELECT clock_timestamp()")
    kept = await asyncio.to_thread(_contents, desk)
    await asyncio.sleep(0.01)
    return moment, kept


def _contents(desk: World) -> dict[str, str]:
    with desk.database.settings.connect("postgres") as superuser:
        return contents(superuser)


async def _compare(premises: Premises, acknowledged: dict[str, float]) -> tuple[set[str], set[str]]:
    """Say which acknowledged orders are there and which are lost: the last ones and no other."""
    root = await asyncpg.connect(Database(premises.cluster, NAME).dsn("postgres"))
    try:
        rows = await root.fetch("SELECT client_order_id FROM app.orders")
        held = await root.fetchval("SELECT count(*) FROM app.outbox_quarantine")
        halted = await root.fetchval("SELECT state FROM app.trading_states WHERE scope = 'global'")
        sent = await root.fetch("SELECT * FROM app.sp_acquire_shards('drill', 16, interval '20 s')")
        begun = await root.fetch(
            "SELECT action FROM app.sp_begin_sends('drill', 100, interval '10 s')"
        )
    finally:
        await root.close()
    assert (held, halted, len(sent)) == (1, "halted", 16)
    assert {row["action"] for row in begun} == {"query"}, "nothing is sent again"
    there = {str(row[0]) for row in rows} & set(acknowledged)
    lost = set(acknowledged) - there
    newest = sorted(acknowledged, key=lambda it: acknowledged[it])[len(there) - WRITERS :]
    assert lost <= set(newest), "only the end is missing"
    return there, lost


async def _to_the_moment(premises: Premises, moment: datetime, kept: dict[str, str]) -> float:
    """Restore a copy to the moment between the sentinels, and compare every row."""
    copy = Premises(premises.root / "copy")
    (restored,) = await asyncio.to_thread(
        premises.admin, "restore", "--until", moment.isoformat(), "--to", str(copy.data)
    )
    assert len(restored["anchors_later"]) == 1, "the anchor from after the moment is named"
    assert restored["anchors"] == 1
    assert restored["contents"] == kept, "every row is as it was at that moment"
    secrets = copy.root / "run" / "secrets"
    secrets.symlink_to(premises.root / "run" / "secrets")
    copy.start()
    try:
        root = await asyncpg.connect(Database(copy.cluster, NAME).dsn("postgres"))
        rows = await root.fetch(
            "SELECT client_order_id FROM app.orders WHERE client_order_id LIKE 'sentinel-%'"
        )
        assert [row[0] for row in rows] == ["sentinel-before"]
        await root.close()
        await asyncio.to_thread(copy.check_pages_and_indexes)
    finally:
        copy.stop()
    return float(restored["seconds"])
