"""The ensemble against clocks whose truth is known: faults, coming and going, weights, quality. Failing seeds are in
the messages.
"""

import numpy as np
import pytest
from tests.scale.ensembles import DAY_S, READING_NOISE_S, RIG, SMALL, Ran, Rig, adev, readings, rig, run, truth

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.scale.state import Membership

T = 600.0
EPOCHS_A_DAY = 144
STEP_S = 20e-9
IN = int(Membership.IN)


def pair(
    of: Rig, seed: int, clock: int, fault: str, *, days: float = 10.0, at_day: float = 8.5
) -> tuple[Ran, Ran, int]:
    """The clean and the faulty run of one seed, and the epoch of the fault."""
    x = truth(of, seed=seed, days=days, interval_s=T)
    hit, k = x.copy(), round(at_day * EPOCHS_A_DAY)
    if fault == "step":
        hit[k:, clock] += STEP_S
    elif fault == "rate":
        hit[k:, clock] += 1e-13 * T * np.arange(1, len(x) - k + 1)
    else:
        hit[k, clock] += STEP_S
    clean = run(of.clocks(), x, readings(x, seed=seed), interval_s=T)
    return clean, run(of.clocks(), hit, readings(hit, seed=seed), interval_s=T), k


@pytest.mark.parametrize("of", [RIG, SMALL], ids=["12 clocks", "small"])
@pytest.mark.parametrize("clock", [0, 1, -1], ids=["the pivot", "a maser", "the last"])
def test_a_phase_step_is_excluded_before_it_moves_the_scale(of: Rig, clock: int) -> None:
    for seed in range(1):
        clean, hit, k = pair(of, seed, clock % len(of.kinds), "step")
        assert hit.member[k, clock] != IN, seed
        assert hit.weight[k, clock] == 0.0, seed
        assert np.abs(hit.e - clean.e)[k : k + EPOCHS_A_DAY].max() < 0.5e-9, seed
        others = np.delete(hit.member[k:], clock % len(of.kinds), axis=1)
        assert (others == IN).all(), seed


@pytest.mark.slow
@pytest.mark.parametrize("of", [RIG, SMALL], ids=["12 clocks", "small"])
def test_a_phase_step_of_any_clock_moves_the_scale_by_less_than_half_a_nanosecond_in_a_day(of: Rig) -> None:
    for seed in range(5):
        for clock in range(len(of.kinds)):
            clean, hit, k = pair(of, seed, clock, "step", days=9.0, at_day=7.5)
            assert hit.member[k, clock] != IN, (seed, clock)
            assert np.abs(hit.e - clean.e)[k : k + EPOCHS_A_DAY].max() < 0.5e-9, (seed, clock)


@pytest.mark.parametrize("of", [RIG, SMALL], ids=["12 clocks", "small"])
def test_a_rate_step_of_a_maser_is_seen_within_four_hours_and_nobody_else_is_out(of: Rig) -> None:
    for seed in range(2):
        clean, hit, k = pair(of, seed, 1, "rate")
        out = np.flatnonzero(hit.member[k:, 1] != IN)
        assert len(out), seed
        assert out[0] * T <= 4 * 3600.0, seed
        assert np.abs(hit.e - clean.e)[k : k + EPOCHS_A_DAY].max() < 0.8e-9, seed
        assert (np.delete(hit.member[k:], 1, axis=1) == IN).all(), seed


def test_a_glitch_of_one_epoch_costs_nothing_and_the_clock_is_back_in_the_next() -> None:
    for seed in range(1):
        clean, hit, k = pair(RIG, seed, 2, "glitch", days=15.0)
        assert hit.member[k, 2] == Membership.SUSPECT, seed
        assert hit.member[k + 1, 2] == IN, seed
        assert np.abs(hit.e - clean.e).max() < 0.1e-9, seed


def test_a_clean_run_puts_no_clock_out() -> None:
    for seed in range(1):
        x = truth(RIG, seed=seed, days=20.0, interval_s=T)
        ran = run(RIG.clocks(), x, readings(x, seed=seed), interval_s=T)
        assert (ran.member == IN).all(), seed
        assert not ran.divided.any(), seed


