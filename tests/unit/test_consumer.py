"""
What is received, how much of it is in hand, and how each message ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from exporter import consumer as module
from exporter.consumer import Backoff, Consumer
from exporter.errors import LedgerUnavailable
from exporter.ledger.memory import MemoryLedger
from tests import oracle
from tests.fakes import Road, idle, keys_of, no_connection, refusal, until
from tests.records import api_call

OUTCOMES = ("deleted", "left", "released")


class Consumption:
    """
    A consumer at work on a road, and what it says of the queue's health.
    """

    def __init__(self, road: Road) -> None:
        self.road = road
        self.health: list[str | None] = []
        self.consumer = Consumer(road.queue, road.pipeline, road.telemetry, self.health.append)

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

    def announce(self, number: int) -> list[str]:
        """
        Put as many log files and announce each in a message of its own; return their texts.
        """
        texts = []
        for one in range(number):
            texts.append(self.road.put(f"file-{one}", api_call("PutFile", f"repository-{one % 3}")))
            self.road.announce(f"file-{one}")
        return texts


@pytest.fixture
async def consumption() -> Consumption:
    return Consumption(Road(MemoryLedger()))


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


async def test_each_message_ends_in_one_way(consumption: Consumption) -> None:
    """
    Good, bad, foreign, undeletable: each counts once among the outcomes, none stays in hand.
    """
    road = consumption.road
    texts = consumption.announce(3)
    road.sqs.send("not for us")
    road.announce("missing")
    texts.append(road.put("undeletable", api_call("PutFile", "tools")))
    road.sqs.undeletable.add(road.announce("undeletable"))
    await consumption.run_until(lambda: sum(consumption.ended.values()) >= 6, "all have ended")

    assert {"deleted": 3, "left": 3} == consumption.ended
    assert 6 == road.sqs.handed_out
    assert 0 == consumption.in_hand
    assert oracle.count(texts) == road.totals


async def test_a_message_that_is_left_is_not_touched(consumption: Consumption) -> None:
    """
    It is neither deleted nor given back: it stays in flight until its timeout ends.
    """
    road = consumption.road
    message_id = road.announce("missing")
    await consumption.run_until(lambda: bool(consumption.ended), "it has ended")

    assert {message_id} == road.sqs.in_flight
    assert [] == keys_of(road.edge.calls, "delete_message_batch")
    assert [] == keys_of(road.edge.calls, "change_message_visibility")


async def test_what_comes_back_is_tried_again(consumption: Consumption) -> None:
    """
    A message that was left ends well once what was wrong has been mended.
    """
    road = consumption.road
    texts = consumption.announce(1)
    road.edge.fail("commit", LedgerUnavailable("the disk is full"))
    async with consumption.running():
        await until(lambda: "left" in consumption.ended, "it is left")
        road.sqs.come_back()
        await until(lambda: "deleted" in consumption.ended, "it is deleted")

    assert {"left": 1, "deleted": 1} == consumption.ended
    assert 0 == consumption.in_hand
    assert oracle.count(texts) == road.totals


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


async def test_a_failing_queue_is_asked_again(
    consumption: Consumption, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The queue's failures are waited out, told as its health, and nothing is lost by them.
    """
    monkeypatch.setattr(module, "RETRY_SECONDS_MIN", 0.001)
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


