"""The pictures of `truechimer stability`: sigma over tau with error bars and masks, phase, frequency, dynamic surfaces.

It computes no statistic and chooses no file's units; `figure.py` lays out, `drawing_svg.py` and `drawing_png.py` write.
"""

import html
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from truechimer.cli.figure import ColourScale, Figure, linear_axis, log_axis
from truechimer.errors import Rejected
from truechimer.stability.catalogue import TIMES

if TYPE_CHECKING:
    from truechimer.stability import StabilityCurve, StabilitySurface
    from truechimer.stability.masks import Mask, Verdict

SUFFIXES = (".svg", ".html", ".png")
COLUMNS = 1200
"""Longer series are drawn as the range of each column: nothing is left out that an eye could see."""
WORDS = {
    "adev": "Allan deviation",
    "oadev": "overlapping Allan deviation",
    "mdev": "modified Allan deviation",
    "tdev": "time deviation",
    "hdev": "Hadamard deviation",
    "ohdev": "overlapping Hadamard deviation",
    "totdev": "total deviation",
    "mtotdev": "modified total deviation",
    "ttotdev": "time total deviation",
    "htotdev": "Hadamard total deviation",
    "theo1": "Theo1",
    "theobr": "TheoBR",
    "theoh": "TheoH",
    "pdev": "parabolic deviation",
    "mtie": "MTIE",
    "tierms": "TIE rms",
}
ERRORS = frozenset({"mtie", "tierms"})
PREFIXES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"), (1e-12, "ps"), (1e-15, "fs"))
MOST_VERDICTS = 4
MARKS_OVER_TIME = 6
"""On each of several series over time: they tell lines apart where there is no colour."""
MOST_MARKS = 150
"""Curves of more averaging times are drawn as lines with a band."""


class PlotRejected(Rejected):
    """A picture that cannot be made or written."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A series to draw: its name, values and spacing."""

    name: str
    values: Any
    tau0_s: float


@dataclass(frozen=True, slots=True)
class NamedCurve:
    """A curve to draw with the file it is of and the verdicts on it."""

    file: str
    curve: "StabilityCurve"
    verdicts: "tuple[Verdict, ...]" = ()


def check_target(path: Path) -> None:
    """Refuse a file name that no picture can be written to, before anything is computed."""
    if path.suffix not in SUFFIXES:
        raise PlotRejected(f"{path}: pictures are written as {', '.join(SUFFIXES)}; give the file such an ending")
    if not path.parent.is_dir():
        raise PlotRejected(f"{path}: there is no folder {path.parent}; make it first")
    if path.suffix == ".png":
        from truechimer.cli import drawing_png

        drawing_png.png([])


def sigma_tau(curves: list[NamedCurve], masks: "list[Mask]") -> list[Figure]:
    """Return figures of the frequency statistics, of the time deviations and of the time errors, those there are."""
    figures = []
    for group, words in (
        (frozenset(WORDS) - TIMES, "Frequency stability"),
        (TIMES - ERRORS, "Time stability"),
        (ERRORS, "Time error"),
    ):
        here = [each for each in curves if each.curve.statistic in group and len(each.curve)]
        if here:
            figures.append(_sigma_tau(here, [mask for mask in masks if mask.statistic in group], words))
    return figures


