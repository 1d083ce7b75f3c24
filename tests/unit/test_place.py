"""
Where a ledger lies: who has the place, what is sound there, and what has been lost.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from exporter.errors import ConfigError, LedgerLost, LedgerUnavailable
from exporter.ledger import place as module
from exporter.ledger.place import Place, network_file_system, refuse_lost
from exporter.ledger.schema import APPLICATION_ID, SCHEMA

PAGE_BYTES = 4096
NOTES = 400
"""How many rows make a ledger of many pages."""


@pytest.fixture(autouse=True)
def no_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_RETRY_SECONDS", 0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """
    A sound ledger of many pages, as the exporter leaves it when it ends.
    """
    path = tmp_path_factory.mktemp("sound") / "ledger.db"
    with closing(written(path)):
        pass
    return path.read_bytes()


def written(path: Path, *, notes: int = NOTES) -> sqlite3.Connection:
    """
    A new ledger that is still open; its last row is in the write-ahead log only.
    """
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(SCHEMA)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("BEGIN")
    for number in range(notes):
        db.execute("INSERT INTO seen_kept VALUES (?)", (number.to_bytes(64),))
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute("INSERT INTO fact VALUES ('notes', ?)", (notes,))
    return db


def cut_off(path: Path, into: Path, *, notes: int = NOTES) -> None:
    """
    A ledger whose process was killed: what SQLite keeps beside it lies there still.
    """
    into.parent.mkdir(exist_ok=True)
    with closing(written(path, notes=notes)):
        for suffix in ("", "-wal", "-shm"):
            shutil.copyfile(f"{path}{suffix}", f"{into}{suffix}")


def notes(path: Path) -> int:
    """
    What a ledger was told last.
    """
    with closing(sqlite3.connect(path)) as db:
        (value,) = db.execute("SELECT value FROM fact WHERE name = 'notes'").fetchone()
    return int(value)


def names(path: Path) -> list[str]:
    """
    What lies in a ledger's folder beside its lock.
    """
    return sorted(file.name for file in path.parent.iterdir() if file.suffix != ".lock")


def moved_aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.damaged-*Z*"))


@asynccontextmanager
async def taken(path: Path) -> AsyncIterator[Place]:
    place = await Place.take(path)
    try:
        yield place
    finally:
        place.leave()


async def begin_twice(path: Path) -> list[str]:
    """
    What is said of a place without a ledger, and what is said the next time.
    """
    said = []
    for _ in range(2):
        async with taken(path) as place:
            assert not place.holds_ledger()
            with pytest.raises(LedgerLost) as caught:
                await refuse_lost(place)
            said.append(str(caught.value))
    return said


# Whose it is -----------------------------------------------------------------------------

HOLDER = """
import asyncio, sys
from pathlib import Path
from exporter.ledger.place import Place
asyncio.run(Place.take(Path(sys.argv[1])))
print("taken", flush=True)
sys.stdin.read()
"""


async def test_a_place_belongs_to_a_process_until_that_ends(path: Path) -> None:
    """
    Another waits and is told so once; a process that is killed has the place no more.
    """
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(path), stdin=pipe, stdout=pipe
    )
    assert holder.stdout
    assert b"taken\n" == await holder.stdout.readline()
    told: list[bool] = []
    waiting = asyncio.create_task(Place.take(path, lambda: told.append(True)))
    await asyncio.sleep(0.05)
    waits = not waiting.done()
    holder.kill()
    await holder.wait()
    (await waiting).leave()

    assert (True, [True]) == (waits, told)


async def test_a_place_that_was_left_is_free(path: Path) -> None:
    """
    Whoever comes next does not wait, and the lock's file is the same for all.
    """
    for _ in range(3):
        async with taken(path):
            pass

    assert [path.with_name("ledger.db.lock")] == list(path.parent.iterdir())


async def test_a_link_to_nowhere_is_the_place_it_leads_to(path: Path, tmp_path: Path) -> None:
    """
    The ledger, its lock and its marker all lie where the link leads.
    """
    link = tmp_path / "link.db"
    path.parent.mkdir()
    link.symlink_to(path)
    async with taken(link) as place:
        place.mark()

    assert path == place.path
    assert [link, path.parent] == sorted(tmp_path.iterdir())
    assert ["ledger.db.lock", "ledger.db.marker"] == sorted(
        file.name for file in path.parent.iterdir()
    )


async def test_a_link_to_itself_is_an_unavailable_ledger(path: Path) -> None:
    """
    As any other place that the system cannot find.
    """
    path.parent.mkdir()
    path.symlink_to(path)
    with pytest.raises(LedgerUnavailable, match=r"ledger\.db"):
        await Place.take(path)


# What has been there ---------------------------------------------------------------------


async def test_where_nothing_has_been_nothing_is_lost(path: Path) -> None:
    """
    A folder that is new, or has only a lock, may have its first ledger.
    """
    for _ in range(2):
        async with taken(path) as place:
            assert (False, False) == (place.holds_ledger(), place.had_ledger)
            await refuse_lost(place)

    assert [] == names(path)


def gone(path: Path) -> None:
    path.unlink(missing_ok=True)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def without_tables(path: Path) -> None:
    gone(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE some (x)")
        db.execute("DROP TABLE some")


@pytest.mark.parametrize("lose", [gone, empty, without_tables])
async def test_a_marker_without_a_ledger_is_a_loss(
    path: Path, sound: bytes, lose: Callable[[Path], None]
) -> None:
    """
    However often one looks. Without a marker the same place has never had a ledger.
    """
    path.parent.mkdir()
    lose(path)
    async with taken(path) as place:
        unmarked = (place.holds_ledger(), place.had_ledger)
        path.write_bytes(sound)
        marked = place.holds_ledger()
        place.mark()
    lose(path)
    said = await begin_twice(path)

    assert ((False, False), True) == (unmarked, marked)
    assert [f"{path} is gone: a ledger was started here, and nothing is left of it"] * 2 == said
    assert [] == moved_aside(path)


async def test_a_sound_ledger_is_not_touched(path: Path, sound: bytes) -> None:
    """
    Looking at it leaves no trace, whether it is marked or not.
    """
    path.parent.mkdir()
    path.write_bytes(sound)
    async with taken(path) as place:
        first = (place.holds_ledger(), place.had_ledger)
        place.mark()
        place.mark()
        second = (place.holds_ledger(), place.had_ledger)

    assert ((True, False), (True, True)) == (first, second)
    assert sound == path.read_bytes()
    assert ["ledger.db", "ledger.db.marker"] == names(path)


async def test_the_ledger_of_a_killed_process_is_sound(path: Path, tmp_path: Path) -> None:
    """
    What it had written last is there, though it is in no file of that name yet.
    """
    cut_off(tmp_path / "other.db", path)
    async with taken(path) as place:
        assert place.holds_ledger()

    assert NOTES == notes(path)


# Damage ----------------------------------------------------------------------------------


def page_overwritten(content: bytes) -> bytes:
    return content[: 3 * PAGE_BYTES] + b"\xff" * PAGE_BYTES + content[4 * PAGE_BYTES :]


def one_byte_flipped(content: bytes) -> bytes:
    """
    In the first byte of a page, which tells its kind.
    """
    at = 2 * PAGE_BYTES
    return content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :]


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def header_destroyed(content: bytes) -> bytes:
    return b"\0" * 100 + content[100:]


def cut_to_a_few_bytes(content: bytes) -> bytes:
    return content[:20]


def overwritten(content: bytes) -> bytes:
    return b"not a database at all".ljust(len(content), b"!")


BLURRED = [page_overwritten, one_byte_flipped, cut_short]
"""Damage that leaves the header, which says whose file it is."""
BEYOND_RECOGNITION = [header_destroyed, cut_to_a_few_bytes, overwritten]

Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize("damage", [*BLURRED, *BEYOND_RECOGNITION])
async def test_a_damaged_ledger_is_moved_aside(path: Path, sound: bytes, damage: Damage) -> None:
    """
    It stays as it is under another name, which is told; then it is lost, and stays lost.
    """
    path.parent.mkdir()
    path.write_bytes(damage(sound))
    async with taken(path) as place:
        place.mark()
    said = await begin_twice(path)
    (aside,) = moved_aside(path)

    assert [f"{path} is lost; what is left of it is {aside.name}"] * 2 == said
    assert damage(sound) == aside.read_bytes()
    assert not path.exists()


@pytest.mark.parametrize("damage", BLURRED)
async def test_a_damaged_ledger_without_a_marker_is_one(
    path: Path, sound: bytes, damage: Damage
) -> None:
    """
    Its header still says that it was a ledger, and the next opening knows it as well.
    """
    path.parent.mkdir()
    path.write_bytes(damage(sound))
    await begin_twice(path)
    (aside,) = moved_aside(path)

    assert damage(sound) == aside.read_bytes()


@pytest.mark.parametrize("damage", BEYOND_RECOGNITION)
async def test_what_may_be_anything_is_left_alone(path: Path, sound: bytes, damage: Damage) -> None:
    """
    Where nothing says that a file is a ledger it is named, and stays where it is.
    """
    path.parent.mkdir()
    path.write_bytes(damage(sound))
    async with taken(path) as place:
        with pytest.raises(LedgerUnavailable, match=rf"^{path}: .*not a database"):
            place.holds_ledger()

    assert damage(sound) == path.read_bytes()
    assert ["ledger.db"] == names(path)


async def test_a_damaged_database_of_others_is_left_alone(path: Path) -> None:
    """
    A file that says to be another program's is not moved either.
    """
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE theirs (x)")
        db.executemany("INSERT INTO theirs VALUES (?)", [("x" * 100,)] * NOTES)
    damaged = page_overwritten(path.read_bytes())
    path.write_bytes(damaged)
    async with taken(path) as place:
        with pytest.raises(LedgerUnavailable, match=r"ledger\.db"):
            place.holds_ledger()

    assert damaged == path.read_bytes()


@pytest.mark.parametrize("damage", BLURRED)
async def test_what_lay_beside_a_damaged_ledger_is_not_lost(
    path: Path, tmp_path: Path, damage: Damage
) -> None:
    """
    What the last transactions wrote is in what was moved aside, for whoever mends it.
    """
    cut_off(tmp_path / "other.db", path)
    path.write_bytes(damage(path.read_bytes()))
    async with taken(path) as place:
        place.mark()
    await begin_twice(path)
    aside, *beside = moved_aside(path)

    assert {f"{aside}-wal", f"{aside}-shm"} >= set(map(str, beside))
    assert NOTES == notes(aside)
    assert ["ledger.db.marker"] == [
        name for name in names(path) if not name.startswith(f"{path.name}.damaged")
    ]


async def test_nothing_moved_aside_replaces_another(path: Path, sound: bytes) -> None:
    """
    Each of two that are damaged within a second is there afterwards.
    """
    path.parent.mkdir()
    ruins = [b"one ruin" * 1000, b"another ruin" * 1000]
    async with taken(path) as place:
        place.mark()
        for ruin in ruins:
            path.write_bytes(ruin)
            assert not place.holds_ledger()
        path.write_bytes(sound)
        assert place.holds_ledger()

    assert sorted(ruins) == sorted(file.read_bytes() for file in moved_aside(path))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """
    Lets SQLite fail with a code of its own whatever it is asked.
    """

    class Failing:
        def __init__(self, code: int) -> None:
            self._code = code

        def execute(self, *_: object) -> None:
            error = sqlite3.OperationalError("as SQLite says it")
            error.sqlite_errorcode = self._code
            raise error

        def close(self) -> None: ...

    def fail(code: int) -> None:
        def connect(*_: object, **__: object) -> Any:
            return Failing(code)

        monkeypatch.setattr(sqlite3, "connect", connect)

    with monkeypatch.context():
        yield fail


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CANTOPEN_ISDIR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_ERROR,
    ],
)
async def test_what_the_disk_refuses_is_no_damage(
    path: Path, sound: bytes, failing: Callable[[int], None], code: int
) -> None:
    """
    A disk that fails today may do tomorrow; the ledger stays where it is.
    """
    path.parent.mkdir()
    path.write_bytes(sound)
    async with taken(path) as place:
        place.mark()
        failing(code)
        with pytest.raises(LedgerUnavailable, match=r"ledger\.db: as SQLite says it"):
            place.holds_ledger()

    assert (None, sound) == (place.moved_aside, path.read_bytes())


@pytest.mark.parametrize(
    "code",
    [sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CORRUPT_INDEX, sqlite3.SQLITE_NOTADB],
)
async def test_every_kind_of_damage_is_one(
    path: Path, sound: bytes, failing: Callable[[int], None], code: int
) -> None:
    """
    SQLite has several codes for it.
    """
    path.parent.mkdir()
    path.write_bytes(sound)
    async with taken(path) as place:
        place.mark()
        failing(code)
        assert not place.holds_ledger()

    assert place.moved_aside
    assert sound == place.moved_aside.read_bytes()


async def test_a_folder_in_the_ledgers_place_is_no_damage(path: Path) -> None:
    """
    What cannot be opened is named and not moved.
    """
    path.mkdir(parents=True)
    async with taken(path) as place:
        place.mark()
        with pytest.raises(LedgerUnavailable, match="unable to open"):
            place.holds_ledger()

    assert path.is_dir()


# Putting a ledger there ------------------------------------------------------------------


@pytest.mark.parametrize("lose", [gone, empty])
async def test_a_ledger_that_is_put_there_is_that_ledger(
    path: Path, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    """
    What SQLite kept beside an old one does not come over it, and is not deleted.
    """
    cut_off(tmp_path / "old.db", path, notes=3)
    beside = path.with_name("ledger.db-wal").read_bytes()
    lose(path)
    with closing(written(tmp_path / "new.db", notes=7)):
        pass
    async with taken(path) as place:
        before = place.holds_ledger()
        place.put(tmp_path / "new.db")
        after = place.holds_ledger()
    kept = [file for file in moved_aside(path) if file.name.endswith("-wal")]

    assert (False, True, 7) == (before, after, notes(path))
    assert [beside] == [file.read_bytes() for file in kept]
    assert not (tmp_path / "new.db").exists()


async def test_where_a_ledger_was_put_one_has_been(path: Path, tmp_path: Path) -> None:
    """
    It is marked, and what was in its place is kept.
    """
    path.parent.mkdir()
    without_tables(path)
    was = path.read_bytes()
    with closing(written(tmp_path / "new.db")):
        pass
    async with taken(path) as place:
        place.put(tmp_path / "new.db")
    path.unlink()
    await begin_twice(path)

    assert [was] == [file.read_bytes() for file in moved_aside(path)]


async def test_what_cannot_be_put_there_is_not(
    path: Path, tmp_path: Path, sound: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The error names the ledger, and no part of the file is in its place.
    """
    (tmp_path / "new.db").write_bytes(sound)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    async with taken(path) as place:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", full)
            with pytest.raises(LedgerUnavailable, match=r"ledger\.db: No space left"):
                place.put(tmp_path / "new.db")

    assert [] == names(path)


