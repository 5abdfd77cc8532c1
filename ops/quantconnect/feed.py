"""What the bridge keeps in the object store: the ledger of orders, and the feed of events.

The second file of the project; nothing in it knows LEAN beyond the objects it is handed.
"""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from AlgorithmImports import ObjectStore, QCAlgorithm

BODY_MAX = 60_000  # the receiver takes 64 KiB
BODIES_A_PULSE_MAX = 4
BACKLOG_MAX = 1_000  # unacknowledged events beyond which no order is taken
ORDERS_MAX = 10_000  # kept in the ledger
RETENTION = dt.timedelta(days=7)  # of orders that ended
# An acknowledgment takes up to two seconds: sooner, everything would go out twice.
REPEAT_FIRST_S, REPEAT_MAX_S = 2.5, 30.0
TERMINAL = ("filled", "canceled", "rejected", "expired")


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)  # noqa: UP017


def iso(moment: dt.datetime) -> str:
    """LEAN's times are UTC, whether they say so or not."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def number(value: float) -> str:
    """LEAN hands decimals out as floats; the shortest form is the decimal that was meant."""
    rounded = decimal.Decimal(repr(float(value))).quantize(decimal.Decimal("1E-8"))
    return format(rounded.normalize(), "f") if rounded else "0"


def words(value: Any) -> str | None:
    """Text that the receiver takes: one event it refused would hold up all that follow."""
    return re.sub(r"[^\x20-\x7e]+", " ", str(value or ""))[:200] or None


def canonical(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def sign(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Ledger:
    """Every order ever taken on, one object each, by client_order_id."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self.store, self.prefix, self.dirty = store, prefix, set[str]()
        names = [str(name) for name in store.keys if str(name).startswith(prefix)]
        self.entries: dict[str, dict[str, Any]] = {
            name[len(prefix) :]: json.loads(store.read(name)) for name in names
        }

    def full(self) -> bool:
        return len(self.entries) >= ORDERS_MAX

    def add(self, key: str, **more: Any) -> bool:
        """The intent is saved when this returns True, and forgotten when it returns False."""
        fresh: dict[str, Any] = {
            "at": iso(utc_now()),
            "order_id": None,
            "status": None,
            "reason": None,
        }
        fresh |= {"broker_ids": [], "seen": {}, "executions": [], "told": 0}
        self.entries[key] = {**fresh, "replaces": [], **more}
        return self.save(key) or self.entries.pop(key) is None

    def remove(self, key: str) -> None:
        self.store.delete(self.prefix + key)
        del self.entries[key]

    def save(self, key: str) -> bool:
        return bool(self.store.save(self.prefix + key, json.dumps(self.entries[key])))

    def save_dirty(self) -> bool:
        self.dirty = {key for key in self.dirty & self.entries.keys() if not self.save(key)}
        return not self.dirty

    def prune(self, unacknowledged: set[str]) -> None:
        oldest = iso(utc_now() - RETENTION)
        for key, entry in list(self.entries.items()):
            ended = entry["status"] in TERMINAL and entry["at"] < oldest
            if ended and key not in unacknowledged:
                self.remove(key)


