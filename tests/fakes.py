"""
The road without AWS: clients that behave as botocore's do, in memory.

The program's own ``Queue``, ``Objects`` and ``Pipeline`` run on top of them unchanged. What
they share is an ``Edge``: every call crosses it, and a test can make the crossing fail, wait
or be the last thing that ever happens. Time is the event loop's.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from itertools import count
from types import TracebackType
from typing import Any, NamedTuple, ParamSpec, Self

from botocore.exceptions import ClientError, EndpointConnectionError
from prometheus_client import CollectorRegistry

from exporter.aws.objects import BYTES_IN_HAND_MAX, Buckets, Objects
from exporter.aws.queue import Message, Queue
from exporter.codecommit import Repository
from exporter.errors import LedgerUnavailable
from exporter.families import Series, SeriesState
from exporter.journal import Journal
from exporter.knowledge import Known
from exporter.ledger import Ledger
from exporter.pipeline import Pipeline
from exporter.tally import Reading, Tally
from exporter.telemetry import Telemetry
from exporter.values import AllowedBucket
from tests import records
from tests.oracle import Totals
from tests.pages import page_of
from tests.virtual import VirtualLoop

Arguments = ParamSpec("Arguments")

BUCKET = "trail-logs"
QUEUE = "trail-queue"
ACCOUNT = "123456789012"
QUEUE_URL = f"https://sqs.eu-central-1.amazonaws.com/{ACCOUNT}/{QUEUE}"
DEAD_LETTER_ARN = f"arn:aws:sqs:eu-central-1:{ACCOUNT}:{QUEUE}-dead"
VISIBILITY_SECONDS_MAX = 12 * 3600
"""How long SQS hides a message from its receipt, whatever is asked for."""

PATIENCE_SECONDS = 30
"""Longer than a long poll lasts."""


class Clock:
    """
    A clock that moves when told to.
    """

    def __init__(self, seconds: float = 1_790_000_000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def refusal(operation: str, code: str, status: int = 400) -> ClientError:
    """
    What botocore raises where AWS refuses; as in real life the message names a person.
    """
    message = "User: arn:aws:iam::567856785678:user/wilhelmine.tell is not authorized"
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "RequestId": "",
                "HostId": "",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        operation,
    )


def no_connection() -> EndpointConnectionError:
    """
    What botocore raises where AWS cannot be reached.
    """
    return EndpointConnectionError(endpoint_url="https://aws.invalid/")


class Edge:
    """
    Where the program ends and what it calls begins.

    Calls are told apart by their name or, more narrowly, by name and subject: ``read one``.

    Args:
        stop_at: The story stops at this crossing, counted from 1. Each call has two: on its
            way in, when nothing has happened yet, and on its way back, when it has.
    """

    def __init__(self, stop_at: int | None = None) -> None:
        self.calls: list[str] = []
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        """When calls of each name were made, by the loop's clock."""
        self.errors: defaultdict[str, deque[Exception]] = defaultdict(deque)
        self.faults: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.stopped = asyncio.Event()
        self._crossings = count(1)
        self._stop_at = stop_at
        self._stuck: set[asyncio.Task[Any]] = set()

    def fail(self, name: str, *errors: Exception) -> None:
        """
        Let the next calls of this name raise these errors, one each.
        """
        self.errors[name].extend(errors)

    def break_down(self, name: str, fault: Exception) -> None:
        """
        Let every call of this name raise a fault, until it is mended.
        """
        self.faults[name] = fault

    def mend(self, name: str) -> None:
        """
        Let calls of this name do again what they should.
        """
        del self.faults[name]

    def close(self, name: str) -> asyncio.Event:
        """
        Let calls of this name wait until the event is set.
        """
        return self.gates.setdefault(name, asyncio.Event())

    @asynccontextmanager
    async def crossed(self, name: str, subject: str = "") -> AsyncIterator[None]:
        """
        One call: what it does is done in the block.
        """
        await self._cross()
        call = f"{name} {subject}".rstrip()
        self.calls.append(call)
        self.times[name].append(asyncio.get_running_loop().time())
        for one in (name, call):
            if gate := self.gates.get(one):
                await gate.wait()
            if errors := self.errors.get(one):
                raise errors.popleft()
            if fault := self.faults.get(one):
                raise fault
        yield
        await self._cross()

    async def _cross(self) -> None:
        if next(self._crossings) == self._stop_at:
            self.stopped.set()
        if self.stopped.is_set():
            if task := asyncio.current_task():
                self._stuck.add(task)
            await asyncio.Event().wait()

    async def bury(self, *tasks: asyncio.Task[Any]) -> None:
        """
        End these tasks and all that stopped at the edge, as the process's own end would.
        """
        for task in {*tasks, *self._stuck}:
            task.cancel()
        await asyncio.wait({*tasks, *self._stuck})


