"""Faults that tests switch on: each is used up by the calls, orders or webhooks it hits."""

import re
from collections.abc import Iterable
from threading import Lock
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

FAULTS_MAX = 1_000

Kind = Literal[
    "delay",
    "timeout_before_accept",
    "timeout_after_accept",
    "5xx_after_accept",
    "throttle",
    "refuse",
    "reject",
    "duplicate_command",
    "duplicate_event",
    "lost_webhook",
    "out_of_order",
]


class Fault(BaseModel):
    """One fault; `client_order_id` is a pattern that the whole id must match, None means any."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    client_order_id: str | None = Field(default=None, max_length=200)
    count: int = Field(default=1, ge=1, le=1_000_000)
    seconds: float = Field(default=5.0, ge=0, le=60)
    reason: str = Field(default="rejected by a fault", max_length=200)

    @field_validator("client_order_id")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"not a pattern: {error}") from error
        return value


class Faults:
    """The faults that are still to come."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> bool:
        """Switch a fault on; False when too many are waiting."""
        with self._lock:
            if len(self._faults) >= FAULTS_MAX:
                return False
            self._faults.append(fault.model_copy())
            return True

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def waiting(self) -> list[Fault]:
        with self._lock:
            return [fault.model_copy() for fault in self._faults]

    def take(self, kind: Kind, client_order_ids: Iterable[str]) -> Fault | None:
        """Use up one count of the first fault of this kind that hits one of the ids."""
        ids = list(client_order_ids)
        with self._lock:
            for fault in self._faults:
                pattern = fault.client_order_id
                hits = pattern is None or any(re.fullmatch(pattern, text) for text in ids)
                if fault.kind == kind and hits:
                    fault.count -= 1
                    self._faults = [fault for fault in self._faults if fault.count > 0]
                    return fault
        return None
