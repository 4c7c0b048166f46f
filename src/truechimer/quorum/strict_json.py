"""Strict JSON: what people sign, read in one way only, and written in one form.

It knows no order and no policy. Source: RFC 8785 for what is written (keys are ASCII, so sorting by letter is its
order; numbers are whole). What two readers could take for two things is refused: a key twice, a float, NaN, an integer
beyond 2^53 - 1, a lone surrogate, more bytes than the caller allows.
"""

import json
from typing import Any, NoReturn

from truechimer.errors import Rejected

SAFE_INTEGER = 2**53 - 1
DEEPEST = 8
"""Levels of lists and objects; what is signed here needs four."""


class JsonRejected(Rejected):
    """Bytes that are not strict JSON."""


def canonical(body: dict[str, Any]) -> bytes:
    """Write the canonical bytes of strings, whole numbers, booleans, lists and objects."""
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def read_object(data: bytes, largest: int) -> dict[str, Any]:
    """Read one object of at most `largest` bytes in any layout; raises `JsonRejected`."""
    if len(data) > largest:
        raise JsonRejected(f"{len(data)} bytes: {largest} are the most that are read")
    try:
        body = json.loads(
            data.decode(),
            object_pairs_hook=_without_doubles,
            parse_float=_no_float,
            parse_constant=_no_float,
            parse_int=_whole,
        )
    except UnicodeDecodeError as error:
        raise JsonRejected(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise JsonRejected(f"nested more than {DEEPEST} deep") from None
    except json.JSONDecodeError as error:
        raise JsonRejected(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    if not isinstance(body, dict):
        raise JsonRejected("not a JSON object: it begins with a brace")
    _check(body, DEEPEST)
    return body


def with_keys(body: Any, keys: frozenset[str], what: str) -> dict[str, Any]:
    """Return the object if it has exactly these keys; raises `JsonRejected` that names what is missing or unknown."""
    if not isinstance(body, dict):
        raise JsonRejected(f"{what} is not an object with keys")
    if missing := sorted(keys - body.keys()):
        raise JsonRejected(f"{what} lacks {', '.join(missing)}")
    if unknown := sorted(body.keys() - keys):
        raise JsonRejected(f"{what} has {_short(unknown[0])}, which this version does not know: nothing is ignored")
    return body


def text_of(body: dict[str, Any], key: str, longest: int) -> str:
    """Return the printable text under a key, at most `longest` letters; raises `JsonRejected`."""
    value = body[key]
    if not isinstance(value, str):
        raise JsonRejected(f"{key} is not text")
    if len(value) > longest:
        raise JsonRejected(f"{key} has {len(value)} letters: {longest} are the most")
    if not value.isprintable():
        raise JsonRejected(f"{key} has a letter that cannot be seen ({_short(value)}): what is signed must be legible")
    return value


def whole_of(body: dict[str, Any], key: str, *, least: int = 0) -> int:
    """Return the whole number under a key; raises `JsonRejected`."""
    value = body[key]
    if type(value) is not int or value < least:
        raise JsonRejected(f"{key} is {_short(value)}: a whole number from {least} on is needed")
    return value


def truth_of(body: dict[str, Any], key: str) -> bool:
    """Return the boolean under a key; raises `JsonRejected`: nothing but true and false is taken for one."""
    value = body[key]
    if not isinstance(value, bool):
        raise JsonRejected(f"{key} is {_short(value)}: true or false is needed")
    return value


def list_of(body: dict[str, Any], key: str, most: int) -> list[Any]:
    """Return the list under a key, at most `most` long; raises `JsonRejected`."""
    value = body[key]
    if not isinstance(value, list) or len(value) > most:
        raise JsonRejected(f"{key} is not a list of at most {most}")
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; raises where a key stands twice."""
    body = dict(pairs)
    if len(body) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonRejected(f"the key {_short(twice)} stands twice: two readers could take it for two things")
    return body


def _no_float(text: str) -> NoReturn:
    """Refuse a float."""
    raise JsonRejected(f"{_short(text)} is a float: quantities stand as text with a unit")


def _whole(text: str) -> int:
    """Read a whole number within +-(2^53 - 1)."""
    if len(text) > 17 or abs(int(text)) > SAFE_INTEGER or text == "-0":
        raise JsonRejected(f"{_short(text)} is beyond what every reader holds exactly: write it as text")
    return int(text)


def _check(value: Any, deepest: int) -> None:
    """Raise for depth and for text that UTF-8 cannot hold."""
    if deepest < 0:
        raise JsonRejected(f"nested more than {DEEPEST} deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not key.isascii():
                raise JsonRejected(f"the key {_short(key)} is not ASCII")
            _check(inner, deepest - 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, deepest - 1)
    elif isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise JsonRejected("a text has half of a letter (a lone surrogate)")


def _short(value: object) -> str:
    """Return what came from outside, short and without anything a terminal obeys."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
