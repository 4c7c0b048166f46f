"""How wrong a clock's time becomes when its reference is gone: the best prediction, and its error by horizon.

It fits no noise (`noise_model.py`) and steers nothing; `steer.holdover` is what the service itself does.

The prediction is linear in the phases of the record: recent ones one by one, older ones as averages over stretches that
grow with their age (but for the very first), each with the weight that makes the mean squared error least for the
fitted noises (best linear unbiased prediction; in geostatistics, kriging of intrinsic random functions). Offset,
frequency and drift are not known beforehand: the weights give each its right value, and their errors are part of the
error. `drift` changes that: `none` is for clocks that have none, or one that is known.

The error of that prediction is a combination of phases, future one included, so its variance is a sum of the five
noises' variances with known factors; these factors are computed over every single phase, exactly. What the fit does not
know, it does not hide: the variance is computed for all variances that agree with the data, and the interval is of the
mixture.

What is predicted is a reading at the horizon, with its phase noise. A record ends with its last value that is there.

Source: Matheron 1973 (kriging); Zucca and Tavella 2005, Vernotte et al. 2001 (the error of extrapolated clocks).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from truechimer.stability.curve import Floats, Ints, SeriesRejected, StabilityMisuse
from truechimer.stability.noise_components import (
    FLICKER_FM,
    FLICKER_PM,
    NAMES,
    RANDOM_WALK_FM,
    WHITE_FM,
    WHITE_PM,
    autocovariance,
)
from truechimer.stability.noise_model import SECONDS_PER_DAY, NoiseModel
from truechimer.stability.series import Series, make_series, two_sum
from truechimer.stability.spread import interval_of
from truechimer.stability.statistics import check_level

SINGLE = 48
"""So many phases at the end of the record are taken one by one."""
GROWTH = 1.12
"""Each older stretch is so much longer than the one after it."""
SEEN_AT = 6
"""A stretch's covariances are those of so many of its phases: that shapes the weights only, not what is said of them.
"""
LEAST_PHASES = 3
LONGEST = 100.0
"""Largest horizon in lengths of the record."""
MOST_PHASES = 20_000_000


@dataclass(frozen=True, slots=True, eq=False)
class HoldoverPrediction:
    """Prediction at `horizon_s` (n,) after the record's last value; phases in seconds, in the record's own terms.

    `x_s` (n,): the predicted phase. `u_s` (n,): its rms error. `lower_s`, `upper_s` (n,): the interval of the phase at
    `ci`, the error of the fitted noise included. `by_noise_s` (n, 5): the part of `u_s` that each noise makes, in the
    contract's order; squares add up. `of_drift_s` (n,): the part that an unknown drift makes, contained in all of
    these. `change_s` (n,): predicted change since the last value: what a clock that nobody corrects is wrong by.
    """

    horizon_s: Floats
    x_s: Floats
    u_s: Floats
    lower_s: Floats
    upper_s: Floats
    by_noise_s: Floats
    of_drift_s: Floats
    change_s: Floats
    ci: float
    drift: str

    def as_json(self) -> dict[str, Any]:
        """Return the prediction as plain lists."""
        arrays = ("horizon_s", "x_s", "u_s", "lower_s", "upper_s", "of_drift_s", "change_s")
        told: dict[str, Any] = {name: getattr(self, name).tolist() for name in arrays}
        told["by_noise_s"] = {name: self.by_noise_s[:, k].tolist() for k, name in enumerate(NAMES)}
        return told | {"ci": self.ci, "drift": self.drift}


@dataclass(frozen=True, slots=True, eq=False)
class _Nodes:
    """Stretches of a record, oldest first: `start`, `count` (n,) of phases that are there, `mean_x`, `mean_t`,
    `mean_tt` (n,) over them, times counted from the record's end in spacings (<= 0); `piece` (n,).
    """

    mean_x: Floats
    mean_t: Floats
    mean_tt: Floats
    count: Floats
    piece: Ints
    members: list[Ints]


def predict_holdover(
    model: NoiseModel,
    x_s: ArrayLike,
    tau0_s: float,
    horizon_s: ArrayLike,
    *,
    data: str = "phase",
    ci: float = 0.683,
    drift: str = "fit",
    drift_per_day: float = 0.0,
) -> HoldoverPrediction:
    """Predict the phase at `horizon_s` after the last value of the record (n,), with its error.

    `drift`: `fit` estimates it in the prediction (an unknown constant); `none` says that the clock has none but
    `drift_per_day`. The noises are `model`'s, at its own spacing, which must be that of the record. Raises
    `SeriesRejected` for records that cannot be used.
    """
    check_level(ci)
    horizons = _horizons(horizon_s)
    if drift not in {"fit", "none"}:
        raise StabilityMisuse(f"drift is 'fit' or 'none', not {drift!r}")
    if not math.isfinite(drift_per_day) or (drift == "fit" and drift_per_day):
        raise StabilityMisuse("a known drift is finite and goes with drift='none'")
    if abs(model.tau0_s - tau0_s) > 1e-9 * tau0_s:
        raise StabilityMisuse(f"the model is of values every {model.tau0_s:g} s, the record of every {tau0_s:g} s")
    series = make_series(x_s, tau0_s, data=data)
    steps = horizons / tau0_s
    known = drift_per_day * tau0_s / SECONDS_PER_DAY
    rate, origin, places, phases, owner = _from_the_end(series, known)
    span = -float(places[0])
    if places.size < LEAST_PHASES + (drift == "fit"):
        raise SeriesRejected(f"{places.size} phases; a prediction needs {LEAST_PHASES + (drift == 'fit')} at least")
    if steps.max() > LONGEST * max(span, 1.0) or steps.max() + span > MOST_PHASES:
        raise StabilityMisuse(
            f"a horizon of {horizons.max():g} s is beyond what a record of {span * tau0_s:g} s can say; the longest is "
            f"{min(LONGEST * span, MOST_PHASES - span) * tau0_s:g} s"
        )
    nodes = _nodes(places, phases, owner)
    mean = model.agreeing.mean()
    weights, of_drift = _weights(nodes, places, mean, steps, fits_drift=drift == "fit")
    change, half, parts = np.empty(steps.size), np.empty(steps.size), np.empty((steps.size, len(NAMES)))
    for k, step in enumerate(steps.tolist()):
        factors = _error_factors(nodes, places, weights[:, k], step)
        change[k] = float(weights[:, k] @ nodes.mean_x) + (rate + 0.5 * known * step) * step
        half[k] = interval_of(model.agreeing.variances @ factors, model.agreeing.weight, ci)
        parts[k] = mean * factors
    x = origin + change * tau0_s
    return HoldoverPrediction(
        horizon_s=horizons,
        x_s=x,
        u_s=np.sqrt(parts.sum(axis=1)) * tau0_s,
        lower_s=x - half * tau0_s,
        upper_s=x + half * tau0_s,
        by_noise_s=np.sqrt(parts) * tau0_s,
        of_drift_s=of_drift * tau0_s,
        change_s=change * tau0_s,
        ci=ci,
        drift=drift,
    )


def _horizons(horizon_s: ArrayLike) -> Floats:
    horizons = np.atleast_1d(np.asarray(horizon_s, dtype=np.float64))
    if horizons.ndim != 1 or horizons.size == 0 or not np.all(np.isfinite(horizons)) or np.any(horizons <= 0.0):
        raise StabilityMisuse("a horizon is a number of seconds above zero, or a list of them")
    return horizons


def _from_the_end(series: Series, known: float) -> tuple[float, float, Floats, Floats, Ints]:
    """Return the frequency taken out, the phase (s) at the end, and places, phases and pieces of all values there.

    Places are counted from the last value, in spacings; phases are in units of tau0, less that frequency and less the
    known drift, and 0 at the end of the last piece.
    """
    last = series.pieces[-1]
    there = np.flatnonzero(np.isfinite(last.x_s))
    end = int(there[-1])
    origin = float(last.x_s[end])
    longest = max(series.pieces, key=lambda piece: piece.x_s.size)
    rate = _rate(longest.x_s)
    places, phases, owner = [], [], []
    for k, piece in enumerate(series.pieces):
        index = np.flatnonzero(np.isfinite(piece.x_s))
        t = (index + piece.first - last.first - end).astype(np.float64)
        reference = origin if piece is last else float(piece.x_s[index[0]]) if index.size else 0.0
        x, lost = two_sum(piece.x_s[index], -reference)
        line = rate * t
        places.append(t)
        phases.append(((x - line) + lost) / series.tau0_s - 0.5 * known * t * t)
        owner.append(np.full(index.size, k, dtype=np.int64))
    slope = rate / series.tau0_s + series.rate
    return slope, origin, np.concatenate(places), np.concatenate(phases), np.concatenate(owner)


def _rate(x_s: Floats) -> float:
    """Return a frequency, in seconds a spacing, cut to few bits: times a number of spacings it is exact."""
    there = np.flatnonzero(np.isfinite(x_s))
    if there.size < 2:
        return 0.0
    first, last = int(there[0]), int(there[-1])
    fraction, exponent = np.frexp((float(x_s[last]) - float(x_s[first])) / (last - first))
    return float(np.ldexp(np.rint(np.ldexp(fraction, 28)), int(exponent) - 28))


def _nodes(places: Floats, phases: Floats, owner: Ints) -> _Nodes:
    """Cut the record into stretches, from its end; the first phases, which alone know the mean frequency of white FM,
    are cut finely too.
    """
    edges = [0.5]
    length = 1.0
    while edges[-1] > places[0]:
        if len(edges) > SINGLE:
            length *= GROWTH
        edges.append(edges[-1] - max(1.0, math.floor(length)))
    oldest = places[0] - 0.5 + 2.0 ** np.arange(max(0, int(math.log2(length)) + 1))
    cut = np.searchsorted(places, np.sort(np.concatenate([edges, oldest])))
    cut = np.unique(np.concatenate([cut, np.flatnonzero(np.diff(owner)) + 1]))
    cut = cut[(cut >= 0) & (cut <= places.size)]
    cut = np.unique(np.concatenate([[0], cut, [places.size]]))
    start, stop = cut[:-1], cut[1:]
    count = (stop - start).astype(np.float64)

    def mean(values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values, start) / count)

    members = [np.arange(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True)]
    return _Nodes(mean(phases), mean(places), mean(places * places), count, owner[start], members)


def _weights(
    nodes: _Nodes, places: Floats, variances: Floats, steps: Floats, *, fits_drift: bool
) -> tuple[Floats, Floats]:
    """Return weights of the stretches (n_nodes, n_steps) and the rms error that the unknown drift makes (n_steps,).

    Second divided differences are independent of offset and frequency, near and far ones are of their own size each,
    and random-walk FM is counted from the record's end: so no digits are lost over many decades of age.
    """
    first = _first_differences(nodes)
    second = np.diff(first, axis=0)
    covariance, ahead = _covariances(nodes, places, variances, steps)
    size = nodes.mean_x.size
    anchor = np.zeros((size, steps.size))  # x(h) - [x(0) + h times the last first difference]
    anchor[-1] = -1.0
    anchor -= np.outer(first[-1], steps)
    own = second @ covariance @ second.T
    with_target = second @ (covariance @ anchor + ahead)
    scale = 1.0 / np.sqrt(np.diag(own))
    scaled = own * np.outer(scale, scale)
    root = np.linalg.cholesky(scaled + 1e-13 * np.eye(scale.size))

    def solved(right: Floats) -> Floats:
        inner = np.linalg.solve(root, right * scale[:, None])
        return np.asarray(np.linalg.solve(root.T, inner) * scale[:, None])

    chosen = solved(with_target)
    of_drift = np.zeros(steps.size)
    if fits_drift:
        bent = second @ (0.5 * nodes.mean_tt)
        answer = solved(bent[:, None])[:, 0]
        missing = 0.5 * steps * steps + anchor.T @ (0.5 * nodes.mean_tt) - bent @ chosen
        known = float(bent @ answer)
        chosen = chosen + np.outer(answer, missing / known)
        of_drift = np.abs(missing) / math.sqrt(known)
    return second.T @ chosen - anchor, of_drift


def _first_differences(nodes: _Nodes) -> Floats:
    """Return rows that take first divided differences of neighbours of one piece (n_rows, n_nodes)."""
    at = np.flatnonzero(np.diff(nodes.piece) == 0)
    rows = np.zeros((at.size, nodes.mean_x.size))
    gap = 1.0 / (nodes.mean_t[at + 1] - nodes.mean_t[at])
    rows[np.arange(at.size), at] = -gap
    rows[np.arange(at.size), at + 1] = gap
    return rows


def _covariances(nodes: _Nodes, places: Floats, variances: Floats, steps: Floats) -> tuple[Floats, Floats]:
    """Return generalised covariances of the stretches (n, n), and of stretches with the phases to come (n, n_steps)."""
    seen = [
        each[np.unique(np.rint(np.linspace(0, each.size - 1, min(each.size, SEEN_AT))).astype(np.int64))]
        for each in nodes.members
    ]
    starts = np.cumsum([0, *(each.size for each in seen[:-1])])
    count = np.array([each.size for each in seen], dtype=np.float64)
    t = -places[np.concatenate(seen)]  # ages
    apart, beyond = t[:, None] - t[None, :], t[:, None] + steps[None, :]

    def gathered(values: Floats, *, both: bool) -> Floats:
        rows = np.add.reduceat(values, starts, axis=0) / count[:, None]
        return np.asarray(np.add.reduceat(rows, starts, axis=1) / count if both else rows)

    young, old = np.minimum(t[:, None], t[None, :]), np.maximum(t[:, None], t[None, :])
    each = variances[RANDOM_WALK_FM] * 0.5 * young * young * (3.0 * old - young)
    ahead = np.zeros_like(beyond)
    for kind in (FLICKER_PM, WHITE_FM, FLICKER_FM):
        each += variances[kind] * autocovariance(kind, apart)
        ahead += variances[kind] * autocovariance(kind, beyond)
    covariance = gathered(each, both=True)
    covariance[np.diag_indices_from(covariance)] += variances[WHITE_PM] / nodes.count
    return covariance, gathered(ahead, both=False)


def _error_factors(nodes: _Nodes, places: Floats, weight: Floats, step: float) -> Floats:
    """Return the variance of prediction minus reading that each noise of variance 1 makes, exactly, shape (5,)."""
    c = np.zeros(int(-places[0]) + 1)
    c[np.rint(places - places[0]).astype(np.int64)] = np.repeat(weight / nodes.count, nodes.count.astype(np.int64))
    age = np.arange(c.size - 1, -1, -1, dtype=np.float64)
    b = -np.cumsum(c)[:-1]  # of the frequency between two neighbours
    a = np.concatenate([[0.0], np.cumsum(b)])
    walk = float(np.sum(a[:-1] * a[:-1] + a[:-1] * a[1:] + a[1:] * a[1:])) / 3.0 + step * float(a[-1]) ** 2 / 3.0
    flicker_phase = _quadratic(c, autocovariance(FLICKER_PM, age[::-1]))
    flicker_phase -= 2.0 * float(c @ autocovariance(FLICKER_PM, age + step))
    younger = age[1:]
    shared = (_slope(younger) - _slope(younger + step))[: b.size]
    flicker = _quadratic(b, _of_frequency(np.arange(b.size, dtype=np.float64)))
    flicker += -2.0 * float(b @ shared) - 2.0 * float(autocovariance(FLICKER_FM, np.array([step]))[0])
    return np.maximum([float(c @ c) + 1.0, flicker_phase, float(b @ b) + step, flicker, 3.0 * walk], 0.0)


def _quadratic(c: Floats, kernel: Floats) -> float:
    """Return the sum over i and j of c_i c_j kernel(|i - j|), by Fourier transform."""
    size = 1 << int(2 * c.size - 1).bit_length()
    together = np.fft.irfft(np.abs(np.fft.rfft(c, size)) ** 2, size)[: c.size]
    return float(together[0] * kernel[0] + 2.0 * (together[1:] @ kernel[1:]))


def _slope(age: Floats) -> Floats:
    """Return s(age + 1) - s(age) of flicker FM."""
    return autocovariance(FLICKER_FM, age + 1.0) - autocovariance(FLICKER_FM, age)


def _of_frequency(lags: Floats) -> Floats:
    """Return the generalised covariance of flicker frequencies averaged over a spacing, `lags` spacings apart."""
    near = 2.0 * autocovariance(FLICKER_FM, lags) - autocovariance(FLICKER_FM, lags + 1.0)
    near -= autocovariance(FLICKER_FM, lags - 1.0)
    far = np.maximum(lags, 1.0)
    unit = float(autocovariance(FLICKER_FM, np.array([math.e]))[0]) / math.e**2
    return np.asarray(np.where(lags <= 64.0, near, -unit * (2.0 * np.log(far) + 3.0 - 1.0 / (6.0 * far * far))))
