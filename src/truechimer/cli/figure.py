"""A figure: a frame with two axes, what is drawn in it, notes above and a legend below, laid out as a `Drawing`.

It knows nothing of clocks: `stability_plot.py` says what is drawn. Nothing ever covers the data: the legend has a place
of its own, and long names lose their middle.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from truechimer.cli.drawing import Area, Drawing, Line, Mark, Point, Text, series_colour, shortened, width_of

WIDTH, FRAME_HEIGHT = 760.0, 410.0
LEFT, RIGHT, TOP, FOOT = 84.0, 20.0, 38.0, 50.0
SCALE_ROOM = 92.0
"""What a colour scale takes on the right."""
NOTE_SIZE, LEGEND_SIZE, ROW = 12.0, 12.0, 18.0
DASHES: tuple[tuple[float, ...], ...] = ((7.0, 3.0), (2.0, 2.5), (9.0, 3.0, 2.0, 3.0), (14.0, 4.0))
SMALLEST, LARGEST = 1e-200, 1e200
"""What an axis reaches at most: beyond, a double has no room for the air around."""
MOST_DECADES = 10
"""A logarithmic axis of more labels every second decade, or fewer."""


@dataclass(slots=True)
class Axis:
    """One axis: limits in its own quantity, logarithmic or not, and what stands beside it (`^{}` raises)."""

    label: str
    low: float
    high: float
    is_log: bool = False

    @property
    def _decades(self) -> float:
        return math.log10(self.high) - math.log10(self.low)

    def place(self, value: float) -> float:
        """Return where a value lies between `low` (0) and `high` (1)."""
        if self.is_log:
            return (math.log10(value) - math.log10(self.low)) / self._decades
        return (value - self.low) / (self.high - self.low)

    def holds(self, value: float) -> bool:
        """Return True if a value can be drawn on the axis at all."""
        return math.isfinite(value) and (value > 0.0 or not self.is_log)

    def ticks(self) -> list[tuple[float, tuple[tuple[str, bool], ...]]]:
        """Return tick values with the pieces of their labels."""
        if not self.is_log:
            step = _round_step((self.high - self.low) / 6.0)
            first = math.ceil(self.low / step - 1e-9)
            count = math.floor(self.high / step + 1e-9) - first
            return [(step * (first + k), ((_plain(step * (first + k), step), False),)) for k in range(count + 1)]
        every = max(1, math.ceil(self._decades / MOST_DECADES))
        # Whole decades; where few fit, what lies between them too.
        between = (1,) if self._decades > 2.0 else (1, 2, 5)
        found: list[tuple[float, tuple[tuple[str, bool], ...]]] = []
        for k in range(math.floor(math.log10(self.low) - 1e-9), math.ceil(math.log10(self.high) + 1e-9) + 1):
            for digit in between:
                value = digit * 10.0**k
                if k % every == 0 and self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9):
                    front = "10" if digit == 1 else f"{digit}×10"
                    found.append((value, ((front, False), (str(k).replace("-", "−"), True))))
        return found

    def fine(self) -> list[float]:
        """Return values of lines between the labelled ones of a logarithmic axis."""
        if not self.is_log or self._decades > 12.0:
            return []
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        every = [j * 10.0**k for k in range(first, last + 1) for j in range(1, 10)]
        return [value for value in every if self.low < value < self.high]


def _pieces(label: str) -> tuple[tuple[str, bool], ...]:
    """Return a label's pieces: what stands in ^{} is raised."""
    parts = re.split(r"\^\{([^}]*)\}", label)
    return tuple((part, bool(k % 2)) for k, part in enumerate(parts) if part)


def _round_step(raw: float) -> float:
    size = 10.0 ** math.floor(math.log10(raw))
    return next(step * size for step in (1.0, 2.0, 5.0, 10.0) if step * size >= raw * 0.999)


def _plain(value: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:.{digits}f}" if 1e-6 < step < 1e9 else f"{value:.6g}"
    return "0" if float(text) == 0.0 else text.replace("-", "−", 1)


