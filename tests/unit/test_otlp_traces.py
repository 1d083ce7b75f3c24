"""
The story of a message as spans.
"""

from __future__ import annotations

import ast
import asyncio
import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import opentelemetry.semconv
import pytest
from hypothesis import example, given, settings, strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.semconv._incubating.attributes.messaging_attributes import (
    MessagingOperationTypeValues,
    MessagingSystemValues,
)
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, get_tracer_provider

from exporter.errors import LogFileDenied, QueueUnavailable
from exporter.notifications import LogFile
from exporter.otlp.sending import quieten_libraries
from exporter.otlp.traces import NOTES, Traces

QUEUE = "trail"
URL = "https://sqs.eu-central-1.amazonaws.com/210987654321/trail"
LOG_FILE = LogFile("logs", "AWSLogs/210987654321/CloudTrail/eu-central-1/2026/09/21/file.json.gz")
BODY = "\u00e9\ud800" + 1231 * "a"
"""1234 bytes, though half a character is not to be sent."""
SENDER = "Root=1-6ab12345-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1"
FETCH = "S3/GetObject"
SENDER_IDS = (0x6AB123450123456789ABCDEF01234567, 0x53995C3F42CD8AD8)
ARN = "arn:aws:sts::210987654321:assumed-role/exporter/jane.doe"
RESOURCE = Resource({"service.name": "codecommit-exporter"})


class Timing:
    """
    Takes note of how often its block was entered and left.
    """

    def __init__(self) -> None:
        self.entered = self.left = 0

    def __enter__(self) -> None:
        self.entered += 1

    def __exit__(self, *_error: object) -> None:
        self.left += 1


@pytest.fixture
def dropped() -> list[int]:
    return []


@pytest.fixture
def make(dropped: list[int], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Traces]:
    """
    Makes traces under an environment that has only these of OpenTelemetry's variables.
    """

    def make(queue_max: int = 1000, **environment: str) -> Traces:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return Traces(
            RESOURCE, queue_max=queue_max, batch_max=1000, ready=list, dropped=dropped.append
        )

    for name in ("SAMPLER", "SAMPLER_ARG"):
        monkeypatch.delenv(f"OTEL_TRACES_{name}", raising=False)
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    return make


@pytest.fixture
def traces(make: Callable[..., Traces]) -> Traces:
    return make()


def receive(traces: Traces, *trace_headers: str, queue: str = QUEUE) -> Timing:
    """
    A receive that brings messages with these headers.
    """
    timing = Timing()
    with traces.step("receive", timing, {"queue": queue, "url": URL}):
        pass
    traces.received(queue, trace_headers)
    return timing


async def count(traces: Traces, message_id: str = "m-1", trace_header: str = "") -> Timing:
    """
    The whole story of a message after its receive; others have their turn between its steps.
    """
    timing = Timing()
    with traces.message(QUEUE, message_id, BODY, 2, trace_header):
        with traces.step("fetch", timing, {"log_file": LOG_FILE}):
            await asyncio.sleep(0)
        with traces.step("decode", timing, {}):
            await asyncio.sleep(0)
            traces.note(compressed_bytes=400, inflated_bytes=4000)
            traces.note(events=3, kms_requests=1, invalid=0)
        with traces.step("commit", timing, {}):
            await asyncio.sleep(0)
            traces.note(counted=2, repeated=1, late=0)
        with traces.step("delete", timing, {"queue": QUEUE, "url": URL, "message_id": message_id}):
            await asyncio.sleep(0)
        traces.note(outcome="deleted")
    return timing


def taken(traces: Traces) -> dict[str, ReadableSpan]:
    """
    The spans that wait, by name, of which there is one each.
    """
    spans = traces.take(1000)
    by_name = {span.name: span for span in spans}
    assert len(spans) == len(by_name)
    return by_name


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def id_of(span: ReadableSpan) -> int:
    context: SpanContext = span.context
    return context.span_id


def trace_of(span: ReadableSpan) -> int:
    context: SpanContext = span.context
    return context.trace_id


