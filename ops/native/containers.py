"""The handles of a platform in containers: up, down, status, logs, clean and a one-shot again."""

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import IO, Any

from native import commands, compose, pgbouncer_userlist, secret_files
from native.installation import Installation, InstallationError, find_installation
from native.interrupted import Interrupted
from native.log_files import tail
from native.ports import taken
from native.secret_files import SecretError
from native.state import State
from native.summary import print_platform, table

# Compose reads each secret as a file with the owner and mode that it has here. Our processes run as
# another user inside; on this side the folder, which only its owner enters, protects them.
SECRET_MODE = 0o644
DEMO_USERS = ("viewer", "trader", "admin")
DEMO_FILE = "/var/lib/informania/demo/demo.json"
UP_TIMEOUT_S = 900
POLL_INTERVAL_S = 0.1
FAILED_LINES = 20
START = (
    *("up", "--detach", "--no-build", "--remove-orphans"),
    *("--wait", "--wait-timeout", str(UP_TIMEOUT_S)),
)
PROXIES = ("proxy", "nginx")


def up(it: Installation, *, reload: bool = False) -> int:
    """Build what changed, start everything, wait until it is healthy and say where it is."""
    if reload:
        raise InstallationError("code in containers is fixed: `make clean`, then MODE=native")
    compose.require(it)
    it.make_folders()
    _make_secrets(it)
    _require_port(it)
    began = time.monotonic()
    print(f"Informania starts in containers, project {compose.project(it)}", flush=True)
    with Interrupted() as interrupted:
        code = _build(it, interrupted) or _carry_out(it, interrupted, *START)
    if interrupted.number is not None:
        print("stopping everything again ...", flush=True)
        compose.run(it, "down")
        return 128 + interrupted.number
    if code:
        return _failed(it, code)
    _fetch_demo_file(it)
    print(f"started in {time.monotonic() - began:.0f} s", flush=True)
    print_platform(it, current_state(it))
    return 0


def _build(it: Installation, interrupted: Interrupted) -> int:
    """Build the images that changed; the builders' many words go to a log."""
    path = it.logs / "build.log"
    print(f"building images; the first time takes minutes, {path} tells how far it is", flush=True)
    with path.open("wb") as log:
        code = _carry_out(it, interrupted, "build", output=log)
    if code and not interrupted():
        print("\n".join(tail(path, FAILED_LINES)), file=sys.stderr)
    return code


def _carry_out(
    it: Installation, interrupted: Interrupted, *arguments: str, output: IO[bytes] | None = None
) -> int:
    """Let Compose work; whoever wants to stop stops it too."""
    command, env = compose.command(it, *arguments), compose.environment(it)
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=env, stdin=quiet, stdout=output, stderr=output) as process:
        told = False
        while process.poll() is None:
            if interrupted() and not told:
                told = True
                process.send_signal(signal.SIGINT)
            time.sleep(POLL_INTERVAL_S)
    return process.returncode


def _failed(it: Installation, code: int) -> int:
    ended = [
        name
        for name, facts in current_state(it)["services"].items()
        if facts["state"] not in ("healthy", "done", "running")
    ]
    reason = f"{', '.join(ended)}: see `make logs`" if ended else "what Docker says is above"
    print(f"informania: did not start: {reason}", file=sys.stderr)
    return code


def _make_secrets(it: Installation) -> None:
    secret_files.ensure(it.secrets, mode=SECRET_MODE)
    for user in DEMO_USERS:
        # A letter and a digit are what the password rules ask for.
        value = f"{secrets.token_urlsafe(18)}a1"
        secret_files.ensure_file(it.secrets / f"demo_{user}_password", value, mode=SECRET_MODE)
    userlist = it.secrets / "pgbouncer_userlist"
    pgbouncer_userlist.write_userlist(it.secrets, userlist, mode=SECRET_MODE)


def _require_port(it: Installation) -> None:
    if any(compose.service_of(container) in PROXIES for container in compose.containers(it)):
        return
    bind = it.setting("BIND_ADDRESS", "127.0.0.1")
    if refused := taken({"proxy": it.ports["proxy"]}, bind):
        raise InstallationError(
            f"{refused[0]}\n  stop what holds it, or choose another: make up HTTP_PORT=18080"
        )


