"""A difference of two time scales as phase and rate: the two-state Kalman filter that prediction and realization share.

It knows no clocks and decides nothing. State (x, y), x in seconds, y dimensionless; process noise q1 (white FM, s^2/s)
and q2 (random-walk FM, 1/s); measurement x with variance r (Zucca and Tavella 2005; Greenhall 2012). Irregular epochs.
Law of the file: + - * / and sqrt only.
"""

from dataclasses import dataclass
from math import sqrt


def one_sigma(variance: float) -> float:
    """Return the root of a variance, in its unit; of one that rounding made negative, 0."""
    return sqrt(variance) if variance > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class TwoState:
    """`x_s`, `y` at `epoch_ns` (TAI) with covariance `p_xx` (s^2), `p_xy` (s), `p_yy`; `n`: measurements taken in."""

    epoch_ns: int
    x_s: float
    y: float
    p_xx: float
    p_xy: float
    p_yy: float
    n: int

    @property
    def u_x_s(self) -> float:
        """One sigma of x, seconds."""
        return one_sigma(self.p_xx)

    @property
    def u_y(self) -> float:
        """One sigma of y."""
        return one_sigma(self.p_yy)


def begin(epoch_ns: int, *, x_s: float, u_s: float, y: float, u_y: float) -> TwoState:
    """Begin with a first measurement and an honest ignorance of the rate."""
    return TwoState(epoch_ns, x_s, y, u_s * u_s, 0.0, u_y * u_y, 1)


def predicted(state: TwoState, epoch_ns: int, *, q1: float, q2: float) -> TwoState:
    """Carry the state on to an epoch without a measurement; an epoch not after the state's own returns it unchanged."""
    dt = (epoch_ns - state.epoch_ns) / 1e9
    if dt <= 0.0:
        return state
    p_xx = state.p_xx + 2.0 * dt * state.p_xy + dt * dt * state.p_yy + q1 * dt + q2 * dt * dt * dt / 3.0
    p_xy = state.p_xy + dt * state.p_yy + q2 * dt * dt / 2.0
    return TwoState(epoch_ns, state.x_s + state.y * dt, state.y, p_xx, p_xy, state.p_yy + q2 * dt, state.n)


def corrected(state: TwoState, x_s: float, *, variance: float) -> tuple[TwoState, float]:
    """Take a measurement of x (variance in s^2) in; return the state and the gain on x (0 to 1)."""
    total = state.p_xx + variance
    gain_x, gain_y = state.p_xx / total, state.p_xy / total
    innovation = x_s - state.x_s
    return (
        TwoState(
            state.epoch_ns,
            state.x_s + gain_x * innovation,
            state.y + gain_y * innovation,
            # (1 - k) p written as p r / (p + r): it cannot turn negative
            state.p_xx * (variance / total),
            state.p_xy * (variance / total),
            # never below p r / (p + r) either, which rounding could pass where the rate was all but unknown before
            max(state.p_yy - gain_y * state.p_xy, state.p_yy * (variance / total)),
            state.n + 1,
        ),
        gain_x,
    )