def linked(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


async def test_a_message_is_one_trace(traces: Traces) -> None:
    """
    Its steps are children of the message, and the message is one of the receive.
    """
    receive(traces, "")
    await count(traces)
    spans = taken(traces)
    root, message = spans["receive trail"], spans["process trail"]

    assert ["receive trail", FETCH, "decode", "commit", "delete trail", "process trail"] == list(
        spans
    )
    assert parent_of(root) is None
    assert id_of(root) == parent_of(message)
    assert {id_of(message)} == {
        parent_of(spans[name]) for name in (FETCH, "decode", "commit", "delete trail")
    }
    assert {trace_of(root)} == set(map(trace_of, spans.values()))


async def test_kinds_follow_the_conventions(traces: Traces) -> None:
    """
    Calls are a client's, a message is a consumer's, and the rest is internal.
    """
    receive(traces, "")
    await count(traces)

    assert {
        "receive trail": SpanKind.CLIENT,
        "process trail": SpanKind.CONSUMER,
        FETCH: SpanKind.CLIENT,
        "decode": SpanKind.INTERNAL,
        "commit": SpanKind.INTERNAL,
        "delete trail": SpanKind.CLIENT,
    } == {name: span.kind for name, span in taken(traces).items()}


async def test_spans_say_what_was_done(traces: Traces) -> None:
    """
    Each has what is known of its step, and nothing else.
    """
    receive(traces, "", "")
    await count(traces)
    messaging = {"messaging.system": "aws_sqs", "messaging.destination.name": QUEUE}
    url = {
        "aws.sqs.queue.url": URL,
        "server.address": "sqs.eu-central-1.amazonaws.com",
        "server.port": 443,
    }
    message_id = {"messaging.message.id": "m-1"}

    assert {
        "receive trail": {
            **messaging,
            **url,
            "codecommit.stage": "receive",
            "messaging.operation.name": "receive",
            "messaging.operation.type": "receive",
            "messaging.batch.message_count": 2,
        },
        "process trail": {
            **messaging,
            **message_id,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.message.body.size": 1234,
            "codecommit.message.receives": 2,
            "codecommit.message.outcome": "deleted",
        },
        FETCH: {
            "codecommit.stage": "fetch",
            "rpc.system.name": "aws-api",
            "rpc.method": "S3/GetObject",
            "aws.s3.bucket": LOG_FILE.bucket,
            "aws.s3.key": LOG_FILE.key,
        },
        "decode": {
            "codecommit.stage": "decode",
            "codecommit.log_file.compressed_bytes": 400,
            "codecommit.log_file.inflated_bytes": 4000,
            "codecommit.log_file.events": 3,
            "codecommit.log_file.kms_requests": 1,
            "codecommit.log_file.invalid_records": 0,
        },
        "commit": {
            "codecommit.stage": "commit",
            "codecommit.log_file.counted_events": 2,
            "codecommit.log_file.repeated_events": 1,
            "codecommit.log_file.late_events": 0,
        },
        "delete trail": {
            **messaging,
            **url,
            **message_id,
            "codecommit.stage": "delete",
            "messaging.operation.name": "delete",
            "messaging.operation.type": "settle",
        },
    } == {name: dict(span.attributes or {}) for name, span in taken(traces).items()}


async def test_steps_are_timed_once(traces: Traces) -> None:
    """
    A span does not take the place of the timing.
    """
    received = receive(traces, "")
    counted = await count(traces)

    assert (1, 1) == (received.entered, received.left)
    assert (4, 4) == (counted.entered, counted.left)


async def test_spans_last_as_long_as_what_they_tell(traces: Traces) -> None:
    """
    A receive ends before its messages begin, and a message lasts from its first step to the last.
    """
    with traces.step("receive", Timing(), {"queue": QUEUE, "url": URL}):
        receiving = time.time_ns()
    traces.received(QUEUE, [""])
    await count(traces)
    spans = taken(traces)
    times = [
        *(spans["receive trail"].start_time, receiving, spans["receive trail"].end_time),
        spans["process trail"].start_time,
        *(spans[FETCH].start_time, spans[FETCH].end_time),
        *(spans["delete trail"].start_time, spans["delete trail"].end_time),
        spans["process trail"].end_time,
    ]

    assert sorted(moment or 0 for moment in times) == times


async def test_a_receive_that_brings_nothing_makes_no_span(traces: Traces) -> None:
    """
    An idle queue is asked three times a minute; nobody wants to read that.
    """
    timing = receive(traces)

    assert 1 == timing.left
    assert [] == traces.take(1)


async def test_each_receive_begins_a_trace(traces: Traces) -> None:
    """
    What one receive brought is no part of the trace of the receive before it.
    """
    receive(traces, "")
    await count(traces)
    first = taken(traces)
    receive(traces, "")
    await count(traces)
    second = taken(traces)

    assert parent_of(second["receive trail"]) is None
    assert trace_of(first["process trail"]) != trace_of(second["process trail"])


async def test_a_trace_ends_where_the_next_receive_begins(traces: Traces) -> None:
    """
    After a receive that brought nothing, no step is taken for one of an earlier message.
    """
    receive(traces, "")
    receive(traces)
    taken(traces)
    await count(traces)

    assert [] == traces.take(1)


async def test_messages_of_a_batch_keep_apart(traces: Traces) -> None:
    """
    The steps of messages that are counted at the same time are children of their own message.
    """
    receive(traces, *[""] * 5)
    ids = [f"m-{number}" for number in range(5)]
    async with asyncio.TaskGroup() as tasks:
        for message_id in ids:
            tasks.create_task(count(traces, message_id))
    spans = traces.take(100)
    root = spans[0]
    messages = {id_of(span): span for span in spans if span.name == "process trail"}
    steps = {
        message: sorted(span.name for span in spans if parent_of(span) == message)
        for message in messages
    }

    assert 1 + 5 + 5 * 4 == len(spans)
    assert {id_of(root)} == set(map(parent_of, messages.values()))
    assert [[FETCH, "commit", "decode", "delete trail"]] * 5 == list(steps.values())
    for span in spans:
        if span.name == "delete trail":
            message = messages[parent_of(span) or 0]
            assert (span.attributes or {})["messaging.message.id"] == (message.attributes or {})[
                "messaging.message.id"
            ]


async def test_queues_that_receive_at_the_same_time_keep_apart(traces: Traces) -> None:
    """
    Of two receives under way, each begins the trace of its own messages.
    """
    both_receive = asyncio.Barrier(2)

    async def consume(queue: str) -> None:
        with traces.step("receive", Timing(), {"queue": queue, "url": URL}):
            await both_receive.wait()
        traces.received(queue, [""])
        with traces.message(queue, "m-1", "", 1, ""):
            await asyncio.sleep(0)

    await asyncio.gather(consume("a"), consume("b"))
    spans = taken(traces)

    assert id_of(spans["receive a"]) == parent_of(spans["process a"])
    assert id_of(spans["receive b"]) == parent_of(spans["process b"])
    assert trace_of(spans["process a"]) != trace_of(spans["process b"])


async def test_a_receive_may_be_answered_after_its_step_was_cancelled(traces: Traces) -> None:
    """
    A stop takes what the last receive still brings, from another task.
    """
    step = traces.step("receive", Timing(), {"queue": QUEUE, "url": URL})
    with suppress(asyncio.CancelledError), step:
        raise asyncio.CancelledError
    assert [] == traces.take(1)

    async def answer() -> None:
        traces.received(QUEUE, [""])

    receive(traces, "", queue="other")
    await asyncio.create_task(answer())
    spans = taken(traces)

    assert {"receive other", "receive trail"} == set(spans)
    assert parent_of(spans["receive trail"]) is None
    assert StatusCode.UNSET is spans["receive trail"].status.status_code


async def test_spans_link_to_the_senders_of_their_messages(traces: Traces) -> None:
    """
    A receive links to all of them, a message to its own; one that nobody traced has no link.
    """
    receive(traces, "", SENDER)
    await count(traces, trace_header=SENDER)
    spans = taken(traces)

    assert [SENDER_IDS] == linked(spans["receive trail"])
    assert [SENDER_IDS] == linked(spans["process trail"])
    assert all(link.context.is_remote for link in spans["process trail"].links)
    assert SENDER_IDS[0] != trace_of(spans["process trail"])


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (SENDER, True),
        (SENDER.replace("Sampled=1", "Sampled=0"), False),
        (SENDER.replace("Sampled=1", "Sampled=?"), False),
        (SENDER.removesuffix(";Sampled=1"), False),
        (f"Self=1-67891234-12456789abcdef012345678; {SENDER} ;Lineage=a87bd80c:0|68fd508a:5", True),
        ("Parent=53995c3f42cd8ad8;Root=1-6ab12345-0123456789abcdef01234567;Sampled=1", True),
    ],
)
async def test_a_header_may_say_more_and_in_any_order(
    traces: Traces, header: str, sampled: bool
) -> None:
    """
    Load balancers and functions on the way add to it, and the sender need not be sampled.
    """
    receive(traces, header)
    (link,) = traces.take(1)[0].links

    assert SENDER_IDS == (link.context.trace_id, link.context.span_id)
    assert sampled is link.context.trace_flags.sampled


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Root=1-6ab12345-0123456789abcdef01234567;Sampled=1",
        SENDER.replace("=1-", "=2-"),
        SENDER.upper(),
        SENDER.replace("abcdef", "ABCDEF"),
        SENDER.replace("53995c3f42cd8ad8", "0" * 16),
        "Root=1-00000000-000000000000000000000000;Parent=53995c3f42cd8ad8;Sampled=1",
        SENDER.replace("1234", "\uff11\uff12\uff13\uff14"),
        SENDER.replace("53995c3f42cd8ad8", "53995c3f42cd8ad80"),
        "00-6ab123450123456789abcdef01234567-53995c3f42cd8ad8-01",
        SENDER.replace(";", "") * 10_000,
    ],
)
async def test_a_header_in_any_other_form_makes_no_link(traces: Traces, header: str) -> None:
    """
    Whoever can send a message can write anything into it.
    """
    receive(traces, header)
    await count(traces, trace_header=header)
    spans = taken(traces)

    assert [] == linked(spans["receive trail"]) + linked(spans["process trail"])


