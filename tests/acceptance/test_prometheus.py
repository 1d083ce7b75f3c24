"""
What a real Prometheus has seen at the end is what has happened.

Two of them scrape the program, one twice as often as the other, while it counts, is killed and
started again. They are away at the same time: a series' hold ends for all of them, once one
of them has seen it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import pytest

from exporter.activity import ACCOUNTS, REGIONS, Activity, WrittenLogFile
from tests import oracle, records
from tests.conftest import needs
from tests.prometheus import Prometheus, free_port
from tests.servers import EMPTY, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.conftest import Serve
    from tests.processes import Exporter
    from tests.servers import Trail

ROUNDS, LOG_FILES = (3, 5) if os.environ.get("REQUIRE_ALL") else (1, 1)
INTERVALS = (0.5, 1.0)
HOLD_SECONDS = 4

GROWING = '{__name__=~"codecommit_.+_(total|count|sum|bucket)", __name__!~"codecommit_exporter_.+"}'
INCREASE_ERROR_MAX = 0.02
EVENTS = "codecommit_events_total"
ADDED_BY_PROMETHEUS = {"__name__", "instance", "job"}

Series = tuple[str, frozenset[tuple[str, str]]]
"""A sample's name and its labels."""

Truth = dict[Series, float]
"""What each series has counted."""


@pytest.fixture
def binary() -> str:
    """
    Prometheus, as installed or as the variable PROMETHEUS names it.
    """
    return needs(os.environ.get("PROMETHEUS", "prometheus"))


class Scene:
    """
    The program on a trail and the Prometheus that scrape it, there inside the ``with`` block.

    Args:
        start: starts the program, always on the address that is scraped.
        trail: where log files are delivered.
        prometheus: come and go together.

    """

    def __init__(
        self, start: Callable[[], Exporter], trail: Trail, prometheus: Sequence[Prometheus]
    ) -> None:
        self._start = start
        self._trail = trail
        self._activity = Activity(7, accounts=ACCOUNTS[:1], regions=REGIONS[:1], repositories=2)
        self._files: list[WrittenLogFile] = []
        self._waves = 0
        self._stack = ExitStack()
        self.prometheus = prometheus
        self.kills = self.kills_inside_holds = 0

    def __enter__(self) -> Self:
        """
        Wait until every Prometheus has scraped a page without series.
        """
        with ExitStack() as stack:
            for prometheus in self.prometheus:
                stack.enter_context(prometheus)
            self.restart()
            self.until_scraped()
            self._stack = stack.pop_all()
        self.begun = time.time()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def until_scraped(self) -> None:
        """
        Wait until every Prometheus has scraped once more.
        """
        for prometheus in self.prometheus:
            prometheus.until_ready().until_scraped()

    @property
    def newest(self) -> str:
        """
        The repository of the newest wave.
        """
        return f"wave-{self._waves}"

    def deliver(self) -> None:
        """
        Deliver a wave: a new repository with three pushes and a single call, and what others do.

        The first repository gets one more push.
        """
        self._waves += 1
        self._deliver(
            self._log_file(
                records.api_call("PutFile", self.newest),
                *(push for _ in range(3) for push in push_to(self.newest)),
                *push_to("wave-1"),
            ),
            *(self._activity.log_file(datetime.now(UTC), records=40) for _ in range(LOG_FILES)),
        )

    def deliver_one_push(self) -> set[str]:
        """
        Deliver one more push to the first repository; return the ids of its events.
        """
        push = push_to("wave-1")
        self._deliver(self._log_file(*push))
        return {record["eventID"] for record in push}

    def redeliver(self) -> None:
        """
        Announce the log files of the newest wave again, and deliver others with the same events.
        """
        newest = self._files[-1 - LOG_FILES :]
        now = datetime.now(UTC)
        self._deliver(*newest, *(self._activity.repeat(file, now) for file in newest))

    def _log_file(self, *of_ours: records.Record) -> WrittenLogFile:
        body = records.log_file(records.text(*of_ours))
        return WrittenLogFile(records.key(len(self._files)), body, truth=Counter())

    def _deliver(self, *files: WrittenLogFile) -> None:
        for file in files:
            self._trail.deliver(file.key, file.body)
        self._files += files

    @property
    def texts(self) -> list[str]:
        """
        What has been delivered, in order.
        """
        return [file.inflated.decode() for file in self._files]

    def until_counted(self) -> None:
        """
        Wait until no log file waits to be counted.
        """
        self.exporter.until(lambda: self._trail.depth() == EMPTY, "the queue is empty")

    def until_shown(self) -> Truth:
        """
        Wait until every Prometheus has seen all events, and give what each series then shows.

        The page is asked for last: as long as no Prometheus has been there, whoever asks
        starts the hold.
        """
        self.until_counted()
        truth = oracle.count(self.texts)
        all_events = f"sum({EVENTS}) == {sum(truth[EVENTS].values())}"
        for prometheus in self.prometheus:
            eventually(partial(has_any, prometheus, all_events), f"Prometheus sees {all_events}")
        self.exporter.until(
            lambda: settled(truth) == settled(self.exporter.scrape().totals()),
            "the page shows what the log files hold",
        )
        self.until_scraped()
        return {
            series(name, dict(labels)): value
            for (name, labels), value in self.exporter.scrape().growing().items()
        }

    def kill(self) -> None:
        """
        Kill the program, wherever it is.
        """
        self.exporter.kill()
        self.kills += 1

    def kill_inside_the_hold(self) -> None:
        """
        Kill the program once every Prometheus has a sample of the newest wave, which is still 0.
        """
        newest = f'last_over_time({EVENTS}{{repository="{self.newest}"}}[1m])'
        for prometheus in self.prometheus:
            eventually(partial(has_any, prometheus, newest), f"Prometheus meets {self.newest}")
        self.kill()
        self.kills_inside_holds += not any(
            result.value for prometheus in self.prometheus for result in prometheus.query(newest)
        )

    def restart(self) -> None:
        """
        Start the program again.
        """
        self.exporter = self._start().ready()

    def stop_prometheus(self) -> None:
        """
        Stop every Prometheus.
        """
        for prometheus in self.prometheus:
            prometheus.stop()

    def start_prometheus(self) -> None:
        """
        Start every Prometheus again; they go on with the data they have.
        """
        for prometheus in self.prometheus:
            prometheus.start()
        self.until_scraped()


