"""
Log files as they come: whole, odd, damaged, cut and too large.
"""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from exporter import cloudtrail
from exporter.cloudtrail import Decoded, decode, delivery_minute_ms
from exporter.codecommit import Event, event
from exporter.errors import MalformedLogFile, OversizedLogFile
from tests.records import OWNER, REGION, Record, api_call, git, log_file, push, record, text

CAP = 1_000_000


def pinned(*records: Record) -> list[Record]:
    """
    The records with ids and times that every run has, so that a failure can be seen again.
    """
    return [
        told
        | {
            "eventID": f"0f7c2a55-61f6-4b0c-8f4e-{number:012}",
            "requestID": f"1f7c2a55-61f6-4b0c-8f4e-{number:012}",
            "eventTime": "2026-09-21T12:00:00Z",
        }
        for number, told in enumerate(records)
    ]


RECORDS = pinned(
    record("Decrypt", eventSource="kms.amazonaws.com"),
    git("GitPull", "tools", moved=False),
    push("tools", "refs/heads/main"),
    record("AssumeRole", eventSource="sts.amazonaws.com"),
    api_call("PutFile", "docs"),
)
TEXT = text(*RECORDS).encode()
EVENTS = tuple(event(RECORDS[number]) for number in (1, 2, 4))
WHOLE = log_file(text(*RECORDS))

GOOD = json.dumps(api_call("PutFile", "tools"))
"""A record as it stands in a file, to be put among odd ones."""

FOREIGN = json.dumps(record("PutObject", eventSource="s3.amazonaws.com"))
LONE_SURROGATE = FOREIGN.replace("git/2.47.1", r"\ud83d")

quickly = settings(max_examples=150, deadline=None)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(("codecommit", "codecommit.amazonaws.com", "Management")),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(("Records", "eventSource", "eventID")) | st.text(), children, max_size=4
        )
    ),
    max_leaves=10,
)


def read(body: bytes, *, cap: int = CAP) -> Decoded:
    return decode(body, inflated_bytes_max=cap)


def file_of(*pieces: str) -> bytes:
    """
    A log file's text whose records are these texts.
    """
    return ('{"Records":[' + ",".join(pieces) + "]}").encode()


def outcome(body: bytes) -> tuple[Event, ...] | type[Exception]:
    """
    The events of a file, or the kind of error it is; any other error is the test's.
    """
    try:
        return read(body).events
    except (MalformedLogFile, OversizedLogFile) as error:
        return type(error)


def escaped(plain: str) -> str:
    """
    A text in which every letter is written as a JSON escape.
    """
    return "".join(f"\\u{ord(letter):04x}" for letter in plain)


