"""The applier: place, time and limits are its own to check, whoever has signed."""

from dataclasses import replace
from fractions import Fraction
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.quorum.persons import LIMITS as ENVELOPE
from tests.quorum.signers import NOW_NS, at, entry, key, lasting, order, policy, signed

from truechimer.errors import Misuse
from truechimer.quorum.applier import (
    Applied,
    ApplierState,
    Moment,
    Move,
    apply_order,
    begun,
    folded,
    most_in_a_day,
    step,
)
from truechimer.quorum.operations import DAY_NS, HOUR_NS
from truechimer.quorum.order import FIRST, Order
from truechimer.quorum.order_policy import verify_order
from truechimer.quorum.verified import Refused, Verified

NS = Fraction(1, 10**9)
START = begun(policy())


def applied(state: ApplierState, asked: Order, *, now: Moment | None = None, file: bytes | None = None) -> ApplierState:
    after, outcome = step(state, entry(asked, now=now, file=file))
    assert isinstance(outcome, Applied), outcome
    return after


def refused(state: ApplierState, asked: Order, keys: str = "a1 b1", **how) -> str:
    after, outcome = step(state, entry(asked, keys, **how))
    assert isinstance(outcome, Refused)
    assert replace(after, seen_ns=0, moves=()) == replace(state, seen_ns=0, moves=()), "a refusal changes nothing"
    return outcome.reason


def phase(state: ApplierState, value: str, ns: int = NOW_NS, **changes: object) -> Order:
    return order(state, value=value, **lasting(ns), **changes)


def test_a_lawful_order_is_applied_once_and_names_its_signers() -> None:
    asked = order(START)
    after, outcome = step(START, entry(asked, "a1 c1"))
    assert isinstance(outcome, Applied)
    assert outcome.order.by == ("a", "c")
    assert (outcome.day_s, outcome.total_s) == (NS, NS)
    assert (after.sequence, after.previous) == (1, asked.digest)
    assert refused(after, asked) == "replay"
    assert refused(after, asked, "a1 b1 c1") == "replay"


def test_a_fully_signed_order_of_long_ago_is_refused_under_any_later_policy() -> None:
    asked = order(START)
    after = replace(applied(START, asked), policy=policy(version=2))
    assert refused(after, asked) == "replay"
    assert refused(after, replace(asked, sequence=2, previous=after.previous)) == "policy"


def test_one_stolen_key_moves_nothing() -> None:
    assert refused(START, phase(START, "1e-12"), "a1") == "signatures"
    assert refused(START, phase(START, "1e-12"), "a1 a1") == "doubled-signer"
    assert refused(START, phase(START, "1e-12"), "a1 z1") == "unknown-key"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sequence": 3}, "reordered"),
        ({"sequence": 2, "previous": FIRST}, "reordered"),
        ({"sequence": 2, "previous": "ab" * 32}, "reordered"),
        ({"sequence": 1}, "replay"),
        ({"valid_from_ns": NOW_NS}, "not-yet-valid"),
        ({"valid_from_ns": NOW_NS - 999}, "not-yet-valid"),
        ({"valid_from_ns": NOW_NS + HOUR_NS, "expires_ns": NOW_NS + 2 * HOUR_NS}, "not-yet-valid"),
        ({"expires_ns": NOW_NS}, "expired"),
        ({"expires_ns": NOW_NS + 1000}, "expired"),
        ({"expires_ns": NOW_NS - 1}, "expired"),
        ({"policy": "ab" * 32}, "policy"),
    ],
)
def test_an_order_out_of_place_or_time_is_refused(changes: dict, reason: str) -> None:
    state = applied(START, order(START, value="1e-10"))
    assert refused(state, replace(order(state, value="1e-10"), **changes)) == reason


def test_at_the_edges_of_its_time_an_order_is_lawful_only_without_doubt() -> None:
    assert applied(START, order(START, valid_from_ns=NOW_NS - 1000))
    assert applied(START, order(START, expires_ns=NOW_NS + 1001))
    sure = at(doubt_ns=0)
    assert applied(START, order(START, valid_from_ns=NOW_NS), now=sure)
    assert refused(START, order(START, expires_ns=NOW_NS), now=sure) == "expired"


def test_a_clock_that_is_turned_back_revives_nothing() -> None:
    later, outcome = step(START, entry(order(START), now=at(NOW_NS + 2 * HOUR_NS)))
    assert isinstance(outcome, Refused)
    assert outcome.reason == "expired"
    assert refused(later, order(START), now=at(NOW_NS)) == "time-went-back"
    with pytest.raises(Misuse):
        Moment(2, 1)