async def test_back_off_starts_anew_after_an_answer(
    consumption: Consumption, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A queue waits longer after each failure, and as short as at first once it has answered.
    """
    monkeypatch.setattr(module, "RETRY_SECONDS_MIN", 0.001)
    road = consumption.road
    waits: list[float] = []
    monkeypatch.setattr(
        road.telemetry, "queue_failed", lambda _, *, retry_seconds: waits.append(retry_seconds)
    )
    road.edge.fail("receive_message", *(no_connection() for _ in range(4)))
    async with consumption.running():
        await until(lambda: None in consumption.health, "the queue answers")
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


async def test_a_fault_of_receiving_is_not_swallowed(consumption: Consumption) -> None:
    """
    What nobody foresaw in receiving ends the consumer, for the program to stop.
    """
    consumption.road.edge.fail("receive_message", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await consumption.consumer.run()


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


async def test_nothing_is_received_after_a_stop(consumption: Consumption) -> None:
    """
    Once receiving has been cancelled the queue is not asked any more.
    """
    road = consumption.road
    async with consumption.running():
        await until(lambda: len(consumption.health) > 1, "the queue has been asked")
    road.announce("one")
    asked = len(road.edge.calls)
    await consumption.consumer.drain(10)

    assert asked == len(road.edge.calls)
    assert 0 == road.sqs.handed_out


async def test_what_arrives_during_a_stop_is_given_back(consumption: Consumption) -> None:
    """
    Messages of the last receive are released at once: nobody else could see them for long.
    """
    road = consumption.road
    gate = road.edge.close("receive_message")
    ids = {road.announce("one"), road.announce("two")}
    async with consumption.running():
        await until(lambda: bool(road.edge.calls), "the queue has been asked")
        asyncio.get_running_loop().call_later(0.01, gate.set)
    await consumption.consumer.drain(0.1)

    assert {"released": 2} == consumption.ended
    assert 0 == consumption.in_hand
    assert ids == set(road.sqs.messages)
    assert set() == road.sqs.in_flight


async def test_a_last_receive_may_fail(consumption: Consumption) -> None:
    """
    A stop comes while the queue is failing, and ends all the same.
    """
    road = consumption.road
    gate = road.edge.close("receive_message")
    road.edge.fail("receive_message", no_connection())
    async with consumption.running():
        await until(lambda: bool(road.edge.calls), "the queue has been asked")
        asyncio.get_running_loop().call_later(0.01, gate.set)
    await consumption.consumer.drain(0.1)

    assert {} == consumption.ended


async def test_a_stop_waits_for_the_last_receive_for_a_while_only(
    consumption: Consumption, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A long poll may last much longer than a stop.
    """
    monkeypatch.setattr(module, "LAST_RECEIVE_SECONDS", 0.01)
    road = consumption.road
    gate = road.edge.close("receive_message")
    road.announce("one")
    async with asyncio.timeout(1), consumption.running():
        await until(lambda: bool(road.edge.calls), "the queue has been asked")
    gate.set()
    await idle()

    assert 0 == road.sqs.handed_out
    assert {} == consumption.ended


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
    await consumption.consumer.drain(0.1)

    assert {"deleted": 2, "released": 2} == consumption.ended
    assert 0 == consumption.in_hand
    assert ids == set(road.sqs.messages)
    assert set() == road.sqs.in_flight


async def test_a_release_that_hangs_is_given_up(consumption: Consumption) -> None:
    """
    A stop does not last longer than its grace, even if SQS does not answer.
    """
    road = consumption.road
    for operation in ("get_object", "change_message_visibility"):
        road.edge.close(operation)
    consumption.announce(1)
    async with consumption.running():
        await until(lambda: consumption.in_hand == 1, "it is in hand")
    await asyncio.wait_for(consumption.consumer.drain(0.1), 1)

    assert {} == consumption.ended
    assert {"message-1"} == road.sqs.in_flight


@pytest.mark.parametrize("fault", [no_connection(), ZeroDivisionError()], ids=["known", "unknown"])
async def test_a_release_that_fails_leaves_the_message(
    consumption: Consumption, fault: Exception
) -> None:
    """
    If giving back fails, for whatever reason, the message comes back by itself.
    """
    road = consumption.road
    road.edge.close("get_object")
    road.edge.fail("change_message_visibility", fault)
    consumption.announce(2)
    async with consumption.running():
        await until(lambda: consumption.in_hand == 2, "both are in hand")
    await consumption.consumer.drain(0.1)

    assert {"left": 1, "released": 1} == consumption.ended
    assert 0 == consumption.in_hand


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
    await consumption.consumer.drain(0.1)
    gate.set()
    await idle()

    assert {"released": 1} == consumption.ended
    assert 0 == consumption.in_hand
    assert oracle.count(texts) == road.totals


async def test_draining_idle_hands_returns_at_once(consumption: Consumption) -> None:
    """
    There is nothing to wait for.
    """
    await asyncio.wait_for(consumption.consumer.drain(60), 1)

    assert {} == consumption.ended


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
