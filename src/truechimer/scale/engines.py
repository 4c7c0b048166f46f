"""Engines: every algorithm of the scale behind one interface, for whoever feeds it recorded readings.

An engine owns its state and takes one epoch at a time; the folds themselves (`at1`, `bands`, `kalman`) are pure. It
decides nothing. `bands` and `kalman` take who may carry weight from `scale.detection_fold`.
"""

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock
from truechimer.scale import (
    at1,
    at1_run,
    bands,
    bands_run,
    detection_fold,
    detection_run,
    detection_state,
    kalman,
    prediction,
)
from truechimer.scale.bands_state import BEST, DRIFT, DRIFT_U2, LAST_NS, SINCE_NS, STATUS, WEIGHT_DC
from truechimer.scale.state import Membership, ScaleState, ScaleStep

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ALGORITHMS = ("bands", "at1", "kalman", "algos")
DEFAULT_ALGORITHM = "bands"
"""Nothing measures better at all averaging times (`docs/measured/ensemble_quality.json`)."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What an algorithm has learned of the clocks; arrays of shape `(n_clocks,)` unless said otherwise.

    `noise (n, 4)`: white PM (s^2), white FM (s^2/s), flicker FM (floor squared), random-walk FM (1/s). `drift` (1/s)
    and its one sigma `u_drift`. `weight_month`: weight at the longest averaging times (that of a step is at the
    shortest).
    """

    noise: Floats
    drift: Floats
    u_drift: Floats
    weight_month: Floats

    def allan_deviation(self, clock: int, tau_s: float) -> float:
        """Return the clock's own Allan deviation at `tau_s` without drift, as learned."""
        white, frequency, floor, walk = self.noise[clock].tolist()
        return sqrt(3.0 * white / (tau_s * tau_s) + frequency / tau_s + floor + walk * tau_s / 3.0)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What many epochs say of the scale, a row for each: see `ScaleStep`; `said`: detection's judgements, None where
    the algorithm has its own.
    """

    x_clock_minus_scale_s: Floats
    weight: Floats
    membership: Ints
    divided: NDArray[np.bool_]
    said: detection_run.Judgements | None


class Engine(Protocol):
    """An algorithm under way. `eligible`: bool `(n,)`, clocks that may carry weight."""

    eligible: NDArray[np.bool_]

    def run(self, epoch_tai_ns: Ints, x_clock_minus_pivot_s: Floats, u2_s2: Floats, due: NDArray[np.bool_]) -> Stretch:
        """Take many epochs in, a row for each, as so many steps would."""
        ...

    def step(self, epoch_tai_ns: int, x_clock_minus_pivot_s: Floats, u2_s2: Floats, *, due: bool) -> ScaleStep:
        """Take one epoch of clocks minus pivot in (seconds, s^2, NaN where unread)."""
        ...

    def rates(self) -> Floats:
        """Return the rate of each clock minus the scale, NaN where none is known."""
        ...

    def learned(self) -> Learned | None:
        """Return what was learned of the clocks, or None."""
        ...


def engine(
    algorithm: str,
    clocks: tuple[Clock, ...],
    *,
    interval_s: float,
    tau_weight_s: float = at1.TAU_WEIGHT_S,
    weight_cap_n: float = at1.WEIGHT_CAP_N,
    judged: bool = True,
    references: int = 0,
) -> Engine:
    """Return a new engine; that of `algos`, which is computed after the fact, is `bands`.

    `interval_s`: usual time between epochs; the next two are AT1's. `judged` False: nobody is excluded (`bands` and
    `kalman`; for experiments). `references`: so many sources that claim UTC stand behind the clocks in what the engine
    is given; they are witnesses of detection (not of AT1's).
    """
    if algorithm == "at1":
        return _At1(clocks, tau_weight_s=tau_weight_s, weight_cap_n=weight_cap_n)
    fold = kalman if algorithm == "kalman" else bands
    return _Judged(fold, clocks, interval_s=interval_s, judged=judged, references=references)


class _At1:
    """AT1 with its own detection."""

    def __init__(self, clocks: tuple[Clock, ...], *, tau_weight_s: float, weight_cap_n: float) -> None:
        self.constants = at1.parameters(clocks, tau_weight_s=tau_weight_s, weight_cap_n=weight_cap_n)
        self.eligible = self.constants.eligible
        self.state: ScaleState = at1.start(self.constants)

    def step(self, epoch_tai_ns: int, x_clock_minus_pivot_s: Floats, u2_s2: Floats, *, due: bool) -> ScaleStep:
        n = len(self.eligible)
        x_clock_minus_pivot_s, u2_s2 = x_clock_minus_pivot_s[:n], u2_s2[:n]
        self.state, step = at1.step(
            self.state,
            self.constants,
            epoch_tai_ns=epoch_tai_ns,
            x_clock_minus_pivot_s=x_clock_minus_pivot_s,
            u2_s2=u2_s2,
            prediction=prediction.predict(self.state, self.constants, epoch_tai_ns=epoch_tai_ns),
            due=due,
        )
        return step

    def run(self, epoch_tai_ns: Ints, x_clock_minus_pivot_s: Floats, u2_s2: Floats, due: NDArray[np.bool_]) -> Stretch:
        epochs, n = len(epoch_tai_ns), len(self.eligible)
        out = Stretch(
            np.empty((epochs, n)), np.empty((epochs, n)), np.empty((epochs, n), np.int64), np.empty(epochs, bool), None
        )
        first = 0
        while first < epochs and self.state.epoch_ns == 0:
            # the scale begins at an epoch at which a clock that may carry weight is read
            step = self.step(int(epoch_tai_ns[first]), x_clock_minus_pivot_s[first], u2_s2[first], due=bool(due[first]))
            out.x_clock_minus_scale_s[first], out.weight[first] = step.x_clock_minus_scale_s, step.weight
            out.membership[first], out.divided[first] = step.membership, step.divided
            first += 1
        if first < epochs:
            self.state = at1_run.run(
                self.state,
                self.constants,
                epoch_tai_ns[first:],
                np.ascontiguousarray(x_clock_minus_pivot_s[first:, :n]),
                np.ascontiguousarray(u2_s2[first:, :n]),
                due[first:],
                out.x_clock_minus_scale_s[first:],
                out.weight[first:],
                out.membership[first:],
                out.divided[first:],
            )
        return out

    def rates(self) -> Floats:
        state = self.state
        y = np.array([state.y[best, i] for i, best in enumerate(state.best.tolist())])
        y[state.last_ns <= state.since_ns] = np.nan
        return y

    def learned(self) -> Learned | None:
        return None


class _Judged:
    """`bands` or `kalman`, with sequential detection before it."""

    def __init__(
        self, fold: Any, clocks: tuple[Clock, ...], *, interval_s: float, judged: bool, references: int
    ) -> None:
        self.fold = fold
        self.constants = bands.parameters(clocks, interval_s=interval_s)
        self.eligible = self.constants.eligible
        self.state = fold.start(self.constants)
        self.learner: bands.BandsState = getattr(self.state, "learner", self.state)
        self.judge = detection_state.parameters(
            clocks,
            self.eligible,
            interval_s=interval_s,
            probation_s=self.constants.probation_ns / 1e9,
            references=references,
        )
        self.judged = detection_state.empty(self.judge) if judged else None
        self.nobody = np.full(len(clocks), bands.NO_VERDICT)
        self.none = np.zeros(len(clocks), np.bool_)
        self.stepped_s = np.zeros(len(self.eligible))

    def _as_believed(self, status: Ints) -> Ints:
        """Give a divided class and a doubted rate no say where the algorithm has one weight for all averaging times."""
        if self.fold is not bands:
            status[status == Membership.DIVIDED] = Membership.DISPUTED
            status[status == Membership.DOUBTED] = Membership.OUT_RATE
        return status

    def step(self, epoch_tai_ns: int, x_clock_minus_pivot_s: Floats, u2_s2: Floats, *, due: bool) -> ScaleStep:
        n = len(self.eligible)
        status, anew, floor, divided = self.nobody, self.none, 0.0, False
        moved: bands.Moved | None = None
        if self.judged is not None:
            self.judged, judgement = detection_fold.step(
                self.judged,
                self.judge,
                epoch_tai_ns=epoch_tai_ns,
                x_clock_minus_pivot_s=x_clock_minus_pivot_s,
                u2_s2=u2_s2,
                due=due,
            )
            # references that stand behind the clocks are witnesses for detection, and nothing to the scale
            x_clock_minus_pivot_s, u2_s2 = x_clock_minus_pivot_s[:n], u2_s2[:n]
            # the algorithm sees a clock that stepped as if it had not, and a suspect not at all
            self.stepped_s = self.stepped_s + judgement.stepped_s[:n]
            x_clock_minus_pivot_s = x_clock_minus_pivot_s - self.stepped_s
            x_clock_minus_pivot_s[judgement.status[:n] == Membership.SUSPECT] = np.nan
            status, anew = self._as_believed(judgement.status[:n].copy()), judgement.began_anew[:n].copy()
            moved = judgement.moved_y[:n], judgement.moved_over_s[:n], judgement.moved_evenly[:n]
            floor, divided = float(judgement.floor_s.max(initial=0.0)), judgement.divided
        x, used, residual = np.empty(n), np.empty(n), np.empty(n)
        x_pivot, variance = np.nan, 0.0
        if due:
            x_pivot, variance = self.fold.advance(
                self.state,
                self.constants,
                epoch_tai_ns,
                x_clock_minus_pivot_s,
                u2_s2,
                status,
                anew,
                x,
                used,
                residual,
                moved,
            )
            status = self.learner.clock_i[:, STATUS].copy()
        else:
            x[:], used[:], residual[:] = np.nan, 0.0, np.nan
        return ScaleStep(
            epoch_tai_ns,
            x + self.stepped_s,
            used,
            status,
            residual,
            x_pivot,
            sqrt(variance) if isfinite(variance) else 0.0,
            floor,
            divided=divided,
            due=due,
        )

    def run(self, epoch_tai_ns: Ints, x_clock_minus_pivot_s: Floats, u2_s2: Floats, due: NDArray[np.bool_]) -> Stretch:
        epochs, n = len(epoch_tai_ns), len(self.eligible)
        x_ip, u2 = np.ascontiguousarray(x_clock_minus_pivot_s[:, :n]), np.ascontiguousarray(u2_s2[:, :n])
        status, anew = np.full((epochs, n), bands.NO_VERDICT), np.zeros((epochs, n), np.bool_)
        divided, moved, said = np.zeros(epochs, np.bool_), np.zeros((epochs, n, 3)), None
        stepped_s = np.broadcast_to(self.stepped_s, (epochs, n))
        if self.judged is not None:
            self.judged, said = detection_run.run(
                self.judged, self.judge, epoch_tai_ns, x_clock_minus_pivot_s, u2_s2, due
            )
            # see `step`: references are witnesses only, a step of phase is taken out, a suspect is not seen
            if said.stepped_s.any():
                stepped_s = np.cumsum(np.concatenate((self.stepped_s[None], said.stepped_s[:, :n])), axis=0)[1:]
                self.stepped_s = stepped_s[-1].copy()
            x_ip = x_ip - stepped_s
            x_ip[said.status[:, :n] == Membership.SUSPECT] = np.nan
            status = self._as_believed(np.ascontiguousarray(said.status[:, :n]))
            anew = np.ascontiguousarray(said.began_anew[:, :n])
            divided, moved = said.divided, np.ascontiguousarray(said.moved[:, :n])
        x, used, residual = np.empty((epochs, n)), np.empty((epochs, n)), np.empty((epochs, n))
        found = np.empty((epochs, n), np.int64)
        if self.fold is bands:
            bands_run.run(
                self.learner,
                self.constants,
                epoch_tai_ns,
                x_ip,
                u2,
                due,
                status,
                anew,
                moved,
                x,
                used,
                residual,
                found,
            )
        else:
            for k in range(epochs):
                if due[k]:
                    self.fold.advance(
                        self.state,
                        self.constants,
                        int(epoch_tai_ns[k]),
                        x_ip[k],
                        u2[k],
                        status[k],
                        anew[k],
                        x[k],
                        used[k],
                        residual[k],
                        bands_run.moved_at(moved, k),
                    )
                    found[k] = self.learner.clock_i[:, STATUS]
                else:
                    x[k], used[k], found[k] = np.nan, 0.0, status[k]
        return Stretch(x + stepped_s, used, found, divided, said)

    def rates(self) -> Floats:
        state = self.learner
        y = np.array([state.rate[i, state.clock_i[i, BEST]] for i in range(len(self.eligible))])
        y[state.clock_i[:, LAST_NS] <= state.clock_i[:, SINCE_NS]] = np.nan
        return y

    def learned(self) -> Learned | None:
        state = self.learner
        return Learned(
            state.noise.copy(),
            state.clock_f[:, DRIFT].copy(),
            np.sqrt(state.clock_f[:, DRIFT_U2]),
            state.clock_f[:, WEIGHT_DC].copy(),
        )
