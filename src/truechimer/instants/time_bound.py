"""TimeBound: what the service states outward, an interval that holds the time.

It carries no probability and no reason; those stand beside it where it is made (`steer.bound`).
"""

from dataclasses import dataclass

from truechimer.instants.errors import OutOfRangeMisuse, TimeTypeMisuse
from truechimer.instants.instant import Instant, Span


@dataclass(frozen=True, slots=True)
class TimeBound:
    """The time lies between `earliest` and `latest`, both included. Invariant: `earliest` is not after `latest`."""

    earliest: Instant
    latest: Instant

    def __post_init__(self) -> None:
        for value in (self.earliest, self.latest):
            if type(value) is not Instant:
                raise TimeTypeMisuse("TimeBound", expected="two Instants", found=value)
        if self.earliest > self.latest:
            raise OutOfRangeMisuse("earliest of a time bound", low="any", high=self.latest, found=self.earliest)

    @classmethod
    def around(cls, middle: Instant, half_width: Span) -> "TimeBound":
        """Return the interval of an instant plus and minus a span, which must not be negative."""
        return cls(middle - half_width, middle + half_width)

    def contains(self, instant: Instant) -> bool:
        """Return True where the instant lies inside, its ends included."""
        return self.earliest <= instant <= self.latest

    @property
    def width(self) -> Span:
        """Latest minus earliest."""
        return self.latest - self.earliest

    @property
    def midpoint(self) -> Instant:
        """The middle, rounded to the femtosecond towards the past."""
        return Instant((self.earliest.tai_fs + self.latest.tai_fs) // 2)

    def widen(self, span: Span) -> "TimeBound":
        """Return the interval grown by a span at each end; a negative span (a bound shrunk by nobody's measurement) is
        refused.
        """
        if span < Span(0):
            raise OutOfRangeMisuse("widening of a time bound", low=Span(0), high="any", found=span)
        return TimeBound(self.earliest - span, self.latest + span)

    def intersect(self, other: "TimeBound") -> "TimeBound | None":
        """Return what both intervals hold, or None where they hold nothing in common: then one of them lies."""
        earliest, latest = max(self.earliest, other.earliest), min(self.latest, other.latest)
        return TimeBound(earliest, latest) if earliest <= latest else None
