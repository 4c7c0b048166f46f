"""Khronos: a watchdog over many servers of strangers, drawn by lot, that says when the time served here has left them.

It steers nothing and has no vote in the selection: it is an alarm beside it, for a laboratory whose own few sources may
all have been bent at once. The lot and the clock come in: who asks the servers (`daemon.sources.watchdog_feed`) draws
them from the system's generator, so that nobody can know which of hundreds will be asked next.

Source: RFC 9523, section 3.2 (the algorithm; its names m, w, K, H, ERR stand beside ours). It differs in one thing, as
a monitor must: an offset is a server's time minus the time served here, which already holds every correction made
since the last look; so the sum of local offsets that section 3.2 compares with (tk) is 0, and our own stated bound is
allowed for. An attacker who holds a third or more of the pool is beyond it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class KhronosLimits:
    """`sample`: servers asked at once (m); `agree_s`: half the width within which the survivors agree (w); `tries`:
    samples before all are asked (K); `alarm_s`: from when on an offset is told (H); `err_per_s`: how fast the time
    served may honestly run from theirs between two looks (ERR, s/s). Defaults: RFC 9523 section 3.3.
    """

    sample: int = 15
    agree_s: float = 0.025
    tries: int = 3
    alarm_s: float = 0.030
    err_per_s: float = 1e-6


class Found(StrEnum):
    """What a sample, or the whole pool, came to."""

    AGREED = "agreed"  # both conditions hold
    TOO_FEW = "too-few"  # fewer than a third answered
    SCATTERED = "scattered"  # the survivors do not agree with each other (condition 1)
    AWAY = "away"  # they agree with each other, not with us (condition 2)


@dataclass(frozen=True, slots=True)
class Judgement:
    """`offset_s`: mean of the survivors (theirs minus ours), None where too few answered; `spread_s`: how far apart the
    survivors are; `answered`: how many answered; `cut`: how many were left out at each end.
    """

    found: Found
    offset_s: float | None
    spread_s: float
    answered: int
    cut: int


def judge(
    offsets_s: Sequence[float], asked: int, limits: KhronosLimits, *, bound_s: float, since_s: float
) -> Judgement:
    """Judge a sample of `asked` servers: cut the lowest and the highest third, hold the rest against both conditions.

    `bound_s`: what is stated here of the time served; `since_s`: time since the last look that agreed.
    """
    answered = len(offsets_s)
    if answered < 3 or 3 * answered < asked:
        return Judgement(Found.TOO_FEW, None, 0.0, answered, 0)
    cut = answered // 3
    kept = sorted(offsets_s)[cut : answered - cut]
    total = 0.0
    for offset in kept:
        total += offset
    mean, spread = total / len(kept), kept[-1] - kept[0]
    if spread > 2.0 * limits.agree_s:
        found = Found.SCATTERED
    elif abs(mean) > 2.0 * limits.agree_s + limits.err_per_s * max(since_s, 0.0) + bound_s:
        found = Found.AWAY
    else:
        found = Found.AGREED
    return Judgement(found, mean, spread, answered, cut)


class Next(StrEnum):
    """What is to be done now."""

    SAMPLE_AGAIN = "sample-again"  # at once, other servers
    ASK_ALL = "ask-all"  # panic: the whole pool
    REST = "rest"  # until the next look


@dataclass(frozen=True, slots=True)
class Look:
    """One look under way: how many samples failed so far, and whether the whole pool is being asked."""

    failed: int = 0
    panic: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a look. `offset_s`: theirs minus ours; `panic`: it took the whole pool; `alarm`: it is more than H and
    our own bound; `known`: False where not even the whole pool said anything.
    """

    offset_s: float
    panic: bool
    alarm: bool
    known: bool
    judgement: Judgement


def step(
    look: Look, judgement: Judgement, limits: KhronosLimits, *, bound_s: float
) -> tuple[Look, Next, Verdict | None]:
    """Go on with a look after one sample (or the whole pool) was judged: RFC 9523 section 3.2.

    A sample that agrees ends the look. One that does not is drawn again, at most `tries` times; then all are asked, cut
    by thirds, and their mean stands, whatever it is.
    """
    if look.panic:
        known = judgement.offset_s is not None
        offset = judgement.offset_s if judgement.offset_s is not None else 0.0
        alarm = known and abs(offset) > limits.alarm_s + bound_s
        return Look(), Next.REST, Verdict(offset_s=offset, panic=True, alarm=alarm, known=known, judgement=judgement)
    if judgement.found is Found.AGREED and judgement.offset_s is not None:
        offset = judgement.offset_s
        alarm = abs(offset) > limits.alarm_s + bound_s
        return Look(), Next.REST, Verdict(offset_s=offset, panic=False, alarm=alarm, known=True, judgement=judgement)
    failed = look.failed + 1
    if failed < limits.tries:
        return Look(failed), Next.SAMPLE_AGAIN, None
    return Look(failed, panic=True), Next.ASK_ALL, None
