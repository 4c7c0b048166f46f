"""Readings laid into arrays over the register, and delays to the reference plane with their sign."""

import numpy as np
import pytest
from tests.compare.networks import EPOCH_NS, NS, register

from truechimer.clocks.register import UnknownLinkRejected
from truechimer.compare.delays import Delay, to_reference_plane
from truechimer.compare.reading import Reading, to_epoch_readings

REG = register("A B C", "B-A", "C-A", "UTC.P-A")


def reading(a: str, b: str, x_s: float, *, late_s: float = 0.0, u_s: float = 1e-11, limit_s: float = 0.0) -> Reading:
    return Reading(epoch_tai_ns=EPOCH_NS - round(late_s * NS), a=a, b=b, x_a_minus_b_s=x_s, u_s=u_s, limit_s=limit_s)


def test_readings_stand_in_the_order_of_links_and_a_missing_one_is_nan() -> None:
    laid = to_epoch_readings(
        [reading("UTC.P", "A", 3e-9, limit_s=2e-9), reading("B", "A", 1e-9)], REG, epoch_tai_ns=EPOCH_NS
    )
    assert laid.x_a_minus_b_s[[0, 2]].tolist() == [1e-9, 3e-9]
    assert np.isnan(laid.x_a_minus_b_s[1])
    assert laid.limit_s.tolist() == [0.0, 0.0, 2e-9]
    assert laid.age_s.tolist() == [0.0, 0.0, 0.0]


def test_a_pair_given_the_other_way_round_is_turned() -> None:
    laid = to_epoch_readings([reading("A", "B", 1e-9)], REG, epoch_tai_ns=EPOCH_NS)
    assert laid.x_a_minus_b_s[0] == -1e-9


def test_a_late_reading_keeps_its_age() -> None:
    laid = to_epoch_readings([reading("UTC.P", "A", 1e-9, late_s=900.0)], REG, epoch_tai_ns=EPOCH_NS)
    assert laid.age_s[2] == 900.0


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_readings_of_one_link_the_later_counts_in_either_order(turned: bool) -> None:
    both = [reading("B", "A", 1e-9, late_s=60.0), reading("B", "A", 2e-9, late_s=10.0)]
    laid = to_epoch_readings(both[::-1] if turned else both, REG, epoch_tai_ns=EPOCH_NS)
    assert (laid.x_a_minus_b_s[0], laid.age_s[0]) == (2e-9, 10.0)


@pytest.mark.parametrize(("a", "b"), [("B", "C"), ("B", "Z"), ("Z", "A"), ("UTC.Q", "A")])
def test_a_pair_that_the_register_does_not_hold_is_rejected_by_name(a: str, b: str) -> None:
    with pytest.raises(UnknownLinkRejected) as raised:
        to_epoch_readings([reading(a, b, 1e-9)], REG, epoch_tai_ns=EPOCH_NS)
    assert (raised.value.a, raised.value.b) == (a, b)


def test_a_pulse_that_arrives_late_has_its_delay_given_back_to_its_clock() -> None:
    """Truth: A is 5 ns ahead of B. A's cable delays by 30 ns, B's by 10 ns: the counter sees 5 - 30 + 10."""
    measured = reading("A", "B", 5e-9 - 30e-9 + 10e-9)
    delays = {"A": Delay(clock="A", delay_s=30e-9), "B": Delay(clock="B", delay_s=10e-9)}
    assert to_reference_plane(measured, delays).x_a_minus_b_s == pytest.approx(5e-9, abs=1e-20)


def test_the_uncertainty_of_delays_widens_the_limit_and_not_the_noise() -> None:
    delays = {
        "A": Delay(clock="A", delay_s=0.0, u_s=1e-10, calibration_id="1001-2025"),
        "B": Delay(clock="B", delay_s=0.0, u_s=2e-10, calibration_id="1002-2025"),
    }
    found = to_reference_plane(reading("A", "B", 0.0, limit_s=1e-9), delays)
    assert found.limit_s == pytest.approx(1e-9 + 9e-10)
    assert found.u_s == 1e-11
    assert found.calibration_id == "1001-2025+1002-2025"


def test_a_reading_without_delays_is_itself() -> None:
    measured = reading("A", "B", 1.0)
    assert to_reference_plane(measured, {"C": Delay(clock="C", delay_s=1.0)}) is measured
    only = to_reference_plane(measured, {"B": Delay(clock="B", delay_s=0.25, calibration_id="x")})
    assert (only.x_a_minus_b_s, only.calibration_id) == (0.75, "x")
