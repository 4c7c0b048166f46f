"""Records that tests share: the published ones, rebuilt from their recipe, and simulated ones of one noise type."""

import gzip
from functools import cache
from pathlib import Path

import numpy as np

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "stability"

NBS14_FREQUENCY = np.array([892.0, 809.0, 823.0, 798.0, 671.0, 644.0, 883.0, 903.0, 677.0])
"""SP 1065 section 12.4; its phases begin with 0 and are sums of these less their mean, printed to five digits."""

NBS14_PHASE = np.array([0.0, 103.11111, 123.22222, 157.33333, 166.44444, 48.55555, -96.33333, -2.22222, 111.88889, 0.0])


@cache
def sp1065_frequency() -> np.ndarray:
    """The 1000 frequencies of SP 1065 section 12.4: n(i+1) = 16807 n(i) mod 2147483647, y = n / 2147483647."""
    n, values = 1234567890, []
    for _ in range(1000):
        values.append(n / 2147483647)
        n = 16807 * n % 2147483647
    return np.array(values)


@cache
def phase_dat() -> np.ndarray:
    return np.loadtxt(SHARED / "phasedat" / "PHASE.DAT")


@cache
def caesium() -> np.ndarray:
    with gzip.open(SHARED / "cs5071a" / "5071A_phase.txt.gz") as file:
        return np.loadtxt(file)


@cache
def stable32(name: str) -> np.ndarray:
    """Return a table as Stable32 printed it: one row for each averaging factor."""
    text = (SHARED / name).read_text(encoding="utf-8", errors="replace")
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return np.array([[float(word) for word in row] for row in rows])


def power_law(alpha: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Phases (n,) of discrete power-law noise S_y ~ f^alpha, by fractional integration (Kasdin and Walter 1992)."""
    order = 2 - alpha  # of the phase: S_x ~ f^(alpha - 2)
    white = rng.standard_normal(n)
    if order == 0:
        return white
    if order == 2:
        return np.cumsum(white)
    if order == 4:
        return np.cumsum(np.cumsum(white))
    if order == 3:
        return np.cumsum(power_law(1, n, rng))
    k = np.arange(1, n)
    weights = np.concatenate([[1.0], np.cumprod((k - 1 + order / 2) / k)])
    size = 2 ** int(2 * n - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(white, size) * np.fft.rfft(weights, size), size)[:n]
