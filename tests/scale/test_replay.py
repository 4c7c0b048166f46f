"""The ensemble over recorded readings, as a function and as `truechimer scale replay`: any CSV makes a scale or says
why not.
"""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from tests.scale.ensembles import DAY_S, READING_NOISE_S, RIG, START_NS, readings, truth

from truechimer.cli import scale_verb
from truechimer.clocks.clock import ClockKind
from truechimer.errors import Rejected
from truechimer.formats.readings_csv import ReadingRow
from truechimer.scale import Membership, clocks_in, replay
from truechimer.scale.replay import ReplayMisuse, ReplayRejected

T = 600.0
NAMES = [f"c{i}" for i in range(len(RIG.kinds))]
SHARED_DATA = Path(__file__).parents[3] / "shared" / "data" / "stability" / "cs5071a" / "5071A_phase.txt.gz"


def rows_of(days: float = 3.0, *, seed: int = 1) -> tuple[np.ndarray, list[ReadingRow]]:
    """Truth, and the readings of the drill rig's clocks against the first."""
    x = truth(RIG, seed=seed, days=days, interval_s=T)
    read = readings(x, seed=seed)
    rows = [
        ReadingRow(0, START_NS + round(k * T * 1e9), NAMES[i], NAMES[0], float(read[k, i]), 5e-11)
        for k in range(len(x))
        for i in range(1, len(NAMES))
    ]
    return x, rows


def csv_of(path: Path, rows: list[ReadingRow], *more: str) -> Path:
    lines = ["epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s"]
    lines += [f"{row.epoch_tai_ns},{row.a},{row.b},{row.x_a_minus_b_s!r},{row.u_s!r}" for row in rows]
    path.write_text("\n".join([*lines, *more]) + "\n", encoding="utf-8")
    return path


def test_the_scale_of_a_record_follows_true_time_to_its_reading_noise() -> None:
    x, rows = rows_of(6.0)
    series = replay(
        rows, [clock.__class__(name=n, kind=clock.kind) for n, clock in zip(NAMES, RIG.clocks(), strict=True)]
    )
    e = x[:, 0] - series.x_clock_minus_scale_s[:, 0]
    assert series.rejected == ()
    assert np.allclose(series.weight.sum(axis=1), 1.0)
    fit = lambda v: v - np.polyval(np.polyfit(np.arange(len(v)), v, 1), np.arange(len(v)))  # noqa: E731
    assert np.std(fit(e)) < 2 * READING_NOISE_S
    assert np.std(fit(e)) < 0.2 * np.std(fit(x[:, 6]))


def test_the_scale_does_not_depend_on_which_way_round_a_pair_was_read() -> None:
    _, rows = rows_of(1.0)
    turned = [ReadingRow(0, row.epoch_tai_ns, row.b, row.a, -row.x_a_minus_b_s, row.u_s) for row in rows]
    clocks = clocks_in(rows)
    one, other = replay(rows, clocks), replay(turned, clocks)
    index = {clock.name: i for i, clock in enumerate(other.clocks)}
    for i, clock in enumerate(one.clocks):
        apart = one.x_clock_minus_scale_s[:, i] - other.x_clock_minus_scale_s[:, index[clock.name]]
        assert np.abs(apart).max() < 1e-15


def test_irregular_epochs_and_a_missing_pivot_are_no_obstacle() -> None:
    _, rows = rows_of(3.0)
    rng = np.random.default_rng(3)
    epochs = sorted({row.epoch_tai_ns for row in rows})
    kept = {at for at in epochs if rng.random() < 0.7}
    late = set(epochs[200:260])
    mixed = [row for row in rows if row.epoch_tai_ns in kept and row.epoch_tai_ns not in late]
    other = {row.epoch_tai_ns: row.x_a_minus_b_s for row in rows if row.a == "c1"}
    mixed += [  # for 60 epochs everything is read against c1 and c0 is silent
        ReadingRow(0, row.epoch_tai_ns, row.a, "c1", row.x_a_minus_b_s - other[row.epoch_tai_ns], 7e-11)
        for row in rows
        if row.epoch_tai_ns in late and row.a != "c1"
    ]
    series = replay(sorted(mixed, key=lambda row: row.epoch_tai_ns))
    assert np.isfinite(series.x_clock_minus_scale_s).all()
    assert (series.state[-1] == Membership.IN).all()
    change = np.diff(series.x_clock_minus_scale_s[:, NAMES.index("c2")]) / np.diff(series.epoch_tai_ns) * 1e9
    assert np.abs(change - np.median(change)).max() * T < 1e-9


