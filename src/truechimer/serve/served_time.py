"""From a clock page and a value of the raw counter to the time that may be served, or the reason why none may.

It knows no protocol and reads no clock: every door calls `serve_at`, so that no door has its own idea of the time.

Source: `house.md` sections 4 and 5. TAI(raw) = anchor_tai + (raw - anchor_raw)(1 + rate); the large part is whole
numbers, only the product with `rate` is a float: over 600 s at a rate of 1e-4 its rounding is below 0.01 fs, so the
result is exact to the femtosecond.
"""

import math
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from truechimer.instants import FS_PER_NS, FS_PER_S, Instant
from truechimer.serve.clock_page import ClockPage, PageUnreadable, ServiceState

NS_PER_S = 10**9

COUNTER_RESTART_NS = NS_PER_S
"""A raw counter more than this before the anchor has been restarted: a page of another boot, or of another machine."""


class LeapIndicator(IntEnum):
    """RFC 5905 figure 9."""

    NONE = 0
    INSERT = 1  # the last minute of the day has 61 seconds
    DELETE = 2  # the last minute of the day has 59 seconds
    UNKNOWN = 3  # clock unsynchronised


class WhyUnsynchronised(StrEnum):
    """Why a door may not answer as synchronised."""

    NO_PAGE = "no-page"  # the laboratory has not written one yet
    PAGE_UNREADABLE = "page-unreadable"  # another version, or octets that no writer of ours produces
    COUNTER_RESTARTED = "counter-restarted"  # the page is of another boot
    FREERUN = "freerun"
    ACQUIRING = "acquiring"
    ALARM = "alarm"
    PAGE_TOO_OLD = "page-too-old"  # raw is after valid_until_raw: the laboratory has been silent too long
    LEAP_TABLE_EXPIRED = "leap-table-expired"  # UTC can no longer be told from TAI
    # a simulated time must not leave this machine unless the operator typed the ugly word
    SIMULATED_NOT_ALLOWED = "simulated-not-allowed"
    BOUND_TOO_WIDE = "bound-too-wide"  # the bound is above the listener's limit


_STATE_REASONS = {
    ServiceState.FREERUN: WhyUnsynchronised.FREERUN,
    ServiceState.ACQUIRING: WhyUnsynchronised.ACQUIRING,
    ServiceState.ALARM: WhyUnsynchronised.ALARM,
}


@dataclass(frozen=True, slots=True)
class ServedTime:
    """The time at one value of the raw counter, and how sure it is.

    `bound_s` is what the page states, grown to this moment; a door adds the terms of its own stamps.
    `tai_minus_utc_s` is the offset in force at `instant`; `leap` warns for the whole UTC day that ends in a leap
    second. `page` is what it was made from.
    """

    instant: Instant
    bound_s: float
    u_s: float
    coverage: float
    state: ServiceState
    simulated: bool
    tai_minus_utc_s: int
    leap: LeapIndicator
    page: ClockPage


@dataclass(frozen=True, slots=True)
class Unsynchronised:
    """No time may be served as synchronised, because of `reason`.

    `instant` is the best knowledge there is, for doors that must put something beside their "do not believe me": None
    where there is no page, or where its counter is not ours. `bound_s` is then the bound as it stands, else infinite.
    """

    reason: WhyUnsynchronised
    instant: Instant | None = None
    bound_s: float = math.inf
    state: ServiceState | None = None
    simulated: bool = False
    page: ClockPage | None = None


def serve_at(
    page: ClockPage | PageUnreadable,
    raw_ns: int,
    *,
    bound_limit_s: float | None = None,
    boot_id: bytes | None = None,
    simulated_allowed: bool = True,
    freerun_allowed: bool = False,
) -> ServedTime | Unsynchronised:
    """Return the time at `raw_ns` (CLOCK_MONOTONIC_RAW), or why it must not be served.

    `bound_limit_s` is the listener's own limit (None: this listener has none). `boot_id` is the boot whose counter
    `raw_ns` is: a page that names another boot, or none, is then refused (None: the caller has made sure already).
    `simulated_allowed=False`: this door refuses a simulated time. `freerun_allowed=True`: whoever asks takes the
    statement of a laboratory that only observes, where nothing is steered; no door ever does.
    """
    if isinstance(page, PageUnreadable):
        no_page = page in {PageUnreadable.EMPTY, PageUnreadable.TORN}
        return Unsynchronised(WhyUnsynchronised.NO_PAGE if no_page else WhyUnsynchronised.PAGE_UNREADABLE)
    other_boot = boot_id is not None and page.boot_id != boot_id
    if other_boot or raw_ns < page.anchor_raw_ns - COUNTER_RESTART_NS:
        return Unsynchronised(WhyUnsynchronised.COUNTER_RESTARTED, state=page.state, simulated=page.simulated)
    tai_fs = tai_fs_at(page, raw_ns)
    bound_s = bound_at(page, raw_ns)
    if page.simulated and not simulated_allowed:
        reason: WhyUnsynchronised | None = WhyUnsynchronised.SIMULATED_NOT_ALLOWED
    else:
        reason = _STATE_REASONS.get(page.state)
        if reason is None or (freerun_allowed and page.state is ServiceState.FREERUN):
            reason = _why_not(page, raw_ns, tai_fs=tai_fs, bound_s=bound_s, bound_limit_s=bound_limit_s)
    if reason is not None:
        return Unsynchronised(reason, Instant(tai_fs), bound_s, page.state, page.simulated, page)
    return ServedTime(
        instant=Instant(tai_fs),
        bound_s=bound_s,
        u_s=page.u_s,
        coverage=page.coverage,
        state=page.state,
        simulated=page.simulated,
        tai_minus_utc_s=tai_minus_utc_at(page, tai_fs),
        leap=leap_indicator_at(page, tai_fs),
        page=page,
    )


