"""
Every action of CodeCommit, and a record of it as CloudTrail writes one.

Where a request or an answer names its repository follows from the CodeCommit API reference;
the actions that only IAM knows are those of the Service Authorization Reference. In records
member names start in lower case, and the answer to a read is null (CloudTrail User Guide,
"CloudTrail record contents").
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tests.records import OWNER, REGION, Record, record


class Named(Enum):
    """
    Where a record of an action names its repository, or holds an id that belongs to one.
    """

    BY_GIT = auto()
    IN_REQUEST = auto()
    IN_LIST = auto()
    IN_TARGETS = auto()
    BY_OLD_NAME = auto()
    BY_ARN = auto()
    IN_ANSWER = auto()
    """The request has the pull request's id, and the answer of a success has the name."""
    BY_PULL_REQUEST = auto()
    BY_COMMENT = auto()
    BY_ANSWERED_COMMENT = auto()
    IN_RESOURCES = auto()
    """IAM asks for the repository; what the record looks like is not documented."""
    NOWHERE = auto()


ACTIONS = {
    action: named
    for named, actions in {
        Named.BY_GIT: ("GitPull", "GitPush"),
        Named.IN_REQUEST: (
            "AssociateApprovalRuleTemplateWithRepository",
            "BatchDescribeMergeConflicts",
            "BatchGetCommits",
            "CreateBranch",
            "CreateCommit",
            "CreateRepository",
            "CreateUnreferencedMergeCommit",
            "DeleteBranch",
            "DeleteFile",
            "DeleteRepository",
            "DescribeMergeConflicts",
            "DisassociateApprovalRuleTemplateFromRepository",
            "GetBlob",
            "GetBlobDifferences",
            "GetBranch",
            "GetCommentsForComparedCommit",
            "GetCommentsForPullRequest",
            "GetCommit",
            "GetDifferences",
            "GetFile",
            "GetFolder",
            "GetMergeCommit",
            "GetMergeConflicts",
            "GetMergeOptions",
            "GetRepository",
            "GetRepositoryTriggers",
            "ListAssociatedApprovalRuleTemplatesForRepository",
            "ListBranches",
            "ListFileCommitHistory",
            "ListPullRequests",
            "MergeBranchesByFastForward",
            "MergeBranchesBySquash",
            "MergeBranchesByThreeWay",
            "MergePullRequestByFastForward",
            "MergePullRequestBySquash",
            "MergePullRequestByThreeWay",
            "PostCommentForComparedCommit",
            "PostCommentForPullRequest",
            "PutFile",
            "PutRepositoryTriggers",
            "TestRepositoryTriggers",
            "UpdateDefaultBranch",
            "UpdateRepositoryDescription",
            "UpdateRepositoryEncryptionKey",
        ),
        Named.IN_LIST: (
            "BatchAssociateApprovalRuleTemplateWithRepositories",
            "BatchDisassociateApprovalRuleTemplateFromRepositories",
            "BatchGetRepositories",
        ),
        Named.IN_TARGETS: ("CreatePullRequest",),
        Named.BY_OLD_NAME: ("UpdateRepositoryName",),
        Named.BY_ARN: ("ListTagsForResource", "TagResource", "UntagResource"),
        Named.IN_ANSWER: (
            "UpdatePullRequestDescription",
            "UpdatePullRequestStatus",
            "UpdatePullRequestTitle",
        ),
        Named.BY_PULL_REQUEST: (
            "CreatePullRequestApprovalRule",
            "DeletePullRequestApprovalRule",
            "DescribePullRequestEvents",
            "EvaluatePullRequestApprovalRules",
            "GetPullRequest",
            "GetPullRequestApprovalStates",
            "GetPullRequestOverrideState",
            "OverridePullRequestApprovalRules",
            "UpdatePullRequestApprovalRuleContent",
            "UpdatePullRequestApprovalState",
        ),
        Named.BY_COMMENT: (
            "DeleteCommentContent",
            "GetComment",
            "GetCommentReactions",
            "PutCommentReaction",
            "UpdateComment",
        ),
        Named.BY_ANSWERED_COMMENT: ("PostCommentReply",),
        Named.IN_RESOURCES: (
            "BatchGetPullRequests",
            "CancelUploadArchive",
            "GetCommitHistory",
            "GetCommitsFromMergeBase",
            "GetObjectIdentifier",
            "GetReferences",
            "GetTree",
            "GetUploadArchiveStatus",
            "UploadArchive",
        ),
        Named.NOWHERE: (
            "CreateApprovalRuleTemplate",
            "DeleteApprovalRuleTemplate",
            "GetApprovalRuleTemplate",
            "ListApprovalRuleTemplates",
            "ListRepositories",
            "ListRepositoriesForApprovalRuleTemplate",
            "UpdateApprovalRuleTemplateContent",
            "UpdateApprovalRuleTemplateDescription",
            "UpdateApprovalRuleTemplateName",
        ),
    }.items()
    for action in actions
}

READ_VERBS = (
    "BatchDescribe",
    "BatchGet",
    "Cancel",
    "Describe",
    "Evaluate",
    "Get",
    "GitPull",
    "List",
)
"""How the actions begin that IAM calls reading, as it does CancelUploadArchive."""

ABOUT_A_PULL_REQUEST = (
    "GetCommentsForPullRequest",
    "MergePullRequestByFastForward",
    "MergePullRequestBySquash",
    "MergePullRequestByThreeWay",
    "PostCommentForPullRequest",
)
"""The actions whose request has a pull request's id beside the repository's name."""

