"""
The dashboards ask for metrics that exist, in the way that Grafana's linter wants it.

The conventions are those of grafana/dashboard-linter, with three exceptions:

- Only the exporter's dashboard chooses an instance: CodeCommit's counters belong to the ledger
  and go on when another process opens it.
- All is ``.*`` for CodeCommit's labels, where the linter wants ``.+``: an empty label counts.
- Queries that are asked once count over the whole time range (``$__range``), as no rate does.
- What the ledger holds is asked for by job alone: it may have another instance.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.families import FAMILIES
from exporter.telemetry import METRICS
from grafana.source.expressions import dashboards, expressions, panels
from grafana.source.write import FOLDER, stale
from tests.declared import samples

DASHBOARDS = dashboards()
NAMES = sorted(DASHBOARDS)
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

SINCE = {"overview": "now-6h"}
REFRESHED = {"exporter": "1m"}
"""What differs from a day, and from every five minutes."""

MAY_BE_EMPTY = {"repository", "protocol", "data_transferred", "error_code"}
GROWTH = {"rate", "increase", "last_over_time", "min_over_time"}
"""What a counter may stand under; the last one subtracted from the one before is its growth."""

ASKED_ONCE = {"stat", "table", "bargauge"}
UNITS = {
    *("short", "percentunit", "s", "d", "bytes", "binBps", "cps", "cpm", "reqps"),
    *("bool_yes_no", "dateTimeFromNow"),
}
"""Those in use, which are among the linter's."""

