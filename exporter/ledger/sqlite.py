"""
The SQLite ledger: one file, one writer, one transaction for ids and totals.

Theory of operation

* One process owns the file: its place is taken for as long as the ledger is open (see
  ``place``). Therefore the series can be held in memory as well, and a commit writes their
  new values instead of reading the old ones.
* One thread writes. Readings that arrive within a moment, or while it commits, go together
  into one transaction; if that fails, each is tried alone, so that one reading's fault is its
  own.
* A lost ledger never begins again by itself. Where one has been and is no more, somebody
  has to say what to begin with.
* A copy that takes the ledger's place catches up first (see ``copies``). Nothing of it is
  held meanwhile: what it lacks, Prometheus has seen.
* ``synchronous=FULL``: a message is deleted once the commit has returned, so what has
  been committed must survive a power cut.
* An event's ids live in one table per period of ``eventTime``. A period is forgotten by
  dropping its table, once it lies wholly below the floor. The floor is stored and only
  grows, so that no clock can open forgotten time again: an event between the ledger's
  birth and the floor is late, and not counted. It follows the events as well as the clock:
  a clock that is ahead by itself makes nothing late.
* A log file without events costs no transaction: a hash of its address waits for the next.
* An older format is migrated in one transaction, after a copy of the file has been made.

What the tables hold is in ``schema``, how that is read and written in ``tables``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4, uuid5

from exporter.codecommit import Repository, Subject
from exporter.errors import ConfigError, LedgerUnavailable
from exporter.families import FAMILY, Series, SeriesState
from exporter.grouping import Groups
from exporter.journal import Journal
from exporter.knowledge import Known, Learnt, Repositories
from exporter.ledger.book import Book, Change, Policy
from exporter.ledger.copies import copy_beside
from exporter.ledger.place import Place, refuse_lost
from exporter.ledger.schema import APPLICATION_ID, FORMAT, MIGRATION_TO_2, SCHEMA
from exporter.ledger.tables import (
    DAY_MS,
    EDGE_MS,
    PERIOD_MS,
    Asked,
    Replay,
    SeenIds,
    SqliteMemory,
    drop_replay,
    forget_hashes,
    keep_fact,
    keep_hashes,
    keep_lag,
    keep_replay,
    keep_repositories,
    keep_series,
    kept_hashes,
    kept_renames,
    kept_replay,
    kept_repositories,
    kept_series,
    log_file_hash,
    log_file_hashes,
)
from exporter.notifications import LogFile
from exporter.retirement import Retirement
from exporter.tally import Reading, Tally, tally
from exporter.timestamps import usable_ms

FLOOR_STEP_MS = 3600 * 1000
GROUP_SIZE_MAX = 50
GROUP_SIZE_ENOUGH = 16
LINGER_SECONDS = 0.05
"""How long a commit of fewer readings than are enough waits for more: half of what one costs is
the transaction, whatever it holds."""
HASHES_WAITING_MAX = 10_000
FORGOTTEN_AT_ONCE = 1000
"""How many hashes of a day long over a commit forgets: a busy day's millions, all in one,
would keep those waiting that come after."""
LEARNT_MAX = 4096
"""How much of what is known of ids stays in memory from one transaction to the next."""

PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    # Some builds overwrite what is deleted with zeros; a period's table would be written once
    # more, whole, to be dropped.
    "secure_delete = OFF",
    # In KiB, taken as it is needed. Ids are random: where there are many, each is on a page of
    # its own, and with the usual 2 MB twice as many are read from the file.
    "cache_size = -32768",
    # In pages. The same page is changed by many transactions and written back once for all.
    "wal_autocheckpoint = 4000",
    # A single large transaction would make the file beside the ledger as large for good.
    "journal_size_limit = 67108864",
)
SQLITE_VERSION_MIN = (3, 37)
"""The first version with STRICT tables."""
OLDER = UUID("6f6d0bd8-52a7-4b6e-8f1c-0d9a4be2f3c1")
"""The namespace of the ids, made of their birth, of ledgers that were started without one."""

Answer = TypeVar("Answer")


class SqliteLedger:
    """
    A ledger in one SQLite file. ``await SqliteLedger.open(…)`` makes one.
    """

    def __init__(
        self,
        place: Place,
        *,
        window_ms: int,
        policy: Policy,
        now: Callable[[], float],
    ) -> None:
        self._place = place
        self._path = place.path
        self._files = [place.path, place.beside("-wal")]
        self._window_ms = window_ms
        self._policy = policy
        self._now = now
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._groups = Groups(
            self._commit_group,
            size_max=GROUP_SIZE_MAX,
            name="ledger commits",
            linger_seconds=LINGER_SECONDS,
            enough=GROUP_SIZE_ENOUGH,
        )
        self._turn = asyncio.Lock()
        self._writes: set[asyncio.Task[object]] = set()
        self._hashes: list[int] = []
        self._bytes = 0
        self._book = Book(policy)
        self._replay: Replay | None = None
        self._in_doubt = False
        self._writable = True
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        window_seconds: float,
        policy: Policy,
        now: Callable[[], float] = time.time,
        waiting: Callable[[], None] = lambda: None,
        missing: Callable[[Place], Awaitable[Replay | None]] = refuse_lost,
    ) -> SqliteLedger:
        """
        Open the ledger in a file, or start one there.

        Waits while another process has it open, and calls ``waiting`` once if so.

        Args:
            path: The file; its folder is made if need be.
            window_seconds: For how long an event's id is remembered, by its ``eventTime``.
            policy: What is to be done with series.
            now: The clock, in seconds since 1970.
            waiting: Told that another process has the ledger.
            missing: Asked where there is no ledger. It may put a copy there, and otherwise
                says what an empty one has to catch up with.

        Raises:
            ConfigError: The file is no ledger, or one of a newer version, or on a network.
            LedgerLost: There was a ledger, and ``missing`` does not know what to do.
            LedgerUnavailable: The file or its folder cannot be used.
        """
        if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
            raise ConfigError(
                f"SQLite {sqlite3.sqlite_version} is too old; 3.37 or later is needed"
            )
        place = await Place.take(path, waiting)
        ledger = cls(place, window_ms=round(window_seconds * 1000), policy=policy, now=now)
        try:
            replay = None
            if not await ledger._in_thread(place.holds_ledger):
                replay = await missing(place)
            await ledger._in_thread(partial(ledger._open, replay))
        except BaseException:
            await ledger.close()
            raise
        return ledger

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
        return self._bytes

    @property
    def writable(self) -> bool:
        return self._writable

    @property
    def born_ms(self) -> int:
        """
        When the ledger was started, in milliseconds since 1970.
        """
        return self._born_ms

    @property
    def replay(self) -> Replay | None:
        """
        What the ledger has to catch up with before it is used, if anything.

        A copy that is dated ahead was made under a wrong clock, which says nothing.
        """
        if self._replay and self._replay.from_ms > self._now_ms():
            return self._replay._replace(from_ms=min(self._born_ms, self._now_ms()))
        return self._replay

    async def replayed(self) -> None:
        """
        Take note that the ledger has caught up.

        Raises:
            LedgerUnavailable: It still has to.
        """
        self._refuse_if_closed()
        await self._undisturbed(self._end_replay())

    async def unread(self, log_files: Sequence[LogFile]) -> list[LogFile]:
        """
        Those log files, in their order, that have not been read in the last days.

        Raises:
            LedgerUnavailable: The ledger cannot be read.
        """
        self._refuse_if_closed()
        hashes = list(map(log_file_hash, log_files))
        read = await self._in_thread(lambda: kept_hashes(self._db, hashes))
        read.update(self._hashes)
        return [one for one, its in zip(log_files, hashes, strict=True) if its not in read]

    def beside(self, ending: str) -> Path:
        """
        A file in the ledger's folder, named like it but for the ending.
        """
        return self._place.beside(ending)

    async def copy(self, into: Path) -> None:
        """
        Copy the ledger as it is now into a file; commits go on meanwhile.

        Raises:
            LedgerUnavailable: There is no copy.
        """
        self._refuse_if_closed()
        await copy_beside(self._path, into, self._now_ms())

    async def commit(self, reading: Reading) -> Tally:
        """
        Count one reading's events and keep the result; see ``Ledger``.
        """
        self._refuse_if_closed()
        if not reading.is_empty:
            # Whoever catches up commits one by one, and would wait for nobody.
            return await self._groups.submit(reading, urgent=self._replay is not None)
        self._hashes += log_file_hashes([reading])
        if len(self._hashes) >= HASHES_WAITING_MAX:
            await self._undisturbed(self._write([]))
        return Tally()

    async def release(self, series: Collection[Series]) -> None:
        """
        End the hold of these series for good; see ``Ledger``.
        """
        self._refuse_if_closed()
        await self._undisturbed(self._release(series))

    async def close(self) -> None:
        """
        Finish what is under way, close the file and give up the lock.
        """
        if self._closed:
            return
        self._closed = True
        await self._groups.settle()
        if self._writes:
            await asyncio.wait(self._writes)
        try:
            if self._hashes:
                with suppress(LedgerUnavailable):  # they cost a refetch, never a count
                    await self._write([])
        finally:
            await self._in_thread(self._close)
            self._thread.shutdown()
            self._place.leave()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise LedgerUnavailable(f"{self._path}: the ledger is closed")

    async def _commit_group(self, readings: Sequence[Reading]) -> Sequence[Tally | Exception]:
        try:
            return await self._write(readings)
        except Exception as error:
            if len(readings) == 1:
                raise
            first = error
        answers: list[Tally | Exception] = []
        for reading in readings:
            try:
                answers += await self._write([reading])
            except LedgerUnavailable as error:
                answers.append(error)
            except Exception as error:  # noqa: BLE001 - it is raised to whoever submitted the reading
                error.__context__ = first
                answers.append(error)
        return answers

    async def _write(self, readings: Sequence[Reading]) -> Sequence[Tally]:
        """
        Commit some readings in one transaction, and show them once that is done.
        """
        async with self._turn:
            hashes, self._hashes = self._hashes, []
            try:
                tallies, change = await self._in_thread(
                    partial(self._count, readings, hashes, self._now_ms())
                )
            except BaseException:
                self._hashes = (hashes + self._hashes)[:HASHES_WAITING_MAX]
                raise
            self._book.update(change)
            self._in_doubt = False
            return tallies

    async def _release(self, series: Collection[Series]) -> None:
        async with self._turn:
            change = await self._in_thread(partial(self._keep_released, series, self._now_ms()))
            self._book.update(change)
            self._in_doubt = False

    async def _end_replay(self) -> None:
        async with self._turn:
            await self._in_thread(self._drop_replay)

    async def _undisturbed(self, work: Coroutine[object, object, Answer]) -> Answer:
        """
        Let a write come to its end even if its caller is cancelled meanwhile.

        The file would otherwise be ahead of ``series``, and the next commit, which writes
        new values computed from ``series``, would take back what this one has added.
        """
        task = asyncio.create_task(work, name="ledger write")
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        """
        Run a piece of work in the one writer thread; SQLite's errors stop here.
        """
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._thread, work)
        except _OWN_FAULTS:
            raise
        except LedgerUnavailable:
            self._writable = False
            raise
        except (sqlite3.Error, OSError) as error:
            self._writable = False
            raise LedgerUnavailable(f"{self._path}: {error}") from error
        self._writable = True
        return answer

    def _now_ms(self) -> int:
        return round(self._now() * 1000)

    # What follows runs in the writer thread.

    def _open(self, replay: Replay | None) -> None:
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        new = self._is_new()
        version = FORMAT if new else self._version()
        for pragma in PRAGMAS:
            self._db.execute(f"PRAGMA {pragma}")
        if version < FORMAT:
            self._keep_format(version)
        with self._transaction():
            if new:
                self._start(replay)
            if version < 2:
                self._migrate_to_2()
            self._forget_outgrown_families()
            if not self._policy.hold or kept_replay(self._db):
                self._db.execute(
                    "UPDATE series SET released_ms = ? WHERE released_ms IS NULL",
                    (self._now_ms(),),
                )
        try:
            self._load()
        except (KeyError, TypeError, ValueError) as error:
            raise LedgerUnavailable(f"{self._path} holds what no ledger holds") from error
        self._hold_what_comes_back()
        self._in_doubt = False
        self._place.mark()

    def _close(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()

    def _is_new(self) -> bool:
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        return not tables

    def _start(self, replay: Replay | None) -> None:
        for statement in SCHEMA.split(";"):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version = {FORMAT}")
        self._db.executemany(
            "INSERT INTO fact VALUES (?, ?)",
            [
                ("born_ms", self._now_ms()),
                ("floor_ms", 0),
                ("period_ms", PERIOD_MS),
                ("identity", str(uuid4())),
            ],
        )
        if replay:
            keep_replay(self._db, replay)

    def _version(self) -> int:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise ConfigError(f"{self._path} is an SQLite file, but no ledger of this program")
        if version > FORMAT:
            raise ConfigError(
                f"{self._path} was written by a newer version (format {version}, this program "
                f"reads up to {FORMAT}): install that version again, or restore a backup"
            )
        return int(version)

    def _keep_format(self, version: int) -> None:
        """
        Keep the ledger as it is, beside the file, before it gets another format.
        """
        kept = self.beside(f".format-{version}")
        kept.unlink(missing_ok=True)  # half of one, where this was cut short
        self._db.execute("VACUUM INTO ?", (str(kept),))
        with kept.open("rb") as file:
            os.fsync(file.fileno())

    def _migrate_to_2(self) -> None:
        """
        Make format 2 of format 1, inside the transaction that opens the ledger.

        Every repository that a series names is active from now on.
        """
        for statement in MIGRATION_TO_2.split(";"):
            self._db.execute(statement)
        named = {
            Repository(*json.loads(labels)[:3])
            for (labels,) in self._db.execute("SELECT labels FROM series")
        }
        now_ms = self._now_ms()
        keep_repositories(
            self._db,
            {repository: Known(active_ms=now_ms) for repository in named if repository.name},
        )
        self._db.execute("PRAGMA user_version = 2")

    def _forget_outgrown_families(self) -> None:
        """
        Drop the series of families whose bucket list is no longer the one they were kept with.
        """
        kept = dict(self._db.execute("SELECT name, buckets FROM family"))
        for name, family in FAMILY.items():
            buckets = json.dumps(family.buckets)
            if kept.get(name, buckets) != buckets:
                self._db.execute("DELETE FROM series WHERE family = ?", (name,))
            self._db.execute("INSERT OR REPLACE INTO family VALUES (?, ?)", (name, buckets))

    def _hold_what_comes_back(self) -> None:
        """
        Hold series that had left the page when the ledger was last open, and now have not.

        That is so where another retirement was in force. Nobody has seen their totals lately.
        """
        after_ms = self._policy.retirement.after_ms
        if after_ms == self._retired_after_ms:
            return
        change = self._book.coming_back(Retirement(self._retired_after_ms), self._now_ms())
        self._in_doubt = False
        with self._transaction():
            keep_series(self._db, change.series)
            keep_fact(self._db, "retire_after_ms", after_ms)
        self._book.update(change)

    def _load(self) -> None:
        facts = dict(self._db.execute("SELECT name, value FROM fact"))
        self._born_ms: int = facts["born_ms"]
        self._identity: str = facts.get("identity") or str(uuid5(OLDER, str(self._born_ms)))
        self._floor_ms: int = facts["floor_ms"]
        self._retired_after_ms: int = facts.get("retire_after_ms", 0)
        self._forgotten = 0  # the day on which all older ones were
        self._lag = (0, 0)  # a day, and how late a log file was counted then
        self._learnt: dict[Subject, Learnt | None] = {}
        self._periods = {
            int(name.removeprefix("seen_"))
            for (name,) in self._db.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'seen_[0-9]*'"
            )
        }
        self._renames = kept_renames(self._db)
        self._replay = kept_replay(self._db)
        policy = replace(self._policy, hold=False) if self._replay else self._policy
        self._book = Book(
            policy,
            kept_series(self._db),
            kept_repositories(self._db),
            self._book.journal,
            facts.get("counted_ms", 0),
        )
        self._measure()

    def _measure(self) -> None:
        """
        See how much room the ledger takes; where that cannot be told, the last figure stays.
        """
        with suppress(OSError):
            self._bytes = sum(file.stat().st_size for file in self._files)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """
        All of the block or nothing of it.

        Which of the two it was is not certain where the commit itself fails, or something
        after it. Until ``series`` shows what a transaction did, memory is in doubt, and the
        next transaction first reads it again from the file.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._place.check()
            if self._in_doubt:
                self._load()
            self._in_doubt = True
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _count(
        self, readings: Sequence[Reading], hashes: Sequence[int], now_ms: int
    ) -> tuple[Sequence[Tally], Change]:
        """
        The transaction: look up, remember, add.
        """
        with self._transaction():
            self._raise_floor(readings, now_ms)
            repositories = self._book.repositories()
            memory = self._memory(readings, repositories, now_ms)
            tallies = [tally(reading, memory, now_ms) for reading in readings]
            memory.write()
            change = self._book.changed(tallies, repositories.changed, now_ms)
            keep_series(self._db, change.series)
            keep_repositories(self._db, repositories.changed)
            if change.counted_ms:
                keep_fact(self._db, "counted_ms", change.counted_ms)
            # A file counts as read by the transaction that counts its events, not before.
            self._remember([*hashes, *log_file_hashes(readings)], now_ms // DAY_MS)
            if not self._replay:  # what is read once more is late for a reason of its own
                self._keep_lag(readings, now_ms)
        if len(self._learnt) > LEARNT_MAX:
            self._learnt.clear()
        self._measure()
        return tallies, change

    def _memory(
        self, readings: Sequence[Reading], repositories: Repositories, now_ms: int
    ) -> SqliteMemory:
        """
        What the ledger remembers that these readings may ask for.
        """
        ids = SeenIds(
            self._db,
            born_ms=self._born_ms,
            floor_ms=self._floor_ms,
            periods=self._periods,
            now_ms=now_ms,
            asked=(one for reading in readings for one in _counted_once(reading)),
        )
        return SqliteMemory(self._db, ids, repositories, self._renames, self._learnt)

    def _remember(self, hashes: Sequence[int], today: int) -> None:
        """
        Keep the hashes of log files, and forget more than that of days long over.
        """
        keep_hashes(self._db, hashes, today)
        some = FORGOTTEN_AT_ONCE + 2 * len(hashes)
        if self._forgotten != today and not forget_hashes(self._db, today, some):
            self._forgotten = today

    def _keep_lag(self, readings: Sequence[Reading], now_ms: int) -> None:
        """
        Keep how late these log files are counted, where others of the day were not as late.
        """
        delivered = [one.delivered_ms for one in readings if one.delivered_ms is not None]
        if not delivered:
            return
        lag = (now_ms // DAY_MS, now_ms - min(delivered))
        if lag[0] != self._lag[0] or lag > self._lag:
            keep_lag(self._db, *lag)
            self._lag = lag

    def _raise_floor(self, readings: Sequence[Reading], now_ms: int) -> None:
        """
        Let the floor follow clock and events upwards, and forget the periods wholly below it.
        """
        newest_ms = min(now_ms, _newest_ms(readings, now_ms))
        floor_ms = (newest_ms - self._window_ms) // FLOOR_STEP_MS * FLOOR_STEP_MS
        if floor_ms <= self._floor_ms:
            return
        self._floor_ms = floor_ms
        self._db.execute("UPDATE fact SET value = ? WHERE name = 'floor_ms'", (floor_ms,))
        # A copy of an event may bear a time that is a little younger; see EDGE_MS.
        over_ms = floor_ms - EDGE_MS
        for period in [one for one in self._periods if (one + 1) * PERIOD_MS <= over_ms]:
            self._db.execute(f"DROP TABLE seen_{period:d}")
            self._periods.discard(period)

    def _drop_replay(self) -> None:
        with self._transaction():
            if self._replay:
                drop_replay(self._db, self._replay)
        self._load()
        self._in_doubt = False

    def _keep_released(self, series: Collection[Series], now_ms: int) -> Change:
        with self._transaction():
            change = self._book.released(series, now_ms)
            keep_series(self._db, change.series)
        return change


def _counted_once(reading: Reading) -> Iterator[Asked]:
    """
    Everything in a reading that may have been seen before.
    """
    for event in reading.events:
        yield event.ids, event.time_ms
    for request in reading.kms_requests:
        yield request.ids, request.time_ms


def _newest_ms(readings: Sequence[Reading], now_ms: int) -> int:
    """
    The time of the newest event in some readings that can be right; 0 without one.
    """
    moments = (usable_ms(event.time_ms, now_ms) for reading in readings for event in reading.events)
    return max(filter(None, moments), default=0)


_OWN_FAULTS = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.InternalError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
)
"""What SQLite raises where the program, not the disk, is wrong; waiting mends none of them."""
