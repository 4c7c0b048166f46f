"""Holdover of a scale of one: what an oscillator does is learned from values alone, and what is not known is feared."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.steer import holdover
from truechimer.steer.holdover import HORIZONS_S, LEVELS, Wander, from_here_s, noise_of, sigma_s, update, variances_s2
from truechimer.steer.utc_prediction import ScaleNoise

NS = 10**9
EPOCH_NS = 1_800_000_000 * NS
USUAL = ScaleNoise(q1=4e-18, q2=3e-20, y_spread=2e-4)
STEP_S = 64.0
Y = 2.3e-5


def oscillator(walk: float, n: int, seed: int, *, swing: float = 0.0, step_s: float = STEP_S) -> np.ndarray:
    """UTC minus the host at n steps: random-walk FM of this ADEV at 1 s, and a rate that swings once a day."""
    rng = np.random.default_rng(seed)
    q2 = 3.0 * walk * walk
    y = Y + np.cumsum(rng.normal(0.0, sqrt(q2 * step_s), n))
    y += swing * np.sin(2.0 * np.pi * np.arange(n) * step_s / 86_400.0 + rng.uniform(0.0, 6.3))
    return np.cumsum(y * step_s) + 3.0


def learned(
    x_s: np.ndarray,
    *,
    noise_s: float,
    told_s: float | None = None,
    seed: int = 1,
    limit_s: float = 1e-4,
    known: Wander | None = None,
    step_s: float = STEP_S,
) -> tuple[Wander, int]:
    """The oscillator's values with white noise, declared as `told_s`; what is known after them, and the surprises."""
    rng = np.random.default_rng([seed, 5])
    known = known or holdover.begin()
    surprises = 0
    for k, x in enumerate(x_s):
        known, surprise = update(
            known,
            USUAL,
            epoch_tai_ns=EPOCH_NS + round(k * step_s * NS),
            x_utc_minus_scale_s=float(x + noise_s * rng.normal()),
            u_s=noise_s if told_s is None else told_s,
            limit_s=limit_s,
        )
        surprises += surprise
    return known, surprises


def said(known: Wander, ahead_s: float) -> float:
    return sigma_s(variances_s2(known, USUAL), ahead_s)


@pytest.mark.parametrize(
    "walk", [1e-10, pytest.param(1e-11, marks=pytest.mark.slow), pytest.param(1e-9, marks=pytest.mark.slow)]
)
def test_the_learned_wander_is_within_a_factor_two_of_the_truth_over_an_hour(walk: float) -> None:
    """The best prediction over t of random-walk FM q2 from values without noise is off by sqrt(q2 t^3/3), and more for
    the noise: the truth here is what the very predictions of many seeds are off by.
    """
    ahead = round(3_600.0 / STEP_S)
    sigmas, errors = [], []
    for seed in range(4):
        x = oscillator(walk, 1_350 + ahead, seed)
        known, _ = learned(x[:1_350], noise_s=3e-6, seed=seed)
        assert known.utc is not None
        sigmas.append(said(known, ahead * STEP_S))
        errors.append(x[-1] - known.utc.state.x_s - known.utc.state.y * ahead * STEP_S)
    floor = walk * sqrt(3.0) * sqrt((ahead * STEP_S) ** 3 / 3.0)
    told = sqrt(float(np.mean(np.square(sigmas))))
    assert 0.9 * floor < told < 2.5 * max(floor, 3e-6)
    assert all(abs(error) < 6.0 * sigma for error, sigma in zip(errors, sigmas, strict=True))


