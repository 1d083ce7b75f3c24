"""
Whether the exporter itself is well.
"""

from __future__ import annotations

from grafana.source.parts import INSTANCE, JOB, bars, board, graph, heat_map, stat
from grafana.source.promql import (
    combined,
    exporter,
    increase,
    ledger,
    measured,
    of_exporters,
    quantile,
    rate,
    shown,
    spread,
)

OWN = "codecommit_exporter"
STAGES = exporter(f"{OWN}_stage_seconds_bucket")
LAG = exporter(f"{OWN}_event_lag_seconds_bucket")
DELIVERY = ledger("codecommit_event_delivery_seconds_bucket")
QUEUE = exporter(f"{OWN}_queue_messages")
DEAD_LETTERS = exporter(f"{OWN}_queue_messages", 'state="dead_letter"')
FAILED_REQUESTS = exporter(f"{OWN}_aws_requests_total", 'code!="ok"')
NO_FAILURE = f'label_replace({rate(FAILED_REQUESTS)}, "code", "no failure", "code", "")'
PROCESSOR_TIME = f"rate({exporter('process_cpu_seconds_total')}[$__rate_interval])"
GAP = f"max({exporter(f'{OWN}_scrape_gap_seconds')})"
HOLD = f"min({exporter(f'{OWN}_new_series_hold_seconds')})"
EXPORTS = exporter(f"{OWN}_otlp_exports_total")
NEWEST_LOG_FILE = exporter(f"{OWN}_last_log_file_timestamp_seconds")


def each(metric: str) -> str:
    """
    A gauge of each exporter: several may share a ledger, so that a sum would say nothing.
    """
    return combined("max", exporter(metric), "instance")


def times(metric: str, *by: str) -> str:
    """
    How often it happened in the time range, whole; no 0 where no exporter was there to tell.
    """
    return f"round({increase(exporter(metric), *by)})"


