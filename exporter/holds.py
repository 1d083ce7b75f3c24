"""
How long new series are held, and whether the scrapes come often enough for that.

Rules:

1. A hold begins with the first answered scrape, or accepted export, that showed the series,
   by the monotonic clock. A process that starts again knows of none, so it begins anew.
2. It ends when the ledger has committed its end; until then the series stays due.
3. A scraper that comes seldom misses holds. How far apart the scrapes of each are is
   measured, since nobody tells.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Hashable, Iterable

from exporter.families import Series

GAP_SECONDS = 600.0
"""For how long a gap between two scrapes is told."""

SCRAPERS_MAX = 100
PUNCTUALITY = 1.1
"""No scraper comes to the second."""


class Holds:
    """
    When each held series was first shown, and which have been held long enough.

    Args:
        seconds: How long a series is held.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._shown: dict[Series, float] = {}

    def show(self, series: Iterable[Series], now: float) -> None:
        """
        Take note that these held series have been shown.
        """
        for one in series:
            self._shown[one] = min(now, self._shown.get(one, now))

    def show_in_part(self, series: Iterable[Series], now: float) -> None:
        """
        Take note that some of these held series have been shown, nobody knows which.

        Their hold begins one hold later, unless an answer shows them all before: what was left
        out for a moment shall be seen at 0, and what is left out for ever not hold the others.
        """
        self.show(series, now + self.seconds)

    def due(self, now: float) -> Collection[Series]:
        """
        The series whose hold is over.
        """
        return [one for one, since in self._shown.items() if now - since >= self.seconds]

    def forget(self, series: Collection[Series]) -> None:
        """
        Stop watching series that have been released.
        """
        for one in series:
            self._shown.pop(one, None)

    def is_long_enough(self, gap: float) -> bool:
        """
        Whether a scraper with such a gap sees every new series at 0, though a scrape fails.
        """
        return not self.seconds or gap <= self.seconds / 2 * PUNCTUALITY


class Scrapers:
    """
    How far apart the scrapes of each scraper have been lately; who that is, the caller tells.
    """

    def __init__(self) -> None:
        self._answered: OrderedDict[Hashable, float] = OrderedDict()
        self._gaps: deque[tuple[float, float]] = deque()

    def gap(self, scraper: Hashable, now: float) -> float:
        """
        How long ago the scraper was last answered, now that it asks; 0 the first time.
        """
        gap = now - self._answered.get(scraper, now)
        # Of the gaps that matter later, each is shorter than the one before.
        while self._gaps and self._gaps[-1][1] <= gap:
            self._gaps.pop()
        self._gaps.append((now, gap))
        return gap

    def answered(self, scraper: Hashable, now: float) -> None:
        """
        Take note that the scraper has been answered.
        """
        self._answered[scraper] = now
        self._answered.move_to_end(scraper)
        if len(self._answered) > SCRAPERS_MAX:
            self._answered.popitem(last=False)

    def longest_gap(self, now: float) -> float:
        """
        The longest gap of the last ten minutes, in seconds; 0 if there was none.
        """
        while self._gaps and now - self._gaps[0][0] > GAP_SECONDS:
            self._gaps.popleft()
        return self._gaps[0][1] if self._gaps else 0.0
