"""
What the HTTP endpoints answer, and when a scrape starts a hold.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import Metric
from prometheus_client.registry import Collector

from exporter import web
from exporter.codecommit import event
from exporter.families import FAMILIES
from exporter.holds import Holds
from exporter.ledger.book import Policy
from exporter.ledger.memory import MemoryLedger
from exporter.metrics import Page as LivePage
from exporter.notifications import LogFile
from exporter.retirement import Retirement
from exporter.tally import Reading
from exporter.telemetry import Telemetry
from exporter.web import SCRAPE_HEADER, Health, Web
from tests.fakes import Clock
from tests.processes import OPENMETRICS, TEXT, Page
from tests.records import push

HOLD_SECONDS = 10.0
RETIRE_SECONDS = 3600.0


def pushed(name: str) -> Reading:
    """
    A log file with one push to a repository.
    """
    events = (event(push(name, "refs/heads/main")),)
    return Reading(LogFile("trail", "one"), None, events)


class Site:
    """
    The endpoints on a port of their own, and someone who asks them.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.clock = Clock()
        self.health = Health()
        self.holds = Holds(HOLD_SECONDS)
        retirement = Retirement(round(RETIRE_SECONDS * 1000))
        self.ledger = MemoryLedger(Policy(hold=True, retirement=retirement), now=self.clock)
        self.telemetry = Telemetry(now=self.clock)
        self.registry = self.telemetry.registry
        self.page = LivePage(self.registry, self.ledger, retirement=retirement)
        self.web = Web(self.health, self.holds, self.telemetry, now=self.clock, clock=self.clock)
        self.addresses: list[str] = []
        self._session = session

    async def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """
        Ask with some headers; status, content type and text of the answer.
        """
        async with self._session.get(self.addresses[0] + path, headers=headers) as answer:
            return answer.status, answer.headers["Content-Type"], await answer.text()

    async def scrape(self, **headers: str) -> Page:
        """
        The page of metrics.
        """
        status, content_type, text = await self.get("/metrics", **headers)
        assert 200 == status
        return Page(text, content_type)

    def open_ledger(self) -> None:
        """
        Let the endpoints have the ledger, with one push in it.
        """
        self.ledger.count(pushed("tools"))
        self.web.page = self.page

    def due_after(self, seconds: float) -> int:
        """
        How many series have been held long enough, so much later.
        """
        self.clock.seconds += seconds
        return len(self.holds.due(self.clock()))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with aiohttp.ClientSession() as session:
        site = Site(session)
        site.addresses = await site.web.start([("127.0.0.1", 0)])
        yield site
        await site.web.stop()


async def test_no_page_before_the_ledger_is_open(site: Site) -> None:
    """
    A page without the ledger's families would look like a reset; there is none.
    """
    before, _, _ = await site.get("/metrics")
    site.open_ledger()
    after, _, _ = await site.get("/metrics")

    assert (503, 200) == (before, after)


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
async def test_the_format_is_negotiated(site: Site, accept: str) -> None:
    """
    Prometheus gets the format it asks for, and both say the same.
    """
    site.open_ledger()
    page = await site.scrape(Accept=accept)

    assert page.content_type.startswith(accept.partition(";")[0])
    assert "codecommit_events" in page.text
    assert 0 == page.value("codecommit_events_total")


async def test_a_hold_starts_with_the_first_scrape(site: Site) -> None:
    """
    Until a scrape has shown a series its hold has not begun.
    """
    site.open_ledger()
    unseen = site.due_after(1000)
    await site.scrape()
    early = site.due_after(HOLD_SECONDS - 1)
    due = site.due_after(1)

    assert (0, 0) == (unseen, early)
    assert due == sum(state.released_ms is None for state in site.ledger.series.values()) > 0


async def test_a_second_scrape_does_not_start_it_again(site: Site) -> None:
    """
    The hold is counted from the first scrape, however many follow.
    """
    site.open_ledger()
    await site.scrape()
    site.due_after(HOLD_SECONDS - 1)
    await site.scrape()

    assert site.due_after(1) > 0


async def test_a_look_by_hand_starts_no_hold_beside_prometheus(site: Site) -> None:
    """
    Once Prometheus scrapes, only what it was shown counts as shown.
    """
    site.web.page = site.page
    await site.scrape(**{SCRAPE_HEADER: "10"})
    site.open_ledger()
    await site.scrape()
    by_hand = site.due_after(HOLD_SECONDS)
    await site.scrape(**{SCRAPE_HEADER: "10"})
    by_prometheus = site.due_after(HOLD_SECONDS)

    assert 0 == by_hand
    assert 0 < by_prometheus


