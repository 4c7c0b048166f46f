"""Orders as an input of the fold: what is lawful takes effect, what is not leaves nothing but its record, and whoever
holds the records folds the same again.
"""

import json
from dataclasses import replace
from functools import cache
from hashlib import sha256

import pytest
from tests.laboratory.rigs import NS, Rig, limits_for, steered
from tests.laboratory.signing import KEY, key_of, signed

from truechimer.errors import Rejected
from truechimer.formats import leap_seconds_list
from truechimer.instants import UtcLabel
from truechimer.laboratory import order_chain, ordering, snapshot
from truechimer.laboratory.orders import FIRST_APPLIED, OPS_APPLIED
from truechimer.laboratory.replay import replay
from truechimer.quorum.applier import Applied, Moment, OrderEntry
from truechimer.quorum.operations import OPERATIONS, Value
from truechimer.quorum.order import Order, SignedOrder
from truechimer.quorum.proposal import place_after
from truechimer.quorum.verified import Refused, Verified
from truechimer.scale.state import Membership
from truechimer.serve.clock_page import ServiceState

SHA = "0" * 64


@cache
def quiet() -> Rig:
    return steered()


def now(rig: Rig) -> Moment:
    return Moment(rig.state.epoch_ns - 1000, rig.state.epoch_ns + 1000)


def an_order(rig: Rig, op: str, target: str, value: str = "", **changes: object) -> Order:
    """The next order in this laboratory's chain."""
    place = place_after(rig.state.orders.applier)
    asked = Order(
        op=op,
        target=target,
        value=value,
        unit=OPERATIONS[op].units[0],
        because="a test",
        valid_from_ns=rig.state.epoch_ns - 3_600 * NS,
        expires_ns=rig.state.epoch_ns + 3_600 * NS,
        nonce="0" * 32,
        sequence=place.sequence,
        previous=place.previous,
        policy=place.policy,
    )
    return replace(asked, **changes)


def entry(rig: Rig, asked: Order, *, key=KEY, file: bytes | None = None, at: Moment | None = None) -> OrderEntry:
    signature = key.sign(asked.canonical(), asked.operation.namespace)
    return OrderEntry(SignedOrder(asked.canonical(), (signature,)), at or now(rig), file)


def offer(rig: Rig, given: OrderEntry) -> object:
    """Feed an entry; return what came of it."""
    done = ordering.take(rig.config, rig.state, given)
    assert not isinstance(done, Refused)
    rig.config, rig.state = done.config, done.state
    rig.log.append(done.record.data)
    return done.outcome


def ordered(rig: Rig, *words: object, **more: object) -> object:
    return offer(rig, entry(rig, an_order(rig, *words), **more))


def test_a_clock_that_is_taken_out_by_order_is_not_heard_until_it_is_taken_in() -> None:
    rig = quiet().fork()
    at = [clock.name for clock in rig.state.register.clocks].index("H2")
    assert isinstance(ordered(rig, "clock-membership", "H2", "out"), Applied)
    rig.live(4)
    assert rig.last.step.weight[at] == 0.0
    assert rig.words == [ServiceState.STEERED]
    assert rig.is_true()
    assert ordered(rig, "clock-membership", "H2", "out").reason == "no-change"
    assert isinstance(ordered(rig, "clock-membership", "H2", "in"), Applied)
    rig.live(60)
    assert Membership(int(rig.state.scale.membership[at])) is Membership.IN
    assert rig.is_true()
    assert replay(rig.log).difference is None


def test_a_phase_step_moves_what_is_served_by_its_value_and_the_bound_holds_it() -> None:
    rig = quiet().fork()
    before = rig.state.coordination
    assert isinstance(ordered(rig, "steer-phase", "SIM(rig)", "3e-08"), Applied)
    after = rig.state.coordination
    assert after.at(rig.state.epoch_ns) - before.at(rig.state.epoch_ns) == pytest.approx(3e-8, abs=1e-13)
    assert after.y_steer == before.y_steer
    rig.live(2)
    assert rig.last.bound.terms.limit_steering_s > 2.9e-8
    assert rig.is_true()
    assert replay(rig.log).difference is None


def test_an_envelope_by_order_is_in_force_at_once_and_takes_the_present_rate_as_its_reference() -> None:
    rig = quiet().fork()
    limits = replace(limits_for(rig.start.clocks, days=80.0), per_change=1e-15, sequence=7)
    asked = an_order(
        rig,
        "steering-envelope",
        "SIM(rig)",
        sha256(limits.canonical()).hexdigest(),
        expires_ns=limits.valid_until_ns,
    )
    assert isinstance(offer(rig, entry(rig, asked, file=limits.canonical())), Applied)
    assert isinstance(rig.state.limits, Verified)
    assert rig.state.limits.value == limits
    assert rig.state.limits.by == ("operator",)
    assert rig.state.applied.reference_y == rig.state.coordination.y_steer
    rig.live(2)
    assert replay(rig.log).difference is None


def test_a_leap_table_by_order_is_what_the_page_says_from_then_on_and_after_a_restart() -> None:
    rig = quiet().fork()
    table = replace(rig.config.leaps, expires=UtcLabel.parse("2031-06-28T00:00:00Z"), updated=UtcLabel(60_000, 0))
    file = leap_seconds_list.write(table)
    digest = sha256(file).hexdigest()
    assert ordered(rig, "leap-table", "rig", digest, file=file[:-9] + b"000000000").reason in {"leap-table", "file"}
    assert isinstance(ordered(rig, "leap-table", "rig", digest, file=file), Applied)
    assert rig.config.leaps.expires == table.expires
    rig.live(1).again().live(1)
    assert rig.config.leaps.expires == table.expires
    assert replay(rig.log).difference is None


