"""
Requests made by a pattern, beside those that botocore makes and signs itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.utils import percent_encode
from hypothesis import given, settings, strategies as st

from exporter.aws.pattern import Pattern, Request

REGION = "eu-central-1"
NUMBER = "0c1d8b9e-64a4-4b3a-a2a0-0f1a2b3c4d5e"

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
tokens = st.none() | st.text("abcXYZ019+/=", min_size=1, max_size=900)
secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
identities = st.builds(ReadOnlyCredentials, secrets.map(lambda _: "AKIDEXAMPLE"), secrets, tokens)
prefixes = st.sampled_from(
    [
        "https://trail.s3.eu-central-1.amazonaws.com/",
        "https://s3.eu-central-1.amazonaws.com/trail.logs/",
        "http://127.0.0.1:9000/trail/",
        "http://[::1]:9000/trail/",
        "http://s3.test:80/trail/",
        "https://USER@S3.test:8443/some/where/trail/",
    ]
)
EMPTY = ReadOnlyCredentials("AKIDEXAMPLE", "secret", None)


def told(request: AWSRequest) -> Request:
    """
    A request as it goes over the wire, with what the SDK adds behind its signature.
    """
    prepared = request.prepare()
    headers = {name.lower(): value for name, value in prepared.headers.items()}
    headers |= {"amz-sdk-invocation-id": NUMBER, "amz-sdk-request": "attempt=1"}
    body: Any = prepared.body
    return Request("POST" if body else "GET", str(prepared.url), headers, body)


def object_request(
    key: str, who: ReadOnlyCredentials, url: str = "https://s3.test/trail/", owner: str = ""
) -> Request:
    """
    A request for an object, by botocore.
    """
    headers = {"User-Agent": "sdk/1 (of  the tests)"}
    if owner:
        headers["x-amz-expected-bucket-owner"] = owner
    request = AWSRequest("GET", url + percent_encode(key, safe="/~"), headers)
    S3SigV4Auth(who, "s3", REGION).add_auth(request)
    return told(request)


def queue_request(body: bytes, who: ReadOnlyCredentials) -> Request:
    """
    A request to a queue, by botocore.
    """
    headers = {"X-Amz-Target": "AmazonSQS.ReceiveMessage", "Content-Type": "application/x-json"}
    request = AWSRequest("POST", "https://sqs.eu-central-1.amazonaws.com/", headers, body)
    SigV4Auth(who, "sqs", REGION).add_auth(request)
    return told(request)


def made_like(
    request: Request, pattern: Pattern | None, key: str, who: ReadOnlyCredentials
) -> bool:
    """
    Whether a pattern makes a request as botocore made it.
    """
    assert pattern
    moment = request.headers["x-amz-date"]
    return request == pattern.request(key, request.body, who, moment, NUMBER)


@given(prefixes, texts, texts, identities, st.sampled_from(["", "123456789012"]))
@settings(deadline=None)
def test_any_object_is_asked_for_as_botocore_asks(
    url: str, first: str, key: str, who: ReadOnlyCredentials, owner: str
) -> None:
    """
    From the request for one object follows that for any other, to the last byte.
    """
    pattern = Pattern.of(object_request(first, who, url, owner), first, who)

    assert made_like(object_request(key, who, url, owner), pattern, key, who)


@given(st.binary(min_size=1), st.binary(min_size=1), identities)
def test_a_queue_is_asked_anything_as_botocore_asks(
    first: bytes, body: bytes, who: ReadOnlyCredentials
) -> None:
    """
    From one request to a queue follows that with any other body.
    """
    pattern = Pattern.of(queue_request(first, who), "", who)

    assert made_like(queue_request(body, who), pattern, "", who)


@given(identities, identities)
def test_a_pattern_outlives_its_credentials(
    before: ReadOnlyCredentials, after: ReadOnlyCredentials
) -> None:
    """
    New credentials sign from then on, unless they are of another kind.
    """
    pattern = Pattern.of(object_request("one", before), "one", before)

    assert pattern
    assert pattern.suits(after) == (bool(before.token) == bool(after.token))
    if pattern.suits(after):
        assert made_like(object_request("two", after), pattern, "two", after)
        assert made_like(object_request("one", before), pattern, "one", before)


@pytest.mark.parametrize("day", ["20251231T235959Z", "20260101T000000Z"])
def test_a_key_is_for_a_day(day: str) -> None:
    """
    After midnight another key signs; what it signs is its own.
    """
    request = object_request("one", EMPTY)
    pattern = Pattern.of(request, "one", EMPTY)

    assert pattern
    before = pattern.request("one", None, EMPTY, day, NUMBER)
    pattern.request("one", None, EMPTY, "20240229T120000Z", NUMBER)

    assert before == pattern.request("one", None, EMPTY, day, NUMBER)
    assert f"/{day[:8]}/" in before.headers["authorization"]


def without(request: Request, *names: str) -> Request:
    headers = {name: value for name, value in request.headers.items() if name not in names}
    return replace(request, headers=headers)


def having(request: Request, **headers: str) -> Request:
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    return replace(request, headers={**request.headers, **spelled})


OBJECT = object_request("one", EMPTY)


@pytest.mark.parametrize(
    "request_",
    [
        without(OBJECT, "authorization"),
        without(OBJECT, "x-amz-date"),
        without(OBJECT, "amz-sdk-invocation-id"),
        without(OBJECT, "amz-sdk-request"),
        without(OBJECT, "x-amz-content-sha256"),
        having(OBJECT, amz_sdk_request="attempt=2; max=3"),
        having(OBJECT, amz_sdk_request="attempt=1; ttl=20260101T000000Z; max=3"),
        having(OBJECT, x_amz_checksum_mode="ENABLED"),
        having(OBJECT, x_amz_security_token="of another"),
        having(OBJECT, authorization="Bearer secret"),
        having(
            OBJECT, authorization="AWS4-ECDSA-P256-SHA256 Credential=a/20260101/s3/aws4_request"
        ),
        having(
            OBJECT, authorization=OBJECT.headers["authorization"].replace("/s3/", "/s3express/")
        ),
        replace(OBJECT, url=OBJECT.url + "?versionId=1"),
        replace(OBJECT, url="https://s3.test/trail/another"),
        replace(OBJECT, url="https://another.test/trail/one"),
        replace(OBJECT, method="HEAD"),
        replace(OBJECT, body=b"something"),
        object_request("one", EMPTY._replace(secret_key="another's")),
        object_request("one", EMPTY._replace(access_key="another")),
        object_request("one", EMPTY._replace(token="a session's")),
    ],
)
def test_what_is_not_understood_is_no_pattern(request_: Request) -> None:
    """
    A request that does not come out the same is left to the SDK.
    """
    assert Pattern.of(request_, "one", EMPTY) is None