def test_the_bank_settles_on_the_level_of_the_oscillator() -> None:
    """The kind lets expect a walk of 1e-10; a hundred times less variance and a hundred times more are both found."""
    quiet, _ = learned(oscillator(1e-11, 1_350, 3), noise_s=3e-6)
    usual, _ = learned(oscillator(1e-10, 1_350, 3), noise_s=3e-6)
    wild, _ = learned(oscillator(1e-9, 1_350, 3), noise_s=3e-6)
    assert quiet.best < usual.best < wild.best
    assert LEVELS[quiet.best] <= 0.1
    assert 0.1 <= LEVELS[usual.best] <= 10.0
    assert LEVELS[wild.best] >= 10.0
    assert noise_of(wild, USUAL).q2 == USUAL.q2 * LEVELS[wild.best]


def test_what_the_day_does_to_the_rate_is_in_the_learned_error() -> None:
    still, _ = learned(oscillator(1e-11, 2_700, 2), noise_s=3e-6)
    warm, _ = learned(oscillator(1e-11, 2_700, 2, swing=5e-7), noise_s=3e-6)
    assert said(warm, 6 * 3600.0) > 30.0 * said(still, 6 * 3600.0)
    # 5e-7 once a day: after a quarter of a day the rate is off by up to 5e-7
    assert 1e-3 < said(warm, 6 * 3600.0) < 1e-2


def test_before_anything_is_known_the_worst_is_feared() -> None:
    nothing = variances_s2(holdover.begin(), USUAL)
    assert nothing == tuple(sorted(nothing))
    assert sigma_s(nothing, 3_600.0) > 0.9 * USUAL.y_spread * 3_600.0
    few, _ = learned(oscillator(1e-11, 40, 1), noise_s=3e-6)
    many, _ = learned(oscillator(1e-11, 1_350, 1), noise_s=3e-6)
    assert said(few, 86_400.0) > 30.0 * said(many, 86_400.0)


def test_values_noisier_than_they_declare_are_found_out_and_make_nothing_surer() -> None:
    x = oscillator(1e-11, 120, 4, step_s=2.0)
    honest, _ = learned(x, noise_s=5e-5, step_s=2.0, limit_s=1e-4)
    boasting, _ = learned(x, noise_s=5e-5, told_s=1e-6, step_s=2.0, limit_s=1e-4)
    assert boasting.noise_factor == pytest.approx(2_500.0, rel=0.6)
    assert honest.utc is not None
    assert boasting.utc is not None
    assert boasting.utc.state.u_y > 0.4 * honest.utc.state.u_y
    assert abs(boasting.utc.state.y - Y) < 6.0 * boasting.utc.state.u_y * boasting.utc.inflation


def test_a_jump_is_a_surprise_and_the_rate_is_found_again() -> None:
    x = oscillator(1e-11, 800, 6)
    x[400:] += 0.5
    known, surprises = learned(x, noise_s=3e-6)
    assert 1 <= surprises <= 3
    assert known.utc is not None
    assert abs(known.utc.state.x_s - x[-1]) < 1e-5
    assert abs(known.utc.state.y - Y) < 1e-7
    # the predictions that waited at the jump were of another oscillator: they teach nothing
    assert said(known, 3_600.0) < 1e-3


def test_what_was_learned_outlives_a_boot_and_where_it_was_does_not() -> None:
    known, _ = learned(oscillator(1e-11, 1_350, 8), noise_s=3e-6)
    after = holdover.after_boot(known)
    assert after.utc is None
    assert [one.square_s2 for one in after.horizons] == [one.square_s2 for one in known.horizons]
    again, _ = learned(oscillator(1e-11, 40, 9), noise_s=3e-6, known=after)
    fresh, _ = learned(oscillator(1e-11, 40, 9), noise_s=3e-6)
    assert said(again, 3_600.0) < 0.1 * said(fresh, 3_600.0)


def test_horizons_that_the_values_are_too_rare_for_cost_nothing() -> None:
    known, _ = learned(oscillator(1e-10, 300, 1, step_s=1024.0), noise_s=1e-4, step_s=1024.0)
    assert [horizon.n for horizon in known.horizons[:5]] == [0] * 5
    assert known.horizons[8].n > 100
    assert all(len(horizon.awaited) <= 6 for horizon in known.horizons)


