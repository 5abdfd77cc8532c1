"""Random histories of real bars and orders, and what the paper venue's matching core makes of them.

A history is a path of prices (open, high, low and close of real sessions, in both orders) and
commands, each after a tick: place, replace, cancel. Between two commands of an order lies a tick.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from paper.market import Bar
from paper.matching import Book
from paper.orders import Refused
from paper.settings import Instrument

SYMBOL, PROJECT = "AAPL", 1
TICK_SIZE, CASH = Decimal("0.01"), Decimal(10) ** 11
# So much is traded in a tick that a tenth of it is never the limit.
VOLUME = Decimal(10) ** 9
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
TYPES = ("market", "limit", "stop", "stop_limit")


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is asked after a tick; prices are texts, None means none, or none that changes."""

    tick: int
    act: str
    name: str
    side: str = ""
    order_type: str = ""
    quantity: int | None = None
    limit_price: str | None = None
    stop_price: str | None = None
    # The order ends half a tick before this one.
    expires_before: int | None = None


@dataclass(frozen=True, kw_only=True)
class History:
    """Prices by tick, and commands in their order."""

    prices: tuple[str, ...]
    commands: tuple[Command, ...]

    def without(self, first: int, last: int) -> History:
        """The same with some commands left out, and those that then name nothing."""
        left = [it for place, it in enumerate(self.commands) if not first <= place < last]
        placed = {it.name for it in left if it.act == "place"}
        return History(prices=self.prices, commands=tuple(it for it in left if it.name in placed))


@dataclass
class Course:
    """What became of an order; ticks are counted from 0, None means never."""

    placed: int
    triggered: int | None = None
    filled: int | None = None
    ended: int | None = None
    quantity: str | None = None
    price: str | None = None


def written(history: History) -> str:
    """Write a history as one JSON document."""
    return json.dumps(asdict(history))


def read(text: str) -> History:
    """Read it back."""
    fields = json.loads(text)
    commands = tuple(Command(**it) for it in fields["commands"])
    return History(prices=tuple(fields["prices"]), commands=commands)


# --- making -----------------------------------------------------------------------------------


def histories(seed: int, number: int, bars: dict[str, list[Bar]]) -> Iterator[History]:
    """Make as many as wanted from one seed."""
    for place in range(number):
        yield _history(random.Random(f"matching {seed} {place}"), bars)


def _history(chance: random.Random, bars: dict[str, list[Bar]]) -> History:
    rows = bars[chance.choice(sorted(bars))]
    start, length = chance.randrange(len(rows) - 30), chance.randint(5, 20)
    prices: list[Decimal] = []
    for bar in rows[start : start + length]:
        inner = [bar.high, bar.low]
        chance.shuffle(inner)
        prices += [it.quantize(TICK_SIZE) for it in (bar.open, *inner, bar.close)]
    commands: list[Command] = []
    for number in range(chance.randint(3, 12)):
        commands += _order(chance, f"o{number}", prices)
    commands.sort(key=lambda it: it.tick)
    return History(prices=tuple(str(it) for it in prices), commands=tuple(commands))


def _order(chance: random.Random, name: str, prices: Sequence[Decimal]) -> Iterator[Command]:
    """One order, perhaps changed and perhaps canceled, always with a tick in between."""
    tick = chance.randrange(len(prices) - 1)
    order_type, side = chance.choice(TYPES), chance.choice(("buy", "sell"))
    expires = tick + chance.randint(2, 12) if chance.random() < 0.25 else None
    yield Command(
        tick=tick, act="place", name=name, side=side, order_type=order_type,
        quantity=chance.randint(1, 500), expires_before=expires,
        limit_price=_price(chance, prices, tick) if "limit" in order_type else None,
        stop_price=_price(chance, prices, tick) if "stop" in order_type else None,
    )  # fmt: skip
    for _ in range(chance.choice((0, 0, 1, 2))):
        tick += chance.randint(2, 8)
        if tick >= len(prices) - 1:
            return
        yield Command(
            tick=tick, act="replace", name=name,
            quantity=chance.randint(1, 500) if chance.random() < 0.5 else None,
            limit_price=_price(chance, prices, tick) if "limit" in order_type else None,
            stop_price=_away(chance, prices[tick], side) if order_type == "stop" else None,
        )  # fmt: skip
    tick += chance.randint(2, 8)
    if chance.random() < 0.5 and tick < len(prices) - 1:
        yield Command(tick=tick, act="cancel", name=name)


