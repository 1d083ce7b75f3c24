"""
Whether a text is worth reading.
"""

from __future__ import annotations

import pytest

from exporter.search import SEAM_BYTES, names_codecommit, naming_codecommit

NAMING = (b"codecommit", rb"codecommi\u0074", rb"\u0063odecommit", rb"c\u006Fdecommit")
OTHERS = (b"", b"CodeCommit", b"codecomm", b"code commit", rb"\u0043odecomm\u0131t")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_text_names_codecommit_in_letters_or_in_escapes(
    kind: type[bytes | bytearray | memoryview],
) -> None:
    """
    As it stands in the source of an event, in whatever kind of bytes that is.
    """
    assert [True] * len(NAMING) == [names_codecommit(kind(b"a" + text + b"z")) for text in NAMING]
    assert [False] * len(OTHERS) == [names_codecommit(kind(text)) for text in OTHERS]


@pytest.mark.parametrize("naming", NAMING)
def test_the_parts_of_a_text_are_told_apart(naming: bytes) -> None:
    """
    Those that name CodeCommit are picked out, whether or not there are escapes elsewhere.
    """
    parts = [memoryview(part) for part in (*OTHERS, naming, b"5", naming)]

    assert [naming, naming] == naming_codecommit(parts, b",".join(parts))
    assert [] == naming_codecommit(parts[: len(OTHERS)], b",".join(OTHERS))


@pytest.mark.parametrize("naming", [b"codecommi", rb"\u006"])
def test_what_lies_across_an_edge_is_in_the_seam(naming: bytes) -> None:
    """
    So much of what came before is enough for what is looked for.
    """
    whole = b"x" * 50 + naming
    seams = [whole[:cut][-SEAM_BYTES:] + whole[cut:] for cut in range(50, len(whole))]

    assert [True] * len(naming) == [names_codecommit(seam) for seam in seams]
