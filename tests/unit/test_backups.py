"""
Backups in a folder and in a bucket: whole or not there, and nothing else touched.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from exporter import backups as module
from exporter.backups import (
    Backups,
    FolderBackups,
    S3Backups,
    back_up,
    backup_ms,
    backup_name,
    backups_at,
    prune,
)
from exporter.errors import BackupUnavailable, ExporterError, LedgerUnavailable
from exporter.values import BackupUrl
from tests.fakes import BUCKET, Edge, FakeBody, keys_of, no_connection, refusal, until

CONTENT = bytes(range(250))
NAMES = [backup_name(day * 86_400_000) for day in (20_000, 20_001, 20_002)]
STRANGERS = [
    "notes.txt",
    "ledger.db",
    "ledger-20261301T000000Z.db",
    "ledger-2026111T000000Z.db",
    f"{NAMES[0]}.gz",
    f"my-{NAMES[0]}",
    f"folder/{NAMES[0]}",
]
PAGE_SIZE = 2


class FakeStore:
    """
    An S3 client with one bucket, in which an object appears all at once.
    """

    def __init__(self, edge: Edge) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.bytes_lost = 0
        self._edge = edge

    async def list_objects_v2(self, **request: str) -> dict[str, Any]:
        async with self._edge.crossed("list_objects_v2"):
            assert (BUCKET, "/") == (request["Bucket"], request["Delimiter"])
            keys = sorted(
                key
                for key in self.objects
                if key.startswith(request["Prefix"])
                and "/" not in key.removeprefix(request["Prefix"])
                and key > request.get("ContinuationToken", "")
            )
            page = keys[:PAGE_SIZE]
            answer = {"Contents": [{"Key": key} for key in page]} if page else {}
            if len(keys) > PAGE_SIZE:
                return {**answer, "IsTruncated": True, "NextContinuationToken": page[-1]}
            return {**answer, "IsTruncated": False}

    async def get_object(self, **request: str) -> dict[str, Any]:
        async with self._edge.crossed("get_object", request["Key"]):
            if request["Key"] not in self.objects:
                raise refusal("GetObject", "NoSuchKey", 404)
            content = self.objects[request["Key"]]
            arriving = content[: len(content) - self.bytes_lost]
            body = FakeBody(request["Key"], arriving, self._edge)
            return {"Body": body, "ContentLength": len(content)}

    async def put_object(self, **request: Any) -> dict[str, Any]:
        async with self._edge.crossed("put_object", request["Key"]):
            self.objects[request["Key"]] = request["Body"]
            return {}

    async def delete_object(self, **request: str) -> dict[str, Any]:
        async with self._edge.crossed("delete_object", request["Key"]):
            self.objects.pop(request["Key"], None)
            return {}

    async def create_multipart_upload(self, **request: str) -> dict[str, Any]:
        async with self._edge.crossed("create_multipart_upload", request["Key"]):
            self.uploads[request["Key"]] = {}
            return {"UploadId": f"upload of {request['Key']}"}

    async def upload_part(self, **request: Any) -> dict[str, Any]:
        async with self._edge.crossed("upload_part", str(len(request["Body"]))):
            assert f"upload of {request['Key']}" == request["UploadId"]
            self.uploads[request["Key"]][request["PartNumber"]] = request["Body"]
            return {"ETag": f"part {request['PartNumber']}"}

    async def complete_multipart_upload(self, **request: Any) -> dict[str, Any]:
        async with self._edge.crossed("complete_multipart_upload", request["Key"]):
            parts = self.uploads.pop(request["Key"])
            told = [{"PartNumber": number, "ETag": f"part {number}"} for number in sorted(parts)]
            assert told == request["MultipartUpload"]["Parts"]
            self.objects[request["Key"]] = b"".join(parts[number] for number in sorted(parts))
            return {}

    async def abort_multipart_upload(self, **request: str) -> dict[str, Any]:
        async with self._edge.crossed("abort_multipart_upload", request["Key"]):
            del self.uploads[request["Key"]]
            return {}


@pytest.fixture
def edge() -> Edge:
    return Edge()


@pytest.fixture
def store(edge: Edge) -> FakeStore:
    return FakeStore(edge)


@pytest.fixture
def s3_backups(store: FakeStore) -> S3Backups:
    return S3Backups(store, BUCKET, "some/place")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """
    A folder for backups, which is not there yet.
    """
    return tmp_path / "some" / "place"


@pytest.fixture(params=["folder", "s3", "s3 without a prefix"])
def backups(request: pytest.FixtureRequest, folder: Path, store: FakeStore) -> Backups:
    places: dict[str, Callable[[], Backups]] = {
        "folder": lambda: FolderBackups(folder),
        "s3": lambda: S3Backups(store, BUCKET, "some/place"),
        "s3 without a prefix": lambda: S3Backups(store, BUCKET, ""),
    }
    return places[request.param]()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    file = tmp_path / "ledger.db"
    file.write_bytes(CONTENT)
    return file


def leave_strangers(backups: Backups, folder: Path, store: FakeStore) -> Callable[[], list[bytes]]:
    """
    Put what is no backup beside the backups; returns what reads it again.
    """
    if isinstance(backups, FolderBackups):
        for name in STRANGERS:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(name.encode())
        return lambda: [(folder / name).read_bytes() for name in STRANGERS]
    prefix = str(backups).removeprefix(f"s3://{BUCKET}").removeprefix("/")
    keys = [f"{prefix}/{name}".removeprefix("/") for name in STRANGERS]
    store.objects |= {key: key.encode() for key in keys}
    return lambda: [store.objects[key].removeprefix(f"{prefix}/".encode()) for key in keys]


# Either place ----------------------------------------------------------------------------


async def test_a_backup_is_fetched_as_it_was_kept(
    backups: Backups, ledger: Path, tmp_path: Path
) -> None:
    """
    What was in the file before is replaced, in both directions.
    """
    into = tmp_path / "restored.db"
    into.write_bytes(b"what is left of it")
    await backups.keep(into, NAMES[0])
    await backups.keep(ledger, NAMES[0])

    await backups.fetch(NAMES[0], into)

    assert CONTENT == into.read_bytes()
    assert 0o600 == into.stat().st_mode & 0o777
    assert [NAMES[0]] == await backups.names()


async def test_no_backups_yet(backups: Backups, folder: Path) -> None:
    """
    A place that nothing has been kept at is empty, and asking does not make it.
    """
    assert [] == await backups.names()
    assert not folder.exists()


async def test_pruning_leaves_the_newest_and_whatever_is_no_backup(
    backups: Backups, ledger: Path, folder: Path, store: FakeStore
) -> None:
    """
    Other files are neither named nor removed, nor counted among those that stay.
    """
    read_strangers = leave_strangers(backups, folder, store)
    for name in (NAMES[1], NAMES[0], NAMES[2]):
        await backups.keep(ledger, name)

    await prune(backups, 4)
    all_there = await backups.names()
    await prune(backups, 2)

    assert (NAMES, NAMES[1:]) == (all_there, await backups.names())
    assert [name.encode() for name in STRANGERS] == read_strangers()


async def test_a_backup_of_the_future_is_the_oldest(backups: Backups, ledger: Path) -> None:
    """
    A clock that was ahead makes no backup the newest, nor the last that stays.
    """
    ahead = backup_name(4_000_000_000_000)
    for name in (NAMES[1], ahead, NAMES[0]):
        await backups.keep(ledger, name)
    before = await backups.names()
    await prune(backups, 2)

    assert [ahead, *NAMES[:2]] == before
    assert NAMES[:2] == await backups.names()


async def test_removing_what_is_not_there(backups: Backups) -> None:
    """
    Two that prune at the same time do not trip over each other.
    """
    await backups.remove(NAMES[0])


async def test_a_missing_backup(backups: Backups, ledger: Path) -> None:
    """
    The file that was to be replaced stays as it is.
    """
    with pytest.raises(BackupUnavailable, match=NAMES[0]):
        await backups.fetch(NAMES[0], ledger)

    assert CONTENT == ledger.read_bytes()
    assert [ledger] == list(ledger.parent.iterdir())


@given(
    one=st.integers(0, 250_000_000_000_000),
    other=st.integers(0, 250_000_000_000_000),
)
def test_names_sort_by_time(one: int, other: int) -> None:
    """
    Up to the year 9892; one name stands for one second.
    """
    assert (one // 1000 < other // 1000) == (backup_name(one) < backup_name(other))


def test_a_name() -> None:
    """
    The time in it is UTC, for people to read, and can be read back to the second.
    """
    assert "ledger-20261125T175434Z.db" == backup_name(1_795_629_274_999)
    assert 1_795_629_274_000 == backup_ms("ledger-20261125T175434Z.db")


def test_the_backups_at_a_place(store: FakeStore) -> None:
    """
    What is written of a place and of its backups is the same.
    """
    for text in ("/mnt/backups", f"s3://{BUCKET}/some/place", f"s3://{BUCKET}"):
        assert text == str(backups_at(BackupUrl.read(text), store))


@pytest.mark.parametrize("fault", [None, BackupUnavailable("no"), LedgerUnavailable("no")])
async def test_a_copy_that_cannot_be_cleared_away_changes_nothing(
    folder: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch, fault: ExporterError | None
) -> None:
    """
    A backup that has been made is made, and why there is none is what is raised.
    """

    class Place(FolderBackups):
        async def keep(self, file: Path, name: str) -> None:
            if isinstance(fault, BackupUnavailable):
                raise fault
            await super().keep(file, name)

    async def copy(into: Path) -> None:
        if isinstance(fault, LedgerUnavailable):
            raise fault
        into.write_bytes(CONTENT)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refuse)
    backing_up = back_up(copy, ledger.with_name("copy"), Place(folder))
    if fault:
        with pytest.raises(type(fault)) as caught:
            await backing_up
        assert fault is caught.value
    else:
        assert [await backing_up] == [file.name for file in folder.iterdir()]


# A folder --------------------------------------------------------------------------------

KEEP_AND_DIE = """
import asyncio, os, sys
from pathlib import Path
from exporter.backups import FolderBackups
os.fsync = lambda _: os._exit(9)
asyncio.run(FolderBackups(Path(sys.argv[1])).keep(Path(sys.argv[2]), sys.argv[3]))
"""


async def test_a_process_that_dies_before_the_backup_has_its_name(
    folder: Path, ledger: Path
) -> None:
    """
    The next one sees no backup, and clears away what was left more than a day ago.

    What is younger may be another's that is still at work.
    """
    backups = FolderBackups(folder)
    command = [sys.executable, "-c", KEEP_AND_DIE, str(folder), str(ledger), NAMES[0]]
    died = await asyncio.to_thread(subprocess.run, command, check=False)
    left = [file.read_bytes() for file in folder.iterdir()]
    seen = await backups.names()

    await backups.keep(ledger, NAMES[1])
    young = [file for file in folder.iterdir() if file.name != NAMES[1]]
    os.utime(young[0], (0, 0))
    await backups.keep(ledger, NAMES[1])

    assert (9, [CONTENT], []) == (died.returncode, left, seen)
    assert [NAMES[1]] == [file.name for file in folder.iterdir()]


@pytest.mark.parametrize("step", ["fsync", "replace"])
async def test_a_full_disk(
    folder: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """
    The error says what the system said, and the backup of the same name is still whole.
    """

    def full(*_: object) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    backups = FolderBackups(folder)
    await backups.keep(ledger, NAMES[0])
    ledger.write_bytes(b"other content")
    with monkeypatch.context() as patch:
        patch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], full)
        with pytest.raises(BackupUnavailable, match=f"{NAMES[0]}: .*No space left"):
            await backups.keep(ledger, NAMES[0])

    assert [folder / NAMES[0]] == list(folder.iterdir())
    assert CONTENT == (folder / NAMES[0]).read_bytes()


async def test_a_folder_that_is_none(ledger: Path) -> None:
    """
    Whatever is asked of it, the error is the program's own.
    """
    backups = FolderBackups(ledger)

    with pytest.raises(BackupUnavailable, match="Not a directory"):
        await backups.names()
    with pytest.raises(BackupUnavailable, match="exists"):
        await backups.keep(ledger, NAMES[0])
    with pytest.raises(BackupUnavailable, match="Not a directory"):
        await backups.remove(NAMES[0])


# A bucket --------------------------------------------------------------------------------


@pytest.mark.parametrize(("prefix", "folder"), [("", ""), ("a/b", "a/b/")])
async def test_the_keys_in_the_bucket(
    store: FakeStore, ledger: Path, prefix: str, folder: str
) -> None:
    """
    A slash parts prefix and name; without a prefix there is none.
    """
    await S3Backups(store, BUCKET, prefix).keep(ledger, NAMES[0])

    assert {f"{folder}{NAMES[0]}": CONTENT} == store.objects


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 100)


@pytest.mark.usefixtures("small_parts")
async def test_a_large_file_goes_in_parts(
    s3_backups: S3Backups, store: FakeStore, edge: Edge, ledger: Path
) -> None:
    """
    No more of it is in memory than one part.
    """
    await s3_backups.keep(ledger, NAMES[0])

    assert ["100", "100", "50"] == keys_of(edge.calls, "upload_part")
    assert {f"some/place/{NAMES[0]}": CONTENT} == store.objects
    assert {} == store.uploads


async def test_a_file_of_one_part_goes_in_one_request(
    s3_backups: S3Backups, edge: Edge, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Also one that fills the part.
    """
    monkeypatch.setattr(module, "PART_BYTES", len(CONTENT))
    await s3_backups.keep(ledger, NAMES[0])

    assert [f"put_object some/place/{NAMES[0]}"] == edge.calls


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("step", ["upload_part", "complete_multipart_upload"])
async def test_an_upload_that_fails_is_aborted(
    s3_backups: S3Backups, store: FakeStore, edge: Edge, ledger: Path, step: str
) -> None:
    """
    The parts cost nothing from then on, and nothing is to be seen.
    """
    edge.fail(step, refusal("UploadPart", "AccessDenied", 403))

    with pytest.raises(BackupUnavailable) as caught:
        await s3_backups.keep(ledger, NAMES[0])

    assert (
        f"s3://{BUCKET}/some/place/{NAMES[0]}: UploadPart answered AccessDenied (HTTP 403)"
        == str(caught.value)
    )
    assert ({}, {}) == (store.uploads, store.objects)