def _fetch_demo_file(it: Installation) -> None:
    """Copy the demo's file out of the volume to where people look for it, for their eyes only."""
    ids = {compose.service_of(one): one["Id"] for one in compose.containers(it)}
    if "seed" not in ids:
        return
    copy = ["docker", "cp", f"{ids['seed']}:{DEMO_FILE}", "-"]
    packed = subprocess.run(copy, check=False, capture_output=True)
    if packed.returncode != 0:
        raise InstallationError(f"the seed left no {DEMO_FILE}: {packed.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        file = archive.extractfile(archive.getmembers()[0])
        content = file.read() if file else b""
    path = it.run_dir / "demo.json"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
        written.write(content)
    draft.replace(path)


# --- the state ------------------------------------------------------------------------------------


def current_state(it: Installation) -> State:
    """Return how each container fares, in the words of the native runner."""
    services = {
        compose.service_of(container): _facts(it, container) for container in compose.containers(it)
    }
    alive = any(facts["pid"] for facts in services.values())
    well = all(facts["state"] in ("healthy", "done") for facts in services.values())
    phase = ("running" if well else "starting") if alive else "stopped"
    return {"phase": phase, "mode": "docker", "url": it.url, "services": services}


def _facts(it: Installation, container: compose.Container) -> dict[str, Any]:
    name, state = compose.service_of(container), container["State"]
    oneshot = container["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
    return {
        "state": _word(state, oneshot=oneshot),
        "oneshot": oneshot,
        "pid": state["Pid"] or None,
        "restarts": container["RestartCount"],
        "address": it.url if name in PROXIES else "",
    }


def _word(state: dict[str, Any], *, oneshot: bool) -> str:
    if state["Status"] == "exited":
        return "done" if oneshot and state["ExitCode"] == 0 else f"exited ({state['ExitCode']})"
    return str(state.get("Health", {}).get("Status", state["Status"]))


def status(it: Installation, *, as_json: bool) -> int:
    """Print how each service fares."""
    state = current_state(it)
    if as_json:
        print(json.dumps(state, indent=1))
        return 0
    if state["services"]:
        print(table(state), end="\n\n")
    where = f": {state['url']}" if state["phase"] == "running" else ""
    print(f"Informania is {state['phase']}{where} (in containers)")
    return 0


# --- the other handles ----------------------------------------------------------------------------


def down(it: Installation) -> int:
    """Stop and remove the containers; the volumes keep the data."""
    compose.require(it)
    if not compose.containers(it):
        print("nothing is running")
        return 0
    code = compose.run(it, "--profile", "*", "down", "--remove-orphans")
    print("stopped; the data is kept" if code == 0 else "not everything stopped; see above")
    return code


def logs(it: Installation, names: Sequence[str], *, lines: int, following: bool) -> int:
    """Print the logs, and follow them until Ctrl-C."""
    compose.require(it)
    follow = ["--follow"] if following else []
    code = compose.run(it, "--profile", "*", "logs", "--tail", str(lines), *follow, *names)
    return 0 if code == 128 + 2 else code


def clean(it: Installation, *, yes: bool) -> int:
    """Remove what can be rebuilt, our images too; the data when somebody says so."""
    down(it)
    # Prepared before the environment that may bring Compose is gone.
    volumes = compose.volumes(it)
    compose.remove_images(it)
    code = commands.clean(it, yes=yes)
    if volumes and not it.run_dir.exists():
        compose.output(["docker", "volume", "rm", *volumes])
    return code


def run_oneshot(it: Installation, name: str) -> int:
    """Run a one-shot of the platform that is up once more."""
    compose.require(it)
    if current_state(it)["phase"] == "stopped":
        raise InstallationError("nothing is running: `make up` first")
    return compose.run(it, "run", "--rm", "--no-deps", name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="containers", description="The platform in containers.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up").add_argument("--reload", action="store_true")
    verbs.add_parser("down")
    verbs.add_parser("status").add_argument("--json", action="store_true")
    shown = verbs.add_parser("logs")
    shown.add_argument("names", nargs="*", metavar="SERVICE")
    shown.add_argument("--lines", type=int, default=10)
    shown.add_argument("--no-follow", action="store_true")
    verbs.add_parser("clean").add_argument("--yes", action="store_true")
    verbs.add_parser("run").add_argument("name", choices=("bootstrap", "migrate", "seed"))
    return parser


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks."""
    args = _parser().parse_args(arguments)
    it = find_installation()
    verbs: dict[str, Callable[[], int]] = {
        "up": lambda: up(it, reload=args.reload),
        "down": lambda: down(it),
        "status": lambda: status(it, as_json=args.json),
        "logs": lambda: logs(it, args.names, lines=args.lines, following=not args.no_follow),
        "clean": lambda: clean(it, yes=args.yes),
        "run": lambda: run_oneshot(it, args.name),
    }
    try:
        return verbs[args.verb]()
    except (InstallationError, SecretError) as error:
        print(f"informania: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