@pytest.mark.slow
@pytest.mark.parametrize("of", [RIG, SMALL], ids=["12 clocks", "small"])
def test_sixty_clean_days_put_no_clock_out(of: Rig) -> None:
    for seed in range(5):
        x = truth(of, seed=seed, days=60.0, interval_s=T)
        ran = run(of.clocks(), x, readings(x, seed=seed), interval_s=T)
        assert (ran.member == IN).all(), seed


def epoch_noise_s(ran: Ran) -> float:
    """One sigma of the scale's own change from epoch to epoch."""
    return float(np.std(np.diff(ran.e)[200:]))


@pytest.mark.parametrize("gone", [1, 0], ids=["a maser", "the pivot"])
def test_a_clock_that_leaves_and_returns_leaves_no_jump(gone: int) -> None:
    for seed in range(1):
        x = truth(RIG, seed=seed, days=12.0, interval_s=T)
        away = slice(8 * EPOCHS_A_DAY, 9 * EPOCHS_A_DAY)
        pivot = np.zeros(len(x), np.int64)
        pivot[away] = 1 if gone == 0 else 0
        read = readings(x, seed=seed)
        if gone == 0:
            read[away] = readings(x, seed=seed, pivot=1)[away]
        read[away, gone] = np.nan
        ran = run(RIG.clocks(), x, read, interval_s=T, pivot=pivot)
        assert (ran.weight[away, gone] == 0.0).all(), seed
        assert ran.weight[-1, gone] > 0.0, seed
        change = np.abs(np.diff(ran.e))
        for k in (away.start, away.stop):
            assert change[k - 2 : k + 3].max() < 3.5 * epoch_noise_s(ran), (seed, k)


def test_a_clock_that_enters_is_learned_before_it_votes_and_leaves_no_jump() -> None:
    x = truth(RIG, seed=4, days=12.0, interval_s=T)
    read = readings(x, seed=4)
    enters = 6 * EPOCHS_A_DAY
    read[:enters, 3] = np.nan
    ran = run(RIG.clocks(), x, read, interval_s=T)
    assert (ran.member[:enters, 3] == Membership.ABSENT).all()
    assert ran.member[enters, 3] == Membership.LEARNING
    votes = np.flatnonzero(ran.weight[:, 3] > 0.0)
    assert votes[0] >= enters + EPOCHS_A_DAY
    assert abs(ran.e[votes[0]] - ran.e[votes[0] - 1]) < 3.5 * epoch_noise_s(ran)


def test_two_clocks_cannot_outvote_each_other() -> None:
    of = rig(2, 0, 0)
    _, hit, k = pair(of, 3, 1, "step", days=8.0, at_day=7.0)
    assert hit.divided[k]
    assert (hit.member == IN).all()


def test_two_against_two_is_divided_and_nobody_is_excluded() -> None:
    x = truth(rig(4, 0, 0), seed=5, days=8.0, interval_s=T)
    k = 7 * EPOCHS_A_DAY
    x[k:, :2] += STEP_S
    ran = run(rig(4, 0, 0).clocks(), x, readings(x, seed=5), interval_s=T)
    assert ran.divided[k]
    assert (ran.member[k] == IN).all()


def test_no_weight_exceeds_its_cap_and_weights_sum_to_one() -> None:
    for of in (RIG, SMALL):
        x = truth(of, seed=6, days=8.0, interval_s=T)
        ran = run(of.clocks(), x, readings(x, seed=6), interval_s=T)
        assert np.allclose(ran.weight.sum(axis=1), 1.0, atol=1e-12)
        assert ran.weight.max() <= 4.0 / len(of.kinds) * (1.0 + 1e-9)


def test_better_clocks_get_more_weight_whatever_their_kind_says() -> None:
    of = rig(5, 0, 0)
    named_wrong = tuple(Clock(name=str(i), kind=ClockKind.OSCILLATOR) for i in range(5))
    worse = Rig(of.kinds, of.white * np.array([1.0, 1.0, 1.0, 20.0, 20.0]), of.walk, of.drift, of.spread)
    x = truth(worse, seed=7, days=20.0, interval_s=T)
    ran = run(named_wrong, x, readings(x, seed=7), interval_s=T)
    assert ran.weight[-1, :3].min() > 5.0 * ran.weight[-1, 3:].max()


