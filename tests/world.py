"""
The world around the program: SQS, S3 and a disk that outlive its processes.

Rules:

1. Time is virtual, and the world's own. A process knows it by two clocks: that of its loop,
   which only goes on, and the wall clock, which may be set to anything.
2. Whatever passes between a process and the world is a crossing, and is counted. One of them,
   chosen by its number, can fail or be the moment of the process's end.
3. A process that has ended does nothing to the world any more: its calls arrive nowhere, and
   the disk is as the kernel had it at that moment. Its tasks are wound up after that only
   because Python wants them to be.
4. What went wrong on purpose is noted once it really happened.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from unittest.mock import patch

from aiohttp import ClientPayloadError
from prometheus_client import CollectorRegistry

from exporter.aws.objects import Buckets, Objects
from exporter.aws.queue import Queue
from exporter.codecommit import Repository
from exporter.consumer import Backoff, Consumer
from exporter.errors import LedgerUnavailable, QueueUnavailable, Transient
from exporter.families import Series, SeriesState
from exporter.knowledge import Known
from exporter.ledger.book import Policy
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics import OPENMETRICS, Answer as PageAnswer, Page, View
from exporter.pipeline import Pipeline
from exporter.telemetry import Telemetry
from exporter.values import AllowedBucket
from tests.fakes import (
    BUCKET,
    DEAD_LETTER_ARN,
    QUEUE,
    QUEUE_URL,
    Clock,
    announcement,
    no_connection,
    refusal,
)
from tests.virtual import VirtualLoop

DAY = 24 * 3600.0
WINDOW_SECONDS = 10 * DAY
VISIBILITY_SECONDS = 60
IN_FLIGHT_SECONDS_MAX = 12 * 3600
RECEIVES_MAX = 5
SHARED_MEMORY = next(filter(lambda path: os.access(path, os.W_OK), ["/dev/shm"]), None)  # noqa: S108
"""Where a ledger may lie for a test, if the machine has it: what is synced there costs nothing."""
GRACE_SECONDS = 25.0
STOP_SECONDS = 120.0
"""Within which a stop must have come to its end, whatever SQS does meanwhile."""
BURIAL_ROUNDS = 20

Answer = TypeVar("Answer")
SeriesKey = tuple[str, str]
"""A series as the ledger's file has it: its family and its labels, in JSON."""


class Fault(StrEnum):
    """
    What can be wrong with one call. The sentence says what happens then.
    """

    UNREACHABLE = "a call does not arrive"
    UNAVAILABLE = "a call is answered 5xx"
    THROTTLED = "a call is throttled"
    ANSWER_LOST = "a call has its effect, and its answer is lost"
    NOT_HIDDEN = "a message is received and stays visible"
    ENTRY_FAILED = "one message of a batch is not deleted"
    COMES_BACK = "a deleted message comes back"
    FORBIDDEN = "a log file may not be read for now"
    CUT = "a body breaks off"
    SLOW = "a body takes its time"


class Event(StrEnum):
    """
    What else happens to a process, a message or a clock.
    """

    CRASH = "a process ends at any moment"
    CRASH_IN_LEDGER = "a process ends within a call of SQLite"
    STOP = "a process is told to stop"
    DISK_FULL = "a write finds no room on the disk"
    REDELIVERED = "a message is received again"
    DELETED_IN_VAIN = "a deletion has an old receipt handle"
    HIDDEN_IN_VAIN = "a message cannot be hidden any more"
    RENEWED = "a message is hidden for longer"
    NOT_THERE = "a log file is announced before it is there"
    DEAD_LETTER = "a message goes to the dead-letter queue"
    REDRIVEN = "a message comes back from there"


class Way(StrEnum):
    """
    By which way something crosses between a process and the world.
    """

    AWS = "call of AWS or its answer"
    SQLITE = "call of SQLite or its answer"
    STEP = "step of the loop"


