"""
Every dashboard and every rule, evaluated by a real Prometheus that has scraped the demo.

A panel that has something to show there shows it: a count that nobody has counted is shown as
0, so a mistyped metric would never be missed otherwise.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from exporter.families import FAMILIES, REPOSITORY_LABELS, Family, Kind
from exporter.telemetry import METRICS, Metric
from grafana.source.expressions import dashboards, panels
from tests.conftest import needs
from tests.observed import JOB, Observed, observed_demo
from tests.processes import PROJECT
from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.observed import Span
    from tests.prometheus import Result

QUIET_ALERTS = {
    "CodeCommitDeniedCallsSpike": "takes more denials in one place than there are in a minute",
    "CodeCommitExporterDown": "the demo is up",
    "CodeCommitExporterNoLogFiles": "the demo writes log files all the time",
    "CodeCommitExporterLagging": "what the demo writes is read at once",
    "CodeCommitExporterQueueGrowing": "takes half an hour",
    "CodeCommitExporterRecordsInvalid": "the demo writes valid records",
    "CodeCommitExporterLateEvents": "the demo invents nothing that old",
    "CodeCommitExporterLedgerNotWritable": "the disk is well",
    "CodeCommitExporterHoldTooShort": "Prometheus scrapes often enough",
    "CodeCommitExporterSeriesLimit": "the demo has few repositories",
    "CodeCommitExporterRequestsFailing": "what stands in for AWS permits everything",
    "CodeCommitExporterRestarting": "the demo runs on",
    "CodeCommitAlertsHeldBack": "the demo counts nothing of long ago",
}
"""The alerts that may find nothing in the demo, and why; all others find something."""

NOUGHTS = {
    ("exporter", "Limit on series hit", "A"): "the demo has few repositories",
    ("exporter", "Events not counted", "B"): "the demo invents nothing that old",
    ("exporter", "Events not counted", "C"): "the demo writes valid records",
    ("exporter", "Failed AWS requests", "A"): "what stands in for AWS is well",
    ("exporter", "Exports over OTLP", "A"): "the demo sends nothing",
    ("exporter", "Exports over OTLP", "B"): "the same",
}
"""The queries (dashboard, panel, letter) that may show nothing but 0 in the demo, and why."""

INTERVAL = 0.5
HOLD = "2s"
PATIENCE_SECONDS = 120

EVENTS, ERRORS = "codecommit_events_total", "codecommit_event_errors_total"
PULL_REQUESTS = "codecommit_pull_request_events_total"
OPEN_TIME = "codecommit_pull_request_open_seconds"
NAMED, PULL = 'repository!=""', 'action="GitPull"'
DENIED = 'error_code=~".*(AccessDenied|Unauthorized).*"'
RULES_CHANGED = 'action=~"(Create|Update|Delete|Associate|Disassociate|Batch).*ApprovalRule.*"'

SINCE_THE_START = "1h"
SAMPLES_MIN = 3
ALL = re.compile(r'\w+=~"\.[*+]"(?:, )?')
"""The matcher of a variable that stands on All."""


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """
    The demo once each kind of metric has been scraped and each panel has something to show.

    The wait for panels ends without complaint: a test names those that show nothing.
    """
    binary = needs("prometheus")
    folder = tmp_path_factory.mktemp("observed")
    flags = (
        *("--demo.rate", "12"),
        *("--demo.seed", "309"),
        *("--metrics.new-series-hold", HOLD),
    )
    rules = list(often_evaluated(folder))
    with observed_demo(binary, folder, *flags, interval=INTERVAL, rule_files=rules) as demo:
        eventually(lambda: not unscraped(demo), "each metric has been scraped", PATIENCE_SECONDS)
        with suppress(AssertionError):
            eventually(lambda: not noughts(demo) - NOUGHTS.keys(), "panels", PATIENCE_SECONDS)
        yield demo


def often_evaluated(folder: Path) -> Iterator[Path]:
    """
    Copies of the rules that are evaluated each second, where users have them each minute.
    """
    for path in (PROJECT / "deploy/prometheus").glob("*.yml"):
        copy = folder / path.name
        copy.write_text(re.sub(r"\binterval: \w+", "interval: 1s", path.read_text()))
        yield copy


def unscraped(observed: Observed) -> list[str]:
    """
    The metrics without three samples; of what the ledger counts, without three after the hold.
    """
    return [each.name for each in (*FAMILIES, *METRICS) if not scraped(observed, each)]


def scraped(observed: Observed, metric: Family | Metric) -> bool:
    """
    Whether some series of a metric has enough samples. One on hold shows 0.
    """
    name = f"{metric.name}_count" if metric.kind is Kind.HISTOGRAM else metric.name
    shown = f"{name} > 0" if isinstance(metric, Family) else name
    samples = f"max(count_over_time(({shown})[{SINCE_THE_START}:{INTERVAL * 1000:.0f}ms]))"
    return any(count >= SAMPLES_MIN for count in values(observed.prometheus.query(samples)))


def noughts(observed: Observed) -> set[tuple[str, str, str]]:
    """
    The queries that show nothing, or nothing but 0 and none, up to the newest scrape.
    """
    span = observed.so_far()
    return {
        query[:3]
        for query in observed.expressions(span)
        if not any(value and not math.isnan(value) for value in values(observed.ask(query, span)))
    }


def values(results: Iterable[Result]) -> Iterator[float]:
    """
    Every value of an answer.
    """
    return (point.value for result in results for point in result.points)


def by_labels(results: Iterable[Result]) -> dict[frozenset[tuple[str, str]], float]:
    """
    The newest value of each series.
    """
    return {frozenset(result.labels.items()): result.value for result in results}


def test_each_query_of_each_panel_has_data(observed: Observed) -> None:
    """
    Prometheus evaluates all of them and none stays empty, also those that show 0.
    """
    span = observed.so_far()
    answers = {query[:3]: observed.ask(query, span) for query in observed.expressions(span)}

    assert [] == [query for query, answer in answers.items() if not answer]
    assert sum(len(panels(made)) for made in dashboards().values()) == len(
        {(dashboard, panel) for dashboard, panel, _ in answers}
    )


def test_each_panel_shows_what_the_demo_does(observed: Observed) -> None:
    """
    There is more to see than 0 wherever the demo does something of the kind.
    """
    assert set() == noughts(observed) - NOUGHTS.keys()
    assert NOUGHTS.keys() <= {query[:3] for query in observed.expressions(observed.so_far())}


@pytest.mark.parametrize("dashboard", ["overview", "repository", "audit"])
def test_totals_are_what_was_counted(observed: Observed, dashboard: str) -> None:
    """
    Each stat is the plain sum over all series of what they show now; each began at 0.

    Repositories without a name and events without a protocol are among them.
    """
    span = observed.so_far()
    sums = Sums(observed, span.end)

    assert pytest.approx(SUMS[dashboard](sums)) == stats(observed, dashboard, span)
    assert sums.of(EVENTS, 'repository=""') > 0
    assert sums.of(EVENTS, 'protocol=""') > 0
    assert sums.of(ERRORS, 'action="DeleteBranch"') > 0, "nothing had to be subtracted"


def test_totals_of_one_repository_are_its_own(observed: Observed) -> None:
    """
    What has been chosen is summed and nothing else; some have ended in one way only.
    """
    span = observed.so_far()
    everything = Sums(observed, span.end)
    names = {result.labels["repository"] for result in everything.last(EVENTS, NAMED)}
    expected = {
        name: of_repository(Sums(observed, span.end, f'repository="{name}"')) for name in names
    }

    assert len(names) > 1
    assert any(
        math.isnan(each["Open until merged"]) != math.isnan(each["Open until closed"])
        for each in expected.values()
    )
    for name in names:
        shown = stats(observed, "repository", span, name)
        assert pytest.approx(expected[name], nan_ok=True) == shown, name


def stats(
    observed: Observed, dashboard: str, span: Span, repository: str = ".*"
) -> dict[str, float]:
    """
    What the panels with a single number show, by their titles.
    """
    titles = {
        panel["title"] for panel in panels(dashboards()[dashboard]) if panel["type"] == "stat"
    }
    return {
        query.panel: observed.ask(query, span)[0].value
        for query in observed.expressions(span, repository=repository)
        if query.dashboard == dashboard and query.panel in titles
    }


class Sums:
    """
    What Prometheus has seen until a time, added up plainly.

    Args:
        observed: the demo.
        at: seconds since 1970.
        chosen: matchers of what is looked at.

    """

    def __init__(self, observed: Observed, at: float, *chosen: str) -> None:
        self.observed, self.at, self._chosen = observed, at, chosen

    def last(self, metric: str, *matchers: str) -> list[Result]:
        """
        What each series last showed, also those that have left the page.
        """
        return self.observed.prometheus.query(self._selected(metric, *matchers), self.at)

    def of(self, metric: str, *matchers: str) -> float:
        """
        What all series together have counted.
        """
        return sum(values(self.last(metric, *matchers)))

    def succeeded(self, *matchers: str) -> float:
        """
        How many requests did not fail.
        """
        return self.of(EVENTS, *matchers) - self.of(ERRORS, *matchers)

    def age(self, metric: str) -> float:
        """
        How long ago the newest of some times was, in seconds.
        """
        return min((self.at - time for time in values(self.last(metric))), default=math.nan)

    def median(self, *matchers: str) -> float:
        """
        Of the open time of pull requests, as far as the buckets tell it, in seconds.
        """
        buckets = self._selected(f"{OPEN_TIME}_bucket", *matchers)
        found = self.observed.prometheus.query(
            f"histogram_quantile(0.5, sum by (le) ({buckets}))", self.at
        )
        return found[0].value if found else math.nan

    def _selected(self, metric: str, *matchers: str) -> str:
        selector = f"{metric}{{{', '.join((*self._chosen, *matchers))}}}"
        return f"last_over_time({selector}[{SINCE_THE_START}])"


def of_overview(sums: Sums) -> dict[str, float]:
    """
    What the Overview should show.
    """
    idle = sums.of(EVENTS, PULL, 'data_transferred="false"')
    moved = sums.of(EVENTS, PULL, 'data_transferred="true"')
    pulls, git_pushes = sums.of(EVENTS, PULL), sums.of(EVENTS, 'action="GitPush"')
    repositories = {
        tuple(result.labels[label] for label in REPOSITORY_LABELS)
        for result in sums.last(EVENTS, NAMED)
        if result.value
    }
    return {
        "Events": sums.of(EVENTS),
        "Pulls": pulls,
        "Pushes": sums.of("codecommit_pushes_total"),
        "API calls": sums.of(EVENTS) - pulls - git_pushes,
        "Errors": sums.of(ERRORS),
        "Active repositories": len(repositories),
        "Pulls that moved no data": idle / (idle + moved),
    }


def of_repository(sums: Sums) -> dict[str, float]:
    """
    What the Repository dashboard should show.
    """
    pull_requests = partial(sums.of, PULL_REQUESTS)
    pulls, git_pushes = sums.of(EVENTS, PULL), sums.of(EVENTS, 'action="GitPush"')
    return {
        "Pulls": pulls,
        "Pushes": sums.of("codecommit_pushes_total"),
        "API calls": sums.of(EVENTS) - pulls - git_pushes,
        "Errors": sums.of(ERRORS),
        "Time since the last push": sums.age("codecommit_last_push_timestamp_seconds"),
        "Time since the last event": sums.age("codecommit_last_event_timestamp_seconds"),
        "Opened": pull_requests('event="created"'),
        "Merged": pull_requests('event="merged"'),
        "Closed unmerged": pull_requests('event="closed"'),
        "Approvals": pull_requests('event="approved"'),
        "Open until merged": sums.median('outcome="merged"'),
        "Open until closed": sums.median('outcome="closed"'),
    }


def of_audit(sums: Sums) -> dict[str, float]:
    """
    What the audit dashboard should show.
    """
    callers = partial(sums.of, "codecommit_caller_events_total")
    deleted = partial(sums.of, "codecommit_reference_updates_total", 'change="delete"')
    kms_requests = partial(sums.of, "codecommit_kms_requests_total")
    denied, long_term = sums.of(ERRORS, DENIED), callers('credentials="long_term"')
    return {
        "Denied calls": denied,
        "Share of calls denied": denied / sums.of(EVENTS),
        "Events by root": callers('credentials="root"'),
        "Events with long-term credentials": long_term,
        "Share with long-term credentials": long_term / callers(),
        "Repositories deleted": sums.succeeded('action="DeleteRepository"', NAMED),
        "Branches deleted by call": sums.succeeded('action="DeleteBranch"'),
        "Branches deleted by push": deleted('ref_type="branch"'),
        "Tags deleted by push": deleted('ref_type="tag"'),
        "Approval rules overridden": sums.of(PULL_REQUESTS, 'event="overridden"'),
        "Approvals revoked": sums.of(PULL_REQUESTS, 'event="approval_revoked"'),
        "Approval rules changed": sums.succeeded(RULES_CHANGED),
        "Triggers changed": sums.succeeded('action="PutRepositoryTriggers"'),
        "Encryption keys changed": sums.succeeded('action="UpdateRepositoryEncryptionKey"'),
        "Default branches changed": sums.succeeded('action="UpdateDefaultBranch"'),
        "KMS requests denied": kms_requests(DENIED),
        "Calls failed for their key": sums.of(ERRORS, 'error_code=~"EncryptionKey.*"'),
        "KMS requests": kms_requests(),
    }


SUMS = {"overview": of_overview, "repository": of_repository, "audit": of_audit}


def test_other_programs_are_left_out(observed: Observed) -> None:
    """
    Prometheus scrapes two programs, and one of them is an exporter.
    """
    span = observed.so_far()
    answers = {
        query.panel: observed.ask(query, span)
        for query in observed.expressions(span)
        if query.dashboard == "exporter" and re.search(r"\b(up|process_\w+)\{", query.expr)
    }
    [exporter] = observed.prometheus.query(f'up{{job="{JOB}"}}', span.end)

    assert 2 == len(observed.prometheus.query("process_resident_memory_bytes", span.end))
    assert 1 == answers.pop("Exporters that are up")[0].value
    assert {"Ledger and memory", "Processor time"} == answers.keys()
    for answer in answers.values():
        assert [exporter.labels["instance"]] == [result.labels["instance"] for result in answer]


def test_all_leaves_nothing_out(observed: Observed) -> None:
    """
    A variable on All gives what there would be without it, series with empty labels included.
    """
    span = observed.so_far()
    for query in observed.expressions(span):
        plainly = ALL.sub("", query.expr)
        shown = by_labels(observed.prometheus.query(query.expr, span.end))
        everything = by_labels(observed.prometheus.query(plainly, span.end))

        assert plainly != query.expr
        assert pytest.approx(everything, nan_ok=True) == shown, query


def test_each_rule_is_evaluated(observed: Observed) -> None:
    """
    Prometheus finds no fault with any, each recording has series, and alerts find what there is.
    """
    query = observed.prometheus.query
    rules = observed.prometheus.rules()
    recordings = [rule.name for rule in rules if rule.kind == "recording"]
    eventually(lambda: all(map(query, recordings)), "each recording has series")
    empty = {rule for rule in rules if not query(rule.expression)}

    assert [("ok", "")] * len(rules) == [(rule.health, rule.error) for rule in rules]
    assert names_in_files() == sorted(rule.name for rule in rules)
    assert [] == sorted({rule.name for rule in empty} - QUIET_ALERTS.keys())
    assert QUIET_ALERTS.keys() <= {rule.name for rule in rules if rule.kind == "alerting"}


def names_in_files() -> list[str]:
    """
    Every rule's name, as its file has it.
    """
    texts = [path.read_text() for path in (PROJECT / "deploy/prometheus").glob("*.yml")]
    return sorted(re.findall(r"- (?:alert|record): (\S+)", "\n".join(texts)))


def test_prometheus_has_nothing_to_complain_of(observed: Observed) -> None:
    """
    Neither the page nor a rule makes it warn.
    """
    assert [] == observed.prometheus.warnings()