async def test_a_head_request_shows_nothing(site: Site) -> None:
    """
    A request for headers alone has shown no series.
    """
    site.open_ledger()
    async with aiohttp.request("HEAD", site.addresses[0] + "/metrics") as answer:
        status = answer.status

    assert 200 == status
    assert 0 == site.due_after(HOLD_SECONDS)


class HangUp(Collector):
    """
    A scraper that is gone before its answer is written: looked at, it closes the connection.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        runner = self._site.web._runner
        assert runner is not None
        assert runner.server is not None
        for connection in runner.server.connections:
            if connection.transport is not None:  # the client asks twice
                connection.transport.close()
        return []


async def test_an_answer_that_was_not_written_starts_no_hold(site: Site) -> None:
    """
    A scraper that hung up has seen nothing, not even that Prometheus scrapes here.
    """
    site.open_ledger()
    hang_up = HangUp(site)
    site.registry.register(hang_up)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await site.scrape(**{SCRAPE_HEADER: "10"})
    site.registry.unregister(hang_up)
    unseen = site.due_after(HOLD_SECONDS)
    await site.scrape()

    assert 0 == unseen
    assert 0 < site.due_after(HOLD_SECONDS)


async def test_who_stops_reading_is_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The connection ends, and nothing counts as shown.
    """
    monkeypatch.setattr(web, "SEND_SECONDS", 0.2)
    site.open_ledger()
    for number in range(3000):
        site.ledger.count(pushed(f"service-{number}"))
    host, port = site.addresses[0].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(f"GET /metrics HTTP/1.1\r\nHost: x\r\n{SCRAPE_HEADER}: 10\r\n\r\n".encode())
    runner = site.web._runner
    assert runner is not None
    assert runner.server is not None
    for connected in (True, False):
        while bool(runner.server.connections) is not connected:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    writer.close()

    assert not reader.at_eof()
    assert 0 == site.due_after(HOLD_SECONDS)


async def test_a_refused_scrape_starts_no_hold(site: Site) -> None:
    """
    A scrape that came before the ledger was open has shown nothing.
    """
    await site.get("/metrics", **{SCRAPE_HEADER: "10"})
    site.open_ledger()

    assert 0 == site.due_after(HOLD_SECONDS)


async def test_what_is_born_during_a_hold_has_a_hold_of_its_own(site: Site) -> None:
    """
    A series counts as shown from the first page that had it.
    """
    site.open_ledger()
    await site.scrape()
    first = site.due_after(HOLD_SECONDS)
    events = (event(push("web", "refs/heads/main")),)
    site.ledger.count(Reading(LogFile("trail", "two"), None, events))
    await site.scrape()
    still = site.due_after(HOLD_SECONDS - 1)

    assert 0 < first == still
    assert first < site.due_after(1)


async def test_a_released_series_shows_its_value(site: Site) -> None:
    """
    What is held is 0 on the page, what has been released is what the ledger holds.
    """
    site.open_ledger()
    held = await site.scrape()
    await site.ledger.release(list(site.ledger.series))
    released = await site.scrape()

    assert (0, 1) == (
        held.value("codecommit_pushes_total"),
        released.value("codecommit_pushes_total"),
    )


async def test_series_of_a_retired_repository_leave_the_page(site: Site) -> None:
    """
    They go once nothing has happened for long enough, and come back with what they showed.
    """
    site.open_ledger()
    await site.ledger.release(list(site.ledger.series))
    before = await site.scrape()
    site.clock.seconds += RETIRE_SECONDS
    retired = await site.scrape()
    await site.ledger.commit(pushed("tools"))
    back = await site.scrape()

    assert 1 == before.value("codecommit_pushes_total")
    assert "tools" not in retired.text
    assert "codecommit_pushes_total" in retired.text
    assert 1 == back.value("codecommit_pushes_total")
    assert 2 == sum(
        state.total.amount
        for series, state in site.ledger.series.items()
        if series.family == "codecommit_pushes_total"
    )


async def test_an_odd_wish_is_answered_in_plain_text(site: Site) -> None:
    """
    Whatever the Accept header says, there is a page.
    """
    site.open_ledger()
    page = await site.scrape(Accept="application/openmetrics-text; version=nonsense")

    assert page.content_type.startswith("text/plain")


