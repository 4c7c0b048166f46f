"""The recent past: bounded, dense near by and sparse far away, and the deviations that are reckoned from it."""

import json
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from tests.laboratory import rigs

from truechimer.daemon.lab_start import Started
from truechimer.daemon.recent.recent import Recent, clock_row, utc_row
from truechimer.daemon.recent.recent_curves import Reckoned, deviations, on_grid, scale_point
from truechimer.daemon.recent.recent_journal import rows_of
from truechimer.daemon.recent.recent_ladder import CLOCK_ROWS, RUNGS, UTC_ROWS, ClockLadder, ClockRow, UtcLadder, UtcRow
from truechimer.instants import builtin_leap_table
from truechimer.store.sqlite_records import SqliteRecords

S = 10**9
EPOCH = 1_780_000_000 * S
NOW = 2**62
NAN = float("nan")


def a_row(
    k: int, x: Sequence[float], weight: Sequence[float], every_s: float = 10.0, out: tuple[int, ...] = ()
) -> ClockRow:
    return ClockRow(EPOCH + round(k * every_s * S), np.array(x), np.array(weight), out)


def white_fm(seed: int, sigma: np.ndarray, n: int, every_s: float) -> np.ndarray:
    """Phases of clocks whose Allan deviation at 1 s is `sigma`, `(n, clocks)`."""
    steps = np.random.default_rng(seed).normal(size=(n, len(sigma))) * sigma * sqrt(every_s)
    return np.cumsum(steps, axis=0)


# ---- ladders --------------------------------------------------------------------------------------------------------


def test_a_ladder_keeps_the_newest_rows_and_the_oldest_ones_in_bounded_memory() -> None:
    ladder, utc = ClockLadder(S), UtcLadder(S)
    for k in range(60_000):
        ladder.add(a_row(k, [0.0], [1.0], every_s=1.0))
        utc.add(UtcRow(EPOCH + k * S, 0.0, 0.0, 1.0, 6.0, None))
    assert all(len(rung) <= CLOCK_ROWS for rung in ladder.rungs)
    rows = ladder.merged(10_000)
    assert (rows[0].epoch_ns - EPOCH) / S < 1024
    assert [row.epoch_ns for row in rows[-CLOCK_ROWS:]] == [
        EPOCH + (60_000 - CLOCK_ROWS + k) * S for k in range(CLOCK_ROWS)
    ]
    seen = utc.merged()
    assert len(seen) <= UTC_ROWS * RUNGS
    assert len(seen) < 2500
    assert all(a.epoch_ns < b.epoch_ns for a, b in pairwise(seen))


def test_an_excursion_of_one_second_is_still_there_after_hours() -> None:
    utc = UtcLadder(S)
    for k in range(30_000):
        x = 5e-9 if k == 1234 else -1e-9
        utc.add(UtcRow(EPOCH + k * S, x, x, 1e-10, 6e-10 if k != 4321 else 9e-10, 7e-10 if k % 2 else None))
    rows = utc.merged()
    assert max(row.high_s for row in rows) == 5e-9
    assert min(row.low_s for row in rows) == -1e-9
    assert max(row.half_s for row in rows) == 9e-10
    assert all(row.bound_s == 7e-10 for row in rows[:50])
    assert rows[0].epoch_ns - EPOCH < 1024 * S
    assert rows[-1].epoch_ns == EPOCH + 29_999 * S


def test_a_row_that_is_not_later_is_left_out() -> None:
    ladder, utc = ClockLadder(S), UtcLadder(S)
    for k in (3, 2, 3, 4):
        ladder.add(a_row(k, [float(k)], [1.0], every_s=1.0))
        utc.add(UtcRow(EPOCH + k * S, 0.0, 0.0, 0.0, 0.0, None))
    assert [row.x_clock_minus_scale_s[0] for row in ladder.rungs[0]] == [3.0, 4.0]
    assert len(utc.rungs[0]) == 2


