"""
What the events of a log file add to the totals.

The story of counting, the same for every ledger:

1. All records of the file teach which repositories exist, before any is resolved.
2. Each event is looked up by all its ids and remembered under all of them.
3. A new event gets its repository and adds to its series; any other adds nothing.

What is remembered stands behind ``Memory``. A ledger gives one that belongs to the
transaction it commits, so that what is looked up, remembered and added is one fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from exporter.codecommit import Event, Repository
from exporter.families import (
    EVENT_DELIVERY,
    EVENT_ERRORS,
    EVENTS,
    FAMILY,
    LAST_EVENT,
    LAST_PUSH,
    PUSH_REFERENCES,
    PUSHES,
    REFERENCE_UPDATES,
    THOUSANDTHS,
    Family,
    Series,
    Total,
)
from exporter.notifications import LogFile

_ONE = Total(1)
FUTURE_MS_MAX = 15 * 60 * 1000
"""A time further ahead of the clock than this is a wrong one, and must not stick in a metric."""


class Sight(Enum):
    """
    What a memory says of an event it is shown.
    """

    NEW = "new"
    REPEATED = "repeated"
    LATE = "late"
    """Too old to be told from a repeat."""


class Memory(Protocol):
    """
    What has been seen before, as of the transaction at hand.
    """

    def learn(self, repositories: Iterable[Repository]) -> None:
        """
        Take note that these repositories exist. A second time changes nothing.
        """

    def knows(self, repository: Repository) -> bool:
        """
        Whether the repository has been learnt.
        """

    def see(self, event: Event) -> Sight:
        """
        Tell whether the event is new, and remember it; a second call answers REPEATED.
        """


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What was read from one log file, ready to be counted.

    ``delivered_ms`` is when the file was delivered, in milliseconds since 1970.
    """

    log_file: LogFile
    delivered_ms: int | None
    events: tuple[Event, ...]


@dataclass(slots=True)
class Tally:
    """
    What one reading adds: totals by series, and which of its events were new.
    """

    totals: dict[Series, Total] = field(default_factory=dict)
    counted: list[Event] = field(default_factory=list)
    repeated: int = 0
    late: int = 0

    def add(self, series: Series, total: Total) -> None:
        """
        Add to one series.
        """
        known = self.totals.get(series)
        self.totals[series] = FAMILY[series.family].sum(known, total) if known else total


def tally(reading: Reading, memory: Memory, now_ms: int) -> Tally:
    """
    Count one reading's events, each exactly once for as long as the memory lasts.
    """
    memory.learn({repository for event in reading.events for repository in event.shows})
    result = Tally()
    for event in reading.events:
        sight = memory.see(event)
        if sight is Sight.NEW:
            result.counted.append(event)
            for series, total in _additions(event, _repository(event, memory), reading, now_ms):
                result.add(series, total)
        elif sight is Sight.REPEATED:
            result.repeated += 1
        else:
            result.late += 1
    return result


def _repository(event: Event, memory: Memory) -> Repository:
    """
    The repository an event counts for: the one it names, unless only a stranger names it.
    """
    if event.proven or not event.repository.name or memory.knows(event.repository):
        return event.repository
    return event.repository._replace(name="")


def _additions(
    event: Event, repository: Repository, reading: Reading, now_ms: int
) -> Iterator[tuple[Series, Total]]:
    """
    Everything a new event adds, family by family.
    """
    labels = (*repository, event.action, event.protocol, event.data_transferred)
    yield _series(EVENTS, labels), _ONE
    if event.time_ms is not None and reading.delivered_ms is not None:
        delay_ms = max(0, reading.delivered_ms - event.time_ms)
        yield _series(EVENT_DELIVERY, labels), EVENT_DELIVERY.observed(delay_ms)
    if event.error_code:
        yield _series(EVENT_ERRORS, (*repository, event.action, event.error_code)), _ONE
    moment = _gauge_ms(event, now_ms)
    if moment is not None:
        yield _series(LAST_EVENT, (*repository, event.action)), Total(moment)
    if event.is_push:
        yield from _push_additions(event, repository, moment)


def _push_additions(
    event: Event, repository: Repository, moment: int | None
) -> Iterator[tuple[Series, Total]]:
    labels = (*repository, event.protocol)
    yield _series(PUSHES, labels), _ONE
    if moment is not None:
        yield _series(LAST_PUSH, tuple(repository)), Total(moment)
    if event.references is not None:
        references = len(event.references) * THOUSANDTHS
        yield _series(PUSH_REFERENCES, labels), PUSH_REFERENCES.observed(references)
        for reference in event.references:
            yield _series(REFERENCE_UPDATES, (*repository, *reference)), _ONE


def _gauge_ms(event: Event, now_ms: int) -> int | None:
    """
    The event's time if it may become a gauge: a wrong clock far ahead must not stick.
    """
    if event.time_ms is None or event.time_ms > now_ms + FUTURE_MS_MAX:
        return None
    return event.time_ms


def _series(family: Family, labels: tuple[str, ...]) -> Series:
    return Series(family.name, labels)
