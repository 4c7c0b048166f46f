"""Columns of numbers and CSV with a header to rows: values alone, times and values, readings of clocks, scales.

It reads no device's own format (`phase_devices.py`) and puts nothing on a grid (`phase_grid.py`). Two paths, one
result: a table that is plainly numbers is taken at once, everything else row by row with the line that is wrong.

Source: Stable32 user manual (one column of data or time tags beside it, text above); the project's contract, "Files"
(readings and scale CSV).
"""

import re

import numpy as np

from truechimer.formats.finding import Finding, Severity
from truechimer.formats.phase_rows import (
    SAMPLE,
    Content,
    Floats,
    Layout,
    NoChoiceRejected,
    RecordRejected,
    Rows,
    decimals_of,
    layout_of,
    number_of,
    shown,
    stamp_of,
    table_of,
    value_of,
    words_of,
)

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "ps": 1e12, "fs": 1e15}
"""Units of phase in a second: a value is divided, since 1e9 is a double and 1e-9 is not."""
_PARTS = {"ppm": 1e6, "ppb": 1e9, "ppt": 1e12}
_TIME_NAMES = ("epoch_mjd", "mjd", "epoch_tai_ns", "time_s", "t_s", "time", "timestamp", "seconds", "epoch", "t")
_TIME = re.compile(
    r"(?i)(?:(?:gps|gnss|utc|tai|unix|posix|local|obs)[_ ]?)?"
    r"(epoch|mjd|jd|date|datetime|utc|time|timestamp|t|elapsed|unix|tow|sow|sod"
    r"|sec(?:ond)?s?(?:[_ ]of[_ ](?:day|week))?)"
    r"(?:[_ ]?(?:since_start|utc|tai))?[_ ]*[\[(]?(s|ms|us|ns|min|h|d|mjd|jd)?[\])]?"
)
_PHASE = re.compile(r"(?i)^(x|phase|offset|tie|time_?error|clock_?offset|value)")
_FREQUENCY = re.compile(r"(?i)^(y$|y_|freq|frequency|fractional)")
_SUFFIX = re.compile(r"(?i)[_\[\( ](s|ms|us|ns|ps|fs|ppm|ppb|ppt)[\]\)]?$")
_SPACING = re.compile(
    r"(?i)\b(?:tau_?0?|(?:sampl\w+|measurement)\s+interval|interval|gate(?:\s+time)?)\s*[:=]?\s*"
    r"([0-9][0-9.]*(?:e[+-]?\d+)?)\s*(ms|us|ns|s|sec|seconds?)?\s*$"
)
_DATE_AND_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)[ \t]+(\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(?=[\s,;]|$)")
"""A date and a time of day in columns of their own."""
_SAYS_FREQUENCY = re.compile(r"(?i)\bfreq(?:uency)?\s+data\b|\b(?:type|data)\b.{0,20}\bfreq")
MOST_HEADING = 200
"""Lines of text above the numbers."""
MOST_PAIRS = 8


def rows_of(
    content: Content, *, column: str | None, pair: tuple[str, str] | None, channel: str | None, decimal: str | None
) -> Rows:
    """Return the rows of a table; `pair` and `channel` choose clocks of readings and of a scale."""
    if any(_DATE_AND_TIME.match(line) for line in content.lines[:MOST_HEADING]):
        joined = [_DATE_AND_TIME.sub(r"\1T\2", line) for line in content.lines]
        content = Content(joined, content.numbers, content.comments)
    heading = _heading(content, decimal)
    header: list[str] | None = None
    if heading:
        layout = layout_of(content.lines[heading : heading + SAMPLE], decimal=decimal)
        width = len(words_of(content.lines[heading], layout.separator)) if len(content.lines) > heading else 0
        words = words_of(content.lines[heading - 1], layout.separator)
        if len(words) != width and not width:
            words = words_of(
                content.lines[heading - 1], layout_of(content.lines[heading - 1 :], decimal=None).separator
            )
        if len(words) == width or not width or (heading == 1 and _is_header(content.lines[0])):
            header = words
    rest = content.after(heading)
    layout = layout_of(rest.lines[:SAMPLE], decimal=decimal)
    if header is not None:
        rows = _of_csv(rest, layout, header, column=column, pair=pair, channel=channel)
    else:
        rows = _of_columns(rest, layout, column=column)
    if layout.comma:
        rows.findings.append(
            Finding(
                "decimal-comma",
                "decimals were taken to follow a comma",
                line=rest.numbers[0],
                severity=Severity.WARNING,
            )
        )
    left_out = heading - (header is not None)
    if left_out:
        rows.took_for += f", below {left_out} line{'s' if left_out > 1 else ''} of text"
    if rows.times is None:
        _spacing(rows, rest.comments)
    spoken = next((line for line in rest.comments[:MOST_HEADING] if _SAYS_FREQUENCY.search(line)), None)
    if spoken is not None and rows.data == "phase" and not any("phase" in line.lower() for line in rest.comments):
        says = f"the words {shown(spoken)} speak of frequency, and the values are taken for phases: say --data"
        rows.findings.append(Finding("kind", says, severity=Severity.WARNING))
    return rows


def _heading(content: Content, decimal: str | None) -> int:
    """Return how many lines of text stand above the first row; 0 where the first line is a row."""
    for k, line in enumerate(content.lines[: MOST_HEADING + 1]):
        following = content.lines[k : k + SAMPLE]
        words = words_of(line, layout_of(following, decimal=decimal).separator)
        numbers = [value_of(word, comma=True) is not None or stamp_of(word) is not None for word in words]
        if all(numbers):
            return k
        if k and any(number_of(word, comma=True) is not None for word in words) and _is_header(content.lines[k - 1]):
            return k  # rows of a CSV may hold names beside numbers
        if not any(re.match(r"[A-Za-z_\"]", word) for word in words):
            return k  # a broken row: it is named where rows are read
    return 1 if content.lines and _is_header(content.lines[0]) else 0


def _is_header(line: str) -> bool:
    words = words_of(line, next((each for each in (",", ";", "\t") if each in line), None))
    return len(words) > 1 and all(re.match(r"[A-Za-z_][^:=]*$", word) for word in words)


def _spacing(rows: Rows, comments: list[str]) -> None:
    """Look for the spacing in what people wrote above the numbers."""
    for line in comments[:MOST_HEADING]:
        match = _SPACING.search(line)
        value = number_of(match[1]) if match else None
        if match and value and 0.0 < value < 1e9:
            rows.tau0_s = value / UNITS[match[2].lower()] if match[2] and match[2].lower() in UNITS else value
            rows.tau0_from = f"from the words {shown(line)}"
            return


def _of_columns(content: Content, layout: Layout, *, column: str | None) -> Rows:
    """One column of values, or times and values; `column` counts from 1."""
    if not content.lines:
        raise RecordRejected("there are words, but no numbers")
    if layout.doubt and column is None:
        raise RecordRejected(layout.doubt, line=content.numbers[0])
    width = len(words_of(content.lines[0], layout.separator))
    chosen = _column_number(column, width) if column else min(width, 2) - 1
    table = table_of(content.lines, layout, (0, chosen) if chosen else (0,))
    if table is None:
        values, times = _row_by_row(content, layout, width, chosen)
    else:
        values, times = table[:, -1].copy(), table[:, 0].copy() if chosen else None
    numbers = np.array(content.numbers, dtype=np.int64)
    digits = None
    if chosen > 0:
        digits = _digits([words_of(line, layout.separator)[0] for line in content.lines[:SAMPLE]], layout)
    words = "one column of values"
    if times is not None:
        words = f"times and values (columns 1 and {chosen + 1} of {width})"
    elif width > 1:
        words = f"values (column {chosen + 1} of {width})"
    return Rows(values, numbers, times, digits, words)


def _digits(words: list[str], layout: Layout) -> int | None:
    if any(stamp_of(word) is not None for word in words):
        return None
    return decimals_of([word.replace(",", ".") if layout.comma else word for word in words])


def _row_by_row(content: Content, layout: Layout, width: int, chosen: int) -> tuple[Floats, Floats | None]:
    values, times = [], []
    for number, line in zip(content.numbers, content.lines, strict=True):
        words = words_of(line, layout.separator)
        if len(words) <= chosen:
            raise RecordRejected(f"{len(words)} columns where {width} are the rule: {shown(line)}", line=number)
        value = value_of(words[chosen], comma=layout.comma)
        if value is None:
            raise RecordRejected(f"{shown(words[chosen])} is no number", line=number)
        values.append(value)
        if chosen > 0:
            times.append(_time_of(words[0], 1.0, number, comma=layout.comma))
    return np.array(values, dtype=np.float64), np.array(times, dtype=np.float64) if times else None


def _time_of(word: str, divisor: float, number: int, *, comma: bool) -> float:
    found = number_of(word, comma=comma)
    time = stamp_of(word) if found is None else found / divisor
    if time is None or not np.isfinite(time):
        raise RecordRejected(f"{shown(word)} is neither a number nor a date and time", line=number)
    return time


def _column_number(column: str, width: int) -> int:
    if not column.isdecimal() or not 1 <= int(column) <= width:
        raise RecordRejected(f"there is no column {column}: the file has {width}, counted from 1, and no header")
    return int(column) - 1


def _of_csv(
    content: Content,
    layout: Layout,
    header: list[str],
    *,
    column: str | None,
    pair: tuple[str, str] | None,
    channel: str | None,
) -> Rows:
    names = [name.lower() for name in header]
    time = _time_column(names)
    chosen = _named_column(header, names, column, time)
    if time == chosen:
        time = None
    divisor, unit = _time_scale(names[time]) if time is not None else (1.0, "?")
    keys = _keys(names, pair=pair, channel=channel)
    values, times, numbers = _csv_rows(
        content, layout, header, (chosen, time, divisor), keys=keys, wanted=pair or channel
    )
    rows = Rows(
        values, np.array(numbers, dtype=np.int64), times, took_for=f"CSV with a header, column {header[chosen]}"
    )
    rows.time_unit = unit
    rows.rows_may_miss = len(keys) == 2  # readings CSV: a missing reading is a missing row
    if time is not None and divisor == 1.0:
        words = [words_of(line, layout.separator) for line in content.lines[:SAMPLE]]
        rows.time_digits = _digits([each[time] for each in words if len(each) > time], layout)
    rows.data = "frequency" if _FREQUENCY.match(header[chosen]) else "phase"
    suffix = _SUFFIX.search(header[chosen])
    if suffix:
        word = suffix[1].lower()
        rows.data = "frequency" if word in _PARTS else rows.data
        rows.per_second = _PARTS.get(word, UNITS.get(word, 1.0) if rows.data == "phase" else 1.0)
    if pair is not None and len(keys) == 2:
        found = _clocks_of(content, layout, keys)
        rows.sign = 1.0 if pair in found else -1.0
        rows.took_for += f", {pair[0]} minus {pair[1]}" + ("" if pair in found else " (read the other way round)")
    elif channel is not None and len(keys) == 1:
        rows.took_for += f" of {channel}"
    return rows


def _time_column(names: list[str]) -> int | None:
    exact = next((names.index(name) for name in _TIME_NAMES if name in names), None)
    return next((k for k, name in enumerate(names) if _TIME.fullmatch(name)), None) if exact is None else exact


def _time_scale(name: str) -> tuple[float, str]:
    """Return what epochs are divided by and their unit; epochs of nanoseconds become seconds while they are read."""
    if name.endswith("_ns"):
        return 1e9, "s"
    match = _TIME.fullmatch(name)
    if match is None or name == "epoch":
        return 1.0, "?"
    if match[1].lower() in {"mjd", "jd"}:
        return 1.0, match[1].lower()
    if match[2]:
        return 1.0, match[2].lower()
    return 1.0, "?" if match[1].lower() in {"utc", "date", "datetime", "timestamp"} else "s"


def _keys(names: list[str], *, pair: tuple[str, str] | None, channel: str | None) -> tuple[int, ...]:
    """Return the columns that name clocks: two of readings, one of a scale, none elsewhere."""
    if {"clock_a", "clock_b"} <= set(names):
        return names.index("clock_a"), names.index("clock_b")
    if pair is not None:
        raise NoChoiceRejected("--pair chooses clocks of readings, and this file has no columns clock_a and clock_b")
    if "clock" in names:
        return (names.index("clock"),)
    if channel is not None:
        raise NoChoiceRejected("--channel chooses a clock of a scale, and this file has no column clock; use --column")
    return ()


def _clocks_of(content: Content, layout: Layout, keys: tuple[int, ...]) -> dict[tuple[str, ...], None]:
    found: dict[tuple[str, ...], None] = {}
    for line in content.lines:
        words = words_of(line, layout.separator)
        if len(words) > max(keys):
            found[tuple(words[key] for key in keys)] = None
    return found


def pairs_of(content: Content) -> tuple[tuple[str, str], ...]:
    """Return the pairs of clocks of a table whose first line names columns clock_a and clock_b."""
    layout = layout_of(content.lines[1 : SAMPLE + 1], decimal=None)
    names = [name.lower() for name in words_of(content.lines[0], layout.separator)] if content.lines else []
    if not {"clock_a", "clock_b"} <= set(names):
        return ()
    found = _clocks_of(content.after(1), layout, (names.index("clock_a"), names.index("clock_b")))
    return tuple((a, b) for a, b in found)


def _csv_rows(
    content: Content,
    layout: Layout,
    header: list[str],
    places: tuple[int, int | None, float],
    *,
    keys: tuple[int, ...],
    wanted: tuple[str, str] | str | None,
) -> tuple[Floats, Floats | None, list[int]]:
    chosen, time, divisor = places
    width = len(header)
    if not keys and len(words_of(content.lines[0], layout.separator) if content.lines else ()) == width:
        table = table_of(content.lines, layout, (chosen,) if time is None else (chosen, time))
        if table is not None and time is None:
            return table[:, 0].copy(), None, content.numbers
        if table is not None and np.all(np.isfinite(table[:, 1])):
            return table[:, 0].copy(), table[:, 1] / divisor, content.numbers
    accepted = _accepted(content, layout, keys, wanted)
    numbers, found, at = [], [], []
    for number, line in zip(content.numbers, content.lines, strict=True):
        words = words_of(line, layout.separator)
        if len(words) != width:
            raise RecordRejected(f"{len(words)} columns where the header has {width}", line=number)
        if keys and tuple(words[key] for key in keys) not in accepted:
            continue
        value = value_of(words[chosen], comma=layout.comma)
        if value is None:
            raise RecordRejected(f"{shown(words[chosen])} in column {header[chosen]} is no number", line=number)
        numbers.append(number)
        found.append(value)
        if time is not None:
            at.append(_time_of(words[time], divisor, number, comma=layout.comma))
    return np.array(found, dtype=np.float64), np.array(at, dtype=np.float64) if time is not None else None, numbers


def _accepted(
    content: Content, layout: Layout, keys: tuple[int, ...], wanted: tuple[str, str] | str | None
) -> set[tuple[str, ...]]:
    """Return the names of clocks whose rows are taken; refuse where a choice is due, and name what there is."""
    if not keys:
        return set()
    there = _clocks_of(content, layout, keys)
    listed = ", ".join(",".join(names) for names in list(there)[:MOST_PAIRS]) + (
        " ..." if len(there) > MOST_PAIRS else ""
    )
    what, option = ("pairs of clocks", "--pair") if len(keys) == 2 else ("clocks", "--channel")
    if wanted is None:
        if len(there) > 1:
            raise RecordRejected(f"readings of {len(there)} {what}; choose one with {option}: {listed}")
        return set(there)
    names = wanted if isinstance(wanted, tuple) else (wanted,)
    if tuple(names) in there:
        return {tuple(names)}
    if len(keys) == 2 and tuple(reversed(names)) in there:
        return {tuple(reversed(names))}
    raise RecordRejected(f"there are no readings of {','.join(names)}; there are {listed or 'none'}")


def _named_column(header: list[str], names: list[str], column: str | None, time: int | None) -> int:
    if column is not None:
        if column.lower() in names:
            return names.index(column.lower())
        if column.isdecimal() and 1 <= int(column) <= len(header):
            return int(column) - 1
        raise RecordRejected(f"there is no column {column}; there are {', '.join(header)}")
    for pattern in (_PHASE, _FREQUENCY):
        found = [k for k, name in enumerate(header) if pattern.match(name) and k != time]
        if found:
            return found[0]
    others = [k for k in range(len(header)) if k != time]
    if len(others) == 1:
        return others[0]
    raise RecordRejected(f"no column is called phase or frequency; name one with --column: {', '.join(header)}")
