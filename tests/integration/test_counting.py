"""
Log files that reach ``serve`` through the bucket's own notifications are counted right.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from exporter.activity import Activity
from tests import oracle, records
from tests.servers import EMPTY, Trail

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.processes import Exporter, Page

NO_HOLD = ("--metrics.new-series-hold", "0s")


def put(trail: Trail, *json_texts: str) -> None:
    """
    Put log files into the bucket.
    """
    for number, json_text in enumerate(json_texts):
        trail.deliver(records.key(number), records.log_file(json_text))


def page_after_the_queue(exporter: Exporter, trail: Trail, *, dead: int = 0) -> Page:
    """
    The page once no message is left, but for those that nobody could use.
    """
    exporter.until(lambda: trail.depth() == EMPTY._replace(dead=dead), "the queue is empty")
    return exporter.scrape()


def test_two_hundred_log_files(serve: Serve, trail: Trail) -> None:
    """
    Every series of 200 log files equals an independent count, and no message is left.
    """
    activity = Activity(seed=2011)
    files = [activity.log_file(datetime.now(UTC)) for _ in range(200)]
    expected = oracle.count(file.inflated.decode() for file in files)
    exporter = serve(trail, *NO_HOLD)
    for file in files:
        trail.deliver(file.key, file.body)

    page = page_after_the_queue(exporter, trail)

    assert oracle.in_any_order(expected) == oracle.in_any_order(page.totals())


def test_every_event_has_a_delivery_time(serve: Serve, trail: Trail) -> None:
    """
    Each event that is counted is observed in its delivery histogram, under the same labels.
    """
    put(trail, records.text(*records.push_pair("one"), records.api_call("GetBranch", "two")))

    page = page_after_the_queue(serve(trail, *NO_HOLD), trail)

    samples = {
        tuple(sample.labels[label] for label in oracle.LABELS["codecommit_events_total"]): (
            sample.value
        )
        for sample in page.families["codecommit_event_delivery_seconds"].samples
        if sample.name == "codecommit_event_delivery_seconds_count"
    }
    assert page.totals()["codecommit_events_total"] == samples
    assert 3 == len(samples)


def test_repeats_count_once(serve: Serve, trail: Trail) -> None:
    """
    An event counts once: in a file put again, in another file, under a shared id.
    """
    shared = {"sharedEventID": "0A0B0C0D-1111-4222-8333-444455556666"}
    first = records.push("one", "refs/heads/a", **shared)
    twin = records.push("one", "refs/heads/a", **shared)
    once = records.text(first, records.api_call("PutFile", "one"))
    put(trail, once, once, records.text(twin))
    put(trail, once)

    page = page_after_the_queue(serve(trail, *NO_HOLD), trail)

    assert oracle.count([once]) == page.totals()
    assert 2 == page.value("codecommit_events_total")


def test_a_strangers_typing_makes_no_series(serve: Serve, trail: Trail) -> None:
    """
    What a failed request names is shown only if the same file shows that it exists.
    """
    text = records.text(
        records.denied("GetFile", "there"),
        records.denied("GetFile", "not-there"),
        records.api_call("GetFile", "there"),
    )
    put(trail, text)

    page = page_after_the_queue(serve(trail, *NO_HOLD), trail)

    assert oracle.count([text]) == page.totals()
    assert {"there", ""} == {
        repository for _, _, repository, *_ in page.totals()["codecommit_events_total"]
    }


@pytest.fixture(params=["own", "guide"])
def samples(request: pytest.FixtureRequest) -> str:
    """
    Six documentation samples, of which five share one eventID that is no UUID.
    """
    if request.param == "own":
        return records.text(*records.documentation_samples())
    shared_data: Path = request.getfixturevalue("shared_data")
    return (shared_data / "seed_doc_records_fixed.json").read_text()


def test_documentation_samples(serve: Serve, trail: Trail, samples: str) -> None:
    """
    Events whose ids are no UUIDs are told apart by what they say: six events, one push.
    """
    put(trail, samples, samples)

    page = page_after_the_queue(serve(trail, *NO_HOLD), trail)

    assert oracle.count([samples]) == page.totals()
    assert 6 == page.value("codecommit_events_total")
    assert 1 == page.value("codecommit_pushes_total")


def test_trailing_commas(serve: Serve, unlaid_trail: Trail, samples: str) -> None:
    """
    A file that is no JSON is refused as a whole, and its message left to be a dead letter.
    """
    trail = unlaid_trail.lay(visibility_seconds=1, receives=2)
    invalid = records.with_trailing_commas(samples)
    with pytest.raises(json.JSONDecodeError):
        json.loads(invalid)
    put(trail, invalid)

    page = page_after_the_queue(serve(trail, *NO_HOLD), trail, dead=1)

    assert {} == page.growing()
    assert 1 <= page.value("codecommit_exporter_refused_total", reason="malformed_log_file")
    assert 1 <= page.value("codecommit_exporter_log_files_total", outcome="failed")
    assert 0 == page.value("codecommit_exporter_log_files_total", outcome="counted")


@pytest.fixture
def real_log_files(shared_data: Path) -> list[str]:
    """
    55 real CloudTrail log files, none with an event of CodeCommit.
    """
    folder = shared_data / "cloudtrail-real-2023"
    return [path.read_text() for path in sorted(folder.glob("*.json"))]


def test_real_log_files(serve: Serve, trail: Trail, real_log_files: list[str]) -> None:
    """
    Real log files without CodeCommit are all read, without error, and nothing is counted.
    """
    put(trail, *real_log_files)

    page = page_after_the_queue(serve(trail, *NO_HOLD), trail)

    assert {} == page.growing()
    assert 55 == page.value("codecommit_exporter_log_files_total", outcome="no_codecommit")
    assert 55 == page.value("codecommit_exporter_log_files_total")
    assert 0 == page.value("codecommit_exporter_refused_total")
    assert 0 == page.value("codecommit_exporter_records_invalid_total")


def test_one_push_among_real_log_files(
    serve: Serve, trail: Trail, real_log_files: list[str], shared_data: Path
) -> None:
    """
    One real GitPush record in the middle of a real log file is one push.
    """
    envelope = json.loads((shared_data / "real_gitpush_ssh_eventbridge.json").read_text())
    file = json.loads(real_log_files[20])
    file["Records"].insert(len(file["Records"]) // 2, envelope["detail"])
    real_log_files[20] = json.dumps(file)
    put(trail, *real_log_files)

    page = page_after_the_queue(serve(trail, *NO_HOLD), trail)

    assert oracle.count(real_log_files) == page.totals()
    assert 1 == page.value("codecommit_pushes_total", repository="MyDemoRepo", protocol="SSH")
    assert 1 == page.value("codecommit_events_total")


def test_several_queues(serve: Serve, trail: Trail, second_trail: Trail) -> None:
    """
    One exporter consumes several queues, each with the bucket that announces on it.
    """
    texts = [records.text(records.api_call("PutFile", name)) for name in ("one", "two")]
    put(trail, texts[0])
    put(second_trail, texts[1])
    exporter = serve(
        trail,
        *NO_HOLD,
        *("--sqs.queue-url", second_trail.queue_url),
        *("--s3.allowed-bucket", second_trail.bucket),
    )

    page_after_the_queue(exporter, second_trail)
    page = page_after_the_queue(exporter, trail)

    assert oracle.count(texts) == page.totals()
    assert {trail.queue, second_trail.queue} == {
        sample.labels["queue"]
        for sample in page.families["codecommit_exporter_queue_messages"].samples
    }


def test_nobody_is_named_in_the_log(serve: Serve, unlaid_trail: Trail) -> None:
    """
    Whatever happens to a log file or message, the log tells nothing of people and their work.
    """
    trail = unlaid_trail.lay(visibility_seconds=1, receives=2)
    good = records.text(
        *records.push_pair("one", "refs/heads/secret-plan"), records.denied("GetFile", "one")
    )
    put(trail, good, records.with_trailing_commas(good), good[:-30])
    trail.deliver(records.key(4), records.log_file(good)[:-20])
    trail.send(json.dumps(records.denied("GetFile", "one")))
    exporter = serve(trail, *NO_HOLD)

    page_after_the_queue(exporter, trail, dead=4)
    code = exporter.terminate()

    assert 0 == code
    assert [] == [detail for detail in records.PERSONAL if detail in exporter.log]
