"""The columns of CGGTTS tracks, and the lines of a file to integers: plain ones all at once, others by their tokens.

It reads no header and judges no track: `cggtts` does. Source: Defraigne and Petit 2015, table 2 (format 2E); Allan and
Thomas 1994 (format 01), which has the same columns but no FR, HC and FRC, and a PRN for the letter and number of a
satellite. The checksum of a line (CK) is the sum of its bytes before CK, modulo 256.

Two paths, one result: a line whose fields stand in their columns is read as a row of a matrix of bytes, its integers by
one product with powers of ten; any other line is read by the blanks between its tokens, and its refusal has a reason.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.formats.finding import Finding, Severity

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

MISSING = int(np.iinfo(np.int64).min)
"""What stands for a value that the file gives as all nines, asterisks or (30 s files) as blanks."""
SYSTEMS = b"GRECJSI"

FIELDS = (
    ("MJD", 8, 12),
    ("STTIME", 14, 19),
    ("TRKL", 21, 24),
    ("ELV", 26, 28),
    ("AZTH", 30, 33),
    ("REFSV", 35, 45),
    ("SRSV", 47, 52),
    ("REFSYS", 54, 64),
    ("SRSYS", 66, 71),
    ("DSG", 73, 76),
    ("IOE", 78, 80),
    ("MDTR", 82, 85),
    ("SMDT", 87, 90),
    ("MDIO", 92, 95),
    ("SMDI", 97, 100),
    ("MSIO", 102, 105),
    ("SMSI", 107, 110),
    ("ISG", 112, 114),
)
"""Names and columns (from 1, both included) of the integers that all formats share."""
NAMES = tuple(name for name, _, _ in FIELDS)
SIGNED = ("REFSV", "SRSV", "REFSYS", "SRSYS", "SMDT", "SMDI", "SMSI")
_NEVER_MISSING = ("MJD", "STTIME", "TRKL")
_WITHOUT_IONOSPHERE = 15
"""So many fields a line has that holds no measured ionosphere."""

_MAX_LINE = 200
_INTEGER = re.compile(rb"[+-]?[0-9]{1,11}")
_SATELLITE = re.compile(rb"([" + SYSTEMS + rb"](?=[0-9]{2}))?([0-9]{1,2})")
_STARS = re.compile(rb"\*+")
_TOKEN = re.compile(rb"\S+")
_HEX = {ord(c): int(c, 16) for c in "0123456789abcdefABCDEF"}
_HEX_VALUE = np.full(256, -1, np.int64)
_HEX_VALUE[list(_HEX)] = list(_HEX.values())

_CLASS = np.full(256, 3, np.uint8)
_CLASS[32] = 0
_CLASS[[43, 45]] = 1
_CLASS[48:58] = 2


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns the tracks of a file have. `raw`: a 30 s file, whose lines have no CK and leave fields blank."""

    prn_only: bool
    ionosphere: bool
    raw: bool = False

    @property
    def fields(self) -> tuple[tuple[str, int, int], ...]:
        """The integers of a line."""
        return FIELDS if self.ionosphere else FIELDS[:_WITHOUT_IONOSPHERE]

    @property
    def channel_at(self) -> int:
        """First column (from 0) after the integers; here FR stands, or CK in format 01."""
        return self.fields[-1][2] + 1

    @property
    def code_at(self) -> int:
        """First column (from 0) of FRC."""
        return self.channel_at + 6

    @property
    def sum_at(self) -> int:
        """First column (from 0) of CK."""
        return self.channel_at + (0 if self.prn_only else 10)

    @property
    def length(self) -> int:
        """Number of columns of a line."""
        return self.code_at + 3 if self.raw else self.sum_at + 2

    @property
    def tokens(self) -> int:
        """Number of tokens of a line whose fields are all given."""
        return 2 + len(self.fields) + (1 if self.prn_only else 4)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Lines that were understood; arrays with a row each.

    `satellite` (n, 2): letter's code and number; `integers` (n, 20): as `FIELDS`, then FR and HC; `minus_zero` (n, 20):
    where the file writes -0; `text`: CL and FRC as written, without blanks; `sum_holds`: whether CK is the line's sum.
    """

    line: Ints
    satellite: Ints
    integers: Ints
    minus_zero: NDArray[np.bool_]
    tracking_class: NDArray[np.bytes_]
    code: NDArray[np.bytes_]
    sum_holds: NDArray[np.bool_]


def layout_of(labels: str, *, raw: bool) -> Layout:
    """Return the layout that the line of labels announces."""
    words = labels.split()
    return Layout(prn_only="FRC" not in words and not raw, ionosphere="MSIO" in words, raw=raw)


def read(body: bytes, layout: Layout, *, first_line: int, by_tokens: bool, findings: list[Finding]) -> Rows:
    """Return the lines of a body as rows, in their order; lines that are none go to `findings`.

    `by_tokens`: the file's own labels do not stand in their columns, so nothing does; CK cannot hold then, and a line
    is kept without.
    """
    octets = np.frombuffer(body, np.uint8)
    ends = np.flatnonzero(octets == 10)
    if len(octets) and (not len(ends) or ends[-1] != len(octets) - 1):
        ends = np.append(ends, len(octets))
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1]) if len(ends) else ends
    returns = np.flatnonzero((octets[np.maximum(ends - 1, 0)] == 13) & (ends > starts)) if len(ends) else ends
    stops = ends.copy()
    stops[returns] -= 1
    lengths = stops - starts
    plain = np.flatnonzero(lengths == layout.length)
    rows, good = _plain(octets, starts[plain], layout)
    understood = np.zeros(len(starts), np.bool_)
    understood[plain[good]] = True
    pieces = [_at(rows, good, plain[good] + first_line)]
    others = [
        _by_tokens(
            body[starts[k] : min(stops[k], starts[k] + _MAX_LINE)],
            int(k) + first_line,
            layout,
            findings,
            unchecked=by_tokens,
        )
        for k in np.flatnonzero(~understood).tolist()
        if lengths[k] > 0
    ]
    pieces += [row for row in others if row is not None]
    joined = [np.concatenate([getattr(piece, name) for piece in pieces]) for name in Rows.__slots__]
    order = np.argsort(joined[0], kind="stable")
    return Rows(*(column[order] for column in joined))


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What `_plain` needs to know of a layout; `columns`: bytes of a line, `m`: its integers."""

    last: Ints
    """(m,) the column (from 0) in which each integer ends."""
    field_of: Ints
    """Index of the integer that each column is part of, in the order of `within`."""
    inside: Ints
    outside: Ints
    """Columns of integers; columns that must be blank."""
    within: Ints
    """Columns whose left neighbour is part of the same integer."""
    worth: Ints
    """(inside, 1) what a digit there is worth; the columns of an integer stand together."""
    begins: Ints
    """(m,) where each integer begins in `inside`."""
    nines: Ints
    into: Ints
    """(m,) where each integer stands in `Rows.integers`."""


