"""
A real Prometheus, which scrapes what a test tells it to and is asked what it has seen.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from http.client import HTTPConnection, HTTPException
from random import SystemRandom
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urlencode

from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

WARNING = re.compile(r"\blevel=(?:warn|error)\b", re.IGNORECASE)
ON_STOPPING = re.compile("Received an OS signal|Received SIGTERM")
"""What Prometheus warns of whenever it is asked to stop, in its version 3 and before."""


class Point(NamedTuple):
    """
    A value and its time, in seconds since 1970.
    """

    at: float
    value: float


class Result(NamedTuple):
    """
    One series of an answer, ``__name__`` among its labels, and its points in order of time.
    """

    labels: Mapping[str, str]
    points: Sequence[Point]

    @property
    def value(self) -> float:
        """
        The newest value; the only one of an instant query.
        """
        return self.points[-1].value


def free_port() -> int:
    """
    A port of 127.0.0.1 that nobody listens on, for a server that is to keep it.

    It lies below those that the system gives to clients, which could take it while the server
    is down.
    """
    for port in iter(lambda: SystemRandom().randrange(20_000, 32_000), None):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("unreachable")


class Prometheus:
    """
    Prometheus as a process, there inside the ``with`` block.

    It can be stopped and started again inside it, and goes on with the same data.

    Args:
        binary: the program, of version 2 or 3.
        folder: takes its configuration, data and log.
        targets: ``host:port`` of each target of the one job ``exporter``.
        interval: seconds between two scrapes, and how long one may take.
        rule_files: recording and alerting rules, evaluated at the same interval.
        scrape_options: more of the job's configuration.

    """

    def __init__(
        self,
        binary: str,
        folder: Path,
        targets: Sequence[str],
        *,
        interval: float,
        rule_files: Sequence[Path] = (),
        scrape_options: Mapping[str, object] | None = None,
    ) -> None:
        folder.mkdir()
        self._config, self._log_file = folder / "prometheus.yml", folder / "log"
        self._command = [
            binary,
            f"--config.file={self._config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            "--enable-feature=exemplar-storage",
        ]
        often = f"{round(interval * 1000)}ms"
        job = {"job_name": "exporter", "static_configs": [{"targets": list(targets)}]}
        config = {
            "global": {
                "scrape_interval": often,
                "scrape_timeout": often,
                "evaluation_interval": often,
            },
            "rule_files": [str(file.absolute()) for file in rule_files],
            "scrape_configs": [job | dict(scrape_options or {})],
        }
        self._config.write_text(json.dumps(config))  # any JSON is YAML, too
        self._log_file.touch()
        self._starts = 0
        self.interval = interval

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """
        Start it, on a port of its own choice; ``until_ready`` waits for it.
        """
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        self._starts += 1

    def stop(self) -> None:
        """
        Ask it to stop, and wait until it has.
        """
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """
        End it as a crash does, if it has not ended already.
        """
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        self._process.send_signal(how)
        self._process.wait(timeout=60)

    @property
    def log(self) -> str:
        """
        What it has written so far, in all its lives.
        """
        return self._log_file.read_text()

    def warnings(self) -> list[str]:
        """
        The lines of its log that tell of something wrong.
        """
        lines = re.findall(
            r"^.*\blevel=(?:warn|error)\b.*$", self.log, re.MULTILINE | re.IGNORECASE
        )
        return [line for line in lines if not ON_STOPPING.search(line)]

    def until_ready(self) -> Self:
        """
        Wait until it answers queries.
        """
        self._until(lambda: self._get("/-/ready")[0] == 200, "Prometheus is ready")
        return self

    def query(self, expression: str, at: float | None = None) -> list[Result]:
        """
        Evaluate an expression at a time, in seconds since 1970; now, where none is given.

        ``selector[1m]`` gives every sample as it was scraped.
        """
        when = {} if at is None else {"time": f"{at:.3f}"}
        return self._results("query", query=expression, **when)

    def query_range(self, expression: str, begin: float, end: float, step: float) -> list[Result]:
        """
        Evaluate an expression every ``step`` seconds of a time, as a panel does.
        """
        return self._results("query_range", query=expression, start=begin, end=end, step=step)

    def exemplars(self, selector: str, begin: float, end: float) -> list[Any]:
        """
        The exemplars of some series, each with ``labels``, ``value`` and ``timestamp``.
        """
        found = self._data("query_exemplars", query=selector, start=begin, end=end)
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def scrapes(self, at: float | None = None) -> list[Point]:
        """
        When it has scraped its targets in the last hour, with 1 where one answered and else 0.
        """
        return sorted(point for result in self.query("up[1h]", at) for point in result.points)

    def until_scraped(self, times: int = 1) -> None:
        """
        Wait until so many more scrapes have been answered.
        """
        begun = len(self._answered())
        self._until(lambda: len(self._answered()) >= begun + times, f"{times} more scrapes")

    def _answered(self) -> list[Point]:
        return [point for point in self.scrapes() if point.value]

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        def holds_alive() -> bool:
            if holds():
                return True
            assert self._process.poll() is None, f"Prometheus ended early:\n{self.log}"
            return False

        eventually(holds_alive, what)

    def _results(self, question: str, **parameters: object) -> list[Result]:
        data = self._data(question, **parameters)
        if data["resultType"] == "scalar":
            return [_result({"value": data["result"]})]
        return [_result(series) for series in data["result"]]

    def _data(self, question: str, **parameters: object) -> Any:
        status, body = self._get(f"/api/v1/{question}?{urlencode(parameters)}")
        assert status == 200, f"{parameters}: {body.decode()}"
        return json.loads(body)["data"]

    def _get(self, path: str) -> tuple[int, bytes]:
        """
        Ask once; status 0 where nobody answers.
        """
        connection = HTTPConnection(self._told_address(), timeout=60)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, HTTPException):
            return 0, b"nobody answers"
        finally:
            connection.close()

    def _told_address(self) -> str:
        """
        Where it listens in its present life; an address of nobody's until it has told.
        """
        told = re.findall(r'msg="Listening on".* address=(127\.0\.0\.1:\d+)', self.log)
        return next(iter(told[self._starts - 1 :]), "127.0.0.1:1")


def _result(series: Mapping[str, Any]) -> Result:
    points = series["values"] if "values" in series else [series["value"]]
    return Result(series.get("metric", {}), [Point(at, float(value)) for at, value in points])
