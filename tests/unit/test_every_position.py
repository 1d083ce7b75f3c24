"""
Wherever something fails or the process ends, each event is counted once.

One short history is gone through again and again. Each time something goes wrong at another
crossing between the process and the world: a call of AWS or its answer, a call of SQLite or
its answer, a step of the event loop. It fails, or is the last that the process does. Nearly
all log files are delivered once only: a second copy would repair a loss, and hide it.

Every third position is tried, always the same ones; with REQUIRE_ALL all of them are.
"""

from __future__ import annotations

import logging
import os
import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from exporter.families import Series, Total
from exporter.logs import LOG
from tests import oracle, records
from tests.pages import page_that_shows
from tests.world import SHARED_MEMORY, Event, Stored, Way, World

STRIDE = 1 if os.environ.get("REQUIRE_ALL") else 3
"""An odd one, because calls and their answers take turns."""
SETTLE_SECONDS = 5.0
SETTLE_ROUNDS = 100
CASES = [
    (Way.AWS, False),
    (Way.AWS, True),
    (Way.SQLITE, False),
    (Way.SQLITE, True),
    (Way.STEP, True),
]
SECONDS_OF_DAY = 14 * 3600 + 10 * 60
"""When the first event happened: three minutes before the world's clock begins."""


def event(number: int, action: str = "PutFile") -> records.Record:
    """
    The history's event of a number, in one of three repositories.
    """
    seconds = SECONDS_OF_DAY + number
    time = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return _dated(records.api_call(action, f"repository-{number % 3}"), number, time)


def pushes(number: int) -> list[records.Record]:
    """
    The two records of a push.
    """
    pair = records.push_pair("repository-1", "refs/heads/main", "refs/tags/v1")
    return [_dated(one, number + half, "14:11:00") for half, one in enumerate(pair)]


def _dated(record: records.Record, number: int, time: str) -> records.Record:
    return record | {
        "eventTime": f"2026-09-21T{time}Z",
        "eventID": str(UUID(int=number + 1)),
        "requestID": str(UUID(int=number + 1)),
    }


LARGE = " " * 1_100_000
"""White space at a file's end that makes it one for a thread to decode."""

TEXTS = {
    "one.json.gz": records.text(event(1), event(2)),
    "two.json.gz": records.text(event(3)),
    "first-of-two.json.gz": records.text(event(4), event(5, "CreateRepository")),
    "second-of-two.json.gz": records.text(event(6)),
    "repeats.json.gz": records.text(event(1), event(7), event(3)),
    "empty.json.gz": records.text(),
    "pushes.json.gz": records.text(*pushes(20)),
    "large.json.gz": records.text(event(8)) + LARGE,
    "foreign.json.gz": records.text(event(9) | {"eventSource": "s3.amazonaws.com"}),
    "last.json.gz": records.text(event(10, "DeleteFile"), event(2)),
}
WAVES = [
    [["one.json.gz"], ["two.json.gz"], ["first-of-two.json.gz", "second-of-two.json.gz"]],
    [
        ["repeats.json.gz", "empty.json.gz"],
        ["pushes.json.gz", "large.json.gz"],
        ["foreign.json.gz", "last.json.gz"],
    ],
]
BODIES = {key: records.log_file(text) for key, text in TEXTS.items()}


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What a history has come to: the series, what is left on the queue, how the page looks.
    """

    totals: Mapping[Series, Total]
    held: int
    messages: int
    dead_letters: int


def test_the_history_is_counted_as_the_contract_says(history: World) -> None:
    """
    What the other tests compare with is right.
    """
    shown = page_that_shows(history.process.series, history.process.known)

    assert oracle.count(TEXTS.values()) == shown.totals()
    assert {Event.STOP: 1} == {met: times for met, times in history.met.items() if times}


@pytest.mark.parametrize(("way", "crash"), CASES)
def test_whatever_goes_wrong_nothing_is_lost_or_counted_twice(
    way: Way, crash: bool, history: World, caplog: pytest.LogCaptureFixture
) -> None:
    """
    All series are as if nothing had gone wrong, and the queue is empty.
    """
    caplog.set_level(logging.CRITICAL, LOG.name)
    expected = outcome(history)
    number = history.crossings.counted[way]
    tried = range(1, number + 1, STRIDE)
    wrong = []
    for position in tried:
        with gone_through(way, position, crash=crash) as world:
            if outcome(world) != expected or bool(world.met[Event.CRASH]) != crash:
                wrong.append(position)
    print(f"{number} positions of a {way}, {len(tried)} of them tried")  # noqa: T201

    assert [] == wrong
    assert min(number, len(tried)) > 10


@pytest.fixture(scope="module")
def history() -> Iterator[World]:
    """
    The history as it is when nothing goes wrong.
    """
    with gone_through() as world:
        yield world


@contextmanager
def gone_through(way: Way = Way.STEP, position: int = 0, *, crash: bool = False) -> Iterator[World]:
    """
    A world in which the history has happened, and something has gone wrong at a position.
    """
    random.seed(0)
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        world = World(Path(folder))
        try:
            world.crossings.choose(way, position, crash=crash)
            world.objects.update({key: Stored(body) for key, body in BODIES.items()})
            for messages in WAVES:
                for keys in messages:
                    world.announce(*keys)
                settle(world)
            world.stop()
            settle(world)
            assert world.crossings.is_over or not position, "it was not met"
            yield world
        finally:
            world.close()


def settle(world: World) -> None:
    """
    Let the program work until it has nothing left to do.
    """
    for _ in range(SETTLE_ROUNDS):
        world.run_for(SETTLE_SECONDS)
        found = outcome(world)
        if found.totals and not found.held and not found.messages:
            return


def outcome(world: World) -> Outcome:
    series = world.process.series
    return Outcome(
        {one: state.total for one, state in series.items()},
        sum(state.total != state.shown for state in series.values()),
        len(world.sqs.messages),
        len(world.sqs.dead),
    )
