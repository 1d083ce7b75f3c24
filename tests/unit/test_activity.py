"""
The invented activity is what it says it is: read back here without the exporter.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from exporter.activity import (
    ERRORS,
    EVENTS,
    PUSHES,
    REFERENCE_UPDATES,
    Activity,
    Series,
    WrittenLogFile,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Json = dict[str, Any]

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CODECOMMIT = "codecommit.amazonaws.com"
KEY = re.compile(
    r"AWSLogs/(?P<account>\d{12})/CloudTrail/(?P<region>[a-z0-9-]+)/\d{4}/\d\d/\d\d/"
    r"(?P=account)_CloudTrail_(?P=region)_\d{8}T\d{4}Z_[A-Za-z0-9]{16}\.json\.gz"
)
REQUIRED = frozenset(
    (
        *("eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion"),
        *("sourceIPAddress", "userAgent", "requestParameters", "responseElements", "requestID"),
        *("eventID", "readOnly", "eventType", "managementEvent", "recipientAccountId"),
        "eventCategory",
    )
)

seeds = st.integers(min_value=0, max_value=2**32)
few = settings(max_examples=10, deadline=None)


def written(
    activity: Activity, files: int, *, records: int | None = None, codecommit: float = 0.3
) -> list[WrittenLogFile]:
    return [
        activity.log_file(NOON + timedelta(seconds=n), records=records, codecommit=codecommit)
        for n in range(files)
    ]


def records_of(files: Iterable[WrittenLogFile]) -> list[Json]:
    return [record for file in files for record in json.loads(file.inflated)["Records"]]


def codecommit_records(files: Iterable[WrittenLogFile]) -> list[Json]:
    return [record for record in records_of(files) if record["eventSource"] == CODECOMMIT]


def truth_of(files: Iterable[WrittenLogFile]) -> Counter[Series]:
    return sum((file.truth for file in files), Counter())


# What the files hold, once more, by reading them


def events_of(files: Iterable[WrittenLogFile]) -> list[Json]:
    """
    Each CodeCommit event once, whichever of its ids it is known by.
    """
    events = {r.get("sharedEventID", r["eventID"]): r for r in codecommit_records(files)}
    return list(events.values())


def name_in_arn(arn: str) -> str:
    return arn.rpartition(":")[2] if ":codecommit:" in arn else ""


def names(event: Json) -> Iterator[set[str]]:
    """
    The names a record gives, in the order in which they are to be believed.
    """
    request = event["requestParameters"] or {}
    response = event["responseElements"] or {}
    yield {event.get("additionalEventData", {}).get("repositoryName", "")}
    yield {request.get("repositoryName", "")}
    yield set(request.get("repositoryNames", ()))
    yield {target["repositoryName"] for target in request.get("targets", ())}
    yield {name_in_arn(request.get("resourceArn", ""))}
    yield {request.get("oldName", "")}
    targets = response.get("pullRequest", {}).get("pullRequestTargets", ())
    yield {target["repositoryName"] for target in targets}
    yield names_in_resources(event)


def names_in_resources(event: Json) -> set[str]:
    return {name_in_arn(resource["ARN"]) for resource in event.get("resources", ())} - {""}


def only_name(event: Json) -> str:
    given = next((found for found in names(event) if found - {""}), {""})
    return given.copy().pop() if len(given) == 1 else ""


def teaches(event: Json) -> bool:
    """
    Whether a record shows that the repository it names exists.
    """
    deleted_nothing = event["eventName"] == "DeleteRepository" and not event["responseElements"]
    return bool(names_in_resources(event)) or not (event.get("errorCode") or deleted_nothing)


def place_of(event: Json) -> tuple[str, str]:
    arns = [r["ARN"] for r in event.get("resources", ()) if ":codecommit:" in r["ARN"]]
    account = arns[0].split(":")[4] if arns else event["recipientAccountId"]
    return account, event["awsRegion"]


def change_of(reference: Json) -> tuple[str, str]:
    folder = reference["ref"].split("/")[1]
    ref_type = {"heads": "branch", "tags": "tag"}.get(folder, "other")
    return ref_type, "delete" if set(reference["commit"]) == {"0"} else "update"


def counted(files: Iterable[WrittenLogFile]) -> Counter[Series]:
    """
    What one would count who reads all files with the plain json module.
    """
    events = events_of(files)
    known = {(*place_of(event), only_name(event)) for event in events if teaches(event)}
    counts: Counter[Series] = Counter()
    for event in events:
        place, name = place_of(event), only_name(event)
        where = (*place, name if (*place, name) in known else "")
        git = event.get("additionalEventData", {})
        moved = git.get("dataTransferred")
        action, protocol = event["eventName"], git.get("protocol", "")
        label = "" if moved is None else str(moved).lower()
        counts[EVENTS, (*where, action, protocol, label)] += 1
        if "errorCode" in event:
            counts[ERRORS, (*where, action, event["errorCode"])] += 1
        elif action == "GitPush" and moved:
            counts[PUSHES, (*where, protocol)] += 1
            for reference in (event["requestParameters"] or {}).get("references", ()):
                counts[REFERENCE_UPDATES, (*where, *change_of(reference))] += 1
    return counts


# Determinism


@few
@given(seed=seeds)
def test_same_seed_same_bytes(seed: int) -> None:
    """
    The same seed and the same calls give the same files, faults included.
    """

    def life() -> list[WrittenLogFile]:
        activity = Activity(seed)
        files = written(activity, 3, records=12)
        return [*files, activity.repeat(files[0], NOON), activity.truncated(files[1])]

    assert life() == life()


def test_another_seed_is_another_organisation() -> None:
    """
    Two seeds share neither keys nor events.
    """
    first, second = (written(Activity(seed), 20) for seed in (1, 2))
    ids = [{record["eventID"] for record in records_of(files)} for files in (first, second)]

    assert set() == ids[0] & ids[1]
    assert set() == {file.key for file in first} & {file.key for file in second}


def test_body_has_no_time_of_its_own() -> None:
    """
    The gzip header's time is 0, so that bytes depend on nothing but the arguments.
    """
    body = Activity(1).log_file(NOON).body

    assert b"\x1f\x8b\x08\x00\x00\x00\x00\x00" == body[:8]


# Keys and records


@few
@given(seed=seeds)
def test_key_and_records_belong_together(seed: int) -> None:
    """
    A key has CloudTrail's layout, and its account and Region are those of the records.
    """
    for file in written(Activity(seed), 5):
        key = KEY.fullmatch(file.key)

        assert key is not None
        expected = {(key["account"], key["region"])}
        records = json.loads(file.inflated)["Records"]
        assert expected == {(r["recipientAccountId"], r["awsRegion"]) for r in records}


def test_key_tells_the_time_of_delivery_in_utc() -> None:
    """
    Day folder and minute are those of the delivery, wherever its clock stands.
    """
    local = datetime(2026, 3, 2, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    key = Activity(1).log_file(local).key

    assert "/2026/03/01/" in key
    assert "_20260301T2330Z_" in key


def test_naive_time_is_refused() -> None:
    """
    A time without a zone would mean another one on another machine.
    """
    with pytest.raises(ValueError, match="time zone"):
        Activity(1).log_file(datetime(2026, 3, 1, 12, 0))  # noqa: DTZ001 - the point


def test_records_look_real() -> None:
    """
    No record lacks a field that all have; ids are unique, times lie before the delivery.
    """
    files = written(Activity(3), 20)
    records = records_of(files)

    assert [] == [record for record in records if not record.keys() >= REQUIRED]
    assert len(records) == len({record["eventID"] for record in records})
    for file in files:
        minute = file.key.split("_")[-2]
        delivered = datetime.strptime(minute, "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
        times = [datetime.fromisoformat(record["eventTime"]) for record in records_of([file])]
        # The key has whole minutes, the delivery happened within the one it names.
        assert delivered - timedelta(seconds=541) <= min(times)
        assert delivered + timedelta(seconds=50) >= max(times)


def test_files_are_compact_and_of_usual_size() -> None:
    """
    A file is one line without spaces, its records of about 1 to 1.7 kB, in no order of time.
    """
    files = written(Activity(4), 20, records=40)
    texts = [file.inflated for file in files]
    times = [[record["eventTime"] for record in records_of([file])] for file in files]

    assert all(text.startswith(b'{"Records":[{"eventVersion":"1.') for text in texts)
    assert not any(b"\n" in text for text in texts)
    assert 1000 < sum(map(len, texts)) / (20 * 40) < 1700
    assert all(file_times != sorted(file_times) for file_times in times)


def test_many_services_and_identities() -> None:
    """
    CodeCommit is one service among many, and callers are of many types.
    """
    records = records_of(written(Activity(5), 60))
    services = {record["eventSource"].removesuffix(".amazonaws.com") for record in records}
    types = {record["userIdentity"].get("type") for record in records}

    assert services >= {
        "codecommit",
        "ec2",
        "sts",
        "s3",
        "kms",
        "iam",
        "lambda",
        "dynamodb",
        "logs",
    }
    assert types >= {"IAMUser", "AssumedRole", "Root", "IdentityCenterUser", "AWSService", None}


@few
@given(seed=seeds, records=st.integers(0, 40), codecommit=st.sampled_from((0.0, 0.5, 1.0)))
def test_sizes_and_shares_are_kept(seed: int, records: int, codecommit: float) -> None:
    """
    A file has as many records as asked for, and all or none of CodeCommit's at the ends.
    """
    files = written(Activity(seed), 4, records=records, codecommit=codecommit)
    ours = len(codecommit_records(files))

    assert 4 * records == len(records_of(files))
    assert codecommit != 0 or ours == 0
    assert codecommit != 1 or ours == 4 * records


def test_other_organisations() -> None:
    """
    Accounts, Regions and the number of repositories are the caller's to say.
    """
    accounts, regions = [f"{n:012}" for n in range(1, 5)], ["eu-west-3"]
    activity = Activity(6, accounts=accounts, regions=regions, repositories=300)
    truth = truth_of(written(activity, 20, records=100, codecommit=1))

    assert set(accounts) == {labels[0] for _, labels in truth}
    assert {"eu-west-3"} == {labels[1] for _, labels in truth}
    assert 100 < len({labels[2] for _, labels in truth})


# The truth


@few
@given(seed=seeds, cross_account=st.booleans())
def test_truth_is_what_a_reader_counts(seed: int, cross_account: bool) -> None:
    """
    The truths of all files add up to what is in them, series by series.
    """
    activity = Activity(seed, cross_account=cross_account)
    files = written(activity, 15, records=25, codecommit=0.6)

    assert counted(files) == truth_of(files)


def test_truth_of_a_file_needs_no_other() -> None:
    """
    Without visits between accounts, a file read alone adds exactly its truth.
    """
    for file in written(Activity(7, cross_account=False), 40):
        assert counted([file]) == file.truth


def test_order_of_reading_does_not_matter() -> None:
    """
    Repeated files may be read before the ones they repeat.
    """
    activity = Activity(8)
    files = written(activity, 20)
    files += [activity.repeat(file, NOON) for file in files[::3]]
    Random(8).shuffle(files)  # noqa: S311 - any order will do

    assert counted(files) == truth_of(files)


def test_events_in_truth_are_the_records() -> None:
    """
    The sum over ``codecommit_events_total`` is the number of CodeCommit's records.
    """
    files = written(Activity(9, cross_account=False), 30)
    truth = truth_of(files)
    ids = {record["eventID"] for record in codecommit_records(files)}

    assert len(ids) == sum(count for (family, _), count in truth.items() if family == EVENTS)


def test_visits_between_accounts_are_told_twice() -> None:
    """
    Both accounts get a record, in files of their own, and it is one event of the owner's.
    """
    files = written(Activity(10), 80, codecommit=0.8)
    told: dict[str, list[Json]] = {}
    for record in codecommit_records(files):
        if "sharedEventID" in record:
            told.setdefault(record["sharedEventID"], []).append(record)
    pairs = [pair for pair in told.values() if len(pair) == 2]

    assert len(pairs) > 5
    for one, other in pairs:
        assert one["eventID"] != other["eventID"]
        assert one["recipientAccountId"] != other["recipientAccountId"]
        assert one["resources"] == other["resources"]


# CodeCommit's records


@pytest.fixture(scope="module")
def events() -> list[Json]:
    return codecommit_records(written(Activity(11), 40, records=60, codecommit=1))


def requests_of(events: list[Json], action: str, protocol: str) -> list[list[Json]]:
    """
    Successful Git requests, those of one run of Git together.
    """
    runs: dict[str, list[Json]] = {}
    for event in events:
        git = event.get("additionalEventData", {})
        if (event["eventName"], git.get("protocol")) == (action, protocol):
            runs.setdefault(event["requestID"], []).append(event)
    return [
        sorted(run, key=lambda event: event["additionalEventData"]["dataTransferred"])
        for run in runs.values()
        if not any("errorCode" in event for event in run)
    ]


def test_push_over_http_is_two_records(events: list[Json]) -> None:
    """
    The first asks and only reads, the second moves data and tells what it moved.
    """
    pairs = [run for run in requests_of(events, "GitPush", "HTTP") if len(run) == 2]

    assert pairs
    for asking, moving in pairs:
        assert asking["eventID"] != moving["eventID"]
        assert (True, None) == (asking["readOnly"], asking["requestParameters"])
        assert asking["additionalEventData"]["dataTransferred"] is False
        assert "capabilities" not in asking["additionalEventData"]
        assert moving["readOnly"] is False
        assert moving["requestParameters"]["references"]
        assert moving["additionalEventData"]["dataTransferred"] is True
        assert moving["additionalEventData"]["capabilities"]


def test_git_comes_in_all_forms(events: list[Json]) -> None:
    """
    Over HTTP as a pair or a lone question, over SSH always as one record.
    """
    sizes = {
        (action, protocol): {len(run) for run in requests_of(events, action, protocol)}
        for action in ("GitPull", "GitPush")
        for protocol in ("HTTP", "SSH")
    }

    assert {
        ("GitPull", "HTTP"): {1, 2},
        ("GitPush", "HTTP"): {1, 2},
        ("GitPull", "SSH"): {1},
        ("GitPush", "SSH"): {1},
    } == sizes


def test_pushes_move_everything_that_can_be_moved(events: list[Json]) -> None:
    """
    Branches, tags and other references are updated and deleted; some pushes tell none.
    """
    pushes = [run[-1] for run in requests_of(events, "GitPush", "SSH")]
    references = [
        reference
        for push in pushes
        for reference in (push["requestParameters"] or {}).get("references", ())
    ]
    kinds = {change_of(reference)[0] for reference in references}
    changes = {change_of(reference)[1] for reference in references}

    assert {"branch", "tag", "other"} == kinds
    assert {"update", "delete"} == changes
    assert any(push["requestParameters"] is None for push in pushes)


@pytest.mark.parametrize(
    "action",
    [
        *("GetBranch", "ListRepositories", "BatchGetRepositories", "GetRepository", "GetTree"),
        *("CreateRepository", "UpdateRepositoryName", "DeleteRepository", "CreateBranch"),
        *("PutFile", "CreateCommit", "DeleteBranch", "GetDifferences", "ListTagsForResource"),
        *("CreatePullRequest", "MergePullRequestBySquash", "UpdatePullRequestStatus"),
        *("UpdatePullRequestApprovalState", "PostCommentForPullRequest", "PostCommentReply"),
    ],
)
def test_action_is_among_the_calls(events: list[Json], action: str) -> None:
    """
    Every kind of call that names its repository in a way of its own is there.
    """
    successful = [e for e in events if e["eventName"] == action and "errorCode" not in e]

    assert successful


def test_ids_alone_name_no_repository(events: list[Json]) -> None:
    """
    Where a record has only an id, nothing else in it tells the repository.
    """
    by_id = [e for e in events if e["eventName"] in {"GetPullRequest", "PutCommentReaction"}]

    assert by_id
    assert {""} == {only_name(event) for event in by_id}


def test_denied_calls_tell_nothing() -> None:
    """
    A denial has neither a request nor resources, and its repository is empty.
    """
    file = Activity(12).log_file(NOON, records=50, codecommit=1, denied=1)
    records = records_of([file])

    assert {"AccessDenied"} == {record["errorCode"] for record in records}
    assert {None} == {record["requestParameters"] for record in records}
    assert not any("resources" in record for record in records)
    assert {""} == {labels[2] for _, labels in file.truth}


def test_denied_calls_are_as_many_as_asked_for() -> None:
    """
    The share of denied calls follows its argument.
    """
    activity = Activity(13)
    records = records_of(
        activity.log_file(NOON, records=100, codecommit=1, denied=0.5) for _ in range(5)
    )
    denied = [record for record in records if record.get("errorCode") == "AccessDenied"]

    assert 150 < len(denied) < 275


def test_mistyped_repositories_exist_nowhere(events: list[Json]) -> None:
    """
    No successful event and no ARN shows a name that a call could not find.
    """
    missing = {
        only_name(event)
        for event in events
        if event.get("errorCode") == "RepositoryDoesNotExistException"
    }

    assert missing
    assert set() == missing & {only_name(event) for event in events if teaches(event)}


def test_missing_branches_are_of_repositories_shown_beside() -> None:
    """
    A file with a failed call on an existing repository also shows that it exists.
    """
    failed = 0
    for file in written(Activity(14), 25, codecommit=0.8):
        ours = codecommit_records([file])
        shown = {only_name(event) for event in ours if teaches(event)}
        missing = [e for e in ours if e.get("errorCode") == "BranchDoesNotExistException"]
        failed += len(missing)

        assert {only_name(event) for event in missing} <= shown
    assert failed


def test_pull_requests_live_and_end() -> None:
    """
    Nothing is heard of a pull request before it is opened, nor after it is closed.
    """
    activity = Activity(15, accounts=["111122223333"], regions=["us-east-1"])
    hours = [NOON + timedelta(hours=n) for n in range(30)]
    heard: dict[str, list[str]] = {}
    opened: dict[str, str] = {}
    closed: dict[str, str] = {}
    files = [activity.log_file(hour, records=40, codecommit=1) for hour in hours]
    for event in records_of(files):
        answer = (event["responseElements"] or {}).get("pullRequest", {})
        number: str = {**answer, **(event["requestParameters"] or {})}.get("pullRequestId", "")
        if number and "errorCode" not in event:
            heard.setdefault(number, []).append(event["eventTime"])
        if event["eventName"] == "CreatePullRequest":
            opened[number] = event["eventTime"]
        elif answer.get("pullRequestStatus") == "CLOSED":
            closed[number] = event["eventTime"]

    assert opened == {number: min(times) for number, times in heard.items()}
    assert closed == {number: max(heard[number]) for number in closed}
    assert len(closed) > 5


# Look-alikes


def test_files_without_codecommit_may_mention_it() -> None:
    """
    Without CodeCommit events some files still hold the word, and most do not.
    """
    files = written(Activity(16), 60, codecommit=0)
    mentioning = [file for file in files if b"codecommit" in file.inflated]

    assert [] == codecommit_records(files)
    assert Counter() == truth_of(files)
    assert 0 < len(mentioning) < len(files) / 2


def test_kms_works_for_codecommit() -> None:
    """
    Keys are used on CodeCommit's behalf, with the id of a repository as a context's value.
    """
    records = records_of(written(Activity(17), 40))
    ids = {
        record["additionalEventData"]["repositoryId"]
        for record in records
        if "repositoryId" in record.get("additionalEventData", {})
    }
    kms = [r for r in records if r["userIdentity"].get("invokedBy") == CODECOMMIT]

    assert {"kms.amazonaws.com"} == {record["eventSource"] for record in kms}
    assert {CODECOMMIT} == {record["sourceIPAddress"] for record in kms}
    values = {
        value
        for record in kms
        for value in record["requestParameters"]["encryptionContext"].values()
    }
    assert values & ids


def test_text_may_look_like_structure() -> None:
    """
    Strings hold braces, escaped quotes, JSON of their own and letters beyond ASCII.
    """
    text = b"".join(file.inflated for file in written(Activity(18), 80))

    assert b'\\"codecommit:GitPull\\"' in text
    assert b'{\\"source\\": [\\"aws.codecommit\\"]' in text
    assert b'\\"{name}\\", not }]' in text
    assert "Grüße".encode() in text


# Faults


def test_repeat_is_the_same_again() -> None:
    """
    A repeated file has a key of its own, the same records, and adds nothing.
    """
    activity = Activity(19)
    file = activity.log_file(NOON, records=30)
    repeated = activity.repeat(file, NOON + timedelta(hours=1))

    assert Counter() == repeated.truth
    assert "_20260301T1300Z_" in repeated.key
    assert file.key.split("/")[:4] == repeated.key.split("/")[:4]
    by_id = sorted(records_of([file]), key=lambda record: str(record["eventID"]))
    assert by_id == sorted(records_of([repeated]), key=lambda record: str(record["eventID"]))


@few
@given(seed=seeds, records=st.integers(1, 30))
def test_truncated_ends_inside_the_stream(seed: int, records: int) -> None:
    """
    A truncated file is a gzip stream without its end, under a key of its own.
    """
    activity = Activity(seed)
    file = activity.log_file(NOON, records=records)
    truncated = activity.truncated(file)

    assert Counter() == truncated.truth
    assert truncated.key != file.key
    assert KEY.fullmatch(truncated.key)
    assert file.body.startswith(truncated.body)
    with pytest.raises(EOFError):
        gzip.decompress(truncated.body)
