"""
The AWS that tests run against: S3 and SQS over real HTTP, on this machine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from types_boto3_s3.client import S3Client
    from types_boto3_sqs.client import SQSClient

REGION: Final = "eu-central-1"
ACCOUNT = "123456789012"
"""The account that moto acts for."""

PATIENCE_SECONDS = 60.0
"""How long a test waits for what must come, at most; nothing ever waits this long in full."""


def eventually(holds: Callable[[], bool], what: str, within: float = PATIENCE_SECONDS) -> None:
    """
    Wait until something holds.

    Args:
        holds: asked again and again.
        what: the thing waited for, for the failure's message.
        within: seconds until patience ends with an AssertionError.
    """
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within:g} s in vain: {what}")
        time.sleep(0.05)


def without(environment: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    """
    An environment without the variables that start like this.
    """
    return {name: value for name, value in environment.items() if not name.startswith(prefixes)}


class AwsServer:
    """
    moto's server as a process of its own, alive inside the ``with`` block.

    It picks its port itself and tells it in its log, so two of them never meet.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self.endpoint = ""

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
                stdout=log,
                stderr=log,
                # The server is not what is measured.
                env=without(os.environ, "COVERAGE_", "MOTO_", "AWS_"),
            )
        try:
            eventually(self._told_its_address, "moto's server tells its address")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _told_its_address(self) -> bool:
        """
        The line comes once the socket listens: whoever connects now will be served.
        """
        log = self._log.read_text(errors="replace")
        if self._process.poll() is not None:
            raise AssertionError(f"moto's server ended: {log}")
        address = re.search(r"Running on (http://127\.0\.0\.1:\d+)", log)
        self.endpoint = address[1] if address else ""
        return bool(address)

    @property
    def environment(self) -> dict[str, str]:
        """
        The variables that lead any AWS client here, with invented credentials.
        """
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def session(self) -> boto3.Session:
        """
        A session of boto3 with the same credentials, untouched by the user's own settings.
        """
        return boto3.Session(
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )


class Depth(NamedTuple):
    """
    How many messages a queue holds, and how many its dead-letter queue.
    """

    visible: int
    in_flight: int
    dead: int


EMPTY = Depth(visible=0, in_flight=0, dead=0)


