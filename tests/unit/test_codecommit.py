"""
What one CloudTrail record says: labels, the repository, identities, references.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from exporter.codecommit import (
    Event,
    IdKind,
    PullRequestStep,
    Reference,
    Repository,
    Subject,
    event,
    is_codecommit_event,
)
from exporter.fields import INVALID
from exporter.records import told as told_of
from tests.records import (
    OWNER,
    PERSONAL,
    REGION,
    Record,
    api_call,
    denied,
    documentation_samples,
    git,
    push,
    record,
)

OTHER = "123412341234"
"""An account that owns nothing here."""

TOOLS = Repository(OWNER, REGION, "tools")

quickly = settings(max_examples=150, deadline=None)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(("tools", "GitPush", "HTTP", OWNER, REGION, f"arn:aws:codecommit:{REGION}")),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(("repositoryName", "references", "ref", "ARN", "accountId"))
            | st.text(),
            children,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def arn(name: str, *, account: str = OWNER, service: str = "codecommit") -> str:
    return f"arn:aws:{service}:{REGION}:{account}:{name}"


def place(name: str, value: Any) -> Record:
    """
    The fields that put a repository's name, or something odd, into one place of a record.
    """
    as_arn = arn(value) if isinstance(value, str) else value
    fields: dict[str, Record] = {
        "additionalEventData": {"additionalEventData": {"repositoryName": value}},
        "repositoryName": {"requestParameters": {"repositoryName": value}},
        "repositoryNames": {"requestParameters": {"repositoryNames": [value]}},
        "targets": {"requestParameters": {"targets": [{"repositoryName": value}]}},
        "resourceArn": {"requestParameters": {"resourceArn": as_arn}},
        "oldName": {"requestParameters": {"oldName": value}},
        "repositoryMetadata": {
            "responseElements": {"repositoryMetadata": {"repositoryName": value}}
        },
        "pullRequestTargets": {
            "responseElements": {"pullRequest": {"pullRequestTargets": [{"repositoryName": value}]}}
        },
        "resources": {"resources": [{"ARN": as_arn}]},
    }
    return fields[name]


PLACES = (
    "additionalEventData",
    "repositoryName",
    "repositoryNames",
    "targets",
    "resourceArn",
    "oldName",
    "repositoryMetadata",
    "pullRequestTargets",
    "resources",
)
"""Where a name may be, the first that is present deciding."""


def filled(names: dict[str, Any]) -> Record:
    """
    A record with names in several places.
    """
    result = record("SomeCall")
    for where, name in names.items():
        for field, members in place(where, name).items():
            known = result.get(field)
            result[field] = known | members if isinstance(known, dict) else members
    return result


def name_of(given_record: Record) -> str:
    return event(given_record).repository.name


@pytest.mark.parametrize("where", PLACES)
def test_a_name_is_found_wherever_it_is(where: str) -> None:
    """
    Each place alone names the repository.
    """
    assert "tools" == name_of(filled({where: "tools"}))


@pytest.mark.parametrize("first", range(len(PLACES)), ids=PLACES)
def test_the_first_place_decides(first: int) -> None:
    """
    With a name in every later place as well, the first one counts.
    """
    names = {where: f"name-in-{where}" for where in reversed(PLACES[first:])}

    assert f"name-in-{PLACES[first]}" == name_of(filled(names))


@pytest.mark.parametrize("where", PLACES[:-1])
@pytest.mark.parametrize("odd", ["", None, 27, 2.5, True, ["other"], {"name": "other"}], ids=repr)
def test_a_name_of_another_type_is_not_there(where: str, odd: object) -> None:
    """
    What is no text, or empty, does not stand in the way of the next place.
    """
    assert "tools" == name_of(filled({where: odd, "resources": "tools"}))


@pytest.mark.parametrize("where", PLACES)
def test_an_impossible_name_is_empty(where: str) -> None:
    """
    A place that has a name decides, also if no repository can be called so.
    """
    names: dict[str, Any] = {"resources": "tools", where: "no such/repository"}

    assert "" == name_of(filled(names))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"requestParameters": {"repositoryNames": ["tools", "other"]}}, ""),
        ({"requestParameters": {"repositoryNames": ["tools", "tools"]}}, "tools"),
        ({"requestParameters": {"repositoryNames": ["tools", None, 5, ""]}}, "tools"),
        ({"requestParameters": {"repositoryNames": []}}, "named-by-arn"),
        ({"requestParameters": {"repositoryNames": "tools"}}, "named-by-arn"),
        (
            {
                "requestParameters": {
                    "targets": [{"repositoryName": "tools"}, {"repositoryName": "other"}]
                }
            },
            "",
        ),
        ({"requestParameters": {"targets": [{"repositoryName": "tools"}] * 2}}, "tools"),
        ({"requestParameters": {"targets": ["x", None, {"repositoryName": "tools"}]}}, "tools"),
        (
            {
                "responseElements": {
                    "pullRequest": {
                        "pullRequestTargets": [
                            {"repositoryName": "tools"},
                            {"repositoryName": "other"},
                        ]
                    }
                }
            },
            "",
        ),
        ({"resources": [{"ARN": arn("tools")}, {"ARN": arn("other")}]}, ""),
        ({"resources": [{"ARN": arn("tools")}, {"ARN": arn("tools")}]}, "tools"),
    ],
)
def test_several_names_are_none(fields: Record, expected: str) -> None:
    """
    Several distinct names in the place that decides leave the label empty.
    """
    by_arn = {"resources": [{"ARN": arn("named-by-arn")}]}

    assert expected == name_of(record("SomeCall", **(by_arn | fields)))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"ARN": f"arn:aws-cn:codecommit:cn-north-1:{OWNER}:tools"}, "tools"),
        ({"ARN": f"arn:aws-us-gov:codecommit:us-gov-west-1:{OWNER}:tools"}, "tools"),
        ({"ARN": arn("tools"), "type": None}, "tools"),
        ({"ARN": arn("tools", service="codebuild")}, ""),
        ({"ARN": f"arn:aws:kms:{REGION}:{OWNER}:key/0a1b2c3d"}, ""),
        ({"ARN": f"arn:aws:codecommit:{REGION}:{OWNER}"}, ""),
        ({"ARN": arn("tools:more")}, ""),
        ({"ARN": f"see {arn('tools')}"}, ""),
        ({"ARNPrefix": arn("tools"), "accountId": OWNER}, ""),
        ({"ARN": None}, ""),
        (arn("tools"), ""),
        (None, ""),
    ],
)
def test_only_a_whole_codecommit_arn_names_a_repository(entry: object, expected: str) -> None:
    """
    Partition and type do not matter; the service and the six parts of the ARN do.
    """
    assert expected == name_of(record("SomeCall", resources=[entry]))


def test_a_resource_arn_of_another_service_names_no_repository() -> None:
    """
    ``resourceArn`` is looked at in the same way.
    """
    parameters = {"resourceArn": arn("tools", service="codepipeline")}

    assert "" == name_of(record("TagResource", requestParameters=parameters))


@pytest.mark.parametrize(
    ("resources", "recipient", "expected"),
    [
        ([{"ARN": arn("tools"), "accountId": OWNER}], OTHER, OWNER),
        ([{"ARN": arn("tools", account=OTHER), "accountId": OWNER}], OTHER, OWNER),
        ([{"ARN": arn("tools")}], OTHER, OWNER),
        ([{"ARN": arn("tools"), "accountId": "12"}], OTHER, INVALID),
        ([{"ARN": arn("tools"), "accountId": int(OTHER)}], OTHER, OWNER),
        ([{"ARN": arn("tools", account="")}], OTHER, OTHER),
        ([{"ARN": arn("tools", account="x"), "accountId": None}], OTHER, INVALID),
        ([{"ARN": f"arn:aws:kms:{REGION}:{OWNER}:key/1", "accountId": OWNER}], OTHER, OTHER),
        (
            [
                {"ARN": f"arn:aws:kms:{REGION}:{OTHER}:key/1", "accountId": OTHER},
                {"ARN": arn("tools"), "accountId": OWNER},
            ],
            OTHER,
            OWNER,
        ),
        ([], OWNER, OWNER),
        (None, OWNER, OWNER),
        ("arn", OWNER, OWNER),
        ([], None, INVALID),
        ([], int(OWNER), INVALID),
        ([], OWNER + "\n", INVALID),
        ([], "\N{DEVANAGARI DIGIT ONE}" * 12, INVALID),
        ([{"ARN": arn("tools", account="x"), "accountId": "y"}], "z", INVALID),
    ],
)
def test_the_account_is_the_one_that_owns_the_repository(
    resources: object, recipient: object, expected: str
) -> None:
    """
    The CodeCommit resource tells it, by accountId or ARN; else who received the record.

    As with the repository, the first place that has one decides, also where it is invalid.

    The caller's account, a valid one in each of these, is never asked.
    """
    told = event(record("GetBranch", resources=resources, recipientAccountId=recipient))

    assert expected == told.repository.account_id


@pytest.mark.parametrize(
    ("field", "value", "label", "expected"),
    [
        ("awsRegion", "us-gov-west-1", "aws_region", "us-gov-west-1"),
        ("awsRegion", "a" * 32, "aws_region", "a" * 32),
        ("awsRegion", "a" * 33, "aws_region", INVALID),
        ("awsRegion", "EU-CENTRAL-1", "aws_region", INVALID),
        ("awsRegion", "", "aws_region", INVALID),
        ("awsRegion", None, "aws_region", INVALID),
        ("awsRegion", ["eu-central-1"], "aws_region", INVALID),
        ("eventName", "NotYetDocumented", "action", "NotYetDocumented"),
        ("eventName", "a.b:c-d_e" + "f" * 55, "action", "a.b:c-d_e" + "f" * 55),
        ("eventName", "f" * 65, "action", INVALID),
        ("eventName", "Get Branch", "action", INVALID),
        ("eventName", "GetBranch\n", "action", INVALID),
        ("eventName", "GetBränch", "action", INVALID),
        ("eventName", "", "action", INVALID),
        ("eventName", None, "action", INVALID),
        ("eventName", 5, "action", INVALID),
        ("errorCode", "Client.Unauthorized:X", "error_code", "Client.Unauthorized:X"),
        ("errorCode", "e" * 65, "error_code", INVALID),
        ("errorCode", "no access", "error_code", INVALID),
        ("errorCode", 403, "error_code", INVALID),
        ("errorCode", {}, "error_code", INVALID),
        ("errorCode", "", "error_code", ""),
        ("errorCode", None, "error_code", ""),
        ("additionalEventData", {"protocol": "SSH"}, "protocol", "SSH"),
        ("additionalEventData", {"protocol": "p" * 16}, "protocol", "p" * 16),
        ("additionalEventData", {"protocol": "p" * 17}, "protocol", INVALID),
        ("additionalEventData", {"protocol": "HTTP/2"}, "protocol", INVALID),
        ("additionalEventData", {"protocol": 2}, "protocol", INVALID),
        ("additionalEventData", {"protocol": ""}, "protocol", ""),
        ("additionalEventData", {"protocol": None}, "protocol", ""),
        ("additionalEventData", {}, "protocol", ""),
        ("additionalEventData", None, "protocol", ""),
        ("additionalEventData", "SSH", "protocol", ""),
        ("additionalEventData", {"dataTransferred": True}, "data_transferred", "true"),
        ("additionalEventData", {"dataTransferred": False}, "data_transferred", "false"),
        ("additionalEventData", {"dataTransferred": "true"}, "data_transferred", ""),
        ("additionalEventData", {"dataTransferred": 1}, "data_transferred", ""),
        ("additionalEventData", {"dataTransferred": 0}, "data_transferred", ""),
        ("additionalEventData", {"dataTransferred": [True]}, "data_transferred", ""),
        ("additionalEventData", {"dataTransferred": None}, "data_transferred", ""),
        ("additionalEventData", None, "data_transferred", ""),
    ],
)
def test_each_label_has_its_bounds(field: str, value: object, label: str, expected: str) -> None:
    """
    A value is shown as it stands, or as the stand-in when it is out of bounds.
    """
    told = event(record("GetBranch", **{field: value}))
    labels = told.repository._asdict() | {
        name: getattr(told, name)
        for name in ("action", "error_code", "protocol", "data_transferred")
    }

    assert expected == labels[label]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", "a"),
        ("A-z_0.9", "A-z_0.9"),
        ("n" * 100, "n" * 100),
        ("n" * 101, ""),
        ("..", ".."),
        ("with space", ""),
        ("path/to", ""),
        ("tools\n", ""),
        ("tööls", ""),
        ('x"} 1\n', ""),
        ("\ud800", ""),
    ],
)
def test_a_repository_name_has_its_bounds(name: str, expected: str) -> None:
    """
    What CodeCommit does not allow as a name is empty.
    """
    told = event(api_call("GetBranch", name))

    assert expected == told.repository.name
    assert ({told.repository} if expected else set()) == told.shows


def test_absent_fields_have_their_stand_ins() -> None:
    """
    A record that says nothing but whose it is is an event all the same.
    """
    told = event({"eventSource": "codecommit.amazonaws.com"})

    assert Repository(INVALID, INVALID, "") == told.repository
    assert (INVALID, "", "", "") == (
        told.action,
        told.protocol,
        told.data_transferred,
        told.error_code,
    )
    assert (None, None, "", 1) == (told.time_ms, told.references, told.event_id, len(told.ids))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"eventCategory": "Management"}, True),
        ({"eventCategory": None}, True),
        ({"eventCategory": "Insight"}, False),
        ({"eventCategory": "NetworkActivity"}, False),
        ({"eventCategory": "Aggregated"}, False),
        ({"eventCategory": "Data"}, False),
        ({"eventCategory": "management"}, False),
        ({"eventCategory": ""}, False),
        ({"eventCategory": ["Management"]}, False),
        ({"eventSource": "kms.amazonaws.com"}, False),
        ({"eventSource": "codecommit.amazonaws.com.cn"}, False),
        ({"eventSource": "CodeCommit.amazonaws.com"}, False),
        ({"eventSource": ["codecommit.amazonaws.com"]}, False),
        ({"eventSource": None}, False),
    ],
)
def test_only_management_records_of_codecommit_are_events(fields: Record, expected: bool) -> None:
    """
    The source must be CodeCommit's, the category Management or none.
    """
    assert expected == is_codecommit_event(told_of(record("GetBranch", **fields)))


@pytest.mark.parametrize("absent", ["eventCategory", "eventSource"])
def test_the_category_may_be_absent_and_the_source_not(absent: str) -> None:
    """
    Records of earlier versions have no category.
    """
    told = record("GetBranch")
    del told[absent]

    assert (absent == "eventCategory") == is_codecommit_event(told_of(told))


EVENT_ID = "0F7C2A55-61f6-4b0c-8f4e-b4e3a1e0c001"
ORIGINAL_ID = "1f7c2a55-61f6-4b0c-8f4e-b4e3a1e0c002"
SHARED_ID = "2f7c2a55-61f6-4b0c-8f4e-b4e3a1e0c003"


def test_an_event_has_every_id_of_its_record() -> None:
    """
    The eventID and the original's are their UUIDs; a shared one is an identity of its own.
    """
    told = event(
        record(
            "GetBranch",
            eventID=EVENT_ID,
            addendum={"originalEventID": ORIGINAL_ID},
            sharedEventID=SHARED_ID,
        )
    )

    assert EVENT_ID.lower() == told.event_id
    assert {UUID(EVENT_ID).bytes, UUID(ORIGINAL_ID).bytes} < set(told.ids)
    assert UUID(SHARED_ID).bytes not in told.ids
    assert (3, {16}) == (len(told.ids), {len(identity) for identity in told.ids})


def test_case_makes_no_other_id() -> None:
    """
    A UUID is the same in capitals, in each place.
    """
    lower, upper = (
        event(
            record(
                "GetBranch",
                eventID=spell(EVENT_ID),
                addendum={"originalEventID": spell(ORIGINAL_ID)},
                sharedEventID=spell(SHARED_ID),
            )
        )
        for spell in (str.lower, str.upper)
    )

    assert lower.ids == upper.ids


def test_an_id_told_twice_is_one() -> None:
    """
    An addendum may name the record's own id.
    """
    told = record("GetBranch", eventID=ORIGINAL_ID, addendum={"originalEventID": ORIGINAL_ID})

    assert (UUID(ORIGINAL_ID).bytes,) == event(told).ids


@pytest.mark.parametrize(
    "identity",
    [
        "740f179d-EXAMPLE",
        EVENT_ID.replace("-", ""),
        f"{{{EVENT_ID}}}",
        f"urn:uuid:{EVENT_ID}",
        EVENT_ID + "\n",
        EVENT_ID[:-1] + "g",
        EVENT_ID[:-1] + "\N{ARABIC-INDIC DIGIT ONE}",
        "",
        None,
        5,
        [EVENT_ID],
    ],
)
def test_what_is_no_uuid_is_no_id(identity: object) -> None:
    """
    In each place only a plainly written UUID counts; the record's text is the id then.
    """
    fields: Record = {
        "eventID": identity,
        "sharedEventID": identity,
        "addendum": {"originalEventID": identity},
    }
    one = record("GetBranch", **fields, requestID="1", eventTime="2026-09-21T12:00:00Z")
    other = one | {"requestID": "2"}

    assert ("", 1) == (event(one).event_id, len(event(one).ids))
    assert event(one).ids == event(dict(reversed(one.items()))).ids
    assert event(one).ids != event(other).ids


def test_one_uuid_is_enough() -> None:
    """
    Beside a UUID of any kind the record's text is not asked for.
    """
    one, other = (
        event(record("GetBranch", eventID="740f-EXAMPLE", sharedEventID=SHARED_ID, requestID=text))
        for text in ("1", "2")
    )

    assert one.ids == other.ids


@pytest.mark.parametrize("field", ["sharedEventID", "eventSource", "eventName"])
def test_a_shared_id_is_one_with_source_and_name(field: str) -> None:
    """
    Another shared id, source or name is another identity.
    """
    one = record("GetBranch", eventID=None, sharedEventID=SHARED_ID)
    other = one | {field: ORIGINAL_ID}

    assert set(event(one).ids).isdisjoint(event(other).ids)


def test_the_guides_samples_are_six_events() -> None:
    """
    Records that share an eventID that is no UUID are told apart by their text.
    """
    ids = {identity for sample in documentation_samples() for identity in event(sample).ids}

    assert 6 == len(ids)


@pytest.mark.parametrize(
    ("ref", "commit", "expected"),
    [
        ("refs/heads/main", "2167ac04" * 5, Reference("branch", "update")),
        ("refs/heads/main", "0" * 40, Reference("branch", "delete")),
        ("refs/heads/main", "0" * 64, Reference("branch", "delete")),
        ("refs/heads/main", "0" * 39 + "1", Reference("branch", "update")),
        ("refs/heads/main", "", Reference("branch", "update")),
        ("refs/heads/main", None, Reference("branch", "update")),
        ("refs/heads/main", 0, Reference("branch", "update")),
        ("refs/tags/v1", "2167ac04" * 5, Reference("tag", "update")),
        ("refs/tags/v1", "0" * 40, Reference("tag", "delete")),
        ("refs/notes/commits", "2167ac04" * 5, Reference("other", "update")),
        ("refs/headsman", "2167ac04" * 5, Reference("other", "update")),
        ("main", "0" * 40, Reference("other", "delete")),
        ("x refs/tags/v1", "2167ac04" * 5, Reference("other", "update")),
        ("", "2167ac04" * 5, Reference("other", "update")),
        (None, "2167ac04" * 5, Reference("other", "update")),
        (["refs/heads/main"], "2167ac04" * 5, Reference("other", "update")),
    ],
)
def test_a_reference_has_a_type_and_a_change(ref: object, commit: object, expected: object) -> None:
    """
    The type follows from where the reference is; a commit of zeros is a deletion.
    """
    parameters = {"references": [{"ref": ref, "commit": commit}]}

    assert (expected,) == event(record("GitPush", requestParameters=parameters)).references


def test_references_keep_their_number() -> None:
    """
    Each entry is one reference, also an odd one.
    """
    entries: list[Any] = [{"ref": "refs/heads/a", "commit": "1"}, "refs/heads/b", None, {}, []]
    told = event(record("GitPush", requestParameters={"references": entries}))
    odd = Reference("other", "update")

    assert (Reference("branch", "update"), odd, odd, odd, odd) == told.references


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (None, None),
        ("references", None),
        ({}, None),
        ({"omitted": True}, None),
        ({"references": None}, None),
        ({"references": "refs/heads/main"}, None),
        ({"references": {"ref": "refs/heads/main"}}, None),
        ({"references": []}, ()),
    ],
)
def test_references_that_were_left_out_are_unknown(parameters: object, expected: object) -> None:
    """
    CloudTrail leaves large request parameters out: that is unknown, not none.
    """
    assert expected == event(record("GitPush", requestParameters=parameters)).references


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (push("tools", "refs/heads/main"), True),
        (push("tools"), True),
        (push("tools", errorCode=""), True),
        (git("GitPush", "tools", moved=False), False),
        (git("GitPull", "tools", moved=True), False),
        (push("tools", errorCode="AccessDenied"), False),
        (push("tools", errorCode=403), False),
        (push("tools") | {"additionalEventData": {"dataTransferred": "true"}}, False),
        (push("tools") | {"eventName": "gitpush"}, False),
        (record("GitPush"), False),
    ],
)
def test_a_push_moved_data_and_succeeded(told: Record, expected: bool) -> None:
    """
    Everything else of a push is an event, and no push.
    """
    assert expected == event(told).is_push


DELETED = {"repositoryId": "0a1b"}


@pytest.mark.parametrize(
    ("told", "proven", "shown"),
    [
        (api_call("PutFile", "tools"), True, {"tools"}),
        (record("ListRepositories"), True, set()),
        (denied("PutFile", "tools"), False, set()),
        (api_call("PutFile", "tools", errorCode=500), False, set()),
        (git("GitPull", "tools", moved=False, errorCode="AccessDenied"), False, {"tools"}),
        (api_call("DeleteRepository", "tools", responseElements=DELETED), True, {"tools"}),
        (api_call("DeleteRepository", "tools", responseElements={}), False, set()),
        (api_call("DeleteRepository", "tools", responseElements=None), False, set()),
        (
            api_call("DeleteRepository", "tools", responseElements={"repositoryId": None}),
            False,
            set(),
        ),
        (
            api_call("DeleteRepository", "tools", responseElements=DELETED, errorCode="Denied"),
            False,
            set(),
        ),
        (
            api_call("DeleteRepository", "tools", resources=[{"ARN": arn("tools")}]),
            False,
            {"tools"},
        ),
        (
            record(
                "UpdateRepositoryName",
                requestParameters={"oldName": "tools", "newName": "better-tools"},
            ),
            True,
            {"tools", "better-tools"},
        ),
        (
            record(
                "UpdateRepositoryName",
                requestParameters={"oldName": "tools", "newName": "better-tools"},
                errorCode="RepositoryNameExistsException",
            ),
            False,
            set(),
        ),
        (
            record(
                "UpdateRepositoryName",
                requestParameters={"oldName": "tools", "newName": "not allowed"},
            ),
            True,
            {"tools"},
        ),
        (
            record(
                "BatchGetRepositories",
                requestParameters={"repositoryNames": ["tools", "other"]},
                resources=[{"ARN": arn("tools")}, {"ARN": arn("not/allowed")}],
            ),
            True,
            {"tools"},
        ),
    ],
)
def test_success_and_resource_arns_show_repositories(
    told: Record, proven: bool, shown: set[str]
) -> None:
    """
    A failed request proves nothing of what it names, nor does a deletion of nothing.
    """
    assert proven == event(told).proven
    assert {TOOLS._replace(name=name) for name in shown} == event(told).shows


def test_a_record_shows_a_repository_where_it_lives() -> None:
    """
    A resource ARN tells account and Region as well; the caller's are another matter.
    """
    told = record(
        "GetBranch",
        errorCode="AccessDenied",
        recipientAccountId=OTHER,
        resources=[{"ARN": arn("tools"), "accountId": OWNER}],
    )

    assert {TOOLS} == event(told).shows
    assert TOOLS == event(told).repository


@pytest.mark.parametrize(
    "odd",
    [
        "arn:aws:codecommit:\ud800:210987654321:tools",
        "arn:aws:codecommit:EU-CENTRAL-1:210987654321:tools",
        "arn:aws:codecommit::210987654321:tools",
        "arn:aws:codecommit:eu-central-1:2109:tools",
        "arn:aws:codecommit:eu-central-1:\ud800:tools",
        "arn:aws:codecommit:eu-central-1:210987654321:",
        "arn:aws:codecommit:eu-central-1:210987654321:no/name",
    ],
)
def test_only_a_bounded_arn_shows_a_repository(odd: str) -> None:
    """
    What can be in no label is kept nowhere.
    """
    failed = record("GetBranch", errorCode="AccessDenied", resources=[{"ARN": odd}])

    assert set() == event(failed).shows


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (api_call("GetBranch", "tools"), True),
        (api_call("GetBranch", "no such/name"), True),
        (record("X", requestParameters={"repositoryNames": ["tools", "docs"]}), True),
        (record("X", resources=[{"ARN": arn("tools")}]), True),
        (denied("GetBranch", "tools"), True),
        (api_call("GetBranch", ""), False),
        (record("X", requestParameters={"repositoryName": ["tools"]}), False),
        (record("X", requestParameters={"repositoryNames": []}), False),
        (record("X", requestParameters={"pullRequestId": "27"}), False),
        (record("ListRepositories"), False),
    ],
)
def test_a_place_that_is_present_names(told: Record, expected: bool) -> None:
    """
    One name, several or an impossible one: there is a place, which decides.
    """
    assert expected is event(told).named


def ids_of(told: Record) -> list[tuple[str, str]]:
    """
    The subjects of a record, all of which are where the record is.
    """
    subjects = event(told).subjects
    repository = event(told).repository

    assert {(subject.account_id, subject.aws_region) for subject in subjects} <= {repository[:2]}
    return [(subject.kind, subject.id) for subject in subjects]


EVERY_ID: Record = {
    "requestParameters": {"pullRequestId": "1", "commentId": "c1", "inReplyTo": "c2"},
    "responseElements": {
        "pullRequestId": "2",
        "pullRequest": {"pullRequestId": "3"},
        "comment": {"commentId": "c3"},
        "repositoryMetadata": {"repositoryId": "B"},
        "repositoryId": "C",
    },
    "additionalEventData": {"repositoryId": "A"},
}
"""A record's fields with another id in each place for one."""


