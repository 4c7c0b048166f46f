"""A drawing as SVG text: vectors and text, so that it is sharp at any size and can be searched.

It decides nothing about what is drawn. No library is needed.
"""

import html
from collections.abc import Callable

from truechimer.cli.drawing import ON_DARK, ROLES, Area, Drawing, Line, Mark, Text

FONT = "font-family='Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif'"


def svg(drawing: Drawing, *, number: int = 0, by_theme: bool = False) -> str:
    """Return the drawing as one `svg` element; `number` keeps its ids apart on a page.

    `by_theme`: colours are names that a page gives a light and a dark value (`theme_style`), else they stand there.
    """

    def colour(role: str) -> str:
        plain = ROLES.get(role, role)
        if by_theme and (role in ROLES or role in ON_DARK):
            return f"var(--{role.lstrip('#')},{plain})"
        return plain

    left, top, right, bottom = drawing.clip
    size = f"viewBox='0 0 {drawing.width:g} {drawing.height:g}' width='{drawing.width:g}' height='{drawing.height:g}'"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' {FONT} font-size='13'>",
        f"<title>{_safe(drawing.title)}</title>",
        (
            f"<clipPath id='frame{number}'><rect x='{left:g}' y='{top:g}' width='{right - left:g}' "
            f"height='{bottom - top:g}'/></clipPath>"
        ),
        f"<rect width='{drawing.width:g}' height='{drawing.height:g}' fill='{colour('paper')}'/>",
    ]
    clip = f" clip-path='url(#frame{number})'"
    for item in drawing.items:
        match item:
            case Line():
                dash = f" stroke-dasharray='{' '.join(f'{part:g}' for part in item.dash)}'" if item.dash else ""
                parts.append(
                    f"<polyline points='{_points(item.points)}' fill='none' stroke='{colour(item.colour)}' "
                    f"stroke-width='{item.width:g}' stroke-linejoin='round'{dash}{clip if item.clipped else ''}/>"
                )
            case Area():
                see = f" fill-opacity='{item.opacity:g}'" if item.opacity < 1.0 else " shape-rendering='crispEdges'"
                parts.append(
                    f"<polygon points='{_points(item.points)}' fill='{colour(item.colour)}'{see}"
                    f"{clip if item.clipped else ''}/>"
                )
            case Mark():
                parts.append(f"<g{clip if item.clipped else ''}>{_mark(item, colour)}</g>")
            case Text():
                parts.append(_text(item, colour(item.colour)))
    parts.append("</svg>")
    return "".join(parts)


def theme_style() -> str:
    """Return the CSS that turns drawings dark where the reader's screen is, and never on paper."""
    dark = ";".join(f"--{name.lstrip('#')}:{value}" for name, value in ON_DARK.items())
    return (
        "figure{margin:1em auto;max-width:60em;overflow-x:auto}"
        "figure svg{width:100%;min-width:38em;height:auto}body{margin:0}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark};color-scheme:dark}}"
        f"body{{background:{ON_DARK['paper']}}}}}"
    )


def stacked(drawings: list[Drawing]) -> str:
    """Return several drawings as one SVG document, one below the other."""
    if len(drawings) == 1:
        return svg(drawings[0]) + "\n"
    parts, down = [], 0.0
    for number, drawing in enumerate(drawings):
        parts.append(svg(drawing, number=number).replace("<svg ", f"<svg y='{down:g}' ", 1))
        down += drawing.height
    width = max(drawing.width for drawing in drawings)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:g} {down:g}' width='{width:g}' "
        f"height='{down:g}'>{''.join(parts)}</svg>\n"
    )


def _safe(words: str) -> str:
    """Return a text for XML, which has no way to hold control characters and halves of surrogate pairs."""
    return html.escape("".join(each if each.isprintable() else "\ufffd" for each in words))


def _points(points: tuple[tuple[float, float], ...]) -> str:
    return " ".join(f"{across:.2f},{down:.2f}" for across, down in points)


def _text(item: Text, colour: str) -> str:
    across, down = item.at
    place = (
        f"transform='translate({across:.2f} {down:.2f}) rotate(-90)'" if item.up else f"x='{across:.2f}' y='{down:.2f}'"
    )
    words = ""
    for piece, raised in item.pieces:
        safe = _safe(piece)
        words += (
            f"<tspan dy='-{0.42 * item.size:.1f}' font-size='{0.75 * item.size:.3g}'>{safe}</tspan>" if raised else safe
        )
    return f"<text {place} font-size='{item.size:g}' text-anchor='{item.anchor}' fill='{colour}'>{words}</text>"


def _mark(item: Mark, colour_of: Callable[[str], str]) -> str:
    colour, paper = colour_of(item.colour), colour_of("paper")
    across, down = item.at
    shapes = {
        "circle": f"<circle cx='{across:.2f}' cy='{down:.2f}' r='3.7' fill='{colour}'/>",
        "square": f"<rect x='{across - 3.3:.2f}' y='{down - 3.3:.2f}' width='6.6' height='6.6' fill='{colour}'/>",
        "triangle": f"<path d='M{across:.2f} {down - 4.6:.2f}l4.3 7.5h-8.6z' fill='{colour}'/>",
        "diamond": f"<path d='M{across:.2f} {down - 4.7:.2f}l4.7 4.7l-4.7 4.7l-4.7 -4.7z' fill='{colour}'/>",
        "ring": (
            f"<circle cx='{across:.2f}' cy='{down:.2f}' r='3.2' fill='{paper}' stroke='{colour}' stroke-width='1.7'/>"
        ),
    }
    cross = ""
    if item.crossed:
        path = f"M{across - 6:.2f} {down - 6:.2f}l12 12m0 -12l-12 12"
        cross = f"<path d='{path}' stroke='{colour_of('broken')}' stroke-width='1.6' fill='none'/>"
    return shapes[item.shape] + cross
