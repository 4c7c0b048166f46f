"""What a laboratory's journal says of UTC(k) day by day: each clock's weight in the scale, and how UTC(k) was steered.

It reads no disk and judges no clock. The journal is replayed, so that what is told follows from what was read; one that
does not replay is told nothing from. A day begins at 0 h UTC. Weights are the means over the day's steps of the scale;
steering is UTC(k) minus the scale at the day's end less that at its beginning, on the line that held at each.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from truechimer.clocks.clock import ClockKind
from truechimer.errors import Rejected
from truechimer.evidence.record import numbers_of
from truechimer.instants import LeapTable
from truechimer.instants.mjd import MJD_OF_1970
from truechimer.laboratory.replay import Known, replay
from truechimer.laboratory.state import LaboratoryState
from truechimer.steer.steering_order import Coordination

LEAST_STEP_S = 1e-11
"""A break of UTC(k) below what clock data can hold is none."""
NS_PER_DAY = 86_400 * 10**9


class AccountRejected(Rejected):
    """A journal of which nothing may be told, with the reason."""


@dataclass(frozen=True, slots=True)
class ClockAccount:
    """One clock: `weight` by MJD, the mean over the steps of that day; a day without a step is absent."""

    name: str
    kind: str
    bipm_code: str | None
    weight: dict[int, float]


@dataclass(frozen=True, slots=True)
class DayAccount:
    """One day. `steps` of the scale in it; `orders`: steering orders carried out; `y_steer`: the rate of UTC(k) against
    the scale at its last step, None before UTC(k) began; `x_steered_s`: by how much UTC(k) was moved against
    the scale from the day's first step to its last, its breaks left out; `x_broken_s`: the sum of breaks (signed
    orders), 0 where there were none.
    """

    mjd: int
    steps: int
    orders: int
    y_steer: float | None
    x_steered_s: float | None
    x_broken_s: float


@dataclass(frozen=True, slots=True)
class Account:
    """`records` of the journal and `last_hash`, SHA-256 (hex) of the last; `simulated`: its UTC is no real one."""

    clocks: tuple[ClockAccount, ...]
    days: tuple[DayAccount, ...]
    simulated: bool
    records: int
    last_hash: str


@dataclass(slots=True)
class _Day:
    steps: int = 0
    orders: int = 0
    x_broken_s: float = 0.0
    first: tuple[int, Coordination] | None = None
    last: tuple[int, Coordination] | None = None


@dataclass(slots=True)
class _Walk:
    leaps: LeapTable
    days: dict[int, _Day] = field(default_factory=dict)
    sums: dict[str, dict[int, float]] = field(default_factory=dict)
    known: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    before: Coordination | None = None
    simulated: bool = False

    def seen(self, body: dict[str, Any], state: LaboratoryState) -> None:
        """Take a record that replayed."""
        if body["kind"] == "run-start":
            self.simulated = self.simulated or body.get("simulated") is not False
        elif body["kind"] == "steer" and "refused" not in body:
            self.days.setdefault(self._mjd(int(body["epoch_tai_ns"])), _Day()).orders += 1
        elif body["kind"] == "scale-step":
            self._step(int(body["epoch_tai_ns"]), numbers_of(body["weight"], "1"), state)

    def _mjd(self, tai_ns: int) -> int:
        offset_s = self.leaps.entries[self.leaps.index_at(tai_ns * 10**6)].tai_minus_utc_s
        return MJD_OF_1970 + (tai_ns - offset_s * 10**9) // NS_PER_DAY

    def _step(self, epoch_ns: int, weights: Iterable[float], state: LaboratoryState) -> None:
        mjd = self._mjd(epoch_ns)
        day = self.days.setdefault(mjd, _Day())
        day.steps += 1
        for clock, weight in zip(state.register.clocks, weights, strict=False):
            code = None if clock.bipm_code is None or clock.kind is ClockKind.HOST else f"{clock.bipm_code:07d}"
            self.known[clock.name] = (clock.kind.value, code)
            of = self.sums.setdefault(clock.name, {})
            of[mjd] = of.get(mjd, 0.0) + weight
        here, before = state.coordination, self.before
        if here is None:
            return
        if before is not None:
            jump = here.at(here.epoch_ns) - before.at(here.epoch_ns)
            day.x_broken_s += jump if abs(jump) >= LEAST_STEP_S else 0.0
        day.first = day.first or (epoch_ns, here)
        day.last = (epoch_ns, here)
        self.before = here


def account(log: Iterable[bytes], *, leaps: LeapTable, known: Known | None = None) -> Account:
    """Replay a journal and return its days. Raises `AccountRejected` where it does not replay or holds no step of the
    scale.
    """
    walk = _Walk(leaps)
    last = b""
    count = 0

    def counted() -> Iterable[bytes]:
        nonlocal last, count
        for data in log:
            last, count = data, count + 1
            yield data

    outcome = replay(counted(), known, walk.seen)
    if outcome.difference is not None:
        says = f"record {outcome.difference.seq} does not replay ({outcome.difference.why})"
        raise AccountRejected(f"{says}: find out why before anything is told of it")
    if not walk.sums:
        raise AccountRejected("the journal holds no step of the scale: there is nothing to tell")
    clocks = tuple(
        ClockAccount(name, *walk.known[name], {mjd: total / walk.days[mjd].steps for mjd, total in of.items()})
        for name, of in walk.sums.items()
    )
    days = tuple(_told(mjd, walk.days[mjd]) for mjd in sorted(walk.days) if walk.days[mjd].steps)
    return Account(clocks, days, walk.simulated, count, sha256(last).hexdigest())


def _told(mjd: int, day: _Day) -> DayAccount:
    if day.first is None or day.last is None:
        return DayAccount(mjd, day.steps, day.orders, None, None, day.x_broken_s)
    moved = day.last[1].at(day.last[0]) - day.first[1].at(day.first[0]) - day.x_broken_s
    return DayAccount(mjd, day.steps, day.orders, day.last[1].y_steer, moved, day.x_broken_s)
