"""
Points in time as the program keeps them: whole milliseconds since 1970, UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

FUTURE_MS_MAX = 15 * 60 * 1000
"""A time further ahead of the clock than this is a wrong one, and must not stick."""


_SECONDS = {f"{second:02}Z": second * 1000 for second in range(60)}
_MINUTE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:")


def milliseconds(value: object) -> int | None:
    """
    Milliseconds since 1970 of an ISO 8601 text; None where that is not to be had.

    A time without an offset is taken as UTC, which is what AWS writes.
    """
    if not isinstance(value, str):
        return None
    second_ms = _SECONDS.get(value[17:])
    if second_ms is None:
        return _milliseconds(value)
    minute_ms = _minute_ms(value[:17])
    return _milliseconds(value) if minute_ms is None else minute_ms + second_ms


@lru_cache(1024)
def _minute_ms(text: str) -> int | None:
    """
    When a minute began that CloudTrail writes, up to its seconds; None for anything else.

    The events of log files are of few minutes.
    """
    return _milliseconds(f"{text}00Z") if _MINUTE.fullmatch(text) else None


def _milliseconds(value: str) -> int | None:
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
