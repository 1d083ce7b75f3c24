"""
Builds the parts, starts them, waits, stops them.

Rules:

1. The HTTP endpoints are up before anything else, so that what stands in the way can be
   asked for.
2. Nothing is received before the ledger is open, has caught up, and every queue and bucket
   has answered; and nothing is shown before the ledger has caught up.
3. A part that fails for a reason nobody foresaw stops the program; none dies unseen.
4. A stop ends receiving first, then what is in hand, then OTLP, then the endpoints, then the
   ledger.
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, NoRegionError

from exporter.aws.listing import Listing
from exporter.aws.objects import Buckets, Objects
from exporter.aws.queue import Queue, queue_names
from exporter.aws.session import Session
from exporter.backups import Backups, backups_at, keep_backups
from exporter.build import revision, version
from exporter.config import ServeSettings
from exporter.consumer import Backoff, Consumer
from exporter.errors import ConfigError, LedgerUnavailable, QueueUnavailable, Transient
from exporter.holds import Holds
from exporter.ledger import Ledger
from exporter.ledger.book import Policy
from exporter.ledger.memory import MemoryLedger
from exporter.ledger.sqlite import SqliteLedger
from exporter.logs import set_up_logs
from exporter.metrics import OPENMETRICS, Page
from exporter.otlp.variables import read_variables, unknown_variables
from exporter.pipeline import Pipeline
from exporter.recovery import CatchUp, Recovery
from exporter.retirement import Retirement
from exporter.telemetry import Telemetry
from exporter.values import PROGRAM
from exporter.web import Health, Web

if TYPE_CHECKING:
    from exporter.otlp.export import Export

DEPTH_SECONDS = 30.0
STOP_RESERVE_SECONDS = 5.0
"""What a stop's grace keeps for the last receive, OTLP, the endpoints and the ledger."""
RELEASE_SECONDS = 0.5

Answer = TypeVar("Answer")

