"""
The page: whole texts, held series, and when a hold ends.
"""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.codecommit import Repository
from exporter.families import (
    EVENT_DELIVERY,
    EVENTS,
    FAMILIES,
    FAMILY,
    LAST_EVENT,
    LAST_PUSH,
    PUSH_REFERENCES,
    PUSHES,
    REPOSITORY_INFO,
    Family,
    Kind,
    Series,
    SeriesState,
    Total,
)
from exporter.knowledge import Known
from exporter.metrics import Page as LivePage, SeriesStates, View
from exporter.telemetry import Telemetry
from tests.pages import page_that_shows
from tests.processes import OPENMETRICS, TEXT, Page


def parse(text: str) -> list[Metric]:
    """
    The families of an OpenMetrics page.
    """
    return list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


PULL = ("210987654321", "eu-central-1", "tools", "GitPull", "HTTP", "true")
PUSH = ("210987654321", "eu-central-1", "tools", "SSH")
REPOSITORY = ("210987654321", "eu-central-1", "tools")

TOTALS = {
    Series(EVENTS.name, PULL): Total(3),
    Series(EVENT_DELIVERY.name, PULL): Total(400_500, (1, 0, 2, 0, 0, 0, 0, 0, 0)),
    Series(PUSHES.name, PUSH): Total(12_345_678_901),
    Series(PUSH_REFERENCES.name, PUSH): Total(1_003_000, (0, 0, 1, 0, 0, 0, 1)),
    Series(LAST_PUSH.name, REPOSITORY): Total(1_790_000_000_250),
}

EMPTY_PAGE = """\
# HELP codecommit_events_total CodeCommit events found in CloudTrail log files, failed requests \
included, each counted once.
# TYPE codecommit_events_total counter
# HELP codecommit_event_delivery_seconds Time from a CodeCommit event to the delivery of the \
CloudTrail log file that tells of it.
# TYPE codecommit_event_delivery_seconds histogram
# HELP codecommit_event_errors_total CodeCommit events of requests that failed, by the error \
code of the answer.
# TYPE codecommit_event_errors_total counter
# HELP codecommit_pushes_total Successful Git pushes that moved data; the two records of one \
HTTPS push count as one.
# TYPE codecommit_pushes_total counter
# HELP codecommit_push_references References (branches, tags and others) updated by one push.
# TYPE codecommit_push_references histogram
# HELP codecommit_reference_updates_total References named by pushes, by their type and by what \
happened to them.
# TYPE codecommit_reference_updates_total counter
# HELP codecommit_pull_request_events_total What happened to pull requests: created, merged, \
closed, reopened, approved, approval_revoked, overridden (approval rules), commented; successful \
requests only.
# TYPE codecommit_pull_request_events_total counter
# HELP codecommit_pull_request_open_seconds Time from the creation of a pull request to its end, \
by outcome (merged, closed); only of those whose creation has been counted.
# TYPE codecommit_pull_request_open_seconds histogram
# HELP codecommit_caller_events_total CodeCommit events by what kind of caller made the request \
(identity_type is CloudTrail's) and with what kind of credentials: root, long_term, temporary, \
aws_service, unknown.
# TYPE codecommit_caller_events_total counter
# HELP codecommit_kms_requests_total Requests to AWS KMS that CodeCommit made for a repository's \
data, failed ones included (error_code is empty for the others); no part of \
codecommit_events_total.
# TYPE codecommit_kms_requests_total counter
# HELP codecommit_last_event_timestamp_seconds Time of the newest CodeCommit event, in seconds \
since 1970.
# TYPE codecommit_last_event_timestamp_seconds gauge
# HELP codecommit_last_push_timestamp_seconds Time of the newest push that moved data, in \
seconds since 1970.
# TYPE codecommit_last_push_timestamp_seconds gauge
# HELP codecommit_repository_info Which id the repository of a name has, as the newest event \
tells; always 1. Gone once the repository is deleted.
# TYPE codecommit_repository_info gauge
"""

WHERE = 'account_id="210987654321",aws_region="eu-central-1"'
EVENT = (
    'account_id="210987654321",action="GitPull",aws_region="eu-central-1",'
    'data_transferred="true"{le},protocol="HTTP",repository="tools"'
)
PUSHED = WHERE + '{le},protocol="SSH",repository="tools"'


