"""What every reader of a record of phase shares: words of a line, numbers as people write them, and the rows found.

It reads no format by itself and knows no time axis (`phase_grid.py`).
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from truechimer.errors import Rejected
from truechimer.formats.finding import Finding

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COMMENTS = ("#", "%", "!", ";", "//")
MISSING = frozenset({"", "-", "--", "---", "na", "n/a", "null", "none", "missing", "*", "."})
"""Words for a value that is not there; `nan` is read as a number."""
_COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+(?:[eEdD][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")
_EMPTY_LINE = re.compile(r"\n[ \t]*\n")
HEAD_CHARACTERS = 1 << 16
"""The beginning of a file, where its comments stand; where none stands below, its lines need no second look."""
SAMPLE = 200
"""Lines that decide what separates columns and decimals."""


def printable(text: str) -> str:
    """Return a text with U+FFFD for whatever could move a terminal's cursor or break a document."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in text)


class RecordRejected(Rejected):
    """A file that no series can be read from; `line` counts from 1."""

    def __init__(self, says: str, *, line: int | None = None) -> None:
        says = printable(says)
        super().__init__(says if line is None else f"line {line}: {says}")
        self.line = line


class NoChoiceRejected(RecordRejected):
    """A pair or a channel was asked for, and the file has one series alone."""


@dataclass(slots=True)
class Rows:
    """Values with their lines, and times where there are any; `time_digits`: decimals that the times are printed with.

    `values` are divided by `per_second`; `sign` is -1 where a pair of clocks was asked for the other way round.
    `time_unit`: a key of `phase_grid.TIME_UNITS`, or `?` where it is to be guessed. `rows_may_miss`: the file's form
    leaves out the row of a missing value.
    """

    values: Floats
    lines: Ints
    times: Floats | None = None
    time_digits: int | None = None
    took_for: str = ""
    data: str = "phase"
    tau0_s: float | None = None
    tau0_from: str = ""
    per_second: float = 1.0
    sign: float = 1.0
    time_unit: str = "?"
    rows_may_miss: bool = False
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Content:
    """Lines that hold something, with their numbers: `comments` apart from `lines`; `numbers` are those of `lines`."""

    lines: list[str]
    numbers: list[int]
    comments: list[str]

    def after(self, count: int) -> "Content":
        """Return the content without its first `count` lines, which count as comments."""
        return Content(self.lines[count:], self.numbers[count:], [*self.comments, *self.lines[:count]])


def content_of(text: str, lines: list[str]) -> Content:
    """Return the lines of a text less comments and empty ones; a remark behind `#` is cut off."""
    end = text.find("\n", HEAD_CHARACTERS)
    body = "" if end < 0 else text[end:].rstrip()
    if not body or any(mark[0] in body for mark in COMMENTS) or _EMPTY_LINE.search(body):
        return _sorted_out(lines, 1)
    many = body.count("\n")
    upto = len(lines) - text.count("\n", end + len(body)) - many
    head = _sorted_out(lines[:upto], 1)
    rest = lines[upto : upto + many]
    return Content(head.lines + rest, [*head.numbers, *range(upto + 1, upto + many + 1)], head.comments)


def _sorted_out(lines: list[str], first: int) -> Content:
    kept, numbers, comments = [], [], []
    for number, line in enumerate(lines, first):
        stripped = line.strip()
        if not stripped:
            continue
        if stripped.startswith(COMMENTS):
            comments.append(stripped)
            continue
        if "#" in stripped:
            stripped = stripped.partition("#")[0].rstrip()
        kept.append(stripped)
        numbers.append(number)
    return Content(kept, numbers, comments)


def shown(text: str) -> str:
    """Return a piece of a file for a message: short, and without what could reach a terminal."""
    return repr(text[:40])


def words_of(line: str, separator: str | None) -> list[str]:
    """Return the words of a line; `separator` None: blanks."""
    if separator is None:
        return line.split()
    return [word.strip().strip('"') for word in line.split(separator)]


