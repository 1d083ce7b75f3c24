"""
Whatever is sent to the queue of ``serve``, in whatever envelopes, comes to its right end.
"""

from __future__ import annotations

import json
import random
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote_plus

import pytest

from tests import records
from tests.announcements import (
    VALIDATION,
    cloudtrail,
    config,
    config_change,
    eventbridge,
    eventbridge_cloudtrail,
    eventbridge_s3,
    minio,
    s3,
    s3_record,
    s3_test,
    sns,
    subscription,
)
from tests.servers import EMPTY, Trail

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.processes import Exporter, Page

NO_HOLD = ("--metrics.new-series-hold", "0s")
ACCEPT_INLINE = ("--sqs.accept-inline-events", "true")

SHOWN = {
    "codecommit_exporter_notifications_total": ("envelope", "outcome"),
    "codecommit_exporter_messages_total": ("outcome",),
    "codecommit_exporter_log_files_total": ("outcome",),
    "codecommit_exporter_refused_total": ("reason",),
    "codecommit_exporter_events_counted_total": ("source",),
    "codecommit_events_total": (),
}
"""What tells how messages ended: metrics, and the labels that matter here."""

Happenings = Counter[tuple[str, ...]]
"""What happened how often: a metric's name without its usual parts, and values of labels."""


def happenings(page: Page) -> Happenings:
    """
    All that a page shows to have happened.
    """
    told: Happenings = Counter()
    for sample in (sample for family in page.families.values() for sample in family.samples):
        if sample.name in SHOWN:
            name = sample.name.removeprefix("codecommit_").removeprefix("exporter_")
            labels = SHOWN[sample.name]
            happening = (name.removesuffix("_total"), *(sample.labels[label] for label in labels))
            told[happening] += int(sample.value)
    return +told


def read(envelope: str, files: int = 1) -> Happenings:
    """
    A message that announces log files of one new event each.
    """
    return Counter(
        {
            ("notifications", envelope, "read"): 1,
            ("messages", "deleted"): 1,
            ("log_files", "counted"): files,
            ("events_counted", "queue"): files,
            ("events",): files,
        }
    )


def read_inline() -> Happenings:
    """
    A message that holds a new event itself.
    """
    return Counter(
        {
            ("notifications", "eventbridge_cloudtrail", "read"): 1,
            ("messages", "deleted"): 1,
            ("events_counted", "inline"): 1,
            ("events",): 1,
        }
    )


def acknowledged(envelope: str) -> Happenings:
    """
    A message that announces nothing to be read.
    """
    return Counter({("notifications", envelope, "acknowledged"): 1, ("messages", "deleted"): 1})


def left(reason: str, envelope: str = "unknown") -> Happenings:
    """
    A message that is not understood or not believed.
    """
    return Counter(
        {
            ("notifications", envelope, "refused"): 1,
            ("messages", "left"): 1,
            ("refused", reason): 1,
        }
    )


class Bucket:
    """
    The bucket that messages are about. It announces nothing itself.

    The queue hands out each message once; one that is left is a dead letter afterwards.
    """

    def __init__(self, trail: Trail, visibility_seconds: int = 30) -> None:
        trail.make_bucket()
        trail.make_queues(visibility_seconds, receives=1)
        self.trail = trail
        self.name = trail.bucket
        self._number = count()

    def log_file(self) -> str:
        """
        The key of a new log file with one new event.
        """
        key = f"my logs/{records.key(next(self._number))}"
        self.trail.deliver(key, records.log_file(records.text(event())))
        return key


def event() -> records.Record:
    """
    A new event.
    """
    return records.api_call("PutFile", "tools")


class Case(NamedTuple):
    """
    A message, which may be about log files put into the bucket for it, and what comes of it.
    """

    name: str
    message: Callable[[Bucket], str]
    expected: Happenings


def announced(bucket: Bucket, **fields: object) -> dict[str, object]:
    """
    The record with which S3 announces a new log file.
    """
    return s3_record(quote_plus(bucket.log_file(), safe="/"), bucket.name, **fields)


