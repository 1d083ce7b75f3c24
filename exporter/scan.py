"""
Decodes log files without a queue or a ledger, and prints what they hold.

Rules:

1. What ``serve`` would count is what ``scan`` prints: the same code decodes and counts.
2. What is no log file by its name, such as a digest file, is passed over, unless it was
   named by itself.
3. A file that cannot be read is named on standard error and costs nothing else; the exit
   code tells that there was one.
4. Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from exporter.aws.failures import FAILURES, described
from exporter.cloudtrail import decode
from exporter.config import ScanSettings
from exporter.errors import (
    BucketMissing,
    ConfigError,
    ExporterError,
    LogFileUnavailable,
    OversizedLogFile,
)
from exporter.families import EVENTS, FAMILY, THOUSANDTHS, Kind
from exporter.keys import SUFFIXES, delivery_minute_ms, is_log_file
from exporter.ledger.book import Policy
from exporter.ledger.memory import MemoryLedger
from exporter.logs import set_up_logs
from exporter.metrics import OPENMETRICS, Page, View
from exporter.notifications import LogFile
from exporter.tally import Reading
from exporter.timestamps import usable_ms

FILE_COLUMNS = 1000
"""How wide a table may be that goes to a file or a pipe: so wide that nothing is cut."""


@dataclass(frozen=True, slots=True)
class Source:
    """
    One log file to scan: its address, and how to read its first so many bytes.
    """

    log_file: LogFile
    read: Callable[[int], bytes]

    def __str__(self) -> str:
        return str(self.log_file) if self.log_file.bucket else self.log_file.key


@dataclass(slots=True)
class Findings:
    """
    What has been found so far.
    """

    ledger: MemoryLedger
    log_files: int = 0
    failed: int = 0
    invalid: int = 0
    repeated: int = 0


def scan(settings: ScanSettings) -> int:
    """
    Scan every path and print the findings; 1 if a file could not be read, or none was found.

    Raises:
        ConfigError: A path is not there.
    """
    set_up_logs(settings.log.level, settings.log.format)
    findings = Findings(MemoryLedger(Policy(repositories_max=sys.maxsize, series_max=sys.maxsize)))
    for source in _with_progress(_sources(settings)):
        try:
            _count(source, findings, settings)
        except ExporterError as error:
            findings.failed += 1
            print(f"{source}: {error}", file=sys.stderr)
    _PRINTERS[settings.format](findings)
    if not findings.log_files and not findings.failed:
        print(
            f"no log files found: no name ends in {' or '.join(SUFFIXES)}, or all are of "
            "something else, such as digest files",
            file=sys.stderr,
        )
        return 1
    return 1 if findings.failed else 0


def _count(source: Source, findings: Findings, settings: ScanSettings) -> None:
    bytes_max = settings.s3.max_compressed_bytes
    body = source.read(bytes_max + 1)
    if len(body) > bytes_max:
        raise OversizedLogFile(f"has more bytes than --s3.max-compressed-bytes, {bytes_max}")
    decoded = decode(body, inflated_bytes_max=settings.s3.max_inflated_bytes)
    delivered_ms = usable_ms(delivery_minute_ms(source.log_file.key), time.time() * 1000)
    tally = findings.ledger.count(
        Reading(source.log_file, delivered_ms, decoded.events, decoded.kms_requests)
    )
    findings.log_files += 1
    findings.invalid += decoded.invalid
    findings.repeated += tally.repeated


def _sources(settings: ScanSettings) -> Iterator[Source]:
    for path in settings.paths:
        if path == "-":
            yield Source(LogFile("", "standard input"), sys.stdin.buffer.read)
        elif path.startswith("s3://"):
            yield from _objects(path)
        else:
            yield from _files(Path(path))


def _files(path: Path) -> Iterator[Source]:
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder")
    if not path.is_dir():
        yield Source(LogFile("", str(path)), partial(_read_file, path))
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            if is_log_file(str(file)):
                yield Source(LogFile("", str(file)), partial(_read_file, file))


def _read_file(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(bytes_max)
    except OSError as error:
        raise LogFileUnavailable(str(error.strerror or error)) from error


def _objects(url: str) -> Iterator[Source]:
    """
    The log files below an S3 prefix.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not bucket:
        raise ConfigError(f"{url}: names no bucket; write s3://bucket/prefix")
    try:
        client = boto3.client("s3", region_name=os.environ.get("AWS_REGION"))
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            for entry in page.get("Contents", []):
                key = entry["Key"]
                if is_log_file(key):
                    get = partial(client.get_object, Bucket=bucket, Key=key)
                    yield Source(LogFile(bucket, key), partial(_read_object, get))
    except FAILURES as error:
        code, words = described(error)
        kind = BucketMissing if code == "NoSuchBucket" else LogFileUnavailable
        raise kind(f"{url}: {words}") from error


def _read_object(get: Callable[[], Any], bytes_max: int) -> bytes:
    try:
        body: bytes = get()["Body"].read(bytes_max)
    except FAILURES as error:
        raise LogFileUnavailable(described(error)[1]) from error
    return body


def _with_progress(sources: Iterable[Source]) -> Iterator[Source]:
    """
    The sources, with a line on standard error that tells how far the scan is.

    The line is there only for a person: where standard error is no terminal, nothing is.
    """
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed} log files"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None)
        for source in sources:
            bar.update(task, description=str(source))
            yield source
            bar.advance(task)


def _print_table(findings: Findings) -> None:
    table = Table(title="CodeCommit events")
    for label in EVENTS.labels:
        table.add_column(label)
    table.add_column("events", justify="right")
    rows = sorted(
        (series.labels, state.total.amount)
        for series, state in findings.ledger.series.items()
        if series.family == EVENTS.name
    )
    for labels, events in rows:
        table.add_row(*labels, str(events))
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = FILE_COLUMNS
    if rows:
        console.print(table)
    console.print(
        f"{findings.log_files} log files read, {findings.failed} not readable; "
        f"{sum(events for _, events in rows)} CodeCommit events, "
        f"{findings.repeated} met again, {findings.invalid} records invalid"
    )


def _print_json(findings: Findings) -> None:
    print(
        json.dumps(
            {
                "log_files": findings.log_files,
                "failed": findings.failed,
                "invalid_records": findings.invalid,
                "repeated_events": findings.repeated,
                "series": list(_described(findings)),
            },
            indent=2,
        )
    )


def _described(findings: Findings) -> Iterator[dict[str, object]]:
    for series, state in sorted(findings.ledger.series.items()):
        family = FAMILY[series.family]
        line: dict[str, object] = {
            "metric": family.name,
            "labels": dict(zip(family.labels, series.labels, strict=True)),
        }
        if family.kind is Kind.COUNTER:
            line["value"] = state.total.amount
        elif family.kind is Kind.GAUGE:
            line["value"] = state.total.amount / THOUSANDTHS
        else:
            line["count"] = state.total.observations
            line["sum"] = state.total.amount / THOUSANDTHS
        yield line


def _print_openmetrics(findings: Findings) -> None:
    page = Page(CollectorRegistry(), View(findings.ledger.series, findings.ledger.known))
    sys.stdout.write(page.answer(OPENMETRICS, now_ms=0).body.decode())


_PRINTERS: dict[str, Callable[[Findings], None]] = {
    "table": _print_table,
    "json": _print_json,
    "openmetrics": _print_openmetrics,
}
