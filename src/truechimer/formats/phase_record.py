"""Records of phase or frequency as people have them: columns, CSV, TimeLab, Stable32, TICC, chrony's logs; gzip or not.

It decides no statistic and fills nothing in on its own: it says what it took the bytes for, the spacing that it found,
and refuses rows out of order or out of step unless the gap rule is asked for.

Source: TAPR TICC manual (timestamps and intervals with twelve digits); chrony.conf(5), `log statistics tracking`;
Stable32 user manual (one column of data or time tags beside it, `#` comments). TimeLab's text header is read by its
words "interval" and "scale" alone.
"""

import re
import zlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from truechimer.errors import Rejected
from truechimer.formats.finding import Finding, Severity

Floats = NDArray[np.float64]

MOST_BYTES = 1 << 30
"""A file that unpacks to more is refused: no record of phase is a gigabyte, but a zip bomb is."""

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "ps": 1e12, "fs": 1e15}
"""Units of phase in a second: a value is divided, since 1e9 is a double and 1e-9 is not."""
EVEN = 0.05
"""Spacings that differ from the median by less than this part of it are even."""
DAY_S = 86_400.0


class RecordRejected(Rejected):
    """A file that no series can be read from; `line` counts from 1."""

    def __init__(self, says: str, *, line: int | None = None) -> None:
        super().__init__(says if line is None else f"line {line}: {says}")
        self.line = line


@dataclass(frozen=True, slots=True, eq=False)
class PhaseRecord:
    """An evenly spaced record: `values` (n,), NaN where missing.

    `data`: `phase` (s) or `frequency` (dimensionless). `tau0_s`: the spacing, None where the file has no times.
    `took_for`: what the bytes were taken for, in words. `lines`: (n,) the line of each value, 0 where missing.
    """

    values: Floats
    data: str
    tau0_s: float | None
    took_for: str
    lines: NDArray[np.int64]
    first_time: str = ""


@dataclass(slots=True)
class _Rows:
    """Values with their lines, and times where there are any."""

    values: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    took_for: str = ""
    data: str = "phase"
    tau0_s: float | None = None
    per_second: float = 1.0
    time_unit: str = "s"
    findings: list[Finding] = field(default_factory=list)


def read(
    data: bytes,
    *,
    column: str | None = None,
    pair: tuple[str, str] | None = None,
    channel: str | None = None,
    time_unit: str | None = None,
    gaps: bool = False,
) -> tuple[PhaseRecord, tuple[Finding, ...]]:
    """Read a record; raise `RecordRejected` where there is none to be had, naming the first bad line.

    `column`: a number from 1 or a header's name. `pair`: which clocks of a readings CSV. `channel`: chA or chB of a
    TICC, a source of chrony's log. `time_unit`: `s` or `mjd` where the guess is wrong. `gaps`: missing rows become
    missing values, and rows out of step go to the nearest place of the grid.
    """
    text = _text(data)
    lines = text.splitlines()
    rows = _rows(lines, column=column, pair=pair, channel=channel)
    if len(rows.values) < 2:
        raise RecordRejected(f"{len(rows.values)} values were found (taken for {rows.took_for}); give at least 2")
    values = np.array(rows.values, dtype=np.float64) / rows.per_second
    numbers = np.array(rows.lines, dtype=np.int64)
    tau0_s, first = rows.tau0_s, ""
    if rows.times:
        times = np.array(rows.times, dtype=np.float64)
        unit = time_unit or (rows.time_unit if rows.time_unit != "?" else _unit_of(times))
        seconds = (times - times[0]) * (DAY_S if unit == "mjd" else 1.0)
        first = f"MJD {times[0]:.6f}" if unit == "mjd" else f"t = {times[0]:.6g} s"
        fuzz = float(np.spacing(np.max(np.abs(times)))) * (DAY_S if unit == "mjd" else 1.0)
        values, numbers, tau0_s, more = _on_a_grid(seconds, values, numbers, fuzz=fuzz, gaps=gaps)
        rows.findings += more
    return PhaseRecord(values, rows.data, tau0_s, rows.took_for, numbers, first), tuple(rows.findings)


