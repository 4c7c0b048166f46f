"""The oscillators of a simulated laboratory: phase and frequency of all clocks, stepped together over any intervals.

It knows no links, no UTC and no temperature: what else moves a clock comes in as forcing. It reads no clock and makes
no seed.

Source: white FM, random-walk FM and drift by the exact solution of dx = y dt + noise, dy = noise + drift dt over a
step (covariance q1 dt + q2 dt^3/3, q2 dt^2/2, q2 dt); flicker by `pole_ladder`. No step size is assumed: 600 s of
history, then 1 s live, is as exact as either. Levels follow NIST SP 1065: ADEV at 1 s is sqrt(q1) for white FM and
sqrt(q2/3) for random-walk FM.

Law of the file: one row of normal numbers makes one step, in one written order of operations, so that `run`, as
machine code or not, gives the bits that `step` gives.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from truechimer import kernel as kernels
from truechimer.clocks.clock import NoiseModel
from truechimer.errors import Misuse
from truechimer.kernel import kernel
from truechimer.sim.pole_ladder import (
    FAST_END_WHITE_FM,
    FIRST_PM_POLE,
    FLICKER_FM_VARIANCE,
    FLICKER_PM_VARIANCES,
    RATES_PER_S,
    SLOW_END_RANDOM_WALK_FM,
    PoleStep,
    step_over,
)

Array = NDArray[np.float64]

SECONDS_PER_DAY = 86_400.0
RUN_BLOCK = 8192
"""Steps that `run` draws at a time; machine code is used for full blocks only, since making it takes seconds once."""

_FM_POLES = len(RATES_PER_S)
_PM_POLES = len(FLICKER_PM_VARIANCES)
_KEPT_STEPS = 16
_NOTHING = np.zeros((_FM_POLES, 1))
_NO_POLES = PoleStep(decay=_NOTHING, drive=_NOTHING, gather=_NOTHING, together=_NOTHING, apart_squared=0.0)


@dataclass(frozen=True, slots=True)
class _Coefficients:
    """What one step of `dt_s` needs; arrays of shape (n_clocks,), poles of shape (n_poles, 1)."""

    dt_s: float
    rw_x: Array
    rw_y: Array
    own_x: Array
    drift_x: Array
    drift_y: Array
    fm: PoleStep
    pm_decay: Array
    pm_drive: Array


class OscillatorBank:
    """All clocks of a world: `step(dt_s)` moves them on and returns x, the signal phase of each in seconds.

    `x_s`: shape (n_clocks,), ideal time scale minus nothing: the clock's reading minus true time at the present
    epoch, with its phase noise. `y`: fractional frequency without flicker, forcing and white noise. Invariant: the
    state depends on the seed and on the sequence of steps alone.
    """

    def __init__(
        self,
        noise: Sequence[NoiseModel],
        rng: Generator,
        *,
        x_start_s: Sequence[float] | None = None,
        y_start: Sequence[float] | None = None,
    ) -> None:
        """Start at x = `x_start_s`, y = `y_start` (default 0), flicker in its stationary state; absent noise is 0."""
        n = len(noise)
        for start in (x_start_s, y_start):
            if start is not None and len(start) != n:
                raise Misuse(f"{len(start)} start values for {n} clocks")
        self.n_clocks = n
        self._rng = rng
        white_fm = _levels(noise, "white_fm_1s")
        floor = _levels(noise, "flicker_fm")
        walk_fm = _levels(noise, "random_walk_fm_1s")
        flicker_pm = _levels(noise, "flicker_pm_s")
        self._white_pm_s = _levels(noise, "white_pm_s")
        self._q1 = white_fm * white_fm + floor * floor * FAST_END_WHITE_FM
        self._q2 = 3.0 * walk_fm * walk_fm + floor * floor * SLOW_END_RANDOM_WALK_FM
        self._drift_per_s = _levels(noise, "drift_per_day") / SECONDS_PER_DAY
        self._fm_clocks = np.flatnonzero(floor)
        self._pm_clocks = np.flatnonzero(flicker_pm)
        self._fm_scale = floor[self._fm_clocks] * math.sqrt(FLICKER_FM_VARIANCE)
        self._pm_scale_s = flicker_pm[self._pm_clocks]
        self._fm_square = np.zeros(n)
        self._fm_square[self._fm_clocks] = self._fm_scale * self._fm_scale
        self._pm_weight = np.sqrt(np.array(FLICKER_PM_VARIANCES))[:, None]
        self._coefficients: dict[float, _Coefficients] = {}

        self._phase_s = np.zeros(n) if x_start_s is None else np.array(x_start_s, dtype=np.float64)
        self._y = np.zeros(n) if y_start is None else np.array(y_start, dtype=np.float64)
        row = rng.standard_normal(self.row_length)
        _, _, white, fm, pm = self._split(row)
        self._fm_state = fm.copy()
        self._pm_state = self._pm_weight * pm
        self._x_s = self._phase_s + self._phase_noise(white)

    @property
    def row_length(self) -> int:
        """Normal numbers that one step consumes."""
        return 3 * self.n_clocks + _FM_POLES * len(self._fm_clocks) + _PM_POLES * len(self._pm_clocks)

    @property
    def x_s(self) -> Array:
        """Signal phase of each clock now, seconds, shape (n_clocks,)."""
        return self._x_s.copy()

    @property
    def y(self) -> Array:
        """Frequency of each clock now without flicker and white noise, shape (n_clocks,)."""
        return self._y.copy()

    def step(self, dt_s: float, *, forced_x_s: Array | None = None, forced_y: Array | None = None) -> Array:
        """Move all clocks on by `dt_s` > 0 seconds and return x, shape (n_clocks,).

        `forced_x_s` is phase gained in this step from outside (temperature), `forced_y` a change of frequency that
        stays.
        """
        c = self._coefficients_of(dt_s)
        return self._advance(c, self._rng.standard_normal(self.row_length), forced_x_s, forced_y).copy()

    def run(
        self, n_steps: int, dt_s: float, *, forced_x_s: Array | None = None, forced_y: Array | None = None
    ) -> Array:
        """Do `n_steps` equal steps and return x after each, shape (n_steps, n_clocks); the same bits as `step` gives.

        The forcings have shape (n_steps, n_clocks).
        """
        x_s = np.empty((n_steps, self.n_clocks))
        c = self._coefficients_of(dt_s)
        for first in range(0, n_steps, RUN_BLOCK):
            last = min(first + RUN_BLOCK, n_steps)
            rows = self._rng.standard_normal((last - first, self.row_length))
            if kernels.COMPILED and last - first == RUN_BLOCK:
                self._run_compiled(
                    c, rows, _rows(forced_x_s, first, last), _rows(forced_y, first, last), x_s[first:last]
                )
                continue
            for k in range(first, last):
                x_s[k] = self._advance(
                    c,
                    rows[k - first],
                    None if forced_x_s is None else forced_x_s[k],
                    None if forced_y is None else forced_y[k],
                )
        return x_s

    def copy(self) -> "OscillatorBank":
        """Return an independent bank with the same state and the same future."""
        twin = copy.copy(self)
        vars(twin).update(
            _rng=copy.deepcopy(self._rng),
            _phase_s=self._phase_s.copy(),
            _y=self._y.copy(),
            _x_s=self._x_s.copy(),
            _fm_state=self._fm_state.copy(),
            _pm_state=self._pm_state.copy(),
            _coefficients=dict(self._coefficients),
        )
        return twin

    def kept(self) -> dict[str, Any]:
        """Return what `put_back` makes this bank of: where its clocks stand, and the generator's state."""
        names = ("_phase_s", "_y", "_x_s", "_fm_state", "_pm_state")
        return {name: getattr(self, name) for name in names} | {"rng": self._rng.bit_generator.state}

    def put_back(self, kept: dict[str, Any]) -> None:
        """Stand where a bank of the same clocks stood."""
        for name in ("_phase_s", "_y", "_x_s", "_fm_state", "_pm_state"):
            if kept[name].shape != getattr(self, name).shape:
                raise Misuse(f"{name} is of other clocks")
            setattr(self, name, kept[name].copy())
        self._rng.bit_generator.state = kept["rng"]

    def _advance(self, c: _Coefficients, row: Array, forced_x_s: Array | None, forced_y: Array | None) -> Array:
        own, walk, white, fm, pm = self._split(row)
        gained = self._y * c.dt_s
        gained += c.rw_x * walk
        gained += c.own_x * own
        gained += c.drift_x
        if len(self._fm_clocks):
            parts = c.fm.gather * self._fm_state
            parts += c.fm.together * fm
            # accumulate adds in written order whatever the shape; reduce would pair the terms where there is one clock
            gained[self._fm_clocks] += self._fm_scale * np.add.accumulate(parts, axis=0)[-1]
            self._fm_state *= c.fm.decay
            self._fm_state += c.fm.drive * fm
        if forced_x_s is not None:
            gained += forced_x_s
        self._phase_s += gained
        self._y += c.rw_y * walk
        self._y += c.drift_y
        if forced_y is not None:
            self._y += forced_y
        if len(self._pm_clocks):
            self._pm_state *= c.pm_decay
            self._pm_state += c.pm_drive * pm
        self._x_s = self._phase_s + self._phase_noise(white)
        return self._x_s

    def _phase_noise(self, white: Array) -> Array:
        noise: Array = self._white_pm_s * white
        if len(self._pm_clocks):
            noise[self._pm_clocks] += self._pm_scale_s * np.add.accumulate(self._pm_state, axis=0)[-1]
        return noise

    def _split(self, row: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Cut one row of normals: own x noise, random walk, white PM, poles of y, poles of x."""
        n, n_fm, n_pm = self.n_clocks, len(self._fm_clocks), len(self._pm_clocks)
        middle = 3 * n + _FM_POLES * n_fm
        return (
            row[:n],
            row[n : 2 * n],
            row[2 * n : 3 * n],
            row[3 * n : middle].reshape(_FM_POLES, n_fm),
            row[middle:].reshape(_PM_POLES, n_pm),
        )

    def _coefficients_of(self, dt_s: float) -> _Coefficients:
        kept = self._coefficients.get(dt_s)
        if kept is not None:
            return kept
        if not (dt_s > 0.0 and math.isfinite(dt_s)):
            raise Misuse(f"a step of {dt_s} s; steps are finite and forward")
        fm = step_over(dt_s) if len(self._fm_clocks) or len(self._pm_clocks) else _NO_POLES
        rw_y = np.sqrt(self._q2 * dt_s)
        own = self._q1 * dt_s + self._q2 * (dt_s * dt_s * dt_s / 12.0)
        own = own + self._fm_square * fm.apart_squared
        made = _Coefficients(
            dt_s=dt_s,
            rw_x=rw_y * (0.5 * dt_s),
            rw_y=rw_y,
            own_x=np.sqrt(own),
            drift_x=self._drift_per_s * (0.5 * dt_s * dt_s),
            drift_y=self._drift_per_s * dt_s,
            fm=fm,
            pm_decay=fm.decay[FIRST_PM_POLE:],
            pm_drive=self._pm_weight * fm.drive[FIRST_PM_POLE:],
        )
        if len(self._coefficients) >= _KEPT_STEPS:
            self._coefficients.pop(next(iter(self._coefficients)))
        self._coefficients[dt_s] = made
        return made

    def _run_compiled(
        self, c: _Coefficients, rows: Array, forced_x_s: Array | None, forced_y: Array | None, x_s: Array
    ) -> None:
        nothing = np.zeros((0, 0))
        _run_rows(
            rows,
            nothing if forced_x_s is None else np.ascontiguousarray(forced_x_s),
            nothing if forced_y is None else np.ascontiguousarray(forced_y),
            (c.rw_x, c.rw_y, c.own_x, c.drift_x, c.drift_y, self._white_pm_s),
            c.dt_s,
            (c.fm.gather[:, 0], c.fm.together[:, 0], c.fm.decay[:, 0], c.fm.drive[:, 0]),
            (c.pm_decay[:, 0], c.pm_drive[:, 0]),
            (self._fm_clocks, self._pm_clocks),
            (self._fm_scale, self._pm_scale_s),
            (self._phase_s, self._y, self._fm_state, self._pm_state),
            x_s,
        )
        self._x_s = x_s[-1].copy()


@kernel
def _run_rows(  # noqa: PLR0917 - a compiled function takes its arguments by position
    rows: Array,
    forced_x_s: Array,
    forced_y: Array,
    own: tuple[Array, Array, Array, Array, Array, Array],
    dt_s: float,
    fm: tuple[Array, Array, Array, Array],
    pm: tuple[Array, Array],
    clocks: tuple[NDArray[np.int64], NDArray[np.int64]],
    scales: tuple[Array, Array],
    state: tuple[Array, Array, Array, Array],
    x_s: Array,
) -> None:
    """Do one step per row, in place of `state`, exactly as `OscillatorBank._advance` orders it."""
    rw_x, rw_y, own_x, drift_x, drift_y, white_pm_s = own
    gather, together, fm_decay, fm_drive = fm
    pm_decay, pm_drive = pm
    fm_clocks, pm_clocks = clocks
    fm_scale, pm_scale_s = scales
    phase_s, y, fm_state, pm_state = state
    n = len(phase_s)
    n_fm, n_pm = len(fm_clocks), len(pm_clocks)
    fm_poles, pm_poles = len(gather), len(pm_decay)
    gained = np.empty(n)
    for k in range(len(rows)):
        row = rows[k]
        for i in range(n):
            gained[i] = y[i] * dt_s
            gained[i] += rw_x[i] * row[n + i]
            gained[i] += own_x[i] * row[i]
            gained[i] += drift_x[i]
        for j in range(n_fm):
            total = 0.0
            for p in range(fm_poles):
                normal = row[3 * n + p * n_fm + j]
                part = gather[p] * fm_state[p, j]
                part += together[p] * normal
                total = part if p == 0 else total + part
                fm_state[p, j] *= fm_decay[p]
                fm_state[p, j] += fm_drive[p] * normal
            gained[fm_clocks[j]] += fm_scale[j] * total
        for i in range(n):
            if forced_x_s.shape[0] > 0:
                gained[i] += forced_x_s[k, i]
            phase_s[i] += gained[i]
            y[i] += rw_y[i] * row[n + i]
            y[i] += drift_y[i]
            if forced_y.shape[0] > 0:
                y[i] += forced_y[k, i]
            x_s[k, i] = white_pm_s[i] * row[2 * n + i]
        for j in range(n_pm):
            total = 0.0
            for p in range(pm_poles):
                pm_state[p, j] *= pm_decay[p]
                pm_state[p, j] += pm_drive[p] * row[3 * n + fm_poles * n_fm + p * n_pm + j]
                total = pm_state[p, j] if p == 0 else total + pm_state[p, j]
            x_s[k, pm_clocks[j]] += pm_scale_s[j] * total
        for i in range(n):
            x_s[k, i] = phase_s[i] + x_s[k, i]


def _rows(values: Array | None, first: int, last: int) -> Array | None:
    return None if values is None else values[first:last]


def _levels(noise: Sequence[NoiseModel], name: str) -> Array:
    return np.array([getattr(model, name) or 0.0 for model in noise], dtype=np.float64)
