"""
One SQS queue: messages in, deletions and releases out.

Facts used, from the Amazon SQS Developer Guide and API Reference: a receive waits at most
20 seconds and brings at most 10 messages; a batch takes at most 10 and can fail entry by
entry inside a successful answer; a message not deleted comes back when its
visibility timeout ends, which can be moved, but not past 12 hours from its receipt; a
deletion with the receipt handle of an earlier receipt is answered like one that deleted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.aws.failures import FAILURES, described
from exporter.errors import QueueDenied, QueueMissing, QueueUnavailable, ReceiptExpired
from exporter.grouping import Groups

BATCH_MAX = 10
WAIT_SECONDS = 20
VISIBILITY_SECONDS = 30
"""The visibility timeout of a queue that was made without one."""
LINGER_SECONDS = 0.05
"""How long a batch that is not full waits for more: nothing hurries, and each one costs."""
HIDE_SECONDS_MAX = 5.0
"""How long a change of visibility may take, and less where the queue hides for less than 20."""
DELETE_AGAIN_SECONDS = (0.2, 1.0, 3.0)
"""How long a deletion that failed waits before it is tried again, each time."""

_COUNTS = {
    "visible": "ApproximateNumberOfMessages",
    "in_flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}
_MISSING = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_DENIED = {"AccessDenied", "AccessDeniedException"}
_EXPIRED = {
    "ReceiptHandleIsInvalid",
    "InvalidParameterValue",
    "MessageNotInflight",
    "AWS.SimpleQueueService.MessageNotInflight",
}
"""What SQS answers to a receipt handle once the message is deleted, visible or 12 hours old."""


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message in hand.

    ``sent_ms`` is when it was first sent, in milliseconds since 1970, and ``receives`` how
    often it has been received, this time included. ``trace_header`` is what X-Ray says of whoever
    sent it, empty if nothing.
    """

    message_id: str
    body: str
    receipt_handle: str
    sent_ms: int | None = None
    receives: int = 1
    trace_header: str = ""


@dataclass(frozen=True, slots=True)
class Depth:
    """
    About how many messages a queue holds, by state; and its dead-letter queue's ARN if any.
    """

    messages: dict[str, int]
    dead_letter_arn: str | None


def queue_names(urls: Sequence[str]) -> list[str]:
    """
    What to call some queues: their names, and no more of their URLs than tells them apart.
    """
    parts = [url.partition("://")[2].rstrip("/").split("/") for url in urls]
    longest = max(map(len, parts), default=1)
    for length in range(1, longest):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(urls):
            return names
    return ["/".join(part) for part in parts]


