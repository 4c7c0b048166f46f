"""The BIPM's tracking schedule of CGGTTS: when tracks begin on a day.

It reads no file. Source: Allan and Thomas 1994 and the format's directives: on MJD 50722 (1997-10-01) tracks of 13
minutes begin at 00:02 and every 16 minutes; each day all move back by four minutes, modulo 1,436 minutes, which is a
sidereal day. Every one of 24,120 real tracks that we have seen obeys it.
"""

import numpy as np
from numpy.typing import NDArray

REFERENCE_MJD = 50_722
TRACKS_A_DAY = 89
TRACK_S = 780
_PERIOD_MIN = 1_436
_STEP_MIN = 16
_DAILY_MIN = 4


def starts_s(mjd: int) -> tuple[int, ...]:
    """Return the 89 starts of a day, in seconds since 0 h UTC, rising."""
    return tuple(sorted(60 * start for start in _starts_min(mjd)))


def off_schedule(mjd: NDArray[np.int64], start_s: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return True for each track `(n,)` that does not begin with the schedule of its day."""
    minutes, seconds = np.divmod(start_s, 60)
    # the start's own number in the day's list: (minute - 2 + 4 (MJD - 50722)) mod 1436 must be one of 0, 16, ... 1408
    number = (minutes - 2 + _DAILY_MIN * (mjd - REFERENCE_MJD)) % _PERIOD_MIN
    on = (seconds == 0) & (minutes < _PERIOD_MIN) & (number % _STEP_MIN == 0) & (number < _STEP_MIN * TRACKS_A_DAY)
    off: NDArray[np.bool_] = ~on
    return off


def _starts_min(mjd: int) -> list[int]:
    return [(2 + _STEP_MIN * i - _DAILY_MIN * (mjd - REFERENCE_MJD)) % _PERIOD_MIN for i in range(TRACKS_A_DAY)]
