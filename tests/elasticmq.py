"""
A second SQS: ElasticMQ, a program of its own that shares no line with moto.

Maven fetches its jars once. ``elasticmq/pom.xml`` says which version, and
``elasticmq/jars.sha256`` what each jar's content is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self
from urllib.parse import quote_plus

from botocore.config import Config

from tests.servers import ACCOUNT, REGION, AwsServer, Trail, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_sqs.type_defs import MessageTypeDef

POM = Path(__file__).parent / "elasticmq" / "pom.xml"
CHECKSUMS = POM.with_name("jars.sha256")

FETCH_SECONDS = 90
"""How long Maven may take, at most; less than a test may."""


class JarsUnavailable(Exception):
    """
    Maven could not fetch the jars; in most cases it could not reach Maven Central.
    """


def jars_folder() -> Path:
    """
    Where the jars are, once they have been fetched: outside the project, which stays small.

    Its name changes with the checksums, so no other version is ever taken for this one.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = hashlib.sha256(CHECKSUMS.read_bytes()).hexdigest()[:12]
    return cache / "codecommit-exporter" / f"elasticmq-{version}"


def fetch_jars(mvn: str) -> None:
    """
    Have Maven fetch the jars; they are in their folder all at once, after every one was checked.

    Raises:
        JarsUnavailable: Maven did not succeed.
        AssertionError: A jar is missing, or another than it should be.
    """
    folder = jars_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as scratch:
        fetched = Path(scratch) / "jars"
        _copy_dependencies(mvn, fetched)
        listed = (line.split() for line in CHECKSUMS.read_text().splitlines())
        expected = {name: checksum for checksum, name in listed}
        jars = {jar.name: jar.read_bytes() for jar in fetched.iterdir()}
        actual = {name: hashlib.sha256(content).hexdigest() for name, content in jars.items()}
        others = {name for name, _ in expected.items() ^ actual.items()}
        assert not others, f"not the jars that {CHECKSUMS.name} lists: {sorted(others)}"
        try:
            fetched.rename(folder)
        except OSError:
            if not folder.is_dir():  # where it is, another process was quicker
                raise


def _copy_dependencies(mvn: str, folder: Path) -> None:
    """
    Let Maven put what the POM names, and all that this needs, into a folder.

    Raises:
        JarsUnavailable: Maven did not succeed; its first error is told.
    """
    arguments = ["--batch-mode", "--quiet", "--strict-checksums", "--file", str(POM)]
    try:
        ended = subprocess.run(
            [mvn, *arguments, "dependency:copy-dependencies", f"-DoutputDirectory={folder}"],
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise JarsUnavailable(f"Maven took longer than {FETCH_SECONDS} s") from error
    if ended.returncode:
        told = re.search(r"\[ERROR\] (.+)", ended.stdout)
        raise JarsUnavailable(told[1] if told else f"Maven ended with {ended.returncode}")


class ElasticMq(AwsServer):
    """
    An AWS of two programs: SQS is ElasticMQ, S3 is a server that runs already.

    ElasticMQ lives inside the ``with`` block and, like moto's server, picks its port itself.
    """

    def __init__(self, s3: AwsServer, java: str, log: Path) -> None:
        super().__init__(log)
        self._s3 = s3
        self._java = java
        self.endpoint = s3.endpoint
        self.sqs_endpoint = ""

    def __enter__(self) -> Self:
        settings = {
            "rest-sqs.bind-hostname": "127.0.0.1",
            "rest-sqs.bind-port": "0",
            "rest-stats.enabled": "false",
            "generate-node-address": "true",
            "aws.region": REGION,
            "aws.accountId": ACCOUNT,
        }
        # It lives for seconds: what a JVM does for those that live long only delays it.
        options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]
        options += [f"-D{name}={value}" for name, value in settings.items()]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._java, *options, "-cp", f"{jars_folder()}/*", "org.elasticmq.server.Main"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            eventually(self._told_its_address, "ElasticMQ tells its address")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # It has nothing to lose, and asked to stop it would wait for whoever still receives.
        self._process.kill()
        self._process.wait()

    def _told_its_address(self) -> bool:
        log = self._log.read_text(errors="replace")
        if self._process.poll() is not None:
            raise AssertionError(f"ElasticMQ ended: {log}")
        address = re.search(r"bind address (127\.0\.0\.1:\d+)", log)
        self.sqs_endpoint = f"http://{address[1]}" if address else ""
        return bool(address)

    @property
    def environment(self) -> dict[str, str]:
        """
        The variables that lead a client of either service to the right program.
        """
        return super().environment | {"AWS_ENDPOINT_URL_SQS": self.sqs_endpoint}

    @contextmanager
    def s3_halted(self) -> Iterator[None]:
        """
        Let S3 answer nothing during the block, and everything after it; SQS goes on.
        """
        self._s3._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._s3._process.send_signal(signal.SIGCONT)


class ElasticMqTrail(Trail):
    """
    A trail whose queues are ElasticMQ's.

    S3 knows nothing of them: what is delivered the trail announces itself.
    """

    def __init__(self, aws: ElasticMq, name: str) -> None:
        super().__init__(aws, name)
        self.sqs.close()
        self.sqs = aws.session().client(
            "sqs",
            endpoint_url=aws.sqs_endpoint,
            config=Config(proxies={}, retries={"max_attempts": 0}),
        )
        self.queue_url = f"{aws.sqs_endpoint}/{ACCOUNT}/{self.queue}"
        self.dead_letter_queue_url = f"{self.queue_url}-dead"

    def announce(self) -> None:
        """
        There is nobody to be told; ``deliver`` does what S3 would do.
        """

    def deliver(self, key: str, body: bytes) -> None:
        """
        Put a log file into the bucket and announce it.
        """
        self.put(key, body)
        self.send(self.announcement(key))

    def put(self, key: str, body: bytes) -> None:
        """
        Put a log file into the bucket and announce nothing.
        """
        super().deliver(key, body)

    def announcement(self, *keys: str) -> str:
        """
        What S3 sends of objects that are new just now ("Event message structure" in its guide).
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": REGION,
            "eventTime": now,
            "eventName": "ObjectCreated:Put",
        }
        bucket = {"name": self.bucket, "arn": f"arn:aws:s3:::{self.bucket}"}
        objects = [{"bucket": bucket, "object": {"key": quote_plus(key, safe="/")}} for key in keys]
        return json.dumps({"Records": [event | {"s3": each} for each in objects]})

    def bury(self, body: str) -> None:
        """
        Send a message to the dead-letter queue, where one of the queue's would end.
        """
        self.sqs.send_message(QueueUrl=self.dead_letter_queue_url, MessageBody=body)

    def redrive(self) -> None:
        """
        Let all messages of the dead-letter queue return to the queue.
        """
        self.sqs.start_message_move_task(SourceArn=f"{self.queue_arn}-dead")

    def receive(self, wait_seconds: int) -> list[MessageTypeDef]:
        """
        Be another consumer of the queue: what it receives within so many seconds.
        """
        answer = self.sqs.receive_message(QueueUrl=self.queue_url, WaitTimeSeconds=wait_seconds)
        return answer.get("Messages", [])
