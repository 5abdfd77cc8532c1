"""The demo: made once, the same when made again, and able to sign in."""

import json
import os
import shutil
import stat
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fixtures_core import Core, running_core
from fixtures_postgres import Database
from read_tokens import read, sign

from app.services.database_setup import REPOSITORY_DIR
from app.services.seed import read_bars, redated, sessions_before


class Seeding:
    """Runs the seed as the runner does."""

    def __init__(self, database: Database, core: Core, folder: Path) -> None:
        self.database = database
        self.core = core
        self.demo_file = folder / "run/demo.json"
        self.secrets_dir = folder / "secrets"
        shutil.copytree(database.cluster.secrets_dir, self.secrets_dir)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it once."""
        settings = {
            "APP_ENV": "test",
            "DATABASE_HOST": self.database.host,
            "DATABASE_PORT": str(self.database.port),
            "DATABASE_NAME": self.database.name,
            "SECRETS_DIR": str(self.secrets_dir),
            "SUPERTOKENS_URI": self.core.uri,
            "DEMO_FILE": str(self.demo_file),
            **environment,
        }
        return subprocess.run(
            [sys.executable, "-m", "app.services.seed"],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def demo(self) -> dict[str, Any]:
        """Return what it wrote for people."""
        content: dict[str, Any] = json.loads(self.demo_file.read_text())
        return content

    def everything(self) -> list[Any]:
        """Return what the database holds, with the length of the audit log."""
        queries = (
            "SELECT user_id, email, role FROM app.users ORDER BY email",
            "SELECT account_id, name, broker_account FROM app.accounts ORDER BY 1",
            "SELECT account_id, user_id, can_trade FROM app.account_members ORDER BY 1, 2",
            "SELECT account_id, amount FROM app.cash_balances ORDER BY 1",
            "SELECT count(*), min(bar_at), max(bar_at) FROM market.bars",
            "SELECT count(*) FROM audit.audit_log",
        )
        with self.database.settings.connect("postgres") as connection:
            return [connection.execute(query.encode()).fetchall() for query in queries]


async def test_the_demo_is_made_once_and_can_sign_in(database: Database, tmp_path: Path) -> None:
    with running_core(database, tmp_path / "core.log") as core:
        seeding = Seeding(database, core, tmp_path)
        first = seeding.run()
        assert first.returncode == 0, first.stderr
        made, demo = seeding.everything(), seeding.demo()

        again = seeding.run()
        assert again.returncode == 0, again.stderr
        assert seeding.everything() == made
        assert seeding.demo() == demo

        for user in demo["users"]:
            words = {"email": user["email"], "password": user["password"]}
            assert (await core.call("POST", "/public/recipe/signin", **words))["status"] == "OK"
            user_id = {row[1]: row[0] for row in made[0]}[user["email"]]
            roles = await core.call("GET", "/public/recipe/user/roles", userId=str(user_id))
            assert roles["roles"] == [user["role"]]

    assert stat.S_IMODE(seeding.demo_file.stat().st_mode) == 0o600
    assert [account["name"] for account in demo["accounts"]] == ["Growth", "Income", "Reserve"]
    accounts = {user["role"]: user["accounts"] for user in demo["users"]}
    assert accounts == {"viewer": ["1"], "trader": ["1", "2"], "admin": ["3"]}
    assert [row[1] for row in made[3]] == [100_000] * 3
    await assert_history_is_shown(database, {row[2]: row[0] for row in made[0]}["viewer"])


async def assert_history_is_shown(database: Database, user_id: Any) -> None:
    """A viewer sees more than a year of bars that end at the last session."""
    token = sign(database.settings.secret("db_token_key"), user_id)
    rows = await read(
        database,
        token,
        "SELECT count(*) AS bars, max(bar_at) AS last, max(original_date) AS original"
        " FROM reporting.bars WHERE symbol = 'AAPL'",
    )
    assert rows[0]["bars"] > 252
    assert rows[0]["last"].date() == next(sessions_before(datetime.now(UTC).date()))
    assert rows[0]["original"] == date(2013, 3, 1)


def test_the_demo_refuses_production(database: Database, tmp_path: Path) -> None:
    seeding = Seeding(database, Core("http://127.0.0.1:1", "k"), tmp_path)
    refusal = seeding.run(APP_ENV="production")
    assert refusal.returncode == 1
    assert "not for production" in refusal.stderr


def test_a_core_that_is_away_is_named_with_its_address(database: Database, tmp_path: Path) -> None:
    seeding = Seeding(database, Core("http://127.0.0.1:1", "k"), tmp_path)
    failure = seeding.run()
    assert failure.returncode == 1
    assert "the identity core at http://127.0.0.1:1" in failure.stderr
    assert "Traceback" not in failure.stderr


@pytest.mark.parametrize("text", ["", "account = 1", "not toml ["])
def test_an_unusable_configuration_is_named(database: Database, tmp_path: Path, text: str) -> None:
    config = tmp_path / "demo.toml"
    config.write_text(text)
    seeding = Seeding(database, Core("http://127.0.0.1:1", "k"), tmp_path)
    failure = seeding.run(DEMO_CONFIG=str(config))
    assert failure.returncode == 1
    assert f"{config} cannot be used" in failure.stderr


def test_sessions_are_moved_in_order_onto_weekdays() -> None:
    rows = read_bars(REPOSITORY_DIR / "db/postgres/demo/daily_bars.csv.gz")
    sunday = date(2026, 11, 22)
    bars = [bar for bar in redated(rows, sunday) if bar["symbol"] == "IBM"]
    by_day = sorted(bars, key=lambda bar: bar["bar_at"])

    days = [datetime.fromisoformat(bar["bar_at"]) for bar in by_day]
    assert days[-1] == datetime(2026, 11, 20, tzinfo=UTC)
    assert all(day.isoweekday() <= 5 for day in days)
    assert len(set(days)) == len(days) == 1008
    assert [b["original_date"] for b in by_day] == sorted(b["original_date"] for b in by_day)
    assert all(after - before <= timedelta(days=3) for before, after in pairwise(days))
