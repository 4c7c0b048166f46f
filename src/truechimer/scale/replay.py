"""Replay: run the ensemble over recorded readings, epoch by epoch, and keep every clock minus the scale.

It opens no file and steers nothing: rows in, a series out. Readings are cleaned and brought to the pivot
as in a laboratory (`compare.cleaning`, `compare.pivot`), then one of `scale.engines` makes the scale; a laboratory in
service runs `at1`. There are no outside links, host and records. Names that claim UTC are references: they carry no
weight.

Source: the contract, "Python API" (`scale.replay(readings, clocks, algorithm)`) and "Files" (Scale CSV).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.register import host_clock, is_reference
from truechimer.compare import stretch
from truechimer.compare.cleaning import LinkHistory
from truechimer.errors import Misuse, Rejected
from truechimer.formats import reading_columns
from truechimer.formats.finding import Finding
from truechimer.formats.reading_columns import ReadingColumns
from truechimer.formats.readings_csv import mjd_text_of_ns
from truechimer.scale import algos, at1, departure, plausibility
from truechimer.scale.departure_replay import Spoken, Witnesses
from truechimer.scale.detection_run import Judgements
from truechimer.scale.engines import ALGORITHMS, DEFAULT_ALGORITHM, Learned, engine
from truechimer.scale.record import Record, sort_out
from truechimer.scale.row import Row
from truechimer.scale.state import REASONS, Membership

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCALE_HEADER = "epoch_mjd,clock,x_clock_minus_scale_s,weight,state,reason\n"

STATES = {
    Membership.ABSENT: "absent",
    Membership.LEARNING: "learning",
    Membership.IN: "in",
    Membership.SUSPECT: "suspect",
    Membership.OUT_STEP: "out",
    Membership.OUT_RATE: "out",
    Membership.OBSERVER: "observer",
    Membership.DISPUTED: "disputed",
    Membership.DIVIDED: "divided",
    Membership.ALIKE: "out",
    Membership.REPLAYED: "out",
    Membership.DOUBTED: "doubted",
}
"""The word in the column `state`; the column `reason` says why a clock carries no weight."""

_NOT_USED = {
    stretch.NO_READING: "no reading at this epoch: predicted",
    stretch.FROZEN: "its reading is frozen (the same value again and again): predicted",
    stretch.NO_PATH: "no chain of readings connects it to the others at this epoch: predicted",
}
STRETCH, SHORTEST_STRETCH, VALUES_AT_ONCE = 256, 32, 60_000
"""So many epochs at most are taken in at once, and fewer of many clocks: what is in hand stays in the cache."""
_DAY_NS = 86_400 * 10**9
LONGEST_INTERVAL_S = 100.0 * 86_400.0
"""Readings further apart make no scale: no clock is predicted so far."""


class ReplayMisuse(Misuse):
    """A replay was asked for something that this version cannot do."""


class ReplayRejected(Rejected):
    """The readings cannot make a scale."""


@dataclass(frozen=True, slots=True)
class Change:
    """What detection was sure of at an epoch (index): `clock` stepped by `stepped_s`, or changed its rate by `moved_y`
    within `moved_over_s`; 0 where it did not.
    """

    epoch: int
    clock: int
    stepped_s: float
    moved_y: float
    moved_over_s: float


@dataclass(frozen=True, slots=True, eq=False)
class ScaleSeries:
    """The scale over a record; arrays have shape `(n_epochs,)` or `(n_epochs, n_clocks)`.

    `epoch_tai_ns`; `x_clock_minus_scale_s`: predicted where a clock was not read (NaN before its first reading), else
    measured by `at1`, `kalman` and `algos`; `bands` leaves to the counter the part of a departure that the counter's
    noise explains, so that differences of clocks agree with the readings within their `u_s`; `weight`; `state`:
    `Membership` of each clock, int8; `unused`: why a clock had no say at an epoch although it is a member (0: it had),
    int8; `divided`: clocks disagreed and no majority said who was right; `y_clock_minus_scale`: rate of each clock at
    the end, NaN where none was learned; `epochs_read`: epochs at which each clock was read; `rejected`: rows that were
    not used, with the line where there is one; `learned`: noise and drift of each clock at the end, None where the
    algorithm does not learn them; `noticed`: what the record as a whole says of its own making (`plausibility`); the
    rows are used. `changes`: steps of phase and changes of rate that detection was sure of, in order of time;
    `detection_floor_s (n_clocks,)`: largest movement of each clock within a day that the tests of the record's last day
    left unseen (NaN where there was no test); `month_tai_ns (n_days,)`, `weight_month (n_days, n_clocks)`: weight at
    the longest averaging times, once a day, empty where the algorithm has one weight only; `pairs`: names that were
    compared; `spoken`: what the references say of the scale (`departure`).
    """

    algorithm: str
    clocks: tuple[Clock, ...]
    epoch_tai_ns: Ints
    x_clock_minus_scale_s: Floats
    weight: Floats
    state: NDArray[np.int8]
    unused: NDArray[np.int8]
    divided: NDArray[np.bool_]
    y_clock_minus_scale: Floats
    epochs_read: Ints
    rejected: tuple[Finding, ...]
    learned: Learned | None = None
    noticed: tuple[Finding, ...] = ()
    changes: tuple[Change, ...] = ()
    detection_floor_s: Floats = field(default_factory=lambda: np.zeros(0))
    month_tai_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    weight_month: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    pairs: tuple[tuple[str, str], ...] = ()
    spoken: tuple[Spoken, ...] = ()

    def reason(self, epoch: int, clock: int) -> str:
        """Say why a clock carries no weight at an epoch (indices); empty where it carries some."""
        unused = int(self.unused[epoch, clock])
        status = int(self.state[epoch, clock])
        if unused and (status != Membership.ABSENT or unused == stretch.NO_PATH):
            return _NOT_USED[unused]
        return REASONS[Membership(status)] or "no say at this epoch: it listens after a silence"


def clocks_in(rows: ReadingColumns | Iterable[Row]) -> tuple[Clock, ...]:
    """Return a clock for every name in the rows that does not claim UTC, in order of appearance.

    Kinds are not known: `host` is the host, all others are oscillators whose noise is learned.
    """
    pairs = rows.pairs if isinstance(rows, ReadingColumns) else ((row.a, row.b) for row in rows)
    names = dict.fromkeys(name for pair in pairs for name in pair if not is_reference(name))
    return tuple(host_clock() if name == "host" else Clock(name=name, kind=ClockKind.OSCILLATOR) for name in names)


def replay(
    rows: ReadingColumns | Iterable[Row],
    clocks: Sequence[Clock] | None = None,
    algorithm: str = DEFAULT_ALGORITHM,
    *,
    tau_weight_s: float = at1.TAU_WEIGHT_S,
    weight_cap_n: float = at1.WEIGHT_CAP_N,
    interval_s: float | None = None,
    departure_limit_s: float = departure.LIMIT_S,
    progress: Callable[[int, int], None] | None = None,
) -> ScaleSeries:
    """Run the ensemble over readings.

    `clocks` None: every name found is a clock to be learned (`clocks_in`). `interval_s`: a scale step at most this
    often (at each epoch where None). `departure_limit_s`: from where on a departure of the scale from a reference is
    said (`departure`). `progress(done, all)` is called now and then. A row from an unknown clock, that is
    not finite, that falls back in time or that repeats its pair is put aside, named in `rejected`; all others are used.
    Raises `ReplayMisuse` for an algorithm that is not built, `ReplayRejected` where no row is left.
    """
    if algorithm not in ALGORITHMS:
        raise ReplayMisuse(f"algorithm {algorithm!r} is not built in this version: {', '.join(ALGORITHMS)}")
    columns = rows if isinstance(rows, ReadingColumns) else reading_columns.of_rows(list(rows))
    known = tuple(clocks) if clocks is not None else clocks_in(columns)
    if not any(clock.name == "host" for clock in known) and any("host" in pair for pair in columns.pairs):
        known += (host_clock(),)
    record = sort_out(columns, known)
    register, n_epochs = record.register, len(record.epoch_tai_ns)
    if not n_epochs or not known:
        raise ReplayRejected(
            f"none of {len(columns)} readings can be used; give rows that compare clocks with each other or with a "
            "reference, with numbers in them"
        )
    gaps = np.diff(record.epoch_tai_ns)
    median_s = int(np.sort(gaps)[len(gaps) // 2]) / 1e9 if len(gaps) else 0.0
    # readings that come more seldom than scale steps were asked for are judged as they come
    usual_s = max(interval_s or 0.0, median_s) or at1.INTERVAL_S
    if usual_s > LONGEST_INTERVAL_S:
        raise ReplayRejected(
            f"epochs usually lie {usual_s / 86_400.0:.0f} d apart; a scale needs readings every "
            f"{LONGEST_INTERVAL_S / 86_400.0:.0f} d or more often: is the epoch in the unit that the header says?"
        )
    fold = _Fold(
        record,
        algorithm=algorithm,
        tau_weight_s=tau_weight_s,
        weight_cap_n=weight_cap_n,
        interval_s=interval_s,
        usual_s=usual_s,
        departure_limit_s=departure_limit_s,
    )
    while fold.done < n_epochs:
        fold.take()
        if progress is not None:
            progress(fold.done, n_epochs)
    members = [clock.name for clock, able in zip(register.clocks, fold.eligible.tolist(), strict=True) if able]
    links = [register.link_name(j) for j in range(len(register.links))]
    noticed = plausibility.check(record.columns, members) + plausibility.repeated(fold.raw, links)
    return replace(fold.series(algorithm, record.rejected), noticed=noticed)


class _Fold:
    """The ensemble under way over a record."""

    def __init__(
        self,
        record: Record,
        *,
        algorithm: str,
        tau_weight_s: float,
        weight_cap_n: float,
        interval_s: float | None,
        usual_s: float,
        departure_limit_s: float,
    ) -> None:
        register, n_epochs = record.register, len(record.epoch_tai_ns)
        n = register.n_clocks
        self.record = record
        self.register = register
        self.engine = engine(
            algorithm,
            register.clocks,
            interval_s=usual_s,
            tau_weight_s=tau_weight_s,
            weight_cap_n=weight_cap_n,
            references=register.n_nodes - register.n_clocks,
        )
        self.eligible = self.engine.eligible
        self.members = int(self.eligible.sum())
        self.links = LinkHistory.empty(len(register.links))
        self.interval_ns = None if interval_s is None else max(round(interval_s * 1e9), 1)
        self.scale_index = -(2**63)
        self.done = 0
        self.preferred = next((i for i, clock in enumerate(register.clocks) if self.eligible[i]), 0)
        self.epoch_ns = record.epoch_tai_ns
        # filled stretch by stretch, each epoch once
        self.x = np.empty((n_epochs, n))
        self.weight = np.empty((n_epochs, n))
        self.membership = np.empty((n_epochs, n), np.int8)
        self.unused = np.empty((n_epochs, n), np.int8)
        self.divided = np.empty(n_epochs, np.bool_)
        self.read = np.zeros(n, np.int64)
        self.raw = np.empty((n_epochs, len(register.links)))
        self.at_once = min(STRETCH, max(SHORTEST_STRETCH, VALUES_AT_ONCE // n))
        self.changes: list[Change] = []
        self.floor_s = np.zeros((2, n))
        self.months: list[tuple[int, Floats]] = []
        self.next_day_ns = -(2**63)
        self.witnesses = Witnesses(record, limit_s=departure_limit_s)
        self.notes_days = self.engine.learned() is not None or bool(register.outside)

    def take(self) -> None:
        """Take the next epochs in: a good many, but not beyond one at which the weights of a day are noted."""
        begin = self.done
        end = min(begin + self.at_once, len(self.epoch_ns))
        if self.notes_days:
            day = begin + int(np.searchsorted(self.epoch_ns[begin:end], self.next_day_ns))
            end = min(end, day + 1)
        epoch_ns = self.epoch_ns[begin:end]
        x, u = self.record.stretch(begin, end)
        self.raw[begin:end] = x
        against, self.links = stretch.against_pivot(
            epoch_ns, x, u, self.links, self.register, preferred=self.preferred, several=self.members > 1
        )
        out = self.engine.run(epoch_ns, against.x_node_minus_pivot_s, against.u2_s2, self._due(epoch_ns))
        self.x[begin:end], self.weight[begin:end] = out.x_clock_minus_scale_s, out.weight
        self.membership[begin:end], self.divided[begin:end] = out.membership, out.divided
        # of a clock that never had a say: only that no reading of it says anything to the others
        unheard = (out.membership == Membership.ABSENT) & (against.why != stretch.NO_PATH)
        self.unused[begin:end] = np.where(unheard, 0, against.why)
        self.read += (against.why == stretch.READ).sum(axis=0)
        self._note(begin, end, out.said)
        self._witness(begin, end, x, u)
        self.done = end

    def _witness(self, begin: int, end: int, x: Floats, u: Floats) -> None:
        """Hold what the references say against the scale."""
        if not self.register.outside:
            return
        learned = self.engine.learned()
        weight = self.weight[end - 1] if learned is None else learned.weight_month
        noise = None if learned is None else learned.noise
        self.witnesses.take(begin, end, x, u, self.x, weight, noise)

    def _due(self, epoch_ns: Ints) -> NDArray[np.bool_]:
        """Return at which epochs a scale step is due."""
        if self.interval_ns is None:
            return np.ones(len(epoch_ns), np.bool_)
        index = (epoch_ns + self.interval_ns // 2) // self.interval_ns
        due: NDArray[np.bool_] = index > np.concatenate(([self.scale_index], index[:-1]))
        self.scale_index = int(index[-1])
        return due

    def _note(self, begin: int, end: int, said: Judgements | None) -> None:
        """Keep what detection was sure of, its floor of this day and of the day before, and a day's weights."""
        n, last = self.register.n_clocks, end - begin - 1
        last_ns = int(self.epoch_ns[end - 1])
        is_new_day = last_ns >= self.next_day_ns
        if is_new_day:
            self.next_day_ns = last_ns + _DAY_NS
        if said is None:
            return
        floor = said.floor_s[:, :n]
        self.floor_s[1] = np.maximum(self.floor_s[1], floor[:last].max(axis=0, initial=0.0))
        if is_new_day:
            self.floor_s[0] = self.floor_s[1]
            self.floor_s[1] = 0.0
            learned = self.engine.learned()
            if learned is not None:
                self.months.append((last_ns, learned.weight_month))
        self.floor_s[1] = np.maximum(self.floor_s[1], floor[last])
        stepped, moved, over = said.stepped_s[:, :n], said.moved[:, :n, 0], said.moved[:, :n, 1]
        for k, i in zip(*(where.tolist() for where in np.nonzero((stepped != 0.0) | (moved != 0.0))), strict=True):
            change = Change(begin + k, i, float(stepped[k, i]), float(moved[k, i]), float(over[k, i]))
            self.changes.append(change)

    def series(self, algorithm: str, rejected: tuple[Finding, ...]) -> ScaleSeries:
        """Return what was made."""
        learned = self.engine.learned()
        if algorithm == "algos":
            # after the fact: the scale so far is the reference that the batches are computed against
            read = np.where(self.unused == 0, self.x, np.nan)
            drift = np.zeros(read.shape[1]) if learned is None else learned.drift
            batched, self.weight = algos.run(self.epoch_ns, read, drift)
            apart = batched - read
            self.x += np.nanmax(np.where(np.isfinite(apart).any(axis=1, keepdims=True), apart, 0.0), axis=1)[:, None]
        return ScaleSeries(
            algorithm,
            self.register.clocks,
            self.epoch_ns,
            self.x,
            self.weight,
            self.membership,
            self.unused,
            self.divided,
            self.engine.rates(),
            self.read,
            rejected,
            learned,
            changes=tuple(self.changes),
            detection_floor_s=np.where(self.floor_s.max(axis=0) > 0.0, self.floor_s.max(axis=0), np.nan),
            month_tai_ns=np.array([at for at, _ in self.months], np.int64),
            pairs=tuple((self.register.name_of(link.a), self.register.name_of(link.b)) for link in self.register.links),
            spoken=tuple(self.witnesses.spoken),
            weight_month=np.array([weights for _, weights in self.months]).reshape(-1, self.register.n_clocks),
        )


def csv_lines(series: ScaleSeries) -> Iterator[str]:
    """Yield the Scale CSV (contract): the header, then the lines of one epoch at a time; x is empty where nothing is
    known of a clock.
    """
    yield SCALE_HEADER
    words = {int(membership): word for membership, word in STATES.items()}
    middles = [f",{clock.name}," for clock in series.clocks]
    tails: list[str] = []
    before = b""
    for k, epoch_ns in enumerate(series.epoch_tai_ns.tolist()):
        at = mjd_text_of_ns(epoch_ns)
        # what follows x is mostly that of the epoch before
        now = series.weight[k].tobytes() + series.state[k].tobytes() + series.unused[k].tobytes()
        if now != before or not tails:
            before = now
            weight, state = series.weight[k].tolist(), series.state[k].tolist()
            reasons = ["" if weight[i] > 0.0 else series.reason(k, i) for i in range(len(middles))]
            tails = [f",{w!r},{words[s]},{why}\n" for w, s, why in zip(weight, state, reasons, strict=True)]
        values = [repr(x) if isfinite(x) else "" for x in series.x_clock_minus_scale_s[k].tolist()]
        yield "".join([at + middle + x + tail for middle, x, tail in zip(middles, values, tails, strict=True)])
