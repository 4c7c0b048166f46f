"""Counters of authenticators: one that goes back was copied, or signed before another order that is applied already."""

import pytest
from tests.quorum.signers import at, order, policy, signed, signed_bytes

from truechimer.quorum.applier import Applied, ApplierState, OrderEntry, begun, step


def taken(state: ApplierState, counter: int, keys: str = "a1 b1") -> tuple[ApplierState, object]:
    asked = order(state, value="1e-10")
    return step(state, OrderEntry(signed(asked, keys, counter=counter), at()))


@pytest.mark.parametrize(("counter", "counts"), [(8, True), (7, False), (1, False), (0, False), (2**32 - 1, True)])
def test_an_authenticator_that_counts_back_has_no_voice_and_spoils_no_other(counter: int, counts: bool) -> None:
    state, first = taken(begun(policy()), 7)
    assert isinstance(first, Applied)
    assert state.counters == tuple((name, 7) for name, _ in state.counters)
    after, outcome = taken(state, counter)
    if counts:
        assert isinstance(outcome, Applied)
        return
    assert outcome.reason == "counter-back"
    assert after.counters == state.counters
    # the third person's key has not been seen, and one of the two counts on: that is a quorum
    asked = order(state, value="1e-10")
    one = signed_bytes(asked.canonical(), "a1", counter=counter).signatures
    two = signed_bytes(asked.canonical(), "b1 c1", counter=9).signatures
    both = signed(asked, "c1", counter=1)
    _, outcome = step(state, OrderEntry(type(both)(asked.canonical(), one + two), at()))
    assert isinstance(outcome, Applied)
    assert outcome.order.by == ("b", "c")


def test_authenticators_that_always_count_nought_are_taken() -> None:
    state, first = taken(begun(policy()), 0)
    assert isinstance(first, Applied)
    assert isinstance(taken(state, 0)[1], Applied)


def test_a_refused_order_counts_nothing() -> None:
    state, _ = taken(begun(policy()), 7)
    after, outcome = taken(state, 9, keys="a1")
    assert outcome.reason == "signatures"
    assert after.counters == state.counters
