"""
Gzip files, bytes in and text out.

Rules:

1. The whole file or nothing. A file that is cut, damaged or followed by something else
   raises before its text is known to have ended.
2. No output without a bound. Inflating stops at the cap.
3. A short text comes at once, which is quickest; any other comes in pieces. How large these
   are is not left to who wrote the file: what is done once for each piece is done seldom.

A gzip file may have several members and zeros after the last one (RFC 1952).
"""

from __future__ import annotations

from collections.abc import Iterator

from isal import igzip_lib, isal_zlib

from exporter.errors import MalformedLogFile, OversizedLogFile

GZIP = b"\x1f\x8b"
PIECE_BYTES = 256 * 1024
"""Of text; the last piece may have less, and any piece up to twice as much. While what is
inflated into is not full, other threads go on."""

_WINDOW_BITS = 31
_Error: type[Exception] = isal_zlib.error  # type: ignore[assignment]
_INPUT_BYTES = 64 * 1024


def inflated_at_once(body: bytes, bytes_max: int) -> bytes | None:
    """
    The text of a file that is one member and not larger than that; None of any other.

    How large the text is stands at the end of a file. It is only believed as a bound, so a
    file that says something else is no such file.
    """
    size = int.from_bytes(body[-4:], "little")
    if size > bytes_max:
        return None
    inflater = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
    try:
        # One byte more, for the inflater to see that there is none.
        text = inflater.decompress(body, size + 1)
    except _Error:
        return None
    return text if inflater.eof and not inflater.unused_data else None


def inflated(body: bytes, bytes_max: int) -> Iterator[bytes]:
    """
    The text of a file, piece by piece; it is whole when the last one has come.

    No piece is empty, and none but the last is small.

    Raises:
        MalformedLogFile: The gzip stream is cut, damaged or followed by something else.
        OversizedLogFile: The text is larger than the cap; inflating stops there.
    """
    room = bytes_max
    parts: list[bytes] = []
    size = 0
    for part in _parts(body):
        parts.append(part)
        size += len(part)
        if size > room:
            raise OversizedLogFile("inflates to more bytes than the cap")
        if size >= PIECE_BYTES:
            yield b"".join(parts)
            room -= size
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


def _parts(body: bytes) -> Iterator[bytes]:
    """
    The text in parts as small as its members make them, but never empty.
    """
    rest = memoryview(body)
    while rest.nbytes and not _is_padding(rest):
        member = _Member(rest)
        yield from filter(None, member)
        rest = rest[member.bytes_taken :]


def _is_padding(rest: memoryview) -> bool:
    """
    Whether nothing but zeros is left, as tape-minded writers pad gzip files.
    """
    return rest[0] == 0 and not rest.tobytes().strip(b"\0")


class _Member:
    """
    One member of a gzip file: its text in pieces, and then how many bytes it took.

    The input goes in by pieces because the inflater copies what it has not used yet, and
    what comes out is bounded because a few bytes can inflate to very many.
    """

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self.bytes_taken = 0

    def __iter__(self) -> Iterator[bytes]:
        inflater = isal_zlib.decompressobj(_WINDOW_BITS)
        unused: bytes | memoryview = b""
        text = b""
        while not inflater.eof:
            # An inflater that filled its room may hold more text although it wants no input.
            if not unused and len(text) < PIECE_BYTES:
                unused = self._next_input()
            try:
                text = inflater.decompress(unused, PIECE_BYTES)
            except _Error as error:
                raise MalformedLogFile(f"the gzip stream is damaged: {error}") from error
            unused = inflater.unconsumed_tail
            yield text
        self.bytes_taken -= len(inflater.unused_data)

    def _next_input(self) -> memoryview:
        piece = self._body[self.bytes_taken : self.bytes_taken + _INPUT_BYTES]
        if not piece:
            raise MalformedLogFile("the gzip stream ends before its end")
        self.bytes_taken += len(piece)
        return piece
