"""
Buckets in other Regions, of other owners, with other names, and their bodies, over real HTTP.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session

from exporter.aws import session as session_module
from exporter.aws.objects import Buckets, Objects
from exporter.aws.session import Session
from exporter.errors import (
    BucketElsewhere,
    BucketMissing,
    KeyGone,
    LogFileArchived,
    LogFileDenied,
    LogFileLocked,
    LogFileMissing,
    LogFileThrottled,
    LogFileUnavailable,
    OversizedLogFile,
    RefusedBucket,
)
from exporter.notifications import LogFile
from exporter.values import AllowedBucket
from tests import records
from tests.fakes import announcement
from tests.processes import Exporter, clean_environment
from tests.s3_fake import HOST, OWNER, PERSON, Answer, Bucket, S3Server, chunked, refused, whole
from tests.servers import EMPTY, Trail

NEAR = "eu-central-1"
FAR = "ap-southeast-2"
STRANGER = "999999999999"
CAP = 100_000
CONTENT = gzip.compress(b'{"Records": []}')

FILE = LogFile("trail", "one")


_shared = cache(get_session)
"""Every test's session, for reading the description of S3 takes longer than any test."""


class Resolver:
    """
    Leads every name to this machine, and remembers which were looked up.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._resolve: Callable[..., Any] = socket.getaddrinfo

    def __call__(self, host: str, *arguments: Any, **more: Any) -> Any:
        self.names.append(host)
        return self._resolve("127.0.0.1", *arguments, **more)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


@pytest.fixture
async def s3(
    resolver: Resolver,  # noqa: ARG001 - leads here
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> AsyncIterator[S3Server]:
    """
    An S3 with one bucket near and one file in it, to which the environment leads.
    """
    monkeypatch.setattr(session_module, "get_session", _shared)
    async with S3Server() as s3:
        s3.buckets["trail"] = Bucket(objects={"one": whole(CONTENT)})
        for name in ("AWS_PROFILE", "HTTP_PROXY", "http_proxy", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {
            "AWS_ENDPOINT_URL_S3": s3.endpoint,
            "AWS_REGION": NEAR,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        }.items():
            monkeypatch.setenv(name, value)
        yield s3


class Reader:
    """
    The program's own way to S3, and what its session told of it.
    """

    def __init__(self, objects: Objects, told: list[tuple[str, str, str]]) -> None:
        self.objects = objects
        self.told = told

    async def read(self, log_file: LogFile = FILE) -> bytes:
        async with self.objects.fetch(log_file) as body:
            return body

    async def failure(self, log_file: LogFile = FILE) -> LogFileUnavailable:
        """
        Why a file cannot be had; nothing in it, or in its hint, names a person.
        """
        with pytest.raises(LogFileUnavailable) as caught:
            await self.read(log_file)
        assert PERSON not in f"{caught.value} {caught.value.hint}"
        return caught.value


@asynccontextmanager
async def reading(
    *allowed: str, any_bucket: bool = False, owner: str | None = None
) -> AsyncIterator[Reader]:
    """
    A reader of the buckets written as ``--s3.allowed-bucket`` has them.
    """
    told = list[tuple[str, str, str]]()
    session = Session(lambda *happening: told.append(happening))
    buckets = Buckets(map(AllowedBucket.read, allowed), any_bucket=any_bucket, owner=owner)
    async with session.client("s3") as client:
        yield Reader(Objects(client, buckets, compressed_bytes_max=CAP), told)


# Regions ---------------------------------------------------------------------------------

ELSEWHERE = {
    "301": refused(301, "PermanentRedirect", x_amz_bucket_region=FAR),
    "301 without the Region": refused(301, "PermanentRedirect"),
    "307": refused(307, "TemporaryRedirect", x_amz_bucket_region=FAR),
    "307 to another host": refused(
        307,
        "TemporaryRedirect",
        x_amz_bucket_region=FAR,
        Location="http://elsewhere.test/trail/one",
    ),
    "307 without the Region": refused(307, "TemporaryRedirect", Location="http://elsewhere.test/"),
    "400 with the Region": refused(400, "AuthorizationHeaderMalformed", region=FAR),
    "400 with the Region in a header": refused(
        400, "AuthorizationHeaderMalformed", x_amz_bucket_region=FAR
    ),
    "400 of an opt-in Region": refused(
        400, "IllegalLocationConstraintException", x_amz_bucket_region=FAR
    ),
    "400 of an opt-in Region without it": refused(400, "IllegalLocationConstraintException"),
}
"""How S3 answers where a bucket is in another Region (S3 API Reference, "Error responses")."""


@pytest.mark.parametrize("answer", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_a_bucket_is_followed_to_its_region(
    s3: S3Server, resolver: Resolver, answer: Answer
) -> None:
    """
    One client reads buckets in several Regions; a move is paid for once, not for each file.

    Only where the answer does not name the Region is S3 asked for it, once. No other host
    than S3's is looked up, whatever an answer says.
    """
    s3.buckets["trail"] = Bucket(FAR, objects={"one": whole(CONTENT)}, elsewhere=answer)
    s3.buckets["near"] = Bucket(NEAR, objects={"one": whole(b"near")})
    async with reading("trail", "near") as reader:
        bodies = [await reader.read() for _ in range(3)]
        near = await reader.read(LogFile("near", "one"))

    asks = [f"HEAD trail/ in {NEAR}"] if "x-amz-bucket-region" not in answer.headers else []
    asks = [] if b"<Region>" in answer.body else asks
    first, *others = s3.asked
    assert ([CONTENT] * 3, b"near") == (bodies, near)
    assert f"GET trail/one in {NEAR}" == first
    assert [*asks, *[f"GET trail/one in {FAR}"] * 3, f"GET near/one in {NEAR}"] == [
        each for each in others if each != f"HEAD trail/ in {FAR}"
    ]
    assert {HOST} == set(resolver.names)


async def test_looking_at_a_bucket_tells_its_region(s3: S3Server) -> None:
    """
    After the look at each bucket when the program starts, no file is asked for in vain.
    """
    s3.buckets["trail"] = Bucket(FAR, objects={"one": whole(CONTENT)})
    async with reading(f"trail={OWNER}") as reader:
        there = await reader.objects.check_bucket("trail")
        await reader.read()

    assert there
    assert [
        f"HEAD trail/ in {NEAR}",
        f"HEAD trail/ in {FAR}",
        f"GET trail/one in {FAR}",
    ] == s3.asked
    assert [OWNER] * 3 == [one.headers["x-amz-expected-bucket-owner"] for one in s3.requests]


async def test_every_request_is_told(s3: S3Server) -> None:
    """
    A request that was redirected is told as such, and so is the one that follows it.
    """
    s3.buckets["trail"] = Bucket(FAR, objects={"one": whole(CONTENT)})
    async with reading("trail") as reader:
        await reader.read()

    assert ["GetObject", "HeadBucket", "HeadBucket", "GetObject"] == [
        operation for _, operation, _ in reader.told
    ]
    assert ["PermanentRedirect", "301", "ok", "ok"] == [code for _, _, code in reader.told]


@pytest.mark.parametrize("answer", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_a_bucket_whose_region_is_not_told(s3: S3Server, answer: Answer) -> None:
    """
    Where not even HeadBucket tells the Region, the error says what to set, and that is all.
    """
    told = {name: value for name, value in answer.headers.items() if name != "x-amz-bucket-region"}
    body = answer.body.replace(f"<Region>{FAR}</Region>".encode(), b"")
    nameless = Answer(answer.status, body, told | {"Content-Length": str(len(body))})
    s3.buckets["trail"] = Bucket(FAR, elsewhere=nameless, tells_region=False)
    async with reading("trail") as reader:
        error = await reader.failure()
        with pytest.raises(LogFileUnavailable):
            await reader.objects.check_bucket("trail")

    assert BucketElsewhere is type(error)
    assert str(error).startswith("s3://trail/one: GetObject answered ")
    assert "Set AWS_REGION to the bucket's Region." == error.hint
    assert len(s3.requests) <= 3


async def test_a_bucket_that_moves_back(s3: S3Server) -> None:
    """
    What is remembered of a bucket ends when S3 says otherwise.
    """
    at = {"x_amz_bucket_region": FAR}
    s3.buckets["trail"] = Bucket(FAR, elsewhere=refused(301, "PermanentRedirect", **at))
    s3.buckets["trail"].objects["one"] = whole(CONTENT)
    async with reading("trail") as reader:
        await reader.read()
        at = {"x_amz_bucket_region": NEAR}
        s3.buckets["trail"] = Bucket(NEAR, elsewhere=refused(301, "PermanentRedirect", **at))
        s3.buckets["trail"].objects["one"] = whole(b"again")
        again = await reader.read()

    assert b"again" == again


async def test_a_region_that_is_none(s3: S3Server) -> None:
    """
    A Region that cannot be one leads nowhere, and is not repeated.
    """
    s3.buckets["trail"] = Bucket(
        FAR, elsewhere=refused(301, "PermanentRedirect", x_amz_bucket_region=f"{PERSON}.test/")
    )
    async with reading("trail") as reader:
        error = await reader.failure()

    assert BucketElsewhere is type(error)
    assert 1 == len(s3.requests)


# Owners and keys -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "owner", "sent"),
    [
        (["trail"], None, None),
        ([f"trail={OWNER}"], None, OWNER),
        ([f"trail={OWNER}"], STRANGER, OWNER),
        (["trail"], OWNER, OWNER),
        (["other"], OWNER, OWNER),
        ([], OWNER, OWNER),
        ([], None, None),
    ],
)
async def test_the_owner_that_is_expected(
    s3: S3Server, allowed: list[str], owner: str | None, sent: str | None
) -> None:
    """
    A bucket's own OWNER comes first, then that of all; without either S3 is told of none.
    """
    async with reading(*allowed, any_bucket="trail" not in str(allowed), owner=owner) as reader:
        await reader.read()

    assert [sent] == [one.headers.get("x-amz-expected-bucket-owner") for one in s3.requests]


async def test_a_bucket_of_somebody_else(s3: S3Server) -> None:
    """
    Where an owner was expected, a denied file may be another's, and the error says so.
    """
    s3.buckets["trail"].owner = STRANGER
    async with reading(f"trail={OWNER}") as reader:
        error = await reader.failure()
        there = await reader.objects.check_bucket("trail")

    assert LogFileDenied is type(error)
    assert (
        "s3://trail/one: GetObject answered AccessDenied (HTTP 403); "
        f"the bucket may not belong to account {OWNER}" == str(error)
    )
    assert not there


NOT_AUTHORIZED = (
    f"User: arn:aws:iam::{OWNER}:user/{PERSON} is not authorized to perform: kms:Decrypt on "
    "the resource associated with this ciphertext"
)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (refused(403, "AccessDenied"), LogFileDenied, "(HTTP 403)"),
        (refused(403, "AccessDenied", NOT_AUTHORIZED), LogFileLocked, "KMS key may not be used"),
        (refused(400, "KMS.DisabledException"), KeyGone, "its KMS key is disabled"),
        (refused(400, "KMS.NotFoundException"), KeyGone, "its KMS key does not exist"),
        (refused(400, "KMS.InvalidStateException"), KeyGone, "waits for its deletion"),
        (refused(400, "KMS.KMSInvalidStateException"), KeyGone, "waits for its deletion"),
        (refused(400, "KMS.InvalidKeyUsageException"), LogFileLocked, "(HTTP 400)"),
        (refused(400, "KMS.ThrottlingException"), LogFileUnavailable, "KMS does not answer S3"),
        (refused(403, "InvalidObjectState"), LogFileArchived, "it is archived"),
        (refused(404, "NoSuchKey"), LogFileMissing, "(HTTP 404)"),
        (refused(404, "NoSuchBucket"), BucketMissing, "(HTTP 404)"),
        (refused(400, "ExpiredToken"), LogFileUnavailable, "the credentials have expired"),
        (refused(403, "InvalidAccessKeyId"), LogFileUnavailable, "the credentials are not valid"),
        (refused(403, "RequestTimeTooSkewed"), LogFileUnavailable, "this machine's clock is wrong"),
        (refused(503, "SlowDown"), LogFileThrottled, "SlowDown (HTTP 503)"),
        (refused(500, "InternalError"), LogFileUnavailable, "InternalError (HTTP 500)"),
        (refused(418, PERSON + " was here"), LogFileUnavailable, "Unknown (HTTP 418)"),
        (
            Answer(502, PERSON.encode(), {"Content-Length": str(len(PERSON))}),
            LogFileUnavailable,
            "(HTTP 502)",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_every_refusal_has_its_words(
    s3: S3Server, answer: Answer, kind: type[LogFileUnavailable], said: str
) -> None:
    """
    What S3 answers is told by what it means, without a word of the answer's own message.
    """
    s3.buckets["trail"].objects["one"] = answer
    async with reading("trail") as reader:
        error = await reader.failure()

    assert kind is type(error)
    assert said in str(error)
    assert str(error).startswith("s3://trail/one: GetObject answered ")


async def test_hints() -> None:
    """
    The hint of a refusal says what to look at.
    """
    assert "kms:Decrypt" in LogFileLocked.hint
    assert "s3:RestoreObject" in LogFileArchived.hint
    assert "AWS_PROFILE" in LogFileUnavailable.hint


# Bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        whole(CONTENT),
        whole(CONTENT, Content_Encoding="gzip", Content_Type="application/json"),
        chunked(CONTENT),
        chunked(CONTENT[:5], CONTENT[5:6], CONTENT[6:]),
    ],
    ids=["whole", "encoded", "chunked", "in small chunks"],
)
async def test_a_body_is_read_as_it_is_stored(s3: S3Server, answer: Answer) -> None:
    """
    It is not inflated, and without a length it is read to its end.
    """
    s3.buckets["trail"].objects["one"] = answer
    async with reading("trail") as reader:
        body = await reader.read()

    assert CONTENT == body


async def test_a_body_that_is_longer_than_its_length(s3: S3Server) -> None:
    """
    What exceeds a body's length is part neither of it nor of the next one.

    Whether it spoils the answer depends on how much of it comes along with the rest.
    """
    longer = whole(CONTENT + b"and more", announced=len(CONTENT))
    s3.buckets["trail"].objects |= {"one": longer, "two": whole(b"the next")}
    async with reading("trail") as reader:
        with suppress(LogFileUnavailable):
            assert CONTENT == await reader.read()
        following = await reader.read(LogFile("trail", "two"))

    assert b"the next" == following


@pytest.mark.parametrize(
    "answer",
    [
        whole(CONTENT, announced=len(CONTENT) + 1),
        whole(b"", announced=1),
        chunked(CONTENT, ends=False),
    ],
    ids=["cut short", "empty", "chunked and cut short"],
)
async def test_a_body_that_is_cut_short_is_no_log_file(s3: S3Server, answer: Answer) -> None:
    """
    Part of a body is never handed over.
    """
    s3.buckets["trail"].objects["one"] = answer
    async with reading("trail") as reader:
        error = await reader.failure()

    assert LogFileUnavailable is type(error)
    assert str(error).startswith("s3://trail/one: ")


@pytest.mark.parametrize(
    ("size", "fits"), [(CAP, True), (CAP + 1, False)], ids=["at the cap", "over it"]
)
@pytest.mark.parametrize("answer", [whole, chunked])
async def test_the_cap_is_to_the_byte(
    s3: S3Server, answer: Callable[[bytes], Answer], size: int, *, fits: bool
) -> None:
    """
    What has as many bytes as may be is read; one byte more is refused, told or not.
    """
    s3.buckets["trail"].objects["one"] = answer(bytes(size))
    async with reading("trail") as reader:
        if fits:
            assert bytes(size) == await reader.read()
        else:
            with pytest.raises(OversizedLogFile, match="s3://trail/one has "):
                await reader.read()


# Names -----------------------------------------------------------------------------------

HOSTILE = [
    "",
    "ab",
    "a" * 64,
    "a" * 100_000,
    "Trail",
    "TRAIL",
    "trail_logs",
    "trail ",
    " trail",
    "trail logs",
    "trail\n",
    "trail\r\nHost: evil.test",
    "trail\0",
    "trail\t",
    "tra\u0131l",
    "тrail",
    "trail\u202e",
    "trail\ud800",
    "-trail",
    "trail-",
    ".trail",
    "trail.",
    "..",
    "trail..logs",
    "../trail",
    "trail/..",
    "trail/one",
    "/trail",
    "//evil.test",
    "trail%2fone",
    "%74rail",
    "trail?acl",
    "trail#one",
    "trail;x",
    "trail\\one",
    "s3://trail",
    "https://evil.test/",
    "user@evil.test",
    "evil.test:80",
    "trail:80",
    "trail=123456789012",
    "trail,other",
    "10.0.0.1",
    "169.254.169.254",
    "[::1]",
    "::1",
    "trail.s3.amazonaws.com/",
    "trail.s3.amazonaws.com",
    "s3.cn-north-1.amazonaws.com.cn",
    "arn:aws:s3:::trail",
    "arn:aws:s3:eu-central-1:123456789012:accesspoint/wilhelmine.tell",
    "arn:aws:s3:eu-central-1:123456789012:accesspoint:wilhelmine.tell",
    "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
    "arn:aws:s3::123456789012:accesspoint:mfzwi23gnjvgw.mrap",
    "arn:aws:s3-object-lambda:eu-central-1:123456789012:accesspoint/wilhelmine.tell",
    "arn:aws:s3-outposts:eu-central-1:123456789012:outpost/op-1/accesspoint/one",
    "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/one",
    "arn:",
    "mfzwi23gnjvgw.mrap",
    "trail-abcdefgh-s3alias",
    "trail-abcdefgh--ol-s3",
    "trail--euc1-az1--x-s3",
    "trail--euc1-az1--xa-s3",
    "trail-o0000abcdefgh--op-s3",
    "trail--table-s3",
]
"""Names that lead, or would in some client, anywhere but to a general purpose bucket."""


@pytest.mark.parametrize("any_bucket", [False, True], ids=["listed", "any"])
async def test_hostile_names_cause_no_request(
    s3: S3Server, resolver: Resolver, *, any_bucket: bool
) -> None:
    """
    None of them is asked for or looked up, even where any bucket may be read; a good one is.

    They are not repeated either: an ARN may hold a person's name.
    """
    async with reading("trail", any_bucket=any_bucket) as reader:
        for name in HOSTILE:
            with pytest.raises(RefusedBucket, match="not allowed") as caught:
                await reader.read(LogFile(name, "one"))
            assert f"a bucket's name of {len(name)} characters" in str(caught.value)
            with pytest.raises(RefusedBucket):
                await reader.objects.check_bucket(name)
        silent = (list(s3.requests), list(resolver.names), list(reader.told))
        body = await reader.read()

    assert len(HOSTILE) >= 40
    assert ([], [], []) == silent
    assert CONTENT == body
    assert ([f"GET trail/one in {NEAR}"], [HOST]) == (s3.asked, resolver.names)


@pytest.mark.parametrize(
    ("name", "any_bucket"), [*product(["another", "trail.logs", "xn--trail"], [False, True])]
)
async def test_other_buckets(s3: S3Server, name: str, *, any_bucket: bool) -> None:
    """
    A good name that is not listed is refused by name, unless any bucket may be read.
    """
    s3.buckets[name] = Bucket(objects={"one": whole(CONTENT)})
    async with reading("trail", any_bucket=any_bucket) as reader:
        if any_bucket:
            assert CONTENT == await reader.read(LogFile(name, "one"))
        else:
            with pytest.raises(RefusedBucket, match=f"bucket {name} is not allowed"):
                await reader.read(LogFile(name, "one"))

    assert any_bucket == bool(s3.requests)


async def test_no_key_leads_out_of_its_bucket(s3: S3Server) -> None:
    """
    A key is asked for as it stands, whatever it would mean as a path or a URL.
    """
    keys = ["../theirs/one", "/../theirs/one", "%2e%2e/theirs/one", "a//b", "a?acl", "a#b", "a b+é"]
    s3.buckets["trail"].objects |= {key: whole(key.encode()) for key in keys}
    async with reading("trail") as reader:
        bodies = [await reader.read(LogFile("trail", key)) for key in keys]

    assert keys == [body.decode() for body in bodies]
    assert [("trail", key) for key in keys] == [(one.bucket, one.key) for one in s3.requests]


# The whole program -----------------------------------------------------------------------


async def test_serve_reads_the_buckets_it_may(
    s3: S3Server, unlaid_trail: Trail, tmp_path: Path
) -> None:
    """
    ``serve`` counts files of buckets near and far, and leaves those of others on the queue.
    """
    unlaid_trail.make_queues(visibility_seconds=1, receives=1)
    file = whole(records.log_file(records.text(*records.push_pair("one"))))
    s3.buckets["trail"] = Bucket(FAR, objects={records.key(1): file})
    s3.buckets["other"] = Bucket(NEAR, objects={records.key(2): file})
    s3.buckets["theirs"] = Bucket(NEAR, STRANGER, objects={records.key(3): file})
    arn = f"arn:aws:s3:{NEAR}:{OWNER}:accesspoint/{PERSON}"
    for number, bucket in enumerate(("trail", "other", "theirs", arn), start=1):
        unlaid_trail.send(announcement(records.key(number), bucket=bucket))

    exporter = Exporter(
        "serve",
        *("--sqs.queue-url", unlaid_trail.queue_url),
        *("--s3.allowed-bucket", "trail"),
        "--s3.allow-any-bucket",
        *("--s3.expected-bucket-owner", OWNER),
        *("--state.directory", str(tmp_path)),
        *("--metrics.new-series-hold", "0s"),
        environment=clean_environment(
            **unlaid_trail.aws.environment, AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{s3.port}"
        ),
    )
    try:
        await asyncio.to_thread(
            exporter.until, lambda: unlaid_trail.depth() == EMPTY._replace(dead=2), "two are left"
        )
        page = await asyncio.to_thread(exporter.scrape)
    finally:
        await asyncio.to_thread(exporter.kill)

    assert 1 == page.value("codecommit_pushes_total", repository="one")
    assert 1 == page.value("codecommit_exporter_log_files_total", outcome="counted")
    assert 1 == page.value("codecommit_exporter_log_files_total", outcome="repeated")
    assert 1 == page.value("codecommit_exporter_refused_total", reason="bucket_not_allowed")
    assert f"the bucket may not belong to account {OWNER}" in exporter.log
    assert PERSON not in exporter.log
