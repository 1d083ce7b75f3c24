"""
What the tables of the SQLite ledger hold, read and written.

Rules:

1. An event's ids live in one table per period of its time, and a look-up also asks the
   neighbour near an edge. Ids that are older than the ledger itself, or without a usable
   time, cannot be placed so: they are kept for good.
2. Nothing here begins or ends a transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

from exporter.codecommit import IdKind, Repository, Subject
from exporter.families import FAMILY, Series, SeriesState, Total
from exporter.knowledge import Known, Learnt, Rename, Renames, Repositories, Sight
from exporter.notifications import LogFile
from exporter.tally import Reading

DAY_MS = 24 * 3600 * 1000
PERIOD_MS = 7 * DAY_MS
EDGE_MS = DAY_MS
"""Copies of one event may differ in time by this much; a look-up asks that far around."""

LOG_FILE_DAYS_KEPT = 3

Asked = tuple[tuple[bytes, ...], int | None]
"""The ids and the time of an event, or of something else that is counted once."""

Period = int | None
"""The number of a table of ids, None for that of the ids kept for good."""

_LAG = "lag_ms_"
_LOOKED_UP_MAX = 512
"""How many hashes or ids one statement asks for; SQLite limits the number of parameters."""


class Replay(NamedTuple):
    """
    What a ledger has to catch up with before it can stand for what has been counted.

    ``from_ms``: every log file stored since then, in milliseconds since 1970, is read once
    more. ``counts``: whether what is new in them is counted, or only remembered.
    """

    from_ms: int
    counts: bool


def kept_replay(db: sqlite3.Connection) -> Replay | None:
    """
    What a ledger has to catch up with, if anything.
    """
    facts = dict(db.execute("SELECT name, value FROM fact WHERE name GLOB 'replay_*'"))
    if "replay_from_ms" not in facts:
        return None
    return Replay(facts["replay_from_ms"], bool(facts["replay_counts"]))


def keep_replay(db: sqlite3.Connection, replay: Replay) -> None:
    """
    Keep what a ledger has to catch up with.
    """
    db.executemany(
        "INSERT OR REPLACE INTO fact VALUES (?, ?)",
        [("replay_from_ms", replay.from_ms), ("replay_counts", int(replay.counts))],
    )


def drop_replay(db: sqlite3.Connection, replay: Replay) -> None:
    """
    Take note that a ledger has caught up; what was only to be remembered adds to no total.
    """
    if not replay.counts:
        db.execute("DELETE FROM series")
        db.execute("UPDATE repository SET active_ms = 0")
    db.execute("DELETE FROM fact WHERE name GLOB 'replay_*'")


def keep_fact(db: sqlite3.Connection, name: str, value: int) -> None:
    """
    Keep a fact instead of what it was before.
    """
    db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))


def keep_lag(db: sqlite3.Connection, today: int, lag_ms: int) -> None:
    """
    Keep how late a log file has been counted today, if none was later; forget other days'.
    """
    db.execute(
        "INSERT INTO fact VALUES (?, ?)"
        " ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
        (f"{_LAG}{today:08d}", lag_ms),
    )
    db.execute(
        "DELETE FROM fact WHERE name GLOB 'lag_ms_*' AND name NOT BETWEEN ? AND ?",
        (f"{_LAG}{today - LOG_FILE_DAYS_KEPT:08d}", f"{_LAG}{today + 1:08d}"),
    )


def longest_lag_ms(db: sqlite3.Connection) -> int:
    """
    How late log files have been counted lately, at worst; 0 if none has been.
    """
    (lag_ms,) = db.execute(
        "SELECT coalesce(max(value), 0) FROM fact WHERE name GLOB 'lag_ms_*'"
    ).fetchone()
    return int(lag_ms)


def kept_series(db: sqlite3.Connection) -> dict[Series, SeriesState]:
    """
    Every series of a family that this version knows.
    """
    rows = db.execute(
        "SELECT family, labels, amount, buckets, born_ms, released_ms, held_amount,"
        " held_buckets FROM series"
    )
    return {
        Series(family, tuple(json.loads(labels))): SeriesState(
            Total(amount, tuple(json.loads(buckets))),
            born_ms,
            released_ms,
            Total(held[0], tuple(json.loads(held[1])))
            if held[1] is not None
            else FAMILY[family].zero(),
        )
        for family, labels, amount, buckets, born_ms, released_ms, *held in rows
        if family in FAMILY
    }


def keep_series(db: sqlite3.Connection, changed: Mapping[Series, SeriesState]) -> None:
    """
    Keep these series as they are now.
    """
    db.executemany(
        "INSERT INTO series (family, labels, amount, buckets, born_ms, released_ms,"
        " held_amount, held_buckets) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET amount = excluded.amount, buckets = excluded.buckets,"
        " released_ms = excluded.released_ms, held_amount = excluded.held_amount,"
        " held_buckets = excluded.held_buckets",
        [
            (
                series.family,
                _json(series.labels),
                state.total.amount,
                str(list(state.total.buckets)),
                state.born_ms,
                state.released_ms,
                *_kept_hold(state),
            )
            for series, state in changed.items()
        ],
    )


def _json(labels: Iterable[str]) -> str:
    """
    Label values as ``json.dumps`` writes them, in a tenth of the time.
    """
    return f"[{', '.join(map(encode_basestring_ascii, labels))}]"


def _kept_hold(state: SeriesState) -> tuple[int | None, str | None]:
    """
    What a series shows while held, as its columns have it.
    """
    if not state.held.amount and not any(state.held.buckets):
        return None, None
    return state.held.amount, str(list(state.held.buckets))


def kept_repositories(db: sqlite3.Connection) -> dict[Repository, Known]:
    """
    Every repository known.
    """
    rows = db.execute(
        "SELECT account_id, aws_region, name, coalesce(shown_ms, 0), coalesce(deleted_ms, 0),"
        " active_ms, repository_id FROM repository"
    )
    return {Repository(*row[:3]): Known(*row[3:]) for row in rows}


def keep_repositories(db: sqlite3.Connection, changed: Mapping[Repository, Known]) -> None:
    """
    Keep these repositories as they are now.
    """
    db.executemany(
        "INSERT INTO repository (account_id, aws_region, name, shown_ms, deleted_ms,"
        " active_ms, repository_id)"
        " VALUES (?, ?, ?, nullif(?, 0), nullif(?, 0), ?, ?)"
        " ON CONFLICT DO UPDATE SET shown_ms = excluded.shown_ms,"
        " deleted_ms = excluded.deleted_ms, active_ms = excluded.active_ms,"
        " repository_id = excluded.repository_id",
        [(*repository, *known) for repository, known in changed.items()],
    )


def kept_renames(db: sqlite3.Connection) -> Renames:
    """
    Every rename of a repository.
    """
    rows = db.execute("SELECT account_id, aws_region, name, event_ms, new_name FROM rename")
    return Renames(Rename(Repository(*row[:3]), *row[3:]) for row in rows)


def keep_hashes(db: sqlite3.Connection, hashes: Iterable[int], today: int) -> None:
    """
    Keep the hashes of log files read today.
    """
    db.executemany("INSERT OR IGNORE INTO log_file VALUES (?, ?)", [(today, one) for one in hashes])


def forget_hashes(db: sqlite3.Connection, today: int, some: int) -> bool:
    """
    Forget some hashes of log files read on days long over, and tell whether more may be left.
    """
    done = db.execute(
        "DELETE FROM log_file WHERE (day, hash) IN"
        " (SELECT day, hash FROM log_file WHERE day < ? LIMIT ?)",
        (today - LOG_FILE_DAYS_KEPT, some),
    )
    return done.rowcount == some


def kept_hashes(db: sqlite3.Connection, asked: Sequence[int]) -> set[int]:
    """
    Which of these hashes are those of log files read lately.
    """
    days = list(_days(db))
    found = set[int]()
    for first in range(0, len(asked), _LOOKED_UP_MAX):
        some = asked[first : first + _LOOKED_UP_MAX]
        marks = ", ".join("?" * len(some))
        for day in days:
            rows = db.execute(
                f"SELECT hash FROM log_file WHERE day = ? AND hash IN ({marks})",  # noqa: S608 - marks only
                (day, *some),
            )
            found.update(one for (one,) in rows)
    return found


def _days(db: sqlite3.Connection) -> Iterator[int]:
    """
    The days on which log files have been read, each found by one step in the index.
    """
    day: int | None = -1
    while True:
        (day,) = db.execute("SELECT min(day) FROM log_file WHERE day > ?", (day,)).fetchone()
        if day is None:
            return
        yield day


class SeenIds:
    """
    The ids that have been seen, as of one transaction.

    What a transaction will ask about is looked up before, all of it at once: a statement for
    each id would cost several times as much. New ids are written by ``write``.

    Args:
        born_ms: When the ledger was started.
        floor_ms: Below this, what is younger than the ledger is late.
        periods: Those that have a table; what is seen adds to them.
        now_ms: The clock. All times are in milliseconds since 1970.
        asked: The ids and the time of everything that ``see`` will be asked about.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        *,
        born_ms: int,
        floor_ms: int,
        periods: set[int],
        now_ms: int,
        asked: Iterable[Asked],
    ) -> None:
        self._db = db
        self._born_ms = born_ms
        self._floor_ms = floor_ms
        self._periods = periods
        self._latest_ms = now_ms + DAY_MS
        self._held = self._look_up(asked)
        self._unwritten = defaultdict[Period, list[bytes]](list)

    def see(self, ids: tuple[bytes, ...], time_ms: int | None) -> Sight:
        """
        Tell whether something with these ids is new, and keep them.
        """
        if self._is_late(time_ms):
            return Sight.LATE
        seen = any(not self._held[period].isdisjoint(ids) for period in self._around(time_ms))
        home = self._home(time_ms)
        held = self._held[home]
        for one in ids:
            if one not in held:
                held.add(one)
                self._unwritten[home].append(one)
        return Sight.REPEATED if seen else Sight.NEW

    def write(self) -> None:
        """
        Write the ids that are new.
        """
        for period, ids in self._unwritten.items():
            self._db.executemany(
                f"INSERT OR IGNORE INTO {_table(period)} VALUES (?)",  # noqa: S608 - a table of our own
                ((one,) for one in ids),
            )
        self._unwritten.clear()

    def _look_up(self, asked: Iterable[Asked]) -> dict[Period, set[bytes]]:
        """
        Which of these ids each table holds that may hold a copy.
        """
        wanted = defaultdict[Period, list[bytes]](list)
        for ids, time_ms in asked:
            if not self._is_late(time_ms):
                for period in self._around(time_ms):
                    wanted[period] += ids
        held = defaultdict[Period, set[bytes]](set)
        for period, some in wanted.items():
            if period is None or period in self._periods:
                held[period].update(self._held_by(_table(period), some))
        return held

    def _held_by(self, table: str, ids: Sequence[bytes]) -> Iterator[bytes]:
        for first in range(0, len(ids), _LOOKED_UP_MAX):
            some = list(ids[first : first + _LOOKED_UP_MAX])
            # The first fills up: with few sizes, each statement has been prepared before.
            some += some[:1] * ((1 << (len(some) - 1).bit_length()) - len(some))
            marks = ", ".join("?" * len(some))
            rows = self._db.execute(
                f"SELECT id FROM {table} WHERE id IN ({marks})",  # noqa: S608 - a table of our own
                some,
            )
            yield from (one for (one,) in rows)

    def _is_late(self, time_ms: int | None) -> bool:
        return time_ms is not None and self._born_ms <= time_ms < self._floor_ms

    def _placeable(self, time_ms: int | None) -> int | None:
        """
        A time, unless it lies so far ahead that a table for it would not be dropped in time.

        A day of grace: a copy of the event may come when the clock has gone on, and has to
        be looked for at the same place.
        """
        return None if time_ms is None or time_ms > self._latest_ms else time_ms

    def _home(self, time_ms: int | None) -> Period:
        """
        Where an event's ids go to; its table is made if it is not there yet.
        """
        time_ms = self._placeable(time_ms)
        if time_ms is None or time_ms < self._born_ms:
            return None
        period = time_ms // PERIOD_MS
        if period not in self._periods:
            self._db.execute(
                f"CREATE TABLE {_table(period)} (id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID"
            )
            self._periods.add(period)
        return period

    def _around(self, time_ms: int | None) -> Iterable[Period]:
        """
        Where a copy of an event may have left its ids; some of these may have no table.
        """
        time_ms = self._placeable(time_ms)
        if time_ms is None:
            return None, *self._periods
        first, last = (time_ms - EDGE_MS) // PERIOD_MS, (time_ms + EDGE_MS) // PERIOD_MS
        return (None, first) if first == last else (None, first, last)


