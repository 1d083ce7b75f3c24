"""
What the Helm chart says: after installing, in the log of ``helm test``, and on wrong values.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import helm
from tests.fixed_site import Answers, FixedSite
from tests.helm import CHART, NAMESPACE, RELEASE, Object, one, refusal, render

# The pod of helm test.

HURRIED = """
import time
time.slept = 0
def sleep(seconds):
    time.slept += seconds
time.sleep, time.monotonic = sleep, lambda: time.slept
"""
"""Lets a program sleep without waiting."""


def outcome(answers: Answers, case: str = "minimal") -> subprocess.CompletedProcess[str]:
    """
    Run what the pod of ``helm test`` runs, against a site in the place of the Service.
    """
    objects = render(case)
    found = one(objects, "Service")
    (port,) = found["spec"]["ports"]
    service = f"http://{found['metadata']['name']}:{port['port']}"
    (container,) = one(objects, "Pod")["spec"]["containers"]
    python, flag, script = container["command"]
    assert ("python", "-c", 1) == (python, flag, script.count(f"{service}{{path}}"))
    with FixedSite(answers) as site:
        there = script.replace(service, f"http://127.0.0.1:{site.port}")
        return subprocess.run(
            [sys.executable, "-I", "-c", HURRIED + there],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.mark.parametrize("case", ["minimal", "claim"])
def test_the_test_passes_once_the_exporter_is_ready(case: str) -> None:
    """
    It asks the Service at its port, waits, and prints what it has found.
    """
    ready = [(503, "starting\n"), (503, "starting\n"), (200, "ready\n")]
    answer = outcome({"/-/ready": ready, "/metrics": [(200, "a 1\nb 2\n")]}, case)

    assert "" == answer.stderr
    assert ["/-/ready: 200 ready", "/metrics: 200, 2 lines"] == [
        *filter(None, answer.stdout.splitlines())
    ]
    assert 0 == answer.returncode


def test_the_test_tells_why_the_exporter_is_not_ready() -> None:
    """
    What stands in the way is on the page, and so in the test's log.
    """
    answer = outcome({"/-/ready": [(503, "queue: no permission for sqs:ReceiveMessage\n")]})

    assert "/-/ready: 503 queue: no permission for sqs:ReceiveMessage" in answer.stdout
    assert "" == answer.stderr
    assert 1 == answer.returncode


def test_the_test_fails_where_the_page_does() -> None:
    """
    Being ready is not enough.
    """
    answer = outcome({"/-/ready": [(200, "ready\n")], "/metrics": [(503, "not yet\n")]})

    assert 1 == answer.returncode


def test_the_test_is_one_and_a_new_one_replaces_it() -> None:
    """
    Its log stays until the next one.
    """
    pod = one(render(), "Pod")

    assert {
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation",
    } == pod["metadata"]["annotations"]
    assert "Never" == pod["spec"]["restartPolicy"]


# What is said after installing.


@pytest.fixture(scope="module")
def noted_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The chart with its notes in an object, since Helm renders notes for a cluster only.
    """
    chart = Path(shutil.copytree(CHART, tmp_path_factory.mktemp("noted") / "chart"))
    notes = (chart / "templates/NOTES.txt").read_text()
    (chart / "templates/notes.yaml").write_text(
        f'{{{{- define "notes" }}}}{notes}{{{{ end -}}}}\n'
        'kind: Notes\nmetadata: {name: notes}\ntext: {{ include "notes" . | toJson }}\n'
    )
    return chart


PAUSED = "is paused"
READY = "Is it ready"
UNSCRAPED = "Nothing scrapes it yet"
UNLABELED = "The monitor has no labels of its own"
ROLE = "associated with its service account"
LOST = "a lost volume is a lost ledger"
MEMORY = "the ledger is in memory"
ANEW = "counters begin anew"
"""Parts of what is said, each of which some cases need."""

MONITORED = {"serviceMonitor": {"enabled": True}}
LABELED = {"podMonitor": {"labels": {"release": "kube-prometheus-stack"}}}
PODS_ROLE = {"aws": {"instanceMetadata": True}}
NO_VOLUME = {"persistence": {"enabled": False}}


@pytest.mark.parametrize(
    ("case", "values", "said"),
    [
        ("minimal", {}, {READY, UNSCRAPED, ROLE, LOST}),
        ("minimal", PODS_ROLE, {READY, UNSCRAPED, LOST}),
        ("hardened", {}, {READY, UNSCRAPED, LOST}),
        ("claim", {}, {READY, UNSCRAPED, LOST}),
        ("trial", {}, {READY, UNSCRAPED, MEMORY}),
        ("monitoring", {}, {READY, ROLE, LOST}),
        ("pod-monitor", {}, {READY, UNLABELED, ROLE, LOST}),
        ("pod-monitor", LABELED, {READY, ROLE, LOST}),
        ("minimal", MONITORED, {READY, UNLABELED, ROLE, LOST}),
        ("claim", MONITORED, {READY, LOST}),
        ("options", {}, {READY, UNSCRAPED, ROLE}),
        ("minimal", NO_VOLUME, {READY, UNSCRAPED, ROLE, ANEW}),
        ("options", NO_VOLUME, {READY, UNSCRAPED, ROLE}),
        ("minimal", {"replicaCount": 0}, {PAUSED, UNSCRAPED, LOST}),
    ],
)
def test_notes_say_what_is_left_to_do(
    noted_chart: Path, case: str, values: Object, said: set[str]
) -> None:
    """
    And nothing of what is done.
    """
    text = " ".join(notes(noted_chart, case, values).split())
    parts = (PAUSED, READY, UNSCRAPED, UNLABELED, ROLE, LOST, MEMORY, ANEW)

    assert said == {part for part in parts if part in text}
    assert "<" not in text, "a value that is not there"


