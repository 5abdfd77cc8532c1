"""informania-admin doctor: a fault of each kind is made for real, and it says which."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from restore_world import NAME, Premises, folder_in_memory

from app.admin import doctor_database
from app.admin.doctor import BOOKS, SERVER
from app.services.database_setup import REPOSITORY_DIR

Fault = Callable[[Premises, psycopg.Connection], object]


def sql(*statements: str) -> Fault:
    """Make a fault by statements of a superuser."""

    def make(_: Premises, superuser: psycopg.Connection) -> None:
        for statement in statements:
            superuser.execute(statement.encode())

    return make


def file(name: str, change: Callable[[Path], object]) -> Fault:
    """Make a fault by changing a file below the installation."""
    return lambda premises, _: change(premises.root / name)


def age_the_newest_anchor(path: Path) -> None:
    newest = max(path.glob("*.json"))
    newest.rename(newest.with_name(f"20200101T000000.000000Z{newest.name[23:]}"))


# Fault -> how it is made, the check that must say so, how bad it is, and a word of what it says.
FAULTS: dict[str, tuple[Fault, str, str, str]] = {
    "commits that don't wait for the disk": (
        sql("ALTER ROLE app_write SET synchronous_commit = off"),
        *("settings", "fail", "synchronous_commit is off for app_write"),
    ),
    "settings of the server": (
        sql("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"),
        *("settings", "fail", "fsync is off"),
    ),
    "a right given by hand": (
        sql("GRANT SELECT ON app.orders TO app_read"),
        *("rights", "fail", "app.orders: app_read may SELECT"),
    ),
    "a second superuser": (
        sql("CREATE ROLE doctor_evil SUPERUSER"),
        *("rights", "fail", "more superusers: doctor_evil"),
    ),
    "a broken chain": (
        sql("ALTER TABLE audit.audit_log DISABLE TRIGGER ALL",
            "UPDATE audit.audit_log SET action = 'x' WHERE stream_id = 0 AND seq = 1"),
        *("chains", "fail", "account 0 at 1 (content)"),
    ),
    "a chain set back behind its anchor": (
        sql("ALTER TABLE audit.audit_log DISABLE TRIGGER ALL",
            "DELETE FROM audit.audit_log WHERE stream_id = 0",
            "UPDATE app.streams SET seq = 0, head = '' WHERE stream_id = 0"),
        *("anchors", "fail", "the row is gone"),
    ),
    "no anchors": (
        file("anchors", lambda path: [it.unlink() for it in path.glob("*.json")]),
        *("anchors", "fail", "holds no anchor"),
    ),
    "an old anchor": (
        file("anchors", age_the_newest_anchor),
        *("anchors", "fail", "days"),
    ),
    "a procedure of another release": (
        sql("UPDATE app.repeatable SET sha256 = repeat('0', 64) WHERE path LIKE '%grants.sql'"),
        *("schema", "fail", "grants.sql differs"),
    ),
    "an unknown key of read tokens": (
        sql("DELETE FROM security.token_keys"),
        *("read tokens", "fail", "does not believe"),
    ),
    "an old key of read tokens": (
        sql("INSERT INTO security.token_keys SELECT 'old', inner_block, outer_block, now()"
            " FROM security.token_keys"),
        *("read tokens", "warn", "1 older keys"),
    ),
    "an outbox in quarantine": (
        sql("SELECT app.sp_outbox_quarantine('operator:test', 'tried out')"),
        *("outbox", "warn", "in quarantine since"),
    ),
    "no worker": (
        sql("UPDATE app.outbox_shards SET lease_until = '-infinity' WHERE shard = 3"),
        *("lanes", "fail", "1 of 16 shards have no worker"),
    ),
    "a silent bridge": (
        sql("INSERT INTO app.bridges (source, deploy_id, epoch, sequence, heartbeat_at)"
            " VALUES ('qc:9', 'L', 1, 1, now() - interval '5 min')"),
        *("lanes", "fail", "bridge qc:9 was heard 3"),
    ),
    "cash from nowhere": (
        sql("INSERT INTO app.accounts (account_id, name, currency, route, broker_account, paper)"
            " OVERRIDING SYSTEM VALUE VALUES (77, 'x', 'USD', 'quantconnect', 'x', TRUE)",
            "INSERT INTO app.cash_balances (account_id, currency, amount) VALUES (77, 'USD', 5)"),
        *("figures", "fail", "figures are not what"),
    ),
    "a placeholder": (
        file("run/secrets/qc_token", lambda path: path.write_text("changeme")),
        *("secrets", "fail", "qc_token is a placeholder"),
    ),
    "a missing secret": (
        file("run/secrets/anchor_key", Path.unlink),
        *("secrets", "fail", "anchor_key is missing"),
    ),
    "a secret that others may change": (
        file("run/secrets/qc_token", lambda path: path.chmod(0o666)),
        *("secrets", "fail", "qc_token can be written by others"),
    ),
    "secrets that others may see": (
        file("run/secrets", lambda path: path.chmod(0o755)),
        *("secrets", "fail", "may be entered by others"),
    ),
    "no backup": (
        file("backups/base", lambda path: path.rename(path.with_name("gone"))),
        *("backups", "fail", "holds no backup"),
    ),
    "an old backup": (
        file("backups/base", lambda path: max(path.iterdir()).rename(path / "20200101T000000Z")),
        *("backups", "fail", "hours old"),
    ),
    "backups that others may read": (
        file("backups", lambda path: path.chmod(0o755)),
        *("backups", "fail", "may be entered by others"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared() -> Iterator[Premises]:
    """An installation in good health, as far as one without processes can be; stopped."""
    with folder_in_memory() as folder:
        made = Premises(folder)
        try:
            made.prepare()
            with made.superuser() as connection:
                connection.execute(
                    "UPDATE app.outbox_shards SET owner = 'x', lease_until = 'infinity'"
                )
                # Makes the partitions of the coming days, as the worker does each day.
                connection.execute("SELECT app.sp_housekeep('5 days', '5 days', '5 days')")
            made.admin("audit", "anchor")
            made.admin("backup")
        finally:
            made.stop()
        yield made


@pytest.fixture
def premises(prepared: Premises) -> Iterator[Premises]:
    """A copy of it that runs."""
    with folder_in_memory() as folder:
        made = Premises(folder)
        made.copy_from(prepared)
        try:
            made.start()
            yield made
        finally:
            made.stop()


def test_a_healthy_installation_has_nothing_to_complain_about_but_what_is_not_there(
    premises: Premises,
) -> None:
    code, found = premises.doctor()
    complaints = {(row["check"], row["level"]) for row in found if row["level"] != "ok"}
    # No venue runs here; its clock cannot be asked.
    assert complaints == {("clocks", "warn")}, found
    assert code == 1
    assert all(row["remedy"] for row in found if row["level"] != "ok")


def test_an_image_holds_what_the_doctor_needs_to_examine_the_database(
    premises: Premises, tmp_path: Path
) -> None:
    dockerfile = (REPOSITORY_DIR / "backend/Dockerfile").read_text()
    _, stage = dockerfile.split(" AS sources\n")
    for folder in re.findall(r"^COPY (\S+) ", stage.partition("\nFROM ")[0], re.MULTILINE):
        source, target = REPOSITORY_DIR / folder, tmp_path / folder
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path / 'backend/src'}"} | {
        name: premises.environment[name]
        for name in ("DATABASE_PORT", "DATABASE_NAME", "SECRETS_DIR")
        if name in premises.environment
    }
    done = subprocess.run(
        [sys.executable, "-m", "app.admin", "--json", "doctor"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    found = {row["check"]: row["level"] for row in json.loads(done.stdout or done.stderr)}
    assert found.pop("anchors") == "warn"
    assert set(found) == {*SERVER, *BOOKS} - {"anchors"}
    assert set(found.values()) == {"ok"}, done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_said_where_it_is(premises: Premises, fault: str) -> None:
    make, check, level, words = FAULTS[fault]
    with premises.superuser() as superuser:
        make(premises, superuser)
    code, found = premises.doctor()
    said = [row for row in found if row["check"] == check and row["level"] == level]
    assert any(words in row["what"] for row in said), found
    assert all(row["remedy"] for row in said)
    assert code == (2 if level == "fail" else 1)


def test_a_statement_that_outlives_its_role_s_time_out_is_found(
    premises: Premises, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role may switch its own time-out off, which Postgres cannot forbid (decision 0013)."""
    monkeypatch.setattr(doctor_database, "OVERDUE_S", 0)
    with premises.cluster.settings(NAME).connect("app_read") as reader:
        reader.execute("SET statement_timeout = 0")
        reader.execute("BEGIN")
        reader.execute("SELECT pg_sleep(0.01)")
        _, found = premises.doctor()
    (row,) = [row for row in found if row["check"] == "sessions"]
    assert (row["level"], "1 transactions of app_read" in row["what"]) == ("fail", True)


