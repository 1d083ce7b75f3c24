"""
What a journal remembers until it is read.
"""

from __future__ import annotations

from uuid import UUID

from exporter.codecommit import Repository
from exporter.families import EVENT_DELIVERY, PUSHES, Exemplar, Series
from exporter.journal import Counted, Entries, Journal

TOOLS = Repository("210987654321", "eu-central-1", "tools")
PUSH = Series(PUSHES.name, (*TOOLS, "SSH"))
DELIVERY = Series(EVENT_DELIVERY.name, (*TOOLS, "GitPull", "SSH", "true"))


def exemplar(number: int) -> Exemplar:
    return Exemplar(str(UUID(int=number)), number)


def test_a_journal_has_each_thing_once() -> None:
    """
    However often it changes before somebody looks, in the order in which it first did.
    """
    journal = Journal()
    for number in range(1000):
        journal.note([DELIVERY, PUSH], [TOOLS], {PUSH: {0: exemplar(number)}}, number)
    series, repositories = journal.take()

    assert [DELIVERY, PUSH] == list(series)
    assert [TOOLS] == list(repositories)
    assert {0: Counted(exemplar(999), 999)} == series[PUSH]


def test_the_newest_exemplar_of_each_bucket_stays() -> None:
    """
    A change without exemplars takes none away.
    """
    journal = Journal()
    journal.note([DELIVERY], exemplars={DELIVERY: {0: exemplar(1), 3: exemplar(2)}}, counted_ms=10)
    journal.note([DELIVERY], exemplars={DELIVERY: {3: exemplar(3)}}, counted_ms=20)
    journal.note([DELIVERY])

    assert {0: Counted(exemplar(1), 10), 3: Counted(exemplar(3), 20)} == journal.take().series[
        DELIVERY
    ]


def test_what_has_been_taken_is_there_no_more() -> None:
    """
    What its reader holds stays as it was; what comes later is new.
    """
    journal = Journal()
    journal.note([PUSH], [TOOLS], {PUSH: {0: exemplar(1)}}, 10)
    first = journal.take()
    between = journal.take()
    journal.note([PUSH])

    assert Entries({PUSH: {0: Counted(exemplar(1), 10)}}, {TOOLS}) == first
    assert Entries({}, set()) == between
    assert Entries({PUSH: {}}, set()) == journal.take()