class FakeBody:
    """
    An object's content on its way; closed at the end of its block.

    Its end arrives together with its last bytes: the read that finds it crosses no edge.
    """

    def __init__(self, key: str, content: bytes, edge: Edge) -> None:
        self._key = key
        self._rest = content
        self._edge = edge
        self._has_ended = False
        self.is_open = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.is_open = False

    async def read(self, bytes_max: int) -> bytes:
        if self._has_ended:
            return b""
        async with self._edge.crossed("read", self._key):
            piece, self._rest = self._rest[:bytes_max], self._rest[bytes_max:]
            self._has_ended = not self._rest
            return piece


class FakeS3:
    """
    An S3 client: buckets with their owners, and objects in them.
    """

    def __init__(self, edge: Edge) -> None:
        self.owners = {BUCKET: ACCOUNT}
        self.objects: dict[tuple[str, str], bytes] = {}
        self.bodies: list[FakeBody] = []
        self.tells_sizes = True
        self._edge = edge

    @property
    def bodies_open(self) -> int:
        """
        How many bodies have been handed out and not been closed.
        """
        return sum(body.is_open for body in self.bodies)

    async def get_object(self, **parameters: str) -> dict[str, Any]:
        async with self._edge.crossed("get_object", parameters["Key"]):
            self._check_bucket("GetObject", parameters)
            content = self.objects.get((parameters["Bucket"], parameters["Key"]))
            if content is None:
                raise refusal("GetObject", "NoSuchKey", 404)
            body = FakeBody(parameters["Key"], content, self._edge)
            self.bodies.append(body)
            size = {"ContentLength": len(content)} if self.tells_sizes else {}
            return {"Body": body, **size}

    async def head_bucket(self, **parameters: str) -> dict[str, Any]:
        async with self._edge.crossed("head_bucket", parameters["Bucket"]):
            if parameters["Bucket"] not in self.owners:
                raise refusal("HeadBucket", "404", 404)
            self._check_bucket("HeadBucket", parameters)
            return {}

    def _check_bucket(self, operation: str, parameters: Mapping[str, str]) -> None:
        owner = self.owners.get(parameters["Bucket"])
        if owner is None:
            raise refusal(operation, "NoSuchBucket", 404)
        if parameters.get("ExpectedBucketOwner", owner) != owner:
            raise refusal(operation, "AccessDenied", 403)


@dataclass(slots=True)
class Sent:
    """
    A message in the queue; in flight from its receipt until it is deleted or comes back.

    Times are the loop's. ``receives`` counts receipts, and the last of ``receipt_handles`` is
    the one that works.
    """

    message_id: str
    body: str
    receipt_handles: list[str] = field(default_factory=list)
    received_at: float = 0.0
    visible_at: float = 0.0

    @property
    def receives(self) -> int:
        return len(self.receipt_handles)


class Hiding(NamedTuple):
    """
    A wish to hide a message for some seconds, made so many seconds after its receipt.
    """

    message_id: str
    after: int
    seconds: int


