"""
The records of a log file that name CodeCommit, as slices of its text and not yet read.

Rules:

1. A slice is a record of the file's own list. What only looks like one, in a string or deep
   inside of another record, is never taken for one, whoever wrote it.
2. What the quick readers cannot read they refuse, whatever the reason. The patient one then
   reads the file from its start: it finds brackets and commas, and makes a stop at each. A
   file as CloudTrail writes it costs it some ten times as much; one of nothing but brackets
   and commas costs two thirds of a second per megabyte, which only the cap on its size bounds.
3. A text that comes in pieces is never held as a whole, nor are the slices. The pieces are not
   small, but for the last: a window of text is tried anew with each.
4. What stands beside the list of a short file may be any JSON at all. Beside that of a large
   one it is bounded, and a number too long to be read makes the file malformed.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import chain

import msgspec

from exporter.errors import MalformedLogFile
from exporter.search import SEAM_BYTES, Text, names_codecommit, naming_codecommit

Refusal = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""How a quick reader says that it cannot read something."""

RECORD_BYTES_MAX = 1024 * 1024
"""A larger record is none of CloudTrail's, which leaves out what is over 100 KB (CloudTrail
User Guide, "CloudTrail record contents"). Read, it would take many times its size."""

BLANK = b" \t\r\n"
"""What JSON takes for blank; Python takes more for it."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_QUOTE, _COMMA, _BRACE, _BRACKET = b'",{['


class _File(msgspec.Struct):
    """
    A log file, its records cut apart but not yet read.
    """

    Records: list[msgspec.Raw]


_file = msgspec.json.Decoder(_File)
_slices = msgspec.json.Decoder(list[msgspec.Raw])
_slice = msgspec.json.Decoder(msgspec.Raw)
_plain = json.JSONDecoder(strict=False)


# The quick readers -------------------------------------------------------------------------


def slices_at_once(text: bytes, *, records_max: int | None = None) -> list[memoryview]:
    """
    The slices of a short text.

    Raises:
        DecodeError: Or another ``Refusal``: the text is not JSON, has an odd record, or more
            records than that.
    """
    records = _file.decode(text.removeprefix(BYTE_ORDER_MARK)).Records
    if records_max is not None and len(records) > records_max:
        raise msgspec.DecodeError("there are many records")
    return naming_codecommit(map(memoryview, records), text)


_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?[ \t\r\n]*\{[ \t\r\n]*"Records"[ \t\r\n]*:[ \t\r\n]*\[')
_ENDING = re.compile(rb"\][ \t\r\n]*\}[ \t\r\n]*\Z")
_RECORD_START = b'{"eventVersion"'
"""How CloudTrail begins a record, and nothing else but such an object begins."""

_GAP_BYTES = 64
"""More than CloudTrail leaves between records, and around their list: it leaves none."""

_DENSE_BYTES_MAX = 512 * 1024
"""A larger window is not looked through if it has a comma in every eight bytes: a list of so
many tiny records would take many times its size."""

_CUTS_MAX = 4
"""A record may quote others. More cuts than this are not tried before more text has come."""

_WINDOW_BYTES_MAX = RECORD_BYTES_MAX + 256 * 1024


def slices_in_windows(pieces: Iterable[bytes]) -> Iterator[memoryview]:
    """
    The slices of a text that comes in pieces, each seen through a window of whole records.

    The window begins where a record does. Where it ends is a guess, which costs time if it is
    wrong and nothing else: between brackets of its own, a window that was cut inside of a
    record or a string is no JSON. What is JSON are the next records of the list, since where
    a JSON value ends is told by its own bytes.

    Raises:
        DecodeError: Or another ``Refusal``: the text is none of JSON, not laid out as
            CloudTrail does it, or has an odd record. What has come before may not be all.
    """
    pieces = iter(pieces)
    window = _opened(pieces)
    for piece in pieces:
        window += piece
        cut, records = _cut(window)
        if records:
            yield from naming_codecommit(map(memoryview, records), window)
            window = window[cut:]
        elif len(window) > _WINDOW_BYTES_MAX:
            raise msgspec.DecodeError("no record ends in sight")
    records = _listed(window, _end_of_records(window))
    yield from naming_codecommit(map(memoryview, records), window)


def _opened(pieces: Iterator[bytes]) -> bytes:
    """
    The first pieces of a text, from the first record on.
    """
    text = b""
    for piece in pieces:
        text += piece
        if match := _BEGINNING.match(text):
            return text[match.end() :]
        if len(text) > _GAP_BYTES:
            break
    raise msgspec.DecodeError("the text does not begin with Records")


def _cut(window: bytes) -> tuple[int, list[msgspec.Raw]]:
    """
    The records at the beginning of a window, and where the next one begins; none if unclear.
    """
    start = len(window)
    for _ in range(_CUTS_MAX):
        start = window.rfind(_RECORD_START, 1, start)
        if start < 0:
            break
        between = window[max(start - _GAP_BYTES, 0) : start]
        end = start - len(between) + len(between.rstrip(BLANK)) - 1
        if end > 0 and window[end] == _COMMA:
            try:
                return start, _listed(window, end)
            except Refusal:
                continue
    return 0, []


def _listed(window: bytes, end: int) -> list[msgspec.Raw]:
    """
    The records that are all of a window up to there; a refusal where they are not.
    """
    if end > _DENSE_BYTES_MAX and window.count(b",", 0, end) * 8 > end:
        raise msgspec.DecodeError("the records are too many to be listed at once")
    return _slices.decode(b"".join((b"[", memoryview(window)[:end], b"]")))


def _end_of_records(window: bytes) -> int:
    """
    Where the last records of a text end, before what closes their list and the file.
    """
    match = _ENDING.search(window, max(0, len(window) - _GAP_BYTES))
    if match is None:
        raise msgspec.DecodeError("the text does not end with Records")
    return match.start()


# The patient reader ------------------------------------------------------------------------


class Sign(Enum):
    """
    What the patient reader says instead of a slice.
    """

    TOO_LARGE = "a record that names CodeCommit and is too large to be read"
    RESTART = "what has come before is not meant"


_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|(\\?)\Z)|[][{},]', re.DOTALL)
"""What tells where a JSON value ends: brackets and commas, and the strings to be passed over.

