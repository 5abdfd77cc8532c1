"""The commands that the bridge takes: the fourth file of the project.

LEAN fills an instance of the class that a command's `$type` names, and runs it.
"""

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

from feed import iso


class BridgeCommand:
    """What LEAN makes of a command's JSON: one attribute a field, and the text as PayloadData."""

    PayloadData: str | None = None
    # LEAN may hand over a bare proxy of the algorithm's base class, so the bridge leaves its own.
    receive: Callable[[str, dict[str, Any]], bool]

    def run(self, algorithm: Any) -> bool:
        return BridgeCommand.receive(type(self).__name__, self.fields())

    def fields(self) -> dict[str, Any]:
        """The fields as signed, also where LEAN kept no text and made times of our strings."""
        parsed = {k: iso(v) if isinstance(v, dt.datetime) else v for k, v in vars(self).items()}
        fields = json.loads(self.PayloadData) if self.PayloadData else parsed
        return {**fields, "$type": type(self).__name__}


class PlaceOrder(BridgeCommand): ...


class CancelOrder(BridgeCommand): ...


class ReplaceOrder(BridgeCommand): ...


class QueryOrder(BridgeCommand): ...


class Acknowledge(BridgeCommand): ...


class Ping(BridgeCommand): ...


class QuitBridge(BridgeCommand): ...


TYPES = (PlaceOrder, CancelOrder, ReplaceOrder, QueryOrder, Acknowledge, Ping, QuitBridge)
# These name no order.
WITHOUT_ORDER = ("Acknowledge", "Ping", "QuitBridge")