async def test_healthy_whatever_is_in_the_way(site: Site) -> None:
    """
    The process lives, ready or not.
    """
    site.health.set("queue", "does not answer")

    assert 200 == (await site.get("/-/healthy"))[0]


async def test_ready_names_what_is_in_the_way(site: Site) -> None:
    """
    Not ready is 503 with the reasons; ready is 200.
    """
    site.health.set("queue log-files", "does not answer")
    status, _, text = await site.get("/-/ready")
    site.health.set("queue log-files", None)
    site.health.set("never set", None)
    ready, _, _ = await site.get("/-/ready")

    assert (503, 200) == (status, ready)
    assert "queue log-files: does not answer" in text


async def test_the_page_for_people(site: Site) -> None:
    """
    It links to the metrics, says what is in the way, and takes no markup from outside.
    """
    site.health.set("queue", "<script>alert(1)</script>")
    _, content_type, waiting = await site.get("/")
    site.health.set("queue", None)
    site.open_ledger()
    _, _, ready = await site.get("/")

    assert content_type.startswith("text/html")
    assert 'href="/metrics"' in waiting
    assert "not open yet" in waiting
    assert "<li>queue: &lt;script&gt;alert(1)&lt;/script&gt;</li>" in waiting
    assert "<script>" not in waiting
    assert "Ready." in ready


async def test_several_addresses(site: Site) -> None:
    """
    Each address that is asked for is listened on, and told as a URL.
    """
    other = Web(site.health, site.holds, Telemetry())
    addresses = await other.start([("127.0.0.1", 0), ("127.0.0.1", 0)])
    async with aiohttp.ClientSession() as session:
        statuses = [(await session.get(f"{url}/-/healthy")).status for url in addresses]
    await other.stop()

    assert [200, 200] == statuses


async def test_an_address_that_is_taken(site: Site) -> None:
    """
    Listening where something else listens already fails, and can be tidied up.
    """
    port = int(site.addresses[0].rpartition(":")[2])
    other = Web(site.health, site.holds, Telemetry())
    with pytest.raises(OSError, match="address already in use"):
        await other.start([("127.0.0.1", port)])
    await other.stop()

    assert 200 == (await site.get("/-/healthy"))[0]


async def test_an_idle_connection_holds_up_no_stop(site: Site) -> None:
    """
    Prometheus keeps its connection open between scrapes; a stop does not wait for the next.
    """
    await site.get("/-/healthy")
    await asyncio.wait_for(site.web.stop(), web.SHUTDOWN_SECONDS / 2)

    with pytest.raises(aiohttp.ClientConnectionError):
        await site.get("/-/healthy")


def test_an_ipv6_address_is_told_in_brackets() -> None:
    """
    The URL in the log can be opened as it stands.
    """
    assert "http://[::1]:10112" == web._url(("::1", 10112, 0, 0))


async def test_a_bad_request_is_not_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """
    Whoever can reach the port can neither fill the log nor get an address into it.
    """
    host, port = site.addresses[0].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()

    assert b" 400 " in answer
    assert [] == caplog.records


async def test_stopping_what_never_started() -> None:
    """
    Endpoints that were never up may be stopped.
    """
    await Web(Health(), Holds(0), Telemetry()).stop()


# Compressed pages, parts of pages, and how often somebody scrapes --------------------------

LEDGER_SAMPLES = [
    f"{family.name}{ending}" for family in FAMILIES for ending in ("", "_bucket", "_count", "_sum")
]


async def raw(site: Site, query: str = "", **headers: str) -> tuple[bytes, str]:
    """
    A page as it is sent, and how it is encoded; nothing is asked for but by these headers.
    """
    async with (
        aiohttp.ClientSession(
            auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
        ) as session,
        session.get(f"{site.addresses[0]}/metrics{query}", headers=headers) as answer,
    ):
        assert 200 == answer.status
        return await answer.read(), answer.headers.get("Content-Encoding", "")


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
async def test_a_page_is_compressed_for_those_who_take_it(site: Site, accept: str) -> None:
    """
    The same page, and smaller; as it is for those who do not say that they take it.
    """
    site.open_ledger()
    query = "?" + "&".join(f"name[]={name}" for name in LEDGER_SAMPLES)
    plain = await raw(site, query, Accept=accept)
    other = await raw(site, query, **{"Accept": accept, "Accept-Encoding": "br, identity"})
    packed, encoding = await raw(
        site, query, **{"Accept": accept, "Accept-Encoding": "deflate, GZIP;q=1"}
    )

    assert ("", plain) == (plain[1], other)
    assert ("gzip", plain[0]) == (encoding, gzip.decompress(packed))
    assert len(packed) < len(plain[0]) / 2


