"""The envelope: each refusal by itself, and what no chain of admitted orders can do."""

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.quorum.persons import BEGIN_NS, DAY_NS, LIMITS, verified

from truechimer.quorum.envelope import Applied, EnvelopeRejected, SteeringLimits, admit, limits_from
from truechimer.quorum.verified import Refused, Verified

NOW_NS = BEGIN_NS + DAY_NS
HALF_DAY_NS = DAY_NS // 2


@dataclass(frozen=True)
class Order:
    """An order with nothing in it but what the envelope asks for."""

    y: float
    valid_from_ns: int = NOW_NS
    valid_until_ns: int = NOW_NS + HALF_DAY_NS

    def canonical(self) -> bytes:
        return repr(self).encode()


def applied(y: float = 0.0, *, reference_y: float = 0.0, total_s: float = 0.0) -> Applied:
    return Applied(y, NOW_NS, reference_y, total_s)


def reason(order: Order, account: Applied, limits: SteeringLimits = LIMITS) -> str | None:
    found = admit(order, verified(limits), account)
    return found.reason if isinstance(found, Refused) else None


def test_an_order_inside_every_limit_is_admitted_and_says_by_what() -> None:
    found = admit(Order(2e-14), verified(), applied())
    assert isinstance(found, Verified)
    assert found.value == Order(2e-14)
    assert found.by == ("envelope", "a")


@pytest.mark.parametrize(
    ("order", "account", "expected"),
    [
        (Order(2.3e-14), applied(), None),
        (Order(2.31e-14), applied(), "per-change"),
        (Order(-2.31e-14), applied(), "per-change"),
        (Order(1.2e-14), applied(-1.2e-14), "per-change"),
        (Order(float("nan")), applied(), "per-change"),
        (Order(float("inf")), applied(), "per-change"),
        (Order(2.4e-14), applied(2e-14), "per-day"),
        (Order(1e-12), applied(0.99e-12, reference_y=1e-12), None),
        (Order(1.03e-12), applied(1.02e-12, reference_y=1e-12), "per-day"),
        (Order(1e-14), applied(total_s=89.9e-9), "total"),
        (Order(-1e-14), applied(total_s=89.9e-9), None),
        (Order(-1e-14), applied(total_s=-89.9e-9), "total"),
        (Order(0.0, NOW_NS, NOW_NS), applied(), "order-validity"),
        (Order(0.0, NOW_NS, NOW_NS - 1), applied(), "order-validity"),
        (Order(0.0, NOW_NS, LIMITS.valid_until_ns), applied(), None),
        (Order(0.0, NOW_NS, LIMITS.valid_until_ns + 1), applied(), "order-validity"),
        (Order(0.0, BEGIN_NS - 1, NOW_NS), applied(), "envelope-expired"),
        (Order(0.0, LIMITS.valid_until_ns, LIMITS.valid_until_ns + 1), applied(), "envelope-expired"),
    ],
)
def test_each_limit_refuses_by_its_own_name(order: Order, account: Applied, expected: str | None) -> None:
    assert reason(order, account) == expected


def test_a_total_that_is_overdrawn_refuses_what_adds_and_admits_what_pays_back() -> None:
    overdrawn = applied(2e-14, total_s=95e-9)
    assert reason(Order(2.1e-14), overdrawn) == "total"
    assert reason(Order(2e-14), overdrawn) == "total"
    assert reason(Order(1.9e-14), overdrawn) is None, "a refusal would keep the larger departure alive"
    assert reason(Order(-0.2e-14), overdrawn) is None


def test_the_account_moves_with_the_rate_in_force_and_never_back() -> None:
    account = Applied(3e-14, NOW_NS, 1e-14, 1e-9).advanced(NOW_NS + DAY_NS)
    assert account.total_s == pytest.approx(1e-9 + 2e-14 * 86_400.0, rel=1e-12)
    assert account.advanced(NOW_NS) is account


@given(
    st.lists(
        st.tuples(st.floats(-1.0, 1.0), st.integers(1, 2 * DAY_NS), st.integers(1, 2 * DAY_NS)), min_size=1, max_size=60
    ),
    st.floats(-1e-11, 1e-11),
)
def test_no_chain_of_admitted_orders_moves_more_than_a_day_and_the_total_allow(
    wishes: list[tuple[float, int, int]], reference_y: float
) -> None:
    """Whoever holds the steering asks for anything, at any time; orders follow each other while the last one holds."""
    limits = verified(replace(LIMITS, total_s=9e-9))
    account, now = Applied(reference_y, BEGIN_NS, reference_y), BEGIN_NS
    moved: list[tuple[int, float]] = [(now, 0.0)]
    for wish, wait_ns, hold_ns in wishes:
        order = Order(reference_y + wish * 5e-14, now, now + hold_ns)
        if isinstance(admit(order, limits, account), Verified):
            account = Applied(order.y, now, reference_y, account.total_s)
            now += min(wait_ns, hold_ns)
        elif account.y != reference_y:
            break
        else:
            now += wait_ns
        account = account.advanced(now)
        moved.append((now, account.total_s))
        assert abs(account.total_s) <= limits.value.total_s * (1 + 1e-9)
    for k, (at, x_s) in enumerate(moved):
        for later, y_s in moved[k:]:
            if later - at <= DAY_NS:
                assert abs(y_s - x_s) <= limits.value.per_day_s * (1 + 1e-9)


@given(
    st.builds(
        SteeringLimits,
        per_change=st.floats(0.0, 1e300),
        per_day_s=st.floats(0.0, 1e300),
        total_s=st.floats(0.0, 1e300),
        valid_from_ns=st.integers(0, 2**62),
        valid_until_ns=st.integers(2**62 + 1, 2**63),
        sequence=st.integers(0, 2**53 - 1),
        coordination_start=st.booleans(),
    )
)
def test_limits_are_read_back_from_their_canonical_bytes(limits: SteeringLimits) -> None:
    assert limits_from(limits.canonical()) == limits


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("per_change", "inf 1"),
        ("per_change", "nan 1"),
        ("per_change", "-1e-14 1"),
        ("per_change", "2.30e-14 1"),
        ("per_change", "2.3e-14 s"),
        ("per_change", 2.3e-14),
        ("per_day_s", "-0.1 s"),
        ("total_s", "inf s"),
        ("valid_from_tai_ns", str(LIMITS.valid_until_ns)),
        ("sequence", float("inf")),
        ("sequence", "1"),
        ("coordination_start", "true"),
        ("coordination_start", 1),
    ],
)
def test_limits_with_one_field_broken_are_rejected(name: str, value: object) -> None:
    body = json.loads(LIMITS.canonical())
    body[name] = value
    with pytest.raises(EnvelopeRejected):
        limits_from(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


def test_bytes_that_say_the_same_in_another_form_are_rejected() -> None:
    with pytest.raises(EnvelopeRejected):
        limits_from(json.dumps(json.loads(LIMITS.canonical())).encode())
