"""informania-admin: accounts, instruments, limits and the kill switch, from a terminal."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

import httpx

from app.admin import quantconnect
from app.admin.arguments import make_parser
from app.admin.auditing import is_direct, run_direct
from app.admin.client import Api, Failed, Refused, find_login
from app.admin.commands import Rows, run, scope_of
from app.admin.direct import check_integrity, fill_calendar, force_state, import_rates, outbox
from app.admin.doctor import run_in_image
from app.services.database_setup import REPOSITORY_DIR

# Topics of the installation on this machine, whose runner they use.
ON_MACHINE = ("backup", "restore", "doctor")
STATES = {"halt": "halted", "reduce": "reducing", "resume": "active"}


def main(
    arguments: Sequence[str] | None = None,
    *,
    transport: httpx.BaseTransport | None = None,
    out: TextIO | None = None,
) -> int:
    """Run one command; 0 when it was done, 1 when not or a check failed, 2 when misunderstood.

    `doctor`: 0 all is well, 1 something warns, 2 something fails.
    """
    said = make_parser().parse_args(arguments)
    out = out or sys.stdout
    try:
        if said.topic in ON_MACHINE:
            rows = _on_machine(said)
        elif said.topic == "audit" and is_direct(said):
            rows = run_direct(said)
        elif said.topic == "quantconnect":
            rows = quantconnect.run(said)
        elif getattr(said, "direct", False):
            rows = _directly(said)
        else:
            login = find_login(
                dict(os.environ), url=said.url, email=said.email, file=said.credentials
            )
            api = Api(login, transport)
            try:
                rows = run(api, said)
            finally:
                api.close()
    except Failed as error:
        problem = error.problem if isinstance(error, Refused) else {"detail": str(error)}
        message = json.dumps(problem) if said.json else f"informania-admin: {_explained(error)}"
        sys.stderr.write(message + "\n")
        return 1
    # A proof is one document for a program to check.
    if said.topic == "audit" and said.verb in ("export", "prove"):
        out.write(json.dumps(rows[0], indent=1) + "\n")
    elif said.topic == "doctor" and not said.json:
        # What is to be done is a sentence, too long for a column.
        for row in rows:
            remedy = f"\n      {row['remedy']}" if row["remedy"] else ""
            out.write(f"{row['level']:4}  {row['check']}: {row['what']}{remedy}\n")
    else:
        show(rows, out, as_json=said.json)
    if said.topic == "doctor":
        return max(("ok", "warn", "fail").index(row["level"]) for row in rows)
    return 1 if said.topic == "integrity" and rows else 0


def _on_machine(said: argparse.Namespace) -> Rows:
    runner = REPOSITORY_DIR / "ops"
    if not (runner / "native").is_dir():
        if said.topic == "doctor":
            return run_in_image(said)
        raise Failed(f"this works where an installation runs natively: there is no {runner}/native")
    if str(runner) not in sys.path:
        sys.path.append(str(runner))
    rows: Rows = import_module(f"app.admin.{said.topic}").run(said)
    return rows


def _directly(said: argparse.Namespace) -> Rows:
    if said.topic == "outbox":
        return [outbox(said)]
    if said.topic == "fx":
        return [import_rates(said.file)]
    if said.topic == "calendar":
        return [fill_calendar(said.first_year, said.last_year or said.first_year)]
    if said.topic == "integrity":
        return check_integrity()
    scope, scope_id = scope_of(said)
    state = STATES[said.verb]
    force_state(
        scope=scope,
        scope_id=int(scope_id),
        state=state,
        reason=said.reason,
        cancel_open=getattr(said, "cancel_open", False),
    )
    return [{"scope": scope, "scope_id": scope_id, "state": state}]


def _explained(error: Failed) -> str:
    """Name the fields that a refusal is about."""
    if not isinstance(error, Refused):
        return str(error)
    faults = [
        f"  {'.'.join(str(part) for part in fault['loc'][1:])}: {fault['type']}"
        for fault in error.problem.get("errors", ())
    ]
    return "\n".join([str(error), *faults])


def show(rows: Rows, out: TextIO, *, as_json: bool) -> None:
    """Print a table, or JSON."""
    if as_json:
        out.write(json.dumps(rows, indent=2) + "\n")
        return
    if not rows:
        out.write("nothing\n")
        return
    columns = list(rows[0])
    table = [columns, *([_text(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(columns))]
    for line in table:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        out.write("  ".join(padded).rstrip() + "\n")


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
