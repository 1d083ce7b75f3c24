"""
The exporter that a good engineer writes first, to measure the real one beside it.

It takes the libraries that everybody takes: aiobotocore, gzip, json and prometheus_client. It
receives ten messages at a time, reads their log files at once, counts, and deletes the ten
with one request; a few such workers run side by side, on uvloop where the exporter would.
What it leaves out is what makes the other one long: a message that is delivered twice counts
twice, and a restart counts from 0.

Run as a module it serves the queue named first, prints the address of its page, and goes on
until standard input closes.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from prometheus_client import Counter, Histogram, start_http_server

from tests.bench.stores import HOST, run

WORKERS = 3
CONNECTIONS_MAX = 50
REPOSITORY = ("account_id", "aws_region", "repository")

LOG_FILES = Counter("log_files", "Log files read.")
EVENTS = Counter(
    "codecommit_events",
    "CodeCommit events.",
    (*REPOSITORY, "action", "protocol", "data_transferred"),
)
DELIVERY = Histogram(
    "codecommit_event_delivery_seconds",
    "From an event to the delivery of its log file.",
    REPOSITORY,
    buckets=(60, 120, 300, 600, 900, 1800, 3600, 86400),
)


def count(record: dict[str, Any], delivered: datetime) -> None:
    """
    Count one CodeCommit event.
    """
    parameters = record.get("requestParameters") or {}
    more = record.get("additionalEventData") or {}
    repository = more.get("repositoryName") or parameters.get("repositoryName") or ""
    where = (record["recipientAccountId"], record["awsRegion"], repository)
    moved = str(more.get("dataTransferred", "")).lower()
    EVENTS.labels(*where, record["eventName"], more.get("protocol", ""), moved).inc()
    waited = delivered - datetime.fromisoformat(record["eventTime"])
    DELIVERY.labels(*where).observe(waited.total_seconds())


async def count_log_files(s3: Any, body: str) -> None:
    """
    Count what the log files hold that one message announces.
    """
    for announced in json.loads(body)["Records"]:
        bucket, key = announced["s3"]["bucket"]["name"], announced["s3"]["object"]["key"]
        answer = await s3.get_object(Bucket=bucket, Key=unquote_plus(key))
        async with answer["Body"] as stream:
            content = await stream.read()
        delivered = datetime.fromisoformat(announced["eventTime"])
        for record in json.loads(gzip.decompress(content))["Records"]:
            if record["eventSource"] == "codecommit.amazonaws.com":
                count(record, delivered)
        LOG_FILES.inc()


async def work(sqs: Any, s3: Any, queue_url: str) -> None:
    """
    Receive, count and delete until cancelled. What fails is not deleted, and comes back.
    """
    while True:
        answer = await sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=20
        )
        messages = answer.get("Messages", [])
        results = await asyncio.gather(
            *(count_log_files(s3, message["Body"]) for message in messages),
            return_exceptions=True,
        )
        done = [
            {"Id": message["MessageId"], "ReceiptHandle": message["ReceiptHandle"]}
            for message, result in zip(messages, results, strict=True)
            if result is None
        ]
        if done:
            await sqs.delete_message_batch(QueueUrl=queue_url, Entries=done)


async def serve(queue_url: str) -> None:
    """
    Work until standard input closes.
    """
    server, _ = start_http_server(0, HOST)
    config = AioConfig(max_pool_connections=CONNECTIONS_MAX)
    session, closed = get_session(), asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), closed.set)
    async with (
        session.create_client("sqs", config=config) as sqs,
        session.create_client("s3", config=config) as s3,
    ):
        workers = [asyncio.create_task(work(sqs, s3, queue_url)) for _ in range(WORKERS)]
        print(f"{HOST}:{server.server_port}", flush=True)  # noqa: T201 - to who started it
        await closed.wait()
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    run(serve(sys.argv[1]))
