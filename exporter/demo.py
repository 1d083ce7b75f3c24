"""
``serve`` itself, against an S3 and an SQS that stand in for AWS on this machine.

Rules:

1. Nothing here counts. What is shown has gone through a bucket, its notification, a queue
   and the very code that ``serve`` runs.
2. No request to AWS leaves the machine: what the environment says of it is set aside first.
3. What is written and what is counted are known apart from each other, and compared.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import boto3

from exporter.activity import Activity, WrittenLogFile
from exporter.config import DemoSettings, ServeSettings
from exporter.errors import ConfigError, ExporterError
from exporter.families import (
    CALLER_EVENTS,
    EVENT_ERRORS,
    EVENTS,
    KMS_REQUESTS,
    PULL_REQUEST_EVENTS,
    PUSHES,
    REFERENCE_UPDATES,
    Series,
)
from exporter.ledger import Ledger
from exporter.logs import set_up_logs
from exporter.otlp.variables import read_variables
from exporter.service import Service, stop_signals
from exporter.values import PROGRAM, Rebuild

HOST = "127.0.0.1"
REGION = "us-east-1"
BUCKET = "demo-trail"
QUEUE = "demo-log-files"
DEAD_LETTERS = "demo-dead-letters"
VISIBILITY_SECONDS = 5
RECEIVES_MAX = 2
"""After so many receives SQS moves a message to the dead-letter queue."""

VISIBLE = "ApproximateNumberOfMessages"
IN_HAND = "ApproximateNumberOfMessagesNotVisible"
DELIVERIES_MAX = 4
PROGRESS_SECONDS = 10.0
SETTLE_SECONDS_MAX = 60.0
USUAL_DENIED_SHARE = 0.02
DENIED_SHARE = 0.15

EXTRA_MISSING = 3
STAND_IN = f"""
import logging, os, sys
try:
    from moto.server import ThreadedMotoServer
except ImportError:
    sys.exit({EXTRA_MISSING})
