"""`truechimer cggtts compare A B` of two-way sessions: two stations' files to UTC(a) - UTC(b), link by link.

The difference is `truechimer.compare.two_way`'s. Each pair of earth stations is a link of its own: their delays differ.
A link that no calibration covers is told as such: its changes alone mean something.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.compare.link_smoothing import Smoothed
    from truechimer.compare.two_way import TwoWayLink
    from truechimer.formats.finding import Finding
    from truechimer.formats.twstft import TwstftFile

MOST_NAMED = 20
NS = 1e9
FOR_SATELLITES = (
    ("min_elevation", None, "--min-elevation"),
    ("code", None, "--code"),
    ("measured_ionosphere", False, "--measured-ionosphere"),
    ("same_ephemeris", False, "--same-ephemeris"),
    ("short_tracks", False, "--short-tracks"),
)


class TwoWayUseRejected(Rejected):
    """Files of two-way sessions that give no link."""


def read(path: Path, data: bytes) -> "tuple[TwstftFile, list[Finding]] | None":
    """Return a file of two-way sessions, None if it is something else."""
    from truechimer.formats import twstft

    if not data.lstrip().startswith(b"*"):
        return None
    value, findings = twstft.read(data)
    if value is None or not value.laboratory:
        raise TwoWayUseRejected(
            findings[-1].at(str(path)) if findings else f"{path}: no line '* LAB' names a laboratory"
        )
    return value, findings


def links(
    options: argparse.Namespace, a: "TwstftFile", b: "TwstftFile"
) -> "list[tuple[str, TwoWayLink, Smoothed | None]]":
    """Return each link's name, its difference and that smoothed. Raises `TwoWayUseRejected` where there is none."""
    from dataclasses import replace

    from truechimer.compare import link_smoothing, two_way
    from truechimer.compare.two_way import TwoWayRejected
    from truechimer.instants import builtin_leap_table

    given = [word for name, usual, word in FOR_SATELLITES if getattr(options, name) != usual]
    if given:
        raise TwoWayUseRejected(f"{given[0]} is for tracks of satellites: leave it out for two-way sessions")
    found: list[tuple[str, TwoWayLink, Smoothed | None]] = []
    refused = ""
    for pair in sorted({(each.local, each.remote) for each in a.sessions}):
        of_a = [each for each in a.sessions if (each.local, each.remote) == pair]
        of_b = [each for each in b.sessions if (each.remote, each.local) == pair]
        try:
            link = two_way.compare(of_a, of_b, leaps=builtin_leap_table())
        except TwoWayRejected as rejected:
            refused = f"{' '.join(pair)}: {rejected}"
            print(f"{refused} [no-link]", file=sys.stderr)
            continue
        link = replace(link, x_a_minus_b_s=link.x_a_minus_b_s + options.calibration * 1e-9)
        _name(" ".join(pair), link)
        smoothed = link_smoothing.smooth(link.middle_tai_ns, link.x_a_minus_b_s, link.u_s)
        found.append((" ".join(pair), link, smoothed))
    alone = sorted({(each.local, each.remote) for each in b.sessions} - {(r, o) for o, r in _pairs(a)})
    for pair in alone:
        print(f"{' '.join(pair)}: B alone has sessions of this pair of stations [no-link]", file=sys.stderr)
    if not found:
        raise TwoWayUseRejected(refused or "A has no session: name the files of two stations of one day")
    return found


def _pairs(file: "TwstftFile") -> set[tuple[str, str]]:
    return {(each.local, each.remote) for each in file.sessions}


def named(name: str, link: "TwoWayLink") -> dict[str, Any]:
    """Return what the document says of a link beside its figures."""
    return {
        "link": name,
        "tracks_common": len(link) + sum(why.name != "ALONE" for *_, why in link.unpaired),
        "calibrated": link.calibrated,
        "unpaired": [
            {"station": station, "mjd": mjd, "start_s": start_s, "why": why.value}
            for station, mjd, start_s, why in link.unpaired
        ],
    }


def _name(name: str, link: "TwoWayLink") -> None:
    for station, mjd, start_s, why in link.unpaired[:MOST_NAMED]:
        clock = f"{start_s // 3600:02d}:{start_s // 60 % 60:02d}"
        print(f"{name}: session of {station} on MJD {mjd} at {clock}: {why.value} [unpaired]", file=sys.stderr)
    if len(link.unpaired) > MOST_NAMED:
        print(f"{name}: and {len(link.unpaired) - MOST_NAMED} more", file=sys.stderr)
    if not link.calibrated:
        says = "not calibrated: all values lack one unknown constant, their changes alone mean something"
        print(f"{name}: {says} [uncalibrated]", file=sys.stderr)
