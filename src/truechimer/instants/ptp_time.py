"""PTP time: timestamps of 48-bit seconds and 32-bit nanoseconds, and scaled nanoseconds.

No messages here (`serve.ptp` has them). Source: IEEE 1588-2019 clauses 5.3.2 (TimeInterval), 5.3.3 (Timestamp), 7.2.2
(the PTP epoch is 1970-01-01T00:00:00 TAI: no leap second enters).

A scaled nanosecond is 2^-16 ns, 15.3 fs: a span's nearest one and back is the same scaled value, always. What a
timestamp cannot hold (below 1 ns) belongs into the message's correctionField: `to_timestamp` returns it, nothing is
rounded away unseen.
"""

from dataclasses import dataclass

from truechimer.instants.errors import OutOfRangeMisuse, TimeTypeMisuse
from truechimer.instants.instant import FS_PER_NS, FS_PER_S, Instant, Span
from truechimer.instants.rounding import divide_half_even

SECONDS_MAX = 2**48 - 1
NANOSECONDS_MAX = 10**9 - 1
SCALED_MIN, SCALED_MAX = -(2**63), 2**63 - 1
"""Range of a TimeInterval; the standard gives the largest value the meaning "does not fit" in a correctionField."""
UNITS_PER_NS = 2**16

_NO_CORRECTION = Span(0)


@dataclass(frozen=True, slots=True, order=True)
class PtpTimestamp:
    """Seconds (48 bits) and nanoseconds (0 to 999,999,999) since 1970-01-01T00:00:00 TAI."""

    seconds: int
    nanoseconds: int

    def __post_init__(self) -> None:
        for quantity, value, high in (
            ("seconds of a PTP timestamp", self.seconds, SECONDS_MAX),
            ("nanoseconds of a PTP timestamp", self.nanoseconds, NANOSECONDS_MAX),
        ):
            if type(value) is not int:
                raise TimeTypeMisuse(quantity, expected="a whole number (int)", found=value)
            if not 0 <= value <= high:
                raise OutOfRangeMisuse(quantity, low=0, high=high, found=value)


@dataclass(frozen=True, slots=True)
class PtpTime:
    """An instant as PTP carries it: the timestamp, and what it could not hold, `0 <= below_ns < 1 ns`."""

    timestamp: PtpTimestamp
    below_ns: Span


def to_timestamp(instant: Instant) -> PtpTime:
    """Return the timestamp of an instant, truncated towards the past, with the rest. Before 1970: refused."""
    seconds, rest_fs = divmod(instant.tai_fs, FS_PER_S)
    nanoseconds, below_fs = divmod(rest_fs, FS_PER_NS)
    return PtpTime(PtpTimestamp(seconds, nanoseconds), Span(below_fs))


def from_timestamp(timestamp: PtpTimestamp, correction: Span = _NO_CORRECTION) -> Instant:
    """Return the instant of a timestamp plus a correction, exactly."""
    return Instant(timestamp.seconds * FS_PER_S + timestamp.nanoseconds * FS_PER_NS + correction.fs)


def to_scaled_ns(span: Span) -> int:
    """Return a span as a TimeInterval in 2^-16 ns, rounded half even. Over 2^47 ns (39 hours): `OutOfRangeMisuse`."""
    scaled = divide_half_even(span.fs * UNITS_PER_NS, FS_PER_NS)
    if not SCALED_MIN <= scaled <= SCALED_MAX:
        raise OutOfRangeMisuse("PTP scaled nanoseconds", low=SCALED_MIN, high=SCALED_MAX, found=scaled)
    return scaled


def from_scaled_ns(scaled: int) -> Span:
    """Return the span of a TimeInterval in 2^-16 ns, to the nearest femtosecond. Not 64-bit: `OutOfRangeMisuse`."""
    if type(scaled) is not int:
        raise TimeTypeMisuse("ptp_time.from_scaled_ns", expected="a whole number (int) of 2^-16 ns", found=scaled)
    if not SCALED_MIN <= scaled <= SCALED_MAX:
        raise OutOfRangeMisuse("PTP scaled nanoseconds", low=SCALED_MIN, high=SCALED_MAX, found=scaled)
    return Span(divide_half_even(scaled * FS_PER_NS, UNITS_PER_NS))
