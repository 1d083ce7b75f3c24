"""
Log files as they come: whole, odd, damaged, cut and too large.
"""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings, strategies as st

from exporter import cloudtrail, inflation
from exporter.cloudtrail import Decoded, decode, decode_at_once, decode_record
from exporter.codecommit import Event, event
from exporter.errors import MalformedLogFile, OversizedLogFile, UnreadableMessage
from exporter.kms import kms_request
from tests.records import Record, api_call, git, log_file, push, record, text

CAP = 1_000_000
MIB = 1024 * 1024


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
    record(
        "Decrypt",
        eventSource="kms.amazonaws.com",
        sourceIPAddress="codecommit.amazonaws.com",
        requestParameters={"encryptionContext": {"id": "3f0c7e0e-0d5c-4a55-9b53-0c5d9cbb1c27"}},
    ),
    record("Encrypt", eventSource="kms.amazonaws.com"),
    git("GitPull", "tools", moved=False),
    push("tools", "refs/heads/main"),
    record("AssumeRole", eventSource="sts.amazonaws.com"),
    api_call("PutFile", "docs"),
)
TEXT = text(*RECORDS).encode()
EVENTS = tuple(event(RECORDS[number]) for number in (2, 3, 5))
KMS_REQUESTS = (kms_request(RECORDS[0]),)
WHOLE = log_file(text(*RECORDS))

GOOD = json.dumps(api_call("PutFile", "tools"))
"""A record as it stands in a file, to be put among odd ones."""

FOREIGN = json.dumps(record("PutObject", eventSource="s3.amazonaws.com"))
LONE_SURROGATE = FOREIGN.replace("git/2.47.1", r"\ud83d")

quickly = settings(max_examples=150, deadline=None)


def read(body: bytes, *, cap: int = CAP) -> Decoded:
    return decode(body, inflated_bytes_max=cap)


def file_of(*pieces: str) -> bytes:
    """
    A log file's text whose records are these texts.
    """
    return ('{"Records":[' + ",".join(pieces) + "]}").encode()


def outcome(body: bytes, *, cap: int = CAP) -> tuple[Event, ...] | type[Exception]:
    """
    The events of a file, or the kind of error it is; any other error is the test's.
    """
    try:
        return read(body, cap=cap).events
    except (MalformedLogFile, OversizedLogFile) as error:
        return type(error)


def escaped(plain: str) -> str:
    """
    A text in which every letter is written as a JSON escape.
    """
    return "".join(f"\\u{ord(letter):04x}" for letter in plain)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


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
    assert Decoded(EVENTS, KMS_REQUESTS, 0, len(spelling)) == read(spelling)


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
    assert Decoded(EVENTS, KMS_REQUESTS, 0, len(TEXT)) == read(body)


