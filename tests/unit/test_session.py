"""
Clients of the real kind, answered before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.awsrequest import AioAWSResponse
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidRegionError,
    NoRegionError,
    ResponseStreamingError,
)

from exporter.aws.failures import described
from exporter.aws.session import NO_ANSWER, Session
from exporter.aws.shortcut import OK
from exporter.telemetry import AWS_OPERATIONS
from tests.fakes import QUEUE_URL, no_connection, refusal

Told = list[tuple[str, str, str]]


class Raw:
    """
    The content of an answer as aiobotocore reads it.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self) -> bytes:
        return self._content


def answering(
    status: int, content: bytes = b"", **headers: str
) -> Callable[..., AioAWSResponse | None]:
    """
    A server in botocore's ``before-send`` event: its answer stands for the network's.
    """

    def answer(**_: object) -> AioAWSResponse:
        spelled: Any = {name.replace("_", "-"): value for name, value in headers.items()}
        return AioAWSResponse("https://aws.invalid/", status, spelled, Raw(content))

    return answer


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Credentials of nobody, and nothing from the user's own files.
    """
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)


async def no_sleep(_seconds: float) -> None:
    """
    What waits between two tries.
    """


async def ask(
    service: str, operation: str, server: Callable[..., Any], **parameters: object
) -> tuple[Told, Exception | None]:
    """
    Make one request; return what was told of it and what it raised.
    """
    told: Told = []
    session = Session(lambda *happening: told.append(happening))
    async with session.client(service, region="eu-central-1") as client:
        client.meta.events.register("before-send", server)
        try:
            await getattr(client, operation)(**parameters)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return told, error
    return told, None


async def test_a_success_is_told() -> None:
    """
    An answered request is told by service, operation and ``ok``.
    """
    told, error = await ask("s3", "head_bucket", answering(200), Bucket="trail")

    assert error is None
    assert [("s3", "HeadBucket", OK)] == told


async def test_a_refusal_is_told_by_its_code() -> None:
    """
    An error answer is told by AWS's own code.
    """
    denied = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    told, error = await ask("s3", "get_object", answering(403, denied), Bucket="trail", Key="one")

    assert isinstance(error, ClientError)
    assert [("s3", "GetObject", "AccessDenied")] == told


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (
            {"x_amzn_query_error": "AWS.SimpleQueueService.NonExistentQueue;Sender"},
            "AWS.SimpleQueueService.NonExistentQueue",
        ),
        ({}, "QueueDoesNotExist"),
    ],
    ids=["as_before", "as_modelled"],
)
async def test_a_missing_queue_has_two_codes(headers: Mapping[str, str], code: str) -> None:
    """
    SQS names a missing queue as it did before it spoke JSON; without that header, otherwise.
    """
    answer = answering(400, b'{"__type": "com.amazonaws.sqs#QueueDoesNotExist"}', **headers)
    told, error = await ask(
        "sqs", "get_queue_attributes", answer, QueueUrl=QUEUE_URL, AttributeNames=["All"]
    )

    assert isinstance(error, ClientError)
    assert code == described(error)[0]
    assert [("sqs", "GetQueueAttributes", code)] == told


async def test_a_bucket_is_followed_to_its_region() -> None:
    """
    Where S3 names the bucket's Region, it is asked there: another host, another signature.
    """
    asked: list[tuple[str, str]] = []

    def server(*, request: AWSPreparedRequest, **_: object) -> AioAWSResponse | None:
        scope = str(request.headers["Authorization"]).split("/")[2]
        asked.append((request.url, scope))
        answer = answering(301, x_amz_bucket_region="eu-west-1")
        return (answer if len(asked) == 1 else answering(200))()

    told, error = await ask("s3", "head_bucket", server, Bucket="trail")

    assert error is None
    assert [
        ("https://trail.s3.eu-central-1.amazonaws.com/", "eu-central-1"),
        ("https://trail.s3.eu-west-1.amazonaws.com/", "eu-west-1"),
    ] == asked
    assert ["301", OK] == [code for _, _, code in told]


async def test_every_try_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A request that the SDK makes again is told as often as it was made.
    """
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setattr("asyncio.sleep", no_sleep)
    busy = b"<Error><Code>SlowDown</Code><Message>wait</Message></Error>"
    answers = iter([answering(503, busy), answering(200)])
    told, error = await ask("s3", "head_bucket", lambda **_: next(answers)(), Bucket="trail")

    assert error is None
    assert ["SlowDown", OK] == [code for _, _, code in told]


