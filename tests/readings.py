"""
What log files hold, ready to be counted by a ledger on a clock of the tests' own.
"""

from __future__ import annotations

import time

from exporter.codecommit import event
from exporter.families import EVENTS
from exporter.ledger import Ledger
from exporter.notifications import LogFile
from exporter.tally import Reading
from tests.records import Record, api_call

BIRTH = 1_790_000_000.0
"""When the tests' ledgers are born, in seconds since 1970."""

DAY = 86400.0


def reading(
    *records: Record,
    key: str = "one.json.gz",
    bucket: str = "trail",
    delivered: float | None = BIRTH,
) -> Reading:
    """
    A log file of these records; ``delivered`` in seconds since 1970.
    """
    delivered_ms = None if delivered is None else round(delivered * 1000)
    return Reading(LogFile(bucket, key), delivered_ms, tuple(map(event, records)))


def at(seconds: float, repository: str = "tools", **fields: object) -> Record:
    """
    A call at a moment, in seconds since 1970.
    """
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    return api_call("PutFile", repository, eventTime=moment, **fields)


def events_total(ledger: Ledger) -> int:
    """
    How many events a ledger has counted.
    """
    return sum(
        state.total.amount
        for series, state in ledger.series.items()
        if series.family == EVENTS.name
    )
