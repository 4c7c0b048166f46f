"""Detection as a fold: faults laid on simulated clocks, hour by hour; failing seeds are in the messages."""

from dataclasses import dataclass, fields
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from tests.scale.bits import printed_either_way
from tests.scale.ensembles import DAY_S, START_NS, Rig, readings, rig, truth

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.scale import detection_fold, detection_run, detection_state
from truechimer.scale.detection_state import (
    FALSE_ALARMS_PER_CLOCK_YEAR,
    SLOW_SIGMAS,
    SNAPSHOTS,
    WINDOWS_S,
    YEAR_S,
    DetectionParameters,
    DetectionState,
    Judgement,
)
from truechimer.scale.detection_windows import widened
from truechimer.scale.engines import engine
from truechimer.scale.state import Membership

ROOT = Path(__file__).parents[2]
HOUR_S = 3600.0
NOISE_S = 5e-12
RIG, SMALL = rig(5, 6, 1), rig(3, 5, 0)
FAULT_AT = 20 * 24
IN, SUSPECT, OUT_STEP, OUT_RATE = Membership.IN, Membership.SUSPECT, Membership.OUT_STEP, Membership.OUT_RATE
DOUBTED = Membership.DOUBTED
EMPTY_NS = START_NS


@dataclass(frozen=True)
class Ran:
    """`status (n_epochs, n)`, `divided`, `began`, what was said at each epoch, and the state at the end."""

    status: np.ndarray
    divided: np.ndarray
    began: np.ndarray
    said: tuple[Judgement, ...]
    state: DetectionState
    constants: DetectionParameters


def watch(of: Rig, read: np.ndarray, *, u_s: float = NOISE_S, clocks: tuple[Clock, ...] | None = None) -> Ran:
    """Run detection over clocks minus pivot."""
    n = read.shape[1]
    names = of.clocks() if clocks is None else clocks
    constants = detection_state.parameters(names, np.ones(n, np.bool_), interval_s=HOUR_S, probation_s=DAY_S)
    state = detection_state.empty(constants)
    said = []
    for k in range(len(read)):
        state, judgement = detection_fold.step(
            state,
            constants,
            epoch_tai_ns=EMPTY_NS + round(k * HOUR_S * 1e9),
            x_clock_minus_pivot_s=read[k],
            u2_s2=np.full(n, u_s * u_s),
        )
        said.append(judgement)
    return Ran(
        np.array([j.status for j in said]),
        np.array([j.divided for j in said]),
        np.array([j.began_anew for j in said]),
        tuple(said),
        state,
        constants,
    )


def scene(of: Rig, seed: int, clocks: list[int], fault: str, size: float, *, days: float = 26.0) -> np.ndarray:
    """Readings of an ensemble with a fault at `FAULT_AT`."""
    x = truth(of, seed=seed, days=days, interval_s=HOUR_S)
    t = HOUR_S * np.arange(1, len(x) - FAULT_AT + 1)
    for i in clocks:
        x[FAULT_AT:, i] += size if fault == "step" else size * t
    return readings(x, seed=seed, noise_s=NOISE_S)


def test_clean_clocks_are_left_alone() -> None:
    for seed in range(2):
        x = truth(RIG, seed=seed, days=40.0, interval_s=HOUR_S)
        ran = watch(RIG, readings(x, seed=seed, noise_s=NOISE_S))
        assert (ran.status == IN).all(), seed
        assert not ran.divided.any(), seed


@pytest.mark.parametrize("clock", [0, 3, 7, 11], ids=["the pivot", "a maser", "a caesium", "the rubidium"])
def test_a_phase_step_is_seen_at_its_epoch_named_in_the_next_and_forgiven_after_three_hours(clock: int) -> None:
    ran = watch(RIG, scene(RIG, 3, [clock], "step", 20e-9, days=22.0))
    assert (ran.status[:FAULT_AT] == IN).all()
    assert ran.status[FAULT_AT, clock] == SUSPECT
    assert ran.status[FAULT_AT + 1, clock] == OUT_STEP
    assert (ran.status[FAULT_AT + 2 : FAULT_AT + 4, clock] == OUT_STEP).all()
    assert ran.status[FAULT_AT + 6, clock] == IN
    assert (np.delete(ran.status, clock, axis=1) == IN).all()
    assert not ran.began[FAULT_AT:].any()


