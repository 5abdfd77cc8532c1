"""What a TWS says, in our words: orders it shows, changes of status, executions."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # Only its shape: the library takes most of a second to load.
    from ib_async.objects import Execution

EXEC_ID = re.compile(r"[!-~]{1,190}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSeen:
    """An order as TWS shows it, working or completed."""

    ref: str
    account: str
    status: str
    perm_id: int
    order_id: int = 0
    client_id: int = -1
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSeen:
    """A change of an order's status; names it by number only."""

    status: str
    perm_id: int
    order_id: int
    client_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution. A correction has the same stem and a higher revision."""

    exec_id: str
    ref: str
    account: str
    perm_id: int
    quantity: Decimal
    price: Decimal
    executed_at: datetime

    @property
    def stem(self) -> str:
        return split_exec_id(self.exec_id)[0]

    @property
    def revision(self) -> int:
        return split_exec_id(self.exec_id)[1]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the three sources said: working orders, completed orders, executions of the day."""

    working: list[OrderSeen] = field(default_factory=list)
    completed: list[OrderSeen] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)


class Listener(Protocol):
    """Who is told what arrives, in its order."""

    def on_order(self, seen: OrderSeen) -> None: ...

    def on_status(self, seen: StatusSeen) -> None: ...

    def on_fill(self, fill: Fill) -> None: ...

    def on_fee(self, exec_id: str, fee: Decimal, currency: str) -> None: ...

    def on_price(self, request_id: int, kind: int, price: float) -> None: ...

    def on_data_type(self, request_id: int, kind: int) -> None: ...

    def on_notice(self, request_id: int, code: int, text: str) -> None: ...

    def on_closed(self) -> None: ...


def read_fill(execution: Execution) -> Fill:
    """Check an execution; raises ValueError on figures that no trade has."""
    figures = (execution.shares, execution.price)
    if not all(math.isfinite(figure) and 0 < figure < 1e12 for figure in figures):
        raise ValueError("an execution without quantity or price")
    if not EXEC_ID.fullmatch(execution.execId):
        raise ValueError("an execution without an id")
    return Fill(
        exec_id=execution.execId,
        ref=execution.orderRef,
        account=execution.acctNumber,
        perm_id=execution.permId,
        quantity=Decimal(repr(execution.shares)),
        price=Decimal(repr(execution.price)),
        executed_at=execution.time,
    )


def split_exec_id(exec_id: str) -> tuple[str, int]:
    """Split an execution's id into what it keeps for ever and how often it was corrected."""
    stem, dot, revision = exec_id.rpartition(".")
    if dot and revision.isascii() and revision.isdigit() and len(revision) <= 9:
        return stem, int(revision)
    return exec_id, 0
