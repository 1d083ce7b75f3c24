"""
The shorter way beside the SDK's own, over real HTTP: the same comes of both, by the same requests.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import CredentialRetrievalError, ParamValidationError
from botocore.loaders import Loader

from exporter.aws import session as session_module
from exporter.aws.failures import described
from exporter.aws.pattern import Request
from exporter.aws.session import Session
from exporter.aws.shortcut import Client
from tests.s3_fake import Answer, chunked, refused, whole

REGION = "eu-central-1"
KEY = "AWSLogs/1/CloudTrail/2026/one.json.gz"
OBJECT = whole(b"the content", Content_Encoding="gzip", ETag='"e"')
MESSAGE = {
    "MessageId": "1",
    "ReceiptHandle": "handle",
    "Body": "hé\n",
    "MD5OfBody": "-",
    "Attributes": {"SentTimestamp": "1"},
}
DATES = {"x-amz-date", "authorization", "amz-sdk-invocation-id", "x-amz-security-token"}
"""In these headers two requests of a kind may differ."""

Told = list[tuple[str, str, str]]

_loader = cache(Loader)
"""Reads the descriptions of the services, which takes longer than any test."""


def _session() -> AioSession:
    session = get_session()
    session.register_component("data_loader", _loader())
    return session


def said(answer: object, status: int = 200) -> Answer:
    """
    An answer of a queue.
    """
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return Answer(status, body, {"Content-Length": str(len(body))})


def plain(status: int, body: bytes = b"", **headers: str) -> Answer:
    """
    Any answer.
    """
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body, {"Content-Length": str(len(body)), **spelled})


HANGS_UP = Answer(200, b"", {}, breaks_off=True)
"""The connection ends without any answer."""

SILENCE = Answer(200, b"", {"silence": "for good"})
"""No answer comes."""

GARBAGE = Answer(200, b"", {"garbage": "instead"})
"""What comes is not HTTP."""

RECEIVED = said({"Messages": [MESSAGE]})


class Server:
    """
    Gives one answer after another, and the last one again and again.
    """

    def __init__(self, answers: Sequence[Answer], usual: Answer) -> None:
        self.requests: list[tuple[str, Mapping[str, str], bytes]] = []
        self.ways: list[str] = []
        """By which way each request came; only the SDK writes capital letters."""
        self.usual = usual
        self.asked = asyncio.Event()
        """Set with each request."""
        self._answers = deque(answers)
        self._connections = set[asyncio.Task[None]]()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side has ended it
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """
        Answer a request; return whether the connection is good for another.
        """
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((first, headers, body))
        self.asked.set()
        self.ways.append("sdk" if "X-Amz-Date" in head else "short")
        answer = self._answers.popleft() if self._answers else self.usual
        if answer is SILENCE:
            await asyncio.Event().wait()
        if answer is GARBAGE:
            writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        elif answer is not HANGS_UP:
            writer.write(answer.wire(headers_only=first.startswith("HEAD")))
        await writer.drain()
        return not answer.breaks_off


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Credentials of nobody, nothing from the user's own files, and no waits between two tries.
    """
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "*",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(session_module, "get_session", _session)
    monkeypatch.setattr(session_module, "READ_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr("aiobotocore.endpoint.AioEndpoint._sleep", no_sleep)


async def no_sleep(_self: object, _seconds: float) -> None:
    """
    What waits between two tries.
    """


@asynccontextmanager
async def client_of(
    service: str, server: Server, told: Told, *, session: Session | None = None
) -> AsyncIterator[Any]:
    """
    The program's client of a server.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        session = session or Session(lambda *happening: told.append(happening))
        async with session.client(service) as client:
            yield client


async def get(client: Any, key: str = KEY) -> object:
    """
    An object, or what is wrong with it.
    """
    try:
        answer = await client.get_object(
            Bucket="trail", Key=key, ExpectedBucketOwner="123456789012"
        )
        async with answer["Body"] as body:
            content = b""
            while piece := await body.read(1 << 20):
                content += piece
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return type(error), described(error)
    return content, answer.get("ContentLength")


def url_of(queue: str = "trail") -> str:
    return f"https://sqs.{REGION}.amazonaws.com/123456789012/{queue}"


async def receive(client: Any) -> object:
    """
    What a queue answers, or what is wrong with it.
    """
    try:
        answer = await client.receive_message(
            QueueUrl=url_of(), MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        )
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return type(error), described(error)
    return [
        [message.get(name) for name in ("MessageId", "ReceiptHandle", "Body", "Attributes")]
        for message in answer.get("Messages", [])
    ]


async def delete(client: Any) -> object:
    """
    Which entries of a batch failed, or what is wrong with all.
    """
    entries = [{"Id": str(number), "ReceiptHandle": f"h{number}"} for number in range(3)]
    try:
        answer = await client.delete_message_batch(QueueUrl=url_of(), Entries=entries)
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return type(error), described(error)
    return [
        [entry.get(name) for name in ("Id", "SenderFault", "Code")]
        for entry in answer.get("Failed", [])
    ]


async def hide(client: Any) -> object:
    """
    Which entries of a batch failed, or what is wrong with all.
    """
    entries = [{"Id": "0", "ReceiptHandle": "h", "VisibilityTimeout": 30}]
    try:
        answer = await client.change_message_visibility_batch(QueueUrl=url_of(), Entries=entries)
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return type(error), described(error)
    return [(entry["Id"], entry["Code"]) for entry in answer.get("Failed", [])]


class Story:
    """
    What comes of the same requests by one of the ways.
    """

    def __init__(self) -> None:
        self.outcomes: list[object] = []
        self.told: Told = []
        self.requests: list[object] = []
        self.ways: list[str] = []


ASKED = {
    "get": ("s3", get, OBJECT),
    "receive": ("sqs", receive, RECEIVED),
    "delete": ("sqs", delete, said({"Successful": []})),
    "hide": ("sqs", hide, said({"Successful": [{"Id": "0"}]})),
}
TIMES = 4


async def story(asked: str, answers: Sequence[Answer], *, short: bool) -> Story:
    """
    Ask four times; the first answer is as usual, those in question come next.
    """
    service, ask, usual = ASKED[asked]
    found = Story()
    async with Server([usual, *answers], usual) as server:
        async with client_of(service, server, found.told) as client:
            way = client if short else client._client
            for _ in range(TIMES):
                found.outcomes.append(await ask(way))
        port = f":{server.port}"
        found.ways = server.ways
        for first, headers, body in server.requests:
            scope = headers["authorization"].split(", ")[0].partition("/")[2]
            named = {
                name: value.replace(port, "")
                for name, value in headers.items()
                if name not in DATES | {"content-length"}
            }
            found.requests.append((first, scope, named, json.loads(body or b"null")))
    for number, outcome in enumerate(found.outcomes):
        found.outcomes[number] = repr(outcome).replace(port, "")
    return found


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ("get", []),
        ("get", [whole(b"")]),
        ("get", [chunked(b"the ", b"content")]),
        ("get", [whole(b"short", announced=100)]),
        ("get", [chunked(b"no end", ends=False)]),
        ("get", [plain(206, b"a part", Content_Range="bytes 0-5/10")]),
        ("get", [plain(204)]),
        ("get", [plain(304)]),
        ("get", [refused(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1")]),
        ("get", [refused(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1")] * 2),
        ("get", [refused(301, "PermanentRedirect"), plain(200, x_amz_bucket_region="eu-west-1")]),
        ("get", [refused(307, "TemporaryRedirect", x_amz_bucket_region="eu-west-1")]),
        ("get", [refused(307, "TemporaryRedirect", Location="http://169.254.169.254/")] * 9),
        ("get", [refused(400, "AuthorizationHeaderMalformed", region="eu-west-1")]),
        ("get", [refused(400, "ExpiredToken")]),
        ("get", [refused(403, "AccessDenied")]),
        ("get", [refused(403, "SignatureDoesNotMatch")]),
        ("get", [refused(403, "RequestTimeTooSkewed")]),
        ("get", [refused(404, "NoSuchKey")]),
        ("get", [plain(404, b"<html>")]),
        ("get", [refused(500, "InternalError")]),
        ("get", [refused(500, "InternalError")] * 3),
        ("get", [refused(503, "SlowDown"), refused(503, "SlowDown")]),
        ("get", [plain(503, b"")]),
        ("get", [HANGS_UP]),
        ("get", [HANGS_UP] * 9),
        ("get", [SILENCE]),
        ("get", [SILENCE] * 3),
        ("get", [GARBAGE]),
        ("get", [GARBAGE] * 9),
        ("receive", []),
        ("receive", [said({})]),
        ("receive", [said(b"")]),
        ("receive", [said(b"<html>a gateway's</html>")]),
        ("receive", [said(b"[]")]),
        ("receive", [said({"Messages": None})]),
        ("receive", [said({"Messages": [{**MESSAGE, "Body": None}]})]),
        ("receive", [said({"Messages": [{**MESSAGE, "New": {"a": 1}}], "New": []})]),
        ("receive", [said(b'{"Messages": [{"MessageId": "1", "Body": "\\ud800"}]}')]),
        ("receive", [said(b'{"Messages": [{"MessageId": "1", "Body": "\xff"}]}')]),
        ("receive", [whole(b'{"Messages"', announced=100)]),
        ("receive", [chunked(b'{"Mes', b'sages": []}')]),
        ("receive", [chunked(b'{"Messages": []}', ends=False)]),
        ("receive", [said({"__type": "com.amazonaws.sqs#QueueDoesNotExist"}, 400)]),
        ("receive", [said({"__type": "com.amazonaws.sqs#RequestThrottled"}, 400)]),
        ("receive", [said({"__type": "AccessDeniedException", "message": "who"}, 403)]),
        ("receive", [said({"__type": "ExpiredToken"}, 403)]),
        ("receive", [said(b"busy", 503)] * 2),
        ("receive", [HANGS_UP]),
        ("receive", [SILENCE]),
        ("receive", [GARBAGE] * 9),
        ("delete", []),
        ("delete", [said({"Failed": [{"Id": "1", "SenderFault": True, "Code": "C"}]})]),
        ("delete", [said({"Failed": [{"Id": "1", "SenderFault": "yes"}]})]),
        ("delete", [said({"Failed": [{"Id": "1"}]}), said({}, 500)]),
        ("delete", [HANGS_UP] * 9),
        ("hide", []),
        ("hide", [said({"Failed": [{"Id": "0", "SenderFault": True, "Code": "C"}]})]),
        ("hide", [HANGS_UP, said({}, 500)]),
    ],
)
async def test_the_same_comes_of_both_ways(asked: str, answers: Sequence[Answer]) -> None:
    """
    Outcomes, requests and what is told of them are those of the SDK alone.
    """
    by_sdk = await story(asked, answers, short=False)
    by_both = await story(asked, answers, short=True)

    assert by_sdk.outcomes == by_both.outcomes
    assert by_sdk.requests == by_both.requests
    assert by_sdk.told == by_both.told
    assert {"sdk"} == set(by_sdk.ways)
    assert ["sdk", "short"] == by_both.ways[:2]


@pytest.mark.parametrize("asked", ASKED)
async def test_what_was_shown_once_is_asked_without_the_sdk(asked: str) -> None:
    """
    The first request is the SDK's, the others are not, and each is told.
    """
    found = await story(asked, [], short=True)

    assert ["sdk", "short", "short", "short"] == found.ways
    assert ["ok"] * TIMES == [code for _, _, code in found.told]


async def test_aiohttp_is_passed_by_where_no_proxy_is() -> None:
    """
    Nothing that the SDK asks of aiohttp with each request stands in the way of the wire.
    """
    async with Server([], OBJECT) as server, client_of("s3", server, []) as client:
        await get(client)

    assert [True] == [way.wire is not None for way in client._ways.values()]


async def test_a_failure_ends_a_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The SDK tries again, and shows the way anew at the next request.
    """
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    found = await story("get", [OBJECT, refused(500, "InternalError")], short=True)

    assert ["sdk", "short", "short", "sdk", "sdk"] == found.ways
    assert ["ok", "ok", "InternalError", "ok", "ok"] == [code for _, _, code in found.told]


@pytest.mark.parametrize(
    "key", ["a b/c+d", "ü/€/😀", "?versionId=1#x%20", "/lead//../.", "~*'()!$&"]
)
async def test_any_key_is_asked_for_alike(key: str) -> None:
    """
    Whatever a key holds, it is one and the same on the wire by both ways.
    """
    async with Server([], OBJECT) as server, client_of("s3", server, []) as client:
        await get(client)
        await get(client, key)
        await get(client._client, key)

    assert ["sdk", "short", "sdk"] == server.ways
    assert server.requests[1][0] == server.requests[2][0]


async def test_an_odd_answer_shows_no_way() -> None:
    """
    What is no failure to the SDK, but no plain success either, leaves the next request to it.
    """
    found = await story("get", [plain(206)], short=True)

    assert ["sdk", "short", "sdk", "short"] == found.ways
    assert ["ok"] * TIMES == [code for _, _, code in found.told]


async def test_a_request_in_other_words_shows_no_way() -> None:
    """
    Where the SDK asks a queue for more than it was given, it is left to ask.
    """

    def ask_for_more(*, params: dict[str, object], **_: object) -> None:
        params["WaitTimeSeconds"] = 1

    async with Server([], RECEIVED) as server, client_of("sqs", server, []) as client:
        client.meta.events.register("provide-client-params.sqs.ReceiveMessage", ask_for_more)
        for _ in range(2):
            await receive(client)

    assert ["sdk", "sdk"] == server.ways


async def test_kinds_are_learnt_one_by_one() -> None:
    """
    Another bucket, owner, queue or operation is another kind.
    """
    async with (
        Server([], OBJECT) as s3_server,
        Server([], RECEIVED) as sqs_server,
        client_of("s3", s3_server, []) as s3,
        client_of("sqs", sqs_server, []) as sqs,
    ):
        for more in (
            {},
            {},
            {"ExpectedBucketOwner": "1" * 12},
            {"Bucket": "other"},
            {"Range": "bytes=1-"},
        ):
            (await s3.get_object(**{"Bucket": "trail", "Key": "k", **more}))["Body"].close()
        for queue in ("one", "one", "two"):
            await sqs.receive_message(QueueUrl=url_of(queue))
        for _ in range(2):
            await delete(sqs)

    assert ["sdk", "short", "sdk", "sdk", "sdk"] == s3_server.ways
    assert ["sdk", "short", "sdk", "sdk", "short"] == sqs_server.ways


@pytest.mark.parametrize(
    ("name", "value", "ways"),
    [
        ("AWS_RETRY_MODE", "legacy", ["sdk", "short"]),
        ("AWS_RETRY_MODE", "standard", ["sdk", "short"]),
        ("AWS_RETRY_MODE", "adaptive", ["sdk", "sdk"]),
        ("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required", ["sdk", "short"]),
        ("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported", ["sdk", "sdk"]),
    ],
)
async def test_what_the_user_says_of_the_sdk_holds(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, ways: list[str]
) -> None:
    """
    Where the SDK is to do more with every request or answer, it does all of it.
    """
    monkeypatch.setenv(name, value)
    async with Server([], OBJECT) as server, client_of("s3", server, []) as client:
        await get(client)
        await get(client)

    assert ways == server.ways


class Renewal:
    """
    Temporary credentials that are new each time they are due, by a clock of the test's own.
    """

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self._number = 0

    def credentials(self) -> AioRefreshableCredentials:
        return AioRefreshableCredentials.create_from_metadata(
            self._next(), self._renew, "test", advisory_timeout=60, mandatory_timeout=30
        )

    def _next(self) -> dict[str, str]:
        self._number += 1
        return {
            "access_key": f"ASIA{self._number}",
            "secret_key": f"secret {self._number}",
            "token": f"token {self._number}",
            "expiry_time": (self.now + timedelta(hours=1)).isoformat(),
        }

    async def _renew(self) -> dict[str, str]:
        return self._next()


async def test_new_credentials_sign_at_once() -> None:
    """
    The request after a renewal is signed by the new key and carries the new token.
    """
    renewal = Renewal()
    session = Session(lambda *_: None)
    credentials: Any = renewal.credentials()
    credentials._time_fetcher = lambda: renewal.now
    sdk: Any = session._session
    sdk._credentials = credentials
    async with (
        Server([], OBJECT) as server,
        client_of("s3", server, [], session=session) as client,
    ):
        for _ in range(3):
            await get(client)
        renewal.now += timedelta(hours=1)
        await get(client)

    headers = [headers for _, headers, _ in server.requests]
    assert ["sdk", "short", "short", "short"] == server.ways
    assert ["token 1"] * 3 + ["token 2"] == [each["x-amz-security-token"] for each in headers]
    assert ["ASIA1"] * 3 + ["ASIA2"] == [
        each["authorization"].split("=")[1].split("/")[0] for each in headers
    ]


async def attempts_after(successes: int, *, short: bool) -> int:
    """
    How many attempts are made at a request after so many failed ones that none may be retried.
    """
    async with Server([], OBJECT) as server, client_of("s3", server, []) as client:
        way = client if short else client._client
        await get(way)
        server.usual = refused(500, "InternalError")
        for _ in range(60):
            await get(way)
        before = len(server.requests)
        await get(way)
        assert 1 == len(server.requests) - before
        server.usual = OBJECT
        for _ in range(successes):
            await get(way)
        server.usual = refused(500, "InternalError")
        before = len(server.requests)
        await get(way)
        return len(server.requests) - before


@pytest.mark.parametrize(("successes", "attempts"), [(2, 1), (7, 2), (20, 3)])
async def test_successes_fill_up_the_quota_of_retries(successes: int, attempts: int) -> None:
    """
    After an outage requests are retried again as soon as the SDK alone would retry them.
    """
    assert attempts == await attempts_after(successes, short=False)
    assert attempts == await attempts_after(successes, short=True)


async def test_whoever_gives_up_leaves_nothing_open() -> None:
    """
    A caller that is cancelled while no answer comes costs one connection, and nothing else.
    """
    async with (
        Server([OBJECT, SILENCE], OBJECT) as server,
        client_of("s3", server, []) as client,
    ):
        await get(client)
        server.asked.clear()
        asking = asyncio.create_task(get(client))
        await server.asked.wait()
        asking.cancel()
        await asyncio.wait([asking])
        content = await get(client)

    assert asking.cancelled()
    assert (b"the content", 11) == content
    assert ["sdk", "short", "short"] == server.ways


async def test_many_may_ask_at_once() -> None:
    """
    Each call keeps to its own outcome, whatever the others meet with.
    """
    answers = [OBJECT, *(refused(404, "NoSuchKey") for _ in range(5))]
    async with Server(answers, OBJECT) as server, client_of("s3", server, []) as client:
        await get(client)
        outcomes = await asyncio.gather(*(get(client) for _ in range(20)))

    assert 5 == sum(isinstance(outcome, tuple) and outcome[1] != 11 for outcome in outcomes)
    assert 21 == len(server.requests)


async def test_other_operations_are_the_sdks() -> None:
    """
    What has no shorter way goes straight to the SDK's client.
    """
    async with Server([], plain(200)) as server, client_of("s3", server, []) as client:
        assert isinstance(client, Client)
        assert client.meta is client._client.meta
        for _ in range(2):
            await client.head_bucket(Bucket="trail")

    assert ["sdk", "sdk"] == server.ways


async def test_an_answer_is_not_lost_over_what_may_be_learnt_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Where credentials cannot be had any more right after it, the next request is the SDK's.
    """

    async def ask_in_vain() -> None:
        raise CredentialRetrievalError(provider="iam-role", error_msg="gone")

    async with Server([], RECEIVED) as server, client_of("sqs", server, []) as client:
        with monkeypatch.context() as patch:
            patch.setattr(client, "_credentials", ask_in_vain)
            first = await receive(client)
        answers = [await receive(client) for _ in range(2)]

    assert isinstance(first, list)
    assert [first, first] == answers
    assert ["sdk", "sdk", "short"] == server.ways


async def test_an_empty_key_is_asked_for_by_nobody() -> None:
    """
    Without a key the request would be for a list of the bucket: the SDK refuses to make it.
    """
    async with Server([], OBJECT) as server, client_of("s3", server, []) as client:
        by_sdk = await get(client, "")
        await get(client)
        by_both = await get(client, "")

    assert isinstance(by_both, tuple)
    assert ParamValidationError is by_both[0]
    assert by_sdk == by_both
    assert ["sdk"] == server.ways


def test_a_request_does_not_show_credentials() -> None:
    """
    Whatever prints one, in a log or a traceback, prints no signature and no token.
    """
    headers = {"authorization": "a signature", "x-amz-security-token": "a token"}
    shown = repr(Request("GET", "https://trail.invalid/key", headers, None))

    assert "https://trail.invalid/key" in shown
    for secret in (*headers, *headers.values()):
        assert secret not in shown