ANSWERED_WITH_A_PULL_REQUEST = (
    "CreatePullRequest",
    "MergePullRequestByFastForward",
    "MergePullRequestBySquash",
    "MergePullRequestByThreeWay",
    "UpdatePullRequestDescription",
    "UpdatePullRequestStatus",
    "UpdatePullRequestTitle",
)

WHAT_IS_ASKED: dict[str, Record] = {
    "OverridePullRequestApprovalRules": {"revisionId": "9f8e", "overrideStatus": "OVERRIDE"},
    "UpdatePullRequestApprovalState": {"revisionId": "9f8e", "approvalState": "APPROVE"},
    "UpdatePullRequestStatus": {"pullRequestStatus": "CLOSED"},
}
"""The parameters that decide what becomes of a pull request, beside its id."""


@dataclass(frozen=True)
class Subject:
    """
    What a call is about: a repository, and what there is in it.
    """

    repository: str
    repository_id: str = "6d2c7a51-0b7e-4a0f-9c52-1f7f3f5c9a10"
    pull_request: str = "27"
    comment: str = "4c1d:8a6f"
    new_comment: str = "4c1d:8a70"
    new_name: str = "renamed"
    account: str = OWNER
    region: str = REGION

    @property
    def arn(self) -> str:
        return f"arn:aws:codecommit:{self.region}:{self.account}:{self.repository}"

    @property
    def resources(self) -> list[Record]:
        """
        The repository among the resources of a record.
        """
        kind = "AWS::CodeCommit::Repository"
        return [{"ARN": self.arn, "accountId": self.account, "type": kind}]


def is_read(action: str) -> bool:
    """
    Whether an action changes nothing, so that its answer is null in the record.
    """
    return action.startswith(READ_VERBS)


def succeeded(action: str, subject: Subject, **fields: Any) -> Record:
    """
    The record of a call that did what it was asked for; fields replace or add.
    """
    told: Record = {
        "requestParameters": request(action, subject),
        "responseElements": None if is_read(action) else answer(action, subject),
        "readOnly": is_read(action),
        "awsRegion": subject.region,
        "recipientAccountId": subject.account,
    }
    if ACTIONS[action] is Named.BY_GIT:
        told["additionalEventData"] = {
            "protocol": "HTTP",
            "dataTransferred": True,
            "repositoryName": subject.repository,
            "repositoryId": subject.repository_id,
        }
    if ACTIONS[action] is Named.IN_RESOURCES:
        told["resources"] = subject.resources
    return record(action, **(told | fields))


def refused(action: str, subject: Subject, **fields: Any) -> Record:
    """
    The record of a call that IAM denied: no answer, and no resources either.
    """
    told = succeeded(action, subject) | {
        "errorCode": "AccessDenied",
        "errorMessage": "User: arn:aws:iam::567856785678:user/wilhelmine.tell is not authorized",
        "responseElements": None,
    }
    told.pop("resources", None)
    return told | fields


def request(action: str, subject: Subject) -> Record | None:
    """
    The request parameters that tell what the call is about.
    """
    by_name = {"repositoryName": subject.repository}
    by_id = {"pullRequestId": subject.pull_request}
    parameters: dict[Named, Record | None] = {
        Named.BY_GIT: {"references": [{"commit": "7" * 40, "ref": "refs/heads/secret-plan"}]},
        Named.IN_REQUEST: by_name | by_id if action in ABOUT_A_PULL_REQUEST else by_name,
        Named.IN_LIST: {"repositoryNames": [subject.repository]},
        Named.IN_TARGETS: {"title": "secret-plan", "targets": [by_name]},
        Named.BY_OLD_NAME: {"oldName": subject.repository, "newName": subject.new_name},
        Named.BY_ARN: {"resourceArn": subject.arn},
        Named.IN_ANSWER: by_id,
        Named.BY_PULL_REQUEST: by_id,
        Named.BY_COMMENT: {"commentId": subject.comment},
        Named.BY_ANSWERED_COMMENT: {"inReplyTo": subject.comment, "content": "secret-plan"},
        Named.IN_RESOURCES: None,
        Named.NOWHERE: {"approvalRuleTemplateName": "two-approvals"},
    }
    if action == "GitPull":
        return None
    told = parameters[ACTIONS[action]]
    return told and told | WHAT_IS_ASKED.get(action, {})


def answer(action: str, subject: Subject) -> Record | None:
    """
    What the answer to a write tells of the repository and what is in it.
    """
    by_name = {"repositoryName": subject.repository}
    if action in ANSWERED_WITH_A_PULL_REQUEST:
        pull_request = {"pullRequestId": subject.pull_request, "pullRequestTargets": [by_name]}
        return {"pullRequest": pull_request}
    answers: dict[str, Record] = {
        "CreateRepository": {
            "repositoryMetadata": by_name | {"repositoryId": subject.repository_id}
        },
        "DeleteRepository": {"repositoryId": subject.repository_id},
        "UpdateRepositoryEncryptionKey": {"repositoryId": subject.repository_id},
        "PostCommentForComparedCommit": by_name | {"comment": {"commentId": subject.new_comment}},
        "PostCommentForPullRequest": by_name
        | {"pullRequestId": subject.pull_request, "comment": {"commentId": subject.new_comment}},
        "PostCommentReply": {"comment": {"commentId": subject.new_comment}},
        "DeleteCommentContent": {"comment": {"commentId": subject.comment}},
        "UpdateComment": {"comment": {"commentId": subject.comment}},
    }
    return answers.get(action)
