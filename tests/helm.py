"""
The chart as Helm renders it.

Rendering takes a tenth of a second and more, so what has been rendered once is kept; nobody
changes the objects.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import yaml

from tests.conftest import needs
from tests.processes import PROJECT

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

CHART = PROJECT / "deploy/helm/codecommit-exporter"
CASES = sorted(path.name.removesuffix("-values.yaml") for path in CHART.glob("ci/*-values.yaml"))
"""The names of the values that come with the chart, one file per feature."""

OLDEST_KUBERNETES = re.findall(r'kubeVersion: ">=([\d.]+)', (CHART / "Chart.yaml").read_text())[0]
NAMESPACE = "monitoring"
RELEASE = "codecommit-exporter"

Object = dict[str, Any]
"""A Kubernetes object."""


class Asked(NamedTuple):
    """
    What Helm is asked to render.

    ``case`` names the values of a file, and ``values`` are more of them, as JSON. Kubernetes is
    always named: a Helm that ``go install`` has built takes it for 1.20.
    """

    case: str = "minimal"
    values: str = "{}"
    release: str = RELEASE
    namespace: str = NAMESPACE
    kubernetes: str = OLDEST_KUBERNETES
    chart: Path = CHART
    flags: tuple[str, ...] = ()


class _Loader(yaml.CSafeLoader):
    """
    Reads YAML as Kubernetes does: no mapping has a key twice, and a plain y or n is a truth.
    """

    bool_values: ClassVar = yaml.CSafeLoader.bool_values | {"y": True, "n": False}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """
        The mapping of a node. Raises AssertionError for a key that is there already.
        """
        mapping = super().construct_mapping(node, deep)
        assert len(node.value) == len(mapping), f"a key is there twice: {node.start_mark}"
        return mapping


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), [*"yYnN"])


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """
    Run Helm, which HELM names or which is on the PATH, to its end.
    """
    command = [needs(os.environ.get("HELM", "helm")), *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


@cache
def templated(asked: Asked) -> subprocess.CompletedProcess[str]:
    """
    What ``helm template`` prints.
    """
    return run(
        *("template", asked.release, str(asked.chart), "--namespace", asked.namespace),
        *("--kube-version", asked.kubernetes, *asked.flags),
        *("--values", str(CHART / f"ci/{asked.case}-values.yaml"), "--values", "-"),
        stdin=asked.values,
    )


@cache
def _objects(asked: Asked) -> tuple[Object, ...]:
    answer = templated(asked)
    assert answer.returncode == 0, answer.stderr
    return tuple(found for found in yaml.load_all(answer.stdout, _Loader) if found)


def render(
    case: str = "minimal", values: Mapping[str, object] | None = None, **asked: Any
) -> tuple[Object, ...]:
    """
    The objects of a case, with more values; ``asked`` are the other fields of ``Asked``.

    Raises AssertionError with Helm's words where it refuses.
    """
    return _objects(Asked(case, json.dumps(values or {}), **asked))


def refusal(values: Mapping[str, object], **asked: Any) -> str:
    """
    What Helm says of values that it must refuse.
    """
    answer = templated(Asked(values=json.dumps(values), **asked))
    assert answer.returncode != 0, f"not refused: {values}"
    return answer.stderr


def several(objects: Iterable[Object], kind: str) -> list[Object]:
    """
    The objects of a kind, in Helm's order.
    """
    return [found for found in objects if found["kind"] == kind]


def one(objects: Iterable[Object], kind: str) -> Object:
    """
    The only object of a kind. Raises ValueError where there are none or more.
    """
    (found,) = several(objects, kind)
    return found


def pod(objects: Iterable[Object]) -> Object:
    """
    The specification of the exporter's pod.
    """
    spec: Object = one(objects, "StatefulSet")["spec"]["template"]["spec"]
    return spec


def container(objects: Iterable[Object]) -> Object:
    """
    The exporter's container, the only one of its pod.
    """
    (found,) = pod(objects)["containers"]
    return dict(found)
