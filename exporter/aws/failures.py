"""
How requests to AWS fail, and what may be said of it.
"""

from __future__ import annotations

from aiohttp import ClientError as ConnectionFailed
from botocore.exceptions import BotoCoreError, ClientError

FAILURES = (ClientError, BotoCoreError, ConnectionFailed, TimeoutError)
"""Everything that a request, or reading its answer, raises for a reason outside the program."""


def described(error: BaseException) -> tuple[str, str]:
    """
    A failure's code, empty where there was no answer, and words on it that identify nobody.

    The answer's own message names the caller's ARN where access is denied, and with it
    often a person; the code says enough.
    """
    if isinstance(error, ClientError):
        answer = error.response
        code = str(answer.get("Error", {}).get("Code", "")) or "Unknown"
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return code, f"{error.operation_name} answered {code} (HTTP {status})"
    return "", str(error) if isinstance(error, BotoCoreError) else type(error).__name__