SELECTOR = re.compile(r"([a-z]\w*)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"')
GROUPING = re.compile(r"\b(?:by|on) \(([\w, ]*)\)")
STAND_IN = re.compile(r"or on\(\) (?:label_replace\()*vector\((?:0|NaN)\)")
COUNTED = re.compile(r"(\w*)\(?\b([a-z]\w*)\{[^}]*\}(?:\[(\$\w+)\])?")


SAMPLES = samples()


def targets(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """
    Every query of a dashboard, with its panel.
    """
    for panel in panels(DASHBOARDS[name]):
        for target in panel["targets"]:
            yield panel, target


def queries(name: str) -> list[str]:
    """
    Every expression of a dashboard, those of its variables included.
    """
    variables = DASHBOARDS[name]["templating"]["list"]
    inner = [each["query"] for each in variables if each["type"] == "query"]
    asked = [re.fullmatch(r"label_values\((.*), (\w+)\)", query) for query in inner]
    return [
        *(target["expr"] for _, target in targets(name)),
        *(f"max by ({found[2]}) ({braced(found[1])})" for found in asked if found),
    ]


def braced(selector: str) -> str:
    """
    A selector that has its braces even where it matches all.
    """
    return selector if "{" in selector else f"{selector}{{}}"


def variables(name: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in DASHBOARDS[name]["templating"]["list"]}


def test_the_dashboards_are_what_their_source_makes() -> None:
    """
    ``make docs`` has been run since the source changed.
    """
    assert {} == stale()
    assert ["audit", "exporter", "overview", "repository"] == NAMES


def test_a_stale_dashboard_is_noticed(tmp_path: Path) -> None:
    """
    One changed character and one missing file are both seen.
    """
    for path in FOLDER.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "audit.json").write_text(f"{(FOLDER / 'audit.json').read_text()} ")
    (tmp_path / "overview.json").unlink()

    assert ["audit.json", "overview.json"] == sorted(stale(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_and_label_exists(name: str) -> None:
    """
    What is asked for is declared, with the suffix of its type and the labels it is asked by.
    """
    for query in queries(name):
        metrics = dict(SELECTOR.findall(query))
        unknown = sorted(metrics.keys() - SAMPLES.keys())
        grouped = {label for labels in GROUPING.findall(query) for label in labels.split(", ")}

        assert ([], query) == (unknown, query)
        assert metrics, query
        for metric, matchers in metrics.items():
            used = {*MATCHER.findall(matchers)} | grouped - {""}
            assert set() == used - SAMPLES[metric].labels, (metric, query)


def test_every_family_is_on_a_dashboard() -> None:
    """
    Nothing is counted that nobody sees.
    """
    asked = " ".join(query for name in NAMES for query in queries(name))

    assert [] == [each.name for each in (*FAMILIES, *METRICS) if each.name not in asked]


@pytest.mark.parametrize("name", NAMES)
def test_what_grows_is_asked_for_its_growth(name: str) -> None:
    """
    Counters and histograms stand under rate or increase, gauges never do.

    Queries that are asked once look at the whole time range, the others at the interval
    that Grafana chooses to miss no scrape.
    """
    for panel, target in targets(name):
        window = "$__range" if target["instant"] else "$__rate_interval"
        for function, metric, found in COUNTED.findall(target["expr"]):
            grown = function in GROWTH

            assert SAMPLES[metric].grows == grown, (panel["title"], target["expr"])
            assert (window if grown else "") == found, (panel["title"], target["expr"])
            assert not (function == "rate" and target["instant"]), panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_every_query_keeps_to_what_is_selected(name: str) -> None:
    """
    Each selector has a matcher for each variable whose label it has, jobs first of all.

    Only an action chosen narrows no more than the queries that show actions.
    """
    labels = {"job": "job", "instance": "instance", "account": "account_id"}
    labels |= {"region": "aws_region", "repository": "repository"}
    chosen = variables(name).keys() & labels.keys()

    for panel, target in targets(name):
        for metric, matchers in SELECTOR.findall(target["expr"]):
            wanted = [
                f'{labels[each]}=~"${each}"'
                for each in chosen
                if labels[each] in SAMPLES[metric].labels
            ]
            assert [] == [each for each in wanted if each not in matchers], panel["title"]


def test_every_expression_parses(promtool: str, tmp_path: Path) -> None:
    """
    Prometheus's own checker reads each of them, as a rule.
    """
    rules = [
        {"record": f"{each.dashboard}:{number}", "expr": each.expr}
        for number, each in enumerate(expressions())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    checked = subprocess.run(
        [promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False
    )

    assert (0, "") == (checked.returncode, checked.stderr)
    assert f"{len(rules)} rules found" in checked.stdout


EVENTS, ERRORS = (
    f'codecommit_{name}{{job="codecommit", account_id="1", action="DeleteBranch"}}'
    for name in ("events_total", "event_errors_total")
)
MESSAGES = 'codecommit_exporter_queue_messages{job="codecommit", instance="a:1", queue="%s"%s}'


@pytest.mark.parametrize(
    ("panel", "series", "value"),
    [
        ("Branches deleted by call", {EVENTS: "_x50 0x2 60x20", ERRORS: "0x52 60x20"}, 0),
        ("Branches deleted by call", {EVENTS: "0x52 61x20", ERRORS: "_x50 0x2 60x20"}, 1),
        ("Branches deleted by call", {EVENTS: "0x52 2x20"}, 2),
        (
            "Exporters that are up",
            {
                'up{job="codecommit", instance="a:1"}': "1x100",
                'codecommit_exporter_build_info{job="codecommit", instance="a:1"}': "1x100",
                'up{job="codecommit", instance="b:1"}': "1x10 0x100",
                'codecommit_exporter_build_info{job="codecommit", instance="b:1"}': "1x10 stale",
                'up{job="other", instance="c:1"}': "1x100",
            },
            1,
        ),
        (
            "Dead letters",
            {MESSAGES % (name, ', state="dead_letter"'): "5x100" for name in ("one", "two")},
            5,
        ),
    ],
)
def test_a_number_is_exact(
    promtool: str, tmp_path: Path, panel: str, series: dict[str, str], value: float
) -> None:
    """
    Half a minute after the newest of scrapes a minute apart, and an hour back from there.

    Whether series are equally old, which targets others have, and which queues share a
    dead-letter queue make no difference.
    """
    [query] = [each for each in expressions(__range="1h") if each.panel == panel]
    expected = {"labels": "{}", "value": value}
    asked = {"expr": query.expr, "eval_time": "60m30s", "exp_samples": [expected]}
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": shown} for name, shown in series.items()],
        "promql_expr_test": [asked],
    }
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump({"tests": [case]}))
    tested = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False
    )

    assert (0, "") == (tested.returncode, tested.stderr), tested.stdout


def test_expressions_have_their_variables_filled_in() -> None:
    """
    All is what stands for what is not chosen, and each query is listed once.
    """
    listed = expressions(account="1111.*", __range="5m")

    assert [] == [each for each in listed if "$" in each.expr]
    assert len(listed) == len({each[:3] for each in listed})
    assert 'account_id=~"1111.*", aws_region=~".*"' in listed[0].expr
    assert "[5m]" in listed[0].expr


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_can_be_imported(name: str) -> None:
    """
    It has a fixed uid and no database's id, asks for no input, and is not edited in place.
    """
    made = DASHBOARDS[name]

    assert f"codecommit-{name}" == made["uid"]
    assert set() == {"id", "__inputs", "__requires"} & made.keys()
    assert ["codecommit"] == made["tags"]
    assert made["editable"] is False
    assert "browser" == made["timezone"]
    assert (SINCE.get(name, "now-24h"), "now") == (*made["time"].values(),)
    assert REFRESHED.get(name, "5m") == made["refresh"]
    assert made["title"]
    assert made["description"].endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_leads_to_the_others(name: str) -> None:
    """
    One link lists all that have the tag, and takes variables and time along.
    """
    [link] = DASHBOARDS[name]["links"]

    assert ("dashboards", ["codecommit"]) == (link["type"], link["tags"])
    assert (True, True) == (link["includeVars"], link["keepTime"])


def test_a_name_leads_to_its_repository() -> None:
    """
    The link goes to a dashboard and to variables that exist.
    """
    found = re.findall(r"/d/([\w-]+)\?([^\"]*)", (FOLDER / "overview.json").read_text())

    assert found
    for uid, query in found:
        assert "codecommit-repository" == uid
        assert {*re.findall(r"var-(\w+)=", query)} <= variables("repository").keys()


@pytest.mark.parametrize("name", NAMES)
def test_variables_follow_the_conventions(name: str) -> None:
    """
    The data source comes first; each other variable is a multiple choice with All.
    """
    datasource, *others = DASHBOARDS[name]["templating"]["list"]

    assert ("datasource", "datasource") == (datasource["type"], datasource["name"])
    assert ("prometheus", "Data source") == (datasource["query"], datasource["label"])
    assert "job" == others[0]["name"]
    assert ("instance" in variables(name)) == (name == "exporter")
    for each in others:
        nothing_is_empty = each["name"] in {"job", "instance"}
        assert each["label"] == each["name"].title()
        assert ("query", SOURCE) == (each["type"], each["datasource"])
        assert (True, True) == (each["multi"], each["includeAll"])
        assert (".+" if nothing_is_empty else ".*") == each["allValue"]
        assert ["$__all"] == each["current"]["value"]
        assert 2 == each["refresh"], "a changed time range must list the values again"


@pytest.mark.parametrize("name", NAMES)
def test_panels_follow_the_conventions(name: str) -> None:
    """
    Each has a title of its own, a description in sentences, a unit, and the chosen source.
    """
    everything = DASHBOARDS[name]["panels"]
    shown = panels(DASHBOARDS[name])

    assert len(everything) == len({panel["id"] for panel in everything})
    assert len(everything) == len({panel["title"] for panel in everything})
    assert [] == [
        row["title"] for row in everything if row["type"] == "row" and row["title"][-1] != "?"
    ]
    for panel in shown:
        units = {panel["fieldConfig"]["defaults"]["unit"]} | {
            change["value"]
            for override in panel["fieldConfig"]["overrides"]
            for change in override["properties"]
            if change["id"] == "unit"
        }
        assert panel["description"].endswith("."), panel["title"]
        assert units <= UNITS, panel["title"]
        assert [SOURCE] * (1 + len(panel["targets"])) == [
            panel["datasource"],
            *(target["datasource"] for target in panel["targets"]),
        ]
        assert panel["targets"]
        assert {panel["type"] in ASKED_ONCE} == {each["instant"] for each in panel["targets"]}


@pytest.mark.parametrize("name", NAMES)
def test_panels_lie_side_by_side(name: str) -> None:
    """
    No panel leaves the grid, which is 24 wide, or covers another.
    """
    places = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]

    assert [] == [place for place in places if place["x"] + place["w"] > 24]
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)
    assert all(one["y"] <= other["y"] for one, other in pairwise(places))


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_label_is_shown_as_none(name: str) -> None:
    """
    Legends and cells have "(none)" where CloudTrail told nothing.

    A table's further columns are of the rows that its first one has.
    """
    for panel, target in targets(name):
        labels = {*re.findall(r"{{(\w+)}}", target.get("legendFormat", ""))}
        if panel["type"] == "table":
            labels |= panel["transformations"][1]["options"]["renameByName"].keys()
        for label in labels & MAY_BE_EMPTY:
            written = f'"{label}", "(none)", "{label}", ""' in target["expr"]
            never_empty = f'{label}!=""' in target["expr"]
            assert written or never_empty, (panel["title"], label)


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_for_nothing_is_not_called_none(name: str) -> None:
    """
    "(none)" is a label that CloudTrail left empty, and no stand-in has it.
    """
    for panel, target in targets(name):
        [*_, stand_in] = target["expr"].split(" or on() ")

        assert "(none)" not in stand_in or stand_in == target["expr"], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_a_legend_names_labels_that_the_query_keeps(name: str) -> None:
    """
    A label that the sum has dropped would be an empty word.
    """
    for panel, target in targets(name):
        kept = {
            label for labels in GROUPING.findall(target["expr"]) for label in labels.split(", ")
        }

        assert {*re.findall(r"{{(\w+)}}", target.get("legendFormat", ""))} <= kept, panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_a_count_that_is_missing_is_a_nought(name: str) -> None:
    """
    No panel about CodeCommit stays empty because nothing of the kind has happened yet.

    A table's further columns may be empty; its first one has a row.
    """
    for panel, target in targets(name):
        own = "codecommit_exporter_" in target["expr"] or "process_" in target["expr"]
        further = panel["type"] == "table" and target["refId"] != "A"
        if not own and not further:
            assert STAND_IN.search(target["expr"]), panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_names_a_person(name: str) -> None:
    """
    Neither words nor queries ask for what identifies somebody.
    """
    text = (FOLDER / f"{name}.json").read_text().lower()

    assert [] == [
        word
        for word in ("username", "user_name", "principal", "arn:", "sourceip", "useragent", "@")
        if word in text
    ]
