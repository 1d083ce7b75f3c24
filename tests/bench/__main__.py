"""
All of ``make bench``: what decoding, counting, the page and the start cost, in one run.

Each part prints its table when it is done. With ``--json`` the findings are written to a
file as well, from which README's tables are made.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from tests.bench import clocks, decode, endtoend, exposition, lag, otlp, startup
from tests.bench.measure import Finding, Machine, show, write_report

Part = Callable[[], Sequence[Finding]]

PARTS: dict[str, tuple[str, Part, Part]] = {
    "decode": (
        "Decoding a log file, beside inflating it and one search",
        decode.findings,
        lambda: decode.findings(files=12, rounds=1, big_bytes=2_000_000),
    ),
    "endtoend": (
        "From the queue to the ledger, beside a plain GET, inflating and one search",
        endtoend.findings,
        lambda: endtoend.findings(files=24, rounds=1),
    ),
    "threads": (
        "With a second thread for decoding",
        clocks.findings,
        lambda: clocks.findings(files=24, rounds=1),
    ),
    "lag": (
        "The event loop meanwhile",
        lag.findings,
        lambda: lag.findings(files=24, big_bytes=2_000_000),
    ),
    "startup": (
        "From exec to ready, beside importing the libraries",
        startup.findings,
        lambda: startup.findings(rounds=1),
    ),
    "otlp": (
        "With OTLP off, beside no code for it, and with endpoints that take nothing",
        otlp.findings,
        lambda: otlp.findings(starts=1, files=24, rounds=1),
    ),
    "page": (
        "The page, beside prometheus_client's and a copy of its bytes",
        exposition.findings,
        lambda: exposition.findings(lines=500, rounds=1),
    ),
}
"""What is measured: its title, and how, in full and small."""


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Measure what is asked for, print the tables and write the report.
    """
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage='make bench BENCH_ARGS="[--json PATH] [--small] [PART ...]"',
        epilog="All parts together take some ten minutes. A missed bound is printed as missed.",
        allow_abbrev=False,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; or all")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the findings there")
    parser.add_argument("--small", action="store_true", help="only see whether it works")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if chosen.json and chosen.small:
        parser.error("--json: the figures of a small run mean nothing; leave out --small")
    if chosen.json and not chosen.json.parent.is_dir():
        parser.error(f"--json: {chosen.json.parent} is no folder")
    console = Console()
    console.print(f"On {Machine.this()}.")
    begun, measured = time.monotonic(), datetime.now(UTC)
    found: list[Finding] = []
    for name in chosen.parts or PARTS:
        title, full, small = PARTS[name]
        findings = (small if chosen.small else full)()
        show(title, findings)
        found += findings
    if chosen.small:
        console.print("A small run: its figures say nothing about the bounds.")
        return
    missed = [finding.name for finding in found if finding.met is False]
    console.print(f"It took {time.monotonic() - begun:.0f} s. Missed: {len(missed) or 'nothing'}")
    for name in missed:
        console.print(f"- {name}")
    if chosen.json:
        write_report(chosen.json, found, measured=measured)


if __name__ == "__main__":
    main()