def test_every_id_is_a_subject_in_the_order_of_look_up() -> None:
    """
    Pull requests, comments, repositories.
    """
    assert [
        *((IdKind.PULL_REQUEST, one) for one in ("1", "2", "3")),
        *((IdKind.COMMENT, one) for one in ("c1", "c2", "c3")),
        *((IdKind.REPOSITORY, one) for one in ("A", "B", "C")),
    ] == ids_of(record("X", **EVERY_ID))


def test_an_id_that_is_told_twice_is_one_subject() -> None:
    """
    As text or as a number, in the request and in the answer.
    """
    told = record(
        "X",
        requestParameters={"pullRequestId": 27, "commentId": "c1", "inReplyTo": "c1"},
        responseElements={
            "pullRequestId": "27",
            "pullRequest": {"pullRequestId": 27},
            "comment": {"commentId": "c1"},
        },
    )

    assert [(IdKind.PULL_REQUEST, "27"), (IdKind.COMMENT, "c1")] == ids_of(told)


@pytest.mark.parametrize("odd", [None, "", "no id", 2.5, True, ["27"], {"id": "27"}], ids=repr)
def test_an_odd_id_is_no_subject(odd: object) -> None:
    """
    Nor does it stand in the way of the others.
    """
    told = record(
        "X",
        requestParameters={"pullRequestId": odd, "commentId": odd, "inReplyTo": odd},
        responseElements={
            "pullRequestId": odd,
            "pullRequest": {"pullRequestId": odd},
            "comment": {"commentId": odd},
            "repositoryMetadata": {"repositoryId": odd},
            "repositoryId": odd,
        },
        additionalEventData={"repositoryId": "A"},
    )

    assert [(IdKind.REPOSITORY, "A")] == ids_of(told)


