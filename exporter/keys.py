"""
Object keys: what lies under a key, as far as the key tells.

Beside log files a trail's bucket holds digest files and other things that CloudTrail
writes, and often those of other services. Rules:

1. A file name in a form of CloudTrail's own decides. Else the folder behind the account
   does, in the layout that every service of AWS shares.
2. Prefixes are free text, and may hold the names of those folders and files themselves.
   Nothing in a prefix decides anything.
3. Where the key tells nothing, the content decides: one vain request costs less than a
   lost log file.

Names and folders are those of the CloudTrail User Guide ("Finding your CloudTrail log
files", "CloudTrail log file name format", "CloudTrail digest file structure", "Download
saved query results"). Control Tower puts the organization's id before the shared layout as
well, which is a prefix like any other.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum


class ObjectKind(StrEnum):
    """
    What lies under a key.
    """

    LOG_FILE = "log_file"
    DIGEST = "digest"
    INSIGHT = "insight"
    NETWORK_ACTIVITY = "network_activity"
    AGGREGATED = "aggregated"
    LAKE = "lake"
    CONFIG = "config"
    MARKER = "marker"
    OTHER = "other_service"


SUFFIXES = (".json", ".json.gz")
"""What log files are called; one that has been announced may be called anything."""

_KINDS = {
    "CloudTrail": ObjectKind.LOG_FILE,
    "CloudTrail-Digest": ObjectKind.DIGEST,
    "CloudTrail-Insight": ObjectKind.INSIGHT,
    "CloudTrail-NetworkActivity": ObjectKind.NETWORK_ACTIVITY,
    "CloudTrail-Aggregated": ObjectKind.AGGREGATED,
    "CloudTrail-Lake": ObjectKind.LAKE,
    "Config": ObjectKind.CONFIG,
}
"""What a folder, and the word in the names of CloudTrail's files, stands for."""

# <account>_<word>_<region>_<minute>_<unique>.json.gz, and for a digest file
# <account>_<word>_<region>_<trail>_<home region>_<second>[_backfill].json.gz
_NAME = re.compile(
    r"[0-9]{12}_(CloudTrail(?:-[A-Za-z]+)?)_[a-z0-9-]+_(?:[A-Za-z0-9._-]+_)?"
    r"[0-9]{8}T[0-9]{4}(?:[0-9]{2})?Z(?:_[A-Za-z0-9]+)?(?:\.json)?(?:\.gz)?"
)
# The first part takes as much as it can, so that the last such place is found.
_FOLDER = re.compile(r"(?:.*/)?AWSLogs/(?:o-[a-z0-9]+/)?[0-9]{12}/([^/]+)/", re.DOTALL)
_MINUTE = re.compile(r"_([0-9]{8}T[0-9]{4})Z_")


def object_kind(key: str) -> ObjectKind:
    """
    What lies under a key; a log file unless the key tells otherwise.

    A key that ends in a slash is the marker of a folder, without content: CloudTrail makes
    some when a trail is made, and so does the S3 console.
    """
    if key.endswith("/"):
        return ObjectKind.MARKER
    name = _NAME.fullmatch(_name(key))
    if name and name[1] in _KINDS:
        return _KINDS[name[1]]
    folder = _FOLDER.match(key)
    return _KINDS.get(folder[1], ObjectKind.OTHER) if folder else ObjectKind.LOG_FILE


def is_log_file(key: str) -> bool:
    """
    Whether what was found, in a bucket or a folder, is worth reading without an announcement.
    """
    return key.endswith(SUFFIXES) and object_kind(key) is ObjectKind.LOG_FILE


def delivery_minute_ms(key: str) -> int | None:
    """
    The minute in a log file's name, in milliseconds since 1970; None where there is none.

    It is the minute of delivery, not of any event (CloudTrail User Guide, "CloudTrail log
    file name format").
    """
    match = _MINUTE.search(_name(key))
    if not match:
        return None
    try:
        minute = datetime.strptime(match[1], "%Y%m%dT%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(minute.timestamp() * 1000)


def _name(key: str) -> str:
    """
    The file name: what follows the last slash.
    """
    return key.rpartition("/")[2]
