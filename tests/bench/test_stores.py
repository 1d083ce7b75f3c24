"""
The stand-ins for S3 and SQS answer as the services do, and the floor reads from them.
"""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.bench import floor
from tests.bench.corpora import org
from tests.bench.stores import BUCKET, REGION, Stores
from tests.processes import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "AWSLogs/111122223333/CloudTrail/eu-central-1/2026/01/01/one.json.gz"
BODY = b"\x1f\x8b and so on"


@pytest.fixture(scope="module")
def stores() -> Iterator[Stores]:
    with Stores(clean_environment()) as stores:
        yield stores


def client(service: str, stores: Stores) -> Any:
    environment = stores.environment
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=environment[f"AWS_ENDPOINT_URL_{service.upper()}"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture
def s3(stores: Stores) -> Iterator[Any]:
    one = client("s3", stores)
    yield one
    one.close()


@pytest.fixture
def sqs(stores: Stores) -> Iterator[Any]:
    one = client("sqs", stores)
    yield one
    one.close()


def received(sqs: Any, stores: Stores, **more: object) -> list[dict[str, Any]]:
    answer = sqs.receive_message(
        QueueUrl=stores.queue_url,
        MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        **{"MaxNumberOfMessages": 10, "WaitTimeSeconds": 20} | more,
    )
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages


def delete(sqs: Any, stores: Stores, messages: list[dict[str, Any]]) -> dict[str, Any]:
    entries = [
        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
        for number, message in enumerate(messages)
    ]
    answer: dict[str, Any] = sqs.delete_message_batch(QueueUrl=stores.queue_url, Entries=entries)
    return answer


def test_an_object_comes_as_cloudtrail_stores_it(stores: Stores, s3: Any) -> None:
    """
    It has its bytes, its own ETag, and the headers of gzipped JSON.
    """
    stores.put({KEY: BODY})

    s3.head_bucket(Bucket=BUCKET)
    answer = s3.get_object(Bucket=BUCKET, Key=KEY)

    assert BODY == answer["Body"].read()
    assert f'"{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}"' == answer["ETag"]
    assert ("gzip", "application/json") == (answer["ContentEncoding"], answer["ContentType"])


def test_what_is_not_there_is_missing(s3: Any) -> None:
    """
    A key without an object is NoSuchKey, a bucket of another name 404.
    """
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=BUCKET, Key="nothing")
    with pytest.raises(ClientError, match="404"):
        s3.head_bucket(Bucket="other")


def test_a_message_announces_one_log_file_and_is_deleted(stores: Stores, sqs: Any) -> None:
    """
    Each message names one key, has the right checksum, and is not left once it is deleted.
    """
    keys = [f"{number}.json.gz" for number in range(12)]
    stores.announce(keys)
    messages = [*received(sqs, stores), *received(sqs, stores)]

    assert 12 == stores.left()
    for message, key in zip(messages, keys, strict=True):
        body = message["Body"]
        (record,) = json.loads(body)["Records"]
        assert (BUCKET, key) == (record["s3"]["bucket"]["name"], record["s3"]["object"]["key"])
        assert hashlib.md5(body.encode(), usedforsecurity=False).hexdigest() == message["MD5OfBody"]
        assert "1" == message["Attributes"]["ApproximateReceiveCount"]

    assert 10 == len(delete(sqs, stores, messages[:10])["Successful"])
    for message in messages[10:]:
        sqs.delete_message(QueueUrl=stores.queue_url, ReceiptHandle=message["ReceiptHandle"])
    assert 0 == stores.left()


def test_a_message_comes_back_with_another_receipt(stores: Stores, sqs: Any) -> None:
    """
    One that is given back is received again and counts its receipts; it can be hidden anew.
    """
    stores.announce(["again.json.gz"])
    (first,) = received(sqs, stores)
    sqs.change_message_visibility(
        QueueUrl=stores.queue_url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0
    )
    (second,) = received(sqs, stores, VisibilityTimeout=1)
    (third,) = received(sqs, stores)

    assert ["2", "3"] == [each["Attributes"]["ApproximateReceiveCount"] for each in (second, third)]
    assert 3 == len({each["ReceiptHandle"] for each in (first, second, third)})
    with pytest.raises(ClientError, match="MessageNotInflight"):
        sqs.change_message_visibility(
            QueueUrl=stores.queue_url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=5
        )
    delete(sqs, stores, [third])


def test_a_long_poll_is_answered_by_the_next_message(stores: Stores, sqs: Any) -> None:
    """
    Who waits for messages has them as soon as they come; who does not wait has none.
    """
    messages: list[dict[str, Any]] = []

    assert [] == received(sqs, stores, WaitTimeSeconds=0)

    waiting = threading.Thread(target=lambda: messages.extend(received(sqs, stores)))
    waiting.start()
    stores.announce(["late.json.gz"])
    waiting.join()

    assert 1 == len(messages)
    delete(sqs, stores, messages)


def test_the_queue_tells_how_full_it_is(stores: Stores, sqs: Any) -> None:
    """
    Messages are visible or in flight; another queue does not exist.
    """
    stores.announce(["one.json.gz", "two.json.gz"])
    messages = received(sqs, stores, MaxNumberOfMessages=1)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = sqs.get_queue_attributes(QueueUrl=stores.queue_url, AttributeNames=names)

    assert dict.fromkeys(names, "1") == answer["Attributes"]
    with pytest.raises(ClientError, match="QueueDoesNotExist"):
        sqs.get_queue_url(QueueName="other")
    delete(sqs, stores, messages + received(sqs, stores))


def test_the_floor_reads_every_log_file(stores: Stores) -> None:
    """
    It finds CodeCommit's name where inflating the bytes at hand does.
    """
    corpus = org(40)
    stores.put({file.key: file.body for file in corpus.files})

    naming = sum(b"codecommit" in floor.inflated(body) for body in corpus.bodies)
    told = floor.measured(stores.s3_port, corpus.keys, stores.environment)

    assert naming == told.naming_codecommit > 0


def test_the_floor_does_not_pass_over_a_missing_object(stores: Stores) -> None:
    """
    An object that is not there ends it, so that no reading is cheaper than it looks.
    """
    with pytest.raises(RuntimeError, match="404"):
        floor.read(stores.s3_port, ["nothing"])
