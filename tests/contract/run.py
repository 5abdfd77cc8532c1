"""Compares our books and figures with those of foreign libraries, on random histories.

usage: python tests/contract/run.py [--seed 1] [--histories 1000] [--replay FILE]

Every history is booked in a real Postgres by the procedures that the worker calls, and read as
the screen reads. Wrong books are made on purpose in the end: each has to be found. Exits 1 when
anything differs, or when a wrong book goes unnoticed. `make test-contract` makes the environment
of the libraries.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
for _folder in ("tests", "backend/tests", "ops", "tests/crash"):
    sys.path.insert(0, str(ROOT / _folder))
# Last, because the screen's app.py is not our package of that name.
sys.path.append(str(ROOT / "ui/streamlit"))

from contract import days  # noqa: E402
from contract.booking import Booked, Books, books  # noqa: E402
from contract.comparing import Answers, Tally, asked_all, differences  # noqa: E402
from contract.histories import History, histories, holding, read, without, written  # noqa: E402
from fixtures_postgres import Cluster, running_cluster  # noqa: E402
from services.models import DailyPnl  # noqa: E402

FAILURES = ROOT / ".run" / "contract"
BATCH = 100
SHOWN_MAX = 3
CONTROLS = 25
PROCEDURES = "db/postgres/procedures/sp_{}.sql"
LOTS = "db/postgres/schemas/23_reporting_lots.sql"
# What is wrong -> file, what it says, what it says then.
WRONG_BOOKS = {
    "the fold drops some fills": (
        PROCEDURES.format("book_fold"),
        "BEGIN\n",
        "BEGIN\n    IF p_quantity % 5 = 0 THEN RETURN p_before; END IF;\n",
    ),
    "a partial close releases a thousandth too much": (
        PROCEDURES.format("book_fold"), "v_closed * 1e12", "v_closed * 1.001e12",
    ),
    "a flip opens at the cost of all it trades": (
        PROCEDURES.format("book_fold"), "(p_quantity - v_closed) * v_value", "p_quantity * v_value",
    ),
    "a busted fill stays in the fold": (
        PROCEDURES.format("executions_held"), "AND x.kind <> 'bust'", "AND TRUE",
    ),
    "a fee in another currency is paid in the instrument's": (
        PROCEDURES.format("book_cash"),
        "(p_fill.fee_currency, -p_fill.fee, p_fill.fee)",
        "(p_fill.currency, -p_fill.fee, p_fill.fee)",
    ),
    "lots forget what a unit stands for": (LOTS, " * o.multiplier)", ")"),
    "lots stand in the order of reports, not of trades": (
        LOTS, "e.first_executed_at, e.first_execution_id", "e.first_execution_id",
    ),
    "what a close realized is rounded to 8 decimals": (
        LOTS,
        "trim_scale(o.sign * p.quantity * (c.price - o.price) * o.multiplier)",
        "round(o.sign * p.quantity * (c.price - o.price) * o.multiplier, 8)",
    ),
    "the last lot is closed first": (
        LOTS,
        "ORDER BY e.first_executed_at, e.first_execution_id\n            ) AS place",
        "ORDER BY e.first_executed_at DESC, e.first_execution_id\n            ) AS place",
    ),
}  # fmt: skip
# This one is also made small: a buy and a larger sell show it.
SHRUNK = "a flip opens at the cost of all it trades"
SHRUNK_MAX = 2


def main() -> int:
    """Compare, print, and say by the exit code whether all is well."""
    options = read_options()
    if options.replay:
        return replay(Path(options.replay))
    say(f"seed {options.seed}, {options.histories:,} histories")
    made = list(histories(options.seed, options.histories))
    started = time.monotonic()
    with running_cluster() as cluster:
        with books(cluster, "contract", {}) as right:
            wrong = compare(right, made, options.seed)
        missed = [*controls(cluster, made[:CONTROLS])]
    wrong += compare_days(options.seed, options.histories)
    missed += [*controls_of_days(options.seed)]
    say(f"{wrong} differ, {len(missed)} wrong books unnoticed, {time.monotonic() - started:.0f} s")
    return int(bool(wrong or missed))


def compare(right: Books, made: Sequence[History], seed: int) -> int:
    """Book and compare all; print what differs, as small as it gets. Return how many differ."""
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(asked_all, made)
        booked = [it for batch in batches(made) for it in right.book(batch)]
        said = asking.result()
    tally = Tally()
    failed = [
        (number, found)
        for number, it in enumerate(booked)
        if (found := differences(it, answers_of(said, number), tally))
    ]
    tell(made, booked, said, tally)
    say(f"{len(failed):,} of {len(made):,} histories differ")
    for number, found in failed[:SHOWN_MAX]:
        say(f"history {number} differs:", *found)
        save(smallest(right, made[number]), f"{seed}-{number}")
    return len(failed)


def answers_of(said: dict[str, Answers], number: int) -> dict[str, dict[str, object]]:
    """What each library says of one history."""
    return {name: it.answers[number] for name, it in said.items()}


def batches(made: Sequence[History]) -> Iterator[Sequence[History]]:
    """Cut so that no transaction is long."""
    for start in range(0, len(made), BATCH):
        yield made[start : start + BATCH]


def tell(
    made: Sequence[History], booked: Sequence[Booked], said: dict[str, Answers], tally: Tally
) -> None:
    """Print what was compared."""
    acts = Counter(event.act for history in made for event in history)
    outcomes = sum((it.outcomes for it in booked), Counter[str]())
    flips, shorts = turns(made)
    say(
        "booked: " + ", ".join(f"{count:,} {act}" for act, count in acts.most_common()),
        "  of them " + ", ".join(f"{count:,} {it}" for it, count in outcomes.most_common())
        + f"; {flips:,} fills flip a position, {shorts:,} open or enlarge a short",
        f"{said['beancount'].version}: {tally.lots:,} open lots, {tally.closes:,} closes, cash in"
        " two currencies: exact unless listed",
        f"{said['nautilus'].version}: {tally.positions:,} positions, quantities exact unless"
        f" listed; realized at most {tally.per_close:.4f} USD per closing fill apart",
        f"ours: {tally.flat:,} flat positions realized the same at average cost and fifo",
    )  # fmt: skip


def turns(made: Sequence[History]) -> tuple[int, int]:
    """How many fills go through zero, and how many open or enlarge a short."""
    flips = shorts = 0
    for history in made:
        held: Counter[str] = Counter()
        for fill in holding(history):
            before, after = held[fill.symbol], held[fill.symbol] + fill.signed
            held[fill.symbol] = after  # type: ignore[assignment]
            flips += before * after < 0
            shorts += after < 0 and after < before
    return flips, shorts


def smallest(right: Books, history: History) -> History:
    """Leave events out, many at once and one by one, as long as it still differs."""
    while True:
        sizes = {max(1, len(history) >> halved) for halved in (1, 2, 3, 9)}
        shorter = {
            without(history, start, start + size)
            for size in sizes
            for start in range(0, len(history), size)
        }
        failing = failures(right, sorted(filter(None, shorter), key=written))
        if not failing:
            return history
        history = min(failing, key=len)


def failures(right: Books, made: Sequence[History]) -> list[History]:
    """Those that differ."""
    if not made:
        return []
    said, booked = asked_all(made), right.book(made)
    return [
        history
        for number, history in enumerate(made)
        if differences(booked[number], answers_of(said, number))
    ]


def save(history: History, name: str) -> None:
    """Print a history and write it where it can be replayed from."""
    FAILURES.mkdir(parents=True, exist_ok=True)
    path = FAILURES / f"{name}.jsonl"
    path.write_text(written(history))
    say("at its smallest:", written(history), f"again: make test-contract REPLAY={path}")


def replay(path: Path) -> int:
    """Book and compare one history that was written down."""
    history = read(path.read_text())
    with running_cluster() as cluster, books(cluster, "contract", {}) as right:
        said = answers_of(asked_all([history]), 0)
        found = differences(right.book([history])[0], said)
    say(written(history), *(found or ["nothing differs"]))
    return int(bool(found))


def controls(cluster: Cluster, made: Sequence[History]) -> Iterator[str]:
    """Keep wrong books; yield those that nobody notices."""
    said = asked_all(made)
    for number, (name, (path, old, new)) in enumerate(WRONG_BOOKS.items()):
        with books(cluster, f"wrong_{number}", {path: (old, new)}) as wrong:
            booked = wrong.book(made)
            found = [bool(differences(it, answers_of(said, n))) for n, it in enumerate(booked)]
            say(f"wrong on purpose, found in {sum(found)} of {len(made)} histories: {name}")
            if not any(found):
                yield name
            elif name == SHRUNK:
                history = made[found.index(True)]
                small = smallest(wrong, history)
                say(f"  shrunk from {len(history)} to {len(small)} events:", written(small))
                if len(small) > SHRUNK_MAX:
                    yield f"{name}, shrunk"


def compare_days(seed: int, count: int) -> int:
    """Compare the statistics of random days; return how many series differ."""
    made = days.series(seed, count)
    said = days.ask(made)
    apart = [days.apart(rows, it) for rows, it in zip(made, said.answers, strict=True)]
    worst = {name: max(it[name] for it in apart) for name in apart[0]}
    say(
        f"{said.version}: {len(made):,} series of {sum(map(len, made)):,} days, at most apart: "
        + ", ".join(f"{name} {value:.1e}" for name, value in worst.items())
    )
    failed = [n for n, it in enumerate(apart) if max(it.values()) > days.TOLERANCE]
    for number in failed[:SHOWN_MAX]:
        say(f"series {number} of seed {seed} differs: {apart[number]}")
    return len(failed)


def controls_of_days(seed: int) -> Iterator[str]:
    """Compute wrong figures; yield those that nobody notices."""
    made = days.series(seed, CONTROLS)
    said = days.ask(made)

    def differ(change: Callable[[list[DailyPnl]], list[DailyPnl]]) -> int:
        pairs = zip(made, said.answers, strict=True)
        return sum(max(days.apart(change(a), b).values()) > days.TOLERANCE for a, b in pairs)

    with patch("components.statistics.DAYS_A_YEAR", 365):
        found = {"a year has 365 days": differ(lambda rows: rows)}
    found["the last day is missing"] = differ(lambda rows: rows[:-1])
    for name, count in found.items():
        say(f"wrong on purpose, found in {count} of {len(made)} series: {name}")
        if not count:
            yield name


def say(*lines: str) -> None:
    """Print at once."""
    print(*lines, sep="\n", flush=True)  # noqa: T201


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--replay", help="a file with one history")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