def _text(data: bytes) -> str:
    if data[:2] == b"\x1f\x8b":
        unpacker = zlib.decompressobj(wbits=31)
        try:
            data = unpacker.decompress(data, MOST_BYTES)
        except zlib.error as error:
            raise RecordRejected(f"the gzip data are damaged ({error}); fetch the file again") from None
        if unpacker.unconsumed_tail:
            raise RecordRejected(f"it unpacks to more than {MOST_BYTES} bytes; cut it into parts")
        if not unpacker.eof:
            raise RecordRejected("the gzip data end too early; fetch the file again")
    if not data.strip():
        raise RecordRejected("the file is empty")
    if b"\0" in data[:4096]:
        raise RecordRejected("this is not text; export it as text, one value a line")
    return data.decode("utf-8-sig", errors="replace")


_TICC = re.compile(r"^\s*([+-]?\d+\.\d{9,})\s+(ch[A-D]|TI\s*\(.*\))\s*$")
_COMMENT = ("#", "%", "!", ";", "//")


def _rows(lines: list[str], *, column: str | None, pair: tuple[str, str] | None, channel: str | None) -> _Rows:
    head = [line for line in lines[:60] if line.strip()]
    if any("Date (UTC) Time" in line for line in head):
        return _of_chrony(lines, channel)
    if sum(_TICC.match(line) is not None for line in head) >= max(1, len(head) // 3):
        return _of_ticc(lines, channel)
    if head and re.match(r"(?i)\s*TIM\b", head[0]):
        return _of_timelab(lines)
    content = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not _is_comment(line)]
    if not content:
        raise RecordRejected("the file holds comments alone")
    if _is_header(content[0][1]):
        return _of_csv(content, column=column, pair=pair)
    return _of_columns(content, column=column)


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(_COMMENT)


def _words(line: str) -> list[str]:
    for separator in (",", ";", "\t"):
        if separator in line:
            return [word.strip().strip('"') for word in line.split(separator)]
    return line.split()


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        lower = word.lower()
        if "d" in lower and not lower.startswith("0x"):  # Fortran's exponent
            try:
                return float(lower.replace("d", "e"))
            except ValueError:
                return None
        return None


def _is_header(line: str) -> bool:
    words = _words(line)
    numbers = [_number(word) is not None or _stamp(word) is not None or not word for word in words]
    return not all(numbers) and any(re.match(r"[A-Za-z_]", word) for word in words)


def _stamp(word: str) -> float | None:
    """Return the seconds of a date and time such as 2026-11-22T06:00:00Z; UTC where nothing else is said."""
    if not re.match(r"\d{4}-\d\d-\d\d", word):
        return None
    try:
        found = datetime.fromisoformat(word)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _of_columns(content: list[tuple[int, str]], *, column: str | None) -> _Rows:
    """One column of values, or times and values; `column` counts from 1."""
    rows = _Rows(time_unit="?")
    width = len(_words(content[0][1]))
    chosen = _column_number(column, width) if column else min(width, 2) - 1
    for number, line in content:
        words = _words(line)
        if len(words) <= chosen:
            raise RecordRejected(f"{len(words)} columns where {width} are the rule: {_shown(line)}", line=number)
        value = _number(words[chosen])
        if value is None:
            raise RecordRejected(f"{_shown(words[chosen])} is no number", line=number)
        rows.values.append(value)
        rows.lines.append(number)
        if width > 1 and chosen > 0:
            time = _number(words[0])
            time = _stamp(words[0]) if time is None else time
            if time is None:
                raise RecordRejected(f"{_shown(words[0])} is neither a number nor a date and time", line=number)
            rows.times.append(time)
    rows.took_for = "one column of values" if not rows.times else f"times and values (columns 1 and {chosen + 1})"
    return rows


