"""
The ledger: what has been counted, so that it is counted once.

Rules, for every ledger:

1. One commit holds an event's ids, what they taught and what they added. Either all of
   it is there afterwards or nothing.
2. What ``series`` shows has been committed. A commit that fails changes nothing.
3. A series is born held and is released by a commit of its own; see ``book`` for what
   a held series shows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from exporter.codecommit import Repository
from exporter.families import Series, SeriesState
from exporter.journal import Journal
from exporter.knowledge import Known
from exporter.tally import Reading, Tally


class Ledger(Protocol):
    """
    Remembers events and keeps totals.
    """

    @property
    def series(self) -> Mapping[Series, SeriesState]:
        """
        Every committed series. The mapping is alive: read it between two awaits.
        """

    @property
    def known(self) -> Mapping[Repository, Known]:
        """
        Every repository known, deleted ones too. The mapping is alive, as that of series.
        """

    @property
    def journal(self) -> Journal:
        """
        What has changed. Where ``series`` is another mapping than before, everything may have.
        """

    @property
    def identity(self) -> str:
        """
        The ledger's own id, a UUID, which its copies and backups share and no other ledger has.
        """

    @property
    def bytes(self) -> int:
        """
        How much room the ledger takes where it is kept.
        """

    @property
    def writable(self) -> bool:
        """
        Whether the last attempt to write succeeded.
        """

    async def commit(self, reading: Reading) -> Tally:
        """
        Count one reading's events and keep the result. A second time adds nothing.

        Raises:
            LedgerUnavailable: Nothing was kept; the same reading may be tried again.
        """

    async def release(self, series: Collection[Series]) -> None:
        """
        End the hold of these series for good. A second time changes nothing.

        Raises:
            LedgerUnavailable: They are still held.
        """

    async def close(self) -> None:
        """
        Finish what is under way and let go. A second call does nothing.
        """
