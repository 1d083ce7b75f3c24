"""
The benchmark keeps working, and measures what it says.
"""

from __future__ import annotations

import sys

import pytest

from tests.bench import decode


def test_the_quiet_corpus_is_quiet() -> None:
    """
    In the corpus of an organisation most files hold no CodeCommit event, and a few do.
    """
    bodies = decode.corpus(60, codecommit=0.02, quiet=decode.QUIET_SHARE)
    with_events = sum(decode.decode_all([body]) > 0 for body in bodies)

    assert 0 < with_events < 30


def test_floor_and_decoder_see_the_same_files() -> None:
    """
    Every file with events is one in which the floor finds CodeCommit's name.
    """
    bodies = decode.corpus(20, codecommit=0.3, quiet=0.0)

    assert all(decode.floor([body]) for body in bodies if decode.decode_all([body]))


def test_the_table_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A small run prints a row for each corpus.
    """
    monkeypatch.setattr(sys, "argv", ["decode", "--files", "5", "--rounds", "1"])
    decode.main()
    printed = capsys.readouterr().out

    assert "org" in printed
    assert "git" in printed