_QUEUE_REGION = re.compile(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/")


async def serve(settings: ServeSettings) -> int:
    """
    Count until SIGTERM or SIGINT.

    Raises:
        ConfigError: A setting turned out to be wrong once it was used.
    """
    set_up_logs(settings.log.level, settings.log.format)
    with stop_signals() as stop:
        await Service(settings).run(stop)
    return 0


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """
    An event that SIGTERM and SIGINT set during the block.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)
    for one in signals:
        loop.add_signal_handler(one, stop.set)
    try:
        yield stop
    finally:
        for one in signals:
            loop.remove_signal_handler(one)


class Service:
    """
    The whole program around one ledger; ``name`` is what it calls itself over OTLP.
    """

    def __init__(self, settings: ServeSettings, name: str = PROGRAM) -> None:
        self._settings = settings
        self._health = Health({"ledger": "not open yet", "start": "nothing is received yet"})
        self._holds = Holds(settings.metrics.new_series_hold)
        self._retirement = Retirement(round(settings.metrics.retire_after * 1000))
        self.telemetry = Telemetry()
        self._export = _export(self.telemetry, name)
        self._web = Web(self._health, self._holds, self.telemetry)
        self._addresses: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self.ledger: Ledger | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """
        Start, work until told to stop, and stop.

        Raises:
            ConfigError: A setting turned out to be wrong once it was used.
        """
        self.telemetry.started(
            version=version(), revision=revision(), python=platform.python_version()
        )
        async with self._listening():
            await until(stop, self._work())
        self.telemetry.stopped()

    async def listening(self) -> list[str]:
        """
        The URLs of the endpoints; waits until they are up.
        """
        return await self._addresses

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """
        Answer HTTP requests during the block; the ledger closes after the last of them.
        """
        addresses = self._settings.web.listen_address
        try:
            listening = await self._web.start([(one.host, one.port) for one in addresses])
        except OSError as error:
            wanted = ", ".join(map(str, addresses))
            raise ConfigError(
                f"--web.listen-address: cannot listen on {wanted} ({os.strerror(error.errno)}); "
                "choose another port or host, port 0 picks a free one"
                if error.errno and error.errno > 0
                else f"--web.listen-address: cannot listen on {wanted}: no such host"
            ) from error
        for address in listening:
            self.telemetry.listening(address)
        self._addresses.set_result(listening)
        try:
            yield
        finally:
            await self._web.stop()
            if self.ledger is not None:
                await self.ledger.close()

    async def _work(self) -> None:
        """
        Open the ledger, join the queues, and consume them until cancelled.
        """
        async with AsyncExitStack() as clients:
            try:
                session = Session(self.telemetry.aws_request)
                s3 = await self._s3(clients, session)
                queues = [
                    await self._queue(clients, session, url, name)
                    for url, name in zip(
                        self._queue_urls, queue_names(self._queue_urls), strict=True
                    )
                ]
            except NoRegionError as error:
                raise ConfigError("no AWS Region is known; set AWS_REGION") from error
            except (BotoCoreError, ValueError) as error:
                raise ConfigError(f"the AWS settings cannot be used: {error}") from error
            backup_url = self._settings.ledger.backup_url
            backups = backups_at(backup_url, s3) if backup_url else None
            buckets = self._buckets()
            self.ledger = await self._open_ledger(backups)
            pipeline = self._pipeline(s3, buckets, self.ledger)
            await self._catch_up(self.ledger, pipeline, Listing(s3, buckets))
            page = self._page(self.ledger)
            page.answer(OPENMETRICS, now_ms=round(time.time() * 1000))  # takes long the first time
            self._web.page = page
            async with self._exporting(page, self.ledger.identity):
                await self._check(pipeline.objects, queues)
                await self._consume(self.ledger, pipeline, queues, backups)

    @asynccontextmanager
    async def _exporting(self, page: Page, identity: str) -> AsyncIterator[None]:
        """
        Send over OTLP during the block, where that is asked for.
        """
        if self._export is None:
            yield
            return
        exporting = asyncio.create_task(
            self._export.run(page, identity, self._holds), name="export over OTLP"
        )
        counting = asyncio.current_task()
        assert counting is not None, "the block is part of a task"  # noqa: S101
        stopping = asyncio.Event()

        def stop_counting(ended: asyncio.Task[None]) -> None:
            if not (ended.cancelled() or stopping.is_set()):
                counting.cancel()

        exporting.add_done_callback(stop_counting)
        try:
            yield
        finally:
            stopping.set()  # from here on, the await below raises what is wrong
            exporting.cancel()
            with suppress(asyncio.CancelledError):
                await exporting

    async def _open_ledger(self, backups: Backups | None) -> Ledger:
        """
        Open the ledger, however long that takes.
        """
        path = self._settings.ledger_file
        metrics = self._settings.metrics
        policy = Policy(
            hold=metrics.new_series_hold > 0,
            repositories_max=metrics.max_repositories,
            series_max=metrics.max_series,
            retirement=self._retirement,
        )
        if path is None:
            self._health.set("ledger", None)
            ledger: Ledger = MemoryLedger(policy)
        else:
            recovery = Recovery(backups, self._settings.ledger.rebuild, self.telemetry)
            ledger = await self._answer_of(
                "ledger",
                lambda: SqliteLedger.open(
                    path,
                    window_seconds=self._settings.ledger.dedupe_window,
                    policy=policy,
                    waiting=partial(self._wait_for_ledger, path),
                    missing=recovery.begin,
                ),
            )
        self.telemetry.ledger_opened(str(path or "memory:"), ledger)
        return ledger

    async def _catch_up(self, ledger: Ledger, pipeline: Pipeline, listing: Listing) -> None:
        """
        Let a ledger that took another's place catch up, however long that takes.
        """
        if not isinstance(ledger, SqliteLedger) or ledger.replay is None:
            return
        buckets = [bucket.name for bucket in self._settings.s3.allowed_bucket]
        if not buckets:
            raise ConfigError(
                "--s3.allowed-bucket is missing: the ledger is a copy that has to catch up, and "
                "only named buckets can be listed"
            )
        catch_up = CatchUp(ledger, pipeline, listing, buckets, self.telemetry)
        self._health.set("replay", "log files that the ledger does not know are being read")
        await self._answer_of("ledger", catch_up.run)
        self._health.set("replay", None)

    def _wait_for_ledger(self, path: Path) -> None:
        self._health.set("ledger", "another process has it open")
        self.telemetry.ledger_held_elsewhere(str(path))

    @property
    def _queue_urls(self) -> Sequence[str]:
        return self._settings.sqs.queue_url

    async def _s3(self, clients: AsyncExitStack, session: Session) -> Any:
        first_queue_region = _queue_region(self._queue_urls[0])
        return await clients.enter_async_context(
            session.client("s3", region=session.region or first_queue_region)
        )

    def _page(self, ledger: Ledger) -> Page:
        metrics = self._settings.metrics
        return Page(
            self.telemetry.registry,
            ledger,
            retirement=self._retirement,
            delivery_labels=metrics.delivery_labels,
            created=metrics.created_timestamps,
        )

    def _buckets(self) -> Buckets:
        return Buckets(
            self._settings.s3.allowed_bucket,
            any_bucket=self._settings.s3.allow_any_bucket,
            owner=self._settings.s3.expected_bucket_owner,
        )

    def _pipeline(self, s3: Any, buckets: Buckets, ledger: Ledger) -> Pipeline:
        sizes = self._settings.s3
        return Pipeline(
            Objects(s3, buckets, compressed_bytes_max=sizes.max_compressed_bytes),
            ledger,
            self.telemetry,
            inflated_bytes_max=sizes.max_inflated_bytes,
            accept_inline_events=self._settings.sqs.accept_inline_events,
        )

    async def _queue(self, clients: AsyncExitStack, session: Session, url: str, name: str) -> Queue:
        client = await clients.enter_async_context(session.client("sqs", region=_queue_region(url)))
        return Queue(client, url, name)

    async def _check(self, objects: Objects, queues: Sequence[Queue]) -> None:
        """
        Wait until every queue and bucket has answered.
        """
        checks: list[Awaitable[object]] = [
            self._answer_of(f"queue {queue.name}", queue.depth) for queue in queues
        ]
        checks += [
            self._check_bucket(objects, bucket.name) for bucket in self._settings.s3.allowed_bucket
        ]
        await asyncio.gather(*checks)
        # What is there now stays: to look for garbage in it costs a twentieth of all CPU.
        gc.collect()
        gc.freeze()
        self._health.set("start", None)
        self.telemetry.ready()

    async def _check_bucket(self, objects: Objects, bucket: str) -> None:
        told = await self._answer_of(f"bucket {bucket}", partial(objects.check_bucket, bucket))
        if not told:
            self.telemetry.bucket_untold(bucket)

    async def _consume(
        self,
        ledger: Ledger,
        pipeline: Pipeline,
        queues: Sequence[Queue],
        backups: Backups | None,
    ) -> None:
        """
        Consume until cancelled; then finish what is in hand.
        """
        consumers = [
            Consumer(
                queue,
                pipeline,
                self.telemetry,
                partial(self._health.set, f"queue {queue.name}"),
                writable=lambda: ledger.writable,
            )
            for queue in queues
        ]
        try:
            async with asyncio.TaskGroup() as tasks:
                for queue, consumer in zip(queues, consumers, strict=True):
                    tasks.create_task(consumer.run(), name=f"consume {queue.name}")
                    tasks.create_task(self._watch_depth(queue), name=f"watch {queue.name}")
                tasks.create_task(self._release_series(ledger), name="release series")
                tasks.create_task(self._watch_ledger(ledger), name="watch the ledger")
                if backups and isinstance(ledger, SqliteLedger):
                    tasks.create_task(self._keep_backups(ledger, backups), name="keep backups")
        finally:
            grace = self._settings.shutdown.grace
            grace = max(grace - STOP_RESERVE_SECONDS, grace / 2)
            await asyncio.gather(*(consumer.drain(grace) for consumer in consumers))

    async def _watch_depth(self, queue: Queue) -> None:
        """
        Measure a queue and its dead-letter queue from time to time.
        """
        while True:
            with suppress(QueueUnavailable):
                depth = await queue.depth()
                self.telemetry.depth_seen(queue.name, depth.messages)
                if depth.dead_letter_arn:
                    dead_letters = await queue.dead_letters(depth.dead_letter_arn)
                    self.telemetry.dead_letters_seen(queue.name, dead_letters)
            await asyncio.sleep(DEPTH_SECONDS)

    async def _keep_backups(self, ledger: SqliteLedger, backups: Backups) -> None:
        interval = self._settings.ledger.backup_interval
        await keep_backups(ledger, backups, interval, self.telemetry)

    async def _watch_ledger(self, ledger: Ledger) -> None:
        """
        Say so where the ledger cannot be written; whoever needs it tries again.
        """
        was_writable = True
        while True:
            if ledger.writable is not was_writable:
                was_writable = ledger.writable
                self._health.set("ledger", None if was_writable else "it cannot be written")
                tell = self.telemetry.ledger_writable
                (tell if was_writable else self.telemetry.ledger_unwritable)()
            await asyncio.sleep(RELEASE_SECONDS)

    async def _release_series(self, ledger: Ledger) -> None:
        """
        End the hold of series that have been shown for long enough.
        """
        while True:
            due = self._holds.due(time.monotonic())
            if due:
                try:
                    await ledger.release(due)
                except LedgerUnavailable as error:
                    self.telemetry.release_failed(error)
                else:
                    self._holds.forget(due)
            await asyncio.sleep(RELEASE_SECONDS)

    async def _answer_of(self, subject: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """
        What something answers, asked again for as long as trying again can help.
        """
        backoff = Backoff()
        while True:
            try:
                answer = await ask()
            except Transient as error:
                seconds = backoff.next_seconds()
                self._health.set(subject, str(error))
                self.telemetry.not_ready(error, retry_seconds=seconds)
                await asyncio.sleep(seconds)
            else:
                self._health.set(subject, None)
                return answer


def _export(telemetry: Telemetry, name: str) -> Export | None:
    """
    What sends over OTLP, if anything is sent. Raises ConfigError.
    """
    settings = read_variables(os.environ)
    for unknown in unknown_variables(os.environ):
        telemetry.variable_unknown(unknown)
    if settings is None:
        return None
    from exporter.otlp.export import Export  # noqa: PLC0415 - OpenTelemetry takes long to load

    return Export(settings, telemetry, name)


async def until(stop: asyncio.Event, work: Coroutine[object, object, None]) -> None:
    """
    Do some work until it ends or a stop is asked for; then wait for it to wind up.
    """
    working = asyncio.create_task(work, name="work")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    working.cancel()
    try:
        await working
    except asyncio.CancelledError:
        if not stop.is_set():
            raise


def _queue_region(url: str) -> str | None:
    """
    The Region in a queue's URL; None where the URL is not AWS's own.
    """
    match = _QUEUE_REGION.match(url)
    return match[1] if match else None