def _sigma_tau(here: list[NamedCurve], masks: "list[Mask]", words: str) -> Figure:
    statistics = list(dict.fromkeys(each.curve.statistic for each in here))
    files = list(dict.fromkeys(each.file for each in here))
    only = WORDS[statistics[0]] if len(statistics) == 1 else ""
    in_seconds = statistics[0] in TIMES
    label = f"{only or ('deviation or error' if in_seconds else 'deviation')}{' / s' if in_seconds else ''}"
    title = only[0].upper() + only[1:] if only else words
    x = log_axis("averaging time τ / s", [tau for each in here for tau in each.curve.tau_s])
    grid = np.geomspace(x.low, x.high, 300)
    limits = [_limit_line(mask, grid) for mask in masks]
    spans = [np.concatenate([each.curve.value, each.curve.lower, each.curve.upper]) for each in here]
    y = log_axis(label, [value for each in (*spans, *(limit for _, limit in limits)) for value in each])
    only_file = files[0] if len(files) == 1 else ""
    told = list(filter(None, ["; ".join(filter(None, [only_file, _bars(here)]))]))
    if not any(np.any(each.curve.value > 0.0) for each in here):
        told.append("every value is 0: nothing can stand on a logarithmic axis")
    verdicts = [(each.file, verdict) for each in here for verdict in each.verdicts]
    verdicts.sort(key=lambda pair: pair[1].met is not False)  # what is exceeded is not among the lines left out
    told += [f"{file + ': ' if len(files) > 1 else ''}{_verdict(verdict)}" for file, verdict in verdicts]
    if len(told) > MOST_VERDICTS:
        told = [*told[:MOST_VERDICTS], f"and {len(told) - MOST_VERDICTS} more lines in the table"]
    figure = Figure(title, x, y, tuple(told))
    for number, (mask, (taus, limit)) in enumerate(zip(masks, limits, strict=True)):
        figure.area_above(taus.tolist(), limit.tolist(), name=f"limit {mask.name}", number=number)
    for number, each in enumerate(here):
        curve = each.curve
        name = _series_name(each, several_files=len(files) > 1, several_statistics=len(statistics) > 1)
        shown = name if len(here) + len(masks) > 1 else None  # the title has said it
        over = np.zeros(len(curve), dtype=bool)
        for verdict in each.verdicts:
            limit = verdict.mask.limit(curve.tau_s)
            over |= np.isfinite(limit) & (curve.value > limit)
        if len(curve) > MOST_MARKS:
            _as_band(figure, each, over, number=number, name=shown)
            continue
        figure.line(curve.tau_s.tolist(), curve.value.tolist(), number=number, width=0.8)
        bars = list(zip(curve.lower.tolist(), curve.upper.tolist(), strict=True))
        figure.points(
            *(curve.tau_s.tolist(), curve.value.tolist()), bars=bars, number=number, crossed=over.tolist(), name=shown
        )
    return figure


def _as_band(figure: Figure, each: NamedCurve, over: Any, *, number: int, name: str | None) -> None:
    """Draw a curve of very many averaging times as a line with a band and few marks, one where it breaks a limit."""
    curve = each.curve
    spread = np.unique(np.searchsorted(curve.tau_s, np.geomspace(curve.tau_s[0], curve.tau_s[-1], COLUMNS)))
    worst = [
        int(np.argmin(np.abs(curve.tau_s - verdict.worst_tau_s))) for verdict in each.verdicts if verdict.met is False
    ]
    kept = np.union1d(spread[spread < len(curve)], np.array(worst, dtype=np.int64))
    taus, values, lower, upper = (
        array[kept].tolist() for array in (curve.tau_s, curve.value, curve.lower, curve.upper)
    )
    figure.band(taus, lower, upper, number=number)
    figure.line(taus, values, number=number, width=1.3)
    # A mark in every half decade tells series apart where there is no colour.
    decades = float(np.log10(curve.tau_s[-1] / curve.tau_s[0]))
    apart = np.searchsorted(curve.tau_s, np.geomspace(curve.tau_s[0], curve.tau_s[-1], 2 + int(2 * decades)))
    marked = np.union1d(np.minimum(apart, len(curve) - 1), np.array(worst, dtype=np.int64))
    nothing = [(math.nan, math.nan)] * marked.size
    at = (curve.tau_s[marked].tolist(), curve.value[marked].tolist())
    figure.points(*at, bars=nothing, number=number, crossed=over[marked].tolist(), name=name)


def _series_name(each: NamedCurve, *, several_files: bool, several_statistics: bool) -> str:
    words = WORDS[each.curve.statistic]
    if not several_files:
        return words
    return f"{each.file}: {words}" if several_statistics else each.file


def _bars(here: list[NamedCurve]) -> str:
    """Say what the bars are."""
    levels = {each.curve.ci for each in here if each.curve.ci is not None and np.isfinite(each.curve.lower).any()}
    what = "band" if any(len(each.curve) > MOST_MARKS for each in here) else "bars"
    return f"{what}: {', '.join(f'{100 * level:g} %' for level in sorted(levels))} intervals" if levels else ""


def _verdict(verdict: "Verdict") -> str:
    if verdict.met is None:
        return f"{verdict.mask.name}: not judged"
    if verdict.met:
        if not verdict.value:
            return f"{verdict.mask.name}: met, every judged value is 0"
        return f"{verdict.mask.name}: met, least margin {verdict.margin:.3g} times at {verdict.worst_tau_s:g} s"
    return f"{verdict.mask.name}: EXCEEDED, {1.0 / verdict.margin:.3g} times the limit at {verdict.worst_tau_s:g} s"


