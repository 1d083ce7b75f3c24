"""
The log files that lie in a bucket, as S3 lists them.

Rules:

1. What counts is when S3 stored a file. The folder of a day is passed over where that day
   and one more, as slack, were over before the moment in question: CloudTrail names it for
   the day of delivery. A copy that somebody put there later is not found.
2. S3 lists keys in their order, and the order below `.../CloudTrail/REGION/YYYY/` is that of
   days. So one request that begins at the first day wanted replaces those for every month
   and day: an account and Region costs two requests, and more only per 1,000 log files.
3. A folder that the layout gives to something else, such as digest files, is not looked
   into, not even for a trail whose prefix leads through it. Any other is: a prefix is free
   text, and files may have been copied anywhere.
4. Not all is listed at once, and the order of the answers matters to nobody.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from exporter.aws.failures import FAILURES, described
from exporter.aws.objects import Buckets
from exporter.errors import BucketMissing, BucketUnlisted, LogFileUnavailable
from exporter.keys import SUFFIXES, ObjectKind, is_log_file, object_kind
from exporter.notifications import LogFile

FOLDERS_AT_ONCE = 8
SLACK = timedelta(days=1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR = re.compile(
    r"((?:.*/)?AWSLogs/(?:o-[a-z0-9]+/)?[0-9]{12}/CloudTrail/[a-z0-9-]+/)([0-9]{4})/", re.DOTALL
)


class Listing:
    """
    Lists the log files of the buckets that may be read from.

    Args:
        client: An S3 client.
        buckets: Which those are.
    """

    def __init__(self, client: Any, buckets: Buckets) -> None:
        self._client = client
        self._buckets = buckets

    async def since(
        self, bucket: str, from_ms: int, progress: Callable[[int], None] = lambda _: None
    ) -> list[LogFile]:
        """
        The log files that S3 stored at a moment or later, the oldest first.

        Args:
            bucket: The bucket's name.
            from_ms: The moment, in milliseconds since 1970; 0 for all log files.
            progress: Told again and again how many have been found.

        Raises:
            RefusedBucket: The bucket may not be read from.
            BucketMissing: There is no such bucket.
            BucketUnlisted: S3 did not list it.
        """
        self._buckets.admit(bucket)
        walk = _Walk(self._client, bucket, self._buckets.owner_of(bucket), from_ms, progress)
        await walk.go()
        return [LogFile(bucket, key, stored_ms) for stored_ms, key in sorted(walk.found)]


class _Walk:
    """
    One way through all the folders of a bucket.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        owner: str | None,
        from_ms: int,
        progress: Callable[[int], None],
    ) -> None:
        self.found: list[tuple[int, str]] = []
        self._client = client
        self._bucket = bucket
        self._owner = owner
        self._from_ms = from_ms
        self._progress = progress
        self._first_day = f"{_EPOCH + timedelta(milliseconds=from_ms) - SLACK:%Y/%m/%d/}"

    async def go(self) -> None:
        """
        Find everything, from the root on; a failure ends it all.
        """
        folders = [""]
        listings = set[asyncio.Task[list[str]]]()
        try:
            while folders or listings:
                while folders and len(listings) < FOLDERS_AT_ONCE:
                    listings.add(asyncio.create_task(self._list(folders.pop()), name="listing"))
                done, _ = await asyncio.wait(listings, return_when=asyncio.FIRST_COMPLETED)
                listing = done.pop()
                folders += await listing
                listings.remove(listing)
        finally:
            for listing in listings:
                listing.cancel()
            await asyncio.gather(*listings, return_exceptions=True)

    async def _list(self, folder: str) -> list[str]:
        """
        Keep the log files of a folder, and return which folders of it are to be listed.
        """
        request = {"Bucket": self._bucket, "Prefix": folder, **self._manner(folder)}
        if self._owner:
            request["ExpectedBucketOwner"] = self._owner
        folders = list[str]()
        while True:
            page = await self._ask(request)
            self._keep(page.get("Contents", []))
            folders += (each["Prefix"] for each in page.get("CommonPrefixes", []))
            if not page.get("IsTruncated"):
                return list(filter(self._is_wanted, folders))
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _manner(self, folder: str) -> dict[str, str]:
        """
        All of a year is listed in a row, from the first day wanted; else folder by folder.
        """
        year = _YEAR.fullmatch(folder)
        return {"StartAfter": year[1] + self._first_day} if year else {"Delimiter": "/"}

    def _is_wanted(self, folder: str) -> bool:
        """
        Whether a folder may hold log files that are wanted.

        Only what follows the last AWSLogs is looked at: a prefix may itself be an account's
        folder, and what follows it is then on the way to a trail's own layout.
        """
        if year := _YEAR.fullmatch(folder):
            return self._first_day[:4] <= year[2]
        _, begin, rest = f"/{folder}".rpartition("/AWSLogs/")
        return object_kind(f"{begin}{rest}any{SUFFIXES[0]}") is ObjectKind.LOG_FILE

    def _keep(self, entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            key = entry["Key"]
            stored_ms = (entry["LastModified"] - _EPOCH) // timedelta(milliseconds=1)
            if stored_ms >= self._from_ms and is_log_file(key):
                self.found.append((stored_ms, key))
        self._progress(len(self.found))

    async def _ask(self, request: dict[str, str]) -> dict[str, Any]:
        try:
            page: dict[str, Any] = await self._client.list_objects_v2(**request)
        except FAILURES as error:
            raise self._failure(error) from error
        return page

    def _failure(self, error: BaseException) -> LogFileUnavailable:
        """
        The program's own error for a failed request, with what can be said of the reason.
        """
        code, words = described(error)
        if code == "NoSuchBucket":
            return BucketMissing(f"bucket {self._bucket} does not exist")
        if code == "AccessDenied" and self._owner:
            words += f"; the bucket may not belong to account {self._owner}"
        return BucketUnlisted(f"bucket {self._bucket}: {words}")
