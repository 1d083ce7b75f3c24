"""
How costs grow with what there is: files counted, series kept, ids remembered, lines shown.

Rules:

1. Ledgers of different sizes do the same work, turn by turn in one run. What is told is the
   median of the ratios of the turns to those of the smallest.
2. Costs are CPU time of this process, all its threads included, and come without HTTP.
3. What has been counted is compared with what was there to count, every time.
4. A page cannot but follow what exists, for it is all of it. So a commit and what a scrape
   writes anew are measured without the page's text, which is told beside a copy of its bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from prometheus_client import CollectorRegistry

from exporter.activity import Activity
from exporter.cloudtrail import decode
from exporter.ledger.book import Policy
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.tables import DAY_MS, PERIOD_MS, keep_series
from exporter.metrics import Answer, Page
from exporter.notifications import LogFile
from exporter.tally import Reading
from tests.bench import exposition
from tests.bench.exposition import Stall, ordinary_series
from tests.bench.measure import Finding, Pair, report, show
from tests.readings import at, events_total, reading

DAY = DAY_MS / 1000
WINDOW = 90 * DAY
NOW = datetime(2026, 1, 4, 12, tzinfo=UTC).timestamp()
"""The middle of a period: no event looks into a neighbour's table."""

GROWTH_MAX = 1.3
STALL_MS_MAX = 50
INFLATED_BYTES_MAX = 1 << 30
AT_ONCE = 50
"""Files under way together, as many as a group takes."""

Costs = Mapping[str, float]
"""CPU seconds an item, by what they are spent on."""

Turn = Callable[[], Awaitable[Costs]]


@dataclass(frozen=True, slots=True)
class Scale:
    """
    How much is measured. ``rounds`` is how many turns, ``lines`` those of the page.
    """

    files: Sequence[int]
    series: Sequence[int]
    ids: Sequence[int]
    files_a_turn: int
    rounds: int
    lines: int
    page_rounds: int


FULL = Scale(
    files=(1_000, 4_000, 16_000),
    series=(1_000, 10_000, 100_000),
    ids=(10_000, 1_000_000, 10_000_000),
    files_a_turn=AT_ONCE,
    rounds=9,
    lines=400_000,
    page_rounds=3,
)
SMALL = Scale(
    files=(2, 4),
    series=(50, 100),
    ids=(100, 1_000),
    files_a_turn=2,
    rounds=2,
    lines=500,
    page_rounds=1,
)


@dataclass(frozen=True, slots=True)
class Curve:
    """
    What something costs at each size.

    Args:
        sizes_of: What there is more and more of: ``series``.
        work: What is done, unique among those of the same sizes.
        item: What it is done to, or how much is done at once.
        turns: CPU seconds an item, in each turn, by size; the smallest first.
        bound: How much more the larger may cost; None where it is only told.
    """

    sizes_of: str
    work: str
    item: str
    turns: Mapping[int, Sequence[float]]
    bound: float | None = GROWTH_MAX

    def pairs(self) -> dict[int, Pair]:
        """
        Each size beside the smallest, this one too.
        """
        smallest, least = next(iter(self.turns.items()))
        return {
            size: Pair(f"{self.work}, {size:,} {self.sizes_of} beside {smallest:,}", turns, least)
            for size, turns in self.turns.items()
        }

    def findings(self) -> Iterator[Finding]:
        """
        How many times as much the larger sizes cost as the smallest.
        """
        for pair in islice(self.pairs().values(), 1, None):
            ours, least = 1000 * pair.ours_median, 1000 * pair.other_median
            words = f"{ours:.3f} ms a {self.item}, {least:.3f}"
            yield Finding(pair.name, pair.ratio, "times", self.bound, words=words)

    def points(self) -> dict[str, object]:
        """
        The curve in the form of JSON: milliseconds an item, and times as much as the smallest.
        """
        pairs = self.pairs()
        return {
            "sizes_of": self.sizes_of,
            "work": self.work,
            "item": self.item,
            "sizes": list(pairs),
            "ms": [1000 * pair.ours_median for pair in pairs.values()],
            "times": [pair.ratio for pair in pairs.values()],
        }


