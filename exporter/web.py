"""
The HTTP endpoints: metrics, health, readiness and a page for people.

Rules:

1. ``/metrics`` answers 503 until the ledger is open. A page without the ledger's families
   would look like a reset of all counters; a failed scrape does not.
2. A scrape touches no disk.
3. A held series counts as shown once the answer has been written, not before.
4. Compressing leaves the loop alone: a large page takes a while.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from isal import isal_zlib

from exporter.build import revision, version
from exporter.holds import Holds, Scrapers

if TYPE_CHECKING:
    from exporter.metrics import Page
    from exporter.telemetry import Telemetry

SHUTDOWN_SECONDS = 1.0
"""How long a stop waits for a request that is being answered."""

PIECE_BYTES = 256 * 1024
SEND_SECONDS = 60.0
"""How long an answer may take. No scrape waits longer; who stops reading would keep an old page."""
GZIP_LEVEL = 2
"""The most that costs little: 3 takes eight times as long for a page that is 7 % smaller."""
GZIP_WINDOW_BITS = 31

SCRAPE_HEADER = "X-Prometheus-Scrape-Timeout-Seconds"
"""Prometheus sends it with every scrape; a person's browser does not. Until it has been seen,
any GET may be a scrape."""


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

    ``page`` is None until the ledger is open. ``holds`` learns which series a scrape has shown,
    by the monotonic clock ``now``; series leave the page by ``clock``.
    """

    def __init__(
        self,
        health: Health,
        holds: Holds,
        telemetry: Telemetry,
        *,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.page: Page | None = None
        self._health = health
        self._holds = holds
        self._telemetry = telemetry
        self._now = now
        self._clock = clock
        self._scrapers = Scrapers()
        self._scraped_by_prometheus = False
        self._runner: web.AppRunner | None = None
        telemetry.scrapes_watched(holds.seconds, lambda: self._scrapers.longest_gap(now()))

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
        if self.page is None:
            return web.Response(
                status=503, text="The ledger is not open yet, or has to catch up.\n"
            )
        by_prometheus = SCRAPE_HEADER in request.headers
        is_scrape = request.method == "GET" and (by_prometheus or not self._scraped_by_prometheus)
        if is_scrape:
            self._watch_gap(request.remote, by_prometheus=by_prometheus)
        answer = self.page.answer(
            request.headers.get("Accept", ""),
            [name for name in request.query.getall("name[]", []) if name],
            now_ms=round(self._clock() * 1000),
        )
        response = web.StreamResponse(
            headers={"Content-Type": answer.content_type, "Vary": "Accept, Accept-Encoding"}
        )
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await _send(request, response, answer.parts)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            return response
        except ConnectionError:  # whoever asked is gone, and has seen nothing
            return response
        if is_scrape:
            self._scraped_by_prometheus |= by_prometheus
            self._scrapers.answered(request.remote, self._now())
            self._holds.show(answer.held, self._now())
        return response

    def _watch_gap(self, address: str | None, *, by_prometheus: bool) -> None:
        """
        See how long ago the last scrape from an address was.

        People look when they like; it is Prometheus that has to come often enough, and once
        it does, nobody else's looks are scrapes.
        """
        if by_prometheus and not self._scraped_by_prometheus:
            self._scrapers = Scrapers()
        gap = self._scrapers.gap(address, self._now())
        if by_prometheus and not self._holds.is_long_enough(gap):
            self._telemetry.scrapes_too_seldom(gap, self._holds.seconds)

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
        series = f"{self.page.series} series" if self.page else "not open yet"
        return web.Response(
            content_type="text/html",
            text=_STATUS.format(
                version=escape(version()), revision=escape(revision()), state=state, ledger=series
            ),
        )


async def _send(request: web.Request, response: web.StreamResponse, parts: Sequence[bytes]) -> None:
    """
    Send the page piece by piece: one who reads slowly costs no copy of what is as it was.

    Raises:
        ConnectionError: The client hung up.
    """
    if _accepts_gzip(request.headers.get("Accept-Encoding", "")):
        parts = await asyncio.to_thread(_gzipped, parts)
        response.headers["Content-Encoding"] = "gzip"
    response.content_length = sum(map(len, parts))
    await response.prepare(request)
    if request.method != "HEAD":
        for part in parts:
            for begin in range(0, len(part), PIECE_BYTES):
                await response.write(memoryview(part)[begin : begin + PIECE_BYTES])
    await response.write_eof()


def _accepts_gzip(header: str) -> bool:
    """
    Whether an Accept-Encoding header names gzip, and not only to decline it (RFC 9110, 12.5.3).
    """
    for coding in header.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
    return False


def _gzipped(parts: Sequence[bytes]) -> list[bytes]:
    """
    A page as it is sent to those who take it compressed.
    """
    compress = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, GZIP_WINDOW_BITS)
    return [*map(compress.compress, parts), compress.flush()]


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
