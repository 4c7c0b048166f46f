"""Late values: the filter against the exact posterior of a Gaussian process, which knows no order of arrival."""

from dataclasses import replace
from math import exp, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truechimer.errors import Misuse
from truechimer.steer import delayed_data, delayed_filter, late_smoothing
from truechimer.steer.delayed_data import DelayedData, Fate, LateValue
from truechimer.steer.delayed_filter import DAY_S, FLICKER_S, FLICKER_WEIGHT2, FreeNoise, Path, PathKind

DAY_NS = 86_400 * 10**9
PATHS = (
    Path(name="UTCr", u_common=1e-9),
    Path(name="Circular T", u_common=0.5e-9, common_s=200.0 * DAY_S),
    Path(name="fountain", kind=PathKind.RATE, u_common=2e-16),
)
NOISE = FreeNoise(q1=1e-26, q2=2e-35, floor2=3e-31, q3=2e-50, y_spread=1e-13, drift_spread=3e-16 / DAY_S)


def _values(seed: int) -> list[LateValue]:
    """Values of forty days: the first is a phase, so that every order of the others is lawful."""
    rng = np.random.default_rng(seed)
    daily = [LateValue(path=0, epoch_ns=d * DAY_NS, value=rng.normal() * 3e-9, u=5e-10) for d in range(40)]
    five = [LateValue(path=1, epoch_ns=d * DAY_NS, value=rng.normal() * 3e-9, u=3e-10) for d in range(5, 40, 5)]
    rates = [
        LateValue(path=2, epoch_ns=d * DAY_NS + DAY_NS // 3, value=rng.normal() * 1e-14, u=8e-16, span_s=DAY_S)
        for d in range(3, 40)
        if d % 7
    ]
    return daily + five + rates


def _covariance(s: float, t: float) -> float:
    """Covariance of UTC minus the scale at s and t seconds after the first value, but for its phase there."""
    a, b = min(s, t), max(s, t)
    total = (NOISE.q1 + delayed_filter.FASTER_S * NOISE.floor2) * a + NOISE.q2 * a * a * (3 * b - a) / 6.0
    total += NOISE.q3 * a**3 * (10 * b * b - 5 * a * b + a * a) / 120.0
    total += NOISE.y_spread**2 * a * b + NOISE.drift_spread**2 * a * a * b * b / 4.0
    for tau in FLICKER_S:
        wandered = 2 * a / tau - 1 + exp(-a / tau) + exp(-b / tau) - exp(-(b - a) / tau)
        total += FLICKER_WEIGHT2 * NOISE.floor2 * tau * tau * wandered
    return total


def _exact(values: list[LateValue], epoch_ns: int) -> tuple[float, float]:
    """Mean and sigma of UTC minus the scale at an epoch, given all values: linear algebra, no filter.

    Unknowns are linear functionals of the course: each is a list of (weight, time) and (weight, path).
    """
    first_ns = values[0].epoch_ns
    rows = []
    for v in values:
        t = (v.epoch_ns - first_ns) / 1e9
        of_path = PATHS[v.path].kind is PathKind.RATE
        rows.append(([(1.0, t), (-1.0, t - v.span_s)] if of_path else [(1.0, t)], (v.span_s if of_path else 1.0, v)))
    wanted = [(1.0, (epoch_ns - first_ns) / 1e9)]

    def of(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> float:
        whole = sum(w for w, _ in one) * sum(w for w, _ in other) * LARGE_S2
        return whole + sum(w * v * _covariance(s, t) for w, s in one for v, t in other)

    n = len(rows)
    k = np.empty((n, n))
    for i, (one, (reach, v)) in enumerate(rows):
        for j, (other, (reach2, v2)) in enumerate(rows):
            k[i, j] = of(one, other)
            if v.path == v2.path:
                path = PATHS[v.path]
                apart = abs(v.epoch_ns - v2.epoch_ns) / 1e9
                kept = exp(-apart / path.common_s) if path.common_s else 1.0
                k[i, j] += reach * reach2 * path.u_common**2 * kept
        k[i, i] += (reach * v.u) ** 2
    to = np.array([of(wanted, one) for one, _ in rows])
    said = np.array([v.value * reach for _, (reach, v) in rows])
    solved = np.linalg.solve(k, np.column_stack([said, to]))
    return float(to @ solved[:, 0]), sqrt(of(wanted, wanted) - float(to @ solved[:, 1]))


LARGE_S2 = 1e-12
"""Variance of the phase at the first value, before it: a microsecond, where the filter has none."""


def _taken(values: list[LateValue], **options: float) -> DelayedData:
    history, fates = delayed_data.take(delayed_data.begin(NOISE, PATHS, **options), tuple(values))
    assert set(fates) == {Fate.TAKEN}
    return history


@pytest.mark.parametrize("after_days", [0, 3, 30])
def test_the_forecast_is_the_exact_posterior_of_all_values(after_days: int) -> None:
    values = _values(1)
    epoch_ns = 40 * DAY_NS + after_days * DAY_NS
    found = delayed_data.ahead(_taken(values), epoch_ns)
    x_s, u_s = _exact(values, epoch_ns)
    assert found is not None
    assert found.x_s == pytest.approx(x_s, abs=1e-3 * u_s)
    assert found.u_x_s == pytest.approx(u_s, rel=1e-3)


@settings(max_examples=8)
@given(st.randoms(use_true_random=False), st.integers(1, 7))
def test_any_order_of_arrival_gives_the_same_bits(order: object, batch: int) -> None:
    values = _values(2)[:60]
    expected = delayed_data.ahead(_taken(values), 50 * DAY_NS)
    rest = values[1:]
    order.shuffle(rest)  # type: ignore[attr-defined]
    history = _taken(values[:1])
    for i in range(0, len(rest), batch):
        history, _ = delayed_data.take(history, tuple(rest[i : i + batch]))
    assert delayed_data.ahead(history, 50 * DAY_NS) == expected


def test_a_value_counts_from_its_own_epoch_on_and_not_before() -> None:
    values = _values(3)[:40]
    late = values.pop(20)
    before = _taken(values)
    after, _ = delayed_data.take(before, (late,))
    assert delayed_data.ahead(after, 19 * DAY_NS) == delayed_data.ahead(before, 19 * DAY_NS)
    assert delayed_data.ahead(after, 45 * DAY_NS) != delayed_data.ahead(before, 45 * DAY_NS)


def test_a_second_value_of_an_epoch_replaces_the_first() -> None:
    values = _values(4)[:40]
    wrong = [replace(v, value=v.value + 2e-8) if k == 12 else v for k, v in enumerate(values)]
    history, fates = delayed_data.take(_taken(wrong), (values[12],))
    assert fates == (Fate.REVISED,)
    assert delayed_data.ahead(history, 45 * DAY_NS) == delayed_data.ahead(_taken(values), 45 * DAY_NS)


def test_a_held_value_counts_for_nothing_and_is_not_lost() -> None:
    values = _values(5)[:40]
    history = _taken(values)
    silent = delayed_data.held(history, frozenset({(0, 12 * DAY_NS)}))
    found, expected = (delayed_data.ahead(each, 45 * DAY_NS) for each in (silent, _taken(values[:12] + values[13:])))
    assert found is not None
    assert expected is not None
    assert (found.x_s, found.u_x_s) == pytest.approx((expected.x_s, expected.u_x_s), rel=1e-9)
    again = delayed_data.held(silent, frozenset())
    assert delayed_data.ahead(again, 45 * DAY_NS) == delayed_data.ahead(history, 45 * DAY_NS)


def test_without_a_path_the_others_speak_alone() -> None:
    values = _values(6)
    alone = [v for v in values if v.path != 1]
    found = delayed_data.ahead(delayed_data.without(_taken(values), 1), 45 * DAY_NS)
    expected = delayed_data.ahead(_taken(alone), 45 * DAY_NS)
    assert found is not None
    assert expected is not None
    assert found.x_s == pytest.approx(expected.x_s, rel=1e-9, abs=1e-18)
    assert found.u_x_s == pytest.approx(expected.u_x_s, rel=1e-9)


def test_values_of_one_path_never_average_below_what_they_have_in_common() -> None:
    quiet = FreeNoise(q1=1e-30, q2=1e-40, y_spread=1e-17)
    many = tuple(LateValue(path=0, epoch_ns=d * DAY_NS, value=0.0, u=1e-10) for d in range(100))
    history, _ = delayed_data.take(delayed_data.begin(quiet, PATHS), many)
    found = delayed_data.ahead(history, 100 * DAY_NS)
    assert found is not None
    assert 1e-9 <= found.u_x_s < 1.01e-9


def test_the_memory_is_bounded_and_older_values_are_refused_with_a_reason() -> None:
    values = _values(7)[:40]
    history = _taken(values[:20] + values[21:], memory_s=10.0 * DAY_S)
    assert len(history.marks) <= 11
    unbounded = delayed_data.ahead(_taken(values[:20] + values[21:]), 45 * DAY_NS)
    assert delayed_data.ahead(history, 45 * DAY_NS) == unbounded
    after, fates = delayed_data.take(history, (values[20],))
    assert fates == (Fate.TOO_OLD,)
    assert after.marks == history.marks


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(broken: float) -> None:
    history = _taken(_values(8)[:5])
    for value in (
        LateValue(path=0, epoch_ns=9 * DAY_NS, value=broken, u=1e-9),
        LateValue(path=0, epoch_ns=9 * DAY_NS, value=0.0, u=broken),
        LateValue(path=0, epoch_ns=9 * DAY_NS, value=0.0, u=0.0),
        LateValue(path=2, epoch_ns=9 * DAY_NS, value=0.0, u=1e-15, span_s=0.0),
    ):
        after, fates = delayed_data.take(history, (value,))
        assert fates == (Fate.NO_NUMBER,)
        assert after.marks == history.marks


def test_a_rate_needs_a_phase_and_an_interval_of_its_own() -> None:
    rate = LateValue(path=2, epoch_ns=4 * DAY_NS, value=0.0, u=1e-15, span_s=DAY_S)
    assert delayed_data.take(delayed_data.begin(NOISE, PATHS), (rate,))[1] == (Fate.NO_PHASE_YET,)
    history, fates = delayed_data.take(_taken(_values(9)[:3]), (rate, replace(rate, epoch_ns=rate.epoch_ns + 1)))
    assert fates == (Fate.TAKEN, Fate.OVERLAPS)
    assert delayed_data.ahead(history, 5 * DAY_NS) is not None


def test_a_history_that_begins_with_held_values_begins_with_the_first_that_counts() -> None:
    first, second = _values(10)[:2]
    rate = LateValue(path=2, epoch_ns=DAY_NS, value=1e-12, u=1e-15, span_s=DAY_S / 2)
    history, fates = delayed_data.take(delayed_data.begin(NOISE, PATHS), (replace(first, held=True), rate, second))
    assert fates == (Fate.TAKEN,) * 3
    found = delayed_data.ahead(history, DAY_NS)
    assert found is not None
    assert found.x_s == second.value
    assert delayed_data.ahead(history, 0) is None


def test_paths_are_named_once_and_known() -> None:
    with pytest.raises(Misuse):
        delayed_data.begin(NOISE, (PATHS[0], PATHS[0]))
    with pytest.raises(Misuse):
        delayed_data.take(delayed_data.begin(NOISE, PATHS), (LateValue(path=3, epoch_ns=0, value=0.0, u=1.0),))


@given(st.floats(0.0, 60.0))
def test_the_decay_is_the_exponential(h: float) -> None:
    assert delayed_filter.decay(h) == pytest.approx(exp(-h), rel=1e-12)


def test_in_hindsight_a_past_epoch_is_the_exact_posterior_of_all_values() -> None:
    values = _values(11)
    epochs = (*(d * DAY_NS + DAY_NS // 5 for d in (0, 3, 17, 38, 44)), 7 * DAY_NS)
    found = late_smoothing.smoothed(_taken(values), epochs)
    for epoch_ns, each in zip(epochs, found, strict=True):
        x_s, u_s = _exact(values, epoch_ns)
        assert each is not None
        assert each.x_s == pytest.approx(x_s, abs=1e-3 * u_s)
        assert each.u_x_s == pytest.approx(u_s, rel=1e-3)


def test_hindsight_begins_with_the_first_value_and_ends_in_the_forecast() -> None:
    history = _taken(_values(12))
    before, last = late_smoothing.smoothed(history, (-DAY_NS, 60 * DAY_NS))
    assert before is None
    assert last == delayed_data.ahead(history, 60 * DAY_NS)
    assert late_smoothing.smoothed(delayed_data.begin(NOISE, PATHS), (0,)) == (None,)
