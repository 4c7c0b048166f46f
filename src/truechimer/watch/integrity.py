"""Integrity: what an epoch's values say that an operator must hear, said once, when it begins.

It sees values and returns alerts; it changes nothing. An alert is raised at the epoch where the condition begins, not
at each epoch where it holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.clocks.register import Register
from truechimer.compare.claims import Claim
from truechimer.compare.closure import OpenLoop
from truechimer.compare.selection import Selection, SelectionState, Verdict
from truechimer.scale.state import Membership, ScaleStep

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Change:
    """What is said where a clock comes to a membership: kind, severity, what it did, what to do next, and whether the
    residual of this epoch tells of it; `then`: what becomes of the scale.
    """

    kind: AlertKind
    severity: AlertSeverity
    what: str
    do_next: str
    by_residual: bool = False
    then: str = "out of the scale"


_CHANGES: dict[Membership, _Change] = {
    Membership.SUSPECT: _Change(
        AlertKind.CLOCK_STEP,
        AlertSeverity.WARNING,
        "is off its prediction",
        "look at the clock and its counter channel; if the next epoch confirms it, it is a step",
        by_residual=True,
    ),
    Membership.OUT_STEP: _Change(
        AlertKind.CLOCK_STEP,
        AlertSeverity.CRITICAL,
        "stepped",
        "find out what moved the clock's output; it returns by itself after a clean probation",
        by_residual=True,
    ),
    Membership.OUT_RATE: _Change(
        AlertKind.CLOCK_RATE,
        AlertSeverity.CRITICAL,
        "changed frequency",
        "look at the clock's own diagnostics; its rate is learned anew and it returns after a clean probation",
    ),
    Membership.DOUBTED: _Change(
        AlertKind.CLOCK_RATE,
        AlertSeverity.WARNING,
        "may have changed frequency: more than its noise explains, less than convicts a clock",
        "look at the clock's own diagnostics; it is learned anew and has its full say again after good conduct",
        then="it carries the hours, the other clocks the days",
    ),
    Membership.DISPUTED: _Change(
        AlertKind.CLOCK_DISPUTED,
        AlertSeverity.WARNING,
        "is contradicted by two clocks like it, and two against one prove little",
        "compare it with another laboratory or UTC; the other kinds of clocks settle it when they can tell",
    ),
    Membership.DIVIDED: _Change(
        AlertKind.CLASS_DIVIDED,
        AlertSeverity.CRITICAL,
        "is of a class of clocks that contradict each other",
        "find out which of them moved, with another laboratory or UTC; who shows good conduct returns",
        then="the other kinds carry the scale",
    ),
    Membership.ALIKE: _Change(
        AlertKind.CLOCK_TOO_GOOD,
        AlertSeverity.WARNING,
        "is closer to the others, or quieter, than a clock of its own can be",
        "look whether its readings are its own: a copy of other clocks, or a made-up channel, looks like this",
    ),
    Membership.REPLAYED: _Change(
        AlertKind.CLOCK_TOO_GOOD,
        AlertSeverity.CRITICAL,
        "repeats readings of before, noise and all",
        "find out what stands between the counter and this laboratory: somebody plays back what was recorded",
    ),
}

_OUT = (*_CHANGES,)


def check_step(before: Ints, step: ScaleStep, register: Register, *, divided_before: bool) -> tuple[Alert, ...]:
    """Return the alerts of one scale step; `before`: membership at the epoch before, `(n_clocks,)`."""
    alerts = []
    if step.membership is not before:
        for i in np.flatnonzero(step.membership != before).tolist():
            was, now, name = Membership(int(before[i])), Membership(int(step.membership[i])), register.clocks[i].name
            residual = float(step.residual_s[i])
            if now in _CHANGES:
                change = _CHANGES[now]
                by = f" by {residual:+.3e} s" if change.by_residual and np.isfinite(residual) else ""
                alerts.append(
                    _alert(
                        change.kind,
                        "scale",
                        name,
                        change.severity,
                        f"{name} {change.what}{by}; {change.then}",
                        step.epoch_tai_ns,
                        change.do_next,
                        because=(f"residual {residual!r} s",),
                    )
                )
            elif now is Membership.IN and was in _OUT:
                says = f"{name} is back in the scale"
                alerts.append(
                    _alert(
                        AlertKind.CLOCK_RETURNED,
                        "scale",
                        name,
                        AlertSeverity.NOTICE,
                        says,
                        step.epoch_tai_ns,
                        "nothing",
                    )
                )
    if step.divided and not divided_before:
        says = "clocks disagree and no majority says who is right"
        do_next = "compare with an outside reference or another laboratory before trusting the scale"
        alerts.append(
            _alert(AlertKind.CLASS_DIVIDED, "scale", "scale", AlertSeverity.CRITICAL, says, step.epoch_tai_ns, do_next)
        )
    return tuple(alerts)


def check_loops(
    loops: Sequence[OpenLoop], open_before: frozenset[int], register: Register, *, epoch_tai_ns: int
) -> tuple[Alert, ...]:
    """Return an alert for each loop that opened at this epoch."""
    alerts = []
    for loop in loops:
        if loop.link not in open_before:
            name = register.link_name(loop.link)
            says = (
                f"the loop through {name} does not close by {loop.misclosure_s:+.3e} s ({loop.allowed_s:.1e} s allowed)"
            )
            do_next = "check delays and calibration of the links in this loop"
            alerts.append(
                _alert(AlertKind.CLOSURE, "compare", name, AlertSeverity.WARNING, says, epoch_tai_ns, do_next)
            )
    return tuple(alerts)


def check_sources(
    before: tuple[Claim, ...],
    after: tuple[Claim, ...],
    selection: Selection,
    state_before: SelectionState,
    register: Register,
    *,
    epoch_tai_ns: int,
) -> tuple[Alert, ...]:
    """Return an alert for each source that was outvoted or fell silent at this epoch, and one when the majority is
    lost.
    """
    alerts = []
    for k, (was, now) in enumerate(zip(before, after, strict=True)):
        if was.verdict is now.verdict:
            continue
        name = register.link_name(register.outside[k].link)
        if now.verdict is Verdict.OUTVOTED and was.verdict is not Verdict.QUARANTINED:
            says = f"{name} contradicts the majority of sources; it has no vote"
            do_next = "check the receiver, its antenna and its path; it returns after agreeing for a while"
            because = (f"claims UTC - scale = {now.x_s!r} s, u {now.u_s!r} s, limit {now.limit_s!r} s",)
            alerts.append(
                _alert(
                    AlertKind.LINK_OUTVOTED,
                    "compare",
                    name,
                    AlertSeverity.CRITICAL,
                    says,
                    epoch_tai_ns,
                    do_next,
                    because=because,
                )
            )
        elif now.verdict is Verdict.STALE and was.verdict is Verdict.SELECTED:
            says = f"{name} is silent"
            do_next = "check the link; the bound grows while fewer sources confirm it"
            alerts.append(
                _alert(AlertKind.LINK_MISSING, "compare", name, AlertSeverity.WARNING, says, epoch_tai_ns, do_next)
            )
    if selection.state is SelectionState.NO_MAJORITY and state_before is not SelectionState.NO_MAJORITY:
        says = "no majority: sources of UTC contradict each other" + (
            " and the laboratory's own clocks" if selection.surprise else ""
        )
        do_next = "nothing is followed until a majority agrees; find out which sources are right"
        alerts.append(
            _alert(AlertKind.NO_MAJORITY, "compare", "sources", AlertSeverity.CRITICAL, says, epoch_tai_ns, do_next)
        )
    return tuple(alerts)


def _alert(  # noqa: PLR0917
    kind: AlertKind,
    component: str,
    subject: str,
    severity: AlertSeverity,
    says: str,
    epoch_ns: int,
    do_next: str,
    *,
    because: tuple[str, ...] = (),
) -> Alert:
    """Make an alert."""
    return Alert(kind, component, subject, severity, says, because, epoch_ns, do_next)
