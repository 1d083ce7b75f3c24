"""
The records of a text that name CodeCommit, cut out of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from exporter.errors import MalformedLogFile
from exporter.slices import (
    BYTE_ORDER_MARK,
    RECORD_BYTES_MAX,
    Refusal,
    Sign,
    slices_at_once,
    slices_in_windows,
    slices_patiently,
)

OURS = b'{"eventVersion":"1.11","eventSource":"codecommit.amazonaws.com"}'
OTHER = b'{"eventVersion":"1.11","eventSource":"s3.amazonaws.com"}'
QUOTING = b'{"eventVersion":"1.11","of":"codecommit","more":[1,%s,%s]}' % (OURS, OURS)
RECORDS = (OURS, OTHER, QUOTING, OTHER, OURS)
SLICES = [OURS, QUOTING, OURS]


def text_of(*records: bytes) -> bytes:
    """
    A log file's text, as CloudTrail lays it out.
    """
    return b'{"Records":[' + b",".join(records) + b"]}"


def in_pieces(text: bytes, size: int) -> list[bytes]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def whole(slices: Iterable[memoryview | Sign]) -> list[bytes | Sign]:
    """
    The slices as bytes; a blank at the end of one says nothing.
    """
    return [one if isinstance(one, Sign) else one.tobytes().rstrip() for one in slices]


@pytest.mark.parametrize("size", range(1, 140))
def test_every_reader_finds_the_same_slices(size: int) -> None:
    """
    In whatever pieces a text comes.
    """
    text = text_of(*RECORDS)
    pieces = in_pieces(text, size)

    assert SLICES == whole(slices_at_once(text))
    assert SLICES == whole(slices_in_windows(pieces))
    assert [Sign.RESTART, *SLICES] == whole(slices_patiently(pieces))


@pytest.mark.parametrize(
    "tail",
    [
        b"]",
        b"",
        b"]}]",
        b"]}x",
        b']} "x"',
        b'],"Records":null}',
        b'],"more":1}',
        b"]\x0b}",
        b"]}\x0c",
    ],
)
def test_records_of_which_the_end_is_not_certain_are_refused(tail: bytes) -> None:
    """
    The quick reader takes the last records for such only where the text ends as it has to.
    """
    pieces = in_pieces(text_of(*RECORDS).removesuffix(b"]}") + tail, 100)
    with pytest.raises(Refusal):
        list(slices_in_windows(pieces))


@pytest.mark.parametrize(
    ("tight", "loose"),
    [(b'{"R', b'{\x0b"R'), (b'{"R', b'\x0c{"R'), (b"},{", b"},\x0c{"), (b"]}", b"]\x0b}")],
)
def test_what_json_does_not_take_for_blank_is_none(tight: bytes, loose: bytes) -> None:
    """
    Not even where Python's regular expressions and texts do.
    """
    text = text_of(*RECORDS).replace(tight, loose, 1)
    with pytest.raises(Refusal):
        slices_at_once(text)
    with pytest.raises(Refusal):
        list(slices_in_windows(in_pieces(text, 100)))
    with pytest.raises(MalformedLogFile):
        list(slices_patiently(in_pieces(text, 100)))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32-le"])
def test_the_patient_reader_reads_any_encoding(encoding: str, size: int) -> None:
    """
    With a byte order mark and without, and after pieces that are empty.
    """
    pieces = in_pieces(text_of(*RECORDS).decode().encode(encoding), size)

    assert [Sign.RESTART, *SLICES] == whole(slices_patiently(pieces))
    assert [Sign.RESTART, *SLICES] == whole(slices_patiently([b"", *pieces, b""]))


def test_a_byte_order_mark_says_nothing() -> None:
    """
    Neither reader takes it for a part of the text.
    """
    text = BYTE_ORDER_MARK + text_of(*RECORDS)

    assert SLICES == whole(slices_at_once(text))
    assert SLICES == whole(slices_in_windows([text]))
    assert [Sign.RESTART, *SLICES] == whole(slices_patiently([text]))


@pytest.mark.parametrize("cut", range(11))
def test_a_name_across_the_seam_of_a_too_large_record_is_found(cut: int) -> None:
    """
    Of a record that is too large only its end is kept, which is enough for that.
    """
    first = b'{"Records":["' + b"x" * RECORD_BYTES_MAX + b"codecommit"[:cut]
    last = b"codecommit"[cut:] + b'",5]}'

    assert [Sign.RESTART, Sign.TOO_LARGE] == whole(slices_patiently([first, last]))


@pytest.mark.parametrize("blanks", [0, 1, 200_000, 2_000_000])
def test_blanks_are_no_part_of_a_record(blanks: int) -> None:
    """
    However many follow it, they do not make it too large, and hardly any is kept.
    """
    large = b'{"eventVersion":"1.11","of":"codecommit","x":"%s"}' % (b"y" * 900_000)
    text = text_of(OTHER, large + b" " * blanks, OURS + b"\n" * blanks)

    for size in (len(text), 256 * 1024):
        _, *found = slices_patiently(in_pieces(text, size))

        assert [large, OURS] == whole(found)
        assert len(large) + len(OURS) + 50 > sum(
            len(one) for one in found if not isinstance(one, Sign)
        )
    assert [large, OURS] == whole(slices_at_once(text))


@pytest.mark.parametrize("size", range(1, 20))
def test_blanks_inside_of_a_record_are_kept(size: int) -> None:
    """
    Wherever a piece ends: two numbers with a blank between them are not one.
    """
    spaced = b'{ "of" : "code  codecommit  " , "n" : 1 }'
    pieces = in_pieces(text_of(spaced), size)

    assert [Sign.RESTART, spaced] == whole(slices_patiently(pieces))
    with pytest.raises(MalformedLogFile, match="not JSON"):
        list(slices_patiently(in_pieces(text_of(b"1   2"), size)))


@pytest.mark.parametrize("digits", [4_000, 5_000])
def test_a_large_text_is_bounded_beside_its_list(digits: int) -> None:
    """
    A short one is not: there any JSON may stand.
    """
    text = text_of(OURS)[:-1] + b',"more":' + b"1" * digits + b"}"

    assert [OURS] == whole(slices_at_once(text))
    if digits == 4_000:
        assert [Sign.RESTART, OURS] == whole(slices_patiently([text]))
    else:
        with pytest.raises(MalformedLogFile, match="not JSON"):
            list(slices_patiently([text]))


def test_the_records_of_a_usual_text_are_not_many() -> None:
    """
    Who asks for few is refused more.
    """
    text = text_of(*RECORDS)

    assert SLICES == whole(slices_at_once(text, records_max=len(RECORDS)))
    with pytest.raises(Refusal, match="many records"):
        slices_at_once(text, records_max=len(RECORDS) - 1)


def test_a_record_that_quotes_many_others_is_tried_a_few_times_only() -> None:
    """
    What looks like a cut and is none costs a reading of the window, so few are tried.
    """
    quoting = json.dumps(
        {"eventVersion": "1", "of": "codecommit", "more": [{"eventVersion": 1}] * 9}
    )
    text = text_of(quoting.replace(" ", "").encode(), OURS)

    assert 2 == len(list(slices_in_windows(in_pieces(text, 150))))
