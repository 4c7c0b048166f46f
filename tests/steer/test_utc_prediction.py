"""UTC minus the scale, predicted: it converges, admits scatter, carries limits with its gains, opens to a surprise."""

import numpy as np
import pytest

from truechimer.steer.utc_prediction import ScaleNoise, UtcPrediction, ahead, update

NS = 10**9
EPOCH_NS = 1_800_000_000 * NS
INTERVAL_NS = 600 * NS
NOISE = ScaleNoise(q1=1e-27, q2=1e-38, y_spread=1e-12)
X_S, Y, U_S, LIMIT_S = 2.5e-7, 3e-14, 1e-9, 3e-9


def followed(
    count: int,
    *,
    scatter: float = 1.0,
    limit_s: float = LIMIT_S,
    seed: int = 1,
    before: UtcPrediction | None = None,
    off_s: float = 0.0,
) -> tuple[UtcPrediction, int]:
    """Values each 600 s of a straight line with white noise `scatter` x the declared one; prediction and surprises."""
    rng = np.random.default_rng(seed)
    utc, surprises = before, 0
    first = EPOCH_NS if before is None else before.state.epoch_ns + INTERVAL_NS
    for k in range(count):
        epoch = first + k * INTERVAL_NS
        x = X_S + Y * ((epoch - EPOCH_NS) / NS) + off_s + scatter * U_S * rng.normal()
        utc, surprise = update(utc, NOISE, epoch_tai_ns=epoch, x_utc_minus_scale_s=x, u_s=U_S, limit_s=limit_s)
        surprises += surprise
    assert utc is not None
    return utc, surprises


def errors(utc: UtcPrediction, epoch_ns: int) -> tuple[float, float]:
    """The prediction's error at an epoch, in s and in sigma."""
    now = ahead(utc, NOISE, epoch_tai_ns=epoch_ns)
    error = now.x_s - (X_S + Y * ((epoch_ns - EPOCH_NS) / NS))
    return error, error / now.u_x_s


def test_the_first_value_is_taken_as_it_is_with_an_honest_ignorance_of_the_rate() -> None:
    utc, surprise = update(None, NOISE, epoch_tai_ns=EPOCH_NS, x_utc_minus_scale_s=X_S, u_s=U_S, limit_s=LIMIT_S)
    assert not surprise
    assert (utc.state.x_s, utc.state.u_x_s, utc.state.y, utc.state.u_y) == (X_S, pytest.approx(U_S), 0.0, 1e-12)
    assert (utc.limit_s, utc.outside_ns, utc.begun_ns, utc.inflation) == (LIMIT_S, EPOCH_NS, EPOCH_NS, 1.0)


@pytest.mark.parametrize("seed", range(8))
def test_it_converges_and_stays_within_its_own_sigma(seed: int) -> None:
    utc, surprises = followed(500, seed=seed)
    assert surprises == 0
    error, sigmas = errors(utc, utc.state.epoch_ns)
    assert abs(error) < U_S
    assert abs(sigmas) < 4.0
    assert utc.state.u_x_s < U_S / 5.0
    assert abs(utc.state.y - Y) < 4.0 * utc.state.u_y
    assert utc.interval_s == pytest.approx(600.0)
    week = utc.state.epoch_ns + 7 * 86_400 * NS
    assert abs(errors(utc, week)[1]) < 4.0, "it predicts as well as it says"


def test_sigma_grows_while_nothing_comes() -> None:
    utc, _ = followed(500)
    last = utc.state.epoch_ns
    grown = [ahead(utc, NOISE, epoch_tai_ns=last + k * 86_400 * NS).u_x_s for k in range(8)]
    assert grown == sorted(grown)
    assert grown[-1] > 2.0 * grown[0]


def test_values_that_scatter_more_than_declared_inflate_the_sigma_and_never_shrink_it() -> None:
    assert followed(600, scatter=3.0)[0].inflation == pytest.approx(3.0, rel=0.3)
    quiet = followed(600, scatter=0.2)[0]
    assert quiet.scatter < 0.2
    assert quiet.inflation == 1.0


