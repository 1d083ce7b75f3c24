"""
The benchmark of decoding keeps working, and compares like with like.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import decode
from tests.bench.corpora import Corpus, git, org


def test_the_three_ways_see_the_same() -> None:
    """
    Ours and the plain one find the same events, in files in which the floor finds the name.
    """
    for corpus in (org(40), git(5)):
        found = [(decode.ours([body]), decode.plain([body])) for body in corpus.bodies]

        assert all(ours == plain for ours, plain in found)
        assert all(
            decode.floor([body])
            for body, (ours, _) in zip(corpus.bodies, found, strict=True)
            if ours
        )


def test_a_decoder_that_misses_events_is_not_measured() -> None:
    """
    A fast decoder that finds less is none.
    """
    written = git(2)
    misses = Corpus(written.name, written.files[:1], written.truth)

    with pytest.raises(RuntimeError, match="events found of"):
        decode.beside_the_floor(misses, rounds=1)


def test_the_peak_is_that_of_the_decoding_process() -> None:
    """
    A file that is not compressed is held as it is; what this process holds meanwhile is not.
    """
    ballast = bytearray(b"x") * 300_000_000
    body = b'{"Records":[' + b" " * 60_000_000 + b"]}"
    peak, events = decode.peak_of_decoding(body)

    assert len(body) < peak < len(ballast)
    assert 0 == events


def test_memory_is_told_without_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whoever decodes a file holds its compressed body, and a process is never empty.
    """
    large, small = bytes(10 * decode.MIB), b"small"
    peaks = {large: (100 * decode.MIB, 700), small: (30 * decode.MIB, 2)}
    monkeypatch.setattr(decode, "peak_of_decoding", peaks.__getitem__)
    found = decode.memory(large, small, inflated_bytes=50_000_000)

    assert ("memory of 50 MB", 60, 16) == (found.name, found.figure, found.bound)
    assert "700 events" in found.words


def test_the_table_and_the_report_have_every_finding(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """
    A small run prints a row for each corpus, the plain way and memory, and writes the same.
    """
    report = tmp_path / "decode.json"
    arguments = ["--files", "20", "--rounds", "1", "--big-bytes", "2000000"]
    decode.main([*arguments, "--json", str(report)])
    printed = capsys.readouterr().out
    written = json.loads(report.read_text(encoding="utf-8"))
    names = [finding["name"] for finding in written["findings"]]

    assert [
        "decode org",
        "decode git",
        "decode big",
        "zlib and json beside ours",
        "memory of 2 MB",
        "memory of 20 MB",
    ] == names
    assert all(name in printed for name in names)
    assert [1.25, 2.5, 2.2, None, 16, 16] == [each["bound"] for each in written["findings"]]
