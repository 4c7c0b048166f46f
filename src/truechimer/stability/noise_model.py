"""The noises of a clock, fitted to its record: five levels and a drift, each with an interval or an upper limit.

It predicts nothing (`holdover.py`) and writes no file. Levels have the names and meanings of Clocks TOML.

What is stated. A level is *determined* where at least 95 % of what agrees with the data has this noise, and more of it
than another convention of sampling a redder noise could account for (`noise_components`). Then `value` is the median
and `lower` .. `upper` the interval at `ci`. Otherwise there is no value, and `upper` is a limit that holds the level
with 95 %. The drift is estimated beside the noises (least squares weighted by them), so its interval knows that
random-walk FM looks like drift over a short time.

Two noises of neighbouring slopes cannot always be told apart: then neither is determined although something is there.
`mixture` is the likeliest set of levels, which describes the record as a whole; that is what a clocks file should hold.

How well the model describes the record is `misfit`: five power laws and a drift are all it knows. Daily waves, steps,
and a counter's resolution show there, with the period at which they are worst.

Source: `noise_lines` (restricted and Whittle's likelihood), `noise_likelihood` (weighing of mixtures).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from truechimer.stability.curve import Floats, StabilityMisuse
from truechimer.stability.noise_components import MAY_BE_SAMPLING, NAMES, level_of, variance_of
from truechimer.stability.noise_likelihood import ROUGHLY, SUBSETS, Sample, best, sample
from truechimer.stability.noise_lines import KINDS, Lines, Prepared, contrasts, prepare
from truechimer.stability.spread import interval_of
from truechimer.stability.statistics import check_level

SECONDS_PER_DAY = 86_400.0
LIMIT = 0.95
"""Level of upper limits, and how sure the data must be of a noise to call it determined."""
MISFIT = 5.0
"""From this many sigmas the record is said not to be described."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level: `value`, `lower`, `upper` in the unit of its name; `value` is NaN where the data do not determine it,
    and `upper` then is the limit at 95 %. `present`: the share of what agrees with the data that has this noise.
    """

    name: str
    value: float
    lower: float
    upper: float
    determined: bool
    present: float

    def says(self) -> str:
        """Return the level as a person reads it."""
        if self.name == "drift_per_day":
            told = f"{self.value:.3e} [{self.lower:.3e}, {self.upper:.3e}]"
            return told if self.determined else f"{told}, not told from 0"
        if self.determined:
            return f"{self.value:.3e} [{self.lower:.3e}, {self.upper:.3e}]"
        return f"not determined, below {self.upper:.3e} ({100.0 * LIMIT:g} %)"


@dataclass(frozen=True, slots=True)
class Misfit:
    """`sigmas`: how far the scatter of the lines exceeds what the model lets expect; `period_s`, `ratio`: where it is
    worst, and measured power over expected power there.
    """

    sigmas: float
    period_s: float
    ratio: float

    @property
    def is_described(self) -> bool:
        """True where five noises and a drift are enough to describe the record."""
        return self.sigmas < MISFIT


@dataclass(frozen=True, slots=True, eq=False)
class NoiseModel:
    """What `fit_noise` found in a record of `n` values at `tau0_s`.

    `levels`: the five noises in the contract's order, then the drift; each also under its name. `mixture` (5,): the
    likeliest levels, 0 where absent. `agreeing`: all variances that agree with the data (n, 5) in units of tau0 with
    their weights, from which `predict_holdover` takes the error of the fit. `bridged`: missing values that were filled
    in; `left_out`: blocks that gaps took.
    """

    tau0_s: float
    n: int
    ci: float
    levels: tuple[Level, ...]
    mixture: Floats
    agreeing: Sample
    misfit: Misfit | None = None
    bridged: int = 0
    left_out: int = 0

    @property
    def white_pm_s(self) -> Level:
        """Rms of each reading's own noise (s)."""
        return self.levels[0]

    @property
    def flicker_pm_s(self) -> Level:
        """TDEV of the flicker PM (s)."""
        return self.levels[1]

    @property
    def white_fm_1s(self) -> Level:
        """ADEV at 1 s of the white FM."""
        return self.levels[2]

    @property
    def flicker_fm(self) -> Level:
        """ADEV floor."""
        return self.levels[3]

    @property
    def random_walk_fm_1s(self) -> Level:
        """ADEV at 1 s of the random-walk FM."""
        return self.levels[4]

    @property
    def drift_per_day(self) -> Level:
        """Drift of the frequency per day; it has a value and an interval even where it is not told from 0."""
        return self.levels[5]

    def clock_noise(self) -> dict[str, float]:
        """Return what `[[clock]] noise` should hold: the likeliest mixture, and the drift where it is determined."""
        told = {name: float(value) for name, value in zip(NAMES, self.mixture, strict=True) if value > 0.0}
        if self.drift_per_day.determined:
            told["drift_per_day"] = self.drift_per_day.value
        return told

    def as_json(self) -> dict[str, Any]:
        """Return the model for a JSON document; a level that is not determined has a limit and no value."""
        told: dict[str, Any] = {"ci": self.ci, "n": self.n, "tau0_s": self.tau0_s}
        for level in self.levels:
            if level.determined or level.name == "drift_per_day":
                row: dict[str, Any] = {"value": level.value, "lower": level.lower, "upper": level.upper}
            else:
                row = {"upper_limit": level.upper, "upper_limit_level": LIMIT}
            told[level.name] = {"determined": level.determined, **row}
        told["clock_noise"] = self.clock_noise()
        if self.misfit is not None:
            told["misfit"] = {
                "sigmas": self.misfit.sigmas,
                "period_s": self.misfit.period_s,
                "power_ratio": self.misfit.ratio,
                "described": self.misfit.is_described,
            }
        if self.bridged:
            told["bridged"] = self.bridged
        if self.left_out:
            told["blocks_left_out"] = self.left_out
        return told


