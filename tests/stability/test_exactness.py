"""Exactness: every statistic against exact arithmetic (`rational.py`), on records of many kinds, lengths and gaps."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truechimer import stability
from truechimer.stability import SeriesRejected

from . import literal, rational
from .records import NBS14_PHASE, caesium, power_law, sp1065_frequency

ORDINARY = 1e-12
FAR_AWAY = 1e-9
"""On phases with an offset of 1e3 s and a rate of 1e-8, whose noise of 1e-13 s is a double's last digit."""

FACTORS = {
    **dict.fromkeys(("adev", "oadev", "mdev", "tdev", "hdev", "ohdev", "pdev", "tierms", "mtie"), (1, 2, 7, 25)),
    **dict.fromkeys(("mtotdev", "ttotdev", "htotdev"), (1, 2, 7, 12)),
    "totdev": (1, 2, 7, 60, 88),
    "theo1": (10, 12, 40, 88),
}
ROBUST = ("adev", "oadev", "mdev", "tdev", "hdev", "ohdev", "mtie", "tierms")
"""Statistics with a rule for gaps of every kind."""


def record(kind: str, n: int) -> np.ndarray:
    rng = np.random.default_rng(17)
    t = np.arange(n, dtype=np.float64)
    if kind == "far away":
        return 1e3 + 1e-8 * t + 1e-13 * rng.standard_normal(n)
    if kind == "far away, random walk":
        return -1e3 - 1e-8 * t + 1e-12 * power_law(-2, n, rng)
    if kind == "receiver in nanoseconds":  # quantised to 1 ns, with the sawtooth of a receiver's oscillator
        return np.round(4321.0 + 30.0 * np.cumsum(0.1 * rng.standard_normal(n)) + 12.5 * ((0.37 * t) % 1.0 - 0.5))
    if kind == "oscillator":  # drift of 1e-8 a day, a point every 10 s, flicker FM of 1e-12
        return 1e-3 + 3e-7 * 10.0 * t + 0.5 * 1e-8 / 86400.0 * (10.0 * t) ** 2 + 1e-11 * power_law(-1, n, rng)
    if kind == "counter":  # 1 PPS, resolution 20 ps, of one sign
        return 8e-7 + 2e-11 * np.round(10.0 * rng.standard_normal(n)) + 1e-13 * t
    if kind == "outlier":
        return 1e-9 * power_law(0, n, rng) + np.where(t == n // 3, 1e-3, 0.0)
    return 1e-9 * power_law({"white PM": 2, "flicker PM": 1, "white FM": 0, "random walk": -2}[kind], n, rng)


KINDS = ("white PM", "white FM", "random walk", "receiver in nanoseconds", "oscillator", "counter", "outlier")
FAR = ("far away", "far away, random walk")


def limit(kind: str) -> float:
    return FAR_AWAY if kind in FAR else ORDINARY


QUICK = ("random walk", "far away")


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in (*KINDS, *FAR)]
)
@pytest.mark.parametrize("name", FACTORS)
def test_a_statistic_is_exact(name: str, kind: str) -> None:
    for n in (89, 90):
        x = record(kind, n)
        curve = getattr(stability, name)(x, 0.5, FACTORS[name], ci=None)
        off = [
            rational.off(v, getattr(rational, name)(x, m, 0.5))
            for v, m in zip(curve.value, curve.m.tolist(), strict=True)
        ]
        assert max(off) <= limit(kind), off
        assert len(curve) >= len(FACTORS[name]) - 1


@pytest.mark.parametrize("kind", ["white FM", "far away"])
def test_theobr_and_theoh_are_exact(kind: str) -> None:
    x = record(kind, 90)
    curve = stability.theobr(x, 1.0, [10, 40, 88], ci=None)
    off = [rational.off(v, rational.theobr(x, m)) for v, m in zip(curve.value, curve.m.tolist(), strict=True)]
    curve = stability.theoh(x, 1.0, "all", ci=None)
    for k in (0, 16, 17, 30, len(curve) - 1):
        short = curve.tau_s[k] == curve.m[k] and curve.m[k] <= 17
        truth = rational.oadev(x, int(curve.m[k])) if short else rational.theobr(x, int(curve.m[k]))
        off.append(rational.off(curve.value[k], truth))
    assert max(off) <= limit(kind), off


