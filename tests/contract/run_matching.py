"""The paper venue's matching core against nautilus_trader's, on the same bars and orders.

usage: python tests/contract/run_matching.py [--seed 1] [--histories 1000] [--replay FILE]

Where both work by one rule they must agree to the tick, the share and the cent. Where they differ
by design, the rule has a name in RULES, and is counted. Wrong cores are kept on purpose: each has
to be found. A history that differs is made smaller, printed, and written down to be replayed.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for _folder in ("tests", "backend/tests", "ops"):
    sys.path.insert(0, str(ROOT / _folder))

from contract.comparing import Answers, asked  # noqa: E402
from contract.matches import (  # noqa: E402
    WRONG,
    Command,
    Course,
    History,
    histories,
    play,
    read,
    written,
)

from paper.market import read_bars  # noqa: E402

BARS = ROOT / "db/postgres/demo/daily_bars.csv.gz"
FAILURES = ROOT / ".run" / "contract"
BATCH, CONTROLS, SHOWN_MAX = 200, 200, 3
RULES = {
    "improvement": "a resting limit trades at the market's price, there at its own",
    "at the stop": "so does the limit of a triggered stop, there at times at its stop's",
    "next tick": "a triggered stop trades from the next tick on, there at once",
    "alone": "orders of one instrument do not disturb each other; there each is run alone",
    "ends first": "an order's end comes before the tick that follows it, there after",
}


def main() -> int:
    """Compare, print, and say by the exit code whether all is well."""
    options = _options()
    if options.replay:
        history = read(Path(options.replay).read_text())
        found, _ = compared([history], asked("matching", [asdict(history)]))
        say(written(history), *(found[0] or ["nothing differs"]))
        return int(bool(found[0]))
    made = list(histories(options.seed, options.histories, read_bars(BARS)))
    said = asked_all(made)
    found, used = compared(made, said)
    failed = [number for number, it in enumerate(found) if it]
    placed = Counter(c.order_type for it in made for c in it.commands if c.act == "place")
    courses = used["alone"] = sum(len(it) for it in said.answers)
    say(
        f"{said.version}, matching: seed {options.seed}, {len(made):,} histories of"
        f" {sum(len(it.prices) for it in made):,} prices, {courses:,} orders ("
        + ", ".join(f"{count:,} {kind}" for kind, count in sorted(placed.items()))
        + f"): {len(failed):,} histories differ",
        *(f"  by design, {used[name]:,} times: {rule}" for name, rule in RULES.items()),
    )
    for number in failed[:SHOWN_MAX]:
        say(f"history {number} differs:", *found[number])
        save(smallest(made[number]), f"matching-{options.seed}-{number}")
    missed = [*controls(made[:CONTROLS], said)]
    return int(bool(failed or missed))


def asked_all(made: Sequence[History]) -> Answers:
    """Ask in batches: each run of its engine keeps every instrument."""
    parts = [
        asked("matching", [asdict(it) for it in made[start : start + BATCH]])
        for start in range(0, len(made), BATCH)
    ]
    return Answers(parts[0].version, [it for part in parts for it in part.answers])


def compared(
    made: Sequence[History], said: Answers, core: Any = None
) -> tuple[list[list[str]], Counter[str]]:
    """What differs in each history, and how often which rule was used."""
    used: Counter[str] = Counter()
    found = []
    for history, theirs in zip(made, said.answers, strict=False):
        ours = play(history, core) if core else play(history)
        orders = {it.name: it for it in history.commands if it.act == "place"}
        found.append(
            [
                f"  {name} ({orders[name].order_type}): {why}; ours {course}, theirs {theirs[name]}"
                for name, course in ours.items()
                for why in differences(orders[name], course, Course(**theirs[name]), history, used)
            ]
        )
    return found, used


def differences(
    order: Command, ours: Course, theirs: Course, history: History, used: Counter[str]
) -> Iterator[str]:
    """Tell what is not explained by a rule that has a name."""
    if order.stop_price is not None:
        # There, what triggers a stop without a limit fills it.
        trigger = theirs.filled if order.order_type == "stop" else theirs.triggered
        if ours.triggered != trigger:
            if ours.ended is not None and ours.ended == trigger:
                used["ends first"] += 1
            else:
                yield "triggered at another tick"
            return
        if trigger is not None and (order.order_type == "stop" or theirs.filled == trigger):
            used["next tick"] += 1
            yield from _after_trigger(order, ours, history)
            return
    if ours.filled != theirs.filled:
        if ours.ended is not None and ours.ended == theirs.filled:
            used["ends first"] += 1
        else:
            yield "filled at another tick"
        return
    if ours.filled is None:
        if ours.ended != theirs.ended:
            yield "ended at another tick"
        return
    if Decimal(ours.quantity or 0) != Decimal(theirs.quantity or 0):
        yield "another quantity"
    yield from _prices(order, ours, theirs, history, used)


def _prices(
    order: Command, ours: Course, theirs: Course, history: History, used: Counter[str]
) -> Iterator[str]:
    """Ours is the market's; theirs too, or the limit, which must be no better."""
    market, there = Decimal(history.prices[ours.filled or 0]), Decimal(theirs.price or 0)
    if Decimal(ours.price or 0) != market:
        yield "not at the market's price"
    if there != market:
        commands = [it for it in history.commands if it.name == order.name]
        limits = {Decimal(it.limit_price) for it in commands if it.limit_price}
        sign = 1 if order.side == "buy" else -1
        if order.stop_price and there == Decimal(order.stop_price):
            used["at the stop"] += 1
        elif there not in limits:
            yield "theirs is neither the market's price nor one of the order's"
        elif (there - market) * sign < 0:
            yield "theirs is better than the market"
        else:
            used["improvement"] += 1


