"""
How the values of options are written, and who reads them.

Rule 1. Every source hands over text, and only the types of this file know what it means.
So a value is written the same way everywhere and refused with the same words.

Rule 2. A reader raises ValueError with a sentence that quotes the value and says what to
write instead.

Rule 3. Beside a reader whose texts others check before the program runs, as the Helm chart
does, stands a regular expression that every text it takes matches as a whole. It may match
more than is taken. Python, ECMAScript and RE2 all read it, so it does not look around.
"""

from __future__ import annotations

import ipaddress
import json
import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
)
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import CoreSchema, core_schema

from exporter.families import EVENT_LABELS

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler


PROGRAM = "codecommit-exporter"


@dataclass(frozen=True, slots=True)
class Written:
    """
    How the value of a type is written.

    That is what ``--help`` calls it, who reads it, and the regular expression it matches,
    where there is one.
    Text goes through ``read``; anything else is taken as it is, so that code can make
    settings from values.
    """

    metavar: str
    read: Callable[[str], object]
    pattern: str = ""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """
        Put the reading of text before pydantic's own check of the type.
        """
        return core_schema.no_info_before_validator_function(self.value, handler(source))

    def value(self, given: object) -> object:
        """
        The value that text stands for.
        """
        return self.read(given) if isinstance(given, str) else given


def quote(text: str) -> str:
    """
    The text in quotes and on one line, whatever it holds.
    """
    return json.dumps(text)


def either(words: Sequence[str]) -> str:
    """
    The words as a choice, such as ``a, b or c``.
    """
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


_DURATION = r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?"
_MILLISECONDS = (86_400_000, 3_600_000, 60_000, 1_000, 1)
_DIGITS_MAX = 12
"""Digits of the largest number an option takes; no duration or size needs as many."""


def read_seconds(text: str) -> float:
    """
    The seconds of a duration such as ``90s``, ``1m30s``, ``90d`` or ``500ms``.

    Only 0 goes without a unit, since it means the same in every one. Raises ValueError.
    """
    if text == "0":
        return 0.0
    if _is_number(text):
        raise ValueError(f"{quote(text)} has no unit; write {text}s, 2m, 1h or 1d")
    match = re.fullmatch(_DURATION, text, re.ASCII)
    if not text or match is None or any(len(n or "") > _DIGITS_MAX for n in match.groups()):
        raise ValueError(f"{quote(text)} is no duration; write 500ms, 90s, 1m30s, 1h or 90d")
    counts = (int(n or 0) for n in match.groups())
    milliseconds: int = sum(map(operator.mul, counts, _MILLISECONDS))
    return milliseconds / 1000


def read_seconds_above_zero(text: str) -> float:
    """
    The seconds of a duration that is not empty. Raises ValueError.
    """
    seconds = read_seconds(text)
    if not seconds:
        raise ValueError(f"{quote(text)} is no time at all; write 500ms, 90s, 1h or 90d")
    return seconds


def read_zero_seconds(text: str) -> float:
    """
    The seconds of a duration of which only ``0s`` is there yet. Raises ValueError.
    """
    seconds = read_seconds(text)
    if seconds:
        raise ValueError(f"{quote(text)} is not available in this version; write 0s (never)")
    return seconds


_SIZE = r"(\d+)(KiB|MiB|GiB|TiB)?"
_BYTES = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def read_bytes(text: str) -> int:
    """
    The bytes of a size such as ``64MiB``, or of a plain number. Raises ValueError.
    """
    match = re.fullmatch(_SIZE, text, re.ASCII)
    if match is None or len(match[1]) > _DIGITS_MAX:
        raise ValueError(f"{quote(text)} is no size; write 512KiB, 64MiB, 1GiB or 1048576 (bytes)")
    if not int(match[1]):
        raise ValueError(f"{quote(text)} leaves no room for anything; write 64MiB, for example")
    return int(match[1]) * _BYTES[match[2]]


_ABOVE_ZERO = r"0*[1-9]\d*"


def read_rate(text: str) -> float:
    """
    A number above 0, such as ``2`` or ``0.5``. Raises ValueError.
    """
    if not _is_number(text) or not 0 < float(text) < math.inf:
        raise ValueError(f"{quote(text)} is no number above 0; write 2 or 0.5")
    return float(text)


def _is_number(text: str) -> bool:
    """
    Whether the text is a plain decimal number, without sign or exponent.
    """
    return re.fullmatch(r"\d{1,12}(\.\d{1,12})?", text, re.ASCII) is not None


