"""
The program is killed, life after life; nothing is lost, counted twice or taken back.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from random import Random
from signal import SIGKILL
from typing import TYPE_CHECKING, Self

import pytest

from exporter.activity import ACCOUNTS, REGIONS, Activity, WrittenLogFile
from tests import oracle
from tests.kills import End, Life, Point
from tests.processes import PROJECT, clean_environment
from tests.servers import EMPTY, Trail, eventually, without

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.conftest import Serve

KILLS, KILLS_AT_EACH_POINT = (200, 20) if os.environ.get("REQUIRE_ALL") else (30, 3)
MOMENT = "at a random moment"
TURN_MAX = 5
SECONDS_MAX = 1.0
"""A life begins to count after a quarter of it, where the machine has nothing else to do."""

REPEATED = 0.15
"""The share of log files whose events come once more, in another file."""
WAITING_MAX = 20


class Deliveries(threading.Thread):
    """
    Log files that keep arriving inside the ``with`` block.
    """

    def __init__(self, trail: Trail, seed: int) -> None:
        super().__init__(name="deliveries")
        self._trail = trail
        self._chance = Random(seed)  # noqa: S311 - decides what is repeated, keeps no secret
        self._activity = Activity(seed, accounts=ACCOUNTS[:2], regions=REGIONS[:1], repositories=1)
        self._over = threading.Event()
        self._files: list[WrittenLogFile] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """
        Deliver one file after the other, and now and then what an earlier one held.

        There are always some waiting, and never more than a program that is killed so often
        can keep up with.
        """
        while not self._over.wait(0.1):
            if self._trail.depth().visible > WAITING_MAX:
                continue
            now = datetime.now(UTC)
            self._deliver(self._activity.log_file(now, records=20))
            if self._chance.random() < REPEATED:
                self._deliver(self._activity.repeat(self._chance.choice(self._files[-50:]), now))

    def _deliver(self, file: WrittenLogFile) -> None:
        self._trail.deliver(file.key, file.body)
        self._files.append(file)

    @property
    def texts(self) -> list[str]:
        """
        What has been delivered, in order.
        """
        return [file.inflated.decode() for file in self._files]


def growing(page: str) -> dict[str, float]:
    """
    Every sample that the ledger holds and that may only grow, by its name and labels.

    The libraries' parsers would take longer for it than the program takes to write the page.
    """
    samples: dict[str, float] = {}
    grows = False
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            family, kind = line.split(" ")[2:]
            own = family.startswith("codecommit_exporter_")
            grows = family.startswith("codecommit_") and not own and kind != "gauge"
        elif grows and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            samples[series] = float(value)
    return samples


class Pages:
    """
    The pages of all lives as one Prometheus sees them, each held against the one before.
    """

    def __init__(self) -> None:
        self.count = 0
        self.taken_back: list[tuple[str, float, float | None]] = []
        """Every sample that fell, or went missing, from one page to the next."""
        self._earlier: dict[str, float] = {}

    def add(self, page: str) -> None:
        """
        Look at the next page.
        """
        samples = growing(page)
        self.taken_back += [
            (series, before, samples.get(series))
            for series, before in self._earlier.items()
            if samples.get(series, -1.0) < before
        ]
        self._earlier = samples
        self.count += 1


class Lives:
    """
    The process of ``tests.kills``, there inside the ``with`` block, and the life it now lives.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        # What is killed would lose its measurements, and be slow for nothing.
        self._environment = without(environment, "COVERAGE_")
        self._life = Life((), "")
        self._address = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kills"],
            cwd=PROJECT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            os.killpg(self._process.pid, SIGKILL)  # a life, too, if one has not ended

    def begin(self, life: Life) -> None:
        """
        Have the next life begin.
        """
        self._life, self._address = life, ""
        assert self._process.stdin is not None
        print(json.dumps(life._asdict()), file=self._process.stdin, flush=True)

    def page(self) -> str:
        """
        What the life shows now; nothing before it begins to, and after its end.
        """
        self._address = self._address or self._told_address()
        if not self._address:
            return ""
        with closing(HTTPConnection(self._address, timeout=10)) as connection:
            try:
                connection.request("GET", "/metrics")
                answer = connection.getresponse()
                text = answer.read().decode()
            except (OSError, HTTPException):
                return ""
        return text if answer.status == 200 else ""

    def _told_address(self) -> str:
        log = Path(self._life.log)
        told = re.search(
            r"\baddress=\"?http://(127\.0\.0\.1:\d+)", log.read_text() if log.exists() else ""
        )
        return told[1] if told else ""

    def has_ended(self) -> bool:
        """
        Whether the life has come to its end, which ``end`` then tells at once.
        """
        assert self._process.stdout is not None
        answers, _, _ = select.select([self._process.stdout], [], [], 0)
        return bool(answers)

    def end(self) -> End:
        """
        How the life ended; waited for.
        """
        assert self._process.stdout is not None
        return End(*json.loads(self._process.stdout.readline()))