KNOWN = (
    Case("S3", lambda bucket: s3(announced(bucket)), read("s3")),
    Case(
        "S3, several, one of them gone",
        lambda bucket: s3(
            announced(bucket),
            s3_record("gone", bucket.name, eventName="ObjectRemoved:Delete"),
            announced(bucket, eventVersion="2.99"),
        ),
        read("s3", files=2),
    ),
    Case("MinIO", lambda bucket: minio(bucket.log_file(), bucket.name), read("s3")),
    Case(
        "S3, removal",
        lambda bucket: s3(s3_record("gone", bucket.name, eventName="ObjectRemoved:Delete")),
        acknowledged("s3"),
    ),
    Case(
        "S3, tags",
        lambda bucket: s3(s3_record("gone", bucket.name, eventName="ObjectTagging:Put")),
        acknowledged("s3"),
    ),
    Case("S3, test", lambda bucket: s3_test(bucket.name), acknowledged("s3_test")),
    Case(
        "S3 by EventBridge",
        lambda bucket: eventbridge_s3(bucket.log_file(), bucket.name),
        read("eventbridge_s3"),
    ),
    Case(
        "S3 by EventBridge, removal",
        lambda bucket: eventbridge_s3("gone", bucket.name, "Object Deleted"),
        acknowledged("eventbridge_s3"),
    ),
    Case(
        "CloudTrail",
        lambda bucket: cloudtrail(bucket.log_file(), bucket.log_file(), bucket=bucket.name),
        read("cloudtrail", files=2),
    ),
    Case("CloudTrail, validation", lambda _: VALIDATION, acknowledged("cloudtrail_validation")),
    Case("CloudTrail by EventBridge", lambda _: eventbridge_cloudtrail(event()), read_inline()),
    Case("SNS, subscription", lambda _: subscription(), acknowledged("sns_subscription")),
    Case(
        "SNS, end of subscription",
        lambda _: subscription("UnsubscribeConfirmation"),
        acknowledged("sns_subscription"),
    ),
)

LEFT = (
    Case("no JSON", lambda _: "hello", left("foreign_message")),
    Case("a log file's text", lambda _: records.text(event()), left("foreign_message")),
    Case("a record", lambda _: json.dumps(event()), left("foreign_message")),
    Case("AWS Config without an object", lambda _: sns(config_change()), left("foreign_message")),
    Case(
        "CodeCommit by EventBridge",
        lambda _: eventbridge("aws.codecommit", "CodeCommit Repository State Change", {}),
        left("foreign_message"),
    ),
    Case(
        "S3, another major version",
        lambda bucket: s3(announced(bucket), announced(bucket, eventVersion="3.0")),
        left("unreadable_message"),
    ),
    Case(
        "S3, no key",
        lambda bucket: s3(announced(bucket), s3_record("", bucket.name)),
        left("unreadable_message"),
    ),
    Case(
        "a bucket that is not allowed",
        lambda _: s3(s3_record("key", "another")),
        Counter(
            {
                ("notifications", "s3", "read"): 1,
                ("messages", "left"): 1,
                ("log_files", "failed"): 1,
                ("refused", "bucket_not_allowed"): 1,
            }
        ),
    ),
    Case(
        "four envelopes", lambda bucket: sns(s3(announced(bucket)), 4), left("unreadable_message")
    ),
)


@pytest.fixture
def bucket(unlaid_trail: Trail) -> Bucket:
    """
    A bucket and a queue of the test's own.
    """
    return Bucket(unlaid_trail)


def scrape_after(exporter: Exporter, messages: int) -> Happenings:
    """
    What has happened once so many messages have come to an end.
    """
    pages: list[Page] = []

    def ended() -> bool:
        pages.append(exporter.scrape())
        return pages[-1].value("codecommit_exporter_messages_total") == messages

    exporter.until(ended, f"{messages} messages have come to an end")
    return happenings(pages[-1])


def in_turn(exporter: Exporter, bucket: Bucket, cases: Iterable[Case]) -> None:
    """
    Send one message after the other, and see what comes of each.
    """
    before = happenings(exporter.scrape())
    for number, case in enumerate(cases, 1):
        bucket.trail.send(case.message(bucket))
        after = scrape_after(exporter, number)

        assert (case.name, case.expected) == (case.name, after - before)
        before = after


def wrapped(case: Case, envelopes: int) -> Case:
    """
    The same message in envelopes of SNS.
    """
    return Case(
        f"{case.name}, {envelopes} envelopes",
        lambda bucket: sns(case.message(bucket), envelopes),
        case.expected,
    )


def test_every_message_alone_and_nested(serve: Serve, bucket: Bucket) -> None:
    """
    Every known message is counted or acknowledged, in none to three envelopes of SNS.
    """
    exporter = serve(bucket.trail, *NO_HOLD, *ACCEPT_INLINE)
    in_turn(
        exporter,
        bucket,
        [wrapped(case, envelopes) for case in KNOWN for envelopes in range(4)],
    )

    assert EMPTY == bucket.trail.depth()


def test_every_message_that_is_left(serve: Serve, unlaid_trail: Trail) -> None:
    """
    What is not understood or not allowed is counted by reason and left to be a dead letter.

    So is an event in a message, which is not believed unless the program is told to.
    """
    bucket = Bucket(unlaid_trail, visibility_seconds=2)
    cases = [
        *LEFT,
        Case(
            "CloudTrail by EventBridge",
            lambda _: eventbridge_cloudtrail(event()),
            left("inline_event", "eventbridge_cloudtrail"),
        ),
    ]
    exporter = serve(bucket.trail, *NO_HOLD)
    in_turn(exporter, bucket, cases)

    expected = EMPTY._replace(dead=len(cases))
    exporter.until(lambda: expected == bucket.trail.depth(), "all messages are dead letters")


