"""
HTTP for requests that are much alike, over the connections of the SDK's session of aiohttp.

To make and send a request takes aiohttp 100 µs of CPU, of which connections and parsing are a
third. The rest is done once here, for the first of them.

Rules:

1. Connections, their number, how long they are kept, TLS and timeouts are the session's, and
   answers are read by its parser. What is late, malformed or cut short raises what it raises.
2. GET is sent once more if the connection ends before an answer, as aiohttp does.
3. An answer gives its connection back at its end, also if nobody has read it yet. One that is
   closed before ends its connection.
4. A connection over which something came that nobody had asked for is not used, lest it pass
   for the answer to the next request. Here aiohttp does not look.
5. Cookies are neither kept nor sent. Proxies are left to aiohttp.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Self

from aiohttp import (
    ClientConnectionError,
    ClientOSError,
    ClientRequest,
    ClientResponseError,
    ClientSession,
    ConnectionTimeoutError,
    ServerDisconnectedError,
    StreamReader,
)
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from yarl import URL

from exporter.aws.pattern import Request

_NOT_SENT_ALIKE = re.compile("[@?#]")
"""A user's name in a URL is no part of what is sent for it, nor is a fragment."""
_FORBIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
"""Characters that no header may hold."""


class Response:
    """
    As much of aiohttp's response as the SDK looks at.

    Args:
        url: Where it was asked for.
        message: Its status and headers.
        content: Its body, unread.
        connection: Over which the body comes.
    """

    def __init__(
        self, url: str, message: RawResponseMessage, content: StreamReader, connection: Connection
    ) -> None:
        self.status = message.code
        self.raw_headers = message.raw_headers
        self.content = content
        self._url = url
        self._headers = message.headers
        self._connection = connection
        self._body: bytes | None = None
        content.on_eof(connection.release)

    @property
    def url(self) -> URL:
        """
        Where it was asked for.
        """
        return URL(self._url, encoded=True)

    @property
    def content_length(self) -> int | None:
        """
        The body's length if it is told.
        """
        length = self._headers.get("Content-Length")
        return None if length is None else int(length)

    async def read(self) -> bytes:
        """
        All of the body, as often as it is asked for.

        Raises:
            aiohttp.ClientError: It did not come to its end.
        """
        if self._body is None:
            try:
                self._body = await self.content.read()
            except BaseException:
                self.close()
                raise
        return self._body

    def close(self) -> None:
        """
        End the connection, unless the whole answer has come.
        """
        if self.content.exception() is None:
            self.content.set_exception(ClientConnectionError("Connection closed"))
        self._connection.close()


class Wire:
    """
    Sends requests to one host.

    Args:
        session: Whose connections they go over.
        url: That of one of them.
    """

    def __init__(self, session: ClientSession, url: str) -> None:
        assert session.connector is not None  # noqa: S101 - it is open
        self._connector = session.connector
        self._timeout = session.timeout
        self._like = ClientRequest(
            "GET",
            URL(url, encoded=True),
            loop=asyncio.get_running_loop(),
            session=session,
            skip_auto_headers=session.skip_auto_headers,
        )
        self._headers = {name.lower(): value for name, value in self._like.headers.items()}

    @classmethod
    def over(cls, session: ClientSession, url: str, manner: Mapping[str, Any]) -> Self | None:
        """
        For requests that aiohttp would send in this manner; None if that is not plain enough.
        """
        if any(manner.values()) or _NOT_SENT_ALIKE.search(url):
            return None
        return cls(session, url)

    async def send(self, request: Request) -> Response:
        """
        Send a request; return what is answered as soon as its headers are there.

        Raises:
            aiohttp.ClientError: There is no answer.
            ValueError: A header cannot be sent.
        """
        sent = self._bytes_of(request)
        may_repeat = request.method == "GET"
        while True:
            connection = await self._connect()
            try:
                message, content = await self._exchange(connection, sent)
                return Response(request.url, message, content, connection)
            except BaseException as error:
                connection.close()
                if not (may_repeat and isinstance(error, ClientOSError | ServerDisconnectedError)):
                    raise
                may_repeat = False

    def _bytes_of(self, request: Request) -> bytes:
        headers = {**self._headers, **request.headers}
        lines = [f"{name}: {value}" for name, value in headers.items()]
        if _FORBIDDEN.search("".join(lines)):
            raise ValueError("a header holds a control character")
        target = request.url.split("/", 3)[3]
        head = "\r\n".join((f"{request.method} /{target} HTTP/1.1", *lines, "", ""))
        return head.encode() + (request.body or b"")

    async def _connect(self) -> Connection:
        try:
            return await self._connector.connect(self._like, traces=[], timeout=self._timeout)
        except TimeoutError as error:
            raise ConnectionTimeoutError(f"Connection timeout to host {self._like.url}") from error

    async def _exchange(
        self, connection: Connection, sent: bytes
    ) -> tuple[RawResponseMessage, StreamReader]:
        """
        Send something and wait for the headers of the answer, which may have forerunners.
        """
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None or protocol.should_close:
            raise ServerDisconnectedError
        protocol.set_response_params(
            read_until_eof=True, auto_decompress=False, read_timeout=self._timeout.sock_read
        )
        transport.write(sent)
        protocol.start_timeout()
        while True:
            try:
                message, content = await protocol.read()
            except HttpProcessingError as error:
                raise ClientResponseError(
                    self._like.request_info,
                    (),
                    status=error.code,
                    message=error.message,
                    headers=error.headers,
                ) from error
            if message.code // 100 != 1 or message.code == HTTPStatus.SWITCHING_PROTOCOLS:
                return message, content
