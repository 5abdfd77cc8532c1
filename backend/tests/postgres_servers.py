"""Runs Postgres for the tests: this machine's own, or an image in a container."""

import ctypes
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from free_ports import free_port

from native import postgres

LOOPBACK = "127.0.0.1"
# Which image to run instead of this machine's Postgres, and what it preloads.
IMAGE_SETTING = "TEST_POSTGRES_IMAGE"
PRELOAD_SETTING = "TEST_POSTGRES_PRELOAD"
LABEL = "informania-test-of"

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 20
DOCKER_TIMEOUT_S = 60
PR_SET_PDEATHSIG = 1


def chosen_image() -> str:
    """Return the image to run, or nothing for this machine's own Postgres."""
    return os.environ.get(IMAGE_SETTING, "")


@contextmanager
def running_postgres(folder: Path, password_file: Path) -> Iterator[int]:
    """Run a new server with the shipped settings; yield its port on loopback."""
    port = free_port()
    image = chosen_image()
    if image:
        remove_left_over_containers()
        argv = _container_argv(image, port, password_file)
    else:
        argv = _program_argv(folder / "data", port, password_file)
    # Postgres then leaves at once with all its children; Docker's client hands the signal on.
    dying = signal.SIGINT if image else signal.SIGQUIT
    with running(argv, folder / "server.log", dying) as process:
        _wait(port, password_file.read_text(), process, folder / "server.log")
        yield port


def _preload_args() -> list[str]:
    libraries = os.environ.get(PRELOAD_SETTING, "")
    return ["-c", f"shared_preload_libraries={libraries}"] if libraries else []


def _program_argv(data_dir: Path, port: int, password_file: Path) -> list[str]:
    binaries = postgres.find_binaries()
    password = password_file.read_text()
    postgres.initialize(binaries, data_dir, password, extra_args=["--no-sync"])
    return [*postgres.server_argv(binaries, data_dir, port), *_preload_args()]


def _container_argv(image: str, port: int, password_file: Path) -> list[str]:
    # As compose does: the shipped files are mounted, and only the address is another.
    settings = {name: f"/etc/informania/{name}" for name in postgres.CONFIG_FILES}
    mounts = {postgres.CONFIG_DIR / name: target for name, target in settings.items()}
    initdb = ["--data-checksums", *postgres.locale_args(image_version(image))]
    return [
        *docker_run("postgres", mounts | {password_file: "/run/secrets/postgres_password"}),
        f"--publish={LOOPBACK}:{port}:5432",
        # In memory, where writing to disk costs nothing although the settings insist on it.
        "--tmpfs=/var/lib/postgresql/data",
        "--env=POSTGRES_PASSWORD_FILE=/run/secrets/postgres_password",
        f"--env=POSTGRES_INITDB_ARGS={' '.join(initdb)}",
        image,
        "postgres",
        *("-c", f"config_file={settings['postgresql.conf']}"),
        *("-c", f"hba_file={settings['pg_hba.conf']}"),
        *("-c", "listen_addresses=*", "-c", "port=5432"),
        *_preload_args(),
    ]


def image_version(image: str) -> int:
    """Return the major version of the Postgres in an image."""
    command = ["docker", "run", "--rm", "--entrypoint=postgres", image, "--version"]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=DOCKER_TIMEOUT_S
    )
    return int(done.stdout.split()[2].partition(".")[0])


def docker_run(name: str, mounts: dict[Path, str]) -> list[str]:
    """Return the beginning of a `docker run` of this process, with files to read."""
    return [
        *("docker", "run", "--rm", f"--label={LABEL}={os.getpid()}"),
        f"--name=informania-test-{name}-{os.getpid()}-{secrets.token_hex(3)}",
        *(f"--volume={source}:{target}:ro" for source, target in mounts.items()),
    ]


def remove_left_over_containers() -> None:
    """Remove the containers of runs that were killed."""
    listing = ["docker", "ps", "--all", f"--filter=label={LABEL}"]
    listing.append(f'--format={{{{.ID}}}} {{{{.Label "{LABEL}"}}}}')
    done = subprocess.run(
        listing, check=True, capture_output=True, text=True, timeout=DOCKER_TIMEOUT_S
    )
    for line in done.stdout.splitlines():
        container, pid = line.split()
        if not Path(f"/proc/{pid}").exists():
            remove = ["docker", "rm", "--force", "--volumes", container]
            subprocess.run(remove, check=False, capture_output=True, timeout=DOCKER_TIMEOUT_S)


@contextmanager
def running(
    argv: Sequence[str], log: Path, dying: signal.Signals
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program until the end of the block; it dies with this process, however that ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lambda: _die_with_us(dying),  # noqa: PLW1509 (one prctl, nothing else)
        )
        try:
            yield process
        finally:
            _stop(process)


def _die_with_us(dying: signal.Signals) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, dying)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    for stop in (postgres.STOP_SIGNAL, signal.SIGQUIT, signal.SIGKILL):
        process.send_signal(stop)
        try:
            process.wait(STOP_TIMEOUT_S)
            return
        except subprocess.TimeoutExpired:
            continue


def _wait(port: int, password: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(host=LOOPBACK, port=port, user="postgres", password=password).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Postgres did not start: {error}\n{log.read_text()}") from error
            time.sleep(0.05)
        else:
            return
