"""
A ledger of an earlier format opens, and nothing of it is lost.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from exporter.codecommit import event
from exporter.errors import LedgerUnavailable
from exporter.families import CALLER_EVENTS, EVENTS, Series, SeriesState
from exporter.ledger.book import Policy
from exporter.ledger.schema import FORMAT, MIGRATION_TO_2
from exporter.ledger.sqlite import SqliteLedger
from exporter.notifications import LogFile
from exporter.tally import Reading
from tests.processes import PROJECT, clean_environment
from tests.records import OWNER, REGION, api_call

STATEMENTS_MAX = 100
"""More than the opening of a ledger has."""

NOW = 1_790_000_300.0
"""Five minutes after the ledger of an earlier format was born."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    A ledger as format 1 had it, written from the text that is kept of one.

    It holds a push and a pull of tools and a failed call, all released, and two calls about
    docs, which are held.
    """
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((PROJECT / "tests" / "ledgers" / "format-1.sql").read_text())
    return path


async def opened(path: Path, policy: Policy) -> SqliteLedger:
    return await SqliteLedger.open(path, window_seconds=90 * 86400, policy=policy, now=lambda: NOW)


def facts(path: Path) -> dict[str, Any]:
    """
    The format of a file and the number of its series.
    """
    with closing(sqlite3.connect(path)) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (series,) = db.execute("SELECT count(*) FROM series").fetchone()
    return {"version": version, "series": series}


def state(ledger: SqliteLedger, repository: str, action: str, *git: str) -> SeriesState:
    labels = (OWNER, REGION, repository, action, *(git or ("", "")))
    return ledger.series[Series(EVENTS.name, labels)]


async def test_format_1_opens_with_all_it_holds(path: Path) -> None:
    """
    Totals, holds and known repositories are those of before; nothing new is known of them.
    """
    ledger = await opened(path, Policy(hold=True))
    await ledger.close()

    assert 1 == state(ledger, "tools", "GitPush", "HTTP", "true").shown.amount
    assert (2, 0) == (
        state(ledger, "docs", "PutFile").total.amount,
        state(ledger, "docs", "PutFile").shown.amount,
    )
    assert {(OWNER, REGION, "docs"), (OWNER, REGION, "tools")} == set(ledger.known)
    assert all(known.active_ms == round(NOW * 1000) for known in ledger.known.values())
    assert {"version": FORMAT, "series": 17} == facts(path)


async def test_a_ledger_without_an_id_is_known_by_its_birth(path: Path) -> None:
    """
    So are its copies, whichever of them is opened first.
    """
    known_by = list[str]()
    for later_ms in (0, 0, 1):
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE fact SET value = value + ? WHERE name = 'born_ms'", (later_ms,))
            db.commit()
        ledger = await opened(path, Policy())
        await ledger.close()
        known_by.append(ledger.identity)

    assert known_by[0] == known_by[1] != known_by[2]


async def test_it_goes_on_counting(path: Path) -> None:
    """
    What was counted before the migration is known, what comes after it adds up.
    """
    ledger = await opened(path, Policy(hold=True, repositories_max=2))
    new = api_call("PutFile", "docs", eventTime="2026-09-21T12:05:00Z")
    tally = await ledger.commit(Reading(LogFile("trail", "four"), None, (event(new),)))
    await ledger.close()
    again = await opened(path, Policy(hold=True))
    await again.close()

    assert (1, 0) == (len(tally.counted), tally.limit_hits)
    assert 3 == state(again, "docs", "PutFile").total.amount
    assert CALLER_EVENTS.name in {series.family for series in again.series}


async def test_the_old_ledger_is_kept_beside_the_new_one(path: Path) -> None:
    """
    Before anything changes the file is copied, also where an earlier copy was cut short.
    """
    copy = path.with_name("ledger.db.format-1")
    copy.write_bytes(b"half a copy")
    ledger = await opened(path, Policy())
    await ledger.close()

    assert {"version": 1, "series": 17} == facts(copy)


class Cut:
    """
    A connection that is lost after so many statements that change the format.
    """

    def __init__(self, whole: sqlite3.Connection, statements: int) -> None:
        self._whole = whole
        self._left = statements

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if statement.strip().startswith(
            ("ALTER", "CREATE TABLE rename", "CREATE INDEX", "PRAGMA user_version = ")
        ):
            self._left -= 1
            if self._left < 0:
                raise sqlite3.OperationalError("disk I/O error")
        return self._whole.execute(statement, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


@pytest.fixture
def cut_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """
    Lets the next connection that migrates be lost; the one that only looks is not cut.
    """
    connect = sqlite3.connect

    def cut(statements: int) -> None:
        def connect_cut(*arguments: Any, **options: Any) -> Any:
            connection = connect(*arguments, **options)
            if connection.isolation_level is not None:
                return connection
            monkeypatch.setattr(sqlite3, "connect", connect)
            return Cut(connection, statements)

        monkeypatch.setattr(sqlite3, "connect", connect_cut)

    return cut


@pytest.mark.parametrize("steps", range(MIGRATION_TO_2.count(";") + 2))
async def test_a_migration_that_is_cut_short_changed_nothing(
    path: Path, cut_after: Callable[[int], None], steps: int
) -> None:
    """
    Wherever it stops the file is still of format 1, and the next attempt brings it about.
    """
    cut_after(steps)
    with pytest.raises(LedgerUnavailable):
        await opened(path, Policy())
    before = facts(path)
    ledger = await opened(path, Policy())
    await ledger.close()

    assert {"version": 1, "series": 17} == before
    assert {"version": FORMAT, "series": 17} == facts(path)


def killed_one_by_one(ledgers: Path) -> tuple[int, int]:
    """
    Kill a process over each ledger; the number of the first that survives, and its exit code.
    """
    told = subprocess.run(
        [sys.executable, "-m", "tests.cut_short", str(ledgers)],
        cwd=PROJECT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    survivor, status = map(int, told.stdout.split())
    return survivor, status


async def test_a_process_that_is_killed_at_any_statement(path: Path, tmp_path: Path) -> None:
    """
    Killed before any statement of the opening, another process opens it with all it holds.

    The file that could be opened before the kill came is of the new format; so they all are
    in the end.
    """
    ledgers = tmp_path / "ledgers"
    ledgers.mkdir()
    for number in range(STATEMENTS_MAX):
        shutil.copy(path, ledgers / f"{number:03}.db")
    survivor, status = killed_one_by_one(ledgers)
    for number in range(survivor + 1):
        one = ledgers / f"{number:03}.db"
        ledger = await opened(one, Policy(hold=True))
        await ledger.close()
        assert 1 == state(ledger, "tools", "GitPush", "HTTP", "true").shown.amount
        assert {"version": FORMAT, "series": 17} == facts(one)

    assert 0 == status
    assert MIGRATION_TO_2.count(";") < survivor < STATEMENTS_MAX - 1


async def test_a_new_ledger_and_a_migrated_one_have_the_same_tables(
    path: Path, tmp_path: Path
) -> None:
    """
    Format 2 is one format, however a ledger came to it.
    """
    new_path = tmp_path / "new.db"
    for one in (path, new_path):
        await (await opened(one, Policy())).close()

    assert columns(new_path) == columns(path)


def columns(path: Path) -> dict[str, set[tuple[object, ...]]]:
    """
    Name, type, default and place in the key of every column, by table.
    """
    with closing(sqlite3.connect(path)) as db:
        tables = [
            name
            for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            if not name.startswith("seen_2")
        ]
        return {
            table: {row[1:] for row in db.execute(f"PRAGMA table_info({table})")}
            for table in tables
        }
