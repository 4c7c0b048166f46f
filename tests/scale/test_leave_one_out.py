"""Leave-one-out: stated sigmas cover what comes, nothing later is heard, and what cannot be predicted is said."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.compare.clock_network import made

from truechimer.cli import scale_prediction, scale_verb
from truechimer.clocks.clock import Clock, ClockKind
from truechimer.errors import Rejected
from truechimer.formats import rinex_clock
from truechimer.formats.reading_columns import ReadingColumns
from truechimer.scale.leave_one_out import LeaveOneOut, LeaveOneOutRejected, Predictions, leave_one_out

HOUR_S, DAY_S = 3_600.0, 86_400.0
START_NS = 1_700_000_000 * 10**9
KINDS = [ClockKind.MASER] * 3 + [ClockKind.CAESIUM] * 2 + [ClockKind.RUBIDIUM] * 2
WHITE = [1.5e-13, 1e-13, 2e-13, 8e-12, 5e-12, 3e-12, 6e-12]
WALK = [5e-19, 1e-18, 3e-19, 1e-18, 1e-18, 2e-16, 1e-16]
CLOCKS = tuple(Clock(name=f"c{i}", kind=kind) for i, kind in enumerate(KINDS))


def record(*, days: float = 40.0, seed: int = 1, u_s: float = 2e-11, n: int = 7) -> ReadingColumns:
    """Hourly readings of clocks of hidden levels, against the first."""
    generator = np.random.default_rng(seed)
    epochs = int(days * 24)
    level = generator.uniform(0.7, 1.4, size=n)
    walk = np.cumsum(generator.normal(size=(epochs, n)) * np.array(WALK[:n]) * level * np.sqrt(3.0 * HOUR_S), axis=0)
    steps = (walk + 1e-13 * generator.normal(size=n)) * HOUR_S
    steps += generator.normal(size=(epochs, n)) * np.array(WHITE[:n]) * level * np.sqrt(HOUR_S)
    x = np.cumsum(steps, axis=0)
    read = x + generator.normal(size=x.shape) * u_s
    rows = epochs * (n - 1)
    return ReadingColumns(
        np.arange(rows),
        np.repeat(START_NS + np.arange(epochs) * 3_600 * 10**9, n - 1),
        np.tile(np.arange(n - 1, dtype=np.int32), epochs),
        (read[:, 1:] - read[:, :1]).ravel(),
        np.full(rows, u_s * np.sqrt(2.0)),
        tuple((f"c{i}", "c0") for i in range(1, n)),
    )


@pytest.mark.slow
def test_the_stated_sigma_covers_two_thirds_over_hours_and_days() -> None:
    told = leave_one_out(record(), CLOCKS, horizons_s=[HOUR_S, 6.0 * HOUR_S, DAY_S])
    assert told.groups == len(CLOCKS)
    for each in told.horizons:
        assert len(each.clock) > 7 * 150
        assert 0.60 <= each.coverage() <= 0.76
        # and it is a sigma of this clock, not a wide one for all
        of = [float(np.median(each.u_s[each.clock == i])) for i in range(7)]
        assert max(of[:3]) < 0.3 * min(of[3:])


@pytest.mark.slow
def test_nothing_later_is_heard() -> None:
    columns = record(days=16.0)
    plain = leave_one_out(columns, CLOCKS, horizons_s=[6.0 * HOUR_S])
    late_ns = START_NS + 13 * 86_400 * 10**9
    moved = columns.x_a_minus_b_s + np.where(
        (columns.epoch_tai_ns >= late_ns) & (columns.pair == 4), (columns.epoch_tai_ns - late_ns) * 1e-9 * 1e-11, 0.0
    )
    changed = leave_one_out(replace(columns, x_a_minus_b_s=moved), CLOCKS, horizons_s=[6.0 * HOUR_S])
    for i in range(7):
        before = []
        for each in (plain.horizons[0], changed.horizons[0]):
            use = (each.clock == i) & (each.epoch_tai_ns + 6 * 3_600 * 10**9 < late_ns)
            before.append(np.stack([each.error_s[use], each.u_s[use]]))
        assert before[0].shape[1] > 50
        assert np.array_equal(before[0], before[1])


@pytest.mark.slow
def test_a_clock_that_was_out_is_set_aside_and_counted() -> None:
    columns = record(days=10.0, seed=2)
    step_ns = START_NS + 7 * 86_400 * 10**9
    moved = columns.x_a_minus_b_s + np.where((columns.epoch_tai_ns >= step_ns) & (columns.pair == 1), 1e-6, 0.0)
    told = leave_one_out(replace(columns, x_a_minus_b_s=moved), CLOCKS, horizons_s=[6.0 * HOUR_S])
    each = told.horizons[0]
    assert each.unsettled[2] > 0
    assert np.abs(each.error_s[each.clock == 2]).max() < 1e-8


def test_a_horizon_without_room_has_no_predictions_and_few_clocks_are_refused() -> None:
    told = leave_one_out(record(days=4.0), CLOCKS, horizons_s=[HOUR_S, 30.0 * DAY_S])
    assert len(told.horizons[1].clock) == 0
    assert np.isnan(told.horizons[1].coverage())
    assert any("no room" in line for line in scale_prediction.lines(told))
    with pytest.raises(LeaveOneOutRejected):
        leave_one_out(record(n=2), (CLOCKS[0], replace(CLOCKS[1], kind=ClockKind.LINK)), horizons_s=[HOUR_S])


def test_a_wrong_sigma_is_said_to_be_wrong() -> None:
    error = np.random.default_rng(3).normal(size=4_000)
    for factor, word in ((1.0, ", as it should be"), (0.5, "NOT as it should be"), (2.0, "NOT as it should be")):
        u = np.full(4_000, factor)
        each = Predictions(
            HOUR_S, np.zeros(4_000, np.int64), np.arange(4_000), error, u, u, unsettled=np.zeros(7, np.int64)
        )
        assert word in scale_prediction.lines(LeaveOneOut(CLOCKS, 7, 0, (each,)))[1]


def test_the_verb_tells_it_in_words_and_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for name, value in made([1e-13] * 4 + [3e-12] * 2, days=3, seed=31).files:
        (tmp_path / name).write_bytes(rinex_clock.write(value))
        files.append(str(tmp_path / name))
    assert scale_verb.main(["replay", *files, "--leave-one-out", "--horizon", "1h,2h", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["leave_one_out"]
    assert [each["horizon_s"] for each in told["horizons"]] == [3_600.0, 7_200.0]
    assert all(0.5 < each["coverage"] < 0.9 for each in told["horizons"])
    assert [each["name"] for each in told["horizons"][0]["clocks"]] == [f"N00{k}" for k in range(6)]
    assert scale_verb.main(["replay", *files, "--leave-one-out"]) == 0
    assert "within the stated sigma" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--horizon", "1h"], ["--leave-one-out", "--horizon", "soon"]])
def test_wrong_words_are_wrong_use(words: list[str], tmp_path: Path) -> None:
    source = tmp_path / "r.csv"
    source.write_text("epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n", encoding="utf-8")
    with pytest.raises((Rejected, SystemExit)):
        scale_verb.main(["replay", str(source), *words])
