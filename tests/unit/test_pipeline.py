"""
The story of one message, and what is left of it wherever it stops.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import math
import secrets
import threading
import time
import weakref
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from exporter import cloudtrail, pipeline
from exporter.cloudtrail import Decoded, decode, decode_at_once
from exporter.errors import (
    ForeignMessage,
    InlineEvent,
    LedgerUnavailable,
    LogFileMissing,
    MalformedLogFile,
    OversizedLogFile,
    QueueUnavailable,
    RefusedBucket,
    UnreadableMessage,
)
from exporter.families import EVENT_DELIVERY, Series
from exporter.ledger.book import Policy
from exporter.ledger.memory import MemoryLedger
from exporter.ledger.sqlite import SqliteLedger
from exporter.logs import LOG
from exporter.notifications import LogFile
from exporter.pipeline import Pipeline
from exporter.telemetry import Source
from tests import oracle
from tests.fakes import (
    BUCKET,
    PATIENCE_SECONDS,
    Edge,
    Road,
    announcement,
    in_no_time,
    keys_of,
    no_connection,
    until,
)
from tests.records import OWNER, REGION, Record, api_call, git, push, push_pair, record

NOTHING = oracle.count([])
UNCUT = "the story's own end"


@pytest.fixture
def road() -> Road:
    return Road(MemoryLedger())


async def test_a_message_is_counted_and_deleted(road: Road) -> None:
    """
    What a message announces is in the ledger afterwards, and the message is gone.
    """
    text = road.put("one", *push_pair("tools", "refs/heads/main"), api_call("PutFile", "tools"))
    road.announce("one")
    errors = await road.count_all()

    assert [] == errors
    assert oracle.count([text]) == road.totals
    assert {} == road.sqs.messages


async def test_no_delete_without_commit(road: Road) -> None:
    """
    Every file of a message is committed before the message is deleted.
    """
    road.put("one", api_call("PutFile", "tools"))
    road.put("two", api_call("PutFile", "tools"))
    message_id = road.announce("one", "two")
    await road.count_all()

    assert [
        "receive_message",
        "get_object one",
        "read one",
        "commit one",
        "get_object two",
        "read two",
        "commit two",
        f"delete_message_batch {message_id}",
    ] == road.edge.calls


async def test_a_failed_commit_leaves_the_message(road: Road) -> None:
    """
    What the ledger could not keep is not deleted, and counts once it comes back.
    """
    text = road.put("one", api_call("PutFile", "tools"))
    road.announce("one")
    road.edge.fail("commit", LedgerUnavailable("the disk is full"))
    (error,) = await road.count_all()
    left = (road.totals, list(road.sqs.messages))
    road.sqs.come_back()
    again = await road.count_all()

    assert isinstance(error, LedgerUnavailable)
    assert (NOTHING, ["message-1"]) == left
    assert [] == keys_of(road.edge.calls[:4], "delete_message_batch")
    assert [] == again
    assert oracle.count([text]) == road.totals


@in_no_time
async def test_a_failed_delete_costs_nothing(road: Road) -> None:
    """
    A message that SQS would not delete comes back and adds nothing.
    """
    text = road.put("one", push("tools", "refs/heads/main"))
    message_id = road.announce("one")
    road.sqs.undeletable.add(message_id)
    (error,) = await road.count_all()
    once = road.totals
    road.sqs.undeletable.clear()
    road.sqs.come_back()
    again = await road.count_all()

    assert isinstance(error, QueueUnavailable)
    assert [] == again
    assert oracle.count([text]) == once == road.totals
    assert {} == road.sqs.messages


async def test_a_deletion_by_an_old_receipt_costs_nothing(road: Road) -> None:
    """
    A message that came back before it was deleted stays, and adds nothing the second time.
    """
    text = road.put("one", push("tools", "refs/heads/main"))
    road.announce("one")
    (old,) = await road.queue.receive(1)
    road.sqs.come_back()
    (new,) = await road.queue.receive(1)
    await road.pipeline.count(road.queue, old)
    left = list(road.sqs.messages)
    await road.pipeline.count(road.queue, new)

    assert ["message-1"] == left
    assert {} == road.sqs.messages
    assert oracle.count([text]) == road.totals


async def test_a_redelivered_message_adds_nothing(road: Road) -> None:
    """
    The same announcement twice counts once, and its events show as duplicates.
    """
    text = road.put("one", api_call("PutFile", "tools"), git("GitPull", "tools", moved=True))
    road.announce("one")
    road.announce("one")
    await road.count_all()

    assert oracle.count([text]) == road.totals
    assert 2 == road.told("duplicate_events_total")
    assert 1 == road.told("log_files_total", outcome="counted")
    assert 1 == road.told("log_files_total", outcome="repeated")


async def test_each_file_commits_on_its_own(road: Road) -> None:
    """
    One bad file of three costs the other two nothing; the message stays for its sake.
    """
    texts = [road.put("one", api_call("PutFile", "a")), road.put("three", api_call("PutFile", "b"))]
    road.s3.objects[BUCKET, "two"] = b"\x1f\x8b damaged"
    message_id = road.announce("one", "two", "three")
    (error,) = await road.count_all()

    assert isinstance(error, MalformedLogFile)
    assert oracle.count(texts) == road.totals
    assert [message_id] == list(road.sqs.messages)


async def test_a_mended_file_is_counted_when_its_message_returns(road: Road) -> None:
    """
    The files that had been counted add nothing; the one that had not is counted now.
    """
    texts = [road.put("one", api_call("PutFile", "a"))]
    road.announce("one", "two")
    await road.count_all()
    texts.append(road.put("two", api_call("PutFile", "b")))
    road.sqs.come_back()
    errors = await road.count_all()

    assert [] == errors
    assert oracle.count(texts) == road.totals
    assert {} == road.sqs.messages


async def test_a_fault_nobody_foresaw_is_that_files_own(road: Road) -> None:
    """
    Whatever is raised over one file, the next file of the message has its turn.
    """
    text = road.put("two", api_call("PutFile", "tools"))
    road.put("one", api_call("PutFile", "tools"))
    message_id = road.announce("one", "two")
    road.edge.fail("commit", ZeroDivisionError())
    (error,) = await road.count_all()

    assert isinstance(error, ZeroDivisionError)
    assert oracle.count([text]) == road.totals
    assert [message_id] == list(road.sqs.messages)
    assert 1 == road.told("log_files_total", outcome="failed")
    assert 0 == road.told("log_files_in_hand")


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (["missing", "malformed"], LogFileMissing),
        (["malformed", "missing"], LogFileMissing),
        (["unwritten", "missing", "malformed"], LedgerUnavailable),
        (["malformed", "missing", "unwritten"], LedgerUnavailable),
        (["malformed", "unforeseen"], MalformedLogFile),
        (["unforeseen", "malformed"], ZeroDivisionError),
        (["unforeseen", "missing"], LogFileMissing),
    ],
    ids=lambda value: getattr(value, "__name__", None) or "-".join(value),
)
async def test_what_may_do_better_another_time_is_told(
    road: Road, keys: list[str], kind: type[Exception]
) -> None:
    """
    Of several failures of one message the most hopeful is raised, the first of equals.
    """
    text = road.put("good", api_call("PutFile", "tools"))
    road.put("unwritten", api_call("PutFile", "tools"))
    road.put("unforeseen", api_call("PutFile", "tools"))
    road.s3.objects[BUCKET, "malformed"] = b"no log file"
    road.edge.fail("commit unwritten", LedgerUnavailable("the disk is full"))
    road.edge.fail("commit unforeseen", ZeroDivisionError())
    message_id = road.announce(*keys, "good")
    (error,) = await road.count_all()

    assert kind is type(error)
    assert len(keys) == road.told("log_files_total", outcome="failed")
    assert ("malformed" in keys) == road.told("refused_total", reason="malformed_log_file")
    assert oracle.count([text]) == road.totals
    assert [message_id] == list(road.sqs.messages)


async def test_a_foreign_message_is_left(road: Road) -> None:
    """
    A message that announces nothing known causes no request, and is not deleted.
    """
    message_id = road.sqs.send('{"hello": "world"}')
    (error,) = await road.count_all()

    assert isinstance(error, ForeignMessage)
    assert ["receive_message"] == road.edge.calls
    assert [message_id] == list(road.sqs.messages)


async def test_a_test_event_is_deleted(road: Road) -> None:
    """
    What S3 sends when a notification is set up is acknowledged.
    """
    road.sqs.send('{"Service": "Amazon S3", "Event": "s3:TestEvent"}')
    errors = await road.count_all()

    assert [] == errors
    assert {} == road.sqs.messages
    assert 1 == road.told("notifications_total", envelope="s3_test", outcome="acknowledged")


async def test_a_strangers_bucket_is_never_asked(road: Road) -> None:
    """
    A notification that names another bucket is refused: counted, not fetched, left.
    """
    message_id = road.announce("one", bucket="arn:aws:s3:::theirs")
    (error,) = await road.count_all()

    assert isinstance(error, RefusedBucket)
    assert [] == keys_of(road.edge.calls, "get_object")
    assert 1 == road.told("refused_total", reason="bucket_not_allowed")
    assert [message_id] == list(road.sqs.messages)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (f"AWSLogs/{OWNER}/CloudTrail-Digest/{REGION}/2026/09/21/digest.json.gz", "digest"),
        (f"AWSLogs/{OWNER}/CloudTrail-Insight/{REGION}/2026/09/21/one.json.gz", "insight"),
        (f"AWSLogs/{OWNER}/Config/ConfigWritabilityCheckFile", "config"),
        (f"AWSLogs/{OWNER}/CloudTrail/", "marker"),
        (f"AWSLogs/{OWNER}/vpcflowlogs/{REGION}/2026/09/21/one.log.gz", "other_service"),
    ],
)
async def test_what_is_no_log_file_is_acknowledged_unread(road: Road, key: str, kind: str) -> None:
    """
    An object that is none by its key causes no request; its message is done with.
    """
    road.announce(key)
    errors = await road.count_all()

    assert [] == errors
    assert {} == road.sqs.messages
    assert [] == keys_of(road.edge.calls, "get_object")
    assert 1 == road.told("log_files_total", outcome=kind)


async def test_a_strangers_bucket_is_refused_whatever_the_key(road: Road) -> None:
    """
    Also what would be acknowledged is refused where the bucket is not allowed.
    """
    road.announce(f"AWSLogs/{OWNER}/CloudTrail-Digest/one.json.gz", bucket="strangers-logs")
    (error,) = await road.count_all()

    assert isinstance(error, RefusedBucket)
    assert 1 == len(road.sqs.messages)
    assert 0 == road.told("log_files_total", outcome="digest")


def inline(told: Record) -> str:
    """
    A CloudTrail record in a message of EventBridge's, which says nothing of a recipient.
    """
    detail = {name: told[name] for name in told if name != "recipientAccountId"}
    return json.dumps(
        {
            "version": "0",
            "detail-type": "AWS API Call via CloudTrail",
            "source": "aws.codecommit",
            "account": OWNER,
            "time": "2026-09-21T14:13:10Z",
            "detail": detail,
        }
    )


def accepting_inline_events(road: Road) -> Pipeline:
    return Pipeline(
        road.objects,
        road.ledger,
        road.telemetry,
        inflated_bytes_max=10_000_000,
        accept_inline_events=True,
    )


async def test_inline_events_are_left_unless_they_are_accepted(road: Road) -> None:
    """
    Whoever can send a message could invent an event, so nobody is believed by default.
    """
    road.sqs.send(inline(api_call("PutFile", "tools")))
    (error,) = await road.count_all()
    assert isinstance(error, InlineEvent)

    assert NOTHING == road.totals
    assert 1 == len(road.sqs.messages)


async def test_an_inline_event_that_cannot_be_read_is_refused_once(road: Road) -> None:
    """
    It is no notification that was read, and its message is left.
    """
    road.sqs.send(inline({"number": 0}).replace("0}", "1" * 5000 + "}"))
    (message,) = await road.queue.receive(1)
    with pytest.raises(UnreadableMessage):
        await accepting_inline_events(road).count(road.queue, message)

    assert 0 == road.told("notifications_total", envelope="eventbridge_cloudtrail", outcome="read")


async def test_an_inline_event_that_is_not_committed_is_told(
    road: Road, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A ledger that fails leaves the message and a line in the log.
    """
    road.edge.fail("commit", LedgerUnavailable("the disk is full"))
    road.sqs.send(inline(api_call("PutFile", "tools")))
    (message,) = await road.queue.receive(1)
    with pytest.raises(LedgerUnavailable):
        await accepting_inline_events(road).count(road.queue, message)

    assert "An inline event is not counted" in caplog.text
    assert 1 == len(road.sqs.messages)


