"""A drawing as a list of lines, areas, texts and marks, in units of a 96th of an inch, down from the upper left corner.

It knows nothing of axes (`figure.py`) and writes no file: `drawing_svg.py` and `drawing_png.py` do, from the same list,
so that a picture looks the same in either form. Colours are roles or `#rrggbb`.
"""

from dataclasses import dataclass, field

SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
"""Okabe and Ito's palette: told apart with any colour vision, and in grey by their markers."""
ROLES = {
    "ink": "#000000",
    "soft": "#444444",
    "grid": "#cfcfcf",
    "fine": "#ebebeb",
    "paper": "#ffffff",
    "limit": "#333333",
    "broken": "#b00020",
}
"""On paper."""
ON_DARK = {
    "ink": "#e8e8e8",
    "soft": "#b5b5b5",
    "grid": "#4a4a4a",
    "fine": "#303030",
    "paper": "#16181c",
    "limit": "#d0d0d0",
    "broken": "#ff5c6c",
} | dict(zip(SERIES, ("#4aa8e0", "#f58442", "#2fc79b", "#e8a3c9", "#f0b73c", "#8fd0f5", "#b0b0b0"), strict=True))
"""On a dark screen, where a page allows it."""
SHAPES = ("circle", "square", "triangle", "diamond", "ring")
AVERAGE_WIDTH = 0.54
"""Of a letter, in parts of its size: for room, not for setting type."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points; `dash` in the drawing's units, empty for an unbroken one."""

    points: tuple[Point, ...]
    colour: str
    width: float = 1.0
    dash: tuple[float, ...] = ()
    clipped: bool = False


@dataclass(frozen=True, slots=True)
class Area:
    """A filled polygon."""

    points: tuple[Point, ...]
    colour: str
    opacity: float = 1.0
    clipped: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text: pieces with True are raised and smaller; `anchor` start, middle or end; `up` turns it."""

    at: Point
    pieces: tuple[tuple[str, bool], ...]
    size: float = 13.0
    anchor: str = "start"
    colour: str = "ink"
    up: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of a series: colour and shape follow from its number. `crossed`: struck through, it breaks a limit."""

    at: Point
    number: int
    crossed: bool = False
    clipped: bool = False

    @property
    def colour(self) -> str:
        """Return its colour."""
        return series_colour(self.number)

    @property
    def shape(self) -> str:
        """Return its shape, one of `SHAPES`; seven colours and five shapes repeat after 35 series."""
        return SHAPES[self.number % len(SHAPES)]


@dataclass(slots=True)
class Drawing:
    """What is drawn, from the lowest to the topmost; `clip`: left, top, right, bottom of what `clipped` keeps to."""

    title: str
    width: float
    height: float
    clip: tuple[float, float, float, float]
    items: list[Line | Area | Text | Mark] = field(default_factory=list)

    def text(
        self, at: Point, words: str, *, size: float = 13.0, anchor: str = "start", colour: str = "ink", up: bool = False
    ) -> None:
        """Add a line of text."""
        self.items.append(Text(at, ((words, False),), size, anchor, colour, up))


def series_colour(number: int) -> str:
    """Return the colour of a series."""
    return SERIES[number % len(SERIES)]


def width_of(words: str, size: float) -> float:
    """Return about how wide a text is."""
    return AVERAGE_WIDTH * size * len(words)


def shortened(words: str, *, room: float, size: float) -> str:
    """Return a text that fits, its middle left out where it does not."""
    most = max(8, int(room / (AVERAGE_WIDTH * size)))
    if len(words) <= most:
        return words
    front = (most - 3) // 2
    return f"{words[:front]}...{words[len(words) - (most - 3 - front) :]}"
