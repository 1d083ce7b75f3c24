"""
What is received, how much of it is in hand, and how each message ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from exporter import consumer as module
from exporter.aws.objects import BYTES_IN_HAND_MAX
from exporter.aws.queue import WAIT_SECONDS
from exporter.consumer import Backoff, Consumer
from exporter.errors import LedgerUnavailable, LogFileDenied, LogFileMissing
from exporter.ledger.memory import MemoryLedger
from tests import oracle
from tests.fakes import (
    BUCKET,
    VISIBILITY_SECONDS_MAX,
    Edge,
    FakeSqs,
    Hiding,
    Road,
    idle,
    in_no_time,
    keys_of,
    no_connection,
    refusal,
    until,
)
from tests.records import api_call

OUTCOMES = ("deleted", "left", "postponed", "released")
FULL = LedgerUnavailable("the disk is full")
SLOW_DOWN = refusal("GetObject", "SlowDown", 503)


class Consumption:
    """
    A consumer at work on a road, and what it says of the queue's health.
    """

    def __init__(self, road: Road, *, writable: Callable[[], bool] | None = None) -> None:
        self.road = road
        self.health: list[str | None] = []
        self.consumer = Consumer(
            road.queue,
            road.pipeline,
            road.telemetry,
            self.health.append,
            writable=writable or (lambda: road.ledger.writable),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """
        Receive during the block; at its end receiving stops and nothing else.
        """
        task = asyncio.create_task(self.consumer.run())
        try:
            yield
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def run_until(self, holds: Callable[[], bool], what: str) -> None:
        """
        Receive until something holds, then finish what is in hand.
        """
        async with self.running():
            await until(holds, what)
        await self.consumer.drain(10)

    @property
    def ended(self) -> dict[str, float]:
        """
        How many messages ended how, as the metric tells.
        """
        outcomes = {
            outcome: self.road.told("messages_total", outcome=outcome) for outcome in OUTCOMES
        }
        return {outcome: number for outcome, number in outcomes.items() if number}

    @property
    def in_hand(self) -> float:
        return self.road.told("messages_in_hand")

    @property
    def hidden_for(self) -> list[int]:
        """
        For how many seconds messages were to be hidden, each time.
        """
        return [hiding.seconds for hiding in self.road.sqs.hidings]

    def announce(self, number: int, *, first: int = 0) -> list[str]:
        """
        Put as many log files and announce each in a message of its own; return their texts.
        """
        texts = []
        for one in range(first, first + number):
            texts.append(self.road.put(f"file-{one}", api_call("PutFile", f"repository-{one % 3}")))
            self.road.announce(f"file-{one}")
        return texts

    async def take_one_in_hand(self) -> None:
        """
        Receive the one message there is, and no other after it.
        """
        async with self.running():
            await until(lambda: self.in_hand == 1, "it is in hand")


@pytest.fixture
def consumption() -> Consumption:
    return Consumption(Road(MemoryLedger()))


@pytest.fixture
def full_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A message in hand is enough for no more to be asked for: no receive is under way.
    """
    monkeypatch.setattr(module, "MESSAGES_IN_HAND_MAX", 10)


@in_no_time
async def test_messages_are_counted_as_they_come(consumption: Consumption) -> None:
    """
    What is in the queue and what comes later is counted, and the queue is empty afterwards.
    """
    road = consumption.road
    async with consumption.running():
        texts = consumption.announce(25)
        await until(lambda: not road.sqs.messages, "the queue is empty")
        texts.append(road.put("late", api_call("PutFile", "late")))
        road.announce("late")
        await until(lambda: not road.sqs.messages, "the queue is empty again")
    await consumption.consumer.drain(10)

    assert oracle.count(texts) == road.totals
    assert {"deleted": 26} == consumption.ended
    assert 0 == consumption.in_hand


@in_no_time
async def test_each_message_ends_in_one_way(consumption: Consumption) -> None:
    """
    Good, missing, foreign, undeletable: each counts once among the outcomes, none stays in hand.
    """
    road = consumption.road
    texts = consumption.announce(3)
    road.sqs.send("not for us")
    road.announce("missing")
    texts.append(road.put("undeletable", api_call("PutFile", "tools")))
    road.sqs.undeletable.add(road.announce("undeletable"))
    await consumption.run_until(lambda: sum(consumption.ended.values()) >= 6, "all have ended")

    assert {"deleted": 3, "left": 2, "postponed": 1} == consumption.ended
    assert 6 == road.sqs.handed_out
    assert 0 == consumption.in_hand
    assert oracle.count(texts) == road.totals