# Network file systems --------------------------------------------------------------------

LOCAL = ("ext4", "xfs", "btrfs", "overlay", "tmpfs", "zfs", "fuse", "fuse.gcsfuse-like", "fuseblk")
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "ceph", "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "lustre")


def mounts(*mounted: tuple[str, str]) -> str:
    """
    Points and types of file systems, as proc(5) tells them.
    """
    return "".join(
        f"{number} 1 0:{number} / {escaped(point)} rw,relatime shared:{number} - {kind} source rw\n"
        for number, (point, kind) in enumerate(mounted, start=20)
    )


def escaped(point: str) -> str:
    r"""
    A mount point as the kernel writes it: its seq_path escapes ``" \t\n\\"`` and no more.
    """
    return "".join(f"\\{ord(one):03o}" if one in " \t\n\\" else one for one in point)


@pytest.mark.parametrize(
    ("mounted", "path", "kind"),
    [
        ([("/", "ext4")], "/var/lib/ledger.db", None),
        ([("/", "nfs4")], "/var/lib/ledger.db", "nfs4"),
        ([("/", "ext4"), ("/var", "nfs")], "/var/lib/ledger.db", "nfs"),
        ([("/", "nfs"), ("/var", "ext4")], "/var/lib/ledger.db", None),
        ([("/", "nfs"), ("/var", "cifs"), ("/var/lib", "ext4")], "/var/lib/ledger.db", None),
        ([("/", "ext4"), ("/var/li", "nfs")], "/var/lib/ledger.db", None),
        ([("/", "ext4"), ("/var/lib/ledger", "nfs")], "/var/lib/ledger.db", None),
        ([("/", "ext4"), ("/var/lib/ledger.db", "nfs")], "/var/lib/ledger.db", "nfs"),
        ([("/", "ext4"), ("/mnt", "nfs"), ("/mnt", "xfs")], "/mnt/ledger.db", None),
        ([("/", "ext4"), ("/mnt", "xfs"), ("/mnt", "nfs")], "/mnt/ledger.db", "nfs"),
        ([("/", "ext4"), ("/my disk", "nfs")], "/my disk/ledger.db", "nfs"),
        ([("/", "ext4"), ("/tab\there", "smb3")], "/tab\there/ledger.db", "smb3"),
        ([("/", "ext4"), ("/back\\040slash", "nfs")], "/back\\040slash/ledger.db", "nfs"),
        ([("/", "ext4"), ("/a - b", "nfs")], "/a - b/ledger.db", "nfs"),
        ([("/", "ext4"), ("/geteilt\u00a0hier", "nfs")], "/geteilt\u00a0hier/ledger.db", "nfs"),
        ([], "/var/lib/ledger.db", None),
    ],
)
def test_the_file_system_of_a_path(
    mounted: list[tuple[str, str]], path: str, kind: str | None
) -> None:
    """
    It is that of the innermost folder where something is mounted, by its last mount.
    """
    assert kind == network_file_system(Path(path), mounts(*mounted))


