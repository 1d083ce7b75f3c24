"""
KMS requests that CodeCommit makes: each one encrypts or decrypts a repository's data.

Facts used: a record of a request that a service makes for its caller names the service in
``userIdentity.invokedBy`` and ``sourceIPAddress`` (CloudTrail User Guide, userIdentity
element), and CodeCommit puts the repository's id into the encryption context (CodeCommit
User Guide, "AWS KMS and encryption for AWS CodeCommit repositories"). Under which name is
not told, so every value of the context is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.codecommit import EVENT_SOURCE, IdKind, Repository, Subject
from exporter.fields import (
    account_label,
    error_label,
    id_text,
    identities,
    is_counted,
    name_label,
    region_label,
    uuid_text,
    whole_identity,
)
from exporter.records import Identity, Record, Request, told
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
        record.event_source == KMS_EVENT_SOURCE
        and is_counted(record)
        and EVENT_SOURCE in (Identity.of(record.user_identity).invoked_by, record.source_ip_address)
    )


def kms_request(record: Mapping[str, Any]) -> KmsRequest:
    """
    The request that such a record tells of, whatever its fields hold.

    Raises:
        RecursionError: The record has no UUID to be known by, and is nested too deep.
    """
    part = told(record)
    return kms_request_told(part, identities(part) or (whole_identity(record),))


def kms_request_told(record: Record, ids: tuple[bytes, ...]) -> KmsRequest:
    """
    The same of a record that has been read already, given the identities it is known by.
    """
    account_id, aws_region = (
        account_label(record.recipient_account_id),
        region_label(record.aws_region),
    )
    context = Request.of(record.request_parameters).encryption_context
    found = map(id_text, context.values()) if isinstance(context, dict) else ()
    return KmsRequest(
        ids=ids,
        event_id=uuid_text(record.event_id),
        time_ms=milliseconds(record.event_time),
        repository=Repository(account_id, aws_region, ""),
        subjects=tuple(
            Subject(IdKind.REPOSITORY, account_id, aws_region, one) for one in found if one
        ),
        action=name_label(record.event_name),
        error_code=error_label(record.error_code),
    )
