"""UTC minus the scale by every clock's own course, where true time is known, and beside a filter of matrices."""

from dataclasses import replace

import numpy as np
import pytest

from truechimer.errors import Misuse
from truechimer.steer import clock_by_clock, clock_states, delayed_data, late_steering
from truechimer.steer.clock_by_clock import AWAY, HEARD, OUT, ClockHistory, ClockSample
from truechimer.steer.clock_states import BLOCKS, ClockNoise
from truechimer.steer.delayed_data import DelayedData, LateValue
from truechimer.steer.delayed_filter import DAY_S, FLICKER_S, FLICKER_WEIGHT2, FreeNoise, PathKind
from truechimer.steer.delayed_filter import Path as OutsidePath
from truechimer.steer.late_steering import LateParameters

DAY_NS = clock_by_clock.DAY_NS
SIX_HOURS_S, SAMPLES_A_DAY = 21_600.0, 4
NS = 1e-9
MASER = ClockNoise(
    q1=2e-26,
    q2=1e-36,
    floor2=9e-32,
    y_spread=1e-12,
    drift_spread=3e-16 / DAY_S,
    reading_s2=clock_states.LEAST_READING_S2,
)
CAESIUM = ClockNoise(q1=6.4e-23, q2=1e-36, floor2=1e-29, y_spread=1e-12, drift_spread=1e-17 / DAY_S)
SCALE = FreeNoise(q1=1e-26, q2=2e-36, floor2=5e-32, y_spread=1e-12, drift_spread=3e-16 / DAY_S)
UTCR, FOUNTAIN = (
    OutsidePath(name="UTCr", u_common=0.1 * NS),
    OutsidePath(name="fountain", kind=PathKind.RATE, u_common=2e-16),
)


