"""
A new series is shown at 0 first, so that Prometheus sees it grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import oracle, records

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.processes import Exporter, Page
    from tests.servers import Trail

HOLD = ("--metrics.new-series-hold", "2s")
PUSH = records.text(*records.push_pair("one", "refs/heads/a", "refs/tags/b"))
PUSHED = oracle.count([PUSH])
GAUGE = "codecommit_repository_info"
ZERO = {sample: dict.fromkeys(series, 0.0) for sample, series in PUSHED.items()} | {
    GAUGE: PUSHED[GAUGE]  # which is never held
}
NOTHING: oracle.Totals = {sample: {} for sample in PUSHED}


@pytest.fixture
def pushed(trail: Trail) -> Trail:
    """
    A trail with one push.
    """
    trail.deliver(records.key(1), records.log_file(PUSH))
    return trail


def pages_until(exporter: Exporter, totals: oracle.Totals) -> list[Page]:
    """
    Every page up to the first that shows these totals.
    """
    pages: list[Page] = []

    def shown() -> bool:
        pages.append(exporter.scrape())
        return pages[-1].totals() == totals

    exporter.until(shown, f"the page shows {totals}")
    return pages


def test_zero_comes_first(serve: Serve, pushed: Trail) -> None:
    """
    All series of a push are there at 0, on more than one page, then at their value.
    """
    exporter = serve(pushed, *HOLD)
    pages = pages_until(exporter, PUSHED)

    assert 0 == exporter.terminate()
    steps = [page.totals() for page in pages if page.totals() != NOTHING]
    assert [ZERO, PUSHED] == [step for step in (ZERO, PUSHED) if step in steps]
    assert [PUSHED] == [step for step in steps if step != ZERO]
    assert 2 < len(steps)


def test_a_crash_inside_the_hold(serve: Serve, pushed: Trail) -> None:
    """
    After a crash inside the hold the next page shows 0 again, and the value comes later.
    """
    crashed = serve(pushed, *HOLD)
    pages_until(crashed, ZERO)
    crashed.kill()

    pages = pages_until(serve(pushed, *HOLD), PUSHED)

    assert ZERO == pages[0].totals()


def test_a_crash_after_the_hold(serve: Serve, pushed: Trail) -> None:
    """
    A value that has been shown is the first that a later process shows.
    """
    crashed = serve(pushed, *HOLD)
    pages_until(crashed, PUSHED)
    crashed.kill()

    page = serve(pushed, *HOLD).scrape()

    assert PUSHED == page.totals()
