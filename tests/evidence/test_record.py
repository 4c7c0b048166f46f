"""Records: canonical bytes, quantities that come back bit for bit, and a chain whose errors name the place."""

import json
import math
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.evidence.record import (
    GENESIS,
    SAFE_INTEGER,
    Chain,
    RecordMisuse,
    RecordRejected,
    canonical,
    integer,
    number_of,
    numbers_of,
    quantities,
    quantity,
    read,
    repeated,
    seal,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
UNITS = st.sampled_from(["s", "1", "1/d", "s/s", "Hz"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.text(st.characters(max_codepoint=127), max_size=6)
BODIES = st.dictionaries(
    KEYS.filter(lambda name: name not in ("kind", "seq", "prev")),
    st.recursive(
        st.none() | st.booleans() | st.integers(-SAFE_INTEGER, SAFE_INTEGER) | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)


def chained(*bodies: dict[str, object]) -> list[bytes]:
    chain, out = Chain(), []
    for body in bodies:
        record, chain = seal("note", body, chain)
        out.append(record.data)
    return out


def read_all(log: list[bytes]) -> Chain:
    chain = Chain()
    for data in log:
        _, chain = read(data, chain)
    return chain


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"b": 1, "a": 2, "B": 3, "": 4, "aa": 5}, b'{"":4,"B":3,"a":2,"aa":5,"b":1}'),
        ({"1": {"f": {"f": "hi", "F": 5}, "\n": 56}}, b'{"1":{"\\n":56,"f":{"F":5,"f":"hi"}}}'),
        ({"a": [True, False, None, [], {}]}, b'{"a":[true,false,null,[],{}]}'),
        ({"a": "\x08\t\n\x0c\r"}, b'{"a":"\\b\\t\\n\\f\\r"}'),
        ({"a": "\x00\x1f\x7f"}, b'{"a":"\\u0000\\u001f\x7f"}'),
        ({"a": '"\\/'}, b'{"a":"\\"\\\\/"}'),
        ({"a": "µs \u20ac \u2028 \U0001f600"}, '{"a":"µs \u20ac \u2028 \U0001f600"}'.encode()),
        ({"a": "e\u0301", "b": "\u00e9"}, '{"a":"e\u0301","b":"\u00e9"}'.encode()),
        ({"a": SAFE_INTEGER, "b": -SAFE_INTEGER, "c": 0}, b'{"a":9007199254740991,"b":-9007199254740991,"c":0}'),
    ],
)
def test_canonical_bytes_are_those_of_rfc_8785(body: dict[str, object], expected: bytes) -> None:
    assert canonical(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        {"a": 1.0},
        {"a": float("nan")},
        {"a": [{"b": 0.5}]},
        {"a": SAFE_INTEGER + 1},
        {"a": [-SAFE_INTEGER - 1]},
        {"é": 1},
        {"a": {"\U0001f600": 1}},
        {1: "a"},
        {"a": "\ud800"},
    ],
    ids=ascii,
)
def test_what_canonical_bytes_cannot_hold_is_our_own_mistake(body: dict[str, object]) -> None:
    with pytest.raises(RecordMisuse):
        canonical(body)


def test_text_that_is_not_unicode_cannot_be_sealed() -> None:
    with pytest.raises(RecordMisuse):
        seal("note", {"says": "file \udcff"}, Chain())


@given(FINITE, UNITS)
def test_every_finite_float_comes_back_bit_for_bit(value: float, unit: str) -> None:
    again = number_of(quantity(value, unit), unit)
    assert again.hex() == value.hex()
    assert math.copysign(1.0, again) == math.copysign(1.0, value)


@given(st.lists(FINITE | st.just(math.nan)))
def test_lists_keep_their_places_and_absent_values(values: list[float]) -> None:
    texts = quantities(values, "s")
    assert [text is None for text in texts] == [math.isnan(value) for value in values]
    assert [v.hex() for v in numbers_of(texts, "s")] == [v.hex() for v in values]


@given(st.lists(FINITE, min_size=1))
def test_values_that_seldom_change_are_written_as_others_are(values: list[float]) -> None:
    view = memoryview(bytearray(8 * len(values))).cast("d")
    for k, value in enumerate(values):
        view[k] = value
    assert repeated(view.tobytes(), "s") == quantities(values, "s")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_quantity_is_finite_when_it_is_written(value: float) -> None:
    with pytest.raises(RecordMisuse):
        quantity(value, "s")


