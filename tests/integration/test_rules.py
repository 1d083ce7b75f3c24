"""
The rules for Prometheus: what promtool says of them, and what promtool does not look at.

``tests/rules`` has promtool's own tests, with series as the program shows them.
"""

from __future__ import annotations

import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from exporter import telemetry
from exporter.config import ServeSettings, options
from exporter.families import FAMILIES, Kind
from tests.declared import FROM_PROMETHEUS, samples
from tests.processes import PROJECT

RULE_FILES = sorted((PROJECT / "deploy/prometheus").glob("*.yml"))
TEST_FILES = sorted((PROJECT / "tests/rules").glob("*.yml"))
RUNBOOKS = PROJECT / "docs/runbooks"
RUNBOOKS_URL = "https://github.com/codecommit-exporter/codecommit-exporter/blob/main/docs/runbooks"

SECTIONS = ["What to look at", "What to do", "What not to do"]

SCRAPE_SECONDS = 60
HOLD_SECONDS = 120
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
HOLD_BACK = "unless on (job) job:codecommit_old_events_counted:recent75m > 0"


_GROUPING = re.compile(r"\b(?:by|without|on|ignoring) \(([^)]*)\)")
_SELECTOR = re.compile(r"(?<![\w:])([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})?(?![\w:]*\s*\()")
_MATCHER = re.compile(r"(\w+)\s*[=!]")
_WINDOW = re.compile(r"\[(\d+[smhd])\]")
_OPERATORS = {"and", "or", "unless", "offset"}


class Rule(NamedTuple):
    """
    A rule as its file has it, and how often it is evaluated.
    """

    name: str
    text: dict[str, Any]
    interval_seconds: int

    @property
    def expression(self) -> str:
        """
        What is evaluated.
        """
        return str(self.text["expr"])


class Asked(NamedTuple):
    """
    The metrics that an expression names, and the labels by which it puts series together.

    Each metric comes with the labels it is chosen by.
    """

    metrics: list[tuple[str, set[str]]]
    grouping: set[str]


def rules(kind: str) -> list[Rule]:
    """
    All rules of a kind, ``alert`` or ``record``.
    """
    return [
        Rule(rule[kind], rule, seconds(group["interval"]))
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if kind in rule
    ]


def seconds(duration: str) -> int:
    """
    A duration as the rules write it (90s, 5m), in seconds.
    """
    return int(duration[:-1]) * SECONDS[duration[-1]]


def asked(expression: str) -> Asked:
    """
    What an expression in PromQL asks for; a small reader, enough for the rules at hand.
    """
    plain = re.sub(r'"[^"]*"', '""', expression)
    grouping = {
        label.strip() for group in _GROUPING.findall(plain) for label in group.split(",") if label
    }
    metrics = [
        (name, set(_MATCHER.findall(matchers)))
        for name, matchers in _SELECTOR.findall(_GROUPING.sub("", plain))
        if name not in _OPERATORS
    ]
    return Asked(metrics, grouping)


def known_labels() -> dict[str, set[str]]:
    """
    Every metric that can be named, with its labels.
    """
    known = {name: sample.labels | FROM_PROMETHEUS for name, sample in samples().items()}
    for record in rules("record"):
        known[record.name] = {*asked(record.expression).grouping, *FROM_PROMETHEUS}
    return known


def metrics_below(rule: Rule) -> Iterator[str]:
    """
    The program's metrics that a rule asks for, also through recorded ones.
    """
    recorded = {record.name: record for record in rules("record")}
    for name, _ in asked(rule.expression.replace(HOLD_BACK, "")).metrics:
        if name in recorded:
            yield from metrics_below(recorded[name])
        else:
            yield name


def alerts_on_happenings() -> list[Rule]:
    """
    The alerts that look at what the ledger counts.
    """
    counted = {family.name for family in FAMILIES if family.kind is not Kind.GAUGE}
    return [alert for alert in rules("alert") if counted & {*metrics_below(alert)}]


def words(text: str) -> str:
    """
    A text with single spaces.
    """
    return " ".join(text.split())


def cases_by_alert() -> dict[str, list[bool]]:
    """
    Of every alert that a test names, whether it fires in each of its cases.
    """
    fires: dict[str, list[bool]] = {}
    for path in TEST_FILES:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test.get("alert_rule_test", ()):
                fires.setdefault(case["alertname"], []).append(bool(case.get("exp_alerts")))
    return fires