async def in_turns(turns: Mapping[int, Turn], rounds: int) -> dict[str, dict[int, list[float]]]:
    """
    Let each size have as many turns, forwards and backwards; the costs by what they are of.

    What is done for the first time costs more, so that everybody has a turn before.
    """
    for turn in turns.values():
        await turn()
    spent: dict[str, dict[int, list[float]]] = {}
    for number in range(rounds):
        for size in list(turns)[:: 1 if number % 2 == 0 else -1]:
            for what, seconds in (await turns[size]()).items():
                spent.setdefault(what, {one: [] for one in turns})[size].append(seconds)
    return spent


class Clock:
    """
    Says what it is told to, in seconds since 1970.
    """

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """
        The time.
        """
        return self.now


@asynccontextmanager
async def opened(path: Path, clock: Clock) -> AsyncIterator[SqliteLedger]:
    """
    A ledger as the exporter opens it.
    """
    ledger = await SqliteLedger.open(path, window_seconds=WINDOW, policy=Policy(), now=clock)
    try:
        yield ledger
    finally:
        await ledger.close()


async def born(path: Path) -> None:
    """
    Let there be a new ledger, a day before all events.
    """
    async with opened(path, Clock(NOW - DAY)):
        pass


@dataclass(frozen=True, slots=True)
class Fetched:
    """
    A log file and its body.
    """

    log_file: LogFile
    body: bytes

    def read(self) -> Reading:
        """
        What it holds.
        """
        decoded = decode(self.body, inflated_bytes_max=INFLATED_BYTES_MAX)
        delivered_ms = round(NOW * 1000)
        return Reading(self.log_file, delivered_ms, decoded.events, decoded.kms_requests)


def log_files(*, seed: int, records: int | None = None) -> Iterator[Fetched]:
    """
    Log files without end in which three records of ten are CodeCommit's.
    """
    activity = Activity(seed, cross_account=False)
    while True:
        written = activity.log_file(datetime.fromtimestamp(NOW, UTC), records=records)
        yield Fetched(LogFile("trail", written.key), written.body)


async def count(ledger: SqliteLedger, files: Sequence[Fetched]) -> Costs:
    """
    Count log files, some at once; what each costs, and what of that is committing.
    """
    before, events = events_total(ledger), 0
    began, committing = time.process_time(), 0.0
    for first in range(0, len(files), AT_ONCE):
        readings = [file.read() for file in files[first : first + AT_ONCE]]
        events += sum(len(one.events) for one in readings)
        decoded = time.process_time()
        await asyncio.gather(*map(ledger.commit, readings))
        committing += time.process_time() - decoded
    spent = time.process_time() - began
    assert before + events == events_total(ledger)
    return {"file": spent / len(files), "commit": committing / len(files)}


async def files_growth(scale: Scale, folder: Path) -> list[Curve]:
    """
    Ledgers that begin empty, and count more and more files.
    """
    files = list(islice(log_files(seed=1, records=12), max(scale.files)))

    def turn(size: int) -> Turn:
        async def counted() -> Costs:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                path = Path(place, "ledger.sqlite")
                await born(path)
                async with opened(path, Clock(NOW)) as ledger:
                    return await count(ledger, files[:size])

        return counted

    spent = await in_turns({size: turn(size) for size in scale.files}, scale.rounds)
    return [Curve("files", "decode and commit", "file", spent["file"])]


def fill_with_series(path: Path, size: int) -> None:
    """
    Put as many series of ordinary repositories into a closed ledger.
    """
    with closing(sqlite3.connect(path)) as db:
        keep_series(db, dict(islice(ordinary_series(), size)))
        db.commit()


