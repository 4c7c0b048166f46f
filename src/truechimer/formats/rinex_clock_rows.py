"""The records of a clock RINEX file: lines to arrays, plain ones thousands at a time, all others by the judge.

It reads no header. Layout (columns from 1; names of four characters, in brackets of nine): kind 1-2, name 4-7 [12],
date 9-36 [14-41], number of values 35-37 [40-42], bias 41-59 [46-64], sigma 61-79 [66-84]; the other four values on a
line of their own. The judge reads fields by the blanks between them, so it takes what programs write that count columns
otherwise.
"""

import re
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.formats.finding import Finding, Severity
from truechimer.formats.rinex_clock_header import KINDS
from truechimer.formats.rinex_clock_time import NS_PER_S, TAI_MINUS_S, Times
from truechimer.instants.mjd import MJD_OF_1970

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

NAME = re.compile(r"[A-Za-z0-9_.-]+")
MAX_NAME = 9
MAX_LINE = 400
NO_VALUE_S = 0.999999e6
"""Some programs write 999999.999999 for "no value"; eleven days of clock offset are none either."""
VALUES = 6
_CHUNK = 16_384
_WIDTH = 88
_DAY_S = 86_400
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eEdD][+-]?[0-9]{1,3})?")
_POWERS = np.array([float(10**power) for power in range(23)])
_TOKEN = re.compile(r"\S+")
_KIND_INDEX = {kind: index for index, kind in enumerate(KINDS)}

Columns = tuple[tuple[str, ...], NDArray[np.int8], NDArray[np.int32], Ints, Floats, Ints]
"""names, kind, clock, epoch_tai_ns, values, line: see `rinex_clock.RinexClock`."""


class _Names:
    """Names by number, in order of appearance."""

    def __init__(self) -> None:
        self.index: dict[bytes, int] = {}

    def of(self, name: bytes) -> int:
        return self.index.setdefault(name, len(self.index))


def read(body: bytes, *, first_line: int, times: Times, findings: list[Finding]) -> Columns:
    """Return the columns of all good records in the bytes after the header; refused lines go to `findings`."""
    names = _Names()
    pieces: list[tuple[NDArray[np.int8], NDArray[np.int32], Ints, Floats, Ints]] = []
    octets = np.frombuffer(body, np.uint8)
    ends = np.flatnonzero(octets == 10)
    if len(body) and (not len(ends) or ends[-1] != len(body) - 1):
        ends = np.append(ends, len(body))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    judge = _Judge(names, times)
    padded = np.concatenate([octets, np.full(_WIDTH, 32, np.uint8)])
    for begin in range(0, len(ends), _CHUNK):
        piece_starts, piece_ends = starts[begin : begin + _CHUNK], ends[begin : begin + _CHUNK]
        plain = np.zeros(len(piece_starts), np.bool_)
        lines = _lines(padded, piece_starts, piece_ends)
        for offset in (0, 5):
            left = np.flatnonzero(~plain)
            rows = left[_plain_rows(lines[left], (piece_ends - piece_starts)[left], offset)]
            piece = _plain_values(lines[rows], offset, names, times)
            if piece is not None:
                good, columns = piece
                plain[rows[good]] = True
                pieces.append((*columns, rows[good] + first_line + begin))
        for k in np.flatnonzero(~plain).tolist():
            line = body[piece_starts[k] : min(piece_ends[k], piece_starts[k] + MAX_LINE + 1)]
            judge.take(line.decode("latin-1"), begin + k + first_line, findings)
        judge.plain_lines(plain, begin + first_line, findings)
    judge.end(findings)
    pieces.append(judge.columns())
    kind, clock, epoch, values, line_number = (np.concatenate(column) for column in zip(*pieces, strict=True))
    order = np.argsort(line_number, kind="stable")
    # numbers by first appearance in the file, whichever path read a name first
    first_seen: dict[int, int] = {}
    by_line = clock[order]
    for each in by_line[np.sort(np.unique(by_line, return_index=True)[1])].tolist():
        first_seen[each] = len(first_seen)
    number = np.zeros(len(names.index) + 1, np.int32)
    for old, new in first_seen.items():
        number[old] = new
    texts = [name.decode("ascii") for name in names.index]
    return (
        tuple(texts[old] for old in first_seen),
        kind[order],
        number[by_line],
        epoch[order],
        values[order],
        line_number[order],
    )