def test_of_a_clock_that_was_out_the_longest_stretch_without_a_break_counts() -> None:
    ladder = ClockLadder(10 * S)
    for k in range(60):
        out = (1,) if 20 <= k < 24 else ()
        ladder.add(a_row(k, [1.0, NAN if out else 2.0 + 7.0 * (k >= 20)], [0.5, 0.0 if out else 0.5], out=out))
    (rows, *_) = ladder.unbroken()
    phases = np.array([row.x_clock_minus_scale_s for row in rows])
    assert np.isfinite(phases[:, 0]).all()
    assert set(phases[np.isfinite(phases[:, 1]), 1]) == {9.0}
    assert np.isfinite(phases[:, 1]).sum() == 36
    assert list(ladder.breaks[1]) == [EPOCH + 230 * S]


# ---- deviations ----------------------------------------------------------------------------------------------------


def test_the_scale_and_its_clocks_are_found_as_they_are() -> None:
    """Independent white-FM clocks, optimally weighted: the truth is known at every averaging time."""
    sigma = np.array([1.0, 1.1, 1.3, 2.0, 3.0, 4.0]) * 1e-13
    weight = 1.0 / sigma**2 / np.sum(1.0 / sigma**2)
    x = white_fm(7, sigma, 12_000, 10.0)
    scale = x @ weight
    ladder = ClockLadder(10 * S)
    for k in range(len(x)):
        ladder.add(a_row(k, x[k] - scale[k], weight))
    found = deviations(ladder, [f"c{i}" for i in range(6)], range(6))
    assert found is not None
    true_scale = sqrt(float(np.sum((weight * sigma) ** 2)))
    curve = found["scale"]
    checked = 0
    for tau, value, terms in zip(curve["tau_s"], curve["value"], curve["n"], strict=True):
        if terms >= 100:
            assert value == pytest.approx(true_scale / sqrt(tau), rel=0.15)
            checked += 1
    assert checked >= 8
    assert curve["tau_s"] == sorted(curve["tau_s"])
    # a clock against the scale that holds it looks better than it is: the scale's curve takes that out
    first = found["clocks"][0]
    assert first["name"] == "c0"
    assert first["value"][0] * sqrt(10.0) == pytest.approx(sigma[0] * sqrt(1.0 - weight[0]), rel=0.15)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    sigma = np.full(5, 2e-13)
    weight = np.full(5, 0.2)
    inside = total = 0
    for seed in range(12):
        x = white_fm(seed, sigma, 400, 60.0)
        ladder = ClockLadder(60 * S)
        for k in range(len(x)):
            ladder.add(a_row(k, x[k] - x[k] @ weight, weight, every_s=60.0))
        found = deviations(ladder, list("abcde"), range(5))
        assert found is not None
        curve = found["scale"]
        for tau, lower, upper in zip(*(curve[key][:5] for key in ("tau_s", "lower", "upper")), strict=True):
            total += 1
            inside += lower <= 2e-13 * sqrt(0.2) / sqrt(tau) <= upper
    assert 0.5 <= inside / total <= 0.95


@pytest.mark.parametrize("jitter", [0.0, 0.04])
def test_a_history_of_another_spacing_than_the_present_has_its_own_averaging_times(jitter: float) -> None:
    draw = np.random.default_rng(2)
    weight = np.full(4, 0.25)
    ladder = ClockLadder(10 * S)
    x = white_fm(3, np.full(4, 1e-13), 1500, 600.0)
    epoch = 0.0
    for k in range(1500):
        epoch += 600.0
        ladder.add(a_row(1, x[k] - x[k] @ weight, weight, every_s=epoch + jitter * draw.uniform(-1, 1) * 10.0))
    near = white_fm(4, np.full(4, 1e-13), 40, 10.0)
    for k in range(40):
        epoch += 10.0
        ladder.add(a_row(1, x[-1] + near[k] - (x[-1] + near[k]) @ weight, weight, every_s=epoch))
    found = deviations(ladder, list("abcd"), range(4))
    assert found is not None
    for clock in found["clocks"]:
        assert clock["tau_s"][0] == pytest.approx(600.0, rel=0.01)
        for tau, value, terms in zip(clock["tau_s"], clock["value"], clock["n"], strict=True):
            if terms > 60:
                assert value * sqrt(tau) == pytest.approx(1e-13 * sqrt(0.75), rel=0.35)


