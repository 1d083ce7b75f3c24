"""
What is counted, read from the contract in the plainest Python.

The program's totals are compared with these. Nothing here is shared with the program,
nothing is fast, and each function is one rule of the contract:

1. A record is a CodeCommit event, or a request of CodeCommit's to AWS KMS, by a few fields.
2. A record is known by all its ids and counts once.
3. The first place that names a repository names it; several names are none.
4. Where no place names one, what has been learnt about the ids in the event does.
5. A failed request cannot make a repository known; all records of a file teach before
   any of them is resolved.
6. Of two lessons about one thing the newer holds, in whatever order they were committed.
7. Every label value is bounded, and every field may hold anything.

Left out is what depends on the time of delivery or of counting.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REPOSITORY = ("account_id", "aws_region", "repository")

LABELS = {
    "codecommit_events_total": (*REPOSITORY, "action", "protocol", "data_transferred"),
    "codecommit_event_errors_total": (*REPOSITORY, "action", "error_code"),
    "codecommit_pushes_total": (*REPOSITORY, "protocol"),
    "codecommit_push_references_count": (*REPOSITORY, "protocol"),
    "codecommit_push_references_sum": (*REPOSITORY, "protocol"),
    "codecommit_reference_updates_total": (*REPOSITORY, "ref_type", "change"),
    "codecommit_pull_request_events_total": (*REPOSITORY, "event"),
    "codecommit_pull_request_open_seconds_count": (*REPOSITORY, "outcome"),
    "codecommit_pull_request_open_seconds_sum": (*REPOSITORY, "outcome"),
    "codecommit_caller_events_total": (*REPOSITORY, "identity_type", "credentials"),
    "codecommit_kms_requests_total": (*REPOSITORY, "action", "error_code"),
    "codecommit_repository_info": (*REPOSITORY, "repository_id"),
}
"""The samples that are counted here, each with its labels in the order of the keys below."""

IN_ORDER_ONLY = (
    "codecommit_pull_request_open_seconds_count",
    "codecommit_pull_request_open_seconds_sum",
)
"""What depends on the order of the commits: a creation that comes too late is not known."""

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
REPOSITORY_ARN = re.compile(
    r"arn:[^:]+:codecommit:(?P<region>[^:]*):(?P<account>[^:]*):(?P<name>[^:]+)"
)
WORD = r"[A-Za-z0-9_.:-]{1,64}"
"""The bounds of an action, an error code and an identity type."""

ID_PLACES = {
    "pull request": (
        ("requestParameters", "pullRequestId"),
        ("responseElements", "pullRequestId"),
        ("responseElements", "pullRequest", "pullRequestId"),
    ),
    "comment": (
        ("requestParameters", "commentId"),
        ("requestParameters", "inReplyTo"),
        ("responseElements", "comment", "commentId"),
    ),
    "repository": (
        ("additionalEventData", "repositoryId"),
        ("responseElements", "repositoryMetadata", "repositoryId"),
        ("responseElements", "repositoryId"),
    ),
}
"""Where an event has ids that belong to a repository, in the order in which they are asked."""

PULL_REQUEST_EVENTS = {
    "CreatePullRequest": "created",
    "MergePullRequestByFastForward": "merged",
    "MergePullRequestBySquash": "merged",
    "MergePullRequestByThreeWay": "merged",
    "PostCommentForPullRequest": "commented",
}
"""What a call does to a pull request, whatever it asks for."""

PULL_REQUEST_CHANGES = {
    ("UpdatePullRequestStatus", "pullRequestStatus", "CLOSED"): "closed",
    ("UpdatePullRequestStatus", "pullRequestStatus", "OPEN"): "reopened",
    ("UpdatePullRequestApprovalState", "approvalState", "APPROVE"): "approved",
    ("UpdatePullRequestApprovalState", "approvalState", "REVOKE"): "approval_revoked",
    ("OverridePullRequestApprovalRules", "overrideStatus", "OVERRIDE"): "overridden",
}
"""What a call does to a pull request by one parameter of its request."""

IDENTITIES = {
    "IAMUser": "long_term",
    "AssumedRole": "temporary",
    "Role": "temporary",
    "FederatedUser": "temporary",
    "SAMLUser": "temporary",
    "WebIdentityUser": "temporary",
    "IdentityCenterUser": "temporary",
}
"""The credentials of identities whose key a record does not tell, as Git over SSH has none."""

Json = Any
"""What json.loads gives: of any type, since a field may hold anything."""

Totals = dict[str, dict[tuple[str, ...], float]]
"""Sample name to label values to value; a series that does not exist is not in it."""

Counts = dict[str, Counter[tuple[str, ...]]]
"""Totals while they are being added up."""


class Repository(NamedTuple):
    """
    A repository by the three labels that tell it from every other.
    """

    account_id: str
    aws_region: str
    name: str


class Id(NamedTuple):
    """
    A pull request, a comment or a repository, where it lives, by its id.
    """

    kind: str
    account_id: str
    aws_region: str
    text: str


class Lesson(NamedTuple):
    """
    Where something belongs, as an event of this time told.
    """

    time: float
    repository: Repository


class Rename(NamedTuple):
    """
    A repository got another name at this time.
    """

    time: float
    old: Repository
    new: Repository


@dataclass
class Learnt:
    """
    What the events of all files so far have taught.

    ``lessons`` are all there were about an id. ``deleted`` ids are of repositories,
    ``opened`` and ``answerable`` of pull requests and comments.
    """

    known: set[Repository] = field(default_factory=set)
    lessons: dict[Id, list[Lesson]] = field(default_factory=dict)
    renames: list[Rename] = field(default_factory=list)
    deleted: dict[Id, float] = field(default_factory=dict)
    opened: dict[Id, float] = field(default_factory=dict)
    answerable: set[Id] = field(default_factory=set)


def in_any_order(totals: Totals) -> Totals:
    """
    The totals that do not depend on the order of the commits.
    """
    return {sample: series for sample, series in totals.items() if sample not in IN_ORDER_ONLY}


def count(log_files: Iterable[str]) -> Totals:
    """
    Count the records of log files in the order of their commits.

    Args:
        log_files: the inflated JSON text of each file.
    """
    totals: Counts = {sample: Counter() for sample in LABELS}
    seen: set[object] = set()
    learnt = Learnt()
    for log_file in log_files:
        records = [record for record in json.loads(log_file)["Records"] if isinstance(record, dict)]
        teach(learnt, filter(is_codecommit_event, records))
        for record in filter(is_ours, records):
            ids = identities(record)
            if seen.isdisjoint(ids):
                add(totals, record, learnt)
            seen |= ids
    totals["codecommit_repository_info"].update(repository_info(learnt))
    return {sample: dict(series) for sample, series in totals.items()}


def add(totals: Counts, record: Json, learnt: Learnt) -> None:
    """
    Add one record that has not been seen before.
    """
    if is_kms_request(record):
        add_kms_request(totals, record, learnt)
        return
    repository = resolved(record, learnt)
    add_event(totals, record, repository)
    add_push(totals, record, repository)
    add_pull_request_event(totals, record, repository, learnt)


def add_event(totals: Counts, event: Json, repository: Repository) -> None:
    """
    Every event is one, failed or not, and somebody's.
    """
    action = bounded(WORD, event.get("eventName"))
    moved = inside(event, "additionalEventData", "dataTransferred")
    data_transferred = json.dumps(moved) if isinstance(moved, bool) else ""
    caller = (bounded(WORD, inside(event, "userIdentity", "type")), credentials(event))

    events = totals["codecommit_events_total"]
    events[*repository, action, protocol_of(event), data_transferred] += 1
    totals["codecommit_caller_events_total"][*repository, *caller] += 1
    if failed(event):
        totals["codecommit_event_errors_total"][*repository, action, error_code(event)] += 1


def add_push(totals: Counts, event: Json, repository: Repository) -> None:
    """
    A push is a GitPush that moved data and succeeded; it may name its references.
    """
    moved = inside(event, "additionalEventData", "dataTransferred")
    if event.get("eventName") != "GitPush" or moved is not True or failed(event):
        return
    protocol = protocol_of(event)
    totals["codecommit_pushes_total"][*repository, protocol] += 1
    references = inside(event, "requestParameters", "references")
    if isinstance(references, list):
        totals["codecommit_push_references_count"][*repository, protocol] += 1
        totals["codecommit_push_references_sum"][*repository, protocol] += len(references)
        for reference in references:
            update = (ref_type(inside(reference, "ref")), change(inside(reference, "commit")))
            totals["codecommit_reference_updates_total"][*repository, *update] += 1


def add_pull_request_event(
    totals: Counts, event: Json, repository: Repository, learnt: Learnt
) -> None:
    """
    What happened to a pull request; at its end, how long it was open, if that is known.
    """
    happened = pull_request_event(event, learnt)
    if not happened:
        return
    totals["codecommit_pull_request_events_total"][*repository, happened] += 1
    seconds = open_seconds(event, learnt)
    if happened in {"merged", "closed"} and math.isfinite(seconds):
        totals["codecommit_pull_request_open_seconds_count"][*repository, happened] += 1
        totals["codecommit_pull_request_open_seconds_sum"][*repository, happened] += int(seconds)


def add_kms_request(totals: Counts, record: Json, learnt: Learnt) -> None:
    """
    A request to AWS KMS belongs to the repository whose id is in its encryption context.
    """
    account_id, aws_region = bounded_account(record.get("recipientAccountId")), region_of(record)
    context = inside(record, "requestParameters", "encryptionContext")
    values = context.values() if isinstance(context, dict) else ()
    ids = (Id("repository", account_id, aws_region, value) for value in texts(*values))
    name = learnt_name(learnt, ids)
    action = bounded(WORD, record.get("eventName"))
    requests = totals["codecommit_kms_requests_total"]
    requests[account_id, aws_region, name, action, error_code(record)] += 1


def is_ours(record: Json) -> bool:
    """
    Other services' records are not counted, and mark no id as seen.
    """
    return is_codecommit_event(record) or is_kms_request(record)


def is_codecommit_event(record: Json) -> bool:
    """
    Not Insight, NetworkActivity or Aggregated, which only tell about such events.
    """
    return record.get("eventSource") == "codecommit.amazonaws.com" and is_management(record)


def is_kms_request(record: Json) -> bool:
    """
    A management record of AWS KMS that CodeCommit made, on whomever's behalf.
    """
    makers = (inside(record, "userIdentity", "invokedBy"), record.get("sourceIPAddress"))
    return (
        record.get("eventSource") == "kms.amazonaws.com"
        and is_management(record)
        and "codecommit.amazonaws.com" in makers
    )


def is_management(record: Json) -> bool:
    """
    The category is a field of later versions; before, all records were such.
    """
    return record.get("eventCategory") in (None, "Management")


def identities(record: Json) -> set[object]:
    """
    Everything a record is known by; its whole text where it has no UUID.
    """
    ids: set[object] = set()
    for value in (record.get("eventID"), inside(record, "addendum", "originalEventID")):
        if is_uuid(value):
            ids.add(value.lower())
    if is_uuid(shared := record.get("sharedEventID")):
        ids.add((shared.lower(), record["eventSource"], json.dumps(record.get("eventName"))))
    return ids or {json.dumps(record, sort_keys=True)}


def resolved(event: Json, learnt: Learnt) -> Repository:
    """
    The repository an event counts for: named by itself, if that can be believed, or learnt.
    """
    repository = repository_of(event)
    if names_nothing(event):
        return repository._replace(name=learnt_name(learnt, ids_of(event)))
    if is_mere_claim(event) and repository not in learnt.known:
        return repository._replace(name="")
    return repository


def repository_of(event: Json) -> Repository:
    """
    The account that owns the repository, its Region, and the one name the event gives it.
    """
    owners = [
        owner
        for arn, entry in codecommit_resources(event)
        for owner in (entry.get("accountId"), arn["account"])
    ]
    owner = next(iter(texts(*owners, event.get("recipientAccountId"))), None)
    names: set[str] = next(filter(None, places_of_a_name(event)), set())
    name = names.pop() if len(names) == 1 else ""
    return Repository(bounded_account(owner), region_of(event), bounded_name(name))


def names_nothing(event: Json) -> bool:
    """
    Whether no place of the event has a name, be it a wrong one.
    """
    return not any(places_of_a_name(event))


def places_of_a_name(event: Json) -> Iterator[set[str]]:
    """
    The distinct names found in each place, in the order in which places are believed.
    """
    request, answer = event.get("requestParameters"), event.get("responseElements")
    targets = members(inside(request, "targets"))
    targets_told = members(inside(answer, "pullRequest", "pullRequestTargets"))
    yield set(texts(inside(event, "additionalEventData", "repositoryName")))
    yield set(texts(inside(request, "repositoryName")))
    yield set(texts(*members(inside(request, "repositoryNames"))))
    yield set(texts(*(inside(target, "repositoryName") for target in targets)))
    yield {arn["name"] for arn in repository_arns(inside(request, "resourceArn"))}
    yield set(texts(inside(request, "oldName")))
    yield set(texts(inside(answer, "repositoryMetadata", "repositoryName")))
    yield set(texts(*(inside(target, "repositoryName") for target in targets_told)))
    yield {arn["name"] for arn, _ in codecommit_resources(event)}


def is_mere_claim(event: Json) -> bool:
    """
    Whether the request may name a repository that does not exist.

    Deleting what is not there succeeds, with no repositoryId in the answer.
    """
    deleted = inside(event, "responseElements", "repositoryId")
    return failed(event) or (event.get("eventName") == "DeleteRepository" and not deleted)


def teach(learnt: Learnt, events: Iterable[Json]) -> None:
    """
    Learn from all events of a file, in the order of their times.

    What one event teaches by what another taught comes last: the answer to a comment is
    where the comment is.
    """
    in_order = sorted(events, key=time_of)
    for event in in_order:
        learnt.known.update(shown_by(event))
    proven = [event for event in in_order if not is_mere_claim(event)]
    for event in proven:
        teach_names(learnt, event)
        teach_rename(learnt, event)
        teach_deletion(learnt, event)
        teach_pull_request(learnt, event)
    while sum(teach_by_what_is_learnt(learnt, event) for event in proven):
        pass


def shown_by(event: Json) -> Iterator[Repository]:
    """
    The repositories that an event shows to exist: by a resource's ARN, or by its success.
    """
    for arn, _ in codecommit_resources(event):
        yield Repository(arn["account"], arn["region"], arn["name"])
    if not is_mere_claim(event):
        yield repository_of(event)
        if new_name := renamed_to(event):
            yield repository_of(event)._replace(name=new_name)


def teach_names(learnt: Learnt, event: Json) -> None:
    """
    An event that names its repository tells where the ids in it belong.
    """
    repository = repository_of(event)
    if repository.name:
        for one in ids_of(event):
            learnt.lessons.setdefault(one, []).append(Lesson(time_of(event), repository))


def teach_rename(learnt: Learnt, event: Json) -> None:
    """
    A rename is learnt for whatever was said of the old name before it.
    """
    old, new_name = repository_of(event), renamed_to(event)
    if old.name and new_name:
        learnt.renames.append(Rename(time_of(event), old, old._replace(name=new_name)))


def newest_name(learnt: Learnt, one: Id) -> Repository:
    """
    Where an id belongs after all renames since its newest lesson, as long as it was there.
    """
    time, repository = newest(learnt, one)
    for rename in sorted(learnt.renames, key=lambda rename: rename.time):
        is_alive = rename.time < learnt.deleted.get(one, math.inf)
        if rename.old == repository and rename.time >= time and is_alive:
            time, repository = rename.time, rename.new
    return repository


def newest(learnt: Learnt, one: Id) -> Lesson:
    """
    The newest lesson about an id; of those of one time, the last that was learnt.
    """
    return max(reversed(learnt.lessons[one]), key=lambda lesson: lesson.time)


def renamed_to(event: Json) -> str:
    """
    The new name that a repository was given.
    """
    if event.get("eventName") != "UpdateRepositoryName":
        return ""
    return bounded_name(inside(event, "requestParameters", "newName"))


def teach_deletion(learnt: Learnt, event: Json) -> None:
    """
    A deleted repository's id is never used again; its name may be.
    """
    for one in ids_of(event):
        if event.get("eventName") == "DeleteRepository" and one.kind == "repository":
            learnt.deleted[one] = min(time_of(event), learnt.deleted.get(one, math.inf))


def teach_pull_request(learnt: Learnt, event: Json) -> None:
    """
    When a pull request was opened, and which comments are on one; a wrong name teaches nothing.
    """
    is_wrong = not names_nothing(event) and not repository_of(event).name
    pull_request = id_at(event, "pull request", "responseElements", "pullRequest", "pullRequestId")
    if event.get("eventName") == "CreatePullRequest" and pull_request.text and not is_wrong:
        learnt.opened[pull_request] = max(
            time_of(event), learnt.opened.get(pull_request, -math.inf)
        )
    comment = id_at(event, "comment", "responseElements", "comment", "commentId")
    if event.get("eventName") == "PostCommentForPullRequest" and comment.text and not is_wrong:
        learnt.answerable.add(comment)


def teach_by_what_is_learnt(learnt: Learnt, event: Json) -> int:
    """
    Learn what an event tells together with what is known; 0 if that was nothing new.
    """
    before = len(learnt.lessons) + len(learnt.answerable)
    learnt_ids = [one for one in ids_of(event) if one in learnt.lessons]
    if learnt_ids and names_nothing(event):
        for one in ids_of(event):
            learnt.lessons.setdefault(one, [newest(learnt, learnt_ids[0])])
    comment = id_at(event, "comment", "responseElements", "comment", "commentId")
    if is_answer_on_a_pull_request(event, learnt) and comment.text:
        learnt.answerable.add(comment)
    return len(learnt.lessons) + len(learnt.answerable) - before


def learnt_name(learnt: Learnt, ids: Iterable[Id]) -> str:
    """
    The repository of the first of some ids that has been learnt.
    """
    return next((newest_name(learnt, one).name for one in ids if one in learnt.lessons), "")


def ids_of(event: Json) -> Iterator[Id]:
    """
    The ids in an event that belong to a repository, in the order in which they are asked.
    """
    for kind, places in ID_PLACES.items():
        for place in places:
            one = id_at(event, kind, *place)
            if one.text:
                yield one


def id_at(event: Json, kind: str, *path: str) -> Id:
    """
    The id at a path of an event; 27 and "27" are one, and what cannot be an id is empty.
    """
    value = inside(event, *path)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = bounded(r"[A-Za-z0-9:_.-]{1,128}", value, otherwise="")
    account_id, aws_region, _ = repository_of(event)
    return Id(kind, account_id, aws_region, text)


def repository_info(learnt: Learnt) -> dict[tuple[str, ...], int]:
    """
    Ids and names of repositories that are not deleted: the newest of both belong together.
    """
    return {
        (*repository, one.text): 1
        for repository, one in newest_ids(learnt).items()
        if one not in learnt.deleted
        if repository == newest_name(learnt, one)
    }


def newest_ids(learnt: Learnt) -> dict[Repository, Id]:
    """
    The newest id under each name: all that was told, once more in the order of the times.

    What a deletion tells of its id comes before what else was told in the same second.
    """
    told = [
        (lesson.time, lesson.repository, one)
        for one, lessons in learnt.lessons.items()
        if one.kind == "repository"
        for lesson in lessons
    ]
    told.sort(key=lambda lesson: lesson[0] < learnt.deleted.get(lesson[2], math.inf))
    found: dict[Repository, Id] = {}
    facts: list[tuple[float, Repository, Id | Repository]] = [*told, *learnt.renames]
    for _, repository, what in sorted(facts, key=lambda fact: fact[0]):
        if isinstance(what, Id):
            found[repository] = what
        elif repository in found:
            found[what] = found.pop(repository)
    return found


def pull_request_event(event: Json, learnt: Learnt) -> str:
    """
    What a successful event did to a pull request, or nothing.
    """
    action, request = event.get("eventName"), event.get("requestParameters")
    if failed(event) or not isinstance(action, str):
        return ""
    if is_answer_on_a_pull_request(event, learnt):
        return "commented"
    for (changing, parameter, value), happened in PULL_REQUEST_CHANGES.items():
        if action == changing and inside(request, parameter) == value:
            return happened
    return PULL_REQUEST_EVENTS.get(action, "")


def is_answer_on_a_pull_request(event: Json, learnt: Learnt) -> bool:
    """
    Whether the event answers a comment that is on a pull request, and not on a commit.
    """
    comment = id_at(event, "comment", "requestParameters", "inReplyTo")
    return event.get("eventName") == "PostCommentReply" and comment in learnt.answerable


def open_seconds(event: Json, learnt: Learnt) -> float:
    """
    How long the pull request of an event has been open; not finite where that is unknown.
    """
    ids = (one for one in ids_of(event) if one.kind == "pull request")
    opened = next((learnt.opened[one] for one in ids if one in learnt.opened), -math.inf)
    return max(0.0, time_of(event) - opened) if math.isfinite(time_of(event)) else math.inf


def credentials(event: Json) -> str:
    """
    What kind of credentials the caller showed, by the first of these lines that fits.
    """
    kind = text(inside(event, "userIdentity", "type"))
    key = text(inside(event, "userIdentity", "accessKeyId"))
    if kind == "Root":
        return "root"
    if kind == "AWSService" or (not kind and text(inside(event, "userIdentity", "invokedBy"))):
        return "aws_service"
    if key.startswith("AKIA"):
        return "long_term"
    if key.startswith("ASIA"):
        return "temporary"
    return IDENTITIES.get(kind, "unknown")


def codecommit_resources(event: Json) -> Iterator[tuple[re.Match[str], Json]]:
    """
    The CodeCommit entries of the event's resources, each with its ARN taken apart.
    """
    for entry in members(event.get("resources")):
        for arn in repository_arns(inside(entry, "ARN")):
            yield arn, entry


def repository_arns(value: Json) -> list[re.Match[str]]:
    """
    The ARN of a repository taken apart, or none where the value is no such ARN.
    """
    return list(filter(None, [REPOSITORY_ARN.fullmatch(text(value))]))


def ref_type(ref: Json) -> str:
    """
    What kind of reference a push named.
    """
    kinds = {"refs/heads/": "branch", "refs/tags/": "tag"}
    return next((kind for start, kind in kinds.items() if text(ref).startswith(start)), "other")


def change(commit: Json) -> str:
    """
    What a push did to a reference; a commit of zeros is how Git says that it is gone.
    """
    return "delete" if text(commit) and not text(commit).strip("0") else "update"


def failed(record: Json) -> bool:
    """
    Any errorCode but an empty one tells of a failure.
    """
    return record.get("errorCode") not in (None, "")


def error_code(record: Json) -> str:
    """
    Why a request failed; empty if it did not.
    """
    return bounded(WORD, record["errorCode"]) if failed(record) else ""


def protocol_of(event: Json) -> str:
    """
    What Git spoke; API calls have none.
    """
    protocol = inside(event, "additionalEventData", "protocol")
    return "" if protocol is None else bounded(r"[A-Za-z0-9]{0,16}", protocol)


def region_of(record: Json) -> str:
    """
    The Region that the record is of.
    """
    return bounded(r"[a-z0-9-]{1,32}", record.get("awsRegion"))


def bounded_account(value: Json) -> str:
    """
    An account id.
    """
    return bounded(r"[0-9]{12}", value)


def bounded_name(value: Json) -> str:
    """
    A repository's name, or nothing where no repository can be called so.
    """
    return bounded(r"[A-Za-z0-9_.-]{1,100}", value, otherwise="")


def time_of(event: Json) -> float:
    """
    The time of an event in seconds since 1970; before all others where it has none.
    """
    try:
        time = datetime.fromisoformat(text(event.get("eventTime")))
    except ValueError:
        return -math.inf
    return time.replace(tzinfo=time.tzinfo or UTC).timestamp() if time.year > 1970 else -math.inf


def inside(value: Json, *path: str) -> Json:
    """
    What lies at a path of JSON objects, or None where the path ends early.
    """
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def members(value: Json) -> list[Json]:
    """
    What a list holds; anything else holds nothing.
    """
    return value if isinstance(value, list) else []


def text(value: Json) -> str:
    """
    A text as it stands; empty for what is none.
    """
    return value if isinstance(value, str) else ""


def texts(*values: Json) -> list[str]:
    """
    Those of some values that are texts and not empty.
    """
    return list(filter(None, map(text, values)))


def is_uuid(value: Json) -> bool:
    """
    Whether an id is one that tells records apart; those in documentation do not.
    """
    return UUID.fullmatch(text(value)) is not None


def bounded(pattern: str, value: Json, otherwise: str = "(invalid)") -> str:
    """
    A label value within its bounds, or what stands for one outside them.
    """
    return value if isinstance(value, str) and re.fullmatch(pattern, value) else otherwise
