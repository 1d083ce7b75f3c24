"""
How a family is written: its head, and the lines of one of its series.

The lines are those that prometheus_client would write, label by label and number by number;
they are made here because that library takes milliseconds for what has to take microseconds.
What comes before them, ``# HELP`` and ``# TYPE``, is left to the library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.utils import floatToGoString

from exporter.families import THOUSANDTHS, Family, Kind, Total
from exporter.journal import NO_EXEMPLARS, Counted

END = "# EOF\n"
"""What an OpenMetrics page ends with."""

_SPECIAL = re.compile(r'[\\"\n]')
_ESCAPED = {"\\": r"\\", '"': r"\"", "\n": r"\n"}
_METRICS: Mapping[Kind, Any] = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}


class Format(Enum):
    """
    A format of the page: Prometheus's own text, or OpenMetrics.
    """

    TEXT = "text"
    OPENMETRICS = "openmetrics"


number = lru_cache(maxsize=1 << 14)(floatToGoString)
"""A number as the library writes it. Most are small and come again and again."""

_GENERATE: Mapping[Format, Callable[[CollectorRegistry], bytes]] = {
    Format.TEXT: generate_latest,
    Format.OPENMETRICS: generate_openmetrics,
}


class Lines:
    """
    Writes the series of one family.

    Args:
        family: The family.
        labels: Those of its labels that are written, in the family's order; by default all.
    """

    def __init__(self, family: Family, labels: Sequence[str] | None = None) -> None:
        self.family = family
        self.labels = family.labels if labels is None else tuple(labels)
        # Labels stand in the order of their names, and a bucket's bound among them.
        self._order = sorted((name, index) for index, name in enumerate(self.labels))
        self._bound_at = sum(name < "le" for name in self.labels)
        self._bounds = (*map(number, family.buckets), "+Inf") if family.buckets else ()
        self._base = family.name.removesuffix("_total")
        self._unit = 1 if family.kind is Kind.COUNTER else THOUSANDTHS
        self._samples = self._write_histogram if self._bounds else self._write_value

    def names(self, written: Format) -> frozenset[str]:
        """
        The names that the samples of a series have.
        """
        if self.family.kind is Kind.GAUGE:
            return frozenset({self.family.name})
        created = {f"{self._base}_created"} if written is Format.OPENMETRICS else set()
        if self.family.kind is Kind.COUNTER:
            return frozenset({self.family.name} | created)
        return frozenset({f"{self._base}_{part}" for part in ("bucket", "count", "sum")} | created)

    def head(self, written: Format) -> str:
        """
        What stands before the series.
        """
        return _head(self.family, written)

    def write(
        self,
        values: Sequence[str],
        total: Total,
        exemplars: Mapping[int, Counted] = NO_EXEMPLARS,
        created_ms: int | None = None,
    ) -> str:
        """
        All lines of a series, given its label values in the order of ``labels``.

        Exemplars and the time of creation, in milliseconds since 1970, are OpenMetrics' own.
        """
        if _SPECIAL.search("".join(values)):
            values = [_SPECIAL.sub(lambda match: _ESCAPED[match[0]], value) for value in values]
        pairs = [f'{name}="{values[index]}"' for name, index in self._order]
        labels = f"{{{','.join(pairs)}}}" if pairs else ""
        samples = self._samples(pairs, labels, total, exemplars)
        if created_ms is None:
            return samples
        return f"{samples}{self._base}_created{labels} {number(created_ms / 1000)}\n"

    def _write_value(
        self, _: list[str], labels: str, total: Total, exemplars: Mapping[int, Counted]
    ) -> str:
        value = number(total.amount / self._unit)
        return f"{self.family.name}{labels} {value}{self._exemplar(exemplars, 0)}\n"

    def _write_histogram(
        self, pairs: list[str], labels: str, total: Total, exemplars: Mapping[int, Counted]
    ) -> str:
        before = ",".join([*pairs[: self._bound_at], 'le="'])
        after = ",".join(['"', *pairs[self._bound_at :]])
        buckets = [
            f"{self._base}_bucket{{{before}{bound}{after}}} {number(count)}"
            f"{self._exemplar(exemplars, index)}\n"
            for index, (bound, count) in enumerate(
                zip(self._bounds, accumulate(total.buckets), strict=True)
            )
        ]
        count = number(total.observations)
        amount = number(total.amount / self._unit)
        return (
            f"{''.join(buckets)}{self._base}_count{labels} {count}\n"
            f"{self._base}_sum{labels} {amount}\n"
        )

    def _exemplar(self, exemplars: Mapping[int, Counted], bucket: int) -> str:
        if bucket not in exemplars:
            return ""
        (event_id, amount), counted_ms = exemplars[bucket]
        value = number(amount / self._unit)
        return f' # {{event_id="{event_id}"}} {value} {counted_ms / 1000}'


@lru_cache
def _head(family: Family, written: Format) -> str:
    registry = CollectorRegistry()
    registry.register(_Empty(family))
    return _GENERATE[written](registry).decode().removesuffix(END)


class _Empty:
    """
    A family without series, for the library to write its head.
    """

    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        family = self._family
        yield _METRICS[family.kind](family.name, family.help, labels=family.labels)