@pytest.mark.parametrize("kind", ["white FM", "far away"])
def test_covariance_and_hat_are_exact(kind: str) -> None:
    a, b, c = (
        record(kind, 90) * scale + power_law(0, 90, np.random.default_rng(k)) * 1e-11
        for k, scale in enumerate((1.0, 0.5, 2.0))
    )
    ab, bc, ca = a - b, b - c, c - a
    for m in (1, 7, 25):
        squared = rational.gcov(ab, bc, m)
        found = stability.gcodev(np.array([ab, bc]), 1.0, [m]).value[0]
        assert np.sign(found) == (1 if squared > 0 else -1)
        assert rational.off(found, abs(squared)) <= 1e3 * limit(kind)  # products cancel
        one, _, third = stability.three_cornered_hat(np.array([ab, bc, ca]), 1.0, [m], method="groslambert")
        for curve, truth in ((one, -rational.gcov(ab, ca, m)), (third, -rational.gcov(ca, bc, m))):
            assert np.sign(curve.value[0]) == (1 if truth > 0 else -1)
            assert rational.off(curve.value[0], abs(truth)) <= 1e3 * limit(kind)
        for statistic in ("oadev", "mdev", "ohdev"):
            of = [getattr(rational, statistic)(each, m) for each in (ab, bc, ca)]
            curves = stability.three_cornered_hat(np.array([ab, bc, ca]), 1.0, [m], statistic=statistic)
            truths = ((of[0] + of[2] - of[1]) / 2, (of[0] + of[1] - of[2]) / 2, (of[1] + of[2] - of[0]) / 2)
            for curve, truth in zip(curves, truths, strict=True):
                assert np.sign(curve.value[0]) == (1 if truth > 0 else -1)
                assert rational.off(curve.value[0], abs(truth)) <= 1e3 * limit(kind)


@pytest.mark.parametrize("statistic", [*ROBUST, "totdev", "mtotdev", "htotdev", "theo1", "pdev"])
def test_a_dynamic_surface_is_exact(statistic: str) -> None:
    x = record("random walk", 120)
    surface = stability.dynamic(x, 1.0, [2, 10], window=50, step=30, statistic=statistic, ci=None)
    for row, start in enumerate((0, 30, 60)):
        for column, m in enumerate(surface.m.tolist()):
            truth = getattr(rational, statistic)(x[start : start + 50], m)
            assert rational.off(surface.value[row, column], truth) <= ORDINARY


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 11, 12])
@pytest.mark.parametrize("name", FACTORS)
def test_short_records_have_every_value_that_there_is(name: str, n: int) -> None:
    x = record("random walk", 12)[:n]
    curve = getattr(stability, name)(x, 1.0, "all")
    spans = {"adev": 2, "oadev": 2, "hdev": 3, "ohdev": 3, "htotdev": 3, "totdev": 1, "mtie": 1, "tierms": 1}
    most = (n - 1) // spans[name] if name in spans else n // 3 if name != "theo1" else (n - 1) // 2 * 2
    if name == "pdev":
        most = (n - 1) // 2
    least = {"theo1": 10}.get(name, 1)
    expected = [m for m in range(least, most + 1) if name != "theo1" or m % 2 == 0]
    if name == "totdev" and n == 2:
        expected = []  # no point lies between the ends
    assert curve.m.tolist() == expected
    off = [rational.off(v, getattr(rational, name)(x, m)) for v, m in zip(curve.value, expected, strict=True)]
    assert max(off, default=0.0) <= ORDINARY


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["white FM", "oscillator", "far away"])
@pytest.mark.parametrize("name", ["adev", "oadev", "mdev", "tdev", "hdev", "ohdev", "tierms"])
def test_a_long_record_is_exact(name: str, kind: str) -> None:
    x = record(kind, 30_001)
    factors = (1, 1000, 9_000)
    curve = getattr(stability, name)(x, 1.0, factors, ci=None)
    off = [rational.off(v, getattr(rational, name)(x, m)) for v, m in zip(curve.value, factors, strict=True)]
    assert max(off) <= limit(kind), off


@pytest.mark.acceptance
@pytest.mark.parametrize("kind", [*KINDS, *FAR])
@pytest.mark.parametrize("name", ["adev", "oadev", "mdev", "hdev", "ohdev", "tierms", "totdev"])
def test_a_record_of_100000_points_is_exact(name: str, kind: str) -> None:
    x = record(kind, 100_000)
    factors = (1, 10, 100, 1000, 10_000, 33_000)
    curve = getattr(stability, name)(x, 1.0, factors, ci=None)
    off = [rational.off(v, getattr(rational, name)(x, m)) for v, m in zip(curve.value, factors, strict=True)]
    assert max(off) <= limit(kind), off


