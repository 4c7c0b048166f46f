"""A drawing as a PNG, 300 dots an inch, with Pillow (extra `plot`): the same list of items as the SVG.

It decides nothing about what is drawn. Each drawing is made at twice its size and averaged, which smooths edges.
"""

import io
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from truechimer.cli.drawing import ROLES, Area, Drawing, Line, Mark, Point, Text
from truechimer.errors import Rejected

DOTS_PER_UNIT = 3.125
"""300 dots an inch, of 96 units."""
FINER = 2
FONTS = ("LiberationSans-Regular.ttf", "Arial.ttf", "DejaVuSans.ttf", "NotoSans-Regular.ttf", "FreeSans.ttf")
PLAIN = str.maketrans({"τ": "tau", "σ": "sigma", "−": "-", "×": "x", "µ": "u", "≤": "<="})
"""What Pillow's own font lacks."""
MOST_DOTS = 120_000_000


class PngRejected(Rejected):
    """A PNG that cannot be made here."""


def png(drawings: list[Drawing]) -> bytes:
    """Return the drawings, one below the other, as the bytes of a PNG."""
    try:
        from PIL import Image
    except ImportError:
        raise PngRejected(
            "a PNG needs Pillow, which is not installed: run ./truechimer of a checkout, which fetches it, or install "
            "truechimer[plot]; .svg and .html need nothing"
        ) from None
    if not drawings:
        return b""
    if not drawings:
        return b""
    width = round(max(drawing.width for drawing in drawings) * DOTS_PER_UNIT)
    height = round(sum(drawing.height for drawing in drawings) * DOTS_PER_UNIT)
    if width * height > MOST_DOTS:
        raise PngRejected(
            f"{len(drawings)} pictures make a PNG of {width} x {height} dots; show fewer, or write an .svg"
        )
    sheet = Image.new("RGB", (width, height), ROLES["paper"])
    down = 0
    for drawing in drawings:
        sheet.paste(_Painter(drawing).painted(), (0, down))
        down += round(drawing.height * DOTS_PER_UNIT)
    held = io.BytesIO()
    sheet.save(held, format="PNG", dpi=(300, 300))
    return held.getvalue()


