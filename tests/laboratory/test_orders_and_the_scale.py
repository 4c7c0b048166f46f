"""What orders leave alone: a delay that is calibrated anew moves no scale and throws no clock out; a policy that has
come into force leaves the envelope of the one before where it allows it, and no longer.
"""

import json
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from tests.laboratory.rigs import NS, Rig
from tests.laboratory.signing import KEY, POLICY, key_of
from tests.laboratory.test_ordering import an_order, entry, offer, ordered, quiet
from tests.laboratory.test_timed_orders import banded

from truechimer.alerts import AlertKind
from truechimer.compare.reading import Reading
from truechimer.daemon.orders.orders_turn import at_reference_plane
from truechimer.laboratory import order_chain
from truechimer.laboratory.orders import limits_at
from truechimer.laboratory.replay import replay
from truechimer.quorum.applier import Applied, ChangeRecorded, OrderEntry
from truechimer.quorum.order import SignedOrder
from truechimer.quorum.verified import Refused, Verified
from truechimer.serve.clock_page import ServiceState


@pytest.mark.parametrize("make", [quiet, banded], ids=["at1", "bands"])
@pytest.mark.parametrize("target", ["C1", "H1"], ids=["another clock", "the pivot"])
def test_a_delay_calibrated_anew_moves_its_clock_and_neither_the_scale_nor_any_weight(
    make: object, target: str
) -> None:
    plain, rig = make().fork(), make().fork()
    assert isinstance(ordered(rig, "calibration-delay", target, "5e-08"), Applied)
    rig.meddle = lambda readings: at_reference_plane(readings, rig.state.orders)
    plain.live(12)
    rig.live(12)
    names = [clock.name for clock in rig.state.register.clocks]
    for one, other in zip(rig.seen, plain.seen, strict=True):
        moved = one.out.step.x_clock_minus_scale_s - other.out.step.x_clock_minus_scale_s
        wanted = np.where(np.array(names) == target, 5e-8, 0.0)
        assert np.nanmax(np.abs(moved - wanted)) < 1e-15
        assert np.array_equal(one.out.step.membership, other.out.step.membership)
        assert one.out.step.weight == pytest.approx(other.out.step.weight, abs=1e-9)
    assert not rig.alerts(AlertKind.CLOCK_STEP)
    assert rig.words == [ServiceState.STEERED]
    assert rig.is_true()
    rig.again().live(2)
    assert replay(rig.log).difference is None
    assert order_chain.in_force(rig.state.orders.last, rig.log.__getitem__) == rig.state.orders


def test_a_step_of_the_clock_itself_by_as_much_is_still_seen() -> None:
    rig = quiet().fork()

    def stepped(readings: tuple[Reading, ...]) -> tuple[Reading, ...]:
        return tuple(replace(one, x_a_minus_b_s=one.x_a_minus_b_s + 5e-8) if one.a == "C1" else one for one in readings)

    rig.meddle = stepped
    rig.live(2)
    assert rig.alerts(AlertKind.CLOCK_STEP)


def a_new_policy(rig: Rig, **limits: str) -> object:
    """Offer another policy: the same person, other limits."""
    policy = replace(POLICY, version=2, limits=replace(POLICY.limits, **limits))
    asked = an_order(rig, "policy-change", POLICY.laboratory, sha256(policy.canonical()).hexdigest())
    signature = KEY.sign(asked.canonical(), asked.operation.namespace)
    now = entry(rig, asked).now
    return offer(rig, OrderEntry(SignedOrder(asked.canonical(), (signature,)), now, policy.canonical()))


def test_a_policy_comes_into_force_after_its_day_and_ends_an_envelope_that_it_does_not_allow() -> None:
    rig = quiet().fork()
    inside = rig.state.limits.value
    narrow = repr(inside.per_day_s / 2.0)
    assert isinstance(a_new_policy(rig, day_s=narrow, steer_s=narrow, delay_s=narrow), ChangeRecorded)
    in_force_ns = rig.state.orders.applier.pending.in_force_ns
    while rig.state.epoch_ns < in_force_ns - 1800 * NS:
        rig.live(1)
    assert rig.words == [ServiceState.STEERED]
    before = rig.state.coordination.y_steer
    rig.live(6)
    assert rig.state.epoch_ns > in_force_ns
    assert rig.words == [ServiceState.STEERED, ServiceState.HOLDOVER], (
        "held, and said: nothing steers beyond the policy"
    )
    assert rig.alerts(AlertKind.ENVELOPE_EXPIRED)
    assert isinstance(limits_at(rig.state.orders, rig.state.epoch_ns), Refused)
    assert rig.state.coordination.y_steer == before
    # under the new policy: an order of before is worth nothing, a narrower envelope is taken and steers again
    old = an_order(rig, "clock-membership", "H2", "out", policy=POLICY.digest)
    assert offer(rig, entry(rig, old)).reason == "policy"
    assert rig.state.orders.applier.policy.version == 2
    limits = replace(inside, per_day_s=float(narrow) / 2.0, sequence=9)
    value = sha256(limits.canonical()).hexdigest()
    asked = an_order(rig, "steering-envelope", "SIM(rig)", value, expires_ns=limits.valid_until_ns)
    assert isinstance(offer(rig, entry(rig, asked, file=limits.canonical())), Applied)
    assert isinstance(rig.state.limits, Verified)
    rig.live(4)
    assert rig.words[-1] is ServiceState.STEERED
    assert rig.is_true()
    assert replay(rig.log).difference is None
    assert order_chain.in_force(rig.state.orders.last, rig.log.__getitem__) == rig.state.orders


def test_an_envelope_goes_on_under_a_policy_that_allows_it_and_after_a_restart() -> None:
    rig = quiet().fork()
    assert isinstance(a_new_policy(rig, total_s="20000.0"), ChangeRecorded)
    rig.raw_ns += 86_400 * NS
    rig.live(3).again().live(3)
    assert rig.state.epoch_ns > rig.state.orders.applier.pending.in_force_ns
    assert isinstance(limits_at(rig.state.orders, rig.state.epoch_ns), Verified)
    assert offer(rig, entry(rig, an_order(rig, "clock-membership", "H2", "out"))).reason == "policy"
    assert rig.state.orders.applier.policy.version == 2
    assert isinstance(rig.state.limits, Verified)
    stranger = an_order(rig, "clock-membership", "H2", "out")
    assert offer(rig, entry(rig, stranger, key=key_of(b"\7" * 32))).reason == "unknown-key"
    assert json.loads(rig.log[-1])["outcome"] == "refused"
    assert replay(rig.log).difference is None
