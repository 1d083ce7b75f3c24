"""
KMS requests that CodeCommit makes: each one encrypts or decrypts a repository's data.

Facts used: a record of a request that a service makes for its caller names the service in
``userIdentity.invokedBy`` and ``sourceIPAddress`` (CloudTrail User Guide, userIdentity
element), and CodeCommit puts the repository's id into the encryption context (CodeCommit
User Guide, "AWS KMS and encryption for AWS CodeCommit repositories"). Under which name is
not told, so every value of the context is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.codecommit import EVENT_SOURCE, IdKind, Repository, Subject
from exporter.fields import (
    Record,
    account_label,
    error_label,
    id_text,
    identities,
    inside,
    is_counted,
    name_label,
    region_label,
    text,
    uuid_text,
)
from exporter.timestamps import milliseconds

KMS_EVENT_SOURCE = "kms.amazonaws.com"


@dataclass(frozen=True, slots=True)
class KmsRequest:
    """
    One KMS request of CodeCommit's, as far as it is counted.

    ``ids`` are the 16-byte identities by which it is known, ``event_id`` is CloudTrail's where
    that is a UUID and else empty. ``subjects`` are the ids that may be a repository's;
    ``repository`` has no name until one of them has been learnt.
    """

    ids: tuple[bytes, ...]
    event_id: str
    time_ms: int | None
    repository: Repository
    subjects: tuple[Subject, ...]
    action: str
    error_code: str


def is_kms_request(record: Record) -> bool:
    """
    Whether a record tells of a request to KMS that CodeCommit made.
    """
    return (
        record.get("eventSource") == KMS_EVENT_SOURCE
        and is_counted(record)
        and EVENT_SOURCE
        in (text(record.get("userIdentity"), "invokedBy"), text(record, "sourceIPAddress"))
    )


def kms_request(record: Record) -> KmsRequest:
    """
    The request that such a record tells of, whatever its fields hold.

    Raises:
        RecursionError: The record has no UUID to be known by, and is nested too deep.
    """
    repository = Repository(
        account_label(record.get("recipientAccountId")), region_label(record.get("awsRegion")), ""
    )
    context = inside(inside(record, "requestParameters"), "encryptionContext")
    ids = [id_text(context, name) for name in context]
    return KmsRequest(
        ids=identities(record),
        event_id=uuid_text(record.get("eventID")),
        time_ms=milliseconds(record.get("eventTime")),
        repository=repository,
        subjects=tuple(Subject(IdKind.REPOSITORY, *repository[:2], one) for one in ids if one),
        action=name_label(record.get("eventName")),
        error_code=error_label(record),
    )
