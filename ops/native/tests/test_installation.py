"""What an installation is made of: settings, ports, secrets, the table, and the handles."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from native import health, secret_files
from native.installation import ROOT, Installation, InstallationError, find_installation
from native.ports import taken
from native.services import platform
from native.spec import Service
from native.state import take_lock

ONE_SHOTS = {"zig-lmdb", "initdb", "bootstrap", "migrate", "seed"}
LASTING = {"postgres", "supertokens", "paper", "api", "worker", "streamlit", "proxy"}


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return find_installation({"RUN_DIR": str(tmp_path / "run"), "PATH": os.defpath}, tmp_path)


def table(it: Installation) -> dict[str, Service]:
    return {service.name: service for service in platform(it, admin_socket=Path("/x"))}


def native(it: Installation, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.defpath, "PYTHONPATH": str(ROOT / "ops"), "RUN_DIR": str(it.run_dir)}
    command = [sys.executable, "-m", "native", *arguments]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_table_holds_the_processes_of_the_design(installation: Installation) -> None:
    services = table(installation)
    assert {name for name, it in services.items() if it.oneshot} == ONE_SHOTS
    assert {name for name, it in services.items() if not it.oneshot} == LASTING
    assert all(services[name].probe and services[name].ports for name in LASTING)


def test_every_need_is_in_the_table_and_none_leads_back(installation: Installation) -> None:
    left = {name: set(service.needs) for name, service in table(installation).items()}
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            assert left.pop(name) <= ONE_SHOTS | LASTING
    assert left == {}


def test_only_the_api_and_its_dependents_wait_for_the_library(installation: Installation) -> None:
    waiting = {name for name, it in table(installation).items() if "zig-lmdb" in it.needs}
    assert waiting == {"api"}


def test_a_port_base_moves_every_port(tmp_path: Path) -> None:
    here = find_installation({"PORT_BASE": "21000"}, tmp_path)
    assert sorted(here.ports.values()) == [21000, 21001, 21002, 21003, 21004, 21005, 21007, 21008]
    assert here.url == "http://localhost:21000"
    ports = [port for it in table(here).values() for port in it.ports.values()]
    assert sorted(ports) == sorted(here.ports.values())


@pytest.mark.parametrize("text", ["0", "65530", "-1", "x", "8080.5", "٣"])
def test_a_port_base_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InstallationError, match="PORT_BASE"):
        find_installation({"PORT_BASE": text}, tmp_path)


def test_the_environment_overrides_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# ours\n\nexport PORT_BASE=21000\nLOG_LEVEL='debug'\nMARKET_HOURS=\"exchange\"\n"
    )
    here = find_installation({"PORT_BASE": "22000", "LOG_LEVEL": ""}, tmp_path)
    assert here.ports["proxy"] == 22000
    env = table(here)["paper"].env
    assert (env["LOG_LEVEL"], env["MARKET_HOURS"]) == ("debug", "exchange")


def test_a_line_of_the_env_file_that_is_no_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=info\nnonsense\n")
    with pytest.raises(InstallationError, match="line 2"):
        find_installation({}, tmp_path)


def test_what_a_shell_says_of_other_databases_and_pythons_stays_outside(tmp_path: Path) -> None:
    shell = {"PGPORT": "1", "PYTHONPATH": "/evil", "DATABASE_PORT": "1", "PG_BIN": "/pg"}
    env = table(find_installation(shell, tmp_path))["api"].env
    assert "PGPORT" not in env
    assert "PYTHONPATH" not in env
    assert (env["DATABASE_PORT"], env["PG_BIN"]) == ("5433", "/pg")


def test_a_home_folder_that_cannot_be_read_keeps_nobody_from_the_database(tmp_path: Path) -> None:
    # Not even root can look into this one; another user's home is as closed to everybody else.
    closed = find_installation({"HOME": f"/{'x' * 300}", "PATH": os.defpath}, tmp_path)
    connecting = (
        "import asyncio, asyncpg;"
        "asyncio.run(asyncpg.connect(host='127.0.0.1', port=1, user='core', password='x'))"
    )
    tried = subprocess.run(
        [sys.executable, "-c", connecting],
        env=table(closed)["supertokens"].env,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "ConnectionRefusedError" in tried.stderr.splitlines()[-1]


def test_a_deep_folder_gets_a_short_socket_elsewhere(tmp_path: Path) -> None:
    deep = find_installation({"RUN_DIR": str(tmp_path / ("x" * 120))}, tmp_path)
    path = deep.admin_socket()
    assert len(os.fsencode(path)) < 100
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.parent.rmdir()


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert secret_files.ensure(folder) == list(secret_files.NAMES)
    values = {path.name: path.read_text() for path in folder.iterdir()}
    assert len(set(values.values())) == len(secret_files.NAMES)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    (folder / "qc_token").unlink()
    assert secret_files.ensure(folder) == ["qc_token"]
    assert (folder / "webhook_hmac").read_text() == values["webhook_hmac"]


def test_an_empty_secret_is_refused_and_kept(tmp_path: Path) -> None:
    secret_files.ensure(tmp_path / "secrets")
    (tmp_path / "secrets/webhook_hmac").write_text("\n")
    with pytest.raises(secret_files.SecretError, match="webhook_hmac is empty"):
        secret_files.ensure(tmp_path / "secrets")


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_named_with_who_holds_it(listener: int) -> None:
    (sentence,) = taken({"api": listener})
    assert sentence.startswith(f"port {listener} (api) is taken by process {os.getpid()} (")


def test_a_free_port_is_not_complained_about(listener: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    assert len(taken({"api": free, "worker": listener})) == 1


def test_a_start_refuses_a_taken_port_and_leaves_nothing(
    installation: Installation, listener: int
) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "ops"), "HTTP_PORT": str(listener)}
    environ["RUN_DIR"] = str(installation.run_dir)
    command = [sys.executable, "-m", "native", "up"]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert f"port {listener} (proxy) is taken" in done.stderr
    assert "PORT_BASE" in done.stderr
    lock = take_lock(installation.lock_file)
    assert lock is not None
    os.close(lock)


def test_a_run_folder_that_cannot_be_made_is_one_clear_sentence(
    installation: Installation,
) -> None:
    installation.run_dir.write_text("a file in the way")
    done = native(installation, "up")
    assert done.returncode == 1
    assert re.fullmatch(r"informania: .* cannot be used \(.*\): run as .*\n", done.stderr)


def test_a_database_without_its_password_is_not_touched(installation: Installation) -> None:
    installation.data.mkdir(parents=True)
    (installation.data / "PG_VERSION").write_text("18\n")
    done = native(installation, "up")
    assert done.returncode == 1
    assert "postgres_password is gone" in done.stderr
    assert not (installation.secrets / "postgres_password").exists()


def test_handles_work_when_nothing_runs(installation: Installation) -> None:
    assert native(installation, "down").stdout == "nothing is running\n"
    assert native(installation, "status").stdout == "Informania is stopped\n"
    state = json.loads(native(installation, "status", "--json").stdout)
    assert (state["phase"], state["services"]) == ("stopped", {})
    assert native(installation, "logs", "api").returncode == 1


def test_a_stale_state_whose_process_id_is_another_programs_is_not_believed(
    installation: Installation,
) -> None:
    installation.make_folders()
    facts = {"state": "healthy", "pid": os.getpid(), "restarts": 0, "address": "", "oneshot": False}
    state = {"supervisor": os.getpid(), "phase": "running", "services": {"api": facts}}
    installation.state_file.write_text(json.dumps(state))
    installation.lock_file.write_text(str(os.getpid()))
    assert "api      stopped" in native(installation, "status").stdout
    assert native(installation, "down").stdout == "nothing is running\n"


def test_logs_print_the_last_lines_of_the_named_services(installation: Installation) -> None:
    installation.make_folders()
    (installation.logs / "api.log").write_text("one\ntwo\n")
    (installation.logs / "worker.log").write_text("three\n")
    printed = native(installation, "logs", "--no-follow", "--lines=1", "api").stdout
    assert printed == "api         | two\n"


async def test_only_a_200_is_healthy() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1]
        writer.write(b"HTTP/1.1 " + path[1:] + b" Whatever\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert await health.http_ok(port, "/200", "localhost")
        assert not await health.http_ok(port, "/503", "localhost")
        assert not await health.http_ok(port, "/2000", "localhost")
        assert not await health.postgres_accepts(port)
    assert not await health.http_ok(port, "/200", "localhost")


async def test_a_running_postgres_is_healthy(cluster: object) -> None:
    assert await health.postgres_accepts(cluster.port)  # type: ignore[attr-defined]
