"""Published words: what `status` says of published values: what came last, what is forecast, what is awaited, what is
held back or was refused.

It decides nothing: the fold does. Keys follow the contract: SI units in the name, absent where there is no value.
"""

from typing import Any

from truechimer.daemon.answering.now_document import utc_text
from truechimer.instants import Instant, LeapTable
from truechimer.instants.mjd import MJD_OF_1970
from truechimer.laboratory import late_turn
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.publications import NAMES, Publications
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.steer import late_steering
from truechimer.watch.publications import RHYTHMS

DAY_NS = 86_400 * 10**9


def document(state: LaboratoryState, outcome: EpochOutcome | None, config: LaboratoryConfig) -> dict[str, Any] | None:
    """Return the block `published` of `status`; None where this laboratory takes none."""
    settings, known = config.published, state.publications
    if settings is None or known is None:
        return None
    body: dict[str, Any] = {
        "laboratory": settings.laboratory,
        "steers": settings.steers,
        "decides": settings.steers and known.is_known and not config.observing,
        "files": len(known.files),
        "paths": _paths(known, config.leaps, state.epoch_ns),
        "held": _held(known, config.leaps),
        "refused": [
            {"path": NAMES[one.path], "sha256": one.sha256, "off_s": one.off_s, "values": len(one.values)}
            for one in known.aside
        ],
    }
    if known.is_known:
        body["time_constant_s"] = known.steering.time_constant_s
        until_ns = late_turn.followed_until_ns(known)
        if until_ns:
            body["followed_until"] = utc_text(Instant.from_tai_ns(until_ns), config.leaps)[:19]
    paper = state.coordination if outcome is None else outcome.coordination
    ahead = late_steering.ahead(known.steering, state.epoch_ns) if any(known.heard) else None
    if ahead is not None:
        forecast = {"u_s": ahead.u_x_s, "u_y": ahead.u_y}
        if paper is not None:
            forecast["x_utc_minus_utck_s"] = ahead.x_s - paper.at(state.epoch_ns)
            forecast["y_utc_minus_utck"] = ahead.y - paper.y_steer
        body["forecast"] = forecast
    return body


def _paths(known: Publications, leaps: LeapTable, epoch_ns: int) -> list[dict[str, Any]]:
    rows = []
    for rhythm, one in zip(RHYTHMS, known.heard, strict=True):
        if one is None:
            continue
        expected_ns = one.arrived_ns + rhythm.usual_ns
        rows.append(
            {
                "path": rhythm.name,
                "mjd": _mjd(one.newest_ns, leaps),
                "x_utc_minus_utck_s": one.x_utc_minus_utck_s,
                "u_s": one.u_s,
                "age_s": (epoch_ns - one.newest_ns) / 1e9,
                "arrived": utc_text(Instant.from_tai_ns(one.arrived_ns), leaps)[:19],
                "expected": utc_text(Instant.from_tai_ns(expected_ns), leaps)[:19],
                "overdue": epoch_ns - one.arrived_ns > rhythm.late_ns,
            }
        )
    return rows


def _held(known: Publications, leaps: LeapTable) -> list[dict[str, Any]]:
    return [
        {
            "path": "scale" if one.path < 0 else NAMES[one.path],
            "from_mjd": _mjd(one.since_ns, leaps),
            "to_mjd": _mjd(one.until_ns, leaps),
            "values": one.n,
            "says": one.says(known.history),
        }
        for one in known.steering.findings
    ]


def _mjd(epoch_ns: int, leaps: LeapTable) -> float:
    offset_ns = leaps.entries[leaps.index_at(epoch_ns * 10**6)].tai_minus_utc_s * 10**9
    return round(MJD_OF_1970 + (epoch_ns - offset_ns) / DAY_NS, 4)
