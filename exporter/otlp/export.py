"""
What the page shows, and how each message went, sent over OTLP from time to time.

Rules:

1. Counting knows nothing of it. What is not accepted is told, and is no reason to stop.
2. An accepted export counts as an answered scrape: the hold of the series in it begins. One
   that is accepted in part begins it later, for something may be rejected for ever.
3. An export's time is later than that of the one before, whatever the clock does.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource

from exporter.errors import ExportFailed, ExportRefused, ExportRejected
from exporter.holds import Holds
from exporter.metrics import Page, Snapshot
from exporter.otlp.points import (
    ledger_requests,
    ledger_resource,
    own_request,
    own_resource,
    points_in,
)
from exporter.otlp.sending import (
    Courier,
    Endpoint,
    metrics_endpoint,
    quieten_libraries,
    traces_endpoint,
)
from exporter.otlp.session import without_secrets
from exporter.otlp.traces import Traces
from exporter.otlp.variables import MetricsExport, Otlp, TracesExport
from exporter.telemetry import Telemetry
from exporter.values import PROGRAM

LAST_SECONDS = 2.0
"""How long a stop waits for the last export."""
LATE = {
    "metrics": "A ledger's totals are sent after the next start; what else was told is lost.",
    "traces": "Its spans are lost.",
}
"""What becomes of a last export that is not taken."""


class Resources(NamedTuple):
    """
    Whose metrics they are: the ledger's, and the process's own.
    """

    ledger: Resource
    own: Resource


class Export:
    """
    Everything that is sent over OTLP.

    It is made before anything is received: spans are told from then on.

    Args:
        name: What it is called, unless variables say otherwise.
        clock: The time of points, in seconds since 1970.
    """

    def __init__(
        self,
        settings: Otlp,
        telemetry: Telemetry,
        name: str = PROGRAM,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = settings.metrics
        self._clock = clock
        self._telemetry = telemetry
        self._name = name
        quieten_libraries()
        self._resource = own_resource(name)
        self._outs: list[Out] = []
        if settings.traces:
            self._outs.append(SpansOut(settings.traces, self._resource, telemetry))

    async def run(self, page: Page, identity: str, holds: Holds) -> None:
        """
        Send until cancelled, and then once more.

        Args:
            page: What is shown, but for the exporter's own metrics.
            identity: The id of the ledger behind it.
            holds: Learns which series an accepted export has shown.
        """
        if self._metrics:
            resources = Resources(ledger_resource(identity, self._name), self._resource)
            self._outs.append(
                MetricsOut(
                    self._metrics, self._telemetry, page, holds, resources, clock=self._clock
                )
            )
        async with asyncio.TaskGroup() as tasks:
            for out in self._outs:
                tasks.create_task(out.run(), name=f"export of {out.signal}")


class Out(ABC):
    """
    The way out of one signal.
    """

    signal: str
    endpoint: Endpoint[Any]

    def __init__(self, settings: MetricsExport | TracesExport, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._courier = Courier(f"otlp {self.signal}")
        self._url = settings.url
        self.request_seconds = min(settings.request_seconds, settings.timeout_seconds)
        self._patience = settings.timeout_seconds + self.request_seconds
        self.is_last = False

    async def run(self) -> None:
        """
        Send until cancelled, and then once more.
        """
        self._telemetry.exporting(self.signal, without_secrets(self._url))
        try:
            while True:
                await self._try_to_send()
                await self.wait()
        finally:
            self.is_last = True
            try:
                async with asyncio.timeout(LAST_SECONDS):
                    await self._try_to_send()
            except TimeoutError:
                late = ExportFailed(
                    f"the last one was not taken in {LAST_SECONDS:g} s", hint=LATE[self.signal]
                )
                self._telemetry.export_failed(self.signal, late)
            self.endpoint.close()

    async def _try_to_send(self) -> None:
        try:
            await self.send()
        except Exception as error:  # noqa: BLE001 - whatever nobody foresaw, counting goes on
            self._telemetry.export_failed(self.signal, error)

    @abstractmethod
    async def send(self) -> None:
        """
        Send what there is.
        """

    @abstractmethod
    async def wait(self) -> None:
        """
        Wait until it is time to send again.
        """

    async def deliver(self, errand: Callable[[], None]) -> ExportFailed | None:
        """
        Have something sent, and tell why it has not been accepted; None if it has.
        """
        try:
            await self._wait_for(errand)
        except ExportFailed as error:
            self._telemetry.export_failed(self.signal, error)
            return error
        self._telemetry.exported(self.signal)
        return None

    async def _wait_for(self, errand: Callable[[], None]) -> None:
        """
        Have something done, unless the thread is not done with what it did before.

        An errand keeps to its time, except where an endpoint takes for ever to begin its answer,
        byte by byte, or the system to find its name.

        Raises:
            ExportFailed: It failed, or there is no end of it.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._courier.run(errand)
        except TimeoutError:
            raise ExportFailed(
                f"{without_secrets(self._url)}: there is no end of its answer, and until then "
                "nothing else can be sent"
            ) from None


