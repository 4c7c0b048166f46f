"""Exact: values of the fold as canonical text and back, with every bit of every number; one value has one text.

It stores nothing, and it knows no type but those it is handed: nothing is ever called, imported or made because bytes
say so. Records (`evidence.record`) are for people and strangers and keep floats as decimal text; this is for a restart,
where NaN, infinity, -0.0 and the shape of an array must come back as they were.

A value is written as JSON: text, true, false and null as they are, everything else as a list that begins with a letter:
i integer (decimal text), f float (16 hex digits, big-endian IEEE 754), b bytes (hex), t tuple, l list, s frozenset,
d dict with text keys, e enum (class, name), o dataclass (class, fields), a array (dtype, shape, base64), n scalar of an
array (dtype, hex), r the same array as the one written before under that number. Law of the file: the fields of a
dataclass that its constructor does not take are not written; the constructor makes them again.
"""

import json
import struct
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from typing import Any, TypeAlias, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from truechimer.errors import Misuse, Rejected, TruechimerError

DTYPES = ("<f8", "<i8", "|b1")
"""Kinds of arrays and of their scalars that the fold holds: float64, int64, bool."""

READ_FAULTS = (
    TruechimerError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    Base64Error,
    struct.error,
)
"""What a `Reader` may raise over text that no `Writer` wrote."""

Kinds: TypeAlias = Mapping[str, type]
"""The dataclasses and enums that may be written and made again, by class name."""


class ExactMisuse(Misuse):
    """A value that cannot be written exactly."""


class ExactRejected(Rejected):
    """Text that is not an exact value of the kinds asked for."""


def kinds_within(*roots: type) -> dict[str, type]:
    """Return all dataclasses and enums that the annotated fields of `roots` can hold, themselves among them."""
    found: dict[str, type] = {}
    waiting: list[Any] = list(roots)
    while waiting:
        one = waiting.pop()
        if not (isinstance(one, type) and (is_dataclass(one) or issubclass(one, Enum))):
            waiting.extend(get_args(one))
            continue
        known = found.get(one.__name__)
        if known is not None and known is not one:
            raise ExactMisuse(f"two classes are named {one.__name__}: {known.__module__} and {one.__module__}")
        if known is None:
            found[one.__name__] = one
            if is_dataclass(one):
                hints = get_type_hints(one)
                waiting.extend(hints[item.name] for item in fields(one) if item.init)
    return found


def hints_of(kind: type) -> dict[str, Any]:
    """Return what each annotated field of a class holds."""
    return get_type_hints(kind)


def shape_of(kinds: Kinds) -> str:
    """Return a digest (hex) of what the kinds look like: their fields with types, their members with values.

    Values that were written by classes of another shape are not read: a field that changed its meaning must not come
    back under its old name.
    """
    lines = []
    for name in sorted(kinds):
        kind = kinds[name]
        if issubclass(kind, Enum):
            lines += [f"{name}.{member.name}={member.value!r}" for member in kind]
        else:
            hints = get_type_hints(kind)
            lines += [f"{name}.{item.name}:{hints[item.name]}" for item in _taken(kind)]
    return sha256("\n".join(lines).encode()).hexdigest()


def encode(value: object, kinds: Kinds) -> str:
    """Return the text of a value; raises `ExactMisuse` for one of another kind."""
    return json.dumps(Writer(kinds).written(value), ensure_ascii=True, separators=(",", ":"))


def decode(text: str, kinds: Kinds) -> Any:
    """Return the value of a text; raises `ExactRejected` for one that `encode` does not write of these kinds."""
    try:
        return Reader(kinds).read(json.loads(text))
    except READ_FAULTS as error:
        raise ExactRejected(f"not a value of this version ({error!r})") from None


def _taken(kind: Any) -> tuple[Any, ...]:
    """Return the fields of a dataclass that its constructor takes."""
    return tuple(item for item in fields(kind) if item.init)