def histogram(name: str, labels: str, buckets: dict[str, float], total: float) -> str:
    """
    A histogram's samples as they stand on the page; labels are in the order of their names.
    """
    plain = labels.format(le="")
    lines = []
    for bound, number in buckets.items():
        bounded = labels.format(le=f',le="{bound}"')
        lines.append(f"{name}_bucket{{{bounded}}} {number}\n")
    lines.append(f"{name}_count{{{plain}}} {number}\n")
    lines.append(f"{name}_sum{{{plain}}} {total}\n")
    return "".join(lines)


SAMPLES = {
    "codecommit_events_total": f"codecommit_events_total{{{EVENT.format(le='')}}} 3.0\n",
    "codecommit_event_delivery_seconds": histogram(
        "codecommit_event_delivery_seconds",
        EVENT,
        {
            "60.0": 1.0,
            "120.0": 1.0,
            "300.0": 3.0,
            "600.0": 3.0,
            "900.0": 3.0,
            "1800.0": 3.0,
            "3600.0": 3.0,
            "86400.0": 3.0,
            "+Inf": 3.0,
        },
        400.5,
    ),
    "codecommit_pushes_total": (
        f"codecommit_pushes_total{{{PUSHED.format(le='')}}} 1.2345678901e+10\n"
    ),
    "codecommit_push_references": histogram(
        "codecommit_push_references",
        PUSHED,
        {
            "1.0": 0.0,
            "2.0": 0.0,
            "5.0": 1.0,
            "10.0": 1.0,
            "50.0": 1.0,
            "100.0": 1.0,
            "+Inf": 2.0,
        },
        1003.0,
    ),
    "codecommit_last_push_timestamp_seconds": (
        f'codecommit_last_push_timestamp_seconds{{{WHERE},repository="tools"}} 1.79000000025e+09\n'
    ),
}
OWN_PAGE = """\
# HELP ours Ours.
# TYPE ours gauge
ours 7.0
"""


def series(*, released: bool = True) -> SeriesStates:
    return {
        one: SeriesState(
            total,
            1_790_000_000_000,
            1_790_000_120_000 if released else None,
            FAMILY[one.family].zero(),
        )
        for one, total in TOTALS.items()
    }


def text_of(states: SeriesStates, own: CollectorRegistry | None = None, accept: str = TEXT) -> str:
    page = LivePage(own or CollectorRegistry(), View(states, {}))
    return page.answer(accept, now_ms=0).body.decode()


def with_samples(samples: dict[str, str]) -> str:
    """
    The empty page with each family's samples behind its type.
    """
    lines = EMPTY_PAGE.splitlines(keepends=True)
    return "".join(
        line + (samples.get(line.split()[2], "") if line.startswith("# TYPE") else "")
        for line in lines
    )


@pytest.fixture
def own() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("ours", "Ours.", registry=registry).set(7)
    return registry


def test_the_whole_page() -> None:
    """
    Every sample with its labels by name, ``le`` as a float, sums exact, no time.
    """
    assert with_samples(SAMPLES) == text_of(series())


def test_the_page_of_an_empty_ledger(own: CollectorRegistry) -> None:
    """
    Every family is there without series, and the exporter's own metrics come after.
    """
    assert EMPTY_PAGE + OWN_PAGE == text_of({}, own)


def test_the_openmetrics_page(own: CollectorRegistry) -> None:
    """
    The same samples under OpenMetrics' own rules, as prometheus_client's parser reads them.
    """
    text = text_of(series(), own, OPENMETRICS)
    families = {family.name: family for family in parse(text)}
    plain = Page(text_of(series(), own), TEXT)

    assert text.endswith("\n# EOF\n")
    assert {family.name.removesuffix("_total") for family in FAMILIES} | {"ours"} == set(families)
    assert {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in plain.families.values()
        for sample in family.samples
    } == {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert {None} == {sample.timestamp for family in families.values() for sample in family.samples}


def test_everything_there_is_makes_one_valid_page() -> None:
    """
    The ledger's families and all of the exporter's own are one OpenMetrics page.
    """
    text = text_of(series(), Telemetry().registry, OPENMETRICS)
    names = [family.name for family in parse(text)]

    assert sorted(set(names)) == sorted(names)
    assert {"codecommit_events", "codecommit_exporter_messages"} <= set(names)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (f"{OPENMETRICS};q=0.5,{TEXT};q=0.2", "application/openmetrics-text; version=1.0.0"),
        (TEXT, "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8"),
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text; version=2.0.0",
            "application/openmetrics-text; version=1.0.0",
        ),
        ("application/openmetrics-text; version=nonsense, ;;=,", "text/plain; version=0.0.4"),
    ],
    ids=["openmetrics", "prometheus", "text", "browser", "nothing", "later", "nonsense"],
)
def test_the_format_is_what_was_asked_for(accept: str, content_type: str) -> None:
    """
    OpenMetrics for those who accept it, the plain text format for everyone else.
    """
    answer = LivePage(CollectorRegistry(), View({}, {})).answer(accept, now_ms=0)

    assert answer.content_type.startswith(content_type)