logging.getLogger("werkzeug").setLevel(logging.ERROR)
sys.setswitchinterval(60)  # moto's queues are not made for threads that interrupt each other
server = ThreadedMotoServer(ip_address="{HOST}", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
os._exit(0)
"""
"""The program that stands in for S3 and SQS until its standard input closes.

It is no module, since importing one of this package would take longer than the rest."""

COMPARED = (
    EVENTS,
    EVENT_ERRORS,
    PUSHES,
    REFERENCE_UPDATES,
    PULL_REQUEST_EVENTS,
    CALLER_EVENTS,
    KMS_REQUESTS,
)
_COMPARED = {family.name for family in COMPARED}

Arrival: TypeAlias = WrittenLogFile | str
"""What arrives: a file in the bucket, which announces it, or a message that no bucket sent."""


async def demo(settings: DemoSettings) -> int:
    """
    Run the demo until it is stopped or its duration is over; 1 if a count is wrong.

    Raises:
        ConfigError: The ``demo`` extra is not installed, or a setting is wrong.
    """
    set_up_logs(settings.log.level, settings.log.format)
    read_variables(os.environ)  # a wrong one is told before anything is started
    with _aws() as endpoint, tempfile.TemporaryDirectory() as folder, stop_signals() as asked:
        surroundings = Surroundings.made(endpoint)
        print(
            f"An S3 bucket and an SQS queue of this machine's own are at {endpoint}.\n"
            f"Writing about {settings.demo.rate:g} CloudTrail log files a second, "
            f"seed {settings.demo.seed}.",
            flush=True,
        )
        return await _play(settings, surroundings, Path(folder), asked)


async def _play(
    settings: DemoSettings, surroundings: Surroundings, folder: Path, asked: asyncio.Event
) -> int:
    """
    Run the service and the writer beside each other, and compare them at the end.
    """
    service = Service(_serve_settings(settings, surroundings, folder), f"{PROGRAM}-demo")
    writer = Writer(settings, surroundings)
    stop = asyncio.Event()
    serving = asyncio.create_task(service.run(stop), name="service")
    writing = asyncio.create_task(writer.write(service, asked), name="writer")
    try:
        await asyncio.wait({serving, writing}, return_when=asyncio.FIRST_COMPLETED)
        if writing.done():
            await writing
    finally:
        writing.cancel()
        stop.set()
        await serving
    return _summary(writer, service, complete=not asked.is_set())


def _serve_settings(
    settings: DemoSettings, surroundings: Surroundings, folder: Path
) -> ServeSettings:
    return ServeSettings.model_validate(
        {
            "sqs": {"queue_url": [surroundings.queue_url]},
            "s3": {"allowed_bucket": [BUCKET]},
            "state": {"directory": folder},
            "ledger": {"rebuild": Rebuild.FRESH},
            "metrics": settings.metrics,
            "web": settings.web,
            "shutdown": settings.shutdown,
            "log": settings.log,
        }
    )


@contextmanager
def _aws() -> Iterator[str]:
    """
    An S3 and SQS on this machine during the block, and an environment that knows no other.
    """
    before = dict(os.environ)
    own = before.get("no_proxy") or before.get("NO_PROXY", "")
    not_by_proxy = f"{HOST},{own}".rstrip(",")
    for name in before:
        if name.startswith(("AWS_", "MOTO_")):
            del os.environ[name]
    try:
        with _stand_in() as endpoint:
            os.environ.update(
                AWS_ACCESS_KEY_ID="demo",
                AWS_SECRET_ACCESS_KEY="demo",  # noqa: S106 - no secret: the server takes any
                AWS_REGION=REGION,
                AWS_ENDPOINT_URL=endpoint,
                AWS_CONFIG_FILE=os.devnull,
                AWS_SHARED_CREDENTIALS_FILE=os.devnull,
                AWS_EC2_METADATA_DISABLED="true",
                NO_PROXY=not_by_proxy,
                no_proxy=not_by_proxy,
            )
            yield endpoint
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _stand_in() -> Iterator[str]:
    """
    The URL of a process during the block that stands in for S3 and SQS.

    It keeps every file and message it was ever given, and none of that is the exporter's
    memory. Its standard input closes however this process ends, and then it ends as well. A
    Ctrl-C does not reach it in its own session: what is in hand is still to be finished.
    """
    with subprocess.Popen(  # noqa: S603 - this interpreter, and a program of this file
        [sys.executable, "-c", STAND_IN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            endpoint = next(iter(process.stdout or ()), "").strip()
            if not endpoint and process.wait() == EXTRA_MISSING:
                raise ConfigError(
                    "the demo needs its extra: pip install 'codecommit-exporter[demo]'"
                )
            if not endpoint:
                raise ExporterError("what stands in for S3 and SQS did not start")
            yield endpoint
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    The bucket and the queues, wired as on AWS.

    The bucket notifies the queue, and what cannot be handled ends in the dead-letter queue.
    """

    s3: Any
    sqs: Any
    queue_url: str
    dead_letters_url: str

    @classmethod
    def made(cls, endpoint: str) -> Surroundings:
        """
        Make everything on the server at an endpoint.
        """
        s3 = boto3.client("s3", endpoint_url=endpoint, region_name=REGION)
        sqs = boto3.client("sqs", endpoint_url=endpoint, region_name=REGION)
        s3.create_bucket(Bucket=BUCKET)
        dead_letters_url = sqs.create_queue(QueueName=DEAD_LETTERS)["QueueUrl"]
        redrive = {
            "deadLetterTargetArn": _arn(sqs, dead_letters_url),
            "maxReceiveCount": RECEIVES_MAX,
        }
        queue_url = sqs.create_queue(
            QueueName=QUEUE,
            Attributes={
                "VisibilityTimeout": str(VISIBILITY_SECONDS),
                "RedrivePolicy": json.dumps(redrive),
            },
        )["QueueUrl"]
        s3.put_bucket_notification_configuration(
            Bucket=BUCKET,
            NotificationConfiguration={
                "QueueConfigurations": [
                    {"QueueArn": _arn(sqs, queue_url), "Events": ["s3:ObjectCreated:*"]}
                ]
            },
        )
        return cls(s3, sqs, queue_url, dead_letters_url)

    def deliver(self, arrival: Arrival) -> None:
        """
        Put a file into the bucket, as CloudTrail does, or a message on the queue.
        """
        if isinstance(arrival, str):
            self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=arrival)
        else:
            self.s3.put_object(Bucket=BUCKET, Key=arrival.key, Body=arrival.body)

    def waiting(self) -> int:
        """
        How many messages are on the queue or in hand.
        """
        return self._messages(self.queue_url, VISIBLE, IN_HAND)

    def dead_letters(self) -> int:
        """
        How many messages have ended in the dead-letter queue.
        """
        return self._messages(self.dead_letters_url, VISIBLE)

    def _messages(self, queue_url: str, *states: str) -> int:
        answer = self.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=[*states])
        return sum(int(answer["Attributes"][state]) for state in states)


