"""Takes a backup: the database while it works, the heads of the audit chains, the hot store."""

import asyncio
import json
import shutil
import time
from argparse import Namespace
from pathlib import Path

from app.admin.auditing import connected
from app.admin.client import Failed
from app.admin.commands import Rows
from app.admin.machine import Machine, on_machine
from app.audits import repo
from app.services.database_setup import SetupSettings
from app.services.lmdb_store import LmdbStore
from native import backups

FACTS = "informania.json"
FORMAT = "informania.backup.v1"


def run(said: Namespace) -> Rows:
    """Do what was said."""
    with on_machine(native=True) as machine:
        folder = machine.backups(said.to)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if said.keep is not None and said.keep < 1:
            raise Failed("at least one backup is kept")
        return [_take(machine, folder, keep=said.keep)]


def _take(machine: Machine, folder: Path, *, keep: int | None) -> dict[str, object]:
    began = time.monotonic()
    settings = machine.settings()
    with settings.connect("postgres") as connection:
        row = connection.execute(
            "SELECT sum(pg_database_size(oid))::bigint, current_setting('server_version')"
            " FROM pg_database"
        ).fetchone()
    size, version = row or (0, "")
    # Read before the copy begins, so that whatever is restored from it must hold these.
    heads = asyncio.run(_heads(settings))
    draft = backups.take(
        machine.binaries,
        folder,
        host=settings.database_host,
        port=settings.database_port,
        password=settings.secret("postgres_password"),
        size=size,
    )
    try:
        hot = _copy_hot_store(machine, draft / "hot")
        facts = {"format": FORMAT, "postgres": version, "heads": heads, "hot_store": hot}
        (draft / FACTS).write_text(json.dumps(facts, indent=1) + "\n")
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    backup = backups.keep(draft)
    removed = backups.prune(folder, keep) if keep else []
    files = (path for path in backup.folder.rglob("*") if path.is_file())
    return {
        "backup": backup.name,
        "folder": str(backup.folder),
        "mib": sum(path.stat().st_size for path in files) >> 20,
        "streams": len(heads),
        "hot_store": hot,
        "removed": removed,
        "seconds": round(time.monotonic() - began, 1),
    }


async def _heads(settings: SetupSettings) -> list[list[object]]:
    async with connected(settings) as (connection,):
        heads, _ = await repo.heads(connection)
    return [head.row() for head in heads]


def _copy_hot_store(machine: Machine, target: Path) -> bool:
    """Copy the hot store compactly, beside the process that writes it; false where there is none.

    It can be rebuilt, so an installation without one is no failure.
    """
    if not (machine.hot_store / "data.mdb").exists():
        return False
    store = LmdbStore(machine.hot_store, machine.hot_library)
    try:
        store.backup(target)
    finally:
        store.close()
    return True
