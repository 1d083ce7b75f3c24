"""
The page of a ledger at this moment, read by prometheus_client's own parsers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from exporter.metrics import Page as LivePage, View
from tests.processes import TEXT, Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.codecommit import Repository
    from exporter.families import Series
    from exporter.knowledge import Known
    from exporter.metrics import SeriesStates, Shown


def page_of(ledger: Shown, accept: str = TEXT) -> Page:
    """
    The page that shows a ledger, which may have another page that reads its journal.
    """
    return page_that_shows(ledger.series, ledger.known, accept)


def page_that_shows(
    series: SeriesStates, known: Mapping[Repository, Known], accept: str = TEXT
) -> Page:
    """
    The page that shows some series and repositories, and nothing of the exporter's own.
    """
    page = LivePage(CollectorRegistry(), View(series, known))
    answer = page.answer(accept, now_ms=0)
    return Page(answer.body.decode(), answer.content_type)


def held(series: SeriesStates) -> list[Series]:
    """
    The series that are held.
    """
    return [one for one, state in series.items() if state.released_ms is None]
