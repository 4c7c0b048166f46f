"""A reference says how far the scale has gone from where its past puts it: by how much, how sure, and whose doing it
may be; what is wrong with a reference is put aside.
"""

import numpy as np
import pytest

from truechimer.scale import departure, departure_windows
from truechimer.scale.departure import Aside, Departure, Over, Said, Witness

DAY_NS = 86_400 * 10**9
DAY_S = 86_400.0
NS = 1e-9
U_S = 0.3 * NS
NOISE = np.array([[0.0, 1.4e-26, 9e-32, 4.6e-36]] * 3 + [[0.0, 7e-23, 1.6e-29, 4.6e-36]] * 3)
"""Three masers and three caesiums (s^2, s^2/s, 1, 1/s)."""
N = len(NOISE)
WEIGHT = np.ones(N)


def noise_s(days: int, *, seed: int = 1, u_s: float = U_S) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=days) * u_s


def heard(
    x_s: np.ndarray, clock_s: np.ndarray | None = None, *, at: list[int] | None = None, u_s: float = U_S
) -> tuple[Witness, list[tuple[int, Said]]]:
    """Feed reference minus scale, a value a day (`at`: on these days); what was said, with its day."""
    state, said = departure.empty(N), []
    clocks = np.zeros((len(x_s), N)) if clock_s is None else clock_s
    for day in range(len(x_s)) if at is None else at:
        state, found = departure.step(state, (20_000 + day) * DAY_NS, float(x_s[day]), u_s, clocks[day], WEIGHT, NOISE)
        if found is not None:
            said.append((day, found))
    return state, said


def ramp_s(days: int, begin: int, rate: float, full_d: float) -> np.ndarray:
    """A rate that grows to `rate` (ns/d) in `full_d` days from day `begin` on, as phase."""
    t = np.maximum(np.arange(days) - begin, 0.0)
    return NS * np.where(t < full_d, 0.5 * rate * t * t / full_d, rate * (t - 0.5 * full_d))


def test_a_departure_is_said_with_its_true_size_and_sigma_and_ends_when_the_new_rate_is_the_past() -> None:
    days = 200
    gone = NS * 0.5 * np.maximum(np.arange(days) - 100.0, 0.0)  # the scale runs ahead by 0.5 ns/d from day 100 on
    errors = []
    for seed in range(12):
        state, said = heard(noise_s(days, seed=seed) - gone + 1e-6 + 2e-9 * np.arange(days))
        day, first = said[0]
        assert isinstance(first, Departure)
        assert 106 <= day <= 112
        # what a departure of these values would be without noise: the mean of five days less the line before
        true = float(np.mean(gone[day - 4 : day + 1]))
        assert first.u_s < 0.5 * NS
        errors.append((first.x_scale_minus_predicted_s - true) / first.u_s)
        assert isinstance(said[-1][1], Over)
        assert state.said == 0.0
        assert all(isinstance(each, Departure | Over) for _, each in said)
    # said where it first exceeds the limit, so a little more than it is
    assert abs(float(np.mean(errors))) < 1.5
    assert float(np.std(errors)) < 2.0


def test_a_scale_that_keeps_its_rate_is_never_said_to_depart() -> None:
    for seed, u_s in ((1, U_S), (2, NS), (3, 5 * NS)):
        _, said = heard(noise_s(3_000, seed=seed, u_s=u_s) + 4e-9 * np.arange(3_000), u_s=u_s)
        assert said == []


def test_a_reference_that_is_noisier_than_it_says_is_found_out_before_it_is_believed() -> None:
    _, said = heard(noise_s(3_000, seed=4, u_s=3 * NS), u_s=0.1 * NS)
    assert said == []


def test_the_clock_that_ramps_is_the_suspect_and_one_without_weight_is_not() -> None:
    days = 160
    ramp = ramp_s(days, 90, 4.0, 30.0)
    clock_s = np.zeros((days, N))
    clock_s[:, 1] += ramp
    scale = ramp / 3.0
    clock_s -= scale[:, None]
    _, said = heard(noise_s(days) - scale, clock_s)
    suspects = [each for _, each in said if isinstance(each, Departure) and each.suspect >= 0]
    assert suspects
    assert {each.suspect for each in suspects} == {1}
    ranked = suspects[0].ranking()
    assert ranked[0][0] == 1
    assert ranked[0][1] > 0.8
    assert suspects[0].odds[1] >= departure.LEAST_ODDS
    # the same, but the clock that went was out of the scale: nobody is blamed for what he cannot have done
    state = departure.empty(N)
    weight = WEIGHT.copy()
    weight[1] = 0.0
    for day in range(days):
        value = float(noise_s(days)[day] - scale[day])
        state, found = departure.step(state, (20_000 + day) * DAY_NS, value, U_S, clock_s[day], weight, NOISE)
        assert not (isinstance(found, Departure) and found.suspect == 1)


