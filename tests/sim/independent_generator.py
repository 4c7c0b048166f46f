"""Two other ways to make power-law noise, which share nothing with the simulator: from the spectrum, and by
fractional integration.

Sources: the spectral way is a Gaussian line spectrum with the aliased density of the sampled process, turned to time
by an FFT; the other is N. J. Kasdin and T. Walter, "Discrete simulation of power law noise", Proc. IEEE Frequency
Control Symposium, 1992.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]
Spectrum = Callable[[Array], Array]

LONGER = 16
"""The spectral record is so many times longer than what is used of it: no circle closes within reach."""
_ALIASES = 60


def flicker_fm_spectrum(floor: float) -> Spectrum:
    h = floor**2 / (2.0 * np.log(2.0))
    return lambda f: _folded(lambda g: h / ((2.0 * np.pi) ** 2 * g**3), f)


def white_fm_spectrum(adev_1s: float) -> Spectrum:
    return lambda f: 2.0 * adev_1s**2 / (2.0 * np.sin(np.pi * f)) ** 2


def random_walk_fm_spectrum(adev_1s: float) -> Spectrum:
    return lambda f: _folded(lambda g: 2.0 * 3.0 * adev_1s**2 / (2.0 * np.pi * g) ** 4, f)


def flicker_pm_spectrum(tdev_s: float) -> Spectrum:
    """The declared band as in `theory.flicker_pm`: first-order processes, each folded in closed form."""
    part = tdev_s**2 * 2.0 / np.log(256.0 / 27.0) * np.log(10.0) / 3.0

    def density(f: Array) -> Array:
        turn = np.cos(2.0 * np.pi * f)
        total = 0.7 * np.sinh(1.0) / (np.cosh(1.0) - turn)
        for j in range(28):
            rate = 10.0 ** (-j / 3.0)
            total += np.sinh(rate) / (2.0 * np.sinh(0.5 * rate) ** 2 + 1.0 - turn)
        return 2.0 * part * total

    return density


def _folded(density: Spectrum, f: Array) -> Array:
    """Add what lies above 0.5 Hz where sampling puts it; 60 aliases of 1/f^3 leave 1e-4 of the density at 0.5 Hz."""
    folded = density(f)
    for k in range(1, _ALIASES + 1):
        folded = folded + density(k - f) + density(k + f)
    return folded


def white_pm_spectrum(level_s: float) -> Spectrum:
    """White phase noise of `level_s` rms in each phase."""
    return lambda f: np.full_like(f, 2.0 * level_s * level_s)


SPECTRA = (
    white_pm_spectrum,
    flicker_pm_spectrum,
    white_fm_spectrum,
    flicker_fm_spectrum,
    random_walk_fm_spectrum,
)
"""Of the five noises, in the order in which their levels stand in a clocks file."""


def from_spectrum(density: Spectrum, n: int, runs: int, rng: Generator) -> list[Array]:
    """Records of phase, `n` points 1 s apart, with the one-sided density `density(f)`, s^2/Hz, f up to 0.5 Hz."""
    length = LONGER * n
    f = np.arange(1, length // 2 + 1) / length
    folded = density(f)
    records = []
    for _ in range(runs):
        lines = np.zeros(length // 2 + 1, dtype=np.complex128)
        normals = rng.standard_normal((2, len(f)))
        lines[1:] = (normals[0] + 1j * normals[1]) * np.sqrt(folded / (4.0 * length))
        lines[-1] = normals[0, -1] * np.sqrt(folded[-1] / (2.0 * length))
        records.append(np.fft.irfft(lines, length)[:n] * length)
    return records


def fractionally_integrated(exponent: float, variance: float, n: int, runs: int, rng: Generator) -> list[Array]:
    """Records with the density 2 `variance` / (2 sin(pi f))^exponent: white noise through its power series."""
    weights = np.empty(n)
    weights[0] = 1.0
    for k in range(1, n):
        weights[k] = weights[k - 1] * (0.5 * exponent + k - 1.0) / k
    size = 2 * n
    answer = np.fft.rfft(weights, size)
    white = [rng.standard_normal(n) * np.sqrt(variance) for _ in range(runs)]
    return [np.fft.irfft(answer * np.fft.rfft(one, size), size)[:n] for one in white]


def kasdin_walter(kind: str, level: float, n: int, runs: int, rng: Generator) -> list[Array]:
    """Records with the low-frequency density that `level` means for `kind`; near 0.5 Hz they differ from the
    continuous process.
    """
    flicker_level = level**2 * 2.0 / np.log(256.0 / 27.0)
    exponent, variance = {
        "white_pm_s": (0.0, level**2),
        "flicker_pm_s": (1.0, np.pi * flicker_level),
        "white_fm_1s": (2.0, level**2),
        "flicker_fm": (3.0, np.pi * level**2 / (2.0 * np.log(2.0))),
        "random_walk_fm_1s": (4.0, 3.0 * level**2),
    }[kind]
    return fractionally_integrated(exponent, float(variance), n, runs, rng)
