"""Records that counters and daemons write: TAPR TICC, TimeLab's .tim, chrony's tracking and statistics logs.

It guesses no columns (`phase_columns.py`). Every line must be one of the format's, or the first that is none is named.

Source: TAPR TICC manual and firmware (timestamps, periods and intervals, a name behind each); chrony.conf(5), `log
statistics tracking`. TimeLab's format is not published: a line `TIC rows columns` with as many numbers below it and
metadata of words in quotes above it are what a public reader expects; interval and scale are found by their words.
"""

import re
from collections.abc import Sequence

import numpy as np

from truechimer.formats.finding import Finding, Severity
from truechimer.formats.phase_rows import (
    COMMENTS,
    Floats,
    Ints,
    RecordRejected,
    Rows,
    number_of,
    shown,
    stamp_of,
)

_TICC = re.compile(r"^\s*([+-]?\d{1,15}\.\d{3,15})\s+(ch[A-Za-z0-9]|TI\s*\(.*\))\s*$")
_TIM_BLOCK = re.compile(r"TIC\s+(\d+)(?:\s+(\d+))?\s*$")
HEAD = 60
"""Lines that tell a format by."""
TIM_HEAD = 500
MOST_SOURCES = 8


def is_chrony(head: Sequence[str]) -> bool:
    """Return True for chrony's logs, whose headings carry the date."""
    return any("Date (UTC) Time" in line for line in head[:HEAD])


