"""
What the field calls things: an event, its labels, the repository it is about.

Rules:

1. A record comes from outside. Every field may be missing, null or of another type than
   expected; that never raises, it gives the label its empty or ``(invalid)`` value.
2. Label values are bounded here and nowhere else.
3. Nothing that identifies a person leaves this module: no user, ARN, address or message.
4. Which repository a failed request names is only a claim. Whether the claim becomes a
   label is decided where the known repositories are: in the committing transaction.

Field names and types are those of the CloudTrail User Guide ("CloudTrail record
contents"); where CodeCommit puts the repository's name follows the CodeCommit User Guide
("Logging AWS CodeCommit API calls") and the API's request and response shapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

from exporter.timestamps import milliseconds

EVENT_SOURCE = "codecommit.amazonaws.com"
INVALID = "(invalid)"

Record = Mapping[str, Any]
"""One decoded CloudTrail record."""

_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z0-9-]{1,32}")
_PROTOCOL = re.compile(r"[A-Za-z0-9]{0,16}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_REPOSITORY_ARN = re.compile(r"arn:[^:]*:codecommit:([^:]*):([^:]*):([^:]*)")
_DELETED = re.compile(r"0+")
_BOOLEANS: Mapping[bool | None, str] = {True: "true", False: "false"}


class Repository(NamedTuple):
    """
    Where a repository lives and what it is called; its name may be empty.
    """

    account_id: str
    aws_region: str
    name: str


class Reference(NamedTuple):
    """
    What a push did to one reference; which one it was is not kept.
    """

    ref_type: str
    change: str


@dataclass(frozen=True, slots=True)
class Event:
    """
    One CodeCommit event, as far as it is counted.

    ``ids`` are the 16-byte identities by which it is known, ``event_id`` is CloudTrail's
    where that is a UUID and else empty. ``time_ms`` is None without a usable time.
    ``repository`` is the one the request names, and ``proven`` says whether the name is
    more than a stranger's typing; ``shows`` are the repositories that this record shows
    to exist. ``references`` is None where the record does not list any.
    """

    ids: tuple[bytes, ...]
    event_id: str
    time_ms: int | None
    repository: Repository
    proven: bool
    shows: frozenset[Repository]
    action: str
    protocol: str
    data_transferred: str
    error_code: str
    references: tuple[Reference, ...] | None

    @property
    def is_push(self) -> bool:
        """
        Whether this is a successful push that moved data.

        CloudTrail writes two records for one push over HTTPS; only the second has moved data
        (CodeCommit User Guide, example log entries for GitPush).
        """
        return self.action == "GitPush" and self.data_transferred == "true" and not self.error_code


def is_codecommit_event(record: Record) -> bool:
    """
    Whether a record tells of a CodeCommit request.

    Insight, network-activity and aggregated records of the same source are about such
    requests, not requests themselves (CloudTrail User Guide, eventCategory).
    """
    return record.get("eventSource") == EVENT_SOURCE and record.get("eventCategory") in (
        None,
        "Management",
    )


def event(record: Record) -> Event:
    """
    The event that a CodeCommit record tells of. Never raises for what a field holds.
    """
    extra = _object(record, "additionalEventData")
    arns = tuple(_repository_arns(record))
    error_code = _error_code(record)
    action = _bounded(_NAME, record.get("eventName"))
    repository = Repository(
        _owner(record, arns),
        _bounded(_REGION, record.get("awsRegion")),
        _bounded(_REPOSITORY, _repository_name(record, arns), otherwise=""),
    )
    proven = not error_code and not _deleted_nothing(record)
    return Event(
        ids=_ids(record),
        event_id=_uuid(record.get("eventID")),
        time_ms=milliseconds(record.get("eventTime")),
        repository=repository,
        proven=proven,
        shows=frozenset(_shown(record, repository, arns, proven=proven)),
        action=action,
        protocol=_bounded(_PROTOCOL, extra.get("protocol", "")),
        data_transferred=_BOOLEANS.get(_boolean(extra, "dataTransferred"), ""),
        error_code=error_code,
        references=_references(record),
    )


def _object(parent: Any, name: str) -> Record:
    """
    The JSON object under a name, or an empty one.
    """
    child = parent.get(name) if isinstance(parent, dict) else None
    return child if isinstance(child, dict) else {}


def _list(parent: Record, name: str) -> list[Any]:
    child = parent.get(name)
    return child if isinstance(child, list) else []


def _text(parent: Any, name: str) -> str:
    """
    The text under a name; empty where there is none.
    """
    child = parent.get(name) if isinstance(parent, dict) else None
    return child if isinstance(child, str) else ""


def _boolean(parent: Record, name: str) -> bool | None:
    child = parent.get(name)
    return child if isinstance(child, bool) else None


def _bounded(pattern: re.Pattern[str], value: object, otherwise: str = INVALID) -> str:
    """
    A label value if the pattern has it whole, else the stand-in.
    """
    if value is None and pattern.fullmatch(""):
        return ""
    return value if isinstance(value, str) and pattern.fullmatch(value) else otherwise


def _error_code(record: Record) -> str:
    code = record.get("errorCode")
    return "" if code in (None, "") else _bounded(_NAME, code)


def _uuid(value: object) -> str:
    return value.lower() if isinstance(value, str) and _UUID.fullmatch(value) else ""


def _ids(record: Record) -> tuple[bytes, ...]:
    """
    Every identity of a record, 16 bytes each, never none.

    The same request can be told under two eventIDs that share a sharedEventID, and an
    addendum repeats an event under its originalEventID (CloudTrail User Guide). What has
    no UUID at all, like the samples of the CodeCommit guide, is known by its whole text.
    """
    ids = [
        UUID(text).bytes
        for text in (
            _uuid(record.get("eventID")),
            _uuid(_object(record, "addendum").get("originalEventID")),
        )
        if text
    ]
    if shared := _uuid(record.get("sharedEventID")):
        names = (shared, _text(record, "eventSource"), _text(record, "eventName"))
        ids.append(_digest(json.dumps(names)))
    if not ids:
        ids.append(_digest(json.dumps(record, sort_keys=True)))
    return tuple(dict.fromkeys(ids))


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def _repository_arns(record: Record) -> Iterator[tuple[Any, Repository]]:
    """
    The CodeCommit entries of ``resources``, each with the repository its ARN names.
    """
    for entry in _list(record, "resources"):
        if repository := _arn_repository(_text(entry, "ARN")):
            yield entry, repository


def _arn_repository(arn: str) -> Repository | None:
    match = _REPOSITORY_ARN.fullmatch(arn)
    return Repository(match[2], match[1], match[3]) if match else None


def _owner(record: Record, arns: tuple[tuple[Any, Repository], ...]) -> str:
    """
    The account that owns the repository; the caller's account is another matter.
    """
    candidates = [_text(record, "recipientAccountId")]
    if arns:
        entry, repository = arns[0]
        candidates = [_text(entry, "accountId"), repository.account_id, *candidates]
    return _bounded(_ACCOUNT, next(filter(None, candidates), None))


def _repository_name(record: Record, arns: tuple[tuple[Any, Repository], ...]) -> str:
    """
    The name of the one repository a request is about, from the first place that has one.

    Empty where there is none, and where a place holds several.
    """
    request = _object(record, "requestParameters")
    answer = _object(record, "responseElements")
    resource_arn = _arn_repository(_text(request, "resourceArn"))
    places = (
        {_text(_object(record, "additionalEventData"), "repositoryName")},
        {_text(request, "repositoryName")},
        {name for name in _list(request, "repositoryNames") if isinstance(name, str)},
        {_text(target, "repositoryName") for target in _list(request, "targets")},
        {resource_arn.name} if resource_arn else set(),
        {_text(request, "oldName")},
        {_text(_object(answer, "repositoryMetadata"), "repositoryName")},
        {
            _text(target, "repositoryName")
            for target in _list(_object(answer, "pullRequest"), "pullRequestTargets")
        },
        {repository.name for _, repository in arns},
    )
    for names in places:
        if named := names - {""}:
            return named.pop() if len(named) == 1 else ""
    return ""


def _deleted_nothing(record: Record) -> bool:
    """
    Whether this is a DeleteRepository of a repository that was not there.

    It succeeds all the same, with no repositoryId in its answer (CodeCommit API Reference).
    """
    return record.get("eventName") == "DeleteRepository" and not _text(
        _object(record, "responseElements"), "repositoryId"
    )


def _shown(
    record: Record,
    repository: Repository,
    arns: tuple[tuple[Any, Repository], ...],
    *,
    proven: bool,
) -> Iterator[Repository]:
    """
    The repositories that a record shows to exist: by resource ARN, or by a success.
    """
    for _, named in arns:
        if _REPOSITORY.fullmatch(named.name):
            yield named
    if proven and repository.name:
        yield repository
        new_name = _text(_object(record, "requestParameters"), "newName")
        if _REPOSITORY.fullmatch(new_name):
            yield repository._replace(name=new_name)


def _references(record: Record) -> tuple[Reference, ...] | None:
    references = _object(record, "requestParameters").get("references")
    if not isinstance(references, list):
        return None
    return tuple(
        Reference(
            _ref_type(_text(reference, "ref")),
            # A commit of zeros is how Git's protocol writes "no commit".
            "delete" if _DELETED.fullmatch(_text(reference, "commit")) else "update",
        )
        for reference in references
    )


def _ref_type(ref: str) -> str:
    if ref.startswith("refs/heads/"):
        return "branch"
    return "tag" if ref.startswith("refs/tags/") else "other"