def _price(chance: random.Random, prices: Sequence[Decimal], tick: int) -> str:
    """A price that the market is at, comes to exactly, or is somewhere near."""
    near = prices[tick : tick + 8]
    if chance.random() < 0.4:
        return str(chance.choice(near))
    moved = chance.choice(near) * Decimal(repr(chance.uniform(0.98, 1.02)))
    return str(moved.quantize(TICK_SIZE))


def _away(chance: random.Random, market: Decimal, side: str) -> str:
    """A stop that the market has not reached: moved to where it is, it is refused there."""
    share = Decimal(repr(chance.uniform(0.001, 0.02)))
    moved = market * (1 + share if side == "buy" else 1 - share)
    return str(moved.quantize(TICK_SIZE))


# --- ours -------------------------------------------------------------------------------------


def play(history: History, book_type: type[Book] = Book) -> dict[str, Course]:
    """Run a history through the matching core."""
    book = book_type((Instrument(SYMBOL, TICK_SIZE, Decimal(1)),))
    book.open_account(PROJECT, CASH)
    courses: dict[str, Course] = {}
    numbers: dict[str, int] = {}
    at = dict[int, list[Command]]()
    for command in history.commands:
        at.setdefault(command.tick, []).append(command)
    for tick, price in enumerate(history.prices):
        moment = EPOCH + timedelta(seconds=tick)
        records = book.expire(0, moment)
        records += book.tick(SYMBOL, Decimal(price), VOLUME, moment)
        for command in at.get(tick, ()):
            if command.act == "place":
                numbers[command.name] = len(book.orders) + 1
                courses[command.name] = Course(placed=tick)
            records += _obey(book, command, numbers[command.name], moment)
        names = {number: name for name, number in numbers.items()}
        for record in records:
            if record["kind"] in ("event", "trigger"):
                _note(courses[names[record["order_id"]]], record, tick)
    return courses


def _obey(book: Book, command: Command, number: int, moment: datetime) -> list[dict[str, Any]]:
    def price(text: str | None) -> Decimal | None:
        return None if text is None else Decimal(text)

    limit, stop = price(command.limit_price), price(command.stop_price)
    if command.act == "cancel":
        return book.cancel(number, moment)
    if command.act == "replace":
        quantity = None if command.quantity is None else Decimal(command.quantity)
        try:
            return book.replace(number, quantity, limit, stop, moment)
        except Refused:
            return []
    ends = command.expires_before
    return book.place(
        project_id=PROJECT, tag=command.name, symbol=SYMBOL, side=command.side,
        quantity=Decimal(command.quantity or 0), limit_price=limit, stop_price=stop,
        time_in_force="gtc" if ends is None else "gtd", session=0, at=moment,
        expires_at=None if ends is None else EPOCH + timedelta(seconds=ends - 0.5),
    )  # fmt: skip


def _note(course: Course, record: dict[str, Any], tick: int) -> None:
    if record["kind"] == "trigger":
        course.triggered = tick
    elif record["status"] == "filled":
        course.filled = tick
        course.quantity, course.price = record["quantity"], record["price"]
    elif record["status"] in ("canceled", "expired", "rejected"):
        course.ended = tick


# --- cores that are wrong on purpose ------------------------------------------------------------


class TouchIsNotEnough(Book):
    """A limit that is only touched is not filled."""

    def _match(self, order: Any, at: datetime) -> list[dict[str, Any]]:
        waits = order.stop_price is not None and not order.triggered
        if not waits and order.limit_price == self.prices[order.symbol]:
            return []
        return super()._match(order, at)


class StopBeyond(Book):
    """A stop that is only touched does not trigger."""

    def _trigger(self, order: Any, stop: Decimal, last: Decimal) -> list[dict[str, Any]]:
        return [] if last == stop else super()._trigger(order, stop, last)


class ReplacedLater(Book):
    """What a replaced order could trade at once, it trades a tick later."""

    replacing = False

    def replace(self, *arguments: Any) -> list[dict[str, Any]]:
        """Change it, and leave it."""
        self.replacing = True
        try:
            return super().replace(*arguments)
        finally:
            self.replacing = False

    def _match(self, order: Any, at: datetime) -> list[dict[str, Any]]:
        return [] if self.replacing else super()._match(order, at)


class NeverExpires(Book):
    """What was good until a moment is good for ever."""

    def expire(self, session: int, at: datetime) -> list[dict[str, Any]]:
        """End nothing."""
        return []


WRONG: tuple[type[Book], ...] = (TouchIsNotEnough, StopBeyond, ReplacedLater, NeverExpires)