def test_each_order_stays_within_the_limit_of_one() -> None:
    assert refused(START, phase(START, "2.0000001e-09")) == "per-order"
    assert refused(START, phase(START, "-1.0")) == "per-order"
    assert applied(START, phase(START, "-2e-09"))


def test_the_limit_of_a_day_is_exact_and_counts_both_directions() -> None:
    state = START
    for _ in range(20):
        state = applied(state, phase(state, "1e-10"))
    assert refused(state, phase(state, "1e-24")) == "per-day"
    assert refused(state, phase(state, "-1e-10")) == "per-day"
    assert applied(state, phase(state, "0.0"))
    next_day = NOW_NS + DAY_NS
    assert refused(state, phase(state, "1e-10", next_day), now=at(next_day, doubt_ns=0)) == "per-day"
    over = next_day + 2000
    assert applied(state, phase(state, "1e-10", over), now=at(over, doubt_ns=0))


def test_two_moves_exactly_a_day_apart_stand_in_one_day() -> None:
    state = applied(START, phase(START, "2e-09"), now=at(doubt_ns=0))
    for ns, lawful in ((NOW_NS + DAY_NS, False), (NOW_NS + DAY_NS + 1, True)):
        _, outcome = step(state, entry(phase(state, "1e-10", ns), now=at(ns, doubt_ns=0)))
        assert isinstance(outcome, Applied) == lawful


def test_a_rate_counts_for_as_long_as_it_holds() -> None:
    day = {"valid_from_ns": NOW_NS - 1000, "expires_ns": NOW_NS - 1000 + DAY_NS}
    asked = order(START, op="steer-rate", unit="1", value="2e-14", **day)
    after, outcome = step(START, entry(asked))
    assert isinstance(outcome, Applied)
    assert outcome.day_s == Fraction("2e-14") * 86_400
    too_fast = order(START, op="steer-rate", unit="1", value="1e-12", **day)
    assert refused(START, too_fast) == "per-order"
    assert refused(after, phase(after, "1e-09")) == "per-day"


def test_salami_every_day_inside_the_limit_ends_at_the_total() -> None:
    state, days = START, 0
    for day in range(15):
        now_ns = NOW_NS + day * (DAY_NS + HOUR_NS)
        state, outcome = step(state, entry(phase(state, "2e-09", now_ns), now=at(now_ns)))
        if isinstance(outcome, Refused):
            assert outcome.reason == "total"
            assert "1.2e-08 s would be moved in all" in outcome.says
        else:
            days += 1
    assert days == 5
    assert state.totals == (("steer UTC(LAB)", 10 * NS),)
    later = NOW_NS + 20 * DAY_NS
    assert applied(state, phase(state, "-2e-09", later), now=at(later)), "the way back is open"


def test_moves_of_different_things_do_not_cancel() -> None:
    state = applied(START, phase(START, "1e-09"))
    asked = phase(state, "-1e-09", op="calibration-delay", target="LINK-1")
    state = applied(state, asked)
    assert state.totals == (("delay LINK-1", -NS), ("steer UTC(LAB)", NS))
    _, outcome = step(state, entry(phase(state, "0.0")))
    assert isinstance(outcome, Applied)
    assert outcome.total_s == 2 * NS


def test_a_calibration_delay_has_its_own_limit_and_the_day_holds_for_it() -> None:
    assert refused(START, phase(START, "1e-07", op="calibration-delay", target="LINK-1")) == "per-order"
    assert refused(START, phase(START, "5e-08", op="calibration-delay", target="LINK-1")) == "per-day"


def test_above_a_total_that_was_lowered_only_the_way_back_is_open() -> None:
    state = START
    for value in ("1e-09", "1e-09"):
        state = applied(state, phase(state, value))
    low = {"steer_s": "2e-09 s", "day_s": "1e-08 s", "total_s": "1e-09 s", "delay_s": "0.0 s"}
    state = replace(state, policy=policy(version=2, limits=low))
    assert refused(state, phase(state, "1e-12")) == "total"
    assert applied(state, phase(state, "-5e-10"))


def test_a_file_is_the_one_that_was_signed() -> None:
    table = b"a leap second table"
    asked = order(START, op="leap-table", unit="sha256", value=sha256(table).hexdigest())
    assert refused(START, asked) == "file"
    assert refused(START, asked, file=table + b" ") == "file"
    assert applied(START, asked, file=table)
    assert refused(START, order(START), file=table) == "file"


