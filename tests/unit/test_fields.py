"""
Fields of records: what is there, what is not, and what is not allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from exporter.fields import (
    INVALID,
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

UUID_TEXT = "0f7c2a55-61f6-4b0c-8f4e-b4e3a1e0c001"
OTHER_UUID_TEXT = "1f7c2a55-61f6-4b0c-8f4e-b4e3a1e0c002"
ODD_PARENTS: tuple[Any, ...] = (None, True, 0, 2.5, "", "member", [], ["member"], {}, {"other": 1})
"""What may stand where an object with a member is looked for."""

LABELS: tuple[Callable[[object], str], ...] = (
    account_label,
    region_label,
    repository_label,
    name_label,
    protocol_label,
)

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
    assert expected is is_counted(fields)


@pytest.mark.parametrize("parent", ODD_PARENTS, ids=repr)
def test_nothing_is_inside_of_what_is_no_object(parent: Any) -> None:
    """
    Without the member, or the object that should have it, there is an empty value.
    """
    assert ({}, "") == (inside(parent, "member"), text(parent, "member"))


@pytest.mark.parametrize("odd", [None, True, 0, 2.5, "text", ["list"], {"an": "object"}], ids=repr)
def test_a_member_of_another_type_is_not_there(odd: object) -> None:
    """
    Each reader takes its own type and no other.
    """
    parent = {"member": odd}

    assert (odd if isinstance(odd, dict) else {}) == inside(parent, "member")
    assert (odd if isinstance(odd, list) else []) == items(parent, "member")
    assert (odd if isinstance(odd, str) else "") == text(parent, "member")
    assert (odd if isinstance(odd, bool) else None) is boolean(parent, "member")


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
    assert expected == id_text({"member": value}, "member")


def test_an_absent_id_is_empty() -> None:
    assert "" == id_text({}, "member")


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
    assert expected == error_label(fields)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (UUID_TEXT, UUID_TEXT),
        (UUID_TEXT.upper(), UUID_TEXT),
        (UUID_TEXT + "\n", ""),
        (UUID_TEXT.replace("-", ""), ""),
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
        ({"eventID": "none", "sharedEventID": 5, "addendum": [UUID_TEXT]}, 1),
        ({}, 1),
    ],
)
def test_every_identity_is_told_once(fields: dict[str, Any], expected: int) -> None:
    """
    Each UUID is one of 16 bytes; the whole text stands in where there is none.
    """
    ids = identities(fields)

    assert (expected, {16}) == (len(ids), set(map(len, ids)))
    assert len(set(ids)) == len(ids)


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
@given(json_values)
def test_any_parent_can_be_looked_into(parent: Any) -> None:
    """
    Reading never raises, and what is told has the type that was asked for.
    """
    fields = inside({"parent": parent}, "parent")

    assert isinstance(inside(parent, "member"), dict)
    assert isinstance(text(parent, "member"), str)
    assert isinstance(items(fields, "member"), list)
    assert boolean(fields, "member") in (None, True, False)
    assert id_text(fields, "member").isascii()
    assert identities(fields)
