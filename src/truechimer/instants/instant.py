"""Instant and Span: exact time as a whole number of femtoseconds on the TAI axis.

No clock is read here, no other scale is held inside: another scale, a clock or a UTC(k) is a difference in seconds
beside an Instant. TAI is not available in real time: an Instant is a label on its axis, and its uncertainty stands
beside it.

Why femtoseconds: of NTP's 2^-32 s and PTP's 2^-16 ns, nanoseconds and picoseconds change stamps on the way there and
back; femtoseconds change none of either.

Law of the file: integers only. A float enters through `Span.from_seconds` and leaves through `Span.seconds`, nowhere
else.
"""

import math
from dataclasses import dataclass
from typing import overload

from truechimer.instants.errors import OutOfRangeMisuse, TimeTypeMisuse
from truechimer.instants.rounding import divide_half_even

FS_PER_S = 10**15
FS_PER_NS = 10**6
FS_PER_DAY = 86_400 * FS_PER_S


@dataclass(frozen=True, slots=True)
class Span:
    """A difference of two instants: `fs` femtoseconds, positive towards the future."""

    fs: int

    def __post_init__(self) -> None:
        if type(self.fs) is not int:
            raise TimeTypeMisuse("Span(fs)", expected="a whole number (int) of femtoseconds", found=self.fs)

    @classmethod
    def from_seconds(cls, seconds: float) -> "Span":
        """Return the span nearest to a number of seconds; a tie goes to the even femtosecond. Not finite:
        `OutOfRangeMisuse`.

        A float of 1 us resolves 2e-22 s, one of today's date 0.24 us: convert offsets here, never dates.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, float | int):
            raise TimeTypeMisuse("Span.from_seconds", expected="a number (float or int) of seconds", found=seconds)
        if not math.isfinite(seconds):
            raise OutOfRangeMisuse("seconds of a span", low="-inf (excluded)", high="inf (excluded)", found=seconds)
        numerator, denominator = seconds.as_integer_ratio()
        return cls(divide_half_even(int(numerator) * FS_PER_S, int(denominator)))

    @classmethod
    def from_ns(cls, ns: int) -> "Span":
        """Return the span of a whole number of nanoseconds."""
        if type(ns) is not int:
            raise TimeTypeMisuse("Span.from_ns", expected="a whole number (int) of nanoseconds", found=ns)
        return cls(ns * FS_PER_NS)

    @property
    def seconds(self) -> float:
        """The span in seconds, as the nearest float."""
        return self.fs / FS_PER_S

    @property
    def ns_floor(self) -> int:
        """Whole nanoseconds, rounded towards minus infinity."""
        return self.fs // FS_PER_NS

    def __add__(self, other: "Span") -> "Span":
        return Span(self.fs + _fs_of(other))

    def __sub__(self, other: "Span") -> "Span":
        return Span(self.fs - _fs_of(other))

    def __neg__(self) -> "Span":
        return Span(-self.fs)

    def __abs__(self) -> "Span":
        return Span(abs(self.fs))

    def __mul__(self, factor: int) -> "Span":
        if type(factor) is not int:
            raise TimeTypeMisuse("Span * x", expected="a whole number (int)", found=factor)
        return Span(self.fs * factor)

    __rmul__ = __mul__

    def __bool__(self) -> bool:
        return self.fs != 0

    def __lt__(self, other: "Span") -> bool:
        return self.fs < _fs_of(other)

    def __le__(self, other: "Span") -> bool:
        return self.fs <= _fs_of(other)

    def __gt__(self, other: "Span") -> bool:
        return self.fs > _fs_of(other)

    def __ge__(self, other: "Span") -> bool:
        return self.fs >= _fs_of(other)


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment: `tai_fs` femtoseconds since 1970-01-01T00:00:00 TAI (MJD 40587.0), negative before it."""

    tai_fs: int

    def __post_init__(self) -> None:
        if type(self.tai_fs) is not int:
            raise TimeTypeMisuse("Instant(tai_fs)", expected="a whole number (int) of femtoseconds", found=self.tai_fs)

    @classmethod
    def from_tai_ns(cls, tai_ns: int) -> "Instant":
        """Return the instant of a whole number of nanoseconds since 1970-01-01T00:00:00 TAI."""
        if type(tai_ns) is not int:
            raise TimeTypeMisuse("Instant.from_tai_ns", expected="a whole number (int) of nanoseconds", found=tai_ns)
        return cls(tai_ns * FS_PER_NS)

    @property
    def tai_ns_floor(self) -> int:
        """Whole nanoseconds since 1970-01-01T00:00:00 TAI, rounded towards the past."""
        return self.tai_fs // FS_PER_NS

    def __add__(self, span: Span) -> "Instant":
        return Instant(self.tai_fs + _fs_of(span))

    @overload
    def __sub__(self, other: "Instant") -> Span: ...

    @overload
    def __sub__(self, other: Span) -> "Instant": ...

    def __sub__(self, other: "Instant | Span") -> "Span | Instant":
        if isinstance(other, Instant):
            return Span(self.tai_fs - other.tai_fs)
        return Instant(self.tai_fs - _fs_of(other))

    def __lt__(self, other: "Instant") -> bool:
        return self.tai_fs < _tai_fs_of(other)

    def __le__(self, other: "Instant") -> bool:
        return self.tai_fs <= _tai_fs_of(other)

    def __gt__(self, other: "Instant") -> bool:
        return self.tai_fs > _tai_fs_of(other)

    def __ge__(self, other: "Instant") -> bool:
        return self.tai_fs >= _tai_fs_of(other)


def _fs_of(span: Span) -> int:
    if type(span) is not Span:
        raise TimeTypeMisuse("an operation on times", expected="a Span here", found=span)
    return span.fs


def _tai_fs_of(instant: Instant) -> int:
    if type(instant) is not Instant:
        raise TimeTypeMisuse("an operation on times", expected="an Instant here", found=instant)
    return instant.tai_fs
