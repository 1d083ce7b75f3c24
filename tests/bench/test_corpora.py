"""
The corpora are what they say, and the program counts in them what they say.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exporter.activity import CODECOMMIT, EVENTS, Series
from exporter.cloudtrail import decode
from exporter.ledger.memory import MemoryLedger
from exporter.notifications import LogFile
from exporter.tally import Reading
from tests.bench.corpora import DELIVERED, GZIP_WINDOW_BITS, Corpus, big, git, org
from tests.pages import page_of

CAP = 1 << 30
SMALL = {
    "org": partial(org, 40),
    "git": partial(git, 6),
    "big": partial(big, 6_000_000),
}
KEY = re.compile(
    r"AWSLogs/(?P<account>\d{12})/CloudTrail/(?P<region>[a-z0-9-]+)/\d{4}/\d\d/\d\d/"
    r"(?P=account)_CloudTrail_(?P=region)_\d{8}T\d{4}Z_[A-Za-z0-9]{16}\.json\.gz"
)

every_corpus = pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
Record = dict[str, Any]


@pytest.fixture(scope="module")
def quiet() -> Corpus:
    """
    The organisation, with enough files for its shares to show.
    """
    return org(200)


def text(body: bytes) -> str:
    return zlib.decompress(body, GZIP_WINDOW_BITS).decode()


def records(body: bytes) -> list[Record]:
    found: list[Record] = json.loads(text(body))["Records"]
    return found


def is_ours(record: Record) -> bool:
    return bool(record["eventSource"] == CODECOMMIT)


@every_corpus
def test_the_same_arguments_give_the_same_bytes(make: partial[Corpus]) -> None:
    """
    Also in the same process, in which others were made before; another seed gives others.
    """
    first = make()

    assert first == make()
    assert first.bodies != make(seed=2).bodies


@every_corpus
def test_the_program_counts_the_truth(make: partial[Corpus]) -> None:
    """
    Every total of every family that the corpus declares, whatever the order of the files.
    """
    corpus = make()
    ledger = MemoryLedger(now=DELIVERED.timestamp)
    for file in reversed(corpus.files):
        decoded = decode(file.body, inflated_bytes_max=CAP)
        delivered_ms = int(DELIVERED.timestamp() * 1000)
        log_file = LogFile("trail", file.key)
        ledger.count(Reading(log_file, delivered_ms, decoded.events, decoded.kms_requests))
    totals = page_of(ledger).totals()
    counted: Counter[Series] = Counter(
        {
            (family, labels): int(total)
            for family in {family for family, _ in corpus.truth}
            for labels, total in totals[family].items()
        }
    )

    assert corpus.truth == +counted
    assert corpus.events == sum(totals[EVENTS].values())


def test_another_process_reads_what_was_saved(tmp_path: Path) -> None:
    """
    Names, keys, bodies and truth.
    """
    corpus = git(3)
    corpus.save(tmp_path / "git")

    assert corpus == Corpus.load(tmp_path / "git")


@every_corpus
def test_keys_are_those_of_a_trail(make: partial[Corpus]) -> None:
    """
    Each is of its own file, and of the account and Region of the records in it.
    """
    corpus = make()

    assert len(corpus.files) == len(set(corpus.keys))
    for file in corpus.files:
        key = KEY.fullmatch(file.key)
        assert key
        assert {(key["account"], key["region"])} == {
            (record["recipientAccountId"], record["awsRegion"]) for record in records(file.body)
        }


@every_corpus
def test_every_event_has_its_own_id(make: partial[Corpus]) -> None:
    """
    Else most of them would count for repeats.
    """
    ids = [record["eventID"] for body in make().bodies for record in records(body)]

    assert len(ids) == len(set(ids))


def test_few_of_the_organisation_use_codecommit(quiet: Corpus) -> None:
    """
    Two records in a hundred, in 15 % of the files; others mention it, also in other files.
    """
    found = [records(body) for body in quiet.bodies]
    ours = sum(is_ours(record) for file in found for record in file)
    without = [file for file in found if not any(map(is_ours, file))]
    mentions = sum(
        "codecommit" in json.dumps(record)
        for file in found
        for record in file
        if not is_ours(record)
    )
    in_vain = sum("codecommit" in json.dumps(file) for file in without)

    assert 0.85 == len(without) / len(found)
    assert 0.02 == pytest.approx(ours / sum(map(len, found)), rel=0.2)
    assert 0.05 < mentions / ours < 0.5
    assert 0.01 < in_vain / len(without) < 0.15


@pytest.mark.parametrize("files", [1, 12, 21])
def test_few_files_are_an_organisation_too(files: int) -> None:
    """
    There are as many as was asked for, and at least one has events.
    """
    corpus = org(files)

    assert files == len(corpus.files)
    assert corpus.events


def test_files_are_as_long_as_those_of_an_organisation(quiet: Corpus) -> None:
    """
    Most are short, some are long; records are as long and compress as well as real ones.
    """
    sizes = sorted(len(records(body)) for body in quiet.bodies)
    inflated = sum(len(text(body).encode()) for body in quiet.bodies)

    assert 40 == pytest.approx(sizes[len(sizes) // 2], abs=2)
    assert 280 == pytest.approx(sizes[len(sizes) * 95 // 100], rel=0.1)
    assert 1_700 == pytest.approx(inflated / sum(sizes), rel=0.05)
    assert 6 == pytest.approx(inflated / sum(map(len, quiet.bodies)), rel=0.1)


def test_texts_hold_what_a_search_stumbles_over(quiet: Corpus) -> None:
    """
    Escaped quotes, lines and letters, and the beginning of a record inside a string.
    """
    everything = "".join(map(text, quiet.bodies))

    for stumbling_block in (r"\"", r"\n", r"\t", r"\u003c", r"},{\"eventVersion\":", "Ü"):
        assert stumbling_block in everything


def test_git_is_in_every_file_of_the_other_organisation() -> None:
    """
    Nearly a third of its records.
    """
    found = [records(body) for body in git(40).bodies]
    ours = [sum(map(is_ours, file)) for file in found]

    assert all(ours)
    assert 0.31 == pytest.approx(sum(ours) / sum(map(len, found)), rel=0.1)
    assert 78 == pytest.approx(sum(map(len, found)) / len(found), rel=0.2)


def test_the_big_file_is_as_big_as_it_was_to_be() -> None:
    """
    One file with one list of records, made of several pieces, whatever its compression.
    """
    best, quick = big(12_000_000), big(12_000_000, level=1)
    found = records(best.bodies[0])

    assert 12_000_000 < len(text(best.bodies[0]).encode()) < 20_000_000
    assert found == records(quick.bodies[0])
    assert len(best.bodies[0]) < len(quick.bodies[0])
    assert 0.02 == pytest.approx(sum(map(is_ours, found)) / len(found), rel=0.25)
