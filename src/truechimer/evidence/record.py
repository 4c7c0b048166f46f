"""A record: one reading, decision, order or alarm in canonical bytes, chained to the record before it.

It does not store and does not sign. The bytes are RFC 8785 canonical JSON with one rule of ours on top: a float64 is
written as a *string*, Python's shortest round-trip `repr`, a space and its unit (`"1.25e-09 s"`), so the standard's own
number formatting never applies; integers within +-(2^53 - 1) are JSON numbers, larger ones strings. `seq` and `prev`
(SHA-256 of the previous record's bytes, hex) stand in each record.

Law of the file: keys are ASCII, so that sorting by code point is sorting by UTF-16 code unit (RFC 8785 section 3.2.3).
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from math import isfinite
from typing import Any

from truechimer.errors import Misuse, Rejected

GENESIS = "0" * 64
SAFE_INTEGER = 2**53 - 1


def _encoder() -> Callable[[Any], str]:
    """Return the canonical writer, its C encoder made once.

    `JSONEncoder.encode` makes one for every document, which costs as much as a small record. A test holds them equal.
    """
    plain = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    once = make(None, plain.default, json.encoder.encode_basestring, None, ":", ",", True, False, False)  # noqa: FBT003
    return lambda body: "".join(once(body, 0))


_dumps = _encoder()


_text: Callable[[str], str] = json.encoder.encode_basestring


class Quantities(list[str | None]):
    """What `quantities` wrote: numbers, a space and a unit, in which JSON has nothing to escape."""


def _fold_text(body: dict[str, Any]) -> str:
    """Return what `_dumps` returns, in half the time: long lists of quantities are joined as they are."""
    parts = []
    for key in sorted(body):
        value = body[key]
        kind = type(value)
        if kind is Quantities and value and None not in value:
            written = '["' + '","'.join(value) + '"]'
        else:
            written = _text(value) if kind is str else _dumps(value)
        parts.append(f"{_text(key)}:{written}")
    return "{" + ",".join(parts) + "}"


class RecordMisuse(Misuse):
    """A value cannot stand in a record."""


class RecordRejected(Rejected):
    """Bytes that should be a record are not, or do not follow the record before."""

    def __init__(self, seq: int | None, why: str) -> None:
        """Keep the place and the reason."""
        place = "a record" if seq is None else f"record {seq}"
        super().__init__(
            f"{place}: {why}; the log is damaged or was edited from here on: "
            "keep a copy, and compare it with a witness's"
        )
        self.seq, self.why = seq, why


@dataclass(frozen=True, slots=True)
class Chain:
    """Where the next record goes: its `seq`, and the SHA-256 (hex) of the bytes before it."""

    seq: int = 0
    prev: str = GENESIS


@dataclass(frozen=True, slots=True)
class Record:
    """One sealed record: its sequence number, kind, and canonical bytes."""

    seq: int
    kind: str
    data: bytes


def quantity(value: float, unit: str) -> str:
    """Write a float with its unit; raises `RecordMisuse` where it is not finite (absent values are left out, not
    written).
    """
    if not isfinite(value):
        raise RecordMisuse(f"{value!r} {unit} cannot stand in a record: leave an absent value out")
    return f"{float(value)!r} {unit}"


def quantities(values: Iterable[float], unit: str) -> list[str | None]:
    """Write floats with their unit; NaN, "no value here", becomes null so that places keep their meaning."""
    tail = " " + unit
    return Quantities([repr(value) + tail if value == value else None for value in values])  # noqa: PLR0124


def number_of(text: str, unit: str) -> float:
    """Read a quantity back; raises `RecordRejected` where the unit is another or the number is not canonical."""
    number, _, found = text.partition(" ")
    try:
        value = float(number)
    except ValueError:
        raise RecordRejected(None, f"{text!r} is not a number with the unit {unit}") from None
    if found != unit or repr(value) != number or not isfinite(value):
        raise RecordRejected(None, f"{text!r} is not a canonical number with the unit {unit}")
    return value


def numbers_of(texts: Iterable[str | None], unit: str) -> list[float]:
    """Read quantities back; null becomes NaN."""
    return [float("nan") if text is None else number_of(text, unit) for text in texts]


@lru_cache(maxsize=256)
def repeated(packed: bytes, unit: str) -> list[str | None]:
    """Write floats that seldom change (declared uncertainties): `packed` are float64 in machine order; do not change
    the list.
    """
    return quantities(memoryview(packed).cast("d").tolist(), unit)


def integer(value: int) -> int | str:
    """Write an integer: a JSON number within +-(2^53 - 1), a string beyond."""
    return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else str(value)


def canonical(body: dict[str, Any]) -> bytes:
    """Return canonical bytes of a body of strings, integers, booleans, nulls, lists and dicts with ASCII keys.

    Raises `RecordMisuse` for a float (write a `quantity`), an integer beyond +-(2^53 - 1), a key that is not ASCII.
    """
    try:
        _check(body)
        return _dumps(body).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise RecordMisuse(f"the body cannot be written as UTF-8 JSON ({type(error).__name__})") from None


def _check(value: Any) -> None:
    """Raise for what canonical bytes cannot hold."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise RecordMisuse(f"key {key!r}: keys are ASCII text")
            _check(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check(inner)
    elif isinstance(value, float):
        raise RecordMisuse(f"{value!r}: a float stands in a record as a quantity with its unit")
    elif isinstance(value, int) and not isinstance(value, bool) and not -SAFE_INTEGER <= value <= SAFE_INTEGER:
        raise RecordMisuse(f"{value}: beyond 2^53 - 1 an integer stands in a record as a string")


def seal(kind: str, body: dict[str, Any], chain: Chain) -> tuple[Record, Chain]:
    """Close a record: add kind, `seq` and `prev`, make its bytes, and return the chain that the next one continues.

    The fold's own records are not walked for floats here (`canonical` does it, and a test feeds every kind through it):
    an epoch must be cheap.
    """
    try:
        data = _fold_text(body | {"kind": kind, "seq": chain.seq, "prev": chain.prev}).encode()
    except UnicodeEncodeError:
        raise RecordMisuse(f"a record {kind} holds text that is not Unicode (a lone surrogate)") from None
    return Record(chain.seq, kind, data), Chain(chain.seq + 1, sha256(data).hexdigest())


def read(data: bytes, chain: Chain) -> tuple[dict[str, Any], Chain]:
    """Open a record that must follow `chain`; return its body and the chain after it.

    Raises `RecordRejected` for bytes that are not canonical, a wrong sequence number or a wrong `prev`.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise RecordRejected(chain.seq, "not JSON") from None
    if not isinstance(body, dict) or not isinstance(body.get("kind"), str):
        raise RecordRejected(chain.seq, "not a record (an object with a kind)")
    if type(body.get("seq")) is not int or body["seq"] != chain.seq:
        raise RecordRejected(chain.seq, f"sequence number {body.get('seq')!r} where {chain.seq} belongs")
    if body.get("prev") != chain.prev:
        raise RecordRejected(chain.seq, "does not continue the record before it (prev differs)")
    try:
        exact = canonical(body) == data
    except RecordMisuse:
        exact = False
    if not exact:
        raise RecordRejected(chain.seq, "its bytes are not canonical")
    return body, Chain(chain.seq + 1, sha256(data).hexdigest())