changed_headers = st.builds(
    lambda start, length, text: SENDER[:start] + text + SENDER[start + length :],
    st.integers(0, len(SENDER)),
    st.integers(0, 3),
    st.text(st.characters() | st.sampled_from("0123456789abcdefABCDEF-;="), max_size=3),
)


@given(st.text() | changed_headers)
@example(SENDER)
@settings(max_examples=300, deadline=None)
async def test_a_link_says_what_its_header_says(header: str) -> None:
    """
    Of any text either nothing is made, or a link from which it can be written again.
    """
    traces = Traces(RESOURCE, queue_max=10, batch_max=10, ready=list, dropped=lambda _: None)
    receive(traces, header)
    (span,) = traces.take(10)

    for trace_id, span_id in linked(span):
        root = f"{trace_id:032x}"
        assert f"1-{root[:8]}-{root[8:]}" in header
        assert f"{span_id:016x}" in header
    assert (header != SENDER) or [SENDER_IDS] == linked(span)


async def test_a_step_outside_of_a_trace_is_only_timed(traces: Traces) -> None:
    """
    Log files that are read without a message make no spans, and notes go nowhere.
    """
    timing = Timing()

    assert traces.step("fetch", timing, {"log_file": LOG_FILE}) is timing
    traces.note(outcome="deleted", error_type="denied")
    await count(traces)
    assert [] == traces.take(1)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LogFileDenied(f"s3://logs/file: {ARN} may not"), LogFileDenied.reason),
        (RuntimeError(f"User: {ARN} is not authorized"), "RuntimeError"),
    ],
)
async def test_an_error_is_known_by_its_kind(traces: Traces, error: Exception, kind: str) -> None:
    """
    What it says, which may name a person, is nowhere in a span.
    """
    receive(traces, "")
    with (
        suppress(type(error)),
        traces.message(QUEUE, "m-1", "", 1, ""),
        traces.step("fetch", Timing(), {"log_file": LOG_FILE}),
    ):
        raise error
    spans = taken(traces)

    assert StatusCode.UNSET is spans["receive trail"].status.status_code
    for name in (FETCH, "process trail"):
        assert StatusCode.ERROR is spans[name].status.status_code
        assert spans[name].status.description is None
        assert kind == (spans[name].attributes or {})["error.type"]
        assert () == spans[name].events
    for text in (ARN, "jane", "assumed-role"):
        assert text not in "".join(span.to_json() for span in spans.values())
        assert text.encode() not in encode_spans(list(spans.values())).SerializeToString()


