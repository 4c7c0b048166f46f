"""How far a receiver's link may be believed at each epoch: `ok`, `doubtful` or `refused`, with reasons and figures.

It gathers nothing (`receiver_epoch`) and steers nothing. A fold: state and epoch in, state and quality out; its memory
is a few numbers for each thing that is followed, however long the stream.

Two kinds of test. *Absolute* ones hold the receiver against what the laboratory knows: the surveyed antenna, the leap
table, UTC minus GPS time of a bulletin, published limits between systems, what no real sky does to C/N0. *Relative*
ones hold it against its own past: a slow reference that may move no faster than the quantity honestly can (`Limits`),
so that who drags the time faster than that leaves the reference behind, and who drags slower is left to the vote of
several links. While something is refused the reference stands still. A stream that was false from its first epoch shows
in absolute tests alone.

Sources: ITU-R TF.460 and IS-GPS-200 20.3.3.5.2.4 (UTC parameters; GPS time is kept within 1 us of UTC modulo 1 s);
Akos 2012 (AGC), Psiaki and Humphreys 2016 (what spoofing shows in a receiver). Law of the file: + - * / and sqrt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

from truechimer.compare.receiver_epoch import Position, ReceiverEpoch
from truechimer.instants import FS_PER_NS, BeforeUtcRejected, Instant, LeapTable
from truechimer.instants.weeks import GPS


class LinkLevel(StrEnum):
    """What may be done with a link's readings at an epoch."""

    OK = "ok"
    DOUBTFUL = "doubtful"  # used, with a larger sigma
    REFUSED = "refused"  # not used


class Reason(StrEnum):
    """Why a link is not simply believed."""

    NO_FIX = "no-fix"
    JAMMED = "jammed"  # C/N0 falls for all, or the receiver's own flag
    GAIN = "gain"  # AGC leaves its own past
    SKY_TOO_EVEN = "sky-too-even"  # satellites as strong as each other, or all too strong
    POSITION = "position"
    CLOCK_STEP = "clock-step"
    CLOCK_DRIFT = "clock-drift"
    CONSTELLATION = "constellation"  # one system's time against the others'
    UTC_PARAMETERS = "utc-parameters"
    LEAP_SECOND = "leap-second"
    DATE = "date"
    SPOOF_FLAG = "spoof-flag"


OUTAGES = frozenset({Reason.NO_FIX, Reason.JAMMED, Reason.GAIN})
"""Reasons for which nothing false is said, only nothing, or little."""