def test_a_held_series_is_0_in_all_its_parts() -> None:
    """
    Counters and histograms show 0 whatever they hold: every bucket, the count and the sum.
    """
    held_page = Page(text_of(series(released=False)), TEXT)
    values = {
        sample.name: sample.value
        for family in held_page.families.values()
        if family.type in {"counter", "histogram"}
        for sample in family.samples
    }

    assert {
        "codecommit_events_total",
        "codecommit_pushes_total",
        *(
            f"{name}_{part}"
            for name in ("codecommit_event_delivery_seconds", "codecommit_push_references")
            for part in ("bucket", "count", "sum")
        ),
    } == set(values)
    assert {0.0} == set(values.values())


def test_a_held_page_has_the_samples_of_a_released_one() -> None:
    """
    The end of a hold changes values, never which samples there are.
    """
    shown = Page(text_of(series()), TEXT).growing()
    hidden = Page(text_of(series(released=False)), TEXT).growing()

    assert shown.keys() == hidden.keys()


def test_a_released_series_shows_its_value_beside_a_held_one() -> None:
    """
    Each series is held for itself.
    """
    other = Series(EVENTS.name, (*PULL[:2], "web", *PULL[3:]))
    states = dict(series())
    states[other] = SeriesState(Total(9), 1_790_000_000_000, None, Total(0))
    mixed = Page(text_of(states), TEXT)

    assert 3 == mixed.value("codecommit_events_total", repository="tools")
    assert 0 == mixed.value("codecommit_events_total", repository="web")


KNOWN = {
    Repository(*REPOSITORY): Known(active_ms=1, repository_id="0a1b"),
    Repository(*REPOSITORY[:2], "gone"): Known(active_ms=1),
    Repository(*REPOSITORY[:2], "too-many"): Known(repository_id="2c3d"),
}


def test_a_repository_is_shown_with_its_id() -> None:
    """
    Names and ids are joined where both are known, and labels may name the repository.
    """
    (sample,) = page_that_shows({}, KNOWN).families[REPOSITORY_INFO.name].samples

    assert 1 == sample.value
    assert (*REPOSITORY, "0a1b") == tuple(sample.labels[one] for one in REPOSITORY_INFO.labels)


def test_a_held_series_that_came_back_shows_what_it_showed() -> None:
    """
    A series that had left the page goes on from where it left, not from 0.
    """
    back = Series(PUSHES.name, PUSH)
    shown = Page(text_of({back: SeriesState(Total(9), 0, None, Total(7))}), TEXT)

    assert 7 == shown.value("codecommit_pushes_total")


def test_a_label_value_is_escaped() -> None:
    """
    The page stays readable whatever a ledger of another version may hold.
    """
    odd = Series(LAST_EVENT.name, ("a\\b", 'c"d', "e\nf", "ü"))
    parsed = Page(text_of({odd: SeriesState(Total(1000), 0, 0, Total(0))}), TEXT)
    (sample,) = parsed.families[LAST_EVENT.name].samples

    assert odd.labels == tuple(sample.labels[label] for label in LAST_EVENT.labels)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_keeps_to_the_conventions(family: Family) -> None:
    """
    Counters alone end in ``_total``, help is a sentence, nothing identifies a person.
    """
    assert (family.kind is Kind.COUNTER) == family.name.endswith("_total")
    assert family.help.endswith(".")
    assert not {"user", "user_name", "arn", "ip", "branch", "path"} & set(family.labels)
