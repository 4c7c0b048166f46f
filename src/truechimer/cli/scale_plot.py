"""The pictures of `truechimer scale replay --plot`: weights over time, residuals, stability of scale and clocks.

It computes no scale; `figure.py` lays out, `drawing_svg.py` and `drawing_png.py` write, as for `truechimer stability`.
The law of the file: however many clocks there are, at most `MOST_LINES` are drawn by name in a frame; the rest stand
together, as one area of weights or as the range they fill.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from truechimer.cli.figure import Figure, linear_axis, log_axis
from truechimer.cli.scale_table import Told, learned_curves
from truechimer.cli.stability_plot import PlotRejected, check_target, write_figures
from truechimer.scale import ScaleSeries
from truechimer.scale.episodes import What
from truechimer.scale.own_stability import drifts

MOST_LINES = 6
"""By name in one frame; a seventh colour is left for the others."""
COLUMNS = 600
"""Points across: more would not be seen."""
DAY_NS = 86_400 * 10**9
KINDS = ("fountain", "maser", "caesium", "rubidium", "oscillator", "host", "link")
PLURALS = {
    "fountain": "fountains",
    "maser": "masers",
    "caesium": "caesiums",
    "rubidium": "rubidiums",
    "oscillator": "oscillators",
    "host": "host",
    "link": "links",
}
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"), (1e-12, "ps"))

__all__ = ["check_target", "figures", "write"]


def write(path: Path, told: Told) -> None:
    """Draw a replay into a file."""
    drawn = figures(told)
    if not drawn:
        raise PlotRejected(f"{path}: there is nothing to draw: the record is too short")
    write_figures(path, drawn)


def figures(told: Told) -> list[Figure]:
    """Return the pictures that a replay has: stability, weights, residuals of each kind of clock."""
    found = []
    if len(told.own.tau_s):
        found.append(_sigma_tau(told))
    series = told.series
    at_ns = series.epoch_tai_ns
    if (series.weight > 0.0).any():
        found.append(_weights(series, at_ns, series.weight, f"Weights at one epoch ({told.series.algorithm})"))
    if series.weight_month.size and (series.weight_month > 0.0).any():
        found.append(_weights(series, series.month_tai_ns, series.weight_month, "Weights at the longest averaging"))
    found += _residuals(told)
    return found


# ---- stability ------------------------------------------------------------------------------------------------------


def _sigma_tau(told: Told) -> Figure:
    own, series = told.own, told.series
    taus = own.tau_s.tolist()
    curves: list[tuple[str, Any, Any]] = [("the scale, estimated from within", own.tau_s, own.scale)]
    curves += [(name, own.tau_s, values) for name, values in learned_curves(told).items()]
    if told.truth is not None:
        through, curve = told.truth
        curves.append((f"the scale against the truth, by {through}", curve.tau_s, curve.value))
    x = log_axis("averaging time τ / s", [*taus, *(t for _, tau, _ in curves for t in tau)])
    spans = [own.clock.ravel(), *(values for _, _, values in curves)]
    y = log_axis("Allan deviation", [float(v) for span in spans for v in np.asarray(span) if np.isfinite(v)])
    notes = (
        f"clocks as measured against the scale ({told.series.algorithm}), without drift, their share in it allowed for",
        "B(τ): the best fixed weighting at each τ, no bound; spectral: no linear combination is below it",
    )
    figure = Figure("How stable the scale and its clocks are", x, y, notes)
    for number, kind in enumerate(_kinds(series)):
        columns = [i for i, clock in enumerate(series.clocks) if clock.kind.value == kind]
        if len(columns) == 1 or len(series.clocks) <= MOST_LINES:
            continue
        with np.errstate(invalid="ignore"):
            there = own.clock[:, columns]
        low, high = _least(there), _most(there)
        figure.band(taus, low, high, number=number + 2)
        figure.line(taus, high, number=number + 2, width=0.7)
        figure.line(taus, low, number=number + 2, width=0.7)
        figure.patch(f"{len(columns)} {PLURALS[kind]}, from best to worst", number=number + 2)
    singles = [
        i
        for i, clock in enumerate(series.clocks)
        if len(series.clocks) <= MOST_LINES or sum(other.kind is clock.kind for other in series.clocks) == 1
    ]
    for number, i in enumerate(singles[: 2 * MOST_LINES]):
        values = own.clock[:, i].tolist()
        if np.isfinite(own.clock[:, i]).any():
            figure.line(taus, values, number=number + 2, width=0.9)
            _marked(figure, taus, values, number=number + 2, name=series.clocks[i].name)
    for name, values in learned_curves(told).items():
        figure.limit_line(taus, values.tolist(), number=0 if name.startswith("B") else 1, name=name)
    figure.line(taus, own.scale.tolist(), number=0, width=2.4)
    _marked(figure, taus, own.scale.tolist(), number=0, name="the scale, estimated from within")
    if told.truth is not None:
        through, curve = told.truth
        figure.line(curve.tau_s.tolist(), curve.value.tolist(), number=1, width=2.0)
        bars = list(zip(curve.lower.tolist(), curve.upper.tolist(), strict=True))
        figure.points(
            curve.tau_s.tolist(),
            curve.value.tolist(),
            bars=bars,
            number=1,
            crossed=[False] * len(curve),
            name=f"the scale against the truth, by {through}",
        )
    return figure


def _marked(figure: Figure, xs: Sequence[float], ys: Sequence[float], *, number: int, name: str) -> None:
    nothing = [(float("nan"), float("nan"))] * len(xs)
    figure.points(xs, ys, bars=nothing, number=number, crossed=[False] * len(xs), name=name)


def _kinds(series: ScaleSeries) -> list[str]:
    here = {clock.kind.value for clock in series.clocks}
    return [kind for kind in KINDS if kind in here]


def _least(values: Any) -> list[float]:
    return [float(np.nanmin(row)) if np.isfinite(row).any() else float("nan") for row in values]


def _most(values: Any) -> list[float]:
    return [float(np.nanmax(row)) if np.isfinite(row).any() else float("nan") for row in values]


# ---- weights --------------------------------------------------------------------------------------------------------


def _days(at_ns: Any, first_ns: int) -> Any:
    return (at_ns - first_ns) / DAY_NS


def _weights(series: ScaleSeries, at_ns: Any, weight: Any, title: str) -> Figure:
    """Weights piled on each other: the heaviest by name, the others of each kind together."""
    edges = np.unique(np.linspace(0, len(at_ns), COLUMNS + 1).astype(int))
    first_ns = int(series.epoch_tai_ns[0])
    times = _days(at_ns[edges[:-1]], first_ns)
    means = np.add.reduceat(weight, edges[:-1], axis=0) / np.diff(edges)[:, None]
    order = np.argsort(-means.mean(axis=0), kind="stable").tolist()
    able = [i for i in order if means[:, i].max() > 0.0]
    kinds = [kind for kind in _kinds(series) if any(series.clocks[i].kind.value == kind for i in able)]
    named = able if len(able) <= MOST_LINES + 1 else able[: max(2, MOST_LINES + 1 - len(kinds))]
    piles = [(series.clocks[i].name, means[:, i]) for i in named]
    for kind in kinds:
        rest = [i for i in able if i not in named and series.clocks[i].kind.value == kind]
        if rest:
            piles.append(
                (
                    f"{len(rest)} other {PLURALS[kind]}" if len(rest) > 1 else series.clocks[rest[0]].name,
                    means[:, rest].sum(axis=1),
                )
            )
    x_axis = linear_axis(
        f"days since {_start(series)}", [0.0, float(_days(series.epoch_tai_ns[-1], first_ns))], air=0.0
    )
    y_axis = linear_axis("weight, piled up", [0.0, 1.0], air=0.0)
    y_axis.high = 1.02
    figure = Figure(title, x_axis, y_axis, (_never(series),))
    low = np.zeros(len(times))
    # the end of the last column
    across = np.append(times, _days(at_ns[-1], first_ns)).tolist()
    for number, (name, values) in enumerate(piles):
        high = low + values
        lows, highs = np.append(low, low[-1]).tolist(), np.append(high, high[-1]).tolist()
        figure.band(across, lows, highs, number=number, opacity=0.75)
        figure.line(across, highs, number=number, width=0.8)
        figure.patch(name, number=number)
        low = high
    return figure


def _start(series: ScaleSeries) -> str:
    from truechimer.cli import scale_words

    return f"MJD {scale_words.mjd(int(series.epoch_tai_ns[0]))}"


def _never(series: ScaleSeries) -> str:
    none = [clock.name for i, clock in enumerate(series.clocks) if not (series.weight[:, i] > 0.0).any()]
    if not none:
        return f"{len(series.clocks)} clocks, each with weight at some time"
    return f"{len(series.clocks)} clocks; never with weight: {', '.join(none[:5])}{' ...' if len(none) > 5 else ''}"


# ---- residuals ------------------------------------------------------------------------------------------------------


def _residuals(told: Told) -> list[Figure]:
    """Clock minus scale less each clock's own line and drift, a frame for each kind of clock."""
    series = told.series
    left = residuals(told)
    return [
        _of_kind(told, kind, left)
        for kind in _kinds(series)
        if any(clock.kind.value == kind and np.isfinite(left[:, i]).any() for i, clock in enumerate(series.clocks))
    ]


