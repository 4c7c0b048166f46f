"""What `truechimer scale replay` tells of a scale at its end: a table of the clocks, the events, one JSON document.

It computes no scale: `truechimer.scale` has, and `scale.own_stability` and `scale.episodes` say how stable it is and
what happened. Units stand in the keys of the document and in the heads of the table.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from truechimer.cli import scale_words
from truechimer.compare.stretch import FROZEN, NO_PATH, NO_READING
from truechimer.formats.finding import Finding
from truechimer.scale import Membership, ScaleSeries
from truechimer.scale.departure import Departure
from truechimer.scale.episodes import Episode, What, episodes
from truechimer.scale.own_stability import OwnStability, best_fixed, own_stability, spectral_bound, weighed
from truechimer.scale.replay import STATES
from truechimer.stability import StabilityCurve

SIGMAS = {"1 h": 3_600.0, "1 d": 86_400.0, "10 d": 864_000.0}
"""Averaging times of the table."""
LISTED_REJECTIONS = 1_000
LISTED_EVENTS = 10_000
SHOWN_EVENTS = 40
NAME_ROOM = 14
LEARNING_CLOCKS = 3
NS = 1e9
BEST_FIXED, SPECTRAL = "B(τ) of the learned noise", "spectral bound of the learned noise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A replay with everything that is told of it.

    `file`: what was read; `n_rows` readings used, `rejected` those that were not; `own`: stability of the scale as
    estimated from within; `truth`: name of the clock through which the scale was held against `--truth`, and its curve.
    """

    file: str
    series: ScaleSeries
    n_rows: int
    rejected: Sequence[Finding]
    out: str | None
    own: OwnStability
    events: tuple[Episode, ...]
    truth: tuple[str, StabilityCurve] | None = None


def tell(
    file: str,
    series: ScaleSeries,
    *,
    n_rows: int,
    rejected: Sequence[Finding],
    out: str | None,
    truth: tuple[str, StabilityCurve] | None,
) -> Told:
    """Return a replay with its events and the scale's own stability."""
    return Told(
        file=file,
        series=series,
        n_rows=n_rows,
        rejected=rejected,
        out=out,
        own=own_stability(series),
        events=episodes(series),
        truth=truth,
    )


def at_sigmas(tau_s: Any, value: Any) -> dict[str, float]:
    """Return a curve at the averaging times of the table, between its points on log axes; absent beyond its ends."""
    found = {}
    there = np.flatnonzero(np.isfinite(value) & (np.asarray(value) > 0.0))
    if len(there) == 0:
        return {}
    taus, values = np.log(np.asarray(tau_s)[there]), np.log(np.asarray(value)[there])
    for word, tau in SIGMAS.items():
        if taus[0] - 1e-6 <= np.log(tau) <= taus[-1] + 1e-6:
            found[word] = float(np.exp(np.interp(np.log(tau), taus, values)))
    return found


# ---- the document ---------------------------------------------------------------------------------------------------


def document(told: Told) -> dict[str, Any]:
    """Return the JSON document: SI base units, with the unit in the key; what is unknown is absent."""
    series = told.series
    listed = [_finding(finding) for finding in told.rejected[:LISTED_REJECTIONS]]
    whole: dict[str, Any] = {
        "file": told.file,
        "algorithm": series.algorithm,
        "epochs": len(series.epoch_tai_ns),
        "readings": told.n_rows,
        "first_epoch_tai_ns": int(series.epoch_tai_ns[0]),
        "last_epoch_tai_ns": int(series.epoch_tai_ns[-1]),
        "divided_epochs": int(series.divided.sum()),
        "clocks": [clock_document(series, i) for i in range(len(series.clocks))],
        "scale": _scale_document(told),
        "event_count": len(told.events),
        "events": [_event_document(series, each) for each in told.events[:LISTED_EVENTS]],
        "rejected_count": len(told.rejected),
        "rejected": listed,
        "noticed": [_finding(finding) for finding in series.noticed],
    }
    if told.out is not None:
        whole["out"] = told.out
    return whole


