"""
What a user can tell the AWS SDK holds for every request, not only for a client's first.

Every test makes several requests of each kind that the hot path makes: GetObject,
ReceiveMessage and DeleteMessageBatch.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from aiobotocore.endpoint import AioEndpoint
from aiobotocore.retries.adaptive import AsyncClientRateLimiter
from aiobotocore.session import AioSession, get_session
from botocore.credentials import SSOProvider
from botocore.loaders import Loader
from botocore.tokens import SSOTokenProvider

from exporter.aws import queue as queue_module, session as session_module
from exporter.aws.objects import Buckets, Objects
from exporter.aws.queue import Message, Queue
from exporter.aws.session import NO_ANSWER, Session
from exporter.errors import (
    BucketElsewhere,
    BucketMissing,
    KeyGone,
    LogFileArchived,
    LogFileDenied,
    LogFileMissing,
    LogFileThrottled,
    LogFileUnavailable,
    QueueDenied,
    QueueMissing,
    QueueUnavailable,
    ReceiptExpired,
)
from exporter.notifications import LogFile
from exporter.values import AllowedBucket
from tests import aws_credentials
from tests.aws_credentials import STATIC, Source
from tests.aws_settings import (
    LONG_TERM,
    Authority,
    Aws,
    Handler,
    Request,
    content,
    refused_by,
    whole,
)
from tests.processes import clean_environment
from tests.s3_fake import OWNER, Answer, refused

REGION = "eu-central-1"
CAP = 100_000
TIMES = 3
QUEUE_URL = f"https://sqs.{REGION}.amazonaws.com/{OWNER}/trail"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")

_loader = cache(Loader)
"""Reads the descriptions of the services, which takes longer than any test."""


def _session() -> AioSession:
    session = get_session()
    session.register_component("data_loader", _loader())
    return session


class Program:
    """
    The program's own way to S3 and SQS, and what its session told of it.
    """

    def __init__(self, objects: Objects, queue: Queue, told: list[tuple[str, str, str]]) -> None:
        self.objects = objects
        self.queue = queue
        self.told = told

    async def fetch(self, key: str = "one", bucket: str = "trail") -> bytes:
        async with self.objects.fetch(LogFile(bucket, key)) as body:
            return body

    async def work(self, times: int = TIMES) -> None:
        """
        Receive a message, fetch a file and delete the message; so many times.
        """
        for _ in range(times):
            [message] = await self.queue.receive(1)
            assert content("one") == await self.fetch()
            await self.queue.delete(message)


@asynccontextmanager
async def program(*allowed: str, queue_url: str = QUEUE_URL) -> AsyncIterator[Program]:
    """
    The program as the environment of the moment tells it to be.
    """
    told = list[tuple[str, str, str]]()
    session = Session(lambda *happening: told.append(happening))
    buckets = Buckets(map(AllowedBucket.read, allowed or ("trail",)))
    async with AsyncExitStack() as clients:
        s3 = await clients.enter_async_context(session.client("s3"))
        sqs = await clients.enter_async_context(session.client("sqs"))
        objects = Objects(s3, buckets, compressed_bytes_max=CAP)
        yield Program(objects, Queue(sqs, queue_url, "trail"), told)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def at_once(_self: AioEndpoint, _seconds: float) -> None:
    """
    Stands for the SDK's wait between two tries.
    """


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    Everything that the SDK reads of this machine, and there is nothing yet.
    """
    variables = clean_environment(
        HOME=str(tmp_path),
        AWS_CONFIG_FILE=str(tmp_path / "config"),
        AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"),
        AWS_EC2_METADATA_DISABLED="true",
        AWS_REGION=REGION,
    )
    for name in (*PROXIES, *map(str.lower, PROXIES)):
        variables.pop(name, None)
    monkeypatch.setattr(os, "environ", variables)
    for provider in (SSOProvider, SSOTokenProvider):
        monkeypatch.setattr(provider, "_SSO_TOKEN_CACHE_DIR", str(tmp_path / ".aws/sso/cache"))
    monkeypatch.setattr(session_module, "get_session", _session)
    monkeypatch.setattr(queue_module, "DELETE_AGAIN_SECONDS", ())
    monkeypatch.setattr(AioEndpoint, "_sleep", at_once)
    return tmp_path


@pytest.fixture
async def aws(home: Path, authority: Authority) -> AsyncIterator[Aws]:  # noqa: ARG001 - it leads here
    async with Aws(authority) as aws:
        aws.buckets["trail"] = (REGION, OWNER)
        yield aws


