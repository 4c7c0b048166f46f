"""k of n persons, never keys; keys that cannot be copied; every signature that does not count is named."""

import contextlib
import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.quorum.signers import key, order, policy, policy_body, signed, signed_bytes

from truechimer.quorum.operations import POLICY_NAMESPACE, STEER_NAMESPACE
from truechimer.quorum.order import Order, SignedOrder
from truechimer.quorum.order_policy import OrderPolicyRejected, order_policy_from, standing, verify_order
from truechimer.quorum.verified import Refused, Verified

# keys of the policy ("a1": person a, key 1; small letters FIDO2, capitals in a file), threshold, who signs, expected:
# the persons counted, or the reason
SIGNERS = [
    ("a1", 1, "a1", "a"),
    ("a1", 1, "", "signatures"),
    ("a1", 1, "z1", "unknown-key"),
    ("a1", 1, "a2", "unknown-key"),
    ("a1 b1", 2, "a1", "signatures"),
    ("a1 b1", 2, "a1 b1", "ab"),
    ("a1 b1", 2, "b1 a1", "ab"),
    ("a1 b1", 2, "a1 a1", "doubled-signer"),
    ("a1 b1", 2, "a1 a1 a1 b1", "ab"),
    ("a1 b1", 2, "a1 z1", "unknown-key"),
    ("a1 a2 b1", 2, "a1 a2", "doubled-signer"),
    ("a1 a2 b1", 2, "a2 b1", "ab"),
    ("a1 a2 b1", 2, "a1 a2 b1", "ab"),
    ("a1 b1 c1", 2, "c1 a1", "ac"),
    ("a1 b1 c1", 2, "a1 b1 c1", "abc"),
    ("a1 b1 c1", 3, "a1 b1", "signatures"),
    ("a1 a2 b1 c1", 3, "a1 a2 b1", "doubled-signer"),
    ("a1 a2 b1 b2 c1", 3, "a1 b1 a2 b2", "doubled-signer"),
    ("a1 b1 c1 d1 e1", 4, "a1 c1 e1 d1", "acde"),
    ("A1 b1", 2, "A1 b1", "ab"),
    ("A1 b1", 2, "a1 b1", "unknown-key"),
]


@pytest.mark.parametrize(("keys", "threshold", "signers", "expected"), SIGNERS)
def test_k_of_n_persons_must_have_signed(keys: str, threshold: int, signers: str, expected: str) -> None:
    under = policy(keys, threshold)
    found = verify_order(signed(order(under), signers), under)
    if isinstance(found, Refused):
        assert found.reason == expected
    else:
        assert "".join(found.by) == expected
        assert found.value == order(under)


def test_the_refusal_says_how_many_are_missing_and_who_could_sign() -> None:
    under = policy("a1 b1 c1", 3)
    found = verify_order(signed(order(under), "a1 a1"), under)
    assert isinstance(found, Refused)
    assert found.says == (
        "1 of 3 persons needed have signed validly: a has signed twice and counts once; could still sign: b, c"
    )


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        (lambda data: key("b1").sign(data, POLICY_NAMESPACE), "namespace"),
        (lambda data: key("b1").sign(data + b" ", STEER_NAMESPACE), "bad-signature"),
        (lambda data: key("b1").sign(data, STEER_NAMESPACE, flags=0), "not-touched"),
        (lambda data: key("b2").sign(data, STEER_NAMESPACE), "revoked-key"),
        (lambda data: key("B1").sign(data, STEER_NAMESPACE), "unknown-key"),
        (lambda _: b"signed, b", "malformed"),
        (lambda _: b"", "malformed"),
    ],
)
def test_a_signature_that_does_not_count_is_named_and_spoils_no_other(signature, reason: str) -> None:
    under = policy("a1 b1 c1", 2, revoked=[key("b2").public.fingerprint])
    asked = order(under)
    good = signed(asked, "a1 c1")
    bad = signature(good.payload)
    short = verify_order(SignedOrder(good.payload, (good.signatures[0], bad)), under)
    assert isinstance(short, Refused)
    assert short.reason == reason
    assert isinstance(verify_order(SignedOrder(good.payload, (bad, *good.signatures)), under), Verified)


