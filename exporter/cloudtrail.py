"""
CloudTrail log files: bytes in, CodeCommit events out.

Rules:

1. The whole file or nothing. A file that is truncated, damaged or too large raises; no
   part of it is ever counted.
2. One odd record costs one record. The others of its file count.
3. What the bytes are decides, not what the key's suffix says: HTTP clients and copies
   inflate objects on the way.
4. Most files hold no CodeCommit record. They are inflated and searched, not parsed.
5. No output without a bound: inflating stops at the cap.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from isal import isal_zlib

from exporter.codecommit import Event, Record, event, is_codecommit_event
from exporter.errors import MalformedLogFile, OversizedLogFile

_GZIP = b"\x1f\x8b"
_GZIP_WINDOW_BITS = 31
_GzipError: type[Exception] = isal_zlib.error  # type: ignore[assignment]
_PIECE_BYTES = 64 * 1024
_KEY_MINUTE = re.compile(r"_(\d{8}T\d{4})Z_[^/]*$")


class _File(msgspec.Struct):
    """
    A log file, its records cut apart but not yet read.
    """

    Records: list[msgspec.Raw]


_file = msgspec.json.Decoder(_File)
_json = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class Decoded:
    """
    What a log file holds for us.

    ``invalid`` counts records that name CodeCommit and cannot be read. ``inflated_bytes``
    is the size of the JSON text.
    """

    events: tuple[Event, ...]
    invalid: int
    inflated_bytes: int


def decode(body: bytes, *, inflated_bytes_max: int) -> Decoded:
    """
    The CodeCommit events of one log file, given its bytes as S3 stores them.

    Raises:
        MalformedLogFile: Not a CloudTrail log file, or a damaged one.
        OversizedLogFile: More than ``inflated_bytes_max`` when inflated.
    """
    text = inflate(body, inflated_bytes_max=inflated_bytes_max)
    events: list[Event] = []
    invalid = 0
    # The checksum of gzip proves that the text is whole; plain text must be read to its end.
    for record in _records(text, proven_whole=body.startswith(_GZIP)):
        try:
            if record is None:
                invalid += 1
            elif is_codecommit_event(record):
                events.append(event(record))
        except RecursionError:
            invalid += 1
    return Decoded(tuple(events), invalid, len(text))


def inflate(body: bytes, *, inflated_bytes_max: int) -> bytes:
    """
    The text of a log file: inflated if it is gzip, as it stands if not.

    A gzip file may have several members and zeros after the last one (RFC 1952).

    Raises:
        MalformedLogFile: The gzip stream is cut, damaged or followed by something else.
        OversizedLogFile: The text is larger than the cap; inflating stops there.
    """
    if not body.startswith(_GZIP):
        if len(body) > inflated_bytes_max:
            raise OversizedLogFile(f"holds {len(body)} bytes, the cap is {inflated_bytes_max}")
        return body
    pieces: list[bytes] = []
    room = inflated_bytes_max
    rest = memoryview(body)
    while rest.nbytes and not _is_padding(rest):
        taken, room = _inflate_member(rest, pieces, room)
        rest = rest[taken:]
    return b"".join(pieces)


def delivery_minute_ms(key: str) -> int | None:
    """
    The minute in a log file's name, in milliseconds since 1970; None where there is none.

    It is the minute of delivery, not of any event (CloudTrail User Guide, "CloudTrail log
    file name format").
    """
    match = _KEY_MINUTE.search(key)
    if not match:
        return None
    try:
        minute = datetime.strptime(match[1], "%Y%m%dT%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(minute.timestamp() * 1000)


def _is_padding(rest: memoryview) -> bool:
    """
    Whether nothing but zeros is left, as tape-minded writers pad gzip files.
    """
    return rest[0] == 0 and not rest.tobytes().strip(b"\0")


def _inflate_member(body: memoryview, pieces: list[bytes], room: int) -> tuple[int, int]:
    """
    Inflate one gzip member onto ``pieces``; tell how many bytes it took and the room left.

    The input goes in by pieces because the inflater copies what it has not used yet, and
    each call is asked for at most what there is room for, plus one byte to see an excess.
    """
    inflater = isal_zlib.decompressobj(_GZIP_WINDOW_BITS)
    taken = 0
    try:
        while not inflater.eof:
            piece = body[taken : taken + _PIECE_BYTES]
            if not piece:
                raise MalformedLogFile("the gzip stream ends before its end")
            taken += len(piece)
            text = inflater.decompress(piece, room + 1)
            room -= len(text)
            if room < 0:
                raise OversizedLogFile("inflates to more bytes than the cap")
            pieces.append(text)
    except _GzipError as error:
        raise MalformedLogFile(f"the gzip stream is damaged: {error}") from error
    return taken - len(inflater.unused_data), room


def _names_codecommit(text: bytes) -> bool:
    """
    Whether a JSON text is worth reading: it names CodeCommit, or may do so in escapes.

    JSON may write any letter as an escape. Every letter of the name but the last is 6x in
    hexadecimal, so a writer that escapes one of them leaves this trace, and the last letter
    need not be asked for.
    """
    return b"codecommi" in text or b"\\u006" in text


def _looks_like_log_file(text: bytes) -> bool:
    """
    Whether a text that is not going to be parsed begins, ends and reads like a log file.
    """
    return (
        text[:64].lstrip()[:1] == b"{" and text[-64:].rstrip()[-1:] == b"}" and b'"Records"' in text
    )


def _records(text: bytes, *, proven_whole: bool) -> Iterable[Record | None]:
    """
    The records that name CodeCommit, decoded; None stands for one that cannot be read.
    """
    if proven_whole and not _names_codecommit(text) and _looks_like_log_file(text):
        return ()
    try:
        slices = _file.decode(text).Records
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # A lone surrogate or deep nesting in one record makes the fast reader refuse all of
        # them, and so does "Records": null. The plain reader tells what it really is.
        return _records_read_plainly(text)
    return (_record(piece) for piece in map(bytes, slices) if _names_codecommit(piece))


def _record(text: bytes) -> Record | None:
    try:
        record = _json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) else None


def _records_read_plainly(text: bytes) -> list[Record | None]:
    try:
        file = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedLogFile(f"is not JSON: {error}") from error
    if not isinstance(file, dict) or "Records" not in file:
        raise MalformedLogFile("has no Records")
    records = file["Records"]
    if records is None:
        return []
    if not isinstance(records, list):
        raise MalformedLogFile("has Records that are no list")
    return [
        record if isinstance(record, dict) else None
        for record in records
        if isinstance(record, dict) or "codecommit" in str(record)
    ]
