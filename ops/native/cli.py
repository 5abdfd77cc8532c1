"""The command line: up, down, status, logs, clean, and what the supervisor calls itself."""

import argparse
import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence

from native import backups, commands, postgres, start
from native.installation import Installation, InstallationError, find_installation
from native.processes import guard
from native.secret_files import SecretError
from native.services import platform
from native.state import name_holder
from native.summary import running_state
from native.supervisor import Supervisor

EXPECTED = (
    InstallationError, SecretError, postgres.PostgresError, backups.BackupError
)  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="native", description="Run the platform on this machine.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="start all in the background, wait until all is healthy")
    up.add_argument("--reload", action="store_true", help="restart the API when its code changes")
    verbs.add_parser("down", help="stop all, keep the data")
    status = verbs.add_parser("status", help="show how each service fares")
    status.add_argument("--json", action="store_true", help="print it as JSON")
    logs = verbs.add_parser("logs", help="follow the logs, all or the named ones")
    logs.add_argument("names", nargs="*", metavar="SERVICE")
    logs.add_argument("--lines", type=int, default=10, help="how many old lines first")
    logs.add_argument("--no-follow", action="store_true", help="end after the old lines")
    clean = verbs.add_parser("clean", help="remove what can be rebuilt; asks before data")
    clean.add_argument("--yes", action="store_true", help="remove the data without asking")
    run = verbs.add_parser("run", help="run a one-shot again, with the settings of the platform")
    run.add_argument("name", choices=("bootstrap", "migrate", "seed"))
    supervise = verbs.add_parser("supervise", help="internal: be the supervisor")
    supervise.add_argument("--lock", type=int, required=True)
    supervise.add_argument("--reload", action="store_true")
    verbs.add_parser("initdb", help="internal: make the data folder of Postgres")
    verbs.add_parser("postgres", help="internal: become the Postgres server")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks."""
    args = _parser().parse_args(arguments)
    try:
        return _dispatch(find_installation(), args)
    except EXPECTED as error:
        print(f"informania: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read our output has gone; nothing is lost by going too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(it: Installation, args: argparse.Namespace) -> int:
    verbs: dict[str, Callable[[], int]] = {
        "up": lambda: start.up(it, reload=args.reload),
        "down": lambda: commands.down(it),
        "status": lambda: commands.status(it, as_json=args.json),
        "logs": lambda: commands.logs(
            it, args.names, lines=args.lines, following=not args.no_follow
        ),
        "clean": lambda: commands.clean(it, yes=args.yes),
        "run": lambda: run_oneshot(it, args.name),
        "supervise": lambda: supervise(it, args.lock, reload=args.reload),
        "initdb": lambda: initdb(it),
        "postgres": lambda: become_postgres(it),
    }
    return verbs[args.verb]()


def supervise(it: Installation, lock: int, *, reload: bool) -> int:
    """Keep the platform running; the lock is held until the last of us is gone."""
    os.set_inheritable(lock, False)
    name_holder(lock, os.getpid())
    socket = it.admin_socket()
    services = platform(it, admin_socket=socket, reload=reload)
    try:
        return guard(lambda: asyncio.run(Supervisor(services, it.run_dir, say).run()))
    finally:
        if socket.parent != it.run_dir:
            shutil.rmtree(socket.parent, ignore_errors=True)


def say(line: str) -> None:
    """Write one line of progress."""
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


def run_oneshot(it: Installation, name: str) -> int:
    """Turn into a one-shot of the platform that is up."""
    if running_state(it) is None:
        raise InstallationError("nothing is running: `make up` first")
    services = {service.name: service for service in platform(it, admin_socket=it.run_dir)}
    service = services[name]
    os.chdir(service.cwd)
    os.execve(service.argv[0], service.argv, dict(service.env))  # noqa: S606  # no shell


def initdb(it: Installation) -> int:
    """Make the data folder unless it is there."""
    password = (it.secrets / "postgres_password").read_text().strip()
    made = postgres.initialize(postgres.find_binaries(it.environ), it.data, password)
    print(f"{it.data} {'is made' if made else 'was there'}")
    return 0


def become_postgres(it: Installation) -> int:
    """Lay the settings and turn into the server, so that its signals reach it."""
    binaries = postgres.find_binaries(it.environ)
    kept = it.backups
    options = backups.archive_args(kept / "wal", it.data.stat()) if kept else []
    port = int(it.environ["DATABASE_PORT"])
    argv = postgres.server_argv(binaries, it.data, port, options=options)
    os.execv(argv[0], argv)  # noqa: S606  # the server itself, without a shell
