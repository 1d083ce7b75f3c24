"""
The curves of growth are drawn, the same ones each time alike.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench import plots

FOUND = {
    "measured": "2026-01-01T12:00:00+00:00",
    "machine": {"cpu": "An abacus", "cores": 2, "python": "CPython 3.11.2", "system": "A desk"},
    "curves": [
        {"sizes_of": of, "work": work, "item": "file", "sizes": sizes, "ms": ms, "times": times}
        for of, work, sizes, ms, times in (
            ("files", "count", [1, 2], [0.2, 0.3], [1.0, 1.5]),
            ("ids", "count", [5, 50], [0.5, 0.5], [1.0, 1.0]),
            ("ids", "commit", [5, 50], [0.1, 0.4], [1.0, 4.0]),
        )
    ],
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """
    The JSON of a run.
    """
    path = tmp_path / "growth.json"
    path.write_text(json.dumps(FOUND), encoding="utf-8")
    return path


def test_the_same_run_makes_the_same_picture(run: Path, tmp_path: Path) -> None:
    """
    Byte by byte, so that only new figures change it.
    """
    pictures = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for picture in pictures:
        plots.main([str(run)], picture)
    one, two = [picture.read_bytes() for picture in pictures]

    assert one == two
    assert one.endswith(b"</svg>\n")


def test_every_curve_is_drawn(run: Path, tmp_path: Path) -> None:
    """
    In the panel of what there is more of, and told in its legend; so is where it was measured.
    """
    picture = tmp_path / "growth.svg"
    plots.main([str(run)], picture)
    text = picture.read_text(encoding="utf-8")
    root = ET.fromstring(text)  # noqa: S314 - our own picture
    panels = [
        each
        for each in root.iter("{http://www.w3.org/2000/svg}g")
        if each.get("id", "").startswith("axes_")
    ]
    # What the outlines of letters stand for is told by comments beside them.
    words = set(re.findall(r"<!-- (.*?) -->", text))

    assert 2 == len(panels)
    assert {"More files", "More ids"} <= words
    assert {"count, a file: 1.50 times", "commit, a file: 4.00 times"} <= words
    assert "An abacus, 2 cores, CPython 3.11.2, 2026-01-01" in words
