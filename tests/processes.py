"""
The program as its users have it: a process with flags, a log on standard error, a page.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from tests.oracle import LABELS, Totals
from tests.servers import eventually, without

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prometheus_client import Metric

PROJECT = Path(__file__).parent.parent
CLOSING_SECONDS = 15
"""What a stop may need beside --shutdown.grace."""

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TEXT = "text/plain; version=0.0.4"


def command(*arguments: str) -> list[str]:
    """
    The command line that starts the program under the interpreter of the tests.
    """
    return [sys.executable, "-m", "exporter", *arguments]


def clean_environment(**variables: str) -> dict[str, str]:
    """
    The tests' environment without anything that would lead the program elsewhere.
    """
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    own = ("CODECOMMIT_EXPORTER_", "AWS_", "OTEL_")
    return without(os.environ, *own, *proxies) | variables


def run(
    *arguments: str, environment: Mapping[str, str], stdin: bytes = b"", within: float = 90
) -> subprocess.CompletedProcess[bytes]:
    """
    Run a command of the program to its end, which must come within so many seconds.
    """
    return subprocess.run(
        command(*arguments),
        cwd=PROJECT,
        env=environment,
        input=stdin,
        capture_output=True,
        timeout=within,
        check=False,
    )


class Page:
    """
    One answered scrape, read by prometheus_client's own parsers.
    """

    def __init__(self, text: str, content_type: str) -> None:
        self.text = text
        self.content_type = content_type
        parse = (
            openmetrics_parser.text_string_to_metric_families
            if content_type.startswith("application/openmetrics-text")
            else text_string_to_metric_families
        )
        self.families: dict[str, Metric] = {family.name: family for family in parse(text)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """
        The sum of a sample over all its series that carry these labels; 0 without any.
        """
        return sum(
            (
                sample.value
                for sample in self._samples
                if sample.name == name and labels.items() <= sample.labels.items()
            ),
            start=0.0,
        )

    def totals(self) -> Totals:
        """
        What the oracle counts, as this page shows it: every series, also those at 0.
        """
        return {
            name: {
                tuple(sample.labels[label] for label in labels): sample.value
                for sample in self._samples
                if sample.name == name
            }
            for name, labels in LABELS.items()
        }

    def growing(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """
        Every sample that the ledger holds and that may only grow, by name and labels.
        """
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for name, family in self.families.items()
            if name.startswith("codecommit_") and not name.startswith("codecommit_exporter_")
            if family.type in ("counter", "histogram")
            for sample in family.samples
        }


class Answer(NamedTuple):
    """
    What the program answered over HTTP; status 0 where nobody answered.
    """

    status: int
    content_type: str
    text: str


NOBODY = Answer(0, "", "")


class Exporter:
    """
    ``codecommit-exporter`` as a process that goes on until it is stopped or killed.

    It listens on a port of its own choice; its log, which tells which, is read all the
    while, since a full pipe would halt the process.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command(*arguments, "--web.listen-address", "127.0.0.1:0"),
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read_log, name="log of the exporter")
        self._reader.start()

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._lines.append(line)

    @property
    def pid(self) -> int:
        """
        The number of the process.
        """
        return self._process.pid

    @property
    def log(self) -> str:
        """
        What the process has written to standard error so far.
        """
        return "".join(self._lines)

    def address(self) -> str:
        """
        Where the process listens, as its log tells; waited for.
        """
        self.until(lambda: self._told_address() is not None, "the exporter tells its address")
        return self._told_address() or ""

    def _told_address(self) -> str | None:
        told = re.search(r"\baddress=\"?(http://127\.0\.0\.1:\d+)", self.log)
        return told[1] if told else None

    def get(self, path: str, accept: str = TEXT) -> Answer:
        """
        Ask once; nobody answers while the process starts or when it is gone.
        """
        address = self._told_address()
        if address is None:
            return NOBODY
        connection = HTTPConnection(urlsplit(address).netloc, timeout=10)
        try:
            connection.request("GET", path, headers={"Accept": accept})
            response = connection.getresponse()
            return Answer(
                response.status,
                response.getheader("Content-Type", ""),
                response.read().decode(),
            )
        except (OSError, HTTPException):
            return NOBODY
        finally:
            connection.close()

    def ready(self) -> Self:
        """
        Wait until the ledger is open and the queue answers.
        """
        self.until(lambda: self.get("/-/ready").status == 200, "/-/ready answers 200")
        return self

    def scrape(self, accept: str = TEXT) -> Page:
        """
        The next page that is answered, the first one after a start being waited for.
        """
        answers: list[Answer] = []

        def answered() -> bool:
            answers.append(self.get("/metrics", accept))
            return answers[-1].status == 200

        self.until(answered, "/metrics answers 200")
        return Page(answers[-1].text, answers[-1].content_type)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """
        Wait for something that only a living process can do.
        """

        def holds_alive() -> bool:
            if holds():
                return True
            assert self._process.poll() is None, f"the exporter ended early:\n{self.log}"
            return False

        eventually(holds_alive, what)

    def kill(self) -> None:
        """
        End the process as a crash does, if it has not ended already.
        """
        self._process.kill()
        self._wait()

    def terminate(self) -> int:
        """
        Ask the process to stop, and give its exit code.
        """
        self._process.terminate()
        return self._wait()

    def _wait(self) -> int:
        code = self._process.wait(timeout=60)
        self._reader.join()
        return code
