"""The pictures of `truechimer cggtts compare --plot`: epochs and their smoothed course, and TDEV of each code.

It compares nothing; `figure.py` lays out, `drawing_svg.py` and `drawing_png.py` write.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from truechimer.cli.figure import Figure, linear_axis, log_axis
from truechimer.cli.stability_plot import check_target, write_figures
from truechimer.compare.link_stability import tdev_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from truechimer.compare.common_view import SatelliteLink
    from truechimer.compare.link_smoothing import Smoothed
    from truechimer.compare.two_way import TwoWayLink

    Drawn = tuple[str, str, SatelliteLink | TwoWayLink, Smoothed | None]
    """Name of a link, how it was made, the link, and its smoothed course."""

HOUR_NS = 3_600 * 10**9
NS = 1e9
MOST_LINKS = 4
"""Codes in one picture; the others have fewer tracks and stand in the table."""

__all__ = ["check_target", "write"]


def write(path: Path, drawn: "Sequence[Drawn]") -> None:
    """Draw a comparison into a file."""
    figures = [_over_time(*each) for each in drawn[:MOST_LINKS]]
    tdev = _tdev(drawn[:MOST_LINKS])
    write_figures(path, figures if tdev is None else [*figures, tdev])


def _over_time(name: str, method: str, link: "SatelliteLink | TwoWayLink", smoothed: "Smoothed | None") -> Figure:
    hours = ((link.middle_tai_ns - link.middle_tai_ns[0]) / HOUR_NS).tolist()
    low, high = (link.x_a_minus_b_s - link.u_s) * NS, (link.x_a_minus_b_s + link.u_s) * NS
    x_axis = linear_axis("hours since the first epoch", [0.0, hours[-1] or 1.0])
    y_axis = linear_axis("A - B / ns", [*low.tolist(), *high.tolist()])
    x_ns = link.x_a_minus_b_s * NS
    std = f", standard deviation {np.std(x_ns, ddof=1):.3f} ns" if len(link) > 1 else ""
    notes = (f"{name}, {method}: {len(link)} epochs, mean {np.mean(x_ns):.3f} ns{std}".lstrip(", "),)
    figure = Figure("Clock of A minus clock of B", x_axis, y_axis, notes)
    if smoothed is not None:
        centre, sigma = smoothed.x_s * NS, smoothed.u_s * NS
        figure.band(hours, (centre - sigma).tolist(), (centre + sigma).tolist(), number=1)
        figure.line(hours, centre.tolist(), number=1, width=1.8)
        figure.patch("smoothed, one sigma", number=1)
    figure.points(
        hours,
        (link.x_a_minus_b_s * NS).tolist(),
        bars=list(zip(low.tolist(), high.tolist(), strict=True)),
        number=0,
        crossed=[False] * len(link),
        name="sessions, one sigma" if method == "two-way" else "epochs, one sigma of the satellites' mean",
    )
    return figure


def _tdev(drawn: "Sequence[Drawn]") -> Figure | None:
    curves = [(name, found) for name, _, link, _ in drawn if (found := tdev_of(link)) is not None]
    if not curves:
        return None
    x_axis = log_axis("averaging time τ / s", [tau for _, found in curves for tau, _ in found])
    y_axis = log_axis("TDEV / s", [value for _, found in curves for _, value in found])
    figure = Figure(
        "Time deviation of the link", x_axis, y_axis, ("epochs on the grid of their usual distance, gaps left empty",)
    )
    for number, (name, found) in enumerate(curves):
        taus, values = [tau for tau, _ in found], [value for _, value in found]
        figure.line(taus, values, number=number)
        nothing = [(float(np.nan), float(np.nan))] * len(taus)
        figure.points(taus, values, bars=nothing, number=number, crossed=[False] * len(taus), name=name)
    return figure
