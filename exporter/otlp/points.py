"""
What goes out over OTLP: what the page shows, as the data types of OpenTelemetry's SDK.

Rules:

1. A point starts with its series' birth, which the ledger keeps, so that a restart is no reset.
2. All points of one export have one time.
3. An empty label is no attribute.
4. The totals of a ledger are the same streams for as long as the ledger lives. Nothing that
   differs from process to process, machine to machine or version to version is told of them.
5. A request has a bounded number of points, and is made when the one before has gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any
from uuid import uuid4

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import AttributeValue
from prometheus_client import Metric as OwnMetric

from exporter.build import version
from exporter.families import THOUSANDTHS, Family, Kind
from exporter.metrics import Points
from exporter.otlp.names import ATTRIBUTES, otlp_name, unit_in
from exporter.sheets import Point
from exporter.telemetry import METRICS
from exporter.values import PROGRAM

POINTS_MAX = 2000
"""How many points a request has at most: usually less than 1 MB; receivers take 4 and more."""
MILLISECOND = 1_000_000
"""In nanoseconds, in which OTLP tells times."""
PROVIDER = "aws_codecommit"

PASSING = (
    "app.",
    "aws.",
    "cloud.",  # where the program runs, while on points it is whose repository it is
    "container.",
    "deployment.id",
    "deployment.name",
    "device.",
    "faas.",
    "host.",
    "k8s.container.",
    "k8s.cronjob.uid",
    "k8s.daemonset.uid",
    "k8s.deployment.uid",
    "k8s.job.",
    "k8s.node.",
    "k8s.pod.",
    "k8s.replicaset.",
    "k8s.statefulset.uid",
    "oci.",
    "os.",
    "process.",
    "service.instance.id",
    "service.version",
    "telemetry.",
    "vcs.",
)
"""What resource attributes begin with that tell of a process, its version or where it runs."""

_SCOPE = InstrumentationScope(PROGRAM)
_OWN_SCOPE = InstrumentationScope(PROGRAM, version())
_CUMULATIVE = AggregationTemporality.CUMULATIVE
_UNKNOWN: Any = None
"""The least and the largest observation, which nobody has kept; the encoder leaves them out."""
_UNITS = {metric.name.removesuffix("_total"): metric.unit for metric in METRICS}

DataPoint = NumberDataPoint | HistogramDataPoint
Attributes = dict[str, str]


# Who tells -------------------------------------------------------------------------------


def own_resource(name: str = PROGRAM) -> Resource:
    """
    This process, with what ``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_SERVICE_NAME`` say of it.

    Where they do not name it, it has this name.
    """
    told = {
        SERVICE_NAME: name,
        SERVICE_VERSION: version(),
        SERVICE_INSTANCE_ID: str(uuid4()),
    }
    return Resource.create(told | _given())


def ledger_resource(identity: str, name: str = PROGRAM) -> Resource:
    """
    The ledger of this id, with what the same variables say that holds for as long as it lives.
    """
    told = {name: value for name, value in _given().items() if not name.startswith(PASSING)}
    return Resource(
        {SERVICE_NAME: name} | told | {SERVICE_INSTANCE_ID: identity, "vcs.provider.name": PROVIDER}
    )


def _given() -> dict[str, AttributeValue]:
    """
    What variables say of who tells; an empty value is none.
    """
    given = OTELResourceDetector().detect().attributes or {}
    return {name: value for name, value in given.items() if value}


# What is told ----------------------------------------------------------------------------


def ledger_requests(
    resource: Resource, families: Iterable[Points], time_ms: int, *, exemplars: bool
) -> Iterator[MetricsData]:
    """
    What a ledger's page shows at a time, in milliseconds since 1970, request by request.
    """
    for batch in _batches(families):
        metrics = [_metric(each, time_ms, exemplars=exemplars) for each in batch]
        yield _request(resource, _SCOPE, metrics)


def own_request(
    resource: Resource, metrics: Iterable[OwnMetric], start_ms: int, time_ms: int
) -> MetricsData:
    """
    The exporter's own metrics, which started with the process.
    """
    times = (start_ms * MILLISECOND, time_ms * MILLISECOND)
    told = [_own_metric(metric, *times) for metric in metrics if metric.samples]
    return _request(resource, _OWN_SCOPE, told)


def points_in(request: MetricsData) -> int:
    """
    How many points a request has.
    """
    return sum(
        len(metric.data.data_points)
        for of_resource in request.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
    )


def _request(
    resource: Resource, scope: InstrumentationScope, metrics: Sequence[Metric]
) -> MetricsData:
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])


def _batches(families: Iterable[Points]) -> Iterator[list[Points]]:
    """
    The same points, as many together as one request may have.
    """
    batch, room = list[Points](), POINTS_MAX
    for family in families:
        rest = family.points
        while rest:
            taken, rest = rest[:room], rest[room:]
            batch.append(family._replace(points=taken))
            room -= len(taken)
            if not room:
                yield batch
                batch, room = [], POINTS_MAX
    if batch:
        yield batch


def _metric(shown: Points, time_ms: int, *, exemplars: bool) -> Metric:
    """
    One family at a time.
    """
    family = shown.family
    attributes = [ATTRIBUTES[label] for label in shown.labels]
    write = _histogram_point if family.kind is Kind.HISTOGRAM else _number_point
    points = [
        write(
            family,
            {name: value for name, value in zip(attributes, point.labels, strict=True) if value},
            point,
            time_ms * MILLISECOND,
            _exemplars(family, point) if exemplars else (),
        )
        for point in shown.points
    ]
    return _told(family.name, family.kind, family.help, family.unit, points)


def _number_point(
    family: Family,
    attributes: Attributes,
    point: Point,
    time_ns: int,
    exemplars: Sequence[Exemplar],
) -> NumberDataPoint:
    amount = point.total.amount
    value = amount if family.kind is Kind.COUNTER else amount / THOUSANDTHS
    return NumberDataPoint(attributes, point.born_ms * MILLISECOND, time_ns, value, exemplars)


def _histogram_point(
    family: Family,
    attributes: Attributes,
    point: Point,
    time_ns: int,
    exemplars: Sequence[Exemplar],
) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes,
        point.born_ms * MILLISECOND,
        time_ns,
        count=point.total.observations,
        sum=point.total.amount / THOUSANDTHS,
        bucket_counts=point.total.buckets,
        explicit_bounds=family.buckets,
        min=_UNKNOWN,
        max=_UNKNOWN,
        exemplars=exemplars,
    )


def _exemplars(family: Family, point: Point) -> list[Exemplar]:
    """
    A point's exemplars, bucket by bucket: Prometheus puts them under wrong bounds otherwise.
    """
    unit = 1 if family.kind is Kind.COUNTER else THOUSANDTHS
    return [
        Exemplar({"event_id": told.event_id}, told.amount / unit, counted_ms * MILLISECOND)
        for _, (told, counted_ms) in sorted(point.exemplars.items())
    ]


def _told(name: str, kind: Kind, words: str, unit: str, points: Sequence[Any]) -> Metric:
    data: Sum | Gauge | Histogram
    if kind is Kind.COUNTER:
        data = Sum(points, _CUMULATIVE, is_monotonic=True)
    elif kind is Kind.HISTOGRAM:
        data = Histogram(points, _CUMULATIVE)
    else:
        data = Gauge(points)
    return Metric(otlp_name(name), words, unit, data)


# The exporter's own ----------------------------------------------------------------------


def _own_metric(metric: OwnMetric, start_ns: int, time_ns: int) -> Metric:
    """
    One metric of the exporter's own, as what it is; an info is a gauge.
    """
    kind = Kind(metric.type) if metric.type in {"counter", "histogram"} else Kind.GAUGE
    points: list[DataPoint]
    if kind is Kind.HISTOGRAM:
        points = list(_own_histograms(metric, start_ns, time_ns))
    else:
        points = [
            NumberDataPoint(_attributes(sample.labels), start_ns, time_ns, sample.value)
            for sample in metric.samples
        ]
    unit = _UNITS.get(metric.name, unit_in(metric.name))
    return _told(metric.name, kind, metric.documentation, unit, points)


def _own_histograms(metric: OwnMetric, start_ns: int, time_ns: int) -> Iterator[HistogramDataPoint]:
    """
    Each histogram of a metric, whose samples are buckets (cumulated), count and sum in turn.
    """
    bounds, cumulated = list[float](), [0]
    for sample in metric.samples:
        if sample.name.endswith("_bucket"):
            bounds.append(float(sample.labels["le"]))
            cumulated.append(round(sample.value))
        elif sample.name.endswith("_sum"):
            yield HistogramDataPoint(
                _attributes(sample.labels),
                start_ns,
                time_ns,
                count=cumulated[-1],
                sum=sample.value,
                bucket_counts=[more - less for less, more in pairwise(cumulated)],
                explicit_bounds=bounds[:-1],
                min=_UNKNOWN,
                max=_UNKNOWN,
            )
            bounds, cumulated = [], [0]


def _attributes(labels: Mapping[str, str]) -> Attributes:
    return {name: value for name, value in labels.items() if value}