def _arn(sqs: Any, url: str) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    arn: str = answer["Attributes"]["QueueArn"]
    return arn


@dataclass(slots=True)
class Writer:
    """
    Writes invented activity at a steady rate, and keeps the truth about it.
    """

    settings: DemoSettings
    surroundings: Surroundings
    log_files: int = 0
    truth: Counter[Series] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    async def write(self, service: Service, asked: asyncio.Event) -> None:
        """
        Write until asked to stop or the duration is over; then let what is left be counted.
        """
        hold = self.settings.metrics.new_series_hold
        first = f" (a new series shows 0 for {hold:g} s first)" if hold else ""
        for address in await service.listening():
            print(f"Metrics: {address}/metrics{first}")
        print("Ctrl-C ends the demo.", flush=True)
        async with asyncio.TaskGroup() as deliveries:
            await self._invent(service, asked, deliveries)
        if not asked.is_set():
            await self._let_it_settle(asked)

    async def _invent(
        self, service: Service, asked: asyncio.Event, deliveries: asyncio.TaskGroup
    ) -> None:
        """
        Invent one log file after the other, and have several delivered at once.

        A delivery takes longer than the time between two log files may be.
        """
        options = self.settings.demo
        activity = Activity(options.seed)
        chance = random.Random(options.seed)  # noqa: S311 - invents faults, guards nothing
        hands = asyncio.Semaphore(DELIVERIES_MAX)
        started = time.monotonic()
        next_report = started + PROGRESS_SECONDS
        for number in count(1):
            elapsed = time.monotonic() - started
            if asked.is_set() or (options.duration and elapsed >= options.duration):
                return
            arrivals = await asyncio.to_thread(self._invent_one, activity, chance)
            await hands.acquire()
            delivery = deliveries.create_task(self._deliver(arrivals))
            delivery.add_done_callback(lambda _: hands.release())
            if time.monotonic() >= next_report:
                next_report += PROGRESS_SECONDS
                self._report(elapsed, service)
            due = started + number / options.rate
            with suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), max(0.0, due - time.monotonic()))

    def _invent_one(self, activity: Activity, chance: random.Random) -> list[Arrival]:
        """
        A log file; behind it, now and then, what happens to real queues and trails as well.
        """
        faults = self.settings.demo.faults
        denied = DENIED_SHARE if faults else USUAL_DENIED_SHARE
        log_file = activity.log_file(datetime.now(UTC), denied=denied)
        arrivals: list[Arrival] = [log_file]
        for name, fault in FAULTS.items() if faults else ():
            if chance.random() < fault.share:
                self.faults[name] += 1
                arrivals.append(fault.invent(activity, log_file))
        return arrivals

    async def _deliver(self, arrivals: Sequence[Arrival]) -> None:
        """
        Deliver a log file, and then what goes wrong beside it.
        """
        self.log_files += 1
        for arrival in arrivals:
            await asyncio.to_thread(self.surroundings.deliver, arrival)
            if isinstance(arrival, WrittenLogFile):
                self.truth.update(
                    {Series(*series): events for series, events in arrival.truth.items()}
                )

    async def _let_it_settle(self, asked: asyncio.Event) -> None:
        """
        Wait until the queue is empty: everything is counted, or in the dead-letter queue.
        """
        print("Done writing; waiting for the queue to empty.", flush=True)
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        while time.monotonic() < deadline and not asked.is_set():
            if not await asyncio.to_thread(self.surroundings.waiting):
                return
            await asyncio.sleep(0.5)

    def _report(self, elapsed: float, service: Service) -> None:
        events = _total(self.truth, EVENTS.name)
        print(
            f"{elapsed:4.0f} s: {self.log_files} log files written with {events} CodeCommit "
            f"events; {_total(_counted(service.ledger), EVENTS.name)} counted so far",
            flush=True,
        )


def _repeat_notification(_: Activity, log_file: WrittenLogFile) -> Arrival:
    return _notification("ObjectCreated:Put", log_file)


def _repeat_through_sns(_: Activity, log_file: WrittenLogFile) -> Arrival:
    envelope = {
        "Type": "Notification",
        "TopicArn": f"arn:aws:sns:{REGION}:123456789012:demo-log-files",
        "Subject": "Amazon S3 Notification",
        "Message": _notification("ObjectCreated:Put", log_file),
        "Timestamp": datetime.now(UTC).isoformat(),
    }
    return json.dumps(envelope)


