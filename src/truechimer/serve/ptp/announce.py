"""What a PTP grandmaster announces: time properties and clock quality from the time served, and the message's octets.

It opens no socket and keeps no port; a daemon of its own (linuxptp's `pmc`) and a port of ours take the same values.
PTP counts TAI: at a leap second its stamps go on, and what changes is `currentUtcOffset`, with the flags that warn of
it during the UTC day that ends in the leap. Source: IEEE 1588-2019 clauses 7.6.2.5 (clockClass), 7.6.2.6
(clockAccuracy), 8.2.4 (time properties), 13.3, 13.5 (messages).
"""

import struct
from dataclasses import dataclass

from truechimer.instants import ptp_time
from truechimer.instants.ptp_time import PtpTimestamp
from truechimer.serve.clock_page import ServiceState
from truechimer.serve.served_time import LeapIndicator, ServedTime, Unsynchronised, tai_minus_utc_at

ANNOUNCE_OCTETS = 64
CLASS_LOCKED, CLASS_HOLDOVER, CLASS_UNSYNCHRONISED = 6, 7, 248
ACCURACY_UNKNOWN = 0xFE
VARIANCE_UNKNOWN = 0xFFFF
SOURCE_ATOMIC = 0x10

ACCURACIES = (
    (1e-12, 0x17), (2.5e-12, 0x18), (1e-11, 0x19), (2.5e-11, 0x1A), (1e-10, 0x1B), (2.5e-10, 0x1C), (1e-9, 0x1D),
    (2.5e-9, 0x1E), (1e-8, 0x1F), (2.5e-8, 0x20), (1e-7, 0x21), (2.5e-7, 0x22), (1e-6, 0x23), (2.5e-6, 0x24),
    (1e-5, 0x25), (2.5e-5, 0x26), (1e-4, 0x27), (2.5e-4, 0x28), (1e-3, 0x29), (2.5e-3, 0x2A), (1e-2, 0x2B),
    (2.5e-2, 0x2C), (1e-1, 0x2D), (2.5e-1, 0x2E), (1.0, 0x2F), (10.0, 0x30),
)  # fmt: skip
"""clockAccuracy: "accurate to within" so many seconds (table 5)."""

_FLAGS = {
    "leap61": 0x01,
    "leap59": 0x02,
    "utc_offset_valid": 0x04,
    "ptp_timescale": 0x08,
    "time": 0x10,
    "frequency": 0x20,
}
_HEADER = struct.Struct(">BBHBBHq4s10sHBb")
_BODY = struct.Struct(">6sIhxBBBHB8sHB")
_MESSAGE_ANNOUNCE, _VERSION_2_1, _CONTROL_OTHER = 0x0B, 0x12, 0x05


@dataclass(frozen=True, slots=True)
class Announced:
    """`current_utc_offset_s`: TAI minus UTC now; `leap61`, `leap59`: the last minute of this UTC day has so many
    seconds; the rest as the standard's names.
    """

    current_utc_offset_s: int
    utc_offset_valid: bool
    leap61: bool
    leap59: bool
    time_traceable: bool
    frequency_traceable: bool
    clock_class: int
    clock_accuracy: int
    origin: PtpTimestamp | None

    @property
    def flags(self) -> int:
        """The second octet of flagField; ptpTimescale is always set: stamps count TAI."""
        return (
            _FLAGS["ptp_timescale"]
            | (_FLAGS["leap61"] if self.leap61 else 0)
            | (_FLAGS["leap59"] if self.leap59 else 0)
            | (_FLAGS["utc_offset_valid"] if self.utc_offset_valid else 0)
            | (_FLAGS["time"] if self.time_traceable else 0)
            | (_FLAGS["frequency"] if self.frequency_traceable else 0)
        )


def announced(served: ServedTime | Unsynchronised) -> Announced:
    """Return what is announced of the time served; a time that must not be believed is announced as that."""
    if isinstance(served, Unsynchronised) or served.simulated:
        return Announced(
            current_utc_offset_s=_offset_s(served),
            utc_offset_valid=False,
            leap61=False,
            leap59=False,
            time_traceable=False,
            frequency_traceable=False,
            clock_class=CLASS_UNSYNCHRONISED,
            clock_accuracy=ACCURACY_UNKNOWN,
            origin=None,
        )
    accuracy = next((code for limit, code in ACCURACIES if served.bound_s <= limit), 0x31)
    return Announced(
        current_utc_offset_s=served.tai_minus_utc_s,
        utc_offset_valid=True,
        leap61=served.leap is LeapIndicator.INSERT,
        leap59=served.leap is LeapIndicator.DELETE,
        time_traceable=True,
        frequency_traceable=True,
        clock_class=CLASS_HOLDOVER if served.state is ServiceState.HOLDOVER else CLASS_LOCKED,
        clock_accuracy=accuracy,
        origin=ptp_time.to_timestamp(served.instant).timestamp,
    )


def _offset_s(served: ServedTime | Unsynchronised) -> int:
    """Return TAI minus UTC as far as it is known, 0 where it is not."""
    if served.page is None:
        return 0
    tai_fs = served.page.anchor_tai_fs if served.instant is None else served.instant.tai_fs
    return tai_minus_utc_at(served.page, tai_fs)


def encode(
    what: Announced,
    *,
    clock_identity: bytes,
    sequence: int,
    domain: int = 0,
    priority1: int = 128,
    priority2: int = 128,
    log_interval: int = 1,
) -> bytes:
    """Return the Announce message (64 octets) of a grandmaster's port 1; `clock_identity`: eight octets."""
    header = _HEADER.pack(
        _MESSAGE_ANNOUNCE, _VERSION_2_1, ANNOUNCE_OCTETS, domain, 0, what.flags, 0, bytes(4),
        clock_identity + b"\0\1", sequence & 0xFFFF, _CONTROL_OTHER, log_interval,
    )  # fmt: skip
    origin = what.origin or PtpTimestamp(0, 0)
    return header + _BODY.pack(
        origin.seconds.to_bytes(6, "big"), origin.nanoseconds, what.current_utc_offset_s, priority1,
        what.clock_class, what.clock_accuracy, VARIANCE_UNKNOWN, priority2, clock_identity, 0, SOURCE_ATOMIC,
    )  # fmt: skip