@pytest.mark.parametrize("short", [1, CAP], ids=["large", "short"])
@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("pieces", ["_INPUT_BYTES", "PIECE_BYTES"])
def test_the_pieces_read_do_not_matter(
    pieces: str, size: int, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A piece may end anywhere: in a header, a trailer, the padding or CodeCommit's name.
    """
    monkeypatch.setattr(cloudtrail, "_SHORT_BYTES_MAX", short)
    monkeypatch.setattr(inflation, pieces, size)

    assert {EVENTS} == {outcome(body) for body in COMPRESSED.values()}
    assert {MalformedLogFile} == {outcome(WHOLE[:length]) for length in range(2, len(WHOLE), 7)}


@pytest.mark.parametrize("spelling", sorted(SPELLINGS.keys() - {"in UTF-16"}))
def test_a_large_files_spelling_does_not_matter(
    spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is searched for before a large file is kept is found however it is spelt.
    """
    monkeypatch.setattr(cloudtrail, "_SHORT_BYTES_MAX", 1)
    plain = SPELLINGS[spelling]

    assert Decoded(EVENTS, KMS_REQUESTS, 0, len(plain)) == read(gzip.compress(plain))


FAKE = GOOD.replace("tools", "fake")
QUOTING = {
    "another record": GOOD.replace(
        '"requestParameters": {', f'"more": [1, {FAKE}, {FAKE}], "requestParameters": {{'
    ),
    "many": GOOD.replace(
        '"requestParameters": {', f'"more": [{", ".join([FAKE] * 9)}], "requestParameters": {{'
    ),
    "a text": GOOD.replace("git/2.47.1", json.dumps(f"}},{FAKE}]}},{FAKE}")[1:-1]),
    "brackets in a text": GOOD.replace("git/2.47.1", "}}]]{[,"),
    "an escape at its end": GOOD.replace("git/2.47.1", "\\\\"),
}


@pytest.mark.parametrize("odd", [FOREIGN, LONE_SURROGATE], ids=["quickly", "patiently"])
@pytest.mark.parametrize("quoting", QUOTING.values(), ids=QUOTING.keys())
@pytest.mark.parametrize("size", [50, 333, 2_000])
def test_what_a_record_quotes_is_none(
    size: int, quoting: str, odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Wherever a large file is cut, a record within a record or a text is no event.
    """
    monkeypatch.setattr(cloudtrail, "_SHORT_BYTES_MAX", 1)
    monkeypatch.setattr(inflation, "PIECE_BYTES", size)
    body = gzip.compress(file_of(odd, quoting, FOREIGN, quoting, odd, GOOD))

    assert ["tools"] * 3 == [found.repository.name for found in read(body).events]


@quickly
@given(
    st.lists(st.sampled_from([*QUOTING.values(), GOOD, FOREIGN, LONE_SURROGATE, "[]", "5"])),
    st.integers(1, 3_000),
)
def test_large_files_are_read_as_short_ones(records: list[str], size: int) -> None:
    """
    The same list says the same, in whatever pieces it comes, if nothing stands beside it.
    """
    body = gzip.compress(file_of(*records), compresslevel=1)
    with pytest.MonkeyPatch.context() as patch:
        whole = read(body)
        patch.setattr(cloudtrail, "_SHORT_BYTES_MAX", 1)
        patch.setattr(inflation, "PIECE_BYTES", size)

        assert whole == read(body)


def test_a_usual_file_is_decoded_at_once() -> None:
    """
    One that is short and has no odd record gives the same as the general way.
    """
    assert read(WHOLE) == decode_at_once(WHOLE, inflated_bytes_max=CAP)


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(TEXT) * 2,
        TEXT,
        WHOLE[:-1],
        gzip.compress(file_of(GOOD, LONE_SURROGATE)),
        gzip.compress(file_of(GOOD, *["1"] * 1000)),
        gzip.compress(file_of(GOOD, " " * 600_000)),
        gzip.compress(text(push("tools", *["refs/heads/a"] * 1500)).encode()),
        gzip.compress(file_of(GOOD + " " * 200_000), compresslevel=0),
        gzip.compress(b'{"Records":null,"of":"codecommit"}'),
    ],
    ids=[
        "two members",
        "plain",
        "cut",
        "odd",
        "many records",
        "large",
        "much to read",
        "badly compressed",
        "no list",
    ],
)
def test_any_other_file_is_not_decoded_at_once(body: bytes) -> None:
    """
    What may take its time is left to who has it.
    """
    assert decode_at_once(body, inflated_bytes_max=CAP) is None


@pytest.mark.parametrize("place", range(90))
def test_a_name_is_found_across_the_edge_of_two_pieces(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Wherever a piece ends, a large file that names CodeCommit is known for one.
    """
    monkeypatch.setattr(cloudtrail, "_SHORT_BYTES_MAX", 1)
    monkeypatch.setattr(inflation, "PIECE_BYTES", 50)
    body = gzip.compress(file_of(" " * place + GOOD))

    assert (event(json.loads(GOOD)),) == outcome(body)


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


def most_held(body: bytes) -> int:
    """
    How many bytes were held at most while a body was read, itself left out.
    """
    tracemalloc.start()
    try:
        outcome(body, cap=32 * MIB)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("head", "tail"),
    [(b"", b""), (b'{"Records":[', b"]}"), (b'{"Records":["codecommit",', b"1]}")],
    ids=["junk", "nothing of ours", "names CodeCommit"],
)
def test_a_bomb_is_not_held(head: bytes, tail: bytes) -> None:
    """
    A file that would inflate to more than the cap is given up there, and nothing was kept.
    """
    bomb = gzip.compress(head + b" " * (64 * MIB) + tail, compresslevel=1)

    assert OversizedLogFile is outcome(bomb, cap=32 * MIB)
    assert most_held(bomb) < 8 * MIB


def test_a_large_file_that_names_nothing_of_ours_is_not_held() -> None:
    """
    A file within the cap that is not worth reading is never in memory as a whole.
    """
    body = gzip.compress(file_of(FOREIGN, " " * (24 * MIB) + FOREIGN), compresslevel=1)

    assert () == outcome(body, cap=32 * MIB)
    assert most_held(body) < 8 * MIB


@pytest.mark.parametrize(
    "place", ["{%s", '"Records"%s', "[%s", "}%s,", ",%s{", "}%s]", "]%s", "]}%s"]
)
def test_blanks_say_nothing_however_many_they_are(place: str) -> None:
    """
    They are no part of a record, nor of what is around the records.
    """
    tight = place.replace("%s", "")
    blank = place.replace("%s", " " * 2 * MIB)
    text_of_it = file_of(GOOD, FOREIGN).decode().replace(tight, blank, 1)
    body = gzip.compress(text_of_it.encode(), compresslevel=1)

    assert len(text_of_it) > 2 * MIB
    assert ((event(json.loads(GOOD)),), 0) == (
        read(body, cap=32 * MIB).events,
        read(body, cap=32 * MIB).invalid,
    )


def test_a_large_file_worth_reading_is_not_held_either() -> None:
    """
    Neither is one whose records are read, quickly or patiently.
    """
    quick = file_of(*[FOREIGN] * 30_000, GOOD)
    patient = file_of(GOOD, " " * (24 * MIB) + LONE_SURROGATE)

    for text_of_it in (quick, patient):
        body = gzip.compress(text_of_it, compresslevel=1)

        assert (event(json.loads(GOOD)),) == outcome(body, cap=32 * MIB)
        assert most_held(body) < 6 * MIB


@pytest.mark.parametrize("tiny", ["1", "{}"])
def test_many_tiny_records_are_not_held(tiny: str) -> None:
    """
    What takes many times its size while it is read is read in small parts.
    """
    body = gzip.compress(file_of(GOOD, *[tiny] * (700_000 // len(tiny)), GOOD), compresslevel=1)

    assert 2 == len(read(body, cap=32 * MIB).events)
    assert most_held(body) < 24 * MIB


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"[", "JSON array"),
        (b"PK\x03\x04", "not JSON"),
        (b'{"records":[]}', "no Records"),
    ],
)
def test_what_is_no_log_file_is_malformed_however_large(start: bytes, reason: str) -> None:
    """
    A large text that is no log file is told for what it is.
    """
    with pytest.raises(MalformedLogFile, match=reason):
        read(gzip.compress(start + b" " * (8 * MIB), compresslevel=1), cap=32 * MIB)


@pytest.mark.parametrize("body", [b"", gzip.compress(b"")], ids=["plain", "gzip"])
def test_an_empty_object_is_malformed(body: bytes) -> None:
    """
    A log file has an object with Records, if nothing else.
    """
    with pytest.raises(MalformedLogFile, match="is empty"):
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
    assert Decoded((), (), 0, len(body)) == read(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", "no Records"),
        (b'{"records":[]}', "no Records"),
        (b'{"of":"codecommit"}', "no Records"),
        (b'{"logFiles":[{"s3Bucket":"codecommit-trail"}]}', "no Records"),
        (b"[%s]" % GOOD.encode(), "JSON array"),
        (b"[]", "JSON array"),
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
        (b"\0" * 10, "not JSON"),
        (b"\0" * 12, "not JSON"),
        (file_of(GOOD, "\0\0", LONE_SURROGATE), "not JSON"),
        (TEXT.decode().encode("utf-16")[:-1], "not JSON"),
        (b" ", "not JSON"),
        (b'{"Records":[%s}' % GOOD.encode(), "not JSON"),
        (b'{"Records":[%s]' % GOOD.encode(), "not JSON"),
        (b'{"Records":[%s' % GOOD.encode(), "not JSON"),
        (b'{"Records":["codecommit', "not JSON"),
        (b'{"Records":["codecommit\\', "not JSON"),
        (b'{"\\x":1,"Records":[%s]}' % GOOD.encode(), "not JSON"),
        (b'{"\\x":[],"Records":[%s]}' % GOOD.encode(), "not JSON"),
        (b'{"Records":[%s],"deep":%s}' % (GOOD.encode(), nested(100_000).encode()), "too deep"),
        (b'{"Records":[%s],"Records":5}' % GOOD.encode(), "no list"),
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

    assert Decoded((), (), 0, len(body)) == read(gzip.compress(body))


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
        GOOD.replace("tools", "\udcff"),
        GOOD.replace('"tools"', "1" * 5000),
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


def test_half_a_character_in_a_name_costs_nothing() -> None:
    """
    A member may be called anything, wherever it is.
    """
    named = GOOD.replace(
        '"requestParameters": {', r'"\ud800": 1, "requestParameters": {"\udc00": [],'
    )
    decoded = read(file_of(FOREIGN, named, GOOD))

    assert (["tools"] * 2, 0) == (
        [found.repository.name for found in decoded.events],
        decoded.invalid,
    )


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


@pytest.mark.parametrize(("ours", "invalid"), [("codecommit", 1), ("somebody", 0)])
@pytest.mark.parametrize("depth", [100_000, 400_000])
def test_nesting_that_nothing_can_read_costs_the_record(
    depth: int, ours: str, invalid: int
) -> None:
    """
    What is nested too deep for every reader costs itself, and its neighbours count.
    """
    deep = f'{{"of":"{ours}","deep":{nested(depth)}}}'
    decoded = read(file_of(GOOD, deep, GOOD))

    assert ((event(json.loads(GOOD)),) * 2, invalid) == (decoded.events, decoded.invalid)


@pytest.mark.parametrize("other", [FOREIGN, LONE_SURROGATE], ids=["fast", "plain"])
@pytest.mark.parametrize(
    "shape",
    [
        '{{"eventSource":"codecommit.amazonaws.com","deep":{}}}',
        '{{"name":"codecommit","deep":{}}}',
        '["codecommit",{}]',
    ],
)
def test_nesting_at_the_limits_costs_the_record(shape: str, other: str) -> None:
    """
    Where one reader gives up and the next does not, the neighbours count.
    """
    good = event(json.loads(GOOD))
    found = [outcome(file_of(GOOD, shape.format(nested(n)), other)) for n in range(850, 1000, 3)]

    assert {good} == {one[0] for one in found if isinstance(one, tuple)}
    assert [] == [one for one in found if not isinstance(one, tuple)]


@pytest.mark.parametrize("category", ["Insight", "NetworkActivity", "Aggregated"])
def test_records_of_another_category_are_no_events(category: str) -> None:
    """
    They are about CodeCommit, are readable, and are not counted.
    """
    other = json.dumps(record("GitPull", eventCategory=category))
    decoded = read(file_of(other, GOOD))

    assert (1, 0) == (len(decoded.events), decoded.invalid)


@pytest.mark.parametrize(
    "odd",
    ["\0", "\x01", "\n", r"\u0000", "\u202e", "x" * 100_000],
    ids=["NUL", "control", "newline", "escaped NUL", "right to left", "long"],
)
@pytest.mark.parametrize("other", [FOREIGN, LONE_SURROGATE], ids=["fast", "plain"])
def test_a_text_may_hold_anything(odd: str, other: str) -> None:
    """
    Text that only some readers accept spoils neither its record nor its neighbours.
    """
    decoded = read(file_of(GOOD, GOOD.replace("git/2.47.1", odd), other))

    assert (2, 0) == (len(decoded.events), decoded.invalid)


@pytest.mark.parametrize("number", ["1" * 5000, "NaN"])
@pytest.mark.parametrize(
    "odd",
    ['"errorCode": "\udcff"', '"errorCode": ' + "1" * 5000, '"readOnly": ' + nested(100_000)],
    ids=["no UTF-8", "a long number", "deep"],
)
def test_several_odd_records_cost_themselves(odd: str, number: str) -> None:
    """
    Oddities of different records do not add up to a file that cannot be read.
    """
    records = (
        GOOD,
        LONE_SURROGATE,
        f'{{"codecommit": 1, {odd}}}',
        FOREIGN[:-1] + f',"n":{number}}}',
    )
    decoded = read(",".join(records).join(('{"Records":[', "]}")).encode(errors="surrogateescape"))

    assert (1, 1) == (len(decoded.events), decoded.invalid)


@pytest.mark.parametrize("other", [FOREIGN, LONE_SURROGATE], ids=["fast", "plain"])
def test_the_last_of_two_members_of_one_name_is_meant(other: str) -> None:
    """
    Every reader of JSON has it so, in a record and around the records.
    """
    twice = '{"eventSource": "s3.amazonaws.com",' + GOOD[1:]
    body = file_of(GOOD, GOOD)[:-1] + b"," + file_of(twice, other)[1:]

    assert 1 == len(read(body).events)
    assert () == read(file_of(other)[:-1] + b',"of":"codecommit","Records":null}').events


@pytest.mark.parametrize(
    "member", ['"a":[1,{"b":"]}"}]', '"a":"\\"[{,"', '"\\"a,":{}', '"Record":[{}]']
)
def test_what_is_around_the_records_does_not_matter(member: str) -> None:
    """
    A file may have more members than its records, before and after them.
    """
    body = file_of(GOOD, LONE_SURROGATE).decode()
    first = f"{{{member},{body[1:]}"
    last = f"{body[:-1]} , {member} }}"

    assert [1, 1] == [len(read(text.encode()).events) for text in (first, last)]


def test_a_record_may_come_alone() -> None:
    """
    A record outside of any file is the same event or request, and one of others nothing.
    """
    decoded = [decode_record(json.dumps(one).encode(), None) for one in RECORDS]

    assert EVENTS == tuple(one for found in decoded for one in found.events)
    assert KMS_REQUESTS == tuple(one for found in decoded for one in found.kms_requests)
    assert {0} == {found.invalid for found in decoded}
    assert len(json.dumps(RECORDS[0])) == decoded[0].inflated_bytes


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        ({}, "112233445566", "112233445566"),
        ({"recipientAccountId": None}, "112233445566", "112233445566"),
        ({"recipientAccountId": "998877665544"}, "112233445566", "998877665544"),
        ({"recipientAccountId": "998877665544"}, None, "998877665544"),
        ({}, None, "(invalid)"),
    ],
)
def test_the_envelopes_account_stands_in_for_the_records(
    own: Record, given: str | None, expected: str
) -> None:
    """
    EventBridge's copy of a record tells no recipient; its envelope does.
    """
    told = api_call("PutFile", "tools")
    del told["recipientAccountId"]
    (found,) = decode_record(json.dumps(told | own).encode(), given).events

    assert expected == found.repository.account_id


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"codecommit"', b"5", b"{", b'{"a":1}}', b"\xff", b"\0"]
)
def test_what_is_no_record_is_unreadable(body: bytes) -> None:
    """
    A message whose record cannot be read is left as a whole: it has no other.
    """
    with pytest.raises(UnreadableMessage):
        decode_record(body, "112233445566")


