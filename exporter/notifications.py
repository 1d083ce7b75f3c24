"""
Message bodies: which log files a message announces.

What a message is follows from its content, so that one queue may be fed in several ways at
once. Unknown fields and minor versions never matter: AWS adds both without notice. Rules:

1. An S3 event notification carries one or more records; each is a log file of its own. One
   record that cannot be read makes the whole message unreadable: it is left, and nothing
   that it announces gets lost unseen.
2. Object keys in S3 event notifications are form-encoded (Amazon S3 User Guide, "Event
   message structure"): ``+`` is a space and ``%2B`` a plus. In the messages of EventBridge
   and of CloudTrail itself they are plain.
3. SNS puts a message into an envelope of its own unless raw delivery is on (Amazon SNS
   Developer Guide, "Parsing Amazon SNS message formats"). What is in the envelope decides;
   a topic may feed another, but not without end.
4. Nothing in a message is trusted: a bucket is only a name until it is allowed, and no URL
   of a message is read, let alone opened.
5. An error says where a message is wrong, never what it says there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote_plus

import msgspec

from exporter.errors import ForeignMessage, UnreadableMessage
from exporter.timestamps import milliseconds

SNS_ENVELOPES_MAX = 3
"""How many envelopes of SNS may be around a message."""

VALIDATION = "CloudTrail validation message."
"""What CloudTrail publishes to a trail's topic when the trail is made: plain text, no JSON."""


class Envelope(StrEnum):
    """
    What kind of message it was, inside all envelopes of SNS.
    """

    S3 = "s3"
    S3_TEST = "s3_test"
    EVENTBRIDGE_S3 = "eventbridge_s3"
    EVENTBRIDGE_CLOUDTRAIL = "eventbridge_cloudtrail"
    CLOUDTRAIL = "cloudtrail"
    CLOUDTRAIL_VALIDATION = "cloudtrail_validation"
    SNS_SUBSCRIPTION = "sns_subscription"


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
class InlineRecord:
    """
    A CloudTrail record that a message holds itself, as JSON text, not yet read.

    ``account_id`` and ``sent_ms``, in milliseconds since 1970, are what the envelope says
    of the account that the event happened in and of its delivery.
    """

    text: bytes
    account_id: str | None = None
    sent_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """
    What one message announces; nothing to read where it announces no new object.
    """

    envelope: Envelope
    log_files: tuple[LogFile, ...] = ()
    inline: InlineRecord | None = None


class _Message(msgspec.Struct):
    """
    The members that tell what a message is; and what holds the rest, cut out but not read.
    """

    records: msgspec.Raw = msgspec.field(name="Records", default=msgspec.Raw())
    event: Any = msgspec.field(name="Event", default=None)
    sns_type: Any = msgspec.field(name="Type", default=None)
    sns_message: Any = msgspec.field(name="Message", default=None)
    source: Any = None
    detail_type: Any = msgspec.field(name="detail-type", default=None)
    detail: msgspec.Raw = msgspec.Raw()
    time: Any = None
    account: Any = None
    s3_bucket: msgspec.Raw = msgspec.field(name="s3Bucket", default=msgspec.Raw())
    s3_object_key: msgspec.Raw = msgspec.field(name="s3ObjectKey", default=msgspec.Raw())


class _S3Record(msgspec.Struct, rename="camel"):
    event_source: Any = None
    event_version: Any = None
    event_name: Any = None
    event_time: Any = None
    s3: msgspec.Raw = msgspec.Raw()

    @property
    def is_of_s3(self) -> bool:
        """
        Whether S3 sent it, or a store that imitates S3: "aws:s3", "minio:s3", "ceph:s3".
        """
        return isinstance(self.event_source, str) and self.event_source.endswith(":s3")

    @property
    def is_understood(self) -> bool:
        """
        Whether its major version is one whose fields are known.
        """
        return isinstance(self.event_version, str) and self.event_version.startswith("2.")


_Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Bucket(msgspec.Struct):
    name: _Name


class _Object(msgspec.Struct):
    key: _Name


class _Stored(msgspec.Struct):
    """
    Where an object is, as S3 tells it in its own notifications and through EventBridge.
    """

    bucket: _Bucket
    object: _Object


_message = msgspec.json.Decoder(_Message)
_s3_records = msgspec.json.Decoder(list[_S3Record])
_stored = msgspec.json.Decoder(_Stored)
_name = msgspec.json.Decoder(_Name)
_names = msgspec.json.Decoder(list[_Name] | _Name)

_Wanted = TypeVar("_Wanted")


def read_notification(body: str) -> Notification:
    """
    The notification a message body holds.

    Raises:
        ForeignMessage: It is none that this program knows.
        UnreadableMessage: It is one, but what it announces cannot be read.
    """
    text = body
    for _ in range(SNS_ENVELOPES_MAX + 1):
        if text.strip() == VALIDATION:
            return Notification(Envelope.CLOUDTRAIL_VALIDATION)
        message = _read_message(text)
        if message.sns_type != "Notification" or not isinstance(message.sns_message, str):
            return _notification(message)
        text = message.sns_message
    raise UnreadableMessage(f"is in more than {SNS_ENVELOPES_MAX} envelopes of SNS")