def test_notes_name_the_monitor_that_has_no_labels(noted_chart: Path) -> None:
    """
    By the value to write them in.
    """
    assert "serviceMonitor.labels" in notes(noted_chart, "minimal", MONITORED)
    assert "podMonitor.labels" in notes(noted_chart, "pod-monitor", {})


def test_commands_of_the_notes_name_the_objects(noted_chart: Path) -> None:
    """
    They can be pasted.
    """
    text = notes(noted_chart, "minimal", {"fullnameOverride": "trail-counter"})
    queues = notes(noted_chart, "options", {})

    for command in (
        f"kubectl --namespace {NAMESPACE} get pod trail-counter-0",
        f"kubectl --namespace {NAMESPACE} logs trail-counter-0",
        f"kubectl --namespace {NAMESPACE} describe pod trail-counter-0",
        f"kubectl --namespace {NAMESPACE} delete pod trail-counter-0",
        f"--namespace {NAMESPACE} --service-account trail-counter --role-arn",
        f"helm test {RELEASE} --namespace {NAMESPACE} --logs",
        f"helm upgrade {RELEASE} CHART --namespace {NAMESPACE} --reset-then-reuse-values --set",
    ):
        assert command in text
    assert "https://sqs.eu-central-1.amazonaws.com/111122223333/codecommit-log-files" in queues
    assert "https://sqs.us-east-1.amazonaws.com/444455556666/codecommit-log-files" in queues


def test_settings_of_the_notes_are_values(noted_chart: Path) -> None:
    """
    Nobody who pastes one is refused.
    """
    text = re.sub(r"\b[A-Z]{2,}\b", "some-name", notes(noted_chart, "minimal", {}))
    settings = re.findall(r"--set (\S+)", text)
    flags = tuple(word for setting in settings for word in ("--set", setting))
    followed = one(render(flags=flags, chart=noted_chart), "Notes")["text"]

    assert 2 == len(settings)
    assert [] == [part for part in (UNSCRAPED, LOST) if part in followed]


def test_words_lead_to_sections_that_are_there(noted_chart: Path) -> None:
    """
    Of the chart's own README, after installing and where a value is refused.
    """
    said = notes(noted_chart, "minimal", {}) + (CHART / "templates/validate.yaml").read_text()
    sections = re.findall(r'see \\?"(.*?)\\?"', said)
    readme = (CHART / "README.md").read_text()

    assert 2 == len({*sections})
    assert [] == [name for name in sections if not re.search(rf"^#+ {name}$", readme, re.MULTILINE)]


def test_one_queue_needs_no_list(noted_chart: Path) -> None:
    """
    As with ``--set``, which makes a list only of what stands in braces.
    """
    url = "https://sqs.eu-central-1.amazonaws.com/111122223333/codecommit-log-files"
    values = {"config": {"sqs": {"queue-url": url}, "s3": {"allowed-bucket": "my-trail-bucket"}}}
    args = helm.container(render(values=values))["args"]

    assert {f"--sqs.queue-url={url}", "--s3.allowed-bucket=my-trail-bucket"} <= {*args}
    assert url in notes(noted_chart, "minimal", values)


def notes(chart: Path, case: str, values: Object) -> str:
    """
    What Helm says after installing.
    """
    return str(one(render(case, values, chart=chart), "Notes")["text"])


# What is refused.

NO_IMAGE: Object = {"image": {"repository": ""}}
NO_QUEUE: Object = {"config": {"sqs": {"queue-url": []}}}
NO_BUCKET: Object = {"config": {"s3": {"allowed-bucket": []}}}
LEDGER_LOST: Object = {
    "replicaCount": 0,
    "persistence": {"retentionPolicy": {"whenScaled": "Delete"}},
}
TWO_MONITORS: Object = {kind: {"enabled": True} for kind in ("serviceMonitor", "podMonitor")}


def variable(name: str) -> Object:
    """
    A variable with its value written out.
    """
    return {"extraEnv": [{"name": name, "value": "AKIAIOSFODNN7EXAMPLE"}]}


def from_secret(name: str) -> Object:
    """
    A variable with its value in a Secret.
    """
    source = {"secretKeyRef": {"name": "aws", "key": "key"}}
    return {"extraEnv": [{"name": name, "valueFrom": source}]}


