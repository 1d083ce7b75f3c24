"""
Which texts are points in time, and which milliseconds they are.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings, strategies as st

from exporter.timestamps import milliseconds

NOON_MS = 1_789_992_000_000
"""2026-09-21 12:00 UTC."""

quickly = settings(max_examples=200, deadline=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-09-21T12:00:00Z", NOON_MS),
        ("2026-09-21T12:00:00.123Z", NOON_MS + 123),
        ("2026-09-21T12:00:00.000499Z", NOON_MS),
        ("2026-09-21T12:00:00.999999Z", NOON_MS + 1000),
        ("2026-09-21T14:00:00+02:00", NOON_MS),
        ("2026-09-20T22:01:00-13:59", NOON_MS),
        ("2026-09-21T12:00:00", NOON_MS),
        ("1971-01-01T00:00:00Z", 31_536_000_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000),
    ],
)
def test_a_time_is_whole_milliseconds(text: str, expected: int) -> None:
    """
    An ISO 8601 text is milliseconds since 1970, whatever its offset; without one it is UTC.
    """
    assert expected == milliseconds(text)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "1789992000",
        "2026-02-30T12:00:00Z",
        "2026-09-21T25:00:00Z",
        "2026-09-21T12:00:00+25:00",
        "Dec 14, 2016 6:19:14 PM",
        "0001-01-01T00:00:00+23:59",
        "1970-01-01T00:00:00Z",
        "\ud800",
        1_789_992_000,
        1.5,
        True,
        None,
        [],
        {"eventTime": "2026-09-21T12:00:00Z"},
    ],
)
def test_what_is_no_time_is_none(value: object) -> None:
    """
    Anything else is no time, and neither is the zero that a broken clock writes.
    """
    assert milliseconds(value) is None


@quickly
@given(
    time=st.datetimes(datetime(1971, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - offset follows
    offset_minutes=st.integers(-1439, 1439),
)
def test_an_offset_moves_no_point_in_time(time: datetime, offset_minutes: int) -> None:
    """
    One point in time has one number of milliseconds in every offset.
    """
    there = time.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=offset_minutes)))

    assert milliseconds(time.isoformat()) == milliseconds(there.isoformat())


@quickly
@given(st.text(st.characters()))
def test_any_text_is_a_time_or_none(text: str) -> None:
    """
    No text raises, and none is a time before 1970.
    """
    found = milliseconds(text)

    assert found is None or found > 0