def _lines(octets: Bytes, starts: Ints, ends: Ints) -> Bytes:
    """Return the lines as rows of `_WIDTH` bytes, filled with blanks; `octets` has `_WIDTH` bytes to spare."""
    lines: Bytes = np.lib.stride_tricks.sliding_window_view(octets, _WIDTH)[starts]
    lines[np.arange(_WIDTH) >= (ends - starts)[:, None]] = 32
    return lines


def _plain_rows(lines: Bytes, lengths: Ints, offset: int) -> Ints:
    """Return the indices of lines in the plain layout; `offset` 5 for names of nine characters."""
    o = offset

    def digits(*columns: int) -> Any:
        part = lines[:, list(columns)]
        return np.logical_and.reduce((part >= 48) & (part <= 57), axis=1)

    def blank(*columns: int) -> Any:
        return np.logical_and.reduce(lines[:, list(columns)] == 32, axis=1)

    def number(at: int) -> Any:
        sign, power = lines[:, at], lines[:, at + 16]
        return (
            digits(at + 1, *range(at + 3, at + 15), at + 17, at + 18)
            & (lines[:, at + 2] == 46)
            & ((sign == 32) | (sign == 43) | (sign == 45))
            & ((lines[:, at + 15] | 32) == 101)
            & ((power == 43) | (power == 45))
        )

    good = blank(2, 7 + o, 12 + o, 15 + o, 18 + o, 21 + o, 24 + o, 34 + o, 35 + o, 37 + o, 38 + o, 39 + o)
    good &= digits(*range(8 + o, 12 + o), 14 + o, 17 + o, 20 + o, 23 + o, 26 + o, *range(28 + o, 34 + o))
    good &= lines[:, 27 + o] == 46
    for column in (13 + o, 16 + o, 19 + o, 22 + o, 25 + o):
        good &= ((lines[:, column] >= 48) & (lines[:, column] <= 57)) | (lines[:, column] == 32)
    good &= number(40 + o)
    one = (lines[:, 36 + o] == 49) & blank(*range(59 + o, _WIDTH))
    two = (lines[:, 36 + o] == 50) & blank(59 + o, *range(79 + o, _WIDTH)) & number(60 + o)
    good &= (one | two) & (lengths <= _WIDTH) & (lines[:, 3] != 32)
    return np.flatnonzero(good)


