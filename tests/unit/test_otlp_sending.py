"""
What counts as accepted, what is told of what is not, and that nobody waits for it.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import threading
import weakref
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial as partial_of
from typing import TYPE_CHECKING, Any

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics.export import MetricsData
from requests.adapters import HTTPAdapter

from exporter.errors import ExportFailed, ExportRefused, ExportRejected
from exporter.otlp.points import own_request, own_resource
from exporter.otlp.sending import Courier, Endpoint, metrics_endpoint
from exporter.otlp.session import Session, without_secrets
from exporter.otlp.traces import Traces
from exporter.telemetry import Telemetry
from tests.otlp import (
    DRIP,
    HANG,
    METRICS,
    REDIRECT,
    Answer,
    Receiver,
    dead_endpoint,
    partial,
    refused,
    slow,
)

if TYPE_CHECKING:
    from pathlib import Path

    from requests import Response

SECONDS = 0.3
"""How long a request may take where that is not the point."""


def batch() -> MetricsData:
    """
    Something to send.
    """
    telemetry = Telemetry()
    metrics = telemetry.registry.collect()
    return own_request(own_resource(), metrics, telemetry.begun_ms, telemetry.begun_ms + 1)


def endpoint(url: str, seconds: float = SECONDS) -> Endpoint[MetricsData]:
    return metrics_endpoint(f"{url}{METRICS}", seconds)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        Answer(202),
        Answer(204),
        Answer(headers={"Content-Type": "application/json"}, body=b"{}"),
        Answer(headers={"Content-Type": "application/json"}, body=b"no message"),
        Answer(headers={"Content-Type": "text/plain"}, body=b"OK"),
        Answer(body=b"\xff\xff no message"),
        partial(0, "all is well, but write shorter names"),
        slow(0.05),
    ],
    ids=str,
)
def test_success_is_acceptance_whatever_else_is_said(answer: Answer) -> None:
    """
    Some receivers answer in words of their own, and warn without rejecting.
    """
    with Receiver(answer) as receiver:
        endpoint(receiver.endpoint, 10).export(batch())

    assert [METRICS] == [request.path for request in receiver.requests]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refused(400), "answered 400"),
        (refused(401), "answered 401"),
        (refused(404), "answered 404"),
        (refused(413), "answered 413"),
        (refused(500), "answered 500"),
        (refused(503), "answered 503"),
        (refused(429, Retry_After="1"), "answered 429"),
        (REDIRECT, "answered 302"),
        (replace(REDIRECT, ends=False), "no whole answer in 0.3 s"),
        (Answer(headers={"Content-Type": "text/html"}, body=b"<html>"), "a page for people"),
        (HANG, "no whole answer in 0.3 s"),
        (DRIP, "no whole answer in 0.3 s"),
        (slow(5), "no whole answer in 0.3 s"),
    ],
    ids=str,
)
def test_anything_else_is_failure(answer: Answer, told: str) -> None:
    """
    It is told with the address and what was wrong, in one sentence.
    """
    with Receiver(answer) as receiver:
        url = f"{receiver.endpoint}{METRICS}"
        with pytest.raises(ExportFailed) as failure:
            endpoint(receiver.endpoint).export(batch())

    assert not isinstance(failure.value, ExportRejected)
    assert str(failure.value).startswith(url)
    assert told in str(failure.value)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(400, body=Status(message="series limit of 7 exceeded").SerializeToString()),
        Answer(400, {"Content-Type": "text/plain"}, b"series limit of 7 exceeded"),
    ],
)
def test_what_an_endpoint_says_is_told(answer: Answer) -> None:
    """
    OTLP has a message for it; some write it down as it is.
    """
    with Receiver(answer) as receiver, pytest.raises(ExportRefused) as failure:
        endpoint(receiver.endpoint).export(batch())

    assert str(failure.value).endswith("answered 400: series limit of 7 exceeded")


@pytest.mark.parametrize("bound", ["ANSWER_BYTES_MAX", "WORDS_MAX"])
def test_no_more_is_told_than_anybody_reads(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """
    Nor is more taken from an endpoint that goes on and on.
    """
    monkeypatch.setattr(f"exporter.otlp.session.{bound}", 10)
    answer = Answer(400, {"Content-Type": "text/plain"}, b"0123456789, and so on")
    with Receiver(answer) as receiver, pytest.raises(ExportRefused) as failure:
        endpoint(receiver.endpoint).export(batch())

    assert str(failure.value).endswith("answered 400: 0123456789")


@pytest.mark.parametrize("status", [400, 401, 413, 429, 500, 502, 503, 504])
def test_who_is_overloaded_takes_no_other_request(status: int) -> None:
    """
    Others may take the next one.
    """
    with Receiver(refused(status)) as receiver, pytest.raises(ExportFailed) as failure:
        endpoint(receiver.endpoint).export(batch())

    assert (status not in {429, 502, 503, 504}) is isinstance(failure.value, ExportRefused)


def test_a_part_is_not_the_whole() -> None:
    """
    What the receiver rejected, and why, is told.
    """
    with Receiver(partial(3, "out of bounds")) as receiver:
        with pytest.raises(ExportRejected) as failure:
            endpoint(receiver.endpoint).export(batch())

        assert f"{receiver.endpoint}{METRICS} rejected 3: out of bounds" == str(failure.value)
        assert 3 == failure.value.rejected


@pytest.mark.parametrize("rejected", [-1, 0])
def test_what_is_no_number_of_points_is_not_rejected(rejected: int) -> None:
    """
    A receiver that only warns says 0.
    """
    with Receiver(partial(rejected, "write shorter names")) as receiver:
        endpoint(receiver.endpoint).export(batch())


def test_a_type_is_a_type_in_any_letters() -> None:
    """
    HTTP does not tell large ones from small.
    """
    answer = replace(partial(3, "no"), headers={"Content-Type": "Application/X-Protobuf ;v=1"})
    with Receiver(answer) as receiver, pytest.raises(ExportRejected):
        endpoint(receiver.endpoint).export(batch())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (b"unknown: 'Bearer SECRET-TOKEN'", "unknown: '... ...'"),
        (b"no session COOKIE-SECRET", "no session ..."),
        (b"Cannot POST /v1/metrics?key=QUERY-SECRET", "Cannot POST /v1/metrics?key=..."),
        (b"no key encoded/SECRET", "no key ..."),
        (b"no collector 0123456789%2Fbcdef-SECRET", "no collector ..."),
        (b"no collector 0123456789/bcdef-SECRET", "no collector ..."),
        (b"application/x-protobuf is not supported", "application/x-protobuf is not supported"),
    ],
)
def test_no_secret_is_told_of_what_an_endpoint_says(
    monkeypatch: pytest.MonkeyPatch, words: bytes, told: str
) -> None:
    """
    Gateways quote what they refuse, and the log is no place for it.
    """
    headers = (
        "x-tenant=SECRET,authorization=Bearer%20SECRET-TOKEN,cookie=id%3DCOOKIE-SECRET%3Bx%3D1"
    )
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
    answer = Answer(401, {"Content-Type": "text/plain"}, words)
    path = f"/0123456789%2Fbcdef-SECRET{METRICS}?key=QUERY-SECRET&other=encoded%2FSECRET"
    with Receiver(answer) as receiver, pytest.raises(ExportRefused) as failure:
        metrics_endpoint(receiver.endpoint + path, 10).export(batch())

    assert str(failure.value) == f"{receiver.endpoint}/...{METRICS} answered 401: {told}"


def test_a_part_is_told_in_json_as_well() -> None:
    """
    Some receivers answer so whatever they are sent.
    """
    body = b'{"more": 1, "partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "no"}}'
    answer = Answer(headers={"Content-Type": "application/json"}, body=body)
    with Receiver(answer) as receiver, pytest.raises(ExportRejected, match="rejected 3: no"):
        endpoint(receiver.endpoint).export(batch())


def test_what_is_set_for_everybody_gives_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    A password of a .netrc, and certificates for all requests, are not taken for those of OTLP.
    """
    netrc, certificates = tmp_path / "netrc", tmp_path / "own.pem"
    netrc.write_text("machine 127.0.0.1 login bob password word\n")
    netrc.chmod(0o600)
    certificates.write_text("")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "everybody.pem"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificates))
    verified: list[object] = []
    send = HTTPAdapter.send

    def sent(self: HTTPAdapter, *args: Any, **options: Any) -> Response:
        verified.append(options["verify"])
        return send(self, *args, **options)

    monkeypatch.setattr(HTTPAdapter, "send", sent)
    with Receiver() as receiver:
        endpoint(receiver.endpoint).export(batch())
        (request,) = receiver.accepted()

    assert "Bearer token" == request.headers["authorization"]
    assert [str(certificates)] == verified


