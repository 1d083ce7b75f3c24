"""
What ``serve`` costs until it is ready, beside importing three libraries that it is made of.

A round is one start, with a ledger of its own and a queue and bucket that answer at once, and
one fresh interpreter that imports and ends. The moment of being ready is told by the log, so
that nothing has to be asked of the process before. What both find compiled was compiled by a
first start that does not count, as a package is when it is installed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from resource import RUSAGE_CHILDREN, getrusage
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.endtoend import Watched
from tests.bench.measure import Finding, interleave
from tests.bench.stores import BUCKET, Stores
from tests.processes import PROJECT, clean_environment, command
from tests.servers import without

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROUNDS = 7
READY = 'msg="Ready: '
LIBRARIES = ("aiobotocore.session", "aiohttp.web", "prometheus_client")


class Start(NamedTuple):
    """
    One start of ``serve``: CPU seconds and log until it was ready, MiB resident once idle.
    """

    cpu_seconds: float
    log: list[str]
    idle_mib: float

    @property
    def packages(self) -> set[str]:
        """
        What it had imported, by the top names; only under ``PYTHONPROFILEIMPORTTIME``.
        """
        imported = (line for line in self.log if line.startswith("import time:"))
        return {line.rpartition("|")[2].strip().partition(".")[0] for line in imported}


def environment() -> dict[str, str]:
    """
    The tests' environment as users have it: compiled modules are kept, no coverage is measured.
    """
    return without(clean_environment(), "COVERAGE_", "PYTHONDONTWRITEBYTECODE")


def start(queue_url: str, environment: Mapping[str, str]) -> Start:
    """
    Start ``serve``, let it come to rest, and stop it.

    Raises:
        RuntimeError: It ended before it was ready.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = (
            "serve",
            f"--sqs.queue-url={queue_url}",
            f"--s3.allowed-bucket={BUCKET}",
            f"--state.directory={folder}",
            "--web.listen-address=127.0.0.1:0",
        )
        with subprocess.Popen(
            command(*arguments),
            cwd=PROJECT,
            env=environment,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as process:
            try:
                log = list(_until_ready(process.stderr or ()))
                watched = Watched(process.pid)
                cpu_seconds = watched.cpu_seconds()
                watched.settle()
                idle_mib = watched.mib("VmRSS")
            finally:
                process.terminate()
                process.communicate()
    return Start(cpu_seconds, log, idle_mib)


def _until_ready(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if READY in line:
            return
    raise RuntimeError("the exporter ended early")


def imports(environment: Mapping[str, str]) -> float:
    """
    CPU seconds of an interpreter that imports the libraries and ends.
    """
    before = _cpu_seconds_of_children()
    code = f"import {', '.join(LIBRARIES)}"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    return _cpu_seconds_of_children() - before


def _cpu_seconds_of_children() -> float:
    """
    Of those that have ended.
    """
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def findings(rounds: int = ROUNDS) -> list[Finding]:
    """
    Measure so many rounds.
    """
    with Stores(environment()) as stores:
        starts = [start(stores.queue_url, stores.environment)]
        imports(stores.environment)

        def ours() -> float:
            starts.append(start(stores.queue_url, stores.environment))
            return starts[-1].cpu_seconds

        pair = interleave("start", rounds, ours, lambda: imports(stores.environment))
    return [
        Finding(
            "start / importing the libraries",
            pair.ratio,
            "times",
            bound=1.5,
            words=f"{1000 * pair.ours_median:.0f} ms, importing {1000 * pair.other_median:.0f}",
        ),
        Finding(
            "memory once ready",
            max(each.idle_mib for each in starts),
            "MiB",
            bound=95,
        ),
    ]