def push_to(repository: str) -> list[records.Record]:
    """
    A push of a branch and a tag.
    """
    return records.push_pair(repository, "refs/heads/a", "refs/tags/b")


def settled(totals: oracle.Totals) -> oracle.Totals:
    """
    What only grows, in whatever order the log files are counted.
    """
    return {
        sample: values
        for sample, values in oracle.in_any_order(totals).items()
        if sample != "codecommit_repository_info"
    }


def has_any(prometheus: Prometheus, expression: str) -> bool:
    """
    Whether a Prometheus has an answer to an expression.
    """
    return bool(prometheus.query(expression))


def series(name: str, labels: Mapping[str, str]) -> Series:
    """
    A series by the name and the labels that every version of Prometheus keeps.

    An empty label is as good as none, and a bucket's bound is written in more than one way.
    """
    own = {
        label: value
        for label, value in labels.items()
        if value and label not in ADDED_BY_PROMETHEUS
    }
    if "le" in own:
        own["le"] = str(float(own["le"]))
    return name, frozenset(own.items())


def a_round(scene: Scene) -> None:
    """
    What can happen to two waves, from quiet to quiet.

    The program is killed inside the hold of the first. The second comes while no Prometheus
    is there, for as long as a hold takes, and the program is killed while it reads it.
    """
    scene.deliver()
    scene.kill_inside_the_hold()
    scene.restart()
    scene.redeliver()
    scene.until_shown()

    scene.stop_prometheus()
    back = time.monotonic() + HOLD_SECONDS
    scene.deliver()
    scene.kill()
    scene.restart()
    scene.redeliver()
    scene.until_counted()
    eventually(lambda: time.monotonic() > back, "a hold's time is over")
    scene.start_prometheus()
    scene.until_shown()


class Wrong(NamedTuple):
    """
    What is wrong with a series as a Prometheus has seen it.
    """

    series: Series
    complaint: str


