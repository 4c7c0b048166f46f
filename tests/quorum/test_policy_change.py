"""Changing who may order: old quorum and new, version + 1, a day's delay, one key's veto; folded from the log."""

import contextlib
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.quorum.signers import NOW_NS, at, entry, key, lasting, order, policy, signed_bytes, veto

from truechimer.quorum.applier import (
    Applied,
    ApplierState,
    ChangeRecorded,
    Vetoed,
    VetoEntry,
    begun,
    folded,
    settled,
    step,
)
from truechimer.quorum.operations import DAY_NS, VETO_NAMESPACE
from truechimer.quorum.order import Order
from truechimer.quorum.order_policy import OrderPolicy
from truechimer.quorum.policy_change import Veto, VetoRejected, veto_from
from truechimer.quorum.verified import Refused

OLD = policy("a1 b1 c1", 2)
NEW = policy("b1 c1 d1", 2, version=2)
START = begun(OLD)
OVER_NS = NOW_NS + DAY_NS + 2000
"""Certainly after the delay: the doubt at recording and the doubt now."""


def change(state: ApplierState, new: OrderPolicy, ns: int = NOW_NS) -> Order:
    file = new.canonical()
    return order(state, op="policy-change", target="lab", unit="sha256", value=sha256(file).hexdigest(), **lasting(ns))


def recorded(state: ApplierState = START, new: OrderPolicy = NEW, keys: str = "b1 c1", ns: int = NOW_NS):
    asked = change(state, new, ns)
    after, outcome = step(state, entry(asked, keys, now=at(ns), file=new.canonical()))
    assert isinstance(outcome, ChangeRecorded), outcome
    return after, asked


def refused(state: ApplierState, new: OrderPolicy, keys: str) -> str:
    after, outcome = step(state, entry(change(state, new), keys, file=new.canonical()))
    assert isinstance(outcome, Refused)
    assert after.pending == state.pending
    assert after.policy == state.policy
    return outcome.reason


# old keys and threshold, new keys and threshold, who signs, expected
CASES = [
    ("a1 b1 c1", 2, "b1 c1 d1", 2, "b1 c1", "recorded"),
    ("a1 b1 c1", 2, "b1 c1 d1", 2, "a1 b1 d1", "recorded"),
    ("a1 b1 c1", 2, "b1 c1 d1", 2, "a1 b1", "new-quorum"),
    ("a1 b1 c1", 2, "b1 c1 d1", 2, "b1 d1", "unknown-key"),
    ("a1 b1 c1", 2, "d1 e1", 2, "d1 e1", "unknown-key"),
    ("a1 b1 c1", 2, "d1 e1", 2, "a1 b1", "new-quorum"),
    ("a1 b1 c1", 2, "d1 e1", 2, "a1 b1 d1 e1", "recorded"),
    ("a1 b1 c1", 2, "a1 b1 c1", 3, "a1 b1", "new-quorum"),
    ("a1 b1 c1", 2, "a1 b1 c1", 3, "a1 b1 c1", "recorded"),
    ("a1 b1 c1", 3, "a1 b1 c1", 1, "a1 b1", "signatures"),
    ("a1 b1 c1", 3, "a1 b1 c1", 1, "a1 b1 c1", "recorded"),
    ("a1 b1", 2, "a2 b1", 2, "a1 b1", "new-quorum"),
    ("a1 b1", 2, "a2 b1", 2, "a1 a2 b1", "recorded"),
    ("a1 b1", 2, "A1 b1", 2, "a1 A1 b1", "recorded"),
]


@pytest.mark.parametrize(("old", "old_k", "new", "new_k", "signers", "expected"), CASES)
def test_the_old_quorum_and_the_new_one_must_have_signed(
    *, old: str, old_k: int, new: str, new_k: int, signers: str, expected: str
) -> None:
    state, after = begun(policy(old, old_k)), policy(new, new_k, version=2)
    if expected == "recorded":
        assert recorded(state, after, signers)
    else:
        assert refused(state, after, signers) == expected


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (policy("b1 c1 d1", version=1), "policy-version"),
        (policy("b1 c1 d1", version=3), "policy-version"),
        (policy("b1 c1 d1", version=2, laboratory="other"), "policy-laboratory"),
    ],
)
def test_versions_follow_one_another_in_one_laboratory(new: OrderPolicy, reason: str) -> None:
    assert refused(START, new, "b1 c1") == reason


