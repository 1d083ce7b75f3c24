"""
The generated files of the Helm chart.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from docs.chart import (
    CHART,
    OPTIONS,
    SET_BY_CHART,
    main,
    schema,
    value_schema,
    value_table,
    values,
)
from exporter.config import ServeSettings, options
from exporter.sources import read_settings

DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
VALIDATOR = Draft7Validator(json.loads((CHART / "values.schema.json").read_text()))
QUEUE = "https://sqs.eu-central-1.amazonaws.com/111122223333/log-files"

TEXT = """\
# What the file is.

# -- Of an object:
# with --flags.
outer:
  # An aside.
  inner: 1

  # -- Of its own.
  other: []

plain:
  # -- Of a text.
  text: "a|b"
"""


def merged(below: Any, above: Any) -> Any:
    """
    Values over others, as Helm lays them: objects key by key, and null takes a default away.
    """
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    both = below | {key: merged(below.get(key), value) for key, value in above.items()}
    return {key: value for key, value in both.items() if value is not None or key not in below}


def complaints(text: str) -> list[str]:
    """
    What the schema says of values that are written so, over the chart's own.
    """
    given = merged(DEFAULTS, yaml.safe_load(text))
    return [f"{error.json_path} {error.validator}" for error in VALIDATOR.iter_errors(given)]


# Generating ------------------------------------------------------------------------------


def test_fresh() -> None:
    """
    The chart's files are as they would be generated now.
    """
    assert 0 == main(["--check"])


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The check names what differs, is missing or is too much; once written, it is content.
    """
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    (chart / "values.schema.json").write_text("{}")
    (chart / "files/rules/exporter.yml").unlink()
    others = [chart / "files" / name for name in ("dashboards/other.json", "rules/old/a.yml")]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.touch()
    (chart / "README.md").write_text("<!-- values -->\n<!-- end -->\n")
    before = main(["--check"], chart)
    said = capsys.readouterr().err.splitlines()
    left = [other.exists() for other in others]

    written = main([], chart)
    after = main(["--check"], chart)

    assert (1, [True, True]) == (before, left)
    assert [
        f"{name} is stale; make docs writes it"
        for name in (
            "README.md",
            "files/dashboards/other.json",
            "files/rules/exporter.yml",
            "files/rules/old/a.yml",
            "values.schema.json",
        )
    ] == said
    assert (0, 0, "") == (written, after, capsys.readouterr().err)
    assert [] == [other for other in others if other.exists()]


def test_values() -> None:
    """
    A value is described by the comment right above it, or by that of an object around it.
    """
    assert [
        ("outer", {"inner": 1, "other": []}, "Of an object: with --flags."),
        ("outer.inner", 1, ""),
        ("outer.other", [], "Of its own."),
        ("plain", {"text": "a|b"}, ""),
        ("plain.text", "a|b", "Of a text."),
    ] == [(one.name, one.default, one.text) for one in values(TEXT)]


def test_value_table() -> None:
    """
    Described values have a row, with a default unless their parts have one.
    """
    assert (
        "| value | default | what it does |\n"
        "| --- | --- | --- |\n"
        "| `outer` |  | Of an object: with --flags. |\n"
        "| `outer.other` | `[]` | Of its own. |\n"
        r'| `plain.text` | `"a\|b"` | Of a text. |'
    ) == value_table(values(TEXT))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1", "values.yaml:1: a is not described"),
        ("# plain\na: 1", "values.yaml:2: a is not described"),
        ("# -- Far.\n\na: 1", "values.yaml:3: a is not described"),
        ("a:\n  # -- B.\n  b: 1\n  c: {}", "values.yaml:4: a.c is not described"),
        ("# -- Of nothing.\n\n# -- A.\na: 1", "values.yaml:1: no value follows this description"),
        ("# -- A.\na: 1\n# -- End.", "values.yaml:3: no value follows this description"),
    ],
)
def test_a_description_is_missing(text: str, said: str) -> None:
    """
    A value without words, or words without a value, is named by its line.
    """
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        values(text)


@pytest.mark.parametrize("default", ["{}", "null", "1.5"])
def test_a_default_that_tells_nothing(default: str) -> None:
    """
    What may be written for it has to be declared.
    """
    with pytest.raises(ValueError, match="the default of a does not tell what may be written"):
        value_schema("a", yaml.safe_load(default), {})


def test_a_declaration_of_no_value() -> None:
    """
    What may be written for a value that has gone is to go, too.
    """
    with pytest.raises(ValueError, match=r"there is no .*image\.digest"):
        schema(values("# -- A.\na: 1"))


# Options ---------------------------------------------------------------------------------