def test_all_messages_on_one_queue(serve: Serve, bucket: Bucket) -> None:
    """
    However messages are mixed, each comes to the same end as it does alone.
    """
    cases = [wrapped(case, envelopes) for case in KNOWN for envelopes in range(4)]
    cases += LEFT
    random.Random(4).shuffle(cases)  # noqa: S311 - any order will do
    for case in cases:
        bucket.trail.send(case.message(bucket))
    exporter = serve(bucket.trail, *NO_HOLD, *ACCEPT_INLINE)

    told = scrape_after(exporter, len(cases))

    assert sum((case.expected for case in cases), Counter()) == told
    assert EMPTY._replace(in_flight=len(LEFT)) == bucket.trail.depth()


def test_one_event_by_all_roads_counts_once(serve: Serve, bucket: Bucket) -> None:
    """
    An event is one, however many messages of however many kinds tell of it.
    """
    told = event()
    key = records.key(0)
    bucket.trail.deliver(key, records.log_file(records.text(told)))
    messages = [
        s3(s3_record(key, bucket.name)),
        minio(key, bucket.name),
        eventbridge_s3(key, bucket.name),
        cloudtrail(key, key, bucket=bucket.name),
        eventbridge_cloudtrail(told),
    ]
    for message in messages:
        bucket.trail.send(message)
        bucket.trail.send(sns(message))
    exporter = serve(bucket.trail, *NO_HOLD, *ACCEPT_INLINE)

    happened = scrape_after(exporter, 2 * len(messages))

    assert 1 == happened["events",]
    assert EMPTY == bucket.trail.depth()


FOLDER = f"AWSLogs/{records.OWNER}"
KINDS = {
    f"{FOLDER}/CloudTrail-Digest/{records.REGION}/2026/09/21/digest.json.gz": "digest",
    f"{FOLDER}/CloudTrail-Insight/{records.REGION}/2026/09/21/insight.json.gz": "insight",
    f"{FOLDER}/CloudTrail-NetworkActivity/{records.REGION}/activity.json.gz": "network_activity",
    f"{FOLDER}/CloudTrail-Aggregated/{records.REGION}/2026/aggregated.json.gz": "aggregated",
    f"{FOLDER}/CloudTrail-Lake/Query/2026/09/21/0a1b/result_1.csv.gz": "lake",
    f"o-exampleorgid/{FOLDER}/Config/ConfigWritabilityCheckFile": "config",
    f"{FOLDER}/CloudTrail/": "marker",
    f"{FOLDER}/vpcflowlogs/{records.REGION}/2026/09/21/flow.log.gz": "other_service",
}


def test_other_objects_are_not_fetched(serve: Serve, bucket: Bucket) -> None:
    """
    What is no log file by its key is acknowledged unseen: none of these objects is there.

    One message may announce all of them, and a log file is counted among them.
    """
    messages = [
        *(s3(s3_record(key, bucket.name)) for key in KINDS),
        *(eventbridge_s3(key, bucket.name) for key in KINDS),
        *(config(key, bucket.name) for key in KINDS),
        cloudtrail(*KINDS, bucket.log_file(), bucket=bucket.name),
    ]
    for message in messages:
        bucket.trail.send(message)

    happened = scrape_after(serve(bucket.trail, *NO_HOLD), len(messages))

    expected = dict.fromkeys(KINDS.values(), 4) | {"counted": 1}
    assert expected == {
        labels[0]: number for (name, *labels), number in happened.items() if name == "log_files"
    }
    assert len(messages) == happened["messages", "deleted"]
    assert EMPTY == bucket.trail.depth()


def test_no_address_of_a_message_is_opened(serve: Serve, bucket: Bucket) -> None:
    """
    A subscription is not confirmed, and no signature fetched: nobody even connects.
    """
    exporter = serve(bucket.trail, *NO_HOLD)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        urls = {"SubscribeURL": url, "UnsubscribeURL": url, "SigningCertURL": url}
        bucket.trail.send(json.dumps(json.loads(subscription()) | urls))
        bucket.trail.send(sns(s3(announced(bucket)), 1, **urls))
        scrape_after(exporter, 2)

        assert [] == select.select([server], [], [], 0.1)[0]


def test_roads_as_aws_lays_them(serve: Serve, bucket: Bucket) -> None:
    """
    Bucket to queue, by topics with and without envelopes, by EventBridge: all at once.
    """
    trail = bucket.trail
    trail.announce_on_every_road()
    for _ in range(3):
        bucket.log_file()
    trail.make_event(f"test.{trail.bucket}", "AWS API Call via CloudTrail", json.dumps(event()))
    exporter = serve(trail, *NO_HOLD, *ACCEPT_INLINE)

    happened = scrape_after(exporter, 3 + 3 * 4 + 1)

    assert {
        ("s3_test", "acknowledged"): 3,
        ("s3", "read"): 9,
        ("eventbridge_s3", "read"): 3,
        ("eventbridge_cloudtrail", "read"): 1,
    } == {
        tuple(labels): number
        for (name, *labels), number in happened.items()
        if name == "notifications"
    }
    assert 4 == happened["events",]
    assert EMPTY == trail.depth()