class Crossings:
    """
    Counts crossings, and makes one of them go wrong.
    """

    def __init__(self) -> None:
        self.counted = Counter[Way]()
        self._chosen: tuple[Way, int] | None = None
        self._crash = False

    def choose(self, way: Way, number: int, *, crash: bool) -> None:
        """
        Let a crossing fail, or be the end of the process; the next one has number 1.
        """
        self._chosen = way, self.counted[way] + number
        self._crash = crash

    def forgo(self) -> None:
        """
        Let nothing go wrong that has not yet.
        """
        self._chosen = None

    @property
    def is_over(self) -> bool:
        """
        Whether nothing is to go wrong any more.
        """
        return self._chosen is None

    def pass_by(self, way: Way) -> bool | None:
        """
        Take note of a crossing. Whether the process ends there; None where all is well.
        """
        self.counted[way] += 1
        if self._chosen != (way, self.counted[way]):
            return None
        self._chosen = None
        return self._crash


@dataclass(slots=True)
class Mail:
    """
    A message of the queue, and what SQS knows of it. Times are the world's seconds.

    ``receipt_handle`` is that of its newest receipt.
    """

    message_id: str
    body: str
    keys: tuple[str, ...]
    sent: float
    receipt_handle: str = ""
    received: float = 0
    receives: int = 0
    visible: float = 0


@dataclass(slots=True)
class Stored:
    """
    An object, which appears and may be read from some moments on.
    """

    content: bytes
    appears: float = 0
    readable: float = 0


class Line:
    """
    Over which a process calls AWS. It is dead as soon as the process is.
    """

    def __init__(self, world: World, process: Process) -> None:
        self.world = world
        self._process = process

    async def out(self, operation: str) -> Fault | None:
        """
        Bring a call to AWS. Returns what else is to be wrong with it, once it has arrived.
        """
        await self._cross(refusal(operation, "InternalError", 500))
        await asyncio.sleep(self.world.travel_seconds())
        self._check()
        fault = self.world.fault(operation)
        if fault is Fault.UNREACHABLE:
            raise no_connection()
        if fault is Fault.UNAVAILABLE:
            raise refusal(operation, "ServiceUnavailable", 503)
        if fault is Fault.THROTTLED:
            code = "SlowDown" if operation == "GetObject" else "RequestThrottled"
            raise refusal(operation, code, 503)
        return fault

    async def back(self, fault: Fault | None) -> None:
        """
        Bring an answer to the process.
        """
        if fault is Fault.ANSWER_LOST:
            raise no_connection()
        await self._cross(no_connection())
        await asyncio.sleep(self.world.travel_seconds())

    async def _cross(self, error: Exception) -> None:
        self._check()
        self._process.cross(Way.AWS, error)
        if not self._process.alive:
            await asyncio.Event().wait()

    def _check(self) -> None:
        if not self._process.alive:
            raise no_connection()