def test_a_run_whose_start_names_fewer_operations_refuses_the_others_by_name_and_so_does_its_replay() -> None:
    rig = quiet().fork().again(operations=FIRST_APPLIED)
    assert set(OPERATIONS) == OPS_APPLIED
    later = sorted(OPS_APPLIED - FIRST_APPLIED)
    assert later == ["clock-weight", "configuration", "listener-policy", "log-keys", "monitor-threshold", "steer-rate"]
    for op in later:
        value = SHA if OPERATIONS[op].value is Value.FILE else "0.1"
        found = ordered(rig, op, "H1", value)
        assert (found.reason, op in found.says) == ("not-applied", True)
    assert rig.state.orders.applier.sequence == 1
    rig.live(1).again(operations=OPS_APPLIED)
    assert isinstance(ordered(rig, "clock-weight", "H1", "0.5"), Applied)
    rig.live(1)
    assert replay(rig.log).difference is None
    assert order_chain.in_force(rig.state.orders.last, rig.log.__getitem__) == rig.state.orders


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("steer-phase", "UTC(other)", "1e-09"), "unknown-target"),
        (("clock-membership", "H9", "out"), "unknown-target"),
        (("calibration-delay", "nobody", "1e-09"), "unknown-target"),
        (("steer-phase", "SIM(rig)", "11.0"), "per-order"),
        (("leap-table", "rig", SHA), "leap-table"),
    ],
    ids=lambda one: one if isinstance(one, str) else one[0],
)
def test_what_cannot_be_done_is_refused_and_stands_in_the_log_and_changes_nothing(words: tuple, reason: str) -> None:
    rig = quiet().fork()
    before = rig.state
    assert ordered(rig, *words).reason == reason
    body = json.loads(rig.log[-1])
    assert (body["kind"], body["outcome"], body["reason"]) == ("order", "refused", reason)
    assert (rig.state.limits, rig.state.coordination, rig.state.orders.out) == (
        before.limits,
        before.coordination,
        before.orders.out,
    )
    assert rig.state.orders.applier.sequence == before.orders.applier.sequence


def test_an_order_by_a_strangers_key_replayed_or_out_of_time_is_refused_and_a_replay_makes_the_same_records() -> None:
    rig = quiet().fork()
    asked = an_order(rig, "calibration-delay", "C1", "1e-08")
    assert offer(rig, entry(rig, asked, key=key_of(b"\7" * 32))).reason == "unknown-key"
    late = Moment(asked.expires_ns, asked.expires_ns + 1)
    assert isinstance(offer(rig, entry(rig, asked)), Applied)
    assert offer(rig, entry(rig, asked)).reason == "replay"
    again = an_order(rig, "calibration-delay", "C1", "1e-08")
    assert offer(rig, entry(rig, again, at=late)).reason == "expired"
    assert rig.state.orders.delay_s("C1") == 1e-8
    garbage = OrderEntry(SignedOrder(b"\xff\x00 no order", (b"no signature",)), late)
    assert offer(rig, garbage).reason == "malformed"
    rig.live(1)
    assert replay(rig.log).difference is None


def test_policy_place_and_account_come_back_from_the_records_alone() -> None:
    rig = quiet().fork()
    ordered(rig, "calibration-delay", "C1", "1e-08")
    rig.live(2).again(envelope=signed(limits_for(rig.start.clocks, days=89.0), after=None))
    ordered(rig, "clock-membership", "C2", "out")
    ordered(rig, "clock-membership", "C9", "out")
    rig.live(2)
    made = replay(rig.log)
    assert made.difference is None
    taken = snapshot.encode(rig.state, made.roots)
    _, config, state = snapshot.restore(snapshot.read(taken), rig.log.__getitem__)
    assert state.orders == rig.state.orders == made.state.orders
    assert config.leaps == rig.config.leaps
    assert order_chain.in_force(rig.state.orders.last, rig.log.__getitem__) == rig.state.orders


def test_an_order_that_was_refused_and_is_called_applied_in_the_records_is_found() -> None:
    rig = quiet().fork()
    asked = an_order(rig, "calibration-delay", "C1", "1e-08")
    offer(rig, entry(rig, asked, key=key_of(b"\7" * 32)))
    body = json.loads(rig.log[-1])
    body |= {"outcome": "applied", "by": ["operator"], "sequence": 2}
    forged = ordering_record(body)
    log = [*rig.log[:-1], forged]
    assert replay(log).difference is not None
    last = (len(log) - 1, sha256(forged).hexdigest())
    with pytest.raises(Rejected, match="is refused"):
        order_chain.in_force(last, log.__getitem__)


def ordering_record(body: dict) -> bytes:
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def test_an_observing_laboratory_takes_no_order() -> None:
    rig = quiet().fork()
    given = entry(rig, an_order(rig, "clock-membership", "H2", "out"))
    rig.again(observe=True, policy=None, envelope=None).live(1)
    assert ordering.take(rig.config, rig.state, given).reason == "observing"
    assert rig.state.orders is not None, "what was ordered before is kept for the next run in service"


def test_any_bytes_are_an_order_record_or_rejected() -> None:
    good = json.loads(offered_record())
    for name in good:
        for value in (None, 7, "x", [], {}, [None], "AAAA"):
            try:
                ordering.entry_from(good | {name: value})
            except Rejected:
                continue


def offered_record() -> bytes:
    rig = quiet().fork()
    ordered(rig, "clock-membership", "H2", "out")
    return rig.log[-1]
