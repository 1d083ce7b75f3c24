"""
Records: what is looked at of them, and what spoils one.
"""

from __future__ import annotations

import json

import pytest

from exporter.cloudtrail import decode
from exporter.records import Extra, Part, Reference, Request, Resource, told
from tests.records import Record, api_call, record

GOOD = json.dumps(api_call("PutFile", "tools"))
NAMELESS = json.dumps({**json.loads(GOOD), "eventID": None})
UNREADABLE = {"no UTF-8": '"\udcff"', "a long number": "1" * 5000}


def found(told_record: str) -> tuple[int, int]:
    """
    How many events a file of one record has, and how many that are invalid.
    """
    body = f'{{"Records":[{told_record}]}}'.encode(errors="surrogateescape")
    decoded = decode(body, inflated_bytes_max=1_000_000)
    return len(decoded.events), decoded.invalid


@pytest.mark.parametrize("unreadable", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_nobody_looks_at_spoils_no_record_with_a_uuid(unreadable: str) -> None:
    """
    One without is known by all of its text, and one that is looked at has to be read.
    """
    outcomes = [
        found(one.replace(member, f"{name}: {unreadable}"))
        for one, name, member in (
            (GOOD, '"userAgent"', '"userAgent": "git/2.47.1"'),
            (NAMELESS, '"userAgent"', '"userAgent": "git/2.47.1"'),
            (GOOD, '"awsRegion"', '"awsRegion": "eu-central-1"'),
        )
    ]

    assert [(1, 0), (0, 1), (0, 1)] == outcomes


def test_names_stay_apart_whatever_they_are() -> None:
    """
    Two names that are half a character each are two, so each value is kept.
    """
    context = json.loads(r'{"\ud800": "one", "\ud801": "two", "plain": "three"}')
    whole = told({"\ud800": 1, "requestParameters": {"encryptionContext": context}})
    request = Request.of(whole.request_parameters)

    assert ["one", "two", "three"] == list(request.encryption_context.values())


@pytest.mark.parametrize("odd", [None, True, 5, 2.5, "text", [], [{}], {}])
def test_a_member_may_be_anything(odd: object) -> None:
    """
    What should be an object or a list is kept where it is one, and harms nothing else.
    """
    names = ("requestParameters", "additionalEventData", "resources", "eventName", "addendum")
    whole = told({**dict.fromkeys(names, odd), "awsRegion": "here"})

    assert ("here", odd) == (whole.aws_region, whole.event_name)
    assert Request() == Request.of(whole.request_parameters)
    assert Extra() == Extra.of(whole.additional_event_data)


@pytest.mark.parametrize("part", [Request, Extra, Reference, Resource])
def test_a_part_of_another_kind_is_an_empty_one(part: type[Part]) -> None:
    """
    Only an object of its own kind is taken for one.
    """
    whole = part()
    others: tuple[object, ...] = (None, {}, told({}))

    assert whole is part.of(whole)
    assert [part()] * 3 == [part.of(other) for other in others]


def test_nothing_else_is_kept_of_a_record() -> None:
    """
    What names people is not even built.
    """
    whole: Record = record("PutFile", requestParameters={"repositoryName": "tools", "name": "Tell"})

    assert "ilhelmine" not in repr(told(whole))
    assert "Tell" not in repr(told(whole))
