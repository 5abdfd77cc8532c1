"""Backups of a real installation: the drill in short, and everything that must be refused."""

import asyncio
import gzip
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from fixtures_postgres import Database
from lmdb_kit import LIBRARY
from restore_world import NAME, WAIT_S, Premises, Refused, drill, folder_in_memory, opened, until

from app.services.lmdb_store import LmdbStore
from native import postgres

ORDERS = 60
# Another process, as the API is one, that keeps the hot store open.
WRITER = """
import sys
from pathlib import Path
from app.services.lmdb_store import LmdbStore

store = LmdbStore(Path(sys.argv[1]), Path(sys.argv[2]), tables=["quotes"])
store.put("quotes", "AAPL", b"100")
print("written", flush=True)
sys.stdin.readline()
store.close()
"""


@pytest.fixture(scope="module")
def prepared() -> Iterator[Premises]:
    """An installation with its schema, stopped."""
    with folder_in_memory() as folder:
        made = Premises(folder)
        try:
            made.prepare()
        finally:
            made.stop()
        yield made


@pytest.fixture
def premises(prepared: Premises) -> Iterator[Premises]:
    """An installation of this test alone, with its database running."""
    with folder_in_memory() as folder:
        made = Premises(folder)
        made.copy_from(prepared)
        try:
            made.start()
            yield made
        finally:
            made.stop()


async def test_a_lost_disk_is_restored_to_its_end_and_to_a_moment(premises: Premises) -> None:
    figures = await drill(premises, orders=ORDERS)
    assert figures.orders >= ORDERS
    assert figures.lost > 0, "the drill loses what was not archived, or it proves nothing"


async def test_what_must_not_be_restored_is_refused_in_words(premises: Premises) -> None:
    async with opened(premises) as desk:
        await desk.place()
        premises.admin("audit", "anchor")
        (taken,) = premises.admin("backup")
        await desk.place()
        await premises.archived(desk.root)
        await desk.place()
        await premises.archived(desk.root)
    backup, target = Path(taken["folder"]), premises.root / "elsewhere"
    to = ("--to", str(target))

    _refuses(premises, "is not empty", "restore")
    _refuses(premises, "holds no backup 1999", "restore", "1999", *to)
    _refuses(premises, "no backup from before", "restore", "--until", "1999-01-01", *to)
    _refuses(premises, "is no moment", "restore", "--until", "yesterday", *to)

    premises.backups.chmod(0o750)
    _refuses(premises, "may be entered by others (mode 750)", "restore", *to)
    _refuses(premises, "may be entered by others (mode 750)", "backup")
    premises.backups.chmod(0o700)

    version = backup / "data" / "PG_VERSION"
    with _changed(version, b"12\n"):
        _refuses(premises, "was made by Postgres 12", "restore", *to)
    table = max((backup / "data" / "base").rglob("[0-9]*"), key=lambda it: it.stat().st_size)
    with _changed(table, table.read_bytes()[:-8192]):
        _refuses(premises, table.name, "restore", *to)
    content = bytearray(table.read_bytes())
    content[5000] ^= 1
    with _changed(table, bytes(content)):
        _refuses(premises, f'checksum mismatch for file "base/5/{table.name}"'[:17], "restore", *to)

    segments = sorted((premises.backups / "wal").glob("0*[0-9A-F].gz"))
    middle = segments[-2]
    with _changed(middle, middle.read_bytes()[:-100]):
        _refuses(premises, f"{middle} is damaged", "restore", *to)
    with _changed(middle, None):
        _refuses(premises, f"lacks {middle.stem}", "restore", *to)
        assert not target.exists(), "what is refused leaves nothing behind"
        (restored,) = premises.admin("restore", "--up-to-gap", *to)
    assert restored["contents"]["app.orders"]
    (verdict,) = premises.admin("audit", "verify", "--direct")
    assert verdict["whole"]


async def test_a_restored_database_that_was_changed_is_not_believed(premises: Premises) -> None:
    async with opened(premises) as desk:
        await desk.place()
        premises.admin("audit", "anchor")
        root = await desk.database.connect("postgres")
        await root.execute("ALTER TABLE audit.audit_log DISABLE TRIGGER ALL")
        await root.execute("UPDATE audit.audit_log SET action = 'x' WHERE stream_id > 0")
    premises.admin("backup")
    with pytest.raises(Refused, match="not what was there"):
        premises.admin("restore", "--to", str(premises.root / "elsewhere"))


