"""
What the exporter says of itself.

One happening moves one metric, and writes a log line where a person should know.

Rules:

1. Each metric is declared once, in ``METRICS``; README's table is made from it.
2. Label values come from closed sets and every combination is there from the start, at 0:
   a counter that first appears at 1 shows no increase.
3. What can happen to every message is logged once a minute at most, with the number of
   lines left out. Anything that happens once is logged when it happens.
4. These metrics live in memory and start at 0 with the process. What must not is in the
   ledger.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from exporter import errors
from exporter.cloudtrail import Decoded
from exporter.codecommit import Event
from exporter.errors import ExporterError, ExportRejected, Permanent, kind_of
from exporter.families import Kind
from exporter.keys import ObjectKind
from exporter.logs import LOG, say
from exporter.notifications import Envelope, Notification
from exporter.tally import Reading, Tally
from exporter.timestamps import usable_ms

QUIET_SECONDS = 60
PROGRESS_SECONDS = 10
RECENT_SECONDS = 60
RECENT_MESSAGES_MAX = 10_000

SIGNALS = ("metrics", "traces")
STAGES = ("receive", "fetch", "decode", "commit", "delete")
LAG_BUCKETS = (60, 120, 300, 600, 900, 1800, 3600, 21600, 86400, 604800, 2592000)
STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
AWS_OPERATIONS = {
    "sqs": (
        "ReceiveMessage",
        "DeleteMessageBatch",
        "ChangeMessageVisibilityBatch",
        "GetQueueAttributes",
        "GetQueueUrl",
    ),
    "s3": (
        "GetObject",
        "HeadBucket",
        "ListObjectsV2",
        "PutObject",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
        "AbortMultipartUpload",
        "DeleteObject",
    ),
}
AWS_CODES = {
    "ok": "ok",
    "no_answer": "no_answer",
    **dict.fromkeys(
        (
            "AccessDenied",
            "AccessDeniedException",
            "403",
            "KmsAccessDenied",
            "KMS.AccessDeniedException",
        ),
        "access_denied",
    ),
    **dict.fromkeys(
        (
            "NoSuchKey",
            "NoSuchBucket",
            "404",
            "AWS.SimpleQueueService.NonExistentQueue",
            "QueueDoesNotExist",
        ),
        "not_found",
    ),
    **dict.fromkeys(
        ("SlowDown", "Throttling", "ThrottlingException", "RequestThrottled", "OverLimit"),
        "throttled",
    ),
    **dict.fromkeys(
        (
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "301",
            "302",
            "307",
        ),
        "other_region",
    ),
    **dict.fromkeys(("InternalError", "ServiceUnavailable", "500", "503"), "server_error"),
    **dict.fromkeys(
        (
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidToken",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ),
        "credentials",
    ),
}
OTHER = "other"

IGNORED_KINDS = tuple(kind for kind in ObjectKind if kind is not ObjectKind.LOG_FILE)

_ERRORS_TOLD_BEFORE = (
    errors.RefusedBucket,
    errors.MalformedLogFile,
    errors.OversizedLogFile,
    errors.LogFileUnavailable,
    errors.LedgerUnavailable,
)

_REFUSED_ENVELOPES: Mapping[type[Permanent], str] = {
    errors.ForeignMessage: "unknown",
    errors.UnreadableMessage: "unknown",
    errors.InlineEvent: Envelope.EVENTBRIDGE_CLOUDTRAIL,
}
"""The errors that are about a message as such, and what is known of its envelope."""

_UNTOLD = nullcontext()

Entered = TypeVar("Entered")


class Source(StrEnum):
    """
    How the exporter came to know of an event.
    """

    QUEUE = "queue"
    INLINE = "inline"
    RECONCILE = "reconcile"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One metric of the exporter's own.

    ``values`` lists each label's closed set, in the order of ``labels``; it is empty where
    the set is known only at run time (the configured queues). The unit is written as UCUM has it.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = field(default=(), repr=False)
    unit: str = ""


class Kept(Protocol):
    """
    What a ledger tells of itself.
    """

    @property
    def series(self) -> Collection[object]: ...
    @property
    def known(self) -> Collection[object]: ...
    @property
    def bytes(self) -> int: ...
    @property
    def writable(self) -> bool: ...


class Spans(Protocol):
    """
    Who tells the story of messages as spans, which ``exporter.otlp.traces`` does.
    """

    def step(
        self, name: str, timing: AbstractContextManager[object], about: Mapping[str, Any]
    ) -> AbstractContextManager[object]: ...
    def received(self, queue: str, trace_headers: Sequence[str]) -> None: ...
    def message(
        self, queue: str, message_id: str, body: str, receives: int, trace_header: str
    ) -> AbstractContextManager[object]: ...
    def note(self, **attributes: str | int | bool) -> None: ...


def _reasons() -> tuple[str, ...]:
    """
    Every reason for which input is refused: those of the permanent errors.
    """
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return tuple(
        kind.reason for kind in kinds if issubclass(kind, Permanent) and kind is not Permanent
    )


METRICS = (
    Metric(
        "codecommit_exporter_build_info",
        Kind.GAUGE,
        "Which program this is; always 1.",
        ("version", "revision", "python"),
    ),
    Metric(
        "codecommit_exporter_notifications_total",
        Kind.COUNTER,
        "Messages by what they were (envelope) and what came of them: read (announces log files, "
        "or carries an event), acknowledged (neither), refused (not understood, or not wanted).",
        ("envelope", "outcome"),
        ((*Envelope, "unknown"), ("read", "acknowledged", "refused")),
        unit="{message}",
    ),
    Metric(
        "codecommit_exporter_messages_total",
        Kind.COUNTER,
        "Messages by how they ended: deleted, left (comes back when its visibility timeout "
        "ends, and goes to the dead-letter queue in the end), postponed (its log file was not to "
        "be had; it comes back later each time), released (given back at once).",
        ("outcome",),
        (("deleted", "left", "postponed", "released"),),
        unit="{message}",
    ),
    Metric(
        "codecommit_exporter_log_files_total",
        Kind.COUNTER,
        "Announced objects by outcome: counted (a log file with new events), repeated (with only "
        "events counted before), no_codecommit (with none), failed; the others are no log files, "
        "and were told by their key and not fetched.",
        ("outcome",),
        (("counted", "repeated", "no_codecommit", "failed", *IGNORED_KINDS),),
        unit="{file}",
    ),
    Metric(
        "codecommit_exporter_refused_total",
        Kind.COUNTER,
        "Messages and log files that were refused for good, by reason, each time they are "
        "received until the dead-letter queue has them. What may succeed at another time is not "
        "among them.",
        ("reason",),
        (_reasons(),),
        unit="{refusal}",
    ),
    Metric(
        "codecommit_exporter_records_total",
        Kind.COUNTER,
        "Records decoded because they are ours, by service; those of other services are "
        "skipped unread.",
        ("service",),
        (("codecommit", "kms"),),
        unit="{record}",
    ),
    Metric(
        "codecommit_exporter_records_invalid_total",
        Kind.COUNTER,
        "Records that name CodeCommit and cannot be read; the others of their file count.",
        unit="{record}",
    ),
    Metric(
        "codecommit_exporter_events_counted_total",
        Kind.COUNTER,
        "Events counted, by where they came from: a log file announced on the queue (queue), the "
        "message itself (inline), a log file found in the bucket that no message had announced "
        "(reconcile), or one that was there before (backfill).",
        ("source",),
        (tuple(Source),),
        unit="{event}",
    ),
    Metric(
        "codecommit_exporter_duplicate_events_total",
        Kind.COUNTER,
        "Events and KMS requests that were met again and therefore not counted again.",
        unit="{event}",
    ),
    Metric(
        "codecommit_exporter_late_events_total",
        Kind.COUNTER,
        "Events and KMS requests older than the dedupe window: no longer to be told from "
        "repeats, not counted.",
        unit="{event}",
    ),
    Metric(
        "codecommit_exporter_log_file_bytes_total",
        Kind.COUNTER,
        "Bytes of log files, as fetched (compressed) and as read (inflated).",
        ("stage",),
        (("compressed", "inflated"),),
        unit="By",
    ),
    Metric(
        "codecommit_exporter_event_lag_seconds",
        Kind.HISTOGRAM,
        "Time from an event to its commit, for events announced on the queue.",
        buckets=LAG_BUCKETS,
        unit="s",
    ),
    Metric(
        "codecommit_exporter_stage_seconds",
        Kind.HISTOGRAM,
        "Time that one step takes: receive (a call, waiting included), fetch, decode, commit "
        "(waiting for its group included), delete.",
        ("stage",),
        (STAGES,),
        STAGE_BUCKETS,
        unit="s",
    ),
    Metric(
        "codecommit_exporter_messages_in_hand",
        Kind.GAUGE,
        "Messages received and not yet deleted, left, postponed or released.",
        unit="{message}",
    ),
    Metric(
        "codecommit_exporter_log_files_in_hand",
        Kind.GAUGE,
        "Log files being fetched, decoded or committed.",
        unit="{file}",
    ),
    Metric(
        "codecommit_exporter_queue_messages",
        Kind.GAUGE,
        "About how many messages a queue holds, by state, asked every 30 seconds; dead_letter is "
        "its dead-letter queue, where that may be read.",
        ("queue", "state"),
        unit="{message}",
    ),
    Metric(
        "codecommit_exporter_queue_oldest_age_seconds",
        Kind.GAUGE,
        "Age of the oldest message received in the last minute, 0 when there was none.",
        ("queue",),
        unit="s",
    ),
    Metric(
        "codecommit_exporter_aws_requests_total",
        Kind.COUNTER,
        "Requests to AWS by the code of the answer.",
        ("service", "operation", "code"),
        unit="{request}",
    ),
    Metric(
        "codecommit_exporter_ledger_writable",
        Kind.GAUGE,
        "Whether the ledger's last write succeeded (1) or not (0).",
    ),
    Metric("codecommit_exporter_ledger_bytes", Kind.GAUGE, "Room the ledger takes.", unit="By"),
    Metric("codecommit_exporter_series", Kind.GAUGE, "Series the ledger holds.", unit="{series}"),
    Metric(
        "codecommit_exporter_repositories",
        Kind.GAUGE,
        "Repositories known, deleted ones too.",
        unit="{repository}",
    ),
    Metric(
        "codecommit_exporter_series_limit_hits_total",
        Kind.COUNTER,
        "How often a label became (other) because there were --metrics.max-repositories or "
        "--metrics.max-series already.",
        unit="{hit}",
    ),
    Metric(
        "codecommit_exporter_last_log_file_timestamp_seconds",
        Kind.GAUGE,
        "Delivery of the newest log file read, in seconds since 1970; 0 before the first.",
        unit="s",
    ),
    Metric(
        "codecommit_exporter_new_series_hold_seconds",
        Kind.GAUGE,
        "How long a new series is shown as 0: --metrics.new-series-hold.",
        unit="s",
    ),
    Metric(
        "codecommit_exporter_scrape_gap_seconds",
        Kind.GAUGE,
        "Longest time between two scrapes from one address in the last ten minutes; 0 before the "
        "second scrape. It should not be much more than half the hold: increases of new series may "
        "be missed when a scrape fails, or another scraper was first.",
        unit="s",
    ),
    Metric(
        "codecommit_exporter_otlp_exports_total",
        Kind.COUNTER,
        "Exports over OTLP by outcome: accepted, partial (some of it was rejected), failed.",
        ("signal", "outcome"),
        (SIGNALS, ("accepted", "partial", "failed")),
        unit="{export}",
    ),
    Metric(
        "codecommit_exporter_otlp_spans_dropped_total",
        Kind.COUNTER,
        "Spans lost: as many waited as may (OTEL_BSP_MAX_QUEUE_SIZE), or they were not accepted.",
        unit="{span}",
    ),
)
"""All of them, in the order of the page. ``process_*`` and ``python_*`` come from the library."""


class Telemetry:
    """
    Takes note of happenings. Each object has a registry and metrics of its own.

    ``begun_ms`` is when these began, in milliseconds since 1970. Where ``spans`` is set, the story
    of messages is told there as well.
    """

    spans: Spans | None = None

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.PlatformCollector(registry=self.registry)
        prometheus_client.GCCollector(registry=self.registry)
        self._now = now
        self.begun_ms = round(now() * 1000)
        self._metrics = {metric.name: _registered(metric, self.registry) for metric in METRICS}
        self._found: dict[tuple[str, ...], Any] = {}
        for service, operations in AWS_OPERATIONS.items():
            for operation, code in product(operations, sorted({*AWS_CODES.values(), OTHER})):
                self._metric("aws_requests_total", service, operation, code)
        self._last_said: dict[str, float] = {}
        self._left_out: dict[str, int] = {}
        self._ages: dict[str, deque[tuple[float, float]]] = {}
        self._newest_delivery_ms = 0
        self._told_of_seldom_scrapes = False

    def _metric(self, name: str, *labels: str) -> Any:
        """
        A metric, or the one series of it that has these label values.

        Each is looked up once: in the library that takes several times as long as counting.
        """
        found = self._found.get((name, *labels))
        if found is None:
            metric = self._metrics[f"codecommit_exporter_{name}"]
            found = self._found[name, *labels] = metric.labels(*labels) if labels else metric
        return found

    def _add(self, number: int, name: str, *labels: str) -> None:
        """
        Add to a counter what most files add nothing to.
        """
        if number:
            self._metric(name, *labels).inc(number)

    # Starting and stopping.

    def started(self, *, version: str, revision: str, python: str) -> None:
        self._metric("build_info", version, revision, python).set(1)
        say(logging.INFO, "Starting codecommit-exporter", version=version, revision=revision)

    def listening(self, address: str) -> None:
        say(logging.INFO, "Listening", address=address)

    def ledger_held_elsewhere(self, url: str) -> None:
        say(logging.WARNING, "Waiting: another process has the ledger open", ledger=url)

    def ledger_unwritable(self) -> None:
        say(logging.ERROR, "The ledger cannot be written: nothing more is received until it can")

    def ledger_writable(self) -> None:
        say(logging.INFO, "The ledger can be written again")

    def ledger_opened(self, url: str, ledger: Kept) -> None:
        self._metric("ledger_writable").set_function(lambda: float(ledger.writable))
        self._metric("ledger_bytes").set_function(lambda: ledger.bytes)
        self._metric("series").set_function(lambda: len(ledger.series))
        self._metric("repositories").set_function(lambda: len(ledger.known))
        say(logging.INFO, "The ledger is open", ledger=url, series=len(ledger.series))

    def ledger_moved_aside(self, path: Path, aside: Path) -> None:
        say(
            logging.ERROR,
            "The ledger is lost or damaged; what there is of it has been moved aside",
            ledger=path,
            now=aside.name,
        )

    def ledger_started_empty(self, path: Path, backups: object | None, rebuild: str | None) -> None:
        ignored = {"hint": f"There is nothing to {rebuild}: no ledger was lost."} if rebuild else {}
        say(
            logging.WARNING,
            "There is no ledger, and nothing says that there was one: starting an empty one",
            ledger=path,
            backups=backups or "none",
            **ignored,
        )

    def ledger_rebuilt(self, path: Path, rebuild: str) -> None:
        say(
            logging.WARNING,
            "The ledger was lost; an empty one takes its place, as asked for",
            ledger=path,
            rebuild=rebuild,
            hint="Take --ledger.rebuild out again: it would do the same the next time.",
        )

    def ledger_restored(self, path: Path, backup: str) -> None:
        say(logging.WARNING, "The ledger was lost and is restored", ledger=path, backup=backup)

    def backup_unusable(self, backup: str, error: ExporterError) -> None:
        say(logging.WARNING, "A backup cannot be used", backup=backup, error=error)

    def replay_begun(self, from_ms: int, *, counts: bool) -> ReplayProgress:
        if not counts:
            sentence = "Remembering all log files of the buckets, so as not to count them"
        elif not from_ms:
            sentence = "Counting all log files of the buckets"
        else:
            sentence = "Reading the log files that may have come since the ledger was copied"
        since = datetime.fromtimestamp(from_ms / 1000, UTC).isoformat(timespec="seconds")
        say(logging.INFO, sentence, stored_since=since)
        return ReplayProgress()

    def backed_up(self, backup: str) -> None:
        say(logging.INFO, "The ledger is backed up", to=backup)

    def backup_failed(self, error: ExporterError) -> None:
        self._say_seldom("The ledger is not backed up", error)

    def queue_joined(self, name: str) -> None:
        recent = self._ages[name] = deque(maxlen=RECENT_MESSAGES_MAX)
        self._metric("queue_oldest_age_seconds", name).set_function(
            lambda: self._oldest_age(recent)
        )

    def ready(self) -> None:
        say(logging.INFO, "Ready: the queue answers, log files are counted")

    def not_ready(self, error: ExporterError, *, retry_seconds: float) -> None:
        if (left_out := self._silence(f"not ready: {error}")) is not None:
            say(
                logging.ERROR,
                "Not ready, trying again",
                error=error,
                hint=error.hint,
                retry_seconds=round(retry_seconds, 1),
                **left_out,
            )

    def bucket_untold(self, bucket: str) -> None:
        say(
            logging.WARNING,
            "S3 will not say whether a bucket is there; its log files are tried",
            bucket=bucket,
            hint="Permission s3:ListBucket would tell; reading log files does not need it.",
        )

    def stopping(self, *, messages_in_hand: int) -> None:
        say(logging.INFO, "Stopping: finishing what is in hand", messages=messages_in_hand)

    def stopped(self) -> None:
        say(logging.INFO, "Stopped")

    # Messages.

    def message_in_hand(
        self, queue: str, message_id: str, body: str, receives: int, trace_header: str
    ) -> AbstractContextManager[object]:
        """
        The whole of one message, from its receipt to its end, for its span.
        """
        if self.spans is None:
            return _UNTOLD
        return self.spans.message(queue, message_id, body, receives, trace_header)

    def messages_received(
        self, queue: str, sent_ms: Sequence[int | None], trace_headers: Sequence[str] = ()
    ) -> None:
        """
        Some messages are in hand.

        ``sent_ms`` has the time each was first sent, and ``trace_headers`` what X-Ray says of its
        sender, if anything.
        """
        if self.spans:
            self.spans.received(queue, trace_headers)
        now = self._now()
        self._metric("messages_in_hand").inc(len(sent_ms))
        self._ages[queue].extend((now, max(0.0, now - sent / 1000)) for sent in sent_ms if sent)

    def notification_read(self, notification: Notification) -> None:
        outcome = "read" if notification.log_files or notification.inline else "acknowledged"
        self._metric("notifications_total", notification.envelope, outcome).inc()

    def message_deleted(self) -> None:
        self._message_ended("deleted")

    def message_released(self) -> None:
        self._message_ended("released")

    def message_postponed(self, error: ExporterError) -> None:
        self._message_ended("postponed", error)

    def renewal_failed(self, error: ExporterError) -> None:
        self._say_seldom("A message in hand could not be kept invisible", error)

    def message_left(self, message_id: str, error: BaseException) -> None:
        self._message_ended("left", error)
        if isinstance(error, Permanent) and type(error) in _REFUSED_ENVELOPES:
            envelope = _REFUSED_ENVELOPES[type(error)]
            self._metric("notifications_total", envelope, "refused").inc()
            self._metric("refused_total", error.reason).inc()
        if isinstance(error, _ERRORS_TOLD_BEFORE):
            return  # told when it happened
        self._say_seldom("A message is left on the queue", error, message_id=message_id)

    def _message_ended(self, outcome: str, error: BaseException | None = None) -> None:
        self._metric("messages_in_hand").dec()
        self._metric("messages_total", outcome).inc()
        if self.spans:
            self.spans.note(outcome=outcome)
            if error:
                self.spans.note(error_type=kind_of(error))

    def queue_failed(self, error: ExporterError, *, retry_seconds: float) -> None:
        self._say_seldom("The queue fails", error, retry_seconds=retry_seconds)

    def depth_seen(self, queue: str, messages: Mapping[str, int]) -> None:
        """
        About how many messages a queue holds, by state.
        """
        for state, number in messages.items():
            self._metric("queue_messages", queue, state).set(number)

    def dead_letters_seen(self, queue: str, messages: int) -> None:
        self._metric("queue_messages", queue, "dead_letter").set(messages)

    # Log files.

    def log_file_in_hand(self) -> AbstractContextManager[object]:
        in_hand: AbstractContextManager[object] = self._metric(
            "log_files_in_hand"
        ).track_inprogress()
        return in_hand

    def stage(self, name: str, **about: object) -> AbstractContextManager[object]:
        """
        Times one step, whether it succeeds or not; ``about`` is for its span.
        """
        timing = _Timing(self._metric("stage_seconds", name))
        return self.spans.step(name, timing, about) if self.spans else timing

    def entering(
        self, stage: str, context: AbstractAsyncContextManager[Entered], **about: object
    ) -> AbstractAsyncContextManager[Entered]:
        """
        Times how long it takes to enter a context, not what is done in it.
        """
        return _Entering(self.stage(stage, **about), context)

    def log_file_fetched(self, compressed_bytes: int) -> None:
        self._metric("log_file_bytes_total", "compressed").inc(compressed_bytes)
        if self.spans:
            self.spans.note(compressed_bytes=compressed_bytes)

    def log_file_ignored(self, kind: ObjectKind) -> None:
        self._metric("log_files_total", kind).inc()

    def decoded(self, decoded: Decoded) -> None:
        """
        Some records have been read, of a log file or from a message.
        """
        if self.spans:
            self.spans.note(
                events=len(decoded.events),
                kms_requests=len(decoded.kms_requests),
                invalid=decoded.invalid,
            )
        self._add(len(decoded.events), "records_total", "codecommit")
        self._add(len(decoded.kms_requests), "records_total", "kms")
        self._add(decoded.invalid, "records_invalid_total")

    def log_file_decoded(self, decoded: Decoded) -> None:
        self._metric("log_file_bytes_total", "inflated").inc(decoded.inflated_bytes)
        if self.spans:
            self.spans.note(inflated_bytes=decoded.inflated_bytes)
        self.decoded(decoded)

    def log_file_counted(self, reading: Reading, source: Source, tally: Tally) -> None:
        self._metric("log_files_total", _outcome(tally)).inc()
        self._counted(source, tally)
        if source is Source.QUEUE:
            self._observe_lag(tally.counted)
        self._newest_delivery_ms = max(self._newest_delivery_ms, reading.delivered_ms or 0)
        self._metric("last_log_file_timestamp_seconds").set(self._newest_delivery_ms / 1000)
        if LOG.isEnabledFor(logging.DEBUG):
            say(
                logging.DEBUG,
                "Log file counted",
                log_file=reading.log_file,
                events=len(tally.counted),
                kms_requests=tally.kms_requests,
                repeated=tally.repeated,
                late=tally.late,
            )

    def inline_counted(self, tally: Tally) -> None:
        self._counted(Source.INLINE, tally)

    def inline_failed(self, message_id: str, error: ExporterError) -> None:
        self._say_seldom("An inline event is not counted", error, message_id=message_id)

    def _counted(self, source: Source, tally: Tally) -> None:
        if self.spans:
            self.spans.note(counted=len(tally.counted), repeated=tally.repeated, late=tally.late)
        self._add(len(tally.counted), "events_counted_total", source)
        self._add(tally.repeated, "duplicate_events_total")
        self._add(tally.late, "late_events_total")
        self._add(tally.limit_hits, "series_limit_hits_total")
        if tally.limit_hits and (left_out := self._silence("limits")) is not None:
            say(
                logging.WARNING,
                "There are as many repositories or series as there may be: new ones are (other)",
                **left_out,
                hint="Raise --metrics.max-repositories or --metrics.max-series if Prometheus "
                "can take more.",
            )

    def log_file_failed(self, error: Exception, **fields: str) -> None:
        self._metric("log_files_total", "failed").inc()
        if isinstance(error, Permanent):
            self._metric("refused_total", error.reason).inc()
        self._say_seldom("A log file is not counted", error, **fields)

    def _observe_lag(self, events: Sequence[Event]) -> None:
        now = self._now()
        lag = self._metric("event_lag_seconds")
        for event in events:
            moment = usable_ms(event.time_ms, now * 1000)
            if moment is not None:
                lag.observe(max(0.0, now - moment / 1000))

    # The rest.

    def scrapes_watched(self, seconds: float, longest_gap: Callable[[], float]) -> None:
        """
        How long new series are held is known, and what tells how far apart scrapes are.
        """
        self._metric("new_series_hold_seconds").set(seconds)
        self._metric("scrape_gap_seconds").set_function(longest_gap)

    def scrapes_too_seldom(self, gap: float, hold: float) -> None:
        if self._told_of_seldom_scrapes:
            return
        self._told_of_seldom_scrapes = True
        say(
            logging.WARNING,
            "Two scrapes are too far apart: Prometheus may miss the first increase of new series",
            seconds=round(gap, 1),
            hold_seconds=hold,
            hint="Set --metrics.new-series-hold to twice the longest scrape interval or more.",
        )

    def aws_request(self, service: str, operation: str, code: str) -> None:
        known = AWS_CODES.get(code, OTHER)
        if operation in AWS_OPERATIONS.get(service, ()):
            self._metric("aws_requests_total", service, operation, known).inc()

    def release_failed(self, error: ExporterError) -> None:
        self._say_seldom("New series stay at 0 for now", error)

    # Over OTLP.

    def exporting(self, signal: str, endpoint: str) -> None:
        say(logging.INFO, f"Exporting {signal} over OTLP", endpoint=endpoint)

    def exports_too_seldom(self, interval: float, hold: float) -> None:
        say(
            logging.WARNING,
            "Two exports are too far apart: the first increase of new series may be missed",
            seconds=interval,
            hold_seconds=hold,
            hint="Set OTEL_METRIC_EXPORT_INTERVAL to half of --metrics.new-series-hold or less.",
        )

    def exported(self, signal: str) -> None:
        self._metric("otlp_exports_total", signal, "accepted").inc()

    def export_failed(self, signal: str, error: Exception) -> None:
        is_partial = isinstance(error, ExportRejected)
        self._metric("otlp_exports_total", signal, "partial" if is_partial else "failed").inc()
        extent = "accepted only in part" if is_partial else "not accepted"
        self._say_seldom(f"An export of {signal} over OTLP is {extent}", error)

    def variable_unknown(self, name: str) -> None:
        say(
            logging.WARNING,
            "A variable looks like one of OpenTelemetry's, and is not known here",
            variable=name,
        )

    def spans_dropped(self, number: int) -> None:
        self._metric("otlp_spans_dropped_total").inc(number)

    def _oldest_age(self, recent: deque[tuple[float, float]]) -> float:
        horizon = self._now() - RECENT_SECONDS
        while recent and recent[0][0] < horizon:
            recent.popleft()
        return max((age for _, age in recent), default=0.0)

    def _say_seldom(self, sentence: str, error: BaseException, **fields: object) -> None:
        """
        Log an error, unless the same was said of its kind less than a minute ago.

        Errors that nobody foresaw come with a traceback, and are of one kind.
        """
        topic = f"{sentence}: {error.reason}" if isinstance(error, ExporterError) else "unexpected"
        left_out = self._silence(topic)
        if left_out is None:
            return
        fields |= left_out
        if isinstance(error, ExporterError):
            say(logging.WARNING, sentence, **fields, error=error, hint=error.hint)
        else:
            LOG.error(sentence, exc_info=error, extra={"fields": fields})

    def _silence(self, topic: str) -> dict[str, int] | None:
        """
        How many lines of a topic were left out since its last one; None for one more of them.
        """
        now = self._now()
        if now - self._last_said.get(topic, float("-inf")) < QUIET_SECONDS:
            self._left_out[topic] = self._left_out.get(topic, 0) + 1
            return None
        self._last_said[topic] = now
        left_out = self._left_out.pop(topic, 0)
        return {"left_out": left_out} if left_out else {}


class _Timing:
    """
    Observes how long its block takes.
    """

    __slots__ = ("_begun", "_histogram")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *_error: object) -> None:
        self._histogram.observe(time.perf_counter() - self._begun)


class _Entering(AbstractAsyncContextManager[Entered]):
    """
    A context that is another, but for the time that entering it takes.
    """

    def __init__(
        self, timing: AbstractContextManager[object], context: AbstractAsyncContextManager[Entered]
    ) -> None:
        self._timing = timing
        self._context = context

    async def __aenter__(self) -> Entered:
        with self._timing:
            return await self._context.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._context.__aexit__(kind, error, traceback)


class ReplayProgress:
    """
    Tells now and then how far a replay is.
    """

    def __init__(self) -> None:
        self._begun = self._told = time.monotonic()
        self._files_to_read = 0
        self._files_read = 0

    def found(self, files: int) -> None:
        if self._is_due():
            say(logging.INFO, "Listing log files", found=files)

    def to_read(self, files: int) -> None:
        self._begun = time.monotonic()
        self._files_to_read = files
        say(logging.INFO, "Reading log files that the ledger does not know", log_files=files)

    def read(self) -> None:
        self._files_read += 1
        if self._is_due():
            rate = self._files_read / (time.monotonic() - self._begun)
            rest = self._files_to_read - self._files_read
            say(
                logging.INFO,
                "Reading log files",
                read=self._files_read,
                of=self._files_to_read,
                a_second=round(rate, 1),
                seconds_left=round(rest / rate),
            )

    def ended(self) -> None:
        say(logging.INFO, "The ledger has caught up", log_files=self._files_read)

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now - self._told < PROGRESS_SECONDS:
            return False
        self._told = now
        return True


def _outcome(tally: Tally) -> str:
    if tally.counted or tally.kms_requests:
        return "counted"
    return "repeated" if tally.repeated or tally.late else "no_codecommit"


def _registered(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    """
    The metric as a library object, with every combination of its closed label values.
    """
    made: Counter | Gauge | Histogram
    if metric.kind is Kind.HISTOGRAM:
        made = Histogram(
            metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry
        )
    else:
        kind = Counter if metric.kind is Kind.COUNTER else Gauge
        made = kind(metric.name, metric.help, metric.labels, registry=registry)
    for values in product(*metric.values) if metric.values else ():
        made.labels(*values)
    return made
