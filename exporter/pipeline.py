"""
The story of one message: read, fetch, decode, count, commit, delete.

Rules:

1. Commit comes before delete. A crash between the two brings the message back and the
   ledger knows its events; the other order would lose them.
2. Each log file commits on its own. One bad file of three costs the other two nothing;
   the message stays for the sake of the bad one.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from exporter.aws.objects import Objects
from exporter.aws.queue import Message, Queue
from exporter.cloudtrail import Decoded, decode, delivery_minute_ms
from exporter.errors import MalformedLogFile, OversizedLogFile
from exporter.ledger import Ledger
from exporter.notifications import LogFile, read_notification
from exporter.tally import FUTURE_MS_MAX, Reading
from exporter.telemetry import Telemetry

INLINE_BYTES_MAX = 64 * 1024
INLINE_INFLATED_BYTES_MAX = 1024 * 1024
"""A log file larger than this, compressed or inflated, is decoded in a thread, one at a time.

The event loop then goes on in turns with it, and a small file that inflates to a huge one
cannot hold it up."""


class Pipeline:
    """
    Counts what messages announce.
    """

    def __init__(
        self, objects: Objects, ledger: Ledger, telemetry: Telemetry, *, inflated_bytes_max: int
    ) -> None:
        self._objects = objects
        self._ledger = ledger
        self._telemetry = telemetry
        self._inflated_bytes_max = inflated_bytes_max
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")

    async def count(self, queue: Queue, message: Message) -> None:
        """
        Count the events that one message announces, each exactly once, then delete it.

        Raises:
            Exception: The message was not deleted, because of this file or message; an
                ExporterError unless nobody foresaw it. What its other files hold has been
                counted, and will not be counted again.
        """
        notification = read_notification(message.body)
        self._telemetry.notification_read(notification)
        failures = [
            failure
            for log_file in notification.log_files
            if (failure := await self._failure_to_count(log_file, message))
        ]
        if failures:
            raise failures[0]
        with self._telemetry.stage("delete"):
            await queue.delete(message)

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
        fetching = self._objects.fetch(log_file)
        async with self._telemetry.entering("fetch", fetching) as body:
            decoded = await self._decode(log_file, body)
            delivered_ms = _delivered_ms(log_file, time.time() * 1000)
            with self._telemetry.stage("commit"):
                tally = await self._ledger.commit(Reading(log_file, delivered_ms, decoded.events))
        self._telemetry.log_file_counted(log_file, delivered_ms, decoded, tally)

    async def _decode(self, log_file: LogFile, body: bytes) -> Decoded:
        """
        The events of a log file; an error of decoding is told which file it is about.
        """
        self._telemetry.log_file_fetched(len(body))
        work = partial(decode, body, inflated_bytes_max=self._inflated_bytes_max)
        try:
            with self._telemetry.stage("decode"):
                decoded = self._decoded_inline(body)
                if decoded is None:
                    loop = asyncio.get_running_loop()
                    decoded = await loop.run_in_executor(self._thread, work)
        except (MalformedLogFile, OversizedLogFile) as error:
            raise type(error)(f"{log_file}: {error}") from error
        self._telemetry.log_file_decoded(decoded)
        return decoded

    def _decoded_inline(self, body: bytes) -> Decoded | None:
        """
        The events of a small log file, at once; None for one that is too large for that.
        """
        if len(body) > INLINE_BYTES_MAX:
            return None
        inflated_bytes_max = min(INLINE_INFLATED_BYTES_MAX, self._inflated_bytes_max)
        try:
            return decode(body, inflated_bytes_max=inflated_bytes_max)
        except OversizedLogFile:
            return None


def _delivered_ms(log_file: LogFile, now_ms: float) -> int | None:
    """
    When a log file was delivered: when S3 announced it, else the minute in its name.
    """
    announced_ms = log_file.announced_ms
    if announced_ms is not None and announced_ms <= now_ms + FUTURE_MS_MAX:
        return announced_ms
    return delivery_minute_ms(log_file.key)
