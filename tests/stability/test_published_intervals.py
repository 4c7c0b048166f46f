"""Published intervals: Stable32's printed bounds of PHASE.DAT and of the caesium clock, from `edf_from="sp1065"`.

Stable32's levels are not the 0.683 that its tables are headed with: one sigma, 0.6827, below 100 degrees of freedom,
and 0.680 (z = 0.9945) from there on. Both were read off its tables and hold for all of them.
"""

import math

import numpy as np
import pytest

from truechimer import stability
from truechimer.stability import degrees_published
from truechimer.stability.confidence import interval

from .records import caesium, phase_dat, stable32

ONE_SIGMA = math.erf(1.0 / math.sqrt(2.0))
FROM_100 = 0.68
CLOSE = 2e-4
"""Half a unit of the fifth digit is 0.5e-4 at most; Greenhall and Riley's constants of long sums have three digits."""
CLOSE_WITH_FEW = 1e-3
"""At the end of the caesium record those constants make 4 degrees of freedom of 4.003."""


def as_stable32(value: np.ndarray, edf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    few, many = (interval(value, edf, edf**-2.0, level) for level in (ONE_SIGMA, FROM_100))
    lower, upper = (np.where(edf < 100.0, a, b) for a, b in zip(few, many, strict=True))
    return lower, upper


def units_off(found: np.ndarray, printed: np.ndarray) -> float:
    """The largest difference in units of the fifth printed digit."""
    return float(np.max(np.abs(found - printed) / 10.0 ** (np.floor(np.log10(printed)) - 4)))


PHASE_DAT = ("adev", "oadev", "mdev", "tdev", "hdev", "ohdev", "totdev")


@pytest.mark.shared_data
@pytest.mark.parametrize("name", PHASE_DAT)
def test_stable32s_intervals_of_phase_dat(name: str) -> None:
    table = stable32(f"phasedat/phase_dat_{name}_octave.txt")
    curve = getattr(stability, name)(phase_dat(), 1.0, table[:, 0].astype(int), alpha=0, edf_from="sp1065")
    assert (curve.edf_from, curve.noise_from) == ("sp1065", "named")
    lower, upper = as_stable32(curve.value, curve.edf)
    assert np.max(np.abs(lower / table[:, 4] - 1.0)) <= CLOSE
    assert np.max(np.abs(upper / table[:, 6] - 1.0)) <= CLOSE


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.parametrize("name", PHASE_DAT)
def test_stable32s_intervals_of_a_caesium_clock(name: str) -> None:
    table = stable32(f"cs5071a/{name}_decade.txt")
    for alpha in np.unique(table[:, 3]):
        rows = table[table[:, 3] == alpha]
        curve = getattr(stability, name)(caesium(), 1.0, rows[:, 0].astype(int), alpha=alpha, edf_from="sp1065")
        lower, upper = as_stable32(curve.value, curve.edf)
        assert np.max(np.abs(lower / rows[:, 4] - 1.0)) <= CLOSE
        assert np.max(np.abs(upper / rows[:, 6] - 1.0)) <= CLOSE_WITH_FEW


# timescale.md 3.3 (allantools tests/phasedat): MTOTDEV of PHASE.DAT, alpha 0, m, lower, value, upper.
MTOT_PHASE_DAT = (
    (1, 2.0163e-1, 2.0664e-1, 2.1204e-1),
    (16, 3.4536e-2, 3.7135e-2, 4.0425e-2),
    (256, 4.5699e-3, 5.9607e-3, 1.0806e-2),
)


def test_stable32s_intervals_of_the_modified_total_deviation() -> None:
    """Below m = 16 its degrees are MDEV's. From there on they are 1.3304 T/tau - 1.8906, read off these rows, where SP
    1065 table 8 has 1.10 and 1.20 (docs/guide/stability-differences.md, 13).
    """
    for m, lower, value, upper in MTOT_PHASE_DAT:
        edf = degrees_published.of_mtotdev(0, m, 1001).edf if m < 16 else 1.3304 * 1001 / m - 1.8906
        found = as_stable32(np.array([value]), np.array([edf]))
        assert units_off(found[0], np.array([lower])) <= 1.0
        assert units_off(found[1], np.array([upper])) <= 1.0


@pytest.mark.shared_data
def test_stable32s_intervals_of_the_hadamard_total_deviation() -> None:
    """Below m = 16 its degrees are 1.5 T/tau 4 m^2 / (4 m^2 + 5), those of white FM's OADEV without the ends; from
    there on the handbook's.
    """
    for row in stable32("phasedat/phase_dat_htotdev_octave.txt"):
        m = int(row[0])
        short = 1.5 * 1001 / m * 4 * m * m / (4 * m * m + 5)
        edf = short if m < 16 else degrees_published.of_htotdev(0, m, 1001).edf
        lower, upper = as_stable32(row[5:6], np.array([edf]))
        assert units_off(lower, row[4:5]) <= 2.0  # the value itself has five digits
        assert units_off(upper, row[6:7]) <= 2.0
