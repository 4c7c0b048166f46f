"""A laboratory's record against UTC: published UTC - UTC(k) of many files as one series, and how good each year was.

It reads no file and steers nothing. Of two values of one day and scale the newer issue counts, whose calibration may be
another. rms is about zero, for zero is what a laboratory is to keep; the standard deviation is about the mean.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

from truechimer.instants.mjd import from_calendar, to_calendar, weekday

THURSDAY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedValue:
    """UTC (or UTCr: `scale`) minus UTC(k) at 0 h UTC of `mjd`, s. `u_a_s`, `u_s`: statistical and total uncertainty (1
    sigma), None where not given; `issue`: of Circular T or week of rapid UTC (yyww), 0 where not said;
    `published_mjd`: when it could be had, None where not known.
    """

    scale: str
    mjd: int
    x_utc_minus_utck_s: float
    u_a_s: float | None = None
    u_s: float | None = None
    issue: int = 0
    published_mjd: int | None = None


@dataclass(frozen=True, slots=True)
class YearRow:
    """A year's figures, s. `year`: None of the whole; `n` values; `rms_s` about zero; `std_s` about the mean (ddof 1; 0
    of one value); `largest_s`: the value furthest from zero, of `largest_mjd`.
    """

    year: int | None
    n: int
    mean_s: float
    rms_s: float
    std_s: float
    largest_s: float
    largest_mjd: int


@dataclass(frozen=True, slots=True)
class PeriodRow:
    """Figures of a calendar month ("2026-03") or week ("2026-W12": ISO 8601, from Monday on)."""

    period: str
    figures: YearRow


def newest(values: Iterable[PublishedValue]) -> tuple[PublishedValue, ...]:
    """Return one value for each scale and day, in order of scale and day: of the newest issue, then the last given."""
    found: dict[tuple[str, int], PublishedValue] = {}
    for value in values:
        key = (value.scale, value.mjd)
        if key not in found or value.issue >= found[key].issue:
            found[key] = value
    return tuple(found[key] for key in sorted(found))


def by_year(series: Sequence[tuple[int, float]]) -> tuple[YearRow, ...]:
    """Return a row for each calendar year of (MJD, x in s), and one of all at the end; () of none."""
    if not series:
        return ()
    years: dict[int, list[tuple[int, float]]] = {}
    for mjd, x_s in series:
        years.setdefault(to_calendar(mjd)[0], []).append((mjd, x_s))
    return (*(_row(year, years[year]) for year in sorted(years)), _row(None, series))


def by_period(series: Sequence[tuple[int, float]], of: Literal["month", "week"]) -> tuple[PeriodRow, ...]:
    """Return a row for each month or week of (MJD, x in s), in their order."""
    name = month_of if of == "month" else week_of
    parts: dict[str, list[tuple[int, float]]] = {}
    for mjd, x_s in sorted(series):
        parts.setdefault(name(mjd), []).append((mjd, x_s))
    return tuple(PeriodRow(period, _row(None, part)) for period, part in parts.items())


def month_of(mjd: int) -> str:
    """Return the calendar month of a day, "2026-03"."""
    year, month, _ = to_calendar(mjd)
    return f"{year:04d}-{month:02d}"


def week_of(mjd: int) -> str:
    """Return the week of a day, "2026-W12": it is of the year in which its Thursday lies (ISO 8601)."""
    thursday = mjd - weekday(mjd) + THURSDAY
    year = to_calendar(thursday)[0]
    return f"{year:04d}-W{(thursday - from_calendar(year, 1, 1)) // 7 + 1:02d}"


def _row(year: int | None, series: Sequence[tuple[int, float]]) -> YearRow:
    n = len(series)
    mean = sum(x for _, x in series) / n
    square = sum(x * x for _, x in series) / n
    around = sum((x - mean) ** 2 for _, x in series)
    largest_mjd, largest = max(series, key=lambda each: abs(each[1]))
    return YearRow(year, n, mean, sqrt(square), sqrt(around / (n - 1)) if n > 1 else 0.0, largest, largest_mjd)