def log_axis(label: str, values: Iterable[float]) -> Axis:
    """Return a logarithmic axis that holds every positive value with some air, one decade at least."""
    there = [min(max(value, SMALLEST), LARGEST) for value in values if value > 0.0 and math.isfinite(value)]
    if not there:
        return Axis(label, 0.1, 10.0, is_log=True)
    low, high = math.log10(min(there)), math.log10(max(there))
    air = max(0.08, 0.03 * (high - low), 0.5 * (1.0 - (high - low)))
    return Axis(label, 10.0 ** (low - air), 10.0 ** (high + air), is_log=True)


def linear_axis(label: str, values: Iterable[float], *, air: float = 0.04) -> Axis:
    """Return a linear axis that holds every value with some air."""
    there = [min(max(value, -LARGEST), LARGEST) for value in values if math.isfinite(value)]
    low, high = (min(there), max(there)) if there else (0.0, 1.0)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        low, high = low - max(abs(low), 1.0) * 1e-3, high + max(abs(high), 1.0) * 1e-3
    return Axis(label, low - air * (high - low), high + air * (high - low))


@dataclass(frozen=True, slots=True)
class ColourScale:
    """The meaning of colours: `label`, its logarithmic limits, and the colour of a place between 0 and 1."""

    label: str
    low: float
    high: float
    colour: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class _Entry:
    label: str
    mark: Mark | None = None
    colour: str = ""
    dash: tuple[float, ...] = ()
    shaded: bool = False
    patch: bool = False


