"""
What a page costs, beside what prometheus_client takes for the same one and a copy of its bytes.

Both show the same invented ledger and the exporter's own metrics, both are measured as CPU
time of this process, turn by turn in one run, and told as a ratio. The pages are compared
first: a fast page that says something else is none.

A scrape is answered on the event loop that also counts. How long it keeps everything else
waiting is measured from a task beside it, while another process scrapes over HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, cycle, islice
from statistics import median

from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from rich.console import Console

from exporter import lines
from exporter.families import (
    CALLER_EVENTS,
    EVENT_DELIVERY,
    EVENT_ERRORS,
    EVENTS,
    FAMILY,
    LAST_EVENT,
    LAST_PUSH,
    PULL_REQUEST_EVENTS,
    PUSH_REFERENCES,
    PUSHES,
    REFERENCE_UPDATES,
    Exemplar,
    Family,
    Kind,
    Series,
    SeriesState,
    Total,
)
from exporter.holds import Holds
from exporter.journal import Counted
from exporter.lines import END
from exporter.metrics import OPENMETRICS, Page, View
from exporter.telemetry import Telemetry
from exporter.web import Health, Web
from tests.bench.measure import Finding, table
from tests.plain import Exemplars, PlainCollector, registry

NOW_MS = 1_790_000_000_000
GOALS = {"unchanged": 20, "1 % changed": 10, "first": 5}
CHANGED_EVERY = 100
TICK_SECONDS = 0.001
FETCH = """
import sys, urllib.request
headers = {"Accept": sys.argv[2], "Accept-Encoding": "gzip"}
urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers=headers)).read()
"""

_ACTIONS = (
    ("GitPull", "HTTP", "true"),
    ("GitPull", "HTTP", "false"),
    ("GitPull", "SSH", "true"),
    ("GitPush", "HTTP", "true"),
    ("GetBranch", "", ""),
    ("GetCommit", "", ""),
    ("CreatePullRequest", "", ""),
)
_SERIES: tuple[tuple[Family, tuple[str, ...]], ...] = (
    *((EVENTS, action) for action in _ACTIONS),
    *((EVENT_DELIVERY, action) for action in _ACTIONS),
    (EVENT_ERRORS, ("GetBranch", "BranchDoesNotExistException")),
    (PUSHES, ("HTTP",)),
    (PUSH_REFERENCES, ("HTTP",)),
    (REFERENCE_UPDATES, ("branch", "update")),
    (PULL_REQUEST_EVENTS, ("created",)),
    (CALLER_EVENTS, ("AssumedRole", "temporary")),
    (CALLER_EVENTS, ("IAMUser", "long_term")),
    *((LAST_EVENT, (action,)) for action in ("GitPull", "GitPush", "GetBranch")),
    (LAST_PUSH, ()),
)
"""What an ordinary repository has."""


@dataclass(slots=True)
class Invented:
    """
    A ledger of ordinary repositories, with about so many lines on its page.

    With exemplars, every counter and every bucket has one.
    """

    lines: int
    with_exemplars: bool = False
    view: View = field(init=False)
    exemplars: Exemplars = field(default_factory=dict)
    _changes: int = 0

    def __post_init__(self) -> None:
        series: dict[Series, SeriesState] = {}
        lines = 0
        for one, state in ordinary_series():
            if lines >= self.lines:
                break
            series[one] = state
            lines += len(state.total.buckets) + 2 if state.total.buckets else 1
        self.view = View(series, {})
        self.exemplify(series)

    def change(self) -> None:
        """
        Count one more event in one of a hundred series, each time in others.
        """
        series = self.view.series
        assert isinstance(series, dict)
        self._changes += 1
        changed = list(islice(series, self._changes % CHANGED_EVERY, None, CHANGED_EVERY))
        for one in changed:
            family, state = FAMILY[one.family], series[one]
            series[one] = state._replace(total=family.sum(state.total, _total(family, 1)))
        self.view.journal.note(changed)
        self.exemplify(changed)

    def exemplify(self, series: Iterable[Series]) -> None:
        """
        Give new exemplars to some series, where exemplars are wanted.
        """
        counted_ms = NOW_MS + self._changes
        for number, one in enumerate(series):
            family = FAMILY[one.family]
            if self.with_exemplars and family.kind is not Kind.GAUGE:
                exemplar = Exemplar(f"1b4e28ba-2fa1-11d2-883f-{number:012x}", 1000)
                buckets = dict.fromkeys(range(len(family.buckets) + 1), exemplar)
                self.view.journal.note((), (), {one: buckets}, counted_ms)
                self.exemplars[one] = dict.fromkeys(buckets, Counted(exemplar, counted_ms))


def ordinary_series() -> Iterator[tuple[Series, SeriesState]]:
    """
    The series of one ordinary repository after the other, without end.
    """
    numbers = count()
    for repository in count(1):
        where = ("111122223333", "eu-central-1", f"service-{repository:05d}")
        for family, labels in _SERIES:
            total = _total(family, next(numbers))
            one = Series(family.name, (*where, *labels))
            yield one, SeriesState(total, NOW_MS, NOW_MS, family.zero())


def _total(family: Family, number: int) -> Total:
    if family.kind is Kind.GAUGE:
        return Total(NOW_MS - 1000 * number)
    if not family.buckets:
        return Total(number % 5000)
    buckets = tuple(islice(cycle((number % 700, 1, 0)), len(family.buckets) + 1))
    return Total(sum(buckets) * 90_250, buckets)


def cpu_seconds(work: Callable[[], object]) -> float:
    """
    User and system time of a piece of work.
    """
    before = time.process_time()
    work()
    return time.process_time() - before


@dataclass(frozen=True, slots=True)
class Costs:
    """
    CPU seconds of one turn.
    """

    library: float
    copy: float
    ours: Mapping[str, float]


class Duel:
    """
    One format of one ledger's page, made by both.
    """

    def __init__(self, invented: Invented, accept: str) -> None:
        self._invented = invented
        self._accept = accept
        self._own = Telemetry().registry
        view = invented.view
        self._collector = PlainCollector(view.series, view.known, invented.exemplars)
        self._plain = registry(self._collector, self._own)
        self._generate = generate_openmetrics if accept else generate_latest
        self._page = self._new_page()

    def is_fair(self) -> bool:
        """
        Whether both make the same page, the exporter's own metrics after it aside.
        """
        plain: bytes = self._generate(registry(self._collector))
        return self._answer().startswith(plain.removesuffix(END.encode()))

    def turn(self) -> Costs:
        """
        What each costs, one after the other.
        """
        body = bytearray(self._answer())
        return Costs(
            library=cpu_seconds(lambda: self._generate(self._plain)),
            copy=cpu_seconds(lambda: bytes(body)),
            ours={
                "unchanged": cpu_seconds(self._answer),
                "1 % changed": self._after_a_change(),
                "first": self._first(),
            },
        )

    def _new_page(self) -> Page:
        return Page(self._own, self._invented.view)

    def _answer(self) -> bytes:
        return self._page.answer(self._accept, now_ms=NOW_MS).body

    def _after_a_change(self) -> float:
        self._invented.change()
        return cpu_seconds(self._answer)

    def _first(self) -> float:
        self._invented.exemplify(self._invented.view.series)
        lines.number.cache_clear()
        page = self._new_page()
        return cpu_seconds(lambda: page.answer(self._accept, now_ms=NOW_MS))


def cost_findings(lines: int, rounds: int) -> Iterator[Finding]:
    """
    How many times the library's cost ours is, for both formats.

    The words tell, too, how often the bytes of the page could be copied in our time.
    """
    plain, exemplified = Invented(lines), Invented(lines, with_exemplars=True)
    for name, invented, accept in (
        ("text", plain, ""),
        ("OpenMetrics", plain, OPENMETRICS),
        ("OpenMetrics + exemplars", exemplified, OPENMETRICS),
    ):
        duel = Duel(invented, accept)
        if not duel.is_fair():
            sys.exit("the pages differ: there is nothing to compare")
        turns = [duel.turn() for _ in range(rounds)]
        library = 1000 * median(turn.library for turn in turns)
        for page, goal in GOALS.items():
            ours = 1000 * median(turn.ours[page] for turn in turns)
            copies = median(turn.ours[page] / max(turn.copy, 1e-6) for turn in turns)
            yield Finding(
                f"page of {lines:,} lines, {name}, {page}",
                median(turn.library / turn.ours[page] for turn in turns),
                "times faster",
                bound=goal,
                at_least=True,
                words=f"{ours:.2f} ms, library {library:.0f} ms, {copies:.1f} copies",
            )


class Stall:
    """
    How long the event loop leaves a task waiting that wants to run every millisecond.
    """

    def __init__(self) -> None:
        self._longest = 0.0

    async def watch(self) -> None:
        """
        Watch until cancelled.
        """
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            self._longest = max(self._longest, time.perf_counter() - before - TICK_SECONDS)

    def take(self) -> float:
        """
        The longest wait since the last time, in seconds.
        """
        longest, self._longest = self._longest, 0.0
        return longest


async def stalls(invented: Invented) -> dict[str, float]:
    """
    The longest wait beside each kind of scrape, in seconds.
    """
    telemetry = Telemetry()
    web = Web(Health(), Holds(120), telemetry)
    web.page = Page(telemetry.registry, invented.view)
    (address,) = await web.start([("127.0.0.1", 0)])
    stall = Stall()
    watching = asyncio.create_task(stall.watch())
    seen = {}

    async def scrape(what: str) -> None:
        stall.take()
        seen[what] = 0.0
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FETCH, f"{address}/metrics", OPENMETRICS
        )
        assert 0 == await process.wait()
        seen[what] = stall.take()

    await asyncio.sleep(0.2)
    seen["no scrape"] = stall.take()
    await scrape("first")
    await scrape("unchanged")
    invented.change()
    await scrape("1 % changed")
    watching.cancel()
    await web.stop()
    return seen


def stall_findings(lines: int) -> list[Finding]:
    """
    How long scraping keeps everything else waiting.
    """
    return [
        Finding(f"event loop beside a page of {lines:,} lines, {page}", 1000 * seconds, "ms")
        for page, seconds in asyncio.run(stalls(Invented(lines))).items()
    ]


def findings(lines: int = 100_000, rounds: int = 5) -> list[Finding]:
    """
    All that is found about a page of about so many lines, in as many turns.
    """
    return [*cost_findings(lines, rounds), *stall_findings(lines)]


def main() -> None:
    """
    Measure the page of an invented ledger and print the table.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--lines", type=int, default=100_000, help="lines on the page")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    arguments = parser.parse_args()
    found = findings(arguments.lines, arguments.rounds)
    Console().print(table("A page beside prometheus_client's (CPU, medians)", found))


if __name__ == "__main__":
    main()
