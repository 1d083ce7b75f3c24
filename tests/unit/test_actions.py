"""
Every action of CodeCommit counts for its repository, told by its record or learnt.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.actions import ACTIONS, Named, Subject, is_read, refused, succeeded
from tests.counting import counted
from tests.records import OWNER, REGION, Record, api_call, denied, record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

TOOLS = Subject("tools")
ELSEWHERE = "123412341234"

NAMELESS = (
    Named.IN_ANSWER,
    Named.BY_PULL_REQUEST,
    Named.BY_COMMENT,
    Named.BY_ANSWERED_COMMENT,
    Named.IN_RESOURCES,
    Named.NOWHERE,
)
"""The request of these names no repository."""

BY_ID = (Named.BY_PULL_REQUEST, Named.BY_COMMENT, Named.BY_ANSWERED_COMMENT)

every_action = pytest.mark.parametrize("action", sorted(ACTIONS))


def of(*names: Named) -> pytest.MarkDecorator:
    """
    The actions that name their repository in one of these ways.
    """
    return pytest.mark.parametrize(
        "action", sorted(action for action, named in ACTIONS.items() if named in names)
    )


def taught() -> list[Record]:
    """
    Records that tell where a pull request and a comment are.
    """
    commented = Subject("tools", new_comment=TOOLS.comment)
    return [
        succeeded("CreatePullRequest", TOOLS),
        succeeded("PostCommentForPullRequest", commented),
    ]


def events(action: str, *log_files: Sequence[Record]) -> dict[tuple[str, ...], float]:
    """
    The series of one action's events once some log files have been counted.
    """
    series = counted(*log_files)["codecommit_events_total"]
    return {labels: value for labels, value in series.items() if labels[3] == action}


def labels(action: str, repository: str) -> tuple[str, ...]:
    """
    The label values of an action's events, all those of events_total.
    """
    git = ("HTTP", "true") if ACTIONS.get(action) is Named.BY_GIT else ("", "")
    return (OWNER, REGION, repository, action, *git)


def by_repository(action: str, *log_files: Sequence[Record]) -> dict[str, float]:
    """
    The number of an action's events for each repository label, all else being as it was told.
    """
    found = events(action, *log_files)
    names = {repository for _, _, repository, *_ in found}
    assert {labels(action, name) for name in names} == set(found)
    return {name: found[labels(action, name)] for name in names}


def test_the_actions_are_those_that_aws_declares(shared_data: Path) -> None:
    """
    The table agrees with the service model and with IAM's list, action by action.
    """
    declared = json.loads((shared_data / "codecommit_operations.json").read_text())

    assert {action: named(action, facts) for action, facts in declared.items()} == ACTIONS
    assert [] == [
        action
        for action, facts in declared.items()
        if "iam_level" in facts
        if (facts["iam_level"] in {"Read", "List"}) != is_read(action)
        if action != "ListTagsForResource"
    ]


def named(action: str, facts: Record) -> Named:
    """
    Where an operation's declared members put the name.
    """
    request = set(facts.get("request") or ())
    by_member = {
        "repositoryName": Named.IN_REQUEST,
        "repositoryNames": Named.IN_LIST,
        "targets[].repositoryName": Named.IN_TARGETS,
        "oldName": Named.BY_OLD_NAME,
        "resourceArn": Named.BY_ARN,
        "pullRequestId": Named.BY_PULL_REQUEST,
        "commentId": Named.BY_COMMENT,
    }
    if "api" in facts:
        return Named.BY_GIT if action.startswith("Git") else Named.IN_RESOURCES
    if "inReplyTo" in facts["required"]:
        return Named.BY_ANSWERED_COMMENT
    found = next((place for member, place in by_member.items() if member in request), Named.NOWHERE)
    told = "pullRequest.pullRequestTargets[].repositoryName" in facts["response"]
    if found is Named.BY_PULL_REQUEST and told and not is_read(action):
        return Named.IN_ANSWER
    return found


@every_action
def test_a_success_counts_for_its_repository(action: str) -> None:
    """
    A record that names its repository anywhere is enough by itself.
    """
    expected = "" if ACTIONS[action] in {*BY_ID, Named.NOWHERE} else "tools"

    assert {expected: 1} == by_repository(action, [succeeded(action, TOOLS)])


@every_action
def test_a_denied_request_names_nothing_new(action: str) -> None:
    """
    Without a success or a resource ARN, every label but the repository's is as ever.
    """
    assert {"": 1} == by_repository(action, [refused(action, TOOLS)])


@every_action
def test_a_denied_request_often_has_no_parameters(action: str) -> None:
    """
    Nothing is named then, however much is known.
    """
    empty: Record = {"requestParameters": None, "additionalEventData": None}
    told = refused(action, TOOLS, **empty)

    assert {(OWNER, REGION, "", action, "", ""): 1} == events(
        action, [api_call("X", "tools"), told]
    )


@every_action
@pytest.mark.parametrize("earlier", [True, False], ids=["earlier commit", "same file"])
@pytest.mark.parametrize(
    "shown",
    [
        api_call("SomeCall", "tools"),
        record("SomeCall", resources=TOOLS.resources, errorCode="AccessDenied"),
    ],
    ids=["success", "resource ARN"],
)
def test_a_denied_request_is_believed_once_its_repository_is_known(
    action: str, shown: Record, earlier: bool
) -> None:
    """
    A success or a resource ARN shows it, in an earlier commit or anywhere in the same file.
    """
    told = refused(action, TOOLS)
    expected = "" if ACTIONS[action] in NAMELESS else "tools"

    assert {expected: 1} == by_repository(
        action, *([[shown], [told]] if earlier else [[told, shown]])
    )


@every_action
def test_a_denied_request_with_a_resource_arn_has_its_repository(action: str) -> None:
    """
    Where CloudTrail lists the repository, its word is enough.
    """
    told = refused(action, TOOLS, resources=TOOLS.resources)

    assert {"tools": 1} == by_repository(action, [told])


@of(*BY_ID)
@pytest.mark.parametrize("call", [succeeded, refused])
def test_an_id_has_its_repository_once_it_is_learnt(
    action: str, call: Callable[[str, Subject], Record]
) -> None:
    """
    Too early the label is empty; taught by an earlier commit it is right.
    """
    files = [call(action, TOOLS)], taught(), [call(action, TOOLS)]

    assert {"": 1, "tools": 1} == by_repository(action, *files)


@of(*BY_ID)
@pytest.mark.parametrize("call", [succeeded, refused])
@pytest.mark.parametrize("first", [True, False])
def test_an_id_is_learnt_anywhere_in_the_file(
    action: str, call: Callable[[str, Subject], Record], first: bool
) -> None:
    """
    All records of a file teach before any is resolved.
    """
    told = [call(action, TOOLS)]

    assert {"tools": 1} == by_repository(action, told + taught() if first else taught() + told)


@of(Named.IN_ANSWER)
def test_a_failure_without_an_answer_is_named_by_its_pull_request(action: str) -> None:
    """
    Only the answer of a success has the name, so a failure needs what was learnt.
    """
    assert {"": 1, "tools": 1} == by_repository(
        action, [refused(action, TOOLS)], taught(), [refused(action, TOOLS)]
    )


@pytest.mark.parametrize(
    "action",
    [
        "CreatePullRequest",
        "MergePullRequestByFastForward",
        "MergePullRequestBySquash",
        "MergePullRequestByThreeWay",
        "PostCommentForPullRequest",
        "GetCommentsForPullRequest",
        "UpdatePullRequestDescription",
        "UpdatePullRequestStatus",
        "UpdatePullRequestTitle",
    ],
)
def test_a_pull_request_is_learnt_from_every_call_that_names_both(action: str) -> None:
    """
    Whatever has a repository's name and a pull request's id in one record teaches.
    """
    files = [succeeded(action, TOOLS)], [succeeded("GetPullRequest", TOOLS)]

    assert {"tools": 1} == by_repository("GetPullRequest", *files)


@pytest.mark.parametrize("action", ["PostCommentForComparedCommit", "PostCommentForPullRequest"])
def test_a_comment_is_learnt_from_its_posting(action: str) -> None:
    """
    The answer has the new comment's id, and the answers to it are where it is.
    """
    posted = succeeded(action, Subject("tools", new_comment="c:1"))
    answered = succeeded("PostCommentReply", Subject("", comment="c:1", new_comment="c:2"))
    liked = succeeded("PutCommentReaction", Subject("", comment="c:2"))

    assert {"tools": 1} == by_repository("PutCommentReaction", [liked, answered, posted])
    assert {"tools": 1} == by_repository("PutCommentReaction", [posted], [answered], [liked])
    assert {"": 1} == by_repository("PutCommentReaction", [answered], [posted], [liked])


@pytest.mark.parametrize("failure", [True, False])
def test_a_failure_teaches_no_id(failure: bool) -> None:
    """
    Anybody can put an id beside a name in a request that is refused.
    """
    call = refused if failure else succeeded
    merged = call("MergePullRequestBySquash", TOOLS)
    files = [api_call("GetBranch", "tools"), merged], [succeeded("GetPullRequest", TOOLS)]

    assert {"" if failure else "tools": 1} == by_repository("GetPullRequest", *files)


@pytest.mark.parametrize(
    ("pull_request", "expected"),
    [
        (27, "tools"),
        ("27", "tools"),
        ("027", ""),
        (28, ""),
        (27.0, ""),
        (True, ""),
        (["27"], ""),
        (None, ""),
    ],
)
def test_ids_compare_as_text(pull_request: Any, expected: str) -> None:
    """
    27 is "27", and nothing else is.
    """
    asked = record("GetPullRequest", requestParameters={"pullRequestId": pull_request})

    assert {expected: 1} == by_repository("GetPullRequest", taught(), [asked])


@pytest.mark.parametrize(
    "elsewhere", [{"awsRegion": "us-east-1"}, {"recipientAccountId": ELSEWHERE}], ids=str
)
def test_an_id_is_one_of_an_account_and_region(elsewhere: Record) -> None:
    """
    Pull request 27 of another account or Region is another one.
    """
    asked = succeeded("GetPullRequest", TOOLS, **elsewhere)
    (found,) = events("GetPullRequest", taught(), [asked])

    assert "" == found[2]


@pytest.mark.parametrize(
    "names",
    [
        {"requestParameters": {"repositoryNames": ["tools", "other"], "pullRequestId": "27"}},
        {"requestParameters": {"repositoryName": "no name", "pullRequestId": "27"}},
    ],
    ids=["several", "impossible"],
)
def test_a_wrong_name_is_not_mended_by_an_id(names: Record) -> None:
    """
    What is learnt is asked only where nothing is named at all.
    """
    assert {"": 1} == by_repository("SomeCall", taught(), [record("SomeCall", **names)])


def minute(number: int) -> Record:
    return {"eventTime": f"2026-09-21T12:{number:02}:00Z"}


def test_a_rename_counts_for_the_name_it_was_asked_of() -> None:
    """
    Both names are known afterwards, and what was learnt goes along, there and back.
    """
    there = Subject("tools", new_name="better")
    back = Subject("better", new_name="tools")
    asked = [succeeded("GetPullRequest", TOOLS) for _ in range(3)]
    opened = succeeded("CreatePullRequest", TOOLS, **minute(0))
    renamed = [
        succeeded("UpdateRepositoryName", there, **minute(1)),
        succeeded("UpdateRepositoryName", back, **minute(2)),
    ]
    files = [opened], asked[:1], renamed[:1], asked[1:2], renamed[1:], asked[2:]

    assert {"tools": 2, "better": 1} == by_repository("GetPullRequest", *files)
    assert {"tools": 1, "better": 1} == by_repository("UpdateRepositoryName", *files)
    assert {"better": 1} == by_repository("PutFile", renamed[:1], [denied("PutFile", "better")])


def test_a_failed_rename_renames_nothing() -> None:
    """
    Neither is the new name known, nor does anything move to it.
    """
    opened = succeeded("CreatePullRequest", TOOLS, **minute(0))
    refusal = refused("UpdateRepositoryName", TOOLS, **minute(1))
    asked = [succeeded("GetPullRequest", TOOLS), denied("PutFile", TOOLS.new_name)]

    assert {"tools": 1} == by_repository("GetPullRequest", [opened], [refusal], asked)
    assert {"": 1} == by_repository("PutFile", [opened], [refusal], asked)


def test_renames_in_one_file_are_taken_in_the_order_of_their_times() -> None:
    """
    A file is in no order, its times are.
    """
    opened = succeeded("CreatePullRequest", Subject("a"), **minute(0))
    renamed = [
        succeeded("UpdateRepositoryName", Subject("a", new_name="b"), **minute(1)),
        succeeded("UpdateRepositoryName", Subject("b", new_name="c"), **minute(2)),
    ]
    asked = succeeded("GetPullRequest", TOOLS)

    assert {"c": 1} == by_repository("GetPullRequest", [asked, *reversed(renamed), opened])


def test_a_deletion_counts_for_the_repository_it_deletes() -> None:
    """
    The answer proves that the repository was there; a deletion of nothing names nothing.
    """
    deletion = succeeded("DeleteRepository", TOOLS)
    deleted_nothing = succeeded("DeleteRepository", Subject("typo"), responseElements={})

    assert {"tools": 1, "": 1} == by_repository("DeleteRepository", [deletion, deleted_nothing])


def test_a_name_used_again_goes_on_with_its_series() -> None:
    """
    A repository created under the name of a deleted one has the name's series, and its own id.
    """
    first, second = Subject("tools", "id-1"), Subject("tools", "id-2")
    files = [
        [succeeded("CreateRepository", first, **minute(0))],
        [succeeded("DeleteRepository", first, **minute(1))],
        [succeeded("CreateRepository", second, **minute(2))],
    ]
    shown = [
        {labels[3] for labels in counted(*files[:read])["codecommit_repository_info"]}
        for read in range(4)
    ]

    assert {"tools": 2} == by_repository("CreateRepository", *files)
    assert [set(), {"id-1"}, set(), {"id-2"}] == shown


@pytest.mark.parametrize("call", [api_call, denied])
def test_an_unknown_action_counts_under_its_name(call: Callable[[str, str], Record]) -> None:
    """
    AWS adds actions; the program need not know them.
    """
    files = [api_call("GetBranch", "tools")], [call("FetchLargeFiles", "tools")]

    assert {"tools": 1} == by_repository("FetchLargeFiles", *files)


@of(Named.IN_LIST)
def test_a_request_about_several_repositories_is_about_none(action: str) -> None:
    """
    One request is one event, so it cannot count for each of them.
    """
    both = {"requestParameters": {"repositoryNames": ["tools", "other"]}}

    assert {"": 1} == by_repository(action, [succeeded(action, TOOLS, **both)])


@pytest.mark.parametrize(
    ("action", "asked", "expected"),
    [
        ("CreatePullRequest", {}, "created"),
        ("MergePullRequestByFastForward", {}, "merged"),
        ("MergePullRequestBySquash", {}, "merged"),
        ("MergePullRequestByThreeWay", {}, "merged"),
        ("UpdatePullRequestStatus", {"pullRequestStatus": "CLOSED"}, "closed"),
        ("UpdatePullRequestStatus", {"pullRequestStatus": "OPEN"}, "reopened"),
        ("UpdatePullRequestApprovalState", {"approvalState": "APPROVE"}, "approved"),
        ("UpdatePullRequestApprovalState", {"approvalState": "REVOKE"}, "approval_revoked"),
        ("OverridePullRequestApprovalRules", {"overrideStatus": "OVERRIDE"}, "overridden"),
        ("OverridePullRequestApprovalRules", {"overrideStatus": "REVOKE"}, None),
        ("PostCommentForPullRequest", {}, "commented"),
        ("PostCommentReply", {}, "commented"),
        ("PostCommentForComparedCommit", {}, None),
        ("UpdatePullRequestTitle", {}, None),
        ("GetPullRequest", {}, None),
    ],
)
@pytest.mark.parametrize("failure", [False, True])
def test_what_becomes_of_a_pull_request(
    action: str, asked: Record, expected: str | None, failure: bool
) -> None:
    """
    A success counts as what it did; a failure did nothing.
    """
    told = (refused if failure else succeeded)(action, TOOLS)
    told["requestParameters"] |= asked
    before = counted(taught())["codecommit_pull_request_events_total"]
    after = counted(taught(), [told])["codecommit_pull_request_events_total"]
    grown = {labels[3] for labels, value in after.items() if value > before.get(labels, 0)}

    assert ({expected} if expected and not failure else set()) == grown