_ORDER = {LinkLevel.OK: 0, LinkLevel.DOUBTFUL: 1, LinkLevel.REFUSED: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an honest receiver at this place does. Doubtful from half of a limit, refused from the whole.

    `clock_rate`: the most that the reference of the time (the laboratory's clock against GPS time, with what the
    ionosphere adds) may move, s/s; `clock_s`: off it. `step_s`: of the receiver's oscillator against its own drift from
    one epoch to the next. `systems_s` off their past, `systems_rate`; `systems_most_s`: outright. `utc_minus_gps_s`:
    of a bulletin, within `utc_s`. `position_m` off the antenna. `cno_fall_db`: of the median; `cno_most_dbhz`: a median
    no sky gives; `cno_spread_db`: standard deviation over satellites that no sky goes below. `gain`: change of AGC, of
    its range. `clear_s`: how long a reason stands after it was seen last; `step_clear_s`: a step of the receiver's
    clock, where no clock of the laboratory is compared. `earliest_tai_ns`: no date is earlier; `date_s`: a date off the
    laboratory's own time.
    """

    clock_rate: float = 5e-12
    clock_s: float = 3e-8
    step_s: float = 6e-8
    systems_s: float = 2.4e-8
    systems_rate: float = 2e-12
    systems_most_s: float = 1e-6
    utc_minus_gps_s: float = 0.0
    utc_s: float = 2e-7
    position_m: float = 40.0
    cno_fall_db: float = 10.0
    cno_most_dbhz: float = 52.0
    cno_spread_db: float = 1.0
    gain: float = 0.12
    clear_s: float = 120.0
    step_clear_s: float = 86_400.0
    earliest_tai_ns: int = 0
    date_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Followed:
    """A quantity and its slow reference: `level`; `off`: its smoothed distance from it; `n`: values so far."""

    level: float = 0.0
    off: float = 0.0
    n: int = 0


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """`level` and `reasons` (each with its own level) at `epoch_tai_ns` (when the laboratory heard it, else by the
    receiver's date, or by the last one that was believed); `figures`: what was measured, in the unit of
    the name; `factor`: by which a reading's sigma is to be multiplied.
    """

    epoch_tai_ns: int
    level: LinkLevel
    reasons: tuple[tuple[Reason, LinkLevel], ...]
    figures: Mapping[str, float]

    @property
    def factor(self) -> float:
        """3 where doubtful, else 1."""
        return DOUBT_FACTOR if self.level is LinkLevel.DOUBTFUL else 1.0


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """What is carried from epoch to epoch. `antenna_m`: surveyed, or the mean of the first epochs (`surveyed` false).

    `positions`: how many there were; `off_m`: their smoothed distance; `last_ns`: the newest date that was believed;
    `clock_ns`: when the laboratory's clock was compared last; `seen`: how bad each reason that stands is, and when it
    was seen last.
    """

    antenna_m: Position | None = None
    surveyed: bool = False
    off_m: Position = (0.0, 0.0, 0.0)
    positions: int = 0
    n: int = 0
    last_ns: int = 0
    last_bias_s: float | None = None
    clock: Followed = Followed()
    clock_ns: int = 0
    gain: Followed = Followed()
    cno: Followed = Followed()
    systems: tuple[tuple[str, Followed], ...] = ()
    seen: tuple[tuple[Reason, LinkLevel, int], ...] = ()


DOUBT_FACTOR = 3.0
LEARN_EPOCHS = 20
LEARN_POSITIONS = 60
LEAST_SATELLITES = 4
EVEN_SATELLITES = 6
SMOOTH_S, POSITION_SMOOTH_S, RADIO_SMOOTH_S = 60.0, 20.0, 20.0
CLOCK_TAU_S, SKY_TAU_S = 3_600.0, 6 * 3_600.0
DB_RATE, GAIN_RATE = 5e-4, 5e-6
"""C/N0's median (dB/s) and AGC (of its range, /s) may move so fast by satellites that set and by temperature."""
GAP_S = 600.0
"""After a longer silence the oscillator's step is not asked for."""
LONGEST_GAP_S = 30 * 86_400
"""A date further ahead than this is believed only with the laboratory's own time beside it."""
WHOLE_SECONDS = 30.0
DRIFT_DOUBT = 2e-9
"""The drift is told in whole ns/s, and an oscillator wanders."""
MILLISECOND = 1e-3


def begun(antenna_m: Position | None) -> ReceiverState:
    """Return the state of a receiver of which nothing has been heard; `antenna_m`: Earth-fixed, None: to be learned."""
    return ReceiverState(antenna_m=antenna_m, surveyed=antenna_m is not None)


def followed(before: Followed, value: float, *, dt_s: float, smooth_s: float, tau_s: float, rate: float) -> Followed:
    """Return the reference after a value. It is a mean while it is learned; then it is drawn to the values within
    `tau_s`, and never faster than `rate`.
    """
    n = before.n + 1
    if before.n < LEARN_EPOCHS:
        return Followed(before.level + (value - before.level) / n, 0.0, n)
    gain = min(1.0, dt_s / smooth_s)
    off = before.off + gain * (value - before.level - before.off)
    most = rate * dt_s
    move = max(-most, min(most, off * min(1.0, dt_s / tau_s)))
    return Followed(before.level + move, off - move, n)


class _Findings:
    """The reasons of one epoch, the worst of each, and its figures."""

    def __init__(self) -> None:
        self.reasons: dict[Reason, LinkLevel] = {}
        self.figures: dict[str, float] = {}

    def say(self, reason: Reason, level: LinkLevel) -> None:
        if _ORDER[level] > _ORDER[self.reasons.get(reason, LinkLevel.OK)]:
            self.reasons[reason] = level

    def compare(self, reason: Reason, name: str, value: float, limit: float) -> None:
        """Hold the size of a figure against its limit: doubtful from half of it."""
        self.figures[name] = value
        if abs(value) >= limit:
            self.say(reason, LinkLevel.REFUSED)
        elif abs(value) >= 0.5 * limit:
            self.say(reason, LinkLevel.DOUBTFUL)


def step(
    state: ReceiverState,
    epoch: ReceiverEpoch,
    limits: Limits,
    *,
    leaps: LeapTable,
    heard_tai_ns: int | None = None,
    x_clock_minus_gnss_s: float | None = None,
) -> tuple[ReceiverState, LinkQuality]:
    """Judge one epoch.

    `heard_tai_ns`: when the laboratory heard it, by its own time: then the receiver's date is held against that, else
    against its own past alone. `x_clock_minus_gnss_s`: the laboratory's clock against the receiver's pulse; where it
    is not given, the receiver's own clock bias stands for it only if the receiver runs on the laboratory's clock: the
    caller passes it then.
    """
    found = _Findings()
    _date(found, state, epoch, limits, heard_tai_ns)
    # a date that is refused is no measure of how much time went by
    false_date = found.reasons.get(Reason.DATE) is LinkLevel.REFUSED
    now_ns = state.last_ns if false_date and state.n else epoch.epoch_tai_ns
    dt_s = min(max((now_ns - state.last_ns) / 1e9, 0.0), GAP_S) if state.n else 0.0
    frozen = any(level is LinkLevel.REFUSED for _, level, _ in state.seen)
    _fix_and_flags(found, epoch)
    antenna_m, off_m, positions = _position(found, state, epoch, limits, dt_s)
    cno = _sky(found, state, epoch, limits, dt_s, frozen=frozen)
    gain = _gain(found, state, epoch, limits, dt_s, frozen=frozen)
    _oscillator(found, state, epoch, limits, dt_s)
    clock, clock_ns = state.clock, state.clock_ns
    if x_clock_minus_gnss_s is not None:
        x, rate = x_clock_minus_gnss_s, limits.clock_rate
        since_s = min(max((now_ns - state.clock_ns) / 1e9, 0.0), GAP_S) if state.clock.n else 0.0
        clock_ns = now_ns
        clock = _follow(clock, x, since_s, frozen=frozen, smooth_s=SMOOTH_S, tau_s=CLOCK_TAU_S, rate=rate)
        found.compare(Reason.CLOCK_DRIFT, "clock_off_s", clock.off, limits.clock_s)
    systems = _systems(found, state, epoch, limits, dt_s, frozen=frozen)
    _utc(found, epoch, limits, leaps)
    seen = _seen(state, found, now_ns, limits, by_laboratory=clock.n > 0)
    after = ReceiverState(
        antenna_m=antenna_m,
        surveyed=state.surveyed,
        off_m=off_m,
        positions=positions,
        n=state.n + 1,
        last_ns=now_ns,
        last_bias_s=epoch.bias_s,
        clock=clock,
        clock_ns=clock_ns,
        gain=gain,
        cno=cno,
        systems=systems,
        seen=seen,
    )
    reasons = tuple([(reason, level) for reason, level, _ in seen])
    worst = max([level for _, level in reasons], key=_ORDER.__getitem__, default=LinkLevel.OK)
    return after, LinkQuality(now_ns if heard_tai_ns is None else heard_tai_ns, worst, reasons, found.figures)


def _follow(
    before: Followed, value: float, dt_s: float, *, frozen: bool, smooth_s: float, tau_s: float, rate: float
) -> Followed:
    return followed(before, value, dt_s=dt_s, smooth_s=smooth_s, tau_s=tau_s, rate=0.0 if frozen else rate)


def _seen(
    state: ReceiverState, found: _Findings, now_ns: int, limits: Limits, *, by_laboratory: bool
) -> tuple[tuple[Reason, LinkLevel, int], ...]:
    """Return the reasons that stand: those of this epoch, and older, worse ones that have not cleared."""
    standing = {reason: (level, when) for reason, level, when in state.seen}
    out = []
    for reason in Reason:
        level, when = found.reasons.get(reason, LinkLevel.OK), now_ns
        if reason in standing:
            # whoever has no clock to hold a step against cannot see that it is over
            long = reason is Reason.CLOCK_STEP and not by_laboratory
            clear_s = limits.step_clear_s if long else limits.clear_s
            old, since = standing[reason]
            if now_ns - since <= clear_s * 1e9 and _ORDER[old] > _ORDER[level]:
                level, when = old, since
        if level is not LinkLevel.OK:
            out.append((reason, level, when))
    return tuple(out)


def _date(found: _Findings, state: ReceiverState, epoch: ReceiverEpoch, limits: Limits, heard_ns: int | None) -> None:
    """A week number that leads back 1024 weeks, a date that is too early, a date the laboratory denies."""
    ahead_ns = epoch.epoch_tai_ns - state.last_ns
    if epoch.epoch_tai_ns < limits.earliest_tai_ns:
        found.say(Reason.DATE, LinkLevel.REFUSED)
    elif heard_ns is not None:
        found.compare(Reason.DATE, "date_off_s", (epoch.epoch_tai_ns - heard_ns) / 1e9, limits.date_s)
    elif state.n and (ahead_ns <= 0 or ahead_ns > LONGEST_GAP_S * 1e9):
        found.say(Reason.DATE, LinkLevel.REFUSED)


def _fix_and_flags(found: _Findings, epoch: ReceiverEpoch) -> None:
    if epoch.fix_ok is False or (epoch.used is not None and epoch.used < LEAST_SATELLITES):
        found.say(Reason.NO_FIX, LinkLevel.REFUSED)
    for reason, flag in ((Reason.JAMMED, epoch.jamming), (Reason.SPOOF_FLAG, epoch.spoofing)):
        if flag >= 2:
            found.say(reason, LinkLevel.REFUSED if flag >= 3 else LinkLevel.DOUBTFUL)


def _position(
    found: _Findings, state: ReceiverState, epoch: ReceiverEpoch, limits: Limits, dt_s: float
) -> tuple[Position | None, Position, int]:
    """Return the antenna, the smoothed distance of the position from it, and how many positions there were."""
    here = epoch.position_m
    if here is None:
        return state.antenna_m, state.off_m, state.positions
    n = state.positions + 1
    home = state.antenna_m
    if not state.surveyed and n <= LEARN_POSITIONS:
        home = here if home is None else _toward(home, here, 1.0 / n)
        return home, (0.0, 0.0, 0.0), n
    if home is None:
        return here, state.off_m, n
    away = (here[0] - home[0], here[1] - home[1], here[2] - home[2])
    gain = 1.0 if n == 1 else min(1.0, dt_s / POSITION_SMOOTH_S)
    off = _toward(state.off_m, away, gain)
    found.compare(Reason.POSITION, "position_off_m", sqrt(off[0] ** 2 + off[1] ** 2 + off[2] ** 2), limits.position_m)
    return home, off, n


def _toward(a: Position, b: Position, part: float) -> Position:
    return a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1]), a[2] + part * (b[2] - a[2])


