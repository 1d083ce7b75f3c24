"""
What the exporter says of itself: metrics that are there from the start, lines said seldom.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from itertools import product

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter.cloudtrail import Decoded
from exporter.codecommit import Event, event
from exporter.errors import (
    ConfigError,
    ExporterError,
    ForeignMessage,
    InlineEvent,
    LedgerUnavailable,
    LogFileDenied,
    LogFileMissing,
    LogFileUnavailable,
    MalformedLogFile,
    Permanent,
    QueueDenied,
    QueueUnavailable,
    RefusedBucket,
    Transient,
    UnreadableMessage,
)
from exporter.families import Kind
from exporter.keys import ObjectKind
from exporter.ledger.memory import MemoryLedger
from exporter.logs import LOG
from exporter.notifications import Envelope, InlineRecord, LogFile, Notification
from exporter.tally import Reading, Tally
from exporter.telemetry import (
    AWS_CODES,
    AWS_OPERATIONS,
    IGNORED_KINDS,
    METRICS,
    OTHER,
    QUIET_SECONDS,
    RECENT_MESSAGES_MAX,
    STAGES,
    Metric,
    Source,
    Telemetry,
)
from tests import records
from tests.fakes import Clock, sample
from tests.processes import Page

FILE = LogFile("trail", "one.json.gz")
OPEN_SETS = {"build_info", "queue_messages", "queue_oldest_age_seconds"}
"""Metrics whose labels are known only once the program runs."""

UNITS = ("_seconds", "_bytes", "_total", "_info")
COUNTS = {
    "codecommit_exporter_messages_in_hand",
    "codecommit_exporter_log_files_in_hand",
    "codecommit_exporter_queue_messages",
    "codecommit_exporter_ledger_writable",
    "codecommit_exporter_series",
    "codecommit_exporter_repositories",
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> Telemetry:
    return Telemetry(now=clock)


class Lines(logging.Handler):
    """
    Keeps what is said.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    """
    The lines that have been said, as they come.
    """
    handler, level = Lines(), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.DEBUG)
    yield handler.records
    LOG.setLevel(level)
    LOG.removeHandler(handler)


def told(telemetry: Telemetry, name: str, **labels: str) -> float:
    return sample(telemetry.registry, f"codecommit_exporter_{name}", **labels)


def fields(line: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = vars(line)["fields"]
    return found


def every_error(kind: type[ExporterError] = ExporterError) -> Iterator[type[ExporterError]]:
    """
    Every kind of error that is raised, below the given one in the tree.
    """
    for child in kind.__subclasses__():
        if child not in {Permanent, Transient}:
            yield child
        yield from every_error(child)


def decoded(*written: records.Record, invalid: int = 0) -> Decoded:
    return Decoded(tuple(map(event, written)), (), invalid, 1000)


def reading(delivered_ms: int | None = None) -> Reading:
    return Reading(FILE, delivered_ms)


def tally(*counted: Event, repeated: int = 0, late: int = 0) -> Tally:
    return Tally(counted=list(counted), repeated=repeated, late=late)


class Notes:
    """
    Takes note of what is noted of spans, in the place of those.
    """

    def __init__(self) -> None:
        self.noted: list[dict[str, object]] = []

    def step(
        self, name: str, timing: AbstractContextManager[object], about: Mapping[str, object]
    ) -> AbstractContextManager[object]:
        self.noted.append({"step": name, **about})
        return timing

    def received(self, queue: str, trace_headers: Sequence[str]) -> None:
        self.noted.append({"queue": queue, "trace_headers": trace_headers})

    def message(self, *told: object) -> AbstractContextManager[object]:
        self.noted.append({"message": told})
        return nullcontext()

    def note(self, **attributes: object) -> None:
        self.noted.append(attributes)


# What is declared.


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_keeps_to_the_conventions(metric: Metric) -> None:
    """
    Prefix, snake_case, a base unit at the end, ``_total`` on counters alone, a sentence of help.
    """
    assert re.fullmatch(r"codecommit_exporter(_[a-z]+)+", metric.name)
    assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
    assert metric.name.endswith(UNITS) or metric.name in COUNTS
    assert re.fullmatch(r"[A-Z][^\n]+[^\s.]\.?", metric.help)
    assert metric.help.endswith(".")
    assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels)
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert len(metric.values) in {0, len(metric.labels)}


