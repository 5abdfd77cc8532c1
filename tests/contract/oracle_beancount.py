"""What beancount makes of histories: lots first in, first out, and cash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from beancount import loader
from beancount.core.data import Transaction
from contract.answering import Answer, answer, fills_of, legs
from contract.histories import CURRENCY, Fill, by_symbol, in_time

PLACES = 16


def beancount(questions: list[list[dict[str, Any]]]) -> list[Answer]:
    """Keep one ledger; each instrument of each history has accounts of its own there."""
    asked = [by_symbol(in_time(fills)) for fills in fills_of(questions)]
    ledger = "".join(
        line
        for number, symbols in enumerate(asked)
        for symbol, fills in symbols.items()
        for line in _ledger(f"{number}:{symbol}", symbol, fills)
    )
    entries, errors, _ = loader.load_string(ledger)
    if errors:
        raise AssertionError("\n".join(str(error) for error in errors[:5]))
    found: dict[str, Answer] = defaultdict(_empty)
    for entry in entries:
        if isinstance(entry, Transaction):
            _count(entry, found[entry.payee])
    return [
        {symbol: _told(found[f"{number}:{symbol}"]) for symbol in symbols}
        for number, symbols in enumerate(asked)
    ]


def _ledger(key: str, symbol: str, fills: Sequence[Fill]) -> Iterator[str]:
    """Write the fills down, a day each; amounts carry every decimal that they can have.

    An amount that beancount fills in is rounded to the finest one written beside it.
    """
    name = f"H{key.replace(':', '-')}"
    yield f'2000-01-01 open Assets:Held:{name} "FIFO"\n'
    for account in ("Assets:Cash", "Income:Realized", "Expenses:Fees"):
        yield f"2000-01-01 open {account}:{name}\n"
    for place, (fill, closed, opened, sign) in enumerate(legs(fills)):
        day = f"{2001 + place // 336}-{place // 28 % 12 + 1:02}-{place % 28 + 1:02}"
        head = f'{day} * "{key}" "{fill.exec_id}"\n'
        # It knows no multiplier: a unit costs what it stands for.
        worth = fill.price * fill.multiplier
        price = f"{worth:.{PLACES}f} {CURRENCY}"
        for quantity, cost in ((closed, "{}"), (opened, f"{{{price}}}")):
            if quantity:
                cash = -sign * quantity * worth
                yield f"{head}  Assets:Held:{name}  {sign * quantity:.8f} {symbol} {cost}"
                yield f" @ {price}\n  Assets:Cash:{name}  {cash:.{PLACES}f} {CURRENCY}\n"
                yield f"  Income:Realized:{name}\n" if cost == "{}" else ""
        if fill.fee:
            yield f"{head}  Assets:Cash:{name}  {-fill.fee:.{PLACES}f} {fill.fee_currency}\n"
            yield f"  Expenses:Fees:{name}  {fill.fee:.{PLACES}f} {fill.fee_currency}\n"


def _empty() -> Answer:
    return {"lots": {}, "closes": defaultdict(Decimal), "cash": defaultdict(Decimal), "days": {}}


def _count(entry: Any, found: Answer) -> None:
    """Add up what beancount made of a transaction; a lot is known by the day it was opened."""
    exec_id = int(entry.narration)
    for posting in entry.postings:
        kind = posting.account.rsplit(":", 1)[0]
        if kind == "Assets:Held":
            lot = (posting.cost.date, posting.cost.number)
            if posting.cost.date == entry.date:
                found["days"][lot] = exec_id
            found["lots"][lot] = found["lots"].get(lot, Decimal(0)) + posting.units.number
        elif kind == "Assets:Cash":
            found["cash"][posting.units.currency] += posting.units.number
        elif kind == "Income:Realized":
            found["closes"][exec_id] -= posting.units.number


def _told(found: Answer) -> Answer:
    lots = [
        (found["days"][lot], str(quantity), str(lot[1]))
        for lot, quantity in sorted(found["lots"].items())
        if quantity
    ]
    closes = {exec_id: str(amount) for exec_id, amount in found["closes"].items()}
    cash = {currency: str(amount) for currency, amount in found["cash"].items()}
    return {"lots": lots, "closes": closes, "cash": cash}


if __name__ == "__main__":
    answer("beancount", beancount)
