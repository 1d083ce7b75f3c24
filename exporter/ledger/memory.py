"""
A ledger that forgets at exit: for trying things out, for scans and for tests.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from uuid import uuid4

from exporter.codecommit import IdKind, Repository, Subject
from exporter.families import Series, SeriesState
from exporter.journal import Journal
from exporter.knowledge import Known, Learnt, Rename, Renames, Repositories, Sight
from exporter.ledger.book import Book, Policy
from exporter.tally import Reading, Tally, tally


class MemoryLedger:
    """
    Remembers every event for as long as the process lives, whatever its age.
    """

    def __init__(
        self, policy: Policy | None = None, *, now: Callable[[], float] = time.time
    ) -> None:
        self._now = now
        self._identity = str(uuid4())
        self._book = Book(policy or Policy())
        self._memory = DictMemory(self._book.repositories())

    @property
    def series(self) -> Mapping[Series, SeriesState]:
        return self._book.series

    @property
    def known(self) -> Mapping[Repository, Known]:
        return self._book.known

    @property
    def journal(self) -> Journal:
        return self._book.journal

    @property
    def identity(self) -> str:
        return self._identity

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
        self._memory.repositories = self._book.repositories()
        result = tally(reading, self._memory, now_ms)
        known = self._memory.repositories.changed
        self._book.update(self._book.changed([result], known, now_ms))
        return result

    async def commit(self, reading: Reading) -> Tally:
        return self.count(reading)

    async def release(self, series: Collection[Series]) -> None:
        self._book.update(self._book.released(series, self._now_ms()))

    async def close(self) -> None:
        pass

    def _now_ms(self) -> int:
        return round(self._now() * 1000)


class DictMemory:
    """
    What the ledger remembers, in dictionaries.
    """

    def __init__(self, repositories: Repositories) -> None:
        self.repositories = repositories
        self.renames = Renames()
        self._seen: set[bytes] = set()
        self._learnt: dict[Subject, Learnt] = {}
        self._ids_told = defaultdict[Repository, set[Subject]](set)

    def see(self, ids: tuple[bytes, ...], time_ms: int | None) -> Sight:  # noqa: ARG002 - nothing here gets old
        new = self._seen.isdisjoint(ids)
        self._seen.update(ids)
        return Sight.NEW if new else Sight.REPEATED

    def keep_rename(self, rename: Rename) -> None:
        self.renames.keep(rename)

    def learnt(self, subject: Subject) -> Learnt | None:
        return self._learnt.get(subject)

    def keep_learnt(self, subject: Subject, learnt: Learnt) -> None:
        if subject.kind is IdKind.REPOSITORY:
            if old := self._learnt.get(subject):
                self._ids_told[subject.repository(old.repository)].discard(subject)
            self._ids_told[subject.repository(learnt.repository)].add(subject)
        self._learnt[subject] = learnt

    def repository_ids(self, repository: Repository) -> Iterable[tuple[Subject, Learnt]]:
        subjects = self._ids_told.get(repository, set())
        return [(subject, self._learnt[subject]) for subject in subjects]
