"""
Copies of a ledger, and what one has to catch up with once it takes the ledger's place.

A copy is older than the ledger it stands in for. Which log files have been counted in
between nobody knows any more, but the bucket still has them, and the copy knows the ids of
what it has counted. So every log file stored since some time before the copy was made is
counted again: what the copy knows adds nothing.

How long before is a question of how late log files are counted. A file that came late may
have been stored well before the copy was made, and counted after it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from threading import Event

from exporter.errors import LedgerUnavailable
from exporter.ledger.schema import APPLICATION_ID, FORMAT
from exporter.ledger.tables import DAY_MS, Replay, keep_replay, kept_replay, longest_lag_ms

LAG_MS_MIN = 2 * DAY_MS
"""Log files that are counted this late are not missed, even if none has been so late before."""

_PAGES_BETWEEN_LOOKS = 1024
_STEPS_BETWEEN_LOOKS = 100_000


def copy_ledger(path: Path, into: Path, now_ms: int, given_up: Event | None = None) -> None:
    """
    Copy a ledger into a file of its own, also while it is being written.

    The copy is one state of the ledger, sound, and knows what to catch up with. Nothing is
    left of one that failed.

    Args:
        given_up: Set from outside once nobody waits for the copy any more.

    Raises:
        LedgerUnavailable: The ledger cannot be read, or the copy not be written.
    """
    given_up = given_up or Event()
    # Whoever only reads cannot take away again what SQLite needs beside a ledger; whoever may
    # write does, and changes nothing where there is nothing to be written back.
    mode = "ro" if path.with_name(f"{path.name}-wal").exists() else "rw"
    try:
        into.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True)) as ledger,
            closing(sqlite3.connect(into)) as copy,
        ):
            for db in (ledger, copy):
                db.set_progress_handler(given_up.is_set, _STEPS_BETWEEN_LOOKS)
            _copy_pages(ledger, copy, given_up)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
            _check(copy)
            if kept_replay(copy) is None:
                lag_ms = max(LAG_MS_MIN, longest_lag_ms(copy))
                keep_replay(copy, Replay(max(0, now_ms - lag_ms), counts=True))
            copy.commit()
    except (sqlite3.Error, OSError) as error:
        with suppress(OSError):  # what matters is why there is no copy
            into.unlink(missing_ok=True)
        raise LedgerUnavailable(f"{path} cannot be copied: {error}") from error


def _copy_pages(ledger: sqlite3.Connection, copy: sqlite3.Connection, given_up: Event) -> None:
    """
    Copy all pages as they are at this moment. Raises sqlite3.OperationalError if given up.
    """

    def look(_: int, __: int, ___: int) -> None:
        if given_up.is_set():
            raise sqlite3.OperationalError("nobody waits for it any more")

    # While a transaction that has read is open it sees one state, whoever writes meanwhile.
    ledger.execute("BEGIN")
    ledger.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    ledger.backup(copy, pages=_PAGES_BETWEEN_LOOKS, progress=look, sleep=0)
    ledger.execute("ROLLBACK")


async def copy_beside(path: Path, into: Path, now_ms: int) -> None:
    """
    ``copy_ledger`` beside the event loop. Whoever is cancelled does not wait for its end.
    """
    given_up = Event()
    try:
        await asyncio.to_thread(copy_ledger, path, into, now_ms, given_up)
    finally:
        given_up.set()  # a thread cannot be cancelled


def check_copy(path: Path) -> None:
    """
    Nothing, if a file is a sound copy of a ledger that this program can read.

    Raises:
        LedgerUnavailable: It is not.
    """
    try:
        # Not for reading only: that would leave behind what SQLite needs beside a ledger.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as copy:
            _check(copy)
            if kept_replay(copy) is None:
                raise LedgerUnavailable("it is a ledger, but no copy of one")
    except (sqlite3.Error, OSError) as error:
        raise LedgerUnavailable(str(error)) from error


def _check(copy: sqlite3.Connection) -> None:
    (told,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if told != "ok":
        raise sqlite3.DatabaseError(told)
    (application,) = copy.execute("PRAGMA application_id").fetchone()
    (version,) = copy.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise sqlite3.DatabaseError("it is no ledger of this program")
    if version > FORMAT:
        raise sqlite3.DatabaseError(
            f"it is of format {version}, and was written by a newer version"
        )
