"""
Ratios are made of turns, and findings keep to their bounds or do not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.bench.measure import (
    Finding,
    Machine,
    Pair,
    cpu_seconds,
    interleave,
    peak_rss_bytes,
    show,
    write_report,
)

MET = Finding("decode", 1.2, "times", bound=1.25, words="0.21 ms a file")
MISSED = Finding("speed-up", 2.0, "times", bound=3.5, at_least=True)
TOLD = Finding("the naive way", 6.0, "times")


def test_the_ratio_is_the_median_of_the_turns() -> None:
    """
    One turn on a busy machine does not matter, and turns are not mixed.
    """
    pair = Pair("two ways", [2.0, 20.0, 90.0], [1.0, 10.0, 1.0])

    assert (2.0, 20.0, 1.0) == (pair.ratio, pair.ours_median, pair.other_median)


@pytest.mark.parametrize(("ours", "other"), [([], []), ([1.0], [1.0, 2.0])])
def test_a_pair_has_as_many_of_both(ours: list[float], other: list[float]) -> None:
    """
    No ratio can be told otherwise.
    """
    with pytest.raises(ValueError, match="no pairs"):
        Pair("two ways", ours, other)


def test_every_second_turn_begins_with_the_other() -> None:
    """
    Whatever one leaves behind, in a cache say, serves both as often.
    """
    order: list[str] = []

    def way(name: str, seconds: float) -> Callable[[], float]:
        def turn() -> float:
            order.append(name)
            return seconds

        return turn

    pair = interleave("two ways", 3, way("ours", 3.0), way("other", 1.5))

    assert ["ours", "other", "other", "ours", "ours", "other"] == order
    assert Pair("two ways", [3.0] * 3, [1.5] * 3) == pair


def test_more_work_takes_more_cpu_time() -> None:
    """
    Waiting takes none, so it is the work that is measured.
    """

    def work(steps: int) -> Callable[[], object]:
        return lambda: sum(range(steps))

    assert 0 <= cpu_seconds(work(10)) < cpu_seconds(work(3_000_000))


def test_the_peak_of_a_child_is_its_own() -> None:
    """
    A large process that starts it is not told of; what the child once held is.
    """
    ballast = bytearray(b"x") * 200_000_000
    held, holds_little = (
        peak_of(f"text = b'x' * {size}; del text") for size in (100_000_000, 1_000)
    )

    assert len(ballast) > held > 100_000_000 > holds_little


def peak_of(program: str) -> int:
    """
    The peak of a Python process that has run this program.
    """
    script = f"{program}; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        peak = peak_rss_bytes(child.pid)
        child.stdin.write(b"\n")
    return peak


@pytest.mark.parametrize(
    ("finding", "met", "bound"),
    [(MET, True, "at most 1.25"), (MISSED, False, "at least 3.5"), (TOLD, None, "")],
)
def test_a_finding_keeps_to_its_bound(finding: Finding, met: bool | None, bound: str) -> None:
    """
    A bound is the most or the least, and the bound itself keeps to it.
    """
    assert (met, bound) == (finding.met, finding.bound_text)
    if finding.bound is not None:
        at_bound = Finding("", finding.bound, "", finding.bound, finding.at_least)
        assert at_bound.met


def test_the_table_says_what_was_missed(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Every finding has a row with its figure, its bound and its verdict.
    """
    show("Findings", [MET, MISSED, TOLD])
    printed = map(str.split, capsys.readouterr().out.splitlines())
    title, head, _, met, missed, told = filter(None, printed)

    assert ["Findings"] == title
    assert ["what", "figure", "bound", "measured"] == head
    assert [
        "decode",
        "1.20",
        "times",
        "at",
        "most",
        "1.25",
        "met",
        "0.21",
        "ms",
        "a",
        "file",
    ] == met
    assert ["speed-up", "2.00", "times", "at", "least", "3.5", "missed"] == missed
    assert ["the", "naive", "way", "6.00", "times"] == told


def test_the_report_says_when_and_where(tmp_path: Path) -> None:
    """
    The date is the caller's, the machine is this one, and findings come with their verdict.
    """
    path = tmp_path / "bench.json"
    write_report(path, [MET, TOLD], measured=datetime(2026, 1, 1, 12, tzinfo=UTC))
    written = json.loads(path.read_text(encoding="utf-8"))

    assert "2026-01-01T12:00:00+00:00" == written["measured"]
    assert Machine.this() == Machine(**written["machine"])
    assert all(written["machine"].values())
    assert [("decode", 1.2, True), ("the naive way", 6.0, None)] == [
        (each["name"], each["figure"], each["met"]) for each in written["findings"]
    ]
