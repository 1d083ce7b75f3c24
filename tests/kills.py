"""
A process that lives as the program again and again, and is killed every time.

Rules:

1. Python and AWS's libraries take a second or two to load. They are loaded once; each life
   is a fork of this process, in which nothing but imports has run: no thread, no loop, no
   connection that two lives could share.
2. A life is what the console script is: ``exporter.cli.main`` with a user's arguments, under
   a process id of its own.
3. It ends by SIGKILL only: at a moment, from outside, or at a point between two of the
   program's steps, once it has written the point's name into a pipe. The steps themselves
   stay as they are. One that comes to no end by itself is ended by SIGALRM.

Reads one life a line from standard input, as JSON, and answers each with the end it had.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

LIFE_SECONDS_MAX = 50


class Point(StrEnum):
    """
    Between which steps of counting a life may end.
    """

    AFTER_RECEIVE = "after receive"
    AFTER_FETCH = "after fetch"
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"
    BEFORE_DELETE = "before delete"


class Life(NamedTuple):
    """
    What one life is told, and when it has to end.

    ``log`` is the file that its standard error goes to. It ends when it comes to ``point`` for
    the ``turn``-th time, or after so many seconds where it has no point.
    """

    arguments: Sequence[str]
    log: str
    point: str = ""
    turn: int = 0
    seconds: float = 0.0


class End(NamedTuple):
    """
    How a life ended: the signal, 0 for none, and the point it told of, empty for none.
    """

    signal: int
    point: str


def main() -> None:
    """
    Live each life that is asked for, one after the other.
    """
    import exporter.service  # noqa: F401, PLC0415 - what the command would load only now

    for line in sys.stdin:
        print(json.dumps(live(Life(**json.loads(line)))), flush=True)  # noqa: T201


def live(life: Life) -> End:
    """
    Live one life, in a process of its own, to its end.
    """
    assert 1 == threading.active_count(), "a fork would lose the other threads"
    told, telling = os.pipe()
    process = os.fork()
    if not process:
        be_the_program(life, telling)
    os.close(telling)
    if not life.point:
        time.sleep(life.seconds)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    with os.fdopen(told) as point:
        return End(os.WTERMSIG(status), point.read())


def be_the_program(life: Life, telling: int) -> NoReturn:
    """
    Run the program in this process; never return into what was forked.
    """
    try:
        signal.alarm(LIFE_SECONDS_MAX)
        redirect(life.log)
        watch(Countdown(life, telling).reached)
        from exporter.cli import main as program  # noqa: PLC0415 - the life's, not the test's

        program(life.arguments)
    except BaseException:  # noqa: BLE001 - the log is where it is looked for
        traceback.print_exc()
    finally:
        os._exit(1)


def redirect(log: str) -> None:
    """
    Let standard error go to the log; the other two are the forking process's own.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, file in enumerate((nothing, nothing, errors)):
        os.dup2(file, number)


class Countdown:
    """
    Counts how often a life comes to its point, and ends it there.
    """

    def __init__(self, life: Life, telling: int) -> None:
        self._point = life.point
        self._left = life.turn
        self._telling = telling

    def reached(self, point: Point) -> None:
        """
        Go on, or do not.
        """
        if point != self._point:
            return
        self._left -= 1
        if not self._left:
            os.write(self._telling, point.encode())
            os.kill(os.getpid(), signal.SIGKILL)


def watch(reached: Callable[[Point], None]) -> None:
    """
    Have every point told as the program comes to it.

    A receive that brings nothing and a reading without events are on the way to no point.
    """
    from exporter.aws.objects import Objects  # noqa: PLC0415 - nor does the test need these
    from exporter.aws.queue import Queue  # noqa: PLC0415
    from exporter.ledger.sqlite import SqliteLedger  # noqa: PLC0415

    receive, fetch, commit, delete = (
        Queue.receive,
        Objects.fetch,
        SqliteLedger.commit,
        Queue.delete,
    )

    async def receiving(queue: Queue, *arguments: Any) -> Any:
        messages = await receive(queue, *arguments)
        if messages:
            reached(Point.AFTER_RECEIVE)
        return messages

    @asynccontextmanager
    async def fetching(objects: Objects, *arguments: Any) -> AsyncIterator[Any]:
        async with fetch(objects, *arguments) as body:
            reached(Point.AFTER_FETCH)
            yield body

    async def committing(ledger: SqliteLedger, reading: Any) -> Any:
        if reading.is_empty:
            return await commit(ledger, reading)
        reached(Point.BEFORE_COMMIT)
        tally = await commit(ledger, reading)
        reached(Point.AFTER_COMMIT)
        return tally

    async def deleting(queue: Queue, *arguments: Any) -> None:
        reached(Point.BEFORE_DELETE)
        await delete(queue, *arguments)

    patch.multiple(Queue, receive=receiving, delete=deleting).start()
    patch.multiple(Objects, fetch=fetching).start()
    patch.multiple(SqliteLedger, commit=committing).start()


if __name__ == "__main__":
    main()
