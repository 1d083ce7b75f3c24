"""
``serve`` in a process that also tells what cannot be seen from outside.

Its settings are the environment's, and a number as its argument is how many threads decode
log files. It starts as ``serve`` is started by its command line, and prints the address of its
page. With ``bare`` as its argument there is no service, only the loop, and the address is
empty. Then it answers every line on standard input with one line of JSON, what it has seen
since the line before, and ends when standard input closes.

What it sees:

* CPU seconds of the process, of the event loop's thread, and of some kinds of work by the
  clock of the thread that does it. Work inside other work is not counted twice.
* How late a task on the event loop was each time that wanted to run every 5 ms.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sqlite3
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from threading import local
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from isal import isal_zlib

from tests.bench.stores import Child, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping

    from exporter.config import ServeSettings

TICK_SECONDS = 0.005
INFLATE, SQLITE = "inflate", "SQLite"
"""What gives up the interpreter's lock."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Seen(NamedTuple):
    """
    CPU seconds, also of the loop and by kind of work; the seconds by which ticks were late.
    """

    cpu_seconds: float
    loop_seconds: float
    clocks: Mapping[str, float]
    late: list[float]


class Clocks:
    """
    CPU seconds by kind of work, on whatever thread it is done.
    """

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()
        self._thread = local()

    def timed(self, kind: str, work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """
        The same work, whose CPU time is added to its kind's.
        """

        def timed(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            around = getattr(self._thread, "inner", 0.0)
            self._thread.inner = 0.0
            before = time.thread_time()
            try:
                return work(*args, **kwargs)
            finally:
                seconds = time.thread_time() - before
                self._seconds[kind] += seconds - self._thread.inner
                self._thread.inner = around + seconds

        return timed

    def take(self) -> dict[str, float]:
        """
        What has been added since the last time.
        """
        seconds, self._seconds = self._seconds, Counter()
        return dict(seconds)


class _Inflater:
    """
    An inflater whose work is timed.
    """

    def __init__(self, clocks: Clocks, inflater: Any) -> None:
        self._inflater = inflater
        self.decompress = clocks.timed(INFLATE, inflater.decompress)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inflater, name)


class _Database(sqlite3.Connection):
    """
    A connection whose methods can be replaced, as those of the class itself cannot.
    """


class _Client:
    """
    A client of a service whose requests are timed, step by step.
    """

    def __init__(self, clocks: Clocks, client: Any, kind: str) -> None:
        self._clocks = clocks
        self._client = client
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        return self._timed(attribute) if callable(attribute) else attribute

    def _timed(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **asked: Any) -> Any:
            answer = ask(*args, **asked)
            waits = inspect.iscoroutine(answer)
            return _Steps(self._clocks, self._kind, answer) if waits else answer

        return timed


class _Steps:
    """
    A coroutine to be awaited, each step of which is timed.
    """

    def __init__(self, clocks: Clocks, kind: str, work: Coroutine[Any, Any, Any]) -> None:
        self._send = clocks.timed(kind, work.send)
        self._throw = clocks.timed(kind, work.throw)

    def __await__(self) -> Generator[Any, Any, Any]:
        step, value = self._send, None
        while True:
            try:
                awaited = step(value)
            except StopIteration as end:
                return end.value
            try:
                step, value = self._send, (yield awaited)
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                step, value = self._throw, error


def put_clocks(clocks: Clocks) -> None:
    """
    Time what gives up the interpreter's lock, and the largest of what does not.
    """
    new_inflater = isal_zlib.decompressobj
    modified: list[tuple[Any, str, Any]] = [
        (isal_zlib, "decompress", clocks.timed(INFLATE, isal_zlib.decompress)),
        (isal_zlib, "decompressobj", lambda *args: _Inflater(clocks, new_inflater(*args))),
        (sqlite3, "connect", partial(sqlite3.connect, factory=_Database)),
    ]
    for name in ("execute", "executemany", "executescript", "commit"):
        timed = clocks.timed(SQLITE, getattr(sqlite3.Connection, name))
        modified.append((_Database, name, timed))
    for owner, name, value in modified:
        setattr(owner, name, value)

    # These modules may take what has been replaced by its name.
    from exporter import pipeline  # noqa: PLC0415
    from exporter.aws.session import Session  # noqa: PLC0415
    from exporter.ledger import sqlite  # noqa: PLC0415

    new_client = Session.client

    @asynccontextmanager
    async def client(session: Session, service: str, **more: Any) -> AsyncIterator[_Client]:
        async with new_client(session, service, **more) as one:
            yield _Client(clocks, one, f"requests to {service.upper()}")

    setattr(Session, "client", client)  # noqa: B010 - which is to say that it is no method
    for module, name in ((pipeline, "decode"), (pipeline, "read_notification"), (sqlite, "tally")):
        setattr(module, name, clocks.timed(name, getattr(module, name)))


def put_threads(number: int) -> None:
    """
    Have so many threads decode log files.
    """
    from exporter import pipeline  # noqa: PLC0415 - after the clocks are in place

    pipeline.DECODE_THREADS = number


async def watch(clocks: Clocks, address: str) -> None:
    """
    Tell the address; then tell what has been seen, whenever a line asks for it.
    """
    loop, closed, late = asyncio.get_running_loop(), asyncio.Event(), list[float]()
    cpu, own = time.process_time(), time.thread_time()

    def answer() -> None:
        nonlocal cpu, own
        if not os.read(sys.stdin.fileno(), 1024):
            closed.set()
            return
        seen = Seen(time.process_time() - cpu, time.thread_time() - own, clocks.take(), late)
        _tell(json.dumps(seen))
        late.clear()
        cpu, own = time.process_time(), time.thread_time()

    loop.add_reader(sys.stdin.fileno(), answer)
    _tell(address)
    ticking = asyncio.create_task(_tick(late))
    await closed.wait()
    ticking.cancel()


async def _tick(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        late.append(time.perf_counter() - due)


async def serve(clocks: Clocks, settings: ServeSettings) -> int:
    """
    What ``serve`` does, until standard input closes.
    """
    from exporter.logs import set_up_logs  # noqa: PLC0415 - after the clocks are in place
    from exporter.service import Service  # noqa: PLC0415 - the same

    set_up_logs(settings.log.level, settings.log.format)
    service, stop = Service(settings), asyncio.Event()
    serving = asyncio.create_task(service.run(stop))
    (address,) = await service.listening()
    await watch(clocks, address)
    stop.set()
    await serving
    return 0


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - to who started it


class Inside(Child):
    """
    Such a process, alive inside the ``with`` block.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str]) -> None:
        super().__init__(__name__, *arguments, environment=environment)
        self.address = self.line()

    def seen(self) -> Seen:
        """
        What it has seen since the last time.
        """
        self.say("")
        return Seen(*json.loads(self.line()))


def main(argument: str = "") -> int:
    """
    Start as ``serve`` is started, but for what it runs.
    """
    clocks = Clocks()
    if argument == "bare":
        run(watch(clocks, ""))
        return 0
    put_clocks(clocks)
    if argument:
        put_threads(int(argument))

    from exporter import cli, service  # noqa: PLC0415 - after the clocks are in place

    setattr(service, "serve", partial(serve, clocks))  # noqa: B010 - for cli to find
    return cli.main(["serve"])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