async def test_an_error_that_is_dealt_with_is_noted(traces: Traces) -> None:
    """
    A message that is left has failed, though no error leaves its block.
    """
    receive(traces, "")
    with traces.message(QUEUE, "m-1", "", 1, ""):
        traces.note(outcome="left", error_type=LogFileDenied.reason)
    span = taken(traces)["process trail"]

    assert StatusCode.ERROR is span.status.status_code
    assert span.status.description is None
    assert LogFileDenied.reason == (span.attributes or {})["error.type"]
    assert "left" == (span.attributes or {})["codecommit.message.outcome"]


async def test_a_receive_that_fails_is_a_trace(traces: Traces) -> None:
    """
    It is a span alone, and nothing that comes after belongs to it.
    """
    step = traces.step("receive", Timing(), {"queue": QUEUE, "url": URL})
    with pytest.raises(QueueUnavailable), step:
        raise QueueUnavailable(f"{ARN} may not")
    (span,) = traces.take(10)
    await count(traces)

    assert [] == traces.take(1)
    assert "receive trail" == span.name
    assert StatusCode.ERROR is span.status.status_code
    assert QueueUnavailable.reason == (span.attributes or {})["error.type"]
    assert "messaging.batch.message_count" not in (span.attributes or {})
    assert ARN not in span.to_json()