def _limit_line(mask: "Mask", grid: Any) -> tuple[Any, Any]:
    """Return averaging times and limits of a mask within the grid, its corners exactly."""
    corners = [end for each in mask.segments for end in (each.from_s, each.to_s) if grid[0] <= end <= grid[-1]]
    taus = np.unique(np.concatenate([grid, corners]))
    return taus, mask.limit(taus)


def over_time(traces: list[Trace], *, kind: str) -> Figure:
    """Return series over time, `phase` or `frequency`; less their first value where offsets would hide them."""
    longest = max(trace.tau0_s * len(trace.values) for trace in traces)
    unit_s, unit = _time_unit(longest)
    drawn = [(trace.name, *_ranges(np.asarray(trace.values, dtype=float))) for trace in traces]
    spans = [_span(values) for _, _, values in drawn]
    firsts = [float(values[np.isfinite(values)][0]) if np.isfinite(values).any() else 0.0 for _, _, values in drawn]
    shifted = (
        max(firsts) - min(firsts) > 5.0 * max(*spans, 0.0) if len(drawn) > 1 else abs(firsts[0]) > 1e3 * spans[0] > 0
    )
    ys = [values - first if shifted else values for (_, _, values), first in zip(drawn, firsts, strict=True)]
    top = max((float(np.nanmax(np.abs(y))) for y in ys if np.isfinite(y).any()), default=0.0)
    scale, label = _phase_unit(top) if kind == "phase" else _frequency_unit(top)
    times = [place * trace.tau0_s / unit_s for trace, (_, place, _) in zip(traces, drawn, strict=True)]
    note = "each less its first value" if shifted and len(drawn) > 1 else f"less {firsts[0]:.9g}" if shifted else ""
    single = (drawn[0][0],) if len(drawn) == 1 else ()
    figure = Figure(
        "Phase" if kind == "phase" else "Fractional frequency",
        linear_axis(f"time / {unit}", [t for each in times for t in (each[0], each[-1])], air=0.01),
        linear_axis(label, [value / scale for y in ys for value in (_least(y), _most(y))]),
        (*single, *((note,) if note else ())),
    )
    for number, ((name, _, _), time, y) in enumerate(zip(drawn, times, ys, strict=True)):
        figure.line(time.tolist(), (y / scale).tolist(), number=number, width=1.0)
        if len(drawn) > 1:
            at = np.unique(np.linspace(0.0, y.size - 1.0, MARKS_OVER_TIME + 2).astype(int)[1:-1])
            bars, none = [(math.nan, math.nan)] * at.size, [False] * at.size
            marks = (time[at].tolist(), (y[at] / scale).tolist())
            figure.points(*marks, bars=bars, number=number, crossed=none, name=name)
    return figure


def _time_unit(longest_s: float) -> tuple[float, str]:
    units = ((86_400.0, "d", 3.0), (3_600.0, "h", 3.0), (1.0, "s", 1.0), (1e-3, "ms", 1.0), (1e-6, "µs", 0.0))
    return next((size, unit) for size, unit, least in units if longest_s >= least * size)


def _least(y: Any) -> float:
    return float(np.nanmin(y)) if np.isfinite(y).any() else math.nan


def _most(y: Any) -> float:
    return float(np.nanmax(y)) if np.isfinite(y).any() else math.nan


def _span(y: Any) -> float:
    return _most(y) - _least(y) if np.isfinite(y).any() else 0.0


def _phase_unit(top: float) -> tuple[float, str]:
    size, unit = next((each for each in PREFIXES if top >= 2.0 * each[0]), PREFIXES[-1] if top else PREFIXES[0])
    return size, f"phase / {unit}"


def _frequency_unit(top: float) -> tuple[float, str]:
    if top == 0.0 or not 1e-300 < top < 1e300:
        return 1.0, "fractional frequency"
    power = math.floor(math.log10(top))
    return 10.0**power, f"fractional frequency / 10^{{{power}}}".replace("-", "−")


