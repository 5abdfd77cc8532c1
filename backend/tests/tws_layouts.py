"""The frames of a TWS at server version 178, field by field, for orders and executions."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from decimal import Decimal

UNSET = "1.7976931348623157E308"
FRAME_MAX = 1 << 20

Value = str | int | Decimal


@dataclass
class VenueOrder:
    """An order as the venue knows it."""

    ref: str
    account: str
    client_id: int
    order_id: int
    perm_id: int
    symbol: str
    action: str
    quantity: Decimal
    order_type: str
    limit: str
    tif: str
    status: str = "Submitted"
    filled: Decimal = Decimal(0)
    average: Decimal = Decimal(0)

    @property
    def contract(self) -> list[Value]:
        return [265598, self.symbol, "STK", "", "0", "", "", "SMART", "USD", self.symbol, "NMS"]


@dataclass(frozen=True)
class VenueFill:
    """One execution; a revision above 1 corrects an earlier one."""

    order: VenueOrder
    stem: str
    quantity: Decimal
    price: Decimal
    at: str
    revision: int = 1

    @property
    def exec_id(self) -> str:
        return f"{self.stem}.{self.revision:02d}"


async def read_frame(reader: asyncio.StreamReader) -> list[str]:
    """Read one length-prefixed message and split it into its fields."""
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    assert length <= FRAME_MAX
    return (await reader.readexactly(length)).decode().split("\0")[:-1]


def frame(*fields: Value) -> bytes:
    """Write one message."""
    body = "".join(f"{value}\0" for value in fields).encode()
    return struct.pack(">I", len(body)) + body


def open_order(order: VenueOrder) -> list[Value]:
    """Write message 5, at version 178: what an order says that is only itself, and much nothing."""
    none: list[Value] = [""]
    return [
        *(5, order.order_id, *order.contract, *_terms(order)),
        *(order.account, "", 0, order.ref, order.client_id, order.perm_id),
        *(0, 0, 0, "", "", "", "", ""),  # outside hours to allocation
        *(*none * 5, 0, "", -1, 0, *none * 5, "", 0, 0, 0, "", 3, 0, 0, "", 0, 0, "", 0),
        *("None", "", 0, "", "", 0, "", "", "", ""),  # delta neutral
        *(0, 0, *none * 5),  # trailing, basis points, legs in words
        *(0, 0, 0, *none * 3),  # legs, their prices, routing, scale
        *("", 0, "", "", 0, 0, ""),  # hedge, clearing, algorithm
        *(0, 0, order.status, *[UNSET] * 9, *none * 5, 0, 0),  # what if
        *(0, "None", *none * 6, 0, *none * 4, 0, 0, 0, 0),  # conditions, adjustments
        *(0, "", 0, *none * 5),  # versions 159 to 170
    ]


def completed_order(order: VenueOrder) -> list[Value]:
    """Write message 101, at version 178; it names no client and no order id."""
    none: list[Value] = [""]
    return [
        *(101, *order.contract, *_terms(order)),
        *(order.account, "", 0, order.ref, order.perm_id),
        *(0, 0, 0, "", "", "", ""),  # outside hours to allocation
        *(*none * 5, 0, "", -1, *none * 6, 0, 0, "", 3, 0, "", 0),
        *("None", "", 0, 0, 0, ""),  # delta neutral
        *(0, 0, *none * 3),  # trailing, legs in words
        *(0, 0, 0, *none * 3),  # legs, their prices, routing, scale
        *("", "", "", 0, 0, ""),  # hedge, clearing, algorithm
        *(0, order.status, 0, 0, 0),  # solicited, status, randomizing, conditions
        *("", "", "", 0, 0, "", order.filled, 0, 0, "", 0, 0, 0, "20261123 09:31:00 UTC"),
        *("Completed", *none * 5),
    ]


def _terms(order: VenueOrder) -> list[Value]:
    price: Value = order.limit or UNSET
    return [order.action, order.quantity, order.order_type, price, UNSET, order.tif, ""]
