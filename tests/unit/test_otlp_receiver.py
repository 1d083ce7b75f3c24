"""
The receiver under OpenTelemetry's own exporters, and the replay of points told by hand.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link as SdkLink, SpanKind

from tests.otlp import (
    ACCEPT,
    DRIP,
    HANG,
    METRICS,
    PROTOBUF,
    REDIRECT,
    TRACES,
    Answer,
    Kind,
    Link,
    Point,
    Receiver,
    Streams,
    as_prometheus,
    dead_endpoint,
    partial,
    prometheus_name,
    refused,
    samples_of,
    slow,
)
from tests.processes import TEXT, Page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.metrics import Meter

COUNTED = Point("codecommit.events", Kind.MONOTONIC_SUM, (3,), 100, 200, unit="{event}")
MEASURED = Point("codecommit.wait", Kind.HISTOGRAM, (3, 7.5, 1, 2), 100, 200, bounds=(5,), unit="s")
SHOWN = Point("codecommit.queue", Kind.GAUGE, (3,), 0, 200)


@contextmanager
def meter(
    receiver: Receiver, compression: Compression = Compression.NoCompression
) -> Iterator[Meter]:
    """
    Instruments of OpenTelemetry's SDK, which are exported at the end of the block.
    """
    exporter = OTLPMetricExporter(
        f"{receiver.endpoint}{METRICS}", headers={"X-Key": "abc"}, compression=compression
    )
    provider = MeterProvider(
        [PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)],
        Resource({"service.name": "test"}),
        shutdown_on_exit=False,
    )
    yield provider.get_meter("a scope")
    provider.shutdown()


def post(receiver: Receiver, path: str = METRICS, body: bytes = b"") -> requests.Response:
    """
    One export, as a client sends it that reads an answer for half a second at most.
    """
    return requests.post(
        f"{receiver.endpoint}{path}",
        data=body,
        headers={"Content-Type": PROTOBUF, "Connection": "close"},
        timeout=0.5,
        allow_redirects=False,
    )


@pytest.mark.parametrize("compression", Compression)
def test_metrics_are_received_as_they_were_sent(compression: Compression) -> None:
    """
    Sums, gauges and histograms arrive with their attributes, whatever the compression.
    """
    with Receiver() as receiver:
        with meter(receiver, compression) as instruments:
            instruments.create_counter("pulls", "{pull}").add(2, {"of": "tools"})
            instruments.create_up_down_counter("open").add(-1.5)
            instruments.create_gauge("age", "s").set(4, {"known": True})
            instruments.create_histogram(
                "size", "By", explicit_bucket_boundaries_advisory=[10, 100]
            ).record(30)
        [request] = receiver.accepted()
        points = {point.name: point for point in request.points()}

    expected: dict[str, dict[str, Any]] = {
        "pulls": {
            "kind": Kind.MONOTONIC_SUM,
            "amounts": (2,),
            "unit": "{pull}",
            "attributes": frozenset({("of", "tools")}),
        },
        "open": {"kind": Kind.SUM, "amounts": (-1.5,)},
        "age": {
            "kind": Kind.GAUGE,
            "amounts": (4,),
            "unit": "s",
            "attributes": frozenset({("known", True)}),
        },
        "size": {
            "kind": Kind.HISTOGRAM,
            "amounts": (1, 30, 0, 1, 0),
            "bounds": (10, 100),
            "unit": "By",
        },
    }
    assert expected.keys() == points.keys()
    for name, point in points.items():
        resource = frozenset({("service.name", "test")})
        known = expected[name] | {"scope": "a scope", "resource": resource}
        assert replace(point, **known) == point
    assert "abc" == request.headers["x-key"]
    assert compression.value == request.headers.get("content-encoding", "none")
    assert [] == receiver.foreign
    assert [] == Streams().replay([request]).violations


def test_spans_are_received_as_they_were_sent() -> None:
    """
    Ids, parents, links and attributes arrive.
    """
    with Receiver() as receiver:
        provider = TracerProvider(resource=Resource({"a": 1}), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{receiver.endpoint}{TRACES}")
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("a scope")
        with tracer.start_as_current_span("whole", kind=SpanKind.CONSUMER) as whole:
            link = SdkLink(whole.get_span_context())
            tracer.start_span("part", links=[link], attributes={"sizes": [1, 2]}).end()
        provider.shutdown()
        part, outer = receiver.spans()

    assert ("part", "whole") == (part.name, outer.name)
    assert (outer.span_id, "") == (part.parent_id, outer.parent_id)
    assert part.trace_id == outer.trace_id
    assert (Link(outer.trace_id, outer.span_id),) == part.links
    assert {"sizes": (1, 2)} == part.attributes
    assert ("CONSUMER", "INTERNAL") == (outer.kind, part.kind)
    assert outer.start_ns <= part.start_ns <= part.end_ns <= outer.end_ns
    assert frozenset({("a", 1)}) == part.resource


@pytest.mark.parametrize(
    ("answer", "status", "accepted"),
    [
        (ACCEPT, 200, 1),
        (slow(0.1), 200, 1),
        (partial(0, "take care"), 200, 1),
        (partial(2, "too old"), 200, 0),
        (refused(400), 400, 0),
        (refused(429, Retry_After="7"), 429, 0),
        (REDIRECT, 302, 0),
    ],
)
def test_answers_are_given_as_told(answer: Answer, status: int, accepted: int) -> None:
    """
    The request is kept with its answer; only what was taken in full is accepted.
    """
    with Receiver(answer) as receiver:
        response = post(receiver)

        assert status == response.status_code
        assert answer.headers.items() <= response.headers.items()
        assert [answer] == [request.answer for request in receiver.requests]
        assert accepted == len(receiver.accepted())
    if answer.rejected:
        told = ExportMetricsServiceResponse.FromString(response.content).partial_success
        assert (2, "too old") == (told.rejected_data_points, told.error_message)


@contextmanager
def asked(receiver: Receiver) -> Iterator[HTTPConnection]:
    """
    A connection on which an export has been sent, whose answer is waited for only shortly.
    """
    connection = HTTPConnection(urlsplit(receiver.endpoint).netloc, timeout=0.2)
    connection.request("POST", METRICS, b"", {"Content-Type": PROTOBUF})
    yield connection
    connection.close()


def test_an_answer_that_does_not_come() -> None:
    """
    The client waits until the receiver is closed, which it can be at any time.
    """
    with Receiver(HANG) as receiver, asked(receiver) as connection:
        with pytest.raises(TimeoutError):
            connection.getresponse()

        assert [HANG] == [request.answer for request in receiver.requests]
        assert [] == receiver.accepted()


def test_an_answer_that_does_not_end() -> None:
    """
    A byte comes often enough for a client that waits for the next one only.
    """
    with Receiver(DRIP) as receiver, asked(receiver) as connection:
        response = connection.getresponse()

        assert (200, bytes(5)) == (response.status, response.read(5))
        assert [] == receiver.accepted()


def test_what_is_no_export_is_told() -> None:
    """
    A page that is asked for, an unknown path and a body that cannot be read are kept apart.
    """
    with Receiver() as receiver:
        requests.get(f"{receiver.endpoint}/login", timeout=5, headers={"Connection": "close"})
        codes = [post(receiver, "/v1/logs").status_code, post(receiver, body=b"\1").status_code]

        assert [400, 400] == codes
        assert ["GET /login", "POST /v1/logs", f"POST {METRICS}"] == [
            " ".join(line.split()[:2]) for line in receiver.foreign
        ]
        assert [] == receiver.requests


def test_a_client_that_ends_in_the_middle() -> None:
    """
    What was not sent to its end is nothing.
    """
    with Receiver() as receiver:
        with socket.create_connection(
            ("127.0.0.1", urlsplit(receiver.endpoint).port or 0)
        ) as client:
            client.sendall(b"POST /v1/metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\n1234")
            client.shutdown(socket.SHUT_WR)
            assert b"" == client.recv(1)

        assert [] == receiver.requests
        assert [] == receiver.foreign


def test_a_dead_endpoint_refuses_connections() -> None:
    """
    Nobody listens there.
    """
    with dead_endpoint() as endpoint, pytest.raises(requests.ConnectionError):
        requests.post(endpoint, timeout=5)


def replayed(*exports: Sequence[Point]) -> Streams:
    """
    Some exports, replayed.
    """
    streams = Streams()
    for points in exports:
        streams.add(points)
    return streams


def later(point: Point, *amounts: float, **fields: Any) -> Point:
    """
    A point a while after another, 100 ns where nothing else is said.
    """
    return replace(point, amounts=amounts, **({"time_ns": point.time_ns + 100} | fields))


def test_a_stream_that_goes_on_and_begins_anew() -> None:
    """
    Values of one start hold each other, those of another start come on top.
    """
    anew = later(COUNTED, 4, start_ns=300, time_ns=400)
    streams = replayed([COUNTED], [later(COUNTED, 5)], [anew], [later(anew, 6)])

    assert [] == streams.violations
    assert ["codecommit.events{}"] == streams.resets
    assert [(5 + 6,)] == [total.amounts for total in streams.totals()]


def test_each_part_of_a_histogram_is_summed() -> None:
    """
    Count, sum and every bucket begin anew together.
    """
    anew = later(MEASURED, 1, 0.5, 1, 0, start_ns=200, time_ns=300)
    streams = replayed([MEASURED], [anew])

    assert [] == streams.violations
    assert [(4, 8.0, 2, 2)] == [total.amounts for total in streams.totals()]


def test_streams_of_several_resources_add_up() -> None:
    """
    A total is of a name and its attributes; each resource has a stream of its own.
    """
    other = replace(COUNTED, resource=frozenset({("service.instance.id", "2")}))
    third = replace(COUNTED, attributes=frozenset({("of", "tools")}))
    streams = replayed([COUNTED, third, SHOWN], [other])

    assert [] == streams.violations
    assert [(6,), (3,)] == [total.amounts for total in streams.totals()]
    assert {COUNTED.resource, other.resource} == streams.resources("codecommit.")


def test_a_gauge_may_fall() -> None:
    """
    It needs no start, either.
    """
    assert [] == replayed([SHOWN], [later(SHOWN, 1)]).violations


@pytest.mark.parametrize(
    ("exports", "violation"),
    [
        ([[COUNTED, later(COUNTED, 3)]], "comes more than once in a request"),
        ([[replace(COUNTED, start_ns=200)]], "does not start before its time"),
        ([[replace(COUNTED, start_ns=0)]], "does not start before its time"),
        ([[replace(COUNTED, cumulative=False)]], "is not cumulative"),
        ([[replace(COUNTED, attributes=frozenset({("a", "")}))]], "has an empty attribute"),
        ([[replace(COUNTED, resource=frozenset({("a", "")}))]], "has an empty attribute"),
        ([[COUNTED], [replace(COUNTED, time_ns=300, unit="s")]], "has two units or kinds"),
        ([[COUNTED], [COUNTED]], "does not go on in time"),
        ([[SHOWN], [SHOWN]], "does not go on in time"),
        ([[COUNTED], [later(COUNTED, 2)]], "fell from (3,) to (2,)"),
        ([[COUNTED], [later(COUNTED, 2, start_ns=199)]], "starts anew before the time of the"),
        ([[COUNTED], [later(COUNTED, 4, start_ns=99)]], "starts anew before the time of the"),
        ([[replace(MEASURED, amounts=(3, 7.5, 1, 1))]], "has another count than its buckets"),
        ([[replace(MEASURED, amounts=(3, 7.5, 3))]], "has not one bucket more than bounds"),
        (
            [[replace(MEASURED, amounts=(3, 1.0, 1, 1, 1), bounds=(5, 5))]],
            "has bounds that do not grow",
        ),
        ([[MEASURED], [later(MEASURED, 3, 7.5, 1, 2, bounds=(6,))]], "has other bounds than"),
        ([[MEASURED], [later(MEASURED, 3, 7.5, 2, 1)]], "fell from (3, 7.5, 1, 2)"),
        ([[MEASURED], [later(MEASURED, 4, 7, 2, 2)]], "fell from (3, 7.5, 1, 2)"),
    ],
)
def test_each_violation_is_found(exports: Sequence[Sequence[Point]], violation: str) -> None:
    """
    What breaks one rule is told, of the point that breaks it.
    """
    violations = set(replayed(*exports).violations)

    assert 1 == len(violations)
    assert violation in violations.pop()


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("codecommit.events", "{event}", Kind.MONOTONIC_SUM, "codecommit_events_total"),
        ("codecommit.push_references", "{ref}", Kind.HISTOGRAM, "codecommit_push_references"),
        ("codecommit.event_delivery", "s", Kind.HISTOGRAM, "codecommit_event_delivery_seconds"),
        ("a.log_file", "By", Kind.MONOTONIC_SUM, "a_log_file_bytes_total"),
        ("a.total.bytes", "By", Kind.MONOTONIC_SUM, "a_bytes_total"),
        ("a..b", "", Kind.GAUGE, "a_b"),
        ("a", "1", Kind.GAUGE, "a_ratio"),
        ("a", "1", Kind.SUM, "a"),
        ("a", "furlong", Kind.GAUGE, "a_furlong"),
    ],
)
def test_names_as_prometheus_translates_them(
    name: str, unit: str, kind: Kind, expected: str
) -> None:
    """
    Dots become underscores; unit and kind are appended where they are not there yet.
    """
    assert expected == prometheus_name(name, unit, kind)


def test_points_beside_a_page() -> None:
    """
    Points become the samples of a page that says the same, its empty labels aside.
    """
    attributes = frozenset({("vcs.repository.name", "tools"), ("codecommit.moved", True)})
    points = [replace(COUNTED, attributes=attributes), MEASURED]
    text = """\
# TYPE codecommit_events_total counter
codecommit_events_total{repository="tools",protocol="",codecommit_moved="true"} 3.0
# TYPE codecommit_wait_seconds histogram
codecommit_wait_seconds_bucket{le="5.0"} 1.0
codecommit_wait_seconds_bucket{le="+Inf"} 3.0
codecommit_wait_seconds_count 3.0
codecommit_wait_seconds_sum 7.5
codecommit_wait_seconds_created 7.5
"""
    expected = samples_of(Page(text, TEXT))

    assert expected == as_prometheus(points, {"vcs.repository.name": "repository"})


def test_two_streams_that_become_one() -> None:
    """
    Prometheus could keep only one of them.
    """
    other = replace(COUNTED, name="codecommit_events")

    with pytest.raises(AssertionError, match="two streams become"):
        as_prometheus([COUNTED, other])
