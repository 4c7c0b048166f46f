"""The pictures of `truechimer stability`: sigma over tau with error bars and masks, phase, frequency, dynamic surfaces.

It computes no statistic and chooses no file's units; `svg_figure.py` draws. SVG and HTML only: a bitmap is made of an
SVG by any browser or word processor at the resolution that a page needs.
"""

import html
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from truechimer.cli.svg_figure import COLOURS, Figure, linear_axis, log_axis
from truechimer.errors import Rejected
from truechimer.stability.catalogue import TIMES

if TYPE_CHECKING:
    from truechimer.stability import StabilityCurve, StabilitySurface
    from truechimer.stability.masks import Mask

SUFFIXES = (".svg", ".html")
COLUMNS = 1200
"""Longer series are drawn as the range of each column: nothing is left out that an eye could see."""


class PlotRejected(Rejected):
    """A picture that cannot be made or written."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A series to draw: its name, values, spacing and unit."""

    name: str
    values: Any
    tau0_s: float


def check_target(path: Path) -> None:
    """Refuse a file name that no picture can be written to, before anything is computed."""
    if path.suffix not in SUFFIXES:
        raise PlotRejected(f"{path}: pictures are written as {' or '.join(SUFFIXES)}; give the file such an ending")
    if not path.parent.is_dir():
        raise PlotRejected(f"{path}: there is no folder {path.parent}; make it first")


def sigma_tau(curves: "list[tuple[str, StabilityCurve]]", masks: "list[Mask]") -> list[Figure]:
    """Return a figure of the frequency statistics and one of the time statistics, those that there are."""
    figures = []
    for is_time, label, title in (
        (False, "deviation σ(τ), dimensionless", "Frequency stability"),
        (True, "time deviation or error / s", "Time stability"),
    ):
        here = [(name, curve) for name, curve in curves if (curve.statistic in TIMES) == is_time and len(curve)]
        if not here:
            continue
        limits = [mask for mask in masks if (mask.statistic in TIMES) == is_time]
        x = log_axis("averaging time τ / s", [tau for _, curve in here for tau in curve.tau_s])
        spans = [np.concatenate([curve.value, curve.lower, curve.upper]) for _, curve in here]
        grid = np.geomspace(x.low, x.high, 400)
        at_mask = [mask.limit(grid) for mask in limits]
        y = log_axis(label, [value for each in (*spans, *at_mask) for value in each])
        figure = Figure(title, x, y)
        for mask, limit in zip(limits, at_mask, strict=True):
            figure.area_above(grid, limit, label=f"above {mask.name}")
        for number, (name, curve) in enumerate(here):
            figure.line(curve.tau_s, curve.value, colour=COLOURS[number % len(COLOURS)], width=0.8)
            figure.points(curve.tau_s, curve.value, curve.lower, curve.upper, number=number)
            figure.name(number, name)
        figures.append(figure)
    return figures


def over_time(traces: list[Trace], *, label: str, title: str) -> Figure:
    """Return series over time, each less its first value where their offsets would hide them."""
    longest = max(trace.tau0_s * len(trace.values) for trace in traces)
    unit_s, unit = next((u for u in ((86_400.0, "d"), (3_600.0, "h"), (1.0, "s")) if longest >= 3.0 * u[0]), (1.0, "s"))
    drawn = [(trace.name, *_ranges(np.asarray(trace.values, dtype=float))) for trace in traces]
    times = [place * trace.tau0_s / unit_s for trace, (_, place, _) in zip(traces, drawn, strict=True)]
    figure = Figure(
        title,
        linear_axis(f"time / {unit}", [t for each in times for t in (each[0], each[-1])]),
        linear_axis(label, [value for _, _, values in drawn for value in values]),
    )
    for number, ((name, _, values), time) in enumerate(zip(drawn, times, strict=True)):
        figure.line(time, values, colour=COLOURS[number % len(COLOURS)], width=0.9)
        if len(drawn) > 1:
            figure.name_colour(COLOURS[number % len(COLOURS)], name)
    return figure


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
    x = linear_axis("time / s", [found.middle_s[0], found.middle_s[-1] + found.step * found.tau0_s])
    y = log_axis("averaging time τ / s", found.tau_s)
    figure = Figure(f"{name}: dynamic {found.statistic}, windows of {found.window * found.tau0_s:g} s", x, y)
    there = found.value[np.isfinite(found.value) & (found.value > 0.0)]
    if there.size == 0:
        return figure
    low, high = math.log10(float(there.min())), math.log10(float(there.max()))
    span = max(high - low, 1e-3)
    edges = np.concatenate(
        [[found.tau_s[0] / 1.2], np.sqrt(found.tau_s[1:] * found.tau_s[:-1]), [found.tau_s[-1] * 1.2]]
    )
    half = 0.5 * found.step * found.tau0_s
    for row, middle in enumerate(found.middle_s):
        for column in range(found.tau_s.size):
            value = float(found.value[row, column])
            if math.isfinite(value) and value > 0.0:
                shade = (math.log10(value) - low) / span
                figure.cell(middle - half, middle + half, edges[column], edges[column + 1], _shade(shade))
    for shade in (0.0, 0.5, 1.0):
        figure.name_colour(_shade(shade), f"{10.0 ** (low + shade * span):.2g}")
    return figure


def _shade(part: float) -> str:
    """Return a colour from dark blue (0) through green to yellow (1), brighter all the way."""
    stops = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
    place = min(max(part, 0.0), 1.0) * (len(stops) - 1)
    k = min(int(place), len(stops) - 2)
    mixed = (round(a + (b - a) * (place - k)) for a, b in zip(stops[k], stops[k + 1], strict=True))
    return "#" + "".join(f"{each:02x}" for each in mixed)


def write(path: Path, figures: list[Figure]) -> None:
    """Write the figures: one SVG, or an HTML page with all of them; an SVG of several stacks them."""
    if not figures:
        raise PlotRejected(f"{path}: there is nothing to draw: no statistic has a value")
    if path.suffix == ".html":
        body = "\n".join(f"<figure>{figure.svg()}</figure>" for figure in figures)
        text = (
            "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
            "content='width=device-width'><title>" + html.escape(figures[0].title) + "</title>"
            "<style>figure{margin:1em auto;max-width:60em}svg{width:100%;height:auto}</style></head>"
            f"<body>\n{body}\n</body></html>\n"
        )
    else:
        text = _stacked(figures)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PlotRejected(f"{path}: {error.strerror}; name a file that can be written") from None


def _stacked(figures: list[Figure]) -> str:
    from truechimer.cli.svg_figure import HEIGHT, WIDTH

    if len(figures) == 1:
        return figures[0].svg() + "\n"
    parts = []
    for row, figure in enumerate(figures):
        own = figure.svg().replace("id='frame'", f"id='frame{row}'").replace("url(#frame)", f"url(#frame{row})")
        parts.append(f"<g transform='translate(0 {HEIGHT * row})'>{own}</g>")
    height = HEIGHT * len(figures)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH:g} {height:g}' width='{WIDTH:g}' "
        f"height='{height:g}'>{''.join(parts)}</svg>\n"
    )
