"""
One SQS queue: messages in, deletions and releases out.

Facts used, from the Amazon SQS Developer Guide and API Reference: a receive waits at most
20 seconds and brings at most 10 messages; a batch delete takes at most 10 and can fail
entry by entry inside a successful answer; a message not deleted comes back when its
visibility timeout ends.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exporter.aws.failures import FAILURES, described
from exporter.errors import QueueDenied, QueueMissing, QueueUnavailable
from exporter.grouping import Groups

BATCH_MAX = 10
WAIT_SECONDS = 20

_COUNTS = {
    "visible": "ApproximateNumberOfMessages",
    "in_flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}
_MISSING = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_DENIED = {"AccessDenied", "AccessDeniedException"}


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message in hand. ``sent_ms`` is when it was first sent, in milliseconds since 1970.
    """

    message_id: str
    body: str
    receipt_handle: str
    sent_ms: int | None = None


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
    """

    def __init__(self, client: Any, url: str, name: str) -> None:
        self._client = client
        self._deletions = Groups[Message, None](
            self._delete_together, size_max=BATCH_MAX, name="deletions"
        )
        self.url = url
        self.name = name

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
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        return [
            Message(
                message["MessageId"],
                message["Body"],
                message["ReceiptHandle"],
                _integer(message.get("Attributes", {}).get("SentTimestamp")),
            )
            for message in answer.get("Messages", [])
        ]

    async def delete(self, message: Message) -> None:
        """
        Delete a message for good, together with others that are ready.

        Raises:
            QueueUnavailable: It was not deleted and will come back.
        """
        await self._deletions.submit(message)

    async def release(self, message: Message) -> None:
        """
        Let others receive the message at once.

        Raises:
            QueueUnavailable: It stays invisible until its visibility timeout ends.
        """
        await self._ask(
            "change_message_visibility", ReceiptHandle=message.receipt_handle, VisibilityTimeout=0
        )

    async def depth(self) -> Depth:
        """
        How full the queue is.

        Raises:
            QueueUnavailable: The queue did not answer, or refused.
        """
        attributes = await self._attributes([*_COUNTS.values(), "RedrivePolicy"])
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
        answer = await self._ask(
            "delete_message_batch",
            Entries=[
                {"Id": str(index), "ReceiptHandle": message.receipt_handle}
                for index, message in enumerate(messages)
            ],
        )
        failed = {entry["Id"]: entry.get("Code", "Unknown") for entry in answer.get("Failed", [])}
        return [
            QueueUnavailable(f"{self.name}: a deletion answered {failed[str(index)]}")
            if str(index) in failed
            else None
            for index in range(len(messages))
        ]

    async def _ask(self, operation: str, **parameters: object) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await getattr(self._client, operation)(
                QueueUrl=self.url, **parameters
            )
        except FAILURES as error:
            raise _unavailable(self.url, error) from error
        return answer


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _unavailable(queue: str, error: BaseException) -> QueueUnavailable:
    code, words = described(error)
    if code in _MISSING:
        return QueueMissing(f"queue {queue} does not exist")
    if code in _DENIED:
        return QueueDenied(f"queue {queue}: {words}")
    return QueueUnavailable(f"queue {queue}: {words}")