def residuals(told: Told) -> Any:
    """Return clock minus scale less its drift (as learned or declared) and less the line that fits the rest best, a new
    line after each change of rate; seconds, NaN where the clock was not read.
    """
    series = told.series
    t = (series.epoch_tai_ns - series.epoch_tai_ns[0]) / 1e9
    x = np.where(series.unused == 0, series.x_clock_minus_scale_s, np.nan)
    x -= 0.5 * drifts(series) * (t * t)[:, None]
    for i in range(x.shape[1]):
        here = [each for each in told.events if each.clock == i]
        level = x[:, i].copy()
        for each in here:
            if np.isfinite(each.size_s):
                level[each.first :] -= each.size_s  # the line is that of the clock without its steps, which stay
        turned = {each.first for each in here if each.what is What.CHANGED_RATE} - {0}
        for first, end in pairwise([0, *sorted(turned), len(t)]):
            x[first:end, i] -= _line(t[first:end], level[first:end])
    return x


def _line(t: Any, x: Any) -> Any:
    """Return the straight line that fits best, at every time."""
    there = np.isfinite(x)
    if not there.any():
        return np.zeros(len(t))
    # around the middle: seconds since the start would cost digits
    middle = t - t[there].mean()
    level = x[there].mean()
    return (
        level + float(middle[there] @ (x[there] - level)) / max(float(middle[there] @ middle[there]), 1e-300) * middle
    )