def test_a_clock_far_off_in_rate_keeps_its_deviation_though_epochs_wander() -> None:
    """A rate of 1e-6 and epochs 2 s beside the grid are 2 us of phase, which must not be taken for noise."""
    draw = np.random.default_rng(5)
    x = white_fm(5, np.array([1e-12]), 300, 10.0)[:, 0]
    ladder = ClockLadder(10 * S)
    for k in range(300):
        at = 10.0 * k + draw.uniform(-2.0, 2.0)
        ladder.add(ClockRow(EPOCH + round(at * S), np.array([x[k] + 1e-6 * at]), np.array([0.0])))
    found = deviations(ladder, ["wild"], [0])
    assert found is not None
    assert "scale" not in found
    assert found["clocks"][0]["value"][0] * sqrt(10.0) == pytest.approx(1e-12, rel=0.2)


def test_too_few_rows_or_clocks_have_no_curve_and_no_figure() -> None:
    ladder = ClockLadder(10 * S)
    assert deviations(ladder, ["a"], [0]) is None
    for k in range(5):
        ladder.add(a_row(k, [1e-9 * k * k], [1.0]))
    assert deviations(ladder, ["a"], [0]) is None
    assert on_grid([], 1) is None
    for k in range(5, 40):
        ladder.add(a_row(k, [NAN], [1.0]))
    assert deviations(ladder, ["a"], [0]) is None
    ladder = ClockLadder(10 * S)
    for k in range(40):
        ladder.add(a_row(k, [0.0], [1.0]))  # the scale itself: nothing to compare
    assert deviations(ladder, ["a"], [0]) is None


@pytest.mark.parametrize(
    "weight",
    [[0.5, 0.5, 0.0], [0.45, 0.35, 0.2], [0.0, 0.0, 0.0], [0.3, 0.3, 0.0]],
    ids=["two", "heavy", "none", "part"],
)
def test_where_the_scales_own_noise_cannot_be_told_apart_no_curve_of_it_is_drawn(weight: list[float]) -> None:
    points = {i: Reckoned(10.0, 1e-13, 0.9e-13, 1.1e-13, 50) for i in range(3)}
    assert scale_point(points, np.array(weight)) is None


def test_clocks_beyond_the_most_are_left_out_and_counted() -> None:
    n = 60
    x = white_fm(1, np.full(n, 1e-13), 40, 10.0)
    weight = np.linspace(1.0, 2.0, n) / np.linspace(1.0, 2.0, n).sum()
    ladder = ClockLadder(10 * S)
    for k in range(40):
        ladder.add(a_row(k, x[k] - x[k] @ weight, weight))
    found = deviations(ladder, [f"c{i}" for i in range(n)], range(n))
    assert found is not None
    assert len(found["clocks"]) == 48
    assert found["clocks_left_out"] == 12
    assert found["clocks"][0]["name"] == "c59"


# ---- a laboratory ---------------------------------------------------------------------------------------------------


def started(rig: rigs.Rig, path: Path | None = None) -> Started:
    """Return what `Recent` reads of a run."""
    store = SimpleNamespace(path=path)
    found = SimpleNamespace(state=rig.state, config=rig.config, resumed=path is not None, store=store)
    return cast("Started", found)


def on_disk(rig: rigs.Rig, path: Path) -> Path:
    store = SqliteRecords(path)
    store.append(enumerate(rig.log))
    store.close()
    return path


def the_history(recent: Recent, *, complete: bool = True) -> dict[str, Any]:
    """Return the document when its deviations are reckoned and its past is read."""
    for _ in range(500):
        found = recent.document(builtin_leap_table(), until_ns=NOW)
        if not complete or ("deviations" in found and "reading_the_past" not in found):
            return found
        recent.wait(0.1)
    raise AssertionError(found)


