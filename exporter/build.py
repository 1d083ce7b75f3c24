"""
Which build of the program this is.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

UNKNOWN = "unknown"

_PACKAGE = Path(__file__).parent
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_COMMIT_SHOWN = 7
"""Digits that name a commit to people, as Git abbreviates it."""


def version() -> str:
    """
    The version of the installed distribution.
    """
    try:
        return metadata.version("codecommit-exporter")
    except metadata.PackageNotFoundError:
        return UNKNOWN


def revision(package: Path = _PACKAGE) -> str:
    """
    The short commit the program was built from, ``unknown`` where nothing tells it.

    An image has no repository and writes the commit into the package's file REVISION;
    a checkout has it in ``.git``. Starting Git would take longer than reading two files,
    and Git may not be installed.
    """
    written = _text(package / "REVISION") or _checked_out(package.parent / ".git")
    return written[:_COMMIT_SHOWN] or UNKNOWN


def _checked_out(git: Path) -> str:
    """
    The commit that HEAD of a repository stands for; empty where it cannot be told.

    HEAD holds a commit or names a reference, and a reference is a file of its own or a
    line of packed-refs (gitrepository-layout(5)).
    """
    head = _text(git / "HEAD")
    reference = head.removeprefix("ref: ")
    if reference == head:
        return _commit(head)
    packed = re.search(rf"^(\S+) {re.escape(reference)}$", _text(git / "packed-refs"), re.MULTILINE)
    return _commit(_text(git / reference)) or _commit(packed[1] if packed else "")


def _commit(text: str) -> str:
    """
    The text if it is a full commit id, else nothing.
    """
    return text if _COMMIT.fullmatch(text) else ""


def _text(file: Path) -> str:
    """
    What a file says, without the line end; nothing if it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
