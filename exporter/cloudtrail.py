"""
CloudTrail log files: bytes in, CodeCommit events and what CodeCommit asked of AWS KMS out.

Rules:

1. The whole file or nothing. A file that is truncated, damaged or too large raises; no
   part of it is ever counted.
2. One odd record costs one record. The others of its file count.
3. What the bytes are decides, not what the key's suffix says: HTTP clients and copies
   inflate objects on the way.
4. Most files hold no CodeCommit record. They are inflated and searched, not parsed.
5. No output without a bound: inflating stops at the cap. A large text is not kept before it
   has been seen to its end and is known to be whole, within the cap and worth reading; then
   it is inflated a second time. A bomb costs time, never memory.
6. The fast reader refuses a whole file for one record that it cannot read. Such a file is
   cut at its brackets, and every record read on its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
from isal import isal_zlib

from exporter.codecommit import Event, event, is_codecommit_event
from exporter.errors import MalformedLogFile, OversizedLogFile, UnreadableMessage
from exporter.fields import Record
from exporter.kms import KmsRequest, is_kms_request, kms_request

_GZIP = b"\x1f\x8b"
_GZIP_WINDOW_BITS = 31
_GzipError: type[Exception] = isal_zlib.error  # type: ignore[assignment]
_PIECE_BYTES = 64 * 1024
_TEXT_PIECE_BYTES = 1024 * 1024
_KEPT_BYTES_MAX = 4 * 1024 * 1024
"""A text up to this size is kept while it is inflated; CloudTrail's seldom are larger."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_RECORD_BYTES_MAX = 1024 * 1024
"""A larger record is none of CloudTrail's, which leaves out what is over 100 KB (CloudTrail
User Guide, "CloudTrail record contents"). Read, it would take many times its size."""

_RECORDS_MAX = 200_000
"""So many records of ours are more than one file of CloudTrail's holds, by far. They are all
in memory until they are counted."""

_EDGE_BYTES = 64
"""Enough to see how a text begins and ends, and whatever is searched for across an edge."""

_ESCAPED_LETTER = re.compile(rb"\\u006")
"""An expression and not a text, since looking for backslashes is quicker than for the rest."""

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[][{},]', re.DOTALL)
"""What tells where a JSON value ends: brackets and commas, and the strings to be passed over.

A string that does not end goes on to the end of the text, so that none is looked at twice."""

_MEMBER_NAME = re.compile(rb'\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+")\s*+:\s*+', re.DOTALL)
_BLANK = re.compile(rb"\s*")
_COMMA = ord(",")


class _File(msgspec.Struct):
    """
    A log file, its records cut apart but not yet read.
    """

    Records: list[msgspec.Raw]


