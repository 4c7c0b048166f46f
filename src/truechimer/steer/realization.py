"""Realization: UTC(k) as the host's raw counter shows it, from the host's readings and the coordination.

It reads no clock. `host` here is the host's label: anchor + raw counter, at nominal rate. Host minus scale is a
two-state difference (the host's oscillator wanders); where the host is the scale itself (a laboratory without clocks)
it is zero by definition.
"""

from dataclasses import dataclass

from truechimer.quorum import envelope
from truechimer.quorum.envelope import Applied, SteeringLimits
from truechimer.quorum.verified import Refused, Verified
from truechimer.steer.steering_order import Coordination, SteeringOrder
from truechimer.steer.two_state import TwoState, begin, corrected, predicted

HOST_RATE_LIMIT_LEAST = 1e-8
"""The bound never grows slower than this between page writes, whatever the host has shown (contract)."""

SURPRISE_SIGMAS = 8.0

PLACED_AFTER = 3
"""Readings of the host before a page is made of them: two give a rate, the third is the first that could contradict it.
"""


@dataclass(frozen=True, slots=True)
class HostNoise:
    """Two-state noise of the host's oscillator: `q1` (s^2/s), `q2` (1/s), spread of its rate before it is known."""

    q1: float
    q2: float
    y_spread: float


@dataclass(frozen=True, slots=True)
class Realization:
    """UTC(k) for the host at `epoch_ns` (the host's label, ns): `x_host_minus_utck_s` and its rate `y_host_minus_utck`.

    `u_host_link_s`: one sigma of host minus scale; `rate_limit`: how fast the bound must grow per second of raw time.
    """

    epoch_ns: int
    x_host_minus_utck_s: float
    y_host_minus_utck: float
    u_host_link_s: float
    rate_limit: float


@dataclass(frozen=True, slots=True)
class Followed:
    """Host minus scale after a reading. `doubt`: begun at a reading that contradicts the prediction, until the next one
    says which of the two is right; `off_s`: by how much it does, s; `moved`: the host did something its model cannot,
    twice in a row, and its difference was begun anew.
    """

    host: TwoState
    doubt: TwoState | None = None
    off_s: float = 0.0
    moved: bool = False


def follow(
    before: TwoState | None,
    doubt: TwoState | None,
    noise: HostNoise,
    *,
    epoch_ns: int,
    x_host_minus_scale_s: float,
    u_s: float,
) -> Followed:
    """Take one reading of host minus scale in.

    One reading that contradicts the prediction moves nothing: an instrument slips more often than an oscillator does.
    Until the next reading both are possible, and `off_s` belongs into the bound. Two in a row, and the host has moved.
    """
    if before is None:
        return Followed(begin(epoch_ns, x_s=x_host_minus_scale_s, u_s=u_s, y=0.0, u_y=noise.y_spread))
    ahead = predicted(before, epoch_ns, q1=noise.q1, q2=noise.q2)
    innovation = x_host_minus_scale_s - ahead.x_s
    if innovation * innovation <= SURPRISE_SIGMAS * SURPRISE_SIGMAS * (ahead.p_xx + u_s * u_s):
        return Followed(corrected(ahead, x_host_minus_scale_s, variance=u_s * u_s)[0])
    if doubt is None:
        anew = begin(epoch_ns, x_s=x_host_minus_scale_s, u_s=u_s, y=before.y, u_y=noise.y_spread)
        return Followed(before, anew, abs(innovation))
    ahead = predicted(doubt, epoch_ns, q1=noise.q1, q2=noise.q2)
    return Followed(corrected(ahead, x_host_minus_scale_s, variance=u_s * u_s)[0], moved=True)


def apply(
    order: Verified[SteeringOrder], limits: Verified[SteeringLimits], coordination: Coordination, applied: Applied
) -> tuple[Coordination, Applied] | Refused:
    """Apply a verified order from its begin on; the envelope's check is repeated here, where it takes effect."""
    again = envelope.admit(order.value, limits, applied)
    if isinstance(again, Refused):
        return again
    begin_ns, y = again.value.valid_from_ns, again.value.y_steer
    return coordination.steered(begin_ns, y), Applied(y, begin_ns, applied.reference_y, applied.total_s)


def realize(host: TwoState, coordination: Coordination, noise: HostNoise, *, epoch_ns: int) -> Realization:
    """Return UTC(k) for the host at an epoch, from host minus scale and UTC(k) minus scale."""
    now = predicted(host, epoch_ns, q1=noise.q1, q2=noise.q2)
    return Realization(
        epoch_ns,
        now.x_s - coordination.at(epoch_ns),
        now.y - coordination.y_steer,
        now.u_x_s,
        max(HOST_RATE_LIMIT_LEAST, 6.0 * now.u_y),
    )
