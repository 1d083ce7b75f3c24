"""
How requests to AWS fail, and what may be said of it.
"""

from __future__ import annotations

import re

from aiohttp import ClientError as ConnectionFailed
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    InvalidRegionError,
    ResponseStreamingError,
)

FAILURES = (ClientError, BotoCoreError, ConnectionFailed, TimeoutError)
"""Everything that a request, or reading its answer, raises for a reason outside the program."""

_QUOTING = (HTTPClientError, InvalidRegionError, ResponseStreamingError)
"""What botocore says of these, not of more special ones, may hold a piece of the answer."""


def described(error: BaseException) -> tuple[str, str]:
    """
    A failure's code, empty where there was no answer, and words on it that identify nobody.

    The answer's own message names the caller's ARN where access is denied, and with it
    often a person; the code says enough, if it is one.
    """
    if isinstance(error, ClientError):
        answer = error.response
        code = str(answer.get("Error", {}).get("Code", ""))
        code = code if re.fullmatch(r"[A-Za-z0-9._-]{1,80}", code) else "Unknown"
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return code, f"{error.operation_name} answered {code} (HTTP {status})"
    if isinstance(error, BotoCoreError) and type(error) not in _QUOTING:
        return "", str(error)
    return "", type(error).__name__


def concerns_a_key(error: BaseException) -> bool:
    """
    Whether access was denied not to the object but to the KMS key that encrypts it.

    S3 answers AccessDenied for both, and only its message tells which: it names the
    action, kms:Decrypt, or, in KMS's own words for an unknown key, the ciphertext.
    """
    if not isinstance(error, ClientError):
        return False
    message = str(error.response.get("Error", {}).get("Message", ""))
    return "kms:" in message or "ciphertext" in message
