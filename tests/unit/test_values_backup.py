"""
Where backups go, as people write it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from exporter.values import BackupUrl, BackupUrlOrNone  # noqa: F401 - the second is for settings


@pytest.mark.parametrize(
    ("text", "url", "written"),
    [
        ("/mnt/backups", BackupUrl(Path("/mnt/backups")), "/mnt/backups"),
        ("/mnt/backups/", BackupUrl(Path("/mnt/backups")), "/mnt/backups"),
        ("/mnt/a%20b", BackupUrl(Path("/mnt/a%20b")), "/mnt/a%20b"),
        ("file:///mnt/backups", BackupUrl(Path("/mnt/backups")), "/mnt/backups"),
        ("file:///mnt/a%20b", BackupUrl(Path("/mnt/a b")), "/mnt/a b"),
        ("~/backups", BackupUrl(Path.home() / "backups"), str(Path.home() / "backups")),
        ("s3://ledgers", BackupUrl(None, "ledgers"), "s3://ledgers"),
        ("s3://ledgers/", BackupUrl(None, "ledgers"), "s3://ledgers"),
        ("s3://ledgers/a/b/", BackupUrl(None, "ledgers", "a/b"), "s3://ledgers/a/b"),
        ("s3://ledgers/Bücher", BackupUrl(None, "ledgers", "Bücher"), "s3://ledgers/Bücher"),
    ],
)
def test_a_place_for_backups(text: str, url: BackupUrl, written: str) -> None:
    """
    A folder or a prefix, and what is written of it means the same again.
    """
    assert (url, written) == (BackupUrl.read(text), str(url))
    assert url == BackupUrl.read(written)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("backups", "is no place for backups"),
        ("./backups", "is no place for backups"),
        ("file:backups", "is no place for backups"),
        ("file://host/backups", "is no place for backups"),
        ("https://ledgers.s3.amazonaws.com/", "is no place for backups"),
        ("arn:aws:s3:::ledgers", "is no place for backups"),
        ("s3:/ledgers", "is no place for backups"),
        ("~nobody-of-this-name/backups", "is no place for backups"),
        ("s3://", "names no general purpose bucket"),
        ("s3:///a", "names no general purpose bucket"),
        ("s3://arn:aws:s3:::ledgers/a", "names no general purpose bucket"),
        ("s3://ledgers--eun1-az1--x-s3", "names no general purpose bucket"),
        ("s3://ledgers//a", "names no place in a bucket"),
        ("s3://ledgers/a\n", "names no place in a bucket"),
    ],
)
def test_no_place_for_backups(text: str, said: str) -> None:
    """
    Relative paths, other kinds of bucket and other addresses are refused.
    """
    with pytest.raises(ValueError, match=f"{said}; write /PATH, ~/PATH or s3://BUCKET/PREFIX$"):
        BackupUrl.read(text)


@pytest.mark.parametrize("text", ["", "/a\0b", "file:///a%00b"])
def test_no_path_at_all(text: str) -> None:
    """
    What no file can be called is refused as in other options.
    """
    with pytest.raises(ValueError, match="is no path; write "):
        BackupUrl.read(text)


@given(text=st.builds("".join, st.tuples(st.sampled_from(["", "/", "s3://abc/"]), st.text())))
def test_any_place(text: str) -> None:
    """
    Whatever is written is refused in one line, or means the same when it is written again.
    """
    try:
        url = BackupUrl.read(text)
    except ValueError as error:
        assert 1 == len(str(error).splitlines())  # noqa: PT017
    else:
        assert url == BackupUrl.read(str(url))
