"""Readings CSV: bytes to (rows, findings) and back; whole, or piece by piece while a file grows.

It does not know what a clock is, keeps no history and opens no file. Source: the project's contract, "Files": header
`epoch_mjd,clock_a,clock_b,x_a_minus_b_s,u_s` (MJD on the TAI axis, at least 10 decimals) or `epoch_tai_ns` in its place
(integer ns since 1970-01-01T00:00:00 TAI); `#` comments; a missing reading is a missing row; LF or CR LF.

The law of the file: epochs never fall, and a pair of clocks is read once an epoch. A row that breaks a law is refused
with its line number and a rule's name and counted; its neighbours are kept.

Two paths, one result: `Judge.judge` is the law, written to be read; the loop in `feed` takes the rows that are plainly
good at four times the speed and hands everything else to the judge. A test holds them equal. A third path, for whole
files as columns, is `readings_csv_columns`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from truechimer.errors import Misuse
from truechimer.formats.finding import Finding, Severity
from truechimer.instants.rounding import divide_half_even

EpochForm = Literal["epoch_tai_ns", "epoch_mjd"]
"""How the first column states the epoch."""

COLUMNS = "clock_a,clock_b,x_a_minus_b_s,u_s"
HEADERS: dict[str, EpochForm] = {f"epoch_mjd,{COLUMNS}": "epoch_mjd", f"epoch_tai_ns,{COLUMNS}": "epoch_tai_ns"}
NAME_PATTERN = r"[A-Za-z0-9_.-]+"
EPOCH_MIN_NS, EPOCH_MAX_NS = -(2**63), 2**63 - 1
"""Epochs are int64 inside: the years 1677 to 2262."""
MAX_LINE_BYTES = 4_096
MJD_DIGITS = 15
"""Decimals that `write` gives an MJD: 86 ps, so a whole nanosecond comes back."""

_NS_PER_DAY = 86_400 * 10**9
_MJD_OF_1970 = 40_587
_NAME = re.compile(NAME_PATTERN)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BLANKS = " \t\r"
_PLAIN = bytes(range(0x20, 0x7F)) + b"\t\r\n"
_INFINITY = float("inf")


class ReadingsMisuse(Misuse):
    """A row that the format cannot hold was to be written. Fields: `rule`, `index` (of the row)."""

    def __init__(self, rule: str, *, index: int, says: str) -> None:
        self.rule = rule
        self.index = index
        super().__init__(f"row {index}: {says}")


class ReadingRow(NamedTuple):
    """One reading: clock a minus clock b is `x_a_minus_b_s` seconds at `epoch_tai_ns`, one sigma `u_s` seconds.

    `line` counts from 1 in the file it came from. `epoch_tai_ns`: ns since 1970-01-01T00:00:00 TAI. A named tuple, not
    a frozen dataclass as elsewhere: it is made in a quarter of the time, and a file has millions.
    """

    line: int
    epoch_tai_ns: int
    a: str
    b: str
    x_a_minus_b_s: float
    u_s: float


def read(data: bytes, *, known_clocks: frozenset[str] | None = None) -> tuple[list[ReadingRow], list[Finding]]:
    """Return the good rows of a whole file and a finding for each refused one; a last line without its newline counts.

    `known_clocks`: every name that may appear (the reserved ones too, where they may); None: any.
    """
    reader = ReadingsCsvReader(known_clocks=known_clocks)
    rows, findings = reader.feed(data)
    last_rows, last_findings = reader.finish()
    return rows + last_rows, findings + last_findings


def write(rows: Iterable[ReadingRow], *, form: EpochForm = "epoch_tai_ns") -> bytes:
    """Return the file of rows, which `read` gives back exactly (but for `line`). A row that `read` would refuse:
    `ReadingsMisuse`.
    """
    if form not in HEADERS.values():
        raise ReadingsMisuse("form", index=0, says=f"{form!r} is no form of an epoch: epoch_tai_ns or epoch_mjd")
    written = list(rows)
    epoch_text: Callable[[int], str] = str if form == "epoch_tai_ns" else mjd_text_of_ns
    lines = [f"{form},{COLUMNS}"]
    lines += [
        f"{epoch_text(row.epoch_tai_ns)},{row.a},{row.b},{float(row.x_a_minus_b_s)!r},{float(row.u_s)!r}"
        for row in written
    ]
    lines.append("")
    data = "\n".join(lines).encode("utf-8")
    # The reader judges what was written: the writer has no law of its own.
    back, findings = read(data)
    for finding in findings:
        raise ReadingsMisuse(finding.rule, index=(finding.line or 2) - 2, says=finding.says)
    for index, (row, again) in enumerate(zip(written, back, strict=False)):
        if row[1:] != again[1:]:
            raise ReadingsMisuse("not-itself", index=index, says=f"{row} would be read as {again}")
    if len(back) != len(written):
        raise ReadingsMisuse("not-itself", index=len(back), says="the rows do not come back one for one")
    return data


def mjd_text_of_ns(epoch_tai_ns: int, digits: int = MJD_DIGITS) -> str:
    """Return the MJD on the TAI axis of an epoch, rounded half even to `digits` decimals (at least 1)."""
    scale = 10**digits
    units = _MJD_OF_1970 * scale + divide_half_even(epoch_tai_ns * scale, _NS_PER_DAY)
    whole, decimals = divmod(abs(units), scale)
    return f"{'-' if units < 0 else ''}{whole}.{decimals:0{digits}d}"


class ReadingsCsvReader:
    """Reads a file that grows: each `feed` takes the next bytes, in pieces of any size, and returns what they complete.

    An unfinished last line waits for its newline (or for `finish`). `accepted` and `refused` (by rule) count from the
    beginning; `line`: the last line read; `judge_of_rows`: the law, once there is a header. Without a good header
    (`is_lost`) nothing can be meant by a row: one finding says so, and the rest is not read.
    """

    def __init__(self, *, known_clocks: frozenset[str] | None = None) -> None:
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self._known_clocks = known_clocks
        self._unfinished = b""
        self._is_skipping = False  # inside a line that was too long
        self.is_lost = False  # no header
        self.line = 0
        self.judge_of_rows: Judge | None = None

    @property
    def form(self) -> EpochForm | None:
        """The form that the header named, None before it."""
        return None if self.judge_of_rows is None else self.judge_of_rows.form

    def feed(self, data: bytes, *, not_after_tai_ns: int | None = None) -> tuple[list[ReadingRow], list[Finding]]:
        """Return the rows and findings of the lines that these bytes complete.

        `not_after_tai_ns`: epochs later than this are refused. A live file wants it: one row from the far future would
        otherwise put every row after it out of order.
        """
        findings: list[Finding] = []
        whole, is_cut = self._whole_lines(data)
        rows = self._read_lines(whole, not_after_tai_ns, findings) if whole else []
        if is_cut and not self.is_lost:
            findings.append(self._refuse(_too_long(self.line)))
        return rows, findings

    def finish(self, *, not_after_tai_ns: int | None = None) -> tuple[list[ReadingRow], list[Finding]]:
        """Return the row or finding of a last line that has no newline, and begin anew after it."""
        return self.feed(b"\n", not_after_tai_ns=not_after_tai_ns) if self._unfinished else ([], [])

    def _whole_lines(self, data: bytes) -> tuple[bytes, bool]:
        """Return the bytes up to the last newline, and keep the rest; True: the rest was too long, let go."""
        if self._is_skipping:
            _, newline, data = data.partition(b"\n")
            if not newline:
                return b"", False
            self._is_skipping = False
        end = data.rfind(b"\n") + 1
        whole = self._unfinished + data[:end] if end else b""
        self._unfinished = data[end:] if end else self._unfinished + data
        if len(self._unfinished) <= MAX_LINE_BYTES:
            return whole, False
        self._unfinished = b""
        self._is_skipping = True
        return whole + b"#\n", True  # a comment in its place: the long line keeps its number

    def _read_lines(self, whole: bytes, not_after_tai_ns: int | None, findings: list[Finding]) -> list[ReadingRow]:
        if self.is_lost:
            return []
        if self.line == 0:
            whole = whole.removeprefix(b"\xef\xbb\xbf")
        lines = whole.decode("latin-1").split("\n")
        lines.pop()  # what follows the last newline: nothing
        begin = 0
        if self.judge_of_rows is None:
            begin = self._find_header(lines, findings)
            if self.judge_of_rows is None:
                return []
        judge = self.judge_of_rows
        is_plain = not whole.translate(None, delete=_PLAIN)
        if is_plain:
            rows = self._read_plain(lines, begin, judge, not_after_tai_ns, findings)
        else:
            rows = []
            for line in lines[begin:]:
                self.line += 1
                self._settle(judge.judge(line, self.line, not_after_tai_ns=not_after_tai_ns), rows, findings)
        self.accepted += len(rows)
        return rows

    def _find_header(self, lines: list[str], findings: list[Finding]) -> int:
        """Take the lines up to the header; return the index of the line after it."""
        for index, line in enumerate(lines):
            self.line += 1
            if len(line) > MAX_LINE_BYTES:
                findings.append(self._refuse(_too_long(self.line)))
                continue
            text = line.strip(_BLANKS)
            if not text or text.startswith("#"):
                continue
            form = HEADERS.get(",".join(part.strip(_BLANKS) for part in text.split(",")))
            if form is None:
                self.is_lost = True
                says = f"no header in the first line: write {' or '.join(HEADERS)}; nothing was read"
                findings.append(self._refuse(Finding("header", says, self.line)))
                return len(lines)
            epoch_ns_of = _ns_of_mjd if form == "epoch_mjd" else _ns_of_integer
            self.judge_of_rows = Judge(known_clocks=self._known_clocks, epoch_ns_of=epoch_ns_of)
            return index + 1
        return len(lines)

    def _read_plain(
        self, lines: list[str], begin: int, judge: "Judge", not_after_tai_ns: int | None, findings: list[Finding]
    ) -> list[ReadingRow]:
        """Read lines of plain ASCII: the good ones here, everything else through the judge."""
        rows: list[ReadingRow] = []
        pairs, seen, epoch_ns_of, outside = judge.pairs, judge.seen, judge.epoch_ns_of, judge.outside
        last_text, last_ns = judge.last_text, judge.last_ns
        not_after = EPOCH_MAX_NS if not_after_tai_ns is None else min(not_after_tai_ns, EPOCH_MAX_NS)
        number = self.line
        append, make = rows.append, ReadingRow._make
        for line in lines[begin:] if begin else lines:
            number += 1
            try:
                epoch_text, a, b, x_text, u_text = line.split(",")
                epoch_ns = last_ns if epoch_text == last_text else epoch_ns_of(epoch_text)
                a, b, pair = pairs[a, b]
                x_s, u_s = float(x_text), float(u_text)
                is_good = (
                    last_ns <= epoch_ns <= not_after
                    and x_s - x_s == 0.0
                    and 0.0 <= u_s < _INFINITY
                    and "_" not in x_text
                    and "_" not in u_text
                    and (epoch_ns != last_ns or pair not in seen)
                    and pair not in outside
                    and len(line) <= MAX_LINE_BYTES
                )
            except (ValueError, KeyError):
                is_good = False
            if is_good:
                if epoch_ns != last_ns:
                    seen.clear()
                    last_ns = epoch_ns
                last_text = epoch_text
                seen.add(pair)
                append(make((number, epoch_ns, a, b, x_s, u_s)))
            else:
                judge.last_text, judge.last_ns = last_text, last_ns
                self._settle(judge.judge(line, number, not_after_tai_ns=not_after_tai_ns), rows, findings)
                last_text, last_ns = judge.last_text, judge.last_ns
        self.line = number
        judge.last_text, judge.last_ns = last_text, last_ns
        return rows

    def _settle(self, answer: "ReadingRow | Finding | None", rows: list[ReadingRow], findings: list[Finding]) -> None:
        if isinstance(answer, ReadingRow):
            rows.append(answer)
        elif answer is not None:
            findings.append(answer if answer.severity is Severity.WARNING else self._refuse(answer))

    def _refuse(self, finding: Finding) -> Finding:
        self.refused[finding.rule] += 1
        return finding


def claims_utc(name: str) -> bool:
    """Return True for a name that claims UTC: `UTC`, `UTCr`, `GPST` or `UTC.<lab>`."""
    return name in ("UTC", "UTCr", "GPST") or name.startswith("UTC.")


class Judge:
    """The law of a row, and what it remembers: the last accepted epoch, the pairs seen in it, the good names.

    What a source of UTC says (`outside`: numbers of such pairs) may come days late, and does not say how late it is for
    the clocks: whose rows they are judges their epochs.
    """

    def __init__(self, *, known_clocks: frozenset[str] | None, epoch_ns_of: Callable[[str], int]) -> None:
        self.form: EpochForm = "epoch_mjd" if epoch_ns_of is _ns_of_mjd else "epoch_tai_ns"
        self.known_clocks = known_clocks
        self.epoch_ns_of = epoch_ns_of
        self.last_text = ""
        self.last_ns = EPOCH_MIN_NS
        self.seen: set[int] = set()
        self.pairs: dict[tuple[str, str], tuple[str, str, int]] = {}
        self.outside: set[int] = set()
        self._pair_numbers: dict[tuple[str, str], int] = {}

    def judge(self, line: str, number: int, *, not_after_tai_ns: int | None) -> ReadingRow | Finding | None:
        """Return the row of a line, or why it is refused, or None for a comment, a blank or the header once more."""
        if len(line) > MAX_LINE_BYTES:
            return _too_long(number)
        text = line.strip(_BLANKS)
        if not text or text.startswith("#"):
            return None
        fields = [field.strip(_BLANKS) for field in text.split(",")]
        if len(fields) != 5:
            return Finding("columns", f"{len(fields)} columns instead of 5: the row is not used", number)
        if HEADERS.get(",".join(fields)) == self.form:
            return Finding("header-again", "the header once more: passed over", number, severity=Severity.WARNING)
        epoch_text, a, b, x_text, u_text = fields
        fault = self._fault_of_names(a, b)
        if fault is None:
            fault = _fault_of_numbers(x_text, u_text)
        if fault is not None:
            return Finding(fault[0], f"{fault[1]}: the row is not used", number)
        try:
            epoch_ns = self.epoch_ns_of(epoch_text)
        except ValueError:
            says = f"{epoch_text[:40]!r} is no epoch ({self.form}: plain decimal digits): the row is not used"
            return Finding("epoch-not-a-number", says, number)
        a, b, pair = self._learn(a, b)
        fault = self._fault_of_place(epoch_ns, pair, not_after_tai_ns)
        if fault is not None:
            return Finding(fault[0], f"{fault[1]}: the row is not used", number)
        if pair not in self.outside:
            if epoch_ns != self.last_ns:
                self.seen.clear()
            self.last_text, self.last_ns = epoch_text, epoch_ns
        if epoch_ns == self.last_ns:
            self.seen.add(pair)
        return ReadingRow(number, epoch_ns, a, b, float(x_text), float(u_text))

    def _fault_of_names(self, a: str, b: str) -> tuple[str, str] | None:
        for name in (a, b):
            if not _NAME.fullmatch(name):
                return "clock-name", f"{name[:40]!r} is no clock name (letters, digits, _ . -)"
            if self.known_clocks is not None and name not in self.known_clocks:
                return "unknown-clock", f"no clock is called {name[:40]!r} here (declare it, or correct the name)"
        return ("same-clock", f"{a[:40]!r} is compared with itself") if a == b else None

    def _fault_of_place(self, epoch_ns: int, pair: int, not_after_tai_ns: int | None) -> tuple[str, str] | None:
        if not EPOCH_MIN_NS <= epoch_ns <= EPOCH_MAX_NS:
            return "epoch-out-of-range", "the epoch lies outside the years 1677 to 2262"
        if not_after_tai_ns is not None and epoch_ns > not_after_tai_ns:
            return "epoch-too-late", "the epoch lies in the future"
        if epoch_ns < self.last_ns and pair not in self.outside:
            return "out-of-order", "the epoch lies before the last accepted one"
        if epoch_ns == self.last_ns and pair in self.seen:
            return "duplicate", "this pair of clocks was read at this epoch already"
        return None

    def _learn(self, a: str, b: str) -> tuple[str, str, int]:
        """Return the pair's one copy of its names and its number, the same for b minus a."""
        known = self.pairs.get((a, b))
        if known is None:
            unordered = (a, b) if a < b else (b, a)
            known = a, b, self._pair_numbers.setdefault(unordered, len(self._pair_numbers))
            self.pairs[a, b] = known
            if claims_utc(a) or claims_utc(b):
                self.outside.add(known[2])
        return known


