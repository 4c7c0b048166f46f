"""What the ensemble of a laboratory in service carries between epochs, whichever algorithm makes it, and its constants;
nothing here judges or averages.

An algorithm is named in the record `run-start` together with its version. How a state moves to another algorithm, to
another interval or to more clocks is in `live_change`.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock
from truechimer.errors import Misuse
from truechimer.scale import at1, bands, detection_state, kalman
from truechimer.scale.bands_state import BEST, OUT, SINCE_NS, BandsParameters, BandsState
from truechimer.scale.bands_state import VERSION as BANDS_VERSION
from truechimer.scale.detection_state import DAY_S, DetectionParameters, DetectionState
from truechimer.scale.kalman import KalmanState
from truechimer.scale.state import ScaleParameters, ScaleState

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LIVE_ALGORITHMS = ("bands", "at1", "kalman")
"""`algos` is not among them: it weighs a month with what the month itself showed, so it exists after the fact only."""

DEFAULT_LIVE_ALGORITHM = "at1"

VERSIONS = {
    "bands": f"bands {BANDS_VERSION}, detection {detection_state.VERSION}",
    "at1": f"at1 {at1.VERSION}",
    "kalman": f"kalman {kalman.VERSION}, bands {BANDS_VERSION}, detection {detection_state.VERSION}",
}
"""Each number counts up with every change after which the same readings give another scale."""

LOOK_S = 1.0
"""Between two scale steps clocks are looked at this often at the most: so often may that test be wrong."""

HELD_S = DAY_S / 4.0
"""The longest window of which the detection floor is made is looked at so often: a floor is held for that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveParameters:
    """Constants of the ensemble, fixed for a run. `eligible`: bool `(n,)`, may carry weight; `at1` for that algorithm,
    the others for `bands` and `kalman`; `between`: detection's for epochs between scale steps.
    """

    algorithm: str
    interval_s: float
    eligible: NDArray[np.bool_]
    at1: ScaleParameters | None = None
    bands: BandsParameters | None = None
    detection: DetectionParameters | None = None
    between: DetectionParameters | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """The ensemble of `bands` or `kalman`, with sequential detection before it.

    `stepped_s` `(n,)`: steps of each clock that were taken out of what the algorithm sees; `membership`: after the last
    epoch, between scale steps too; `weight`: at the shortest averaging times, the same object until weights or learned
    noise change. `floor_s`, `floor_before_s` `(n,)`: largest movement of each clock that the tests of this `HELD_S` and
    of the one before leave unseen, `floor_slot`: number of the present one. `interval_s`: for which it was made.
    """

    fold: BandsState | KalmanState
    detection: DetectionState
    stepped_s: Floats
    membership: Ints
    weight: Floats
    floor_s: Floats
    floor_before_s: Floats
    floor_slot: int
    interval_s: float

    @property
    def learner(self) -> BandsState:
        """What learns noise and drift."""
        return self.fold.learner if isinstance(self.fold, KalmanState) else self.fold

    @property
    def epoch_ns(self) -> int:
        """TAI of the last step that somebody's reading made, 0 before the first."""
        return self.learner.epoch_ns

    @property
    def last_ns(self) -> Ints:
        """Last reading of each clock that was taken in."""
        return self.detection.last_ns

    @property
    def since_ns(self) -> Ints:
        """Begin of each clock's present rate."""
        return self.learner.clock_i[:, SINCE_NS]

    @property
    def x_s(self) -> Floats:
        """Each clock minus the scale at its last reading, its steps included."""
        if isinstance(self.fold, KalmanState):
            return self.fold.clock[:, kalman.X] + self.stepped_s
        return self.fold.clock_f[:, OUT] + self.stepped_s

    def rate_of(self, clock: int) -> float:
        """Return the rate of a clock minus the scale."""
        if isinstance(self.fold, KalmanState):
            return float(self.fold.clock[clock, kalman.Y])
        return float(self.fold.rate[clock, self.fold.clock_i[clock, BEST]])


LiveState: TypeAlias = ScaleState | Judged


def parameters(
    clocks: tuple[Clock, ...],
    *,
    algorithm: str,
    interval_s: float,
    tau_weight_s: float,
    weight_cap_n: float,
    probation_s: float,
) -> LiveParameters:
    """Return the constants for these clocks. `interval_s`: between scale steps; `tau_weight_s` and `weight_cap_n` are
    AT1's.
    """
    if algorithm == "at1":
        own = at1.parameters(
            clocks,
            tau_weight_s=tau_weight_s,
            weight_cap_n=weight_cap_n,
            probation_s=probation_s,
            interval_s=interval_s,
        )
        return LiveParameters(algorithm=algorithm, interval_s=interval_s, eligible=own.eligible, at1=own)
    if algorithm not in LIVE_ALGORITHMS:
        raise Misuse(f"no algorithm {algorithm!r} runs in service; there are {', '.join(LIVE_ALGORITHMS)}")
    banded = bands.parameters(clocks, interval_s=interval_s, probation_s=probation_s)
    judged, looked = (
        detection_state.parameters(clocks, banded.eligible, interval_s=of_s, probation_s=probation_s)
        for of_s in (interval_s, min(interval_s, LOOK_S))
    )
    return LiveParameters(
        algorithm=algorithm,
        interval_s=interval_s,
        eligible=banded.eligible,
        bands=banded,
        detection=judged,
        between=replace(judged, sigmas=looked.sigmas),
    )


def start(constants: LiveParameters) -> LiveState:
    """Return the state before the first reading."""
    if constants.at1 is not None:
        return at1.start(constants.at1)
    assert constants.bands is not None
    assert constants.detection is not None
    n = len(constants.eligible)
    fold = kalman.start(constants.bands) if constants.algorithm == "kalman" else bands.start(constants.bands)
    return Judged(
        fold=fold,
        detection=detection_state.empty(constants.detection),
        stepped_s=np.zeros(n),
        membership=np.zeros(n, np.int64),
        weight=np.zeros(n),
        floor_s=np.zeros(n),
        floor_before_s=np.zeros(n),
        floor_slot=0,
        interval_s=constants.interval_s,
    )


def fits(state: LiveState, constants: LiveParameters) -> bool:
    """Return True where a state is one of these constants: the same algorithm, interval and number of clocks."""
    if len(state.membership) != len(constants.eligible):
        return False
    if isinstance(state, ScaleState):
        return constants.algorithm == "at1"
    is_kalman = isinstance(state.fold, KalmanState)
    return constants.algorithm == ("kalman" if is_kalman else "bands") and state.interval_s == constants.interval_s
