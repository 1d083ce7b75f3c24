"""
What holds on one SQS holds on another that somebody else wrote: ElasticMQ.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

import pytest

from exporter.activity import Activity
from tests import oracle, records
from tests.conftest import needs
from tests.elasticmq import ElasticMq, ElasticMqTrail, JarsUnavailable, fetch_jars, jars_folder
from tests.servers import EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exporter.activity import WrittenLogFile
    from tests.conftest import Serve
    from tests.processes import Exporter, Page
    from tests.servers import AwsServer

NO_HOLD = ("--metrics.new-series-hold", "0s")
TEXT = records.text(*records.push_pair("one", "refs/heads/a"))
OTHER_TEXT = records.text(*records.push_pair("two", "refs/heads/b"))
BODY = records.log_file(TEXT)

_TRAILS = count(1)


@pytest.fixture(scope="module")
def elasticmq(aws: AwsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ElasticMq]:
    """
    ElasticMQ beside the S3 of the whole test run.
    """
    java = needs("java")
    if not jars_folder().is_dir():
        try:
            fetch_jars(needs("mvn"))
        except JarsUnavailable as error:
            pytest.skip(f"ElasticMQ cannot be fetched: {error}")
    with ElasticMq(aws, java, tmp_path_factory.mktemp("elasticmq") / "log") as server:
        yield server


@pytest.fixture
def unlaid_trail(elasticmq: ElasticMq) -> Iterator[ElasticMqTrail]:
    """
    A trail of the test's own, of which nothing exists yet.
    """
    trail = ElasticMqTrail(elasticmq, f"elasticmq-{next(_TRAILS)}")
    yield trail
    trail.close()


@pytest.fixture
def trail(unlaid_trail: ElasticMqTrail) -> ElasticMqTrail:
    """
    A trail of the test's own, whose messages come back after a second.
    """
    return unlaid_trail.lay(visibility_seconds=1)


def written(seed: int, *, files: int) -> list[WrittenLogFile]:
    """
    Log files of which every fifth repeats an earlier one under another key.
    """
    activity = Activity(seed, repositories=3)
    now = datetime.now(UTC)
    several: list[WrittenLogFile] = []
    for number in range(files):
        repeats = number % 5 == 4
        several.append(
            activity.repeat(several[-3], now) if repeats else activity.log_file(now, records=10)
        )
    return several


def totals_of(files: Iterable[WrittenLogFile]) -> oracle.Totals:
    """
    What an independent count of these files comes to, in any order.
    """
    return oracle.in_any_order(oracle.count(file.inflated.decode() for file in files))


def put(trail: ElasticMqTrail, files: Iterable[WrittenLogFile]) -> None:
    """
    Put log files into the bucket and announce none.
    """
    for file in files:
        trail.put(file.key, file.body)


def announce(trail: ElasticMqTrail, files: Iterable[WrittenLogFile]) -> None:
    """
    Announce log files, each in a message of its own.
    """
    for file in files:
        trail.send(trail.announcement(file.key))


def page_after_the_queue(exporter: Exporter, trail: ElasticMqTrail, *, dead: int = 0) -> Page:
    """
    The page once no message is left, but for those in the dead-letter queue.
    """
    exporter.until(lambda: trail.depth() == EMPTY._replace(dead=dead), "the queue is empty")
    return exporter.scrape()


def test_log_files_that_come_again(serve: Serve, trail: ElasticMqTrail) -> None:
    """
    Files that come under two keys, and announcements that come twice, are counted once.
    """
    files = written(seed=1, files=40)
    put(trail, files)
    announce(trail, files + files[::7])

    page = page_after_the_queue(serve(trail, *NO_HOLD), trail)

    assert totals_of(files) == oracle.in_any_order(page.totals())


def test_killed_twice(serve: Serve, elasticmq: ElasticMq, trail: ElasticMqTrail) -> None:
    """
    What a killed process had in hand comes back to the next one, and all is counted once.

    The first has every message in hand and none finished, the second is in the midst of it.
    """
    files = written(seed=2, files=40)
    put(trail, files)
    first = serve(trail, *NO_HOLD).ready()
    with elasticmq.s3_halted():
        announce(trail, files)
        first.until(lambda: trail.depth().in_flight == len(files), "all messages are in hand")
        first.kill()
    second = serve(trail, *NO_HOLD)
    second.until(
        lambda: second.scrape().value("codecommit_exporter_log_files_total") > 0,
        "counting has begun",
    )
    second.kill()
    page = page_after_the_queue(serve(trail, *NO_HOLD), trail)

    assert totals_of(files) == oracle.in_any_order(page.totals())


def test_a_stop_leaves_nothing_in_flight(
    serve: Serve, elasticmq: ElasticMq, unlaid_trail: ElasticMqTrail
) -> None:
    """
    SIGTERM gives back all that is in hand: what has been begun, and what has not.

    The visibility timeout is so long that no message comes back by itself. One receive is
    under way, since the queue is empty; it gets none of them for good either.
    """
    trail = unlaid_trail.lay(visibility_seconds=600)
    exporter = serve(trail, *NO_HOLD, "--shutdown.grace", "4s").ready()
    with elasticmq.s3_halted():
        for number in range(50):
            trail.send(trail.announcement(records.key(number)))
        exporter.until(lambda: trail.depth().in_flight == 50, "all messages are in hand")
        code = exporter.terminate()

    assert (0, EMPTY._replace(visible=50)) == (code, trail.depth())


def test_a_long_fetch(serve: Serve, elasticmq: ElasticMq, unlaid_trail: ElasticMqTrail) -> None:
    """
    A message whose file takes longer than the visibility timeout is received only once.

    Another consumer waits for it all the while, twice as long as the timeout.
    """
    trail = unlaid_trail.lay(visibility_seconds=2)
    trail.put(records.key(1), BODY)
    exporter = serve(trail, *NO_HOLD).ready()
    with elasticmq.s3_halted():
        trail.send(trail.announcement(records.key(1)))
        exporter.until(lambda: trail.depth().in_flight == 1, "the message is in hand")
        received_elsewhere = trail.receive(wait_seconds=4)
    page = page_after_the_queue(exporter, trail)

    assert [] == received_elsewhere
    assert 1 == page.value("codecommit_exporter_notifications_total", outcome="read")
    assert oracle.count([TEXT]) == page.totals()


def test_a_damaged_file(serve: Serve, unlaid_trail: ElasticMqTrail) -> None:
    """
    It is tried as often as the redrive policy says; then its message is a dead letter.
    """
    trail = unlaid_trail.lay(visibility_seconds=1, receives=2)
    trail.deliver(records.key(1), BODY[:-9])
    trail.deliver(records.key(2), BODY)

    page = page_after_the_queue(serve(trail, *NO_HOLD), trail, dead=1)

    assert oracle.count([TEXT]) == page.totals()
    assert 2 == page.value("codecommit_exporter_refused_total")


def test_a_redrive(serve: Serve, trail: ElasticMqTrail) -> None:
    """
    Dead letters are shown, and once redriven they add what was missing and nothing twice.

    One announces a file that has been counted, the other that one and a second.
    """
    trail.deliver(records.key(1), BODY)
    trail.put(records.key(2), records.log_file(OTHER_TEXT))
    trail.bury(trail.announcement(records.key(1)))
    trail.bury(trail.announcement(records.key(1), records.key(2)))
    exporter = serve(trail, *NO_HOLD)

    def dead_letters() -> float:
        return exporter.scrape().value("codecommit_exporter_queue_messages", state="dead_letter")

    def deleted() -> float:
        redriven = exporter.scrape().value("codecommit_exporter_messages_total", outcome="deleted")
        return redriven - before.value("codecommit_exporter_messages_total", outcome="deleted")

    exporter.until(lambda: dead_letters() == 2, "the dead letters are shown")
    before = page_after_the_queue(exporter, trail, dead=2)
    trail.redrive()
    exporter.until(lambda: deleted() == 2, "both are deleted")
    page = page_after_the_queue(exporter, trail)

    assert oracle.count([TEXT]) == before.totals()
    assert oracle.count([TEXT, OTHER_TEXT]) == page.totals()
