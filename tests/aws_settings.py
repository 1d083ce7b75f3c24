"""
AWS as its settings see it: any host, in any partition, by TLS or not, through a proxy or not.

One server on loopback stands for all of it. As a forward proxy it is asked for any host, ends
the TLS itself with a certificate made for that host, and answers in the host's place, so that
no name is ever resolved. It computes the signature of every request anew from the secret that
belongs to the key, as AWS does, and refuses what does not match.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import quote, unquote, urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.s3_fake import MESSAGE, OWNER, Answer, refused

SKEW_MAX = timedelta(minutes=15)
"""How far a request's time may be from AWS's."""

WRONG_TIME = {"s3": "RequestTimeTooSkewed"}
"""What a service answers to a time that is further off; others call the signature expired."""


def content(key: str) -> bytes:
    """
    The object of a key.
    """
    return gzip.compress(key.encode(), mtime=0)


class Key(NamedTuple):
    """
    An access key with its secret; the session token is empty where it is for the long term.
    """

    id: str
    secret: str
    token: str


LONG_TERM = Key("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "")


@dataclass(frozen=True, slots=True)
class Request:
    """
    A request as it came.

    Args:
        method: The HTTP method.
        url: Where it was sent, percent-encoded as it came.
        headers: All of them, their names in lower case.
        body: What followed them.
        way: ``direct``, ``forwarded`` by a proxy, or by a ``tunnel`` through it.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    way: str

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def address(self) -> str:
        """
        The URL without its query.
        """
        return self.url.partition("?")[0]

    @property
    def signed(self) -> bool:
        return self.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 ")

    @property
    def _credential(self) -> list[str]:
        return _part(self, "Credential").split("/")

    @property
    def key_id(self) -> str:
        return self._credential[0]

    @property
    def region(self) -> str:
        return self._credential[2]

    @property
    def service(self) -> str:
        return self._credential[3]

    @property
    def operation(self) -> str:
        """
        The name of the operation, as AWS has it.
        """
        if self.service == "s3":
            return {"GET": "GetObject", "HEAD": "HeadBucket"}[self.method]
        return self.headers.get("x-amz-target", "AssumeRole").rpartition(".")[2]

    def signature(self, key: Key) -> str:
        """
        What the signature must be if it was made with this key, of the path quoted as AWS does.
        """
        kind = S3SigV4Auth if self.service == "s3" else SigV4Auth
        signer = kind(Credentials(key.id, key.secret, key.token), self.service, self.region)
        names = _part(self, "SignedHeaders").split(";")
        headers = {name: self.headers[name] for name in names}
        parts = urlsplit(self.url)
        url = parts._replace(path=quote(unquote(parts.path), safe="/~")).geturl()
        request = AWSRequest(self.method, url, headers=headers, data=self.body)
        request.context["timestamp"] = self.headers["x-amz-date"]
        text = signer.string_to_sign(request, signer.canonical_request(request))
        return str(signer.signature(text, request))

    def refusal(self, key: Key | None, now: datetime) -> str:
        """
        The code of AWS's answer to a request that is not properly signed; empty if it is.
        """
        if key is None:
            return "InvalidAccessKeyId" if self.service == "s3" else "InvalidClientTokenId"
        time = datetime.strptime(self.headers["x-amz-date"], "%Y%m%dT%H%M%S%z")
        must = {name for name in self.headers if name == "host" or name.startswith("x-amz-")}
        digest = sha256(self.body).hexdigest()
        given = self.headers.get("x-amz-content-sha256", digest)
        faults = {
            WRONG_TIME.get(self.service, "InvalidSignatureException"): abs(now - time) > SKEW_MAX,
            "InvalidToken": self.headers.get("x-amz-security-token", "") != key.token,
            "AccessDenied": bool(must - set(_part(self, "SignedHeaders").split(";"))),
            "XAmzContentSHA256Mismatch": given not in {digest, "UNSIGNED-PAYLOAD"},
            "SignatureDoesNotMatch": _part(self, "Signature") != self.signature(key),
        }
        return next((code for code, found in faults.items() if found), "")


def _part(request: Request, name: str) -> str:
    found = re.search(rf"{name}=([^,]+)", request.headers["authorization"])
    assert found is not None
    return found[1]


