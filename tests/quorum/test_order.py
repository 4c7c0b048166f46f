"""An order's bytes: one meaning each, and every fault refused with its reason."""

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.quorum.signers import NOW_NS, order, policy

from truechimer.quorum.operations import DAY_NS, OPERATIONS, OperationRejected, Value, quantity
from truechimer.quorum.order import OrderRejected, order_from
from truechimer.quorum.strict_json import JsonRejected, canonical, read_object

ORDER = order(policy())
BYTES = ORDER.canonical()
HEX = "ab" * 32


def changed(**changes: object) -> bytes:
    body = {**json.loads(BYTES), **changes}
    return canonical({key: value for key, value in body.items() if value is not None})


def refusal(data: bytes) -> OrderRejected:
    with pytest.raises(OrderRejected) as refused:
        order_from(data)
    return refused.value


def test_an_order_is_read_as_it_was_written() -> None:
    assert order_from(BYTES) == ORDER
    assert ORDER.sentence == "moves UTC(LAB) by 1e-09 s at once"


@pytest.mark.parametrize("op", OPERATIONS)
def test_every_operation_has_an_order_that_says_what_it_does(op: str) -> None:
    operation = OPERATIONS[op]
    value = {
        Value.QUANTITY: "-2.5e-09",
        Value.FRACTION: "0.25",
        Value.FILE: HEX,
        Value.SWITCH: "out",
        Value.NOTHING: "",
    }[operation.value]
    target = "SHA256:" + "A" * 43 if op == "key-revoke" else "UTC(LAB)"
    asked = replace(ORDER, op=op, target=target, value=value, unit=operation.units[0])
    assert order_from(asked.canonical()) == asked
    assert target in asked.sentence
    assert value in asked.sentence


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"op": "steer"}, "known are"),
        ({"format": "truechimer-order-v2"}, "truechimer-order-v1"),
        ({"target": ""}, "no name"),
        ({"target": "a\u202eb"}, "cannot be seen"),
        ({"target": "UTC LAB"}, "no name"),
        ({"value": "1e-9"}, "shortest form"),
        ({"value": "nan"}, "finite"),
        ({"value": "inf"}, "finite"),
        ({"value": "-0.0"}, "shortest form"),
        ({"value": "0x1p3"}, "not a number"),
        ({"value": "1_0.0"}, "shortest form"),
        ({"value": " 1e-09"}, "shortest form"),
        ({"value": ""}, "not a number"),
        ({"value": 1}, "not text"),
        ({"value": "\u0661.0"}, "shortest form"),
        ({"unit": "ns"}, "'s' is needed"),
        ({"unit": ""}, "'s' is needed"),
        ({"op": "clock-weight", "unit": "1", "value": "1.5"}, "between 0 and 1"),
        ({"op": "clock-membership", "unit": "", "value": "maybe"}, "in"),
        ({"op": "leap-table", "unit": "sha256", "value": HEX.upper()}, "SHA-256"),
        ({"op": "key-revoke", "unit": "", "value": ""}, "no name"),
        ({"op": "key-revoke", "unit": "", "value": "x", "target": "SHA256:" + "A" * 43}, "no value"),
        ({"because": " "}, "must know why"),
        ({"because": "a\nb"}, "cannot be seen"),
        ({"because": "x" * 301}, "300"),
        ({"nonce": "0" * 31}, "nonce"),
        ({"nonce": "0" * 31 + "G"}, "nonce"),
        ({"previous": "0" * 63}, "previous"),
        ({"policy": "latest"}, "policy"),
        ({"sequence": 0}, "from 1"),
        ({"sequence": -1}, "from 1"),
        ({"sequence": "1"}, "whole number"),
        ({"sequence": True}, "whole number"),
        ({"valid_from_tai_ns": "-5"}, "digits"),
        ({"valid_from_tai_ns": "05"}, "digits"),
        ({"expires_tai_ns": str(NOW_NS - DAY_NS)}, "before it begins"),
        ({"target": None}, "lacks target"),
        ({"urgent": "yes"}, "'urgent'"),
    ],
)
def test_one_thing_wrong_is_refused_and_named(changes: dict, says: str) -> None:
    refused = refusal(changed(**changes))
    assert says in str(refused)
    assert refused.reason == ("unknown-op" if changes.get("op") == "steer" else "malformed")


def test_an_order_holds_a_day_at_most_and_an_envelope_ninety() -> None:
    lasts = ORDER.valid_from_ns + DAY_NS
    assert order_from(replace(ORDER, expires_ns=lasts).canonical())
    assert refusal(replace(ORDER, expires_ns=lasts + 1).canonical()).reason == "too-long"
    envelope = replace(ORDER, op="steering-envelope", unit="sha256", value=HEX)
    until = ORDER.valid_from_ns + 90 * DAY_NS
    assert order_from(replace(envelope, expires_ns=until).canonical())
    assert refusal(replace(envelope, expires_ns=until + 1).canonical()).reason == "too-long"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe",
        b"\xef\xbb\xbf" + BYTES,
        BYTES + b"\n",
        b" " + BYTES,
        BYTES.replace(b'":"', b'": "', 1),
        BYTES.replace(b'"op":', b'"op":"steer-rate","op":'),
        BYTES.replace(b'"sequence":1', b'"sequence":1.0'),
        BYTES.replace(b'"sequence":1', b'"sequence":1e0'),
        BYTES.replace(b'"sequence":1', b'"sequence":NaN'),
        BYTES.replace(b'"sequence":1', b'"sequence":' + b"9" * 5000),
        BYTES.replace(b'"sequence":1', b'"sequence":9007199254740993'),
        BYTES.replace(b"recalibrated", b"recal\\u0069brated"),
        BYTES.replace(b"recalibrated", b"\\ud800"),
        BYTES.replace(b'"unit":"s"', b'"unit":' + b"[" * 2000 + b"]" * 2000),
        b"[" * 4000,
        b"x" * 5000,
        BYTES[:-1] + b',"zzz":{"a":{"b":[[[[[[[[[]]]]]]]]]}}}',
    ],
)
def test_bytes_that_two_readers_could_take_for_two_things_are_refused(data: bytes) -> None:
    assert data != BYTES
    assert refusal(data).reason == "malformed"


def test_no_single_bit_of_an_order_leaves_the_same_order() -> None:
    for at in range(len(BYTES)):
        bent = bytearray(BYTES)
        bent[at] ^= 1 << (at % 7)
        with contextlib.suppress(OrderRejected):
            assert order_from(bytes(bent)).digest != ORDER.digest


@given(st.binary(max_size=200))
def test_any_bytes_are_an_order_or_refused(data: bytes) -> None:
    with contextlib.suppress(OrderRejected):
        order_from(data)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_quantity_is_exact(value: float) -> None:
    if repr(value) == "-0.0":
        with pytest.raises(OperationRejected):
            quantity("-0.0")
    else:
        assert float(quantity(repr(value))) == value


JSON = st.recursive(
    st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="ascii"), max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=25)
@given(st.dictionaries(st.text(st.characters(codec="ascii"), max_size=5), JSON, max_size=4))
def test_canonical_bytes_are_read_back_as_what_they_were(body: dict) -> None:
    with contextlib.suppress(JsonRejected):  # only depth can be too much
        assert read_object(canonical(body), 10_000) == body
