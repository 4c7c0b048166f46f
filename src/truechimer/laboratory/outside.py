"""Outside: what other laboratories and servers say of UTC, from readings to a selection and a prediction.

It joins `compare.claims`, `compare.selection` and `steer.utc_prediction`; it neither weighs clocks nor steers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite, sqrt
from types import MappingProxyType

from truechimer.clocks.register import Register
from truechimer.compare import claims as book
from truechimer.compare import selection
from truechimer.compare.claims import Claim
from truechimer.compare.cleaning import Marks, Quality
from truechimer.compare.reading import EpochReadings
from truechimer.compare.selection import Candidate, Combined, Expected, Selection, SelectionState, Verdict
from truechimer.scale.live_state import LiveState
from truechimer.scale.state import ScaleStep
from truechimer.steer import holdover, utc_prediction
from truechimer.steer.bound import COVERAGE_FACTOR
from truechimer.steer.holdover import Wander
from truechimer.steer.two_state import TwoState
from truechimer.steer.utc_prediction import ScaleNoise, UtcPrediction

_GAP = int(Quality.GAP)
_MAJORITY = SelectionState.MAJORITY

START_PATIENCE_VALUES = 4
"""Values of one source after which the first vote no longer waits for sources that stay silent."""

MATURE_VALUES = 32
"""Outside values before the laboratory's own expectation is a witness against a majority, where it has not started
before.
"""

ROUND_INTERVALS = 2.0
"""Claims that are older than this many intervals of those that speak now belong to another value."""

_NOBODY: frozenset[str] = frozenset()
_NOBODY_GONE: frozenset[int] = frozenset()
_NO_LINKS: Mapping[int, bool] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Outside:
    """The outcome of an epoch: claims with verdicts, the vote, the value taken in (None: none), the prediction after
    it, what is known of the oscillator of a scale of one, and whether everybody outside contradicts the prediction.
    """

    claims: tuple[Claim, ...]
    selection: Selection
    combined: Combined | None
    utc: UtcPrediction | None
    wander: Wander | None
    surprise: bool


def hear(
    claims: tuple[Claim, ...],
    utc: UtcPrediction | None,
    *,
    readings: EpochReadings,
    marks: Marks,
    step: ScaleStep,
    scale: LiveState,
    register: Register,
    noise: ScaleNoise,
    wander: Wander | None,
    interval_s: float,
    requalify_s: float,
    polls: Mapping[str, float],
    started: bool,
    silenced: Mapping[int, bool] = _NO_LINKS,
    gone: frozenset[int] = _NOBODY_GONE,
) -> Outside:
    """Hear the links to UTC of one epoch, vote, and take the agreed value into the prediction.

    `noise`: of the scale; of a scale of one, what its kind lets expect, and `wander` what was learned of it. `polls`:
    how often (s) each server is asked that the laboratory names; `started`: offset and rate against UTC are
    known, so that the laboratory's own expectation is a witness; `silenced`: links whose receivers are refused by their
    own word: what they said before has no vote; True: it may have been false, False: they said nothing;
    `gone`: links that leave their own past alone (`own_past`): they are outvoted.
    """
    epoch_ns = readings.epoch_tai_ns
    heard = list(claims)
    fresh = set()
    for k, link in enumerate(register.outside):
        x, x_clock = float(readings.x_a_minus_b_s[link.link]), float(step.x_clock_minus_scale_s[link.clock])
        if not isfinite(x) or not isfinite(x_clock) or marks.quality[link.link] == _GAP:
            continue
        age_s = float(readings.age_s[link.link])
        y_clock = scale.rate_of(link.clock)
        u_s = float(readings.u_s[link.link])
        heard[k] = book.heard(
            heard[k],
            epoch_ns=epoch_ns - round(age_s * 1e9),
            x_s=link.sign * x + x_clock - y_clock * age_s,
            u_s=sqrt(u_s * u_s + step.u_center_s * step.u_center_s),
            limit_s=float(readings.limit_s[link.link]),
        )
        fresh.add(k)
    in_use = noise if wander is None else holdover.noise_of(wander, noise)
    ahead = None if utc is None else utc_prediction.ahead(utc, in_use, epoch_tai_ns=epoch_ns)
    found = book.candidates(
        tuple(heard),
        register,
        epoch_ns=epoch_ns,
        y_utc_minus_scale=0.0 if ahead is None else ahead.y,
        u_y=noise.y_spread if ahead is None or utc is None else ahead.u_y * utc.inflation,
        interval_s=interval_s,
        polls=polls,
    )
    if gone:
        # who is silent is stale, whatever was found of it before
        gone = gone.intersection([candidate.reference for candidate in found])
        found = [candidate for candidate in found if candidate.reference not in gone]
    if silenced:
        found = [candidate for candidate in found if candidate.reference not in silenced]
    expected = None
    if ahead is not None and utc is not None and (started or utc.state.n >= MATURE_VALUES):
        u_s = ahead.u_x_s * utc.inflation
        if wander is not None:
            since_s = holdover.sigma_s(holdover.variances_s2(wander, noise), (epoch_ns - utc.outside_ns) / 1e9)
            u_s = utc.u_outside_s * utc.inflation + since_s
        expected = Expected(ahead.x_s, COVERAGE_FACTOR * u_s + utc.limit_s)
    # whoever was outvoted has no vote before it is requalified, also where it was silent in between
    voters = [c for c in found if not heard[c.reference].quarantined_ns]
    if utc is None and _is_early(tuple(heard), voters, register):
        chosen = selection.NO_SOURCE
    else:
        watched = tuple(c for c in found if heard[c.reference].quarantined_ns)
        chosen = selection.select(voters, expected, watched=watched, wanted=_wanted(register, polls))
    judged = book.judged(tuple(heard), found, chosen, epoch_ns=epoch_ns, requalify_s=requalify_s)
    if gone:
        judged = tuple(
            replace(claim, verdict=Verdict.OUTVOTED, quarantined_ns=epoch_ns, clean_ns=0)
            if k in gone and claim.n
            else claim
            for k, claim in enumerate(judged)
        )
    if silenced:
        judged = tuple(
            _silenced(claim, k, register, epoch_ns=epoch_ns, holds=silenced[k] and started)
            if k in silenced and claim.n
            else claim
            for k, claim in enumerate(judged)
        )
    news = fresh.intersection(chosen.selected)
    if not news or chosen.state is not _MAJORITY:
        return Outside(judged, chosen, None, utc, wander, surprise=False)
    taken, older = _of_this_round(found, chosen, heard, news, interval_s)
    combined = selection.combine(taken, frozenset(news), older=older)
    if wander is not None:
        wander, surprise = holdover.update(
            wander,
            noise,
            epoch_tai_ns=epoch_ns,
            x_utc_minus_scale_s=combined.x_utc_minus_scale_s,
            u_s=combined.u_s,
            limit_s=combined.limit_s,
        )
        return Outside(judged, chosen, combined, wander.utc, wander, surprise)
    after, surprise = utc_prediction.update(
        utc,
        noise,
        epoch_tai_ns=epoch_ns,
        x_utc_minus_scale_s=combined.x_utc_minus_scale_s,
        u_s=combined.u_s,
        limit_s=combined.limit_s,
    )
    return Outside(judged, chosen, combined, after, None, surprise)


def _silenced(claim: Claim, k: int, register: Register, *, epoch_ns: int, holds: bool) -> Claim:
    """Return the claim of a link whose receiver is refused.

    `holds`: what it said may have been false: it votes again when it has agreed for long enough, like whoever was
    outvoted; not where one operator is all there is: nobody would be left to agree with.
    """
    own = register.references[register.outside[k].reference].operator
    others = any(register.references[link.reference].operator != own for link in register.outside)
    quarantined_ns = epoch_ns if holds and others else claim.quarantined_ns
    return replace(claim, verdict=Verdict.REFUSED, quarantined_ns=quarantined_ns, clean_ns=0)


def poll_s(chosen: Selection, register: Register, polls: Mapping[str, float]) -> float:
    """Return how often the quickest of the selected servers is asked (s), 0 where none of them is a server."""
    if not polls:
        return 0.0
    names = [register.references[register.outside[k].reference].name for k in chosen.selected]
    return min([polls[name] for name in names if name in polls], default=0.0)


def _wanted(register: Register, polls: Mapping[str, float]) -> frozenset[str]:
    """Return the operators of the servers that the laboratory names."""
    if not polls:
        return _NOBODY
    return frozenset([reference.operator for reference in register.references if reference.name in polls])


def _of_this_round(
    found: list[Candidate], chosen: Selection, heard: list[Claim], news: set[int], interval_s: float
) -> tuple[list[Candidate], list[Candidate]]:
    """Return the selected claims that belong to one value, and the others: the first are those that are new, and those
    that spoke within `ROUND_INTERVALS` of the new ones' own intervals.

    What is older was taken in when it was new, and says nothing of now that was not said then.
    """
    chosen_now = set(chosen.selected)
    span_s = ROUND_INTERVALS * max([interval_s, *[heard[k].interval_s for k in news]])
    newest_ns = max([heard[k].epoch_ns for k in news])
    taken: list[Candidate] = []
    older: list[Candidate] = []
    for c in found:
        if c.reference in chosen_now:
            is_near = c.reference in news or (newest_ns - heard[c.reference].epoch_ns) / 1e9 <= span_s
            (taken if is_near else older).append(c)
    return taken, older


def spread_s(heard: Outside, now: TwoState | None) -> float:
    """Return the distance (s) between the outermost of the selected sources that speak in turn, each carried on to the
    same epoch.

    0 where all of them spoke at this epoch: what they are off by is then in every combined value alike, and no rate
    comes of it.
    """
    chosen = [heard.claims[k] for k in heard.selection.selected]
    if now is None or all(claim.epoch_ns == now.epoch_ns for claim in chosen):
        return 0.0
    said = [claim.x_s + now.y * ((now.epoch_ns - claim.epoch_ns) / 1e9) for claim in chosen]
    return max(said) - min(said)


def _is_early(heard: tuple[Claim, ...], voters: list[Candidate], register: Register) -> bool:
    """Return True while sources of this laboratory are still to speak for the first time.

    Who answers first shall not set the time alone: the first vote waits for all operators, but not longer than
    `START_PATIENCE_VALUES` values of the quickest.
    """
    if max((claim.n for claim in heard), default=0) >= START_PATIENCE_VALUES:
        return False
    expected = {register.references[link.reference].operator for link in register.outside}
    return len({candidate.operator for candidate in voters}) < len(expected)
