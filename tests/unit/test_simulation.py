"""
Each event is counted exactly once, whatever becomes of the program and of what is around it.

The program's own consumer, queue, pipeline, objects and ledger run on virtual time in a world
where everything goes wrong that is known to. ``RUNS=10000`` makes the simulation a long one,
of other runs each time; without it, its runs are always the same.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from exporter.families import EVENTS, FAMILY, Kind, Series
from exporter.logs import LOG
from tests import records
from tests.world import (
    DAY,
    SHARED_MEMORY,
    VISIBILITY_SECONDS,
    WINDOW_SECONDS,
    Event,
    Fault,
    Kept,
    Mail,
    SeriesKey,
    Stored,
    Way,
    World,
)

RUNS = int(os.environ.get("RUNS", "300"))
BATCH = 500
"""How many runs hypothesis is told of at once: it remembers all of them."""
LIVE_SECONDS_MAX = 100.0
"""How much of a longer wait the program lives through; for the rest its machine sleeps."""
SETTLE_SECONDS = 100.0
SETTLE_ROUNDS = 200
LATE = "codecommit_exporter_late_events_total"
REFUSED = "codecommit_exporter_refused_total"


class Copy(StrEnum):
    """
    How CloudTrail may tell of an event once more.
    """

    SAME = "the same record in another log file"
    OTHER_ACCOUNT = "a record of another account with the same sharedEventID"
    ADDENDUM = "an addendum with the event's originalEventID"


class Input(StrEnum):
    """
    What the program is given beside log files that are as they should be.
    """

    REPEATED = "an event is told more than once"
    ANNOUNCED_TWICE = "a log file is announced twice"
    OLD = "an event is older than the window"
    BAD = "something cannot be read"
    CLOCK_AHEAD = "the wall clock jumps ahead"
    CLOCK_BACK = "the wall clock jumps back"
    FORGOTTEN = "the ledger forgets a period"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """
    An event as it happened, in whole seconds since 1970.
    """

    number: int
    seconds: int

    @property
    def repository(self) -> str:
        """
        The repository that has this event alone, so that its series tell how often it counted.
        """
        return f"repository-{self.number}"

    def record(self, copy: Copy, copies: int) -> records.Record:
        """
        What CloudTrail writes of it, having written of it so many times.
        """
        original, shared = UUID(int=1000 * self.number), UUID(int=1000 * self.number + 1)
        fields: records.Record = {"eventID": str(original)}
        if copy is not Copy.SAME:
            fields = {"eventID": str(UUID(int=original.int + 2 + copies))}
        if copy is Copy.OTHER_ACCOUNT:
            fields["recipientAccountId"] = "567856785678"
        if copy is Copy.ADDENDUM:
            fields["addendum"] = {"reason": "DELIVERY_DELAY", "originalEventID": str(original)}
        return records.api_call(
            "PutFile",
            self.repository,
            eventTime=datetime.fromtimestamp(self.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            requestID=str(original),
            sharedEventID=str(shared),
            **fields,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """
    A log file to be delivered: with new events, and others again, counted around their number.
    """

    new: int
    again: tuple[tuple[int, Copy], ...] = ()
    seconds_to_appear: int = 0
    seconds_to_be_readable: int = 0
    is_large: bool = False


PLANS = st.builds(
    Plan,
    new=st.integers(0, 3),
    again=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(Copy)), max_size=2).map(tuple),
    seconds_to_appear=st.sampled_from([0, 0, 0, 0, 0, 90, 3000]),
    seconds_to_be_readable=st.sampled_from([0, 0, 0, 0, 0, 90, 3000]),
    is_large=st.sampled_from([False] * 9 + [True]),
)

FAULTS = [
    ("ReceiveMessage", Fault.UNREACHABLE),
    ("ReceiveMessage", Fault.UNAVAILABLE),
    ("ReceiveMessage", Fault.THROTTLED),
    ("ReceiveMessage", Fault.ANSWER_LOST),
    ("ReceiveMessage", Fault.NOT_HIDDEN),
    ("DeleteMessageBatch", Fault.UNREACHABLE),
    ("DeleteMessageBatch", Fault.UNAVAILABLE),
    ("DeleteMessageBatch", Fault.ANSWER_LOST),
    ("DeleteMessageBatch", Fault.ENTRY_FAILED),
    ("DeleteMessageBatch", Fault.COMES_BACK),
    ("ChangeMessageVisibilityBatch", Fault.UNAVAILABLE),
    ("ChangeMessageVisibilityBatch", Fault.ANSWER_LOST),
    ("GetObject", Fault.UNREACHABLE),
    ("GetObject", Fault.UNAVAILABLE),
    ("GetObject", Fault.THROTTLED),
    ("GetObject", Fault.ANSWER_LOST),
    ("GetObject", Fault.CUT),
    ("GetObject", Fault.SLOW),
]


class Simulation(RuleBasedStateMachine):
    """
    One run: a world, what happens in it, and what is true all the while.
    """

    met: ClassVar = Counter[StrEnum]()
    """What all runs have met."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(dir=SHARED_MEMORY)
        self._occurrences: list[Occurrence] = []
        self._copies = Counter[int]()
        self._files: dict[str, frozenset[int]] = {}
        self._bad: set[str] = set()
        self._kept: dict[SeriesKey, Kept] = {}
        self._shown: dict[Series, int] = {}
        self._periods: set[str] = set()
        self._wrong: list[str] = []

    @initialize(seed=st.integers(0, 1000), days=st.sampled_from([0, 1, 30]))
    def begin(self, seed: int, days: int) -> None:
        """
        The ledger is born, and after some days there is something for it to count.
        """
        self.world = World(Path(self._folder.name), seed)
        self.world.sqs.on_deletion = self._check_deletion
        self.world.run_for(1)
        self._born = self.world.clock()
        self.world.clock.seconds += days * DAY
        self._latest = self.world.wall_clock()

    # What is delivered.

    @rule(
        plans=st.lists(PLANS, min_size=1, max_size=3),
        age=st.sampled_from([5, 5, 300, 3600, round(DAY), round(WINDOW_SECONDS - DAY / 4)]),
        times=st.sampled_from([1, 1, 1, 2]),
    )
    def deliver(self, plans: list[Plan], age: int, times: int) -> None:
        """
        Log files are delivered, announced in one message, or in two of the same.
        """
        keys = [self._put(plan, age) for plan in plans]
        for _ in range(times):
            self.world.announce(*keys)
        self.met[Input.ANNOUNCED_TWICE] += times > 1

    @rule(age=st.sampled_from([WINDOW_SECONDS + DAY, 2 * WINDOW_SECONDS, 5 * WINDOW_SECONDS]))
    def deliver_old(self, age: float) -> None:
        """
        An event is told long after it happened; maybe the ledger was not even there.
        """
        self.met[Input.OLD] += 1
        self.world.announce(self._put(Plan(new=1), round(age)))

    @rule(number=st.integers(0, 30), copy=st.sampled_from(Copy))
    def deliver_again(self, number: int, copy: Copy) -> None:
        """
        An event is told again, however long it was counted ago.
        """
        self.world.announce(self._put(Plan(new=0, again=((number, copy),)), 0))

    @rule(days=st.sampled_from([9, 20, 50]))
    def let_the_ledger_forget(self, days: int) -> None:
        """
        So much time passes that the ledger forgets some of it with the next new event.
        """
        self.world.run_for(5)
        self.world.clock.seconds += days * DAY
        self.world.announce(self._put(Plan(new=1), 5))
        self.world.run_for(5)

    @rule(
        plans=st.lists(PLANS, max_size=2), content=st.sampled_from([b"", b"{}", b"\x1f\x8b", None])
    )
    def deliver_bad(self, plans: list[Plan], content: bytes | None) -> None:
        """
        A log file that cannot be read, or will never be there, is announced with good ones.
        """
        self.met[Input.BAD] += 1
        key = f"bad-{len(self._files)}.json.gz"
        self._bad.add(key)
        self._files[key] = frozenset()
        if content is not None:
            self.world.objects[key] = Stored(content)
        self.world.announce(key, *(self._put(plan, 5) for plan in plans))

    @rule()
    def deliver_what_is_not_counted(self) -> None:
        """
        Files of other services are announced, and nobody looks at them.
        """
        self.world.announce(f"AWSLogs/{records.OWNER}/Config/{records.REGION}/1.json.gz")

    @rule(fault=st.sampled_from(FAULTS), times=st.sampled_from([1, 1, 1, 3]), plan=PLANS)
    def go_wrong(self, fault: tuple[str, Fault], times: int, plan: Plan) -> None:
        """
        Something is wrong with the next calls of AWS, while there is work.
        """
        for _ in range(times):
            self.world.go_wrong(*fault)
            self.world.announce(self._put(plan, 5))
        self.world.run_for(3)

    @rule()
    def redrive(self) -> None:
        """
        Somebody has the dead-letter queue's messages tried again.
        """
        self.world.sqs.redrive()

    # What becomes of the machine.

    @rule(seconds=st.sampled_from([1, 3, 20, 90, 600, DAY / 2, DAY, 8 * DAY]))
    def wait(self, seconds: float) -> None:
        """
        Time passes.
        """
        live = min(seconds, LIVE_SECONDS_MAX)
        self.world.run_for(live / 2)
        self.world.clock.seconds += seconds - live
        self.world.run_for(live / 2)

    @rule(
        days=st.sampled_from([0, 0, 0.1, 3, 20, 400, 4000, -0.1, -3, -20, -400, -4000]),
        number=st.integers(0, 30),
    )
    def set_clock(self, days: float, number: int) -> None:
        """
        The machine's wall clock is set, rightly or wrongly; then old and new events are told.
        """
        before, self.world.clock_error = self.world.clock_error, days * DAY
        self.met[Input.CLOCK_AHEAD] += self.world.clock_error > before
        self.met[Input.CLOCK_BACK] += self.world.clock_error < before
        self.world.announce(self._put(Plan(new=1, again=((number, Copy.SAME),)), 5))
        self.world.run_for(3)

    @rule(seconds=st.sampled_from([10, 90, 3600]))
    def fill_disk(self, seconds: int) -> None:
        """
        The disk is full for a while.
        """
        self.world.disk.full_until = self.world.clock() + seconds

    @rule(number=st.integers(1, 60))
    def fail_ledger(self, number: int) -> None:
        """
        One call of SQLite fails.
        """
        self.world.crossings.choose(Way.SQLITE, number, crash=False)
        self.world.run_for(20)

    @rule(
        way=st.sampled_from(Way),
        number=st.integers(1, 150),
        down=st.sampled_from([0, 30, 3600]),
        plan=PLANS,
    )
    def crash(self, way: Way, number: int, down: int, plan: Plan) -> None:
        """
        The process ends, in the midst of what it does or once it has nothing left to do.
        """
        self.world.announce(self._put(plan, 5))
        self.world.crossings.choose(way, number, crash=True)
        self.world.process.run_for(20)
        self.world.crossings.forgo()
        self.world.kill(down)

    @rule()
    def stop(self) -> None:
        """
        The process is told to stop; another one follows it.
        """
        self.world.run_for(0.2)
        self.world.stop()

    # What is true all the while.

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        if not hasattr(self, "world"):
            return
        self._latest = max(self._latest, self.world.wall_clock())
        kept = self.world.process.kept()
        counted = self._counted()

        assert [] == self._wrong
        assert [] == [number for number, times in counted.items() if times > 1]
        assert set() == set(counted) - self._readable
        if kept:
            self._compare(kept)
            self._compare_shown()

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self._settle()
                self.met.update(self.world.met)
        finally:
            if hasattr(self, "world"):
                self.world.close()
            self._folder.cleanup()

    def _settle(self) -> None:
        """
        All faults end, and everything comes out right.
        """
        self.nothing_is_counted_twice()
        self.world.mend()
        for _ in range(SETTLE_ROUNDS):
            self.world.sqs.redrive()
            self.world.run_for(SETTLE_SECONDS)
            if not self._hopeful() and not self._missing():
                break
        self.world.stop()
        self.nothing_is_counted_twice()
        uncounted = self._readable - set(self._counted())

        assert [] == self._hopeful()
        assert [] == self._missing()
        assert len(uncounted) <= self.world.told[LATE]
        if not any(map(self._may_be_late, self._readable)):
            assert self.world.told[LATE] == 0
        assert bool(self._bad_contents()) == bool(self.world.told[REFUSED])

    def _put(self, plan: Plan, age: int) -> str:
        """
        Put a log file into the bucket and return its key.
        """
        key = f"file-{len(self._files)}.json.gz"
        told = len(self._occurrences)
        again = [(number % told, copy) for number, copy in plan.again if told]
        written = [self._record(*one) for one in again]
        for _ in range(plan.new):
            number = len(self._occurrences)
            self._occurrences.append(Occurrence(number, round(self.world.clock()) - age))
            written.append(self._record(number, Copy.SAME))
            again.append((number, Copy.SAME))
        text = records.text(*written) + " " * (1_100_000 if plan.is_large else 0)
        now = self.world.clock()
        self.world.objects[key] = Stored(
            records.log_file(text), now + plan.seconds_to_appear, now + plan.seconds_to_be_readable
        )
        self._files[key] = frozenset(number for number, _ in again)
        return key

    def _record(self, number: int, copy: Copy) -> records.Record:
        self.met[Input.REPEATED] += self._copies[number] > 0
        self._copies[number] += 1
        return self._occurrences[number].record(copy, self._copies[number])

    @property
    def _readable(self) -> set[int]:
        """
        The events of all log files that have been announced and are good.
        """
        return set().union(*self._files.values())

    def _counted(self) -> dict[int, int]:
        """
        How often each event has been counted, by the ledger's file.
        """
        counted = Counter[int]()
        for (family, labels), kept in self.world.process.kept().items():
            if family == EVENTS.name:
                counted[int(json.loads(labels)[2].removeprefix("repository-"))] += kept.amount
        return counted

    def _may_be_late(self, number: int) -> bool:
        """
        Whether the ledger may have forgotten the time of an event.
        """
        newest = max(occurrence.seconds for occurrence in self._occurrences)
        floor = min(self._latest, newest) - WINDOW_SECONDS
        return self._born - 1 <= self._occurrences[number].seconds < floor

    def _hopeful(self) -> list[str]:
        """
        Messages that are still there although all they announce can be read.
        """
        mails = [*self.world.sqs.messages.values(), *self.world.sqs.dead.values()]
        return [mail.message_id for mail in mails if self._bad.isdisjoint(mail.keys)]

    def _missing(self) -> list[int]:
        """
        Events that ought to have been counted in the end, and have not been.
        """
        uncounted = self._readable - set(self._counted())
        return [number for number in uncounted if not self._may_be_late(number)]

    def _bad_contents(self) -> Iterable[str]:
        return self._bad & self.world.objects.keys()

    def _check_deletion(self, mail: Mail) -> None:
        """
        A message is being deleted: what it announced is in the ledger's file, or too late for it.
        """
        self._latest = max(self._latest, self.world.wall_clock())
        counted = self._counted()
        events = set().union(*(self._files.get(key, frozenset()) for key in mail.keys))
        lost = [one for one in events if one not in counted and not self._may_be_late(one)]
        if lost or not self._bad.isdisjoint(mail.keys):
            self._wrong.append(f"{mail.message_id} is deleted before {lost or 'it was read'}")

    def _compare(self, kept: Mapping[SeriesKey, Kept]) -> None:
        """
        Totals only grow, those of processes that follow each other too.
        """
        for series, before in self._kept.items():
            after = kept[series]
            assert before.amount <= after.amount
            if before.buckets != after.buckets:
                both = zip(json.loads(before.buckets), json.loads(after.buckets), strict=True)
                assert all(one <= other for one, other in both)
        self._kept = dict(kept)
        periods = self.world.process.periods()
        self.met[Input.FORGOTTEN] += not self._periods <= periods
        self._periods = periods

    def _compare_shown(self) -> None:
        """
        What is shown is in the file, and only grows as well.
        """
        for series, state in self.world.process.series.items():
            assert state.total.amount <= self._kept[series.family, json.dumps(series.labels)].amount
            if FAMILY[series.family].kind is not Kind.GAUGE:
                assert self._shown.get(series, 0) <= state.shown.amount
                self._shown[series] = state.shown.amount


