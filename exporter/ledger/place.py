"""
Where a ledger's file lies: who has it, whether it is sound, whether there was one before.

Rules:

1. A lock beside the file makes a place one process's own. The kernel gives it up when that
   process ends, however it ends.
2. A marker beside the file says that a ledger was started there. It is written once the
   ledger is there, so where it stands without one, a ledger has been lost.
3. What is damaged is moved aside, and never deleted: somebody may know how to mend it.
4. SQLite's locks and shared memory do not hold on a network file system.
5. Somebody may take ledger or lock away while they are in use. Whoever writes looks first
   whether both are still the files that were opened.
"""

from __future__ import annotations

import asyncio
import fcntl
import glob
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from exporter.errors import ConfigError, LedgerLost, LedgerUnavailable
from exporter.ledger.schema import APPLICATION_ID

LOCK_RETRY_SECONDS = 0.5
MOUNTS = Path("/proc/self/mountinfo")
"""Linux tells there what is mounted where (proc(5)); elsewhere nothing is refused."""

_NETWORK_FILE_SYSTEM = re.compile(
    r"nfs\d*|cifs|smb\w*|ncpfs|afs|coda|ceph|glusterfs|lustre|gpfs|beegfs|ocfs2|gfs2|"
    r"fuse\.(?:sshfs|glusterfs|ceph\S*|s3fs|s3backer|rclone|goofys|mount-s3|juicefs|lizardfs|curlftpfs)"
)
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Place:
    """
    The place of a ledger, taken for this process alone. ``await Place.take(…)`` makes one.

    ``path`` is the ledger's file; ``moved_aside`` what a damaged one there has become.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.moved_aside: Path | None = None
        self._lock = lock
        self._lock_file = self.beside(".lock")
        self._ledger: tuple[int, int] | None = None

    @classmethod
    async def take(cls, path: Path, waiting: Callable[[], None] = lambda: None) -> Place:
        """
        Take a place, however long another process has it.

        Args:
            path: The ledger's file; its folder is made if need be.
            waiting: Called once if another process has the place.

        Raises:
            ConfigError: It is on a network file system.
            LedgerUnavailable: The folder cannot be used.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The lock stands beside the real file, whichever way leads to it.
            path = path.resolve()  # noqa: ASYNC240 - once, at the start
            _refuse_network_file_system(path)
            lock = await _exclusive_lock(path.with_name(f"{path.name}.lock"), waiting)
        except (OSError, RuntimeError) as error:  # the second for a link that leads to itself
            raise LedgerUnavailable(f"{path}: {error}") from error
        return cls(path, lock)

    def beside(self, ending: str) -> Path:
        """
        A file in the ledger's folder, named like it but for the ending.
        """
        return self.path.with_name(self.path.name + ending)

    def leave(self) -> None:
        """
        Let others have the place.
        """
        os.close(self._lock)

    @property
    def had_ledger(self) -> bool:
        """
        Whether a ledger has been here, as far as the place itself tells.
        """
        return self.moved_aside is not None or self._marker.exists()

    def mark(self) -> None:
        """
        Leave word that a ledger is here, and remember which file it is. Raises OSError.
        """
        if not self._marker.exists():
            self._marker.write_text(f"{self.path.name} was started here.\n")
        self._ledger = _identity(self.path.stat()) if self.path.exists() else None

    def check(self) -> None:
        """
        Nothing, if ledger and lock are still where they were.

        What is written to a file that somebody has removed is gone when it is closed, and
        without its lock another process may be at the ledger.

        Raises:
            LedgerUnavailable: One of them is gone, or another file.
        """
        try:
            lock = _identity(self._lock_file.stat())
            ledger = _identity(self.path.stat())
        except OSError as error:
            raise self._taken_away() from error
        if lock != _identity(os.fstat(self._lock)) or self._ledger not in {None, ledger}:
            raise self._taken_away()

    def _taken_away(self) -> LedgerUnavailable:
        return LedgerUnavailable(
            f"{self.path} or its lock was taken away while it was open",
            hint="Nothing is counted any more, nor deleted from the queue; start the program anew.",
        )

    def holds_ledger(self) -> bool:
        """
        Whether there is something to open; a damaged ledger is moved aside, and is not there.

        Raises:
            LedgerUnavailable: It cannot be read for another reason, or is damaged and nothing
                says that it is a ledger.
        """
        try:
            return self._is_sound()
        except (sqlite3.Error, OSError) as error:
            raise LedgerUnavailable(f"{self.path}: {error}") from error

    def put(self, file: Path) -> None:
        """
        Put a file where there is no ledger; it is there as a whole or not at all.

        Raises:
            LedgerUnavailable: The disk does not take it.
        """
        try:
            # What SQLite kept beside the old ledger must not meet the new one.
            self._move_aside()
            file.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self.mark()
        except OSError as error:
            raise LedgerUnavailable(f"{self.path}: {error}") from error

    @property
    def _marker(self) -> Path:
        return self.beside(".marker")

    def _is_sound(self) -> bool:
        """
        Whether a sound database is there; a damaged ledger is moved aside.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            if self.beside("-wal").exists():  # SQLite would throw away what is left of a ledger
                self._set_aside()
            return False
        with closing(sqlite3.connect(self.path)) as db:
            try:
                return _has_tables(db)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error) or not (self._marker.exists() or _is_ledger(self.path)):
                    raise
        self._set_aside()
        return False

    def _set_aside(self) -> None:
        """
        Move a damaged ledger away, but leave word: its place is not where nothing has been.
        """
        self.mark()
        self.moved_aside = self._move_aside()
        self._ledger = None

    def _move_aside(self) -> Path:
        """
        Give the ledger and what SQLite keeps beside it other names, which tell the time.
        """
        beside = ("", "-wal", "-shm")
        first = name = f"{self.path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        numbers = count(2)
        while any(self.path.with_name(name + suffix).exists() for suffix in beside):
            name = f"{first}-{next(numbers)}"
        for suffix in beside:
            file = self.beside(suffix)
            if file.exists() and file.stat().st_size:
                file.rename(self.path.with_name(name + suffix))
        return self.path.with_name(name)


async def refuse_lost(place: Place) -> None:
    """
    Begin with nothing where nothing has been.

    Raises:
        LedgerLost: There was a ledger.
    """
    if place.had_ledger:
        raise lost(place)


def lost(place: Place) -> LedgerLost:
    """
    The error of a place whose ledger is gone.
    """
    aside = place.path.parent.glob(f"{glob.escape(place.path.name)}.damaged-*Z*")
    damaged = sorted(file for file in aside if not file.name.endswith(("-wal", "-shm")))
    if damaged:
        return LedgerLost(f"{place.path} is lost; what is left of it is {damaged[-1].name}")
    return LedgerLost(f"{place.path} is gone: a ledger was started here, and nothing is left of it")


def network_file_system(path: Path, mounts: str) -> str | None:
    """
    The type of the file system that a path is on, if that is one that comes over a network.

    Args:
        path: An absolute path without links.
        mounts: What is mounted where, as in ``/proc/self/mountinfo``.
    """
    found = (Path("/"), "")
    for line in mounts.split("\n"):
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4]))
        # Of several mounts on one point the last is the one that is seen.
        if path.is_relative_to(point) and len(point.parts) >= len(found[0].parts):
            found = (point, after.split(" ")[0])
    return found[1] if _NETWORK_FILE_SYSTEM.fullmatch(found[1]) else None


def _refuse_network_file_system(path: Path) -> None:
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    if kind := network_file_system(path, mounts):
        raise ConfigError(
            f"{path} is on a network file system ({kind}), where SQLite cannot keep a ledger safe; "
            "choose a local disk with --state.directory or --ledger.url"
        )


def _is_damage(error: sqlite3.Error) -> bool:
    """
    Whether SQLite says that a file is damaged, or no database at all.
    """
    # The low byte is the primary code, whatever the extended one adds.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _has_tables(db: sqlite3.Connection) -> bool:
    """
    Whether there is anything in a database. Raises sqlite3.DatabaseError where it is damaged.
    """
    (told,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if told != "ok":
        error = sqlite3.DatabaseError(told)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return bool(tables)


def _is_ledger(path: Path) -> bool:
    """
    Whether a damaged database still says in its header that it is a ledger.
    """
    with path.open("rb") as file:
        header = file.read(72)
    return header.startswith(b"SQLite format 3\0") and header[68:] == APPLICATION_ID.to_bytes(4)


async def _exclusive_lock(path: Path, waiting: Callable[[], None]) -> int:
    """
    Take the lock file for this process alone, however long another one has it.
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
