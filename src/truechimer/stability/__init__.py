"""Frequency stability and time error: every statistic of NIST SP 1065 with its interval.

It reads no file and draws nothing: arrays in, a `StabilityCurve` out. Importing it costs NumPy alone; compiled loops
are loaded by the first statistic that uses them.

Source: NIST SP 1065 (Riley and Howe 2008); IEEE Std 1139-2022; ITU-T G.810.
"""

from truechimer.stability.covariance import gcodev, three_cornered_hat
from truechimer.stability.curve import SeriesRejected, Skipped, StabilityCurve, StabilityMisuse
from truechimer.stability.deviations import adev, hdev, mdev, oadev, ohdev, tdev
from truechimer.stability.dynamic import StabilitySurface, dynamic
from truechimer.stability.holdover import HoldoverPrediction, predict_holdover
from truechimer.stability.noise_model import Level, NoiseModel, declared_noise, fit_noise
from truechimer.stability.parabolic import pdev
from truechimer.stability.streaming import StreamingStability
from truechimer.stability.theo import theo1, theobr, theoh
from truechimer.stability.time_error import mtie, tierms
from truechimer.stability.total import htotdev, mtotdev, totdev, ttotdev

__all__ = [
    "HoldoverPrediction",
    "Level",
    "NoiseModel",
    "SeriesRejected",
    "Skipped",
    "StabilityCurve",
    "StabilityMisuse",
    "StabilitySurface",
    "StreamingStability",
    "adev",
    "declared_noise",
    "dynamic",
    "fit_noise",
    "gcodev",
    "hdev",
    "htotdev",
    "mdev",
    "mtie",
    "mtotdev",
    "oadev",
    "ohdev",
    "pdev",
    "predict_holdover",
    "tdev",
    "theo1",
    "theobr",
    "theoh",
    "three_cornered_hat",
    "tierms",
    "totdev",
    "ttotdev",
]