def read_integer(text: str) -> int:
    """
    A whole number. Raises ValueError.
    """
    if not re.fullmatch(r"-?\d{1,12}", text, re.ASCII):
        raise ValueError(f"{quote(text)} is no whole number; write 1, for example")
    return int(text)


def read_count(text: str) -> int:
    """
    A whole number above 0. Raises ValueError.
    """
    if not re.fullmatch(r"\d{1,12}", text, re.ASCII) or not int(text):
        raise ValueError(f"{quote(text)} is no whole number above 0; write 10000, for example")
    return int(text)


_ACCOUNT_ID = r"\d{12}"


def read_account_id(text: str) -> str:
    """
    The id of an AWS account. Raises ValueError.
    """
    if not re.fullmatch(_ACCOUNT_ID, text, re.ASCII):
        raise ValueError(f"{quote(text)} is no account id; write 123456789012 (12 digits)")
    return text


_ON = frozenset({"true", "yes", "on", "1"})
_OFF = frozenset({"false", "no", "off", "0"})


def read_switch(text: str) -> bool:
    """
    Whether something is switched on. Raises ValueError.
    """
    if text.lower() not in _ON | _OFF:
        raise ValueError(f"{quote(text)} is neither on nor off; write true or false")
    return text.lower() in _ON


def read_path(text: str) -> Path:
    """
    A path, in which ``~`` is the home folder. Raises ValueError.
    """
    if not text or "\0" in text:
        raise ValueError(f"{quote(text)} is no path; write /var/lib/{PROGRAM}, for example")
    return Path(os.path.expanduser(text))  # noqa: PTH111 - leaves ~ alone where nobody is at home


_QUEUE_URL = r"[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+/+[^\s/?#][^\s?#]*\??#?"
"""The URL of a host with a path; a query or a fragment there may be is empty."""


def read_queue_url(text: str) -> str:
    """
    The URL of a queue, as SQS gives it. Raises ValueError.
    """
    wanted = "write https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE"
    if text.startswith("arn:"):
        raise ValueError(f"{quote(text)} is the queue's ARN; {wanted}")
    try:
        parts = urlsplit(text)
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.path.strip("/")
        _ = parts.port  # looks at it, and raises ValueError where it is none
    except ValueError:
        raise ValueError(f"{quote(text)} is no URL; {wanted}") from None
    if parts.username is not None:
        # Not quoted: what stands there may be a password.
        raise ValueError(f"a queue's URL has no user name or password in it; {wanted}")
    if not known or parts.query or parts.fragment or not re.fullmatch(r"[!-~]+", text):
        raise ValueError(f"{quote(text)} is no queue's URL; {wanted}")
    return text


Seconds = Annotated[float, Written("DURATION", read_seconds, f"0|{_DURATION}")]
SecondsAboveZero = Annotated[float, Written("DURATION", read_seconds_above_zero, _DURATION)]
ZeroSeconds = Annotated[float, Written("0s", read_zero_seconds, "[0dhms]+")]
Bytes = Annotated[int, Written("SIZE", read_bytes, f"{_ABOVE_ZERO}(KiB|MiB|GiB|TiB)?")]
Rate = Annotated[float, Written("NUMBER", read_rate)]
Integer = Annotated[int, Written("NUMBER", read_integer)]
Count = Annotated[int, Written("NUMBER", read_count, _ABOVE_ZERO)]
AccountIdOrNone = Annotated[str | None, Written("ID", read_account_id, _ACCOUNT_ID)]
Switch = Annotated[bool, Written("true|false", read_switch)]
FileOrNone = Annotated[Path | None, Written("FILE", read_path)]
Folder = Annotated[Path, Written("FOLDER", read_path)]
QueueUrl = Annotated[str, Written("URL", read_queue_url, _QUEUE_URL)]


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """
    Where the web server listens.

    An empty host stands for all interfaces, port 0 for whichever port is free.
    """

    host: str
    port: int

    @classmethod
    def read(cls, text: str) -> ListenAddress:
        """
        The address of ``:10112``, ``127.0.0.1:10112``, ``localhost:0`` or ``[::1]:10112``.

        Raises ValueError.
        """
        match = re.fullmatch(r"(?:\[(.+)\]|([A-Za-z0-9_.-]*)):(\d{1,5})", text, re.ASCII)
        if match is None or int(match[3]) > 65_535 or not _is_ipv6(match[1] or "::"):
            raise ValueError(
                f"{quote(text)} is no address to listen on; "
                "write :10112 (all interfaces), 127.0.0.1:10112 or [::1]:10112"
            )
        return cls(match[1] or match[2] or "", int(match[3]))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _is_ipv6(text: str) -> bool:
    """
    Whether the text is an IPv6 address.
    """
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