def _table(period: Period) -> str:
    return "seen_kept" if period is None else f"seen_{period:d}"


class SqliteMemory:
    """
    What the ledger remembers, as of one transaction.

    The records of a group mention the same things again and again. Each is read once, and
    written once, by ``write``. ``renames`` are those of the ledger, and change with it; so
    does ``learnt``, what has been read or written lately.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        ids: SeenIds,
        repositories: Repositories,
        renames: Renames,
        learnt: dict[Subject, Learnt | None],
    ) -> None:
        self.repositories = repositories
        self.renames = renames
        self.see = ids.see
        self._db = db
        self._ids = ids
        self._learnt = learnt
        self._unwritten: dict[Subject, Learnt] = {}

    def keep_rename(self, rename: Rename) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO rename (account_id, aws_region, name, event_ms, new_name)"
            " VALUES (?, ?, ?, ?, ?)",
            (*rename.repository, rename.event_ms, rename.name),
        )
        self.renames.keep(rename)

    def learnt(self, subject: Subject) -> Learnt | None:
        if subject not in self._learnt:
            row = self._db.execute(
                f"SELECT {_LEARNT} FROM learnt"  # noqa: S608 - columns of our own
                " WHERE kind = ? AND account_id = ? AND aws_region = ? AND id = ?",
                _key(subject),
            ).fetchone()
            self._learnt[subject] = None if row is None else _learnt(row)
        return self._learnt[subject]

    def keep_learnt(self, subject: Subject, learnt: Learnt) -> None:
        self._learnt[subject] = self._unwritten[subject] = learnt

    def write(self) -> None:
        """
        Write what has been seen and learnt; a second call writes only what came since.
        """
        self._ids.write()
        self._write_learnt()

    def repository_ids(self, repository: Repository) -> Iterable[tuple[Subject, Learnt]]:
        self._write_learnt()
        rows = self._db.execute(
            f"SELECT {_LEARNT}, id FROM learnt"  # noqa: S608 - columns of our own
            " WHERE kind = 'repository' AND account_id = ? AND aws_region = ? AND repository = ?",
            repository,
        )
        for *row, one in rows:
            yield Subject(IdKind.REPOSITORY, *repository[:2], one), _learnt(row)

    def _write_learnt(self) -> None:
        if not self._unwritten:
            return
        self._db.executemany(
            "INSERT OR REPLACE INTO learnt (kind, account_id, aws_region, id, repository,"
            " event_ms, created_ms, on_pull_request, deleted_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, nullif(?, 0), ?, ?)",
            [(*_key(subject), *learnt) for subject, learnt in self._unwritten.items()],
        )
        self._unwritten.clear()


def _key(subject: Subject) -> tuple[str, ...]:
    """
    A subject as its columns have it; SQLite's module takes ten times as long over an enum.
    """
    return (subject.kind.value, *subject[1:])


_LEARNT = "repository, event_ms, coalesce(created_ms, 0), on_pull_request, deleted_ms"


def _learnt(row: Sequence[Any]) -> Learnt:
    repository, event_ms, created_ms, on_pull_request, deleted_ms = row
    return Learnt(repository, event_ms, created_ms, bool(on_pull_request), deleted_ms)


def log_file_hashes(readings: Iterable[Reading]) -> list[int]:
    """
    The hashes of the log files that were read.
    """
    return [log_file_hash(reading.log_file) for reading in readings if reading.log_file]


def log_file_hash(log_file: LogFile) -> int:
    """
    Eight bytes that stand for a log file's address, as SQLite's signed integer.
    """
    address = f"{log_file.bucket}/{log_file.key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(address, digest_size=8).digest(), signed=True)
