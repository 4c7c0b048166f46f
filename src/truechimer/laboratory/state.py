"""The laboratory's state between epochs and its constants; nothing here computes.

`LaboratoryState` is what a restart must bring back, bit for bit; `LaboratoryConfig` is what a run was started with, and
stands in the record `run-start`.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.register import Register
from truechimer.compare.claims import SILENT, Claim
from truechimer.compare.cleaning import LinkHistory
from truechimer.compare.selection import SelectionState
from truechimer.evidence.record import Chain
from truechimer.instants import LeapTable
from truechimer.laboratory import receiving
from truechimer.laboratory.departing import Departing
from truechimer.laboratory.leap_notices import NOTHING_HEARD, LeapNotices
from truechimer.laboratory.ordered_rate import OrderedRate
from truechimer.laboratory.orders import Orders
from truechimer.laboratory.own_past import NOTHING_KNOWN, OwnPasts
from truechimer.laboratory.publications import Publications, PublishedSettings
from truechimer.laboratory.receiving import Receiver, Receiving
from truechimer.quorum.envelope import Applied, SteeringLimits
from truechimer.quorum.verified import Refused, Verified
from truechimer.scale import live_state
from truechimer.scale.live_state import LiveParameters, LiveState
from truechimer.serve.clock_page import ServiceState
from truechimer.steer import holdover
from truechimer.steer.daily_values import NOTHING, DailyValues
from truechimer.steer.holdover import Wander
from truechimer.steer.realization import HostNoise
from truechimer.steer.steering_law import SteeringParameters
from truechimer.steer.steering_order import Coordination
from truechimer.steer.two_state import TwoState
from truechimer.steer.utc_prediction import ScaleNoise, UtcPrediction


@dataclass(frozen=True, slots=True, kw_only=True)
class LaboratoryConfig:
    """Constants of a run.

    `interval_ns`: between scale steps; `members`: clocks that may carry weight; `pivot`: clock index tried first;
    `requalify_s`: how long an outvoted source must agree before it votes; `silence_s`: how long doors may serve from
    the last page; `coverage`: measured lower limit of the bound's coverage; `leap_expires_ns`: ns
    TAI; `observing`: nothing is steered in this run; `polls`: how often (s) each server is asked that the laboratory
    names, by reference; `is_host_alone`: the host's oscillator is the scale; `doors`: names of the listeners that an
    order can give a policy; `receivers`: those whose own word judges their links; `follows_links`: links are held
    against their own past; `published`: how published values of UTC - UTC(k) are taken, None: not at all; `leap_need`:
    provenances that a leap second takes, 0: nothing is voted on.
    """

    name: str
    scale_name: str
    simulated: bool
    scale: LiveParameters
    interval_ns: int
    members: int
    pivot: int
    steering: SteeringParameters
    host_noise: HostNoise
    leaps: LeapTable
    leap_expires_ns: int
    requalify_s: float
    silence_s: float
    coverage: float
    refid: bytes
    reference_refids: dict[str, bytes]
    observing: bool = False
    polls: dict[str, float] = field(default_factory=dict)
    is_host_alone: bool = False
    doors: tuple[str, ...] = ()
    receivers: tuple[Receiver, ...] = ()
    published: PublishedSettings | None = None
    follows_links: bool = False
    leap_need: int = 0


@dataclass(frozen=True, slots=True)
class LaboratoryState:
    """What the fold carries.

    `scale_index`: number of the last scale interval; `noise` and `noise_of`: noise of the scale and the weights it
    was made for; `host`: host minus scale, None before the first reading of the host; `host_doubt`: begun at a
    reading that contradicts it, until the next one judges; `limits`: the verified envelope, or why there is none;
    `coordination`: None before coordination-start; `said`: standing conditions that were said already;
    `reentering`: after a boot, a scale of one waits for the links to say where it is; `rate_known`: while
    observing, offset and rate of UTC minus the scale are known, and UTC is stated; `wander`: what is known of the
    host's oscillator where it is the scale, else None; `daily`: the outside values of an ensemble, a mean a day, for
    what is foreseen of a holdover; `orders`: what signed orders have made, None before the first run that is not
    observing; `by_order`: what orders to steer by a rate add at present; `departing`: what the sources of UTC say of
    the scale, None before the first epoch with one; `receivers`: what is carried of each receiver; `own_pasts`: the
    past of each link; `publications`: what was published of UTC - UTC(k), None where nothing is taken in. Where they
    decide, `utc` is their forecast. `leap`: what is heard of leap seconds. An observing run leaves `limits`,
    `coordination`, `applied` and `next_steer_ns` as the last run in service left them.
    """

    register: Register
    chain: Chain
    links: LinkHistory
    scale: LiveState
    scale_index: int
    noise: ScaleNoise
    noise_of: NDArray[np.float64]
    claims: tuple[Claim, ...]
    selection: SelectionState
    utc: UtcPrediction | None
    limits: Verified[SteeringLimits] | Refused
    coordination: Coordination | None
    applied: Applied | None
    next_steer_ns: int
    host: TwoState | None
    host_doubt: TwoState | None
    service: ServiceState
    divided: bool
    open_loops: frozenset[int]
    said: frozenset[str]
    epoch_ns: int
    reentering: bool
    rate_known: bool = False
    wander: Wander | None = None
    daily: DailyValues = NOTHING
    orders: Orders | None = None
    by_order: OrderedRate | None = None
    departing: Departing | None = None
    receivers: tuple[Receiving, ...] = ()
    publications: Publications | None = None
    own_pasts: OwnPasts = NOTHING_KNOWN
    leap: LeapNotices = NOTHING_HEARD


def begin(
    config: LaboratoryConfig, register: Register, limits: Verified[SteeringLimits] | Refused, noise: ScaleNoise
) -> LaboratoryState:
    """Return the state before the first epoch."""
    scale = live_state.start(config.scale)
    return LaboratoryState(
        register=register,
        chain=Chain(),
        links=LinkHistory.empty(len(register.links)),
        scale=scale,
        scale_index=0,
        noise=noise,
        noise_of=scale.weight,
        claims=(SILENT,) * len(register.outside),
        selection=SelectionState.NO_SOURCE,
        utc=None,
        limits=limits,
        coordination=None,
        applied=None,
        next_steer_ns=0,
        host=None,
        host_doubt=None,
        service=ServiceState.FREERUN,
        divided=False,
        open_loops=frozenset(),
        said=frozenset(),
        epoch_ns=0,
        reentering=False,
        wander=holdover.begin() if config.is_host_alone else None,
        receivers=receiving.fitted((), config.receivers),
    )