_OTHER_KINDS_OF_BUCKET = (
    "-s3alias",
    "--ol-s3",
    ".mrap",
    "--x-s3",
    "--xa-s3",
    "--op-s3",
    "--table-s3",
)
"""
Endings that S3 keeps for access point aliases, Object Lambda and multi-Region access
points, directory buckets and access points to them, S3 on Outposts, and table buckets (S3
User Guide, general purpose bucket naming rules; ``--xa-s3`` and ``--op-s3`` are in the
endpoint rules that botocore reads). Such a name may lead to another account's bucket.
"""

_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_S3_HOSTS = (".amazonaws.com", ".amazonaws.com.cn")


@dataclass(frozen=True, slots=True)
class AllowedBucket:
    """
    A bucket whose log files are read, and the account that must own it.

    An empty owner stands for any account.
    """

    name: str
    owner: str = ""

    @classmethod
    def read(cls, text: str) -> AllowedBucket:
        """
        The bucket of ``NAME`` or ``NAME=OWNER``. Raises ValueError.

        The name is checked by the rules for general purpose buckets (S3 User Guide):
        an ARN here would let a notification reach another account's endpoint.
        """
        name, equals, owner = text.partition("=")
        if name.startswith("arn:"):
            raise ValueError(f"{quote(name)} is an ARN; write the bucket's name only")
        if name.endswith(_OTHER_KINDS_OF_BUCKET):
            raise ValueError(
                f"{quote(name)} names an access point or a special kind of bucket; "
                "write the name of the general purpose bucket"
            )
        if not is_bucket_name(name):
            raise ValueError(
                f"{quote(name)} is no bucket's name; "
                "write 3 to 63 lower-case letters, digits, dots and hyphens"
            )
        if equals and not re.fullmatch(_ACCOUNT_ID, owner, re.ASCII):
            raise ValueError(
                f"{quote(owner)} is no account id; write {name}=123456789012 (12 digits)"
            )
        return cls(name, owner)

    def __str__(self) -> str:
        return f"{self.name}={self.owner}" if self.owner else self.name


def is_bucket_name(text: str) -> bool:
    """
    Whether the text can be the name of a general purpose bucket.

    The rules are those of the S3 User Guide, general purpose bucket naming rules. The host
    names of S3 itself keep to them, and are refused as what they nearly always are: a
    mistake, or an attempt.
    """
    return (
        re.fullmatch(_BUCKET, text) is not None
        and ".." not in text
        and re.fullmatch(r"\d+\.\d+\.\d+\.\d+", text) is None
        and not text.endswith((*_OTHER_KINDS_OF_BUCKET, *_S3_HOSTS))
    )


_LEDGER = r"memory:|sqlite:///[^?\x00]*[^/?\x00]"


@dataclass(frozen=True, slots=True)
class LedgerUrl:
    """
    Where the ledger is kept: a SQLite file, or in memory where there is no path.
    """

    path: Path | None

    @classmethod
    def read(cls, text: str) -> LedgerUrl:
        """
        The place named by ``sqlite:///PATH`` or ``memory:``.

        A path after three slashes is relative to the state directory, after four it is
        absolute, as in other programs' SQLite URLs. Raises ValueError.
        """
        wanted = "write sqlite:///ledger.db (in the state directory), sqlite:////PATH or memory:"
        if text == "memory:":
            return cls(None)
        if text.startswith("dynamodb:"):
            raise ValueError(f"{quote(text)}: DynamoDB is not available in this version; {wanted}")
        path = text.removeprefix("sqlite:///")
        # SQLite's own names for "no file", queries of an URL and folders are no ledger files.
        if path in {text, "", ":memory:"} or path.endswith("/") or set(path) & set("?\0"):
            raise ValueError(f"{quote(text)} is no ledger; {wanted}")
        return cls(Path(path))

    def file(self, state_directory: Path) -> Path | None:
        """
        The SQLite file, or None where the ledger is kept in memory.
        """
        return None if self.path is None else state_directory / self.path

    def __str__(self) -> str:
        return "memory:" if self.path is None else f"sqlite:///{self.path}"


_BACKUPS = rf"s3://{_BUCKET}(/[^/].*)?/*|(/|~|file:///)[^\x00]*"


