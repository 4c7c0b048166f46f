"""The host's oscillator in a live world: true time as a function of the host's raw counter alone.

It reads no counter: raw values come in. Its wander is fixed by the seed on a grid of whole seconds after the anchor
and linear between them, so the answer for one raw value never depends on which others were asked for, or in which
order.

Source: house.md 4.6, `true_tai(raw) = anchor_tai + (raw - anchor_raw)(1 - y_host) - wander(raw)`.
"""

import math
from itertools import accumulate

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from truechimer.sim.scenario import Host

FS_PER_NS = 10**6
NS_PER_S = 10**9
_GRID_BLOCK = 4096


class HostOscillator:
    """True time from raw counter values; shared by a world and its forks, since nothing about it can differ between
    them.
    """

    def __init__(self, host: Host, rng: Generator, *, anchor_tai_ns: int, anchor_raw_ns: int) -> None:
        """At `anchor_raw_ns` true time is `anchor_tai_ns`; before the anchor the host has its mean rate and no
        wander.
        """
        self._anchor_tai_ns = anchor_tai_ns
        self._anchor_raw_ns = anchor_raw_ns
        # A float is a fraction with a power of two below: the mean rate is exact in integers, at any distance.
        self._y_above, self._y_below = host.y_host.as_integer_ratio()
        self._rng = rng
        self._wanders = host.wander_y > 0.0 or host.white_fm_1s > 0.0
        self._y = host.wander_y * float(rng.standard_normal())
        self._rms_y = host.wander_y
        self._white_s = host.white_fm_1s
        rate = 1.0 / host.wander_correlation_s
        m = -math.expm1(-rate)
        rest = rate * rate * rate / 12.0 * (1.0 - rate * rate / 10.0) if rate < 1e-2 else rate - 2.0 * m / (2.0 - m)
        self._decay, self._gather = 1.0 - m, m / rate
        self._drive = self._rms_y * math.sqrt(m * (2.0 - m))
        self._together = self._rms_y * m / rate * math.sqrt(m / (2.0 - m))
        self._apart = self._rms_y * math.sqrt(2.0 * rest) / rate
        self._grid_s: NDArray[np.float64] = np.zeros(1)

    def label_tai_ns(self, raw_ns: int) -> int:
        """What the host itself would call this moment: the anchor plus raw nanoseconds taken at their nominal
        length.
        """
        return self._anchor_tai_ns + (raw_ns - self._anchor_raw_ns)

    def true_tai_fs(self, raw_ns: int) -> int:
        """True time at `raw_ns`, femtoseconds since 1970-01-01T00:00:00 TAI."""
        elapsed_fs = (raw_ns - self._anchor_raw_ns) * FS_PER_NS
        gained_fs = (elapsed_fs * self._y_above + self._y_below // 2) // self._y_below
        return self._anchor_tai_ns * FS_PER_NS + elapsed_fs - gained_fs - self._wander_fs(raw_ns)

    def x_host_minus_utc_s(self, raw_ns: int) -> float:
        """The host's label minus true time at `raw_ns`, seconds."""
        return (self.label_tai_ns(raw_ns) * FS_PER_NS - self.true_tai_fs(raw_ns)) / 1e15

    def _wander_fs(self, raw_ns: int) -> int:
        elapsed_ns = raw_ns - self._anchor_raw_ns
        if not self._wanders or elapsed_ns <= 0:
            return 0
        second, rest_ns = divmod(elapsed_ns, NS_PER_S)
        while second + 1 >= len(self._grid_s):
            self._extend()
        before, after = float(self._grid_s[second]), float(self._grid_s[second + 1])
        return round((before + (after - before) * (rest_ns * 1e-9)) * 1e15)

    def _extend(self) -> None:
        """Draw the next block of seconds; it doubles what is there, so that a far look ahead costs little per
        second.
        """
        n = max(_GRID_BLOCK, len(self._grid_s))
        n1, n2, n3 = self._rng.standard_normal((n, 3)).T
        decay = self._decay
        y = list(accumulate((self._drive * n1).tolist(), lambda last, drawn: last * decay + drawn, initial=self._y))
        gained = self._gather * np.array(y[:-1]) + self._together * n1 + self._apart * n2 + self._white_s * n3
        # a running sum from the last value on: the bits do not depend on where the blocks begin
        more = np.cumsum(np.concatenate((self._grid_s[-1:], gained)))[1:]
        self._y = y[-1]
        self._grid_s = np.concatenate((self._grid_s, more))
