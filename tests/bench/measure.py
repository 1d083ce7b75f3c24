"""
Costs beside each other, and what is found about them.

A machine's seconds mean nothing elsewhere, and on a shared machine not even a minute later.
Hence two ways of doing a thing are measured turn by turn in one run, as CPU time, and what
is told is the median of the ratios of the turns.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

PRINTED_COLUMNS = 150
VERDICT = {True: "met", False: "missed", None: ""}


@dataclass(frozen=True, slots=True)
class Pair:
    """
    One thing done in two ways, ours and another, measured as many times each, in turns.

    Both series are CPU seconds, of any number of turns but none: ``ValueError`` if there is
    no turn, or one of ours without its other.
    """

    name: str
    ours: Sequence[float]
    other: Sequence[float]

    def __post_init__(self) -> None:
        if not self.ours or len(self.ours) != len(self.other):
            raise ValueError(f"{self.name}: {len(self.ours)} and {len(self.other)} are no pairs")

    @property
    def ratio(self) -> float:
        """
        How many times the other's cost ours is: the median over the turns.
        """
        return median(ours / other for ours, other in zip(self.ours, self.other, strict=True))

    @property
    def ours_median(self) -> float:
        """
        In CPU seconds.
        """
        return median(self.ours)

    @property
    def other_median(self) -> float:
        """
        In CPU seconds.
        """
        return median(self.other)


def interleave(
    name: str, rounds: int, ours: Callable[[], float], other: Callable[[], float]
) -> Pair:
    """
    Measure two ways in turns; every second turn begins with the other one.

    Args:
        name: Of the pair.
        rounds: How many turns; at least one.
        ours: Does the work our way and tells the CPU seconds it took.
        other: The same the other way.
    """
    turns: dict[Callable[[], float], list[float]] = {ours: [], other: []}
    for number in range(rounds):
        for way in (ours, other) if number % 2 == 0 else (other, ours):
            turns[way].append(way())
    return Pair(name, turns[ours], turns[other])


def cpu_seconds(work: Callable[[], object]) -> float:
    """
    User and system time that a piece of work takes in all threads of this process.

    What earlier work left to collect is collected before and not charged to it.
    """
    gc.collect()
    before = time.process_time()
    work()
    return time.process_time() - before


def peak_rss_bytes(pid: int) -> int:
    """
    The most memory that a running process ever held, on Linux; ``OSError`` elsewhere.

    Not by ``ru_maxrss``: a process inherits that of the one that started it, so a small child
    of a large process would seem large itself.
    """
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    peak = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    if not peak:
        raise OSError(f"process {pid} has ended")
    return int(peak[1]) * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """
    A figure, and what it was to be.

    Args:
        name: What the figure is about, unique in a run: ``decode org``.
        figure: In the unit.
        unit: ``times``, ``MiB``, ``ms``.
        bound: The most that it may be, in the unit; None where the figure is only told.
        at_least: The bound is the least that it may be.
        words: What it comes from: ``0.21 ms a file, floor 0.18 ms``.
    """

    name: str
    figure: float
    unit: str
    bound: float | None = None
    at_least: bool = False
    words: str = ""

    @property
    def met(self) -> bool | None:
        """
        Whether the figure keeps to its bound; None without one.
        """
        if self.bound is None:
            return None
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound

    @property
    def bound_text(self) -> str:
        """
        The bound as people read it, empty without one.
        """
        if self.bound is None:
            return ""
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}"


def table(title: str, findings: Iterable[Finding]) -> Table:
    """
    A row for each finding; what it comes from is all that may take several lines.
    """
    shown = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in ("what", "figure", "bound", ""):
        shown.add_column(column, justify="right" if column == "figure" else "left", overflow="fold")
    shown.add_column("measured", overflow="fold")
    for each in findings:
        figure, verdict = f"{each.figure:,.2f} {each.unit}", VERDICT[each.met]
        style = "red" if each.met is False else None
        shown.add_row(each.name, figure, each.bound_text, verdict, each.words, style=style)
    return shown


def show(title: str, findings: Iterable[Finding]) -> None:
    """
    Print the table, wide enough to be read where no terminal says how wide it is.
    """
    console = Console(width=None if sys.stdout.isatty() else PRINTED_COLUMNS)
    console.print(table(title, findings))


@dataclass(frozen=True, slots=True)
class Machine:
    """
    Where a run took place.
    """

    cpu: str
    cores: int
    python: str
    system: str

    @classmethod
    def this(cls) -> Machine:
        """
        The one that runs this.
        """
        python = f"{platform.python_implementation()} {platform.python_version()}"
        return cls(_cpu_model(), os.cpu_count() or 1, python, _system())

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} cores, {self.python}, {self.system}"


def _cpu_model() -> str:
    """
    As the kernel tells it; Python itself knows it on few systems.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform(terse=True)


def report(findings: Iterable[Finding], *, measured: datetime) -> dict[str, object]:
    """
    A run in the form of JSON: when, where, and what was found.
    """
    return {
        "measured": measured.isoformat(timespec="seconds"),
        "machine": asdict(Machine.this()),
        "findings": [asdict(each) | {"met": each.met} for each in findings],
    }


def write_report(path: Path, findings: Iterable[Finding], *, measured: datetime) -> None:
    """
    The same as a file; ``OSError`` where it cannot be written.
    """
    text = json.dumps(report(findings, measured=measured), indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")
