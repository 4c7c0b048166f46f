"""Integrity: what an epoch's values say that an operator must hear, said once, when it begins.

It sees values and returns alerts; it changes nothing. An alert is raised at the epoch where the condition begins, not
at each epoch where it holds.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.clocks.register import Register
from truechimer.compare.claims import Claim
from truechimer.compare.closure import OpenLoop
from truechimer.compare.selection import Selection, SelectionState, Verdict
from truechimer.scale.state import Membership, ScaleStep

Ints = NDArray[np.int64]

_CHANGES: dict[Membership, tuple[AlertKind, AlertSeverity, str]] = {
    Membership.SUSPECT: (
        AlertKind.CLOCK_STEP,
        AlertSeverity.WARNING,
        "look at the clock and its counter channel; if the next epoch confirms it, it is a step",
    ),
    Membership.OUT_STEP: (
        AlertKind.CLOCK_STEP,
        AlertSeverity.CRITICAL,
        "find out what moved the clock's output; it returns by itself after a clean probation",
    ),
    Membership.OUT_RATE: (
        AlertKind.CLOCK_RATE,
        AlertSeverity.CRITICAL,
        "look at the clock's own diagnostics; its rate is learned anew and it returns after a clean probation",
    ),
}


def check_step(before: Ints, step: ScaleStep, register: Register, *, divided_before: bool) -> tuple[Alert, ...]:
    """Return the alerts of one scale step; `before`: membership at the epoch before, `(n_clocks,)`."""
    alerts = []
    if step.membership is not before:
        for i in np.flatnonzero(step.membership != before).tolist():
            was, now, name = Membership(int(before[i])), Membership(int(step.membership[i])), register.clocks[i].name
            residual = float(step.residual_s[i])
            if now in _CHANGES:
                kind, severity, do_next = _CHANGES[now]
                what = {
                    Membership.SUSPECT: "is off its prediction",
                    Membership.OUT_STEP: "stepped",
                    Membership.OUT_RATE: "changed frequency",
                }[now]
                says = (
                    f"{name} {what}"
                    + (f" by {residual:+.3e} s" if now is not Membership.OUT_RATE and np.isfinite(residual) else "")
                    + "; out of the scale"
                )
                alerts.append(
                    _alert(
                        kind,
                        "scale",
                        name,
                        severity,
                        says,
                        step.epoch_tai_ns,
                        do_next,
                        because=(f"residual {residual!r} s",),
                    )
                )
            elif now is Membership.IN and was in (Membership.SUSPECT, Membership.OUT_STEP, Membership.OUT_RATE):
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
        says = "clocks disagree and no majority says who is right; nobody is excluded"
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
