"""
Points in time as the program keeps them: whole milliseconds since 1970, UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime

FUTURE_MS_MAX = 15 * 60 * 1000
"""A time further ahead of the clock than this is a wrong one, and must not stick."""


def milliseconds(value: object) -> int | None:
    """
    Milliseconds since 1970 of an ISO 8601 text; None where that is not to be had.

    A time without an offset is taken as UTC, which is what AWS writes.
    """
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    if time.year <= 1970:
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return round(time.timestamp() * 1000)


def usable_ms(time_ms: int | None, now_ms: float) -> int | None:
    """
    A time, unless a clock far ahead made it; None for one of those, and where there is none.
    """
    return None if time_ms is None or time_ms > now_ms + FUTURE_MS_MAX else time_ms