def _finding(finding: Finding) -> dict[str, Any]:
    where = {} if finding.line is None else {"line": finding.line}
    return where | {"rule": finding.rule, "says": finding.says}


def clock_document(series: ScaleSeries, i: int) -> dict[str, Any]:
    """Return what is known of one clock at the end of the record."""
    last = len(series.epoch_tai_ns) - 1
    x, y = float(series.x_clock_minus_scale_s[last, i]), float(series.y_clock_minus_scale[i])
    weight = float(series.weight[last, i])
    was_in = series.state[:, i] == Membership.IN
    one: dict[str, Any] = {
        "name": series.clocks[i].name,
        "kind": series.clocks[i].kind.value,
        "weight": weight,
        "state": STATES[Membership(int(series.state[last, i]))],
        "reason": "" if weight > 0.0 else series.reason(last, i),
        "epochs": int(series.epochs_read[i]),
        "suspensions": int((was_in[:-1] & ~was_in[1:]).sum()),
    }
    if np.isfinite(x):
        one["x_clock_minus_scale_s"] = x
    if np.isfinite(y):
        one["y_clock_minus_scale"] = y
    if i < len(series.detection_floor_s) and np.isfinite(series.detection_floor_s[i]):
        one["detection_floor_s"] = float(series.detection_floor_s[i])
    if series.learned is not None:
        learned = series.learned
        one["weight_month"] = float(learned.weight_month[i])
        one["adev"] = {
            "tau_s": list(SIGMAS.values()),
            "value": [learned.allan_deviation(i, tau_s) for tau_s in SIGMAS.values()],
        }
        one["drift_per_day"] = float(learned.drift[i]) * scale_words.DAY_S
        one["u_drift_per_day"] = float(learned.u_drift[i]) * scale_words.DAY_S
        one["drift_from"] = drift_from(series, i)
    return one


def drift_from(series: ScaleSeries, i: int) -> str:
    """Return whether a drift was `learned`, `declared` in the clock file, or is `taken as zero`."""
    assert series.learned is not None
    if float(series.learned.u_drift[i]) > 0.0:
        return "learned"
    return "taken as zero" if series.clocks[i].noise.drift_per_day is None else "declared"


def _scale_document(told: Told) -> dict[str, Any]:
    own = told.own
    found: dict[str, Any] = {"adev_estimated": {"tau_s": own.tau_s.tolist(), "value": own.scale.tolist()}}
    keys = {BEST_FIXED: "best_fixed_weighting", SPECTRAL: "spectral_bound"}
    for name, values in learned_curves(told).items():
        found[keys[name]] = {"tau_s": own.tau_s.tolist(), "value": values.tolist()}
    if told.truth is not None:
        through, curve = told.truth
        found["adev_against_truth"] = {"through": through, **curve.as_json()}
    return found


def learned_curves(told: Told) -> dict[str, Any]:
    """Return what the clocks' learned noise lets the best fixed weighting reach at `own.tau_s`, and what bounds it."""
    if told.series.learned is None or len(told.own.tau_s) == 0:
        return {}
    noise, tau_s = weighed(told.series), told.own.tau_s
    return {
        BEST_FIXED: best_fixed(noise, tau_s),
        SPECTRAL: spectral_bound(noise, tau_s, interval_s=float(tau_s[0])),
    }


def _event_document(series: ScaleSeries, each: Episode) -> dict[str, Any]:
    at = series.epoch_tai_ns
    one: dict[str, Any] = {"what": each.what.value}
    if each.clock is not None:
        one["clock"] = series.clocks[each.clock].name
    one |= {"from_tai_ns": int(at[each.first]), "from_utc": scale_words.utc(int(at[each.first])) + "Z"}
    if each.until is not None:
        one["until_tai_ns"] = int(at[each.until])
    for key, value in (("size_s", each.size_s), ("size_y", each.size_y), ("within_s", each.within_s)):
        if np.isfinite(value):
            one[key] = value
    if np.isfinite(each.u_size):
        one["u_size_s"] = each.u_size
    if each.reference:
        one["reference"] = each.reference
    if each.departure is not None:
        one |= _departure_document(series, each.departure)
    if each.clock is not None:
        one["suspended"] = each.suspended
        if each.leads_on:
            one["leads_on"] = True
    return one