def test_names_are_declared_once() -> None:
    """
    No two metrics share a name.
    """
    names = [metric.name for metric in METRICS]

    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_label_value_is_there_from_the_start(telemetry: Telemetry, metric: Metric) -> None:
    """
    Each combination of a closed set is on the page at 0 before anything has happened.
    """
    short = metric.name.removeprefix("codecommit_exporter_")
    if short == "aws_requests_total":
        codes = {*AWS_CODES.values(), OTHER}
        combinations: list[tuple[str, ...]] = [
            (service, operation, code)
            for service, operations in AWS_OPERATIONS.items()
            for operation, code in product(operations, codes)
        ]
    elif short in OPEN_SETS:
        combinations = []
    else:
        combinations = list(product(*metric.values))
        assert combinations
    part = "_count" if metric.kind is Kind.HISTOGRAM else ""

    assert [0.0] * len(combinations) == [
        told(telemetry, short + part, **dict(zip(metric.labels, values, strict=True)))
        for values in combinations
    ]


def test_the_reasons_of_refusal_are_the_permanent_errors(telemetry: Telemetry) -> None:
    """
    Whatever can be refused is at 0 from the start, and nothing else.
    """
    (refused,) = (
        family
        for family in telemetry.registry.collect()
        if family.name == "codecommit_exporter_refused"
    )

    assert {kind.reason for kind in every_error(Permanent)} == {
        sample.labels["reason"] for sample in refused.samples
    }


def test_every_error_has_a_reason_and_a_hint_of_its_own() -> None:
    """
    A reason names one kind of error; what is left to a person says what to do.
    """
    reasons = [kind.reason for kind in every_error()]

    assert sorted(set(reasons)) == sorted(reasons)
    assert [ConfigError] == [kind for kind in every_error() if not kind.hint]


def test_an_error_may_have_a_hint_of_its_own() -> None:
    """
    It takes the place of its kind's, even where there is nothing to be done.
    """
    errors = [LedgerUnavailable("no", hint=hint) for hint in (None, "", "Start anew.")]

    assert ["no"] * 3 == [str(error) for error in errors]
    assert [LedgerUnavailable.hint, "", "Start anew."] == [error.hint for error in errors]


def test_the_page_has_no_created_series(telemetry: Telemetry) -> None:
    """
    Times of creation would double the page and mean nothing for counters kept in memory.
    """
    telemetry.message_deleted()

    assert b"_created" not in generate_latest(telemetry.registry)
    assert b"_created" not in generate_openmetrics(telemetry.registry)  # type: ignore[no-untyped-call]


def test_the_process_is_part_of_the_page(telemetry: Telemetry) -> None:
    """
    The library's metrics of process and interpreter come along.
    """
    page = Page(generate_latest(telemetry.registry).decode(), "text/plain")

    assert {"process_start_time_seconds", "process_open_fds", "python_info"} <= set(page.families)


def test_two_objects_share_nothing(telemetry: Telemetry) -> None:
    """
    Each has a registry and metrics of its own.
    """
    telemetry.message_deleted()

    assert 0 == told(Telemetry(), "messages_total", outcome="deleted")


# What happens.


def test_a_start_is_told(telemetry: Telemetry, lines: list[logging.LogRecord]) -> None:
    """
    The build is a metric and a line.
    """
    telemetry.started(version="1.2.3", revision="abcdef0", python="3.11.7")

    assert 1 == told(telemetry, "build_info", version="1.2.3", revision="abcdef0", python="3.11.7")
    assert {"version": "1.2.3", "revision": "abcdef0"} == fields(lines[0])


