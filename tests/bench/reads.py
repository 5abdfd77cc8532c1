"""Measures what reading costs a desk with a past, as ratios within one run.

usage: python tests/bench/reads.py [--seconds 2] [--rounds 5] [--cpu] [--first] [--fill-only] [ROW]

Each question of the screen (services/ro_db.py) is asked in turns with row security, as app_read
with a trader's signed token, and without, by a role that is exempt; the ratio is that of the
medians, client and backends on one core. With --cpu what both sides worked counts instead of the
time that passed, for a machine that others use; with --first each question comes with another token
than the one before it, so that each pays for the check. No plan may scan a large table. The rows
all_... are asked by an administrator about all accounts at once, and compared with the time after
which the screen gives up. place_10m_vs_empty compares placing into a database of ten million orders
with placing into an empty one. Rows go to .run/bench/reads.json; exits 1 when a goal is missed. The
first run fills databases that are kept under .run/bench.
"""

import argparse
import json
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for _folder in ("tests", "backend/tests", "ops", "tests/crash"):
    sys.path.insert(0, str(ROOT / _folder))

import psycopg  # noqa: E402
from bench import place_10m  # noqa: E402
from bench.bench_cluster import DATABASE, superuser  # noqa: E402
from bench.desk import TEMPLATE, TRADER, administrator, asked_by, everything, freshen  # noqa: E402
from bench.readers import CASES, Asked, Case, Statement, statement  # noqa: E402
from bench.reading import (  # noqa: E402
    FREE_ROLE,
    MAKE_FREE_ROLE,
    Reader,
    as_user,
    large_relations,
    on_one_core,
    plans,
    reader,
    scans,
    time_limit_s,
)
from bench.templates import KEPT, say, served  # noqa: E402

from app.services import database_setup  # noqa: E402

GOAL = 0.85
# Enough to prepare the statement and to choose its plan.
WARM_UP = 12
CALLS_MIN = 20
PREFIX = "reads_"
OF_ALL = "all_"
CALLS_OF_ALL = 5


@dataclass(frozen=True)
class World:
    """The kept desk, and the two ways to read, as a trader of it or as an administrator."""

    asked: Asked
    superuser: psycopg.Connection
    # In turns: what is kept of one token helps no other.
    secured: tuple[Reader, ...]
    free: Reader
    admin: tuple[Reader, ...]
    everything: Asked
    large: set[str]


def main() -> int:
    """Measure the rows that were asked for; print and write them."""
    options = read_options()
    report = []
    readers = {f"{it}{name}": case for it in (PREFIX, OF_ALL) for name, case in CASES.items()}
    chosen = {name: it for name, it in readers.items() if not options.rows or name in options.rows}
    placing = not options.rows or place_10m.NAME in options.rows
    if chosen:
        report += measure_readers(chosen, options)
    if placing and options.fill_only:
        place_10m.TEMPLATE.ensure()
    elif placing:
        report.append(place_10m.measured(options.rounds, options.seconds))
    if options.fill_only:
        return 0
    target = KEPT / "reads.json"
    target.write_text(json.dumps({"rows": report}, indent=2) + "\n")
    return int(any(row["ratio"] < row["goal"] or row.get("scans") for row in report))


