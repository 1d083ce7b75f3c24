"""
Gzip files: the text they hold, and the pieces it comes in.
"""

from __future__ import annotations

import gzip
import tracemalloc

import pytest

from exporter.errors import MalformedLogFile, OversizedLogFile
from exporter.inflation import PIECE_BYTES, inflated, inflated_at_once

TEXT = bytes(range(256)) * 4096
EMPTY = gzip.compress(b"")

FILES = {
    "one member": gzip.compress(TEXT),
    "stored": gzip.compress(TEXT, compresslevel=0),
    "empty members before": EMPTY * 300 + gzip.compress(TEXT),
    "empty members after": gzip.compress(TEXT) + EMPTY * 300,
    "empty members in between": EMPTY.join(
        gzip.compress(TEXT[start : start + 100_000], compresslevel=1)
        for start in range(0, len(TEXT), 100_000)
    ),
    "small members": b"".join(
        gzip.compress(TEXT[start : start + 777], compresslevel=1)
        for start in range(0, len(TEXT), 777)
    ),
}


@pytest.mark.parametrize("body", FILES.values(), ids=FILES.keys())
def test_a_text_comes_in_pieces_that_are_not_small(body: bytes) -> None:
    """
    However a file's members are laid out, no piece is empty and only the last is small.
    """
    pieces = list(inflated(body, len(TEXT)))

    assert TEXT == b"".join(pieces)
    assert all(PIECE_BYTES <= len(piece) < 2 * PIECE_BYTES for piece in pieces[:-1])
    assert 0 < len(pieces[-1]) < 2 * PIECE_BYTES


@pytest.mark.parametrize(
    "body", [EMPTY, EMPTY * 300, EMPTY + b"\0\0"], ids=["one member", "many", "padded"]
)
def test_an_empty_text_has_no_pieces(body: bytes) -> None:
    """
    Members without any text give none.
    """
    assert [] == list(inflated(body, 0))


def test_empty_members_are_not_held() -> None:
    """
    However many they are.
    """
    body = EMPTY * 50_000
    tracemalloc.start()
    try:
        assert [] == list(inflated(body, 0))
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", FILES.values(), ids=FILES.keys())
def test_the_cap_holds_for_all_members_together(body: bytes) -> None:
    """
    One byte more than the cap is too much, in whatever member it is.
    """
    with pytest.raises(OversizedLogFile):
        list(inflated(body, len(TEXT) - 1))


@pytest.mark.parametrize("body", FILES.values(), ids=FILES.keys())
def test_a_cut_file_does_not_come_to_its_end(body: bytes) -> None:
    """
    Pieces may have come before that is known.
    """
    with pytest.raises(MalformedLogFile, match="ends before its end"):
        list(inflated(body[:-1], len(TEXT)))


def test_only_one_short_member_is_inflated_at_once() -> None:
    """
    Any other file is for who reads it in pieces.
    """
    one = gzip.compress(TEXT)

    assert TEXT == inflated_at_once(one, len(TEXT))
    assert [None] * 5 == [
        inflated_at_once(one, len(TEXT) - 1),
        inflated_at_once(one[:-1], len(TEXT)),
        inflated_at_once(one + b"\0", len(TEXT)),
        inflated_at_once(one + EMPTY, len(TEXT)),
        inflated_at_once(one[:-4] + b"\1\0\0\0", len(TEXT)),
    ]