def test_processes_that_are_down_are_said_and_the_rest_is_examined(premises: Premises) -> None:
    code, found = premises.doctor(direct=False)
    down = {row["what"] for row in found if row["check"] == "processes"}
    assert down == {f"{name} is not well" for name in ("api", "worker", "streamlit", "proxy")}
    assert [row["level"] for row in found if row["check"] == "chains"] == ["ok"]
    assert code == 2


def test_without_a_database_it_says_that(premises: Premises) -> None:
    premises.stop()
    code, (row,) = premises.doctor()
    assert (code, row["check"], row["level"]) == (2, "database", "fail")


def test_a_clock_that_is_wrong_is_found(
    premises: Premises, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 90)
    _, found = premises.doctor()
    (row,) = [row for row in found if row["check"] == "database clock"]
    assert row["level"] == "fail"


def test_an_address_without_tls_or_with_nobody_behind_it_is_found(premises: Premises) -> None:
    _, found = premises.doctor(PUBLIC_URL="http://trading.example.com")
    (row,) = [row for row in found if row["check"] == "certificate"]
    assert (row["level"], "without TLS" in row["what"]) == ("fail", True)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        _, found = premises.doctor(PUBLIC_URL=f"https://127.0.0.1:{nobody.getsockname()[1]}")
    (row,) = [row for row in found if row["check"] == "certificate"]
    assert (row["level"], "cannot be reached" in row["what"]) == ("fail", True)


def test_a_setting_with_a_placeholder_is_found(premises: Premises) -> None:
    _, found = premises.doctor(QC_USER_ID="changeme")
    (row,) = [row for row in found if row["check"] == "environment"]
    assert (row["level"], row["what"]) == ("fail", "QC_USER_ID holds a placeholder")
