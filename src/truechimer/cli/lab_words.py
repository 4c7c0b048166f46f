"""How verbs that ask a running laboratory write seconds, ages and tables, and the option that names the laboratory.

It asks nothing and judges nothing. The law of the file: a bound that is shown is rounded up, never down, and text that
came from elsewhere cannot move a terminal's cursor.
"""

import math
from collections.abc import Sequence
from typing import Any

from truechimer.cli.arguments import VerbParser

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"), (1e-12, "ps"))
COVERAGE_FACTOR = 6.0
"""Of `house.md` section 5: what one sigma is multiplied with wherever a limit is shown."""

SIMULATED_BANNER = "SIMULATED: this laboratory states simulated UTC; nobody may take it for the time"


def add_lab_option(parser: VerbParser) -> None:
    """Add --lab DIR and --json, which all verbs of a running laboratory have."""
    parser.add_argument(
        "--lab",
        metavar="DIR",
        help="the laboratory's directory (else $TRUECHIMER_LAB, ./run/control.sock, the one started last)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


def seconds(value_s: float | None, *, signed: bool = False) -> str:
    """Return a time in the unit that suits it, three digits, rounded to the nearest; `-` where there is none."""
    if value_s is None or not math.isfinite(value_s):
        return "-"
    sign = "-" if value_s < 0 else "+" if signed else ""
    return f"{sign}{_scaled(abs(value_s), round)}"


def bound(value_s: float | None) -> str:
    """Return a limit in the unit that suits it, three digits, rounded up: what is shown is never too small."""
    if value_s is None or not math.isfinite(value_s):
        return "-"
    return _scaled(value_s, math.ceil)


def age(value_s: float | None) -> str:
    """Return an age as chrony does: whole seconds, then minutes (m), hours (h), days (d), years (y)."""
    if value_s is None or not math.isfinite(value_s):
        return "-"
    left = max(0, math.floor(value_s))
    for size, letter, most in (
        (1, "", 1024),
        (60, "m", 60 * 1024),
        (3600, "h", 48 * 3600),
        (86_400, "d", 1000 * 86_400),
    ):
        if left < most:
            return f"{left // size}{letter}"
    return f"{left // (365 * 86_400)}y"


def without(document: dict[str, Any]) -> str:
    """Return what is silent while the bound lasts for `holdover_remaining_s`, in words."""
    silent = document.get("holdover_without")
    return f"without {plain(silent)}" if isinstance(silent, str) else "if nothing more is heard"


def long_span(span_s: float) -> str:
    """Return a time span in the unit that suits it, rounded down."""
    for unit, seconds_each in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if span_s >= 2.0 * seconds_each:
            return f"{math.floor(10.0 * span_s / seconds_each) / 10.0:g} {unit}"
    return f"{math.floor(max(0.0, span_s))} s"


def weight(share: float | None) -> str:
    """Return a weight to a thousandth; a clock that weighs less than that still weighs."""
    if share is None:
        return "-"
    return "<0.001" if 0.0 < share < 0.0005 else f"{share:.3f}"


def margin_s(source: dict[str, Any]) -> float | None:
    """Return what a source cannot exclude: six sigma and its limit, added."""
    u_s, limit_s = number(source, "u_s"), number(source, "limit_s")
    return None if u_s is None or limit_s is None else COVERAGE_FACTOR * u_s + limit_s


def plain(text: object, most: int = 200) -> str:
    """Return text that came from elsewhere on one line, with nothing in it that a terminal obeys."""
    words = "".join(letter if letter.isprintable() else "?" for letter in str(text))
    return words if len(words) <= most else f"{words[: most - 3]}..."


def number(document: dict[str, Any], key: str) -> float | None:
    """Return a number of a document, or None where it is absent or no number."""
    value = document.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def rows_of(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a list of rows of a document; what is no row is left out."""
    value = document.get(key)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> list[str]:
    """Return lines with columns under each other: those in `left` flush left, the others right."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (header, *rows)
    ]


def is_simulated(document: dict[str, Any]) -> bool:
    """Return True unless the laboratory says that it stands against UTC itself."""
    return document.get("against") != "utc"


def _scaled(value_s: float, rounding: Any) -> str:
    """Return a value of at least 0 s with its unit; `rounding` takes it to a whole number of last digits."""
    if value_s == 0.0:
        return "0 s"
    index = next((i for i, (size, _) in enumerate(UNITS) if value_s >= size), len(UNITS) - 1)
    while True:
        size, unit = UNITS[index]
        scaled = value_s / size
        decimals = 0 if scaled >= 100 or (index == 0 and scaled >= 1000) else 1 if scaled >= 10 else 2
        # The division may have added one part in 1e16, for which 3 ns must not become 3.01 ns.
        digits = rounding(scaled * 10**decimals * (1.0 - 1e-15))
        # A rounding that reaches the next unit is said in it: 999.9996 ms is 1.00 s.
        if digits >= 1000 * 10**decimals and index > 0:
            value_s, index = UNITS[index - 1][0], index - 1
            continue
        return f"{digits / 10**decimals:.{decimals}f} {unit}"
