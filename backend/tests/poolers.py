"""Runs a real PgBouncer with the shipped settings in front of the tests' Postgres."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from free_ports import free_port
from postgres_servers import (
    DOCKER_TIMEOUT_S,
    LOOPBACK,
    docker_run,
    remove_left_over_containers,
    running,
)

from native.pgbouncer_userlist import POOLED_ROLES, write_userlist

__all__ = ["POOLED_ROLES", "Pooler", "chosen_pooler", "running_pooler"]

SETTING = "TEST_POOLER"
# How many sessions the pooler of a run has for each role and database; as shipped if not given.
SIZE_SETTING = "TEST_POOLER_SIZE"
SHIPPED = Path(__file__).resolve().parents[2] / "ops/pgbouncer/pgbouncer.ini"
DEFAULT_IMAGE = "edoburu/pgbouncer:v1.24.1-p1"
# The first release that follows prepared statements from session to session.
VERSION_MIN = (1, 21)
CONTAINER_USER = "10001:10001"
START_TIMEOUT_S = 30


@dataclass(frozen=True)
class Pooler:
    """A PgBouncer to run: a program of this machine, or an image."""

    program: str = ""
    image: str = ""

    def version(self) -> str:
        """Return what it says of itself, and where it comes from."""
        command = [self.program, "--version"]
        if self.image:
            container = ["docker", "run", "--rm", "--entrypoint=pgbouncer", self.image]
            command = [*container, "--version"]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=DOCKER_TIMEOUT_S
        )
        return f"{done.stdout.splitlines()[0]} ({self.image or self.program})"

    def argv(self, config: Path, folder: Path) -> list[str]:
        """Return the command that runs it with a configuration."""
        if not self.image:
            return [*_unprivileged(), self.program, str(config)]
        # Where it listens and what it connects to are both on this machine's loopback.
        files = {path: str(path) for path in folder.iterdir()}
        hardened = ["--read-only", f"--user={CONTAINER_USER}", "--cap-drop=ALL"]
        started = docker_run("pgbouncer", files)
        where = ["--network=host", "--entrypoint=pgbouncer", self.image]
        return [*started, *hardened, *where, str(config)]


@dataclass(frozen=True)
class RunningPooler:
    """A PgBouncer that answers."""

    port: int
    log: Path


def _unprivileged() -> list[str]:
    # It refuses to be root: inside it is "nobody", who may read what root may.
    return ["unshare", "--user", "--map-user=65534", "--"] if os.geteuid() == 0 else []


def chosen_pooler() -> Pooler | None:
    """Return the PgBouncer of this run, if it is to have one."""
    if not os.environ.get(SETTING):
        return None
    program = os.environ.get("PGBOUNCER_BIN", "")
    if program and _version(Pooler(program).version()) >= VERSION_MIN:
        return Pooler(program)
    return Pooler(image=os.environ.get("PGBOUNCER_IMAGE") or DEFAULT_IMAGE)


def _version(text: str) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


@contextmanager
def running_pooler(
    folder: Path, secrets_dir: Path, server_port: int, **settings: int
) -> Iterator[RunningPooler]:
    """Run the chosen PgBouncer in front of a server; `settings` override the shipped ones."""
    pooler = chosen_pooler()
    if pooler is None:
        raise RuntimeError(f"this run has no pooler: set {SETTING}=1")
    if size := os.environ.get(SIZE_SETTING):
        settings = {"default_pool_size": int(size), **settings}
    if pooler.image:
        remove_left_over_containers()
    port = free_port()
    place = folder / f"pgbouncer-{port}"
    place.mkdir()
    config = _configure(place, secrets_dir, port, server_port, settings)
    log = folder / f"pgbouncer-{port}.log"
    with running(pooler.argv(config, place), log, signal.SIGTERM) as process:
        _wait(port, process, log)
        yield RunningPooler(port, log)


def _configure(
    place: Path, secrets_dir: Path, port: int, server_port: int, settings: dict[str, int]
) -> Path:
    userlist = place / "userlist.txt"
    write_userlist(secrets_dir, userlist, mode=0o644)
    text = re.sub(r"(?m)^informania = .*$", _database(server_port), SHIPPED.read_text(), count=1)
    changes = {"listen_addr": LOOPBACK, "listen_port": port, "auth_file": userlist, **settings}
    for name, value in changes.items():
        text, found = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        if found != 1:
            raise RuntimeError(f"{SHIPPED} sets {name} {found} times")
    config = place / "pgbouncer.ini"
    config.write_text(text)
    return config


def _database(server_port: int) -> str:
    # Each test has a database of its own.
    return f"* = host={LOOPBACK} port={server_port}"


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer did not start: {log.read_text()}") from error
            time.sleep(0.05)
        else:
            return