def _column_number(column: str, width: int) -> int:
    if not column.isdigit() or not 1 <= int(column) <= width:
        raise RecordRejected(f"there is no column {column}: the file has {width}, counted from 1, and no header")
    return int(column) - 1


def _shown(text: str) -> str:
    return repr(text[:40])


_TIME_NAMES = ("epoch_mjd", "mjd", "epoch_tai_ns", "time_s", "t_s", "time", "timestamp", "seconds", "epoch", "t")
_PHASE = re.compile(r"(?i)^(x|phase|offset|tie|time_?error|clock_?offset|value)")
_FREQUENCY = re.compile(r"(?i)^(y$|y_|freq|frequency|fractional)")


def _of_csv(content: list[tuple[int, str]], *, column: str | None, pair: tuple[str, str] | None) -> _Rows:
    header = _words(content[0][1])
    names = [name.lower() for name in header]
    chosen = _named_column(header, names, column)
    rows = _Rows(took_for=f"CSV with a header, column {header[chosen]}")
    rows.data = "frequency" if _FREQUENCY.match(header[chosen]) else "phase"
    suffix = re.search(r"[_\[\( ](s|ms|us|ns|ps|fs)[\]\)]?$", header[chosen])
    if suffix and rows.data == "phase":
        rows.per_second = UNITS[suffix[1]]
    time = next((names.index(name) for name in _TIME_NAMES if name in names and names.index(name) != chosen), None)
    if time is not None:
        rows.time_unit = "mjd" if "mjd" in names[time] else "s" if names[time] != "epoch" else "?"
    divisor = 1e9 if time is not None and names[time].endswith("_ns") else 1.0
    clocks = (names.index("clock_a"), names.index("clock_b")) if {"clock_a", "clock_b"} <= set(names) else None
    found_pairs: dict[tuple[str, str], None] = {}
    for number, line in content[1:]:
        words = _words(line)
        if len(words) != len(header):
            raise RecordRejected(f"{len(words)} columns where the header has {len(header)}", line=number)
        if clocks is not None:
            this = (words[clocks[0]], words[clocks[1]])
            found_pairs[this] = None
            if pair is not None and this != pair:
                continue
        if not words[chosen]:
            rows.values.append(float("nan"))
        else:
            value = _number(words[chosen])
            if value is None:
                raise RecordRejected(f"{_shown(words[chosen])} in column {header[chosen]} is no number", line=number)
            rows.values.append(value)
        rows.lines.append(number)
        if time is not None:
            rows.times.append(_time_of(words[time], divisor, number))
    if pair is None and len(found_pairs) > 1:
        listed = ", ".join(f"{a},{b}" for a, b in list(found_pairs)[:8])
        raise RecordRejected(f"readings of {len(found_pairs)} pairs of clocks; choose one with --pair: {listed}")
    if pair is not None and not rows.values:
        listed = ", ".join(f"{a},{b}" for a, b in list(found_pairs)[:8])
        raise RecordRejected(f"there are no readings of {pair[0]},{pair[1]}; there are {listed or 'none'}")
    return rows


def _time_of(word: str, divisor: float, number: int) -> float:
    time = _number(word)
    time = _stamp(word) if time is None else time / divisor
    if time is None or not np.isfinite(time):
        raise RecordRejected(f"{_shown(word)} is neither a number nor a date and time", line=number)
    return time


def _named_column(header: list[str], names: list[str], column: str | None) -> int:
    if column is not None:
        if column.lower() in names:
            return names.index(column.lower())
        if column.isdigit() and 1 <= int(column) <= len(header):
            return int(column) - 1
        raise RecordRejected(f"there is no column {column}; there are {', '.join(header)}")
    for pattern in (_PHASE, _FREQUENCY):
        found = [k for k, name in enumerate(header) if pattern.match(name) and names[k] not in _TIME_NAMES]
        if found:
            return found[0]
    raise RecordRejected(f"no column is called phase or frequency; name one with --column: {', '.join(header)}")


