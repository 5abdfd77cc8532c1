"""From when to when a live curve goes: pure."""

from datetime import UTC, datetime, timedelta

STEP_S = 10


def last(days: float, now: datetime) -> tuple[datetime, datetime]:
    """The days up to now, the end on a step ahead: who asks within a step asks the same."""
    end_s = (int(now.timestamp()) // STEP_S + 1) * STEP_S
    until = datetime.fromtimestamp(end_s, UTC)
    return until - timedelta(days=days), until
