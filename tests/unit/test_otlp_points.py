"""
What goes out over OTLP is what the page shows, under other names, from the same births.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given, strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.semconv._incubating.attributes import (
    cloud_attributes,
    error_attributes,
    vcs_attributes,
)
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest

from exporter.codecommit import Repository
from exporter.families import (
    EVENT_DELIVERY,
    EVENT_LABELS,
    EVENTS,
    FAMILIES,
    FAMILY,
    LAST_PUSH,
    PUSHES,
    REPOSITORY_INFO,
    Exemplar,
    Kind,
    Series,
    SeriesState,
    Total,
)
from exporter.journal import Journal
from exporter.knowledge import Known
from exporter.metrics import Page as LivePage, View
from exporter.otlp import points
from exporter.otlp.names import ATTRIBUTES, otlp_name, unit_in
from exporter.otlp.points import ledger_requests, ledger_resource, own_request, own_resource
from exporter.retirement import Retirement
from exporter.telemetry import METRICS, Telemetry
from tests.otlp import (
    ACCEPT,
    METRICS as PATH,
    Kind as PointKind,
    Point,
    Request,
    Streams,
    as_prometheus,
    prometheus_name,
    samples_of,
)
from tests.processes import TEXT, Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

NOW_MS = 1_790_000_000_000
BORN_MS = NOW_MS - 5000
IDENTITY = str(UUID(int=9))
LABELS = {attribute: label for label, attribute in ATTRIBUTES.items()}
REPOSITORY = ("210987654321", "eu-central-1", "tools")
PULL = (*REPOSITORY, "GitPull", "HTTP", "true")
API_CALL = (*REPOSITORY, "GetBranch", "", "")


def sent(requests: Iterable[MetricsData]) -> list[list[Point]]:
    """
    The points of each request, as a receiver finds them.
    """
    bodies = (encode_metrics(request).SerializeToString() for request in requests)
    return [Request(PATH, {}, body, ACCEPT).points() for body in bodies]


def points_of(page: LivePage, *, exemplars: bool = False) -> list[Point]:
    """
    The points of a page, all together.
    """
    families = page.snapshot(NOW_MS, NOW_MS).families
    requests = ledger_requests(ledger_resource(IDENTITY), families, NOW_MS, exemplars=exemplars)
    return [point for request in sent(requests) for point in request]


def state(
    family: str, amount: int, *, released: bool = True, born_ms: int = BORN_MS
) -> SeriesState:
    """
    A series of a family that holds something, ``amount`` being its count or its time.
    """
    zero = FAMILY[family].zero()
    total = Total(amount, (amount, *zero.buckets[1:])) if zero.buckets else Total(amount)
    return SeriesState(total, born_ms, NOW_MS if released else None, zero)


def series_of(family: str) -> st.SearchStrategy[Series]:
    """
    Series of a family; any of their labels may be empty.
    """
    values = st.sampled_from(["", "a", "(other)", 'é\n"', "true"])
    labels = [values] * len(FAMILY[family].labels)
    return st.tuples(*labels).map(lambda each: Series(family, each))


SERIES = st.sampled_from([one.name for one in FAMILIES if one is not REPOSITORY_INFO]).flatmap(
    series_of
)
AMOUNTS = st.integers(0, 2**53)


@given(
    amounts=st.dictionaries(SERIES, st.tuples(AMOUNTS, st.booleans()), max_size=12),
    repositories=st.dictionaries(
        st.builds(
            Repository, st.just("210987654321"), st.just("eu-central-1"), st.text("ab", max_size=3)
        ),
        st.builds(Known, active_ms=st.integers(0, 1), repository_id=st.sampled_from(["", "x"])),
        max_size=3,
    ),
    labels=st.lists(st.sampled_from(EVENT_LABELS), unique=True),
)
def test_it_is_what_the_page_shows_at_that_moment(
    amounts: Mapping[Series, tuple[int, bool]],
    repositories: Mapping[Repository, Known],
    labels: list[str],
) -> None:
    """
    Sample by sample, as Prometheus would have it of either; held series included.
    """
    series = {
        one: state(one.family, amount, released=released)
        for one, (amount, released) in amounts.items()
    }
    page = LivePage(CollectorRegistry(), View(series, repositories), delivery_labels=labels)
    told = points_of(page)
    shown = Page(page.answer(TEXT, now_ms=NOW_MS).body.decode(), TEXT)

    assert samples_of(shown) == as_prometheus(told, LABELS)
    streams = Streams()
    streams.add(told)
    assert [] == streams.violations


def test_a_point_starts_with_its_series_birth() -> None:
    """
    All points of an export have one time, and gauges have no start.
    """
    born = {
        Series(EVENTS.name, PULL): BORN_MS,
        Series(EVENT_DELIVERY.name, PULL): BORN_MS + 1,
        Series(LAST_PUSH.name, REPOSITORY): BORN_MS,
    }
    series = {one: state(one.family, 1, born_ms=born_ms) for one, born_ms in born.items()}
    told = points_of(LivePage(CollectorRegistry(), View(series, {})))

    assert [(BORN_MS, NOW_MS), (BORN_MS + 1, NOW_MS), (0, NOW_MS)] == [
        (point.start_ns // 10**6, point.time_ns // 10**6) for point in told
    ]


def test_who_is_born_ahead_of_the_clock_is_left_out_until_then() -> None:
    """
    A point that started at its own time or later would be refused, or taken for a reset.
    """
    ahead = {Series(EVENTS.name, PULL): state(EVENTS.name, 3, released=False, born_ms=NOW_MS)}
    page = LivePage(CollectorRegistry(), View(ahead, {}))

    assert ([], []) == (points_of(page), page.snapshot(NOW_MS, NOW_MS).held)
    later = page.snapshot(NOW_MS + 1, NOW_MS + 1)
    assert (1, list(ahead)) == (len(later.families[0].points), later.held)


def test_a_gauge_has_no_birth_to_wait_for() -> None:
    """
    It has no start, and is told whatever the clock was when it came up.
    """
    ahead = {Series(LAST_PUSH.name, REPOSITORY): state(LAST_PUSH.name, 1, born_ms=NOW_MS + 1)}
    (told,) = points_of(LivePage(CollectorRegistry(), View(ahead, {})))

    assert PointKind.GAUGE is told.kind


def test_what_has_left_the_page_is_not_sent() -> None:
    """
    Nor is the id of its repository, whether it left before the first export or after one.
    """
    series = {Series(EVENTS.name, PULL): state(EVENTS.name, 1)}
    known = {Repository(*REPOSITORY): Known(active_ms=NOW_MS, repository_id="an id")}
    page = LivePage(CollectorRegistry(), View(series, known), retirement=Retirement(1000))
    left_ms = NOW_MS + 1000
    page.answer(TEXT, now_ms=left_ms)

    assert [0, 2, 0] == [
        sum(len(family.points) for family in page.snapshot(now_ms, now_ms).families)
        for now_ms in (left_ms, NOW_MS, left_ms)
    ]


def test_an_empty_label_is_no_attribute() -> None:
    """
    An API call has no protocol, and says nothing of one.
    """
    series = {Series(EVENTS.name, API_CALL): state(EVENTS.name, 1)}
    (point,) = points_of(LivePage(CollectorRegistry(), View(series, {})))

    assert {
        "cloud.account.id": "210987654321",
        "cloud.region": "eu-central-1",
        "vcs.repository.name": "tools",
        "codecommit.action": "GetBranch",
    } == dict(point.attributes)


def test_a_page_of_many_series_is_sent_in_several_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    None has more points than it may, and all of them together have each point once.
    """
    monkeypatch.setattr(points, "POINTS_MAX", 4)
    labels = [(*REPOSITORY[:2], f"r{number}", *PULL[3:]) for number in range(7)]
    series = {
        Series(family.name, each): state(family.name, 1)
        for family in (EVENTS, EVENT_DELIVERY)
        for each in labels
    }
    families = LivePage(CollectorRegistry(), View(series, {})).snapshot(NOW_MS, NOW_MS).families
    requests = sent(ledger_requests(ledger_resource(IDENTITY), families, NOW_MS, exemplars=False))

    assert [4, 4, 4, 2] == [len(request) for request in requests]
    assert len(series) == len({point.stream for request in requests for point in request})