@dataclass(frozen=True, slots=True)
class BackupUrl:
    """
    Where backups of the ledger are kept: a folder, or a prefix of a bucket where it is None.
    """

    folder: Path | None
    bucket: str = ""
    prefix: str = ""

    @classmethod
    def read(cls, text: str) -> BackupUrl:
        """
        The place named by ``/PATH``, ``~/PATH``, ``file:///PATH`` or ``s3://BUCKET/PREFIX``.

        A relative path is refused: backups belong on another disk than the state directory,
        and it could only mean one near by. Raises ValueError.
        """
        wanted = "write /PATH, ~/PATH or s3://BUCKET/PREFIX"
        if text.startswith("s3://"):
            bucket, _, prefix = text.removeprefix("s3://").rstrip("/").partition("/")
            if not is_bucket_name(bucket):
                raise ValueError(f"{quote(text)} names no general purpose bucket; {wanted}")
            if prefix.startswith("/") or not prefix.isprintable():
                raise ValueError(f"{quote(text)} names no place in a bucket; {wanted}")
            return cls(None, bucket, prefix)
        path = unquote(text.removeprefix("file://")) if text.startswith("file:///") else text
        folder = read_path(path)
        if not folder.is_absolute():
            raise ValueError(f"{quote(text)} is no place for backups; {wanted}")
        return cls(folder)

    def __str__(self) -> str:
        return str(self.folder or f"s3://{self.bucket}/{self.prefix}".rstrip("/"))


class Rebuild(StrEnum):
    """
    What to do about a lost ledger.
    """

    RESTORE = "restore"
    MARK = "mark"
    RECOUNT = "recount"
    FRESH = "fresh"

    @classmethod
    def read(cls, text: str) -> Rebuild:
        """
        What a word stands for. Raises ValueError.
        """
        if text not in tuple(cls):
            raise ValueError(f"{quote(text)} is no way to rebuild; write {either(tuple(cls))}")
        return cls(text)


LedgerUrlGiven = Annotated[LedgerUrl, Written("URL", LedgerUrl.read, _LEDGER)]
RebuildOrNone = Annotated[
    Rebuild | None, Written("|".join(Rebuild), Rebuild.read, "|".join(Rebuild))
]
BackupUrlGiven = Annotated[BackupUrl, Written("URL", BackupUrl.read, _BACKUPS)]
BackupUrlOrNone = Annotated[BackupUrl | None, Written("URL", BackupUrl.read, _BACKUPS)]


def _split(given: object) -> object:
    """
    The single values of an option that may be given several times.

    A flag is repeated, a variable holds commas, the file has a list; each may do as the
    others do. Raises ValueError where nothing is left.
    """
    items: Iterable[object] = (given,) if isinstance(given, str) else given  # type: ignore[assignment]
    values = tuple(
        value
        for item in items
        for value in (map(str.strip, item.split(",")) if isinstance(item, str) else (item,))
        if value != ""
    )
    if not values:
        raise ValueError("is empty; write at least one value")
    return values


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """
    The values, unless two of them name the same thing. Raises ValueError.
    """
    seen = set[object]()
    for value in values:
        name = getattr(value, "name", value)
        if name in seen:
            raise ValueError(f"{quote(name)} is given twice; write it once")
        seen.add(name)
    return values


QueueUrls = Annotated[tuple[QueueUrl, ...], BeforeValidator(_split), AfterValidator(_each_once)]
AllowedBuckets = Annotated[
    tuple[
        Annotated[
            AllowedBucket,
            Written("NAME[=OWNER]", AllowedBucket.read, f"{_BUCKET}(={_ACCOUNT_ID})?"),
        ],
        ...,
    ],
    BeforeValidator(_split),
    AfterValidator(_each_once),
]
ListenAddresses = Annotated[
    tuple[Annotated[ListenAddress, Written("[HOST]:PORT", ListenAddress.read)], ...],
    BeforeValidator(_split),
]


NO_LABELS = "none"


def read_event_label(text: str) -> str:
    """
    A label of an event, or the word for no labels. Raises ValueError.
    """
    if text not in (*EVENT_LABELS, NO_LABELS):
        labels = either((*EVENT_LABELS, NO_LABELS))
        raise ValueError(f"{quote(text)} is no label of an event; write {labels}")
    return text


def _labels(given: tuple[str, ...]) -> tuple[str, ...]:
    """
    The labels in the order of the family. Raises ValueError where there are labels and none.
    """
    if NO_LABELS in given and len(given) > 1:
        raise ValueError(f"has {NO_LABELS} beside labels; write one or the other")
    return tuple(label for label in EVENT_LABELS if label in given)


DeliveryLabels = Annotated[
    tuple[
        Annotated[str, Written("LABEL", read_event_label, "|".join((*EVENT_LABELS, NO_LABELS)))],
        ...,
    ],
    BeforeValidator(_split),
    AfterValidator(_each_once),
    AfterValidator(_labels),
]
