"""
What requests of one kind have in common, learnt from one that the SDK sent.

Rules:

1. A pattern is kept only if it makes the very request that it was learnt from once more,
   the signature included. Whatever the SDK does that is not understood here, for a setting, a
   Region or a kind of bucket, shows as a difference, and there is no pattern.
2. Requests of a kind differ in the object's key or the body, in the moment, in the
   credentials, and in the number by which AWS knows a call.
3. Only a first attempt is a pattern: it says in a header which attempt it is.
4. Where the SDK means to check the answer's checksum there is no pattern: it does that itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self
from urllib.parse import quote, urlsplit

from botocore.credentials import ReadOnlyCredentials

from exporter.aws.signature import ALGORITHM, Signer

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=[^/,]+/[0-9]{{8}}/(?P<region>[^/,]+)/(?P<service>[^/,]+)/aws4_request"
    r", SignedHeaders=(?P<signed>[^,]+), Signature=[0-9a-f]{64}"
)
_FIRST_ATTEMPT = re.compile(r"attempt=1(?:; max=[0-9]+)?")
_DEFAULT_PORTS = {"http": 80, "https": 443}

_AUTHORIZED = "authorization"
_MOMENT = "x-amz-date"
_TOKEN = "x-amz-security-token"  # noqa: S105 - the header's name
_NUMBER = "amz-sdk-invocation-id"
_ATTEMPT = "amz-sdk-request"
_LENGTH = "content-length"
_DIGEST = "x-amz-content-sha256"
_CHECKED = "x-amz-checksum-mode"
_VARIABLE = {_AUTHORIZED, _MOMENT, _TOKEN, _NUMBER, _LENGTH}


@dataclass(frozen=True, slots=True)
class Request:
    """
    A request as it goes over the wire.

    Args:
        method: GET or POST.
        url: All of it, as it is escaped.
        headers: By their names in lower case.
        body: What is sent; nothing is None, as the SDK has it.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)  # they hold credentials
    body: bytes | None


class Pattern:
    """
    Makes requests of one kind.
    """

    def __init__(self, request: Request, escaped_key: str, authorization: re.Match[str]) -> None:
        address = urlsplit(request.url)
        self._method = request.method
        self._url = request.url.removesuffix(escaped_key)
        self._path = address.path.removesuffix(escaped_key)
        self._constant = {
            name: value for name, value in request.headers.items() if name not in _VARIABLE
        }
        self._is_temporary = _TOKEN in request.headers
        self._signer = Signer(authorization["region"], authorization["service"])
        self._signed = authorization["signed"]
        known = {"host": _host(address.scheme, address.hostname, address.port), **self._constant}
        self._signed_values = [
            (name, " ".join(known[name].split()) if name in known else None)
            for name in self._signed.split(";")
        ]

    @classmethod
    def of(cls, request: Request, key: str, credentials: ReadOnlyCredentials) -> Self | None:
        """
        The pattern of a request for this key, signed by these credentials; None if unlike it.
        """
        headers = request.headers
        authorization = _AUTHORIZATION.fullmatch(headers.get(_AUTHORIZED, ""))
        if (
            not authorization
            or not {_MOMENT, _NUMBER, *authorization["signed"].split(";")} <= {"host", *headers}
            or not _FIRST_ATTEMPT.fullmatch(headers.get(_ATTEMPT, ""))
            or _CHECKED in headers
        ):
            return None
        pattern = cls(request, _escaped(key), authorization)
        if not pattern.suits(credentials):
            return None
        again = pattern.request(key, request.body, credentials, headers[_MOMENT], headers[_NUMBER])
        return pattern if again == request else None

    def suits(self, credentials: ReadOnlyCredentials) -> bool:
        """
        Whether it is for such credentials: temporary ones, or others.
        """
        return self._is_temporary == bool(credentials.token)

    def request(
        self,
        key: str,
        body: bytes | None,
        credentials: ReadOnlyCredentials,
        moment: str,
        number: str,
    ) -> Request:
        """
        A request of this kind, signed.

        Args:
            key: The object's key; empty where the kind has none.
            body: What is sent.
            credentials: Who asks.
            moment: When, as in ``20260131T235959Z``.
            number: By which AWS knows the call.
        """
        escaped_key = _escaped(key)
        headers = {**self._constant, _MOMENT: moment, _NUMBER: number}
        if credentials.token:
            headers[_TOKEN] = credentials.token
        if body is not None:
            headers[_LENGTH] = str(len(body))
        canonical = "\n".join(
            (
                self._method,
                self._path + escaped_key,
                "",
                *(
                    f"{name}:{headers[name] if value is None else value}"
                    for name, value in self._signed_values
                ),
                "",
                self._signed,
                headers.get(_DIGEST) or sha256(body or b"").hexdigest(),
            )
        )
        headers[_AUTHORIZED] = self._signer.authorization(
            credentials, moment, self._signed, canonical
        )
        return Request(self._method, self._url + escaped_key, headers, body)


def _escaped(key: str) -> str:
    return quote(key, safe="/~")


def _host(scheme: str, name: str | None, port: int | None) -> str:
    shown = f"[{name}]" if name and ":" in name else name or ""
    return shown if port in {None, _DEFAULT_PORTS.get(scheme)} else f"{shown}:{port}"
