"""The two-state filter against an independent Kalman filter written with matrices, and its invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.steer.two_state import TwoState, begin, corrected, predicted

EPOCH_NS = 1_800_000_000 * 10**9


class Matrices:
    """The same filter as textbooks write it: x' = F x, P' = F P F^T + Q; K = P H^T / (H P H^T + r), P = (I - K H) P."""

    def __init__(self, x_s: float, u_s: float, y: float, u_y: float) -> None:
        self.x = np.array([[x_s], [y]])
        self.p = np.diag([u_s**2, u_y**2])

    def predict(self, dt: float, q1: float, q2: float) -> None:
        f = np.array([[1.0, dt], [0.0, 1.0]])
        q = np.array([[q1 * dt + q2 * dt**3 / 3.0, q2 * dt**2 / 2.0], [q2 * dt**2 / 2.0, q2 * dt]])
        self.x, self.p = f @ self.x, f @ self.p @ f.T + q

    def correct(self, z: float, r: float) -> None:
        h = np.array([[1.0, 0.0]])
        s = h @ self.p @ h.T + r
        k = self.p @ h.T / s
        self.x = self.x + k * (z - (h @ self.x))
        i_kh = np.eye(2) - k @ h
        self.p = i_kh @ self.p @ i_kh.T + k * r @ k.T  # Joseph's form


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_an_independent_kalman_filter_over_irregular_epochs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q1, q2, u_s = 6.4e-27, 1e-36, 1e-9
    now = EPOCH_NS
    state, other = begin(now, x_s=3e-8, u_s=u_s, y=0.0, u_y=1e-13), Matrices(3e-8, u_s, 0.0, 1e-13)
    x, y = 3e-8, 4e-14
    for _ in range(400):
        dt_ns = int(rng.choice([10**9, 600 * 10**9, 86_400 * 10**9]))
        now += dt_ns
        dt = dt_ns / 1e9
        x += y * dt
        z = x + rng.normal() * u_s
        ahead = predicted(state, now, q1=q1, q2=q2)
        other.predict(dt, q1, q2)
        state, gain = corrected(ahead, z, variance=u_s * u_s)
        other.correct(z, u_s * u_s)
        assert 0.0 < gain < 1.0
        found = np.array([state.x_s, state.y, state.p_xx, state.p_xy, state.p_yy])
        wanted = np.array([*other.x.ravel(), other.p[0, 0], other.p[0, 1], other.p[1, 1]])
        # 1e-12 of what the filter itself does not know, and of the covariance's own size
        scale = np.array([u_s, state.u_y, state.p_xx, np.sqrt(state.p_xx * state.p_yy), state.p_yy])
        assert np.all(np.abs(found - wanted) <= 1e-12 * np.maximum(np.abs(wanted), scale))
    assert state.n == 401
    assert abs(state.y - y) < 6 * state.u_y


def test_a_measurement_better_than_the_filter_is_believed_and_a_worse_one_is_not() -> None:
    state = begin(EPOCH_NS, x_s=0.0, u_s=1e-9, y=0.0, u_y=1e-13)
    near, gain = corrected(state, 1e-6, variance=1e-30)
    assert gain == pytest.approx(1.0, abs=1e-11)
    assert near.x_s == pytest.approx(1e-6, rel=1e-11)
    far, gain = corrected(state, 1e-6, variance=1e-6)
    assert gain < 1e-11
    assert far.x_s < 1e-17


def test_an_epoch_that_is_not_later_changes_nothing() -> None:
    state = TwoState(EPOCH_NS, 1.0, 2.0, 3.0, 0.5, 5.0, 6)
    assert predicted(state, EPOCH_NS, q1=1.0, q2=1.0) is state
    assert predicted(state, EPOCH_NS - 1, q1=1.0, q2=1.0) is state


def test_predicting_in_two_steps_is_predicting_in_one() -> None:
    state = TwoState(EPOCH_NS, 1e-7, 2e-13, 1e-18, 1e-23, 1e-27, 6)
    half, end = EPOCH_NS + 43_200 * 10**9, EPOCH_NS + 86_400 * 10**9
    once = predicted(state, end, q1=1e-25, q2=1e-35)
    twice = predicted(predicted(state, half, q1=1e-25, q2=1e-35), end, q1=1e-25, q2=1e-35)
    assert twice.x_s == pytest.approx(once.x_s, rel=1e-12)
    assert twice.p_xx == pytest.approx(once.p_xx, rel=1e-12)
    assert twice.p_xy == pytest.approx(once.p_xy, rel=1e-12)
    assert twice.p_yy == pytest.approx(once.p_yy, rel=1e-12)


@given(
    st.lists(st.tuples(st.floats(1e-3, 1e7), st.floats(-1e-3, 1e-3), st.floats(1e-13, 1e-3)), min_size=1, max_size=40),
    st.floats(1e-13, 1e-3),
    st.floats(1e-18, 1e-3),
)
def test_the_covariance_stays_a_covariance(steps: list[tuple[float, float, float]], u_s: float, u_y: float) -> None:
    now = EPOCH_NS
    state = begin(now, x_s=0.0, u_s=u_s, y=0.0, u_y=u_y)
    for dt_s, z, r_s in steps:
        now += round(dt_s * 1e9)
        ahead = predicted(state, now, q1=1e-26, q2=1e-38)
        assert ahead.p_xx >= state.p_xx or state.p_xy < 0.0
        state, gain = corrected(ahead, z, variance=r_s * r_s)
        assert 0.0 <= gain <= 1.0
        assert 0.0 <= state.p_xx <= min(ahead.p_xx, r_s * r_s) * (1 + 1e-12)
        assert 0.0 <= state.p_yy <= ahead.p_yy
        assert state.p_xy**2 <= state.p_xx * state.p_yy * (1 + 1e-6)