def test_a_subject_is_where_its_repository_is() -> None:
    """
    In the account of the owner, also in the record that another account received.
    """
    told = api_call(
        "X",
        "tools",
        recipientAccountId=OTHER,
        resources=[{"ARN": arn("tools"), "accountId": OWNER}],
        responseElements={"pullRequestId": "27"},
    )

    assert (Subject(IdKind.PULL_REQUEST, OWNER, REGION, "27"),) == event(told).subjects


NEW_NAME = {"oldName": "tools", "newName": "better-tools"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"requestParameters": NEW_NAME}, "better-tools"),
        ({"requestParameters": NEW_NAME | {"newName": "tools"}}, "tools"),
        ({"requestParameters": NEW_NAME, "errorCode": "AccessDenied"}, ""),
        ({"requestParameters": NEW_NAME | {"newName": "no such/name"}}, ""),
        ({"requestParameters": NEW_NAME | {"newName": 27}}, ""),
        ({"requestParameters": NEW_NAME | {"oldName": "no such/name"}}, ""),
        ({"requestParameters": NEW_NAME | {"oldName": ""}}, ""),
        ({"requestParameters": {"newName": "better-tools"}}, ""),
        ({"requestParameters": None}, ""),
    ],
    ids=repr,
)
def test_a_rename_tells_both_names(fields: Record, expected: str) -> None:
    """
    Of one repository from a name to a name, and only where that succeeded.
    """
    assert expected == event(record("UpdateRepositoryName", **fields)).renamed_to
    assert "" == event(record("X", **fields)).renamed_to


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (api_call("DeleteRepository", "tools", responseElements=DELETED), "0a1b"),
        (record("DeleteRepository", responseElements=DELETED), "0a1b"),
        (api_call("DeleteRepository", "tools", responseElements={}), ""),
        (api_call("DeleteRepository", "tools", responseElements={"repositoryId": "no id"}), ""),
        (
            api_call("DeleteRepository", "tools", responseElements=DELETED, errorCode="Denied"),
            "",
        ),
        (api_call("UpdateRepositoryEncryptionKey", "tools", responseElements=DELETED), ""),
        (api_call("deleterepository", "tools", responseElements=DELETED), ""),
    ],
)
def test_a_deletion_tells_what_is_gone(told: Record, expected: str) -> None:
    """
    The id in its answer, without which nothing was there.
    """
    assert expected == event(told).deleted_id


