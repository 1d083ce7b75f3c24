"""
Whether a long run grows: the demo at a steady rate, its memory looked at all the while.

The process looked at is the exporter's, in which the demo's writer lives as well. What
stands in for S3 and SQS is a process of its own; its memory is shown and not judged. Every
look also scrapes the page, as Prometheus would.

1 is the exit code if a count was wrong or the run did not come to its end. The slope is
told and judged in words only: its error depends on how long the run was.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
from math import nan, sqrt
from pathlib import Path
from statistics import fmean, linear_regression
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import urlopen

from rich.console import Console

from tests.processes import PROJECT, TEXT, Page, clean_environment, command

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SLOPE_TARGET = 1.0
"""MiB an hour."""

READ = ("counted", "repeated", "no_codecommit")
"""The outcomes of a log file whose events are in the ledger."""

_CONSOLE = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
_ADDRESS = re.compile(r"Metrics: (http://\S+)/metrics")
_PROGRESS = re.compile(r" *(\d+) s: (\d+) log files written")
_TOTALS = re.compile(r"codecommit_events_total +(\d+) +(\d+)")
_RIGHT = "written equals counted"


class Look(NamedTuple):
    """
    Resident memory in MiB, so many seconds and log files after the start of writing.
    """

    seconds: int
    log_files: int
    exporter: float
    stand_in: float


class Slope(NamedTuple):
    """
    A straight line's rise and its standard error, in MiB an hour.
    """

    rise: float
    error: float

    @classmethod
    def through(cls, looks: Sequence[Look]) -> Slope:
        """
        The line of least squares; not a number where fewer than three looks leave it open.
        """
        if len(looks) < 3:
            return cls(nan, nan)
        hours = [look.seconds / 3600 for look in looks]
        sizes = [look.exporter for look in looks]
        rise, start = linear_regression(hours, sizes)
        distances = (size - start - rise * hour for hour, size in zip(hours, sizes, strict=True))
        spread = sum((hour - fmean(hours)) ** 2 for hour in hours)
        variance = sum(distance**2 for distance in distances) / (len(looks) - 2)
        return cls(rise, sqrt(variance / spread))

    def __str__(self) -> str:
        verdict = "met" if self.rise < SLOPE_TARGET else "MISSED"
        return (
            f"{self.rise:+.2f} MiB/h, standard error {self.error:.2f} "
            f"(target: under {SLOPE_TARGET:g}): {verdict}"
        )


def resident(process: int) -> float:
    """
    The resident memory of a process, in MiB.
    """
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def children(process: int) -> list[int]:
    """
    The processes that a process started and that still run.
    """
    return [
        int(number)
        for numbers in Path(f"/proc/{process}/task").glob("*/children")
        for number in numbers.read_text().split()
    ]


def scraped(address: str) -> Page:
    """
    The page as it is now.
    """
    with urlopen(f"{address}/metrics", timeout=30) as answer:
        return Page(answer.read().decode(), TEXT)


def told(page: Page) -> str:
    """
    What a page says of the ledger and of the log files read.
    """
    own = "codecommit_exporter_"
    log_files = sum(page.value(f"{own}log_files_total", outcome=one) for one in READ)
    ledger = page.value(f"{own}ledger_bytes") / 1024 / 1024
    series = page.value(f"{own}series")
    return f"{log_files:.0f} log files read; ledger {ledger:.1f} MiB, {series:.0f} series"


def watch(lines: Iterable[str], process: int) -> tuple[list[Look], str]:
    """
    Pass on what the demo prints, look at it with every line of progress; all it printed.
    """
    looks: list[Look] = []
    printed: list[str] = []
    address = ""
    for line in lines:
        printed.append(line)
        _CONSOLE.print(line, end="")
        if listening := _ADDRESS.search(line):
            address = listening[1]
        if progress := _PROGRESS.match(line):
            stand_in = sum(map(resident, children(process)))
            look = Look(int(progress[1]), int(progress[2]), resident(process), stand_in)
            looks.append(look)
            _CONSOLE.print(
                f"        exporter {look.exporter:.1f} MiB, stand-in {look.stand_in:.1f} MiB; "
                f"{told(scraped(address))}"
            )
    return looks, "".join(printed)


def report(looks: Sequence[Look], printed: str, warm_up: float) -> bool:
    """
    Print what came of it; whether every count was right.
    """
    right = _RIGHT in printed
    warm = [look for look in looks if look.seconds >= warm_up]
    _CONSOLE.print()
    if warm:
        first, last = warm[0], warm[-1]
        rate = last.log_files / last.seconds
        _CONSOLE.print(
            f"Memory from {first.seconds} s: {first.exporter:.1f} to {last.exporter:.1f} MiB."
        )
        _CONSOLE.print(f"Slope: {Slope.through(warm)}")
        _CONSOLE.print(f"Log files: {last.log_files} in {last.seconds} s, {rate:.1f} a second.")
    if totals := _TOTALS.search(printed):
        _CONSOLE.print(f"Events: {totals[1]} written, {totals[2]} counted.")
    _CONSOLE.print(f"Counts: {'all exact' if right else 'WRONG, or not told'}.")
    return right


def main() -> int:
    """
    Run the demo for some time and report.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long log files are written")
    parser.add_argument("--rate", type=float, default=50, help="log files a second")
    parser.add_argument(
        "--warm-up", type=float, help="minutes that the slope leaves out; a sixth of all by default"
    )
    arguments = parser.parse_args()
    warm_up = arguments.minutes / 6 if arguments.warm_up is None else arguments.warm_up
    demo = command(
        "demo",
        *("--demo.rate", f"{arguments.rate:g}"),
        *("--demo.duration", f"{60 * arguments.minutes:.0f}s"),
        *("--web.listen-address", "127.0.0.1:0"),
        *("--log.level", "warning"),
    )
    with subprocess.Popen(
        demo, cwd=PROJECT, env=clean_environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        # A Ctrl-C reaches the demo too, whose last words are then reported.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            looks, printed = watch(process.stdout or (), process.pid)
        finally:
            process.terminate()
    right = report(looks, printed, 60 * warm_up)
    return 0 if right and process.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