class Queue:
    """
    A queue by its URL, and a name for people.

    ``visibility_seconds`` is its own visibility timeout, as ``depth`` last saw it, and at
    least 1.
    """

    def __init__(self, client: Any, url: str, name: str) -> None:
        self._client = client
        self._deletions = Groups[Message, None](
            self._delete_together,
            size_max=BATCH_MAX,
            name="deletions",
            linger_seconds=LINGER_SECONDS,
        )
        self._hidings = Groups[tuple[Message, int], None](
            self._hide_together,
            size_max=BATCH_MAX,
            name="hidings",
            linger_seconds=LINGER_SECONDS,
        )
        self._to_be_deleted: set[str] = set()
        self.url = url
        self.name = name
        self.visibility_seconds = VISIBILITY_SECONDS

    async def receive(self, messages_max: int) -> list[Message]:
        """
        Wait up to 20 seconds for messages and take some, at most 10; maybe none.

        Raises:
            QueueUnavailable: The queue did not answer, or refused.
        """
        answer = await self._ask(
            "receive_message",
            MaxNumberOfMessages=min(messages_max, BATCH_MAX),
            WaitTimeSeconds=WAIT_SECONDS,
            MessageSystemAttributeNames=[
                "SentTimestamp",
                "ApproximateReceiveCount",
                "AWSTraceHeader",
            ],
        )
        return [_message(one) for one in answer.get("Messages", [])]

    async def delete(self, message: Message) -> None:
        """
        Delete a message for good, together with others that are ready; try more than once.

        Raises:
            QueueUnavailable: It was not deleted and will come back.
        """
        for seconds in DELETE_AGAIN_SECONDS:
            try:
                return await self._delete(message)
            except (QueueMissing, QueueDenied, ReceiptExpired):
                raise
            except QueueUnavailable:
                await asyncio.sleep(seconds)
        return await self._delete(message)

    async def _delete(self, message: Message) -> None:
        self._to_be_deleted.add(message.receipt_handle)
        await self._deletions.submit(message)

    async def hide(self, message: Message, seconds: float) -> None:
        """
        Keep a message in hand invisible for so many seconds from now; 0 gives it back.

        It goes together with others that are ready. Of one message the last word counts.

        Raises:
            ReceiptExpired: It is not in hand any more, whatever became of it.
            QueueUnavailable: It stays invisible for as long as it was.
        """
        if message.receipt_handle in self._to_be_deleted:
            # Its deletion goes on without the caller that gave up, and has to come first.
            await asyncio.sleep(2 * LINGER_SECONDS)
        await self._hidings.submit((message, round(seconds)))

    async def depth(self) -> Depth:
        """
        How full the queue is.

        Raises:
            QueueUnavailable: The queue did not answer, or refused.
        """
        attributes = await self._attributes(
            [*_COUNTS.values(), "RedrivePolicy", "VisibilityTimeout"]
        )
        visibility = _integer(attributes.get("VisibilityTimeout"))
        self.visibility_seconds = max(1, VISIBILITY_SECONDS if visibility is None else visibility)
        policy = json.loads(attributes.get("RedrivePolicy", "{}"))
        return Depth(
            {state: int(attributes.get(name, 0)) for state, name in _COUNTS.items()},
            policy.get("deadLetterTargetArn"),
        )

    async def dead_letters(self, arn: str) -> int:
        """
        About how many messages the dead-letter queue holds.

        Raises:
            QueueUnavailable: It did not answer, or its attributes may not be read.
        """
        account, name = arn.split(":")[4:6]
        try:
            answer = await self._client.get_queue_url(
                QueueName=name, QueueOwnerAWSAccountId=account
            )
            attributes = await self._client.get_queue_attributes(
                QueueUrl=answer["QueueUrl"], AttributeNames=[_COUNTS["visible"]]
            )
        except FAILURES as error:
            raise _unavailable(name, error) from error
        return int(attributes["Attributes"][_COUNTS["visible"]])

    async def _attributes(self, names: Sequence[str]) -> dict[str, str]:
        answer = await self._ask("get_queue_attributes", AttributeNames=list(names))
        attributes: dict[str, str] = answer.get("Attributes", {})
        return attributes

    async def _delete_together(
        self, messages: Sequence[Message]
    ) -> Sequence[QueueUnavailable | None]:
        entries = [
            {"Id": str(index), "ReceiptHandle": message.receipt_handle}
            for index, message in enumerate(messages)
        ]
        self._to_be_deleted.difference_update(entry["ReceiptHandle"] for entry in entries)
        answer = await self._ask("delete_message_batch", Entries=entries)
        failed = {entry["Id"]: self._not_deleted(entry) for entry in answer.get("Failed", [])}
        return [failed.get(str(index)) for index in range(len(messages))]

    async def _hide_together(
        self, hidings: Sequence[tuple[Message, int]]
    ) -> Sequence[QueueUnavailable | None]:
        seconds = {message.receipt_handle: seconds for message, seconds in hidings}
        ids = {handle: str(index) for index, handle in enumerate(seconds)}
        asking = self._ask(
            "change_message_visibility_batch",
            Entries=[
                {"Id": ids[handle], "ReceiptHandle": handle, "VisibilityTimeout": seconds[handle]}
                for handle in ids
            ],
        )
        # Others wait behind it, and their messages' time runs.
        patience = min(HIDE_SECONDS_MAX, self.visibility_seconds / 4)
        try:
            answer = await asyncio.wait_for(asking, patience)
        except TimeoutError as error:
            raise QueueUnavailable(f"queue {self.url}: no answer in {patience:g} s") from error
        failed = {entry["Id"]: self._not_hidden(entry) for entry in answer.get("Failed", [])}
        return [failed.get(ids[message.receipt_handle]) for message, _ in hidings]

    def _not_deleted(self, entry: Mapping[str, Any]) -> QueueUnavailable:
        """
        Why one message of a batch was not deleted; the sender's fault will not mend itself.
        """
        kind = ReceiptExpired if entry.get("SenderFault") else QueueUnavailable
        return kind(f"queue {self.name}: a deletion answered {entry.get('Code', 'Unknown')}")

    def _not_hidden(self, entry: Mapping[str, Any]) -> QueueUnavailable:
        """
        Why one message of a batch stays invisible for as long as it was.
        """
        code = entry.get("Code", "Unknown")
        kind = ReceiptExpired if code in _EXPIRED else QueueUnavailable
        return kind(f"queue {self.name}: a change of visibility answered {code}")

    async def _ask(self, operation: str, **parameters: object) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await getattr(self._client, operation)(
                QueueUrl=self.url, **parameters
            )
        except FAILURES as error:
            raise _unavailable(self.url, error) from error
        return answer


def _message(told: Mapping[str, Any]) -> Message:
    attributes = told.get("Attributes", {})
    return Message(
        told["MessageId"],
        told["Body"],
        told["ReceiptHandle"],
        _integer(attributes.get("SentTimestamp")),
        _integer(attributes.get("ApproximateReceiveCount")) or 1,
        attributes.get("AWSTraceHeader", ""),
    )


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _unavailable(queue: str, error: BaseException) -> QueueUnavailable:
    code, words = described(error)
    if code in _MISSING:
        return QueueMissing(f"queue {queue} does not exist")
    if code in _DENIED:
        return QueueDenied(f"queue {queue}: {words}")
    if code in _EXPIRED:
        return ReceiptExpired(f"queue {queue}: {words}")
    return QueueUnavailable(f"queue {queue}: {words}")