@pytest.mark.parametrize(
    ("action", "request_parameters", "expected"),
    [
        ("CreatePullRequest", {}, "created"),
        ("MergePullRequestByFastForward", {}, "merged"),
        ("MergePullRequestBySquash", {}, "merged"),
        ("MergePullRequestByThreeWay", {}, "merged"),
        ("UpdatePullRequestStatus", {"pullRequestStatus": "CLOSED"}, "closed"),
        ("UpdatePullRequestStatus", {"pullRequestStatus": "OPEN"}, "reopened"),
        ("UpdatePullRequestStatus", {"pullRequestStatus": "open"}, None),
        ("UpdatePullRequestStatus", {"pullRequestStatus": ["OPEN"]}, None),
        ("UpdatePullRequestStatus", {"approvalState": "CLOSED"}, None),
        ("UpdatePullRequestStatus", None, None),
        ("UpdatePullRequestApprovalState", {"approvalState": "APPROVE"}, "approved"),
        ("UpdatePullRequestApprovalState", {"approvalState": "REVOKE"}, "approval_revoked"),
        ("UpdatePullRequestApprovalState", {"approvalState": "OVERRIDE"}, None),
        ("UpdatePullRequestApprovalState", "APPROVE", None),
        ("OverridePullRequestApprovalRules", {"overrideStatus": "OVERRIDE"}, "overridden"),
        ("OverridePullRequestApprovalRules", {"overrideStatus": "REVOKE"}, None),
        ("PostCommentForPullRequest", {}, "commented"),
        ("PostCommentReply", {}, "commented"),
        ("PostCommentForComparedCommit", {}, None),
        ("MergeBranchesBySquash", {}, None),
        ("UpdatePullRequestTitle", {}, None),
        ("CLOSED", {}, None),
        ("", {}, None),
        (None, {}, None),
        (["CreatePullRequest"], {}, None),
    ],
    ids=repr,
)
def test_an_action_is_a_step_of_a_pull_request(
    action: Any, request_parameters: object, expected: str | None
) -> None:
    """
    By its name or by what it is asked for; a failed one is none.
    """
    told = record(action, requestParameters=request_parameters)

    assert expected == event(told).pull_request_step
    assert None is event(told | {"errorCode": "AccessDenied"}).pull_request_step


