"""
The story of one message: read, fetch, decode, count, commit, delete.

Rules:

1. Commit comes before delete. A crash between the two brings the message back and the
   ledger knows its events; the other order would lose them.
2. Each log file commits on its own. One bad file of three costs the other two nothing;
   the message stays for the sake of the bad one.
3. What is no log file is told by its key, and never fetched.
4. Nothing is tried again here. Whoever calls knows what waiting costs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from exporter.aws.objects import Objects
from exporter.aws.queue import Message, Queue
from exporter.cloudtrail import Decoded, decode, decode_at_once, decode_record
from exporter.errors import (
    InlineEvent,
    LedgerUnavailable,
    LogFileThrottled,
    MalformedLogFile,
    OversizedLogFile,
    Transient,
)
from exporter.keys import ObjectKind, delivery_minute_ms, object_kind
from exporter.ledger import Ledger
from exporter.notifications import InlineRecord, LogFile, Notification, read_notification
from exporter.tally import Reading
from exporter.telemetry import Source, Telemetry
from exporter.timestamps import usable_ms

DECODE_THREADS = 1
"""Usual log files are decoded at once, larger ones in so many threads beside the event loop.

Inflating, most of the work, lets the loop go on meanwhile; what reads the text takes turns
with it."""
TURN_SECONDS_MAX = 0.002
"""After so much decoding in one turn of the event loop, each further file waits for its own."""
HUGE_BYTES_MIN = 1024 * 1024
HUGE_INFLATED_BYTES_MIN = 16 * 1024 * 1024
"""A log file larger than this, compressed or inflated, is huge, and has a thread of its own
kind, so that it holds up no others."""


class Pipeline:
    """
    Counts what messages announce.

    Args:
        inflated_bytes_max: A larger log file is refused as a whole.
        accept_inline_events: Whether records that messages carry themselves are counted.
        now: The clock, in seconds since 1970.
    """

    def __init__(
        self,
        objects: Objects,
        ledger: Ledger,
        telemetry: Telemetry,
        *,
        inflated_bytes_max: int,
        accept_inline_events: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.objects = objects
        self._ledger = ledger
        self._telemetry = telemetry
        self._inflated_bytes_max = inflated_bytes_max
        self._accept_inline_events = accept_inline_events
        self._now = now
        self._turn_seconds = 0.0
        self._turns = asyncio.Lock()
        self._large = ThreadPoolExecutor(max_workers=DECODE_THREADS, thread_name_prefix="decode")
        self._huge = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode huge")

    async def count(self, queue: Queue, message: Message) -> bool:
        """
        Count the events that one message announces, each exactly once, then delete it.

        Returns whether S3 has handed over a log file for it.

        Raises:
            Exception: The message was not deleted, because of this file or message; an
                ExporterError unless nobody foresaw it, and a Transient one if any of its
                files may do better another time. What its other files hold has been
                counted, and will not be counted again.
        """
        notification = self._read(message)
        handed_over = await self._count_log_files(notification.log_files, message)
        if notification.inline:
            await self._count_inline(notification, notification.inline, message)
        about = {"queue": queue.name, "url": queue.url, "message_id": message.message_id}
        with self._telemetry.stage("delete", **about):
            await queue.delete(message)
        return handed_over

    async def read(self, log_file: LogFile) -> Reading | None:
        """
        What a log file holds, ready to be counted; None for what is no log file by its key.

        Raises:
            Permanent: It is refused.
            LogFileUnavailable: S3 did not hand it over.
        """
        self.objects.admit(log_file)
        kind = object_kind(log_file.key)
        if kind is not ObjectKind.LOG_FILE:
            self._telemetry.log_file_ignored(kind)
            return None
        fetching = self.objects.fetch(log_file)
        async with self._telemetry.entering("fetch", fetching, log_file=log_file) as body:
            decoded = await self._decode(log_file, body)
        delivered_ms = _delivered_ms(log_file, self._now() * 1000)
        return Reading(log_file, delivered_ms, decoded.events, decoded.kms_requests)

    async def commit(self, reading: Reading, source: Source | None) -> None:
        """
        Count what a log file held; without a source it is only to be remembered.

        Raises:
            LedgerUnavailable: Nothing was counted.
        """
        with self._telemetry.stage("commit"):
            tally = await self._ledger.commit(reading)
            if source:
                self._telemetry.log_file_counted(reading, source, tally)

    def _read(self, message: Message) -> Notification:
        notification = read_notification(message.body)
        if notification.inline and not self._accept_inline_events:
            raise InlineEvent("carries a CloudTrail event itself, and inline events are off")
        if not notification.inline:
            self._telemetry.notification_read(notification)
        return notification

    async def _count_log_files(self, log_files: Sequence[LogFile], message: Message) -> bool:
        """
        Count log files, each on its own, and tell whether S3 has handed one over.

        Raises the most hopeful failure, the first of equals, when all have had their turn.
        """
        handed_over = False
        failure: Exception | None = None
        try:
            for log_file in log_files:
                try:
                    with self._telemetry.log_file_in_hand():
                        handed_over |= await self._count_log_file(log_file)
                except Exception as error:  # noqa: BLE001 - an unforeseen fault is this file's too
                    self._telemetry.log_file_failed(error, message_id=message.message_id)
                    failure = max(failure or error, error, key=_hope)
            if failure:
                raise failure
        finally:
            # Its traceback holds this frame. If this frame held it too, the log file's text
            # would stay in memory until the cyclic garbage collector came by.
            del failure
        return handed_over

    async def _count_log_file(self, log_file: LogFile) -> bool:
        """
        Count one log file, and tell whether it is one, by its key.
        """
        reading = await self.read(log_file)
        if reading is not None:
            await self.commit(reading, Source.QUEUE)
        return reading is not None

    async def _count_inline(
        self, notification: Notification, record: InlineRecord, message: Message
    ) -> None:
        """
        Count the record that a message carries itself; decoding it is part of reading it.
        """
        with self._telemetry.stage("decode"):
            decoded = decode_record(record.text, account_id=record.account_id)
            self._telemetry.decoded(decoded)
        self._telemetry.notification_read(notification)
        delivered_ms = usable_ms(record.sent_ms, self._now() * 1000)
        reading = Reading(None, delivered_ms, decoded.events, decoded.kms_requests)
        try:
            with self._telemetry.stage("commit"):
                tally = await self._ledger.commit(reading)
                self._telemetry.inline_counted(tally)
        except LedgerUnavailable as error:
            self._telemetry.inline_failed(message.message_id, error)
            raise

    async def _decode(self, log_file: LogFile, body: bytes) -> Decoded:
        """
        The events of a log file; an error of decoding is told which file it is about.
        """
        try:
            with self._telemetry.stage("decode"):
                self._telemetry.log_file_fetched(len(body))
                decoded = await self._decoded(body)
                self._telemetry.log_file_decoded(decoded)
        except (MalformedLogFile, OversizedLogFile) as error:
            refusal = type(error)(f"{log_file}: {error}")
        else:
            return decoded
        # Outside of the handler, or it would drag along the frames that hold the file's text;
        # and its own traceback has this frame, which holds the body.
        try:
            raise refusal
        finally:
            del refusal

    async def _decoded(self, body: bytes) -> Decoded:
        """
        The events of a log file, decoded where one of its size belongs.

        That a small file becomes a huge one shows only on the way. It starts anew where it
        belongs; what has been done costs little beside what follows.
        """
        if self._turn_seconds > TURN_SECONDS_MAX:
            async with self._turns:
                await asyncio.sleep(0)
        decoded = self._decoded_at_once(body)
        if decoded is not None:
            return decoded
        loop = asyncio.get_running_loop()
        if len(body) < HUGE_BYTES_MIN:
            with suppress(OversizedLogFile):
                return await loop.run_in_executor(
                    self._large, self._work, body, HUGE_INFLATED_BYTES_MIN
                )
        return await loop.run_in_executor(self._huge, self._work, body, self._inflated_bytes_max)

    def _decoded_at_once(self, body: bytes) -> Decoded | None:
        """
        The events of a usual log file, and how long this turn of the event loop has become.
        """
        if not self._turn_seconds:
            asyncio.get_running_loop().call_soon(self._begin_turn)
        begun = time.perf_counter()
        decoded = decode_at_once(body, inflated_bytes_max=self._inflated_bytes_max)
        self._turn_seconds += time.perf_counter() - begun
        return decoded

    def _begin_turn(self) -> None:
        self._turn_seconds = 0.0

    def _work(self, body: bytes, inflated_bytes_max: int) -> Decoded:
        return decode(body, inflated_bytes_max=min(inflated_bytes_max, self._inflated_bytes_max))


def _hope(failure: Exception) -> tuple[bool, ...]:
    """
    How much there is to be gained from trying again; who is to be spared comes first.
    """
    return tuple(
        isinstance(failure, kind) for kind in (LedgerUnavailable, LogFileThrottled, Transient)
    )


def _delivered_ms(log_file: LogFile, now_ms: float) -> int | None:
    """
    When a log file was delivered: when S3 announced it, else the minute in its name.
    """
    announced_ms = usable_ms(log_file.announced_ms, now_ms)
    if announced_ms is not None:
        return announced_ms
    return usable_ms(delivery_minute_ms(log_file.key), now_ms)