def told(status: int, body: bytes, **headers: str) -> Answer:
    """
    An answer with a body.
    """
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body, {"Content-Length": str(len(body)), **spelled})


def told_json(status: int, **fields: object) -> Answer:
    """
    An answer in JSON.
    """
    return told(status, json.dumps(fields).encode(), Content_Type="application/x-amz-json-1.0")


def refused_by(service: str, status: int, code: str, **headers: str) -> Answer:
    """
    An error as the service writes it.
    """
    if service == "sqs":
        return told_json(status, __type=f"com.amazonaws.sqs#{code}", message=MESSAGE)
    if service == "s3":
        return refused(status, code, **headers)
    error = f"<Error><Code>{code}</Code><Message>{MESSAGE}</Message></Error>"
    return told(status, f"<ErrorResponse>{error}</ErrorResponse>".encode())


class Authority:
    """
    A certificate authority of the tests' own.

    Args:
        directory: Where its files lie.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The tests' own")])
        self._contexts: dict[str, ssl.SSLContext] = {}
        basic = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._certificate(self._name, self._key.public_key(), basic)
        self.bundle = directory / "authority.pem"
        self.bundle.write_bytes(certificate.public_bytes(Encoding.PEM))

    def context(self, host: str) -> ssl.SSLContext:
        """
        What a server needs to be a host.
        """
        if host not in self._contexts:
            self._contexts[host] = self._context(host)
        return self._contexts[host]

    def _context(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        certificate = self._certificate(x509.Name([]), key.public_key(), names, critical=True)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = self._directory / f"{host}.pem"
        path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _certificate(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        extension: x509.ExtensionType,
        *,
        critical: bool = True,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=critical)
            .sign(self._key, hashes.SHA256())
        )


Handler = Callable[[Request], Answer | None]
"""Answers a request, or leaves it to others."""


class Aws:
    """
    S3, SQS and whoever issues credentials, alive inside the ``async with`` block.

    Args:
        authority: Who vouches for the hosts.
    """

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.buckets: dict[str, tuple[str, str]] = {}
        """Region and owner of each."""
        self.elsewhere: Callable[[str], Answer] = lambda region: refused(
            301, "PermanentRedirect", x_amz_bucket_region=region
        )
        """The answer to whoever asks for a bucket in another Region than its own."""
        self.keys = {LONG_TERM.id: LONG_TERM}
        self.requests: list[Request] = []
        """Those that were signed for S3 or SQS, whatever the answer."""
        self.tunnels: list[tuple[str, Mapping[str, str]]] = []
        """Host and port of each tunnel that was asked for, and the headers with it."""
        self.clock = timedelta()
        """How far AWS's clock is ahead."""
        self.fault: Handler = lambda _: None
        """What is answered to a request that is in order instead of what it asks for."""
        self.issuer: Handler = lambda _: None
        """Answers what is not signed, or not for S3 or SQS."""
        self._numbers = count(1)
        self._connections = set[asyncio.StreamWriter]()

    async def __aenter__(self) -> Self:
        self._servers = [
            await asyncio.start_server(self._serve, "127.0.0.1", 0),
            await asyncio.start_server(
                self._serve, "127.0.0.1", 0, ssl=self.authority.context("localhost")
            ),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for connection in self._connections:
            connection.close()
        for server in self._servers:
            await server.wait_closed()

    @property
    def plain(self) -> str:
        """
        The URL without TLS: an endpoint and a proxy.
        """
        return f"http://127.0.0.1:{self._port(0)}"

    @property
    def tls(self) -> str:
        """
        The URL with TLS, for which there is a certificate.
        """
        return f"https://localhost:{self._port(1)}"

    def _port(self, server: int) -> int:
        port: int = self._servers[server].sockets[0].getsockname()[1]
        return port

    def issue(self) -> Key:
        """
        A new key for a while.
        """
        number = next(self._numbers)
        key = Key(f"ASIAIOSFODNN{number:08}", f"secret/{number}", f"token+{number}==")
        self.keys[key.id] = key
        return key

    async def hang_up(self) -> None:
        """
        End all connections, and wait until that is known.
        """
        for connection in list(self._connections):
            connection.close()
            await connection.wait_closed()

    def addresses(self, service: str) -> list[str]:
        """
        Where a service was asked, request by request.
        """
        return [one.address for one in self.requests if one.service == service]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        Answer one connection's requests until either side ends it.
        """
        self._connections.add(writer)
        tunnel = ""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.rstrip().split("\r\n")
                method, target, _ = first.split(" ")
                pairs = (line.split(": ", 1) for line in lines)
                headers = {name.lower(): value for name, value in pairs}
                if method == "CONNECT":
                    self.tunnels.append((target, headers))
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    tunnel = target.removesuffix(":443")
                    await writer.start_tls(self.authority.context(target.partition(":")[0]))
                    continue
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = _request(method, target, headers, body, tunnel, writer)
                answer = self._answer(request)
                writer.write(answer.wire(headers_only=method == "HEAD"))
                await writer.drain()
                if answer.breaks_off:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the other side has ended it
        finally:
            self._connections.discard(writer)
            writer.close()

    def _answer(self, request: Request) -> Answer:
        now = datetime.now(UTC) + self.clock
        answer = self._answer_at(request, now)
        return Answer(
            answer.status,
            answer.body,
            {"Date": format_datetime(now, usegmt=True), **answer.headers},
            answer.breaks_off,
        )

    def _answer_at(self, request: Request, now: datetime) -> Answer:
        if request.headers["host"] != urlsplit(request.url).netloc:
            return refused(400, "InvalidURI")
        if not request.signed:
            return self.issuer(request) or refused(403, "AccessDenied")
        service = request.service
        if service in {"s3", "sqs"}:
            self.requests.append(request)
        code = request.refusal(self.keys.get(request.key_id), now)
        if code:
            return refused_by(service, 403, code)
        answer = self.issuer(request) if service == "sts" else self.fault(request)
        return answer or (self._object(request) if service == "s3" else _queue(request))

    def _object(self, request: Request) -> Answer:
        """
        What S3 answers, asked with the bucket's name in the path or before the host's.
        """
        path = unquote(request.path).removeprefix("/")
        hosts = (name for name in self.buckets if request.headers["host"].startswith(f"{name}."))
        bucket = next(hosts, "")
        if not bucket:
            found = next((name for name in self.buckets if f"{name}/" in path), "")
            bucket, path = found, path.partition(f"{found}/")[2]
        if not bucket:
            return refused(404, "NoSuchBucket")
        region, owner = self.buckets[bucket]
        if request.region != region:
            return self.elsewhere(region)
        if request.headers.get("x-amz-expected-bucket-owner", owner) != owner:
            return refused(403, "AccessDenied")
        checksum = request.headers.get("x-amz-checksum-mode") == "ENABLED"
        return whole(path, checksum=checksum)


def whole(key: str, *, checksum: bool = False, of: bytes | None = None) -> Answer:
    """
    An object as S3 hands it out; a checksum is told to those that ask for it.

    Args:
        key: The object's.
        checksum: Whether it is asked for.
        of: What it is told of, if not of the object.
    """
    body = content(key)
    digest = base64.b64encode(sha256(body if of is None else of).digest()).decode()
    headers = {"x_amz_checksum_sha256": digest} if checksum else {}
    return told(200, body, Content_Encoding="gzip", ETag=f'"{sha256(body).hexdigest()}"', **headers)


def _queue(request: Request) -> Answer:
    """
    What SQS answers: a message to each that asks for some, and success to what is deleted.
    """
    asked = json.loads(request.body)
    if request.operation == "ReceiveMessage":
        message = {"MessageId": "1", "Body": "one", "ReceiptHandle": f"receipt of {OWNER}"}
        return told_json(200, Messages=[message])
    return told_json(200, Successful=[{"Id": entry["Id"]} for entry in asked["Entries"]], Failed=[])


def _request(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    tunnel: str,
    writer: asyncio.StreamWriter,
) -> Request:
    """
    A request, from its target in one of the three forms that a way has.
    """
    if tunnel:
        return Request(method, f"https://{tunnel}{target}", headers, body, "tunnel")
    if not target.startswith("/"):
        return Request(method, target, headers, body, "forwarded")
    scheme = "https" if writer.get_extra_info("ssl_object") else "http"
    return Request(method, f"{scheme}://{headers['host']}{target}", headers, body, "direct")
