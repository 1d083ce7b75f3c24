"""
A process that commits and says so, and what a disk holds of it when the power goes.

The process runs under strace, which tells every write it makes, every sync and every word it
says. From that the disk is drawn as it is at worst at any moment: of each file, only what was
written before its last sync.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from exporter.codecommit import event
from exporter.ledger.book import Policy
from exporter.ledger.sqlite import SqliteLedger
from exporter.notifications import LogFile
from exporter.tally import Reading
from tests.records import api_call

CALLS = "pwrite64,write,fsync,fdatasync,ftruncate,unlink"
ACKNOWLEDGED = b"acknowledged\n"
_CALL = re.compile(
    r"(?:\d+ +)?(?P<name>\w+)\((?:\d+<(?P<file>[^>]*)>|\"(?P<path>[^\"]*)\")(?P<rest>.*)"
)
_TEXT = re.compile(r', "((?:\\x[0-9a-f]{2})*)"')


async def commit(path: Path, number: int, synchronous: str) -> None:
    """
    Commit so many readings, one after the other, and acknowledge each.

    ``synchronous`` is a mode of SQLite's, or empty for the ledger's own.
    """
    ledger = await SqliteLedger.open(path, window_seconds=90 * 86400, policy=Policy())
    if synchronous:
        ledger._db.execute(f"PRAGMA synchronous = {synchronous}")
    for one in range(number):
        events = tuple(event(api_call("PutFile", "tools")) for _ in range(5))
        await ledger.commit(Reading(LogFile("trail", str(one)), None, events))
        os.write(1, ACKNOWLEDGED)
    await ledger.close()


@dataclass
class File:
    """
    A file as the program sees it, and as it lies on the disk.
    """

    written: bytearray = field(default_factory=bytearray)
    kept: bytes = b""

    def write(self, content: bytes, offset: int) -> None:
        missing = offset + len(content) - len(self.written)
        self.written.extend(bytes(max(0, missing)))
        self.written[offset : offset + len(content)] = content

    def sync(self) -> None:
        self.kept = bytes(self.written)


def disks(log: Path, folder: Path) -> Iterator[dict[str, bytes]]:
    """
    The disk at worst at each acknowledgement: the files of a folder by name.

    Args:
        log: What strace told, with ``-f -y -xx``.
    """
    files: dict[str, File] = {}
    for line in log.read_text(encoding="ascii").splitlines():
        call = _CALL.match(line)
        if call is None:
            continue
        name, rest = call["name"], call["rest"]
        target = _plain(call["file"] or call["path"])
        if name == "write" and _written(rest) == ACKNOWLEDGED:
            yield {one: file.kept for one, file in files.items()}
        if Path(target).parent != folder or target.endswith("-shm"):
            continue
        file = files.setdefault(Path(target).name, File())
        if name == "pwrite64":
            file.write(_written(rest), int(rest.rpartition(")")[0].rpartition(", ")[2]))
        elif name in {"fsync", "fdatasync"}:
            file.sync()
        elif name == "ftruncate":
            del file.written[int(rest.strip(", ").partition(")")[0]) :]
        elif name == "unlink":
            del files[Path(target).name]


def _plain(path: str) -> str:
    r"""
    A path of which strace writes every byte as ``\x..``, or none.
    """
    return re.sub(r"\\x([0-9a-f]{2})", lambda code: chr(int(code[1], 16)), path)


def _written(rest: str) -> bytes:
    text = _TEXT.match(rest)
    return bytes.fromhex(text[1].replace("\\x", "")) if text else b""


if __name__ == "__main__":
    asyncio.run(commit(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
