"""
The wire beside aiohttp, over real connections: the same requests, answers, errors and reuse.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import pytest
from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    ServerDisconnectedError,
    TCPConnector,
)
from hypothesis import given, settings, strategies as st
from yarl import URL

from exporter.aws.pattern import Request
from exporter.aws.wire import Response, Wire

Answered = ClientResponse | Response
Send = Callable[[ClientSession, Request], Awaitable[Answered]]
Run = Callable[[Coroutine[Any, Any, Any]], Any]

HEADERS = {"x-amz-date": "20260131T235959Z", "accept-encoding": "identity", "user-agent": "tests"}
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nETag: one\r\n\r\nthe content"
CHUNKED = (
    b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\nthe \r\n7;extension=1\r\ncontent\r\n0\r\n\r\n"
)
MIB = 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """
    What a server sends for one request, and how it goes on.

    Args:
        pieces: Sent one by one.
        then: ``keep`` the connection, ``close`` or ``reset`` it, ``close later``, when the
            client is ready for that, or ``hang``.
    """

    pieces: tuple[bytes, ...]
    then: str = "keep"


class Server:
    """
    Gives one answer after another, and then the usual one again and again.
    """

    def __init__(self, answers: Sequence[Answer] = (), host: str = "127.0.0.1") -> None:
        self.host = host
        self.requests: list[tuple[int, bytes, dict[str, str], bytes]] = []
        """Of each: the number of its connection, its first line, its headers and its body."""
        self.asked = asyncio.Event()
        self.busy = set[int]()
        """The connections on which there is more to do for an answer."""
        self.connections = 0
        self.open = 0
        self.open_max = 0
        self.sent = 0
        self._answers = deque(answers)
        self._tasks = set[asyncio.Task[None]]()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"http://{shown}:{self.port}/trail/key%20%2B"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await turns()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        number = self.connections
        self.connections += 1
        self.open += 1
        self.open_max = max(self.open_max, self.open)
        try:
            while await self._answer(number, reader, writer):
                self.busy.discard(number)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side has ended it
        finally:
            self.open -= 1
            writer.close()
            self.busy.discard(number)

    async def _answer(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((number, first.encode(), headers, body))
        self.busy.add(number)
        self.asked.set()
        answer = self._answers.popleft() if self._answers else Answer((WHOLE,))
        for piece in answer.pieces:
            writer.write(piece)
            await writer.drain()
            self.sent += len(piece)
            await turns()
        if answer.then == "hang":
            await reader.read()
        if answer.then == "reset":
            reset_on_close(writer)
        return answer.then == "keep"


def reset_on_close(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )


async def turns() -> None:
    """
    Let what has been sent arrive before more is.
    """
    for _ in range(5):
        await asyncio.sleep(0)


async def until(holds: Callable[[], object]) -> None:
    """
    Wait for a condition.
    """
    async with asyncio.timeout(60):
        while not holds():
            await turns()


@asynccontextmanager
async def connections(maximum: int = 50) -> AsyncIterator[ClientSession]:
    """
    A session as the SDK makes them.
    """
    async with ClientSession(
        connector=TCPConnector(limit=maximum),
        timeout=ClientTimeout(sock_connect=5, sock_read=0.3),
        skip_auto_headers={"CONTENT-TYPE"},
        auto_decompress=False,
    ) as session:
        yield session


async def by_aiohttp(session: ClientSession, request: Request) -> Answered:
    return await session.request(
        request.method,
        URL(request.url, encoded=True),
        headers=request.headers,
        data=request.body,
        allow_redirects=False,
    )


async def by_wire(session: ClientSession, request: Request) -> Answered:
    wire = Wire.over(session, request.url, {})
    assert wire
    return await wire.send(request)


def get(server: Server) -> Request:
    return Request("GET", server.url, HEADERS, None)


def post(server: Server) -> Request:
    body = b'{"QueueUrl": "one"}'
    return Request("POST", server.url, {**HEADERS, "content-length": str(len(body))}, body)


@dataclass
class Story:
    """
    What came of some requests, and what the server saw of them.
    """

    outcomes: list[object] = field(default_factory=list)
    requests: list[tuple[object, ...]] = field(default_factory=list)


async def story(
    send: Send, answers: Sequence[Answer], ask: Callable[[Server], Request] = get
) -> Story:
    """
    Ask three times, one after the other.
    """
    found = Story()
    async with Server(answers) as server, connections() as session:
        for _ in range(3):
            try:
                response = await send(session, ask(server))
                told = response.status, response.raw_headers, response.content_length, response.url
                found.outcomes.append(repr(told).replace(str(server.port), "port"))
                found.outcomes.append(await response.read())
            except (ClientError, TimeoutError) as error:
                words = f"{type(error)}: {error}"
                found.outcomes.append(words.replace(str(server.port), "port"))
            await until(lambda: not server.busy)
            await turns()
        for number, first, headers, body in server.requests:
            host = headers.pop("host").replace(str(server.port), "port")
            found.requests.append((number, first, host, headers, body))
    return found


def bodied(*lines: bytes) -> Answer:
    """
    A successful answer with these header lines; the body is of 11 bytes.
    """
    return Answer((b"\r\n".join((b"HTTP/1.1 200 OK", *lines, b"", b"the content")),))


ANSWERS = {
    "the usual": [],
    "nothing in it": [Answer((b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",))],
    "chunks": [Answer((CHUNKED,))],
    "trailers": [Answer((CHUNKED.removesuffix(b"\r\n") + b"x-sum: 1\r\n\r\n",))],
    "to the end": [Answer((b"HTTP/1.1 200 OK\r\n\r\nthe content",), "close")],
    "no content": [Answer((b"HTTP/1.1 204 No Content\r\n\r\n",))],
    "not modified": [Answer((b"HTTP/1.1 304 Not Modified\r\nContent-Length: 11\r\n\r\n",))],
    "moved": [Answer((b"HTTP/1.1 307 T\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",))],
    "forerunners": [
        Answer((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: l\r\n\r\n", WHOLE))
    ],
    "another protocol": [
        Answer((b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",))
    ],
    "a header twice": [bodied(b"Content-Length: 11", b"X-One: 1", b"x-one: 2", b"X-Empty:")],
    "compressed": [
        Answer(
            (
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 31\r\n\r\n",
                gzip.compress(b"the content", mtime=0),
            )
        )
    ],
    "a length twice": [bodied(b"Content-Length: 11", b"Content-Length: 12")],
    "no number": [bodied(b"Content-Length: eleven")],
    "a length and chunks": [bodied(b"Content-Length: 11", b"Transfer-Encoding: chunked")],
    "the last one": [bodied(b"Content-Length: 11", b"Connection: close")],
    "an old server": [Answer((WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),))],
    "an old server's end": [Answer((WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),), "close")],
    "a long line": [bodied(b"Content-Length: 11", b"X-Long: " + bytes(100_000).hex().encode())],
    "many headers": [bodied(b"Content-Length: 11", *(b"X-%d: 1" % i for i in range(1000)))],
    "no end of headers": [Answer((b"HTTP/1.1 200 OK\r\n", *(b"X-More: 1\r\n",) * 500), "hang")],
    "no HTTP": [Answer((b"SSH-2.0-OpenSSH_9.2\r\n\r\n",))],
    "no HTTP, twice": [Answer((b"SSH-2.0-OpenSSH_9.2\r\n\r\n",))] * 2,
    "no chunk": [Answer((CHUNKED.replace(b"\r\n4\r\n", b"\r\nfour\r\n"),))],
    "too much at once": [Answer((WHOLE + b"more",))],
    "no answer": [Answer((), "close")],
    "no answer, twice": [Answer((), "close")] * 2,
    "no answer after one": [Answer((WHOLE,)), Answer((), "close")],
    "a reset": [Answer((), "reset")],
    "a reset after an answer": [Answer((WHOLE,)), Answer((), "reset"), Answer((), "reset")],
    "an end after the answer": [Answer((WHOLE,), "close")] * 2,
    "an end within the headers": [Answer((b"HTTP/1.1 200 OK\r\nX-", b"One: 1"), "close")],
    "an end within the body": [Answer((WHOLE[:-4],), "close")],
    "an end within a chunk": [Answer((CHUNKED[:-12],), "close")],
    "an end before the last chunk": [Answer((CHUNKED[:-5],), "close")],
    "a reset within the body": [Answer((WHOLE[:-4],), "reset")],
    "silence": [Answer((), "hang")],
    "silence within the headers": [Answer((WHOLE[:20],), "hang")],
    "silence within the body": [Answer((WHOLE[:-4],), "hang")],
}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("ask", [get, post])
@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_the_same_comes_of_a_request_as_with_aiohttp(
    answers: Sequence[Answer], ask: Callable[[Server], Request], loop: str
) -> None:
    """
    The same answers and errors, by the same requests over as many connections.
    """
    run: Run = pytest.importorskip(loop, reason="the extra uvloop is not installed").run
    by_both = [run(story(send, answers, ask)) for send in (by_aiohttp, by_wire)]

    assert by_both[0].outcomes == by_both[1].outcomes
    assert by_both[0].requests == by_both[1].requests
    assert len(by_both[0].requests) >= 3


@settings(max_examples=60, deadline=None)
@given(
    whole=st.sampled_from([WHOLE, CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE]),
    cuts=st.lists(st.integers(0, 120), max_size=8),
)
def test_an_answer_may_come_in_any_pieces(whole: bytes, cuts: list[int]) -> None:
    """
    Wherever it is cut, it is the same answer, and its connection serves the next request.
    """
    ends = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = tuple(whole[start:end] for start, end in pairwise(ends) if start < end)
    found = asyncio.run(story(by_wire, [Answer(pieces)]))
    at_once = asyncio.run(story(by_wire, [Answer((whole,))]))

    assert at_once == found
    assert [0, 0, 0] == [number for number, *_ in found.requests]


async def test_a_connection_is_used_again() -> None:
    """
    An answer that has come to its end gives its connection back, though nobody has read it.
    """
    async with Server() as server, connections(maximum=1) as session:
        responses = [await by_wire(session, get(server)) for _ in range(3)]
        bodies = [await response.read() for response in responses]

    assert [b"the content"] * 3 == bodies
    assert 1 == server.connections


async def test_sdk_and_wire_share_connections() -> None:
    """
    What one of them opened serves the other, whatever it asked for.
    """
    headers_only = Answer((WHOLE.removesuffix(b"the content"),))
    async with Server([headers_only]) as server, connections() as session:
        (await session.head(server.url)).close()
        for send in (by_aiohttp, by_wire, by_wire, by_aiohttp):
            await (await send(session, get(server))).read()

    assert 1 == server.connections


@pytest.mark.parametrize("extra", [WHOLE.replace(b"the", b"one"), b"\0\0"])
async def test_what_nobody_asked_for_answers_nothing(extra: bytes) -> None:
    """
    A GET after it takes another connection; a POST is not sent, which is told.
    """
    for ask in (get, post):
        async with Server([Answer((WHOLE, extra))]) as server, connections() as session:
            await (await by_wire(session, ask(server))).read()
            await until(lambda: not server.busy)
            await turns()
            try:
                body = await (await by_wire(session, ask(server))).read()
            except ServerDisconnectedError:
                assert ask is post
                assert [0] == [number for number, *_ in server.requests]
            else:
                assert b"the content" == body
                assert [0, 1] == [number for number, *_ in server.requests]


async def test_an_answer_closed_early_ends_its_connection() -> None:
    """
    What is left of it disturbs no other, and who reads on is told.
    """
    async with (
        Server([Answer((WHOLE[:-4],), "hang")]) as server,
        connections(maximum=1) as session,
    ):
        response = await by_wire(session, get(server))
        response.close()
        with pytest.raises(ClientError, match="Connection closed"):
            await response.read()
        body = await (await by_wire(session, get(server))).read()

    assert b"the content" == body
    assert 2 == server.connections


async def test_a_whole_answer_may_be_closed() -> None:
    """
    Its connection is no longer its own.
    """
    async with Server() as server, connections() as session:
        response = await by_wire(session, get(server))
        await response.read()
        response.close()
        response.close()
        await (await by_wire(session, get(server))).read()

    assert 1 == server.connections


async def test_a_body_may_be_asked_for_twice() -> None:
    """
    Whoever looks at an answer after another finds all of it.
    """
    async with Server() as server, connections() as session:
        response = await by_wire(session, get(server))

        assert b"the content" == await response.read()
        assert b"the content" == await response.read()


async def test_a_large_body_waits_for_its_reader() -> None:
    """
    Of 64 MiB no more is sent than fits between the two until somebody reads.
    """
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB)
    answer = Answer((head, *(bytes(MIB),) * 64))
    async with Server([answer]) as server, connections() as session:
        response: Any = await by_wire(session, get(server))
        await until(lambda: response._connection.protocol._reading_paused)
        sent_unread = server.sent
        size = 0
        while piece := await response.content.read(MIB):
            size += len(piece)

    assert sent_unread < 32 * MIB
    assert 64 * MIB == size


async def test_nobody_opens_more_connections_than_the_session_may() -> None:
    """
    Those that find none wait in line.
    """
    async with Server() as server, connections(maximum=2) as session:

        async def ask() -> bytes:
            return await (await by_wire(session, get(server))).read()

        bodies = await asyncio.gather(*(ask() for _ in range(20)))

    assert [b"the content"] * 20 == bodies
    assert 2 == server.open_max


@pytest.mark.parametrize("pieces", [(), (WHOLE[:20],), (WHOLE[:-4],)])
async def test_whoever_gives_up_ends_the_connection(pieces: tuple[bytes, ...]) -> None:
    """
    Wherever an answer has got to, the only place is free for the next request.
    """
    async with Server([Answer(pieces, "hang")]) as server, connections(maximum=1) as session:

        async def ask() -> bytes:
            return await (await by_wire(session, get(server))).read()

        asking = asyncio.create_task(ask())
        await server.asked.wait()
        await turns()
        asking.cancel()
        await asyncio.wait([asking])
        body = await ask()

    assert asking.cancelled()
    assert b"the content" == body
    assert 2 == server.connections


async def test_whoever_gives_up_waiting_leaves_the_line() -> None:
    """
    A place that becomes free goes to the next one.
    """
    async with (
        Server([Answer((WHOLE[:-4],), "hang")]) as server,
        connections(maximum=1) as session,
    ):
        first = await by_wire(session, get(server))
        waiting = [asyncio.ensure_future(by_wire(session, get(server))) for _ in range(2)]
        await turns()
        waiting[0].cancel()
        first.close()
        body = await (await waiting[1]).read()

    assert waiting[0].cancelled()
    assert b"the content" == body


async def test_connections_end_with_the_session() -> None:
    """
    Who waits for an answer then learns it at once.
    """
    async with Server([Answer((), "hang")]) as server:
        async with connections() as session:
            asking = asyncio.ensure_future(by_wire(session, get(server)))
            await server.asked.wait()
        with pytest.raises(ClientError):
            await asking
        await until(lambda: server.open == 0)


async def test_what_cannot_be_connected_to_is_said() -> None:
    """
    The error is aiohttp's.
    """
    async with Server() as server:
        request = get(server)
    errors = list[object]()
    async with connections() as session:
        for send in (by_aiohttp, by_wire):
            with pytest.raises(ClientError) as caught:
                await send(session, request)
            errors.append(repr(caught.value))

    assert errors[0] == errors[1]


async def test_a_connection_that_takes_too_long_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The error is aiohttp's, by whose words the SDK tells it from a late answer.
    """

    async def late(*_: object) -> None:
        raise TimeoutError

    errors = list[object]()
    async with Server() as server, connections() as session:
        monkeypatch.setattr(session.connector, "_create_connection", late)
        for send in (by_aiohttp, by_wire):
            with pytest.raises(ConnectionTimeoutError) as caught:
                await send(session, get(server))
            errors.append(repr(caught.value))

    assert errors[0] == errors[1]


