"""
What has been acknowledged is on the disk when the power goes.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from exporter.families import EVENTS
from exporter.ledger.book import Policy
from exporter.ledger.sqlite import SqliteLedger
from tests.conftest import needs
from tests.power_cut import CALLS, disks
from tests.processes import PROJECT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMITS = 25
EVENTS_EACH = 5


def disks_of(tmp_path: Path, synchronous: str) -> Iterator[Path]:
    """
    The disk at worst at each acknowledgement of a ledger in this mode, as a folder.
    """
    folder, log = tmp_path / "state", tmp_path / "log"
    strace = (needs("strace"), "-f", "-y", "-xx", "-s", "100000", "-e", CALLS, "-o", str(log))
    program = (sys.executable, "-m", "tests.power_cut")
    subprocess.run(
        [*strace, *program, str(folder / "ledger.db"), str(COMMITS), synchronous],
        cwd=PROJECT,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    for number, files in enumerate(disks(log, folder), start=1):
        disk = tmp_path / f"disk-{number}"
        disk.mkdir()
        for name, content in files.items():
            (disk / name).write_bytes(content)
        yield disk


async def lost(tmp_path: Path, synchronous: str = "") -> list[int]:
    """
    How many acknowledged events the disk lacks, for a power cut at each acknowledgement.
    """
    return [
        number * EVENTS_EACH - await events_on(disk)
        for number, disk in enumerate(disks_of(tmp_path, synchronous), start=1)
    ]


async def events_on(disk: Path) -> int:
    """
    How many events the ledger on a disk has counted.
    """
    ledger = await SqliteLedger.open(disk / "ledger.db", window_seconds=90 * 86400, policy=Policy())
    await ledger.close()
    return sum(
        state.total.amount
        for series, state in ledger.series.items()
        if series.family == EVENTS.name
    )


async def test_a_power_cut_takes_nothing_back(tmp_path: Path) -> None:
    """
    Whenever the power goes, every commit that has returned is on the disk.
    """
    assert [0] * COMMITS == await lost(tmp_path)


async def test_without_full_synchronisation_it_would(tmp_path: Path) -> None:
    """
    In the mode that syncs less often, commits that have returned are missing.
    """
    assert any(await lost(tmp_path, "NORMAL"))
