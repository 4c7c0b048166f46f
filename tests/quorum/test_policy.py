"""k of n persons: signatures are counted by person, for one purpose, over exact bytes."""

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.quorum.persons import LIMITS, key, seed, signed

from truechimer.errors import Misuse, Rejected
from truechimer.quorum.envelope import ENVELOPE_CONTEXT, limits_from
from truechimer.quorum.policy import PersonKey, Policy, PolicyRejected, Signature, policy_from, public_of, sign, verify
from truechimer.quorum.verified import Refused, Verified, VerifiedMisuse

PAYLOAD = LIMITS.canonical()
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def asked(policy: Policy, *numbers: int) -> Verified | Refused:
    return verify(signed(PAYLOAD, *numbers), policy, context=ENVELOPE_CONTEXT, decode=limits_from)


@pytest.mark.parametrize(
    ("keys", "threshold", "signers", "by"),
    [
        ("a1", 1, (1,), ("a",)),
        ("a1", 1, (), None),
        ("a1", 1, (9,), None),
        ("a1 b2", 2, (1,), None),
        ("a1 b2", 2, (1, 2), ("a", "b")),
        ("a1 b2", 2, (2, 1), ("a", "b")),
        ("a1 b2", 2, (1, 1, 1), None),
        ("a1 b2", 2, (1, 9), None),
        ("a1 b2 c3", 2, (3, 1), ("a", "c")),
        ("a1 b2 c3", 2, (1, 2, 3), ("a", "b", "c")),
        ("a1 b2 c3", 3, (1, 2), None),
        ("a1 a4 b2", 2, (1, 4), None),
        ("a1 a4 b2", 2, (4, 2), ("a", "b")),
        ("a1 a4 b2 c3", 3, (1, 4, 2), None),
    ],
)
def test_k_of_n_persons_must_have_signed(
    keys: str, threshold: int, signers: tuple[int, ...], by: tuple[str, ...] | None
) -> None:
    policy = Policy(threshold, tuple(key(word[0], int(word[1:])) for word in keys.split()))
    found = asked(policy, *signers)
    if by is None:
        assert isinstance(found, Refused)
        assert found.reason == "signatures"
    else:
        assert isinstance(found, Verified)
        assert found.value == LIMITS
        assert found.by == by


def test_a_bad_signature_does_not_spoil_the_good_ones() -> None:
    policy = Policy(2, (key("a", 1), key("b", 2), key("c", 3)))
    good = signed(PAYLOAD, 1, 2)
    bad = Signature(public_of(seed(3)).hex(), b"\0" * 64)
    short = Signature(public_of(seed(3)).hex(), b"")
    found = verify(
        replace(good, signatures=(bad, short, *good.signatures)), policy, context=ENVELOPE_CONTEXT, decode=limits_from
    )
    assert isinstance(found, Verified)
    assert found.by == ("a", "b")


def test_a_bad_signature_is_no_voice() -> None:
    policy = Policy(2, (key("a", 1), key("b", 2)))
    good = signed(PAYLOAD, 1)
    stolen = Signature(public_of(seed(2)).hex(), good.signatures[0].signature)
    found = verify(
        replace(good, signatures=(*good.signatures, stolen)), policy, context=ENVELOPE_CONTEXT, decode=limits_from
    )
    assert isinstance(found, Refused)
    assert found.reason == "signatures"


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    policy = Policy(1, (key("a", 1),))
    other = signed(PAYLOAD, 1, context="something-else-v1")
    assert verify(other, policy, context=ENVELOPE_CONTEXT, decode=limits_from).reason == "context"
    relabelled = replace(other, context=ENVELOPE_CONTEXT)
    assert verify(relabelled, policy, context=ENVELOPE_CONTEXT, decode=limits_from).reason == "signatures"


def test_one_changed_byte_of_the_payload_is_refused() -> None:
    policy = Policy(1, (key("a", 1),))
    good = signed(PAYLOAD, 1)
    wide = replace(good, payload=PAYLOAD.replace(b"2e-09 s", b"9e-09 s"))
    assert wide.payload != PAYLOAD
    assert verify(wide, policy, context=ENVELOPE_CONTEXT, decode=limits_from).reason == "signatures"


def test_a_well_signed_payload_that_makes_no_sense_is_refused() -> None:
    policy = Policy(1, (key("a", 1),))
    found = verify(signed(b"{}", 1), policy, context=ENVELOPE_CONTEXT, decode=limits_from)
    assert isinstance(found, Refused)
    assert found.reason == "payload"