def _of_ticc(lines: list[str], channel: str | None) -> _Rows:
    """Timestamps of a channel are phases less the seconds that they count; intervals are phases."""
    by_channel: dict[str, tuple[list[float], list[int]]] = {}
    starts: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        match = _TICC.match(line)
        if match is None:
            if line.strip() and not _is_comment(line) and by_channel:
                raise RecordRejected(f"{_shown(line)} is no line of a TICC", line=number)
            continue
        values, numbers = by_channel.setdefault(match[2], ([], []))
        is_stamp = match[2].startswith("ch")
        start = starts.setdefault(match[2], int(match[1].partition(".")[0])) if is_stamp else 0
        values.append(_less_whole_seconds(match[1], start + len(values)) if is_stamp else float(match[1]))
        numbers.append(number)
    chosen = channel or next(iter(by_channel))
    if chosen not in by_channel:
        raise RecordRejected(f"there is no channel {chosen}; there are {', '.join(by_channel)}")
    if channel is None and len(by_channel) > 1:
        raise RecordRejected(f"channels {', '.join(by_channel)}; choose one with --channel")
    values, numbers = by_channel[chosen]
    rows = _Rows(values, numbers, took_for=f"TICC, {chosen}", tau0_s=1.0)
    if chosen.startswith("ch"):
        rows.took_for += " (timestamps of one pulse a second, less the seconds)"
        steps = np.diff(np.array(values))
        off = np.flatnonzero(np.abs(steps) > 0.5)
        if off.size:
            raise RecordRejected(
                f"{float(steps[off[0]]):+.3g} s from one timestamp to the next beyond the second: a pulse is missing",
                line=numbers[int(off[0]) + 1],
            )
    return rows


def _less_whole_seconds(word: str, count: int) -> float:
    """Return timestamp - count, by integers: 86400.000000000123 has no room for picoseconds in a double."""
    whole, _, part = word.partition(".")
    fraction = int(part) * (-1 if whole.startswith("-") else 1)
    scaled = (int(whole) - count) * 10 ** len(part) + fraction
    return float(scaled / 10 ** len(part))


def _of_timelab(lines: list[str]) -> _Rows:
    """Header lines of words, then one number a line."""
    rows = _Rows(took_for="TimeLab .tim text")
    for number, line in enumerate(lines, 1):
        value = _number(line.strip()) if line.strip() else None
        if value is not None:
            rows.values.append(value)
            rows.lines.append(number)
            continue
        if not line.strip():
            continue
        if rows.values:
            raise RecordRejected(f"{_shown(line)} is no number", line=number)
        key, _, rest = re.sub(r"[:=]", " ", line, count=1).strip().rpartition(" ")
        figure = _number(rest)
        if figure is not None and figure > 0.0:
            if re.search(r"(?i)interval|tau0|\btau\b", key):
                rows.tau0_s = figure
            elif re.search(r"(?i)scale", key):
                rows.per_second = 1.0 / figure
            elif re.search(r"(?i)rate", key):
                rows.tau0_s = 1.0 / figure
    return rows


def _of_chrony(lines: list[str], channel: str | None) -> _Rows:
    """`tracking.log`: the offset of the system clock; `statistics.log`: the estimated offset of one source."""
    header = next(line for line in lines if "Date (UTC) Time" in line)
    tracking = "St " in header and "Freq ppm" in header
    statistics = "Est offset" in header
    if not tracking and not statistics:
        raise RecordRejected("a log of chrony, but neither tracking.log nor statistics.log")
    place = 6 if tracking else 4
    rows = _Rows(took_for="chrony tracking.log, offset" if tracking else "chrony statistics.log, estimated offset")
    sources: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("=") or "Date" in line:
            continue
        if len(words) <= place:
            raise RecordRejected(f"{len(words)} words where a line of this log has more", line=number)
        time, value = _stamp(f"{words[0]}T{words[1]}"), _number(words[place])
        if time is None or value is None:
            raise RecordRejected(f"no date, time and offset in {_shown(line)}", line=number)
        sources[words[2]] = None
        if channel is None or words[2] == channel:
            rows.times.append(time)
            rows.values.append(value)
            rows.lines.append(number)
    if statistics and channel is None and len(sources) > 1:
        raise RecordRejected(f"{len(sources)} sources; choose one with --channel: {', '.join(list(sources)[:8])}")
    return rows


