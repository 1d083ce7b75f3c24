"""
What decoding log files costs, beside the least it could cost.

The floor inflates every file in one call and searches its text for CodeCommit's name; no
reader of these files can do less. Both are measured as CPU time of this process, turn by
turn in one run, and told as a ratio: the seconds of a machine mean nothing elsewhere.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median

from isal import isal_zlib
from rich.console import Console
from rich.table import Table

from exporter.activity import Activity
from exporter.cloudtrail import decode

GZIP_WINDOW_BITS = 31
INFLATED_BYTES_MAX = 1 << 30
DELIVERED = datetime(2026, 1, 1, tzinfo=UTC)
QUIET_SHARE = 0.85
"""How many files of an organisation hold no CodeCommit record."""


def corpus(files: int, *, codecommit: float, quiet: float, seed: int = 1) -> list[bytes]:
    """
    Bodies of log files.

    Args:
        files: How many.
        codecommit: The share of CodeCommit records over all files.
        quiet: The share of files without any.
        seed: Decides everything left to chance.
    """
    activity, chance = Activity(seed), Random(seed)  # noqa: S311 - invents activity
    return [
        activity.log_file(
            DELIVERED + timedelta(seconds=number),
            codecommit=0.0 if chance.random() < quiet else codecommit / (1 - quiet),
        ).body
        for number in range(files)
    ]


def decode_all(bodies: Iterable[bytes]) -> int:
    """
    The program's way; returns the events found.
    """
    return sum(len(decode(body, inflated_bytes_max=INFLATED_BYTES_MAX).events) for body in bodies)


def floor(bodies: Iterable[bytes]) -> int:
    """
    The least work; returns the files that name CodeCommit.
    """
    return sum(b"codecommit" in isal_zlib.decompress(body, GZIP_WINDOW_BITS) for body in bodies)


def ratios(bodies: Sequence[bytes], rounds: int) -> Iterator[tuple[float, float]]:
    """
    CPU seconds of decoding and of the floor, measured in turns.
    """
    for _ in range(rounds):
        yield cpu_seconds(decode_all, bodies), cpu_seconds(floor, bodies)


def cpu_seconds(work: Callable[[Sequence[bytes]], object], bodies: Sequence[bytes]) -> float:
    """
    User and system time of a piece of work.
    """
    before = time.process_time()
    work(bodies)
    return time.process_time() - before


def main() -> None:
    """
    Measure two corpora and print the table.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--files", type=int, default=400, help="log files in a corpus")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each")
    arguments = parser.parse_args()
    table = Table(title="Decoding beside inflating and one search, the floor (CPU)")
    table.caption = "org: 2 % CodeCommit, 85 % of files without; git: 30 % in every file"
    for column in ("corpus", "files", "decode, ms a file", "floor, ms a file", "ratio, median"):
        table.add_column(column, justify="left" if column == "corpus" else "right")
    for name, codecommit, quiet in (
        ("org", 0.02, QUIET_SHARE),
        ("git", 0.30, 0.0),
    ):
        bodies = corpus(arguments.files, codecommit=codecommit, quiet=quiet)
        measured = list(ratios(bodies, arguments.rounds))
        table.add_row(
            name,
            str(len(bodies)),
            f"{1000 * median(ours for ours, _ in measured) / len(bodies):.3f}",
            f"{1000 * median(least for _, least in measured) / len(bodies):.3f}",
            f"{median(ours / least for ours, least in measured):.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
