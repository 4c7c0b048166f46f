"""Deviations of O(N): against the literal sums in extended precision, with gaps, of frequency, at bad input."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from truechimer import stability
from truechimer.stability import SeriesRejected, StabilityMisuse, running_sums

from . import literal
from .records import power_law

NAMES = ("adev", "oadev", "mdev", "tdev", "hdev", "ohdev")
FACTORS = (1, 2, 3, 7, 64, 130)


def record(kind: str, n: int = 1500) -> np.ndarray:
    rng = np.random.default_rng(7)
    if kind == "offset and rate":
        return 1e3 + 1e-8 * np.arange(n) + 1e-13 * rng.standard_normal(n)
    if kind == "outlier":
        x = power_law(0, n, rng)
        x[n // 3] += 1e6
        return x
    if kind == "drift":
        return 1e-12 * np.arange(n) ** 2.0 + 1e-9 * rng.standard_normal(n)
    return 1e-9 * power_law({"white pm": 2, "white fm": 0, "random walk": -2}[kind], n, rng)


@pytest.mark.parametrize("kind", ["white pm", "white fm", "random walk", "drift", "outlier", "offset and rate"])
@pytest.mark.parametrize("name", NAMES)
def test_a_deviation_is_the_literal_sum(name: str, kind: str) -> None:
    x = record(kind)
    curve = getattr(stability, name)(x, 0.5, FACTORS, ci=None)
    truth = np.array([float(getattr(literal, name)(x, m, 0.5)) for m in FACTORS])
    assert curve.m.tolist() == list(FACTORS)
    assert np.max(np.abs(curve.value / truth - 1.0)) <= (1e-9 if kind == "offset and rate" else 1e-12)


@pytest.mark.parametrize("kind", ["random walk", "drift", "outlier", "offset and rate"])
def test_a_record_too_long_for_a_line_of_grid_steps_keeps_its_digits(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_sums, "LONGEST_LINE", 1000)
    x = record(kind)
    truth = np.array([float(literal.mdev(x, m)) for m in FACTORS])
    assert np.max(np.abs(stability.mdev(x, 1.0, FACTORS, ci=None).value / truth - 1.0)) <= 1e-12


@pytest.mark.parametrize("scale", [1e-290, 1e-150, 1e90])
def test_phases_of_any_size_keep_their_digits(scale: float) -> None:
    x = scale * record("white fm")
    curve = stability.mdev(x, 1.0, [1, 7, 130], ci=None)
    if scale == 1e-290:  # squares leave the range of a double
        assert not np.any(curve.value)
    else:
        assert curve.value == pytest.approx([scale * float(literal.mdev(x / scale, m)) for m in (1, 7, 130)], rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_with_gaps_a_term_counts_if_all_its_phases_are_there(name: str) -> None:
    x = record("white fm", 900)
    x[np.random.default_rng(3).choice(900, 40, replace=False)] = np.nan
    x[300:420] = np.nan
    factors = [1, 2, 5] if name in {"mdev", "tdev"} else [1, 2, 5, 50]
    curve = getattr(stability, name)(x, 1.0, factors, ci=None)
    truth = np.array([float(getattr(literal, name)(x, m)) for m in factors])
    assert np.max(np.abs(curve.value / truth - 1.0)) <= 1e-12
    whole = getattr(stability, name)(record("white fm", 900), 1.0, factors, ci=None)
    assert np.all(curve.n < whole.n)
    assert np.all(curve.n > 0)


@pytest.mark.parametrize("name", NAMES)
def test_frequency_gives_what_its_phase_gives(name: str) -> None:
    y = 1e-8 + 1e-13 * np.random.default_rng(5).standard_normal(1200)
    curve = getattr(stability, name)(y, 10.0, FACTORS, data="frequency", ci=None)
    x = literal.phase_of_frequency(y, 10.0)
    truth = np.array([float(getattr(literal, name)(x, m, 10.0)) for m in FACTORS])
    assert np.max(np.abs(curve.value / truth - 1.0)) <= 1e-12


def test_a_missing_frequency_breaks_the_phase_for_good() -> None:
    y = np.random.default_rng(6).standard_normal(400)
    y[200] = np.nan
    curve = stability.oadev(y, 1.0, [1, 30], data="frequency", ci=None)
    left, right = (stability.oadev(part, 1.0, [1, 30], data="frequency", ci=None) for part in (y[:200], y[201:]))
    assert np.array_equal(curve.n, left.n + right.n)
    mean = (left.value**2 * left.n + right.value**2 * right.n) / curve.n
    assert np.allclose(curve.value**2, mean, rtol=1e-12)


def test_factors_that_cannot_be_had_are_skipped_and_named() -> None:
    curve = stability.oadev(np.arange(10.0) ** 2, 1.0, [1, 4, 5, 1000])
    assert curve.m.tolist() == [1, 4]
    assert [(each.m, "too few points" in each.why) for each in curve.skipped] == [(5, True), (1000, True)]
    x = np.arange(10.0)
    x[5] = np.nan
    assert [each.why for each in stability.mdev(x, 1.0, [3]).skipped] == ["no term has all its points: gaps"]


def test_grids_are_octaves_decades_and_all() -> None:
    x = np.random.default_rng(1).standard_normal(1001)
    assert stability.oadev(x, 1.0).m.tolist() == [2**k for k in range(9)]
    assert stability.oadev(x, 1.0, "decade").m.tolist() == [1, 2, 4, 10, 20, 40, 100, 200, 400]
    assert stability.oadev(x, 1.0, "all").m.tolist() == list(range(1, 501))
    assert stability.mdev(x, 1.0, "all").m[-1] == 333
    assert stability.ohdev(x, 2.0, "all").tau_s[-1] == 2.0 * 333


@pytest.mark.parametrize(
    ("values", "words", "row"),
    [
        ([1.0, np.inf, 2.0], "value 1", 1),
        ([1.0, np.nan, -np.inf], "value 2", 2),
        ([1.0, 2.0, 1e200], "value 2", 2),
        ([np.nan] * 5, "missing", 0),
        ([1.0], "at least 2", None),
        ([[1.0, 2.0], [3.0, 4.0]], "shape", None),
        (["a", "b"], "real numbers", None),
        ([1.0 + 1j, 2.0], "real numbers", None),
    ],
)
def test_data_that_cannot_be_used_are_refused_with_the_first_bad_index(values: list, words: str, row: int) -> None:
    with pytest.raises(SeriesRejected, match=words) as refused:
        stability.oadev(values, 1.0)
    assert refused.value.row == row


@pytest.mark.parametrize(
    "options",
    [
        {"tau0_s": 0.0},
        {"tau0_s": -1.0},
        {"tau0_s": float("nan")},
        {"tau0_s": "1"},
        {"m": "dozen"},
        {"m": []},
        {"m": [0]},
        {"m": [1.5]},
        {"m": [-1]},
        {"ci": 1.0},
        {"ci": 0.0},
        {"data": "time"},
        {"detrend": "cubic"},
    ],
    ids=str,
)
def test_a_wrong_call_is_a_misuse(options: dict) -> None:
    with pytest.raises(StabilityMisuse):
        stability.oadev([1.0, 2.0, 4.0], **({"tau0_s": 1.0} | options))


def test_a_quadratic_trend_that_is_taken_out_is_gone() -> None:
    x = 1e-9 * power_law(0, 2000, np.random.default_rng(2))
    t = np.arange(2000.0)
    bent = stability.oadev(x + 5.0 + 1e-6 * t + 1e-9 * t * t, 1.0, ci=None, detrend="quadratic")
    straight = stability.oadev(x, 1.0, ci=None, detrend="quadratic")
    assert np.allclose(bent.value, straight.value, rtol=1e-6)
    assert stability.oadev(x + 1e-9 * t * t, 1.0, [256], ci=None).value[0] > 50 * straight.value[8]


def test_constant_data_are_zero_with_an_interval_that_says_undefined() -> None:
    for name in NAMES:
        curve = getattr(stability, name)(np.full(50, 3.0), 1.0)
        assert np.all(curve.value == 0.0)
        assert np.all(np.isnan(curve.lower))
        assert np.all(np.isnan(curve.upper))


def test_without_numba_the_same_bits() -> None:
    probe = (
        "import numpy as np; from truechimer import stability as s; from truechimer.kernel import COMPILED\n"
        "x = np.cumsum(np.random.default_rng(9).standard_normal(5000))\n"
        f"for name in {(*NAMES, 'totdev', 'mtie', 'tierms')!r}:\n"
        "    print(*(v.hex() for v in getattr(s, name)(x, 1.0, ci=None).value))\n"
        "print(*(v.hex() for v in s.gcodev(np.array([x, x[::-1]]), 1.0).value))\n"
    )
    source = Path(stability.__file__).parents[2]
    said = []
    for kernels in ("compiled", "plain"):
        environment = {"PYTHONPATH": str(source), "TRUECHIMER_KERNELS": kernels, "PATH": ""}
        ran = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True)
        said.append([[float.fromhex(word) for word in line.split()] for line in ran.stdout.splitlines()])
    assert said[0] == said[1]


def test_importing_the_room_costs_numpy_alone() -> None:
    probe = "import sys, truechimer.stability; print(*{name.split('.')[0] for name in sys.modules})"
    names = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numba", "llvmlite", "scipy", "matplotlib", "asyncio", "ssl"} & set(names)


def test_a_short_record_does_not_wait_for_machine_code() -> None:
    probe = (
        "import sys, numpy as np; from truechimer import stability as s\n"
        "x = np.cumsum(np.random.default_rng(9).standard_normal(1 << 20))\n"
        "for name in ('oadev', 'mdev', 'totdev', 'mtie'): getattr(s, name)(x[:1000], 1.0)\n"
        "print('truechimer.kernel' in sys.modules)\n"
        "s.oadev(x, 1.0, [1, 2], ci=None)\n"
        "print('truechimer.kernel' in sys.modules)\n"
    )
    said = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    assert said == ["False", "True"]


def test_records_of_different_lengths_have_no_covariance() -> None:
    x = np.random.default_rng(8).standard_normal(50)
    with pytest.raises(SeriesRejected, match=r"different lengths.*give \(2, n\)"):
        stability.gcodev([x, x[:-1]], 1.0)
    with pytest.raises(SeriesRejected, match=r"different lengths.*give \(3, n\)"):
        stability.three_cornered_hat([x, x, x[:-1]], 1.0)
