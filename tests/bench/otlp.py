"""
What OTLP costs: nothing while it is off, and no more where nobody takes what is sent.

Off: starts of the program as it is, in turns with starts in which ``exporter.otlp`` is a stub
and OpenTelemetry's packages are not to be found. What else the machine does only ever adds to
the CPU time of a start, a fifth and more, so that the least of all turns is compared. Each turn
starts the program as it is twice, which tells by how much equal starts differ even so.

On: each turn counts the same log files once with every kind of endpoint, a process of its own,
with two exports a second, and once without OTLP. Each time the page has to be exactly right, and
to tell that the exports went as they must with such an endpoint.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.endtoend import Bench, Cost, Watched, check, organisation
from tests.bench.measure import Finding
from tests.bench.startup import READY, environment
from tests.bench.stores import BUCKET, HOST, Child, Stores
from tests.otlp import ACCEPT, HANG, Receiver, dead_endpoint, refused
from tests.processes import PROJECT, TEXT, Exporter, Page, clean_environment, command
from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STARTS = 11
FILES = 1000
ROUNDS = 5

STUB = """\
import sys
from types import ModuleType

package, variables = ModuleType("exporter.otlp"), ModuleType("exporter.otlp.variables")
package.__path__ = []
package.variables = variables
variables.read_variables = lambda environ: None
variables.unknown_variables = lambda environ: []
sys.modules |= {package.__name__: package, variables.__name__: variables, "opentelemetry": None}
"""
"""What an interpreter runs first that is to know neither ``exporter.otlp`` nor OpenTelemetry."""

OFF, METRICS, HEALTHY = "off", "metrics", "healthy"
ANSWERS = {
    HEALTHY: ACCEPT,
    "hanging": HANG,
    "refusing (400)": refused(400),
    "unavailable (503)": refused(503),
}
"""What the endpoints answer that somebody listens at, by their kinds."""

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
OFTEN = {
    "OTEL_METRIC_EXPORT_INTERVAL": "500",
    "OTEL_BSP_SCHEDULE_DELAY": "500",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "500",
}
"""Two exports a second; a request is given up after half a second. All in ms."""

MORE_EXPORTS = 3
"""The rest of one under way, which is two by the exporter's own metrics, and a whole one."""

MEMORY_MIB = 8
"""What an endpoint may add: a full queue of spans, 2,048 of 3 KB, and some noise."""

EXPORTS = "codecommit_exporter_otlp_exports_total"


