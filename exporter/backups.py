"""
Backups of the ledger, and where they are kept: a folder, or a prefix of a bucket.

Rules:

1. A backup is there as a whole or not at all, whenever the process or the machine stops.
2. Names tell the time. Whatever else lies at the place is passed over and never removed.
3. No more than a part of a backup is in memory, and no work on files holds up the loop.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from exporter.aws.failures import FAILURES, described
from exporter.errors import BackupUnavailable, LedgerUnavailable
from exporter.ledger.sqlite import SqliteLedger
from exporter.telemetry import Telemetry
from exporter.timestamps import FUTURE_MS_MAX
from exporter.values import BackupUrl

BACKUPS_KEPT = 24
RETRY_SECONDS = 60.0
"""How long after a backup that failed the next is tried."""
PART_BYTES = 16 * 1024 * 1024
"""What is uploaded at once. S3 takes 10,000 parts of at least 5 MiB."""

_PIECE_BYTES = 1024 * 1024
_UNFINISHED = ".unfinished-backup-"
_UNFINISHED_SECONDS_MAX = 24 * 3600


class Backups(Protocol):
    """
    A place for backups; as text it says where. Every method raises BackupUnavailable.
    """

    async def names(self) -> list[str]:
        """
        The names of the backups, oldest first.
        """
        ...

    async def keep(self, file: Path, name: str) -> None:
        """
        Keep a copy of a file under a name; one that is there already is replaced.
        """
        ...

    async def fetch(self, name: str, into: Path) -> None:
        """
        Copy a backup into a file, which is replaced once the copy is whole.
        """
        ...

    async def remove(self, name: str) -> None:
        """
        Remove a backup, if it is there.
        """
        ...


def backups_at(url: BackupUrl, client: Any) -> Backups:
    """
    The backups at a place; the S3 client is for those in a bucket.
    """
    if url.folder is not None:
        return FolderBackups(url.folder)
    return S3Backups(client, url.bucket, url.prefix)


def backup_name(moment_ms: int) -> str:
    """
    What to call the backup of a moment, in milliseconds since 1970.
    """
    return f"ledger-{datetime.fromtimestamp(moment_ms // 1000, UTC):%Y%m%dT%H%M%SZ}.db"


def backup_ms(name: str) -> int:
    """
    The moment of a backup, in milliseconds since 1970, from its name.

    Raises ValueError where the name is no backup's.
    """
    moment = datetime.strptime(name, "ledger-%Y%m%dT%H%M%SZ.db").replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


async def prune(backups: Backups, keep: int) -> None:
    """
    Remove all backups but the newest.

    Raises:
        BackupUnavailable: They could not be listed, or one not be removed.
    """
    names = await backups.names()
    for name in names[: max(0, len(names) - keep)]:
        await backups.remove(name)


class FolderBackups:
    """
    Backups in a folder, which is made when the first of them is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    async def names(self) -> list[str]:
        """
        See ``Backups``; there are none where there is no folder.
        """
        with _told(self):
            return await asyncio.to_thread(self._names)

    async def keep(self, file: Path, name: str) -> None:
        """
        See ``Backups``; the folder is made if need be.
        """
        with _told(self._folder / name):
            await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
            await _copy(file, self._folder / name)

    async def fetch(self, name: str, into: Path) -> None:
        """
        See ``Backups``.
        """
        with _told(self._folder / name):
            await _copy(self._folder / name, into)

    async def remove(self, name: str) -> None:
        """
        See ``Backups``.
        """
        with _told(self._folder / name):
            await asyncio.to_thread((self._folder / name).unlink, missing_ok=True)

    def _names(self) -> list[str]:
        try:
            return _backups_among(file.name for file in self._folder.iterdir())
        except FileNotFoundError:
            return []


