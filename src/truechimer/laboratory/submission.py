"""What a laboratory sends to the BIPM, out of its own journal: UTC(k) minus each clock at 0 h UTC, and steps of UTC(k).

It reads no disk, writes no columns (`formats.clock_data` does) and sends nothing. The journal is replayed, so that what
is sent follows from what was read in the same bytes; a journal that does not replay is not sent from. UTC(k) minus
clock = (UTC(k) minus scale) - (clock minus scale), between the two epochs around midnight. Clocks are sent by the code
that the BIPM gave them; a clock without one, or that was not read then, is named and left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from truechimer.clocks.clock import ClockKind
from truechimer.errors import Rejected
from truechimer.evidence.record import numbers_of
from truechimer.formats.clock_data import ClockReading, ClockStep
from truechimer.instants import LeapTable, UtcLabel, from_utc
from truechimer.instants.mjd import MJD_OF_1970
from truechimer.laboratory.replay import Known, replay
from truechimer.laboratory.state import LaboratoryState
from truechimer.steer.steering_order import Coordination

FURTHEST_S = 3_600.0
"""An epoch further from midnight than this says nothing of midnight."""
LEAST_STEP_S = 1e-11
"""Steps of UTC(k) below what the columns hold are none."""
NS_PER_DAY = 86_400 * 10**9


class SubmissionRejected(Rejected):
    """A journal from which nothing may be sent, with the reason."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A clock that is not in the file of a day (None: of no day), and why."""

    clock: str
    mjd: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Submission:
    """`readings` by day and clock; `steps` of UTC(k), one for each clock sent; `left_out`; `missing`: days that were
    asked for and of which there is nothing; `named`: what the journal calls its laboratory, the k of its UTC(k);
    `is_known`: it took published values of this laboratory, by its acronym, for its own.
    """

    readings: tuple[ClockReading, ...]
    steps: tuple[ClockStep, ...]
    left_out: tuple[LeftOut, ...]
    missing: tuple[int, ...]
    named: str = ""
    is_known: bool = False


@dataclass(slots=True)
class _Epoch:
    """One scale step: when, each clock minus the scale (NaN: not known), whether read, and the coordination."""

    tai_ns: int
    x_clock_minus_scale_s: list[float]
    is_read: list[bool]
    coordination: Coordination | None


@dataclass(slots=True)
class _Walk:
    """What is kept of a journal on the way through: the epochs before and after each midnight, and steps."""

    midnights: dict[int, int]
    around: dict[int, tuple[_Epoch | None, _Epoch | None]] = field(default_factory=dict)
    last: _Epoch | None = None
    steps: list[tuple[int, float]] = field(default_factory=list)
    clocks: tuple[tuple[str, str | None], ...] = ()
    read: set[int] = field(default_factory=set)
    simulated: bool = False
    named: str = ""
    codes: set[str] = field(default_factory=set)

    def seen(self, body: dict[str, Any], state: LaboratoryState) -> None:
        """Take a record that replayed."""
        if body["kind"] == "run-start":
            self.simulated = self.simulated or body.get("simulated") is not False
            self.named = str(body.get("name", ""))
            if "published" in body:
                self.codes.add(str(body["published"].get("laboratory", "")))
        if body["kind"] == "readings":
            self.read = {
                node
                for link, text in zip(state.register.links, body["x_a_minus_b_s"], strict=False)
                if text is not None
                for node in (link.a, link.b)
            }
        if body["kind"] != "scale-step":
            return
        epoch = int(body["epoch_tai_ns"])
        x = numbers_of(body["x_clock_minus_scale_s"], "s")
        here = _Epoch(epoch, list(x), [k in self.read for k in range(len(x))], state.coordination)
        self.clocks = tuple(
            (clock.name, None if clock.bipm_code is None or clock.kind is ClockKind.HOST else f"{clock.bipm_code:07d}")
            for clock in state.register.clocks
        )
        before = self.last
        if before is not None and before.coordination is not None and here.coordination is not None:
            jump = here.coordination.at(here.coordination.epoch_ns) - before.coordination.at(here.coordination.epoch_ns)
            if abs(jump) >= LEAST_STEP_S:
                self.steps.append((here.coordination.epoch_ns, jump))
        for mjd, midnight in self.midnights.items():
            if epoch >= midnight and (before is None or before.tai_ns < midnight):
                self.around[mjd] = (before, here)
        self.last = here


