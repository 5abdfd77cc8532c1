"""Histories of trades as a venue might report them, and what holds of them in the end.

Needs nothing but Python, so that it runs beside foreign code as well.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

# What one unit of each stands for.
MULTIPLIERS = {"AAPL": Decimal(1), "ESZ6": Decimal(50)}
SYMBOLS = tuple(MULTIPLIERS)
CURRENCY = "USD"
OTHER_CURRENCY = "EUR"
EVENTS_MAX = 20
# One in so many fills makes a position flat or goes through zero.
TURNS = 3


@dataclass(frozen=True)
class Event:
    """One report: a fill, or what becomes of it by its `exec_id` (correction, fee, bust, repeat).

    `at` are minutes; numbers are strings, as on the wire; what is unknown is None.
    """

    act: str
    exec_id: int
    symbol: str = ""
    order: int = 0
    side: str = ""
    quantity: str = ""
    price: str = ""
    fee: str | None = None
    fee_currency: str | None = None
    at: int = 0
    revision: int = 0


History = tuple[Event, ...]


@dataclass(frozen=True)
class Fill:
    """One execution as it holds in the end; fees have two decimals."""

    exec_id: int
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    at: int

    @property
    def signed(self) -> Decimal:
        """The quantity with its direction."""
        return self.quantity if self.side == "buy" else -self.quantity

    @property
    def multiplier(self) -> Decimal:
        """What one unit stands for."""
        return MULTIPLIERS[self.symbol]


def holding(history: Sequence[Event]) -> list[Fill]:
    """What holds of a history, in the order in which it was first reported.

    A correction takes the place of what it corrects and keeps its fee unless it names one; a bust
    removes it until a later revision; a repeat says nothing new.
    """
    held: dict[int, Fill] = {}
    busted: set[int] = set()
    for event in history:
        exec_id = event.exec_id
        if event.act == "fill":
            held[exec_id] = Fill(
                exec_id, event.symbol, event.side, Decimal(event.quantity), Decimal(event.price),
                Decimal(0), CURRENCY, event.at,
            )  # fmt: skip
        elif event.act == "bust":
            busted.add(exec_id)
        elif event.act == "correction":
            busted.discard(exec_id)
            held[exec_id] = dataclasses.replace(
                held[exec_id], quantity=Decimal(event.quantity), price=Decimal(event.price)
            )
        if event.fee is not None and exec_id not in busted:
            currency = event.fee_currency or CURRENCY
            held[exec_id] = dataclasses.replace(
                held[exec_id], fee=Decimal(event.fee), fee_currency=currency
            )
    return [fill for fill in held.values() if fill.exec_id not in busted]


def in_time(fills: Sequence[Fill]) -> list[Fill]:
    """Fills in the order in which they were made; what is reported late comes earlier here."""
    return sorted(fills, key=lambda fill: fill.at)


def by_symbol(fills: Sequence[Fill]) -> dict[str, list[Fill]]:
    """Fills per instrument, order kept."""
    return {
        symbol: found
        for symbol in SYMBOLS
        if (found := [fill for fill in fills if fill.symbol == symbol])
    }


def without(history: Sequence[Event], start: int, stop: int) -> History:
    """A history without some events; a fill takes along what was said of it."""
    gone = {event.exec_id for event in history[start:stop] if event.act == "fill"}
    kept = (*history[:start], *history[stop:])
    return tuple(event for event in kept if event.exec_id not in gone)


def written(history: Sequence[Event]) -> str:
    """A history as lines of JSON, one event each."""
    return "".join(f"{json.dumps(_said(event))}\n" for event in history)


def read(text: str) -> History:
    """The history of such lines."""
    return tuple(Event(**json.loads(line)) for line in text.splitlines() if line)


def _said(event: Event) -> dict[str, object]:
    defaults = {f.name: f.default for f in dataclasses.fields(event)}
    values = dataclasses.asdict(event)
    return {name: value for name, value in values.items() if value != defaults[name]}


def histories(seed: int, count: int) -> Iterator[History]:
    """Make histories; the same seed makes the same ones."""
    for number in range(count):
        yield tuple(_Maker(Random(f"{seed}/{number}")).events())


@dataclass
class _Maker:
    """Makes one history."""

    random: Random
    made: list[Event] = field(default_factory=list)
    fills: list[Event] = field(default_factory=list)
    revisions: dict[int, int] = field(default_factory=dict)
    now: int = 0

    def events(self) -> list[Event]:
        for _ in range(self.random.randint(2, EVENTS_MAX)):
            act = self.random.choices(
                ("fill", "correction", "fee", "bust", "repeat"), (70, 10, 8, 6, 6)
            )[0]
            self.made.append(self._fill() if act == "fill" or not self.fills else self._more(act))
        return self.made

    def _fill(self) -> Event:
        # Some fills are reported long after they were made.
        self.now += self.random.randint(1, 90)
        at = self.now - (self.random.randint(1, 300) if self.random.random() < 0.15 else 0)
        while any(fill.at == at for fill in self.fills):
            at += 1
        symbol = self.random.choice(SYMBOLS[: self.random.choice((1, 1, 2))])
        side, quantity = self._size(symbol)
        # Partial fills go on with the order of the fill before.
        last = self.fills[-1] if self.fills else None
        same = last and (last.symbol, last.side) == (symbol, side) and self.random.random() < 0.5
        order = last.order if last and same else len(self.fills) + 1
        fee, currency = self._fee() if self.random.random() < 0.8 else (None, None)
        fill = Event(
            "fill", len(self.fills) + 1, symbol, order, side, quantity, self._price(),
            fee, currency, at,
        )  # fmt: skip
        self.fills.append(fill)
        return fill

    def _size(self, symbol: str) -> tuple[str, str]:
        """A side and a quantity that turn the position often: to zero, or through it."""
        position = sum(fill.signed for fill in holding(self.made) if fill.symbol == symbol)
        if position and self.random.randrange(TURNS) == 0:
            beyond = Decimal(self._quantity()) if self.random.random() < 0.5 else Decimal(0)
            return "sell" if position > 0 else "buy", f"{abs(position) + beyond:f}"
        return self.random.choice(("buy", "sell")), self._quantity()

    def _quantity(self) -> str:
        return self._number((1, 100, 0), (1, 90_000, 3), (1, 9 * 10**8, 8))

    def _price(self) -> str:
        return self._number((1, 50_000, 2), (9_000, 11_000, 2), (1, 3 * 10**8, 8))

    def _number(self, *kinds: tuple[int, int, int]) -> str:
        least, most, places = self.random.choice(kinds)
        return f"{Decimal(self.random.randint(least, most)).scaleb(-places):f}"

    def _fee(self) -> tuple[str, str]:
        currency = self.random.choice((CURRENCY, CURRENCY, CURRENCY, OTHER_CURRENCY))
        return f"{Decimal(self.random.randint(0, 500)).scaleb(-2):f}", currency

    def _more(self, act: str) -> Event:
        """What becomes of an earlier fill."""
        fill = self.random.choice(self.fills)
        self.now += self.random.randint(1, 90)
        if act in ("fee", "repeat"):
            fee, currency = self._fee() if act == "fee" else (None, None)
            return Event(act, fill.exec_id, fee=fee, fee_currency=currency, at=self.now)
        revision = self.revisions[fill.exec_id] = self.revisions.get(fill.exec_id, 0) + 1
        if act == "bust":
            return Event(act, fill.exec_id, at=self.now, revision=revision)
        fee, currency = self._fee() if self.random.random() < 0.5 else (None, None)
        return Event(
            act, fill.exec_id, quantity=self._quantity(), price=self._price(),
            fee=fee, fee_currency=currency, at=self.now, revision=revision,
        )  # fmt: skip
