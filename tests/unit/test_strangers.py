"""
What strangers write into their requests makes no series and breaks no page.
"""

from __future__ import annotations

import copy
import os
import re
from collections import Counter
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from exporter.codecommit import event
from exporter.families import FAMILIES
from exporter.ledger.memory import MemoryLedger
from exporter.notifications import LogFile
from exporter.tally import Reading
from tests import records
from tests.actions import ACTIONS, Subject, refused, succeeded
from tests.bounds import BOUNDS
from tests.counting import NOW, ledger_of
from tests.history import History
from tests.pages import page_of
from tests.processes import OPENMETRICS, TEXT
from tests.records import OWNER, Record, record

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILED_CALLS = 100_000 if os.environ.get("REQUIRE_ALL") else 12_000
FILE_CALLS = 4_000

MARK = "stranger"
HOSTILE = {
    "quotes": f'{MARK}"}} 1\n{MARK}{{x="',
    "backslash": f"{MARK}\\",
    "newline": f"{MARK}\n# HELP codecommit_events_total {MARK}\r\n",
    "nul": f"{MARK}\0",
    "surrogate": f"{MARK}\ud800",
    "right to left": f"\N{RIGHT-TO-LEFT OVERRIDE}{MARK}\N{RIGHT-TO-LEFT MARK}",
    "separators": f"{MARK}\N{LINE SEPARATOR}\x85\N{ZERO WIDTH NO-BREAK SPACE}",
    "100 kB": f"{MARK} " * 11_200,
}
"""Texts that no label may take over, each with the mark by which it would be found."""


def failed_calls(chance: Random) -> Iterator[Record]:
    """
    Requests that fail, each with a name of its own wherever a request of the action has one.
    """
    while True:
        name = f"{chance.getrandbits(64):x}"
        yield refused(
            chance.choice(sorted(ACTIONS)),
            Subject(name, pull_request=name, comment=name, repository_id=name),
            errorCode=chance.choice(("AccessDenied", "RepositoryDoesNotExistException")),
            awsRegion=chance.choice(("eu-central-1", "us-east-1")),
            recipientAccountId=chance.choice((OWNER, "345634563456")),
        )


def test_failed_calls_make_no_series_of_their_own() -> None:
    """
    However many names are tried, there is one series per account, Region, action and error.
    """
    ledger = MemoryLedger(now=lambda: NOW)
    calls = failed_calls(Random(4))  # noqa: S311 - a test's dice
    kinds: set[tuple[str, ...]] = set()
    for number in range(FAILED_CALLS // FILE_CALLS):
        told = list(islice(calls, FILE_CALLS))
        kinds.update(
            (call["recipientAccountId"], call["awsRegion"], call["eventName"], call["errorCode"])
            for call in told
        )
        ledger.count(Reading(LogFile("trail", f"{number}"), NOW * 1000, tuple(map(event, told))))
    families = Counter(series.family for series in ledger.series)

    assert FAILED_CALLS == sum(page_of(ledger).totals()["codecommit_events_total"].values())
    assert len(ACTIONS) * 8 == len(kinds)
    assert {""} == {series.labels[2] for series in ledger.series}
    assert {} == {family: number for family, number in families.items() if number > len(kinds)}
    assert {} == ledger.known


def told_by_everybody() -> list[Record]:
    """
    Records with every field that the program reads.
    """
    tools = Subject("tools")
    kms = record(
        "Decrypt",
        eventSource="kms.amazonaws.com",
        sourceIPAddress="codecommit.amazonaws.com",
        requestParameters={"encryptionContext": {"id": tools.repository_id}},
        errorCode="AccessDenied",
    )
    return [
        records.push("tools", "refs/heads/secret-plan"),
        *(succeeded(action, tools, resources=tools.resources) for action in ACTIONS),
        refused("GetBranch", tools, addendum={"originalEventID": tools.repository_id}),
        kms,
    ]


def leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """
    Every place of a record that holds neither object nor list: what holds it, and where.
    """
    for at in range(len(value)) if isinstance(value, list) else value:
        if isinstance(value[at], dict | list):
            yield from leaves(value[at])
        else:
            yield value, at


def written_over(told: Record, text: str) -> Iterator[Record]:
    """
    The record once for each of its fields, with the text in its place.
    """
    for number in range(len(list(leaves(told)))):
        changed = copy.deepcopy(told)
        holder, at = next(islice(leaves(changed), number, None))
        holder[at] = text
        yield changed


@pytest.fixture(scope="module", params=HOSTILE)
def hostile_ledger(request: pytest.FixtureRequest) -> MemoryLedger:
    """
    A ledger that has counted records with one text in every field of any of them.
    """
    told = told_by_everybody()
    changed = [one for each in told for one in written_over(each, HOSTILE[request.param])]
    return ledger_of(records.text(*file) for file in (told, changed))


@pytest.mark.parametrize("content_type", [TEXT, OPENMETRICS])
def test_the_page_is_valid_whatever_is_written(
    hostile_ledger: MemoryLedger, content_type: str
) -> None:
    """
    Both formats are read by prometheus_client's parsers, and hold nothing of the text.
    """
    page = page_of(hostile_ledger, content_type)

    assert MARK not in page.text
    assert {family.name.removesuffix("_total") for family in FAMILIES} == {
        name.removesuffix("_total") for name in page.families
    }
    assert page_of(hostile_ledger).totals() == page.totals()


def out_of_bounds(ledger: MemoryLedger) -> set[tuple[str, str]]:
    """
    The labels of the page's samples whose values are not within their bounds.
    """
    return {
        (label, value)
        for family in page_of(ledger).families.values()
        for sample in family.samples
        for label, value in sample.labels.items()
        if not re.fullmatch(BOUNDS[label], value)
    }


def test_hostile_texts_stay_out_of_the_labels(hostile_ledger: MemoryLedger) -> None:
    """
    Each label of each family has its bounds.
    """
    assert set() == out_of_bounds(hostile_ledger)


def test_every_label_has_its_bounds() -> None:
    """
    Also where a field holds any other value, or one of another type.
    """
    assert set() == out_of_bounds(ledger_of(History(seed=5).log_files(records_min=1_000)))