class _Painter:
    """One drawing on its way to dots."""

    def __init__(self, drawing: Drawing) -> None:
        from PIL import Image, ImageDraw

        self._drawing = drawing
        self._scale = DOTS_PER_UNIT * FINER
        size = (round(drawing.width * self._scale), round(drawing.height * self._scale))
        self._image = Image.new("RGB", size, ROLES["paper"])
        self._pen = ImageDraw.Draw(self._image)
        self._fonts: dict[float, tuple[Any, bool]] = {}

    def painted(self) -> Any:
        """Return the image at its final size."""
        from PIL import Image

        items = self._drawing.items
        k = 0
        while k < len(items):
            clipped = getattr(items[k], "clipped", False)
            stop = k + 1
            while stop < len(items) and getattr(items[stop], "clipped", False) == clipped:
                stop += 1
            if clipped:
                self._within_frame(items[k:stop])
            else:
                self._paint(items[k:stop])
            k = stop
        size = (round(self._drawing.width * DOTS_PER_UNIT), round(self._drawing.height * DOTS_PER_UNIT))
        return self._image.resize(size, Image.Resampling.BOX)

    def _within_frame(self, items: list[Any]) -> None:
        """Paint on a copy and take over the frame's inside alone."""
        from PIL import ImageDraw

        whole, self._image = self._image, self._image.copy()
        self._pen = ImageDraw.Draw(self._image)
        self._paint(items)
        left, top, right, bottom = (round(value * self._scale) for value in self._drawing.clip)
        whole.paste(self._image.crop((left, top, right, bottom)), (left, top))
        self._image, self._pen = whole, ImageDraw.Draw(whole)

    def _paint(self, items: list[Any]) -> None:
        for item in items:
            match item:
                case Line():
                    self._line(item)
                case Area():
                    self._area(item)
                case Mark():
                    self._mark(item)
                case Text():
                    self._text(item)

    def _dots(self, points: tuple[Point, ...]) -> list[Point]:
        return [(across * self._scale, down * self._scale) for across, down in points]

    def _line(self, item: Line) -> None:
        width = max(1, round(item.width * self._scale))
        colour = ROLES.get(item.colour, item.colour)
        if not item.dash:
            self._pen.line(self._dots(item.points), fill=colour, width=width, joint="curve")
            return
        for piece in _dashes(item.points, item.dash):
            self._pen.line(self._dots(piece), fill=colour, width=width)

    def _area(self, item: Area) -> None:
        from PIL import Image, ImageDraw

        colour = ROLES.get(item.colour, item.colour)
        if item.opacity >= 1.0:
            self._pen.polygon(self._dots(item.points), fill=colour)
            return
        mask = Image.new("L", self._image.size, 0)
        ImageDraw.Draw(mask).polygon(self._dots(item.points), fill=round(255 * item.opacity))
        self._image.paste(Image.new("RGB", self._image.size, colour), (0, 0), mask)

    def _mark(self, item: Mark) -> None:
        (across, down), s = item.at, self._scale
        colour = item.colour

        def box(half: float) -> tuple[float, float, float, float]:
            return ((across - half) * s, (down - half) * s, (across + half) * s, (down + half) * s)

        match item.shape:
            case "circle":
                self._pen.ellipse(box(3.7), fill=colour)
            case "square":
                self._pen.rectangle(box(3.3), fill=colour)
            case "triangle":
                corners = ((across, down - 4.6), (across + 4.3, down + 2.9), (across - 4.3, down + 2.9))
                self._pen.polygon(self._dots(corners), fill=colour)
            case "diamond":
                corners4 = ((across, down - 4.7), (across + 4.7, down), (across, down + 4.7), (across - 4.7, down))
                self._pen.polygon(self._dots(corners4), fill=colour)
            case _:
                self._pen.ellipse(box(4.05), fill=colour)
                self._pen.ellipse(box(2.35), fill=ROLES["paper"])
        if item.crossed:
            for end in (6.0, -6.0):
                stroke = self._dots(((across - 6.0, down - end), (across + 6.0, down + end)))
                self._pen.line(stroke, fill=ROLES["broken"], width=round(1.6 * s))

    def _font(self, size: float) -> tuple[Any, bool]:
        """Return a font and whether it has the letters that `PLAIN` replaces."""
        if size not in self._fonts:
            self._fonts[size] = _font(size * self._scale)
        return self._fonts[size]

    def _text(self, item: Text) -> None:
        from PIL import Image, ImageDraw

        set_up = []
        for words, raised in item.pieces:
            font, whole = self._font(item.size * (0.75 if raised else 1.0))
            set_up.append((words if whole else words.translate(PLAIN), font, raised))
        width = sum(font.getlength(words) for words, font, _ in set_up)
        back = {"start": 0.0, "middle": 0.5, "end": 1.0}[item.anchor] * width
        colour = ROLES.get(item.colour, item.colour)
        across, down = item.at[0] * self._scale, item.at[1] * self._scale
        if not item.up:
            at = across - back
            for words, font, raised in set_up:
                lift = 0.42 * item.size * self._scale if raised else 0.0
                self._pen.text((at, down - lift), words, font=font, fill=colour, anchor="ls")
                at += font.getlength(words)
            return
        room = round(2.0 * item.size * self._scale)
        strip = Image.new("L", (math.ceil(width) + 8, room), 0)
        pen, at = ImageDraw.Draw(strip), 4.0
        for words, font, raised in set_up:
            lift = 0.42 * item.size * self._scale if raised else 0.0
            pen.text((at, 0.7 * room - lift), words, font=font, fill=255, anchor="ls")
            at += font.getlength(words)
        turned = strip.transpose(Image.Transpose.ROTATE_90)
        place = (round(across - 0.7 * room), round(down + back - width - 4))
        self._image.paste(Image.new("RGB", turned.size, colour), place, turned)


def _font(size: float) -> tuple[Any, bool]:
    from PIL import ImageFont

    for name in FONTS:
        try:
            return ImageFont.truetype(name, size), True
        except OSError:
            continue
    return ImageFont.load_default(size), False


def _dashes(points: tuple[Point, ...], dash: tuple[float, ...]) -> Iterator[tuple[Point, Point]]:
    """Cut a line into dashes."""
    place, left = 0, dash[0]
    for (x0, y0), (x1, y1) in pairwise(points):
        length, done = math.hypot(x1 - x0, y1 - y0), 0.0
        while length > 0.0 and done < length:
            step = min(left, length - done)
            if place % 2 == 0:
                a, b = done / length, (done + step) / length
                yield (x0 + a * (x1 - x0), y0 + a * (y1 - y0)), (x0 + b * (x1 - x0), y0 + b * (y1 - y0))
            done, left = done + step, left - step
            if left <= 1e-9:
                place += 1
                left = dash[place % len(dash)]
