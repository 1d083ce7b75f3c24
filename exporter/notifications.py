"""
Message bodies: which log files a message announces.

What a message is follows from its content. Unknown fields and minor versions never
matter: AWS adds both without notice. Rules:

1. An S3 event notification carries one or more records; each is a log file of its own.
2. Object keys in S3 event notifications are form-encoded (Amazon S3 User Guide, "Event
   message structure"): ``+`` is a space and ``%2B`` a plus.
3. Nothing in a message is trusted: a bucket is only a name until it is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from exporter.errors import ForeignMessage
from exporter.timestamps import milliseconds


class Envelope(StrEnum):
    """
    What kind of message it was.
    """

    S3 = "s3"
    S3_TEST = "s3_test"


@dataclass(frozen=True, slots=True)
class LogFile:
    """
    The address of one CloudTrail log file, and what its announcement says of it.

    ``announced_ms`` is the time at which S3 stored it, in milliseconds since 1970.
    """

    bucket: str
    key: str
    announced_ms: int | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Notification:
    """
    What one message announces; nothing to read where it announces no new object.
    """

    envelope: Envelope
    log_files: tuple[LogFile, ...] = ()


class _Bucket(msgspec.Struct):
    name: str


class _Object(msgspec.Struct):
    key: str


class _Entity(msgspec.Struct):
    bucket: _Bucket
    object: _Object


class _S3Record(msgspec.Struct, rename="camel"):
    event_version: str
    event_name: str
    s3: _Entity
    event_time: Any = None


_s3_records = msgspec.json.Decoder(list[_S3Record])
_message = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_notification(body: str) -> Notification:
    """
    The notification a message body holds.

    Raises:
        ForeignMessage: It is none that this program knows.
    """
    try:
        message = _message.decode(body)
        if "Records" in message:
            return _s3_notification(message["Records"])
        if bytes(message.get("Event", b"")) == b'"s3:TestEvent"':
            return Notification(Envelope.S3_TEST)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ForeignMessage(f"is no notification: {error}") from error
    raise ForeignMessage("is JSON, but no notification of a new object")


def _s3_notification(records: msgspec.Raw) -> Notification:
    return Notification(
        Envelope.S3,
        tuple(
            LogFile(
                record.s3.bucket.name,
                unquote_plus(record.s3.object.key),
                milliseconds(record.event_time),
            )
            for record in map(_understood, _s3_records.decode(records))
            if record.event_name.removeprefix("s3:").startswith("ObjectCreated:")
        ),
    )


def _understood(record: _S3Record) -> _S3Record:
    """
    The record, if its major version is one whose fields are known.
    """
    if not record.event_version.startswith("2."):
        raise ForeignMessage(f"has S3 event version {record.event_version!r}, not 2.x")
    return record