@in_no_time
async def test_what_is_refused_for_good_is_not_touched(consumption: Consumption) -> None:
    """
    It is neither deleted nor given back nor hidden: it stays as it is until its timeout ends.
    """
    road = consumption.road
    road.s3.objects[BUCKET, "malformed"] = b"no log file"
    road.s3.objects[BUCKET, "oversized"] = bytes(BYTES_IN_HAND_MAX + 1)
    ids = {
        road.announce("malformed"),
        road.announce("oversized"),
        road.announce("malformed", bucket="strangers-logs"),
        road.sqs.send("not for us"),
    }
    await consumption.run_until(lambda: bool(consumption.ended), "they have ended")

    assert {"left": 4} == consumption.ended
    assert ids == road.sqs.in_flight
    assert [] == keys_of(road.edge.calls, "delete_message_batch")
    assert [] == keys_of(road.edge.calls, "change_message_visibility_batch")


@in_no_time
async def test_what_comes_back_is_tried_again(consumption: Consumption) -> None:
    """
    A message that was left ends well once what was wrong has been mended.
    """
    road = consumption.road
    texts = consumption.announce(1)
    road.edge.fail("commit", ZeroDivisionError("surprise"))
    async with consumption.running():
        await until(lambda: "left" in consumption.ended, "it is left")
        await until(lambda: not road.sqs.messages, "it is deleted", patience_seconds=60)

    assert {"left": 1, "deleted": 1} == consumption.ended
    assert 0 == consumption.in_hand
    assert oracle.count(texts) == road.totals


# A message in hand is kept invisible.


@in_no_time
async def test_a_message_in_hand_is_hidden_anew_at_half_its_time(consumption: Consumption) -> None:
    """
    However long a message takes, others do not receive it; the queue's own timeout is kept.
    """
    road = consumption.road
    road.sqs.attributes["VisibilityTimeout"] = "40"
    await road.queue.depth()
    gate = road.edge.close("get_object")
    texts = consumption.announce(1)
    async with consumption.running():
        await until(lambda: len(road.sqs.hidings) == 4, "it is hidden", patience_seconds=100)
        gate.set()
        await until(lambda: not road.sqs.messages, "it is deleted")

    assert [Hiding("message-1", after, 40) for after in (20, 40, 60, 80)] == road.sqs.hidings
    assert 1 == road.sqs.handed_out
    assert {"deleted": 1} == consumption.ended
    assert oracle.count(texts) == road.totals


@in_no_time
async def test_what_nobody_has_begun_is_hidden_too(consumption: Consumption) -> None:
    """
    A message that waits for its turn in hand is as invisible as one that is worked at.
    """
    road = consumption.road
    gate = road.edge.close("commit")
    number = module.MESSAGES_BEGUN_MAX + 10
    texts = consumption.announce(number)
    async with consumption.running():
        await until(lambda: consumption.in_hand == number, "all are in hand")
        await until(lambda: len(road.sqs.hidings) == 3 * number, "hidden", patience_seconds=100)
        gate.set()
        await until(lambda: not road.sqs.messages, "all are deleted")

    assert number == road.sqs.handed_out
    assert oracle.count(texts) == road.totals


@in_no_time
async def test_nobody_hides_a_message_for_longer_than_sqs_lets_it(consumption: Consumption) -> None:
    """
    The last times are shorter, so that they end within 12 hours; then it is left to others.
    """
    road = consumption.road
    road.sqs.attributes["VisibilityTimeout"] = "3600"
    await road.queue.depth()
    road.edge.close("get_object")
    consumption.announce(1)
    await consumption.take_one_in_hand()
    await until(
        lambda: not road.sqs.in_flight, "it is visible", patience_seconds=2 * VISIBILITY_SECONDS_MAX
    )
    ends = [hiding.after + hiding.seconds for hiding in road.sqs.hidings]

    assert [3600] * 21 == consumption.hidden_for[:21]
    assert [round(module.IN_HAND_SECONDS_MAX)] * 2 == ends[-2:]
    assert sorted(ends) == ends


@in_no_time
async def test_a_message_that_is_not_in_hand_any_more_is_hidden_no_more(
    consumption: Consumption,
) -> None:
    """
    Once SQS does not take the receipt handle there is nothing left to keep.
    """
    road = consumption.road
    road.edge.close("get_object")
    consumption.announce(1)
    await consumption.take_one_in_hand()
    road.sqs.come_back()
    await asyncio.sleep(200)

    assert [Hiding("message-1", 15, 30)] == road.sqs.hidings
    assert 1 == consumption.in_hand