def test_clocks_that_nothing_connects_with_the_others_stay_out_and_say_so() -> None:
    _, rows = rows_of(0.5)
    apart = [
        ReadingRow(0, r.epoch_tai_ns, "x1", "x2", 1e-9 * (k % 7), 1e-10) for k, r in enumerate(rows[:: len(NAMES) - 1])
    ]
    series = replay(sorted([*rows, *apart], key=lambda row: row.epoch_tai_ns))
    for i, clock in enumerate(series.clocks):
        assert (series.weight[-1, i] == 0.0) == clock.name.startswith("x")
    lost = [clock.name for clock in series.clocks].index("x1")
    assert series.reason(-1, lost).startswith("no chain of readings connects it")


def test_references_carry_no_weight_and_are_no_clocks() -> None:
    _, rows = rows_of(0.5)
    utc = [ReadingRow(0, row.epoch_tai_ns, "UTC.P", "c0", 1e-9, 1e-9) for row in rows[:: len(NAMES) - 1]]
    series = replay(sorted([*rows, *utc], key=lambda row: row.epoch_tai_ns))
    assert sorted(clock.name for clock in series.clocks) == sorted(NAMES)


def test_one_clock_against_utc_is_a_scale_of_one() -> None:
    rows = [ReadingRow(0, START_NS + k * 10**9, "UTC", "only", 1e-9 * k, 1e-9) for k in range(50)]
    series = replay(rows)
    assert series.weight[-1].tolist() == [1.0]
    assert series.x_clock_minus_scale_s[-1, 0] == 0.0


def test_the_host_is_an_observer_beside_clocks() -> None:
    _, rows = rows_of(0.5)
    host = [ReadingRow(0, row.epoch_tai_ns, "host", "c0", 1e-6, 1e-8) for row in rows[:: len(NAMES) - 1]]
    series = replay(sorted([*rows, *host], key=lambda row: row.epoch_tai_ns))
    at = [clock.kind for clock in series.clocks].index(ClockKind.HOST)
    assert (series.weight[:, at] == 0.0).all()
    assert series.reason(-1, at) in (
        "observer, weight 0 by rule",
        "its reading is frozen (the same value again and again): predicted",
    )


def test_rows_that_cannot_be_used_are_named_and_the_rest_is_kept() -> None:
    _, rows = rows_of(0.2)
    bad = [
        ReadingRow(900, rows[0].epoch_tai_ns, "c1", "c0", 1.0, 1e-9),
        ReadingRow(901, rows[-1].epoch_tai_ns, "c1", "c1", 1.0, 1e-9),
        ReadingRow(902, rows[-1].epoch_tai_ns, "c1", "c0", float("nan"), 1e-9),
        ReadingRow(903, rows[-1].epoch_tai_ns, "c1", "c0", 1.0, 1e-9),
        ReadingRow(904, rows[-1].epoch_tai_ns, "c1", "nobody", 1.0, 1e-9),
    ]
    clean = replay(rows, replay(rows).clocks)
    series = replay([*rows, *bad], clean.clocks)
    assert [(found.line, found.rule) for found in series.rejected] == [
        (900, "out-of-order"),
        (901, "same-clock"),
        (902, "not-finite"),
        (903, "duplicate"),
        (904, "unknown-clock"),
    ]
    assert np.array_equal(series.x_clock_minus_scale_s, clean.x_clock_minus_scale_s)


@pytest.mark.parametrize("algorithm", ["at1", "kalman", "algos"])
def test_every_algorithm_makes_a_scale_of_the_same_readings(algorithm: str) -> None:
    x, rows = rows_of(2.0)
    series = replay(rows, algorithm=algorithm)
    assert series.algorithm == algorithm
    assert np.allclose(series.weight[-1].sum(), 1.0)
    e = x[:, 0] - series.x_clock_minus_scale_s[:, 0]
    assert np.isfinite(e).all()
    assert np.abs(np.diff(e)).max() < 3e-9