def number_of(word: str, *, comma: bool = False) -> float | None:
    """Return the number that a word is, None where it is none; Fortran's exponent D is taken, 1_000 is not."""
    if comma:
        word = word.replace(",", ".")
    if "_" in word:
        return None
    try:
        return float(word)
    except ValueError:
        lower = word.lower()
        if "d" not in lower or lower.startswith("0x"):
            return None
        try:
            return float(lower.replace("d", "e"))
        except ValueError:
            return None


def value_of(word: str, *, comma: bool = False) -> float | None:
    """Return a number, NaN for a word that says "missing", None for anything else."""
    value = number_of(word, comma=comma)
    return float("nan") if value is None and word.lower() in MISSING else value


def stamp_of(word: str) -> float | None:
    """Return the seconds of a date and time such as 2026-11-22T06:00:00Z; UTC where nothing else is said."""
    if not re.match(r"\d{4}-\d\d-\d\d", word):
        return None
    try:
        found = datetime.fromisoformat(word)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def decimals_of(words: Sequence[str]) -> int:
    """Return the most decimals that a number is printed with among the first lines."""
    return max((len(word.partition(".")[2]) for word in words[:SAMPLE] if "e" not in word.lower()), default=0)


@dataclass(frozen=True, slots=True)
class Layout:
    """What separates columns (None: blanks), and whether decimals follow a comma; `doubt` says why that is open."""

    separator: str | None
    comma: bool
    doubt: str = ""


def layout_of(sample: Sequence[str], *, decimal: str | None) -> Layout:
    """Return how rows are written; `decimal`: `comma` or `point` where it was said, None to find out."""
    for separator in (";", "\t"):
        if sample and all(separator in line for line in sample):
            return Layout(separator, _has_commas([words_of(line, separator) for line in sample], decimal))
    by_blanks = [line.split() for line in sample]
    if not any("," in line for line in sample):
        return Layout(None, comma=False)
    if all(len(words) > 1 for words in by_blanks) and _has_commas(by_blanks, decimal):
        return Layout(None, comma=True)
    looks = all(_COMMA_NUMBER.fullmatch(line) or line.lower() in MISSING or _WHOLE.fullmatch(line) for line in sample)
    if not looks or decimal == "point":
        return Layout(",", comma=False)
    heads, tails = ([line.partition(",")[place] for line in sample] for place in (0, 2))
    if decimal == "comma" or any(len(tail) > 1 and tail[0] == "0" and tail[1].isdigit() for tail in tails):
        return Layout(None, comma=True)
    times = [number_of(word) for word in heads]
    steps = {after - before for before, after in pairwise(times) if before is not None and after is not None}
    if len(times) > 3 and None not in times and len(steps) == 1 and min(steps) > 0.0:
        return Layout(",", comma=False)  # the first numbers count evenly upwards: times
    return Layout(
        ",",
        comma=False,
        doubt=f"{shown(sample[0])} is one number with a decimal comma or two whole numbers: say --decimal comma or "
        "--decimal point",
    )


def _has_commas(rows: list[list[str]], decimal: str | None) -> bool:
    """Return True if numbers in these words have decimal commas: some have, none has a point."""
    if decimal is not None:
        return decimal == "comma"
    words = [word for row in rows for word in row if not stamp_of(word)]
    numbers = [word for word in words if _COMMA_NUMBER.fullmatch(word) or number_of(word) is not None]
    return any("," in word for word in numbers) and not any("." in word for word in numbers)


def table_of(lines: list[str], layout: Layout, columns: tuple[int, ...]) -> Floats | None:
    """Return these columns of all lines (n_lines, n_columns) where every line has as many numbers, else None."""
    if not lines:
        return None
    width = len(words_of(lines[0], layout.separator))
    if max(columns) >= width:
        return None
    apart = layout.separator
    if apart is None:
        if any(len(words) != width for words in map(str.split, lines)):
            return None
    elif any(line.count(apart) != width - 1 for line in lines):
        return None
    text = "\n".join(lines)
    if apart is not None and not apart.isspace():
        text = text.replace(apart, " ")
    if layout.comma:
        text = text.replace(",", ".")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what is no number is a warning, in later versions of NumPy an error
            found = np.fromstring(text, sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    if found.size != width * len(lines):
        return None
    return found.reshape(len(lines), width)[:, columns]