def test_every_option_is_a_value() -> None:
    """
    Each option of ``serve`` has its place below ``config``, but those that the chart sets.
    """
    sections = VALIDATOR.schema["properties"]["config"]["properties"]
    named = {f"{section}.{key}" for section, its in sections.items() for key in its["properties"]}

    assert {option.name for option in options(ServeSettings)} - SET_BY_CHART == named


@pytest.mark.parametrize(
    ("name", "option"), [("grace", "shutdown.grace"), ("hold", "metrics.new-series-hold")]
)
def test_defaults_of_the_program(name: str, option: str) -> None:
    """
    What the templates take for a default of the program is its default.
    """
    helpers = (CHART / "templates/_helpers.tpl").read_text()
    [defined] = re.findall(
        rf'define "codecommit-exporter\.{name}" -}}}}\n(.*?)\n{{{{- end', helpers, re.DOTALL
    )

    assert [OPTIONS[option].default] == re.findall(r'"(\d+\w)"', defined)


def test_flags_of_the_chart() -> None:
    """
    The flags that the chart always gives are those that nobody else may give.
    """
    helpers = (CHART / "templates/_helpers.tpl").read_text()
    refusals = (CHART / "templates/validate.yaml").read_text()
    [refused] = re.findall(r'regexMatch "(\^--.*?)"', refusals)
    flags = [option.flag for option in options(ServeSettings)]

    assert set(re.findall(r"^- (--[a-z.-]+)=", helpers, re.MULTILINE)) == {
        flag for flag in flags if re.search(refused, flag)
    }


def test_scraping_without_the_operator() -> None:
    """
    The README's scrape configuration gives samples the same instance as the monitors do.
    """
    readme = (CHART / "README.md").read_text()
    [text] = re.findall(r"```yaml\n(scrape_configs:.*?)```", readme, re.DOTALL)
    [fixed] = yaml.safe_load(text)["scrape_configs"][0]["metric_relabel_configs"]
    monitors = (CHART / "templates/_monitors.tpl").read_text()

    assert {
        "source_labels": ["__name__"],
        "regex": re.findall("regex: (.*)\n    targetLabel: instance", monitors)[0],
        "target_label": "instance",
        "replacement": "monitoring/codecommit-exporter",
    } == fixed


# Values ----------------------------------------------------------------------------------


def test_schema() -> None:
    """
    The schema is one.
    """
    Draft7Validator.check_schema(VALIDATOR.schema)