def test_a_record_that_is_too_deep_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One without any id that could be read, but not any further, is left as well.
    """

    def give_up(_: Record) -> bytes:
        raise RecursionError

    monkeypatch.setattr(cloudtrail, "whole_identity", give_up)
    told = api_call("PutFile", "tools")
    del told["eventID"]
    nameless = json.dumps(told)

    with pytest.raises(UnreadableMessage, match="too deep"):
        decode_record(nameless.encode(), None)
    assert (1, 2) == (
        len(read(file_of(nameless, GOOD, nameless)).events),
        read(file_of(nameless, GOOD, nameless)).invalid,
    )


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


@settings(quickly, max_examples=200)
@given(
    body=st.sampled_from([WHOLE, COMPRESSED["stored"], COMPRESSED["several members"]]),
    place=st.integers(0, len(COMPRESSED["stored"])),
    size=st.integers(1, 255),
)
def test_a_torn_file_never_half_counts(body: bytes, place: int, size: int) -> None:
    """
    A file that lacks a part in the middle has the events of the whole one, or is malformed.
    """
    place %= len(body)
    found = outcome(body[:place] + body[place + size :])

    assert found in (EVENTS, MalformedLogFile)


def test_a_cut_plain_file_is_malformed_whatever_it_names() -> None:
    """
    No checksum speaks for plain text: a cut that happens to end well is noticed by reading.
    """
    with pytest.raises(MalformedLogFile):
        decode(b'{"Records":[{"eventSource":"ec2.amazonaws.com","x":{}}', inflated_bytes_max=1000)


def test_a_record_larger_than_any_of_cloudtrails_is_invalid() -> None:
    """
    Read, it would take many times its size; the others of its file count.
    """
    references = [{"ref": "refs/heads/a"}] * 60_000
    large = record("GitPush", requestParameters={"references": references})
    decoded = decode(
        log_file(text(large, api_call("PutFile", "tools"))), inflated_bytes_max=10 * CAP
    )

    assert (1, 1) == (len(decoded.events), decoded.invalid)


DECRYPT: Record = record(
    "Decrypt",
    eventSource="kms.amazonaws.com",
    sourceIPAddress="codecommit.amazonaws.com",
    requestParameters={"encryptionContext": {"a": "1", "b": "2", "c": "3"}},
)


@pytest.mark.parametrize(
    ("told", "parts"),
    [
        (record("ListRepositories"), 1),
        (api_call("PutFile", "tools"), 2),
        (push("tools", *["refs/heads/a"] * 5), 8),
        (record("PostCommentReply", requestParameters={"inReplyTo": "a", "commentId": "b"}), 3),
        (DECRYPT, 4),
    ],
    ids=["a record", "a repository", "references", "ids", "KMS's ids"],
)
def test_more_than_any_file_has_is_refused(
    told: Record, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What would fill the memory is no log file of CloudTrail's, be it many records or large ones.
    """
    monkeypatch.setattr(cloudtrail, "_PARTS_MAX", 3 * parts)
    body = log_file(text(*[told] * 3))
    decoded = read(body)

    assert 3 == len(decoded.events) + len(decoded.kms_requests)
    monkeypatch.setattr(cloudtrail, "_PARTS_MAX", 3 * parts - 1)
    with pytest.raises(OversizedLogFile, match="parts of CodeCommit's records"):
        read(body)


