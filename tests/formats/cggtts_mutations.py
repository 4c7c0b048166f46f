"""What can happen to a CGGTTS file between a receiver and a reader, one thing at a time: name, what is done, what must
be found.

It judges nothing: the test of the reader and `bench/cggtts.py` do. A mutation that "knows the sum" makes CK anew, as
somebody who edits a file would: only what the line says can then betray it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from truechimer.formats import cggtts

Lines = list[bytes]


@dataclass(frozen=True, slots=True)
class Mutation:
    """`make(lines, at)` returns the changed lines; `at`: a track's line. `rules`: one of them must be found; `costs`:
    so many tracks may be lost, no more.
    """

    says: str
    make: Callable[[Lines, int], Lines]
    rules: tuple[str, ...]
    costs: int = 1
    needs_header_sum: bool = False


def _put(lines: Lines, at: int, line: bytes) -> Lines:
    return [*lines[:at], line, *lines[at + 1 :]]


def _summed(line: bytes) -> bytes:
    text = line.rstrip()[:-2]
    return text + b"%02X" % (sum(text) % 256) + line[len(line.rstrip()) :]


def _field(line: bytes, first: int, text: bytes) -> bytes:
    """Put a text where a field begins (column from 1), CK made anew."""
    return _summed(line[: first - 1] + text + line[first - 1 + len(text) :])


def _digit(lines: Lines, at: int) -> Lines:
    """Change the last digit of REFSYS (column 64)."""
    line = lines[at]
    other = b"%d" % ((int(line[63:64]) + 1) % 10)
    return _put(lines, at, line[:63] + other + line[64:])


def _header(lines: Lines, _at: int) -> Lines:
    """Move the antenna by a metre: the last digit before the point of X."""
    number = next(k for k, line in enumerate(lines) if line.startswith(b"X "))
    line = lines[number]
    place = next(k for k in range(line.index(b"=") + 1, len(line)) if line[k : k + 1].isdigit())
    return _put(lines, number, line[:place] + b"%d" % ((int(line[place : place + 1]) + 1) % 10) + line[place + 1 :])


def _delay(lines: Lines, _at: int) -> Lines:
    """Change the first digit of the last delay in the header."""
    number = max(k for k, line in enumerate(lines[:40]) if b" DLY" in line[:8])
    line = lines[number]
    place = line.index(b" ns") - 1
    return _put(lines, number, line[:place] + b"%d" % ((int(line[place : place + 1]) + 1) % 10) + line[place + 1 :])


def _moved(lines: Lines, at: int) -> Lines:
    """Begin a minute later, sum made anew."""
    line = lines[at]
    minute = (int(line[15:17]) + 1) % 60
    return _put(lines, at, _field(line, 16, b"%02d" % minute))


MUTATIONS = (
    Mutation("a digit of REFSYS is changed", _digit, ("track-checksum",)),
    Mutation("a line of the header is changed", _header, ("header-checksum",), 0, needs_header_sum=True),
    Mutation("a delay of the header is changed", _delay, ("header-checksum",), 0, needs_header_sum=True),
    Mutation("a line is cut", lambda lines, at: _put(lines, at, lines[at][:70]), ("too-few-fields",)),
    Mutation(
        "a satellite is none (the sum made anew)",
        lambda lines, at: _put(
            lines, at, _summed(b"X7x"[: 3 if lines[at][:1] != b" " else 2].rjust(3) + lines[at][3:])
        ),
        ("satellite",),
    ),
    Mutation("a track stands twice", lambda lines, at: [*lines[: at + 1], *lines[at:]], ("repeated",), 0),
    Mutation(
        "a track stands twice with another REFSYS (the sum made anew)",
        lambda lines, at: [*lines[: at + 1], _summed(_digit(lines, at)[at]), *lines[at + 1 :]],
        ("repeated",),
        0,
    ),
    Mutation(
        "two lines run together",
        lambda lines, at: [*lines[:at], lines[at].rstrip() + lines[at + 1], *lines[at + 2 :]],
        ("too-many-fields",),
        2,
    ),
    Mutation("a track begins a minute later (the sum made anew)", _moved, ("off-schedule",), 0),
    Mutation(
        "a track is of another day (the sum made anew)",
        lambda lines, at: _put(lines, at, _field(lines[at], 8, b"%05d" % (int(lines[at][7:12]) + 1))),
        ("off-schedule",),
        0,
    ),
    Mutation(
        "the hour is 25 (the sum made anew)",
        lambda lines, at: _put(lines, at, _field(lines[at], 14, b"25")),
        ("start",),
    ),
    Mutation(
        "a letter stands in a number (the sum made anew)",
        lambda lines, at: _put(lines, at, _field(lines[at], 64, b"O")),
        ("field",),
    ),
    Mutation(
        "CK is no sum",
        lambda lines, at: _put(lines, at, lines[at].rstrip()[:-2] + b"??" + lines[at][len(lines[at].rstrip()) :]),
        ("track-checksum",),
    ),
    Mutation(
        "a line of something else stands between the tracks",
        lambda lines, at: [*lines[:at], b"<html><body>502</body></html>", *lines[at:]],
        ("too-few-fields", "no-track"),
        0,
    ),
    Mutation(
        "the line with CKSUM is gone",
        lambda lines, _at: [line for line in lines if not line.startswith(b"CKSUM")],
        ("header-checksum",),
        0,
        needs_header_sum=True,
    ),
    Mutation(
        "the file ends within a line",
        lambda lines, at: [*lines[:at], lines[at][:-3]],
        ("too-few-fields", "track-checksum"),
        1_000_000,
    ),
)


def tracks_of(data: bytes) -> tuple[Lines, list[int]]:
    """Return the lines of a file and the numbers (from 0) of those whose tracks are read."""
    value, _ = cggtts.read(data)
    assert value is not None
    return data.split(b"\n"), (value.tracks.line - 1).tolist()
