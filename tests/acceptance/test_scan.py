"""
``scan`` tells what local log files hold, in three spellings of one count.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from exporter.activity import Activity
from tests import oracle, records
from tests.processes import OPENMETRICS, Page, clean_environment, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import AwsServer, Trail


@pytest.fixture
def files() -> dict[str, bytes]:
    """
    Twelve log files by their keys, one of them repeated under another key.
    """
    activity = Activity(seed=12)
    now = datetime.now(UTC)
    written = [activity.log_file(now) for _ in range(11)]
    written.append(activity.repeat(written[3], now))
    return {file.key: file.body for file in written}


@pytest.fixture
def expected(files: dict[str, bytes]) -> oracle.Totals:
    """
    What they count to, in the order of their keys.
    """
    return oracle.count(records.inflated(files[key]) for key in sorted(files))


@pytest.fixture
def folder(files: dict[str, bytes], tmp_path: Path) -> Path:
    """
    The files in a folder, under their keys, as a copy of the bucket has them.
    """
    for key, body in files.items():
        path = tmp_path / "copy" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return tmp_path / "copy"


def scan(*arguments: str, stdin: bytes = b"", aws: AwsServer | None = None) -> str:
    """
    What a scan that goes well prints; without a server it has no credentials either.
    """
    environment = clean_environment(**aws.environment if aws else {})
    ended = run("scan", *arguments, environment=environment, stdin=stdin)

    assert (0, "") == (ended.returncode, ended.stderr.decode())
    return ended.stdout.decode()


def test_openmetrics(folder: Path, expected: oracle.Totals) -> None:
    """
    The page of a folder of log files equals an independent count.
    """
    page = Page(scan("--format", "openmetrics", str(folder)), OPENMETRICS)

    assert expected == page.totals()


def test_json(folder: Path, expected: oracle.Totals) -> None:
    """
    Every counter series is there with its value, and the files and repeats are numbered.
    """
    found = json.loads(scan("--format", "json", str(folder)))

    for name, series in expected.items():
        if name.endswith("_total"):
            assert series == {
                tuple(each["labels"][label] for label in oracle.LABELS[name]): each["value"]
                for each in found["series"]
                if each["metric"] == name
            }
    assert (12, 0) == (found["log_files"], found["failed"])
    assert found["repeated_events"] > 0


def test_table(folder: Path, expected: oracle.Totals) -> None:
    """
    Without a terminal to fit into, a line holds each series whole, for grep and the like.
    """
    lines = [re.findall(r"[^\s│┃|]+", line) for line in scan(str(folder)).splitlines()]

    for labels, value in expected["codecommit_events_total"].items():
        assert [*filter(None, labels), str(value)] in lines


def test_a_file_that_cannot_be_read(folder: Path, expected: oracle.Totals) -> None:
    """
    A damaged file is named, the others are counted, and the exit code tells.
    """
    damaged = folder / "damaged.json.gz"
    damaged.write_bytes(records.log_file(records.text(*records.push_pair("lost")))[:-9])

    ended = run("scan", "--format", "openmetrics", str(folder), environment=clean_environment())

    assert 1 == ended.returncode
    assert [str(damaged)] == re.findall(str(damaged), ended.stderr.decode())
    assert "Traceback" not in ended.stderr.decode()
    assert expected == Page(ended.stdout.decode(), OPENMETRICS).totals()


def test_a_prefix_of_a_bucket(
    trail: Trail, files: dict[str, bytes], expected: oracle.Totals
) -> None:
    """
    A prefix of a bucket is read like a folder.
    """
    for key, body in files.items():
        trail.deliver(key, body)

    page = Page(
        scan("--format", "openmetrics", f"s3://{trail.bucket}/AWSLogs", aws=trail.aws),
        OPENMETRICS,
    )

    assert expected == page.totals()


def test_standard_input() -> None:
    """
    A dash reads one log file from standard input.
    """
    text = records.text(*records.push_pair("one", "refs/heads/a"))

    page = Page(scan("--format", "openmetrics", "-", stdin=records.log_file(text)), OPENMETRICS)

    assert oracle.count([text]) == page.totals()
