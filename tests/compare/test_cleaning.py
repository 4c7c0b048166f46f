"""Each reading is marked by its own link's past: good, outlier, step at the second time, gap, frozen; never deleted."""

import numpy as np
import pytest
from tests.compare.networks import EPOCH_NS, NS, epoch

from truechimer.compare.cleaning import REASONS, Because, LinkHistory, Marks, Quality, classify

U_S = 5e-11
RATE = 3e-13
STEP_S = 600.0


class Link:
    """One link under test: feeds value after value and keeps the marks."""

    def __init__(self, *, step_s: float = STEP_S, u_s: float = U_S) -> None:
        self.history, self.now, self.step_s, self.u_s = LinkHistory.empty(1), EPOCH_NS, step_s, u_s
        self.marks: Marks | None = None

    def feed(self, x_s: float, *, age_s: float = 0.0) -> tuple[Quality, Because]:
        self.now += round(self.step_s * NS)
        given = epoch([x_s], u_s=self.u_s, age_s=[age_s], epoch_ns=self.now)
        self.marks, self.history = classify(given, self.history)
        assert given.x_a_minus_b_s[0] == x_s or np.isnan(x_s), "nothing is changed"
        return Quality(int(self.marks.quality[0])), Because(int(self.marks.because[0]))


def line(k: int, rng: np.random.Generator) -> float:
    return 1e-6 + RATE * STEP_S * k + U_S * float(rng.standard_normal())


def taught(count: int = 60, *, seed: int = 1) -> tuple[Link, np.random.Generator]:
    link, rng = Link(), np.random.default_rng(seed)
    for k in range(count):
        assert link.feed(line(k, rng)) == (Quality.GOOD, Because.NOTHING)
    return link, rng


def test_an_ordinary_link_is_good_from_the_first_reading_on() -> None:
    for seed in range(10):
        taught(500, seed=seed)


def test_a_missing_reading_is_a_gap_and_says_so_and_the_next_is_good() -> None:
    link, rng = taught()
    assert link.feed(float("nan")) == (Quality.GAP, Because.MISSING)
    assert link.feed(float("inf")) == (Quality.GAP, Because.MISSING)
    assert link.feed(line(62, rng)) == (Quality.GOOD, Because.NOTHING)


def test_a_glitch_is_an_outlier_once_and_the_next_reading_is_good() -> None:
    link, rng = taught()
    assert link.feed(line(60, rng) + 20e-9) == (Quality.OUTLIER, Because.OFF_EXTRAPOLATION)
    assert link.marks.off_s[0] == pytest.approx(20e-9, abs=6 * U_S)
    assert link.feed(line(61, rng)) == (Quality.GOOD, Because.NOTHING)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_step_is_an_outlier_first_a_step_the_second_time_and_the_new_level_then(sign: float) -> None:
    link, rng = taught()
    assert link.feed(line(60, rng) + sign * 20e-9) == (Quality.OUTLIER, Because.OFF_EXTRAPOLATION)
    assert link.feed(line(61, rng) + sign * 20e-9) == (Quality.STEP, Because.OFF_AGAIN)
    for k in range(62, 80):
        assert link.feed(line(k, rng) + sign * 20e-9) == (Quality.GOOD, Because.NOTHING)


def test_two_glitches_of_different_size_are_no_step() -> None:
    link, rng = taught()
    assert link.feed(line(60, rng) + 20e-9)[0] is Quality.OUTLIER
    assert link.feed(line(61, rng) - 15e-9)[0] is Quality.OUTLIER
    assert link.feed(line(62, rng)) == (Quality.GOOD, Because.NOTHING)


def test_a_young_link_marks_nothing() -> None:
    link, rng = Link(), np.random.default_rng(1)
    for k in range(7):
        assert link.feed(line(k, rng) + (1e-6 if k == 5 else 0.0))[0] is Quality.GOOD


def test_a_frozen_counter_is_a_gap_with_its_reason_until_it_moves_again() -> None:
    link, rng = taught(200)
    held = line(200, rng)
    marks = [link.feed(held) for _ in range(12)]
    assert marks[0] == (Quality.GOOD, Because.NOTHING)
    assert marks[-1] == (Quality.GAP, Because.FROZEN)
    first = marks.index((Quality.GAP, Because.FROZEN))
    assert first <= 6
    assert set(marks[first:]) == {(Quality.GAP, Because.FROZEN)}
    assert link.feed(line(213, rng))[1] is not Because.FROZEN


@pytest.mark.parametrize("seed", range(5))
def test_a_quiet_link_on_a_coarse_counter_is_not_called_frozen_once_its_habit_is_known(seed: int) -> None:
    """A counter of 100 ps before noise of 30 ps: most readings equal the one before."""
    link, rng = Link(u_s=5e-11), np.random.default_rng(seed)
    coarse = [float(np.rint(3e-11 * rng.standard_normal() / 1e-10) * 1e-10) for _ in range(3_000)]
    marks = [link.feed(x) for x in coarse]
    repeats = np.mean(np.array(coarse[1:]) == np.array(coarse[:-1]))
    assert repeats > 0.7
    assert not any(because is Because.FROZEN for _, because in marks[1_000:])
    held = coarse[-1]
    assert any(link.feed(held)[1] is Because.FROZEN for _ in range(400)), "a real freeze is still found"


def test_a_value_that_is_not_newer_than_the_last_is_a_gap() -> None:
    link, rng = taught()
    assert link.feed(line(60, rng), age_s=STEP_S)[0] is Quality.GAP
    assert link.feed(line(61, rng), age_s=100.0)[0] is Quality.GOOD


def test_links_are_judged_each_by_itself() -> None:
    history, rng = LinkHistory.empty(3), np.random.default_rng(3)
    for k in range(40):
        given = epoch([line(k, rng), -line(k, rng), float("nan")], u_s=U_S, epoch_ns=EPOCH_NS + (k + 1) * 600 * NS)
        marks, history = classify(given, history)
        assert marks.quality.tolist() == [0, 0, 3]
    given = epoch([line(40, rng) + 1e-8, -line(40, rng), 5.0], u_s=U_S, epoch_ns=EPOCH_NS + 41 * 600 * NS)
    assert classify(given, history)[0].quality.tolist() == [1, 0, 0]


def test_a_history_that_grows_keeps_what_it_knows_and_is_not_changed_by_its_use() -> None:
    link, rng = taught()
    before = link.history
    copies = [np.copy(getattr(before, name)) for name in LinkHistory.__slots__]
    link.feed(line(60, rng))
    for name, copy in zip(LinkHistory.__slots__, copies, strict=True):
        assert np.array_equal(getattr(before, name), copy)
    grown = before.grown(3)
    fresh = LinkHistory.empty(3)
    for name, copy in zip(LinkHistory.__slots__, copies, strict=True):
        assert np.array_equal(getattr(grown, name), np.concatenate([copy, getattr(fresh, name)[1:]]))


def test_every_reason_has_words() -> None:
    assert set(REASONS) == set(Because)
