"""
The log files in S3.

Rules:

1. A bucket that is not allowed, or whose name could lead anywhere but to a general purpose
   bucket, causes no request at all: no look-up of a name either.
2. What is in hand is bounded by number and by bytes, from the request until the caller is
   done with the body: a small body has the room that goes with its hand, a large one waits
   for room before it is read, and each is read no further than one byte past its room.
3. A large body waits for room behind other large ones only, however slowly they come.
4. A body is read as it is stored; whether it is gzip is decided by looking at it.
5. A refused name is quoted only if it is shaped like a general purpose bucket's. An ARN may
   hold a person's name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from botocore.exceptions import InvalidRegionError

from exporter.aws.failures import FAILURES, concerns_a_key, described
from exporter.errors import (
    BucketElsewhere,
    BucketMissing,
    KeyGone,
    LogFileArchived,
    LogFileDenied,
    LogFileLocked,
    LogFileMissing,
    LogFileThrottled,
    LogFileUnavailable,
    OversizedLogFile,
    RefusedBucket,
)
from exporter.notifications import LogFile
from exporter.values import AllowedBucket, is_bucket_name

LOG_FILES_IN_HAND_MAX = 16
BYTES_IN_HAND_MAX = 64 * 1024 * 1024
SMALL_BYTES_MAX = 1024 * 1024
"""A small body needs no more room than its hand: so many fit in beside the large ones."""

_MEANINGS: Mapping[str, tuple[type[LogFileUnavailable], str]] = {
    code: (kind, remark)
    for kind, remark, codes in (
        (LogFileMissing, "", ("NoSuchKey", "404")),
        (BucketMissing, "", ("NoSuchBucket",)),
        (LogFileDenied, "", ("AccessDenied", "AllAccessDisabled", "403")),
        (LogFileArchived, "it is archived", ("InvalidObjectState",)),
        (KeyGone, "its KMS key is disabled", ("KMS.DisabledException",)),
        (
            KeyGone,
            "its KMS key does not exist, or not in the bucket's Region",
            ("KMS.NotFoundException",),
        ),
        (
            KeyGone,
            "its KMS key waits for its deletion, or lacks its key material",
            ("KMS.KMSInvalidStateException", "KMS.InvalidStateException"),
        ),
        (
            LogFileUnavailable,
            "KMS does not answer S3 in time",
            (
                "KMS.DependencyTimeoutException",
                "KMS.KMSInternalException",
                "KMS.KeyUnavailableException",
                "KMS.LimitExceededException",
                "KMS.ThrottlingException",
            ),
        ),
        (
            BucketElsewhere,
            "",
            (
                "PermanentRedirect",
                "TemporaryRedirect",
                "AuthorizationHeaderMalformed",
                "IllegalLocationConstraintException",
                "301",
                "302",
                "307",
            ),
        ),
        (
            LogFileUnavailable,
            "the credentials have expired",
            ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"),
        ),
        (
            LogFileUnavailable,
            "the credentials are not valid",
            ("InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"),
        ),
        (LogFileUnavailable, "this machine's clock is wrong", ("RequestTimeTooSkewed",)),
        (
            LogFileThrottled,
            "",
            ("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"),
        ),
    )
    for code in codes
}
"""
What the codes of S3's answers mean (S3 API Reference, "Error responses"); a number stands
for an answer without a body, as to HeadBucket. S3 hands on the errors of KMS (KMS API
Reference, Decrypt, "Errors") with ``KMS.`` before their names; those not listed are
about the key too. Any other code only says that S3 did not hand the file over.
"""


class Buckets:
    """
    Which buckets may be read from, and which account must own each.

    Args:
        allowed: The buckets named by the user.
        any_bucket: Whether any other general purpose bucket may be read from, too.
        owner: The account that must own the buckets given without one, and any other.
    """

    def __init__(
        self,
        allowed: Iterable[AllowedBucket],
        *,
        any_bucket: bool = False,
        owner: str | None = None,
    ) -> None:
        self._owners = {bucket.name: bucket.owner or owner for bucket in allowed}
        self._any_bucket = any_bucket
        self._owner = owner

    def admit(self, name: str) -> None:
        """
        Nothing, if log files of this bucket may be read.

        Raises:
            RefusedBucket: They may not, or the name cannot be a general purpose bucket's.
        """
        if name in self._owners:
            return
        if not is_bucket_name(name):
            raise RefusedBucket(
                f"a bucket's name of {len(name)} characters is not allowed: no general purpose "
                "bucket can have it"
            )
        if not self._any_bucket:
            raise RefusedBucket(f"bucket {name} is not allowed")

    def owner_of(self, name: str) -> str | None:
        """
        The account that must own a bucket; None where any may.
        """
        return self._owners.get(name, self._owner)


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
    Hands over log files of the buckets that may be read from.

    Args:
        client: An S3 client.
        buckets: Which those are.
        compressed_bytes_max: A larger object is refused as a whole.
    """

    def __init__(self, client: Any, buckets: Buckets, *, compressed_bytes_max: int) -> None:
        self._client = client
        self._buckets = buckets
        self._compressed_bytes_max = compressed_bytes_max
        self._hands = asyncio.Semaphore(LOG_FILES_IN_HAND_MAX)
        self._room = Room(BYTES_IN_HAND_MAX)

    def admit(self, log_file: LogFile) -> None:
        """
        Nothing, if the log file's bucket may be read from. No request is made.

        Raises:
            RefusedBucket: It may not.
        """
        self._buckets.admit(log_file.bucket)

    @asynccontextmanager
    async def fetch(self, log_file: LogFile) -> AsyncIterator[bytes]:
        """
        The bytes of a log file as S3 stores them, in hand until the block ends.

        Raises:
            RefusedBucket: Its bucket may not be read from.
            OversizedLogFile: It is larger than the cap.
            LogFileUnavailable: S3 did not hand it over; the kinds of it say why.
        """
        self.admit(log_file)
        async with self._hands:
            body, size = await self._get(log_file)
            if size <= SMALL_BYTES_MAX:
                async with body:
                    yield await self._read(body, size, log_file)
                return
        # Many large ones in line leave the hands to others.
        async with body, self._room.hold(size):
            yield await self._read(body, size, log_file)

    async def check_bucket(self, bucket: str) -> bool:
        """
        Whether S3 confirms that a bucket is there; False where it will not tell.

        Looking at a bucket takes a permission that reading its log files does not, so a
        refusal proves nothing.

        Raises:
            BucketMissing: There is no such bucket.
            LogFileUnavailable: S3 did not answer.
        """
        self._buckets.admit(bucket)
        try:
            await self._client.head_bucket(Bucket=bucket, **self._owner(bucket))
        except FAILURES as error:
            failure = self._failure(f"bucket {bucket}", bucket, error)
            if isinstance(failure, LogFileDenied):
                return False
            if isinstance(failure, LogFileMissing):
                raise BucketMissing(f"bucket {bucket} does not exist") from error
            raise failure from error
        return True

    async def _get(self, log_file: LogFile) -> tuple[Any, int]:
        """
        A body, unread, and its size, or the cap where the answer does not tell a size.
        """
        try:
            answer: Mapping[str, Any] = await self._client.get_object(
                Bucket=log_file.bucket, Key=log_file.key, **self._owner(log_file.bucket)
            )
        except FAILURES as error:
            raise self._failure(str(log_file), log_file.bucket, error) from error
        size: int = answer.get("ContentLength", self._compressed_bytes_max)
        if size > self._compressed_bytes_max:
            async with answer["Body"]:
                raise OversizedLogFile(
                    f"{log_file} has {size} bytes, the cap is {self._compressed_bytes_max}"
                )
        return answer["Body"], size

    def _owner(self, bucket: str) -> dict[str, str]:
        owner = self._buckets.owner_of(bucket)
        return {"ExpectedBucketOwner": owner} if owner else {}

    async def _read(self, body: Any, size: int, log_file: LogFile) -> bytes:
        """
        A body to its end, which is only known to be one once a read finds nothing.
        """
        pieces = list[bytes]()
        rest = size + 1
        try:
            while rest and (piece := await body.read(rest)):
                pieces.append(piece)
                rest -= len(piece)
        except FAILURES as error:
            raise self._failure(str(log_file), log_file.bucket, error) from error
        if not rest:
            raise OversizedLogFile(
                f"{log_file} has more than {size} bytes, the cap is {self._compressed_bytes_max}"
            )
        return b"".join(pieces)

    def _failure(self, subject: str, bucket: str, error: BaseException) -> LogFileUnavailable:
        """
        The program's own error for a failed request, with what can be said of the reason.
        """
        code, words = described(error)
        otherwise = LogFileLocked if code.startswith("KMS.") else LogFileUnavailable
        kind, remark = _MEANINGS.get(code, (otherwise, ""))
        owner = self._buckets.owner_of(bucket)
        if kind is LogFileDenied and concerns_a_key(error):
            kind, remark = LogFileLocked, "its KMS key may not be used"
        elif kind is LogFileDenied and owner:
            remark = f"the bucket may not belong to account {owner}"
        elif isinstance(error, InvalidRegionError):
            kind = BucketElsewhere
        return kind(f"{subject}: {'; '.join(filter(None, (words, remark)))}")