class Trail:
    """
    Where a trail delivers: a bucket that announces its log files on a queue.

    Everything is wired as a user wires it: queue policy, redrive policy, notification
    configuration. ``lay`` does all of it; the steps can also be taken one by one, and the
    names are known before anything exists.
    """

    def __init__(self, aws: AwsServer, name: str) -> None:
        session = aws.session()
        config = Config(proxies={}, retries={"max_attempts": 0})
        self.s3: S3Client = session.client("s3", endpoint_url=aws.endpoint, config=config)
        self.sqs: SQSClient = session.client("sqs", endpoint_url=aws.endpoint, config=config)
        self.sns: Any = session.client("sns", endpoint_url=aws.endpoint, config=config)
        self.events: Any = session.client("events", endpoint_url=aws.endpoint, config=config)
        self.aws = aws
        self.bucket = f"{name}-logs"
        self.queue = f"{name}-queue"
        self.queue_arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.queue}"
        self.queue_url = f"{aws.endpoint}/{ACCOUNT}/{self.queue}"
        self.dead_letter_queue_url = f"{self.queue_url}-dead"

    def lay(self, visibility_seconds: int = 30, receives: int = 1000) -> Self:
        """
        Make bucket and queues and join them.
        """
        self.make_bucket()
        self.make_queues(visibility_seconds, receives)
        self.announce()
        return self

    def make_bucket(self) -> None:
        """
        Make the bucket, which announces nothing yet.
        """
        self.s3.create_bucket(
            Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )

    def make_queues(self, visibility_seconds: int = 30, receives: int = 1000) -> None:
        """
        Make the queue, and behind it the one for messages received ``receives`` times in vain.
        """
        self.sqs.create_queue(QueueName=f"{self.queue}-dead")
        redrive = {
            "deadLetterTargetArn": f"{self.queue_arn}-dead",
            "maxReceiveCount": receives,
        }
        bucket_may_send = {
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{self.bucket}"}},
        }
        policy = {"Version": "2012-10-17", "Statement": [bucket_may_send]}
        self.sqs.create_queue(
            QueueName=self.queue,
            Attributes={
                "VisibilityTimeout": str(visibility_seconds),
                "RedrivePolicy": json.dumps(redrive),
                "Policy": json.dumps(policy),
            },
        )

    def announce(self) -> None:
        """
        Have the bucket announce each new log file on the queue; S3 sends s3:TestEvent at once.
        """
        self.s3.put_bucket_notification_configuration(
            Bucket=self.bucket,
            NotificationConfiguration={
                "QueueConfigurations": [
                    {
                        "QueueArn": self.queue_arn,
                        "Events": ["s3:ObjectCreated:*"],
                        "Filter": {
                            "Key": {"FilterRules": [{"Name": "suffix", "Value": ".json.gz"}]}
                        },
                    }
                ]
            },
        )

    def announce_on_every_road(self) -> None:
        """
        Have the bucket announce each new object on four roads, which all lead to the queue.

        They are the queue itself, a topic whose messages have envelopes, one whose messages
        have none, and EventBridge.
        """
        topics = [self._make_topic("wrapped", raw=False), self._make_topic("raw", raw=True)]
        created = {"detail-type": ["Object Created"], "detail": {"bucket": {"name": [self.bucket]}}}
        self._make_rule("objects", created)
        self.s3.put_bucket_notification_configuration(
            Bucket=self.bucket,
            NotificationConfiguration={
                "QueueConfigurations": [
                    {"QueueArn": self.queue_arn, "Events": ["s3:ObjectCreated:*"]}
                ],
                "TopicConfigurations": [
                    {"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]} for topic in topics
                ],
                "EventBridgeConfiguration": {},
            },
        )

    def make_event(self, source: str, detail_type: str, detail: str) -> None:
        """
        Let an event happen on EventBridge, of which a rule tells the queue.
        """
        self._make_rule("events", {"source": [source]})
        self.events.put_events(
            Entries=[{"Source": source, "DetailType": detail_type, "Detail": detail}]
        )

    def _make_topic(self, name: str, *, raw: bool) -> str:
        arn = self.sns.create_topic(Name=f"{self.queue}-{name}")["TopicArn"]
        self.sns.subscribe(
            TopicArn=arn,
            Protocol="sqs",
            Endpoint=self.queue_arn,
            Attributes={"RawMessageDelivery": str(raw).lower()},
        )
        return str(arn)

    def _make_rule(self, name: str, pattern: dict[str, Any]) -> None:
        rule = f"{self.queue}-{name}"
        self.events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        self.events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": self.queue_arn}])

    def deliver(self, key: str, body: bytes) -> None:
        """
        Put a log file into the bucket, which then announces it.
        """
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def send(self, body: str) -> None:
        """
        Send a message that is no announcement of the bucket's.
        """
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=body)

    def depth(self) -> Depth:
        """
        Count the messages now, and again while some move from one queue to the other.
        """
        dead = sum(self._messages(self.dead_letter_queue_url))
        while True:
            visible, in_flight = self._messages(self.queue_url)
            if not visible + in_flight:  # moto misses one that comes back just then
                visible, in_flight = self._messages(self.queue_url)
            before, dead = dead, sum(self._messages(self.dead_letter_queue_url))
            if before == dead:
                return Depth(visible, in_flight, dead)

    def _messages(self, queue_url: str) -> tuple[int, int]:
        attributes = self.sqs.get_queue_attributes(
            QueueUrl=queue_url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
            ],
        )["Attributes"]
        return (
            int(attributes["ApproximateNumberOfMessages"]),
            int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        )

    def close(self) -> None:
        """
        Close the connections.
        """
        for client in (self.s3, self.sqs, self.sns, self.events):
            client.close()
