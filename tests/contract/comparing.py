"""Compares what our books say of a history with what foreign libraries say of it."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from decimal import Decimal, localcontext
from typing import Any

from contract.booking import REFUSED, Booked, Held
from contract.histories import MULTIPLIERS, History

from app.services.database_setup import REPOSITORY_DIR

PLACE = REPOSITORY_DIR / ".cache/contract"
PYTHON = PLACE / "bin/python"
TIMEOUT_S = 1800
# nautilus_trader rounds what each close realizes to a cent, and computes it in binary.
CENT = Decimal("0.01")
BINARY = 1e-9
ORACLES = ("beancount", "nautilus")


@dataclass
class Tally:
    """What was compared, to be told in the end."""

    lots: int = 0
    closes: int = 0
    positions: int = 0
    flat: int = 0
    # The largest difference of nautilus_trader's realized figure per closing fill.
    per_close: Decimal = Decimal(0)


@dataclass(frozen=True)
class Answers:
    """What a library said, one answer for each history."""

    version: str
    answers: list[dict[str, Any]] = field(repr=False)


def asked(name: str, questions: Sequence[Any]) -> Answers:
    """Ask a library in its own environment."""
    done = subprocess.run(
        [PYTHON, "-m", f"contract.oracle_{name}"],
        cwd=REPOSITORY_DIR,
        env={"PYTHONPATH": "tests", "PATH": "/usr/bin:/bin", "MPLCONFIGDIR": str(PLACE)},
        input=json.dumps(questions),
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    said = json.loads(done.stdout)
    return Answers(said["version"], said["answers"])


def asked_all(histories: Sequence[History]) -> dict[str, Answers]:
    """Ask every library that keeps books."""
    questions = [[asdict(event) for event in history] for history in histories]
    with ThreadPoolExecutor() as pool:
        return dict(
            zip(ORACLES, pool.map(lambda name: asked(name, questions), ORACLES), strict=True)
        )


def differences(
    booked: Booked, said: Mapping[str, Mapping[str, Any]], tally: Tally | None = None
) -> list[str]:
    """What our books say otherwise, as lines for people; `said` is one answer of each library."""
    tally = tally or Tally()
    with localcontext() as context:
        context.prec = 60
        found = [f"events that are {it}" for it in sorted(booked.outcomes.keys() & REFUSED)]
        found += _cash(booked, said["beancount"])
        for symbol in sorted(booked.symbols.keys() | said["beancount"].keys()):
            held, fifo = booked.symbols.get(symbol), said["beancount"].get(symbol)
            if held is None:
                found.append(f"{symbol}: we have no position")
            elif fifo is None:
                found += [f"{symbol}: all is busted, we say {held}"] if _holds(held) else []
            else:
                average = said["nautilus"][symbol]
                each = MULTIPLIERS[symbol]
                lines = [*_fifo(held, each, fifo, tally), *_average(held, each, average, tally)]
                lines += _ours(held, tally)
                found += [f"{symbol}: {line}" for line in lines]
    return found


def _holds(held: Held) -> bool:
    figures = (held.quantity, held.cost, held.realized_pnl, held.fees)
    return any(figures) or bool(held.fifo or held.lots or held.closes)


def _cash(booked: Booked, symbols: Mapping[str, Any]) -> Iterator[str]:
    said: dict[str, Decimal] = {}
    for answer in symbols.values():
        for currency, amount in answer["cash"].items():
            said[currency] = said.get(currency, Decimal(0)) + Decimal(amount)
    ours, theirs = _without_zeros(booked.cash), _without_zeros(said)
    if ours != theirs:
        yield f"cash: we say {ours}, beancount {theirs}"


def _without_zeros(amounts: Mapping[Any, Decimal]) -> dict[Any, Decimal]:
    return {key: amount.normalize() for key, amount in amounts.items() if amount}


def _fifo(held: Held, each: Decimal, said: Mapping[str, Any], tally: Tally) -> Iterator[str]:
    """Lots and what each close realized are equal to the last digit."""
    lots = [
        (exec_id, Decimal(size), Decimal(worth) / each) for exec_id, size, worth in said["lots"]
    ]
    closes = {int(exec_id): Decimal(amount) for exec_id, amount in said["closes"].items()}
    tally.lots += len(lots)
    tally.closes += len(closes)
    if held.lots != lots:
        yield f"open lots: we say {held.lots}, beancount {lots}"
    if (ours := _without_zeros(held.closes)) != (theirs := _without_zeros(closes)):
        yield f"realized by close: we say {ours}, beancount {theirs}"
    summary = (
        sum((size for _, size, _ in lots), Decimal(0)),
        sum((size * price * each for _, size, price in lots), Decimal(0)),
        sum(closes.values(), Decimal(0)),
    )
    if held.fifo != summary:
        yield f"fifo quantity, cost, realized: we say {held.fifo}, beancount {summary}"


def _average(held: Held, each: Decimal, said: Mapping[str, Any], tally: Tally) -> Iterator[str]:
    """Quantities are equal; what was realized differs by its rounding alone."""
    tally.positions += 1
    if held.quantity != Decimal(said["quantity"]):
        yield f"quantity: we say {held.quantity}, nautilus {said['quantity']}"
    net, theirs = held.realized_pnl - held.fees, Decimal(said["realized_net"])
    if said["closing"]:
        tally.per_close = max(tally.per_close, abs(net - theirs) / said["closing"])
    if abs(net - theirs) > CENT * said["closing"]:
        yield f"realized: we say {net}, nautilus {theirs} in {said['closing']} closes"
    average = held.cost / (held.quantity * each) if held.quantity else None
    if (average is None) != (said["average"] is None) or not math.isclose(
        average or 0, said["average"] or 0, rel_tol=BINARY
    ):
        yield f"average: we say {average}, nautilus {said['average']}"


def _ours(held: Held, tally: Tally) -> Iterator[str]:
    """Both ways to count agree where they must: on quantities, and when nothing is open."""
    if held.fifo is not None and held.fifo[0] != held.quantity:
        yield f"quantity: {held.quantity} at average cost, {held.fifo[0]} first in, first out"
    if held.quantity == 0:
        tally.flat += 1
        if held.fifo is not None and held.fifo[2] != held.realized_pnl:
            yield f"flat, yet realized {held.realized_pnl} at average cost, {held.fifo[2]} fifo"
