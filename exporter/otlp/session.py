"""
The requests over which OTLP goes, and what their answers mean.

Rules:

1. Accepted means answered with success, and nothing of it rejected as far as can be read. The
   library takes a redirection for success, and a part for the whole.
2. However an endpoint answers, it takes neither more than the time it is given nor much memory.
3. What it says is told, but for what stood in a header of the user's, in the URL's query or in
   a long piece of its path.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http import HTTPStatus
from traceback import clear_frames
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import requests
from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from urllib3.exceptions import HTTPError, ReadTimeoutError

from exporter.errors import ExportFailed, ExportRefused, ExportRejected

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
PAGE = "text/html"
USUAL = {
    *("accept", "accept-encoding", "connection", "content-encoding", "content-length"),
    *("content-type", "user-agent"),
}
"""Headers that every request has, which hold no secret."""
ANSWER_BYTES_MAX = 64 * 1024
SHORT = 3
"""No secret is as short."""
WORDS_MAX = 200
"""How much is told of what an endpoint says is wrong."""
HINTS = {
    401: "See what OTEL_EXPORTER_OTLP_HEADERS says of who sends.",
    403: "See what OTEL_EXPORTER_OTLP_HEADERS says of who sends.",
    404: "See the URL's path: one is put after OTEL_EXPORTER_OTLP_ENDPOINT, and none after the "
    "variables for one signal.",
}
"""What to do about answers that are often a mistake of ours."""
OVERLOADED_HINT = "Nothing is to be done here: the next export has the totals; spans are lost."
OVERLOADED = {429, 502, 503, 504}
"""What says that no request would be taken now (OTLP 1.5, "Retryable Response Codes")."""

_SECRETS = re.compile(r"[^/]{20,}")
"""Pieces of a path that are no words; the token of some vendors' addresses is one."""
_SEPARATORS = re.compile(r"[\s,;:=&\"]+")


class Session(requests.Session):
    """
    Makes the requests of an export, and sees what comes of them.

    Its own variables come before what the environment says for everybody: no certificates of
    REQUESTS_CA_BUNDLE in place of its own, and no password of a .netrc in place of a header.

    ``failure`` is what was wrong with the last request, None where it was accepted.

    Args:
        response: The message of an answer.
        seconds: How long the requests of an export may take together, the wall's clock aside.
    """

    def __init__(
        self,
        response: type[ExportMetricsServiceResponse | ExportTraceServiceResponse],
        seconds: float,
    ) -> None:
        super().__init__()
        self.auth = _as_it_is
        self.failure: ExportFailed | None = None
        self._response = response
        self._seconds = seconds
        self._ends = 0.0

    def begin(self) -> None:
        """
        Take note that an export begins.
        """
        self.failure = ExportFailed("nothing was sent")
        self._ends = time.monotonic() + self._seconds

    def get_redirect_target(self, resp: requests.Response) -> None:
        """
        None: who follows a redirection would read what comes before it to its end.
        """

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """
        Make a request as the library does, and take note of the answer.

        Where there is none, the library is told that the endpoint is not available, and not by an
        error: that would have the library's frames, and they the error.
        """
        where = without_secrets(kwargs["url"])
        kwargs |= {"stream": True, "verify": self.verify}
        try:
            kwargs["timeout"] = self._within(kwargs["timeout"])
            answer = super().request(*args, **kwargs)
            with closing(answer):
                self.failure = self._failure(where, answer, _body(answer, self._ends))
        except (requests.RequestException, HTTPError, OSError) as error:
            is_late = isinstance(error, (TimeoutError, requests.Timeout, ReadTimeoutError))
            why = f"no whole answer in {self._seconds:g} s" if is_late else _cause(error)
            self.failure = ExportFailed(f"{where}: {why}")
            _forget(error)
            return _no_answer()
        return answer

    def _within(self, wanted: float) -> float:
        """
        How long a request may take: no longer than wanted, nor than the export may.

        The library wants less than nothing when the wall's clock has been set. Raises TimeoutError
        where there is no time.
        """
        seconds = min(wanted, self._ends - time.monotonic())
        if seconds <= 0:
            raise TimeoutError
        return seconds

    def _failure(self, where: str, answer: requests.Response, body: bytes) -> ExportFailed | None:
        content_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        is_protobuf = content_type == PROTOBUF
        if answer.status_code // 100 != HTTPStatus.OK // 100:
            words = _message(body) if is_protobuf else body.decode(errors="replace")
            told = f"{where} answered {answer.status_code}{_words(words, answer)}"
            if answer.status_code in OVERLOADED:
                return ExportFailed(told, hint=OVERLOADED_HINT)
            return ExportRefused(told, hint=HINTS.get(answer.status_code))
        if content_type == PAGE:
            return ExportRefused(f"{where} answered with a page for people")
        response = self._response()
        with suppress(DecodeError, ParseError):  # some answer with success in words of their own
            if is_protobuf:
                response.ParseFromString(body)
            elif content_type == JSON:
                Parse(body, response, ignore_unknown_fields=True)
        rejected = sum(
            value
            for field, value in response.partial_success.ListFields()
            if field.name.startswith("rejected_")
        )
        if rejected <= 0:
            return None
        words = _words(response.partial_success.error_message, answer)
        return ExportRejected(f"{where} rejected {rejected}{words}", rejected)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """
    A request without more authentication than its headers have.
    """
    return request


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    """
    An error, and those that led to it.
    """
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        inner = inner.__context__


