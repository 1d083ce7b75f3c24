"""
The ledger: what has been counted, so that it is counted once.

Rules, for every ledger:

1. One commit holds an event's ids, what they taught and what they added. Either all of
   it is there afterwards or nothing.
2. What ``series`` shows has been committed. A commit that fails changes nothing.
3. A series is born held and is released by a commit of its own; see ``metrics`` for what
   a held series shows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from exporter.families import FAMILY, Kind, Series, SeriesState
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
    def repositories(self) -> int:
        """
        How many repositories are known.
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


def changed_series(
    known: Mapping[Series, SeriesState],
    tallies: Iterable[Tally],
    *,
    now_ms: int,
    hold: bool,
) -> dict[Series, SeriesState]:
    """
    The series that some tallies change, as they are afterwards.

    With ``hold`` a new counter or histogram is born held. A gauge never is: its value means
    something by itself, while a counter's first value is seen only as a difference.
    """
    changed: dict[Series, SeriesState] = {}
    for tally in tallies:
        for series, total in tally.totals.items():
            family = FAMILY[series.family]
            state = changed.get(series) or known.get(series)
            if state is None:
                held = hold and family.kind is not Kind.GAUGE
                state = SeriesState(family.zero(), now_ms, None if held else now_ms)
            changed[series] = state._replace(total=family.sum(state.total, total))
    return changed


def released_series(
    known: Mapping[Series, SeriesState], series: Collection[Series], *, now_ms: int
) -> dict[Series, SeriesState]:
    """
    Those of some series that are held, as they are once released.
    """
    return {
        one: known[one]._replace(released_ms=now_ms)
        for one in series
        if one in known and known[one].released_ms is None
    }