def test_what_is_not_meant_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file that is read anew has what it has, not what was found the first time as well.
    """
    monkeypatch.setattr(cloudtrail, "_SHORT_BYTES_MAX", 1)
    monkeypatch.setattr(cloudtrail, "_PARTS_MAX", 4)
    monkeypatch.setattr(inflation, "PIECE_BYTES", 2_000)
    cut_apart = GOOD.replace('{"eventVersion": ', '{"eventVersion":')

    assert 2 == len(read(gzip.compress(file_of(cut_apart, cut_apart, LONE_SURROGATE))).events)


def no_patience(_: object) -> list[memoryview]:
    raise AssertionError("the file was read patiently")


@pytest.mark.parametrize("place", range(12))
def test_a_file_that_is_laid_out_well_is_read_quickly(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In whichever piece it names CodeCommit first, no piece is lost.
    """
    monkeypatch.setattr(cloudtrail, "slices_patiently", no_patience)
    monkeypatch.setattr(cloudtrail, "_SHORT_BYTES_MAX", 1)
    monkeypatch.setattr(inflation, "PIECE_BYTES", 2_000)
    foreign = record("PutObject", eventSource="s3.amazonaws.com", userAgent="x" * 1_300)
    records = [*[foreign] * place, api_call("PutFile", "tools"), *[foreign] * 3]
    body = gzip.compress(text(*records).encode())

    assert (place + 4) * 2_000 < read(body).inflated_bytes + 2_000
    assert 1 == len(read(body).events)


