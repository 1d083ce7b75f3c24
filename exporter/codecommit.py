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
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from exporter.fields import (
    Remembered,
    account_label,
    error_label,
    id_text,
    identities,
    is_counted,
    name_label,
    protocol_label,
    region_label,
    repository_label,
    text,
    uuid_text,
    whole_identity,
)
from exporter.records import (
    Answer,
    Comment,
    Extra,
    Identity,
    Metadata,
    PullRequest,
    Record,
    Reference as ToldReference,
    Request,
    Resource,
    Target,
    told,
)
from exporter.timestamps import milliseconds

EVENT_SOURCE = "codecommit.amazonaws.com"

_ARN_PATTERN = re.compile(r"arn:[^:]*:codecommit:([^:]*):([^:]*):([^:]*)")


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


@dataclass(slots=True, unsafe_hash=True)
class Event:
    """
    One CodeCommit event, as far as it is counted. Never changed, if not frozen: that is slow.

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
    return record.event_source == EVENT_SOURCE and is_counted(record)


def event(record: Mapping[str, Any]) -> Event:
    """
    The event that a CodeCommit record tells of, whatever its fields hold.

    Raises:
        RecursionError: The record has no UUID to be known by, and is nested too deep.
    """
    part = told(record)
    return event_told(part, identities(part) or (whole_identity(record),))


def event_told(record: Record, ids: tuple[bytes, ...]) -> Event:
    """
    The same of a record that has been read already, given the identities it is known by.
    """
    request = Request.of(record.request_parameters)
    answer = record.response_elements
    answer = answer if isinstance(answer, Answer) else None
    extra = Extra.of(record.additional_event_data)
    resources = _resources(record.resources)
    names = _repository_names(request, answer, extra, resources)
    repository = _REPOSITORIES[
        _owner(record, resources), text(record.aws_region), names[0] if len(names) == 1 else ""
    ]
    action = text(record.event_name)
    error_code = error_label(record.error_code)
    deleted_id = _deleted_id(answer) if action == "DeleteRepository" else ""
    proven = not error_code and (action != "DeleteRepository" or bool(deleted_id))
    renamed_to = _new_name(action, request, repository) if proven else ""
    return Event(
        ids,
        uuid_text(record.event_id),
        milliseconds(record.event_time),
        repository,
        proven,
        bool(names),
        _subjects(request, answer, extra, repository),
        _shown(repository, resources, renamed_to, proven=proven),
        renamed_to,
        deleted_id if proven else "",
        name_label(record.event_name),
        protocol_label(extra.protocol),
        _truth(extra.data_transferred),
        error_code,
        _references(request.references),
        None if error_code else _pull_request_step(action, request),
        _caller(record.user_identity),
    )


# Which repository -------------------------------------------------------------------------


def _resources(resources: object) -> list[tuple[object, Repository]]:
    """
    The account and the repository of each resource that is a repository of CodeCommit's.
    """
    if not isinstance(resources, list):
        return []
    return [
        (resource.account_id, repository)
        for resource in resources
        if isinstance(resource, Resource)
        and (repository := _ARN_REPOSITORIES[(text(resource.arn),)])
    ]


def _arn_repository(arn: str) -> Repository | None:
    match = _ARN_PATTERN.fullmatch(arn)
    return Repository(match[2], match[1], match[3]) if match else None


_ARN_REPOSITORIES = Remembered(_arn_repository)


def _repository(account_id: str, aws_region: str, name: str) -> Repository:
    """
    A repository as labels name it.
    """
    return Repository(account_label(account_id), region_label(aws_region), repository_label(name))


_REPOSITORIES = Remembered(_repository)


def _owner(record: Record, resources: list[tuple[object, Repository]]) -> str:
    """
    The account that owns the repository; the caller's account is another matter.
    """
    for account_id, repository in resources[:1]:
        if owner := text(account_id) or repository.account_id:
            return owner
    return text(record.recipient_account_id)


def _repository_names(
    request: Request,
    answer: Answer | None,
    extra: Extra,
    resources: list[tuple[object, Repository]],
) -> tuple[str, ...]:
    """
    The names in the first place that has any: one, or several, which are none in particular.
    """
    if name := text(extra.repository_name) or text(request.repository_name):
        return (name,)
    resource = request.resource_arn and _arn_repository(text(request.resource_arn))
    return (
        _texts(request.repository_names)
        or _target_names(request.targets)
        or _texts([resource.name] if resource else None)
        or _texts(request.old_name and [request.old_name])
        or _answered_names(answer)
        or _texts([repository.name for _, repository in resources])
    )


def _answered_names(answer: Answer | None) -> tuple[str, ...]:
    if answer is None:
        return ()
    return _texts([Metadata.of(answer.repository_metadata).repository_name]) or _target_names(
        PullRequest.of(answer.pull_request).pull_request_targets
    )


def _target_names(targets: object) -> tuple[str, ...]:
    if not isinstance(targets, list):
        return ()
    return _texts([target.repository_name for target in targets if isinstance(target, Target)])


def _texts(values: object) -> tuple[str, ...]:
    """
    The texts of a list, each once.
    """
    if not values or not isinstance(values, list):
        return ()
    return tuple(dict.fromkeys(filter(None, map(text, values))))


_PULL_REQUEST, _COMMENT, _REPOSITORY = IdKind


def _subjects(
    request: Request, answer: Answer | None, extra: Extra, repository: Repository
) -> tuple[Subject, ...]:
    """
    Every id in a record that belongs to one repository, each once, in the order of look-up.
    """
    pull_requests = [request.pull_request_id]
    comments = [request.comment_id, request.in_reply_to]
    repositories = [extra.repository_id]
    if answer:
        shown = PullRequest.of(answer.pull_request)
        pull_requests += [answer.pull_request_id, shown.pull_request_id]
        comments += [Comment.of(answer.comment).comment_id]
        metadata = Metadata.of(answer.repository_metadata)
        repositories += [metadata.repository_id, answer.repository_id]
    found: dict[Subject, None] = {}
    for kind, ids in (
        (_PULL_REQUEST, pull_requests),
        (_COMMENT, comments),
        (_REPOSITORY, repositories),
    ):
        for value in ids:
            if value is not None and (one := id_text(value)):
                found[Subject(kind, repository.account_id, repository.aws_region, one)] = None
    return tuple(found)


def _shown(
    repository: Repository,
    resources: list[tuple[object, Repository]],
    renamed_to: str,
    *,
    proven: bool,
) -> frozenset[Repository]:
    """
    The repositories that a record shows to exist: by resource ARN, or by a success.
    """
    shown = [named for _, named in resources if named.name and named == _REPOSITORIES[named]]
    if proven and repository.name:
        shown.append(repository)
    if renamed_to:
        shown.append(repository._replace(name=renamed_to))
    return frozenset(shown)


def _deleted_id(answer: Answer | None) -> str:
    """
    The id of the repository that a DeleteRepository has deleted, empty where none was there.

    The request succeeds all the same, with no repositoryId in its answer (CodeCommit API
    Reference).
    """
    return id_text(answer.repository_id) if answer else ""


def _new_name(action: str, request: Request, repository: Repository) -> str:
    """
    What UpdateRepositoryName calls the repository from then on; empty for other actions.
    """
    if action != "UpdateRepositoryName" or not repository.name:
        return ""
    return repository_label(request.new_name)


# What happened, and by whom ---------------------------------------------------------------


def _truth(value: object) -> str:
    """
    A boolean as a label value; empty for anything else.
    """
    return str(value).lower() if isinstance(value, bool) else ""


def _references(references: object) -> tuple[Reference, ...] | None:
    return tuple(map(_reference, references)) if isinstance(references, list) else None


def _reference(value: object) -> Reference:
    if not isinstance(value, ToldReference):
        return _ODD_REFERENCE
    commit = text(value.commit)
    # A commit of zeros is how Git's protocol writes "no commit".
    change = "delete" if commit and not commit.strip("0") else "update"
    return _REFERENCES[_ref_type(text(value.ref)), change]


def _ref_type(ref: str) -> str:
    if ref.startswith("refs/heads/"):
        return "branch"
    return "tag" if ref.startswith("refs/tags/") else "other"


_REFERENCES = {
    (ref_type, change): Reference(ref_type, change)
    for ref_type in ("branch", "tag", "other")
    for change in ("update", "delete")
}
"""A push may name thousands, of which each is one of these."""

_ODD_REFERENCE = _REFERENCES["other", "update"]


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
    "UpdatePullRequestStatus": "pull_request_status",
    "UpdatePullRequestApprovalState": "approval_state",
    "OverridePullRequestApprovalRules": "override_status",
}
"""The actions that say only in a parameter what happens (CodeCommit API Reference)."""


def _pull_request_step(action: str, request: Request) -> PullRequestStep | None:
    """
    What a successful request does to a pull request; of a reply, if its comment is on one.
    """
    parameter = _STEP_PARAMETERS.get(action)
    if parameter is None:
        return _STEPS.get(action)
    return _STEPS.get((action, text(getattr(request, parameter))))


_TEMPORARY_TYPES = {
    "AssumedRole",
    "Role",
    "FederatedUser",
    "SAMLUser",
    "WebIdentityUser",
    "IdentityCenterUser",
}


def _caller(value: object) -> Caller:
    identity = Identity.of(value)
    key = text(identity.access_key_id)[: len("AKIA")]
    return _CALLERS[text(identity.type), key, text(identity.invoked_by)]


def _caller_of(kind: str, key: str, invoked_by: str) -> Caller:
    return Caller(name_label(kind), _credentials(kind, key, invoked_by))


_CALLERS = Remembered(_caller_of)


def _credentials(kind: str, key: str, invoked_by: str) -> str:
    """
    What kind of credentials a request came with.

    Access keys begin with AKIA where they are long-term and with ASIA where they are
    temporary (IAM User Guide, unique identifiers). An IAM user without one came with Git
    credentials or an SSH key, which are long-term; a service's own event has no type.
    """
    if kind == "Root":
        return "root"
    if kind == "AWSService" or (not kind and invoked_by):
        return "aws_service"
    if key.startswith("AKIA") or (kind == "IAMUser" and not key.startswith("ASIA")):
        return "long_term"
    return "temporary" if key.startswith("ASIA") or kind in _TEMPORARY_TYPES else "unknown"