@dataclass(slots=True)
class Figure:
    """One frame with two axes; what is drawn is clipped to it. `notes`: lines below the title."""

    title: str
    x: Axis
    y: Axis
    notes: tuple[str, ...] = ()
    colours: ColourScale | None = None
    _items: list[Line | Area | Mark] = field(default_factory=list)
    _legend: list[_Entry] = field(default_factory=list)

    @property
    def _frame(self) -> tuple[float, float, float, float]:
        top = TOP + ROW * len(self.notes)
        right = WIDTH - RIGHT - (SCALE_ROOM if self.colours else 0.0)
        return LEFT, top, right, top + FRAME_HEIGHT

    def _at(self, x: float, y: float) -> Point:
        left, top, right, bottom = self._frame
        return left + self.x.place(x) * (right - left), bottom - self.y.place(y) * (bottom - top)

    def line(
        self, xs: Iterable[float], ys: Iterable[float], *, number: int, width: float = 1.3, name: str | None = None
    ) -> None:
        """Draw a line in the colour of a series; it is interrupted where a value is missing or cannot be drawn."""
        run: list[Point] = []
        for x, y in [*zip(xs, ys, strict=True), (math.nan, math.nan)]:
            if self.x.holds(x) and self.y.holds(y):
                run.append(self._at(x, y))
                continue
            if len(run) == 1:  # a value between two missing ones is a dot
                run.append((run[0][0] + 0.8, run[0][1]))
            if run:
                self._items.append(Line(tuple(run), series_colour(number), width, clipped=True))
            run = []
        if name is not None:
            self._legend.append(_Entry(name, colour=series_colour(number)))

    def points(
        self,
        xs: Sequence[float],
        ys: Sequence[float],
        *,
        bars: Iterable[tuple[float, float]],
        number: int,
        crossed: Iterable[bool],
        name: str | None = None,
    ) -> None:
        """Draw marks with vertical bars where there is an interval, struck through where they break a limit."""
        colour = series_colour(number)
        for x, y, (low, high), struck in zip(xs, ys, bars, crossed, strict=True):
            if not self.y.holds(y):
                continue
            if self.y.holds(low) and self.y.holds(high):
                (across, foot), (_, head) = self._at(x, low), self._at(x, high)
                self._items.append(Line(((across, foot), (across, head)), colour, 1.1, clipped=True))
                for end in (foot, head):
                    self._items.append(Line(((across - 3.5, end), (across + 3.5, end)), colour, 1.1, clipped=True))
            self._items.append(Mark(self._at(x, y), number, crossed=struck, clipped=True))
        if name is not None:
            self._legend.append(_Entry(name, mark=Mark((0.0, 0.0), number), colour=colour))

    def band(
        self,
        xs: Sequence[float],
        lows: Sequence[float],
        highs: Sequence[float],
        *,
        number: int,
        opacity: float = 0.25,
    ) -> None:
        """Shade what lies between two curves in the colour of a series, where both are there."""
        run: list[tuple[Point, Point]] = []
        for x, low, high in [*zip(xs, lows, highs, strict=True), (math.nan, math.nan, math.nan)]:
            if self.x.holds(x) and self.y.holds(low) and self.y.holds(high):
                run.append((self._at(x, low), self._at(x, high)))
                continue
            if len(run) > 1:
                corners = (*(low for low, _ in run), *(high for _, high in reversed(run)))
                self._items.append(Area(corners, series_colour(number), opacity, clipped=True))
            run = []

    def patch(self, name: str, *, number: int) -> None:
        """Name an area of this number's colour in the legend."""
        self._legend.append(_Entry(name, colour=series_colour(number), patch=True))

    def limit_line(self, xs: Iterable[float], ys: Iterable[float], *, number: int, name: str) -> None:
        """Draw a dashed line in the colour of limits, without an area, and name it in the legend."""
        dash = DASHES[number % len(DASHES)]
        there = [(x, y) for x, y in zip(xs, ys, strict=True) if self.x.holds(x) and self.y.holds(y)]
        if there:
            points = tuple(self._at(x, y) for x, y in there)
            self._items.append(Line(points, "limit", 1.6, dash, clipped=True))
            self._legend.append(_Entry(name, colour="limit", dash=dash))

    def area_above(self, xs: Sequence[float], ys: Sequence[float], *, name: str, number: int) -> None:
        """Shade what lies above a limit, draw the limit with the dashes of its number and name it in the legend."""
        dash = DASHES[number % len(DASHES)]
        top = self._frame[1]
        run: list[Point] = []
        for x, y in [*zip(xs, ys, strict=True), (math.nan, math.nan)]:
            if self.x.holds(x) and self.y.holds(y):
                run.append(self._at(x, y))
                continue
            if len(run) > 1:
                corners = ((run[0][0], top), *run, (run[-1][0], top))
                self._items.append(Area(corners, "#888888", 0.18, clipped=True))
                self._items.append(Line(tuple(run), "limit", 1.3, dash, clipped=True))
            run = []
        self._legend.append(_Entry(name, colour="limit", dash=dash, shaded=True))

    def cell(self, x0: float, x1: float, y0: float, y1: float, colour: str) -> None:
        """Fill a rectangle."""
        (left, bottom), (right, top) = self._at(x0, y0), self._at(x1, y1)
        corners = ((left, bottom), (right, bottom), (right, top), (left, top))
        self._items.append(Area(corners, colour, clipped=True))

    def drawing(self) -> Drawing:
        """Return the figure laid out."""
        left, top, right, bottom = self._frame
        rows, columns, room = self._legend_layout()
        height = bottom + FOOT + (ROW * rows + 8.0 if rows else 0.0)
        drawing = Drawing(self.title, WIDTH, height, self._frame)
        drawing.text((left, 24.0), shortened(self.title, room=WIDTH - left - RIGHT, size=15.0), size=15.0)
        for row, note in enumerate(self.notes):
            words = shortened(note, room=WIDTH - left - RIGHT, size=NOTE_SIZE)
            drawing.text((left, 24.0 + ROW * (row + 1)), words, size=NOTE_SIZE, colour="soft")
        self._grid(drawing)
        drawing.items += self._items
        self._axes(drawing)
        drawing.items.append(Text(((left + right) / 2.0, bottom + 40.0), _pieces(self.x.label), anchor="middle"))
        drawing.items.append(Text((19.0, (top + bottom) / 2.0), _pieces(self.y.label), anchor="middle", up=True))
        if self.colours:
            self._colour_scale(drawing)
        for k, entry in enumerate(self._legend):
            at = (left + (k % columns) * room, bottom + FOOT + 14.0 + ROW * (k // columns))
            self._entry(drawing, entry, at, room)
        return drawing

    def _grid(self, drawing: Drawing) -> None:
        left, top, right, bottom = self._frame
        drawing.items += [_upright(self._at(v, self.y.low)[0], top, bottom, "fine", 0.7) for v in self.x.fine()]
        drawing.items += [_level(self._at(self.x.low, v)[1], left, right, "fine", 0.7) for v in self.y.fine()]
        drawing.items += [_upright(self._at(v, self.y.low)[0], top, bottom, "grid", 0.9) for v, _ in self.x.ticks()]
        drawing.items += [_level(self._at(self.x.low, v)[1], left, right, "grid", 0.9) for v, _ in self.y.ticks()]

    def _axes(self, drawing: Drawing) -> None:
        left, top, right, bottom = self._frame
        corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
        drawing.items.append(Line(corners, "ink", 1.0))
        for values, length in ((self.x.fine(), 3.0), ([value for value, _ in self.x.ticks()], 6.0)):
            for value in values:
                across = self._at(value, self.y.low)[0]
                drawing.items.append(_upright(across, bottom, bottom - length, "ink", 0.8))
                drawing.items.append(_upright(across, top, top + length, "ink", 0.8))
        for values, length in ((self.y.fine(), 3.0), ([value for value, _ in self.y.ticks()], 6.0)):
            for value in values:
                down = self._at(self.x.low, value)[1]
                drawing.items.append(_level(down, left, left + length, "ink", 0.8))
                drawing.items.append(_level(down, right, right - length, "ink", 0.8))
        for value, pieces in self.x.ticks():
            drawing.items.append(Text((self._at(value, self.y.low)[0], bottom + 19.0), pieces, anchor="middle"))
        for value, pieces in self.y.ticks():
            drawing.items.append(Text((left - 8.0, self._at(self.x.low, value)[1] + 4.5), pieces, anchor="end"))

    def _colour_scale(self, drawing: Drawing) -> None:
        assert self.colours is not None
        _, top, right, bottom = self._frame
        left, steps = right + 16.0, 64
        axis = Axis("", self.colours.low, self.colours.high, is_log=True)
        for k in range(steps):
            high, low = (bottom - (bottom - top) * place / steps for place in (k + 1, k))
            corners = ((left, low), (left + 15.0, low), (left + 15.0, high), (left, high))
            drawing.items.append(Area(corners, self.colours.colour((k + 0.5) / steps)))
        for value, pieces in axis.ticks():
            down = bottom - axis.place(value) * (bottom - top)
            drawing.items.append(_level(down, left + 15.0, left + 19.0, "ink", 0.8))
            drawing.items.append(Text((left + 22.0, down + 4.0), pieces, size=11.5))
        drawing.text((WIDTH - 6.0, (top + bottom) / 2.0), self.colours.label, size=12.0, anchor="middle", up=True)

    def _legend_layout(self) -> tuple[int, int, float]:
        """Return rows, columns and the room of a column."""
        if not self._legend:
            return 0, 1, WIDTH
        whole = WIDTH - LEFT - RIGHT
        longest = max(44.0 + width_of(entry.label, LEGEND_SIZE) for entry in self._legend)
        columns = max(1, min(len(self._legend), int(whole / longest)))
        return -(-len(self._legend) // columns), columns, whole / columns

    def _entry(self, drawing: Drawing, entry: _Entry, at: Point, room: float) -> None:
        across, down = at
        if entry.shaded:
            high = (
                (across, down - 4.0),
                (across + 26.0, down - 4.0),
                (across + 26.0, down - 10.0),
                (across, down - 10.0),
            )
            drawing.items.append(Area(high, "#888888", 0.3))
        if entry.patch:
            box = ((across, down), (across + 26.0, down), (across + 26.0, down - 9.0), (across, down - 9.0))
            drawing.items.append(Area(box, entry.colour, 0.75))
        else:
            line = ((across, down - 4.0), (across + 26.0, down - 4.0))
            drawing.items.append(Line(line, entry.colour, 1.5, entry.dash))
        if entry.mark is not None:
            drawing.items.append(Mark((across + 13.0, down - 4.0), entry.mark.number))
        words = shortened(entry.label, room=room - 44.0, size=LEGEND_SIZE)
        drawing.text((across + 33.0, down), words, size=LEGEND_SIZE)


def _upright(across: float, one: float, other: float, colour: str, width: float) -> Line:
    return Line(((across, one), (across, other)), colour, width)


def _level(down: float, one: float, other: float, colour: str, width: float) -> Line:
    return Line(((one, down), (other, down)), colour, width)
