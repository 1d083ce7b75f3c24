"""
The story of each message as spans: receive, process, and in it fetch, decode, commit, delete.

Rules:

1. A trace begins with a receive that brings something or fails, and holds the messages it
   brought. A step outside of a trace is timed and makes no span.
2. Names are those of the semantic conventions for messaging and for AWS; what they have no
   name for begins with ``codecommit.``. They are written out: constants for most of them are
   in modules that their package says may move.
3. An error is known by its kind. What it says stays out, for AWS quotes the caller's ARN.
4. Where a trace is not sampled, nothing is described but its receive.

Everything happens on the event loop's thread, so nothing is locked.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.util.types import AnyValue

from exporter.build import version
from exporter.errors import kind_of
from exporter.values import PROGRAM

NOTES = {
    "compressed_bytes": "codecommit.log_file.compressed_bytes",
    "inflated_bytes": "codecommit.log_file.inflated_bytes",
    "events": "codecommit.log_file.events",
    "kms_requests": "codecommit.log_file.kms_requests",
    "invalid": "codecommit.log_file.invalid_records",
    "counted": "codecommit.log_file.counted_events",
    "repeated": "codecommit.log_file.repeated_events",
    "late": "codecommit.log_file.late_events",
    "outcome": "codecommit.message.outcome",
    "error_type": ERROR_TYPE,
}
"""What is noted of a step or message, and the attribute it becomes."""

BUCKET_LENGTH_MAX, KEY_LENGTH_MAX = 63, 1024
"""S3 has none that are longer. Whoever can send a message can write longer ones into it."""
STAGE = "codecommit.stage"
"""Has on a step's span the value that ``stage`` has in ``codecommit_exporter_stage_seconds``."""
GET_OBJECT = "S3/GetObject"
"""The name of a fetch's span: those of calls to AWS are called after the operation."""
_FETCH: dict[str, AnyValue] = {"rpc.system.name": "aws-api", "rpc.method": GET_OBJECT}

_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_PARENT = re.compile(r"[0-9a-f]{16}")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NO_TRACE = Context()
_UNTIMED = nullcontext()


