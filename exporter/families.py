"""
Each family of CodeCommit metrics, declared once: name, kind, help, labels, buckets.

What is counted (``tally``), kept (``ledger``) and shown (``metrics``) all start from
here. Rules:

1. A family's labels have one order, the one written here; label values travel as tuples.
2. Amounts are integers, so that sums are exact after any number of restarts: counters
   count, histograms sum thousandths of their unit, gauges hold milliseconds since 1970.
3. A bucket list belongs to the ledger's data. Changing it makes the family start anew.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from operator import add
from typing import NamedTuple

OTHER = "(other)"
"""The label value of what is past a limit on the number of series."""

THOUSANDTHS = 1000
"""Amounts of histograms and gauges are kept in thousandths of the unit that is shown."""


class Kind(StrEnum):
    """
    What a family's amounts mean, and so how two of them become one.
    """

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


class Total(NamedTuple):
    """
    What one series holds, in integers.

    ``amount`` is a count (counter), a sum in thousandths (histogram) or the newest time
    in milliseconds (gauge). ``buckets`` counts a histogram's observations bucket by
    bucket, not cumulated; the last one is ``+Inf``.
    """

    amount: int
    buckets: tuple[int, ...] = ()

    @property
    def observations(self) -> int:
        """
        How many observations a histogram holds.
        """
        return sum(self.buckets)


@dataclass(frozen=True, slots=True)
class Family:
    """
    One metric family as users see it; the unit is written as UCUM has it.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    buckets: tuple[int, ...] = ()
    unit: str = ""

    def zero(self) -> Total:
        """
        What a new series of this family shows before its hold ends.
        """
        return Total(0, (0,) * (len(self.buckets) + 1) if self.buckets else ())

    def other(self) -> Series:
        """
        The series that takes what is past the limit on the number of series.
        """
        return Series(self.name, (OTHER,) * len(self.labels))

    def observed(self, thousandths: int) -> Total:
        """
        One observation of a histogram, as a total of its own.
        """
        bucket = bisect_left(self.buckets, thousandths / THOUSANDTHS)
        return Total(thousandths, _one_in(bucket, len(self.buckets) + 1))

    def sum(self, one: Total, other: Total) -> Total:
        """
        Two totals of one series as one: counters and histograms add up, gauges keep the newest.

        Raises:
            ValueError: One of the two has other buckets.
        """
        if self.kind is Kind.GAUGE:
            return max(one, other)
        if self.kind is Kind.COUNTER:
            return Total(one.amount + other.amount)
        if len(one.buckets) != len(other.buckets):
            raise ValueError(f"{self.name}: {len(one.buckets)} and {len(other.buckets)} buckets")
        return Total(one.amount + other.amount, tuple(map(add, one.buckets, other.buckets)))


@cache
def _one_in(bucket: int, buckets: int) -> tuple[int, ...]:
    """
    The counts of so many buckets, of which one holds an observation.
    """
    return tuple(int(index == bucket) for index in range(buckets))


class Series(NamedTuple):
    """
    One line of a family: the family's name and its label values, in the family's order.
    """

    family: str
    labels: tuple[str, ...]


class Exemplar(NamedTuple):
    """
    One of the events that made a series what it is, so that a figure leads to a record.

    ``event_id`` is CloudTrail's, a UUID. ``amount`` is what the event added: 1 for a counter,
    the observation in thousandths for a histogram.
    """

    event_id: str
    amount: int


Exemplars = Mapping[int, Exemplar]
"""The newest exemplar of each bucket, by the bucket's index; a counter has index 0 alone."""


class SeriesState(NamedTuple):
    """
    A series as the ledger holds it.

    ``released_ms`` is when its hold ended, in milliseconds since 1970; None while held.
    ``held`` is what it shows until then: zero where the series is new, and where it comes
    back to the page, what it showed when it left.
    """

    total: Total
    born_ms: int
    released_ms: int | None
    held: Total

    @property
    def shown(self) -> Total:
        """
        What a page shows of the series.
        """
        return self.held if self.released_ms is None else self.total


REPOSITORY_LABELS = ("account_id", "aws_region", "repository")
EVENT_LABELS = (*REPOSITORY_LABELS, "action", "protocol", "data_transferred")

