"""
What the service says and does while its parts are at work.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import ServeSettings
from exporter.errors import LedgerUnavailable
from exporter.ledger.memory import MemoryLedger
from exporter.metrics import Page as LivePage, View
from exporter.notifications import LogFile
from exporter.service import Service
from exporter.sources import read_settings
from exporter.tally import Reading
from tests.fakes import Edge, EdgeLedger, in_no_time


def settings() -> ServeSettings:
    """
    The least that can be set.
    """
    queue = "https://sqs.eu-central-1.amazonaws.com/111122223333/trail"
    given = {"sqs.queue-url": [queue], "s3.allowed-bucket": ["trail"]}
    return read_settings(ServeSettings, given, {})


@in_no_time
async def test_a_ledger_that_cannot_be_written_is_told_when_that_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Once for each change, however long it lasts.
    """
    caplog.set_level(logging.INFO)
    edge = Edge()
    ledger = EdgeLedger(MemoryLedger(), edge)
    watching = asyncio.create_task(Service(settings())._watch_ledger(ledger))
    for fault in (None, LedgerUnavailable("the disk is full"), None):
        if fault:
            edge.fail("commit", fault)
        with suppress(LedgerUnavailable):
            await ledger.commit(Reading(LogFile("trail", "one"), None, ()))
        await asyncio.sleep(100)
    watching.cancel()

    assert [
        (logging.ERROR, "The ledger cannot be written: nothing more is received until it can"),
        (logging.INFO, "The ledger can be written again"),
    ] == [(line.levelno, line.getMessage()) for line in caplog.records]


async def test_a_failure_at_the_end_of_exports_is_told() -> None:
    """
    The stop that ends them does not hide it.
    """

    class BrokenAtItsEnd:
        async def run(self, *_: object) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise ZeroDivisionError

    service = Service(settings())
    service._export = BrokenAtItsEnd()  # type: ignore[assignment]

    with pytest.raises(ZeroDivisionError):
        async with service._exporting(LivePage(CollectorRegistry(), View({}, {})), "id"):
            await asyncio.sleep(0)


async def test_an_export_that_ends_by_itself_ends_the_program() -> None:
    """
    It does so only for a reason that nobody foresaw; no part of the program dies unseen.
    """

    class Broken:
        async def run(self, *_: object) -> None:
            raise ZeroDivisionError

    service = Service(settings())
    service._export = Broken()  # type: ignore[assignment]

    with pytest.raises(ZeroDivisionError):
        async with service._exporting(LivePage(CollectorRegistry(), View({}, {})), "id"):
            await asyncio.Event().wait()
