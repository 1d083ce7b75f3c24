"""
The demo, with all that goes wrong in it, as a real Prometheus sees it beside another program.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from grafana.source.expressions import FOLDER, expressions
from tests.processes import Exporter, clean_environment
from tests.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from grafana.source.expressions import Expression
    from tests.prometheus import Point, Result

JOB, OTHER_JOB = "codecommit", "other"
RATE_INTERVAL_SCRAPES = 4
"""Grafana's $__rate_interval is at least so many scrape intervals."""


class LoadedRule(NamedTuple):
    """
    A recording or alerting rule as Prometheus tells of it; ``health`` is ok, unknown or err.
    """

    kind: str
    name: str
    expression: str
    health: str
    error: str


class Watcher(Prometheus):
    """
    A Prometheus that also tells what has become of its rules.
    """

    def scrapes(self, at: float | None = None) -> list[Point]:
        """
        When it has scraped the demo in the last hour, with 1 where it answered and else 0.
        """
        answers = self.query(f'up{{job="{JOB}"}}[1h]', at)
        return [point for result in answers for point in result.points]

    def rules(self) -> list[LoadedRule]:
        """
        All rules, in the order of their files.
        """
        rules: list[dict[str, Any]] = [
            rule for group in self._data("rules")["groups"] for rule in group["rules"]
        ]
        return [
            LoadedRule(
                rule["type"], rule["name"], rule["query"], rule["health"], rule.get("lastError", "")
            )
            for rule in rules
        ]


class Span(NamedTuple):
    """
    A stretch of time, in seconds since 1970.
    """

    begin: float
    end: float


class Observed:
    """
    What Prometheus has seen of the demo.

    Args:
        prometheus: scrapes the demo, and a program of another job.

    """

    def __init__(self, prometheus: Watcher) -> None:
        self.prometheus = prometheus

    def so_far(self) -> Span:
        """
        The time from the first answered scrape to the newest.

        Where a time ends with a scrape, increase() does not guess what has happened since.
        """
        answered = [point.at for point in self.prometheus.scrapes() if point.value]
        return Span(answered[0], answered[-1])

    def expressions(
        self, span: Span, rate_interval: float | None = None, **chosen: str
    ) -> list[Expression]:
        """
        All queries of the dashboards, for this time.

        ``rate_interval`` is in seconds, Grafana's shortest where none is given; ``chosen`` are
        values of variables.
        """
        window = rate_interval or RATE_INTERVAL_SCRAPES * self.prometheus.interval
        return expressions(
            FOLDER,
            __range=f"{math.ceil(span.end - span.begin) + 1}s",
            __rate_interval=f"{math.ceil(window)}s",
            **chosen,
        )

    def ask(self, query: Expression, span: Span, step: float = 1) -> list[Result]:
        """
        What a panel gets for its query: at the end, or every ``step`` seconds of the time.
        """
        if query.instant:
            return self.prometheus.query(query.expr, span.end)
        return self.prometheus.query_range(query.expr, *span, step)


@contextmanager
def other_program() -> Iterator[str]:
    """
    The address of a program that is no exporter, but has the metrics that all programs have.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def observed_demo(
    binary: str, folder: Path, *flags: str, interval: float, rule_files: Sequence[Path] = ()
) -> Iterator[Observed]:
    """
    The demo with its faults during the block, scraped every ``interval`` seconds.

    So is a program of another job.

    Args:
        binary: Prometheus.
        folder: takes what either of them writes.
        flags: more of the demo's.
        interval: seconds from scrape to scrape.
        rule_files: rules that Prometheus loads.

    """
    demo = Exporter(
        *("demo", "--demo.faults", *flags), environment=clean_environment(HOME=str(folder))
    )
    try:
        with (
            other_program() as other,
            Watcher(
                binary,
                folder / "prometheus",
                [],
                interval=interval,
                rule_files=rule_files,
                scrape_options={
                    "static_configs": [
                        {"targets": [urlsplit(demo.address()).netloc], "labels": {"job": JOB}},
                        {"targets": [other], "labels": {"job": OTHER_JOB}},
                    ]
                },
            ) as prometheus,
        ):
            prometheus.until_ready().until_scraped()
            yield Observed(prometheus)
    finally:
        demo.kill()