def _too_long(number: int) -> Finding:
    return Finding("line-too-long", f"the line is longer than {MAX_LINE_BYTES} bytes: it is not used", number)


def _fault_of_numbers(x_text: str, u_text: str) -> tuple[str, str] | None:
    for name, text in (("x_a_minus_b_s", x_text), ("u_s", u_text)):
        if not _NUMBER.fullmatch(text):
            return "not-a-number", f"{name} is {text[:40]!r}, no decimal number of seconds"
        if abs(float(text)) == _INFINITY:
            return "not-finite", f"{name} is {text[:40]!r}, more than a float64 holds"
    return ("negative-uncertainty", f"u_s is {u_text[:40]!r}, less than 0") if float(u_text) < 0.0 else None


def _ns_of_integer(text: str) -> int:
    """Return the epoch of an integer text; anything but plain digits: `ValueError`."""
    if len(text) > _MAX_EPOCH or not text.isascii() or not (text if text[:1] not in _SIGNS else text[1:]).isdigit():
        raise ValueError("not an integer")
    return int(text)


def _ns_of_mjd(text: str) -> int:
    """Return the epoch of an MJD text, rounded half even to the ns; anything but plain decimals: `ValueError`.

    A day is 864e11 ns: only the decimals beyond the 11th need a division. Unsigned texts of a day seen before are
    quick.
    """
    whole, _, decimals = text.partition(".")
    midnight_ns = _MIDNIGHTS_NS.get(whole)
    if midnight_ns is None or not decimals.isdigit() or not text.isascii() or len(text) > _MAX_EPOCH:
        return _ns_of_any_mjd(text, whole, decimals)
    beyond = len(decimals) - 11
    if beyond <= 0:
        return midnight_ns + int(decimals) * 864 * _POWERS[-beyond]
    return midnight_ns + divide_half_even(int(decimals) * 864, _POWERS[beyond])


