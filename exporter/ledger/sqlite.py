"""
The SQLite ledger: one file, one writer, one transaction for ids and totals.

Theory of operation

* One process owns the file: an exclusive lock stands beside it for as long as the ledger
  is open. Therefore the series can be held in memory as well, and a commit writes their
  new values instead of reading the old ones.
* One thread writes. Readings that arrive while it commits go together into the next
  transaction; if that fails, each is tried alone, so that one reading's fault is its own.
* ``synchronous=FULL``: a message is deleted once the commit has returned, so what has
  been committed must survive a power cut.
* An event's ids live in one table per period of ``eventTime``. A period is forgotten by
  dropping its table, once it lies wholly below the floor. The floor is stored and only
  grows, so that no clock can open forgotten time again: an event between the ledger's
  birth and the floor is late, and not counted.
* Events older than the ledger itself, or without a usable time, cannot be placed so.
  Their ids are kept for good.
* A log file without events costs no transaction: a hash of its address waits for the next.

What each table holds is written beside it in ``SCHEMA``.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import (
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from exporter.codecommit import Event, Repository
from exporter.errors import ConfigError, LedgerUnavailable
from exporter.families import FAMILY, Series, SeriesState, Total
from exporter.grouping import Groups
from exporter.ledger import changed_series, released_series
from exporter.notifications import LogFile
from exporter.tally import Reading, Sight, Tally, tally

APPLICATION_ID = 0x43434531
"""Says in the file's header whose it is: "CCE1" in ASCII."""

FORMAT = 1
"""The format this program writes, in the header's ``user_version``."""

SCHEMA = """
-- Single facts. born_ms, floor_ms: in milliseconds since 1970. period_ms: the length of the
-- periods that the seen_<period> tables are numbered by.
CREATE TABLE fact (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

-- The bucket list of each family's data: a family declared with another list starts anew.
CREATE TABLE family (name TEXT PRIMARY KEY, buckets TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Totals. labels: a JSON list in the family's order. amount: a count, a sum in thousandths
-- or the newest time in milliseconds. buckets: a JSON list, not cumulated. released_ms: the
-- end of the hold, NULL while held.
CREATE TABLE series (
    family TEXT NOT NULL,
    labels TEXT NOT NULL,
    amount INTEGER NOT NULL,
    buckets TEXT NOT NULL,
    born_ms INTEGER NOT NULL,
    released_ms INTEGER,
    PRIMARY KEY (family, labels)
) STRICT, WITHOUT ROWID;

-- Repositories known to exist. deleted_ms: NULL while there.
CREATE TABLE repository (
    account_id TEXT NOT NULL,
    aws_region TEXT NOT NULL,
    name TEXT NOT NULL,
    deleted_ms INTEGER,
    PRIMARY KEY (account_id, aws_region, name)
) STRICT, WITHOUT ROWID;

-- Which repository an id belongs to. kind: pull_request, comment or repository. event_ms:
-- time of the event that taught it. created_ms: creation of a pull request, where known.
CREATE TABLE learnt (
    kind TEXT NOT NULL,
    account_id TEXT NOT NULL,
    aws_region TEXT NOT NULL,
    id TEXT NOT NULL,
    repository TEXT NOT NULL,
    event_ms INTEGER,
    created_ms INTEGER,
    PRIMARY KEY (kind, account_id, aws_region, id)
) STRICT, WITHOUT ROWID;

-- Log files read, by the day of reading and a hash of bucket and key.
CREATE TABLE log_file (
    day INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    PRIMARY KEY (day, hash)
) STRICT, WITHOUT ROWID;

-- Ids kept for good. Those of a period are in tables of the same shape, seen_<period>.
CREATE TABLE seen_kept (id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
"""

DAY_MS = 24 * 3600 * 1000
PERIOD_MS = 7 * DAY_MS
EDGE_MS = DAY_MS
"""Copies of one event may differ in time by this much; a look-up asks that far around."""

FLOOR_STEP_MS = 3600 * 1000
LOG_FILE_DAYS_KEPT = 3
GROUP_SIZE_MAX = 50
HASHES_WAITING_MAX = 10_000
LOCK_RETRY_SECONDS = 0.5