class S3Backups:
    """
    Backups below a prefix of a bucket.

    A process that is killed while it uploads leaves parts behind that nobody sees; a
    lifecycle rule of the bucket (AbortIncompleteMultipartUpload) removes them.

    Args:
        client: An S3 client.
        bucket: The bucket's name.
        prefix: What comes before the names, without a slash at its ends; may be empty.
    """

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    async def names(self) -> list[str]:
        """
        See ``Backups``.
        """
        request = {"Bucket": self._bucket, "Prefix": f"{self._prefix}ledger-", "Delimiter": "/"}
        names = list[str]()
        with _told(self):
            while True:
                page = await self._client.list_objects_v2(**request)
                keys = (entry["Key"] for entry in page.get("Contents", []))
                names += (key.removeprefix(self._prefix) for key in keys)
                if not page.get("IsTruncated"):
                    return _backups_among(names)
                request["ContinuationToken"] = page["NextContinuationToken"]

    async def keep(self, file: Path, name: str) -> None:
        """
        See ``Backups``.
        """
        place = self._place(name)
        with _told(f"{self}/{name}"):
            source = await asyncio.to_thread(file.open, "rb")
            with source:
                if os.fstat(source.fileno()).st_size > PART_BYTES:
                    await self._upload(source, place)
                else:
                    content = await asyncio.to_thread(source.read)
                    await self._client.put_object(**place, Body=content)

    async def fetch(self, name: str, into: Path) -> None:
        """
        See ``Backups``.
        """
        with _told(f"{self}/{name}"):
            answer = await self._client.get_object(**self._place(name))
            async with answer["Body"] as body, _appearing(into) as file:
                size = 0
                while piece := await body.read(_PIECE_BYTES):
                    size += await asyncio.to_thread(file.write, piece)
                if size != answer["ContentLength"]:
                    raise BackupUnavailable(
                        f"{self}/{name}: {size} of {answer['ContentLength']} bytes came"
                    )

    async def remove(self, name: str) -> None:
        """
        See ``Backups``.
        """
        with _told(f"{self}/{name}"):
            await self._client.delete_object(**self._place(name))

    def _place(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{name}"}

    async def _upload(self, source: BinaryIO, place: dict[str, str]) -> None:
        """
        Upload a file in parts, which become an object once all of them are there.
        """
        begun = await self._client.create_multipart_upload(**place)
        upload = {**place, "UploadId": begun["UploadId"]}
        parts = list[dict[str, Any]]()
        try:
            while piece := await asyncio.to_thread(source.read, PART_BYTES):
                number = len(parts) + 1
                part = await self._client.upload_part(**upload, PartNumber=number, Body=piece)
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
            await self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(*FAILURES):  # what matters is why the upload failed
                await self._client.abort_multipart_upload(**upload)
            raise


def _backups_among(names: Iterable[str]) -> list[str]:
    """
    The backups among some names, oldest first.

    A name that is ahead of the clock was given by a wrong one, and says nothing of its age:
    it stands before all others.
    """
    now_ms = time.time() * 1000 + FUTURE_MS_MAX
    return sorted(filter(_is_backup, names), key=lambda name: (backup_ms(name) <= now_ms, name))


def _is_backup(name: str) -> bool:
    try:
        return backup_name(backup_ms(name)) == name
    except ValueError:
        return False


@contextmanager
def _told(subject: object) -> Iterator[None]:
    """
    Let what fails in the block be the program's own error.
    """
    try:
        yield
    except FAILURES as error:
        raise BackupUnavailable(f"{subject}: {described(error)[1]}") from error
    except OSError as error:
        raise BackupUnavailable(f"{subject}: {error}") from error


async def _copy(source: Path, target: Path) -> None:
    original = await asyncio.to_thread(source.open, "rb")
    with original:
        async with _appearing(target) as file:
            await asyncio.to_thread(shutil.copyfileobj, original, file, _PIECE_BYTES)


@asynccontextmanager
async def _appearing(target: Path) -> AsyncIterator[BinaryIO]:
    """
    A file that gets its name when the block has ended well, and lasts from then on.
    """
    file, path = await asyncio.to_thread(_begin, target.parent)
    try:
        yield file
        await asyncio.to_thread(_finish, file, path, target)
    except BaseException:
        await asyncio.to_thread(_discard, file, path)
        raise


def clear_unfinished(folder: Path, *, older_than_seconds: float) -> None:
    """
    Remove what was left in a folder by copies that did not come to their end. Raises OSError.
    """
    for leftover in folder.glob(f"{_UNFINISHED}*"):
        with suppress(FileNotFoundError):  # it has just got its name
            if time.time() - leftover.lstat().st_mtime >= older_than_seconds:
                leftover.unlink()


def _begin(folder: Path) -> tuple[BinaryIO, Path]:
    """
    A new file that only its owner may read; what a crash has left there long ago goes.
    """
    clear_unfinished(folder, older_than_seconds=_UNFINISHED_SECONDS_MAX)
    handle, path = tempfile.mkstemp(prefix=_UNFINISHED, dir=folder)
    return os.fdopen(handle, "wb"), Path(path)


def _finish(file: BinaryIO, path: Path, target: Path) -> None:
    """
    Bring a file's content to the disk, then its name: never the other way round.
    """
    file.flush()
    os.fsync(file.fileno())
    file.close()
    path.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _discard(file: BinaryIO, path: Path) -> None:
    path.unlink(missing_ok=True)
    with suppress(OSError):  # a full disk shows here again
        file.close()


async def keep_backups(
    ledger: SqliteLedger,
    backups: Backups,
    interval_seconds: float,
    telemetry: Telemetry,
) -> None:
    """
    Back up the ledger for ever.

    It begins at once where the newest backup is older than the interval, or than the ledger
    itself and so another's, which must not come back.

    Args:
        ledger: The ledger, which goes on counting meanwhile.
        backups: Where backups are kept.
        interval_seconds: How long from one to the next.
    """
    wait_seconds = 0.0
    while True:
        await asyncio.sleep(wait_seconds)
        try:
            wait_seconds = await _seconds_to_next(backups, interval_seconds, ledger.born_ms)
            if wait_seconds <= 0:
                name = await _unattended(back_up(ledger.copy, ledger.beside(".copy"), backups))
                wait_seconds = interval_seconds
                telemetry.backed_up(f"{backups}/{name}")
                await prune(backups, BACKUPS_KEPT)
        except (BackupUnavailable, LedgerUnavailable) as error:
            wait_seconds = min(RETRY_SECONDS, interval_seconds)
            telemetry.backup_failed(error)


async def _unattended(work: Coroutine[Any, Any, str]) -> str:
    """
    Wait for some work, but not for what it has to tidy up once nobody waits any more.

    A stop has messages to give back, and S3 may be slow to hear that an upload is over.
    """
    task = asyncio.create_task(work, name="backup")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        raise


async def back_up(
    copy: Callable[[Path], Awaitable[None]], by_way_of: Path, backups: Backups
) -> str:
    """
    Make a copy of a ledger, keep it as a backup, and return the backup's name.

    Args:
        copy: Copies the ledger into a file.
        by_way_of: The file that holds the copy until it is kept.

    Raises:
        BackupUnavailable: It could not be kept.
        LedgerUnavailable: There is no copy.
    """
    name = backup_name(round(time.time() * 1000))
    try:
        await copy(by_way_of)
        await backups.keep(by_way_of, name)
    finally:
        with suppress(OSError):  # where nothing can be removed, nothing was made
            await asyncio.to_thread(by_way_of.unlink, missing_ok=True)
    return name


async def _seconds_to_next(backups: Backups, interval_seconds: float, born_ms: int) -> float:
    """
    How long the newest backup is still new enough; one of the future says nothing.
    """
    names = await backups.names()
    # A name tells the second only.
    if not names or backup_ms(names[-1]) < born_ms // 1000 * 1000:
        return 0.0
    age_seconds = time.time() - backup_ms(names[-1]) / 1000
    return max(0.0, interval_seconds - age_seconds) if age_seconds >= 0 else 0.0
