"""The `now` document: the interval that a page states at a moment of the raw counter, in the keys of the contract.

It decides nothing and reads no clock. It must stay light: a laboratory answers `now` from it before the rest of the
program has been read into memory (`early`).
"""

import math
from typing import Any

from truechimer.instants import Instant, LeapTable, Span, to_utc
from truechimer.serve.clock_page import ClockPage, PageUnreadable, ServiceState
from truechimer.serve.served_time import ServedTime, serve_at

NOW_LIMIT_S = 15.0
"""`now` states any bound below this as synchronised: whoever asks judges it (NTP's own limit is 16 s)."""


def time_document(
    page: ClockPage | PageUnreadable,
    *,
    raw_ns: int,
    leaps: LeapTable,
    scale: str,
    missing: tuple[str, ...],
    state: ServiceState,
    observing: bool = False,
) -> dict[str, Any]:
    """Return the `now` document at a raw value: the interval that holds true time, or why there is none.

    `observing`: what a laboratory states that steers nothing is a statement too; it says that it observes.
    """
    simulated = scale.startswith("SIM(")
    body: dict[str, Any] = {
        "state": state.value,
        "scale": scale,
        "against": "simulated-utc" if simulated else "utc",
        "missing": list(missing),
    }
    if observing:
        body["observing"] = True
    served = serve_at(page, raw_ns, bound_limit_s=NOW_LIMIT_S, freerun_allowed=observing)
    body["synchronised"] = isinstance(served, ServedTime)
    instant, bound_s = served.instant, served.bound_s
    if isinstance(served, ServedTime):
        body |= {"u_s": served.u_s, "coverage": served.coverage}
    else:
        body["why"] = served.reason.value
    if instant is None or not math.isfinite(bound_s):
        return body
    half = Span.from_seconds(bound_s)
    earliest, latest = instant - half, instant + half
    body |= {
        "tai_ns": instant.tai_ns_floor,
        "tai_fs": str(instant.tai_fs),
        "utc": utc_text(instant, leaps),
        "earliest": utc_text(earliest, leaps),
        "latest": utc_text(latest, leaps),
        "earliest_tai_fs": str(earliest.tai_fs),
        "latest_tai_fs": str(latest.tai_fs),
        "bound_s": bound_s,
    }
    return body


def utc_text(instant: Instant, leaps: LeapTable) -> str:
    """Return an instant as UTC text with picoseconds; beyond the leap table's expiry it is still shown (the state says
    so).
    """
    return to_utc(instant, leaps, beyond_expiry="flag").isoformat(digits=12)


def scale_name(name: str, *, simulated: bool, observe: bool) -> str:
    """Return the scale's name in the field's words: UTC(k) is steered, TA(k) runs free; a simulated one says so."""
    return f"{'SIM' if simulated else 'TA' if observe else 'UTC'}({name})"


def held_over(page: ClockPage) -> ServiceState:
    """Return the state of a laboratory that has only the page of the run before: never better than holdover."""
    return ServiceState.HOLDOVER if page.state is ServiceState.STEERED else page.state
