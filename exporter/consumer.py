"""
Receives messages, keeps several in hand, and settles how each one ends.

Rules:

1. No more is received than may be in hand. Back-pressure is not asking.
2. Every message ends in exactly one way. Deleted: the pipeline finished it. Left: it could
   not be finished, and trying again does not help; it is not touched, comes back when its
   visibility timeout ends, and the queue's redrive policy moves it to the dead-letter
   queue in the end. Postponed: its log file was not to be had; it comes back later each
   time. Released: a stop came first; it is given back at once.
3. A message in hand stays invisible for as long as that takes, up to the 12 hours after
   which SQS shows it to others whatever is done.
4. A ledger that cannot be written is nobody's fault on the queue. Messages stay in hand
   until it can, so that none wears out its receives, and no more are received.
5. A queue that fails, and an S3 that asks for fewer requests, are asked ever less often
   until they answer.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

from exporter.aws.queue import BATCH_MAX, Message, Queue
from exporter.errors import (
    LedgerUnavailable,
    LogFileThrottled,
    LogFileUnavailable,
    QueueUnavailable,
    ReceiptExpired,
)
from exporter.pipeline import Pipeline
from exporter.telemetry import Telemetry

MESSAGES_IN_HAND_MAX = 100
MESSAGES_BEGUN_MAX = 32
"""How many messages of those in hand are worked at; the others can be given back unspoilt."""
RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 30.0
POSTPONE_SECONDS_MAX = 900.0
IN_HAND_SECONDS_MAX = 12 * 3600 - 60.0
"""SQS counts its 12 hours from the receipt, which was a moment before we knew of it."""
LAST_RECEIVE_SECONDS = 1.0
"""How long a stop that has nothing else to do waits for the answer to the last receive."""
LAST_RENEWAL_SECONDS = 2.0
"""How long the end of a message waits for a renewal that is under way."""
RELEASE_SHARE = 0.2
"""How much of a stop's grace is kept for giving back what is not finished."""


class Backoff:
    """
    How long to wait before trying again: twice as long each time, up to a bound.

    A little chance keeps several processes from asking in step.
    """

    def __init__(self, seconds_max: float = RETRY_SECONDS_MAX) -> None:
        self._seconds_max = seconds_max
        self.reset()

    def reset(self) -> None:
        """
        Start again from the shortest wait.
        """
        self._seconds = RETRY_SECONDS_MIN

    def next_seconds(self) -> float:
        """
        The next wait.
        """
        seconds, self._seconds = self._seconds, min(2 * self._seconds, self._seconds_max)
        return seconds * random.uniform(0.75, 1.0)  # noqa: S311 - spreads load, guards nothing


class Pace:
    """
    When more may be begun: at once, or after a pause that grows while S3 is overloaded.
    """

    def __init__(self) -> None:
        self._backoff = Backoff()
        self._pause_ends = 0.0

    def slow_down(self) -> None:
        """
        Pause; who asks for it during a pause was begun before it, and does not lengthen it.
        """
        now = asyncio.get_running_loop().time()
        if now >= self._pause_ends:
            self._pause_ends = now + self._backoff.next_seconds()

    def recover(self) -> None:
        """
        Take note that S3 hands over log files again.
        """
        if asyncio.get_running_loop().time() >= self._pause_ends:
            self._backoff.reset()

    async def keep(self) -> None:
        """
        Wait until there is no pause.
        """
        if self._pause_ends:
            await asyncio.sleep(max(0.0, self._pause_ends - asyncio.get_running_loop().time()))


