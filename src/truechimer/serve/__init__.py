"""Serving: one clock page, and the protocol cores that answer from it.

This room does not know how the scale is made, and does no I/O. The protocols stand in rooms of their own (`serve.ntp`).
"""

from truechimer.serve.clock_page import (
    PAGE_BYTES,
    ClockPage,
    ClockPageMisuse,
    PageUnreadable,
    ServiceState,
    fingerprint,
    format_buffer,
    read,
    write,
)
from truechimer.serve.rx_stamp import STAMP_HANDLING_LIMIT_S, USER_STAMP_LIMIT_S, RxStamp, StampKind
from truechimer.serve.served_time import (
    LeapIndicator,
    ServedTime,
    Unsynchronised,
    WhyUnsynchronised,
    serve_at,
)

__all__ = [
    "PAGE_BYTES",
    "STAMP_HANDLING_LIMIT_S",
    "USER_STAMP_LIMIT_S",
    "ClockPage",
    "ClockPageMisuse",
    "LeapIndicator",
    "PageUnreadable",
    "RxStamp",
    "ServedTime",
    "ServiceState",
    "StampKind",
    "Unsynchronised",
    "WhyUnsynchronised",
    "fingerprint",
    "format_buffer",
    "read",
    "serve_at",
    "write",
]
