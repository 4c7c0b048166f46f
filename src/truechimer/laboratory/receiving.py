"""Receiving: what satellite receivers say of themselves, epoch by epoch, and what it makes of the readings of their
links: refused ones are taken out, doubtful ones get a larger sigma, and the rest passes as it is.

It judges by `compare.receiver_quality` and votes on nothing (`outside`). The evidence is an input of the fold: it
stands in the record of its epoch, so that a replay judges it again.

Law of the file: + - * / and sqrt in a written order. No evidence makes a reading better.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.register import Outside, Register
from truechimer.compare import receiver_quality
from truechimer.compare.link_quality import SILENT_S
from truechimer.compare.reading import EpochReadings
from truechimer.compare.receiver_epoch import Position, ReceiverEpoch
from truechimer.compare.receiver_quality import (
    DOUBT_FACTOR,
    OUTAGES,
    Limits,
    LinkLevel,
    LinkQuality,
    Reason,
    ReceiverState,
)
from truechimer.instants import LeapTable
from truechimer.watch import receivers as watch_receivers
from truechimer.watch.receivers import Watched
from truechimer.watch.standing import Standing

CHANGES_KEPT = 512
"""Changes of level that are kept of a receiver: readings that come days late are judged by the level of their own
epoch. What is older than the oldest is doubtful.
"""
CLOCK_SIGMAS = 12.0
"""The laboratory's time minus the pulse is refused beyond so many sigmas of the reading (doubtful from half), where
that is more than the limit.
"""
_LEVELS = tuple(LinkLevel)
_OK, _DOUBTFUL, _REFUSED = (_LEVELS.index(level) for level in (LinkLevel.OK, LinkLevel.DOUBTFUL, LinkLevel.REFUSED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A receiver of the laboratory's file. `link`: the reference that its pulse is (`UTC.gnss`); `antenna_m`: surveyed
    (WGS 84, Earth-fixed), None: to be learned; `on_laboratory_clock`: it runs on the laboratory's own frequency, so
    that its clock bias tells of that; `span_s`: over how long a reading of the link averages.
    """

    name: str
    link: str
    antenna_m: Position | None = None
    on_laboratory_clock: bool = False
    span_s: float = 0.0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a receiver said. `receiver`: its number among those of the run; `heard_ns`: the host's label when it was
    heard (0: it lies in the past, and only the receiver dates it).
    """

    receiver: int
    heard_ns: int
    epoch: ReceiverEpoch


@dataclass(frozen=True, slots=True)
class Receiving:
    """What is carried of one receiver. `changes`: (from when on, ns; level as its place in `LinkLevel`), in order of
    time; `last_ns`: newest evidence; `line_s` at `line_ns`: what UTC minus the scale has gone by its rate since the
    receiver was first compared with it, so that the scale's own rate is no drift of the receiver; `reasons`: what
    stands against it now.
    """

    name: str
    judge: ReceiverState
    changes: tuple[tuple[int, int], ...] = ()
    last_ns: int = 0
    line_s: float = 0.0
    line_ns: int = 0
    reasons: tuple[tuple[Reason, LinkLevel], ...] = ()

    @property
    def level(self) -> LinkLevel:
        """The newest level; doubtful before anything was heard."""
        return _LEVELS[self.changes[-1][1]] if self.changes else LinkLevel.DOUBTFUL


@dataclass(frozen=True, slots=True)
class Rate:
    """UTC minus the scale as the laboratory knows it before an epoch: its rate and one sigma of it; `host_off_s`: UTC
    minus the host's label, None where it is not known.
    """

    y: float
    u_y: float
    host_off_s: float | None


@dataclass(frozen=True, slots=True)
class Received:
    """The outcome of an epoch. `readings`: as they may be used; `silenced`: links (places in `register.outside`)
    whose receivers are refused now: what they said last has no vote either (True: it may have been false); `news`:
    (receiver, quality) where level or reasons changed.
    """

    receivers: tuple[Receiving, ...]
    readings: EpochReadings
    silenced: Mapping[int, bool]
    news: tuple[tuple[int, LinkQuality], ...]


NOBODY: Mapping[int, bool] = MappingProxyType({})


def fitted(before: Sequence[Receiving], receivers: Sequence[Receiver]) -> tuple[Receiving, ...]:
    """Return what is carried of the receivers of a run: what an earlier run knew, by name; an antenna that the file
    names now counts from now on.
    """
    known = {one.name: one for one in before}
    out = []
    for receiver in receivers:
        carried = known.get(receiver.name)
        if carried is None:
            out.append(Receiving(receiver.name, receiver_quality.begun(receiver.antenna_m)))
        elif receiver.antenna_m is not None and carried.judge.antenna_m != receiver.antenna_m:
            judge = replace(carried.judge, antenna_m=receiver.antenna_m, surveyed=True, positions=0)
            out.append(replace(carried, judge=judge))
        elif receiver.antenna_m is None and carried.judge.surveyed:
            judge = replace(carried.judge, antenna_m=None, surveyed=False, positions=0)
            out.append(replace(carried, judge=judge))
        else:
            out.append(carried)
    return tuple(out)


def hear(
    before: tuple[Receiving, ...],
    receivers: tuple[Receiver, ...],
    evidence: tuple[Evidence, ...],
    *,
    readings: EpochReadings,
    x_clock_minus_scale_s: NDArray[np.float64],
    rate_of_clock: Callable[[int], float],
    register: Register,
    rate: Rate | None,
    leaps: LeapTable,
) -> Received:
    """Judge the evidence of one epoch, and the readings by what is known then.

    `x_clock_minus_scale_s`, `rate_of_clock`: of each clock at the epoch; `rate`: None before UTC is known.
    """
    if not receivers:
        return Received(before, readings, NOBODY, ())
    after: list[Receiving] = []
    news: list[tuple[int, LinkQuality]] = []
    silenced: dict[int, bool] = {}
    x, u = readings.x_a_minus_b_s, readings.u_s
    for k, (receiver, was) in enumerate(zip(receivers, before, strict=True)):
        own = [one.epoch for one in evidence if one.receiver == k]
        heard = [one.heard_ns for one in evidence if one.receiver == k]
        links = _links_of(receiver, register)
        now = _on_line(was, readings.epoch_tai_ns, rate)
        compared = _against(links, readings, x_clock_minus_scale_s, rate_of_clock, now, rate, receiver.limits)
        quality: LinkQuality | None = None
        for i, epoch in enumerate(own):
            is_last = i == len(own) - 1
            now, quality = _judged(
                now,
                receiver,
                epoch,
                heard[i],
                until_ns=readings.epoch_tai_ns,
                leaps=leaps,
                rate=rate,
                compared=compared if is_last else None,
            )
        if quality is not None and (now.reasons != was.reasons or not was.changes):
            news.append((k, quality))
        after.append(now)
        for place, link in links:
            j = link.link
            if now.level is LinkLevel.REFUSED:
                refusing = [reason for reason, level in now.reasons if level is LinkLevel.REFUSED]
                silenced[place] = any(reason not in OUTAGES for reason in refusing)
            if not isfinite(float(x[j])):
                continue
            at_ns = readings.epoch_tai_ns - round(float(readings.age_s[j]) * 1e9)
            worst = worst_of(now, at_ns, span_s=receiver.span_s)
            if worst == _OK:
                continue
            if x is readings.x_a_minus_b_s:
                x, u = x.copy(), u.copy()
            if worst == _REFUSED:
                x[j] = np.nan
            else:
                u[j] = DOUBT_FACTOR * u[j]
    used = readings if x is readings.x_a_minus_b_s else replace(readings, x_a_minus_b_s=x, u_s=u)
    return Received(tuple(after), used, silenced, tuple(news))


def worst_of(receiving: Receiving, at_ns: int, *, span_s: float) -> int:
    """Return the worst level (its place in `LinkLevel`) of the time that a reading averages, `span_s` around its epoch.

    Silence is doubt; where the last that was heard was a refusal, it stays one.
    """
    half_ns = round(span_s * 5e8)
    begin_ns, end_ns = at_ns - half_ns, at_ns + half_ns
    worst, last = -1, _DOUBTFUL
    for since_ns, level in receiving.changes:
        if since_ns > end_ns:
            break
        last = level
        worst = level if since_ns <= begin_ns else max(worst, level)
    if worst < 0:
        return _DOUBTFUL
    if (end_ns - receiving.last_ns) / 1e9 > SILENT_S:
        return max(last, _DOUBTFUL, worst if last == _REFUSED else _DOUBTFUL)
    return worst


def standing(
    judged: Received, receivers: tuple[Receiver, ...], said: frozenset[str], epoch_ns: int
) -> tuple[Standing, ...]:
    """Return what stands against the receivers after an epoch, for whoever says it once."""
    news = dict(judged.news)
    watched = [
        Watched(receiver.name, receiver.link, news.get(k), is_silent(judged.receivers[k], epoch_ns))
        for k, receiver in enumerate(receivers)
    ]
    return watch_receivers.conditions(watched, said, epoch_tai_ns=epoch_ns)


def is_silent(receiving: Receiving, epoch_ns: int) -> bool:
    """Return True for a receiver that was heard, and has said nothing for long."""
    return receiving.last_ns > 0 and (epoch_ns - receiving.last_ns) / 1e9 > SILENT_S


def _links_of(receiver: Receiver, register: Register) -> list[tuple[int, Outside]]:
    """Return the links that a receiver's pulse is one end of, with their places."""
    node = register.node_index.get(receiver.link)
    if node is None:
        return []
    k = node - register.n_clocks
    return [(place, link) for place, link in enumerate(register.outside) if link.reference == k]