def fit_noise(x_s: ArrayLike, tau0_s: float, *, data: str = "phase", ci: float = 0.683) -> NoiseModel:
    """Fit the five noises and the drift to phases (n,) in seconds, or frequencies with `data="frequency"`.

    NaN is a missing value. At least 24 phases; raises `SeriesRejected` for data that cannot be used, saying what to do.
    Values of 1000 phases take a tenth of a second, a million of them about one second.
    """
    check_level(ci)
    prepared = prepare(x_s, tau0_s, data=data)
    # Lines that are independent for about these variances; made once more from better ones, they change nothing.
    about = best(prepared.lines(np.ones(KINDS)), SUBSETS[-1:], ROUGHLY)[0]
    lines = prepared.lines(about)
    agreeing = sample(lines)
    square = prepared.scale * prepared.scale
    likeliest = agreeing.likeliest
    levels = [_level(k, agreeing, square, tau0_s, ci) for k in range(KINDS)]
    return NoiseModel(
        tau0_s,
        int(np.size(x_s)),
        ci,
        (*levels, _drift(prepared, agreeing, tau0_s, ci)),
        mixture=level_of(likeliest * square, tau0_s),
        agreeing=Sample(agreeing.variances * square, agreeing.weight, likeliest * square),
        misfit=_misfit(lines, likeliest, tau0_s),
        bridged=prepared.bridged,
        left_out=prepared.left_out,
    )