class Sqs:
    """
    A queue and its dead-letter queue. Neither forgets a message, however old.
    """

    def __init__(self, world: World) -> None:
        self.messages: dict[str, Mail] = {}
        self.dead: dict[str, Mail] = {}
        self.on_deletion: Callable[[Mail], None] = lambda _: None
        self._world = world
        self._numbers = count(1)
        self._handles: dict[str, Mail] = {}

    def send(self, body: str, keys: Iterable[str] = ()) -> None:
        """
        Put a message into the queue.
        """
        number = next(self._numbers)
        mail = Mail(f"message-{number}", body, tuple(keys), self._world.clock())
        self.messages[mail.message_id] = mail

    def redrive(self) -> None:
        """
        Move what lies in the dead-letter queue back, as new messages of the same bodies.
        """
        for mail in self.dead.values():
            self.send(mail.body, mail.keys)
            self._world.met[Event.REDRIVEN] += 1
        self.dead.clear()

    def visible(self) -> list[Mail]:
        """
        What can be received now, in no order.
        """
        now = self._world.clock()
        mails = [mail for mail in self.messages.values() if mail.visible <= now]
        self._world.random.shuffle(mails)
        return mails

    def seconds_to_next(self) -> float:
        """
        How long it takes until a message in flight comes back; for ever if there is none.
        """
        rest = (mail.visible - self._world.clock() for mail in self.messages.values())
        return min(rest, default=float("inf"))

    def hand_out(self, mails: Iterable[Mail], fault: Fault | None) -> list[dict[str, Any]]:
        """
        Put messages in flight, those that have been so too often into the dead-letter queue.
        """
        answer = []
        for mail in mails:
            mail.receives += 1
            if mail.receives > RECEIVES_MAX:
                self.dead[mail.message_id] = self.messages.pop(mail.message_id)
                self._world.met[Event.DEAD_LETTER] += 1
                continue
            if mail.receives > 1:
                self._world.met[Event.REDELIVERED] += 1
            mail.receipt_handle = f"{mail.message_id} receipt {next(self._numbers)}"
            self._handles[mail.receipt_handle] = mail
            mail.received = self._world.clock()
            mail.visible = mail.received + VISIBILITY_SECONDS
            if fault is Fault.NOT_HIDDEN:
                self._world.met[fault] += 1
                mail.visible = mail.received
            answer.append(_received(mail))
        return answer

    def delete(self, receipt_handle: str, fault: Fault | None) -> bool:
        """
        Whether a deletion is answered as done, which it also is where nothing was deleted.
        """
        mail = self._handles.get(receipt_handle)
        if fault is Fault.ENTRY_FAILED:
            self._world.met[fault] += 1
            return False
        if mail is None or self.messages.get(mail.message_id) is not mail:
            return True
        if mail.receipt_handle != receipt_handle:
            self._world.met[Event.DELETED_IN_VAIN] += 1
            return True
        del self.messages[mail.message_id]
        self.on_deletion(mail)
        if fault is Fault.COMES_BACK:
            self._world.met[fault] += 1
            mail.visible = self._world.clock() + 1
            self.messages[mail.message_id] = mail
        return True

    def hide(self, receipt_handle: str, seconds: int) -> str:
        """
        Keep a message in flight invisible for some time from now, within 12 hours of its receipt.

        Return the code of what is wrong with that, if something is.
        """
        mail = self._handles.get(receipt_handle)
        code = ""
        if mail is None or self.messages.get(mail.message_id) is not mail:
            code = "InvalidParameterValue"
        elif mail.receipt_handle != receipt_handle:
            code = "ReceiptHandleIsInvalid"
        elif mail.visible <= self._world.clock():
            code = "AWS.SimpleQueueService.MessageNotInflight"
        elif self._world.clock() + seconds > mail.received + IN_FLIGHT_SECONDS_MAX:
            code = "InvalidParameterValue"
        if mail is None or code:
            self._world.met[Event.HIDDEN_IN_VAIN] += 1
            return code
        mail.visible = self._world.clock() + seconds
        self._world.met[Event.RENEWED] += seconds > 0
        return ""


class SqsClient:
    """
    What a process calls SQS by, as botocore's client.
    """

    def __init__(self, line: Line, sqs: Sqs) -> None:
        self._line = line
        self._sqs = sqs

    async def receive_message(self, **parameters: Any) -> dict[str, Any]:
        fault = await self._line.out("ReceiveMessage")
        clock = self._line.world.clock
        deadline = clock() + parameters["WaitTimeSeconds"]
        # Nothing comes in while the loop runs: only time makes a message visible.
        while not (visible := self._sqs.visible()) and clock() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(min(deadline - clock(), self._sqs.seconds_to_next()))
        messages = self._sqs.hand_out(visible[: parameters["MaxNumberOfMessages"]], fault)
        await self._line.back(fault)
        return {"Messages": messages} if messages else {}

    async def delete_message_batch(self, **parameters: Any) -> dict[str, Any]:
        fault = await self._line.out("DeleteMessageBatch")
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for entry in parameters["Entries"]:
            if self._sqs.delete(entry["ReceiptHandle"], fault):
                done.append({"Id": entry["Id"]})
            else:
                failed.append({"Id": entry["Id"], "Code": "InternalError", "SenderFault": False})
            if fault is Fault.ENTRY_FAILED:
                fault = None
        await self._line.back(fault)
        return {"Successful": done} | ({"Failed": failed} if failed else {})

    async def change_message_visibility_batch(self, **parameters: Any) -> dict[str, Any]:
        fault = await self._line.out("ChangeMessageVisibilityBatch")
        failed: list[dict[str, Any]] = []
        for entry in parameters["Entries"]:
            code = self._sqs.hide(entry["ReceiptHandle"], entry["VisibilityTimeout"])
            if code:
                failed.append({"Id": entry["Id"], "Code": code, "SenderFault": True})
        await self._line.back(fault)
        return {"Failed": failed} if failed else {}

    async def get_queue_attributes(self, **parameters: Any) -> dict[str, Any]:
        fault = await self._line.out("GetQueueAttributes")
        is_dead = parameters["QueueUrl"].endswith("-dead")
        visible = len(self._sqs.dead if is_dead else self._sqs.visible())
        attributes = {
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(len(self._sqs.messages) - visible),
            "ApproximateNumberOfMessagesDelayed": "0",
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": DEAD_LETTER_ARN}),
            "VisibilityTimeout": str(VISIBILITY_SECONDS),
        }
        await self._line.back(fault)
        return {"Attributes": {name: attributes[name] for name in parameters["AttributeNames"]}}

    async def get_queue_url(self, **parameters: Any) -> dict[str, Any]:
        fault = await self._line.out("GetQueueUrl")
        await self._line.back(fault)
        return {"QueueUrl": QUEUE_URL.replace(QUEUE, parameters["QueueName"])}


