"""
Single requests, carried out together.

A commit and a batch delete cost about the same for one as for many. Whoever needs one
submits it and awaits its own answer; what has been submitted while the last group was
under way goes out as the next group. Nobody waits for a timer.
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
    """

    def __init__(self, carry_out: CarryOut[Item, Answer], *, size_max: int, name: str) -> None:
        self._carry_out = carry_out
        self._size_max = size_max
        self._name = name
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Answer:
        """
        Have one item carried out with the next group, and return its answer.

        A caller that is cancelled gives up its answer only: the group goes on.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._carry_out_all(), name=self._name)
        return await answer

    async def settle(self) -> None:
        """
        Wait until nothing is waiting or under way.
        """
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _carry_out_all(self) -> None:
        await asyncio.sleep(0)  # lets callers that are ready in this turn join the first group
        while self._waiting:
            size = min(len(self._waiting), self._size_max)
            group = [self._waiting.popleft() for _ in range(size)]
            try:
                answers = await self._carry_out([item for item, _ in group])
            except Exception as error:  # noqa: BLE001 - it is raised to everyone who asked
                answers = [error] * size
            for (_, future), answer in zip(group, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