def test_no_other_provider_of_meters_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One that is not installed would end the program.
    """
    monkeypatch.setenv("OTEL_PYTHON_METER_PROVIDER", "not_installed")
    with Receiver() as receiver:
        endpoint(receiver.endpoint).export(batch())
        Traces(own_resource(), queue_max=1, batch_max=1, ready=list, dropped=str)

    assert 1 == len(receiver.requests)


def test_what_is_overloaded_is_asked_again() -> None:
    """
    The library repeats what may succeed later, and what comes of it in the end counts.
    """
    with Receiver(refused(503, Retry_After="0.01")) as receiver:
        errand = threading.Thread(target=endpoint(receiver.endpoint, 10).export, args=(batch(),))
        errand.start()
        while not receiver.requests:
            errand.join(0.01)
        receiver.answer = Answer()
        errand.join()

        assert 1 == len(receiver.accepted())


@pytest.mark.parametrize(("seconds", "wanted"), [(0, 10), (10, 0), (10, -60)])
def test_nothing_is_sent_when_there_is_no_time_left(seconds: float, wanted: float) -> None:
    """
    However much, or little, the library believes there is, which goes by the clock on the wall.
    """
    session = Session(ExportMetricsServiceResponse, seconds)
    session.begin()
    with Receiver() as receiver:
        session.request("POST", url=f"{receiver.endpoint}{METRICS}", data=b"", timeout=wanted)

    assert [] == [*receiver.requests, *receiver.foreign]
    assert f"no whole answer in {seconds} s" in str(session.failure)


def test_certificates_that_are_nowhere_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    By the name of the file, which a variable for all programs has.
    """
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/all.pem")
    with pytest.raises(ExportFailed, match=r"/nowhere/all\.pem"):
        endpoint("https://127.0.0.1:1").export(batch())