def test_the_file_must_be_the_signed_one_and_a_policy() -> None:
    asked = change(START, NEW)
    for file in (None, NEW.canonical() + b" "):
        _, outcome = step(START, entry(asked, "b1 c1", file=file))
        assert isinstance(outcome, Refused)
        assert outcome.reason == "file"
    weak = NEW.canonical().replace(b'"change_delay_s":86400', b'"change_delay_s":60')
    asked = replace(asked, value=sha256(weak).hexdigest())
    _, outcome = step(START, entry(asked, "b1 c1", file=weak))
    assert isinstance(outcome, Refused)
    assert outcome.reason == "policy-file"


def test_nothing_changes_before_the_delay_is_certainly_over() -> None:
    state, _ = recorded()
    assert state.pending is not None
    assert state.pending.in_force_ns == NOW_NS + 1000 + DAY_NS
    for ns in (NOW_NS, NOW_NS + DAY_NS, NOW_NS + DAY_NS + 1999):
        assert settled(state, at(ns)).policy == OLD
    after = settled(state, at(OVER_NS))
    assert after.policy == NEW
    assert after.pending is None


def test_while_it_waits_orders_go_on_under_the_old_policy_and_then_under_the_new() -> None:
    state, _ = recorded()
    state, outcome = step(state, entry(order(state, value="1e-10"), "a1 b1"))
    assert isinstance(outcome, Applied)
    pre_signed = order(state, value="1e-10", **lasting(OVER_NS))
    state, outcome = step(state, entry(pre_signed, "a1 b1", now=at(OVER_NS)))
    assert isinstance(outcome, Refused)
    assert outcome.reason == "policy"
    state, outcome = step(state, entry(order(state, value="1e-10", **lasting(OVER_NS)), "b1 d1", now=at(OVER_NS)))
    assert isinstance(outcome, Applied)


def test_only_one_change_waits_at_a_time() -> None:
    state, _ = recorded()
    assert refused(state, policy("a1 b1", 2, version=2), "a1 b1") == "change-pending"


@pytest.mark.parametrize("who", ["a1", "b1", "c1"])
def test_any_one_key_of_the_policy_in_force_can_veto(who: str) -> None:
    state, asked = recorded()
    state, outcome = step(state, veto(asked, who, at(NOW_NS + DAY_NS)))
    assert isinstance(outcome, Vetoed)
    assert outcome.veto.by == (who[0],)
    assert state.pending is None
    assert settled(state, at(OVER_NS)).policy == OLD
    assert refused_replay(state, asked)


def refused_replay(state: ApplierState, asked: Order) -> bool:
    _, outcome = step(state, entry(asked, "b1 c1", now=at(NOW_NS + DAY_NS), file=NEW.canonical()))
    return isinstance(outcome, Refused) and outcome.reason == "replay"


def test_a_veto_by_nobody_for_something_else_or_too_late_changes_nothing() -> None:
    state, asked = recorded()
    other = replace(asked, nonce="f" * 32)
    cases = [
        (veto(asked, "d1", at()), "unknown-key"),
        (veto(asked, "z1", at()), "unknown-key"),
        (veto(other, "a1", at()), "other-change"),
        (VetoEntry(signed_bytes(b"no", "a1", namespace=VETO_NAMESPACE), at()), "malformed"),
        (VetoEntry(signed_bytes(Veto(asked.digest, "no").canonical(), "a1"), at()), "namespace"),
        (veto(asked, "a1", at(OVER_NS)), "no-change-pending"),
    ]
    for offered, reason in cases:
        after, outcome = step(state, offered)
        assert isinstance(outcome, Refused)
        assert outcome.reason == reason
        assert (after.pending is None) == (reason == "no-change-pending")


