"""Pages for tests: one honest page, of which a test changes what it is about."""

from typing import Any

from truechimer.instants import FS_PER_S, builtin_leap_table
from truechimer.serve import ClockPage, ServiceState

NS = 10**9
ANCHOR_TAI_S = 1_795_000_000  # 2026-11-18, an ordinary day between leap seconds
ANCHOR_RAW_NS = 5_000 * NS
LEAP_EXPIRES_TAI_S = ANCHOR_TAI_S + 100 * 86_400


def a_page(**changes: Any) -> ClockPage:
    """Return a steered page of a real laboratory, 200 ns sure, valid for 600 s."""
    fields: dict[str, Any] = {
        "anchor_raw_ns": ANCHOR_RAW_NS,
        "anchor_tai_fs": ANCHOR_TAI_S * FS_PER_S + 123_456_789_012_345,
        "rate": -3.25e-6,
        "bound_s": 200e-9,
        "bound_growth": 1e-8,
        "u_s": 20e-9,
        "coverage": 0.9973,
        "state": ServiceState.STEERED,
        "simulated": False,
        "tai_minus_utc_s": 37,
        "next_leap_tai_s": None,
        "next_tai_minus_utc_s": None,
        "leap_expires_tai_s": LEAP_EXPIRES_TAI_S,
        "valid_until_raw_ns": ANCHOR_RAW_NS + 600 * NS,
        "refid": b"TRUE",
        "stratum": 1,
        "root_delay_s": 0.0,
        "written_raw_ns": ANCHOR_RAW_NS,
        "laboratory_pid": 4321,
        "boot_id": bytes(range(16)),
    }
    return ClockPage(**(fields | changes))


def a_leap_page(*, inserted_s: int) -> ClockPage:
    """Return a page half a day before a leap of `inserted_s` (+1 or -1) at the end of the UTC day MJD 61041
    (2025-12-31).
    """
    midnight_unix_s = 1_767_225_600  # 2026-01-01T00:00:00Z without any leap
    next_leap_tai_s = midnight_unix_s + 37 + inserted_s
    return a_page(
        anchor_tai_fs=(next_leap_tai_s - 43_200) * FS_PER_S,
        rate=0.0,
        next_leap_tai_s=next_leap_tai_s,
        next_tai_minus_utc_s=37 + inserted_s,
        leap_expires_tai_s=next_leap_tai_s + 86_400 * 100,
        valid_until_raw_ns=ANCHOR_RAW_NS + 100_000 * NS,
    )


LEAPS = builtin_leap_table()
