"""
The HTTP endpoints: metrics, health, readiness and a page for people.

Rules:

1. ``/metrics`` answers 503 until the ledger is open. A page without the ledger's families
   would look like a reset of all counters; a failed scrape does not.
2. A scrape touches no disk.
3. A held series counts as shown once the answer has been written, not before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from exporter.build import revision, version
from exporter.metrics import Holds, View, held, page
from exporter.retirement import NEVER, Retirement

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from exporter.ledger import Ledger

SHUTDOWN_SECONDS = 1.0
"""How long a stop waits for a request that is being answered."""

SCRAPE_HEADER = "X-Prometheus-Scrape-Timeout-Seconds"
"""Prometheus sends it with every scrape; a person's browser does not."""


@dataclass(slots=True)
class Health:
    """
    What stands between the program and being ready; nothing once it is.
    """

    obstacles: dict[str, str] = field(default_factory=dict)

    def set(self, subject: str, obstacle: str | None) -> None:
        """
        Say what is wrong with a subject (a queue, the ledger), or that nothing is.
        """
        if obstacle is None:
            self.obstacles.pop(subject, None)
        else:
            self.obstacles[subject] = obstacle

    @property
    def ready(self) -> bool:
        """
        Whether nothing is in the way.
        """
        return not self.obstacles


class Web:
    """
    Answers HTTP requests.

    ``ledger`` is None until it is open. ``holds`` learns which series a scrape has shown, by
    the monotonic clock ``now``; ``retirement`` says which it does not show, by ``clock``.
    """

    def __init__(
        self,
        own: CollectorRegistry,
        health: Health,
        holds: Holds,
        *,
        retirement: Retirement = NEVER,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ledger: Ledger | None = None
        self._own = own
        self._health = health
        self._holds = holds
        self._retirement = retirement
        self._now = now
        self._clock = clock
        self._scraped_by_prometheus = False
        self._runner: web.AppRunner | None = None

    async def start(self, addresses: Sequence[tuple[str, int]]) -> list[str]:
        """
        Listen on these hosts and ports, and return the URLs they became; port 0 picks one.

        Raises:
            OSError: An address cannot be listened on.
        """
        _SERVER_LOG.addFilter(_without_the_clients_part)
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._status),
                web.get("/metrics", self._metrics),
                web.get("/-/healthy", self._healthy),
                web.get("/-/ready", self._ready),
            ]
        )
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        await self._runner.setup()
        for host, port in addresses:
            await web.TCPSite(self._runner, host or None, port).start()
        return [_url(address) for address in self._runner.addresses]

    async def stop(self) -> None:
        """
        Stop listening.
        """
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        if self.ledger is None:
            return web.Response(
                status=503, text="The ledger is not open yet, or has to catch up.\n"
            )
        view = View(self.ledger.series, self.ledger.known).without_retired(
            self._retirement, round(self._clock() * 1000)
        )
        held_series = held(view.series)
        body, content_type = page(self._own, view, request.headers.get("Accept", ""))
        response = web.Response(body=body, headers={"Content-Type": content_type})
        await response.prepare(request)
        await response.write_eof()
        if self._is_scrape(request):
            self._holds.show(held_series, self._now())
        return response

    def _is_scrape(self, request: web.Request) -> bool:
        """
        Whether a request is Prometheus's own; any will do until one of those is seen.
        """
        by_prometheus = SCRAPE_HEADER in request.headers
        self._scraped_by_prometheus |= by_prometheus
        return request.method == "GET" and (by_prometheus or not self._scraped_by_prometheus)

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="Healthy.\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self._health.ready:
            return web.Response(text="Ready.\n")
        reasons = "".join(f"{one}: {why}\n" for one, why in self._health.obstacles.items())
        return web.Response(status=503, text=f"Not ready.\n{reasons}")

    async def _status(self, _: web.Request) -> web.Response:
        obstacles = "".join(
            f"<li>{escape(one)}: {escape(why)}</li>" for one, why in self._health.obstacles.items()
        )
        state = f"Not ready:<ul>{obstacles}</ul>" if obstacles else "Ready."
        series = f"{len(self.ledger.series)} series" if self.ledger else "not open yet"
        return web.Response(
            content_type="text/html",
            text=_STATUS.format(
                version=escape(version()), revision=escape(revision()), state=state, ledger=series
            ),
        )


def _without_the_clients_part(record: logging.LogRecord) -> bool:
    """
    Keep the server's log free of what clients do wrong, and of who they are.
    """
    error = record.exc_info[1] if record.exc_info else None
    record.msg, record.args = "A request could not be answered", ()
    return not isinstance(error, HttpProcessingError)


_SERVER_LOG = logging.getLogger("aiohttp.server")

_STATUS = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>codecommit-exporter</title></head>
<body>
<h1>codecommit-exporter</h1>
<p>Counts AWS CodeCommit events from CloudTrail log files, each once, for Prometheus.</p>
<p>{state}</p>
<p>Ledger: {ledger}. Version {version}, commit {revision}.</p>
<ul>
<li><a href="/metrics">Metrics</a></li>
<li><a href="/-/healthy">Healthy</a></li>
<li><a href="/-/ready">Ready</a></li>
</ul>
</body>
</html>
"""


def _url(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    host, port = address[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
