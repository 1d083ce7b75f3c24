"""
What the tables of the SQLite ledger hold, beside the plainest way to say it.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from hypothesis import given, strategies as st

from exporter.families import EVENTS, Series, SeriesState, Total
from exporter.knowledge import Sight
from exporter.ledger.schema import SCHEMA
from exporter.ledger.tables import DAY_MS, EDGE_MS, PERIOD_MS, Asked, SeenIds, keep_series

BORN_MS = 2900 * PERIOD_MS + 3 * DAY_MS
FLOOR_MS = BORN_MS + 2 * PERIOD_MS
NOW_MS = FLOOR_MS + 2 * PERIOD_MS

ids = st.lists(
    st.integers(0, 9).map(lambda number: number.to_bytes(16)), min_size=1, max_size=3, unique=True
)
moments = st.sampled_from([BORN_MS, FLOOR_MS, NOW_MS, NOW_MS + DAY_MS, 2904 * PERIOD_MS])
times = st.none() | st.builds(
    int.__add__, moments, st.sampled_from([-3 * DAY_MS, 1 - DAY_MS, -1, 0, 1, DAY_MS - 1, DAY_MS])
)
transactions = st.lists(st.lists(st.tuples(ids.map(tuple), times), max_size=8), max_size=4)


@contextmanager
def empty_tables() -> Iterator[sqlite3.Connection]:
    """
    The tables of a ledger in memory.
    """
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA)
        yield db


class PlainIds:
    """
    The ids that have been seen, each looked up by itself where it is.
    """

    def __init__(self) -> None:
        self._kept = set[bytes]()
        self._periods = defaultdict[int, set[bytes]](set)

    def see(self, some: tuple[bytes, ...], time_ms: int | None) -> Sight:
        if time_ms is not None and BORN_MS <= time_ms < FLOOR_MS:
            return Sight.LATE
        if time_ms is None or time_ms > NOW_MS + DAY_MS:
            home, around = self._kept, [self._kept, *self._periods.values()]
        else:
            near = {(time_ms + edge_ms) // PERIOD_MS for edge_ms in (-EDGE_MS, EDGE_MS)}
            around = [self._kept, *(self._periods[period] for period in near)]
            home = self._kept if time_ms < BORN_MS else self._periods[time_ms // PERIOD_MS]
        repeated = any(one in table for table in around for one in some)
        home.update(some)
        return Sight.REPEATED if repeated else Sight.NEW


@given(transactions)
def test_ids_looked_up_together_are_seen_as_if_one_by_one(transactions: list[list[Asked]]) -> None:
    """
    Also what comes twice in a transaction, without a time, at an edge or in a new period.
    """
    plain = PlainIds()
    periods = set[int]()
    with empty_tables() as db:
        for asked in transactions:
            seen = SeenIds(
                db,
                born_ms=BORN_MS,
                floor_ms=FLOOR_MS,
                periods=periods,
                now_ms=NOW_MS,
                asked=asked,
            )
            found = [seen.see(*one) for one in asked]
            seen.write()

            assert [plain.see(*one) for one in asked] == found


@pytest.mark.parametrize("number", [1, 2, 3, 511, 512, 513, 2000])
def test_any_number_of_ids_is_looked_up(number: int) -> None:
    """
    None of them is left out, and none is found that is not there.
    """
    asked: list[Asked] = [((one.to_bytes(16),), NOW_MS) for one in range(number)]
    places = {"born_ms": BORN_MS, "floor_ms": FLOOR_MS, "now_ms": NOW_MS}
    with empty_tables() as db:
        first = SeenIds(db, **places, periods=(periods := set[int]()), asked=asked[::2])
        new = [first.see(*one) for one in asked[::2]]
        first.write()
        second = SeenIds(db, **places, periods=periods, asked=asked)
        found = [second.see(*one) for one in asked]

    assert {Sight.NEW} == set(new)
    assert [Sight.NEW if one % 2 else Sight.REPEATED for one in range(number)] == found


@given(st.lists(st.text(), max_size=6))
def test_labels_are_kept_as_the_json_module_writes_them(labels: list[str]) -> None:
    """
    Series are found again by this text, whichever version has written it.
    """
    series = Series(EVENTS.name, tuple(labels))
    with empty_tables() as db:
        keep_series(db, {series: SeriesState(Total(1), 1, None, Total(0))})
        kept = db.execute("SELECT labels, buckets FROM series").fetchall()

    assert [(json.dumps(labels), json.dumps([]))] == kept
