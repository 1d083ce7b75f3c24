"""
The least that reading log files from S3 can cost: a plain socket, one inflate, one search.

One kept-alive connection fetches one object after the other, unsigned; nothing is received,
parsed, counted or deleted. No reader of these files can do less. It runs as a process of its
own, which takes the keys as a JSON list from standard input and prints what it took, in JSON.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from isal import isal_zlib

from tests.bench.stores import BUCKET, HOST, PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GZIP_WINDOW_BITS = 31
RECEIVE_BYTES = 256 * 1024
_LENGTH = b"Content-Length: "


class Floor(NamedTuple):
    """
    What reading some log files took, in seconds, and how many of them name CodeCommit.
    """

    cpu_seconds: float
    wall_seconds: float
    naming_codecommit: int


def fetched(connection: socket.socket, key: str) -> bytes:
    """
    An object's bytes.

    Raises:
        RuntimeError: There is none.
    """
    connection.sendall(f"GET /{BUCKET}/{key} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    received = connection.recv(RECEIVE_BYTES)
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        status = head.partition(b"\r\n")[0].decode()
        raise RuntimeError(f"{key}: {status}")
    length = int(head.partition(_LENGTH)[2].partition(b"\r\n")[0])
    if len(body) == length:
        return body
    whole = bytearray(length)
    whole[: len(body)] = body
    rest = memoryview(whole)[len(body) :]
    while rest:
        rest = rest[connection.recv_into(rest) :]
    return bytes(whole)


def inflated(body: bytes) -> bytes:
    """
    The text of a log file.
    """
    return isal_zlib.decompress(body, GZIP_WINDOW_BITS)


def read(port: int, keys: Sequence[str]) -> Floor:
    """
    Read log files from an S3 on this machine.
    """
    cpu, wall, naming = time.process_time(), time.perf_counter(), 0
    with socket.create_connection((HOST, port)) as connection:
        for key in keys:
            naming += b"codecommit" in inflated(fetched(connection, key))
    return Floor(time.process_time() - cpu, time.perf_counter() - wall, naming)


def measured(port: int, keys: Sequence[str], environment: Mapping[str, str]) -> Floor:
    """
    The same in a process of its own.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(port)],
        cwd=PROJECT,
        env=environment,
        input=json.dumps(keys),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return Floor(*json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(read(int(sys.argv[1]), json.load(sys.stdin))))  # noqa: T201 - the answer