def declared_noise(tau0_s: float, levels: dict[str, float]) -> NoiseModel:
    """Return a model from declared levels (`[[clock]] noise` of a clocks file) instead of a record, without an error.

    A drift is left out: it is not noise; `predict_holdover` takes it as `drift_per_day`.
    """
    unknown = sorted(set(levels) - set(NAMES) - {"drift_per_day"})
    if unknown:
        raise StabilityMisuse(f"there is no noise {unknown[0]!r}; the names are {', '.join(NAMES)}")
    given = np.array([levels.get(name, 0.0) for name in NAMES])
    if not np.all(np.isfinite(given)) or np.any(given < 0.0) or not np.any(given > 0.0):
        raise StabilityMisuse("levels are finite and not negative, and one of them is above zero")
    variances = variance_of(given, tau0_s)
    told = [
        Level(name, float(value), float(value), float(value), bool(value > 0.0), 1.0)
        for name, value in zip(NAMES, given, strict=True)
    ]
    drift = float(levels.get("drift_per_day", 0.0))
    return NoiseModel(
        tau0_s,
        0,
        0.683,
        (*told, Level("drift_per_day", drift, drift, drift, drift != 0.0, 1.0)),
        mixture=given,
        agreeing=Sample(variances[None, :], np.ones(1), variances),
    )


def _level(kind: int, agreeing: Sample, square: float, tau0_s: float, ci: float) -> Level:
    here = agreeing.variances[:, kind] > 0.0
    present = float(agreeing.weight[here].sum())
    sure = present
    for one, beside, part in MAY_BE_SAMPLING:
        if one == kind:
            more = agreeing.variances[:, kind] > part * agreeing.variances[:, beside]
            sure = min(sure, float(agreeing.weight[more].sum()))
    variances = np.zeros((int(here.sum()), KINDS))
    variances[:, kind] = agreeing.variances[here, kind] * square
    value = level_of(variances, tau0_s)[:, kind]
    if sure >= LIMIT:
        middle, low, high = _quantiles(value, agreeing.weight[here], [0.5, 0.5 - 0.5 * ci, 0.5 + 0.5 * ci])
        return Level(NAMES[kind], middle, low, high, determined=True, present=present)
    limit = _quantiles(value, agreeing.weight[here], [LIMIT])[0]
    return Level(NAMES[kind], math.nan, 0.0, limit, determined=False, present=present)


def _quantiles(values: Floats, weight: Floats, at: list[float]) -> list[float]:
    order = np.argsort(values)
    running = np.cumsum(weight[order]) - 0.5 * weight[order]
    return [float(each) for each in np.interp(at, running / weight.sum(), values[order])]


def _drift(prepared: Prepared, agreeing: Sample, tau0_s: float, ci: float) -> Level:
    """Estimate the drift from the blocks, weighted for the mean of what agrees; its error for all of it."""
    unmoved = contrasts(prepared.at, prepared.offset, 1)
    mean = agreeing.mean()
    seen = unmoved.T @ np.einsum("k,kij->ij", mean, prepared.covariance) @ unmoved
    bent = unmoved.T @ (0.5 * prepared.at * prepared.at)
    solved = np.linalg.solve(seen, bent)
    weights = unmoved @ solved / float(bent @ solved)
    value = float(weights @ prepared.x) * prepared.scale
    variances = agreeing.variances @ np.array([float(weights @ each @ weights) for each in prepared.covariance])
    half = interval_of(variances, agreeing.weight, ci) * prepared.scale
    clear = interval_of(variances, agreeing.weight, LIMIT) * prepared.scale
    per_day = SECONDS_PER_DAY / tau0_s
    return Level(
        "drift_per_day",
        value * per_day,
        (value - half) * per_day,
        (value + half) * per_day,
        determined=abs(value) > clear,
        present=1.0,
    )


def _misfit(lines: Lines, variances: Floats, tau0_s: float) -> Misfit:
    """Compare the scatter of the lines with what their degrees of freedom let expect."""
    ratio = lines.power / (variances @ lines.expected)
    square = lines.weight * (ratio - 1.0) ** 2
    sigmas = float(np.sum(square - 1.0) / math.sqrt(float(np.sum(2.0 + 6.0 / lines.weight))))
    worst = int(np.argmax(square))
    return Misfit(sigmas, tau0_s / float(lines.frequency[worst]), float(ratio[worst]))
