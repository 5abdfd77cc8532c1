"""Brings the platform up in the background, and waits until it is healthy."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from native import secret_files
from native.installation import Installation, InstallationError
from native.interrupted import Interrupted
from native.log_files import Follower, rotate
from native.ports import taken
from native.processes import MARK, kill_all, marked, send
from native.services import platform
from native.state import name_holder, read_state, take_lock
from native.summary import WELL, print_summary, running_state

POLL_INTERVAL_S = 0.1
# How long services that had been given up get to become healthy again.
RETRY_TIMEOUT_S = 60
LOG_BYTES_MAX = 20_000_000
SUPERVISOR_LOG = "supervisor.log"


def up(it: Installation, *, reload: bool = False) -> int:
    """Start everything in the background; return 0 when all is healthy."""
    it.make_folders()
    while (lock := take_lock(it.lock_file)) is None:
        if (code := _join(it)) is not None:
            return code
    name_holder(lock, os.getpid())
    kill_all(lambda: marked(it.run_dir))
    _prepare(it)
    log = it.logs / SUPERVISOR_LOG
    rotate(log, LOG_BYTES_MAX)
    follower = Follower(log, offset=log.stat().st_size if log.exists() else 0)
    print(f"Informania starts in {it.root}; logs are in {it.logs}", flush=True)
    if faults := it.setting("FAULTS", ""):
        print(f"The paper venue fails on purpose: {faults}", flush=True)
    with Interrupted() as interrupted:
        process = _start_supervisor(it, lock, log, reload=reload)
        os.close(lock)
        return _await_start(it, process, follower, interrupted)


def _prepare(it: Installation) -> None:
    for folder in (it.secrets, it.run_dir / "lmdb", it.run_dir / "paper"):
        folder.mkdir(mode=0o700, exist_ok=True)
    password = it.secrets / "postgres_password"
    if (it.data / "PG_VERSION").exists() and not password.exists():
        raise InstallationError(
            f"the database in {it.data} is there but its password {password} is gone:"
            " put that file back, or remove the data with `make clean`"
        )
    secret_files.ensure(it.secrets)
    services = platform(it, admin_socket=it.run_dir / "unused")
    ports = {name: port for it in services for name, port in it.ports.items()}
    bind = it.setting("BIND_ADDRESS", "127.0.0.1")
    proxy = {"proxy": ports.pop("proxy")}
    if refused := [*taken(proxy, bind), *taken(ports)]:
        reasons = "\n  ".join(refused)
        raise InstallationError(
            f"{reasons}\n  stop what holds it, or choose other ports: make up PORT_BASE=18000"
        )


def _start_supervisor(
    it: Installation, lock: int, log: Path, *, reload: bool
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "native", "supervise", f"--lock={lock}"]
    paths = {MARK: str(it.run_dir), "RUN_DIR": str(it.run_dir), "PYTHONPATH": str(it.root / "ops")}
    it.state_file.unlink(missing_ok=True)
    with log.open("ab") as output:
        log.chmod(0o600)
        return subprocess.Popen(
            [*command, *(["--reload"] if reload else [])],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **paths},
            cwd=it.root,
            pass_fds=[lock],
            start_new_session=True,
        )


def _await_start(
    it: Installation,
    process: subprocess.Popen[bytes],
    follower: Follower,
    interrupted: Interrupted,
) -> int:
    stopping = False
    while True:
        ended = process.poll() is not None
        for line in follower.lines():
            print(line, flush=True)
        if ended:
            break
        if interrupted() and not stopping:
            stopping = True
            print("stopping everything again ...", flush=True)
            send(process.pid, signal.SIGTERM)
        if not stopping and read_state(it.state_file).get("phase") == "running":
            print_summary(it)
            return 0
        time.sleep(POLL_INTERVAL_S)
    if interrupted.number is not None:
        print("stopped; nothing is left running", flush=True)
        return 128 + interrupted.number
    return _explain_failure(it)


def _explain_failure(it: Installation) -> int:
    failure = read_state(it.state_file).get("failure")
    reason = failure or f"the supervisor ended; read {it.logs / SUPERVISOR_LOG}"
    print(f"informania: did not start: {reason}", file=sys.stderr)
    print("informania: nothing is left running", file=sys.stderr)
    return 1


def _join(it: Installation) -> int | None:
    """Wait for the platform that is already there; None when it went away meanwhile."""
    print("Informania is already running, or on its way; nothing is started twice.", flush=True)
    if state := running_state(it):
        send(state["supervisor"], signal.SIGUSR1)
    log = it.logs / SUPERVISOR_LOG
    follower = Follower(log, offset=log.stat().st_size if log.exists() else 0)
    retry_until = time.monotonic() + RETRY_TIMEOUT_S
    while (lock := take_lock(it.lock_file)) is None:
        for line in follower.lines():
            print(line, flush=True)
        if state := running_state(it):
            well = all(facts["state"] in WELL for facts in state["services"].values())
            if well or time.monotonic() > retry_until:
                print_summary(it)
                return 0 if well else 1
        time.sleep(POLL_INTERVAL_S)
    os.close(lock)
    failed = read_state(it.state_file).get("phase") == "failed"
    return _explain_failure(it) if failed else None
