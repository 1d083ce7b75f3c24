"""
How late the event loop is while it counts, a huge log file among the others.

A task on the exporter's own loop wants to run every 5 ms; how late it is, is what everything
else on the loop has to wait: a scrape, a renewal, a stop. The same task on a loop with nothing
else to do, beside the floor that reads from the same S3, tells what the machine adds.
"""

from __future__ import annotations

from itertools import chain
from statistics import median, quantiles
from typing import TYPE_CHECKING

from tests.bench import floor
from tests.bench.corpora import Corpus, big
from tests.bench.endtoend import Bench, check, organisation, scraped
from tests.bench.inside import Inside
from tests.bench.measure import Finding, Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

FILES = 2000
ROUNDS = 3
BIG_BYTES = 50_000_000
FLOOR_READS = 5
"""How often the floor reads everything, for as many ticks as beside the exporter."""

MS = 1000


def counting(bench: Bench) -> list[float]:
    """
    The seconds by which ticks were late while the exporter counted everything.

    Raises:
        WrongCount: It did not count right.
    """
    with bench.inside() as inside:
        bench.count(inside.pid)
        late = inside.seen().late
        check(scraped(inside.address), bench.corpus)
    return late


def beside_the_floor(bench: Bench) -> list[float]:
    """
    The same on an idle loop, while the floor reads everything a few times.
    """
    environment = bench.stores.environment
    with Inside("bare", environment=environment) as bare:
        bare.seen()
        floor.measured(bench.stores.s3_port, bench.corpus.keys * FLOOR_READS, environment)
        return bare.seen().late


def p99(late: Sequence[float]) -> float:
    """
    What 99 of 100 stay below, in ms.
    """
    return MS * quantiles(late, n=100, method="inclusive")[98]


def findings(files: int = FILES, big_bytes: int = BIG_BYTES, rounds: int = ROUNDS) -> list[Finding]:
    """
    Measure so many rounds over so many log files and one huge one.
    """
    with Bench.of(together(organisation(files), big(big_bytes, seed=2))) as bench:
        turns = [(counting(bench), beside_the_floor(bench)) for _ in range(rounds)]
    pair = Pair("lag", [p99(ours) for ours, _ in turns], [p99(bare) for _, bare in turns])
    longest = MS * max(chain.from_iterable(ours for ours, _ in turns))
    return [
        Finding(
            "loop lag / beside the floor",
            pair.ratio,
            "times",
            bound=3,
            words=f"p99 of a 5 ms ticker; beside the floor {pair.other_median:.2f} ms",
        ),
        Finding(
            "loop lag, p99",
            pair.ours_median,
            "ms",
            words=f"median {MS * median(chain.from_iterable(ours for ours, _ in turns)):.2f} ms",
        ),
        Finding("loop lag, longest", longest, "ms"),
    ]


def together(few: Corpus, one: Corpus) -> Corpus:
    """
    Two corpora as one, the second's files in the middle of the first's.
    """
    middle = len(few.files) // 2
    files = [*few.files[:middle], *one.files, *few.files[middle:]]
    return Corpus(f"{few.name} and {one.name}", files, few.truth + one.truth)
