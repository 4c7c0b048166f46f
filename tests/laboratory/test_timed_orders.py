"""Orders that end by themselves: a rate, a ceiling of a clock's weight, a threshold; what they do, for how long, and
what is left of them when they are over.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tests.laboratory.rigs import NS, Rig, scenario, start_of
from tests.laboratory.test_ordering import an_order, entry, offer, quiet

from truechimer.alerts import AlertKind
from truechimer.laboratory import order_chain, snapshot
from truechimer.laboratory.replay import replay
from truechimer.quorum.applier import Applied
from truechimer.quorum.order import Order
from truechimer.scale.state import Membership

HOUR_NS = 3_600 * NS


def for_hours(rig: Rig, op: str, target: str, value: str, *, hours: float, **changes: object) -> Order:
    begin_ns = rig.state.epoch_ns - 60 * NS
    expires_ns = rig.state.epoch_ns + round(hours * HOUR_NS)
    return an_order(rig, op, target, value, valid_from_ns=begin_ns, expires_ns=expires_ns, **changes)


def given(rig: Rig, *words: str, hours: float, **changes: object) -> object:
    return offer(rig, entry(rig, for_hours(rig, *words, hours=hours, **changes)))


@cache
def banded() -> Rig:
    return (
        Rig.begin(scenario(), start=replace(start_of(scenario()), algorithm="bands", algorithm_version=""))
        .history()
        .live(3)
    )


def test_a_rate_by_order_moves_utc_k_by_its_value_times_its_time_beside_steering_and_ends_by_itself() -> None:
    plain, rig = quiet().fork(), quiet().fork()
    assert isinstance(given(rig, "steer-rate", "SIM(rig)", "1e-12", hours=3.0), Applied)
    plain.live(24)
    rig.live(24)
    for one, other in zip(rig.seen, plain.seen, strict=True):
        held_s = min((one.epoch_ns - rig.seen[0].epoch_ns) / 1e9, 3 * 3600.0 - 600.0)
        moved = one.out.coordination.at(one.epoch_ns) - other.out.coordination.at(one.epoch_ns)
        # the law steers on as without it while it holds: nothing is taken back, and nothing beside it is moved
        if held_s < 3 * 3600.0 - 600.0:
            assert moved == pytest.approx(1e-12 * held_s, abs=1e-16)
        assert abs(moved) <= 1e-12 * 3 * 3600.0
    assert rig.is_true()
    assert rig.state.by_order is None
    assert rig.state.coordination.y_steer != plain.state.coordination.y_steer, "what was moved is taken back afterwards"
    ended = [one.says for one in rig.alerts(AlertKind.ORDER_TAKEN)]
    assert [("1e-12" in one, "has ended" in one) for one in ended] == [(True, True)]
    assert replay(rig.log).difference is None
    assert order_chain.in_force(rig.state.orders.last, rig.log.__getitem__) == rig.state.orders


def test_a_rate_goes_on_over_a_restart_and_a_gap_moves_no_more_than_was_signed() -> None:
    plain, rig = quiet().fork(), quiet().fork()
    assert isinstance(given(rig, "steer-rate", "SIM(rig)", "-2e-12", hours=2.0), Applied)
    plain.live(3)
    rig.live(3)
    found = snapshot.restore(snapshot.read(snapshot.encode(rig.state, replay(rig.log).roots)), rig.log.__getitem__)[2]
    assert snapshot.is_same(found, rig.state)
    rig.again()
    for one in (plain, rig):
        one.raw_ns += 5 * HOUR_NS
        one.live(1)
    moved = rig.last.coordination.at(rig.state.epoch_ns) - plain.last.coordination.at(rig.state.epoch_ns)
    first_ns = rig.seen[0].epoch_ns
    assert moved == pytest.approx(
        -2e-12 * (2 * 3600.0 - (first_ns - plain.seen[0].epoch_ns + 600 * NS) / NS), abs=1e-15
    )
    assert replay(rig.log).difference is None


def test_two_rates_add_up_and_each_ends_at_its_own_time() -> None:
    rig = quiet().fork()
    before = rig.state.coordination.y_steer
    assert isinstance(given(rig, "steer-rate", "SIM(rig)", "1e-12", hours=1.0), Applied)
    assert isinstance(given(rig, "steer-rate", "SIM(rig)", "2e-12", hours=2.0), Applied)
    added = []
    for _ in range(14):
        rig.live(1)
        added.append(0.0 if rig.state.by_order is None else rig.state.by_order.y)
    assert sorted(set(added)) == pytest.approx([0.0, 2e-12, 3e-12])
    assert added == sorted(added, reverse=True)
    assert (added.count(added[0]), added[-1]) == (5, 0.0)
    assert rig.seen[0].out.coordination.y_steer - before == pytest.approx(3e-12, rel=1e-6)


@pytest.mark.parametrize(
    ("words", "hours", "reason"),
    [
        (("steer-rate", "SIM(rig)", "1.0"), 12.0, "per-order"),
        (("steer-rate", "UTC(other)", "1e-12"), 2.0, "unknown-target"),
        (("steer-rate", "SIM(rig)", "1e-12"), 0.1, "too-short"),
        (("clock-weight", "H9", "0.1"), 2.0, "unknown-target"),
        (("monitor-threshold", "attention", "2.0"), 2.0, "unknown-target"),
        (("monitor-threshold", "silence", "2.0"), 2.0, "threshold"),
        (("monitor-threshold", "detection", "1.6"), 2.0, "threshold"),
        (("monitor-threshold", "detection", "0.7"), 2.0, "threshold"),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, tuple) else None,
)
def test_what_no_laboratory_can_or_may_do_is_refused(words: tuple[str, str, str], hours: float, reason: str) -> None:
    rig = quiet().fork()
    unit = {"unit": "count"} if words[1] == "silence" else {"unit": "1"} if words[0] == "monitor-threshold" else {}
    assert given(rig, *words, hours=hours, **unit).reason == reason
    assert rig.state.orders.timed == ()


@pytest.mark.parametrize("make", [quiet, banded], ids=["at1", "bands"])
def test_a_ceiling_holds_a_clocks_weight_at_every_epoch_also_where_others_are_silent_and_ends_with_its_order(
    make: object,
) -> None:
    rig = make().fork()
    weights = rig.live(1).last.step.weight
    at = int(np.argmax(weights))
    name = rig.state.register.clocks[at].name
    ceiling = 0.4 * float(weights[at])
    assert isinstance(given(rig, "clock-weight", name, repr(ceiling), hours=4.0), Applied)
    lost = next(i for i in np.argsort(-weights).tolist() if i not in {at, rig.config.pivot})
    rig.live(4)
    rig.meddle = lambda readings: (
        one for one in readings if rig.state.register.clocks[lost].name not in {one.a, one.b}
    )
    rig.live(3)
    rig.meddle = None
    rig.live(4)
    under = [one.out.step.weight for one in rig.seen[1:]]
    assert max(one[at] for one in under) <= ceiling * (1.0 + 1e-12)
    assert min(one[at] for one in under) > 0.5 * ceiling
    assert [float(one.sum()) for one in under] == pytest.approx([1.0] * len(under), abs=1e-12)
    assert rig.is_true()
    rig.live(160)
    assert rig.last.step.weight[at] > 1.5 * ceiling, "it has ended"
    assert replay(rig.log).difference is None


@pytest.mark.parametrize("make", [quiet, banded], ids=["at1", "bands"])
def test_a_ceiling_moves_neither_the_scale_nor_its_rate_when_it_begins(make: object) -> None:
    plain, rig = make().fork(), make().fork()
    name = rig.state.register.clocks[int(np.argmax(rig.last.step.weight if rig.seen else rig.state.scale.weight))].name
    assert isinstance(given(rig, "clock-weight", name, "0.1", hours=20.0), Applied)
    plain.live(12)
    rig.live(12)
    of = rig.state.register.clocks
    apart = [
        float(np.nanmax(np.abs((a.out.step.x_clock_minus_scale_s - b.out.step.x_clock_minus_scale_s)[: len(of) - 1])))
        for a, b in zip(rig.seen, plain.seen, strict=True)
    ]
    assert apart[0] < 3e-11, "the counters' noise, and no more"
    assert max(apart) < 1e-10


@pytest.mark.parametrize("make", [quiet, banded], ids=["at1", "bands"])
def test_a_ceiling_of_nothing_is_a_clock_that_is_heard_and_carries_nothing(make: object) -> None:
    rig = make().fork()
    at = [clock.name for clock in rig.state.register.clocks].index("H2")
    assert isinstance(given(rig, "clock-weight", "H2", "0.0", hours=4.0), Applied)
    rig.live(6)
    assert [one.out.step.weight[at] for one in rig.seen] == [0.0] * 6
    assert all(np.isfinite(one.out.step.x_clock_minus_scale_s[at]) for one in rig.seen)
    assert Membership(int(rig.state.scale.membership[at])) is Membership.IN
    assert replay(rig.log).difference is None


def test_ceilings_that_leave_nobody_the_whole_are_raised_together() -> None:
    rig = quiet().fork()
    for clock in rig.state.register.clocks[:-1]:
        assert isinstance(given(rig, "clock-weight", clock.name, "0.1", hours=4.0), Applied)
    rig.live(2)
    assert float(rig.last.step.weight.sum()) == pytest.approx(1.0)
    assert rig.last.step.weight[:7] == pytest.approx([1 / 7] * 7)


def test_a_threshold_changes_when_a_monitor_speaks_and_is_the_old_one_when_its_order_ends() -> None:
    spoke = {}
    for value in (None, "3.0", "20.0"):
        rig = quiet().fork()
        if value is not None:
            assert isinstance(given(rig, "monitor-threshold", "silence", value, hours=20.0, unit="count"), Applied)
        rig.meddle = lambda readings: (one for one in readings if "C2" not in {one.a, one.b})
        rig.live(24)
        spoke[value] = next(
            n for n, one in enumerate(rig.seen) if any(a.kind is AlertKind.CLOCK_MISSING for a in one.out.alerts)
        )
        assert replay(rig.log).difference is None
    assert spoke == {None: 8, "3.0": 3, "20.0": 20}
    rig = quiet().fork()
    assert isinstance(given(rig, "monitor-threshold", "silence", "20.0", hours=0.5, unit="count"), Applied)
    rig.meddle = lambda readings: (one for one in readings if "C2" not in {one.a, one.b})
    rig.live(12)
    assert len(rig.alerts(AlertKind.CLOCK_MISSING)) == 1


@pytest.mark.parametrize("make", [quiet, banded], ids=["at1", "bands"])
def test_the_detectors_threshold_decides_which_step_of_a_clock_is_seen(make: object) -> None:
    def out(factor: str, step_s: float) -> bool:
        rig = make().fork()
        if factor != "1.0":
            assert isinstance(given(rig, "monitor-threshold", "detection", factor, hours=20.0, unit="1"), Applied)
        at = [clock.name for clock in rig.state.register.clocks].index("H3")
        rig.meddle = lambda readings: (
            replace(one, x_a_minus_b_s=one.x_a_minus_b_s + step_s) if one.a == "H3" else one for one in readings
        )
        rig.live(1)
        return rig.last.step.membership[at] != Membership.IN

    def least(factor: str) -> float:
        low_s, high_s = 0.0, 4e-9
        for _ in range(8):
            middle_s = (low_s + high_s) / 2.0
            low_s, high_s = (low_s, middle_s) if out(factor, middle_s) else (middle_s, high_s)
        return high_s

    found = [least(factor) for factor in ("0.8", "1.0", "1.5")]
    assert found == sorted(found)
    assert found[2] - found[0] > 0.2 * found[1]
