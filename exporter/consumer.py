"""
Receives messages, keeps several in hand, and settles how each one ends.

Rules:

1. No more is received than may be in hand. Back-pressure is not asking.
2. Every message ends in exactly one way. Deleted: the pipeline finished it. Left: it could
   not be finished; it comes back by itself when its visibility timeout ends, and the
   queue's redrive policy moves it to the dead-letter queue in the end. Released: a stop
   came first; it is given back at once.
3. A queue that fails is asked again, ever less often, until it answers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from exporter.aws.queue import BATCH_MAX, Message, Queue
from exporter.errors import QueueUnavailable
from exporter.pipeline import Pipeline
from exporter.telemetry import Telemetry

MESSAGES_IN_HAND_MAX = 100
RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 30.0
LAST_RECEIVE_SECONDS = 1.0
"""How long a stop waits for the answer to the last receive."""
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


class Consumer:
    """
    Consumes one queue until told to stop.

    Args:
        answered: Called after every attempt to receive, with what is wrong or with None.
    """

    def __init__(
        self,
        queue: Queue,
        pipeline: Pipeline,
        telemetry: Telemetry,
        answered: Callable[[str | None], None],
    ) -> None:
        self._queue = queue
        self._pipeline = pipeline
        self._telemetry = telemetry
        self._answered = answered
        self._in_hand: set[asyncio.Task[None]] = set()
        self._hand_freed = asyncio.Event()
        telemetry.queue_joined(queue.name)

    async def run(self) -> None:
        """
        Receive for ever. Cancelling it stops receiving and nothing else; see ``drain``.
        """
        backoff = Backoff()
        while True:
            await self._wait_for_free_hands()
            try:
                with self._telemetry.stage("receive"):
                    messages = await self._receive()
            except QueueUnavailable as error:
                self._answered(str(error))
                seconds = backoff.next_seconds()
                self._telemetry.queue_failed(error, retry_seconds=seconds)
                await asyncio.sleep(seconds)
                continue
            backoff.reset()
            self._answered(None)
            self._telemetry.messages_received(
                self._queue.name, [message.sent_ms for message in messages]
            )
            for message in messages:
                self._take_in_hand(message)

    async def drain(self, grace_seconds: float) -> None:
        """
        Finish what is in hand; what is not finished in time is released.
        """
        self._telemetry.stopping(messages_in_hand=len(self._in_hand))
        if not self._in_hand:
            return
        release_seconds = grace_seconds * RELEASE_SHARE
        _, unfinished = await asyncio.wait(self._in_hand, timeout=grace_seconds - release_seconds)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=release_seconds)

    async def _receive(self) -> list[Message]:
        """
        Receive some messages; if a stop comes meanwhile, give back those that still arrive.

        SQS hides messages from the moment it sends them. A call that is cut off may have
        some on their way, and nobody would see them before their visibility timeout ends.
        """
        call = asyncio.ensure_future(self._queue.receive(BATCH_MAX))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait([call], timeout=LAST_RECEIVE_SECONDS)
            if call.done() and not call.exception():
                self._telemetry.messages_received(
                    self._queue.name, [message.sent_ms for message in call.result()]
                )
                if releases := [
                    asyncio.ensure_future(self._release(message)) for message in call.result()
                ]:
                    await asyncio.wait(releases, timeout=LAST_RECEIVE_SECONDS)
            call.cancel()
            raise

    async def _wait_for_free_hands(self) -> None:
        while len(self._in_hand) + BATCH_MAX > MESSAGES_IN_HAND_MAX:
            self._hand_freed.clear()
            await self._hand_freed.wait()

    def _take_in_hand(self, message: Message) -> None:
        task = asyncio.create_task(self._count(message), name=f"message {message.message_id}")
        self._in_hand.add(task)
        task.add_done_callback(self._put_down)

    def _put_down(self, task: asyncio.Task[None]) -> None:
        self._in_hand.discard(task)
        self._hand_freed.set()

    async def _count(self, message: Message) -> None:
        """
        See one message to its end, whichever that is.
        """
        try:
            await self._pipeline.count(self._queue, message)
        except asyncio.CancelledError:
            await self._release(message)
        except Exception as error:  # noqa: BLE001 - one message's fault must not stop the others
            self._telemetry.message_left(message.message_id, error)
        else:
            self._telemetry.message_deleted()

    async def _release(self, message: Message) -> None:
        try:
            await self._queue.release(message)
        except Exception as error:  # noqa: BLE001 - it comes back by itself, whatever was wrong
            self._telemetry.message_left(message.message_id, error)
        else:
            self._telemetry.message_released()
