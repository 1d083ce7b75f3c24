"""
What is counted, read from the contract in the plainest Python.

The program's totals are compared with these. Nothing here is shared with the program,
nothing is fast, and each function is one rule of the contract:

1. A record is a CodeCommit event by its eventSource and eventCategory.
2. An event is known by all its ids and counts once.
3. The first place that names a repository names it; several names are none.
4. A failed request cannot make a repository known; all records of a file teach before
   any of them is resolved.
5. Every label value is bounded.

Left out are the maps learnt from pull requests, comments and repository ids, and what
depends on the time of delivery.
"""

from __future__ import annotations

import json
import re
from collections import Counter
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
}
"""The samples that are counted here, each with its labels in the order of the keys below."""

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
REPOSITORY_ARN = re.compile(
    r"arn:[^:]+:codecommit:(?P<region>[^:]*):(?P<account>[^:]*):(?P<name>.+)"
)

Json = Any
"""What json.loads gives: of any type, since a field may hold anything."""

Totals = dict[str, dict[tuple[str, ...], float]]
"""Sample name to label values to value; a series that does not exist is not in it."""


class Repository(NamedTuple):
    """
    A repository by the three labels that tell it from every other.
    """

    account_id: str
    aws_region: str
    name: str


def count(log_files: Iterable[str]) -> Totals:
    """
    Count the CodeCommit events of log files in the order of their commits.

    Args:
        log_files: the inflated JSON text of each file.
    """
    totals: dict[str, Counter[tuple[str, ...]]] = {sample: Counter() for sample in LABELS}
    seen: set[object] = set()
    known: set[Repository] = set()
    for text in log_files:
        events = list(filter(is_codecommit_event, json.loads(text)["Records"]))
        known.update(repository for event in events for repository in shown_by(event))
        for event in events:
            ids = identities(event)
            if seen.isdisjoint(ids):
                add(totals, event, known)
            seen |= ids
    return {sample: dict(series) for sample, series in totals.items()}


def add(totals: dict[str, Counter[tuple[str, ...]]], event: Json, known: set[Repository]) -> None:
    """
    Add one event that has not been seen before.
    """
    repository = repository_of(event)
    if is_mere_claim(event) and repository not in known:
        repository = repository._replace(name="")
    action = bounded(r"[A-Za-z0-9_.:-]{1,64}", event.get("eventName"))
    protocol = bounded(r"[A-Za-z0-9]{0,16}", inside(event, "additionalEventData", "protocol") or "")
    moved = inside(event, "additionalEventData", "dataTransferred")
    data_transferred = json.dumps(moved) if isinstance(moved, bool) else ""
    error = event.get("errorCode")

    totals["codecommit_events_total"][*repository, action, protocol, data_transferred] += 1
    if error:
        error_code = bounded(r"[A-Za-z0-9_.:-]{1,64}", error)
        totals["codecommit_event_errors_total"][*repository, action, error_code] += 1
    if action == "GitPush" and moved is True and not error:
        totals["codecommit_pushes_total"][*repository, protocol] += 1
        references = inside(event, "requestParameters", "references")
        if isinstance(references, list):
            totals["codecommit_push_references_count"][*repository, protocol] += 1
            totals["codecommit_push_references_sum"][*repository, protocol] += len(references)
            for reference in references:
                update = (ref_type(reference["ref"]), change(reference["commit"]))
                totals["codecommit_reference_updates_total"][*repository, *update] += 1


def is_codecommit_event(record: Json) -> bool:
    """
    Not Insight, NetworkActivity or Aggregated, which only tell about such events.
    """
    return record.get("eventSource") == "codecommit.amazonaws.com" and record.get(
        "eventCategory"
    ) in (None, "Management")


def identities(event: Json) -> set[object]:
    """
    Everything an event is known by; its whole text where it has no UUID.
    """
    ids: set[object] = set()
    for value in (event.get("eventID"), inside(event, "addendum", "originalEventID")):
        if is_uuid(value):
            ids.add(value.lower())
    if is_uuid(shared := event.get("sharedEventID")):
        ids.add((shared.lower(), event["eventSource"], event["eventName"]))
    return ids or {json.dumps(event, sort_keys=True)}


