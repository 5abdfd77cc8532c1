"""Examines a running installation end to end: what is wrong, and what to do about it.

Where an installation runs natively, all of it; from a container image, what the database says.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial

import psycopg

from app.admin import doctor_database as database
from app.admin.client import Failed
from app.admin.commands import Rows
from app.admin.findings import Check, Finding, Patient, fail
from app.audits.anchors import AnchorInvalid
from app.audits.sinks import SinkError
from app.services.database_setup import SetupError, SetupSettings

# In the order in which one fault explains the next.
SERVER: dict[str, Check] = {
    "settings": database.settings,
    "sessions": database.sessions,
    "damage": database.damage,
    "schema": database.schema,
    "rights": database.rights,
    "read tokens": database.read_tokens,
    "database clock": database.database_clock,
}
BOOKS: dict[str, Check] = {
    "lanes": database.lanes,
    "outbox": database.outbox,
    "chains": database.chains,
    "anchors": database.anchors,
    "figures": database.figures,
}
EXPECTED: tuple[type[Exception], ...] = (
    *(SetupError, SinkError, AnchorInvalid, psycopg.Error, OSError),
)


def run(said: Namespace) -> Rows:
    """Examine the installation of this machine, whose runner can be imported."""
    from app.admin import doctor_containers  # noqa: PLC0415 - not in an image
    from app.admin import doctor_machine as machine  # noqa: PLC0415
    from app.admin.machine import EXPECTED as OF_MACHINE  # noqa: PLC0415
    from app.admin.machine import on_machine  # noqa: PLC0415

    checks: dict[str, Check] = {
        "secrets": machine.secret_files_are_private,
        "environment": machine.environment,
        "disk": machine.disk,
        **SERVER,
        "clocks": machine.other_clocks,
        "processes": machine.processes,
        **BOOKS,
        "backups": machine.backups_are_young,
        "certificate": machine.certificate,
    }
    with on_machine() as here:
        if here.in_containers:
            it = Patient(settings=here.settings(), here=here, direct=said.direct, since=said.since)
            around = doctor_containers.CHECKS
            rows = [
                _row(name, finding)
                for name, check in around.items()
                for finding in _findings(check, it, OF_MACHINE)
            ]
            return [*rows, *doctor_containers.inside(it)]
        patient = partial(
            Patient,
            here=here,
            anchor_sink=here.anchor_sink,
            anchor_every_s=float(here.installation.setting("ANCHOR_EVERY_S", "3600")),
            direct=said.direct,
            since=said.since,
        )
        remedy = "make status; its log is in .run/logs/postgres.log"
        return _examined(here.settings(), patient, checks, remedy, OF_MACHINE)


def run_in_image(said: Namespace) -> Rows:
    """Examine what can be asked of the database that this environment names."""
    patient = partial(
        Patient,
        anchor_sink=os.environ.get("ANCHOR_SINK", ""),
        anchor_every_s=float(os.environ.get("ANCHOR_EVERY_S", "3600")),
        direct=True,
        since=said.since,
    )
    remedy = "can it be reached from here? DATABASE_HOST, DATABASE_PORT, SECRETS_DIR"
    try:
        return _examined(SetupSettings.load(), patient, SERVER | BOOKS, remedy, EXPECTED)
    except SetupError as error:
        raise Failed(str(error)) from error


def _examined(
    settings: SetupSettings,
    patient: Callable[..., Patient],
    checks: dict[str, Check],
    remedy: str,
    expected: tuple[type[Exception], ...],
) -> Rows:
    """Do every check, also after one has failed."""
    try:
        with settings.connect("postgres") as connection:
            it = patient(settings=settings, connection=connection)
            return [
                _row(name, finding)
                for name, check in checks.items()
                for finding in _findings(check, it, expected)
            ]
    except (psycopg.OperationalError, SetupError) as error:
        return [_row("database", fail(str(error).strip(), remedy))]


def _findings(
    check: Check, patient: Patient, expected: tuple[type[Exception], ...]
) -> Iterator[Finding]:
    try:
        yield from check(patient)
    except expected as error:
        yield fail(f"cannot be examined: {error}".strip(), "mend that first")


def _row(name: str, finding: Finding) -> dict[str, object]:
    return {
        "check": name, "level": finding.level, "what": finding.what, "remedy": finding.remedy
    }  # fmt: skip
