"""
Points in time as the program keeps them: whole milliseconds since 1970, UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime


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
