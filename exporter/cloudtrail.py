"""
CloudTrail log files: bytes in, CodeCommit events and what CodeCommit asked of AWS KMS out.

Rules:

1. The whole file or nothing. A file that is truncated, damaged or too large raises; no
   part of it is ever counted.
2. One odd record costs one record. The others of its file count.
3. What the bytes are decides, not what the key's suffix says: HTTP clients and copies
   inflate objects on the way.
4. Most files hold no CodeCommit record. They are inflated and searched, not parsed.
5. Nothing without a bound: a text that is not short comes in pieces, which are let go
   as they have been looked at, and what is kept of its records is counted. A bomb costs
   time, never memory.
6. A quick reader refuses a whole file for what it cannot read. When the file is known to
   be whole and within the cap, a patient one starts anew; see ``slices``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from exporter.codecommit import Event, event_told, is_codecommit_event
from exporter.errors import OversizedLogFile, UnreadableMessage
from exporter.fields import identities, whole_identity
from exporter.inflation import GZIP, PIECE_BYTES, inflated, inflated_at_once
from exporter.kms import KmsRequest, is_kms_request, kms_request_told
from exporter.records import Record, told
from exporter.search import names_codecommit
from exporter.slices import (
    BLANK,
    BYTE_ORDER_MARK,
    RECORD_BYTES_MAX,
    Refusal,
    Sign,
    read_plainly,
    slices_at_once,
    slices_in_windows,
    slices_patiently,
)

_SHORT_BYTES_MAX = 512 * 1024
"""A text up to this size is read at once; nineteen in twenty of CloudTrail's are. Reading may
take many times as much memory for a moment, if all it holds are tiny records."""

_USUAL_FILE_BYTES_MAX = 128 * 1024
"""A text that is short and fills more was not compressed as CloudTrail does it."""

_USUAL_RECORDS_MAX = 1_000
"""So many fit into a short text only if they are shorter than CloudTrail's by far."""

_USUAL_BYTES_MAX = 64 * 1024
"""Of the records of a usual file that name CodeCommit: some forty."""

_PARTS_MAX = 500_000
"""Each event and KMS request is one, and so is each reference, repository and id that it has.
All are in memory until they are counted, few of them in as much as a kilobyte. A push has four
of them in 1.6 KB of text, so this is 200 MB of nothing but pushes: no file of CloudTrail's.

Records, or their bytes, would be no such bound: a record has room for a hundred thousand ids,
and one that is written in ten bytes takes up twenty times as much."""

_RECORDS = b'"Records"'
_KEPT_PIECES_MAX = 8
"""2 MiB of text at least, 4 at most."""

_EDGE_BYTES = 64
"""Enough to see how a text begins and ends, and what lies across the edge of two pieces."""

_record = msgspec.json.Decoder(Record)
_json = msgspec.json.Decoder()


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


class _Text:
    """
    The text of a log file, piece by piece, as often as it is asked for.

    ``short`` is the whole of it where it is short. ``size`` is known when it has come to
    its end.
    """

    def __init__(self, body: bytes, bytes_max: int) -> None:
        self._body = body
        self._bytes_max = bytes_max
        self.is_gzip = body.startswith(GZIP)
        if self.is_gzip:
            self.short = inflated_at_once(body, min(bytes_max, _SHORT_BYTES_MAX))
        elif len(body) > bytes_max:
            raise OversizedLogFile(f"holds {len(body)} bytes, the cap is {bytes_max}")
        else:
            self.short = body if len(body) <= _SHORT_BYTES_MAX else None
        self.size = 0 if self.short is None else len(self.short)

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._pieces():
            size += len(piece)
            yield piece
        self.size = size

    def _pieces(self) -> Iterable[bytes]:
        if self.short is not None:
            return (self.short,)
        if self.is_gzip:
            return inflated(self._body, self._bytes_max)
        starts = range(0, len(self._body), PIECE_BYTES)
        return (self._body[start : start + PIECE_BYTES] for start in starts)