def _departure_document(series: ScaleSeries, found: Departure) -> dict[str, Any]:
    """Return what a reference says of the scale: its sigmas, and the likelihood of a ramp of each clock against none,
    likeliest first.
    """
    names = [clock.name for clock in series.clocks]
    ranked = [{"clock": names[i], "share": share, "odds_against_none": found.odds[i]} for i, share in found.ranking()]
    one: dict[str, Any] = {
        "value_tai_ns": found.epoch_ns,
        "expected_s": found.allowed_s,
        "predicted_from_s": found.base_s,
        "likeliest": ranked,
    }
    return one if found.suspect < 0 else one | {"suspect": names[found.suspect]}


# ---- the table ------------------------------------------------------------------------------------------------------

HEADS = (
    f"{'':<{NAME_ROOM}} {'':<10} {'weight / %':>13} {'own sigma_y, no drift':>23} {'drift per day':>14} {'unseen':>7}",
    f"{'clock':<{NAME_ROOM}} {'kind':<10} {'now':>6} {'month':>6} {'1 h':>7} {'1 d':>7} {'10 d':>7} "  # noqa: ISC004
    f"{'and one sigma':>14} {'/ ns':>7} {'state':<8} out",
)


def table(told: Told) -> str:
    """Return the summary line, a line a clock, the scale's own lines, and the events; at most 100 columns."""
    series = told.series
    whole_s = float(series.epoch_tai_ns[-1] - series.epoch_tai_ns[0]) / 1e9
    counted = f", {len(told.rejected)} rows rejected" if told.rejected else ""
    told_of = f"{told.n_rows} readings, {len(series.epoch_tai_ns)} epochs over {scale_words.duration(whole_s)}, "
    lines = [
        told_of + f"{_clocks_word(series)}{counted}; algorithm {series.algorithm}",
        f"from {_moment(series, 0)} to {_moment(series, len(series.epoch_tai_ns) - 1)}",
        "",
        *HEADS,
    ]
    lines += [_clock_line(clock_document(series, i), series, i) for i in range(len(series.clocks))]
    lines += _scale_lines(told)
    note = not_learned(series)
    if note:
        lines.append(f"({note})")
    lines += ["", *_event_lines(told)]
    if told.out is not None:
        lines.append(f"written: {told.out}")
    return "\n".join(line.rstrip() for line in lines)


def _clocks_word(series: ScaleSeries) -> str:
    return "1 clock" if len(series.clocks) == 1 else f"{len(series.clocks)} clocks"


def _moment(series: ScaleSeries, epoch: int) -> str:
    at = int(series.epoch_tai_ns[epoch])
    return f"MJD {scale_words.mjd(at)} ({scale_words.utc(at)} UTC)"


def shortened(name: str, room: int = NAME_ROOM) -> str:
    """Return a name that fits, its middle left out where it does not."""
    if len(name) <= room:
        return name
    front = (room - 2) // 2
    return f"{name[:front]}..{name[len(name) - (room - 2 - front) :]}"


def _now(series: ScaleSeries, i: int, state: str) -> str:
    """Return the state's word, or why the clock was not heard at the last epoch."""
    heard = {NO_READING: "unread", FROZEN: "frozen", NO_PATH: "cut off"}
    return heard.get(int(series.unused[-1, i]), state)


