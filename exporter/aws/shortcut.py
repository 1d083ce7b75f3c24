"""
The SDK's clients, with a shorter way to what is asked over and over.

To make a request the SDK resolves an endpoint, fills in a model, signs, sends and reads by
the model, and that is most of what a log file costs. Of some operations all requests to one
bucket or queue are alike.

Rules:

1. The SDK shows the way. Requests of a kind go through it until one succeeds at its first
   attempt; the pattern of that one is used from then on, over the same connections, through
   the same proxy. Credentials are asked of the SDK each time, which renews them.
2. Only a plain success is an answer. Anything else, a failure to get one included, goes to the
   SDK as the outcome of its own first attempt: what it means, whether and when it is tried
   again, where a redirect leads and which error is raised is decided there. No request is
   made that the SDK would not have made.
3. Whatever goes to the SDK ends the pattern, and rule 1 begins anew: a pattern that leads
   astray does so once.
4. The SDK limits its retries by a quota, which successes fill up again. Those it has not seen
   are told to it before it is asked.
5. Retry mode ``adaptive`` limits all requests: there is no shorter way then.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from random import getrandbits
from threading import Lock
from types import SimpleNamespace
from typing import Any, Required, TypedDict, TypeGuard
from uuid import UUID

from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.response import StreamingBody
from aiohttp import ClientResponse, ClientSession
from botocore import xform_name
from botocore.credentials import ReadOnlyCredentials
from msgspec.json import Decoder, decode, encode
from yarl import URL

from exporter.aws.pattern import Pattern, Request
from exporter.aws.wire import Response, Wire

Observe = Callable[[str, str, str], None]
"""Called with service, operation and the code of the answer; ``ok`` is success."""

OK = "ok"

AskCredentials = Callable[[], Awaitable[ReadOnlyCredentials | None]]
Outcome = ClientResponse | Response | Exception
Answer = Mapping[str, Any]

QUOTA_MAX = 500
"""How much botocore's quota of retries holds; a success fills up 1."""


class _Message(TypedDict, total=False):
    MessageId: Required[str]
    ReceiptHandle: Required[str]
    Body: Required[str]
    Attributes: dict[str, str]


class _Received(TypedDict, total=False):
    Messages: list[_Message]


class _Failure(TypedDict, total=False):
    Id: Required[str]
    SenderFault: bool
    Code: str


class _Batch(TypedDict, total=False):
    Failed: list[_Failure]


_RECEIVED: Decoder[Any] = Decoder(_Received)
_BATCH: Decoder[Any] = Decoder(_Batch)


@dataclass(frozen=True, slots=True)
class _Question:
    """
    What is asked.

    Args:
        operation: The SDK's name of it.
        subject: What requests of a kind have in common: all but the key; the queue.
        parameters: What the SDK is given.
        key: The object's, or nothing.
        body: What is sent.
    """

    operation: str
    subject: tuple[str, ...]
    parameters: Mapping[str, Any]
    key: str = ""
    body: bytes | None = None

    @property
    def kind(self) -> tuple[str, ...]:
        """
        What tells requests of one kind from all others.
        """
        return (self.operation, *self.subject)


@dataclass(frozen=True, slots=True)
class _Sent:
    """
    A request of the SDK, over which connections it went, and in which manner.
    """

    request: Request
    connections: ClientSession
    manner: Mapping[str, Any]


@dataclass(slots=True)
class _Call:
    """
    One call of the SDK, which may send several requests.

    Args:
        outcome: What came of the first of them, where that has been sent already.
    """

    outcome: Outcome | None
    sent: list[_Sent] = field(default_factory=list)


_call: ContextVar[_Call | None] = ContextVar("call", default=None)


_contexts: dict[bool | str, Any] = {}
"""How connections are secured, by whose certificates: botocore's own, or those of a file."""
_one_at_a_time = Lock()


class Transport(AIOHTTPSession):
    """
    The SDK's HTTP, without the redirects that aiohttp follows unless told not to.

    It would send a request to whatever host an answer names, without the credentials where
    the host is another, and S3 would refuse what it had just redirected.
    """

    def _build_ssl_contexts(self, proxy_url: str | None) -> Any:
        """
        How connections are secured: all clients in the same way, where nothing is their own.

        To read the certificates takes 20 ms of CPU. The SDK calls this in a thread.
        """
        if proxy_url or self._cert_file:  # type: ignore[attr-defined]
            return super()._build_ssl_contexts(proxy_url)  # type: ignore[misc]
        bundle: bool | str = self._verify  # type: ignore[attr-defined]
        with _one_at_a_time:
            if bundle not in _contexts:
                _contexts[bundle] = super()._build_ssl_contexts(None)  # type: ignore[misc]
            return _contexts[bundle]

    async def _get_session(self, proxy_url: str | None) -> Any:
        return _Connections(await super()._get_session(proxy_url))  # type: ignore[misc]


class _Connections:
    """
    What the SDK takes for a session of aiohttp.
    """

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def request(
        self, method: str, *, url: URL, headers: Mapping[str, str], data: Any, **manner: Any
    ) -> ClientResponse | Response:
        """
        Send a request and note it, unless its outcome is known.
        """
        call = _call.get()
        if call:
            lower = {name.lower(): value for name, value in headers.items()}
            call.sent.append(_Sent(Request(method, str(url), lower, data), self._session, manner))
            outcome, call.outcome = call.outcome, None
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is not None:
                return outcome
        return await self._session.request(
            method, url, headers=headers, data=data, allow_redirects=False, **manner
        )