@pytest.mark.acceptance
@pytest.mark.parametrize("kind", [*KINDS, *FAR])
@pytest.mark.parametrize("name", ["mtotdev", "htotdev", "theo1", "pdev"])
def test_a_long_statistic_of_2000_points_is_exact(name: str, kind: str) -> None:
    x = record(kind, 2000)
    factors = (10, 500, 1998) if name == "theo1" else (2, 40, 500)
    curve = getattr(stability, name)(x, 1.0, factors, ci=None)
    off = [rational.off(v, getattr(rational, name)(x, m)) for v, m in zip(curve.value, factors, strict=True)]
    assert max(off) <= limit(kind), off


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.parametrize("name", FACTORS)
def test_a_real_caesium_record_is_exact(name: str) -> None:
    x = caesium()[100_000:101_001]
    factors = {"theo1": (10, 200, 1000), "totdev": (1, 30, 1000), "pdev": (2, 30)}
    chosen = factors.get(name, (2, 10) if "tot" in name else (1, 30, 300))
    curve = getattr(stability, name)(x, 1.0, chosen, ci=None)
    off = [rational.off(v, getattr(rational, name)(x, m)) for v, m in zip(curve.value, chosen, strict=True)]
    assert max(off) <= ORDINARY, off


def test_frequencies_with_an_offset_are_exact() -> None:
    y = 1e-8 + 1e-13 * np.random.default_rng(5).standard_normal(120)
    x, unit = rational.whole(y)
    phase = np.concatenate([[0], np.cumsum(x)])  # whole numbers of `unit` tau0
    for name, order in (("oadev", {0: 1, 7: -2, 14: 1}), ("ohdev", {0: -1, 7: 3, 14: -3, 21: 1})):
        value = getattr(stability, name)(y, 10.0, [7], data="frequency", ci=None).value[0]
        terms = [sum(tap * phase[i + at] for at, tap in order.items()) for i in range(121 - max(order))]
        squared = unit**2 * sum(term**2 for term in terms) / len(terms) / ({14: 2, 21: 6}[max(order)] * 49)
        assert rational.off(value, squared) <= ORDINARY


def test_hadamard_statistics_of_a_drifting_oscillator_are_exact() -> None:
    drift = 1e-8 / 86400.0 * 100.0 * np.arange(600)
    y = drift + 1e-12 * np.random.default_rng(5).standard_normal(600)
    x, unit = rational.whole(y)
    phase = np.concatenate([[0], np.cumsum(x)])  # whole numbers of `unit` tau0
    for name in ("hdev", "ohdev"):
        for m in (1, 3):
            terms = [phase[i + 3 * m] - 3 * phase[i + 2 * m] + 3 * phase[i + m] - phase[i] for i in range(601 - 3 * m)]
            terms = terms[::m] if name == "hdev" else terms
            squared = unit**2 * sum(term**2 for term in terms) / len(terms) / (6 * m * m)
            value = getattr(stability, name)(y, 100.0, [m], data="frequency", ci=None).value[0]
            assert rational.off(value, squared) <= ORDINARY
            whole = stability.dynamic(y, 100.0, [m], window=601, statistic=name, data="frequency", ci=None)
            assert rational.off(whole.value[0, 0], squared) <= ORDINARY
    phases = np.concatenate([[0.0], np.cumsum(100.0 * y)])
    value = stability.htotdev(phases, 1.0, [2], ci=None).value[0]
    assert rational.off(value, rational.htotdev(phases, 2)) <= ORDINARY


# ---- the yardsticks judge each other


@pytest.mark.parametrize("name", [*FACTORS, "pdev"])
def test_the_two_yardsticks_agree(name: str) -> None:
    x = record("random walk", 60)
    for m in (10, 14):
        assert rational.off(float(getattr(literal, name)(x, m, 0.5)), getattr(rational, name)(x, m, 0.5)) <= 2e-16