class Invisibility:
    """
    Keeps others from receiving a message in hand during the block.

    It is hidden anew whenever half of its time is over, for as long as SQS lets it. A failure,
    of which ``failed`` is told, leaves time for a few attempts more.
    """

    def __init__(
        self, queue: Queue, message: Message, failed: Callable[[QueueUnavailable], None]
    ) -> None:
        self._queue = queue
        self._message = message
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._given_back = self._loop.time() + IN_HAND_SECONDS_MAX
        self._renewal: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._renew_after(1 / 2)

    async def __aexit__(self, *_error: object) -> None:
        try:
            if self._renewal is not None:
                # One that is under way would undo what is done with the message next.
                await asyncio.wait([self._renewal], timeout=LAST_RENEWAL_SECONDS)
        finally:
            if self._renewal is not None:
                self._renewal.cancel()
            self._timer.cancel()

    def _renew_after(self, share: float) -> None:
        """
        Renew when so much of the time is over for which the queue hides a message.
        """
        self._timer = self._loop.call_later(self._queue.visibility_seconds * share, self._begin)

    def _begin(self) -> None:
        self._renewal = self._loop.create_task(
            self._renew(), name=f"renewal of {self._message.message_id}"
        )

    async def _renew(self) -> None:
        seconds = min(self._queue.visibility_seconds, self._given_back - self._loop.time())
        if seconds < 1:
            return
        try:
            await self._queue.hide(self._message, seconds)
        except ReceiptExpired:
            return
        except QueueUnavailable as error:
            self._failed(error)
            self._renew_after(1 / 8)
        else:
            self._renew_after(1 / 2)


