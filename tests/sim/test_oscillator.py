"""The oscillators: exact over any step, equal in every form, flat where flicker is to be flat."""

import numpy as np
import pytest

from truechimer import kernel as kernels
from truechimer.clocks.clock import NoiseModel
from truechimer.errors import Misuse
from truechimer.sim import OscillatorBank
from truechimer.sim import pole_ladder as ladder
from truechimer.sim.oscillator import RUN_BLOCK

DAY_S = 86_400.0
EVERYTHING = NoiseModel(
    white_pm_s=1e-11,
    flicker_pm_s=2e-12,
    white_fm_1s=1e-13,
    flicker_fm=1e-15,
    random_walk_fm_1s=1e-18,
    drift_per_day=3e-16,
)


def bank(noise: list[NoiseModel], seed: int = 1, **start: list[float]) -> OscillatorBank:
    return OscillatorBank(noise, np.random.default_rng(seed), **start)


@pytest.mark.parametrize("n_clocks", [1, 2, 13])
def test_a_run_gives_the_bits_of_its_steps(n_clocks: int) -> None:
    # every second clock has no flicker, so that the pole columns are not the clock columns
    noise = [EVERYTHING if k % 2 == 0 else NoiseModel(white_fm_1s=1e-12) for k in range(n_clocks)]
    n = RUN_BLOCK + 7
    one, other = bank(noise), bank(noise)
    ran = one.run(n, 1.5)
    stepped = np.array([other.step(1.5) for _ in range(n)])
    assert np.array_equal(ran, stepped)
    assert np.array_equal(one.step(0.25), other.step(0.25))


def test_machine_code_and_plain_code_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = [EVERYTHING, NoiseModel(flicker_fm=1e-14), NoiseModel(flicker_pm_s=1e-12)]
    forced_x_s = np.random.default_rng(5).standard_normal((RUN_BLOCK, 3)) * 1e-12
    forced_y = np.random.default_rng(6).standard_normal((RUN_BLOCK, 3)) * 1e-17
    fast, slow = bank(noise), bank(noise)
    compiled = fast.run(RUN_BLOCK, 1.0, forced_x_s=forced_x_s, forced_y=forced_y)
    monkeypatch.setattr(kernels, "COMPILED", False)
    plain = slow.run(RUN_BLOCK, 1.0, forced_x_s=forced_x_s, forced_y=forced_y)
    assert np.array_equal(compiled, plain)
    assert np.array_equal(fast.y, slow.y)


def test_one_seed_repeats_and_another_differs() -> None:
    assert np.array_equal(bank([EVERYTHING], 3).run(50, 2.0), bank([EVERYTHING], 3).run(50, 2.0))
    assert not np.array_equal(bank([EVERYTHING], 3).run(50, 2.0), bank([EVERYTHING], 4).run(50, 2.0))


def test_a_copy_has_the_same_future_and_does_not_touch_the_original() -> None:
    one = bank([EVERYTHING] * 3)
    one.run(10, 1.0)
    twin = one.copy()
    future = twin.run(20, 600.0)
    assert np.array_equal(one.run(20, 600.0), future)


def test_drift_and_offsets_are_the_exact_parabola_whatever_the_steps() -> None:
    drift = 2e-16
    clock = bank([NoiseModel(drift_per_day=drift)], x_start_s=[5e-7], y_start=[3e-13])
    rng = np.random.default_rng(2)
    t = 0.0
    for _ in range(500):
        dt_s = float(rng.uniform(0.1, 3000.0))
        t += dt_s
        x_s = clock.step(dt_s)
    assert x_s[0] == pytest.approx(5e-7 + 3e-13 * t + 0.5 * drift / DAY_S * t * t, rel=1e-12)
    assert clock.y[0] == pytest.approx(3e-13 + drift * t / DAY_S, rel=1e-12)


def joint_covariance(dt_s: float) -> np.ndarray:
    """Covariance that each unit pole and its integral gain in one step: shape (n_poles, 2, 2)."""
    step = ladder.step_over(dt_s)
    drive, together = step.drive[:, 0], step.together[:, 0]
    alone = []
    for rate in ladder.RATES_PER_S:
        a = rate * dt_s
        # the integral's variance from the exponential itself, in extended precision
        e = np.exp(-np.longdouble(a))
        whole = (2 * np.longdouble(a) - 3 + 4 * e - e * e) / np.longdouble(rate) ** 2
        alone.append(float(whole))
    both = drive * together
    return np.stack([np.stack([drive**2, both], -1), np.stack([both, np.array(alone)], -1)], -2)


