"""
The measurements of the whole program count right, and tell all that they are to tell.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.bench import clocks, endtoend, lag
from tests.bench.corpora import Corpus, org
from tests.bench.endtoend import Bench, WrongCount
from tests.bench.inside import Clocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.measure import Finding

FILES = 24


@pytest.mark.parametrize(
    ("measure", "names"),
    [
        (
            lambda: endtoend.findings(FILES, rounds=1),
            [
                "end to end / floor",
                "CPU of a log file",
                "baseline / end to end",
                "peak memory while counting",
                "idle memory",
                "speed",
            ],
        ),
        (
            lambda: lag.findings(FILES, big_bytes=2_000_000, rounds=1),
            ["loop lag / beside the floor", "loop lag, p99", "loop lag, longest"],
        ),
        (
            lambda: clocks.findings(FILES, rounds=1),
            [
                "CPU with 2 threads / with 1",
                "speed with 1 thread",
                "speed with 2 threads",
                "work outside the interpreter's lock",
            ],
        ),
    ],
    ids=["end to end", "lag", "clocks"],
)
def test_a_small_run_counts_exactly_and_tells_its_figures(
    measure: Callable[[], Sequence[Finding]], names: list[str]
) -> None:
    """
    A page that is not exactly right would end it, with one round as with many.
    """
    found = measure()

    assert names == [finding.name for finding in found]
    assert all(finding.figure > 0 for finding in found)


def test_a_wrong_count_ends_the_measurement() -> None:
    """
    A page that lacks one event of what the files are said to hold is no result.
    """
    corpus = org(4)
    series, _ = corpus.truth.most_common(1)[0]
    lying = Corpus("lying", corpus.files, corpus.truth + Counter({series: 1}))

    with Bench.of(lying) as bench, pytest.raises(WrongCount, match=series[0]):
        bench.exporter()


def test_work_inside_work_is_counted_once() -> None:
    """
    The kinds add up to no more than the thread's own clock says of all of it.
    """
    clocks = Clocks()
    inner = clocks.timed("inner", lambda: sum(range(100_000)))
    outer = clocks.timed("outer", lambda: [inner(), sum(range(100_000)), inner()])

    before = time.thread_time()
    outer()
    whole = time.thread_time() - before
    seconds = clocks.take()

    assert {"inner", "outer"} == seconds.keys()
    assert min(seconds.values()) > 0
    assert sum(seconds.values()) <= whole
    assert {} == clocks.take()
