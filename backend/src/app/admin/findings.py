"""What the doctor finds: how each check went, what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from app.services.database_setup import SetupSettings

if TYPE_CHECKING:
    from app.admin.machine import Machine


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: str
    what: str
    remedy: str = ""


def ok(what: str) -> Finding:
    """All is well."""
    return Finding("ok", what)


def warn(what: str, remedy: str) -> Finding:
    """Somebody should look before it becomes worse."""
    return Finding("warn", what, remedy)


def fail(what: str, remedy: str) -> Finding:
    """A promise does not hold."""
    return Finding("fail", what, remedy)


def graded(value: float, what: str, remedy: str, *, warn_at: float, fail_at: float) -> Finding:
    """Judge a figure of which less is better."""
    level = "fail" if value >= fail_at else "warn" if value >= warn_at else "ok"
    return Finding(level, what, "" if level == "ok" else remedy)


@dataclass
class Patient:
    """The installation, and a superuser's connection to its database."""

    settings: SetupSettings
    # None where only what is around the database is looked at.
    connection: psycopg.Connection | None = None
    anchor_sink: str = ""
    anchor_every_s: float = 3600.0
    # What there is but for the database; nothing, in an image.
    here: Machine | None = None
    # Whether processes are left alone: only the database and this machine are looked at.
    direct: bool = False
    # The first anchor that counts, after a restore that was meant.
    since: str = ""

    @property
    def machine(self) -> Machine:
        """The installation of this machine, for checks that are done where there is one."""
        if self.here is None:
            raise LookupError("no installation is here")
        return self.here

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return rows."""
        if self.connection is None:
            raise LookupError("no database is asked here")
        return self.connection.execute(query.encode(), arguments).fetchall()

    def row(self, query: str, *arguments: object) -> tuple[Any, ...]:
        """Return the one row."""
        return self.rows(query, *arguments)[0]


Check = Callable[["Patient"], Iterator[Finding]]