class Writer:
    """Writes values; an array that stands in them twice is written once."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._arrays: dict[int, int] = {}
        self._kept: list[NDArray[Any]] = []

    def written(self, value: Any) -> Any:
        """Return the JSON tree of a value."""
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return ["i", str(value)]
        if kind is float:
            return ["f", struct.pack(">d", value).hex()]
        if kind is bytes:
            return ["b", value.hex()]
        if kind is tuple or kind is list:
            return ["t" if kind is tuple else "l", *map(self.written, value)]
        if kind is frozenset:
            return ["s", *sorted(map(self.written, value), key=json.dumps)]
        if kind is dict:
            return ["d", *([self._key(key), self.written(value[key])] for key in sorted(value, key=self._key))]
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic) and value.dtype.str in DTYPES:
            return ["n", value.dtype.str, value.tobytes().hex()]
        if self._kinds.get(kind.__name__) is not kind:
            raise ExactMisuse(f"a {kind.__name__} cannot be written exactly: it is none of {sorted(self._kinds)}")
        if isinstance(value, Enum):
            return ["e", kind.__name__, value.name]
        return ["o", kind.__name__, {item.name: self.written(getattr(value, item.name)) for item in _taken(kind)}]

    @staticmethod
    def _key(key: Any) -> str:
        """Return a key that is text."""
        if type(key) is not str:
            raise ExactMisuse(f"key {key!r}: keys are text")
        return key

    def _array(self, value: NDArray[Any]) -> list[Any]:
        """Write an array, or the number of the one it is."""
        if id(value) in self._arrays:
            return ["r", str(self._arrays[id(value)])]
        if value.dtype.str not in DTYPES:
            raise ExactMisuse(f"an array of {value.dtype} cannot be written exactly")
        self._arrays[id(value)] = len(self._kept)
        self._kept.append(value)
        packed = b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return ["a", value.dtype.str, list(map(str, value.shape)), packed]


class Reader:
    """Reads values back, in the order in which one `Writer` wrote them."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._arrays: list[NDArray[Any]] = []

    def read(self, tree: Any) -> Any:
        """Return the value of a JSON tree."""
        if tree is None or isinstance(tree, (bool, str)):
            return tree
        if not isinstance(tree, list) or not tree:
            raise ExactRejected(f"{str(tree)[:40]!r} is no exact value")
        tag, rest = tree[0], tree[1:]
        if tag == "i":
            return int(rest[0])
        if tag == "f":
            return struct.unpack(">d", bytes.fromhex(rest[0]))[0]
        if tag == "b":
            return bytes.fromhex(rest[0])
        if tag == "t":
            return tuple(map(self.read, rest))
        if tag == "l":
            return list(map(self.read, rest))
        if tag == "s":
            return frozenset(map(self.read, rest))
        if tag == "d":
            return {str(key): self.read(inner) for key, inner in rest}
        if tag in {"a", "n", "r"}:
            return self._array(tag, rest)
        kind = self._kinds[rest[0]]
        if tag == "e" and issubclass(kind, Enum):
            return kind[rest[1]]
        if tag == "o" and is_dataclass(kind):
            if set(rest[1]) != {item.name for item in _taken(kind)}:
                raise ExactRejected(f"{rest[0]} has other fields in this version")
            return kind(**{item.name: self.read(rest[1][item.name]) for item in _taken(kind)})
        raise ExactRejected(f"{tag!r} is no kind of value")

    def _array(self, tag: str, rest: list[Any]) -> Any:
        """Return an array, the one that was read before, or a scalar of one."""
        if tag == "r":
            return self._arrays[int(rest[0])]
        if rest[0] not in DTYPES:
            raise ExactRejected(f"arrays of {rest[0]!r} are not read")
        if tag == "n":
            return np.frombuffer(bytes.fromhex(rest[1]), dtype=rest[0])[0]
        shape = tuple(map(int, rest[1]))
        array = np.frombuffer(b64decode(rest[2], validate=True), dtype=rest[0]).reshape(shape).copy()
        self._arrays.append(array)
        return array
