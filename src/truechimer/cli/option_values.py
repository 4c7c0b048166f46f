"""What stands behind an option, read from its word: numbers, days, dates and durations; a word that is none of them is
told in one line.

It defines no option, and imports little: `wait` and `ask` read numbers too. For `argparse`: each reader raises
`ArgumentTypeError`.
"""

import argparse
import math
import re
from collections.abc import Callable

MJD_LEAST, MJD_MOST = 40_000, 99_999
MOST_SHOWN = 60
"""Characters of a wrong word that are shown."""
_UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION = re.compile(r"((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)(s|min|h|d|)", re.ASCII)


def number(
    says: str, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> Callable[[str], float]:
    """Return a reader of finite numbers `above` one limit, not below `least`, not over `most`.

    `says` ends the sentence about a word that is none: "is no limit: give seconds, 1e-12 to 1".
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and above < value and least <= value <= most):
            raise argparse.ArgumentTypeError(f"{text[:MOST_SHOWN]!r} {says}")
        return value

    return read


def count(says: str, *, most: int, least: int = 1) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to `most`; `says` as in `number`."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 18 and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text[:MOST_SHOWN]!r} {says}")
        return int(text)

    return read


seconds_above_0 = number("is not a number of seconds above 0", above=0.0)
mjd = count("is no MJD: give five digits", least=MJD_LEAST, most=MJD_MOST)


def date(text: str) -> int:
    """Return the MJD of a date YYYY-MM-DD."""
    from truechimer.instants import NotADateRejected
    from truechimer.instants.mjd import from_calendar

    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
            return from_calendar(*map(int, text.split("-")))
    except NotADateRejected:
        pass
    raise argparse.ArgumentTypeError(f"{text[:MOST_SHOWN]!r} is no date; give YYYY-MM-DD")


def durations(text: str, *, says: str, most_s: float = math.inf) -> list[float]:
    """Return the seconds of a list like `3600,12h,1d`, each above 0 and at most `most_s`; `says` as in `number`."""
    found = []
    for word in text.split(","):
        match = _DURATION.fullmatch(word.strip()) if len(word) <= MOST_SHOWN else None
        seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
        if not (0.0 < seconds <= most_s and math.isfinite(seconds)):
            raise argparse.ArgumentTypeError(f"{word[:MOST_SHOWN]!r} {says}")
        found.append(seconds)
    return found