class Traces:
    """
    Tells the story as spans, and keeps those that have ended until they are taken.

    The sampler and the limits of spans are what OpenTelemetry's variables say.

    Args:
        resource: What the spans are of.
        queue_max: How many ended spans wait at most; further ones are dropped.
        batch_max: So many are worth sending.
        ready: Called when so many wait.
        dropped: Called with the number of spans that have just been dropped.
    """

    def __init__(
        self,
        resource: Resource,
        *,
        queue_max: int,
        batch_max: int,
        ready: Callable[[], object],
        dropped: Callable[[int], object],
    ) -> None:
        self._ended = _Ended(queue_max, batch_max, ready, dropped)
        provider = TracerProvider(
            resource=resource, shutdown_on_exit=False, meter_provider=NoOpMeterProvider()
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer(PROGRAM, version(), schema_url=Schemas.V1_44_0.value)
        self._receives: dict[str, _Receive] = {}

    def take(self, batch_max: int) -> list[ReadableSpan]:
        """
        The spans that ended first, at most so many; they wait no more.
        """
        spans = self._ended.spans
        return [spans.popleft() for _ in range(min(batch_max, len(spans)))]

    def step(
        self, name: str, timing: AbstractContextManager[object], about: Mapping[str, Any]
    ) -> AbstractContextManager[object]:
        """
        One step of the story, as a span around its timing; only timed outside of a trace.

        ``about`` has of a receive its ``queue`` and ``url``, of a fetch its ``log_file``, and of
        a delete ``queue``, ``url`` and ``message_id``.
        """
        if name == "receive":
            receive = self._receives[about["queue"]] = _Receive(self._tracer, timing, about)
            return receive
        if not _is_sampled():
            return timing
        stage: dict[str, AnyValue] = {STAGE: name}
        if name == "fetch":
            log_file = about["log_file"]
            stage |= _FETCH
            stage["aws.s3.bucket"] = log_file.bucket[:BUCKET_LENGTH_MAX]
            stage["aws.s3.key"] = log_file.key[:KEY_LENGTH_MAX]
            return _Step(self._tracer, GET_OBJECT, timing, SpanKind.CLIENT, stage)
        if name == "delete":
            stage |= _call("delete", "settle", about)
            stage["messaging.message.id"] = about["message_id"]
            name = f"delete {about['queue']}"
            return _Step(self._tracer, name, timing, SpanKind.CLIENT, stage)
        return _Step(self._tracer, name, timing, attributes=stage)

    def received(self, queue: str, trace_headers: Sequence[str]) -> None:
        """
        The receive of this queue that has just ended brought so many messages.

        There is an AWSTraceHeader, or "", for each. Messages taken in hand next by this task, or
        by tasks that it makes, belong to the trace that begins here; it begins with the receive.
        """
        receive = self._receives.pop(queue, None)
        if receive and trace_headers:
            links = [link for header in trace_headers for link in _links(header)]
            span = receive.span({"messaging.batch.message_count": len(trace_headers)}, links)
            span.end()
            attach(set_span_in_context(span, _NO_TRACE))

    def message(
        self, queue: str, message_id: str, body: str, receives: int, trace_header: str
    ) -> AbstractContextManager[object]:
        """
        The whole of one message in hand, from its receipt to its end.

        ``receives`` is how often it has been received, this time included.
        """
        if not _is_sampled():
            return _UNTIMED
        attributes = {
            **_operation(queue, "process", "process"),
            "messaging.message.id": message_id,
            "messaging.message.body.size": len(body.encode(errors="replace")),
            "codecommit.message.receives": receives,
        }
        return _Step(
            self._tracer,
            f"process {queue}",
            _UNTIMED,
            SpanKind.CONSUMER,
            attributes,
            _links(trace_header),
        )

    def note(self, **attributes: str | int | bool) -> None:
        """
        Say more of the innermost step or message under way, if any; see ``NOTES``.

        With an ``error_type`` it has failed.
        """
        span = get_current_span()
        if span.is_recording():
            span.set_attributes({NOTES[name]: value for name, value in attributes.items()})
            if "error_type" in attributes:
                span.set_status(StatusCode.ERROR)


class _Ended(SpanProcessor):
    """
    Keeps ended spans, up to a number of them.

    The library's own processor for this has a thread that is waited for at exit for up to half
    a minute, writes a log line for each span it drops, and tells nobody how many those were.
    """

    def __init__(
        self,
        spans_max: int,
        batch_max: int,
        ready: Callable[[], object],
        dropped: Callable[[int], object],
    ) -> None:
        self.spans = deque[ReadableSpan]()
        self._spans_max = spans_max
        self._batch_max = batch_max
        self._ready = ready
        self._dropped = dropped

    def on_end(self, span: ReadableSpan) -> None:
        """
        Keep a span if there is room. Those of traces that are not sampled do not get here.
        """
        if len(self.spans) == self._spans_max:
            self._dropped(1)
            return
        self.spans.append(span)
        if len(self.spans) == self._batch_max:
            self._ready()


class _Receive:
    """
    A receive under way. Whether it makes a span is known by what it brings.
    """

    __slots__ = ("_about", "_begun_ns", "_timing", "_tracer")

    def __init__(
        self, tracer: Tracer, timing: AbstractContextManager[object], about: Mapping[str, Any]
    ) -> None:
        self._tracer = tracer
        self._timing = timing
        self._about = about
        self._begun_ns = 0

    def __enter__(self) -> None:
        # The trace of what the receive before this one brought goes on without this task.
        attach(_NO_TRACE)
        self._begun_ns = time.time_ns()
        self._timing.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timing.__exit__(kind, error, traceback)
        if isinstance(error, Exception):
            span = self.span({})
            _fail(span, error)
            span.end()

    def span(self, attributes: Mapping[str, AnyValue], links: Sequence[Link] = ()) -> Span:
        """
        A span since the receive began, the first of a trace.
        """
        return self._tracer.start_span(
            f"receive {self._about['queue']}",
            _NO_TRACE,
            SpanKind.CLIENT,
            {STAGE: "receive", **_call("receive", "receive", self._about), **attributes},
            links,
            self._begun_ns,
        )


class _Step:
    """
    A step or a message under way: a span around a timing, and what is current in its block.
    """

    __slots__ = ("_attributes", "_kind", "_links", "_name", "_span", "_timing", "_token", "_tracer")

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        timing: AbstractContextManager[object],
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, AnyValue] | None = None,
        links: Sequence[Link] = (),
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._timing = timing
        self._kind = kind
        self._attributes = attributes
        self._links = links

    def __enter__(self) -> None:
        context = get_current()
        self._span = self._tracer.start_span(
            self._name, context, self._kind, self._attributes, self._links
        )
        self._token = attach(set_span_in_context(self._span, context))
        self._timing.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timing.__exit__(kind, error, traceback)
        detach(self._token)
        if isinstance(error, Exception):
            _fail(self._span, error)
        self._span.end()


def _is_sampled() -> bool:
    """
    Whether a trace is under way that is told in full.
    """
    return get_current_span().get_span_context().trace_flags.sampled


def _fail(span: Span, error: Exception) -> None:
    span.set_attribute(ERROR_TYPE, kind_of(error))
    span.set_status(StatusCode.ERROR)


def _operation(queue: str, name: str, kind: str) -> dict[str, AnyValue]:
    """
    What the conventions say of anything that is done with messages.
    """
    return {
        "messaging.system": "aws_sqs",
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": queue,
    }


def _call(name: str, kind: str, about: Mapping[str, Any]) -> dict[str, AnyValue]:
    """
    The same of a call to the queue.
    """
    return {
        **_operation(about["queue"], name, kind),
        **_server(about["url"]),
        "aws.sqs.queue.url": about["url"],
    }


@cache
def _server(url: str) -> dict[str, AnyValue]:
    """
    Who is called at a URL.
    """
    parts = urlsplit(url)
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    return {"server.address": parts.hostname or "", "server.port": port}


def _links(trace_header: str) -> list[Link]:
    """
    A link to the span that sent a message, if its AWSTraceHeader names one.

    The header has ``Root=1-<8 digits>-<24 digits>;Parent=<16 digits>;Sampled=1`` and, where it has
    come a long way, more; in any order (AWS X-Ray Developer Guide, "Tracing header"). The library
    leaves out links with an id that is all zeros.
    """
    told = dict(part.strip().partition("=")[::2] for part in trace_header.split(";"))
    root = _ROOT.fullmatch(told.get("Root", ""))
    parent = _PARENT.fullmatch(told.get("Parent", ""))
    if root is None or parent is None:
        return []
    flags = _SAMPLED if told.get("Sampled") == "1" else TraceFlags()
    trace_id, span_id = int(root[1] + root[2], 16), int(parent[0], 16)
    return [Link(SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags))]
