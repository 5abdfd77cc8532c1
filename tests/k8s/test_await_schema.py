"""What runs before each process waits for the schema of its own release, and only for that."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from k8s.rendered import ROOT

from app.services.db import SCHEMA_REVISION

SCRIPT = ROOT / "ops/k8s/await_schema.py"
OLDER = "20250101_older"
TIMEOUT_S = 30


@contextmanager
def awaiting(database: Any, role: str, name: str = "") -> Iterator["subprocess.Popen[str]"]:
    """Run it as a pod does, but for its paths."""
    environ = {
        "PATH": os.environ["PATH"],
        "APP_ENV": "production",
        "DATABASE_HOST": database.host,
        "DATABASE_PORT": str(database.port_for(role)),
        "DATABASE_NAME": name or database.name,
        "SECRETS_DIR": str(database.settings.secrets_dir),
    }
    command = [sys.executable, str(SCRIPT), role]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def waits_for(process: "subprocess.Popen[str]") -> str | None:
    """Return which revision it found when it first said that it waits."""
    assert process.stdout is not None
    events = (json.loads(line) for line in process.stdout)
    found: str | None = next(it["found"] for it in events if it["event"] == "schema_awaited")
    return found


def set_revision(database: Any, revision: str) -> None:
    """Let the database say another revision."""
    with database.settings.connect("postgres") as connection:
        connection.execute("UPDATE app.alembic_version SET version_num = %s", [revision])


async def test_it_waits_until_the_schema_is_that_of_its_release(database: Any) -> None:
    """Before the migration it waits, after it the process may start; a database that is not there
    yet is no reason to fail, since a first installation starts everything at once."""
    set_revision(database, OLDER)
    with (
        awaiting(database, "app_worker") as worker,
        awaiting(database, "app_write", "nowhere") as early,
    ):
        assert [waits_for(it) for it in (worker, early)] == [OLDER, None]
        set_revision(database, SCHEMA_REVISION)
        assert worker.wait(TIMEOUT_S) == 0
        assert early.poll() is None
