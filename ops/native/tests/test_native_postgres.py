"""Postgres on this machine: found, initialized whole or not at all, started as nobody."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from free_ports import free_port

from native import postgres
from native.postgres import PostgresError

PASSWORD = "a 'quoted' pass\\word"


@pytest.fixture(scope="module")
def binaries() -> Path:
    """The Postgres that this machine uses."""
    return postgres.find_binaries()


@pytest.fixture
def data_dir(tmp_path: Path, binaries: Path) -> Path:
    """A data folder inside a folder that nobody else may enter."""
    tmp_path.chmod(0o700)
    postgres.initialize(binaries, tmp_path / "data", PASSWORD, extra_args=["--no-sync"])
    return tmp_path / "data"


@contextmanager
def running(binaries: Path, data_dir: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the server until the end of the block."""
    port = free_port()
    argv = postgres.server_argv(binaries, data_dir, port)
    with (data_dir.parent / "server.log").open("ab") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_open(process, port)
        yield process, port
    finally:
        process.send_signal(postgres.STOP_SIGNAL)
        process.wait(20)


def wait_until_open(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server lets sessions in."""
    deadline = time.monotonic() + 30
    while True:
        try:
            connect(port).close()
        except psycopg.OperationalError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not open"
            time.sleep(0.05)
        else:
            return


def connect(port: int, password: str = PASSWORD) -> psycopg.Connection:
    """Open a connection as superuser."""
    return psycopg.connect(
        host="127.0.0.1", port=port, user="postgres", password=password, connect_timeout=5
    )


def test_pg_bin_decides_which_postgres_is_used(binaries: Path) -> None:
    assert postgres.find_binaries({"PG_BIN": str(binaries)}) == binaries


@pytest.mark.parametrize("folder", ["/nonexistent", "/bin"])
def test_a_pg_bin_without_postgres_is_refused_by_name(folder: str) -> None:
    with pytest.raises(PostgresError, match=f"{folder}/.* check PG_BIN"):
        postgres.find_binaries({"PG_BIN": folder})


def test_a_version_that_is_too_old_is_refused(tmp_path: Path) -> None:
    for program in ("initdb", "postgres"):
        (tmp_path / program).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 9.6.24'\n")
        (tmp_path / program).chmod(0o755)
    with pytest.raises(PostgresError, match="holds Postgres 9; 15 to 18 are supported"):
        postgres.find_binaries({"PG_BIN": str(tmp_path)})


def test_the_cluster_is_made_as_designed_and_only_once(data_dir: Path, binaries: Path) -> None:
    assert not postgres.initialize(binaries, data_dir, "another")
    assert not data_dir.with_name("data.partial").exists()
    assert list(data_dir.parent.glob(".initdb-password*")) == []
    with running(binaries, data_dir) as (_, port), connect(port) as connection:
        names = ("data_checksums", "server_encoding", "password_encryption", "fsync", "jit")
        shown = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in names]
        assert [row and row[0] for row in shown] == ["on", "UTF8", "scram-sha-256", "on", "off"]
        sockets = connection.execute("SHOW unix_socket_directories").fetchone()
        assert sockets == ("",)
        order = connection.execute("SELECT 'a' < 'B', upper('ü')").fetchone()
        assert order == (False, "Ü")


def test_a_wrong_password_does_not_open(data_dir: Path, binaries: Path) -> None:
    failed = pytest.raises(psycopg.OperationalError, match="password authentication failed")
    with running(binaries, data_dir) as (_, port), failed:
        connect(port, "wrong")


def test_the_server_is_not_root_and_its_files_keep_their_owner(
    data_dir: Path, binaries: Path
) -> None:
    with running(binaries, data_dir) as (process, _):
        status = Path(f"/proc/{process.pid}/status").read_text()
        capabilities = next(line for line in status.splitlines() if line.startswith("CapEff"))
        assert capabilities.split()[1] == "0" * 16
        assert (data_dir / "postmaster.pid").stat().st_uid == os.geteuid()
    assert (data_dir.parent.stat().st_mode & 0o777) == 0o700


def test_an_interrupt_is_a_clean_stop(data_dir: Path, binaries: Path) -> None:
    with running(binaries, data_dir) as (process, port), connect(port):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert not (data_dir / "postmaster.pid").exists()


def test_what_was_cut_short_is_made_anew(tmp_path: Path, binaries: Path) -> None:
    partial = tmp_path / "data.partial"
    partial.mkdir()
    (partial / "half").write_text("")
    assert postgres.initialize(binaries, tmp_path / "data", PASSWORD, extra_args=["--no-sync"])
    assert not (tmp_path / "data/half").exists()


def test_a_folder_of_another_version_is_refused(data_dir: Path, binaries: Path) -> None:
    (data_dir / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match="was made by Postgres 9"):
        postgres.initialize(binaries, data_dir, PASSWORD)


def test_a_folder_without_a_cluster_is_refused(tmp_path: Path, binaries: Path) -> None:
    with pytest.raises(PostgresError, match="initialize it first"):
        postgres.server_argv(binaries, tmp_path, 1)


@pytest.mark.parametrize("content", [f"{os.getpid()}\n", "999999999\n"], ids=["ours", "gone"])
def test_the_lock_of_a_server_that_is_gone_does_not_stop_the_next(
    data_dir: Path, binaries: Path, content: str
) -> None:
    # Its id may belong to another program by now, for example to this test.
    (data_dir / "postmaster.pid").write_text(f"{content}{data_dir}\n")
    with running(binaries, data_dir) as (_, port):
        connect(port).close()


def test_the_lock_of_a_running_server_is_kept(data_dir: Path, binaries: Path) -> None:
    with running(binaries, data_dir):
        assert not postgres.clear_stale_lock(data_dir)
        assert (data_dir / "postmaster.pid").exists()


def test_a_killed_server_recovers(data_dir: Path, binaries: Path) -> None:
    with running(binaries, data_dir) as (process, port):
        with connect(port) as connection:
            connection.execute("CREATE TABLE t AS SELECT 7 AS i")
        process.kill()
        process.wait(20)
    with running(binaries, data_dir) as (_, port), connect(port) as connection:
        assert connection.execute("SELECT i FROM t").fetchone() == (7,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
def test_without_namespaces_root_starts_it_as_nobody_or_says_what_to_do(
    tmp_path: Path, binaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "namespace_works", lambda: False)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(PostgresError, match=r"user namespaces are off.*cannot reach"):
        postgres.initialize(binaries, closed / "data", PASSWORD, extra_args=["--no-sync"])
