"""
Log files in a bucket: which are found, and what finding them costs.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from exporter.aws.listing import FOLDERS_AT_ONCE, Listing
from exporter.aws.objects import Buckets
from exporter.errors import BucketMissing, BucketUnlisted, LogFileUnavailable, RefusedBucket
from exporter.keys import ObjectKind, object_kind
from exporter.notifications import LogFile
from exporter.values import AllowedBucket
from tests.fakes import ACCOUNT, BUCKET, no_connection, refusal

DAY_MS = 86_400_000
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)
NOW_MS = int(MIDNIGHT.timestamp()) * 1000 + DAY_MS // 2
REGION = "eu-central-1"
ORGANIZATION = "o-exampleorgid"


class FakeLister:
    """
    An S3 client that lists one bucket: keys in their order, with the time of each in ms.
    """

    def __init__(self, stored: Mapping[str, int], page_size: int = 1000) -> None:
        self.requests: list[dict[str, str]] = []
        self.errors: list[Exception] = []
        self.at_once_most = 0
        self._at_once = 0
        self._stored = stored
        self._keys = sorted(stored)
        self._page_size = page_size

    async def list_objects_v2(self, **request: str) -> dict[str, Any]:
        self.requests.append(request)
        self._at_once += 1
        self.at_once_most = max(self.at_once_most, self._at_once)
        await asyncio.sleep(0)
        self._at_once -= 1
        if self.errors:
            raise self.errors.pop()
        return self._page(**request)

    def _page(
        self,
        *,
        Bucket: str,  # noqa: N803 - S3's own names
        Prefix: str,  # noqa: N803
        Delimiter: str = "",  # noqa: N803
        StartAfter: str = "",  # noqa: N803
        ContinuationToken: str = "",  # noqa: N803
        ExpectedBucketOwner: str = ACCOUNT,  # noqa: N803
    ) -> dict[str, Any]:
        assert (BUCKET, ACCOUNT) == (Bucket, ExpectedBucketOwner)
        keys = self._keys
        after = bisect_right(keys, ContinuationToken or StartAfter)
        index = max(after, bisect_left(keys, Prefix))
        contents = list[dict[str, Any]]()
        folders = list[dict[str, str]]()
        while index < len(keys) and keys[index].startswith(Prefix):
            if len(contents) + len(folders) == self._page_size:
                more = {"IsTruncated": True, "NextContinuationToken": keys[index - 1]}
                return {"Contents": contents, "CommonPrefixes": folders, **more}
            key = keys[index]
            name, slash, _ = key.removeprefix(Prefix).partition(Delimiter or "\0")
            if slash:
                folders.append({"Prefix": f"{Prefix}{name}/"})
                index = bisect_left(keys, f"{Prefix}{name}0")  # 0 comes right after the slash
            else:
                time = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self._stored[key])
                contents.append({"Key": key, "LastModified": time})
                index += 1
        # S3 leaves out what is empty.
        parts = {"Contents": contents, "CommonPrefixes": folders}
        return {"IsTruncated": False, **{name: part for name, part in parts.items() if part}}


def listing(lister: FakeLister, owner: str | None = None) -> Listing:
    return Listing(lister, Buckets([AllowedBucket(BUCKET)], owner=owner))


def plainly(stored: Mapping[str, int], from_ms: int) -> list[LogFile]:
    """
    What is to be found, by a look at every key.
    """
    found = sorted(
        (time, key)
        for key, time in stored.items()
        if time >= from_ms
        and key.endswith((".json", ".json.gz"))
        and object_kind(key) is ObjectKind.LOG_FILE
    )
    return [LogFile(BUCKET, key, time) for time, key in found]


def day_folder(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC):%Y/%m/%d}"


# What is found ---------------------------------------------------------------------------

ROOTS = [
    f"AWSLogs/{ACCOUNT}",
    f"AWSLogs/{ORGANIZATION}/{ACCOUNT}",
    f"some/prefix/AWSLogs/{ACCOUNT}",
    f"{ORGANIZATION}/AWSLogs/{ORGANIZATION}/{ACCOUNT}",
    f"/prefix//AWSLogs/{ACCOUNT}",
    f"CloudTrail-Digest/Config/AWSLogs/{ACCOUNT}",
    f"AWSLogs/{ACCOUNT}/AWSLogs/{ORGANIZATION}/{ACCOUNT}",
    f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/copies/AWSLogs/{ACCOUNT}",
    f"Bücher\n📚/AWSLogs/{ACCOUNT}",
]
times = st.integers(NOW_MS - 800 * DAY_MS, NOW_MS)
delays = st.integers(0, DAY_MS)
"""How long after the day of its folder has begun, and then some, a file may be stored."""


@st.composite
def delivered(draw: st.DrawFn) -> tuple[str, int]:
    """
    A log file where CloudTrail puts it, or one of the digest files in the same layout.
    """
    day_ms = draw(times) // DAY_MS * DAY_MS
    word = draw(st.sampled_from(["CloudTrail", "CloudTrail", "CloudTrail-Digest"]))
    region = draw(st.sampled_from([REGION, "us-east-1"]))
    folder = f"{draw(st.sampled_from(ROOTS))}/{word}/{region}/{day_folder(day_ms)}"
    name = draw(st.sampled_from(["a.json.gz", "b.json", f"{ACCOUNT}_x.json.gz", "c.txt", ""]))
    return f"{folder}/{name}", day_ms + draw(delays) + draw(delays)


@st.composite
def laid_elsewhere(draw: st.DrawFn) -> tuple[str, int]:
    """
    Something outside CloudTrail's layout, stored at any time.
    """
    folder = draw(
        st.sampled_from(
            [
                "",
                "2026/01/01/",
                "copies/2020/01/01/",
                "AWSLogs/",
                f"AWSLogs/{ACCOUNT}/",
                f"AWSLogs/{ACCOUNT}/CloudTrail/",
                f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/",
                f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/0/",
                f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/20260/",
                f"AWSLogs/{ACCOUNT}/CloudTrail/copies of 2020/2020/01/01/",
                f"AWSLogs/{ACCOUNT}/Config/{REGION}/2026/1/1/",
                f"AWSLogs/{ACCOUNT}/elasticloadbalancing/",
                f"myAWSLogs/{ACCOUNT}/Config/",
            ]
        )
    )
    name = draw(st.sampled_from(["0.json", "a.json.gz", "z.json.gz", "readme.txt", ""]))
    return f"{folder}{name}" or "empty", draw(times)


@settings(max_examples=200, deadline=None)
@given(
    stored=st.lists(delivered() | laid_elsewhere(), max_size=30).map(dict),
    from_ms=st.just(0) | times,
    page_size=st.integers(1, 5),
)
def test_what_is_found_is_what_a_look_at_every_key_finds(
    stored: dict[str, int], from_ms: int, page_size: int
) -> None:
    """
    In every layout, from any moment on, in order of time and key.
    """
    told = list[int]()

    async def found() -> list[LogFile]:
        return await listing(FakeLister(stored, page_size)).since(BUCKET, from_ms, told.append)

    expected = plainly(stored, from_ms)
    assert expected == asyncio.run(found())
    assert sorted(told) == told
    assert len(expected) == told[-1]


async def test_a_file_that_is_stored_a_day_late() -> None:
    """
    The folder's day and one more may be over when the moment begins, to the millisecond.
    """
    key = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2025/12/31/one.json.gz"
    end_ms = int(MIDNIGHT.timestamp()) * 1000
    stored = {key: end_ms}

    assert [LogFile(BUCKET, key, end_ms)] == await listing(FakeLister(stored)).since(
        BUCKET, end_ms - 1
    )
    assert [] == await listing(FakeLister(stored)).since(BUCKET, end_ms + 1)


# What it costs ---------------------------------------------------------------------------


SUMMER_MS = NOW_MS + 180 * DAY_MS


def organization(accounts: int, regions: int, days: int) -> dict[str, int]:
    """
    A bucket of an organization's trail: a log file for each account, Region and day.
    """
    return {
        f"AWSLogs/{ORGANIZATION}/{account:012}/{word}/region-{region}/{day_folder(time_ms)}/"
        f"{account:012}_{word}_region-{region}_x.json.gz": time_ms
        for account in range(accounts)
        for region in range(regions)
        for time_ms in range(SUMMER_MS - days * DAY_MS, SUMMER_MS, DAY_MS)
        for word in ("CloudTrail", "CloudTrail-Digest")
    }


async def test_an_organization_costs_two_requests_for_each_account_and_region() -> None:
    """
    One for the Region's years, one for the days wanted, whatever lies before them.
    """
    stored = organization(accounts=30, regions=10, days=400)
    lister = FakeLister(stored)

    found = await listing(lister).since(BUCKET, SUMMER_MS - 3 * DAY_MS)

    on_the_way = len(["", "AWSLogs/", f"AWSLogs/{ORGANIZATION}/"]) + 30 * len(["", "CloudTrail/"])
    assert 30 * 10 * 3 == len(found)
    assert on_the_way + 2 * 30 * 10 == len(lister.requests)
    assert FOLDERS_AT_ONCE == lister.at_once_most


# What goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "owner", "kind", "words"),
    [
        (
            refusal("ListObjectsV2", "AccessDenied", 403),
            None,
            BucketUnlisted,
            f"bucket {BUCKET}: ListObjectsV2 answered AccessDenied (HTTP 403)",
        ),
        (
            refusal("ListObjectsV2", "AccessDenied", 403),
            ACCOUNT,
            BucketUnlisted,
            (
                f"bucket {BUCKET}: ListObjectsV2 answered AccessDenied (HTTP 403); "
                f"the bucket may not belong to account {ACCOUNT}"
            ),
        ),
        (
            refusal("ListObjectsV2", "NoSuchBucket", 404),
            None,
            BucketMissing,
            f"bucket {BUCKET} does not exist",
        ),
        (
            no_connection(),
            None,
            BucketUnlisted,
            f'bucket {BUCKET}: Could not connect to the endpoint URL: "https://aws.invalid/"',
        ),
    ],
)
async def test_a_failure_ends_the_listing(
    error: Exception, owner: str | None, kind: type[LogFileUnavailable], words: str
) -> None:
    """
    The error says why and names nobody, and no request is left under way.
    """
    lister = FakeLister(organization(accounts=20, regions=1, days=1))

    def fail(_: int) -> None:
        if len(lister.requests) > 10:
            lister.errors = [error]

    with pytest.raises(LogFileUnavailable) as caught:
        await listing(lister, owner).since(BUCKET, 0, fail)

    assert (kind, words) == (type(caught.value), str(caught.value))
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_a_bucket_that_is_not_allowed_causes_no_request() -> None:
    """
    Not even one that asks what is in it.
    """
    lister = FakeLister({})

    with pytest.raises(RefusedBucket):
        await listing(lister).since("another", 0)

    assert [] == lister.requests


async def test_the_owner_is_expected_of_every_page() -> None:
    """
    A bucket that another account has taken over meanwhile is not listed.
    """
    lister = FakeLister(organization(accounts=2, regions=2, days=3), page_size=1)

    await listing(lister, ACCOUNT).since(BUCKET, 0)

    assert {ACCOUNT} == {request["ExpectedBucketOwner"] for request in lister.requests}