def measure_readers(chosen: dict[str, Case], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure questions on the kept desk."""
    folder = TEMPLATE.ensure()
    if options.fill_only:
        return []
    with served(folder) as cluster:
        database_setup.migrate(cluster.settings(DATABASE))
        with superuser(cluster, autocommit=True) as root:
            root.execute(MAKE_FREE_ROLE.encode())
            freshen(root)
            with (
                reader(cluster, DATABASE, "app_read", TRADER, by_cpu=options.cpu) as secured,
                reader(cluster, DATABASE, FREE_ROLE, TRADER, by_cpu=options.cpu) as free,
                on_one_core(secured, free),
            ):
                spans_s = (3600, 1800) if options.first else (3600,)
                secured_turns, admin_turns = (
                    tuple(as_user(cluster, secured, user_id, valid_s=it) for it in spans_s)
                    for user_id in (TRADER, administrator(root))
                )
                asked = asked_by(root, TRADER)
                world = World(
                    asked, root, secured_turns, free, admin_turns, everything(root, asked),
                    large_relations(root),
                )  # fmt: skip
                return [
                    of_all(name, case, world)
                    if name.startswith(OF_ALL)
                    else measured(name, case, world, options.seconds)
                    for name, case in chosen.items()
                ]


def measured(name: str, case: Case, world: World, seconds: float) -> dict[str, Any]:
    """Ask one question in turns with row security and without; look at its plans."""
    secured = statement(case, world.asked)
    free = without_row_security(case, secured, world.asked)
    turns = world.admin if case.of_admin else world.secured
    reader = turns[0]
    other = replace(world.free, user_id=reader.user_id, token=reader.token)
    first, second = reader.read(secured)[0], other.read(free)[0]
    if not first or len(first) != len(second):
        raise RuntimeError(f"{name}: {len(first)} rows with row security, {len(second)} without")
    pairs: list[tuple[list[float], list[float]]] = []
    for _ in range(WARM_UP):
        reader.read(secured), other.read(free)
    end = monotonic() + seconds
    for asker in cycle(turns):
        pairs.append(([*other.read(free)[1:]], [*asker.read(secured)[1:]]))
        if monotonic() >= end and len(pairs) >= CALLS_MIN:
            break
    whole = [median(side[0] for side in sides) for sides in zip(*pairs, strict=True)]
    alone = [median(side[1] for side in sides) for sides in zip(*pairs, strict=True)]
    ratio = whole[0] / whole[1]
    found = plans(world.superuser, reader, secured)
    scanned = sorted({it for it in scans(found) if it in world.large})
    say(
        f"{'ok  ' if ratio >= GOAL and not scanned else 'MISS'} {name:30} {ratio:7.2f}"
        f"  goal {GOAL:5}  {whole[1] * 1000:8.2f} ms against {whole[0] * 1000:8.2f} ms,"
        f" the statement alone {alone[1] * 1000:.2f} against {alone[0] * 1000:.2f};"
        f" rows {len(first)}{f'; scans {scanned}' if scanned else ''}"
    )
    return {
        "name": name, "ratio": round(ratio, 3), "goal": GOAL, "higher_is_better": True,
        "ours_ms": round(whole[1] * 1000, 3), "other_ms": round(whole[0] * 1000, 3),
        "statement_ratio": round(alone[0] / alone[1], 3), "rows": len(first), "scans": scanned,
    }  # fmt: skip


def of_all(name: str, case: Case, world: World) -> dict[str, Any]:
    """Ask one question about all accounts; compare with the time that the screen gives it."""
    question = statement(case, world.everything)
    limit = time_limit_s()
    with suppress(psycopg.errors.QueryCanceled):
        world.admin[0].read(question)
    try:
        answers = [world.admin[0].read(question) for _ in range(CALLS_OF_ALL)]
        seconds, rows = median(it[1] for it in answers), len(answers[0][0])
    except psycopg.errors.QueryCanceled:
        # Nobody knows how long it takes: it was cut off at the limit.
        seconds, rows = limit, 0
    ratio = limit / seconds if rows else 0
    say(
        f"{'ok  ' if ratio >= 1 else 'MISS'} {name:30} {ratio:7.1f}  goal {1:5}"
        f"  {seconds * 1000:8.2f} ms of {limit * 1000:.0f}; rows {rows}"
    )
    return {
        "name": name, "ratio": round(ratio, 3), "goal": 1, "higher_is_better": True,
        "ours_ms": round(seconds * 1000, 3), "other_ms": limit * 1000, "rows": rows,
    }  # fmt: skip


def without_row_security(case: Case, secured: Statement, asked: Asked) -> Statement:
    """Return the same question for who may see all rows: with the accounts said outright."""
    if case.reader != "accounts":
        return secured
    query = f"SELECT * FROM ({secured.query}) AS r WHERE account_id = ANY (%s)"  # noqa: S608
    return Statement(query, [*secured.arguments, list(asked.account_ids)])


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2, help="of a question, or one placing")
    parser.add_argument("--rounds", type=int, default=5, help="of placing")
    parser.add_argument("--cpu", action="store_true", help="for a machine that others use")
    parser.add_argument("--first", action="store_true", help="each question checks its token anew")
    parser.add_argument("--fill-only", action="store_true", help="make what is kept, no more")
    names = [*(f"{it}{name}" for it in (PREFIX, OF_ALL) for name in CASES), place_10m.NAME]
    parser.add_argument("rows", nargs="*", choices=[[], *names])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
