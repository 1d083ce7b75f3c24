"""
The schemas of custom resources, which other tests hold the chart against.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.custom_resources import problem

Json = dict[str, Any]

GONE = object()
METADATA: Json = {
    "name": "exporter",
    "namespace": "monitoring",
    "labels": {"team": "platform"},
    "annotations": {"example.com/reviewed": "true"},
}
SELECTOR: Json = {
    "matchLabels": {"app": "exporter"},
    "matchExpressions": [{"key": "app", "operator": "In", "values": ["exporter"]}],
}
RELABELING: Json = {
    "sourceLabels": ["pod"],
    "regex": "(.*)",
    "action": "replace",
    "targetLabel": "instance",
}
ENDPOINT: Json = {
    "port": "metrics",
    "path": "/metrics",
    "params": {"name[]": ["a"]},
    "interval": "1m30s",
    "honorLabels": True,
    "relabelings": [RELABELING],
    "metricRelabelings": [RELABELING],
}
RULES: list[Json] = [
    {"record": "job:up:sum", "expr": "sum by (job) (up)", "labels": {"team": "platform"}},
    {"alert": "Down", "expr": "up == 0", "for": "5m", "annotations": {"summary": "It is down."}},
]
RIGHT: dict[str, Json] = {
    "ServiceMonitor": {
        "endpoints": [ENDPOINT],
        "selector": SELECTOR,
        "namespaceSelector": {"matchNames": ["monitoring"]},
        "sampleLimit": 0,
    },
    "PodMonitor": {"podMetricsEndpoints": [ENDPOINT], "selector": SELECTOR},
    "PrometheusRule": {"groups": [{"name": "a", "interval": "1m", "limit": 0, "rules": RULES}]},
}
"""What each kind specifies."""

WRONG_RESOURCES: tuple[tuple[str, object], ...] = (
    ("apiVersion", "v1"),
    ("apiVersion", GONE),
    ("status", {}),
    ("spec", GONE),
    ("metadata", GONE),
    ("metadata.name", GONE),
    ("metadata.name", "Exporter"),
    ("metadata.name", 1),
    ("metadata.namespace", GONE),
    ("metadata.namespace", ""),
    ("metadata.namespace", 2024),
    ("metadata.label", {}),
    ("metadata.labels", []),
    ("metadata.labels.team", 1),
    ("metadata.labels.team", "a" * 64),
    ("metadata.annotations.reviewed", True),
)
WRONG_MONITORS: tuple[tuple[str, object], ...] = (
    ("spec.selectors", {}),
    ("spec.selector", GONE),
    ("spec.selector", []),
    ("spec.selector.matchLabel", {}),
    ("spec.selector.matchLabels.app", 1),
    ("spec.selector.matchLabels.app", "a" * 64),
    ("spec.selector.matchExpressions.0.key", GONE),
    ("spec.selector.matchExpressions.0.operator", "Is"),
    ("spec.selector.matchExpressions.0.operator", GONE),
    ("spec.selector.matchExpressions.0.value", "a"),
    ("spec.namespaceSelector", {"names": ["monitoring"]}),
    ("spec.namespaceSelector", {"matchNames": "monitoring"}),
    ("spec.namespaceSelector", {"matchNames": [""]}),
    ("spec.namespaceSelector", {"any": "true"}),
    ("spec.sampleLimit", -1),
    ("spec.sampleLimit", "1"),
)
WRONG_ENDPOINTS: tuple[tuple[str, object], ...] = (
    ("intervall", "30s"),
    ("interval", 30),
    ("interval", "30"),
    ("interval", ""),
    ("interval", "1.5m"),
    ("port", GONE),
    ("port", 10112),
    ("port", ""),
    ("path", "metrics"),
    ("scheme", "ftp"),
    ("honorLabels", "true"),
    ("params", {"name[]": "a"}),
    ("relabelings", RELABELING),
    *(
        (f"{kind}.0.{name}", value)
        for kind in ("relabelings", "metricRelabelings")
        for name, value in (
            ("action", "rename"),
            ("source_labels", ["pod"]),
            ("sourceLabels", "pod"),
            ("sourceLabels", ["my-label"]),
            ("targetLabel", "my-label"),
            ("regex", 1),
            ("replacement", None),
            ("modulus", -1),
        )
    ),
)
WRONG_RULES: tuple[tuple[str, object], ...] = (
    ("spec.groups", GONE),
    ("spec.groups", []),
    ("spec.group", []),
    ("spec.groups.0.name", GONE),
    ("spec.groups.0.name", ""),
    ("spec.groups.0.evaluation_interval", "1m"),
    ("spec.groups.0.interval", "1"),
    ("spec.groups.0.limit", -1),
    ("spec.groups.0.rules", {}),
    ("spec.groups.0.rules.0.alert", "Both"),
    ("spec.groups.0.rules.0.record", GONE),
    ("spec.groups.0.rules.0.record", "job-up"),
    ("spec.groups.0.rules.0.for", "5m"),
    ("spec.groups.0.rules.0.annotations", {}),
    ("spec.groups.0.rules.0.labels.my-label", "a"),
    ("spec.groups.0.rules.0.labels.team", 1),
    ("spec.groups.0.rules.1.expr", GONE),
    ("spec.groups.0.rules.1.expr", True),
    ("spec.groups.0.rules.1.alert", ""),
    ("spec.groups.0.rules.1.for", 300),
    ("spec.groups.0.rules.1.annotation", {}),
    ("spec.groups.0.rules.1.annotations.summary", None),
)
WRONG: list[tuple[str, str, object]] = [
    *((kind, path, value) for kind in RIGHT for path, value in WRONG_RESOURCES),
    *((kind, *wrong) for kind in ("ServiceMonitor", "PodMonitor") for wrong in WRONG_MONITORS),
    *(
        (kind, f"spec.{name}.0.{path}", value)
        for kind, name in (("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints"))
        for path, value in WRONG_ENDPOINTS
    ),
    ("ServiceMonitor", "spec.endpoints", []),
    ("ServiceMonitor", "spec.endpoints", GONE),
    ("ServiceMonitor", "spec.podMetricsEndpoints", [ENDPOINT]),
    ("PodMonitor", "spec.podMetricsEndpoints", []),
    ("PodMonitor", "spec.podMetricsEndpoints", GONE),
    ("PodMonitor", "spec.endpoints", [ENDPOINT]),
    *(("PrometheusRule", *wrong) for wrong in WRONG_RULES),
]
"""Kind, path, and what is wrong there."""


def resource(kind: str) -> Json:
    """
    A right object of a kind.
    """
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": kind,
        "metadata": METADATA,
        "spec": RIGHT[kind],
    }


def changed(found: Json, path: str, value: object) -> Json:
    """
    An object that differs at one place, where a value may be ``GONE``.
    """
    whole = copy.deepcopy(found)
    *way, last = path.split(".")
    node: Any = whole
    for step in way:
        node = node[int(step) if step.isdigit() else step]
    node[last] = value
    if value is GONE:
        del node[last]
    return whole


@pytest.mark.parametrize("kind", RIGHT)
def test_a_right_resource_is_taken(kind: str) -> None:
    """
    What others differ from in one thing.
    """
    assert "" == problem(resource(kind))


@pytest.mark.parametrize(("kind", "path", "value"), WRONG)
def test_a_wrong_resource_is_refused(kind: str, path: str, value: object) -> None:
    """
    Each keyword of the schemas refuses what it is about.
    """
    assert "" != problem(changed(resource(kind), path, value))
