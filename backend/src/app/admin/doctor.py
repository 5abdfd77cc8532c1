"""Examines a running installation end to end: what is wrong, and what to do about it."""

from argparse import Namespace
from collections.abc import Iterator

import psycopg

from app.admin import doctor_database as database
from app.admin import doctor_machine as machine
from app.admin.commands import Rows
from app.admin.findings import Check, Finding, Patient, fail
from app.admin.machine import EXPECTED, on_machine
from app.services.database_setup import SetupError

# In the order in which one fault explains the next.
CHECKS: dict[str, Check] = {
    "secrets": machine.secret_files_are_private,
    "environment": machine.environment,
    "disk": machine.disk,
    "settings": database.settings,
    "damage": database.damage,
    "schema": database.schema,
    "rights": database.rights,
    "read tokens": database.read_tokens,
    "database clock": database.database_clock,
    "clocks": machine.other_clocks,
    "processes": machine.processes,
    "lanes": database.lanes,
    "outbox": database.outbox,
    "chains": database.chains,
    "anchors": database.anchors,
    "figures": database.figures,
    "backups": machine.backups_are_young,
    "certificate": machine.certificate,
}


def run(said: Namespace) -> Rows:
    """Do every check, also after one has failed."""
    with on_machine() as here:
        settings = here.settings()
        try:
            with settings.connect("postgres") as connection:
                patient = Patient(here, settings, connection, direct=said.direct)
                return [
                    row for name, check in CHECKS.items() for row in _rows(name, check, patient)
                ]
        except (psycopg.OperationalError, SetupError) as error:
            remedy = "make status; its log is in .run/logs/postgres.log"
            return [_row("database", fail(str(error).strip(), remedy))]


def _rows(name: str, check: Check, patient: Patient) -> Rows:
    return [_row(name, finding) for finding in _examined(check, patient)]


def _examined(check: Check, patient: Patient) -> Iterator[Finding]:
    try:
        yield from check(patient)
    except EXPECTED as error:
        yield fail(f"cannot be examined: {error}".strip(), "mend that first")


def _row(name: str, finding: Finding) -> dict[str, object]:
    return {
        "check": name, "level": finding.level, "what": finding.what, "remedy": finding.remedy
    }  # fmt: skip