def tai_fs_at(page: ClockPage, raw_ns: int) -> int:
    """Return TAI (fs since 1970-01-01T00:00:00 TAI) at `raw_ns`, on the page's line; exact to 1 fs within an hour of
    the anchor.
    """
    elapsed_fs = (raw_ns - page.anchor_raw_ns) * FS_PER_NS
    return page.anchor_tai_fs + elapsed_fs + round(elapsed_fs * page.rate)


def bound_at(page: ClockPage, raw_ns: int) -> float:
    """Return the page's bound (s) grown from its anchor to `raw_ns`, before or after."""
    return page.bound_s + page.bound_growth * (abs(raw_ns - page.anchor_raw_ns) / NS_PER_S)


def tai_minus_utc_at(page: ClockPage, tai_fs: int) -> int:
    """Return TAI - UTC (s) in force at `tai_fs`: the new offset counts from its first femtosecond, so a 23:59:60 has
    the old one.
    """
    if page.next_leap_tai_s is None or page.next_tai_minus_utc_s is None or tai_fs < page.next_leap_tai_s * FS_PER_S:
        return page.tai_minus_utc_s
    return page.next_tai_minus_utc_s


def tai_minus_ntp_at(page: ClockPage, tai_fs: int) -> int:
    """Return TAI minus NTP's count (s) at `tai_fs`: NTP gives 23:59:59 twice at an inserted second, so its new offset
    begins there.

    The convention is that of `instants.ntp64` (RFC 5905, the Linux kernel): 23:59:60.25 has the stamp of 23:59:59.25.
    """
    if page.next_leap_tai_s is None or page.next_tai_minus_utc_s is None:
        return page.tai_minus_utc_s
    inserted_s = page.next_tai_minus_utc_s - page.tai_minus_utc_s
    if tai_fs < (page.next_leap_tai_s - max(inserted_s, 0)) * FS_PER_S:
        return page.tai_minus_utc_s
    return page.next_tai_minus_utc_s


def leap_indicator_at(page: ClockPage, tai_fs: int) -> LeapIndicator:
    """Return the leap warning at `tai_fs`.

    RFC 5905 figure 9 speaks of "the last minute of the day", so the warning stands during the UTC day that ends in
    the leap, the inserted second included, and not before: servers that warn for a month have made clients leap at
    the wrong month's end.
    """
    if page.next_leap_tai_s is None or page.next_tai_minus_utc_s is None:
        return LeapIndicator.NONE
    inserted_s = page.next_tai_minus_utc_s - page.tai_minus_utc_s
    day_start_tai_s = page.next_leap_tai_s - 86_400 - inserted_s
    if not day_start_tai_s * FS_PER_S <= tai_fs < page.next_leap_tai_s * FS_PER_S:
        return LeapIndicator.NONE
    return LeapIndicator.INSERT if inserted_s > 0 else LeapIndicator.DELETE


def _why_not(
    page: ClockPage, raw_ns: int, *, tai_fs: int, bound_s: float, bound_limit_s: float | None
) -> WhyUnsynchronised | None:
    """Return the first doubt about this page at this moment; its state has been judged before."""
    if raw_ns > page.valid_until_raw_ns:
        return WhyUnsynchronised.PAGE_TOO_OLD
    if tai_fs >= page.leap_expires_tai_s * FS_PER_S:
        return WhyUnsynchronised.LEAP_TABLE_EXPIRED
    if bound_limit_s is not None and not bound_s <= bound_limit_s:
        return WhyUnsynchronised.BOUND_TOO_WIDE
    return None
