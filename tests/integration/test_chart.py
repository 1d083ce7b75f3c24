"""
The Helm chart: what it makes of its values.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from exporter.build import version
from exporter.config import ServeSettings
from exporter.holds import Holds
from exporter.sources import read_settings
from exporter.telemetry import Telemetry
from exporter.values import read_seconds
from exporter.web import Health, Web
from tests import custom_resources, helm
from tests.conftest import Told
from tests.helm import CASES, CHART, NAMESPACE, RELEASE, Object, one, render, several
from tests.pod_security import violations
from tests.processes import CLOSING_SECONDS

NEWEST_KUBERNETES = kubernetes_validate.latest_version()

MUTABLE = {
    *("replicas", "ordinals", "template", "updateStrategy", "minReadySeconds"),
    "persistentVolumeClaimRetentionPolicy",
}
"""What Kubernetes lets anyone change of a StatefulSet."""

LONG = "release-with-a-name-as-long-as-helm-allows-53-letters"
CUT_AT_A_HYPHEN = "a" * 51 + "-b"

MIRROR = {"imagePullSecrets": [{"name": "mirror"}]}

STATIC_KEY = re.compile(r"access.?key|secret.?key|session.?token|security.?token", re.IGNORECASE)


# What Kubernetes and Helm say of it.


@pytest.mark.parametrize("case", CASES)
def test_lint_finds_nothing_wrong(case: str) -> None:
    """
    Warnings count.
    """
    answer = helm.run(
        *("lint", "--strict", str(CHART), "--kube-version", helm.OLDEST_KUBERNETES),
        *("--values", str(CHART / f"ci/{case}-values.yaml")),
    )

    assert 0 == answer.returncode, answer.stdout + answer.stderr


@cache
def problem(text: str, kubernetes: str) -> str:
    """
    What is wrong with an object, as JSON, for a version of Kubernetes; empty if nothing is.
    """
    found = json.loads(text)
    if found["kind"] in custom_resources.SCHEMAS:
        return custom_resources.problem(found)
    try:
        kubernetes_validate.validate(found, kubernetes, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{error.json_path}: {error.message}"
    return ""


def problems(objects: Iterable[Object], kubernetes: str = helm.OLDEST_KUBERNETES) -> list[str]:
    """
    What is wrong with objects, after their names.
    """
    found = {
        f"{o['kind']} {o['metadata']['name']}": problem(json.dumps(o), kubernetes) for o in objects
    }
    return [f"{name}: {text}" for name, text in found.items() if text]


@pytest.mark.parametrize("kubernetes", [helm.OLDEST_KUBERNETES, NEWEST_KUBERNETES])
@pytest.mark.parametrize("case", CASES)
def test_every_object_is_valid(case: str, kubernetes: str) -> None:
    """
    No field is unknown, and none is of another type.
    """
    assert [] == problems(render(case, kubernetes=kubernetes), kubernetes)


@pytest.mark.parametrize("case", ["hardened", "monitoring", "pod-monitor"])
def test_names_may_look_like_something_else(case: str) -> None:
    """
    A namespace that could be a number, and a release that could be a truth, stay text.
    """
    objects = render(case, {"nameOverride": "y"}, release="y", namespace="2024")

    assert [] == problems(objects)
    assert {"y"} == {o["metadata"]["labels"]["app.kubernetes.io/instance"] for o in objects}
    assert {"2024", "observability"} >= {o["metadata"]["namespace"] for o in objects}


def test_least_values_make_the_least_objects() -> None:
    """
    Everything else is asked for.
    """
    kinds = sorted(o["kind"] for o in render())

    assert ["Pod", "Service", "ServiceAccount", "StatefulSet"] == kinds


@pytest.mark.parametrize("case", CASES)
def test_every_object_has_the_common_labels_and_the_namespace(case: str) -> None:
    """
    Each object is in a namespace by its own word, so that ``kubectl apply`` puts it there.
    """
    common = {"team": "platform"}
    objects = render(case, {"commonLabels": common})

    assert [] == [o["metadata"]["name"] for o in objects if "namespace" not in o["metadata"]]
    assert [] == [
        o["kind"] for o in objects if not common.items() <= o["metadata"]["labels"].items()
    ]


def test_every_object_says_what_it_is_part_of() -> None:
    """
    The pod of ``helm test`` has a name of its own, so that no selector finds it.
    """
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    standard = {
        "app.kubernetes.io/name": "codecommit-exporter",
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/version": version(),
        "app.kubernetes.io/managed-by": "Helm",
        "helm.sh/chart": f"codecommit-exporter-{about['version']}",
    }
    labels = {o["kind"]: o["metadata"]["labels"] for o in render("hardened")}

    assert {
        "app.kubernetes.io/name": "codecommit-exporter-test",
        "app.kubernetes.io/instance": RELEASE,
    } == labels.pop("Pod")
    assert dict.fromkeys(labels, standard) == labels
    assert {"StatefulSet", "Service", "ServiceAccount", "NetworkPolicy"} <= {*labels}


def test_objects_of_ones_own_are_made_beside_the_charts() -> None:
    """
    As they are written.
    """
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {}}
    more = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"c": "y"}}
    objects = render(values={"extraManifests": [secret, more]})

    assert [secret, more] == [o for o in objects if o["kind"] in {"Secret", "ConfigMap"}]
    assert len(render()) + 2 == len(objects)


def test_the_test_can_be_left_out() -> None:
    """
    And nothing else with it.
    """
    assert [o for o in render() if o["kind"] != "Pod"] == [
        *render(values={"test": {"enabled": False}})
    ]


# The pod and its volume.


def test_there_is_one_pod_or_none() -> None:
    """
    None is a pause.
    """
    replicas = [
        one(render(values={"replicaCount": n}), "StatefulSet")["spec"]["replicas"] for n in (1, 0)
    ]

    assert [1, 0] == replicas


def test_a_ledger_has_a_claim_that_outlives_the_release() -> None:
    """
    One node may use it; neither uninstalling nor pausing takes it away.
    """
    objects = render()
    spec = one(objects, "StatefulSet")["spec"]
    (claim,) = spec["volumeClaimTemplates"]

    assert ("v1", "PersistentVolumeClaim") == (claim["apiVersion"], claim["kind"])
    assert {
        "name": "state",
        "labels": {
            "app.kubernetes.io/name": "codecommit-exporter",
            "app.kubernetes.io/instance": RELEASE,
        },
    } == claim["metadata"]
    assert {
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Filesystem",
        "resources": {"requests": {"storage": "5Gi"}},
    } == claim["spec"]
    assert {"whenDeleted": "Retain", "whenScaled": "Retain"} == spec[
        "persistentVolumeClaimRetentionPolicy"
    ]
    assert "volumes" not in helm.pod(objects)
    assert_state_is_mounted(objects)


def test_a_claim_is_as_asked() -> None:
    """
    Access mode, class, size, annotations and what becomes of it are values.
    """
    spec = one(render("placement"), "StatefulSet")["spec"]
    (claim,) = spec["volumeClaimTemplates"]

    assert {"example.com/kept-by": "monitoring"} == claim["metadata"]["annotations"]
    assert {
        "accessModes": ["ReadWriteOncePod"],
        "storageClassName": "gp3",
        "volumeMode": "Filesystem",
        "resources": {"requests": {"storage": "20Gi"}},
    } == claim["spec"]
    assert {"whenDeleted": "Delete", "whenScaled": "Retain"} == spec[
        "persistentVolumeClaimRetentionPolicy"
    ]


def test_a_claim_may_go_with_a_pause_while_there_is_none() -> None:
    """
    What is refused is the pause.
    """
    values = {"persistence": {"retentionPolicy": {"whenScaled": "Delete"}}, "replicaCount": 1}
    spec = one(render(values=values), "StatefulSet")["spec"]

    assert {"whenDeleted": "Retain", "whenScaled": "Delete"} == spec[
        "persistentVolumeClaimRetentionPolicy"
    ]


@pytest.mark.parametrize(
    ("case", "volume"),
    [
        ("claim", {"persistentVolumeClaim": {"claimName": "counter-state"}}),
        ("trial", {"emptyDir": {}}),
    ],
)
def test_another_volume_takes_the_place_of_the_claim(case: str, volume: Object) -> None:
    """
    A claim that is there already, or a folder that ends with the pod.
    """
    objects = render(case)
    spec = one(objects, "StatefulSet")["spec"]

    assert [{"name": "state", **volume}] == helm.pod(objects)["volumes"]
    assert "volumeClaimTemplates" not in spec
    assert "persistentVolumeClaimRetentionPolicy" not in spec
    assert_state_is_mounted(objects)


def assert_state_is_mounted(objects: tuple[Object, ...]) -> None:
    """
    The state directory is where the volume is.
    """
    container = helm.container(objects)
    (mount,) = container["volumeMounts"]

    assert {"name": "state", "mountPath": "/var/lib/codecommit-exporter"} == mount
    assert "--state.directory=/var/lib/codecommit-exporter" in container["args"]


@pytest.mark.parametrize(
    "grace",
    ["25s", "0s", "0", "500ms", "1500ms", "60000ms", "1m30s", "1h", "1d", "1h2m3s4ms", "010s"],
)
def test_a_pod_has_time_to_stop(grace: str) -> None:
    """
    It is killed some seconds after the program has given up waiting, at the earliest.
    """
    objects = render(values={"config": {"shutdown": {"grace": grace}}})
    least = math.ceil(read_seconds(grace)) + CLOSING_SECONDS

    assert least == helm.pod(objects)["terminationGracePeriodSeconds"]
    assert f"--shutdown.grace={grace}" in helm.container(objects)["args"]


def test_a_pod_has_more_time_to_stop_where_it_is_given() -> None:
    """
    By default the program's own grace is 25 seconds.
    """
    periods = [
        helm.pod(render(c))["terminationGracePeriodSeconds"] for c in ("minimal", "placement")
    ]

    assert [40, 180] == periods


def test_the_cluster_tells_the_pod_nothing() -> None:
    """
    It has neither variables about Services nor a token for the Kubernetes API.
    """
    objects = render()

    for pod in (helm.pod(objects), one(objects, "Pod")["spec"]):
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
    assert one(objects, "ServiceAccount")["automountServiceAccountToken"] is False


@pytest.mark.parametrize("case", CASES)
def test_pods_are_restricted(case: str) -> None:
    """
    A namespace that enforces the level restricted admits both pods.
    """
    objects = render(case)

    assert [] == violations(helm.pod(objects))
    assert [] == violations(one(objects, "Pod")["spec"])


@pytest.mark.parametrize(
    ("where", "change", "violation"),
    [
        ("pod", {"hostNetwork": True}, "hostNetwork"),
        ("pod", {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}, "volume hostPath"),
        ("pod", {"securityContext": {"runAsNonRoot": True}}, "seccompProfile"),
        ("container", {"runAsNonRoot": False}, "runAsNonRoot"),
        ("container", {"runAsUser": 0}, "runAsUser 0"),
        ("container", {"privileged": True}, "privileged"),
        ("container", {"allowPrivilegeEscalation": None}, "allowPrivilegeEscalation"),
        ("container", {"capabilities": {"drop": ["CHOWN"]}}, "capabilities.drop"),
        ("container", {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}, "capabilities.add"),
    ],
)
def test_the_level_restricted_refuses_what_it_is_about(
    where: str, change: Object, violation: str
) -> None:
    """
    Each rule refuses a pod that differs in one thing.
    """
    pod, container = helm.pod(render()), helm.container(render())
    security = container["securityContext"] | (change if where == "container" else {})
    changed = {**pod, "containers": [{**container, "securityContext": security}]}

    assert [violation] == violations(changed | (change if where == "pod" else {}))


def test_the_file_system_is_read_only_and_the_volume_is_the_groups() -> None:
    """
    The ids are those of the image.
    """
    objects = render()
    security = helm.pod(objects)["securityContext"]

    assert {65532} == {security[name] for name in ("runAsUser", "runAsGroup", "fsGroup")}
    assert "OnRootMismatch" == security["fsGroupChangePolicy"]
    for container in (helm.container(objects), *one(objects, "Pod")["spec"]["containers"]):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_openshift_chooses_the_ids() -> None:
    """
    None of them is given there, to neither pod, and the rest stays.
    """
    context = {**helm.pod(render())["securityContext"], "supplementalGroups": [1]}
    kept = {"runAsNonRoot", "fsGroupChangePolicy", "seccompProfile"}
    objects = render("openshift", {"podSecurityContext": context})

    assert kept == {*helm.pod(render("openshift"))["securityContext"]}
    for pod in (helm.pod(objects), one(objects, "Pod")["spec"]):
        assert {*kept, "supplementalGroups"} == {*pod["securityContext"]}


async def test_probes_ask_for_what_the_program_answers() -> None:
    """
    A path that is not there would be answered with 404.
    """
    container = helm.container(render())
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    web = Web(Health(), Holds(0), Telemetry())
    (address,) = await web.start([("127.0.0.1", 0)])
    try:
        statuses = [await status_of(address + probe["path"]) for probe in probes]
    finally:
        await web.stop()

    assert ["/-/healthy", "/-/healthy", "/-/ready"] == [probe["path"] for probe in probes]
    assert [200, 200, 200] == statuses
    assert {"metrics"} == {probe["port"] for probe in probes}
    assert [{"name": "metrics", "containerPort": 10112}] == container["ports"]
    assert "--web.listen-address=:10112" in container["args"]


async def status_of(url: str) -> int:
    """
    The status of the answer to a GET.
    """
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


def test_memory_is_limited_and_the_processor_is_not() -> None:
    """
    A process that is throttled would answer scrapes late.
    """
    objects = render()

    for container in (helm.container(objects), *one(objects, "Pod")["spec"]["containers"]):
        assert {"cpu", "memory"} == {*container["resources"]["requests"]}
        assert {"memory"} == {*container["resources"]["limits"]}


@pytest.mark.parametrize(
    ("case", "values", "image"),
    [
        ("minimal", {}, f"registry.example.com/codecommit-exporter:{version()}"),
        (
            "minimal",
            {"image": {"tag": "main"}},
            "registry.example.com/codecommit-exporter:main",
        ),
        (
            "minimal",
            {
                "global": {"imageRegistry": "mirror:5000"},
                "image": {"repository": "a/b"},
            },
            f"mirror:5000/a/b:{version()}",
        ),
        (
            "hardened",
            {"image": {"tag": "main"}},
            f"registry.example.com/codecommit-exporter@sha256:{'0' * 64}",
        ),
    ],
)
def test_the_image_is_that_of_the_values(case: str, values: Object, image: str) -> None:
    """
    A digest wins over the tag; both pods have the same image and pull it in the same way.
    """
    objects = render(case, values)
    (test,) = one(objects, "Pod")["spec"]["containers"]

    assert image == helm.container(objects)["image"] == test["image"]
    assert helm.container(objects)["imagePullPolicy"] == test["imagePullPolicy"]


@pytest.mark.parametrize(
    ("case", "values", "secrets"),
    [
        ("minimal", {}, None),
        ("hardened", {}, ["registry"]),
        ("minimal", {"global": MIRROR}, ["mirror"]),
        (
            "hardened",
            {"global": {"imagePullSecrets": [{"name": "mirror"}]}},
            ["registry", "mirror"],
        ),
    ],
)
def test_the_image_is_pulled_with_the_secrets_of_the_values(
    case: str, values: Object, secrets: list[str] | None
) -> None:
    """
    Those of a chart around this one are added to its own.
    """
    objects = render(case, values)
    wanted = None if secrets is None else [{"name": name} for name in secrets]

    for pod in (helm.pod(objects), one(objects, "Pod")["spec"]):
        assert wanted == pod.get("imagePullSecrets")


def test_a_pod_runs_where_it_is_told() -> None:
    """
    Nodes, zones and priority are handed on as they are.
    """
    values = yaml.safe_load((CHART / "ci/placement-values.yaml").read_text())
    names = ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints")
    pod = helm.pod(render("placement"))

    assert {name: values[name] for name in names} == {name: pod[name] for name in names}
    assert "system-cluster-critical" == pod["priorityClassName"]
    assert values["resources"] == helm.container(render("placement"))["resources"]


def test_more_of_everything_comes_after_the_charts_own() -> None:
    """
    Arguments, variables, volumes and mounts.
    """
    values = yaml.safe_load((CHART / "ci/options-values.yaml").read_text())
    objects = render("options")
    container = helm.container(objects)

    assert values["extraArgs"] == container["args"][-1:]
    assert values["extraEnv"] == container["env"][-2:]
    assert values["extraEnvFrom"] == container["envFrom"]
    assert values["extraVolumeMounts"] == container["volumeMounts"][1:]
    assert values["extraVolumes"] == helm.pod(objects)["volumes"]


def test_what_the_chart_relies_on_is_always_a_flag() -> None:
    """
    A flag wins over a variable and a file, which the chart cannot see.
    """
    args = helm.container(render())["args"]

    assert [
        "--metrics.new-series-hold=2m",
        "--shutdown.grace=25s",
        "--state.directory=/var/lib/codecommit-exporter",
        "--web.listen-address=:10112",
    ] == sorted(arg for arg in args[1:] if not arg.startswith(("--sqs.", "--s3.")))


def test_labels_and_annotations_of_the_pod_are_its_own() -> None:
    """
    Those of all objects are the pod's, too.
    """
    metadata = one(render("claim"), "StatefulSet")["spec"]["template"]["metadata"]

    assert {
        "app.kubernetes.io/name": "counter",
        "app.kubernetes.io/instance": RELEASE,
        "team": "platform",
        "cost-center": "4711",
    } == metadata["labels"]
    assert "true" == metadata["annotations"]["example.com/reviewed"]


def test_the_default_container_is_the_exporters_unless_told() -> None:
    """
    Where another is given, the pod has the annotation once.
    """
    default = "kubectl.kubernetes.io/default-container"
    told = {"podAnnotations": {default: "sidecar"}}
    found = [template(values)["metadata"]["annotations"][default] for values in (None, told)]

    assert [helm.container(render())["name"], "sidecar"] == found


def test_annotations_of_the_stateful_set_are_its_own() -> None:
    """
    A tool that starts pods anew looks for one there, and not on the pod.
    """
    annotations = {"reloader.stakater.com/auto": "true"}
    objects = render(values={"annotations": annotations})
    annotated = [o["kind"] for o in objects if o["metadata"].get("annotations") == annotations]

    assert ["StatefulSet"] == annotated
    assert template() == one(objects, "StatefulSet")["spec"]["template"]


def test_a_label_of_one_object_wins_over_that_of_all() -> None:
    """
    No manifest has it twice.
    """
    values = {
        "commonLabels": {"tier": "all"},
        "podLabels": {"tier": "pod"},
        "service": {"labels": {"tier": "service"}},
        "serviceMonitor": {"enabled": True, "labels": {"tier": "monitor"}},
    }
    objects = render(values=values)
    pod = one(objects, "StatefulSet")["spec"]["template"]
    kinds = ("StatefulSet", "Service", "ServiceMonitor")
    found = [*(one(objects, kind) for kind in kinds), pod]

    assert ["all", "service", "monitor", "pod"] == [o["metadata"]["labels"]["tier"] for o in found]


def test_labels_that_find_the_pod_are_not_to_be_changed() -> None:
    """
    They win over those of all objects and of the pod.
    """
    others = {"app.kubernetes.io/name": "other", "app.kubernetes.io/instance": "other"}
    objects = render("hardened", {"commonLabels": others, "podLabels": others})
    labels = one(objects, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    found = [selector.items() <= labels.items() for selector in selectors(objects).values()]

    assert [True] * 4 == found
    assert selectors(render("hardened")) == selectors(objects)


def test_what_is_empty_is_as_if_it_were_not_there() -> None:
    """
    A section or an option of which only the name is written has its default.
    """
    empty = {"config": {"shutdown": None, "log": {"level": None}, "metrics": {"max-series": None}}}

    assert helm.container(render())["args"] == helm.container(render(values=empty))["args"]


@pytest.mark.parametrize(
    "name",
    [
        *("aws", "image", "persistence", "service", "serviceAccount", "test"),
        *("persistence.size", "image.pullPolicy", "service.port"),
    ],
)
def test_a_default_that_is_taken_away_is_missed_in_words(name: str) -> None:
    """
    With null for a value of the chart its objects are valid, or it is named.
    """
    asked = helm.Asked(flags=("--set", f"{name}=null"))
    answer = helm.templated(asked)

    if answer.returncode:
        assert name.rpartition(".")[2] in answer.stderr
        assert "executing" not in answer.stderr, "a template has failed"
    else:
        assert [] == problems(render(flags=asked.flags))


@pytest.mark.parametrize("case", CASES)
def test_options_mean_what_they_mean_in_a_configuration_file(
    case: str, told: Told, tmp_path: Path
) -> None:
    """
    The program reads the same settings from the pod's arguments as from ``config`` itself.
    """
    # Read as text, as the program does.
    file = tmp_path / "config.yaml"
    values = yaml.load((CHART / f"ci/{case}-values.yaml").read_text(), yaml.BaseLoader)  # noqa: S506
    file.write_text(yaml.safe_dump(values["config"]))
    own = {
        "config.file": str(file),
        "state.directory": "/var/lib/codecommit-exporter",
        "web.listen-address": [":10112"],
    }
    written = read_settings(ServeSettings, own, {})
    read: ServeSettings = told(helm.container(render(case))["args"])

    assert written.model_dump(exclude={"config"}) == read.model_dump(exclude={"config"})


# How it comes by a role.


def test_the_service_account_is_made_or_was_there() -> None:
    """
    EKS Pod Identity needs nothing but its name, IRSA an annotation.
    """
    accounts = {
        case: [
            (found["metadata"]["name"], found["metadata"].get("annotations"))
            for found in several(render(case), "ServiceAccount")
        ]
        for case in ("minimal", "hardened", "claim")
    }
    names = {case: helm.pod(render(case))["serviceAccountName"] for case in accounts}
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/codecommit-exporter"}
    nobodys = helm.pod(render(values={"serviceAccount": {"create": False}}))

    assert {
        "minimal": [(RELEASE, None)],
        "hardened": [("reader-of-trails", role)],
        "claim": [],
    } == accounts
    assert {"minimal": RELEASE, "hardened": "reader-of-trails", "claim": "shared"} == names
    assert "default" == nobodys["serviceAccountName"]


def test_the_metadata_service_is_not_asked_unless_told() -> None:
    """
    A request to it would wait where pods cannot reach it.
    """
    disabled = "AWS_EC2_METADATA_DISABLED"

    assert {disabled: "true"} == variables("minimal")
    assert {disabled: "true", "AWS_REGION": "eu-central-1"} == variables("hardened")
    assert {disabled: "false"} == variables("trial")


def variables(case: str) -> dict[str, str]:
    """
    The variables of the container that have a value written out.
    """
    return {each["name"]: each["value"] for each in helm.container(render(case))["env"]}


def test_there_is_no_place_for_static_keys() -> None:
    """
    Neither a value nor an object is there to hold one; dashboards may speak of them.
    """
    kinds = ("StatefulSet", "Pod", "ServiceAccount", "Service", "NetworkPolicy")
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert [] == [key for key in keys(values) if STATIC_KEY.search(key)]
    for case in CASES:
        objects = [o for o in render(case) if o["kind"] in kinds]
        assert not STATIC_KEY.search(json.dumps(objects))
        assert [] == several(render(case), "Secret")


def keys(node: Any) -> Iterator[str]:
    """
    All keys of a tree.
    """
    for name, value in node.items() if isinstance(node, dict) else ():
        yield name
        yield from keys(value)


# Who reaches it, and whom it reaches.


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_the_pod_and_not_the_one_of_the_test(case: str) -> None:
    """
    A Service that found the test's pod would send scrapes to it.
    """
    objects = render(case)
    labels = one(objects, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    test = one(objects, "Pod")["metadata"]["labels"]
    found = selectors(objects)

    assert [] == [
        kind for kind, selector in found.items() if not selector.items() <= labels.items()
    ]
    assert [] == [kind for kind, selector in found.items() if selector.items() <= test.items()]


def test_the_readmes_policy_for_cilium_finds_the_pod_and_not_the_one_of_the_test() -> None:
    """
    As the chart's own policy does.
    """
    readme = (CHART / "README.md").read_text()
    (text,) = re.findall(r"```yaml\n(apiVersion: cilium.io/.*?)```", readme, re.DOTALL)
    policy = yaml.safe_load(text)

    assert NAMESPACE == policy["metadata"]["namespace"]
    assert (
        selectors(render("hardened"))["NetworkPolicy"]
        == (policy["spec"]["endpointSelector"]["matchLabels"])
    )


def selectors(objects: tuple[Object, ...]) -> dict[str, dict[str, str]]:
    """
    By which labels each kind of object finds the pod; a ServiceMonitor finds the Service.
    """
    found = {
        o["kind"]: o["spec"].get("podSelector") or o["spec"].get("selector")
        for o in objects
        if "spec" in o
    }
    return {kind: s.get("matchLabels", s) for kind, s in found.items() if s}


def test_a_service_leads_to_the_pod_whatever_its_state() -> None:
    """
    The page tells what is wrong, so it is there while the pod is not ready.
    """
    service = one(render("claim"), "Service")

    assert service["spec"]["publishNotReadyAddresses"] is True
    assert [{"name": "metrics", "port": 80, "targetPort": "metrics"}] == service["spec"]["ports"]
    assert "NodePort" == service["spec"]["type"]
    assert "true" == service["metadata"]["labels"]["exposed"]
    assert {"prometheus.io/scrape": "true"} == service["metadata"]["annotations"]
    assert {"ClusterIP"} == {one(render(), "Service")["spec"]["type"]}


def test_only_scrapers_and_the_test_come_in() -> None:
    """
    And to the port of metrics alone.
    """
    objects = render("hardened")
    policy = one(objects, "NetworkPolicy")["spec"]
    (rule,) = policy["ingress"]
    scraper, test = rule["from"]

    assert ["Ingress", "Egress"] == policy["policyTypes"]
    assert [{"port": "metrics"}] == rule["ports"]
    assert {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    } == scraper
    assert {"podSelector"} == {*test}
    assert (
        test["podSelector"]["matchLabels"].items()
        <= one(objects, "Pod")["metadata"]["labels"].items()
    )


@pytest.mark.parametrize(
    ("address", "port", "protocol", "reached"),
    [
        ("10.96.0.10", 53, "UDP", True),
        ("10.96.0.10", 53, "TCP", True),
        ("10.128.0.10", 5353, "UDP", True),
        ("10.128.0.10", 5353, "TCP", True),
        ("52.95.0.1", 443, "TCP", True),
        ("2a05:d000::1", 443, "TCP", True),
        ("169.254.170.23", 80, "TCP", True),
        ("fd00:ec2::23", 80, "TCP", True),
        ("10.0.0.8", 3128, "TCP", True),
        ("169.254.169.254", 80, "TCP", False),
        ("fd00:ec2::254", 80, "TCP", False),
        ("169.254.170.24", 80, "TCP", False),
        ("52.95.0.1", 80, "TCP", False),
        ("52.95.0.1", 443, "UDP", False),
        ("10.0.0.9", 3128, "TCP", False),
    ],
)
def test_only_what_is_needed_is_reached(
    address: str, port: int, protocol: str, *, reached: bool
) -> None:
    """
    DNS, with OpenShift's port, HTTPS, the agent of EKS Pod Identity and the proxy of the case.
    """
    rules = one(render("hardened"), "NetworkPolicy")["spec"]["egress"]

    assert reached is any(allows(rule, address, port, protocol) for rule in rules)


def test_the_metadata_service_is_reached_where_it_is_asked() -> None:
    """
    With the role of the node there would be no credentials otherwise.
    """
    rules = one(render("hardened", {"aws": {"instanceMetadata": True}}), "NetworkPolicy")["spec"]

    for address in ("169.254.169.254", "fd00:ec2::254"):
        assert any(allows(rule, address, 80, "TCP") for rule in rules["egress"])


def allows(rule: Object, address: str, port: int, protocol: str) -> bool:
    """
    Whether a rule of a NetworkPolicy lets packets out; all its peers are blocks of addresses.
    """
    there = ipaddress.ip_address(address)
    blocks = [ipaddress.ip_network(peer["ipBlock"]["cidr"]) for peer in rule.get("to", ())]
    ports = [(each["port"], each.get("protocol", "TCP")) for each in rule["ports"]]
    return (port, protocol) in ports and (not blocks or any(there in block for block in blocks))


def test_a_disruption_may_take_the_pod_away() -> None:
    """
    A budget that kept the only pod would keep its node from being drained.
    """
    budget = one(render("hardened"), "PodDisruptionBudget")["spec"]

    assert 1 == budget["maxUnavailable"]
    assert "AlwaysAllow" == budget["unhealthyPodEvictionPolicy"]
    assert "minAvailable" not in budget


# Names.


@pytest.mark.parametrize("release", [LONG, CUT_AT_A_HYPHEN, "x"])
@pytest.mark.parametrize("name", ["", "n" * 57 + "-" + "n" * 5])
def test_names_and_labels_fit_whatever_the_release_is_called(release: str, name: str) -> None:
    """
    A label and the name of a Service have 63 letters at most, and a StatefulSet's name leaves 11.
    """
    values = {
        "nameOverride": name,
        "commonLabels": {"team": "platform"},
        **{kind: {"enabled": True} for kind in ("serviceMonitor", "prometheusRule", "dashboards")},
        **{kind: {"enabled": True} for kind in ("networkPolicy", "podDisruptionBudget")},
    }
    objects = render(values=values, release=release)
    names = [o["metadata"]["name"] for o in objects]
    too_long = [text for text in labels_of(objects) if len(text) > 63]
    odd = [text for text in labels_of(objects) if not re.fullmatch(r"[A-Za-z0-9].*(?<=\w)", text)]

    assert [] == too_long
    assert [] == odd
    assert [] == [text for text in names if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", text)]
    assert max(map(len, names)) <= 63
    assert len(one(objects, "StatefulSet")["metadata"]["name"]) <= 52


def labels_of(node: Any) -> Iterator[str]:
    """
    The values of all labels and selectors of a tree.
    """
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name in {"labels", "matchLabels"}:
                yield from value.values()
            elif name != "groups":  # labels of alerts may have any text
                yield from labels_of(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from labels_of(value)


def test_two_releases_share_nothing() -> None:
    """
    In one namespace each finds its own pod, and no object has the name of one of the other.
    """
    case = "hardened"
    first, second = (render(case, {"serviceAccount": {"name": ""}}, release=r) for r in ("a", "b"))
    pod = one(second, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    test = one(second, "Pod")["metadata"]["labels"]
    names = [{(o["kind"], o["metadata"]["name"]) for o in objects} for objects in (first, second)]

    for selector in selectors(first).values():
        assert not selector.items() <= pod.items()
        assert not selector.items() <= test.items()
    assert set() == names[0] & names[1]


def test_a_name_of_ones_own_is_taken() -> None:
    """
    Whatever the release is called.
    """
    objects = render("claim")
    names = {o["kind"]: o["metadata"]["name"] for o in objects}

    assert {
        "Service": "trail-counter",
        "StatefulSet": "trail-counter",
        "Pod": "trail-counter-test",
    } == names
    assert "trail-counter" == one(objects, "StatefulSet")["spec"]["serviceName"]


# Another version.


@pytest.fixture(scope="module")
def next_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The chart as its next version will be.
    """
    chart = Path(shutil.copytree(CHART, tmp_path_factory.mktemp("next") / "chart"))
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "99.0.0"}))
    return chart


