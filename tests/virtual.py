"""
An event loop on a clock that nobody waits for, and which can be halted at any step.

Rules:

1. Time stands still while anything is ready to run. When nothing is, it leaps to the next
   timer; where there is no timer either, nothing would ever happen again, which is an error.
2. Work for a thread is done at once. Its answer comes in a step of its own: what a thread has
   done may be known to nobody yet when the process ends.
3. A halted loop runs no step, not even one that was ready. What was ready is kept, for whoever
   lets the loop go on.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from selectors import SelectorKey, SelectSelector
from typing import Any, Protocol, TypeVar, TypeVarTuple

Answer = TypeVar("Answer")
Arguments = TypeVarTuple("Arguments")

RESOLUTION_SECONDS = 1e-6
"""How exact a timer is: not more so than a float of some 10**9 seconds can be."""


class MovableClock(Protocol):
    """
    A clock that stands still until it is moved.
    """

    seconds: float


class Standstill(Exception):
    """
    Nothing is ready and no timer is set: the loop would wait for ever.
    """


class Leap(SelectSelector):
    """
    Waits for nothing: where a selector would, the clock leaps to the end of the wait.
    """

    def __init__(self, clock: MovableClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        if timeout is None:
            raise Standstill
        self._clock.seconds += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    An event loop whose time is that of a clock.

    Args:
        clock: It may also be moved from outside, as if the machine had slept.
        each_step: Called before every step; it may halt the loop, and the step is not taken.
    """

    def __init__(self, clock: MovableClock, each_step: Callable[[], None] = lambda: None) -> None:
        super().__init__(Leap(clock))
        self.complaints: list[Mapping[str, Any]] = []
        """What nobody caught, as an exception handler is told it."""
        self._clock = clock
        self._clock_resolution = RESOLUTION_SECONDS  # asyncio's own, of the clock it would have
        self._each_step = each_step
        self._halted = False
        self.set_exception_handler(lambda _, context: self.complaints.append(context))

    def time(self) -> float:
        return self._clock.seconds

    def call_soon(
        self,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        return super().call_soon(self._step, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return super().call_at(when, self._step, callback, *args, context=context)

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002 - whichever it is, its work is done here
        func: Callable[[*Arguments], Answer],
        *args: *Arguments,
    ) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = self.create_future()
        try:
            answer = func(*args)
        except Exception as error:  # noqa: BLE001 - it is raised to whoever awaits the work
            self.call_soon(_fail, future, error)
        else:
            self.call_soon(_fulfil, future, answer)
        return future

    def run_for(self, seconds: float) -> None:
        """
        Run for some time of the clock, or until the loop is halted.
        """
        if self._halted:
            return
        timer = super().call_at(self.time() + seconds, self.stop)
        self.run_forever()
        timer.cancel()

    def halt(self) -> None:
        """
        Run no step any more.
        """
        self._halted = True
        if self.is_running():
            self.stop()

    def go_on(self) -> None:
        """
        Run steps again, those first that were ready before.
        """
        self._halted = False

    def _step(self, callback: Callable[[*Arguments], object], *args: *Arguments) -> None:
        if not self._halted:
            self._each_step()
        if self._halted:
            self.call_soon(callback, *args)
        else:
            callback(*args)


def _fulfil(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