class FakeSqs:
    """
    An SQS client with one queue and its dead-letter queue.

    It keeps to the limits of the API reference: 10 messages to a receive, 10 distinct
    entries to a batch, 12 hours from a receipt. What is received comes back when the
    queue's visibility timeout ends, unless that is moved. A receipt handle of an earlier
    receipt deletes nothing, and the answer does not show it.
    """

    def __init__(self, edge: Edge) -> None:
        self.messages: dict[str, Sent] = {}
        self.undeletable: set[str] = set()
        self.unhidable: dict[str, str] = {}
        """Codes of what is wrong with a receipt handle, beside what is found wrong here."""
        self.attributes = {
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": DEAD_LETTER_ARN}),
            "VisibilityTimeout": "30",
        }
        self.dead = 0
        self.handed_out = 0
        self.hidings: list[Hiding] = []
        self.edge = edge
        self._numbers = count(1)
        self._arrival = asyncio.Event()
        self._handles: dict[str, Sent] = {}

    def send(self, body: str) -> str:
        """
        Put a message into the queue and return its id.
        """
        message_id = f"message-{next(self._numbers)}"
        self.messages[message_id] = Sent(message_id, body)
        self._arrival.set()
        return message_id

    def come_back(self) -> None:
        """
        Let the visibility timeout of every message in flight end.
        """
        for message in self.messages.values():
            message.visible_at = 0.0
        self._arrival.set()

    @property
    def in_flight(self) -> set[str]:
        """
        The ids of messages that have been received and not come back.
        """
        return set(self.messages).difference(message.message_id for message in self._visible())

    async def receive_message(self, **parameters: Any) -> dict[str, Any]:
        async with self.edge.crossed("receive_message"):
            self._check_queue("ReceiveMessage", parameters)
            if not 1 <= parameters["MaxNumberOfMessages"] <= 10:
                raise refusal("ReceiveMessage", "InvalidParameterValue")
            messages = await self._arrived(parameters["WaitTimeSeconds"])
            if not messages:
                return {}
            taken = messages[: parameters["MaxNumberOfMessages"]]
            asked = parameters["MessageSystemAttributeNames"]
            return {"Messages": [self._hand_out(message, asked) for message in taken]}

    async def delete_message_batch(self, **parameters: Any) -> dict[str, Any]:
        entries = parameters["Entries"]
        ids = ",".join(self._name_of(entry["ReceiptHandle"]) for entry in entries)
        async with self.edge.crossed("delete_message_batch", ids):
            self._check_batch("DeleteMessageBatch", parameters)
            answer: dict[str, Any] = {"Successful": [], "Failed": []}
            for entry in entries:
                failure = self._failure_to_delete(entry["ReceiptHandle"])
                answer["Failed" if failure else "Successful"].append({"Id": entry["Id"], **failure})
            return {part: entries for part, entries in answer.items() if entries}

    async def change_message_visibility_batch(self, **parameters: Any) -> dict[str, Any]:
        entries = parameters["Entries"]
        for entry in entries:
            if message := self._handles.get(entry["ReceiptHandle"]):
                after = round(self._now() - message.received_at)
                self.hidings.append(Hiding(message.message_id, after, entry["VisibilityTimeout"]))
        ids = ",".join(self._name_of(entry["ReceiptHandle"]) for entry in entries)
        async with self.edge.crossed("change_message_visibility_batch", ids):
            self._check_batch("ChangeMessageVisibilityBatch", parameters)
            answer: dict[str, Any] = {"Successful": [], "Failed": []}
            for entry in entries:
                code = self._hide(entry["ReceiptHandle"], entry["VisibilityTimeout"])
                failure = {"Code": code, "SenderFault": True} if code else {}
                answer["Failed" if code else "Successful"].append({"Id": entry["Id"], **failure})
            return {part: entries for part, entries in answer.items() if entries}

    async def get_queue_attributes(self, **parameters: Any) -> dict[str, Any]:
        async with self.edge.crossed("get_queue_attributes"):
            if parameters["QueueUrl"].endswith("-dead"):
                return {"Attributes": {"ApproximateNumberOfMessages": str(self.dead)}}
            self._check_queue("GetQueueAttributes", parameters)
            in_flight = len(self.in_flight)
            attributes = {
                "ApproximateNumberOfMessages": str(len(self.messages) - in_flight),
                "ApproximateNumberOfMessagesNotVisible": str(in_flight),
                "ApproximateNumberOfMessagesDelayed": "0",
                **self.attributes,
            }
            asked = parameters["AttributeNames"]
            return {"Attributes": {name: attributes[name] for name in asked if name in attributes}}

    async def get_queue_url(self, **parameters: Any) -> dict[str, Any]:
        async with self.edge.crossed("get_queue_url"):
            if parameters["QueueOwnerAWSAccountId"] != ACCOUNT:
                raise refusal("GetQueueUrl", "AWS.SimpleQueueService.NonExistentQueue")
            return {"QueueUrl": QUEUE_URL.replace(QUEUE, parameters["QueueName"])}

    def _check_queue(self, operation: str, parameters: Mapping[str, Any]) -> None:
        if parameters["QueueUrl"] != QUEUE_URL:
            raise refusal(operation, "AWS.SimpleQueueService.NonExistentQueue")

    def _check_batch(self, operation: str, parameters: Mapping[str, Any]) -> None:
        self._check_queue(operation, parameters)
        entries = parameters["Entries"]
        if len(entries) > 10:
            raise refusal(operation, "TooManyEntriesInBatchRequest")
        if len({entry["Id"] for entry in entries}) < len(entries):
            raise refusal(operation, "BatchEntryIdsNotDistinct")

    def _name_of(self, handle: str) -> str:
        """
        What a call with this receipt handle is about.
        """
        return self._handles[handle].message_id if handle in self._handles else handle

    def _failure_to_delete(self, handle: str) -> dict[str, Any]:
        """
        Delete by a receipt handle, or tell why not.
        """
        message = self._handles.get(handle)
        if message is None:
            return {"Code": "ReceiptHandleIsInvalid", "SenderFault": True}
        if message.message_id in self.undeletable:
            return {"Code": "InternalError", "SenderFault": False}
        if handle == message.receipt_handles[-1]:
            self.messages.pop(message.message_id, None)
        return {}

    def _hide(self, handle: str, seconds: int) -> str:
        """
        Move the end of a message's invisibility, or tell why not.
        """
        if handle in self.unhidable:
            return self.unhidable[handle]
        message = self._handles.get(handle)
        if message is None:
            return "ReceiptHandleIsInvalid"
        is_in_hand = message.message_id in self.in_flight
        visible_at = self._now() + seconds
        if (
            not (is_in_hand and handle == message.receipt_handles[-1])
            or visible_at > message.received_at + VISIBILITY_SECONDS_MAX
        ):
            return "InvalidParameterValue"
        message.visible_at = visible_at
        self._arrival.set()
        return ""

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _visible(self) -> list[Sent]:
        now = self._now()
        return [message for message in self.messages.values() if message.visible_at <= now]

    async def _arrived(self, wait_seconds: float) -> list[Sent]:
        """
        The visible messages, as soon as there are some or the long poll is over.
        """
        deadline = self._now() + wait_seconds
        while not (visible := self._visible()) and self._now() < deadline:
            self._arrival.clear()
            moments = [deadline, *(message.visible_at for message in self.messages.values())]
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(moments)):
                    await self._arrival.wait()
        return visible

    def _hand_out(self, message: Sent, asked: Iterable[str]) -> dict[str, Any]:
        self.handed_out += 1
        handle = f"{message.message_id} receipt {self.handed_out}"
        self._handles[handle] = message
        message.receipt_handles.append(handle)
        message.received_at = self._now()
        message.visible_at = message.received_at + int(self.attributes["VisibilityTimeout"])
        attributes = {
            "SentTimestamp": "1789999990000",
            "ApproximateReceiveCount": str(message.receives),
        }
        return {
            "MessageId": message.message_id,
            "Body": message.body,
            "ReceiptHandle": handle,
            "Attributes": {name: attributes[name] for name in asked if name in attributes},
        }