async def test_only_the_samples_that_are_asked_for(site: Site) -> None:
    """
    By name, as the client library has it, the ledger's and the exporter's own.
    """
    site.open_ledger()
    wanted = ["codecommit_pushes_total", "codecommit_exporter_new_series_hold_seconds"]
    body, _ = await raw(site, "?" + "&".join(f"name[]={name}" for name in [*wanted, "nobodys"]))
    found = Page(body.decode(), TEXT).families

    assert {one.removesuffix("_total") for one in wanted} == set(found)
    assert [HOLD_SECONDS] == [sample.value for sample in found[wanted[1]].samples]


async def test_a_hold_starts_only_for_what_a_part_shows(site: Site) -> None:
    """
    Whoever asks for some samples has not seen the others at 0; part of a histogram is it all.
    """
    site.open_ledger()
    query = "?name[]=codecommit_pushes_total&name[]=codecommit_push_references_sum"
    await raw(site, query, **{SCRAPE_HEADER: "10"})
    site.clock.seconds += HOLD_SECONDS

    assert ["codecommit_push_references", "codecommit_pushes_total"] == sorted(
        one.family for one in site.holds.due(site.clock())
    )


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=1.0, identity;q=0", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("deflate, br", False),
        ("", False),
    ],
)
async def test_only_who_takes_gzip_gets_it(site: Site, accepted: str, compressed: bool) -> None:
    """
    A weight of 0 declines.
    """
    site.open_ledger()
    body, encoding = await raw(site, **{"Accept-Encoding": accepted})

    assert ("gzip" if compressed else "") == encoding
    assert compressed is body.startswith(b"\x1f\x8b")


async def test_a_part_may_be_of_the_process(site: Site) -> None:
    """
    What the library itself tells can be asked for by name, as in the library.
    """
    site.open_ledger()
    body, _ = await raw(site, "?name[]=python_info&name[]=process_open_fds")

    assert [b"process_open_fds", b"python_info"] == sorted(
        re.split(rb"[ {]", line)[0] for line in body.splitlines() if not line.startswith(b"#")
    )


GAP = "codecommit_exporter_scrape_gap_seconds"
SELDOM = "Two scrapes are too far apart"


async def gaps(site: Site, *seconds: float, **headers: str) -> list[float]:
    """
    The longest gap that each of some scrapes shows, so much later one after the other.
    """
    shown = []
    for later in seconds:
        site.clock.seconds += later
        shown.append((await site.scrape(**headers)).value(GAP))
    return shown


async def test_the_longest_gap_is_on_the_page(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """
    From the scrape on that comes late; the hold is beside it. It is said once.
    """
    site.open_ledger()
    half = HOLD_SECONDS / 2
    marked = {SCRAPE_HEADER: "10"}
    in_time = await gaps(site, 0, half, half - 1, **marked)
    said_in_time = caplog.text.count(SELDOM)
    late = await gaps(site, half + 1, half, half + 2, **marked)

    assert [0, half, half] == in_time
    assert [half + 1, half + 1, half + 2] == late
    assert (0, 1) == (said_in_time, caplog.text.count(SELDOM))


async def test_nothing_is_said_of_those_who_look_by_hand(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """
    They come when they like, and beside Prometheus they have no gaps either.
    """
    site.open_ledger()
    by_hand = await gaps(site, 0, HOLD_SECONDS)
    await gaps(site, 0, **{SCRAPE_HEADER: "10"})
    beside = await gaps(site, 601, 601)

    assert [0, HOLD_SECONDS] == by_hand
    assert [0, 0] == beside
    assert SELDOM not in caplog.text


async def test_two_that_scrape_in_turn_are_told_apart(site: Site) -> None:
    """
    Each has gaps of its own, and the longest is shown.
    """
    site.open_ledger()
    await gaps(site, 0)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    ) as session:
        site.clock.seconds += 3
        async with session.get(f"{site.addresses[0]}/metrics") as answer:
            second = Page(await answer.text(), answer.headers["Content-Type"]).value(GAP)
    (first,) = await gaps(site, 3)

    assert (0, 6) == (second, first)
