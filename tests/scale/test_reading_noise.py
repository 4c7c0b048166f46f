"""Noise of links: a quiet clock on a noisy link stays as quiet as it is, and what readings state of themselves may be
wrong; missing readings: what caesiums put into the scale while the masers were not read is taken out again.
"""

import numpy as np
import pytest

from truechimer.clocks.clock import Clock, ClockKind, NoiseModel
from truechimer.scale.engines import engine

START_NS, HOUR_S, DAYS = 1_700_000_000 * 10**9, 3_600.0, 150
# white FM at 1 s, random-walk FM q2 (1/s)
MASER, CAESIUM = (1.2e-13, 4.6e-36), (8.5e-12, 4.6e-36)
LEVELS = (CAESIUM, MASER, MASER, MASER, CAESIUM, CAESIUM)
LINK_S = 3e-10


def truth(seed: int) -> np.ndarray:
    """Clock minus true time, `(n_epochs, n)` s."""
    rng = np.random.default_rng([seed, 56])
    white, walk = (np.array(column) for column in zip(*LEVELS, strict=True))
    shape = (DAYS * 24, len(LEVELS))
    y = 1e-13 * rng.normal(size=len(LEVELS)) + np.cumsum(rng.normal(size=shape) * np.sqrt(walk * HOUR_S), axis=0)
    return np.cumsum(y * HOUR_S + rng.normal(size=shape) * white * np.sqrt(HOUR_S), axis=0)


def columns(read: np.ndarray, stated_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Every clock minus the scale, and the learned reading noise of each clock (s)."""
    kinds = [ClockKind.MASER if level == MASER else ClockKind.CAESIUM for level in LEVELS]
    clocks = tuple(
        Clock(
            name=f"c{i}",
            kind=kind,
            noise=NoiseModel(
                white_fm_1s=white, flicker_fm=0.0, random_walk_fm_1s=float(np.sqrt(walk / 3.0)), drift_per_day=0.0
            ),
        )
        for i, (kind, (white, walk)) in enumerate(zip(kinds, LEVELS, strict=True))
    )
    run = engine("bands", clocks, interval_s=HOUR_S, judged=False)
    u2 = np.full(read.shape, stated_s * stated_s)
    u2[:, 0] = 0.0
    epochs = START_NS + np.arange(len(read), dtype=np.int64) * 3_600 * 10**9
    out = run.run(epochs, read, u2, np.ones(len(read), np.bool_))
    learned = run.learned()
    assert learned is not None
    return out.x_clock_minus_scale_s, np.sqrt(learned.noise[:, 0])


def deviation(e: np.ndarray, m: int) -> float:
    second = e[2 * m :] - 2.0 * e[m:-m] + e[: -2 * m]
    return float(np.sqrt(np.mean(second * second) / 2.0)) / (m * HOUR_S)


@pytest.mark.parametrize("stated", [1.0, 10.0, 0.0], ids=["as stated", "stated ten times too large", "not stated"])
def test_a_quiet_clock_on_a_noisy_link_stays_as_quiet_as_it_is(stated: float) -> None:
    x = truth(1)
    read = x - x[:, :1] + np.random.default_rng(2).normal(size=x.shape) * LINK_S
    read[:, 0] = 0.0
    column, learned_s = columns(read, stated * LINK_S)
    assert learned_s[1:4] == pytest.approx(LINK_S, rel=0.15)
    e = (x - column)[40 * 24 :, 1]
    # one maser alone, up to the time over which 0.3 ns tell it better; what is learned in four months is not all
    for m in (1, 24):
        assert deviation(e, m) < 1.7 * MASER[0] / np.sqrt(m * HOUR_S)


def test_what_caesiums_put_into_the_scale_while_no_maser_was_read_is_taken_out_again() -> None:
    x = truth(3)
    read = x - x[:, :1]
    whole, _ = columns(read, 0.0)
    for k in range(60 * 24, DAYS * 24 - 8, 24):
        read[k, 1:4] = np.nan
    gaps, _ = columns(read, 0.0)
    apart = (gaps - whole)[:, 0]
    away, back = np.isnan(read[:, 1]), np.roll(np.isnan(read[:, 1]), 1)
    one_epoch_s = CAESIUM[0] * np.sqrt(HOUR_S / 3.0)
    assert np.std(apart[away]) > 0.5 * one_epoch_s
    assert np.abs(np.diff(apart)[away[1:]] + np.diff(apart, append=0.0)[1:][away[1:]]).max() < 0.1 * one_epoch_s
    assert np.abs(apart[back] - np.roll(apart, 2)[back]).max() < 0.1 * one_epoch_s


def test_a_clock_that_steps_while_it_is_not_read_does_not_move_the_scale_as_it_returns() -> None:
    x = truth(4)
    at = 100 * 24
    x[at + 1 :, 2] += 2e-9
    read = x - x[:, :1]
    read[at, 2] = np.nan
    whole = read.copy()
    whole[:, 2] = read[:, 2] - 2e-9 * (np.arange(len(x)) > at)
    moved = (columns(read, 0.0)[0] - columns(whole, 0.0)[0])[at - 2 : at + 6, 0]
    assert np.abs(moved).max() < 2e-11
