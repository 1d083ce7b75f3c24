"""
Log files that inflate to a thousand times their size, eight at once.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isal import isal_zlib

from tests import oracle, records

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Serve
    from tests.processes import Exporter, Page
    from tests.servers import Trail

MIB = 1024 * 1024
PEAK_BYTES_MAX = 250 * MIB
GZIP_WINDOW_BITS = 31

HEADS = (b"", b'{"Records":["codecommit.amazonaws.com"')
"""A bomb that is not worth reading, and one that promises to be."""

FILLINGS = (b"\0", b" ", b"[", b"1")
BOMBS = tuple(itertools.product(HEADS, FILLINGS))


def bomb(head: bytes, filling: bytes) -> bytes:
    """
    A gzip file of about 1 MB whose text has 1 GiB: a beginning, and one byte over and over.
    """
    deflater = isal_zlib.compressobj(1, isal_zlib.DEFLATED, GZIP_WINDOW_BITS)
    piece = filling * MIB
    return b"".join(
        (
            deflater.compress(head),
            *(deflater.compress(piece) for _ in range(1024)),
            deflater.flush(),
        )
    )


def peak_bytes(exporter: Exporter) -> int:
    """
    The most memory that a process has had so far (proc(5), VmHWM).
    """
    status = Path(f"/proc/{exporter.pid}/status")
    if not status.exists():
        pytest.skip("this system does not tell a process's peak memory under /proc")
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def refused(page: Page) -> float:
    """
    How many log files were too large.
    """
    return page.value("codecommit_exporter_refused_total", reason="oversized_log_file")


def test_bombs_are_refused_while_others_are_counted(serve: Serve, unlaid_trail: Trail) -> None:
    """
    Each bomb is refused in little memory, and no other log file waits for that.
    """
    trail = unlaid_trail.lay(visibility_seconds=300)
    texts = [records.text(*records.push_pair("one", "refs/heads/a")) for _ in range(12)]
    for number, (head, filling) in enumerate(BOMBS):
        trail.deliver(records.key(number), bomb(head, filling))
    for number, text in enumerate(texts, start=len(BOMBS)):
        trail.deliver(records.key(number), records.log_file(text))
    exporter = serve(trail, "--metrics.new-series-hold", "0s")

    pages: list[Page] = []

    def seen(holds: Callable[[Page], bool]) -> bool:
        pages.append(exporter.scrape())
        return holds(pages[-1])

    expected = oracle.count(texts)
    exporter.until(lambda: seen(lambda page: page.totals() == expected), "others are counted")
    meanwhile = refused(pages[-1])
    exporter.until(lambda: seen(lambda page: refused(page) == len(BOMBS)), "bombs are refused")

    assert meanwhile < len(BOMBS)
    assert expected == pages[-1].totals()
    assert peak_bytes(exporter) < PEAK_BYTES_MAX
