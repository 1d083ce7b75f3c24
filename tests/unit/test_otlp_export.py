"""
When things are sent, what an accepted export does, and what one that is not does not.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from exporter.holds import Holds
from exporter.ledger.book import Policy
from exporter.ledger.memory import MemoryLedger
from exporter.metrics import Page as LivePage, Snapshot
from exporter.otlp import export, points
from exporter.otlp.export import Export
from exporter.otlp.sending import Endpoint
from exporter.otlp.variables import MetricsExport, Otlp, TracesExport
from exporter.telemetry import Telemetry
from tests.fakes import Clock
from tests.otlp import (
    DRIP,
    HANG,
    METRICS,
    REDIRECT,
    TRACES,
    Answer,
    Receiver,
    Streams,
    dead_endpoint,
    partial,
    refused,
    slow,
)
from tests.processes import Page
from tests.readings import reading
from tests.records import push

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from opentelemetry.sdk.metrics.export import MetricsData

    from tests.otlp import Request

HOLD_SECONDS = 10.0
INTERVAL_SECONDS = 0.02
REQUEST_SECONDS = 0.2


class Program:
    """
    A ledger with its page, and what sends it to an endpoint.
    """

    def __init__(self, endpoint: str) -> None:
        self.clock = Clock()
        self.telemetry = Telemetry(now=self.clock)
        self.telemetry.queue_joined("trail")
        self.ledger = MemoryLedger(Policy(hold=True), now=self.clock)
        self.page = LivePage(self.telemetry.registry, self.ledger)
        self.holds = Holds(HOLD_SECONDS)
        self.metrics = MetricsExport(
            url=endpoint + METRICS,
            interval_seconds=INTERVAL_SECONDS,
            timeout_seconds=5,
            request_seconds=REQUEST_SECONDS,
            exemplars=False,
        )
        self.traces = TracesExport(
            url=endpoint + TRACES,
            delay_seconds=60,
            queue_max=10,
            batch_max=3,
            timeout_seconds=5,
            request_seconds=REQUEST_SECONDS,
        )

    @property
    def shown(self) -> int:
        """
        How many held series somebody has seen.
        """
        return len(self.holds.due(time.monotonic() + HOLD_SECONDS))

    def count(self, *repositories: str) -> None:
        """
        Count one push to each, a second later.
        """
        self.clock.seconds += 1
        self.ledger.count(reading(*(push(name, "refs/heads/main") for name in repositories)))
        self.clock.seconds += 1

    def receive(self, times: int) -> None:
        """
        Receive so many times, a message each.
        """
        for _ in range(times):
            with self.telemetry.stage("receive", queue="trail", url="http://queue"):
                pass
            self.telemetry.messages_received("trail", [None], [""])

    def exports(self, signal: str, outcome: str) -> float:
        """
        How many exports have ended that way.
        """
        labels = {"signal": signal, "outcome": outcome}
        value = self.telemetry.registry.get_sample_value(
            "codecommit_exporter_otlp_exports_total", labels
        )
        return value or 0.0

    @asynccontextmanager
    async def exporting(
        self, *, metrics: bool = True, traces: bool = False
    ) -> AsyncIterator[Callable[[Callable[[], bool]], Awaitable[None]]]:
        """
        Send during the block, which can wait until something holds.
        """
        settings = Otlp(self.metrics if metrics else None, self.traces if traces else None)
        exports = Export(settings, self.telemetry, "counting", clock=self.clock)
        running = asyncio.create_task(exports.run(self.page, self.ledger.identity, self.holds))

        async def until(holds: Callable[[], bool]) -> None:
            async with asyncio.timeout(20):
                while not holds():
                    assert not running.done(), running.exception()
                    await asyncio.sleep(0.005)

        try:
            yield until
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def of_the_ledger(requests: list[Request]) -> list[Request]:
    """
    Those that tell totals.
    """
    return [one for one in requests if any(p.name == "codecommit.pushes" for p in one.points())]


async def test_totals_are_sent_again_and_again_at_growing_times(receiver: Receiver) -> None:
    """
    Also while the clock stands still or is set back; what was born later than that waits.
    """
    program = Program(receiver.endpoint)
    program.count("tools")
    async with program.exporting() as until:
        await until(lambda: len(of_the_ledger(receiver.accepted())) > 2)
        program.clock.seconds -= 0.5
        sent = len(receiver.accepted())
        await until(lambda: len(receiver.accepted()) > sent + 4)
    streams = Streams().replay(receiver.requests)

    assert [] == streams.violations == streams.resets
    assert [] == receiver.foreign


async def test_no_time_is_before_the_process(receiver: Receiver) -> None:
    """
    Though the clock has been set back since it began.
    """
    program = Program(receiver.endpoint)
    program.clock.seconds -= 60
    async with program.exporting() as until:
        await until(lambda: len(receiver.accepted()) > 0)

    assert [] == Streams().replay(receiver.requests).violations


async def test_totals_and_own_metrics_are_of_two_resources(receiver: Receiver) -> None:
    """
    One is the ledger, the other this process, and both go by the name it was given.
    """
    program = Program(receiver.endpoint)
    program.count("tools")
    async with program.exporting() as until:
        await until(lambda: program.shown > 0 and len(receiver.accepted()) > 1)
    [ledger] = {p.resource for p in receiver.points() if p.name == "codecommit.pushes"}
    [own] = {p.resource for p in receiver.points() if p.name.startswith("codecommit.exporter.")}

    assert {"counting"} == {dict(one)["service.name"] for one in (ledger, own)}
    assert program.ledger.identity == dict(ledger)["service.instance.id"]
    assert program.ledger.identity != dict(own)["service.instance.id"]


async def test_an_accepted_export_shows_what_is_held(receiver: Receiver) -> None:
    """
    It counts as an answered scrape, for the series that were in it.
    """
    program = Program(receiver.endpoint)
    program.count("tools")
    held = sum(state.released_ms is None for state in program.ledger.series.values())
    before = program.shown
    async with program.exporting() as until:
        await until(lambda: program.shown > 0)

    assert 0 == before
    assert held == program.shown
    assert 0 < program.exports("metrics", "accepted")
    assert 0 == program.exports("metrics", "failed") + program.exports("metrics", "partial")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (refused(400), "failed"),
        (refused(503), "failed"),
        (REDIRECT, "failed"),
        (HANG, "failed"),
        (DRIP, "failed"),
        (partial(10**6, "all"), "failed"),
    ],
    ids=str,
)
async def test_one_that_is_not_accepted_shows_nothing(
    receiver: Receiver, answer: Answer, outcome: str
) -> None:
    """
    It is counted as what it is, and the next one may be accepted.
    """
    receiver.answer = answer
    program = Program(receiver.endpoint)
    program.count("tools")
    async with program.exporting() as until:
        await until(lambda: program.exports("metrics", outcome) > 1)
        shown = program.shown
        receiver.answer = Answer()
        await until(lambda: program.shown > 0)

    assert 0 == shown


async def test_one_that_is_accepted_in_part_begins_the_hold_later(receiver: Receiver) -> None:
    """
    By another hold: what is rejected for ever keeps no other series at 0 for ever.
    """
    receiver.answer = partial(1, "no")
    program = Program(receiver.endpoint)
    program.count("tools")
    async with program.exporting() as until:
        await until(lambda: program.exports("metrics", "partial") > 1)
        shown = program.shown
        due = list(program.holds.due(time.monotonic() + 2 * HOLD_SECONDS))

    assert 0 == shown
    assert program.page.snapshot(2**53, 2**53).held == due


async def test_that_nobody_listens_is_no_reason_to_stop() -> None:
    """
    Each attempt is counted, for both signals.
    """
    with dead_endpoint() as endpoint:
        program = Program(endpoint)
        async with program.exporting(traces=True) as until:
            program.receive(3)
            await until(lambda: program.exports("metrics", "failed") > 1)
            await until(lambda: program.exports("traces", "failed") > 0)


async def test_nothing_is_sent_of_a_ledger_without_series(receiver: Receiver) -> None:
    """
    The exporter's own metrics are.
    """
    program = Program(receiver.endpoint)
    async with program.exporting() as until:
        await until(lambda: len(receiver.accepted()) > 1)

    assert all(
        point.name.startswith(("codecommit.exporter.", "process.", "python."))
        for request in receiver.requests
        for point in request.points()
    )


async def test_all_requests_of_an_export_have_to_be_accepted(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One that fails does not keep the others from being sent.
    """
    monkeypatch.setattr(points, "POINTS_MAX", 5)
    receiver.answer = refused(400)
    program = Program(receiver.endpoint)
    program.count("tools", "web")
    async with program.exporting() as until:
        await until(lambda: program.exports("metrics", "failed") > 3)

    first = of_the_ledger(receiver.requests)[0]
    (time_ns,) = {point.time_ns for point in first.points()}
    together = [one for one in receiver.requests if one.points()[0].time_ns == time_ns]
    sent = {point.stream for one in together[:-1] for point in one.points()}
    assert len(program.page.snapshot(2**53, 2**53).held) < len(sent)
    assert 0 == program.shown