def test_verified_cannot_be_made_by_hand() -> None:
    with pytest.raises(VerifiedMisuse):
        Verified(LIMITS, ("a",))
    with pytest.raises(VerifiedMisuse):
        Verified(LIMITS, ("a",), seal=object())
    made = asked(Policy(1, (key("a", 1),)), 1)
    with pytest.raises((AttributeError, TypeError)):
        made.value = replace(LIMITS, per_change=1.0)
    with pytest.raises(VerifiedMisuse):
        replace(made, value=replace(LIMITS, per_change=1.0))


@pytest.mark.parametrize("threshold", [0, -1, 3])
def test_a_threshold_nobody_can_meet_or_nobody_needs_is_rejected(threshold: int) -> None:
    with pytest.raises(PolicyRejected):
        Policy(threshold, (key("a", 1), key("b", 2)))


def test_the_threshold_counts_persons_not_keys() -> None:
    with pytest.raises(PolicyRejected):
        Policy(2, (key("a", 1), key("a", 2)))


def test_one_key_cannot_stand_for_two_persons() -> None:
    with pytest.raises(PolicyRejected):
        Policy(1, (key("a", 1), key("b", 1)))


def test_a_seed_of_the_wrong_length_is_our_own_mistake() -> None:
    with pytest.raises(Misuse):
        sign(b"short", ENVELOPE_CONTEXT, PAYLOAD)


def test_a_policy_says_in_a_sentence_how_strong_it_is() -> None:
    assert Policy(1, (key("a", 1),)).sentence == "single signer, software key"
    assert Policy(1, (key("a", 1, hardware=True), key("a", 2))).sentence == "single signer, software key"
    both = (key("a", 1, hardware=True), key("b", 2, hardware=True))
    assert Policy(2, both).sentence == "2 of 2 persons, hardware keys"


def test_a_policy_file_is_read_back_as_it_was_written() -> None:
    policy = Policy(2, (key("a", 1, hardware=True), key("b", 2), key("b", 3)))
    assert policy_from(policy.canonical()) == policy


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 1.9},
        {"threshold": True},
        {"threshold": "1"},
        {"threshold": float("inf")},
        {"threshold": None},
        {"keys": 3},
        {"keys": [3]},
        {"keys": []},
        {"keys": [{"person": "a", "hardware": False, "public": "00"}]},
        {"keys": [{"person": "a", "hardware": False, "public": 7}]},
        {"keys": [{"person": "a", "hardware": False}]},
    ],
    ids=str,
)
def test_a_policy_with_one_thing_broken_is_rejected(change: dict[str, object]) -> None:
    body = json.loads(Policy(1, (key("a", 1),)).canonical())
    with pytest.raises(PolicyRejected):
        policy_from(json.dumps(body | change).encode())


@pytest.mark.parametrize("claim", ["true", 1, "no", None], ids=repr)
def test_only_the_word_true_claims_a_hardware_key(claim: object) -> None:
    body = json.loads(Policy(1, (key("a", 1),)).canonical())
    body["keys"][0]["hardware"] = claim
    assert policy_from(json.dumps(body).encode()).sentence == "single signer, software key"


def decodes(decode: object, data: bytes) -> None:
    with contextlib.suppress(Rejected):
        decode(data)


@given(st.binary(max_size=200))
def test_bytes_never_raise_anything_but_rejected(data: bytes) -> None:
    decodes(policy_from, data)
    decodes(limits_from, data)


@given(ANY_JSON)
def test_json_of_any_shape_never_raises_anything_but_rejected(body: object) -> None:
    data = json.dumps(body).encode()
    decodes(policy_from, data)
    decodes(limits_from, data)


@given(st.sampled_from(sorted(json.loads(PAYLOAD))), ANY_JSON)
def test_limits_with_any_one_field_replaced_never_raise_anything_but_rejected(name: str, value: object) -> None:
    body = json.loads(PAYLOAD)
    body[name] = value
    decodes(limits_from, json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


@given(st.sampled_from(["person", "public", "hardware", "threshold", "keys"]), ANY_JSON)
def test_a_policy_with_any_one_field_replaced_never_raises_anything_but_rejected(name: str, value: object) -> None:
    body = json.loads(Policy(1, (key("a", 1),)).canonical())
    (body if name in body else body["keys"][0])[name] = value
    decodes(policy_from, json.dumps(body).encode())


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"keys":' * 50_000], ids=["lists", "objects"])
def test_deep_nesting_is_rejected(data: bytes) -> None:
    with pytest.raises(Rejected):
        policy_from(data)
    with pytest.raises(Rejected):
        limits_from(data)


def test_a_key_is_named_by_its_public_key() -> None:
    assert PersonKey("a", b"\x01" * 32, hardware=False).key_id == "01" * 32