def _announce_removal(_: Activity, log_file: WrittenLogFile) -> Arrival:
    return _notification("ObjectRemoved:Delete", log_file)


def _notification(event_name: str, log_file: WrittenLogFile) -> str:
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventTime": datetime.now(UTC).isoformat(),
        "eventName": event_name,
        "s3": {"bucket": {"name": BUCKET}, "object": {"key": log_file.key}},
    }
    return json.dumps({"Records": [record]})


def _test_notifications(_: Activity, __: WrittenLogFile) -> Arrival:
    """
    What S3 sends when somebody configures a bucket's notifications.
    """
    return json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET})


def _validate_topic(_: Activity, __: WrittenLogFile) -> Arrival:
    """
    What CloudTrail sends when a trail is given an SNS topic.
    """
    return "CloudTrail validation message."


def _digest(__: Activity, log_file: WrittenLogFile) -> Arrival:
    """
    A digest file, which the bucket announces like a log file.
    """
    _, account, _, region, *day, _ = log_file.key.split("/")
    second = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{account}_CloudTrail-Digest_{region}_demo_{REGION}_{second}.json.gz"
    digest = {"awsAccountId": account, "logFiles": [{"s3Object": log_file.key}]}
    return WrittenLogFile(
        key="/".join(("AWSLogs", account, "CloudTrail-Digest", region, *day, name)),
        body=gzip.compress(json.dumps(digest).encode()),
        truth=Counter(),
    )


def _repeat_events(activity: Activity, log_file: WrittenLogFile) -> Arrival:
    return activity.repeat(log_file, datetime.now(UTC))


def _truncate(activity: Activity, log_file: WrittenLogFile) -> Arrival:
    return activity.truncated(log_file)


def _foreign_message(_: Activity, __: WrittenLogFile) -> Arrival:
    return "Somebody else's message."


class Fault(NamedTuple):
    """
    Something that goes wrong beside this share of the log files, and adds nothing.

    Its message is acknowledged, unless it is ``left`` for the dead-letter queue.
    """

    share: float
    invent: Callable[[Activity, WrittenLogFile], Arrival]
    left: bool = False


FAULTS = {
    "repeated notification": Fault(0.1, _repeat_notification),
    "repeated notification by SNS": Fault(0.1, _repeat_through_sns),
    "repeated events": Fault(0.1, _repeat_events),
    "notification of a removal": Fault(0.05, _announce_removal),
    "test notification of S3": Fault(0.05, _test_notifications),
    "validation message of CloudTrail": Fault(0.05, _validate_topic),
    "digest file": Fault(0.05, _digest),
    "truncated log file": Fault(0.05, _truncate, left=True),
    "foreign message": Fault(0.05, _foreign_message, left=True),
}


def _counted(ledger: Ledger | None) -> Counter[Series]:
    if ledger is None:
        return Counter()
    return Counter(
        {
            series: state.total.amount
            for series, state in ledger.series.items()
            if series.family in _COMPARED
        }
    )


def _total(counts: Counter[Series], family: str) -> int:
    return sum(count for series, count in counts.items() if series.family == family)


def _summary(writer: Writer, service: Service, *, complete: bool) -> int:
    """
    Print what was written beside what was counted; 1 if they differ though all had arrived.
    """
    truth = Counter({one: count for one, count in writer.truth.items() if count})
    counted = _counted(service.ledger)
    print(f"\n{writer.log_files} log files written.{'':24}written   counted")
    for family in COMPARED:
        written, got = _total(truth, family.name), _total(counted, family.name)
        print(f"  {family.name:48}{written:9}{got:10}")
    if writer.settings.demo.faults:
        _print_faults(writer)
    different = [one for one in truth.keys() | counted.keys() if truth[one] != counted[one]]
    if different and not complete:
        print("Stopped early: what was still on its way has not been counted.", flush=True)
        return 0
    if different:
        print(f"{len(different)} series are wrong, for example {different[0]}.", flush=True)
        return 1
    print(f"All {len(truth)} series are right: written equals counted.", flush=True)
    return 0


def _print_faults(writer: Writer) -> None:
    """
    Tell what went wrong, and how many messages were left for the dead-letter queue.
    """
    for name in FAULTS:
        print(f"  {name + ' (adds nothing)':48}{writer.faults[name]:9}")
    left = sum(writer.faults[name] for name, fault in FAULTS.items() if fault.left)
    dead_letters = writer.surroundings.dead_letters()
    print(f"  {'messages left / in the dead-letter queue':48}{left:9}{dead_letters:10}")
