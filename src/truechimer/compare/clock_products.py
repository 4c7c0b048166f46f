"""Clock products: the clock files of a network's analysis as one ensemble of clocks, ready to be folded.

It weighs nobody and makes no scale. Daily files come in any order; within a file all clocks stand against one datum,
whichever clock that is: only differences of clocks leave this module, so a change of the reference clock changes
nothing. Between files `day_boundaries` takes the jumps out.

A file's sigmas are formal: they are scaled, all by one factor, to what the quietest clocks show from reading to
reading; clocks without a sigma get the usual one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock, ClockKind, NoiseModel
from truechimer.clocks.register import is_reference
from truechimer.compare import day_boundaries
from truechimer.compare.day_boundaries import Joined, median
from truechimer.errors import Rejected
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.reading_columns import ReadingColumns
from truechimer.formats.rinex_clock import KINDS, RinexClock

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TAKEN_KINDS = ("AR", "AS")
"""Clocks of an analysis; calibrations, discontinuities and the monitoring of broadcast clocks are none."""
USUAL_U_S = 30e-12
"""Noise of a reading where no file states any."""
LEAST_CLOCKS_SHARE = 0.5
"""An epoch with fewer clocks than this part of the usual number is no epoch of the ensemble."""
MOST_CELLS = 60_000_000
"""Epochs times clocks: half a gigabyte for each array, a month of a hundred and fifty clocks at 30 s is a sixth."""
QUIETEST_SHARE, QUIETEST_LEAST = 0.05, 3
QUIET_ALIKE, QUIET_MORE = 1.6, 2.0
HAT_CLOCKS, HAT_ALIKE = 12, 6.0
FACTOR_MOST = 10.0
FULL_SHARE = 0.97
NOISE_LAGS_S = (0.0, 1_200.0, 3_600.0, 7_200.0)
MASER_AT_HOUR, ATOMIC_AT_HOUR = 4e-14, 1e-12
"""Deviations over an hour below which a clock is taken for a maser, and for an atomic clock."""
_HOUR_S = 3_600.0
_MEDIAN_OF_CHI2 = 0.4549


class ClockProductsRejected(Rejected):
    """The files make no ensemble."""


@dataclass(frozen=True, slots=True, eq=False)
class ClockTable:
    """Clocks minus the datum of each solution: `names (n,)`, `epoch_tai_ns (n_epochs,)`, `x_s` and `u_s (n_epochs, n)`,
    NaN where a clock was not read, `solution (n_epochs,)`: which file an epoch is of, in order of time.
    """

    names: tuple[str, ...]
    epoch_tai_ns: Ints
    x_s: Floats
    u_s: Floats
    solution: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Products:
    """The ensemble: phases joined over the boundaries, and what was found on the way. `u_factor`: by which formal
    sigmas were multiplied; `hub`: index of the clock that the others are compared with, at each epoch.
    """

    table: ClockTable
    joined: Joined
    u_factor: float
    hub: Ints

    def columns(self) -> ReadingColumns:
        """Return every clock minus the hub, epoch by epoch; the uncertainty is that of the clock's own reading."""
        x, names = self.joined.x_s, self.table.names
        row, clock = np.nonzero(np.isfinite(x) & (self.hub >= 0)[:, None])
        hub = self.hub[row]
        row, clock, hub = row[clock != hub], clock[clock != hub], hub[clock != hub]
        numbers, pair = np.unique(hub * len(names) + clock, return_inverse=True)
        return ReadingColumns(
            np.zeros(len(row), np.int64),
            self.table.epoch_tai_ns[row],
            pair.astype(np.int32),
            x[row, clock] - x[row, hub],
            self.joined.u_s[row, clock],
            tuple((names[each % len(names)], names[each // len(names)]) for each in numbers.tolist()),
        )


def gather(
    files: Sequence[tuple[str, RinexClock]], *, only: Iterable[str] | None = None, interval_s: float | None = None
) -> tuple[Products, list[Finding]]:
    """Return the ensemble of named files, and what had to be left out.

    `only`: names to be used (all where None). `interval_s`: epochs at whole multiples of it after a file's first are
    used (all where None). Raises `ClockProductsRejected` where no two clocks stand at one epoch, or where clocks times
    epochs are more than a machine should hold.
    """
    findings: list[Finding] = []
    wanted = None if only is None else set(only)
    solutions = []
    for name, value in files:
        solution = _solution(name, value, wanted, interval_s)
        if solution is None:
            says = f"{name}: no clock of an analysis ({' or '.join(TAKEN_KINDS)}) that is wanted: the file is not used"
            findings.append(Finding("no-clocks", says))
        else:
            solutions.append((name, solution))
    solutions.sort(key=lambda each: (int(each[1].epoch_tai_ns[0]), int(each[1].epoch_tai_ns[-1])))
    table = _stacked(solutions, findings)
    table = _thinned(table, findings)
    if len(table.epoch_tai_ns) == 0 or np.isfinite(table.x_s).sum(axis=1).max(initial=0) < 2:
        raise ClockProductsRejected("no two clocks stand at one epoch in these files: name files with station clocks")
    table, factor = _with_noise(table)
    joined = day_boundaries.join(table.epoch_tai_ns, table.x_s, table.u_s, table.solution)
    return Products(table, joined, factor, _hubs(table)), findings


def _solution(name: str, value: RinexClock, wanted: set[str] | None, interval_s: float | None) -> ClockTable | None:
    """Return the records of one file as a table, None where nothing is left."""
    kinds = [KINDS.index(kind) for kind in TAKEN_KINDS]
    use_name = np.array([not is_reference(name) and (wanted is None or name in wanted) for name in value.names])
    use = np.isin(value.kind, kinds)
    if len(use_name):
        use &= use_name[value.clock]
    if not use.any():
        return None
    if interval_s is not None:
        use &= (value.epoch_tai_ns - value.epoch_tai_ns[use].min()) % max(round(interval_s * 1e9), 1) == 0
    clock, epoch = value.clock[use], value.epoch_tai_ns[use]
    epochs, row = np.unique(epoch, return_inverse=True)
    numbers, column = np.unique(clock, return_inverse=True)
    _check_size(name, len(epochs), len(numbers))
    x = np.full((len(epochs), len(numbers)), np.nan)
    u = x.copy()
    x[row, column], u[row, column] = value.values[use, 0], value.values[use, 1]
    names = tuple(value.names[number] for number in numbers.tolist())
    return ClockTable(names, epochs, x, u, np.zeros(len(epochs), np.int64))


def _check_size(name: str, n_epochs: int, n_clocks: int) -> None:
    if n_epochs * n_clocks > MOST_CELLS:
        raise ClockProductsRejected(
            f"{name}: {n_epochs} epochs of {n_clocks} clocks are too many at once: thin them (--interval 300), name "
            "the clocks (--clocks), or give fewer days"
        )


def _stacked(solutions: list[tuple[str, ClockTable]], findings: list[Finding]) -> ClockTable:
    """Return the solutions one after the other; where two cover an epoch, it is the later one's."""
    names = tuple(dict.fromkeys(name for _, table in solutions for name in table.names))
    index = {name: i for i, name in enumerate(names)}
    _check_size("all files", sum(len(table.epoch_tai_ns) for _, table in solutions), len(names))
    pieces: list[tuple[Ints, Floats, Floats]] = []
    owners: list[str] = []
    for name, table in solutions:
        if pieces:
            before = pieces[-1][0]
            kept = before < table.epoch_tai_ns[0]
            if not kept.any():
                says = f"{name} covers the same time as {owners[-1]}: the former is not used; name one solution a day"
                findings.append(Finding("same-time", says))
                continue
            pieces[-1] = (before[kept], pieces[-1][1][kept], pieces[-1][2][kept])
        columns = [index[each] for each in table.names]
        x = np.full((len(table.epoch_tai_ns), len(names)), np.nan)
        u = x.copy()
        x[:, columns], u[:, columns] = table.x_s, table.u_s
        pieces.append((table.epoch_tai_ns, x, u))
        owners.append(name)
    if not pieces:
        return ClockTable((), np.zeros(0, np.int64), np.zeros((0, 0)), np.zeros((0, 0)), np.zeros(0, np.int64))
    return ClockTable(
        names,
        np.concatenate([piece[0] for piece in pieces]),
        np.concatenate([piece[1] for piece in pieces]),
        np.concatenate([piece[2] for piece in pieces]),
        np.concatenate([np.full(len(piece[0]), k, np.int64) for k, piece in enumerate(pieces)]),
    )


def _thinned(table: ClockTable, findings: list[Finding]) -> ClockTable:
    """Drop the epochs between those at which the whole network was solved."""
    if not len(table.epoch_tai_ns):
        return table
    count = np.isfinite(table.x_s).sum(axis=1)
    usual = np.median(count[count >= LEAST_CLOCKS_SHARE * count.max()])
    few = count < LEAST_CLOCKS_SHARE * usual
    if few.any():
        says = (
            f"{int(few.sum())} of {len(few)} epochs have less than half of the {int(usual)} clocks: not used "
            "(satellites alone, between those of the stations)"
        )
        findings.append(Finding("few-clocks-at-epoch", says, severity=Severity.WARNING))
    keep = ~few
    return replace(
        table,
        epoch_tai_ns=table.epoch_tai_ns[keep],
        x_s=table.x_s[keep],
        u_s=table.u_s[keep],
        solution=table.solution[keep],
    )


def _second_differences(table: ClockTable, lag: int = 1) -> Floats:
    """Return the variance of each clock's second difference over `lag` epochs (s^2), by medians; NaN where unknown.

    Differences of pairs of quiet clocks share out what is each one's own (the N-cornered hat); the others are held
    against the quietest of these.
    """
    out = np.full(len(table.names), np.nan)
    if len(table.epoch_tai_ns) < 2 * lag + 1:
        return out
    second = table.x_s[2 * lag :] - 2.0 * table.x_s[lag:-lag] + table.x_s[: -2 * lag]
    span = table.epoch_tai_ns[lag:] - table.epoch_tai_ns[:-lag]
    even = (span[lag:] == span[:-lag]) & (table.solution[2 * lag :] == table.solution[: -2 * lag])
    second = second[even]
    crude = _variance(second - median(second.T)[:, None])
    known = np.flatnonzero(np.isfinite(crude))
    quiet = known[np.argsort(crude[known], kind="stable")][:HAT_CLOCKS]
    if len(quiet) > 2:
        # a noisy clock among them would drown what the others differ by
        quiet = quiet[crude[quiet] <= HAT_ALIKE * crude[quiet[2]]]
    n = len(quiet)
    if n < 3:
        out[known] = crude[known]
        return out
    pair = np.zeros((n, n))
    for a, i in enumerate(quiet.tolist()):
        pair[a] = np.nan_to_num(_variance(second[:, quiet] - second[:, [i]]))
    whole = pair.sum() / 2.0
    own = (pair.sum(axis=1) - whole / (n - 1)) / (n - 2)
    own = np.maximum(own, 0.05 * whole / (n * (n - 1)))
    against = np.argsort(own, kind="stable")[:3]
    others = np.stack([_variance(second - second[:, [quiet[a]]]) - own[a] for a in against.tolist()])
    out = np.maximum(median(others), 0.0)
    out[quiet] = own
    out[~np.isfinite(crude)] = np.nan
    return out


def _variance(values: Floats) -> Floats:
    """Return the variance of each column by the median of its squares."""
    return median(values * values) / _MEDIAN_OF_CHI2


def _lag_of(table: ClockTable, tau_s: float) -> int:
    """Return the number of epochs nearest to a time, at least 1."""
    if len(table.epoch_tai_ns) < 2:
        return 1
    step_s = float(np.median(np.diff(table.epoch_tai_ns))) / 1e9
    return max(round(tau_s / step_s), 1)


def _with_noise(table: ClockTable) -> tuple[ClockTable, float]:
    """Return the table with the sigmas of readings as the quietest clocks show them, and the factor to the formal."""
    stated = np.where((table.u_s > 0.0) & np.isfinite(table.x_s), table.u_s, np.nan)
    usual = float(np.nanmedian(stated)) if np.isfinite(stated).any() else USUAL_U_S
    u = np.where(np.isfinite(stated), stated, np.where(np.isfinite(table.x_s), usual, np.nan))
    # White noise u of each reading makes second differences of 6 u^2, at whatever lag. The errors of a network's
    # solution wander over hours; the lag at which the quietest clocks show most says what a reading is worth.
    formal2 = median(u * u)
    factor2 = 0.0
    for tau_s in NOISE_LAGS_S:
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = _second_differences(table, _lag_of(table, tau_s)) / (6.0 * formal2)
        ratio = np.sort(ratio[np.isfinite(ratio) & (ratio > 0.0)])
        if len(ratio) > QUIETEST_LEAST:
            # the quietest were also the luckiest: all that are near them are heard
            lowest = ratio[max(round(QUIETEST_SHARE * len(ratio)), QUIETEST_LEAST) - 1]
            here = float(np.median(ratio[ratio <= QUIET_ALIKE * lowest]))
            # a little more at a long lag is the chance of its few samples
            if here > QUIET_MORE * factor2:
                factor2 = here
    factor = min(max(float(np.sqrt(factor2)), 1.0 / FACTOR_MOST), FACTOR_MOST) if factor2 > 0.0 else 1.0
    return replace(table, u_s=u * factor), factor


def _hubs(table: ClockTable) -> Ints:
    """Return the clock that the others are compared with at each epoch: one that is nearly always there, and quiet."""
    seen = np.isfinite(table.x_s)
    share = seen.mean(axis=0)
    size = np.nan_to_num(_second_differences(table), nan=np.inf)
    full = share >= FULL_SHARE * share.max()
    order = sorted(range(len(table.names)), key=lambda i: (not full[i], size[i] if full[i] else -share[i]))
    hub = np.full(len(seen), -1, np.int64)
    for i in order:
        hub = np.where((hub < 0) & seen[:, i], i, hub)
        if (hub >= 0).all():
            break
    return hub


def clocks_of(products: Products) -> tuple[Clock, ...]:
    """Return a clock for each name, the usual hub first, its kind guessed from its noise over an hour.

    Below 4e-14 only masers and fountains are that quiet (passive masers of satellites among them); to 1e-12 atomic
    clocks are, taken as rubidiums: caesiums cannot be told from them by noise, and no drift must be excluded. What is
    noisier than a maser starts with the white FM that it shows.
    """
    table = replace(products.table, x_s=products.joined.x_s)
    lag = _lag_of(table, _HOUR_S)
    if len(table.epoch_tai_ns) < 4 * lag:
        lag = max(len(table.epoch_tai_ns) // 4, 1)
    tau_s = lag * float(np.median(np.diff(table.epoch_tai_ns))) / 1e9
    square = _second_differences(table, lag) - 6.0 * median(table.u_s**2)
    sigma = np.sqrt(np.maximum(np.nan_to_num(square, nan=np.inf), 0.0) / 2.0) / tau_s
    first = int(np.bincount(products.hub[products.hub >= 0]).argmax())
    order = [first, *(i for i in range(len(table.names)) if i != first)]
    return tuple(_clock(table.names[i], float(sigma[i]), tau_s) for i in order)


def _clock(name: str, sigma: float, tau_s: float) -> Clock:
    """Return a clock whose deviation over `tau_s`, reading noise taken off, is `sigma`."""
    over_hour = sigma * np.sqrt(tau_s / _HOUR_S)
    if over_hour < MASER_AT_HOUR:
        return Clock(name=name, kind=ClockKind.MASER)
    noise = NoiseModel(white_fm_1s=min(float(sigma * np.sqrt(tau_s)), 1e-3))
    return Clock(
        name=name, kind=ClockKind.RUBIDIUM if over_hour < ATOMIC_AT_HOUR else ClockKind.OSCILLATOR, noise=noise
    )