def lives(chance: Random, trail: Trail, folder: Path) -> Iterator[Life]:
    """
    All lives, each with an end of its own, in an order left to chance.
    """
    points = [str(point) for point in Point for _ in range(KILLS_AT_EACH_POINT)]
    points += [""] * (KILLS - len(points))
    chance.shuffle(points)
    for number, point in enumerate(points, start=1):
        yield Life(
            arguments=(
                "serve",
                *("--sqs.queue-url", trail.queue_url),
                *("--s3.allowed-bucket", trail.bucket),
                *("--state.directory", str(folder / "state")),
                *("--metrics.new-series-hold", chance.choice(("0s", "1s"))),
                *("--web.listen-address", "127.0.0.1:0"),
            ),
            log=str(folder / f"life-{number}.log"),
            point=point,
            turn=chance.randint(1, TURN_MAX),
            seconds=chance.uniform(0, SECONDS_MAX),
        )


def settled(totals: oracle.Totals) -> oracle.Totals:
    """
    The totals that do not depend on the order of the commits.

    A sandbox comes and goes at invented times, not all of them one after the other: which id
    it has at last depends on the order, too.
    """
    ids = totals["codecommit_repository_info"]
    lasting = {labels: one for labels, one in ids.items() if not labels[2].startswith("sandbox")}
    return oracle.in_any_order(totals) | {"codecommit_repository_info": lasting}


@pytest.mark.timeout(600)
def test_killed_again_and_again(
    serve: Serve, unlaid_trail: Trail, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Killed at every step and at any moment, started anew each time, the program ends up right.

    What it shows never goes back, and no message is left in the queue or in the one behind it.
    """
    trail = unlaid_trail.lay(visibility_seconds=1)
    chance = Random(99)  # noqa: S311 - decides how lives end, keeps no secret
    pages = Pages()
    kills: Counter[str] = Counter()

    def watched_to_its_end() -> bool:
        if page := program.page():
            pages.add(page)
        return program.has_ended()

    with (
        Lives(clean_environment(**trail.aws.environment)) as program,
        Deliveries(trail, seed=99) as deliveries,
    ):
        for life in lives(chance, trail, tmp_path):
            program.begin(life)
            eventually(watched_to_its_end, f"the life of {life.log} ends")
            assert End(SIGKILL, life.point) == program.end(), Path(life.log).read_text()
            kills[life.point or MOMENT] += 1
    exporter = serve(trail, "--metrics.new-series-hold", "0s")
    exporter.until(lambda: trail.depth() == EMPTY, "the queue is empty")
    page = exporter.scrape()
    pages.add(page.text)
    with capsys.disabled():
        print(f"\n{kills.total()} kills: {dict(kills)}; {pages.count} pages")  # noqa: T201

    assert [] == [point for point in Point if kills[point] < KILLS_AT_EACH_POINT]
    assert pages.count > 1
    assert sorted(page.growing().values()) == sorted(growing(page.text).values())
    assert [] == pages.taken_back
    assert [] == [log.name for log in tmp_path.glob("life-*.log") if "Traceback" in log.read_text()]
    assert settled(oracle.count(deliveries.texts)) == settled(page.totals())