async def test_a_cancelled_step_has_not_failed(traces: Traces) -> None:
    """
    A stop ends what is under way; its spans end with it.
    """
    receive(traces, "")
    begun = asyncio.Event()

    async def work() -> None:
        with (
            traces.message(QUEUE, "m-1", "", 1, ""),
            traces.step("fetch", Timing(), {"log_file": LOG_FILE}),
        ):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    spans = taken(traces)

    assert {"receive trail", FETCH, "process trail"} == set(spans)
    for span in spans.values():
        assert StatusCode.UNSET is span.status.status_code
        assert "error.type" not in (span.attributes or {})


async def test_a_step_does_not_swallow_errors(traces: Traces) -> None:
    """
    Whoever called knows what an error means.
    """
    receive(traces, "")
    error = ValueError("no")

    with pytest.raises(ValueError, match="no") as caught, traces.step("commit", Timing(), {}):
        raise error
    assert error is caught.value


@pytest.mark.parametrize("sampler", ["always_off", "parentbased_always_off"])
async def test_what_is_not_sampled_is_only_timed(make: Callable[..., Traces], sampler: str) -> None:
    """
    Nothing of it is kept, or counted as dropped.
    """
    traces = make(OTEL_TRACES_SAMPLER=sampler)
    receive(traces, SENDER)
    timing = await count(traces, trace_header=SENDER)
    fetching = Timing()

    assert traces.step("fetch", fetching, {"log_file": LOG_FILE}) is fetching
    assert (4, 4) == (timing.entered, timing.left)
    assert [] == traces.take(1)


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
async def test_a_trace_is_sampled_as_a_whole(make: Callable[..., Traces], sampler: str) -> None:
    """
    Of some traces all spans are kept, of the others none.
    """
    traces = make(OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="0.5")
    for _ in range(100):
        receive(traces, "")
        await count(traces)
    sizes: dict[int, int] = {}
    for span in traces.take(1000):
        sizes[trace_of(span)] = sizes.get(trace_of(span), 0) + 1

    assert 0 < len(sizes) < 100
    assert {6} == set(sizes.values())


async def test_limits_are_those_of_the_environment(
    make: Callable[..., Traces], caplog: pytest.LogCaptureFixture
) -> None:
    """
    Values are cut and attributes left out as asked for, without a log line for each.
    """
    quieten_libraries()
    caplog.set_level(logging.DEBUG)
    traces = make(OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="2", OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT="4")
    receive(traces, "")
    await count(traces)
    fetch = taken(traces)[FETCH]

    assert {"aws.s3.bucket": "logs", "aws.s3.key": "AWSL"} == dict(fetch.attributes or {})
    assert 3 == fetch.dropped_attributes
    assert [] == caplog.records