@pytest.mark.timeout(max(600, RUNS))
def test_each_event_is_counted_exactly_once(caplog: pytest.LogCaptureFixture) -> None:
    """
    Nothing is lost, counted twice or taken back; and everything that can go wrong has.
    """
    caplog.set_level(logging.CRITICAL, LOG.name)
    Simulation.met.clear()
    for begun in range(0, RUNS, BATCH):
        run_state_machine_as_test(
            Simulation,
            settings=settings(
                max_examples=min(BATCH, RUNS - begun),
                stateful_step_count=30,
                deadline=None,
                database=None,
                derandomize="RUNS" not in os.environ,
                suppress_health_check=list(HealthCheck),
            ),
        )
    for happening, times in sorted(Simulation.met.items()):
        print(f"{times:8} {happening}")  # noqa: T201 - for people, where it is asked for

    assert set() == {*Fault, *Event, *Input} - {one for one, n in Simulation.met.items() if n}


def test_a_disk_may_be_full_for_longer_than_a_message_can_be_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    One stays in hand for the 12 hours that SQS allows, wears out no receives, and counts once.
    """
    caplog.set_level(logging.CRITICAL, LOG.name)
    state = Simulation()
    try:
        state.begin(seed=0, days=1)
        state.deliver([Plan(new=1)], age=5, times=1)
        state.fill_disk(13 * 3600)
        world = state.world
        world.run_for(14 * 3600)

        assert {} == world.sqs.messages == world.sqs.dead
        assert world.met[Event.RENEWED] > 12 * 3600 / VISIBILITY_SECONDS
        assert world.met[Event.REDELIVERED] <= 1
    finally:
        state.teardown()