A string that does not end goes on to the end of the piece, so that none is looked at twice."""

_MEMBER_NAME = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n]*+:', re.DOTALL)
_ENCODING_BYTES = 4
"""So many tell in what encoding a JSON text is."""

_STEPS = {_BRACE: 1, _BRACKET: 1, ord("}"): -1, ord("]"): -1}


def slices_patiently(pieces: Iterable[bytes]) -> Iterator[memoryview | Sign]:
    """
    The slices of any text with Records, and signs between them.

    A record may have the form of JSON and still be nothing that can be read, nested too deep
    or with a number too long: it is handed on, and costs itself.

    Raises:
        MalformedLogFile: The text has no Records, or is no JSON: in what is around the
            records, or in a record that has not even the form, like one with a comma too many.
    """
    reader = _PatientReader()
    for piece in _in_utf8(pieces):
        yield from reader.read(piece)
    yield from reader.end()


def read_plainly(text: Text) -> object:
    """
    A JSON value as the standard reader sees it, which also takes what stands in no standard.

    That is lone surrogates, NaN and control characters. It raises ValueError, of which
    JSONDecodeError is the one that says that the text is no JSON, or RecursionError.
    """
    return _plain.decode(str(text, "utf-8", "surrogatepass"))


def _in_utf8(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """
    A JSON text without a byte order mark, and in UTF-8 if it was in UTF-16 or UTF-32.
    """
    pieces = iter(pieces)
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= _ENCODING_BYTES:
            break
    encoding = json.detect_encoding(head)
    if encoding.startswith("utf-8"):
        yield head.removeprefix(BYTE_ORDER_MARK)
        yield from pieces
        return
    try:
        for text in codecs.iterdecode(chain([head], pieces), encoding, "surrogatepass"):
            yield text.encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise MalformedLogFile(f"is not JSON: {error}") from error


class _PatientReader:
    """
    Where in a text the reader is, and what it has of the part that it is in.

    The depth is 1 between the members of the file and 2 between the records of its list. The
    frame is everything but the records.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._open_string = b""
        self._frame = bytearray()
        self._member_start: int | None = None
        self._records = 0
        self._record: _Record | None = None

    def read(self, piece: bytes) -> Iterator[memoryview | Sign]:
        """
        The slices that end in the next piece.
        """
        # A string that did not end in the last piece is opened again in this one.
        text = self._open_string + piece
        start = 1 if self._open_string else 0
        self._open_string = b""
        for token in _TOKEN.finditer(text):
            place = token.start()
            mark = text[place]
            if mark == _QUOTE:
                if token[1] is not None:
                    self._open_string = b'"' + token[1]
                continue
            self._depth += _STEPS.get(mark, 0)
            if self._record is None:
                if self._depth == 1 and mark in (_BRACE, _COMMA):
                    self._add(text[start : place + 1])
                    start = place + 1
                    self._member_start = len(self._frame)
                elif self._depth == 2 and mark == _BRACKET:
                    self._add(text[start : place + 1])
                    start = place + 1
                    if self._is_at_records():
                        self._record, self._records = _Record(), 0
                        yield Sign.RESTART
            elif self._depth == 1 or (self._depth == 2 and mark == _COMMA):
                self._add(text[start:place].rstrip(BLANK))
                yield from self._ended(is_last=mark != _COMMA)
                start = place + (mark == _COMMA)
        rest = text[start:].removesuffix(self._open_string[1:])
        if not self._open_string:
            # Blanks between values say nothing, however many they are.
            rest = rest[: len(rest.rstrip(BLANK)) + 1]
        self._add(rest)

    def end(self) -> Iterator[Sign]:
        """
        See that what is around the records is JSON, and that there are records, if only null.
        """
        check_start(self._frame)
        try:
            file = read_plainly(self._frame)
        except RecursionError as error:
            raise MalformedLogFile("is nested too deep around its Records") from error
        except ValueError as error:
            raise MalformedLogFile(f"is not JSON: {error}") from error
        if not isinstance(file, dict) or "Records" not in file:
            raise MalformedLogFile("has no Records")
        if file["Records"] not in (None, []):
            raise MalformedLogFile("has Records that are no list")
        if file["Records"] is None:
            yield Sign.RESTART

    def _add(self, text: bytes) -> None:
        """
        Add a text to the record that the reader is in, or to the frame.
        """
        if self._record is not None:
            self._record.add(text)
            return
        self._frame += text
        if len(self._frame) > RECORD_BYTES_MAX:
            check_start(self._frame)
            raise MalformedLogFile(f"has over {RECORD_BYTES_MAX} bytes around its Records")

    def _is_at_records(self) -> bool:
        """
        Whether the list that has just begun is that of the records.
        """
        start, self._member_start = self._member_start, None
        if start is None:
            return False
        name = _MEMBER_NAME.fullmatch(self._frame[start:-1].strip(BLANK))
        try:
            return name is not None and read_plainly(name[1]) == "Records"
        except ValueError:
            return False

    def _ended(self, *, is_last: bool) -> Iterator[memoryview | Sign]:
        """
        The slice that the reader has come to the end of, if it is one.
        """
        record, self._record = self._record, None if is_last else _Record()
        self._records += 1
        if record is None or (is_last and self._records == 1 and not record.text):
            return
        if record.is_too_large:
            if record.names_codecommit:
                yield Sign.TOO_LARGE
            return
        try:
            _slice.decode(record.text)
        except Refusal:
            self._check_form(record.text)
        if names_codecommit(record.text):
            yield memoryview(record.text)

    def _check_form(self, text: bytearray) -> None:
        """
        See that a record that is refused has the form of JSON at least.
        """
        try:
            read_plainly(text)
        except json.JSONDecodeError as error:
            number = self._records
            raise MalformedLogFile(f"is not JSON: record {number}: {error}") from error
        except (ValueError, RecursionError):
            pass


class _Record:
    """
    What there is of a record so far; of one that is too large, whether it names CodeCommit.
    """

    def __init__(self) -> None:
        self.text = bytearray()
        self.is_too_large = False
        self.names_codecommit = False

    def add(self, text: bytes) -> None:
        """
        Add what comes next of its text.
        """
        self.text += text if self.text else text.lstrip(BLANK)
        if self.is_too_large or len(self.text) > RECORD_BYTES_MAX:
            self.is_too_large = True
            self.names_codecommit = self.names_codecommit or names_codecommit(self.text)
            del self.text[:-SEAM_BYTES]


def check_start(text: bytes | bytearray) -> None:
    """
    Tell an empty file and one of aggregated events for what they are, without reading on.
    """
    if not text:
        raise MalformedLogFile("is empty")
    if text.lstrip(BLANK)[:1] == b"[":
        raise MalformedLogFile("is a JSON array, so it has no Records")
