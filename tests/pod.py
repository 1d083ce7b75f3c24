"""
Pods as a node starts them, on a machine without a cluster.

What a container is told comes from its spec, and from the image where the spec is silent:
command, arguments, variables, user and groups, capabilities, whether it may gain privileges,
whether its root can be written to, volumes, how long it may take to stop. crun, which nodes
use, starts it as process 1 of namespaces of its own.

How far that goes:

* The image is not built. What the Dockerfile says of the process holds, but its root has the
  machine's ``/usr`` and the tests' interpreter and packages, read-only.
* There is no kubelet: it is the test that asks the probes and stops the process.
* No storage driver either: a volume is a folder, with the owner and the mode that the kubelet
  would give it. So is a secret.
* All pods share one address in one network, from which no way leads out.
* Neither limits nor the seccomp profile are applied.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import pytest

from tests.conftest import needs
from tests.processes import NOBODY, PROJECT, TEXT, Answer
from tests.servers import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.dockerfile import Stage

Json = dict[str, Any]

ADDRESS: Final = "192.0.2.1"
"""Of all pods and services, one of those that documentation may use (RFC 5737)."""

CLUSTER_VARIABLES: Final = {
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "KUBERNETES_SERVICE_PORT_HTTPS": "443",
    "KUBERNETES_PORT": "tcp://10.96.0.1:443",
    "KUBERNETES_PORT_443_TCP": "tcp://10.96.0.1:443",
    "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
    "KUBERNETES_PORT_443_TCP_PORT": "443",
    "KUBERNETES_PORT_443_TCP_ADDR": "10.96.0.1",
}
"""What the kubelet tells every container, whatever its spec says."""

_CLONE_NEWNET = 0x40000000
_HOSTNAME = "codecommit-exporter-0"
_PROGRAM = ("/usr", sys.base_prefix, sys.prefix, str(PROJECT / "exporter"))
"""Where the program, its packages and its interpreter are."""
# crun is told to leave control groups alone, and yet refuses a machine that has those of the
# first version beside those of the second.
_WITHOUT_CONTROL_GROUPS = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"'


@contextmanager
def network() -> Iterator[None]:
    """
    A network for this thread, and for what it starts during the block.
    """
    ip = needs("ip")
    libc = ctypes.CDLL(None)
    with Path("/proc/thread-self/ns/net").open("rb") as outside:
        if libc.unshare(_CLONE_NEWNET):
            pytest.skip("only root may make the network that this needs")
        try:
            for words in ("link set lo up", f"address add {ADDRESS}/32 dev lo"):
                subprocess.run([ip, *words.split()], check=True)
            yield
        finally:
            libc.setns(outside.fileno(), _CLONE_NEWNET)


def new_volume(folder: Path) -> Path:
    """
    A volume as it is after mkfs.ext4: nobody but root may write.
    """
    folder.mkdir(mode=0o755)
    (folder / "lost+found").mkdir(mode=0o700)
    return folder


def _give(volume: Path, group: int) -> None:
    """
    Let a group write to a volume, unless it may already: ``fsGroup`` with OnRootMismatch.
    """
    if volume.stat().st_gid == group:
        return
    for path in (volume, *volume.rglob("*")):
        os.chown(path, -1, group)
        path.chmod(path.stat().st_mode | (0o2770 if path.is_dir() else 0o660))


class Container:
    """
    The one container of a pod, there inside the ``with`` block.

    Args:
        pod: The pod's spec.
        image: The last stage of what the container is made from.
        folder: Made for its root and its log.
        volumes: The pod's volumes, by name.
        names: What the cluster's DNS knows.
        variables: More that the kubelet would set.
    """

    def __init__(
        self,
        pod: Json,
        image: Stage,
        folder: Path,
        *,
        volumes: Mapping[str, Path],
        names: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir()
        (self.spec,) = pod["containers"]
        self._grace_seconds: int = pod.get("terminationGracePeriodSeconds", 30)
        self._security: Json = pod["securityContext"] | self.spec["securityContext"]
        self._groups = [self._security[key] for key in ("fsGroup",) if key in self._security]
        self._image = image
        self._mounts = [(volumes[each["name"]], each) for each in self.spec.get("volumeMounts", [])]
        self._variables = CLUSTER_VARIABLES | dict(variables or {})
        self._folder = folder
        self._log = folder / "log"
        self._crun = [needs("crun"), "--root", str(folder / "crun"), "--cgroup-manager=disabled"]
        _furnish(folder / "root", names)
        (folder / "config.json").write_text(json.dumps(self._config()))
        for group in self._groups:
            for volume, _ in self._mounts:
                _give(volume, group)

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--mount", "sh", "-c", _WITHOUT_CONTROL_GROUPS, "sh"),
                    *(*self._crun, "run", "--bundle", str(self._folder), self.spec["name"]),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        # It may not have begun yet, or be ending by itself.
        eventually(
            lambda: self._process.poll() is not None or self._signalled("KILL"),
            "the container can be killed",
        )
        self._process.wait()
        print(self.log)  # noqa: T201 - pytest shows it when the test fails

    @property
    def log(self) -> str:
        """
        What it has written so far.
        """
        return self._log.read_text(errors="replace")

    def get(self, port: int | str, path: str) -> Answer:
        """
        Ask once, at a port by number or by the name that the spec has for it.
        """
        ports = {each["name"]: each["containerPort"] for each in self.spec.get("ports", [])}
        connection = HTTPConnection(ADDRESS, ports.get(port, port), timeout=10)
        try:
            connection.request("GET", path, headers={"Accept": TEXT})
            response = connection.getresponse()
            text = response.read().decode()
            return Answer(response.status, response.getheader("Content-Type", ""), text)
        except (OSError, HTTPException):
            return NOBODY
        finally:
            connection.close()

    def probe(self, name: str) -> int:
        """
        The status that one of the spec's probes gets.
        """
        asked = self.spec[name]["httpGet"]
        return self.get(asked["port"], asked["path"]).status

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """
        Wait for something that only a living process can do.
        """

        def holds_alive() -> bool:
            if holds():
                return True
            assert self._process.poll() is None, f"the container ended early:\n{self.log}"
            return False

        eventually(holds_alive, what)

    def execute(self, *words: str) -> int:
        """
        The exit code of one more process in the container, as ``kubectl exec`` starts it.
        """
        process = self._folder / "process.json"
        process.write_text(json.dumps(self._config()["process"] | {"args": words}))
        command = [*self._crun, "exec", "--process", str(process), self.spec["name"]]
        return subprocess.run(command, check=False).returncode

    def end(self) -> int:
        """
        The exit code of a process that ends by itself, as it does before long.
        """
        return self._process.wait(timeout=PATIENCE_SECONDS)

    def stop(self) -> int:
        """
        Ask the process to stop, and give its exit code.

        Raises subprocess.TimeoutExpired where Kubernetes would kill it.
        """
        assert self._signalled("TERM"), self.log
        return self._process.wait(timeout=self._grace_seconds)

    def written(self) -> dict[str, tuple[int, int]]:
        """
        User and group of whatever the process has written, by its path.
        """
        volumes = [(volume, mount["mountPath"]) for volume, mount in self._mounts]
        return {
            f"{path}/{file.relative_to(folder)}": (status.st_uid, status.st_gid)
            for folder, path in [(self._folder / "root", ""), *volumes]
            for file in folder.rglob("*")
            if (status := file.lstat()).st_uid == self._security["runAsUser"]
        }

    def _signalled(self, signal: str) -> bool:
        """
        Whether there is a container to send a signal to, which then is sent.
        """
        command = [*self._crun, "kill", self.spec["name"], signal]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _config(self) -> Json:
        """
        The container's configuration by the runtime specification of the Open Container Initiative.
        """
        security = self._security
        assert security["capabilities"] == {"drop": ["ALL"]}, "nothing else is understood here"
        volumes = [
            _bound(volume, mount["mountPath"], "ro" if mount.get("readOnly") else "rw")
            for volume, mount in self._mounts
        ]
        return {
            "ociVersion": "1.0.2",
            "hostname": _HOSTNAME,
            "root": {"path": "root", "readonly": security["readOnlyRootFilesystem"]},
            "process": {
                "cwd": self._image.folder,
                "args": self._words(),
                "env": [f"{name}={value}" for name, value in self._environment().items()],
                "user": {
                    "uid": security["runAsUser"],
                    "gid": security.get("runAsGroup", 0),
                    "additionalGids": self._groups,
                },
                "capabilities": {},
                "noNewPrivileges": not security["allowPrivilegeEscalation"],
            },
            "mounts": [
                _mounted("proc", "proc", "/proc"),
                _mounted("tmpfs", "tmpfs", "/dev", "mode=755"),
                *(_bound(path, path, "ro") for path in _PROGRAM),
                *volumes,
            ],
            "linux": {"namespaces": [{"type": each} for each in ("pid", "mount", "ipc", "uts")]},
        }

    def _words(self) -> list[str]:
        """
        The command line: an image's CMD holds only where the spec has neither command nor args.
        """
        if "command" in self.spec:
            return [*self.spec["command"], *self.spec.get("args", [])]
        return [*self._image.entrypoint, *self.spec.get("args", self._image.command)]

    def _environment(self) -> dict[str, str]:
        """
        The image's variables, the kubelet's and the spec's; the path leads to the tests' packages.
        """
        return {
            **self._image.variables,
            "PATH": f"{sys.prefix}/bin:/usr/bin",
            "HOSTNAME": _HOSTNAME,
            **self._variables,
            **{each["name"]: each["value"] for each in self.spec.get("env", [])},
        }


def _furnish(root: Path, names: Sequence[str]) -> None:
    """
    Lay out of a root what no mount brings; by ``names`` it finds the pods.
    """
    (root / "etc").mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "etc" / "hosts").write_text("".join(f"{ADDRESS} {name}\n" for name in names))
    (root / "etc" / "nsswitch.conf").write_text("hosts: files\n")
    shutil.copy("/etc/ld.so.cache", root / "etc")


def _mounted(kind: str, source: str, destination: str, *options: str) -> Json:
    return {"type": kind, "source": source, "destination": destination, "options": options}


def _bound(source: str | Path, destination: str, mode: str) -> Json:
    return _mounted("bind", str(source), destination, "rbind", mode, "nosuid", "nodev")