class S3Client:
    """
    What a process calls S3 by, as botocore's client.
    """

    def __init__(self, line: Line, objects: Mapping[str, Stored]) -> None:
        self._line = line
        self._objects = objects

    async def get_object(self, **parameters: str) -> dict[str, Any]:
        fault = await self._line.out("GetObject")
        now = self._line.world.clock()
        stored = self._objects.get(parameters["Key"])
        if stored is None or now < stored.appears:
            self._line.world.met[Event.NOT_THERE] += 1
            raise refusal("GetObject", "NoSuchKey", 404)
        if now < stored.readable:
            self._line.world.met[Fault.FORBIDDEN] += 1
            raise refusal("GetObject", "AccessDenied", 403)
        await self._line.back(fault)
        return {
            "Body": Body(self._line, stored.content, fault),
            "ContentLength": len(stored.content),
        }

    async def head_bucket(self, **_: str) -> dict[str, Any]:
        await self._line.back(await self._line.out("HeadBucket"))
        return {}


class Body:
    """
    An object's content on its way, in two pieces.
    """

    def __init__(self, line: Line, content: bytes, fault: Fault | None) -> None:
        middle = (len(content) + 1) // 2
        self._line = line
        self._pieces = [content[:middle], content[middle:]]
        self._fault = fault

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        pass

    async def read(self, bytes_max: int) -> bytes:
        if not self._pieces:
            return b""
        if len(self._pieces) == 1 and self._fault is Fault.CUT:
            self._line.world.met[Fault.CUT] += 1
            raise ClientPayloadError
        if self._fault is Fault.SLOW:
            self._line.world.met[Fault.SLOW] += 1
            await asyncio.sleep(VISIBILITY_SECONDS)
        await self._line.back(None)
        piece = self._pieces.pop(0)
        assert len(piece) <= bytes_max, "the program asks for as much as there is"
        return piece


class Connection(sqlite3.Connection):
    """
    A process's connection to its ledger; what it does crosses to the disk and back.
    """

    process: Process

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return self._cross(sql, lambda: super(Connection, self).execute(sql, *parameters))

    def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
        return self._cross(sql, lambda: super(Connection, self).executemany(sql, parameters))

    def _cross(self, sql: str, work: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        self._pass_by()
        self.process.world.disk.check_room(sql)
        answer = work()
        try:
            self._pass_by()
        except sqlite3.Error:
            answer.close()  # SQLite does not go on with a statement that has failed
            raise
        return answer

    def _pass_by(self) -> None:
        if self.process.alive:
            self.process.cross(Way.SQLITE, sqlite3.OperationalError("disk I/O error"))
        if not self.process.alive:
            raise sqlite3.OperationalError("the process has ended")


class Disk:
    """
    The folder that ledgers lie in. It can be full for a while.
    """

    _READS = ("SELECT", "PRAGMA", "BEGIN", "ROLLBACK")

    def __init__(self, world: World, folder: Path) -> None:
        self.folder = folder
        self.full_until = 0.0
        self._world = world

    @property
    def ledger(self) -> Path:
        """
        The ledger's file.
        """
        return self.folder / "ledger.db"

    def check_room(self, sql: str) -> None:
        """
        Nothing, if a statement finds the room it needs.
        """
        if self._world.clock() < self.full_until and not sql.lstrip().startswith(self._READS):
            self._world.met[Event.DISK_FULL] += 1
            raise sqlite3.OperationalError("database or disk is full")

    def image(self) -> dict[Path, bytes]:
        """
        Every file as it is now, in the kernel's eyes; but no shared memory, which nobody trusts.
        """
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in paths if not path.name.endswith("-shm")}

    def restore(self, image: Mapping[Path, bytes]) -> None:
        """
        Make the files be as they were.
        """
        for path in self.folder.rglob("*"):
            if path.is_file():
                path.unlink()
        for path, content in image.items():
            path.write_bytes(content)


