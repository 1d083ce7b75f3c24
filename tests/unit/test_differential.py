"""
The program and the oracle count the same, whatever is told in whatever order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.ledger.book import Policy
from exporter.ledger.sqlite import SqliteLedger
from tests import oracle
from tests.actions import ACTIONS
from tests.counting import NOW, ledger_of, reading
from tests.history import History
from tests.pages import page_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

RECORDS = 5_000


@pytest.fixture(scope="module")
def log_files() -> list[str]:
    """
    The texts of one long history's log files.
    """
    return History(seed=4).log_files(RECORDS)


@pytest.fixture(scope="module")
def expected(log_files: list[str]) -> oracle.Totals:
    """
    What the history counts to, read from the contract.
    """
    return oracle.count(log_files)


@pytest.fixture(scope="module")
def found(log_files: list[str]) -> oracle.Totals:
    """
    What the program's page shows of it, counted in memory.
    """
    return page_of(ledger_of(log_files)).totals()


def test_the_history_leaves_nothing_out(expected: oracle.Totals) -> None:
    """
    Every action is in it, and every sample has series; else equal totals would say little.
    """
    actions = {labels[3] for labels in expected["codecommit_events_total"]}

    assert set() == set(ACTIONS) - actions
    assert [] == [sample for sample, series in expected.items() if not series]


@pytest.mark.parametrize("sample", oracle.LABELS)
def test_the_program_counts_what_the_contract_says(
    sample: str, expected: oracle.Totals, found: oracle.Totals
) -> None:
    """
    Family by family and series by series, in the order of the commits.
    """
    assert expected[sample] == found[sample]


async def counted_on_disk(path: Path, log_files: Iterable[tuple[int, str]]) -> oracle.Totals:
    """
    What a ledger's page shows after these log files, given with their numbers.
    """
    ledger = await SqliteLedger.open(
        path, window_seconds=90 * 86400, policy=Policy(), now=lambda: NOW
    )
    for number, log_file in log_files:
        await ledger.commit(reading(number, log_file))
    shown = page_of(ledger).totals()
    await ledger.close()
    return shown


async def test_a_ledger_on_disk_counts_the_same(
    tmp_path: Path, log_files: list[str], expected: oracle.Totals
) -> None:
    """
    What one commit taught, the next finds in the database, also after a restart.
    """
    numbered = list(enumerate(log_files))
    half = len(numbered) // 2
    await counted_on_disk(tmp_path / "ledger.db", numbered[:half])

    assert expected == await counted_on_disk(tmp_path / "ledger.db", numbered[half:])


@pytest.mark.parametrize("seed", range(20))
def test_short_histories_agree_as_well(seed: int) -> None:
    """
    Other seeds are other orders of things.
    """
    log_files = History(seed).log_files(records_min=150)

    assert oracle.count(log_files) == page_of(ledger_of(log_files)).totals()
