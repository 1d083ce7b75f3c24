"""
The regular expressions of values: they match whatever is read, and little else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given, strategies as st

from exporter import values
from exporter.config import ALL_SETTINGS, options
from exporter.values import (
    AllowedBucket,
    BackupUrl,
    LedgerUrl,
    Rebuild,
    Written,
    read_account_id,
    read_bytes,
    read_count,
    read_event_label,
    read_queue_url,
    read_seconds,
    read_seconds_above_zero,
    read_zero_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = Callable[[str], object]

RIGHT: dict[Read, tuple[str, ...]] = {
    read_seconds: ("0", "0s", "90d", "1m30s", "1d2h3m4s5ms", "123456789012s"),
    read_seconds_above_zero: ("500ms", "0d1s", "1h", "1d2h3m4s5ms"),
    read_zero_seconds: ("0", "0s", "00d0h0m0s0ms"),
    read_bytes: ("1", "0512KiB", "64MiB", "1GiB", "1TiB", "123456789012"),
    read_count: ("1", "0010", "123456789012"),
    read_account_id: ("012345678901",),
    read_queue_url: (
        "https://sqs.eu-central-1.amazonaws.com/111122223333/log-files",
        "HTTP://[::1]:9324//queue/a,b?#",
        "http://localhost/a@b",
    ),
    AllowedBucket.read: ("my-trail.logs", "trail=012345678901", "a" * 63),
    LedgerUrl.read: ("memory:", "sqlite:///ledger.db", "sqlite:////a/b", "sqlite:///:memory:a"),
    BackupUrl.read: ("/a", "~/a", "file:///a%20b", "s3://abc", "s3://abc//", "s3://abc/ü/b//c/"),
    Rebuild.read: tuple(Rebuild),
    read_event_label: ("repository", "none"),
}
"""Texts that are read, by who reads them."""

WRONG: dict[Read, tuple[str, ...]] = {
    read_seconds: ("20", "1.5h", "30s1m", "-1s", "2w", "1 s", "1S", " 1s"),
    read_seconds_above_zero: ("0", "20", "30s1m"),
    read_zero_seconds: ("1s", "never", "10s"),
    read_bytes: ("", "0", "0MiB", "64MB", "64M", "64 MiB", "1.5GiB", "-1", "0x10"),
    read_count: ("", "0", "-1", "1.5", "1e6"),
    read_account_id: ("", "11112222333", "1111-2222-3333"),
    read_queue_url: (
        "",
        "log-files",
        "arn:aws:sqs:eu-central-1:111122223333:log-files",
        "ftp://host/queue",
        "https://sqs.eu-central-1.amazonaws.com/",
        "https:///queue",
        "https://me:secret@host/queue",
        "https://host/queue?a=b",
        "https://host/a queue",
    ),
    AllowedBucket.read: ("", "ab", "A" * 3, "trail/AWSLogs", "s3://trail", "-trail", "trail=1"),
    LedgerUrl.read: ("", "ledger.db", "sqlite:///", "sqlite:///a/", "sqlite:///a?b", "sqlite://a"),
    BackupUrl.read: ("", "backups", "./a", "file://host/a", "s3://", "s3://abc//a", "s3://A/b"),
    Rebuild.read: ("", "Restore", "always"),
    read_event_label: ("", "user", "le"),
}
"""Texts that the pattern of a reader refuses as well."""


PIECES = st.text(max_size=3) | st.sampled_from(
    [*"019aAdhmsKi/:=@?#[]~.,- \n\0", *sum(RIGHT.values(), ())]
)


def ways(kind: Any) -> Iterator[Written]:
    """
    The ways of writing that a type names, or the type of its items, and that have a pattern.
    """
    marks = getattr(kind, "__metadata__", ())
    yield from (mark for mark in marks if isinstance(mark, Written) and mark.pattern)
    for part in get_args(kind):
        yield from ways(part)


WAYS = sorted(
    {way for kind in vars(values).values() for way in ways(kind)},
    key=lambda way: f"{way.metavar} {way.read.__qualname__}",
)
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.read.__qualname__)


@st.composite
def nearly(draw: st.DrawFn, texts: tuple[str, ...]) -> str:
    """
    One of the texts with up to three letters of it replaced by others, or by another text.
    """
    text = draw(st.sampled_from(texts))
    first = draw(st.integers(0, len(text)))
    last = draw(st.integers(first, min(len(text), first + 3)))
    return text[:first] + draw(PIECES) + text[last:]


def is_read(read: Read, text: str) -> bool:
    """
    Whether the program takes the text.
    """
    try:
        read(text)
    except ValueError:
        return False
    return True


@every_way
@given(data=st.data())
def test_whatever_is_read_matches(way: Written, data: st.DataObject) -> None:
    """
    No text that the program takes is refused by its pattern.
    """
    text = data.draw(nearly(RIGHT[way.read]))

    assert re.fullmatch(way.pattern, text) or not is_read(way.read, text)


@every_way
def test_right_and_wrong(way: Written) -> None:
    """
    Texts that are read match; texts that are not, of the kinds that people write, do not.
    """
    right, wrong = RIGHT[way.read], WRONG[way.read]

    assert [] == [text for text in right if not is_read(way.read, text)]
    assert [] == [text for text in wrong if is_read(way.read, text)]
    assert [] == [text for text in right if not re.fullmatch(way.pattern, text)]
    assert [] == [text for text in wrong if re.fullmatch(way.pattern, text)]


@every_way
def test_patterns_are_understood_elsewhere(way: Written) -> None:
    """
    RE2 knows groups, but neither looks around nor back.
    """
    assert not re.search(r"\(\?[^:]|\\[1-9]", way.pattern)


@pytest.mark.parametrize("kind", ALL_SETTINGS, ids=lambda kind: kind.command)
def test_defaults_match(kind: Any) -> None:
    """
    A default that is written as a value would be matches like any other.
    """
    for option in options(kind):
        section = kind.model_fields[option.section].annotation if option.section else kind
        default = section.model_fields[option.field].default
        texts = default.split(",") if option.pattern and isinstance(default, str) else ()

        assert [] == [text for text in texts if not re.fullmatch(option.pattern, text)]
