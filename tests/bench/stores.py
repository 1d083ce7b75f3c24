"""
An S3 and an SQS on this machine that cost a client nothing but its own work.

moto's server takes milliseconds a request; beside it no client would be measured. Each of
these two is a process of its own that answers at once and looks at no signature. What they
answer is what the services answer: the headers that CloudTrail's objects carry, receipt
handles of their length, messages that come back after their visibility timeout.

Two requests of SQS's process are no part of SQS: ``POST /load`` takes a JSON list of message
bodies, so that one pair of processes serves many rounds, and ``GET /left`` waits a moment for
all messages to be deleted and tells how many are not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import subprocess
import sys
import time
from base64 import b64encode
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, cast
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

HOST = "127.0.0.1"
REGION = "eu-central-1"
ACCOUNT = "123456789012"
BUCKET = "trail"
QUEUE = "log-files"
VISIBILITY_SECONDS = 120
LEFT_SECONDS = 1.0
"""How long ``GET /left`` waits for the last deletion."""

PATIENCE_SECONDS = 30
PROJECT = Path(__file__).parents[2]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_OPERATION = re.compile(rb"\r\nx-amz-target: *AmazonSQS\.(\w+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"

Result = TypeVar("Result")


class Request(NamedTuple):
    """
    A request; ``operation`` is SQS's, where its headers name one.
    """

    method: str
    path: str
    operation: str
    body: bytes


class _Connection(asyncio.Protocol):
    """
    One kept-alive connection; whoever serves writes answers to its transport, also later.
    """

    def __init__(self, serve: Callable[[Request, asyncio.WriteTransport], None]) -> None:
        self._serve = serve
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # which uvloop's is in form

    def data_received(self, data: bytes) -> None:
        self._received += data
        while request := self._next_request():
            self._serve(request, self._transport)

    def _next_request(self) -> Request | None:
        head_end = self._received.find(_HEAD_END)
        if head_end < 0:
            return None
        length = _LENGTH.search(self._received, 0, head_end)
        start = head_end + len(_HEAD_END)
        end = start + (int(length[1]) if length else 0)
        if len(self._received) < end:
            return None
        head, body = bytes(self._received[:head_end]), bytes(self._received[start:end])
        del self._received[:end]
        method, target, _ = head.partition(b"\r\n")[0].decode().split(" ")
        operation = _OPERATION.search(head)
        path = unquote(target.partition("?")[0])
        return Request(method, path, operation[1].decode() if operation else "", body)


def _answer(body: bytes = b"", *, status: HTTPStatus = HTTPStatus.OK, **more: str) -> bytes:
    """
    An answer as it goes over the wire; ``_`` in the names of headers stands for ``-``.
    """
    headers = {"Content-Length": str(len(body))} | more
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {status} {status.phrase}\r\n{''.join(lines)}\r\n".encode() + body


class S3:
    """
    A bucket, path style. What is put into it is what CloudTrail puts: gzip of JSON.
    """

    def __init__(self) -> None:
        self._answers: dict[str, bytes] = {}

    def serve(self, request: Request, transport: asyncio.WriteTransport) -> None:
        """
        Answer one request.
        """
        if request.method == "PUT":
            self._answers[request.path] = self._object(request.body)
            transport.write(_answer())
        elif request.method == "HEAD":
            transport.write(self._bucket(request.path))
        else:
            transport.write(self._answers.get(request.path) or self._missing(request.path))

    @staticmethod
    def _object(body: bytes) -> bytes:
        return _answer(
            body,
            x_amz_id_2="oYb0uLmO3EiLsT1vNm1sAmrn6c0wqUuC2zyOYbFkXqVfkQyLhM5rJ1tI9KjG3m1k",
            x_amz_request_id="TX2A3B4C5D6E7F8G",
            Date=formatdate(usegmt=True),
            Last_Modified=formatdate(usegmt=True),
            ETag=f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"',
            x_amz_server_side_encryption="AES256",
            Content_Encoding="gzip",
            Accept_Ranges="bytes",
            Content_Type="application/json",
            Server="AmazonS3",
        )

    @staticmethod
    def _bucket(path: str) -> bytes:
        known = path.strip("/") == BUCKET
        return _answer(
            status=HTTPStatus.OK if known else HTTPStatus.NOT_FOUND,
            x_amz_bucket_region=REGION,
            x_amz_request_id="TX2A3B4C5D6E7F8G",
            Content_Type="application/xml",
        )

    @staticmethod
    def _missing(path: str) -> bytes:
        key = path.removeprefix(f"/{BUCKET}/")
        error = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>'
            f"<Message>The specified key does not exist.</Message><Key>{key}</Key>"
            "<RequestId>TX2A3B4C5D6E7F8G</RequestId></Error>"
        )
        return _answer(
            error.encode(),
            status=HTTPStatus.NOT_FOUND,
            x_amz_request_id="TX2A3B4C5D6E7F8G",
            Content_Type="application/xml",
        )


@dataclass(slots=True)
class _Message:
    """
    A message that is not deleted; ``returns`` runs while it is invisible.
    """

    number: int
    body: str
    sent_ms: int
    receives: int = 0
    returns: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def message_id(self) -> str:
        return f"5fea7756-0ea4-451a-a703-{self.number:012x}"

    @property
    def receipt_handle(self) -> str:
        """
        Another one for each receipt, as long as SQS's are.
        """
        filling = hashlib.sha512(f"{self.number} {self.receives}".encode()).digest() * 5
        return f"AQEB{b64encode(filling)[:408].decode()}"

    def told(self, attributes: Iterable[str]) -> dict[str, Any]:
        """
        What a receive says of it.
        """
        known = {
            "SentTimestamp": str(self.sent_ms),
            "ApproximateReceiveCount": str(self.receives),
        }
        return {
            "MessageId": self.message_id,
            "ReceiptHandle": self.receipt_handle,
            "MD5OfBody": hashlib.md5(self.body.encode(), usedforsecurity=False).hexdigest(),
            "Body": self.body,
            "Attributes": {name: known[name] for name in attributes if name in known},
        }


@dataclass(eq=False, slots=True)
class _Receiver:
    """
    Somebody who waits for messages, until ``gives_up`` runs.
    """

    transport: asyncio.WriteTransport
    asked: Mapping[str, Any]
    gives_up: asyncio.Handle | None = field(default=None, repr=False)


class Refusal(Exception):
    """
    A request that SQS refuses; the error's code.
    """


class Sqs:
    """
    A queue without a dead-letter queue, in SQS's JSON protocol.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)
        self._visible: deque[_Message] = deque()
        self._in_flight: dict[str, _Message] = {}
        self._receivers: deque[_Receiver] = deque()
        self._watchers: list[asyncio.WriteTransport] = []
        self._operations: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": lambda asked: _each(asked, self._delete),
            "ChangeMessageVisibility": self._hide,
            "ChangeMessageVisibilityBatch": lambda asked: _each(asked, self._hide),
            "GetQueueAttributes": self._attributes,
            "GetQueueUrl": self._url,
        }

    def serve(self, request: Request, transport: asyncio.WriteTransport) -> None:
        """
        Answer one request, a long poll when there is something to tell.
        """
        if request.path == "/load":
            self._load(json.loads(request.body))
            transport.write(_answer())
        elif request.path == "/left":
            self._watchers.append(transport)
            self._loop.call_later(LEFT_SECONDS if self._left else 0, self._tell_watchers)
        elif request.operation == "ReceiveMessage":
            receiver = _Receiver(transport, json.loads(request.body))
            seconds = receiver.asked.get("WaitTimeSeconds", 0)
            receiver.gives_up = self._loop.call_later(seconds, self._give_up, receiver)
            self._receivers.append(receiver)
            self._hand_out()
        else:
            transport.write(self._served(request))

    def _served(self, request: Request) -> bytes:
        try:
            if request.operation not in self._operations:
                raise Refusal("InvalidAction")  # noqa: TRY301 - one answer to all refusals
            return _told(self._operations[request.operation](json.loads(request.body)))
        except Refusal as refusal:
            error = {"__type": f"com.amazonaws.sqs#{refusal}", "message": "refused"}
            return _told(error, status=HTTPStatus.BAD_REQUEST)

    @property
    def _left(self) -> int:
        return len(self._visible) + len(self._in_flight)

    def _load(self, bodies: Iterable[str]) -> None:
        sent_ms = round(time.time() * 1000)
        self._visible += [_Message(next(self._numbers), body, sent_ms) for body in bodies]
        self._hand_out()

    def _tell_watchers(self) -> None:
        for watcher in self._watchers:
            watcher.write(_told({"left": self._left}))
        self._watchers.clear()

    def _give_up(self, receiver: _Receiver) -> None:
        self._receivers.remove(receiver)
        if not receiver.transport.is_closing():
            receiver.transport.write(_told({}))

    def _hand_out(self) -> None:
        while self._visible and self._receivers:
            receiver = self._receivers.popleft()
            if receiver.gives_up is not None:
                receiver.gives_up.cancel()
            if receiver.transport.is_closing():
                continue
            number = min(receiver.asked.get("MaxNumberOfMessages", 1), len(self._visible))
            messages = [self._visible.popleft() for _ in range(number)]
            attributes = receiver.asked.get("MessageSystemAttributeNames", ())
            hidden = receiver.asked.get("VisibilityTimeout", VISIBILITY_SECONDS)
            for message in messages:
                message.receives += 1
                self._in_flight[message.receipt_handle] = message
                self._hide_for(message.receipt_handle, hidden)
            told = [message.told(attributes) for message in messages]
            receiver.transport.write(_told({"Messages": told}))

    def _hide_for(self, handle: str, seconds: float) -> None:
        message = self._in_flight[handle]
        if message.returns is not None:
            message.returns.cancel()
        message.returns = self._loop.call_later(seconds, self._show_again, handle)

    def _show_again(self, handle: str) -> None:
        self._visible.append(self._in_flight.pop(handle))
        self._hand_out()

    def _delete(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        message = self._in_flight.pop(asked["ReceiptHandle"], None)
        if message is not None and message.returns is not None:
            message.returns.cancel()
        if not self._left:
            self._tell_watchers()
        return {}

    def _hide(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked["ReceiptHandle"] not in self._in_flight:
            raise Refusal("MessageNotInflight")
        self._hide_for(asked["ReceiptHandle"], asked["VisibilityTimeout"])
        return {}

    def _attributes(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        known = {
            "ApproximateNumberOfMessages": len(self._visible),
            "ApproximateNumberOfMessagesNotVisible": len(self._in_flight),
            "ApproximateNumberOfMessagesDelayed": 0,
            "VisibilityTimeout": VISIBILITY_SECONDS,
        }
        names = asked.get("AttributeNames", ())
        return {"Attributes": {name: str(known[name]) for name in names if name in known}}

    def _url(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked["QueueName"] != QUEUE:
            raise Refusal("QueueDoesNotExist")
        return {"QueueUrl": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{QUEUE}"}


def _told(told: Mapping[str, Any], *, status: HTTPStatus = HTTPStatus.OK) -> bytes:
    return _answer(
        json.dumps(told).encode(),
        status=status,
        x_amzn_RequestId="c1a5e1b0-6a5f-5f0b-9f0e-bd1c4a9f2d3e",
        Content_Type="application/x-amz-json-1.0",
    )


def _each(
    asked: Mapping[str, Any], work: Callable[[Mapping[str, Any]], object]
) -> dict[str, list[dict[str, Any]]]:
    """
    The answer to a batch, entry by entry.
    """
    answer: dict[str, list[dict[str, Any]]] = {"Successful": [], "Failed": []}
    for entry in asked["Entries"]:
        try:
            work(entry)
        except Refusal as refusal:
            failure = {"Id": entry["Id"], "Code": str(refusal), "SenderFault": True}
            answer["Failed"].append(failure)
        else:
            answer["Successful"].append({"Id": entry["Id"]})
    return {name: entries for name, entries in answer.items() if entries}


async def serve(service: type[S3 | Sqs]) -> None:
    """
    Serve one of the two until standard input closes; the port is told on standard output.
    """
    loop, closed = asyncio.get_running_loop(), asyncio.Event()
    one = service()
    server = await loop.create_server(lambda: _Connection(one.serve), HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - to who started it
    loop.add_reader(sys.stdin.fileno(), closed.set)
    await closed.wait()


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """
    Run something on the loop that the exporter takes: uvloop where it is installed.
    """
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        return asyncio.run(work)
    return uvloop.run(work)


class Child:
    """
    A module of the benchmark as a process of its own, alive inside the ``with`` block.

    It ends when its standard input closes: with the block, or with whoever started it.
    """

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def pid(self) -> int:
        """
        The number of the process.
        """
        return self._process.pid

    def line(self) -> str:
        """
        The next line that it prints, waited for.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended early")
        return line.rstrip("\n")

    def say(self, line: str) -> None:
        """
        Write a line to its standard input.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


class Stores:
    """
    Both processes, alive inside the ``with`` block; S3 listens on ``s3_port``.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._processes = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as processes:
            s3, sqs = (
                processes.enter_context(Child(__name__, name, environment=self._environment))
                for name in ("s3", "sqs")
            )
            self.s3_port, self._sqs_port = int(s3.line()), int(sqs.line())
            self._processes = processes.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    @property
    def environment(self) -> dict[str, str]:
        """
        The variables that lead any AWS client here, with invented credentials.
        """
        return {
            **self._environment,
            "AWS_ENDPOINT_URL_S3": f"http://{HOST}:{self.s3_port}",
            "AWS_ENDPOINT_URL_SQS": f"http://{HOST}:{self._sqs_port}",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def queue_url(self) -> str:
        """
        The queue.
        """
        return f"http://{HOST}:{self._sqs_port}/{ACCOUNT}/{QUEUE}"

    def put(self, objects: Mapping[str, bytes]) -> None:
        """
        Put objects into the bucket, by their keys.
        """
        connection = HTTPConnection(HOST, self.s3_port, timeout=PATIENCE_SECONDS)
        for key, body in objects.items():
            connection.request("PUT", f"/{BUCKET}/{key}", body)
            connection.getresponse().read()
        connection.close()

    def announce(self, keys: Iterable[str]) -> None:
        """
        Put a message on the queue for every key, as S3 does for each new object.
        """
        self._ask("POST", "/load", json.dumps([notification(key) for key in keys]).encode())

    def left(self) -> int:
        """
        How many messages are not deleted; waited for a moment for there to be none.
        """
        return int(json.loads(self._ask("GET", "/left"))["left"])

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = HTTPConnection(HOST, self._sqs_port, timeout=PATIENCE_SECONDS)
        connection.request(method, path, body)
        told = connection.getresponse().read()
        connection.close()
        return told


def notification(key: str) -> str:
    """
    The message with which S3 announces a log file; keys of log files need no encoding.
    """
    moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    record = {
        "eventVersion": "2.5",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": moment,
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AROAQWERTZUIOPEXAMPLE:regionalDeliverySession"},
        "requestParameters": {"sourceIPAddress": "198.51.100.77"},
        "responseElements": {
            "x-amz-request-id": "TX2A3B4C5D6E7F8G",
            "x-amz-id-2": "oYb0uLmO3EiLsT1vNm1sAmrn6c0wqUuC2zyOYbFkXqVfkQyLhM5rJ1tI9KjG3m1k",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "log-files",
            "bucket": {
                "name": BUCKET,
                "ownerIdentity": {"principalId": "A3NL1KOZZKEXAMPLE"},
                "arn": f"arn:aws:s3:::{BUCKET}",
            },
            "object": {
                "key": key,
                "size": 27_000,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    }
    return json.dumps({"Records": [record]})


if __name__ == "__main__":
    run(serve(S3 if sys.argv[1] == "s3" else Sqs))