@cache
def _plan(layout: Layout) -> _Plan:
    numbers = list(layout.fields)
    into = list(range(len(numbers)))
    if not layout.prn_only and not layout.raw:
        at = layout.channel_at + 1
        numbers += [("FR", at, at + 1), ("HC", at + 3, at + 4)]
        into += [len(FIELDS), len(FIELDS) + 1]
    field = np.full(layout.length, -1)
    for k, (_, first, end) in enumerate(numbers):
        field[first - 1 : end] = k
    inside = np.flatnonzero(field >= 0)
    last = np.array([end - 1 for _, _, end in numbers])
    text = np.zeros(layout.length, np.bool_)
    text[:6] = True
    text[3] = False
    if not layout.prn_only:
        text[layout.code_at : layout.code_at + 3] = True
    if not layout.raw:
        text[layout.sum_at :] = True
    return _Plan(
        last,
        field[inside],
        inside,
        np.flatnonzero((field < 0) & ~text),
        np.flatnonzero((field[1:] >= 0) & (field[1:] == field[:-1])) + 1,
        10 ** (last[field[inside]] - inside)[:, None],
        np.flatnonzero(np.diff(field[inside], prepend=-1)),
        np.array([_nines(name, end - first + 1) for name, first, end in numbers]),
        np.array(into),
    )


