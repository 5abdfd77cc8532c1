"""Starts, finds and ends processes so that none outlives its supervisor."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# Every process of an installation carries this variable, so that left-overs can be found.
MARK = "INFORMANIA_RUN_DIR"
LEFTOVER_TIMEOUT_S = 10.0

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Have orphaned grandchildren handed to this process instead of init."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Ask the kernel for a signal when the parent dies; also when it died before this call."""
    _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _in_child(parent: int) -> None:
    # A shell's background job ignores SIGINT, which is the stop signal of Postgres.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    die_with_parent(parent, signal.SIGKILL)


def spawn(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that Ctrl-C reaches only its supervisor.

    The log is a file, not a pipe: a grandchild that keeps it open hides no end,
    and a stalled supervisor blocks nobody who writes.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            # The supervisor has one thread, so code between fork and exec is safe.
            preexec_fn=partial(_in_child, os.getpid()),  # noqa: PLW1509
        )


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a child, without a thread; return its exit code."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            await _readable(os.pidfd_open(process.pid))
    return process.wait()


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process that may be gone, and wake it when it is stopped."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)


def kill_group(pid: int) -> None:
    """Kill what is left of the group that a process led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _pids() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _stat(pid: int) -> list[str]:
    # The name in brackets may hold spaces and brackets; the fields follow the last one.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def children(parent: int) -> list[int]:
    """List the children of a process, zombies too."""
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError, IndexError):
            if int(_stat(pid)[1]) == parent:
                found.append(pid)
    return found


def kill_adopted(known: Sequence[int]) -> list[int]:
    """Kill and reap the children that we did not start: orphans of our own children."""
    adopted = [pid for pid in children(os.getpid()) if pid not in known]
    for pid in adopted:
        send(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return adopted


def kill_all(find: Callable[[], Sequence[int]]) -> int:
    """Kill what `find` lists until it lists nothing; return how many there were at first."""
    deadline = time.monotonic() + LEFTOVER_TIMEOUT_S
    first = None
    while (left := find()) and time.monotonic() < deadline:
        first = len(left) if first is None else first
        for pid in left:
            send(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)
    return first or 0


def is_marked(pid: int, run_dir: Path) -> bool:
    """Say whether a live process belongs to the installation with this run folder."""
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return os.fsencode(f"{MARK}={run_dir}") in environ and _stat(pid)[0] != "Z"
    except (OSError, IndexError):
        return False


def marked(run_dir: Path) -> list[int]:
    """List the live processes of an installation, but not us."""
    return [pid for pid in _pids() if pid != os.getpid() and is_marked(pid, run_dir)]


def command_of(pid: int) -> str:
    """Return the command line of a process, shortened for a message."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b" ".join(words).decode(errors="replace").strip()[:80]
    return ""


def guard(work: Callable[[], int]) -> int:
    """Do the work in a child; whatever way it ends, nothing that it started stays.

    Killed itself, the guard takes the child along through a signal that lets it stop in order.
    """
    become_subreaper()
    forwarded = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, forwarded)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        die_with_parent(parent, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)
        return work()
    for number in forwarded:
        signal.signal(number, lambda received, _: send(child, signal.Signals(received)))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if left := kill_all(lambda: children(parent)):
        print(f"killed {left} processes that the supervisor left behind", file=sys.stderr)
    return code if code >= 0 else 1