def _ns_of_any_mjd(text: str, whole: str, decimals: str) -> int:
    is_signed = text[:1] in _SIGNS
    digits = (whole[1:] if is_signed else whole) + decimals
    if len(text) > _MAX_EPOCH or not text.isascii() or not digits.isdigit() or not whole[-1:].isdigit():
        raise ValueError("not a decimal number")
    magnitude_ns = divide_half_even(int(digits) * _NS_PER_DAY, _POWERS[len(decimals)])
    if not is_signed:
        if len(_MIDNIGHTS_NS) >= _MAX_MIDNIGHTS:
            _MIDNIGHTS_NS.clear()
        _MIDNIGHTS_NS[whole] = int(whole) * _NS_PER_DAY - _NS_1858_TO_1970
    return (-magnitude_ns if text[0] == "-" else magnitude_ns) - _NS_1858_TO_1970


_SIGNS = frozenset("+-")
_MAX_EPOCH = 64
_POWERS: tuple[int, ...] = tuple(10**digits for digits in range(_MAX_EPOCH))
_NS_1858_TO_1970 = _MJD_OF_1970 * _NS_PER_DAY
_MAX_MIDNIGHTS = 1_000
_MIDNIGHTS_NS: dict[str, int] = {}
"""The ns of midnights by their text: a memo of a pure function, bounded."""