@pytest.mark.parametrize("refused_name", ["codecommit.events", "codecommit.repository_info"])
@pytest.mark.parametrize("otherwise", [Answer(), partial(1, "no")], ids=str)
async def test_requests_of_an_export_may_be_refused_for_ever(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, refused_name: str, otherwise: Answer
) -> None:
    """
    Where others are accepted, if only in part, so is the export, and it is told as such.
    """
    monkeypatch.setattr(points, "POINTS_MAX", 5)
    true_export = Endpoint.export

    def export(endpoint: Endpoint[MetricsData], batch: MetricsData) -> None:
        [[metrics]] = [
            [of_scope.metrics for of_scope in of_resource.scope_metrics]
            for of_resource in batch.resource_metrics
        ]
        is_refused = refused_name in {metric.name for metric in metrics}
        receiver.answer = refused(400) if is_refused else otherwise
        true_export(endpoint, batch)

    monkeypatch.setattr(Endpoint, "export", export)
    program = Program(receiver.endpoint)
    program.metrics = replace(program.metrics, request_seconds=5)
    program.count("tools", "web")
    async with program.exporting() as until:
        await until(lambda: program.exports("metrics", "partial") > 1)
        shown, failed = program.shown, program.exports("metrics", "failed")
        due = list(program.holds.due(time.monotonic() + 2 * HOLD_SECONDS))

    assert 0 == shown == failed
    assert program.page.snapshot(2**53, 2**53).held == due


