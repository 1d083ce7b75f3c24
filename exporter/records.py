"""
CloudTrail records, as far as they are looked at.

Rules:

1. Every member may be missing, null or of another type than expected: a member that should
   be an object is one of ``Odd`` then, and one that should be a text is anything.
2. Nothing else is kept of a record. What is left out is not even built: bytes that are no
   UTF-8 there, or a number too long to be read, spoil no record whose UUIDs tell which it is.
   One without a UUID is known by all of its text, which cannot be read then.

Names and types are those of the CloudTrail User Guide ("CloudTrail record contents") and of
the request and response shapes of CodeCommit's API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

Odd = str | int | float | bool | list[Any] | None
"""What may stand in the place of an object; None also where there is nothing."""


OddList = dict[str, Any] | str | int | float | bool | None
"""The same in the place of a list."""


class Part(msgspec.Struct, gc=False, rename="camel"):
    """
    A JSON object; its members are None where there are none.
    """

    @classmethod
    def of(cls, value: object) -> Self:
        """
        The value, or an empty object where that is another one.
        """
        return value if isinstance(value, cls) else cls()


class Identity(Part):
    """
    Who made a request.
    """

    type: Any = None
    invoked_by: Any = None
    access_key_id: Any = None


class Reference(Part):
    """
    What a push did to one reference.
    """

    commit: Any = None
    ref: Any = None


class Target(Part):
    """
    What a pull request is to be merged into.
    """

    repository_name: Any = None


class Request(Part):
    """
    The parameters of a request.
    """

    repository_name: Any = None
    references: list[Reference | Odd] | OddList = None
    pull_request_id: Any = None
    comment_id: Any = None
    in_reply_to: Any = None
    targets: list[Target | Odd] | OddList = None
    repository_names: Any = None
    resource_arn: Any = None
    old_name: Any = None
    new_name: Any = None
    pull_request_status: Any = None
    approval_state: Any = None
    override_status: Any = None
    encryption_context: Any = None


class Metadata(Part):
    """
    What is told of a repository.
    """

    repository_name: Any = None
    repository_id: Any = None


class PullRequest(Part):
    """
    What is told of a pull request.
    """

    pull_request_id: Any = None
    pull_request_targets: list[Target | Odd] | OddList = None


class Comment(Part):
    """
    What is told of a comment.
    """

    comment_id: Any = None


class Answer(Part):
    """
    What a request was answered with.
    """

    repository_metadata: Metadata | Odd = None
    pull_request: PullRequest | Odd = None
    pull_request_id: Any = None
    comment: Comment | Odd = None
    repository_id: Any = None


class Extra(Part):
    """
    What Git requests have in addition.
    """

    protocol: Any = None
    data_transferred: Any = None
    repository_name: Any = None
    repository_id: Any = None


class Resource(Part):
    """
    Something that a request has used.
    """

    account_id: Any = None
    arn: Any = msgspec.field(default=None, name="ARN")


class Addendum(Part):
    """
    What is told about a record that corrects another.
    """

    original_event_id: Any = msgspec.field(default=None, name="originalEventID")


class Record(Part):
    """
    One event of CloudTrail's.
    """

    user_identity: Identity | Odd = None
    event_time: Any = None
    event_source: Any = None
    event_name: Any = None
    aws_region: Any = None
    source_ip_address: Any = msgspec.field(default=None, name="sourceIPAddress")
    error_code: Any = None
    request_parameters: Request | Odd = None
    response_elements: Answer | Odd = None
    additional_event_data: Extra | Odd = None
    event_id: Any = msgspec.field(default=None, name="eventID")
    resources: list[Resource | Odd] | OddList = None
    recipient_account_id: Any = None
    shared_event_id: Any = msgspec.field(default=None, name="sharedEventID")
    event_category: Any = None
    addendum: Addendum | Odd = None


def told(record: Mapping[str, Any]) -> Record:
    """
    A record that another reader has read, as far as it is looked at.

    Raises:
        RecursionError: It is nested too deep, and has a name that is no text.
    """
    try:
        return msgspec.convert(record, Record)
    except UnicodeEncodeError:
        return msgspec.convert(_with_texts_for_names(record), Record)


def _with_texts_for_names(value: Any) -> Any:
    """
    The same with an escape in each name for what is half a character.
    """
    if isinstance(value, list):
        return [_with_texts_for_names(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name.encode(errors="backslashreplace").decode(): _with_texts_for_names(one)
        for name, one in value.items()
    }
