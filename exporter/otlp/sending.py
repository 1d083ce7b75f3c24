"""
Sending over HTTP, at nobody's expense: in a thread of its own, one request after the other.

Rules:

1. Nothing waits for an endpoint, and the process ends whatever it does; a pool of threads would
   be waited for.
2. What could not be sent is told and not kept: the next export has the totals.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import ReadableSpan

from exporter.errors import ExportFailed
from exporter.otlp.session import Session

Batch = TypeVar("Batch")
Batch_contra = TypeVar("Batch_contra", contravariant=True)


def quieten_libraries() -> None:
    """
    Let telemetry alone tell what comes of an export, without the secrets in its URL.
    """
    for name in ("opentelemetry", "urllib3.connection"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class Courier:
    """
    A thread that runs errands, one after the other.
    """

    def __init__(self, name: str) -> None:
        self._errands = SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]]]()
        self._free = asyncio.Event()
        self._free.set()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, errand: Callable[[], None]) -> None:
        """
        Wait until the thread is free, and then until the errand is done.

        Who is cancelled while it is under way does not end it.

        Raises:
            Exception: Whatever the errand raises.
        """
        await self._free.wait()
        self._free.clear()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._errands.put((errand, done))
        try:
            await done
        finally:
            del done  # it has the failure, which has this frame, which has the errand

    def _work(self) -> None:
        while True:
            errand, done = self._errands.get()
            failure: Exception | None = None
            try:
                errand()
            except ExportFailed as error:
                failure = error.with_traceback(None)  # whose frames have what was to be sent
            except Exception as error:  # noqa: BLE001 - whoever waits is told
                failure = error
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                done.get_loop().call_soon_threadsafe(self._end, done, failure)
            del errand, done, failure  # or they stay until the next one

    def _end(self, done: asyncio.Future[None], failure: Exception | None) -> None:
        self._free.set()
        if done.cancelled():
            return
        if failure:
            done.set_exception(failure)
        else:
            done.set_result(None)


class LibraryExporter(Protocol[Batch_contra]):
    """
    One of the library's exporters, which tells no more than whether it thinks it succeeded.
    """

    def export(self, batch: Batch_contra, /) -> Any:
        """
        Send a batch and wait for the answer.
        """

    def shutdown(self) -> None:
        """
        Send nothing any more, nor again.
        """


class Endpoint(Generic[Batch]):
    """
    Where one signal goes.

    Args:
        exporter: What makes requests of batches, and repeats those that may succeed later.
        session: What makes these requests.
    """

    def __init__(self, exporter: LibraryExporter[Batch], session: Session) -> None:
        self._exporter = exporter
        self._session = session

    def export(self, batch: Batch) -> None:
        """
        Send a batch and wait for the answer; for a thread that may wait.

        Raises:
            ExportFailed: It was not accepted, or only a part of it.
        """
        self._session.begin()
        self._exporter.export(batch)
        failure, self._session.failure = self._session.failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # it has this frame, and with it the batch

    def close(self) -> None:
        """
        Let go of what is being repeated.
        """
        self._exporter.shutdown()


def metrics_endpoint(url: str, request_seconds: float) -> Endpoint[MetricsData]:
    """
    Where metrics go; the library reads headers, compression and certificates from its variables.
    """
    session = Session(ExportMetricsServiceResponse, request_seconds)
    exporter = OTLPMetricExporter(
        url, timeout=request_seconds, session=session, meter_provider=NoOpMeterProvider()
    )
    return Endpoint(exporter, session)


def traces_endpoint(url: str, request_seconds: float) -> Endpoint[list[ReadableSpan]]:
    """
    Where spans go, by the same ways.
    """
    session = Session(ExportTraceServiceResponse, request_seconds)
    exporter = OTLPSpanExporter(
        url, timeout=request_seconds, session=session, meter_provider=NoOpMeterProvider()
    )
    return Endpoint(exporter, session)
