"""Faults that tests and demos switch on, by order, by account or by a seeded probability."""

import random
import re
from collections.abc import Iterable
from threading import Lock
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

FAULTS_MAX = 1_000
STANDING = re.compile(r"([a-z0-9_]+)=([0-9.]+)(?:@([0-9]{1,9}))?")

Kind = Literal[
    "delay",
    "timeout_before_accept",
    "timeout_after_accept",
    "5xx_after_accept",
    "throttle",
    "refuse",
    "reject",
    "auth_fail",
    "reset_mid_body",
    "duplicate_command",
    "partial_then_cancel",
    "late_fill",
    "external_order",
    "position_drift",
    "duplicate_live_on_modify",
    "duplicate_fill",
    "duplicate_fill_new_id",
    "correction",
    "bust",
    "fill_before_ack",
    "lost_event",
    "duplicate_event",
    "lost_webhook",
    "webhook_quota",
    "out_of_order",
]


class Fault(BaseModel):
    """One fault; `client_order_id` is a pattern that the whole id must match, None means any.

    `project_id` names one account, None means all. What it could hit, it hits with `probability`,
    and `count` times; None: for as long as the process lives.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    client_order_id: str | None = Field(default=None, max_length=200)
    project_id: int | None = None
    probability: float = Field(default=1.0, gt=0, le=1)
    count: int | None = Field(default=1, ge=1, le=1_000_000)
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


class BadFaults(ValueError):
    """FAULTS is a list like late_fill=0.05,lost_webhook=0.02@1001."""


def read_standing(text: str) -> list[Fault]:
    """Read the faults of the setting FAULTS: kind=probability, and @project for one account."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = STANDING.fullmatch(part)
        if match is None or match[1] not in get_args(Kind):
            raise BadFaults(f"{part!r}: {BadFaults.__doc__} Known: {', '.join(get_args(Kind))}.")
        fields = {"kind": match[1], "probability": match[2], "project_id": match[3]}
        found.append(Fault.model_validate({**fields, "count": None}))
    return found


class Faults:
    """The faults that are still to come."""

    def __init__(self, standing: Iterable[Fault] = (), seed: int = 1) -> None:
        self._lock = Lock()
        self._faults = list(standing)
        self._random = random.Random(f"faults {seed}")  # noqa: S311 - replayable, not a secret

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

    def take(self, kind: Kind, client_order_ids: Iterable[str], project_id: int) -> Fault | None:
        """Use up one count of the first fault of this kind that hits one of the ids."""
        ids = list(client_order_ids)
        with self._lock:
            for fault in self._faults:
                if fault.kind == kind and self._hits(fault, ids, project_id):
                    if fault.count is not None:
                        fault.count -= 1
                    self._faults = [each for each in self._faults if each.count != 0]
                    return fault
        return None

    def _hits(self, fault: Fault, ids: list[str], project_id: int) -> bool:
        pattern = fault.client_order_id
        aimed = fault.project_id in (None, project_id) and (
            pattern is None or any(re.fullmatch(pattern, text) for text in ids)
        )
        return aimed and self._random.random() < fault.probability
