"""Two laboratories by two-way satellite time transfer: sessions that both stations measured, to x_a - x_b.

It reads no file. Source: ITU-R TF.1153-4, annex 2:

    UTC(1) - UTC(2) = 0.5 [TW(1) + ESDVAR(1)] + REFDELAY(1) - 0.5 [TW(2) + ESDVAR(2)] - REFDELAY(2)
                      + 0.5 [CALR(1,2) - CALR(2,1)]

Sign: positive where laboratory 1 is fast. Where both stations say "not calibrated" the last term is an unknown
constant: the link is marked, and its changes alone mean something. Where only one says so the pair is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from truechimer.errors import Rejected
from truechimer.formats.twstft import CALIBRATED, Session
from truechimer.instants import LeapTable
from truechimer.instants.mjd import MJD_OF_1970

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST_SAMPLES = 50
MIDDLE_S = 59.5
"""The fit's value stands so long after STTIME."""
_DAY_S = 86_400


class Unpaired(StrEnum):
    """Why a session gives no reading."""

    ALONE = "the other station has no session at this start"
    FEW = "too few of its points were good"
    SWITCH = "one station says calibrated, the other not"


class TwoWayRejected(Rejected):
    """Sessions that give no link."""


@dataclass(frozen=True, slots=True, eq=False)
class TwoWayLink:
    """x_a - x_b; arrays `(n,)` in order of time. `middle_tai_ns`: ns since 1970-01-01T00:00:00 TAI; `u_s`: one sigma of
    noise (fits and monitored delays); `calibrated`: False: an unknown constant is missing in all values of the link;
    `unpaired`: (station, mjd, start_s, why).
    """

    middle_tai_ns: Ints
    x_a_minus_b_s: Floats
    u_s: Floats
    calibrated: bool
    unpaired: tuple[tuple[str, int, int, Unpaired], ...]

    def __len__(self) -> int:
        """Return the number of readings."""
        return len(self.middle_tai_ns)


def compare(a: Sequence[Session], b: Sequence[Session], *, leaps: LeapTable) -> TwoWayLink:
    """Return the link of station a's sessions and station b's; sessions of other pairs of stations are not looked at.

    Raises `TwoWayRejected` where no session of both is good.
    """
    of_b = {(each.local, each.remote, each.mjd, each.start_s): each for each in b}
    unpaired: list[tuple[str, int, int, Unpaired]] = []
    found: list[tuple[int, float, float, bool]] = []
    taken = set()
    for one in sorted(a, key=lambda each: (each.mjd, each.start_s)):
        key = (one.remote, one.local, one.mjd, one.start_s)
        other = of_b.get(key)
        if other is None:
            unpaired.append((one.local, one.mjd, one.start_s, Unpaired.ALONE))
            continue
        taken.add(key)
        if min(one.samples, other.samples) < FEWEST_SAMPLES:
            unpaired.append((one.local, one.mjd, one.start_s, Unpaired.FEW))
        elif one.switch != other.switch:
            unpaired.append((one.local, one.mjd, one.start_s, Unpaired.SWITCH))
        else:
            found.append(
                (_middle_ns(one, leaps), _difference_s(one, other), _sigma_s(one, other), one.switch == CALIBRATED)
            )
    unpaired += [(each.local, each.mjd, each.start_s, Unpaired.ALONE) for key, each in of_b.items() if key not in taken]
    if not found:
        raise TwoWayRejected("no session was measured well by both stations: name the files of one day and one link")
    calibrated = all(each[3] for each in found)
    if not calibrated and any(each[3] for each in found):
        # half of them lack a constant: only those that have it say the same thing
        found = [each for each in found if each[3]]
        calibrated = True
    middle, x, u, _ = zip(*found, strict=True)
    return TwoWayLink(np.array(middle), np.array(x), np.array(u), calibrated, tuple(unpaired))


def _difference_s(one: Session, other: Session) -> float:
    x = 0.5 * (one.tw_s + (one.esdvar_s or 0.0)) + one.ref_delay_s
    x -= 0.5 * (other.tw_s + (other.esdvar_s or 0.0)) + other.ref_delay_s
    if one.switch == CALIBRATED:
        x += 0.5 * ((one.calr_s or 0.0) - (other.calr_s or 0.0))
    return x


def _sigma_s(one: Session, other: Session) -> float:
    """Sigma of the fits' values (three parameters on n points: 3 / sqrt(4 n) at the middle of a parabola), and of the
    monitored delays.
    """
    square = 0.0
    for each in (one, other):
        square += 0.25 * (each.drms_s**2 * 9.0 / (4.0 * each.samples) + (each.u_esdvar_s or 0.0) ** 2)
        square += (each.u_ref_delay_s or 0.0) ** 2
    return float(square**0.5)


def _middle_ns(session: Session, leaps: LeapTable) -> int:
    offset_s = next(e.tai_minus_utc_s for e in reversed(leaps.entries) if e.mjd <= session.mjd or e is leaps.entries[0])
    seconds = (session.mjd - MJD_OF_1970) * _DAY_S + session.start_s + offset_s
    return seconds * 10**9 + round(MIDDLE_S * 1e9)