def test_the_ledger_is_asked_at_each_scrape(telemetry: Telemetry) -> None:
    """
    Its gauges show what it says at that moment.
    """
    ledger = MemoryLedger()
    telemetry.ledger_opened("memory:", ledger)
    before = told(telemetry, "series"), told(telemetry, "repositories")
    ledger.count(Reading(FILE, None, decoded(records.api_call("PutFile", "tools")).events))

    assert (0, 0) == before
    assert (3, 1) == (told(telemetry, "series"), told(telemetry, "repositories"))
    assert 1 == told(telemetry, "ledger_writable")
    assert 0 == told(telemetry, "ledger_bytes")


@pytest.mark.parametrize(
    "sentence",
    [
        "Stopped",
        "Ready",
        "Listening",
        "Waiting",
        "Stopping",
        "The ledger cannot be written",
        "The ledger can be written again",
    ],
)
def test_what_happens_once_is_said_each_time(
    telemetry: Telemetry, lines: list[logging.LogRecord], sentence: str
) -> None:
    """
    Such lines are never left out.
    """
    speak: dict[str, Callable[[], None]] = {
        "Stopped": telemetry.stopped,
        "Ready": telemetry.ready,
        "Listening": lambda: telemetry.listening("http://127.0.0.1:1"),
        "Waiting": lambda: telemetry.ledger_held_elsewhere("ledger.db"),
        "Stopping": lambda: telemetry.stopping(messages_in_hand=3),
        "The ledger cannot be written": telemetry.ledger_unwritable,
        "The ledger can be written again": telemetry.ledger_writable,
    }
    speak[sentence]()
    speak[sentence]()

    assert [True, True] == [line.getMessage().startswith(sentence) for line in lines]


def test_what_stands_in_the_way_is_said_with_a_hint(
    telemetry: Telemetry, lines: list[logging.LogRecord]
) -> None:
    """
    A start that has to wait names the obstacle and what a person can do.
    """
    telemetry.not_ready(QueueDenied("queue q: no"), retry_seconds=1.234)
    telemetry.bucket_untold("trail")

    said = [str(one) for one in fields(lines[0]).values()]

    assert ["queue q: no", QueueDenied.hint, "1.2"] == said
    assert "trail" == fields(lines[1])["bucket"]


def test_messages_are_in_hand_until_they_end(telemetry: Telemetry) -> None:
    """
    Each message that is received ends as one of the outcomes, and leaves the hand.
    """
    telemetry.queue_joined("q")
    telemetry.messages_received("q", [None] * 5)
    in_hand = told(telemetry, "messages_in_hand")
    telemetry.message_deleted()
    telemetry.message_released()
    telemetry.message_postponed(LogFileUnavailable("s3://trail/a"))
    telemetry.message_left("one", LogFileMissing("gone"))
    telemetry.message_left("two", ForeignMessage("is none"))

    assert 5 == in_hand
    assert 0 == told(telemetry, "messages_in_hand")
    assert {"deleted": 1, "released": 1, "postponed": 1, "left": 2} == {
        outcome: told(telemetry, "messages_total", outcome=outcome)
        for outcome in ("deleted", "released", "postponed", "left")
    }


def test_spans_are_told_what_metrics_are(telemetry: Telemetry) -> None:
    """
    What was received, found and counted, and how each message ended and why.
    """
    notes = telemetry.spans = Notes()
    telemetry.queue_joined("q")
    telemetry.messages_received("q", [None], ["Root=1"])
    with telemetry.message_in_hand("q", "m-1", "{}", 2, "Root=1"), telemetry.stage("fetch", a=1):
        telemetry.log_file_fetched(7)
    telemetry.log_file_decoded(decoded(records.api_call("PutFile", "tools"), invalid=3))
    telemetry.log_file_counted(reading(), Source.QUEUE, tally(repeated=2, late=1))
    telemetry.message_deleted()
    telemetry.message_postponed(LogFileMissing("gone"))
    telemetry.message_left("m-3", KeyError("odd"))

    assert [
        {"queue": "q", "trace_headers": ["Root=1"]},
        {"message": ("q", "m-1", "{}", 2, "Root=1")},
        {"step": "fetch", "a": 1},
        {"compressed_bytes": 7},
        {"inflated_bytes": 1000},
        {"events": 1, "kms_requests": 0, "invalid": 3},
        {"counted": 0, "repeated": 2, "late": 1},
        {"outcome": "deleted"},
        {"outcome": "postponed"},
        {"error_type": "log_file_missing"},
        {"outcome": "left"},
        {"error_type": "KeyError"},
    ] == notes.noted


