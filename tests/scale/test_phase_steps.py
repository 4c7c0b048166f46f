"""A phase step moves one clock's phase and nothing else: the scale goes on at the rate it had, and the clock comes back
with the weight and the rate that it had.
"""

import numpy as np
import pytest

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.scale.engines import engine
from truechimer.scale.state import Membership

START_NS = 1_700_000_000 * 10**9
DAY_S = 86_400.0
NS = 1e-9
KINDS = (ClockKind.MASER,) * 3 + (ClockKind.CAESIUM,) * 5
WHITE = np.array([1.2e-13] * 3 + [8.5e-12] * 5)
WALK = 3 * 2e-15**2 / (30 * DAY_S)
READING_S = 5e-12


def _clocks_minus_time(seed: int, days: float, interval_s: float) -> np.ndarray:
    """White and random-walk FM, shape `(n_epochs, n_clocks)`, seconds."""
    rng = np.random.default_rng([seed, 41])
    epochs, n = round(days * DAY_S / interval_s), len(KINDS)
    y = rng.normal(size=n) * 1e-13 + np.cumsum(rng.normal(size=(epochs, n)) * np.sqrt(WALK * interval_s), axis=0)
    return np.cumsum(y * interval_s + rng.normal(size=(epochs, n)) * WHITE * np.sqrt(interval_s), axis=0)


def _scale(x: np.ndarray, interval_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return scale minus time (s) by epoch, and who was a member."""
    clocks = tuple(Clock(name=f"c{i}", kind=kind) for i, kind in enumerate(KINDS))
    noise = np.random.default_rng(5).normal(size=x.shape) * READING_S
    read = x - x[:, [-1]] + noise
    read[:, -1] = 0.0
    u2 = np.full(x.shape, READING_S**2)
    u2[:, -1] = 0.0
    epochs = START_NS + np.round(np.arange(len(x)) * interval_s * 1e9).astype(np.int64)
    made = engine("bands", clocks, interval_s=interval_s).run(epochs, read, u2, np.ones(len(x), np.bool_))
    return np.nanmedian(x - made.x_clock_minus_scale_s, axis=1), made.membership


@pytest.mark.parametrize("interval_s", [3_600.0, 600.0])
@pytest.mark.parametrize(("clock", "size_ns"), [(0, 20.0), (1, -3.0), (2, 500.0), (4, 20.0)])
def test_a_phase_step_leaves_the_phase_and_the_rate_of_the_scale_where_they_were(
    clock: int, size_ns: float, interval_s: float
) -> None:
    days, at_d = (40.0, 24.7) if interval_s == 3_600.0 else (14.0, 8.3)
    x = _clocks_minus_time(clock, days, interval_s)
    begin = round(at_d * DAY_S / interval_s)
    stepped = x.copy()
    stepped[begin:, clock] += size_ns * NS
    as_it_was, _ = _scale(x, interval_s)
    struck, member = _scale(stepped, interval_s)
    assert (member[begin : begin + 2, clock] != Membership.IN).any()
    assert (member[begin + round(DAY_S / interval_s) :, clock] == Membership.IN).all()
    moved = (struck - as_it_was)[begin:]
    # what the clock itself did in the interval of its step is lost, by its weight over months
    lost_s = 0.3 * WHITE[clock] * np.sqrt(interval_s)
    assert np.abs(moved).max() < 0.05 * NS + lost_s, np.abs(moved).max() / NS


def test_nobody_s_weight_changes_while_a_clock_is_out_for_a_phase_step() -> None:
    x = _clocks_minus_time(3, 30.0, 3_600.0)
    begin = 500
    x[begin:, 1] += 20 * NS
    clocks = tuple(Clock(name=f"c{i}", kind=kind) for i, kind in enumerate(KINDS))
    going = engine("bands", clocks, interval_s=3_600.0)
    u2 = np.full(len(KINDS), READING_S**2)
    heard, kept = [], []
    for k in range(begin + 12):
        step = going.step(START_NS + k * 3_600 * 10**9, x[k] - x[k, -1], u2, due=True)
        heard.append(step.weight[1])
        kept.append(going.state.band[:, 0].copy())  # type: ignore[attr-defined]
    # it is not heard for some hours, and keeps its place; the day's plan is another matter
    assert min(heard[begin : begin + 3]) == 0.0
    assert heard[-1] > 0.0
    first = next(k for k in range(begin, begin + 12) if not np.array_equal(kept[k], kept[begin - 1]))
    assert (START_NS + first * 3_600 * 10**9) // (86_400 * 10**9) > (START_NS + begin * 3_600 * 10**9) // (
        86_400 * 10**9
    )