class Laboratory:
    """Clocks of which the truth is known; the scale is what the first of them makes of itself, and drifts with it.

    `x_s`: clock minus UTC each six hours, `(n_samples, n)`; `scale_s`: scale minus UTC.
    """

    def __init__(self, days: int, noise: tuple[ClockNoise, ...], *, seed: int) -> None:
        rng = np.random.default_rng([seed, 41])
        m, n = days * SAMPLES_A_DAY + 1, len(noise)
        steps = rng.normal(size=(2, m, n))
        q1, q2 = np.array([one.q1 for one in noise]), np.array([one.q2 for one in noise])
        drift = rng.normal(size=n) * np.array([one.drift_spread for one in noise])
        t = np.arange(m)[:, None] * SIX_HOURS_S
        y = np.cumsum(steps[0] * np.sqrt(q2 * SIX_HOURS_S), axis=0) + rng.normal(size=n) * 2e-14
        self.x_s = np.cumsum(y * SIX_HOURS_S + steps[1] * np.sqrt(q1 * SIX_HOURS_S), axis=0) + 0.5 * drift * t * t
        self.noise = noise
        self.scale_s = self.x_s[:, 0].copy()
        self.values = tuple(
            LateValue(
                path=0, epoch_ns=day * DAY_NS, value=float(-self.scale_s[4 * day] + rng.normal() * 0.5 * NS), u=0.5 * NS
            )
            for day in range(1, days)
        )

    def sample(self, k: int, *, away: tuple[int, ...] = (), out: tuple[int, ...] = ()) -> ClockSample:
        x_s = self.x_s[k] - self.scale_s[k]
        standing = np.full(len(x_s), HEARD)
        standing[list(away)], standing[list(out)] = AWAY, OUT
        x_s[list(away)] = np.nan
        return ClockSample(k * DAY_NS // SAMPLES_A_DAY, x_s, standing)

    def samples(self) -> list[ClockSample]:
        return [self.sample(k) for k in range(len(self.x_s))]

    def x_utc_minus_scale_s(self, day: int) -> float:
        return -float(self.scale_s[SAMPLES_A_DAY * day])


def heard(values: tuple[LateValue, ...], paths: tuple[OutsidePath, ...] = (UTCR,)) -> DelayedData:
    return delayed_data.take(delayed_data.begin(SCALE, paths), values)[0]


def known(
    lab: Laboratory, samples: list[ClockSample], data: DelayedData, paths: tuple[OutsidePath, ...] = (UTCR,)
) -> ClockHistory:
    history = clock_by_clock.begin(lab.noise, paths)
    for sample in samples:
        history = clock_by_clock.sampled(history, sample)
    return clock_by_clock.heard(history, data)


def off_ns(lab: Laboratory, history: ClockHistory, data: DelayedData, day: int) -> float:
    found = clock_by_clock.at(history, day * DAY_NS, data)
    assert found is not None
    return (float(found.mean[0]) - lab.x_utc_minus_scale_s(day)) / NS


FOUR = (MASER, MASER, CAESIUM, CAESIUM)


def plain(lab: Laboratory, days: int, last_value_day: int) -> tuple[np.ndarray, np.ndarray]:
    """The same filter by matrices, in nanoseconds and days: mean and covariance of UTC minus each clock, by clock."""
    n, unit = len(lab.noise), DAY_S / NS
    a = np.eye(6)
    a[0, 1], a[0, 2], a[1, 2] = 1.0, 0.5, 1.0
    for k, tau_s in enumerate(FLICKER_S):
        tau = tau_s / DAY_S
        a[0, 3 + k], a[3 + k, 3 + k] = tau * (1.0 - np.exp(-1.0 / tau)), np.exp(-1.0 / tau)
    size = 6 * n + 2
    course, grows = np.eye(size), np.zeros((size, size))
    for i, one in enumerate(lab.noise):
        own = slice(6 * i, 6 * i + 6)
        course[own, own] = a
        # what noise adds over a day: the integral of its course from each moment on, in fine steps
        q = np.diag([0.0, one.q2 * DAY_S * unit**2, one.drift_spread**2 / 1000.0 * (DAY_S * unit) ** 2, *[0.0] * 3])
        q[0, 0] = (one.q1 / DAY_S + 2.0 * FLICKER_WEIGHT2 * one.floor2 / 9.0) * unit**2
        for k, tau_s in enumerate(FLICKER_S):
            q[3 + k, 3 + k] = 2.0 * FLICKER_WEIGHT2 * one.floor2 * unit**2 * DAY_S / tau_s
        whole, parts = np.zeros((6, 6)), 400
        for part in range(parts):
            left = (part + 0.5) / parts
            f = np.eye(6)
            f[0, 1], f[0, 2], f[1, 2] = left, 0.5 * left * left, left
            for k, tau_s in enumerate(FLICKER_S):
                tau = tau_s / DAY_S
                f[0, 3 + k], f[3 + k, 3 + k] = tau * (1.0 - np.exp(-left / tau)), np.exp(-left / tau)
            whole += f @ q @ f.T / parts
        grows[own, own] = whole
    mean, p = np.zeros(size), np.zeros((size, size))
    p[-1, -1] = 0.1**2
    z = (lab.x_s - lab.scale_s[:, None])[::SAMPLES_A_DAY] / NS
    for i, one in enumerate(lab.noise):
        p[6 * i : 6 * i + 6, 6 * i : 6 * i + 6] = np.diag(
            [
                1e8,
                (one.y_spread * unit) ** 2,
                (one.drift_spread * DAY_S * unit) ** 2,
                *[FLICKER_WEIGHT2 * one.floor2 * unit**2] * 3,
            ]
        )

    def take(h: np.ndarray, value: float, variance: float) -> None:
        nonlocal mean, p
        gain = p @ h / (h @ p @ h + variance)
        mean = mean + gain * (value - h @ mean)
        p = (np.eye(size) - np.outer(gain, h)) @ p @ (np.eye(size) - np.outer(gain, h)).T + np.outer(
            gain, gain
        ) * variance

    for day in range(1, days + 1):
        if day > 1:
            mean, p = course @ mean, course @ p @ course.T + grows
        for i in range(1, n):
            h = np.zeros(size)
            h[6 * i], h[0] = 1.0, -1.0
            take(h, z[day, 0] - z[day, i], 2.0 * clock_states.LEAST_READING_S2 / NS**2)
        if day <= last_value_day:
            h = np.zeros(size)
            h[0], h[-1] = 1.0, 1.0
            take(h, lab.values[day - 1].value / NS - z[day, 0], 0.5**2)
    return mean, p


def test_it_is_the_filter_that_matrices_make() -> None:
    lab = Laboratory(60, FOUR, seed=1)
    history = known(lab, lab.samples()[:200], heard(lab.values[:40]))
    state = history.states[-1]
    mean, p = plain(lab, state.epoch_ns // DAY_NS, 40)
    n = len(FOUR)
    for i in range(n):
        assert state.mean[i] / NS == pytest.approx(mean[6 * i], abs=2e-4)
        assert state.mean[n + i] * DAY_S / NS == pytest.approx(mean[6 * i + 1], abs=2e-4)
        for k in range(n):
            assert state.p[i, k] / NS**2 == pytest.approx(p[6 * i, 6 * k], rel=2e-3, abs=2e-5)


def test_a_clock_alone_is_the_filter_of_the_scale() -> None:
    lab = Laboratory(60, (MASER,), seed=2)
    noise = FreeNoise(
        q1=MASER.q1,
        q2=MASER.q2,
        floor2=MASER.floor2,
        q3=MASER.drift_spread**2 / clock_states.DRIFT_LASTS_S,
        y_spread=MASER.y_spread,
        drift_spread=MASER.drift_spread,
    )
    data = delayed_data.take(delayed_data.begin(noise, (UTCR,)), lab.values[:50])[0]
    found = clock_by_clock.at(known(lab, lab.samples(), data), 60 * DAY_NS, data)
    alone = delayed_data.at(data, 60 * DAY_NS)
    assert found is not None
    assert alone is not None
    assert np.allclose(found.mean[:2], alone.mean[:2], rtol=1e-6)
    assert np.allclose(found.p[:6, :6], alone.p[:6, :6], rtol=1e-5, atol=0.0)


def test_clocks_say_what_the_scale_does_when_no_value_comes() -> None:
    off, off_alone = [], []
    for seed in range(4):
        lab = Laboratory(100, FOUR, seed=seed)
        # the scale turns, as one does that loses its best clock: nobody outside has said so yet
        turned = np.maximum(np.arange(len(lab.x_s)) - 90 * SAMPLES_A_DAY, 0) * SIX_HOURS_S * 1e-14
        lab.scale_s = lab.scale_s + turned
        data = heard(lab.values[:89])
        off.append(off_ns(lab, known(lab, lab.samples(), data), data, 100))
        alone = delayed_data.ahead(data, 100 * DAY_NS)
        assert alone is not None
        off_alone.append(alone.x_s / NS - lab.x_utc_minus_scale_s(100) / NS)
    assert np.sqrt(np.mean(np.square(off))) < 1.5
    assert np.sqrt(np.mean(np.square(off_alone))) > 6.0


@pytest.mark.parametrize(("by_s", "by_y"), [(40e-9, 0.0), (-12e-9, 0.0), (0.0, 5e-14)])
def test_a_step_of_a_clock_leaves_the_others_where_they_were(by_s: float, by_y: float) -> None:
    lab = Laboratory(80, FOUR, seed=3)
    data = heard(lab.values[:50])
    untouched = off_ns(lab, known(lab, lab.samples(), data), data, 80)
    for clock in (0, 1):
        stepped = Laboratory(80, FOUR, seed=3)
        since = 70 * SAMPLES_A_DAY
        stepped.x_s[since:, clock] += by_s + by_y * SIX_HOURS_S * np.arange(len(lab.x_s) - since)
        # what the ensemble would have made of it is not what is tried here: the scale goes on without the step
        history = known(stepped, stepped.samples(), data)
        # a rate that is another is to be learned again, beside a clock whose own drift nobody has heard of for a month
        assert abs(off_ns(stepped, history, data, 80) - untouched) < (0.2 if by_s else 1.5)
        assert np.isnan(history.states[-1].off_s).all()


@pytest.mark.parametrize("clock", [0, 1])
def test_of_two_clocks_that_contradict_one_another_neither_is_off_for_its_place_in_the_register(clock: int) -> None:
    lab = Laboratory(80, (MASER, MASER), seed=3)
    lab.x_s[70 * SAMPLES_A_DAY :, clock] += 40 * NS
    told_before = heard(lab.values[:65])
    two = known(lab, lab.samples()[: 70 * SAMPLES_A_DAY + 1], told_before)
    assert np.isfinite(two.states[-1].off_s).all()  # neither is read: the filter of the scale answers
    assert clock_by_clock.at(two, 70 * DAY_NS, told_before) is None
    state = known(lab, lab.samples(), told_before).states[-1]
    assert np.isnan(state.off_s).all()
    for k in (0, 1):  # half of the step is each one's, and its doubt as large
        assert float(state.mean[k] + lab.x_s[-1, k]) == pytest.approx(20 * NS, abs=2 * NS)
        assert np.sqrt(state.p[k, k]) == pytest.approx(20 * NS, rel=0.1)
    told = heard(lab.values)
    assert abs(off_ns(lab, known(lab, lab.samples(), told), told, 80)) < 1.0


@pytest.mark.parametrize("clock", [0, 1])
def test_a_rate_step_of_one_of_two_clocks_is_told_by_values_from_outside(clock: int) -> None:
    lab = Laboratory(120, (MASER, MASER), seed=5)
    since = 70 * SAMPLES_A_DAY
    lab.x_s[since:, clock] += 2e-13 * SIX_HOURS_S * np.arange(len(lab.x_s) - since)
    told = heard(lab.values)
    assert abs(off_ns(lab, known(lab, lab.samples(), told), told, 120)) < 1.5


def test_a_third_clock_that_sides_with_neither_is_read_and_decides_nothing() -> None:
    lab = Laboratory(80, (MASER, MASER, CAESIUM), seed=3)
    lab.x_s[70 * SAMPLES_A_DAY :, 1] += 3 * NS
    state = known(lab, lab.samples()[: 70 * SAMPLES_A_DAY + 1], heard(lab.values[:65])).states[-1]
    assert np.isfinite(state.off_s[:2]).all()
    assert np.isnan(state.off_s[2])


def test_of_four_clocks_two_against_two_are_a_tie_and_three_against_one_are_not() -> None:
    lab = Laboratory(80, (MASER,) * 4, seed=3)
    last = 70 * SAMPLES_A_DAY
    for stepped, off in (((0, 1), [True] * 4), ((3,), [False, False, False, True])):
        one = Laboratory(80, (MASER,) * 4, seed=3)
        one.x_s[last:, stepped] += 40 * NS
        state = known(one, one.samples()[: last + 1], heard(lab.values[:65])).states[-1]
        assert np.isfinite(state.off_s).tolist() == off


def test_a_clock_that_is_put_out_comes_back_as_another() -> None:
    lab = Laboratory(90, FOUR, seed=4)
    data = heard(lab.values[:85])
    lab.x_s[60 * SAMPLES_A_DAY :, 1] += 1e-13 * SIX_HOURS_S * np.arange(len(lab.x_s) - 60 * SAMPLES_A_DAY)
    samples = [
        lab.sample(k, out=(1,) if 60 * SAMPLES_A_DAY <= k < 66 * SAMPLES_A_DAY else ()) for k in range(len(lab.x_s))
    ]
    history = known(lab, samples, data)
    state = history.states[-1]
    assert not state.out.any()
    y_then = float(state.mean[4 + 1] - state.mean[4])
    true = -(lab.x_s[-1] - lab.x_s[-41]) / (40 * SIX_HOURS_S)
    assert y_then == pytest.approx(float(true[1] - true[0]), abs=3e-15)
    assert abs(off_ns(lab, history, data, 90)) < 1.5


def test_no_rate_is_told_by_a_clock_that_has_just_joined_or_stepped_within_the_day() -> None:
    lab, since = Laboratory(60, FOUR, seed=3), 50 * SAMPLES_A_DAY + 1
    data = heard(lab.values[:49])
    stepped = Laboratory(60, FOUR, seed=3)
    stepped.x_s[since:, 0] += 40e-9
    before = known(lab, lab.samples()[:since], data)
    alone = known(lab, [lab.sample(k, away=(1,)) for k in range(since)], data)
    histories = [before, before, alone]
    for k in range(since, since + 9):
        histories = [
            clock_by_clock.sampled(history, of.sample(k))
            for history, of in zip(histories, (lab, stepped, lab), strict=True)
        ]
        want, *others = [clock_by_clock.at(history, k * DAY_NS // SAMPLES_A_DAY, data) for history in histories]
        assert want is not None
        for found in others:
            assert found is not None
            assert found.mean[0] == pytest.approx(float(want.mean[0]), abs=0.3 * NS)
            assert found.mean[1] == pytest.approx(float(want.mean[1]), abs=3e-15)
            assert found.p[1, 1] < 4.0 * want.p[1, 1]


def test_readings_that_are_missing_cost_little_and_nobody_at_all_leaves_it_to_the_scale() -> None:
    lab = Laboratory(100, FOUR, seed=5)
    data = heard(lab.values[:95])
    rng = np.random.default_rng(6)
    gaps = [lab.sample(k, away=tuple(i for i in range(4) if rng.random() < 0.4)) for k in range(len(lab.x_s))]
    gaps[-1] = lab.sample(len(lab.x_s) - 1)
    gaps[-5] = lab.sample(len(lab.x_s) - 5)
    assert abs(off_ns(lab, known(lab, gaps, data), data, 100)) < 1.5
    # for ten days nobody is read, and one of them never comes back
    silent = [
        lab.sample(k, away=(0, 1, 2, 3) if 70 <= k / SAMPLES_A_DAY < 80 else (0,) if k >= 80 * SAMPLES_A_DAY else ())
        for k in range(len(lab.x_s))
    ]
    history = known(lab, silent[: 75 * SAMPLES_A_DAY], heard(lab.values[:68]))
    assert clock_by_clock.at(history, 75 * DAY_NS, data) is None
    history = known(lab, silent, data)
    assert abs(off_ns(lab, history, data, 100)) < 1.5
    assert clock_by_clock.at(history, 99 * DAY_NS, data) is None  # it says nothing of the past


def test_a_clock_that_is_new_is_heard_and_moves_nothing() -> None:
    lab = Laboratory(80, FOUR, seed=7)
    data = heard(lab.values[:60])
    three = [lab.sample(k, away=(1,)) for k in range(len(lab.x_s))]
    later = [lab.sample(k, away=(1,) if k < 74 * SAMPLES_A_DAY else ()) for k in range(len(lab.x_s))]
    # one that was not in the register before: its place in the samples is not there either
    short = [
        ClockSample(one.epoch_ns, one.x_s[:1], one.standing[:1]) if k < 296 else one for k, one in enumerate(later)
    ]
    without, with_it = known(lab, three, data), known(lab, later, data)
    assert abs(off_ns(lab, with_it, data, 80) - off_ns(lab, without, data, 80)) < 0.3
    assert with_it.states[-1].joined.all()
    assert known(lab, short, data).states[-1].joined.all()


@pytest.mark.slow
def test_whatever_the_order_in_which_things_become_known_the_bits_are_the_same() -> None:
    lab = Laboratory(160, FOUR, seed=8)
    span = 2.0 * DAY_S
    rates = tuple(
        LateValue(path=1, epoch_ns=day * DAY_NS + DAY_NS // 8, value=1e-15, u=1e-15, span_s=span)
        for day in range(20, 150, 7)
    )
    paths = (UTCR, FOUNTAIN)
    data = delayed_data.begin(SCALE, paths)
    history = clock_by_clock.begin(FOUR, paths)
    for k, sample in enumerate(lab.samples()):
        history = clock_by_clock.sampled(history, sample)
        day, hour = divmod(k, SAMPLES_A_DAY)
        if hour == 2 and day % 7 == 3 and day > 10:
            batch = [one for one in (*lab.values, *rates) if day - 10 <= one.epoch_ns / DAY_NS <= day - 3]
            data, _ = delayed_data.take(data, tuple(batch))
            # one is held for a week, and believed again
            history = clock_by_clock.heard(history, delayed_data.held(data, frozenset({(0, (day - 4) * DAY_NS)})))
            history = clock_by_clock.heard(history, data)
    assert history.base is not None
    again = clock_by_clock.restored(history.members, history.noise, tuple(lab.samples()), history.base, data)
    assert again.states[-1].mean.tobytes() == history.states[-1].mean.tobytes()
    assert again.states[-1].p.tobytes() == history.states[-1].p.tobytes()
    assert [one.epoch_ns for one in again.states] == [one.epoch_ns for one in history.states]
    assert (again.values, again.opened) == (history.values, history.opened)
    assert abs(off_ns(lab, history, data, 160)) < 1.5
    # with the values of the base's days still at hand, one run from the beginning ends in the same bits
    at_once = known(
        lab,
        lab.samples()[: 115 * SAMPLES_A_DAY],
        delayed_data.take(delayed_data.begin(SCALE, paths), (*lab.values[:60], *rates[:4]))[0],
        paths,
    )
    pieces = clock_by_clock.begin(FOUR, paths)
    for sample in lab.samples()[: 115 * SAMPLES_A_DAY]:
        pieces = clock_by_clock.sampled(pieces, sample)
        if sample.epoch_ns % (20 * DAY_NS) == 0:
            until = min(sample.epoch_ns // DAY_NS, 60)
            few, _ = delayed_data.take(
                delayed_data.begin(SCALE, paths), tuple(one for one in lab.values if one.epoch_ns <= until * DAY_NS)
            )
            pieces = clock_by_clock.heard(pieces, few)
    pieces = clock_by_clock.heard(
        pieces, delayed_data.take(delayed_data.begin(SCALE, paths), (*lab.values[:60], *rates[:4]))[0]
    )
    assert pieces.states[-1].p.tobytes() == at_once.states[-1].p.tobytes()
    assert pieces.states[-1].mean.tobytes() == at_once.states[-1].mean.tobytes()


@pytest.mark.slow
def test_other_noise_and_other_members_go_on_from_what_is_known() -> None:
    lab = Laboratory(140, FOUR, seed=9)
    data = heard(lab.values[:135])
    history = known(lab, lab.samples(), data)
    before = off_ns(lab, history, data, 140)
    quiet = clock_by_clock.with_noise(history, tuple(replace(one, q1=1.3 * one.q1) for one in FOUR))
    assert abs(off_ns(lab, quiet, data, 140) - before) < 0.2
    worse = clock_by_clock.with_noise(history, (MASER, replace(MASER, floor2=1e-26), CAESIUM, CAESIUM))
    assert worse.members == (0, 2, 3)
    assert abs(off_ns(lab, worse, data, 140)) < 1.5
    assert clock_by_clock.with_noise(worse, FOUR).states[-1].joined.all()


def test_a_mean_rate_of_a_standard_makes_the_forecast_surer() -> None:
    lab = Laboratory(60, FOUR, seed=10)
    paths = (UTCR, FOUNTAIN)
    y = -(lab.scale_s[56 * 4] - lab.scale_s[41 * 4]) / (15 * DAY_S)
    rate = LateValue(path=1, epoch_ns=56 * DAY_NS, value=float(y), u=1e-17, span_s=15 * DAY_S)
    without, with_it = heard(lab.values[:40], paths), heard((*lab.values[:40], rate), paths)
    a = clock_by_clock.at(known(lab, lab.samples(), without, paths), 60 * DAY_NS, without)
    b = clock_by_clock.at(known(lab, lab.samples(), with_it, paths), 60 * DAY_NS, with_it)
    assert a is not None
    assert b is not None
    assert b.p[0, 0] < 0.5 * a.p[0, 0]
    assert abs(off_ns(lab, known(lab, lab.samples(), with_it, paths), with_it, 60)) < 1.0


def test_a_false_value_is_held_and_counts_as_if_it_had_not_come() -> None:
    lab = Laboratory(60, FOUR, seed=11)
    true = lab.values[:48]
    false = tuple(replace(one, value=one.value + 20 * NS) if one.epoch_ns == 38 * DAY_NS else one for one in true)
    absent = tuple(one for one in true if one.epoch_ns != 38 * DAY_NS)
    found = []
    for values in (true, false, absent):
        steering = late_steering.begin(SCALE, (UTCR,), LateParameters(), clocks=FOUR)
        for sample in lab.samples()[: 52 * SAMPLES_A_DAY]:
            steering = late_steering.sampled(steering, sample)
        steering, _ = late_steering.hear(steering, values, LateParameters(), epoch_ns=51 * DAY_NS)
        found.append(late_steering.ahead(steering, 52 * DAY_NS))
        assert len(steering.findings) == int(values is false)
    assert found[0] is not None
    assert found[1] is not None
    assert found[2] is not None
    # but for the last bit of the drift, which the filter of the scale carries past the place of the one that is held
    assert found[1].drift == pytest.approx(found[2].drift, rel=1e-12)
    assert replace(found[1], drift=0.0) == replace(found[2], drift=0.0)
    assert 0.0 < abs(found[1].x_s - found[0].x_s) < 0.1 * NS


def test_clocks_that_tell_nothing_of_utc_are_not_heard_and_samples_come_in_order() -> None:
    crystal = ClockNoise(q1=1e-20, q2=1e-26, y_spread=1e-6)
    assert clock_by_clock.worth((crystal,)) == ()
    assert clock_by_clock.worth((MASER, crystal, replace(MASER, floor2=1e-26), CAESIUM)) == (0, 3)
    assert len(clock_by_clock.worth((CAESIUM,) * 60)) == clock_by_clock.MOST_CLOCKS
    lab = Laboratory(5, FOUR, seed=12)
    history = clock_by_clock.sampled(clock_by_clock.begin(FOUR, (UTCR,)), lab.sample(4))
    with pytest.raises(Misuse):
        clock_by_clock.sampled(history, lab.sample(3))
    steering = late_steering.begin(SCALE, (UTCR,), LateParameters(), clocks=(crystal,))
    steering = late_steering.sampled(steering, ClockSample(DAY_NS, np.zeros(1), np.array([HEARD])))
    steering, _ = late_steering.hear(steering, lab.values[:1], LateParameters(), epoch_ns=2 * DAY_NS)
    assert late_steering.ahead(steering, 2 * DAY_NS) == delayed_data.ahead(steering.history, 2 * DAY_NS)
    assert len(known(lab, lab.samples(), heard(lab.values[:2])).states[-1].mean) == BLOCKS * 4 + 2