async def test_a_connection_lost_at_once_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It may end between its opening and the request.
    """
    async with Server() as server, connections() as session:
        connector: Any = session.connector
        connect = connector.connect

        async def lost(*arguments: Any, **named: Any) -> Any:
            connection = await connect(*arguments, **named)
            connection.transport.abort()
            await until(lambda: connection.transport is None)
            return connection

        monkeypatch.setattr(connector, "connect", lost)
        with pytest.raises(ServerDisconnectedError):
            await by_wire(session, post(server))

    assert [] == server.requests


async def test_an_address_may_be_of_version_6() -> None:
    """
    The host is named as aiohttp names it.
    """
    try:
        server = await Server(host="::1").__aenter__()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with connections() as session:
        for send in (by_aiohttp, by_wire):
            await (await send(session, get(server))).read()
    await server.__aexit__()

    assert server.requests[0] == server.requests[1]


@pytest.mark.parametrize("character", ["\r", "\n", "\0"])
async def test_no_header_can_smuggle_another(character: str) -> None:
    """
    A value that would end its line is sent by neither.
    """
    async with Server() as server, connections() as session:
        request = Request("GET", server.url, {**HEADERS, "token": f"a{character}b: c"}, None)
        for send in (by_aiohttp, by_wire):
            with pytest.raises(ValueError, match="control character"):
                await send(session, request)

    assert [] == server.requests


@pytest.mark.parametrize(
    ("url", "manner", "plain"),
    [
        ("https://s3.test/trail/key", {"chunked": None, "proxy": None, "proxy_headers": {}}, True),
        ("https://s3.test/trail/key", {"proxy": "http://proxy.test"}, False),
        ("https://s3.test/trail/key", {"timeout": ClientTimeout(sock_read=1)}, False),
        ("https://user:word@s3.test/trail/key", {}, False),
        ("https://s3.test/trail/key?x=1", {}, False),
        ("https://s3.test/trail/key#x", {}, False),
    ],
)
async def test_what_is_not_plain_is_left_to_aiohttp(
    url: str, manner: dict[str, object], *, plain: bool
) -> None:
    """
    Proxies, and whatever else is asked of aiohttp with a request.
    """
    async with connections() as session:
        assert plain == (Wire.over(session, url, manner) is not None)
