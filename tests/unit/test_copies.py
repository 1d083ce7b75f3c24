"""
Copies of a ledger: one state of it, which knows what it has to catch up with.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from threading import Event

import pytest

from exporter.errors import LedgerUnavailable
from exporter.ledger import copies
from exporter.ledger.book import Policy
from exporter.ledger.copies import LAG_MS_MIN, check_copy, copy_ledger
from exporter.ledger.schema import APPLICATION_ID, FORMAT, SCHEMA
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.tables import DAY_MS, LOG_FILE_DAYS_KEPT, Replay, keep_replay, kept_replay
from tests.fakes import Clock
from tests.processes import PROJECT
from tests.readings import BIRTH, DAY, at, events_total, reading
from tests.records import Record

BIRTH_MS = round(BIRTH * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock(BIRTH)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    A ledger's file in a folder whose name means something in a URL.
    """
    folder = tmp_path / "a state?mode=rw#100%25"
    folder.mkdir()
    return folder / "ledger.db"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """
    Where copies go: another folder, so that what else is left there can be seen.
    """
    folder = tmp_path / "copies"
    folder.mkdir()
    return folder / "copy.db"


@asynccontextmanager
async def opened(path: Path, clock: Clock) -> AsyncIterator[SqliteLedger]:
    ledger = await SqliteLedger.open(
        path, window_seconds=90 * DAY, policy=Policy(hold=True), now=clock
    )
    try:
        yield ledger
    finally:
        await ledger.close()


async def write(path: Path, clock: Clock, *records: Record) -> None:
    """
    Leave a ledger that has counted these records.
    """
    async with opened(path, clock) as ledger:
        await ledger.commit(reading(*records))


def replay_of(copy: Path) -> Replay | None:
    with closing(sqlite3.connect(copy)) as db:
        return kept_replay(db)


def damage(file: Path) -> None:
    """
    Overwrite the last page of a database.
    """
    content = file.read_bytes()
    file.write_bytes(content[:-4096] + b"\xff" * 4096)


# One state -------------------------------------------------------------------------------