def _cause(error: BaseException) -> str:
    """
    What lies at the bottom of an error: what the system or TLS says, which names no URL.

    A bare OSError of the library's names a file of certificates that is not there.
    """
    causes = (one.strerror for one in _wrapped(error) if isinstance(one, OSError) and one.strerror)
    return next(causes, str(error) if type(error) is OSError else type(error).__name__)


def _no_answer() -> requests.Response:
    """
    An answer that is to be had later.
    """
    answer = requests.Response()
    answer.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return answer


def _forget(error: BaseException) -> None:
    """
    Let go of what was being sent when an error came.

    The libraries' frames and their errors hold each other, and with them the whole request,
    until the garbage collector comes by.
    """
    for one in _wrapped(error):
        clear_frames(one.__traceback__)


def _words(words: str, answer: requests.Response) -> str:
    """
    What an answer says, in a form to follow others; gateways quote the headers they refuse.
    """
    request = answer.request
    given = [str(value) for name, value in request.headers.items() if name.lower() not in USUAL]
    url = urlsplit(request.url or "")
    quoted = [url.query, *_SECRETS.findall(url.path)]
    given += [*quoted, *map(unquote_plus, quoted)]
    parts = _SEPARATORS.split(" ".join(given))
    for part in sorted(parts, key=len, reverse=True):  # or what is longer would be left in part
        words = words.replace(part, "...") if len(part) > SHORT else words
    return f": {words[:WORDS_MAX]}" if words else ""


def _message(body: bytes) -> str:
    """
    What a failure says, which OTLP has as the message of a Status.
    """
    told = Status()
    with suppress(DecodeError):
        told.ParseFromString(body)
    return str(told.message)


def _body(answer: requests.Response, ends: float) -> bytes:
    """
    What follows the headers, up to a size; the library would wait for it without end.

    Raises:
        TimeoutError: It had not all come by this time, of the monotonic clock.
    """
    body = b""
    while len(body) < ANSWER_BYTES_MAX:
        piece = answer.raw.read1(ANSWER_BYTES_MAX, decode_content=True)
        if not piece:
            break
        body += piece
        if time.monotonic() > ends:
            raise TimeoutError
    return body


def without_secrets(url: str) -> str:
    """
    An address without user, password and query, nor what may be a token in its path.
    """
    parts = urlsplit(url)
    path = _SECRETS.sub("...", parts.path)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"
