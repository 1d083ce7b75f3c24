"""
What is missing at the start is named; what is wrong on the command line ends it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import oracle, records
from tests.conftest import needs
from tests.processes import PROJECT, clean_environment, command, run
from tests.servers import eventually

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.processes import Exporter
    from tests.servers import Trail

TEXT = records.text(*records.push_pair("one", "refs/heads/a"))


def complaints(exporter: Exporter, about: str) -> list[str]:
    """
    The lines of warning or error that name something.
    """
    levels = ("level=warning", "level=error")
    return [
        line
        for line in exporter.log.splitlines()
        if about in line and any(level in line for level in levels)
    ]


def test_the_queue_is_missing(serve: Serve, unlaid_trail: Trail) -> None:
    """
    A queue that does not exist is named and asked for again; once made, all goes on.
    """
    trail = unlaid_trail
    trail.make_bucket()
    exporter = serve(trail, "--metrics.new-series-hold", "0s")
    exporter.until(lambda: bool(complaints(exporter, trail.queue)), "the missing queue is named")
    status_before = exporter.get("/-/ready").status

    trail.make_queues()
    trail.announce()
    exporter.ready()
    trail.deliver(records.key(1), records.log_file(TEXT))
    exporter.until(
        lambda: exporter.scrape().totals() == oracle.count([TEXT]), "the push is counted"
    )

    assert 503 == status_before


def test_the_bucket_is_missing(serve: Serve, unlaid_trail: Trail) -> None:
    """
    A bucket that does not exist is named and asked for again; once made, all goes on.
    """
    trail = unlaid_trail
    trail.make_queues()
    exporter = serve(trail, "--metrics.new-series-hold", "0s")
    exporter.until(lambda: bool(complaints(exporter, trail.bucket)), "the missing bucket is named")
    status_before = exporter.get("/-/ready").status

    trail.make_bucket()
    trail.announce()
    exporter.ready()
    trail.deliver(records.key(1), records.log_file(TEXT))
    exporter.until(
        lambda: exporter.scrape().totals() == oracle.count([TEXT]), "the push is counted"
    )

    assert 503 == status_before


def test_a_stop_while_nothing_is_there(serve: Serve, unlaid_trail: Trail) -> None:
    """
    A process that still waits for its queue stops as readily as any other.
    """
    exporter = serve(unlaid_trail)
    exporter.until(lambda: bool(complaints(exporter, unlaid_trail.queue)), "the queue is named")

    assert 0 == exporter.terminate()


QUEUE = ("--sqs.queue-url", "http://127.0.0.1:9/123456789012/queue")
BUCKET = ("--s3.allowed-bucket", "bucket")


@pytest.mark.parametrize(
    ("arguments", "variables", "named"),
    [
        (("serve", *BUCKET), {}, "--sqs.queue-url"),
        (("serve", *QUEUE), {}, "--s3.allowed-bucket"),
        (("serve", *QUEUE, *BUCKET, "--sqs.queue", "x"), {}, "--sqs.queue"),
        (("serve", *QUEUE, *BUCKET, "--shutdown.grace", "soon"), {}, "--shutdown.grace"),
        (("serve", *QUEUE, *BUCKET, "--log.level", "loud"), {}, "--log.level"),
        (("serve", *QUEUE, *BUCKET, "--config.file", "no.yml"), {}, "no.yml"),
        (
            ("serve", *QUEUE, *BUCKET),
            {"CODECOMMIT_EXPORTER_SHUTDOWN_GRACEFUL": "1s"},
            "CODECOMMIT_EXPORTER_SHUTDOWN_GRACEFUL",
        ),
        (("observe",), {}, "observe"),
        (("scan", "--format", "xml", "x"), {}, "--format"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_option(arguments: tuple[str, ...], variables: dict[str, str], named: str) -> None:
    """
    A wrong option is one clear line that names it, and exit code 2.
    """
    ended = run(*arguments, environment=clean_environment(**variables))

    lines = ended.stderr.decode().splitlines()
    assert (2, b"") == (ended.returncode, ended.stdout)
    assert [line for line in lines if named in line] == lines
    assert 1 == len(lines)


@pytest.mark.parametrize("command", ["serve", "demo", "scan"])
def test_help(command: str) -> None:
    """
    Every command explains itself on standard output.
    """
    ended = run(command, "--help", environment=clean_environment())

    assert (0, b"") == (ended.returncode, ended.stderr)
    assert command in ended.stdout.decode()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_PROFILE", "no-such-profile"),
        ("AWS_REGION", "no region"),
        ("AWS_ENDPOINT_URL", "nonsense"),
    ],
)
def test_wrong_aws_settings(unlaid_trail: Trail, tmp_path: Path, variable: str, value: str) -> None:
    """
    What the AWS SDK cannot use is one line and exit code 2, never a traceback.
    """
    ended = run(
        "serve",
        *("--sqs.queue-url", "https://sqs.eu-central-1.amazonaws.com/111122223333/queue"),
        *("--s3.allowed-bucket", "trail", "--web.listen-address", "127.0.0.1:0"),
        *("--state.directory", str(tmp_path)),
        environment=clean_environment(**unlaid_trail.aws.environment) | {variable: value},
    )

    assert 2 == ended.returncode
    assert b"Traceback" not in ended.stderr
    assert b"the AWS settings cannot be used" in ended.stderr.splitlines()[-1]


def test_a_stop_during_the_start_of_a_container(tmp_path: Path) -> None:
    """
    The first process of a container ends at SIGTERM even where it has not begun to work.

    A configuration file that has no end yet keeps it from that.
    """
    endless = tmp_path / "config.yaml"
    os.mkfifo(endless)
    namespace = [needs("unshare"), "--user", "--map-root-user", "--pid", "--fork"]
    if subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("this user may not make a process the first")
    with subprocess.Popen(
        [*namespace, *command("serve", "--config.file", str(endless))],
        cwd=PROJECT,
        env=clean_environment(),
    ) as outside:
        writer = _opened_once_read(endless)
        try:
            children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
            os.kill(int(children.read_text()), signal.SIGTERM)

            assert 143 == outside.wait(timeout=60)
        finally:
            outside.kill()
            os.close(writer)


def _opened_once_read(pipe: Path) -> int:
    """
    The writing end of a named pipe, once somebody has opened the other.
    """
    opened = list[int]()

    def has_reader() -> bool:
        with suppress(OSError):  # ENXIO: nobody reads yet
            opened.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(opened)

    eventually(has_reader, "the program reads its configuration")
    return opened[0]
