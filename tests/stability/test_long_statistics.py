"""Total, Theo, parabolic, time error, covariance, hat, dynamic: against the literal sums, and how they behave."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from truechimer import stability
from truechimer.stability import SeriesRejected, StabilityMisuse, long_sums

from . import literal
from .records import power_law
from .test_deviations import record

NAMES = ("totdev", "mtotdev", "ttotdev", "htotdev", "theo1", "pdev", "mtie", "tierms")
FACTORS = {"theo1": (10, 12, 50, 118), "mtotdev": (1, 2, 5, 21), "ttotdev": (8,), "htotdev": (1, 2, 5, 21)}
ORDINARY = (1, 2, 3, 8, 21, 38)


@pytest.mark.parametrize("kind", ["white pm", "white fm", "random walk", "drift", "outlier", "offset and rate"])
@pytest.mark.parametrize("name", NAMES)
def test_a_statistic_is_the_literal_sum(name: str, kind: str) -> None:
    x = record(kind, 120)
    factors = FACTORS.get(name, ORDINARY)
    curve = getattr(stability, name)(x, 0.5, factors, ci=None)
    truth = np.array([float(getattr(literal, name)(x, m, 0.5)) for m in factors])
    assert curve.m.tolist() == list(factors)
    assert np.max(np.abs(curve.value / truth - 1.0)) <= (1e-9 if kind == "offset and rate" else 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["white pm", "random walk", "offset and rate"])
@pytest.mark.parametrize("name", NAMES)
def test_a_statistic_of_a_longer_record_is_the_literal_sum(name: str, kind: str) -> None:
    x = record(kind, 3000)
    factors = {"theo1": (10, 500, 2998), "totdev": (1, 300, 2999), "mtie": (1, 100), "tierms": (1, 2999)}
    factors |= {"pdev": (2, 1000)}
    chosen = factors.get(name, (1, 90))
    curve = getattr(stability, name)(x, 1.0, chosen, ci=None)
    if name in {"mtotdev", "ttotdev", "htotdev"}:
        chosen = chosen[:1]  # the literal sum of the other takes minutes: the plain NumPy form stands in
    truth = np.array([float(getattr(literal, name)(x, m)) for m in chosen])
    limit = 1e-9 if kind == "offset and rate" else 1e-12
    assert np.max(np.abs(curve.value[: len(chosen)] / truth - 1.0)) <= limit


@pytest.mark.parametrize("name", ["mtie", "tierms", "totdev"])
def test_statistics_with_gaps_follow_their_rule(name: str) -> None:
    x = record("white fm", 300)
    x[np.random.default_rng(3).choice(np.arange(1, 299), 25, replace=False)] = np.nan
    x[100:140] = np.nan
    curve = getattr(stability, name)(x, 1.0, [1, 5, 60], ci=None)
    if name == "totdev":
        x = literal.longs(x)
        star = np.concatenate([2 * x[0] - x[1:][::-1], x, 2 * x[-1] - x[:-1][::-1]])
        i = np.arange(300, 598)
        truth = []
        for m in (1, 5, 60):
            d = star[i - m] - 2 * star[i] + star[i + m]
            truth.append(float(np.sqrt(np.nanmean(d * d) / 2) / m))
    else:
        truth = [float(getattr(literal, name)(x, m)) for m in (1, 5, 60)]
    assert np.max(np.abs(curve.value / truth - 1.0)) <= 1e-12


@pytest.mark.parametrize("name", ["mtotdev", "htotdev", "theo1", "pdev"])
def test_long_statistics_use_stretches_without_a_gap(name: str) -> None:
    x = record("white fm", 200)
    whole = getattr(stability, name)(np.concatenate([x, [np.nan], x]), 1.0, [10], ci=None)
    one = getattr(stability, name)(x, 1.0, [10], ci=None)
    assert whole.value[0] == pytest.approx(one.value[0], rel=1e-12)
    assert whole.n[0] == 2 * one.n[0]


def test_the_total_deviation_says_what_it_cannot_reflect() -> None:
    x = record("white fm", 50)
    x[-1] = np.nan
    with pytest.raises(SeriesRejected, match="last phase") as refused:
        stability.totdev(x, 1.0)
    assert refused.value.row == 49
    y = np.ones(50)
    y[7] = np.nan
    with pytest.raises(SeriesRejected, match="frequency 7 is missing"):
        stability.totdev(y, 1.0, data="frequency")


def test_mtie_of_frequency_sees_the_offset_in_frequency() -> None:
    curve = stability.mtie(np.full(100, 1e-9), 10.0, [1, 50], data="frequency")
    assert curve.value == pytest.approx([1e-8, 5e-7], rel=1e-12)
    assert stability.tierms(np.full(100, 1e-9), 10.0, [50], data="frequency").value == pytest.approx([5e-7], rel=1e-12)
    assert np.all(np.isnan(curve.lower))


def test_mtie_never_falls_with_the_interval_and_ends_at_the_whole_range() -> None:
    x = record("random walk", 777)
    curve = stability.mtie(x, 1.0, "all")
    assert np.all(np.diff(curve.value) >= 0.0)
    assert curve.value[-1] == np.max(x) - np.min(x)


def test_theobr_is_the_ratio_of_the_handbook_times_theo1() -> None:
    for alpha in (0, -2):
        x = power_law(alpha, 230, np.random.default_rng(11))
        ratios = [float(literal.oadev(x, 9 + 3 * i) / literal.theo1(x, 12 + 4 * i)) ** 2 for i in range(230 // 6 - 2)]
        truth = [float(literal.theo1(x, m)) * np.mean(ratios) ** 0.5 for m in (10, 90, 228)]
        assert stability.theobr(x, 1.0, [10, 90, 228], ci=None).value == pytest.approx(truth, rel=1e-12)


def test_the_yardstick_of_total_deviations_is_right_to_the_last_digit_of_a_fraction() -> None:
    x = record("offset and rate", 40)
    m = 4
    exact = [Fraction(float(value)) for value in x]
    total = Fraction(0)
    for start in range(40 - 3 * m + 1):
        window = exact[start : start + 3 * m]
        half = 3 * m // 2
        slope = (sum(window[half:]) - sum(window[:half])) / (half * half)
        flat = [value - slope * k for k, value in enumerate(window)]
        star = [*flat[::-1], *flat, *flat[::-1]]
        for k in range(6 * m):
            a, b, c = (sum(star[k + q * m : k + (q + 1) * m]) for q in range(3))
            total += (a - 2 * b + c) ** 2
    truth = (float(total / (12 * m * m * m * (40 - 3 * m + 1))) ** 0.5) / m
    assert float(literal.mtotdev(x, m)) == pytest.approx(truth, rel=1e-12)
    assert stability.mtotdev(x, 1.0, [m]).value[0] == pytest.approx(truth, rel=1e-12)


def test_theoh_is_oadev_up_to_a_fifth_and_theobr_beyond() -> None:
    x = record("white fm", 500)
    curve = stability.theoh(x, 2.0, "all", ci=None)
    near = curve.tau_s <= 99 * 2.0
    assert np.array_equal(curve.value[near], stability.oadev(x, 2.0, np.arange(1, 100), ci=None).value)
    far = curve.m[~near]
    assert np.allclose(curve.value[~near], stability.theobr(x, 2.0, far, ci=None).value, rtol=1e-12)
    assert curve.tau_s[-1] == pytest.approx(0.75 * 498 * 2.0)
    assert np.all(np.diff(curve.tau_s) > 0.0)


def test_an_approximation_is_asked_for_by_name_and_named_in_the_result() -> None:
    x = record("white fm", 800)
    exact, thinned = stability.theobr(x, 1.0, [100]), stability.theobr(x, 1.0, [100], approximation="thinned")
    assert (exact.approximation, thinned.approximation) == ("", "thinned")
    assert thinned.value[0] == pytest.approx(exact.value[0], rel=0.05)
    assert thinned.value[0] != exact.value[0]
    assert thinned.as_json()["approximation"] == "thinned"
    with pytest.raises(StabilityMisuse, match="approximation"):
        stability.theobr(x, 1.0, approximation="fast")


def test_a_record_too_short_for_theobr_is_said() -> None:
    curve = stability.theobr(record("white fm", 16), 1.0, [10])
    assert len(curve) == 0
    assert "18 are needed" in curve.skipped[0].why


@pytest.mark.parametrize("name", ["theo1", "mtotdev", "htotdev", "pdev", "mdev", "oadev", "totdev", "mtie"])
def test_on_two_threads_the_last_bit_is_that_of_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_sums, "PART", 1 << 14)
    x = record("white fm", 5000)
    with ThreadPoolExecutor(2) as pool:
        one, two = (getattr(stability, name)(x, 1.0, ci=None, spread=each).value for each in (map, pool.map))
        assert np.array_equal(one, two)
        every = [getattr(stability, name)(x[:300], 1.0, "all", ci=None, spread=each).value for each in (map, pool.map)]
        assert np.array_equal(*every)


@pytest.mark.parametrize("kind", ["white pm", "random walk", "drift", "outlier", "offset and rate"])
def test_theo1_at_every_factor_is_theo1_at_each(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = record(kind, 250)
    together = stability.theo1(x, 1.0, "all", ci=None)
    assert together.m.tolist() == list(range(10, 250, 2))
    singly = [stability.theo1(x, 1.0, [m], ci=None) for m in together.m]
    assert together.n.tolist() == [int(curve.n[0]) for curve in singly]
    assert together.value == pytest.approx([curve.value[0] for curve in singly], rel=1e-13)
    monkeypatch.setattr(long_sums, "CANCELS", 1e9)  # nothing is trusted to products
    assert np.array_equal(stability.theo1(x, 1.0, "all", ci=None).value, [curve.value[0] for curve in singly])


def test_theo1_at_every_factor_of_constant_data_is_zero() -> None:
    assert not np.any(stability.theo1(np.full(250, 3.0), 1.0, "all", ci=None).value)


def three_clocks(seed: int, n: int, counter: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a, b, c = 1.0 * power_law(0, n, rng), 1.5 * power_law(0, n, rng), 2.0 * power_law(-1, n, rng)
    noise = counter * rng.standard_normal((3, n))
    return np.array([a - b, b - c, c - a]) + noise, np.array([a, b, c])


@pytest.mark.parametrize("method", ["classic", "groslambert"])
def test_the_hat_finds_each_clock_within_15_percent(method: str) -> None:
    off = []
    for seed in range(30):
        differences, clocks = three_clocks(seed, 1000)
        found = stability.three_cornered_hat(differences, 1.0, [1, 8], method=method)
        truth = [stability.oadev(clock, 1.0, [1, 8], ci=None).value for clock in clocks]
        off += [abs(curve.value / true - 1.0) for curve, true in zip(found, truth, strict=True)]
    assert np.median(off) <= 0.15


def test_groslamberts_hat_does_not_see_the_counters_noise() -> None:
    differences, clocks = three_clocks(3, 20_000, counter=3.0)
    truth = stability.oadev(clocks[1], 1.0, [4], ci=None).value[0]
    blind = stability.three_cornered_hat(differences, 1.0, [4], method="groslambert")[1].value[0]
    sees = stability.three_cornered_hat(differences, 1.0, [4])[1].value[0]
    assert blind == pytest.approx(truth, rel=0.1)
    assert sees > 1.2 * truth


def test_a_covariance_keeps_its_sign_and_a_negative_variance_is_not_hidden() -> None:
    rng = np.random.default_rng(5)
    x = np.cumsum(rng.standard_normal(500))
    same = stability.gcodev(np.array([x, x]), 1.0, [1, 7])
    assert same.value == pytest.approx(stability.oadev(x, 1.0, [1, 7], ci=None).value, rel=1e-12)
    assert np.all(stability.gcodev(np.array([x, -x]), 1.0, [1, 7]).value < 0.0)
    z = np.cumsum(rng.standard_normal(500))
    truth = float(literal.gcov(x, z, 7))
    assert stability.gcodev(np.array([x, z]), 1.0, [7]).value[0] == pytest.approx(
        np.copysign(abs(truth) ** 0.5, truth), rel=1e-12
    )
    common = np.array([x, np.cumsum(rng.standard_normal(500)), x])
    assert stability.three_cornered_hat(common, 1.0, [1])[0].value[0] > 0.0
    assert stability.three_cornered_hat(common[[1, 0, 1]] * [[0.1], [1.0], [0.1]], 1.0, [1])[0].value[0] < 0.0


def test_covariance_with_gaps_counts_terms_that_both_records_have() -> None:
    rng = np.random.default_rng(8)
    x, z = np.cumsum(rng.standard_normal((2, 300)), axis=1)
    x[50:60] = np.nan
    z[200] = np.nan
    curve = stability.gcodev(np.array([x, z]), 1.0, [3])
    truth = float(literal.gcov(x, z, 3))
    assert curve.value[0] == pytest.approx(np.copysign(abs(truth) ** 0.5, truth), rel=1e-12)
    assert curve.n[0] < 294


@pytest.mark.parametrize("shape", [(500,), (3, 500), (2, 2, 5)])
def test_a_covariance_of_anything_but_two_records_is_refused(shape: tuple) -> None:
    with pytest.raises(SeriesRejected, match="shape"):
        stability.gcodev(np.zeros(shape), 1.0)


def test_a_dynamic_surface_is_the_statistic_of_each_window() -> None:
    x = record("white fm", 1000)
    x[600:] += 5e-9 * np.random.default_rng(1).standard_normal(400)
    surface = stability.dynamic(x, 1.0, [1, 4, 16], window=200, step=100, statistic="mdev")
    assert surface.value.shape == (9, 3)
    assert surface.middle_s.tolist() == [99.5 + 100.0 * k for k in range(9)]
    for row in (0, 4, 8):
        part = stability.mdev(x[100 * row : 100 * row + 200], 1.0, [1, 4, 16])
        assert np.array_equal(surface.value[row], part.value)
        assert np.array_equal(surface.upper[row], part.upper)
    assert surface.value[8, 0] > 3 * surface.value[0, 0]


def test_a_dynamic_surface_has_no_value_where_a_window_is_empty() -> None:
    x = record("white fm", 400)
    x[100:300] = np.nan
    surface = stability.dynamic(x, 1.0, [1, 2], window=100, step=100)
    assert np.isnan(surface.value[:, 0]).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    "options", [{"window": 2}, {"window": 1000}, {"window": 50, "step": 0}, {"window": 50, "statistic": "x"}]
)
def test_a_window_that_cannot_be_is_a_misuse(options: dict) -> None:
    with pytest.raises(StabilityMisuse):
        stability.dynamic(np.zeros(100), 1.0, **options)


@pytest.mark.slow
def test_long_statistics_without_numba_give_the_same_digits() -> None:
    probe = (
        "import numpy as np, truechimer.kernel; from truechimer import stability as s\n"
        "x = np.cumsum(np.random.default_rng(9).standard_normal(400))\n"
        f"for name in {NAMES!r}: print(*(v.hex() for v in getattr(s, name)(x, 1.0, ci=None).value))\n"
        "print(*(v.hex() for v in s.gcodev(np.array([x, x[::-1]]), 1.0).value))\n"
        "print(*(v.hex() for v in s.theo1(x, 1.0, 'all', ci=None).value))\n"
    )
    source = Path(stability.__file__).parents[2]
    said = []
    for kernels in ("compiled", "plain"):
        environment = {"PYTHONPATH": str(source), "TRUECHIMER_KERNELS": kernels, "PATH": ""}
        ran = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True)
        said.append([[float.fromhex(word) for word in line.split()] for line in ran.stdout.splitlines()])
    assert len(said[0]) == len(NAMES) + 2
    for ours, plain in zip(*said, strict=True):
        assert np.allclose(ours, plain, rtol=1e-12, atol=0.0)