EVENTS = Family(
    "codecommit_events_total",
    Kind.COUNTER,
    "CodeCommit events found in CloudTrail log files, failed requests included, each counted once.",
    EVENT_LABELS,
    unit="{event}",
)
EVENT_DELIVERY = Family(
    "codecommit_event_delivery_seconds",
    Kind.HISTOGRAM,
    "Time from a CodeCommit event to the delivery of the CloudTrail log file that tells of it.",
    EVENT_LABELS,
    (60, 120, 300, 600, 900, 1800, 3600, 86400),
    unit="s",
)
EVENT_ERRORS = Family(
    "codecommit_event_errors_total",
    Kind.COUNTER,
    "CodeCommit events of requests that failed, by the error code of the answer.",
    (*REPOSITORY_LABELS, "action", "error_code"),
    unit="{event}",
)
PUSHES = Family(
    "codecommit_pushes_total",
    Kind.COUNTER,
    "Successful Git pushes that moved data; the two records of one HTTPS push count as one.",
    (*REPOSITORY_LABELS, "protocol"),
    unit="{push}",
)
PUSH_REFERENCES = Family(
    "codecommit_push_references",
    Kind.HISTOGRAM,
    "References (branches, tags and others) updated by one push.",
    (*REPOSITORY_LABELS, "protocol"),
    (1, 2, 5, 10, 50, 100),
    unit="{reference}",
)
REFERENCE_UPDATES = Family(
    "codecommit_reference_updates_total",
    Kind.COUNTER,
    "References named by pushes, by their type and by what happened to them.",
    (*REPOSITORY_LABELS, "ref_type", "change"),
    unit="{reference}",
)
PULL_REQUEST_EVENTS = Family(
    "codecommit_pull_request_events_total",
    Kind.COUNTER,
    "What happened to pull requests: created, merged, closed, reopened, approved, "
    "approval_revoked, overridden (approval rules), commented; successful requests only.",
    (*REPOSITORY_LABELS, "event"),
    unit="{event}",
)
PULL_REQUEST_OPEN = Family(
    "codecommit_pull_request_open_seconds",
    Kind.HISTOGRAM,
    "Time from the creation of a pull request to its end, by outcome (merged, closed); only of "
    "those whose creation has been counted.",
    (*REPOSITORY_LABELS, "outcome"),
    (3600, 14400, 86400, 259200, 604800, 1209600, 2592000, 7776000),
    unit="s",
)
CALLER_EVENTS = Family(
    "codecommit_caller_events_total",
    Kind.COUNTER,
    "CodeCommit events by what kind of caller made the request (identity_type is CloudTrail's) "
    "and with what kind of credentials: root, long_term, temporary, aws_service, unknown.",
    (*REPOSITORY_LABELS, "identity_type", "credentials"),
    unit="{event}",
)
KMS_REQUESTS = Family(
    "codecommit_kms_requests_total",
    Kind.COUNTER,
    "Requests to AWS KMS that CodeCommit made for a repository's data, failed ones included "
    "(error_code is empty for the others); no part of codecommit_events_total.",
    (*REPOSITORY_LABELS, "action", "error_code"),
    unit="{request}",
)
LAST_EVENT = Family(
    "codecommit_last_event_timestamp_seconds",
    Kind.GAUGE,
    "Time of the newest CodeCommit event, in seconds since 1970.",
    (*REPOSITORY_LABELS, "action"),
    unit="s",
)
LAST_PUSH = Family(
    "codecommit_last_push_timestamp_seconds",
    Kind.GAUGE,
    "Time of the newest push that moved data, in seconds since 1970.",
    REPOSITORY_LABELS,
    unit="s",
)
REPOSITORY_INFO = Family(
    "codecommit_repository_info",
    Kind.GAUGE,
    "Which id the repository of a name has, as the newest event tells; always 1. Gone once the "
    "repository is deleted.",
    (*REPOSITORY_LABELS, "repository_id"),
    unit="{repository}",
)

FAMILIES = (
    EVENTS,
    EVENT_DELIVERY,
    EVENT_ERRORS,
    PUSHES,
    PUSH_REFERENCES,
    REFERENCE_UPDATES,
    PULL_REQUEST_EVENTS,
    PULL_REQUEST_OPEN,
    CALLER_EVENTS,
    KMS_REQUESTS,
    LAST_EVENT,
    LAST_PUSH,
    REPOSITORY_INFO,
)
"""All families, in the order of the page."""

FAMILY = {family.name: family for family in FAMILIES}
