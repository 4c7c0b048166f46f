"""A figure as SVG text: linear or logarithmic axes, ticks, lines, markers with bars, shaded areas, cells, a legend.

It knows nothing of clocks: `stability_plot.py` says what is drawn. No library is used, so that a picture costs no
download and comes out the same everywhere; all marks are vectors and all labels are text.
"""

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's palette: told apart with any colour vision, and in grey by their markers."""
WIDTH, HEIGHT = 760.0, 500.0
LEFT, RIGHT, TOP, BOTTOM = 86.0, 18.0, 40.0, 58.0
FONT = "font-family='Helvetica, Arial, sans-serif'"


@dataclass(slots=True)
class Axis:
    """One axis: limits in its own quantity, logarithmic or not, and what stands beside it."""

    label: str
    low: float
    high: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies between `low` (0) and `high` (1)."""
        if self.is_log:
            return math.log10(value / self.low) / math.log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Return tick values with their labels."""
        if self.is_log:
            decades = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            every = max(1, -(-len(decades) // 9))
            return [(10.0**k, f"10<tspan dy='-6' font-size='10'>{k}</tspan>") for k in decades if k % every == 0]
        step = _round_step((self.high - self.low) / 6.0)
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor(self.high / step + 1e-9) - first
        return [(step * (first + k), _plain(step * (first + k), step)) for k in range(count + 1)]

    def fine(self) -> list[float]:
        """Return values of unlabelled ticks."""
        if not self.is_log or self.high / self.low > 1e9:
            return []
        first = math.floor(math.log10(self.low))
        every = [j * 10.0**k for k in range(first, math.ceil(math.log10(self.high)) + 1) for j in range(2, 10)]
        return [value for value in every if self.low <= value <= self.high]


def _round_step(raw: float) -> float:
    size = 10.0 ** math.floor(math.log10(raw))
    return next(step * size for step in (1.0, 2.0, 5.0, 10.0) if step * size >= raw * 0.999)


def _plain(value: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{digits}f}" if 1e-4 < step < 1e6 else f"{value:.3g}"


def log_axis(label: str, values: Iterable[float]) -> Axis:
    """Return a logarithmic axis that holds every positive value, ending at half decades."""
    there = [value for value in values if value > 0.0 and math.isfinite(value)]
    if not there:
        return Axis(label, 0.1, 10.0, is_log=True)
    low, high = math.log10(min(there)), math.log10(max(there))
    low, high = math.floor(2.0 * (low - 0.05)) / 2.0, math.ceil(2.0 * (high + 0.05)) / 2.0
    return Axis(label, 10.0**low, 10.0 ** max(high, low + 1.0), is_log=True)


def linear_axis(label: str, values: Iterable[float]) -> Axis:
    """Return a linear axis that holds every value with some air."""
    there = [value for value in values if math.isfinite(value)]
    low, high = (min(there), max(there)) if there else (0.0, 1.0)
    if high == low:
        low, high = low - max(abs(low), 1.0) * 1e-3, high + max(abs(high), 1.0) * 1e-3
    air = 0.04 * (high - low)
    return Axis(label, low - air, high + air)


@dataclass(slots=True)
class Figure:
    """One frame with two axes; what is drawn is clipped to it."""

    title: str
    x: Axis
    y: Axis
    _marks: list[str] = field(default_factory=list)
    _legend: list[tuple[str, str]] = field(default_factory=list)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        across, up = self.x.place(x), self.y.place(y)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def line(self, xs: Iterable[float], ys: Iterable[float], *, colour: str, width: float = 1.4) -> None:
        """Draw a line; it is interrupted where a value is missing or cannot be drawn."""
        path, pen = [], "M"
        for x, y in zip(xs, ys, strict=True):
            good = math.isfinite(x) and math.isfinite(y) and (y > 0.0 or not self.y.is_log)
            if not good:
                pen = "M"
                continue
            across, down = self._at(x, y)
            path.append(f"{pen}{across:.2f} {down:.2f}")
            pen = "L"
        if path:
            self._marks.append(
                f"<path d='{''.join(path)}' fill='none' stroke='{colour}' stroke-width='{width}' "
                "stroke-linejoin='round'/>"
            )

    def points(
        self,
        xs: Iterable[float],
        ys: Iterable[float],
        lows: Iterable[float],
        highs: Iterable[float],
        *,
        number: int,
    ) -> None:
        """Draw markers with vertical bars where there is an interval; shape and colour by `number`."""
        colour = COLOURS[number % len(COLOURS)]
        for x, y, low, high in zip(xs, ys, lows, highs, strict=True):
            if not (math.isfinite(y) and (y > 0.0 or not self.y.is_log)):
                continue
            across, down = self._at(x, y)
            if math.isfinite(low) and math.isfinite(high) and low > 0.0:
                top, bottom = self._at(x, high)[1], self._at(x, low)[1]
                self._marks.append(
                    f"<path d='M{across:.2f} {top:.2f}V{bottom:.2f}M{across - 3.5:.2f} {top:.2f}h7"
                    f"M{across - 3.5:.2f} {bottom:.2f}h7' stroke='{colour}' stroke-width='1.1' fill='none'/>"
                )
            self._marks.append(marker(across, down, number))

    def area_above(self, xs: Iterable[float], ys: Iterable[float], *, label: str) -> None:
        """Shade what lies above a limit, draw the limit and name it in the legend."""
        inside = [
            (min(max(x, self.x.low), self.x.high), min(max(y, self.y.low), self.y.high))
            for x, y in zip(xs, ys, strict=True)
            if math.isfinite(y)
        ]
        if len(inside) < 2:
            return
        top = TOP
        outline = " ".join(f"{across:.2f},{down:.2f}" for across, down in (self._at(x, y) for x, y in inside))
        first, last = self._at(*inside[0])[0], self._at(*inside[-1])[0]
        self._marks.append(
            f"<polygon points='{first:.2f},{top} {outline} {last:.2f},{top}' fill='#888888' fill-opacity='0.16'/>"
        )
        self._marks.append(f"<polyline points='{outline}' fill='none' stroke='#444444' stroke-dasharray='6 3'/>")
        self._legend.append(("<rect x='-7' y='-5' width='14' height='10' fill='#888888' fill-opacity='0.3'/>", label))

    def cell(self, x0: float, x1: float, y0: float, y1: float, colour: str) -> None:
        """Fill a rectangle."""
        (left, bottom), (right, top) = self._at(x0, y0), self._at(x1, y1)
        self._marks.append(
            f"<rect x='{left:.2f}' y='{top:.2f}' width='{right - left + 0.3:.2f}' height='{bottom - top + 0.3:.2f}' "
            f"fill='{colour}'/>"
        )

    def name(self, number: int, label: str) -> None:
        """Add a line to the legend with the marker of `number`."""
        self._legend.append((marker(0.0, 0.0, number), label))

    def name_colour(self, colour: str, label: str) -> None:
        """Add a line to the legend with a patch of colour."""
        self._legend.append((f"<rect x='-7' y='-5' width='14' height='10' fill='{colour}'/>", label))

    def svg(self) -> str:
        """Return the figure as an SVG document."""
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        frame = f"x='{LEFT}' y='{TOP}' width='{right - LEFT}' height='{bottom - TOP}'"
        size = f"viewBox='0 0 {WIDTH:g} {HEIGHT:g}' width='{WIDTH:g}' height='{HEIGHT:g}'"
        parts = [
            f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' {FONT} font-size='13'>",
            f"<title>{html.escape(self.title)}</title>",
            f"<rect width='{WIDTH:g}' height='{HEIGHT:g}' fill='white'/>",
            f"<clipPath id='frame'><rect {frame}/></clipPath>",
            f"<text x='{LEFT}' y='24' font-size='15'>{html.escape(self.title)}</text>",
        ]
        for value in self.x.fine():
            across = self._at(value, self.y.low)[0]
            parts.append(f"<path d='M{across:.2f} {bottom}v-4M{across:.2f} {TOP}v4' stroke='#333' stroke-width='0.7'/>")
        for value in self.y.fine():
            down = self._at(self.x.low, value)[1]
            parts.append(f"<path d='M{LEFT} {down:.2f}h4M{right} {down:.2f}h-4' stroke='#333' stroke-width='0.7'/>")
        for value, label in self.x.ticks():
            across = self._at(value, self.y.low)[0]
            parts.append(f"<path d='M{across:.2f} {bottom}V{TOP}' stroke='#ddd' stroke-width='0.8'/>")
            parts.append(f"<text x='{across:.2f}' y='{bottom + 20}' text-anchor='middle'>{label}</text>")
        for value, label in self.y.ticks():
            down = self._at(self.x.low, value)[1]
            parts.append(f"<path d='M{LEFT} {down:.2f}H{right}' stroke='#ddd' stroke-width='0.8'/>")
            parts.append(f"<text x='{LEFT - 8}' y='{down + 4.5:.2f}' text-anchor='end'>{label}</text>")
        parts.append(f"<g clip-path='url(#frame)'>{''.join(self._marks)}</g>")
        parts.append(f"<rect {frame} fill='none' stroke='black'/>")
        middle = (LEFT + right) / 2.0
        parts.append(f"<text x='{middle}' y='{HEIGHT - 14}' text-anchor='middle'>{html.escape(self.x.label)}</text>")
        parts.append(
            f"<text transform='translate(20 {(TOP + bottom) / 2.0}) rotate(-90)' text-anchor='middle'>"
            f"{html.escape(self.y.label)}</text>"
        )
        parts += self._legend_box(right)
        parts.append("</svg>")
        return "".join(parts)

    def _legend_box(self, right: float) -> list[str]:
        if not self._legend:
            return []
        width = 34.0 + 6.9 * max(len(label) for _, label in self._legend)
        left, height = right - width - 8.0, 8.0 + 19.0 * len(self._legend)
        box = f"x='{left:.1f}' y='{TOP + 8}' width='{width:.1f}' height='{height}'"
        parts = [f"<rect {box} fill='white' fill-opacity='0.88' stroke='#bbb'/>"]
        for row, (mark, label) in enumerate(self._legend):
            down = TOP + 22.0 + 19.0 * row
            parts.append(f"<g transform='translate({left + 15:.1f} {down - 0.5:.1f})'>{mark}</g>")
            parts.append(f"<text x='{left + 28:.1f}' y='{down + 4:.1f}' font-size='12'>{html.escape(label)}</text>")
        return parts


def marker(across: float, down: float, number: int) -> str:
    """Return the mark of a series: its colour and its shape follow from its number."""
    colour = COLOURS[number % len(COLOURS)]
    shapes = (
        f"<circle cx='{across:.2f}' cy='{down:.2f}' r='3.6' fill='{colour}'/>",
        f"<rect x='{across - 3.3:.2f}' y='{down - 3.3:.2f}' width='6.6' height='6.6' fill='{colour}'/>",
        f"<path d='M{across:.2f} {down - 4.4:.2f}l4 7h-8z' fill='{colour}'/>",
        f"<path d='M{across:.2f} {down - 4.6:.2f}l4.6 4.6l-4.6 4.6l-4.6 -4.6z' fill='{colour}'/>",
        f"<circle cx='{across:.2f}' cy='{down:.2f}' r='3.4' fill='white' stroke='{colour}' stroke-width='1.6'/>",
    )
    return shapes[number % len(shapes)]