@pytest.mark.parametrize("case", CASES)
def test_an_upgrade_changes_nothing_that_is_fixed(next_chart: Path, case: str) -> None:
    """
    Kubernetes refuses to change most of a StatefulSet.
    """
    changes = {
        "commonLabels": {"team": "other"},
        "podLabels": {"tier": "other"},
        "podAnnotations": {"example.com/other": "true"},
        "image": {"tag": "99.0.0"},
        "resources": {"limits": {"memory": "3Gi"}},
        "service": {"labels": {"other": "true"}, "port": 8080},
        "networkPolicy": {"enabled": True},
        "config": {"log": {"level": "error"}, "shutdown": {"grace": "30s"}},
    }
    before, after = render(case), render(case, changes, chart=next_chart)
    fixed = [
        {name: v for name, v in one(o, "StatefulSet")["spec"].items() if name not in MUTABLE}
        for o in (before, after)
    ]

    assert fixed[0] == fixed[1]
    assert {"selector", "serviceName"} <= {*fixed[0]}
    assert one(before, "Service")["spec"]["selector"] == one(after, "Service")["spec"]["selector"]


def test_a_pod_that_never_gets_ready_can_be_replaced() -> None:
    """
    Kubernetes would otherwise wait for a pod with a wrong queue before it starts the right one.
    """
    assert "Parallel" == one(render(), "StatefulSet")["spec"]["podManagementPolicy"]


def test_a_pod_starts_anew_for_what_concerns_it(next_chart: Path) -> None:
    """
    For another option, and neither for another version of the chart nor for a monitor.
    """
    now = template()

    assert now != template({"config": {"log": {"level": "debug"}}})
    assert now != template({"image": {"tag": "99.0.0"}})
    assert now == template({"serviceMonitor": {"enabled": True}})
    assert now == template(chart=next_chart)


def template(values: Object | None = None, **asked: Any) -> Object:
    """
    What the StatefulSet makes its pod from.
    """
    spec: Object = one(render(values=values, **asked), "StatefulSet")["spec"]["template"]
    return spec


def test_the_chart_is_made_for_this_version() -> None:
    """
    Its default image is the program's of this project.
    """
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert version() == about["appVersion"]
    assert helm.OLDEST_KUBERNETES in about["kubeVersion"]