@pytest.mark.parametrize("kind", LOCAL)
def test_local_file_systems(kind: str) -> None:
    """
    What keeps its locks on this machine is not refused, whatever it is called like.
    """
    assert network_file_system(Path("/ledger.db"), mounts(("/", kind))) is None


@pytest.mark.parametrize("kind", REMOTE)
def test_network_file_systems(kind: str) -> None:
    """
    Those that others write as well are.
    """
    assert kind == network_file_system(Path("/ledger.db"), mounts(("/", kind)))


NAMES = st.sampled_from(
    ["a", "ab", "b c", "\\040", " - ", "a\u00a0b", "a\u2028b", "a\fb", "a\x85b"]
) | st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=4).filter(
    lambda name: name not in {".", ".."}
)
FOLDERS = st.lists(NAMES, max_size=3).map(tuple)


@given(
    folder=FOLDERS,
    depths=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["ext4", "nfs"])), max_size=4),
    others=st.lists(st.tuples(FOLDERS, st.just("nfs")), max_size=3),
    order=st.randoms(use_true_random=False),
)
def test_any_file_system_of_any_path(
    folder: tuple[str, ...],
    depths: list[tuple[int, str]],
    others: list[tuple[tuple[str, ...], str]],
    order: Random,
) -> None:
    """
    Whatever folders are called, what is seen of a path is its innermost, last mount.
    """
    mounted = [(folder[:depth], kind) for depth, kind in depths] + others
    order.shuffle(mounted)
    around = [one for one in mounted if folder[: len(one[0])] == one[0]]
    innermost = max((len(point) for point, _ in around), default=0)
    seen = [kind for point, kind in around if len(point) == innermost]
    told = mounts(*((f"/{'/'.join(point)}", kind) for point, kind in mounted))

    expected = "nfs" if seen[-1:] == ["nfs"] else None
    assert expected == network_file_system(Path("/", *folder, "ledger.db"), told)


