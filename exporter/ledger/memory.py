"""
A ledger that forgets at exit: for trying things out, for scans and for tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping

from exporter.codecommit import Event, Repository
from exporter.families import Series, SeriesState
from exporter.ledger import changed_series, released_series
from exporter.tally import Reading, Sight, Tally, tally


class MemoryLedger:
    """
    Remembers every event for as long as the process lives, whatever its age.
    """

    def __init__(self, *, hold: bool = False, now: Callable[[], float] = time.time) -> None:
        self._hold = hold
        self._now = now
        self._series: dict[Series, SeriesState] = {}
        self._repositories: set[Repository] = set()
        self._seen: set[bytes] = set()

    @property
    def series(self) -> Mapping[Series, SeriesState]:
        return self._series

    @property
    def repositories(self) -> int:
        return len(self._repositories)

    @property
    def bytes(self) -> int:
        return 0

    @property
    def writable(self) -> bool:
        return True

    def count(self, reading: Reading) -> Tally:
        """
        ``commit`` for callers without an event loop.
        """
        now_ms = self._now_ms()
        result = tally(reading, self, now_ms)
        self._series.update(changed_series(self._series, [result], now_ms=now_ms, hold=self._hold))
        return result

    async def commit(self, reading: Reading) -> Tally:
        return self.count(reading)

    async def release(self, series: Collection[Series]) -> None:
        self._series.update(released_series(self._series, series, now_ms=self._now_ms()))

    async def close(self) -> None:
        pass

    def learn(self, repositories: Iterable[Repository]) -> None:
        self._repositories.update(repositories)

    def knows(self, repository: Repository) -> bool:
        return repository in self._repositories

    def see(self, event: Event) -> Sight:
        new = self._seen.isdisjoint(event.ids)
        self._seen.update(event.ids)
        return Sight.NEW if new else Sight.REPEATED

    def _now_ms(self) -> int:
        return round(self._now() * 1000)
