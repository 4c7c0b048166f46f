"""Bytes of a text file, packed or not, to its lines: gzip, bzip2 and xz, UTF-8 or UTF-16, any line ending.

It knows nothing of what the lines say. It is a gate for files of unknown origin: what unpacks to too much, has lines
that no record has, or is no text at all is refused before it takes memory.

Source: RFC 1952 (gzip members may follow each other), the bzip2 and xz file formats (first bytes); Unicode 3.9 (BOM).
"""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from truechimer.errors import Rejected

MOST_BYTES = 1 << 29
"""A file that unpacks to more is refused: 10 million rows of 50 characters fit."""
LONGEST_LINE = 1 << 16
"""Bytes of a line. A row of a thousand columns is shorter."""
MOST_MEMORY = 1 << 28
"""What an xz file may ask for to be unpacked."""
PIECE = 1 << 20
FEWEST_OF_NULS = 10
"""Where more than one byte of so many at the beginning is zero, a file is no text; a single one costs its line."""
_HEAD = 4096

_PACKED: tuple[tuple[bytes, str, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", "gzip", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", "xz", lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MOST_MEMORY)),
)
_OTHERS = (
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "a zip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x1f\x9d", "packed by compress"),
)


class TextRejected(Rejected):
    """Bytes that no lines of text can be had from; `line` counts from 1 where one line is at fault."""

    def __init__(self, says: str, *, line: int | None = None) -> None:
        super().__init__(says)
        self.line = line


def text_of(data: bytes) -> tuple[str, str]:
    """Return the text of a file with LF for every line ending, and how it was packed (`gzip`, or nothing).

    Bytes that are no UTF-8 become U+FFFD. Raises `TextRejected`.
    """
    packed = ""
    for magic, name, unpacker in _PACKED:
        if data.startswith(magic):
            data, packed = _unpacked(data, name, unpacker, at_most=MOST_BYTES), name
            break
    for magic, name in _OTHERS:
        if data.startswith(magic):
            raise TextRejected(f"this is {name}; unpack it first (gzip, bzip2 and xz are unpacked here)")
    if len(data) > MOST_BYTES:
        raise TextRejected(f"more than {MOST_BYTES >> 20} MiB; cut it into parts")
    if not data.strip():
        raise TextRejected("the file is empty")
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        text = data.decode("utf-16", errors="replace")
    else:
        _check(data, 0)
        text = data.decode("utf-8-sig", errors="replace")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text, packed


def plain_bytes(data: bytes, *, at_most: int) -> bytes:
    """Return the bytes of a text file as its reader takes them: unpacked, without a byte-order mark, UTF-16 as UTF-8,
    CR alone as LF. Everything else, CR LF too, stays as it is, so that sums over bytes still hold.

    Raises `TextRejected` for what is empty, packed in a way that is not unpacked here, no text, or above `at_most`.
    """
    for magic, name, unpacker in _PACKED:
        if data.startswith(magic):
            data = _unpacked(data, name, unpacker, at_most=at_most, lines=False)
            break
    for magic, name in _OTHERS:
        if data.startswith(magic):
            raise TextRejected(f"this is {name}; unpack it first (gzip, bzip2 and xz are unpacked here)")
    if not data.strip():
        raise TextRejected("the file is empty")
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        data = data.decode("utf-16", errors="replace").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data.count(b"\0", 0, _HEAD) * FEWEST_OF_NULS > len(data[:_HEAD]):
        raise TextRejected("this is not text; name the file itself, or export it as text")
    return data.replace(b"\r", b"\n") if b"\n" not in data else data


def latin_lines(data: bytes, *, blanks: str = "\r") -> list[tuple[int, str]]:
    """Return the numbered lines of a text that is ASCII but for its prose, without a byte-order mark and the `blanks`
    at their ends; CR alone ends a line where no LF stands.
    """
    text = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    if "\n" not in text:
        text = text.replace("\r", "\n")
    return [(number, line.rstrip(blanks)) for number, line in enumerate(text.split("\n"), start=1)]


def _unpacked(data: bytes, name: str, unpacker: Callable[[], Any], *, at_most: int, lines: bool = True) -> bytes:
    """Unpack piece by piece, and stop as soon as the result can be no record; `lines`: of a length that a record's
    lines have.
    """
    out: list[bytes] = []
    size, rest = 0, data
    while rest:
        member, fed = unpacker(), rest
        while not member.eof:
            try:
                piece = member.decompress(fed, PIECE)
            except (zlib.error, OSError, EOFError, lzma.LZMAError) as error:
                raise TextRejected(f"the {name} data are damaged ({error}); fetch the file again") from None
            fed = getattr(member, "unconsumed_tail", b"")
            size += len(piece)
            if size > at_most:
                raise TextRejected(f"it unpacks to more than {at_most >> 20} MiB; cut it into parts")
            if not piece and not member.eof and not fed and getattr(member, "needs_input", True):
                raise TextRejected(f"the {name} data end too early; fetch the file again")
            if piece and lines:
                _check(piece, sum(part.count(b"\n") for part in out) if _has_long_line(piece) else 0)
            if piece:
                out.append(piece)
        rest = member.unused_data.lstrip(b"\0")  # tapes and block devices pad with zeros
    return b"".join(out)


def _has_long_line(data: bytes) -> bool:
    """Return True where more than `LONGEST_LINE` bytes stand without a line ending."""
    place = -1
    while len(data) - place > LONGEST_LINE + 1:
        end = max(data.rfind(ending, place + 1, place + LONGEST_LINE + 2) for ending in (b"\n", b"\r"))
        if end < 0:
            return True
        place = end
    return False


def _check(data: bytes, lines_before: int) -> None:
    """Refuse what is no text, and lines longer than any record's."""
    if b"\0" in data[:_HEAD] or b"\0" in data[-_HEAD:]:
        raise TextRejected("this is not text; export it as text, one value a line")
    if _has_long_line(data):
        place = -1
        while True:
            end = data.find(b"\n", place + 1)
            if end < 0 or end - place > LONGEST_LINE:
                break
            place = end
        line = lines_before + data.count(b"\n", 0, place + 1) + 1
        raise TextRejected(f"longer than {LONGEST_LINE} bytes, so this is no table; export one row a line", line=line)