def not_learned(series: ScaleSeries) -> str:
    """Say where noise is what clock file or kinds let expect, and not learned; nothing where it is."""
    if series.learned is None:
        return ""
    voters = int((series.weight > 0.0).any(axis=0).sum())
    if voters < LEARNING_CLOCKS:
        return "fewer than three clocks teach no noise: sigmas are what the clock file or the kinds let expect"
    whole_s = float(series.epoch_tai_ns[-1] - series.epoch_tai_ns[0]) / 1e9
    beyond = [word for word, tau_s in SIGMAS.items() if 2.0 * tau_s > whole_s]
    if beyond:
        return f"the record is too short to learn {', '.join(beyond)}: there sigmas rest on clock file or kind"
    return ""


def _clock_line(one: dict[str, Any], series: ScaleSeries, i: int) -> str:
    month = f"{100.0 * one['weight_month']:6.2f}" if "weight_month" in one else f"{'-':>6}"
    sigmas = [f"{value:.1e}" for value in one["adev"]["value"]] if "adev" in one else ["-"] * len(SIGMAS)
    drift = "-"
    if "drift_from" in one:
        drift = {
            "learned": f"{one['drift_per_day']:+.1e} {one['u_drift_per_day']:.0e}",
            "declared": f"{one['drift_per_day']:+.1e} given",
            "taken as zero": "taken as 0",
        }[drift_from(series, i)]
    unseen = f"{one['detection_floor_s'] * NS:.3g}" if "detection_floor_s" in one else "-"
    known = f"{shortened(one['name']):<{NAME_ROOM}} {one['kind']:<10} {100.0 * one['weight']:6.2f} {month}"
    learned = f"{sigmas[0]:>7} {sigmas[1]:>7} {sigmas[2]:>7} {drift:>14} {unseen:>7}"
    return f"{known} {learned} {_now(series, i, one['state']):<8} {one['suspensions']:3d}"


def _scale_lines(told: Told) -> list[str]:
    lines = []
    estimated = at_sigmas(told.own.tau_s, told.own.scale)
    if estimated:
        lines.append(f"{'the scale, as estimated from within':<39} {_three(estimated)}")
    if told.truth is not None:
        through, curve = told.truth
        against = at_sigmas(curve.tau_s, curve.value)
        words = f"the scale against the truth, by {shortened(through, 8)}"
        lines.append(f"{words:<39} {_three(against)}" if against else "the truth covers too little of the record")
    return lines


def _three(found: dict[str, float]) -> str:
    return " ".join(f"{found[word]:7.1e}" if word in found else f"{'-':>7}" for word in SIGMAS)


def _event_lines(told: Told) -> list[str]:
    if not told.events:
        return ["events: none"]
    series = told.series
    shown, more = _gathered(told.events)
    lines = [f"events ({len(told.events)}): MJD, UTC, clock, what"]
    for each, count in shown:
        at = int(series.epoch_tai_ns[each.first])
        name = "all" if each.clock is None else shortened(series.clocks[each.clock].name)
        name = "the scale" if each.reference else name
        said = scale_words.says(series, each)
        if count > 1:
            said = scale_words.first_of(said, count)
        lines.append(f"{scale_words.mjd(at)} {scale_words.utc(at)} {name:<{NAME_ROOM}} {said}")
    if more:
        lines.append(f"and {more} more: --json lists them, and the Scale CSV (--out) has every epoch")
    return lines


def _gathered(events: Sequence[Episode]) -> tuple[list[tuple[Episode, int]], int]:
    """Return the events to be shown, with how many of the same kind of the same clock stand for each, and how many are
    left out. Where all fit, each stands for itself.
    """
    if len(events) <= SHOWN_EVENTS:
        return [(each, 1) for each in events], 0
    counts = Counter((each.clock, each.what) for each in events)
    firsts: dict[tuple[int | None, What], Episode] = {}
    for each in events:
        firsts.setdefault((each.clock, each.what), each)
    shown = [(each, counts[key]) for key, each in firsts.items()]
    shown.sort(key=lambda pair: (pair[0].what is What.GLITCH, pair[0].first))
    return shown[:SHOWN_EVENTS], max(0, len(shown) - SHOWN_EVENTS)