def _unit_of(times: Floats) -> str:
    """Return `mjd` where times look like modified Julian dates of 1968 to 2077, else `s`."""
    looks = bool(40_000.0 <= times[0] <= times[-1] <= 80_000.0)
    whole = bool(np.all(times == np.floor(times)))
    return "mjd" if looks and (not whole or times.size < 40_000) and float(np.median(np.diff(times))) <= 31.0 else "s"


def _on_a_grid(
    seconds: Floats, values: Floats, lines: NDArray[np.int64], *, fuzz: float, gaps: bool
) -> tuple[Floats, NDArray[np.int64], float, list[Finding]]:
    """Return values, lines and spacing on an even grid; refuse what is not even unless `gaps`."""
    steps = np.diff(seconds)
    back = np.flatnonzero(steps <= 0.0)
    if back.size:
        row = int(back[0]) + 1
        raise RecordRejected(
            f"its time is not after that of line {lines[row - 1]}; sort the rows", line=int(lines[row])
        )
    tau0_s = float(np.median(steps))
    slack = EVEN * tau0_s + 4.0 * fuzz
    odd = np.flatnonzero(np.abs(steps - tau0_s) > slack)
    if odd.size == 0:
        # Time tags are printed with some digits: the mean spacing is good to their scatter over the length.
        mean = float(seconds[-1]) / steps.size
        scatter = float(np.max(np.abs(seconds - mean * np.arange(seconds.size))))
        return values, lines, _neat(mean, (fuzz + 2.0 * scatter) / steps.size), []
    row = int(odd[0]) + 1
    if not gaps:
        raise RecordRejected(
            f"{steps[row - 1]:.9g} s after line {lines[row - 1]}, where {tau0_s:.9g} s is the rule; "
            "--gaps takes missing rows as missing values",
            line=int(lines[row]),
        )
    whole = steps[np.abs(steps / tau0_s - np.round(steps / tau0_s)) * tau0_s <= slack]
    tau0_s = float(np.sum(whole) / np.sum(np.round(whole / tau0_s))) if whole.size else tau0_s
    tau0_s = _neat(tau0_s, fuzz)
    place = np.round(seconds / tau0_s).astype(np.int64)
    if int(place[-1]) > 50 * values.size + 1_000_000:
        raise RecordRejected(f"{place[-1]} places of {tau0_s:.9g} s for {values.size} values: cut the record in parts")
    on_grid = np.full(int(place[-1]) + 1, np.nan)
    line_of = np.zeros(on_grid.size, dtype=np.int64)
    first = np.concatenate([[True], np.diff(place) > 0])
    on_grid[place[first]], line_of[place[first]] = values[first], lines[first]
    moved = float(np.max(np.abs(seconds - place * tau0_s)))
    says = f"{on_grid.size - int(first.sum())} of {on_grid.size} places are missing"
    if not first.all():
        says += f", {int((~first).sum())} rows share a place and were left out"
    if moved > slack:
        says += f"; rows were moved by up to {moved:.3g} s to the nearest place"
    return on_grid, line_of, tau0_s, [Finding("gaps", says, line=int(lines[row]), severity=Severity.WARNING)]


def _neat(tau0_s: float, fuzz: float) -> float:
    """Return the roundest number of seconds that times of this resolution cannot tell from `tau0_s`."""
    for digits in range(1, 12):
        near = float(f"{tau0_s:.{digits}g}")
        if abs(near - tau0_s) <= max(4.0 * fuzz, 1e-9 * tau0_s):
            return near
    return tau0_s


def scaled(record: PhaseRecord, per_second: float) -> PhaseRecord:
    """Return the record with its values divided by `per_second`."""
    return replace(record, values=record.values / per_second)