@pytest.mark.parametrize(
    ("error", "envelope"),
    [
        (ForeignMessage("is none"), "unknown"),
        (UnreadableMessage("is torn"), "unknown"),
        (InlineEvent("is not asked for"), "eventbridge_cloudtrail"),
    ],
)
def test_a_refused_message_is_a_refused_notification(
    telemetry: Telemetry, error: Permanent, envelope: str
) -> None:
    """
    It counts among the notifications, by its envelope if that is known, and the refusals.
    """
    telemetry.message_left("one", error)

    assert 1 == told(telemetry, "notifications_total", envelope=envelope, outcome="refused")
    assert 1 == told(telemetry, "refused_total", reason=error.reason)


@pytest.mark.parametrize(
    ("notification", "outcome"),
    [
        (Notification(Envelope.S3, (FILE,)), "read"),
        (Notification(Envelope.S3), "acknowledged"),
        (Notification(Envelope.S3_TEST), "acknowledged"),
        (
            Notification(Envelope.EVENTBRIDGE_CLOUDTRAIL, inline=InlineRecord(b"{}")),
            "read",
        ),
    ],
    ids=["files", "no_files", "test", "inline"],
)
def test_a_notification_counts_by_what_comes_of_it(
    telemetry: Telemetry, notification: Notification, outcome: str
) -> None:
    """
    One that announces log files is read, any other acknowledged.
    """
    telemetry.notification_read(notification)

    assert 1 == told(
        telemetry, "notifications_total", envelope=notification.envelope, outcome=outcome
    )


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (tally(), "no_codecommit"),
        (tally(event(records.record("PutFile"))), "counted"),
        (tally(repeated=1), "repeated"),
        (tally(late=1), "repeated"),
        (Tally(kms_requests=1), "counted"),
        (tally(event(records.record("PutFile")), repeated=1), "counted"),
    ],
    ids=["none", "new", "known", "late", "kms", "some_new"],
)
@pytest.mark.parametrize("source", [Source.QUEUE, Source.RECONCILE])
def test_a_log_file_counts_by_what_was_in_it(
    telemetry: Telemetry, result: Tally, outcome: str, source: Source
) -> None:
    """
    A file has new events, only known ones, or none at all, however it was found.
    """
    telemetry.log_file_counted(reading(), source, result)

    assert {outcome: 1} == {
        one: number
        for one in ("counted", "repeated", "no_codecommit", "failed")
        if (number := told(telemetry, "log_files_total", outcome=one))
    }
    assert {one: len(result.counted) if one is source else 0 for one in Source} == {
        one: told(telemetry, "events_counted_total", source=one) for one in Source
    }
    assert result.repeated == told(telemetry, "duplicate_events_total")


def test_only_what_the_queue_announced_has_a_lag(telemetry: Telemetry, clock: Clock) -> None:
    """
    A file that is looked for long afterwards tells nothing of how fast files are counted.
    """
    clock.seconds = time.time()
    telemetry.log_file_counted(reading(), Source.RECONCILE, tally(event(records.record("PutFile"))))

    assert 0 == told(telemetry, "event_lag_seconds_count")


