"""
What a run of the benchmark found, as README's tables.

``make bench BENCH_ARGS="--json docs/bench.json"`` writes the run that README tells of; the
tables are made from that file alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

RUN = Path(__file__).parent / "bench.json"

FILES_OF_AN_ACCOUNT = 17
"""How many log files an account brings in five minutes: about one for each Region that is
enabled by default."""
ORGANISATIONS = (10, 100, 1_000, 5_000)
VERDICT = {True: "met", False: "**missed**", None: ""}

Rows = list[Sequence[str]]


class Run(NamedTuple):
    """
    A run: when, on which machine, and the findings by their names.
    """

    measured: str
    machine: str
    findings: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, path: Path = RUN) -> Run:
        """
        The run in a file that ``make bench`` wrote.
        """
        told = json.loads(path.read_text(encoding="utf-8"))
        machine = told["machine"]
        words = f"{machine['cpu']}, {machine['cores']} cores, {machine['python']}"
        findings = {finding["name"]: finding for finding in told["findings"]}
        return cls(told["measured"][:10], words, findings)

    def costs(self) -> Rows:
        """
        A row for each finding: what, figure, bound, whether it was met, where it comes from.
        """
        return [
            (
                name,
                f"{finding['figure']:,.2f} {finding['unit']}",
                _bound(finding),
                VERDICT[finding["met"]],
                finding["words"],
            )
            for name, finding in self.findings.items()
        ]

    def sizes(self) -> Rows:
        """
        A row for each size of organisation: accounts, log files a second, CPU.
        """
        seconds_a_file = self.findings["CPU of a log file"]["figure"] / 1000
        return [
            (f"{accounts:,}", f"{files:,.1f}", f"{files * seconds_a_file:.3f}")
            for accounts in ORGANISATIONS
            for files in [accounts * FILES_OF_AN_ACCOUNT / 300]
        ]


def _bound(finding: dict[str, Any]) -> str:
    if finding["bound"] is None:
        return ""
    return f"{'at least' if finding['at_least'] else 'at most'} {finding['bound']:g}"