_KEPT = "seen_kept"

Answer = TypeVar("Answer")


class SqliteLedger:
    """
    A ledger in one SQLite file. ``await SqliteLedger.open(…)`` makes one.
    """

    def __init__(
        self,
        path: Path,
        lock: int,
        *,
        window_ms: int,
        hold: bool,
        now: Callable[[], float],
    ) -> None:
        self._path = path
        self._lock = lock
        self._window_ms = window_ms
        self._hold = hold
        self._now = now
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._groups = Groups(self._commit_group, size_max=GROUP_SIZE_MAX, name="ledger commits")
        self._turn = asyncio.Lock()
        self._writes: set[asyncio.Task[object]] = set()
        self._hashes: list[int] = []
        self._repositories = 0
        self._bytes = 0
        self._series: dict[Series, SeriesState] = {}
        self._in_doubt = False
        self._writable = True
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        window_seconds: float,
        hold: bool,
        now: Callable[[], float] = time.time,
        waiting: Callable[[], None] = lambda: None,
    ) -> SqliteLedger:
        """
        Open the ledger in a file, or start one there.

        Waits while another process has it open, and calls ``waiting`` once if so.

        Args:
            path: The file; its folder is made if need be.
            window_seconds: For how long an event's id is remembered, by its ``eventTime``.
            hold: Whether new series are born held.
            now: The clock, in seconds since 1970.
            waiting: Told that another process has the ledger.

        Raises:
            ConfigError: The file is no ledger, or one of a newer version.
            LedgerUnavailable: The file or its folder cannot be used.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The lock stands beside the real file, whichever way leads to it.
            path = path.resolve()  # noqa: ASYNC240 - once, at the start
            lock = await _exclusive_lock(path.with_name(path.name + ".lock"), waiting)
        except OSError as error:
            raise LedgerUnavailable(f"{path}: {error}") from error
        ledger = cls(path, lock, window_ms=round(window_seconds * 1000), hold=hold, now=now)
        try:
            await ledger._in_thread(ledger._open)
        except BaseException:
            await ledger.close()
            raise
        return ledger

    @property
    def series(self) -> Mapping[Series, SeriesState]:
        return self._series

    @property
    def repositories(self) -> int:
        return self._repositories

    @property
    def bytes(self) -> int:
        return self._bytes

    @property
    def writable(self) -> bool:
        return self._writable

    async def commit(self, reading: Reading) -> Tally:
        """
        Count one reading's events and keep the result; see ``Ledger``.
        """
        self._refuse_if_closed()
        if reading.events:
            return await self._groups.submit(reading)
        self._hashes.append(log_file_hash(reading.log_file))
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
            os.close(self._lock)

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
                tallies, changed = await self._in_thread(
                    partial(self._count, readings, hashes, self._now_ms())
                )
            except BaseException:
                self._hashes = (hashes + self._hashes)[:HASHES_WAITING_MAX]
                raise
            self._series.update(changed)
            self._in_doubt = False
            return tallies

    async def _release(self, series: Collection[Series]) -> None:
        async with self._turn:
            changed = await self._in_thread(partial(self._keep_released, series, self._now_ms()))
            self._series.update(changed)
            self._in_doubt = False

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
        except (sqlite3.Error, OSError) as error:
            self._writable = False
            raise LedgerUnavailable(f"{self._path}: {error}") from error
        self._writable = True
        return answer

    def _now_ms(self) -> int:
        return round(self._now() * 1000)

    # What follows runs in the writer thread.

    def _open(self) -> None:
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        new = self._is_new()
        if not new:
            self._check_format()
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            if new:
                self._start()
            self._forget_outgrown_families()
            if not self._hold:
                self._db.execute(
                    "UPDATE series SET released_ms = ? WHERE released_ms IS NULL",
                    (self._now_ms(),),
                )
        self._load()
        self._in_doubt = False

    def _close(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()

    def _is_new(self) -> bool:
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        return not tables

    def _start(self) -> None:
        for statement in SCHEMA.split(";"):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version = {FORMAT}")
        self._db.executemany(
            "INSERT INTO fact VALUES (?, ?)",
            [("born_ms", self._now_ms()), ("floor_ms", 0), ("period_ms", PERIOD_MS)],
        )

    def _check_format(self) -> None:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise ConfigError(f"{self._path} is an SQLite file, but no ledger of this program")
        if version > FORMAT:
            raise ConfigError(
                f"{self._path} was written by a newer version (format {version}, this program "
                f"reads up to {FORMAT}): install that version again, or restore a backup"
            )

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

    def _load(self) -> None:
        facts = dict(self._db.execute("SELECT name, value FROM fact"))
        self._born_ms: int = facts["born_ms"]
        self._floor_ms: int = facts["floor_ms"]
        self._periods = {
            int(name.removeprefix("seen_"))
            for (name,) in self._db.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'seen_[0-9]*'"
            )
        }
        self._series = {
            Series(family, tuple(json.loads(labels))): SeriesState(
                Total(amount, tuple(json.loads(buckets))), born_ms, released_ms
            )
            for family, labels, amount, buckets, born_ms, released_ms in self._db.execute(
                "SELECT family, labels, amount, buckets, born_ms, released_ms FROM series"
            )
            if family in FAMILY
        }
        (self._repositories,) = self._db.execute("SELECT count(*) FROM repository").fetchone()
        self._measure()

    def _measure(self) -> None:
        """
        See how much room the ledger takes; where that cannot be told, the last figure stays.
        """
        names = [self._path.name + suffix for suffix in ("", "-wal")]
        with suppress(OSError):
            self._bytes = sum(self._path.with_name(name).stat().st_size for name in names)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """
        All of the block or nothing of it.

        Which of the two it was is not certain where the commit itself fails, or something
        after it. Until ``series`` shows what a transaction did, memory is in doubt, and the
        next transaction first reads it again from the file.
        """
        if self._in_doubt:
            self._load()
        self._in_doubt = True
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _count(
        self, readings: Sequence[Reading], hashes: Sequence[int], now_ms: int
    ) -> tuple[Sequence[Tally], dict[Series, SeriesState]]:
        """
        The transaction: look up, remember, add.
        """
        with self._transaction():
            self._raise_floor(now_ms)
            memory = _Memory(self._db, self._born_ms, self._floor_ms, self._periods, now_ms)
            tallies = [tally(reading, memory, now_ms) for reading in readings]
            changed = changed_series(self._series, tallies, now_ms=now_ms, hold=self._hold)
            self._upsert_series(changed)
            # A file counts as read by the transaction that counts its events, not before.
            own = [log_file_hash(reading.log_file) for reading in readings]
            self._keep_hashes([*hashes, *own], now_ms // DAY_MS)
        self._repositories += memory.learnt
        self._measure()
        return tallies, changed

    def _raise_floor(self, now_ms: int) -> None:
        """
        Let the floor follow the clock upwards, and forget the periods wholly below it.
        """
        floor_ms = (now_ms - self._window_ms) // FLOOR_STEP_MS * FLOOR_STEP_MS
        if floor_ms <= self._floor_ms:
            return
        self._floor_ms = floor_ms
        self._db.execute("UPDATE fact SET value = ? WHERE name = 'floor_ms'", (floor_ms,))
        for period in [one for one in self._periods if (one + 1) * PERIOD_MS <= floor_ms]:
            self._db.execute(f"DROP TABLE seen_{period:d}")
            self._periods.discard(period)

    def _keep_released(self, series: Collection[Series], now_ms: int) -> dict[Series, SeriesState]:
        with self._transaction():
            changed = released_series(self._series, series, now_ms=now_ms)
            self._upsert_series(changed)
        return changed

    def _upsert_series(self, changed: Mapping[Series, SeriesState]) -> None:
        self._db.executemany(
            "INSERT INTO series (family, labels, amount, buckets, born_ms, released_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET amount = excluded.amount, buckets = excluded.buckets,"
            " released_ms = excluded.released_ms",
            [
                (
                    series.family,
                    json.dumps(series.labels),
                    state.total.amount,
                    json.dumps(state.total.buckets),
                    state.born_ms,
                    state.released_ms,
                )
                for series, state in changed.items()
            ],
        )

    def _keep_hashes(self, hashes: Sequence[int], today: int) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO log_file VALUES (?, ?)", [(today, one) for one in hashes]
        )
        self._db.execute("DELETE FROM log_file WHERE day < ?", (today - LOG_FILE_DAYS_KEPT,))


class _Memory:
    """
    What the ledger remembers, as of one transaction.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        born_ms: int,
        floor_ms: int,
        periods: set[int],
        now_ms: int,
    ) -> None:
        self._db = db
        self._born_ms = born_ms
        self._floor_ms = floor_ms
        self._periods = periods
        self._now_ms = now_ms
        self.learnt = 0

    def learn(self, repositories: Iterable[Repository]) -> None:
        self.learnt += self._db.executemany(
            "INSERT OR IGNORE INTO repository (account_id, aws_region, name) VALUES (?, ?, ?)",
            sorted(repositories),
        ).rowcount

    def knows(self, repository: Repository) -> bool:
        row = self._db.execute(
            "SELECT 1 FROM repository WHERE account_id = ? AND aws_region = ? AND name = ?",
            repository,
        )
        return row.fetchone() is not None

    def see(self, event: Event) -> Sight:
        time_ms = self._usable_time(event)
        if time_ms is not None and self._born_ms <= time_ms < self._floor_ms:
            return Sight.LATE
        seen = any(self._holds(table, event.ids) for table in self._tables_around(time_ms))
        home = self._home(time_ms)
        self._db.executemany(
            f"INSERT OR IGNORE INTO {home} VALUES (?)",  # noqa: S608 - a table of our own
            [(one,) for one in event.ids],
        )
        return Sight.REPEATED if seen else Sight.NEW

    def _usable_time(self, event: Event) -> int | None:
        """
        The event's time, unless it lies so far ahead that it cannot be one.
        """
        if event.time_ms is None or event.time_ms > self._now_ms + DAY_MS:
            return None
        return event.time_ms

    def _home(self, time_ms: int | None) -> str:
        """
        The table that an event's ids go to; made if it is not there yet.
        """
        if time_ms is None or time_ms < self._born_ms:
            return _KEPT
        period = time_ms // PERIOD_MS
        if period not in self._periods:
            self._db.execute(
                f"CREATE TABLE seen_{period:d} (id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID"
            )
            self._periods.add(period)
        return f"seen_{period:d}"

    def _tables_around(self, time_ms: int | None) -> list[str]:
        """
        The tables in which a copy of an event may have left its ids.
        """
        near = self._periods
        if time_ms is not None:
            first, last = (time_ms - EDGE_MS) // PERIOD_MS, (time_ms + EDGE_MS) // PERIOD_MS
            near = {period for period in self._periods if first <= period <= last}
        return [_KEPT, *(f"seen_{period:d}" for period in near)]

    def _holds(self, table: str, ids: tuple[bytes, ...]) -> bool:
        marks = ", ".join("?" * len(ids))
        row = self._db.execute(
            f"SELECT 1 FROM {table} WHERE id IN ({marks}) LIMIT 1",  # noqa: S608 - our own table
            ids,
        )
        return row.fetchone() is not None


def log_file_hash(log_file: LogFile) -> int:
    """
    Eight bytes that stand for a log file's address, as SQLite's signed integer.
    """
    address = f"{log_file.bucket}/{log_file.key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(address, digest_size=8).digest(), signed=True)


async def _exclusive_lock(path: Path, waiting: Callable[[], None]) -> int:
    """
    Take the lock file for this process alone, however long another one has it.

    The kernel gives the lock up when its process ends, however that ends.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    told = False
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    waiting()
                    told = True
                await asyncio.sleep(LOCK_RETRY_SECONDS)
            else:
                return lock
    except BaseException:
        os.close(lock)
        raise
