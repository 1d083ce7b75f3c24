"""
The queue, on an SQS client that keeps to SQS's limits.
"""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ServerDisconnectedError

from exporter.aws.queue import (
    DELETE_AGAIN_SECONDS,
    VISIBILITY_SECONDS,
    Depth,
    Message,
    Queue,
    queue_names,
)
from exporter.errors import QueueDenied, QueueMissing, QueueUnavailable, ReceiptExpired
from tests.fakes import (
    DEAD_LETTER_ARN,
    QUEUE,
    QUEUE_URL,
    Edge,
    FakeSqs,
    idle,
    in_no_time,
    keys_of,
    no_connection,
    refusal,
    until,
)


@pytest.fixture
def sqs() -> FakeSqs:
    return FakeSqs(Edge())


@pytest.fixture
def queue(sqs: FakeSqs) -> Queue:
    return Queue(sqs, QUEUE_URL, QUEUE)


async def test_a_message_is_received_as_sent(queue: Queue, sqs: FakeSqs) -> None:
    """
    A message has its id, its body, what deletes it, the time it was sent and how often it came.
    """
    message_id = sqs.send("hello")
    messages = []
    for _ in range(2):
        messages += await queue.receive(10)
        sqs.come_back()

    assert [
        Message(message_id, "hello", f"{message_id} receipt {number}", 1_789_999_990_000, number)
        for number in (1, 2)
    ] == messages


@in_no_time
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


@in_no_time
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
    assert f"queue {QUEUE}: a deletion answered InternalError" == str(answers[0])
    assert [bad] == list(sqs.messages)


@in_no_time
async def test_what_was_not_deleted_is_deleted_again(queue: Queue, sqs: FakeSqs) -> None:
    """
    Of a batch that was carried out in part, only the other part is asked for once more.
    """
    ids = [sqs.send(str(number)) for number in range(4)]
    sqs.undeletable |= {ids[1], ids[3]}
    deleting = [asyncio.create_task(queue.delete(message)) for message in await queue.receive(10)]
    await asyncio.wait(deleting, return_when=asyncio.FIRST_COMPLETED)
    sqs.undeletable.clear()
    await asyncio.gather(*deleting)

    assert {} == sqs.messages
    assert [",".join(ids), f"{ids[1]},{ids[3]}"] == keys_of(sqs.edge.calls, "delete_message_batch")


@in_no_time
async def test_a_batch_that_fails_is_sent_again(queue: Queue, sqs: FakeSqs) -> None:
    """
    If whole requests fail, everyone in them waits a little longer each time, and asks again.
    """
    ids = [sqs.send(str(number)) for number in range(2)]
    sqs.edge.fail(
        "delete_message_batch",
        no_connection(),
        refusal("DeleteMessageBatch", "ServiceUnavailable", 503),
    )
    await asyncio.gather(*map(queue.delete, await queue.receive(10)))
    first, second, third = sqs.edge.times["delete_message_batch"]

    assert {} == sqs.messages
    assert [",".join(ids)] * 3 == keys_of(sqs.edge.calls, "delete_message_batch")
    assert 0 < second - first < third - second


@in_no_time
async def test_a_deletion_is_given_up_in_the_end(queue: Queue, sqs: FakeSqs) -> None:
    """
    A queue that keeps failing leaves the message; its caller is told what is wrong.
    """
    sqs.send("one")
    sqs.edge.break_down("delete_message_batch", no_connection())
    (message,) = await queue.receive(10)
    with pytest.raises(QueueUnavailable, match="Could not connect"):
        await queue.delete(message)

    assert 1 + len(DELETE_AGAIN_SECONDS) == len(keys_of(sqs.edge.calls, "delete_message_batch"))
    assert 1 == len(sqs.messages)


@in_no_time
async def test_a_deletion_that_cannot_succeed_is_tried_once(queue: Queue, sqs: FakeSqs) -> None:
    """
    The sender's own fault, a refusal and a missing queue stay what they are.
    """
    message = Message("one", "", "no receipt")
    errors: list[Exception | BaseException | None] = []
    for cause in (
        None,
        refusal("DeleteMessageBatch", "AccessDenied", 403),
        refusal("DeleteMessageBatch", "AWS.SimpleQueueService.NonExistentQueue"),
    ):
        sqs.edge.fail("delete_message_batch", *filter(None, [cause]))
        errors += await asyncio.gather(queue.delete(message), return_exceptions=True)

    assert [ReceiptExpired, QueueDenied, QueueMissing] == [type(error) for error in errors]
    assert 3 == len(keys_of(sqs.edge.calls, "delete_message_batch"))


