"""PgBouncer's user list: from the secrets, for two roles, readable to its owner alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from native.installation import ROOT
from native.pgbouncer_userlist import userlist, write_userlist


@pytest.fixture
def secrets_dir(tmp_path: Path) -> Path:
    for role in ("app_write", "app_read", "app_worker", "postgres"):
        (tmp_path / f"{role}_password").write_text(f"of {role}\n")
    return tmp_path


def test_it_names_the_two_roles_that_are_pooled_and_nobody_else(secrets_dir: Path) -> None:
    target = secrets_dir / "pgbouncer_userlist"
    assert write_userlist(secrets_dir, target)
    assert target.read_text() == '"app_write" "of app_write"\n"app_read" "of app_read"\n'
    assert target.stat().st_mode & 0o777 == 0o600


def test_it_is_written_anew_only_when_a_password_changed(secrets_dir: Path) -> None:
    target = secrets_dir / "pgbouncer_userlist"
    write_userlist(secrets_dir, target)
    assert not write_userlist(secrets_dir, target)
    (secrets_dir / "app_read_password").write_text("new")
    assert write_userlist(secrets_dir, target, mode=0o644)
    assert '"app_read" "new"' in target.read_text()
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_quote_in_a_password_is_doubled() -> None:
    assert userlist({"app_write": 'a"b', "app_read": "c"}).startswith('"app_write" "a""b"\n')


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    folder, target = str(tmp_path), str(tmp_path / "list")
    command = [sys.executable, "-m", "native.pgbouncer_userlist", folder, target]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT / "ops")}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "app_write_password: No such file" in done.stderr