def _plain(octets: Bytes, starts: Ints, layout: Layout) -> tuple[Rows, NDArray[np.bool_]]:
    """Return the lines that begin at `starts`, all of the layout's length, as rows, and which of them are plain."""
    plan = _plan(layout)
    lines: Bytes = octets[np.arange(layout.length)[:, None] + starts]  # a row is a column of the file
    kinds = _CLASS[lines]
    here, before = kinds[plan.within], kinds[plan.within - 1]
    broken = ((here < before) | ((here == 1) & (before == 1))).any(axis=0)
    digits = kinds[plan.inside]
    broken |= (digits == 3).any(axis=0) | (kinds[plan.outside] != 0).any(axis=0)
    ends_in = kinds[plan.last]
    broken |= ((ends_in != 2) & ((ends_in != 0) | (not layout.raw))).any(axis=0)
    written = lines[plan.inside]
    values = np.add.reduceat(np.where(digits == 2, written - 48, 0) * plan.worth, plan.begins, axis=0)
    minus = np.zeros(values.shape, np.bool_)
    at, which = np.nonzero(written == 45)
    minus[plan.field_of[at], which] = True
    missing = (ends_in == 0) | ((values == plan.nines[:, None]) & ~minus)
    integers = np.full((len(starts), len(FIELDS) + 2), MISSING)
    integers[:, plan.into] = np.where(missing, MISSING, np.where(minus, -values, values)).T
    minus_zero = np.zeros(integers.shape, np.bool_)
    minus_zero[:, plan.into] = (minus & (values == 0)).T
    satellite, known = _satellites(lines[:3].T, layout)
    classes = _texts(lines[4:6].T)
    codes = np.zeros(len(starts), "S3") if layout.prn_only else _texts(lines[layout.code_at : layout.code_at + 3].T)
    holds = np.ones(len(starts), np.bool_)
    if not layout.raw:
        said = _HEX_VALUE[lines[layout.sum_at :]]
        holds = lines[: layout.sum_at].sum(axis=0, dtype=np.uint32) % 256 == 16 * said[0] + said[1]
        holds &= (said >= 0).all(axis=0)
    return Rows(starts, satellite, integers, minus_zero, classes, codes, holds), known & ~broken


def _texts(letters: Bytes) -> NDArray[np.bytes_]:
    """Return rows of bytes as texts without the blanks before and behind."""
    joined = np.ascontiguousarray(letters).view(f"S{letters.shape[1]}").ravel()
    unique, index = np.unique(joined, return_inverse=True)
    stripped: NDArray[np.bytes_] = np.char.strip(unique)[index].astype(f"S{letters.shape[1]}")
    return stripped


def _satellites(letters: Bytes, layout: Layout) -> tuple[Ints, NDArray[np.bool_]]:
    """Return letter and number of each satellite, and whether they are some."""
    tens, ones = letters[:, 1].astype(np.int64), letters[:, 2].astype(np.int64) - 48
    digits = np.where(tens == 32, 0, tens - 48)
    good = (digits >= 0) & (digits <= 9) & (ones >= 0) & (ones <= 9) & (10 * digits + ones > 0)
    if layout.prn_only:
        letter = np.full(len(letters), ord("G"))
        good &= letters[:, 0] == 32
    else:
        letter = letters[:, 0].astype(np.int64)
        good &= np.isin(letters[:, 0], np.frombuffer(SYSTEMS, np.uint8))
    return np.stack([letter, 10 * digits + ones], axis=1), good


def _nines(name: str, width: int) -> int:
    """Return the number that stands for "no value" in a field; -1: the field is never without."""
    if name in _NEVER_MISSING or name in ("FR", "HC"):
        return -1
    return int(10 ** (width - (name in SIGNED)) - 1)


def _widest(name: str, value: int) -> int:
    """Return how many columns a number needs as the standard's producers write it."""
    return len(str(value)) + (name in SIGNED and value > 0)


def _at(rows: Rows, chosen: NDArray[np.bool_], line: Ints) -> Rows:
    return Rows(line, *(getattr(rows, name)[chosen] for name in Rows.__slots__[1:]))


