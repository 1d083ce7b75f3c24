"""
Nothing is counted twice, lost or taken back, however often the process ends.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from exporter.activity import Activity
from tests import oracle, records
from tests.servers import EMPTY, Trail

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.processes import Page

KILLS = 5


class Deliveries(threading.Thread):
    """
    Log files that keep arriving inside the ``with`` block, now and then repeated.
    """

    def __init__(self, trail: Trail, seed: int) -> None:
        super().__init__(name="deliveries")
        self._trail = trail
        self._activity = Activity(seed, repositories=2)
        self._over = threading.Event()
        self.texts: list[str] = []
        """What has been delivered, in order."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """
        Deliver a file in three: once, under two keys, twice under one key.
        """
        while not self._over.wait(0.1):
            now = datetime.now(UTC)
            once, twice, again = (self._activity.log_file(now, records=20) for _ in range(3))
            for file in (once, twice, again, self._activity.repeat(twice, now), again):
                self._trail.deliver(file.key, file.body)
                self.texts.append(file.inflated.decode())


def taken_back(pages: list[Page]) -> list[tuple[object, float, float | None]]:
    """
    Every sample that fell, or went missing, from one page to the next.
    """
    return [
        (series, before, after.get(series))
        for earlier, after in pairwise(page.growing() for page in pages)
        for series, before in earlier.items()
        if after.get(series, -1.0) < before
    ]


def test_killed_again_and_again(serve: Serve, unlaid_trail: Trail) -> None:
    """
    Killed in the midst of counting and started anew, no sample goes back and all end right.
    """
    trail = unlaid_trail.lay(visibility_seconds=1)
    pages: list[Page] = []

    def counted() -> float:
        pages.append(exporter.scrape())
        return pages[-1].value("codecommit_events_total")

    def counts(events: float) -> bool:
        return counted() >= events

    with Deliveries(trail, seed=99) as deliveries:
        for _ in range(KILLS):
            exporter = serve(trail, "--metrics.new-series-hold", "1s")
            enough = counted() + 20
            exporter.until(partial(counts, enough), "more events are counted")
            exporter.kill()
    exporter = serve(trail, "--metrics.new-series-hold", "1s")
    exporter.until(lambda: trail.depth() == EMPTY, "the queue is empty")
    expected = oracle.count(deliveries.texts)
    events = sum(expected["codecommit_events_total"].values())
    exporter.until(partial(counts, events), "all events are shown")
    time.sleep(1.0)  # for the last of the other families' holds
    pages.append(exporter.scrape())

    assert [] == taken_back(pages)
    assert oracle.in_any_order(expected) == oracle.in_any_order(pages[-1].totals())


def test_a_message_that_returns_after_its_commit(serve: Serve, trail: Trail) -> None:
    """
    Announcements that come once more to another process add nothing.
    """
    text = records.text(*records.push_pair("one", "refs/heads/a"))
    trail.deliver(records.key(1), records.log_file(text))
    exporter = serve(trail, "--metrics.new-series-hold", "0s")
    exporter.until(
        lambda: exporter.scrape().totals() == oracle.count([text]), "the push is counted"
    )
    exporter.kill()
    trail.deliver(records.key(1), records.log_file(text))
    exporter = serve(trail, "--metrics.new-series-hold", "0s")
    exporter.until(lambda: trail.depth() == EMPTY, "the queue is empty")

    page = exporter.scrape()

    assert oracle.count([text]) == page.totals()
    assert 2 == page.value("codecommit_exporter_duplicate_events_total")


def test_a_stop_leaves_nothing_in_hand(serve: Serve, unlaid_trail: Trail) -> None:
    """
    SIGTERM ends the process with 0; what was not finished is released for the next to count.

    The visibility timeout is longer than the test: a message still in flight would not come
    back in time.
    """
    trail = unlaid_trail.lay(visibility_seconds=600)
    activity = Activity(seed=7)
    files = [activity.log_file(datetime.now(UTC), records=20) for _ in range(100)]
    for file in files:
        trail.deliver(file.key, file.body)
    exporter = serve(trail, "--metrics.new-series-hold", "0s", "--shutdown.grace", "10s")
    exporter.until(
        lambda: exporter.scrape().value("codecommit_exporter_events_counted_total") > 0,
        "counting has begun",
    )

    assert 0 == exporter.terminate()
    assert 0 == trail.depth().in_flight
    successor = serve(trail, "--metrics.new-series-hold", "0s")
    successor.until(lambda: trail.depth() == EMPTY, "the queue is empty")

    expected = oracle.count(file.inflated.decode() for file in files)
    assert oracle.in_any_order(expected) == oracle.in_any_order(successor.scrape().totals())
