"""
What the SQLite ledger keeps over time, and what happens when it cannot.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from exporter import families
from exporter.codecommit import event
from exporter.errors import ConfigError, LedgerLost, LedgerUnavailable
from exporter.families import EVENT_DELIVERY, EVENTS, FAMILY, Series
from exporter.ledger import place, sqlite
from exporter.ledger.book import COUNTED_STEP_MS, Policy
from exporter.ledger.place import Place
from exporter.ledger.schema import FORMAT
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.tables import DAY_MS, PERIOD_MS, Replay, keep_replay, log_file_hash
from exporter.metrics import Page
from exporter.notifications import LogFile
from exporter.retirement import Retirement
from exporter.tally import Reading, tally as honest_tally
from tests.fakes import Clock, in_no_time
from tests.pages import page_of
from tests.processes import OPENMETRICS
from tests.readings import BIRTH, DAY, at, events_total, reading
from tests.records import api_call, push, record


class Liar:
    """
    A connection that keeps a commit and says that it failed.
    """

    def __init__(self, honest: sqlite3.Connection) -> None:
        self._honest = honest

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        cursor = self._honest.execute(statement, *parameters)
        if statement == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._honest, name)


class OpenLedger(Protocol):
    async def __call__(
        self,
        *,
        hold: bool = False,
        policy: Policy | None = None,
        window_days: float = 90,
        replay: Replay | None = None,
    ) -> SqliteLedger: ...


@pytest.fixture
def clock() -> Clock:
    return Clock(BIRTH)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
async def open_ledger(path: Path, clock: Clock) -> AsyncIterator[OpenLedger]:
    opened: list[SqliteLedger] = []

    async def open_it(
        *,
        hold: bool = False,
        policy: Policy | None = None,
        window_days: float = 90,
        replay: Replay | None = None,
    ) -> SqliteLedger:
        async def missing(_: Place) -> Replay | None:
            return replay

        ledger = await SqliteLedger.open(
            path,
            window_seconds=window_days * DAY,
            policy=policy or Policy(hold=hold),
            now=clock,
            missing=missing,
        )
        opened.append(ledger)
        return ledger

    yield open_it
    for ledger in opened:
        await ledger.close()


async def test_a_ledger_keeps_its_id(open_ledger: OpenLedger) -> None:
    """
    Whichever process opens it.
    """
    first = await open_ledger()
    await first.close()
    again = await open_ledger()

    assert first.identity == again.identity


def tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    db.close()
    return names


async def test_a_restart_goes_on_from_the_file(open_ledger: OpenLedger) -> None:
    """
    Totals, ids, repositories, births and releases are there again after a restart.
    """
    first = await open_ledger(hold=True)
    records = [push("tools", "refs/heads/main", "refs/tags/one"), api_call("PutFile", "tools")]
    await first.commit(reading(*records))
    await first.release([next(iter(first.series))])
    before = dict(first.series)
    await first.close()
    second = await open_ledger(hold=True)
    restored = dict(second.series)
    tally = await second.commit(reading(*records))

    assert before == restored
    assert (0, 2) == (len(tally.counted), tally.repeated)
    assert before == second.series


async def test_switching_the_hold_off_releases_what_is_held(open_ledger: OpenLedger) -> None:
    """
    A ledger opened without a hold shows everything from then on.
    """
    first = await open_ledger(hold=True)
    await first.commit(reading(api_call("PutFile", "tools")))
    await first.close()
    second = await open_ledger(hold=False)
    shown = [state.released_ms for state in second.series.values()]
    await second.close()
    third = await open_ledger(hold=True)

    assert None not in shown
    assert shown == [state.released_ms for state in third.series.values()]


async def test_an_event_older_than_the_window_is_late(
    open_ledger: OpenLedger, clock: Clock
) -> None:
    """
    Between the ledger's birth and the floor an event is not counted, new or not.
    """
    ledger = await open_ledger(window_days=30)
    old = at(BIRTH + DAY)
    await ledger.commit(reading(old))
    clock.seconds += 60 * DAY
    await ledger.commit(reading(at(clock.seconds)))
    tally = await ledger.commit(reading(old, at(BIRTH + 2 * DAY)))

    assert (0, 2) == (len(tally.counted), tally.late)
    assert 2 == events_total(ledger)


async def test_the_floor_never_sinks(open_ledger: OpenLedger, clock: Clock) -> None:
    """
    A clock that is set back, and a restart, open no forgotten time again.
    """
    ledger = await open_ledger(window_days=30)
    once = at(BIRTH + DAY)
    await ledger.commit(reading(once))
    clock.seconds += 60 * DAY
    await ledger.commit(reading(at(clock.seconds)))
    clock.seconds = BIRTH + 2 * DAY
    await ledger.close()
    ledger = await open_ledger(window_days=30)
    tally = await ledger.commit(reading(once))

    assert (0, 1) == (len(tally.counted), tally.late)


@pytest.mark.parametrize("years", [1, 100])
async def test_a_clock_far_ahead_makes_nothing_late(
    open_ledger: OpenLedger, clock: Clock, path: Path, years: int
) -> None:
    """
    The floor follows the events, so ids stay and old events count while the clock is wrong.
    """
    ledger = await open_ledger(window_days=30)
    old = at(BIRTH + 1)
    await ledger.commit(reading(old))
    clock.seconds += years * 365 * DAY
    tally = await ledger.commit(reading(at(BIRTH + 2), key="two.json.gz"))
    await ledger.commit(reading(key="empty.json.gz"))
    await ledger.close()
    ledger = await open_ledger(window_days=30)
    clock.seconds = BIRTH + DAY
    again = await ledger.commit(reading(old, at(BIRTH + 3)))

    assert (1, 0) == (len(tally.counted), tally.late)
    assert (1, 1, 0) == (len(again.counted), again.repeated, again.late)
    assert f"seen_{round(BIRTH * 1000) // PERIOD_MS}" in tables(path)


async def test_an_event_far_ahead_makes_nothing_late(open_ledger: OpenLedger) -> None:
    """
    A record that somebody's clock dated years ahead moves no floor, also beside right ones.
    """
    ledger = await open_ledger(window_days=30)
    old = at(BIRTH + 1)
    await ledger.commit(reading(old))
    await ledger.commit(reading(at(BIRTH + 3000 * DAY), at(BIRTH + 2), key="two.json.gz"))
    await ledger.commit(reading(at(BIRTH + 3000 * DAY), key="three.json.gz"))
    tally = await ledger.commit(reading(old, at(BIRTH + 3), key="four.json.gz"))

    assert (1, 1, 0) == (len(tally.counted), tally.repeated, tally.late)


async def test_what_has_no_time_moves_no_floor(open_ledger: OpenLedger, clock: Clock) -> None:
    """
    Neither a release nor an event without a time says that the clock is right.
    """
    ledger = await open_ledger(window_days=30, hold=True)
    await ledger.commit(reading(at(BIRTH + 1)))
    clock.seconds += 60 * DAY
    await ledger.release(list(ledger.series))
    await ledger.commit(reading(record("PutFile", eventTime="yesterday"), key="timeless"))
    tally = await ledger.commit(reading(at(BIRTH + 2), key="two.json.gz"))

    assert (1, 0) == (len(tally.counted), tally.late)


async def test_a_clock_far_behind_opens_no_forgotten_time(
    open_ledger: OpenLedger, clock: Clock
) -> None:
    """
    What lies below the floor is late, however far ahead of such a clock it is.
    """
    ledger = await open_ledger(window_days=30)
    once = at(BIRTH + 10 * DAY)
    clock.seconds += 10 * DAY
    await ledger.commit(reading(once))
    clock.seconds += 90 * DAY
    await ledger.commit(reading(at(clock.seconds)))
    clock.seconds = BIRTH
    tally = await ledger.commit(reading(once))

    assert (0, 1) == (len(tally.counted), tally.late)


async def test_a_period_is_forgotten_only_a_day_below_the_floor(
    open_ledger: OpenLedger, clock: Clock
) -> None:
    """
    A copy that bears a time a little younger, beyond the edge, still finds the event.
    """
    edge = (round(BIRTH * 1000) // PERIOD_MS + 2) * PERIOD_MS / 1000
    ledger = await open_ledger(window_days=30)
    clock.seconds = edge
    once = at(edge - 60)
    await ledger.commit(reading(once))
    clock.seconds = edge + 30 * DAY + 3600
    await ledger.commit(reading(at(clock.seconds)))
    tally = await ledger.commit(reading(once | {"eventTime": at(edge + 3660)["eventTime"]}))

    assert (0, 1) == (len(tally.counted), tally.repeated)


@pytest.mark.parametrize("gone", ["ledger.db", "ledger.db.lock"])
async def test_nothing_is_counted_in_what_has_been_taken_away(
    open_ledger: OpenLedger, path: Path, gone: str
) -> None:
    """
    Whoever removes the ledger or its lock ends the counting; brought back, it goes on.
    """
    ledger = await open_ledger()
    await ledger.commit(reading(at(BIRTH)))
    file = path.with_name(gone)
    file.rename(path.with_name("away"))
    with pytest.raises(LedgerUnavailable, match="taken away"):
        await ledger.commit(reading(at(BIRTH)))
    file.touch()
    with pytest.raises(LedgerUnavailable, match="taken away"):
        await ledger.commit(reading(at(BIRTH)))
    unwritable = ledger.writable
    path.with_name("away").replace(file)
    await ledger.commit(reading(at(BIRTH)))

    assert (False, True) == (unwritable, ledger.writable)
    assert 2 == events_total(ledger)


async def test_of_two_on_one_ledger_one_counts(open_ledger: OpenLedger, path: Path) -> None:
    """
    Whoever removes the lock file lets a second process in, and the first writes no more.
    """
    one = await open_ledger()
    path.with_name("ledger.db.lock").unlink()
    other = await open_ledger()
    await other.commit(reading(at(BIRTH)))
    with pytest.raises(LedgerUnavailable, match="taken away"):
        await one.commit(reading(at(BIRTH)))

    assert (0, 1) == (events_total(one), events_total(other))


async def test_forgotten_periods_leave_the_file(
    open_ledger: OpenLedger, clock: Clock, path: Path
) -> None:
    """
    Ids are pruned by dropping the table of a period that lies wholly below the floor.
    """
    ledger = await open_ledger(window_days=30)
    await ledger.commit(reading(at(BIRTH + DAY)))
    period = round((BIRTH + DAY) * 1000) // PERIOD_MS
    there = f"seen_{period}" in tables(path)
    clock.seconds += 60 * DAY
    await ledger.commit(reading(at(clock.seconds)))

    assert there
    assert f"seen_{period}" not in tables(path)


async def test_a_period_that_is_forgotten_is_not_written_once_more(
    open_ledger: OpenLedger, clock: Clock, path: Path
) -> None:
    """
    What is dropped is left as it is on the disk: commits that wait for it wait a moment.
    """
    ledger = await open_ledger(window_days=30)
    records = [at(BIRTH + DAY) for _ in range(3000)]
    await ledger.commit(reading(*records))
    ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    held = path.stat().st_size
    clock.seconds += 60 * DAY
    await ledger.commit(reading(at(clock.seconds)))

    assert path.with_name("ledger.db-wal").stat().st_size < held / 2


async def test_events_older_than_the_ledger_are_kept_for_good(
    open_ledger: OpenLedger, clock: Clock
) -> None:
    """
    An event of years ago counts once, however late its repeat comes.
    """
    ledger = await open_ledger(window_days=30)
    ancient = at(BIRTH - 3000 * DAY)
    first = await ledger.commit(reading(ancient))
    clock.seconds += 300 * DAY
    again = await ledger.commit(reading(ancient))

    assert 1 == len(first.counted)
    assert (0, 1, 0) == (len(again.counted), again.repeated, again.late)


async def test_a_copy_across_the_edge_of_a_period_is_known(open_ledger: OpenLedger) -> None:
    """
    Two copies of an event, seconds apart on both sides of an edge, are one event.
    """
    ledger = await open_ledger()
    edge = (round(BIRTH * 1000) // PERIOD_MS + 1) * PERIOD_MS / 1000
    same = str(uuid4())
    await ledger.commit(reading(at(edge - 1, eventID=same)))
    tally = await ledger.commit(reading(at(edge + 1, eventID=same)))

    assert 1 == tally.repeated


async def test_a_copy_across_the_birth_is_known(open_ledger: OpenLedger) -> None:
    """
    Two copies, one dated before the ledger's birth and one after, are one event.
    """
    ledger = await open_ledger()
    same = str(uuid4())
    await ledger.commit(reading(at(BIRTH + 5, eventID=same)))
    tally = await ledger.commit(reading(at(BIRTH - 5, eventID=same)))

    assert 1 == tally.repeated


async def test_one_period_has_one_table_however_odd_the_time(
    open_ledger: OpenLedger, path: Path
) -> None:
    """
    A time far ahead makes no table of its own: such ids are kept with the timeless ones.
    """
    ledger = await open_ledger()
    await ledger.commit(reading(at(BIRTH + 5000 * DAY)))

    assert ["seen_kept"] == [name for name in tables(path) if name.startswith("seen")]


async def test_a_group_is_one_transaction(open_ledger: OpenLedger) -> None:
    """
    Readings that come together are committed together, each with its own answer.
    """
    ledger = await open_ledger()
    begun: list[str] = []
    ledger._db.set_trace_callback(lambda sql: begun.append(sql) if sql == "BEGIN IMMEDIATE" else 0)
    tallies = await asyncio.gather(
        *(ledger.commit(reading(at(BIRTH + n), key=f"{n}.json.gz")) for n in range(20))
    )

    assert [1] * 20 == [len(tally.counted) for tally in tallies]
    assert 1 == len(begun)


@pytest.mark.parametrize("moment", [BIRTH, BIRTH + DAY, BIRTH + 300 * DAY, None])
async def test_copies_in_one_group_count_once(
    open_ledger: OpenLedger, moment: float | None
) -> None:
    """
    Two log files of a group, and two records of one of them, may tell of the same event.
    """
    ledger = await open_ledger()
    one = at(BIRTH)
    time = None if moment is None else at(moment)["eventTime"]
    copy = one | {"eventTime": time}
    tallies = await asyncio.gather(
        ledger.commit(reading(one, copy)), ledger.commit(reading(copy, one, key="two.json.gz"))
    )

    assert [(1, 1), (0, 2)] == [(len(tally.counted), tally.repeated) for tally in tallies]
    assert 1 == events_total(ledger)


async def test_one_faulty_reading_does_not_spoil_its_group(
    open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A reading that cannot be committed fails alone; the others of its group count.
    """
    ledger = await open_ledger()

    def faulty(reading: Reading, *rest: object) -> object:
        if reading.log_file and reading.log_file.key == "bad":
            raise ZeroDivisionError
        return honest_tally(reading, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(sqlite, "tally", faulty)
    answers = await asyncio.gather(
        *(
            ledger.commit(reading(at(BIRTH + number), key=key))
            for number, key in enumerate(["a", "bad", "b"])
        ),
        return_exceptions=True,
    )

    assert [False, True, False] == [isinstance(one, ZeroDivisionError) for one in answers]
    assert 2 == events_total(ledger)


async def test_a_commit_that_fails_changes_nothing(open_ledger: OpenLedger) -> None:
    """
    While the file cannot be written nothing is counted or shown; afterwards it goes on.
    """
    ledger = await open_ledger()
    await ledger.commit(reading(at(BIRTH)))
    before = dict(ledger.series)
    ledger._db.execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerUnavailable, match=r"ledger\.db"):
        await ledger.commit(reading(at(BIRTH + 1)))
    failed = (dict(ledger.series), ledger.writable)
    ledger._db.execute("PRAGMA query_only = OFF")
    await ledger.commit(reading(at(BIRTH + 1)))

    assert (before, False) == failed
    assert (2, True) == (events_total(ledger), ledger.writable)