@pytest.fixture
def endpoint(aws: Aws) -> Aws:
    """
    AWS under an endpoint URL, with a key that it knows.
    """
    os.environ.update(STATIC, AWS_ENDPOINT_URL=aws.plain)
    return aws


@pytest.fixture
def internet(aws: Aws) -> Aws:
    """
    AWS behind a proxy that leads to any host, with a key that it knows.
    """
    ways = {"HTTP_PROXY": aws.plain, "HTTPS_PROXY": aws.plain}
    os.environ.update(STATIC, AWS_CA_BUNDLE=str(aws.authority.bundle), **ways)
    return aws


def operations(aws: Aws) -> list[str]:
    return [request.operation for request in aws.requests]


WORK = ["ReceiveMessage", "GetObject", "DeleteMessageBatch"] * TIMES


# Credentials -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [*aws_credentials.LASTING.values(), *aws_credentials.RENEWED.values()],
    ids=[*aws_credentials.LASTING, *aws_credentials.RENEWED],
)
async def test_every_request_is_signed_with_the_keys_of_the_source(
    aws: Aws, home: Path, source: Source
) -> None:
    """
    Keys are taken from wherever the SDK takes them, and are not asked for again while good.
    """
    os.environ.update(source(aws, home, 3600), AWS_ENDPOINT_URL_S3=aws.plain)
    os.environ["AWS_ENDPOINT_URL_SQS"] = aws.plain
    async with program() as own:
        await own.work()

    assert WORK == operations(aws)
    assert 1 == len({request.key_id for request in aws.requests})


RENEWAL_SECONDS = 15 * 60
"""How long before a key ends the SDK asks for the next."""

SOON = RENEWAL_SECONDS + 0.7
"""So long is a key good that is used for a moment only."""


@pytest.mark.parametrize(
    "source", aws_credentials.RENEWED.values(), ids=aws_credentials.RENEWED.keys()
)
async def test_keys_that_expire_soon_are_renewed(aws: Aws, home: Path, source: Source) -> None:
    """
    Keys are replaced before they end, and from then on every request is signed with the new.
    """
    os.environ.update(source(aws, home, SOON), AWS_ENDPOINT_URL_S3=aws.plain)
    os.environ["AWS_ENDPOINT_URL_SQS"] = aws.plain
    async with program() as own:
        while len({request.key_id for request in aws.requests}) < 2:
            await own.work(1)
            await asyncio.sleep(0.02)
        await own.work()

    keys = [request.key_id for request in aws.requests]
    assert sorted(keys) == keys


async def test_keys_are_used_while_they_cannot_be_renewed(aws: Aws, home: Path) -> None:
    """
    Where STS refuses to renew keys that are still good for a while, they are still used.
    """
    refusals = list[Request]()

    def refuse(request: Request) -> Answer:
        refusals.append(request)
        return refused_by("sts", 403, "AccessDenied")

    os.environ.update(aws_credentials.web_identity(aws, home, SOON), AWS_ENDPOINT_URL=aws.plain)
    async with program() as own:
        await own.work(1)
        aws.issuer = refuse
        key = aws.requests[-1].key_id
        before = len(aws.requests)
        while not refusals:
            await own.work(1)
            await asyncio.sleep(0.02)
        await own.work(1)

    assert {key} == {request.key_id for request in aws.requests[before:]}


async def test_a_wrong_secret_is_refused(endpoint: Aws) -> None:
    """
    The AWS of these tests looks at signatures: one made with another secret is refused.
    """
    async with program() as own:
        await own.work()
        endpoint.keys[LONG_TERM.id] = LONG_TERM._replace(secret="another")
        with pytest.raises(LogFileUnavailable, match="SignatureDoesNotMatch"):
            await own.fetch()
        with pytest.raises(QueueUnavailable, match="SignatureDoesNotMatch"):
            await own.queue.receive(1)


# Addresses -------------------------------------------------------------------------------


class Place(NamedTuple):
    """
    Settings, as variables and as lines of the default profile, and where they lead.
    """

    s3: str
    sqs: str
    variables: Mapping[str, str] = {}
    profile: str = ""
    region: str = REGION


S3 = f"https://trail.s3.{REGION}.amazonaws.com/one"
SQS = f"https://sqs.{REGION}.amazonaws.com/"

