"""
The log files in S3.

Rules:

1. A bucket that is not allowed by name causes no request at all.
2. What is in hand is bounded by number and by bytes, from the request until the caller is
   done with the body: a body waits for room before it is read.
3. A body is read as it is stored; whether it is gzip is decided by looking at it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from exporter.aws.failures import FAILURES, described
from exporter.errors import (
    BucketMissing,
    LogFileDenied,
    LogFileMissing,
    LogFileUnavailable,
    OversizedLogFile,
    RefusedBucket,
)
from exporter.notifications import LogFile

LOG_FILES_IN_HAND_MAX = 16
BYTES_IN_HAND_MAX = 64 * 1024 * 1024

_MISSING = {"NoSuchKey", "NoSuchBucket", "404"}
_DENIED = {"AccessDenied", "403", "AllAccessDisabled", "InvalidObjectState"}


class Room:
    """
    A number of bytes that bodies share; those that find no room wait in line.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._free = bytes_max
        self._freed = asyncio.Condition()
        self._line = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """
        Hold room for a body during the block. One larger than all there is takes all there is.
        """
        size = min(size, self._bytes_max)
        async with self._line, self._freed:
            await self._freed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            async with self._freed:
                self._free += size
                self._freed.notify_all()


class Objects:
    """
    Hands over log files of the allowed buckets.

    Args:
        client: An S3 client.
        buckets: The allowed buckets, each with the account that must own it, or None.
        compressed_bytes_max: A larger object is refused unread.
    """

    def __init__(
        self, client: Any, buckets: Mapping[str, str | None], *, compressed_bytes_max: int
    ) -> None:
        self._client = client
        self._buckets = buckets
        self._compressed_bytes_max = compressed_bytes_max
        self._hands = asyncio.Semaphore(LOG_FILES_IN_HAND_MAX)
        self._room = Room(BYTES_IN_HAND_MAX)

    @asynccontextmanager
    async def fetch(self, log_file: LogFile) -> AsyncIterator[bytes]:
        """
        The bytes of a log file as S3 stores them, in hand until the block ends.

        Raises:
            RefusedBucket: Its bucket is not allowed.
            OversizedLogFile: It is larger than the cap.
            LogFileMissing: S3 has no such object or bucket.
            LogFileDenied: S3 refuses to hand it over.
            LogFileUnavailable: S3 did not answer, or not to the end.
        """
        if log_file.bucket not in self._buckets:
            raise RefusedBucket(f"bucket {log_file.bucket!r} is not allowed")
        async with self._hands:
            answer = await self._get(log_file)
            async with answer["Body"] as body, self._room.hold(self._size(answer, log_file)):
                try:
                    content = await body.read()
                except FAILURES as error:
                    raise _unavailable(log_file, error) from error
                yield content

    async def check_bucket(self, bucket: str) -> bool:
        """
        Whether S3 confirms that a bucket is there; False where it will not tell.

        Looking at a bucket takes a permission that reading its log files does not, so a
        refusal proves nothing.

        Raises:
            BucketMissing: There is no such bucket.
            LogFileUnavailable: S3 did not answer.
        """
        try:
            await self._client.head_bucket(Bucket=bucket, **self._owner(bucket))
        except FAILURES as error:
            failure = _unavailable(LogFile(bucket, ""), error)
            if isinstance(failure, LogFileDenied):
                return False
            if isinstance(failure, LogFileMissing):
                raise BucketMissing(f"bucket {bucket} does not exist") from error
            raise failure from error
        return True

    async def _get(self, log_file: LogFile) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await self._client.get_object(
                Bucket=log_file.bucket, Key=log_file.key, **self._owner(log_file.bucket)
            )
        except FAILURES as error:
            raise _unavailable(log_file, error) from error
        return answer

    def _owner(self, bucket: str) -> dict[str, str]:
        owner = self._buckets.get(bucket)
        return {"ExpectedBucketOwner": owner} if owner else {}

    def _size(self, answer: Mapping[str, Any], log_file: LogFile) -> int:
        size: int = answer["ContentLength"]
        if size > self._compressed_bytes_max:
            raise OversizedLogFile(
                f"{log_file} has {size} bytes, the cap is {self._compressed_bytes_max}"
            )
        return size


def _unavailable(log_file: LogFile, error: BaseException) -> LogFileUnavailable:
    code, words = described(error)
    if code in _MISSING:
        return LogFileMissing(f"{log_file}: {words}")
    if code in _DENIED:
        return LogFileDenied(f"{log_file}: {words}")
    return LogFileUnavailable(f"{log_file}: {words}")
