"""
The families as users script against them, and the arithmetic of their totals.
"""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from exporter.families import (
    EVENT_DELIVERY,
    EVENTS,
    FAMILIES,
    LAST_EVENT,
    PUSH_REFERENCES,
    THOUSANDTHS,
    Family,
    Kind,
    Total,
)

REPO = ("account_id", "aws_region", "repository")
EVENT = (*REPO, "action", "protocol", "data_transferred")

quickly = settings(max_examples=100, deadline=None)
histograms = st.sampled_from([EVENT_DELIVERY, PUSH_REFERENCES])
amounts = st.integers(0, 2**62)


def test_names_kinds_labels_and_buckets_are_fixed() -> None:
    """
    A change to any of these breaks somebody's dashboard.
    """
    delivery = (60, 120, 300, 600, 900, 1800, 3600, 86400)
    references = (1, 2, 5, 10, 50, 100)
    hour, day = 3600, 86400
    open_for = (hour, 4 * hour, day, 3 * day, 7 * day, 14 * day, 30 * day, 90 * day)
    expected = {
        "codecommit_events_total": ("counter", EVENT, ()),
        "codecommit_event_delivery_seconds": ("histogram", EVENT, delivery),
        "codecommit_event_errors_total": ("counter", (*REPO, "action", "error_code"), ()),
        "codecommit_pushes_total": ("counter", (*REPO, "protocol"), ()),
        "codecommit_push_references": ("histogram", (*REPO, "protocol"), references),
        "codecommit_reference_updates_total": ("counter", (*REPO, "ref_type", "change"), ()),
        "codecommit_pull_request_events_total": ("counter", (*REPO, "event"), ()),
        "codecommit_pull_request_open_seconds": ("histogram", (*REPO, "outcome"), open_for),
        "codecommit_caller_events_total": (
            "counter",
            (*REPO, "identity_type", "credentials"),
            (),
        ),
        "codecommit_kms_requests_total": ("counter", (*REPO, "action", "error_code"), ()),
        "codecommit_last_event_timestamp_seconds": ("gauge", (*REPO, "action"), ()),
        "codecommit_last_push_timestamp_seconds": ("gauge", REPO, ()),
        "codecommit_repository_info": ("gauge", (*REPO, "repository_id"), ()),
    }

    assert expected == {
        family.name: (str(family.kind), family.labels, family.buckets) for family in FAMILIES
    }


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_keeps_the_customs_of_prometheus(family: Family) -> None:
    """
    Only counters end in _total, help is one sentence, only histograms have buckets, rising ones.
    """
    assert (family.kind is Kind.COUNTER) == family.name.endswith("_total")
    assert re.fullmatch(r"[A-Z][^\n\\]+\.", family.help)
    assert (family.kind is Kind.HISTOGRAM) == bool(family.buckets)
    assert all(lower < upper for lower, upper in pairwise(family.buckets))


@pytest.mark.parametrize(
    ("thousandths", "bucket"),
    [
        (0, 0),
        (59_999, 0),
        (60_000, 0),
        (60_001, 1),
        (120_000, 1),
        (3_600_000, 6),
        (86_400_000, 7),
        (86_400_001, 8),
        (10**15, 8),
    ],
)
def test_a_bucket_holds_its_upper_bound(thousandths: int, bucket: int) -> None:
    """
    ``le`` means less or equal; what is above the last bound is in +Inf.
    """
    total = EVENT_DELIVERY.observed(thousandths)

    assert thousandths == total.amount
    assert [int(place == bucket) for place in range(9)] == list(total.buckets)


def test_a_new_series_shows_zeros() -> None:
    """
    Zero has a place for each bucket and +Inf, and none where there are no buckets.
    """
    assert Total(0) == EVENTS.zero()
    assert Total(0, (0,) * 7) == PUSH_REFERENCES.zero()
    assert 0 == PUSH_REFERENCES.zero().observations


@quickly
@given(family=histograms, observed=st.lists(amounts, max_size=20), cut=st.integers(0, 20))
def test_sums_are_exact_in_any_grouping(family: Family, observed: list[int], cut: int) -> None:
    """
    Sums of sums are the sum of all: nothing is rounded, however often a process restarts.
    """

    def added(these: list[int]) -> Total:
        total = family.zero()
        for amount in these:
            total = family.sum(total, family.observed(amount))
        return total

    total = family.sum(added(observed[:cut]), added(observed[cut:]))

    assert added(observed) == total
    assert (sum(observed), len(observed)) == (total.amount, total.observations)


@quickly
@given(family=histograms, amount=amounts)
def test_an_observation_is_in_the_first_bucket_that_has_room(family: Family, amount: int) -> None:
    """
    Compared in integers, the chosen bound is the first that is not below the amount.
    """
    bounds = [bound * THOUSANDTHS for bound in family.buckets]
    expected = sum(bound < amount for bound in bounds)

    assert expected == family.observed(amount).buckets.index(1)


def test_counters_add_and_gauges_keep_the_newest() -> None:
    """
    The order in which totals come does not matter to either.
    """
    one, two = Total(1), Total(2)

    assert Total(3) == EVENTS.sum(one, two)
    assert two == LAST_EVENT.sum(one, two) == LAST_EVENT.sum(two, one)


def test_data_of_other_buckets_cannot_be_added() -> None:
    """
    A total with another number of buckets is refused, never cut to fit.
    """
    with pytest.raises(ValueError, match="buckets"):
        EVENT_DELIVERY.sum(EVENT_DELIVERY.zero(), PUSH_REFERENCES.zero())