def _on_line(was: Receiving, epoch_ns: int, rate: Rate | None) -> Receiving:
    """Carry the line of UTC minus the scale on by its rate; it never jumps, whatever is decided about the phase."""
    if rate is None:
        return was
    if was.line_ns == 0:
        return replace(was, line_ns=epoch_ns)
    return replace(was, line_s=was.line_s + rate.y * ((epoch_ns - was.line_ns) / 1e9), line_ns=epoch_ns)


def _against(  # noqa: PLR0917 - the values of one epoch
    links: list[tuple[int, Outside]],
    readings: EpochReadings,
    x_clock_minus_scale_s: NDArray[np.float64],
    rate_of_clock: Callable[[int], float],
    now: Receiving,
    rate: Rate | None,
    limits: Limits,
) -> tuple[float, float] | None:
    """Return the laboratory's time minus the pulse (s, but for a constant) and one sigma; None where the rate of the
    scale is not known well enough to tell a drag from it.
    """
    if rate is None or rate.u_y > 0.5 * limits.clock_rate:
        return None
    for _, link in links:
        x, x_clock = float(readings.x_a_minus_b_s[link.link]), float(x_clock_minus_scale_s[link.clock])
        if isfinite(x) and isfinite(x_clock):
            age_s = float(readings.age_s[link.link])
            x_pulse_minus_scale = link.sign * x + x_clock - rate_of_clock(link.clock) * age_s
            line_s = now.line_s - rate.y * age_s
            return line_s - x_pulse_minus_scale, float(readings.u_s[link.link])
    return None


