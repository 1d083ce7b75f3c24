"""
The rules of Kubernetes' Pod Security Standards, level restricted, which has those of baseline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"),
    *("projected", "secret"),
}
SECCOMP = {"RuntimeDefault", "Localhost"}
PRIVILEGED_KEYS = ("hostNetwork", "hostPID", "hostIPC")


def violations(spec: Mapping[str, Any]) -> list[str]:
    """
    What the level refuses in a pod's specification, in words; nothing if it would admit the pod.
    """
    return [*_of_pod(spec), *(wrong for one in _containers(spec) for wrong in _of_one(spec, one))]


def _containers(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [container for kind in kinds for container in spec.get(kind, ())]


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    security = spec.get("securityContext", {})
    yield from (key for key in PRIVILEGED_KEYS if spec.get(key))
    if security.get("sysctls"):
        yield "sysctls"
    for volume in spec.get("volumes", ()):
        yield from (f"volume {kind}" for kind in {*volume} - VOLUMES - {"name"})


def _of_one(spec: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    # What a container says of itself wins over what its pod says.
    security = {**spec.get("securityContext", {}), **own}
    capabilities = own.get("capabilities", {})
    rules = {
        "runAsNonRoot": security.get("runAsNonRoot") is True,
        "runAsUser 0": security.get("runAsUser") != 0,
        "seccompProfile": security.get("seccompProfile", {}).get("type") in SECCOMP,
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "capabilities.drop": "ALL" in capabilities.get("drop", ()),
        "capabilities.add": {*capabilities.get("add", ())} <= {"NET_BIND_SERVICE"},
        "privileged": not own.get("privileged"),
        "procMount": own.get("procMount", "Default") == "Default",
        "hostPort": not any(port.get("hostPort") for port in container.get("ports", ())),
    }
    yield from (rule for rule, kept in rules.items() if not kept)