@pytest.mark.parametrize(
    "text",
    ["1.0", "1.0 1", "1 s", "1.00 s", "1e-9 s", "+1.0 s", " 1.0 s", "1.0  s", "nan s", "inf s", "-inf s", "x s", ""],
)
def test_a_quantity_in_another_form_is_rejected(text: str) -> None:
    with pytest.raises(RecordRejected):
        number_of(text, "s")


def test_integers_beyond_two_to_the_53_are_text() -> None:
    assert integer(SAFE_INTEGER) == SAFE_INTEGER
    assert integer(-SAFE_INTEGER) == -SAFE_INTEGER
    assert integer(SAFE_INTEGER + 1) == "9007199254740992"
    assert integer(-SAFE_INTEGER - 1) == "-9007199254740992"


@given(BODIES)
def test_a_sealed_record_is_canonical_and_reads_back(body: dict[str, object]) -> None:
    record, after = seal("note", body, Chain(7, "ab" * 32))
    again, chain = read(record.data, Chain(7, "ab" * 32))
    assert again == body | {"kind": "note", "seq": 7, "prev": "ab" * 32}
    assert canonical(again) == record.data
    assert chain == after == Chain(8, sha256(record.data).hexdigest())


def test_the_first_record_continues_nothing() -> None:
    (first,) = chained({})
    assert json.loads(first)["prev"] == GENESIS
    assert json.loads(first)["seq"] == 0


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("how", ["changed", "removed", "doubled", "exchanged", "cut", "spaced", "emptied"])
def test_a_log_that_was_edited_is_named_at_the_first_place_that_shows_it(how: str, place: int) -> None:
    log = chained(*({"n": k} for k in range(6)))
    found_at = place
    match how:
        case "changed":
            log[place] = log[place].replace(b'"n":%d' % place, b'"n":9')
            found_at = place + 1  # the record itself still reads: the one after it does not continue it
        case "removed":
            del log[place]
        case "doubled":
            log.insert(place, log[place])
            found_at = place + 1
        case "exchanged":
            log[place], log[place + 1] = log[place + 1], log[place]
        case "cut":
            log[place] = log[place][:-1]
        case "spaced":
            log[place] = log[place].replace(b":", b": ", 1)
        case "emptied":
            log[place] = b"{}"
    with pytest.raises(RecordRejected) as raised:
        read_all(log)
    assert raised.value.seq == found_at
    assert f"record {found_at}" in str(raised.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"7",
        b"\xff",
        b'{"kind":3,"prev":"%s","seq":0}' % GENESIS.encode(),
        b'{"kind":"note","prev":"%s","seq":0.0}' % GENESIS.encode(),
        b'{"kind":"note","prev":"%s","seq":false}' % GENESIS.encode(),
        b'{"kind":"note","kind":"note","prev":"%s","seq":0}' % GENESIS.encode(),
        b'{"a":1.5,"kind":"note","prev":"%s","seq":0}' % GENESIS.encode(),
        b'{"a":9007199254740992,"kind":"note","prev":"%s","seq":0}' % GENESIS.encode(),
        b'{"a":"\\ud800","kind":"note","prev":"%s","seq":0}' % GENESIS.encode(),
        b'{"a":NaN,"kind":"note","prev":"%s","seq":0}' % GENESIS.encode(),
        b"[" * 100_000,
    ],
    ids=range(13),
)
def test_bytes_that_are_no_record_are_rejected_and_never_more(data: bytes) -> None:
    with pytest.raises(RecordRejected):
        read(data, Chain())


@given(st.binary(max_size=300))
def test_bytes_never_raise_anything_but_rejected(data: bytes) -> None:
    with pytest.raises(RecordRejected):
        read(data, Chain())


@given(BODIES, st.integers(0, 10_000), st.integers(1, 255))
def test_a_record_with_any_one_byte_changed_never_passes_as_the_same(
    body: dict[str, object], place: int, flip: int
) -> None:
    (good, after), (next_, _) = (made := seal("note", body, Chain())), seal("note", {}, made[1])
    bad = bytearray(good.data)
    bad[place % len(bad)] ^= flip
    with pytest.raises(RecordRejected):
        _, chain = read(bytes(bad), Chain())
        read(next_.data, chain)
    assert read(next_.data, after)


@pytest.mark.parametrize("depth", [10, 500, 900, 950, 1_000, 5_000])
def test_deep_nesting_is_read_or_rejected_and_never_more(depth: int) -> None:
    data = b'{"a":%s%s,"kind":"note","prev":"%s","seq":0}' % (b"[" * depth, b"]" * depth, GENESIS.encode())
    try:
        _, chain = read(data, Chain())
    except RecordRejected:
        assert depth > 100
    else:
        assert chain.seq == 1