def is_ticc(head: Sequence[str]) -> bool:
    """Return True where a third of the first lines or more are a TICC's."""
    there = [line for line in head[:HEAD] if line.strip()]
    return sum(_TICC.match(line) is not None for line in there) >= max(1, len(there) // 3)


def is_timelab(head: Sequence[str]) -> bool:
    """Return True for TimeLab's text: TIM in the first line, or the heading of its block of numbers."""
    there = [line for line in head[:TIM_HEAD] if line.strip()]
    if there and re.match(r"(?i)\s*TIM\b", there[0]):
        return True
    return any(_TIM_BLOCK.fullmatch(line.strip()) for line in there)


def of_ticc(lines: list[str], channel: str | None, pair: tuple[str, str] | None) -> Rows:
    """Return what a TICC printed as phases.

    Timestamps of a channel are phases less the seconds that they count; periods, which it prints under the same name,
    are summed less the seconds that they last; intervals are phases as they are. `pair`: timestamps of one channel
    minus those of another, pulse by pulse. Seconds are told apart by integers: 86400.000000000123 has no room for
    picoseconds in a double.
    """
    by_channel: dict[str, list[tuple[int, str]]] = {}
    for number, line in enumerate(lines, 1):
        match = _TICC.match(line)
        if match is not None:
            by_channel.setdefault(match[2], []).append((number, match[1]))
        elif line.strip() and not line.lstrip().startswith(COMMENTS) and by_channel:
            raise RecordRejected(f"{shown(line)} is no line of a TICC", line=number)
    for name in (channel,) if channel else pair or ():
        if name not in by_channel:
            raise RecordRejected(f"there is no channel {name}; there are {', '.join(by_channel)}")
    if pair is not None:
        return _between_channels(by_channel, pair)
    if channel is None and len(by_channel) > 1:
        raise RecordRejected(f"channels {', '.join(by_channel)}; choose one with --channel, or two with --pair")
    chosen = channel or next(iter(by_channel))
    found = by_channel[chosen]
    numbers = np.array([number for number, _ in found], dtype=np.int64)
    if not chosen.startswith("ch"):
        values = np.array([float(word) for _, word in found])
        return Rows(values, numbers, took_for=f"TICC, {chosen}", tau0_s=1.0, tau0_from="one interval a second")
    whole, rest = _split([word for _, word in found])
    lasts = np.round(whole + rest)
    if lasts.size > 2 and lasts[0] > 0.0 and np.all(np.abs(whole + rest - lasts[0]) < 0.5):
        summed = np.concatenate([[0.0], np.cumsum(whole - lasts[0] + rest)])
        numbers = np.concatenate([numbers[:1], numbers])
        tau0_s = float(lasts[0])
        return Rows(summed, numbers, took_for=f"TICC, {chosen} (periods, summed)", tau0_s=tau0_s, tau0_from="from them")
    whole, rolled = _unrolled(whole, [word for _, word in found])
    seconds = _seconds(whole, rest, numbers)
    values = (whole - whole[0] - seconds) + rest
    told = f"TICC, {chosen} (timestamps, less the seconds{', which roll over' if rolled else ''})"
    return Rows(values, numbers, seconds, took_for=told, time_unit="s")


def _seconds(whole: Floats, rest: Floats, numbers: Ints) -> Floats:
    """Return the whole seconds of each pulse after the first; refuse pulses that are less than half a second apart."""
    steps = np.diff(whole) + np.round(np.diff(rest))
    late = np.flatnonzero(steps < 1)
    if late.size:
        row = int(late[0]) + 1
        raise RecordRejected(
            f"less than half a second after line {numbers[row - 1]}: pulses are taken to be whole seconds apart; for "
            "other rates have the counter print intervals",
            line=int(numbers[row]),
        )
    return np.concatenate([[0.0], np.cumsum(steps)])


def _unrolled(whole: Floats, words: list[str]) -> tuple[Floats, bool]:
    """Return seconds that go on where the counter was told to show their last digits alone (98, 99, 00, 01)."""
    widths = {len(word.partition(".")[0]) for word in words}
    back = np.flatnonzero(np.diff(whole) < 0.0)
    if len(widths) > 1 or not back.size:
        return whole, False
    turn = 10.0 ** next(iter(widths))
    unrolled = whole + turn * np.cumsum(np.concatenate([[0.0], np.diff(whole) < -0.5 * turn]))
    return unrolled, True


def _between_channels(by_channel: dict[str, list[tuple[int, str]]], pair: tuple[str, str]) -> Rows:
    """Return the timestamps of `pair[0]` minus those of `pair[1]`, pulse by pulse; those alone are left out, and said.

    Pulses are numbered from the middle of where a channel's pulses fall within the second: were they numbered by their
    nearest seconds, one that wanders about a half would meet now this and now the next pulse of the other channel.
    """
    if not all(name.startswith("ch") for name in pair):
        raise RecordRejected("--pair takes two channels of timestamps, like chB,chA")
    stamps = []
    for name in pair:
        whole, rest = _split([word for _, word in by_channel[name]])
        whole, _ = _unrolled(whole, [word for _, word in by_channel[name]])
        stamps.append((whole, rest))
    (whole_a, rest_a), (whole_b, rest_b) = stamps
    middle_a, middle_b = _middle(rest_a), _middle(rest_b)
    middle_b = middle_a + (middle_b - middle_a + 0.5) % 1.0 - 0.5
    at_a, at_b = np.round(whole_a + (rest_a - middle_a)), np.round(whole_b + (rest_b - middle_b))
    seconds, rows_a, rows_b = np.intersect1d(at_a, at_b, return_indices=True)
    values = (whole_a[rows_a] - whole_b[rows_b]) + (rest_a[rows_a] - rest_b[rows_b])
    numbers = np.array([number for number, _ in by_channel[pair[0]]], dtype=np.int64)[rows_a]
    rows = Rows(values, numbers, seconds, took_for=f"TICC, {pair[0]} minus {pair[1]}", time_unit="s")
    alone = at_a.size + at_b.size - 2 * seconds.size
    if alone and numbers.size:
        says = f"{alone} timestamps have no partner in the same second and were left out"
        rows.findings.append(Finding("alone", says, line=int(numbers[0]), severity=Severity.WARNING))
    return rows


def _middle(rest: Floats) -> float:
    """Return where in the second pulses fall, by the mean of the directions in which a hand of one second points."""
    return float(np.angle(np.mean(np.exp(2j * np.pi * rest)))) / (2.0 * np.pi)


def _split(words: list[str]) -> tuple[Floats, Floats]:
    """Return whole seconds and the part below, each exact in a double."""
    whole, part = [], []
    for word in words:
        left, _, right = word.partition(".")
        sign = -1.0 if left.startswith("-") else 1.0
        whole.append(float(int(left)))
        part.append(sign * (int(right) / 10 ** len(right)))
    return np.array(whole), np.array(part)


def of_timelab(lines: list[str], column: str | None) -> Rows:
    """Return the phases of TimeLab's text: header lines of words, then numbers, a row a line."""
    place = next((k for k, line in enumerate(lines[:TIM_HEAD]) if _TIM_BLOCK.fullmatch(line.strip())), None)
    if place is not None:
        match = _TIM_BLOCK.fullmatch(lines[place].strip())
        assert match is not None
        return _of_block(lines, place, int(match[1]), int(match[2] or 1), column)
    tau0_s, per_second, values, numbers = None, 1.0, [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        value = number_of(line.strip())
        if value is not None:
            values.append(value)
            numbers.append(number)
        elif values:
            raise RecordRejected(f"{shown(line)} is no number", line=number)
        else:
            tau0_s, per_second = _header(line, tau0_s, per_second)
    rows = Rows(np.array(values), np.array(numbers, dtype=np.int64), took_for="TimeLab .tim text")
    rows.tau0_s, rows.per_second = tau0_s, per_second
    return rows


def _of_block(lines: list[str], place: int, count: int, width: int, column: str | None) -> Rows:
    """Return one column of the block that begins below line `place` (counted from 0)."""
    tau0_s, per_second = None, 1.0
    for line in lines[:place]:
        tau0_s, per_second = _header(line, tau0_s, per_second)
    if not 1 <= width <= 64:
        raise RecordRejected(f"a block of {width} columns; 1 to 64 are read", line=place + 1)
    chosen = int(column) - 1 if column is not None and column.isdecimal() else 0
    if not 0 <= chosen < width or (column is not None and not column.isdecimal()):
        raise RecordRejected(f"there is no column {column}: the block has {width}, counted from 1", line=place + 1)
    body = [(number, line.split()) for number, line in enumerate(lines[place + 1 :], place + 2) if line.strip()][:count]
    for number, words in body:
        if len(words) != width or any(number_of(word) is None for word in words):
            raise RecordRejected(f"{shown(' '.join(words))}, where the block has {width} numbers a line", line=number)
    values = np.array([float(number_of(words[chosen]) or 0.0) for _, words in body])
    told = f"TimeLab .tim, block TIC of {count}" + (f", column {chosen + 1} of {width}" if width > 1 else "")
    rows = Rows(values, np.array([number for number, _ in body], dtype=np.int64), took_for=told)
    rows.tau0_s, rows.per_second = tau0_s, per_second
    if tau0_s is not None:
        rows.tau0_from = "from the header"
    if len(body) < count:
        says = f"the block was to hold {count} rows and holds {len(body)}: the file was cut off"
        rows.findings.append(Finding("cut-off", says, line=place + 1, severity=Severity.WARNING))
    return rows


def _header(line: str, tau0_s: float | None, per_second: float) -> tuple[float | None, float]:
    """Return spacing and scale after a header line: its last word is a number, its first ones say of what."""
    key, _, rest = re.sub(r"[:=]", " ", line, count=1).strip().rpartition(" ")
    figure = number_of(rest)
    if figure is None or not 0.0 < figure < 1e300:
        return tau0_s, per_second
    if re.search(r"(?i)interval|tau0|\btau\b", key):
        return figure, per_second
    if re.search(r"(?i)scale", key):
        return tau0_s, 1.0 / figure
    if re.search(r"(?i)sampl\w* rate|\brate\b", key):
        return 1.0 / figure, per_second
    return tau0_s, per_second


def of_chrony(lines: list[str], channel: str | None) -> Rows:
    """`tracking.log`: the offset of the system clock; `statistics.log`: the estimated offset of one source."""
    header = next(line for line in lines if "Date (UTC) Time" in line)
    tracking = "St " in header and "Freq ppm" in header
    statistics = "Est offset" in header
    if not tracking and not statistics:
        raise RecordRejected("a log of chrony, but neither tracking.log nor statistics.log")
    place = 6 if tracking else 4
    sources: dict[str, None] = {}
    values, times, numbers = [], [], []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("=") or "Date" in line:
            continue
        if len(words) <= place:
            raise RecordRejected(f"{len(words)} words where a line of this log has more", line=number)
        time, value = stamp_of(f"{words[0]}T{words[1]}"), number_of(words[place])
        if time is None or value is None:
            raise RecordRejected(f"no date, time and offset in {shown(line)}", line=number)
        sources[words[2]] = None
        if channel is None or words[2] == channel:
            times.append(time)
            values.append(value)
            numbers.append(number)
    listed = ", ".join(list(sources)[:MOST_SOURCES])
    if statistics and channel is None and len(sources) > 1:
        raise RecordRejected(f"{len(sources)} sources; choose one with --channel: {listed}")
    if channel is not None and not values:
        raise RecordRejected(f"there is no source {channel}; there are {listed or 'none'}")
    told = "chrony tracking.log, offset" if tracking else "chrony statistics.log, estimated offset"
    if channel is not None:
        told += f" of {channel}"
    at = np.array(times, dtype=np.float64)
    return Rows(np.array(values, dtype=np.float64), np.array(numbers, dtype=np.int64), at, took_for=told, time_unit="s")
