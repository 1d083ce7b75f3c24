"""
What the events of one reading add, family by family.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from exporter.codecommit import event
from exporter.families import (
    CALLER_EVENTS,
    EVENT_DELIVERY,
    EVENT_ERRORS,
    EVENTS,
    FAMILY,
    KMS_REQUESTS,
    LAST_EVENT,
    LAST_PUSH,
    OTHER,
    PULL_REQUEST_EVENTS,
    PULL_REQUEST_OPEN,
    PUSH_REFERENCES,
    PUSHES,
    REFERENCE_UPDATES,
    Exemplar,
    Family,
    Kind,
    Series,
    Total,
)
from exporter.kms import is_kms_request, kms_request
from exporter.knowledge import Memory, Repositories, Sight
from exporter.ledger.memory import DictMemory
from exporter.notifications import LogFile
from exporter.records import told
from exporter.tally import Reading, Tally, tally
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
    return Reading(
        LogFile("trail", "one.json.gz"),
        delivered_ms,
        events=tuple(event(one) for one in records if not is_kms_request(told(one))),
        kms_requests=tuple(kms_request(one) for one in records if is_kms_request(told(one))),
    )


def tallied(
    *records: Record, memory: Memory | None = None, delivered_ms: int | None = NOW_MS
) -> Tally:
    """
    What these records add, as one file, to what a memory has seen: nothing, if none is given.
    """
    return tally(reading(*records, delivered_ms=delivered_ms), memory or new_memory(), NOW_MS)


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


def new_memory(kind: type[DictMemory] = DictMemory, *, named_max: int = 100) -> DictMemory:
    return kind(Repositories({}, named=0, named_max=named_max))


class OldMemory(DictMemory):
    """
    A memory that has forgotten the time its events are of.
    """

    def see(self, ids: tuple[bytes, ...], time_ms: int | None) -> Sight:
        super().see(ids, time_ms)
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

    assert 5 == len(found.totals)
    assert {NOWHERE} == {series.labels[:3] for series in found.totals}


@pytest.mark.parametrize(
    "teacher",
    [
        api_call("PutFile", "tools"),
        git("GitPull", "tools", moved=False, errorCode="AccessDenied"),
        record(
            "UpdateRepositoryName",
            requestParameters={"oldName": "old-tools", "newName": "tools"},
        ),
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
    memory = new_memory()
    memory.see(event(once).ids, event(once).time_ms)
    repeated = tallied(once, denied("DeleteFile", "tools"), memory=memory)
    old = new_memory(OldMemory)
    late = tallied(once, memory=old)

    assert (1, 1) == (repeated.repeated, len(repeated.counted))
    assert {(*REPO, "DeleteFile", "", ""): 1} == amounts(EVENTS, repeated)
    assert (1, [], {}) == (late.late, late.counted, late.totals)
    assert old.repositories.get(event(once).repository)


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


# Pull requests ----------------------------------------------------------------------------


def step(action: str, seconds: float = 0, **fields: object) -> Record:
    """
    Something that happens to pull request 27, whose record names the repository.
    """
    request_parameters = {"repositoryName": "tools", "pullRequestId": "27"}
    return record(
        action, **({"requestParameters": request_parameters, "eventTime": at(seconds)} | fields)
    )


def opened(seconds: float = 0, **fields: object) -> Record:
    request_parameters = {"targets": [{"repositoryName": "tools"}]}
    answer = {"pullRequest": {"pullRequestId": 27}}
    return step(
        "CreatePullRequest",
        seconds,
        **({"requestParameters": request_parameters, "responseElements": answer} | fields),
    )


def closed(seconds: float = 0, status: str = "CLOSED", **fields: object) -> Record:
    """
    A closing, which knows the repository only by the pull request's id.
    """
    request_parameters = {"pullRequestId": "27", "pullRequestStatus": status}
    return step(
        "UpdatePullRequestStatus", seconds, **({"requestParameters": request_parameters} | fields)
    )


def commented(comment: str, action: str = "PostCommentForPullRequest") -> Record:
    return step(action, responseElements={"comment": {"commentId": comment}})


def replied(to: str, comment: str) -> Record:
    return record(
        "PostCommentReply",
        eventTime=at(),
        requestParameters={"inReplyTo": to},
        responseElements={"comment": {"commentId": comment}},
    )


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (opened(), "created"),
        (step("MergePullRequestByFastForward"), "merged"),
        (step("MergePullRequestBySquash"), "merged"),
        (step("MergePullRequestByThreeWay"), "merged"),
        (closed(), "closed"),
        (closed(status="OPEN"), "reopened"),
        (commented("c0"), "commented"),
        (
            step(
                "UpdatePullRequestApprovalState",
                requestParameters={"pullRequestId": "27", "approvalState": "APPROVE"},
            ),
            "approved",
        ),
        (
            step(
                "UpdatePullRequestApprovalState",
                requestParameters={"pullRequestId": "27", "approvalState": "REVOKE"},
            ),
            "approval_revoked",
        ),
        (
            step(
                "OverridePullRequestApprovalRules",
                requestParameters={"pullRequestId": "27", "overrideStatus": "OVERRIDE"},
            ),
            "overridden",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value["eventName"],
)
def test_what_happens_to_a_pull_request_is_counted(told: Record, expected: str) -> None:
    """
    Once, on its repository, and only where it succeeded.
    """
    memory = new_memory()
    tallied(opened(-60), memory=memory)
    failed = tallied(told | {"eventID": None, "errorCode": "AccessDenied"}, memory=memory)
    found = tallied(told, told, memory=memory)

    assert {} == amounts(PULL_REQUEST_EVENTS, failed)
    assert {(*REPO, expected): 1} == amounts(PULL_REQUEST_EVENTS, found)
    assert {} == amounts(PULL_REQUEST_EVENTS, tallied(told, memory=memory))


@pytest.mark.parametrize(
    "told",
    [
        step("GetPullRequest"),
        step("UpdatePullRequestTitle"),
        step("OverridePullRequestApprovalRules"),
        closed(status="ELSE"),
        commented("c0", "PostCommentForComparedCommit"),
        commented("c0", "UpdateComment"),
    ],
    ids=lambda told: told["eventName"],
)
def test_nothing_else_happens_to_a_pull_request(told: Record) -> None:
    found = tallied(told)

    assert {} == amounts(PULL_REQUEST_EVENTS, found)
    assert 1 == sum(amounts(EVENTS, found).values())


REPLIES = [replied("c1", "c2"), replied("c0", "c1")]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([[commented("c0"), *REPLIES]], 3),
        ([[*REPLIES, commented("c0")]], 3),
        ([[commented("c0")], REPLIES], 3),
        ([[commented("c0")], REPLIES[1:], REPLIES[:1]], 3),
        ([[commented("c0")], REPLIES[:1], REPLIES[1:]], 2),
        ([REPLIES, [commented("c0")]], 1),
        ([[commented("c0", "PostCommentForComparedCommit"), *REPLIES]], 0),
        ([REPLIES], 0),
    ],
)
def test_a_reply_is_a_comment_where_what_it_answers_is_one(
    files: list[list[Record]], expected: int
) -> None:
    """
    On a pull request, if that has been learnt from the same file or an earlier one.
    """
    memory = new_memory()
    tallies = [tallied(*records, memory=memory) for records in files]

    assert expected == sum(sum(amounts(PULL_REQUEST_EVENTS, one).values()) for one in tallies)
    assert sum(map(len, files)) == sum(sum(amounts(EVENTS, one).values()) for one in tallies)


HOUR = 3600


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        (step("MergePullRequestByFastForward", -HOUR), "merged"),
        (step("MergePullRequestBySquash", -HOUR), "merged"),
        (step("MergePullRequestByThreeWay", -HOUR), "merged"),
        (closed(-HOUR), "closed"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["eventName"],
)
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("creation first", True),
        ("end first", True),
        ("earlier commit", True),
        ("later commit", False),
    ],
)
def test_a_pull_request_was_open_from_creation_to_end(
    told: Record, outcome: str, order: str, expected: bool
) -> None:
    """
    Where its creation has been learnt, from the same file or an earlier one.
    """
    memory = new_memory()
    creation = opened(-3 * HOUR)
    files = {
        "creation first": [[creation, told]],
        "end first": [[told, creation]],
        "earlier commit": [[creation], [told]],
        "later commit": [[told], [creation]],
    }
    found = [of(PULL_REQUEST_OPEN, tallied(*one, memory=memory)) for one in files[order]]
    two_hours = Total(2 * HOUR * 1000, (0, 1, 0, 0, 0, 0, 0, 0, 0))

    assert [{(*REPO, outcome): two_hours}] * expected == list(filter(None, found))


@pytest.mark.parametrize(
    ("creation", "end"),
    [
        (opened(-HOUR, eventTime=None), closed()),
        (opened(-HOUR, eventTime="yesterday"), closed()),
        (opened(1000), closed()),
        (opened(-HOUR, errorCode="AccessDenied"), closed()),
        (opened(-HOUR, awsRegion="us-east-1"), closed()),
        (opened(-HOUR, responseElements=None), closed()),
        (step("MergePullRequestBySquash", -HOUR, eventName="GetPullRequest"), closed()),
        (opened(-HOUR), closed(eventTime=None)),
        (opened(-HOUR), closed(1000)),
        (opened(-HOUR), closed(status="OPEN")),
        (opened(-HOUR), closed(errorCode="AccessDenied")),
        (opened(-HOUR), closed(requestParameters={"pullRequestStatus": "CLOSED"})),
    ],
)
def test_an_open_time_needs_both_ends(creation: Record, end: Record) -> None:
    """
    A success at a usable time that created it, and another that ended it.
    """
    found = tallied(creation, end)

    assert {} == of(PULL_REQUEST_OPEN, found)
    assert 2 == sum(amounts(EVENTS, found).values())


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-60, Total(0, (1, 0, 0, 0, 0, 0, 0, 0, 0))),
        (0, Total(0, (1, 0, 0, 0, 0, 0, 0, 0, 0))),
        (HOUR, Total(3_600_000, (1, 0, 0, 0, 0, 0, 0, 0, 0))),
        (HOUR + 1, Total(3_601_000, (0, 1, 0, 0, 0, 0, 0, 0, 0))),
        (91 * 24 * HOUR, Total(7_862_400_000, (0, 0, 0, 0, 0, 0, 0, 0, 1))),
    ],
)
def test_an_open_time_is_never_negative(seconds: float, expected: Total) -> None:
    """
    Clocks differ; and the longest times are observed as well.
    """
    begin = -100 * 24 * HOUR
    found = tallied(opened(begin), closed(begin + seconds))

    assert {(*REPO, "closed"): expected} == of(PULL_REQUEST_OPEN, found)


def test_a_pull_request_may_end_more_than_once() -> None:
    """
    Closed, opened again and merged: two ends, each from its creation.
    """
    found = tallied(
        opened(-4 * HOUR),
        closed(-3 * HOUR),
        closed(-2 * HOUR, status="OPEN"),
        step("MergePullRequestBySquash", -HOUR),
    )

    assert {(*REPO, "closed"): HOUR * 1000, (*REPO, "merged"): 3 * HOUR * 1000} == amounts(
        PULL_REQUEST_OPEN, found
    )
    assert {(*REPO, one): 1 for one in ("created", "closed", "reopened", "merged")} == amounts(
        PULL_REQUEST_EVENTS, found
    )


# Callers ----------------------------------------------------------------------------------


def test_every_event_has_a_caller_of_some_kind() -> None:
    """
    Failed ones and those without a repository too; a repeated one has none.
    """
    once = denied("PutFile", "tools")
    found = tallied(
        once,
        once,
        push("tools", userIdentity={"type": "AssumedRole", "accessKeyId": "ASIAEXAMPLE"}),
        push("tools", userIdentity={"type": "AssumedRole"}),
        api_call("PutFile", "tools", userIdentity={"type": "Root"}),
        record("ListRepositories", userIdentity={"invokedBy": "codepipeline.amazonaws.com"}),
        record("ListRepositories", userIdentity=None),
    )

    assert {
        (*REPO, "IAMUser", "long_term"): 1,
        (*REPO, "AssumedRole", "temporary"): 2,
        (*REPO, "Root", "root"): 1,
        (*NOWHERE, "(invalid)", "aws_service"): 1,
        (*NOWHERE, "(invalid)", "unknown"): 1,
    } == amounts(CALLER_EVENTS, found)


# AWS KMS ----------------------------------------------------------------------------------


def asked_kms(*ids: object, action: str = "Decrypt", **fields: object) -> Record:
    """
    What CodeCommit asks of KMS for the repository of one of these ids.
    """
    context = {f"aws:codecommit:{number}": one for number, one in enumerate(ids)}
    told: Record = {
        "eventSource": "kms.amazonaws.com",
        "sourceIPAddress": "codecommit.amazonaws.com",
        "requestParameters": {"encryptionContext": context},
    }
    return record(action, **(told | fields))


def created(name: str, repository_id: str, **fields: object) -> Record:
    metadata = {"repositoryName": name, "repositoryId": repository_id}
    answer = {"repositoryMetadata": metadata}
    return api_call("CreateRepository", name, eventTime=at(-60), responseElements=answer, **fields)


def test_kms_requests_are_counted_by_repository_action_and_code() -> None:
    """
    Each once, on its own family and on no other.
    """
    once = asked_kms("0a1b")
    found = tallied(
        once,
        once,
        asked_kms("0a1b", errorCode="AccessDenied"),
        asked_kms("0a1b", action="Encrypt"),
        asked_kms("0a1b", action="odd name", errorCode="no code"),
        asked_kms("unknown"),
    )
    memory = new_memory()
    tallied(created("tools", "0a1b"), memory=memory)
    named = tallied(once, once, asked_kms("ALG", "0a1b"), memory=memory)

    assert {
        (*NOWHERE, "Decrypt", ""): 2,
        (*NOWHERE, "Decrypt", "AccessDenied"): 1,
        (*NOWHERE, "Encrypt", ""): 1,
        (*NOWHERE, "(invalid)", "(invalid)"): 1,
    } == amounts(KMS_REQUESTS, found)
    assert (5, 1, []) == (found.kms_requests, found.repeated, found.counted)
    assert {KMS_REQUESTS.name} == {series.family for series in found.totals}
    assert {(*REPO, "Decrypt", ""): 2} == amounts(KMS_REQUESTS, named)


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [
        (created("tools", "0a1b"), REPO),
        (created("tools", "0a1b", errorCode="AccessDenied"), NOWHERE),
        (created("tools", "0a1b", awsRegion="us-east-1"), NOWHERE),
        (created("tools", "0a1b", recipientAccountId="123412341234"), NOWHERE),
        (opened(responseElements={"pullRequestId": "0a1b"}), NOWHERE),
        (
            api_call("DeleteRepository", "tools", responseElements={"repositoryId": "0a1b"}),
            REPO,
        ),
    ],
)
@pytest.mark.parametrize("place", [0, 1], ids=["before", "behind"])
def test_a_kms_request_is_of_a_repository_that_is_learnt(
    teacher: Record, expected: tuple[str, ...], place: int
) -> None:
    """
    By its id in the same account and Region, from anywhere in the file.
    """
    records = [asked_kms("0a1b")]
    records.insert(place, teacher)

    assert {(*expected, "Decrypt", ""): 1} == amounts(KMS_REQUESTS, tallied(*records))


def test_a_late_kms_request_is_not_counted() -> None:
    found = tallied(asked_kms("0a1b"), memory=new_memory(OldMemory))

    assert (1, 0, {}) == (found.late, found.kms_requests, found.totals)


def test_a_reading_is_empty_without_events_and_kms_requests() -> None:
    """
    Either of them is something to count.
    """
    assert reading().is_empty
    assert not reading(push("tools")).is_empty
    assert not reading(asked_kms("0a1b")).is_empty


# The limit on repositories ----------------------------------------------------------------

PAST_THE_LIMIT = (OWNER, REGION, OTHER)


def test_past_the_limit_repositories_have_one_label() -> None:
    """
    In every family, and each event hits the limit once; account and Region stay.
    """
    memory = new_memory(named_max=1)
    tallied(api_call("PutFile", "tools"), memory=memory)
    found = tallied(
        push("docs", "refs/heads/main", eventTime=at(-60)),
        api_call("PutFile", "web", errorCode="AccessDenied", eventTime=at(-60), resources=[]),
        opened(requestParameters={"targets": [{"repositoryName": "docs"}]}),
        created("docs", "0a1b"),
        asked_kms("0a1b"),
        memory=memory,
    )
    found_again = tallied(api_call("PutFile", "tools"), memory=memory)

    assert {PAST_THE_LIMIT, NOWHERE} == {series.labels[:3] for series in found.totals}
    assert 4 == found.limit_hits
    assert {(*NOWHERE, "PutFile", "AccessDenied"): 1} == amounts(EVENT_ERRORS, found)
    assert {(*PAST_THE_LIMIT, "HTTP"): 1} == amounts(PUSHES, found)
    assert {(*PAST_THE_LIMIT, "Decrypt", ""): 1} == amounts(KMS_REQUESTS, found)
    assert {(*PAST_THE_LIMIT, "created"): 1} == amounts(PULL_REQUEST_EVENTS, found)
    assert 0 == found_again.limit_hits
    assert {REPO} == {series.labels[:3] for series in found_again.totals}


def test_the_first_repositories_take_the_places() -> None:
    """
    As many as there are, in the order of their events; what is counted nowhere takes none.
    """
    memory = new_memory(named_max=2)
    found = tallied(
        denied("PutFile", "no-such-thing"),
        record("ListRepositories"),
        api_call("PutFile", "b"),
        api_call("PutFile", "a"),
        api_call("PutFile", "b"),
        api_call("PutFile", "c"),
        api_call("PutFile", "d"),
        memory=memory,
    )

    assert {"": 1, "b": 2, "a": 1, OTHER: 2} == {
        labels[2]: amount
        for labels, amount in amounts(EVENTS, found).items()
        if labels[3] == "PutFile"
    }
    assert (2, 2) == (found.limit_hits, memory.repositories.named)


def test_what_a_repository_is_known_by_takes_no_place() -> None:
    """
    Only a label does: a resource of a request about another repository is none.
    """
    memory = new_memory(named_max=1)
    arn = f"arn:aws:codecommit:{REGION}:{OWNER}:docs"
    seen = tallied(api_call("PutFile", "tools", resources=[{"ARN": arn}]), memory=memory)
    found = tallied(denied("PutFile", "docs"), memory=memory)

    assert {REPO} == {series.labels[:3] for series in seen.totals}
    assert {PAST_THE_LIMIT} == {series.labels[:3] for series in found.totals}


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
    opened(-300),
    closed(-200),
    commented("c0"),
    *REPLIES,
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
    assert different == sum(amounts(CALLER_EVENTS, found).values())
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


# Exemplars --------------------------------------------------------------------------------


def test_each_series_is_led_to_the_last_of_its_events() -> None:
    """
    To one for each bucket, with what it added; a gauge leads nowhere.
    """
    first, second, third = (
        push("tools", *refs, eventTime=at(seconds), eventID=str(UUID(int=number)).upper())
        for number, refs, seconds in (
            (10, ("refs/heads/a",), -30),
            (11, ("refs/heads/a", "refs/heads/b"), -90),
            (12, ("refs/heads/a",), -45),
        )
    )
    found = tallied(first, second, third, first)
    ids = {number: str(UUID(int=number)) for number in (10, 11, 12)}
    where = (*REPO, "GitPush", "HTTP", "true")

    assert {series for series in found.totals if FAMILY[series.family].kind is not Kind.GAUGE} == (
        set(found.exemplars)
    )
    assert {0: Exemplar(ids[12], 1)} == found.exemplars[Series(EVENTS.name, where)]
    assert {0: Exemplar(ids[12], 45_000), 1: Exemplar(ids[11], 90_000)} == found.exemplars[
        Series(EVENT_DELIVERY.name, where)
    ]
    assert {0: Exemplar(ids[12], 1000), 1: Exemplar(ids[11], 2000)} == found.exemplars[
        Series(PUSH_REFERENCES.name, (*REPO, "HTTP"))
    ]


@pytest.mark.parametrize(
    "event_id", [None, "", 7, "EXAMPLE8-9621-4d00-b913-beca2EXAMPLE", '"} 1\nup 0', "1b4e28ba"]
)
def test_what_is_no_uuid_leads_nowhere(event_id: object) -> None:
    """
    Neither does it take away what has been found before.
    """
    nothing = tallied(git("GitPull", "tools", moved=True, eventID=event_id))
    known = git("GitPull", "tools", moved=True, eventTime=at(-30))
    after = tallied(known, git("GitPull", "tools", moved=True, eventTime=at(), eventID=event_id))
    where = Series(EVENTS.name, (*REPO, "GitPull", "HTTP", "true"))

    assert nothing.totals
    assert {} == nothing.exemplars
    assert (2, {0: Exemplar(known["eventID"], 1)}) == (
        after.totals[where].amount,
        after.exemplars[where],
    )


def test_a_kms_request_leads_to_its_record() -> None:
    """
    As an event does; one that is not counted leads nowhere.
    """
    once = asked_kms("0a1b")
    memory = new_memory()
    found = tallied(once, once, asked_kms("0a1b", action="Encrypt", eventID="none"), memory=memory)
    again = tallied(once, memory=memory)

    assert {
        Series(KMS_REQUESTS.name, (*NOWHERE, "Decrypt", "")): {0: Exemplar(once["eventID"], 1)}
    } == found.exemplars
    assert {} == again.exemplars


@quickly
@given(some_records)
def test_an_exemplar_is_of_a_bucket_that_holds_it(records: list[Record]) -> None:
    """
    Its amount is one that the bucket has counted, and its record one of those that were.
    """
    found = tallied(*records)
    ids = {one["eventID"] for one in records}
    told = [
        (series, bucket, exemplar)
        for series, buckets in found.exemplars.items()
        for bucket, exemplar in buckets.items()
    ]

    assert [] == [
        (series, exemplar)
        for series, bucket, exemplar in told
        if FAMILY[series.family].kind is Kind.HISTOGRAM
        and not (
            found.totals[series].buckets[bucket]
            and FAMILY[series.family].observed(exemplar.amount).buckets[bucket]
        )
    ]
    assert {1} >= {one.amount for series, _, one in told if not FAMILY[series.family].buckets}
    assert ids >= {exemplar.event_id for *_, exemplar in told}
