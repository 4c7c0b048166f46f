"""Orders: inside the limits whatever the state, in frequency only; realization; and the bound's formula."""

from dataclasses import replace
from math import sqrt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.quorum.persons import BEGIN_NS, DAY_NS, LIMITS, verified

from truechimer.quorum.envelope import Applied, admit
from truechimer.quorum.verified import Refused, Verified
from truechimer.steer import realization
from truechimer.steer.bound import BoundTerms, bound
from truechimer.steer.realization import HOST_RATE_LIMIT_LEAST, HostNoise
from truechimer.steer.steering_law import SteeringParameters, decide
from truechimer.steer.steering_order import Coordination, SteeringOrder
from truechimer.steer.two_state import TwoState, predicted

NOW_NS = BEGIN_NS + 10 * DAY_NS
PARAMETERS = SteeringParameters(time_constant_s=5 * 86_400.0, interval_s=6 * 3_600.0)
HOST = HostNoise(q1=4e-18, q2=3e-20, y_spread=2e-4)
NANO = st.floats(-1e-6, 1e-6)


def utc(x_s: float = 0.0, y: float = 0.0, *, at_ns: int = NOW_NS) -> TwoState:
    return TwoState(at_ns, x_s, y, 1e-20, 0.0, 1e-32, 50)


