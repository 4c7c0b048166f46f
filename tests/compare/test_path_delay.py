"""Path delay: the first exchange knows nothing of its queue; many know how quiet the quietest was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.compare.path_delay import noise_s


def test_of_one_exchange_the_whole_delay_may_be_queue() -> None:
    assert noise_s([2e-3]) == 1e-3
    assert noise_s([-1e-9]) == 0.0, "a delay below zero is the stamps' rounding"


def test_what_an_exchange_had_more_than_the_least_is_noise() -> None:
    delays = [1e-3] * 30 + [3e-3]
    assert noise_s(delays) == pytest.approx(1e-3, rel=0.01)
    assert noise_s([*delays, 1e-3]) < 5e-6


@pytest.mark.parametrize("n", [2, 4, 8, 32])
def test_the_sigma_is_no_less_than_the_error_of_an_exchange_however_few_there_were(n: int) -> None:
    """Exponential queues both ways: rms of (out - back)/2 over the rms of what was said."""
    rng = np.random.default_rng(7)
    ratios = []
    for _ in range(2_000):
        out, back = rng.exponential(1.0, (2, n))
        ratios.append(((out[-1] - back[-1]) / 2.0, noise_s(list(5.0 + out + back))))
    errors, said = np.array(ratios).T
    assert np.sqrt(np.mean(errors**2)) <= 1.05 * np.sqrt(np.mean(said**2))
    assert np.mean(np.abs(errors) > 6.0 * said) < 0.02


@given(st.lists(st.floats(-1e-6, 10.0), min_size=1, max_size=32))
def test_it_is_finite_and_never_below_zero(delays: list[float]) -> None:
    assert 0.0 <= noise_s(delays) <= 11.0
