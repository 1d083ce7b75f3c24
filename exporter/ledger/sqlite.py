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
* A log file without events costs no transaction: a hash of its address waits for the next.
* An older format is migrated in one transaction, after a copy of the file has been made.

What the tables hold is in ``schema``, how that is read and written in ``tables``.
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
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from exporter.codecommit import Repository
from exporter.errors import ConfigError, LedgerUnavailable
from exporter.families import FAMILY, Series, SeriesState
from exporter.grouping import Groups
from exporter.knowledge import Known
from exporter.ledger.book import Book, Policy
from exporter.ledger.schema import APPLICATION_ID, FORMAT, MIGRATION_TO_2, SCHEMA
from exporter.ledger.tables import (
    DAY_MS,
    PERIOD_MS,
    SeenIds,
    SqliteMemory,
    keep_hashes,
    keep_repositories,
    keep_series,
    kept_repositories,
    kept_series,
    log_file_hashes,
)
from exporter.retirement import Retirement
from exporter.tally import Reading, Tally, tally

FLOOR_STEP_MS = 3600 * 1000
GROUP_SIZE_MAX = 50
HASHES_WAITING_MAX = 10_000
LOCK_RETRY_SECONDS = 0.5

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
        policy: Policy,
        now: Callable[[], float],
    ) -> None:
        self._path = path
        self._lock = lock
        self._window_ms = window_ms
        self._policy = policy
        self._now = now
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._groups = Groups(self._commit_group, size_max=GROUP_SIZE_MAX, name="ledger commits")
        self._turn = asyncio.Lock()
        self._writes: set[asyncio.Task[object]] = set()
        self._hashes: list[int] = []
        self._bytes = 0
        self._book = Book(policy)
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
        ledger = cls(path, lock, window_ms=round(window_seconds * 1000), policy=policy, now=now)
        try:
            await ledger._in_thread(ledger._open)
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
        if not reading.is_empty:
            return await self._groups.submit(reading)
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
                tallies, changed, known = await self._in_thread(
                    partial(self._count, readings, hashes, self._now_ms())
                )
            except BaseException:
                self._hashes = (hashes + self._hashes)[:HASHES_WAITING_MAX]
                raise
            self._book.update(changed, known)
            self._in_doubt = False
            return tallies

    async def _release(self, series: Collection[Series]) -> None:
        async with self._turn:
            changed = await self._in_thread(partial(self._keep_released, series, self._now_ms()))
            self._book.update(changed, {})
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
        version = FORMAT if new else self._version()
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        if version < FORMAT:
            self._copy(version)
        with self._transaction():
            if new:
                self._start()
            if version < 2:
                self._migrate_to_2()
            self._forget_outgrown_families()
            if not self._policy.hold:
                self._db.execute(
                    "UPDATE series SET released_ms = ? WHERE released_ms IS NULL",
                    (self._now_ms(),),
                )
        self._load()
        self._hold_what_comes_back()
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

    def _copy(self, version: int) -> None:
        """
        Keep the ledger as it is, beside the file, before it gets another format.
        """
        copy = self._path.with_name(f"{self._path.name}.format-{version}")
        copy.unlink(missing_ok=True)  # half of one, where a copy was cut short
        self._db.execute("VACUUM INTO ?", (str(copy),))

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
        changed = self._book.coming_back(Retirement(self._retired_after_ms), self._now_ms())
        self._in_doubt = False
        with self._transaction():
            keep_series(self._db, changed)
            self._db.execute(
                "INSERT OR REPLACE INTO fact VALUES ('retire_after_ms', ?)", (after_ms,)
            )
        self._book.update(changed, {})

    def _load(self) -> None:
        facts = dict(self._db.execute("SELECT name, value FROM fact"))
        self._born_ms: int = facts["born_ms"]
        self._floor_ms: int = facts["floor_ms"]
        self._retired_after_ms: int = facts.get("retire_after_ms", 0)
        self._periods = {
            int(name.removeprefix("seen_"))
            for (name,) in self._db.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'seen_[0-9]*'"
            )
        }
        self._book = Book(self._policy, kept_series(self._db), kept_repositories(self._db))
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
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _count(
        self, readings: Sequence[Reading], hashes: Sequence[int], now_ms: int
    ) -> tuple[Sequence[Tally], dict[Series, SeriesState], dict[Repository, Known]]:
        """
        The transaction: look up, remember, add.
        """
        with self._transaction():
            self._raise_floor(now_ms)
            repositories = self._book.repositories()
            ids = SeenIds(self._db, self._born_ms, self._floor_ms, self._periods, now_ms)
            memory = SqliteMemory(self._db, ids, repositories)
            tallies = [tally(reading, memory, now_ms) for reading in readings]
            memory.write()
            changed = self._book.changed(tallies, repositories.changed, now_ms)
            keep_series(self._db, changed)
            keep_repositories(self._db, repositories.changed)
            # A file counts as read by the transaction that counts its events, not before.
            keep_hashes(self._db, [*hashes, *log_file_hashes(readings)], now_ms // DAY_MS)
        self._measure()
        return tallies, changed, repositories.changed

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
            changed = self._book.released(series, now_ms)
            keep_series(self._db, changed)
        return changed


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
