"""Smear: a clock page's line bent over a leap second, for a door whose policy says so, and how far that is from UTC.

It decides for no door (LAB.toml does: `[[listener]] smear`) and changes no page that others read. Over the 86,400 s
from noon to noon of the door's own count the leap second is dealt out evenly; what a door then sends is not UTC, so it
says so: the leap indicator is 0, as a client that steps as well would be a second off; the root dispersion holds the
distance from UTC; and the reference identifier is 254.x.y.z.

The bent line is again a page: whoever makes stamps from a page's numbers (anchor, rate, offset, bound) makes smeared
ones from these, and knows nothing of leap seconds.

Source: the 24-hour linear smear from noon to noon that public servers agree on; the reference identifier 254 with 24
bits of seconds, signed, 22 of them behind the point, is that of the reference implementation of NTP. In whole
numbers: the line is exact to the femtosecond, and without a step at either end.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from truechimer.instants import FS_PER_S
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.served_time import tai_fs_at

HALF_S = 43_200
COUNT_S = 2 * HALF_S
"""Seconds that the smeared count takes from noon to noon; SI seconds in it are one more or one less."""

LEAVES_WITHIN_S = 1.0
"""An answer leaves within so long of the moment that the line was bent for; how far the smear goes meanwhile is in its
bound.
"""

REFID_SMEARED = 254
_REFID_UNITS_PER_S = 1 << 22


class Smear(StrEnum):
    """How a door goes over a leap second."""

    NONE = "none"  # the count repeats or leaves out a second, and the leap indicator warns of it
    LINEAR_24H = "linear-24h"  # from noon to noon, evenly


@dataclass(frozen=True, slots=True)
class Window:
    """The SI seconds over which a leap of `step_s` is dealt out: from `begins_tai_s` to `ends_tai_s` (TAI since 1970);
    `leap_tai_s`: from when on UTC has its new offset.
    """

    begins_tai_s: int
    leap_tai_s: int
    ends_tai_s: int
    step_s: int

    @property
    def length_s(self) -> int:
        """How long it is: 86,401 or 86,399 s."""
        return self.ends_tai_s - self.begins_tai_s


@dataclass(frozen=True, slots=True)
class Bent:
    """`page`: to make stamps from. `served_minus_utc_s`: by how much what it gives is ahead of UTC's label; `extra_s`:
    what its bound has more than the page had; both 0.0 outside a smear.
    """

    page: ClockPage
    served_minus_utc_s: float = 0.0
    extra_s: float = 0.0


def window(page: ClockPage) -> Window | None:
    """Return when the leap second that a page names is smeared; None where it names none."""
    if page.next_leap_tai_s is None or page.next_tai_minus_utc_s is None:
        return None
    step_s = page.next_tai_minus_utc_s - page.tai_minus_utc_s
    at = page.next_leap_tai_s
    return Window(at - HALF_S - step_s, at, at + HALF_S, step_s)


def bent(page: ClockPage, raw_ns: int) -> Bent:
    """Return the page that a smearing door answers from at `raw_ns` (CLOCK_MONOTONIC_RAW) and shortly after.

    It names no leap second, whether one is near or not: the day's warning would make clients step as well.
    """
    over = window(page)
    if over is None:
        return Bent(page)
    tai_fs = tai_fs_at(page, raw_ns)
    old_s, new_s = page.tai_minus_utc_s, page.tai_minus_utc_s + over.step_s
    if tai_fs < over.begins_tai_s * FS_PER_S:
        return Bent(_unwarned(page, old_s))
    if tai_fs >= over.ends_tai_s * FS_PER_S:
        return Bent(_unwarned(page, new_s))
    since_fs = tai_fs - over.begins_tai_s * FS_PER_S
    late_s = over.step_s * since_fs / (over.length_s * FS_PER_S)
    off_s = -late_s if tai_fs < over.leap_tai_s * FS_PER_S else over.step_s - late_s
    extra_s = abs(off_s) + LEAVES_WITHIN_S / over.length_s
    anchor_since_fs = page.anchor_tai_fs - over.begins_tai_s * FS_PER_S
    return Bent(
        replace(
            _unwarned(page, old_s),
            anchor_tai_fs=page.anchor_tai_fs - _divided(over.step_s * anchor_since_fs, over.length_s),
            rate=page.rate - over.step_s / over.length_s * (1.0 + page.rate),
            bound_s=page.bound_s + extra_s,
            refid=page.refid if page.simulated else refid(off_s),
        ),
        off_s,
        extra_s,
    )


def refid(served_minus_utc_s: float) -> bytes:
    """Return the reference identifier 254.x.y.z of an answer that is so far ahead of UTC (s, within +-2)."""
    units = round(served_minus_utc_s * _REFID_UNITS_PER_S)
    return bytes([REFID_SMEARED]) + (units & 0xFFFFFF).to_bytes(3, "big")


def smeared_by(refid_octets: bytes) -> float | None:
    """Return how far ahead of UTC (s) an answer with this reference identifier says to be; None where it says nothing.

    254/8 is no address of a server on the Internet.
    """
    if len(refid_octets) != 4 or refid_octets[0] != REFID_SMEARED:
        return None
    return int.from_bytes(refid_octets[1:] + b"\0", "big", signed=True) / 256 / _REFID_UNITS_PER_S


def _unwarned(page: ClockPage, tai_minus_utc_s: int) -> ClockPage:
    return replace(page, tai_minus_utc_s=tai_minus_utc_s, next_leap_tai_s=None, next_tai_minus_utc_s=None)


def _divided(numerator: int, denominator: int) -> int:
    """Return the nearest whole number."""
    return (2 * numerator + denominator) // (2 * denominator)
