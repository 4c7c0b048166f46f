"""A record of readings that was made wrongly is named for what it is, and one that was made rightly is left alone."""

from dataclasses import dataclass, replace

import numpy as np
from tests.scale.ensembles import START_NS, readings, rig, truth

from truechimer.formats.reading_columns import ReadingColumns, of_rows
from truechimer.scale import plausibility
from truechimer.scale.plausibility import check, repeated

RIG = rig(3, 3, 0)
NAMES = [f"c{i}" for i in range(6)]
U_S = 5e-11


@dataclass(frozen=True)
class Row:
    epoch_tai_ns: int
    a: str
    b: str
    x_a_minus_b_s: float
    u_s: float


def rows(*, epochs: int = 80, triangle: bool = False) -> list[Row]:
    """All clocks against the first; `triangle`: and the third against the second."""
    x = truth(RIG, seed=3, days=epochs / 24, interval_s=3600.0)
    read = readings(x, seed=3, noise_s=U_S)
    made = []
    for k in range(epochs):
        at = START_NS + k * 3_600_000_000_000
        made += [Row(at, NAMES[i], "c0", float(read[k, i]), U_S) for i in range(1, 6)]
        if triangle:
            made.append(Row(at, "c2", "c1", float(read[k, 2] - read[k, 1]), U_S))
    return made


def rules(given: list[Row], clocks: list[str] = NAMES) -> list[str]:
    return [finding.rule for finding in check(of_rows(given), clocks)]


def test_good_readings_are_not_remarked_upon() -> None:
    assert rules(rows(triangle=True)) == []


def test_a_pair_in_nanoseconds_is_named_as_a_unit() -> None:
    given = [replace(row, x_a_minus_b_s=row.x_a_minus_b_s * 1e9) if row.a == "c2" else row for row in rows()]
    found = check(of_rows(given), NAMES)
    assert [finding.rule for finding in found] == ["other-unit"]
    assert "c2 - c0" in found[0].says


def test_one_clock_under_two_names_is_named_with_both() -> None:
    given = [again for row in rows() for again in ([row, replace(row, a="twin")] if row.a == "c4" else [row])]
    found = check(of_rows(given), [*NAMES, "twin"])
    assert [finding.rule for finding in found] == ["same-clock-twice"]
    assert "c4" in found[0].says
    assert "twin" in found[0].says


def test_a_twin_with_an_offset_of_its_own_is_the_same_clock_too() -> None:
    given = [
        again
        for row in rows()
        for again in ([row, replace(row, a="twin", x_a_minus_b_s=row.x_a_minus_b_s + 3e-7)] if row.a == "c4" else [row])
    ]
    assert rules(given, [*NAMES, "twin"]) == ["same-clock-twice"]


def test_a_triangle_that_does_not_close_is_named_with_its_three_sides() -> None:
    given = [
        replace(row, x_a_minus_b_s=row.x_a_minus_b_s + 2e-9) if row.b == "c1" else row for row in rows(triangle=True)
    ]
    found = check(of_rows(given), NAMES)
    assert [finding.rule for finding in found] == ["open-loop"]
    assert all(name in found[0].says for name in ("c0", "c1", "c2", "80 of 80"))


def test_a_clock_that_steps_is_no_fault_of_making() -> None:
    given = [
        replace(row, x_a_minus_b_s=row.x_a_minus_b_s + 1e-6)
        if row.a == "c3" and row.epoch_tai_ns > START_NS + 40 * 3_600_000_000_000
        else row
        for row in rows(triangle=True)
    ]
    assert rules(given) == []


def test_uncertainties_of_zero_are_counted() -> None:
    given = [replace(row, u_s=0.0) if k % 5 == 0 else row for k, row in enumerate(rows())]
    found = check(of_rows(given), NAMES)
    assert [finding.rule for finding in found] == ["zero-uncertainty"]
    assert "80 of 400" in found[0].says


def test_one_clock_and_two_clocks_are_said_to_be_few() -> None:
    two = [row for row in rows() if row.a == "c1"]
    assert rules(two, ["c0", "c1"]) == ["few-clocks"]
    assert rules(two, ["c0"]) == ["few-clocks"]
    assert rules([], []) == ["few-clocks"]