COMMITS_A_TURN = 20
NO_SAMPLES = ("none",)


class Shown:
    """
    A ledger and its page.
    """

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger
        self._page = Page(CollectorRegistry(), ledger)
        self._answer = self._scrape()
        self._commits = 0

    async def turn(self) -> Costs:
        """
        Change the same twenty series again and again, and then make the page.

        A large page leaves nothing else in the processor's caches, and takes long to give back
        where it is replaced. Both are the page's costs, and none of a commit's.
        """
        commit = writing = 0.0
        for _ in range(COMMITS_A_TURN):
            began = time.process_time()
            await self._ledger.commit(self._reading())
            committed = time.process_time()
            self._scrape(NO_SAMPLES)  # writes what has changed, and makes no text of it
            writing += time.process_time() - committed
            commit += committed - began
        began = time.process_time()
        self._answer = self._scrape()
        made = time.process_time()
        b"".join(self._answer.parts)
        return {
            "commit": commit / COMMITS_A_TURN,
            "writing": writing / COMMITS_A_TURN,
            "text": made - began,
            "copy": time.process_time() - made,
        }

    def _reading(self) -> Reading:
        """
        Five events of five repositories, each of which adds to four series.
        """
        self._commits += 1
        records = [at(NOW - 60, f"tools-{number}") for number in range(5)]
        return reading(*records, key=f"{self._commits}.json.gz", delivered=NOW)

    def _scrape(self, names: Sequence[str] = ()) -> Answer:
        return self._page.answer("", names, now_ms=round(NOW * 1000))


async def series_growth(scale: Scale, folder: Path) -> list[Curve]:
    """
    Ledgers with more and more series, of which the same few change.
    """
    async with AsyncExitStack() as stack:
        turns: dict[int, Turn] = {}
        for size in scale.series:
            path = folder / f"series-{size}.sqlite"
            await born(path)
            fill_with_series(path, size)
            ledger = await stack.enter_async_context(opened(path, Clock(NOW)))
            assert size == len(ledger.series)
            turns[size] = Shown(ledger).turn
        spent = await in_turns(turns, scale.rounds)
    return [
        Curve("series", "commit", "change of 20 series", spent["commit"]),
        Curve("series", "write the changed lines", "scrape", spent["writing"]),
        Curve("series", "make the page's text", "scrape", spent["text"], bound=None),
        Curve("series", "copy the page's bytes", "scrape", spent["copy"], bound=None),
    ]


def fill_with_ids(path: Path, size: int) -> None:
    """
    Put as many ids into a closed ledger, all in the period that new events go to.

    They lie as far apart as random ones do on average, and come in their order, which is
    fast. The second time between those of the first: the pages are then as full as pages
    that have grown, and the next id does not split each.
    """
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        table = f"seen_{_period(NOW):d}"
        db.execute(f"CREATE TABLE {table} (id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID")
        apart = (1 << 128) // size
        for numbers in (range(0, size, 2), range(1, size, 2)):
            db.executemany(
                f"INSERT INTO {table} VALUES (?)",  # noqa: S608 - a table of the ledger's
                (((number * apart).to_bytes(16),) for number in numbers),
            )
        db.commit()


def remembered(path: Path) -> dict[int, int]:
    """
    How many ids a ledger remembers of each period.
    """
    with closing(sqlite3.connect(path)) as db:
        tables = db.execute("SELECT name FROM sqlite_schema WHERE name GLOB 'seen_[0-9]*'")
        return {
            int(name.removeprefix("seen_")): ids
            for (name,) in tables.fetchall()
            for (ids,) in db.execute(f"SELECT count(*) FROM {name}")  # noqa: S608 - of the ledger's
        }


def _period(moment: float) -> int:
    return round(moment * 1000) // PERIOD_MS


