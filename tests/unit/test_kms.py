"""
Requests to AWS KMS: which of them are CodeCommit's, and what they tell.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from exporter.codecommit import IdKind, Repository, Subject
from exporter.fields import INVALID
from exporter.kms import KmsRequest, is_kms_request, kms_request
from exporter.records import told as told_of
from exporter.timestamps import milliseconds
from tests.records import OWNER, PERSONAL, REGION, Record, api_call, record

REPOSITORY_ID = "6d2c7a51-0b7e-4a0f-9c52-1f7f3f5c9a10"
CODECOMMIT = "codecommit.amazonaws.com"
TIME = "2026-09-21T12:00:00Z"

quickly = settings(max_examples=150, deadline=None)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from((REPOSITORY_ID, CODECOMMIT, OWNER)),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(("encryptionContext", "invokedBy")) | st.text(), children, max_size=3
        )
    ),
    max_leaves=8,
)


def asked(context: object = None, **fields: object) -> Record:
    """
    A request that CodeCommit makes for somebody, as KMS has it recorded.
    """
    told: Record = record(
        "Decrypt",
        eventTime=TIME,
        eventSource="kms.amazonaws.com",
        sourceIPAddress=CODECOMMIT,
        userAgent=CODECOMMIT,
        requestParameters={"encryptionContext": context},
        resources=[{"ARN": f"arn:aws:kms:{REGION}:567856785678:key/0a1b", "type": "AWS::KMS::Key"}],
    )
    return told | fields


def ids(told: KmsRequest) -> list[str]:
    return [subject.id for subject in told.subjects]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"eventCategory": None}, True),
        ({"eventCategory": "Insight"}, False),
        ({"eventCategory": "Data"}, False),
        ({"eventSource": "s3.amazonaws.com"}, False),
        ({"eventSource": CODECOMMIT}, False),
        ({"eventSource": ["kms.amazonaws.com"]}, False),
        ({"sourceIPAddress": "198.51.100.77"}, False),
        ({"sourceIPAddress": "s3.amazonaws.com"}, False),
        ({"sourceIPAddress": f"{CODECOMMIT}.example"}, False),
        ({"sourceIPAddress": [CODECOMMIT]}, False),
        ({"sourceIPAddress": None}, False),
        ({"sourceIPAddress": None, "userIdentity": {"invokedBy": CODECOMMIT}}, True),
        ({"sourceIPAddress": "x", "userIdentity": {"invokedBy": CODECOMMIT}}, True),
        ({"userIdentity": {"invokedBy": "s3.amazonaws.com"}}, True),
        ({"sourceIPAddress": None, "userIdentity": {"invokedBy": "s3.amazonaws.com"}}, False),
        ({"sourceIPAddress": None, "userIdentity": CODECOMMIT}, False),
        ({"sourceIPAddress": None, "userIdentity": None}, False),
        ({"sourceIPAddress": None, "userIdentity": {"invokedBy": [CODECOMMIT]}}, False),
    ],
    ids=repr,
)
def test_a_request_is_codecommits_by_who_made_it(fields: Record, expected: bool) -> None:
    """
    Either field names the service; the user agent, which anybody may set, does not matter.
    """
    assert expected is is_kms_request(told_of(asked(**fields)))


@pytest.mark.parametrize("absent", ["eventCategory", "eventSource", "sourceIPAddress"])
def test_only_the_category_may_be_absent(absent: str) -> None:
    """
    Records of earlier versions have no category.
    """
    told = asked(userIdentity={})
    del told[absent]

    assert (absent == "eventCategory") is is_kms_request(told_of(told))


def test_an_event_of_codecommits_is_no_kms_request() -> None:
    """
    Nor does it become one by the service that made the call.
    """
    assert not is_kms_request(told_of(api_call("GetBranch", "tools", sourceIPAddress=CODECOMMIT)))


def test_a_request_tells_where_what_and_when() -> None:
    """
    The repository has no name yet: the ids in the encryption context may give it one.
    """
    told = kms_request(asked({"aws:codecommit:id": REPOSITORY_ID}, errorCode="AccessDenied"))

    assert Repository(OWNER, REGION, "") == told.repository
    assert (Subject(IdKind.REPOSITORY, OWNER, REGION, REPOSITORY_ID),) == told.subjects
    assert (milliseconds(TIME), "Decrypt", "AccessDenied") == (
        told.time_ms,
        told.action,
        told.error_code,
    )
    assert 1 == len(told.ids)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"any name": REPOSITORY_ID}, [REPOSITORY_ID]),
        ({"aws:codecommit:env-alg": "ALG", "id": REPOSITORY_ID}, ["ALG", REPOSITORY_ID]),
        ({"first": REPOSITORY_ID, "second": REPOSITORY_ID}, [REPOSITORY_ID] * 2),
        (
            {"arn": f"arn:aws:codecommit:{REGION}:{OWNER}:tools"},
            [f"arn:aws:codecommit:{REGION}:{OWNER}:tools"],
        ),
        ({"odd": "no id", "id": REPOSITORY_ID, "": None}, [REPOSITORY_ID]),
        ({"id": [REPOSITORY_ID]}, []),
        ({"id": {"id": REPOSITORY_ID}}, []),
        ({"id": ""}, []),
        ({"id": "\ud800"}, []),
        ({"id": True}, []),
        ({"id": "x" * 129}, []),
        ({}, []),
        (None, []),
        (REPOSITORY_ID, []),
        ([REPOSITORY_ID], []),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_any_value_of_the_context_may_be_an_id(context: object, expected: list[str]) -> None:
    """
    Whatever its name; what cannot be an id is left out.
    """
    assert expected == ids(kms_request(asked(context)))


@pytest.mark.parametrize("parameters", [None, "context", [], {}, {"keyId": REPOSITORY_ID}])
def test_a_request_without_a_context_has_no_subject(parameters: object) -> None:
    """
    CloudTrail may leave parameters out, and other parameters are no encryption context.
    """
    assert [] == ids(kms_request(asked(requestParameters=parameters)))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("recipientAccountId", None, (INVALID, REGION, "Decrypt", "")),
        ("recipientAccountId", "5678", (INVALID, REGION, "Decrypt", "")),
        ("recipientAccountId", int(OWNER), (INVALID, REGION, "Decrypt", "")),
        ("awsRegion", None, (OWNER, INVALID, "Decrypt", "")),
        ("awsRegion", "EU", (OWNER, INVALID, "Decrypt", "")),
        ("eventName", "GenerateDataKey", (OWNER, REGION, "GenerateDataKey", "")),
        ("eventName", "odd name", (OWNER, REGION, INVALID, "")),
        ("eventName", None, (OWNER, REGION, INVALID, "")),
        ("errorCode", "", (OWNER, REGION, "Decrypt", "")),
        ("errorCode", "no code", (OWNER, REGION, "Decrypt", INVALID)),
        ("errorCode", 403, (OWNER, REGION, "Decrypt", INVALID)),
        ("resources", None, (OWNER, REGION, "Decrypt", "")),
    ],
)
def test_each_label_has_its_bounds(field: str, value: object, expected: object) -> None:
    """
    As those of events have; the owner of the key is another matter than the repository's.
    """
    told = kms_request(asked(**{field: value}))

    assert expected == (*told.repository[:2], told.action, told.error_code)


def test_ids_are_those_of_an_event() -> None:
    """
    A copy of another account's trail has another eventID and the same shared one.
    """
    shared = "2f7c2a55-61f6-4b0c-8f4e-b4e3a1e0c003"
    one, other = (kms_request(asked(sharedEventID=shared)) for _ in range(2))

    assert 1 == len(set(one.ids) & set(other.ids))
    assert 3 == len(set(one.ids) | set(other.ids))


@pytest.mark.parametrize("odd", [None, "yesterday", 5, {}])
def test_a_time_that_is_none_is_unknown(odd: object) -> None:
    assert None is kms_request(asked(eventTime=odd)).time_ms


def test_no_person_leaves_the_record() -> None:
    """
    Of user, key, address and program nothing is left in a request.
    """
    left = repr(kms_request(asked({"id": REPOSITORY_ID}, sourceIPAddress="198.51.100.77")))

    assert [] == [trace for trace in PERSONAL if trace in left]


@quickly
@given(field=st.sampled_from(sorted(asked())), value=json_values)
def test_any_field_may_hold_anything(field: str, value: Any) -> None:
    """
    Whatever one field holds, the record is told from others, and is a request within bounds.
    """
    told = asked({"id": REPOSITORY_ID}) | {field: value}
    request = kms_request(told)

    assert isinstance(is_kms_request(told_of(told)), bool)
    assert "" == request.repository.name
    assert {16} == {len(one) for one in request.ids}
    assert all(label.isascii() for label in (*request.repository, request.action, *ids(request)))


@quickly
@given(st.dictionaries(st.sampled_from(sorted(asked())) | st.text(), json_values, max_size=8))
def test_any_object_is_a_request(told: Record) -> None:
    """
    Nothing needs to be there, and nothing that is there needs to be right.
    """
    assert is_kms_request(told_of(told)) in (True, False)
    assert kms_request(told).ids
