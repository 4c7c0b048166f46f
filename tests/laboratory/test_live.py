"""The live fold is what `scale replay` runs: the same readings give the same scale, to the last bit."""

import numpy as np
import pytest
from tests.laboratory import rig

from truechimer.compare import cleaning, pivot
from truechimer.compare.cleaning import LinkHistory
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.scale import engines, live, live_state
from truechimer.sim import demo_scenario


@pytest.mark.parametrize("algorithm", ["bands", "kalman"])
def test_the_same_readings_give_the_scale_of_scale_replay(algorithm: str) -> None:
    scenario = rig.of_days(demo_scenario(), 1.6)
    register = rig.Lab(rig.start_of(scenario)).state.register
    links = LinkHistory.empty(len(register.links))
    n, clocks = register.n_clocks, register.clocks
    engine = engines.engine(algorithm, clocks, interval_s=600.0)
    constants = live_state.parameters(
        clocks, algorithm=algorithm, interval_s=600.0, tau_weight_s=86_400.0, weight_cap_n=4.0, probation_s=86_400.0
    )
    state = live_state.start(constants)
    for k, batch in enumerate(rig.world(scenario).history()):
        given = epoch_input(batch.readings, register, epoch_tai_ns=batch.epoch_tai_ns)
        marks, links = cleaning.classify(given.readings, links)
        found = pivot.against_pivot(given.readings, marks, register, preferred=0)
        x, u2 = found.x_node_minus_pivot_s[:n].copy(), found.u2_s2[:n].copy()
        x[2] += 30e-9 if k > 100 else 0.0
        theirs = engine.step(batch.epoch_tai_ns, x, u2, due=True)
        state, ours = live.step(
            state, constants, epoch_tai_ns=batch.epoch_tai_ns, x_clock_minus_pivot_s=x, u2_s2=u2, due=True
        )
        for name in ("x_clock_minus_scale_s", "weight", "membership", "residual_s"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), f"{name} at epoch {k}")
        assert ours.divided == theirs.divided
    assert 0.0 < ours.detection_floor_s < 3e-8
