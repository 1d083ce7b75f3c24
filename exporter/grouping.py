"""
Single requests, carried out together.

A commit and a batch delete cost about the same for one as for many. Whoever needs one
submits it and awaits its own answer; what has been submitted while the last group was
under way goes out as the next group. What is not urgent lingers for a moment, until there are
enough to go together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

CarryOut = Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]]
"""Answers item by item; an exception in an answer's place is raised to whoever asked."""


class Groups(Generic[Item, Answer]):
    """
    A line of single requests before a step that takes several at once.

    Args:
        carry_out: That step.
        size_max: How many it takes.
        name: What its task is called.
        linger_seconds: How long a group of fewer than ``enough`` waits for more.
        enough: So many go at once, with whoever else is there; as many as it takes if not said.
    """

    def __init__(
        self,
        carry_out: CarryOut[Item, Answer],
        *,
        size_max: int,
        name: str,
        linger_seconds: float = 0.0,
        enough: int | None = None,
    ) -> None:
        self._carry_out = carry_out
        self._size_max = size_max
        self._name = name
        self._linger_seconds = linger_seconds
        self._enough = enough or size_max
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._are_enough = asyncio.Event()

    async def submit(self, item: Item, *, urgent: bool = False) -> Answer:
        """
        Have one item carried out with the next group, and return its answer.

        A caller that is cancelled gives up its answer only: the group goes on.

        Args:
            item: It.
            urgent: Whether nobody is to linger.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if urgent or len(self._waiting) >= self._enough:
            self._are_enough.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._carry_out_all(), name=self._name)
        try:
            return await answer
        finally:
            # An error has a traceback, which has this frame, which has the answer, which has
            # the error: together they would stay until the cyclic garbage collector came by,
            # and with them what the callers' frames hold.
            del answer

    async def settle(self) -> None:
        """
        Wait until nothing is waiting or under way.
        """
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _carry_out_all(self) -> None:
        while self._waiting:
            await self._gather()
            size = min(len(self._waiting), self._size_max)
            group = [self._waiting.popleft() for _ in range(size)]
            if len(self._waiting) < self._enough:
                self._are_enough.clear()
            await self._answer(group)

    async def _gather(self) -> None:
        """
        Let more come: those who are ready in this turn of the loop, or who come soon.
        """
        if not self._linger_seconds:
            await asyncio.sleep(0)
        elif not self._are_enough.is_set():
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._linger_seconds, self._are_enough.set)
            try:
                await self._are_enough.wait()
            finally:
                timer.cancel()

    async def _answer(self, group: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        answers = await self._answers_to([item for item, _ in group])
        for (_, future), answer in zip(group, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def _answers_to(self, items: Sequence[Item]) -> Sequence[Answer | Exception]:
        try:
            return await self._carry_out(items)
        except Exception as error:  # noqa: BLE001 - it is raised to everyone who asked
            return [error] * len(items)