ACCESS_KEYS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
)
CHARTS_ARGUMENTS = (
    ["--state.directory=/elsewhere"],
    ["--web.listen-address=:9090"],
    ["--shutdown.grace=1h"],
    ["--metrics.new-series-hold=1s"],
    ["--log.level=debug", "--state.directory", "/elsewhere"],
)

REFUSED: tuple[tuple[str, Object], ...] = (
    ("replicaCount", {"replicaCount": 2}),
    ("replicaCount", {"replicaCount": -1}),
    ("autoscaling", {"autoscaling": {"enabled": True}}),
    ("image.repository", NO_IMAGE),
    ("whenScaled", LEDGER_LOST),
    ("queue-url", NO_QUEUE),
    ("allowed-bucket", NO_BUCKET),
    ("terminationGracePeriodSeconds", {"terminationGracePeriodSeconds": 39}),
    ("terminationGracePeriodSeconds", {"terminationGracePeriodSeconds": 0}),
    ("podMonitor", TWO_MONITORS),
    ("scrapeTimeout", {"serviceMonitor": {"enabled": True, "scrapeTimeout": "31s"}}),
    ("fullnameOverride", {"fullnameOverride": "Trail_Counter"}),
    ("accessMode", {"persistence": {"accessMode": "ReadWriteMany"}}),
    ("accessMode", {"persistence": {"accessMode": None}}),
    ("aws.region", variable("AWS_REGION")),
    ("aws.instanceMetadata", variable("AWS_EC2_METADATA_DISABLED")),
    ("replicas", {"replicas": 1}),
    ("enable", {"serviceMonitor": {"enable": True}}),
    ("queue-urls", {"config": {"sqs": {"queue-urls": ["x"]}}}),
    ("storage", {"config": {"storage": {"url": "memory:"}}}),
    ("state", {"config": {"state": {"directory": "/elsewhere"}}}),
    ("web", {"config": {"web": {"listen-address": ":9090"}}}),
    ("grace", {"config": {"shutdown": {"grace": "soon"}}}),
    ("level", {"config": {"log": {"level": "loud"}}}),
)


@pytest.mark.parametrize(("name", "values"), REFUSED)
def test_a_wrong_value_is_refused_by_its_name(name: str, values: Object) -> None:
    """
    Before anything reaches the cluster.
    """
    assert name in refusal(values)


@pytest.mark.parametrize("made", [variable, from_secret])
@pytest.mark.parametrize("name", ACCESS_KEYS)
def test_an_access_key_is_refused(name: str, made: Callable[[str], Object]) -> None:
    """
    Wherever it comes from, and with what to do instead.
    """
    words = refusal(made(name))

    assert f"extraEnv: {name}" in words
    assert "give the service account a role" in words


@pytest.mark.parametrize("arguments", CHARTS_ARGUMENTS, ids=" ".join)
def test_an_argument_that_the_chart_relies_on_is_refused(arguments: list[str]) -> None:
    """
    The last of two flags would win.
    """
    (given,) = (each for each in arguments if re.match("--(?!log)", each))

    assert f"extraArgs: {given}: the chart relies on it" in refusal({"extraArgs": arguments})


def test_an_upgrade_is_told_to_repeat_its_values() -> None:
    """
    Where one forgets them, a required value seems to be missing.
    """
    upgrade = refusal(NO_QUEUE, flags=("--is-upgrade",))

    assert "--reset-then-reuse-values" in upgrade
    assert "--reset-then-reuse-values" not in refusal(NO_QUEUE)


@pytest.mark.parametrize("release", ["1st", "a.b"])
def test_a_release_whose_service_could_not_have_its_name_is_refused(release: str) -> None:
    """
    Kubernetes would refuse the Service once other objects are there.
    """
    assert "fullnameOverride" in refusal({}, release=release)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("a ledger in SQLite belongs to one process", {"replicaCount": 2}),
        ("a ledger in SQLite belongs to one process", {"autoscaling": {"enabled": True}}),
        ("image.repository is missing: build the image, push it", NO_IMAGE),
        *(
            (f"image.repository is {name}: an image's name has", {"image": {"repository": name}})
            for name in ("REGISTRY/exporter", "exporter:1.2", "https://example.com/exporter")
        ),
        ("the ledger would be deleted with its claim", LEDGER_LOST),
        ("config.sqs.queue-url is missing: add --set", NO_QUEUE),
        ("config.s3.allowed-bucket is missing: add --set", NO_BUCKET),
        ("enable one", TWO_MONITORS),
        ("at least 40", {"terminationGracePeriodSeconds": 39}),
        (
            "at least 106",
            {
                "terminationGracePeriodSeconds": 105,
                "config": {"shutdown": {"grace": "1m30s500ms"}},
            },
        ),
        (
            "write config.metrics.new-series-hold=180s",
            {"serviceMonitor": {"enabled": True, "interval": "90s"}},
        ),
    ],
)
def test_a_refusal_says_what_to_do(words: str, values: Object) -> None:
    """
    Where no schema is asked, as some tools do without, templates refuse the worst.
    """
    assert words in refusal(values, flags=("--skip-schema-validation",))