def test_a_step_of_600_s_is_two_steps_of_300_s_for_every_pole() -> None:
    half, whole = ladder.step_over(300.0), ladder.step_over(600.0)
    decay, gather = half.decay[:, 0], half.gather[:, 0]
    assert np.allclose(decay * decay, whole.decay[:, 0], rtol=1e-12, atol=1e-15)
    assert np.allclose(gather + gather * decay, whole.gather[:, 0], rtol=1e-12)
    carry = np.zeros((len(decay), 2, 2))
    carry[:, 0, 0], carry[:, 1, 0], carry[:, 1, 1] = decay, gather, 1.0
    first = joint_covariance(300.0)
    composed = carry @ first @ np.swapaxes(carry, 1, 2) + first
    direct = joint_covariance(600.0)
    scale = np.sqrt(direct[:, 0, 0] * direct[:, 1, 1])
    assert np.allclose(composed[:, 0, 0], direct[:, 0, 0], rtol=1e-11)
    assert np.all(np.abs(composed[:, 0, 1] - direct[:, 0, 1]) < 1e-10 * scale)
    seen = np.array(ladder.RATES_PER_S) * 600.0 > 1e-3  # below, the textbook form of the integral's variance cancels
    assert np.allclose(composed[seen, 1, 1], direct[seen, 1, 1], rtol=1e-8)


@pytest.mark.parametrize("dt_s", [0.01, 1.0, 600.0, 86_400.0])
def test_the_part_of_the_integral_that_the_state_does_not_tell_is_exact(dt_s: float) -> None:
    expected = np.longdouble(0)
    for rate in ladder.RATES_PER_S:
        a = np.longdouble(rate) * np.longdouble(dt_s)
        if a < 0.02:
            apart = a**3 / 12 - a**5 / 120 + 17 * a**7 / 20160
        else:
            apart = a - 2 * np.tanh(a / 2)
        expected += 2 * apart / np.longdouble(rate) ** 2
    assert ladder.step_over(dt_s).apart_squared == pytest.approx(float(expected), rel=1e-9)


def test_flicker_fm_is_flat_to_a_thousandth_from_one_second_to_ten_million() -> None:
    taus = np.geomspace(1.0, 1e7, 57)
    total = np.zeros(len(taus))
    for rate in ladder.RATES_PER_S:
        # variance of x(2 tau) - 2 x(tau) + x(0) of an integrated pole: 4 D(tau) - D(2 tau), D its structure function
        def structure(t: np.ndarray, r: float = rate) -> np.ndarray:
            a = (r * t).astype(np.longdouble)
            exact = np.where(a < 1e-3, a**2 / 2 - a**3 / 6 + a**4 / 24 - a**5 / 120, a - 1 + np.exp(-a))
            return 2 * exact / np.longdouble(r) ** 2

        total += (ladder.FLICKER_FM_VARIANCE * (4 * structure(taus) - structure(2 * taus))).astype(float)
    total += 2 * ladder.FAST_END_WHITE_FM * taus + ladder.SLOW_END_RANDOM_WALK_FM * 2 / 3 * taus**3
    adev = np.sqrt(total / (2 * taus**2))
    assert np.all(np.abs(adev - 1.0) < 1e-3), adev


@pytest.mark.parametrize("field", ["white_fm_1s", "flicker_fm", "random_walk_fm_1s", "flicker_pm_s"])
def test_irregular_steps_give_the_statistics_of_even_ones(field: str) -> None:
    n = 4000
    noise = [NoiseModel(**{field: 1e-13})] * n
    even, uneven = bank(noise, 11), bank(noise, 12)
    a = [even.x_s, even.step(600.0), even.step(600.0)]
    b = [uneven.x_s]
    for dts in ((1.0, 299.0, 300.0), (599.999, 0.001)):
        for dt_s in dts:
            x_s = uneven.step(dt_s)
        b.append(x_s)
    spread_even = np.var(a[2] - 2 * a[1] + a[0])
    spread_uneven = np.var(b[2] - 2 * b[1] + b[0])
    assert spread_uneven / spread_even == pytest.approx(1.0, abs=5 * 2 / np.sqrt(n))


def test_flicker_clocks_start_in_their_stationary_state() -> None:
    noise = [NoiseModel(flicker_pm_s=1e-12)] * 3000
    clocks = bank(noise, 4)
    before = np.var(clocks.x_s)
    clocks.run(20, 1e6)
    assert np.var(clocks.x_s) / before == pytest.approx(1.0, abs=5 * 2 / np.sqrt(3000))


def test_forcing_moves_phase_once_and_frequency_for_good() -> None:
    clock = bank([NoiseModel()])
    clock.step(10.0, forced_x_s=np.array([1e-9]), forced_y=np.array([2e-12]))
    assert clock.x_s[0] == pytest.approx(1e-9)
    assert clock.step(100.0)[0] == pytest.approx(1e-9 + 2e-10)


@pytest.mark.parametrize("dt_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_step_that_is_not_forward_is_our_own_mistake(dt_s: float) -> None:
    with pytest.raises(Misuse):
        bank([NoiseModel()]).step(dt_s)


def test_start_values_for_another_number_of_clocks_are_our_own_mistake() -> None:
    with pytest.raises(Misuse):
        bank([NoiseModel()], x_start_s=[1.0, 2.0])