def test_where_nobody_listens() -> None:
    """
    No connection is told as such.
    """
    with dead_endpoint() as url, pytest.raises(ExportFailed, match="Connection refused"):
        endpoint(url).export(batch())


def test_where_there_is_no_host() -> None:
    """
    The system's own words, which name no more than what is wrong.
    """
    with pytest.raises(ExportFailed) as failure:
        endpoint("http://nowhere.invalid:4318").export(batch())

    told, _, cause = str(failure.value).rpartition(": ")
    assert f"http://nowhere.invalid:4318{METRICS}" == told
    assert cause in {os.strerror(number) for number in errno.errorcode} | {
        "Name or service not known",
        "Temporary failure in name resolution",
        "No address associated with hostname",
    }


def test_who_speaks_no_tls() -> None:
    """
    What TLS says is wrong, and not only that something is.
    """
    with Receiver() as receiver, pytest.raises(ExportFailed, match=r"\[SSL"):
        endpoint(receiver.endpoint.replace("http:", "https:")).export(batch())


@pytest.mark.parametrize(
    ("status", "word"), [(401, "HEADERS"), (404, "path"), (400, "answer"), (503, "next export")]
)
def test_each_answer_has_its_hint(status: int, word: str) -> None:
    """
    What is to be done depends on what is wrong.
    """
    with Receiver(refused(status)) as receiver, pytest.raises(ExportFailed) as failure:
        endpoint(receiver.endpoint).export(batch())

    assert word in failure.value.hint