def prepare(
    log: Iterable[bytes],
    days: Sequence[int],
    *,
    laboratory: str,
    acronym: str,
    leaps: LeapTable,
    known: Known | None = None,
) -> Submission:
    """Replay a journal and return what is to be sent of some days (MJD).

    `laboratory`: the BIPM's code of five digits; `acronym`: as in Circular T. Raises `SubmissionRejected` where the
    journal does not replay, where its UTC is simulated, where it never had a UTC(k), or where it took published values
    of another laboratory for its own.
    """
    walk = _Walk({mjd: from_utc(UtcLabel(mjd, 0), leaps, beyond_expiry="flag").tai_fs // 10**6 for mjd in days})
    outcome = replay(log, known, walk.seen)
    if outcome.difference is not None:
        says = f"record {outcome.difference.seq} does not replay ({outcome.difference.why})"
        raise SubmissionRejected(f"{says}: find out why before anything is sent")
    if walk.last is None:
        raise SubmissionRejected("the journal holds no step of the scale: there is nothing to send")
    if walk.simulated:
        raise SubmissionRejected("this laboratory's UTC is simulated: nothing of it is ever sent")
    others = sorted(code for code in walk.codes if code.upper() != acronym.upper())
    if others:
        says = f"the journal took the published values of {', '.join(others)} for its own, not those of {acronym}"
        raise SubmissionRejected(f"{says}: name the laboratory that it is of")
    readings: list[ClockReading] = []
    left_out = [
        LeftOut(name, None, "it has no code of the BIPM (bipm_code in the laboratory's file)")
        for name, code in walk.clocks
        if code is None
    ]
    missing = []
    for mjd in sorted(walk.midnights):
        here = _of_day(walk, mjd, laboratory, left_out)
        readings += here
        if not here:
            missing.append(mjd)
    sent = sorted({each.clock for each in readings})
    first, last = min(days), max(days)
    steps = [
        ClockStep(_mjd_of(tai_ns, leaps), clock, jump * 1e9, 0.0, acronym, laboratory)
        for tai_ns, jump in walk.steps
        if first <= _mjd_of(tai_ns, leaps) <= last + 1
        for clock in sent
    ]
    return Submission(tuple(readings), tuple(steps), tuple(left_out), tuple(missing), walk.named, bool(walk.codes))


def _mjd_of(tai_ns: int, leaps: LeapTable) -> float:
    offset_s = leaps.entries[leaps.index_at(tai_ns * 10**6)].tai_minus_utc_s
    return round(MJD_OF_1970 + (tai_ns - offset_s * 10**9) / NS_PER_DAY, 2)


def _of_day(walk: _Walk, mjd: int, laboratory: str, left_out: list[LeftOut]) -> list[ClockReading]:
    before, after = walk.around.get(mjd, (None, None))
    midnight = walk.midnights[mjd]
    found = []
    for k, (name, code) in enumerate(walk.clocks):
        if code is None:
            continue
        values = [
            (epoch.tai_ns, epoch.coordination.at(epoch.tai_ns) - epoch.x_clock_minus_scale_s[k])
            for epoch in (before, after)
            if epoch is not None
            and epoch.coordination is not None
            and k < len(epoch.is_read)
            and epoch.is_read[k]
            and abs(epoch.tai_ns - midnight) <= FURTHEST_S * 1e9
            and epoch.x_clock_minus_scale_s[k] == epoch.x_clock_minus_scale_s[k]
        ]
        exact = [x for tai_ns, x in values if tai_ns == midnight]
        if exact:
            x_s = exact[0]
        elif len(values) == 2:
            (t0, x0), (t1, x1) = values
            x_s = x0 + (x1 - x0) * ((midnight - t0) / (t1 - t0))
        else:
            left_out.append(LeftOut(name, mjd, "it was not compared with UTC(k) around 0 h UTC"))
            continue
        found.append(ClockReading(mjd, laboratory, code, round(x_s * 1e9, 1)))
    return found