def _judged(
    was: Receiving,
    receiver: Receiver,
    epoch: ReceiverEpoch,
    heard_ns: int,
    *,
    until_ns: int,
    leaps: LeapTable,
    rate: Rate | None,
    compared: tuple[float, float] | None,
) -> tuple[Receiving, LinkQuality]:
    """Take one epoch of a receiver in; none is dated after `until_ns`, the epoch of the fold."""
    # the host's label is a name; the laboratory's own word on UTC makes a date of it
    date_ns = None
    if heard_ns and rate is not None and rate.host_off_s is not None:
        date_ns = heard_ns + round(rate.host_off_s * 1e9)
    limits, x = receiver.limits, None
    if receiver.on_laboratory_clock:
        x = epoch.bias_s
    elif compared is not None:
        x = compared[0]
        limits = replace(limits, clock_s=max(limits.clock_s, CLOCK_SIGMAS * compared[1]))
    judge, quality = receiver_quality.step(
        was.judge, epoch, limits, leaps=leaps, heard_tai_ns=date_ns, x_clock_minus_gnss_s=x
    )
    at_ns = max(min(heard_ns or quality.epoch_tai_ns, until_ns), was.last_ns)
    level = _LEVELS.index(quality.level)
    changes = was.changes
    if not changes or changes[-1][1] != level:
        changes = (*changes[-(CHANGES_KEPT - 1) :], (at_ns, level))
    return replace(was, judge=judge, changes=changes, last_ns=at_ns, reasons=quality.reasons), quality