class Consumer:
    """
    Consumes one queue until told to stop.

    Args:
        answered: Called after every attempt to receive, with what is wrong or with None.
        writable: Whether the ledger can be written, as far as is known.
    """

    def __init__(
        self,
        queue: Queue,
        pipeline: Pipeline,
        telemetry: Telemetry,
        answered: Callable[[str | None], None],
        *,
        writable: Callable[[], bool] = lambda: True,
    ) -> None:
        self._queue = queue
        self._pipeline = pipeline
        self._telemetry = telemetry
        self._answered = answered
        self._writable = writable
        self._pace = Pace()
        self._in_hand: set[asyncio.Task[None]] = set()
        self._begun: set[asyncio.Task[None]] = set()
        self._hands = asyncio.Semaphore(MESSAGES_BEGUN_MAX)
        self._hand_freed = asyncio.Event()
        self._receiving: asyncio.Future[list[Message]] | None = None
        telemetry.queue_joined(queue.name)

    async def run(self) -> None:
        """
        Receive for ever. Cancelling it stops receiving and nothing else; see ``drain``.
        """
        backoff = Backoff()
        while True:
            await self._wait_for_free_hands()
            await self._pace.keep()
            try:
                with self._telemetry.stage("receive", queue=self._queue.name, url=self._queue.url):
                    messages = await self._receive()
            except QueueUnavailable as error:
                self._answered(str(error))
                seconds = backoff.next_seconds()
                self._telemetry.queue_failed(error, retry_seconds=seconds)
                await asyncio.sleep(seconds)
                continue
            backoff.reset()
            self._answered(None)
            self._note_received(messages)
            for message in messages:
                self._take_in_hand(message)

    async def drain(self, grace_seconds: float) -> None:
        """
        Finish what has been begun; the rest, and what is not finished in time, is released.

        SQS may answer the last receive at any moment, and best with what is released just
        now: it hides messages as it sends them, and nobody would see them for a while. So
        somebody listens until all else is done.
        """
        self._telemetry.stopping(messages_in_hand=len(self._in_hand))
        listening = asyncio.create_task(self._give_back_the_last(), name="last receive")
        # What waits for the ledger to be written again would wait in vain.
        for task in self._in_hand - self._begun if self._writable() else self._in_hand:
            task.cancel()
        if self._in_hand:
            await self._empty_hands(grace_seconds)
        await asyncio.wait([listening], timeout=LAST_RECEIVE_SECONDS)
        listening.cancel()

    async def _empty_hands(self, grace_seconds: float) -> None:
        release_seconds = grace_seconds * RELEASE_SHARE
        _, unfinished = await asyncio.wait(self._in_hand, timeout=grace_seconds - release_seconds)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=release_seconds)

    async def _give_back_the_last(self) -> None:
        """
        Release what the last receive still brings.
        """
        if self._receiving is None:
            return
        with suppress(Exception):  # whatever is wrong, nothing has been brought
            messages = await self._receiving
            self._note_received(messages)
            await asyncio.gather(*map(self._release, messages))

    async def _receive(self) -> list[Message]:
        """
        Receive some messages. A stop does not end the call; see ``drain``.
        """
        self._receiving = asyncio.ensure_future(self._queue.receive(BATCH_MAX))
        messages = await asyncio.shield(self._receiving)
        self._receiving = None
        return messages

    def _note_received(self, messages: Sequence[Message]) -> None:
        self._telemetry.messages_received(
            self._queue.name,
            [message.sent_ms for message in messages],
            [message.trace_header for message in messages],
        )

    async def _wait_for_free_hands(self) -> None:
        while len(self._in_hand) + BATCH_MAX > MESSAGES_IN_HAND_MAX or (
            # With nothing in hand, nobody would find out that the ledger can be written again.
            self._in_hand and not self._writable()
        ):
            self._hand_freed.clear()
            await self._hand_freed.wait()

    def _take_in_hand(self, message: Message) -> None:
        task = asyncio.create_task(self._settle(message), name=f"message {message.message_id}")
        self._in_hand.add(task)
        task.add_done_callback(self._put_down)

    def _put_down(self, task: asyncio.Task[None]) -> None:
        self._in_hand.discard(task)
        self._hand_freed.set()

    async def _settle(self, message: Message) -> None:
        """
        See one message to its end, whichever that is.
        """
        with self._telemetry.message_in_hand(
            self._queue.name,
            message.message_id,
            message.body,
            message.receives,
            message.trace_header,
        ):
            await self._end(message)

    async def _end(self, message: Message) -> None:
        try:
            async with Invisibility(self._queue, message, self._telemetry.renewal_failed):
                await self._count(message)
        except asyncio.CancelledError:
            await self._release(message)
        except LogFileUnavailable as error:
            await self._postpone(message, error)
        except Exception as error:  # noqa: BLE001 - one message's fault must not stop the others
            self._telemetry.message_left(message.message_id, error)
        else:
            self._telemetry.message_deleted()

    async def _count(self, message: Message) -> None:
        """
        Count one message when its turn comes; again and again while the ledger is what fails.
        """
        async with self._hands:
            await self._pace.keep()
            task = asyncio.current_task()
            assert task is not None, "a message is counted by a task of its own"  # noqa: S101
            self._begun.add(task)
            try:
                await self._count_begun(message)
            finally:
                self._begun.discard(task)

    async def _count_begun(self, message: Message) -> None:
        backoff = Backoff()
        while True:
            try:
                if await self._pipeline.count(self._queue, message):
                    self._pace.recover()
            except LedgerUnavailable:
                await asyncio.sleep(backoff.next_seconds())
            except LogFileThrottled:
                self._pace.slow_down()  # before anybody gets the hand that is freed
                raise
            else:
                return

    async def _postpone(self, message: Message, error: LogFileUnavailable) -> None:
        """
        Let a message come back later than it would by itself, and later each time.
        """
        doubled = self._queue.visibility_seconds * 2.0 ** min(message.receives - 1, 20)
        seconds = max(self._queue.visibility_seconds, min(doubled, POSTPONE_SECONDS_MAX))
        seconds = min(seconds, IN_HAND_SECONDS_MAX)
        try:
            await self._queue.hide(message, seconds)
        except QueueUnavailable:
            self._telemetry.message_left(message.message_id, error)
        else:
            self._telemetry.message_postponed(error)

    async def _release(self, message: Message) -> None:
        try:
            await self._queue.hide(message, 0)
        except Exception as error:  # noqa: BLE001 - it comes back by itself, whatever was wrong
            self._telemetry.message_left(message.message_id, error)
        else:
            self._telemetry.message_released()
