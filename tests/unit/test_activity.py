"""
The invented activity is what it says it is: read back without the exporter, by the oracle.
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
    CALLER_EVENTS,
    CODECOMMIT,
    ERRORS,
    EVENTS,
    KMS_REQUESTS,
    PULL_REQUEST_EVENTS,
    PUSHES,
    REFERENCE_UPDATES,
    Activity,
    Series,
    WrittenLogFile,
)
from tests import oracle

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FAMILIES = frozenset(
    (
        *(EVENTS, ERRORS, PUSHES, REFERENCE_UPDATES),
        *(PULL_REQUEST_EVENTS, CALLER_EVENTS, KMS_REQUESTS),
    )
)
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

BY_ID = {
    *("GetPullRequest", "UpdatePullRequestApprovalState", "OverridePullRequestApprovalRules"),
    *("PostCommentReply", "PutCommentReaction", "GetComment"),
}
"""Actions whose records hold no name (CodeCommit API reference)."""

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


def counted(files: Iterable[WrittenLogFile]) -> Counter[Series]:
    """
    What one would count who reads the files in this order with the plain json module.
    """
    totals = oracle.count(file.inflated.decode() for file in files)
    return Counter(
        {
            (family, labels): int(count)
            for family in FAMILIES
            for labels, count in totals[family].items()
        }
    )


def name_in(event: Json) -> str:
    """
    The repository that the record itself names.
    """
    return oracle.repository_of(event).name


def names_shown(events: Iterable[Json]) -> set[str]:
    return {repository.name for event in events for repository in oracle.shown_by(event)} - {""}


def owners(records: Iterable[Json]) -> dict[oracle.Id, set[str]]:
    """
    The repositories that successful events name beside each id.
    """
    found: dict[oracle.Id, set[str]] = {}
    for event in records:
        if event["eventSource"] == CODECOMMIT and not event.get("errorCode") and name_in(event):
            for one in oracle.ids_of(event):
                found.setdefault(one, set()).add(name_in(event))
    return found


def key_requests(records: Iterable[Json]) -> list[Json]:
    """
    What CodeCommit asked of KMS.
    """
    return [record for record in records if oracle.is_kms_request(record)]


def context_of(record: Json) -> list[str]:
    return list((record["requestParameters"] or {}).get("encryptionContext", {}).values())


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


@few
@given(seed=seeds)
def test_truth_of_a_file_needs_no_other(seed: int) -> None:
    """
    Without visits between accounts, a file read alone adds exactly its truth.
    """
    for file in written(Activity(seed, cross_account=False), 8, codecommit=0.7):
        assert counted([file]) == file.truth


@few
@given(seed=seeds, order=st.randoms(use_true_random=False))
def test_order_of_reading_does_not_matter(seed: int, order: Random) -> None:
    """
    Repeated files may be read before the ones they repeat, and the end of things first.
    """
    activity = Activity(seed)
    files = written(activity, 15, codecommit=0.6)
    files += [activity.repeat(file, NOON) for file in files[::3]]
    order.shuffle(files)

    assert counted(files) == truth_of(files)


def test_truth_has_all_that_is_counted() -> None:
    """
    Every kind of pull-request event, of caller and of request to KMS is in it.
    """
    truth = truth_of(written(Activity(20), 150, codecommit=0.6))
    values = {
        family: {labels[3:] for name, labels in truth if name == family} for family in FAMILIES
    }
    key_requests_of = {
        (bool(labels[2]), bool(labels[4])) for family, labels in truth if family == KMS_REQUESTS
    }

    assert {
        *("created", "merged", "closed", "reopened"),
        *("approved", "approval_revoked", "overridden", "commented"),
    } == {event for (event,) in values[PULL_REQUEST_EVENTS]}
    assert {
        ("Root", "root"),
        ("IAMUser", "long_term"),
        ("IAMUser", "temporary"),
        ("AssumedRole", "temporary"),
        ("IdentityCenterUser", "temporary"),
        ("AWSService", "aws_service"),
        ("AWSAccount", "unknown"),
        ("(invalid)", "aws_service"),
    } == values[CALLER_EVENTS]
    assert {(named, failed) for named in (True, False) for failed in (True, False)} == (
        key_requests_of
    )


def test_every_event_has_one_caller() -> None:
    """
    The callers of a repository are as many as its events.
    """
    truth = truth_of(written(Activity(21), 20, codecommit=0.6))
    by_repository: dict[str, Counter[tuple[str, ...]]] = {
        EVENTS: Counter(),
        CALLER_EVENTS: Counter(),
    }
    for (family, labels), count in truth.items():
        if family in by_repository:
            by_repository[family][labels[:3]] += count

    assert by_repository[EVENTS] == by_repository[CALLER_EVENTS]


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
        own = {"eventID", "recipientAccountId"}
        assert own == {field for field in one if one[field] != other[field]}


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
    kinds = {oracle.ref_type(reference["ref"]) for reference in references}
    changes = {oracle.change(reference["commit"]) for reference in references}

    assert {"branch", "tag", "other"} == kinds
    assert {"update", "delete"} == changes
    assert any(push["requestParameters"] is None for push in pushes)


@pytest.mark.parametrize(
    "action",
    [
        *("GetBranch", "ListRepositories", "BatchGetRepositories", "GetRepository", "GetTree"),
        *("CreateRepository", "UpdateRepositoryName", "DeleteRepository", "CreateBranch"),
        *("PutFile", "CreateCommit", "DeleteBranch", "GetDifferences", "ListTagsForResource"),
        *("CreatePullRequest", "UpdatePullRequestStatus", "MergePullRequestByFastForward"),
        *("MergePullRequestBySquash", "MergePullRequestByThreeWay", "DescribePullRequestEvents"),
        *("UpdatePullRequestApprovalState", "OverridePullRequestApprovalRules"),
        *("PostCommentForPullRequest", "PostCommentForComparedCommit", "PostCommentReply"),
        *("PutCommentReaction", "GetComment"),
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
    by_id = [e for e in events if e["eventName"] in BY_ID]

    assert BY_ID == {event["eventName"] for event in by_id}
    assert {""} == {name_in(event) for event in by_id}


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
        name_in(event)
        for event in events
        if event.get("errorCode") == "RepositoryDoesNotExistException"
    }

    assert missing
    assert set() == missing & names_shown(events)


def test_missing_branches_are_of_repositories_shown_beside() -> None:
    """
    A file with a failed call on an existing repository also shows that it exists.
    """
    failed = 0
    for file in written(Activity(14), 25, codecommit=0.8):
        ours = codecommit_records([file])
        missing = [e for e in ours if e.get("errorCode") == "BranchDoesNotExistException"]
        failed += len(missing)

        assert {name_in(event) for event in missing} <= names_shown(ours)
    assert failed


@few
@given(seed=seeds)
def test_ids_are_shown_in_their_file_or_nowhere(seed: int) -> None:
    """
    Whatever an id belongs to, its file says so, before or after; or no file ever does.
    """
    files = written(Activity(seed), 15, codecommit=0.6)
    everywhere = {one.text for one in owners(records_of(files))}
    for file in files:
        records = records_of([file])
        here = {one.text for one in owners(records)}
        asked = {one.text for event in codecommit_records([file]) for one in oracle.ids_of(event)}
        asked |= {value for request in key_requests(records) for value in context_of(request)}

        assert asked & everywhere == asked & here


def test_ids_belong_to_one_repository() -> None:
    """
    Only the sandbox's own id is ever seen under several names.
    """
    found = owners(records_of(written(Activity(22), 80, codecommit=0.8)))
    renamed = {one: names for one, names in found.items() if len(names) > 1}

    assert {"pull request", "comment", "repository"} == {one.kind for one in found}
    assert {"repository"} == {one.kind for one in renamed}
    assert all(name.startswith("sandbox-") for names in renamed.values() for name in names)


def test_nothing_is_asked_of_the_sandbox_by_id() -> None:
    """
    What is renamed has neither pull requests nor comments, and KMS never hears of it.
    """
    records = records_of(written(Activity(23), 80, codecommit=0.8))
    found = owners(records)
    sandbox = {one for one, names in found.items() if any(n.startswith("sandbox-") for n in names)}
    asked = {value for request in key_requests(records) for value in context_of(request)}

    assert {"repository"} == {one.kind for one in sandbox}
    assert set() == asked & {one.text for one in sandbox}


def test_comments_are_answered_beside_them(events: list[Json]) -> None:
    """
    On pull requests and on commits, and answers are answered; some began before the trail.
    """
    posted = {
        event["responseElements"]["comment"]["commentId"]: event["eventName"]
        for event in events
        if event["eventName"].startswith("PostComment")
    }
    answered = [
        event["requestParameters"]["inReplyTo"]
        for event in events
        if event["eventName"] == "PostCommentReply"
    ]

    assert {
        "PostCommentForPullRequest",
        "PostCommentForComparedCommit",
        "PostCommentReply",
        None,
    } == {posted.get(comment) for comment in answered}


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

    What CodeCommit asks of KMS in them is of repositories that nobody knows.
    """
    files = written(Activity(16), 60, codecommit=0)
    mentioning = [file for file in files if b"codecommit" in file.inflated]

    assert [] == codecommit_records(files)
    assert {(KMS_REQUESTS, "")} == {(family, labels[2]) for family, labels in truth_of(files)}
    assert 0 < len(mentioning) < len(files) / 2


def test_kms_works_for_codecommit() -> None:
    """
    Keys are used for CodeCommit, as one field or two say, with a repository's id as a value.
    """
    records = records_of(written(Activity(17), 60, codecommit=0.5))
    requests = key_requests(records)
    ids = {one.text for one in owners(records) if one.kind == "repository"}
    asked = {value for request in requests for value in context_of(request)}

    assert asked & ids
    assert {CODECOMMIT} == {request["sourceIPAddress"] for request in requests}
    assert {CODECOMMIT, None} == {r["userIdentity"].get("invokedBy") for r in requests}
    assert {None, "AccessDenied", "DisabledException"} == {r.get("errorCode") for r in requests}


def test_keys_used_by_hand_are_not_codecommits() -> None:
    """
    Whoever names a repository's id to KMS is somebody else, unless CodeCommit made the call.
    """
    records = records_of(written(Activity(24), 60))
    by_hand = [
        record
        for record in records
        if record["eventSource"] == "kms.amazonaws.com"
        and "aws:codecommit:id" in (record["requestParameters"] or {}).get("encryptionContext", {})
        and record["sourceIPAddress"] != CODECOMMIT
    ]

    assert by_hand
    assert [] == key_requests(by_hand)


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