def test_there_is_an_action_for_each_step() -> None:
    """
    Eight steps, in the words that the page shows.
    """
    assert [
        "created",
        "merged",
        "closed",
        "reopened",
        "approved",
        "approval_revoked",
        "overridden",
        "commented",
    ] == list(PullRequestStep)


LONG_TERM, TEMPORARY = {"accessKeyId": "AKIAEXAMPLE"}, {"accessKeyId": "ASIAEXAMPLE"}
BY_SERVICE = {"invokedBy": "codepipeline.amazonaws.com"}


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ({"type": "Root"}, ("Root", "root")),
        ({"type": "Root"} | LONG_TERM, ("Root", "root")),
        ({"type": "Root"} | TEMPORARY, ("Root", "root")),
        ({"type": "AWSService"} | BY_SERVICE, ("AWSService", "aws_service")),
        ({"type": "AWSService"}, ("AWSService", "aws_service")),
        ({"type": "AWSService"} | TEMPORARY, ("AWSService", "aws_service")),
        (BY_SERVICE, (INVALID, "aws_service")),
        (BY_SERVICE | TEMPORARY, (INVALID, "aws_service")),
        ({"type": "IAMUser"} | LONG_TERM, ("IAMUser", "long_term")),
        ({"type": "IAMUser"} | TEMPORARY, ("IAMUser", "temporary")),
        ({"type": "IAMUser"}, ("IAMUser", "long_term")),
        ({"type": "IAMUser", "accessKeyId": ""}, ("IAMUser", "long_term")),
        ({"type": "IAMUser", "accessKeyId": ["ASIAEXAMPLE"]}, ("IAMUser", "long_term")),
        ({"type": "IAMUser"} | BY_SERVICE, ("IAMUser", "long_term")),
        ({"type": "AssumedRole"} | TEMPORARY, ("AssumedRole", "temporary")),
        ({"type": "AssumedRole"} | LONG_TERM, ("AssumedRole", "long_term")),
        ({"type": "AssumedRole"} | BY_SERVICE, ("AssumedRole", "temporary")),
        ({"type": "Role"}, ("Role", "temporary")),
        ({"type": "FederatedUser"}, ("FederatedUser", "temporary")),
        ({"type": "SAMLUser"}, ("SAMLUser", "temporary")),
        ({"type": "WebIdentityUser"}, ("WebIdentityUser", "temporary")),
        ({"type": "IdentityCenterUser"}, ("IdentityCenterUser", "temporary")),
        ({"type": "AWSAccount"}, ("AWSAccount", "unknown")),
        ({"type": "AWSAccount"} | LONG_TERM, ("AWSAccount", "long_term")),
        ({"type": "AWSAccount"} | TEMPORARY, ("AWSAccount", "temporary")),
        ({"type": "Unknown"}, ("Unknown", "unknown")),
        ({"type": "Unknown"} | BY_SERVICE, ("Unknown", "unknown")),
        ({"type": "root"}, ("root", "unknown")),
        ({"type": "NotYetDocumented"}, ("NotYetDocumented", "unknown")),
        ({"type": "not/allowed"}, (INVALID, "unknown")),
        ({"type": "t" * 65}, (INVALID, "unknown")),
        ({"type": 5}, (INVALID, "unknown")),
        ({"type": ["Root"]}, (INVALID, "unknown")),
        ({"accessKeyId": "akiaexample"}, (INVALID, "unknown")),
        (LONG_TERM, (INVALID, "long_term")),
        (TEMPORARY, (INVALID, "temporary")),
        ({"invokedBy": ""}, (INVALID, "unknown")),
        ({"invokedBy": ["codepipeline.amazonaws.com"]}, (INVALID, "unknown")),
        ({}, (INVALID, "unknown")),
        (None, (INVALID, "unknown")),
        ("Root", (INVALID, "unknown")),
        ([{"type": "Root"}], (INVALID, "unknown")),
    ],
    ids=repr,
)
def test_a_caller_is_of_a_kind(identity: object, expected: tuple[str, str]) -> None:
    """
    The type as it stands, and the first kind of credentials that fits.
    """
    assert expected == event(record("X", userIdentity=identity)).caller


