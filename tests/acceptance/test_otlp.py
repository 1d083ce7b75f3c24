"""
What the program sends over OTLP, to a receiver over real HTTP.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING

import pytest

from exporter.activity import Activity
from tests import announcements, oracle, records
from tests.otlp import (
    ACCEPT,
    DRIP,
    HANG,
    METRICS,
    REDIRECT,
    TRACES,
    Answer,
    Attributes,
    Kind,
    Link,
    Point,
    Receiver,
    Samples,
    Streams,
    as_prometheus,
    dead_endpoint,
    partial,
    refused,
    samples_of,
    without_empty,
)
from tests.processes import clean_environment, run
from tests.servers import EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.conftest import Serve
    from tests.processes import Exporter, Page
    from tests.servers import Trail

LIVES = 20 if os.environ.get("REQUIRE_ALL") else 3
NO_HOLD = ("--metrics.new-series-hold", "0s")
HOLD_SECONDS = 0.3
HOLD = ("--metrics.new-series-hold", "300ms")
LONG_HOLD = ("--metrics.new-series-hold", "1h")

PUSH = records.text(*records.push_pair("one", "refs/heads/a", "refs/tags/b"))
PUSHED = oracle.count([PUSH])

LABELS = {
    "cloud.account.id": "account_id",
    "cloud.region": "aws_region",
    "vcs.repository.name": "repository",
    "codecommit.repository.id": "repository_id",
    "codecommit.action": "action",
    "codecommit.protocol": "protocol",
    "codecommit.data_transferred": "data_transferred",
    "error.type": "error_code",
    "vcs.ref.type": "ref_type",
    "codecommit.reference.change": "change",
    "codecommit.pull_request.event": "event",
    "vcs.change.state": "outcome",
    "codecommit.caller.identity_type": "identity_type",
    "codecommit.caller.credentials": "credentials",
}
"""The label of the page that stands behind each attribute."""

SENDER = Link("6a5b4c3d0123456789abcdef01234567", "89abcdef01234567")
"""The span of whoever sent a message."""

KINDS = {"counter": Kind.MONOTONIC_SUM, "gauge": Kind.GAUGE, "histogram": Kind.HISTOGRAM}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """
    A receiver that is sent exports and nothing else.
    """
    with Receiver() as receiver:
        yield receiver
        assert [] == receiver.foreign


def sent_to(endpoint: str, **variables: str) -> dict[str, str]:
    """
    The variables with which the program sends metrics and traces, ten times a second.
    """
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "100",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        **variables,
    }


def is_ledgers(name: str) -> bool:
    """
    Whether it is a metric of the ledger's, by its name on the page or over OTLP.
    """
    own = ("codecommit_exporter_", "codecommit.exporter.")
    return name.startswith(("codecommit_", "codecommit.")) and not name.startswith(own)


def of_ledger(samples: Samples) -> Samples:
    """
    The samples that the ledger holds.
    """
    return {sample: value for sample, value in samples.items() if is_ledgers(sample[0])}


def next_export(exporter: Exporter, receiver: Receiver) -> list[Point]:
    """
    Every point of an export that begins now or later.
    """
    begun = len(receiver.requests)
    exports: list[list[Point]] = []

    def complete() -> bool:
        points = [one for request in receiver.accepted()[begun:] for one in request.points()]
        # The first may have begun before, and of the last there may be more to come.
        exports[:] = [list(group) for _, group in groupby(points, lambda point: point.time_ns)]
        return len(exports) > 2

    exporter.until(complete, "another export is accepted")
    return exports[1]


def kinds(page: Page) -> dict[str, Kind]:
    """
    What each sample of a page is, by its name.
    """
    return {
        sample.name: KINDS[family.type]
        for family in page.families.values()
        for sample in family.samples
    }


def truth(log_files: Iterable[str]) -> Samples:
    """
    The totals of some log files that do not depend on the order in which they are committed.
    """
    totals = oracle.in_any_order(oracle.count(log_files))
    del totals["codecommit_repository_info"]
    return {
        (name, without_empty(zip(oracle.LABELS[name], values, strict=True))): value
        for name, series in totals.items()
        for values, value in series.items()
    }


@pytest.mark.parametrize("hold", [NO_HOLD, LONG_HOLD])
def test_the_same_as_the_page(
    serve: Serve, trail: Trail, receiver: Receiver, hold: tuple[str, ...]
) -> None:
    """
    Every sample of the page, the exporter's own included, is sent as what it is, held or not.

    Its own are compared where the page before the export and the one after it agree, and what
    the system says of the process is not: it comes and goes.
    """
    activity = Activity(seed=5)
    for _ in range(3):
        file = activity.log_file(datetime.now(UTC), records=200)
        trail.deliver(file.key, file.body)
    exporter = serve(trail, *hold, **sent_to(receiver.endpoint))
    exporter.until(lambda: trail.depth() == EMPTY, "the queue is empty")

    page = exporter.scrape()
    points = next_export(exporter, receiver)
    before, sent = samples_of(page), as_prometheus(points, LABELS)
    after = samples_of(exporter.scrape())

    assert of_ledger(before) == of_ledger(sent) == of_ledger(after)
    assert before.keys() == sent.keys()
    assert [] == [
        (sample, value)
        for sample, value in before.items()
        if value == after[sample] != sent[sample] and not sample[0].startswith("process_")
    ]
    told = {name: point.kind for point in points for name, _ in as_prometheus([point])}
    assert kinds(page) == told
    assert [] == Streams().replay(receiver.accepted()).violations


def test_the_usual_variables_are_heeded(serve: Serve, trail: Trail, receiver: Receiver) -> None:
    """
    Headers, compression, exemplars, and who sends.

    Nothing that may differ from process to process is told of the ledger's totals.
    """
    trail.deliver(records.key(1), records.log_file(PUSH))
    variables = {
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20c2VjcmV0",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_METRICS_EXEMPLAR_FILTER": "always_on",
        "OTEL_SERVICE_NAME": "counting",
        "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=a,host.name=b,deployment.environment=c",
    }
    exporter = serve(trail, *NO_HOLD, **sent_to(receiver.endpoint, **variables))
    exporter.until(lambda: trail.depth() == EMPTY, "the queue is empty")
    exporter.until(lambda: bool(receiver.spans()), "spans are sent")
    points = next_export(exporter, receiver)

    requests = receiver.accepted() + receiver.accepted(TRACES)
    assert {("Basic c2VjcmV0", "gzip")} == {
        (request.headers["authorization"], request.headers["content-encoding"])
        for request in requests
    }
    assert "c2VjcmV0" not in exporter.log
    [ledger] = {point.resource for point in points if is_ledgers(point.name)}
    [own] = {point.resource for point in points if not is_ledgers(point.name)}
    assert {own} == {span.resource for span in receiver.spans()}
    told = {"service.name": "counting", "deployment.environment": "c"}
    assert told | {"service.instance.id": "a", "host.name": "b"} == given(own)
    identity = dict(ledger)["service.instance.id"]
    fixed = {"service.instance.id": identity, "vcs.provider.name": "aws_codecommit"}
    assert identity != "a"
    assert told | fixed == dict(ledger)
    ids = {value for point in points for exemplar in point.exemplars for _, value in exemplar}
    assert ids == {record["eventID"] for record in json.loads(PUSH)["Records"]}


def given(resource: Attributes) -> dict[str, object]:
    """
    What a resource says beside the versions of the program and of the library.
    """
    return {
        name: value
        for name, value in resource
        if name != "service.version" and not name.startswith("telemetry.")
    }


def until_sent(exporter: Exporter, receiver: Receiver, requests: int) -> None:
    """
    Wait until so many more requests have been sent.
    """
    begun = len(receiver.requests)
    exporter.until(lambda: len(receiver.requests) >= begun + requests, f"{requests} requests")


def test_killed_again_and_again(serve: Serve, unlaid_trail: Trail, receiver: Receiver) -> None:
    """
    Replayed by OpenTelemetry's rules, what all lives sent is what the log files hold.

    No sum ever begins anew, though messages come back and events come twice.
    """
    trail = unlaid_trail.lay(visibility_seconds=1)
    chance = Random(7)  # noqa: S311 - decides when a life ends, keeps no secret
    activity = Activity(seed=7)
    texts: list[str] = []
    for _ in range(LIVES):
        now = datetime.now(UTC)
        files = [activity.log_file(now, records=20) for _ in range(8)]
        files.append(activity.repeat(files[0], now))
        for file in files:
            trail.deliver(file.key, file.body)
            texts.append(file.inflated.decode())
        hold = chance.choice((NO_HOLD, HOLD))
        exporter = serve(trail, *hold, **sent_to(receiver.endpoint))
        until_sent(exporter, receiver, requests=chance.randint(1, 12))
        exporter.kill()
    exporter = serve(trail, *NO_HOLD, **sent_to(receiver.endpoint))
    exporter.until(lambda: trail.depth() == EMPTY, "the queue is empty")
    next_export(exporter, receiver)

    streams = Streams().replay(receiver.accepted())

    totals = of_ledger(as_prometheus(streams.totals(), LABELS))
    expected = truth(texts)
    assert [] == streams.violations
    assert [] == streams.resets
    assert expected == {sample: totals.get(sample) for sample in expected}
    assert 1 == len(streams.resources("codecommit.events"))
    assert 1 < len(streams.resources("codecommit.exporter."))


def sent_of_ledger(receiver: Receiver, answer: Answer) -> list[Point]:
    """
    Every point of a sum or histogram of the ledger's that got this answer.
    """
    return [
        point
        for request in list(receiver.requests)
        if request.path == METRICS and request.answer == answer
        for point in request.points()
        if is_ledgers(point.name) and point.kind is not Kind.GAUGE
    ]


def test_an_accepted_export_begins_the_hold(serve: Serve, trail: Trail, receiver: Receiver) -> None:
    """
    Where nobody scrapes, new series are sent as 0 for as long as no export is accepted.

    The first that is accepted in full begins the hold; once that is over they have their value.
    """
    in_vain = (refused(400), REDIRECT)
    receiver.answer = in_vain[0]
    trail.deliver(records.key(1), records.log_file(PUSH))
    exporter = serve(trail, *HOLD, **sent_to(receiver.endpoint))

    def is_held_for_long() -> bool:
        points = sent_of_ledger(receiver, receiver.answer)
        times = [point.time_ns for point in points] or [0]
        return max(times) - min(times) > 2 * HOLD_SECONDS * 1e9

    for answer in in_vain:
        receiver.answer = answer
        exporter.until(is_held_for_long, f"exports get {answer}")
    held = [point for answer in in_vain for point in sent_of_ledger(receiver, answer)]
    receiver.answer = ACCEPT
    expected = truth([PUSH])
    exporter.until(
        lambda: expected.items() <= as_prometheus(receiver.points(), LABELS).items(),
        "the values are sent",
    )

    accepted = sent_of_ledger(receiver, ACCEPT)
    shown = min(point.time_ns for point in accepted)
    grown = min(point.time_ns for point in accepted if any(point.amounts))
    assert {0} == {amount for point in held for amount in point.amounts}
    assert grown - shown >= HOLD_SECONDS * 1e9
    assert [] == Streams().replay(receiver.accepted()).violations
    assert PUSHED == exporter.scrape().totals()


def test_what_is_always_rejected_holds_nothing_else(
    serve: Serve, trail: Trail, receiver: Receiver
) -> None:
    """
    Where no export is ever accepted in full, new series are 0 for two holds, and then right.
    """
    receiver.answer = partial(1, "a label is too long")
    trail.deliver(records.key(1), records.log_file(PUSH))
    exporter = serve(trail, *HOLD, **sent_to(receiver.endpoint))
    expected = truth([PUSH])

    def sent() -> list[Point]:
        return sent_of_ledger(receiver, receiver.answer)

    def is_right() -> bool:
        newest = {point.stream: point for point in sent()}.values()
        return expected.items() <= as_prometheus(newest, LABELS).items()

    exporter.until(is_right, "the values are sent")

    shown = min(point.time_ns for point in sent())
    grown = min(point.time_ns for point in sent() if any(point.amounts))
    assert grown - shown >= 2 * HOLD_SECONDS * 1e9


def until_counted(exporter: Exporter, outcome: str) -> None:
    """
    Wait until one more export of metrics has come out like this, and is counted.
    """

    def counted() -> float:
        name = "codecommit_exporter_otlp_exports_total"
        return exporter.scrape().value(name, signal="metrics", outcome=outcome)

    before = counted()
    exporter.until(lambda: counted() > before, f"an export is counted as {outcome}")


def not_accepted(exporter: Exporter) -> list[str]:
    """
    The lines of the log that tell of exports of metrics that were not accepted.
    """
    told = "An export of metrics over OTLP is "
    return [line for line in exporter.log.splitlines() if told in line]


ANSWERED = (
    (refused(400), "failed"),
    (refused(503, Retry_After="3600"), "failed"),
    (refused(429, Retry_After="3600"), "failed"),
    (REDIRECT, "failed"),
    (partial(1, "too old"), "partial"),
)
WITHOUT_END = ((HANG, "failed"), (DRIP, "failed"))


def count_in_vain(
    exporter: Exporter, trail: Trail, receiver: Receiver, answers: Iterable[tuple[Answer, str]]
) -> None:
    """
    See a push counted and shown at each answer, and the answer counted; at last all are accepted.
    """
    texts: list[str] = []
    for number, (answer, outcome) in enumerate(answers):
        receiver.answer = answer
        texts.append(records.text(*records.push_pair("one", f"refs/heads/{number}")))
        trail.deliver(records.key(number), records.log_file(texts[-1]))
        exporter.until(
            lambda: exporter.scrape().totals() == oracle.count(texts), "the push is counted"
        )
        until_counted(exporter, outcome)
    receiver.answer = ACCEPT
    points = next_export(exporter, receiver)

    assert truth(texts).items() <= as_prometheus(points, LABELS).items()


def test_counting_goes_on_whatever_is_answered(
    serve: Serve, trail: Trail, receiver: Receiver
) -> None:
    """
    The page is right, each failure is counted and the first of its kind is told.
    """
    receiver.answer = ANSWERED[0][0]
    # Enough that no busy machine is taken for an endpoint that does not answer.
    patience = {"OTEL_EXPORTER_OTLP_TIMEOUT": "5000"}
    exporter = serve(trail, *NO_HOLD, **sent_to(receiver.endpoint, **patience))
    count_in_vain(exporter, trail, receiver, ANSWERED)

    refusal, failure, rejection = not_accepted(exporter)
    assert "answered 400: no" in refusal
    assert "answered 503" in failure
    assert "rejected 1: too old" in rejection
    assert 0 == exporter.terminate()


def test_counting_goes_on_while_no_answer_ends(
    serve: Serve, trail: Trail, receiver: Receiver
) -> None:
    """
    The page is right, and that nothing is accepted is counted, and told once.
    """
    receiver.answer = WITHOUT_END[0][0]
    variables = {"OTEL_EXPORTER_OTLP_TIMEOUT": "300", "OTEL_METRIC_EXPORT_TIMEOUT": "600"}
    exporter = serve(trail, *NO_HOLD, **sent_to(receiver.endpoint, **variables))
    count_in_vain(exporter, trail, receiver, WITHOUT_END)

    [line] = not_accepted(exporter)
    assert "no whole answer in 0.3 s" in line
    assert 0 == exporter.terminate()


def test_a_dead_endpoint(serve: Serve, trail: Trail) -> None:
    """
    Counting goes on, the failure is counted and told, and the program ends when it is asked to.
    """
    trail.deliver(records.key(1), records.log_file(PUSH))
    with dead_endpoint() as endpoint:
        variables = sent_to(endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="300")
        exporter = serve(trail, *NO_HOLD, **variables)
        exporter.until(lambda: exporter.scrape().totals() == PUSHED, "the push is counted")
        until_counted(exporter, "failed")

        assert 0 == exporter.terminate()
    assert 1 == len(not_accepted(exporter))


def test_a_stop_waits_for_no_endpoint(serve: Serve, trail: Trail, receiver: Receiver) -> None:
    """
    However long an answer may take, SIGTERM ends the program with 0.
    """
    receiver.answer = HANG
    trail.deliver(records.key(1), records.log_file(PUSH))
    patience = {"OTEL_EXPORTER_OTLP_TIMEOUT": "600000", "OTEL_METRIC_EXPORT_TIMEOUT": "600000"}
    exporter = serve(trail, "--shutdown.grace", "5s", **sent_to(receiver.endpoint, **patience))
    paths = (METRICS, TRACES)
    exporter.until(
        lambda: {request.path for request in list(receiver.requests)} == set(paths),
        "both signals are being sent",
    )

    assert 0 == exporter.terminate()
    assert EMPTY == trail.depth()


def test_a_stop_sends_what_has_been_counted(serve: Serve, trail: Trail, receiver: Receiver) -> None:
    """
    The last export has it, though the next would have been due long after.
    """
    variables = {"OTEL_METRIC_EXPORT_INTERVAL": "3600000", "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    exporter = serve(trail, *NO_HOLD, **sent_to(receiver.endpoint, **variables))
    exporter.until(lambda: bool(receiver.accepted()), "the first export is accepted")
    trail.deliver(records.key(1), records.log_file(PUSH))
    exporter.until(lambda: trail.depth() == EMPTY, "the push is counted")

    assert 0 == exporter.terminate()
    assert truth([PUSH]).items() <= as_prometheus(receiver.points(), LABELS).items()
    assert f"delete {trail.queue}" in [span.name for span in receiver.spans()]


def test_nothing_is_sent_when_it_is_disabled(
    serve: Serve, trail: Trail, receiver: Receiver
) -> None:
    """
    OTEL_SDK_DISABLED is stronger than any endpoint.
    """
    trail.deliver(records.key(1), records.log_file(PUSH))
    exporter = serve(trail, *NO_HOLD, **sent_to(receiver.endpoint, OTEL_SDK_DISABLED="true"))
    exporter.until(lambda: exporter.scrape().totals() == PUSHED, "the push is counted")

    assert 0 == exporter.terminate()
    assert [] == receiver.requests


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
    ],
)
def test_what_cannot_be_honoured(trail: Trail, name: str, value: str) -> None:
    """
    One line tells which variable it is and what it says, and the program ends with 2.
    """
    ended = run(
        "serve",
        *("--sqs.queue-url", trail.queue_url, "--s3.allowed-bucket", trail.bucket),
        environment=clean_environment(
            **trail.aws.environment, **sent_to("http://127.0.0.1:1", **{name: value})
        ),
    )

    [line] = ended.stderr.decode().splitlines()
    assert 2 == ended.returncode
    assert name in line
    assert value in line


STEPS = {
    "receive": ("CLIENT", ""),
    "process": ("CONSUMER", "receive"),
    "fetch": ("CLIENT", "process"),
    "decode": ("INTERNAL", "process"),
    "commit": ("INTERNAL", "process"),
    "delete": ("CLIENT", "process"),
}
"""The kind of each span of a message, and the span that it is part of."""


def test_the_trace_of_a_message(serve: Serve, unlaid_trail: Trail, receiver: Receiver) -> None:
    """
    Receiving, fetching, decoding, committing and deleting are spans, and nobody is named.

    The trace of whoever sent the message is linked, as X-Ray tells it.
    """
    trail, key = unlaid_trail, records.key(1)
    trail.make_bucket()
    trail.make_queues()
    push = records.push_pair("one", "refs/heads/secret-plan")
    text = records.text(*push, records.denied("GetFile", "one"))
    trail.deliver(key, records.log_file(text))
    trace, span = SENDER
    header = f"Root=1-{trace[:8]}-{trace[8:]};Parent={span};Sampled=1"
    sent = trail.sqs.send_message(
        QueueUrl=trail.queue_url,
        MessageBody=announcements.s3(announcements.s3_record(key, trail.bucket)),
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": header}},
    )
    exporter = serve(trail, **sent_to(receiver.endpoint))
    exporter.until(lambda: len(receiver.spans()) >= len(STEPS), "the spans of the message are sent")
    next_export(exporter, receiver)

    spans = {span.attributes.get("codecommit.stage", "process"): span for span in receiver.spans()}
    names = {"": ""} | {span.span_id: name for name, span in spans.items()}
    assert len(spans) == len(receiver.spans())
    assert STEPS == {name: (span.kind, names[span.parent_id]) for name, span in spans.items()}
    assert 1 == len({span.trace_id for span in spans.values()})
    assert {"UNSET"} == {span.status for span in spans.values()}
    assert {
        *(f"{name} {trail.queue}" for name in ("receive", "process", "delete")),
        *("S3/GetObject", "decode", "commit"),
    } == {span.name for span in spans.values()}
    assert (SENDER,) == spans["receive"].links == spans["process"].links
    for name in ("receive", "process", "delete"):
        assert {
            "messaging.system": "aws_sqs",
            "messaging.destination.name": trail.queue,
            "messaging.operation.name": name,
        }.items() <= spans[name].attributes.items()
    expected = {
        ("receive", "messaging.batch.message_count"): 1,
        ("process", "messaging.message.id"): sent["MessageId"],
        ("process", "codecommit.message.outcome"): "deleted",
        ("fetch", "aws.s3.bucket"): trail.bucket,
        ("fetch", "aws.s3.key"): key,
        ("decode", "codecommit.log_file.events"): 3,
        ("commit", "codecommit.log_file.counted_events"): 3,
        ("delete", "messaging.message.id"): sent["MessageId"],
    }
    assert expected == {
        (name, attribute): spans[name].attributes.get(attribute) for name, attribute in expected
    }
    everything = b"".join(request.body for request in receiver.requests)
    assert [] == [one for one in records.PERSONAL if one.encode() in everything]