def test_a_full_disk_is_said_and_leaves_no_half_of_a_backup(premises: Premises) -> None:
    small = premises.root / "small"
    small.mkdir(mode=0o700)
    mounted = (
        f"mount -t tmpfs -o size=8m,mode=700 tmpfs {small}"
        f" && exec {sys.executable} -m app.admin backup --to {small}"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted],  # noqa: S607
        env=premises.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{small} has 8 MiB left, the database takes" in done.stderr

    limited = f"ulimit -f 1000; exec {sys.executable} -m app.admin backup"
    done = subprocess.run(
        ["sh", "-c", limited],  # noqa: S607
        env=premises.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    # Either of its two processes may be the one that meets the limit.
    limit_met = (f"ended with {-signal.SIGXFSZ}", "background process terminated unexpectedly")
    assert any(f"pg_basebackup: {it}" in done.stderr.replace("error: ", "") for it in limit_met)
    assert list((premises.backups / "base").iterdir()) == [], "no half of a backup is left"


async def test_the_log_of_another_database_is_never_replaced(premises: Premises) -> None:
    async with opened(premises) as desk:
        await premises.archived(desk.root)
        ours = max((premises.backups / "wal").glob("0*[0-9A-F].gz"))
        ahead = ours.with_name(f"{int(ours.stem, 16) + 1:024X}.gz")
        ahead.write_bytes(gzip.compress(b"another database's"))
        await desk.place()
        await desk.root.execute("SELECT pg_switch_wal()")
        said = "another database's archive?"
        log = premises.root / "server.log"
        await asyncio.to_thread(until, lambda: said in log.read_text(), WAIT_S)
        assert gzip.decompress(ahead.read_bytes()) == b"another database's"


async def test_a_backup_is_pruned_with_the_log_that_it_needed(premises: Premises) -> None:
    names = []
    async with opened(premises) as desk:
        for _ in range(2):
            (taken,) = premises.admin("backup", "--keep", "1")
            names.append(taken["backup"])
            await premises.archived(desk.root)
    assert taken["removed"] == names[:1]
    assert [it.name for it in (premises.backups / "base").iterdir()] == names[1:]
    premises.stop()
    shutil.rmtree(premises.data)
    (restored,) = premises.admin("restore")
    assert restored["backup"] == names[1]


def test_the_hot_store_is_copied_beside_its_writer_and_laid_back(premises: Premises) -> None:
    folder = premises.root / "run" / "lmdb"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(LIBRARY)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    try:
        (taken,) = premises.admin("backup")
    finally:
        writer.communicate("end\n")
    assert taken["hot_store"] is True
    premises.stop()
    shutil.rmtree(premises.data)
    (restored,) = premises.admin("restore")
    assert restored["hot_store"] is False, "never over a newer one"
    shutil.rmtree(premises.data)
    shutil.rmtree(folder)
    (restored,) = premises.admin("restore")
    assert restored["hot_store"] is True
    store = LmdbStore(folder, LIBRARY, tables=["quotes"])
    entry = store.get("quotes", "AAPL")
    store.close()
    assert entry is not None
    assert entry.value == b"100"


async def test_a_second_restore_takes_another_timeline(premises: Premises) -> None:
    premises.admin("audit", "anchor")
    premises.admin("backup")
    timelines = []
    for _ in range(2):
        premises.stop()
        shutil.rmtree(premises.data)
        (restored,) = premises.admin("restore")
        timelines.append(restored["timeline"])
        premises.start()
        connection = await asyncpg.connect(Database(premises.cluster, NAME).dsn("postgres"))
        await premises.archived(connection)
        await connection.close()
    assert timelines == [2, 3], "what one life archived is never another's"


def _refuses(premises: Premises, why: str, *words: str) -> None:
    with pytest.raises(Refused) as refused:
        premises.admin(*words)
    assert why in str(refused.value)


class _changed:  # noqa: N801 - reads like a verb
    """A file with another content, or gone, for as long as the block."""

    def __init__(self, path: Path, content: bytes | None) -> None:
        self._path, self._content, self._before = path, content, path.read_bytes()

    def __enter__(self) -> None:
        if self._content is None:
            self._path.unlink()
        else:
            self._path.write_bytes(self._content)

    def __exit__(self, *_: object) -> None:
        self._path.write_bytes(self._before)


def test_the_programs_that_backups_need_are_there() -> None:
    for program in ("pg_basebackup", "pg_verifybackup"):
        assert os.access(postgres.find_binaries() / program, os.X_OK)
