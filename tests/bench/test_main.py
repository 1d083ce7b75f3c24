"""
The benchmark as it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bench.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path


def test_a_small_run_prints_the_parts_that_are_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    And says that its figures mean nothing.
    """
    main(["--small", "decode"])
    printed = capsys.readouterr().out

    assert "decode org" in printed
    assert "end to end" not in printed
    assert "A small run" in printed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["decod"], "there is no part decod; there are decode, endtoend"),
        (["--small", "--json", "run.json"], "leave out --small"),
        (["--json", "nowhere/run.json"], "nowhere is no folder"),
    ],
    ids=["unknown", "small", "folder"],
)
def test_what_cannot_be_measured_is_told_before_it_is(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    A run takes minutes; what is wrong with it is said at once.
    """
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert 2 == ended.value.code
    assert complaint in capsys.readouterr().err
