"""What the doctor looks at when the platform runs in containers: around them, and inside one."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from app.admin import doctor_machine as machine
from app.admin.client import Failed
from app.admin.commands import Rows
from app.admin.findings import Check, Finding, Patient, fail, ok, warn
from native import compose, containers

WELL = ("healthy", "done")
TIMEOUT_S = 300


def processes(it: Patient) -> Iterator[Finding]:
    """Ask the engine how each container fares."""
    services = containers.current_state(it.machine.installation)["services"]
    if not services:
        yield fail("no container is running", "make up")
    for name, facts in services.items():
        if facts["state"] not in WELL:
            yield fail(f"{name} is {facts['state']}", f"make status, make logs ARGS={name}")
        elif facts["restarts"]:
            yield warn(f"{name} was restarted {facts['restarts']} times", f"make logs ARGS={name}")
        else:
            yield ok(f"{name} is {'well' if facts['state'] == 'healthy' else facts['state']}")


def disk(_: Patient) -> Iterator[Finding]:
    """See how full the disk of the engine is, which holds all volumes."""
    folder = Path(compose.output(["docker", "info", "--format", "{{.DockerRootDir}}"]).strip())
    if folder.is_dir():
        yield machine.room_on("volumes", folder)
    else:
        yield warn(f"{folder} is not on this machine", "look how full it is where the engine runs")


def backups(_: Patient) -> Iterator[Finding]:
    """Say what there is not."""
    yield warn("in containers the log is not archived, and no backup is taken", "docs/backup.md")


CHECKS: dict[str, Check] = {
    "secrets": machine.secret_files_are_private,
    "environment": machine.environment,
    "disk": disk,
    "processes": processes,
    "backups": backups,
    "certificate": machine.certificate,
}


def inside(it: Patient) -> Rows:
    """Return what the doctor finds who is run beside the database."""
    words = ["python", "-m", "app.admin", "--json", "doctor"]
    words += ["--since", it.since] if it.since else []
    installation = it.machine.installation
    done = subprocess.run(
        compose.command(installation, "run", "--rm", "--no-deps", "-T", "doctor", *words),
        env=dict(compose.environment(installation)), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
    )  # fmt: skip
    if not done.stdout:
        raise Failed(f"the doctor could not be run in a container: {done.stderr.strip()[-800:]}")
    rows: Rows = json.loads(done.stdout)
    return rows
