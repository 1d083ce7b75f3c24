"""
README's tables of what the exporter costs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from docs.costs import Run
from tests.bench.measure import Finding, write_report

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """
    What was found by a run that met one bound and missed another.
    """
    findings = [
        Finding("CPU of a log file", 0.6, "ms"),
        Finding("decode", 1.125, "times", bound=1.25, words="of the floor"),
        Finding("faster", 2, "times", bound=3.5, at_least=True),
    ]
    path = tmp_path / "run.json"
    write_report(path, findings, measured=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    return Run.read(path)


def test_a_missed_bound_is_said_to_be_missed(run: Run) -> None:
    """
    A row has what was found, its bound if there is one, and whether it was met.
    """
    assert "2026-01-02" == run.measured
    assert [
        ("CPU of a log file", "0.60 ms", "", "", ""),
        ("decode", "1.12 times", "at most 1.25", "met", "of the floor"),
        ("faster", "2.00 times", "at least 3.5", "**missed**", ""),
    ] == run.costs()


def test_what_an_organisation_takes(run: Run) -> None:
    """
    So many log files a second, each as much CPU time as was measured.
    """
    assert ("5,000", "283.3", "0.170") in run.sizes()