def _sky(
    found: _Findings, state: ReceiverState, epoch: ReceiverEpoch, limits: Limits, dt_s: float, *, frozen: bool
) -> Followed:
    """C/N0 over satellites: too even or too strong for a sky, or fallen for all at once."""
    if not epoch.cno_dbhz:
        return state.cno
    ordered = sorted(epoch.cno_dbhz)
    n = len(ordered)
    median = ordered[n // 2] if n % 2 else 0.5 * (ordered[n // 2 - 1] + ordered[n // 2])
    mean = sum(ordered) / n
    spread = sqrt(sum([(each - mean) ** 2 for each in ordered]) / n)
    found.figures |= {"cno_median_dbhz": median, "cno_spread_db": spread}
    if n >= EVEN_SATELLITES:
        if median > limits.cno_most_dbhz:
            found.say(Reason.SKY_TOO_EVEN, LinkLevel.REFUSED)
        elif spread < limits.cno_spread_db:
            even = spread < 0.5 * limits.cno_spread_db
            found.say(Reason.SKY_TOO_EVEN, LinkLevel.REFUSED if even else LinkLevel.DOUBTFUL)
    cno = _follow(state.cno, median, dt_s, frozen=frozen, smooth_s=RADIO_SMOOTH_S, tau_s=SKY_TAU_S, rate=DB_RATE)
    if cno.off < 0.0:
        found.compare(Reason.JAMMED, "cno_fall_db", -cno.off, limits.cno_fall_db)
    return cno


def _gain(
    found: _Findings, state: ReceiverState, epoch: ReceiverEpoch, limits: Limits, dt_s: float, *, frozen: bool
) -> Followed:
    """AGC against its own past. Alone it makes a link doubtful and no more: a cable that was changed does that too."""
    if epoch.agc is None:
        return state.gain
    gain = _follow(state.gain, epoch.agc, dt_s, frozen=frozen, smooth_s=RADIO_SMOOTH_S, tau_s=SKY_TAU_S, rate=GAIN_RATE)
    found.figures["agc_off"] = gain.off
    if abs(gain.off) >= limits.gain:
        found.say(Reason.GAIN, LinkLevel.DOUBTFUL)
    return gain


def _oscillator(found: _Findings, state: ReceiverState, epoch: ReceiverEpoch, limits: Limits, dt_s: float) -> None:
    """The receiver's clock from one epoch to the next, against its own drift; whole milliseconds are its own habit."""
    if epoch.bias_s is None or epoch.drift is None or state.last_bias_s is None or not 0.0 < dt_s < GAP_S:
        return
    jump = epoch.bias_s - state.last_bias_s - epoch.drift * dt_s
    jump -= round(jump / MILLISECOND) * MILLISECOND
    found.compare(Reason.CLOCK_STEP, "clock_step_s", jump, limits.step_s + DRIFT_DOUBT * dt_s)


def _systems(
    found: _Findings, state: ReceiverState, epoch: ReceiverEpoch, limits: Limits, dt_s: float, *, frozen: bool
) -> tuple[tuple[str, Followed], ...]:
    """Each system's time against GPS time: within what is published, and where it has been."""
    known = dict(state.systems)
    for name, x in epoch.x_gps_minus_s:
        if abs(x) > limits.systems_most_s:
            found.say(Reason.CONSTELLATION, LinkLevel.REFUSED)
            found.figures[f"gps_minus_{name.lower()}_s"] = x
            continue
        known[name] = after = _follow(
            known.get(name, Followed()),
            x,
            dt_s,
            frozen=frozen,
            smooth_s=SMOOTH_S,
            tau_s=CLOCK_TAU_S,
            rate=limits.systems_rate,
        )
        found.compare(Reason.CONSTELLATION, f"gps_minus_{name.lower()}_off_s", after.off, limits.systems_s)
    return tuple(known.items())


def _utc(found: _Findings, epoch: ReceiverEpoch, limits: Limits, leaps: LeapTable) -> None:
    """Broadcast UTC parameters and leap seconds against the bulletin and the table."""
    if epoch.utc_minus_gps_s is not None:
        off = epoch.utc_minus_gps_s - limits.utc_minus_gps_s
        if abs(off) < 0.5:
            found.compare(Reason.UTC_PARAMETERS, "utc_minus_gps_off_s", off, limits.utc_s)
        else:
            found.figures["utc_minus_gps_off_s"] = off
            found.say(Reason.LEAP_SECOND if abs(off) < WHOLE_SECONDS else Reason.DATE, LinkLevel.REFUSED)
    if epoch.leap_s is None and epoch.leap_change_s is None:
        return
    now = Instant(epoch.epoch_tai_ns * FS_PER_NS)
    try:
        held = leaps.tai_minus_utc_at(now) - GPS.tai_minus_s
    except BeforeUtcRejected:
        found.say(Reason.DATE, LinkLevel.REFUSED)
        return
    # what the table does not know it cannot deny
    worst = LinkLevel.DOUBTFUL if leaps.is_expired(now) else LinkLevel.REFUSED
    if epoch.leap_s is not None and epoch.leap_s != held:
        found.figures["leap_s"] = float(epoch.leap_s)
        found.say(Reason.LEAP_SECOND, worst)
    if epoch.leap_change_s is not None and epoch.leap_change_in_s is not None and epoch.leap_change_in_s > 0:
        event = Instant((epoch.epoch_tai_ns + (epoch.leap_change_in_s + 2) * 10**9) * FS_PER_NS)
        change = leaps.tai_minus_utc_at(event) - leaps.tai_minus_utc_at(now)
        if change != epoch.leap_change_s:
            found.figures["leap_change_s"] = float(epoch.leap_change_s)
            found.say(Reason.LEAP_SECOND, LinkLevel.DOUBTFUL if leaps.is_expired(event) else LinkLevel.REFUSED)
