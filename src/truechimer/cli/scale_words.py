"""How the figures of a replayed scale are written for people: seconds, durations, moments, drifts and events.

It computes nothing and prints nothing. Fractions of a second take the unit that fits; a moment is told as MJD on the
TAI axis, as readings files have it, and as UTC, as people live by.
"""

from math import floor, isfinite, log10

from truechimer.formats.readings_csv import mjd_text_of_ns
from truechimer.instants import Instant, builtin_leap_table, to_utc
from truechimer.instants.errors import BeforeUtcRejected
from truechimer.scale import ScaleSeries
from truechimer.scale.departure import Departure
from truechimer.scale.episodes import Episode, What

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"), (1e-12, "ps"))
MINUTE_S, HOUR_S, DAY_S = 60.0, 3_600.0, 86_400.0

_WORDS = {
    What.STEPPED: "stepped",
    What.CHANGED_RATE: "rate moved",
    What.RATE_IN_DOUBT: "doubted",
    What.GLITCH: "off its prediction once",
    What.DISPUTED: "disputed by one of its kind",
    What.CLASS_DIVIDED: "its class is divided",
    What.TOO_ALIKE: "too like the others",
    What.REPLAYED: "repeats earlier readings",
    What.ENTERED: "first reading",
    What.SILENT: "not read",
    What.FROZEN: "same reading again and again",
    What.CUT_OFF: "compared with none of the ensemble",
    What.ENSEMBLE_DIVIDED: "THE ENSEMBLE IS DIVIDED: no majority",
    What.NOTHING_READ: "nothing was read at all",
    What.SCALE_DEPARTS: "the scale departs",
    What.REFERENCE_OFF: "is off its own past",
    What.REFERENCE_ANEW: "keeps off its own past",
}
_AGAIN = {
    What.ENTERED: "votes after {}",
    What.SILENT: "read again after {}",
    What.FROZEN: "read again after {}",
    What.CUT_OFF: "back after {}",
    What.ENSEMBLE_DIVIDED: "for {}",
    What.NOTHING_READ: "for {}",
}


def seconds(value: float, u: float = float("nan")) -> str:
    """Return a signed size in the unit that fits it, with one sigma where there is one: `+19.8 ± 0.7 ns`."""
    if not isfinite(value):
        return "by an unknown amount"
    scale, unit = next(((size, word) for size, word in UNITS if abs(value) >= 0.9995 * size), UNITS[-1])
    digits = 3 - 1 - floor(log10(abs(value) / scale)) if value else 0
    if isfinite(u) and u > 0.0:
        digits = 1 - floor(log10(u / scale))
    digits = min(max(digits, 0), 6)
    more = f" ± {u / scale:.{digits}f}" if isfinite(u) and u > 0.0 else ""
    return f"{value / scale:+.{digits}f}{more} {unit}"


def duration(length_s: float) -> str:
    """Return a length of time in the unit that fits it."""
    for size, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if length_s >= 2.0 * size or (length_s >= size and length_s % size == 0.0):
            return f"{length_s / size:.3g} {unit}"
    return f"{length_s:.3g} s"


def mjd(epoch_tai_ns: int) -> str:
    """Return a moment as MJD on the TAI axis, to a second or better."""
    return mjd_text_of_ns(epoch_tai_ns, 5)


def utc(epoch_tai_ns: int) -> str:
    """Return a moment as UTC to the second; a dash before 1972, where there was none of today's kind."""
    try:
        label = to_utc(Instant.from_tai_ns(epoch_tai_ns), builtin_leap_table(), beyond_expiry="flag")
    except BeforeUtcRejected:
        return "-"
    return label.isoformat(digits=0).replace("T", " ").removesuffix("Z")


def says(series: ScaleSeries, episode: Episode) -> str:
    """Return what an event was, by how much, and when it was over."""
    at = series.epoch_tai_ns
    words = _WORDS[episode.what]
    if episode.reference:
        return _of_reference(series, episode)
    if episode.what is What.STEPPED:
        words += f" {seconds(episode.size_s, episode.u_size)}"
    elif episode.what in {What.CHANGED_RATE, What.RATE_IN_DOUBT} and isfinite(episode.size_y):
        words += f" {episode.size_y:+.1e}"
        if isfinite(episode.within_s) and episode.within_s > 0.0:
            words += f" within {duration(episode.within_s)}"
    if episode.until is None:
        over = "to the end"
        if episode.suspended:
            over = "no vote since"
    elif episode.until == episode.first:
        return words
    else:
        lasted = duration(float(at[episode.until] - at[episode.first]) / 1e9)
        over = f"for {lasted}, then:" if episode.leads_on else _AGAIN.get(episode.what, "back after {}").format(lasted)
    return f"{words}; {over}"


def first_of(said: str, count: int) -> str:
    """Return an event's words where it stands for `count` of its kind."""
    return f"{said.partition(';')[0]}; {count} in all"


SHOWN_SUSPECTS = 3


def _of_reference(series: ScaleSeries, episode: Episode) -> str:
    """Return what a reference says of the scale."""
    name, size = episode.reference, seconds(episode.size_s, episode.u_size)
    if episode.what is What.REFERENCE_OFF:
        return f"a value of {name} {_WORDS[episode.what]} by {size}: put aside"
    if episode.what is What.REFERENCE_ANEW:
        return f"{name} {_WORDS[episode.what]} by {size}: compared anew from here"
    found = episode.departure
    assert found is not None
    words = f"departs from {name} by {size} in {duration(found.over_s)} ({expected(found)})"
    if found.suspect >= 0:
        words += f"; suspect: {suspects(series, found)}"
    if episode.until is not None and not episode.leads_on:
        lasted = duration(float(series.epoch_tai_ns[episode.until] - series.epoch_tai_ns[episode.first]) / 1e9)
        words += f"; over after {lasted}"
    return words


def expected(found: Departure) -> str:
    """Return one sigma of what the clocks let expect over the same time."""
    return f"expected: {seconds(found.allowed_s).removeprefix('+')}"


def suspects(series: ScaleSeries, found: Departure) -> str:
    """Return the clocks on which a ramp is likeliest: `maser2 71 %, maser1 12 % (13 to 1)`; the last figure is the
    likelihood of a ramp on the first against none.
    """
    ranking = found.ranking()[:SHOWN_SUSPECTS]
    shares = ", ".join(f"{series.clocks[i].name} {100.0 * share:.0f} %" for i, share in ranking)
    return f"{shares} ({found.odds[ranking[0][0]]:.0f} to 1)" if ranking else "none"