def repository_of(event: Json) -> Repository:
    """
    The account that owns the repository, its Region, and the one name the event gives it.
    """
    owner = event.get("recipientAccountId")
    for arn, entry in codecommit_resources(event):
        owner = entry.get("accountId") or arn["account"]
        break
    names: set[str] = next(filter(None, places_of_a_name(event)), set())
    name = names.pop() if len(names) == 1 else ""
    return Repository(
        bounded(r"[0-9]{12}", owner),
        bounded(r"[a-z0-9-]{1,32}", event.get("awsRegion")),
        bounded(r"[A-Za-z0-9_.-]{1,100}", name, otherwise=""),
    )


def places_of_a_name(event: Json) -> Iterator[set[str]]:
    """
    The distinct names found in each place, in the order in which places are believed.
    """
    request, answer = event.get("requestParameters"), event.get("responseElements")
    resource_arn = REPOSITORY_ARN.fullmatch(inside(request, "resourceArn") or "")
    yield {inside(event, "additionalEventData", "repositoryName")} - {None}
    yield {inside(request, "repositoryName")} - {None}
    yield set(inside(request, "repositoryNames") or ())
    yield {target["repositoryName"] for target in inside(request, "targets") or ()}
    yield {resource_arn["name"]} if resource_arn else set()
    yield {inside(request, "oldName")} - {None}
    yield {inside(answer, "repositoryMetadata", "repositoryName")} - {None}
    yield {
        target["repositoryName"]
        for target in inside(answer, "pullRequest", "pullRequestTargets") or ()
    }
    yield {arn["name"] for arn, _ in codecommit_resources(event)}


def is_mere_claim(event: Json) -> bool:
    """
    Whether the request may name a repository that does not exist.

    Deleting what is not there succeeds, with no repositoryId in the answer.
    """
    if event.get("errorCode"):
        return True
    deleted = inside(event, "responseElements", "repositoryId")
    return bool(event["eventName"] == "DeleteRepository" and not deleted)


def shown_by(event: Json) -> Iterator[Repository]:
    """
    The repositories that an event shows to exist: by a resource's ARN, or by its success.
    """
    for arn, _ in codecommit_resources(event):
        yield Repository(arn["account"], arn["region"], arn["name"])
    if not is_mere_claim(event):
        yield repository_of(event)
        if new_name := inside(event, "requestParameters", "newName"):
            yield repository_of(event)._replace(name=new_name)


def codecommit_resources(event: Json) -> Iterator[tuple[re.Match[str], Json]]:
    """
    The CodeCommit entries of the event's resources, each with its ARN taken apart.
    """
    for entry in event.get("resources") or ():
        if arn := REPOSITORY_ARN.fullmatch(entry.get("ARN") or ""):
            yield arn, entry


def ref_type(ref: str) -> str:
    """
    What kind of reference a push named.
    """
    kinds = {"refs/heads/": "branch", "refs/tags/": "tag"}
    return next((kind for start, kind in kinds.items() if ref.startswith(start)), "other")


def change(commit: str) -> str:
    """
    What a push did to a reference; a commit of zeros is how Git says that it is gone.
    """
    return "update" if commit.strip("0") else "delete"


def inside(value: Json, *path: str) -> Json:
    """
    What lies at a path of JSON objects, or None where the path ends early.
    """
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def is_uuid(value: Json) -> bool:
    """
    Whether an id is one that tells events apart; those in documentation do not.
    """
    return isinstance(value, str) and UUID.fullmatch(value) is not None


def bounded(pattern: str, value: Json, otherwise: str = "(invalid)") -> str:
    """
    A label value within its bounds, or what stands for one outside them.
    """
    return value if isinstance(value, str) and re.fullmatch(pattern, value) else otherwise