class EdgeLedger:
    """
    A ledger behind the edge: its commits can fail, wait or be the last thing that happens.
    """

    def __init__(self, ledger: Ledger, edge: Edge) -> None:
        self._ledger = ledger
        self._edge = edge
        self._writable = True

    @property
    def series(self) -> Mapping[Series, SeriesState]:
        return self._ledger.series

    @property
    def known(self) -> Mapping[Repository, Known]:
        return self._ledger.known

    @property
    def journal(self) -> Journal:
        return self._ledger.journal

    @property
    def identity(self) -> str:
        return self._ledger.identity

    @property
    def bytes(self) -> int:
        return self._ledger.bytes

    @property
    def writable(self) -> bool:
        return self._writable and self._ledger.writable

    async def commit(self, reading: Reading) -> Tally:
        key = reading.log_file.key if reading.log_file else ""
        try:
            async with self._edge.crossed("commit", key):
                tally = await self._ledger.commit(reading)
        except LedgerUnavailable:
            self._writable = False
            raise
        self._writable = True
        return tally

    async def release(self, series: Collection[Series]) -> None:
        await self._ledger.release(series)

    async def close(self) -> None:
        await self._ledger.close()


class Road:
    """
    From a queue through a bucket to a ledger, all of it the program's own but the ends.
    """

    def __init__(
        self, ledger: Ledger, *, edge: Edge | None = None, sqs: FakeSqs | None = None
    ) -> None:
        self.edge = edge or Edge()
        self.s3 = FakeS3(self.edge)
        self.sqs = sqs or FakeSqs(self.edge)
        self.ledger = EdgeLedger(ledger, self.edge)
        self.clock = Clock()
        self.telemetry = Telemetry(now=self.clock)
        self.queue = Queue(self.sqs, QUEUE_URL, QUEUE)
        self.objects = Objects(
            self.s3, Buckets([AllowedBucket(BUCKET)]), compressed_bytes_max=BYTES_IN_HAND_MAX
        )
        self.pipeline = Pipeline(
            self.objects,
            self.ledger,
            self.telemetry,
            inflated_bytes_max=10_000_000,
            now=self.clock,
        )

    def put(self, key: str, *written: records.Record) -> str:
        """
        Put a log file with these records into the bucket and return its text.
        """
        text = records.text(*written)
        self.s3.objects[BUCKET, key] = records.log_file(text)
        return text

    def announce(self, *keys: str, bucket: str = BUCKET) -> str:
        """
        Send one message that announces these log files, and return its id.
        """
        return self.sqs.send(announcement(*keys, bucket=bucket))

    async def count_all(self, *, together: bool = False) -> list[Exception]:
        """
        Run the pipeline over what is visible, in turn or all at once; return its errors.

        An empty queue is not asked: a long poll would be waited for.
        """
        messages = await self.queue.receive(10) if self.sqs.messages else []
        if together:
            errors = await asyncio.gather(*map(self._error_of, messages))
        else:
            errors = [await self._error_of(message) for message in messages]
        return [error for error in errors if error]

    async def _error_of(self, message: Message) -> Exception | None:
        try:
            await self.pipeline.count(self.queue, message)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error
        return None

    @property
    def totals(self) -> Totals:
        """
        What the ledger's page shows, in the form of the oracle's count.
        """
        return page_of(self.ledger).totals()

    def told(self, name: str, **labels: str) -> float:
        """
        The value of one of the exporter's own samples, given all its labels.
        """
        return sample(self.telemetry.registry, f"codecommit_exporter_{name}", **labels)


