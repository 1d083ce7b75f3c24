"""
The benchmark of growth keeps working, fills ledgers as they fill themselves, and measures all.
"""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path

import pytest

from exporter.families import EVENTS
from tests.bench import growth
from tests.bench.growth import Clock, Curve, Shown, born, count, opened
from tests.readings import at, events_total, reading


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """
    A new ledger, closed.
    """
    path = tmp_path / "ledger.sqlite"
    await born(path)
    return path


async def test_ids_filled_in_are_remembered_and_forgotten(path: Path) -> None:
    """
    As many as asked for, where the ledger itself puts new ones, and dropped with their period.
    """
    clock = Clock(growth.NOW)
    growth.fill_with_ids(path, 1000)
    filled = growth.remembered(path)
    async with opened(path, clock) as ledger:
        await ledger.commit(reading(at(clock.now - 60), delivered=clock.now))
        grown = growth.remembered(path)
        pruned = await growth.pruning(ledger, clock, 1000)
    (period,) = filled
    (later,) = growth.remembered(path)

    assert ({period: 1000}, [period]) == (filled, [*grown])
    assert grown[period] > 1000
    assert period < later
    assert ("ms", growth.STALL_MS_MAX) == (pruned.unit, pruned.bound)


async def test_a_commit_changes_twenty_series_however_many_there_are(path: Path) -> None:
    """
    All series filled in are there, and the same few are added once and then change.
    """
    growth.fill_with_series(path, 100)
    async with opened(path, Clock(growth.NOW)) as ledger:
        before = dict(ledger.series)
        costs = await Shown(ledger).turn()
        after = ledger.series
        changed = {one for one, state in after.items() if state != before.get(one)}

        assert (100, 20, 120) == (len(before), len(changed), len(after))
        assert 5 * growth.COMMITS_A_TURN == events_total(ledger) - sum(
            state.total.amount for one, state in before.items() if one.family == EVENTS.name
        )
    assert {"commit", "writing", "text", "copy"} == costs.keys()


async def test_every_event_of_the_files_is_counted(path: Path) -> None:
    """
    Once: a file that comes again adds nothing, and the benchmark notices.
    """
    files = list(islice(growth.log_files(seed=1), 3))
    async with opened(path, Clock(growth.NOW)) as ledger:
        await count(ledger, files)
        counted = events_total(ledger)
        with pytest.raises(AssertionError):
            await count(ledger, files)

        assert sum(len(file.read().events) for file in files) == counted == events_total(ledger)


def test_larger_sizes_are_told_beside_the_smallest() -> None:
    """
    As the median of the turns' ratios, with a bound; points are medians in milliseconds.
    """
    curve = Curve("ids", "commit", "file", {10: [1.0, 2.0, 4.0], 100: [2.0, 2.0, 80.0]})
    (found,) = curve.findings()

    assert ("commit, 100 ids beside 10", 2.0, False) == (found.name, found.figure, found.met)
    assert {
        "sizes_of": "ids",
        "work": "commit",
        "item": "file",
        "sizes": [10, 100],
        "ms": [2000.0, 2000.0],
        "times": [1.0, 2.0],
    } == curve.points()


async def test_turns_go_forwards_and_backwards() -> None:
    """
    After one turn each that is not told, so that no size gains from its place.
    """
    order: list[int] = []

    def turn(size: int) -> growth.Turn:
        async def taken() -> growth.Costs:
            order.append(size)
            return {"file": float(len(order))}

        return taken

    spent = await growth.in_turns({1: turn(1), 2: turn(2)}, rounds=2)

    assert [1, 2, 1, 2, 2, 1] == order
    assert {"file": {1: [3.0, 6.0], 2: [4.0, 5.0]}} == spent


def test_a_small_run_finds_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """
    Each thing that grows has its curves and bounds; each table is printed, and all is written.
    """
    written = tmp_path / "growth.json"
    monkeypatch.setattr(sys, "argv", ["growth", "--small", "--json", str(written)])
    growth.main()
    found = json.loads(written.read_text(encoding="utf-8"))
    bounds = [each["bound"] for each in found["findings"]]

    assert [("files", 1), ("series", 4), ("ids", 2)] == [
        (grown, sum(curve["sizes_of"] == grown for curve in found["curves"]))
        for grown in ("files", "series", "ids")
    ]
    assert (4, 1) == (bounds.count(growth.GROWTH_MAX), bounds.count(growth.STALL_MS_MAX))
    assert {(growth.SMALL.files, growth.SMALL.series, growth.SMALL.ids)} == {
        tuple(tuple(found["curves"][place]["sizes"]) for place in (0, 1, 5))
    }
    assert len(found["findings"]) == len({each["name"] for each in found["findings"]})
    assert 4 == capsys.readouterr().out.count("(CPU, medians)")
