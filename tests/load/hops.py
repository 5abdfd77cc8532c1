"""How long an order takes from one hop to the next, by the times in the audit chain."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

import asyncpg

# The action that ends each hop; an order without one of them does not count for that hop.
HOPS = {
    "recorded to claimed": ("order.place", "order.submitting"),
    "claimed to at the venue": ("order.submitting", "order.submitted"),
    "at the venue to filled": ("order.submitted", "execution.book"),
    "recorded to filled": ("order.place", "execution.book"),
}
TIMES = """
    SELECT a.detail ->> 'order_id' AS order_id, a.action, min(a.epoch_us) AS epoch_us
    FROM audit.audit_log AS a
    WHERE a.action = ANY($1) AND a.detail ? 'order_id'
    GROUP BY 1, 2
"""
# Upper ends of a histogram's bars, in milliseconds; the last bar has none.
BARS_MS = (5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
WIDTH = 40


async def hops(database: asyncpg.Connection) -> dict[str, list[float]]:
    """Return the milliseconds of each order by hop."""
    actions = sorted({action for ends in HOPS.values() for action in ends})
    at: dict[str, dict[str, int]] = {}
    for row in await database.fetch(TIMES, actions):
        at.setdefault(row["order_id"], {})[row["action"]] = row["epoch_us"]
    return {
        name: [
            (times[end] - times[start]) / 1_000
            for times in at.values()
            if start in times and end in times
        ]
        for name, (start, end) in HOPS.items()
    }


def histogram(values_ms: Iterable[float]) -> dict[str, int]:
    """Count the values by bar; bars at both ends that are empty are left out."""
    values = list(values_ms)
    edges = (float("-inf"), *BARS_MS, float("inf"))
    counts = {
        f"to {high:g} ms" if high != edges[-1] else "longer": sum(low < v <= high for v in values)
        for low, high in pairwise(edges)
    }
    filled = [place for place, count in enumerate(counts.values()) if count]
    names = list(counts)[min(filled, default=0) : max(filled, default=-1) + 1]
    return {name: counts[name] for name in names}


def drawn(bars: Mapping[str, int]) -> list[str]:
    """Draw a histogram for a terminal."""
    most = max(bars.values(), default=0)
    return [
        f"  {name:>12} {count:>6} {'#' * max(round(WIDTH * count / most), bool(count))}"
        for name, count in bars.items()
    ]