async def test_an_accepted_inline_event_counts_once_with_its_log_file(road: Road) -> None:
    """
    The same event in a message and in a log file is one, delivered when the message was.
    """
    accepting = accepting_inline_events(road)
    once = api_call("PutFile", "tools", eventTime="2026-09-21T14:13:00Z")
    text = road.put("one", once)
    for body in (
        inline(once),
        announcement("one"),
        inline(record("RunInstances", eventSource="ec2")),
    ):
        road.sqs.send(body)
        (message,) = await road.queue.receive(1)
        await accepting.count(road.queue, message)
    delivery = Series(EVENT_DELIVERY.name, (OWNER, REGION, "tools", "PutFile", "", ""))

    assert oracle.count([text]) == road.totals
    assert 10_000 == road.ledger.series[delivery].total.amount
    assert 1 == road.told("events_counted_total", source="inline")
    assert 0 == road.told("events_counted_total", source="queue")
    assert {} == road.sqs.messages


async def test_a_file_that_inflates_too_far_is_refused_by_name(road: Road) -> None:
    """
    An error of decoding tells which file it is about.
    """
    small = Pipeline(road.objects, road.ledger, road.telemetry, inflated_bytes_max=99)
    road.put("one", api_call("PutFile", "tools"))
    road.announce("one")
    (message,) = await road.queue.receive(1)
    with pytest.raises(OversizedLogFile, match=f"s3://{BUCKET}/one"):
        await small.count(road.queue, message)

    assert NOTHING == road.totals
    assert 1 == road.told("refused_total", reason="oversized_log_file")


