"""
``demo`` runs without an AWS account, ends by itself and says whether it counted right.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.processes import clean_environment, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("faults", [(), ("--demo.faults",)], ids=["quiet", "faults"])
def test_what_was_written_was_counted(faults: tuple[str, ...], tmp_path: Path) -> None:
    """
    The summary's two columns are equal, whatever went wrong on the way.
    """
    ended = run(
        "demo",
        *("--demo.duration", "5s"),
        *("--demo.rate", "5"),
        *("--metrics.new-series-hold", "0s"),
        *("--web.listen-address", "127.0.0.1:0"),
        *faults,
        environment=clean_environment(HOME=str(tmp_path)),
    )

    summary = re.findall(r"^ +(codecommit_\w+) +(\d+) +(\d+)$", ended.stdout.decode(), re.MULTILINE)
    assert 0 == ended.returncode, ended.stderr.decode()
    assert "Traceback" not in ended.stderr.decode()
    assert "written equals counted" in ended.stdout.decode()
    assert {"codecommit_events_total", "codecommit_pushes_total"} <= {line[0] for line in summary}
    assert [line for line in summary if line[1] == line[2] != "0"] == summary