def test_a_glitch_of_one_reading_is_a_suspicion_and_no_more() -> None:
    read = scene(RIG, 4, [], "step", 0.0, days=22.0)
    read[FAULT_AT, 2] += 20e-9
    ran = watch(RIG, read)
    assert ran.status[FAULT_AT, 2] == SUSPECT
    assert ran.status[FAULT_AT + 1, 2] == IN
    assert (np.delete(ran.status, 2, axis=1) == IN).all()
    assert (ran.status[FAULT_AT + 1 :] == IN).all()


@pytest.mark.parametrize(("size", "hours"), [(5e-14, 2), (1e-9 / DAY_S, 12)], ids=["5e-14", "1 ns a day"])
def test_a_change_of_frequency_is_one_event_and_the_clock_returns_with_its_new_rate(size: float, hours: int) -> None:
    for seed in range(2):
        ran = watch(RIG, scene(RIG, seed, [1], "rate", size))
        out = np.flatnonzero(ran.status[FAULT_AT:, 1] != IN)
        assert len(out), seed
        assert out[0] < hours, seed
        # what is told in hours is a conviction, or a doubt: a nanosecond a day stands five sigma out when it is seen
        assert np.isin(ran.status[FAULT_AT:, 1], (OUT_RATE, DOUBTED)).any(), seed
        # one event: its rate begins anew once, and no second time
        assert ran.began[FAULT_AT:, 1].sum() == 1, seed
        assert ran.status[-1, 1] == IN, seed
        assert (np.delete(ran.status, 1, axis=1) == IN).all(), seed
        moved = [float(said.moved_y[1]) for said in ran.said[FAULT_AT:] if said.moved_y[1] != 0.0]
        assert moved[0] == pytest.approx(size, rel=0.5), seed


def test_a_change_of_frequency_is_seen_where_nothing_is_known_of_the_clocks() -> None:
    mixed = rig(3, 5, 2)
    unknown = tuple(Clock(name=str(i), kind=ClockKind.OSCILLATOR) for i in range(10))
    x = truth(mixed, seed=11, days=70.0, interval_s=HOUR_S)
    hit = 66 * 24
    x[hit:, 1] += 5e-14 * HOUR_S * np.arange(1, len(x) - hit + 1)
    ran = watch(mixed, readings(x, seed=11, noise_s=NOISE_S), clocks=unknown)
    assert (ran.status[:hit] == IN).all()
    assert np.flatnonzero(ran.status[hit:, 1] != IN)[0] < 2
    others = np.delete(ran.status, 1, axis=1)
    # its two peers may be asked about for an hour; nobody else is put out
    assert not np.isin(others, (OUT_STEP, OUT_RATE)).any()
    assert (others[hit + 3 :] == IN).all()
    assert ran.status[-1, 1] == OUT_RATE


def test_two_of_five_masers_together_are_both_named_and_nobody_else() -> None:
    for seed in range(2):
        ran = watch(RIG, scene(RIG, seed, [0, 1], "rate", 2e-14))
        for clock in (0, 1):
            out = np.flatnonzero(ran.status[FAULT_AT:, clock] != IN)
            assert len(out), (seed, clock)
            assert out[0] <= 48, (seed, clock)
        assert (ran.status[:, 2:] == IN).all(), seed


def test_two_of_three_masers_together_divide_the_class_and_the_caesiums_name_both() -> None:
    ran = watch(SMALL, scene(SMALL, 1, [0, 1], "rate", 4e-14, days=26.0))
    after = ran.status[FAULT_AT:]
    assert np.flatnonzero(ran.divided[FAULT_AT:])[0] <= 48
    # the honest maser has no say meanwhile, and is never convicted
    assert not np.isin(after[:, 2], (OUT_STEP, OUT_RATE)).any()
    assert (after[:, :2] == OUT_RATE).any(axis=0).all()
    assert (after[:, 3:] == IN).all()


