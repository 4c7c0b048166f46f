"""A CGGTTS file with another delay: its header says the new one, its tracks move by the difference.

It measures no delay. Source: Defraigne and Petit 2015, section 2: the delays have been subtracted from the tracks,
total = INT + CAB - REF, so REFSYS_new = REFSYS_old + (total_old - total_new), REFSV likewise.
"""

import re
from dataclasses import replace

import numpy as np

from truechimer.errors import Rejected
from truechimer.formats.cggtts import MISSING, CggttsFile, Tracks
from truechimer.formats.cggtts_header import Delay

_FRC_OF = {b"C1": b"L1C", b"P1": b"L1P", b"C2": b"L2C", b"P2": b"L2P"}
"""Headers name the code of GPS and GLONASS in one way, tracks in another."""
_SIGN = {"INT DLY": 1, "CAB DLY": 1, "REF DLY": -1, "SYS DLY": 1, "TOT DLY": 1}


class DelayRejected(Rejected):
    """A delay that the header does not hold, or a value that it cannot."""


def recalibrated(value: CggttsFile, *, which: str, code: str = "", ns: float) -> CggttsFile:
    """Return the file as it would be with another delay (ns); `code`: as the header writes it, empty for all codes.

    A delay of one code moves that code's tracks only. A combination of two codes (L3P) is moved by one of them by a
    factor that the file does not hold: `DelayRejected`.
    """
    header = value.header
    old = [each for each in header.delays if each.which == which and each.code.split() == code.split()]
    if not old:
        held = ", ".join(f"{each.which} {each.code}".strip() for each in header.delays) or "none"
        raise DelayRejected(f"the header has no delay {which} {code}; it has: {held}")
    moves = round((old[0].ns - ns) * 10.0) * _SIGN[which]
    if not np.isclose((old[0].ns - ns) * 10.0, round((old[0].ns - ns) * 10.0), atol=1e-6):
        raise DelayRejected(f"{ns} ns: tracks hold tenths of a ns; give a delay that differs by whole tenths")
    tracks = value.tracks
    moved = _of_code(tracks, code)
    lines = list(header.lines)
    number, place = _line_of(lines, which, code)
    lines[number] = lines[number][: place[0]] + f"{ns:.1f}".rjust(place[1] - place[0]) + lines[number][place[1] :]
    delays = tuple(Delay(which, each.code, ns) if each is old[0] else each for each in header.delays)
    changes = {
        name: np.where(moved & (getattr(tracks, name) != MISSING), getattr(tracks, name) + moves, getattr(tracks, name))
        for name in ("refsys_100ps", "refsv_100ps")
    }
    return replace(value, header=replace(header, lines=tuple(lines), delays=delays), tracks=replace(tracks, **changes))


def _of_code(tracks: Tracks, code: str) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return which tracks a delay of this code moves."""
    everything = np.ones(len(tracks), np.bool_)
    if not code:
        return everything
    here = sorted(set(tracks.code.tolist()))
    combined = [each.decode() for each in here if each.startswith(b"L3")]
    if combined:
        says = f"the tracks of {combined[0]} combine two codes: one code's delay moves them by a factor of its own"
        raise DelayRejected(f"{says}; use the producer's program")
    wanted = code.rsplit(maxsplit=1)[-1].encode("latin-1")
    matching = [each for each in here if each in (wanted, _FRC_OF.get(wanted))]
    if here in ([], [b""]):
        return everything  # format 01 knows one code
    if not matching:
        raise DelayRejected(f"no track has the code {code}: the file holds {b', '.join(here).decode()}")
    return np.isin(tracks.code, matching)


def _line_of(lines: list[str], which: str, code: str) -> tuple[int, tuple[int, int]]:
    """Return the line of a delay and the columns of its number."""
    for number, line in enumerate(lines):
        if not line.startswith(which):
            continue
        for match in re.finditer(r"([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))\s*ns(?:\s*\(([^)]{0,40})\))?", line):
            if (match.group(2) or "").split() == code.split():
                return number, match.span(1)
    raise DelayRejected(f"the header has no line of {which} {code}")
