"""Many epochs in one call: the same bits as one after another, whatever happens in them."""

from itertools import pairwise

import numpy as np
import pytest

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.register import Register
from truechimer.compare import cleaning, pivot, stretch
from truechimer.compare.cleaning import Because, LinkHistory
from truechimer.compare.reading import EpochReadings
from truechimer.formats.reading_columns import ReadingColumns, of_rows
from truechimer.formats.readings_csv import ReadingRow
from truechimer.scale.engines import engine
from truechimer.scale.record import sort_out

START_NS = 1_700_000_000 * 10**9
HOUR_NS = 3_600 * 10**9
NAMES = ("m0", "m1", "m2", "c0", "c1", "c2", "c3")


def clocks() -> tuple[Clock, ...]:
    return tuple(
        Clock(name=name, kind=ClockKind.MASER if name.startswith("m") else ClockKind.CAESIUM) for name in NAMES
    )


def disturbed(epochs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clocks and a reference minus the first clock: a step, a change of rate, a glitch, gaps, a clock that leaves."""
    rng = np.random.default_rng(seed)
    white = np.where([name.startswith("m") for name in NAMES], 8e-14, 5e-12) * 60.0
    x = np.cumsum(rng.normal(size=(epochs, len(NAMES))) * white, axis=0) + rng.normal(size=len(NAMES)) * 1e-7
    hours = np.arange(epochs)
    x[:, 1] += np.where(hours >= 300, 3e-8, 0.0)
    x[:, 2] += np.where(hours >= 350, (hours - 350) * 3_600 * 1e-12, 0.0)
    x[310, 4] += 1e-6
    against = np.column_stack((x - x[:, [0]], -x[:, 0]))
    against[hours % 24 != 0, -1] = np.nan
    against[rng.random(against.shape) < 0.03] = np.nan
    against[:, 0] = 0.0
    against[200:230, 3] = np.nan
    against[260] = np.nan
    return against, np.where(np.isfinite(against), 1e-22, np.nan)


@pytest.mark.parametrize("algorithm", ["at1", "bands", "kalman"])
def test_many_epochs_in_one_call_give_the_bits_of_one_after_another(algorithm: str) -> None:
    x, u2 = disturbed(430, 3)
    epoch_ns = START_NS + np.arange(430) * HOUR_NS
    epoch_ns[400:] += 7 * HOUR_NS
    due = np.ones(430, bool)
    due[100:140:3] = False
    one = engine(algorithm, clocks(), interval_s=3_600.0, references=1)
    steps = [one.step(int(at), x[k], u2[k], due=bool(due[k])) for k, at in enumerate(epoch_ns)]
    many = engine(algorithm, clocks(), interval_s=3_600.0, references=1)
    places = [0, 1, 2, 90, 301, 302, 430]
    out = [many.run(epoch_ns[a:b], x[a:b], u2[a:b], due[a:b]) for a, b in pairwise(places)]
    for name in ("x_clock_minus_scale_s", "weight", "membership", "divided"):
        apart = np.array([getattr(step, name) for step in steps])
        assert np.array_equal(np.concatenate([getattr(each, name) for each in out]), apart, equal_nan=True), name
    assert (np.array([step.membership for step in steps])[310:, 1:3] != 2).any(), "nothing was excluded"
    assert np.array_equal(one.rates(), many.rates(), equal_nan=True)


def test_a_stretch_is_what_cleaning_and_pivot_make_of_each_epoch() -> None:
    names = ("a", "b", "c", "d")
    register = Register(tuple(Clock(name=n, kind=ClockKind.CAESIUM) for n in names), (), ()).with_links(
        [("a", "b"), ("c", "b"), ("c", "d"), ("UTC.x", "b"), ("a", "c")]
    )
    rng = np.random.default_rng(2)
    x = np.cumsum(rng.normal(size=(300, 5)), axis=0) * 1e-9
    u = np.full(x.shape, 1e-11)
    x[rng.random(x.shape) < 0.4] = np.nan
    x[100:140, 2] = 5e-9
    x[150, 0], u[151, 1] = 1e20, 1e9
    epoch_ns = START_NS + np.arange(300) * HOUR_NS
    history = LinkHistory.empty(5)
    parts = []
    for a, b in ((0, 1), (1, 120), (120, 300)):
        part, history = stretch.against_pivot(
            epoch_ns[a:b], x[a:b], u[a:b], history, register, preferred=1, several=True
        )
        parts.append(part)
    value, u2, why = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("x_node_minus_pivot_s", "u2_s2", "why")
    )
    past, none = LinkHistory.empty(5), np.zeros(5)
    counted = set()
    for k in range(300):
        readings = EpochReadings(int(epoch_ns[k]), x[k], u[k], none, none)
        marks, past = cleaning.classify(readings, past)
        found = pivot.against_pivot(readings, marks, register, preferred=1)
        wanted = np.full(5, np.nan) if found.alone else found.x_node_minus_pivot_s
        assert np.array_equal(value[k], wanted, equal_nan=True)
        assert np.array_equal(u2[k], found.u2_s2)
        for i in range(4):
            at = (register.link_a == i) | (register.link_b == i)
            came = (np.isfinite(x[k]) & (marks.quality != cleaning.Quality.GAP) & at).any()
            expected = stretch.NO_PATH if came else stretch.NO_READING
            expected = stretch.FROZEN if (marks.because[at] == Because.FROZEN).any() else expected
            assert why[k, i] == (stretch.READ if np.isfinite(wanted[i]) else expected)
            counted.add(int(why[k, i]))
    assert counted == {stretch.READ, stretch.NO_READING, stretch.FROZEN, stretch.NO_PATH}
    assert all(np.array_equal(one, other) for one, other in zip(history.arrays(), past.arrays(), strict=True))


def test_a_record_puts_aside_what_cannot_be_used_and_lays_the_rest_by_epoch_and_link() -> None:
    rows = [
        ReadingRow(2, START_NS, "m1", "m0", 1e-9, 1e-11),
        ReadingRow(3, START_NS, "m0", "m1", -1e-9, 1e-11),
        ReadingRow(4, START_NS, "m2", "m2", 1e-9, 1e-11),
        ReadingRow(5, START_NS + 1, "m1", "m0", float("nan"), 1e-11),
        ReadingRow(6, START_NS + 1, "m0", "m1", -2e-9, 1e-11),
        ReadingRow(7, START_NS + 1, "x", "m1", 1e-9, 1e-11),
        ReadingRow(8, START_NS, "m1", "m0", 1e-9, 1e-11),
        ReadingRow(9, START_NS + 1, "UTC", "m0", 3e-9, -1e-11),
        ReadingRow(10, START_NS + 1, "UTC", "m0", 3e-9, 0.0),
    ]
    record = sort_out(of_rows(rows), clocks())
    assert [(finding.line, finding.rule) for finding in record.rejected] == [
        (3, "duplicate"),
        (4, "same-clock"),
        (5, "not-finite"),
        (7, "unknown-clock"),
        (8, "out-of-order"),
        (9, "not-finite"),
    ]
    assert "'x'" in record.rejected[3].says
    x, u = record.stretch(0, 2)
    assert [record.register.link_name(j) for j in range(2)] == ["m1-m0", "UTC-m0"]
    assert x[:, 0].tolist() == [1e-9, 2e-9]
    assert np.isnan(x[0, 1])
    assert x[1, 1] == 3e-9
    assert u.tolist() == [[1e-11, 0.0], [1e-11, 0.0]]


def test_columns_are_rows_and_rows_are_columns() -> None:
    rows = [ReadingRow(2, 5, "a", "b", 1.0, 2.0), ReadingRow(9, 7, "b", "a", -1.5, 0.0)]
    columns = of_rows(rows)
    assert isinstance(columns, ReadingColumns)
    assert len(columns) == 2
    assert list(columns) == rows
    assert columns.pairs == (("a", "b"), ("b", "a"))