SPELLINGS = {
    "as CloudTrail writes it": TEXT,
    "with spaces": json.dumps({"Records": RECORDS}).encode(),
    "on many lines": json.dumps({"Records": RECORDS}, indent=2).encode() + b"\r\n",
    "with a byte order mark": b"\xef\xbb\xbf" + TEXT,
    "in UTF-16": TEXT.decode().encode("utf-16"),
    "with more members": TEXT.replace(b'{"Records"', b'{"more":{"Records":1},"Records"', 1),
    "in escapes": TEXT.replace(b"codecommit", escaped("codecommit").encode()),
    "in capital escapes": TEXT.replace(b"codecommit", rb"c\u006Fdec\u006F\u006D\u006Dit"),
    "with the last letter escaped": TEXT.replace(b"codecommit", rb"codecommi\u0074"),
    "with Records escaped": TEXT.replace(b"Records", rb"\u0052ecords", 1),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_files_spelling_does_not_matter(spelling: bytes) -> None:
    """
    Whoever wrote or rewrote the JSON, its CodeCommit events are the same, in their order.
    """
    assert Decoded(EVENTS, 0, len(spelling)) == read(spelling)


COMPRESSED = {
    "one member": WHOLE,
    "uncompressed": TEXT,
    "stored": gzip.compress(TEXT, compresslevel=0),
    "several members": b"".join(
        gzip.compress(TEXT[start : start + 500]) for start in range(0, len(TEXT), 500)
    ),
    "empty members around": gzip.compress(b"") + WHOLE + gzip.compress(b""),
    "a file name inside": WHOLE[:3] + b"\x08" + WHOLE[4:10] + b"x.json\0" + WHOLE[10:],
    "padded with one zero": WHOLE + b"\0",
    "padded with zeros": WHOLE + b"\0" * 1000,
}


@pytest.mark.parametrize("body", COMPRESSED.values(), ids=COMPRESSED.keys())
def test_a_files_compression_does_not_matter(body: bytes) -> None:
    """
    What the bytes are decides: every form of gzip, and none.
    """
    assert Decoded(EVENTS, 0, len(TEXT)) == read(body)


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000])
def test_the_pieces_read_do_not_matter(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A piece may end anywhere: in a header, a trailer or the padding.
    """
    monkeypatch.setattr(cloudtrail, "_PIECE_BYTES", size)

    assert {EVENTS} == {outcome(body) for body in COMPRESSED.values()}
    assert {MalformedLogFile} == {outcome(WHOLE[:length]) for length in range(2, len(WHOLE))}


def test_a_file_of_many_pieces_is_read_whole() -> None:
    """
    A file larger than one piece, compressed and inflated, has all its events.
    """
    large = text(*(push("tools", "refs/heads/main") for _ in range(2500)))
    body = gzip.compress(large.encode(), compresslevel=1)
    decoded = read(body, cap=len(large))

    assert len(body) > 2 * 65536
    assert (2500, 0, len(large)) == (len(decoded.events), decoded.invalid, decoded.inflated_bytes)


def test_a_file_cut_anywhere_is_malformed() -> None:
    """
    No part of a cut file counts, wherever the cut is.
    """
    small = log_file(file_of(GOOD).decode())
    survivors = [n for n in range(len(small)) if outcome(small[:n]) is not MalformedLogFile]

    assert [] == survivors


def test_a_later_member_cut_anywhere_is_malformed() -> None:
    """
    A whole first member does not make up for a cut second one.
    """
    half = len(TEXT) // 2
    first, second = gzip.compress(TEXT[:half]), gzip.compress(TEXT[half:])
    survivors = [
        length for length in range(len(second)) if outcome(first + second[:length]) == EVENTS
    ]

    assert [] == survivors


@pytest.mark.parametrize("place", range(-8, 0))
def test_a_wrong_checksum_or_length_is_malformed(place: int) -> None:
    """
    Each byte of the trailer, CRC and length, must be right.
    """
    damaged = bytearray(WHOLE)
    damaged[place] ^= 1

    with pytest.raises(MalformedLogFile, match="gzip"):
        read(bytes(damaged))


@pytest.mark.parametrize(
    "junk",
    [
        b"x",
        b"\n",
        b"\0x",
        b"\0" * 600 + b"x",
        b"\x1f",
        b"\x1f\x8b",
        TEXT,
        WHOLE[:20],
        zlib.compress(b""),
    ],
)
def test_something_after_the_end_is_malformed(junk: bytes) -> None:
    """
    After the last member only zeros may follow.
    """
    with pytest.raises(MalformedLogFile, match="gzip"):
        read(WHOLE + junk)


@pytest.mark.parametrize(
    "body",
    [COMPRESSED["one member"], COMPRESSED["several members"], COMPRESSED["uncompressed"]],
    ids=["one member", "several members", "uncompressed"],
)
def test_the_cap_is_the_largest_size_that_is_read(body: bytes) -> None:
    """
    A file as large as the cap counts whole, one byte more is too large.
    """
    assert EVENTS == read(body, cap=len(TEXT)).events
    with pytest.raises(OversizedLogFile):
        read(body, cap=len(TEXT) - 1)


def test_no_more_than_the_cap_is_held() -> None:
    """
    A file that would inflate to a thousand times its size is given up at the cap.
    """
    bomb = gzip.compress(bytes(16 * CAP))
    tracemalloc.start()
    with pytest.raises(OversizedLogFile):
        read(bomb)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 3 * CAP


@pytest.mark.parametrize("body", [b"", gzip.compress(b""), b"\0" * 10], ids=["", "gzip", "zeros"])
def test_an_empty_object_is_malformed(body: bytes) -> None:
    """
    A log file has an object with Records, if nothing else.
    """
    with pytest.raises(MalformedLogFile, match="not JSON"):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"Records":[]}',
        b'{"Records":null}',
        b' {"Records": [ ] } ',
        b'{"Records":[],"of":"codecommit"}',
        b'{"Records":null,"of":"codecommit"}',
        file_of(FOREIGN),
        file_of(FOREIGN.replace("s3.", "kms.").replace("git/2.47.1", "codecommit.amazonaws.com")),
        file_of("{}", "{}"),
    ],
)
def test_a_file_without_events_is_whole(body: bytes) -> None:
    """
    No records, none, or none of CodeCommit: a file to be counted as read.
    """
    assert Decoded((), 0, len(body)) == read(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", "no Records"),
        (b'{"records":[]}', "no Records"),
        (b'{"of":"codecommit"}', "no Records"),
        (b'{"logFiles":[{"s3Bucket":"codecommit-trail"}]}', "no Records"),
        (b"[%s]" % GOOD.encode(), "no Records"),
        (b"[]", "no Records"),
        (b'"Records of codecommit"', "no Records"),
        (b"null", "no Records"),
        (b'{"Records":{},"of":"codecommit"}', "no list"),
        (b'{"Records":"codecommit"}', "no list"),
        (b'{"Records":5,"of":"codecommit"}', "no list"),
        (b'{"Records":false,"of":"codecommit"}', "no list"),
        (file_of(GOOD, ""), "not JSON"),
        (file_of(GOOD[:-1] + ",}"), "not JSON"),
        (file_of(GOOD) + b"}", "not JSON"),
        (file_of(GOOD) * 2, "not JSON"),
        (file_of(GOOD)[:-1], "not JSON"),
        (file_of(GOOD).replace(b'"', b"'"), "not JSON"),
        (file_of(FOREIGN)[:-1], "not JSON"),
        (b"<html>Access denied to Records</html>", "not JSON"),
        (b"PK\x03\x04" + TEXT, "not JSON"),
    ],
)
def test_what_is_no_log_file_is_malformed(body: bytes, reason: str) -> None:
    """
    Neither JSON of another shape nor a text that is no JSON is half-counted.
    """
    with pytest.raises(MalformedLogFile, match=reason):
        read(body)


def test_a_file_that_does_not_name_codecommit_is_not_parsed() -> None:
    """
    Most files end after the search: a mistake among records of no interest goes unseen.
    """
    body = file_of("this is not JSON", FOREIGN)

    assert Decoded((), 0, len(body)) == read(gzip.compress(body))


ODD_RECORDS = {
    "a string": '"codecommit.amazonaws.com"',
    "an array": '["eventSource","codecommit.amazonaws.com"]',
    "an array of a record": f"[{GOOD}]",
}
NO_RECORDS = ("5", "2.5e3", "null", "true", '""', "[]", '"another string"')


@pytest.mark.parametrize("surrogate", [False, True], ids=["fast", "plain"])
@pytest.mark.parametrize("odd", ODD_RECORDS.values(), ids=ODD_RECORDS.keys())
def test_an_odd_record_costs_itself(odd: str, surrogate: bool) -> None:
    """
    What names CodeCommit and is no object counts as invalid; its neighbours count.
    """
    others = [LONE_SURROGATE] if surrogate else [FOREIGN]
    decoded = read(file_of(GOOD, odd, *others, odd, GOOD))

    assert ((event(json.loads(GOOD)),) * 2, 2) == (decoded.events, decoded.invalid)


@pytest.mark.parametrize("surrogate", [False, True], ids=["fast", "plain"])
@pytest.mark.parametrize("odd", NO_RECORDS)
def test_what_is_no_record_of_ours_costs_nothing(odd: str, surrogate: bool) -> None:
    """
    An odd thing that does not name CodeCommit is somebody else's.
    """
    others = [LONE_SURROGATE] if surrogate else [FOREIGN]
    decoded = read(file_of(odd, GOOD, *others))

    assert (1, 0) == (len(decoded.events), decoded.invalid)


@pytest.mark.parametrize(
    "odd",
    [
        GOOD.replace("git/2.47.1", "\udcff"),
        GOOD.replace('"readOnly": false', '"readOnly": ' + "1" * 5000),
    ],
    ids=["bytes that are no UTF-8", "a number too long to read"],
)
def test_a_record_no_reader_can_read_costs_itself(odd: str) -> None:
    """
    JSON in shape only: one invalid record, and its neighbours count.
    """
    body = file_of(GOOD, "@", GOOD).replace(b"@", odd.encode(errors="surrogateescape"))
    decoded = read(body)

    assert (2, 1) == (len(decoded.events), decoded.invalid)


@pytest.mark.parametrize("literal", ["NaN", "-Infinity", "1e999", "-0.0", "1" * 400])
def test_a_number_may_be_out_of_the_ordinary(literal: str) -> None:
    """
    Numbers that only some readers accept spoil neither their record nor its neighbours.
    """
    odd = GOOD.replace('"readOnly": false', f'"readOnly": {literal}')
    decoded = read(file_of(GOOD, odd))

    assert (2, 0) == (len(decoded.events), decoded.invalid)


@pytest.mark.parametrize("escape", [r"\ud83d", r"\udc00", r"\udc00\ud83d", r"\ud83dx"])
def test_a_lone_surrogate_costs_nothing(escape: str) -> None:
    """
    Half a character in anybody's record, cut in two by a length limit, spoils no event.
    """
    body = file_of(FOREIGN.replace("git/2.47.1", escape), GOOD, GOOD.replace("git/2.47.1", escape))
    decoded = read(body)

    assert (2, 0) == (len(decoded.events), decoded.invalid)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def test_nesting_that_can_be_read_costs_nothing() -> None:
    """
    A record nested deeper than any API's answer is an event like another.
    """
    deep = GOOD.replace('"requestParameters": {', f'"requestParameters": {{"deep": {nested(300)},')
    decoded = read(file_of(deep, GOOD))

    assert ("tools", 2, 0) == (
        decoded.events[0].repository.name,
        len(decoded.events),
        decoded.invalid,
    )


@pytest.mark.parametrize("depth", [100_000, 1_000_000])
def test_nesting_that_nothing_can_read_is_malformed(depth: int) -> None:
    """
    What is nested too deep for every reader makes the file malformed, and nothing crash.
    """
    with pytest.raises(MalformedLogFile, match="not JSON"):
        read(file_of(GOOD, f'{{"deep":{nested(depth)}}}'), cap=10 * CAP)


@pytest.mark.parametrize("other", [FOREIGN, LONE_SURROGATE], ids=["fast", "plain"])
@pytest.mark.parametrize(
    "shape",
    [
        '{{"eventSource":"codecommit.amazonaws.com","deep":{}}}',
        '{{"name":"codecommit","deep":{}}}',
        '["codecommit",{}]',
    ],
)
def test_nesting_at_the_limits_costs_the_record_or_the_file(shape: str, other: str) -> None:
    """
    Where one reader gives up and the next does not, the neighbours count or nothing does.
    """
    good = event(json.loads(GOOD))
    found = [outcome(file_of(GOOD, shape.format(nested(n)), other)) for n in range(850, 1000)]

    assert [] == [one for one in found if isinstance(one, tuple) and one[0] != good]


@pytest.mark.parametrize("category", ["Insight", "NetworkActivity", "Aggregated"])
def test_records_of_another_category_are_no_events(category: str) -> None:
    """
    They are about CodeCommit, are readable, and are not counted.
    """
    other = json.dumps(record("GitPull", eventCategory=category))
    decoded = read(file_of(other, GOOD))

    assert (1, 0) == (len(decoded.events), decoded.invalid)


NAME = f"{OWNER}_CloudTrail_{REGION}_20260921T1205Z_0123456789abcdef.json.gz"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (f"AWSLogs/{OWNER}/CloudTrail/{REGION}/2026/09/21/{NAME}", 1_789_992_300_000),
        (f"my_20160101T0000Z_prefix/{NAME}", 1_789_992_300_000),
        (NAME.removesuffix(".gz"), 1_789_992_300_000),
        (NAME + "\n", 1_789_992_300_000),
        (NAME.replace("20260921T1205Z", "20240229T2359Z"), 1_709_251_140_000),
        (f"{NAME}/renamed.json.gz", None),
        (NAME.replace("20260921T1205Z", "20260921T120500Z"), None),
        (NAME.replace("20260921T1205Z", "20260921T1205"), None),
        (NAME.replace("20260921T1205Z", "20260230T1205Z"), None),
        (NAME.replace("20260921T1205Z", "20261321T1205Z"), None),
        (NAME.replace("20260921T1205Z", "20260921T2405Z"), None),
        (NAME.replace("20260921T1205Z", "00000921T1205Z"), None),
        ("20260921T1205Z", None),
        ("", None),
    ],
)
def test_the_minute_of_delivery_is_in_the_name(key: str, expected: int | None) -> None:
    """
    The file's name tells it, not the folders; a minute that never was is none.
    """
    assert expected == delivery_minute_ms(key)


def is_events_or_one_of_two_errors(body: bytes) -> None:
    """
    Read a body. Anything but events or one of the two errors is raised here.
    """
    outcome(body)


@quickly
@given(st.binary(max_size=500))
def test_any_bytes_are_events_or_an_error(body: bytes) -> None:
    """
    Nothing else comes of any bytes, as they stand or with the first bytes of gzip.
    """
    is_events_or_one_of_two_errors(body)
    is_events_or_one_of_two_errors(WHOLE[:10] + body)
    is_events_or_one_of_two_errors(gzip.compress(body, compresslevel=1))
    is_events_or_one_of_two_errors(b'{"Records":["codecommit",%s]}' % body)


@quickly
@given(json_values)
def test_any_json_is_events_or_an_error(value: Any) -> None:
    """
    JSON of any shape is a log file or not; there is nothing else it could be.
    """
    is_events_or_one_of_two_errors(json.dumps(value).encode())
    is_events_or_one_of_two_errors(json.dumps({"Records": value, "of": "codecommit"}).encode())


@quickly
@given(st.lists(json_values, max_size=4), st.integers(0, 4))
def test_a_good_record_counts_among_any_others(others: list[Any], place: int) -> None:
    """
    Whatever else is in the list, the event of a whole record is found.
    """
    records = [*others[:place], json.loads(GOOD), *others[place:]]

    assert event(json.loads(GOOD)) in read(json.dumps({"Records": records}).encode()).events


@quickly
@given(st.sets(st.integers(0, 9)))
def test_any_letters_may_be_escapes(places: set[int]) -> None:
    """
    Whichever letters of CodeCommit's name are written as escapes, its events are found.
    """
    spelling = "".join(
        escaped(letter) if place in places else letter for place, letter in enumerate("codecommit")
    )
    body = TEXT.replace(b"codecommit", spelling.encode())

    assert EVENTS == read(body).events


@pytest.mark.parametrize(
    "damaged",
    [
        lambda body, place, byte: body[:place] + bytes([byte]) + body[place + 1 :],
        lambda body, place, byte: body[:place] + bytes([byte]) + body[place:],
        lambda body, place, _: body[:place] + body[place + 1 :],
        lambda body, place, _: body[:place],
        lambda body, place, byte: body[:place] + body[place + byte :],
    ],
    ids=["changed", "inserted", "left out", "cut", "torn"],
)
@settings(quickly, max_examples=200)
@given(
    body=st.sampled_from([WHOLE, COMPRESSED["stored"], COMPRESSED["several members"]]),
    place=st.integers(0, len(COMPRESSED["stored"])),
    byte=st.integers(0, 255),
)
def test_damage_never_half_counts(
    damaged: Callable[[bytes, int, int], bytes], body: bytes, place: int, byte: int
) -> None:
    """
    A damaged file has the events of the whole one, or none and an error.
    """
    found = outcome(damaged(body, place % len(body), byte))

    assert found in (EVENTS, MalformedLogFile, OversizedLogFile)


def test_a_cut_plain_file_is_malformed_whatever_it_names() -> None:
    """
    No checksum speaks for plain text: a cut that happens to end well is noticed by reading.
    """
    with pytest.raises(MalformedLogFile):
        decode(b'{"Records":[{"eventSource":"ec2.amazonaws.com","x":{}}', inflated_bytes_max=1000)
