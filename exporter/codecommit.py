"""
What the field calls things: an event, its labels, the repository it is about.

Rules:

1. Nothing that identifies a person leaves this module: no user, ARN, address or message.
2. Which repository a failed request names is only a claim, and an id names one only to who
   has learnt it. Both are decided where that is known: in the committing transaction.

Where CodeCommit puts the repository's name follows the CodeCommit User Guide ("Logging AWS
CodeCommit API calls") and the API's request and response shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from exporter.fields import (
    Record,
    account_label,
    boolean,
    error_label,
    id_text,
    identities,
    inside,
    is_counted,
    items,
    name_label,
    protocol_label,
    region_label,
    repository_label,
    text,
    uuid_text,
)
from exporter.timestamps import milliseconds

EVENT_SOURCE = "codecommit.amazonaws.com"

_REPOSITORY_ARN = re.compile(r"arn:[^:]*:codecommit:([^:]*):([^:]*):([^:]*)")
_DELETED = re.compile(r"0+")
_BOOLEANS = {None: "", True: "true", False: "false"}


class Repository(NamedTuple):
    """
    Where a repository lives and what it is called; its name may be empty.
    """

    account_id: str
    aws_region: str
    name: str


class IdKind(StrEnum):
    """
    What an id in a record may stand for, in the order in which ids are looked up.
    """

    PULL_REQUEST = "pull_request"
    COMMENT = "comment"
    REPOSITORY = "repository"


class Subject(NamedTuple):
    """
    Something that belongs to one repository and is known by an id in its account and Region.
    """

    kind: IdKind
    account_id: str
    aws_region: str
    id: str

    def repository(self, name: str) -> Repository:
        """
        The repository of a name where the subject is.
        """
        return Repository(self.account_id, self.aws_region, name)


class PullRequestStep(StrEnum):
    """
    What happened to a pull request.
    """

    CREATED = "created"
    MERGED = "merged"
    CLOSED = "closed"
    REOPENED = "reopened"
    APPROVED = "approved"
    APPROVAL_REVOKED = "approval_revoked"
    OVERRIDDEN = "overridden"
    COMMENTED = "commented"


class Reference(NamedTuple):
    """
    What a push did to one reference; which one it was is not kept.
    """

    ref_type: str
    change: str


class Caller(NamedTuple):
    """
    What kind of caller made a request, and with what kind of credentials; never who.
    """

    identity_type: str
    credentials: str


@dataclass(frozen=True, slots=True)
class Event:
    """
    One CodeCommit event, as far as it is counted.

    ``ids`` are the 16-byte identities by which it is known, ``event_id`` is CloudTrail's
    where that is a UUID and else empty. ``time_ms`` is None without a usable time.

    ``repository`` is the one the request names. ``proven`` says whether the name is more
    than a stranger's typing, and ``named`` whether there is any place that names one; where
    there is none, ``subjects`` may tell. ``shows`` are the repositories that this record
    shows to exist; ``renamed_to`` is the new name that it gives to its repository, and
    ``deleted_id`` the id of the repository that it deletes, each empty in other events.

    ``references`` is None where the record does not list any.
    """

    ids: tuple[bytes, ...]
    event_id: str
    time_ms: int | None
    repository: Repository
    proven: bool
    named: bool
    subjects: tuple[Subject, ...]
    shows: frozenset[Repository]
    renamed_to: str
    deleted_id: str
    action: str
    protocol: str
    data_transferred: str
    error_code: str
    references: tuple[Reference, ...] | None
    pull_request_step: PullRequestStep | None
    caller: Caller

    @property
    def is_push(self) -> bool:
        """
        Whether this is a successful push that moved data.

        CloudTrail writes two records for one push over HTTPS; only the second has moved data
        (CodeCommit User Guide, example log entries for GitPush).
        """
        return self.action == "GitPush" and self.data_transferred == "true" and not self.error_code

    @property
    def is_reply(self) -> bool:
        """
        Whether this answers a comment, of which only its id is told.
        """
        return self.action == "PostCommentReply"


def is_codecommit_event(record: Record) -> bool:
    """
    Whether a record tells of a CodeCommit request.
    """
    return record.get("eventSource") == EVENT_SOURCE and is_counted(record)


def event(record: Record) -> Event:
    """
    The event that a CodeCommit record tells of, whatever its fields hold.

    Raises:
        RecursionError: The record has no UUID to be known by, and is nested too deep.
    """
    extra = inside(record, "additionalEventData")
    arns = tuple(_repository_arns(record))
    names = _repository_names(record, arns)
    repository = Repository(
        _owner(record, arns),
        region_label(record.get("awsRegion")),
        repository_label(next(iter(names)) if len(names) == 1 else ""),
    )
    error_code = error_label(record)
    proven = not error_code and not _deleted_nothing(record)
    renamed_to = _new_name(record, repository) if proven else ""
    return Event(
        ids=identities(record),
        event_id=uuid_text(record.get("eventID")),
        time_ms=milliseconds(record.get("eventTime")),
        repository=repository,
        proven=proven,
        named=bool(names),
        subjects=tuple(_subjects(record, repository)),
        shows=frozenset(_shown(repository, arns, renamed_to, proven=proven)),
        renamed_to=renamed_to,
        deleted_id=_deleted_id(record) if proven else "",
        action=name_label(record.get("eventName")),
        protocol=protocol_label(extra.get("protocol")),
        data_transferred=_BOOLEANS[boolean(extra, "dataTransferred")],
        error_code=error_code,
        references=_references(record),
        pull_request_step=None if error_code else _pull_request_step(record),
        caller=_caller(inside(record, "userIdentity")),
    )


# Which repository -------------------------------------------------------------------------


def _repository_arns(record: Record) -> Iterator[tuple[Any, Repository]]:
    """
    The CodeCommit entries of ``resources``, each with the repository its ARN names.
    """
    for entry in items(record, "resources"):
        if repository := _arn_repository(text(entry, "ARN")):
            yield entry, repository


def _arn_repository(arn: str) -> Repository | None:
    match = _REPOSITORY_ARN.fullmatch(arn)
    return Repository(match[2], match[1], match[3]) if match else None


def _owner(record: Record, arns: tuple[tuple[Any, Repository], ...]) -> str:
    """
    The account that owns the repository; the caller's account is another matter.
    """
    candidates = [text(record, "recipientAccountId")]
    if arns:
        entry, repository = arns[0]
        candidates = [text(entry, "accountId"), repository.account_id, *candidates]
    return account_label(next(filter(None, candidates), None))


def _repository_names(record: Record, arns: tuple[tuple[Any, Repository], ...]) -> frozenset[str]:
    """
    The names in the first place that has any: one, or several, which are none in particular.
    """
    request = inside(record, "requestParameters")
    answer = inside(record, "responseElements")
    resource_arn = _arn_repository(text(request, "resourceArn"))
    places = (
        {text(inside(record, "additionalEventData"), "repositoryName")},
        {text(request, "repositoryName")},
        {name for name in items(request, "repositoryNames") if isinstance(name, str)},
        {text(target, "repositoryName") for target in items(request, "targets")},
        {resource_arn.name} if resource_arn else set(),
        {text(request, "oldName")},
        {text(inside(answer, "repositoryMetadata"), "repositoryName")},
        {
            text(target, "repositoryName")
            for target in items(inside(answer, "pullRequest"), "pullRequestTargets")
        },
        {repository.name for _, repository in arns},
    )
    return next((frozenset(named) for names in places if (named := names - {""})), frozenset())


def _subjects(record: Record, repository: Repository) -> Iterator[Subject]:
    """
    Every id in a record that belongs to one repository, each once, in the order of look-up.
    """
    request = inside(record, "requestParameters")
    answer = inside(record, "responseElements")
    extra = inside(record, "additionalEventData")
    places = (
        (IdKind.PULL_REQUEST, request, "pullRequestId"),
        (IdKind.PULL_REQUEST, answer, "pullRequestId"),
        (IdKind.PULL_REQUEST, inside(answer, "pullRequest"), "pullRequestId"),
        (IdKind.COMMENT, request, "commentId"),
        (IdKind.COMMENT, request, "inReplyTo"),
        (IdKind.COMMENT, inside(answer, "comment"), "commentId"),
        (IdKind.REPOSITORY, extra, "repositoryId"),
        (IdKind.REPOSITORY, inside(answer, "repositoryMetadata"), "repositoryId"),
        (IdKind.REPOSITORY, answer, "repositoryId"),
    )
    found = ((kind, id_text(parent, name)) for kind, parent, name in places)
    for kind, one in dict.fromkeys(found):
        if one:
            yield Subject(kind, repository.account_id, repository.aws_region, one)


def _shown(
    repository: Repository,
    arns: tuple[tuple[Any, Repository], ...],
    renamed_to: str,
    *,
    proven: bool,
) -> Iterator[Repository]:
    """
    The repositories that a record shows to exist: by resource ARN, or by a success.
    """
    for _, named in arns:
        bounded = Repository(
            account_label(named.account_id),
            region_label(named.aws_region),
            repository_label(named.name),
        )
        if named.name and named == bounded:
            yield named
    if proven and repository.name:
        yield repository
    if renamed_to:
        yield repository._replace(name=renamed_to)


def _new_name(record: Record, repository: Repository) -> str:
    """
    What UpdateRepositoryName calls the repository from then on; empty for other actions.
    """
    if record.get("eventName") != "UpdateRepositoryName" or not repository.name:
        return ""
    return repository_label(inside(record, "requestParameters").get("newName"))


def _deleted_id(record: Record) -> str:
    """
    The id of the repository that a DeleteRepository has deleted, empty where none was there.

    The request succeeds all the same, with no repositoryId in its answer (CodeCommit API
    Reference).
    """
    if record.get("eventName") != "DeleteRepository":
        return ""
    return id_text(inside(record, "responseElements"), "repositoryId")


def _deleted_nothing(record: Record) -> bool:
    return record.get("eventName") == "DeleteRepository" and not _deleted_id(record)


# What happened, and by whom ---------------------------------------------------------------


def _references(record: Record) -> tuple[Reference, ...] | None:
    references = inside(record, "requestParameters").get("references")
    if not isinstance(references, list):
        return None
    return tuple(
        Reference(
            _ref_type(text(reference, "ref")),
            # A commit of zeros is how Git's protocol writes "no commit".
            "delete" if _DELETED.fullmatch(text(reference, "commit")) else "update",
        )
        for reference in references
    )


def _ref_type(ref: str) -> str:
    if ref.startswith("refs/heads/"):
        return "branch"
    return "tag" if ref.startswith("refs/tags/") else "other"


_STEPS = {
    "CreatePullRequest": PullRequestStep.CREATED,
    "MergePullRequestByFastForward": PullRequestStep.MERGED,
    "MergePullRequestBySquash": PullRequestStep.MERGED,
    "MergePullRequestByThreeWay": PullRequestStep.MERGED,
    "PostCommentForPullRequest": PullRequestStep.COMMENTED,
    "PostCommentReply": PullRequestStep.COMMENTED,
    ("UpdatePullRequestStatus", "CLOSED"): PullRequestStep.CLOSED,
    ("UpdatePullRequestStatus", "OPEN"): PullRequestStep.REOPENED,
    ("UpdatePullRequestApprovalState", "APPROVE"): PullRequestStep.APPROVED,
    ("UpdatePullRequestApprovalState", "REVOKE"): PullRequestStep.APPROVAL_REVOKED,
    ("OverridePullRequestApprovalRules", "OVERRIDE"): PullRequestStep.OVERRIDDEN,
}
_STEP_PARAMETERS = {
    "UpdatePullRequestStatus": "pullRequestStatus",
    "UpdatePullRequestApprovalState": "approvalState",
    "OverridePullRequestApprovalRules": "overrideStatus",
}
"""The actions that say only in a parameter what happens (CodeCommit API Reference)."""


def _pull_request_step(record: Record) -> PullRequestStep | None:
    """
    What a successful request does to a pull request; of a reply, if its comment is on one.
    """
    action = text(record, "eventName")
    parameter = _STEP_PARAMETERS.get(action)
    if parameter is None:
        return _STEPS.get(action)
    return _STEPS.get((action, text(inside(record, "requestParameters"), parameter)))


_TEMPORARY_TYPES = {
    "AssumedRole",
    "Role",
    "FederatedUser",
    "SAMLUser",
    "WebIdentityUser",
    "IdentityCenterUser",
}


def _caller(identity: Record) -> Caller:
    return Caller(name_label(identity.get("type")), _credentials(identity))


def _credentials(identity: Record) -> str:
    """
    What kind of credentials a request came with.

    Access keys begin with AKIA where they are long-term and with ASIA where they are
    temporary (IAM User Guide, unique identifiers). An IAM user without one came with Git
    credentials or an SSH key, which are long-term; a service's own event has no type.
    """
    kind, key = text(identity, "type"), text(identity, "accessKeyId")
    if kind == "Root":
        return "root"
    if kind == "AWSService" or (not kind and text(identity, "invokedBy")):
        return "aws_service"
    if key.startswith("AKIA") or (kind == "IAMUser" and not key.startswith("ASIA")):
        return "long_term"
    return "temporary" if key.startswith("ASIA") or kind in _TEMPORARY_TYPES else "unknown"