def test_what_is_too_large_to_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The library keeps it without a request; that is no acceptance.
    """
    monkeypatch.setattr(
        "opentelemetry.exporter.otlp.proto.http.metric_exporter._DEFAULT_MAX_REQUEST_SIZE", 10
    )
    with Receiver() as receiver:
        with pytest.raises(ExportFailed, match="nothing was sent"):
            endpoint(receiver.endpoint).export(batch())

        assert [] == receiver.requests


def test_the_variables_that_the_library_reads_are_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Headers and compression are those of the signal, or of all.
    """
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20eDp5,x-all=1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip")
    with Receiver() as receiver:
        endpoint(receiver.endpoint).export(batch())
        (request,) = receiver.accepted()

    assert ("Basic eDp5", "1", "gzip") == tuple(
        request.headers[name] for name in ("authorization", "x-all", "content-encoding")
    )


@pytest.mark.parametrize(
    "answer",
    [refused(400), refused(503, Retry_After="9"), REDIRECT, HANG, DRIP, partial(1, "no"), None],
    ids=str,
)
async def test_what_was_not_sent_is_let_go(answer: Answer | None) -> None:
    """
    At once, and not when the garbage collector comes by. Without an answer nobody listens.
    """
    with ExitStack() as stack:
        url = (
            stack.enter_context(Receiver(answer)).endpoint
            if answer
            else stack.enter_context(dead_endpoint())
        )
        courier, sent = Courier("a courier"), batch()
        gone = threading.Event()
        weakref.finalize(sent, gone.set)
        gc.collect()
        gc.disable()
        stack.callback(gc.enable)
        with suppress(ExportFailed):
            await courier.run(partial_of(endpoint(url).export, sent))
        del sent

        assert await asyncio.to_thread(gone.wait, 20)


def test_an_address_is_told_without_its_secrets() -> None:
    """
    Tokens are in queries as well as before the host.
    """
    assert "https://host:1/v1" == without_secrets("https://user:word@host:1/v1?token=x#y")
    assert "https://host/in/.../v1" == without_secrets(f"https://host/in/{'t0' * 10}/v1")


async def test_an_errand_is_run_elsewhere_and_what_comes_of_it_is_told() -> None:
    """
    Errands are run one after the other, by one thread that no exit waits for.
    """
    courier = Courier("a courier")
    threads: list[threading.Thread] = []
    await courier.run(lambda: threads.append(threading.current_thread()))
    with pytest.raises(ExportFailed, match="no"):
        await courier.run(endpoint_that_fails)
    await courier.run(lambda: threads.append(threading.current_thread()))

    assert ["a courier"] * 2 == [thread.name for thread in threads]
    assert [True] * 2 == [thread.daemon for thread in threads]


def endpoint_that_fails() -> None:
    raise ExportFailed("no")


async def test_who_stops_waiting_does_not_stop_the_courier() -> None:
    """
    The errand goes on, and the next one is run after it; none that was given up before it began.
    """
    courier, door, done = Courier("a courier"), threading.Event(), list[str]()

    def first() -> None:
        door.wait()
        done.append("first")

    for errand in (first, lambda: done.append("given up")):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await courier.run(errand)
    second = asyncio.ensure_future(courier.run(lambda: done.append("second")))
    door.set()
    await second

    assert ["first", "second"] == done