class Kept(NamedTuple):
    """
    What the ledger's file holds of one series.
    """

    amount: int
    buckets: str


class Process:
    """
    One life of the program, from the ledger's opening to its end, whichever that is.

    It is put together as the service does it, without the endpoints.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.alive = True
        self.ledger: SqliteLedger | None = None
        self.loop = VirtualLoop(world.clock, self._step)
        self._work = self.loop.create_task(self._serve())
        self._counters = world.counters()
        self._image: dict[Path, bytes] = {}
        self._reader: sqlite3.Connection | None = None
        self._kept: dict[SeriesKey, Kept] = {}
        self._version = 0

    # As the world sees it.

    def run_for(self, seconds: float) -> None:
        """
        Let the process work for some time, or until it ends.

        Raises:
            AssertionError: It ended by itself, or there was an error that nobody looked at.
        """
        with self.world.at_work(self):
            self.loop.run_for(seconds)
        if self.alive and self._work.done():
            self._work.result()
            raise AssertionError("the program has ended by itself")
        assert not self.loop.complaints, self.loop.complaints

    def cross(self, way: Way, error: Exception) -> None:
        """
        Let something cross; the error is raised if that is to fail.
        """
        crash = self.world.crossings.pass_by(way)
        if crash:
            self.world.met[Event.CRASH_IN_LEDGER] += way is Way.SQLITE
            self.end()
        elif crash is not None:
            raise error

    def stop(self) -> bool:
        """
        Let the process end in good order; whether it comes to that.
        """
        self._work.cancel()
        with self.world.at_work(self):
            deadline = self.world.clock() + STOP_SECONDS
            while self.alive and not self._work.done():
                assert self.world.clock() < deadline, "it does not stop"
                self.loop.run_for(1)
        if not self.alive:
            return False
        assert self._work.cancelled(), self._work.exception()
        self.world.met[Event.STOP] += 1
        self.end()
        return True

    def end(self) -> None:
        """
        End at once. Nothing that happens afterwards leaves the process.
        """
        self.alive = False
        self.loop.halt()
        self._image = self.world.disk.image()
        self.world.told += self.world.counters() - self._counters

    def bury(self) -> None:
        """
        Wind up what is left of a process that has ended.
        """
        moment = self.world.clock.seconds
        self.loop.go_on()
        self.loop.set_exception_handler(lambda _, __: None)
        with self.world.at_work(self):
            self.loop.run_until_complete(self._cancel_all())
            if self.ledger is not None:
                with suppress(LedgerUnavailable):
                    self.loop.run_until_complete(self.ledger.close())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        self._close_reader()
        self.world.disk.restore(self._image)
        self.world.clock.seconds = moment

    @property
    def known(self) -> Mapping[Repository, Known]:
        """
        The repositories as this process knows them.
        """
        return self.ledger.known if self.ledger else {}

    @property
    def series(self) -> Mapping[Series, SeriesState]:
        """
        The series as this process has them in memory.
        """
        return self.ledger.series if self.ledger else {}

    def kept(self) -> Mapping[SeriesKey, Kept]:
        """
        Every series as another connection reads them from the ledger's file.
        """
        try:
            reader = self._reading()
            (version,) = reader.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                rows = reader.execute("SELECT family, labels, amount, buckets FROM series")
                self._kept = {(family, labels): Kept(*total) for family, labels, *total in rows}
                self._version = version
        except sqlite3.OperationalError:
            return {}  # there is no ledger yet
        return self._kept

    def periods(self) -> set[str]:
        """
        The tables of the ledger's file that hold ids by their time.
        """
        rows = self._reading().execute("SELECT name FROM sqlite_schema")
        return {name for (name,) in rows if name.removeprefix("seen_").isdecimal()}

    def _reading(self) -> sqlite3.Connection:
        if self._reader is None:
            url = f"file:{self.world.disk.ledger}?mode=ro"
            self._reader = self.world.real_connect(url, uri=True, isolation_level=None)
        return self._reader

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()

    async def _cancel_all(self) -> None:
        this = asyncio.current_task()
        for _ in range(BURIAL_ROUNDS):
            tasks = asyncio.all_tasks() - {this}
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
        raise AssertionError(f"tasks that cannot be cancelled: {asyncio.all_tasks()}")

    def _step(self) -> None:
        if self.alive and self.world.crossings.pass_by(Way.STEP):
            self.end()

    # As it is put together.

    async def _serve(self) -> None:
        world = self.world
        self.ledger = await self._answer_of(self._open)
        try:
            line = Line(world, self)
            queue = Queue(SqsClient(line, world.sqs), QUEUE_URL, QUEUE)
            objects = Objects(
                S3Client(line, world.objects),
                Buckets([AllowedBucket(BUCKET)]),
                compressed_bytes_max=10_000_000,
            )
            pipeline = Pipeline(
                objects,
                self.ledger,
                self.world.telemetry,
                inflated_bytes_max=100_000_000,
                now=world.wall_clock,
            )
            await self._answer_of(lambda: objects.check_bucket(BUCKET))
            await self._answer_of(queue.depth)
            await self._consume(queue, pipeline, self.ledger)
        finally:
            await self.ledger.close()

    async def _open(self) -> SqliteLedger:
        return await SqliteLedger.open(
            self.world.disk.ledger,
            window_seconds=WINDOW_SECONDS,
            policy=Policy(hold=True),
            now=self.world.wall_clock,
        )

    async def _consume(self, queue: Queue, pipeline: Pipeline, ledger: SqliteLedger) -> None:
        consumer = Consumer(
            queue, pipeline, self.world.telemetry, lambda _: None, writable=lambda: ledger.writable
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(consumer.run())
                tasks.create_task(self._watch(queue))
                tasks.create_task(self._release(ledger))
        finally:
            await consumer.drain(GRACE_SECONDS)

    async def _watch(self, queue: Queue) -> None:
        while True:
            await asyncio.sleep(300)
            with suppress(QueueUnavailable):
                depth = await queue.depth()
                await queue.dead_letters(depth.dead_letter_arn or "")

    async def _release(self, ledger: SqliteLedger) -> None:
        """
        Scrape, and end the hold of what has been shown. The page is kept, and never stale.
        """
        page = Page(CollectorRegistry(), ledger)
        while True:
            await asyncio.sleep(30)
            anew = Page(CollectorRegistry(), View(ledger.series, ledger.known))
            assert sorted_lines(anew.answer(now_ms=0)) == sorted_lines(page.answer(now_ms=0))
            answer = page.answer(OPENMETRICS, now_ms=0)
            self.world.exemplars.see(answer)
            if answer.held:
                with suppress(LedgerUnavailable):
                    await ledger.release(answer.held)

    async def _answer_of(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        backoff = Backoff()
        while True:
            try:
                return await ask()
            except Transient:
                await asyncio.sleep(backoff.next_seconds())


class World:
    """
    Everything but the program.

    Args:
        folder: An empty folder on this machine's disk.
        seed: What chance is drawn from.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.random = Random(seed)  # noqa: S311 - a test's own chance
        self.clock = Clock()
        self.clock_error = 0.0
        """How far the wall clock of the program's machine is ahead, in seconds."""
        self.crossings = Crossings()
        self.met = Counter[StrEnum]()
        """What has gone wrong on purpose, and how often."""
        self.telemetry = Telemetry(now=self.wall_clock)
        """Making one takes long. All processes have the same, and count on from each other."""
        self.told = Counter[str]()
        """What the counters of processes that have ended had come to, by their names."""
        self.sqs = Sqs(self)
        self.objects: dict[str, Stored] = {}
        self.disk = Disk(self, folder)
        self.exemplars = ExemplarsSeen()
        self.real_connect = sqlite3.connect
        self._faults = defaultdict[str, deque[Fault]](deque)
        self.process = Process(self)

    def wall_clock(self) -> float:
        """
        The time as the program's machine has it, in seconds since 1970.
        """
        return self.clock() + self.clock_error

    def travel_seconds(self) -> float:
        """
        How long something is on its way between a process and AWS.
        """
        return self.random.uniform(0.005, 0.05)

    def announce(self, *keys: str) -> None:
        """
        Send one message that announces these log files.
        """
        self.sqs.send(announcement(*keys), keys)

    def go_wrong(self, operation: str, fault: Fault) -> None:
        """
        Let something be wrong with the next call of an operation that nothing is wrong with yet.
        """
        self._faults[operation].append(fault)

    def fault(self, operation: str) -> Fault | None:
        """
        What is wrong with a call that has just been made.
        """
        if not self._faults[operation]:
            return None
        fault = self._faults[operation].popleft()
        if fault in _OF_ANY_CALL:
            self.met[fault] += 1
        return fault

    def mend(self) -> None:
        """
        Let nothing be wrong from now on.
        """
        self._faults.clear()
        self.crossings.forgo()
        self.clock_error = 0.0
        self.disk.full_until = 0.0
        for stored in self.objects.values():
            stored.appears = stored.readable = 0

    def run_for(self, seconds: float) -> None:
        """
        Let some time pass. If the process ends meanwhile, another one is started at once.
        """
        end = self.clock() + seconds
        while self.clock() < end:
            self.process.run_for(end - self.clock())
            if not self.process.alive:
                self.restart()

    def kill(self, down_seconds: float = 0) -> None:
        """
        End the process now if it has not ended, and start another one some time later.
        """
        if self.process.alive:
            self.process.end()
        self.clock.seconds += down_seconds
        self.restart()

    def stop(self) -> None:
        """
        Stop the process in good order, and start another one.
        """
        if self.process.stop():
            self._replace()
        else:
            self.restart()

    def restart(self) -> None:
        """
        Start another process in the place of one that has crashed.
        """
        self.met[Event.CRASH] += 1
        self._replace()

    def close(self) -> None:
        """
        End the process for good, without a word.
        """
        if self.process.alive:
            self.process.end()
        self.process.bury()

    def _replace(self) -> None:
        self.process.bury()
        self.process = Process(self)

    def counters(self) -> Counter[str]:
        """
        The program's own counters as they are now, by their names.
        """
        told = Counter[str]()
        for metric in self.telemetry.registry.restricted_registry(TOLD).collect():
            for sample in metric.samples:
                told[sample.name] += int(sample.value)
        return told

    @contextmanager
    def at_work(self, process: Process) -> Iterator[None]:
        """
        Let what opens an SQLite file during the block do so in a process's name.
        """

        def connect(path: object, **options: Any) -> Connection:
            connection: Connection = self.real_connect(str(path), factory=Connection, **options)
            connection.process = process
            return connection

        with patch.object(sqlite3, "connect", connect):
            yield