_file = msgspec.json.Decoder(_File)
_json = msgspec.json.Decoder()
_Refusal = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""How the fast reader says that it cannot read something."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """
    What a log file holds for us.

    ``invalid`` counts records that name CodeCommit and cannot be read. ``inflated_bytes``
    is the size of the JSON text.
    """

    events: tuple[Event, ...]
    kms_requests: tuple[KmsRequest, ...]
    invalid: int
    inflated_bytes: int


@dataclass(slots=True)
class _Outline:
    """
    What is to be known of a text before it is read, told by its pieces as they pass.

    What lies across the edge of two pieces is seen too: each is looked at together with the
    end of the one before.
    """

    size: int = 0
    head: bytes = b""
    tail: bytes = b""
    names_codecommit: bool = False
    names_records: bool = False

    def see(self, piece: bytes) -> None:
        """
        Look at the next piece.
        """
        seam = self.tail + piece
        self.size += len(piece)
        if len(self.head) < _EDGE_BYTES:
            self.head = (self.head + piece[:_EDGE_BYTES])[:_EDGE_BYTES]
        self.names_codecommit = self.names_codecommit or _names_codecommit(seam)
        self.names_records = self.names_records or b'"Records"' in seam
        self.tail = seam[-_EDGE_BYTES:]

    @property
    def looks_like_log_file(self) -> bool:
        """
        Whether the text begins, ends and reads like a log file.
        """
        return (
            self.head.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1] == b"{"
            and self.tail.rstrip()[-1:] == b"}"
            and self.names_records
        )


def decode(body: bytes, *, inflated_bytes_max: int) -> Decoded:
    """
    What one log file holds for us, given its bytes as S3 stores them.

    Raises:
        MalformedLogFile: Not a CloudTrail log file, or a damaged one.
        OversizedLogFile: More than ``inflated_bytes_max`` when inflated, or more records of
            CodeCommit's than any real one has.
    """
    if not body.startswith(_GZIP):
        if len(body) > inflated_bytes_max:
            raise OversizedLogFile(f"holds {len(body)} bytes, the cap is {inflated_bytes_max}")
        # No checksum speaks for plain text: it must be read to its end to be known as whole.
        return _sorted_out(_records(body), len(body))
    outline, kept = _surveyed(body, inflated_bytes_max)
    if outline.looks_like_log_file and not outline.names_codecommit:
        return Decoded((), (), 0, outline.size)
    text = kept if kept is not None else _inflated_again(body, outline)
    return _sorted_out(_records(text), outline.size)


def decode_record(text: bytes, account_id: str | None) -> Decoded:
    """
    What one record holds for us, given its JSON text as EventBridge carries it.

    Args:
        text: The record.
        account_id: Stands in for ``recipientAccountId``, which EventBridge's copy of a record
            lacks; its envelope tells the account.

    Raises:
        UnreadableMessage: The text is no JSON object, or one that cannot be read.
    """
    record = _record(text)
    if record is None:
        raise UnreadableMessage("carries a record that is no JSON object")
    if account_id is not None and record.get("recipientAccountId") is None:
        record = {**record, "recipientAccountId": account_id}
    decoded = _sorted_out([record], len(text))
    if decoded.invalid:
        raise UnreadableMessage("carries a record that is nested too deep to be read")
    return decoded


def _sorted_out(records: Iterable[Record | None], inflated_bytes: int) -> Decoded:
    """
    What records hold for us; None stands for one that cannot be read.
    """
    events: list[Event] = []
    kms_requests: list[KmsRequest] = []
    invalid = 0
    for record in records:
        try:
            if record is None:
                invalid += 1
            elif is_codecommit_event(record):
                events.append(event(record))
            elif is_kms_request(record):
                kms_requests.append(kms_request(record))
        except RecursionError:
            invalid += 1
        if len(events) + len(kms_requests) > _RECORDS_MAX:
            raise OversizedLogFile(f"holds more than {_RECORDS_MAX} records of CodeCommit's")
    return Decoded(tuple(events), tuple(kms_requests), invalid, inflated_bytes)


def _surveyed(body: bytes, inflated_bytes_max: int) -> tuple[_Outline, bytes | None]:
    """
    Inflate a gzip file to its end; tell what its text is like, and the text if it is small.
    """
    outline = _Outline()
    kept: list[bytes] = []
    for piece in _pieces(body, inflated_bytes_max):
        outline.see(piece)
        if outline.size <= _KEPT_BYTES_MAX:
            kept.append(piece)
        else:
            kept.clear()
    return outline, b"".join(kept) if outline.size <= _KEPT_BYTES_MAX else None


def _inflated_again(body: bytes, outline: _Outline) -> bytearray:
    """
    The text of a large file that has been surveyed, in memory once and not twice.
    """
    if not outline.names_codecommit:
        _check_head(outline.head)
        raise MalformedLogFile("does not begin, end or read like JSON with Records")
    text = bytearray(outline.size)
    filled = 0
    for piece in _pieces(body, outline.size):
        text[filled : filled + len(piece)] = piece
        filled += len(piece)
    return text


def _pieces(body: bytes, inflated_bytes_max: int) -> Iterator[bytes]:
    """
    The text of a gzip file, piece by piece; it is whole when the last one has come.

    A gzip file may have several members and zeros after the last one (RFC 1952).

    Raises:
        MalformedLogFile: The gzip stream is cut, damaged or followed by something else.
        OversizedLogFile: The text is larger than the cap; inflating stops there.
    """
    rest = memoryview(body)
    room = inflated_bytes_max
    while rest.nbytes and not _is_padding(rest):
        member = _Member(rest)
        for piece in member:
            room -= len(piece)
            if room < 0:
                raise OversizedLogFile("inflates to more bytes than the cap")
            yield piece
        rest = rest[member.bytes_taken :]


def _is_padding(rest: memoryview) -> bool:
    """
    Whether nothing but zeros is left, as tape-minded writers pad gzip files.
    """
    return rest[0] == 0 and not rest.tobytes().strip(b"\0")


class _Member:
    """
    One member of a gzip file: its text in pieces, and then how many bytes it took.

    The input goes in by pieces because the inflater copies what it has not used yet, and
    what comes out is bounded because a few bytes can inflate to very many.
    """

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self.bytes_taken = 0

    def __iter__(self) -> Iterator[bytes]:
        inflater = isal_zlib.decompressobj(_GZIP_WINDOW_BITS)
        unused: bytes | memoryview = b""
        text = b""
        while not inflater.eof:
            # An inflater that filled its room may hold more text although it wants no input.
            if not unused and len(text) < _TEXT_PIECE_BYTES:
                unused = self._next_piece()
            try:
                text = inflater.decompress(unused, _TEXT_PIECE_BYTES)
            except _GzipError as error:
                raise MalformedLogFile(f"the gzip stream is damaged: {error}") from error
            unused = inflater.unconsumed_tail
            yield text
        self.bytes_taken -= len(inflater.unused_data)

    def _next_piece(self) -> memoryview:
        piece = self._body[self.bytes_taken : self.bytes_taken + _PIECE_BYTES]
        if not piece:
            raise MalformedLogFile("the gzip stream ends before its end")
        self.bytes_taken += len(piece)
        return piece


def _names_codecommit(text: bytes) -> bool:
    """
    Whether a JSON text is worth reading: it names CodeCommit, or may do so in escapes.

    JSON may write any letter as an escape. Every letter of the name but the last is 6x in
    hexadecimal, so a writer that escapes one of them leaves this trace, and the last letter
    need not be asked for.
    """
    return b"codecommi" in text or _ESCAPED_LETTER.search(text) is not None


def _records(text: bytes | bytearray) -> Iterator[Record | None]:
    """
    The records that name CodeCommit; None stands for one that cannot be read.
    """
    slices: Iterable[bytes]
    start = len(_BYTE_ORDER_MARK) if text.startswith(_BYTE_ORDER_MARK) else 0
    try:
        slices = map(bytes, _file.decode(memoryview(text)[start:]).Records)
    except _Refusal:
        # A lone surrogate or deep nesting in one record makes the fast reader refuse all of
        # them, and so does "Records": null. What it really is shows when it is cut apart.
        slices = _cut_apart(_in_utf8(text))
    named = filter(_names_codecommit, slices)
    return (_record(piece) if len(piece) <= _RECORD_BYTES_MAX else None for piece in named)


def _record(text: bytes) -> Record | None:
    try:
        record = _json.decode(text)
    except _Refusal:
        try:
            record = _read_plainly(text)
        except (ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) else None


def _read_plainly(text: bytes | bytearray) -> object:
    """
    A JSON value as the standard reader sees it, which also takes what stands in no standard.

    That is lone surrogates, NaN and control characters. It raises ValueError, of which
    JSONDecodeError is the one that says that the text is no JSON.
    """
    return json.loads(text.decode("utf-8", "surrogatepass"), strict=False)


def _in_utf8(text: bytes | bytearray) -> bytes | bytearray:
    """
    A JSON text without a byte order mark, and in UTF-8 if it was in UTF-16 or UTF-32.
    """
    encoding = json.detect_encoding(text)
    if encoding == "utf-8":
        return text
    if encoding == "utf-8-sig":
        return text[3:]
    try:
        return text.decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise MalformedLogFile(f"is not JSON: {error}") from error


def _cut_apart(text: bytes | bytearray) -> Iterator[bytes]:
    """
    The records of a file that the fast reader refuses, each as it stands in the text.

    A record may have the form of JSON and still be nothing that can be read, nested too deep
    or with a number too long: it is handed on, and costs itself. What has not even the form,
    like a record with a comma too many, makes the file malformed. One that is too large to be
    read is handed on as it is.
    """
    _check_head(text[:_EDGE_BYTES])
    first, last = _span_of_records(text)
    _check_frame(text[:first] + text[last:])
    if _BLANK.fullmatch(text, first, last):
        return
    for number, (start, end) in enumerate(_parts(text, first), start=1):
        record = bytes(text[start:end])
        if len(record) > _RECORD_BYTES_MAX:
            yield record
            continue
        try:
            _read_plainly(record)
        except json.JSONDecodeError as error:
            raise MalformedLogFile(f"is not JSON: record {number}: {error}") from error
        except (ValueError, RecursionError):
            pass
        yield record


def _check_head(head: bytes | bytearray) -> None:
    """
    Tell an empty file and one of aggregated events for what they are, without reading on.
    """
    if not head:
        raise MalformedLogFile("is empty")
    if head.lstrip()[:1] == b"[":
        raise MalformedLogFile("is a JSON array, so it has no Records")


def _check_frame(frame: bytes | bytearray) -> None:
    """
    See that what is around the records is JSON, and that there are records, if only null.
    """
    if len(frame) > _RECORD_BYTES_MAX:
        raise MalformedLogFile(f"has {len(frame)} bytes around its Records")
    try:
        file = _read_plainly(frame)
    except RecursionError as error:
        raise MalformedLogFile("is nested too deep around its Records") from error
    except ValueError as error:
        raise MalformedLogFile(f"is not JSON: {error}") from error
    if not isinstance(file, dict) or "Records" not in file:
        raise MalformedLogFile("has no Records")
    if file["Records"] not in (None, []):
        raise MalformedLogFile("has Records that are no list")


def _span_of_records(text: bytes | bytearray) -> tuple[int, int]:
    """
    Where the list of records begins and ends, its brackets left out; nowhere without one.

    Of several members of that name the last one is meant, as every reader of JSON has it.
    """
    span = (0, 0)
    for start, end in _parts(text, text.find(b"{") + 1):
        name = _MEMBER_NAME.match(text, start, end)
        if name and _is_records(name[1]):
            first = name.end()
            is_list = text[first : first + 1] == b"["
            span = (first + 1, text.rfind(b"]", first, end)) if is_list else (0, 0)
    return span


def _is_records(name: bytes) -> bool:
    try:
        return _read_plainly(name) == "Records"
    except ValueError:
        return False


def _parts(text: bytes | bytearray, start: int) -> Iterator[tuple[int, int]]:
    """
    The parts of an array or object between its commas, given where its first one starts.
    """
    depth = 0
    for token in _TOKEN.finditer(text, start):
        mark = text[token.start()]
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
        if depth < 0 or (depth == 0 and mark == _COMMA):
            yield start, token.start()
            start = token.end()
        if depth < 0:
            return
