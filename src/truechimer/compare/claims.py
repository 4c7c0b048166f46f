"""Claims: what each link to UTC said last of UTC minus the scale, how old that is, and whether it is in quarantine.

It does not vote (`selection`). Sources speak at different times (a link every epoch, a server every minute, rapid UTC
every week): to compare them at one instant, each claim is carried on with the known rate of UTC minus the scale, and
its interval is widened for its age.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from types import MappingProxyType

from truechimer.clocks.register import Register
from truechimer.compare.selection import Candidate, Selection, SelectionState, Verdict

HALF_WIDTH_SIGMAS = 6.0
STALE_INTERVALS = 8.0
"""A source silent for this many of its own intervals (and of the scale's) has no vote."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The last word of one link to UTC: UTC minus the scale `x_s` at `epoch_ns` (TAI), one sigma and limit (s);
    `interval_s`: its learned interval.

    `quarantined_ns`: when it was outvoted last (0: never); `clean_ns`: since when it has agreed again. `n`: values so
    far.
    """

    epoch_ns: int
    x_s: float
    u_s: float
    limit_s: float
    interval_s: float
    verdict: Verdict
    quarantined_ns: int
    clean_ns: int
    n: int


SILENT = Claim(0, 0.0, 0.0, 0.0, 0.0, Verdict.NEVER, 0, 0, 0)


def heard(claim: Claim, *, epoch_ns: int, x_s: float, u_s: float, limit_s: float) -> Claim:
    """Return the claim after a new value."""
    interval_s = 0.0
    if claim.n:
        elapsed = (epoch_ns - claim.epoch_ns) / 1e9
        interval_s = elapsed if claim.n == 1 else claim.interval_s + 0.2 * (elapsed - claim.interval_s)
    return Claim(
        epoch_ns, x_s, u_s, limit_s, interval_s, claim.verdict, claim.quarantined_ns, claim.clean_ns, claim.n + 1
    )


def candidates(
    claims: tuple[Claim, ...],
    register: Register,
    *,
    epoch_ns: int,
    y_utc_minus_scale: float,
    u_y: float,
    interval_s: float,
    polls: Mapping[str, float] = MappingProxyType({}),
) -> list[Candidate]:
    """Return the claims that may be compared at an epoch, each carried on to it and widened by `u_y` times its age.

    Stale claims are left out; those in quarantine are kept (their verdict says so: they are watched, but they have no
    vote). `polls`: how often (s) a reference is asked, where that is known before its answers teach it.
    """
    out = []
    for k, claim in enumerate(claims):
        if not claim.n:
            continue
        # claim k belongs to register.outside[k]
        age = (epoch_ns - claim.epoch_ns) / 1e9
        reference = register.references[register.outside[k].reference]
        if age > STALE_INTERVALS * max(claim.interval_s, interval_s, polls.get(reference.name, 0.0)):
            continue
        drift = u_y * age
        sigma = sqrt(claim.u_s * claim.u_s + drift * drift) if age else claim.u_s
        out.append(
            Candidate(
                k,
                reference.operator,
                claim.x_s + y_utc_minus_scale * age,
                sigma,
                claim.limit_s,
                HALF_WIDTH_SIGMAS * sigma + claim.limit_s,
            )
        )
    return out


def judged(
    claims: tuple[Claim, ...], found: list[Candidate], selection: Selection, *, epoch_ns: int, requalify_s: float
) -> tuple[Claim, ...]:
    """Return the claims with their verdicts after a vote.

    Who is outvoted goes into quarantine, and leaves it after agreeing with the majority for `requalify_s`. Without a
    majority nobody is named: nothing says who lies.
    """
    present = {candidate.reference: candidate for candidate in found}
    low, high = selection.low_s, selection.high_s
    out = []
    for k, claim in enumerate(claims):
        candidate = present.get(k)
        if not claim.n:
            out.append(claim)
        elif candidate is None:
            # silence is no good conduct: a claim in quarantine begins its time of agreement anew
            out.append(claim if claim.verdict is Verdict.STALE else replace(claim, verdict=Verdict.STALE, clean_ns=0))
        elif selection.state is not SelectionState.MAJORITY:
            out.append(claim)
        elif k in selection.outvoted:
            out.append(replace(claim, verdict=Verdict.OUTVOTED, quarantined_ns=epoch_ns, clean_ns=0))
        elif k in selection.selected:
            out.append(
                claim
                if claim.verdict is Verdict.SELECTED
                else replace(claim, verdict=Verdict.SELECTED, quarantined_ns=0)
            )
        else:
            x, half = candidate.x_utc_minus_scale_s, candidate.half_width_s
            agrees = x - half <= high and x + half >= low
            # from its first value that agrees to its last one: an old value does not ripen by silence
            clean_ns = (claim.clean_ns or claim.epoch_ns) if agrees else 0
            if agrees and (claim.epoch_ns - clean_ns) / 1e9 >= requalify_s:
                out.append(replace(claim, verdict=Verdict.SELECTED, quarantined_ns=0, clean_ns=0))
            else:
                out.append(replace(claim, verdict=Verdict.QUARANTINED, clean_ns=clean_ns))
    return tuple(out)