def announcement(*keys: str, bucket: str = BUCKET) -> str:
    """
    An S3 event notification of new objects (Amazon S3 User Guide, "Event message structure").
    """
    return json.dumps(
        {
            "Records": [
                {
                    "eventVersion": "2.1",
                    "eventSource": "aws:s3",
                    "eventTime": "2026-09-21T14:13:10.000Z",
                    "eventName": "ObjectCreated:Put",
                    "s3": {"bucket": {"name": bucket}, "object": {"key": key}},
                }
                for key in keys
            ]
        }
    )


def sample(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """
    The value of a sample that must be there.
    """
    values = [
        one.value
        for family in registry.restricted_registry([name]).collect()
        for one in family.samples
        if (one.name, one.labels) == (name, labels)
    ]
    assert values, f"there is no {name} with {labels}"
    return values[0]


def in_no_time(
    test: Callable[Arguments, Coroutine[Any, Any, None]],
) -> Callable[Arguments, None]:
    """
    Let a test run on a clock that nobody waits for. It fails if a task of its does unnoticed.
    """

    @wraps(test)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        loop = VirtualLoop(Clock())
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(test(*args, **kwargs))
        assert [] == loop.complaints

    return run


async def until(
    holds: Callable[[], bool], what: str, *, patience_seconds: float = PATIENCE_SECONDS
) -> None:
    """
    Let others work until something holds; look ever less often.
    """
    start = asyncio.get_running_loop().time()
    while not holds():
        waited = asyncio.get_running_loop().time() - start
        assert waited < patience_seconds, f"waited in vain: {what}"
        await asyncio.sleep(0.001 + waited / 50)


async def idle(turns: int = 20) -> None:
    """
    Let everything that is ready go as far as it gets.
    """
    for _ in range(turns):
        await asyncio.sleep(0)


def keys_of(calls: Iterable[str], name: str) -> list[str]:
    """
    What the calls of one name were about, in order.
    """
    return [call.partition(" ")[2] for call in calls if call.partition(" ")[0] == name]
