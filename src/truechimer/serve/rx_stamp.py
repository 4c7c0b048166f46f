"""The receive stamp as a protocol core sees it: when a datagram came, on the host's raw counter, and how well that is
known.

It reads no clock: `daemon.host_clocks` makes these stamps, and its rules decide which kind a datagram gets.

Source: `house.md` 4.7.
"""

from enum import StrEnum
from typing import NamedTuple

STAMP_HANDLING_LIMIT_S = 5e-6
"""Largest error of a kernel stamp carried over to the raw counter. `daemon.host_clocks` drops a stamp that it cannot
hold to this.
"""

USER_STAMP_LIMIT_S = 100e-6
"""Limit stated for a stamp read in user space after the datagram was handed over.

Such a stamp is never early. When it is late by q, a client measures a delay longer by q and an offset wrong by q/2,
so half the delay that the client itself adds to its root distance covers it, whatever q is. These 100 us are on top:
a wake-up on a busy machine.
"""


class StampKind(StrEnum):
    """Who read the receive stamp."""

    KERNEL = "kernel"
    USER = "user"


class RxStamp(NamedTuple):
    """A receive stamp: `raw_ns` on CLOCK_MONOTONIC_RAW (ns), right to `limit_s` (s)."""

    raw_ns: int
    kind: StampKind
    limit_s: float
