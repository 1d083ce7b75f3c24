"""
The story of one message: read, fetch, decode, count, commit, delete.

Rules:

1. Commit comes before delete. A crash between the two brings the message back and the
   ledger knows its events; the other order would lose them.
2. Each log file commits on its own. One bad file of three costs the other two nothing;
   the message stays for the sake of the bad one.
3. What is no log file is told by its key, and never fetched.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from exporter.aws.objects import Objects
from exporter.aws.queue import Message, Queue
from exporter.cloudtrail import Decoded, decode, decode_record
from exporter.errors import InlineEvent, LedgerUnavailable, MalformedLogFile, OversizedLogFile
from exporter.keys import ObjectKind, delivery_minute_ms, object_kind
from exporter.ledger import Ledger
from exporter.notifications import InlineRecord, LogFile, Notification, read_notification
from exporter.tally import Reading
from exporter.telemetry import Telemetry
from exporter.timestamps import usable_ms

AT_ONCE_BYTES_MAX = 64 * 1024
AT_ONCE_INFLATED_BYTES_MAX = 1024 * 1024
"""A log file larger than this, compressed or inflated, is decoded in a thread, one at a time.

The event loop then goes on in turns with it, and a small file that inflates to a huge one
cannot hold it up."""


class Pipeline:
    """
    Counts what messages announce.

    Args:
        inflated_bytes_max: A larger log file is refused as a whole.
        accept_inline_events: Whether records that messages carry themselves are counted.
    """

    def __init__(
        self,
        objects: Objects,
        ledger: Ledger,
        telemetry: Telemetry,
        *,
        inflated_bytes_max: int,
        accept_inline_events: bool = False,
    ) -> None:
        self._objects = objects
        self._ledger = ledger
        self._telemetry = telemetry
        self._inflated_bytes_max = inflated_bytes_max
        self._accept_inline_events = accept_inline_events
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")

    async def count(self, queue: Queue, message: Message) -> None:
        """
        Count the events that one message announces, each exactly once, then delete it.

        Raises:
            Exception: The message was not deleted, because of this file or message; an
                ExporterError unless nobody foresaw it. What its other files hold has been
                counted, and will not be counted again.
        """
        notification = self._read(message)
        failures = [
            failure
            for log_file in notification.log_files
            if (failure := await self._failure_to_count(log_file, message))
        ]
        if failures:
            raise failures[0]
        if notification.inline:
            await self._count_inline(notification, notification.inline, message)
        with self._telemetry.stage("delete"):
            await queue.delete(message)

    def _read(self, message: Message) -> Notification:
        notification = read_notification(message.body)
        if notification.inline and not self._accept_inline_events:
            raise InlineEvent("carries a CloudTrail event itself, and inline events are off")
        if not notification.inline:
            self._telemetry.notification_read(notification)
        return notification

    async def _failure_to_count(self, log_file: LogFile, message: Message) -> Exception | None:
        """
        Count one log file, and hand back what went wrong so that the next has its turn.
        """
        try:
            with self._telemetry.log_file_in_hand():
                await self._count_log_file(log_file)
        except Exception as error:  # noqa: BLE001 - also an unforeseen fault is this file's own
            self._telemetry.log_file_failed(message.message_id, error)
            return error
        return None

    async def _count_log_file(self, log_file: LogFile) -> None:
        self._objects.admit(log_file)
        kind = object_kind(log_file.key)
        if kind is not ObjectKind.LOG_FILE:
            self._telemetry.log_file_ignored(kind)
            return
        fetching = self._objects.fetch(log_file)
        async with self._telemetry.entering("fetch", fetching) as body:
            decoded = await self._decode(log_file, body)
            delivered_ms = _delivered_ms(log_file, time.time() * 1000)
            reading = Reading(log_file, delivered_ms, decoded.events, decoded.kms_requests)
            with self._telemetry.stage("commit"):
                tally = await self._ledger.commit(reading)
        self._telemetry.log_file_counted(log_file, delivered_ms, decoded, tally)

    async def _count_inline(
        self, notification: Notification, record: InlineRecord, message: Message
    ) -> None:
        """
        Count the record that a message carries itself; decoding it is part of reading it.
        """
        with self._telemetry.stage("decode"):
            decoded = decode_record(record.text, account_id=record.account_id)
        self._telemetry.notification_read(notification)
        self._telemetry.decoded(decoded)
        delivered_ms = usable_ms(record.sent_ms, time.time() * 1000)
        reading = Reading(None, delivered_ms, decoded.events, decoded.kms_requests)
        try:
            with self._telemetry.stage("commit"):
                tally = await self._ledger.commit(reading)
        except LedgerUnavailable as error:
            self._telemetry.inline_failed(message.message_id, error)
            raise
        self._telemetry.inline_counted(tally)

    async def _decode(self, log_file: LogFile, body: bytes) -> Decoded:
        """
        The events of a log file; an error of decoding is told which file it is about.
        """
        self._telemetry.log_file_fetched(len(body))
        work = partial(decode, body, inflated_bytes_max=self._inflated_bytes_max)
        try:
            with self._telemetry.stage("decode"):
                decoded = self._decoded_at_once(body)
                if decoded is None:
                    loop = asyncio.get_running_loop()
                    decoded = await loop.run_in_executor(self._thread, work)
        except (MalformedLogFile, OversizedLogFile) as error:
            raise type(error)(f"{log_file}: {error}") from error
        self._telemetry.log_file_decoded(decoded)
        return decoded

    def _decoded_at_once(self, body: bytes) -> Decoded | None:
        """
        The events of a small log file, at once; None for one that is too large for that.
        """
        if len(body) > AT_ONCE_BYTES_MAX:
            return None
        inflated_bytes_max = min(AT_ONCE_INFLATED_BYTES_MAX, self._inflated_bytes_max)
        try:
            return decode(body, inflated_bytes_max=inflated_bytes_max)
        except OversizedLogFile:
            return None


def _delivered_ms(log_file: LogFile, now_ms: float) -> int | None:
    """
    When a log file was delivered: when S3 announced it, else the minute in its name.
    """
    announced_ms = usable_ms(log_file.announced_ms, now_ms)
    if announced_ms is not None:
        return announced_ms
    return usable_ms(delivery_minute_ms(log_file.key), now_ms)