def test_exact_arithmetic_gives_the_handbooks_tables() -> None:
    """NIST SP 1065 table 30 (NBS14, tau = 2) and table 31 (1000 points, tau = 10), without bias correction."""
    small = {"adev": "115.8082", "oadev": "85.95287", "mdev": "74.78849", "tdev": "86.35831"}
    small |= {"hdev": "116.7980", "ohdev": "85.61487", "totdev": "93.90379"}
    for name, printed in (("mtotdev", "64.794"), ("ttotdev", "74.818")):  # as Stable32 prints them
        assert f"{float(rational.root(getattr(rational, name)(NBS14_PHASE, 2))):.5g}" == printed, name
    for name, printed in small.items():
        assert f"{float(rational.root(getattr(rational, name)(NBS14_PHASE, 2))):.7g}".ljust(8, "0") == printed, name
    y, unit = rational.whole(sp1065_frequency())
    x = np.concatenate([[0], np.cumsum(y - sum(y) // 1000)]) * float(unit)
    large = {"adev": 9.965736e-02, "oadev": 9.159953e-02, "mdev": 6.172376e-02, "tdev": 3.563623e-01}
    large |= {"hdev": 1.052754e-01, "ohdev": 9.581083e-02, "totdev": 9.134743e-02, "theo1": 1.075740e-01}
    for name, printed in large.items():
        assert float(rational.root(getattr(rational, name)(x.astype(float), 10))) == pytest.approx(printed, rel=1e-6)


# ---- gaps: the stated rule, held against exact arithmetic

GAPS = {
    "one point": [50],
    "both ends": [0, 1, 2, 88, 89],
    "first and last": [0, 89],
    "scattered": [3, 17, 18, 33, 60, 75],
    "a block": list(range(20, 45)),
    "every fifth": list(range(4, 90, 5)),
}


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("name", [*ROBUST, "totdev", "mtotdev", "ttotdev", "htotdev", "theo1", "pdev"])
def test_with_missing_phases_a_statistic_follows_its_rule(name: str, gap: str) -> None:
    x = record("white FM", 90)
    x[GAPS[gap]] = np.nan
    if name == "totdev" and gap in {"both ends", "first and last", "every fifth"}:
        with pytest.raises(SeriesRejected, match="phase is missing"):
            stability.totdev(x, 1.0)
        return
    asked = [10, 12] if name == "theo1" else [1, 2, 5, 9]
    curve = getattr(stability, name)(x, 1.0, asked, ci=None)
    lost = {each.m for each in curve.skipped}
    for m in asked:
        if m in lost:
            with pytest.raises((ZeroDivisionError, ValueError, TypeError)):
                getattr(rational, name)(x, m)
            continue
        value = curve.value[curve.m.tolist().index(m)]
        assert rational.off(value, getattr(rational, name)(x, m)) <= ORDINARY, m
    assert len(curve) + len(lost) == len(asked)


@pytest.mark.parametrize("name", ROBUST)
def test_a_missing_frequency_parts_the_record(name: str) -> None:
    rng = np.random.default_rng(9)
    y = rng.integers(-(2**20), 2**20, 90) * 2.0**-30  # phases of 2 s each are doubles without rounding
    y[[0, 30, 31, 77]] = np.nan
    pieces = []
    for start, stop in ((1, 30), (32, 77), (78, 90)):
        x = np.full(91, np.nan)
        x[start : stop + 1] = np.concatenate([[0.0], np.cumsum(y[start:stop])]) * 2.0
        pieces.append(x)
    curve = getattr(stability, name)(y, 2.0, [1, 2, 5], data="frequency", ci=None)
    for m, value, terms in zip(curve.m.tolist(), curve.value, curve.n, strict=True):
        sums, counts = [], []
        for x in pieces:
            try:
                squared = getattr(rational, name)(x, m, 2.0)
            except (ZeroDivisionError, ValueError, TypeError):
                continue
            sums.append(squared)
            counts.append(int(getattr(stability, name)(x, 2.0, [m], ci=None).n[0]))
        pooled = max(sums) if name == "mtie" else sum(a * b for a, b in zip(sums, counts, strict=True)) / sum(counts)
        assert name == "mtie" or terms == sum(counts)
        assert rational.off(value, pooled) <= ORDINARY


@pytest.mark.parametrize("name", ROBUST)
def test_a_record_without_any_value_is_refused_and_one_without_a_term_is_skipped(name: str) -> None:
    for data in ("phase", "frequency"):
        with pytest.raises(SeriesRejected, match="missing"):
            getattr(stability, name)(np.full(30, np.nan), 1.0, data=data)
    x = np.full(30, np.nan)
    x[[0, 1, 29]] = 1.0, 2.0, 3.0
    curve = getattr(stability, name)(x, 1.0, [2], ci=None)
    assert len(curve) == (1 if name == "mtie" else 0)
    assert [each.m for each in curve.skipped] == ([] if name == "mtie" else [2])


# ---- properties

EVERYWHERE = tuple(FACTORS)
BLIND_TO_A_LINE = tuple(name for name in FACTORS if name not in {"mtie", "tierms"})
BLIND_TO_DRIFT = ("hdev", "ohdev", "htotdev")
whole_numbers = st.lists(st.integers(-(2**20), 2**20), min_size=24, max_size=40)


def of(name: str, x: np.ndarray, tau0: float = 1.0) -> np.ndarray:
    return getattr(stability, name)(x, tau0, None if name != "theo1" else [10, 12], ci=None).value


def close(found: np.ndarray, expected: np.ndarray, size: float) -> bool:
    return bool(np.all(np.abs(found - expected) <= 1e-12 * expected + 1e-14 * size))


@settings(max_examples=10)
@given(whole_numbers, st.integers(-(2**24), 2**24), st.integers(-(2**16), 2**16), st.integers(-(2**8), 2**8))
def test_a_line_and_a_drift_change_what_theory_says(numbers: list[int], offset: int, rate: int, drift: int) -> None:
    x = np.array(numbers, dtype=np.float64)
    t = np.arange(x.size, dtype=np.float64)
    for name in BLIND_TO_A_LINE:
        assert close(of(name, x + offset + rate * t), of(name, x), 2.0**20), name
    for name in BLIND_TO_DRIFT:
        assert close(of(name, x + drift * t * t), of(name, x), 2.0**20), name
    assert np.array_equal(of("mtie", x + offset), of("mtie", x))
    assert close(of("oadev", drift * t * t), abs(drift) * np.sqrt(2.0) * 2.0 ** np.arange(of("oadev", x).size), 1.0)
    assert close(of("tierms", rate * t), abs(rate) * 2.0 ** np.arange(of("tierms", x).size), 1.0)


@settings(max_examples=10)
@given(whole_numbers, st.integers(-30, 30), st.sampled_from([0.25, 1.0, 8.0]))
def test_units_scale_a_value_to_the_last_bit(numbers: list[int], power: int, tau0: float) -> None:
    x = np.array(numbers, dtype=np.float64)
    for name in EVERYWHERE:
        assert np.array_equal(of(name, x * 2.0**power), of(name, x) * 2.0**power), name
        times = name in {"tdev", "ttotdev", "mtie", "tierms"}
        assert np.array_equal(of(name, x, tau0), of(name, x) / (1.0 if times else tau0)), name


@settings(max_examples=10)
@given(whole_numbers)
def test_time_may_run_backwards(numbers: list[int]) -> None:
    x = np.array(numbers, dtype=np.float64)
    for name in ("oadev", "mdev", "tdev", "ohdev", "totdev", "mtotdev", "ttotdev", "theo1", "mtie", "tierms"):
        assert close(of(name, x[::-1]), of(name, x), 2.0**20), name
        assert close(of(name, -x), of(name, x), 2.0**20), name


@settings(max_examples=10)
@given(whole_numbers)
def test_statistics_meet_where_their_definitions_do(numbers: list[int]) -> None:
    x = np.array(numbers, dtype=np.float64)
    first = {name: of(name, x)[0] for name in FACTORS if name != "theo1"}
    for name in ("oadev", "mdev", "totdev", "pdev"):
        assert first[name] == pytest.approx(first["adev"], rel=1e-14), name
    for name in ("ohdev", "htotdev"):
        assert first[name] == pytest.approx(first["hdev"], rel=1e-14), name
    assert first["mtotdev"] == pytest.approx(first["mdev"] * 0.5**0.5, rel=1e-12)
    mdev, tdev = stability.mdev(x, 3.0, ci=None), stability.tdev(x, 3.0, ci=None)
    assert tdev.value == pytest.approx(mdev.value * mdev.tau_s / 3.0**0.5, rel=1e-15)


sizes = st.floats(-1.0, 1.0).filter(lambda value: value == 0.0 or abs(value) > 1e-100)  # squares of less underflow


@settings(max_examples=10)
@given(st.lists(st.one_of(sizes, st.just(float("nan"))), min_size=3, max_size=20))
def test_any_record_is_exact(values: list[float]) -> None:
    x = np.array(values)
    if not np.any(np.isfinite(x)):
        return
    for name in (*ROBUST, "mtotdev", "htotdev", "pdev"):
        curve = getattr(stability, name)(x, 1.0, [1, 2, 4], ci=None)
        for m, value in zip(curve.m.tolist(), curve.value, strict=True):
            truth = float(rational.root(getattr(rational, name)(x, m)))
            assert abs(value - truth) <= 1e-12 * truth + 1e-15 * np.nanmax(np.abs(x)), (name, m)


# ---- kept vectors

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "stability" / "values.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", VECTORS["records"])
def test_the_kept_vectors_are_met(kind: str) -> None:
    body = VECTORS["records"][kind]
    x = np.array([np.nan if value is None else value for value in body["x_s"]])
    assert set(body["values"]) == set(FACTORS)
    for name, printed in body["values"].items():
        curve = getattr(stability, name)(x, VECTORS["tau0_s"], [int(m) for m in printed], ci=None)
        off = np.abs(curve.value / [float(value) for value in printed.values()] - 1.0)
        assert np.max(off) <= (FAR_AWAY if kind.startswith("1000 s") else ORDINARY), name