@in_no_time
async def test_a_message_survives_a_fault_of_hiding_it(
    consumption: Consumption, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Hiding that fails once is tried again before the message comes back, and is told.
    """
    road = consumption.road
    road.edge.close("get_object")
    road.edge.fail("change_message_visibility_batch", no_connection())
    consumption.announce(1)
    await consumption.take_one_in_hand()
    await asyncio.sleep(200)

    assert {"message-1"} == road.sqs.in_flight
    assert 1 == caplog.text.count("A message in hand could not be kept invisible")


@pytest.mark.parametrize(
    ("end", "outcome", "hidden_for"),
    [
        ("nothing", "deleted", []),
        ("missing", "postponed", [30]),
        ("stop", "released", [0]),
    ],
)
@in_no_time
async def test_what_has_ended_is_hidden_no_more(
    consumption: Consumption, end: str, outcome: str, hidden_for: list[int]
) -> None:
    """
    After a message has been deleted, postponed or released, nothing is done with it.
    """
    road = consumption.road
    gate = road.edge.close("get_object")
    consumption.announce(1)
    await consumption.take_one_in_hand()
    await asyncio.sleep(20)
    if end == "missing":
        road.s3.objects.clear()
    if end != "stop":
        gate.set()
    await consumption.consumer.drain(10)
    await asyncio.sleep(200)

    assert {outcome: 1} == consumption.ended
    assert [30, *hidden_for] == consumption.hidden_for


class SlowSqs(FakeSqs):
    """
    Takes a second to hide a message for 30, and does so though the caller has hung up.
    """

    async def change_message_visibility_batch(self, **parameters: Any) -> dict[str, Any]:
        return await asyncio.shield(asyncio.ensure_future(self._hide_slowly(parameters)))

    async def _hide_slowly(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if any(entry["VisibilityTimeout"] == 30 for entry in parameters["Entries"]):
            await asyncio.sleep(1)
        return await super().change_message_visibility_batch(**parameters)


@in_no_time
async def test_hiding_that_is_under_way_does_not_undo_what_follows() -> None:
    """
    A message that is being hidden while it ends stays postponed for as long as it should.
    """
    edge = Edge()
    consumption = Consumption(Road(MemoryLedger(), edge=edge, sqs=SlowSqs(edge)))
    road = consumption.road
    gate = edge.close("get_object")
    road.announce("missing")
    for _ in range(3):
        await road.queue.receive(1)
        road.sqs.come_back()
    await consumption.take_one_in_hand()
    await asyncio.sleep(15.5)
    gate.set()
    await consumption.consumer.drain(10)
    await asyncio.sleep(200)

    assert {"postponed": 1} == consumption.ended
    assert [30, 240] == consumption.hidden_for
    assert {"message-1"} == road.sqs.in_flight


# A log file that is not to be had is tried again later.


@pytest.mark.parametrize(
    "fault",
    [
        refusal("GetObject", "InternalError", 500),
        refusal("GetObject", "ServiceUnavailable", 503),
        refusal("GetObject", "NoSuchKey", 404),
        refusal("GetObject", "AccessDenied", 403),
        SLOW_DOWN,
        no_connection(),
    ],
    ids=["500", "503", "404", "403", "slow_down", "no_connection"],
)
@in_no_time
async def test_what_s3_does_not_hand_over_is_postponed(
    consumption: Consumption, fault: Exception
) -> None:
    """
    Whatever S3's reason, the message comes back later, and is counted when S3 does better.
    """
    road = consumption.road
    road.edge.fail("get_object", fault)
    texts = consumption.announce(1)
    async with consumption.running():
        await until(lambda: bool(consumption.ended), "it has ended")
        first = consumption.ended, list(road.sqs.hidings)
        await until(lambda: not road.sqs.messages, "it is deleted", patience_seconds=60)

    assert ({"postponed": 1}, [Hiding("message-1", 0, 30)]) == first
    assert {"postponed": 1, "deleted": 1} == consumption.ended
    assert oracle.count(texts) == road.totals


@pytest.mark.parametrize(
    ("visibility", "seconds"),
    [
        (30, [30, 60, 120, 240, 480, 900, 900]),
        (400, [400, 800, 900, 900]),
        (3600, [3600, 3600, 3600]),
    ],
)
@in_no_time
async def test_a_message_comes_back_later_each_time(
    consumption: Consumption, visibility: int, seconds: list[int]
) -> None:
    """
    Twice as late after each receipt, up to a quarter of an hour, and never earlier than usual.
    """
    road = consumption.road
    road.sqs.attributes["VisibilityTimeout"] = str(visibility)
    await road.queue.depth()
    road.announce("missing")
    async with consumption.running():
        await until(
            lambda: len(road.sqs.hidings) == len(seconds),
            "it has been postponed as often",
            patience_seconds=VISIBILITY_SECONDS_MAX,
        )

    assert seconds == consumption.hidden_for
    assert len(seconds) == road.sqs.messages["message-1"].receives


@in_no_time
async def test_a_message_that_cannot_be_postponed_is_left(consumption: Consumption) -> None:
    """
    If hiding it longer fails, it comes back as it would have done by itself.
    """
    road = consumption.road
    road.edge.fail("get_object", refusal("GetObject", "InternalError", 500))
    road.edge.fail("change_message_visibility_batch", no_connection())
    consumption.announce(1)
    async with consumption.running():
        await until(lambda: bool(consumption.ended), "it has ended")
        await until(lambda: not road.sqs.messages, "it is deleted", patience_seconds=60)

    assert {"left": 1, "deleted": 1} == consumption.ended
    assert 0 == consumption.in_hand


@in_no_time
async def test_not_found_and_forbidden_are_told_apart(
    consumption: Consumption, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A file that is gone and one that may not be read need different things of a person.
    """
    road = consumption.road
    road.edge.fail("get_object one", refusal("GetObject", "AccessDenied", 403))
    road.announce("one")
    road.announce("two")
    await consumption.run_until(lambda: bool(consumption.ended), "both have ended")
    lines = [
        vars(record)["fields"] for record in caplog.records if "hint" in vars(record)["fields"]
    ]

    assert {"postponed": 2} == consumption.ended
    assert {
        f"s3://{BUCKET}/one: GetObject answered AccessDenied (HTTP 403)": LogFileDenied.hint,
        f"s3://{BUCKET}/two: GetObject answered NoSuchKey (HTTP 404)": LogFileMissing.hint,
    } == {str(line["error"]): line["hint"] for line in lines}


@in_no_time
async def test_the_good_files_of_a_message_are_counted_whatever_the_others_are(
    consumption: Consumption,
) -> None:
    """
    What may do better another time decides how the message ends, not what never will.
    """
    road = consumption.road
    texts = [road.put("one", api_call("PutFile", "a")), road.put("four", api_call("PutFile", "b"))]
    road.s3.objects[BUCKET, "malformed"] = b"no log file"
    road.announce("one", "malformed", "missing", "four")
    await consumption.run_until(lambda: bool(consumption.ended), "it has ended")

    assert {"postponed": 1} == consumption.ended
    assert oracle.count(texts) == road.totals


# A ledger that cannot be written.


@in_no_time
async def test_messages_stay_in_hand_while_the_ledger_cannot_be_written(
    consumption: Consumption,
) -> None:
    """
    They are tried until it can, hidden meanwhile, and nothing more is received.
    """
    road = consumption.road
    road.edge.break_down("commit", FULL)
    texts = consumption.announce(3)
    sent = list(road.sqs.messages.values())
    async with consumption.running():
        await until(lambda: not road.ledger.writable, "the disk is full")
        await asyncio.sleep(WAIT_SECONDS)  # a receive that is under way might still bring some
        texts += consumption.announce(5, first=3)
        await asyncio.sleep(1000)
        meanwhile = consumption.ended, consumption.in_hand, road.sqs.handed_out
        tries = len(keys_of(road.edge.calls, "commit"))
        road.edge.mend("commit")
        await until(lambda: not road.sqs.messages, "the queue is empty", patience_seconds=60)
    await consumption.consumer.drain(10)

    assert ({}, 3, 3) == meanwhile
    assert 3 * 1000 / module.RETRY_SECONDS_MAX < tries
    assert [1, 1, 1] == [message.receives for message in sent]
    assert {"deleted": 8} == consumption.ended
    assert oracle.count(texts) == road.totals


@in_no_time
async def test_the_ledger_decides_over_files_that_are_not_to_be_had(
    consumption: Consumption,
) -> None:
    """
    A message of several files stays in hand for the ledger's sake, and ends as the others let it.
    """
    road = consumption.road
    road.edge.fail("commit", FULL, FULL)
    texts = [road.put("one", api_call("PutFile", "tools"))]
    road.s3.objects[BUCKET, "malformed"] = b"no log file"
    message_id = road.announce("malformed", "missing", "one")
    await consumption.run_until(lambda: bool(consumption.ended), "it has ended")

    assert {"postponed": 1} == consumption.ended
    assert 1 == road.sqs.messages[message_id].receives
    assert oracle.count(texts) == road.totals


@in_no_time
async def test_receiving_goes_on_with_nothing_in_hand() -> None:
    """
    Only a message can show that the ledger can be written again.
    """
    consumption = Consumption(Road(MemoryLedger()), writable=lambda: False)
    road = consumption.road
    texts = []
    async with consumption.running():
        for number in range(3):
            texts += consumption.announce(1, first=number)
            await until(lambda: not road.sqs.messages, "it is deleted")

    assert {"deleted": 3} == consumption.ended
    assert oracle.count(texts) == road.totals


@pytest.mark.usefixtures("full_hands")
@in_no_time
async def test_a_stop_does_not_wait_for_the_ledger(consumption: Consumption) -> None:
    """
    What waits for it to be written is given back at once, long before the grace is over.
    """
    road = consumption.road
    clock = asyncio.get_running_loop()
    road.edge.break_down("commit", FULL)
    consumption.announce(3)
    async with consumption.running():
        await until(lambda: not road.ledger.writable, "the disk is full")
        await until(lambda: consumption.in_hand == 3, "all are in hand")
    start = clock.time()
    await consumption.consumer.drain(10)

    assert clock.time() - start < 1
    assert {"released": 3} == consumption.ended
    assert set() == road.sqs.in_flight


@pytest.mark.usefixtures("full_hands")
@in_no_time
async def test_a_ledger_that_fails_during_a_stop_has_the_grace(consumption: Consumption) -> None:
    """
    What could not be written by its end is given back.
    """
    road = consumption.road
    gate = road.edge.close("commit")
    consumption.announce(3)
    async with consumption.running():
        await until(lambda: consumption.in_hand == 3, "all are in hand")
    road.edge.break_down("commit", FULL)
    asyncio.get_running_loop().call_later(1, gate.set)
    await consumption.consumer.drain(10)

    assert {"released": 3} == consumption.ended
    assert set() == road.sqs.in_flight


# One of many does not hold up the others.


@in_no_time
async def test_a_large_body_on_its_way_holds_up_nobody(consumption: Consumption) -> None:
    """
    Small log files are counted while one that takes all the room there is comes slowly.
    """
    road = consumption.road
    road.s3.objects[BUCKET, "large"] = bytes(BYTES_IN_HAND_MAX)
    road.edge.close("read large")
    road.announce("large")
    async with consumption.running():
        await until(lambda: "read large" in road.edge.calls, "the large one is on its way")
        texts = consumption.announce(100)
        await until(lambda: list(road.sqs.messages) == ["message-1"], "all others are deleted")

    assert {"deleted": 100} == consumption.ended
    assert 1 == consumption.in_hand
    assert oracle.count(texts) == road.totals


@in_no_time
async def test_receiving_pauses_while_s3_asks_for_fewer_requests(consumption: Consumption) -> None:
    """
    Each pause is longer than the one before, however many files were refused since then.
    """
    road = consumption.road
    road.edge.break_down("get_object", SLOW_DOWN)
    consumption.announce(300)
    async with consumption.running():
        await until(lambda: len(pauses(road)) > 4, "there are pauses", patience_seconds=60)

    assert all(earlier < later for earlier, later in pairwise(pauses(road)))
    assert pauses(road)[0] <= module.RETRY_SECONDS_MIN + 0.001


@in_no_time
async def test_pauses_are_over_once_s3_hands_over_files(consumption: Consumption) -> None:
    """
    Nothing is waited for any more, and the next pause is as short as the first.
    """
    road = consumption.road
    road.edge.break_down("get_object", SLOW_DOWN)
    consumption.announce(100)
    async with consumption.running():
        await until(lambda: len(pauses(road)) > 3, "there are pauses", patience_seconds=60)
        road.edge.mend("get_object")
        await until(lambda: not road.sqs.messages, "all are deleted", patience_seconds=900)
        road.edge.fail("get_object", SLOW_DOWN)
        consumption.announce(60)
        asked = len(road.edge.times["receive_message"])
        await until(lambda: bool(pauses(road, asked)), "there is a pause")

    assert pauses(road, asked)[0] <= module.RETRY_SECONDS_MIN + 0.001


@in_no_time
async def test_a_pause_is_one_for_what_is_in_hand_as_well(consumption: Consumption) -> None:
    """
    Of a hundred messages in hand, only what has been begun asks S3 before the pause is over.
    """
    road = consumption.road
    gate = road.edge.close("get_object")
    consumption.announce(100)
    async with consumption.running():
        await until(lambda: consumption.in_hand == 100, "all are in hand")
        road.edge.break_down("get_object", SLOW_DOWN)
        gate.set()
        await until(lambda: bool(consumption.ended), "the first is postponed")
        await idle(200)
        asked = len(keys_of(road.edge.calls, "get_object"))

    assert module.MESSAGES_BEGUN_MAX == asked


@in_no_time
async def test_only_a_log_file_ends_the_pauses(consumption: Consumption) -> None:
    """
    A message for which S3 has nothing to do says nothing of how S3 is.
    """
    road = consumption.road
    pace = consumption.consumer._pace
    for _ in range(4):
        pace.slow_down()
        await pace.keep()
    road.sqs.send(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}))
    await consumption.run_until(lambda: "deleted" in consumption.ended, "it is deleted")
    pace.slow_down()
    before = asyncio.get_running_loop().time()
    await pace.keep()

    assert asyncio.get_running_loop().time() - before > 8 * module.RETRY_SECONDS_MIN


