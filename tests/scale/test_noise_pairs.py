# mypy: allow-untyped-calls
"""Noise among few clocks: learned from every pair, whatever was declared, and from nothing that was not measured."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock, ClockKind, NoiseModel
from truechimer.scale import noise_pairs
from truechimer.scale.engines import engine
from truechimer.scale.noise_learning import DECLARED_WORTH, RING, model

Floats = NDArray[np.float64]

HOUR_S = 3_600.0
DAY_S = 86_400.0
LAGS = HOUR_S * 4.0 ** np.arange(6)
START_NS = 1_700_000_000 * 10**9
"""13 minutes and 20 seconds after the hour: no slot of noise learning begins here."""


def learned(true: Floats, declared: Floats, *, of_kind: Floats, days: float, worth: float = DECLARED_WORTH) -> Floats:
    """Mean squares learned over the true ones, shape `(n, J)`, where every pair shows just what is expected of it in so
    many days.
    """
    n = len(true)
    v = np.array([[model(clock, lag) for clock in true] for lag in LAGS.tolist()])
    pairs = v[:, :, None] + v[:, None, :]
    noise = declared.copy()
    noise_pairs.learn(
        pairs,
        np.tile((days * DAY_S / LAGS)[:, None, None], (1, n, n)),
        np.ones(n, np.bool_),
        np.ones(6, np.int64),
        LAGS,
        LAGS,
        np.arange(n),
        of_kind,
        declared,
        np.full(n, worth),
        np.full(n, 1e-40),
        noise,
    )
    out: Floats = np.array([[model(noise[i], lag) for lag in LAGS.tolist()] for i in range(n)]) / v.T
    return out


MASER = [0.0, 1.44e-26, 9e-32, 4.6e-36]
CAESIUM = [0.0, 7.2e-23, 1.6e-29, 4.6e-36]
TRUE = np.array([MASER, MASER, CAESIUM, CAESIUM])


def test_what_is_declared_ten_times_wrong_either_way_is_overcome() -> None:
    factors = np.array([100.0, 0.01, 100.0, 0.01])
    ratio = learned(TRUE, TRUE * factors[:, None], of_kind=1.5 * TRUE, days=100.0)
    assert ratio.max() < 2.0
    assert ratio.min() > 0.5
    # and equal, wrong values for all
    equal = learned(TRUE, np.tile(np.array([[0.0, 1e-24, 1e-28, 1e-34]]), (4, 1)), of_kind=1.5 * TRUE, days=100.0)
    assert equal.max() < 2.0
    assert equal.min() > 0.5


def test_what_is_declared_rightly_stays() -> None:
    ratio = learned(TRUE, TRUE, of_kind=4.0 * TRUE, days=40.0)
    assert ratio.max() < 1.1
    assert ratio.min() > 0.9


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_quiet_clocks_are_known_beside_noisy_ones_although_readings_are_missing(missing: float, seed: int) -> None:
    rng = np.random.default_rng([seed, 30])
    rubidium, crystal = [0.0, 9e-24, 1e-30, 3.5e-31], [0.0, 4e-24, 9e-24, 3.5e-27]
    true = np.array([MASER, MASER, CAESIUM, CAESIUM, CAESIUM, rubidium, rubidium, rubidium, crystal])
    n, samples = len(true), 3_000
    square, count = np.zeros((len(LAGS), n, n)), np.zeros((len(LAGS), n, n))
    for j, lag in enumerate(LAGS.tolist()):
        v = np.array([model(clock, lag) for clock in true])
        number = int(samples / 4**j)
        off = rng.normal(size=(number, n)) * np.sqrt(v)
        off[rng.random((number, n)) < missing] = np.nan
        apart = (off[:, :, None] - off[:, None, :]) ** 2
        count[j] = np.isfinite(apart).sum(axis=0)
        square[j] = np.nansum(apart, axis=0) / np.maximum(count[j], 1.0)
    noise = np.tile([1e-40, 1e-24, 1e-28, 1e-34], (n, 1))
    noise_pairs.learn(
        square,
        count,
        np.ones(n, np.bool_),
        np.ones(6, np.int64),
        LAGS,
        LAGS,
        np.arange(n),
        noise,
        noise.copy(),
        np.zeros(n),
        np.full(n, 1e-40),
        noise,
    )
    for i in range(n):
        for lag in LAGS[:4].tolist():
            # one sigma of 20 to 200 samples of two masers is shared between them
            assert 0.4 < model(noise[i], lag) / model(true[i], lag) < 2.5


def test_samples_say_who_is_noisy_whoever_was_believed() -> None:
    rng = np.random.default_rng(4)
    sigma = np.array([5.0, 1.0, 2.0]) * 1e-12
    ring, square, count = np.full((RING, 3), np.nan), np.zeros((3, 3)), np.zeros((3, 3))
    for k in range(3_000):
        ring[k % RING] = rng.normal(size=3) * sigma
        noise_pairs.sample(ring, k % RING, 1, DAY_S, square, count)
    for i in range(3):
        for k in range(i):
            # third differences of white PM: 1 + 9 + 9 + 1
            assert square[i, k] == square[k, i] == pytest.approx(20.0 * (sigma[i] ** 2 + sigma[k] ** 2), rel=0.3)
    # who is not read is in no pair
    ring[:, 1] = np.nan
    before = count.copy()
    noise_pairs.sample(ring, 0, 1, DAY_S, square, count)
    assert (count - before)[0, 1] == 0.0


def test_a_clock_whose_rate_is_not_known_yet_gives_no_sample() -> None:
    clocks = tuple(Clock(name=f"c{i}", kind=ClockKind.RUBIDIUM, noise=NoiseModel()) for i in range(4))
    run: Any = engine("bands", clocks, interval_s=HOUR_S, judged=False)
    epochs = 24 * 20
    t = np.arange(epochs) * HOUR_S
    # no noise at all: rates 1e-10 apart, carried back to a slot of 16 hours with no rate, would be 6 us off
    x = t[:, None] * np.array([0.0, 1e-10, -2e-10, 3e-10])
    run.run(START_NS + (t * 1e9).astype(np.int64), x, np.zeros((epochs, 4)), np.ones(epochs, np.bool_))
    pair, count = run.state.pair, run.state.pair_count
    assert count[3, 0, 1] > 0.0
    assert np.sqrt(pair.max()) < 1e-12


def test_drifts_that_are_declared_ten_times_too_large_give_way_to_clocks_that_do_not_drift() -> None:
    rng = np.random.default_rng(8)
    days, true = 300, 2e-16
    epochs = 24 * days
    t = np.arange(epochs) * HOUR_S
    white = np.array([1.2e-13] * 3 + [2e-12] * 4)
    x = np.cumsum(rng.normal(size=(epochs, 7)) * white * np.sqrt(HOUR_S), axis=0)
    x[:, :3] += 0.5 * (true / DAY_S) * t[:, None] ** 2
    masers = [Clock(name=f"m{i}", kind=ClockKind.MASER, noise=NoiseModel(drift_per_day=10.0 * true)) for i in range(3)]
    others = [Clock(name=f"c{i}", kind=ClockKind.CAESIUM, noise=NoiseModel(drift_per_day=0.0)) for i in range(4)]
    run = engine("bands", (*masers, *others), interval_s=HOUR_S, judged=False)
    run.run(START_NS + (t * 1e9).astype(np.int64), x - x[:, :1], np.zeros((epochs, 7)), np.ones(epochs, np.bool_))
    found = run.learned()
    assert found is not None
    assert found.drift[:3] * DAY_S == pytest.approx([true] * 3, abs=0.4 * true)