def differences(prometheus: Prometheus, begun: float, truth: Truth) -> list[Wrong]:
    """
    Hold every sample that a Prometheus has since ``begun`` against the truth.

    The end is its last scrape: PromQL extends an increase to the end of its range, and would
    here extend that of a young series by more than it may be wrong.
    """
    end = prometheus.scrapes()[-1].at
    span = f"[{round((end - begun) * 1000)}ms]"
    samples = {
        series(result.labels["__name__"], result.labels): result.points
        for result in prometheus.query(GROWING + span, end)
    }
    increases = {
        series(name, result.labels): result.value
        for name in {name for name, _ in samples}
        for result in prometheus.query(f"increase({name}{span})", end)
    }
    return [
        Wrong(one, complaint)
        for one in sorted(samples.keys() | truth.keys(), key=str)
        for complaint in complaints(
            [point.value for point in samples.get(one, ())],
            increases.get(one, 0.0),
            truth.get(one, 0.0),
        )
    ]


def complaints(values: Sequence[float], increase: float, truth: float) -> Iterator[str]:
    """
    What is wrong with a series, by all its samples and their increase.
    """
    if not values:
        yield "never seen"
        return
    if values[-1] - values[0] != truth:
        yield f"grew from {values[0]} to {values[-1]}, not by {truth}"
    if list(values) != sorted(values):
        yield f"fell: {values}"
    if abs(increase - truth) > INCREASE_ERROR_MAX * truth:
        yield f"increased by {increase}, not {truth}"


def event_ids(prometheus: Prometheus, begun: float) -> set[str]:
    """
    The ids of events that a Prometheus has met as exemplars.
    """
    exemplars = prometheus.exemplars(GROWING, begun, time.time())
    return {exemplar["labels"]["event_id"] for exemplar in exemplars}


class MakeScene(Protocol):
    """
    Sets a scene with a hold of so many seconds.
    """

    def __call__(self, hold_seconds: int) -> Scene: ...


@pytest.fixture
def make_scene(binary: str, serve: Serve, trail: Trail, tmp_path: Path) -> MakeScene:
    """
    A trail, the program on a port that it keeps, and one Prometheus for each interval.
    """
    address = f"127.0.0.1:{free_port()}"

    def make(hold_seconds: int) -> Scene:
        flags = ("--web.listen-address", address, "--metrics.new-series-hold", f"{hold_seconds}s")
        prometheus = [
            Prometheus(binary, tmp_path / f"every-{interval}s", [address], interval=interval)
            for interval in INTERVALS
        ]
        return Scene(partial(serve, trail, *flags), trail, prometheus)

    return make


def test_prometheus_sees_what_has_happened(
    make_scene: MakeScene, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Every series has grown by what it counts, never fell, and increases by that in PromQL, too.

    The newest events are known by their ids as well.
    """
    with make_scene(HOLD_SECONDS) as scene:
        for _ in range(ROUNDS):
            a_round(scene)
        newest = scene.deliver_one_push()
        truth = scene.until_shown()
        wrong = [differences(prometheus, scene.begun, truth) for prometheus in scene.prometheus]
        told = [event_ids(prometheus, scene.begun) for prometheus in scene.prometheus]
        scrapes = [len(prometheus.scrapes()) for prometheus in scene.prometheus]
        warnings = [line for prometheus in scene.prometheus for line in prometheus.warnings()]
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{len(truth)} series, {scrapes} scrapes, {scene.kills} kills, "
            f"{scene.kills_inside_holds} of them inside a hold"
        )

    assert [[] for _ in scene.prometheus] == wrong
    assert [newest for _ in scene.prometheus] == [newest & ids for ids in told]
    assert [] == warnings
    assert ROUNDS == scene.kills_inside_holds


def test_without_a_hold_first_increments_are_lost(make_scene: MakeScene) -> None:
    """
    The same comparison finds every counter that has counted, where none begins at 0.
    """
    with make_scene(0) as scene:
        scene.deliver()
        truth = scene.until_shown()
        wrong = [differences(prometheus, scene.begun, truth) for prometheus in scene.prometheus]

    counted = {one for one, value in truth.items() if value and one[0].endswith("_total")}
    found = [{one.series for one in several} for several in wrong]
    assert [counted for _ in scene.prometheus] == [counted & one for one in found]
