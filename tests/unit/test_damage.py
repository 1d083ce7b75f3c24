"""
Whatever comes in is events or one typed error, and the page stays within its bounds.

An example here is one body that was decoded, and counted where it could be: a text, a
damaged file, or a file with one field of one record replaced. Hypothesis draws what a batch
of them is made from, and each batch ends with the page of all that it counted. So the
number of examples is that of bodies and not of draws, and draws may repeat each other.

The tests look at some thousands. A million at once, spread over the properties in the same
proportions, with their number printed at the end:

    EXAMPLES=1000000 .venv/bin/python -m pytest -s tests/unit/test_damage.py
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from exporter.cloudtrail import Decoded, decode, decode_record
from exporter.errors import MalformedLogFile, OversizedLogFile, Permanent, UnreadableMessage
from exporter.families import OTHER
from exporter.ledger.memory import MemoryLedger
from exporter.notifications import LogFile
from exporter.tally import Reading
from tests.bounds import BOUNDS
from tests.pages import page_of
from tests.processes import OPENMETRICS, TEXT, Page
from tests.records import (
    OWNER,
    PERSONAL,
    REGION,
    Record,
    api_call,
    git,
    log_file,
    push,
    record,
    text as text_of,
)

EXAMPLES = int(os.environ.get("EXAMPLES", "6000"))
CAP = 1_000_000
NOW_MS = 1_790_000_000_000
NOON = "2026-09-21T12:00:00Z"
PULL_REQUEST = {
    "pullRequestId": "27",
    "pullRequestTargets": [
        {"repositoryName": "tools", "repositoryArn": f"arn:aws:codecommit:{REGION}:{OWNER}:tools"}
    ],
}
REPOSITORY_ID = "3f0c7e0e-0d5c-4a55-9b53-0c5d9cbb1c27"

pytestmark = pytest.mark.timeout(0 if "EXAMPLES" in os.environ else 120)


def pinned(number: int, told: Record) -> Record:
    """
    A record with ids and a time that every run has, so that a failure can be seen again.
    """
    return told | {
        "eventID": f"0f7c2a55-61f6-4b0c-8f4e-{number:012}",
        "requestID": f"1f7c2a55-61f6-4b0c-8f4e-{number:012}",
        "eventTime": NOON,
    }


RECORDS = [
    pinned(number, told)
    for number, told in enumerate(
        (
            push("tools", "refs/heads/secret-plan", "refs/tags/v1"),
            git("GitPull", "tools", moved=False, errorCode="AccessDenied"),
            api_call(
                "CreateRepository",
                "tools",
                sharedEventID="2f7c2a55-61f6-4b0c-8f4e-000000000000",
                responseElements={
                    "repositoryMetadata": {
                        "repositoryName": "tools",
                        "repositoryId": REPOSITORY_ID,
                    }
                },
            ),
            record(
                "CreatePullRequest",
                requestParameters={"targets": [{"repositoryName": "tools"}]},
                responseElements={"pullRequest": PULL_REQUEST},
            ),
            record(
                "UpdatePullRequestStatus",
                requestParameters={"pullRequestId": "27", "pullRequestStatus": "CLOSED"},
                responseElements={"pullRequest": PULL_REQUEST},
            ),
            api_call(
                "PostCommentForPullRequest",
                "tools",
                responseElements={"comment": {"commentId": "c-1"}, "pullRequestId": "27"},
            ),
            record(
                "PostCommentReply",
                requestParameters={"inReplyTo": "c-1"},
                responseElements={"comment": {"commentId": "c-2"}},
            ),
            record(
                "TagResource",
                requestParameters={"resourceArn": f"arn:aws:codecommit:{REGION}:{OWNER}:tools"},
                addendum={"originalEventID": "3f7c2a55-61f6-4b0c-8f4e-000000000000"},
            ),
            record("BatchGetRepositories", requestParameters={"repositoryNames": ["tools"]}),
            record(
                "UpdateRepositoryName",
                requestParameters={"oldName": "tools", "newName": "gear"},
            ),
            api_call("DeleteRepository", "gear", responseElements={"repositoryId": REPOSITORY_ID}),
            record(
                "Decrypt",
                eventSource="kms.amazonaws.com",
                sourceIPAddress="codecommit.amazonaws.com",
                userIdentity={"type": "AWSService", "invokedBy": "codecommit.amazonaws.com"},
                requestParameters={"encryptionContext": {"id": REPOSITORY_ID}},
            ),
        )
    )
]
"""One record for every place that something is read from."""

GOOD = [
    json.dumps(
        pinned(
            number,
            api_call(
                "PostCommentForPullRequest",
                name,
                responseElements={"comment": {"commentId": "c-1"}, "pullRequestId": "27"},
            ),
        )
    )
    for number, name in ((1000, "tools"), (1001, "gear"))
]
"""Two records that contradict each other, and most of the above: of one second, too."""

SOME = [RECORDS[0], record("PutObject", eventSource="s3.amazonaws.com"), RECORDS[2], RECORDS[11]]
PLAIN = text_of(*SOME).encode()
FILES = {
    "one member": log_file(PLAIN.decode()),
    "stored": gzip.compress(PLAIN, compresslevel=0, mtime=0),
    "two members": gzip.compress(PLAIN[:999], mtime=0) + gzip.compress(PLAIN[999:], mtime=0),
}

ODDITIES = (
    "1" * 5000,
    "-" + "9" * 640,
    "1e999",
    "-0.0",
    "NaN",
    "-Infinity",
    r'"\ud83d"',
    r'"\udc00\ud83d"',
    r'"\u0000"',
    '"\0"',
    '"\n"',
    '"\u202e\U0001f600"',
    '"' + "x" * 100_000 + '"',
    '"codecommit.amazonaws.com"',
    '"9999-12-31T23:59:59.999999-23:59"',
    '"0001-01-01T00:00:00+23:59"',
    '{"a":1,"a":{"codecommit":2}}',
    "[" * 2000 + "]" * 2000,
    '{"a":' * 2000 + "1" + "}" * 2000,
)
"""JSON that only some readers read, and values at the edge of what a field may hold."""

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(("codecommit.amazonaws.com", "tools", NOON, OWNER, REPOSITORY_ID)),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(("Records", "eventSource", "eventID", "repositoryName")) | st.text(),
            children,
            max_size=4,
        )
    ),
    max_leaves=8,
)
fragments = st.sampled_from(ODDITIES) | st.builds(json.dumps, values, ensure_ascii=st.booleans())


def as_bytes(json_text: str) -> bytes:
    """
    A JSON text as bytes; half a character becomes bytes that are no UTF-8.
    """
    return json_text.encode(errors="surrogatepass")


class Count:
    """
    What bodies add up to: the program's own way from bytes to a page, all of it in memory.

    Damaged bodies tell of the same events again and again. Each is given an id of its own,
    for its labels to come to the page.
    """

    looked_at = 0

    def __init__(self) -> None:
        self._ledger = MemoryLedger(now=lambda: NOW_MS / 1000)
        self._ids = ((number.to_bytes(16, "big"),) for number in itertools.count())
        self._events = 0
        self._kms_requests = 0

    def log_file(self, body: bytes) -> Decoded | type[Permanent]:
        """
        Count a log file; return what it holds, or which of the two errors it is.
        """
        return self._take(
            lambda: decode(body, inflated_bytes_max=CAP), MalformedLogFile, OversizedLogFile
        )

    def record(self, body: bytes) -> Decoded | type[Permanent]:
        """
        Count a record that came alone.
        """
        return self._take(lambda: decode_record(body, OWNER), UnreadableMessage)

    def _take(
        self, decoding: Callable[[], Decoded], *errors: type[Permanent]
    ) -> Decoded | type[Permanent]:
        Count.looked_at += 1
        try:
            decoded = decoding()
        except errors as error:
            return type(error)
        events = tuple(replace(one, ids=next(self._ids)) for one in decoded.events)
        kms_requests = tuple(replace(one, ids=next(self._ids)) for one in decoded.kms_requests)
        self._ledger.count(Reading(LogFile("trail", "file"), NOW_MS, events, kms_requests))
        self._events += len(events)
        self._kms_requests += len(kms_requests)
        return decoded

    def check_pages(self) -> None:
        """
        See that the pages can be read, show what was counted, and name nothing they must not.
        """
        for accept in (TEXT, OPENMETRICS):
            shown = page_of(self._ledger, accept)

            assert self._events == shown.value("codecommit_events_total")
            assert self._kms_requests == shown.value("codecommit_kms_requests_total")
            assert [] == [label for label in labels(shown) if not is_within_bounds(*label)]
            assert [] == [detail for detail in PERSONAL if detail in shown.text]


def labels(shown: Page) -> set[tuple[str, str]]:
    """
    Every label of a page with every value it has there.
    """
    return {
        label
        for family in shown.families.values()
        for sample in family.samples
        for label in sample.labels.items()
    }


def is_within_bounds(name: str, value: str) -> bool:
    """
    Whether a label may say this.
    """
    return value == OTHER or re.fullmatch(BOUNDS[name], value) is not None


@pytest.fixture(autouse=True, scope="module")
def _tell_how_many() -> Iterator[None]:
    yield
    print(f"\n{Count.looked_at} examples")  # noqa: T201


def examples(share: float, batch: int) -> settings:
    """
    Hypothesis's settings for a share of all examples, of which a batch is made from one draw.
    """
    return settings(
        max_examples=max(1, round(EXAMPLES * share / batch)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@examples(0.1, 5)
@given(st.binary(max_size=400))
def test_any_bytes_are_events_or_an_error(body: bytes) -> None:
    """
    Bytes as they stand, behind a header of gzip, inside of gzip, as a record and among some.
    """
    count = Count()
    count.log_file(body)
    count.log_file(FILES["one member"][:10] + body)
    count.log_file(gzip.compress(body, compresslevel=1))
    count.log_file(b'{"Records":["codecommit",%s]}' % body)
    count.record(body)
    count.check_pages()


@examples(0.1, 5)
@given(fragments)
def test_any_json_is_events_or_an_error(fragment: str) -> None:
    """
    JSON as a file, as what Records are, as a record alone, and as one among good ones.
    """
    body = as_bytes(fragment)
    count = Count()
    count.log_file(body)
    count.log_file(b'{"of":"codecommit","Records":%s}' % body)
    count.log_file(gzip.compress(b'{"Records":%s}' % body, compresslevel=1))
    count.record(body)
    among = count.log_file(among_good_ones(body))
    count.check_pages()

    assert isinstance(among, Decoded)
    assert set(GOOD_EVENTS) <= set(among.events)
    assert len(among.events) + len(among.kms_requests) + among.invalid <= 3


def among_good_ones(*odd: bytes) -> bytes:
    """
    A log file with a good record, the odd ones, and another good record.
    """
    first, last = (one.encode() for one in GOOD)
    return b'{"Records":[%s]}' % b",".join((first, *odd, last))


GOOD_EVENTS = decode(among_good_ones(), inflated_bytes_max=CAP).events


Path = tuple[str | int, ...]


def paths(whole: Any, *, at: Path = ()) -> Iterator[Path]:
    """
    The way to everything inside of a value, and to itself.
    """
    yield at
    if isinstance(whole, dict | list):
        for name, part in whole.items() if isinstance(whole, dict) else enumerate(whole):
            yield from paths(part, at=(*at, name))


def replaced(whole: Any, path: Path, value: object) -> Any:
    """
    A value with something else at the end of a path.
    """
    if not path:
        return value
    copy = whole.copy()
    copy[path[0]] = replaced(whole[path[0]], path[1:], value)
    return copy


HOLE = "the hole"
HOLED = [
    json.dumps(replaced(told, path, HOLE)).split(json.dumps(HOLE))
    for told in RECORDS
    for path in paths(told)
]
"""Every record with every one of its fields cut out: what is before it, and after it."""


@examples(0.4, len(HOLED))
@given(fragments)
def test_any_field_may_hold_anything(fragment: str) -> None:
    """
    A value at any place of any record costs that record at most; its neighbours count.
    """
    count = Count()
    found = [
        (before, count.log_file(among_good_ones(as_bytes(before + fragment + after))))
        for before, after in HOLED
    ]
    count.check_pages()

    assert [] == [
        (before, one)
        for before, one in found
        if not isinstance(one, Decoded)
        or not set(GOOD_EVENTS) <= set(one.events)
        or len(one.events) + len(one.kms_requests) + one.invalid > 3
    ]


@dataclass(frozen=True, slots=True)
class Damages:
    """
    A file with every damage of one byte: another there, one more, or none; and every cut.
    """

    body: bytes

    def some(self, start: int, number: int) -> Iterator[bytes]:
        """
        So many of them, from all over the file.
        """
        damages = len(self.body) * DAMAGES
        return (self._damaged((start + step * STRIDE) % damages) for step in range(number))

    def _damaged(self, number: int) -> bytes:
        place, damage = divmod(number, DAMAGES)
        before, here, after = (
            self.body[:place],
            self.body[place : place + 1],
            self.body[place + 1 :],
        )
        if damage < 256:
            return before + bytes([damage]) + after
        if damage < 512:
            return before + bytes([damage - 256]) + here + after
        return before + after if damage == 512 else before


DAMAGES = 256 + 256 + 2
"""How many there are at each place."""

STRIDE = 1_000_003
"""A prime: steps of this length come by every damage of a file before one comes again."""

BATCH = 250


@pytest.mark.parametrize("body", FILES.values(), ids=FILES.keys())
@examples(0.1, BATCH)
@given(start=st.integers(0, 1 << 32))
def test_a_damaged_file_counts_whole_or_not_at_all(body: bytes, start: int) -> None:
    """
    A compressed file with any damage of one byte holds what it held, or is malformed.
    """
    count = Count()
    whole = count.log_file(body)
    found = [count.log_file(damaged) for damaged in Damages(body).some(start, BATCH)]
    count.check_pages()

    assert [] == [one for one in found if one not in (whole, MalformedLogFile)]


@pytest.mark.parametrize("body", FILES.values(), ids=FILES.keys())
def test_no_bit_is_without_its_guard(body: bytes) -> None:
    """
    Every bit of a compressed file turned over, one at a time.
    """
    count = Count()
    whole = count.log_file(body)
    found = [
        count.log_file(body[:place] + bytes([body[place] ^ 1 << bit]) + body[place + 1 :])
        for place in range(len(body))
        for bit in range(8)
    ]

    assert [] == [one for one in found if one not in (whole, MalformedLogFile)]


@examples(0.1, BATCH)
@given(start=st.integers(0, 1 << 32))
def test_a_damaged_text_counts_no_more_than_it_holds(start: int) -> None:
    """
    No checksum speaks for plain JSON: it is malformed, or has no more records than before.
    """
    count = Count()
    found = [count.log_file(damaged) for damaged in Damages(PLAIN).some(start, BATCH)]
    count.check_pages()

    assert [] == [
        one
        for one in found
        if one is not MalformedLogFile
        and not (
            isinstance(one, Decoded)
            and len(one.events) + len(one.kms_requests) + one.invalid <= len(SOME)
        )
    ]
