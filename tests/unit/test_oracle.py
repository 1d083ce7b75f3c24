"""
The oracle against totals that were counted by hand.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests import records
from tests.actions import Subject, refused, succeeded
from tests.oracle import LABELS, count
from tests.records import OWNER, REGION, Record, api_call, push_pair, record

TOOLS = Subject("tools")
EMPTY = Subject("")
HERE = (OWNER, REGION, "tools")
NOWHERE = (OWNER, REGION, "")


def at(minute: int) -> Record:
    """
    The time of an event, by the minute of an hour.
    """
    return {"eventTime": f"2026-09-21T12:{minute:02}:00Z"}


def counted(family: str, *log_files: list[Record]) -> dict[tuple[str, ...], float]:
    """
    What the oracle counts of one family in some log files.
    """
    return count(records.text(*log_file) for log_file in log_files)[family]


def test_nothing_is_counted_of_nothing() -> None:
    """
    Every sample is there, without series.
    """
    assert {sample: {} for sample in LABELS} == count([])


def test_a_push_is_two_events_and_one_push() -> None:
    """
    Each family tells its own part of the story.
    """
    found = count([records.text(*push_pair("tools", "refs/heads/a", "refs/tags/b"))])

    assert {
        "codecommit_events_total": {
            (*HERE, "GitPush", "HTTP", "false"): 1,
            (*HERE, "GitPush", "HTTP", "true"): 1,
        },
        "codecommit_pushes_total": {(*HERE, "HTTP"): 1},
        "codecommit_push_references_count": {(*HERE, "HTTP"): 1},
        "codecommit_push_references_sum": {(*HERE, "HTTP"): 2},
        "codecommit_reference_updates_total": {
            (*HERE, "branch", "update"): 1,
            (*HERE, "tag", "update"): 1,
        },
        "codecommit_caller_events_total": {(*HERE, "IAMUser", "long_term"): 2},
    } == {
        sample: series
        for sample, series in found.items()
        if series and sample != "codecommit_repository_info"
    }


def test_a_pull_request_has_a_life() -> None:
    """
    It is opened, approved, discussed and merged; the time between is its open time.
    """
    life = [
        succeeded("CreatePullRequest", TOOLS, **at(0)),
        succeeded("UpdatePullRequestApprovalState", EMPTY, **at(5)),
        succeeded("PostCommentForPullRequest", TOOLS, **at(6)),
        succeeded("PostCommentReply", Subject("", comment=TOOLS.new_comment), **at(7)),
        succeeded("MergePullRequestBySquash", TOOLS, **at(30)),
    ]

    assert {
        (*HERE, "created"): 1,
        (*HERE, "approved"): 1,
        (*HERE, "commented"): 2,
        (*HERE, "merged"): 1,
    } == counted("codecommit_pull_request_events_total", life)
    assert {(*HERE, "merged"): 1800} == counted("codecommit_pull_request_open_seconds_sum", life)


def test_a_lesson_comes_too_late_for_an_earlier_commit() -> None:
    """
    The first file's event stays under the empty label, the second's has its name.
    """
    asked = [succeeded("GetPullRequest", EMPTY) for _ in range(2)]
    taught = succeeded("CreatePullRequest", TOOLS)
    found = counted("codecommit_events_total", asked[:1], [asked[1], taught])

    assert 1 == found[*NOWHERE, "GetPullRequest", "", ""]
    assert 1 == found[*HERE, "GetPullRequest", "", ""]


def test_an_answer_teaches_its_own_id() -> None:
    """
    Where the first comment is known, so is the answer, and the answer to the answer.
    """
    chain = [
        succeeded("PostCommentReply", Subject("", comment="c:2", new_comment="c:3"), **at(1)),
        succeeded("PostCommentReply", Subject("", comment="c:1", new_comment="c:2"), **at(2)),
        succeeded("PostCommentForComparedCommit", Subject("tools", new_comment="c:1"), **at(3)),
    ]
    found = counted("codecommit_events_total", chain, [succeeded("GetComment", EMPTY, **at(4))])

    assert 2 == found[*HERE, "PostCommentReply", "", ""]
    assert 1 == found[*NOWHERE, "GetComment", "", ""]
    assert {} == counted("codecommit_pull_request_events_total", chain)


@pytest.mark.parametrize("late", [False, True])
def test_a_rename_takes_along_what_was_learnt(late: bool) -> None:
    """
    The newer lesson holds, also if the older one is committed after it.
    """
    opened = succeeded("CreatePullRequest", TOOLS, **at(0))
    files = [
        [opened],
        [succeeded("UpdateRepositoryName", TOOLS, **at(1))],
        [opened] if late else [],
        [succeeded("GetPullRequest", EMPTY, **at(3))],
    ]
    found = counted("codecommit_events_total", *files)

    assert 1 == found[OWNER, REGION, "renamed", "GetPullRequest", "", ""]
    assert 1 == found[*HERE, "UpdateRepositoryName", "", ""]


def test_ids_and_names_of_repositories_belong_together_by_the_newest_event() -> None:
    """
    A name taken again has its new id, a renamed repository its new name, a deleted one none.
    """
    one, two = Subject("tools", "id-1"), Subject("tools", "id-2")
    deleted = [succeeded(f"{verb}Repository", one, **at(0)) for verb in ("Create", "Delete")]
    again = [succeeded("CreateRepository", two, **at(1))]
    renamed = [succeeded("UpdateRepositoryName", two, **at(2))]

    info = "codecommit_repository_info"
    assert {(*HERE, "id-1"): 1} == counted(info, deleted[:1])
    assert {} == counted(info, deleted)
    assert {(*HERE, "id-2"): 1} == counted(info, again, deleted)
    assert {(OWNER, REGION, "renamed", "id-2"): 1} == counted(info, again, deleted, renamed)


def test_a_kms_request_is_of_the_repository_in_its_context() -> None:
    """
    Told by who made it; of no repository unless the id has been learnt; an event of its own.
    """
    context = {"aws:codecommit:id": TOOLS.repository_id}
    made = {
        "eventSource": "kms.amazonaws.com",
        "sourceIPAddress": "codecommit.amazonaws.com",
        "requestParameters": {"encryptionContext": context},
    }
    requests = [record("Decrypt", **made) for _ in range(2)]
    failure = record("Encrypt", **made, errorCode="AccessDenied")
    others = record("Decrypt", **(made | {"sourceIPAddress": "s3.amazonaws.com"}))
    taught = [*requests, failure, others, succeeded("CreateRepository", TOOLS)]
    found = count([records.text(requests[0]), records.text(*taught)])

    assert {
        (*NOWHERE, "Decrypt", ""): 1,
        (*HERE, "Decrypt", ""): 1,
        (*HERE, "Encrypt", "AccessDenied"): 1,
    } == found["codecommit_kms_requests_total"]
    assert 1 == sum(found["codecommit_events_total"].values())


@pytest.mark.parametrize(
    ("identity", "identity_type", "credentials"),
    [
        ({"type": "Root", "accessKeyId": "ASIA1"}, "Root", "root"),
        ({"type": "AWSService", "accessKeyId": "ASIA1"}, "AWSService", "aws_service"),
        ({"invokedBy": "codecommit.amazonaws.com"}, "(invalid)", "aws_service"),
        ({"type": "IAMUser", "accessKeyId": "AKIA1"}, "IAMUser", "long_term"),
        ({"type": "IAMUser", "accessKeyId": "ASIA1"}, "IAMUser", "temporary"),
        ({"type": "IAMUser"}, "IAMUser", "long_term"),
        ({"type": "AssumedRole", "accessKeyId": ""}, "AssumedRole", "temporary"),
        ({"type": "Directory"}, "Directory", "unknown"),
        (None, "(invalid)", "unknown"),
    ],
)
def test_a_caller_is_told_by_its_kind(identity: Any, identity_type: str, credentials: str) -> None:
    """
    The kind of identity and of credentials, and nothing of the person.
    """
    asked = api_call("PutFile", "tools", userIdentity=identity)

    assert {(*HERE, identity_type, credentials): 1} == counted(
        "codecommit_caller_events_total", [asked]
    )


def test_a_stranger_names_nothing() -> None:
    """
    A failed request's repository is empty until something has shown it.
    """
    failures = [refused("PutFile", TOOLS) for _ in range(2)]
    found = counted("codecommit_events_total", failures[:1], [failures[1], api_call("X", "tools")])

    assert 1 == found[*NOWHERE, "PutFile", "", ""]
    assert 1 == found[*HERE, "PutFile", "", ""]