async def ids_growth(scale: Scale, folder: Path) -> tuple[list[Curve], list[Finding]]:
    """
    Ledgers that remember more and more ids, and count the same files; the largest then forgets.
    """
    clock = Clock(NOW)
    files = log_files(seed=2)
    batches = [list(islice(files, scale.files_a_turn)) for _ in range(scale.rounds + 1)]
    async with AsyncExitStack() as stack:
        ledgers: dict[int, SqliteLedger] = {}
        for size in scale.ids:
            path = folder / f"ids-{size}.sqlite"
            await born(path)
            fill_with_ids(path, size)
            ledgers[size] = await stack.enter_async_context(opened(path, clock))

        def turn(ledger: SqliteLedger) -> Turn:
            mine = iter(batches)
            return lambda: count(ledger, next(mine))

        turns = {size: turn(ledger) for size, ledger in ledgers.items()}
        spent = await in_turns(turns, scale.rounds)
        largest = max(scale.ids)
        pruned = await pruning(ledgers[largest], clock, largest)
        assert {_period(clock.now)} == remembered(folder / f"ids-{largest}.sqlite").keys()
    return [
        Curve("ids", "decode and commit", "file", spent["file"]),
        Curve("ids", "commit alone", "file", spent["commit"], bound=None),
    ], [pruned]


async def pruning(ledger: SqliteLedger, clock: Clock, size: int) -> Finding:
    """
    How long the event loop stands still while a ledger forgets a period of so many ids.

    Beside it: the same for a second of ordinary commits, one after the other.
    """
    stall = Stall()
    watching = asyncio.create_task(stall.watch())

    async def longest_wait(seconds: float) -> tuple[float, float]:
        """
        In milliseconds: that of the event loop, and that for a commit.
        """
        stall.take()
        began, waits = time.perf_counter(), list[float]()
        while not waits or time.perf_counter() - began < seconds:
            before = time.perf_counter()
            key = f"{clock.now:.0f}-{len(waits)}.json.gz"
            await ledger.commit(reading(at(clock.now - 60), key=key, delivered=clock.now))
            waits.append(time.perf_counter() - before)
        await asyncio.sleep(0)
        return 1000 * stall.take(), 1000 * max(waits)

    await asyncio.sleep(0.1)
    usual, usual_wait = await longest_wait(1)
    clock.now += WINDOW + 2 * PERIOD_MS / 1000
    longest, wait = await longest_wait(0)
    watching.cancel()
    return Finding(
        f"pruning {size:,} ids, the event loop's longest wait",
        longest,
        "ms",
        STALL_MS_MAX,
        words=f"without {usual:.1f}; a commit waits up to {wait:.0f} ms, without {usual_wait:.0f}",
    )


def growth(scale: Scale) -> Iterator[tuple[str, list[Curve], list[Finding]]]:
    """
    What is found part by part, each with its title.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield "More files", asyncio.run(files_growth(scale, folder)), []
        yield "More series", asyncio.run(series_growth(scale, folder)), []
        yield "More ids", *asyncio.run(ids_growth(scale, folder))
    yield "A large page", [], exposition.findings(scale.lines, scale.page_rounds)


def measure(scale: Scale) -> dict[str, object]:
    """
    Measure all, print the tables, and return the run in the form of JSON.
    """
    curves, findings = list[Curve](), list[Finding]()
    for title, some, others in growth(scale):
        found = [each for curve in some for each in curve.findings()] + others
        show(f"{title} (CPU, medians)", found)
        curves += some
        findings += found
    return report(findings, measured=datetime.now(UTC)) | {
        "curves": [each.points() for each in curves]
    }


def main() -> None:
    """
    Measure how costs grow and print the tables.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--small", action="store_true", help="only to see that it works")
    arguments = parser.parse_args()
    scale = SMALL if arguments.small else FULL
    found = measure(scale)
    if arguments.json:
        arguments.json.write_text(f"{json.dumps(found, indent=2)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
