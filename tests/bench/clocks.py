"""
Where the CPU time of ``serve`` goes, and what a second thread for decoding changes.

Only what gives up the interpreter's lock can run on a second core: inflating and SQLite. How
much of all that is, the clocks of the threads tell; they are read around such calls inside
the exporter, which costs a little itself and is no part of the other measurements.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.endtoend import Bench, Cost, check, organisation, scraped
from tests.bench.inside import INFLATE, SQLITE, Seen
from tests.bench.measure import Finding, Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

FILES = 1000
ROUNDS = 5
OUTSIDE = (INFLATE, SQLITE)
"""The kinds of work that give up the interpreter's lock."""


class Turn(NamedTuple):
    """
    What counting a corpus took, from outside and from inside.
    """

    cost: Cost
    seen: Seen

    @property
    def outside_share(self) -> float:
        """
        How much of the CPU time gave up the interpreter's lock.
        """
        return sum(self.seen.clocks.get(kind, 0.0) for kind in OUTSIDE) / self.seen.cpu_seconds


def turn(bench: Bench, threads: int) -> Turn:
    """
    Count with so many threads for decoding.

    Raises:
        WrongCount: It did not count right.
    """
    with bench.inside(str(threads)) as inside:
        cost = bench.count(inside.pid)
        seen = inside.seen()
        check(scraped(inside.address), bench.corpus)
    return Turn(cost, seen)


def findings(files: int = FILES, rounds: int = ROUNDS) -> list[Finding]:
    """
    Measure so many rounds over so many log files, with one thread and with two.
    """
    with Bench.of(organisation(files)) as bench:
        turns = [(turn(bench, 1), turn(bench, 2)) for _ in range(rounds)]
    ones, twos = [one for one, _ in turns], [two for _, two in turns]
    pair = Pair("threads", *([one.cost.cpu_seconds for one in each] for each in (twos, ones)))
    return [
        Finding(
            "CPU with 2 threads / with 1",
            pair.ratio,
            "times",
            bound=1.15,
            words=f"{1000 * pair.ours_median / files:.2f} and "
            f"{1000 * pair.other_median / files:.2f} ms a file",
        ),
        *(
            Finding(
                f"speed with {number} thread{'s' * (number > 1)}",
                median(files / one.cost.wall_seconds for one in each),
                "files/s",
            )
            for number, each in ((1, ones), (2, twos))
        ),
        Finding(
            "work outside the interpreter's lock",
            100 * median(one.outside_share for one in ones + twos),
            "%",
            bound=50,
            at_least=True,
            words=profile([one.seen for one in ones], files),
        ),
    ]


def profile(seen: Sequence[Seen], files: int) -> str:
    """
    The means of the kinds of work in ms a file, the costliest first.
    """
    clocks: defaultdict[str, float] = defaultdict(float)
    for one in seen:
        for kind, seconds in one.clocks.items():
            clocks[kind] += seconds
        clocks["all else"] += one.cpu_seconds - sum(one.clocks.values())
    ms = 1000 / files / len(seen)
    costliest = sorted(clocks, key=clocks.__getitem__, reverse=True)
    told = [f"{kind} {ms * clocks[kind]:.2f}" for kind in costliest]
    on_loop = ms * sum(one.loop_seconds for one in seen)
    return f"ms a file: {', '.join(told)}; {on_loop:.2f} on the loop's thread"