def _by_tokens(text: bytes, line: int, layout: Layout, findings: list[Finding], *, unchecked: bool) -> Rows | None:
    """Return one line as rows of one, or None with a finding."""
    words: list[Any] = list(_TOKEN.finditer(text))
    if not words:
        return None

    def refuse(rule: str, says: str, column: int | None = 1) -> Rows | None:
        findings.append(Finding(rule, f"{says}: the track is not used", line, column))
        return None

    if layout.raw:
        return _raw_line(text, line, layout, findings)
    parts = [word.group() for word in words]
    if len(parts) < layout.tokens:
        return refuse(
            "too-few-fields", f"{len(parts)} of {layout.tokens} fields: the line was cut or fields run together"
        )
    if len(parts) > layout.tokens:
        return refuse("too-many-fields", f"{len(parts)} fields instead of {layout.tokens}")
    satellite = _SATELLITE.fullmatch(parts[0])
    if satellite is None or bool(satellite.group(1)) == layout.prn_only or int(satellite.group(2)) == 0:
        return refuse("satellite", f"{parts[0][:8].decode('latin-1')!r} is no satellite")
    number = np.array([[ord(satellite.group(1) or b"G"), int(satellite.group(2))]])
    integers = np.full((1, len(FIELDS) + 2), MISSING)
    minus_zero = np.zeros(integers.shape, np.bool_)
    fields = list(layout.fields) + ([] if layout.prn_only else [("FR", 1, 2), ("HC", 1, 2)])
    for k, (name, first, end) in enumerate(fields):
        word = parts[2 + k]
        column = len(NAMES) + k - len(layout.fields) if k >= len(layout.fields) else k
        if _STARS.fullmatch(word) and name not in _NEVER_MISSING:
            continue
        if _INTEGER.fullmatch(word) is None:
            return refuse("field", f"{name} is no integer: {word[:14].decode('latin-1')!r}", words[2 + k].start() + 1)
        value = int(word)
        if unchecked and _widest(name, value) > end - first + 1:
            says = f"{name} has no room in its {end - first + 1} columns: {word[:14].decode('latin-1')!r}"
            return refuse("field", says, words[2 + k].start() + 1)
        integers[0, column] = MISSING if value == _nines(name, end - first + 1) else value
        minus_zero[0, column] = value == 0 and word[:1] == b"-"
    said = parts[-1]
    sum_is = sum(text[: words[-1].start()]) % 256
    holds = len(said) == 2 and all(c in _HEX for c in said) and int(said, 16) == sum_is
    if not holds and unchecked:
        says = "the columns of this file were moved together, so that CK cannot be checked: the track is kept unchecked"
        findings.append(Finding("track-unchecked", says, line, words[-1].start() + 1, Severity.WARNING))
    code = np.array([b"" if layout.prn_only else parts[-2][:3]], "S3")
    return Rows(np.array([line]), number, integers, minus_zero, np.array([parts[1][:2]], "S2"), code, np.array([holds]))


def _raw_line(text: bytes, line: int, layout: Layout, findings: list[Finding]) -> Rows | None:
    """Return a line of a 30 s file that holds asterisks, as rows of one, or None with a finding."""
    columns = text.ljust(layout.length)
    known = _satellites(np.frombuffer(columns[:3], np.uint8).reshape(1, 3), layout)
    integers = np.full((1, len(FIELDS) + 2), MISSING)
    rest = bytearray(columns)
    rest[:6] = b"   " + columns[3:4] + b"  "
    rest[layout.code_at : layout.code_at + 3] = b"   "
    for k, (_, first, end) in enumerate(layout.fields):
        word = columns[first - 1 : end].strip()
        rest[first - 1 : end] = b" " * (end + 1 - first)
        if word and _STARS.fullmatch(word) is None:
            if _INTEGER.fullmatch(word) is None:
                break
            integers[0, k] = int(word)
    else:
        if known[1][0] and not rest.strip() and (integers[0, :2] != MISSING).all():
            code = np.array([columns[layout.code_at : layout.code_at + 3].strip()], "S3")
            tracking_class = np.array([columns[4:6].strip()], "S2")
            nothing = np.zeros(integers.shape, np.bool_)
            return Rows(np.array([line]), known[0], integers, nothing, tracking_class, code, np.ones(1, np.bool_))
    says = "the fields of this line do not stand in their columns: the point is not used"
    findings.append(Finding("raw-columns", says, line, 1))
    return None
