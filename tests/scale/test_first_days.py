"""The first two days, while no noise is known: what no clock can do is excluded at once, what clocks do is not."""

import numpy as np
import pytest
from tests.scale.ensembles import READING_NOISE_S, START_NS, Rig, readings, rig, truth

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.scale.engines import Stretch, engine
from truechimer.scale.state import Membership

HOUR_S, DAYS = 3_600.0, 6.0
OUT = [Membership.SUSPECT, Membership.OUT_STEP, Membership.OUT_RATE, Membership.DISPUTED, Membership.ALIKE]
RIGS = {"5 caesiums": rig(0, 5, 0), "3 masers, 5 caesiums": rig(3, 5, 0), "mixed": rig(2, 3, 3)}


def ran(of: Rig, read: np.ndarray, *, is_declared: bool, algorithm: str = "bands") -> Stretch:
    """The ensemble over readings of each hour; clocks by their kinds, or by their names alone."""
    clocks = of.clocks() if is_declared else [Clock(name=c.name, kind=ClockKind.OSCILLATOR) for c in of.clocks()]
    run = engine(algorithm, tuple(clocks), interval_s=HOUR_S)
    epoch_ns = START_NS + np.arange(len(read)) * round(HOUR_S * 1e9)
    u2 = np.full(read.shape, READING_NOISE_S**2)
    u2[:, 0] = 0.0
    return run.run(epoch_ns, read, u2, np.ones(len(read), np.bool_))


def moved(of: Rig, read: np.ndarray, faulty: np.ndarray, *, is_declared: bool, clock: int) -> float:
    """By how much the fault moves the scale at most (s), through a clock that has none."""
    other = 1 if clock == 0 else 0
    one, two = (ran(of, rows, is_declared=is_declared) for rows in (read, faulty))
    return float(np.abs(one.x_clock_minus_scale_s - two.x_clock_minus_scale_s)[:, other].max())


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("name", RIGS)
def test_a_clock_in_another_unit_is_out_from_its_second_reading_on_and_teaches_the_others_nothing(
    name: str, is_declared: bool
) -> None:
    of = RIGS[name]
    x = truth(of, seed=3, days=DAYS, interval_s=HOUR_S)
    read = readings(x, seed=3)
    read[:, -1] *= 1e9
    said = ran(of, read, is_declared=is_declared)
    assert (said.weight[1:, -1] < 1e-6).all()
    assert not np.isin(said.membership[:, :-1], OUT).any()
    # the others make a scale of the noise that they have
    e = (x - said.x_clock_minus_scale_s)[24:, 0]
    noise = of.white[:-1] * np.sqrt(HOUR_S)
    assert np.std(np.diff(e, 2)) < 3.0 * np.hypot(noise.max() / np.sqrt(len(noise)), READING_NOISE_S)


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("name", RIGS)
def test_nobody_is_out_in_the_first_days_of_clean_readings(name: str, is_declared: bool) -> None:
    for seed in range(3):
        x = truth(RIGS[name], seed=seed, days=DAYS, interval_s=HOUR_S)
        said = ran(RIGS[name], readings(x, seed=seed), is_declared=is_declared)
        assert not np.isin(said.membership, OUT).any()
        assert (said.membership == Membership.IN).all()


@pytest.mark.parametrize("at", [5, 20])
@pytest.mark.parametrize("what", ["step", "rate"])
def test_a_fault_beyond_any_clock_is_excluded_in_the_first_hours(at: int, what: str) -> None:
    of = RIGS["3 masers, 5 caesiums"]
    x = truth(of, seed=5, days=DAYS, interval_s=HOUR_S)
    read, size = readings(x, seed=5), 1e-6 if what == "step" else 1e-9
    for clock in (0, 1, 6):
        faulty = read.copy()
        shape = np.arange(len(x)) >= at
        fault = size * (shape if what == "step" else np.maximum(np.arange(len(x)) - at, 0) * HOUR_S)
        if clock:
            faulty[:, clock] += fault
        else:
            # the pivot itself: all others are read the other way
            faulty[:, 1:] -= fault[:, None]
        assert moved(of, read, faulty, is_declared=True, clock=clock) < 3e-9
