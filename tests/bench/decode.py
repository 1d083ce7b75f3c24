"""
What decoding log files costs, beside the least it could cost.

The floor inflates every file in one call and searches its text for CodeCommit's name; no
reader of these files can do less. The plain way, zlib and the standard JSON reader, is told
for comparison.

Memory is that of a process of its own for each file: what it held at most when it had
decoded a large one, above what another held that had decoded a small one. The compressed
body is taken off, since whoever calls the decoder holds it already.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from isal import isal_zlib

from exporter.cloudtrail import decode
from tests.bench.corpora import GZIP_WINDOW_BITS, Corpus, big, git, org
from tests.bench.measure import (
    Finding,
    cpu_seconds,
    interleave,
    peak_rss_bytes,
    show,
    write_report,
)

INFLATED_BYTES_MAX = 1 << 30
MIB = 1 << 20
TITLE = "Decoding a log file, beside inflating it and one search"

BOUNDS = {"org": 1.25, "git": 2.5, "big": 2.2}
"""How many times the floor decoding a corpus may cost."""
MEMORY_BOUND = 16
"""How many MiB a large file may take above a small one."""
PLAIN_PART = 4
"""The plain way is measured with one file in so many, being so slow."""

DECODING = f"""
import sys
from pathlib import Path
from exporter.cloudtrail import decode
decoded = decode(Path(sys.argv[1]).read_bytes(), inflated_bytes_max={INFLATED_BYTES_MAX})
print(len(decoded.events), flush=True)
sys.stdin.read()
"""
"""A process that decodes a file and nothing else, and waits to be looked at."""


def findings(*, files: int = 2_000, rounds: int = 5, big_bytes: int = 50_000_000) -> list[Finding]:
    """
    All that is found about decoding.

    Args:
        files: Log files of the organisation; the one that does little but Git has a fifth.
        rounds: Turns of each pair.
        big_bytes: Of the large file when inflated; memory is also measured at ten times that.
    """
    quiet, busy, large = org(files), git(max(files // 5, 1)), big(big_bytes)
    small = min(busy.bodies, key=len)
    return [
        *(beside_the_floor(corpus, rounds) for corpus in (quiet, busy, large)),
        plain_beside_ours(quiet.bodies[::PLAIN_PART], rounds),
        memory(large.bodies[0], small, inflated_bytes=big_bytes),
        memory(big(10 * big_bytes, level=1).bodies[0], small, inflated_bytes=10 * big_bytes),
    ]


def ours(bodies: Iterable[bytes]) -> int:
    """
    The program's way; returns the events found.
    """
    return sum(len(decode(body, inflated_bytes_max=INFLATED_BYTES_MAX).events) for body in bodies)


def floor(bodies: Iterable[bytes]) -> int:
    """
    The least work; returns the files that name CodeCommit.
    """
    return sum(b"codecommit" in isal_zlib.decompress(body, GZIP_WINDOW_BITS) for body in bodies)


def plain(bodies: Iterable[bytes]) -> int:
    """
    With the standard library, as one would write it first; returns the events found.
    """
    return sum(
        record["eventSource"] == "codecommit.amazonaws.com"
        for body in bodies
        for record in json.loads(zlib.decompress(body, GZIP_WINDOW_BITS))["Records"]
    )


def beside_the_floor(corpus: Corpus, rounds: int) -> Finding:
    """
    What decoding a corpus costs.

    A decoder that misses events is none: ``RuntimeError``.
    """
    bodies = corpus.bodies
    if (found := ours(bodies)) < corpus.events:
        raise RuntimeError(f"{corpus.name}: {found} events found of {corpus.events}")
    pair = interleave(corpus.name, rounds, seconds(ours, bodies), seconds(floor, bodies))
    return Finding(
        f"decode {corpus.name}",
        pair.ratio,
        "times",
        bound=BOUNDS[corpus.name],
        words=f"{milliseconds(pair.ours_median, bodies)} a file, "
        f"floor {milliseconds(pair.other_median, bodies)}; {files(bodies)}, {found:,} events",
    )


def plain_beside_ours(bodies: Sequence[bytes], rounds: int) -> Finding:
    """
    What is saved.
    """
    pair = interleave("plain", rounds, seconds(plain, bodies), seconds(ours, bodies))
    return Finding(
        "zlib and json beside ours",
        pair.ratio,
        "times",
        words=f"{milliseconds(pair.ours_median, bodies)} a file, "
        f"ours {milliseconds(pair.other_median, bodies)}; {files(bodies)}",
    )


def seconds(way: Callable[[Sequence[bytes]], int], bodies: Sequence[bytes]) -> Callable[[], float]:
    """
    Goes one way over all bodies and tells the CPU seconds.
    """
    return lambda: cpu_seconds(lambda: way(bodies))


def milliseconds(cpu: float, bodies: Sequence[bytes]) -> str:
    return f"{1000 * cpu / len(bodies):.3f} ms"


def files(bodies: Sequence[bytes]) -> str:
    """
    How many there are, and how large they are on average.
    """
    return f"{len(bodies):,} of {sum(map(len, bodies)) / len(bodies) / 1000:,.1f} KB"


def memory(large: bytes, small: bytes, *, inflated_bytes: int) -> Finding:
    """
    What decoding a large body takes above a small one.
    """
    (peak, events), (small_peak, _) = peak_of_decoding(large), peak_of_decoding(small)
    return Finding(
        f"memory of {inflated_bytes / 1_000_000:g} MB",
        (peak - small_peak - len(large)) / MIB,
        "MiB",
        bound=MEMORY_BOUND,
        words=f"peak {peak / MIB:.1f} MiB, less {small_peak / MIB:.1f} MiB of a small file's and "
        f"{len(large) / MIB:.1f} MiB of compressed body; {events:,} events",
    )


def peak_of_decoding(body: bytes) -> tuple[int, int]:
    """
    The most bytes that a process held which decoded this body, and the events it found.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, "log-file.json.gz")
        path.write_bytes(body)
        command = [sys.executable, "-c", DECODING, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            events = int(process.stdout.readline())
            peak = peak_rss_bytes(process.pid)
            process.communicate()
    return peak, events


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Measure, and print the table.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--files", type=int, default=2_000, help="log files of the organisation")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each pair")
    parser.add_argument("--big-bytes", type=int, default=50_000_000, help="of the large file")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the findings there")
    chosen = parser.parse_args(arguments)
    measured = datetime.now(UTC)
    found = findings(files=chosen.files, rounds=chosen.rounds, big_bytes=chosen.big_bytes)
    show(TITLE, found)
    if chosen.json:
        write_report(chosen.json, found, measured=measured)


if __name__ == "__main__":
    main()
