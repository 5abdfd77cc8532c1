"""What a message says: one line an event, many events in one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

LINES_MAX = 30
PLURALS = {
    "fill": "fills",
    "reject": "rejects",
    "break": "breaks",
    "halt": "trading changes",
    "lost": "lost orders",
    "test": "test messages",
}
SINGULARS = {**{kind: kind for kind in PLURALS}, "halt": "trading change", "lost": "lost order"}
Event = Mapping[str, Any]


def title_of(events: Sequence[Event]) -> str:
    """Count what the message tells of, by kind."""
    counted = Counter(str(event["kind"]) for event in events)
    parts = [
        f"{count} {(SINGULARS if count == 1 else PLURALS).get(kind, kind)}"
        for kind, count in counted.items()
    ]
    return "Informania: " + ", ".join(parts)


def body_of(events: Sequence[Event]) -> str:
    """Tell each event in a line, and how many more there are."""
    lines = [line_of(event) for event in events[:LINES_MAX]]
    if len(events) > LINES_MAX:
        lines.append(f"and {len(events) - LINES_MAX} more")
    return "\n".join(lines)


def line_of(event: Event) -> str:
    """Say what happened, when and where, in one line of printable text."""
    detail = event["detail"]
    order = f"{detail.get('side')} {detail.get('quantity')} {event.get('symbol')}"
    name = detail.get("client_order_id")
    words = {
        "fill": f"filled: {order} at {detail.get('price')}, "
        f"{detail.get('cum_quantity')} of {detail.get('of')} of order {name}",
        "reject": f"rejected: {order}, order {name}: {detail.get('reason')}",
        "lost": f"LOST: {order}, order {name}: nobody knows whether the broker works it",
        "break": f"break {detail.get('break_id')}: {detail.get('figure')} of "
        f"{detail.get('subject')} is {detail.get('ours')} here, {detail.get('theirs')} there",
        "halt": f"trading is {detail.get('state')} ({detail.get('scope')}): {detail.get('reason')}",
        "test": "a test message: this channel works",
    }
    kind = str(event["kind"])
    parts = [str(event["at"])[:19] + "Z", event.get("account") or "", words.get(kind, kind)]
    text = " ".join(part for part in parts if part)
    return "".join(letter if letter.isprintable() else " " for letter in text)