class Decoder:
    """
    Decodes like the program's own, and takes note of where.

    Files that may inflate to more than ``waiting_above`` bytes wait for the gate.
    """

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.waiting_above: float = math.inf
        self.gate = threading.Event()
        self.is_waiting = False

    def __call__(self, body: bytes, *, inflated_bytes_max: int) -> Decoded:
        if inflated_bytes_max > self.waiting_above:
            self.is_waiting = True
            assert self.gate.wait(PATIENCE_SECONDS)
        decoded = decode(body, inflated_bytes_max=inflated_bytes_max)
        self.threads.append(threading.current_thread().name)
        return decoded

    def at_once(self, body: bytes, *, inflated_bytes_max: int) -> Decoded | None:
        """
        What the loop may do itself.
        """
        decoded = decode_at_once(body, inflated_bytes_max=inflated_bytes_max)
        if decoded:
            self.threads.append(threading.current_thread().name)
        return decoded


SHORT_BYTES_MAX = 2_000
HERE = threading.main_thread().name
LARGE = "decode_0"
HUGE = "decode huge_0"


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Decoder:
    """
    A decoder for which ten records are many, and a hundred huge, however well they compress.
    """
    decoder = Decoder()
    monkeypatch.setattr(pipeline, "decode", decoder)
    monkeypatch.setattr(pipeline, "decode_at_once", decoder.at_once)
    monkeypatch.setattr(cloudtrail, "_SHORT_BYTES_MAX", SHORT_BYTES_MAX)
    monkeypatch.setattr(pipeline, "HUGE_BYTES_MIN", 5_000)
    monkeypatch.setattr(pipeline, "HUGE_INFLATED_BYTES_MIN", 20_000)
    return decoder


