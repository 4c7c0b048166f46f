"""The scale is continuous: clocks that enter, leave, return after a repair, another pivot, readings of other pairs,
holes and changes of interval make no step above what one epoch's noise would make.

Schedules are drawn at random. Around each event every clock's noise is stopped for some epochs (their rates and drifts
go on): what the scale does there is the algorithm's own doing, and can be held against one sigma of one epoch's noise
without chance having a say. Everything goes through `scale.replay`, detection included.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from truechimer.clocks.clock import Clock, ClockKind, NoiseModel
from truechimer.formats.readings_csv import ReadingRow
from truechimer.scale import Membership, replay
from truechimer.scale.replay import ScaleSeries

START_NS = 1_700_000_000 * 10**9
DAY_S = 86_400.0
QUIET = 3
"""Epochs before and after an event without noise."""

# kind, white FM at 1 s, random-walk FM q2 (1/s), drift per day
MASER = (ClockKind.MASER, 1.2e-13, 3 * 2e-15**2 / (30 * DAY_S), 2e-16)
CAESIUM = (ClockKind.CAESIUM, 8.5e-12, 3 * 2e-15**2 / (30 * DAY_S), 0.0)
RUBIDIUM = (ClockKind.RUBIDIUM, 3e-12, 3 * 1e-13**2 / DAY_S, 1e-13)
MIXTURES = (
    (MASER,) * 3 + (CAESIUM,) * 5,
    (CAESIUM,) * 6,
    (MASER,) * 2 + (CAESIUM,) * 3 + (RUBIDIUM,) * 3,
    (RUBIDIUM,) * 4 + (MASER,),
)


@dataclass(frozen=True)
class Story:
    """A record and what happened in it: `dt_s`: interval that ends at each epoch; `x` clock minus true time, `rows`;
    `events`: (epoch, what)."""

    levels: tuple[tuple[ClockKind, float, float, float], ...]
    clocks: tuple[Clock, ...] | None
    x: np.ndarray
    dt_s: np.ndarray
    read: np.ndarray
    u_s: float
    rows: list[ReadingRow]
    events: tuple[tuple[int, str], ...]


def story(seed: int, *, epochs: int = 420) -> Story:
    """Draw a record: its clocks, its epochs, who was read when and against whom."""
    rng = np.random.default_rng([seed, 202])
    levels = MIXTURES[int(rng.integers(len(MIXTURES)))]
    n = len(levels)
    interval_s = float(rng.choice([300.0, 3_600.0, 21_600.0, DAY_S]))
    dt = np.full(epochs, interval_s)
    if rng.random() < 0.5:
        dt[epochs // 2 :] = float(rng.choice([300.0, 3_600.0, DAY_S]))
    if rng.random() < 0.6:
        # 30 % of the epochs are missing
        dt = dt * rng.geometric(0.7, epochs)
    events: list[tuple[int, str]] = []
    moments = iter(np.linspace(120, epochs - 30, 8).astype(int) + rng.integers(-8, 8, 8))
    there = np.ones((epochs, n), np.bool_)
    pivot = np.zeros(epochs, np.int64)
    shift, turn = np.zeros((epochs, n)), np.zeros((epochs, n))
    leaver, comer, other = rng.choice(n, 3, replace=False).tolist()
    hole, enters, leaves, returns, moves, gone, back, changed = (int(next(moments)) for _ in range(8))
    # rates that were learned for a day say nothing of a week
    dt[hole] = min(float(rng.uniform(0.5, 6.0)) * DAY_S, 0.3 * float(dt[:hole].sum()))
    events.append((hole, "hole"))
    there[:enters, comer] = False
    events.append((enters, "enters"))
    there[leaves:returns, leaver] = False
    events.append((leaves, "leaves"))
    # a repaired clock comes back with another phase and another frequency
    shift[returns:, leaver], turn[returns:, leaver] = 3e-7, float(rng.normal()) * 1e-13
    events.append((returns, "returns"))
    pivot[moves:] = other
    events.append((moves, "pivot"))
    some = np.flatnonzero(rng.random(n) < 0.4)[: n // 2].tolist() or [comer]
    if other in some:
        pivot[gone:] = next(i for i in range(n) if i not in some)
    there[gone:back, some] = False
    events += [(gone, "some leave"), (back, "some return")]
    pivot[changed:] = leaver
    events.append((changed, "pivot"))
    quiet = np.zeros(epochs, np.bool_)
    for at, _ in events:
        quiet[at - QUIET : at + QUIET + 1] = True
    gaps = (rng.random((epochs, n)) < 0.05) & ~quiet[:, None]
    there &= ~gaps
    loud = np.where(quiet, 0.0, 1.0)
    y, x = rng.normal(size=n) * 1e-13, rng.normal(size=n) * 1e-7
    _, white, walk, drift = (np.array(column) for column in zip(*levels, strict=True))
    out = np.empty((epochs, n))
    for k in range(epochs):
        x = x + (y + 0.5 * drift / DAY_S * dt[k]) * dt[k]
        y = y + drift / DAY_S * dt[k] + loud[k] * rng.normal(size=n) * np.sqrt(walk * dt[k])
        x = x + loud[k] * rng.normal(size=n) * white * np.sqrt(dt[k])
        out[k] = x
    time_s = np.cumsum(dt)
    for i in range(n):
        begins = np.flatnonzero(turn[:, i])
        if begins.size:
            out[:, i] += shift[:, i] + turn[:, i] * (time_s - time_s[begins[0]])
    u = float(rng.choice([0.0, 5e-12, 3e-10]))
    rows = []
    for k in range(epochs):
        at = START_NS + round(float(time_s[k]) * 1e9)
        present = np.flatnonzero(there[k]).tolist()
        hub = int(pivot[k]) if there[k, pivot[k]] else present[0]
        noise = rng.normal(size=n) * u * loud[k]
        for i in present:
            if i == hub:
                continue
            # now and then a clock is read against its neighbour in place of the pivot
            against = i - 1 if rng.random() < 0.1 and i >= 1 and there[k, i - 1] and i - 1 != hub and i > hub else hub
            rows.append(ReadingRow(0, at, f"c{i}", f"c{against}", float(out[k, i] - out[k, against] + noise[i]), u))
    declared = int(rng.integers(3))
    clocks = None
    if declared:
        clocks = tuple(
            Clock(
                name=f"c{i}",
                kind=kind,
                noise=NoiseModel(
                    white_fm_1s=white_fm,
                    random_walk_fm_1s=float(np.sqrt(q2 / 3.0)),
                    flicker_fm=0.0,
                    drift_per_day=per_day,
                )
                if declared == 2
                else NoiseModel(),
            )
            for i, (kind, white_fm, q2, per_day) in enumerate(levels)
        )
    return Story(levels, clocks, out, dt, there, u, rows, tuple(sorted(events)))


def worst_steps(of: Story) -> list[tuple[float, int, str]]:
    """How far the scale steps at each event, in sigmas of one epoch's noise."""
    series: ScaleSeries = replay(of.rows, of.clocks)
    index = [int(clock.name[1:]) for clock in series.clocks]
    # true clock minus its column, where it was read
    at_ns = START_NS + np.round(np.cumsum(of.dt_s) * 1e9).astype(np.int64)
    place = np.searchsorted(at_ns, series.epoch_tai_ns)
    x, read = of.x[place][:, index], (series.unused == 0) & of.read[place][:, index]
    e = np.where(read, x - series.x_clock_minus_scale_s, np.nan)
    white = np.array([level[1] for level in of.levels])[index]
    walk = np.array([level[2] for level in of.levels])[index]
    found = []
    for at, what in of.events:
        row = int(np.searchsorted(place, at))
        here = slice(row - QUIET, row + QUIET + 1)
        if row < QUIET or not np.array_equal(place[here], np.arange(at - QUIET, at + QUIET + 1)):
            continue
        # through the clock that says most and was read at all of these epochs
        sound = read[here].all(axis=0) & (series.state[here] == Membership.IN).all(axis=0)
        if not sound.any():
            continue
        i = int(np.argmax(np.where(sound, series.weight[row], -1.0)))
        dt = of.dt_s[at - QUIET + 1 : at + QUIET + 1]
        rate, apart = np.diff(e[here, i]) / dt, 0.5 * (dt[1:] + dt[:-1])
        # clocks drift, and a scale drifts with those that it has: that is no step. Before the event and after it:
        slopes = (np.diff(rate) / apart)[[0, -1]]
        for k in range(at, at + QUIET):
            if what == "hole" and k == at + 1:
                # the rate over the hole is not that after it: clocks drift
                continue
            j = k - at + QUIET - 1
            if what == "hole":
                # against the rate over as long before it and after it, up to the events beside it: that of the last
                # epoch is noise to a hole
                time = np.cumsum(of.dt_s)[place]
                m = int(np.searchsorted(place, k))
                beyond = [np.searchsorted(place, [other]).item() for other, _ in of.events if other != at]
                ends = np.searchsorted(time, [time[m - 1] - of.dt_s[k], time[m] + of.dt_s[k]])
                ends[0] = max([ends[0], *(other + QUIET for other in beyond if other < m)])
                ends[1] = min([ends[1], *(other - 1 for other in beyond if other > m)])
                known = np.flatnonzero(np.isfinite(e[:, i]))
                early = known[max(int(np.searchsorted(known, min(ends[0], m - 2), side="right")) - 1, 0)]
                late = known[min(int(np.searchsorted(known, max(ends[1], m + 1))), len(known) - 1)]
                before = (e[m - 1, i] - e[early, i]) / (time[m - 1] - time[early])
                after = (e[late, i] - e[m, i]) / (time[late] - time[m])
                off = rate[j] - 0.5 * (before + after)
                beside = 0.25 / (time[m - 1] - time[early]) + 0.25 / (time[late] - time[m])
            else:
                drifted = slopes * apart[j - 1]
                change = rate[j] - rate[j - 1]
                off = change - min(max(change, drifted.min()), drifted.max())
            step = off * of.dt_s[k]
            weight = series.weight[int(np.searchsorted(place, k))]
            noise2 = weight**2 * (white**2 * of.dt_s[k] + walk * of.dt_s[k] ** 3 / 3.0 + of.u_s**2)
            one2 = np.sum(noise2) + of.u_s**2 * (1.0 - weight[i]) ** 2
            # nobody knows the rates of clocks that gain or lose weight better than their noise lets a Kalman filter
            gained = weight - series.weight[int(np.searchsorted(place, k - 1))]
            one2 += np.sum(gained**2 * white * np.sqrt(walk)) * of.dt_s[k] ** 2
            if what == "hole":
                one2 += np.sum(weight**2 * white**2) * of.dt_s[k] ** 2 * beside
                # rates are known as well as the time since the beginning allows
                one2 += np.sum(white**2) / len(white) ** 2 * of.dt_s[k] ** 2 / float(of.dt_s[:k].sum())
            found.append((abs(step) / float(np.sqrt(one2)), k, what))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_whoever_comes_or_goes_the_scale_makes_no_step_above_three_sigma_of_one_epoch(seed: int) -> None:
    found = worst_steps(story(seed))
    assert len(found) >= 8
    assert max(found)[0] < 3.0, max(found)


@pytest.mark.acceptance
def test_of_sixty_schedules_hardly_one_steps_by_more_than_three_sigma_of_one_epoch() -> None:
    worst = {seed: max(worst_steps(story(seed)))[0] for seed in range(100, 160)}
    beyond = {seed for seed, size in worst.items() if size >= 3.0}
    # where kinds are declared, none; else a clock may come back with a rate that is a mean over weeks of absence
    assert all(story(seed).clocks is None for seed in beyond), beyond
    assert len(beyond) <= 2, beyond
    assert max(worst.values()) < 10.0
