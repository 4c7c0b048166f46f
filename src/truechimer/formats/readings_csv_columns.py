# mypy: allow-untyped-defs, allow-untyped-calls
"""Readings CSV as columns: a whole file to (`ReadingColumns`, findings), in machine code where that is installed.

It has no law of its own. Machine code takes the lines that are plainly good (a known pair of names, an epoch and two
numbers of the usual form, nothing fallen back or read twice) and stops at every other; that one goes to
`readings_csv.Judge`, which is the law, and says what comes of it. A test holds this and `readings_csv.read` equal.
Where there is no machine code, `readings_csv.read` reads.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer import kernel as kernels
from truechimer.formats import reading_columns, readings_csv
from truechimer.formats.decimal_floats import FIVES, TENS, UNDECIDED, nearest
from truechimer.formats.finding import Finding
from truechimer.formats.reading_columns import ReadingColumns
from truechimer.formats.readings_csv import (
    EPOCH_MIN_NS,
    MAX_LINE_BYTES,
    Judge,
    ReadingRow,
    ReadingsCsvReader,
    claims_utc,
)
from truechimer.kernel import kernel

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

_NS_PER_DAY = 86_400 * 10**9
_MJD_OF_1970 = 40_587
_FURTHEST_DAYS = 106_000
"""Days from 1970 whose nanoseconds are well within an int64."""
_POWERS = np.array([10**k for k in range(19)], np.int64)
_LONGEST_BURST = 4_096
_GOOD_RUN = 64
# state: place in the file, line, rows made, epoch of the last row, its stamp, where its text is and how long, last key
AT, LINE, ROWS, LAST_NS, STAMP, TEXT, TEXT_LENGTH, KEY = range(8)
_TAB, _LF, _CR, _SPACE, _HASH, _PLUS, _COMMA, _MINUS, _DOT, _ZERO, _NINE, _E, _SMALL_E = b"\t\n\r #+,-.09Ee"


@kernel
def _is_blank(byte):
    return byte == _SPACE or byte == _TAB or byte == _CR  # noqa: PLR1714 - a kernel


@kernel
def _number(data, at, end, fives, tens, scratch):  # noqa: PLR0917
    """Return the bits of the number that begins at `at` and the place after it and its blanks; -1: not decided here."""
    while at < end and _is_blank(data[at]):
        at += 1
    is_negative = at < end and data[at] == _MINUS
    if at < end and (data[at] == _MINUS or data[at] == _PLUS):
        at += 1
    digits = np.uint64(0)
    count, power, seen = 0, 0, 0
    while at < end and _ZERO <= data[at] <= _NINE:
        digits = digits * np.uint64(10) + np.uint64(data[at] - _ZERO)
        count += 1 if count > 0 or data[at] != _ZERO else 0
        seen += 1
        at += 1
    if at < end and data[at] == _DOT:
        at += 1
        while at < end and _ZERO <= data[at] <= _NINE:
            digits = digits * np.uint64(10) + np.uint64(data[at] - _ZERO)
            count += 1 if count > 0 or data[at] != _ZERO else 0
            seen += 1
            power -= 1
            at += 1
    if seen == 0 or count > 19:
        return UNDECIDED, -1
    if at < end and (data[at] == _SMALL_E or data[at] == _E):
        at += 1
        is_small = at < end and data[at] == _MINUS
        if at < end and (data[at] == _MINUS or data[at] == _PLUS):
            at += 1
        more = np.int64(0)
        places = 0
        while at < end and _ZERO <= data[at] <= _NINE and places < 6:
            more = more * 10 + np.int64(data[at] - _ZERO)
            places += 1
            at += 1
        if places == 0:
            return UNDECIDED, -1
        power += -more if is_small else more  # type: ignore[assignment]
    while at < end and _is_blank(data[at]):
        at += 1
    return nearest(digits, power, is_negative, fives, tens, scratch), at


@kernel
def _epoch(data, begin, end, is_mjd, powers):
    """Return the epoch (ns) of a text of digits, and whether it could be had here."""
    at = begin
    is_negative = False
    if not is_mjd and at < end and (data[at] == _MINUS or data[at] == _PLUS):
        is_negative = data[at] == _MINUS
        at += 1
    if at == end or (not is_mjd and end - at > 18 and (end - at > 19 or data[at] == _NINE)):
        return np.int64(0), False
    whole = np.int64(0)
    first = at
    while at < end and _ZERO <= data[at] <= _NINE and at - first < 19:
        whole = whole * 10 + np.int64(data[at] - _ZERO)
        at += 1
    if not is_mjd:
        return (-whole if is_negative else whole), at == end and at > first
    if at == first or at - first > 6 or at >= end or data[at] != _DOT or abs(whole - _MJD_OF_1970) > _FURTHEST_DAYS:
        return np.int64(0), False
    at += 1
    first = at
    parts = np.int64(0)
    while at < end and _ZERO <= data[at] <= _NINE and at - first < 16:
        parts = parts * 10 + np.int64(data[at] - _ZERO)
        at += 1
    beyond = at - first - 11
    if at != end or at == first:
        return np.int64(0), False
    midnight = (whole - _MJD_OF_1970) * _NS_PER_DAY
    if beyond <= 0:
        return midnight + parts * 864 * powers[-beyond], True
    # half to even
    parts = parts * 864
    quotient, rest = parts // powers[beyond], parts % powers[beyond]
    half = powers[beyond] // 2
    if rest > half or (rest == half and quotient % 2 == 1):
        quotient += 1
    return midnight + quotient, True


@kernel
def _same(data, one, other_data, other, length):
    for k in range(length):  # noqa: SIM110 - a kernel
        if data[one + k] != other_data[other + k]:
            return False
    return True


@kernel
def _key_of(data, begin, length, table, keys, key_bytes):  # noqa: PLR0917
    """Return the key whose bytes these are, -1 where there is none, and the place in the table."""
    mask = table.shape[0] - 1
    mixed = np.uint64(14695981039346656037)
    for k in range(length):
        mixed = (mixed ^ np.uint64(data[begin + k])) * np.uint64(1099511628211)
    place = np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(mask))
    while table[place] >= 0:
        key = table[place]
        if keys[key, 1] == length and _same(data, begin, key_bytes, keys[key, 0], length):
            return key, place
        place = (place + 1) & mask
    return np.int64(-1), place


@kernel
def _take(  # noqa: PLR0917
    data, end, state, is_mjd, table, keys, key_bytes, stamps, numbers, powers, fives, tens, scratch, line,
    epoch, pair, x_bits, u_bits
):  # fmt: skip
    """Take lines while they are plainly good; False at one that is not (`state[AT]` is its beginning)."""
    infinite = np.uint64(0x7FF0000000000000)
    top = np.uint64(0x7FFFFFFFFFFFFFFF)
    limit = line.shape[0]
    while state[AT] < end and state[ROWS] < limit:
        begin = state[AT]
        at = begin
        while at < end and _is_blank(data[at]):
            at += 1
        if at == end or data[at] == _LF or data[at] == _HASH:
            while at < end and data[at] != _LF:
                at += 1
            if at - begin > MAX_LINE_BYTES:
                return False
            state[AT] = at + 1
            state[LINE] += 1
            continue
        # the epoch
        text = at
        while at < end and data[at] != _COMMA and data[at] != _LF:
            at += 1
        if at == end or data[at] != _COMMA:
            return False
        length = at - text
        while length > 0 and _is_blank(data[text + length - 1]):
            length -= 1
        if length == state[TEXT_LENGTH] and _same(data, text, data, state[TEXT], length):
            now = state[LAST_NS]
        else:
            now, is_known = _epoch(data, text, text + length, is_mjd, powers)
            if not is_known:
                return False
        # the names, as they are written: known ones, or the judge's business
        at += 1
        names = at
        commas = 0
        while at < end and data[at] != _LF:
            if data[at] == _COMMA:
                commas += 1
                if commas == 2:
                    break
            at += 1
        if commas < 2:
            return False
        key = keys[state[KEY], 4] if state[KEY] >= 0 else np.int64(-1)
        if key < 0 or keys[key, 1] != at - names or not _same(data, names, key_bytes, keys[key, 0], at - names):
            key, _ = _key_of(data, names, at - names, table, keys, key_bytes)
            if key < 0:
                return False
            if state[KEY] >= 0:
                keys[state[KEY], 4] = key
        x, at = _number(data, at + 1, end, fives, tens, scratch)
        if at < 0 or at >= end or data[at] != _COMMA or x == UNDECIDED:
            return False
        u, at = _number(data, at + 1, end, fives, tens, scratch)
        if at < 0 or u == UNDECIDED or (at < end and data[at] != _LF) or at - begin > MAX_LINE_BYTES:
            return False
        # bits above those of infinity are a negative number's; -0.0 is none
        is_outside = keys[key, 5] != 0
        if (u > infinite and u & top != np.uint64(0)) or (now < state[LAST_NS] and not is_outside):
            return False
        unordered = keys[key, 3]
        if now == state[LAST_NS] and stamps[unordered] == state[STAMP]:
            return False
        if not is_outside:
            if now != state[LAST_NS]:
                state[STAMP] += 1
            state[LAST_NS], state[TEXT], state[TEXT_LENGTH] = now, text, length
        state[KEY] = key
        if now == state[LAST_NS]:
            stamps[unordered] = state[STAMP]
        k = state[ROWS]
        state[LINE] += 1
        line[k], epoch[k], pair[k], x_bits[k], u_bits[k] = state[LINE], now, numbers[key], x, u
        state[ROWS] = k + 1
        state[AT] = at + 1
    return True


class _Names:
    """The texts of pairs that were accepted, where machine code finds them.

    `keys (n, 6)`: where the text begins in `text`, its length, the pair, the unordered pair, which key came after it
    last, and whether a source of UTC is of the pair (1), which does not tell where in time the file is.
    """

    def __init__(self) -> None:
        self.text = np.zeros(1 << 12, np.uint8)
        self.used = 0
        self.keys = np.zeros((64, 6), np.int64)
        self.count = 0
        self.table = np.full(256, -1, np.int64)
        self.numbers = np.zeros(64, np.int32)
        self.stamps = np.full(64, -1, np.int64)
        self.pairs: dict[tuple[str, str], int] = {}

    def add(self, raw: Bytes, a: str, b: str, unordered: int) -> None:
        """Keep the text of a pair; `unordered`: its number, the same for b minus a."""
        key, place = _key_of(raw, 0, len(raw), self.table, self.keys, self.text)
        if key >= 0:
            return
        while self.used + len(raw) > len(self.text):
            self.text = np.concatenate((self.text, np.zeros_like(self.text)))
        if self.count == len(self.keys):
            self.keys = np.concatenate((self.keys, np.zeros_like(self.keys)))
            self.numbers = np.concatenate((self.numbers, np.zeros_like(self.numbers)))
        self.know(unordered)
        number = self.pairs.setdefault((a, b), len(self.pairs))
        self.text[self.used : self.used + len(raw)] = raw
        self.keys[self.count] = self.used, len(raw), number, unordered, -1, claims_utc(a) or claims_utc(b)
        self.numbers[self.count] = number
        self.used += len(raw)
        self.table[place] = self.count
        self.count += 1
        if 2 * self.count > len(self.table):
            self.table = np.full(4 * len(self.table), -1, np.int64)
            for k in range(self.count):
                begin, length = self.keys[k, 0], self.keys[k, 1]
                _, place = _key_of(self.text, begin, length, self.table, self.keys, self.text)
                self.table[place] = k

    def know(self, unordered: int) -> None:
        """Make room for the stamp of an unordered pair."""
        while unordered >= len(self.stamps):
            self.stamps = np.concatenate((self.stamps, np.full_like(self.stamps, -1)))


def read(data: bytes, *, known_clocks: frozenset[str] | None = None) -> tuple[ReadingColumns, list[Finding]]:
    """Return the good rows of a whole file as columns and a finding for each refused one; as `readings_csv.read`."""
    if not kernels.COMPILED:
        rows, findings = readings_csv.read(data, known_clocks=known_clocks)
        return reading_columns.of_rows(rows), findings
    reader = ReadingsCsvReader(known_clocks=known_clocks)
    findings = []
    at = 0
    # comments and the header: the reader's
    while reader.judge_of_rows is None and not reader.is_lost and at < len(data):
        end = data.find(b"\n", at) + 1 or len(data)
        findings += reader.feed(data[at:end])[1] + (reader.finish()[1] if end == len(data) else [])
        at = end
    if reader.judge_of_rows is None:
        return reading_columns.of_rows([]), findings
    return _Lines(data, at, reader.line, reader.judge_of_rows).read(findings)


class _Lines:
    """The lines after the header of one file, under way."""

    def __init__(self, data: bytes, at: int, line: int, judge: Judge) -> None:
        self.data, self.judge, self.names = data, judge, _Names()
        self.view = np.frombuffer(data, np.uint8)
        self.state = np.array([at, line, 0, EPOCH_MIN_NS, 0, 0, -1, -1], np.int64)
        room = 1_000
        if len(data) > at:
            some = data[at : at + 100_000]
            room += int(1.02 * (len(data) - at) * (some.count(b"\n") + 1) / len(some))
        self.columns = self._columns(room)

    @staticmethod
    def _columns(room: int) -> tuple[Ints, Ints, NDArray[np.int32], NDArray[np.uint64], NDArray[np.uint64]]:
        return (
            np.empty(room, np.int64),
            np.empty(room, np.int64),
            np.empty(room, np.int32),
            np.empty(room, np.uint64),
            np.empty(room, np.uint64),
        )

    def _room(self, wanted: int) -> None:
        """Make the columns longer where a file has more lines than its beginning let expect."""
        have = len(self.columns[0])
        if wanted > have:
            more = self._columns(max(wanted, 2 * have) - have)
            pairs: Any = zip(self.columns, more, strict=True)
            joined: Any = tuple(np.concatenate(each) for each in pairs)
            self.columns = joined

    def read(self, findings: list[Finding]) -> tuple[ReadingColumns, list[Finding]]:
        """Read to the end."""
        state, judge, burst = self.state, self.judge, 1
        scratch = np.zeros(1)
        while state[AT] < len(self.data):
            before = int(state[LINE])
            self._room(int(state[ROWS]) + 1)
            names = self.names
            is_good = _take(
                self.view,
                len(self.data),
                state,
                judge.form == "epoch_mjd",
                names.table,
                names.keys,
                names.text,
                names.stamps,
                names.numbers,
                _POWERS,
                FIVES,
                TENS,
                (scratch, scratch.view(np.uint64)),
                *self.columns,
            )
            if not is_good:
                # where odd lines stand close together going over to the judge and back costs more than judging
                burst = min(2 * burst, _LONGEST_BURST) if int(state[LINE]) - before < _GOOD_RUN else 1
                self._judge(burst, findings)
        n = int(state[ROWS])
        line, epoch, pair, x_bits, u_bits = self.columns
        x_s, u_s = x_bits[:n].view(np.float64), u_bits[:n].view(np.float64)
        return ReadingColumns(line[:n], epoch[:n], pair[:n], x_s, u_s, tuple(self.names.pairs)), findings

    def _judge(self, lines: int, findings: list[Finding]) -> None:
        """Judge some lines from the present place on."""
        state, judge, names = self.state, self.judge, self.names
        judge.last_ns, judge.last_text = int(state[LAST_NS]), ""
        judge.seen = set(np.flatnonzero(names.stamps == state[STAMP]).tolist())
        for _ in range(lines):
            begin = int(state[AT])
            if begin >= len(self.data):
                return
            end = self.data.find(b"\n", begin)
            end = len(self.data) if end < 0 else end
            state[LINE] += 1
            raw = self.data[begin:end]
            answer = judge.judge(raw.decode("latin-1"), int(state[LINE]), not_after_tai_ns=None)
            state[AT] = end + 1
            if isinstance(answer, ReadingRow):
                self._keep(answer, raw)
            elif answer is not None:
                findings.append(answer)

    def _keep(self, row: ReadingRow, raw: bytes) -> None:
        """Take a row that the judge has accepted in."""
        state, names = self.state, self.names
        _, _, unordered = self.judge.pairs[row.a, row.b]
        text = raw.split(b",", 1)[1].rsplit(b",", 2)[0]
        names.add(np.frombuffer(text, np.uint8), row.a, row.b, unordered)
        names.know(unordered)
        if unordered not in self.judge.outside:
            if row.epoch_tai_ns != state[LAST_NS]:
                state[STAMP] += 1
            state[LAST_NS], state[TEXT_LENGTH] = row.epoch_tai_ns, -1
        if row.epoch_tai_ns == state[LAST_NS]:
            names.stamps[unordered] = state[STAMP]
        k = int(state[ROWS])
        self._room(k + 1)
        line, epoch, pair, x_bits, u_bits = self.columns
        line[k], epoch[k], pair[k] = row.line, row.epoch_tai_ns, names.pairs[row.a, row.b]
        x_bits.view(np.float64)[k], u_bits.view(np.float64)[k] = row.x_a_minus_b_s, row.u_s
        state[ROWS] = k + 1