VARIANCES = st.lists(st.floats(1e-14, 1.0), min_size=len(HORIZONS_S), max_size=len(HORIZONS_S)).map(
    lambda values: tuple(sorted(values))
)


@given(VARIANCES, st.floats(0.0, 3e5), st.floats(1.0, 3_600.0), st.floats(0.0, 1.0))
def test_the_straight_line_of_a_page_holds_the_sigma_for_as_long_as_it_is_valid(
    variances: tuple[float, ...], age_s: float, until_s: float, part: float
) -> None:
    line = from_here_s(variances, age_s, until_s)
    assert line.sigma_s >= sigma_s(variances, age_s)
    ahead_s = part * until_s
    at = sigma_s(variances, age_s + ahead_s)
    if age_s + until_s <= HORIZONS_S[-1]:  # beyond the last horizon the sigma bends upwards, and the line is a chord
        assert line.sigma_s + line.per_s * ahead_s >= at * (1.0 - 1e-9)
    else:
        assert line.sigma_s + line.per_s * ahead_s >= 0.0


@given(VARIANCES, st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_the_sigma_never_shrinks_with_time(variances: tuple[float, ...], one_s: float, other_s: float) -> None:
    assert (sigma_s(variances, max(one_s, other_s)) - sigma_s(variances, min(one_s, other_s))) >= -1e-12


def test_the_same_values_give_the_same_bits() -> None:
    x = oscillator(1e-10, 300, 1)
    assert learned(x, noise_s=3e-6)[0] == learned(x, noise_s=3e-6)[0]
    assert replace(learned(x, noise_s=3e-6)[0], best=0) != learned(x, noise_s=3e-6)[0]


@pytest.mark.parametrize("told_s", [1e-4, 1e-3])
@pytest.mark.parametrize("n", [40, 400])
def test_one_value_that_is_as_wrong_as_it_says_costs_nothing_of_what_was_learned(told_s: float, n: int) -> None:
    """An exchange that took 1.75 s among those of milliseconds: off by 0.4 s, with its own word for it."""
    x = oscillator(1e-10, n + 101, 3, step_s=16.0)

    def after(e_s: float, u_s: float, limit_s: float) -> list[float]:
        known, _ = learned(x[:n], noise_s=1e-4, told_s=told_s, step_s=16.0)
        rng = np.random.default_rng(7)
        for k in range(n, n + 101):
            own = (e_s, u_s, limit_s) if k == n else (1e-4 * rng.normal(), told_s, 1e-4)
            known, _ = update(
                known,
                USUAL,
                epoch_tai_ns=EPOCH_NS + round(k * 16.0 * NS),
                x_utc_minus_scale_s=float(x[k] + own[0]),
                u_s=own[1],
                limit_s=own[2],
            )
        return [said(known, ahead_s) for ahead_s in (16.0, 64.0, 1024.0)]

    without, with_it = after(0.0, told_s, 1e-4), after(0.4, 0.45, 0.9)
    for usual, found in zip(without, with_it, strict=True):
        assert found < 3.0 * usual


def test_a_value_that_its_own_sigma_does_not_explain_counts_in_full() -> None:
    x = oscillator(1e-10, 401, 3, step_s=16.0)
    known, _ = learned(x[:400], noise_s=1e-4, step_s=16.0)
    for off_s, grows in ((0.4, False), (2.0, True)):
        then = known
        for k, (e_s, u_s) in enumerate([(off_s, 0.3), (0.0, 1e-4), (0.0, 1e-4)]):
            then, _ = update(
                then,
                USUAL,
                epoch_tai_ns=EPOCH_NS + round((400 + k) * 16.0 * NS),
                x_utc_minus_scale_s=float(x[400] + Y * 16.0 * k + e_s),
                u_s=u_s,
                limit_s=1.0 if k == 0 else 1e-4,
            )
        assert (said(then, 16.0) > 10.0 * said(known, 16.0)) is grows