def test_a_record_of_one_epoch_says_nothing_wrong() -> None:
    assert rules(rows(epochs=1)) == []


def columns(epochs: int = 600) -> np.ndarray:
    """Readings of four pairs, hour by hour."""
    x = truth(RIG, seed=4, days=epochs / 24, interval_s=3600.0)
    return readings(x, seed=4, noise_s=U_S)[:, 1:5]


def test_readings_of_yesterday_are_named_as_replayed_whatever_offset_is_laid_on_them() -> None:
    for offset in (0.0, 3.7e-9):
        x = columns()
        x[300:324, 2] = x[276:300, 2] + offset
        found = repeated(x, ["a", "b", "c", "d"])
        assert [finding.rule for finding in found] == ["replayed-readings"]
        assert found[0].says.startswith("c: 23 readings in a row")
        assert "24 readings earlier" in found[0].says


def test_gaps_and_a_constant_do_not_look_replayed() -> None:
    x = columns()
    x[100:130, 0] = np.nan
    x[200:260, 1] = x[200, 1]
    assert repeated(x, ["a", "b", "c", "d"]) == ()


def test_a_coarse_counter_repeats_itself_by_chance_and_is_not_blamed() -> None:
    for resolution in (1e-12, 1e-11, 1e-10):
        x = np.round(columns(2000) / resolution) * resolution
        assert repeated(x, ["a", "b", "c", "d"]) == (), resolution


def test_a_twin_among_a_hundred_clocks_is_found_without_looking_at_every_pair() -> None:
    rng = np.random.default_rng(8)
    x = np.cumsum(rng.normal(size=(90, 100)), axis=0) * 1e-10
    x[:, 73] = x[:, 12] + 4e-8
    x[40:44, 12] = np.nan
    names = [f"n{i}" for i in range(100)]
    columns = ReadingColumns(
        np.zeros(90 * 100, np.int64),
        np.repeat(START_NS + np.arange(90) * 3_600_000_000_000, 100),
        np.tile(np.arange(100, dtype=np.int32), 90),
        x.ravel(),
        np.full(90 * 100, 1e-12),
        tuple((name, "hub") for name in names),
    )
    found = check(columns, [*names, "hub"])
    assert [finding.rule for finding in found] == ["same-clock-twice"]
    assert "n12" in found[0].says
    assert "n73" in found[0].says


def test_whole_numbers_are_put_in_order_as_a_stable_sort_does_near_and_far() -> None:
    rng = np.random.default_rng(8)
    for largest in (3, 10**6, 10**13, 10**17):
        values = np.round(rng.normal(size=700) * largest)
        order, is_same = plausibility._in_order(values)
        wanted = np.argsort(values, kind="stable")
        assert order.tolist() == wanted.tolist()
        assert is_same.tolist() == (values[wanted][1:] == values[wanted][:-1]).tolist()


def test_pairs_are_numbered_in_the_order_in_which_they_are_looked_at() -> None:
    assert [plausibility._pair(k) for k in range(1_225)] == [(i, j) for i in range(50) for j in range(i)]


def test_a_fault_of_the_last_epochs_looked_at_is_seen_however_many_rows_stand_before_and_behind_it() -> None:
    """Rows are looked through in growing parts: the part must reach the last of the epochs that count."""
    last = plausibility.LOOKED_AT_EPOCHS
    epochs = np.repeat(np.arange(1, last + 60), 3) * 10**9
    pair = np.tile(np.arange(3, dtype=np.int32), last + 59)
    pairs = (("a", "b"), ("b", "c"), ("c", "a"))
    for at, is_seen in ((last - 1, True), (last, False)):
        x = np.zeros(len(epochs))
        x[3 * at] = 1e-6
        rows = ReadingColumns(np.arange(len(epochs)), epochs, pair, x, np.full(len(epochs), 1e-9), pairs)
        rules = [finding.rule for finding in plausibility.check(rows, ["a", "b", "c"])]
        assert ("open-loop" in rules) is is_seen, at