def test_a_small_departure_is_taken_back_over_the_time_constant() -> None:
    order = decide(utc(1e-9, 1e-15), Coordination(NOW_NS, 0.0, 0.0), PARAMETERS, LIMITS, Applied(0.0, NOW_NS, 0.0))
    assert order.y_steer == pytest.approx(1e-15 + 1e-9 / (5 * 86_400.0), rel=1e-12)
    assert (order.valid_from_ns, order.valid_until_ns) == (NOW_NS, NOW_NS + DAY_NS // 2)
    assert "cut" not in order.because


def test_a_wish_beyond_one_change_is_cut_and_says_so() -> None:
    order = decide(utc(1e-3), Coordination(NOW_NS, 0.0, 0.0), PARAMETERS, LIMITS, Applied(0.0, NOW_NS, 0.0))
    assert order.y_steer == pytest.approx(2.3e-14, rel=1e-8)
    assert "cut" in order.because


@given(
    x_s=NANO,
    y=st.floats(-1e-12, 1e-12),
    at_s=NANO,
    departure=st.floats(-1.0, 1.0),
    reference_y=st.floats(-1e-11, 1e-11),
    total=st.floats(-3.0, 3.0),
    into_ns=st.integers(-DAY_NS, 91 * DAY_NS),
    per_change=st.sampled_from([0.0, 1e-15, 2.3e-14, 1e-6]),
)
def test_what_the_law_decides_the_envelope_admits_unless_it_has_expired(  # noqa: PLR0917
    x_s: float,
    y: float,
    at_s: float,
    departure: float,
    reference_y: float,
    total: float,
    into_ns: int,
    per_change: float,
) -> None:
    """Any state that lawful steering and a holdover of any length can lead to, a total overdrawn threefold among it."""
    limits = replace(LIMITS, per_change=per_change)
    now = BEGIN_NS + into_ns
    y_now = reference_y + departure * limits.per_day_s / 86_400.0 * (1.0 - 2e-9)
    assume(abs(y_now - reference_y) <= limits.per_day_s / 86_400.0 * (1.0 - 1e-9))
    account = Applied(y_now, now, reference_y, total * limits.total_s)
    order = decide(utc(x_s, y, at_ns=now), Coordination(now, at_s, y_now), PARAMETERS, limits, account)
    assert abs(order.y_steer - y_now) <= per_change
    found = admit(order, verified(limits), account)
    if isinstance(found, Refused):
        in_force = BEGIN_NS <= now < limits.valid_until_ns
        stuck = per_change == 0.0 and found.reason == "total"
        assert stuck or (found.reason == "envelope-expired" and not in_force), found.says
    else:
        assert found.value == order


def test_a_total_overdrawn_in_a_long_holdover_is_paid_back_order_by_order() -> None:
    limits = verified()
    account = Applied(2e-14, NOW_NS, 0.0, 120e-9)
    coordination, now = Coordination(NOW_NS, 0.0, 2e-14), NOW_NS
    totals = []
    for _ in range(120):
        order = decide(utc(1e-3, at_ns=now), coordination, PARAMETERS, limits.value, account)
        admitted = admit(order, limits, account)
        assert isinstance(admitted, Verified), admitted
        done = realization.apply(admitted, limits, coordination, account)
        assert not isinstance(done, Refused)
        coordination, account = done
        now += round(PARAMETERS.interval_s * 1e9)
        account = account.advanced(now)
        totals.append(account.total_s)
    assert max(totals) < 121e-9
    assert totals[-1] <= limits.value.total_s


@given(
    st.lists(st.tuples(st.floats(-1e-13, 1e-13), st.integers(1, 5 * DAY_NS)), min_size=1, max_size=30),
    st.floats(-1e-3, 1e-3),
)
def test_time_is_continuous_at_every_order(rates: list[tuple[float, int]], x_s: float) -> None:
    coordination, now = Coordination(NOW_NS, x_s, 0.0), NOW_NS
    for y, wait_ns in rates:
        now += wait_ns
        before = coordination.at(now)
        coordination = coordination.steered(now, y)
        assert coordination.at(now) == before
        assert coordination.y_steer == y
        assert coordination.at(now + 10**9) == before + y


def test_the_applier_repeats_the_check_of_the_envelope() -> None:
    limits = verified()
    account = Applied(0.0, NOW_NS, 0.0)
    order = SteeringOrder(2e-14, NOW_NS, NOW_NS + DAY_NS, "test")
    admitted = admit(order, limits, account)
    assert isinstance(admitted, Verified)
    refused = realization.apply(admitted, limits, Coordination(NOW_NS, 0.0, 0.0), replace(account, y=-2e-14))
    assert isinstance(refused, Refused)
    assert refused.reason == "per-change"
    done = realization.apply(admitted, limits, Coordination(NOW_NS, 5e-9, 0.0), account)
    assert done == (Coordination(NOW_NS, 5e-9, 2e-14), Applied(2e-14, NOW_NS, 0.0, 0.0))


def test_the_host_shows_utck_by_its_own_difference_less_the_coordination() -> None:
    host = TwoState(NOW_NS, 3e-4, 2e-6, 1e-20, 0.0, 1e-20, 9)
    coordination = Coordination(NOW_NS - 100 * 10**9, 5e-7, 1e-13)
    epoch = NOW_NS + 50 * 10**9
    real = realization.realize(host, coordination, HOST, epoch_ns=epoch)
    assert real.x_host_minus_utck_s == pytest.approx(3e-4 + 2e-6 * 50 - (5e-7 + 1e-13 * 150), rel=1e-12)
    assert real.y_host_minus_utck == pytest.approx(2e-6 - 1e-13, rel=1e-12)
    assert real.u_host_link_s == predicted(host, epoch, q1=HOST.q1, q2=HOST.q2).u_x_s > host.u_x_s


def test_the_bound_never_grows_slower_than_the_least_host_rate() -> None:
    calm = TwoState(NOW_NS, 0.0, 0.0, 1e-24, 0.0, 1e-30, 9)
    assert realization.realize(calm, Coordination(NOW_NS, 0.0, 0.0), HOST, epoch_ns=NOW_NS).rate_limit == 1e-8
    wild = replace(calm, p_yy=1e-12)
    rate = realization.realize(wild, Coordination(NOW_NS, 0.0, 0.0), HOST, epoch_ns=NOW_NS).rate_limit
    assert rate == pytest.approx(6e-6)
    assert rate > HOST_RATE_LIMIT_LEAST


def taught_host() -> realization.Followed:
    """A host whose rate of 1e-6 is known from two minutes of readings, each second."""
    followed = realization.follow(None, None, HOST, epoch_ns=NOW_NS, x_host_minus_scale_s=0.0, u_s=1e-9)
    for k in range(1, 120):
        followed = read_host(followed, k, k * 1e-6)
        assert not followed.moved
        assert followed.doubt is None
    return followed


def read_host(before: realization.Followed, second: int, x_s: float) -> realization.Followed:
    return realization.follow(
        before.host, before.doubt, HOST, epoch_ns=NOW_NS + second * 10**9, x_host_minus_scale_s=x_s, u_s=1e-9
    )


def test_one_reading_that_contradicts_the_host_moves_nothing_and_widens_the_bound() -> None:
    taught = taught_host()
    assert taught.host.y == pytest.approx(1e-6, abs=6 * taught.host.u_y)
    for off_s in (1e-7, -1e-3, 5.0):
        spiked = read_host(taught, 120, 120e-6 + off_s)
        assert not spiked.moved
        assert spiked.host == taught.host
        assert spiked.off_s == pytest.approx(abs(off_s), rel=0.2)
        back = read_host(spiked, 121, 121e-6)
        assert not back.moved
        assert back.doubt is None
        assert back.off_s == 0.0
        assert back.host.y == pytest.approx(1e-6, abs=6 * back.host.u_y)


def test_a_host_that_jumps_starts_anew_at_the_second_reading_and_is_said() -> None:
    taught = taught_host()
    first = read_host(taught, 120, 120e-6 + 1e-3)
    second = read_host(first, 121, 121e-6 + 1e-3)
    assert second.moved
    assert second.doubt is None
    assert second.host.n == 2
    assert second.host.x_s == pytest.approx(121e-6 + 1e-3, abs=1e-8)
    assert second.host.y == pytest.approx(1e-6, abs=6 * second.host.u_y)


def test_after_two_false_readings_no_page_is_made_before_a_third_agrees() -> None:
    spiked = read_host(read_host(taught_host(), 120, 120e-6 + 1e-3), 121, 121e-6 + 1e-3)
    back = read_host(spiked, 122, 122e-6)
    assert spiked.host.n < realization.PLACED_AFTER
    assert back.doubt is not None, "a return is a contradiction too"
    assert back.off_s == pytest.approx(1e-3, rel=0.01)
    assert read_host(back, 123, 123e-6).host.n < realization.PLACED_AFTER


@given(st.lists(st.floats(0.0, 1e-3), min_size=9, max_size=9))
def test_the_bound_is_six_sigma_and_every_limit_whole(values: list[float]) -> None:
    names = [
        "u_utc_prediction_s",
        "u_scale_since_outside_s",
        "u_host_link_s",
        "limit_links_s",
        "limit_steering_s",
        "limit_undetected_s",
        "limit_host_rate_s",
        "limit_stamps_s",
        "limit_leap_s",
    ]
    terms = BoundTerms(**dict(zip(names, values, strict=True)))
    assert list(terms.as_dict()) == names, "a term that is not in the formula would be a term left out"
    found = bound(terms)
    assert found.u_s == pytest.approx(sqrt(sum(u * u for u in values[:3])), rel=1e-15)
    assert found.bound_s == pytest.approx(6.0 * sqrt(sum(u * u for u in values[:3])) + sum(values[3:]), rel=4e-16)
    of_scale = sum(values[3:6]) + values[8]
    assert found.scale_bound_s == pytest.approx(6.0 * sqrt(values[0] ** 2 + values[1] ** 2) + of_scale, rel=4e-16)
    assert found.scale_bound_s <= found.bound_s * (1 + 1e-15)


def test_an_order_is_written_in_canonical_bytes() -> None:
    order = SteeringOrder(-1.5e-14, NOW_NS, NOW_NS + 1, "x")
    assert order.canonical() == (
        b'{"because":"x","valid_from_tai_ns":"%d","valid_until_tai_ns":"%d","y_steer":"-1.5e-14 1"}'
        % (NOW_NS, NOW_NS + 1)
    )
    assert order.y == -1.5e-14