@pytest.mark.usefixtures("small_parts")
async def test_an_upload_that_cannot_be_aborted(
    s3_backups: S3Backups, edge: Edge, ledger: Path
) -> None:
    """
    The error is the one that came first.
    """
    edge.fail("upload_part", refusal("UploadPart", "SlowDown", 503))
    edge.fail("abort_multipart_upload", no_connection())

    with pytest.raises(BackupUnavailable, match="SlowDown"):
        await s3_backups.keep(ledger, NAMES[0])


@pytest.mark.usefixtures("small_parts")
async def test_a_stop_aborts_the_upload(
    s3_backups: S3Backups, store: FakeStore, edge: Edge, ledger: Path
) -> None:
    """
    A program that is told to stop leaves no parts behind.
    """
    edge.close("upload_part")
    keeping = asyncio.create_task(s3_backups.keep(ledger, NAMES[0]))
    await until(lambda: "upload_part 100" in edge.calls, "the first part is under way")

    keeping.cancel()
    await asyncio.wait([keeping])

    assert keeping.cancelled()
    assert ({}, {}) == (store.uploads, store.objects)


async def test_an_object_that_ends_early(
    s3_backups: S3Backups, store: FakeStore, ledger: Path
) -> None:
    """
    Part of a backup replaces nothing.
    """
    await s3_backups.keep(ledger, NAMES[0])
    ledger.write_bytes(b"what is left of it")
    store.bytes_lost = 1

    with pytest.raises(BackupUnavailable, match="249 of 250 bytes came"):
        await s3_backups.fetch(NAMES[0], ledger)

    assert b"what is left of it" == ledger.read_bytes()
    assert [ledger] == list(ledger.parent.iterdir())


@pytest.mark.parametrize(
    "operation", ["list_objects_v2", "get_object", "put_object", "delete_object", "read"]
)
async def test_a_place_that_fails(
    s3_backups: S3Backups, edge: Edge, ledger: Path, operation: str
) -> None:
    """
    The error names the place and no person.
    """

    async def use() -> None:
        await s3_backups.keep(ledger, NAMES[0])
        await s3_backups.fetch(NAMES[0], ledger)
        await prune(s3_backups, 0)

    edge.fail(operation, refusal("Anything", "AccessDenied", 403))
    with pytest.raises(BackupUnavailable) as caught:
        await use()

    assert str(caught.value).startswith(f"{s3_backups}")
    assert str(caught.value).endswith(": Anything answered AccessDenied (HTTP 403)")