@contextmanager
def run_first(code: str) -> Iterator[dict[str, str]]:
    """
    The variables of an interpreter that runs this code before all else.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(code, encoding="utf-8")
        yield {"PYTHONPATH": folder}


class Start(NamedTuple):
    """
    What a start took until it was ready: CPU seconds and MiB resident.
    """

    cpu_seconds: float
    mib: float


def start(queue_url: str, environment: Mapping[str, str]) -> Start:
    """
    Start ``serve`` with its ledger in memory, and end it as soon as it is ready.

    Raises:
        RuntimeError: It ended before.
    """
    arguments = (
        "serve",
        f"--sqs.queue-url={queue_url}",
        f"--s3.allowed-bucket={BUCKET}",
        "--ledger.url=memory:",
        f"--web.listen-address={HOST}:0",
    )
    with subprocess.Popen(
        command(*arguments),
        cwd=PROJECT,
        env=environment,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            if not any(READY in line for line in process.stderr or ()):
                raise RuntimeError("the exporter ended early")
            cpu_seconds = time.clock_gettime(_clock_of(process.pid))
            return Start(cpu_seconds, Watched(process.pid).mib("VmRSS"))
        finally:
            process.kill()


def _clock_of(pid: int) -> int:
    """
    The clock of a process's CPU time, as ``clock_getcpuclockid`` of Linux makes it.

    It is finer than the kernel's ticks of 10 ms, of which 3 % of a start are hardly two.
    """
    return ~pid << 3 | 2


def off(rounds: int) -> list[Finding]:
    """
    Measure so many turns of starts with OTLP off.
    """
    with Stores(environment()) as stores, run_first("") as whole, run_first(STUB) as without:
        ways = [stores.environment | variables for variables in (whole, without, whole)]
        turns = [
            [start(stores.queue_url, way) for way in ways]
            for _ in range(1 + rounds)  # the first turn compiles
        ][1:]
    cpu, cpu_without, cpu_again = (
        min(one.cpu_seconds for one in each) for each in zip(*turns, strict=True)
    )
    mib, mib_without, mib_again = (
        median(one.mib for one in each) for each in zip(*turns, strict=True)
    )
    return [
        Finding(
            "start with OTLP off / without its code",
            cpu / cpu_without,
            "times",
            bound=1.03,
            words=f"{1000 * cpu:.0f} ms, without {1000 * cpu_without:.0f}; "
            f"beside itself {cpu / cpu_again:.3f} times",
        ),
        Finding(
            "memory with OTLP off, less that without its code",
            mib - mib_without,
            "MiB",
            bound=1,
            words=f"{mib:.2f} MiB, without {mib_without:.2f}; "
            f"beside itself {mib - mib_again:.2f} MiB",
        ),
    ]


def receive(kind: str) -> None:
    """
    Be an endpoint until standard input closes; its address is told on standard output.
    """
    with Receiver(ANSWERS[kind]) as receiver:
        print(receiver.endpoint, flush=True)  # noqa: T201 - to who started it
        sys.stdin.read()


class Way(NamedTuple):
    """
    A way to count: with these variables, and exports of these signals with this outcome.
    """

    variables: dict[str, str]
    signals: Sequence[str] = ("metrics", "traces")
    outcome: str = "failed"

    def exports(self, exporter: Exporter, signal: str) -> float:
        """
        How many of a signal have had the outcome so far.
        """
        lines = exporter.get("/metrics").text.splitlines(keepends=True)
        told = Page("".join(line for line in lines if EXPORTS in line), TEXT)
        return told.value(EXPORTS, signal=signal, outcome=self.outcome)


WITHOUT = Way({}, signals=())


@contextmanager
def ways() -> Iterator[dict[str, Way]]:
    """
    Every way, by its name; the endpoints are there during the block.
    """
    with ExitStack() as endpoints:
        urls = {"dead": endpoints.enter_context(dead_endpoint())}
        for kind in ANSWERS:
            child = Child(__name__, kind, environment=clean_environment())
            urls[kind] = endpoints.enter_context(child).line()
        both = {kind: Way({ENDPOINT: url}) for kind, url in urls.items()}
        healthy = both.pop(HEALTHY)._replace(outcome="accepted")
        metrics = healthy.variables | {"OTEL_TRACES_EXPORTER": "none"}
        yield {
            OFF: WITHOUT,
            METRICS: healthy._replace(variables=metrics, signals=("metrics",)),
            HEALTHY: healthy,
            **both,
        }


class ExportingStores(Stores):
    """
    Stores whose clients also have the variables of the way that is measured.
    """

    way = WITHOUT

    @property
    def environment(self) -> dict[str, str]:
        """
        The variables of both.
        """
        return super().environment | OFTEN | self.way.variables


def counted(bench: Bench, way: Way) -> Cost:
    """
    Count by the exporter, and let it send what has been counted before its memory is looked at.

    Raises:
        WrongCount: It did not count right.
    """
    with bench.serving() as exporter:
        cost = bench.count(exporter.pid)
        check(exporter.scrape(), bench.corpus)
        if way.signals:
            wait_for_exports(exporter, way)
        peak_mib = Watched(exporter.pid).mib("VmHWM")
        exporter.kill()  # a stop has nothing more to tell
    return cost._replace(peak_mib=peak_mib)


def wait_for_exports(exporter: Exporter, way: Way) -> None:
    """
    Wait until every signal has had its outcome, and metrics again, from the first to the last.
    """
    enough = way.exports(exporter, "metrics") + MORE_EXPORTS
    eventually(
        lambda: (
            way.exports(exporter, "metrics") >= enough
            and all(way.exports(exporter, signal) for signal in way.signals)
        ),
        f"exports are {way.outcome}",
    )


def on(files: int, rounds: int) -> list[Finding]:
    """
    Measure so many turns over so many log files with every kind of endpoint.
    """
    costs: defaultdict[str, list[Cost]] = defaultdict(list)
    with ways() as all_ways, ExportingStores(clean_environment()) as stores:
        bench = Bench(organisation(files), stores)
        order = list(all_ways.items())
        for _ in range(rounds):
            for name, stores.way in order:
                costs[name].append(counted(bench, stores.way))
            order.reverse()
    healthy, metrics, without = (costs.pop(name) for name in (HEALTHY, METRICS, OFF))
    return [
        finding for name, ours in costs.items() for finding in kept(name, ours, healthy, files)
    ] + [
        added("metrics", metrics, without, files),
        added("metrics and traces", healthy, without, files),
    ]


def kept(name: str, ours: Sequence[Cost], healthy: Sequence[Cost], files: int) -> list[Finding]:
    """
    What such an endpoint leaves of the counting rate, and what it adds to memory.

    The rate is that by CPU time or by the clock on the wall, whichever has suffered more: who
    waits for an endpoint needs no CPU time.
    """
    ms, ms_healthy = _ms(ours, files), _ms(healthy, files)
    speed, speed_healthy = _speed(ours, files), _speed(healthy, files)
    mib, mib_healthy = _mib(ours), _mib(healthy)
    return [
        Finding(
            f"counting rate, OTLP endpoint {name} / healthy",
            min(ms_healthy / ms, speed / speed_healthy),
            "times",
            bound=0.9,
            at_least=True,
            words=f"{ms:.2f} ms a file, healthy {ms_healthy:.2f}; "
            f"{speed:.0f} files/s, healthy {speed_healthy:.0f}",
        ),
        Finding(
            f"peak memory, OTLP endpoint {name} less healthy",
            mib - mib_healthy,
            "MiB",
            bound=MEMORY_MIB,
            words=f"{mib:.1f} MiB, healthy {mib_healthy:.1f}",
        ),
    ]


def added(name: str, ours: Sequence[Cost], without: Sequence[Cost], files: int) -> Finding:
    """
    What OTLP costs with a healthy endpoint.
    """
    ms, ms_without = _ms(ours, files), _ms(without, files)
    return Finding(
        f"CPU with OTLP {name} / without",
        ms / ms_without,
        "times",
        words=f"{ms:.2f} ms a file, without {ms_without:.2f}; "
        f"peak {_mib(ours):.1f} MiB, without {_mib(without):.1f}",
    )


def _ms(costs: Sequence[Cost], files: int) -> float:
    """
    The least CPU time of a file.
    """
    return 1000 * min(one.cpu_seconds for one in costs) / files


def _mib(costs: Sequence[Cost]) -> float:
    """
    The usual peak of memory.
    """
    return median(one.peak_mib for one in costs)


def _speed(costs: Sequence[Cost], files: int) -> float:
    """
    The highest speed, in files a second by the clock on the wall.
    """
    return max(files / one.wall_seconds for one in costs)


def findings(starts: int = STARTS, files: int = FILES, rounds: int = ROUNDS) -> list[Finding]:
    """
    Measure so many turns of starts, and so many of counting.
    """
    return off(starts) + on(files, rounds)


if __name__ == "__main__":
    receive(sys.argv[1])
