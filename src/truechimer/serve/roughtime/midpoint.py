"""What a Roughtime server states of the time: MIDP and RADI, from the time served.

It signs nothing and builds no tree. MIDP counts seconds of Unix time, which repeats the second before an inserted leap
second: within a second of a leap RADI is one larger, so that either reading of MIDP holds the truth. Source: the
Roughtime draft (SREP: MIDP u64, RADI u32, little-endian; RADI is never 0; true time is within MIDP +- RADI).
"""

import struct
from dataclasses import dataclass
from math import ceil

from truechimer.instants import FS_PER_S
from truechimer.serve.served_time import ServedTime, tai_minus_ntp_at

_LEAP_NEAR_S = 2
_MIDP, _RADI = struct.Struct("<Q"), struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Midpoint:
    """`midp_s`: Unix time, whole seconds; `radi_s`: radius in whole seconds, rounded up."""

    midp_s: int
    radi_s: int

    def octets(self) -> tuple[bytes, bytes]:
        """Return the values of the tags MIDP and RADI."""
        return _MIDP.pack(self.midp_s), _RADI.pack(self.radi_s)


def midpoint(served: ServedTime) -> Midpoint:
    """Return what is stated of a time that may be served."""
    page, tai_fs = served.page, served.instant.tai_fs
    unix_fs = tai_fs - tai_minus_ntp_at(page, tai_fs) * FS_PER_S
    midp_s = unix_fs // FS_PER_S
    # what the whole second leaves out belongs into the radius
    radius_s = served.bound_s + (unix_fs - midp_s * FS_PER_S) / FS_PER_S
    at = page.next_leap_tai_s
    near = at is not None and abs(tai_fs - at * FS_PER_S) <= _LEAP_NEAR_S * FS_PER_S
    return Midpoint(midp_s, max(1, ceil(radius_s)) + (1 if near else 0))
