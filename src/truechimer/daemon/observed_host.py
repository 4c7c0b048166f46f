"""Observed host: how far this machine's own clock (CLOCK_REALTIME) is off UTC as the laboratory states it, looked at
once a second, and said where it is further than it may be.

It sets no clock, and nothing that is served comes of it: the host's clock is the thing observed here, never a source
(`house.md` 4.7). The law of the file: what is called off is off by more than the limit whatever the truth inside the
bound is; so |x| - bound > limit, at `LOOKS_TO_SAY` looks in a row.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import fsum
from typing import Any

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.daemon.host_clocks import HostClocks, HostStep
from truechimer.daemon.lab_start import Started
from truechimer.instants import Instant, LeapTable
from truechimer.instants.unix import to_unix_ns
from truechimer.laboratory import timed
from truechimer.laboratory.replay import DAEMON
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.served_time import ServedTime, serve_at
from truechimer.watch.thresholds import in_force

NS_PER_S = 10**9
LOOK_EVERY_NS = NS_PER_S
LOOKS_TO_SAY = 5
"""Looks in a row before a change is said: a leap second, a stolen moment or one bad pair is not a clock that is off."""

RATE_LOOKS = 64
RATE_LOOKS_LEAST = 8
SUBJECT = "host-clock"


@dataclass(frozen=True, slots=True)
class HostClockSeen:
    """One look. `x_host_clock_minus_utc_s`: the host's clock minus UTC as stated, right to `bound_s` with the
    statement's own coverage; `rate`: how fast it moves (s/s) over the last `rate_over_s`, None before it is known.
    """

    tai_ns: int
    x_host_clock_minus_utc_s: float
    bound_s: float
    rate: float | None
    rate_over_s: float


class ObservedHost:
    """Looks at most once a second; its last look may be asked for (`document`) from any thread.

    `label_tai_ns` names a raw value for the alerts; `limit_s` is `[lab] host_clock_limit_s`, `limit_by_order`: the one
    that an order has set instead, if one holds; `freerun_allowed`: the laboratory observes, so its statement is one
    although nothing is steered.
    """

    def __init__(
        self,
        leaps: LeapTable,
        *,
        limit_s: float,
        label_tai_ns: Callable[[int], int],
        freerun_allowed: bool,
        clocks: HostClocks | None = None,
        limit_by_order: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._leaps, self._own_limit_s, self._label_tai_ns = leaps, limit_s, label_tai_ns
        self._limit_by_order = limit_by_order
        self._freerun_allowed = freerun_allowed
        self._clocks = clocks if clocks is not None else HostClocks()
        self._seen: HostClockSeen | None = None
        self._looked_raw_ns: int | None = None
        self._line: deque[tuple[int, float]] = deque(maxlen=RATE_LOOKS)
        self._steps = 0
        self._last_step: HostStep | None = None
        self.is_off = False
        """Whether the host's clock was said to be off, and its return has not been said."""
        self._contrary = 0

    @property
    def _limit_s(self) -> float:
        """The limit in force."""
        by_order = self._limit_by_order()
        return self._own_limit_s if by_order is None else by_order

    def look(self, page: ClockPage | None, steps: Iterable[HostStep] = ()) -> tuple[Alert, ...]:
        """Compare the host's clock with `page`, if a second has passed since the last look; return what is to be said.

        `steps` are the movements of the host's clock since the last call: its rate is learned anew after one.
        """
        for step in steps:
            self._steps += 1
            self._last_step = step
            self._line.clear()
        raw_ns = self._clocks.raw_ns()
        if self._looked_raw_ns is not None and raw_ns - self._looked_raw_ns < LOOK_EVERY_NS:
            return ()
        self._looked_raw_ns = raw_ns
        self._seen = None if page is None else self._compare(page)
        return () if self._seen is None else self._judge(self._seen, raw_ns)

    def document(self) -> dict[str, Any]:
        """Return the block `host_clock` of `status`; without the difference where no time can be stated."""
        seen, step = self._seen, self._last_step
        body: dict[str, Any] = {"limit_s": self._limit_s, "is_off": self.is_off, "steps": self._steps}
        if step is not None:
            body["last_step_s"] = step.moved_s
            body["last_step_tai_ns"] = self._label_tai_ns(step.raw_ns)
        if seen is not None:
            body |= {"x_host_clock_minus_utc_s": seen.x_host_clock_minus_utc_s, "bound_s": seen.bound_s}
            if seen.rate is not None:
                body |= {"rate": seen.rate, "rate_over_s": seen.rate_over_s}
        return body

    def _compare(self, page: ClockPage) -> HostClockSeen | None:
        """Read both clocks at one moment; None where the laboratory can state no time."""
        pair = self._clocks.take_pair()
        stated = serve_at(page, pair.raw_ns, freerun_allowed=self._freerun_allowed)
        if not isinstance(stated, ServedTime):
            self._line.clear()
            return None
        x_s = (pair.realtime_ns - self._unix_ns(stated.instant)) / NS_PER_S
        self._line.append((pair.raw_ns, x_s))
        over_s = (self._line[-1][0] - self._line[0][0]) / NS_PER_S
        return HostClockSeen(
            stated.instant.tai_ns_floor, x_s, stated.bound_s + pair.half_width_ns / NS_PER_S, self._rate(), over_s
        )

    def _unix_ns(self, instant: Instant) -> int:
        """Return what a clock that is right shows: Linux gives the second before an inserted one twice."""
        return to_unix_ns(instant, self._leaps, repeats="23:59:59", beyond_expiry="flag")

    def _rate(self) -> float | None:
        """Return the slope of the last looks, by least squares."""
        n = len(self._line)
        if n < RATE_LOOKS_LEAST:
            return None
        begin_ns = self._line[0][0]
        t = [(raw_ns - begin_ns) / NS_PER_S for raw_ns, _ in self._line]
        t_mean, x_mean = fsum(t) / n, fsum(x for _, x in self._line) / n
        return fsum((at - t_mean) * (x - x_mean) for at, (_, x) in zip(t, self._line, strict=True)) / fsum(
            (at - t_mean) ** 2 for at in t
        )

    def _judge(self, seen: HostClockSeen, raw_ns: int) -> tuple[Alert, ...]:
        """Return the alert of a change that has lasted."""
        x_s = abs(seen.x_host_clock_minus_utc_s)
        # off where it is so for any truth inside the bound; right again where the best estimate is within the limit
        is_contrary = x_s <= self._limit_s if self.is_off else x_s - seen.bound_s > self._limit_s
        self._contrary = self._contrary + 1 if is_contrary else 0
        if self._contrary < LOOKS_TO_SAY:
            return ()
        self._contrary, self.is_off = 0, not self.is_off
        figures = f"{seen.x_host_clock_minus_utc_s:+.6f} s from UTC as stated here (known to {seen.bound_s:.1e} s)"
        because = (f"host clock - UTC = {seen.x_host_clock_minus_utc_s!r} s, bound {seen.bound_s!r} s",)
        if self.is_off:
            kind, severity = AlertKind.BOUND_EXCEEDED, AlertSeverity.WARNING
            says = f"this machine's own clock is {figures}; {self._limit_s:g} s are allowed (host_clock_limit_s)"
            do_next = (
                "look at what sets this machine's clock and whom that follows; programs that stamp with it are off"
            )
        else:
            kind, severity = AlertKind.CLOCK_RETURNED, AlertSeverity.NOTICE
            says, do_next = f"this machine's own clock is right again: {figures}", "nothing"
        return (Alert(kind, DAEMON, SUBJECT, severity, says, because, self._label_tai_ns(raw_ns), do_next),)


def observed_host(started: Started) -> ObservedHost | None:
    """Return the watch on this host's clock; None where UTC is simulated and has nothing to do with it."""
    if started.config.simulated:
        return None
    return ObservedHost(
        started.config.leaps,
        limit_s=started.lab.lab.host_clock_limit_s,
        label_tai_ns=started.label.at,
        freerun_allowed=started.config.observing,
        limit_by_order=lambda: _by_order(started),
    )


def _by_order(started: Started) -> float | None:
    """Return the limit that an order has set and holds at the last epoch, held to its floor and its ceiling."""
    orders = started.state.orders
    if orders is None or not orders.timed:
        return None
    found = timed.values(orders.timed, "monitor-threshold", started.state.epoch_ns)
    return in_force(found, SUBJECT) if SUBJECT in found else None