def _of_kind(told: Told, kind: str, left: Any) -> Figure:
    series = told.series
    columns = [i for i, clock in enumerate(series.clocks) if clock.kind.value == kind and np.isfinite(left[:, i]).any()]
    worth = {i: float(np.nanmax(np.abs(left[:, i]))) for i in columns}
    happened = {each.clock for each in told.events}
    # what something happened to comes first, then the widest
    ranked = sorted(columns, key=lambda i: (i not in happened, -worth[i]))
    named = sorted(ranked[: MOST_LINES + 1] if len(columns) <= MOST_LINES + 1 else ranked[:MOST_LINES])
    rest = [i for i in columns if i not in named]
    scale, unit = next(((size, word) for size, word in UNITS if max(worth.values()) >= 2.0 * size), UNITS[-1])
    times = _days(series.epoch_tai_ns, int(series.epoch_tai_ns[0]))
    places = _places(len(times))
    drawn = {i: _thinned(left[:, i] / scale, places) for i in columns}
    x_axis = linear_axis(f"days since {_start(series)}", [0.0, float(times[-1])], air=0.01)
    y_axis = linear_axis(f"clock minus scale / {unit}", [float(v) for y in drawn.values() for v in (_low(y), _high(y))])
    notes = ["each clock less its drift and best line, a new one after a change of rate; crosses: its events"]
    if rest:
        notes.append(f"by name: those that something happened to, then the widest; grey: the other {len(rest)}")
    title = f"{PLURALS[kind][0].upper()}{PLURALS[kind][1:]} against the scale"
    figure = Figure(title, x_axis, y_axis, tuple(notes))
    across = times[_middles(places)].tolist()
    if rest:
        stack = np.array([drawn[i] for i in rest])
        figure.band(across, _least(stack.T), _most(stack.T), number=MOST_LINES)
        figure.patch(f"range of {len(rest)} others", number=MOST_LINES)
    for number, i in enumerate(named):
        figure.line(across, drawn[i].tolist(), number=number, width=1.0, name=series.clocks[i].name)
        _events(figure, told, i, left[:, i] / scale, times, number=number)
    return figure


def _places(n: int) -> Any:
    return np.unique(np.linspace(0, n, 2 * COLUMNS + 1).astype(int))


def _middles(places: Any) -> Any:
    return (places[:-1] + places[1:] - 1) // 2


def _thinned(values: Any, places: Any) -> Any:
    """Return a value for each stretch: the furthest from 0, so that nothing an eye could see is left out."""
    out = np.full(len(places) - 1, np.nan)
    for k, (a, b) in enumerate(zip(places[:-1].tolist(), places[1:].tolist(), strict=True)):
        part = values[a:b]
        if np.isfinite(part).any():
            out[k] = part[int(np.nanargmax(np.abs(part)))]
    return out


def _low(y: Any) -> float:
    return float(np.nanmin(y)) if np.isfinite(y).any() else float("nan")


def _high(y: Any) -> float:
    return float(np.nanmax(y)) if np.isfinite(y).any() else float("nan")


def _events(figure: Figure, told: Told, i: int, values: Any, times: Any, *, number: int) -> None:
    at = [each.first for each in told.events if each.clock == i and each.what not in {What.ENTERED, What.SILENT}]
    shown = [k for k in at if np.isfinite(values[k])][:20]
    if shown:
        nothing = [(float("nan"), float("nan"))] * len(shown)
        ys = [float(values[k]) for k in shown]
        figure.points([float(times[k]) for k in shown], ys, bars=nothing, number=number, crossed=[True] * len(shown))