def _ranges(values: Any) -> tuple[Any, Any]:
    """Return places and values; of long series the least and the largest of each of `COLUMNS` stretches."""
    if values.size <= 2 * COLUMNS:
        return np.arange(values.size), values
    edges = np.linspace(0, values.size, COLUMNS + 1).astype(int)
    places, kept = [], []
    for start, stop in pairwise(edges.tolist()):
        part = values[start:stop]
        if not np.isfinite(part).any():
            places.append(start)
            kept.append(math.nan)
            continue
        for k in sorted({int(np.nanargmin(part)), int(np.nanargmax(part))}):
            places.append(start + k)
            kept.append(float(part[k]))
    return np.array(places), np.array(kept)


def surface(name: str, found: "StabilitySurface") -> Figure:
    """Return a dynamic statistic: time across, tau up, the value's logarithm as brightness."""
    half = 0.5 * found.step * found.tau0_s
    middles = found.middle_s
    unit_s, unit = _time_unit(float(middles[-1] + half))
    x = linear_axis(f"time / {unit}", [(middles[0] - half) / unit_s, (middles[-1] + half) / unit_s], air=0.0)
    edges = _edges(found.tau_s)
    y = log_axis("averaging time τ / s", edges)
    if len(edges) > 1:
        y.low, y.high = edges[0], edges[-1]
    statistic = WORDS[found.statistic]
    notes = (
        name,
        f"windows of {found.window * found.tau0_s:.6g} s, each {found.step * found.tau0_s:.6g} s after the last",
    )
    there = found.value[np.isfinite(found.value) & (found.value > 0.0)]
    if there.size == 0:
        return Figure(f"Dynamic {statistic}", x, y, (*notes, "every value is 0 or missing"))
    low, high = float(there.min()), float(there.max())
    if high < 1.05 * low:
        low, high = low / 1.5, high * 1.5
    label = f"{statistic}{' / s' if found.statistic in TIMES else ''}"
    figure = Figure(f"Dynamic {statistic}", x, y, notes, ColourScale(label, low, high, shade))
    for row, middle in enumerate(middles):
        for column in range(found.tau_s.size):
            value = float(found.value[row, column])
            if math.isfinite(value) and value > 0.0:
                place = math.log(value / low) / math.log(high / low)
                around = ((middle - half) / unit_s, (middle + half) / unit_s)
                figure.cell(*around, edges[column], edges[column + 1], shade(place))
    return figure


def _edges(tau_s: Any) -> list[float]:
    """Return limits between averaging times, and half a step beyond the first and the last."""
    if tau_s.size == 0:
        return []
    if tau_s.size == 1:
        return [float(tau_s[0]) / 1.4, float(tau_s[0]) * 1.4]
    inner = np.sqrt(tau_s[1:] * tau_s[:-1])
    return [float(tau_s[0] ** 2 / inner[0]), *inner.tolist(), float(tau_s[-1] ** 2 / inner[-1])]


def shade(part: float) -> str:
    """Return a colour from dark blue (0) through green to yellow (1), brighter all the way: viridis."""
    stops = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
    place = min(max(part, 0.0), 1.0) * (len(stops) - 1)
    k = min(int(place), len(stops) - 2)
    mixed = (round(a + (b - a) * (place - k)) for a, b in zip(stops[k], stops[k + 1], strict=True))
    return "#" + "".join(f"{each:02x}" for each in mixed)


def write(path: Path, figures: list[Figure]) -> None:
    """Write the figures: one SVG or PNG with all of them below each other, or an HTML page."""
    if not figures:
        raise PlotRejected(f"{path}: there is nothing to draw: no statistic has a value")
    write_figures(path, figures)


def write_figures(path: Path, figures: list[Figure]) -> None:
    """Write one figure or more; the form follows from the file's ending."""
    from truechimer.cli import drawing_svg

    drawings = [figure.drawing() for figure in figures]
    if path.suffix == ".png":
        from truechimer.cli import drawing_png

        data = drawing_png.png(drawings)
    elif path.suffix == ".html":
        body = "\n".join(
            f"<figure>{drawing_svg.svg(each, number=number, by_theme=True)}</figure>"
            for number, each in enumerate(drawings)
        )
        data = (
            "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
            "content='width=device-width'><title>" + html.escape(drawings[0].title) + "</title>"
            f"<style>{drawing_svg.theme_style()}</style></head><body>\n{body}\n</body></html>\n"
        ).encode()
    else:
        data = drawing_svg.stacked(drawings).encode()
    try:
        path.write_bytes(data)
    except OSError as error:
        raise PlotRejected(f"{path}: {error.strerror}; name a file that can be written") from None
