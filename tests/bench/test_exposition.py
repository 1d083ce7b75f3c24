"""
The benchmark of the page keeps working, and compares like with like.
"""

from __future__ import annotations

import sys

import pytest
from prometheus_client import CollectorRegistry

from exporter.metrics import OPENMETRICS, Page
from tests.bench import exposition
from tests.bench.exposition import Duel, Invented


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
@pytest.mark.parametrize("with_exemplars", [False, True])
def test_both_make_the_same_page(accept: str, with_exemplars: bool) -> None:
    """
    Before and after a change; a page that shows something else is no match.
    """
    invented = Invented(1000, with_exemplars=with_exemplars)
    duel = Duel(invented, accept)
    before = duel.is_fair()
    invented.change()
    after = duel.is_fair()
    series = invented.view.series
    assert isinstance(series, dict)
    series.popitem()

    assert (True, True, False) == (before, after, duel.is_fair())


def test_the_page_has_as_many_lines_as_it_says() -> None:
    """
    Up to one repository more or less.
    """
    page = Page(CollectorRegistry(), Invented(1000).view)
    lines = page.answer(now_ms=exposition.NOW_MS).body.count(b"\n")

    assert 1000 <= lines < 1100


def test_every_page_is_found_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Each format is told beside the library, and the event loop beside each kind of page.
    """
    monkeypatch.setattr(sys, "argv", ["exposition", "--lines", "500", "--rounds", "1"])
    monkeypatch.setenv("COLUMNS", "200")
    exposition.main()
    printed = capsys.readouterr().out

    assert [3, 3, 3] == [printed.count(page) for page in ("text, ", "OpenMetrics, ", "exemplars, ")]
    assert 9 == printed.count("times faster")
    assert 4 == printed.count("event loop beside")