PLACES = {
    "nothing is said": Place(S3, SQS),
    # Regions and partitions (AWS General Reference, "Amazon S3" and "Amazon SQS endpoints").
    "us-east-1": Place(
        "https://trail.s3.amazonaws.com/one",
        "https://sqs.us-east-1.amazonaws.com/",
        region="us-east-1",
    ),
    "us-east-1 by its name": Place(
        "https://trail.s3.us-east-1.amazonaws.com/one",
        "https://sqs.us-east-1.amazonaws.com/",
        {"AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "regional"},
        region="us-east-1",
    ),
    "GovCloud": Place(
        "https://trail.s3.us-gov-west-1.amazonaws.com/one",
        "https://sqs.us-gov-west-1.amazonaws.com/",
        region="us-gov-west-1",
    ),
    "China": Place(
        "https://trail.s3.cn-north-1.amazonaws.com.cn/one",
        "https://sqs.cn-north-1.amazonaws.com.cn/",
        region="cn-north-1",
    ),
    "FIPS": Place(
        "https://trail.s3-fips.us-east-2.amazonaws.com/one",
        "https://sqs-fips.us-east-2.amazonaws.com/",
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        region="us-east-2",
    ),
    "FIPS by the profile": Place(
        "https://trail.s3-fips.us-east-2.amazonaws.com/one",
        "https://sqs-fips.us-east-2.amazonaws.com/",
        profile="use_fips_endpoint = true",
        region="us-east-2",
    ),
    "FIPS in GovCloud": Place(
        "https://trail.s3-fips.us-gov-west-1.amazonaws.com/one",
        "https://sqs.us-gov-west-1.amazonaws.com/",
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        region="us-gov-west-1",
    ),
    "dual-stack": Place(
        f"https://trail.s3.dualstack.{REGION}.amazonaws.com/one",
        f"https://sqs.{REGION}.api.aws/",
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    ),
    "dual-stack in China": Place(
        "https://trail.s3.dualstack.cn-north-1.amazonaws.com.cn/one",
        "https://sqs.cn-north-1.api.amazonwebservices.com.cn/",
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        region="cn-north-1",
    ),
    "FIPS and dual-stack": Place(
        "https://trail.s3-fips.dualstack.us-east-2.amazonaws.com/one",
        "https://sqs-fips.us-east-2.api.aws/",
        {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
        region="us-east-2",
    ),
    # Ways to name a bucket.
    "path style": Place(
        f"https://s3.{REGION}.amazonaws.com/trail/one",
        SQS,
        profile="s3 =\n  addressing_style = path",
    ),
    "virtual style": Place(S3, SQS, profile="s3 =\n  addressing_style = virtual"),
    "acceleration": Place(
        "https://trail.s3-accelerate.amazonaws.com/one",
        SQS,
        profile="s3 =\n  use_accelerate_endpoint = true",
    ),
    # Endpoints of the user's own.
    "AWS_ENDPOINT_URL": Place(
        "https://aws.internal/trail/one",
        "https://aws.internal/",
        {"AWS_ENDPOINT_URL": "https://aws.internal"},
    ),
    "AWS_ENDPOINT_URL_S3": Place(
        "http://s3.internal:8333/trail/one", SQS, {"AWS_ENDPOINT_URL_S3": "http://s3.internal:8333"}
    ),
    "AWS_ENDPOINT_URL_SQS": Place(
        S3, "http://sqs.internal:9324/", {"AWS_ENDPOINT_URL_SQS": "http://sqs.internal:9324"}
    ),
    "a service's comes first": Place(
        "https://s3.internal/trail/one",
        "https://aws.internal/",
        {"AWS_ENDPOINT_URL": "https://aws.internal", "AWS_ENDPOINT_URL_S3": "https://s3.internal"},
    ),
    "an endpoint with a path": Place(
        "https://gateway.internal/s3/trail/one",
        SQS,
        {"AWS_ENDPOINT_URL_S3": "https://gateway.internal/s3"},
    ),
    "the profile's endpoint": Place(
        "https://aws.internal/trail/one",
        "https://aws.internal/",
        profile="endpoint_url = https://aws.internal",
    ),
    "the profile's services": Place(
        "https://s3.internal/trail/one",
        "https://sqs.internal/",
        profile=(
            "services = own\n[services own]\n"
            "s3 =\n  endpoint_url = https://s3.internal\n"
            "sqs =\n  endpoint_url = https://sqs.internal"
        ),
    ),
    "endpoints are ignored": Place(
        S3,
        SQS,
        {
            "AWS_ENDPOINT_URL": "https://aws.internal",
            "AWS_ENDPOINT_URL_SQS": "https://sqs.internal",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        },
    ),
    "endpoints are ignored by the profile": Place(
        S3,
        SQS,
        profile="endpoint_url = https://aws.internal\nignore_configured_endpoint_urls = true",
    ),
    "VPC endpoints": Place(
        f"https://bucket.vpce-1a2b3c4d-5e6f.s3.{REGION}.vpce.amazonaws.com/trail/one",
        f"https://vpce-1a2b3c4d-5e6f.sqs.{REGION}.vpce.amazonaws.com/",
        {
            "AWS_ENDPOINT_URL_S3": (
                f"https://bucket.vpce-1a2b3c4d-5e6f.s3.{REGION}.vpce.amazonaws.com"
            ),
            "AWS_ENDPOINT_URL_SQS": f"https://vpce-1a2b3c4d-5e6f.sqs.{REGION}.vpce.amazonaws.com",
        },
    ),
    "VPC endpoint in virtual style": Place(
        f"https://trail.bucket.vpce-1a2b3c4d-5e6f.s3.{REGION}.vpce.amazonaws.com/one",
        SQS,
        {
            "AWS_ENDPOINT_URL_S3": (
                f"https://bucket.vpce-1a2b3c4d-5e6f.s3.{REGION}.vpce.amazonaws.com"
            )
        },
        profile="s3 =\n  addressing_style = virtual",
    ),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
async def test_every_request_goes_where_the_settings_lead(
    internet: Aws, home: Path, place: Place
) -> None:
    """
    Region, partition, FIPS, dual-stack, style and endpoints decide on the host of each request.

    The host is also the one that the request names and that is signed for, and the Region of
    the signature is the one that was set.
    """
    internet.buckets["trail"] = (place.region, OWNER)
    os.environ.update(place.variables, AWS_REGION=place.region)
    (home / "config").write_text(f"[default]\n{place.profile}\n")
    async with program() as own:
        await own.work()

    assert [place.s3] * TIMES == internet.addresses("s3")
    assert [place.sqs] * TIMES * 2 == internet.addresses("sqs")
    assert {place.region} == {request.region for request in internet.requests}


KEYS = (
    "AWSLogs/123456789012/CloudTrail/eu-central-1/2026/11/26/one_Xy0.json.gz",
    "a space+a plus",
    "ünï/çødé/日本",
    "dots/../and/./double//slashes/",
    "~a!b*c'd(e)f&g=h?i#j%k;l:m@n$o,p",
    "100%25 quoted",
)


@pytest.mark.parametrize("style", ["auto", "path"])
async def test_every_key_is_asked_for_as_it_is(internet: Aws, home: Path, style: str) -> None:
    """
    Keys are quoted in the URL and in what is signed, the same way for a file as for the next.
    """
    (home / "config").write_text(f"[default]\ns3 =\n  addressing_style = {style}\n")
    async with program() as own:
        for key in KEYS * TIMES:
            assert content(key) == await own.fetch(key)

    addresses = internet.addresses("s3")
    assert len(KEYS) * TIMES == len(addresses)
    assert len(KEYS) == len(set(addresses))


async def test_a_bucket_with_dots_is_named_in_the_path(internet: Aws) -> None:
    """
    No certificate of S3 covers the name of a bucket with dots; other buckets are not affected.
    """
    internet.buckets["trail.logs"] = (REGION, OWNER)
    async with program("trail", "trail.logs") as own:
        for _ in range(TIMES):
            await own.fetch("one", "trail.logs")
            await own.fetch("one", "trail")

    dotted = f"https://s3.{REGION}.amazonaws.com/trail.logs/one"
    assert [dotted, S3] * TIMES == internet.addresses("s3")


# Proxies and TLS -------------------------------------------------------------------------


class Route(NamedTuple):
    """
    Which proxies are set, for an endpoint with or without TLS, and the way that is taken.
    """

    scheme: str
    proxies: tuple[str, ...]
    way: str
    no_proxy: str = ""


ROUTES = {
    "no proxy": Route("http", (), "direct"),
    "no proxy, with TLS": Route("https", (), "direct"),
    "HTTP_PROXY": Route("http", ("HTTP_PROXY",), "forwarded"),
    "http_proxy": Route("http", ("http_proxy",), "forwarded"),
    "HTTPS_PROXY": Route("https", ("HTTPS_PROXY",), "tunnel"),
    "https_proxy": Route("https", ("https_proxy",), "tunnel"),
    "the other scheme's": Route("https", ("HTTP_PROXY",), "direct"),
    "the other scheme's, without TLS": Route("http", ("HTTPS_PROXY",), "direct"),
    "NO_PROXY": Route("https", ("HTTPS_PROXY",), "direct", "elsewhere.test,localhost"),
    "NO_PROXY, without TLS": Route("http", ("HTTP_PROXY",), "direct", "localhost"),
    "NO_PROXY of all": Route("https", ("HTTPS_PROXY",), "direct", "*"),
    "NO_PROXY of others": Route("https", ("HTTPS_PROXY",), "tunnel", "elsewhere.test"),
}


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
async def test_every_request_takes_the_way_that_is_set(aws: Aws, route: Route) -> None:
    """
    A proxy is used for its scheme and not for hosts that are excepted; connections are kept.
    """
    endpoints = {"http": aws.plain.replace("127.0.0.1", "localhost"), "https": aws.tls}
    os.environ.update(
        STATIC,
        AWS_ENDPOINT_URL=endpoints[route.scheme],
        AWS_CA_BUNDLE=str(aws.authority.bundle),
        NO_PROXY=route.no_proxy,
        **dict.fromkeys(route.proxies, aws.plain),
    )
    async with program() as own:
        await own.work()

    assert WORK == operations(aws)
    assert {route.way} == {request.way for request in aws.requests}
    assert (2 if route.way == "tunnel" else 0) == len(aws.tunnels)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_is_told_its_password(aws: Aws, scheme: str) -> None:
    """
    Name and password in the proxy's URL go to the proxy with each request, or each tunnel.
    """
    os.environ[f"{scheme.upper()}_PROXY"] = aws.plain.replace("//", "//user:pass%40word@")
    os.environ.update(
        STATIC,
        AWS_ENDPOINT_URL=f"{scheme}://aws.internal",
        AWS_CA_BUNDLE=str(aws.authority.bundle),
    )
    async with program() as own:
        await own.work()

    given = [
        headers.get("proxy-authorization")
        for headers in (
            [headers for _, headers in aws.tunnels]
            if scheme == "https"
            else [request.headers for request in aws.requests]
        )
    ]
    word = base64.b64encode(b"user:pass@word").decode()
    assert WORK == operations(aws)
    assert [f"Basic {word}"] * (2 if scheme == "https" else len(WORK)) == given


@pytest.mark.parametrize("by", ["variable", "profile"])
async def test_the_users_authorities_are_trusted(aws: Aws, home: Path, by: str) -> None:
    """
    A host whose certificate only the user's own bundle vouches for is believed.
    """
    os.environ.update(STATIC, AWS_ENDPOINT_URL=aws.tls)
    if by == "variable":
        os.environ["AWS_CA_BUNDLE"] = str(aws.authority.bundle)
    else:
        (home / "config").write_text(f"[default]\nca_bundle = {aws.authority.bundle}\n")
    async with program() as own:
        await own.work()

    assert WORK == operations(aws)


@pytest.mark.parametrize(
    ("trusted", "host"),
    [(False, "localhost"), (True, "127.0.0.1")],
    ids=["unknown authority", "another host's certificate"],
)
async def test_a_host_that_nobody_vouches_for_is_told_nothing(
    aws: Aws, trusted: bool, host: str
) -> None:
    """
    Without the bundle, or with a certificate for another host, no request is made, ever.
    """
    os.environ.update(STATIC, AWS_ENDPOINT_URL=aws.tls.replace("localhost", host))
    if trusted:
        os.environ["AWS_CA_BUNDLE"] = str(aws.authority.bundle)
    async with program() as own:
        for _ in range(TIMES):
            with pytest.raises(LogFileUnavailable):
                await own.fetch()
            with pytest.raises(QueueUnavailable):
                await own.queue.receive(1)

    assert [] == aws.requests
    assert {NO_ANSWER} == {code for _, _, code in own.told}


# Requests --------------------------------------------------------------------------------

OWN_TO_A_REQUEST = {"authorization", "x-amz-date", "amz-sdk-invocation-id", "content-length"}


async def test_requests_differ_in_nothing_but_what_is_their_own(endpoint: Aws) -> None:
    """
    A later request has the headers of the first, but for its signature, time, number and length.
    """
    os.environ["AWS_SDK_UA_APP_ID"] = "company"
    async with program(f"trail={OWNER}") as own:
        await own.work()

    for number in range(3):
        first, *others = [request.headers for request in endpoint.requests[number::3]]
        same = {name: value for name, value in first.items() if name not in OWN_TO_A_REQUEST}
        for headers in others:
            assert same == {name: headers.get(name) for name in same}
            assert first.keys() == headers.keys()
        assert "app/company" in first["user-agent"]
        assert "codecommit-exporter" in first["user-agent"]
    numbers = [request.headers["amz-sdk-invocation-id"] for request in endpoint.requests]
    assert len(WORK) == len(set(numbers))


async def test_every_request_is_told(endpoint: Aws) -> None:
    """
    Each request is told once, by its operation and the code of its answer.
    """
    async with program() as own:
        await own.work()
        endpoint.fault = lambda request: refused_by(request.service, 403, "AccessDenied")
        with pytest.raises(LogFileDenied):
            await own.fetch()

    told = [(operation, code) for _, operation, code in own.told]
    assert [*[(each, "ok") for each in WORK], ("GetObject", "AccessDenied")] == told


async def test_every_file_is_asked_of_its_owner(endpoint: Aws) -> None:
    """
    The account that must own a bucket is named in each request for a file of it, and no other.
    """
    endpoint.buckets["theirs"] = (REGION, "999999999999")
    endpoint.buckets["anybody"] = (REGION, "111111111111")
    async with program(f"trail={OWNER}", "theirs=999999999999", "anybody") as own:
        for bucket in ("trail", "theirs", "anybody") * TIMES:
            await own.fetch("one", bucket)
        endpoint.buckets["trail"] = (REGION, "999999999999")
        with pytest.raises(LogFileDenied, match=f"may not belong to account {OWNER}"):
            await own.fetch()

    owners = [one.headers.get("x-amz-expected-bucket-owner") for one in endpoint.requests]
    assert [OWNER, "999999999999", None] * TIMES == owners[:-1]


@pytest.mark.parametrize(
    ("when", "fails"),
    [
        ("when_supported", True),
        ("when_required", False),
    ],
)
async def test_a_checksum_is_compared_if_the_user_says_so(
    endpoint: Aws, when: str, fails: bool
) -> None:
    """
    Where checksums are to be validated, a file that does not match its own is not taken for one.
    """
    os.environ["AWS_RESPONSE_CHECKSUM_VALIDATION"] = when
    async with program() as own:
        await own.work()
        for _ in range(TIMES):
            endpoint.fault = lambda _: whole("one", checksum=True, of=b"another")
            with pytest.raises(LogFileUnavailable) if fails else nullcontext():
                await own.fetch()
            endpoint.fault = lambda _: None
            assert content("one") == await own.fetch()

    modes = {
        request.headers.get("x-amz-checksum-mode")
        for request in endpoint.requests
        if request.service == "s3"
    }
    assert {"ENABLED" if fails else None} == modes


# Regions ---------------------------------------------------------------------------------

FAR = "us-west-2"

ELSEWHERE: dict[str, Callable[[str], Answer]] = {
    "301": lambda region: refused(301, "PermanentRedirect", x_amz_bucket_region=region),
    "400": lambda region: refused(400, "AuthorizationHeaderMalformed", region=region),
    "400 with a header": lambda region: refused(
        400, "AuthorizationHeaderMalformed", x_amz_bucket_region=region
    ),
}


@pytest.mark.parametrize("elsewhere", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_a_bucket_far_away_is_redirected_to_once(
    internet: Aws, elsewhere: Callable[[str], Answer]
) -> None:
    """
    After the first file of a bucket in another Region, each is asked for there at once.

    Buckets near, which are read in between, are asked for where they are.
    """
    internet.elsewhere = elsewhere
    internet.buckets["distant"] = (FAR, OWNER)
    async with program("trail", "distant") as own:
        await own.fetch("one", "distant")
        before = len(internet.requests)
        for _ in range(TIMES):
            await own.fetch("one", "distant")
            await own.fetch("one", "trail")

    later = internet.requests[before:]
    assert [f"https://distant.s3.{FAR}.amazonaws.com/one", S3] * TIMES == [
        request.address for request in later
    ]
    assert [FAR, REGION] * TIMES == [request.region for request in later]


async def test_a_bucket_that_moves_is_followed(internet: Aws) -> None:
    """
    A bucket that was deleted and made again in another Region is found there.
    """
    async with program() as own:
        await own.work()
        internet.buckets["trail"] = (FAR, OWNER)
        await own.fetch()
        before = len(internet.requests)
        await own.work()

    far = f"https://trail.s3.{FAR}.amazonaws.com/one"
    addresses = [one.address for one in internet.requests[before:] if one.service == "s3"]
    assert [far] * TIMES == addresses


# Retries ---------------------------------------------------------------------------------


class Patience(NamedTuple):
    """
    Settings of retries, and how many requests are made in vain; the mode as it is told to AWS.
    """

    variables: Mapping[str, str]
    requests: int
    mode: str
    profile: str = ""


PATIENCE = {
    "nothing is said": Patience({}, 3, "standard"),
    "one try": Patience({"AWS_MAX_ATTEMPTS": "1"}, 1, "standard"),
    "five tries": Patience({"AWS_MAX_ATTEMPTS": "5"}, 5, "standard"),
    "standard": Patience({"AWS_RETRY_MODE": "standard"}, 3, "standard"),
    "legacy": Patience({"AWS_RETRY_MODE": "legacy"}, 5, "legacy"),
    "legacy with two tries": Patience(
        {"AWS_RETRY_MODE": "legacy", "AWS_MAX_ATTEMPTS": "2"}, 2, "legacy"
    ),
    "adaptive": Patience({"AWS_RETRY_MODE": "adaptive"}, 3, "adaptive"),
    "the profile's": Patience({}, 4, "legacy", "retry_mode = legacy\nmax_attempts = 4"),
}

_MODES = {"legacy": "D", "standard": "E", "adaptive": "F"}
"""What the SDK calls the modes in its User-Agent."""


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("patience", PATIENCE.values(), ids=PATIENCE)
async def test_a_request_is_repeated_as_the_user_has_it(
    endpoint: Aws, home: Path, patience: Patience, status: int
) -> None:
    """
    Where AWS fails, the mode and the number of tries are the user's, and the last may succeed.
    """
    os.environ.update(patience.variables)
    (home / "config").write_text(f"[default]\n{patience.profile}\n")
    left = 0

    def fails(request: Request) -> Answer | None:
        nonlocal left
        left -= 1
        return refused_by(request.service, status, "InternalError") if left >= 0 else None

    async with program() as own:
        await own.work()
        before = len(endpoint.requests)
        endpoint.fault = fails
        left = patience.requests
        with pytest.raises(LogFileUnavailable, match="InternalError"):
            await own.fetch()
        left = patience.requests
        with pytest.raises(QueueUnavailable, match="InternalError"):
            await own.queue.receive(1)
        left = patience.requests - 1
        await own.fetch()

    tried = endpoint.requests[before:]
    expected = ["GetObject", "ReceiveMessage", "GetObject"]
    assert [name for name in expected for _ in range(patience.requests)] == [
        request.operation for request in tried
    ]
    assert len(endpoint.requests) == len(own.told)
    assert {_MODES[patience.mode]} == {mode_of(request) for request in endpoint.requests}
    assert [str(each) for each in range(1, patience.requests + 1)] * 3 == [
        request.headers["amz-sdk-request"].partition("attempt=")[2].partition(";")[0]
        for request in tried
    ]


async def test_every_request_is_limited_in_adaptive_mode(
    endpoint: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In the mode that limits the rate of requests, no request is made past the SDK's limiter.
    """
    limited = 0
    limit = AsyncClientRateLimiter.on_sending_request

    async def counted(self: AsyncClientRateLimiter, request: object, **more: object) -> None:
        nonlocal limited
        limited += 1
        await limit(self, request, **more)

    monkeypatch.setattr(AsyncClientRateLimiter, "on_sending_request", counted)
    os.environ["AWS_RETRY_MODE"] = "adaptive"
    async with program() as own:
        await own.work()

    assert WORK == operations(endpoint)
    assert len(WORK) == limited


def mode_of(request: Request) -> str:
    """
    The letter of the mode of retries in a User-Agent.
    """
    features = request.headers["user-agent"].partition(" m/")[2].partition(" ")[0].split(",")
    [mode] = set(features) & set(_MODES.values())
    return mode


def no_answer(_request: Request) -> Answer:
    raise ConnectionResetError


def half_an_answer(_request: Request) -> Answer:
    return Answer(200, b"{", {"Content-Length": "1000"}, breaks_off=True)


@pytest.mark.parametrize("step", ["fetch", "receive"])
@pytest.mark.parametrize("fault", [no_answer, half_an_answer])
async def test_a_broken_connection_is_the_same_error_later_as_at_first(
    endpoint: Aws, fault: Handler, step: str
) -> None:
    """
    A connection that breaks before or in an answer is told as such, and another is made.
    """
    os.environ["AWS_MAX_ATTEMPTS"] = "1"
    if step == "fetch":
        await same_errors(endpoint, LogFileUnavailable, lambda own: own.fetch(), fault)
    else:
        await same_errors(endpoint, QueueUnavailable, lambda own: own.queue.receive(1), fault)


async def test_a_connection_that_ended_is_made_anew(endpoint: Aws) -> None:
    """
    AWS ends connections when it likes; the request after it is made on a new one.
    """
    async with program() as own:
        for _ in range(TIMES):
            await own.work(1)
            await endpoint.hang_up()

    assert WORK == operations(endpoint)


# Clocks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_wrong_clock_is_said_and_forgiven(endpoint: Aws, hours: int) -> None:
    """
    A request at a wrong time is refused as such, and made again by nobody.

    The SDK for Python does not correct its clock. Once it is right, all is well again.
    """
    async with program() as own:
        await own.work()
        endpoint.clock = timedelta(hours=hours)
        with pytest.raises(LogFileUnavailable, match="clock is wrong"):
            await own.fetch()
        with pytest.raises(QueueUnavailable, match="InvalidSignatureException"):
            await own.queue.receive(1)
        endpoint.clock = timedelta()
        await own.work()

    assert [*WORK, "GetObject", "ReceiveMessage", *WORK] == operations(endpoint)


# Errors ----------------------------------------------------------------------------------

FILE_ERRORS = [
    (404, "NoSuchKey", LogFileMissing),
    (404, "NoSuchBucket", BucketMissing),
    (403, "AccessDenied", LogFileDenied),
    (403, "InvalidObjectState", LogFileArchived),
    (400, "KMS.DisabledException", KeyGone),
    (400, "ExpiredToken", LogFileUnavailable),
    (403, "InvalidAccessKeyId", LogFileUnavailable),
    (503, "SlowDown", LogFileThrottled),
    (500, "InternalError", LogFileUnavailable),
    (301, "PermanentRedirect", BucketElsewhere),
]

QUEUE_ERRORS = [
    (400, "QueueDoesNotExist", QueueMissing),
    (400, "AccessDeniedException", QueueDenied),
    (400, "ReceiptHandleIsInvalid", ReceiptExpired),
    (400, "ExpiredToken", QueueUnavailable),
    (403, "InvalidClientTokenId", QueueUnavailable),
    (400, "ThrottlingException", QueueUnavailable),
    (503, "ServiceUnavailable", QueueUnavailable),
]


@pytest.mark.parametrize(
    ("status", "code", "kind"), FILE_ERRORS, ids=[code for _, code, _ in FILE_ERRORS]
)
async def test_a_file_is_refused_later_as_at_first(
    endpoint: Aws, status: int, code: str, kind: type[Exception]
) -> None:
    """
    An error of S3 is the same error of the program whenever it comes, with the same words.
    """
    os.environ["AWS_MAX_ATTEMPTS"] = "1"
    await same_errors(
        endpoint, kind, lambda own: own.fetch(), lambda _: refused_by("s3", status, code)
    )


@pytest.mark.parametrize("step", ["receive", "delete"])
@pytest.mark.parametrize(
    ("status", "code", "kind"), QUEUE_ERRORS, ids=[code for _, code, _ in QUEUE_ERRORS]
)
async def test_a_queue_refuses_later_as_at_first(
    endpoint: Aws, status: int, code: str, kind: type[Exception], step: str
) -> None:
    """
    An error of SQS is the same error of the program whenever it comes, with the same words.
    """
    os.environ["AWS_MAX_ATTEMPTS"] = "1"

    def ask(own: Program) -> Awaitable[object]:
        return own.queue.receive(1) if step == "receive" else own.queue.delete(MESSAGE_IN_HAND)

    await same_errors(endpoint, kind, ask, lambda _: refused_by("sqs", status, code))


MESSAGE_IN_HAND = Message("1", "one", "receipt")


async def same_errors(
    aws: Aws,
    kind: type[Exception],
    ask: Callable[[Program], Awaitable[object]],
    fault: Handler,
) -> None:
    """
    See that an answer is the same error before and after others that were good.
    """
    errors = list[Exception]()
    told = list[list[str]]()
    async with program() as own:
        for _ in range(TIMES):
            aws.fault = fault
            before = len(own.told)
            with pytest.raises(kind) as caught:
                await ask(own)
            errors.append(caught.value)
            told.append([code for _, _, code in own.told[before:]])
            aws.fault = lambda _: None
            await own.work()

    assert {kind} == {type(error) for error in errors}
    assert 1 == len({str(error) for error in errors})
    assert [told[0]] * TIMES == told
    assert 1 == len({type(error.__cause__) for error in errors})