def test_a_laboratorys_history_is_what_its_epochs_said() -> None:
    rig, recent = rigs.steered(), Recent()
    said = []
    for _ in range(40):
        rig.live(1)
        recent.take(started(rig), rig.last)
        row = utc_row(rig.state, rig.last)
        assert row is not None
        said.append(row)
    found = the_history(recent)
    json.dumps(found, allow_nan=False)
    utc = found["utc"]
    assert utc["age_s"] == [round((said[-1].epoch_ns - row.epoch_ns) / S, 1) for row in said]
    assert utc["low_s"] == pytest.approx([row.low_s for row in said], rel=1e-4)
    assert utc["high_s"] == utc["low_s"]
    assert utc["half_s"] == pytest.approx([row.half_s for row in said], rel=1e-4)
    assert utc["bound_s"][-1] == pytest.approx(rig.last.bound.scale_bound_s, rel=1e-4)
    # what is plotted and what is stated are one: the band around UTC - UTC(k) is inside the bound around zero
    assert all(
        abs(x) + half <= bound * 1.001
        for x, half, bound in zip(utc["low_s"], utc["half_s"], utc["bound_s"], strict=True)
    )
    names = [clock.name for clock in rig.state.register.clocks if clock.name != "host"]
    assert found["weights"]["clocks"] == names
    assert [column[-1] for column in found["weights"]["weight"]] == pytest.approx(
        rig.last.step.weight[: len(names)], abs=1e-4
    )
    assert {clock["name"] for clock in found["deviations"]["clocks"]} <= set(names)
    assert "T" in found["as_of"]
    assert 50_000 < found["as_of_mjd_tai"] < 80_000


def test_after_a_restart_the_past_is_read_from_the_records(tmp_path: Path) -> None:
    rig = rigs.steered().live(30)
    taken = [row for one in rig.seen for row in (clock_row(one.out),) if row is not None]
    path = on_disk(rig, tmp_path / "records.sqlite3")
    rows = list(rows_of(path, rig.state, rest_s=0.0))
    clocks = [row for row in rows if isinstance(row, ClockRow)]
    assert len(clocks) > len(taken) >= 25
    for again, row in zip(clocks[-len(taken) :], taken, strict=True):
        assert again.epoch_ns == row.epoch_ns
        assert again.out == row.out
        np.testing.assert_array_equal(again.weight, row.weight)
        np.testing.assert_array_equal(again.x_clock_minus_scale_s, row.x_clock_minus_scale_s)
    served = [row for row in rows if isinstance(row, UtcRow)]
    last = utc_row(rig.state, rig.last)
    assert last is not None
    assert served[-1].low_s == pytest.approx(last.low_s, abs=1e-13)
    assert served[-1].half_s == pytest.approx(last.half_s, rel=1e-6)
    assert served[-1].bound_s == pytest.approx(last.bound_s, rel=1e-6)


def test_a_restarted_laboratory_joins_its_past_and_its_present(tmp_path: Path) -> None:
    rig = rigs.steered().live(10)
    path = on_disk(rig, tmp_path / "records.sqlite3")
    recent = Recent()
    rig.seen.clear()
    for _ in range(10):
        rig.live(1)
        recent.take(started(rig, path), rig.last)
    found = the_history(recent)
    ages = found["utc"]["age_s"]
    assert len(ages) >= 20
    assert ages == sorted(ages, reverse=True)
    assert len(set(ages)) == len(ages)
    assert max(found["weights"]["age_s"]) > 86_400.0
    assert "reading_the_past" not in found


@pytest.mark.parametrize(
    "spoil", [b"{", b'{"kind":"scale-step"}', b'{"kind":"served-time","anchor_tai_fs":[]}', b"\xff" * 50]
)
def test_records_that_are_none_leave_gaps_and_nothing_else(tmp_path: Path, spoil: bytes) -> None:
    rig = rigs.steered().live(5)
    path = tmp_path / "records.sqlite3"
    store = SqliteRecords(path)
    store.append((seq, spoil if seq % 7 == 3 else data) for seq, data in enumerate(rig.log))
    store.close()
    assert len(list(rows_of(path, rig.state, rest_s=0.0))) > 100


def test_a_fault_of_the_plots_does_not_reach_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    rig, recent = rigs.steered().live(1), Recent()
    for _ in range(3):
        recent.take(cast("Started", SimpleNamespace(resumed=False)), rig.last)
    assert capsys.readouterr().err.count("Traceback") == 1
    assert recent.document(builtin_leap_table(), until_ns=NOW) == {}
