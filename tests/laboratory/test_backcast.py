"""Backcast: a simulated year of a laboratory's own files, its truth known; what is never used before it was known."""

from dataclasses import dataclass

import numpy as np
import pytest

from truechimer.compare.utc_record import PublishedValue
from truechimer.formats.clock_data import ClockReading
from truechimer.formats.reading_columns import of_rows
from truechimer.instants import builtin_leap_table
from truechimer.laboratory.backcast import Backcast, BackcastRejected, backcast, differences, epoch_of

LEAPS = builtin_leap_table()
FIRST_MJD = 60_000
DAY_S = 86_400.0


@dataclass(frozen=True)
class Laboratory:
    """A year's files and their truth: `x_utck` is UTC(k) minus UTC, s, by day."""

    readings: list[ClockReading]
    published: list[PublishedValue]
    x_utck: np.ndarray


def laboratory(*, days: int, clocks: int = 5, seed: int = 1, rapid: bool = True, noise_s: float = 0.3e-9) -> Laboratory:
    """Return daily clock data of masers (white and random-walk FM, drifting) and a UTC(k) steered by hand: one of them,
    set right at each Circular T's pace with what was known, so that it wanders by some ns.
    """
    rng = np.random.default_rng(seed)
    rate = rng.normal(0.0, 3e-13, clocks)
    walk = np.cumsum(rng.normal(0.0, 3e-16, (days, clocks)), axis=0)
    drift = rng.normal(0.0, 2e-16, clocks) * np.arange(days)[:, None]
    x = np.cumsum((rate + walk + drift) * DAY_S + rng.normal(0.0, 3e-11, (days, clocks)), axis=0)
    t = np.arange(days)
    own = 8e-9 * np.sin(2.0 * np.pi * t / 90.0) + np.cumsum(rng.normal(0.0, 3e-11, days))
    readings = [
        ClockReading(FIRST_MJD + day, "10099", f"140{k:04d}", round((own[day] - x[day, k]) * 1e10) / 10.0)
        for day in range(days)
        for k in range(clocks)
    ]
    published = [
        PublishedValue(
            scale="UTC", mjd=FIRST_MJD + day, x_utc_minus_utck_s=-own[day] + rng.normal(0.0, noise_s), u_a_s=0.3e-9
        )
        for day in range(days)
        if (FIRST_MJD + day) % 5 == 4
    ]
    if rapid:
        published += [
            PublishedValue(
                scale="UTCr", mjd=FIRST_MJD + day, x_utc_minus_utck_s=-own[day] + rng.normal(0.0, 1.5 * noise_s)
            )
            for day in range(days)
        ]
    return Laboratory(readings, published, own)


def run(of: Laboratory, published: list[PublishedValue] | None = None) -> Backcast:
    between, own = differences(of.readings, LEAPS)
    return backcast(of_rows(between), own, of.published if published is None else published, leaps=LEAPS)


def test_differences_of_clocks_come_from_their_differences_to_utck() -> None:
    readings = [ClockReading(60_000, "10099", clock, ns) for clock, ns in (("1400001", 10.0), ("1400002", -3.5))]
    between, own = differences(readings, LEAPS)
    assert [(row.a, row.b, round(row.x_a_minus_b_s * 1e12)) for row in own] == [("UTC.k", "1400002", -3500)]
    # UTC(k) - 1 = 10, UTC(k) - 2 = -3.5, so 1 - 2 = -13.5
    assert [(row.a, row.b) for row in between] == [("1400001", "1400002")]
    assert between[0].x_a_minus_b_s == pytest.approx(-13.5e-9, abs=1e-18)
    assert between[0].epoch_tai_ns == epoch_of(60_000, LEAPS) == ((60_000 - 40_587) * 86_400 + 37) * 10**9


def test_a_laboratory_that_wanders_by_nanoseconds_is_steered_better_and_the_truth_agrees() -> None:
    of = laboratory(days=300)
    found = run(of)
    assert found.against == "UTC"
    assert found.began_mjd is not None
    assert FIRST_MJD + 60 <= found.began_mjd < FIRST_MJD + 61, "when the noise of the clocks was known, not before"
    steered = np.isfinite(found.x_utc_minus_ours_s)
    assert steered.sum() >= 45
    own, ours = found.x_utc_minus_own_s[steered], found.x_utc_minus_ours_s[steered]
    assert np.sqrt(np.mean(own**2)) > 4e-9
    assert np.sqrt(np.mean(ours**2)) < 1.5e-9
    # UTC minus the scale is UTC minus UTC(k) with UTC(k)'s own wandering taken out again
    truth = -of.x_utck[found.mjd - FIRST_MJD]
    assert np.std(found.x_utc_minus_own_s - truth) < 0.5e-9


def test_nothing_that_was_not_known_yet_moves_what_came_before() -> None:
    of = laboratory(days=200, rapid=False)
    late = [
        value if value.mjd < FIRST_MJD + 150 else PublishedValue(scale="UTC", mjd=value.mjd, x_utc_minus_utck_s=5e-7)
        for value in of.published
    ]
    one, other = run(of), run(of, late)
    # Circular T of the month that day 150 is in comes in the middle of the next one
    before = one.mjd < FIRST_MJD + 150
    x, y = one.x_utc_minus_ours_s[before], other.x_utc_minus_ours_s[before]
    assert np.isfinite(x).sum() > 10
    assert np.array_equal(x, y, equal_nan=True)


def test_circular_t_alone_is_heard_later_and_steers_less_well_than_with_rapid_utc() -> None:
    of = laboratory(days=300)
    both, alone = run(of), run(of, [value for value in of.published if value.scale == "UTC"])
    assert both.began_mjd is not None
    assert alone.began_mjd is not None
    assert both.began_mjd <= alone.began_mjd
    assert alone.values == {"UTC": both.values["UTC"]}
    later = np.isfinite(alone.x_utc_minus_ours_s)
    rms = [np.sqrt(np.nanmean(each.x_utc_minus_ours_s[later] ** 2)) for each in (both, alone)]
    assert rms[0] < rms[1]


def test_what_gives_no_backcast_is_said() -> None:
    of = laboratory(days=60)
    between, own = differences(of.readings, LEAPS)
    for rows, mine, published, says in (
        (between[:0], own, of.published, "no clock is compared"),
        (between, own, of.published[:2], "days in common"),
        (between, [], of.published, "days in common"),
        (between[: 5 * 4], own, of.published, "at least 10 d"),
    ):
        with pytest.raises(BackcastRejected, match=says):
            backcast(of_rows(rows), mine, published, leaps=LEAPS)
