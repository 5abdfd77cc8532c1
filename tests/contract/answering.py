"""How a foreign library is asked: JSON in, JSON out, in its own environment and not in ours.

usage: PYTHONPATH=tests .cache/contract/bin/python -m contract.oracle_NAME <questions >answers
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, getcontext
from importlib.metadata import version
from typing import Any

from contract.histories import Event, Fill, holding

Answer = dict[str, Any]
# The widest product has 9 digits before and 16 after the point; sums stay far below this.
DIGITS = 60


def answer(package: str, oracle: Callable[[Any], list[Answer]]) -> None:
    """Read the questions, write what the library answers."""
    getcontext().prec = DIGITS
    answers = oracle(json.load(sys.stdin))
    json.dump({"version": f"{package} {version(package)}", "answers": answers}, sys.stdout)


def fills_of(questions: list[list[dict[str, Any]]]) -> list[list[Fill]]:
    """What holds of each history."""
    return [holding([Event(**event) for event in history]) for history in questions]


def legs(fills: Sequence[Fill]) -> Iterator[tuple[Fill, Decimal, Decimal, Decimal]]:
    """Each fill with how much of it closes, how much opens, and its direction.

    Neither library closes and opens in one step.
    """
    position = Decimal(0)
    for fill in fills:
        sign = Decimal(1) if fill.side == "buy" else Decimal(-1)
        opposite = position * sign < 0
        closed = min(fill.quantity, abs(position)) if opposite else Decimal(0)
        position += sign * fill.quantity
        yield fill, closed, fill.quantity - closed, sign
