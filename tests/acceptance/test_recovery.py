"""
A ledger that is lost, damaged, shared or out of room changes no count.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from exporter.activity import Activity
from tests import oracle, processes
from tests.processes import clean_environment
from tests.servers import EMPTY, Trail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Serve
    from tests.processes import Exporter, Page

LOG_FILES = 500 if os.environ.get("REQUIRE_ALL") else 100
AT_ONCE = ("--metrics.new-series-hold", "0s")


class Deliveries:
    """
    Log files delivered so far, and what they add up to.
    """

    def __init__(self, trail: Trail, seed: int) -> None:
        self._trail = trail
        self._activity = Activity(seed, repositories=3)
        self._texts: list[str] = []

    def deliver(self, number: int) -> None:
        """
        Deliver so many log files more, each with something to be counted.

        What has nothing is acknowledged without the ledger. How often that is invented depends on
        the time of day.
        """
        while number:
            file = self._activity.log_file(datetime.now(UTC), records=8)
            text = file.inflated.decode()
            if any(oracle.count([text]).values()):
                self._trail.deliver(file.key, file.body)
                self._texts.append(text)
                number -= 1

    def truth(self, first: int = 0) -> oracle.Totals:
        """
        What all of them, or those from the first in question on, add up to.
        """
        return oracle.in_any_order(oracle.count(self._texts[first:]))

    def settle(self, exporter: Exporter) -> Page:
        """
        Wait until all of them have been counted, and scrape.
        """
        exporter.until(lambda: self._trail.depth() == EMPTY, "the queue is empty")
        return exporter.scrape()


@pytest.fixture
def deliveries(trail: Trail) -> Deliveries:
    return Deliveries(trail, seed=5)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """
    The state directory of what ``serve`` starts.
    """
    return tmp_path / "state"


def counted(page: Page) -> oracle.Totals:
    return oracle.in_any_order(page.totals())


def taken_back(pages: list[Page]) -> list[tuple[object, float, float | None]]:
    """
    Every sample that fell, or went missing, from one page to the next.
    """
    return [
        (series, before, after.get(series))
        for earlier, after in pairwise(page.growing() for page in pages)
        for series, before in earlier.items()
        if after.get(series, -1.0) < before
    ]


def damage(ledger: Path) -> None:
    """
    Overwrite a page in the middle of the file.
    """
    with ledger.open("r+b") as file:
        file.seek(ledger.stat().st_size // 2 // 4096 * 4096)
        file.write(os.urandom(4096))


def test_a_volume_that_is_lost(
    serve: Serve, trail: Trail, deliveries: Deliveries, state: Path, tmp_path: Path
) -> None:
    """
    With the backup of two fifths of the files, a ledger lost at seven tenths comes back whole.

    The first page after that has every file, those that came meanwhile as well; no sample is
    lower than before.
    """
    backups = ("--ledger.backup-url", str(tmp_path / "backups"))
    exporter = serve(trail, *AT_ONCE, *backups)
    deliveries.deliver(LOG_FILES * 2 // 5)
    pages = [deliveries.settle(exporter)]
    made = processes.run(
        *("ledger", "backup", "--state.directory", str(state), *backups),
        environment=clean_environment(),
    )
    deliveries.deliver(LOG_FILES * 3 // 10)
    pages.append(deliveries.settle(exporter))
    exporter.kill()
    shutil.rmtree(state)
    deliveries.deliver(LOG_FILES * 3 // 10)
    successor = serve(trail, *AT_ONCE, *backups)
    pages.append(successor.scrape())
    pages.append(deliveries.settle(successor))

    assert (0, b"") == (made.returncode, made.stderr)
    assert "The ledger was lost and is restored" in successor.log
    assert deliveries.truth() == counted(pages[2])
    assert deliveries.truth() == counted(pages[3])
    assert [] == taken_back(pages)


def test_a_damaged_page(
    serve: Serve, trail: Trail, deliveries: Deliveries, state: Path, tmp_path: Path
) -> None:
    """
    The damaged ledger is moved aside, and the newest backup takes its place and catches up.
    """
    backups = ("--ledger.backup-url", f"file://{tmp_path}/backups")
    exporter = serve(trail, *AT_ONCE, *backups).ready()
    exporter.until(lambda: "is backed up" in exporter.log, "the first backup is made")
    deliveries.deliver(20)
    before = deliveries.settle(exporter)
    exporter.terminate()
    damage(state / "ledger.db")
    after = serve(trail, *AT_ONCE, *backups).scrape()

    assert deliveries.truth() == counted(before)
    assert deliveries.truth() == counted(after)
    assert 1 == len(list(state.glob("ledger.db.damaged-*Z")))


def test_a_copy_that_cannot_catch_up_stays_one(
    serve: Serve, trail: Trail, deliveries: Deliveries, state: Path, tmp_path: Path
) -> None:
    """
    Without a bucket to catch up from the program does not start; later, with one, it does.
    """
    backups = ("--ledger.backup-url", str(tmp_path / "backups"))
    exporter = serve(trail, *AT_ONCE, *backups).ready()
    exporter.until(lambda: "is backed up" in exporter.log, "the first backup is made")
    deliveries.deliver(5)
    deliveries.settle(exporter)
    exporter.kill()
    (state / "ledger.db").unlink()
    on_state = ("--state.directory", str(state))
    environment = clean_environment(**trail.aws.environment)
    restored = processes.run("ledger", "restore", *on_state, *backups, environment=environment)
    refused = processes.run(
        *("serve", "--sqs.queue-url", trail.queue_url, "--s3.allow-any-bucket", *on_state),
        *("--web.listen-address", "127.0.0.1:0"),
        environment=environment,
    )
    after = deliveries.settle(serve(trail, *AT_ONCE))

    assert (0, 2) == (restored.returncode, refused.returncode)
    assert b"--s3.allowed-bucket is missing" in refused.stderr
    assert deliveries.truth() == counted(after)


def test_a_lost_ledger_waits_for_a_word(
    serve: Serve, trail: Trail, deliveries: Deliveries, state: Path
) -> None:
    """
    Without a backup nothing is shown and nothing taken, and one line says what can be done.

    After recount the page has all log files of the bucket, also those that come meanwhile.
    """
    exporter = serve(trail, *AT_ONCE).ready()
    deliveries.deliver(10)
    deliveries.settle(exporter)
    exporter.terminate()
    (state / "ledger.db").unlink()
    exporter = serve(trail, *AT_ONCE)
    exporter.until(lambda: "--ledger.rebuild" in exporter.log, "the log says what can be done")
    deliveries.deliver(5)
    answers = [exporter.get(path) for path in ("/metrics", "/-/ready", "/-/healthy")]
    waiting = trail.depth()
    exporter.terminate()
    recounted = deliveries.settle(serve(trail, *AT_ONCE, "--ledger.rebuild", "recount"))

    assert [503, 503, 200] == [answer.status for answer in answers]
    assert "ledger.db is gone" in answers[1].text
    # The server may hand one to the last call of the process before, which nobody answers.
    assert 5 == waiting.visible + waiting.in_flight
    assert deliveries.truth() == counted(recounted)


def test_marking_counts_only_what_comes(
    serve: Serve, trail: Trail, deliveries: Deliveries, state: Path
) -> None:
    """
    After mark nothing that was in the bucket counts, however often it is announced.
    """
    exporter = serve(trail, *AT_ONCE).ready()
    deliveries.deliver(10)
    deliveries.settle(exporter)
    exporter.terminate()
    (state / "ledger.db").unlink()
    deliveries.deliver(5)
    exporter = serve(trail, *AT_ONCE, "--ledger.rebuild", "mark")
    marked = deliveries.settle(exporter)
    deliveries.deliver(5)
    after = deliveries.settle(exporter)

    assert 0 == marked.value("codecommit_events_total")
    events = sum(deliveries.truth(first=15)["codecommit_events_total"].values())
    assert events == after.value("codecommit_events_total")


def test_a_ledger_that_is_taken_away(
    serve: Serve, trail: Trail, deliveries: Deliveries, state: Path, tmp_path: Path
) -> None:
    """
    Without its folder the exporter is not ready and acknowledges nothing; started anew it is.
    """
    backups = ("--ledger.backup-url", str(tmp_path / "backups"))
    exporter = serve(trail, *AT_ONCE, *backups).ready()
    exporter.until(lambda: "is backed up" in exporter.log, "the first backup is made")
    deliveries.deliver(10)
    deliveries.settle(exporter)
    shutil.rmtree(state)
    deliveries.deliver(10)
    exporter.until(lambda: "was taken away" in exporter.log, "the log tells")
    exporter.until(lambda: exporter.get("/-/ready").status == 503, "it is not ready")
    # A message that comes back just now may be in neither number; one that is deleted stays away.
    exporter.until(lambda: 10 == sum(trail.depth()[:2]), "all ten messages are still there")
    exporter.terminate()
    after = deliveries.settle(serve(trail, *AT_ONCE, *backups))

    assert deliveries.truth() == counted(after)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """
    A disk of one megabyte on a folder, during the block.
    """
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only root may mount the small disk that this needs")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """
    Leave no room on a disk.
    """
    with (folder / "filler").open("wb", buffering=0) as filler:
        for size in (65536, 4096, 1):
            try:
                while filler.write(bytes(size)):
                    pass
            except OSError:
                continue


def empty(folder: Path) -> None:
    (folder / "filler").unlink()


def test_a_full_disk(serve: Serve, unlaid_trail: Trail, state: Path) -> None:
    """
    While there is no room nothing is acknowledged and none wears out; then all is counted.

    Whoever is received a second time goes to the dead-letter queue.
    """
    trail = unlaid_trail.lay(visibility_seconds=2, receives=1)
    deliveries = Deliveries(trail, seed=6)
    with small_disk(state):
        exporter = serve(trail, *AT_ONCE).ready()
        deliveries.deliver(3)
        before = deliveries.settle(exporter)
        fill(state)
        deliveries.deliver(20)
        exporter.until(
            lambda: "ledger: it cannot be written" in exporter.get("/-/ready").text,
            "it says that it is not ready",
        )
        exporter.until(lambda: exporter.log.count("is not counted") > 0, "the log tells")
        waiting = trail.depth()
        during = exporter.scrape()
        empty(state)
        after = deliveries.settle(exporter)
        exporter.ready()
        exporter.terminate()

    assert 20 == waiting.visible + waiting.in_flight
    assert counted(before) == counted(during)
    assert 0 == during.value("codecommit_exporter_ledger_writable")
    assert deliveries.truth() == counted(after)
    assert 1 == after.value("codecommit_exporter_ledger_writable")


def test_a_disk_that_cannot_be_written_at_first(
    serve: Serve, trail: Trail, deliveries: Deliveries, state: Path
) -> None:
    """
    Nothing is received until it can; then the exporter begins by itself.
    """
    with small_disk(state):
        subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
        exporter = serve(trail, *AT_ONCE)
        exporter.until(lambda: "Not ready" in exporter.log, "it says that it is not ready")
        deliveries.deliver(5)
        answers = [exporter.get(path) for path in ("/metrics", "/-/ready")]
        waiting = trail.depth()
        subprocess.run(["mount", "-o", "remount,rw", str(state)], check=True)
        page = deliveries.settle(exporter)
        exporter.terminate()

    assert [503, 503] == [answer.status for answer in answers]
    assert "Read-only file system" in answers[1].text
    assert (6, 0) == (waiting.visible, waiting.in_flight), "five, and the bucket's test event"
    assert deliveries.truth() == counted(page)


def test_a_second_process_on_the_same_ledger(
    serve: Serve, trail: Trail, deliveries: Deliveries
) -> None:
    """
    It waits, not ready and without a page, and takes over when the first is killed.
    """
    first = serve(trail, *AT_ONCE).ready()
    second = serve(trail, *AT_ONCE)
    second.until(lambda: "another process has the ledger open" in second.log, "it waits")
    deliveries.deliver(10)
    before = deliveries.settle(first)
    answers = [second.get(path) for path in ("/metrics", "/-/ready")]
    first.kill()
    deliveries.deliver(10)
    after = second.scrape()
    pages = [before, after, deliveries.settle(second)]

    assert [503, 503] == [answer.status for answer in answers]
    assert "another process has it open" in answers[1].text
    assert deliveries.truth() == counted(pages[-1])
    assert [] == taken_back(pages)