class MetricsOut(Out):
    """
    Sends what the page shows, once an interval.

    The ledger's totals and the exporter's own metrics are exports of their own.
    """

    signal = "metrics"

    def __init__(
        self,
        settings: MetricsExport,
        telemetry: Telemetry,
        page: Page,
        holds: Holds,
        resources: Resources,
        *,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(settings, telemetry)
        self._settings = settings
        self._page = page
        self._holds = holds
        self._resources = resources
        self._clock = clock
        self.endpoint = metrics_endpoint(settings.url, self.request_seconds)
        self._time_ms = telemetry.begun_ms
        self._next = 0.0
        if not holds.is_long_enough(settings.interval_seconds):
            telemetry.exports_too_seldom(settings.interval_seconds, holds.seconds)

    async def send(self) -> None:
        """
        Send everything as it is at this moment.
        """
        self._next = time.monotonic() + self._settings.interval_seconds
        now_ms = round(self._clock() * 1000)
        self._time_ms = max(now_ms, self._time_ms + 1)
        snapshot = self._page.snapshot(now_ms, self._time_ms)
        own = list(self._telemetry.registry.collect())
        if any(family.points for family in snapshot.families):
            await self._send_totals(snapshot)
        begun_ms = self._telemetry.begun_ms
        request = own_request(self._resources.own, own, begun_ms, self._time_ms)
        await self.deliver(partial(self._export, [request]))

    async def _send_totals(self, snapshot: Snapshot) -> None:
        requests = ledger_requests(
            self._resources.ledger,
            snapshot.families,
            self._time_ms,
            exemplars=self._settings.exemplars,
        )
        failure = await self.deliver(partial(self._export, requests))
        if failure is None:
            self._holds.show(snapshot.held, time.monotonic())
        elif isinstance(failure, ExportRejected):
            self._holds.show_in_part(snapshot.held, time.monotonic())

    async def wait(self) -> None:
        """
        Wait for the interval to end.
        """
        await asyncio.sleep(self._next - time.monotonic())

    def _export(self, requests: Iterable[MetricsData]) -> None:
        """
        Make and send requests while there is time and the endpoint takes any.

        After each but in the end it rests for as long as the making took, or the event loop would
        not have its turns.

        Raises:
            ExportRejected: They were accepted in part.
            ExportRefused: Nothing of them was accepted.
            ExportFailed: The endpoint took no more, or there was no time for all.
        """
        ends = time.monotonic() + self._settings.timeout_seconds
        failure: ExportRefused | None = None
        some_accepted = False
        busy = time.thread_time()
        for number, request in enumerate(requests):
            if time.monotonic() > ends:
                raise ExportFailed(
                    f"there was time for {number} requests only; more need a longer "
                    f"OTEL_METRIC_EXPORT_TIMEOUT{f' ({failure})' if failure else ''}"
                )
            try:
                self.endpoint.export(request)
                some_accepted = True
            except ExportRejected as error:
                failure = failure or error.with_traceback(None)  # whose frames have the request
                some_accepted = some_accepted or error.rejected < points_in(request)
            except ExportRefused as error:
                failure = failure or error.with_traceback(None)
            if not self.is_last:
                time.sleep(time.thread_time() - busy)
            busy = time.thread_time()
        if failure:
            kind = ExportRejected if some_accepted else ExportRefused
            raise kind(str(failure), hint=failure.hint)


class SpansOut(Out):
    """
    Sends spans that have ended, when there are enough of them or they have waited.
    """

    signal = "traces"

    def __init__(self, settings: TracesExport, resource: Resource, telemetry: Telemetry) -> None:
        super().__init__(settings, telemetry)
        self._settings = settings
        self.endpoint = traces_endpoint(settings.url, self.request_seconds)
        self._many = asyncio.Event()
        self._traces = Traces(
            resource,
            queue_max=settings.queue_max,
            batch_max=settings.batch_max,
            ready=self._many.set,
            dropped=telemetry.spans_dropped,
        )
        telemetry.spans = self._traces

    async def send(self) -> None:
        """
        Send all that wait, batch by batch.
        """
        while batch := self._traces.take(self._settings.batch_max):
            failure = await self.deliver(partial(self.endpoint.export, batch))
            if failure:
                lost = failure.rejected if isinstance(failure, ExportRejected) else len(batch)
                self._telemetry.spans_dropped(min(lost, len(batch)))
            if failure and not isinstance(failure, ExportRefused):
                return

    async def wait(self) -> None:
        """
        Wait until spans have waited long enough, or are many.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.delay_seconds):
                await self._many.wait()
        self._many.clear()
