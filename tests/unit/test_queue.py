"""
The queue, on an SQS client that keeps to SQS's limits.
"""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ServerDisconnectedError

from exporter.aws.queue import Depth, Message, Queue, queue_names
from exporter.errors import QueueDenied, QueueMissing, QueueUnavailable
from tests.fakes import (
    DEAD_LETTER_ARN,
    QUEUE,
    QUEUE_URL,
    Edge,
    FakeSqs,
    idle,
    keys_of,
    no_connection,
    refusal,
)


@pytest.fixture
async def sqs() -> FakeSqs:
    return FakeSqs(Edge())


@pytest.fixture
def queue(sqs: FakeSqs) -> Queue:
    return Queue(sqs, QUEUE_URL, QUEUE)


async def test_a_message_is_received_as_sent(queue: Queue, sqs: FakeSqs) -> None:
    """
    A message has its id, its body, what deletes it and the time it was sent.
    """
    message_id = sqs.send("hello")

    assert [
        Message(message_id, "hello", f"{message_id} receipt 1", sent_ms=1_789_999_990_000)
    ] == await queue.receive(10)


async def test_an_empty_queue_brings_nothing(queue: Queue) -> None:
    """
    An answer without messages is an empty list, once the long poll is over.
    """
    assert [] == await queue.receive(10)


async def test_a_receive_waits_for_the_first_message(queue: Queue, sqs: FakeSqs) -> None:
    """
    A long poll ends when a message arrives.
    """
    receiving = asyncio.create_task(queue.receive(10))
    await idle()
    waiting = not receiving.done()
    sqs.send("hello")

    assert waiting
    assert ["hello"] == [message.body for message in await receiving]


@pytest.mark.parametrize(("wanted", "received"), [(1, 1), (10, 10), (50, 10)])
async def test_no_more_is_asked_for_than_sqs_gives(
    queue: Queue, sqs: FakeSqs, wanted: int, received: int
) -> None:
    """
    At most what is wanted is received, and never more than 10.
    """
    for number in range(12):
        sqs.send(str(number))

    assert received == len(await queue.receive(wanted))


async def test_deletions_that_are_ready_go_together(queue: Queue, sqs: FakeSqs) -> None:
    """
    Twelve deletions at once are a batch of 10 and one of 2.
    """
    for number in range(12):
        sqs.send(str(number))
    messages = [*await queue.receive(10), *await queue.receive(10)]
    await asyncio.gather(*map(queue.delete, messages))
    batches = keys_of(sqs.edge.calls, "delete_message_batch")

    assert {} == sqs.messages
    assert [10, 2] == [len(batch.split(",")) for batch in batches]


async def test_a_deletion_may_fail_in_a_successful_answer(queue: Queue, sqs: FakeSqs) -> None:
    """
    A batch delete fails entry by entry, and each caller learns of its own.
    """
    bad = sqs.send("bad")
    sqs.send("good")
    sqs.undeletable.add(bad)
    messages = await queue.receive(10)
    answers = await asyncio.gather(*map(queue.delete, messages), return_exceptions=True)

    assert [QueueUnavailable, type(None)] == [type(answer) for answer in answers]
    assert f"{QUEUE}: a deletion answered InternalError" == str(answers[0])
    assert [bad] == list(sqs.messages)


async def test_a_batch_that_fails_deletes_nothing(queue: Queue, sqs: FakeSqs) -> None:
    """
    If the whole request fails everyone in it is told.
    """
    sqs.send("one")
    sqs.send("two")
    sqs.edge.fail("delete_message_batch", no_connection())
    messages = await queue.receive(10)
    answers = await asyncio.gather(*map(queue.delete, messages), return_exceptions=True)

    assert [QueueUnavailable, QueueUnavailable] == [type(answer) for answer in answers]
    assert 2 == len(sqs.messages)


async def test_a_deletion_goes_on_when_its_caller_gives_up(queue: Queue, sqs: FakeSqs) -> None:
    """
    A caller that is cancelled takes nothing from the batch that is under way.
    """
    sqs.send("one")
    gate = sqs.edge.close("delete_message_batch")
    (message,) = await queue.receive(10)
    deleting = asyncio.create_task(queue.delete(message))
    await idle()
    deleting.cancel()
    gate.set()
    await idle()

    assert deleting.cancelled()
    assert {} == sqs.messages


async def test_a_released_message_is_there_at_once(queue: Queue, sqs: FakeSqs) -> None:
    """
    Others can receive a message that has been released.
    """
    message_id = sqs.send("hello")
    (message,) = await queue.receive(10)
    await queue.release(message)

    assert [message_id] == [again.message_id for again in await queue.receive(10)]


