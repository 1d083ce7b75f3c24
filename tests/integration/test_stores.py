"""
Log files are listed, and backups kept, in a bucket over real HTTP.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from exporter import backups as module
from exporter.aws.listing import Listing
from exporter.aws.objects import Buckets
from exporter.aws.session import Session
from exporter.backups import S3Backups, backup_name, prune
from exporter.errors import BackupUnavailable, BucketMissing
from exporter.notifications import LogFile
from exporter.values import AllowedBucket
from tests import records
from tests.servers import AwsServer, Trail

HOUR_MS = 3_600_000
NAMES = [backup_name(hour * HOUR_MS) for hour in (490_000, 490_001)]


@pytest.fixture
async def s3(aws: AwsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Any]:
    """
    A client of the program's own, which the environment leads to the tests' server.
    """
    for name in ("AWS_PROFILE", "AWS_REGION", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    no_file = str(tmp_path / "none")
    files = {"AWS_CONFIG_FILE": no_file, "AWS_SHARED_CREDENTIALS_FILE": no_file}
    for name, value in {**aws.environment, **files}.items():
        monkeypatch.setenv(name, value)
    async with Session(lambda *_: None).client("s3") as client:
        yield client


def listing(s3: Any, trail: Trail) -> Listing:
    return Listing(s3, Buckets([AllowedBucket(trail.bucket)]))


# Log files -------------------------------------------------------------------------------


async def test_more_log_files_than_a_page_holds(s3: Any, unlaid_trail: Trail) -> None:
    """
    All are found, and nothing else is, from the moment asked for on.
    """
    trail = unlaid_trail
    trail.make_bucket()
    begin_ms = int(time.time()) * 1000
    keys = [records.key(number) for number in range(1001)]
    digest = keys[0].replace("CloudTrail", "CloudTrail-Digest")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda key: trail.deliver(key, b""), [*keys, digest, "ä b+c%2B.json"]))

    found = await listing(s3, trail).since(trail.bucket, begin_ms)
    later = await listing(s3, trail).since(trail.bucket, begin_ms + HOUR_MS)

    assert sorted([*keys, "ä b+c%2B.json"]) == sorted(log_file.key for log_file in found)
    assert sorted(found, key=_time_and_key) == found
    assert [] == later


def _time_and_key(log_file: LogFile) -> tuple[int, str]:
    return log_file.announced_ms or 0, log_file.key


async def test_a_bucket_that_is_not_there(s3: Any, unlaid_trail: Trail) -> None:
    """
    Neither log files nor backups are to be had of it.
    """
    with pytest.raises(BucketMissing):
        await listing(s3, unlaid_trail).since(unlaid_trail.bucket, 0)
    with pytest.raises(BackupUnavailable, match="NoSuchBucket"):
        await S3Backups(s3, unlaid_trail.bucket, "").names()


# Backups ---------------------------------------------------------------------------------


async def test_backups_in_a_bucket(
    s3: Any, unlaid_trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A small one and one in parts come back as they were, until they are removed.
    """
    unlaid_trail.make_bucket()
    monkeypatch.setattr(module, "PART_BYTES", 5 * 1024 * 1024)  # the least that S3 takes
    backups = S3Backups(s3, unlaid_trail.bucket, "some/place")
    contents = [b"a small ledger", bytes(range(251)) * 50_000]  # of which no two parts are equal
    ledger, restored = tmp_path / "ledger.db", tmp_path / "restored.db"
    fetched = list[bytes]()
    for name, content in zip(NAMES, contents, strict=True):
        ledger.write_bytes(content)
        await backups.keep(ledger, name)
    for name in await backups.names():
        await backups.fetch(name, restored)
        fetched.append(restored.read_bytes())

    await prune(backups, 1)

    assert contents == fetched
    assert NAMES[1:] == await backups.names()


async def test_backups_that_are_denied(s3: Any, unlaid_trail: Trail, tmp_path: Path) -> None:
    """
    A bucket that takes none and hands over none leaves the file as it is.
    """
    trail = unlaid_trail
    trail.make_bucket()
    trail.deliver(NAMES[0], b"another's")
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:PutObject", "s3:GetObject"],
        "Resource": f"arn:aws:s3:::{trail.bucket}/*",
    }
    trail.s3.put_bucket_policy(
        Bucket=trail.bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    )
    backups = S3Backups(s3, trail.bucket, "")
    ledger = tmp_path / "ledger.db"
    ledger.write_bytes(b"the ledger")

    with pytest.raises(BackupUnavailable, match="PutObject answered 403"):
        await backups.keep(ledger, NAMES[1])
    with pytest.raises(BackupUnavailable, match="GetObject answered 403"):
        await backups.fetch(NAMES[0], ledger)

    assert NAMES[:1] == await backups.names()
    assert b"the ledger" == ledger.read_bytes()