class _Findings:
    """
    What the records of a log file hold for us.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._events: list[Event] = []
        self._kms_requests: list[KmsRequest] = []
        self._parts = 0
        self._invalid = 0

    def read(self, slices: Iterable[memoryview | Sign]) -> None:
        """
        Read records, and heed the signs between them.
        """
        for one in slices:
            if one is Sign.RESTART:
                self._forget()
            elif isinstance(one, Sign) or len(one) > RECORD_BYTES_MAX:
                self._invalid += 1
            else:
                self._read_one(one)

    def _read_one(self, text: memoryview) -> None:
        try:
            record = _record.decode(text)
        except Refusal:
            self.take(_read_patiently(text))
            return
        if not self._sort_in(record, identities(record)):
            self.take(_read_patiently(text))

    def take(self, record: Mapping[str, Any] | None) -> None:
        """
        Take what one record holds; None stands for one that cannot be read.
        """
        if record is None:
            self._invalid += 1
            return
        try:
            part = told(record)
            if not self._sort_in(part, identities(part)):
                self._sort_in(part, (whole_identity(record),))
        except RecursionError:
            self._invalid += 1

    def _sort_in(self, record: Record, ids: tuple[bytes, ...]) -> bool:
        """
        Take a record for what it is; False where it is ours and is not known by any id.
        """
        if is_codecommit_event(record):
            if ids:
                event = event_told(record, ids)
                self._events.append(event)
                self._count(len(event.references or ()) + len(event.shows) + len(event.subjects))
        elif is_kms_request(record):
            if ids:
                request = kms_request_told(record, ids)
                self._kms_requests.append(request)
                self._count(len(request.subjects))
        else:
            return True
        return bool(ids)

    def _count(self, more_parts: int) -> None:
        """
        Count an event or a request, and what else it has.
        """
        self._parts += 1 + more_parts
        if self._parts > _PARTS_MAX:
            raise OversizedLogFile(f"holds more than {_PARTS_MAX} parts of CodeCommit's records")

    def decoded(self, inflated_bytes: int) -> Decoded:
        """
        All of it.
        """
        return Decoded(
            tuple(self._events), tuple(self._kms_requests), self._invalid, inflated_bytes
        )


def decode_at_once(body: bytes, *, inflated_bytes_max: int) -> Decoded | None:
    """
    What a usual log file holds for us; None of any other, which is for ``decode``.

    A usual one is short, compressed, has not too many records and none that is odd. It takes
    a millisecond or two. What it takes at most is bounded by its sizes, so an event loop may
    do it: the most hostile one that is known takes as long as forty usual ones.
    """
    if not body.startswith(GZIP) or len(body) > _USUAL_FILE_BYTES_MAX:
        return None
    text = _Text(body, inflated_bytes_max)
    if text.short is None:
        return None
    if _worth_reading(text) is None:
        return Decoded((), (), 0, text.size)
    try:
        slices = slices_at_once(text.short, records_max=_USUAL_RECORDS_MAX)
    except Refusal:
        return None
    if sum(map(len, slices)) > _USUAL_BYTES_MAX:
        return None
    findings = _Findings()
    findings.read(slices)
    return findings.decoded(text.size)


def decode(body: bytes, *, inflated_bytes_max: int) -> Decoded:
    """
    What one log file holds for us, given its bytes as S3 stores them.

    Raises:
        MalformedLogFile: Not a CloudTrail log file, or a damaged one.
        OversizedLogFile: More than ``inflated_bytes_max`` when inflated, or more records of
            CodeCommit's, or larger ones, than any real one has.
    """
    text = _Text(body, inflated_bytes_max)
    # No checksum speaks for plain text: it must be read to its end to be known as whole.
    pieces = _worth_reading(text) if text.is_gzip else text
    if pieces is None:
        return Decoded((), (), 0, text.size)
    findings = _Findings()
    try:
        if text.short is None:
            findings.read(slices_in_windows(pieces))
        else:
            findings.read(slices_at_once(text.short))
    except Refusal:
        for _ in text:
            pass  # Whatever comes: a file that is cut, or too large, shall not cost patience.
        findings.read(slices_patiently(text))
    return findings.decoded(text.size)


def _worth_reading(text: _Text) -> Iterable[bytes] | None:
    """
    A text that names CodeCommit, or does not look like a log file's; None of any other.

    It is looked at until it names it, or to its end. What has been inflated by then is not
    inflated again, if it is not much.
    """
    pieces = iter(text)
    kept: list[bytes] = []
    head = tail = b""
    names_records = False
    for piece in pieces:
        seam = tail + piece[:_EDGE_BYTES]
        kept.append(piece)
        if names_codecommit(piece) or names_codecommit(seam):
            return chain(kept, pieces) if len(kept) < _KEPT_PIECES_MAX else text
        if len(kept) == _KEPT_PIECES_MAX:
            kept.pop()
        names_records = names_records or _RECORDS in piece or _RECORDS in seam
        head = head if len(head) == _EDGE_BYTES else seam[:_EDGE_BYTES]
        tail = (tail + piece[-_EDGE_BYTES:])[-_EDGE_BYTES:]
    starts_well = head.removeprefix(BYTE_ORDER_MARK).lstrip(BLANK).startswith(b"{")
    looks_like_log_file = starts_well and names_records and tail.rstrip(BLANK).endswith(b"}")
    return None if looks_like_log_file else text


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
    record = _read_patiently(text)
    if record is None:
        raise UnreadableMessage("carries a record that is no JSON object")
    if account_id is not None and record.get("recipientAccountId") is None:
        record = {**record, "recipientAccountId": account_id}
    findings = _Findings()
    findings.take(record)
    decoded = findings.decoded(len(text))
    if decoded.invalid:
        raise UnreadableMessage("carries a record that is nested too deep to be read")
    return decoded


def _read_patiently(text: bytes | memoryview) -> Mapping[str, Any] | None:
    """
    A record as any reader reads it; None for one that none does, and for what is no object.
    """
    try:
        record = _json.decode(text)
    except Refusal:
        try:
            record = read_plainly(text)
        except (ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) else None
