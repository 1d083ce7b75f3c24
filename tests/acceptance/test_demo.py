"""
``demo`` runs without an AWS account, ends by itself and says whether it counted right.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from tests.processes import PROJECT, clean_environment, command, run
from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
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


class Terminal:
    """
    A demo without an end, in a process group of its own, that has counted a log file.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.aws = self._next_address()
        self._page = self._next_address()
        eventually(self._has_counted, "a log file is counted")

    def _next_address(self) -> str:
        """
        The address on the next printed line that has one.
        """
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if address := re.search(r"http://\S+:\d+", line):
                return address[0]
        raise AssertionError("the demo ended early")

    def _has_counted(self) -> bool:
        try:
            with urlopen(f"{self._page}/metrics", timeout=10) as answer:
                return b'_log_files_total{outcome="counted"} 0' not in answer.read()
        except HTTPError as error:
            error.close()
            return False


@contextmanager
def demo_in_a_terminal(folder: Path) -> Iterator[Terminal]:
    with subprocess.Popen(
        command("demo", "--demo.rate", "20", "--web.listen-address", "127.0.0.1:0"),
        cwd=PROJECT,
        env=clean_environment(HOME=str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            yield Terminal(process)
        finally:
            process.kill()


def listens(address: str) -> bool:
    """
    Whether somebody accepts connections there.
    """
    where = urlsplit(address)
    try:
        socket.create_connection((where.hostname, where.port or 0), timeout=10).close()
    except OSError:
        return False
    return True


def test_what_stands_in_for_aws_does_not_outlive_a_killed_demo(tmp_path: Path) -> None:
    """
    Even where the demo had no time to end it, nobody listens there for long.
    """
    with demo_in_a_terminal(tmp_path) as terminal:
        assert listens(terminal.aws)
        terminal.process.kill()
        eventually(lambda: not listens(terminal.aws), "what stands in for AWS ends by itself")


def test_ctrl_c_finishes_what_is_in_hand(tmp_path: Path) -> None:
    """
    A terminal interrupts every process of the demo; S3 and SQS are there until the last one.
    """
    with demo_in_a_terminal(tmp_path) as terminal:
        os.killpg(terminal.process.pid, signal.SIGINT)
        told, log = terminal.process.communicate(timeout=60)

    assert 0 == terminal.process.returncode, told + log
    assert re.search(r"^[1-9]\d* log files written", told, re.MULTILINE)
    assert not re.search("level=error|Traceback", log), log
    assert not listens(terminal.aws)


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    """
    Without moto the demo ends at once, and says how it is installed.
    """
    (tmp_path / "moto.py").write_text("raise ImportError('not installed')")
    ended = run("demo", environment=clean_environment(PYTHONPATH=str(tmp_path)))

    assert 2 == ended.returncode
    assert "" == ended.stdout.decode()
    assert (
        "codecommit-exporter demo: the demo needs its extra: "
        "pip install 'codecommit-exporter[demo]'\n"
    ) == ended.stderr.decode()
