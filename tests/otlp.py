"""
What receives OpenTelemetry's protocol in tests, and what a backend would make of it.

``Receiver`` takes real requests over real HTTP and answers as told. ``Streams`` replays the
points of cumulative metrics by the rules of OpenTelemetry's data model. Nothing here is shared
with the program:

1. A stream is known by its resource, its scope, its name, unit and kind, and its attributes.
2. A point tells what has been summed since its start, which lies before its time.
3. The times of a stream grow from point to point.
4. With the start of the point before, a value holds the one before and what came since.
5. With another start, which is no earlier than the time of the point before, the sum began
   anew at 0: the whole value is what came since.
6. The first point of a stream counts whole.
"""

from __future__ import annotations

import gzip
import re
import socket
import sys
import threading
import zlib
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate, pairwise
from operator import add, lt
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tests.processes import Page

Attributes = frozenset[tuple[str, Any]]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""What Prometheus has at a moment, by name and labels; empty labels are left out."""

METRICS, TRACES = "/v1/metrics", "/v1/traces"
PROTOBUF = "application/x-protobuf"
DRIP_SECONDS = 0.05
INFLATED: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}

UNITS = {"s": "seconds", "ms": "milliseconds", "By": "bytes", "%": "percent", "1": ""}
"""What Prometheus appends to a name for a unit; any other unit is appended as it is."""


class Kind(StrEnum):
    """
    What the points of a metric are.
    """

    GAUGE = "gauge"
    SUM = "sum"
    MONOTONIC_SUM = "monotonic sum"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Point:
    """
    One point of a metric.

    ``amounts`` is the value of a gauge or sum, and of a histogram its count, its sum and the
    count of each bucket, ``bounds`` lying between the buckets. Times are nanoseconds since 1970.
    """

    name: str
    kind: Kind
    amounts: tuple[float, ...]
    start_ns: int
    time_ns: int
    attributes: Attributes = frozenset()
    bounds: tuple[float, ...] = ()
    unit: str = ""
    resource: Attributes = frozenset()
    scope: str = ""
    cumulative: bool = True
    exemplars: tuple[Attributes, ...] = ()

    @property
    def stream(self) -> tuple[object, ...]:
        """
        What the points of one stream have in common.
        """
        return self.resource, self.scope, self.name, self.unit, self.kind, self.attributes

    def __str__(self) -> str:
        attributes = ", ".join(f"{name}={value}" for name, value in sorted(self.attributes))
        return f"{self.name}{{{attributes}}}"


class Link(NamedTuple):
    """
    A span elsewhere that a span names; both ids in hexadecimal.
    """

    trace_id: str
    span_id: str


@dataclass(frozen=True)
class Span:
    """
    One span of a trace; ``parent_id`` is empty where it has no parent.

    ``kind`` and ``status`` are words of the protocol, as ``CONSUMER`` and ``ERROR``.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    links: tuple[Link, ...]
    status: str
    resource: Attributes


