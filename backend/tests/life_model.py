"""What becomes of orders, positions and cash, as one would keep it on paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

OVER = ("filled", "canceled", "rejected", "expired")
PENDING = ("pending_cancel", "pending_replace")
CUT = 10**12


@dataclass
class Fill:
    """One execution as it holds now."""

    exec_id: str
    side: str
    quantity: int
    price: int
    fee: int | None
    revision: int = 0
    busted: bool = False


@dataclass
class Order:
    """One order."""

    number: int
    client_order_id: str
    order_id: int
    side: str
    quantity: int
    status: str = "new"
    # Nothing of it can have reached the venue.
    unsent: bool = True
    pending: int | None = None
    before_filled: str = ""
    overfill: bool = False
    corrected: bool = False
    fills: list[Fill] = field(default_factory=list)

    @property
    def held(self) -> list[Fill]:
        """The executions that hold."""
        return [fill for fill in self.fills if not fill.busted]

    @property
    def cum(self) -> int:
        """What has been executed."""
        return sum(fill.quantity for fill in self.held)

    @property
    def average(self) -> Fraction | None:
        """The price it was executed at."""
        value = sum(fill.quantity * fill.price for fill in self.held)
        return Fraction(value, self.cum) if self.cum else None

    def move(self, status: str) -> None:
        """Go into another state; what was asked for is forgotten when it works or is over."""
        if status == "filled" and self.status != "filled":
            self.before_filled = self.status
        self.status = status
        if status not in PENDING:
            self.pending = None

    def _complete(self) -> bool:
        waits = self.status == "pending_replace" and (self.pending or 0) > self.cum
        return self.cum >= self.quantity and not waits

    def _working(self) -> str:
        return "partially_filled" if self.cum else "accepted"

    def work(self) -> None:
        """The venue says that the order lives."""
        if self._complete():
            self.move("filled")
        elif self.status not in (*OVER, *PENDING):
            self.move(self._working())

    def take(self, more: int) -> None:
        """So much more is executed than before: it may prove a replace, or be too much."""
        after = self.cum + more
        if self.quantity < after <= (self.pending or 0):
            self.quantity, self.pending = self.pending or 0, None
        elif after > self.quantity:
            self.overfill = True

    def end(self, status: str) -> None:
        """The venue says that the order is over."""
        if self.status in OVER:
            return
        if self.cum >= self.quantity:
            status = "filled"
        elif status == "rejected" and self.cum:
            status = "canceled"
        self.move(status)

    def cancel(self) -> bool:
        """The user cancels; return whether a cancel is owed."""
        if self.unsent:
            self.move("canceled")
            return False
        self.move("pending_cancel")
        return True

    def replaced(self, quantity: int) -> None:
        """The venue works another size."""
        if self.status in OVER and (self.status != "filled" or quantity <= self.cum):
            return
        before, self.quantity, self.pending = self.status, max(quantity, self.cum), None
        if quantity <= self.cum:
            self.move("filled")
        elif before not in ("pending_cancel", "accepted", "partially_filled"):
            self.move(self._working())

    def replace_rejected(self) -> None:
        """The venue keeps the size."""
        if self.status == "pending_replace":
            self.move("filled" if self.cum >= self.quantity else self._working())

    def recorrect(self) -> None:
        """Bring the state in line with executions that changed after the fact."""
        self.corrected = True
        if self.status == "filled" and self.cum < self.quantity:
            back = self.before_filled
            self.move(back if back in OVER else self._working())
        elif self.status == "partially_filled" and not self.cum:
            self.move("accepted")
        elif self.cum >= self.quantity and self.status != "filled":
            self.move("filled")


@dataclass
class Book:
    """The position and the cash of an account."""

    quantity: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)
    realized: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)
    cash: Fraction = Fraction(0)

    def add(self, fill: Fill) -> None:
        """Close what is opposite at average cost, open the rest at the price."""
        sign = 1 if fill.side == "buy" else -1
        held = abs(self.quantity)
        closed = min(Fraction(fill.quantity), held) if self.quantity * sign < 0 else Fraction(0)
        released = self.cost * closed / held if closed else Fraction(0)
        if closed != held:
            released = Fraction(int(released * CUT), CUT)
        self.quantity += sign * fill.quantity
        self.cost += -released + sign * (fill.quantity - closed) * fill.price
        self.realized += -sign * closed * fill.price - released
        self.fees += fill.fee or 0
        self.cash -= sign * fill.quantity * fill.price + (fill.fee or 0)


def fold(fills: list[Fill]) -> Book:
    """Fold executions, in the order in which each was first booked."""
    book = Book()
    for fill in fills:
        if not fill.busted:
            book.add(fill)
    return book
