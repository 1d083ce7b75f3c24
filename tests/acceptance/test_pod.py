"""
The pod of the chart counts, stops and goes on; ``tests.pod`` says how much of a pod it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import helm, oracle, records
from tests.dockerfile import STAGES
from tests.pod import Container, network, new_volume
from tests.processes import Page
from tests.servers import REGION, AwsServer, Trail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

STATE = "/var/lib/codecommit-exporter"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
FIRST = records.text(*records.push_pair("one", "refs/heads/a"))
SECOND = records.text(*records.push_pair("two", "refs/heads/b"))
OPENSHIFT_ID = 1_000_650_000
LINKS = {
    "SERVICE_HOST": "10.96.0.7",
    "SERVICE_PORT": "10112",
    "SERVICE_PORT_METRICS": "10112",
    "PORT": "tcp://10.96.0.7:10112",
    "PORT_10112_TCP": "tcp://10.96.0.7:10112",
    "PORT_10112_TCP_PROTO": "tcp",
    "PORT_10112_TCP_PORT": "10112",
    "PORT_10112_TCP_ADDR": "10.96.0.7",
}
"""What Kubernetes tells of a Service, after the Service's name."""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServer]:
    """
    S3 and SQS in the network of the pods.
    """
    with network(), AwsServer(tmp_path_factory.mktemp("aws") / "log") as server:
        yield server


class Release:
    """
    A release of the chart: its pods, their volumes, and a secret with credentials.

    ``ids`` are what the cluster adds to the security context of the exporter's pod.
    """

    def __init__(self, folder: Path, trail: Trail, case: str = "minimal", **ids: int) -> None:
        objects = helm.render(case, self._values(trail))
        spec = helm.pod(objects)
        self._pod = spec | {"securityContext": spec["securityContext"] | ids}
        self._test: helm.Object = helm.one(objects, "Pod")["spec"]
        self._service: str = helm.one(objects, "Service")["metadata"]["name"]
        self._folder = folder
        secret = folder / "secret"
        secret.mkdir()
        (secret / "credentials").write_text(
            "[default]\n"
            f"aws_access_key_id = {trail.aws.environment['AWS_ACCESS_KEY_ID']}\n"
            f"aws_secret_access_key = {trail.aws.environment['AWS_SECRET_ACCESS_KEY']}\n"
        )
        self._volumes = {"state": new_volume(folder / "state"), "aws": secret}

    def exporter(self, name: str = "exporter", **variables: str) -> Container:
        """
        The exporter's container, with more variables.
        """
        return self._container(name, self._pod, variables)

    def tester(self) -> Container:
        """
        The container of ``helm test``.
        """
        return self._container("tester", self._test, {})

    def _container(self, name: str, pod: helm.Object, variables: Mapping[str, str]) -> Container:
        return Container(
            pod,
            STAGES["serve"],
            self._folder / name,
            volumes=self._volumes,
            names=[self._service],
            variables=variables,
        )

    @staticmethod
    def _values(trail: Trail) -> dict[str, object]:
        return {
            "config": {
                "sqs": {"queue-url": [trail.queue_url]},
                "s3": {"allowed-bucket": [trail.bucket]},
                "metrics": {"new-series-hold": "0s"},
            },
            "aws": {"region": REGION},
            "extraEnv": [
                {"name": "AWS_ENDPOINT_URL", "value": trail.aws.endpoint},
                {"name": "AWS_SHARED_CREDENTIALS_FILE", "value": "/etc/aws/credentials"},
            ],
            "extraVolumes": [{"name": "aws", "secret": {"secretName": "aws"}}],
            "extraVolumeMounts": [{"name": "aws", "mountPath": "/etc/aws", "readOnly": True}],
        }


def until_counted(exporter: Container, *texts: str) -> None:
    """
    Wait until the page shows what these log files hold, and nothing else.
    """

    def counted() -> bool:
        status, content_type, text = exporter.get("metrics", "/metrics")
        return status == 200 and Page(text, content_type).totals() == oracle.count(texts)

    exporter.until(counted, "the pushes are counted")


def until_ready(exporter: Container) -> None:
    exporter.until(lambda: exporter.probe("readinessProbe") == 200, "the pod is ready")


def test_a_pod_counts_and_its_successor_goes_on(tmp_path: Path, trail: Trail) -> None:
    """
    A pod answers its probes, counts, passes ``helm test``, is backed up, and stops in time.

    What it writes lies on its volume, and belongs to its user and to the volume's group.
    """
    release = Release(tmp_path, trail)
    trail.deliver(records.key(1), records.log_file(FIRST))

    with release.exporter("first") as exporter:
        until_ready(exporter)
        statuses = [exporter.probe(name) for name in PROBES]
        until_counted(exporter, FIRST)
        with release.tester() as tester:
            tested = tester.end()
        # Upgrades begin with this. The copy is made where the process starts, /tmp being read-only.
        backed_up = exporter.execute(
            *("codecommit-exporter", "ledger", "backup"),
            f"--ledger.backup-url=s3://{trail.bucket}/backups",
        )
        stopped = exporter.stop()
        written = exporter.written()

    assert [200, 200, 200] == statuses
    assert [0, 0, 0] == [tested, backed_up, stopped]
    assert f"{STATE}/ledger.db" in written
    assert [path for path in written if path.startswith(f"{STATE}/ledger.db")] == [*written]
    assert {(65532, 65532)} == {*written.values()}

    trail.deliver(records.key(2), records.log_file(SECOND))
    with release.exporter("second") as successor:
        until_counted(successor, FIRST, SECOND)

        assert 0 == successor.stop()


def test_a_pod_with_ids_that_openshift_has_chosen(tmp_path: Path, trail: Trail) -> None:
    """
    A user of no name in the group of root writes to the volume by its group alone.
    """
    release = Release(tmp_path, trail, "openshift", runAsUser=OPENSHIFT_ID, fsGroup=OPENSHIFT_ID)

    with release.exporter() as exporter:
        until_ready(exporter)

        assert 0 == exporter.stop()
        assert {(OPENSHIFT_ID, OPENSHIFT_ID)} == {*exporter.written().values()}


def test_variables_that_tell_of_a_service(tmp_path: Path, trail: Trail) -> None:
    """
    Those of a Service with the program's name are no options, even where pods get them.
    """
    links = {f"CODECOMMIT_EXPORTER_{name}": value for name, value in LINKS.items()}

    with Release(tmp_path, trail).exporter(**links) as exporter:
        until_ready(exporter)

        assert 0 == exporter.stop()


def test_a_misspelt_variable_ends_a_pod(tmp_path: Path, trail: Trail) -> None:
    """
    One of the program's own that is no option is named, and the exit code is 2.
    """
    with Release(tmp_path, trail).exporter(CODECOMMIT_EXPORTER_LOG_LEVLE="debug") as exporter:
        assert 2 == exporter.end()

    assert "CODECOMMIT_EXPORTER_LOG_LEVLE" in exporter.log