@dataclass(frozen=True, slots=True)
class _Way:
    """
    How requests of a kind get to their answers; without a wire it is by aiohttp.
    """

    pattern: Pattern
    connections: ClientSession
    manner: Mapping[str, Any]
    wire: Wire | None

    async def go(
        self, question: _Question, credentials: ReadOnlyCredentials
    ) -> ClientResponse | Response:
        """
        Send a request; return what is answered as soon as its headers are there.
        """
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        number = UUID(int=getrandbits(128), version=4)
        request = self.pattern.request(
            question.key, question.body, credentials, moment, str(number)
        )
        if self.wire:
            return await self.wire.send(request)
        return await self.connections.request(
            request.method,
            URL(request.url, encoded=True),
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
            **self.manner,
        )


class Client:
    """
    A client of the SDK that answers some operations by the shorter way, and no less right.

    Of those operations an answer holds what is named here, whichever way it came.

    Args:
        client: The SDK's, whose HTTP is a ``Transport``.
        credentials: Asked for them before each request.
        observe: Told of each success by the shorter way; of all else the SDK's events tell.
    """

    def __init__(self, client: Any, credentials: AskCredentials, observe: Observe) -> None:
        self._client = client
        self._credentials = credentials
        self._observe = observe
        self._service = client.meta.service_model.service_id.hyphenize()
        self._may_shorten = client.meta.config.retries["mode"] != "adaptive"
        self._ways: dict[tuple[str, ...], _Way] = {}
        self._untold = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def get_object(self, **parameters: str) -> Answer:
        """
        An object's ``Body``, unread, and its ``ContentLength`` if it is told.
        """
        subject = tuple(f"{name}={value}" for name, value in parameters.items() if name != "Key")
        question = _Question("GetObject", subject, parameters, key=parameters["Key"])
        # Without a key it would be another operation: the SDK refuses it.
        outcome = await self._send(question) if question.key else None
        if _is_answer(outcome) and outcome.status == HTTPStatus.OK:
            self._succeeded(question)
            return _object_in(outcome)
        return await self._ask_sdk(question, outcome)

    async def receive_message(self, **parameters: Any) -> Answer:
        """
        ``Messages``, if there are some.
        """
        return await self._post("ReceiveMessage", parameters, _RECEIVED)

    async def delete_message_batch(self, **parameters: Any) -> Answer:
        """
        The entries that ``Failed``, if some did.
        """
        return await self._post("DeleteMessageBatch", parameters, _BATCH)

    async def change_message_visibility_batch(self, **parameters: Any) -> Answer:
        """
        The entries that ``Failed``, if some did.
        """
        return await self._post("ChangeMessageVisibilityBatch", parameters, _BATCH)

    async def _post(
        self, operation: str, parameters: Mapping[str, Any], decoder: Decoder[Answer]
    ) -> Answer:
        """
        Ask a queue in JSON.
        """
        subject = (parameters["QueueUrl"],)
        question = _Question(operation, subject, parameters, body=encode(parameters))
        outcome = await self._send(question)
        if _is_answer(outcome) and outcome.status == HTTPStatus.OK:
            try:
                answer = decoder.decode(await outcome.read())
            except Exception:  # noqa: BLE001, S110 - the SDK comes upon the same
                pass
            else:
                self._succeeded(question)
                return answer
        return await self._ask_sdk(question, outcome)

    async def _send(self, question: _Question) -> Outcome | None:
        """
        Send a request by the shorter way; return what came of it, None where there is no way.
        """
        way = self._ways.get(question.kind)
        credentials = await self._credentials() if way else None
        if not (way and credentials and way.pattern.suits(credentials)):
            return None
        try:
            return await way.go(question, credentials)
        except Exception as error:  # noqa: BLE001 - the SDK tells one from another
            return error

    def _succeeded(self, question: _Question) -> None:
        self._untold += 1
        self._observe(self._service, question.operation, OK)

    async def _ask_sdk(self, question: _Question, outcome: Outcome | None) -> Answer:
        """
        Let the SDK go on from an outcome, or do all of it where there is none.
        """
        self._ways.pop(question.kind, None)
        await self._tell_successes()
        call = _Call(outcome)
        token = _call.set(call)
        try:
            answer: Answer = await getattr(self._client, xform_name(question.operation))(
                **question.parameters
            )
        finally:
            _call.reset(token)
            if _is_answer(call.outcome):
                call.outcome.close()
        if self._may_shorten and outcome is None and call.sent:
            with suppress(Exception):  # the answer is there, and must not get lost
                await self._learn(question, call.sent[-1])
        return answer

    async def _learn(self, question: _Question, sent: _Sent) -> None:
        credentials = await self._credentials()
        if not credentials or not _says(sent.request, question.body):
            return
        pattern = Pattern.of(sent.request, question.key, credentials)
        if pattern:
            wire = Wire.over(sent.connections, sent.request.url, sent.manner)
            self._ways[question.kind] = _Way(pattern, sent.connections, sent.manner, wire)

    async def _tell_successes(self) -> None:
        """
        Let botocore's quota of retries see what went well without it.
        """
        untold, self._untold = min(self._untold, QUOTA_MAX), 0
        for _ in range(untold):
            await self._client.meta.events.emit(
                f"after-call.{self._service}",
                http_response=SimpleNamespace(status_code=HTTPStatus.OK),
                parsed={},
                model=None,
                context={},
            )


def _is_answer(outcome: Outcome | None) -> TypeGuard[ClientResponse | Response]:
    return isinstance(outcome, ClientResponse | Response)


def _object_in(response: Any) -> Answer:
    size = response.content_length
    body = StreamingBody(response, size)
    return {"Body": body} if size is None else {"Body": body, "ContentLength": size}


def _says(request: Request, body: bytes | None) -> bool:
    """
    Whether the SDK asked in these words, or in others that mean the same.
    """
    if request.body is None or body is None:
        return request.body is body
    return bool(decode(request.body) == decode(body))
