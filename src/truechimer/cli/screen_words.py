"""Lines of a terminal screen as pieces of text with a style: their width, how they are cut, how they are drawn.

It knows no laboratory and touches no terminal. The law of the file: text never carries a control character, and no line
is wider than it was told to be, whatever alphabet a name is written in. Source: ECMA-48 (SGR), Unicode UAX 11 (East
Asian width).
"""

import unicodedata
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

SGR_RESET = "\x1b[0m"


class Style(Enum):
    """What a piece of text means; the value is its SGR parameters."""

    PLAIN = ""
    DIM = "2"
    STRONG = "1"
    GOOD = "32"
    DOUBT = "33"
    BAD = "1;31"
    BANNER = "7;1"


class Piece(NamedTuple):
    """A stretch of one line in one style."""

    text: str
    style: Style = Style.PLAIN


Row = tuple[Piece, ...]


def row(*pieces: Piece | str) -> Row:
    """Return a line made of pieces; plain strings are plain pieces."""
    return tuple(Piece(piece) if isinstance(piece, str) else piece for piece in pieces)


def width_of(text: str) -> int:
    """Return how many columns a terminal gives to a text without control characters."""
    if text.isascii():
        return len(text)
    return sum(_columns(letter) for letter in text)


def clipped(line: Row, width: int) -> Row:
    """Return a line cut to `width` columns; `...` stands where something was cut."""
    if width <= 0:
        return ()
    if sum(width_of(piece.text) for piece in line) <= width:
        return line
    ellipsis = "..." if width > 6 else ""
    left = width - len(ellipsis)
    kept: list[Piece] = []
    for piece in line:
        text = _cut(piece.text, left)
        kept.append(Piece(text, piece.style))
        left -= width_of(text)
        if text != piece.text:
            break
    return (*kept, Piece(ellipsis, Style.DIM))


def filled(line: Row, width: int) -> Row:
    """Return a line that is exactly `width` columns wide."""
    line = clipped(line, width)
    return (*line, Piece(" " * (width - sum(width_of(piece.text) for piece in line))))


def folded(words: str, width: int, *, most: int) -> list[str]:
    """Return text broken at blanks into lines of `width` columns, the last of `most` lines cut."""
    lines: list[str] = []
    line = ""
    for word in words.split():
        longer = f"{line} {word}" if line else word
        if line and width_of(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    lines += [line] if line else []
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return ["".join(piece.text for piece in clipped(row(line), width)) for line in lines]


def drawn(line: Row, *, colour: bool) -> str:
    """Return a line as what is sent to a terminal; without `colour` it is text alone."""
    if not colour:
        return "".join(piece.text for piece in line).rstrip()
    return "".join(
        f"\x1b[{piece.style.value}m{piece.text}{SGR_RESET}" if piece.style.value and piece.text else piece.text
        for piece in line
    )


def beside(left: Iterable[Row], right: Iterable[Row], *, left_width: int, gap: int = 3) -> list[Row]:
    """Return two columns as one block of lines."""
    lefts, rights = list(left), list(right)
    count = max(len(lefts), len(rights))
    lefts += [()] * (count - len(lefts))
    rights += [()] * (count - len(rights))
    return [
        (*filled(one, left_width), Piece(" " * gap), *other) if other else one
        for one, other in zip(lefts, rights, strict=True)
    ]


def _cut(text: str, width: int) -> str:
    taken = 0
    for index, letter in enumerate(text):
        taken += _columns(letter)
        if taken > width:
            return text[:index]
    return text


def _columns(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1
