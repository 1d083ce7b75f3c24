"""
Nothing is counted twice or lost where one process ends and the next begins.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from exporter.activity import Activity
from tests import oracle, records
from tests.servers import EMPTY, Trail

if TYPE_CHECKING:
    from tests.conftest import Serve


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
    exporter.until(lambda: trail.depth() == EMPTY, "the message is deleted, a moment later")
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