@pytest.mark.parametrize(
    "fault",
    [
        sqlite3.DataError,
        sqlite3.IntegrityError,
        sqlite3.InterfaceError,
        sqlite3.InternalError,
        sqlite3.NotSupportedError,
        sqlite3.ProgrammingError,
    ],
)
async def test_the_programs_own_fault_is_none_of_the_disk(
    open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch, fault: type[sqlite3.Error]
) -> None:
    """
    What no waiting mends is raised as it is, and the ledger is not called unwritable for it.
    """
    ledger = await open_ledger()

    def faulty(*_: object) -> object:
        raise fault("the program is wrong")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "tally", faulty)
        with pytest.raises(fault, match="the program is wrong"):
            await ledger.commit(reading(at(BIRTH)))
    writable = ledger.writable
    await ledger.commit(reading(at(BIRTH)))

    assert (True, 1) == (writable, events_total(ledger))


@pytest.mark.parametrize("fault", [sqlite3.OperationalError, sqlite3.DatabaseError, OSError])
async def test_a_fault_of_the_disk_is_an_unavailable_ledger(
    open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    """
    A full disk, a damaged file and a stale handle may all be over the next time.
    """
    ledger = await open_ledger()

    def faulty(*_: object) -> object:
        raise fault("the disk is wrong")

    monkeypatch.setattr(sqlite, "tally", faulty)
    with pytest.raises(LedgerUnavailable, match="the disk is wrong"):
        await ledger.commit(reading(at(BIRTH)))

    assert not ledger.writable


async def test_a_commit_of_unknown_outcome_is_looked_up(open_ledger: OpenLedger) -> None:
    """
    A commit that reports a failure and yet was kept is neither lost nor counted twice.
    """
    ledger = await open_ledger()
    await ledger.commit(reading(at(BIRTH)))
    honest = ledger._db
    ledger._db = Liar(honest)  # type: ignore[assignment]
    doubtful = reading(at(BIRTH + 1))
    with pytest.raises(LedgerUnavailable):
        await ledger.commit(doubtful)
    ledger._db = honest
    tally = await ledger.commit(doubtful)
    await ledger.commit(reading(at(BIRTH + 2)))

    assert 1 == tally.repeated
    assert 3 == events_total(ledger)


async def test_a_rename_that_was_not_kept_is_not_known(
    open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What a failed commit would have taught is known to no later one.
    """
    ledger = await open_ledger()
    await ledger.commit(reading(at(BIRTH, responseElements={"pullRequestId": "27"})))
    names = {"oldName": "tools", "newName": "kit"}
    moment = at(BIRTH + 1)["eventTime"]
    rename = record("UpdateRepositoryName", requestParameters=names, eventTime=moment)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    found = []
    for fails in (True, False):
        with monkeypatch.context() as patch:
            if fails:
                patch.setattr(sqlite, "keep_series", fail)
                with pytest.raises(LedgerUnavailable):
                    await ledger.commit(reading(rename, key="rename.json.gz"))
            else:
                await ledger.commit(reading(rename, key="rename.json.gz"))
        asked = record("GetPullRequest", requestParameters={"pullRequestId": "27"})
        tally = await ledger.commit(reading(asked, key=f"{fails}.json.gz"))
        found.append({series.labels[2] for series in tally.totals})

    assert [{"tools"}, {"kit"}] == found


async def test_what_was_not_kept_has_not_been_learnt(
    open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What a failed commit has read of an id is known to no later one.
    """
    ledger = await open_ledger()
    shown = at(BIRTH, responseElements={"pullRequestId": "27"})

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "keep_series", fail)
        with pytest.raises(LedgerUnavailable):
            await ledger.commit(reading(shown))
    asked = record("GetPullRequest", requestParameters={"pullRequestId": "27"})
    tally = await ledger.commit(reading(asked))

    assert {""} == {series.labels[2] for series in tally.totals}


@pytest.mark.parametrize("learnt_max", [0, 1000])
async def test_what_has_been_learnt_is_known_however_little_stays_in_memory(
    open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch, learnt_max: int
) -> None:
    """
    What is not there any more is read again; what was not known before is known once it is.
    """
    monkeypatch.setattr(sqlite, "LEARNT_MAX", learnt_max)
    ledger = await open_ledger()
    asked = [record("GetPullRequest", requestParameters={"pullRequestId": "27"}) for _ in range(3)]
    before = await ledger.commit(reading(asked[0], key="before"))
    await ledger.commit(reading(at(BIRTH, responseElements={"pullRequestId": "27"}), key="told"))
    after = [await ledger.commit(reading(one, key="after")) for one in asked[1:]]

    assert [{""}, {"tools"}, {"tools"}] == [
        {series.labels[2] for series in tally.totals} for tally in (before, *after)
    ]


async def test_what_has_been_learnt_does_not_pile_up_in_memory(
    open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Of all pull requests that there have been, a few of the last stay.
    """
    monkeypatch.setattr(sqlite, "LEARNT_MAX", 2)
    ledger = await open_ledger()
    for number in range(9):
        shown = at(BIRTH, responseElements={"pullRequestId": f"{number}"})
        await ledger.commit(reading(shown, key=f"{number}.json.gz"))

    assert len(ledger._learnt) <= 3


async def test_a_release_takes_nothing_back(open_ledger: OpenLedger) -> None:
    """
    A release after a commit of unknown outcome keeps what that commit added.
    """
    ledger = await open_ledger(hold=True)
    await ledger.commit(reading(at(BIRTH)))
    honest = ledger._db
    ledger._db = Liar(honest)  # type: ignore[assignment]
    with pytest.raises(LedgerUnavailable):
        await ledger.commit(reading(at(BIRTH + 1)))
    ledger._db = honest
    await ledger.release(list(ledger.series))
    await ledger.commit(reading(at(BIRTH + 2)))
    await ledger.close()

    assert 3 == events_total(await open_ledger(hold=True))


async def test_a_fault_after_the_commit_loses_nothing(
    open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever goes wrong between the commit and showing it, the next commit adds to it.
    """
    ledger = await open_ledger()
    await ledger.commit(reading(at(BIRTH)))

    def fail() -> None:
        raise OSError("stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "_measure", fail)
        with pytest.raises(LedgerUnavailable):
            await ledger.commit(reading(at(BIRTH + 1)))
    await ledger.commit(reading(at(BIRTH + 2)))

    assert 3 == events_total(ledger)


async def test_a_closed_ledger_takes_nothing(open_ledger: OpenLedger) -> None:
    """
    What comes after the end is refused, so that its message stays.
    """
    ledger = await open_ledger()
    await ledger.close()
    with pytest.raises(LedgerUnavailable):
        await ledger.commit(reading(at(BIRTH)))
    with pytest.raises(LedgerUnavailable):
        await ledger.release([])


async def test_a_file_is_read_when_its_events_are_counted(
    open_ledger: OpenLedger, path: Path
) -> None:
    """
    The address of a file whose events could not be committed is not kept.
    """
    ledger = await open_ledger()
    ledger._db.execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerUnavailable):
        await ledger.commit(reading(at(BIRTH), key="failed.json.gz"))
    ledger._db.execute("PRAGMA query_only = OFF")
    await ledger.commit(reading(at(BIRTH), key="counted.json.gz"))
    with sqlite3.connect(path) as db:
        kept = [one for (one,) in db.execute("SELECT hash FROM log_file")]
    db.close()

    assert [log_file_hash(LogFile("trail", "counted.json.gz"))] == kept


async def test_a_release_that_fails_releases_nothing(open_ledger: OpenLedger) -> None:
    """
    A series whose release could not be committed is still held.
    """
    ledger = await open_ledger(hold=True)
    await ledger.commit(reading(at(BIRTH)))
    ledger._db.execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerUnavailable):
        await ledger.release(list(ledger.series))

    assert None in [state.released_ms for state in ledger.series.values()]


async def test_a_cancelled_caller_loses_no_commit(open_ledger: OpenLedger) -> None:
    """
    What was committed for a caller that gave up is shown, and the next commit adds to it.
    """
    ledger = await open_ledger(hold=True)
    await ledger.commit(reading(at(BIRTH)))
    for work in (ledger.commit(reading(at(BIRTH + 1))), ledger.release(list(ledger.series))):
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await ledger.commit(reading(at(BIRTH + 2)))
    shown = dict(ledger.series)
    await ledger.close()
    reopened = await open_ledger(hold=True)

    assert 3 == events_total(reopened)
    assert shown == reopened.series


async def test_files_without_events_are_remembered_at_the_end(
    open_ledger: OpenLedger, path: Path
) -> None:
    """
    A file without events costs no transaction; its address is kept with the next one.
    """
    ledger = await open_ledger()
    await ledger.commit(reading(key="empty.json.gz"))
    await ledger.commit(reading(at(BIRTH), key="full.json.gz"))
    await ledger.commit(reading(key="last.json.gz"))
    await ledger.close()
    with sqlite3.connect(path) as db:
        kept = set(db.execute("SELECT day, hash FROM log_file"))
    db.close()
    names = ("empty.json.gz", "full.json.gz", "last.json.gz")

    assert {
        (round(BIRTH * 1000) // DAY_MS, log_file_hash(LogFile("trail", name))) for name in names
    } == kept


async def test_many_files_without_events_are_kept_in_between(
    open_ledger: OpenLedger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Addresses do not pile up in memory where nothing is ever counted.
    """
    monkeypatch.setattr(sqlite, "HASHES_WAITING_MAX", 5)
    ledger = await open_ledger()
    for number in range(5):
        await ledger.commit(reading(key=f"{number}.json.gz"))
    with sqlite3.connect(path) as db:
        (kept,) = db.execute("SELECT count(*) FROM log_file").fetchone()
    db.close()

    assert 5 == kept


async def test_a_busy_day_is_forgotten_little_by_little(
    open_ledger: OpenLedger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Each commit forgets a few of the log files read on a day long over, until none is left.
    """
    monkeypatch.setattr(sqlite, "FORGOTTEN_AT_ONCE", 10)
    ledger = await open_ledger()
    for number in range(30):
        await ledger.commit(reading(key=f"{number}.json.gz"))
    found = []
    for day in (0, 1, 4, 4, 4, 4):
        clock.seconds = BIRTH + day * DAY
        await ledger.commit(reading(at(BIRTH), key=f"full {day}.json.gz"))
        found += ledger._db.execute("SELECT count(*) FROM log_file").fetchone()

    assert [31, 32, 32 - 12 + 1, 32 - 24 + 1, 2, 2] == found


async def test_a_changed_bucket_list_is_a_new_birth(
    open_ledger: OpenLedger, clock: Clock, path: Path
) -> None:
    """
    Histogram data of other buckets cannot go on; counters do.
    """
    ledger = await open_ledger()
    await ledger.commit(reading(at(BIRTH)))
    await ledger.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE family SET buckets = '[1]' WHERE name = ?", (EVENT_DELIVERY.name,))
    db.close()
    clock.seconds += DAY
    ledger = await open_ledger()
    left = {series.family for series in ledger.series}
    await ledger.commit(reading(at(BIRTH + DAY)))
    (again,) = (
        state for series, state in ledger.series.items() if series.family == EVENT_DELIVERY.name
    )

    assert EVENT_DELIVERY.name not in left
    assert 2 == events_total(ledger)
    assert (1, round(clock.seconds * 1000)) == (again.total.observations, again.born_ms)


async def test_what_came_back_is_held_across_a_restart(
    open_ledger: OpenLedger, clock: Clock
) -> None:
    """
    A restart inside the hold shows the old total again, also of a histogram whose sum is 0.
    """
    policy = Policy(hold=True, retirement=Retirement(DAY_MS))
    ledger = await open_ledger(policy=policy)
    timely = round(BIRTH * 1000)
    await ledger.commit(Reading(LogFile("trail", "one"), timely, (event(at(BIRTH)),)))
    await ledger.release(list(ledger.series))
    clock.seconds += DAY
    again = event(at(BIRTH + 1))
    await ledger.commit(Reading(LogFile("trail", "two"), timely, (again,)))
    before = {series: state.shown for series, state in ledger.series.items()}
    await ledger.close()
    reopened = await open_ledger(policy=policy)
    (delivery,) = (one for one in reopened.series if one.family == EVENT_DELIVERY.name)

    assert before == {series: state.shown for series, state in reopened.series.items()}
    assert (1, 2) == (
        reopened.series[delivery].shown.observations,
        reopened.series[delivery].total.observations,
    )
    assert 0 == reopened.series[delivery].total.amount


@pytest.mark.parametrize("after_days", [0, 100], ids=["switched off", "later"])
async def test_what_another_retirement_hid_comes_back_held(
    open_ledger: OpenLedger, clock: Clock, after_days: int
) -> None:
    """
    A restart with another --metrics.retire-after shows the old total first, as an event does.
    """
    ledger = await open_ledger(policy=Policy(hold=True, retirement=Retirement(DAY_MS)))
    await ledger.commit(reading(at(BIRTH)))
    await ledger.release(list(ledger.series))
    await ledger.close()
    clock.seconds += 2 * DAY
    policy = Policy(hold=True, retirement=Retirement(after_days * DAY_MS))
    ledger = await open_ledger(policy=policy)
    (events,) = (one for one in ledger.series if one.family == EVENTS.name)
    await ledger.commit(reading(at(BIRTH + 1)))
    first = ledger.series[events]
    await ledger.release([events])
    await ledger.close()
    again = await open_ledger(policy=policy)

    assert (1, 2) == (first.shown.amount, first.total.amount)
    assert 2 == again.series[events].shown.amount


async def test_a_transaction_that_could_not_begin_is_over(
    open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A fault right after its beginning leaves nothing open for the next one to stumble over.
    """
    ledger = await open_ledger()
    honest = ledger._db

    class Interrupted:
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            cursor = honest.execute(statement, *parameters)
            if statement.startswith("BEGIN"):
                raise sqlite3.OperationalError("interrupted")
            return cursor

        def __getattr__(self, name: str) -> Any:
            return getattr(honest, name)

    monkeypatch.setattr(ledger, "_db", Interrupted())
    with pytest.raises(LedgerUnavailable):
        await ledger.commit(reading(at(BIRTH)))
    monkeypatch.setattr(ledger, "_db", honest)
    await ledger.commit(reading(at(BIRTH)))

    assert 1 == events_total(ledger)


async def test_series_of_a_newer_family_are_left_alone(open_ledger: OpenLedger, path: Path) -> None:
    """
    A family this version does not know is neither shown nor lost.
    """
    ledger = await open_ledger()
    await ledger.close()
    with sqlite3.connect(path) as db:
        db.execute(
            "INSERT INTO series VALUES ('codecommit_new_total', '[]', 1, '[]', 0, 0, 0, '[]')"
        )
    db.close()
    ledger = await open_ledger()
    await ledger.commit(reading(at(BIRTH)))
    await ledger.close()
    with sqlite3.connect(path) as db:
        kept = db.execute("SELECT 1 FROM series WHERE family = 'codecommit_new_total'").fetchall()
    db.close()

    assert Series("codecommit_new_total", ()) not in ledger.series
    assert [(1,)] == kept


async def test_a_newer_ledger_is_refused_in_one_line(open_ledger: OpenLedger, path: Path) -> None:
    """
    An older program does not touch what it cannot read.
    """
    await (await open_ledger()).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    db.close()
    with pytest.raises(ConfigError, match="newer version") as caught:
        await open_ledger()

    assert "\n" not in str(caught.value)


async def test_a_foreign_database_is_refused(open_ledger: OpenLedger, path: Path) -> None:
    """
    An SQLite file of another program is neither used nor changed.
    """
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="no ledger"):
        await open_ledger()

    assert before == path.read_bytes()
    assert ["ledger.db", "ledger.db.lock"] == sorted(one.name for one in path.parent.iterdir())


async def test_a_link_leads_to_the_same_lock(
    open_ledger: OpenLedger, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever comes to the file by another name waits as well.
    """
    monkeypatch.setattr(place, "LOCK_RETRY_SECONDS", 0.01)
    await open_ledger()
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await SqliteLedger.open(link, window_seconds=DAY, policy=Policy(), now=clock)


async def test_what_is_no_database_is_an_unavailable_ledger(
    open_ledger: OpenLedger, path: Path
) -> None:
    """
    A file that SQLite cannot read is named, and left as it is.
    """
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 100)
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match=r"ledger\.db: file is not a database"):
            await open_ledger()

    assert path.read_bytes().startswith(b"not a database")
    assert ["ledger.db", "ledger.db.lock"] == sorted(one.name for one in path.parent.iterdir())


async def test_a_folder_that_cannot_be_made_is_named(clock: Clock, tmp_path: Path) -> None:
    """
    A state directory that is no directory is an unavailable ledger.
    """
    (tmp_path / "file").touch()
    with pytest.raises(LedgerUnavailable, match="file"):
        await SqliteLedger.open(
            tmp_path / "file" / "ledger.db", window_seconds=DAY, policy=Policy(), now=clock
        )


async def test_a_second_process_waits_for_the_first(
    open_ledger: OpenLedger, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While one has the ledger open another waits, says so once, and then takes over.
    """
    monkeypatch.setattr(place, "LOCK_RETRY_SECONDS", 0.01)
    first = await open_ledger()
    await first.commit(reading(at(BIRTH)))
    told: list[bool] = []
    second = asyncio.create_task(
        SqliteLedger.open(
            path, window_seconds=DAY, policy=Policy(), now=clock, waiting=lambda: told.append(True)
        )
    )
    await asyncio.sleep(0.05)
    waiting = not second.done()
    await first.close()
    ledger = await second
    total = events_total(ledger)
    await ledger.close()

    assert (True, [True], 1) == (waiting, told, total)


async def test_a_wait_for_the_lock_can_be_given_up(open_ledger: OpenLedger) -> None:
    """
    A process that is stopped while it waits leaves the lock as it was.
    """
    first = await open_ledger()
    second = asyncio.create_task(open_ledger())
    await asyncio.sleep(0.01)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    await first.close()

    assert 0 == events_total(await open_ledger())


async def test_every_commit_survives_a_power_cut(open_ledger: OpenLedger) -> None:
    """
    SQLite is asked to sync each commit to the disk, in the mode that has a write-ahead log.
    """
    ledger = await open_ledger()

    assert (2,) == ledger._db.execute("PRAGMA synchronous").fetchone()
    assert ("wal",) == ledger._db.execute("PRAGMA journal_mode").fetchone()


# Catching up -----------------------------------------------------------------------------


async def test_nothing_is_held_while_it_catches_up(open_ledger: OpenLedger, path: Path) -> None:
    """
    What was held is released, what comes is born released; afterwards what comes is held.
    """
    first = await open_ledger(hold=True)
    await first.commit(reading(at(BIRTH, "one")))
    held = {state.released_ms for state in first.series.values() if state.released_ms is None}
    await first.close()
    with closing(sqlite3.connect(path)) as db, db:
        keep_replay(db, Replay(1000, counts=True))
    ledger = await open_ledger(hold=True)
    await ledger.commit(reading(at(BIRTH, "two"), key="two.json.gz"))
    meanwhile = {series for series, state in ledger.series.items() if state.released_ms is None}
    due = ledger.replay
    await ledger.replayed()
    await ledger.commit(reading(at(BIRTH, "three"), key="three.json.gz"))
    held_names = {
        series.labels[2] for series, state in ledger.series.items() if state.released_ms is None
    }

    assert ({None}, set()) == (held, meanwhile)
    assert (Replay(1000, counts=True), None) == (due, ledger.replay)
    assert {"three"} == held_names


async def test_what_caught_up_keeps_its_totals(open_ledger: OpenLedger) -> None:
    """
    A recount that has ended is a ledger like any other, also after a restart.
    """
    ledger = await open_ledger(replay=Replay(0, counts=True))
    await ledger.commit(reading(at(BIRTH)))
    await ledger.replayed()
    shown = dict(ledger.series)
    await ledger.close()
    again = await open_ledger()

    assert 1 == events_total(again)
    assert (None, shown) == (again.replay, again.series)


async def test_what_was_only_marked_adds_to_nothing(open_ledger: OpenLedger) -> None:
    """
    Totals begin at 0 and no repository is active, but its events and names are known.
    """
    ledger = await open_ledger(hold=True, replay=Replay(0, counts=False))
    marked = at(BIRTH)
    await ledger.commit(reading(marked))
    await ledger.replayed()
    totals = dict(ledger.series)
    active = [(one.name, known.active_ms > 0) for one, known in ledger.known.items()]
    await ledger.close()
    ledger = await open_ledger(hold=True)
    tally = await ledger.commit(reading(marked, at(BIRTH + 1)))

    assert ({}, [("tools", False)]) == (totals, active)
    assert (1, 1) == (tally.repeated, events_total(ledger))
    assert None in {state.released_ms for state in ledger.series.values()}


@pytest.mark.parametrize("counts", [True, False])
async def test_a_crash_half_way_loses_no_word_of_it(open_ledger: OpenLedger, counts: bool) -> None:
    """
    However often it is opened in between, what is to be caught up with stays a fact.
    """
    due = Replay(12_345, counts=counts)
    seen = []
    for number in range(3):
        ledger = await open_ledger(replay=due if number == 0 else None)
        await ledger.commit(reading(at(BIRTH + number), key=f"{number}.json.gz"))
        seen.append((ledger.replay, events_total(ledger)))
        await ledger.close()
    ledger = await open_ledger()
    await ledger.replayed()

    assert [(due, 1), (due, 2), (due, 3)] == seen
    assert (None, 3 if counts else 0) == (ledger.replay, events_total(ledger))


async def test_an_end_that_cannot_be_written_is_none(open_ledger: OpenLedger) -> None:
    """
    The ledger still has to catch up, and has what it had.
    """
    due = Replay(0, counts=False)
    ledger = await open_ledger(replay=due)
    await ledger.commit(reading(at(BIRTH)))
    ledger._db.execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerUnavailable):
        await ledger.replayed()
    failed = (ledger.replay, events_total(ledger))
    ledger._db.execute("PRAGMA query_only = OFF")
    await ledger.replayed()

    assert ((due, 1), None) == (failed, ledger.replay)


@in_no_time
async def test_who_catches_up_waits_for_no_others(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Log files come one by one then; once it has caught up, a commit lingers for more of them.
    """

    async def missing(_: Place) -> Replay | None:
        return Replay(0, counts=True)

    monkeypatch.setattr(sqlite, "LINGER_SECONDS", 3600)
    loop = asyncio.get_running_loop()
    ledger = await SqliteLedger.open(
        path, window_seconds=90 * DAY, policy=Policy(), missing=missing
    )
    moments = [loop.time()]
    for number in range(2):
        await ledger.commit(reading(at(BIRTH), key=f"{number}.json.gz"))
        moments.append(loop.time())
    await ledger.replayed()
    await ledger.commit(reading(at(BIRTH), key="two.json.gz"))
    moments.append(loop.time())
    await ledger.close()

    assert [0, 0, 3600] == [after - before for before, after in pairwise(moments)]


async def test_replayed_twice_is_replayed_once(open_ledger: OpenLedger) -> None:
    """
    A second word of it forgets nothing that has been counted since.
    """
    ledger = await open_ledger(replay=Replay(0, counts=False))
    await ledger.replayed()
    await ledger.commit(reading(at(BIRTH)))
    await ledger.replayed()

    assert 1 == events_total(ledger)


async def test_log_files_read_lately_are_told_from_others(
    open_ledger: OpenLedger, clock: Clock
) -> None:
    """
    By the hashes of several days and by those that wait in memory, in any number and order.
    """
    read = [LogFile("trail", f"{number}.json.gz") for number in range(600)]
    ledger = await open_ledger()
    for number, log_file in enumerate(read):
        if number == 400:
            await ledger.commit(reading(at(BIRTH), key="full.json.gz"))
            clock.seconds += DAY
        if number == 550:
            await ledger.commit(reading(at(BIRTH + 1), key="full too.json.gz"))
        await ledger.commit(Reading(log_file, None))
    others = [LogFile("trail", f"{number}.json") for number in range(600)]
    others.append(LogFile("another", read[0].key))
    mixed = [one for pair in zip(read, others, strict=False) for one in pair]

    assert others[:600] == await ledger.unread(mixed)
    assert [others[600]] == await ledger.unread([others[600]])
    assert [] == await ledger.unread([])


async def test_log_files_read_long_ago_are_unread(open_ledger: OpenLedger, clock: Clock) -> None:
    """
    Addresses are kept for three days after that of their reading.
    """
    ledger = await open_ledger()
    await ledger.commit(reading(at(BIRTH), key="old.json.gz"))
    asked = [LogFile("trail", "old.json.gz")]
    left = []
    for number in range(5):
        await ledger.commit(reading(at(clock.seconds), key=f"{number}.json.gz"))
        left.append(await ledger.unread(asked))
        clock.seconds += DAY

    assert [[], [], [], [], asked] == left


async def test_a_copy_of_a_closed_ledger_is_refused(
    open_ledger: OpenLedger, tmp_path: Path
) -> None:
    """
    Nothing works on a ledger that is closed, nor does it say that it has caught up.
    """
    ledger = await open_ledger()
    await ledger.close()
    for work in (ledger.copy(tmp_path / "copy"), ledger.replayed(), ledger.unread([])):
        with pytest.raises(LedgerUnavailable, match="closed"):
            await work

    assert not (tmp_path / "copy").exists()


async def test_no_more_stays_in_memory_than_may(
    open_ledger: OpenLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Of what one commit learns of ids memory keeps only so much; the file keeps it all.
    """
    monkeypatch.setattr(sqlite, "LEARNT_MAX", 10)
    ledger = await open_ledger()
    merges = (
        record(
            "MergePullRequestByFastForward",
            requestParameters={"repositoryName": "tools", "pullRequestId": str(number)},
        )
        for number in range(20)
    )
    await ledger.commit(reading(*merges))
    kept = len(ledger._learnt)
    asked = record("GetPullRequest", requestParameters={"pullRequestId": "7"})
    tally = await ledger.commit(reading(asked, key="two.json.gz"))

    assert kept <= 10
    assert {"tools"} == {series.labels[2] for series in tally.totals}


async def test_a_log_file_without_a_delivery_time_tells_no_lag(open_ledger: OpenLedger) -> None:
    """
    Nobody knows how late it is: it is not taken for one that was there at once.
    """
    ledger = await open_ledger()
    found = []
    for delivered in (None, BIRTH - 60):
        await ledger.commit(reading(at(BIRTH), delivered=delivered))
        facts = ledger._db.execute("SELECT value FROM fact WHERE name GLOB 'lag_ms_*'")
        found.append(facts.fetchall())

    assert [[], [(60_000,)]] == found


# Lost ledgers ----------------------------------------------------------------------------


async def test_a_ledger_that_is_gone_is_not_begun_again(path: Path, clock: Clock) -> None:
    """
    Where one has been, nobody but ``missing`` says how to begin, and it is asked only then.
    """
    asked: list[Path] = []

    async def missing(place: Place) -> Replay | None:
        asked.append(place.path)
        return Replay(7, counts=False)

    async def opened(**options: Any) -> SqliteLedger:
        return await SqliteLedger.open(
            path, window_seconds=DAY, policy=Policy(), now=clock, **options
        )

    for _ in range(2):
        await (await opened()).close()
    path.unlink()
    for _ in range(2):
        with pytest.raises(LedgerLost, match=r"ledger\.db is gone"):
            await opened()
    left = path.exists()
    ledger = await opened(missing=missing)
    due = ledger.replay
    await ledger.close()
    await (await opened(missing=missing)).close()

    assert not left
    assert (Replay(7, counts=False), [path]) == (due, asked)


def test_every_family_of_the_page_can_be_kept() -> None:
    """
    The ledger finds each declared family by its name.
    """
    assert families.FAMILIES == tuple(FAMILY.values())


# What the page is told --------------------------------------------------------------------


def times_told(ledger: SqliteLedger) -> list[int]:
    """
    The times of the exemplars that are news, in milliseconds since 1970.
    """
    news = ledger.journal.take().series.values()
    return sorted({told.counted_ms for buckets in news for told in buckets.values()})


async def test_the_times_of_commits_rise_whatever_the_clock_does(
    open_ledger: OpenLedger, clock: Clock
) -> None:
    """
    It may stand still or go back, also while nobody has the ledger open.

    Where it was far ahead no times are told until it is there again.
    """
    ledger = await open_ledger()
    times = []
    for step in (0, 0, 60, -50, 0, 0.001, 7200):
        clock.seconds += step
        await ledger.commit(reading(at(BIRTH)))
        times += times_told(ledger)
    await ledger.close()
    clock.seconds -= 59
    ledger = await open_ledger()
    await ledger.commit(reading(at(BIRTH)))
    times += times_told(ledger)
    clock.seconds -= 2
    await ledger.commit(reading(at(BIRTH)))

    assert [] == times_told(ledger)
    assert 8 == len(times)
    assert all(before + COUNTED_STEP_MS <= after for before, after in pairwise(times))
    assert [0, 2, 60_000, 60_002, 60_004, 60_006] == [one - times[0] for one in times[:6]]
    assert round((BIRTH + 7210.001) * 1000) == times[6] == times[7] - 2


async def test_a_time_that_may_have_been_told_is_not_told_again(open_ledger: OpenLedger) -> None:
    """
    A commit of unknown outcome was kept with its time.
    """
    ledger = await open_ledger()
    await ledger.commit(reading(at(BIRTH)))
    (first,) = times_told(ledger)
    honest = ledger._db
    ledger._db = Liar(honest)  # type: ignore[assignment]
    with pytest.raises(LedgerUnavailable):
        await ledger.commit(reading(at(BIRTH)))
    ledger._db = honest
    await ledger.commit(reading(at(BIRTH)))

    assert [first + 2 * COUNTED_STEP_MS] == times_told(ledger)


async def test_the_page_is_right_after_a_doubt(open_ledger: OpenLedger) -> None:
    """
    It has what the ledger read again, however that came there, and the exemplars known.
    """
    ledger = await open_ledger()
    page = Page(CollectorRegistry(), ledger)
    seen, unseen = at(BIRTH, "web"), at(BIRTH, "ops")
    await ledger.commit(reading(seen))
    page.answer(OPENMETRICS, now_ms=0)
    await ledger.commit(reading(unseen))
    honest = ledger._db
    ledger._db = Liar(honest)  # type: ignore[assignment]
    with pytest.raises(LedgerUnavailable):
        await ledger.commit(reading(at(BIRTH, "docs")))
    ledger._db = honest
    await ledger.commit(reading(at(BIRTH)))
    after = page.answer(OPENMETRICS, now_ms=0).body.decode()
    without_exemplars = [line.partition(" # {")[0] for line in after.splitlines()]
    anew = page_of(ledger, OPENMETRICS).text

    assert sorted(anew.splitlines()) == sorted(without_exemplars)
    assert {"docs", "ops", "tools", "web"} == set(re.findall('repository="(.*?)"', after))
    assert {seen["eventID"], unseen["eventID"]} <= set(re.findall('event_id="(.*?)"', after))