@given(text=st.text("01 -/\\\n"))
def test_any_text_about_mounts(text: str) -> None:
    """
    What is no table of mounts tells nothing, and is no error.
    """
    assert network_file_system(Path("/var/lib/ledger.db"), text) is None


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """
    A folder that comes over a network.
    """
    folder = tmp_path / "mounted"
    folder.mkdir()
    told = tmp_path / "mountinfo"
    told.write_text(mounts(("/", "ext4"), (str(folder), "nfs4")))
    monkeypatch.setattr(module, "MOUNTS", told)
    return folder


async def test_a_network_file_system_is_refused(mounted: Path, tmp_path: Path) -> None:
    """
    In one line that says what to do instead, also where a link leads there.
    """
    link = tmp_path / "link.db"
    link.symlink_to(mounted / "ledger.db")
    said = []
    for path in (mounted / "ledger.db", link):
        with pytest.raises(ConfigError) as caught:
            await Place.take(path)
        said.append(str(caught.value))
    async with taken(tmp_path / "ledger.db") as place:
        local = place.holds_ledger()

    assert [
        (
            f"{mounted}/ledger.db is on a network file system (nfs4), where SQLite cannot keep a "
            "ledger safe; choose a local disk with --state.directory or --ledger.url"
        )
    ] * 2 == said
    assert ([], False) == (list(mounted.iterdir()), local)


async def test_where_nobody_tells_of_mounts_nothing_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    Only Linux has that file.
    """
    monkeypatch.setattr(module, "MOUNTS", tmp_path / "nothing")
    async with taken(path) as place:
        assert not place.holds_ledger()
