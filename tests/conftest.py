"""
What every tier of tests may ask for.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from exporter.cli import COMMANDS, main
from tests.processes import PROJECT, Exporter, clean_environment
from tests.servers import AwsServer, Trail

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

ABSENT = "../shared/data is absent"
_TRAILS = count(1)


def needs(tool: str) -> str:
    """
    The path of a tool that some machines lack.

    The test is skipped without it, and fails where REQUIRE_ALL says that nothing may be left
    out.
    """
    path = shutil.which(tool)
    if path is not None:
        return path
    if os.environ.get("REQUIRE_ALL"):
        pytest.fail(f"{tool} is not installed")
    pytest.skip(f"{tool} is not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Where nothing may be left out, let a skipped test fail, whatever skipped it.

    Only what reads data beside the project may be skipped: nobody can install that.
    """
    report = yield
    if report.skipped and os.environ.get("REQUIRE_ALL") and ABSENT not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_ALL is set, and the test was skipped: {report.longrepr}"
    return report


@pytest.fixture
def promtool() -> str:
    """
    Prometheus's own checker of pages and rules.
    """
    return needs("promtool")


class Told(Protocol):
    """
    What the program makes of a command line, under an environment: the command's settings.
    """

    def __call__(self, arguments: Sequence[str], **environment: str) -> Any: ...


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """
    Reads a command line as the program does, and runs nothing.
    """

    def read(arguments: Sequence[str], **environment: str) -> Any:
        settings: list[Any] = []

        def take(given: Any) -> int:
            settings.append(given)
            return 0

        command = COMMANDS[arguments[0]]
        monkeypatch.setitem(COMMANDS, arguments[0], replace(command, run=take))
        monkeypatch.setattr(os, "environ", clean_environment(**environment))
        assert 0 == main(arguments)
        return settings.pop()

    return read


@pytest.fixture
def shared_data() -> Path:
    """
    Real and documented CloudTrail data, read where it stands and never copied in.
    """
    data = PROJECT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip(ABSENT)
    return data


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServer]:
    """
    S3 and SQS of the whole test run.
    """
    with AwsServer(tmp_path_factory.mktemp("aws") / "log") as server:
        yield server


@pytest.fixture
def unlaid_trail(aws: AwsServer) -> Iterator[Trail]:
    """
    A trail of the test's own, of which nothing exists yet.
    """
    trail = Trail(aws, f"trail-{next(_TRAILS)}")
    yield trail
    trail.close()


@pytest.fixture
def trail(unlaid_trail: Trail) -> Trail:
    """
    A trail of the test's own, whose messages come back after two seconds.
    """
    return unlaid_trail.lay(visibility_seconds=2)


@pytest.fixture
def second_trail(aws: AwsServer) -> Iterator[Trail]:
    """
    Another trail, with a bucket and a queue of its own.
    """
    trail = Trail(aws, f"trail-{next(_TRAILS)}")
    yield trail.lay(visibility_seconds=2)
    trail.close()


class Serve(Protocol):
    """
    Starts ``serve`` on a trail, with flags and variables of the test's choice.
    """

    def __call__(self, trail: Trail, *flags: str, **variables: str) -> Exporter: ...


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """
    Starts the exporter, again and again on the same ledger; none outlives the test.

    Whatever a test does, the exporter has no excuse for a traceback. The logs are printed,
    for pytest to show them when the test fails.
    """
    started: list[Exporter] = []

    def start(trail: Trail, *flags: str, **variables: str) -> Exporter:
        exporter = Exporter(
            "serve",
            *("--sqs.queue-url", trail.queue_url),
            *("--s3.allowed-bucket", trail.bucket),
            *("--state.directory", str(tmp_path / "state")),
            *flags,
            environment=clean_environment(**trail.aws.environment, **variables),
        )
        started.append(exporter)
        return exporter

    yield start
    for exporter in started:
        exporter.kill()
        print(exporter.log)  # noqa: T201
    assert [] == [exporter.log for exporter in started if "Traceback" in exporter.log]