HEALTH = board(
    "exporter",
    "CodeCommit / Exporter",
    "Whether codecommit-exporter is well: does it keep up, what does it refuse, what does it cost.",
    (JOB, INSTANCE),
    {
        "Is it up, and can what it shows be trusted?": [
            stat(
                "Exporters that are up",
                "How many exporters Prometheus could scrape last time.",
                shown(combined("sum", of_exporters(exporter("up")))),
            ),
            stat(
                "Age of the newest log file",
                "How long ago CloudTrail delivered the newest log file that was read. It grows "
                "where nothing is delivered, announced or read.",
                measured(f"time() - (max({NEWEST_LOG_FILE}) > 0)"),
                unit="s",
            ),
            stat(
                "Ledger writable",
                "1: what is counted is kept. 0: the last write failed, and nothing more is "
                "received until one succeeds.",
                f"min({exporter(f'{OWN}_ledger_writable')})",
                unit="bool_yes_no",
                good_from=1,
            ),
            stat(
                "Dead letters",
                "Messages that were left too often and wait in the fullest dead-letter queue, "
                "which several queues may share: log files that are not counted. none: there is "
                "no dead-letter queue, or it may not be read.",
                measured(combined("max", DEAD_LETTERS)),
                bad_from=1,
            ),
            stat(
                "Refused for good",
                "How often in the time range a message or a log file was refused that can never "
                "be counted. It is refused again each time it is received: five times where the "
                "queue's maxReceiveCount is 5.",
                times(f"{OWN}_refused_total"),
                bad_from=1,
            ),
            stat(
                "Limit on series hit",
                "How often in the time range a label became (other) because there are too many "
                "repositories or series.",
                times(f"{OWN}_series_limit_hits_total"),
                bad_from=1,
            ),
        ],
        "How far is it behind?": [
            heat_map(
                "From event to count",
                "How long after it happened an event was counted, CloudTrail's own delay included: "
                "each column is a moment, each field a span of delay, the darker the more events a "
                "minute.",
                spread(LAG),
            ),
            graph(
                "Delay of CloudTrail and delay until counted",
                "The delay that half of the events, and nine in ten, stay below: until CloudTrail "
                "has delivered them (all events), and until they are counted (those announced on "
                "the queue). What lies between is the exporter's own delay, except while it also "
                "counts old log files. The first is of all the job counts, whatever the instance.",
                {
                    "Delivered, half": measured(quantile(0.5, rate(DELIVERY, "le"))),
                    "Delivered, nine in ten": measured(quantile(0.9, rate(DELIVERY, "le"))),
                    "Counted, half": quantile(0.5, rate(LAG, "le")),
                    "Counted, nine in ten": quantile(0.9, rate(LAG, "le")),
                },
                unit="s",
            ),
            graph(
                "Messages on the queue",
                "About how many messages wait (visible), are being worked on (in_flight), come "
                "back later (delayed) or have been given up (dead_letter).",
                {"{{queue}}, {{state}}": combined("max", QUEUE, "queue", "state")},
                unit="short",
                width=8,
            ),
            graph(
                "Age of the oldest message",
                "Age of the oldest message received in the last minute; 0 where there was none.",
                {
                    "{{queue}}": combined(
                        "max", exporter(f"{OWN}_queue_oldest_age_seconds"), "queue"
                    )
                },
                unit="s",
                width=8,
            ),
            graph(
                "In hand",
                "Messages received and not yet done with, and the log files among them that are "
                "being fetched, read or counted.",
                {
                    "Messages": f"sum({exporter(f'{OWN}_messages_in_hand')})",
                    "Log files": f"sum({exporter(f'{OWN}_log_files_in_hand')})",
                },
                unit="short",
                width=8,
            ),
        ],
        "What does it read and count?": [
            graph(
                "Log files by outcome",
                "Files a second: counted (with new events), repeated (with known ones only), "
                "no_codecommit (with none), failed; the others are no log files and were not "
                "fetched.",
                {"{{outcome}}": rate(exporter(f"{OWN}_log_files_total"), "outcome")},
                unit="cps",
                stacked=True,
            ),
            graph(
                "Messages by what they were",
                "Messages a second by kind (envelope) and by what came of them: read, acknowledged "
                "(announce no log file) or refused.",
                {
                    "{{envelope}}, {{outcome}}": rate(
                        exporter(f"{OWN}_notifications_total"), "envelope", "outcome"
                    )
                },
                unit="cps",
                stacked=True,
            ),
            graph(
                "Events counted by source",
                "Events a second from the queue, from messages that hold the event itself "
                "(inline), from comparing the bucket (reconcile) and from the past (backfill).",
                {"{{source}}": rate(exporter(f"{OWN}_events_counted_total"), "source")},
                unit="cps",
                stacked=True,
                width=8,
            ),
            graph(
                "Events not counted",
                "Events a second that were counted before (duplicate), that are too old to tell "
                "whether they were (late), and that could not be read (invalid).",
                {
                    "Duplicate": rate(exporter(f"{OWN}_duplicate_events_total")),
                    "Late": rate(exporter(f"{OWN}_late_events_total")),
                    "Invalid": rate(exporter(f"{OWN}_records_invalid_total")),
                },
                unit="cps",
                width=8,
            ),
            graph(
                "Records by service",
                "Records a second that are of CodeCommit, or of AWS KMS on its behalf.",
                {"{{service}}": rate(exporter(f"{OWN}_records_total"), "service")},
                unit="cps",
                width=8,
            ),
        ],
        "What does it leave or refuse?": [
            bars(
                "Refused by reason",
                "How often in the time range a message or a log file was refused that can never "
                "be counted: once each time it is received, until it is in the dead-letter queue.",
                "{{reason}}",
                times(f"{OWN}_refused_total", "reason"),
            ),
            graph(
                "Messages by how they ended",
                "Messages a second: deleted (done), left (come back, and reach the dead-letter "
                "queue in the end), postponed (their log file was not to be had yet), released "
                "(given back).",
                {"{{outcome}}": rate(exporter(f"{OWN}_messages_total"), "outcome")},
                unit="cps",
                stacked=True,
            ),
        ],
        "Where does the time go?": [
            graph(
                "Stage times",
                "The time that nine in ten take of each step: receive (waiting for messages "
                "included), fetch, decode, commit, delete.",
                {"{{stage}}": quantile(0.9, rate(STAGES, "stage", "le"))},
                unit="s",
            ),
            graph(
                "Bytes of log files",
                "Bytes a second as fetched (compressed) and as read (inflated).",
                {"{{stage}}": rate(exporter(f"{OWN}_log_file_bytes_total"), "stage")},
                unit="binBps",
            ),
            graph(
                "AWS requests",
                "Requests a second by service and operation, which is what AWS bills.",
                {
                    "{{service}} {{operation}}": rate(
                        exporter(f"{OWN}_aws_requests_total"), "service", "operation"
                    )
                },
                unit="reqps",
                stacked=True,
            ),
            graph(
                "Failed AWS requests",
                "Requests a second that AWS did not answer with success, by service, operation and "
                "what was wrong.",
                {
                    "{{service}} {{operation}} {{code}}": (
                        f"{rate(FAILED_REQUESTS, 'service', 'operation', 'code')} > 0 "
                        f"or on() {NO_FAILURE}"
                    )
                },
                unit="reqps",
                stacked=True,
            ),
        ],
        "What does it cost, and is it scraped often enough?": [
            graph(
                "Series and repositories",
                "How many series the ledger holds, and of how many repositories, deleted ones too.",
                {
                    "Series, {{instance}}": each(f"{OWN}_series"),
                    "Repositories, {{instance}}": each(f"{OWN}_repositories"),
                },
                unit="short",
                width=8,
            ),
            graph(
                "Ledger and memory",
                "Room that the ledger takes where it is kept, and memory that the process takes.",
                {
                    "Ledger, {{instance}}": each(f"{OWN}_ledger_bytes"),
                    "Memory, {{instance}}": combined(
                        "max", of_exporters(exporter("process_resident_memory_bytes")), "instance"
                    ),
                },
                unit="bytes",
                width=8,
            ),
            graph(
                "Processor time",
                "Share of one processor core that the process uses.",
                {"{{instance}}": combined("sum", of_exporters(PROCESSOR_TIME), "instance")},
                unit="percentunit",
                width=8,
            ),
            graph(
                "Gap between scrapes, beside the hold",
                "A new series shows 0 for the hold, so that Prometheus sees its first increase. "
                "The longest gap between two scrapes should not be much more than half the hold.",
                {
                    "Longest gap": GAP,
                    "Half the hold": f"{HOLD} / 2",
                    "Hold": HOLD,
                },
                unit="s",
                width=8,
            ),
            graph(
                "Exports over OTLP",
                "Exports a minute by what becomes of them, where OpenTelemetry's variables ask for "
                "them, and spans that were lost.",
                {
                    "{{signal}} {{outcome}}": f"60 * {rate(EXPORTS, 'signal', 'outcome')}",
                    "Spans lost": f"60 * {rate(exporter(f'{OWN}_otlp_spans_dropped_total'))}",
                },
                unit="short",
                width=8,
            ),
            bars(
                "Versions",
                "How many exporters run which version of the program.",
                "{{version}} ({{revision}}), Python {{python}}",
                combined("sum", exporter(f"{OWN}_build_info"), "version", "revision", "python"),
                width=8,
            ),
        ],
    },
    refresh="1m",
)