@dataclass(frozen=True)
class Answer:
    """
    What a receiver does with a request.

    Args:
        status: The HTTP status.
        headers: Headers beside the usual ones.
        body: What follows them.
        after: Seconds until then.
        ends: Whether the answer ever comes to its end.
        rejected: How many points or spans it says have been rejected.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: float = 0.0
    ends: bool = True
    rejected: int = 0

    @property
    def accepts(self) -> bool:
        """
        Whether everything that was sent has been taken.
        """
        return self.status == HTTPStatus.OK and self.ends and not self.rejected


ACCEPT = Answer()
REDIRECT = Answer(302, {"Location": "/login"})
"""To a page for people, as the proxy in front of a receiver sends whoever is not logged in."""
HANG = Answer(status=0, ends=False)
"""No answer until the receiver is closed."""
DRIP = Answer(ends=False)
"""An answer of which a byte comes now and then, until the receiver is closed."""


def refused(status: int, **headers: str) -> Answer:
    """
    An HTTP error, which says no.
    """
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, spelled, Status(message="no").SerializeToString())


def partial(rejected: int, message: str) -> Answer:
    """
    Success, but so many points or spans have been rejected.
    """
    # The two signals' answers are the same on the wire, though their fields' names differ.
    answer = ExportMetricsServiceResponse()
    answer.partial_success.rejected_data_points = rejected
    answer.partial_success.error_message = message
    return Answer(body=answer.SerializeToString(), rejected=rejected)


def slow(seconds: float) -> Answer:
    """
    Success, after a while.
    """
    return Answer(after=seconds)


@dataclass(frozen=True)
class Request:
    """
    An export as it came: headers by their names in small letters, the body inflated.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    answer: Answer

    def points(self) -> list[Point]:
        """
        The points of a metrics request.
        """
        return [
            point
            for resource in ExportMetricsServiceRequest.FromString(self.body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in _points(
                metric, resource=attributes(resource.resource), scope=scope.scope.name
            )
        ]

    def spans(self) -> list[Span]:
        """
        The spans of a traces request.
        """
        return [
            _span(span, attributes(resource.resource))
            for resource in ExportTraceServiceRequest.FromString(self.body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def attributes(message: Any) -> Attributes:
    """
    The attributes of a resource, point, span or link.
    """
    names = Counter(pair.key for pair in message.attributes)
    assert not names or max(names.values()) == 1, f"an attribute comes twice: {names}"
    return _pairs(message.attributes)


def _pairs(pairs: Iterable[Any]) -> Attributes:
    return frozenset((pair.key, _value(pair.value)) for pair in pairs)


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(map(_value, value.array_value.values))
    return getattr(value, kind) if kind else None


def _points(metric: Any, **where: Any) -> Iterator[Point]:
    word = metric.WhichOneof("data")
    assert word, f"{metric.name} has no points"
    data = getattr(metric, word)
    assert data.data_points, f"{metric.name} has no points"
    kind = Kind(word)
    if kind is Kind.SUM and data.is_monotonic:
        kind = Kind.MONOTONIC_SUM
    cumulative = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    for point in data.data_points:
        yield Point(
            name=metric.name,
            kind=kind,
            amounts=_amounts(kind, point),
            start_ns=point.start_time_unix_nano,
            time_ns=point.time_unix_nano,
            attributes=attributes(point),
            bounds=tuple(point.explicit_bounds) if kind is Kind.HISTOGRAM else (),
            unit=metric.unit,
            cumulative=kind is Kind.GAUGE or data.aggregation_temporality == cumulative,
            exemplars=tuple(_pairs(one.filtered_attributes) for one in point.exemplars),
            **where,
        )


def _amounts(kind: Kind, point: Any) -> tuple[float, ...]:
    if kind is Kind.HISTOGRAM:
        return (point.count, point.sum, *point.bucket_counts)
    return (getattr(point, point.WhichOneof("value")),)


def _span(span: Any, resource: Attributes) -> Span:
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=_word(span, "kind"),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=dict(attributes(span)),
        links=tuple(Link(link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        status=_word(span.status, "code"),
        resource=resource,
    )


def _word(message: Any, field_name: str) -> str:
    values = message.DESCRIPTOR.fields_by_name[field_name].enum_type.values_by_number
    return str(values[getattr(message, field_name)].name.rpartition("_")[2])


class Receiver:
    """
    Receives OTLP over HTTP on a free port of this machine, inside the ``with`` block.

    ``answer`` may be set at any time, for the requests to come.
    """

    def __init__(self, answer: Answer = ACCEPT) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.foreign: list[str] = []
        """What came and is no export."""
        self.closing = threading.Event()

    def __enter__(self) -> Self:
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.close()

    @property
    def endpoint(self) -> str:
        """
        What OTEL_EXPORTER_OTLP_ENDPOINT must say.
        """
        return f"http://127.0.0.1:{self._server.server_port}"

    def accepted(self, path: str = METRICS) -> list[Request]:
        """
        The requests of one kind that have been accepted in full, in the order they came.
        """
        return [one for one in list(self.requests) if one.path == path and one.answer.accepts]

    def points(self) -> list[Point]:
        """
        The newest point of every stream that has been accepted.
        """
        newest = {one.stream: one for request in self.accepted() for one in request.points()}
        return list(newest.values())

    def spans(self) -> list[Span]:
        """
        Every span that has been accepted.
        """
        return [span for request in self.accepted(TRACES) for span in request.spans()]


class _Server(ThreadingHTTPServer):
    """
    Waits at its end for the threads of all connections, which it closes.
    """

    daemon_threads = False

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver = receiver
        self._open = set[Any]()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        A client that is gone is no error of the server's.
        """
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """
        Close every connection, and wait until nobody uses one.
        """
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        receiver = self.server.receiver
        answer = receiver.answer
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the client ended in the middle of it
            self.close_connection = True
            return
        try:
            receiver.requests.append(self._request(body, answer))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shall see it
            receiver.foreign.append(f"{self.requestline}: {error!r}")
            answer = refused(HTTPStatus.BAD_REQUEST)
        self._answer(answer)

    def do_GET(self) -> None:
        self.server.receiver.foreign.append(self.requestline)
        self._answer(Answer(body=b"<html>Who are you?</html>"))

    def _request(self, body: bytes, answer: Answer) -> Request:
        """
        Read an export, whatever path comes before its signal's.

        Raises:
            Exception: It is none.
        """
        headers = {name.lower(): value for name, value in self.headers.items()}
        assert headers["content-type"] == PROTOBUF, headers
        inflated = INFLATED[headers.get("content-encoding", "")](body)
        path = self.path.partition("?")[0]
        request = Request(path[path.rfind("/v1/") :], headers, inflated, answer)
        {METRICS: request.points, TRACES: request.spans}[request.path]()
        return request

    def _answer(self, answer: Answer) -> None:
        closing = self.server.receiver.closing
        if not answer.ends and not answer.status:
            closing.wait()
            self.close_connection = True
            return
        closing.wait(answer.after)
        self.send_response(answer.status)
        for name, value in {"Content-Type": PROTOBUF, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) if answer.ends else 1_000_000))
        self.end_headers()
        self.wfile.write(answer.body)
        while not answer.ends and not closing.wait(DRIP_SECONDS):
            self.wfile.write(b"\0")

    def log_message(self, *_: object) -> None:
        """
        Say nothing: what came is kept.
        """


@contextmanager
def dead_endpoint() -> Iterator[str]:
    """
    An endpoint where nobody listens; the port is nobody else's inside the block.
    """
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unheard.getsockname()[1]}"


class Streams:
    """
    The streams of all requests so far, replayed one after the other.

    ``violations`` tells, point by point, which rule of the data model has been broken, and
    ``resets`` which sums began anew.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.resets: list[str] = []
        self._last: dict[tuple[object, ...], Point] = {}
        self._before_reset: dict[tuple[object, ...], tuple[float, ...]] = {}
        self._metrics: dict[str, tuple[str, Kind]] = {}

    def replay(self, requests: Iterable[Request]) -> Self:
        """
        Take the next requests.
        """
        for request in requests:
            self.add(request.points())
        return self

    def add(self, points: Sequence[Point]) -> None:
        """
        Take the points of the next request.
        """
        streams = Counter(point.stream for point in points)
        for point in points:
            faults = [*_faults(point), *self._conflicts(point)]
            if streams[point.stream] > 1:
                faults.append("comes more than once in a request")
            faults += self._follow(point)
            self.violations += [f"{point} {fault}" for fault in faults]

    def totals(self) -> list[Point]:
        """
        The true totals of sums and histograms, as one point for each name and its attributes.
        """
        totals: dict[tuple[str, Attributes], Point] = {}
        for stream, point in self._last.items():
            if point.kind is Kind.GAUGE:
                continue
            key = point.name, point.attributes
            parts = [point.amounts]
            parts += [self._before_reset[stream]] if stream in self._before_reset else []
            parts += [totals[key].amounts] if key in totals else []
            totals[key] = replace(point, amounts=tuple(map(sum, zip(*parts, strict=True))))
        return list(totals.values())

    def resources(self, prefix: str) -> set[Attributes]:
        """
        The resources whose metrics have names that begin like this.
        """
        return {one.resource for one in self._last.values() if one.name.startswith(prefix)}

    def _conflicts(self, point: Point) -> Iterator[str]:
        meant = point.unit, point.kind
        if self._metrics.setdefault(point.name, meant) != meant:
            yield "has two units or kinds"

    def _follow(self, point: Point) -> Sequence[str]:
        """
        Put a point behind the one before, and say what is wrong between the two.
        """
        before = self._last.get(point.stream)
        self._last[point.stream] = point
        if before is None:
            return ()
        if point.kind is not Kind.GAUGE and point.start_ns != before.start_ns:
            earlier = self._before_reset.get(point.stream, (0,) * len(before.amounts))
            self._before_reset[point.stream] = tuple(map(add, earlier, before.amounts))
            self.resets.append(str(point))
        return tuple(_faults_between(before, point))


def _faults(point: Point) -> Iterator[str]:
    """
    What is wrong with a point by itself.
    """
    if not point.cumulative:
        yield "is not cumulative"
    if point.kind is not Kind.GAUGE and not 0 < point.start_ns < point.time_ns:
        yield "does not start before its time"
    if any(value in ("", None) for _, value in point.attributes | point.resource):
        yield "has an empty attribute"
    if point.kind is not Kind.HISTOGRAM:
        return
    count, _, *buckets = point.amounts
    if len(buckets) != len(point.bounds) + 1:
        yield "has not one bucket more than bounds"
    if sum(buckets) != count:
        yield "has another count than its buckets"
    if any(upper <= lower for lower, upper in pairwise(point.bounds)):
        yield "has bounds that do not grow"


def _faults_between(before: Point, point: Point) -> Iterator[str]:
    """
    What is wrong with a point after the one before in its stream.
    """
    if point.time_ns <= before.time_ns:
        yield "does not go on in time"
    if point.kind is Kind.GAUGE:
        return
    if point.start_ns != before.start_ns:
        if point.start_ns < before.time_ns:
            yield "starts anew before the time of the point before"
    elif point.bounds != before.bounds:
        yield "has other bounds than before"
    elif point.kind is not Kind.SUM and any(map(lt, point.amounts, before.amounts)):
        yield f"fell from {before.amounts} to {point.amounts}"


def as_prometheus(points: Iterable[Point], labels: Mapping[str, str] | None = None) -> Samples:
    """
    The samples that Prometheus makes of points, by its strategy UnderscoreEscapingWithSuffixes.

    Resources are left out, which become labels only where Prometheus is told so. ``labels``
    gives back the label that stands behind an attribute; others are escaped.
    """
    samples: Samples = {}
    for point in points:
        name = prometheus_name(point.name, point.unit, point.kind)
        own = frozenset(
            ((labels or {}).get(key) or _escaped(key), _text(value))
            for key, value in point.attributes
        )
        for suffix, extra, value in _parts(point):
            sample = name + suffix, own | extra
            assert sample not in samples, f"two streams become {sample}"
            samples[sample] = value
    return samples


def _parts(point: Point) -> Iterator[tuple[str, frozenset[tuple[str, str]], float]]:
    if point.kind is not Kind.HISTOGRAM:
        yield "", frozenset(), float(point.amounts[0])
        return
    count, total, *buckets = point.amounts
    yield "_count", frozenset(), float(count)
    yield "_sum", frozenset(), float(total)
    bounds = [*map(floatToGoString, point.bounds), "+Inf"]
    for bound, below in zip(bounds, accumulate(buckets), strict=True):
        yield "_bucket", frozenset({("le", bound)}), float(below)


def prometheus_name(name: str, unit: str, kind: Kind) -> str:
    """
    What Prometheus calls a metric; units of one thing per another are not known here.
    """
    words = [word for word in re.split(r"[^A-Za-z0-9:]+", name) if word]
    suffix = "" if "{" in unit else UNITS.get(unit, unit)
    if suffix and suffix not in words:
        words.append(suffix)
    ending = "total" if kind is Kind.MONOTONIC_SUM else ""
    if kind is Kind.GAUGE and unit == "1":
        ending = "ratio"
    if ending:
        words = [*(word for word in words if word != ending), ending]
    return "_".join(words)


def _escaped(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", key)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def without_empty(labels: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """
    Labels as Prometheus keeps them.
    """
    return frozenset(label for label in labels if label[1])


def samples_of(page: Page) -> Samples:
    """
    The samples of a page in the same form.
    """
    return {
        (sample.name, without_empty(sample.labels.items())): sample.value
        for family in page.families.values()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
