"""
The page that Prometheus scrapes.

Rules:

1. A series that is held shows 0, in all its parts, whatever it holds, or what it showed when
   it left the page. Prometheus sees a counter grow only from a sample it has; the first
   value it meets counts for nothing.
2. The hold begins with the first answered scrape that showed the series, and its end is
   committed to the ledger before the value is shown. A series that has been released never
   shows 0 again; one that has not begins its hold anew after a restart.
3. A page has every family of the ledger, with or without series, or there is no page.
4. Samples carry no time of their own: Prometheus keeps late samples badly, and an event's
   own time is in the gauges and in the delivery histogram.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from exporter.codecommit import Repository
from exporter.families import (
    FAMILIES,
    REPOSITORY_INFO,
    THOUSANDTHS,
    Family,
    Kind,
    Series,
    SeriesState,
    Total,
)
from exporter.knowledge import Known
from exporter.retirement import Retirement

SeriesStates = Mapping[Series, SeriesState]


class View(NamedTuple):
    """
    What a page shows of a ledger: its series, and what is known of the repositories.
    """

    series: SeriesStates
    known: Mapping[Repository, Known]

    def without_retired(self, retirement: Retirement, now_ms: int) -> View:
        """
        The view once the series of retired repositories have left it.
        """
        if not retirement.after_ms:
            return self
        return View(
            {
                series: state
                for series, state in self.series.items()
                if not retirement.hides(
                    state, self.known.get(Repository(*series.labels[:3])), now_ms
                )
            },
            {
                repository: known
                for repository, known in self.known.items()
                if not retirement.is_over(known, now_ms)
            },
        )

    def repository_ids(self) -> Iterator[tuple[Repository, str]]:
        """
        The repositories that labels may name, each with its id, where that is known.
        """
        return (
            (repository, known.repository_id)
            for repository, known in self.known.items()
            if known.repository_id and known.active_ms
        )


class LedgerCollector:
    """
    The ledger's families for prometheus_client: made anew at each scrape.
    """

    def __init__(self, view: View) -> None:
        self._view = view

    def describe(self) -> Iterator[Metric]:
        """
        The families without their series, so that a second registration is noticed.
        """
        return (_metric(family) for family in FAMILIES)

    def collect(self) -> Iterator[Metric]:
        """
        The families with what each series shows at this moment.
        """
        metrics = {family.name: _metric(family) for family in FAMILIES}
        for series, state in self._view.series.items():
            add = _ADDERS[_KINDS[series.family]]
            add(metrics[series.family], series.labels, state.shown)
        for repository, repository_id in self._view.repository_ids():
            metrics[REPOSITORY_INFO.name].add_metric((*repository, repository_id), 1)
        return iter(metrics.values())


class Holds:
    """
    When each held series was first shown, and which have been held long enough.

    Args:
        seconds: How long a series is held.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._shown: dict[Series, float] = {}

    def show(self, series: Iterable[Series], now: float) -> None:
        """
        Take note that a scrape has been answered with these held series.
        """
        for one in series:
            self._shown.setdefault(one, now)

    def due(self, now: float) -> Collection[Series]:
        """
        The series whose hold is over.
        """
        return [one for one, since in self._shown.items() if now - since >= self._seconds]

    def forget(self, series: Collection[Series]) -> None:
        """
        Stop watching series that have been released.
        """
        for one in series:
            self._shown.pop(one, None)


def held(series: SeriesStates) -> list[Series]:
    """
    The series that are held.
    """
    return [one for one, state in series.items() if state.released_ms is None]


def page(own: CollectorRegistry, view: View, accept: str) -> tuple[bytes, str]:
    """
    The whole page and its content type, in the format that ``accept`` asks for.
    """
    registry = CollectorRegistry()
    registry.register(LedgerCollector(view))
    registry.register(_Registered(own))
    encode, content_type = _encoder(accept)
    return encode(registry), content_type


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """
    The library's choice, which is plain text where nothing is asked for.

    A version that is no version makes the library raise; plain text is what all can read.
    """
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")


class _Registered:
    """
    A registry as a collector, so that two of them make one page.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        return iter(self._registry.collect())


def _metric(family: Family) -> Any:
    return _METRICS[family.kind](family.name, family.help, labels=family.labels)


def _add_counter(metric: Any, labels: tuple[str, ...], total: Total) -> None:
    metric.add_metric(labels, total.amount)


def _add_gauge(metric: Any, labels: tuple[str, ...], total: Total) -> None:
    metric.add_metric(labels, total.amount / THOUSANDTHS)


def _add_histogram(metric: Any, labels: tuple[str, ...], total: Total) -> None:
    cumulated = 0
    buckets = []
    for bound, count in zip(_BOUNDS[metric.name], total.buckets, strict=True):
        cumulated += count
        buckets.append((bound, cumulated))
    metric.add_metric(labels, buckets, total.amount / THOUSANDTHS)


_METRICS = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}
_ADDERS = {
    Kind.COUNTER: _add_counter,
    Kind.GAUGE: _add_gauge,
    Kind.HISTOGRAM: _add_histogram,
}
_KINDS = {family.name: family.kind for family in FAMILIES}
_BOUNDS = {
    family.name: [*(f"{bound:.1f}" for bound in family.buckets), "+Inf"] for family in FAMILIES
}
