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
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, TypeVar

from exporter.records import Addendum, Record

INVALID = "(invalid)"

_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z0-9-]{1,32}")
_PROTOCOL = re.compile(r"[A-Za-z0-9]{0,16}")
_ID = re.compile(r"[A-Za-z0-9:_.-]{1,128}")
_ID_INTEGER_MAX = 10**128
_REMEMBERED_MAX = 4096
_REMEMBERED_LENGTH_MAX = 256


T = TypeVar("T")


class Remembered(dict[tuple[str, ...], T]):
    """
    What a function makes of texts, remembered within bounds.

    The labels of an organisation's events are few, and come again and again.
    """

    def __init__(self, make: Callable[..., T]) -> None:
        self._make = make

    def __missing__(self, texts: tuple[str, ...]) -> T:
        made = self._make(*texts)
        if sum(map(len, texts)) <= _REMEMBERED_LENGTH_MAX:
            if len(self) >= _REMEMBERED_MAX:
                self.clear()
            self[texts] = made
        return made


def is_counted(record: Record) -> bool:
    """
    Whether a record tells of a request, and not about requests.

    Insight, network-activity and aggregated records are about requests that have records of
    their own (CloudTrail User Guide, eventCategory, absent before version 1.07).
    """
    return record.event_category in (None, "Management")


def text(value: object) -> str:
    """
    A text; empty where there is none.
    """
    return value if isinstance(value, str) else ""


def id_text(value: object) -> str:
    """
    An id; empty where there is none. Ids compare as text, so 27 is "27".
    """
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _ID_INTEGER_MAX:
        value = str(value)
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


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


def error_label(code: object) -> str:
    """
    The error code of a failed request as a label value; empty for one that succeeded.
    """
    return "" if code in (None, "") else name_label(code)


def uuid_bytes(value: object) -> bytes:
    """
    The 16 bytes of a UUID; none of anything else.
    """
    if not isinstance(value, str) or len(value) != 36:
        return b""
    if not value[8] == value[13] == value[18] == value[23] == "-":
        return b""
    try:
        uuid = bytes.fromhex(value.replace("-", ""))
    except ValueError:
        return b""
    # Less than that many are told with spaces between them.
    return uuid if len(uuid) == 16 else b""


def uuid_text(value: object) -> str:
    """
    A UUID in lower case; empty for anything else.
    """
    return str(value).lower() if uuid_bytes(value) else ""


def identities(record: Record) -> tuple[bytes, ...]:
    """
    Every identity that a record tells, 16 bytes each.

    The same request can be told under two eventIDs that share a sharedEventID, and an
    addendum repeats an event under its originalEventID (CloudTrail User Guide).
    """
    event_id = uuid_bytes(record.event_id)
    if event_id and record.shared_event_id is None and record.addendum is None:
        return (event_id,)
    ids = [event_id, uuid_bytes(Addendum.of(record.addendum).original_event_id)]
    if shared := uuid_text(record.shared_event_id):
        names = (shared, text(record.event_source), text(record.event_name))
        ids.append(_digest(json.dumps(names)))
    return tuple(dict.fromkeys(filter(None, ids)))


def whole_identity(record: Mapping[str, Any]) -> bytes:
    """
    What a record is known by that tells no identity, like the samples of the CodeCommit guide.

    Raises:
        RecursionError: It is nested too deep.
    """
    return _digest(json.dumps(record, sort_keys=True))


def _bounded(pattern: re.Pattern[str], value: object, otherwise: str = INVALID) -> str:
    """
    The value if the pattern has it whole, else the stand-in.
    """
    return value if isinstance(value, str) and pattern.fullmatch(value) else otherwise


def _digest(whole: str) -> bytes:
    return blake2b(whole.encode(), digest_size=16).digest()
