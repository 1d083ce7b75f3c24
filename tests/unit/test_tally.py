"""
What the events of one reading add, family by family.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from exporter.codecommit import Event, event
from exporter.families import (
    EVENT_DELIVERY,
    EVENT_ERRORS,
    EVENTS,
    FAMILY,
    LAST_EVENT,
    LAST_PUSH,
    PUSH_REFERENCES,
    PUSHES,
    REFERENCE_UPDATES,
    Family,
    Total,
)
from exporter.ledger.memory import MemoryLedger
from exporter.notifications import LogFile
from exporter.tally import Memory, Reading, Sight, Tally, tally
from tests.records import OWNER, REGION, Record, api_call, denied, git, push, push_pair, record

NOW = datetime(2026, 9, 21, 12, 0, tzinfo=UTC)
NOW_MS = 1_789_992_000_000
REPO = (OWNER, REGION, "tools")
NOWHERE = (OWNER, REGION, "")

quickly = settings(max_examples=75, deadline=None)


def at(seconds: float = 0) -> str:
    """
    A point in time as CloudTrail writes it, so many seconds after now.
    """
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def reading(*records: Record, delivered_ms: int | None = NOW_MS) -> Reading:
    return Reading(LogFile("trail", "one.json.gz"), delivered_ms, tuple(map(event, records)))


def tallied(
    *records: Record, memory: Memory | None = None, delivered_ms: int | None = NOW_MS
) -> Tally:
    """
    What these records add, as one file, to what a memory has seen: nothing, if none is given.
    """
    return tally(reading(*records, delivered_ms=delivered_ms), memory or MemoryLedger(), NOW_MS)


def of(family: Family, found: Tally) -> dict[tuple[str, ...], Total]:
    """
    What was added to one family, by label values.
    """
    return {
        series.labels: total
        for series, total in found.totals.items()
        if series.family == family.name
    }


def amounts(family: Family, found: Tally) -> dict[tuple[str, ...], int]:
    return {labels: total.amount for labels, total in of(family, found).items()}


class OldMemory(MemoryLedger):
    """
    A memory that has forgotten the time its events are of.
    """

    def see(self, event: Event) -> Sight:
        super().see(event)
        return Sight.LATE


def test_a_push_is_two_records_and_counts_once() -> None:
    """
    Both records of a push over HTTP are events; one of them is the push.
    """
    found = tallied(*push_pair("tools", "refs/heads/main"))

    assert {
        (*REPO, "GitPush", "HTTP", "false"): 1,
        (*REPO, "GitPush", "HTTP", "true"): 1,
    } == amounts(EVENTS, found)
    assert {(*REPO, "HTTP"): 1} == amounts(PUSHES, found)


@pytest.mark.parametrize(
    "told",
    [
        git("GitPush", "tools", moved=False),
        git("GitPull", "tools", moved=True),
        push("tools", "refs/heads/main", errorCode="AccessDenied"),
        api_call("PutFile", "tools"),
    ],
)
def test_what_is_no_push_adds_to_no_family_of_pushes(told: Record) -> None:
    """
    An event without a push counts as an event, and as nothing that pushes are counted by.
    """
    found = tallied(told)

    assert 1 == sum(amounts(EVENTS, found).values())
    assert [{}] * 4 == [
        of(family, found) for family in (PUSHES, PUSH_REFERENCES, REFERENCE_UPDATES, LAST_PUSH)
    ]


def test_references_are_counted_by_type_and_change() -> None:
    """
    One observation of their number, and each of them by what happened to it.
    """
    parameters = {
        "references": [
            {"ref": "refs/heads/a", "commit": "1" * 40},
            {"ref": "refs/heads/b", "commit": "2" * 40},
            {"ref": "refs/heads/c", "commit": "0" * 40},
            {"ref": "refs/tags/v1", "commit": "1" * 40},
            {"ref": "refs/notes/x", "commit": "0" * 40},
        ]
    }
    found = tallied(push("tools") | {"requestParameters": parameters})

    assert {
        (*REPO, "branch", "update"): 2,
        (*REPO, "branch", "delete"): 1,
        (*REPO, "tag", "update"): 1,
        (*REPO, "other", "delete"): 1,
    } == amounts(REFERENCE_UPDATES, found)
    assert {(*REPO, "HTTP"): Total(5000, (0, 0, 1, 0, 0, 0, 0))} == of(PUSH_REFERENCES, found)


def test_pushes_of_one_file_add_up() -> None:
    """
    Several pushes to one repository are one series, with every observation in it.
    """
    found = tallied(
        push("tools", "refs/heads/a"),
        push("tools", "refs/heads/a", "refs/heads/b"),
        push("tools", *(f"refs/tags/{number}" for number in range(101))),
    )

    assert {(*REPO, "HTTP"): 3} == amounts(PUSHES, found)
    assert {(*REPO, "HTTP"): Total(104_000, (1, 1, 0, 0, 0, 0, 1))} == of(PUSH_REFERENCES, found)
    assert {(*REPO, "branch", "update"): 3, (*REPO, "tag", "update"): 101} == amounts(
        REFERENCE_UPDATES, found
    )


@pytest.mark.parametrize("parameters", [None, {"omitted": True}, {"references": None}])
def test_references_that_were_left_out_are_not_observed(parameters: Record | None) -> None:
    """
    A push whose references CloudTrail dropped for their size is a push.
    """
    found = tallied(push("tools") | {"requestParameters": parameters})

    assert {(*REPO, "HTTP"): 1} == amounts(PUSHES, found)
    assert ({}, {}) == (of(PUSH_REFERENCES, found), of(REFERENCE_UPDATES, found))


def test_a_push_that_lists_no_reference_is_observed() -> None:
    """
    An empty list is a number of references, unlike one that was left out.
    """
    found = tallied(push("tools"))

    assert {(*REPO, "HTTP"): Total(0, (1, 0, 0, 0, 0, 0, 0))} == of(PUSH_REFERENCES, found)
    assert {} == of(REFERENCE_UPDATES, found)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, Total(0, (1, 0, 0, 0, 0, 0, 0, 0, 0))),
        (300, Total(0, (1, 0, 0, 0, 0, 0, 0, 0, 0))),
        (-60, Total(60_000, (1, 0, 0, 0, 0, 0, 0, 0, 0))),
        (-61, Total(61_000, (0, 1, 0, 0, 0, 0, 0, 0, 0))),
        (-86400, Total(86_400_000, (0, 0, 0, 0, 0, 0, 0, 1, 0))),
        (-30 * 86400, Total(2_592_000_000, (0, 0, 0, 0, 0, 0, 0, 0, 1))),
    ],
)
def test_delivery_takes_from_the_event_to_the_file(seconds: float, expected: Total) -> None:
    """
    The delay is never negative, as a file's name tells only the minute.
    """
    found = tallied(api_call("PutFile", "tools", eventTime=at(seconds)))

    assert {(*REPO, "PutFile", "", ""): expected} == of(EVENT_DELIVERY, found)


@pytest.mark.parametrize(
    ("time", "delivered_ms"), [(at(-60), None), ("yesterday", NOW_MS), (None, None)]
)
def test_a_delay_needs_both_ends(time: object, delivered_ms: int | None) -> None:
    """
    Without the time of the event or of the delivery nothing is observed.
    """
    found = tallied(api_call("PutFile", "tools", eventTime=time), delivered_ms=delivered_ms)

    assert {} == of(EVENT_DELIVERY, found)
    assert 1 == sum(amounts(EVENTS, found).values())


def test_failures_are_counted_by_their_code() -> None:
    """
    Every event with an errorCode, and no other, adds to its code.
    """
    found = tallied(
        api_call("PutFile", "tools"),
        denied("PutFile", "tools"),
        denied("PutFile", "tools"),
        api_call("GetBranch", "tools", errorCode="BranchDoesNotExistException"),
        git("GitPush", "tools", moved=False, errorCode="no code"),
    )

    assert {
        (*REPO, "PutFile", "AccessDenied"): 2,
        (*REPO, "GetBranch", "BranchDoesNotExistException"): 1,
        (*REPO, "GitPush", "(invalid)"): 1,
    } == amounts(EVENT_ERRORS, found)


def test_an_unknown_repository_is_empty_in_every_family() -> None:
    """
    What a stranger typed is in no label at all.
    """
    found = tallied(denied("PutFile", "tools") | {"eventTime": at(-60)})

    assert 4 == len(found.totals)
    assert {NOWHERE} == {series.labels[:3] for series in found.totals}


@pytest.mark.parametrize(
    "teacher",
    [
        api_call("PutFile", "tools"),
        git("GitPull", "tools", moved=False, errorCode="AccessDenied"),
        record("X", requestParameters={"oldName": "old-tools", "newName": "tools"}),
        api_call("DeleteRepository", "tools", responseElements={"repositoryId": "0a1b"}),
    ],
    ids=["success", "resource", "new name", "deletion"],
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_name_is_believed_once_it_has_been_shown(teacher: Record, after: bool) -> None:
    """
    Anything that shows a repository does, wherever it stands in the file.
    """
    failed = denied("DeleteFile", "tools")
    found = tallied(*([failed, teacher] if after else [teacher, failed]))

    assert {(*REPO, "DeleteFile", "AccessDenied"): 1} == {
        labels: amount
        for labels, amount in amounts(EVENT_ERRORS, found).items()
        if "DeleteFile" in labels
    }


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"awsRegion": "us-east-1"},
        {"recipientAccountId": "123412341234"},
        {"requestParameters": {"repositoryName": "Tools"}},
    ],
    ids=["Region", "account", "capital"],
)
def test_a_repository_is_known_only_where_it_is(elsewhere: Record) -> None:
    """
    The same name in another account, Region or spelling is another repository.
    """
    found = tallied(api_call("PutFile", "tools"), denied("DeleteFile", "tools") | elsewhere)

    assert [""] == [labels[2] for labels in of(EVENT_ERRORS, found)]


def test_repeated_and_late_events_teach() -> None:
    """
    What counts nothing still shows that a repository exists.
    """
    once = api_call("PutFile", "tools")
    memory = MemoryLedger()
    memory.see(event(once))
    repeated = tallied(once, denied("DeleteFile", "tools"), memory=memory)
    old = OldMemory()
    late = tallied(once, memory=old)

    assert (1, 1) == (repeated.repeated, len(repeated.counted))
    assert {(*REPO, "DeleteFile", "", ""): 1} == amounts(EVENTS, repeated)
    assert (1, [], {}) == (late.late, late.counted, late.totals)
    assert old.knows(event(once).repository)


def test_an_event_told_twice_in_one_file_counts_once() -> None:
    """
    A file may repeat an event; the first record counts.
    """
    once = push("tools", "refs/heads/main")
    found = tallied(once, once, once)

    assert ([event(once)], 2) == (found.counted, found.repeated)
    assert {(*REPO, "HTTP"): 1} == amounts(PUSHES, found)


def test_a_file_without_events_adds_nothing() -> None:
    """
    There is nothing to add, and nothing is.
    """
    assert Tally() == tallied()


@pytest.mark.parametrize("order", [1, -1], ids=["forwards", "backwards"])
def test_the_newest_time_is_shown(order: int) -> None:
    """
    Files are in no order of time, so the newest wins wherever it stands.
    """
    records = [
        push("tools", eventTime=at(-20)),
        push("tools", eventTime=at(-10)),
        git("GitPush", "tools", moved=False, eventTime=at(-5)),
    ]
    found = tallied(*records[::order])

    assert {(*REPO, "GitPush"): NOW_MS - 5_000} == amounts(LAST_EVENT, found)
    assert {REPO: NOW_MS - 10_000} == amounts(LAST_PUSH, found)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, True), (900, True), (901, False), (86400, False)]
)
def test_a_clock_ahead_does_not_stick(seconds: float, shown: bool) -> None:
    """
    A time more than 15 minutes ahead sets no timestamp; the event and the push count.
    """
    found = tallied(push("tools", "refs/heads/main", eventTime=at(seconds)))
    moment = round(NOW_MS + seconds * 1000)

    assert ({(*REPO, "GitPush"): moment} if shown else {}) == amounts(LAST_EVENT, found)
    assert ({REPO: moment} if shown else {}) == amounts(LAST_PUSH, found)
    assert {(*REPO, "HTTP"): 1} == amounts(PUSHES, found)


RECORDS: list[Record] = [
    *push_pair("tools", "refs/heads/main", "refs/tags/one"),
    push("docs", "refs/heads/main", eventTime=at(-4000)),
    denied("PutFile", "tools"),
    denied("PutFile", "no-such-thing"),
    api_call("PutFile", "tools", eventTime=at(-40)),
    api_call("DeleteRepository", "ghost"),
    record("ListRepositories", eventTime="yesterday"),
    record("UpdateRepositoryName", requestParameters={"oldName": "docs", "newName": "texts"}),
    denied("GetBranch", "texts"),
    record("GitPush", eventID="740f-EXAMPLE", awsRegion=None, recipientAccountId="nobody"),
]
some_records = st.lists(st.sampled_from(RECORDS), max_size=15)


@quickly
@given(some_records)
def test_the_sum_of_events_is_their_number(records: list[Record]) -> None:
    """
    Every record is counted or repeated, and the counter's sum is the number of events.
    """
    found = tallied(*records)
    different = len({event(one).ids for one in records})

    assert different == len(found.counted) == sum(amounts(EVENTS, found).values())
    assert len(records) == len(found.counted) + found.repeated


@quickly
@given(some_records)
def test_every_series_has_the_labels_of_its_family(records: list[Record]) -> None:
    """
    As many values as the family has names, and as many buckets.
    """
    totals = tallied(*records).totals

    assert [] == [
        series
        for series, total in totals.items()
        if len(series.labels) != len(FAMILY[series.family].labels)
        or len(total.buckets) != len(FAMILY[series.family].zero().buckets)
    ]


@quickly
@given(records=some_records, shuffled=st.data())
def test_the_order_within_a_file_does_not_matter(
    records: list[Record], shuffled: st.DataObject
) -> None:
    """
    All records teach before any is resolved, so any order gives the same totals.
    """
    other: Sequence[Record] = shuffled.draw(st.permutations(records))

    assert tallied(*records).totals == tallied(*other).totals