async def test_an_old_receipt_handle_deletes_nothing(queue: Queue, sqs: FakeSqs) -> None:
    """
    SQS answers a deletion by an earlier receipt like any other; the message is still there.
    """
    message_id = sqs.send("one")
    (old,) = await queue.receive(10)
    sqs.come_back()
    (new,) = await queue.receive(10)
    await queue.delete(old)
    after_old = list(sqs.messages)
    await queue.delete(new)
    await queue.delete(new)

    assert [message_id] == after_old
    assert {} == sqs.messages


@in_no_time
async def test_a_deletion_goes_on_when_its_caller_gives_up(queue: Queue, sqs: FakeSqs) -> None:
    """
    A caller that is cancelled takes nothing from the batch that is under way.
    """
    sqs.send("one")
    gate = sqs.edge.close("delete_message_batch")
    (message,) = await queue.receive(10)
    deleting = asyncio.create_task(queue.delete(message))
    await until(lambda: "delete_message_batch message-1" in sqs.edge.calls, "it is under way")
    deleting.cancel()
    gate.set()
    await until(lambda: not sqs.messages, "it is deleted")

    assert deleting.cancelled()


async def test_a_released_message_is_there_at_once(queue: Queue, sqs: FakeSqs) -> None:
    """
    Others can receive a message that is hidden no longer.
    """
    message_id = sqs.send("hello")
    (message,) = await queue.receive(10)
    await queue.hide(message, 0)

    assert [message_id] == [again.message_id for again in await queue.receive(10)]


@in_no_time
async def test_a_hidden_message_is_there_later(queue: Queue, sqs: FakeSqs) -> None:
    """
    Nobody receives a message before the time is over for which it is hidden.
    """
    loop = asyncio.get_running_loop()
    sqs.send("hello")
    (message,) = await queue.receive(10)
    await queue.hide(message, 99.7)
    hidden_at = loop.time()
    while not await queue.receive(10):
        pass

    assert 100 == round(loop.time() - hidden_at)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ReceiptHandleIsInvalid", ReceiptExpired),
        ("InvalidParameterValue", ReceiptExpired),
        ("MessageNotInflight", ReceiptExpired),
        ("AWS.SimpleQueueService.MessageNotInflight", ReceiptExpired),
        ("InternalError", QueueUnavailable),
    ],
)
async def test_a_message_may_be_in_hand_no_more(
    queue: Queue, sqs: FakeSqs, code: str, kind: type[QueueUnavailable]
) -> None:
    """
    What SQS answers once a message is deleted, visible or 12 hours old is an error of its own.
    """
    sqs.unhidable["gone"] = code
    sqs.send("one")
    (message,) = await queue.receive(10)
    there, gone = await asyncio.gather(
        queue.hide(message, 30),
        queue.hide(Message("two", "", "gone"), 30),
        return_exceptions=True,
    )

    assert there is None
    assert kind is type(gone)
    assert f"queue {QUEUE}: a change of visibility answered {code}" == str(gone)


async def test_hidings_that_are_ready_go_together(queue: Queue, sqs: FakeSqs) -> None:
    """
    Twelve at once are a batch of 10 and one of 2.
    """
    for number in range(12):
        sqs.send(str(number))
    messages = [*await queue.receive(10), *await queue.receive(10)]
    await asyncio.gather(*(queue.hide(message, 100) for message in messages))
    batches = keys_of(sqs.edge.calls, "change_message_visibility_batch")

    assert [10, 2] == [len(batch.split(",")) for batch in batches]
    assert [100] * 12 == [hiding.seconds for hiding in sqs.hidings]


async def test_of_one_message_the_last_word_counts(queue: Queue, sqs: FakeSqs) -> None:
    """
    A hiding that nobody waits for any more does not undo the one that came after it.
    """
    message_id = sqs.send("one")
    (message,) = await queue.receive(10)
    renewing = asyncio.create_task(queue.hide(message, 100))
    await asyncio.sleep(0)
    renewing.cancel()
    await queue.hide(message, 0)

    assert [0] == [hiding.seconds for hiding in sqs.hidings]
    assert [message_id] == [again.message_id for again in await queue.receive(10)]