def scenario_a() -> tuple[Rig, np.ndarray, np.ndarray]:
    """The ten clocks of the published comparison of algorithms: 5 caesiums, 3 masers, 2 rubidiums; white and
    random-walk FM.
    """
    white = np.array([8.5e-12] * 5 + [1.2e-13] * 3 + [3e-12] * 2)
    q2 = np.array([3 * 2e-15**2 / (30 * DAY_S)] * 8 + [3 * 1e-13**2 / DAY_S] * 2)
    kinds = (ClockKind.CAESIUM,) * 5 + (ClockKind.MASER,) * 3 + (ClockKind.RUBIDIUM,) * 2
    return Rig(kinds, white, np.sqrt(q2), np.zeros(10), np.full(10, 1e-13)), white, q2


@pytest.mark.slow
@pytest.mark.parametrize("declared", [True, False], ids=["parameters known", "parameters learned"])
def test_the_scale_is_as_stable_as_the_best_weighting_of_its_clocks_allows(declared: bool) -> None:
    of, white, q2 = scenario_a()
    hour = 3600.0
    variance: dict[int, list[float]] = {1: [], 24: [], 240: []}
    for seed in range(6):
        x = truth(of, seed=seed, days=730.0, interval_s=hour)
        read = readings(x, seed=seed, noise_s=1e-15)
        ran = run(of.clocks(declared=declared), x, read, interval_s=hour, noise_s=1e-15)
        for m in variance:
            variance[m].append(adev(ran.e[150 * 24 :], m, hour) ** 2)
    for m, limit in ((1, 1.10), (24, 1.10), (240, 1.20)):
        best = 1.0 / np.sqrt(np.sum(1.0 / (white**2 / (m * hour) + q2 * m * hour / 3.0)))
        ratio = float(np.sqrt(np.mean(variance[m])) / best)
        print(f"ADEV / B at {m} h, {'known' if declared else 'learned'}: {ratio:.3f}")
        assert ratio <= limit


@pytest.mark.slow
def test_gaps_do_not_let_reading_noise_walk_into_the_scale_at_short_intervals() -> None:
    second = truth(RIG, seed=8, days=1.0, interval_s=1.0)
    noisy = readings(second, seed=8)
    noisy[np.random.default_rng(8).random(noisy.shape) < 0.001] = np.nan
    noisy[:, 0] = 0.0
    with_gaps = run(RIG.clocks(declared=True), second, noisy, interval_s=1.0)
    whole = run(RIG.clocks(declared=True), second, readings(second, seed=8), interval_s=1.0)
    apart = with_gaps.e - whole.e
    assert np.abs(apart[::600]).max() < 4 * READING_NOISE_S


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise_s", "shorter", "of", "most"),
    [
        # the masers' own noise over a day (23 ps) lies below that of one reading: the hard case; masers carry the scale
        pytest.param(READING_NOISE_S, (1, 10), 5, 0.20, id="readings of 50 ps"),
        # the 10 % that is aimed at is met where readings are less noisy than the clocks
        pytest.param(5e-12, (10,), None, 0.10, id="readings of 5 ps"),
        pytest.param(5e-12, (1,), None, 0.10, id="readings of 5 ps each second", marks=pytest.mark.acceptance),
    ],
)
def test_the_same_clocks_get_like_weights_from_readings_at_1_10_and_600_s(
    noise_s: float, shorter: tuple[int, ...], of: int | None, most: float
) -> None:
    second = truth(RIG, seed=9, days=4.0, interval_s=1.0)
    noisy = readings(second, seed=9, noise_s=noise_s)
    weight = {}
    for every in (*shorter, 600):
        ran = run(RIG.clocks(declared=True), second[::every], noisy[::every], interval_s=float(every), noise_s=noise_s)
        weight[every] = ran.state.weight
    for every in shorter:
        assert np.abs(weight[every][:of] / weight[600][:of] - 1.0).max() < most