@pytest.mark.parametrize(
    ("number", "thread"), [(1, HERE), (10, LARGE), (100, HUGE)], ids=["usual", "large", "huge"]
)
async def test_a_file_is_decoded_where_one_of_its_size_belongs(
    road: Road, decoder: Decoder, number: int, thread: str
) -> None:
    """
    A usual one at once, a larger one in a thread, a huge one in another; all of them count.
    """
    text = put_records(road, number)
    errors = await road.count_all()

    assert [] == errors
    assert [thread] == decoder.threads
    assert oracle.count([text]) == road.totals


async def test_files_that_take_long_are_decoded_one_by_one(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    After one that was enough for a turn of the loop, what else is ready goes between any two.
    """
    seen: list[str] = []

    def decode_seen(body: bytes, *, inflated_bytes_max: int) -> Decoded | None:
        seen.append("a file")
        return decode_at_once(body, inflated_bytes_max=inflated_bytes_max)

    async def go_on() -> None:
        while True:
            seen.append("somebody else")
            await asyncio.sleep(0)

    monkeypatch.setattr(pipeline, "decode_at_once", decode_seen)
    monkeypatch.setattr(pipeline, "TURN_SECONDS_MAX", 0.0)
    road.put("one", api_call("PutFile", "tools"))
    log_file, body = LogFile(BUCKET, "one"), road.s3.objects[BUCKET, "one"]
    other = asyncio.create_task(go_on())
    await asyncio.gather(*(road.pipeline._decode(log_file, body) for _ in range(8)))
    other.cancel()

    assert 8 == seen.count("a file")
    assert ("a file",) * 2 not in pairwise(seen)


async def test_a_few_bytes_may_become_many(road: Road, decoder: Decoder) -> None:
    """
    What turns out to be huge on the way goes where it belongs, however small it began.
    """
    text = road.put("one", api_call("PutFile", "tools", padding=" " * 30_000))
    small = len(road.s3.objects[BUCKET, "one"]) < pipeline.HUGE_BYTES_MIN
    road.announce("one")
    errors = await road.count_all()

    assert small
    assert [] == errors
    assert [HUGE] == decoder.threads
    assert oracle.count([text]) == road.totals


async def test_many_bytes_go_at_once_where_they_belong(road: Road, decoder: Decoder) -> None:
    """
    A file that is huge before it is inflated is not tried as a smaller one first.
    """
    text = road.put("one", api_call("PutFile", "tools", noise=secrets.token_urlsafe(6_000)))
    large = len(road.s3.objects[BUCKET, "one"]) > pipeline.HUGE_BYTES_MIN
    inflates_little = len(text) < pipeline.HUGE_INFLATED_BYTES_MIN
    road.announce("one")
    errors = await road.count_all()

    assert (True, True) == (large, inflates_little)
    assert [] == errors
    assert [HUGE] == decoder.threads
    assert oracle.count([text]) == road.totals


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("number", [1, 2_000, 30_000])
async def test_a_malformed_file_is_refused_wherever_it_is_decoded(road: Road, number: int) -> None:
    """
    A file decoded in a thread fails like any other.
    """
    road.s3.objects[BUCKET, "one"] = gzip.compress(b"!" * number, compresslevel=0)
    road.announce("one")
    (error,) = await road.count_all()

    assert isinstance(error, MalformedLogFile)
    assert str(error).startswith(f"s3://{BUCKET}/one: ")


@pytest.mark.parametrize(
    ("first", "others"), [(100, [10, 1]), (10, [1])], ids=["huge_first", "large_first"]
)
async def test_a_file_holds_up_no_smaller_one(
    road: Road, decoder: Decoder, first: int, others: list[int]
) -> None:
    """
    While a huge file is being decoded large ones are counted, and usual ones at any time.
    """
    decoder.waiting_above = pipeline.HUGE_INFLATED_BYTES_MIN if first > 10 else SHORT_BYTES_MAX
    texts = [put_records(road, first)]
    slow = asyncio.create_task(road.count_all())
    await until(lambda: decoder.is_waiting, "the first is being decoded")
    texts += [put_records(road, number) for number in others]
    fast = asyncio.create_task(road.count_all(together=True))
    await until(fast.done, "the others have ended")
    meanwhile = (slow.done(), road.totals)
    decoder.gate.set()

    assert (False, oracle.count(texts[1:])) == meanwhile
    assert ([], []) == (await fast, await slow)
    assert oracle.count(texts) == road.totals


def put_records(road: Road, number: int) -> str:
    """
    Announce a log file with so many records, and return its text.
    """
    text = road.put(f"file-{number}", *(api_call("PutFile", "tools") for _ in range(number)))
    road.announce(f"file-{number}")
    return text


async def test_a_log_file_is_read_and_committed_apart(road: Road) -> None:
    """
    Whoever finds a log file without a message can count it, and its events show where from.
    """
    text = road.put("one", *push_pair("tools", "refs/heads/main"))
    reading = await road.pipeline.read(LogFile(BUCKET, "one"))
    assert reading is not None
    before = road.totals
    await road.pipeline.commit(reading, Source.RECONCILE)

    assert NOTHING == before
    assert oracle.count([text]) == road.totals
    assert 2 == road.told("events_counted_total", source="reconcile")
    assert 0 == road.told("events_counted_total", source="queue")
    assert 1 == road.told("log_files_total", outcome="counted")


async def test_reading_tells_what_is_wrong(road: Road) -> None:
    """
    What is no log file is nothing to count; what is refused, or not handed over, is an error.
    """
    road.s3.objects[BUCKET, "malformed"] = b"no log file"
    digest = f"AWSLogs/{OWNER}/CloudTrail-Digest/{REGION}/2026/09/21/digest.json.gz"
    answers = await asyncio.gather(
        *(
            road.pipeline.read(LogFile(bucket, key))
            for bucket, key in (
                (BUCKET, digest),
                ("strangers-logs", digest),
                (BUCKET, "malformed"),
                (BUCKET, "missing"),
            )
        ),
        return_exceptions=True,
    )

    assert [type(None), RefusedBucket, MalformedLogFile, LogFileMissing] == [
        type(answer) for answer in answers
    ]


async def test_a_commit_that_fails_is_its_callers_to_try_again(road: Road) -> None:
    """
    Nothing was counted, and the same reading counts once the ledger can be written.
    """
    text = road.put("one", api_call("PutFile", "tools"))
    reading = await road.pipeline.read(LogFile(BUCKET, "one"))
    assert reading is not None
    road.edge.fail("commit", LedgerUnavailable("the disk is full"))
    with pytest.raises(LedgerUnavailable):
        await road.pipeline.commit(reading, Source.RECONCILE)
    failed = road.totals
    await road.pipeline.commit(reading, Source.RECONCILE)

    assert NOTHING == failed
    assert oracle.count([text]) == road.totals


async def test_the_clock_decides_which_times_are_usable(road: Road) -> None:
    """
    A minute in a file's name is its delivery, unless it is far ahead of the pipeline's clock.
    """
    key = "AWSLogs/1/CloudTrail/r/1_CloudTrail_r_20260101T0005Z_x.json.gz"
    road.put(key, api_call("PutFile", "tools"))
    told = []
    for seconds in (1_767_225_900 - 86_400, 1_767_225_900 + 86_400):
        road.clock.seconds = seconds
        reading = await road.pipeline.read(LogFile(BUCKET, key))
        told.append(reading and reading.delivered_ms)

    assert [None, 1_767_225_900_000] == told


def test_a_name_from_the_future_tells_no_delivery() -> None:
    """
    Neither does the minute in a log file's name, if a clock far ahead wrote it.
    """
    named = "AWSLogs/{0}/CloudTrail/{1}/9999/12/31/{0}_CloudTrail_{1}_99991231T2359Z_a.json.gz"
    log_file = LogFile(BUCKET, named.format(OWNER, REGION))

    assert pipeline._delivered_ms(log_file, 1_790_000_000_000) is None


def test_an_announcement_from_the_future_tells_no_delivery() -> None:
    """
    A clock far ahead must not stick in a metric: the minute in the file's name is taken.
    """
    key = "AWSLogs/1/CloudTrail/r/1_CloudTrail_r_20260101T0005Z_x.json.gz"
    now_ms = 1_767_225_900_000
    told = [
        pipeline._delivered_ms(LogFile("trail", key, announced), now_ms)
        for announced in (now_ms - 5, now_ms * 10, None)
    ]

    assert [now_ms - 5, now_ms, now_ms] == told


async def test_a_file_without_codecommit_is_read_and_done(road: Road) -> None:
    """
    Other services' files are told apart, add nothing and let the message go.
    """
    road.put("one", record("GetObject", eventSource="s3.amazonaws.com"))
    road.announce("one")
    errors = await road.count_all()

    assert [] == errors
    assert NOTHING == road.totals
    assert 1 == road.told("log_files_total", outcome="no_codecommit")
    assert 0 == road.told("records_total", service="codecommit")
    assert {} == road.sqs.messages


async def test_what_the_story_costs_is_told(road: Road) -> None:
    """
    Bytes, records, events, stages and the newest delivery are the exporter's own metrics.
    """
    road.clock.seconds = time.time()  # the records are of now, not of the tests' own day
    text = road.put("one", *push_pair("tools", "refs/heads/main"))
    road.announce("one")
    await road.count_all()

    assert len(road.s3.objects[BUCKET, "one"]) == road.told(
        "log_file_bytes_total", stage="compressed"
    )
    assert len(text) == road.told("log_file_bytes_total", stage="inflated")
    assert 2 == road.told("records_total", service="codecommit")
    assert 2 == road.told("events_counted_total", source="queue")
    assert 2 == road.told("event_lag_seconds_count")
    assert 1 == road.told("notifications_total", envelope="s3", outcome="read")
    assert [1, 1, 1, 1] == [
        road.told("stage_seconds_count", stage=stage)
        for stage in ("fetch", "decode", "commit", "delete")
    ]
    assert 1_790_000_000 - 10 == road.told("last_log_file_timestamp_seconds")


async def test_a_body_is_let_go_of_whatever_happens(road: Road) -> None:
    """
    No body stays open, and no file in hand, after a success or any failure.
    """
    for key in ("good", "unread", "uncommitted"):
        road.put(key, api_call("PutFile", "tools"))
        road.announce(key)
    road.s3.objects[BUCKET, "malformed"] = b"[]"
    road.announce("malformed")
    road.announce("missing")
    road.edge.fail("read", no_connection())
    road.edge.fail("commit", LedgerUnavailable("the disk is full"))
    errors = await road.count_all()

    assert 4 == len(errors)
    assert 4 == len(road.s3.bodies)
    assert 0 == road.s3.bodies_open
    assert 0 == road.told("log_files_in_hand")


class Text(bytearray):
    """
    A log file's text; other than bytes it can be watched.
    """


class WatchedDecoder:
    """
    Decodes like the program's own, and can tell how many of its texts are still in memory.

    Its frame holds a text just as the frames below it do. Decoding the text ``cancelled`` is
    cancelled.
    """

    def __init__(self) -> None:
        self._texts: list[weakref.ref[Text]] = []
        self.cancelled: bytes | None = None

    def __call__(self, body: bytes, *, inflated_bytes_max: int) -> Decoded:
        text = Text(gzip.decompress(body))
        self._texts.append(weakref.ref(text))
        if bytes(text) == self.cancelled:
            raise asyncio.CancelledError
        return decode(body, inflated_bytes_max=inflated_bytes_max)

    @property
    def number(self) -> int:
        return len(self._texts)

    @property
    def alive(self) -> int:
        return sum(text() is not None for text in self._texts)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[WatchedDecoder]:
    """
    A decoder whose texts go only by themselves: nobody collects what refers to itself.

    Nothing is logged, because pytest keeps what is, and the errors in it.
    """
    decoder = WatchedDecoder()
    monkeypatch.setattr(pipeline, "decode", decoder)
    monkeypatch.setattr(LOG, "disabled", True)
    gc.disable()
    yield decoder
    gc.enable()


@pytest.mark.parametrize("number", [1, 3])
async def test_a_refused_text_is_let_go_of_with_its_error(
    road: Road, watched: WatchedDecoder, number: int
) -> None:
    """
    Texts are large: none waits for the garbage collector once its message has been left.
    """
    announce_malformed(road, number)
    errors = await road.count_all()
    kinds = [type(error) for error in errors]
    errors.clear()

    assert [MalformedLogFile] == kinds
    assert number == watched.number
    # The thread may hold the last one for a moment after it has handed over its error.
    await until(lambda: not watched.alive, "every text is let go of")


async def test_a_refused_text_is_let_go_of_when_its_message_is_cancelled(
    road: Road, watched: WatchedDecoder
) -> None:
    """
    Nor does one wait whose message is cancelled over a later file of it.
    """
    announce_malformed(road, 2)
    watched.cancelled = b"malformed 1"
    with pytest.raises(asyncio.CancelledError) as stopped:
        await road.count_all()
    del stopped

    assert 2 == watched.number
    await until(lambda: not watched.alive, "every text is let go of")


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("size", [100, 2 * pipeline.HUGE_BYTES_MIN], ids=["usual", "huge"])
async def test_a_refused_body_is_let_go_of_with_its_error(road: Road, size: int) -> None:
    """
    What S3 handed over waits for the garbage collector no more than what it inflates to.
    """
    body: Any = Text(gzip.compress(secrets.token_bytes(size)))
    watching = weakref.ref(body)
    kind: type[Exception] | None = None
    try:
        await road.pipeline._decode(LogFile(BUCKET, "one"), body)
    except MalformedLogFile as error:
        kind = type(error)
    del body

    assert MalformedLogFile is kind
    await until(lambda: watching() is None, "the body is let go of")


def announce_malformed(road: Road, number: int) -> None:
    """
    Announce so many log files in one message, none of which is one.
    """
    keys = [f"malformed {index}" for index in range(number)]
    for key in keys:
        road.s3.objects[BUCKET, key] = gzip.compress(key.encode())
    road.announce(*keys)


class CrashStory:
    """
    Three messages with four log files, and a process that may be killed on the way.

    The files have events in common, so that what one has counted matters to another.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        shared = api_call("PutFile", "tools")
        self._files = {
            "one": [shared, *push_pair("tools", "refs/heads/main")],
            "two": [git("GitPull", "tools", moved=True)],
            "three": [shared, push("web", "refs/tags/v1")],
            "four": [api_call("GetBranch", "web")],
        }
        self.texts: list[str] = []

    async def run(self, stop_at: int, *, together: bool) -> tuple[str, oracle.Totals]:
        """
        Start, stop at some crossing of the edge, start again on the same ledger and finish.

        Returns the last call before the stop, or UNCUT where the end came first, and the
        totals of the second process.
        """
        edge = Edge(stop_at)
        road = await self._road(edge)
        self.texts = [road.put(key, *written) for key, written in self._files.items()]
        road.announce("one")
        road.announce("two", "three")
        road.announce("four")
        story = asyncio.create_task(road.count_all(together=together))
        stopped = asyncio.create_task(edge.stopped.wait())
        await asyncio.wait({story, stopped}, return_when=asyncio.FIRST_COMPLETED)
        last_call = edge.calls[-1:] if edge.stopped.is_set() else [UNCUT]
        await edge.bury(story, stopped)
        await road.ledger.close()

        second = await self._road(Edge())
        second.s3.objects = road.s3.objects
        second.sqs.messages = road.sqs.messages
        second.sqs.come_back()
        assert [] == await second.count_all()
        assert {} == second.sqs.messages
        totals = second.totals
        await second.ledger.close()
        return "".join(last_call), totals

    async def _road(self, edge: Edge) -> Road:
        ledger = await SqliteLedger.open(self._path, window_seconds=90 * 86400, policy=Policy())
        return Road(ledger, edge=edge)


FILES, MESSAGES = {"one", "two", "three", "four"}, {"message-1", "message-2", "message-3"}
CALLS = {"get_object": FILES, "commit": FILES, "delete_message_batch": MESSAGES}
"""The calls after each of which a process must have been killed."""


async def stops_everywhere(folder: Path, *, together: bool) -> list[str]:
    """
    Kill a process at each crossing in turn, and see the next one finish right.

    Returns the last call before each stop.
    """
    folder.mkdir()
    stops: list[str] = []
    for stop_at in count(1):
        story = CrashStory(folder / f"{stop_at}.db")
        stop, totals = await story.run(stop_at, together=together)
        stops.append(stop)
        assert oracle.count(story.texts) == totals, f"crossing {stop_at}, {stop}"
        if stop == UNCUT:
            break
    return stops


@pytest.mark.parametrize("together", [False, True], ids=["in_turn", "together"])
async def test_a_crash_anywhere_changes_no_total(tmp_path: Path, *, together: bool) -> None:
    """
    Wherever the process is killed, before or after any call, the next one finishes right.

    Together, calls cross in an order that a busy machine changes from story to story; so this
    goes on until there was a stop after each of them.
    """
    stops: list[str] = []
    seen: dict[str, set[str]] = {}
    for number in range(10):
        stops += await stops_everywhere(tmp_path / f"{number}", together=together)
        seen = {name: set(",".join(keys_of(stops, name)).split(",")) for name in CALLS}
        if seen == CALLS:
            break

    assert CALLS == seen