def test_promtool_accepts_the_rules(promtool: str) -> None:
    """
    Prometheus can load every file, and no rule stands there twice.
    """
    found = subprocess.run(
        [promtool, "check", "rules", "--lint-fatal", *RULE_FILES],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == found.returncode, found.stdout + found.stderr


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_rules_do_what_they_say(promtool: str, path: Path) -> None:
    """
    Each case of promtool's own tests gives what it expects.
    """
    found = subprocess.run(
        [promtool, "test", "rules", path], capture_output=True, text=True, check=False
    )

    assert 0 == found.returncode, found.stdout + found.stderr


def test_every_rule_file_has_tests() -> None:
    """
    Tests are named after what they test.
    """
    assert [path.name for path in RULE_FILES] == [path.name for path in TEST_FILES]


@pytest.mark.parametrize("alert", rules("alert"), ids=lambda alert: alert.name)
def test_every_alert_says_what_a_person_needs(alert: Rule) -> None:
    """
    How bad it is, what it is, and where it is told what to do.
    """
    annotations = alert.text["annotations"]

    assert alert.text["labels"]["severity"] in {"critical", "warning", "info"}
    assert {"summary", "description", "runbook_url"} == {*annotations}
    assert f"{RUNBOOKS_URL}/{alert.name}.md" == annotations["runbook_url"]
    assert all(text.endswith(".") for name, text in annotations.items() if name != "runbook_url")


def test_every_alert_has_a_page_and_every_such_page_an_alert() -> None:
    """
    Pages are named after their alerts, and so are their titles; others begin in small letters.
    """
    pages = RUNBOOKS.glob("CodeCommit*.md")
    titles = {page.stem: page.read_text().partition("\n")[0] for page in pages}

    assert {alert.name: f"# {alert.name}" for alert in rules("alert")} == titles


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_every_page_names_what_there_is(page: Path) -> None:
    """
    The metrics, options and log lines of a page are the program's, and its links lead somewhere.
    """
    text = page.read_text()
    known = {
        "metrics": {*known_labels()},
        "options": {option.name for option in options(ServeSettings)},
        "lines": {*re.findall(r'"([^"{\n]+)"', inspect.getsource(telemetry))},
    }
    named = {
        "metrics": {*re.findall(r"\bcodecommit_\w*[a-z]\b", text)},
        "options": {*re.findall(r"--([a-z0-9]+\.[a-z-]+)", text)},
        "lines": {*re.findall(r"`([A-Z][a-z]* [a-z][^`]+)`", text)},
    }
    links = re.findall(r"\]\((?!https:)([^)#]+)", text)

    assert {kind: set() for kind in named} == {kind: named[kind] - known[kind] for kind in named}
    assert [] == [link for link in links if not (page.parent / link).is_file()]
    assert SECTIONS == re.findall(r"^## (.*)$", text, re.MULTILINE)


def test_every_alert_fires_in_one_case_and_is_quiet_in_another() -> None:
    """
    An alert that never fires, or always, is of no use.
    """
    fires = {name: {*cases} for name, cases in cases_by_alert().items()}

    assert {alert.name: {True, False} for alert in rules("alert")} == fires


@pytest.mark.parametrize(
    "rule", [*rules("alert"), *rules("record")], ids=lambda rule: rule.name.replace(":", "-")
)
def test_every_metric_and_label_exists(rule: Rule) -> None:
    """
    A rule asks for nothing that the program does not show.
    """
    known = known_labels()
    metrics, grouping = asked(rule.expression)
    labels = set[str]().union(*(known.get(name, ()) for name, _ in metrics))

    assert [] == [name for name, _ in metrics if name not in known]
    assert [] == [(name, by - known[name]) for name, by in metrics if by - known[name]]
    assert set() == grouping - labels


@pytest.mark.parametrize("record", rules("record"), ids=lambda record: record.name)
def test_every_recorded_window_holds_two_samples(record: Rule) -> None:
    """
    A window is at least as long as an evaluation and a scrape are apart.
    """
    windows = [seconds(window) for window in _WINDOW.findall(record.expression)]

    assert windows
    assert min(windows) >= record.interval_seconds + SCRAPE_SECONDS


@pytest.mark.parametrize("alert", alerts_on_happenings(), ids=lambda alert: alert.name)
def test_what_happened_long_ago_is_not_told(alert: Rule) -> None:
    """
    Alerts on happenings are held back as a whole while old events are counted.
    """
    expression = words(alert.expression)

    assert expression.startswith("(")
    assert expression.endswith(f") {HOLD_BACK}")


@pytest.mark.parametrize("alert", alerts_on_happenings(), ids=lambda alert: alert.name)
def test_a_happening_is_told_once_failures_are_known(alert: Rule) -> None:
    """
    A failure in a new series is held at 0: whoever is told of events waits until it is not.

    The hold begins anew where the process does, so that two of them may pass.
    """
    held = 2 * (HOLD_SECONDS + SCRAPE_SECONDS) + alert.interval_seconds

    assert seconds(alert.text["for"]) > held


def test_events_are_told_less_their_failures() -> None:
    """
    Events include failed requests, which have made nothing happen.
    """
    told = [{*metrics_below(alert)} for alert in alerts_on_happenings()]
    events = [metrics for metrics in told if "codecommit_events_total" in metrics]

    assert events
    assert all("codecommit_event_errors_total" in metrics for metrics in events)


def test_an_expression_is_read_right() -> None:
    """
    Names, labels and groupings are told from functions, operators, strings and durations.
    """
    expression = 'sum by (job, a) (rate(m:x_total{b="c d", e!~"f|g"}[5m] offset 1h)) > 4 or up * 0'

    assert Asked([("m:x_total", {"b", "e"}), ("up", set())], {"job", "a"}) == asked(expression)