def test_a_key_that_must_ask_for_its_pin_counts_only_with_it() -> None:
    body = policy_body("a1", 1)
    body["persons"][0]["keys"][0]["verify"] = True
    under = order_policy_from(json.dumps(body).encode())
    data = order(under).canonical()
    without = verify_order(signed_bytes(data, "a1", flags=1), under)
    assert isinstance(without, Refused)
    assert without.reason == "not-verified"
    assert isinstance(verify_order(signed_bytes(data, "a1", flags=5), under), Verified)


def test_an_order_for_another_policy_is_refused_before_anyone_is_counted() -> None:
    under = policy()
    for other in (policy(version=2), policy(threshold=1), policy("a1 b1"), policy(laboratory="other")):
        found = verify_order(signed(order(other), "a1 b1 c1"), under)
        assert isinstance(found, Refused)
        assert found.reason == "policy"


def test_a_signature_for_one_order_is_none_for_another() -> None:
    under = policy()
    small, large = order(under), order(under, value="2e-09")
    found = verify_order(SignedOrder(large.canonical(), signed(small, "a1 b1").signatures), under)
    assert isinstance(found, Refused)
    assert found.reason == "bad-signature"


def test_a_well_signed_order_that_makes_no_sense_is_refused() -> None:
    under = policy()
    found = verify_order(signed_bytes(replace(order(under), unit="ns").canonical(), "a1 b1"), under)
    assert isinstance(found, Refused)
    assert found.reason == "malformed"


def test_more_signatures_than_are_read_do_not_help() -> None:
    under = policy()
    asked = order(under)
    good = signed(asked, "a1 b1")
    found = verify_order(SignedOrder(good.payload, (b"x",) * 64 + good.signatures), under)
    assert isinstance(found, Refused)


def test_what_authenticators_count_is_told() -> None:
    under = policy()
    found = standing(signed(order(under), "a1 b1", counter=41), under, namespace=STEER_NAMESPACE)
    assert found.enough
    assert found.counters == tuple(sorted((key(word).public.fingerprint, 41) for word in ("a1", "b1")))


FINGERPRINT = key("a1").public.fingerprint


def with_key(**changes: object) -> dict:
    body = policy_body("a1 b1", 1)
    body["persons"][0]["keys"][0].update(changes)
    return body


def with_limit(**changes: object) -> dict:
    body = policy_body()
    return {**body, "limits": {**body["limits"], **changes}}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (policy_body(threshold=4), "nobody could fulfil"),
        (policy_body(threshold=0), "from 1"),
        (policy_body(threshold=True), "whole number"),
        (policy_body(version=0), "from 1"),
        (policy_body(laboratory="a b"), "not a name"),
        (policy_body(change_delay_s=86_399), "at least 86400"),
        (policy_body(change_delay_s=10**9), "at most"),
        (policy_body("A1 b1", insecure_software_keys=False), "can be copied unseen"),
        (policy_body(insecure_software_keys="yes"), "true or false"),
        (policy_body("a1 b1 a1"), "key stands twice"),
        (policy_body(persons=policy_body()["persons"] * 2), "person stands twice"),
        (policy_body(persons=[{"name": "a", "keys": []}], threshold=1), "has no key"),
        (policy_body(persons="a"), "not a list"),
        (policy_body(persons=["a"], threshold=1), "not an object"),
        (policy_body(revoked=[FINGERPRINT]), "take it out of one"),
        (policy_body(revoked=["a1"]), "fingerprints"),
        (policy_body(revoked=[5]), "fingerprints"),
        (policy_body(revoked=["SHA256:" + "B" * 43, "SHA256:" + "A" * 43]), "not sorted"),
        (policy_body(format="x"), "truechimer-policy-v1"),
        (policy_body(more=1), "'more'"),
        (with_key(held="paper"), "are known"),
        (with_key(held="pkcs11"), "sk- keys are held"),
        (with_key(held="software"), "sk- keys are held"),
        (with_key(key=key("A1").public.line), "sk- keys are held"),
        (with_key(key=key("A1").public.line, held="pkcs11", verify=True), "only FIDO2"),
        (with_key(key="ssh-rsa AAAA"), "the key ends early"),
        (with_key(key=5), "not text"),
        (with_limit(day_s="-1.0 s"), "not negative"),
        (with_limit(day_s="2e-09 ns"), "number of s"),
        (with_limit(day_s="2e-09"), "number of s"),
        (with_limit(day_s="inf s"), "finite"),
        (with_limit(week_s="1.0 s"), "'week_s'"),
    ],
)
def test_a_policy_that_is_not_safe_or_not_clear_is_refused(body: dict, says: str) -> None:
    with pytest.raises(OrderPolicyRejected, match=says):
        order_policy_from(json.dumps(body).encode())