def pauses(road: Road, since: int = 0) -> list[float]:
    """
    How long the queue was not asked although there were messages, each time since a receive.
    """
    asked = road.edge.times["receive_message"][since:]
    return [later - earlier for earlier, later in pairwise(asked) if later - earlier > 0.1]


@in_no_time
async def test_unforeseen_faults_stop_nothing(
    consumption: Consumption, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A message over which anything is raised is left; the next ones are counted.

    The first such fault of a minute is logged with its traceback, the others are not.
    """
    road = consumption.road
    consumption.announce(5)
    road.edge.fail("commit", ZeroDivisionError("surprise"), KeyError("surprise"))
    await consumption.run_until(lambda: sum(consumption.ended.values()) >= 5, "all have ended")
    tracebacks = [record for record in caplog.records if record.exc_info]

    assert {"deleted": 3, "left": 2} == consumption.ended
    assert 0 == consumption.in_hand
    assert [logging.ERROR] == [record.levelno for record in tracebacks]
    assert "Traceback" in caplog.text


@in_no_time
async def test_no_more_is_received_than_may_be_in_hand(consumption: Consumption) -> None:
    """
    While hands are full the queue is not asked; it is again as soon as a batch would fit.
    """
    road = consumption.road
    gate = road.edge.close("commit")
    texts = consumption.announce(150)
    async with consumption.running():
        await until(lambda: road.sqs.handed_out >= module.MESSAGES_IN_HAND_MAX, "hands are full")
        await idle(200)
        received = road.sqs.handed_out
        asked = len(keys_of(road.edge.calls, "receive_message"))
        in_hand = consumption.in_hand
        gate.set()
        await until(lambda: not road.sqs.messages, "the queue is empty")
    await consumption.consumer.drain(10)

    assert module.MESSAGES_IN_HAND_MAX == received == in_hand
    assert received / 10 == asked
    assert {"deleted": 150} == consumption.ended
    assert oracle.count(texts) == road.totals


@in_no_time
async def test_one_hand_too_few_is_enough_to_go_on(
    consumption: Consumption, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The message whose end makes room is the one after which the queue is asked again.
    """
    monkeypatch.setattr(module, "MESSAGES_IN_HAND_MAX", 10)
    road = consumption.road
    texts = consumption.announce(1)
    gate = road.edge.close("commit")
    async with consumption.running():
        await until(lambda: road.sqs.handed_out == 1, "one is in hand")
        texts.append(road.put("second", api_call("PutFile", "second")))
        road.announce("second")
        await idle(200)
        received = road.sqs.handed_out
        gate.set()
        await until(lambda: not road.sqs.messages, "the queue is empty")

    assert 1 == received
    assert oracle.count(texts) == road.totals


@in_no_time
async def test_a_failing_queue_is_asked_again(consumption: Consumption) -> None:
    """
    The queue's failures are waited out, told as its health, and nothing is lost by them.
    """
    road = consumption.road
    texts = consumption.announce(1)
    road.edge.fail(
        "receive_message",
        no_connection(),
        refusal("ReceiveMessage", "AccessDenied", 403),
        refusal("ReceiveMessage", "AWS.SimpleQueueService.NonExistentQueue"),
    )
    await consumption.run_until(lambda: bool(consumption.ended), "it has ended")

    *failing, well = (told or "" for told in consumption.health[:4])

    assert "" == well
    assert ["Could not connect", "AccessDenied", "does not exist"] == [
        words
        for words, told in zip(
            ["Could not connect", "AccessDenied", "does not exist"], failing, strict=True
        )
        if words in told
    ]
    assert oracle.count(texts) == road.totals


@in_no_time
async def test_back_off_starts_anew_after_an_answer(
    consumption: Consumption, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A queue waits longer after each failure, and as short as at first once it has answered.
    """
    road = consumption.road
    waits: list[float] = []
    monkeypatch.setattr(
        road.telemetry, "queue_failed", lambda _, *, retry_seconds: waits.append(retry_seconds)
    )
    road.edge.fail("receive_message", *(no_connection() for _ in range(4)))
    async with consumption.running():
        await until(lambda: None in consumption.health, "it answers", patience_seconds=60)
        road.edge.fail("receive_message", no_connection())
        await until(lambda: len(waits) == 5, "the queue fails again")

    assert all(earlier < later for earlier, later in pairwise(waits[:4]))
    assert waits[4] < waits[2]


def test_a_wait_doubles_up_to_its_bound() -> None:
    """
    Each wait is about twice the one before, until the bound; a reset starts again.
    """
    backoff = Backoff(seconds_max=10)
    waits = [backoff.next_seconds() for _ in range(6)]
    backoff.reset()
    waits.append(backoff.next_seconds())
    bounds = [1, 2, 4, 8, 10, 10, 1]

    assert [True] * 7 == [
        0.75 * bound <= wait <= bound for wait, bound in zip(waits, bounds, strict=True)
    ]


def test_waits_are_spread() -> None:
    """
    Chance keeps several processes from asking in step.
    """
    assert 1 < len({Backoff().next_seconds() for _ in range(100)})


@in_no_time
async def test_a_fault_of_receiving_is_not_swallowed(consumption: Consumption) -> None:
    """
    What nobody foresaw in receiving ends the consumer, for the program to stop.
    """
    consumption.road.edge.fail("receive_message", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await consumption.consumer.run()


@in_no_time
async def test_stopping_finishes_what_is_in_hand(consumption: Consumption) -> None:
    """
    What can be finished within the grace period is committed and deleted.
    """
    road = consumption.road
    gate = road.edge.close("commit")
    texts = consumption.announce(3)
    async with consumption.running():
        await until(lambda: consumption.in_hand == 3, "all are in hand")
    draining = asyncio.create_task(consumption.consumer.drain(10))
    await idle()
    early = draining.done()
    gate.set()
    await draining

    assert not early
    assert {"deleted": 3} == consumption.ended
    assert 0 == consumption.in_hand
    assert oracle.count(texts) == road.totals


@in_no_time
async def test_what_nobody_has_begun_is_given_back_first(consumption: Consumption) -> None:
    """
    A stop releases it at once, and then lets what has been begun be finished.
    """
    road = consumption.road
    gate = road.edge.close("commit")
    texts = consumption.announce(module.MESSAGES_IN_HAND_MAX)
    begun = list(road.sqs.messages)[: module.MESSAGES_BEGUN_MAX]
    others = module.MESSAGES_IN_HAND_MAX - module.MESSAGES_BEGUN_MAX
    async with consumption.running():
        await until(lambda: consumption.in_hand == len(texts), "hands are full")
    draining = asyncio.create_task(consumption.consumer.drain(10))
    await until(lambda: consumption.ended.get("released") == others, "they are released")
    early = consumption.ended, sorted(road.sqs.in_flight), draining.done()
    gate.set()
    await draining

    assert ({"released": others}, sorted(begun), False) == early
    assert {"released": others, "deleted": len(begun)} == consumption.ended
    assert set() == set(begun) & set(road.sqs.messages)
    assert oracle.count(texts[: len(begun)]) == road.totals


@in_no_time
async def test_what_was_just_given_back_may_come_again(consumption: Consumption) -> None:
    """
    A receive that is under way brings what a stop has released, and it is released again.
    """
    road = consumption.road
    number = module.MESSAGES_BEGUN_MAX + 5
    gate = road.edge.close("commit")
    consumption.announce(number)
    async with consumption.running():
        await until(lambda: consumption.in_hand == number, "all are in hand")
    asyncio.get_running_loop().call_later(5, gate.set)
    await consumption.consumer.drain(10)

    assert {"deleted": module.MESSAGES_BEGUN_MAX, "released": 2 * 5} == consumption.ended
    assert [2] * 5 == [message.receives for message in road.sqs.messages.values()]
    assert set() == road.sqs.in_flight
    assert 0 == consumption.in_hand


@pytest.mark.usefixtures("full_hands")
@in_no_time
async def test_a_stop_is_over_within_its_grace(consumption: Consumption) -> None:
    """
    One message that is not finished does not keep the others from it, and is given back in time.
    """
    road = consumption.road
    clock = asyncio.get_running_loop()
    road.edge.close("commit file-1")
    gate = road.edge.close("commit")
    texts = consumption.announce(3)
    async with consumption.running():
        await until(lambda: consumption.in_hand == 3, "all are in hand")
    start = clock.time()
    clock.call_later(5, gate.set)
    await consumption.consumer.drain(10)

    assert clock.time() - start < 10
    assert {"deleted": 2, "released": 1} == consumption.ended
    assert set() == road.sqs.in_flight
    assert oracle.count([texts[0], texts[2]]) == road.totals


@in_no_time
async def test_the_queue_is_not_asked_after_a_stop(consumption: Consumption) -> None:
    """
    Once receiving has been cancelled there is the answer to the last receive, and no other.
    """
    road = consumption.road
    async with consumption.running():
        await until(lambda: bool(consumption.health), "the queue has answered", patience_seconds=60)
    asked = len(keys_of(road.edge.calls, "receive_message"))
    consumption.announce(15)
    await consumption.consumer.drain(10)

    assert asked == len(keys_of(road.edge.calls, "receive_message"))
    assert {"released": 10} == consumption.ended
    assert set() == road.sqs.in_flight


@in_no_time
async def test_what_arrives_during_a_stop_is_given_back(consumption: Consumption) -> None:
    """
    Messages of the last receive are released at once: nobody else could see them for long.
    """
    road = consumption.road
    gate = road.edge.close("receive_message")
    ids = {road.announce("one"), road.announce("two")}
    async with consumption.running():
        await until(lambda: bool(road.edge.calls), "the queue has been asked")
        asyncio.get_running_loop().call_later(0.5, gate.set)
    await consumption.consumer.drain(10)

    assert {"released": 2} == consumption.ended
    assert 0 == consumption.in_hand
    assert ids == set(road.sqs.messages)
    assert set() == road.sqs.in_flight


@in_no_time
async def test_a_last_receive_may_fail(consumption: Consumption) -> None:
    """
    A stop comes while the queue is failing, and ends all the same.
    """
    road = consumption.road
    gate = road.edge.close("receive_message")
    road.edge.fail("receive_message", no_connection())
    async with consumption.running():
        await until(lambda: bool(road.edge.calls), "the queue has been asked")
        asyncio.get_running_loop().call_later(0.5, gate.set)
    await consumption.consumer.drain(10)

    assert {} == consumption.ended


@in_no_time
async def test_a_stop_waits_for_the_last_receive_for_a_while_only(consumption: Consumption) -> None:
    """
    A long poll may last much longer than a stop.
    """
    road = consumption.road
    gate = road.edge.close("receive_message")
    road.announce("one")
    async with consumption.running():
        await until(lambda: bool(road.edge.calls), "the queue has been asked")
    async with asyncio.timeout(2 * module.LAST_RECEIVE_SECONDS):
        await consumption.consumer.drain(10)
    gate.set()
    await idle()

    assert 0 == road.sqs.handed_out
    assert {} == consumption.ended


@pytest.mark.usefixtures("full_hands")
@in_no_time
async def test_what_is_not_finished_in_time_is_released(consumption: Consumption) -> None:
    """
    At the end of the grace period what is left in hand is given back, for others to receive.
    """
    road = consumption.road
    consumption.announce(2)
    async with consumption.running():
        await until(lambda: consumption.ended == {"deleted": 2}, "two are done")
        road.edge.close("get_object")
        ids = {road.announce("file-0"), road.announce("file-1")}
        await until(lambda: consumption.in_hand == 2, "two are in hand")
    await consumption.consumer.drain(10)

    assert {"deleted": 2, "released": 2} == consumption.ended
    assert 0 == consumption.in_hand
    assert ids == set(road.sqs.messages)
    assert set() == road.sqs.in_flight


@pytest.mark.usefixtures("full_hands")
@in_no_time
async def test_a_release_that_hangs_is_given_up(consumption: Consumption) -> None:
    """
    A stop does not last longer than its grace, even if SQS does not answer.
    """
    road = consumption.road
    for operation in ("get_object", "change_message_visibility_batch"):
        road.edge.close(operation)
    consumption.announce(1)
    async with consumption.running():
        await until(lambda: consumption.in_hand == 1, "it is in hand")
    async with asyncio.timeout(10 + module.LAST_RECEIVE_SECONDS):
        await consumption.consumer.drain(10)

    assert {} == consumption.ended
    assert {"message-1"} == road.sqs.in_flight


@pytest.mark.usefixtures("full_hands")
@pytest.mark.parametrize("fault", [no_connection(), ZeroDivisionError()], ids=["known", "unknown"])
@in_no_time
async def test_a_release_that_fails_leaves_the_message(
    consumption: Consumption, fault: Exception
) -> None:
    """
    If giving back fails, for whatever reason, the message comes back by itself.
    """
    road = consumption.road
    road.edge.close("get_object")
    road.edge.fail("change_message_visibility_batch", fault)
    consumption.announce(2)
    async with consumption.running():
        await until(lambda: consumption.in_hand == 2, "both are in hand")
    await consumption.consumer.drain(10)

    assert {"left": 2} == consumption.ended
    assert 0 == consumption.in_hand


@pytest.mark.usefixtures("full_hands")
@in_no_time
async def test_a_stop_during_a_deletion_costs_nothing(consumption: Consumption) -> None:
    """
    A message that is given up while it is being deleted ends once, and counts once.
    """
    road = consumption.road
    gate = road.edge.close("delete_message_batch")
    texts = consumption.announce(1)
    async with consumption.running():
        await until(
            lambda: bool(keys_of(road.edge.calls, "delete_message_batch")), "it is being deleted"
        )
    await consumption.consumer.drain(10)
    gate.set()
    await idle()

    assert {"released": 1} == consumption.ended
    assert 0 == consumption.in_hand
    assert oracle.count(texts) == road.totals


@in_no_time
async def test_draining_idle_hands_returns_at_once(consumption: Consumption) -> None:
    """
    There is nothing to wait for.
    """
    await asyncio.wait_for(consumption.consumer.drain(60), 1)

    assert {} == consumption.ended


@in_no_time
async def test_the_age_of_messages_is_told(consumption: Consumption) -> None:
    """
    The oldest message received lately shows how far behind the program is.
    """
    road = consumption.road
    age = road.told("queue_oldest_age_seconds", queue="trail-queue")
    consumption.announce(2)
    await consumption.run_until(lambda: consumption.ended == {"deleted": 2}, "both are done")

    assert 0 == age
    assert 10 == road.told("queue_oldest_age_seconds", queue="trail-queue")
