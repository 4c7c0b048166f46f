"""What passed a check cannot be made by hand, and limits are read from exact bytes or refused."""

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.quorum.persons import LIMITS, verified

from truechimer.errors import Rejected
from truechimer.quorum.envelope import limits_from
from truechimer.quorum.verified import Verified, VerifiedMisuse

PAYLOAD = LIMITS.canonical()
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_verified_cannot_be_made_by_hand() -> None:
    with pytest.raises(VerifiedMisuse):
        Verified(LIMITS, ("a",))
    with pytest.raises(VerifiedMisuse):
        Verified(LIMITS, ("a",), seal=object())
    made = verified()
    with pytest.raises((AttributeError, TypeError)):
        made.value = replace(LIMITS, per_change=1.0)
    with pytest.raises(VerifiedMisuse):
        replace(made, value=replace(LIMITS, per_change=1.0))


def reads(data: bytes) -> None:
    with contextlib.suppress(Rejected):
        limits_from(data)


@given(st.binary(max_size=200))
def test_bytes_never_raise_anything_but_rejected(data: bytes) -> None:
    reads(data)


@given(st.sampled_from(sorted(json.loads(PAYLOAD))), ANY_JSON)
def test_limits_with_any_one_field_replaced_never_raise_anything_but_rejected(name: str, value: object) -> None:
    body = json.loads(PAYLOAD)
    body[name] = value
    reads(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


def test_deep_nesting_is_rejected() -> None:
    with pytest.raises(Rejected):
        limits_from(b"[" * 100_000)