def test_an_inline_event_counts_as_one(telemetry: Telemetry) -> None:
    """
    It is no log file's, and its lag is nobody's concern.
    """
    once = event(records.record("PutFile"))
    telemetry.decoded(decoded(records.record("PutFile")))
    telemetry.inline_counted(tally(once, repeated=2))

    assert 1 == told(telemetry, "events_counted_total", source="inline")
    assert 0 == told(telemetry, "events_counted_total", source="queue")
    assert 2 == told(telemetry, "duplicate_events_total")
    assert 1 == told(telemetry, "records_total", service="codecommit")
    assert 0 == told(telemetry, "log_files_total", outcome="counted")
    assert 0 == told(telemetry, "event_lag_seconds_count")


@pytest.mark.parametrize("kind", IGNORED_KINDS)
def test_what_is_no_log_file_is_told_by_its_kind(telemetry: Telemetry, kind: ObjectKind) -> None:
    """
    Each kind of object that is not fetched has an outcome of its own.
    """
    telemetry.log_file_ignored(kind)

    assert 1 == told(telemetry, "log_files_total", outcome=kind)


def test_a_limit_that_is_hit_is_told_once_a_minute(
    telemetry: Telemetry, lines: list[logging.LogRecord]
) -> None:
    """
    Every hit moves the metric, one a minute is logged with what to do.
    """
    for _ in range(3):
        telemetry.log_file_counted(reading(), Source.QUEUE, Tally(limit_hits=2))

    assert 6 == told(telemetry, "series_limit_hits_total")
    (line,) = [line for line in lines if line.levelno == logging.WARNING]
    assert "--metrics.max-series" in vars(line)["fields"]["hint"]


def test_late_events_are_told(telemetry: Telemetry) -> None:
    """
    What is not counted for its age shows.
    """
    telemetry.log_file_counted(reading(), Source.QUEUE, tally(late=3))

    assert 3 == told(telemetry, "late_events_total")


def test_what_was_decoded_is_told(telemetry: Telemetry) -> None:
    """
    Our records, those that could not be read, and bytes on both sides of the inflating.
    """
    telemetry.log_file_fetched(100)
    telemetry.log_file_decoded(decoded(records.record("PutFile"), invalid=2))

    assert 100 == told(telemetry, "log_file_bytes_total", stage="compressed")
    assert 1000 == told(telemetry, "log_file_bytes_total", stage="inflated")
    assert 0 == told(telemetry, "records_total", service="kms")
    assert 1 == told(telemetry, "records_total", service="codecommit")
    assert 2 == told(telemetry, "records_invalid_total")


def test_the_lag_of_an_event(telemetry: Telemetry, clock: Clock) -> None:
    """
    Time from event to commit: never negative, not observed where the event's is not usable.
    """
    clock.seconds = 1_790_000_000.0
    events = [
        event(records.record("PutFile", eventTime=moment))
        for moment in (
            "2026-09-21T14:11:40Z",
            "2026-09-21T14:15:00Z",
            "2031-01-01T00:00:00Z",
            "yesterday",
        )
    ]
    telemetry.log_file_counted(reading(), Source.QUEUE, tally(*events))

    assert 2 == told(telemetry, "event_lag_seconds_count")
    assert 100 == told(telemetry, "event_lag_seconds_sum")
    assert 1 == told(telemetry, "event_lag_seconds_bucket", le="60.0")
    assert 2 == told(telemetry, "event_lag_seconds_bucket", le="120.0")


def test_the_newest_delivery_stays(telemetry: Telemetry) -> None:
    """
    An older file that comes later does not move the time back, nor one without a time.
    """
    moments = []
    for delivered_ms in (1_790_000_000_500, 1_780_000_000_000, None):
        telemetry.log_file_counted(reading(delivered_ms), Source.QUEUE, tally())
        moments.append(told(telemetry, "last_log_file_timestamp_seconds"))

    assert [1_790_000_000.5] * 3 == moments