def test_limits_are_carried_with_the_gains_that_carry_the_values() -> None:
    utc, _ = followed(50, limit_s=3e-9)
    assert utc.limit_s == pytest.approx(3e-9, rel=1e-12), "all alike: nothing averages a limit away"
    nxt, epoch = utc.state, utc.state.epoch_ns + INTERVAL_NS
    now = ahead(utc, NOISE, epoch_tai_ns=epoch)
    gain = now.p_xx / (now.p_xx + U_S * U_S)
    after, _ = update(utc, NOISE, epoch_tai_ns=epoch, x_utc_minus_scale_s=now.x_s, u_s=U_S, limit_s=9e-9)
    assert after.limit_s == pytest.approx((1.0 - gain) * 3e-9 + gain * 9e-9, rel=1e-12)
    assert after.state.n == nxt.n + 1


def test_a_surprise_opens_the_state_instead_of_being_averaged_away() -> None:
    utc, _ = followed(500)
    epoch = utc.state.epoch_ns + INTERVAL_NS
    now = ahead(utc, NOISE, epoch_tai_ns=epoch)
    step_s = 1e-6
    after, surprise = update(
        utc, NOISE, epoch_tai_ns=epoch, x_utc_minus_scale_s=now.x_s + step_s, u_s=U_S, limit_s=LIMIT_S
    )
    assert surprise
    assert after.state.x_s == pytest.approx(now.x_s + step_s, abs=U_S)
    assert after.state.u_y > now.u_y * (1.0 - 1e-9)
    settled, more = followed(300, before=after, off_s=step_s)
    assert more == 0
    assert abs(settled.state.x_s - (X_S + step_s + Y * ((settled.state.epoch_ns - EPOCH_NS) / NS))) < 6.0 * max(
        settled.state.u_x_s, U_S / 3.0
    )


@pytest.mark.parametrize(("off_s", "surprises"), [(5.5e-9, False), (2e-8, True), (-2e-8, True)])
def test_what_the_limits_of_both_sides_explain_is_no_surprise(off_s: float, surprises: bool) -> None:
    utc, _ = followed(500)
    epoch = utc.state.epoch_ns + INTERVAL_NS
    now = ahead(utc, NOISE, epoch_tai_ns=epoch)
    _, surprise = update(utc, NOISE, epoch_tai_ns=epoch, x_utc_minus_scale_s=now.x_s + off_s, u_s=U_S, limit_s=LIMIT_S)
    assert surprise is surprises


WILD = ScaleNoise(q1=1e-27, q2=1e-38, y_spread=1e-6)
"""The same noise of a kind whose rate may be anything."""


def test_a_value_that_only_limits_explain_moves_the_phase_and_teaches_no_rate() -> None:
    """Before, a jump inside wide limits was taken for a rate of the same size over many values."""
    utc, _ = followed(500, limit_s=1e-6)
    settled = utc.state.y
    epoch = utc.state.epoch_ns + INTERVAL_NS
    now = ahead(utc, NOISE, epoch_tai_ns=epoch)
    after, surprise = update(utc, WILD, epoch_tai_ns=epoch, x_utc_minus_scale_s=now.x_s + 4e-7, u_s=U_S, limit_s=1e-6)
    assert not surprise
    assert after.state.x_s == pytest.approx(now.x_s + 4e-7, abs=U_S)
    assert abs(after.state.y - settled) < 0.01 * 4e-7 / (INTERVAL_NS / NS)
    assert after.state.u_y > 0.9 * 4e-7 / (INTERVAL_NS / NS), "whether the rate has changed is not known yet"
    stays, _ = followed(40, before=after, off_s=4e-7, limit_s=1e-6)
    assert abs(stays.state.y - Y) < 6.0 * stays.state.u_y
    assert stays.state.u_y < 0.1 * after.state.u_y


def test_a_rate_that_changed_inside_wide_limits_is_learned_from_the_next_values() -> None:
    utc, _ = followed(500, limit_s=1e-6)
    rate, epoch = 4e-10, utc.state.epoch_ns
    for k in range(1, 6):
        epoch += INTERVAL_NS
        true_s = X_S + Y * ((epoch - EPOCH_NS) / NS) + rate * k * INTERVAL_NS / NS
        utc, surprise = update(utc, WILD, epoch_tai_ns=epoch, x_utc_minus_scale_s=true_s, u_s=U_S, limit_s=1e-6)
        assert not surprise
    assert utc.state.y - Y == pytest.approx(rate, rel=0.05)
