"""
The program from the bytes of log files to the page, without queue, bucket or clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.cloudtrail import decode
from exporter.ledger.memory import MemoryLedger
from exporter.notifications import LogFile
from exporter.tally import Reading
from tests import records
from tests.oracle import Totals
from tests.pages import page_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


NOW = 1_790_000_000
"""When all the log files of a test are delivered and counted: 2026-09-21 14:13:20 UTC."""

INFLATED_BYTES_MAX = 512 * 1024 * 1024


def reading(number: int, json_text: str) -> Reading:
    """
    One log file as the ledger is given it.
    """
    decoded = decode(records.log_file(json_text), inflated_bytes_max=INFLATED_BYTES_MAX)
    log_file = LogFile("trail", f"{number}.json.gz")
    return Reading(log_file, NOW * 1000, decoded.events, decoded.kms_requests)


def ledger_of(json_texts: Iterable[str]) -> MemoryLedger:
    """
    A ledger in memory that has counted some log files, one after the other.
    """
    ledger = MemoryLedger(now=lambda: NOW)
    for number, json_text in enumerate(json_texts):
        ledger.count(reading(number, json_text))
    return ledger


def counted(*log_files: Sequence[records.Record]) -> Totals:
    """
    What the log files with these records add up to, in the form of the oracle's count.
    """
    return page_of(ledger_of(records.text(*log_file) for log_file in log_files)).totals()