def _plain_values(
    lines: Bytes, offset: int, names: _Names, times: Times
) -> tuple[NDArray[np.bool_], tuple[NDArray[np.int8], NDArray[np.int32], Ints, Floats]] | None:
    """Return which of the plain lines break no law, and the columns of those; None where there are none."""
    o = offset
    if not len(lines) or times.system not in TAI_MINUS_S:
        return None

    def whole(begin: int, end: int) -> Ints:
        value = np.zeros(len(lines), np.int64)
        for column in range(begin, end):
            digit = lines[:, column].astype(np.int64) - 48
            value = value * 10 + np.where(digit < 0, 0, digit)
        return value

    kind = np.full(len(lines), -1, np.int8)
    for text, index in _KIND_INDEX.items():
        kind[(lines[:, 0] == ord(text[0])) & (lines[:, 1] == ord(text[1]))] = index
    day = whole(8 + o, 12 + o) * 10_000 + whole(13 + o, 15 + o) * 100 + whole(16 + o, 18 + o)
    hour, minute, second = whole(19 + o, 21 + o), whole(22 + o, 24 + o), whole(25 + o, 27 + o)
    values = np.full((len(lines), VALUES), np.nan)
    values[:, 0] = _real(lines[:, 40 + o : 59 + o])
    has_two = lines[:, 36 + o] == 50
    if has_two.any():
        values[has_two, 1] = _real(lines[has_two, 60 + o : 79 + o])
    good = (kind >= 0) & (hour < 24) & (minute < 60) & (second < 60) & (np.abs(values[:, 0]) < NO_VALUE_S)
    good &= ~has_two | ((values[:, 1] >= 0.0) & (values[:, 1] < NO_VALUE_S))
    mjd = np.zeros(len(lines), np.int64)
    for each in np.unique(day).tolist():
        here = times.day(each // 10_000, each // 100 % 100, each % 100)
        good &= (day != each) | (here is not None)
        mjd[day == each] = here or 0
    texts = np.ascontiguousarray(lines[:, 3 : 7 + o]).view(f"S{4 + o}").ravel().tolist()
    known: dict[bytes, int] = {}
    for text in set(texts):
        name = text.rstrip(b" ")
        known[text] = names.of(name) if NAME.fullmatch(name.decode("latin-1")) else -1
    clock = np.array([known[text] for text in texts], np.int32)
    good &= clock >= 0
    seconds = (mjd - MJD_OF_1970) * _DAY_S + hour * 3_600 + minute * 60 + second + TAI_MINUS_S[times.system]
    epoch = seconds * NS_PER_S + whole(28 + o, 34 + o) * 1_000
    return good, (kind[good], clock[good], epoch[good], values[good])


def _real(text: Bytes) -> Floats:
    """Return the numbers of texts like `-0.123456789012E-03`, rows of 19 bytes, correctly rounded.

    Thirteen digits and powers of ten up to 22 are exact in float64, so one division rounds once; what lies beyond goes
    through the text.
    """
    digits = text[:, [1, *range(3, 15)]].astype(np.float64) - 48.0
    mantissa = digits @ _POWERS[12::-1]
    power = (text[:, 17].astype(np.int64) - 48) * 10 + text[:, 18] - 48
    power = 12 - np.where(text[:, 16] == 45, -power, power)
    numbers: Floats = np.where(
        power >= 0, mantissa / _POWERS[np.clip(power, 0, 22)], mantissa * _POWERS[np.clip(-power, 0, 22)]
    )
    numbers = np.where(text[:, 0] == 45, -numbers, numbers)
    far = np.abs(power) > 22
    if far.any():
        numbers[far] = np.ascontiguousarray(text[far]).view("S19").ravel().astype(np.float64)
    return numbers


class _Judge:
    """The law of a line, written to be read; it remembers a record that waits for its second line."""

    def __init__(self, names: _Names, times: Times) -> None:
        self.names, self.times = names, times
        self.records: list[tuple[int, int, int, list[float], int]] = []
        self.open: tuple[int, int, int, list[float], int] | None = None
        self.open_count = 0
        self.expected = 0
        self.skip = 0

    def take(self, line: str, number: int, findings: list[Finding]) -> None:
        """Take one line in."""
        if self.open is not None and number != self.expected:
            self._lost(findings)
        if not line.strip():
            return
        if len(line) > MAX_LINE:
            findings.append(Finding("line-too-long", f"more than {MAX_LINE} characters: the line is not used", number))
            return
        tokens = [(match.group(), match.start() + 1) for match in _TOKEN.finditer(line)]
        if self.open is not None and tokens[0][0] not in _KIND_INDEX:
            self._continue(tokens, number, findings)
            return
        if self.open is not None:
            self._lost(findings)
        if number == self.skip and tokens[0][0] not in _KIND_INDEX:
            return
        fault = self._record(tokens, number, findings)
        if fault is not None:
            rule, says, column = fault
            findings.append(Finding(rule, f"{says}: the line is not used", number, column))
            # the second line of a refused record belongs to it
            self.skip = number + 1 if tokens[0][0] in _KIND_INDEX and rule != "values" else 0

    def plain_lines(self, plain: NDArray[np.bool_], first: int, findings: list[Finding]) -> None:
        """Give up a record whose second line turned out to be a record of its own."""
        k = self.expected - first
        if self.open is not None and 0 <= k < len(plain) and plain[k]:
            self._lost(findings)

    def end(self, findings: list[Finding]) -> None:
        """Give up a record whose second line never came."""
        if self.open is not None:
            self._lost(findings)

    def columns(self) -> tuple[NDArray[np.int8], NDArray[np.int32], Ints, Floats, Ints]:
        """Return what was taken."""
        values = np.full((len(self.records), VALUES), np.nan)
        for k, record in enumerate(self.records):
            values[k, : len(record[3])] = record[3]
        return (
            np.array([record[0] for record in self.records], np.int8),
            np.array([record[1] for record in self.records], np.int32),
            np.array([record[2] for record in self.records], np.int64),
            values,
            np.array([record[4] for record in self.records], np.int64),
        )

    def _record(
        self, tokens: list[tuple[str, int]], number: int, findings: list[Finding]
    ) -> tuple[str, str, int] | None:
        """Take the first line of a record in; return rule, sentence and column of what is wrong with it."""
        kind = _KIND_INDEX.get(tokens[0][0])
        if kind is None:
            return "kind", f"{tokens[0][0][:20]!r} is no kind of record ({' '.join(KINDS)})", tokens[0][1]
        if len(tokens) < 10:
            return "fields", f"{len(tokens)} fields where 10 or 11 belong", tokens[-1][1]
        name, column = tokens[1]
        if not NAME.fullmatch(name) or len(name) > MAX_NAME:
            return "clock-name", f"{name[:40]!r} is no clock name (up to 9 letters, digits, _ . -)", column
        epoch = self.times.of_tokens([text for text, _ in tokens[2:8]])
        if epoch is None:
            text = " ".join(each for each, _ in tokens[2:8])
            return "epoch", f"{text[:60]!r} is no moment of {self.times.system} time from 1980 to 2261", tokens[2][1]
        text, column = tokens[8]
        if len(text) > 2 or not text.isascii() or not text.isdigit() or not 1 <= int(text) <= VALUES:
            return "values", f"{text[:20]!r} values: one to six belong to a record", column
        count = int(text)
        here = min(count, 2)
        if len(tokens) - 9 != here:
            return "fields", f"{len(tokens) - 9} values in this line where {here} belong", tokens[9][1]
        numbers, fault = _numbers(tokens[9:], 0)
        if fault is not None:
            return fault
        if any(isnan(value) for value in numbers):
            says = "a sigma less than 0: it is not used, its offset is"
            findings.append(Finding("negative-sigma", says, number, tokens[10][1], severity=Severity.WARNING))
        record = (kind, self.names.of(name.encode("ascii")), epoch, numbers, number)
        if count > 2:
            self.open, self.open_count, self.expected = record, count, number + 1
        else:
            self.records.append(record)
        return None

    def _continue(self, tokens: list[tuple[str, int]], number: int, findings: list[Finding]) -> None:
        record, self.open = self.open, None
        if record is None:
            return
        belong = self.open_count - 2
        numbers, fault = _numbers(tokens, 2)
        if len(tokens) != belong:
            fault = "fields", f"{len(tokens)} values in this line where {belong} belong", tokens[0][1]
        if fault is not None:
            findings.append(Finding(fault[0], f"{fault[1]}: the record is not used", number, fault[2]))
            return
        self.records.append((*record[:3], record[3] + numbers, record[4]))

    def _lost(self, findings: list[Finding]) -> None:
        if self.open is not None:
            says = f"{self.open_count} values, and no second line with the rest: the record is not used"
            findings.append(Finding("continuation", says, self.open[4], 1))
        self.open = None


def _numbers(tokens: list[tuple[str, int]], first: int) -> tuple[list[float], tuple[str, str, int] | None]:
    """Return the values of the texts, the first of them value `first` of its record; else what is wrong."""
    numbers: list[float] = []
    for index, (text, column) in enumerate(tokens, start=first):
        if len(text) > 40 or not _NUMBER.fullmatch(text):
            return numbers, ("not-a-number", f"{text[:40]!r} is no decimal number", column)
        value = float(text.replace("D", "E").replace("d", "e"))
        if abs(value) >= (NO_VALUE_S if index < 2 else 1e99):
            return numbers, ("no-value", f"{text} is no offset of a clock", column)
        # the format's own example states negative sigmas: they say nothing, and cost the offset nothing
        numbers.append(float("nan") if index % 2 and value < 0.0 else value)
    return numbers, None
