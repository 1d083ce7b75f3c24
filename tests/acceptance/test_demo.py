"""
``demo`` runs without an AWS account, ends by itself and says whether it counted right.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.processes import clean_environment, run

if TYPE_CHECKING:
    from pathlib import Path


COMPARED = {
    "codecommit_events_total",
    "codecommit_event_errors_total",
    "codecommit_pushes_total",
    "codecommit_reference_updates_total",
    "codecommit_pull_request_events_total",
    "codecommit_caller_events_total",
    "codecommit_kms_requests_total",
}
FAULTS = {
    "repeated notification",
    "repeated notification by SNS",
    "repeated events",
    "notification of a removal",
    "test notification of S3",
    "validation message of CloudTrail",
    "digest file",
    "truncated log file",
    "foreign message",
}
SEED = "309"
"""One with which every fault happens beside the first dozen log files."""


def summary(folder: Path, *arguments: str) -> str:
    """
    What a demo of a few seconds that finds nothing wrong prints.
    """
    ended = run(
        "demo",
        *("--demo.duration", "5s"),
        *("--demo.rate", "5"),
        *("--demo.seed", SEED),
        *("--metrics.new-series-hold", "0s"),
        *("--web.listen-address", "127.0.0.1:0"),
        *arguments,
        environment=clean_environment(HOME=str(folder)),
    )

    assert 0 == ended.returncode, ended.stdout.decode() + ended.stderr.decode()
    assert "Traceback" not in ended.stderr.decode()
    return ended.stdout.decode()


def assert_counted_right(text: str) -> None:
    lines = re.findall(r"^ +(codecommit_\w+) +(\d+) +(\d+)$", text, re.MULTILINE)

    assert COMPARED == {family for family, _, _ in lines}
    assert [line for line in lines if line[1] == line[2] != "0"] == lines
    assert "written equals counted" in text


def test_what_was_written_was_counted(tmp_path: Path) -> None:
    """
    The summary's two columns are equal, and no family is without events.
    """
    text = summary(tmp_path)

    assert_counted_right(text)
    assert "adds nothing" not in text


def test_faults_change_no_count(tmp_path: Path) -> None:
    """
    The same with all that goes wrong; whatever can be understood is acknowledged.

    Only a truncated log file and a foreign message are left for the dead-letter queue.
    """
    text = summary(tmp_path, "--demo.faults")
    happened = dict(re.findall(r"^ +(.+) \(adds nothing\) +([1-9]\d*)$", text, re.MULTILINE))
    left = re.search(r"in the dead-letter queue +(\d+) +(\d+)$", text, re.MULTILINE)
    hopeless = int(happened["truncated log file"]) + int(happened["foreign message"])

    assert_counted_right(text)
    assert FAULTS == happened.keys()
    assert left is not None
    assert (hopeless, hopeless) == (int(left[1]), int(left[2]))
