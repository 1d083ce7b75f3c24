"""
The page is one that Prometheus and its tools accept.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import records
from tests.processes import OPENMETRICS
from tests.servers import EMPTY

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.processes import Exporter
    from tests.servers import Trail


@pytest.fixture
def exporter(serve: Serve, trail: Trail) -> Exporter:
    """
    An exporter that has counted something of every family.
    """
    text = records.text(
        *records.push_pair("one", "refs/heads/a", "refs/tags/b"), records.denied("GetFile", "one")
    )
    trail.deliver(records.key(1), records.log_file(text))
    process = serve(trail, "--metrics.new-series-hold", "0s")
    process.until(lambda: trail.depth() == EMPTY, "the queue is empty")
    return process


def test_promtool_accepts_the_text_page(exporter: Exporter, promtool: str) -> None:
    """
    Prometheus's own checker finds no mistake and nothing to advise.
    """
    page = exporter.scrape()

    verdict = subprocess.run(
        [promtool, "check", "metrics"],
        input=page.text,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "", "") == (verdict.returncode, verdict.stdout, verdict.stderr)
    assert page.content_type.startswith("text/plain; version=0.0.4")


def test_the_openmetrics_page_is_parsed(exporter: Exporter) -> None:
    """
    prometheus_client's strict parser reads the OpenMetrics page, which says the same.
    """
    page = exporter.scrape(accept=OPENMETRICS)

    assert page.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert page.text.endswith("# EOF\n")
    assert exporter.scrape().totals() == page.totals()
    assert 3 == page.value("codecommit_events_total")


def test_every_family_is_there(exporter: Exporter) -> None:
    """
    Each family that this input has anything to say about is on the page, with its help.
    """
    families = exporter.scrape().families
    ours = {name: family for name, family in families.items() if name.startswith("codecommit_")}

    assert {
        "codecommit_events",
        "codecommit_event_delivery_seconds",
        "codecommit_event_errors",
        "codecommit_pushes",
        "codecommit_push_references",
        "codecommit_reference_updates",
        "codecommit_last_event_timestamp_seconds",
        "codecommit_last_push_timestamp_seconds",
        "codecommit_exporter_build_info",
        "codecommit_exporter_messages",
        "codecommit_exporter_log_files",
        "codecommit_exporter_refused",
    } <= ours.keys()
    assert [] == [name for name, family in ours.items() if not family.documentation]


def test_the_landing_page_leads_to_the_metrics(exporter: Exporter) -> None:
    """
    Whoever opens the address in a browser finds the way, and health is told to anyone.
    """
    landing = exporter.get("/")
    healthy, nowhere = exporter.get("/-/healthy"), exporter.get("/nowhere")

    assert 0 == exporter.terminate()
    assert 200 == landing.status
    assert "/metrics" in landing.text
    assert (200, 404) == (healthy.status, nowhere.status)