@pytest.mark.parametrize(("visibility", "patience"), [(2, 0.5), (12, 3.0), (20, 5.0), (43200, 5.0)])
@in_no_time
async def test_a_hiding_that_hangs_holds_up_no_other_for_long(
    queue: Queue, sqs: FakeSqs, visibility: int, patience: float
) -> None:
    """
    It is given up while those behind it can still be hidden in time.
    """
    loop = asyncio.get_running_loop()
    sqs.attributes["VisibilityTimeout"] = str(visibility)
    await queue.depth()
    for _ in range(2):
        sqs.send("hello")
    first, second = await queue.receive(10)
    hangs = f"change_message_visibility_batch {first.message_id}"
    sqs.edge.close(hangs)
    hanging = asyncio.create_task(queue.hide(first, 100))
    await until(lambda: hangs in sqs.edge.calls, "it is under way")
    next_one = asyncio.create_task(queue.hide(second, 100))
    with pytest.raises(QueueUnavailable, match=f"no answer in {patience:g} s"):
        await hanging
    begun_at = sqs.edge.times["change_message_visibility_batch"][0]
    given_up_after = loop.time() - begun_at
    await next_one

    assert patience == round(given_up_after, 3)
    assert {first.message_id, second.message_id} == sqs.in_flight


@in_no_time
async def test_a_message_is_deleted_before_it_is_released(queue: Queue, sqs: FakeSqs) -> None:
    """
    Its deletion waits for others, its caller gives up: nobody receives it once more.
    """
    for number in range(10):
        sqs.send(str(number))
    messages = await queue.receive(10)
    deleting = asyncio.create_task(queue.delete(messages[0]))
    await idle()
    before = list(sqs.edge.calls)
    deleting.cancel()
    answers = await asyncio.gather(
        *(queue.hide(message, 0) for message in messages), return_exceptions=True
    )
    again = await queue.receive(10)

    assert [] == keys_of(before, "delete_message_batch")
    assert [messages[0].message_id] == keys_of(sqs.edge.calls, "delete_message_batch")
    assert [ReceiptExpired, *[type(None)] * 9] == [type(answer) for answer in answers]
    assert [one.message_id for one in messages[1:]] == [one.message_id for one in again]


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


@pytest.mark.parametrize(
    ("attributes", "seconds"),
    [
        ({"VisibilityTimeout": "45"}, 45),
        ({"VisibilityTimeout": "43200"}, 43200),
        ({"VisibilityTimeout": "0"}, 1),
        ({}, VISIBILITY_SECONDS),
    ],
)
async def test_a_queues_visibility_timeout_is_seen_with_its_depth(
    queue: Queue, sqs: FakeSqs, attributes: dict[str, str], seconds: int
) -> None:
    """
    A queue has its own timeout; SQS's usual one stands for what has not been told yet.
    """
    before = queue.visibility_seconds
    sqs.attributes = attributes
    await queue.depth()

    assert VISIBILITY_SECONDS == before
    assert seconds == queue.visibility_seconds


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
        (refusal("R", "ReceiptHandleIsInvalid"), ReceiptExpired),
        (no_connection(), QueueUnavailable),
        (ServerDisconnectedError(), QueueUnavailable),
        (TimeoutError(), QueueUnavailable),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@in_no_time
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
        ("change_message_visibility_batch", queue.hide(Message("one", "", "one"), 0)),
        ("get_queue_url", queue.dead_letters(DEAD_LETTER_ARN)),
    ):
        sqs.edge.break_down(operation, cause)
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


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"Attributes": {}},
        {"Attributes": {"SentTimestamp": "x", "ApproximateReceiveCount": "x"}},
        {"Attributes": {"SentTimestamp": "", "ApproximateReceiveCount": "0"}},
    ],
)
async def test_what_sqs_knows_of_a_message_may_be_missing(attributes: dict[str, object]) -> None:
    """
    A message without usable attributes is received all the same, for the first time.
    """

    class Terse:
        async def receive_message(self, **_: object) -> dict[str, object]:
            message = {"MessageId": "1", "Body": "b", "ReceiptHandle": "r", **attributes}
            return {"Messages": [message]}

    assert [Message("1", "b", "r", None, 1)] == await Queue(Terse(), QUEUE_URL, QUEUE).receive(1)
