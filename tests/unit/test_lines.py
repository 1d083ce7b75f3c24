"""
How a series is written: what prometheus_client would write, letter by letter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter.families import (
    EVENT_DELIVERY,
    EVENT_LABELS,
    EVENTS,
    FAMILIES,
    LAST_PUSH,
    PUSHES,
    REPOSITORY_INFO,
    Exemplar,
    Family,
    Kind,
    Series,
    SeriesState,
    Total,
)
from exporter.journal import Counted
from exporter.lines import END, Format, Lines
from tests.plain import PlainCollector, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GENERATE: Mapping[Format, Callable[[Any], bytes]] = {
    Format.TEXT: generate_latest,
    Format.OPENMETRICS: generate_openmetrics,
}
WRITTEN = [one for one in FAMILIES if one is not REPOSITORY_INFO]
PUSH = ("210987654321", "eu-central-1", "tools", "SSH")
EXEMPLAR = Exemplar("1b4e28ba-2fa1-11d2-883f-0016d3cca427", 1)
amounts = st.integers(0, 2**60) | st.sampled_from([0, 1, 999, 1000, 1_790_000_000_250])
buckets = st.integers(0, 2**40) | st.just(0)


@st.composite
def written_series(draw: st.DrawFn) -> tuple[Family, Series, Total, dict[int, Counted]]:
    """
    A series of any family with any labels, any total and any exemplars.
    """
    family = draw(st.sampled_from(WRITTEN))
    labels = tuple(draw(st.text(max_size=8)) for _ in family.labels)
    number = len(family.zero().buckets)
    total = Total(draw(amounts), tuple(draw(buckets) for _ in range(number)))
    exemplars = {}
    if family.kind is not Kind.GAUGE:
        for bucket in draw(st.sets(st.integers(0, max(number - 1, 0)))):
            exemplar = Exemplar(str(draw(st.uuids())), draw(amounts))
            exemplars[bucket] = Counted(exemplar, draw(st.integers(10**12, 2 * 10**12)))
    return family, Series(family.name, labels), total, exemplars


@settings(max_examples=150, deadline=None)
@given(written_series(), st.sampled_from(Format))
def test_a_series_is_written_as_the_library_writes_it(
    one: tuple[Family, Series, Total, dict[int, Counted]], written: Format
) -> None:
    """
    Labels in order and escaped, numbers, buckets, exemplars: the same bytes in both formats.
    """
    family, series, total, exemplars = one
    plain = PlainCollector({series: SeriesState(total, 0, 0, total)}, {}, {series: exemplars})
    whole = GENERATE[written](registry(plain)).decode()
    lines = Lines(family)
    told = exemplars if written is Format.OPENMETRICS else {}
    parts = [Lines(other).head(written) for other in FAMILIES]
    parts.insert(FAMILIES.index(family) + 1, lines.write(series.labels, total, told))

    assert whole.removesuffix(END) == "".join(parts)


def test_a_birth_is_told_in_seconds() -> None:
    """
    To the millisecond, under the name of the family without its ending.
    """
    counter = Lines(PUSHES).write(PUSH, Total(3), created_ms=1_790_000_000_250)
    histogram = Lines(EVENT_DELIVERY, ()).write((), EVENT_DELIVERY.zero(), created_ms=2000)

    assert (
        'codecommit_pushes_created{account_id="210987654321",aws_region="eu-central-1",'
        'protocol="SSH",repository="tools"} 1.79000000025e+09'
    ) == counter.splitlines()[-1]
    assert "codecommit_event_delivery_seconds_created 2.0" == histogram.splitlines()[-1]


def test_an_exemplar_is_told_of_its_bucket_alone() -> None:
    """
    An observation of ten minutes leads to the bucket that it is in.
    """
    total = EVENT_DELIVERY.observed(600_000)
    told = {3: Counted(Exemplar(EXEMPLAR.event_id, 600_000), 1_790_000_000_002)}
    (line,) = re.findall(".*#.*", Lines(EVENT_DELIVERY, ()).write((), total, told))

    assert (
        'codecommit_event_delivery_seconds_bucket{le="600.0"} 1.0 '
        f'# {{event_id="{EXEMPLAR.event_id}"}} 600.0 1790000000.002'
    ) == line


@pytest.mark.parametrize("label", EVENT_LABELS)
def test_a_bound_stands_among_the_labels_by_its_name(label: str) -> None:
    """
    Whichever labels are left: they and ``le`` are in the order of their names.
    """
    written = Lines(EVENT_DELIVERY, [label]).write(["x"], EVENT_DELIVERY.zero())
    first, second = sorted([f'{label}="x"', 'le="60.0"'])

    assert f"codecommit_event_delivery_seconds_bucket{{{first},{second}}} 0.0" in written
    assert f'codecommit_event_delivery_seconds_count{{{label}="x"}} 0.0' in written


@pytest.mark.parametrize(
    ("family", "names"),
    [
        (LAST_PUSH, {"codecommit_last_push_timestamp_seconds"}),
        (EVENTS, {"codecommit_events_total"}),
        (
            EVENT_DELIVERY,
            {f"codecommit_event_delivery_seconds_{part}" for part in ("bucket", "count", "sum")},
        ),
    ],
    ids=lambda one: one.name if isinstance(one, Family) else "",
)
def test_the_names_of_samples(family: Family, names: set[str]) -> None:
    """
    A family may have a birth besides in OpenMetrics, where it can be born.
    """
    base = family.name.removesuffix("_total")
    birth = set() if family.kind is Kind.GAUGE else {f"{base}_created"}

    assert names == Lines(family).names(Format.TEXT)
    assert names | birth == Lines(family).names(Format.OPENMETRICS)