def test_exemplars_are_sent_where_they_are_wanted() -> None:
    """
    They are the event's id and what it added; a held series has none.
    """
    pull, push = Series(EVENTS.name, PULL), Series(PUSHES.name, (*REPOSITORY, "SSH"))
    journal = Journal()
    exemplar = {0: Exemplar(str(UUID(int=1)), 1)}
    journal.note([pull, push], exemplars={pull: exemplar, push: exemplar}, counted_ms=NOW_MS - 1)
    series = {pull: state(pull.family, 1), push: state(push.family, 1, released=False)}
    page = LivePage(CollectorRegistry(), View(series, {}, journal))

    assert [(), ()] == [point.exemplars for point in points_of(page)]
    wanted = points_of(page, exemplars=True)
    assert [(frozenset({("event_id", str(UUID(int=1)))}),), ()] == [
        point.exemplars for point in wanted
    ]


def test_exemplars_stand_in_the_order_of_their_buckets() -> None:
    """
    Whichever was told first: Prometheus goes through both at once.
    """
    one, journal = Series(EVENT_DELIVERY.name, PULL), Journal()
    for bucket, seconds in ((3, 500), (0, 5), (8, 99_999)):
        exemplar = {bucket: Exemplar(str(UUID(int=bucket)), seconds * 1000)}
        journal.note([one], exemplars={one: exemplar}, counted_ms=NOW_MS - 1)
    view = View({one: state(one.family, 3)}, {}, journal)
    (told,) = points_of(LivePage(CollectorRegistry(), view), exemplars=True)

    assert [0, 3, 8] == [UUID(dict(each)["event_id"]).int for each in told.exemplars]