def test_what_clocks_let_expect_is_what_their_noise_does() -> None:
    rng, days, runs = np.random.default_rng(5), 81, 400
    q1, q2 = NOISE[0, 1], NOISE[0, 3]
    y = np.cumsum(rng.normal(size=(runs, days)) * np.sqrt(q2 * DAY_S), axis=1)
    # within a day the walk of the rate adds a third of itself, which a sum of daily rates leaves out: too little to see
    x = np.cumsum(y * DAY_S + rng.normal(size=(runs, days)) * np.sqrt(q1 * DAY_S), axis=1)
    ages = np.arange(days - 1, -1, -1.0)
    for window in departure.WINDOWS_D[:3]:
        weights = np.empty(days)
        assert departure_windows.window_weights(ages, window[0], window[1], weights)
        rms = float(np.sqrt(np.mean((x @ weights) ** 2)))
        size, u, allowed = (np.zeros(1) for _ in range(3))
        odds, noise = np.zeros((1, 1)), np.array([[0.0, q1, 0.0, q2]])
        departure_windows.look(
            ages, x[0], np.full(days, U_S**2), np.zeros((days, 1)), np.ones((days, 1)), noise, window[None], size, u,
            allowed, odds, weights,
        )  # fmt: skip
        assert float(allowed[0]) == pytest.approx(rms, rel=0.15)
        assert float(u[0]) == pytest.approx(U_S * float(np.sqrt((weights**2).sum())))


def test_values_come_seldom_or_irregularly_and_say_the_same() -> None:
    days = 220
    x_s = noise_s(days) - NS * 0.5 * np.maximum(np.arange(days) - 150.0, 0.0)
    rng = np.random.default_rng(6)
    some = sorted(rng.choice(days, 110, replace=False).tolist())
    for at in (list(range(0, days, 5)), some):
        _, said = heard(x_s, at=at)
        assert isinstance(said[0][1], Departure)
        assert 150 < said[0][0] < 175


def test_a_value_of_another_world_is_put_aside_and_moves_nothing() -> None:
    x_s = noise_s(200)
    clean, _ = heard(x_s)
    for size in (1_000 * NS, -30 * NS):
        hit = x_s.copy()
        hit[150] += size
        state, said = heard(hit)
        assert [type(each) for _, each in said] == [Aside]
        assert isinstance(said[0][1], Aside)
        assert said[0][1].x_off_s == pytest.approx(size, abs=2 * NS)
        assert np.array_equal(state.x_s[-40:], clean.x_s[-40:])
        assert abs(state.scatter_s2 / clean.scatter_s2 - 1.0) < 0.1


def test_a_reference_that_stays_at_another_level_is_compared_anew_and_the_scale_is_not_blamed() -> None:
    x_s = noise_s(260)
    x_s[150:] += 1_000 * NS
    state, said = heard(x_s)
    assert [type(each) for _, each in said] == [Aside, Aside, Aside]
    assert [each.begins_anew for _, each in said if isinstance(each, Aside)] == [False, False, True]
    assert len(state.epoch_ns) == min(departure.KEPT, 260 - 152)
    # two that do not agree are no level
    x_s = noise_s(200)
    x_s[150], x_s[151], x_s[152] = 1_000 * NS, -400 * NS, 70 * NS
    _, said = heard(x_s)
    assert not any(isinstance(each, Aside) and each.begins_anew for _, each in said)
    assert not any(isinstance(each, Departure) for _, each in said)


def test_the_memory_is_bounded_values_of_a_day_are_one_and_network_time_is_no_witness() -> None:
    state = departure.empty(N)
    for hour in range(24 * 130):
        state, _ = departure.step(state, hour * 3_600 * 10**9 + 1, 1e-9, NS, np.zeros(N), WEIGHT, NOISE)
    assert len(state.epoch_ns) == departure.KEPT
    assert set(state.count.tolist()) == {24}
    assert float(state.u_s[-1]) == pytest.approx(NS / np.sqrt(24))
    for u_s in (1e-6, float("inf"), float("nan")):
        later = int(state.last_ns) + DAY_NS
        after, said = departure.step(state, later, 5e-4, u_s, np.zeros(N), WEIGHT, NOISE)
        assert after is state
        assert said is None
    with pytest.raises(departure.DepartureMisuse):
        departure.step(state, int(state.last_ns), 0.0, NS, np.zeros(N), WEIGHT, NOISE)


def test_the_limit_is_the_laboratorys() -> None:
    x_s = noise_s(140) - NS * 0.3 * np.maximum(np.arange(140) - 100.0, 0.0)
    state, wide = departure.empty(N), []
    for day in range(140):
        state, found = departure.step(
            state, (day + 1) * DAY_NS, float(x_s[day]), U_S, np.zeros(N), WEIGHT, NOISE, limit_s=50 * NS
        )
        wide.append(found)
    assert wide == [None] * 140
    assert isinstance(heard(x_s)[1][0][1], Departure)
