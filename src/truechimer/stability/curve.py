"""What every statistic answers: a curve of values over averaging times, with its intervals, counts and noise types.

It computes nothing.

Source: the contract ("Python API"); symbols as in IEEE Std 1139-2022 and NIST SP 1065.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.errors import Misuse, Rejected

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class StabilityMisuse(Misuse):
    """A statistic was called with an option that does not exist, or with options that contradict each other."""


class SeriesRejected(Rejected):
    """Data that no statistic can be computed from; `row` is the index of the first bad value, where there is one."""

    def __init__(self, says: str, *, row: int | None = None) -> None:
        super().__init__(says)
        self.row = row


@dataclass(frozen=True, slots=True)
class Skipped:
    """An averaging factor that was asked for and has no value, with the reason."""

    m: int
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class StabilityCurve:
    """One statistic at the averaging times `tau_s`; every array has the shape (n_taus,).

    `value`: the deviation: dimensionless for frequency statistics, seconds for `tdev`, `ttotdev`, `mtie`, `tierms`;
    covariances carry a sign. `lower`, `upper`: the two-sided interval at level `ci`, of the quantity that `value`
    estimates; NaN where none is defined (`ci=None`, a value of 0, statistics without a known distribution).
    `n`: the number of terms in each value. `noise`: the power-law exponent alpha of S_y(f) that the interval rests on
    (2 white PM, 1 flicker PM, 0 white FM, -1 flicker FM, -2 random-walk FM; NaN where unknown). `m`: the averaging
    factor, tau_s = m tau0_s (Theo1 and its kin: 0.75 m tau0_s). `edf`: equivalent degrees of freedom.
    `bias`: `none` where the values are what the definition gives, `sp1065` where they were divided by the bias that
    NIST SP 1065 states for the noise type. `noise_from`: how the noise was identified (`spectrum`, `lag1`, `named` by
    the caller; empty where it was not asked for). `edf_from`: `exact` for the degrees of the statistic itself, `sp1065`
    for those that the handbook prints. `approximation`: empty, or the name of the approximation that was asked for.
    """

    tau_s: Floats
    value: Floats
    lower: Floats
    upper: Floats
    n: Ints
    noise: Floats
    m: Ints
    statistic: str
    tau0_s: float
    ci: float | None
    edf: Floats
    bias: str = "none"
    approximation: str = ""
    noise_from: str = ""
    edf_from: str = ""
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return int(self.tau_s.size)

    def as_json(self) -> dict[str, Any]:
        """Return the curve as plain lists for a JSON document; what is not a number becomes None."""

        def plain(values: Floats) -> list[float | None]:
            return [float(value) if np.isfinite(value) else None for value in values]

        told: dict[str, Any] = {
            "tau_s": plain(self.tau_s),
            "value": plain(self.value),
            "lower": plain(self.lower),
            "upper": plain(self.upper),
            "n": [int(count) for count in self.n],
            "noise": [int(alpha) if np.isfinite(alpha) else None for alpha in self.noise],
            "m": [int(factor) for factor in self.m],
            "edf": plain(self.edf),
            "bias": self.bias,
        }
        if self.ci is not None:
            told["ci"] = self.ci
        for word in ("noise_from", "edf_from"):
            if getattr(self, word):
                told[word] = getattr(self, word)
        if self.approximation:
            told["approximation"] = self.approximation
        if self.skipped:
            told["skipped"] = [{"m": each.m, "why": each.why} for each in self.skipped]
        return told
