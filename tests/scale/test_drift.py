# mypy: allow-untyped-calls
"""The drift of a clock is as sure as the readings made it, whatever began anew in between."""

import numpy as np
import pytest

from truechimer.scale import drift
from truechimer.scale.bands_state import (
    ACTIVE,
    COLUMNS_F,
    COLUMNS_I,
    DRIFT,
    DRIFT_U2,
    K_D,
    K_DD,
    K_YD,
    K_YY,
    LAST_NS,
    STATUS,
    X,
)
from truechimer.scale.state import Membership

DAY_S = 86_400.0
DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize("begins_anew", [(1,), (1, 2), (1, 2, 3, 9), (20, 21, 40)])
def test_a_rate_that_begins_anew_leaves_no_drift_more_certain_than_the_days_that_it_was_seen(
    begins_anew: tuple[int, ...],
) -> None:
    rng = np.random.default_rng(len(begins_anew))
    n, start = 4, 20_000 * DAY_NS
    white = np.array([1.2e-13, 8.5e-12, 8.5e-12, 8.5e-12])
    noise = np.zeros((n, 4))
    noise[:, 1], noise[:, 3] = white**2, 4.6e-36
    clock_f, clock_i = np.zeros((n, COLUMNS_F)), np.zeros((n, COLUMNS_I), np.int64)
    clock_i[:, ACTIVE], clock_i[:, STATUS], clock_i[:, LAST_NS] = 1, int(Membership.IN), start
    of_kind = np.array([5e-16, 0.0, 0.0, 0.0]) / DAY_S
    drift.begin(clock_f, clock_i, start)
    for day in range(1, 60):
        now = start + day * DAY_NS
        clock_f[:, X] += rng.normal(size=n) * white * np.sqrt(DAY_S)
        clock_i[:, LAST_NS] = now
        drift.daily(
            now,
            start,
            noise,
            of_kind**2,
            np.zeros(n, np.bool_),
            np.array([True, False, False, False]),
            np.array([2e-16, 0.0, 0.0, 0.0]) / DAY_S,
            clock_f,
            clock_i,
        )
        if day in begins_anew:
            drift.opened(clock_f, 0)
        # a covariance: rate and drift are never known better together than each alone
        assert clock_f[0, K_YY] * clock_f[0, K_DD] >= clock_f[0, K_YD] ** 2
        # white FM of the reference (5e-12: 1.4e-14 in a day) leaves a line through all days so far this unsure
        assert np.sqrt(clock_f[0, K_DD]) * DAY_S > 0.3 * min(1e-13, 1.4e-14 * np.sqrt(12.0 / day**3))
        assert abs(clock_f[0, K_D]) * DAY_S < 5.0 * np.sqrt(clock_f[0, K_DD]) * DAY_S
    assert clock_f[0, DRIFT] * DAY_S == pytest.approx(2e-16, abs=5e-16)
    assert clock_f[0, DRIFT_U2] >= 0.0