def test_a_record_without_an_identity_has_a_caller_of_no_kind() -> None:
    told = record("X")
    del told["userIdentity"]

    assert (INVALID, "unknown") == event(told).caller


@pytest.mark.parametrize(
    ("action", "expected"),
    [("PostCommentReply", True), ("PostCommentForPullRequest", False), (None, False)],
)
def test_a_reply_is_told_by_its_action(action: Any, expected: bool) -> None:
    assert expected is event(record(action)).is_reply


@pytest.mark.parametrize(
    "told",
    [push("tools", "refs/heads/secret-plan"), denied("PutFile", "tools"), *documentation_samples()],
    ids=lambda told: told["eventName"],
)
def test_no_person_leaves_the_record(told: Record) -> None:
    """
    Of user, key, address, program and branch nothing is left in an event.
    """
    left = repr(event(told))

    assert [] == [trace for trace in PERSONAL if trace in left]


def paths(value: Any, *, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """
    The way to every field of a record, however deep.
    """
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in members:
        yield (*path, key)
        if isinstance(child, (dict, list)):
            yield from paths(child, path=(*path, key))


def replaced(told: Record, path: tuple[str | int, ...], value: Any) -> Record:
    """
    A copy of a record with another value in one of its fields.
    """
    result = copy.deepcopy(told)
    parent: Any = result
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return result


def out_of_bounds(told: Event) -> list[str]:
    """
    Which labels of an event are not what the page of metrics promises.
    """
    places: list[Repository | Subject] = [told.repository, *told.shows, *told.subjects]
    bounds = {
        r"[0-9]{12}|\(invalid\)": [one.account_id for one in places],
        r"[a-z0-9-]{1,32}|\(invalid\)": [one.aws_region for one in places],
        r"[A-Za-z0-9_.-]{0,100}": [
            told.repository.name,
            told.renamed_to,
            *(shown.name for shown in told.shows),
        ],
        r"[A-Za-z0-9:_.-]{1,128}": [one.id for one in told.subjects],
        r"[A-Za-z0-9:_.-]{0,128}": [told.deleted_id],
        "root|long_term|temporary|aws_service|unknown": [told.caller.credentials],
        r"[A-Za-z0-9_.:-]{1,64}|\(invalid\)": [told.action, told.caller.identity_type],
        r"[A-Za-z0-9_.:-]{0,64}|\(invalid\)": [told.error_code],
        r"[A-Za-z0-9]{0,16}|\(invalid\)": [told.protocol],
        "true|false|": [told.data_transferred],
        "branch|tag|other": [reference.ref_type for reference in told.references or ()],
        "update|delete": [reference.change for reference in told.references or ()],
        r"([0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12})?": [told.event_id],
    }
    return [
        value
        for bound, values in bounds.items()
        for value in values
        if not re.fullmatch(bound, value, re.ASCII)
    ]


WHOLE_RECORDS = (
    push("tools", "refs/heads/main", "refs/tags/one", addendum={"originalEventID": ORIGINAL_ID}),
    push("tools", eventID="740f-EXAMPLE", sharedEventID=None),
    denied("PutFile", "tools") | {"sharedEventID": SHARED_ID},
    filled(dict.fromkeys(PLACES, "tools")),
    record("UpdateRepositoryName", requestParameters={"oldName": "tools", "newName": "other"}),
    record("PostCommentReply", **EVERY_ID),
    record("UpdatePullRequestStatus", requestParameters={"pullRequestStatus": "CLOSED"}),
    api_call("DeleteRepository", "tools", responseElements=DELETED),
)
FIELDS = [(told, path) for told in WHOLE_RECORDS for path in paths(told)]


@settings(quickly, max_examples=250)
@given(field=st.sampled_from(FIELDS), value=json_values)
def test_any_field_may_hold_anything(
    field: tuple[Record, tuple[str | int, ...]], value: Any
) -> None:
    """
    Whatever one field holds, the record is an event and its labels are within bounds.
    """
    told = event(replaced(*field, value))

    assert [] == out_of_bounds(told)
    assert told.ids
    assert {16} == {len(identity) for identity in told.ids}


@settings(quickly, max_examples=75)
@given(st.dictionaries(st.sampled_from(sorted(record("X"))) | st.text(), json_values, max_size=8))
def test_any_object_is_an_event(told: Record) -> None:
    """
    Nothing needs to be there, and nothing that is there needs to be right.
    """
    assert [] == out_of_bounds(event(told))