def test_nothing_to_weigh_is_refused() -> None:
    with pytest.raises(ReplayRejected):
        replay([])
    with pytest.raises(ReplayMisuse):
        replay([], algorithm="none")


def test_the_verb_writes_one_row_per_clock_and_epoch_and_tells_the_same_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, rows = rows_of(1.0)
    source = csv_of(tmp_path / "readings.csv", rows, "not,a,row", "1,c1,c0,1.0,1e-9")
    out = tmp_path / "scale.csv"
    assert scale_verb.main(["replay", str(source), "--out", str(out), "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert told["epochs"] == round(DAY_S / T)
    assert told["rejected_count"] == 2
    assert [one["line"] for one in told["rejected"]] == [len(rows) + 2, len(rows) + 3]
    assert f"readings.csv:{len(rows) + 2}:" in printed.err
    assert sum(clock["weight"] for clock in told["clocks"]) == pytest.approx(1.0)
    with out.open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == ["epoch_mjd", "clock", "x_clock_minus_scale_s", "weight", "state", "reason"]
    assert len(written) == told["epochs"] * len(NAMES)
    assert all((float(row["weight"]) > 0.0) == (row["reason"] == "") for row in written)
    assert len(written[0]["epoch_mjd"].split(".")[1]) >= 10


@pytest.mark.parametrize("words", [["--algorithm", "none"], ["--algorithm"], ["--nonsense"]])
def test_wrong_use_is_one_line_and_status_2(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        scale_verb.main(["replay", str(tmp_path / "none.csv"), *words])
    assert raised.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_unreadable_input_is_rejected_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    (tmp_path / "clocks.toml").write_text('[[clock]]\nname = "a"\nkind = "sundial"\n', encoding="utf-8")
    for name in ("missing.csv", "empty.csv"):
        with pytest.raises(Rejected):
            scale_verb.main(["replay", str(tmp_path / name)])
    source = csv_of(tmp_path / "readings.csv", rows_of(0.1)[1])
    with pytest.raises(Rejected):
        scale_verb.main(["replay", str(source), "--clocks", str(tmp_path / "clocks.toml")])
    assert "clocks.toml:3" in capsys.readouterr().err


@pytest.mark.shared_data
def test_the_caesium_and_maser_record_makes_a_scale_of_two(tmp_path: Path) -> None:
    with gzip.open(SHARED_DATA, "rt", encoding="ascii") as file:
        x = [float(text) for text in file if not text.startswith("#")][:4000]
    rows = [ReadingRow(0, START_NS + k * 10**9, "caesium", "maser", value, 1e-10) for k, value in enumerate(x)]
    # AT1 takes a reading as it is; bands leaves to the counter what the counter's noise explains of a departure
    for algorithm, most_s in (("at1", 1e-18), ("bands", 5.0 * 1e-10)):
        series = replay(rows, algorithm=algorithm)
        assert series.weight[-1].tolist() == [0.5, 0.5]
        apart = series.x_clock_minus_scale_s[:, 0] - series.x_clock_minus_scale_s[:, 1]
        assert np.abs(apart - np.array(x)).max() < most_s


def test_readings_that_come_more_seldom_than_scale_steps_were_asked_for_are_judged_as_they_come() -> None:
    x = truth(RIG, seed=2, days=12.0, interval_s=3_600.0)
    x[200:, 2] += 3e-8
    read = readings(x, seed=2)
    rows = [
        ReadingRow(0, START_NS + k * 3_600 * 10**9, NAMES[i], NAMES[0], float(read[k, i]), 5e-11)
        for k in range(len(x))
        for i in range(1, len(NAMES))
    ]
    series = replay(rows, interval_s=10.0)
    place = [clock.name for clock in series.clocks].index(NAMES[2])
    assert [(change.epoch, change.clock) for change in series.changes if change.stepped_s] == [(201, place)]