def test_in_doubt_whether_the_delay_is_over_a_veto_still_holds() -> None:
    state, asked = recorded()
    assert state.pending is not None
    _, outcome = step(state, veto(asked, "a1", at(state.pending.in_force_ns)))
    assert isinstance(outcome, Vetoed)


def revoke(state: ApplierState, word: str, keys: str, ns: int) -> ApplierState:
    asked = order(state, op="key-revoke", unit="", value="", target=key(word).public.fingerprint, **lasting(ns))
    state, outcome = step(state, entry(asked, keys, now=at(ns)))
    assert isinstance(outcome, Applied), outcome
    return state


def test_a_thief_of_one_key_cannot_veto_for_ever_and_a_quorum_cannot_silence_a_veto_at_once() -> None:
    state = revoke(START, "a1", "b1 c1", NOW_NS)
    soon, asked = recorded(state, NEW, ns=NOW_NS + DAY_NS // 2)
    _, outcome = step(soon, veto(asked, "a1", at(NOW_NS + DAY_NS)))
    assert isinstance(outcome, Vetoed), "revoked half a day before: its no still counts"
    late_ns = NOW_NS + DAY_NS + 1000
    late, asked = recorded(state, NEW, ns=late_ns)
    _, outcome = step(late, veto(asked, "a1", at(late_ns)))
    assert isinstance(outcome, Refused)
    assert outcome.reason == "revoked-key"


def test_a_revoked_key_never_comes_back_and_a_waiting_policy_with_it_falls() -> None:
    state, _ = recorded()
    state = revoke(state, "c1", "a1 b1", NOW_NS)
    assert state.pending is None
    state = revoke(START, "c1", "a1 b1", NOW_NS)
    asked = change(state, NEW)
    _, outcome = step(state, entry(asked, "a1 b1", file=NEW.canonical()))
    assert isinstance(outcome, Refused)
    assert outcome.reason == "revoked-key"
    _, outcome = step(
        begun(policy(revoked=[key("d1").public.fingerprint])),
        entry(change(begun(policy(revoked=[key("d1").public.fingerprint])), NEW), "b1 c1", file=NEW.canonical()),
    )
    assert isinstance(outcome, Refused)
    assert outcome.reason == "revoked-key"


def test_a_longer_delay_of_the_policy_in_force_holds() -> None:
    state = begun(policy(change_delay_s=3 * 86_400))
    state, _ = recorded(state, policy(version=2, change_delay_s=86_400), "a1 b1")
    assert settled(state, at(NOW_NS + 2 * DAY_NS)).policy.version == 1
    assert settled(state, at(NOW_NS + 3 * DAY_NS + 2000)).policy.version == 2


def test_versions_are_walked_one_by_one_and_the_log_gives_the_same_state() -> None:
    entries, state = [], START
    for version in range(2, 5):
        ns = NOW_NS + (version - 2) * 2 * DAY_NS
        state = settled(state, at(ns))
        new = policy("a1 b1 c1", 2, version=version)
        entries.append(entry(change(state, new, ns), "a1 c1", now=at(ns), file=new.canonical()))
        state, outcome = step(state, entries[-1])
        assert isinstance(outcome, ChangeRecorded)
    assert folded(OLD, entries) == state
    assert settled(state, at(NOW_NS + 9 * DAY_NS)).policy.version == 4


@given(st.binary(max_size=200))
def test_any_bytes_are_a_veto_or_refused(data: bytes) -> None:
    with contextlib.suppress(VetoRejected):
        veto_from(data)
    _, outcome = step(START, VetoEntry(signed_bytes(data, "a1", namespace=VETO_NAMESPACE), at()))
    assert isinstance(outcome, Refused)


def test_a_veto_has_one_form() -> None:
    one = Veto("ab" * 32, "no")
    assert veto_from(one.canonical()) == one
    for bad in (one.canonical() + b" ", Veto("x", "no").canonical(), one.canonical().replace(b"veto-v1", b"veto-v2")):
        with pytest.raises(VetoRejected):
            veto_from(bad)
