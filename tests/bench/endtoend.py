"""
What ``serve`` costs from the queue to the ledger, beside the least and beside the usual way.

Each round a fresh process counts the same log files: the exporter with a ledger of its own,
started as users start it, and the baseline; and the floor reads them from the same S3. What
is measured is user and system time from an idle process to the last deletion, so that no
start is in it. The one setting that is not the default, no hold of new series, is there to
read every total at once: after each round the page must say exactly what the files hold.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from tests.bench import floor
from tests.bench.corpora import Corpus, org
from tests.bench.inside import Inside
from tests.bench.measure import Finding, Pair
from tests.bench.stores import BUCKET, HOST, Child, Stores
from tests.processes import TEXT, Exporter, Page, clean_environment
from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FILES = 2000
ROUNDS = 5
IDLE_SECONDS = 0.3
PATIENCE_SECONDS = 120
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

_http = build_opener(ProxyHandler({}))


class WrongCount(Exception):
    """
    A page does not say what the log files hold.
    """


class Cost(NamedTuple):
    """
    What counting a corpus took, in seconds; memory in MiB, before and at its highest.
    """

    cpu_seconds: float
    wall_seconds: float
    idle_mib: float
    peak_mib: float


class Watched:
    """
    A process, as the kernel accounts for it.
    """

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def cpu_seconds(self) -> float:
        """
        User and system time of all its threads so far, those that have ended included.

        Raises:
            ProcessLookupError: It has ended.
        """
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z":
            raise ProcessLookupError(f"{self._folder} has ended")
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND

    def mib(self, measure: str) -> float:
        """
        Its resident memory: now (``VmRSS``) or at its highest (``VmHWM``).
        """
        status = (self._folder / "status").read_text()
        return int(status.partition(f"{measure}:")[2].split()[0]) / 1024

    def settle(self) -> None:
        """
        Wait until it has nothing to do.
        """
        before = -1.0
        while (now := self.cpu_seconds()) > before + 1 / TICKS_A_SECOND:
            before = now
            time.sleep(IDLE_SECONDS)


@cache
def organisation(files: int) -> Corpus:
    """
    The log files of an organisation, made once, which takes seconds.
    """
    return org(files)


class Bench:
    """
    A corpus in an S3 of its own, to be counted by whoever is measured.
    """

    def __init__(self, corpus: Corpus, stores: Stores) -> None:
        self.corpus = corpus
        self.stores = stores
        stores.put({one.key: one.body for one in corpus.files})

    @classmethod
    @contextmanager
    def of(cls, corpus: Corpus) -> Iterator[Bench]:
        """
        Its processes are alive inside the block.
        """
        with Stores(clean_environment()) as stores:
            yield cls(corpus, stores)

    def exporter(self) -> Cost:
        """
        Count by the exporter.

        Raises:
            WrongCount: It did not count right.
        """
        with self.serving() as exporter:
            cost = self.count(exporter.pid)
            check(exporter.scrape(), self.corpus)
        return cost

    def baseline(self) -> Cost:
        """
        Count by the baseline.

        Raises:
            WrongCount: It did not read every log file.
        """
        arguments = ("tests.bench.baseline", self.stores.queue_url)
        with Child(*arguments, environment=self.stores.environment) as child:
            address = child.line()
            Watched(child.pid).settle()
            cost = self.count(child.pid)
            read = scraped(f"http://{address}").value("log_files_total")
        if read != len(self.corpus.files):
            raise WrongCount(f"the baseline read {read:.0f} of {len(self.corpus.files)} files")
        return cost

    def floor(self) -> floor.Floor:
        """
        Read the same log files and do nothing with them.
        """
        return floor.measured(self.stores.s3_port, self.corpus.keys, self.stores.environment)

    @contextmanager
    def serving(self) -> Iterator[Exporter]:
        """
        ``serve`` beside an empty queue, alive inside the block.
        """
        with tempfile.TemporaryDirectory() as folder:
            flags = [f"--{name}={value}" for name, value in self._options(folder).items()]
            exporter = Exporter("serve", *flags, environment=self.stores.environment)
            try:
                exporter.ready()
                Watched(exporter.pid).settle()
                yield exporter
                exporter.terminate()
            finally:
                exporter.kill()

    @contextmanager
    def inside(self, *arguments: str) -> Iterator[Inside]:
        """
        The same in a process that tells more, its clocks beginning when it is ready.
        """
        with tempfile.TemporaryDirectory() as folder:
            own = {"web.listen-address": f"{HOST}:0", "log.level": "error"}
            variables = {
                "CODECOMMIT_EXPORTER_" + name.upper().replace(".", "_").replace("-", "_"): value
                for name, value in (self._options(folder) | own).items()
            }
            with Inside(*arguments, environment=self.stores.environment | variables) as inside:
                eventually(lambda: is_ready(inside.address), "/-/ready answers 200")
                Watched(inside.pid).settle()
                inside.seen()
                yield inside

    def _options(self, folder: str) -> dict[str, str]:
        """
        The options of ``serve``, with its state in a folder.
        """
        return {
            "sqs.queue-url": self.stores.queue_url,
            "s3.allowed-bucket": BUCKET,
            "state.directory": folder,
            "metrics.new-series-hold": "0s",
        }

    def count(self, pid: int) -> Cost:
        """
        Announce all log files to a process that is idle, and see it delete the last message.

        Raises:
            WrongCount: It did not, in a time in which anybody would have.
        """
        process = Watched(pid)
        idle_mib, cpu, wall = process.mib("VmRSS"), process.cpu_seconds(), time.perf_counter()
        self.stores.announce(self.corpus.keys)
        while left := self.stores.left():
            process.cpu_seconds()  # to see that it lives
            if time.perf_counter() > wall + PATIENCE_SECONDS:
                raise WrongCount(f"{left} messages are still not deleted")
        return Cost(
            process.cpu_seconds() - cpu,
            time.perf_counter() - wall,
            idle_mib,
            process.mib("VmHWM"),
        )


def is_ready(address: str) -> bool:
    """
    Whether the exporter there has begun to receive.
    """
    try:
        with _http.open(f"{address}/-/ready"):
            return True
    except HTTPError:
        return False


def scraped(address: str) -> Page:
    """
    The page that is shown there.
    """
    with _http.open(f"{address}/metrics") as answer:
        return Page(answer.read().decode(), TEXT)


def check(page: Page, corpus: Corpus) -> None:
    """
    See that a page says what the log files hold, series by series.

    Raises:
        WrongCount: It does not.
    """
    wanted: defaultdict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    for (family, labels), number in corpus.truth.items():
        wanted[family][labels] = number
    totals = page.totals()
    for family, series in wanted.items():
        if totals[family] != series:
            wrong = len(totals[family].items() ^ series.items())
            raise WrongCount(f"{family} is wrong or missing {wrong} times")


def findings(files: int = FILES, rounds: int = ROUNDS) -> list[Finding]:
    """
    Measure so many rounds over so many log files.
    """
    with Bench.of(organisation(files)) as bench:
        ours: list[Cost] = []
        floors: list[floor.Floor] = []
        baselines: list[Cost] = []
        ways: list[Callable[[], None]] = [
            lambda: ours.append(bench.exporter()),
            lambda: floors.append(bench.floor()),
            lambda: baselines.append(bench.baseline()),
        ]
        for _ in range(rounds):
            for way in ways:
                way()
            ways.reverse()
    return _found(files, ours, floors, baselines)


def _found(
    files: int,
    ours: Sequence[Cost],
    floors: Sequence[floor.Floor],
    baselines: Sequence[Cost],
) -> list[Finding]:
    cpu = [one.cpu_seconds for one in ours]
    least = Pair("floor", cpu, [one.cpu_seconds for one in floors])
    usual = Pair("baseline", [one.cpu_seconds for one in baselines], cpu)
    ms = 1000 / files
    words = f"{ms * least.ours_median:.2f} ms a file"
    return [
        Finding(
            "end to end / floor",
            least.ratio,
            "times",
            bound=3.5,
            words=f"{words}, floor {ms * least.other_median:.2f}; aim 2",
        ),
        Finding("CPU of a log file", ms * least.ours_median, "ms"),
        Finding(
            "baseline / end to end",
            usual.ratio,
            "times",
            bound=3.5,
            at_least=True,
            words=f"{words}, baseline {ms * usual.ours_median:.2f}",
        ),
        Finding(
            "peak memory while counting",
            max(one.peak_mib for one in ours),
            "MiB",
            bound=120,
            words=f"baseline {max(one.peak_mib for one in baselines):.0f}",
        ),
        Finding(
            "idle memory",
            max(one.idle_mib for one in ours),
            "MiB",
            bound=95,
            words=f"baseline {max(one.idle_mib for one in baselines):.0f}",
        ),
        Finding(
            "speed",
            median(files / one.wall_seconds for one in ours),
            "files/s",
            words=f"baseline {median(files / one.wall_seconds for one in baselines):.0f}",
        ),
    ]
