"""
Which series leave the page, and when.
"""

from __future__ import annotations

import pytest

from exporter.families import SeriesState, Total
from exporter.knowledge import Known
from exporter.retirement import DELETED_MS, NEVER, Retirement

DAY_MS = 24 * 3600 * 1000
BORN_MS = 1_790_000_000_000
ACTIVE = Known(shown_ms=BORN_MS, active_ms=BORN_MS)
DELETED = ACTIVE._replace(deleted_ms=BORN_MS)
RELEASED = SeriesState(Total(1), BORN_MS, BORN_MS, Total(0))
HELD = RELEASED._replace(released_ms=None)


@pytest.mark.parametrize(
    ("known", "state", "age_ms", "hidden"),
    [
        (ACTIVE, RELEASED, DAY_MS - 1, False),
        (ACTIVE, RELEASED, DAY_MS, True),
        (DELETED, RELEASED, DELETED_MS - 1, False),
        (DELETED, RELEASED, DELETED_MS, True),
        (DELETED._replace(shown_ms=BORN_MS + 1), RELEASED, DELETED_MS, False),
        (ACTIVE, HELD, 9 * DAY_MS, False),
        (ACTIVE, RELEASED._replace(released_ms=BORN_MS + 1), DAY_MS, False),
        (ACTIVE._replace(active_ms=BORN_MS + 1), RELEASED, DAY_MS, False),
        (None, RELEASED, 9 * DAY_MS, False),
    ],
    ids=[
        "not yet",
        "a day without events",
        "deleted, not yet",
        "deleted an hour ago",
        "created again",
        "held",
        "shown too short",
        "active",
        "no repository",
    ],
)
def test_a_series_leaves_when_its_repository_is_idle(
    known: Known | None, state: SeriesState, age_ms: int, hidden: bool
) -> None:
    """
    It leaves once there was no event for a day, and its value was shown for a day.
    """
    assert hidden == Retirement(DAY_MS).hides(state, known, BORN_MS + age_ms)


def test_nothing_leaves_where_retirement_is_off() -> None:
    """
    0 is for ever.
    """
    assert not NEVER.hides(RELEASED, DELETED, BORN_MS + 1000 * DAY_MS)


def test_a_deleted_repository_waits_no_longer_than_another() -> None:
    """
    Where series retire within the hour, those of a deleted repository do, too.
    """
    assert Retirement(1000).hides(RELEASED, DELETED, BORN_MS + 1000)
