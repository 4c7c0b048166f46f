"""Leave-one-out: each clock predicted from a scale that it has no part in, and how often the stated sigma covers what
came.

It makes no scale of its own (`replay` does, with some clocks as mere observers) and changes none. For real clocks,
where nobody knows the truth, it is the test of whether an ensemble knows its clocks.

1. The whole record is run once, all clocks taking part: who was out, and when, is known from it. Predictions over such
   times are set aside and counted.
2. Noise is learned by `bands` from the first half alone, and nothing is judged before that half is over.
3. The clocks are dealt into groups, each of which is left out in turn. A left-out clock minus the scale of the others
   is followed by a Kalman filter with the clock's learned noise and the scale's; at each origin it says where the clock
   will be after the horizon, and one sigma.
4. That sigma is multiplied by what past predictions of this clock, and of all clocks, over this horizon have shown.

Source: NIST SP 1065 for the noises; flicker FM as a sum of Gauss-Markov rates, two a decade (Barnes and Jarvis 1971).
This is analysis after the fact: exponentials and matrix products are allowed, replay bit for bit is not needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock, ClockKind, NoiseModel
from truechimer.clocks.state_model import SECONDS_PER_DAY, two_state_noise
from truechimer.errors import Rejected
from truechimer.formats.reading_columns import ReadingColumns
from truechimer.scale.bands_state import DRIFT_PRIOR_PER_DAY
from truechimer.scale.engines import DEFAULT_ALGORITHM
from truechimer.scale.replay import ScaleSeries, replay
from truechimer.scale.state import Membership

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GROUPS = 8
"""So many runs at most; with more clocks than that, several are left out at a time."""
ORIGINS = 400
"""Predictions of one clock over one horizon, at most."""
PARTS = (1.0 / 16.0, 0.25, 1.0)
"""Of a horizon: what shorter predictions have shown is heard first."""
WARM_PART, LEARN_PART = 0.1, 0.5
"""Parts of the record: predictions begin, and are judged, after these."""
POOLED_WORTH = 6.0
"""What all clocks have shown counts as so many independent predictions of one."""
MODEL_WORTH = 10.0
"""... and the model as so many of all clocks."""
LEAST_SHOWN = 30
ONE_SIGMA = 0.6827
GATE_SIGMAS = 6.0
GLITCHES = 2
_NO_MODEL = NoiseModel(white_fm_1s=1e-6, flicker_fm=1e-9, random_walk_fm_1s=1e-12)
"""Noise of a left-out clock in the eyes of the scale: so large that no part of a reading is left to the counter."""
_DECADE_STEP = np.sqrt(10.0)
_FLICKER_SHARE = np.log(_DECADE_STEP) / (2.0 * np.log(2.0))
"""Variance of one Gauss-Markov rate of the sum whose Allan floor is 1."""


class LeaveOneOutRejected(Rejected):
    """The record is too short, or has too few clocks, to predict anything."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predictions over one horizon that were judged; arrays of shape `(n,)`.

    `clock`: index; `epoch_tai_ns`: of the origin; `error_s`: what came minus what was predicted; `u_s`: the stated
    sigma; `u_model_s`: before past predictions were heard. `unsettled (n_clocks,)`: predictions set aside, because the
    clock was out at some time between origin and target.
    """

    horizon_s: float
    clock: Ints
    epoch_tai_ns: Ints
    error_s: Floats
    u_s: Floats
    u_model_s: Floats
    unsettled: Ints

    def coverage(self, clock: int | None = None, *, model: bool = False) -> float:
        """Return the part of the predictions within one sigma, of one clock or of all; NaN without a prediction."""
        which = slice(None) if clock is None else self.clock == clock
        u = self.u_model_s if model else self.u_s
        within = np.abs(self.error_s[which]) <= u[which]
        return float(within.mean()) if len(within) else float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class LeaveOneOut:
    """`clocks`: those that were predicted; `groups`: how many runs; `judged_from_tai_ns`: when judging began."""

    clocks: tuple[Clock, ...]
    groups: int
    judged_from_tai_ns: int
    horizons: tuple[Predictions, ...]


def leave_one_out(
    readings: ReadingColumns,
    clocks: Sequence[Clock],
    algorithm: str = DEFAULT_ALGORITHM,
    *,
    horizons_s: Sequence[float],
    whole: ScaleSeries | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LeaveOneOut:
    """Predict each clock from the others, over each horizon (s).

    `whole`: the replay of the same readings with the same clocks and algorithm, where it is at hand. A horizon for
    which the second half of the record has no room comes back without predictions. Raises `LeaveOneOutRejected` with
    fewer than two clocks that may carry weight, or without two epochs in each half.
    """
    series = replay(readings, clocks, algorithm) if whole is None else whole
    able = [
        i
        for i, clock in enumerate(series.clocks)
        if clock.kind not in (ClockKind.LINK, ClockKind.HOST) and series.epochs_read[i] >= 4
    ]
    epochs = series.epoch_tai_ns
    if len(able) < 2 or len(epochs) < 8:
        raise LeaveOneOutRejected(
            f"{len(able)} clocks and {len(epochs)} epochs: at least two clocks, each read at four epochs, and eight "
            "epochs are needed to predict one from the others"
        )
    half = int(np.searchsorted(epochs, epochs[0] + LEARN_PART * float(epochs[-1] - epochs[0])))
    runs = min(GROUPS, len(able))
    done, count = 0, runs + 2

    def ready() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, count)

    ready()
    early = replay(_until(readings, int(epochs[half])), series.clocks, "bands")
    ready()
    learned = early.learned
    if learned is None:
        raise LeaveOneOutRejected("no noise was learned from the first half of the record")
    order = sorted(able, key=lambda i: -float(series.weight[:, i].sum()))
    difference = np.full((len(epochs), len(series.clocks)), np.nan)
    noise = learned.noise.copy()
    for k in range(runs):
        group = order[k::runs]
        left_out = [
            replace(clock, kind=ClockKind.LINK, noise=_NO_MODEL) if i in group else clock
            for i, clock in enumerate(series.clocks)
        ]
        part = replay(readings, left_out, algorithm)
        read = (part.unused == 0) & (part.state != Membership.ABSENT)
        for i in group:
            difference[:, i] = np.where(read[:, i], part.x_clock_minus_scale_s[:, i], np.nan)
        noise[group] += _of_scale(part, learned.noise, half)
        ready()
    settled = series.state == Membership.IN
    followed = _Filter(series.clocks, noise, epochs)
    horizons = _predict(followed, difference, settled, half, horizons_s)
    return LeaveOneOut(tuple(series.clocks), runs, int(epochs[half]), horizons)


def _until(readings: ReadingColumns, epoch_tai_ns: int) -> ReadingColumns:
    """Return the readings before an epoch."""
    keep = readings.epoch_tai_ns < epoch_tai_ns
    return replace(
        readings,
        line=readings.line[keep],
        epoch_tai_ns=readings.epoch_tai_ns[keep],
        pair=readings.pair[keep],
        x_a_minus_b_s=readings.x_a_minus_b_s[keep],
        u_s=readings.u_s[keep],
    )


def _of_scale(series: ScaleSeries, noise: Floats, row: int) -> Floats:
    """Return the noise (4,) of a scale from its clocks' and its weights in the middle of the record.

    White PM and white FM go with the weights of the shortest averaging time, flicker and random walk with those of the
    longest, where the algorithm has such.
    """
    now = series.weight[row] ** 2
    late = now
    if len(series.month_tai_ns):
        day = int(np.searchsorted(series.month_tai_ns, series.epoch_tai_ns[row], side="right")) - 1
        late = series.weight_month[max(day, 0)] ** 2
    return np.array([now @ noise[:, 0], now @ noise[:, 1], late @ noise[:, 2], late @ noise[:, 3]])


class _Filter:
    """Kalman filters of many clocks at once: phase, random-walk rate, drift, and rates of flicker.

    States `(n, m)`: x (s), y (1), d (1/s), then Gauss-Markov rates of time constants `tau_s`.
    """

    def __init__(self, clocks: Sequence[Clock], noise: Floats, epochs: Ints) -> None:
        steps = np.diff(epochs) / 1e9
        self.step_s = float(np.median(steps)) if len(steps) else 1.0
        longest = 4.0 * float(epochs[-1] - epochs[0]) / 1e9
        count = max(int(np.ceil(np.log(longest / (3.0 * self.step_s)) / np.log(_DECADE_STEP))), 1)
        self.tau_s = 3.0 * self.step_s * _DECADE_STEP ** np.arange(count)
        self.epochs = epochs
        self.noise = noise
        models = [two_state_noise(clock) for clock in clocks]
        self.spread2 = np.array([model.y_spread**2 for model in models])
        self.drift = np.array([model.drift_per_day / SECONDS_PER_DAY for model in models])
        known = np.array([clock.noise.drift_per_day is not None for clock in clocks])
        prior = np.array([DRIFT_PRIOR_PER_DAY[clock.kind] / SECONDS_PER_DAY for clock in clocks])
        self.drift_u2 = np.where(known, 0.0, prior**2)
        self.share2 = _FLICKER_SHARE * noise[:, 2]
        self.size = 3 + count

    def begin(self, x: Floats) -> tuple[Floats, Floats]:
        """Return states and covariances of clocks that are read for the first time."""
        n = len(x)
        state, p = np.zeros((n, self.size)), np.zeros((n, self.size, self.size))
        state[:, 0], state[:, 2] = x, self.drift
        p[:, 0, 0] = self.noise[:, 0]
        p[:, 1, 1] = self.spread2
        p[:, 2, 2] = self.drift_u2
        for k in range(len(self.tau_s)):
            p[:, 3 + k, 3 + k] = self.share2
        return state, p

    def ahead(self, h: float) -> tuple[Floats, Floats]:
        """Return the transition `(m, m)` over h seconds, and what noise adds, `(n, m, m)`."""
        n, m = len(self.noise), self.size
        f = np.eye(m)
        f[0, 1], f[0, 2], f[1, 2] = h, 0.5 * h * h, h
        kept = np.exp(-h / self.tau_s)
        f[0, 3:] = self.tau_s * (1.0 - kept)
        f[range(3, m), range(3, m)] = kept
        q = np.zeros((n, m, m))
        q1, q2 = self.noise[:, 1], self.noise[:, 3]
        q[:, 0, 0] = q1 * h + q2 * h**3 / 3.0
        q[:, 0, 1] = q[:, 1, 0] = q2 * h * h / 2.0
        q[:, 1, 1] = q2 * h
        ratio = h / self.tau_s
        # of the integral of a Gauss-Markov rate; the series where the terms cancel
        spread = np.where(ratio < 1e-2, 2.0 * ratio**3 / 3.0, 2.0 * ratio - 3.0 + 4.0 * kept - kept * kept)
        q[:, 0, 0] += self.share2 * (self.tau_s**2 * spread).sum()
        for k in range(m - 3):
            q[:, 3 + k, 3 + k] = self.share2 * (1.0 - kept[k] ** 2)
            q[:, 0, 3 + k] = q[:, 3 + k, 0] = self.share2 * self.tau_s[k] * (1.0 - kept[k]) ** 2
        return f, q

    def run(
        self, difference: Floats, settled: Bools, wanted: Sequence[tuple[float, Ints]]
    ) -> list[tuple[Floats, Floats]]:
        """Return for each horizon h (s) and its origins the phases predicted from there, and their variances without
        that of the reading: `(len(origins), n)`, NaN where a clock is not known.
        """
        n = difference.shape[1]
        state, p = self.begin(np.zeros(n))
        known, glitches, accepted_ns = np.zeros(n, np.bool_), np.zeros(n, np.int64), np.zeros(n, np.int64)
        out = [(np.full((len(origins), n), np.nan), np.full((len(origins), n), np.nan)) for _, origins in wanted]
        far = [self.ahead(h) for h, _ in wanted]
        rows = [{origin: row for row, origin in enumerate(origins.tolist())} for _, origins in wanted]
        steps: dict[int, tuple[Floats, Floats]] = {}
        for k in range(max((max(each, default=-1) for each in rows), default=-1) + 1):
            if k:
                dt = int(self.epochs[k] - self.epochs[k - 1])
                if dt not in steps:
                    if len(steps) > 64:
                        steps.clear()
                    steps[dt] = self.ahead(dt / 1e9)
                f, q = steps[dt]
                state = state @ f.T
                p = f @ p @ f.T + q
            seen = np.isfinite(difference[k])
            # a clock that detection has out is unknown, and begins anew
            known &= settled[k] | ~seen
            x = np.where(seen, difference[k], 0.0)
            new = seen & ~known & settled[k]
            if new.any():
                fresh, fresh_p = self.begin(x)
                state[new], p[new] = fresh[new], fresh_p[new]
                known |= new
            use = seen & known & ~new
            whole = p[:, 0, 0] + self.noise[:, 0]
            off = x - state[:, 0]
            wild = use & (off * off > GATE_SIGMAS**2 * whole)
            glitches = np.where(wild, glitches + 1, np.where(use, 0, glitches))
            # one or two readings off are glitches; a third says that phase or rate are others than was thought
            stepped = wild & (glitches > GLITCHES)
            if stepped.any():
                age_s = (self.epochs[k] - accepted_ns[stepped]) / 1e9
                p[stepped, :2, :] = 0.0
                p[stepped, :, :2] = 0.0
                p[stepped, 0, 0] = self.noise[stepped, 0]
                p[stepped, 1, 1] = (off[stepped] / age_s) ** 2
                state[stepped, 0] = x[stepped]
                glitches[stepped] = 0
            use &= ~wild
            accepted_ns = np.where(use | new, self.epochs[k], accepted_ns)
            gain = np.where(use[:, None], p[:, :, 0] / whole[:, None], 0.0)
            state = state + gain * np.where(use, off, 0.0)[:, None]
            keep = np.eye(self.size)[None] - gain[:, :, None] * np.eye(self.size)[0][None, None, :]
            p = (
                keep @ p @ keep.transpose(0, 2, 1)
                + (gain[:, :, None] * gain[:, None, :]) * self.noise[:, 0, None, None]
            )
            for each, (far_f, far_q), (predicted, variance) in zip(rows, far, out, strict=True):
                row = each.get(k)
                if row is not None:
                    predicted[row] = np.where(known, state @ far_f[0], np.nan)
                    variance[row] = np.where(known, (p @ far_f[0]) @ far_f[0] + far_q[:, 0, 0], np.nan)
        return out


def _origins(epochs: Ints, step_s: float, horizon_s: float) -> tuple[Ints, Ints]:
    """Return origins and targets (rows) of predictions over a horizon."""
    ahead_ns = round(horizon_s * 1e9)
    target = np.searchsorted(epochs, epochs + ahead_ns - round(0.25 * step_s * 1e9))
    inside = np.flatnonzero(target < len(epochs))
    inside = inside[np.abs(epochs[target[inside]] - epochs[inside] - ahead_ns) <= 0.5e9 * step_s]
    inside = inside[inside >= int(WARM_PART * len(epochs))]
    origins = inside[:: max(len(inside) // ORIGINS, 1)] if len(inside) else inside
    return origins, target[origins]


def _predict(
    followed: _Filter, difference: Floats, settled: Bools, half: int, horizons_s: Sequence[float]
) -> tuple[Predictions, ...]:
    """Return the predictions over each horizon, judged in the second half.

    What the past says of a sigma comes from parts of the horizon first, of which there are more, then from itself.
    """
    epochs, n = followed.epochs, difference.shape[1]
    ladder: list[tuple[float, float, Ints, Ints]] = []
    for horizon_s in horizons_s:
        for part in PARTS:
            origins, targets = _origins(epochs, followed.step_s, horizon_s * part)
            if part == 1.0 or (len(origins) and horizon_s * part >= 3.0 * followed.step_s):
                ladder.append((part, horizon_s * part, origins, targets))
    ran = followed.run(difference, settled, [(h, origins) for _, h, origins, _ in ladder])
    out_so_far = np.concatenate([np.zeros((1, n), np.int64), np.cumsum(~settled & np.isfinite(difference), axis=0)])
    found: list[Predictions] = []
    below: tuple[Ints, Floats] | None = None
    for (part, h, origins, targets), (predicted, variance) in zip(ladder, ran, strict=True):
        came = difference[targets]
        quiet = out_so_far[targets + 1] == out_so_far[origins]
        there = np.isfinite(predicted) & np.isfinite(came)
        error = np.where(there & quiet, came - predicted, np.nan)
        u_model = np.sqrt(variance + followed.noise[:, 0])
        u = u_model
        if below is not None:
            u = u_model * below[1][np.clip(np.searchsorted(below[0], origins, side="right") - 1, 0, None)]
        if len(origins):
            u = u * _shown(error / u, epochs[origins], epochs[targets], h)
        if part < 1.0:
            below = (origins, u / u_model)
            continue
        below = None
        judged = (origins >= half)[:, None]
        row, clock = np.nonzero(np.isfinite(error) & judged)
        found.append(
            Predictions(
                h,
                clock,
                epochs[origins[row]],
                error[row, clock],
                u[row, clock],
                u_model[row, clock],
                (there & ~quiet & judged).sum(axis=0),
            )
        )
    return tuple(found)


def _shown(z: Floats, origin_ns: Ints, target_ns: Ints, horizon_s: float) -> Floats:
    """Return the factor to the sigma of each prediction, from those whose target lies before its origin.

    `z (n_origins, n)`: errors over the model's sigma. The factor's square is a mean of the clock's own and of all
    clocks' square of what 68 % of |z| stay below, weighed by how many independent predictions there were.
    """
    factor = np.ones(z.shape)
    size = np.abs(z)
    spacing_s = float(np.median(np.diff(origin_ns))) / 1e9 if len(origin_ns) > 1 else horizon_s
    independent = min(spacing_s / horizon_s, 1.0)
    heard = -1
    own2, count, common2, pooled = np.ones(z.shape[1]), np.zeros(z.shape[1]), 1.0, 0.0
    for k in range(len(z)):
        past = int(np.searchsorted(target_ns, origin_ns[k], side="right"))
        if past > 0 and past != heard:
            heard = past
            # the later half: while drifts and rates were young the model's sigma was another one
            so_far = size[past // 2 : past]
            known = np.isfinite(so_far)
            count = known.sum(axis=0).astype(float)
            pooled = float(known.sum()) * independent
            if known.sum() >= LEAST_SHOWN:
                shown2 = float(np.quantile(so_far[known], ONE_SIGMA)) ** 2
                common2 = (MODEL_WORTH + pooled * shown2) / (MODEL_WORTH + pooled)
            able = np.flatnonzero(count > 0)
            own2 = np.ones(z.shape[1])
            own2[able] = np.nanquantile(so_far[:, able], ONE_SIGMA, axis=0) ** 2
        worth = count * independent
        factor[k] = np.sqrt((POOLED_WORTH * common2 + worth * own2) / (POOLED_WORTH + worth))
    return factor