@pytest.mark.parametrize("kind", list(every_error()), ids=lambda kind: kind.reason)
def test_a_failed_log_file_is_refused_only_for_good(
    telemetry: Telemetry, kind: type[ExporterError]
) -> None:
    """
    Every failure counts as failed; what trying again cannot mend counts as refused too.
    """
    telemetry.log_file_failed(kind("what happened"), message_id="one")
    refused = telemetry.registry.get_sample_value(
        "codecommit_exporter_refused_total", {"reason": kind.reason}
    )

    assert 1 == told(telemetry, "log_files_total", outcome="failed")
    assert (1 if issubclass(kind, Permanent) else None) == refused


def test_a_log_file_is_in_hand_for_as_long_as_it_takes(telemetry: Telemetry) -> None:
    """
    Also where it ends badly.
    """
    with pytest.raises(KeyError), telemetry.log_file_in_hand():  # noqa: PT012 - looks inside
        in_hand = told(telemetry, "log_files_in_hand")
        raise KeyError

    assert (1, 0) == (in_hand, told(telemetry, "log_files_in_hand"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_step_is_timed_whether_it_succeeds_or_not(telemetry: Telemetry, stage: str) -> None:
    """
    A step that fails after a minute is a minute that somebody waited.
    """
    with telemetry.stage(stage):
        pass
    with pytest.raises(KeyError), telemetry.stage(stage):
        raise KeyError

    assert 2 == told(telemetry, "stage_seconds_count", stage=stage)


async def test_entering_is_timed_not_what_follows(telemetry: Telemetry) -> None:
    """
    The time of a fetch ends when the body is there; the body is let go of all the same.
    """
    story: list[str] = []

    @asynccontextmanager
    async def body() -> AsyncIterator[str]:
        story.append(f"opened {told(telemetry, 'stage_seconds_count', stage='fetch'):g}")
        yield "content"
        story.append("closed")

    async with telemetry.entering("fetch", body()) as entered:
        story.append(f"{entered} {told(telemetry, 'stage_seconds_count', stage='fetch'):g}")

    assert ["opened 0", "content 1", "closed"] == story


def test_the_depth_of_a_queue_is_told(telemetry: Telemetry) -> None:
    """
    Messages by queue and state, dead letters among them.
    """
    telemetry.depth_seen("q", {"visible": 3, "in_flight": 2, "delayed": 0})
    telemetry.dead_letters_seen("q", 7)

    assert [3, 2, 0, 7] == [
        told(telemetry, "queue_messages", queue="q", state=state)
        for state in ("visible", "in_flight", "delayed", "dead_letter")
    ]


def test_the_oldest_message_of_the_last_minute(telemetry: Telemetry, clock: Clock) -> None:
    """
    The greatest age among messages received lately, 0 when there were none.
    """
    telemetry.queue_joined("q")
    start = clock.seconds
    ages = [told(telemetry, "queue_oldest_age_seconds", queue="q")]
    for after, sent in ((0, start - 500), (30, start), (50, None)):
        clock.seconds = start + after
        telemetry.messages_received("q", [round(sent * 1000) if sent else None])
        ages.append(told(telemetry, "queue_oldest_age_seconds", queue="q"))
    for after in (61, 91):
        clock.seconds = start + after
        ages.append(told(telemetry, "queue_oldest_age_seconds", queue="q"))

    assert [0, 500, 500, 500, 30, 0] == ages


def test_a_message_from_the_future_has_no_age(telemetry: Telemetry, clock: Clock) -> None:
    """
    A clock that is behind SQS's makes no negative age.
    """
    telemetry.queue_joined("q")
    telemetry.messages_received("q", [round(clock.seconds + 5) * 1000])

    assert 0 == told(telemetry, "queue_oldest_age_seconds", queue="q")


def test_recent_messages_are_bounded(telemetry: Telemetry, clock: Clock) -> None:
    """
    A flood of messages does not pile up; the latest ones tell the age.
    """
    telemetry.queue_joined("q")
    sent_ms = round(clock.seconds * 1000) - 1000
    telemetry.messages_received("q", [sent_ms - 1000] + [sent_ms] * RECENT_MESSAGES_MAX)

    assert 1 == told(telemetry, "queue_oldest_age_seconds", queue="q")


@pytest.mark.parametrize(
    ("code", "known"),
    [
        ("ok", "ok"),
        ("no_answer", "no_answer"),
        ("AccessDenied", "access_denied"),
        ("AccessDeniedException", "access_denied"),
        ("403", "access_denied"),
        ("NoSuchKey", "not_found"),
        ("404", "not_found"),
        ("AWS.SimpleQueueService.NonExistentQueue", "not_found"),
        ("QueueDoesNotExist", "not_found"),
        ("SlowDown", "throttled"),
        ("ThrottlingException", "throttled"),
        ("InternalError", "server_error"),
        ("503", "server_error"),
        ("ExpiredToken", "credentials"),
        ("SomethingNew", "other"),
        ("", "other"),
    ],
)
def test_a_code_of_aws_becomes_a_known_one(telemetry: Telemetry, code: str, known: str) -> None:
    """
    AWS's codes are an open set; the label's values are not.
    """
    telemetry.aws_request("sqs", "ReceiveMessage", code)

    assert 1 == told(
        telemetry, "aws_requests_total", service="sqs", operation="ReceiveMessage", code=known
    )


@pytest.mark.parametrize(("service", "operation"), [("sts", "AssumeRole"), ("s3", "PutObject")])
def test_other_requests_make_no_series(telemetry: Telemetry, service: str, operation: str) -> None:
    """
    A request that the program does not make itself adds nothing to the closed set.
    """
    before = generate_latest(telemetry.registry).count(b"aws_requests_total{")
    telemetry.aws_request(service, operation, "ok")

    assert before == generate_latest(telemetry.registry).count(b"aws_requests_total{")


# What is said.


def test_what_can_happen_often_is_said_once_a_minute(
    telemetry: Telemetry, clock: Clock, lines: list[logging.LogRecord]
) -> None:
    """
    The next line after a quiet minute tells how many have been left out.
    """
    for seconds in (0, 1, 59.9, 60, 61, 120):
        clock.seconds = 1_790_000_000 + seconds
        telemetry.log_file_failed(
            MalformedLogFile("s3://b/k is no JSON"), message_id=f"at {seconds:g}"
        )

    assert QUIET_SECONDS == 60
    assert [("at 0", None), ("at 60", 2), ("at 120", 1)] == [
        (fields(line)["message_id"], fields(line).get("left_out")) for line in lines
    ]
    assert 6 == told(telemetry, "log_files_total", outcome="failed")
    assert {logging.WARNING} == {line.levelno for line in lines}


def test_a_line_has_the_error_and_its_hint(
    telemetry: Telemetry, lines: list[logging.LogRecord]
) -> None:
    """
    What happened, to what, and what a person can do.
    """
    telemetry.log_file_failed(MalformedLogFile("s3://b/k is no JSON"), message_id="one")
    telemetry.queue_failed(QueueUnavailable("queue q: timeout"), retry_seconds=2.5)

    assert {
        "message_id": "one",
        "error": "s3://b/k is no JSON",
        "hint": MalformedLogFile.hint,
    } == {name: str(value) for name, value in fields(lines[0]).items()}
    assert 2.5 == fields(lines[1])["retry_seconds"]
    assert "queue q: timeout" == str(fields(lines[1])["error"])


def test_one_kind_of_trouble_does_not_hide_another(
    telemetry: Telemetry, lines: list[logging.LogRecord]
) -> None:
    """
    Each kind of error, and each thing it happens to, has a minute of its own.
    """
    for _ in range(3):
        telemetry.log_file_failed(MalformedLogFile("is no JSON"), message_id="one")
        telemetry.log_file_failed(LedgerUnavailable("the disk is full"), message_id="one")
        telemetry.log_file_failed(LogFileMissing("gone"), message_id="one")
        telemetry.log_file_failed(LogFileDenied("no"), message_id="one")
        telemetry.renewal_failed(QueueUnavailable("no answer"))
        telemetry.release_failed(LedgerUnavailable("the disk is full"))
        telemetry.queue_failed(QueueUnavailable("no answer"), retry_seconds=1)
        telemetry.message_left("two", QueueUnavailable("no answer"))

    assert [
        *["A log file is not counted"] * 4,
        "A message in hand could not be kept invisible",
        "New series stay at 0 for now",
        "The queue fails",
        "A message is left on the queue",
    ] == [line.getMessage() for line in lines]


@pytest.mark.parametrize(
    "error", [LogFileMissing("gone"), RefusedBucket("no"), LedgerUnavailable("full")]
)
def test_a_files_error_is_not_said_again_of_its_message(
    telemetry: Telemetry, lines: list[logging.LogRecord], error: ExporterError
) -> None:
    """
    The message that is left for a file's sake is told by the file's line.
    """
    telemetry.log_file_failed(error, message_id="one")
    telemetry.message_left("one", error)

    assert ["A log file is not counted"] == [line.getMessage() for line in lines]


def test_a_fault_nobody_foresaw_has_its_traceback_once_a_minute(
    telemetry: Telemetry, clock: Clock, lines: list[logging.LogRecord]
) -> None:
    """
    Whatever kind of fault, of file or message: one traceback a minute, and the number left out.
    """
    for seconds in (0, 30, 60):
        clock.seconds = 1_790_000_000 + seconds
        for fault in (ZeroDivisionError(), KeyError("surprise")):
            telemetry.log_file_failed(fault, message_id="one")
            telemetry.message_left("one", fault)

    assert [(logging.ERROR, None), (logging.ERROR, 7)] == [
        (line.levelno, fields(line).get("left_out")) for line in lines
    ]
    assert all(line.exc_info for line in lines)
    assert 6 == told(telemetry, "log_files_total", outcome="failed")


def test_a_counted_file_is_said_when_debugging_only(
    telemetry: Telemetry, lines: list[logging.LogRecord]
) -> None:
    """
    What happens thousands of times an hour is no information.
    """
    telemetry.log_file_counted(reading(), Source.QUEUE, tally())
    LOG.setLevel(logging.INFO)
    telemetry.log_file_counted(reading(), Source.QUEUE, tally())

    assert [(logging.DEBUG, FILE)] == [(line.levelno, fields(line)["log_file"]) for line in lines]


def test_scrapes_that_come_too_seldom_are_told_once(
    telemetry: Telemetry, clock: Clock, lines: list[logging.LogRecord]
) -> None:
    """
    With the gap and the hold, and what to do; never again, however long after.
    """
    for gap in (61.25, 90, 3600):
        telemetry.scrapes_too_seldom(gap, 120)
        clock.seconds += 10 * QUIET_SECONDS
    (line,) = lines

    assert logging.WARNING == line.levelno
    assert (61.2, 120) == (fields(line)["seconds"], fields(line)["hold_seconds"])
    assert "--metrics.new-series-hold" in str(fields(line)["hint"])


def test_the_hold_stands_beside_the_gap(telemetry: Telemetry) -> None:
    """
    The hold as it was set, the gap as it is at each scrape.
    """
    longest = [0.0]
    telemetry.scrapes_watched(120, lambda: longest[0])
    before = told(telemetry, "scrape_gap_seconds")
    longest[0] = 61

    assert 120 == told(telemetry, "new_series_hold_seconds")
    assert (0, 61) == (before, told(telemetry, "scrape_gap_seconds"))


@pytest.mark.parametrize("source", Source)
def test_events_are_counted_by_their_source(telemetry: Telemetry, source: Source) -> None:
    """
    Each source is there at 0 from the start, so that old events can be told from new ones.
    """
    page = generate_latest(telemetry.registry).decode()
    name = "codecommit_exporter_events_counted_total"
    telemetry.log_file_counted(reading(), source, tally(event(records.push("tools"))))

    assert f'{name}{{source="{source}"}} 0.0\n' in page
    assert {one: float(one is source) for one in Source} == {
        one: told(telemetry, "events_counted_total", source=one) for one in Source
    }