async def test_no_answer_is_told() -> None:
    """
    A request that reaches nobody is told as such.
    """

    def unreachable(**_: object) -> None:
        raise no_connection()

    told, error = await ask("sqs", "receive_message", unreachable, QueueUrl=QUEUE_URL)

    assert isinstance(error, EndpointConnectionError)
    assert [("sqs", "ReceiveMessage", NO_ANSWER)] == told


async def test_operations_are_told_by_the_names_of_the_metric() -> None:
    """
    The closed set of the metric's labels has the names that botocore uses.
    """
    session = Session(lambda *_: None)
    for service, operations in AWS_OPERATIONS.items():
        async with session.client(service, region="eu-central-1") as client:
            assert service == client.meta.service_model.service_id.hyphenize()
            assert set(operations) <= set(client.meta.service_model.operation_names)


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({}, None),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, "us-east-1"),
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"}, "eu-west-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-east-1"}, "us-east-1"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_the_region_of_every_other_sdk_comes_first(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], region: str | None
) -> None:
    """
    AWS_REGION, then botocore's own variable, then nothing.
    """
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert region == Session(lambda *_: None).region


async def test_the_callers_region_comes_before_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A queue is asked in its own Region, whatever the environment says.
    """
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    session = Session(lambda *_: None)
    async with session.client("sqs", region="eu-west-1") as own, session.client("sqs") as other:
        regions = (own.meta.region_name, other.meta.region_name)

    assert ("eu-west-1", "us-east-1") == regions


async def test_without_a_region_there_is_no_client() -> None:
    """
    Where neither the caller nor the environment names a Region, botocore says so.
    """
    with pytest.raises(NoRegionError):
        async with Session(lambda *_: None).client("sqs"):
            pass


def test_a_refusal_is_described_without_its_message() -> None:
    """
    AWS's message names the caller, often a person; operation, code and status say enough.
    """
    assert ("AccessDenied", "GetObject answered AccessDenied (HTTP 403)") == described(
        refusal("GetObject", "AccessDenied", 403)
    )


def test_an_answer_without_a_code_is_described() -> None:
    """
    An answer may lack everything.
    """
    assert ("Unknown", "GetObject answered Unknown (HTTP 0)") == described(
        ClientError({}, "GetObject")
    )


@pytest.mark.parametrize("code", ["", "arn:aws:iam::1:user/me", "two words", "A" * 81, "\n", "é"])
def test_a_code_that_is_none_is_not_repeated(code: str) -> None:
    """
    What stands where a code should is told only if it is one.
    """
    assert ("Unknown", "GetObject answered Unknown (HTTP 400)") == described(
        refusal("GetObject", code)
    )


@pytest.mark.parametrize(
    "error",
    [
        HTTPClientError(error="Bad status line: wilhelmine.tell"),
        ResponseStreamingError(error="Bad chunk-size line: wilhelmine.tell"),
        InvalidRegionError(region_name="wilhelmine.tell"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_answer_that_is_none_is_not_repeated(error: Exception) -> None:
    """
    Where botocore quotes what it could not read, the name of its error is all that is told.
    """
    assert ("", type(error).__name__) == described(error)


def test_a_failure_of_the_network_is_described() -> None:
    """
    Without an answer there is no code.
    """
    code, words = described(no_connection())

    assert "" == code
    assert "https://aws.invalid/" in words
