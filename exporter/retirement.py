"""
Which series leave the page, although the ledger keeps them.

Rules:

1. A series leaves once its repository has had no event for long enough. One of a deleted
   repository need not wait as long: nothing more is going to happen there.
2. None leaves before it has shown its value for as long: what Prometheus has not seen must
   not be hidden from it.
3. What left by a clock that was ahead is back once the clock is.
4. A series that comes back first shows what it showed when it left; see ``ledger.book``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exporter.codecommit import Repository
from exporter.families import Series, SeriesState
from exporter.knowledge import Known

DELETED_MS = 3600 * 1000


@dataclass(frozen=True, slots=True)
class Retirement:
    """
    After how many milliseconds without an event series leave the page; 0 for never.
    """

    after_ms: int = 0

    def hides(self, state: SeriesState, known: Known | None, now_ms: int) -> bool:
        """
        Whether a series has left the page, given what is known of its repository.
        """
        if state.released_ms is None or known is None:
            return False
        return self.is_over(known, now_ms) and now_ms - state.released_ms >= self._wait_ms(known)

    def is_over(self, known: Known, now_ms: int) -> bool:
        """
        Whether a repository has been without events for long enough.
        """
        was_active = self.after_ms > 0 and known.active_ms > 0
        return was_active and now_ms - known.active_ms >= self._wait_ms(known)

    def _wait_ms(self, known: Known) -> int:
        return min(self.after_ms, DELETED_MS) if known.is_deleted else self.after_ms


NEVER = Retirement()


class Retired:
    """
    What has left a page, which looks at the clock now and then.
    """

    def __init__(self, retirement: Retirement) -> None:
        self._retirement = retirement
        self._on_page: defaultdict[Repository, set[Series]] = defaultdict(set)
        self._gone: dict[Repository, set[Series]] = {}
        self._looked_ms = 0

    def __contains__(self, one: Series) -> bool:
        return one in self._gone.get(repository_in(one), ())

    def has(self, repository: Repository) -> bool:
        """
        Whether a repository's time is over, though some of its series may still be there.
        """
        return repository in self._gone

    def show(self, one: Series) -> None:
        """
        Take note that a series is on the page.
        """
        if self._retirement.after_ms:
            repository = repository_in(one)
            self._on_page[repository].add(one)
            self._gone.get(repository, set()).discard(one)

    def bring_back(self, repository: Repository) -> set[Series]:
        """
        Take note that a repository is on the page again; the series that are so with it.
        """
        back = self._gone.pop(repository, set())
        self._on_page[repository] |= back
        return back

    def undone(self, now_ms: int) -> list[Repository]:
        """
        The repositories that left by a clock that was ahead, as may be all that did.
        """
        was_ahead = now_ms < self._looked_ms
        self._looked_ms = now_ms
        return list(self._gone) if was_ahead else []

    def leave(
        self,
        known: Mapping[Repository, Known],
        series: Mapping[Series, SeriesState],
        now_ms: int,
    ) -> Iterator[tuple[Repository, set[Series]]]:
        """
        The repositories whose time is over, each with the series that leave the page now.
        """
        if not self._retirement.after_ms:
            return
        for repository, its in known.items():
            if self._retirement.is_over(its, now_ms):
                leaving = {
                    one
                    for one in self._on_page.get(repository, ())
                    if self._retirement.hides(series[one], its, now_ms)
                }
                if leaving or repository not in self._gone:
                    self._gone.setdefault(repository, set()).update(leaving)
                    self._on_page[repository] -= leaving
                    yield repository, leaving


def repository_in(series: Series) -> Repository:
    """
    The repository that a series' labels name; its name may be empty.
    """
    return Repository(*series.labels[:3])