async def test_a_copy_that_nobody_waits_for_is_given_up(
    path: Path, into: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It ends at its next look, however far it is, and leaves nothing.
    """
    monkeypatch.setattr(copies, "_PAGES_BETWEEN_LOOKS", 1)
    await write(path, clock, *(at(BIRTH + number, f"tools-{number}") for number in range(50)))
    looks = list[bool]()

    class GivenUp(Event):
        def is_set(self) -> bool:
            looks.append(into.exists())
            return len(looks) > 3

    with pytest.raises(LedgerUnavailable, match="nobody waits"):
        copy_ledger(path, into, 0, GivenUp())

    assert 4 == len(looks)
    assert not into.exists()


async def test_who_is_cancelled_gives_the_copy_up(
    path: Path, into: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The thread that copies is told, and nobody waits for it.
    """
    told = Event()

    def copy(_: Path, __: Path, ___: int, given_up: Event) -> None:
        assert given_up.wait(10)
        told.set()

    monkeypatch.setattr(copies, "copy_ledger", copy)
    async with opened(path, clock) as ledger:
        copying = asyncio.create_task(ledger.copy(into))
        await asyncio.sleep(0.05)
        copying.cancel()
        await asyncio.wait([copying])

        assert await asyncio.to_thread(told.wait, 10)


async def test_a_copy_is_one_state_of_the_ledger(path: Path, into: Path, clock: Clock) -> None:
    """
    Whatever is committed meanwhile: what a copy's totals count, its ids know, and no more.
    """
    events = [at(BIRTH + number, f"repository-{number}") for number in range(120)]
    copied = list[Path]()
    async with opened(path, clock) as ledger:

        async def commit_all() -> None:
            for number, one in enumerate(events):
                await ledger.commit(reading(one, key=f"{number}.json.gz"))

        committing = asyncio.create_task(commit_all())
        while not committing.done():
            copied.append(into.with_name(f"{len(copied)}.db"))
            await ledger.copy(copied[-1])
        await committing
    seen = [await totals_and_repeats(copy, events, clock) for copy in copied[:: len(copied) // 5]]

    assert [(total, total, 120) for total, _, _ in seen] == seen
    assert {0 < total < 120 for total, _, _ in seen} >= {True}


async def totals_and_repeats(
    copy: Path, events: Sequence[Record], clock: Clock
) -> tuple[int, int, int]:
    """
    How many events a copy has counted, how many of all it knows, and how many it has then.
    """
    check_copy(copy)
    async with opened(copy, clock) as ledger:
        total = events_total(ledger)
        tally = await ledger.commit(reading(*events, key="all.json.gz"))
        return total, tally.repeated, events_total(ledger)


async def test_a_copy_is_one_file(path: Path, into: Path, clock: Clock) -> None:
    """
    Also that of a ledger in use, and in place of a file that was there.
    """
    into.write_bytes(b"half a copy")
    async with opened(path, clock) as ledger:
        await ledger.commit(reading(at(BIRTH)))
        await ledger.copy(into)
    with closing(sqlite3.connect(into)) as db:
        (mode,) = db.execute("PRAGMA journal_mode").fetchone()

    assert [into] == list(into.parent.iterdir())
    assert "delete" == mode


async def test_a_copy_opens_as_a_ledger_that_has_to_catch_up(
    path: Path, into: Path, clock: Clock
) -> None:
    """
    It shows what the ledger did, holds nothing, and goes on from there.
    """
    await write(path, clock, at(BIRTH))
    clock.seconds += 10
    copy_ledger(path, into, BIRTH_MS + 10_000)
    async with opened(path, clock) as original, opened(into, clock) as copy:
        assert original.replay is None
        assert original.identity == copy.identity
        assert Replay(BIRTH_MS + 10_000 - LAG_MS_MIN, counts=True) == copy.replay
        assert {series: state.total for series, state in original.series.items()} == {
            series: state.total for series, state in copy.series.items()
        }
        await copy.replayed()
    async with opened(into, clock) as copy:
        assert (None, 1) == (copy.replay, events_total(copy))


async def test_a_ledger_of_an_earlier_format_can_be_copied(
    path: Path, into: Path, clock: Clock
) -> None:
    """
    A backup may be made before a newer version opens it for the first time.
    """
    with closing(sqlite3.connect(path)) as db:
        db.executescript((PROJECT / "tests" / "ledgers" / "format-1.sql").read_text())
    copy_ledger(path, into, BIRTH_MS)
    check_copy(into)
    async with opened(into, clock) as copy:
        assert Replay(BIRTH_MS - LAG_MS_MIN, counts=True) == copy.replay
        assert 17 == len(copy.series)


# Since when ------------------------------------------------------------------------------


async def test_a_copy_catches_up_from_as_long_ago_as_log_files_are_late(
    path: Path, into: Path, clock: Clock
) -> None:
    """
    Two days at least; more, for some days, once a file has been counted later than that.
    """
    lags = [(1.0, 0.5), (9.0, 5.0), (3.0, 1.0), *[(0.0, 0.0)] * (LOG_FILE_DAYS_KEPT + 1)]
    found = list[float]()
    async with opened(path, clock) as ledger:
        for day, together in enumerate(lags):
            moments = [clock.seconds - lag * DAY for lag in together]
            await asyncio.gather(
                *(
                    ledger.commit(reading(at(one), key=f"{day} {one}", delivered=one))
                    for one in moments
                )
            )
            await ledger.commit(reading(at(BIRTH), key=f"{day}", delivered=clock.seconds))
            await ledger.commit(reading(at(BIRTH), key=f"{day} untold", delivered=None))
            await ledger.copy(into)
            found.append(days_back(into, clock))
            clock.seconds += DAY

    assert [2.0, 9.0, 9.0, 9.0, 9.0, 3.0, 2.0] == found


def days_back(copy: Path, clock: Clock) -> float:
    replay = replay_of(copy)
    assert replay
    return (clock.seconds * 1000 - replay.from_ms) / DAY_MS


@pytest.mark.parametrize("days", [0, -30])
async def test_the_latest_log_file_of_a_day_tells_how_far_a_copy_catches_up(
    path: Path, into: Path, clock: Clock, days: int
) -> None:
    """
    Of several commits on a day the latest files count, also after a clock has been put right.
    """
    found = list[float]()
    async with opened(path, clock) as ledger:
        for number, lag in enumerate((3.0, 4.0, 9.0, 5.0)):
            delivered = clock.seconds - lag * DAY
            await ledger.commit(reading(at(delivered), key=f"{number}", delivered=delivered))
            await ledger.copy(into)
            found.append(days_back(into, clock))
            if number == 1:
                clock.seconds += days * DAY

    assert [3.0, 4.0, 9.0, 9.0] == found


async def test_a_copy_of_1970_catches_up_from_the_beginning(
    path: Path, into: Path, clock: Clock
) -> None:
    """
    A clock that nobody has set makes no moment before 1970.
    """
    await write(path, clock, at(BIRTH))
    copy_ledger(path, into, 1000)

    assert Replay(0, counts=True) == replay_of(into)


@pytest.mark.parametrize("counts", [True, False])
async def test_a_copy_of_a_copy_catches_up_from_the_earlier_moment(
    path: Path, into: Path, clock: Clock, counts: bool
) -> None:
    """
    What the first has not caught up with the second has not either, nor may it count more.
    """
    await write(path, clock, at(BIRTH))
    due = Replay(12_345, counts=counts)
    with closing(sqlite3.connect(path)) as db, db:
        keep_replay(db, due)
    copy_ledger(path, into, BIRTH_MS)
    again = into.with_name("again.db")
    copy_ledger(into, again, BIRTH_MS + 100 * DAY_MS)

    assert [due, due] == [replay_of(into), replay_of(again)]


# What fails ------------------------------------------------------------------------------


def no_ledger(path: Path) -> None:
    path.unlink()


def a_ledger_of_others(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA application_id = 7")


def a_newer_ledger(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")


def no_database(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 1000)


REFUSED = {
    no_ledger: "unable to open database file",
    a_ledger_of_others: "it is no ledger of this program",
    a_newer_ledger: f"it is of format {FORMAT + 1}, and was written by a newer version",
    damage: "btreeInitPage|malformed",
    no_database: "file is not a database",
}


@pytest.mark.parametrize("spoil", REFUSED)
async def test_a_copy_that_failed_is_not_there(
    path: Path, into: Path, clock: Clock, spoil: Callable[[Path], None]
) -> None:
    """
    Nor is what was there before it; the error names the ledger.
    """
    await write(path, clock, at(BIRTH))
    spoil(path)
    into.write_bytes(b"half a copy")
    with pytest.raises(LedgerUnavailable, match=r"ledger\.db cannot be copied: "):
        copy_ledger(path, into, BIRTH_MS)

    assert [] == list(into.parent.iterdir())


async def test_a_copy_that_fails_at_its_end_is_not_there(
    path: Path, into: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A disk that is full with the very last byte leaves no copy that could be taken for one.
    """
    await write(path, clock, at(BIRTH))

    def full(db: sqlite3.Connection, _: Replay) -> None:
        db.execute("INSERT INTO fact VALUES ('half', 1)")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(copies, "keep_replay", full)
    with pytest.raises(LedgerUnavailable, match="disk is full"):
        copy_ledger(path, into, BIRTH_MS)

    assert [] == list(into.parent.iterdir())


@pytest.mark.parametrize("place", ["no-folder/copy.db", "a-folder"])
async def test_a_copy_to_nowhere_is_none(path: Path, into: Path, clock: Clock, place: str) -> None:
    """
    What the system says is told as the program's own error.
    """
    (into.parent / "a-folder").mkdir()
    await write(path, clock, at(BIRTH))
    with pytest.raises(LedgerUnavailable):
        copy_ledger(path, into.parent / place, BIRTH_MS)

    assert [into.parent / "a-folder"] == list(into.parent.iterdir())


# Reading leaves no trace -----------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    """
    The files of a folder; of SQLite's shared memory only that it is there.
    """
    return {
        file.name: b"" if file.name.endswith("-shm") else file.read_bytes()
        for file in folder.iterdir()
    }


async def test_copying_a_ledger_in_use_changes_nothing_of_it(
    path: Path, into: Path, clock: Clock
) -> None:
    """
    Not even where it writes on afterwards.
    """
    async with opened(path, clock) as ledger:
        await ledger.commit(reading(at(BIRTH)))
        before = contents(path.parent)
        copy_ledger(path, into, BIRTH_MS)
        after = contents(path.parent)
        await ledger.commit(reading(at(BIRTH + 1), key="two.json.gz"))

    assert before == after
    assert {"ledger.db", "ledger.db-wal", "ledger.db-shm"} <= set(before)


async def test_copying_a_closed_ledger_changes_nothing_of_it(
    path: Path, into: Path, clock: Clock
) -> None:
    """
    Nothing of SQLite's is left beside it, which whoever opens it next might not be able to use.
    """
    await write(path, clock, at(BIRTH))
    before = contents(path.parent)
    copy_ledger(path, into, BIRTH_MS)

    assert before == contents(path.parent)


async def test_copying_the_ledger_of_a_killed_process_changes_nothing_of_it(
    path: Path, into: Path, clock: Clock, tmp_path: Path
) -> None:
    """
    The copy has what was committed last, and what lay beside the ledger lies there still.
    """
    other = tmp_path / "other.db"
    async with opened(other, clock) as ledger:
        await ledger.commit(reading(at(BIRTH)))
        for suffix in ("", "-wal", "-shm"):
            shutil.copyfile(f"{other}{suffix}", f"{path}{suffix}")
    before = contents(path.parent)
    copy_ledger(path, into, BIRTH_MS)
    after = contents(path.parent)
    async with opened(into, clock) as copy:
        total = events_total(copy)

    assert before == after
    assert 1 == total


# Checking a copy -------------------------------------------------------------------------


async def test_a_copy_passes(path: Path, into: Path, clock: Clock) -> None:
    """
    It is not changed by the look at it.
    """
    await write(path, clock, at(BIRTH))
    copy_ledger(path, into, BIRTH_MS)
    before = contents(into.parent)
    check_copy(into)

    assert before == contents(into.parent)


@pytest.mark.parametrize(("spoil", "why"), REFUSED.items())
async def test_what_is_no_sound_copy_is_refused(
    path: Path, into: Path, clock: Clock, spoil: Callable[[Path], None], why: str
) -> None:
    """
    The error says why, for whoever knows which backup it was; nothing is left beside the file.
    """
    await write(path, clock, at(BIRTH))
    copy_ledger(path, into, BIRTH_MS)
    spoil(into)
    before = contents(into.parent)
    with pytest.raises(LedgerUnavailable, match=why) as caught:
        check_copy(into)

    assert into.name not in str(caught.value)
    assert before == contents(into.parent)


async def test_a_ledger_is_no_copy_of_one(path: Path, into: Path, clock: Clock) -> None:
    """
    Nothing says what it would have to catch up with.
    """
    await write(path, clock, at(BIRTH))
    shutil.copyfile(path, into)
    with pytest.raises(LedgerUnavailable, match="is a ledger, but no copy of one"):
        check_copy(into)

    assert [into] == list(into.parent.iterdir())


def test_a_database_with_our_name_on_it_only(into: Path) -> None:
    """
    A file that lacks the tables of a ledger is refused, not tripped over.
    """
    with closing(sqlite3.connect(into)) as db, db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.executescript(SCHEMA.replace("TABLE fact", "TABLE fiction"))
    with pytest.raises(LedgerUnavailable, match="no such table: fact"):
        check_copy(into)