@pytest.mark.parametrize("labels", [EVENT_LABELS, ()])
def test_a_snapshot_stays_as_it_is(labels: tuple[str, ...]) -> None:
    """
    It is read in another thread, while the page goes on.
    """
    pull, journal = Series(EVENT_DELIVERY.name, PULL), Journal()
    older, newer = ({0: Exemplar(str(UUID(int=number)), 1)} for number in (1, 2))
    view = View({pull: state(pull.family, 1)}, {}, journal)
    page = LivePage(CollectorRegistry(), view, delivery_labels=labels)
    journal.note([pull], exemplars={pull: older}, counted_ms=NOW_MS - 2)
    taken = page.snapshot(NOW_MS, NOW_MS).families[1].points[0]
    journal.note([pull], exemplars={pull: newer}, counted_ms=NOW_MS - 1)
    later = page.snapshot(NOW_MS, NOW_MS).families[1].points[0]

    assert (older[0], newer[0]) == (taken.exemplars[0].exemplar, later.exemplars[0].exemplar)


def test_the_exporters_own_metrics_are_what_they_are_on_the_page() -> None:
    """
    Counters, gauges and histograms under their own names and labels, since the process began.
    """
    telemetry = Telemetry(now=lambda: BORN_MS / 1000)
    telemetry.queue_joined("trail")
    telemetry.started(version="1", revision="", python="3")
    telemetry.message_deleted()
    with telemetry.stage("fetch"):
        pass
    own = list(telemetry.registry.collect())
    (told,) = sent([own_request(own_resource(), own, telemetry.begun_ms, NOW_MS)])
    shown = samples_of(Page(generate_latest(_Kept(own)).decode(), TEXT))

    assert shown == as_prometheus(told)
    assert [] == [point for point in told if "" in dict(point.attributes).values()]
    assert {(BORN_MS, NOW_MS)} == {
        (point.start_ns // 10**6, point.time_ns // 10**6)
        for point in told
        if point.kind is not PointKind.GAUGE
    }
    streams = Streams()
    streams.add(told)
    assert [] == streams.violations


class _Kept(CollectorRegistry):
    """
    A registry of metrics as they were at one moment.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        super().__init__()
        self._metrics = metrics

    def collect(self) -> Sequence[Metric]:
        return self._metrics


def test_prometheus_arrives_at_the_names_of_the_page() -> None:
    """
    Name and unit of every metric, as its translation puts them together again.
    """
    kinds = {Kind.COUNTER: PointKind.MONOTONIC_SUM, Kind.HISTOGRAM: PointKind.HISTOGRAM}
    for metric in (*FAMILIES, *METRICS):
        kind = kinds.get(metric.kind, PointKind.GAUGE)
        assert metric.name == prometheus_name(otlp_name(metric.name), metric.unit, kind)
        if unit := unit_in(metric.name):
            assert unit == metric.unit


def test_no_two_metrics_have_one_name() -> None:
    """
    And none is the namespace of another: some backends make trees of them.
    """
    names = [otlp_name(metric.name) for metric in (*FAMILIES, *METRICS)]

    assert len(names) == len(set(names))
    assert [] == [(one, other) for one in names for other in names if other.startswith(f"{one}.")]


def test_attributes_are_those_of_the_conventions() -> None:
    """
    Where these have one; the others begin with the program's own namespace.
    """
    conventions = {
        cloud_attributes.CLOUD_ACCOUNT_ID,
        cloud_attributes.CLOUD_REGION,
        error_attributes.ERROR_TYPE,
        vcs_attributes.VCS_CHANGE_STATE,
        vcs_attributes.VCS_REF_TYPE,
        vcs_attributes.VCS_REPOSITORY_NAME,
    }
    labels = {label for family in FAMILIES for label in family.labels}

    assert labels == ATTRIBUTES.keys()
    assert conventions == {one for one in ATTRIBUTES.values() if not one.startswith("codecommit.")}
    assert len(labels) == len(set(ATTRIBUTES.values()))


GIVEN = (
    "deployment.environment.name=prod,service.namespace=git,service.instance.id=pod-7,"
    "service.version=9,k8s.pod.name=p,k8s.namespace.name=n,host.name=h,container.id=c,process.pid=1,"
    "cloud.region=eu-west-1,aws.ecs.task.arn=arn,faas.instance=f,vcs.ref.head.revision=r"
)


def test_a_ledgers_totals_tell_nothing_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    They are the same streams after a restart, on another machine and in another version.
    """
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", GIVEN)

    assert {
        "service.name": "codecommit-exporter",
        "service.namespace": "git",
        "service.instance.id": IDENTITY,
        "deployment.environment.name": "prod",
        "k8s.namespace.name": "n",
        "vcs.provider.name": "aws_codecommit",
    } == dict(ledger_resource(IDENTITY).attributes)


def test_no_version_is_told_of_totals() -> None:
    """
    That of the scope is part of what a stream is known by.
    """
    series = {Series(EVENTS.name, PULL): state(EVENTS.name, 1)}
    families = LivePage(CollectorRegistry(), View(series, {})).snapshot(NOW_MS, NOW_MS).families
    (request,) = ledger_requests(ledger_resource(IDENTITY), families, NOW_MS, exemplars=False)
    scope = request.resource_metrics[0].scope_metrics[0].scope

    assert ("codecommit-exporter", "") == (scope.name, scope.version or "")


def test_a_process_is_told_by_all_that_is_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What the variables say comes before what the program says of itself.
    """
    unnamed, another = own_resource().attributes, own_resource().attributes
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", GIVEN)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    named = own_resource().attributes

    assert "codecommit-exporter" == unnamed["service.name"]
    assert unnamed["service.instance.id"] != another["service.instance.id"]
    assert ("mine", "pod-7", "9", "p") == tuple(
        named[name]
        for name in ("service.name", "service.instance.id", "service.version", "k8s.pod.name")
    )
    assert "mine" == ledger_resource(IDENTITY).attributes["service.name"]


def test_a_name_that_is_empty_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Prometheus would have a job without a name otherwise.
    """
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=")
    resources = own_resource("counting"), ledger_resource(IDENTITY, "counting")

    assert ["counting", "counting"] == [one.attributes["service.name"] for one in resources]