def test_a_key_made_for_a_web_page_is_not_taken() -> None:
    other = replace(key("a1").public, application="https://example.org")
    with pytest.raises(OrderPolicyRejected, match="begin with ssh:"):
        order_policy_from(json.dumps(with_key(key=other.line)).encode())


def test_one_secret_under_two_applications_is_not_two_persons() -> None:
    body = policy_body("a1 b1", 2)
    body["persons"][1]["keys"][0]["key"] = replace(key("a1").public, application="ssh:second").line
    with pytest.raises(OrderPolicyRejected, match="key stands twice"):
        order_policy_from(json.dumps(body).encode())


def test_a_policy_is_the_same_in_any_layout_and_another_with_any_change() -> None:
    body = policy_body()
    under = order_policy_from(json.dumps(body, indent=3).encode())
    assert order_policy_from(under.canonical()) == under
    assert under.digest == policy().digest
    others = [policy(threshold=3), policy("a1 b1"), policy(version=2), policy(laboratory="x"), policy("a1 b1 c2")]
    assert len({under.digest, *(other.digest for other in others)}) == 6


@pytest.mark.parametrize(
    ("keys", "threshold", "sentence"),
    [
        ("a1 b1 c1", 2, "2 of 3 persons, hardware keys"),
        ("a1", 1, "single signer, hardware keys"),
        ("a1 B1 c1 C2", 2, "2 of 3 persons, INSECURE: 2 of 3 hold software keys"),
        ("A1 B1", 1, "single signer, INSECURE: 2 of 2 hold software keys"),
    ],
)
def test_the_sentence_says_how_weak_it_is(keys: str, threshold: int, sentence: str) -> None:
    assert policy(keys, threshold).sentence == sentence


def test_a_pkcs11_key_is_hardware_because_the_policy_says_so() -> None:
    body = with_key(key=key("A1").public.line, held="pkcs11")
    assert order_policy_from(json.dumps(body).encode()).sentence == "single signer, hardware keys"


def test_verified_orders_are_orders() -> None:
    under = policy()
    found = verify_order(signed(order(under)), under)
    assert isinstance(found, Verified)
    assert isinstance(found.value, Order)
    assert 'a namespaces="steer@truechimer" sk-ssh-ed25519@openssh.com ' in under.allowed_signers([STEER_NAMESPACE])


PLACES: list[list[str | int]] = [
    *([name] for name in policy_body()),
    ["persons", 0],
    ["persons", 0, "name"],
    ["persons", 0, "keys"],
    ["persons", 0, "keys", 0],
    ["persons", 0, "keys", 0, "key"],
    ["persons", 0, "keys", 0, "held"],
    ["persons", 0, "keys", 0, "verify"],
    ["limits", "day_s"],
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60)
@given(st.sampled_from(PLACES), ANYTHING)
def test_a_policy_with_any_one_field_replaced_is_read_or_refused(place: list[str | int], value: object) -> None:
    body = copy.deepcopy(policy_body())
    at = body
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    with contextlib.suppress(OrderPolicyRejected):
        found = order_policy_from(json.dumps(body).encode())
        assert order_policy_from(found.canonical()) == found


@given(st.binary(max_size=100))
def test_any_bytes_are_a_policy_or_refused(data: bytes) -> None:
    with contextlib.suppress(OrderPolicyRejected):
        order_policy_from(data)