async def test_what_there_was_no_time_for_is_not_shown(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Though some of what was sent has been accepted.
    """
    monkeypatch.setattr(points, "POINTS_MAX", 1)
    receiver.answer = replace(partial(1, "no"), after=0.05)
    program = Program(receiver.endpoint)
    program.metrics = replace(program.metrics, timeout_seconds=0.1, request_seconds=5)
    program.count("tools", "web")
    async with program.exporting() as until:
        await until(lambda: program.exports("metrics", "failed") > 1)

    assert [] == list(program.holds.due(time.monotonic() + 2 * HOLD_SECONDS))


async def test_who_is_overloaded_is_left_alone_until_the_next_export(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    No other request of the export is tried.
    """
    monkeypatch.setattr(points, "POINTS_MAX", 5)
    receiver.answer = refused(503, Retry_After="3600")
    program = Program(receiver.endpoint)
    program.count("tools", "web")
    async with program.exporting() as until:
        await until(lambda: program.exports("metrics", "failed") > 3)

    times = [one.points()[0].time_ns for one in of_the_ledger(receiver.requests)]
    sent = [one for one in receiver.requests if one.points()[0].time_ns == times[0]]
    assert ["codecommit.events", "process.virtual_memory"] == [one.points()[0].name for one in sent]


async def test_what_is_refused_does_not_add_up(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Each request is let go, and not kept for the garbage collector to find.
    """
    gone: list[threading.Event] = []
    true_export = Endpoint.export

    def export(endpoint: Endpoint[MetricsData], batch: MetricsData) -> None:
        gone.append(threading.Event())
        weakref.finalize(batch, gone[-1].set)
        true_export(endpoint, batch)

    monkeypatch.setattr(Endpoint, "export", export)
    monkeypatch.setattr(points, "POINTS_MAX", 5)
    receiver.answer = refused(400)
    program = Program(receiver.endpoint)
    program.count("tools", "web")
    gc.collect()
    gc.disable()
    try:
        async with program.exporting() as until:
            await until(lambda: program.exports("metrics", "failed") > 3)

        assert all(one.wait(20) for one in gone)
    finally:
        gc.enable()


async def test_an_export_ends_when_its_time_is_over(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    However many requests are left; the next export has the newer totals.
    """
    monkeypatch.setattr(points, "POINTS_MAX", 1)
    receiver.answer = slow(0.1)
    program = Program(receiver.endpoint)
    program.metrics = MetricsExport(receiver.endpoint + METRICS, 0.01, 0.3, 5, exemplars=False)
    failures: list[str] = []
    monkeypatch.setattr(
        program.telemetry, "export_failed", lambda _, error: failures.append(str(error))
    )
    program.count("tools")
    async with program.exporting() as until:
        await until(lambda: any("OTEL_METRIC_EXPORT_TIMEOUT" in each for each in failures))

    assert 0 == program.shown


async def test_no_request_has_more_time_than_its_export(receiver: Receiver) -> None:
    """
    Whatever it would be given by itself.
    """
    receiver.answer = HANG
    program = Program(receiver.endpoint)
    program.metrics = MetricsExport(receiver.endpoint + METRICS, 0.01, 0.1, 3600, exemplars=False)
    async with program.exporting() as until:
        await until(lambda: program.exports("metrics", "failed") > 0)


async def test_an_export_rests_after_each_request_but_in_the_end(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The event loop has its turns meanwhile; a stop is in a hurry.
    """
    rests: list[float] = []
    monkeypatch.setattr(export, "time", SimpleNamespace(**vars(time) | {"sleep": rests.append}))
    monkeypatch.setattr(points, "POINTS_MAX", 5)
    program = Program(receiver.endpoint)
    program.metrics = MetricsExport(receiver.endpoint + METRICS, 3600, 5, 5, exemplars=False)
    program.count("tools", "web")
    async with program.exporting() as until:
        await until(lambda: program.exports("metrics", "accepted") == 2)
        sent = len(receiver.requests)

    assert sent == len(rests) < len(receiver.requests)
    assert all(seconds > 0 for seconds in rests)


async def test_spans_are_sent_once_there_are_many(receiver: Receiver) -> None:
    """
    As many as may go together; what is left goes in the end.
    """
    program = Program(receiver.endpoint)
    async with program.exporting(metrics=False, traces=True) as until:
        program.receive(1)
        await until(lambda: program.exports("traces", "accepted") == 1)
        program.receive(3)
        await until(lambda: program.exports("traces", "accepted") == 2)
        program.receive(1)

    assert [1, 3, 1] == [len(request.spans()) for request in receiver.accepted(TRACES)]
    assert 3 == program.exports("traces", "accepted")


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        (refused(400), 3),
        (refused(503, Retry_After="9"), 3),
        (partial(2, ""), 2),
        (partial(10**12, ""), 3),
    ],
)
async def test_spans_that_are_not_accepted_are_lost_and_counted(
    receiver: Receiver, answer: Answer, lost: int
) -> None:
    """
    Of a batch that was accepted in part, those that were rejected.
    """
    receiver.answer = answer
    program = Program(receiver.endpoint)
    async with program.exporting(metrics=False, traces=True) as until:
        program.receive(3)
        await until(lambda: bool(receiver.requests))
        await until(
            lambda: program.exports("traces", "failed") + program.exports("traces", "partial") > 0
        )
    registry = program.telemetry.registry

    assert lost == registry.get_sample_value("codecommit_exporter_otlp_spans_dropped_total")


async def test_the_last_totals_are_sent_in_the_end(receiver: Receiver) -> None:
    """
    Whatever the interval is.
    """
    program = Program(receiver.endpoint)
    program.metrics = MetricsExport(receiver.endpoint + METRICS, 3600, 5, 5, exemplars=False)
    async with program.exporting() as until:
        await until(lambda: len(receiver.accepted()) > 0)
        program.count("tools")

    assert 1 == len(of_the_ledger(receiver.accepted()))


async def test_the_end_does_not_wait_for_who_does_not_answer(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    An endpoint has a moment to take the last export, and is left to itself; what is lost is told.
    """
    monkeypatch.setattr(export, "LAST_SECONDS", 0.01)
    receiver.answer = HANG
    program = Program(receiver.endpoint)
    program.metrics = MetricsExport(receiver.endpoint + METRICS, 3600, 3600, 3600, exemplars=False)
    async with asyncio.timeout(60):
        async with program.exporting() as until:
            await until(lambda: len(receiver.requests) > 0)

    assert (0, 1) == tuple(program.exports("metrics", one) for one in ("accepted", "failed"))
    assert vars(caplog.records[-1])["fields"]["hint"].startswith(
        "A ledger's totals are sent after "
    )


async def test_the_end_does_not_wait_for_spans_either(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    That they are lost is told.
    """
    monkeypatch.setattr(export, "LAST_SECONDS", 0.01)
    receiver.answer = HANG
    program = Program(receiver.endpoint)
    program.traces = replace(program.traces, timeout_seconds=3600, request_seconds=3600)
    async with asyncio.timeout(60):
        async with program.exporting(metrics=False, traces=True) as until:
            program.receive(3)
            await until(lambda: len(receiver.requests) > 0)
            program.receive(1)

    assert "Its spans are lost." == vars(caplog.records[-1])["fields"]["hint"]


async def test_the_end_lets_go_of_what_is_repeated(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What an endpoint asked to have again much later is given up.
    """
    given_up = threading.Event()
    true_export = Endpoint.export

    def export_and_tell(endpoint: Endpoint[MetricsData], batch: MetricsData) -> None:
        try:
            true_export(endpoint, batch)
        finally:
            given_up.set()

    monkeypatch.setattr(Endpoint, "export", export_and_tell)
    monkeypatch.setattr(export, "LAST_SECONDS", 0.01)
    receiver.answer = refused(503, Retry_After="600")
    program = Program(receiver.endpoint)
    program.metrics = MetricsExport(receiver.endpoint + METRICS, 3600, 3600, 3600, exemplars=False)
    async with program.exporting() as until:
        await until(lambda: len(receiver.requests) > 0)

    assert given_up.wait(20)


async def test_a_stop_waits_for_both_signals(receiver: Receiver) -> None:
    """
    One that has nothing more to send does not cut off the other.
    """
    program = Program(receiver.endpoint)
    program.metrics = MetricsExport(receiver.endpoint + METRICS, 3600, 5, 5, exemplars=False)
    async with program.exporting(traces=True) as until:
        await until(lambda: program.exports("metrics", "accepted") > 0)
        program.count("tools")
        receiver.answer = slow(0.1)

    assert 1 == len(of_the_ledger(receiver.accepted()))
    assert 3 == program.exports("metrics", "accepted")


async def test_the_page_is_asked_by_the_clock_while_times_go_on(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A clock that was ahead for a moment moves the times of points, and nothing else.

    What was born by it and has been sent goes on being sent.
    """
    program = Program(receiver.endpoint)
    program.count("tools")
    asked: list[int] = []
    told: list[int] = []
    true_snapshot = program.page.snapshot

    def snapshot(now_ms: int, time_ms: int) -> Snapshot:
        asked.append(now_ms)
        snapshot = true_snapshot(now_ms, time_ms)
        told.append(sum(len(family.points) for family in snapshot.families))
        return snapshot

    monkeypatch.setattr(program.page, "snapshot", snapshot)
    right = program.clock.seconds
    program.clock.seconds += 86400
    program.count("web")
    async with program.exporting() as until:
        await until(lambda: len(asked) > 0)
        program.clock.seconds = right
        ahead = len(asked)
        await until(lambda: len(asked) > ahead + 2)

    assert {round(right * 1000)} == set(asked[ahead + 1 :])
    assert 1 == len(set(told))
    assert [] == Streams().replay(receiver.requests).violations


async def test_an_endpoint_without_end_is_told_again_and_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nothing piles up before it meanwhile, and once it has come to an end the next export goes.
    """
    stuck, begun = threading.Event(), list[object]()
    program = Program(receiver.endpoint)
    program.metrics = MetricsExport(receiver.endpoint + METRICS, 0.01, 0.05, 0.05, exemplars=False)
    true_export = Endpoint.export

    def export_at_last(endpoint: Endpoint[MetricsData], batch: MetricsData) -> None:
        begun.append(batch)
        stuck.wait()
        true_export(endpoint, batch)

    monkeypatch.setattr(Endpoint, "export", export_at_last)
    program.count("tools")
    async with program.exporting() as until:
        await until(lambda: program.exports("metrics", "failed") > 3)
        tried = len(begun)
        stuck.set()
        await until(lambda: program.shown > 0)

    assert 1 == tried


async def test_what_nobody_foresaw_is_told_and_the_next_export_is_tried(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    With a traceback, as any such fault.
    """

    def odd(*_args: object, **_options: object) -> None:
        raise ZeroDivisionError("odd")

    program = Program(receiver.endpoint)
    program.count("tools")
    monkeypatch.setattr(program.page, "snapshot", odd)
    async with program.exporting() as until:
        await until(lambda: program.exports("metrics", "failed") > 1)
        monkeypatch.undo()
        await until(lambda: program.shown > 0)

    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(("interval", "told"), [(5.0, 0), (6.0, 1)])
async def test_exports_too_far_apart_for_the_hold_are_told(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, interval: float, told: int
) -> None:
    """
    The hold has to be twice as long, as for scrapes.
    """
    program = Program(receiver.endpoint)
    program.metrics = MetricsExport(receiver.endpoint + METRICS, interval, 5, 5, exemplars=False)
    async with program.exporting() as until:
        await until(lambda: len(receiver.accepted()) > 0)

    assert told == caplog.text.count("too far apart")


async def test_exemplars_are_sent_if_the_filter_lets_them(receiver: Receiver) -> None:
    """
    They are of the series that are not held.
    """
    program = Program(receiver.endpoint)
    program.metrics = MetricsExport(
        receiver.endpoint + METRICS, INTERVAL_SECONDS, 5, 5, exemplars=True
    )
    program.count("tools")
    await program.ledger.release(list(program.ledger.series))
    async with program.exporting() as until:
        await until(lambda: any(point.exemplars for point in receiver.points()))


async def test_failures_are_on_the_page(receiver: Receiver) -> None:
    """
    And there at 0 before the first.
    """
    program = Program(receiver.endpoint)
    answer = program.page.answer(now_ms=0)
    page = Page(answer.body.decode(), answer.content_type)

    name = "codecommit_exporter_otlp_exports_total"
    assert 6 == sum(sample.name == name for one in page.families.values() for sample in one.samples)
    assert 0 == page.value(name)