def test_two_clocks_that_disagree_are_divided_and_neither_goes() -> None:
    pair = rig(2, 0, 0)
    ran = watch(pair, scene(pair, 2, [1], "step", 20e-9, days=21.0))
    assert ran.divided[FAULT_AT]
    assert (ran.status == IN).all()


def test_a_copy_of_the_ensemble_is_no_clock() -> None:
    read = scene(RIG, 5, [], "step", 0.0, days=50.0)
    masers = read[:, 1:5].mean(axis=1)
    copy = masers - masers[0] + read[0, 9]
    own = np.cumsum(np.random.default_rng(5).normal(size=len(read)) * 8e-14 / 5 * np.sqrt(HOUR_S))
    read[FAULT_AT + 240 :, 9] = (copy + own)[FAULT_AT + 240 :] + read[FAULT_AT + 239, 9] - (copy + own)[FAULT_AT + 239]
    ran = watch(RIG, read)
    at = np.flatnonzero(ran.status[:, 9] == Membership.ALIKE)
    assert len(at)
    assert (at[0] - FAULT_AT - 240) / 24 <= 20.0
    assert (np.delete(ran.status, 9, axis=1) == IN).all()


def test_a_really_good_maser_is_not_called_too_good() -> None:
    better = Rig(RIG.kinds, np.array([5e-14, *RIG.white[1:]]), RIG.walk, RIG.drift, RIG.spread)
    x = truth(better, seed=6, days=45.0, interval_s=HOUR_S)
    ran = watch(better, readings(x, seed=6, noise_s=NOISE_S))
    assert (ran.status == IN).all()


def test_detection_does_not_depend_on_the_pivot() -> None:
    x = truth(RIG, seed=7, days=6.0, interval_s=HOUR_S)
    x[100:, 4] += 20e-9
    noise = np.random.default_rng(7).normal(size=x.shape) * NOISE_S
    one = watch(RIG, (x + noise) - (x + noise)[:, [0]])
    changing = np.arange(len(x)) % 5
    other = watch(RIG, (x + noise) - (x + noise)[np.arange(len(x)), changing][:, None])
    assert (one.status == other.status).all()
    assert np.allclose(one.state.y - one.state.y[0], other.state.y - other.state.y[0], rtol=0.0, atol=1e-20)


def test_a_step_leaves_the_state_it_was_given_as_it_was() -> None:
    read = scene(SMALL, 8, [], "step", 0.0, days=21.0)[:60]
    ran = watch(SMALL, read[:50])
    before = {item.name: np.copy(getattr(ran.state, item.name)) for item in fields(DetectionState)}
    detection_fold.step(
        ran.state,
        ran.constants,
        epoch_tai_ns=EMPTY_NS + round(50 * HOUR_S * 1e9),
        x_clock_minus_pivot_s=read[50],
        u2_s2=np.full(8, NOISE_S**2),
    )
    for name, value in before.items():
        assert np.array_equal(value, getattr(ran.state, name), equal_nan=value.dtype.kind == "f"), name


