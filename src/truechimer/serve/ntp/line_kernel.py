"""The page's line as NTP stamps, in numbers that fit a register: what `stamp_at` of `server` says, to the last bit.

It decides nothing and reads no clock. A stamp is two whole numbers, seconds and fraction, each below 2^32, so that no
product overflows and the plain form needs no unsigned arithmetic.

Source: RFC 5905 6; `instants.ntp64.from_tai_fs` and `serve.served_time` are the reference, and a test holds the two
against each other. The law of the file: a line that these numbers cannot hold is not given to it (`line_fits`).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.instants import FS_PER_S
from truechimer.instants.ntp64 import S_1900_TO_1970
from truechimer.kernel import borrowing_kernel
from truechimer.serve.clock_page import ClockPage

ANCHOR_RAW = 0
ANCHOR_S = 1
ANCHOR_FS = 2
STEP_AT_S = 3
TAI_MINUS_NTP = 4
TAI_MINUS_NTP_AFTER = 5
LINE_WORDS = 6

NEVER_S = 2**62
"""A TAI second that does not come: no leap second is known ahead."""

LOW_32 = 0xFFFF_FFFF
ERA_S = 2**32
NS_PER_S = 10**9
FIFTH_15 = 5**15  # 10^15 fs are 2^15 times this

MOST_ELAPSED_NS = 2**53
"""Whole numbers up to here are exact as floats: 104 days from the anchor."""
MOST_CORRECTION_FS = 2.0**62


def line_fits(page: ClockPage, raw_ns: int) -> bool:
    """Return whether a line can be read at `raw_ns` with these numbers; `serve.served_time` is for the others."""
    elapsed_ns = raw_ns - page.anchor_raw_ns
    return (
        abs(elapsed_ns) < MOST_ELAPSED_NS
        and abs(elapsed_ns * 1e6 * page.rate) < MOST_CORRECTION_FS
        and math.isfinite(page.rate)
    )


def line_of(page: ClockPage) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return a page's line: whole numbers in the order of the names above, and the rate."""
    anchor_s, anchor_fs = divmod(page.anchor_tai_fs, FS_PER_S)
    step_at_s, after_s = NEVER_S, page.tai_minus_utc_s
    if page.next_leap_tai_s is not None and page.next_tai_minus_utc_s is not None:
        # NTP gives 23:59:59 twice, so its new offset begins with an inserted second: `served_time.tai_minus_ntp_at`
        step_at_s = page.next_leap_tai_s - max(page.next_tai_minus_utc_s - page.tai_minus_utc_s, 0)
        after_s = page.next_tai_minus_utc_s
    numbers = (page.anchor_raw_ns, anchor_s, anchor_fs, step_at_s, page.tai_minus_utc_s, after_s)
    return np.array(numbers, dtype=np.int64), np.array([page.rate], dtype=np.float64)


@borrowing_kernel
def stamp_of_line(line: Any, rate: Any, raw_ns: int) -> tuple[int, int]:
    """Return the NTP stamp that the line gives at `raw_ns`: seconds of its era, and fraction in 2^-32 s, rounded
    towards the past.
    """
    elapsed_ns = raw_ns - line[ANCHOR_RAW]
    tai_s, sub_ns = line[ANCHOR_S], elapsed_ns
    if elapsed_ns < 0 or elapsed_ns >= NS_PER_S:  # a page in service is younger: two divisions are spared
        elapsed_s = elapsed_ns // NS_PER_S
        tai_s += elapsed_s
        sub_ns -= elapsed_s * NS_PER_S
    sub_fs = line[ANCHOR_FS] + sub_ns * 1_000_000 + round(float(elapsed_ns) * 1e6 * rate[0])
    if sub_fs < 0 or sub_fs >= FS_PER_S:
        carry_s = sub_fs // FS_PER_S
        tai_s += carry_s
        sub_fs -= carry_s * FS_PER_S
    offset_s = line[TAI_MINUS_NTP] if tai_s < line[STEP_AT_S] else line[TAI_MINUS_NTP_AFTER]
    # sub_fs * 2^32 / 10^15 = sub_fs * 2^17 / 5^15, in two steps that each stay below 2^63
    high = (sub_fs << 13) // FIFTH_15
    rest = (sub_fs << 13) - high * FIFTH_15
    return (tai_s + S_1900_TO_1970 - offset_s) & LOW_32, (high << 4) + (rest << 4) // FIFTH_15


@borrowing_kernel
def units_apart(later_s: int, later_fraction: int, earlier_s: int, earlier_fraction: int) -> int:
    """Return a difference of stamps (2^-32 s) as a signed number, across an era's end too: RFC 5905 6."""
    seconds = (later_s - earlier_s) & LOW_32
    if seconds >= ERA_S // 2:
        seconds -= ERA_S
    return seconds * ERA_S + (later_fraction - earlier_fraction)


@borrowing_kernel
def next_unit(seconds: int, fraction: int) -> tuple[int, int]:
    """Return the stamp 2^-32 s after one."""
    if fraction == LOW_32:
        return (seconds + 1) & LOW_32, 0
    return seconds, fraction + 1