def _after_trigger(order: Command, ours: Course, history: History) -> Iterator[str]:
    """Of a stop that traded there already: ours trades in a later tick, as soon as it may."""
    assert ours.triggered is not None
    later = [it for it in history.commands if it.name == order.name and it.tick >= ours.triggered]
    ends = order.expires_before
    if later or (ends is not None and (ours.filled is None or ends <= ours.filled)):
        return  # changed, canceled or ended while it waited for the next tick
    sign, limit = 1 if order.side == "buy" else -1, _limit_of(order, history)
    for tick in range(ours.triggered + 1, len(history.prices)):
        price = Decimal(history.prices[tick])
        if limit is None or (price - limit) * sign <= 0:
            if (ours.filled, Decimal(ours.price or 0)) != (tick, price):
                yield f"not filled at tick {tick}, the first after its trigger that allows it"
            return
    if ours.filled is not None:
        yield "filled where nothing allowed it"


def _limit_of(order: Command, history: History) -> Decimal | None:
    """The limit that an order has in the end."""
    texts = [it.limit_price for it in history.commands if it.name == order.name and it.limit_price]
    return Decimal(texts[-1]) if texts else None


def smallest(history: History) -> History:
    """Leave commands out as long as it still differs."""
    while True:
        sizes = {max(1, len(history.commands) >> halved) for halved in (1, 2, 9)}
        shorter = [
            history.without(start, start + size)
            for size in sizes
            for start in range(0, len(history.commands), size)
        ]
        shorter = [it for it in shorter if it.commands]
        if not shorter:
            return history
        found, _ = compared(shorter, asked("matching", [asdict(it) for it in shorter]))
        failing = [it for it, why in zip(shorter, found, strict=True) if why]
        if not failing:
            return history
        history = min(failing, key=lambda it: len(it.commands))


def save(history: History, name: str) -> None:
    """Print a history and write it where it can be replayed from."""
    FAILURES.mkdir(parents=True, exist_ok=True)
    path = FAILURES / f"{name}.json"
    path.write_text(written(history))
    say("at its smallest:", written(history), f"again: make test-contract REPLAY={path}")


def controls(made: Sequence[History], said: Answers) -> Iterator[str]:
    """Keep wrong cores; yield those that nobody notices."""
    for core in WRONG:
        found, _ = compared(made, said, core)
        count = sum(map(bool, found))
        what = (core.__doc__ or "").splitlines()[0].rstrip(".")
        say(f"wrong on purpose, found in {count} of {len(made)} histories: {what}")
        if not count:
            yield what


def say(*lines: str) -> None:
    """Print at once."""
    print(*lines, sep="\n", flush=True)  # noqa: T201


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--replay", help="a file with one history")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