def _notification(message: _Message) -> Notification:
    """
    What a message without an envelope of SNS is.

    The records of CloudTrail's that EventBridge carries come before the events of S3, since
    both may be about S3. Of the detail types that end in "via CloudTrail" these three carry
    events (EventBridge User Guide, "AWS service events delivered via AWS CloudTrail"); of
    CloudTrail's insights and sign-ins none could be CodeCommit's.
    """
    match message:
        case _Message(records=records) if records:
            found = Notification(Envelope.S3, _s3_log_files(records))
        case _Message(event="s3:TestEvent"):
            found = Notification(Envelope.S3_TEST)
        case _Message(sns_type="SubscriptionConfirmation" | "UnsubscribeConfirmation"):
            found = Notification(Envelope.SNS_SUBSCRIPTION)
        case _Message(
            detail_type="AWS API Call via CloudTrail"
            | "AWS Service Event via CloudTrail"
            | "AWS Console Action via CloudTrail"
        ):
            found = Notification(Envelope.EVENTBRIDGE_CLOUDTRAIL, inline=_inline_record(message))
        case _Message(source="aws.s3", detail_type="Object Created"):
            found = Notification(Envelope.EVENTBRIDGE_S3, (_eventbridge_log_file(message),))
        case _Message(source="aws.s3", detail_type=str()):
            found = Notification(Envelope.EVENTBRIDGE_S3)
        case _Message(s3_object_key=keys) if keys and bytes(keys) != b"null":
            found = Notification(Envelope.CLOUDTRAIL, _delivered_log_files(message))
        case _:
            raise ForeignMessage("is JSON, but no notification of a new object")
    return found


def _s3_log_files(text: msgspec.Raw) -> tuple[LogFile, ...]:
    """
    The log files that the records of an S3 event notification announce.

    Other programs, CloudTrail first among them, call their lists Records too.
    """
    try:
        records = _s3_records.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ForeignMessage("has Records, but is no notification of S3's") from error
    if not any(record.is_of_s3 for record in records):
        raise ForeignMessage("has Records, but is no notification of S3's")
    return tuple(log_file for record in records if (log_file := _s3_log_file(record)))


def _s3_log_file(record: _S3Record) -> LogFile | None:
    """
    The log file that one record announces; None where it tells of anything but a new object.

    AWS names the event without "s3:" (Amazon S3 User Guide, "Event message structure"),
    MinIO with it.
    """
    name = record.event_name
    if not (record.is_of_s3 and record.is_understood and isinstance(name, str)):
        raise UnreadableMessage("has a record that is not of version 2 of S3's notifications")
    if not name.removeprefix("s3:").startswith("ObjectCreated:"):
        return None
    stored = _read(_stored, record.s3, "bucket and key")
    return LogFile(
        stored.bucket.name, unquote_plus(stored.object.key), milliseconds(record.event_time)
    )


def _eventbridge_log_file(message: _Message) -> LogFile:
    """
    The log file of which EventBridge tells, its key plain.
    """
    stored = _read(_stored, message.detail, "bucket and key")
    return LogFile(stored.bucket.name, stored.object.key, milliseconds(message.time))


def _delivered_log_files(message: _Message) -> tuple[LogFile, ...]:
    """
    The log files of which CloudTrail itself tells, or the one object of AWS Config.

    The message says nothing of the time (CloudTrail User Guide, "Configuring Amazon SNS
    notifications for CloudTrail"). AWS Config, which shares Control Tower's topic with
    CloudTrail, writes one key as plain text (AWS Config Developer Guide, "Example
    Configuration History Delivery Notification").
    """
    bucket = _read(_name, message.s3_bucket, "bucket")
    keys = _read(_names, message.s3_object_key, "keys")
    return tuple(LogFile(bucket, key) for key in ([keys] if isinstance(keys, str) else keys))


def _inline_record(message: _Message) -> InlineRecord:
    """
    The record that EventBridge carries.
    """
    text = bytes(message.detail)
    if not text.startswith(b"{"):
        raise UnreadableMessage("is an event without a record")
    account_id = message.account if isinstance(message.account, str) else None
    return InlineRecord(text, account_id, milliseconds(message.time))


def _read_message(text: str) -> _Message:
    """
    A message, not yet read any further.

    The fast reader refuses a text for one lone surrogate anywhere in it, as may stand where
    AWS cut a user agent short. Read plainly and encoded as it is, such a character troubles
    only those who need it.
    """
    try:
        return _message.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        plain = json.dumps(json.loads(text), ensure_ascii=False)
        return _message.decode(plain.encode(errors="surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise ForeignMessage("is no JSON object, and so no notification") from error


def _read(decoder: msgspec.json.Decoder[_Wanted], text: msgspec.Raw, what: str) -> _Wanted:
    """
    A part of a message that announces log files.
    """
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UnreadableMessage(f"is a notification whose {what} cannot be read") from error