@pytest.mark.parametrize(
    ("changes", "lawful"),
    [
        ({}, True),
        ({"per_day_s": 2.1e-9}, False),
        ({"total_s": 1.1e-8}, False),
        ({"valid_from_ns": NOW_NS - 9 * DAY_NS}, True),  # what is taken in from the past is steered inside it too
        ({"valid_until_ns": NOW_NS + 90 * DAY_NS}, False),
    ],
)
def test_an_envelope_never_allows_more_than_the_policy(changes: dict, lawful: bool) -> None:
    until = NOW_NS - HOUR_NS + 90 * DAY_NS
    inside = {"per_day_s": 2e-9, "total_s": 1e-8, "valid_from_ns": NOW_NS - HOUR_NS, "valid_until_ns": until}
    file = replace(ENVELOPE, **{**inside, **changes}).canonical()
    asked = order(START, op="steering-envelope", unit="sha256", value=sha256(file).hexdigest(), expires_ns=until)
    if lawful:
        assert applied(START, asked, file=file)
    else:
        assert refused(START, asked, file=file) == "envelope"


def test_an_envelope_that_is_none_is_refused() -> None:
    asked = order(START, op="steering-envelope", unit="sha256", value=sha256(b"{}").hexdigest())
    assert refused(START, asked, file=b"{}") == "envelope"


def revocation(state: ApplierState, word: str) -> Order:
    return order(state, op="key-revoke", unit="", value="", target=key(word).public.fingerprint)


def test_a_revoked_key_has_no_voice_at_once_and_its_person_has_with_another() -> None:
    start = begun(policy("a1 a2 b1 c1"))
    state = applied(start, revocation(start, "a1"))
    assert refused(state, order(state), "a1 b1") == "revoked-key"
    assert refused(state, revocation(state, "a1"), "b1 c1") == "revoked-key"
    _, outcome = step(state, entry(order(state), "a2 b1"))
    assert isinstance(outcome, Applied)


def test_a_revocation_that_would_leave_nobody_to_order_is_refused() -> None:
    start = begun(policy("a1 b1"))
    assert refused(start, revocation(start, "a1")) == "quorum-lost"
    assert refused(start, revocation(start, "z1")) == "unknown-key"


def test_an_order_verified_before_others_were_applied_is_refused_by_its_place() -> None:
    early = verify_order(signed(order(START)), START.policy)
    assert isinstance(early, Verified)
    after = applied(START, order(START, value="1e-10"))
    _, outcome = apply_order(after, early, at())
    assert isinstance(outcome, Refused)
    assert outcome.reason == "replay"


def test_the_same_log_gives_the_same_state_whatever_refused_entries_stand_in_it() -> None:
    first = order(START)
    state = applied(START, first)
    second = order(state, value="-1e-10")
    lawful = [entry(first), entry(second)]
    noise = [entry(second, "a1"), entry(first, "b1 b1"), entry(replace(second, sequence=9))]
    with_noise = [noise[0], lawful[0], lawful[0], noise[1], lawful[1], noise[2], lawful[1]]
    assert folded(policy(), lawful) == folded(policy(), with_noise)
    assert folded(policy(), lawful).sequence == 2


def brute_force(moves: list[Move]) -> Fraction:
    """The most in any window that begins at a whole nanosecond near any edge, looked for one by one."""
    edges = {edge + shift for one in moves for edge in (one.from_ns, one.until_ns) for shift in (0, -DAY_NS)}
    begins = {edge + step_ns for edge in edges for step_ns in (-HOUR_NS, -1, 0, 1, HOUR_NS)}
    return max((sum((one.within(b, b + DAY_NS) for one in moves), Fraction(0)) for b in begins), default=Fraction(0))


MOVES = st.builds(
    lambda begin, hours, size, at_once: Move(
        from_ns=begin * HOUR_NS, until_ns=(begin + hours) * HOUR_NS, size_s=Fraction(size, 7), at_once=at_once
    ),
    st.integers(0, 60),
    st.integers(1, 24),
    st.integers(0, 9),
    st.booleans(),
)


@settings(max_examples=40)
@given(st.lists(MOVES, max_size=6))
def test_no_window_of_a_day_holds_more_than_the_most(moves: list[Move]) -> None:
    most = most_in_a_day(moves)
    assert most == brute_force(moves)
    assert most <= sum((one.size_s for one in moves), Fraction(0))
