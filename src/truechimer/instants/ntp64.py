"""NTP timestamps: the 64-bit format with its eras, and the 32-bit short format.

No packets here (`serve.ntp` has them). Source: RFC 5905 section 6. A 64-bit stamp is the fraction of seconds since
1900-01-01 in units of 2^-32 s (233 ps), modulo 2^32 s (136 years): era 0 ends on 2036-02-07T06:28:16Z. A short is 16.16
unsigned seconds, for delays and dispersions.

Rounding, chosen so that every stamp survives the way to an Instant and back: an instant's stamp is the last unit not
after it (towards the past, error below 233 ps; a rounding up could enter a second that has not begun), a stamp's
instant is its exact value rounded up to the femtosecond. Shorts round up: a delay or a dispersion may only be
overstated.

At a leap second NTP gives 23:59:59 twice (RFC 5905; the Linux kernel does the same): 23:59:60.25 has the stamp of
23:59:59.25. A removed 23:59:59 has no instant. The stamp 0 means "not known" on the wire: look for it before
converting.
"""

import math

from truechimer.instants.errors import NoSuchSecondRejected, OutOfRangeMisuse, TimeTypeMisuse
from truechimer.instants.instant import FS_PER_S, Instant
from truechimer.instants.leap_table import BeyondExpiry, LeapTable
from truechimer.instants.repeating_count import instants_of_count, tai_minus_count_s
from truechimer.instants.rounding import divide_up

S_1900_TO_1970 = 2_208_988_800
UNITS_PER_S = 2**32
STAMP_MASK = 2**64 - 1
SHORT_MAX_S = (2**32 - 1) / 2**16
"""Largest value of the short format: 65535.99998 s."""

_FS_1900_TO_1970 = S_1900_TO_1970 * FS_PER_S
_ERA_UNITS = 2**64
_HALF_ERA_UNITS = 2**63


def from_tai_fs(tai_fs: int, tai_minus_utc_s: int) -> int:
    """Return the 64-bit stamp of a TAI instant, given the difference that NTP uses at it (`tai_minus_ntp_s`): pure
    integers, no checks.

    This is the form for a server's reply path; the era wraps by itself.
    """
    return (((tai_fs + _FS_1900_TO_1970 - tai_minus_utc_s * FS_PER_S) << 32) // FS_PER_S) & STAMP_MASK


def tai_minus_ntp_s(instant: Instant, leaps: LeapTable) -> int:
    """Return TAI minus NTP's count of seconds (eras aside), whole seconds: TAI minus UTC, the new value already during
    23:59:60.

    Before the table: `BeforeUtcRejected`. Expiry is not looked at: a server puts that doubt into its bound.
    """
    return tai_minus_count_s(instant.tai_fs, leaps)


def from_instant(instant: Instant, leaps: LeapTable, *, beyond_expiry: BeyondExpiry = "refuse") -> int:
    """Return the 64-bit stamp of an instant. Before the table: `BeforeUtcRejected`; beyond its expiry: as in
    `instants.utc`.
    """
    leaps.admit(instant.tai_fs, beyond_expiry=beyond_expiry)
    return from_tai_fs(instant.tai_fs, tai_minus_count_s(instant.tai_fs, leaps))


def to_instant(stamp: int, leaps: LeapTable, *, near: Instant, beyond_expiry: BeyondExpiry = "refuse") -> Instant:
    """Return the instant that a 64-bit stamp names, in the era that puts it closest to `near` (within 68 years).

    In the repeated 23:59:59 the one of the two instants that is closer to `near` is meant, the earlier at a tie. In a
    removed 23:59:59: `NoSuchSecondRejected`. An era that lies before the table: `BeforeUtcRejected`. Not a 64-bit
    number: `OutOfRangeMisuse`.
    """
    if type(stamp) is not int:
        raise TimeTypeMisuse("ntp64.to_instant", expected="a whole number (int) of 2^-32 s", found=stamp)
    if not 0 <= stamp <= STAMP_MASK:
        raise OutOfRangeMisuse("NTP stamp", low=0, high=STAMP_MASK, found=stamp)
    near_s = tai_minus_count_s(near.tai_fs, leaps)
    near_units = ((near.tai_fs + _FS_1900_TO_1970 - near_s * FS_PER_S) << 32) // FS_PER_S
    era_units = near_units + (stamp - near_units + _HALF_ERA_UNITS) % _ERA_UNITS - _HALF_ERA_UNITS
    count_fs = divide_up(era_units * FS_PER_S, UNITS_PER_S) - _FS_1900_TO_1970
    candidates = instants_of_count(count_fs, leaps)
    if not candidates:
        raise NoSuchSecondRejected(
            f"NTP stamp {stamp:#018x}", because="it lies in a second removed by a negative leap second"
        )
    tai_fs = min(candidates, key=lambda candidate: abs(candidate - near.tai_fs))
    leaps.admit(tai_fs, beyond_expiry=beyond_expiry)
    return Instant(tai_fs)


def era_of(instant: Instant, leaps: LeapTable) -> int:
    """Return the NTP era of an instant: 0 until 2036-02-07T06:28:15Z, then 1."""
    return (instant.tai_fs // FS_PER_S + S_1900_TO_1970 - tai_minus_count_s(instant.tai_fs, leaps)) >> 32


def short_from_seconds_up(seconds: float) -> int:
    """Return the 32-bit short (16.16) of a delay or dispersion, rounded UP to 2^-16 s (15.3 us).

    Negative, not finite, or above `SHORT_MAX_S`: `OutOfRangeMisuse`. A server that meets it cannot state its bound and
    is unsynchronised.
    """
    if not 0.0 <= seconds <= SHORT_MAX_S:  # False for a NaN too
        raise OutOfRangeMisuse("seconds of an NTP short", low=0.0, high=SHORT_MAX_S, found=seconds)
    return math.ceil(seconds * 65_536.0)  # the product is exact: a power of two


def short_to_seconds(short: int) -> float:
    """Return the seconds of a 32-bit short, exactly. Not a 32-bit number: `OutOfRangeMisuse`."""
    if type(short) is not int or not 0 <= short <= 0xFFFF_FFFF:
        raise OutOfRangeMisuse("NTP short", low=0, high=0xFFFF_FFFF, found=short)
    return short / 65_536.0