class Feed:
    """Numbered events, kept until acknowledged, posted in signed batches."""

    def __init__(self, algorithm: QCAlgorithm, store_key: str) -> None:
        self.algorithm, self.store, self.store_key = algorithm, algorithm.object_store, store_key
        self.url = str(algorithm.get_parameter("webhook_url", ""))
        self.secret = str(algorithm.get_parameter("webhook_secret", ""))
        self.source = str(algorithm.get_parameter("source", ""))
        self.epoch = int(algorithm.get_parameter("epoch", "0"))
        self.interval_s = float(algorithm.get_parameter("interval_s", "60"))
        if not (self.url and self.secret and self.source and self.epoch):
            raise ValueError("set the parameters webhook_url, webhook_secret, source and epoch")
        kept = json.loads(self.store.read(store_key)) if self.store.contains_key(store_key) else {}
        self.sequence, self.events = int(kept.get("sequence", 0)), list(kept.get("events", []))
        # Each as it goes out, made once: the tail is saved and repeated again and again.
        self.texts = {event["sequence"]: canonical(event).decode() for event in self.events}
        self.sent, self.dirty, self.quotes = 0, False, dict[str, dict[str, str]]()
        self.beat_at, self.repeat_at, self.repeat_s = 0.0, 0.0, REPEAT_FIRST_S

    def full(self) -> bool:
        return len(self.events) >= BACKLOG_MAX

    def emit(self, kind: str, client_order_id: str | None, **detail: Any) -> None:
        self.sequence, self.dirty = self.sequence + 1, True
        event = {"sequence": self.sequence, "kind": kind, "client_order_id": client_order_id}
        event |= {"event_id": f"{self.source}-{self.epoch}-{self.sequence}"}
        self.events.append({**event, "occurred_at": iso(utc_now()), **detail})
        self.texts[self.sequence] = canonical(self.events[-1]).decode()

    def acknowledge(self, sequence: int) -> None:
        kept = [event for event in self.events if event["sequence"] > sequence]
        if len(kept) < len(self.events):
            self.events, self.dirty, self.repeat_s = kept, True, REPEAT_FIRST_S
            self.texts = {event["sequence"]: self.texts[event["sequence"]] for event in kept}
            self.repeat_at = time.monotonic() + self.repeat_s

    def save(self) -> bool:
        """A number that went out must never be used again, so this comes before each post."""
        if self.dirty:
            events = ",".join(self.texts.values())
            body = f'{{"sequence":{self.sequence},"events":[{events}]}}'
            self.dirty = not self.store.save(self.store_key, body)
        return not self.dirty

    def publish(self, heartbeat: Callable[[], dict[str, Any]]) -> None:
        """Post new events at once, the whole tail when its time has come, else the heartbeat."""
        clock = time.monotonic()
        repeat = clock >= self.repeat_at
        events = [event for event in self.events if repeat or event["sequence"] > self.sent]
        if not events and clock < self.beat_at:
            return
        if clock >= self.beat_at:
            self.beat_at = clock + self.interval_s
        if events:
            again = events[0]["sequence"] <= self.sent
            self.repeat_s = min(self.repeat_s * 2, REPEAT_MAX_S) if again else self.repeat_s
            self.repeat_at = clock + self.repeat_s
        for _ in range(BODIES_A_PULSE_MAX):
            taken = self.post(events, heartbeat())
            events = events[taken:] if taken else []
            if not events:
                return

    def post(self, events: list[dict[str, Any]], heartbeat: dict[str, Any]) -> int:
        """Post one body of as many events as fit; how many went out (none: over the quota)."""
        body: dict[str, Any] = {"version": 1, "source": self.source, "epoch": self.epoch}
        body |= {"deploy_id": str(self.algorithm.algorithm_id), "sent_at": iso(utc_now())}
        body |= {"heartbeat": heartbeat, "quotes": list(self.quotes.values()), "events": []}
        frame, texts = canonical(body).decode(), [self.texts[e["sequence"]] for e in events]
        size, taken = len(frame), 0
        while taken < len(events):
            size += len(texts[taken]) + 1
            if size > BODY_MAX and taken:
                break
            taken += 1
        raw = frame.replace('"events":[]', f'"events":[{",".join(texts[:taken])}]', 1).encode()
        headers = {"Content-Type": "application/json", "X-Bridge-Source": self.source}
        headers["X-Bridge-Signature"] = sign(self.secret, raw)
        if not self.algorithm.notify.web(self.url, raw.decode(), headers):
            return 0
        self.quotes.clear()
        self.sent = max(self.sent, events[taken - 1]["sequence"] if taken else 0)
        return taken