async def test_what_no_bucket_could_be_called_is_cut(traces: Traces) -> None:
    """
    The number of spans that wait is bounded, and so is what each of them takes.
    """
    receive(traces, "")
    with traces.step("fetch", Timing(), {"log_file": LogFile(64 * "b", 1025 * "k")}):
        pass
    fetch = taken(traces)[FETCH]

    assert (63 * "b", 1024 * "k") == tuple(
        (fetch.attributes or {})[f"aws.s3.{name}"] for name in ("bucket", "key")
    )


async def test_what_finds_no_room_is_dropped_and_counted(
    make: Callable[..., Traces], dropped: list[int]
) -> None:
    """
    Those that ended first are kept; what is taken makes room.
    """
    traces = make(queue_max=2)
    receive(traces, "")
    await count(traces)

    assert 4 == sum(dropped)
    assert ["receive trail"] == [span.name for span in traces.take(1)]
    receive(traces, "")
    assert [FETCH, "receive trail"] == [span.name for span in traces.take(10)]
    assert [] == traces.take(10)
    assert 4 == sum(dropped)


async def test_that_many_wait_is_told_once() -> None:
    """
    Whoever sends them need not look again and again.
    """
    told: list[int] = []
    traces = Traces(
        RESOURCE, queue_max=9, batch_max=2, ready=lambda: told.append(2), dropped=told.append
    )
    for _ in range(3):
        receive(traces, "")

    assert [2] == told


async def test_nothing_outside_is_touched(
    make: Callable[..., Traces], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    There is no thread, nothing waits for the exit, and others find the provider that they had.
    """
    at_exit: list[object] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    threads, provider = threading.active_count(), get_tracer_provider()
    traces = make()
    receive(traces, "")
    await count(traces)

    assert [] == at_exit
    assert threads == threading.active_count()
    assert get_tracer_provider() is provider


async def test_spans_are_of_the_resource_and_the_exporter(traces: Traces) -> None:
    """
    A reader can tell whose spans they are, and by which conventions to read them.
    """
    receive(traces, "")
    (span,) = traces.take(10)

    assert RESOURCE is span.resource
    assert span.instrumentation_scope is not None
    assert "codecommit-exporter" == span.instrumentation_scope.name
    assert (span.instrumentation_scope.schema_url or "").startswith("https://opentelemetry.io/")


def conventional() -> Iterator[str]:
    """
    Every attribute that the installed conventions have and do not call deprecated.

    A module of theirs is constants, each followed by its description.
    """
    for root in opentelemetry.semconv.__path__:
        for path in Path(root).rglob("attributes/*.py"):
            body = ast.parse(path.read_text(encoding="utf-8")).body
            for constant, description in pairwise(body):
                match constant, description:
                    case (
                        ast.AnnAssign(value=ast.Constant(value=str(name))),
                        ast.Expr(value=ast.Constant(value=str(words))),
                    ) if not words.strip().startswith("Deprecated"):
                        yield name


async def test_attributes_are_the_conventions_or_our_own(traces: Traces) -> None:
    """
    The installed conventions have each name that is not ours, and none that is.
    """
    known = set(conventional())
    receive(traces, "")
    await count(traces)
    with (
        suppress(ValueError),
        traces.message(QUEUE, "m-2", "", 1, ""),
    ):
        raise ValueError
    used = {name for span in traces.take(100) for name in span.attributes or {}}
    used |= set(NOTES.values())
    own = {name for name in used if name.startswith("codecommit.")}

    assert "messaging.operation" not in known  # deprecated
    assert "error.type" in used
    assert set() == (used - own) - known
    assert set() == own & known


async def test_values_are_those_the_conventions_list(traces: Traces) -> None:
    """
    The system and the kinds of operation have closed sets of names.
    """
    receive(traces, "")
    await count(traces)
    spans = [span.attributes or {} for span in traces.take(100)]

    assert {MessagingSystemValues.AWS_SQS.value} == {
        span["messaging.system"] for span in spans if "messaging.system" in span
    }
    assert {
        kind.value
        for kind in (
            MessagingOperationTypeValues.RECEIVE,
            MessagingOperationTypeValues.PROCESS,
            MessagingOperationTypeValues.SETTLE,
        )
    } == {span["messaging.operation.type"] for span in spans if "messaging.operation.type" in span}