async def test_a_release_can_fail(queue: Queue) -> None:
    """
    A message that is gone cannot be released.
    """
    with pytest.raises(QueueUnavailable, match="ReceiptHandleIsInvalid"):
        await queue.release(Message("gone", "", "gone"))


async def test_the_depth_of_a_queue(queue: Queue, sqs: FakeSqs) -> None:
    """
    Messages are counted by state, and the dead-letter queue is named.
    """
    for number in range(12):
        sqs.send(str(number))
    await queue.receive(10)

    assert (
        Depth({"visible": 2, "in_flight": 10, "delayed": 0}, DEAD_LETTER_ARN) == await queue.depth()
    )


async def test_a_queue_without_a_dead_letter_queue(queue: Queue, sqs: FakeSqs) -> None:
    """
    A queue need not have one.
    """
    sqs.attributes.clear()

    assert (await queue.depth()).dead_letter_arn is None


async def test_dead_letters_are_counted_by_arn(queue: Queue, sqs: FakeSqs) -> None:
    """
    The dead-letter queue is found by its account and name.
    """
    sqs.dead = 3

    assert 3 == await queue.dead_letters(DEAD_LETTER_ARN)


async def test_dead_letters_may_be_out_of_reach(queue: Queue) -> None:
    """
    A dead-letter queue of another account, or one that may not be read, is unavailable.
    """
    with pytest.raises(QueueMissing, match=f"{QUEUE}-dead"):
        await queue.dead_letters(DEAD_LETTER_ARN.replace("123456789012", "999999999999"))


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (refusal("R", "AWS.SimpleQueueService.NonExistentQueue"), QueueMissing),
        (refusal("R", "QueueDoesNotExist"), QueueMissing),
        (refusal("R", "AccessDenied", 403), QueueDenied),
        (refusal("R", "AccessDeniedException"), QueueDenied),
        (refusal("R", "InternalError", 500), QueueUnavailable),
        (refusal("R", "SomethingNew"), QueueUnavailable),
        (no_connection(), QueueUnavailable),
        (ServerDisconnectedError(), QueueUnavailable),
        (TimeoutError(), QueueUnavailable),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_every_failure_has_its_kind(
    queue: Queue, sqs: FakeSqs, cause: Exception, kind: type[QueueUnavailable]
) -> None:
    """
    Whatever SQS or the network answers is one of the program's own errors, with its cause.

    It names the queue, and never the person whom AWS's own message names.
    """
    for operation, call in (
        ("receive_message", queue.receive(10)),
        ("get_queue_attributes", queue.depth()),
        ("delete_message_batch", queue.delete(Message("one", "", "one"))),
        ("change_message_visibility", queue.release(Message("one", "", "one"))),
        ("get_queue_url", queue.dead_letters(DEAD_LETTER_ARN)),
    ):
        sqs.edge.fail(operation, cause)
        with pytest.raises(QueueUnavailable) as caught:
            await call

        assert kind is type(caught.value)
        assert cause is caught.value.__cause__
        assert QUEUE in str(caught.value)
        assert "wilhelmine" not in str(caught.value)


@pytest.mark.parametrize("url", [QUEUE_URL, f"{QUEUE_URL}/", f"http://127.0.0.1:5000/1/{QUEUE}"])
def test_a_queue_is_called_by_its_last_name(url: str) -> None:
    """
    The name is the last part of the URL.
    """
    assert [QUEUE] == queue_names([url])


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        ([], []),
        (["https://sqs.r/1/a", "https://sqs.r/1/b"], ["a", "b"]),
        (["https://sqs.r/1/a", "https://sqs.r/2/a/"], ["1/a", "2/a"]),
        (["https://sqs.r/1/a", "https://sqs.s/1/a"], ["sqs.r/1/a", "sqs.s/1/a"]),
        (
            ["https://sqs.r/1/a", "https://sqs.s/1/a", "https://sqs.s/1/b"],
            ["sqs.r/1/a", "sqs.s/1/a", "sqs.s/1/b"],
        ),
    ],
)
def test_queues_of_one_name_are_told_apart(urls: list[str], names: list[str]) -> None:
    """
    As much of their URLs is added to the name as tells them apart, and no more.
    """
    assert names == queue_names(urls)


@pytest.mark.parametrize("sent", [{}, {"Attributes": {}}, {"Attributes": {"SentTimestamp": "x"}}])
async def test_the_time_of_sending_may_be_missing(sent: dict[str, object]) -> None:
    """
    A message without a usable SentTimestamp is received all the same.
    """

    class Timeless:
        async def receive_message(self, **_: object) -> dict[str, object]:
            return {"Messages": [{"MessageId": "1", "Body": "b", "ReceiptHandle": "r", **sent}]}

    (message,) = await Queue(Timeless(), QUEUE_URL, QUEUE).receive(1)

    assert message.sent_ms is None
