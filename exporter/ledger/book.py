"""
What a ledger holds, as it is in memory: its series and the repositories known.

Rules:

1. A new counter or histogram is born held, where holding is asked for. A gauge never is:
   its value means something by itself, while a counter's first value is seen only as a
   difference.
2. A counter or histogram that comes back to the page is held as well, at what it showed
   when it left: its increase would otherwise fall into the time when nobody saw it.
3. The number of series is bounded. What would be one more adds to a series of its family
   that is there for all others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from exporter.codecommit import Repository
from exporter.families import FAMILY, Exemplar, Kind, Series, SeriesState, Total
from exporter.journal import Journal
from exporter.knowledge import Known, Repositories
from exporter.retirement import NEVER, Retirement, repository_in
from exporter.tally import Tally

COUNTED_STEP_MS = 2
"""How far apart the times of two commits are at least: Prometheus wants the exemplars of a
series to rise, and cuts off what it takes for a fraction of a millisecond."""


AHEAD_MAX_MS = 60_000
"""How far the time of the newest exemplars may be ahead, as it is where the clock was; with
more there are none until it is reached."""


@dataclass(frozen=True, slots=True)
class Policy:
    """
    What a ledger is told about series.

    Args:
        hold: Whether series are held before their value is shown.
        repositories_max: How many repositories labels may name.
        series_max: How many counters and histograms there may be.
        retirement: When series leave the page.
    """

    hold: bool = False
    repositories_max: int = 10_000
    series_max: int = 200_000
    retirement: Retirement = NEVER


@dataclass(slots=True)
class Change:
    """
    What a commit makes of a book: series and repositories as they are afterwards.

    ``counted_ms`` is when the events were counted whose ``exemplars`` these are, 0 where none was.
    ``new_counters`` is how many of the series are counters and histograms not there before.
    """

    series: dict[Series, SeriesState] = field(default_factory=dict)
    known: Mapping[Repository, Known] = field(default_factory=dict)
    exemplars: dict[Series, dict[int, Exemplar]] = field(default_factory=dict)
    counted_ms: int = 0
    new_counters: int = 0


class Book:
    """
    The series and repositories of a ledger, and how tallies change them.

    Nothing is changed before ``update``: the ledger first keeps the changes for good.
    ``journal`` takes note of them. ``counted_ms`` is the time of the newest exemplars; each
    commit's are later than those before.
    """

    def __init__(
        self,
        policy: Policy,
        series: dict[Series, SeriesState] | None = None,
        known: dict[Repository, Known] | None = None,
        journal: Journal | None = None,
        counted_ms: int = 0,
    ) -> None:
        self.series = {} if series is None else series
        self.known = {} if known is None else known
        self.journal = Journal() if journal is None else journal
        self.counted_ms = counted_ms
        self._policy = policy
        self._named = sum(known.active_ms > 0 for known in self.known.values())
        self._counters = sum(map(_is_counter, self.series))
        self._by_repository: defaultdict[Repository, list[Series]] | None = None

    def repositories(self) -> Repositories:
        """
        The repositories known, for a transaction to read and to change.
        """
        return Repositories(self.known, named=self._named, named_max=self._policy.repositories_max)

    def changed(
        self, tallies: Iterable[Tally], known: Mapping[Repository, Known], now_ms: int
    ) -> Change:
        """
        What some tallies and what they learnt change.

        Each tally is told how often a limit was hit for it.
        """
        before = self._returning(known, now_ms)
        totals: dict[Series, Total] = {}
        exemplars: dict[Series, dict[int, Exemplar]] = {}
        room = self._policy.series_max - self._counters
        left = room
        for tally in tallies:
            for wanted, added in tally.totals.items():
                series = wanted
                if left <= 0 and series not in totals and series not in self.series:
                    series = FAMILY[wanted.family].other()
                    tally.limit_hits += 1
                total = totals.get(series)
                if total is None:
                    if series not in before:
                        before[series] = self._before(series, now_ms)
                        left -= series not in self.series and _is_counter(series)
                    total = before[series].total
                totals[series] = FAMILY[series.family].sum(total, added)
                if told := tally.exemplars.get(wanted):
                    exemplars.setdefault(series, {}).update(told)
        change = Change(
            before | {one: SeriesState(total, *before[one][1:]) for one, total in totals.items()},
            known,
            new_counters=room - left,
        )
        if exemplars and self.counted_ms - now_ms <= AHEAD_MAX_MS:
            change.exemplars = exemplars
            change.counted_ms = max(now_ms, self.counted_ms + COUNTED_STEP_MS)
        return change

    def released(self, series: Collection[Series], now_ms: int) -> Change:
        """
        The release of those of some series that are held.
        """
        return Change(
            {
                one: self.series[one]._replace(released_ms=now_ms)
                for one in series
                if one in self.series and self.series[one].released_ms is None
            }
        )

    def update(self, change: Change) -> None:
        """
        Take over what the ledger has kept for good.
        """
        series, known = change.series, change.known
        self._counters += change.new_counters
        self._named += sum(
            new.active_ms > 0
            and not self.known.get(repository, new._replace(active_ms=0)).active_ms
            for repository, new in known.items()
        )
        if self._by_repository is not None:
            _sort_in(self._by_repository, (one for one in series if one not in self.series))
        self.series.update(series)
        self.known.update(known)
        self.counted_ms = max(self.counted_ms, change.counted_ms)
        self.journal.note(series, known, change.exemplars, change.counted_ms)

    def coming_back(self, before: Retirement, now_ms: int) -> Change:
        """
        The series that had left the page by another retirement, and are back by this one.
        """
        after = self._policy.retirement
        return Change(
            self._held(
                one
                for one, state in self.series.items()
                if (known := self.known.get(repository_in(one)))
                and before.hides(state, known, now_ms)
                and not after.hides(state, known, now_ms)
            )
        )

    def _returning(
        self, known: Mapping[Repository, Known], now_ms: int
    ) -> dict[Series, SeriesState]:
        """
        The series that come back to the page because of what is new of their repository.

        All of them are held, whichever it is that grows: another commit may add to the others
        before a scrape has seen them.
        """
        retirement = self._policy.retirement
        back = {
            repository: old
            for repository, new in known.items()
            if (old := self.known.get(repository))
            and retirement.is_over(old, now_ms)
            and not retirement.is_over(new, now_ms)
        }
        if not back:
            return {}
        if self._by_repository is None:  # where nothing ever comes back, this would be for nothing
            self._by_repository = defaultdict(list)
            _sort_in(self._by_repository, self.series)
        return self._held(
            one
            for repository, old in back.items()
            for one in self._by_repository[repository]
            if retirement.hides(self.series[one], old, now_ms)
        )

    def _held(self, series: Iterable[Series]) -> dict[Series, SeriesState]:
        """
        Some series, those that may be held at what they show now.
        """
        if not self._policy.hold:
            return {}
        return {
            one: self.series[one]._replace(released_ms=None, held=self.series[one].total)
            for one in series
            if _is_counter(one)
        }

    def _before(self, series: Series, now_ms: int) -> SeriesState:
        """
        A series as it is before something is added to it.
        """
        if state := self.series.get(series):
            return state
        zero = FAMILY[series.family].zero()
        holds = self._policy.hold and _is_counter(series)
        return SeriesState(zero, now_ms, None if holds else now_ms, zero)


def _is_counter(series: Series) -> bool:
    return FAMILY[series.family].kind is not Kind.GAUGE


def _sort_in(
    by_repository: defaultdict[Repository, list[Series]], series: Iterable[Series]
) -> None:
    for one in series:
        by_repository[repository_in(one)].append(one)