@pytest.mark.parametrize("damage", [b"x", None], ids=["followed by junk", "cut"])
def test_a_damaged_file_is_not_read_patiently(
    damage: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whether it is whole, and within the cap, is known before it costs patience.
    """
    monkeypatch.setattr(cloudtrail, "slices_patiently", no_patience)
    monkeypatch.setattr(cloudtrail, "_SHORT_BYTES_MAX", 1)
    monkeypatch.setattr(inflation, "PIECE_BYTES", 100)
    plain = b'{"of":"codecommit","Records":[],"more":"%s"}' % (b"x" * 1_000)
    whole = gzip.compress(plain)

    with pytest.raises(MalformedLogFile, match="gzip"):
        read(whole[:-1] if damage is None else whole + damage)
    with pytest.raises(OversizedLogFile):
        read(whole, cap=len(plain) - 1)


@pytest.mark.parametrize(
    "first", [gzip.compress(b""), gzip.compress(b"") * 300], ids=["one", "many"]
)
@pytest.mark.parametrize(
    "plain",
    [
        TEXT.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + TEXT.replace(b"git/2.47.1", rb"\ud800"),
        TEXT,
    ],
    ids=["UTF-16", "byte order mark", "as CloudTrail writes it"],
)
def test_empty_members_before_it_do_not_matter(first: bytes, plain: bytes) -> None:
    """
    How a text begins is told by its first bytes, not by its first member.
    """
    assert EVENTS == read(first + gzip.compress(plain)).events


@pytest.mark.parametrize("blanks", [0, 200_000, 2_000_000])
@pytest.mark.parametrize("odd", [FOREIGN, LONE_SURROGATE], ids=["quickly", "patiently"])
def test_blanks_after_a_record_do_not_make_it_too_large(odd: str, blanks: int) -> None:
    """
    However many they are.
    """
    large = GOOD[:-1] + f',"x":"{"y" * 900_000}"}}'
    decoded = read(file_of(odd, large + " " * blanks, GOOD), cap=8 * MIB)

    assert (2, 0) == (len(decoded.events), decoded.invalid)


@pytest.mark.parametrize("odd", [r'"\ud800"', "1"], ids=["read apart", "read at once"])
def test_a_record_too_large_to_be_read_is_not_built(odd: str) -> None:
    """
    Neither on the quick road nor on the slow one does it take many times its size.
    """
    many = "[" + ",".join(["1e1"] * 300_000) + "]"
    large = '{"eventSource":"codecommit.amazonaws.com","x":' + many + "}"
    body = gzip.compress(file_of(GOOD, large, odd), compresslevel=1)

    assert (event(json.loads(GOOD)),) == outcome(body, cap=32 * MIB)
    assert most_held(body) < 8 * MIB


def test_what_is_around_the_records_is_bounded() -> None:
    """
    A file that is mostly something else is none.
    """
    many = "[" + ",".join(["{}"] * MIB) + "]"
    around = '{"Records":[' + GOOD + ',"\\ud800"],"x":' + many + "}"
    with pytest.raises(MalformedLogFile, match="bytes around its Records"):
        read(gzip.compress(around.encode(), compresslevel=1), cap=32 * MIB)
