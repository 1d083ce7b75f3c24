"""
A ledger that is opened by a process which does not survive it.

For each file of a folder, in order, another process opens the ledger in it and is killed
before its first statement, its second, its third and so on. A file that is opened before its
turn to be killed comes is the last: more of them would prove nothing. Its number is printed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

from exporter.ledger.book import Policy
from exporter.ledger.sqlite import SqliteLedger


def mortal(statements: int) -> type[sqlite3.Connection]:
    """
    A kind of connection that lets its process run so many statements.
    """
    numbers = count()

    class Mortal(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            self._live()
            return super().execute(*arguments)

        def executemany(self, *arguments: Any) -> sqlite3.Cursor:
            self._live()
            return super().executemany(*arguments)

        def _live(self) -> None:
            if next(numbers) == statements:
                os.kill(os.getpid(), signal.SIGKILL)

    return Mortal


def open_and_die(path: Path, statements: int) -> None:
    """
    Open a ledger, for as long as that goes well.
    """

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect_as_ever(*arguments, **options, factory=mortal_kind)

    connect_as_ever, mortal_kind = sqlite3.connect, mortal(statements)
    with mock.patch.object(sqlite3, "connect", connect):
        opening = SqliteLedger.open(path, window_seconds=90 * 86400, policy=Policy(hold=True))
        asyncio.run(_opened(opening))


async def _opened(opening: Any) -> None:
    await (await opening).close()


def main(folder: Path) -> None:
    """
    Go through the files of a folder.
    """
    for number, path in enumerate(sorted(folder.glob("*.db"))):
        child = os.fork()
        if not child:
            open_and_die(path, number)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            print(number, os.WEXITSTATUS(status))  # noqa: T201
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
