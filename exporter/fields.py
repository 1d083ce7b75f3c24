"""
Reading the fields of a record that comes from outside.

Rules:

1. Every field may be missing, null or of another type than expected. It
   gives an empty value, or the label value ``(invalid)``.
2. Label values are bounded here and nowhere else.

Field names and types are those of the CloudTrail User Guide ("CloudTrail record contents").
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from uuid import UUID

INVALID = "(invalid)"

Record = Mapping[str, Any]
"""One decoded CloudTrail record."""

_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z0-9-]{1,32}")
_PROTOCOL = re.compile(r"[A-Za-z0-9]{0,16}")
_ID = re.compile(r"[A-Za-z0-9:_.-]{1,128}")
_ID_INTEGER_MAX = 10**128
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def is_counted(record: Record) -> bool:
    """
    Whether a record tells of a request, and not about requests.

    Insight, network-activity and aggregated records are about requests that have records of
    their own (CloudTrail User Guide, eventCategory, absent before version 1.07).
    """
    return record.get("eventCategory") in (None, "Management")


def inside(parent: Any, name: str) -> Record:
    """
    The JSON object under a name, or an empty one.
    """
    child = parent.get(name) if isinstance(parent, dict) else None
    return child if isinstance(child, dict) else {}


def items(parent: Record, name: str) -> list[Any]:
    """
    The list under a name, or an empty one.
    """
    child = parent.get(name)
    return child if isinstance(child, list) else []


def text(parent: Any, name: str) -> str:
    """
    The text under a name; empty where there is none.
    """
    child = parent.get(name) if isinstance(parent, dict) else None
    return child if isinstance(child, str) else ""


def boolean(parent: Record, name: str) -> bool | None:
    """
    The boolean under a name; None for anything else.
    """
    child = parent.get(name)
    return child if isinstance(child, bool) else None


def id_text(parent: Record, name: str) -> str:
    """
    The id under a name; empty where there is none. Ids compare as text, so 27 is "27".
    """
    child = parent.get(name)
    if isinstance(child, int) and not isinstance(child, bool) and abs(child) < _ID_INTEGER_MAX:
        child = str(child)
    return child if isinstance(child, str) and _ID.fullmatch(child) else ""


def account_label(value: object) -> str:
    """
    An account id as a label value.
    """
    return _bounded(_ACCOUNT, value)


def region_label(value: object) -> str:
    """
    A Region as a label value.
    """
    return _bounded(_REGION, value)


def repository_label(value: object) -> str:
    """
    A repository's name as a label value; empty where it cannot be one.
    """
    return _bounded(_REPOSITORY, value, otherwise="")


def name_label(value: object) -> str:
    """
    An action, error code or identity type as a label value.
    """
    return _bounded(_NAME, value)


def protocol_label(value: object) -> str:
    """
    A protocol as a label value; there is none for API calls.
    """
    return "" if value is None else _bounded(_PROTOCOL, value)


def error_label(record: Record) -> str:
    """
    The error code of a failed request as a label value; empty for one that succeeded.
    """
    code = record.get("errorCode")
    return "" if code in (None, "") else name_label(code)


def uuid_text(value: object) -> str:
    """
    A UUID in lower case; empty for anything else.
    """
    return value.lower() if isinstance(value, str) and _UUID.fullmatch(value) else ""


def identities(record: Record) -> tuple[bytes, ...]:
    """
    Every identity of a record, 16 bytes each, never none.

    The same request can be told under two eventIDs that share a sharedEventID, and an
    addendum repeats an event under its originalEventID (CloudTrail User Guide). What has
    no UUID at all, like the samples of the CodeCommit guide, is known by its whole text.

    Raises:
        RecursionError: The whole text is needed, and nested too deep.
    """
    uuids = (
        uuid_text(record.get("eventID")),
        uuid_text(inside(record, "addendum").get("originalEventID")),
    )
    ids = [UUID(one).bytes for one in uuids if one]
    if shared := uuid_text(record.get("sharedEventID")):
        names = (shared, text(record, "eventSource"), text(record, "eventName"))
        ids.append(_digest(json.dumps(names)))
    if not ids:
        ids.append(_digest(json.dumps(record, sort_keys=True)))
    return tuple(dict.fromkeys(ids))


def _bounded(pattern: re.Pattern[str], value: object, otherwise: str = INVALID) -> str:
    """
    The value if the pattern has it whole, else the stand-in.
    """
    return value if isinstance(value, str) and pattern.fullmatch(value) else otherwise


def _digest(whole: str) -> bytes:
    return blake2b(whole.encode(), digest_size=16).digest()
