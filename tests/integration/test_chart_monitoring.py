"""
What the Helm chart tells Prometheus and Grafana.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import helm
from tests.conftest import needs
from tests.declared import FROM_PROMETHEUS, samples
from tests.fixed_site import FixedSite
from tests.helm import CHART, NAMESPACE, RELEASE, Object, one, refusal, render, several
from tests.processes import PROJECT
from tests.prometheus import Prometheus
from tests.relabeling import Labels, relabeled, scraped
from tests.servers import eventually

MIB = 1 << 20
RULES = PROJECT / "deploy/prometheus"
DASHBOARDS = PROJECT / "grafana"

MONITORS = {"monitoring": "ServiceMonitor", "pod-monitor": "PodMonitor"}
"""The kind of monitor of each case that has one."""

SAMPLES = samples()
HERE, THERE = ("codecommit-exporter-0", "10.0.0.1:10112"), ("another-0", "10.0.0.2:10112")
"""Two pods, by name and instance."""

LEDGER = {name for name, sample in SAMPLES.items() if "instance" not in sample.labels}
"""What is the same whichever process shows it."""


def monitor(case: str, values: Object | None = None, **asked: Any) -> Object:
    """
    The monitor of a case.
    """
    return one(render(case, values, **asked), MONITORS[case])


def endpoint(case: str, **asked: Any) -> Object:
    """
    How the monitor of a case scrapes the pod.
    """
    spec = monitor(case, **asked)["spec"]
    (found,) = spec.get("endpoints") or spec["podMetricsEndpoints"]
    return dict(found)


@pytest.mark.parametrize("case", MONITORS)
def test_a_monitor_finds_what_it_scrapes(case: str) -> None:
    """
    A Service or a pod by its labels, in the namespace of the release, and by the name of a port.
    """
    objects = render(case)
    pod = one(objects, "StatefulSet")["spec"]["template"]
    found = {"ServiceMonitor": one(objects, "Service"), "PodMonitor": pod}[MONITORS[case]]
    spec, how = monitor(case)["spec"], endpoint(case)
    (container,) = pod["spec"]["containers"]
    ports = found["spec"].get("ports") or container["ports"]

    assert spec["selector"]["matchLabels"].items() <= found["metadata"]["labels"].items()
    assert [NAMESPACE] == spec["namespaceSelector"]["matchNames"]
    assert ("metrics", "/metrics") == (how["port"], how["path"])
    assert ["metrics"] == [port["name"] for port in ports]


@pytest.mark.parametrize("case", MONITORS)
def test_a_scrape_may_take_as_long_as_its_interval(case: str) -> None:
    """
    Longer, and it is refused.
    """
    longest = {"interval": "30s", "scrapeTimeout": "30s"}
    found = endpoint(case, values={"serviceMonitor": longest, "podMonitor": longest})

    assert longest.items() <= found.items()


def target(case: str, pod: str, instance: str) -> Labels:
    """
    The labels that the operator lets Prometheus give a pod, before the monitor's relabelings.
    """
    of_both = {"namespace": NAMESPACE, "pod": pod, "container": "exporter", "endpoint": "metrics"}
    by_kind = {
        "ServiceMonitor": {"job": RELEASE, "service": RELEASE},
        "PodMonitor": {"job": f"{NAMESPACE}/{RELEASE}"},
    }
    return {"instance": instance, **of_both, **by_kind[MONITORS[case]]}


def own_labels(name: str) -> Labels:
    """
    The labels of a sample as the page has them.
    """
    return {label: f"its-{label}" for label in SAMPLES[name].labels - FROM_PROMETHEUS}


def stored(case: str, name: str, pod: str, instance: str, **asked: Any) -> Labels:
    """
    The labels with which Prometheus keeps a sample of a pod; none for one that is dropped.
    """
    how = endpoint(case, **asked)
    found = relabeled(target(case, pod, instance), how["relabelings"])
    sample = {"__name__": name, **own_labels(name)}
    honor = how.get("honorLabels", False)
    return relabeled(scraped(found, sample, honor=honor), how["metricRelabelings"])


@pytest.mark.parametrize("case", MONITORS)
def test_series_of_the_ledger_go_on_in_another_pod(case: str) -> None:
    """
    They name the release instead of the pod, wherever it runs.
    """
    first = {name: stored(case, name, *HERE) for name in LEDGER}

    assert first == {name: stored(case, name, *THERE) for name in LEDGER}
    assert {f"{NAMESPACE}/{RELEASE}"} == {found["instance"] for found in first.values()}
    assert [] == [name for name, found in first.items() if "pod" in found]


@pytest.mark.parametrize("case", MONITORS)
def test_series_of_a_process_name_its_pod(case: str) -> None:
    """
    The exporter's own metrics begin anew with the process.
    """
    found = [stored(case, name, *HERE) for name in {*SAMPLES} - LEDGER]

    assert {HERE} == {(labels["pod"], labels["instance"]) for labels in found}


@pytest.mark.parametrize("case", MONITORS)
def test_labels_keep_their_names(case: str) -> None:
    """
    Rules and dashboards ask for them; none is taken over by a label of the target.
    """
    for name in SAMPLES:
        found = stored(case, name, *HERE)

        assert own_labels(name).items() <= found.items()
        assert [] == [label for label in found if label.startswith("exported_")]


@pytest.mark.parametrize("case", MONITORS)
@pytest.mark.parametrize(
    ("release", "job"),
    [
        ("codecommit-exporter", "team-a/codecommit-exporter"),
        ("my-codecommit", "team-a/my-codecommit-codecommit-exporter"),
        ("trail", "team-a/trail-codecommit-exporter"),
        ("y", "team-a/y-codecommit-exporter"),
    ],
)
def test_the_job_is_that_of_a_release_and_one_of_the_rules(
    case: str, release: str, job: str
) -> None:
    """
    Rules know an exporter by its job, and one from another, whatever they are called.
    """
    found = stored(case, "up", *HERE, release=release, namespace="team-a")
    asked = {
        job for file in RULES.glob("*.yml") for job in re.findall(r'job=~"(.*?)"', file.read_text())
    }

    assert job == found["job"]
    assert asked
    assert [] == [each for each in asked if not re.fullmatch(each, job)]


def series(team: str, name: str, values: str, **labels: str) -> dict[str, str]:
    """
    A series of a release in a namespace, as the monitor lets Prometheus keep it.
    """
    found = stored("monitoring", name, *HERE, namespace=team) | labels
    del found["__name__"]
    listed = ",".join(f'{label}="{value}"' for label, value in found.items())
    return {"series": f"{name}{{{listed}}}", "values": values}


def test_two_releases_in_one_prometheus_do_not_hide_each_other(
    promtool: str, tmp_path: Path
) -> None:
    """
    One reads log files and catches up; the other does not, and a repository is deleted there.
    """
    newest = "codecommit_exporter_last_log_file_timestamp_seconds"
    caught_up = "codecommit_exporter_events_counted_total"
    deleted = "codecommit_events_total"
    told = [
        f'{{alertname="{alert}", job="team-b/{RELEASE}"}}'
        for alert in ("CodeCommitExporterNoLogFiles", "CodeCommitRepositoryDeleted")
    ]
    case = {
        "interval": "1m",
        "input_series": [
            *(series(team, "up", "1x220") for team in ("team-a", "team-b")),
            *(series(team, "process_start_time_seconds", "0x220") for team in ("team-a", "team-b")),
            series("team-a", newest, "0+60x220"),
            series("team-b", newest, "0x220"),
            series("team-a", caught_up, "0x100 0+5x120", source="reconcile"),
            series("team-b", caught_up, "0x220", source="reconcile"),
            series("team-b", deleted, "0x120 1x100", action="DeleteRepository"),
        ],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname, job) (ALERTS{alertstate="firing"})',
                "eval_time": "140m",
                "exp_samples": [{"labels": labels, "value": 1} for labels in told],
            }
        ],
    }
    tests = tmp_path / "tests.yml"
    rules = [str(RULES / f"{name}.yml") for name in ("recording", "exporter", "activity")]
    tests.write_text(
        json.dumps({"rule_files": rules, "evaluation_interval": "1m", "tests": [case]})
    )
    tested = subprocess.run(
        [promtool, "test", "rules", tests], capture_output=True, text=True, check=False
    )

    assert 0 == tested.returncode, tested.stdout + tested.stderr


def test_relabelings_of_ones_own_come_after_the_charts() -> None:
    """
    Of targets and of samples.
    """
    found = stored("monitoring", "up", *HERE)
    steps = endpoint("monitoring")["metricRelabelings"]

    assert "production" == found["cluster"]
    assert {} == relabeled({"__name__": "python_info"}, steps)


def test_prometheus_relabels_as_told(tmp_path: Path) -> None:
    """
    A real one keeps every sample of two pods with the labels that the other tests look at.
    """
    how = endpoint("monitoring")
    names = sorted({*SAMPLES} - {"up"})
    with FixedSite({"/metrics": [(200, page(names))]}) as site:
        pods = {f"{host}:{site.port}": f"{host}-0" for host in ("127.0.0.1", "localhost")}
        options = {
            "metrics_path": how["path"],
            "honor_labels": how.get("honorLabels", False),
            "relabel_configs": [*map(as_prometheus_has_it, how["relabelings"])],
            "metric_relabel_configs": [*map(as_prometheus_has_it, how["metricRelabelings"])],
            "static_configs": [
                {"targets": [instance], "labels": target("monitoring", pod, instance)}
                for instance, pod in pods.items()
            ],
        }
        binary = needs(os.environ.get("PROMETHEUS", "prometheus"))
        folder = tmp_path / "prometheus"
        with Prometheus(binary, folder, [], interval=0.5, scrape_options=options) as prometheus:
            prometheus.until_ready()
            eventually(lambda: 2 == len(prometheus.query("up == 1")), "both pods are scraped")
            kept = prometheus.query('{__name__=~".+", __name__!~"up|scrape_.*"}')

    expected = [
        stored("monitoring", name, pod, instance)
        for name in names
        for instance, pod in pods.items()
    ]
    assert {frozenset(labels.items()) for labels in expected} == {
        frozenset(result.labels.items()) for result in kept
    }


def page(names: list[str]) -> str:
    """
    A page with a sample of each name.
    """

    def line(name: str) -> str:
        labels = ",".join(f'{label}="{value}"' for label, value in own_labels(name).items())
        return f"{name}{{{labels}}} 1\n"

    return "".join(map(line, names))


def as_prometheus_has_it(step: Mapping[str, object]) -> dict[str, object]:
    """
    A step of relabeling with the names of Prometheus's own configuration.
    """
    return {re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", name): v for name, v in step.items()}


@pytest.mark.parametrize("kind", ["serviceMonitor", "podMonitor"])
@pytest.mark.parametrize(
    ("interval", "hold"),
    [("1m", "2m"), ("60s", "120s"), ("2m", "0s"), ("1m30s", "3m"), ("", "2m"), ("45s", "1h")],
)
def test_a_scrape_that_is_often_enough_is_taken(kind: str, interval: str, hold: str) -> None:
    """
    Twice within the hold; without a hold there is nothing to miss.
    """
    objects = render(values=scraping(kind, interval, hold))
    monitor = next(o for o in objects if o["kind"].lower() == kind.lower())
    spec = monitor["spec"]
    (found,) = spec.get("endpoints") or spec["podMetricsEndpoints"]

    assert interval == found.get("interval", "")
    assert "scrapeTimeout" not in found


@pytest.mark.parametrize("kind", ["serviceMonitor", "podMonitor"])
@pytest.mark.parametrize(
    ("interval", "hold"), [("61s", "2m"), ("90000ms", "2m"), ("1h", "119m59s"), ("30s", "59s")]
)
def test_a_scrape_that_is_too_seldom_is_refused(kind: str, interval: str, hold: str) -> None:
    """
    Prometheus would miss the first events of new series.
    """
    assert f"{kind}.interval" in refusal(scraping(kind, interval, hold))


def scraping(kind: str, interval: str, hold: str) -> dict[str, object]:
    """
    Values of a monitor and a hold.
    """
    return {
        kind: {"enabled": True, "interval": interval},
        "config": {"metrics": {"new-series-hold": hold}},
    }


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("serviceMonitor", "ServiceMonitor"),
        ("podMonitor", "PodMonitor"),
        ("prometheusRule", "PrometheusRule"),
        ("dashboards", "ConfigMap"),
    ],
)
def test_what_others_look_for_goes_where_they_look(kind: str, made: str) -> None:
    """
    Into a namespace, with labels and annotations; the pod stays in its own.
    """
    given = {
        "namespace": "elsewhere",
        "labels": {"release": "kube-prometheus-stack"},
        "annotations": {"example.com/for": kind},
    }
    objects = render(values={kind: {"enabled": True, **given}})
    found = several(objects, made)
    monitors = [o["spec"] for o in found if "namespaceSelector" in o.get("spec", {})]

    assert found
    for each in (o["metadata"] for o in found):
        assert "elsewhere" == each["namespace"]
        assert given["labels"].items() <= each["labels"].items()  # type: ignore[attr-defined]
        assert given["annotations"] == each["annotations"]
    assert NAMESPACE == one(objects, "StatefulSet")["metadata"]["namespace"]
    assert [] == [o for o in monitors if [NAMESPACE] != o["namespaceSelector"]["matchNames"]]


def test_rules_are_those_of_the_project(promtool: str, tmp_path: Path) -> None:
    """
    Group by group, and promtool finds them right.
    """
    rendered = several(render("monitoring"), "PrometheusRule")
    groups = [group for found in rendered for group in found["spec"]["groups"]]
    files = [RULES / f"{name}.yml" for name in ("recording", "exporter", "activity")]
    rules = tmp_path / "rules.yml"
    rules.write_text(json.dumps({"groups": groups}))
    checked = subprocess.run(
        [promtool, "check", "rules", str(rules)], capture_output=True, text=True, check=False
    )

    assert {*RULES.glob("*.yml")} == {*files}
    assert [
        group for file in files for group in yaml.safe_load(file.read_text())["groups"]
    ] == groups
    assert 0 == checked.returncode, checked.stderr


@pytest.mark.parametrize(
    ("hold", "wait"),
    [("0s", "10m"), ("2m", "10m"), ("121s", "603s"), ("4m", "960s"), ("6m", "1320s")],
)
def test_alerts_on_repositories_outlast_a_long_hold(hold: str, wait: str) -> None:
    """
    All other rules are as they are.
    """
    values = {"config": {"metrics": {"new-series-hold": hold}}}
    expected = rules_of(render("monitoring"))
    expected["codecommit-activity"] = [
        rule | {"for": wait} if rule.get("for") == "10m" else rule
        for rule in expected["codecommit-activity"]
    ]

    assert expected == rules_of(render("monitoring", values))


def test_a_hold_that_is_too_long_for_alerts_on_repositories_is_refused() -> None:
    """
    They would wait for longer than they look back; without them any hold may be.
    """
    values = {"config": {"metrics": {"new-series-hold": "361s"}}}

    assert "new-series-hold is 361s" in refusal(values | {"prometheusRule": {"enabled": True}})
    assert render(values=values | {"prometheusRule": {"enabled": True, "activity": False}})


def rules_of(objects: tuple[Object, ...]) -> dict[str, list[Object]]:
    """
    The rules of each group.
    """
    return {
        group["name"]: group["rules"]
        for found in several(objects, "PrometheusRule")
        for group in found["spec"]["groups"]
    }


def test_alerts_on_repositories_can_be_left_out() -> None:
    """
    Some want to hear of the exporter only.
    """
    names = [o["metadata"]["name"] for o in several(render("pod-monitor"), "PrometheusRule")]

    assert [f"{RELEASE}-recording", f"{RELEASE}-exporter"] == sorted(names, reverse=True)


def test_dashboards_are_those_of_the_project() -> None:
    """
    To the byte, each in an object that Kubernetes can hold and Grafana's sidecar looks for.
    """
    found = several(render("monitoring"), "ConfigMap")
    texts = {name: text for each in found for name, text in each["data"].items()}

    assert {f"codecommit-{p.name}": p.read_text() for p in DASHBOARDS.glob("*.json")} == texts
    assert len(texts) == len(found)
    assert max(len(text.encode()) for text in texts.values()) < MIB
    assert {"1"} == {each["metadata"]["labels"]["grafana_dashboard"] for each in found}
    assert {"CodeCommit"} == {each["metadata"]["annotations"]["grafana_folder"] for each in found}


def test_a_release_fits_into_its_secret() -> None:
    """
    Helm keeps the chart and all objects in one, packed, of one MiB at most.
    """
    files = [path for path in CHART.rglob("*") if path.is_file() and path.parent.name != "ci"]
    chart = [base64.b64encode(path.read_bytes()).decode() for path in files]
    manifest = helm.templated(helm.Asked("monitoring")).stdout
    packed = gzip.compress(json.dumps({"chart": chart, "manifest": manifest}).encode())

    assert len(base64.b64encode(packed)) < MIB