@pytest.mark.parametrize("path", sorted(CHART.glob("ci/*.yaml")), ids=lambda path: path.name)
def test_values_that_come_with_the_chart(path: Path, tmp_path: Path) -> None:
    """
    They pass, and the program takes their options as well.
    """
    text = path.read_text()
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(text)["config"]))

    assert [] == complaints(text)
    assert read_settings(ServeSettings, {"config.file": str(file)}, {}).sqs.queue_url


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "config: {sqs: {queue-url: []}, s3: {allowed-bucket: ''}}",
        f"config: {{sqs: {{queue-url: {QUEUE}}}, s3: {{allowed-bucket: 'one, two=111122223333'}}}}",
        "config: {ledger: null, log: {level: null, format: json}}",
        "config: {metrics: {delivery-labels: [none], max-series: 1, max-repositories: '1'}}",
        "config: {metrics: {max-series: 999999999999}}",
        "config: {s3: {allow-any-bucket: 'true', max-inflated-bytes: 1048576}}",
        "config: {ledger: {url: 'sqlite:///a/b.db', rebuild: mark, backup-url: /mnt/backups}}",
        "config: {metrics: {new-series-hold: '0'}, reconcile: {interval: 0m}}",
        "{global: {any: thing}, enabled: true}",
        "replicaCount: 0",
        "resources: null",
        "resources: {limits: {memory: null}}",
        "commonLabels: {team: platform, tier: null}",
        "extraArgs: [--log.level, debug]",
        "image: {repository: 'registry.example.com:5000/team/codecommit-exporter'}",
        "networkPolicy: {scrapers: [{ipBlock: {cidr: 10.0.0.0/8}}, {podSelector: {}}]}",
        "extraManifests: [{kind: Secret}]",
        "annotations: {example.com/a: b}",
    ],
)
def test_values_that_pass(text: str) -> None:
    """
    Each way of writing a value passes. What is missing is left to the templates.
    """
    assert [] == complaints(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image: {tga: a}", "$.image additionalProperties"),
        ("images: {}", "$ additionalProperties"),
        ("image: {tag: 1.10}", "$.image.tag type"),
        ("image: {digest: latest}", "$.image.digest pattern"),
        ("image: {pullPolicy: always}", "$.image.pullPolicy enum"),
        ("replicaCount: 2", "$.replicaCount maximum"),
        ("replicaCount: -1", "$.replicaCount minimum"),
        ("autoscaling: {enabled: true}", "$.autoscaling.enabled const"),
        ("terminationGracePeriodSeconds: 0", "$.terminationGracePeriodSeconds minimum"),
        ("terminationGracePeriodSeconds: 1m", "$.terminationGracePeriodSeconds type"),
        ("persistence: {enabled: 'yes'}", "$.persistence.enabled type"),
        ("persistence: {accessMode: ReadWriteMany}", "$.persistence.accessMode enum"),
        ("persistence: {size: 5GB}", "$.persistence.size pattern"),
        ("persistence: {size: 5}", "$.persistence.size type"),
        (
            "persistence: {retentionPolicy: {whenDeleted: Keep}}",
            "$.persistence.retentionPolicy.whenDeleted enum",
        ),
        ("service: {type: ExternalName}", "$.service.type enum"),
        ("service: {port: 65536}", "$.service.port maximum"),
        ("serviceMonitor: {interval: 30}", "$.serviceMonitor.interval type"),
        ("podMonitor: {scrapeTimeout: 1.5s}", "$.podMonitor.scrapeTimeout pattern"),
        ("podLabels: {cost-center: 4711}", "$.podLabels['cost-center'] type"),
        (
            "dashboards: {labels: {grafana_dashboard: 1}}",
            "$.dashboards.labels.grafana_dashboard type",
        ),
        ("nodeSelector: {spot: false}", "$.nodeSelector.spot type"),
        ("tolerations: {key: a}", "$.tolerations type"),
        ("extraVolumes: [a]", "$.extraVolumes[0] type"),
        ("networkPolicy: {scrapers: [{}]}", "$.networkPolicy.scrapers[0] minProperties"),
        (
            "networkPolicy: {scrapers: [{a: {}}]}",
            "$.networkPolicy.scrapers[0] additionalProperties",
        ),
        ("openshift: 'yes'", "$.openshift type"),
        ("test: {enable: false}", "$.test additionalProperties"),
        ("annotations: {a: 1}", "$.annotations.a type"),
        ("extraManifests: {kind: Secret}", "$.extraManifests type"),
        ("config: {log: {levle: info}}", "$.config.log additionalProperties"),
        ("config: {state: {directory: /x}}", "$.config additionalProperties"),
        ("config: {log: {level: loud}}", "$.config.log.level enum"),
        ("config: {shutdown: {grace: 20}}", "$.config.shutdown.grace type"),
        ("config: {shutdown: {grace: '20'}}", "$.config.shutdown.grace pattern"),
        ("config: {shutdown: {grace: ''}}", "$.config.shutdown.grace minLength"),
        ("config: {reconcile: {interval: 1h}}", "$.config.reconcile.interval pattern"),
        ("config: {metrics: {max-series: 0}}", "$.config.metrics['max-series'] minimum"),
        ("config: {metrics: {max-series: '0'}}", "$.config.metrics['max-series'] pattern"),
        (
            "config: {metrics: {max-series: 1000000000000}}",
            "$.config.metrics['max-series'] maximum",
        ),
        ("config: {metrics: {max-series: 1.5}}", "$.config.metrics['max-series'] type"),
        ("config: {s3: {max-inflated-bytes: 64MB}}", "$.config.s3['max-inflated-bytes'] pattern"),
        ("config: {s3: {allow-any-bucket: maybe}}", "$.config.s3['allow-any-bucket'] enum"),
        (
            "config: {s3: {expected-bucket-owner: 111122223333}}",
            "$.config.s3['expected-bucket-owner'] type",
        ),
        ("config: {s3: {allowed-bucket: [s3://a]}}", "$.config.s3['allowed-bucket'][0] pattern"),
        ("config: {s3: {allowed-bucket: 'abc,A'}}", "$.config.s3['allowed-bucket'] pattern"),
        ("config: {sqs: {queue-url: ['']}}", "$.config.sqs['queue-url'][0] pattern"),
        (
            "config: {metrics: {delivery-labels: [user]}}",
            "$.config.metrics['delivery-labels'][0] pattern",
        ),
        ("config: {ledger: {url: 'sqlite:////x.db'}}", "$.config.ledger.url pattern"),
        ("config: {ledger: {url: 'sqlite:///../x.db'}}", "$.config.ledger.url pattern"),
        ("config: {ledger: {url: 'sqlite:///:memory:'}}", "$.config.ledger.url pattern"),
        ("config: {ledger: {backup-url: backups}}", "$.config.ledger['backup-url'] pattern"),
    ],
)
def test_values_that_are_refused(text: str, said: str) -> None:
    """
    A name or a form that is wrong is refused where it stands.
    """
    assert [said] == complaints(text)
