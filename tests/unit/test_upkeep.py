"""
``ledger backup`` and ``ledger restore``, as a person calls them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter import upkeep
from exporter.backups import backup_name
from exporter.cli import main
from exporter.ledger.book import Policy
from exporter.ledger.copies import check_copy
from exporter.ledger.place import Place
from exporter.ledger.sqlite import SqliteLedger
from exporter.logs import LOG
from tests.fakes import Clock
from tests.readings import BIRTH, DAY, at, events_total, reading


class Ended(NamedTuple):
    """
    How a command ended: exit code, standard output, the last line of standard error.
    """

    code: int
    out: str
    error: str


Call = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    No option in the environment, and the tests' own logging is there again afterwards.
    """
    for name in [name for name in os.environ if name.startswith(("CODECOMMIT_EXPORTER_", "AWS_"))]:
        monkeypatch.delenv(name)
    root = logging.getLogger()
    handlers, level, own_level = list(root.handlers), root.level, LOG.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    LOG.setLevel(own_level)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """
    A folder for backups, which is not there yet.
    """
    return tmp_path / "backups"


@pytest.fixture
def call(path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """
    Calls ``ledger backup`` or ``ledger restore``.
    """

    def call_it(command: str, *flags: str) -> Ended:
        code = main(
            [
                *("ledger", command),
                *("--state.directory", str(path.parent)),
                *("--ledger.backup-url", str(folder)),
                *flags,
            ]
        )
        out, error = capsys.readouterr()
        return Ended(code, out, error.rpartition("\n")[0].rpartition("\n")[2])

    return call_it


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = await SqliteLedger.open(
        path, window_seconds=90 * DAY, policy=Policy(), now=Clock(BIRTH)
    )
    try:
        yield ledger
    finally:
        await ledger.close()


def write(path: Path, events: int) -> None:
    """
    Count so many events, and end.
    """

    async def count() -> None:
        async with opened(path) as ledger:
            records = (at(BIRTH + number) for number in range(events))
            await ledger.commit(reading(*records, key=f"{events}.json.gz"))

    asyncio.run(count())


def look(path: Path) -> tuple[int, bool]:
    """
    How many events a ledger has counted, and whether it has to catch up.
    """

    async def look_at_it() -> tuple[int, bool]:
        async with opened(path) as ledger:
            return events_total(ledger), ledger.replay is not None

    return asyncio.run(look_at_it())


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def test_a_backup_is_restored(call: Call, path: Path, folder: Path) -> None:
    """
    Each command says in one line what it has done; the ledger then has to catch up.
    """
    write(path, 3)
    before = names(path)
    backup = call("backup")
    (name,) = (file.name for file in folder.iterdir())
    between = names(path)
    path.unlink()
    restore = call("restore")

    assert (0, f"{path} is backed up as {folder}/{name}\n", "") == backup
    assert (
        0,
        (
            f"{folder}/{name} is now {path}. When serve starts next, it first reads what the "
            "buckets have had since.\n"
        ),
        "",
    ) == restore
    assert before == between == names(path) == ["ledger.db", "ledger.db.lock", "ledger.db.marker"]
    assert (3, True) == look(path)


def test_a_ledger_in_use_is_backed_up(call: Call, path: Path, folder: Path) -> None:
    """
    The exporter goes on; what it commits afterwards is in the next backup.
    """

    async def count() -> Ended:
        async with opened(path) as ledger:
            await ledger.commit(reading(at(BIRTH)))
            ended = await asyncio.to_thread(call, "backup")
            await ledger.commit(reading(at(BIRTH + 1), key="two.json.gz"))
            return ended

    ended = asyncio.run(count())
    (copy,) = folder.iterdir()
    check_copy(copy)

    assert 0 == ended.code
    assert ((1, True), (2, False)) == (look(copy), look(path))


def test_the_newest_backup_is_restored(call: Call, path: Path, folder: Path) -> None:
    """
    Where that is damaged, the newest that is sound; each is told that cannot be used.
    """
    write(path, 2)
    call("backup")
    (good,) = folder.iterdir()
    good = good.rename(folder / backup_name(1_600_000_000_000))
    (folder / backup_name(1_500_000_000_000)).write_bytes(b"older, and no database")
    (folder / backup_name(1_700_000_000_000)).write_bytes(b"newer, and no database")
    path.unlink()
    ended = call("restore")

    assert (0, True) == (ended.code, ended.out.startswith(f"{good} is now {path}."))
    assert "A backup cannot be used" in ended.error
    assert backup_name(1_700_000_000_000) in ended.error
    assert (2, True) == look(path)


def test_backups_that_are_all_damaged(call: Call, path: Path, folder: Path) -> None:
    """
    Nothing is put where the ledger belongs.
    """
    folder.mkdir()
    (folder / backup_name(1_600_000_000_000)).write_bytes(b"no database")
    ended = call("restore")

    assert (1, "") == (ended.code, ended.out)
    assert f"none of the 1 backups in {folder} can be used" in ended.error
    assert ["ledger.db.lock"] == names(path)


def test_a_damaged_ledger_makes_room(call: Call, path: Path) -> None:
    """
    It is moved aside as ``serve`` would have done; nothing of it is gone.
    """
    write(path, 2)
    call("backup")
    damaged = path.read_bytes()[:5000]
    path.write_bytes(damaged)
    ended = call("restore")
    (aside,) = path.parent.glob("ledger.db.damaged-*")

    assert (0, damaged) == (ended.code, aside.read_bytes())
    assert ended.out.startswith(f"What there was of {path} is now {aside.name}.\n")
    assert (2, True) == look(path)


def test_a_ledger_that_is_there_is_not_restored_over(call: Call, path: Path) -> None:
    """
    Whoever wants that has to move it away first.
    """
    write(path, 1)
    call("backup")
    write(path, 2)
    before = path.read_bytes()
    ended = call("restore")

    said = f"codecommit-exporter ledger restore: {path} is a ledger; move it away first"
    assert (1, "", said) == ended
    assert before == path.read_bytes()


def test_a_ledger_in_use_is_not_restored_over(
    call: Call, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Even where its file is gone: the process that has it open would write on.
    """
    monkeypatch.setattr(upkeep, "PLACE_SECONDS", 0.05)
    write(path, 1)
    call("backup")

    async def restore() -> Ended:
        place = await Place.take(path)
        path.unlink()
        try:
            return await asyncio.to_thread(call, "restore")
        finally:
            place.leave()

    ended = asyncio.run(restore())

    assert (1, "") == (ended.code, ended.out)
    assert ended.error.endswith(f" {path}: a process has it open; stop that first")
    assert not path.exists()


def test_an_exporter_that_only_looks_is_waited_for(
    call: Call, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One that cannot start without its ledger takes the place again and again, for a moment.
    """
    monkeypatch.setattr("exporter.ledger.place.LOCK_RETRY_SECONDS", 0.01)
    write(path, 1)
    call("backup")
    path.unlink()

    async def restore() -> Ended:
        place = await Place.take(path)
        restoring = asyncio.create_task(asyncio.to_thread(call, "restore"))
        await asyncio.sleep(0.05)
        place.leave()
        return await restoring

    assert 0 == asyncio.run(restore()).code
    assert (1, True) == look(path)


def no_ledger(_: Path) -> None: ...


def an_empty_state(path: Path) -> None:
    path.parent.mkdir()


def a_damaged_ledger(path: Path) -> None:
    write(path, 1)
    path.write_bytes(path.read_bytes()[:5000])


def a_database_of_others(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE theirs (x)")


def no_folder_for_backups(path: Path) -> None:
    write(path, 1)
    path.parents[1].joinpath("backups").write_text("a file where a folder should be")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (no_ledger, "there is no ledger to back up. See --state.directory and --ledger.url."),
        (an_empty_state, "there is no ledger to back up. See --state.directory and --ledger.url."),
        (a_damaged_ledger, "cannot be copied: database disk image is malformed"),
        (a_database_of_others, "cannot be copied: it is no ledger of this program"),
        (no_folder_for_backups, "File exists"),
    ],
)
def test_a_backup_that_cannot_be_made(
    call: Call,
    path: Path,
    folder: Path,
    prepare: Callable[[Path], None],
    said: str,
) -> None:
    """
    It is said in one line, and nothing is left of the attempt.
    """
    prepare(path)
    before = names(path) if path.parent.exists() else None
    ended = call("backup")

    assert (1, "") == (ended.code, ended.out)
    assert ended.error.startswith("codecommit-exporter ledger backup: ")
    assert said in ended.error
    assert before == (names(path) if path.parent.exists() else None)
    assert not folder.is_dir() or [] == list(folder.iterdir())


def test_where_there_is_no_backup_nothing_is_restored(call: Call, path: Path, folder: Path) -> None:
    """
    A folder that is not there has none.
    """
    ended = call("restore")

    said = f"codecommit-exporter ledger restore: {folder}: there is no backup"
    assert (1, "", said) == ended
    assert ["ledger.db.lock"] == names(path)


@pytest.mark.parametrize("command", ["backup", "restore"])
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--ledger.url", "memory:"),
            (
                "--ledger.backup-url: is for a ledger in a file; take it out, or choose another "
                "--ledger.url"
            ),
        ),
        (("--ledger.backup-url", "backups"), '"backups" is no place for backups'),
        (("--ledger.rebuild", "fresh"), "--ledger.rebuild: no such option"),
    ],
)
def test_wrong_options(
    call: Call, path: Path, command: str, flags: tuple[str, ...], said: str
) -> None:
    """
    They are told as any command's are, and nothing is done.
    """
    ended = call(command, *flags)

    assert (2, "") == (ended.code, ended.out)
    assert said in ended.error
    assert not path.parent.exists()


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_wrong_settings_of_aws(
    call: Call, path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """
    They are wrong options as well, whoever's they are.
    """
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "no address")
    write(path, 1)
    ended = call(command, "--ledger.backup-url", "s3://my-backup-bucket/exporter")

    assert (2, "") == (ended.code, ended.out)
    assert "the AWS settings cannot be used: Invalid endpoint: no address" in ended.error
