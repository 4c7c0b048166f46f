"""Frequency stability and time error: every statistic of NIST SP 1065 with its interval.

It reads no file and draws nothing: arrays in, a `StabilityCurve` out. Importing it costs NumPy alone; compiled loops
are loaded by the first statistic that uses them.

Source: NIST SP 1065 (Riley and Howe 2008); IEEE Std 1139-2022; ITU-T G.810.
"""

from truechimer.stability.curve import SeriesRejected, Skipped, StabilityCurve, StabilityMisuse
from truechimer.stability.deviations import adev, hdev, mdev, oadev, ohdev, tdev

__all__ = [
    "SeriesRejected",
    "Skipped",
    "StabilityCurve",
    "StabilityMisuse",
    "adev",
    "hdev",
    "mdev",
    "oadev",
    "ohdev",
    "tdev",
]
