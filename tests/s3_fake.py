"""
A small S3 over real HTTP that answers as told: what moto's never does.

It has buckets in Regions, each with an owner, and sees for which Region a request is signed.
A request to the wrong Region, or with another expected owner, is answered as S3 answers it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Self
from urllib.parse import unquote, urlsplit

HOST = "s3.test"
"""The name that a resolver must lead here."""

OWNER = "123456789012"
PERSON = "wilhelmine.tell"
"""Whom every refusal names, as AWS's own messages do."""

MESSAGE = f"User: arn:aws:iam::{OWNER}:user/{PERSON} is not authorized"


@dataclass(frozen=True, slots=True)
class Request:
    """
    A request, and the Region that it is signed for.
    """

    method: str
    bucket: str
    key: str
    region: str
    headers: Mapping[str, str] = field(repr=False)

    @property
    def asked(self) -> str:
        """
        What was asked and where, in short.
        """
        return f"{self.method} {self.bucket}/{self.key} in {self.region}"


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An answer as it goes over the wire.

    Args:
        status: The HTTP status.
        body: What follows the headers, whatever these say of its length.
        headers: All headers.
        breaks_off: Whether the connection ends behind it.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    breaks_off: bool = False

    def wire(self, *, headers_only: bool) -> bytes:
        """
        The bytes of it.
        """
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        head = "\r\n".join((*lines, "", "")).encode()
        return head if headers_only else head + self.body


def whole(content: bytes, *, announced: int | None = None, **headers: str) -> Answer:
    """
    An object; ``announced`` is a wrong length that is told of it.
    """
    length = len(content) if announced is None else announced
    spelled = {"Content-Length": str(length), **_spelled(headers)}
    return Answer(200, content, spelled, breaks_off=length > len(content))


def chunked(*pieces: bytes, ends: bool = True) -> Answer:
    """
    An object whose length is not told; it can lack its end.
    """
    pieces = (*pieces, b"") if ends else pieces
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return Answer(200, body, {"Transfer-Encoding": "chunked"}, breaks_off=not ends)


def refused(
    status: int, code: str, message: str = MESSAGE, region: str = "", **headers: str
) -> Answer:
    """
    An error as S3 writes it.
    """
    wanted = f"<Region>{region}</Region>" if region else ""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message>{wanted}</Error>"
    ).encode()
    return Answer(status, body, {"Content-Length": str(len(body)), **_spelled(headers)})


def _spelled(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(slots=True)
class Bucket:
    """
    A bucket: where it is, whose it is, and what it answers, by key.

    ``elsewhere`` is the answer to whoever asks in another Region; HeadBucket gets the
    headers of it, as a HEAD request gets no more.
    """

    region: str = "eu-central-1"
    owner: str = OWNER
    objects: dict[str, Answer] = field(default_factory=dict)
    elsewhere: Answer = field(default_factory=lambda: refused(301, "PermanentRedirect"))
    tells_region: bool = True
    """Whether HeadBucket says where the bucket is."""


class S3Server:
    """
    S3 on a free port, alive inside the ``async with`` block.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.requests: list[Request] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def endpoint(self) -> str:
        """
        The URL for ``AWS_ENDPOINT_URL_S3``.
        """
        return f"http://{HOST}:{self.port}"

    @property
    def asked(self) -> list[str]:
        """
        All requests in short.
        """
        return [request.asked for request in self.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        Answer one connection's requests until either side ends it.
        """
        try:
            while True:
                request = _read(await reader.readuntil(b"\r\n\r\n"))
                self.requests.append(request)
                answer = self._answer(request)
                writer.write(answer.wire(headers_only=request.method == "HEAD"))
                await writer.drain()
                if answer.breaks_off:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side has ended it
        finally:
            writer.close()

    def _answer(self, request: Request) -> Answer:
        bucket = self.buckets.get(request.bucket)
        if bucket is None:
            return refused(404, "NoSuchBucket")
        told = {"x_amz_bucket_region": bucket.region} if bucket.tells_region else {}
        if request.region != bucket.region:
            if request.method == "HEAD":
                return Answer(bucket.elsewhere.status, b"", _spelled(told))
            return bucket.elsewhere
        if request.headers.get("x-amz-expected-bucket-owner", bucket.owner) != bucket.owner:
            return refused(403, "AccessDenied", **told)
        if request.method == "HEAD":
            return Answer(200, b"", _spelled(told))
        return bucket.objects.get(request.key, refused(404, "NoSuchKey"))


def _read(head: bytes) -> Request:
    """
    The request of some header lines, whose bucket is named in the path.
    """
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    bucket, _, key = unquote(urlsplit(target).path).removeprefix("/").partition("/")
    scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/", headers.get("authorization", ""))
    return Request(method, bucket, key, scope[1] if scope else "", headers)
