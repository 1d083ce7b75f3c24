"""
The ledger's families as prometheus_client alone would show them: what the page is held against.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from exporter.families import FAMILIES, FAMILY, REPOSITORY_INFO, THOUSANDTHS, Family, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exporter.codecommit import Repository
    from exporter.families import Series, SeriesState
    from exporter.journal import Counted
    from exporter.knowledge import Known

_METRICS: Mapping[Kind, Any] = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}

Exemplars = dict["Series", dict[int, "Counted"]]


class PlainCollector:
    """
    Makes every family anew at each scrape.
    """

    def __init__(
        self,
        series: Mapping[Series, SeriesState],
        known: Mapping[Repository, Known],
        exemplars: Exemplars | None = None,
    ) -> None:
        self._series = series
        self._known = known
        self._exemplars = exemplars or {}

    def collect(self) -> Iterator[Metric]:
        """
        The families with what each series shows at this moment.
        """
        metrics = {family.name: _metric(family) for family in FAMILIES}
        for series, state in self._series.items():
            shown = {} if state.released_ms is None else self._exemplars.get(series, {})
            _add(metrics[series.family], series, state, shown)
        for repository, known in self._known.items():
            if known.repository_id and known.active_ms:
                labels = (*repository, known.repository_id)
                metrics[REPOSITORY_INFO.name].add_metric(labels, 1)
        return iter(metrics.values())


def registry(*collectors: Any) -> CollectorRegistry:
    """
    A registry of these collectors.
    """
    made = CollectorRegistry()
    for collector in collectors:
        made.register(collector)
    return made


def _metric(family: Family) -> Any:
    return _METRICS[family.kind](family.name, family.help, labels=family.labels)


def _add(metric: Any, series: Series, state: SeriesState, exemplars: Mapping[int, Counted]) -> None:
    family, total = FAMILY[series.family], state.shown
    if family.kind is Kind.COUNTER:
        metric.add_metric(series.labels, total.amount, exemplar=_exemplar(exemplars.get(0), 1))
        return
    if family.kind is Kind.GAUGE:
        metric.add_metric(series.labels, total.amount / THOUSANDTHS)
        return
    cumulated = 0
    buckets: list[Any] = []
    bounds = [*map(floatToGoString, family.buckets), "+Inf"]
    for index, (bound, count) in enumerate(zip(bounds, total.buckets, strict=True)):
        cumulated += count
        buckets.append((bound, cumulated, _exemplar(exemplars.get(index), THOUSANDTHS)))
    metric.add_metric(series.labels, buckets, total.amount / THOUSANDTHS)


def _exemplar(counted: Counted | None, unit: int) -> Exemplar | None:
    if counted is None:
        return None
    event_id, amount = counted.exemplar
    return Exemplar({"event_id": event_id}, amount / unit, counted.counted_ms / 1000)
