"""
What the events of a log file add to the totals.

The story of counting, the same for every ledger:

1. All records of the file teach before any is resolved; see ``knowledge``.
2. Each event is looked up by all its ids and remembered under all of them.
3. A new event gets its repository and adds to its series; any other adds nothing.

What is remembered stands behind ``Memory``. A ledger gives one that belongs to the
transaction it commits, so that what is looked up, remembered and added is one fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from exporter.codecommit import Event, PullRequestStep, Repository
from exporter.families import (
    CALLER_EVENTS,
    EVENT_DELIVERY,
    EVENT_ERRORS,
    EVENTS,
    FAMILY,
    KMS_REQUESTS,
    LAST_EVENT,
    LAST_PUSH,
    OTHER,
    PULL_REQUEST_EVENTS,
    PULL_REQUEST_OPEN,
    PUSH_REFERENCES,
    PUSHES,
    REFERENCE_UPDATES,
    THOUSANDTHS,
    Exemplar,
    Kind,
    Series,
    Total,
)
from exporter.kms import KmsRequest
from exporter.knowledge import (
    Memory,
    Sight,
    created_ms,
    first_learnt,
    is_on_pull_request,
    learn,
    repository_of,
)
from exporter.notifications import LogFile
from exporter.timestamps import usable_ms

_ONE = Total(1)
_ENDS = {PullRequestStep.MERGED, PullRequestStep.CLOSED}

_GAUGE = Kind.GAUGE

Addition = tuple[Series, Total]


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What was read from one log file, or from a message itself, ready to be counted.

    ``log_file`` is None where the message held the record. ``delivered_ms`` is when it was
    delivered, in milliseconds since 1970.
    """

    log_file: LogFile | None
    delivered_ms: int | None
    events: tuple[Event, ...] = ()
    kms_requests: tuple[KmsRequest, ...] = ()

    @property
    def is_empty(self) -> bool:
        """
        Whether there is nothing to count.
        """
        return not self.events and not self.kms_requests


@dataclass(slots=True)
class Tally:
    """
    What one reading adds: totals by series, and which of its events were new.

    ``exemplars`` has, of each counter's and bucket's events, the last that is known by a UUID.
    ``repeated`` and ``late`` count KMS requests as well. ``limit_hits`` counts what went to
    a label ``(other)`` because there are too many repositories or series.
    """

    totals: dict[Series, Total] = field(default_factory=dict)
    exemplars: dict[Series, dict[int, Exemplar]] = field(default_factory=dict)
    counted: list[Event] = field(default_factory=list)
    kms_requests: int = 0
    repeated: int = 0
    late: int = 0
    limit_hits: int = 0

    def add(self, additions: Iterable[Addition], event_id: str) -> None:
        """
        Add what one event adds to some series.
        """
        totals = self.totals
        for series, total in additions:
            family = FAMILY[series.family]
            known = totals.get(series)
            totals[series] = family.sum(known, total) if known else total
            if event_id and family.kind is not _GAUGE:
                bucket = total.buckets.index(1) if total.buckets else 0
                exemplars = self.exemplars.get(series)
                if exemplars is None:
                    exemplars = self.exemplars[series] = {}
                exemplars[bucket] = Exemplar(event_id, total.amount)

    def is_new(self, sight: Sight) -> bool:
        """
        Take note of what a memory said, and tell whether it means counting.
        """
        self.repeated += sight is Sight.REPEATED
        self.late += sight is Sight.LATE
        return sight is Sight.NEW


def tally(reading: Reading, memory: Memory, now_ms: int) -> Tally:
    """
    Count what one reading holds, each event exactly once for as long as the memory lasts.
    """
    learn(reading.events, memory, now_ms)
    result = Tally()
    for event in reading.events:
        if result.is_new(memory.see(event.ids, event.time_ms)):
            result.counted.append(event)
            repository = _named(repository_of(event, memory), memory, result, now_ms)
            result.add(_additions(event, repository, reading, memory, now_ms), event.event_id)
    for request in reading.kms_requests:
        if result.is_new(memory.see(request.ids, request.time_ms)):
            result.kms_requests += 1
            repository = first_learnt(request.subjects, memory) or request.repository
            repository = _named(repository, memory, result, now_ms)
            labels = (*repository, request.action, request.error_code)
            result.add([(Series(KMS_REQUESTS.name, labels), _ONE)], request.event_id)
    return result


def _named(repository: Repository, memory: Memory, result: Tally, now_ms: int) -> Repository:
    """
    The repository as labels name it.
    """
    if not repository.name or memory.repositories.name(repository, now_ms):
        return repository
    result.limit_hits += 1
    return repository._replace(name=OTHER)


def _additions(
    event: Event, repository: Repository, reading: Reading, memory: Memory, now_ms: int
) -> Iterator[Addition]:
    """
    Everything a new event adds, family by family.
    """
    labels = (*repository, event.action, event.protocol, event.data_transferred)
    yield Series(EVENTS.name, labels), _ONE
    yield Series(CALLER_EVENTS.name, (*repository, *event.caller)), _ONE
    if event.error_code:
        yield Series(EVENT_ERRORS.name, (*repository, event.action, event.error_code)), _ONE
    moment = usable_ms(event.time_ms, now_ms)
    if moment is not None and reading.delivered_ms is not None:
        delay_ms = max(0, reading.delivered_ms - moment)
        yield Series(EVENT_DELIVERY.name, labels), EVENT_DELIVERY.observed(delay_ms)
    if moment is not None:
        yield Series(LAST_EVENT.name, (*repository, event.action)), Total(moment)
    if event.is_push:
        yield from _push_additions(event, repository, moment)
    step = event.pull_request_step
    if step and (not event.is_reply or is_on_pull_request(event, memory)):
        open_ms = _open_ms(moment, created_ms(event, memory))
        yield from _pull_request_additions(step, repository, open_ms)


def _push_additions(event: Event, repository: Repository, moment: int | None) -> Iterator[Addition]:
    labels = (*repository, event.protocol)
    yield Series(PUSHES.name, labels), _ONE
    if moment is not None:
        yield Series(LAST_PUSH.name, tuple(repository)), Total(moment)
    if event.references is not None:
        references = len(event.references) * THOUSANDTHS
        yield Series(PUSH_REFERENCES.name, labels), PUSH_REFERENCES.observed(references)
        for reference in event.references:
            yield Series(REFERENCE_UPDATES.name, (*repository, *reference)), _ONE


def _open_ms(moment: int | None, created: int) -> int | None:
    """
    How long a pull request has been open; None where its creation or the event's time is unknown.
    """
    return max(0, moment - created) if created and moment is not None else None


def _pull_request_additions(
    step: PullRequestStep, repository: Repository, open_ms: int | None
) -> Iterator[Addition]:
    labels = (*repository, step)
    yield Series(PULL_REQUEST_EVENTS.name, labels), _ONE
    if step in _ENDS and open_ms is not None:
        yield Series(PULL_REQUEST_OPEN.name, labels), PULL_REQUEST_OPEN.observed(open_ms)
