"""Times of rows to an even grid: the spacing found, the first row that does not fit, and the rule of gaps.

It reads no text. A row is even with its neighbours where their distance is the rule within a twentieth, or where the
digits that times are printed with cannot tell.
"""

import numpy as np

from truechimer.formats.finding import Finding, Severity
from truechimer.formats.phase_rows import Floats, Ints, RecordRejected, Rows

DAY_S = 86_400.0
TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}
TIME_UNITS |= dict.fromkeys(("d", "mjd", "jd"), DAY_S)
"""Units of times, in seconds."""
LARGEST_TIME = 1e20
EVEN = 0.05
"""Spacings that differ from the median by less than this part of it are even."""


def on_a_grid(rows: Rows, *, time_unit: str | None, gaps: bool) -> tuple[Floats, Ints, float | None, str]:
    """Return values, lines, spacing and the first time in words; findings are added to `rows`."""
    if rows.times is None or rows.times.size < 2:
        return rows.values, rows.lines, rows.tau0_s, ""
    times = rows.times
    if time_unit == "none":
        return rows.values, rows.lines, rows.tau0_s, ""
    if not np.all(np.abs(times) < LARGEST_TIME):
        row = int(np.flatnonzero(~(np.abs(times) < LARGEST_TIME))[0])
        raise RecordRejected(f"{times[row]:g} is no time of a record", line=int(rows.lines[row]))
    unit = time_unit or (rows.time_unit if rows.time_unit != "?" else _unit_of(times))
    factor = TIME_UNITS[unit]
    seconds = (times - times[0]) * factor
    fuzz = float(np.spacing(np.max(np.abs(times)))) * factor
    # Seconds are printed in steps that spacings are multiples of; days are not: 1 s is 1.157e-5 of a day.
    printed = 10.0**-rows.time_digits * factor if rows.time_digits is not None and factor == DAY_S else 0.0
    first = f"{unit.upper()} {times[0]:.6f}" if unit in {"mjd", "jd"} else f"t = {times[0]:.10g} {unit}"
    values, lines, tau0_s, more = _placed(
        *(seconds, rows.values, rows.lines), fuzz=fuzz, printed=printed, gaps=gaps, may_miss=rows.rows_may_miss
    )
    rows.findings += more
    return values, lines, tau0_s, first


def _unit_of(times: Floats) -> str:
    """Return `mjd` where times look like modified Julian dates of 1968 to 2077, `ms`, `us`, `ns` for large counts."""
    first, last = float(times[0]), float(times[-1])
    if first > 1e11:  # seconds since 1970 would be in the year 5138
        return "ms" if first < 1e14 else "us" if first < 1e17 else "ns"
    looks = 40_000.0 <= first <= last <= 80_000.0
    whole = bool(np.all(times == np.floor(times)))
    return "mjd" if looks and (not whole or times.size < 40_000) and float(np.median(np.diff(times))) <= 31.0 else "s"


def _placed(
    seconds: Floats, values: Floats, lines: Ints, *, fuzz: float, printed: float, gaps: bool, may_miss: bool
) -> tuple[Floats, Ints, float, list[Finding]]:
    """Return values, lines and spacing on an even grid; refuse what is not even unless `gaps`. With `may_miss` whole
    places that are missing are no fault, what is out of step is.
    """
    steps = np.diff(seconds)
    back = np.flatnonzero(steps <= 0.0)
    if back.size:
        row = int(back[0]) + 1
        same = steps[row - 1] == 0.0
        raise RecordRejected(
            f"its time is {'' if same else 'not after '}that of line {lines[row - 1]}; "
            + ("leave one of them out" if same else "sort the rows")
            + (", or give times with more digits" if printed and same else ""),
            line=int(lines[row]),
        )
    # Time tags are printed with some digits: the mean spacing is good to their scatter over the length.
    mean = float(seconds[-1]) / steps.size
    scatter = float(np.max(np.abs(seconds - mean * np.arange(seconds.size))))
    tau0_s = float(np.median(steps))
    slack = EVEN * tau0_s + 4.0 * fuzz
    odd = np.flatnonzero(np.abs(steps - tau0_s) > slack)
    if odd.size == 0 or scatter <= printed:
        return values, lines, _neat(mean, (fuzz + 2.0 * scatter) / steps.size), []
    row = int(odd[0]) + 1
    if printed > 0.1 * tau0_s:
        raise RecordRejected(
            f"rows are missing, and times printed to {printed:.3g} s are too coarse to tell which at a spacing of "
            f"about {tau0_s:.3g} s; give times with more digits, or --time-unit none and --tau0 to count rows instead",
            line=int(lines[row]),
        )
    is_whole = np.abs(steps - np.round(steps / tau0_s) * tau0_s) <= slack
    if not gaps and not (may_miss and is_whole.all()):
        row = int(np.flatnonzero(~is_whole)[0]) + 1 if may_miss else row
        raise RecordRejected(
            f"{steps[row - 1]:.9g} s after line {lines[row - 1]}, where {tau0_s:.9g} s is the rule; --gaps takes "
            + ("rows to the nearest place of an even grid" if may_miss else "missing rows as missing values"),
            line=int(lines[row]),
        )
    whole = steps[is_whole]
    tau0_s = float(np.sum(whole) / np.sum(np.round(whole / tau0_s))) if whole.size else tau0_s
    tau0_s = _neat(tau0_s, fuzz)
    length = float(seconds[-1]) / tau0_s
    if not length <= 50 * values.size + 1_000_000:
        raise RecordRejected(f"{length:.6g} places of {tau0_s:.9g} s for {values.size} values: cut the record in parts")
    place = np.round(seconds / tau0_s).astype(np.int64)
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
