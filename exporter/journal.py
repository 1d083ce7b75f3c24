"""
What has changed in a ledger since somebody last looked: the page, which need not look at all.

Rules:

1. A journal has one reader, who empties it.
2. It is bounded by what the ledger holds: a series that changes twice is in it once.
3. Exemplars are told here, and the ledger does not keep them. They are no part of what is
   counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from exporter.codecommit import Repository
from exporter.families import Exemplar, Exemplars, Series


class Counted(NamedTuple):
    """
    An exemplar, and when its event was counted, in milliseconds since 1970.
    """

    exemplar: Exemplar
    counted_ms: int


NO_EXEMPLARS: Mapping[int, Counted] = {}


class Entries(NamedTuple):
    """
    What a journal held: series with their new exemplars by bucket, and repositories.
    """

    series: Mapping[Series, Mapping[int, Counted]]
    repositories: Collection[Repository]


class Journal:
    """
    Takes note of series and repositories that change.
    """

    def __init__(self) -> None:
        self._series: dict[Series, Mapping[int, Counted]] = {}
        self._repositories: set[Repository] = set()

    def note(
        self,
        series: Iterable[Series],
        repositories: Iterable[Repository] = (),
        exemplars: Mapping[Series, Exemplars] | None = None,
        counted_ms: int = 0,
    ) -> None:
        """
        Take note of what a commit has changed, with the exemplars it has brought.
        """
        for one in series:
            self._series.setdefault(one, NO_EXEMPLARS)
        for one, buckets in (exemplars or {}).items():
            new = {bucket: Counted(exemplar, counted_ms) for bucket, exemplar in buckets.items()}
            self._series[one] = {**self._series.get(one, NO_EXEMPLARS), **new}
        self._repositories.update(repositories)

    def take(self) -> Entries:
        """
        What has been noted since the last time.
        """
        entries = Entries(self._series, self._repositories)
        self._series, self._repositories = {}, set()
        return entries
