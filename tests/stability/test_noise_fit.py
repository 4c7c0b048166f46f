"""The fit of noises to a record: levels, limits, gaps, and what it says of records that it cannot describe."""

import math

import numpy as np
import pytest
from tests.sim import independent_generator as generator

from truechimer import stability
from truechimer.stability import SeriesRejected, StabilityMisuse
from truechimer.stability import noise_components as components
from truechimer.stability.noise_components import NAMES
from truechimer.stability.noise_lines import prepare
from truechimer.stability.spread import interval_of

from .records import caesium, phase_dat


def of(n: int, seed: int, **levels: float) -> np.ndarray:
    """Phases of a clock with these levels, one a second, by a generator that knows nothing of the fit."""
    rng = np.random.default_rng(seed)
    x = np.zeros(n)
    for name, level in levels.items():
        x += generator.from_spectrum(generator.SPECTRA[NAMES.index(name)](1.0), n, 1, rng)[0] * level
    return x


@pytest.mark.parametrize("kind", range(5))
def test_the_spectrum_and_the_covariance_of_a_noise_say_the_same(kind: int) -> None:
    f = (np.arange(100_000) + 0.5) / 200_000
    density = components.frequency_spectra(f)[kind]
    for lag in (0, 1, 4):
        s = components.autocovariance(kind, np.abs(lag + np.arange(-2.0, 3.0)))
        from_covariance = float(np.array([1.0, -4.0, 6.0, -4.0, 1.0]) @ s)
        from_spectrum = 0.5 * float(np.mean(density * 4.0 * np.sin(np.pi * f) ** 2 * np.cos(2.0 * np.pi * lag * f)))
        assert from_covariance == pytest.approx(from_spectrum, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_noise_is_determined_and_no_other(name: str) -> None:
    x_s = 3e-9 * of(600, 4, **{name: 1.0})
    model = stability.fit_noise(x_s, 1.0)
    level = getattr(model, name)
    assert level.determined
    assert level.value == pytest.approx(3e-9, rel=0.15)
    assert level.lower < level.value < level.upper
    for other in model.levels[:5]:
        if other.name != name:
            assert not other.determined
            assert math.isnan(other.value)
            assert other.upper > 0.0
    assert model.misfit is not None
    assert model.misfit.is_described


def test_levels_do_not_depend_on_the_spacing_they_were_read_at() -> None:
    x_s = 1e-9 * of(800, 5, white_fm_1s=1.0)
    one = stability.fit_noise(x_s, 1.0)
    ten = stability.fit_noise(x_s, 10.0)
    assert ten.white_fm_1s.value == pytest.approx(one.white_fm_1s.value / math.sqrt(10.0), rel=1e-9)
    assert ten.white_pm_s.upper == pytest.approx(one.white_pm_s.upper, rel=1e-9)
    assert ten.flicker_fm.upper == pytest.approx(one.flicker_fm.upper / 10.0, rel=1e-9)
    assert ten.random_walk_fm_1s.upper == pytest.approx(one.random_walk_fm_1s.upper / 10.0**1.5, rel=1e-9)
    assert ten.drift_per_day.value == pytest.approx(one.drift_per_day.value / 100.0, rel=1e-9)


def test_offset_rate_and_drift_move_no_level() -> None:
    x_s = 1e-9 * of(700, 6, white_fm_1s=1.0)
    t = np.arange(700.0)
    plain = stability.fit_noise(x_s, 1.0)
    moved = stability.fit_noise(x_s + 1e3 + 1e-6 * t + 0.5e-11 * t * t, 1.0)
    assert moved.white_fm_1s.value == pytest.approx(plain.white_fm_1s.value, rel=1e-3)  # 1e3 s resolve 1e-13 s
    expected = plain.drift_per_day.value + 1e-11 * 86_400.0
    assert moved.drift_per_day.value == pytest.approx(expected, rel=1e-4)
    assert moved.drift_per_day.determined
    assert moved.drift_per_day.lower < 1e-11 * 86_400.0 < moved.drift_per_day.upper


def test_frequencies_say_what_their_phases_say() -> None:
    x_s = 1e-9 * of(500, 7, white_fm_1s=1.0, random_walk_fm_1s=0.2)
    of_phase = stability.fit_noise(x_s, 2.0)
    of_frequency = stability.fit_noise(np.diff(x_s) / 2.0, 2.0, data="frequency")
    for one, other in zip(of_phase.levels, of_frequency.levels, strict=True):
        assert other.upper == pytest.approx(one.upper, rel=1e-6)


def test_random_walk_by_double_sums_is_not_taken_for_white_fm_as_well() -> None:
    x_s = 1e-9 * np.cumsum(np.cumsum(np.random.default_rng(8).standard_normal(1000)))
    model = stability.fit_noise(x_s, 1.0)
    assert model.random_walk_fm_1s.value == pytest.approx(1e-9 / math.sqrt(3.0), rel=0.1)
    assert not model.white_fm_1s.determined


def test_a_difference_in_the_conventions_of_sampling_is_what_the_table_says() -> None:
    kept = {(one, beside): part for one, beside, part in components.MAY_BE_SAMPLING}
    f = np.array([0.02, 0.1, 0.25, 0.5])
    sine = 2.0 * np.sin(np.pi * f)
    ours = components.frequency_spectra(f)
    summed = 2.0 * 3.0 / sine**2  # the frequency of a double sum
    assert (summed - ours[4]) / ours[2] == pytest.approx(np.full(4, kept[2, 4]), rel=1e-9)
    fractional = 2.0 * math.pi / (2.0 * math.log(2.0)) / sine
    surplus = (fractional - ours[3]) / ours[2]
    assert np.all((surplus > 0.0) & (surplus < 1.1 * kept[2, 3]))
    fractional = 2.0 * math.pi * 2.0 / math.log(256.0 / 27.0) / sine * sine**2
    surplus = (fractional - ours[1]) / ours[0]
    assert np.all(surplus < kept[0, 1])
    assert surplus.max() > 0.7 * kept[0, 1]


def test_every_slow_line_expects_what_the_noises_give_it() -> None:
    prepared = prepare(of(400, 9, white_fm_1s=1.0), 1.0)
    lines = prepared.lines(np.array([0.1, 0.1, 1.0, 0.01, 0.001]))
    slow = lines.weight == 0.5
    # White PM has the same power on all lines; white FM falls with the square of the frequency; fast lines go on.
    assert np.allclose(lines.expected[0][slow] * prepared.block, 1.0)
    order = np.argsort(lines.frequency[slow])
    assert np.all(np.diff(lines.expected[4][slow][order][:40]) < 0.0)
    assert lines.frequency[~slow].min() > 0.5 / prepared.block


def test_a_long_gap_takes_blocks_and_short_ones_are_bridged() -> None:
    x_s = 1e-9 * of(8000, 10, white_pm_s=5.0, white_fm_1s=1.0)
    whole = stability.fit_noise(x_s, 1.0)
    holes = x_s.copy()
    holes[np.random.default_rng(3).permutation(np.arange(1, 7999))[:80]] = np.nan
    bridged = stability.fit_noise(holes, 1.0)
    assert bridged.bridged >= 75
    assert bridged.white_pm_s.value == pytest.approx(whole.white_pm_s.value, rel=0.03)
    broken = x_s.copy()
    broken[3000:4000] = np.nan
    parted = stability.fit_noise(broken, 1.0)
    assert parted.left_out in {20, 21}
    assert parted.bridged == 0
    assert parted.white_pm_s.value == pytest.approx(whole.white_pm_s.value, rel=0.03)
    assert parted.white_fm_1s.value == pytest.approx(whole.white_fm_1s.value, rel=0.2)
    assert {"bridged"} <= set(bridged.as_json())
    assert {"blocks_left_out"} <= set(parted.as_json())


def test_a_missing_frequency_breaks_the_phase_and_the_fit_knows() -> None:
    y = 1e-9 * np.random.default_rng(11).standard_normal(150)
    y[[40, 90, 91]] = np.nan
    model = stability.fit_noise(y, 1.0, data="frequency")
    assert model.white_fm_1s.value == pytest.approx(1e-9, rel=0.2)
    jump = np.cumsum(np.where(np.isfinite(y), y, 1e-3))  # what such a gap hides could be anything
    missing = np.where(np.isfinite(y), 0.0, np.nan)
    hidden = stability.fit_noise(np.diff(jump, prepend=0.0) + missing, 1.0, data="frequency")
    assert hidden.white_fm_1s.upper == pytest.approx(model.white_fm_1s.upper, rel=1e-4)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.arange(10.0), "needs 24"),
        (np.zeros(100), "do not vary"),
        (3e-9 * np.arange(100), "do not vary"),
        (1e-150 * np.random.default_rng(1).standard_normal(100), "do not vary"),
        (np.where(np.arange(4000) % 12 == 0, np.nan, np.arange(4000.0) ** 2), "gaps leave"),
        (np.array([1.0, np.inf, *range(100)]), "value 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_the_reason(values: np.ndarray, words: str) -> None:
    with pytest.raises(SeriesRejected, match=words):
        stability.fit_noise(values, 1.0)


def test_a_record_that_power_laws_do_not_describe_is_called_so() -> None:
    t = np.arange(2000.0)
    x_s = of(2000, 12, white_fm_1s=1.0) + 30.0 * np.sin(2.0 * np.pi * t / 100.0)
    misfit = stability.fit_noise(x_s, 1.0).misfit
    assert misfit is not None
    assert not misfit.is_described
    assert misfit.period_s == pytest.approx(100.0, rel=0.4)
    assert misfit.ratio > 10.0


@pytest.mark.shared_data
def test_phase_dat_is_the_white_fm_that_it_was_made_of() -> None:
    """Uniform random frequencies between 0 and 1: sigma is 1/sqrt(12)."""
    model = stability.fit_noise(phase_dat(), 1.0)
    assert model.white_fm_1s.lower < 1.0 / math.sqrt(12.0) < model.white_fm_1s.upper
    assert list(model.clock_noise()) == ["white_fm_1s"]


@pytest.mark.slow
@pytest.mark.shared_data
def test_a_caesium_clock_and_its_counter_have_the_noise_that_is_known_of_them() -> None:
    """The data sheet says 1.2e-11 at 1 s at most for the tube; the counter resolves some 1e-10 s."""
    whole, thinned = stability.fit_noise(caesium(), 1.0), stability.fit_noise(caesium()[::100], 100.0)
    for model in (whole, thinned):
        assert 1.0e-11 < model.white_fm_1s.value < 1.2e-11
        assert 1.5e-10 < model.white_pm_s.value < 2.5e-10
        assert not model.drift_per_day.determined
    assert whole.misfit is not None
    assert not whole.misfit.is_described  # half a million readings show that the counter's noise is not quite white


def test_declared_levels_make_a_model_without_an_error() -> None:
    model = stability.declared_noise(10.0, {"white_fm_1s": 2e-12, "random_walk_fm_1s": 1e-16, "drift_per_day": 1e-15})
    assert model.clock_noise() == pytest.approx(
        {"white_fm_1s": 2e-12, "random_walk_fm_1s": 1e-16, "drift_per_day": 1e-15}
    )
    for wrong in ({"white": 1.0}, {"white_fm_1s": -1.0}, {}, {"flicker_fm": math.inf}):
        with pytest.raises(StabilityMisuse):
            stability.declared_noise(1.0, wrong)


def test_the_interval_of_a_mixture_of_sigmas_holds_what_it_says() -> None:
    assert interval_of(np.array([4.0]), np.array([1.0]), 0.6826894921370859) == pytest.approx(2.0, rel=1e-9)
    sigma = np.exp(np.random.default_rng(13).standard_normal(4000))
    half = interval_of(sigma**2, np.full(4000, 1.0 / 4000), 0.9)
    inside = np.mean([math.erf(half / one / math.sqrt(2.0)) for one in sigma])
    assert inside == pytest.approx(0.9, abs=1e-3)
    assert interval_of(np.zeros(3), np.full(3, 1.0 / 3.0), 0.9) == 0.0