TOLD: Sequence[str] = (
    "codecommit_exporter_late_events_total",
    "codecommit_exporter_refused_total",
    "codecommit_exporter_duplicate_events_total",
)
"""The counters that are added up over all processes."""

_OF_ANY_CALL = {Fault.UNREACHABLE, Fault.UNAVAILABLE, Fault.THROTTLED, Fault.ANSWER_LOST}


def sorted_lines(answer: PageAnswer) -> list[bytes]:
    """
    A page whose lines may stand in any order.
    """
    return sorted(answer.body.splitlines())


class ExemplarsSeen:
    """
    The exemplars that a Prometheus has stored; it takes only later ones.
    """

    def __init__(self) -> None:
        self._stored: dict[bytes, tuple[bytes, int]] = {}

    def see(self, answer: PageAnswer) -> None:
        """
        Store those of a page, cutting their times to milliseconds as Prometheus does.
        """
        for line in answer.body.splitlines():
            sample, _, exemplar = line.partition(b" # ")
            if exemplar:
                series = sample.rpartition(b" ")[0]
                what, _, at = exemplar.rpartition(b" ")
                new = (what, int(float(at) * 1000))
                old = self._stored.setdefault(series, new)
                assert old == new or old[1] < new[1]
                self._stored[series] = new


def _received(mail: Mail) -> dict[str, Any]:
    """
    A message as SQS hands it out.
    """
    return {
        "MessageId": mail.message_id,
        "Body": mail.body,
        "ReceiptHandle": mail.receipt_handle,
        "Attributes": {
            "SentTimestamp": str(round(mail.sent * 1000)),
            "ApproximateReceiveCount": str(mail.receives),
        },
    }
