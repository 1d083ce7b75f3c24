"""
Fields of records: what is there, what is not, and what is not allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from exporter.fields import (
    INVALID,
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
from exporter.records import Extra, Record, Request, told

UUID_TEXT = "0f7c2a55-61f6-4b0c-8f4e-b4e3a1e0c001"
OTHER_UUID_TEXT = "1f7c2a55-61f6-4b0c-8f4e-b4e3a1e0c002"
LABELS: tuple[Callable[[object], str], ...] = (
    account_label,
    region_label,
    repository_label,
    name_label,
    protocol_label,
)

MEMBERS = {field.encode_name: field.name for field in msgspec.structs.fields(Record)}
"""The members of a record that are looked at, and what they are called here."""

quickly = settings(max_examples=100, deadline=None)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(("member", "eventID")) | st.text(), children, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"eventCategory": None}, True),
        ({"eventCategory": "Management"}, True),
        ({"eventCategory": "Insight"}, False),
        ({"eventCategory": "NetworkActivity"}, False),
        ({"eventCategory": "Aggregated"}, False),
        ({"eventCategory": ""}, False),
        ({"eventCategory": 5}, False),
        ({"eventCategory": ["Management"]}, False),
    ],
)
def test_a_request_is_counted_by_its_category(fields: dict[str, Any], expected: bool) -> None:
    """
    Management or none; records about requests are not requests.
    """
    assert expected is is_counted(told(fields))


ODDITIES: tuple[Any, ...] = (None, True, 0, 2.5, "text", ["list"], {"an": "object"})
"""Everything that may stand where something else is expected."""


@pytest.mark.parametrize("odd", ODDITIES, ids=repr)
def test_what_is_no_text_is_an_empty_one(odd: object) -> None:
    """
    A text is taken as it is, and nothing else for one.
    """
    assert (odd if isinstance(odd, str) else "") == text(odd)


@pytest.mark.parametrize("odd", ODDITIES, ids=repr)
def test_a_record_is_told_whatever_its_members_are(odd: object) -> None:
    """
    A member that should be an object is empty where it is none.
    """
    record = told(dict.fromkeys(("requestParameters", "additionalEventData", "eventName"), odd))

    assert (Request(), Extra()) == (
        Request.of(record.request_parameters),
        Extra.of(record.additional_event_data),
    )
    assert odd == record.event_name


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("27", "27"),
        (27, "27"),
        (0, "0"),
        (2**63, "9223372036854775808"),
        (10**127, "1" + "0" * 127),
        (10**128, ""),
        (10**5000, ""),
        ("0a1b2c3d-EXAMPLE:4.5_6", "0a1b2c3d-EXAMPLE:4.5_6"),
        ("x" * 128, "x" * 128),
        ("x" * 129, ""),
        ("", ""),
        ("27\n", ""),
        ("2 7", ""),
        ("zwei/7", ""),
        ("\N{ARABIC-INDIC DIGIT ONE}", ""),
        ("\ud800", ""),
        (True, ""),
        (27.0, ""),
        (None, ""),
        (["27"], ""),
        ({"27": "27"}, ""),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else f"{value:#x}"[:20],
)
def test_an_id_is_a_text_with_bounds(value: object, expected: str) -> None:
    """
    An integer is an id like the text of it; a boolean is no integer.
    """
    assert expected == id_text(value)


@pytest.mark.parametrize(
    ("label", "value", "expected"),
    [
        (account_label, "210987654321", "210987654321"),
        (account_label, "21098765432", INVALID),
        (account_label, "2109876543210", INVALID),
        (account_label, "\N{DEVANAGARI DIGIT ONE}" * 12, INVALID),
        (region_label, "us-gov-west-1", "us-gov-west-1"),
        (region_label, "r" * 32, "r" * 32),
        (region_label, "r" * 33, INVALID),
        (region_label, "US-EAST-1", INVALID),
        (repository_label, "A-z_0.9", "A-z_0.9"),
        (repository_label, "n" * 100, "n" * 100),
        (repository_label, "n" * 101, ""),
        (repository_label, "path/to", ""),
        (name_label, "Client.Unauthorized:X-1_2", "Client.Unauthorized:X-1_2"),
        (name_label, "n" * 64, "n" * 64),
        (name_label, "n" * 65, INVALID),
        (name_label, "no access", INVALID),
        (protocol_label, "HTTP", "HTTP"),
        (protocol_label, "", ""),
        (protocol_label, "p" * 16, "p" * 16),
        (protocol_label, "p" * 17, INVALID),
        (protocol_label, "HTTP/2", INVALID),
    ],
)
def test_a_label_is_the_value_or_the_stand_in(
    label: Callable[[object], str], value: str, expected: str
) -> None:
    """
    The value as it stands where it is within bounds, and nothing of it elsewhere.
    """
    assert expected == label(value)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("odd", ["x\n", "é", "\ud800", 0, True, 2.5, ["x"], {"x": "x"}], ids=repr)
def test_what_cannot_be_a_label_is_none(label: Callable[[object], str], odd: object) -> None:
    """
    No type but text is ever a label, and no text with more than its bounds allow.
    """
    assert ("" if label is repository_label else INVALID) == label(odd)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (account_label, INVALID),
        (region_label, INVALID),
        (repository_label, ""),
        (name_label, INVALID),
        (protocol_label, ""),
    ],
)
def test_an_absent_label_has_its_stand_in(label: Callable[[object], str], expected: str) -> None:
    """
    A protocol and a repository may be missing; whatever else is missing is invalid.
    """
    assert expected == label(None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ""),
        ({"errorCode": None}, ""),
        ({"errorCode": ""}, ""),
        ({"errorCode": "AccessDenied"}, "AccessDenied"),
        ({"errorCode": "no code at all"}, INVALID),
        ({"errorCode": 0}, INVALID),
        ({"errorCode": False}, INVALID),
        ({"errorCode": []}, INVALID),
        ({"errorCode": {}}, INVALID),
        ({"errorMessage": "no code"}, ""),
    ],
    ids=repr,
)
def test_an_error_code_of_any_kind_is_a_failure(fields: dict[str, Any], expected: str) -> None:
    """
    Only no code, null or an empty text mean success.
    """
    assert expected == error_label(told(fields).error_code)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (UUID_TEXT, UUID_TEXT),
        (UUID_TEXT.upper(), UUID_TEXT),
        (UUID_TEXT + "\n", ""),
        (UUID_TEXT.replace("-", ""), ""),
        (UUID_TEXT.replace("c001", "c0 1"), ""),
        (UUID_TEXT.replace("a1e0c001", "a1 e0 01"), ""),
        (UUID_TEXT.replace("c001", "c0\N{FULLWIDTH DIGIT ZERO}1"), ""),
        (UUID_TEXT.replace("c001", "c0g1"), ""),
        ("0f7c2a5-561f6-4b0c-8f4e-b4e3a1e0c001", ""),
        (f"{{{UUID_TEXT}}}", ""),
        (None, ""),
        ([UUID_TEXT], ""),
    ],
)
def test_a_uuid_is_told_in_lower_case(value: object, expected: str) -> None:
    assert expected == uuid_text(value)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"eventID": UUID_TEXT}, 1),
        ({"addendum": {"originalEventID": UUID_TEXT}}, 1),
        ({"eventID": UUID_TEXT, "addendum": {"originalEventID": UUID_TEXT.upper()}}, 1),
        ({"eventID": UUID_TEXT, "addendum": {"originalEventID": OTHER_UUID_TEXT}}, 2),
        ({"sharedEventID": UUID_TEXT}, 1),
        ({"eventID": UUID_TEXT, "sharedEventID": UUID_TEXT}, 2),
        ({"eventID": UUID_TEXT, "sharedEventID": "none", "addendum": UUID_TEXT}, 1),
        ({"eventID": "none", "sharedEventID": 5, "addendum": [UUID_TEXT]}, 0),
        ({}, 0),
    ],
)
def test_every_identity_is_told_once(fields: dict[str, Any], expected: int) -> None:
    """
    Each UUID is one of 16 bytes; what is no UUID is none.
    """
    ids = identities(told(fields))

    assert [16] * expected == [len(one) for one in ids]
    assert len(set(ids)) == len(ids)


def test_the_whole_record_is_an_identity_too() -> None:
    """
    It depends on what is told and not on the order of its members.
    """
    one, other = whole_identity({"a": 1, "b": 2}), whole_identity({"b": 2, "a": 1})

    assert (one, 16) == (other, len(one))
    assert one != whole_identity({"a": 1})


@quickly
@given(json_values, st.sampled_from(LABELS))
def test_any_value_gives_a_label(value: Any, label: Callable[[object], str]) -> None:
    """
    Whatever a field holds, its label is plain ASCII of a bounded length.
    """
    told = label(value)

    assert told in ("", INVALID, value)
    assert told.isascii()
    assert len(told) <= 100


@quickly
@given(st.dictionaries(st.sampled_from(sorted(MEMBERS)), json_values))
def test_any_record_can_be_told(fields: dict[str, Any]) -> None:
    """
    Reading never raises, and an id is plain ASCII.
    """
    record = told(fields)

    assert is_counted(record) in (True, False)
    assert {16} >= set(map(len, identities(record)))
    assert id_text(record.event_id).isascii()
    assert [] == [one for one in fields if getattr(record, MEMBERS[one]) is None is not fields[one]]