def test_what_all_tests_together_may_raise_on_clean_data_is_what_is_stated() -> None:
    constants = watch(SMALL, scene(SMALL, 1, [], "step", 0.0, days=21.0)[:2]).constants
    steps = [HOUR_S, *[max(0.5 * window, HOUR_S) for window in WINDOWS_S]]
    normal = NormalDist()
    expected = sum(2 * (1 - normal.cdf(h)) * YEAR_S / s for h, s in zip(constants.sigmas, steps, strict=True))
    assert expected <= FALSE_ALARMS_PER_CLOCK_YEAR * 0.55
    assert set(constants.rate_sigmas.tolist()) == {0.0, SLOW_SIGMAS}
    # changes of a random walk over all the windows, four looks in each, at a year of age; one alarm in 60 days
    years = 400
    walk = np.cumsum(np.random.default_rng(3).normal(size=round(years * 365.25)))
    alarms: set[int] = set()
    for m in (constants.windows_s[constants.rate_sigmas[1:] > 0.0] / DAY_S).astype(int).tolist():
        moved = (walk[m:] - walk[:-m])[:: max(1, m // SNAPSHOTS)]
        at = m + max(1, m // SNAPSHOTS) * np.flatnonzero(
            np.abs(moved) > widened(SLOW_SIGMAS, YEAR_S, m * DAY_S) * np.sqrt(m)
        )
        alarms |= set((at // 60).tolist())
    assert len(alarms) / years < 2.0 * FALSE_ALARMS_PER_CLOCK_YEAR


def test_what_a_slow_fault_has_taught_is_no_excuse_for_it() -> None:
    constants = detection_state.parameters(RIG.clocks(), np.ones(12, np.bool_), interval_s=HOUR_S, probation_s=DAY_S)
    x = truth(RIG, seed=5, days=290.0, interval_s=HOUR_S)
    at = 200 * 24
    t = HOUR_S * np.arange(1, len(x) - at + 1)
    x[at:, 2] += 0.5 * 1e-20 * t * t
    read = readings(x, seed=5, noise_s=NOISE_S)
    epochs = EMPTY_NS + np.arange(len(x)) * 3_600 * 10**9
    _, said = detection_run.run(
        detection_state.empty(constants),
        constants,
        epochs,
        read,
        np.full(read.shape, NOISE_S**2),
        np.ones(len(x), np.bool_),
    )
    # less than six sigma of its random walk: in doubt, and not convicted
    out = np.flatnonzero(said.status[:, 2] == DOUBTED)
    assert len(out)
    assert at < out[0] < at + 60 * 24
    assert not np.isin(np.delete(said.status, 2, axis=1), (OUT_STEP, OUT_RATE)).any()
    # its onset is found, within the windows that there are, and what it had moved by then
    since = (out[0] - at) * HOUR_S
    assert said.moved[out[0], 2, 1] == pytest.approx(since, rel=0.7)
    assert said.moved[out[0], 2, 0] == pytest.approx(1e-20 * since, rel=0.5)


def test_clocks_that_are_added_later_change_nothing_for_the_others() -> None:
    read = scene(SMALL, 9, [], "step", 0.0, days=21.0)[:100]
    ran = watch(SMALL, read)
    more = (*SMALL.clocks(), Clock(name="new", kind=ClockKind.MASER))
    constants = detection_state.parameters(more, np.ones(9, np.bool_), interval_s=HOUR_S, probation_s=DAY_S)
    wider = detection_state.grown(ran.state, constants)
    step = {"epoch_tai_ns": EMPTY_NS + round(100 * HOUR_S * 1e9)}
    one, _ = detection_fold.step(
        ran.state, ran.constants, **step, x_clock_minus_pivot_s=read[99], u2_s2=np.full(8, NOISE_S**2)
    )
    other, judgement = detection_fold.step(
        wider, constants, **step, x_clock_minus_pivot_s=np.append(read[99], 1e-6), u2_s2=np.full(9, NOISE_S**2)
    )
    assert np.array_equal(one.x_s, other.x_s[:8])
    assert np.array_equal(one.noise, other.noise[:8])
    assert judgement.status[8] == Membership.LEARNING


def test_a_clock_that_was_silent_is_judged_by_the_time_it_was_away() -> None:
    read = scene(RIG, 10, [], "step", 0.0, days=24.0)
    read[FAULT_AT : FAULT_AT + 72, 3] = np.nan
    ran = watch(RIG, read)
    assert (ran.status[FAULT_AT + 72 :, 3] == IN).all()
    moved = read.copy()
    moved[FAULT_AT + 72 :, 3] += 100e-9
    ran = watch(RIG, moved)
    assert ran.status[FAULT_AT + 72, 3] == SUSPECT
    assert ran.status[-1, 3] == IN


_BITS = """
import hashlib, numpy as np
from tests.scale.test_detection import RIG, scene, watch
ran = watch(RIG, scene(RIG, 1, [1], "rate", 5e-14, days=21.0)[440:])
print(hashlib.sha256(b"".join(np.asarray(getattr(ran.state, n)).tobytes() for n in ran.state.__slots__)).hexdigest())
"""


@pytest.mark.slow
def test_machine_code_and_the_plain_functions_give_the_same_bits() -> None:
    digests = printed_either_way(_BITS)
    assert len(digests) == 1
    assert len(digests.pop()) > 64


def test_of_two_names_of_one_clock_the_second_has_no_vote() -> None:
    read = scene(SMALL, 12, [], "step", 0.0, days=21.0)[:60]
    twice = np.column_stack([read, read[:, 4]])
    clocks = (*SMALL.clocks(), Clock(name="again", kind=ClockKind.CAESIUM))
    ran = watch(SMALL, twice, clocks=clocks)
    assert ran.status[-1, 8] == Membership.ALIKE
    assert (ran.status[:, :8] == IN).all()


def test_readings_that_were_played_back_are_out_while_they_come_in_though_under_fresh_noise() -> None:
    of = rig(3, 5, 0)
    n, at, lag, noise_s = len(of.kinds), 900, 500, 3e-12
    read = readings(truth(of, seed=8, days=50.0, interval_s=3_600.0), seed=8, noise_s=noise_s)
    epoch_ns = START_NS + np.arange(len(read)) * 3_600 * 10**9
    u2 = np.full(read.shape, noise_s**2)
    for clock, is_fresh in ((1, False), (2, True), (6, True)):
        faulty = read.copy()
        played = read[at - lag : len(read) - lag, clock] + (read[at - 1, clock] - read[at - 1 - lag, clock])
        fresh = np.random.default_rng(clock).normal(size=len(played)) * (noise_s if is_fresh else 0.0)
        faulty[at:, clock] = played + fresh
        said = engine("bands", of.clocks(), interval_s=3_600.0).run(epoch_ns, faulty, u2, np.ones(len(read), np.bool_))
        is_replayed = said.membership == Membership.REPLAYED
        assert is_replayed[at:, clock].any()
        assert not is_replayed[:at].any()
        assert not is_replayed[:, [i for i in range(n) if i != clock]].any()
        seen = at + int(np.argmax(is_replayed[at:, clock]))
        assert seen - at < 300
        assert (said.weight[seen:, clock] == 0.0).all()


def test_a_clock_with_a_period_is_not_called_played_back() -> None:
    of = rig(3, 5, 0)
    x = truth(of, seed=9, days=50.0, interval_s=3_600.0)
    x[:, 6] += 1e-8 * np.sin(2.0 * np.pi * np.arange(len(x)) / 24.0)
    read = readings(x, seed=9)
    epoch_ns = START_NS + np.arange(len(read)) * 3_600 * 10**9
    u2 = np.full(read.shape, 2.5e-21)
    said = engine("bands", of.clocks(), interval_s=3_600.0).run(epoch_ns, read, u2, np.ones(len(read), np.bool_))
    assert not (said.membership == Membership.REPLAYED).any()


def test_a_copy_under_a_little_noise_has_no_vote() -> None:
    of = rig(4, 5, 2)
    x = truth(of, seed=4, days=100.0, interval_s=3_600.0)
    copied = readings(x, seed=4, noise_s=1e-12)
    copied[:, 2] = copied[:, 1] + np.random.default_rng(2).normal(size=len(x)) * 0.05 * of.white[1] * 60.0
    epoch_ns = START_NS + np.arange(len(x)) * 3_600 * 10**9
    said = engine("bands", of.clocks(), interval_s=3_600.0).run(
        epoch_ns, copied, np.full(x.shape, 1e-24), np.ones(len(x), np.bool_)
    )
    assert (said.membership[1_500:, 2] == Membership.ALIKE).mean() > 0.7
