"""The law against Riccati's equation as others solve it, and against what a simulation of the loop costs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truechimer.errors import Misuse
from truechimer.steer import lqg
from truechimer.steer.delayed_filter import DAY_S
from truechimer.steer.lqg import Aim, News
from truechimer.steer.scale_noise import EXCESS, TAUS_S, free_noise

NEWS = News(xx=1.2e-18 / (7 * DAY_S), xy=1.0e-24 / (7 * DAY_S), yy=2e-30 / (7 * DAY_S), span_s=60 * DAY_S, until_ns=1)


@settings(max_examples=20)
@given(st.floats(0.3, 60.0))
def test_the_gains_solve_riccatis_equation(ratio: float) -> None:
    from scipy.linalg import solve_discrete_are

    a, b = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[-1.0], [-1.0]])
    r = np.array([[ratio**4 / 4.0]])
    x = solve_discrete_are(a, b, np.diag([1.0, 0.0]), r)
    expected = -np.linalg.solve(r + b.T @ x @ b, b.T @ x @ a)[0]
    found = lqg.gains(time_constant_s=ratio * 3600.0, interval_s=3600.0)
    assert [found.k_x * 3600.0, found.k_y] == pytest.approx(expected.tolist(), rel=1e-8)


def test_long_time_constants_give_poles_at_minus_one_plus_minus_i_over_t() -> None:
    gain = lqg.gains(time_constant_s=40.0, interval_s=1.0)
    loop = np.array([[1.0 - gain.k_x, 1.0 - gain.k_y], [-gain.k_x, 1.0 - gain.k_y]])
    poles = np.log(np.linalg.eigvals(loop).astype(complex)) * 40.0
    assert sorted(poles, key=lambda p: p.imag) == pytest.approx([-1 - 1j, -1 + 1j], rel=1e-3)


@pytest.mark.parametrize("constant_d", [0.3, 2.0, 10.0])
@pytest.mark.parametrize("hours", [6, 24, 72])
def test_what_a_law_costs_is_what_a_loop_disturbed_by_such_news_shows(constant_d: float, hours: int) -> None:
    """A batch every 21 days, 2,000 times, jumps of phase and rate drawn as the news says; UTC(k) hour by hour."""
    rng = np.random.default_rng(1)
    h = 3600.0 * hours
    gain = lqg.gains(time_constant_s=constant_d * DAY_S, interval_s=h)
    weeks = 21 * DAY_S
    scale = np.diag([1e9, 1e15])
    root = np.linalg.cholesky(scale @ np.array([[NEWS.xx, NEWS.xy], [NEWS.xy, NEWS.yy]]) @ scale * weeks)
    jumps = np.linalg.inv(scale) @ root @ rng.normal(size=(2, 2000))
    e, v, departures, rates = 0.0, 0.0, [], []
    for k in range(2000):
        e, v = e + jumps[0, k], v + jumps[1, k]
        for _ in range(21 * 24 // hours):
            delta = gain.k_x * e + gain.k_y * v
            rates.append(delta)
            v -= delta
            departures.append((e, e + h * v))
            e += h * v
    a, b = np.array(departures).T
    cost = lqg.cost_of(gain, NEWS)
    assert np.mean(a * a + a * b + b * b) / 3.0 == pytest.approx(cost.lag2_s2, rel=0.06)
    steered = np.concatenate([[0.0], np.cumsum(np.repeat(np.cumsum(rates), hours) * 3600.0)])
    second = steered[48:] - 2.0 * steered[24:-24] + steered[:-48]
    assert 0.5 * np.mean(np.square(second)) / DAY_S**2 == pytest.approx(cost.day_variance, rel=0.06)


def _chosen(aim: Aim) -> float:
    return lqg.time_constant_s(
        NEWS, aim, forecast_variance_s2=0.7e-18, free_variance=1.3e-31, interval_s=DAY_S / 4, usual_s=DAY_S
    )


def test_the_time_constant_is_the_longest_that_keeps_the_accuracy() -> None:
    for accuracy in (1.03, 1.1, 1.5):
        gain = lqg.gains(time_constant_s=_chosen(Aim(accuracy=accuracy)), interval_s=DAY_S / 4)
        assert lqg.cost_of(gain, NEWS).lag2_s2 == pytest.approx((accuracy**2 - 1) * 0.7e-18, rel=0.02)


def test_a_limit_of_the_days_stability_makes_it_longer_and_is_kept() -> None:
    aim = Aim(day_stability=1.15)
    gain = lqg.gains(time_constant_s=_chosen(aim), interval_s=DAY_S / 4)
    assert _chosen(aim) > _chosen(Aim())
    assert lqg.cost_of(gain, NEWS).day_variance == pytest.approx(lqg.USED * (1.15**2 - 1) * 1.3e-31, rel=0.02)


def test_without_news_the_usual_constant_holds_and_the_first_batch_is_none() -> None:
    aim = Aim()
    first = News().after(epoch_ns=10**18, xx=1e-12, xy=0.0, yy=0.0)
    for news in (News(), first):
        found = lqg.time_constant_s(
            news, aim, forecast_variance_s2=1e-18, free_variance=1e-31, interval_s=3600.0, usual_s=7.0
        )
        assert found == 7.0
    second = first.after(epoch_ns=10**18 + round(7 * DAY_S * 1e9), xx=7 * DAY_S, xy=0.0, yy=-1.0)
    assert (second.xx, second.yy, second.span_s) == (1.0, 0.0, 7 * DAY_S)


CLOCKS = ((1.4e-26, 9e-32, 4.6e-36), (7.2e-23, 1.6e-29, 4.6e-36), (9e-24, 9e-28, 3.5e-31))


def test_the_noise_of_a_scale_is_near_the_best_weighting_at_every_tau() -> None:
    found = free_noise(CLOCKS, y_spread=1e-13, drift_spread=1e-21, excess=1.0)
    for tau_s in TAUS_S:
        best = 1.0 / sum(1.0 / (q1 / tau_s + floor2 + q2 * tau_s / 3.0) for q1, floor2, q2 in CLOCKS)
        assert found.allan_variance(tau_s) == pytest.approx(best, rel=0.06)
    assert min(found.q1, found.floor2, found.q2) >= 0.0


def test_a_scale_of_several_clocks_is_taken_to_wander_more_than_the_best_weighting_would() -> None:
    best, found = (free_noise(CLOCKS, y_spread=1e-13, drift_spread=1e-21, **more) for more in ({"excess": 1.0}, {}))
    assert found.q2 == EXCESS * best.q2
    assert (found.q1, found.floor2) == (best.q1, best.floor2)


def test_one_clock_is_its_own_scale() -> None:
    found = free_noise((CLOCKS[0],), y_spread=1e-13, drift_spread=0.0)
    assert (found.q1, found.floor2, found.q2) == pytest.approx(CLOCKS[0], rel=1e-3)


def test_a_scale_of_no_clocks_is_a_misuse() -> None:
    with pytest.raises(Misuse):
        free_noise((), y_spread=1e-13, drift_spread=0.0)
